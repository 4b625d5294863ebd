/* test_cache.c: the disk cache among hostile folders, broken entries and limits. */
#define _GNU_SOURCE
#include "cache_case.h"

#include <fcntl.h>
#include <sys/resource.h>

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

int main(void) {
    case_start();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(an_entry_comes_back_as_it_was),
        IN_FOLDER(a_broken_entry_is_a_miss_and_is_removed),
        IN_FOLDER(an_entry_that_others_could_write_is_not_loaded),
        IN_FOLDER(a_hostile_folder_is_not_used),
        IN_FOLDER(the_folder_follows_the_environment),
        IN_FOLDER(the_size_limit_drops_what_was_used_longest_ago),
        IN_FOLDER(clearing_removes_entries_and_nothing_else),
        IN_FOLDER(what_a_crash_left_is_swept),
        IN_FOLDER(a_disk_that_takes_nothing_is_survived),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(search_path);
    return failed;
}
