/* test_select.c: minima, maxima, the K smallest and log-sum-exps whose compiled kernels look at the values themselves:
 * against the oracle and the interpreter, for every instruction set and type, over sizes around those of vectors, groups of casts
 * and blocks, with ties, NaN and infinities. */
#include "run_case.h"

#include "base.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_compile_options compiled = {.size = sizeof compiled, .target = BB_TARGET_CPU, .policy = BB_POLICY_WAIT};

static uint64_t seed = 1;
static int64_t below(int64_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed >> 33) % (uint64_t)n);
}

enum { PLAIN, WITH_NAN, WITH_INFINITY, MOSTLY_NAN, ONLY_INFINITY, FALLING, KINDS };

static double special(int kind, int64_t e) {
    switch (kind) {
    case WITH_NAN: return below(5) ? (double)(below(9) - 4) : (double)NAN;
    case WITH_INFINITY: return below(5) ? (double)(below(9) - 4) : below(2) ? INFINITY : -INFINITY;
    case MOSTLY_NAN: return below(50) ? (double)NAN : (double)below(3);
    case ONLY_INFINITY: return INFINITY;
    default: return (double)(3000 - e); /* every column is better than those before */
    }
}

static void fill(run_case *c, int kind) {
    for (int k = 0; k < c->inputs && k < 2 && kind != PLAIN;
         k++) { /* an infinite weight times a term that is too small is NaN */
        int64_t count = case_rows(c, c->variable[k].place) * c->variable[k].dim;
        for (int64_t e = 0; e < count; e++) {
            double x = special(kind, e);
            if (c->dtype == BB_FLOAT64)
                ((double *)c->input[k].data)[e] = x;
            else
                ((float *)c->input[k].data)[e] = (float)x;
        }
    }
}

static void expect_same_bits(const run_case *c, const run_case *i, const char *formula) {
    size_t length;
    char *bits = case_bits(i, &length);
    case_expect_bits(c, bits, formula);
    free(bits);
}

/* What the oracle is compared with: all bits, or values. Infinite values count 1 each, so that a weighted mean is one of
 * those that reach infinity; the oracle has NaN there. */
typedef enum contract { EXACT, CLOSE, WEIGHTED } contract;

/* One formula: a compiled and an interpreted kernel over random sizes. */
static void check_formula(const char *formula, bb_dtype dtype, int64_t least, contract wanted) {
    static const int64_t sizes[] = {1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 130, 255, 257, 400};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    run_case c, i;
    case_open(&c, formula, dtype, &compiled);
    case_open(&i, formula, dtype, &interpreted);
    for (int round = 0; round < 2 * KINDS; round++) {
        int64_t m = least - 1 + sizes[below(SIZES)], n = least - 1 + sizes[below(SIZES)];
        case_size(&c, m, n);
        case_size(&i, m, n);
        uint64_t again = seed;
        fill(&c, round % KINDS);
        seed = again;
        fill(&i, round % KINDS);
        EXPECT_OK(case_run(&c, NULL));
        EXPECT_OK(case_run(&i, NULL));
        bool infinite = round % KINDS == WITH_INFINITY || round % KINDS == ONLY_INFINITY;
        double tolerance = wanted == EXACT ? 0 : dtype == BB_FLOAT64 ? 1e-14 : 5e-6;
        if (m * n <= 12000 && !(infinite && wanted == WEIGHTED))
            case_check(&c, tolerance); /* the oracle takes its time */
        expect_same_bits(&c, &i, formula);
    }
    case_close(&c);
    case_close(&i);
}

static void selections_agree_at_every_level(void **state) {
    (void)state;
    static const struct {
        const char *formula;
        int64_t least; /* rows and columns */
        contract wanted;
    } cases[] = {
        {"min_j(sqdist(x:i3, y:j3)); max_j(x:i3 * y:j3)", 1, EXACT},
        {"min_argmin_j(sqdist(x:i3, y:j3)); max_argmax_j(sqdist(x, y))", 1, EXACT},
        {"argmax_j(x:i1 + y:j1); argmin_i(x - y)", 1, EXACT},
        {"min_argmin_j(sum(abs(x:i20 - y:j20)))", 1, EXACT},
        {"kmin_argkmin_j(sqdist(x:i2, y:j2), 1)", 1, EXACT},
        {"kmin_argkmin_j(sqdist(x:i2, y:j2), 10); kmin_argkmin_i(x - y, 17)", 17, EXACT},
        {"kmin_argkmin_j(sqdist(x:i20, y:j20), 33)", 33, EXACT},
        {"argkmin_j(sqdist(x:i2, y:j2), 128)", 128, EXACT},
        {"kmin_argkmin_j(sqdist(x:i2, y:j2), 150)", 150, EXACT},
        {"kmin_argkmin_i(sqdist(x:i1, y:j1), 65)", 65, EXACT},
        {"argkmin_j(x:i1 - y:j1, 300)", 300, EXACT},
        {"logsumexp_j(-sqdist(x:i3, y:j3))", 1, CLOSE},
        {"logsumexp_j(x:i1 / 4 - 2 * y:j1)", 1, CLOSE}, /* FALLING: the largest value moves on at every column */
        {"logsumexp_i(sum(abs(x:i20 - y:j20)) / 8)", 1, CLOSE},
        {"sumsoftmaxweight_j(x:i1 - y:j1, b:j4)", 1, WEIGHTED},
        {"logsumexpweight_j(y:j1 - x:i1, sqdist(x, b:j1) + 1)", 1, WEIGHTED},
        {"sumsoftmaxweight_j(-sqdist(x:i3, y:j3), b:j5)", 1, WEIGHTED},
        {"maxsumshiftexp_j(-sqdist(x:i3, y:j3))", 1, WEIGHTED}};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        char digit[2] = {(char)('0' + level), 0};
        setenv("BENBEN_ISA", digit, 1);
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
            for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++)
                check_formula(cases[k].formula, (bb_dtype)dtype, cases[k].least, cases[k].wanted);
    }
    unsetenv("BENBEN_ISA");
}

/* Values far from 0, near to each other and not, on both sides of where the terms of a log-sum-exp are computed otherwise. */
static void check_size(bb_dtype dtype, double size) {
    run_case c, i;
    const char *formula = "logsumexp_j(x:i1 + y:j1); sumsoftmaxweight_i(x + y, x / 4)";
    case_open(&c, formula, dtype, &compiled);
    case_open(&i, formula, dtype, &interpreted);
    for (int64_t n = 1; n < 40; n += 1 + below(6)) {
        double y[40], total = 0, top = -INFINITY, u = dtype == BB_FLOAT64 ? 0x1p-53 : 0x1p-24;
        case_size(&c, 17, n);
        case_size(&i, 17, n);
        for (int64_t e = 0; e < n; e++) {
            y[e] = (below(4) ? size : -size) + (double)below(5);
            if (dtype == BB_FLOAT32) y[e] = (double)(float)y[e];
            top = fmax(top, y[e]);
            for (int k = 0; k < 2; k++) {
                bb_array *array = &(k ? &c : &i)->input[1];
                if (dtype == BB_FLOAT64)
                    ((double *)array->data)[e] = y[e];
                else
                    ((float *)array->data)[e] = (float)y[e];
            }
        }
        for (int64_t e = 0; e < n; e++) total += exp(y[e] - top);
        for (int k = 0; k < 2; k++) memset((k ? &c : &i)->input[0].data, 0, case_bytes(&c.input[0]));
        EXPECT_OK(case_run(&c, NULL));
        EXPECT_OK(case_run(&i, NULL));
        for (int64_t row = 0; row < 17; row++) {
            double found = case_element(&c.output[0], row), wanted = top + log(total);
            if (!(fabs(found - wanted) <= 4 * u * fabs(wanted) + 16 * u))
                fail_msg("%lld columns of size %g: %.17g, expected %.17g", (long long)n, size, found, wanted);
        }
        for (int64_t e = 0; e < n; e++) assert_true(case_element(&c.output[1], e) == 0);
        expect_same_bits(&c, &i, formula);
    }
    case_close(&c);
    case_close(&i);
}

static void log_sum_exps_hold_for_values_of_any_size(void **state) {
    (void)state;
    static const double sizes[] = {0,      0.1,    3,    100,  0x1p19, 0x1p20 - 2, 0x1p20, 0x1p24, 0x1p47, 0x1p48 - 2,
                                   0x1p48, 0x1p52, 1e15, 1e30, 1e38,   3e38,       1e100,  1e300,  1.7e308};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        char digit[2] = {(char)('0' + level), 0};
        setenv("BENBEN_ISA", digit, 1);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++)
                if (dtype == BB_FLOAT64 || sizes[k] <= 3e38) check_size((bb_dtype)dtype, sizes[k]);
    }
    unsetenv("BENBEN_ISA");
}

/* Rows that begin anew within an item, intervals, and a column axis that is cut: the kernel's tier cannot be seen. */
static void selections_agree_with_ranges_and_long_axes(void **state) {
    (void)state;
    static const char formula[] = "min_j(sqdist(x:i3, y:j3)); argmin_j(x * y + y); kmin_argkmin_j(sqdist(x, y), 12)";
    static const int64_t ranges[] = {0, 90, 90, 91, 100, 300}, slices[] = {1, 3, 5},
                         reduced[] = {10, 500, 0, 3, 20, 400, 5, 100, 7, 9};
    bb_ranges sparse = {
        .size = sizeof sparse, .count_i = 3, .ranges_i = ranges, .slices_i = slices, .reduced_j = reduced};
    bb_run_options options = {.size = sizeof options, .ranges = &sparse, .ranges_count = 1};
    for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++)
        for (int dense = 0; dense < 2; dense++) {
            run_case c, i;
            case_open(&c, formula, (bb_dtype)dtype, &compiled);
            case_open(&i, formula, (bb_dtype)dtype, &interpreted);
            case_size(&c, 300, dense ? 20000 : 500);
            case_size(&i, 300, dense ? 20000 : 500);
            EXPECT_OK(case_run(&c, dense ? NULL : &options));
            EXPECT_OK(case_run(&i, dense ? NULL : &options));
            expect_same_bits(&c, &i, formula);
            case_close(&c);
            case_close(&i);
        }
}

/* Orders that lists of the K smallest do not like, over more columns than are met before the lists are looked at: each
 * better than those before, all equal, few values (which tie with the K-th smallest), one that is least at the end, NaN. */
static double adverse(int kind, int64_t e, int64_t count) {
    switch (kind) {
    case 0: return (double)(count - e);
    case 1: return 3;
    case 2: return (double)(below(4));
    case 3: return e == count - 1 ? -1 : e % 1000 == 0 ? 0 : 7;
    case 4: return e < count - 40 ? (double)NAN : (double)below(30);
    default: return (double)below(1 << 20);
    }
}

static void fill_adverse(run_case *c, int kind, int64_t count) {
    bb_array *columns = &c->input[c->variable[1].place == BB_J];
    for (int64_t e = 0; e < count; e++) {
        double y = adverse(kind, e, count);
        if (c->dtype == BB_FLOAT64)
            ((double *)columns->data)[e] = y;
        else
            ((float *)columns->data)[e] = (float)y;
    }
}

static void check_adverse(int k, bb_dtype dtype, int64_t count) {
    int64_t range[] = {0, 70}, slice[] = {1}, reduced[] = {0, count};
    bb_ranges all = {.size = sizeof all, .count_i = 1, .ranges_i = range, .slices_i = slice, .reduced_j = reduced};
    bb_run_options whole = {.size = sizeof whole, .ranges = &all, .ranges_count = 1}; /* columns are not cut then */
    run_case c, i;
    char formula[60];
    snprintf(formula, sizeof formula, "kmin_argkmin_j(y:j1 + x:i1, %d)", k);
    case_open(&c, formula, dtype, &compiled);
    case_open(&i, formula, dtype, &interpreted);
    for (int kind = 0; kind < 6; kind++) {
        case_size(&c, 70, count);
        case_size(&i, 70, count);
        uint64_t again = seed;
        fill_adverse(&c, kind, count);
        seed = again;
        fill_adverse(&i, kind, count);
        for (int cut = 0; cut < 2; cut++) {
            EXPECT_OK(case_run(&c, cut ? NULL : &whole));
            EXPECT_OK(case_run(&i, cut ? NULL : &whole));
            expect_same_bits(&c, &i, formula);
        }
    }
    case_close(&c);
    case_close(&i);
}

static void the_smallest_in_orders_that_lists_do_not_like(void **state) {
    (void)state;
    static const int ks[] = {1, 10, 17, 65};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        char digit[2] = {(char)('0' + level), 0};
        setenv("BENBEN_ISA", digit, 1);
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
            for (int dtype = BB_FLOAT32; dtype <= BB_FLOAT64; dtype++) {
                check_adverse(ks[k], (bb_dtype)dtype, 100 + below(1000));
                if (k % 3 == 1) check_adverse(ks[k], (bb_dtype)dtype, 70001);
            }
    }
    unsetenv("BENBEN_ISA");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selections_agree_at_every_level),
        cmocka_unit_test(log_sum_exps_hold_for_values_of_any_size),
        cmocka_unit_test(selections_agree_with_ranges_and_long_axes),
        cmocka_unit_test(the_smallest_in_orders_that_lists_do_not_like),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
