/* expand.c: squared distances in high dimension as |x - c|^2 + |y - c|^2 - 2 <x - c, y - c>. A difference costs two
 * operations per component and pair, the scalar product one; the norms are values of rows and of columns.
 *
 * The sum cancels, so the result is off by e = rho u (|x - c|^2 + |y - c|^2), u the unit roundoff. In D components
 * rho <= 3 D + 12 always (Higham, Accuracy and Stability, 2002, section 3.1), and since errors of either sign meet,
 * rho <= sqrt(D) + 4 is what is seen: docs/accuracy.md has the measurements. Centring makes the norms small, c being
 * the mean of (some of) the columns. Where the distance is only ever the exponent of an exponential, times factors s that
 * are the same for all pairs or all pairs of a row or column, the error of the value is |s| e relative, and a guard,
 *
 *     (sqrt(D) + 4) max|s| (max_i |x_i - c|^2 + max_j |y_j - c|^2),
 *
 * summed over all such uses, bounds it in units of u: small programs of O((M + N) D) operations compute it in front of
 * a run, whatever the centre is. Where the distance goes elsewhere (a root, an index), the differences stay, unless the
 * caller asks otherwise.
 *
 * Requires: outputs of a program. Distances inside the operands of others' norms, and programs over pair lists, are
 * left alone: their guards would not be cheap. */
#include "expr.h"

#include <math.h>

enum { LONG_DIM = 256 }; /* from here on longer lists cost nothing beside the distances, whose bound is wider */
enum { MIN_DIM = 9, MAX_NODES = 1 << 14, MAX_WALK = 64 };

typedef struct expander {
    bbi_context *c;
    const bbi_node **node; /* everything below the outputs, operands first */
    int64_t count;
    const bbi_node *bound; /* of the errors of the exponents so far; NULL: 0 */
    const bbi_node *total; /* finite where all norms are */
    int steps;             /* left to walk */
    bool failed;
} expander;

static const bbi_node *plus(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    return a ? bbi_op2(c, BBI_OP_add, a, b) : b;
}

static bool has_reduction(const expander *e, const bbi_node *root) {
    const bbi_node **below;
    int64_t count;
    bool found = false;
    if (bbi_topological(&root, 1, &below, &count) != BB_OK) return true;
    for (int64_t k = 0; k < count; k++) found = found || below[k]->op == BBI_OP_REDUCE;
    bbi_free(below);
    return found || e->failed;
}

/* sum(square(x - y)) of long vectors, one of rows and one of columns. */
static bool is_distance(const expander *e, const bbi_node *n) {
    if (n->op != BBI_OP_sum || n->place != BBI_IJ || n->arg[0]->op != BBI_OP_square || n->arg[0]->dim < MIN_DIM)
        return false;
    const bbi_node *d = n->arg[0]->arg[0];
    if (d->op != BBI_OP_sub || d->arg[0]->dim != d->dim || d->arg[1]->dim != d->dim) return false;
    if (d->arg[0]->place == BBI_IJ || d->arg[1]->place == BBI_IJ) return false;
    return !has_reduction(e, d->arg[0]) && !has_reduction(e, d->arg[1]);
}

/* ---- what becomes of a distance ---- */
static const bbi_node *largest(bbi_context *c, const bbi_node *x) {
    return x->place == BBI_P ? x : bbi_reduce(c, BBI_RED_max, (bbi_place)x->place, 0, x, NULL, NULL);
}

/* bound * max |factor|; NULL where the factor is none that can be bounded in front of the pairs. */
static const bbi_node *scaled(expander *e, const bbi_node *bound, const bbi_node *factor, bool inverse) {
    if (factor->place == BBI_IJ || factor->dim != 1 || has_reduction(e, factor)) return NULL;
    const bbi_node *size = bbi_op1(e->c, BBI_OP_abs, factor);
    if (inverse) size = bbi_op1(e->c, BBI_OP_inv, size);
    const bbi_node *most = size ? largest(e->c, size) : NULL, *product = bbi_op2(e->c, BBI_OP_mul, bound, most);
    e->failed = e->failed || !product;
    return product;
}

static bool follow(expander *e, const bbi_node *n, const bbi_node *bound);

/* One user of a value whose error `bound` bounds: does the error stay one of exponents, and which? */
static bool follow_user(expander *e, const bbi_node *n, const bbi_node *user, const bbi_node *bound) {
    bool first = user->arg[0] == n, second = user->narg > 1 && user->arg[1] == n;
    switch (user->op) {
    case BBI_OP_exp: e->bound = plus(e->c, e->bound, bound); return e->bound != NULL;
    case BBI_OP_REDUCE:
        if (second || bbi_reduction_info((int)user->ints[0])->family != BBI_FAMILY_LSE) return false;
        e->bound = plus(e->c, e->bound, bound);
        return e->bound != NULL;
    case BBI_OP_neg:
    case BBI_OP_repeat: break;
    case BBI_OP_add:
    case BBI_OP_sub:
        if (first && second) return false;
        break;
    case BBI_OP_mul: bound = first && second ? NULL : scaled(e, bound, user->arg[first ? 1 : 0], false); break;
    case BBI_OP_div: bound = second ? NULL : scaled(e, bound, user->arg[1], true); break;
    default: return false;
    }
    return bound && follow(e, user, bound);
}

static bool follow(expander *e, const bbi_node *n, const bbi_node *bound) {
    if (--e->steps < 0) return false;
    for (int64_t k = 0; k < e->count; k++) { /* users come later, but few formulas are long */
        const bbi_node *user = e->node[k];
        bool uses = false;
        for (int a = 0; a < user->narg; a++) uses = uses || user->arg[a] == n;
        if (uses && !follow_user(e, n, user, bound)) return false;
    }
    return true;
}

/* ---- the expanded form ---- */
typedef struct parts {
    const bbi_node *row_norm, *column_norm, *product; /* |x - c|^2, |y - c|^2, <x - c, y - c> */
} parts;

static parts parts_of(bbi_context *c, const bbi_node *distance, const bbi_node *centre) {
    const bbi_node *d = distance->arg[0]->arg[0];
    const bbi_node *x = bbi_op2(c, BBI_OP_sub, d->arg[0], centre), *y = bbi_op2(c, BBI_OP_sub, d->arg[1], centre);
    return (parts){.row_norm = bbi_op1(c, BBI_OP_sum, bbi_op1(c, BBI_OP_square, x)),
                   .column_norm = bbi_op1(c, BBI_OP_sum, bbi_op1(c, BBI_OP_square, y)),
                   .product = bbi_op1(c, BBI_OP_sum, bbi_op2(c, BBI_OP_mul, x, y))};
}

/* The products are summed from 0 and the norms added to their sum: it changes its sign on the way and so stays small.
 */
static const bbi_node *expanded(bbi_context *c, const parts *p) {
    const bbi_node *twice = bbi_op2(c, BBI_OP_mul, bbi_const(c, 2), p->product);
    return bbi_op2(c, BBI_OP_add, bbi_op2(c, BBI_OP_sub, p->row_norm, twice), p->column_norm);
}

/* The mean of the operand that varies with j. */
static const bbi_node *centre_of(bbi_context *c, const bbi_node *distance) {
    const bbi_node *d = distance->arg[0]->arg[0], *y = d->arg[d->arg[0]->place == BBI_J ? 0 : 1];
    const bbi_node *sum = bbi_reduce(c, BBI_RED_sum, BBI_J, 0, y, NULL, NULL);
    const bbi_node *count = bbi_reduce(c, BBI_RED_sum, BBI_J, 0, bbi_var(c, BBI_ONE, BBI_J, 1), NULL, NULL);
    return bbi_op2(c, BBI_OP_div, sum, count);
}

/* The guard's share of a distance; false: it must stay as it is. */
static bool guard(expander *e, const bbi_node *distance, const bbi_node *centre) {
    bbi_context *c = e->c;
    const bbi_node *before = e->bound;
    parts p = parts_of(c, distance, centre);
    const bbi_node *norms = bbi_op2(c, BBI_OP_add, p.row_norm ? largest(c, p.row_norm) : NULL,
                                    p.column_norm ? largest(c, p.column_norm) : NULL);
    const bbi_node *bound = bbi_op2(c, BBI_OP_mul, bbi_const(c, sqrt((double)distance->arg[0]->dim) + 4), norms);
    e->steps = MAX_WALK;
    if (!bound || !follow(e, distance, bound)) {
        e->failed = e->failed || !bound;
        e->bound = before;
        return false;
    }
    for (int k = 0; k < 2; k++) { /* maxima skip a NaN, sums do not */
        const bbi_node *norm = k ? p.column_norm : p.row_norm;
        e->total = plus(c, e->total, bbi_reduce(c, BBI_RED_sum, (bbi_place)norm->place, 0, norm, NULL, NULL));
        e->failed = e->failed || !e->total;
    }
    return true;
}

static bool over_lists(const expander *e) {
    for (int64_t k = 0; k < e->count; k++)
        if (e->node[k]->op == BBI_OP_REDUCE && e->node[k]->narg > 2 && e->node[k]->arg[2]) return true;
    return false;
}

/* Number of the centre among those so far; their count, if it is none of them. */
static int centre_number(const bbi_expansion *result, const bbi_node *mean) {
    int k = 0;
    while (k < result->centres && result->centre[k] != mean) k++;
    return k;
}

static void expand(expander *e, const bbi_node *const *outputs, int64_t noutput, int64_t first, bool guarded,
                   bbi_expansion *result) {
    bbi_context *c = e->c;
    const bbi_node *from[BBI_EXPAND_MAX], *to[BBI_EXPAND_MAX];
    int count = 0;
    for (int64_t k = 0; k < e->count && count < BBI_EXPAND_MAX && !e->failed; k++) {
        const bbi_node *d = e->node[k];
        if (!is_distance(e, d)) continue;
        const bbi_node *mean = centre_of(c, d);
        const int number = centre_number(result, mean);
        const bbi_node *centre = bbi_var(c, first + number, BBI_P, d->arg[0]->dim);
        e->failed = e->failed || !mean || !centre;
        if (e->failed || (guarded && !guard(e, d, centre))) continue;
        if (number == result->centres) result->centre[result->centres++] = mean;
        parts p = parts_of(c, d, centre);
        from[count] = d;
        to[count] = guarded ? expanded(c, &p) : bbi_op1(c, BBI_OP_relu, expanded(c, &p));
        e->failed = e->failed || !to[count++];
    }
    result->bound[BBI_EXPAND_BOUND] = e->bound ? e->bound : bbi_const(c, 0);
    result->bound[BBI_EXPAND_TOTAL] = e->total ? e->total : bbi_const(c, 0);
    for (int64_t k = 0; k < noutput && count && !e->failed; k++) {
        result->output[k] = bbi_replace(c, outputs[k], from, to, count);
        e->failed = e->failed || !result->output[k];
    }
}

bb_status bbi_expand(bbi_context *c, const bbi_node *const *outputs, int64_t noutput, int64_t first, bool guarded,
                     bbi_expansion *result) {
    expander e = {.c = c};
    result->centres = 0;
    BBI_FORWARD(bbi_topological(outputs, noutput, &e.node, &e.count));
    if (e.count <= MAX_NODES && !over_lists(&e)) expand(&e, outputs, noutput, first, guarded, result);
    bbi_free(e.node);
    return e.failed ? bbi_fail_append("%s", "") : BB_OK;
}

/* ---- selections ---- */
/* The distance that f grows with, strictly but for roundings; NULL: none. */
static const bbi_node *increasing_in(const expander *e, const bbi_node *f) {
    for (int depth = 0; depth < 4; depth++) {
        if (is_distance(e, f)) return f;
        const bbi_node *p = f->op == BBI_OP_mul ? f->arg[0] : f->op == BBI_OP_div ? f->arg[1] : NULL;
        if (f->op == BBI_OP_mul && p->op != BBI_OP_CONST) p = f->arg[1];
        bool scales = p && p->op == BBI_OP_CONST && p->value > 1e-6 && p->value < 1e6;
        if (f->op != BBI_OP_sqrt && !scales) return NULL;
        f = f->arg[0] == p ? f->arg[1] : f->arg[0];
    }
    return NULL;
}

/* The reduction that all outputs read, with its twin of indices or values; NULL: there are others. */
static const bbi_node *only_selection(const expander *e) {
    const bbi_node *found = NULL;
    for (int64_t k = 0; k < e->count; k++) {
        const bbi_node *r = e->node[k];
        if (r->op != BBI_OP_REDUCE) continue;
        bbi_family family = bbi_reduction_info((int)r->ints[0])->family;
        if ((family != BBI_FAMILY_MIN && family != BBI_FAMILY_KMIN) || r->arg[0]->dim != 1 || r->ints[1] == BBI_IJ)
            return NULL;
        for (int a = 1; a < r->narg; a++)
            if (r->arg[a]) return NULL;
        bool twins = found && found->arg[0] == r->arg[0] && found->ints[1] == r->ints[1] &&
                     found->ints[2] == r->ints[2] && bbi_reduction_info((int)found->ints[0])->family == family;
        if (found && !twins) return NULL;
        found = r;
    }
    return found;
}

static void scan_for(expander *e, const bbi_node *selection, const bbi_node *distance, int64_t first, bbi_scan *s) {
    bbi_context *c = e->c;
    bbi_place folded = s->folded = (bbi_place)selection->ints[1];
    s->kept = (bbi_place)selection->place;
    s->dim = distance->arg[0]->dim;
    s->plain = selection->arg[0] == distance;
    const bbi_node *centre = bbi_var(c, first, BBI_P, s->dim);
    const parts p = centre ? parts_of(c, distance, centre) : (parts){0};
    const bbi_node *twice = p.product ? bbi_op2(c, BBI_OP_mul, bbi_const(c, 2), p.product) : NULL;
    e->failed = e->failed || !twice || !p.row_norm || !p.column_norm;
    if (e->failed) return;
    const bool rows_kept = p.row_norm->place == s->kept;
    const bbi_node *norm = rows_kept ? p.column_norm : p.row_norm, *less = bbi_op2(c, BBI_OP_sub, norm, twice);
    s->output[0] = bbi_reduce(c, BBI_RED_kmin, folded, s->count, less, NULL, NULL);
    s->output[1] = bbi_reduce(c, BBI_RED_argkmin, folded, s->count, less, NULL, NULL);
    s->output[2] = rows_kept ? p.row_norm : p.column_norm;
    s->centre = centre_of(c, distance);
    s->largest = largest(c, norm);
    e->failed = !s->output[0] || !s->output[1] || !s->centre || !s->largest;
}

bb_status bbi_expand_selection(bbi_context *c, const bbi_node *const *outputs, int64_t noutput, int64_t first,
                               bbi_scan *scan) {
    expander e = {.c = c};
    scan->k = 0;
    BBI_FORWARD(bbi_topological(outputs, noutput, &e.node, &e.count));
    const bbi_node *selection = e.count <= MAX_NODES ? only_selection(&e) : NULL;
    const bbi_node *distance = selection ? increasing_in(&e, selection->arg[0]) : NULL;
    if (distance) {
        scan->k = selection->ints[2] > 0 ? selection->ints[2] : 1;
        scan->count = scan->k + 4 + scan->k / 8 + (distance->arg[0]->dim >= LONG_DIM ? 8 : 0);
        scan_for(&e, selection, distance, first, scan);
    }
    bbi_free(e.node);
    return e.failed ? bbi_fail_append("%s", "") : BB_OK;
}
