/* test_ranges.c: block-sparse ranges: which pairs are left, on both axes, in nested programs and batches;
 * what is refused. */
#include "run_case.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};

enum { RM = 150, RN = 400 };
static const int64_t ranges_i[] = {70, 140, 0, 66}, slices_i[] = {2, 5};
static const int64_t reduced_j[] = {10, 11, 100, 400, 3, 90, 91, 100, 100, 300};

static bool in_range(int64_t i, int64_t j) {
    for (int c = 0; c < 2; c++) {
        if (i < ranges_i[2 * c] || i >= ranges_i[2 * c + 1]) continue;
        for (int64_t k = c ? slices_i[c - 1] : 0; k < slices_i[c]; k++)
            if (j >= reduced_j[2 * k] && j < reduced_j[2 * k + 1]) return true;
    }
    return false;
}

static void ranges_leave_out_the_other_pairs(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(x:i1 * y:j1); argmin_j((x - y) ** 2); kmin_j((x - y) ** 2, 4)", BB_FLOAT64, &interpreted);
    case_size(&c, RM, RN);
    bb_ranges ranges = {
        .size = sizeof ranges, .count_i = 2, .ranges_i = ranges_i, .slices_i = slices_i, .reduced_j = reduced_j};
    bb_run_options options = {.size = sizeof options, .ranges = &ranges, .ranges_count = 1};
    EXPECT_OK(case_run(&c, &options));
    const double *x = c.input[0].data, *y = c.input[1].data, *least = c.output[2].data;
    for (int64_t i = 0; i < RM; i++) {
        double sum = 0, best = INFINITY;
        int64_t at = -1;
        for (int64_t j = 0; j < RN; j++) {
            double d = (x[i] - y[j]) * (x[i] - y[j]);
            if (!in_range(i, j)) continue;
            sum += x[i] * y[j];
            if (d < best) best = d, at = j;
        }
        assert_true(fabs(sum - case_element(&c.output[0], i)) < 1e-9);
        assert_true((double)at == case_element(&c.output[1], i));
        assert_true(best == least[4 * i]);
    }
    case_close(&c);
}

/* Reductions over i use the other three arrays; stages within a program use those of their own axis. */
static void ranges_hold_for_both_axes_and_inner_stages(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_i(x:i1 * y:j1); sum_j(x * y * logsumexp_j(x - y))", BB_FLOAT64, &interpreted);
    case_size(&c, RM, RN);
    const int64_t all_j[] = {0, RN}, slices_j[] = {2}, reduced_i[] = {5, 9, 100, 150};
    bb_ranges ranges = {.size = sizeof ranges,
                        .count_i = 2,
                        .count_j = 1,
                        .ranges_i = ranges_i,
                        .slices_i = slices_i,
                        .reduced_j = reduced_j,
                        .ranges_j = all_j,
                        .slices_j = slices_j,
                        .reduced_i = reduced_i};
    bb_run_options options = {.size = sizeof options, .ranges = &ranges};
    EXPECT_OK(case_run(&c, &options));
    const double *x = c.input[0].data, *y = c.input[1].data;
    double column = 0;
    for (int64_t i = 0; i < RM; i++) {
        if ((i >= 5 && i < 9) || i >= 100) column += x[i];
        double total = 0, exponentials = 0;
        for (int64_t j = 0; j < RN; j++) {
            if (!in_range(i, j)) continue;
            total += x[i] * y[j];
            exponentials += exp(x[i] - y[j]);
        }
        double wanted = exponentials > 0 ? total * log(exponentials) : 0, found = case_element(&c.output[1], i);
        assert_true(fabs(wanted - found) <= 1e-10 * fmax(1, fabs(wanted)));
    }
    for (int64_t j = 0; j < RN; j++) assert_true(fabs(column * y[j] - case_element(&c.output[0], j)) < 1e-9);
    case_close(&c);
}

static void each_batch_element_may_have_ranges_of_its_own(void **state) {
    (void)state;
    run_case c;
    enum { B = 2, M = 80, N = 90 };
    case_open(&c, "sum_j(x:i1 * y:j1)", BB_FLOAT64, &interpreted);
    double x[M], y[B * N], out[B * M];
    for (int i = 0; i < M; i++) x[i] = i;
    for (int j = 0; j < B * N; j++) y[j] = j % 7;
    int64_t xs[] = {M, 1}, ys[] = {B, N, 1}, os[] = {B, M, 1};
    bb_array inputs[] = {bb_array_of(x, BB_FLOAT64, 2, xs), bb_array_of(y, BB_FLOAT64, 3, ys)};
    bb_array output = bb_array_of(out, BB_FLOAT64, 3, os);
    const int64_t rows[] = {0, M}, slices[] = {1}, columns[B][2] = {{0, 40}, {30, 90}};
    bb_ranges ranges[B];
    for (int b = 0; b < B; b++)
        ranges[b] = (bb_ranges){
            .size = sizeof *ranges, .count_i = 1, .ranges_i = rows, .slices_i = slices, .reduced_j = columns[b]};
    bb_run_options options = {.size = sizeof options, .ranges = ranges, .ranges_count = B};
    EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, &options));
    for (int b = 0; b < B; b++) {
        double sum = 0;
        for (int64_t j = columns[b][0]; j < columns[b][1]; j++) sum += y[b * N + j];
        for (int i = 0; i < M; i++) assert_true(fabs(out[b * M + i] - i * sum) < 1e-9);
    }
    options.ranges_count = 3;
    assert_int_equal(bb_run(c.kernel, inputs, 2, &output, 1, &options), BB_BAD_RANGES);
    case_close(&c);
}

static void bad_ranges_are_refused(void **state) {
    (void)state;
    static const struct {
        int64_t ranges[4], slices[2], reduced[4];
        const char *word;
    } bad[] = {
        {{0, 10, 5, 20}, {1, 2}, {0, 5, 5, 9}, "overlap"},
        {{0, 10, 10, 21}, {1, 2}, {0, 5, 5, 9}, "ranges_i[1]"},
        {{0, 10, 10, 20}, {2, 1}, {0, 5, 5, 9}, "slices_i[1]"},
        {{0, 10, 10, 20}, {1, 2}, {0, 5, 5, 31}, "reduced_j[1]"},
        {{0, 10, 10, 20}, {1, 2}, {-1, 5, 5, 9}, "reduced_j[0]"},
        {{4, 3, 10, 20}, {1, 2}, {0, 5, 5, 9}, "ranges_i[0]"},
    };
    run_case c;
    case_open(&c, "sum_j(x:i1 * y:j1)", BB_FLOAT32, &interpreted);
    case_size(&c, 20, 30);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        bb_ranges ranges = {.size = sizeof ranges,
                            .count_i = 2,
                            .ranges_i = bad[k].ranges,
                            .slices_i = bad[k].slices,
                            .reduced_j = bad[k].reduced};
        bb_run_options options = {.size = sizeof options, .ranges = &ranges, .ranges_count = 1};
        expect_refused(&c, &options, BB_BAD_RANGES, bad[k].word);
    }
    case_close(&c);
}

/* A formula that lacks the rows gives one value, but ranges give each row columns of its own. */
static void ranges_need_a_formula_that_has_the_rows(void **state) {
    (void)state;
    bb_ranges ranges = {
        .size = sizeof ranges, .count_i = 2, .ranges_i = ranges_i, .slices_i = slices_i, .reduced_j = reduced_j};
    bb_run_options options = {.size = sizeof options, .ranges = &ranges, .ranges_count = 1};
    static const char *const lacking[] = {"sum_j(y:j1)", "sum_j(y:j1 * p:p1) + 1", "argmin_j(y:j1)",
                                          "sum_j(x:i1 * y:j1); logsumexp_j(y)"};
    run_case c;
    for (size_t k = 0; k < sizeof lacking / sizeof *lacking; k++) {
        case_open(&c, lacking[k], BB_FLOAT64, &interpreted);
        case_size(&c, RM, RN);
        EXPECT_OK(case_run(&c, NULL));
        expect_refused(&c, &options, BB_BAD_RANGES, "does not depend on i");
        case_close(&c);
    }
    case_open(&c, "sum_j(where(one:i1, y:j1, 0)); sum_i(sum_j(one * y))", BB_FLOAT64, &interpreted);
    case_size(&c, RM, RN);
    double *one = c.input[0].data, *y = c.input[1].data, all = 0;
    for (int64_t i = 0; i < RM; i++) one[i] = 1;
    EXPECT_OK(case_run(&c, &options));
    for (int64_t i = 0; i < RM; i++) {
        double sum = 0;
        for (int64_t j = 0; j < RN; j++) sum += in_range(i, j) ? y[j] : 0;
        assert_true(fabs(sum - case_element(&c.output[0], i)) < 1e-9);
        all += sum;
    }
    assert_true(fabs(all - case_element(&c.output[1], 0)) < 1e-8);
    case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_leave_out_the_other_pairs),
        cmocka_unit_test(ranges_hold_for_both_axes_and_inner_stages),
        cmocka_unit_test(each_batch_element_may_have_ranges_of_its_own),
        cmocka_unit_test(bad_ranges_are_refused),
        cmocka_unit_test(ranges_need_a_formula_that_has_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
