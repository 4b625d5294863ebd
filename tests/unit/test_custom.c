/* test_custom.c: reductions that the caller defines by formulas, against plain loops; what a definition may not do. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "benben.h"

static bb_expr pick(bb_context *c, bb_expr v, int64_t k) { return bb_apply(c, "elem", &v, 1, &k, 1); }
static bb_expr two(bb_context *c, const char *name, bb_expr a, bb_expr b) {
    return bb_apply(c, name, (bb_expr[]){a, b}, 2, NULL, 0);
}
static bb_expr three(bb_context *c, bb_expr a, bb_expr b, bb_expr d) {
    return two(c, "concat", two(c, "concat", a, b), d);
}

/* (n, mean, M2) of Welford, merged as Chan, Golub and LeVeque (1979) do; finish: the variance. */
static bb_reduction_definition variance(bb_context *c) {
    bb_expr s = bb_variable(c, 0, BB_NONE, 3), f = bb_variable(c, 1, BB_NONE, 1), t = bb_variable(c, 2, BB_NONE, 3);
    bb_expr n = pick(c, s, 0), m = pick(c, s, 1), q = pick(c, s, 2), one = bb_number(c, 1);
    bb_expr n1 = two(c, "add", n, one), d = two(c, "sub", f, m), m1 = two(c, "add", m, two(c, "div", d, n1));
    bb_expr step = three(c, n1, m1, two(c, "add", q, two(c, "mul", d, two(c, "sub", f, m1))));
    bb_expr nt = pick(c, t, 0), all = two(c, "add", n, nt), some = two(c, "maximum", all, one),
            gap = two(c, "sub", pick(c, t, 1), m);
    bb_expr mean = two(c, "add", m, two(c, "div", two(c, "mul", gap, nt), some));
    bb_expr between = two(c, "div", two(c, "mul", two(c, "mul", gap, gap), two(c, "mul", n, nt)), some);
    bb_expr merge = three(c, all, mean, two(c, "add", two(c, "add", q, pick(c, t, 2)), between));
    int64_t three_zeros = 3;
    return (bb_reduction_definition){.size = sizeof(bb_reduction_definition),
                                     .state_dim = 3,
                                     .init = bb_apply(c, "zero", NULL, 0, &three_zeros, 1),
                                     .step = step,
                                     .merge = merge,
                                     .finish = two(c, "div", q, n)};
}

enum { LARGE = 40000 };
static double x[300], y[LARGE], result[300];

static void run_variance(bb_kernel *kernel, int64_t rows, int64_t columns) {
    int64_t sx[2] = {rows, 1}, sy[2] = {columns, 1};
    for (int64_t i = 0; i < rows; i++) x[i] = 1 + 0.1 * (double)i;
    for (int64_t j = 0; j < columns; j++) y[j] = sin((double)j) + 3;
    bb_array in[2] = {bb_array_of(x, BB_FLOAT64, 2, sx), bb_array_of(y, BB_FLOAT64, 2, sy)},
             out = bb_array_of(result, BB_FLOAT64, 2, sx);
    assert_int_equal(bb_run(kernel, in, 2, &out, 1, NULL), BB_OK);
    for (int64_t i = 0; i < rows; i += rows > 1 ? rows - 1 : 1) {
        double mean = 0, sum = 0;
        for (int64_t j = 0; j < columns; j++) mean += x[i] * y[j] / (double)columns;
        for (int64_t j = 0; j < columns; j++) sum += (x[i] * y[j] - mean) * (x[i] * y[j] - mean);
        assert_true(fabs(result[i] - sum / (double)columns) <= 1e-11 * (1 + fabs(result[i])));
    }
}

static void a_variance_by_formulas_is_the_variance(void **state) {
    bb_context *c;
    bb_program *program;
    bb_kernel *kernel;
    (void)state;
    assert_int_equal(bb_context_new(&c), BB_OK);
    bb_reduction_definition d = variance(c);
    bb_expr f = two(c, "mul", bb_variable(c, 0, BB_I, 1), bb_variable(c, 1, BB_J, 1)),
            r = bb_reduce_custom(c, &d, BB_J, f);
    assert_non_null(r);
    assert_ptr_equal(r, bb_reduce_custom(c, &d, BB_J, f));
    bb_variable_info signature[2] = {{"x", BB_I, 1, 0}, {"y", BB_J, 1, 0}};
    assert_int_equal(bb_program_new(c, signature, 2, &r, 1, &program), BB_OK);
    assert_int_equal(bb_compile(program, NULL, &kernel), BB_OK);
    run_variance(kernel, 300, 777); /* rows in lanes */
    run_variance(kernel, 1, LARGE); /* columns in lanes, in chunks */
    run_variance(kernel, 3, 1);
    bb_kernel_release(kernel);
    bb_program *gradient;
    int wanted = 0;
    assert_int_equal(bb_grad(program, &wanted, 1, NULL, 0, &gradient), BB_NOT_DIFFERENTIABLE);
    bb_program_release(program);
    bb_context_release(c);
}

static void definitions_that_make_no_sense_are_refused_by_name(void **state) {
    bb_context *c;
    (void)state;
    assert_int_equal(bb_context_new(&c), BB_OK);
    bb_expr f = bb_variable(c, 0, BB_I, 1);
    bb_reduction_definition d = variance(c);
    d.step = bb_variable(c, 0, BB_NONE, 2);
    assert_null(bb_reduce_custom(c, &d, BB_J, f));
    assert_non_null(strstr(bb_last_error(), "step"));
    d = variance(c);
    d.merge = d.step; /* sees the formula's value */
    assert_null(bb_reduce_custom(c, &d, BB_J, f));
    assert_non_null(strstr(bb_last_error(), "merge"));
    d = variance(c);
    d.finish = bb_reduce(c, "sum", BB_I, f, NULL, 0);
    assert_null(bb_reduce_custom(c, &d, BB_J, f));
    assert_non_null(strstr(bb_last_error(), "finish"));
    d = variance(c);
    d.size = 0;
    assert_null(bb_reduce_custom(c, &d, BB_J, f));
    bb_context_release(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_variance_by_formulas_is_the_variance),
                                       cmocka_unit_test(definitions_that_make_no_sense_are_refused_by_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
