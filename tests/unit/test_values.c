/* Values of operations: the conventions at kinks, closed forms of what build.c makes, and what wrong
 * shapes are told. */
#include <complex.h>

#include "sample.h"

/* ---- values ---- */
/* f at a point given as the values of its variables, one after the other, in the order of their
 * declaration.
 */
static void value_at(const char *text, const double *x, double *value) {
    sample s;
    read_sample(&s, text);
    for (int64_t v = 0; v < s.signature.count; v++) {
        for (int64_t k = 0; k < s.signature.variables[v].dim; k++) s.x[v][k] = *x++;
    }
    evaluate(&s, s.f, value);
    free_sample(&s);
}

static void assert_value(const char *text, const double *x, const double *expected, int count) {
    double value[512];
    value_at(text, x, value);
    for (int k = 0; k < count; k++) {
        bool same = isnan(expected[k])
                        ? isnan(value[k])
                        : value[k] == expected[k] || fabs(value[k] - expected[k]) <= 1e-12 * (1 + fabs(expected[k]));
        if (!same) fail_msg("%s, component %d: %.17g, expected %.17g", text, k, value[k], expected[k]);
    }
}

static void conventions_at_kinks(void **state) {
    (void)state;
    const double inf = HUGE_VAL, nan_ = NAN;
    const struct {
        const char *text;
        double at[3], expected;
    } cases[] = {
        {"rsqrt(a:p1)", {0}, 0},
        {"grad(sqrt(a:p1), a, 1)", {0}, 0},
        {"grad(norm2(a:p1), a, 1)", {0}, 0},
        {"normalize(a:p1)", {0}, 0},
        {"xlogx(a:p1)", {0}, 0},
        {"sinxdivx(a:p1)", {0}, 1},
        {"grad(sinxdivx(a:p1), a, 1)", {0}, 0},
        {"grad(grad(sinxdivx(a:p1), a, 1), a, 1)", {0}, -1. / 3},
        {"grad(grad(sinxdivx(a:p1), a, 1), a, 1)", {1e-9}, -1. / 3},
        {"grad(grad(grad(grad(sinxdivx(a:p1), a, 1), a, 1), a, 1), a, 1)", {0}, 0.2},
        {"sinc(a:p1)", {0.5}, 2 / 3.141592653589793},
        {"step(a:p1)", {0}, 1},
        {"sign(a:p1)", {0}, 0},
        {"sign(a:p1)", {-2}, -1},
        {"sign(a:p1)", {nan_}, nan_},
        {"abs(a:p1)", {-3}, 3},
        {"grad(abs(a:p1), a, 1)", {0}, 0},
        {"relu(a:p1)", {-1}, 0},
        {"relu(a:p1)", {nan_}, nan_},
        {"grad(relu(a:p1), a, 1)", {0}, 1},
        {"clamp(a:p1, b:p1, c:p1)", {5, 0, 1}, 1},
        {"clamp(a:p1, b:p1, c:p1)", {-5, 0, 1}, 0},
        {"grad(clamp(a:p1, b:p1, c:p1), a, 1)", {1, 0, 1}, 1},
        {"grad(clamp(a:p1, b:p1, c:p1), a, 1)", {1.5, 0, 1}, 0},
        {"grad(clamp(a:p1, b:p1, c:p1), c, 1)", {1.5, 0, 1}, 1},
        {"clampint(a:p1, -1, 2)", {7}, 2},
        {"diffclampint(a:p1, -1, 2)", {2}, 1},
        {"diffclampint(a:p1, -1, 2)", {2.1}, 0},
        {"ifelse(a:p1, b:p1, c:p1)", {0, 3, 4}, 3},
        {"ifelse(a:p1, b:p1, c:p1)", {-1, 3, 4}, 4},
        {"where(a:p1, b:p1, c:p1)", {0, 3, 4}, 4},
        {"mod(a:p1, b:p1, c:p1)", {-1, 3, 0}, 2},
        {"mod(a:p1, b:p1, c:p1)", {7, 3, 2}, 4},
        {"grad(mod(a:p1, b:p1, c:p1), a, 1)", {7, 3, 2}, 1},
        {"round(a:p1)", {2.5}, 2},
        {"round(a:p1, 2)", {1.236}, 1.24},
        {"round(a:p1, -2)", {1250.5}, 1300},
        {"floor(a:p1)", {-0.5}, -1},
        {"ceil(a:p1)", {-0.5}, 0},
        {"trunc(a:p1)", {-1.5}, -1},
        {"grad(floor(a:p1), a, 1)", {0.3}, 0},
        {"powf(a:p1, b:p1)", {0, 2}, 0},
        {"grad(powf(a:p1, b:p1), a, 1)", {0, 2}, 0},
        {"grad(powf(a:p1, b:p1), a, 1)", {0, 1}, 1},
        {"grad(powf(a:p1, b:p1), b, 1)", {0, 2}, 0},
        {"powf(a:p1, b:p1)", {-2, 3}, -8},
        {"pow(a:p1, 0)", {0}, 1},
        {"grad(atan2(a:p1, b:p1), a, 1)", {0, 0}, 0},
        {"grad(hypot(a:p1, b:p1), a, 1)", {0, 0}, 0},
        {"hypot(a:p1, b:p1)", {3e200, 4e200}, 5e200},
        {"minimum(a:p1, b:p1)", {nan_, 1}, nan_},
        {"minimum(a:p1, b:p1)", {1, nan_}, nan_},
        {"maximum(a:p1, b:p1)", {1, 2}, 2},
        {"grad(maximum(a:p1, b:p1), a, 1) + grad(maximum(a, b), b, 1)", {1, 1}, 1},
        {"isnan(a:p1)", {nan_}, 1},
        {"isinf(a:p1)", {-inf}, 1},
        {"isinf(a:p1)", {nan_}, 0},
        {"isfinite(a:p1)", {inf}, 0},
        {"isfinite(a:p1)", {1}, 1},
        {"a:p1 < b:p1", {1, nan_}, 0},
        {"a:p1 != b:p1", {1, nan_}, 1},
        {"logical_xor(a:p1, b:p1)", {2, 0}, 1},
        {"logical_xor(a:p1, b:p1)", {2, 5}, 0},
        {"logical_and(a:p1, b:p1)", {2, 0}, 0},
        {"logical_or(a:p1, b:p1)", {2, 0}, 1},
        {"logical_not(a:p1)", {2}, 0},
        {"softplus(a:p1)", {1000}, 1000},
        {"sigmoid(a:p1)", {-1000}, 0},
        {"gelu(a:p1)", {1}, 0.8413447460685429},
        {"silu(a:p1)", {0}, 0},
        {"grad(stop(a:p1)*a, a, 1)", {3}, 3},
        {"expm1(a:p1)", {1e-12}, 1e-12},
        {"erfc(a:p1)", {5}, 1.5374597944280347e-12},
        {"max(a:p3)", {1, 7, 2}, 7},
        {"argmax(a:p3)", {1, 7, 7}, 1},
        {"argmin(a:p3)", {2, 1, 1}, 1},
        {"min(a:p3)", {1, nan_, -2}, -2},
        {"vlogsumexp(a:p3)", {1000, 1000, 1000}, 1000 + 1.0986122886681098},
        {"vlogsumexp(a:p3)", {-inf, -inf, -inf}, -inf},
        {"elem(vsoftmax(a:p3), 0)", {1000, 1000, -1000}, 0.5},
        {"vmean(a:p3)", {1, 2, 6}, 3},
        {"norm2(a:p3)", {2, 3, 6}, 7},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        assert_value(cases[k].text, cases[k].at, &cases[k].expected, 1);
}

static void tensors_contract_as_defined(void **state) {
    (void)state;
    double x[14], expected[32];
    for (int k = 0; k < 14; k++) x[k] = k + 1;
    const double *a = x, *b = x + 6; /* a: 2 x 3, b: 2 x 2 x 2 */
    for (int i = 0; i < 3; i++) {    /* kept axes: a's second (to 2), b's first (to 0) and third (to 1) */
        for (int p = 0; p < 2; p++) {
            for (int q = 0; q < 2; q++) {
                double sum = 0;
                for (int k = 0; k < 2; k++) sum += a[3 * k + i] * b[4 * p + 2 * k + q];
                expected[6 * p + 3 * q + i] = sum;
            }
        }
    }
    assert_value("tensordot(a:p6, b:p8, [2,3], [2,2,2], [0], [1], [2,0,1])", x, expected, 12);
    for (int i = 0; i < 2; i++) /* kron of 2 x 3 and 2 x 2 */
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 2; k++)
                for (int l = 0; l < 2; l++) expected[6 * (2 * i + k) + 2 * j + l] = a[3 * i + j] * x[6 + 2 * k + l];
    assert_value("kron(a:p6, b:p4, [2,3], [2,2])", x, expected, 24);
    assert_value("matvecmult(a:p6, b:p3)", x, (double[]){1 * 7 + 2 * 8 + 3 * 9, 4 * 7 + 5 * 8 + 6 * 9}, 2);
    assert_value("vecmatmult(a:p2, b:p6)", x, (double[]){1 * 3 + 2 * 6, 1 * 4 + 2 * 7, 1 * 5 + 2 * 8}, 3);
    assert_value("tensorprod(a:p2, b:p2)", x, (double[]){3, 4, 6, 8}, 4);
    assert_value("differencematrix(a:p2, b:p3)", x, (double[]){-2, -3, -4, -1, -2, -3}, 6);
    assert_value("symsqnorm(a:p4, b:p2)", x, (double[]){1 * 25 + 2 * 30 + 3 * 30 + 4 * 36}, 1);
    assert_value("cumsum(a:p6)", x, (double[]){1, 3, 6, 10, 15, 21}, 6);
    assert_value("vprod(a:p7)", x, (double[]){5040}, 1);
    assert_value("onehot(a:p1, 3)", x, (double[]){0, 1, 0}, 3);
    assert_value("elemt(a:p1, 3, 2)", x, (double[]){0, 0, 1}, 3);
    assert_value("extractt(a:p2, 1, 4)", x, (double[]){0, 1, 2, 0}, 4);
}

static void assert_complex(const char *text, double complex u, double complex v, double complex expected) {
    const double x[4] = {creal(u), cimag(u), creal(v), cimag(v)};
    assert_value(text, x, (double[]){creal(expected), cimag(expected)}, 2);
}

static void complex_operations_are_those_of_c(void **state) {
    (void)state;
    double complex u = 1.5 - 0.5 * I, v = -0.25 + 2 * I;
    assert_complex("complexmult(u:p2, v:p2)", u, v, u * v);
    assert_complex("complexdivide(u:p2, v:p2)", u, v, u / v);
    assert_complex("complexadd(u:p2, v:p2)", u, v, u + v);
    assert_complex("complexsubtract(u:p2, v:p2)", u, v, u - v);
    assert_complex("complexexp(u:p2)", u, 0, cexp(u));
    assert_complex("conj(u:p2)", u, 0, conj(u));
    assert_complex("concat(complexabs(u:p2), complexangle(v:p2))", u, v, cabs(u) + carg(v) * I);
    assert_complex("complexexp1j(u:p1)", 0.75, 0, cexp(0.75 * I));
    assert_value("complexmult(u:p2, v:p4)", (double[]){0, 1, 1, 2, 3, 4}, (double[]){-2, 1, -4, 3}, 4);
    assert_value("complexsumt(u:p2, 4)", (double[]){5, 6}, (double[]){5, 6, 5, 6}, 4);
    assert_value("complexrealscal(u:p2, v:p4)", (double[]){2, 3, 1, 2, 3, 4}, (double[]){2, 4, 9, 12}, 4);
}

/* Uniform knots: the cubic B-spline is 1/6, 2/3, 1/6 at its inner knots; splines sum to 1 where degree + 1
 * of them are complete. */
static void splines_have_their_known_values(void **state) {
    (void)state;
    const double knots[9] = {0, 1, 2, 3, 4, 5, 6, 7, 4};
    assert_value("bspline(t:p8, x:p1, 3)", knots, (double[]){0, 1. / 6, 2. / 3, 1. / 6}, 4);
    assert_value("sum(bspline(t:p8, x:p1, 3))", (double[]){0, 1, 2, 3, 4, 5, 6, 7, 3.7}, (double[]){1}, 1);
    assert_value("bspline(t:p6, x:p1, 2)", (double[]){0, 0, 0, 1, 1, 1, 0.25}, (double[]){0.5625, 0.375, 0.0625}, 3);
    assert_value("bspline(t:p4, x:p1, 0)", (double[]){0, 1, 2, 3, 1}, (double[]){0, 1, 0}, 3);
}

static double soft_minimum(double a, double b, double c, double gamma) {
    return -gamma * log(exp(-a / gamma) + exp(-b / gamma) + exp(-c / gamma));
}

static void soft_dtw_is_its_recurrence(void **state) {
    (void)state;
    const double v[8] = {0.1, 0.9, 0.4, 0.7, 0.2, 0.8, 0.5, 0.3}, *x = v, *y = v + 4, gamma = v[7];
    double r[4][3];
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++) {
            double d = (x[i] - y[j]) * (x[i] - y[j]);
            if (i && j)
                r[i][j] = d + soft_minimum(r[i - 1][j], r[i][j - 1], r[i - 1][j - 1], gamma);
            else
                r[i][j] = d + (i ? r[i - 1][j] : j ? r[i][j - 1] : 0);
        }
    }
    assert_value("softdtw_sqdist(x:p4, y:p3, g:p1)", v, &r[3][2], 1);
}

/* ---- errors ---- */
static void shape_errors_name_the_operation(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"add(a:p3, b:p5)", "add: operands have dimensions 3 and 5; they must be equal, or one of them 1"},
        {"where(a:p3, b:p5, 1)", "where: operands have dimensions 3, 5 and 1; those that are not 1 must be equal"},
        {"elem(a:p3, 3)", "slice: 1 components from 3 on in steps of 1 do not fit into a vector of dimension 3"},
        {"matvecmult(a:p7, b:p3)", "a matrix of 7 entries has no rows or columns of 3"},
        {"complexreal(a:p3)", "a complex operand has the odd dimension 3"},
        {"logsumexp_j(a:p3)", "logsumexp: the formula has dimension 3; it must be a scalar"},
        {"argkmin_j(a:p1, 0)", "argkmin: K is 0; it must be at least 1"},
        {"tensordot(a:p6, b:p6, [2,3], [2,3], [0], [1])", "tensordot: contracted axes must exist"},
        {"bspline(a:p3, b:p1, 2)", "bspline: 3 knots, a point of dimension 1, degree 2"},
        {"onehot(a:p2, 3)", "onehot: the operand has dimension 2; it must be a scalar"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        bbi_context *c = bbi_context_new();
        bbi_signature signature = {0};
        const bbi_node *f;
        int64_t outputs;
        assert_int_not_equal(bbi_parse(c, cases[k][0], &signature, NULL, &f, 1, &outputs), BB_OK);
        if (!strstr(bb_last_error(), cases[k][1])) fail_msg("%s says: %s", cases[k][0], bb_last_error());
        bbi_signature_free(&signature);
        bbi_context_release(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conventions_at_kinks),
        cmocka_unit_test(tensors_contract_as_defined),
        cmocka_unit_test(complex_operations_are_those_of_c),
        cmocka_unit_test(splines_have_their_known_values),
        cmocka_unit_test(soft_dtw_is_its_recurrence),
        cmocka_unit_test(shape_errors_name_the_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
