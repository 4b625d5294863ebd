/* The table of operations: every row's derivatives in both modes, names, the cost of gradients, and
 * formulas of great depth or without memory. Everything is written as a formula and evaluated by the
 * oracle. */
#include "sample.h"

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
    if (bbi_vjp(s->c, &s->f, &cotangent, 1, &x, 1, true, &result) != BB_OK) fail_msg("%s: %s", text, bb_last_error());
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
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s:p%d", k ? ", " : "", names[k], dims[k]);
    snprintf(text + used, sizeof text - used, ")");
    check_formula(text, row->domain_low, row->domain_high);
}

static void elementwise_rows_folds_and_macros_have_right_derivatives(void **state) {
    (void)state;
    static const int patterns[][3] = {{1, 1, 1}, {3, 3, 3}, {1, 3, 1}, {3, 1, 3}, {2, 2, 1}};
    int rows = 0;
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        bool complex_operands =
            strstr(row->alias, "Complex") || op == BBI_OP_conj || op == BBI_OP_complex || op == BBI_OP_softmax_part;
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
        if (bbi_op_find(row->name, strlen(row->name)) != op) fail_msg("the name %s is taken twice", row->name);
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
    const bbi_node *x = bbi_var(c, 0, BBI_P, 1), *y = bbi_var(c, 1, BBI_P, 1), *f = x, *one = bbi_const(c, 1), *g;
    for (int k = 0; k < LENGTH; k++) f = bbi_op2(c, BBI_OP_add, bbi_op1(c, BBI_OP_sin, f), x);
    assert_non_null(f);
    assert_true(bbi_cost(&f, 1) >= 21.0 * LENGTH);
    assert_ptr_equal(bbi_substitute(c, bbi_substitute(c, f, &y, 1), (const bbi_node *[]){NULL, x}, 2), f);
    assert_int_equal(bbi_vjp(c, &f, &one, 1, &x, 1, false, &g), BB_OK);
    bbi_context_release(c);
}

static bb_status build_everything(void) {
    bbi_context *c = bbi_context_new();
    if (!c) return BB_OUT_OF_MEMORY;
    bbi_signature signature = {0};
    const bbi_node *f, *g, *x, *one;
    int64_t outputs;
    bb_status status = bbi_parse(c, "sum(kron(x:p4, exp(-square(x)), [2,2], [2,2])) + bspline(x, 1, 1)*sqnorm2(x)",
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
        if (status != BB_OK && status != BB_OUT_OF_MEMORY) fail_msg("allocation %d: %s", (int)n, bb_last_error());
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
        cmocka_unit_test(gradients_cost_at_most_five_formulas),
        cmocka_unit_test(long_chains_do_not_exhaust_the_stack),
        cmocka_unit_test(every_failed_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
