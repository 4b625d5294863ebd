/* test_programs.c: random whole programs, run every way there is, against the oracle: formulas over the table
 * of operations, reductions along every axis and nested in each other, sizes around the borders of tiles,
 * storage types, sum schemes, ranges, batches, strides, threads, tiers, instruction sets.
 *
 * BENBEN_TEST_ROUNDS: multiplies the number of programs; BENBEN_TEST_SEED: number of the first. A failure
 * prints the seed and the formula: BENBEN_TEST_SEED=seed BENBEN_TEST_COUNT=1 test_programs 'name*' repeats
 * that case. */
#include "random_run.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int64_t lengths[] = {0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}
static uint64_t rounds(uint64_t quick) {
    return setting("BENBEN_TEST_COUNT", quick * setting("BENBEN_TEST_ROUNDS", 1));
}
static uint64_t first_seed(uint64_t start) { return setting("BENBEN_TEST_SEED", start); }

/* A size that admits the K smallest, with few pairs where the oracle would be slow. */
static void draw_sizes(random_run *r, int64_t *m, int64_t *n, int64_t most_pairs) {
    int64_t least = r->formula.most_k;
    do {
        *m = lengths[below(&r->formula, LENGTHS)];
        *n = lengths[below(&r->formula, LENGTHS)];
        if (chance(&r->formula, 6)) *n = 1000 + below(&r->formula, 4000);
        if (chance(&r->formula, 4)) *m = 1000 + below(&r->formula, 1000);
    } while (*m < least || *n < least || *m * *n > most_pairs);
}

static bb_kernel *compiled(random_run *r, bb_target target, bb_policy policy, bb_sum_scheme scheme, int wide) {
    bb_compile_options options = {
        .size = sizeof options, .target = target, .policy = policy, .sum_scheme = scheme, .accumulate_double = wide};
    bb_kernel *kernel = NULL;
    RUN_OK(r, bb_compile(r->program, &options, &kernel));
    return kernel;
}

/* Rounding of a sum over an axis: blocks of 256 terms, compensated, one after the other. */
static double sum_factor(bb_sum_scheme scheme, int64_t m, int64_t n) {
    double terms = (double)(m > n ? m : n);
    return scheme == BB_SUM_DIRECT ? 8 + terms / 2 : 8 + fmin(terms, 256) / 4 + terms / 256;
}

/* One program at one size: types and schemes in turn, in the interpreter. */
static void check_values(uint64_t seed) {
    static const bb_dtype doubles[] = {BB_FLOAT64}, floats[] = {BB_FLOAT32},
                          mixed[] = {BB_FLOAT16, BB_FLOAT32, BB_BFLOAT16}, halves[] = {BB_FLOAT16},
                          brains[] = {BB_BFLOAT16};
    static const struct {
        const bb_dtype *types;
        int count;
        bb_dtype result;
    } storages[] = {{doubles, 1, BB_FLOAT64}, {floats, 1, BB_FLOAT32},  {mixed, 3, BB_FLOAT32},
                    {halves, 1, BB_FLOAT16},  {brains, 1, BB_BFLOAT16}, {halves, 1, BB_FLOAT32}};
    random_run r;
    int64_t m, n;
    bool sparse = seed % 4 == 3;
    run_open(&r, seed, false, sparse, 3, 1 + (int)(seed % 3));
    sparse = sparse && !r.moved; /* ranges go by placement */
    draw_sizes(&r, &m, &n, seed % 8 ? 1500 : 20000);
    run_draw(&r, m, n, sparse, seed % 2 ? 1.0 / 64 : 1.0 / 4);
    bb_sum_scheme scheme = (bb_sum_scheme)(seed / 3 % 4);
    run_want(&r, sum_factor(scheme, m, n));
    for (int k = 0; k < 6; k++) {
        if (k >= 2 && k != 2 + (int)(seed % 4)) continue;
        bb_kernel *kernel = compiled(&r, BB_TARGET_INTERP, BB_POLICY_AUTO, scheme, (int)(seed / 12 % 2));
        arrays one, two;
        arrays_open(&one, &r, storages[k].types, storages[k].count, storages[k].result);
        arrays_open(&two, &r, storages[k].types, storages[k].count, storages[k].result);
        RUN_OK(&r, arrays_run(&r, &one, kernel, 1));
        arrays_check(&r, &one, k ? 0x1p-24 : 0x1p-53, k ? "float" : "double");
        RUN_OK(&r, arrays_run(&r, &two, kernel, 2));
        arrays_same(&r, &one, &two, "one thread and two");
        arrays_close(&one);
        arrays_close(&two);
        bb_kernel_release(kernel);
    }
    run_close(&r);
}

static void values_agree_with_the_oracle(void **state) {
    (void)state;
    uint64_t first = first_seed(1000), count = rounds(600);
    for (uint64_t k = 0; k < count; k++) check_values(first + k);
}

/* ---- tiers ---- */
static void check_tiers(uint64_t seed) {
    random_run r;
    run_open(&r, seed, false, false, 3, 1 + (int)(seed % 3));
    bb_sum_scheme scheme = (bb_sum_scheme)(seed / 5 % 4);
    bool is_double = seed % 2;
    bb_dtype type = is_double ? BB_FLOAT64 : BB_FLOAT32;
    bb_kernel *interpreted = compiled(&r, BB_TARGET_INTERP, BB_POLICY_AUTO, scheme, 0);
    bb_kernel *native = compiled(&r, BB_TARGET_CPU, BB_POLICY_WAIT, scheme, 0);
    for (int size = 0; size < 6; size++) {
        int64_t m, n;
        arrays one, two;
        draw_sizes(&r, &m, &n, 70000);
        run_draw(&r, m, n, size == 3, size % 2 ? 1.0 / 64 : 1.0 / 4);
        arrays_open(&one, &r, &type, 1, type);
        arrays_open(&two, &r, &type, 1, type);
        RUN_OK(&r, arrays_run(&r, &one, interpreted, 1));
        RUN_OK(&r, arrays_run(&r, &two, native, 2));
        arrays_same(&r, &one, &two, is_double ? "interpreter and compiled, double" : "interpreter and compiled, float");
        arrays_close(&one);
        arrays_close(&two);
    }
    bb_kernel_release(interpreted);
    bb_kernel_release(native);
    run_close(&r);
}

static void both_tiers_give_the_same_bits(void **state) {
    (void)state;
    uint64_t first = first_seed(5000), count = rounds(40);
    for (uint64_t k = 0; k < count; k++) check_tiers(first + k);
}

/* ---- batches and strides ---- */

/* Three batch elements; some inputs are shared by all. Each must be the run on its own. */
static void check_batches(uint64_t seed) {
    enum { BATCH = 3 };
    random_run r;
    int64_t m, n, shape[2][RUN_INPUTS][3];
    bb_dtype type = seed % 2 ? BB_FLOAT64 : BB_FLOAT32;
    run_open(&r, seed, false, false, 2, 1 + (int)(seed % 2));
    draw_sizes(&r, &m, &n, 5000);
    run_draw(&r, BATCH * m, BATCH * n, false, 1.0 / 64); /* rows of all batch elements, one after the other */
    bb_kernel *kernel = compiled(&r, BB_TARGET_INTERP, BB_POLICY_AUTO, BB_SUM_AUTO, 0);
    arrays all, one;
    arrays_open(&all, &r, &type, 1, type);
    bool shared[RUN_INPUTS], any = false;
    for (int k = 0; k < r.inputs; k++) {
        bool parameter = r.variable[k].place == BB_NONE;
        shared[k] = parameter || chance(&r.formula, 40);
        any = any || !shared[k];
    }
    if (!any) shared[0] = false;
    for (int k = 0; k < r.inputs; k++) {
        if (r.variable[k].place == BB_NONE) continue;
        int64_t s[3] = {shared[k] ? 1 : BATCH, r.variable[k].place == BB_I ? m : n, r.variable[k].dim};
        memcpy(shape[0][k], s, sizeof s);
        all.input[k].shape = shape[0][k], all.input[k].ndim = 3;
    }
    for (int k = 0; k < r.outputs; k++) {
        free(all.output[k].data);
        int64_t rows = r.info[k].place == BB_I ? m : r.info[k].place == BB_J ? n : 1;
        int64_t s[3] = {BATCH, r.info[k].place == BB_NONE ? r.info[k].dim : rows, r.info[k].dim};
        memcpy(shape[1][k], s, sizeof s);
        all.output[k] =
            bb_array_of(calloc((size_t)(BATCH * rows * r.info[k].dim) + 1, 8), r.info[k].is_index ? BB_INT64 : type,
                        r.info[k].place == BB_NONE ? 2 : 3, shape[1][k]);
    }
    r.m = m, r.n = n;
    RUN_OK(&r, arrays_run(&r, &all, kernel, 2));
    for (int b = 0; b < BATCH; b++) {
        arrays_open(&one, &r, &type, 1, type);
        for (int k = 0; k < r.inputs; k++) {
            int64_t count = run_rows(&r, (int)r.variable[k].place) * r.variable[k].dim;
            for (int64_t e = 0; e < count; e++)
                store(one.input[k].data, type, e, r.value[k][(shared[k] ? 0 : b * count) + e]);
        }
        RUN_OK(&r, arrays_run(&r, &one, kernel, 1));
        for (int k = 0; k < r.outputs; k++) {
            int64_t count = run_rows(&r, (int)r.info[k].place) * r.info[k].dim;
            for (int64_t e = 0; e < count; e++)
                if (!same_number(load(&one.output[k], e), load(&all.output[k], b * count + e)))
                    run_fail(&r, "a batch element differs from its own run");
        }
        arrays_close(&one);
    }
    arrays_close(&all);
    bb_kernel_release(kernel);
    run_close(&r);
}

static void batches_are_runs_of_their_own(void **state) {
    (void)state;
    uint64_t first = first_seed(9000), count = rounds(200);
    for (uint64_t k = 0; k < count; k++) check_batches(first + k);
}

/* Columns first, backwards, with gaps. */
static void check_strides(uint64_t seed) {
    random_run r;
    int64_t m, n, stride[RUN_INPUTS][2];
    bb_dtype type = seed % 3 == 2 ? BB_FLOAT16 : seed % 3 ? BB_FLOAT64 : BB_FLOAT32;
    size_t bytes = storage_bytes(type);
    run_open(&r, seed, false, false, 2, 1);
    draw_sizes(&r, &m, &n, 5000);
    run_draw(&r, m, n, false, 1.0 / 64);
    bb_kernel *kernel = compiled(&r, BB_TARGET_INTERP, BB_POLICY_AUTO, BB_SUM_AUTO, 0);
    arrays plain, strided;
    arrays_open(&plain, &r, &type, 1, type);
    arrays_open(&strided, &r, &type, 1, type);
    for (int k = 0; k < r.inputs; k++) {
        int64_t rows = run_rows(&r, (int)r.variable[k].place), dim = r.variable[k].dim;
        int64_t way[3][2] = {{1, rows}, {-3 * dim, -1}, {2 * dim + 1, 2}};
        memcpy(stride[k], way[below(&r.formula, 3)], sizeof stride[k]);
        int64_t begin = stride[k][0] < 0 ? 3 * rows * dim : 0;
        free(strided.input[k].data);
        strided.input[k].data = malloc((size_t)(3 * rows * dim + 4 * dim + 8) * bytes);
        strided.input[k].byte_offset = (uint64_t)begin * bytes;
        for (int64_t row = 0; row < rows; row++)
            for (int64_t d = 0; d < dim; d++)
                store(strided.input[k].data, type, begin + row * stride[k][0] + d * stride[k][1],
                      r.value[k][row * dim + d]);
        strided.input[k].strides = r.variable[k].place == BB_NONE ? &stride[k][1] : stride[k];
    }
    RUN_OK(&r, arrays_run(&r, &plain, kernel, 1));
    RUN_OK(&r, arrays_run(&r, &strided, kernel, 1));
    arrays_same(&r, &plain, &strided, "strides");
    arrays_close(&plain);
    arrays_close(&strided);
    bb_kernel_release(kernel);
    run_close(&r);
}

static void strides_change_no_bit(void **state) {
    (void)state;
    uint64_t first = first_seed(13000), count = rounds(200);
    for (uint64_t k = 0; k < count; k++) check_strides(first + k);
}

/* ---- instruction sets: the level is read once per process, so that each has a process of its own ---- */
static int check_level(int level) {
    char text[4];
    snprintf(text, sizeof text, "%d", level);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setenv("BENBEN_ISA", text, 1);
        const struct CMUnitTest tests[] = {{text, values_agree_with_the_oracle, NULL, NULL, NULL}};
        setenv("BENBEN_TEST_SEED", "17000", 0);
        setenv("BENBEN_TEST_COUNT", "100", 0);
        _exit(cmocka_run_group_tests_name("values at an instruction set", tests, NULL, NULL));
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

static int level_status[3];
static void every_instruction_set_agrees_with_the_oracle(void **state) {
    (void)state;
    for (int level = 0; level < 3; level++) assert_int_equal(level_status[level], 0);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    for (int level = 0; level < 3 && argc == 1; level++)
        level_status[level] = check_level(level); /* before it is known here */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_agree_with_the_oracle),
        cmocka_unit_test(both_tiers_give_the_same_bits),
        cmocka_unit_test(batches_are_runs_of_their_own),
        cmocka_unit_test(strides_change_no_bit),
        cmocka_unit_test(every_instruction_set_agrees_with_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
