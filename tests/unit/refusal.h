/* refusal.h: calls that must be refused, for the tests of the public interface. */
#ifndef REFUSAL_H
#define REFUSAL_H

#include "run_case.h"

static const char gaussian[] = "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j2)";
static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};

/* The status is the expected one and the message has every word of a list that ends with NULL. */
static inline void expect_refusal(int line, bb_status found, bb_status expected, const char *const *words) {
    if (found != expected)
        fail_msg("line %d: status %d, expected %d: %s", line, (int)found, (int)expected, bb_last_error());
    if (!bb_last_error()[0]) fail_msg("line %d: no message", line);
    for (; *words; words++)
        if (!strstr(bb_last_error(), *words)) fail_msg("line %d: no '%s' in: %s", line, *words, bb_last_error());
    bb_clear_error();
}
#define REFUSED(call, status, ...) expect_refusal(__LINE__, call, status, (const char *const[]){__VA_ARGS__, NULL})
#define REFUSED_EXPR(expression, ...)                                                                                  \
    do {                                                                                                               \
        bb_clear_error();                                                                                              \
        assert_null(expression);                                                                                       \
        REFUSED(BB_OK, BB_OK, __VA_ARGS__);                                                                            \
    } while (0)

static inline int open_gaussian(void **state) {
    static run_case c;
    case_open(&c, gaussian, BB_FLOAT32, &interpreted);
    case_size(&c, 5, 7);
    *state = &c;
    return 0;
}

static inline int close_case(void **state) {
    case_close(*state);
    return 0;
}

#define WITH_GAUSSIAN(test) cmocka_unit_test_setup_teardown(test, open_gaussian, close_case)

#endif
