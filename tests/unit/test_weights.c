/* test_weights.c: gradients of reductions whose formulas lack axes: of two formulas either may lack what the other has,
 * and a selection may select among equals. Against central differences of the reductions themselves. */
#include "run_case.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_run_options rows = {.size = sizeof rows, .rows_i = 4, .rows_j = 5}; /* where no variable tells them */

/* <cotangent, output> with a cotangent that differs from element to element. */
static double loss(run_case *c, double *cotangent) {
    int64_t count = (int64_t)(case_bytes(&c->output[0]) / sizeof(double));
    double total = 0;
    EXPECT_OK(case_run(c, &rows));
    for (int64_t e = 0; e < count; e++) {
        double g = 0.5 + 0.25 * (double)(e % 5);
        if (cotangent) cotangent[e] = g;
        total += g * ((double *)c->output[0].data)[e];
    }
    return total;
}

static void check_gradient(const char *formula) {
    run_case c;
    bb_program *gradient;
    bb_kernel *kernel;
    int wanted[CASE_MAX];
    double found[CASE_MAX][64], cotangent[64];
    bb_array input[CASE_MAX + 1], output[CASE_MAX];
    case_open(&c, formula, BB_FLOAT64, &interpreted);
    case_size(&c, rows.rows_i, rows.rows_j);
    for (int v = 0; v < c.inputs; v++) {
        wanted[v] = v;
        input[v] = c.input[v];
        output[v] = c.input[v];
        output[v].data = found[v];
        for (size_t e = 0; e < case_bytes(&input[v]) / sizeof(double); e++)
            ((double *)input[v].data)[e] += 2.5 + 0.01 * (double)(e % 7);
    }
    loss(&c, cotangent);
    input[c.inputs] = c.output[0];
    input[c.inputs].data = cotangent;
    if (bb_grad(c.program, wanted, c.inputs, NULL, 0, &gradient) != BB_OK) fail_msg("%s: %s", formula, bb_last_error());
    EXPECT_OK(bb_compile(gradient, &interpreted, &kernel));
    EXPECT_OK(bb_run(kernel, input, c.inputs + 1, output, c.inputs, &rows));
    for (int v = 0; v < c.inputs; v++)
        for (size_t e = 0; e < case_bytes(&input[v]) / sizeof(double); e++) {
            double *x = (double *)input[v].data + e, here = *x, h = 1e-5;
            *x = here + h;
            double above = loss(&c, NULL);
            *x = here - h;
            double slope = (above - loss(&c, NULL)) / (2 * h);
            *x = here;
            if (!(fabs(found[v][e] - slope) <= 1e-6 * fmax(1, fabs(slope))))
                fail_msg("%s: variable %d, element %zu: %.12g, the difference is %.12g", formula, v, e, found[v][e],
                         slope);
        }
    bb_kernel_release(kernel);
    bb_program_release(gradient);
    case_close(&c);
}

static void weights_may_lack_axes(void **state) {
    (void)state;
    static const char *const reductions[] = {"sumsoftmaxweight", "logsumexpweight"}, *const axes[] = {"i", "j", "ij"};
    static const char *const f[] = {"-sqdist(x:i2, y:j2) / 4", "sum(x:i2)", "sum(y:j2)", "p:p1 * 1"};
    static const char *const w[] = {"u:i3 * v:j3", "u:i3", "v:j3", "q:p3 * 1", "z:p1 * sum(x * y)"};
    for (int r = 0; r < 2; r++)
        for (int a = 0; a < 3; a++)
            for (int k = 0; k < 4; k++)
                for (int l = 0; l < (k == 0 ? 5 : 4); l++) {
                    char formula[200];
                    snprintf(formula, sizeof formula, "%s_%s(%s, %s)", reductions[r], axes[a], f[k], w[l]);
                    check_gradient(formula);
                }
}

static void a_variable_may_be_in_both_formulas(void **state) {
    (void)state;
    check_gradient("sumsoftmaxweight_i(-sqdist(x:i2, y:j2), x)");
    check_gradient("sumsoftmaxweight_j(-sqdist(x:i2, y:j2), x * y)");
    check_gradient("logsumexpweight_i(-sqdist(x:i2, y:j2), square(y))");
    check_gradient("logsumexpweight_j(norm2(x:i2), square(y:j2) + x)");
}

static void selections_among_equals(void **state) {
    (void)state;
    check_gradient("kmin_j(sin(x:i2), 3)");
    check_gradient("kmin_j(sin(p:p2), 3)");
    check_gradient("kmin_i(sin(y:j1), 2)");
    check_gradient("kmin_j(sin(y:j2), 3)");
    check_gradient("min_j(sin(x:i3))");
    check_gradient("max_ij(sin(p:p1))");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_may_lack_axes),
        cmocka_unit_test(a_variable_may_be_in_both_formulas),
        cmocka_unit_test(selections_among_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
