/* test_run.c: runs among threads, forks and failures: results do not depend on the number of threads, on the
 * tier or on who else runs; a run can be cancelled, tells its progress, survives want of memory, and small
 * ones allocate nothing. */
#define _GNU_SOURCE
#include "run_case.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const char gaussian[] = "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)";

/* A folder of its own: what compiles here was not compiled before. */
static int set_up(void **state) {
    static char folder[BBI_PATH_SIZE];
    (void)state;
    if (bbi_folder_temporary(folder, sizeof folder) != 0) return 1;
    setenv("BENBEN_CACHE_DIR", folder, 1);
    setenv("BENBEN_BUILTIN", "0", 1); /* compiles are counted and their absence is felt */
    unsetenv("BENBEN_TARGET");
    unsetenv("BENBEN_ISA");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return bbi_folder_remove(getenv("BENBEN_CACHE_DIR"));
}

/* ---- threads ---- */

static void the_number_of_threads_does_not_change_a_bit(void **state) {
    (void)state;
    static const char *const formulas[] = {gaussian, "logsumexp_j(-sqdist(x:i3, y:j3))",
                                           "argkmin_j(sqdist(x:i3, y:j3), 4)",
                                           "sum_ij(exp(-sqdist(x:i3, y:j3)) * b:j2)",
                                           "sum_j(exp(-sqdist(x:i3, y:j3) - logsumexp_j(-sqdist(x, y))) * b:j2)"};
    static const int64_t sizes[][2] = {{2000, 2000}, {5, 60000}, {100, 20000}, {20000, 30}};
    for (size_t f = 0; f < sizeof formulas / sizeof *formulas; f++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            run_case c;
            size_t length;
            bb_run_options options = {.size = sizeof options, .threads = 1};
            case_open(&c, formulas[f], BB_FLOAT32, &interpreted);
            case_size(&c, sizes[s][0], sizes[s][1]);
            EXPECT_OK(case_run(&c, &options));
            char *bits = case_bits(&c, &length);
            for (options.threads = 2; options.threads <= 5; options.threads += 3) {
                EXPECT_OK(case_run(&c, &options));
                case_expect_bits(&c, bits, formulas[f]);
            }
            free(bits);
            case_close(&c);
        }
}

typedef struct crowd {
    run_case *c;
    const char *bits;
    _Atomic int wrong;
} crowd;

static void *run_often(void *argument) {
    crowd *all = argument;
    for (int k = 0; k < 200; k++) {
        int64_t shape[2];
        bb_array output = all->c->output[0];
        float *result = malloc(case_bytes(&output));
        memcpy(shape, output.shape, sizeof shape);
        output.data = result;
        output.shape = shape;
        bool good = bb_run(all->c->kernel, all->c->input, all->c->inputs, &output, 1, NULL) == BB_OK;
        if (!good || memcmp(result, all->bits, case_bytes(&output)) != 0) atomic_fetch_add(&all->wrong, 1);
        free(result);
    }
    return NULL;
}

static void threads_may_share_a_kernel_while_it_is_compiled(void **state) {
    (void)state;
    run_case c;
    size_t length;
    bb_compile_options background = {.size = sizeof background, .policy = BB_POLICY_BACKGROUND};
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1 * 1.25)", BB_FLOAT32, &interpreted);
    case_size(&c, 300, 500);
    EXPECT_OK(case_run(&c, NULL));
    crowd all = {.c = &c, .bits = case_bits(&c, &length)};
    bb_kernel_release(c.kernel);
    EXPECT_OK(bb_compile(c.program, &background, &c.kernel));
    pthread_t thread[3];
    for (int k = 0; k < 3; k++) assert_int_equal(pthread_create(&thread[k], NULL, run_often, &all), 0);
    for (int k = 0; k < 3; k++) pthread_join(thread[k], NULL);
    EXPECT_OK(bb_kernel_wait(c.kernel));
    assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT32, NULL), BB_TARGET_CPU);
    run_often(&all);
    assert_int_equal(atomic_load(&all.wrong), 0);
    free((void *)(uintptr_t)all.bits);
    case_close(&c);
}

/* ---- tiers ---- */

static void small_runs_compile_only_after_much_use(void **state) {
    (void)state;
    run_case c;
    const char *reason;
    bb_statistics before = {.size = sizeof before}, after = {.size = sizeof after};
    case_open(&c, "sum_j(exp(-2.5 * sqdist(x:i3, y:j3)) * b:j2 * s:p1)", BB_FLOAT64, NULL);
    case_size(&c, 10, 10);
    EXPECT_OK(bb_get_statistics(&before));
    for (int k = 0; k < 10; k++) EXPECT_OK(case_run(&c, NULL));
    EXPECT_OK(bb_get_statistics(&after));
    assert_int_equal(before.compiles, after.compiles);
    assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT64, &reason), BB_TARGET_INTERP);
    assert_string_equal(reason, "");
    case_size(&c, 2000, 2000);
    for (int k = 0; k < 20; k++) EXPECT_OK(case_run(&c, NULL));
    EXPECT_OK(bb_kernel_wait(c.kernel));
    EXPECT_OK(bb_get_statistics(&after));
    assert_int_equal(before.compiles + 1, after.compiles);
    assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT64, &reason), BB_TARGET_CPU);
    case_close(&c);
}

static void without_a_compiler_everything_works_and_the_reason_is_told(void **state) {
    (void)state;
    run_case c;
    const char *reason;
    char *path = strdup(getenv("PATH"));
    bb_compile_options wait = {.size = sizeof wait, .policy = BB_POLICY_WAIT};
    bb_compile_options required = {.size = sizeof required, .target = BB_TARGET_CPU};
    setenv("PATH", "/nowhere", 1);
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3) * 0.75) * b:j3)", BB_FLOAT32, &wait);
    case_size(&c, 40, 50);
    EXPECT_OK(case_run(&c, NULL));
    case_check(&c, 1e-5);
    assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT32, &reason), BB_TARGET_INTERP);
    assert_non_null(strstr(reason, "compiler"));
    bb_kernel_release(c.kernel);
    EXPECT_OK(bb_compile(c.program, &required, &c.kernel));
    assert_int_equal(case_run(&c, NULL), BB_COMPILER);
    assert_int_equal(case_run(&c, NULL), BB_COMPILER);
    setenv("PATH", path, 1);
    free(path);
    case_close(&c);
}

static void the_environment_chooses_where_the_caller_does_not(void **state) {
    (void)state;
    run_case c;
    const char *reason;
    setenv("BENBEN_TARGET", "cpu", 1);
    case_open(&c, gaussian, BB_FLOAT32, NULL);
    case_size(&c, 4, 5);
    EXPECT_OK(case_run(&c, NULL));
    assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT32, &reason), BB_TARGET_CPU);
    case_close(&c);
    setenv("BENBEN_TARGET", "interp", 1);
    case_open(&c, gaussian, BB_FLOAT32, NULL);
    case_size(&c, 4, 5);
    EXPECT_OK(case_run(&c, NULL));
    EXPECT_OK(bb_kernel_wait(c.kernel));
    assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT32, &reason), BB_TARGET_INTERP);
    assert_string_not_equal(reason, "");
    case_close(&c);
    unsetenv("BENBEN_TARGET");
}

static void tiers_agree_bit_for_bit_at_every_instruction_set(void **state) {
    (void)state;
    static const char *const level[] = {"0", "1", "2"};
    bb_compile_options required = {.size = sizeof required, .target = BB_TARGET_CPU};
    for (int l = 0; l < 3; l++)
        for (int rows = 5; rows < 100; rows += 85) {
            run_case a, b;
            size_t length;
            setenv("BENBEN_ISA", level[l], 1);
            case_open(&a, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j2)", BB_FLOAT32, &interpreted);
            case_open(&b, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j2)", BB_FLOAT32, &required);
            case_size(&a, rows, 1000);
            case_size(&b, rows, 1000);
            EXPECT_OK(case_run(&a, NULL));
            EXPECT_OK(case_run(&b, NULL));
            char *bits = case_bits(&a, &length);
            case_expect_bits(&b, bits, level[l]);
            free(bits);
            case_close(&a);
            case_close(&b);
        }
    unsetenv("BENBEN_ISA");
}

static void every_instruction_set_computes(void **state) {
    (void)state;
    static const char *const formulas[] = {gaussian, "logsumexp_j(-sqdist(x:i3, y:j3))",
                                           "argmin_j(sqdist(x:i3, y:j3))"};
    static const char *const level[] = {"0", "1", "2"};
    for (int l = 0; l < 3; l++)
        for (size_t f = 0; f < 3; f++)
            for (int rows = 7; rows < 80; rows += 70) {
                run_case c;
                setenv("BENBEN_ISA", level[l], 1);
                case_open(&c, formulas[f], BB_FLOAT32, &interpreted);
                case_size(&c, rows, 900);
                EXPECT_OK(case_run(&c, NULL));
                case_check(&c, 1e-5);
                case_close(&c);
            }
    unsetenv("BENBEN_ISA");
}

/* ---- forks ---- */

static void run_in_child(run_case *c, const char *bits) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bb_run_options options = {.size = sizeof options, .threads = 2};
        alarm(60);
        if (case_run(c, &options) != BB_OK || bb_kernel_wait(c->kernel) != BB_OK) _exit(1);
        if (bb_kernel_tier(c->kernel, BB_FLOAT32, NULL) != BB_TARGET_CPU) _exit(2);
        if (case_run(c, &options) != BB_OK) _exit(3);
        _exit(memcmp(c->output[0].data, bits, case_bytes(&c->output[0])) ? 4 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_forked_child_runs_and_compiles_what_its_parent_had_begun(void **state) {
    (void)state;
    run_case c;
    size_t length;
    bb_compile_options background = {.size = sizeof background, .policy = BB_POLICY_BACKGROUND};
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3) / 3) * b:j1 + x * y)", BB_FLOAT32, &background);
    case_size(&c, 1500, 1500);
    EXPECT_OK(case_run(&c, NULL)); /* the compiler is at work now */
    char *bits = case_bits(&c, &length);
    run_in_child(&c, bits);
    EXPECT_OK(bb_kernel_wait(c.kernel));
    EXPECT_OK(case_run(&c, NULL));
    case_expect_bits(&c, bits, "after the fork");
    run_in_child(&c, bits);
    free(bits);
    case_close(&c);
}

static void exit_and_release_do_not_wait_for_the_compiler(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_case c;
        bb_compile_options background = {.size = sizeof background, .policy = BB_POLICY_BACKGROUND};
        alarm(60);
        case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3) / 7) * b:j1)", BB_FLOAT32, &background);
        case_size(&c, 4, 4);
        EXPECT_OK(case_run(&c, NULL));
        case_close(&c);
        exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- cancelling, progress ---- */

typedef struct listener {
    int calls, stop_at;
    double last;
    bool ordered;
} listener;

static int listen(void *data, double done) {
    listener *l = data;
    l->ordered &= done >= l->last && done <= 1;
    l->last = done;
    return ++l->calls == l->stop_at;
}

static void progress_grows_to_one(void **state) {
    (void)state;
    run_case c;
    listener l = {.ordered = true};
    bb_run_options options = {.size = sizeof options, .progress = listen, .progress_data = &l};
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3) - logsumexp_j(-sqdist(x, y))) * b:j2)", BB_FLOAT32, &interpreted);
    case_size(&c, 20000, 20000);
    EXPECT_OK(case_run(&c, &options));
    assert_true(l.calls >= 3);
    assert_true(l.ordered);
    assert_true(l.last == 1);
    l = (listener){.stop_at = 2, .ordered = true};
    assert_int_equal(case_run(&c, &options), BB_CANCELLED);
    assert_int_equal(l.calls, 2);
    case_close(&c);
}

static volatile int cancelled;

static void *cancel_soon(void *unused) {
    bbi_sleep(0.05);
    __atomic_store_n(&cancelled, 1, __ATOMIC_RELAXED);
    return unused;
}

static void a_flag_cancels_a_long_run(void **state) {
    (void)state;
    run_case c;
    pthread_t thread;
    bb_run_options options = {.size = sizeof options, .cancel = &cancelled};
    case_open(&c, gaussian, BB_FLOAT32, &interpreted);
    case_size(&c, 300000, 300000);
    cancelled = 0;
    double begin = bbi_seconds();
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    assert_int_equal(case_run(&c, &options), BB_CANCELLED);
    assert_true(bbi_seconds() - begin < 5);
    pthread_join(thread, NULL);
    case_close(&c);
}

/* ---- memory ---- */

static void small_repeated_runs_allocate_nothing(void **state) {
    (void)state;
    run_case c;
    case_open(&c, gaussian, BB_FLOAT32, &interpreted);
    case_size(&c, 10, 10);
    EXPECT_OK(case_run(&c, NULL));
    bbi_fail_allocations_after(0);
    bb_status status = case_run(&c, NULL);
    bbi_fail_allocations_after(-1);
    EXPECT_OK(status);
    case_check(&c, 1e-5);
    case_close(&c);
}

static void want_of_memory_at_any_place_is_reported(void **state) {
    (void)state;
    static const char *const formulas[] = {"sum_j(exp(-sqdist(x:i3, y:j3) - logsumexp_j(-sqdist(x, y))) * b:j2)",
                                           "argkmin_j(sqdist(x:i3, y:j3), 4)"};
    int64_t live = bbi_live_allocations();
    for (size_t f = 0; f < 2; f++)
        for (int64_t n = 0, successes = 0; successes < 12;
             n++) { /* helpers are done without: a success is not the end */
            run_case c;
            const int64_t all[] = {0, 200}, slices[] = {1}, columns[] = {0, 400};
            bb_ranges ranges = {
                .size = sizeof ranges, .count_i = 1, .ranges_i = all, .slices_i = slices, .reduced_j = columns};
            bb_run_options options = {.size = sizeof options, .threads = 2, .ranges = &ranges};
            case_open(&c, formulas[f], BB_FLOAT32, &interpreted);
            case_size(&c, 200, 400);
            bbi_fail_allocations_after(n);
            bb_status status = case_run(&c, &options);
            bbi_fail_allocations_after(-1);
            successes = status == BB_OK ? successes + 1 : 0;
            if (status != BB_OK) {
                assert_int_equal(status, BB_OUT_OF_MEMORY);
                EXPECT_OK(case_run(&c, &options));
            }
            if (n % 16 == 0 || successes) case_check(&c, 1e-5);
            case_close(&c);
        }
    assert_int_equal(bbi_live_allocations(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_of_threads_does_not_change_a_bit),
        cmocka_unit_test(threads_may_share_a_kernel_while_it_is_compiled),
        cmocka_unit_test(small_runs_compile_only_after_much_use),
        cmocka_unit_test(without_a_compiler_everything_works_and_the_reason_is_told),
        cmocka_unit_test(the_environment_chooses_where_the_caller_does_not),
        cmocka_unit_test(every_instruction_set_computes),
        cmocka_unit_test(tiers_agree_bit_for_bit_at_every_instruction_set),
        cmocka_unit_test(a_forked_child_runs_and_compiles_what_its_parent_had_begun),
        cmocka_unit_test(exit_and_release_do_not_wait_for_the_compiler),
        cmocka_unit_test(progress_grows_to_one),
        cmocka_unit_test(a_flag_cancels_a_long_run),
        cmocka_unit_test(small_repeated_runs_allocate_nothing),
        cmocka_unit_test(want_of_memory_at_any_place_is_reported),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
