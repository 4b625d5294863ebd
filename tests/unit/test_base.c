/* test_base.c: the bottom layer: memory, text, digests, messages, processor, threads; programs and files are in
 * test_os.c. A test's name is the sentence that would be false if it failed. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "in_child.h"

/* ---- memory and text ---- */

static void aligned_blocks_start_on_a_cache_line(void **state) {
    (void)state;
    int64_t before = bbi_live_allocations();
    for (size_t size = 0; size < 300; size += 7) {
        char *block = bbi_alloc_aligned(size);
        assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, 1, size);
        bbi_free_aligned(block);
    }
    assert_null(bbi_alloc_aligned(SIZE_MAX - 8));
    assert_int_equal(bbi_live_allocations(), before);
}

static void one_block_of_a_run_is_kept_for_the_next(void **state) {
    (void)state;
    int64_t before = bbi_live_allocations();
    size_t large = 3 << 20, size = large, small = 1 << 20, more = 5 << 20;
    char *block = bbi_alloc_kept(&size), *other = bbi_alloc_kept(&small);
    assert_true(size >= large && small >= 1 << 20);
    memset(block, 1, size);
    bbi_free_kept(block, size);
    bbi_free_kept(other, small); /* the larger one stays */
    assert_int_equal(bbi_live_allocations(), before);
    small = 1 << 20;
    assert_ptr_equal(bbi_alloc_kept(&small), block);
    assert_int_equal(small, size);
    assert_int_equal(bbi_live_allocations(), before + 1);
    memset(block, 2, small);
    bbi_free_kept(block, small);
    other = bbi_alloc_kept(&more); /* what is too small stays for others */
    assert_non_null(other);
    memset(other, 3, more);
    bbi_fail_allocations_after(0);
    small = 1 << 20;
    assert_null(bbi_alloc_kept(&small));
    bbi_fail_allocations_after(-1);
    bbi_free_kept(other, more);
    size = SIZE_MAX - 8;
    assert_null(bbi_alloc_kept(&size));
    assert_int_equal(bbi_live_allocations(), before);
}

static void arena_memory_is_zero_aligned_and_disjoint(void **state) {
    (void)state;
    int64_t before = bbi_live_allocations();
    bbi_arena arena = {0};
    unsigned char *blocks[400];
    for (size_t k = 0; k < 400; k++) {
        size_t size = k * k % 977 + (k == 300 ? 100000 : 0);
        blocks[k] = bbi_arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)blocks[k] % 16, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(blocks[k][i], 0);
        memset(blocks[k], (int)(k % 251) + 1, size);
    }
    for (size_t k = 0; k < 400; k++)
        for (size_t i = 0; i < k * k % 977; i++) assert_int_equal(blocks[k][i], k % 251 + 1);
    assert_string_equal(bbi_arena_strndup(&arena, "kernel matrix", 6), "kernel");
    bbi_arena_free(&arena);
    assert_int_equal(bbi_live_allocations(), before);
}

static void arena_survives_every_failed_allocation(void **state) {
    (void)state;
    int64_t before = bbi_live_allocations();
    bool complete = false;
    for (int64_t allowed = 0; !complete; allowed++) {
        bbi_arena arena = {0};
        complete = true;
        bbi_fail_allocations_after(allowed);
        for (int k = 0; k < 50; k++) complete = bbi_arena_alloc(&arena, 1000) && complete;
        bbi_fail_allocations_after(-1);
        bbi_arena_free(&arena);
        assert_int_equal(bbi_live_allocations(), before);
        assert_true(allowed < 20);
    }
}

static void text_grows_to_any_length(void **state) {
    (void)state;
    bbi_text text = {0};
    for (int k = 0; k < 3000; k++) bbi_text_add(&text, "%d,", k % 10);
    assert_int_equal(text.length, 6000);
    assert_int_equal(strlen(text.data), 6000);
    for (size_t k = 0; k < 6000; k++) assert_int_equal(text.data[k], k % 2 ? ',' : '0' + (int)(k / 2 % 10));
    bbi_text_append(&text, "a\0b", 3);
    assert_memory_equal(text.data + 6000, "a\0b", 4);
    assert_false(text.failed);
    bbi_text_free(&text);
    bbi_text_add(&text, "%s", "");
    assert_string_equal(text.data, "");
    bbi_text_free(&text);
}

static void text_says_so_when_memory_runs_out(void **state) {
    (void)state;
    int64_t before = bbi_live_allocations();
    bool failed = true;
    for (int64_t allowed = 0; failed; allowed++) {
        bbi_text text = {0};
        bbi_fail_allocations_after(allowed);
        for (int k = 0; k < 100; k++) bbi_text_add(&text, "%s%d", "a longer piece of text ", k);
        bbi_text_append(&text, "tail", 4);
        bbi_fail_allocations_after(-1);
        failed = text.failed;
        if (text.data) assert_int_equal(strlen(text.data), text.length);
        if (!failed) assert_string_equal(text.data + text.length - 6, "99tail");
        bbi_text_free(&text);
        assert_int_equal(bbi_live_allocations(), before);
        assert_true(allowed < 20);
    }
}

/* ---- digests ---- */

static void check_digest(const char *bytes, size_t length, size_t repeats, const char *expected) {
    for (size_t piece = 1; piece < 200; piece += 62) {
        bbi_sha256 hash;
        uint8_t digest[32];
        char text[65];
        bbi_sha256_init(&hash);
        for (size_t r = 0; r < repeats; r++)
            for (size_t k = 0; k < length; k += piece)
                bbi_sha256_add(&hash, bytes + k, length - k < piece ? length - k : piece);
        bbi_sha256_finish(&hash, digest);
        for (int k = 0; k < 32; k++) snprintf(text + 2 * k, 3, "%02x", digest[k]);
        assert_string_equal(text, expected);
    }
}

static void sha256_agrees_with_the_published_examples(void **state) {
    (void)state;
    check_digest("", 0, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_digest("abc", 3, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, 1,
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_digest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 "aaaaaaaaa",
                 100, 10000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void fields_of_a_digest_do_not_run_together(void **state) {
    (void)state;
    uint8_t digest[2][32];
    for (int k = 0; k < 2; k++) {
        bbi_sha256 hash;
        bbi_sha256_init(&hash);
        bbi_sha256_field(&hash, "abc", k ? 1 : 2);
        bbi_sha256_field(&hash, k ? "bc" : "c", k ? 2 : 1);
        bbi_sha256_finish(&hash, digest[k]);
    }
    assert_memory_not_equal(digest[0], digest[1], 32);
}

/* ---- messages ---- */

static void fail_elsewhere(void *argument) {
    (void)argument;
    bbi_fail(BB_BAD_SHAPE, "another thread's message");
}

static void a_message_belongs_to_its_thread(void **state) {
    (void)state;
    assert_int_equal(bbi_fail(BB_BAD_DTYPE, "x has %d columns", 3), BB_BAD_DTYPE);
    bbi_thread *thread = bbi_thread_start(fail_elsewhere, NULL);
    assert_non_null(thread);
    bbi_thread_join(thread);
    assert_string_equal(bb_last_error(), "x has 3 columns");
    assert_int_equal(bbi_fail_append(", found %s", "4"), BB_BAD_DTYPE);
    assert_string_equal(bb_last_error(), "x has 3 columns, found 4");
    bbi_fail(BB_BAD_SHAPE, "in y: %s", bb_last_error());
    assert_string_equal(bb_last_error(), "in y: x has 3 columns, found 4");
    bb_clear_error();
    assert_string_equal(bb_last_error(), "");
}

static void a_message_too_long_ends_in_an_ellipsis(void **state) {
    (void)state;
    static char umlauts[6001];
    for (int k = 0; k < 6000; k += 2) memcpy(umlauts + k, "\xc3\xa4", 2);
    for (int shift = 0; shift < 2; shift++) {
        bbi_fail(BB_BAD_SYNTAX, "%s%s", shift ? "x" : "", umlauts);
        size_t length = strlen(bb_last_error());
        assert_in_range(length, 4000, 4095);
        assert_string_equal(bb_last_error() + length - 3, "...");
        assert_int_equal((unsigned char)bb_last_error()[length - 4], 0xa4); /* a whole character */
    }
    bbi_fail_append("more");
    assert_in_range(strlen(bb_last_error()), 4000, 4095);
}

static void every_status_has_its_words(void **state) {
    (void)state;
    for (int code = BB_OK; code <= BB_INTERNAL; code++)
        assert_string_not_equal(bb_status_text((bb_status)code), "unknown status code");
    assert_string_equal(bb_status_text((bb_status)999), "unknown status code");
}

static char last_letter;
static char last_line[100];

static void keep_line(void *user, char letter, const char *line) {
    last_letter = letter;
    snprintf(last_line, sizeof last_line, "%s%s", (char *)user, line);
}

static int letters_of_the_environment(void) {
    setenv("BENBEN_DEBUG", "kz", 1);
    return bbi_debug('k') && bbi_debug('z') && !bbi_debug('c') && !bbi_debug('K') ? 0 : 1;
}

static void debug_lines_go_to_who_asked(void **state) {
    (void)state;
    assert_int_equal(in_child(letters_of_the_environment), 0);
    unsetenv("BENBEN_DEBUG");
    assert_false(bbi_debug('p'));
    bbi_set_log("pe", keep_line, "got ");
    bbi_log('p', "x + %d", 1);
    bbi_log('c', "not asked for");
    assert_int_equal(last_letter, 'p');
    assert_string_equal(last_line, "got x + 1");
    bbi_set_log(NULL, NULL, NULL);
    assert_false(bbi_debug('p'));
}

/* ---- processor, threads ---- */

static void the_level_is_what_the_processor_has(void **state) {
    (void)state;
    int level = bbi_cpu_level();
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    assert_int_equal(level, avx512 ? 2 : avx2 ? 1 : 0);
#else
    assert_int_equal(level, 0);
#endif
    assert_string_equal(bbi_cpu_identity(), bbi_cpu_identity());
    assert_true(strlen(bbi_cpu_identity()) > 10);
    assert_in_range(bbi_cache_size(1), 4 << 10, 1 << 20);
    assert_true(bbi_cache_size(2) >= bbi_cache_size(1));
    assert_in_range(bbi_cpu_count(), 1, 1 << 20);
    assert_true(bbi_peak_memory() > 100000);
}

static struct counting {
    bbi_mutex *mutex;
    bbi_condition *changed;
    int64_t total;
    int running;
} counting;

static void count_to_10000(void *argument) {
    struct counting *shared = argument;
    for (int k = 0; k < 10000; k++) {
        bbi_mutex_lock(shared->mutex);
        shared->total++;
        bbi_mutex_unlock(shared->mutex);
    }
    bbi_mutex_lock(shared->mutex);
    shared->running--;
    bbi_condition_wake_all(shared->changed);
    bbi_mutex_unlock(shared->mutex);
}

static void threads_count_together_under_a_mutex(void **state) {
    (void)state;
    int64_t before = bbi_live_allocations();
    counting = (struct counting){bbi_mutex_new(), bbi_condition_new(), 0, 4};
    for (int k = 0; k < 4; k++) bbi_thread_detach(bbi_thread_start(count_to_10000, &counting));
    bbi_mutex_lock(counting.mutex);
    while (counting.running > 0) bbi_condition_wait(counting.changed, counting.mutex);
    bbi_mutex_unlock(counting.mutex);
    assert_int_equal(counting.total, 40000);
    bbi_mutex_free(counting.mutex);
    bbi_condition_free(counting.changed);
    assert_int_equal(bbi_live_allocations(), before);
}

static void see_signals(void *argument) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    *(bool *)argument = sigismember(&mask, SIGINT) && sigismember(&mask, SIGALRM);
}

static void our_threads_take_no_signals_of_the_host(void **state) {
    (void)state;
    bool blocked = false;
    bbi_thread_join(bbi_thread_start(see_signals, &blocked));
    assert_true(blocked);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGINT));
}

static atomic_bool stop_locking;
static atomic_int times_locked;

static void lock_all_the_time(void *argument) {
    (void)argument;
    while (!stop_locking) {
        bbi_global_lock(BBI_GLOBAL_JIT);
        for (volatile int k = 0; k < 1000; k++) {
        }
        times_locked++;
        bbi_global_unlock(BBI_GLOBAL_JIT);
    }
}

static int lock_in_child(void) {
    alarm(5); /* a deadlock ends here */
    for (int k = 0; k < BBI_GLOBAL_COUNT; k++) {
        bbi_global_lock((bbi_global)k);
        bbi_global_unlock((bbi_global)k);
    }
    return 7;
}

static void a_forked_child_finds_every_monitor_free(void **state) {
    (void)state;
    stop_locking = false;
    bbi_thread *thread = bbi_thread_start(lock_all_the_time, NULL);
    while (times_locked == 0) bbi_sleep(1e-3);
    for (int k = 0; k < 50; k++) assert_int_equal(in_child(lock_in_child), 7);
    stop_locking = true;
    bbi_thread_join(thread);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_blocks_start_on_a_cache_line),
        cmocka_unit_test(one_block_of_a_run_is_kept_for_the_next),
        cmocka_unit_test(arena_memory_is_zero_aligned_and_disjoint),
        cmocka_unit_test(arena_survives_every_failed_allocation),
        cmocka_unit_test(text_grows_to_any_length),
        cmocka_unit_test(text_says_so_when_memory_runs_out),
        cmocka_unit_test(sha256_agrees_with_the_published_examples),
        cmocka_unit_test(fields_of_a_digest_do_not_run_together),
        cmocka_unit_test(a_message_belongs_to_its_thread),
        cmocka_unit_test(a_message_too_long_ends_in_an_ellipsis),
        cmocka_unit_test(every_status_has_its_words),
        cmocka_unit_test(debug_lines_go_to_who_asked),
        cmocka_unit_test(the_level_is_what_the_processor_has),
        cmocka_unit_test(threads_count_together_under_a_mutex),
        cmocka_unit_test(our_threads_take_no_signals_of_the_host),
        cmocka_unit_test(a_forked_child_finds_every_monitor_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
