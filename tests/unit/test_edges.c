/* test_edges.c: reductions where there is little to reduce or much to choose from: no columns, NaN,
 * infinities, ties, K from 1 to 1000, indices beyond 2^24; and what a new number or a new size compiles:
 * nothing. */
#include "run_case.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_compile_options compiled = {.size = sizeof compiled, .target = BB_TARGET_CPU, .policy = BB_POLICY_WAIT};

/* ---- empty axes ---- */

/* A formula over x:i1 (or i2) and y:j1 and what it yields for each row when there are no columns. */
static void nothing_to_reduce_gives_the_neutral_element(void **state) {
    (void)state;
    static const struct {
        const char *formula;
        double wanted;
    } cases[] = {{"sum_j(x:i1 * y:j1)", 0},
                 {"prod_j(x:i1 * y:j1)", 1},
                 {"min_j(x:i1 * y:j1)", INFINITY},
                 {"max_j(x:i1 * y:j1)", -INFINITY},
                 {"argmin_j(x:i1 * y:j1)", -1},
                 {"argmax_j(x:i1 * y:j1)", -1},
                 {"logsumexp_j(x:i1 * y:j1)", -INFINITY},
                 {"logsumexp_j(x:i1 * y:j1, y * y)", -INFINITY},
                 {"mean_j(x:i1 * y:j1)", NAN},
                 {"var_j(x:i1 * y:j1)", NAN},
                 {"count_j(x:i1 * y:j1)", 0},
                 {"any_j(x:i1 * y:j1)", 0},
                 {"all_j(x:i1 * y:j1)", 1},
                 {"sum_j(y:j1) * x:i1 + 3", 3},
                 {"exp(logsumexp_j(x:i1 * y:j1)) + 1", 1},
                 {"sumsoftmaxweight_j(x:i1 * y:j1, y)", NAN}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++)
            for (int m = 1; m < 80; m += 69) {
                run_case c;
                case_open(&c, cases[k].formula, (bb_dtype)dtype, &interpreted);
                case_size(&c, m, 0);
                EXPECT_OK(case_run(&c, NULL));
                for (int i = 0; i < m; i++) {
                    double found = case_element(&c.output[0], i);
                    if (found != cases[k].wanted && !(isnan(found) && isnan(cases[k].wanted)))
                        fail_msg("%s of no columns: found %g, wanted %g", cases[k].formula, found, cases[k].wanted);
                }
                case_close(&c);
            }
}

static void no_rows_give_no_rows(void **state) {
    (void)state;
    static const char *const formulas[] = {"sum_j(x:i3 * y:j3)", "argmin_j(sqdist(x:i3, y:j3))",
                                           "logsumexp_j(-sqdist(x:i3, y:j3))"};
    for (int k = 0; k < 3; k++)
        for (int n = 0; n < 200; n += 100) {
            run_case c;
            case_open(&c, formulas[k], BB_FLOAT32, &interpreted);
            case_size(&c, 0, n);
            EXPECT_OK(case_run(&c, NULL));
            case_close(&c);
        }
    run_case c;
    case_open(&c, "sum_ij(x:i1 * y:j1); max_ij(x - y); sum_i(x)", BB_FLOAT64, &interpreted);
    case_size(&c, 0, 5);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(case_element(&c.output[0], 0) == 0 && case_element(&c.output[1], 0) == -INFINITY &&
                case_element(&c.output[2], 0) == 0);
    case_close(&c);
}

/* ---- the K smallest ---- */

static void expect_k_smallest(bb_dtype dtype, int64_t m, int64_t n, int64_t k, const char *tail) {
    char formula[100];
    snprintf(formula, sizeof formula, "kmin_argkmin_j(x:i%d * y:j%d%s, %lld)", *tail ? 3 : 1, *tail ? 3 : 1, tail,
             (long long)k);
    run_case c;
    case_open(&c, formula, dtype, &interpreted);
    case_size(&c, m, n); /* multiples of 1/4: many ties */
    EXPECT_OK(case_run(&c, NULL));
    case_check(&c, 0);
    case_close(&c);
}

static void k_smallest_of_many_kinds(void **state) {
    (void)state;
    static const int64_t ks[] = {1, 2, 10, 100, 1000};
    for (int k = 0; k < 5; k++)
        for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++) {
            expect_k_smallest((bb_dtype)dtype, 3, ks[k] + 37, ks[k], "");
            expect_k_smallest((bb_dtype)dtype, 70, ks[k], ks[k], "");
            if (ks[k] <= 100) expect_k_smallest((bb_dtype)dtype, 5, 2 * ks[k] + 1, ks[k], " - 1");
        }
}

static void more_than_all_columns_is_refused_and_filled_within_ranges(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "kmin_argkmin_j(square(x:i1 - y:j1), 4)", BB_FLOAT64, &interpreted);
    case_size(&c, 5, 3);
    assert_int_equal(case_run(&c, NULL), BB_BAD_SHAPE);
    assert_non_null(strstr(bb_last_error(), "K = 4"));
    case_size(&c, 5, 30);
    static const int64_t ranges[] = {0, 2, 2, 3}, slices[] = {2, 2}, reduced[] = {3, 4, 8, 10};
    bb_ranges sparse = {
        .size = sizeof sparse, .count_i = 2, .ranges_i = ranges, .slices_i = slices, .reduced_j = reduced};
    bb_run_options options = {.size = sizeof options, .ranges = &sparse, .ranges_count = 1};
    EXPECT_OK(case_run(&c, &options));
    const double *value = c.output[0].data;
    const int64_t *index = c.output[1].data;
    for (int i = 0; i < 5; i++) {
        int there = i < 2 ? 3 : 0;
        for (int k = 0; k < 4; k++) {
            assert_true(k < there ? isfinite(value[4 * i + k]) : value[4 * i + k] == INFINITY);
            assert_true(k < there ? index[4 * i + k] == 3 || index[4 * i + k] == 8 || index[4 * i + k] == 9
                                  : index[4 * i + k] == -1);
        }
    }
    case_close(&c);
}

/* ---- NaN, infinities, ties ---- */

static void put(run_case *c, int input, int64_t e, double x) {
    if (c->dtype == BB_FLOAT64)
        ((double *)c->input[input].data)[e] = x;
    else
        ((float *)c->input[input].data)[e] = (float)x;
}

static void special_numbers_are_handled_as_documented(void **state) {
    (void)state;
    for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++)
        for (int m = 2; m < 90; m += 80) {
            run_case c;
            case_open(&c,
                      "min_argmin_j(x:i1 + y:j1); max_argmax_j(x + y); sum_j(x + y); kmin_argkmin_j(x + y, 3); "
                      "logsumexp_j(x + y)",
                      (bb_dtype)dtype, &interpreted);
            case_size(&c, m, 300);
            for (int i = 0; i < m; i++) put(&c, 0, i, 0);
            for (int j = 0; j < 300; j++) put(&c, 1, j, j % 50);
            put(&c, 1, 0, NAN), put(&c, 1, 7, INFINITY), put(&c, 1, 270, INFINITY), put(&c, 1, 123, -3),
                put(&c, 1, 200, -3);
            EXPECT_OK(case_run(&c, NULL));
            for (int i = 0; i < m; i++) {
                assert_true(case_element(&c.output[0], i) == -3 && case_element(&c.output[1], i) == 123);
                assert_true(case_element(&c.output[2], i) == INFINITY && case_element(&c.output[3], i) == 7);
                assert_true(isnan(case_element(&c.output[4], i)));
                double least[] = {-3, -3, 0}, where[] = {123, 200, 50};
                for (int k = 0; k < 3; k++) {
                    assert_true(case_element(&c.output[5], 3 * i + k) == least[k]);
                    assert_true(case_element(&c.output[6], 3 * i + k) == where[k]);
                }
                assert_true(isnan(case_element(&c.output[7], i)));
            }
            for (int j = 0; j < 300; j++) put(&c, 1, j, NAN); /* nothing but NaN is nothing */
            EXPECT_OK(case_run(&c, NULL));
            assert_true(case_element(&c.output[0], 0) == INFINITY && case_element(&c.output[1], 0) == -1);
            assert_true(case_element(&c.output[5], 2) == INFINITY && case_element(&c.output[6], 2) == -1);
            for (int j = 0; j < 300; j++) put(&c, 1, j, j == 200 ? INFINITY : NAN); /* an infinity is something */
            EXPECT_OK(case_run(&c, NULL));
            assert_true(case_element(&c.output[0], 0) == INFINITY && case_element(&c.output[1], 0) == 200);
            case_close(&c);
        }
}

static void log_sum_exp_of_infinities(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "logsumexp_j(x:i1 + y:j1); logsumexp_ij(x + y); sumsoftmaxweight_j(x + y, y * y)", BB_FLOAT64,
              &interpreted);
    case_size(&c, 3, 100);
    for (int i = 0; i < 3; i++) put(&c, 0, i, 0);
    for (int j = 0; j < 100; j++) put(&c, 1, j, -INFINITY);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(case_element(&c.output[0], 1) == -INFINITY && case_element(&c.output[1], 0) == -INFINITY);
    for (int j = 0; j < 100; j++) put(&c, 1, j, 1e300);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(case_element(&c.output[0], 1) == 1e300);
    put(&c, 1, 70, INFINITY);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(case_element(&c.output[0], 1) == INFINITY && case_element(&c.output[1], 0) == INFINITY);
    case_close(&c);
}

/* ---- indices beyond 2^24, where float32 has no odd integers ---- */
static void indices_beyond_two_to_the_24_are_exact(void **state) {
    (void)state;
    const int64_t n = (1 << 24) + 3;
    run_case c;
    case_open(&c, "argmin_j(square(x:i1 - y:j1)); argkmin_j(square(x - y), 2)", BB_FLOAT32, &interpreted);
    case_size(&c, 2, n);
    for (int64_t j = 0; j < n; j++) put(&c, 1, j, 100);
    put(&c, 0, 0, 1), put(&c, 0, 1, 50);
    put(&c, 1, n - 2, 1), put(&c, 1, n - 1, 40), put(&c, 1, n - 3, 3);
    EXPECT_OK(case_run(&c, NULL));
    const int64_t *first = c.output[0].data, *two = c.output[1].data;
    assert_int_equal(first[0], n - 2);
    assert_int_equal(first[1], n - 1);
    assert_true(two[0] == n - 2 && two[1] == n - 3);
    assert_true(two[2] == n - 1 && two[3] == n - 3);
    case_close(&c);
}

/* ---- run-time numbers: what compiles nothing ---- */
static int64_t compiles(void) {
    bb_statistics s = {.size = sizeof s};
    EXPECT_OK(bb_get_statistics(&s));
    return s.compiles + s.disk_hits;
}

static void run_compiled(const char *formula) {
    run_case c;
    case_open(&c, formula, BB_FLOAT32, &compiled);
    case_size(&c, 130, 70);
    EXPECT_OK(case_run(&c, NULL));
    case_check(&c, 3e-4);
    const char *reason;
    if (bb_kernel_tier(c.kernel, BB_FLOAT32, &reason) != BB_TARGET_CPU) fail_msg("%s: %s", formula, reason);
    case_close(&c);
}

static void new_numbers_and_sizes_compile_nothing(void **state) {
    (void)state;
    static const struct {
        const char *first, *then[3];
    } cases[] = {
        {"sum_j(exp(-sqdist(x:i3, y:j3) / 0.37) * b:j1)",
         {"sum_j(exp(-sqdist(x:i3, y:j3) / 3.1) * b:j1)", "sum_j(exp(-1.7 * sqdist(x:i3, y:j3)) * b:j1)"}},
        {"sum_j(exp(-sqdist(x:i12, y:j12) / 70) * b:j1)", {"sum_j(exp(-sqdist(x:i30, y:j30) / 90) * b:j1)"}},
        {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j11)", {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j40)"}},
        {"sum_j(exp(-sqdist(x:i12, y:j12) / 70) * b:j20)", {"sum_j(exp(-sqdist(x:i25, y:j25) / 90) * b:j9)"}},
        {"sum_j(grad(exp(-sqdist(x:i12, y:j12) / 33), x, b:j1))",
         {"sum_j(grad(exp(-sqdist(x:i17, y:j17) / 91), x, b:j1))"}},
        {"sum_j(matvecmult(a:i108, y:j12) * 0.1)", {"sum_j(matvecmult(a:i150, y:j15) * 0.3)"}},
        {"sum_j(tensordot(x:i120, y:j120, [10, 12], [12, 10], [1], [0]) * 0.01)",
         {"sum_j(tensordot(x:i99, y:j99, [9, 11], [11, 9], [1], [0]) * 0.02)"}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int64_t before = compiles();
        run_compiled(cases[k].first);
        assert_true(compiles() > before);
        before = compiles();
        for (int t = 0; t < 3 && cases[k].then[t]; t++) {
            run_compiled(cases[k].then[t]);
            if (compiles() != before) fail_msg("'%s' compiled again after '%s'", cases[k].then[t], cases[k].first);
        }
    }
}

int main(int argc, char **argv) {
    static char no_builtin[] = "BENBEN_BUILTIN=0"; /* compiles are counted */
    putenv(no_builtin);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_reduce_gives_the_neutral_element),
        cmocka_unit_test(no_rows_give_no_rows),
        cmocka_unit_test(k_smallest_of_many_kinds),
        cmocka_unit_test(more_than_all_columns_is_refused_and_filled_within_ranges),
        cmocka_unit_test(special_numbers_are_handled_as_documented),
        cmocka_unit_test(log_sum_exp_of_infinities),
        cmocka_unit_test(indices_beyond_two_to_the_24_are_exact),
        cmocka_unit_test(new_numbers_and_sizes_compile_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
