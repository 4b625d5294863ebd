/* Compiles bench/naive.c, whose text is embedded in the command, with the flags that people use for such loops. */
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "bench.h"

extern const char bench_naive_source[];

static bool find_compiler(char *path, size_t size) {
    const char *chosen = getenv("BENBEN_CC");
    if (chosen && bbi_find_program(chosen, path, size)) return true;
    return bbi_find_program("cc", path, size) || bbi_find_program("gcc", path, size) ||
           bbi_find_program("clang", path, size);
}

static bool compile(const char *compiler, const char *const defines[3], const char *folder, bool openmp, char *why,
                    size_t size) {
    const char *arguments[20] = {compiler, "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-w"};
    int count = 7;
    for (int k = 0; k < 3; k++) {
        arguments[count++] = defines[k];
    }
    if (openmp) arguments[count++] = "-fopenmp";
    arguments[count++] = "-o";
    arguments[count++] = "naive.so";
    arguments[count++] = "naive.c";
    arguments[count++] = "-lm";
    bbi_text log = {0};
    int code = 0;
    bool good = bbi_run_program(arguments, folder, &log, &code) == BB_OK && code == 0;
    if (!good) {
        const char *line = log.data ? log.data : bb_last_error();
        snprintf(why, size, "%s: %.*s", compiler, (int)strcspn(line, "\n"), line);
    }
    bbi_text_free(&log);
    return good;
}

static bool load(const char *folder, bool is_double, naive_loop *loop, char *why, size_t size) {
    char path[BBI_PATH_SIZE + 16];
    const char *error = NULL;
    snprintf(path, sizeof path, "%s/naive.so", folder);
    void *library = bbi_library_open(path, &error);
    void *symbol = library ? bbi_library_symbol(library, "naive") : NULL;
    if (!symbol) {
        snprintf(why, size, "%s", error ? error : "the compiled loop cannot be loaded");
        return false;
    }
    /* A function pointer fits where POSIX puts it. */
    if (is_double)
        memcpy(&loop->twice, &symbol, sizeof symbol);
    else
        memcpy(&loop->single, &symbol, sizeof symbol);
    return true;
}

bool naive_build(const bench_kernel *kernel, bool is_double, int dim, naive_loop *loop, char *why, size_t size) {
    *loop = (naive_loop){.openmp = ""};
    const char *body = is_double ? kernel->naive64 : kernel->naive32;
    char compiler[BBI_PATH_SIZE], folder[BBI_PATH_SIZE], source[BBI_PATH_SIZE + 16];
    if (!body || !find_compiler(compiler, sizeof compiler)) {
        snprintf(why, size, body ? "no C compiler was found" : "this case has none");
        return false;
    }
    if (bbi_folder_temporary(folder, sizeof folder) != 0) {
        snprintf(why, size, "no temporary folder can be made");
        return false;
    }
    char real[32], dimension[32], body_define[128];
    snprintf(real, sizeof real, "-DREAL=%s", is_double ? "double" : "float");
    snprintf(dimension, sizeof dimension, "-DD=%d", dim);
    snprintf(body_define, sizeof body_define, "-DKERNEL(q)=%s", body);
    const char *const defines[3] = {real, dimension, body_define};
    snprintf(source, sizeof source, "%s/naive.c", folder);
    bool good = bbi_file_write(source, bench_naive_source, strlen(bench_naive_source), false) == 0;
    if (!good) snprintf(why, size, "%s cannot be written", source);
    if (good && !compile(compiler, defines, folder, true, why, size)) {
        loop->openmp = ", on one core: the compiler has no OpenMP";
        good = compile(compiler, defines, folder, false, why, size);
    }
    good = good && load(folder, is_double, loop, why, size);
    bbi_folder_remove(folder);
    return good;
}
