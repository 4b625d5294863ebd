/* error_bound.h: a running error analysis of a DAG, for the tolerance of comparisons with the oracle. For
 * each node n a second node E(n) is made that bounds the rounding error of n to first order, in units of the
 * unit roundoff u:
 *
 *   y = op(a, b, c)     E(y) = 8 |y| + sum of |dy/da| (E(a) + 2 |a|)      (table's derivative, taken
 * elementwise) y = sum of terms    E(y) = sum of (E(term) + s |term|)                 s grows with the number
 * of components selections          E(y) = max of E over the candidates; indices: 0, their formulas are made
 * exact log-sum-exp         the softmax average of the terms' errors
 *
 * Both the expression and its bound are evaluated by the oracle. A term E + 2 |a| for operands admits
 * evaluation orders that are backward stable but differ from the formula (a factor moved out of a sum,
 * log2(e) folded into an operand). */
#ifndef BENBEN_TEST_ERROR_BOUND_H
#define BENBEN_TEST_ERROR_BOUND_H

#include <stdlib.h>

#include "../../src/expr/grad.h"
#include "expr.h"

typedef struct error_bound {
    bbi_context *c;
    double sum_factor; /* rounding of a sum over an axis, per unit of the sum of absolute terms */
    const bbi_node **node, **error;
    int64_t count;
} error_bound;

static inline const bbi_node *bound_absolute(bbi_context *c, const bbi_node *a) { return bbi_op1(c, BBI_OP_abs, a); }

static inline const bbi_node *bound_scaled(bbi_context *c, double factor, const bbi_node *a) {
    return bbi_op2(c, BBI_OP_mul, bbi_const(c, factor), bound_absolute(c, a));
}

static inline const bbi_node *bound_plus(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    if (a && b && bbi_is_const(a, 0) && a->dim <= b->dim) return b;
    if (a && b && bbi_is_const(b, 0) && b->dim <= a->dim) return a;
    return bbi_op2(c, BBI_OP_add, a, b);
}

static inline const bbi_node *bound_finite(bbi_context *c, const bbi_node *a) {
    return bbi_op3(c, BBI_OP_where, bbi_op1(c, BBI_OP_isfinite, a), a, bbi_const(c, 0));
}

static inline const bbi_node *bound_of(const error_bound *b, const bbi_node *n) {
    for (int64_t k = 0; k < b->count; k++)
        if (b->node[k] == n) return b->error[k];
    return NULL;
}

static inline const bbi_node *bound_map(error_bound *b, const bbi_node *n) {
    bbi_context *c = b->c;
    const bbi_op_row *row = bbi_op_info(n->op);
    const bbi_node *total = bound_scaled(c, row->flags & BBI_NODIFF ? 0 : 8, n);
    for (int k = 0; k < n->narg; k++) {
        bool bad;
        const bbi_node *a = n->arg[k], *e = bound_plus(c, bound_of(b, a), bound_scaled(c, 2, a));
        const bbi_node *d = bbi_derivative_text(c, n, k, e, &bad);
        if (bad) return NULL;
        if (d) total = bound_plus(c, total, bound_absolute(c, d));
    }
    return bound_finite(c, total);
}

static inline const bbi_node *bound_contract(error_bound *b, const bbi_node *n) {
    bbi_context *c = b->c;
    bbi_contraction s = bbi_contraction_of(n);
    double terms = 1;
    for (int k = 0; k < s.nlabel; k++) terms *= (double)s.size[k];
    const bbi_node *a0 = n->arg[0], *a1 = n->narg > 1 ? n->arg[1] : NULL, *x = bound_absolute(c, a0);
    const bbi_node *y = a1 ? bound_absolute(c, a1) : NULL;
    const bbi_node *wide = bound_plus(c, bound_of(b, a0), bound_scaled(c, 2 + terms / (4 * (double)n->dim), a0));
    const bbi_node *total = bbi_contract(c, wide, y, &s);
    return a1 ? bound_plus(c, total, bbi_contract(c, x, bound_of(b, a1), &s)) : total;
}

static inline const bbi_node *bound_copies(bbi_context *c, const bbi_node *a, int64_t dim) {
    if (dim == a->dim) return a;
    if (a->dim == 1) return bbi_repeat(c, a, dim);
    const bbi_node *all = a;
    while (all && all->dim < dim) all = bbi_op2(c, BBI_OP_concat, all, a);
    return all;
}

/* Relative error of exp(f) and what comes with it. */
static inline const bbi_node *bound_exponent(error_bound *b, const bbi_node *f) {
    bbi_context *c = b->c;
    const bbi_node *rounding = bound_plus(c, bbi_const(c, b->sum_factor), bound_finite(c, bound_scaled(c, 8, f)));
    return bound_plus(c, bound_of(b, f), rounding);
}

static inline const bbi_node *bound_logsum(error_bound *b, const bbi_node *n, bbi_output output) {
    bbi_context *c = b->c;
    const bbi_node *f = n->arg[0], *w = n->narg > 1 ? n->arg[1] : NULL, *e = bound_exponent(b, f);
    const bbi_node *one = bbi_const(c, 1), *size = w ? bound_absolute(c, w) : one;
    const bbi_node *terms = bbi_op2(c, BBI_OP_mul, size, e);
    if (w) terms = bound_plus(c, terms, bound_of(b, w));
    bbi_place axis = (bbi_place)n->ints[1];
    const bbi_node *average = bbi_reduce(c, BBI_RED_sumsoftmaxweight, axis, 0, f, terms, NULL);
    const bbi_node *least = bbi_reduce(c, BBI_RED_max, axis, 0, bound_of(b, f), NULL, NULL);
    if (output == BBI_OUT_LOGSUM) {
        const bbi_node *mean = bbi_reduce(c, BBI_RED_sumsoftmaxweight, axis, 0, f, w ? w : one, NULL);
        return bound_plus(c, bound_scaled(c, 8, n), bbi_op2(c, BBI_OP_div, average, bound_absolute(c, mean)));
    }
    if (output == BBI_OUT_RATIO) {
        const bbi_node *mean = bbi_reduce(c, BBI_RED_sumsoftmaxweight, axis, 0, f, size, NULL);
        const bbi_node *shared = bbi_reduce(c, BBI_RED_sumsoftmaxweight, axis, 0, f, e, NULL);
        return bound_plus(c, average, bbi_op2(c, BBI_OP_mul, mean, shared));
    }
    const bbi_node *plain = bbi_slice(c, bbi_reduce(c, BBI_RED_maxsumshiftexp, axis, 0, f, NULL, NULL), 1, 1, 1);
    const bbi_node *sums = bbi_op2(c, BBI_OP_mul, plain, bound_plus(c, average, bbi_op2(c, BBI_OP_mul, least, size)));
    if (w) { /* the shift's error meets the weights' average */
        const bbi_node *mean = bbi_reduce(c, BBI_RED_sumsoftmaxweight, axis, 0, f, size, NULL);
        sums = bbi_op2(c, BBI_OP_mul, plain, bound_plus(c, average, bbi_op2(c, BBI_OP_mul, least, mean)));
    }
    return bbi_op2(c, BBI_OP_concat, least, sums);
}

static inline const bbi_node *bound_reduction(error_bound *b, const bbi_node *n) {
    bbi_context *c = b->c;
    const bbi_reduction_row *row = bbi_reduction_info((int)n->ints[0]);
    const bbi_node *f = n->arg[0], *list = n->narg > 2 ? n->arg[2] : NULL, *e = bound_of(b, f);
    bbi_place axis = (bbi_place)n->ints[1];
    if (row->output == BBI_OUT_INDEX) return bbi_zero(c, n->dim);
    switch (row->family) {
    case BBI_FAMILY_SUM:
        e = bound_plus(c, e, bound_scaled(c, b->sum_factor, f));
        return bbi_reduce(c, BBI_RED_sum, axis, 0, e, NULL, list);
    case BBI_FAMILY_PROD:
        e = bbi_op2(c, BBI_OP_div, bound_plus(c, e, bound_scaled(c, 4, f)), bound_absolute(c, f));
        e = bbi_reduce(c, BBI_RED_sum, axis, 0, e, NULL, NULL);
        return bound_absolute(c, bbi_op2(c, BBI_OP_mul, n, e));
    case BBI_FAMILY_LSE: return bound_finite(c, bound_logsum(b, n, row->output));
    default: e = bbi_reduce(c, BBI_RED_max, axis, 0, e, NULL, NULL); return bound_finite(c, bound_copies(c, e, n->dim));
    }
}

static inline const bbi_node *bound_node(error_bound *b, const bbi_node *n) {
    bbi_context *c = b->c;
    const bbi_node *operands[BBI_MAX_ARGS];
    if (n->op == BBI_OP_REDUCE) return bound_reduction(b, n);
    switch (bbi_op_info(n->op)->kind) {
    case BBI_MAP: return bound_map(b, n);
    case BBI_CONTRACT: return bound_contract(b, n);
    case BBI_INDEX:
        for (int k = 0; k < n->narg; k++) operands[k] = bound_of(b, n->arg[k]);
        return bbi_node_make(c, n->op, operands, n->narg, n->ints, n->nint);
    case BBI_FOLD:
        if (n->op == BBI_OP_sum)
            return bbi_op1(
                c, BBI_OP_sum,
                bound_plus(c, bound_of(b, n->arg[0]), bound_scaled(c, 2 + (double)n->arg[0]->dim / 4, n->arg[0])));
        if (n->op == BBI_OP_argmax || n->op == BBI_OP_argmin) return bbi_const(c, 0);
        return bbi_op1(c, BBI_OP_max, bound_of(b, n->arg[0]));
    default: return n->op == BBI_OP_CONST ? bound_scaled(c, 1, n) : bbi_zero(c, n->dim);
    }
}

/* bounds[k] for roots[k], which may depend on fewer axes than the root; the context is raw. */
static inline bb_status bound_errors(bbi_context *c, const bbi_node *const *roots, int64_t nroot, double sum_factor,
                                     const bbi_node **bounds) {
    error_bound b = {.c = c, .sum_factor = sum_factor};
    int64_t count;
    bb_status status = bbi_topological(roots, nroot, &b.node, &count);
    if (status != BB_OK) return status;
    b.error = calloc((size_t)count + 1, sizeof *b.error);
    for (int64_t k = 0; k < count; k++) {
        b.error[k] = bound_node(&b, b.node[k]);
        b.count = k + 1;
        if (!b.error[k]) status = BB_INTERNAL;
        if (status != BB_OK) break;
    }
    for (int64_t k = 0; k < nroot && status == BB_OK; k++) bounds[k] = bound_of(&b, roots[k]);
    free(b.error);
    bbi_free(b.node);
    return status;
}

#endif
