/* test_cache.c: the disk cache, the table of compiled kernels and the compiler behind them: among processes,
 * threads, forks, hostile folders, broken entries and hosts with habits of their own. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "compiler.h"
#include "jit.h"

enum { NOBODY = 65534 };

static char root[BBI_PATH_SIZE / 2]; /* of one test: root/cache is BENBEN_CACHE_DIR, root/tmp is TMPDIR */
static char *search_path;            /* PATH as the test program got it */

static const char *in_root(const char *name) {
    static char paths[8][BBI_PATH_SIZE];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static int run_shell(const char *script) {
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    int exit_code = 1000;
    return bbi_run_program(argv, root, NULL, &exit_code) == BB_OK ? exit_code : 1000;
}

static int set_up(void **state) {
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
static int tear_down(void **state) {
    (void)state;
    bbi_jit_forget();
    int left = rmdir(in_root("tmp"));
    const char *argv[] = {"/bin/rm", "-rf", root, NULL};
    int exit_code;
    bbi_run_program(argv, NULL, NULL, &exit_code);
    bbi_folder_remove(root); /* takes it off the list of what to clear at exit */
    return left;
}

static int in_child(int (*function)(void)) {
    pid_t child = fork();
    if (child == 0) _exit(function());
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + status;
}

static void key_of(int number, uint8_t key[32]) {
    bbi_sha256 hash;
    bbi_sha256_init(&hash);
    bbi_sha256_add(&hash, &number, sizeof number);
    bbi_sha256_finish(&hash, key);
}

static const char *entry_name(const uint8_t key[32]) {
    static char name[80] = "cache/";
    bbi_hex(key, 32, name + 6);
    strcpy(name + 70, ".bin");
    return name;
}

static bool stored(const uint8_t key[32]) {
    char *bytes;
    size_t length;
    bool hit = bbi_cache_load(key, &bytes, &length);
    bbi_free(bytes);
    return hit;
}

/* ---- the disk cache ---- */

static void an_entry_comes_back_as_it_was(void **state) {
    (void)state;
    uint8_t key[32], other[32];
    char *bytes;
    size_t length;
    key_of(1, key);
    key_of(2, other);
    assert_false(stored(key));
    assert_true(bbi_cache_store(key, "kernel\0matrix", 13));
    assert_true(bbi_cache_load(key, &bytes, &length));
    assert_int_equal(length, 13);
    assert_memory_equal(bytes, "kernel\0matrix", 14);
    bbi_free(bytes);
    assert_false(stored(other));
    assert_true(bbi_cache_store(other, "", 0));
    assert_true(bbi_cache_load(other, &bytes, &length));
    assert_int_equal(length, 0);
    bbi_free(bytes);
    bbi_cache_drop(key);
    assert_false(stored(key));
    assert_true(stored(other));
}

static void a_broken_entry_is_a_miss_and_is_removed(void **state) {
    (void)state;
    uint8_t key[32], other[32];
    char payload[200], *file;
    size_t length;
    key_of(1, key);
    key_of(2, other);
    for (int k = 0; k < 200; k++) payload[k] = (char)k;
    assert_true(bbi_cache_store(key, payload, sizeof payload));
    assert_int_equal(bbi_file_read(in_root(entry_name(key)), 1 << 20, true, &file, &length), 0);
    for (size_t at = 0; at < length; at++) { /* any one byte changed, the file cut anywhere */
        file[at] ^= 1;
        assert_int_equal(bbi_file_write(in_root(entry_name(key)), file, length, false), 0);
        assert_false(stored(key));
        assert_int_equal(access(in_root(entry_name(key)), F_OK), -1);
        file[at] ^= 1;
        assert_int_equal(bbi_file_write(in_root(entry_name(key)), file, at, false), 0);
        assert_false(stored(key));
        assert_int_equal(access(in_root(entry_name(key)), F_OK), -1);
    }
    assert_int_equal(bbi_file_write(in_root(entry_name(other)), file, length, false), 0);
    assert_false(stored(other)); /* whole, but the entry of another key */
    assert_int_equal(bbi_file_write(in_root(entry_name(key)), file, length, false), 0);
    assert_true(stored(key));
    bbi_free(file);
}

static void an_entry_that_others_could_write_is_not_loaded(void **state) {
    (void)state;
    uint8_t key[32];
    key_of(1, key);
    assert_true(bbi_cache_store(key, "abc", 3));
    assert_int_equal(chmod(in_root(entry_name(key)), 0666), 0);
    assert_false(stored(key));
    assert_true(bbi_cache_store(key, "abc", 3));
    assert_int_equal(rename(in_root(entry_name(key)), in_root("moved")), 0);
    assert_int_equal(symlink(in_root("moved"), in_root(entry_name(key))), 0);
    assert_false(stored(key));
    assert_int_equal(access(in_root("moved"), F_OK), 0); /* the link went, not what it led to */
    assert_int_equal(mkfifo(in_root(entry_name(key)), 0600), 0);
    assert_false(stored(key));
    assert_true(bbi_cache_store(key, "abc", 3));
    if (geteuid() == 0) {
        assert_int_equal(chown(in_root(entry_name(key)), NOBODY, NOBODY), 0);
        assert_false(stored(key));
    }
}

static void expect_refused(const char *word) {
    uint8_t key[32];
    bbi_cache_state cache;
    key_of(1, key);
    assert_false(bbi_cache_store(key, "abc", 3));
    assert_false(stored(key));
    assert_null(bbi_cache_lock(key, 0.01));
    assert_int_equal(bbi_cache_look(&cache), BB_OK);
    assert_non_null(strstr(cache.refusal, word));
    assert_int_equal(bbi_cache_clear(NULL), BB_CACHE);
    assert_non_null(strstr(bb_last_error(), word));
}

static void a_hostile_folder_is_not_used(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_root("cache"), 0700), 0);
    assert_int_equal(chmod(in_root("cache"), 0777), 0);
    expect_refused("writable by nobody else");
    assert_int_equal(chmod(in_root("cache"), 0700), 0);
    assert_int_equal(symlink(in_root("cache"), in_root("link")), 0);
    setenv("BENBEN_CACHE_DIR", in_root("link"), 1);
    expect_refused("no symbolic link");
    setenv("BENBEN_CACHE_DIR", in_root("link///"), 1);
    expect_refused("no symbolic link");
    assert_int_equal(bbi_file_write(in_root("file"), "", 0, false), 0);
    setenv("BENBEN_CACHE_DIR", in_root("file"), 1);
    expect_refused("belong to you");
    setenv("BENBEN_CACHE_DIR", in_root("file/deeper"), 1);
    expect_refused("belong to you");
    if (geteuid() == 0) {
        setenv("BENBEN_CACHE_DIR", in_root("cache"), 1);
        assert_int_equal(chown(in_root("cache"), NOBODY, NOBODY), 0);
        expect_refused("belong to you");
    }
    setenv("BENBEN_CACHE_DIR", in_root("cache"), 1);
    setenv("BENBEN_CACHE", "0", 1);
    expect_refused("BENBEN_CACHE=0");
}

static void the_folder_follows_the_environment(void **state) {
    (void)state;
    bbi_cache_state cache;
    static const char *const names[] = {"BENBEN_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
    static const char *const expected[] = {"/1", "/2/benben", "/3/.cache/benben"};
    char *home = strdup(getenv("HOME") ? getenv("HOME") : "");
    for (int k = 2; k >= 0; k--) setenv(names[k], in_root(k == 0 ? "1/" : k == 1 ? "2" : "3"), 1);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(bbi_cache_look(&cache), BB_OK);
        assert_string_equal(cache.folder + strlen(root), expected[k]);
        assert_string_equal(cache.refusal, "");
        if (k == 1) {
            setenv("XDG_CACHE_HOME", "relative", 1); /* void */
            assert_int_equal(bbi_cache_look(&cache), BB_OK);
            assert_string_equal(cache.folder + strlen(root), expected[2]);
        }
        unsetenv(names[k]);
    }
    assert_int_equal(bbi_cache_look(&cache), BB_OK);
    assert_string_equal(cache.folder, "");
    assert_non_null(strstr(cache.refusal, "set BENBEN_CACHE_DIR"));
    setenv("HOME", home, 1);
    free(home);
}

static void the_size_limit_drops_what_was_used_longest_ago(void **state) {
    (void)state;
    static char payload[1000];
    uint8_t key[32];
    bbi_cache_state cache;
    setenv("BENBEN_CACHE_SIZE", "12000", 1);
    for (int k = 0; k < 10; k++) { /* 1088 bytes each; entry 0 is the oldest made */
        key_of(k, key);
        assert_true(bbi_cache_store(key, payload, sizeof payload));
        struct timespec times[2] = {{.tv_sec = 1000000 + k}, {.tv_sec = 1000000 + k}};
        assert_int_equal(utimensat(AT_FDCWD, in_root(entry_name(key)), times, 0), 0);
    }
    key_of(0, key);
    assert_true(stored(key)); /* used now */
    for (int k = 10; k < 13; k++) {
        key_of(k, key);
        assert_true(bbi_cache_store(key, payload, sizeof payload));
        assert_int_equal(bbi_cache_look(&cache), BB_OK);
        assert_true(cache.bytes <= cache.limit);
    }
    for (int k = 0; k < 13; k++) {
        key_of(k, key);
        if (k == 0 || k >= 10) assert_true(stored(key));
        if (k == 1 || k == 2) assert_false(stored(key));
    }
    key_of(99, key);
    setenv("BENBEN_CACHE_SIZE", "500", 1);
    assert_false(bbi_cache_store(key, payload, sizeof payload));
    setenv("BENBEN_CACHE_SIZE", "nonsense", 1);
    assert_int_equal(bbi_cache_look(&cache), BB_OK);
    assert_int_equal(cache.limit, 256 << 20);
}

static void clearing_removes_entries_and_nothing_else(void **state) {
    (void)state;
    uint8_t key[32];
    int64_t removed = -1;
    bbi_cache_state cache;
    assert_int_equal(bbi_cache_clear(&removed), BB_OK); /* no folder yet */
    assert_int_equal(removed, 0);
    for (int k = 0; k < 5; k++) {
        key_of(k, key);
        assert_true(bbi_cache_store(key, "abc", 3));
    }
    assert_int_equal(bbi_file_write(in_root("cache/letter.txt"), "dear", 4, false), 0);
    assert_int_equal(bbi_cache_look(&cache), BB_OK);
    assert_int_equal(cache.entries, 5);
    assert_int_equal(cache.bytes, 5 * (88 + 3));
    assert_int_equal(bbi_cache_clear(&removed), BB_OK);
    assert_int_equal(removed, 5);
    assert_false(stored(key));
    assert_int_equal(access(in_root("cache/letter.txt"), F_OK), 0);
}

static void what_a_crash_left_is_swept(void **state) {
    (void)state;
    uint8_t key[32];
    char old[120], fresh[120];
    key_of(1, key);
    snprintf(old, sizeof old, "%.70s.bin.123.0.tmp", entry_name(key));
    key_of(2, key);
    snprintf(fresh, sizeof fresh, "%.70s.bin.123.0.tmp", entry_name(key));
    assert_true(bbi_cache_store(key, "abc", 3));
    assert_int_equal(bbi_file_write(in_root(old), "", 0, false), 0);
    assert_int_equal(bbi_file_write(in_root(fresh), "", 0, false), 0);
    struct timespec times[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
    assert_int_equal(utimensat(AT_FDCWD, in_root(old), times, 0), 0);
    assert_true(bbi_cache_store(key, "abcd", 4));
    bbi_cache_state cache;
    assert_int_equal(bbi_cache_look(&cache), BB_OK);
    assert_int_equal(access(in_root(old), F_OK), -1);
    assert_int_equal(access(in_root(fresh), F_OK), 0);
}

static int store_on_a_full_disk(void) {
    struct rlimit limit = {100, 100};
    uint8_t key[32];
    static char payload[1000];
    setrlimit(RLIMIT_FSIZE, &limit);
    key_of(1, key);
    return !bbi_cache_store(key, payload, sizeof payload) && !stored(key) ? 6 : 1;
}

static void a_disk_that_takes_nothing_is_survived(void **state) {
    (void)state;
    assert_int_equal(in_child(store_on_a_full_disk), 6);
}

/* ---- kernels ---- */

typedef float function(float);

/* Loads "x * factor + 1" and calls it at 2. */
static bb_status load_factor(int factor, bbi_jit_module **module, float *value) {
    char source[200];
    void *symbol;
    snprintf(source, sizeof source, "float f(float x) { return x * %d + 1; }\n", factor);
    bb_status status = bbi_jit_load(source, "f", bbi_cpu_level(), module, &symbol, NULL);
    function *f;
    memcpy(&f, &symbol, sizeof f);
    *value = status == BB_OK ? f(2) : -1;
    return status;
}

static int call_factor(int factor) {
    bbi_jit_module *module;
    float value;
    if (load_factor(factor, &module, &value) != BB_OK) return -1;
    bbi_jit_release(module);
    return (int)value;
}

static int64_t counted(int which) {
    int64_t counters[BBI_JIT_COUNTERS];
    bbi_jit_counters(counters);
    return counters[which];
}

static void expect_counts(const int64_t before[BBI_JIT_COUNTERS], int compiles, int disk, int memory, int failures) {
    assert_int_equal(counted(BBI_JIT_COMPILES) - before[BBI_JIT_COMPILES], compiles);
    assert_int_equal(counted(BBI_JIT_DISK_HITS) - before[BBI_JIT_DISK_HITS], disk);
    assert_int_equal(counted(BBI_JIT_MEMORY_HITS) - before[BBI_JIT_MEMORY_HITS], memory);
    assert_int_equal(counted(BBI_JIT_FAILURES) - before[BBI_JIT_FAILURES], failures);
}

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

static void write_script(const char *name, const char *text) {
    assert_int_equal(bbi_file_write(in_root(name), text, strlen(text), false), 0);
    assert_int_equal(chmod(in_root(name), 0700), 0);
}

static int starts(const char *log) {
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
static void use_slow_compiler(const char *seconds) {
    char script[BBI_PATH_SIZE + 200];
    snprintf(script, sizeof script, "#!/bin/sh\necho b >> %s\nsleep %s\ncc \"$@\" && echo s >> %s\n", in_root("begun"),
             seconds, in_root("starts"));
    write_script("slow", script);
    setenv("BENBEN_CC", in_root("slow"), 1);
}

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

static void a_refused_source_is_not_compiled_again(void **state) {
    (void)state;
    static const char source[] = "int f(void) { return undeclared_thing; }";
    int64_t before[BBI_JIT_COUNTERS], live = bbi_live_allocations();
    bbi_jit_module *module;
    void *symbol;
    setenv("BENBEN_DUMP", in_root("kept"), 1);
    bbi_jit_counters(before);
    for (int k = 0; k < 3; k++) {
        bb_clear_error();
        bbi_text log = {0};
        assert_int_equal(bbi_jit_load(source, "f", 0, &module, &symbol, &log), BB_COMPILER);
        assert_null(module);
        assert_non_null(strstr(bb_last_error(), "undeclared_thing"));
        assert_non_null(strstr(bb_last_error(), in_root("kept")));
        if (k == 0) assert_non_null(strstr(log.data, "undeclared_thing"));
        bbi_text_free(&log);
    }
    expect_counts(before, 1, 0, 0, 1);
    assert_int_equal(run_shell("grep -q undeclared_thing kept/*.c"), 0);
    assert_int_equal(bbi_jit_load("int f;", "g", 0, &module, &symbol, NULL), BB_INTERNAL);
    assert_non_null(strstr(bb_last_error(), "'g'"));
    bbi_jit_forget();
    assert_int_equal(bbi_live_allocations(), live);
}

static void a_failure_that_may_pass_is_tried_again(void **state) {
    (void)state;
    char script[BBI_PATH_SIZE + 200];
    snprintf(script, sizeof script, "#!/bin/sh\nif test -e %s; then exec cc \"$@\"; fi\nkill -9 $$\n",
             in_root("healthy"));
    write_script("moody", script);
    setenv("BENBEN_CC", in_root("moody"), 1);
    assert_int_equal(call_factor(11), -1);
    assert_non_null(strstr(bb_last_error(), "137"));
    assert_int_equal(bbi_file_write(in_root("healthy"), "", 0, false), 0);
    assert_int_equal(call_factor(11), 23);
}

static void without_a_compiler_one_message_says_what_to_do(void **state) {
    (void)state;
    setenv("PATH", in_root("nothing"), 1);
    assert_int_equal(call_factor(12), -1);
    assert_non_null(strstr(bb_last_error(), "zig cc"));
    assert_non_null(strstr(bb_last_error(), "install gcc"));
    setenv("BENBEN_CC", "no-such-compiler", 1);
    assert_int_equal(call_factor(12), -1);
    assert_non_null(strstr(bb_last_error(), "BENBEN_CC='no-such-compiler'"));
    unsetenv("BENBEN_CC");
    setenv("PATH", search_path, 1);
    assert_int_equal(call_factor(12), 25);
}

static void options_that_a_compiler_refuses_are_left_out(void **state) {
    (void)state;
    char script[BBI_PATH_SIZE + 500];
    snprintf(script, sizeof script,
             "#!/bin/sh\necho start >> %s\nfor o in \"$@\"; do case $o in\n"
             "-march=native) echo \"bad value 'native' for -march\"; exit 1;;\n"
             "-fno-tree*) echo \"unknown argument: $o\"; exit 1;;\nesac; done\nexec cc \"$@\"\n",
             in_root("starts"));
    write_script("picky", script);
    setenv("BENBEN_CC", in_root("picky"), 1);
    assert_int_equal(call_factor(13), 27);
    assert_int_equal(starts("starts"), 3); /* each refusal once */
    assert_int_equal(call_factor(14), 29);
    assert_int_equal(starts("starts"), 4); /* and remembered */
    bbi_jit_forget();
    assert_int_equal(call_factor(13), 27);
    assert_int_equal(starts("starts"), 4); /* under the same name on disk */
}

static void a_compiler_is_words_or_a_path_with_blanks(void **state) {
    (void)state;
    bbi_compiler compiler;
    setenv("BENBEN_CC", "  env  -u NOTHING cc ", 1);
    assert_int_equal(bbi_compiler_find(&compiler), BB_OK);
    assert_string_equal(compiler.words[2], "cc");
    assert_null(compiler.words[3]);
    assert_non_null(strstr(compiler.identity, "/cc ")); /* a change of what `env` starts is seen */
    assert_int_equal(call_factor(15), 31);
    write_script("my compiler", "#!/bin/sh\nexec cc \"$@\"\n");
    setenv("BENBEN_CC", in_root("my compiler"), 1);
    assert_int_equal(call_factor(16), 33);
    char here[BBI_PATH_SIZE];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(root), 0); /* a relative path is the host's, not the compile's */
    setenv("BENBEN_CC", "./my compiler", 1);
    assert_int_equal(call_factor(20), 41);
    assert_int_equal(chdir(here), 0);
    setenv("BENBEN_CC", "a b c d e f g h i j k", 1);
    assert_int_equal(bbi_compiler_find(&compiler), BB_COMPILER);
}

static int compile_with_sigchld_ignored(void) {
    bbi_jit_module *module;
    void *symbol;
    signal(SIGCHLD, SIG_IGN);
    if (call_factor(17) != 35) return 1;
    if (bbi_jit_load("int f(void) { wrong }", "f", 0, &module, &symbol, NULL) != BB_COMPILER) return 2;
    return strstr(bb_last_error(), "wrong") ? 9 : 3;
}

static void sigchld_ignored_changes_nothing(void **state) {
    (void)state;
    assert_int_equal(in_child(compile_with_sigchld_ignored), 9);
}

static void compile_slowly(void *argument) {
    (void)argument;
    call_factor(18);
}

/* The child ends by a signal: at an orderly exit a leak checker would count what the parent's thread had at
 * hand. */
static int value_made_in_a_child(void) {
    int answer[2], value = -1;
    assert_int_equal(pipe(answer), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        setenv("BENBEN_CACHE", "0", 1); /* what the parent's compile would leave on disk does not help */
        value = call_factor(18);
        if (write(answer[1], &value, sizeof value) > 0) kill(getpid(), SIGKILL);
        _exit(1);
    }
    close(answer[1]);
    if (read(answer[0], &value, sizeof value) != sizeof value) value = -1;
    close(answer[0]);
    waitpid(child, NULL, 0);
    return value;
}

static void a_forked_child_does_not_wait_for_the_parents_compile(void **state) {
    (void)state;
    use_slow_compiler("0.4");
    bbi_thread *thread = bbi_thread_start(compile_slowly, NULL);
    for (int k = 0; k < 5000 && starts("begun") == 0; k++) bbi_sleep(1e-3);
    assert_int_equal(value_made_in_a_child(), 37);
    bbi_thread_join(thread);
    assert_int_equal(starts("starts"), 2);
}

static void a_host_that_exits_during_a_compile_leaves_nothing(void **state) {
    (void)state;
    char *bytes;
    size_t length;
    use_slow_compiler("3");
    pid_t child = fork();
    if (child == 0) {
        bbi_thread_detach(bbi_thread_start(compile_slowly, NULL));
        for (int k = 0; k < 5000 && starts("begun") == 0; k++) bbi_sleep(1e-3);
        exit(12); /* with destructors: not _exit */
    }
    double start = bbi_seconds();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 12);
    assert_true(bbi_seconds() - start < 2);
    assert_int_not_equal(bbi_file_read(in_root("tmp"), 1, false, &bytes, &length), 0);
    assert_int_equal(rmdir(in_root("tmp")), 0);
    assert_int_equal(mkdir(in_root("tmp"), 0700), 0);
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
    search_path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_entry_comes_back_as_it_was),
        TEST(a_broken_entry_is_a_miss_and_is_removed),
        TEST(an_entry_that_others_could_write_is_not_loaded),
        TEST(a_hostile_folder_is_not_used),
        TEST(the_folder_follows_the_environment),
        TEST(the_size_limit_drops_what_was_used_longest_ago),
        TEST(clearing_removes_entries_and_nothing_else),
        TEST(what_a_crash_left_is_swept),
        TEST(a_disk_that_takes_nothing_is_survived),
        TEST(a_kernel_is_compiled_once_then_found),
        TEST(kernels_that_live_together_are_not_confused),
        TEST(peeking_never_compiles),
        TEST(the_level_reaches_the_source),
        TEST(a_broken_kernel_on_disk_is_compiled_anew),
        TEST(a_read_only_folder_means_kernels_in_memory),
        TEST(a_hostile_folder_means_kernels_in_memory),
        TEST(six_processes_compile_once),
        TEST(eight_threads_compile_once),
        TEST(a_refused_source_is_not_compiled_again),
        TEST(a_failure_that_may_pass_is_tried_again),
        TEST(without_a_compiler_one_message_says_what_to_do),
        TEST(options_that_a_compiler_refuses_are_left_out),
        TEST(a_compiler_is_words_or_a_path_with_blanks),
        TEST(sigchld_ignored_changes_nothing),
        TEST(a_forked_child_does_not_wait_for_the_parents_compile),
        TEST(a_host_that_exits_during_a_compile_leaves_nothing),
        TEST(a_compile_survives_every_failed_allocation),
        TEST(a_load_from_disk_survives_every_failed_allocation),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(search_path);
    return failed;
}
