/* The table of operations: every row's value and derivatives in both modes, the conventions at kinks, closed
 * forms of what build.c makes, the cost of gradients, names, and formulas of great depth or without memory.
 * Everything is written as a formula and evaluated by the oracle. */
#include <complex.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "expr.h"

enum { MAX_VARIABLES = 6, MAX_DIM = 24 };

static uint64_t seed = 7;

static double uniform(double low, double high) { /* xorshift64* */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return low + (high - low) * (double)(seed * 0x2545F4914F6CDD1Du >> 11) / 9007199254740992.0;
}

/* ---- a formula over parameters and a point at which it is evaluated ---- */
typedef struct sample {
    bbi_context *c;
    bbi_signature signature;
    const bbi_node *f;
    const bbi_node *variable[MAX_VARIABLES];
    double x[MAX_VARIABLES][MAX_DIM];
} sample;

static void read_sample(sample *s, const char *text) {
    int64_t outputs;
    memset(s, 0, sizeof *s);
    s->c = bbi_context_new();
    if (bbi_parse(s->c, text, &s->signature, NULL, &s->f, 1, &outputs) != BB_OK)
        fail_msg("%s: %s", text, bb_last_error());
    assert_true(s->signature.count <= MAX_VARIABLES);
    for (int64_t v = 0; v < s->signature.count; v++)
        s->variable[v] = bbi_var(s->c, v, s->signature.variables[v].place, s->signature.variables[v].dim);
}

/* One component in each of as many equal parts of the interval, in random order: ties, where comparisons
 * jump, are far. */
static void draw_point(sample *s, double low, double high) {
    double *component[MAX_VARIABLES * MAX_DIM];
    int count = 0;
    for (int64_t v = 0; v < s->signature.count; v++) {
        for (int64_t k = 0; k < s->signature.variables[v].dim; k++) component[count++] = &s->x[v][k];
    }
    for (int part = 0; part < count; part++) {
        int chosen = part + (int)uniform(0, count - part);
        double *x = component[chosen];
        component[chosen] = component[part];
        *x = low + (high - low) * (part + uniform(0.1, 0.9)) / count;
    }
}

static void free_sample(sample *s) {
    bbi_signature_free(&s->signature);
    bbi_context_release(s->c);
}

/* The value of a node; its variables are those of the sample. */
static void evaluate(const sample *s, const bbi_node *n, double *value) {
    bbi_oracle_array in[MAX_VARIABLES], out;
    for (int64_t v = 0; v < s->signature.count; v++)
        in[v] = (bbi_oracle_array){(double *)s->x[v], 1, s->signature.variables[v].dim};
    if (bbi_oracle(&n, 1, in, s->signature.count, 1, 1, &out) != BB_OK) fail_msg("%s", bb_last_error());
    assert_int_equal(out.dim, n->dim);
    memcpy(value, out.data, (size_t)n->dim * sizeof *value);
    bbi_free(out.data);
}

static double inner(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += a[k] * b[k];
    return sum;
}

static const bbi_node *constants(bbi_context *c, const double *v, int64_t n) {
    const bbi_node *r = bbi_const(c, v[0]);
    for (int64_t k = 1; k < n; k++) r = bbi_op2(c, BBI_OP_concat, r, bbi_const(c, v[k]));
    return r;
}

/* w . f(x + h u) by central differences of orders h^2 and (2h)^2, extrapolated. */
static double slope(sample *s, int v, const double *u, const double *w) {
    static const double step[4] = {1, -1, 2, -2}, weight[4] = {8. / 12, -8. / 12, -1. / 12, 1. / 12};
    const double h = 1e-4;
    double keep[MAX_DIM], value[512], sum = 0;
    memcpy(keep, s->x[v], sizeof keep);
    for (int i = 0; i < 4; i++) {
        for (int64_t k = 0; k < s->variable[v]->dim; k++) s->x[v][k] = keep[k] + step[i] * h * u[k];
        evaluate(s, s->f, value);
        sum += weight[i] / h * inner(w, value, s->f->dim);
    }
    memcpy(s->x[v], keep, sizeof keep);
    return sum;
}

/* w^T (df/dx_v) u in three ways. */
static void assert_derivatives(sample *s, const char *text, int v) {
    double u[MAX_DIM], w[512], value[512];
    const bbi_node *x = s->variable[v], *result;
    assert_true(s->f->dim <= 512);
    for (int64_t k = 0; k < x->dim; k++) u[k] = uniform(-1, 1);
    for (int64_t k = 0; k < s->f->dim; k++) w[k] = uniform(-1, 1);
    double expected = slope(s, v, u, w), scale = 1e-7 * (1 + fabs(expected));
    const bbi_node *tangent = constants(s->c, u, x->dim), *cotangent = constants(s->c, w, s->f->dim);
    if (bbi_vjp(s->c, &s->f, &cotangent, 1, &x, 1, true, &result) != BB_OK)
        fail_msg("%s: %s", text, bb_last_error());
    if (result->dim != x->dim) fail_msg("%s: the gradient has dimension %d", text, (int)result->dim);
    evaluate(s, result, value);
    double reverse = inner(u, value, x->dim);
    if (!(fabs(reverse - expected) <= scale))
        fail_msg("%s, variable %d: reverse %.12g, differences %.12g", text, v, reverse, expected);
    result = bbi_jvp(s->c, s->f, &x, &tangent, 1);
    if (!result) fail_msg("%s: %s", text, bb_last_error());
    evaluate(s, result, value);
    double forward = inner(w, value, s->f->dim);
    if (!(fabs(forward - expected) <= scale))
        fail_msg("%s, variable %d: forward %.12g, differences %.12g", text, v, forward, expected);
}

static void check_formula(const char *text, double low, double high) {
    sample s;
    read_sample(&s, text);
    for (int round = 0; round < 3; round++) {
        draw_point(&s, low, high);
        for (int v = 0; v < s.signature.count; v++) assert_derivatives(&s, text, v);
    }
    free_sample(&s);
}

/* ---- every row ---- */
static bool derivative_is_defined_everywhere(const bbi_op_row *row) {
    return (row->kind == BBI_MAP || row->kind == BBI_FOLD || row->kind == BBI_MACRO) && row->int_count == 0;
}

static void check_row(const bbi_op_row *row, const int *dims) {
    static const char *const names[] = {"a", "b", "c"};
    char text[256];
    size_t used = (size_t)snprintf(text, sizeof text, "%s(", row->name);
    for (int k = 0; k < row->arity; k++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s:p%d", k ? ", " : "", names[k], dims[k]);
    snprintf(text + used, sizeof text - used, ")");
    check_formula(text, row->domain_low, row->domain_high);
}

static void elementwise_rows_folds_and_macros_have_right_derivatives(void **state) {
    (void)state;
    static const int patterns[][3] = {{1, 1, 1}, {3, 3, 3}, {1, 3, 1}, {3, 1, 3}, {2, 2, 1}};
    int rows = 0;
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        bool complex_operands = strstr(row->alias, "Complex") || op == BBI_OP_conj || op == BBI_OP_complex ||
                                op == BBI_OP_softmax_part;
        if (!derivative_is_defined_everywhere(row) || complex_operands || op == BBI_OP_stop) continue;
        for (int p = 0; p < 5; p++) check_row(row, patterns[p]);
        rows++;
    }
    assert_true(rows > 70);
}

static const struct {
    const char *text;
    double low, high;
} built[] = {
    {"pow(a:p3, 0)", -2, 2},
    {"pow(a:p3, 1)", -2, 2},
    {"pow(a:p3, 5)", -2, 2},
    {"pow(a:p3, -3)", 0.5, 2},
    {"pow(a:p1, 10)", -1, 1},
    {"round(a:p3)", 0.6, 1.4},
    {"round(a:p3, 1)", 0.11, 0.14},
    {"round(a:p3, -1)", 6, 9},
    {"vprod(a:p7)", 0.5, 2},
    {"vprod(a:p1)", 0.5, 2},
    {"cumsum(a:p6)", -2, 2},
    {"clampint(a:p3, 0, 1)", 0.1, 0.9},
    {"diffclampint(a:p3, 0, 1)", 0.1, 0.9},
    {"symsqnorm(a:p9, b:p3)", -2, 2},
    {"weightedsqnorm(a:p1, b:p3)", -2, 2},
    {"weightedsqnorm(a:p3, b:p3)", -2, 2},
    {"weightedsqnorm(a:p9, b:p3)", -2, 2},
    {"weightedsqdist(a:p9, b:p3, c:p3)", -2, 2},
    {"slice(a:p7, 1, 3, 2)", -2, 2},
    {"pad(a:p3, 1, 9, 3)", -2, 2},
    {"concat(a:p2, b:p3)", -2, 2},
    {"repeat(a:p1, 4)", -2, 2},
    {"elem(a:p3, 1)", -2, 2},
    {"elemt(a:p1, 4, 2)", -2, 2},
    {"extract(a:p5, 1, 3)", -2, 2},
    {"extractt(a:p2, 1, 4)", -2, 2},
    {"sumt(a:p1, 3)", -2, 2},
    {"onehot(a:p1, 3)", 0.6, 1.4},
    {"tensordot(a:p6, b:p12, [2,3], [3,4], [1], [0])", -2, 2},
    {"tensordot(a:p12, b:p6, [2,3,2], [2,3], [0,1], [0,1])", -2, 2},
    {"tensordot(a:p6, b:p8, [2,3], [2,2,2], [0], [1], [2,0,1])", -2, 2},
    {"kron(a:p6, b:p4, [2,3], [2,2])", -2, 2},
    {"matvecmult(a:p6, b:p3)", -2, 2},
    {"vecmatmult(a:p3, b:p6)", -2, 2},
    {"tensorprod(a:p3, b:p2)", -2, 2},
    {"differencematrix(a:p3, b:p2)", -2, 2},
    {"matvecmult(a:p9, matvecmult(a, b:p3))", -2, 2},
    {"complex(a:p3, b:p3)", -2, 2},
    {"complexreal(a:p6)", -2, 2},
    {"compleximag(a:p6)", -2, 2},
    {"real2complex(a:p3)", -2, 2},
    {"imag2complex(a:p3)", -2, 2},
    {"conj(a:p6)", -2, 2},
    {"complexabs(a:p6)", 0.2, 2},
    {"complexsquareabs(a:p6)", -2, 2},
    {"complexangle(a:p6)", 0.5, 2},
    {"complexsum(a:p6)", -2, 2},
    {"complexsumt(a:p2, 6)", -2, 2},
    {"complexexp(a:p6)", -2, 2},
    {"complexexp1j(a:p3)", -2, 2},
    {"complexadd(a:p6, b:p6)", -2, 2},
    {"complexadd(a:p6, b:p2)", -2, 2},
    {"complexsubtract(a:p2, b:p6)", -2, 2},
    {"complexmult(a:p6, b:p6)", -2, 2},
    {"complexmult(a:p2, b:p6)", -2, 2},
    {"complexdivide(a:p6, b:p6)", 0.5, 2},
    {"complexrealscal(a:p1, b:p6)", -2, 2},
    {"complexrealscal(a:p3, b:p6)", -2, 2},
    {"bspline(a:p7, b:p1, 3) + 0*sum(a)", 0, 1},
    {"softdtw_sqdist(a:p4, b:p3, c:p1)", 0.5, 2},
    {"a:p3 - softmax_part(b:p3)", 0.5, 2},
    {"intcst(3) * intinv(4) * ratcst(2, 3) * a:p2 + zero(2) + iota(2)", -2, 2},
    {"grad(exp(-sqdist(a:p3, b:p3)), a, c:p1)", -1, 1},
    {"diff(exp(-sqdist(a:p3, b:p3)), a, c:p3)", -1, 1},
    {"gradmatrix(a:p3*sum(a*b:p3), a)", -1, 1},
    {"divergence(a:p3*sum(a*b:p3), a)", -1, 1},
    {"laplacian(exp(-sqdist(a:p3, b:p3)), a)", -1, 1},
    {"traceoperator(matvecmult(b:p9, a:p3), a) + 0*sum(a)", -1, 1},
    {"adjointoperator(matvecmult(b:p6, a:p3), a, c:p2) + 0*sum(a)", -1, 1},
    {"sumlinoperator(matvecmult(b:p6, a:p3), a) + 0*sum(a)", -1, 1},
    {"factorize(a:p2*b:p2, b)", -1, 1},
    {"autofactorize(exp(a:p2))", -1, 1},
    {"Grad_WithSavedForward(square(a:p2), a, b:p2, square(a))", -1, 1},
    {"Diff_WithSavedForward(square(a:p2), a, b:p2, square(a))", -1, 1},
    {"contract(a:p6, b:p6, [2,3], [0,1], [0,1], [1])", -2, 2},
};

static bool text_names(const char *text, const bbi_op_row *row) {
    char call[2][80];
    snprintf(call[0], sizeof call[0], "%s(", row->name);
    snprintf(call[1], sizeof call[1], "%s(", row->alias);
    return strstr(text, call[0]) || (row->alias[0] && strstr(text, call[1]));
}

static void all_other_rows_have_right_derivatives(void **state) {
    (void)state;
    enum { CASES = sizeof built / sizeof *built };
    for (int k = 0; k < CASES; k++) check_formula(built[k].text, built[k].low, built[k].high);
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        bool covered = derivative_is_defined_everywhere(row) || row->kind == BBI_LEAF;
        for (int k = 0; k < CASES && !covered; k++) covered = text_names(built[k].text, row);
        if (!covered) fail_msg("%s is in no test", row->name);
    }
}

static void every_row_is_complete(void **state) {
    (void)state;
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        assert_true(row->name[0] && row->doc[0]);
        if (row->kind == BBI_LEAF) continue;
        if (bbi_op_find(row->name, strlen(row->name)) != op)
            fail_msg("the name %s is taken twice", row->name);
        if (row->alias[0] && bbi_op_find(row->alias, strlen(row->alias)) != op)
            fail_msg("the alias %s is taken twice", row->alias);
        assert_true(row->domain_low < row->domain_high);
        assert_true((row->kind == BBI_MAP) == (row->scalar != NULL));
        if ((row->kind == BBI_MAP || row->kind == BBI_FOLD) && op != BBI_OP_stop) assert_true(row->cost > 0);
        bool has_vjp = row->vjp[0][0] || row->vjp[1][0];
        if (row->flags & BBI_NODIFF)
            assert_false(has_vjp);
        else if (row->kind == BBI_MAP || row->kind == BBI_FOLD || row->kind == BBI_INDEX)
            assert_true(has_vjp);
        if (row->kind == BBI_BUILD) assert_non_null(bbi_builder_of(op));
    }
    assert_int_equal(bbi_op_find("exponential", 11), -1);
    assert_int_equal(bbi_op_find("exp2", 3), BBI_OP_exp);
    assert_int_equal(bbi_op_find("", 0), -1);
}

static void every_operation_of_keops_is_there(void **state) {
    (void)state;
    static const char *const names[] = {"Abs",
                                        "Acos",
                                        "Add",
                                        "ArgMax",
                                        "ArgMin",
                                        "Asin",
                                        "Atan",
                                        "Atan2",
                                        "BSpline",
                                        "Clamp",
                                        "ClampInt",
                                        "Concat",
                                        "Cos",
                                        "DiffClampInt",
                                        "Divide",
                                        "Elem",
                                        "ElemT",
                                        "Equal",
                                        "Exp",
                                        "Extract",
                                        "ExtractT",
                                        "GradMatrix",
                                        "Floor",
                                        "IfElse",
                                        "IntInv",
                                        "Inv",
                                        "Kron",
                                        "LessOrEqual",
                                        "LessThan",
                                        "Log",
                                        "MatVecMult",
                                        "Max",
                                        "Min",
                                        "Minus",
                                        "Mod",
                                        "Mult",
                                        "Norm2",
                                        "Normalize",
                                        "NotEqual",
                                        "OneHot",
                                        "Pow",
                                        "Powf",
                                        "ReLU",
                                        "Round",
                                        "Rsqrt",
                                        "Scalprod",
                                        "Sign",
                                        "Sin",
                                        "SinXDivX",
                                        "SoftDTW_SqDist",
                                        "SqDist",
                                        "SqNorm2",
                                        "SqNormDiag",
                                        "SqNormIso",
                                        "Sqrt",
                                        "Square",
                                        "Step",
                                        "Subtract",
                                        "Sum",
                                        "SumT",
                                        "SymSqNorm",
                                        "TensorDot",
                                        "TensorProd",
                                        "VecMatMult",
                                        "WeightedSqDist",
                                        "WeightedSqNorm",
                                        "XLogX",
                                        "ComplexAbs",
                                        "ComplexAdd",
                                        "ComplexAngle",
                                        "ComplexDivide",
                                        "ComplexExp",
                                        "ComplexExp1j",
                                        "ComplexImag",
                                        "ComplexMult",
                                        "ComplexReal",
                                        "ComplexRealScal",
                                        "ComplexSquareAbs",
                                        "ComplexSubtract",
                                        "ComplexSum",
                                        "ComplexSumT",
                                        "Conj",
                                        "Imag2Complex",
                                        "Real2Complex",
                                        "IntCst",
                                        "RatCst",
                                        "Zero",
                                        "Diff",
                                        "Diff_WithSavedForward",
                                        "Divergence",
                                        "Grad",
                                        "Grad_WithSavedForward",
                                        "Laplacian",
                                        "AdjointOperator",
                                        "SumLinOperator",
                                        "TraceOperator",
                                        "AutoFactorize",
                                        "Factorize"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (bbi_op_find(names[k], strlen(names[k])) < 0) fail_msg("%s is missing", names[k]);
    }
}

/* ---- values ---- */
/* f at a point given as the values of its variables, one after the other, in the order of their declaration.
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
        bool same = isnan(expected[k]) ? isnan(value[k])
                                       : value[k] == expected[k] ||
                                             fabs(value[k] - expected[k]) <= 1e-12 * (1 + fabs(expected[k]));
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
                for (int l = 0; l < 2; l++)
                    expected[6 * (2 * i + k) + 2 * j + l] = a[3 * i + j] * x[6 + 2 * k + l];
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

/* Uniform knots: the cubic B-spline is 1/6, 2/3, 1/6 at its inner knots; splines sum to 1 where degree + 1 of
 * them are complete. */
static void splines_have_their_known_values(void **state) {
    (void)state;
    const double knots[9] = {0, 1, 2, 3, 4, 5, 6, 7, 4};
    assert_value("bspline(t:p8, x:p1, 3)", knots, (double[]){0, 1. / 6, 2. / 3, 1. / 6}, 4);
    assert_value("sum(bspline(t:p8, x:p1, 3))", (double[]){0, 1, 2, 3, 4, 5, 6, 7, 3.7}, (double[]){1}, 1);
    assert_value("bspline(t:p6, x:p1, 2)", (double[]){0, 0, 0, 1, 1, 1, 0.25},
                 (double[]){0.5625, 0.375, 0.0625}, 3);
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

/* ---- cost, depth, memory ---- */
/* Baur and Strassen, 1983: a scalar formula and its gradient together cost at most 5 times the formula. */
static void gradients_cost_at_most_five_formulas(void **state) {
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        if (row->kind != BBI_MAP && row->kind != BBI_FOLD) continue;
        char text[128];
        size_t used = (size_t)snprintf(text, sizeof text, "sum(%s(", row->name);
        for (int k = 0; k < row->arity; k++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s:p7", k ? ", " : "", names[k]);
        snprintf(text + used, sizeof text - used, "))");
        sample s;
        read_sample(&s, text);
        const bbi_node *one = bbi_const(s.c, 1), *all[MAX_VARIABLES + 1] = {s.f};
        assert_int_equal(bbi_vjp(s.c, &s.f, &one, 1, s.variable, s.signature.count, false, all + 1), BB_OK);
        double formula = bbi_cost(all, 1), together = bbi_cost(all, 1 + s.signature.count);
        if (together > 5 * formula) fail_msg("%s costs %g, with its gradient %g", text, formula, together);
        free_sample(&s);
    }
}

static void long_chains_do_not_exhaust_the_stack(void **state) {
    (void)state;
    enum { LENGTH = 20000 };
    bbi_context *c = bbi_context_new();
    const bbi_node *x = bbi_var(c, 0, BBI_P, 1), *y = bbi_var(c, 1, BBI_P, 1), *f = x, *one = bbi_const(c, 1),
                   *g;
    for (int k = 0; k < LENGTH; k++) f = bbi_op2(c, BBI_OP_add, bbi_op1(c, BBI_OP_sin, f), x);
    assert_non_null(f);
    assert_true(bbi_cost(&f, 1) >= 21.0 * LENGTH);
    assert_ptr_equal(bbi_substitute(c, bbi_substitute(c, f, &y, 1), (const bbi_node *[]){NULL, x}, 2), f);
    assert_int_equal(bbi_vjp(c, &f, &one, 1, &x, 1, false, &g), BB_OK);
    bbi_context_release(c);
}

static void shape_errors_name_the_operation(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"add(a:p3, b:p5)", "add: operands have dimensions 3 and 5; they must be equal, or one of them 1"},
        {"where(a:p3, b:p5, 1)",
         "where: operands have dimensions 3, 5 and 1; those that are not 1 must be equal"},
        {"elem(a:p3, 3)",
         "slice: 1 components from 3 on in steps of 1 do not fit into a vector of dimension 3"},
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

static bb_status build_everything(void) {
    bbi_context *c = bbi_context_new();
    if (!c) return BB_OUT_OF_MEMORY;
    bbi_signature signature = {0};
    const bbi_node *f, *g, *x, *one;
    int64_t outputs;
    bb_status status =
        bbi_parse(c, "sum(kron(x:p4, exp(-square(x)), [2,2], [2,2])) + bspline(x, 1, 1)*sqnorm2(x)",
                  &signature, NULL, &f, 1, &outputs);
    if (status == BB_OK) {
        x = bbi_var(c, 0, BBI_P, 4);
        one = bbi_const(c, 1);
        status = x && one ? bbi_vjp(c, &f, &one, 1, &x, 1, false, &g) : BB_OUT_OF_MEMORY;
    }
    bbi_signature_free(&signature);
    bbi_context_release(c);
    return status;
}

static void every_failed_allocation_is_reported_and_nothing_leaks(void **state) {
    (void)state;
    int64_t live = bbi_live_allocations(), n = 0;
    for (bb_status status = BB_OUT_OF_MEMORY; status != BB_OK; n++) {
        bbi_fail_allocations_after(n);
        status = build_everything();
        bbi_fail_allocations_after(-1);
        if (status != BB_OK && status != BB_OUT_OF_MEMORY)
            fail_msg("allocation %d: %s", (int)n, bb_last_error());
        assert_int_equal(bbi_live_allocations(), live);
        assert_true(n < 5000);
    }
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(every_operation_of_keops_is_there),
        cmocka_unit_test(elementwise_rows_folds_and_macros_have_right_derivatives),
        cmocka_unit_test(all_other_rows_have_right_derivatives),
        cmocka_unit_test(conventions_at_kinks),
        cmocka_unit_test(tensors_contract_as_defined),
        cmocka_unit_test(complex_operations_are_those_of_c),
        cmocka_unit_test(splines_have_their_known_values),
        cmocka_unit_test(soft_dtw_is_its_recurrence),
        cmocka_unit_test(gradients_cost_at_most_five_formulas),
        cmocka_unit_test(long_chains_do_not_exhaust_the_stack),
        cmocka_unit_test(shape_errors_name_the_operation),
        cmocka_unit_test(every_failed_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
