/* test_threads.c: many threads on one context, one program, one kernel; handles released in any order; long runs that
 * stop soon; progress from one thread at a time; background compiles while the host forks, ignores SIGCHLD, unloads
 * the library or ends. Also built with -fsanitize=thread. */
#define _GNU_SOURCE
#include "run_case.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4 };
static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_compile_options waiting = {.size = sizeof waiting, .policy = BB_POLICY_WAIT};
static const bb_compile_options background = {.size = sizeof background, .policy = BB_POLICY_BACKGROUND};

static int set_up(void **state) {
    static char folder[BBI_PATH_SIZE];
    (void)state;
    if (bbi_folder_temporary(folder, sizeof folder) != 0) return 1;
    unsetenv("BENBEN_TARGET");
    return setenv("BENBEN_CACHE_DIR", folder, 1);
}

static int tear_down(void **state) {
    (void)state;
    return bbi_folder_remove(getenv("BENBEN_CACHE_DIR"));
}

static void in_threads(void *(*work)(void *), void *argument) {
    pthread_t thread[THREADS];
    for (int k = 0; k < THREADS; k++) assert_int_equal(pthread_create(&thread[k], NULL, work, argument), 0);
    for (int k = 0; k < THREADS; k++) pthread_join(thread[k], NULL);
}

/* ---- one context ---- */

typedef struct shared {
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    run_case *c;
    const char *bits;
    _Atomic int wrong;
} shared;

static void *build_expressions(void *argument) {
    shared *s = argument;
    for (int k = 0; k < 200; k++) {
        bb_context *c = s->context;
        bb_program *program = NULL, *derived = NULL;
        bb_kernel *kernel = NULL;
        int wanted[1] = {0};
        bb_expr x = bb_variable(c, 0, BB_I, 3), y = bb_variable(c, 1, BB_J, 3);
        bb_expr d = bb_apply(c, "sqdist", (bb_expr[]){x, y}, 2, NULL, 0), scale = bb_number(c, 1 + k % 17);
        bb_expr f = bb_apply(c, "exp", (bb_expr[]){bb_apply(c, "mul", (bb_expr[]){d, scale}, 2, NULL, 0)}, 1, NULL, 0);
        static const bb_variable_info signature[] = {{"x", BB_I, 3, 0}, {"y", BB_J, 3, 0}};
        bb_expr output = bb_reduce(c, "sum", BB_J, f, NULL, 0);
        bool good = bb_program_new(c, signature, 2, &output, 1, &program) == BB_OK &&
                    bb_grad(program, wanted, 1, NULL, 0, &derived) == BB_OK &&
                    bb_compile(derived, &interpreted, &kernel) == BB_OK && bb_program_cost(derived) > 0;
        char *text = NULL;
        good = good && bb_program_show(derived, k % 2 ? "dag" : "plan", BB_FLOAT64, &text) == BB_OK;
        bb_free(text);
        bb_program_release(program);
        bb_kernel_release(kernel);
        bb_program_release(derived);
        if (!good) atomic_fetch_add(&s->wrong, 1);
    }
    return NULL;
}

static void a_context_may_be_used_by_all(void **state) {
    (void)state;
    shared s = {0};
    EXPECT_OK(bb_context_new(&s.context));
    in_threads(build_expressions, &s);
    assert_int_equal(atomic_load(&s.wrong), 0);
    bb_context_release(s.context);
}

/* ---- one kernel ---- */

static void *run_and_release(void *argument) {
    shared *s = argument;
    size_t bytes = case_bytes(&s->c->output[0]);
    char *result = malloc(bytes);
    bb_array output = s->c->output[0];
    output.data = result;
    for (int k = 0; k < 20; k++) {
        bool good = bb_run(s->kernel, s->c->input, s->c->inputs, &output, 1, NULL) == BB_OK;
        if (!good || memcmp(result, s->bits, bytes) != 0) atomic_fetch_add(&s->wrong, 1);
    }
    free(result);
    bb_kernel_release(s->kernel); /* each thread has a reference of its own */
    return NULL;
}

static void a_kernel_may_be_compiled_and_run_by_all(void **state) {
    (void)state;
    run_case c;
    size_t length;
    bb_statistics before = {.size = sizeof before}, after = {.size = sizeof after};
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * cos(x - y))", BB_FLOAT32, &interpreted);
    case_size(&c, 200, 300);
    EXPECT_OK(case_run(&c, NULL));
    shared s = {.c = &c, .bits = case_bits(&c, &length)};
    EXPECT_OK(bb_compile(c.program, &waiting, &s.kernel));
    for (int k = 0; k < THREADS; k++) bb_kernel_retain(s.kernel);
    bb_kernel_release(s.kernel);
    EXPECT_OK(bb_get_statistics(&before));
    in_threads(run_and_release, &s); /* all of them meet a kernel that has not run: one compiles, the others wait */
    EXPECT_OK(bb_get_statistics(&after));
    assert_int_equal(atomic_load(&s.wrong), 0);
    assert_int_equal(after.compiles - before.compiles, 1);
    free((void *)(uintptr_t)s.bits);
    case_close(&c);
}

static void *compile_anew(void *argument) {
    shared *s = argument;
    bb_kernel *kernel = NULL;
    float x[6] = {0, 0, 0, 1, 1, 1}, a[2];
    int64_t point[2] = {2, 3}, result[2] = {2, 1};
    bb_array input[2] = {bb_array_of(x, BB_FLOAT32, 2, point), bb_array_of(x, BB_FLOAT32, 2, point)},
             output = bb_array_of(a, BB_FLOAT32, 2, result);
    bool good =
        bb_compile(s->program, &waiting, &kernel) == BB_OK && bb_run(kernel, input, 2, &output, 1, NULL) == BB_OK;
    good = good && bb_kernel_tier(kernel, BB_FLOAT32, NULL) == BB_TARGET_CPU && fabsf(a[0] - (1 + expf(-6))) < 1e-6f;
    bb_kernel_release(kernel);
    if (!good) atomic_fetch_add(&s->wrong, 1);
    return NULL;
}

static void a_program_may_be_compiled_by_all(void **state) {
    (void)state;
    shared s = {0};
    EXPECT_OK(bb_context_new(&s.context));
    EXPECT_OK(
        bb_program_parse(s.context, "sum_j(exp(-2 * sqdist(x:i3, y:j3)) * exp(sum(0 * x)))", NULL, 0, &s.program));
    bb_context_release(s.context); /* the program keeps it */
    in_threads(compile_anew, &s);
    assert_int_equal(atomic_load(&s.wrong), 0);
    bb_program_release(s.program);
}

static void handles_are_released_in_any_order(void **state) {
    (void)state;
    int64_t live = bbi_live_allocations();
    for (int order = 0; order < 24; order++) {
        run_case c;
        bb_program *gradient;
        int wanted[1] = {0}, left[4] = {0, 1, 2, 3}, rest = order;
        case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", BB_FLOAT32, &interpreted);
        case_size(&c, 3, 4);
        EXPECT_OK(bb_grad(c.program, wanted, 1, NULL, 0, &gradient));
        for (int count = 4; count > 0; count--) {
            int at = rest % count, what = left[at];
            rest /= count;
            left[at] = left[count - 1];
            if (what == 0) bb_context_release(c.context), c.context = NULL;
            if (what == 1) bb_program_release(c.program), c.program = NULL;
            if (what == 2) bb_program_release(gradient);
            if (what == 3) {
                EXPECT_OK(case_run(&c, NULL));
                bb_kernel_release(c.kernel), c.kernel = NULL;
            }
        }
        case_close(&c);
    }
    assert_int_equal(bbi_live_allocations(), live);
}

static void bits_do_not_depend_on_threads(void **state) {
    (void)state;
    static const char *const formulas[] = {
        "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", "kmin_argkmin_j(sqdist(x:i3, y:j3), 5)",
        "sumsoftmaxweight_ij(-sqdist(x:i3, y:j3), b:j2)", "prod_i(1 + 0.0001 * (x:i1 - y:j1))"};
    static const int threads[] = {1, 2, 3, 7};
    for (size_t f = 0; f < sizeof formulas / sizeof *formulas; f++) {
        run_case c;
        size_t length;
        char *bits = NULL;
        case_open(&c, formulas[f], BB_FLOAT32, &interpreted);
        case_size(&c, 1500, 4000);
        for (int t = 0; t < 4; t++) {
            bb_run_options options = {.size = sizeof options, .threads = threads[t]};
            EXPECT_OK(case_run(&c, &options));
            if (!bits) bits = case_bits(&c, &length);
            case_expect_bits(&c, bits, formulas[f]);
        }
        free(bits);
        case_close(&c);
    }
}

/* ---- long runs ---- */

static volatile int cancel_flag;
static _Atomic double cancelled_at;

static void *cancel_after(void *delay) {
    bbi_sleep(*(double *)delay);
    atomic_store(&cancelled_at, bbi_seconds());
    __atomic_store_n(&cancel_flag, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void long_runs_stop_soon(void **state) {
    (void)state;
    static const struct {
        const char *formula;
        int64_t m, n;
    } cases[] = {
        {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", 300000, 300000},
        {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", 2000, 20000000},
        {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", 20000000, 2000},
        {"argkmin_j(sqdist(x:i3, y:j3), 300)", 100000, 300000},
        {"sum_i(sin(x:i3 - y:j3))", 1000000, 100000},
        {"sum_j(sin(x:i100 - y:j100))", 100000, 100000},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        double soonest = 1e9, soon = 2; /* seconds; the runs would take minutes */
        run_case c;
        case_open(&c, cases[k].formula, BB_FLOAT32, &interpreted);
        case_size(&c, cases[k].m, cases[k].n);
        for (int attempt = 0; attempt < 4 && soonest > soon; attempt++) {
            pthread_t thread;
            double delay = 0.1;
            bb_run_options options = {.size = sizeof options, .cancel = &cancel_flag};
            cancel_flag = 0;
            assert_int_equal(pthread_create(&thread, NULL, cancel_after, &delay), 0);
            assert_int_equal(case_run(&c, &options), BB_CANCELLED);
            soonest = fmin(soonest, bbi_seconds() - atomic_load(&cancelled_at));
            pthread_join(thread, NULL);
        }
        if (soonest > soon)
            fail_msg("%s, %lld x %lld: cancelled after %g s", cases[k].formula, (long long)c.m, (long long)c.n,
                     soonest);
        case_close(&c);
    }
}

typedef struct watch {
    double last;
    int calls, stop_at;
    bool bad;
    _Atomic int inside;
} watch;

static int watch_progress(void *data, double done) {
    watch *w = data;
    if (atomic_fetch_add(&w->inside, 1) != 0 || !(done >= w->last) || done > 1) w->bad = true;
    w->last = done;
    bbi_sleep(0.001);
    atomic_fetch_sub(&w->inside, 1);
    return ++w->calls == w->stop_at;
}

static void progress_comes_from_one_thread_at_a_time(void **state) {
    (void)state;
    run_case c;
    watch w = {0};
    bb_run_options options = {.size = sizeof options, .threads = 4, .progress = watch_progress, .progress_data = &w};
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3) + max_j(-sqdist(x, y))) * b:j2)", BB_FLOAT32, &interpreted);
    case_size(&c, 10000, 20000);
    EXPECT_OK(case_run(&c, &options));
    assert_false(w.bad);
    assert_true(w.calls >= 2 && w.last == 1);
    w = (watch){.stop_at = 1};
    assert_int_equal(case_run(&c, &options), BB_CANCELLED);
    assert_int_equal(w.calls, 1);
    assert_non_null(strstr(bb_last_error(), "cancelled"));
    case_close(&c);
}

/* ---- background compiles and what hosts do meanwhile ---- */

/* Runs an act in a child, which answers 0. A child of a program with threads may use what the library promises. */
static void in_child(int (*act)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(100);
        _exit(act());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("the child ended with %#x", (unsigned)status);
}

static int compile_without_sigchld(void) {
    signal(SIGCHLD, SIG_IGN);
    run_case c;
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * tanh(x))", BB_FLOAT32, &background);
    case_size(&c, 20, 30);
    EXPECT_OK(case_run(&c, NULL));
    EXPECT_OK(bb_kernel_wait(c.kernel));
    int tier = bb_kernel_tier(c.kernel, BB_FLOAT32, NULL);
    EXPECT_OK(case_run(&c, NULL));
    case_check(&c, 1e-5);
    case_close(&c);
    return tier == BB_TARGET_CPU ? 0 : 1;
}

static void sigchld_may_be_ignored(void **state) {
    (void)state;
    in_child(compile_without_sigchld);
}

static int exit_at_once(void) {
    run_case c;
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * sinh(x))", BB_FLOAT32, &background);
    case_size(&c, 20, 30);
    EXPECT_OK(case_run(&c, NULL));
    exit(0);
}

static int fork_and_exit(void) {
    run_case c;
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * cosh(x))", BB_FLOAT32, &background);
    case_size(&c, 20, 30);
    EXPECT_OK(case_run(&c, NULL));
    for (int k = 0; k < 3; k++) {
        pid_t child = fork();
        if (child == 0) {
            if (case_run(&c, NULL) != BB_OK || bb_kernel_wait(c.kernel) != BB_OK) _exit(1);
            exit(bb_kernel_tier(c.kernel, BB_FLOAT32, NULL) == BB_TARGET_CPU ? 0 : 2);
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 3;
    }
    return 0;
}

static void a_process_may_end_or_fork_during_a_compile(void **state) {
    (void)state;
    in_child(exit_at_once);
    in_child(fork_and_exit);
}

#define LOOK_UP(library, name)                                                                                         \
    __typeof__(&name) loaded_##name;                                                                                   \
    do {                                                                                                               \
        void *symbol_ = dlsym(library, #name);                                                                         \
        if (!symbol_) return 10;                                                                                       \
        memcpy(&loaded_##name, &symbol_, sizeof symbol_);                                                              \
    } while (0)

static int unload_during_a_compile(void) {
    float x[6] = {0, 0, 0, 1, 1, 1}, a[6];
    int64_t shape[2] = {2, 3};
    for (int round = 0; round < 3; round++) {
        void *library = dlopen(BENBEN_BUILD_DIR "/libbenben.so", RTLD_NOW | RTLD_LOCAL);
        if (!library) return 9;
        LOOK_UP(library, bb_context_new);
        LOOK_UP(library, bb_program_parse);
        LOOK_UP(library, bb_compile);
        LOOK_UP(library, bb_run);
        LOOK_UP(library, bb_array_of);
        LOOK_UP(library, bb_context_release);
        LOOK_UP(library, bb_program_release);
        LOOK_UP(library, bb_kernel_release);
        static const char *const formulas[] = {"sum_j(exp(-sqdist(x:i3, y:j3)) * atan(x))",
                                               "sum_j(exp(-sqdist(x:i3, y:j3)) * asin(x / 2))",
                                               "sum_j(exp(-sqdist(x:i3, y:j3)) * acos(x / 2))"};
        bb_context *context;
        bb_program *program;
        bb_kernel *kernel;
        if (loaded_bb_context_new(&context) != BB_OK ||
            loaded_bb_program_parse(context, formulas[round], NULL, 0, &program) != BB_OK)
            return 1;
        if (loaded_bb_compile(program, &background, &kernel) != BB_OK) return 2;
        bb_array in[2] = {loaded_bb_array_of(x, BB_FLOAT32, 2, shape), loaded_bb_array_of(x, BB_FLOAT32, 2, shape)},
                 out = loaded_bb_array_of(a, BB_FLOAT32, 2, shape);
        if (loaded_bb_run(kernel, in, 2, &out, 1, NULL) != BB_OK) return 3;
        loaded_bb_kernel_release(kernel);
        loaded_bb_program_release(program);
        loaded_bb_context_release(context);
        if (dlclose(library) != 0) return 4;
        bbi_sleep(round * 0.1);
    }
    bbi_sleep(0.3);
    return 0;
}

static void the_library_may_be_unloaded_during_a_compile(void **state) {
    (void)state;
    if (access(BENBEN_BUILD_DIR "/libbenben.so", R_OK) != 0) skip();
    in_child(unload_during_a_compile);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_may_be_used_by_all),
        cmocka_unit_test(a_kernel_may_be_compiled_and_run_by_all),
        cmocka_unit_test(a_program_may_be_compiled_by_all),
        cmocka_unit_test(handles_are_released_in_any_order),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(long_runs_stop_soon),
        cmocka_unit_test(progress_comes_from_one_thread_at_a_time),
        cmocka_unit_test(sigchld_may_be_ignored),
        cmocka_unit_test(a_process_may_end_or_fork_during_a_compile),
        cmocka_unit_test(the_library_may_be_unloaded_during_a_compile),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
