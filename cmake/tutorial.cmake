# Writes the tutorial of benben.h as a program, so that it is true:
#   cmake -DINPUT=include/benben.h -DOUTPUT=tutorial.c -P tutorial.cmake
# The tutorial's code is the body of main. What it states of a result, `// a = {1, exp(-1)}`, becomes a comparison.
file(READ "${INPUT}" text)
string(FIND "${text}" " * A tutorial" first)
string(FIND "${text}" " * Conventions." last)
if(first LESS 0 OR last LESS first)
    message(FATAL_ERROR "${INPUT}: no tutorial between ' * A tutorial' and ' * Conventions.'")
endif()
math(EXPR length "${last} - ${first}")
string(SUBSTRING "${text}" ${first} ${length} text)
string(FIND "${text}" "\n" first)
string(SUBSTRING "${text}" ${first} -1 text)
string(REGEX REPLACE "\n \\*( +|)" "\n    " text "${text}")
string(REPLACE "    #include <benben.h>\n" "" text "${text}")
string(REGEX MATCHALL "// [a-z_]+ = {[^}]*}" statements "${text}")
list(LENGTH statements count)
if(count LESS 2)
    message(FATAL_ERROR "${INPUT}: the tutorial states ${count} results; two or more were expected")
endif()
string(REGEX REPLACE "// ([a-z_]+) = {([^}]*)}" "COMPARE(\\1, \\2);" text "${text}")
file(WRITE "${OUTPUT}" "/* The tutorial of benben.h, written by cmake/tutorial.cmake */
#include <benben.h>

#include <math.h>
#include <stdio.h>

static int wrong;

static void compare(const char *name, const float *found, size_t count, const double *stated, size_t stated_count) {
    if (count != stated_count) wrong++, printf(\"%s has %zu components, the tutorial states %zu\\n\", name, count, stated_count);
    for (size_t k = 0; k < count && k < stated_count; k++)
        if (!(fabs(found[k] - stated[k]) < 1e-6))
            wrong++, printf(\"%s[%zu] is %.9g, the tutorial states %.9g\\n\", name, k, found[k], stated[k]);
}
#define COUNT(...) (sizeof(__VA_ARGS__) / sizeof *(__VA_ARGS__))
#define COMPARE(array, ...) \\
    compare(#array, array, COUNT(array), (const double[]){__VA_ARGS__}, COUNT((const double[]){__VA_ARGS__}))

int main(void) {
${text}
    return wrong != 0 || bb_last_error()[0] != 0;
}
")
