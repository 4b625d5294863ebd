/* test_fold.c: reduction states against their definitions, over random tiles, schedules, levels and splits of
 * the columns. A test's name is the sentence that would be false if it failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/backend/backend.h"

enum { MAX_LANES = 64, MAX_COLUMNS = 700, MAX_COMPONENTS = 4, MAX_K = 150, STRIDE = 48, SUM_COUNT = 6 };

static uint64_t seed = 1;
static uint64_t random_bits(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
}
static int64_t below(int64_t n) { return (int64_t)(random_bits() % (uint64_t)n); }
static double uniform(double low, double high) { return low + (high - low) * (double)random_bits() / 2147483648.0; }

/* Columns of all rows: value[row][component][column], numbers that float holds. */
static double value[MAX_LANES][MAX_COMPONENTS][MAX_COLUMNS];

typedef enum kind { PLAIN, TIES, WITH_NAN, WITH_INFINITY, ONLY_NAN, ONLY_INFINITY, ONLY_MINUS_INFINITY } kind;
enum { KINDS = ONLY_MINUS_INFINITY + 1 };

static double draw(kind how, double low, double high) {
    double x = (float)uniform(low, high);
    switch (how) {
    case PLAIN: return x;
    case TIES: return (double)(below(5) - 2);
    case WITH_NAN: return below(4) ? x : (double)NAN;
    case WITH_INFINITY: return below(6) ? x : below(2) ? INFINITY : -INFINITY;
    case ONLY_NAN: return NAN;
    case ONLY_INFINITY: return INFINITY;
    default: return -INFINITY;
    }
}

typedef struct setting {
    bbi_folding f;
    bool transposed;
    int64_t rows, columns, components;
    char *state, *out, *sum;
    double *partial, *merged;
    int64_t *partial_index, *merged_index;
} setting;

static int64_t lanes_of(const setting *s) { return BBI_LANE_BYTES / (s->f.is_double ? 8 : 4); }

static void put(const setting *s, char *array, int64_t n, double x) {
    if (s->f.is_double) {
        ((double *)(void *)array)[n] = x;
    } else {
        ((float *)(void *)array)[n] = (float)x;
    }
}

/* The out area (or for sums of the pair code: the sum area) for columns first .. first + count - 1. */
static void write_tile(setting *s, int64_t first, int64_t count) {
    int64_t lanes = lanes_of(s);
    for (int64_t c = 0; c < s->components; c++) {
        for (int64_t row = 0; row < s->rows; row++) {
            for (int64_t n = 0; n < count; n++) {
                int64_t cast = s->transposed ? row : n, lane = s->transposed ? n : row;
                put(s, s->out, ((s->f.fold.out_first + c) * STRIDE + cast) * lanes + lane, value[row][c][first + n]);
            }
        }
    }
}

static void add_to_sums(setting *s, int64_t first, int64_t count) {
    int64_t lanes = lanes_of(s);
    for (int64_t c = 0; c < s->components; c++) {
        for (int64_t row = 0; row < s->rows; row++) {
            for (int64_t n = 0; n < count; n++) {
                int64_t lane = s->transposed ? n : row, at = s->f.fold.sum_first + c;
                if (s->transposed) at += row * SUM_COUNT;
                char *place = s->sum + (at * lanes + lane) * (s->f.is_double ? 8 : 4);
                double old = s->f.is_double ? *(double *)(void *)place : (double)*(float *)(void *)place;
                put(s, place, 0, old + value[row][c][first + n]);
            }
        }
    }
}

/* A part of the columns through one state; transposed, the last columns apart, as the driver does it. */
static void fold_part(setting *s, int64_t first, int64_t last, int64_t *lanes_used) {
    bool summed = s->f.fold.sum_first >= 0;
    int64_t limit = s->transposed ? lanes_of(s) : STRIDE;
    *lanes_used = s->transposed ? (last - first < limit ? last - first : limit) : s->rows;
    bbi_fold_init(&s->f, s->transposed, s->rows, s->state);
    memset(s->sum, 0, BBI_LANE_BYTES * SUM_COUNT * MAX_LANES);
    char *sum = s->sum + (summed ? s->f.fold.sum_first : 0) * BBI_LANE_BYTES;
    while (first < last) {
        int64_t count = s->transposed ? *lanes_used : 1 + below(limit);
        if (count > last - first) count = last - first;
        if (summed) {
            add_to_sums(s, first, count);
            if (below(2)) bbi_fold_flush(&s->f, s->transposed, s->rows, s->state, sum, SUM_COUNT, *lanes_used);
        } else {
            write_tile(s, first, count);
            bbi_fold_step(&s->f, s->transposed, s->state, s->out, STRIDE, s->transposed ? count : s->rows,
                          s->transposed ? s->rows : count, first);
        }
        first += count;
    }
    if (summed) bbi_fold_flush(&s->f, s->transposed, s->rows, s->state, sum, SUM_COUNT, *lanes_used);
}

static size_t value_bytes(const setting *s) { return (size_t)bbi_fold_value_count(&s->f) * sizeof(double); }
static size_t index_bytes(const setting *s) { return (size_t)bbi_fold_index_count(&s->f) * sizeof(int64_t); }

/* All columns in random parts, merged: row r at merged + r * value_count. */
static void fold_columns(setting *s) {
    int64_t values = bbi_fold_value_count(&s->f), indices = bbi_fold_index_count(&s->f);
    for (int64_t row = 0; row < s->rows; row++) {
        bbi_fold_neutral(&s->f, s->merged + row * values, s->merged_index + row * indices);
    }
    for (int64_t first = 0; first < s->columns;) {
        int64_t count = below(3) ? 1 + below(s->columns) : s->columns, lanes;
        if (count > s->columns - first) count = s->columns - first;
        if (s->transposed && count > lanes_of(s)) count -= count % lanes_of(s);
        fold_part(s, first, first + count, &lanes);
        for (int64_t row = 0; row < s->rows; row++) {
            bbi_fold_partial(&s->f, s->transposed, s->state, row, lanes, s->partial, s->partial_index);
            bbi_fold_merge(&s->f, s->merged + row * values, s->merged_index + row * indices, s->partial,
                           s->partial_index);
        }
        first += count;
    }
}

static void begin(setting *s) {
    int64_t rows = s->transposed ? 1 + below(5) : 1 + below(lanes_of(s));
    s->rows = rows;
    s->columns = below(8) ? below(MAX_COLUMNS + 1) : below(4);
    s->state = bbi_alloc_aligned((size_t)bbi_fold_state_bytes(&s->f, s->transposed, rows) + 64);
    s->out = bbi_alloc_aligned(BBI_LANE_BYTES * STRIDE * (MAX_COMPONENTS + 1));
    s->sum = bbi_alloc_aligned(BBI_LANE_BYTES * SUM_COUNT * MAX_LANES);
    memset(s->out, 0xff, BBI_LANE_BYTES * STRIDE * (MAX_COMPONENTS + 1)); /* NaN where nothing is written */
    s->partial = bbi_alloc(value_bytes(s) + 8);
    s->partial_index = bbi_alloc(index_bytes(s) + 8);
    s->merged = bbi_alloc(value_bytes(s) * (size_t)rows + 8);
    s->merged_index = bbi_alloc(index_bytes(s) * (size_t)rows + 8);
}

static void end(setting *s) {
    bbi_free_aligned(s->state);
    bbi_free_aligned(s->out);
    bbi_free_aligned(s->sum);
    bbi_free(s->partial);
    bbi_free(s->partial_index);
    bbi_free(s->merged);
    bbi_free(s->merged_index);
}

static void fill_values(const setting *s, kind how, double low, double high) {
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t c = 0; c < s->components; c++) {
            for (int64_t n = 0; n < s->columns; n++) value[row][c][n] = draw(how, low, high);
        }
    }
}

/* Calls check for every type, level and schedule and some random settings of each. */
static void over_settings(const bbi_fold *fold, int rounds, void (*check)(setting *s)) {
    for (int round = 0; round < rounds; round++) {
        for (int n = 0; n < 4 * (bbi_cpu_level() + 1); n++) {
            setting s = {.f = {.fold = *fold, .is_double = n & 1, .level = n / 4}, .transposed = n & 2};
            s.f.fold.sum_first = -1;
            s.f.scheme = (bbi_scheme)below(3);
            s.f.accumulate_double = !s.f.is_double && below(2);
            check(&s);
        }
    }
}

static const double *row_values(const setting *s, int64_t row) { return s->merged + row * bbi_fold_value_count(&s->f); }
static const int64_t *row_indices(const setting *s, int64_t row) {
    return s->merged_index + row * bbi_fold_index_count(&s->f);
}

static bool is_near(double a, double b, double tolerance) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= tolerance;
}

static void expect_near(double found, double expected, double tolerance) {
    if (!is_near(found, expected, tolerance))
        fail_msg("found %.17g, expected %.17g within %g", found, expected, tolerance);
}

/* ---- sums and products ---- */
static void check_sum(setting *s) {
    bool summed = below(2);
    s->components = s->f.fold.dim = 1 + below(3);
    s->f.fold.sum_first = summed ? 2 : -1;
    s->f.fold.out_first = summed ? -1 : 1;
    begin(s);
    fill_values(s, (kind)below(WITH_INFINITY + 1), -1, 1);
    fold_columns(s);
    double rounding = s->f.is_double ? 0x1p-50 : 0x1p-20, result[MAX_COMPONENTS];
    bool exact = !summed && (s->f.accumulate_double || s->f.scheme == BBI_SCHEME_KAHAN);
    if (exact) rounding = s->f.is_double || s->f.accumulate_double ? 0x1p-50 : 0x1p-46;
    for (int64_t row = 0; row < s->rows; row++) {
        bbi_fold_finish(&s->f, BBI_OUT_VALUE, row_values(s, row), row_indices(s, row), result);
        for (int64_t c = 0; c < s->components; c++) {
            double sum = 0, size = 0;
            for (int64_t n = 0; n < s->columns; n++) {
                sum += value[row][c][n];
                size += fabs(value[row][c][n]);
            }
            expect_near(result[c], sum, rounding * size);
        }
    }
    end(s);
}

static void sums_equal_the_sum_of_their_terms(void **unused) {
    (void)unused;
    over_settings(&(bbi_fold){.family = BBI_FAMILY_SUM}, 40, check_sum);
}

static void compensated_sums_keep_what_a_plain_sum_loses(void **unused) {
    (void)unused;
    for (int n = 0; n < 2 * (bbi_cpu_level() + 1); n++) {
        setting s = {.f = {.fold = {.family = BBI_FAMILY_SUM, .dim = 1, .sum_first = -1},
                           .scheme = BBI_SCHEME_KAHAN,
                           .is_double = n & 1,
                           .level = n / 2},
                     .components = 1};
        begin(&s);
        s.columns = 500;
        for (int64_t row = 0; row < s.rows; row++) {
            for (int64_t q = 0; q < s.columns; q++) value[row][0][q] = q == 0 ? 0x1p50 : q == 499 ? -0x1p50 : 1;
        }
        fold_columns(&s);
        double result;
        for (int64_t row = 0; row < s.rows; row++) {
            bbi_fold_finish(&s.f, BBI_OUT_VALUE, row_values(&s, row), NULL, &result);
            assert_true(result == 498);
        }
        end(&s);
    }
}

static void check_prod(setting *s) {
    s->components = s->f.fold.dim = 1 + below(3);
    s->f.fold.out_first = 1;
    begin(s);
    fill_values(s, (kind)below(WITH_NAN + 1), 0.9, 1.1);
    fold_columns(s);
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t c = 0; c < s->components; c++) {
            double product = 1;
            for (int64_t n = 0; n < s->columns; n++) product *= value[row][c][n];
            if (fabs(product) > 1e30 || (product != 0 && fabs(product) < 1e-30)) continue;
            expect_near(row_values(s, row)[c], product, fabs(product) * (s->f.is_double ? 1e-12 : 1e-4));
        }
    }
    end(s);
}

static void products_equal_the_product_of_their_factors(void **unused) {
    (void)unused;
    over_settings(&(bbi_fold){.family = BBI_FAMILY_PROD}, 20, check_prod);
}

/* ---- minimum, maximum, K smallest ---- */
static void check_extreme(setting *s) {
    bool max = s->f.fold.family == BBI_FAMILY_MAX;
    s->components = s->f.fold.dim = 1 + below(3);
    s->f.fold.out_first = 1;
    s->f.fold.want_index = below(4) != 0;
    begin(s);
    fill_values(s, (kind)below(KINDS), -1, 1);
    fold_columns(s);
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t c = 0; c < s->components; c++) {
            double best = max ? -INFINITY : INFINITY;
            int64_t index = -1;
            for (int64_t n = 0; n < s->columns; n++) {
                double x = value[row][c][n];
                if (isnan(x) || !(index < 0 || (max ? x > best : x < best))) continue;
                best = x;
                index = n;
            }
            assert_true(row_values(s, row)[c] == best);
            if (s->f.fold.want_index) assert_int_equal(row_indices(s, row)[c], index);
        }
    }
    end(s);
}

static void minima_and_maxima_ignore_nan_and_take_the_first_of_equals(void **unused) {
    (void)unused;
    over_settings(&(bbi_fold){.family = BBI_FAMILY_MIN}, 60, check_extreme);
    over_settings(&(bbi_fold){.family = BBI_FAMILY_MAX}, 60, check_extreme);
}

static const double *sorted_by; /* the values that compare_columns looks up */
static int compare_columns(const void *a, const void *b) {
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    if (sorted_by[i] != sorted_by[j]) return sorted_by[i] < sorted_by[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static void check_kmin(setting *s) {
    static const int64_t ks[] = {1, 2, 10, 16, 17, 128, 129, MAX_K};
    s->components = s->f.fold.dim = 1 + below(3);
    s->f.fold.k = ks[below(8)];
    s->f.fold.out_first = 1;
    begin(s);
    fill_values(s, (kind)below(KINDS), -1, 1);
    fold_columns(s);
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t c = 0; c < s->components; c++) {
            int64_t order[MAX_COLUMNS], count = 0;
            for (int64_t n = 0; n < s->columns; n++) {
                if (!isnan(value[row][c][n])) order[count++] = n;
            }
            sorted_by = value[row][c];
            qsort(order, (size_t)count, sizeof *order, compare_columns);
            for (int64_t k = 0; k < s->f.fold.k; k++) {
                int64_t at = k * s->components + c;
                assert_int_equal(row_indices(s, row)[at], k < count ? order[k] : -1);
                assert_true(row_values(s, row)[at] == (k < count ? sorted_by[order[k]] : INFINITY));
            }
        }
    }
    end(s);
}

static void the_k_smallest_are_those_of_a_sort(void **unused) {
    (void)unused;
    over_settings(&(bbi_fold){.family = BBI_FAMILY_KMIN}, 60, check_kmin);
}

static void indices_go_beyond_32_bits(void **unused) {
    (void)unused;
    for (int n = 0; n < 8 * (bbi_cpu_level() + 1); n++) {
        const int64_t far = n & 4 ? INT64_C(5) << 32 : (INT64_C(1) << 32) - 7;
        setting s = {.f = {.fold = {.family = n & 1 ? BBI_FAMILY_MIN : BBI_FAMILY_KMIN,
                                    .dim = 1,
                                    .k = 2,
                                    .sum_first = -1,
                                    .want_index = true},
                           .is_double = n & 2,
                           .level = n / 8},
                     .components = 1};
        begin(&s);
        s.columns = STRIDE;
        fill_values(&s, PLAIN, -1, 1);
        for (int64_t row = 0; row < s.rows; row++) value[row][0][row % STRIDE] = -2;
        bbi_fold_init(&s.f, false, 1, s.state);
        write_tile(&s, 0, STRIDE);
        bbi_fold_step(&s.f, false, s.state, s.out, STRIDE, s.rows, STRIDE, far);
        for (int64_t row = 0; row < s.rows; row++) {
            bbi_fold_partial(&s.f, false, s.state, row, s.rows, s.partial, s.partial_index);
            assert_true(s.partial_index[0] == far + row % STRIDE);
            if (s.f.fold.family == BBI_FAMILY_KMIN) assert_in_range(s.partial_index[1], far, far + STRIDE - 1);
        }
        end(&s);
    }
}

/* ---- log-sum-exp ---- */
static void check_lse(setting *s) {
    int64_t weights = below(4);
    s->f.fold.dim = 1;
    s->f.fold.weight_dim = weights;
    s->components = 1 + weights;
    s->f.fold.out_first = 0;
    begin(s);
    static const kind kinds[] = {PLAIN, PLAIN, TIES, ONLY_MINUS_INFINITY, ONLY_INFINITY, WITH_NAN};
    kind how = kinds[below(6)];
    double spread = below(2) ? 5 : 300;
    fill_values(s, PLAIN, -1, 1);
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t n = 0; n < s->columns; n++) value[row][0][n] = below(9) ? draw(how, -spread, spread) : -INFINITY;
    }
    fold_columns(s);
    double rounding = s->f.is_double ? 0x1p-46 : 0x1p-18, result[MAX_COMPONENTS + 1];
    for (int64_t row = 0; row < s->rows; row++) {
        double m = -INFINITY;
        for (int64_t n = 0; n < s->columns; n++) m = fmax(m, value[row][0][n]);
        double first = 0;
        for (int64_t c = 0; c <= weights; c++) {
            double sum = 0, size = 0;
            for (int64_t n = 0; n < s->columns; n++) {
                double x = value[row][0][n], e = x == m ? (isinf(x) && x < 0 ? 0 : 1) : exp(x - m);
                sum += e * (c ? value[row][c][n] : 1);
                size += e;
            }
            if (c == 0) first = sum;
            if (c == 0 && weights) continue;
            int64_t at = c ? c - 1 : 0;
            bbi_fold_finish(&s->f, BBI_OUT_MAXSUM, row_values(s, row), NULL, result);
            expect_near(result[0], m, 0);
            expect_near(result[1 + at], sum, rounding * size);
            bbi_fold_finish(&s->f, BBI_OUT_RATIO, row_values(s, row), NULL, result);
            if (weights && first > 0) expect_near(result[at], sum / first, rounding * size / first);
            bbi_fold_finish(&s->f, BBI_OUT_LOGSUM, row_values(s, row), NULL, result);
            /* Where the weights cancel, the logarithm has no correct digit, and its argument no certain sign.
             */
            double expected = m + log(sum), error = rounding * size / fabs(sum);
            if (error < 0.1 || sum == 0) expect_near(result[at], expected, 2 * error + 0x1p-50 * fabs(expected));
        }
    }
    end(s);
}

static void log_sum_exp_agrees_with_its_definition_at_infinities_too(void **unused) {
    (void)unused;
    over_settings(&(bbi_fold){.family = BBI_FAMILY_LSE}, 60, check_lse);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_equal_the_sum_of_their_terms),
        cmocka_unit_test(compensated_sums_keep_what_a_plain_sum_loses),
        cmocka_unit_test(products_equal_the_product_of_their_factors),
        cmocka_unit_test(minima_and_maxima_ignore_nan_and_take_the_first_of_equals),
        cmocka_unit_test(the_k_smallest_are_those_of_a_sort),
        cmocka_unit_test(indices_go_beyond_32_bits),
        cmocka_unit_test(log_sum_exp_agrees_with_its_definition_at_infinities_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
