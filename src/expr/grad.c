/* grad.c: reverse accumulation over the DAG, back into the same DAG (Griewank and Walther, Evaluating Derivatives, 2nd
 * ed., ch. 3).
 *
 * Requires: interned nodes. Maintains: nothing else. The adjoint of a node n lives on a *domain*: the axes of n (and,
 * pairwise, the free axes of the outputs), and all pairs or only the listed pairs of a selection. A consumer's
 * contribution to n, of a domain with more axes than n's, is summed over the extra ones: this one rule turns the
 * gradient with respect to a j-variable into a reduction over i, that with respect to a parameter into a reduction over
 * both, and the gradient through a reduction's value into a product at each pair. Broadcasting over components is
 * undone in one place too (bbi_fit_dim). */
#include "grad.h"

/* what has been collected for one node on one domain, by the axes that are still to be summed
                            over */
typedef struct adjoint {
    struct adjoint *next;
    const bbi_node *list; /* NULL: all pairs */
    const bbi_node *extra[4];
} adjoint;

typedef struct reverse {
    bbi_context *c;
    const bbi_node **nodes;
    int64_t count;
    bool *active;
    adjoint **adjoints; /* by position in nodes */
    bbi_arena arena;
    bbi_place free_axes;
} reverse;

static int64_t position_of(const reverse *r, const bbi_node *node) { return bbi_position(r->nodes, r->count, node); }

static bb_status failed(void) { return bbi_fail_append("%s", ""); }

static bb_status add_adjoint(reverse *r, const bbi_node *node, const bbi_node *list, bbi_place extra,
                             const bbi_node *value) {
    if (!value) return failed();
    int64_t n = position_of(r, node);
    if (n < 0 || !r->active[n] || bbi_is_const(value, 0)) return BB_OK;
    adjoint *a = r->adjoints[n];
    while (a && a->list != list) a = a->next;
    if (!a) {
        a = bbi_arena_alloc(&r->arena, sizeof *a);
        if (!a) return bbi_fail(BB_OUT_OF_MEMORY, "gradient: out of memory");
        a->list = list;
        a->next = r->adjoints[n];
        r->adjoints[n] = a;
    }
    const bbi_node **slot = &a->extra[extra];
    *slot = *slot ? bbi_op2(r->c, BBI_OP_add, *slot, value) : value;
    return *slot ? BB_OK : failed();
}

const bbi_node *bbi_fit_dim(bbi_context *c, const bbi_node *d, int64_t from, int64_t dim) {
    if (!d) return NULL;
    if (d->dim == 1 && from > 1 && dim == 1) d = bbi_repeat(c, d, from);
    if (d && d->dim > 1 && dim == 1) return bbi_op1(c, BBI_OP_sum, d);
    if (d && d->dim == 1 && dim > 1) return bbi_repeat(c, d, dim);
    return d;
}

const bbi_node *bbi_derivative_text(bbi_context *c, const bbi_node *n, int k, const bbi_node *g, bool *failed_) {
    static const char *const operand[3] = {"a", "b", "c"}, *const integer[4] = {"m", "n", "k", "l"};
    const bbi_op_row *row = bbi_op_info(n->op);
    *failed_ = false;
    if (k > 2 || !row->vjp[k] || !row->vjp[k][0]) return NULL;
    bbi_binding bindings[9];
    int count = 0;
    for (int a = 0; a < n->narg && a < 3; a++) bindings[count++] = (bbi_binding){operand[a], n->arg[a], 0};
    bindings[count++] = (bbi_binding){"y", n, 0};
    bindings[count++] = (bbi_binding){"g", g, 0};
    for (int i = 0; i < n->nint && i < 4; i++) bindings[count++] = (bbi_binding){integer[i], NULL, n->ints[i]};
    const bbi_node *d = bbi_table_formula(c, row->vjp[k], bindings, count);
    *failed_ = d == NULL;
    return d;
}

/* Adds value, an adjoint contribution made at consumer, to one of its operands. */
static bb_status send(reverse *r, const bbi_node *consumer, const bbi_node *list, const bbi_node *operand,
                      const bbi_node *value) {
    bool broadcasts = bbi_op_info(consumer->op)->kind == BBI_MAP;
    value = bbi_fit_dim(r->c, value, broadcasts ? consumer->dim : 1, operand->dim);
    bbi_place kept = (bbi_place)(operand->place | r->free_axes);
    bbi_place extra = (bbi_place)((consumer->place | r->free_axes) & ~kept);
    if (!list) return add_adjoint(r, operand, NULL, extra, value);
    if (operand->place == BBI_IJ) return add_adjoint(r, operand, list, BBI_P, value);
    /* Off the listed pairs: sum over the entries of the list, keeping the operand's axis. */
    bbi_place keep = operand->place == BBI_P ? (bbi_place)list->place : (bbi_place)operand->place;
    value =
        bbi_reduce(r->c, BBI_RED_sum, (bbi_place)(BBI_IJ & ~keep), 0, bbi_place_as(r->c, value, BBI_IJ), NULL, list);
    return add_adjoint(r, operand, NULL, (bbi_place)(keep & ~operand->place), value);
}

static bb_status send_contraction(reverse *r, const bbi_node *n, const bbi_node *list, const bbi_node *g) {
    bbi_contraction s = bbi_contraction_of(n), d = s;
    const bbi_node *a = n->arg[0], *b = n->narg > 1 ? n->arg[1] : NULL;
    d.na = s.no, d.la = s.lo, d.no = s.na, d.lo = s.la; /* a: contract(g[lo], b[lb]) -> la */
    BBI_FORWARD(send(r, n, list, a, bbi_contract(r->c, g, b, &d)));
    if (!b) return BB_OK;
    d = s;
    d.nb = s.no, d.lb = s.lo, d.no = s.nb, d.lo = s.lb; /* b: contract(a[la], g[lo]) -> lb */
    return send(r, n, list, b, bbi_contract(r->c, a, g, &d));
}

/* Like send, for the body of a reduction: the body's domain has the folded axes, which its adjoint then is not summed
 * over. */
static bb_status send_body(reverse *r, const bbi_node *n, const bbi_node *body, const bbi_node *list,
                           const bbi_node *value) {
    if (!value) return failed();
    int64_t p = position_of(r, body);
    if (p < 0 || !r->active[p]) return BB_OK;
    if (!list) value = bbi_op2(r->c, BBI_OP_mul, value, bbi_missing_count(r->c, n, body));
    return add_adjoint(r, body, list, BBI_P, value);
}

static bb_status send_listed_sum(reverse *r, const bbi_node *n, const bbi_node *g) {
    const bbi_node *f = n->arg[0], *list = n->arg[2];
    if (f->place == BBI_IJ) return send_body(r, n, f, list, g);
    const bbi_node *pair =
        bbi_place_as(r->c, f, BBI_IJ); /* a body that lacks an axis was wrapped when made; kept for safety */
    return pair ? bbi_fail(BB_INTERNAL, "gradient: the body of a listed sum does not depend on both axes") : failed();
}

static bb_status send_selection(reverse *r, const bbi_node *n, const bbi_node *g) {
    const bbi_node *f = n->arg[0];
    if ((n->ints[1] & f->place) == 0) /* every column is the same: the selected one stands for all */
        return add_adjoint(r, f, NULL, BBI_P, bbi_selection_cotangent(r->c, n, g));
    const bbi_node *list = f->place == BBI_IJ ? bbi_selection_list(r->c, n) : NULL;
    return add_adjoint(r, f, list, BBI_P, bbi_selection_cotangent(r->c, n, g));
}

static bb_status send_reduction(reverse *r, const bbi_node *n, const bbi_node *g) {
    bbi_context *c = r->c;
    const bbi_reduction_row *row = bbi_reduction_info((int)n->ints[0]);
    const bbi_node *f = n->arg[0], *w = n->narg > 1 ? n->arg[1] : NULL;
    if (r->free_axes & n->ints[1])
        return bbi_fail(
            BB_NOT_DIFFERENTIABLE,
            "a gradient per pair cannot pass through %s over the same axis: take the gradient of the whole reduction",
            row->name);
    if (row->output == BBI_OUT_INDEX) return BB_OK;
    if (n->narg > 2 && n->arg[2]) return send_listed_sum(r, n, g);
    if (row->family == BBI_FAMILY_SUM) return send_body(r, n, f, NULL, g);
    if (row->family == BBI_FAMILY_MIN || row->family == BBI_FAMILY_MAX || row->family == BBI_FAMILY_KMIN) {
        return send_selection(r, n, g);
    }
    if (row->family == BBI_FAMILY_USER) return bbi_fail(BB_NOT_DIFFERENTIABLE, "a custom reduction has no derivative");
    bbi_pair_weights pair;
    BBI_FORWARD(bbi_reduction_weights(c, n, &pair));
    const bbi_node *df = bbi_fit_dim(c, bbi_op2(c, BBI_OP_mul, g, pair.f), n->dim, f->dim);
    if (!w) return send_body(r, n, f, NULL, df);
    /* either formula may lack axes that the other one has */
    bbi_place domain = (bbi_place)((n->place | n->ints[1]) & ~r->free_axes);
    BBI_FORWARD(add_adjoint(r, f, NULL, (bbi_place)(domain & ~f->place), df));
    const bbi_node *dw = bbi_fit_dim(c, bbi_op2(c, BBI_OP_mul, g, pair.w), n->dim, w->dim);
    return add_adjoint(r, w, NULL, (bbi_place)(domain & ~w->place), dw);
}

static bb_status send_to_operands(reverse *r, const bbi_node *n, const bbi_node *list, const bbi_node *g) {
    const bbi_op_row *row = bbi_op_info(n->op);
    if (n->op == BBI_OP_REDUCE) return send_reduction(r, n, g);
    if (row->kind == BBI_CONTRACT) return send_contraction(r, n, list, g);
    for (int k = 0; k < n->narg; k++) {
        int64_t p = position_of(r, n->arg[k]);
        if (p < 0 || !r->active[p]) continue;
        bool bad;
        const bbi_node *d = bbi_derivative_text(r->c, n, k, g, &bad);
        if (bad) return failed();
        if (d) BBI_FORWARD(send(r, n, list, n->arg[k], d));
    }
    return BB_OK;
}

/* The adjoint on one domain, with the sums over its extra axes done. */
static const bbi_node *collect(reverse *r, const bbi_node *node, const adjoint *a) {
    const bbi_node *total = a->extra[0];
    for (int extra = 1; extra < 4; extra++) {
        if (!a->extra[extra]) continue;
        const bbi_node *sum = bbi_place_as(r->c, a->extra[extra], (bbi_place)(node->place | (extra & BBI_I)));
        if (extra & BBI_J) sum = bbi_reduce(r->c, BBI_RED_sum, BBI_J, 0, sum, NULL, NULL);
        if (extra & BBI_I) sum = bbi_reduce(r->c, BBI_RED_sum, BBI_I, 0, sum, NULL, NULL);
        total = total ? bbi_op2(r->c, BBI_OP_add, total, sum) : sum;
        if (!total) return NULL;
    }
    return total;
}

static void mark_active(reverse *r, const bbi_node *const *variables, int64_t nvariable) {
    for (int64_t n = 0; n < r->count; n++) {
        for (int64_t v = 0; v < nvariable; v++) r->active[n] = r->active[n] || r->nodes[n] == variables[v];
        for (int k = 0; k < r->nodes[n]->narg; k++) {
            if (!r->nodes[n]->arg[k]) continue;
            int64_t p = position_of(r, r->nodes[n]->arg[k]);
            r->active[n] = r->active[n] || (p >= 0 && r->active[p]);
        }
    }
}

static bb_status sweep(reverse *r, const bbi_node *const *outputs, const bbi_node *const *cotangents, int64_t noutput) {
    for (int64_t k = 0; k < noutput; k++) {
        const bbi_node *g = cotangents[k];
        if (!outputs[k] || !g) return bbi_fail(BB_BAD_ARGUMENT, "gradient: output %lld is missing", (long long)k);
        if (g->dim != outputs[k]->dim && g->dim != 1)
            return bbi_fail(BB_BAD_SHAPE, "gradient: the cotangent has dimension %lld, the output %lld",
                            (long long)g->dim, (long long)outputs[k]->dim);
        BBI_FORWARD(add_adjoint(r, outputs[k], NULL, BBI_P, bbi_fit_dim(r->c, g, outputs[k]->dim, outputs[k]->dim)));
    }
    for (int64_t n = r->count - 1; n >= 0; n--) {
        if (!r->active[n] || r->nodes[n]->narg == 0) continue;
        for (adjoint *a = r->adjoints[n]; a; a = a->next) {
            const bbi_node *g = collect(r, r->nodes[n], a);
            if (!g) return failed();
            if (!bbi_is_const(g, 0)) BBI_FORWARD(send_to_operands(r, r->nodes[n], a->list, g));
        }
    }
    return BB_OK;
}

static bb_status read_results(reverse *r, const bbi_node *const *variables, int64_t nvariable,
                              const bbi_node **result) {
    for (int64_t v = 0; v < nvariable; v++) {
        int64_t p = position_of(r, variables[v]);
        const bbi_node *total = NULL;
        for (adjoint *a = p < 0 ? NULL : r->adjoints[p]; a; a = a->next) {
            const bbi_node *part = collect(r, variables[v], a);
            if (!part) return failed();
            total = total ? bbi_op2(r->c, BBI_OP_add, total, part) : part;
        }
        result[v] = total ? total : bbi_zero(r->c, variables[v]->dim);
        if (!result[v]) return failed();
    }
    return BB_OK;
}

bb_status bbi_vjp(bbi_context *c, const bbi_node *const *outputs, const bbi_node *const *cotangents, int64_t noutput,
                  const bbi_node *const *variables, int64_t nvariable, bool pairwise, const bbi_node **result) {
    reverse r = {.c = c};
    for (int64_t v = 0; v < nvariable; v++)
        if (!variables[v]) return bbi_fail_append("%s", "");
    BBI_FORWARD(bbi_topological(outputs, noutput, &r.nodes, &r.count));
    for (int64_t k = 0; k < noutput && pairwise; k++)
        r.free_axes = (bbi_place)(r.free_axes | outputs[k]->place | cotangents[k]->place);
    r.active = bbi_arena_alloc(&r.arena, (size_t)r.count * sizeof *r.active + 1);
    r.adjoints = bbi_arena_alloc(&r.arena, (size_t)r.count * sizeof *r.adjoints + 1);
    bb_status status = r.active && r.adjoints ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "gradient: out of memory");
    if (status == BB_OK) mark_active(&r, variables, nvariable);
    if (status == BB_OK) status = sweep(&r, outputs, cotangents, noutput);
    if (status == BB_OK) status = read_results(&r, variables, nvariable, result);
    bbi_arena_free(&r.arena);
    bbi_free(r.nodes);
    return status;
}
