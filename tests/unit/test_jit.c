/* test_jit.c: the table of compiled kernels over the disk cache: hits and misses counted, broken and hostile
 * files, processes and threads that want the same kernel, allocations that fail. */
#define _GNU_SOURCE
#include "cache_case.h"

#include <dirent.h>
#include <grp.h>

static void a_kernel_is_compiled_once_then_found(void **state) {
    (void)state;
    int64_t before[BBI_JIT_COUNTERS], live = bbi_live_allocations();
    bbi_jit_counters(before);
    assert_int_equal(call_factor(3), 7);
    expect_counts(before, 1, 0, 0, 0);
    assert_int_equal(call_factor(3), 7);
    expect_counts(before, 1, 0, 1, 0);
    bbi_jit_forget();
    assert_int_equal(call_factor(3), 7);
    expect_counts(before, 1, 1, 1, 0);
    assert_int_equal(call_factor(4), 9);
    expect_counts(before, 2, 1, 1, 0);
    bbi_jit_forget();
    assert_int_equal(bbi_live_allocations(), live);
}

static void kernels_that_live_together_are_not_confused(void **state) {
    (void)state;
    bbi_jit_module *modules[12];
    float value;
    for (int round = 0; round < 2; round++) { /* compiled, then from disk */
        for (int k = 0; k < 12; k++) {
            assert_int_equal(load_factor(10 + k, &modules[k], &value), BB_OK);
            assert_true(value == (float)(2 * (10 + k) + 1));
        }
        for (int k = 0; k < 12; k++) bbi_jit_release(modules[k]);
        bbi_jit_forget();
    }
}

static void peeking_never_compiles(void **state) {
    (void)state;
    static const char source[] = "int f(void) { return 42; }";
    int64_t before[BBI_JIT_COUNTERS];
    bbi_jit_module *module;
    void *symbol;
    bbi_jit_counters(before);
    assert_int_equal(bbi_jit_peek(source, "f", 0, &module, &symbol), BB_OK);
    assert_null(module);
    assert_int_equal(bbi_jit_load(source, "f", 0, &module, &symbol, NULL), BB_OK);
    bbi_jit_release(module);
    assert_int_equal(bbi_jit_peek(source, "f", 0, &module, &symbol), BB_OK);
    assert_non_null(module);
    bbi_jit_release(module);
    bbi_jit_forget();
    assert_int_equal(bbi_jit_peek(source, "f", 0, &module, &symbol), BB_OK);
    assert_non_null(module);
    assert_non_null(symbol);
    bbi_jit_release(module);
    expect_counts(before, 1, 1, 1, 0);
}

static void the_level_reaches_the_source(void **state) {
    (void)state;
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        bbi_jit_module *module;
        void *symbol;
        bbi_text log = {0};
        assert_int_equal(bbi_jit_load("int f(void) { return 10 + BB_ISA; }", "f", level, &module, &symbol, &log),
                         BB_OK);
        int (*f)(void);
        memcpy(&f, &symbol, sizeof f);
        assert_int_equal(f(), 10 + level);
        assert_non_null(strstr(log.data, "-ffp-contract=off"));
        bbi_text_free(&log);
        bbi_jit_release(module);
    }
}

/* The only entry in the cache folder, found by its ending. */
static const char *only_entry(void) {
    static char name[300];
    int count = 0;
    DIR *folder = opendir(in_root("cache"));
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strstr(entry->d_name, ".bin") && ++count) snprintf(name, sizeof name, "cache/%s", entry->d_name);
    closedir(folder);
    assert_int_equal(count, 1);
    return name;
}

static void a_broken_kernel_on_disk_is_compiled_anew(void **state) {
    (void)state;
    int64_t before[BBI_JIT_COUNTERS];
    char path[BBI_PATH_SIZE], *file;
    size_t length;
    uint8_t key[32];
    assert_int_equal(call_factor(5), 11);
    snprintf(path, sizeof path, "%s", in_root(only_entry()));
    assert_int_equal(bbi_file_read(path, 1 << 20, true, &file, &length), 0);
    memcpy(key, file + 24, 32);
    bbi_jit_counters(before);
    for (int k = 0; k < 3; k++) {
        bbi_jit_forget();
        if (k == 0) assert_int_equal(truncate(path, (off_t)length / 2), 0);
        if (k == 1) assert_int_equal(bbi_file_write(path, "\177ELF not quite", 14, false), 0);
        if (k == 2) assert_true(bbi_cache_store(key, "a good header over nothing to load", 34));
        assert_int_equal(call_factor(5), 11);
        expect_counts(before, k + 1, 0, 0, 0);
    }
    bbi_jit_forget();
    assert_int_equal(call_factor(5), 11);
    expect_counts(before, 3, 1, 0, 0);
    bbi_free(file);
}

static int compile_with_a_read_only_folder(void) {
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) return 1;
    if (call_factor(6) != 13) return 2;
    bbi_jit_forget();
    if (call_factor(6) != 13) return 3;
    return counted(BBI_JIT_DISK_HITS) == 0 ? 8 : 4;
}

static void a_read_only_folder_means_kernels_in_memory(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_root("cache"), 0500), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(in_root("cache"), NOBODY, NOBODY), 0);
        assert_int_equal(chown(in_root("tmp"), NOBODY, NOBODY), 0);
        assert_int_equal(chmod(root, 0711), 0);
    }
    int64_t hits = counted(BBI_JIT_DISK_HITS);
    int result = in_child(compile_with_a_read_only_folder);
    assert_int_equal(result, hits == 0 ? 8 : 4);
    assert_int_equal(rmdir(in_root("cache")), 0); /* nothing in it */
}

static void a_hostile_folder_means_kernels_in_memory(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_root("cache"), 0700), 0);
    assert_int_equal(chmod(in_root("cache"), 0777), 0);
    assert_int_equal(call_factor(7), 15);
    assert_int_equal(rmdir(in_root("cache")), 0);
}

/* ---- many want the same kernel ---- */

static void six_processes_compile_once(void **state) {
    (void)state;
    int gate[2], status;
    char byte;
    use_slow_compiler("0.2");
    assert_int_equal(pipe(gate), 0);
    pid_t children[6];
    for (int k = 0; k < 6; k++) {
        children[k] = fork();
        if (children[k]) continue;
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 0) _exit(1);
        _exit(call_factor(8));
    }
    close(gate[0]);
    close(gate[1]); /* all start now */
    for (int k = 0; k < 6; k++) {
        assert_int_equal(waitpid(children[k], &status, 0), children[k]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 17);
    }
    assert_int_equal(starts("starts"), 1);
    assert_int_equal(run_shell("test $(ls cache | wc -l) = 1"), 0); /* no lock, no temporary left */
}

static void load_in_thread(void *argument) { *(int *)argument = call_factor(*(int *)argument); }

static void eight_threads_compile_once(void **state) {
    (void)state;
    bbi_thread *threads[8];
    int values[8];
    use_slow_compiler("0.1");
    for (int k = 0; k < 8; k++) {
        values[k] = 9;
        threads[k] = bbi_thread_start(load_in_thread, &values[k]);
    }
    for (int k = 0; k < 8; k++) {
        bbi_thread_join(threads[k]);
        assert_int_equal(values[k], 19);
    }
    assert_int_equal(starts("starts"), 1);
}

/* ---- memory runs out ---- */

static void exhaust(bool from_disk) {
    bbi_jit_forget();
    int64_t live = bbi_live_allocations(), allowed = 0;
    for (int value = -1; value < 0; allowed++) {
        bbi_jit_forget();
        if (!from_disk) assert_int_equal(bbi_cache_clear(NULL), BB_OK);
        bbi_fail_allocations_after(allowed);
        value = call_factor(19);
        bbi_fail_allocations_after(-1);
        assert_true(value == -1 || value == 39);
        bbi_jit_forget();
        assert_int_equal(bbi_live_allocations(), live);
        assert_true(allowed < 200);
    }
    assert_true(allowed > 1);
}

static void a_compile_survives_every_failed_allocation(void **state) {
    (void)state;
    exhaust(false);
}

static void a_load_from_disk_survives_every_failed_allocation(void **state) {
    (void)state;
    assert_int_equal(call_factor(19), 39);
    exhaust(true);
}

int main(void) {
    case_start();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_kernel_is_compiled_once_then_found),
        IN_FOLDER(kernels_that_live_together_are_not_confused),
        IN_FOLDER(peeking_never_compiles),
        IN_FOLDER(the_level_reaches_the_source),
        IN_FOLDER(a_broken_kernel_on_disk_is_compiled_anew),
        IN_FOLDER(a_read_only_folder_means_kernels_in_memory),
        IN_FOLDER(a_hostile_folder_means_kernels_in_memory),
        IN_FOLDER(six_processes_compile_once),
        IN_FOLDER(eight_threads_compile_once),
        IN_FOLDER(a_compile_survives_every_failed_allocation),
        IN_FOLDER(a_load_from_disk_survives_every_failed_allocation),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(search_path);
    return failed;
}
