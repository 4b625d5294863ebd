/* selection.c: derivative rules of the reductions. Sums are linear. A product and the log-sum-exp family differentiate
 * into sums over the same axis with a weight per pair. Selections (min, max, K smallest) differentiate into sums over a
 * list of pairs, the indices that they selected: exact to any order away from ties, because the list itself is locally
 * constant.
 *
 * With L = argkmin(f) of K smallest vectors of dimension D, entry s = k D + d of a row's list feeds component s of the
 * result and reads component d of f at column L[s]. BBI_SLOT is s inside the listed sum. */
#include "grad.h"

static int64_t axis_of(const bbi_node *r) { return r->ints[1]; }

const bbi_node *bbi_missing_count(bbi_context *c, const bbi_node *r, const bbi_node *f) {
    bbi_place missing = (bbi_place)(axis_of(r) & ~(int64_t)f->place);
    if (missing == BBI_P) return bbi_const(c, 1);
    const bbi_node *one = bbi_const(c, 1);
    if (r->place) one = bbi_var(c, BBI_ONE, (bbi_place)r->place, 1);
    return bbi_reduce(c, BBI_RED_sum, missing, 0, one, NULL, NULL);
}

/* d prod / d f_j = prod of the others: p / f_j without zeros, the product of the rest where f_j is the only zero, else
 * 0. */
static const bbi_node *product_of_others(bbi_context *c, const bbi_node *r) {
    const bbi_node *f = r->arg[0], *zero = bbi_const(c, 0), *one = bbi_const(c, 1);
    const bbi_node *is_zero = bbi_op2(c, BBI_OP_eq, f, zero);
    const bbi_node *nonzero = bbi_op3(c, BBI_OP_where, is_zero, one, f);
    const bbi_node *rest = bbi_reduce(c, BBI_RED_prod, (bbi_place)axis_of(r), 0, nonzero, NULL, NULL);
    const bbi_node *zeros = bbi_reduce(c, BBI_RED_sum, (bbi_place)axis_of(r), 0, is_zero, NULL, NULL);
    const bbi_node *only = bbi_op2(c, BBI_OP_mul, is_zero, bbi_op2(c, BBI_OP_eq, zeros, one));
    const bbi_node *free_of_zeros = bbi_op2(c, BBI_OP_eq, zeros, zero);
    const bbi_node *counts = bbi_op2(c, BBI_OP_add, only, free_of_zeros);
    return bbi_op3(c, BBI_OP_where, counts, bbi_op2(c, BBI_OP_div, rest, nonzero), zero);
}

bb_status bbi_reduction_weights(bbi_context *c, const bbi_node *r, bbi_pair_weights *weights) {
    const bbi_reduction_row *row = bbi_reduction_info((int)r->ints[0]);
    const bbi_node *f = r->arg[0], *w = r->arg[1];
    weights->f = weights->w = NULL;
    if (row->family == BBI_FAMILY_PROD) {
        weights->f = product_of_others(c, r);
    } else if (row->output ==
               BBI_OUT_LOGSUM) { /* r_e = log sum_j exp(f_j) w_je: dr_e = sum_j exp(f_j - r_e) (w_je df_j + dw_je) */
        const bbi_node *p = bbi_op1(c, BBI_OP_exp, bbi_op2(c, BBI_OP_sub, f, r));
        weights->f = w ? bbi_op2(c, BBI_OP_mul, p, w) : p;
        weights->w = w ? p : NULL;
    } else if (row->output == BBI_OUT_RATIO) { /* r_e = sum_j p_j w_je with p softmax of f: dr_e = sum_j p_j ((w_je -
                                                  r_e) df_j + dw_je) */
        const bbi_node *placed =
            bbi_place_as(c, f, (bbi_place)r->place); /* each row has a sum of its own, within ranges too */
        const bbi_node *l = bbi_reduce(c, BBI_RED_logsumexp, (bbi_place)axis_of(r), 0, placed, NULL, NULL);
        const bbi_node *p = bbi_op1(c, BBI_OP_exp, bbi_op2(c, BBI_OP_sub, f, l));
        weights->f = bbi_op2(c, BBI_OP_mul, p, bbi_op2(c, BBI_OP_sub, w, r));
        weights->w = p;
    } else {
        return bbi_fail(
            BB_NOT_DIFFERENTIABLE,
            "%s has no derivative; differentiate logsumexp (with or without weight), which it is the raw form of",
            row->name);
    }
    return weights->f ? BB_OK : BB_BAD_ARGUMENT;
}

const bbi_node *bbi_selection_list(bbi_context *c, const bbi_node *r) {
    static const struct {
        int value, index;
    } pair[] = {{BBI_RED_min, BBI_RED_argmin}, {BBI_RED_max, BBI_RED_argmax}, {BBI_RED_kmin, BBI_RED_argkmin}};
    for (size_t n = 0; n < sizeof pair / sizeof *pair; n++)
        if (r->ints[0] == pair[n].value)
            return bbi_reduce(c, (bbi_reduction)pair[n].index, (bbi_place)axis_of(r), r->ints[2], r->arg[0], NULL,
                              NULL);
    return NULL;
}

/* One at the components of r that are read here. All pairs of the domain are listed entries: compare with the slot; f
 * on the folded axis alone: compare the element's number with the (one) list. */
static const bbi_node *indicator(bbi_context *c, const bbi_node *r) {
    const bbi_node *f = r->arg[0];
    if (f->place != BBI_IJ)
        return bbi_op2(c, BBI_OP_eq, bbi_selection_list(c, r), bbi_var(c, BBI_NUMBER, (bbi_place)axis_of(r), 1));
    if (r->dim == 1) return bbi_const(c, 1);
    return bbi_op2(c, BBI_OP_eq, bbi_iota(c, r->dim), bbi_var(c, BBI_SLOT, BBI_IJ, 1));
}

static const bbi_node *fold_slots(bbi_context *c, const bbi_node *v,
                                  int64_t d) { /* (K, D) components to D, summed over K */
    if (v && d == 1) return bbi_op1(c, BBI_OP_sum, v);
    if (!v) return NULL;
    int64_t size[2] = {v->dim / d, d}, both[2] = {0, 1}, kept[1] = {1};
    bbi_contraction spec = {2, 2, 0, 1, size, both, NULL, kept};
    return bbi_contract(c, v, NULL, &spec);
}

static const bbi_node *tile_slots(bbi_context *c, const bbi_node *v, int64_t k) { /* D components to (K, D) */
    if (!v || k == 1) return v;
    if (v->dim == 1) return bbi_repeat(c, v, k);
    int64_t size[2] = {k, v->dim}, both[2] = {0, 1}, kept[1] = {1};
    bbi_contraction spec = {2, 1, 0, 2, size, kept, NULL, both};
    return bbi_contract(c, v, NULL, &spec);
}

const bbi_node *bbi_selection_cotangent(bbi_context *c, const bbi_node *r, const bbi_node *g) {
    int64_t d = r->arg[0]->dim;
    bool same = (axis_of(r) & r->arg[0]->place) == 0; /* every column is the same: each selected one passes all on */
    const bbi_node *all = same ? g : bbi_op2(c, BBI_OP_mul, g, indicator(c, r));
    return all && all->dim > d ? fold_slots(c, all, d) : all;
}

const bbi_node *bbi_selection_tangent(bbi_context *c, const bbi_node *r, const bbi_node *df) {
    const bbi_node *f = r->arg[0];
    const bbi_node *tiled = tile_slots(c, df, r->dim / f->dim);
    if ((axis_of(r) & f->place) == 0) return tiled; /* every column is the same */
    const bbi_node *value = bbi_op2(c, BBI_OP_mul, tiled, indicator(c, r));
    const bbi_node *list = f->place == BBI_IJ ? bbi_selection_list(c, r) : NULL;
    return bbi_reduce(c, BBI_RED_sum, (bbi_place)axis_of(r), 0, bbi_place_as(c, value, (bbi_place)f->place), NULL,
                      list);
}
