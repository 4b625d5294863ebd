/* tangent.c: forward mode, and the operators of KeOps's text that are made of it. Elementwise rows are differentiated
 * by the text of their derivative column with the tangent in the place of the cotangent: a diagonal linear map is its
 * own transpose. */
#include "grad.h"

typedef struct forward {
    bbi_context *c;
    const bbi_node **nodes, **tangent; /* sorted by id; NULL tangent: zero */
    int64_t count;
} forward;

static int64_t position_of(const forward *f, const bbi_node *node) { return bbi_position(f->nodes, f->count, node); }

static const bbi_node *tangent_of(const forward *f, const bbi_node *node) {
    int64_t p = node ? position_of(f, node) : -1;
    return p < 0 ? NULL : f->tangent[p];
}

/* sum of two tangents, either of which may be the zero NULL; *bad on error */
static const bbi_node *plus(bbi_context *c, const bbi_node *a, const bbi_node *b, bool *bad) {
    const bbi_node *s = !a ? b : !b ? a : bbi_op2(c, BBI_OP_add, a, b);
    if ((a || b) && !s) *bad = true;
    return s;
}

static const bbi_node *map_tangent(forward *f, const bbi_node *n, bool *bad) {
    const bbi_node *total = NULL;
    for (int k = 0; k < n->narg && !*bad; k++) {
        const bbi_node *t = tangent_of(f, n->arg[k]);
        if (!t) continue;
        const bbi_node *d = bbi_derivative_text(f->c, n, k, t, bad);
        if (d) d = bbi_fit_dim(f->c, d, d->dim, n->dim);
        total = plus(f->c, total, d, bad);
    }
    return total;
}

/* Operations that are linear in all operands together: the operation itself on the tangents. */
static const bbi_node *linear_tangent(forward *f, const bbi_node *n, bool *bad) {
    const bbi_node *args[BBI_MAX_ARGS];
    for (int k = 0; k < n->narg; k++) {
        const bbi_node *t = tangent_of(f, n->arg[k]);
        args[k] = t ? t : bbi_zero(f->c, n->arg[k]->dim);
    }
    const bbi_node *t = bbi_node_make(f->c, n->op, args, n->narg, n->ints, n->nint);
    *bad = !t;
    return t;
}

/* max and min over the components: the tangent of the selected one. */
static const bbi_node *fold_tangent(forward *f, const bbi_node *n, bool *bad) {
    const bbi_node *a = n->arg[0], *t = tangent_of(f, a);
    bbi_op arg = n->op == BBI_OP_max ? BBI_OP_argmax : BBI_OP_argmin;
    const bbi_node *chosen = bbi_op2(f->c, BBI_OP_eq, bbi_iota(f->c, a->dim), bbi_op1(f->c, arg, a));
    const bbi_node *d = bbi_op1(f->c, BBI_OP_sum, bbi_op2(f->c, BBI_OP_mul, t, chosen));
    *bad = !d;
    return d;
}

static const bbi_node *contract_tangent(forward *f, const bbi_node *n, bool *bad) {
    bbi_contraction s = bbi_contraction_of(n);
    const bbi_node *a = n->arg[0], *b = n->narg > 1 ? n->arg[1] : NULL, *total = NULL;
    const bbi_node *ta = tangent_of(f, a), *tb = tangent_of(f, b);
    if (ta) total = bbi_contract(f->c, ta, b, &s), *bad = !total;
    if (tb && !*bad) {
        const bbi_node *d = bbi_contract(f->c, a, tb, &s);
        *bad = !d;
        total = plus(f->c, total, d, bad);
    }
    return total;
}

static const bbi_node *fold_axis(forward *f, const bbi_node *n, const bbi_node *body, bool *bad) {
    bbi_place axis = (bbi_place)n->ints[1], whole = (bbi_place)(n->place | (n->arg[0]->place & axis));
    const bbi_node *list = n->narg > 2 ? n->arg[2] : NULL;
    const bbi_node *d =
        bbi_reduce(f->c, BBI_RED_sum, axis, 0, bbi_place_as(f->c, body, list ? BBI_IJ : whole), NULL, list);
    *bad = *bad || !d;
    return d;
}

static const bbi_node *reduction_tangent(forward *f, const bbi_node *n, bool *bad) {
    const bbi_reduction_row *row = bbi_reduction_info((int)n->ints[0]);
    const bbi_node *w = n->narg > 1 ? n->arg[1] : NULL;
    const bbi_node *df = tangent_of(f, n->arg[0]), *dw = tangent_of(f, w), *body = NULL;
    if (row->output == BBI_OUT_INDEX) return NULL;
    if (row->family == BBI_FAMILY_SUM) return fold_axis(f, n, df, bad);
    if (row->family == BBI_FAMILY_MIN || row->family == BBI_FAMILY_MAX || row->family == BBI_FAMILY_KMIN) {
        const bbi_node *d = bbi_selection_tangent(f->c, n, df);
        *bad = !d;
        return d;
    }
    if (row->family == BBI_FAMILY_USER) {
        bbi_fail(BB_NOT_DIFFERENTIABLE, "a custom reduction has no derivative");
        *bad = true;
        return NULL;
    }
    bbi_pair_weights pair;
    if (bbi_reduction_weights(f->c, n, &pair) != BB_OK) {
        *bad = true;
        return NULL;
    }
    if (df) body = bbi_op2(f->c, BBI_OP_mul, pair.f, df), *bad = !body;
    if (dw && !*bad) body = plus(f->c, body, bbi_op2(f->c, BBI_OP_mul, pair.w, dw), bad);
    body = bbi_fit_dim(f->c, body, 1, n->dim);
    return *bad ? NULL : fold_axis(f, n, body, bad);
}

static const bbi_node *node_tangent(forward *f, const bbi_node *n, bool *bad) {
    bool active = false;
    for (int k = 0; k < n->narg; k++) active = active || tangent_of(f, n->arg[k]);
    if (!active) return NULL;
    const bbi_op_row *row = bbi_op_info(n->op);
    if (n->op == BBI_OP_REDUCE) return reduction_tangent(f, n, bad);
    if (row->flags & BBI_NODIFF) return NULL;
    switch (row->kind) {
    case BBI_MAP: return map_tangent(f, n, bad);
    case BBI_CONTRACT: return contract_tangent(f, n, bad);
    case BBI_INDEX: return linear_tangent(f, n, bad);
    case BBI_FOLD: return n->op == BBI_OP_sum ? linear_tangent(f, n, bad) : fold_tangent(f, n, bad);
    default: return NULL;
    }
}

const bbi_node *bbi_jvp(bbi_context *c, const bbi_node *output, const bbi_node *const *variables,
                        const bbi_node *const *tangents, int64_t nvariable) {
    forward f = {.c = c};
    if (!output || bbi_topological(&output, 1, &f.nodes, &f.count) != BB_OK) return NULL;
    f.tangent = bbi_calloc((size_t)f.count + 1, sizeof *f.tangent);
    bool bad = !f.tangent;
    if (bad) bbi_fail(BB_OUT_OF_MEMORY, "tangent: out of memory");
    for (int64_t n = 0; n < f.count && !bad; n++) {
        for (int64_t v = 0; v < nvariable; v++) {
            if (f.nodes[n] != variables[v]) continue;
            f.tangent[n] = bbi_fit_dim(c, tangents[v], 1, variables[v]->dim);
            bad = bad || !f.tangent[n];
        }
        if (f.nodes[n]->narg) f.tangent[n] = node_tangent(&f, f.nodes[n], &bad);
        if (f.tangent[n] && bbi_is_const(f.tangent[n], 0)) f.tangent[n] = NULL;
    }
    const bbi_node *result = bad ? NULL : tangent_of(&f, output);
    bbi_free(f.nodes);
    bbi_free(f.tangent);
    return bad || result ? result : bbi_zero(c, output->dim);
}

/* ---- operators per pair ---------------------------------------------------------------------- */
static const bbi_node *basis(bbi_context *c, int64_t k, int64_t dim) {
    return dim == 1 ? bbi_const(c, 1) : bbi_pad(c, bbi_const(c, 1), k, dim, 1);
}

static bool is_variable(const bbi_node *x, const char *operator_) {
    if (x && x->op == BBI_OP_VAR) return true;
    if (x) bbi_fail(BB_BAD_ARGUMENT, "%s: the second operand must be a variable, not a formula", operator_);
    return false;
}

const bbi_node *bbi_grad_matrix(bbi_context *c, const bbi_node *f, const bbi_node *x) {
    if (!f || !is_variable(x, "GradMatrix")) return NULL;
    const bbi_node *rows = NULL;
    for (int64_t k = 0; k < f->dim; k++) {
        const bbi_node *e = basis(c, k, f->dim), *g;
        if (!e || bbi_vjp(c, &f, &e, 1, &x, 1, true, &g) != BB_OK) return NULL;
        rows = rows ? bbi_op2(c, BBI_OP_concat, rows, g) : g;
    }
    return rows;
}

const bbi_node *bbi_divergence(bbi_context *c, const bbi_node *f, const bbi_node *x) {
    if (!f || !is_variable(x, "Divergence")) return NULL;
    if (f->dim != x->dim) {
        bbi_fail(BB_BAD_SHAPE, "Divergence: the field has dimension %lld, the variable %lld; they must be equal",
                 (long long)f->dim, (long long)x->dim);
        return NULL;
    }
    const bbi_node *total = NULL;
    for (int64_t k = 0; k < x->dim; k++) {
        const bbi_node *e = basis(c, k, x->dim), *d = bbi_jvp(c, f, &x, &e, 1);
        d = bbi_slice(c, d, k, 1, 1);
        total = total ? bbi_op2(c, BBI_OP_add, total, d) : d;
        if (!total) return NULL;
    }
    return total;
}

const bbi_node *bbi_laplacian(bbi_context *c, const bbi_node *f, const bbi_node *x) {
    if (!f || !is_variable(x, "Laplacian")) return NULL;
    if (f->dim != 1) {
        bbi_fail(BB_BAD_SHAPE, "Laplacian: the formula has dimension %lld; it must be a scalar", (long long)f->dim);
        return NULL;
    }
    const bbi_node *one = bbi_const(c, 1), *g;
    if (bbi_vjp(c, &f, &one, 1, &x, 1, true, &g) != BB_OK) return NULL;
    return bbi_divergence(c, g, x);
}

const bbi_node *bbi_trace_operator(bbi_context *c, const bbi_node *f, const bbi_node *x) {
    return bbi_divergence(c, f, x);
}

const bbi_node *bbi_adjoint_operator(bbi_context *c, const bbi_node *f, const bbi_node *x, const bbi_node *g) {
    const bbi_node *result;
    if (!f || !g || !is_variable(x, "AdjointOperator")) return NULL;
    return bbi_vjp(c, &f, &g, 1, &x, 1, true, &result) == BB_OK ? result : NULL;
}
