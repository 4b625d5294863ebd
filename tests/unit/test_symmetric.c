/* test_symmetric.c: runs in which i- and j-variables are given one array: half of the pairs give what all of them give
 * (the oracle, or the same numbers in arrays of their own), in both tiers and for any number of threads with the same
 * bits; which stages meet half of the pairs, which do not, and into how few passes gradients go. */
#include "run_case.h"

#include "program.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_compile_options compiled = {.size = sizeof compiled, .target = BB_TARGET_CPU};

/* Inputs in the order in which the formula names them; those of one letter are one array. */
typedef struct example {
    const char *formula, *letters;
    int halves; /* stages that meet half of the pairs */
} example;
static const example examples[] = {
    {"sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)", "xxsb", 1},
    {"sum_i(exp(-sqdist(x:i3, y:j3)) * b:i2)", "xxb", 1},
    {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j6)", "xxb", 1},
    {"sum_j(norm2(x:i12 - y:j12) * b:j1)", "xxb", 1},
    {"sum_j(exp(-sqdist(x:i11, y:j11)) * (y - x) * b:j1)", "xxb", 1},
    {"sum_j(exp(-sqdist(x:i2, y:j2)) * (x - y))", "xx", 1},
    {"sum_j(sinh(x:i1 - y:j1) + (x - y) * abs(x - y)) ", "xx", 1},
    {"sum_j(tanh(sum(p:i2 * (x:i2 - y:j2)) - sum(q:j2 * (y - x))) * b:j1)", "pxxpb", 1},
    {"sum_j(exp(-sqdist(x:i2, y:j2)) * b:j1) * c:i1; sum_i(exp(-sqdist(x, y)) * d:i2)", "xxbcd", 1},
    {"sum_j(exp(-sqdist(x:i2, y:j2)) * sum_i(exp(-sqdist(x, y)) * b:i1))", "xxb", 2},
    {"sum_j(exp(-sqdist(x:i2, y:j2)) * b:j1 / sum_j(exp(-sqdist(x, y))))", "xxb", 1},
    {"sum_ij(exp(-sqdist(x:i3, y:j3)) * sum(p:i3 * q:j3))", "xxpp", 1},
    {"sum_j(exp(sum(x:i2 * y:j2) / 8) * b:j1); max_j(x - y)", "xxb", 0}, /* a maximum shares the pass */
    {"sum_j(exp(x:i1 - y:j1) * b:j1)", "xxb", 0},
    {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j40)", "xxb", 0},
    {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j10)", "xxb", 0},
    {"logsumexp_j(-sqdist(x:i3, y:j3))", "xx", 0},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

/* ---- a program with a plan for arrays that are the same ---- */
typedef struct twin {
    run_case c;
    int32_t same[CASE_MAX];
    void *own[CASE_MAX]; /* memory of inputs that have another's */
    bbi_plan *plan;
    bbi_executable *executable;
} twin;

static void make_same(const char *letters, int count, int32_t *same) {
    for (int k = 0; k < count; k++) same[k] = (int32_t)(strchr(letters, letters[k]) - letters);
}

static void twin_open(twin *t, const example *e, bb_dtype dtype, const bb_compile_options *options) {
    memset(t, 0, sizeof *t);
    case_open(&t->c, e->formula, dtype, options);
    make_same(e->letters, t->c.inputs, t->same);
    EXPECT_OK(bbi_plan_of(t->c.program, options, dtype == BB_FLOAT64, t->same, &t->plan));
    EXPECT_OK(bbi_executable_new(t->plan, dtype == BB_FLOAT64, options, t->c.kernel->level, &t->executable));
}

static void twin_split(twin *t) {
    for (int k = 0; k < CASE_MAX; k++)
        if (t->own[k]) t->c.input[k].data = t->own[k];
}

/* shared: one array for inputs of one letter, else copies of it */
static void twin_share(twin *t, bool shared) {
    twin_split(t);
    for (int k = 0; k < t->c.inputs; k++) {
        t->own[k] = t->c.input[k].data;
        if (t->same[k] == k) continue;
        memcpy(t->c.input[k].data, t->c.input[t->same[k]].data, case_bytes(&t->c.input[k]));
        if (shared) t->c.input[k].data = t->c.input[t->same[k]].data;
    }
}

static void twin_size(twin *t, int64_t n) {
    twin_split(t);
    memset(t->own, 0, sizeof t->own);
    case_size(&t->c, n, n);
    twin_share(t, true);
}

static void twin_run(twin *t, int threads) {
    const bb_program *p = t->c.program;
    bb_run_options options = {.size = sizeof options, .threads = threads};
    EXPECT_OK(bbi_execute(t->executable, t->c.input, t->c.inputs, p->signature.variables, t->c.output, t->c.outputs,
                          p->info, &options));
}

static void twin_close(twin *t) {
    twin_split(t);
    bbi_executable_free(t->executable);
    bbi_plan_free(t->plan);
    case_close(&t->c);
}

/* ---- values ---- */
static void sizes_agree_with_the_oracle_and_tiers_bit_for_bit(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 31, 63, 64, 65, 127, 129, 257};
    for (int n = 0; n < 2 * EXAMPLES; n++) {
        twin a, b;
        bb_dtype dtype = n & 1 ? BB_FLOAT64 : BB_FLOAT32;
        twin_open(&a, &examples[n / 2], dtype, &interpreted);
        twin_open(&b, &examples[n / 2], dtype, &compiled);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            size_t length;
            twin_size(&a, sizes[k]);
            twin_size(&b, sizes[k]);
            twin_run(&a, 1);
            twin_run(&b, 1);
            case_check(&a.c, dtype == BB_FLOAT64 ? 1e-12 : 5e-5);
            char *bits = case_bits(&a.c, &length);
            case_expect_bits(&b.c, bits, examples[n / 2].formula);
            free(bits);
        }
        twin_close(&a);
        twin_close(&b);
    }
}

static double largest_difference(const run_case *a, const run_case *b) {
    double worst = 0;
    for (int k = 0; k < a->outputs; k++) {
        int64_t count = (int64_t)(case_bytes(&a->output[k]) / (a->output[k].dtype_bits / 8));
        double scale = 1e-30;
        for (int64_t e = 0; e < count; e++) scale = fmax(scale, fabs(case_element(&b->output[k], e)));
        for (int64_t e = 0; e < count; e++)
            worst = fmax(worst, fabs(case_element(&a->output[k], e) - case_element(&b->output[k], e)) / scale);
    }
    return worst;
}

/* Several bands, groups of rows, blocks of columns; against runs with copies, which meet all pairs in full. */
static void large_runs_agree_with_full_ones_for_any_number_of_threads(void **state) {
    (void)state;
    static const int64_t sizes[] = {1103, 1600, 2333};
    static const int chosen[] = {0, 4, 8, 9};
    for (int n = 0; n < 8; n++) {
        twin t, full;
        bb_dtype dtype = n & 1 ? BB_FLOAT64 : BB_FLOAT32;
        const example *e = &examples[chosen[n / 2]];
        twin_open(&t, e, dtype, &compiled);
        twin_open(&full, e, dtype, &compiled);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            size_t length;
            twin_size(&t, sizes[k]);
            twin_size(&full, sizes[k]);
            twin_share(&full, false);
            EXPECT_OK(case_run(&full.c, NULL));
            twin_run(&t, 1);
            assert_true(largest_difference(&t.c, &full.c) < (n & 1 ? 1e-13 : 3e-6));
            char *bits = case_bits(&t.c, &length);
            for (int threads = 2; threads <= 7; threads += threads == 3 ? 4 : 1) {
                twin_run(&t, threads);
                case_expect_bits(&t.c, bits, "threads");
            }
            free(bits);
        }
        twin_close(&t);
        twin_close(&full);
    }
}

static void schemes_of_summation_agree(void **state) {
    (void)state;
    for (int n = 0; n < 4; n++) {
        twin t, full;
        bb_compile_options options = {.size = sizeof options,
                                      .target = BB_TARGET_INTERP,
                                      .sum_scheme = n & 1 ? BB_SUM_KAHAN : BB_SUM_BLOCK,
                                      .accumulate_double = n / 2};
        twin_open(&t, &examples[4], BB_FLOAT32, &options);
        twin_open(&full, &examples[4], BB_FLOAT64, &interpreted);
        for (int64_t rows = 190; rows < 2500; rows += 1100) {
            twin_size(&t, rows);
            twin_size(&full, rows);
            twin_share(&full, false);
            EXPECT_OK(case_run(&full.c, NULL));
            twin_run(&t, 2);
            assert_true(largest_difference(&t.c, &full.c) < (n ? 1e-6 : 2e-6));
        }
        twin_close(&t);
        twin_close(&full);
    }
}

static void what_is_not_a_number_stays_where_it_was(void **state) {
    (void)state;
    for (int n = 0; n < 2; n++) {
        twin t, full;
        const example *e = &examples[n ? 11 : 0];
        twin_open(&t, e, BB_FLOAT32, &interpreted);
        twin_open(&full, e, BB_FLOAT32, &interpreted);
        twin_size(&t, 200);
        twin_size(&full, 200);
        ((float *)t.c.input[0].data)[3 * 77] = ((float *)full.c.input[0].data)[3 * 77] = n ? NAN : INFINITY;
        ((float *)t.c.input[3].data)[130] = ((float *)full.c.input[3].data)[130] = n ? 2 : -INFINITY;
        twin_share(&full, false);
        EXPECT_OK(case_run(&full.c, NULL));
        twin_run(&t, 1);
        for (int64_t k = 0; k < (int64_t)(case_bytes(&t.c.output[0]) / 4); k++) {
            double found = case_element(&t.c.output[0], k), wanted = case_element(&full.c.output[0], k);
            assert_true(isnan(found) == isnan(wanted) && isinf(found) == isinf(wanted));
        }
        twin_close(&t);
        twin_close(&full);
    }
}

static void batches_are_one_problem_each(void **state) {
    (void)state;
    enum { B = 5, N = 300 };
    run_case c;
    bb_kernel *kernel;
    static float x[B * N * 2], b[B * N], found[B * N], wanted[N];
    uint32_t seed = 7;
    for (int k = 0; k < B * N * 2; k++) x[k] = (float)case_random(&seed);
    for (int k = 0; k < B * N; k++) b[k] = (float)case_random(&seed);
    case_open(&c, "sum_j(exp(-sqdist(x:i2, y:j2)) * b:j1)", BB_FLOAT32, &interpreted);
    EXPECT_OK(bb_compile(c.program, &interpreted, &kernel));
    int64_t points[] = {B, N, 2}, values[] = {B, N, 1};
    bb_array in[3] = {bb_array_of(x, BB_FLOAT32, 3, points), bb_array_of(x, BB_FLOAT32, 3, points),
                      bb_array_of(b, BB_FLOAT32, 3, values)};
    bb_array out = bb_array_of(found, BB_FLOAT32, 3, values);
    EXPECT_OK(bb_run(kernel, in, 3, &out, 1, NULL));
    assert_non_null(atomic_load(&kernel->twins[0]));
    static float copy[N * 2];
    for (int k = 0; k < B; k++) { /* each alone, with a copy of its points */
        bb_array one[3] = {bb_array_of(x + k * N * 2, BB_FLOAT32, 2, points + 1),
                           bb_array_of(copy, BB_FLOAT32, 2, points + 1),
                           bb_array_of(b + k * N, BB_FLOAT32, 2, values + 1)};
        bb_array alone = bb_array_of(wanted, BB_FLOAT32, 2, values + 1);
        memcpy(copy, x + k * N * 2, sizeof copy);
        EXPECT_OK(bb_run(c.kernel, one, 3, &alone, 1, NULL));
        for (int row = 0; row < N; row++) assert_true(fabsf(wanted[row] - found[k * N + row]) < 2e-5f);
    }
    assert_null(atomic_load(&c.kernel->twins[0]));
    bb_kernel_release(kernel);
    case_close(&c);
}

/* ---- plans ---- */
static int halves_of(const bbi_plan *plan) {
    int count = 0;
    for (int32_t k = 0; k < plan->nstage; k++) count += plan->stage[k].symmetric;
    return count;
}

static void only_what_is_symmetric_is_halved(void **state) {
    (void)state;
    for (int n = 0; n < EXAMPLES; n++) {
        twin t;
        twin_open(&t, &examples[n], BB_FLOAT32, &interpreted);
        if (halves_of(t.plan) != examples[n].halves)
            fail_msg("%s: %d stages meet half of the pairs, not %d", examples[n].formula, halves_of(t.plan),
                     examples[n].halves);
        twin_close(&t);
    }
}

static void arrays_decide(void **state) {
    (void)state;
    run_case c;
    case_open(&c, examples[0].formula, BB_FLOAT32, &interpreted);
    case_size(&c, 300, 300);
    EXPECT_OK(case_run(&c, NULL));
    assert_null(atomic_load(&c.kernel->twins[0]));
    void *own = c.input[1].data;
    c.input[1].data = c.input[0].data;
    EXPECT_OK(case_run(&c, NULL));
    bbi_variant *v = atomic_load(&c.kernel->twins[0]);
    assert_true(v && v->executable && v->plan->stage[0].symmetric);
    EXPECT_OK(case_run(&c, NULL));
    assert_null(v->next); /* the plan is found again */
    c.input[1].data = own;
    case_close(&c);
    case_open(&c, "sum_j(exp(x:i1 - y:j1) * b:j1)", BB_FLOAT32, &interpreted); /* nothing is won */
    case_size(&c, 300, 300);
    own = c.input[1].data;
    c.input[1].data = c.input[0].data;
    EXPECT_OK(case_run(&c, NULL));
    case_check(&c, 3e-5);
    v = atomic_load(&c.kernel->twins[0]);
    assert_true(v && !v->executable);
    c.input[1].data = own;
    case_close(&c);
}

typedef struct passes {
    const char *formula, *letters;
    int folding, twin,
        halves; /* stages over all pairs: of the gradient, of that of equal arrays, halved ones of those */
} passes;

static int pair_stages(const bbi_plan *plan) {
    int count = 0;
    for (int32_t k = 0; k < plan->nstage; k++)
        count += plan->stage[k].kept != BBI_P && plan->stage[k].folded != BBI_P && !plan->stage[k].list;
    return count;
}

/* The gradient with respect to all variables: one pass for those of i, one for those of j; one for both where i and j
 * are the same. */
static void gradients_share_passes(void **state) {
    (void)state;
    static const passes wanted[] = {
        {"sum_j(exp(-sqdist(x:i3, y:j3) * s:p1) * b:j1)", "xxsb", 2, 1, 1},
        {"sum_j(exp(-norm2(x:i3 - y:j3)) * b:j1)", "xxb", 2, 1, 1},
        {"sum_ij(exp(-sqdist(x:i3, y:j3)) * sum(p:i3 * q:j3))", "xxpp", 2, 1, 1},
        {"logsumexp_j(-sqdist(x:i3, y:j3), b:j1)", "xxb", 3, 3, 0}, /* the function itself, along i and j, and one */
    };
    for (size_t n = 0; n < sizeof wanted / sizeof *wanted; n++) {
        run_case c;
        bb_program *gradient;
        bbi_plan *plan, *twins;
        int32_t same[CASE_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
        int all[CASE_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
        case_open(&c, wanted[n].formula, BB_FLOAT32, &interpreted);
        EXPECT_OK(bb_grad(c.program, all, c.inputs, NULL, 0, &gradient));
        make_same(wanted[n].letters, c.inputs, same);
        EXPECT_OK(bbi_plan_of(gradient, &interpreted, false, NULL, &plan));
        EXPECT_OK(bbi_plan_of(gradient, &interpreted, false, same, &twins));
        if (pair_stages(plan) != wanted[n].folding || pair_stages(twins) != wanted[n].twin ||
            halves_of(twins) != wanted[n].halves)
            fail_msg("%s: %d passes, %d for equal arrays, %d of them halved", wanted[n].formula, pair_stages(plan),
                     pair_stages(twins), halves_of(twins));
        bbi_plan_free(plan);
        bbi_plan_free(twins);
        bb_program_release(gradient);
        case_close(&c);
    }
}

/* ---- text ---- */
static void texts_are_those_stored_in_golden(void **state) {
    (void)state;
    static const char *const names[] = {"symmetric_gaussian", "symmetric_wide_sum", "symmetric_gradient"};
    static const int chosen[] = {0, 2, 5};
    for (int n = 0; n < 3; n++) {
        twin t;
        char path[1000], *bytes;
        size_t length;
        bbi_text text = {0};
        bbi_emit_options options = {.level = 2};
        twin_open(&t, &examples[chosen[n]], BB_FLOAT32, &interpreted);
        EXPECT_OK(bbi_emit_pair(&text, &t.plan->stage[0], &options));
        const char *own = strstr(text.data, "\ntypedef long long I64;");
        assert_non_null(own);
        snprintf(path, sizeof path, "%s/tests/golden/%s_avx512.c", BBI_SOURCE_DIR, names[n]);
        if (getenv("BENBEN_GOLDEN_RENEW")) {
            assert_int_equal(bbi_file_write(path, own, strlen(own), false), 0);
        } else {
            if (bbi_file_read(path, 1000000, false, &bytes, &length) != 0) fail_msg("%s is missing: make golden", path);
            if (length != strlen(own) || memcmp(bytes, own, length) != 0) fail_msg("%s differs: make golden", path);
            bbi_free(bytes);
        }
        bbi_text_free(&text);
        twin_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_symmetric_is_halved),
        cmocka_unit_test(arrays_decide),
        cmocka_unit_test(gradients_share_passes),
        cmocka_unit_test(sizes_agree_with_the_oracle_and_tiers_bit_for_bit),
        cmocka_unit_test(large_runs_agree_with_full_ones_for_any_number_of_threads),
        cmocka_unit_test(schemes_of_summation_agree),
        cmocka_unit_test(what_is_not_a_number_stays_where_it_was),
        cmocka_unit_test(batches_are_one_problem_each),
        cmocka_unit_test(texts_are_those_stored_in_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
