/* test_closed_forms.c: derivatives of higher order of kernel sums against formulas on paper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "benben.h"

typedef bb_status derive_function(const bb_program *, const int *, int, const int *, int, bb_program **);

typedef struct closed { /* a program over given arrays, in float64 */
    bb_context *context;
    bb_program *program;
} closed;

static closed closed_open(const char *text) {
    closed c;
    assert_int_equal(bb_context_new(&c.context), BB_OK);
    if (bb_program_parse(c.context, text, NULL, 0, &c.program) != BB_OK) fail_msg("%s: %s", text, bb_last_error());
    return c;
}

static void closed_derive(closed *c, derive_function *derive, int variable) {
    bb_program *next;
    if (derive(c->program, &variable, 1, NULL, 0, &next) != BB_OK) fail_msg("%s", bb_last_error());
    bb_program_release(c->program);
    c->program = next;
}

/* values: one dense array per input; rows m of i-, n of j-variables */
static void closed_run(const closed *c, double *const *values, int64_t m, int64_t n, double *out) {
    bb_kernel *kernel;
    bb_array input[16], output;
    int64_t shape[16][2], out_shape[2];
    int inputs = bb_program_variable_count(c->program);
    assert_int_equal(bb_program_output_count(c->program), 1);
    for (int k = 0; k < inputs; k++) {
        bb_variable_info info;
        bb_program_variable(c->program, k, &info);
        shape[k][0] = info.place == BB_I ? m : info.place == BB_J ? n : info.dim, shape[k][1] = info.dim;
        input[k] = bb_array_of(values[k], BB_FLOAT64, info.place == BB_NONE ? 1 : 2, shape[k]);
    }
    bb_output_info info;
    bb_program_output(c->program, 0, &info);
    out_shape[0] = info.place == BB_I ? m : info.place == BB_J ? n : info.dim, out_shape[1] = info.dim;
    output = bb_array_of(out, BB_FLOAT64, info.place == BB_NONE ? 1 : 2, out_shape);
    bb_compile_options options = {.size = sizeof options, .target = BB_TARGET_INTERP};
    assert_int_equal(bb_compile(c->program, &options, &kernel), BB_OK);
    bb_run_options how = {.size = sizeof how, .rows_i = m, .rows_j = n};
    if (bb_run(kernel, input, inputs, &output, 1, &how) != BB_OK) fail_msg("%s", bb_last_error());
    bb_kernel_release(kernel);
}

static void closed_close(closed *c) {
    bb_program_release(c->program);
    bb_context_release(c->context);
}

enum { CM = 7, CN = 11, CD = 3 };

static uint64_t noise_state = 5;
static double noise(void) {
    noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(noise_state >> 33) / 4294967296.0 * 2 - 0.5;
}
static void fill(double *x, int count) {
    for (int k = 0; k < count; k++) x[k] = noise();
}

static void expect_near(const double *found, const double *wanted, int count, double tolerance) {
    double scale = 1;
    for (int k = 0; k < count; k++) scale = fmax(scale, fabs(wanted[k]));
    for (int k = 0; k < count; k++)
        if (!(fabs(found[k] - wanted[k]) <= tolerance * scale))
            fail_msg("element %d: found %.17g, wanted %.17g", k, found[k], wanted[k]);
}

/* phi(t) = exp(-t), t = |x - y|^2: derivative of order n along u_1 .. u_n of exp(-|z|^2) is a Hermite
 * polynomial; here all u are equal: with a = z.u, c = |u|^2, d^n/ds^n exp(-|z + s u|^2) = c^(n/2) (-1)^n
 * H_n(a / sqrt c) exp(-|z|^2). */
static double directional(const double *z, const double *u, int order) {
    double a = 0, c = 0, q = 0, h[5];
    for (int d = 0; d < CD; d++) a += z[d] * u[d], c += u[d] * u[d], q += z[d] * z[d];
    double t = a / sqrt(c);
    h[0] = 1, h[1] = 2 * t;
    for (int n = 2; n < 5; n++) h[n] = 2 * t * h[n - 1] - 2 * (n - 1) * h[n - 2];
    return pow(c, order / 2.0) * (order % 2 ? -1 : 1) * h[order] * exp(-q);
}

static void fourth_derivatives_agree_with_hermite_polynomials(void **state) {
    (void)state;
    double x[CM * CD], y[CN * CD], b[CN], u[CM * CD], out[CM], wanted[CM];
    fill(x, CM * CD), fill(y, CN * CD), fill(b, CN), fill(u, CM * CD);
    double *values[] = {x, y, b, u, u, u, u};
    closed c = closed_open("sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)");
    for (int order = 1; order <= 4; order++) {
        closed_derive(&c, bb_diff, 0);
        closed_run(&c, values, CM, CN, out);
        for (int i = 0; i < CM; i++) {
            wanted[i] = 0;
            for (int j = 0; j < CN; j++) {
                double z[CD];
                for (int d = 0; d < CD; d++) z[d] = x[CD * i + d] - y[CD * j + d];
                wanted[i] += b[j] * directional(z, u + CD * i, order);
            }
        }
        expect_near(out, wanted, CM, 1e-10);
    }
    closed_close(&c);
}

/* Reverse mode four times over: the fourth derivative of f(x) = sum_j exp(-(x_i - y_j)^2) b_j, D = 1,
 * cotangents 1. */
static void four_gradients_agree_with_hermite_polynomials(void **state) {
    (void)state;
    double x[CM], y[CN], b[CN], one[CM], out[CM], wanted[CM];
    fill(x, CM), fill(y, CN), fill(b, CN);
    for (int k = 0; k < CM; k++) one[k] = 1;
    double *values[] = {x, y, b, one, one, one, one};
    closed c = closed_open("sum_j(exp(-sqdist(x:i1, y:j1)) * b:j1)");
    for (int order = 1; order <= 4; order++) closed_derive(&c, bb_grad, 0);
    closed_run(&c, values, CM, CN, out);
    for (int i = 0; i < CM; i++) {
        wanted[i] = 0;
        for (int j = 0; j < CN; j++) {
            double t = x[i] - y[j];
            wanted[i] += b[j] * (16 * t * t * t * t - 48 * t * t + 12) * exp(-t * t);
        }
    }
    expect_near(out, wanted, CM, 1e-10);
    closed_close(&c);
}

/* Laplacian of exp(-t), t = |x - y|^2: (4 t - 2 D) exp(-t). Divergence in x of exp(-t) p_j: -2 <x - y, p>
 * exp(-t). */
static void laplacian_and_divergence_agree_with_closed_forms(void **state) {
    (void)state;
    double x[CM * CD], y[CN * CD], p[CN * CD], out[CM], laplacian[CM], divergence[CM];
    fill(x, CM * CD), fill(y, CN * CD), fill(p, CN * CD);
    for (int i = 0; i < CM; i++) {
        laplacian[i] = divergence[i] = 0;
        for (int j = 0; j < CN; j++) {
            double t = 0, a = 0;
            for (int d = 0; d < CD; d++) {
                double z = x[CD * i + d] - y[CD * j + d];
                t += z * z, a += z * p[CD * j + d];
            }
            laplacian[i] += (4 * t - 2 * CD) * exp(-t);
            divergence[i] += -2 * a * exp(-t);
        }
    }
    double *values[] = {x, y, p};
    closed c = closed_open("sum_j(laplacian(exp(-sqdist(x:i3, y:j3)), x))");
    closed_run(&c, values, CM, CN, out);
    expect_near(out, laplacian, CM, 1e-12);
    closed_close(&c);
    c = closed_open("sum_j(divergence(exp(-sqdist(x:i3, y:j3)) * p:j3, x))");
    closed_run(&c, values, CM, CN, out);
    expect_near(out, divergence, CM, 1e-12);
    closed_close(&c);
}

/* H(q, p) = 1/2 sum_ij p_i . K(q_i, q_j) p_j: the gradient in (q, p) at q + h u, against the product of the
 * Hessian with u. q and p stand for rows and columns: the derivative sums both. */
static void hamiltonian_gradient(double *q, double *p, double *grad) {
    for (int k = 0; k < 2 * CM * CD; k++) grad[k] = 0;
    for (int i = 0; i < CM; i++)
        for (int j = 0; j < CM; j++) {
            double t = 0, pp = 0;
            for (int d = 0; d < CD; d++)
                t += pow(q[CD * i + d] - q[CD * j + d], 2), pp += p[CD * i + d] * p[CD * j + d];
            for (int d = 0; d < CD; d++) {
                grad[CD * i + d] += -2 * (q[CD * i + d] - q[CD * j + d]) * exp(-t) * pp;
                grad[CM * CD + CD * i + d] += exp(-t) * p[CD * j + d];
            }
        }
}

static void hamiltonian_hessian_products_agree_with_differences(void **state) {
    (void)state;
    enum { Q = CM * CD };
    double q[2 * Q], u[2 * Q], shifted[2 * Q], wanted[2 * Q], difference[2 * Q], one[1] = {1}, out[Q];
    fill(q, 2 * Q), fill(u, 2 * Q);
    const double h = 1e-5;
    for (int side = 0; side < 2; side++) {
        for (int k = 0; k < 2 * Q; k++) shifted[k] = q[k] + (side ? h : -h) * u[k];
        hamiltonian_gradient(shifted, shifted + Q, wanted);
        for (int k = 0; k < 2 * Q; k++) difference[k] = side ? (wanted[k] - difference[k]) / (2 * h) : wanted[k];
    }
    const char *text = "0.5 * sum_ij(dot(p:i3, r:j3) * exp(-sqdist(q:i3, s:j3)))"; /* p, r, q, s: momenta and
                                                                                      points of both sides */
    double *points = q, *momenta = q + Q, *du = u, *dp = u + Q;
    for (int which = 0; which < 2; which++) { /* the derivative in the points, then in the momenta */
        double total[Q] = {0};
        for (int side = 0; side < 2; side++) {
            closed c = closed_open(text);
            bb_program *next;
            int all[] = {0, 1, 2, 3}, one_of = which ? side : 2 + side;
            assert_int_equal(bb_grad(c.program, &one_of, 1, NULL, 0, &next), BB_OK);
            bb_program_release(c.program);
            c.program = next;
            assert_int_equal(bb_diff(c.program, all, 4, NULL, 0, &next), BB_OK);
            bb_program_release(c.program);
            c.program = next;
            double *values[] = {momenta, momenta, points, points, one, dp, dp, du, du};
            closed_run(&c, values, CM, CM, out);
            for (int k = 0; k < Q; k++) total[k] += out[k];
            closed_close(&c);
        }
        expect_near(total, difference + which * Q, Q, 1e-7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fourth_derivatives_agree_with_hermite_polynomials),
        cmocka_unit_test(four_gradients_agree_with_hermite_polynomials),
        cmocka_unit_test(laplacian_and_divergence_agree_with_closed_forms),
        cmocka_unit_test(hamiltonian_hessian_products_agree_with_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
