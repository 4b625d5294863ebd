/* cache_case.h: a folder for each test that holds the disk cache and the temporary files, kernels that are
 * known by a factor, and compilers made of a script: for the tests of cache, table of kernels and compiler.
 * Needs _GNU_SOURCE before the first header. */
#ifndef CACHE_CASE_H
#define CACHE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "compiler.h"
#include "in_child.h"
#include "jit.h"

enum { NOBODY = 65534 };

static char root[BBI_PATH_SIZE / 2]; /* of one test: root/cache is BENBEN_CACHE_DIR, root/tmp is TMPDIR */
static char *search_path;            /* PATH as the test program got it */

static inline const char *in_root(const char *name) {
    static char paths[8][BBI_PATH_SIZE];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static inline int run_shell(const char *script) {
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    int exit_code = 1000;
    return bbi_run_program(argv, root, NULL, &exit_code) == BB_OK ? exit_code : 1000;
}

static inline int set_up(void **state) {
    (void)state;
    unsetenv("TMPDIR");
    if (bbi_folder_temporary(root, sizeof root) != 0 || mkdir(in_root("tmp"), 0700) != 0) return 1;
    setenv("TMPDIR", in_root("tmp"), 1);
    setenv("BENBEN_CACHE_DIR", in_root("cache"), 1);
    setenv("PATH", search_path, 1);
    unsetenv("BENBEN_CACHE");
    unsetenv("BENBEN_CACHE_SIZE");
    unsetenv("BENBEN_CC");
    unsetenv("BENBEN_DUMP");
    bbi_jit_forget();
    return 0;
}

/* Whatever a test did, its kernels' temporary folders are gone. */
static inline int tear_down(void **state) {
    (void)state;
    bbi_jit_forget();
    int left = rmdir(in_root("tmp"));
    const char *argv[] = {"/bin/rm", "-rf", root, NULL};
    int exit_code;
    bbi_run_program(argv, NULL, NULL, &exit_code);
    bbi_folder_remove(root); /* takes it off the list of what to clear at exit */
    return left;
}

static inline void key_of(int number, uint8_t key[32]) {
    bbi_sha256 hash;
    bbi_sha256_init(&hash);
    bbi_sha256_add(&hash, &number, sizeof number);
    bbi_sha256_finish(&hash, key);
}

static inline const char *entry_name(const uint8_t key[32]) {
    static char name[80] = "cache/";
    bbi_hex(key, 32, name + 6);
    strcpy(name + 70, ".bin");
    return name;
}

static inline bool stored(const uint8_t key[32]) {
    char *bytes;
    size_t length;
    bool hit = bbi_cache_load(key, &bytes, &length);
    bbi_free(bytes);
    return hit;
}

/* ---- kernels ---- */

typedef float function(float);

/* Loads "x * factor + 1" and calls it at 2. */
static inline bb_status load_factor(int factor, bbi_jit_module **module, float *value) {
    char source[200];
    void *symbol;
    snprintf(source, sizeof source, "float f(float x) { return x * %d + 1; }\n", factor);
    bb_status status = bbi_jit_load(source, "f", bbi_cpu_level(), module, &symbol, NULL);
    function *f;
    memcpy(&f, &symbol, sizeof f);
    *value = status == BB_OK ? f(2) : -1;
    return status;
}

static inline int call_factor(int factor) {
    bbi_jit_module *module;
    float value;
    if (load_factor(factor, &module, &value) != BB_OK) return -1;
    bbi_jit_release(module);
    return (int)value;
}

static inline int64_t counted(int which) {
    int64_t counters[BBI_JIT_COUNTERS];
    bbi_jit_counters(counters);
    return counters[which];
}

static inline void expect_counts(const int64_t before[BBI_JIT_COUNTERS], int compiles, int disk, int memory,
                                 int failures) {
    assert_int_equal(counted(BBI_JIT_COMPILES) - before[BBI_JIT_COMPILES], compiles);
    assert_int_equal(counted(BBI_JIT_DISK_HITS) - before[BBI_JIT_DISK_HITS], disk);
    assert_int_equal(counted(BBI_JIT_MEMORY_HITS) - before[BBI_JIT_MEMORY_HITS], memory);
    assert_int_equal(counted(BBI_JIT_FAILURES) - before[BBI_JIT_FAILURES], failures);
}

/* ---- compilers ---- */

static inline void write_script(const char *name, const char *text) {
    assert_int_equal(bbi_file_write(in_root(name), text, strlen(text), false), 0);
    assert_int_equal(chmod(in_root(name), 0700), 0);
}

static inline int starts(const char *log) {
    char *bytes;
    size_t length;
    int count = 0;
    if (bbi_file_read(in_root(log), 1 << 20, true, &bytes, &length) != 0) return 0;
    for (size_t k = 0; k < length; k++) count += bytes[k] == '\n';
    bbi_free(bytes);
    return count;
}

/* A compiler that takes its time. It writes a line to `begun` before and to `starts` after a compile that
 * went well (the first start of another compiler than gcc may be refused, for its options). */
static inline void use_slow_compiler(const char *seconds) {
    char script[BBI_PATH_SIZE + 200];
    snprintf(script, sizeof script, "#!/bin/sh\necho b >> %s\nsleep %s\ncc \"$@\" && echo s >> %s\n", in_root("begun"),
             seconds, in_root("starts"));
    write_script("slow", script);
    setenv("BENBEN_CC", in_root("slow"), 1);
}

static inline void case_start(void) { search_path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin"); }

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
