/* test_oracle.c: the naive evaluator against closed forms and against loops written out here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expr.h"

enum { M = 4, N = 5, MAX_OUTPUTS = 4 };

/* x:i3 y:j3 b:j2 s:p1 z:j1, in this order. */
static double x[M * 3], y[N * 3], b[N * 2], s[1] = {0.7}, z[N];
static const char *const declarations[] = {"x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "s = Pm(1)", "z = Vj(1)"};

static int set_up(void **state) {
    uint64_t r = 1;
    double *arrays[] = {x, y, b, z};
    int counts[] = {M * 3, N * 3, N * 2, N};
    for (int a = 0; a < 4; a++) {
        for (int k = 0; k < counts[a]; k++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            arrays[a][k] = (double)(int64_t)(r >> 11) / 4503599627370496.0 - 1;
        }
    }
    return 0;
}

static double entry(const bbi_node *node, const bbi_oracle_array *array, int64_t n, int64_t i, int64_t j, int64_t d) {
    int64_t row = node->place == BBI_IJ ? i * n + j : node->place == BBI_I ? i : node->place == BBI_J ? j : 0;
    return array->data[row * array->dim + d];
}

static bool close_to(double u, double v, double tolerance) {
    return u == v || fabs(u - v) <= tolerance * (1 + fabs(v)) || (isnan(u) && isnan(v));
}

/* Rewriting keeps values at every pair; it may drop an axis on which a value does not depend (0 x is 0). */
static void assert_same_values(const char *formula, const bbi_node *raw, const bbi_oracle_array *a,
                               const bbi_node *rewritten, const bbi_oracle_array *b1, int64_t m, int64_t n) {
    assert_int_equal(a->dim, b1->dim);
    for (int64_t e = 0; e < m * n * a->dim; e++) {
        int64_t i = e / a->dim / n, j = e / a->dim % n, d = e % a->dim;
        double u = entry(raw, a, n, i, j, d), v = entry(rewritten, b1, n, i, j, d);
        if (!close_to(u, v, 1e-12)) fail_msg("%s: %.17g, rewritten %.17g", formula, u, v);
    }
}

/* Results of a formula over m rows and n columns, to be released by the caller. */
static int64_t evaluate(const char *formula, int64_t m, int64_t n, bbi_oracle_array *outputs) {
    bbi_oracle_array arrays[] = {{x, m, 3}, {y, n, 3}, {b, n, 2}, {s, 1, 1}, {z, n, 1}};
    const bbi_node *roots[MAX_OUTPUTS], *raw[MAX_OUTPUTS];
    bbi_oracle_array simplified[MAX_OUTPUTS];
    int64_t count;
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    for (size_t k = 0; k < sizeof declarations / sizeof *declarations; k++)
        bbi_parse_alias(&signature, declarations[k]);
    c->raw = true;
    if (bbi_parse(c, formula, &signature, NULL, raw, MAX_OUTPUTS, &count) != BB_OK) fail_msg("%s", bb_last_error());
    if (bbi_oracle(raw, count, arrays, 5, m, n, outputs) != BB_OK) fail_msg("%s", bb_last_error());
    c->raw = false;
    assert_int_equal(bbi_parse(c, formula, &signature, NULL, roots, MAX_OUTPUTS, &count), BB_OK);
    assert_int_equal(bbi_oracle(roots, count, arrays, 5, m, n, simplified), BB_OK);
    for (int64_t k = 0; k < count; k++) {
        assert_same_values(formula, raw[k], &outputs[k], roots[k], &simplified[k], m, n);
        bbi_free(simplified[k].data);
    }
    bbi_signature_free(&signature);
    bbi_context_release(c);
    return count;
}

static void assert_values(const char *formula, int64_t m, int64_t n, int64_t rows, int64_t dim,
                          const double *expected) {
    bbi_oracle_array out[MAX_OUTPUTS];
    assert_int_equal(evaluate(formula, m, n, out), 1);
    if (out[0].rows != rows || out[0].dim != dim) fail_msg("%s: %d x %d", formula, (int)out[0].rows, (int)out[0].dim);
    for (int64_t k = 0; k < rows * dim; k++) {
        double u = out[0].data[k], v = expected[k];
        if (!close_to(u, v, 1e-13)) {
            fail_msg("%s: component %d is %.17g, expected %.17g", formula, (int)k, u, v);
        }
    }
    bbi_free(out[0].data);
}

static double square_distance(int i, int j) {
    double sum = 0;
    for (int d = 0; d < 3; d++) sum += (x[3 * i + d] - y[3 * j + d]) * (x[3 * i + d] - y[3 * j + d]);
    return sum;
}

static double kernel(int i, int j) { return exp(-square_distance(i, j) / s[0]); }

static void a_gaussian_sum_is_its_double_loop(void **state) {
    double over_j[M * 2] = {0}, over_i[N * 2] = {0}, over_both[2] = {0}, pairs[M * N];
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            pairs[i * N + j] = kernel(i, j);
            for (int e = 0; e < 2; e++) {
                over_j[2 * i + e] += kernel(i, j) * b[2 * j + e];
                over_i[2 * j + e] += kernel(i, j) * b[2 * j + e];
                over_both[e] += kernel(i, j) * b[2 * j + e];
            }
        }
    }
    assert_values("sum_j(exp(-sqdist(x,y)/s)*b)", M, N, M, 2, over_j);
    assert_values("sum_i(exp(-sqdist(x,y)/s)*b)", M, N, N, 2, over_i);
    assert_values("sum_ij(exp(-sqdist(x,y)/s)*b)", M, N, 1, 2, over_both);
    assert_values("exp(-sqdist(x,y)/s)", M, N, M * N, 1, pairs);
}

static void its_gradient_is_the_closed_form(void **state) {
    double by_x[M * 3] = {0}, by_y[N * 3] = {0}, by_s[1] = {0};
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            double k = kernel(i, j) * z[j];
            by_s[0] += k * square_distance(i, j) / (s[0] * s[0]);
            for (int d = 0; d < 3; d++) {
                double dx = -2 * k * (x[3 * i + d] - y[3 * j + d]) / s[0];
                by_x[3 * i + d] += dx;
                by_y[3 * j + d] -= dx;
            }
        }
    }
    assert_values("Grad(sum_j(exp(-sqdist(x,y)/s)*z), x, 1)", M, N, M, 3, by_x);
    assert_values("Grad(sum_ij(exp(-sqdist(x,y)/s)*z), y, 1)", M, N, N, 3, by_y);
    assert_values("sum_ij(Grad(exp(-sqdist(x,y)/s)*z, s, 1))", M, N, 1, 1, by_s);
}

static void reductions_follow_their_definitions(void **state) {
    double lse[M], soft[M * 2], two[M * 2], shifted[M * 2], product[M], mean[2] = {0}, variance[2] = {0};
    for (int i = 0; i < M; i++) {
        double total = 0, weighted[2] = {0}, largest = -INFINITY;
        product[i] = 1;
        for (int j = 0; j < N; j++) {
            double f = square_distance(i, j);
            total += exp(f);
            product[i] *= f;
            largest = f > largest ? f : largest;
            for (int e = 0; e < 2; e++) weighted[e] += exp(f) * b[2 * j + e] * b[2 * j + e];
        }
        lse[i] = log(total);
        shifted[2 * i] = largest;
        shifted[2 * i + 1] = total / exp(largest);
        for (int e = 0; e < 2; e++) {
            two[2 * i + e] = log(weighted[e]);
            soft[2 * i + e] = weighted[e] / total;
        }
    }
    for (int j = 0; j < 2 * N; j++) mean[j % 2] += b[j] / N;
    for (int j = 0; j < 2 * N; j++) variance[j % 2] += (b[j] - mean[j % 2]) * (b[j] - mean[j % 2]) / N;
    assert_values("prod_j(sqdist(x,y))", M, N, M, 1, product);
    assert_values("logsumexp_j(sqdist(x,y))", M, N, M, 1, lse);
    assert_values("logsumexp_j(sqdist(x,y), b*b)", M, N, M, 2, two);
    assert_values("sumsoftmaxweight_j(sqdist(x,y), b*b)", M, N, M, 2, soft);
    assert_values("sum_j(softmax_j(sqdist(x,y))*b*b)", M, N, M, 2, soft);
    assert_values("maxsumshiftexp_j(sqdist(x,y))", M, N, M, 2, shifted);
    assert_values("mean_j(b)", M, N, 1, 2, mean);
    assert_values("var_j(b)", M, N, 1, 2, variance);
    assert_values("count_j(b < 2); ", M, N, 1, 2, (double[]){N, N});
    assert_values("any_j(b > 2)", M, N, 1, 2, (double[]){0, 0});
    assert_values("all_j(b < 2)", M, N, 1, 2, (double[]){1, 1});
}

static void selections_give_first_smallest_values_and_indices(void **state) {
    static const double values[N] = {3, 1, NAN, 1, 2};
    memcpy(z, values, sizeof z);
    assert_values("min_j(z)", M, N, 1, 1, (double[]){1});
    assert_values("argmin_j(z)", M, N, 1, 1, (double[]){1});
    assert_values("max_j(z)", M, N, 1, 1, (double[]){3});
    assert_values("argmax_j(-z)", M, N, 1, 1, (double[]){1});
    assert_values("kmin_j(z, 6)", M, N, 1, 6, (double[]){1, 1, 2, 3, INFINITY, INFINITY});
    assert_values("argkmin_j(z, 6)", M, N, 1, 6, (double[]){1, 3, 4, 0, -1, -1});
    assert_values("argkmin_j(concat(z, -z), 2)", M, N, 1, 4, (double[]){1, 0, 3, 4});
    assert_values("kmin_j(concat(z, -z), 2)", M, N, 1, 4, (double[]){1, -3, 1, -2});
    assert_values("sum_j(z)", M, N, 1, 1, (double[]){NAN});
    assert_values("logsumexp_j(z)", M, N, 1, 1, (double[]){NAN});
    assert_values("argmin_ij(sum(x - x) + z)", 2, N, 1, 1, (double[]){1});
    assert_values("argmax_ij(sum(x - x) + z * _number_i)", 2, N, 1, 1, (double[]){N});
    z[1] = z[3] = INFINITY, z[0] = z[4] = INFINITY;
    assert_values("argmin_j(z)", M, N, 1, 1, (double[]){0});
    assert_values("argmin_j(z * nan)", M, N, 1, 1, (double[]){-1});
    assert_values("min_j(z * nan)", M, N, 1, 1, (double[]){INFINITY});
    assert_values("logsumexp_j(where(isnan(z), 0, z))", M, N, 1, 1, (double[]){INFINITY});
    assert_values("logsumexp_j(-where(isnan(z), inf, z))", M, N, 1, 1, (double[]){-INFINITY});
    set_up(state);
}

static void a_reduction_of_nothing_is_its_neutral_element(void **state) {
    assert_values("sum_j(y)", M, 0, 1, 3, (double[]){0, 0, 0});
    assert_values("prod_j(z)", M, 0, 1, 1, (double[]){1});
    assert_values("min_j(z)", M, 0, 1, 1, (double[]){INFINITY});
    assert_values("max_j(z)", M, 0, 1, 1, (double[]){-INFINITY});
    assert_values("argmin_j(z)", M, 0, 1, 1, (double[]){-1});
    assert_values("argkmin_j(z, 2)", M, 0, 1, 2, (double[]){-1, -1});
    assert_values("logsumexp_j(z)", M, 0, 1, 1, (double[]){-INFINITY});
    assert_values("maxsumshiftexp_j(z)", M, 0, 1, 2, (double[]){-INFINITY, 0});
    assert_values("any_j(z)", M, 0, 1, 1, (double[]){0});
    assert_values("all_j(z)", M, 0, 1, 1, (double[]){1});
    assert_values("Sum_Reduction((x|y),0)", 2, 0, 2, 1, (double[]){0, 0});
    assert_values("Sum_Reduction((x|y),1)", 2, 0, 0, 1, NULL);
    assert_values("sum_ij((x|y))", 0, N, 1, 1, (double[]){0});
    assert_values("sum_j(1)", M, 3, 1, 1, (double[]){3});
}

static void listed_sums_follow_their_list(void **state) {
    double rows[M * 3] = {0}, columns[N * 3] = {0}, slots[M] = {0};
    for (int i = 0; i < M; i++) {
        for (int s1 = 0; s1 < 2; s1++) {
            int best = -1;
            for (int j = 0; j < N; j++) {
                int smaller = 0;
                for (int k = 0; k < N; k++) smaller += square_distance(i, k) < square_distance(i, j);
                if (smaller == s1) best = j;
            }
            slots[i] += s1 * square_distance(i, best);
            for (int d = 0; d < 3; d++) {
                rows[3 * i + d] += y[3 * best + d];
                columns[3 * best + d] += x[3 * i + d];
            }
        }
    }
    assert_values("sum_j(y*_one_i; argkmin_j(sqdist(x,y), 2))", M, N, M, 3, rows);
    assert_values("sum_i(x*_one_j; argkmin_j(sqdist(x,y), 2))", M, N, N, 3, columns);
    assert_values("sum_j(sqdist(x,y)*_slot_ij; argkmin_j(sqdist(x,y), 2))", M, N, M, 1, slots);
}

static void operations_on_components_are_exact(void **state) {
    static const double vector[3] = {2, -1, 5};
    memcpy(y, vector, sizeof vector);
    assert_values("y + s*0", M, 1, 1, 3, vector);
    assert_values("concat(sum(y), concat(max(y), argmin(y)))", M, 1, 1, 3, (double[]){6, 5, 1});
    assert_values("concat(min(y), argmax(y))", M, 1, 1, 2, (double[]){-1, 2});
    assert_values("extract(y, 1, 2)", M, 1, 1, 2, (double[]){-1, 5});
    assert_values("slice(y, 0, 2, 2)", M, 1, 1, 2, (double[]){2, 5});
    assert_values("pad(y, 1, 6, 2)", M, 1, 1, 6, (double[]){0, 2, 0, -1, 0, 5});
    assert_values("iota(4) * elem(y, 0)", M, 1, 1, 4, (double[]){0, 2, 4, 6});
    assert_values("cumsum(y)", M, 1, 1, 3, (double[]){2, 1, 6});
    assert_values("repeat(elem(y,1), 2)", M, 1, 1, 2, (double[]){-1, -1});
    assert_values("matvecmult(concat(y, y*2), y)", M, 1, 1, 2, (double[]){30, 60});
    assert_values("vecmatmult(extract(y,0,2), concat(y, y*2))", M, 1, 1, 3, (double[]){0, 0, 0});
    assert_values("tensorprod(extract(y,0,2), y)", M, 1, 1, 6, (double[]){4, -2, 10, -2, 1, -5});
    assert_values("contract(y, [3, 2], [0], [], [1, 0])", M, 1, 1, 6, (double[]){2, -1, 5, 2, -1, 5});
    assert_values("contract(y, [3], [0], [], [])", M, 1, 1, 1, (double[]){6});
    set_up(state);
}

/* Both sides as one table of M x N x dim, whatever their placements. */
static void assert_equivalent(char *left, char *right) {
    char formula[500];
    bbi_oracle_array out[MAX_OUTPUTS];
    snprintf(formula, sizeof formula, "(%s) * _one_ij; (%s) * _one_ij", left, right);
    assert_int_equal(evaluate(formula, M, N, out), 2);
    if (out[0].dim != out[1].dim) fail_msg("%s: %d and %d components", formula, (int)out[0].dim, (int)out[1].dim);
    for (int64_t k = 0; k < out[0].rows * out[0].dim; k++) {
        double u = out[0].data[k], v = out[1].data[k];
        if (!isfinite(v) || !close_to(u, v, 1e-9)) fail_msg("%s: %.17g and %.17g", formula, u, v);
    }
    bbi_free(out[0].data);
    bbi_free(out[1].data);
}

static void each_operation_of_keops_has_the_value_it_should(void **state) {
    FILE *file = fopen(BBI_SOURCE_DIR "/tests/text/equivalents.txt", "r");
    char line[400], *arrow;
    int cases = 0;
    assert_non_null(file);
    for (; fgets(line, sizeof line, file);) {
        line[strcspn(line, "\n")] = '\0';
        if (*line == '#' || (arrow = strstr(line, " <=> ")) == NULL) continue;
        *arrow = '\0';
        assert_equivalent(line, arrow + 5);
        cases++;
    }
    fclose(file);
    assert_true(cases > 110);
}

static void arrays_that_do_not_fit_are_refused(void **state) {
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    bbi_oracle_array array = {x, M, 2}, out;
    const bbi_node *node;
    int64_t count;
    assert_int_equal(bbi_parse(c, "sum_j(x:i3)", &signature, NULL, &node, 1, &count), BB_OK);
    assert_int_equal(bbi_oracle(&node, 1, &array, 0, M, N, &out), BB_BAD_ARGUMENT);
    assert_int_equal(bbi_oracle(&node, 1, &array, 1, M, N, &out), BB_BAD_SHAPE);
    array = (bbi_oracle_array){x, M - 1, 3};
    assert_int_equal(bbi_oracle(&node, 1, &array, 1, M, N, &out), BB_BAD_SHAPE);
    assert_null(out.data);
    bbi_signature_free(&signature);
    bbi_context_release(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gaussian_sum_is_its_double_loop),
        cmocka_unit_test(its_gradient_is_the_closed_form),
        cmocka_unit_test(reductions_follow_their_definitions),
        cmocka_unit_test(selections_give_first_smallest_values_and_indices),
        cmocka_unit_test(a_reduction_of_nothing_is_its_neutral_element),
        cmocka_unit_test(listed_sums_follow_their_list),
        cmocka_unit_test(operations_on_components_are_exact),
        cmocka_unit_test(each_operation_of_keops_has_the_value_it_should),
        cmocka_unit_test(arrays_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
