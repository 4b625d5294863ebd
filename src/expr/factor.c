/* factor.c: what a reduction becomes before it is a node. Factors of a sum that do not depend on the folded axis leave
 * it, so that they cost an operation per row instead of one per pair; reductions over both axes become a reduction over
 * i of one over j.
 *
 * A factor leaves only where the rest still depends on the kept axes: with block-sparse ranges each row folds columns
 * of its own. */
#include "expr.h"

#include <math.h>

/* value = outer * inner, outer free of the folded axis (NULL: 1), inner NULL: 1 */
typedef struct split {
    const bbi_node *outer, *inner;
    bool moved, failed;
} split;

static const bbi_node *times(bbi_context *c, const bbi_node *a, const bbi_node *b, bool *failed) {
    const bbi_node *p = !a ? b : !b ? a : bbi_op2(c, BBI_OP_mul, a, b);
    if ((a || b) && !p) *failed = true;
    return p;
}

static split split_factors(bbi_context *c, const bbi_node *f, bbi_place axis, int depth) {
    split s = {NULL, f, false, false};
    if (depth > 64) return s;
    bool marker =
        f->op == BBI_OP_VAR && f->ints[0] == BBI_ONE; /* it says where the rest is placed, and stays with it */
    if ((f->place & axis) == 0 && !marker) return (split){f, NULL, true, false};
    if (f->op == BBI_OP_neg) {
        s = split_factors(c, f->arg[0], axis, depth + 1);
        s.outer = times(c, bbi_const(c, -1), s.outer, &s.failed);
        s.moved = true;
    } else if (f->op == BBI_OP_mul) {
        split a = split_factors(c, f->arg[0], axis, depth + 1), b = split_factors(c, f->arg[1], axis, depth + 1);
        if (!a.moved && !b.moved) return s;
        s.moved = true;
        s.failed = a.failed || b.failed;
        s.outer = times(c, a.outer, b.outer, &s.failed);
        s.inner = times(c, a.inner, b.inner, &s.failed);
    } else if (f->op == BBI_OP_div && (f->arg[1]->place & axis) == 0) {
        split a = split_factors(c, f->arg[0], axis, depth + 1);
        s.moved = true;
        s.failed = a.failed;
        s.inner = a.inner;
        const bbi_node *inverse = bbi_op1(c, BBI_OP_inv, f->arg[1]);
        s.failed = s.failed || !inverse;
        s.outer = times(c, a.outer, inverse, &s.failed);
    } else if (f->op == BBI_OP_repeat) {
        split a = split_factors(c, f->arg[0], axis, depth + 1);
        if (!a.moved) return s;
        s = a;
        s.outer = bbi_repeat(c, a.outer ? a.outer : bbi_const(c, 1), f->dim);
        s.failed = s.failed || !s.outer;
    }
    return s;
}

/* sum(outer * inner) = outer * sum(inner) */
static const bbi_node *sum_of_products(bbi_context *c, bbi_place axis, const bbi_node *f, bool *failed) {
    bbi_place kept = (bbi_place)(f->place & ~axis);
    if ((f->place & axis) == 0) return NULL;
    split s = split_factors(c, f, axis, 0);
    *failed = s.failed;
    if (s.failed || !s.moved || !s.outer || !s.inner) return NULL;
    if ((bbi_place)(s.inner->place & ~axis) != kept || (s.inner->place & axis) != (f->place & axis)) return NULL;
    const bbi_node *sum = bbi_reduce(c, BBI_RED_sum, axis, 0, s.inner, NULL, NULL);
    if (sum && sum->dim == 1 && s.outer->dim == 1 && f->dim > 1) sum = bbi_repeat(c, sum, f->dim);
    const bbi_node *product = bbi_op2(c, BBI_OP_mul, s.outer, sum);
    *failed = !product;
    return product;
}

/* Over both axes: over j, then over i. */
static const bbi_node *both_axes(bbi_context *c, bbi_reduction reduction, const bbi_node *f, const bbi_node *w,
                                 bool *failed) {
    const bbi_reduction_row *row = bbi_reduction_info((int)reduction);
    const bbi_node *r = NULL;
    f = bbi_place_as(c, f, BBI_I);
    if (row->output == BBI_OUT_VALUE && row->family != BBI_FAMILY_KMIN && row->family != BBI_FAMILY_USER) {
        r = bbi_reduce(c, reduction, BBI_J, 0, f, NULL, NULL);
        r = bbi_reduce(c, reduction, BBI_I, 0, r, NULL, NULL);
    } else if (row->output == BBI_OUT_INDEX && row->family != BBI_FAMILY_KMIN) { /* row i first, then its column */
        bbi_reduction value = reduction == BBI_RED_argmin ? BBI_RED_min : BBI_RED_max;
        const bbi_node *best = bbi_reduce(c, value, BBI_J, 0, f, NULL, NULL);
        const bbi_node *column = bbi_reduce(c, reduction, BBI_J, 0, f, NULL, NULL);
        r = bbi_reduce(c, reduction, BBI_I, 0, best, NULL, column);
    } else if (row->output == BBI_OUT_MAXSUM) {
        const bbi_node *m = bbi_reduce(c, BBI_RED_max, BBI_IJ, 0, f, NULL, NULL);
        const bbi_node *some = bbi_op2(c, BBI_OP_gt, m, bbi_const(c, -INFINITY));
        const bbi_node *shift = bbi_op3(c, BBI_OP_where, some, m, bbi_const(c, 0));
        const bbi_node *p = bbi_op1(c, BBI_OP_exp, bbi_op2(c, BBI_OP_sub, f, shift));
        if (w) p = bbi_op2(c, BBI_OP_mul, p, w);
        r = bbi_op2(c, BBI_OP_concat, m, bbi_reduce(c, BBI_RED_sum, BBI_IJ, 0, p, NULL, NULL));
    } else if (row->output == BBI_OUT_LOGSUM || row->output == BBI_OUT_RATIO) {
        r = bbi_reduce(c, BBI_RED_logsumexp, BBI_J, 0, f, NULL, NULL);
        r = bbi_reduce(c, BBI_RED_logsumexp, BBI_I, 0, r, NULL, NULL);
        if (r && w) { /* of nothing the logarithm is -inf and the average 0 / 0 = NaN */
            const bbi_node *some = bbi_op2(c, BBI_OP_gt, r, bbi_const(c, -INFINITY));
            const bbi_node *shift = bbi_op3(c, BBI_OP_where, some, r, bbi_const(c, 0));
            const bbi_node *p = bbi_op1(c, BBI_OP_exp, bbi_op2(c, BBI_OP_sub, f, shift));
            const bbi_node *sum = bbi_reduce(c, BBI_RED_sum, BBI_IJ, 0, bbi_op2(c, BBI_OP_mul, p, w), NULL, NULL);
            r = row->output == BBI_OUT_RATIO ? bbi_op2(c, BBI_OP_div, sum, some)
                                             : bbi_op2(c, BBI_OP_add, r, bbi_op1(c, BBI_OP_log, sum));
        }
    } else {
        return NULL;
    }
    *failed = !r;
    return r;
}

const bbi_node *bbi_reduce_rewritten(bbi_context *c, bbi_reduction reduction, bbi_place axis, const bbi_node *f,
                                     const bbi_node *weight, const bbi_node *list, bool *failed) {
    *failed = false;
    if (axis == BBI_IJ && !list) return both_axes(c, reduction, f, weight, failed);
    if (reduction == BBI_RED_sum && !list) return sum_of_products(c, axis, f, failed);
    return NULL;
}
