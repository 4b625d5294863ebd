/* components.c: the algebra of components. A slice, pad, concat or repeat moves no number but in the head of
 * the reader: rewriting lets them cancel before code is made. Repeats and pads move towards the root, out of
 * elementwise operations, which then work on fewer components; slices move towards the leaves. A pad is
 * {start, total, step}: component start + step k of the result is component k of the operand, all others are
 * 0; a slice is {start, count, step}. */
#include "simplify.h"

static const bbi_node *make_on(bbi_context *c, const bbi_node *n, const bbi_node *const *args) {
    return bbi_node_make(c, n->op, args, n->narg, n->ints, n->nint);
}

static bool same_ints(const bbi_node *a, const bbi_node *b) {
    for (int k = 0; k < a->nint; k++) {
        if (a->ints[k] != b->ints[k]) return false;
    }
    return true;
}

static bool has_zero_at_zero(const bbi_node *n) {
    const bbi_op_row *row = bbi_op_info(n->op);
    return n->narg == 1 && row->scalar && row->scalar(0, 0, 0) == 0;
}

/* ---- elementwise operations over repeat, pad ---- */
/* x + repeat(y) = x + y; repeat(x) + repeat(y) = repeat(x + y). */
static const bbi_node *strip_repeats(bbi_context *c, const bbi_node *n) {
    const bbi_node *args[BBI_MAX_ARGS];
    bool any = false, wide = false;
    for (int k = 0; k < n->narg; k++) {
        bool repeated = n->arg[k]->op == BBI_OP_repeat;
        args[k] = repeated ? n->arg[k]->arg[0] : n->arg[k];
        any = any || repeated;
        wide = wide || args[k]->dim > 1;
    }
    if (!any) return NULL;
    return wide ? make_on(c, n, args) : bbi_repeat(c, make_on(c, n, args), n->dim);
}

static const bbi_node *pad_like(bbi_context *c, const bbi_node *pad, const bbi_node *inner) {
    return inner ? bbi_pad(c, inner, pad->ints[0], pad->ints[1], pad->ints[2]) : NULL;
}

/* The components of y that meet the operand of a pad. */
static const bbi_node *under_pad(bbi_context *c, const bbi_node *pad, const bbi_node *y) {
    return y->dim == 1 ? y : bbi_slice(c, y, pad->ints[0], pad->arg[0]->dim, pad->ints[2]);
}

/* pad(x) y = pad(x y'), pad(x) / y = pad(x / y'), y' the components of y that meet x. */
static const bbi_node *product_with_pad(bbi_context *c, const bbi_node *n) {
    for (int k = 0; k < (n->op == BBI_OP_div ? 1 : 2); k++) {
        const bbi_node *pad = n->arg[k];
        if (pad->op == BBI_OP_pad) {
            return pad_like(c, pad, bbi_op2(c, n->op, pad->arg[0], under_pad(c, pad, n->arg[1 - k])));
        }
    }
    return NULL;
}

/* The even and the odd components of one vector, back at their places. */
static const bbi_node *interleaved(const bbi_node *a, const bbi_node *b) {
    const bbi_node *x = a->arg[0], *y = b->arg[0];
    if (a->ints[2] != 2 || b->ints[2] != 2 || x->op != BBI_OP_slice || y->op != BBI_OP_slice) return NULL;
    bool whole = x->arg[0] == y->arg[0] && x->arg[0]->dim == a->dim && x->dim + y->dim == a->dim;
    bool at_home = x->ints[0] == a->ints[0] && y->ints[0] == b->ints[0] && a->ints[0] + b->ints[0] == 1;
    return whole && at_home && x->ints[2] == 2 && y->ints[2] == 2 ? x->arg[0] : NULL;
}

/* pad(x) + pad(y): at the same places, or the one where the other ends. */
static const bbi_node *sum_of_pads(bbi_context *c, const bbi_node *n) {
    const bbi_node *a = n->arg[0], *b = n->arg[1];
    if (a->op != BBI_OP_pad || b->op != BBI_OP_pad) return NULL;
    const bbi_node *x = a->arg[0], *y = b->arg[0];
    if (x->dim == y->dim && same_ints(a, b)) return pad_like(c, a, bbi_op2(c, n->op, x, y));
    if (a->ints[2] != 1 || b->ints[2] != 1) return n->op == BBI_OP_add ? interleaved(a, b) : NULL;
    if (n->op == BBI_OP_sub) y = bbi_op1(c, BBI_OP_neg, y);
    if (a->ints[0] + x->dim == b->ints[0]) return pad_like(c, a, bbi_op2(c, BBI_OP_concat, x, y));
    if (b->ints[0] + b->arg[0]->dim == a->ints[0]) return pad_like(c, b, bbi_op2(c, BBI_OP_concat, y, x));
    return NULL;
}

const bbi_node *bbi_simplify_map(bbi_context *c, const bbi_node *n) {
    if (n->dim == 1) return NULL;
    const bbi_node *r = strip_repeats(c, n);
    if (r) return r;
    if (n->op == BBI_OP_mul || n->op == BBI_OP_div) return product_with_pad(c, n);
    if (n->op == BBI_OP_add || n->op == BBI_OP_sub) return sum_of_pads(c, n);
    if (n->arg[0]->op == BBI_OP_pad && has_zero_at_zero(n)) {
        return pad_like(c, n->arg[0], bbi_op1(c, n->op, n->arg[0]->arg[0]));
    }
    return NULL;
}

/* ---- slices ---- */
static int64_t ceil_div(int64_t a, int64_t b) { /* b > 0 */ return a / b + (a % b > 0); }

/* Which of `count` positions base + step k fall into 0 .. limit - 1: the first, and how many. */
static int64_t positions_inside(int64_t base, int64_t step, int64_t count, int64_t limit, int64_t *first) {
    *first = base >= 0 ? 0 : ceil_div(-base, step);
    if (base >= limit) return 0;
    int64_t last = (limit - 1 - base) / step;
    if (last > count - 1) last = count - 1;
    return last < *first ? 0 : last - *first + 1;
}

static const bbi_node *slice_of_pad(bbi_context *c, const bbi_node *n) {
    const bbi_node *pad = n->arg[0], *x = pad->arg[0];
    int64_t start = n->ints[0], count = n->ints[1], step = n->ints[2], pad_step = pad->ints[2];
    int64_t shift = start - pad->ints[0], first, found;
    if (step % pad_step == 0) { /* component i of the result is component (shift + step i) / pad_step of x */
        int64_t base = shift / pad_step, stride = step / pad_step;
        if (shift % pad_step) return bbi_zero(c, count);
        found = positions_inside(base, stride, count, x->dim, &first);
        if (!found) return bbi_zero(c, count);
        return bbi_pad(c, bbi_slice(c, x, base + stride * first, found, stride), first, count, 1);
    }
    if (pad_step % step == 0) { /* component j of x is component (pad_step j - shift) / step of the result */
        int64_t base = -shift / step, stride = pad_step / step;
        if (shift % step) return bbi_zero(c, count);
        found = positions_inside(base, stride, x->dim, count, &first);
        if (!found) return bbi_zero(c, count);
        return bbi_pad(c, bbi_slice(c, x, first, found, 1), base + stride * first, count, stride);
    }
    return NULL;
}

static const bbi_node *slice_of_concat(bbi_context *c, const bbi_node *n) {
    const bbi_node *a = n->arg[0]->arg[0], *b = n->arg[0]->arg[1];
    int64_t start = n->ints[0], count = n->ints[1], step = n->ints[2], last = start + (count - 1) * step;
    if (last < a->dim) return bbi_slice(c, a, start, count, step);
    if (start >= a->dim) return bbi_slice(c, b, start - a->dim, count, step);
    int64_t inside = (a->dim - 1 - start) / step + 1;
    const bbi_node *rest = bbi_slice(c, b, start + inside * step - a->dim, count - inside, step);
    return bbi_op2(c, BBI_OP_concat, bbi_slice(c, a, start, inside, step), rest);
}

/* Whether all or none of the components that a slice takes come from the operand of a pad. */
static bool settles_pad(const bbi_node *pad, int64_t start, int64_t count, int64_t step) {
    int64_t shift = start - pad->ints[0], pad_step = pad->ints[2], first;
    if (step % pad_step) return shift + (count - 1) * step < 0 || shift > (pad->arg[0]->dim - 1) * pad_step;
    if (shift % pad_step) return true;
    int64_t found = positions_inside(shift / pad_step, step / pad_step, count, pad->arg[0]->dim, &first);
    return found == 0 || found == count;
}

/* Whether slicing the operands of an elementwise operation makes something disappear: a repeat, a pad, one
 * side of a concat, most components of a vector that meets a scalar. Where nothing does, the slice stays in
 * front: the whole vector is mostly needed elsewhere, and in a scan (cumsum, B-splines) every slice of it
 * would be computed again from the leaves. */
static bool gains_from_slicing(const bbi_node *n, int64_t start, int64_t count, int64_t step, int depth) {
    int wide = 0;
    if (n->dim == 1) return false;
    switch (n->op) {
    case BBI_OP_repeat: return true;
    case BBI_OP_IOTA: return count == 1;
    case BBI_OP_pad: return settles_pad(n, start, count, step);
    case BBI_OP_concat: return start + (count - 1) * step < n->arg[0]->dim || start >= n->arg[0]->dim;
    case BBI_OP_slice:
        return depth > 0 &&
               gains_from_slicing(n->arg[0], n->ints[0] + start * n->ints[2], count, step * n->ints[2], depth - 1);
    default: break;
    }
    if (bbi_op_info(n->op)->kind != BBI_MAP || depth == 0) return false;
    for (int k = 0; k < n->narg; k++) {
        if (gains_from_slicing(n->arg[k], start, count, step, depth - 1)) return true;
        wide += n->arg[k]->dim > 1;
    }
    return n->narg > 1 && wide == 1 && 2 * count <= n->dim;
}

static const bbi_node *slice_of_map(bbi_context *c, const bbi_node *n) {
    enum { DEPTH = 4 };
    const bbi_node *x = n->arg[0], *args[BBI_MAX_ARGS];
    if (!gains_from_slicing(x, n->ints[0], n->ints[1], n->ints[2], DEPTH)) return NULL;
    for (int k = 0; k < x->narg; k++) {
        args[k] = x->arg[k]->dim == 1 ? x->arg[k] : bbi_slice(c, x->arg[k], n->ints[0], n->ints[1], n->ints[2]);
    }
    return make_on(c, x, args);
}

static const bbi_node *simplify_slice(bbi_context *c, const bbi_node *n) {
    const bbi_node *x = n->arg[0];
    int64_t start = n->ints[0], count = n->ints[1], step = n->ints[2];
    if (count == x->dim) return x;
    if (count == 1 && step != 1) return bbi_slice(c, x, start, 1, 1);
    switch (x->op) {
    case BBI_OP_repeat: return bbi_repeat(c, x->arg[0], count);
    case BBI_OP_slice: return bbi_slice(c, x->arg[0], x->ints[0] + start * x->ints[2], count, step * x->ints[2]);
    case BBI_OP_concat: return slice_of_concat(c, n);
    case BBI_OP_pad: return slice_of_pad(c, n);
    case BBI_OP_IOTA: return count == 1 ? bbi_const(c, (double)start) : NULL;
    default: return bbi_op_info(x->op)->kind == BBI_MAP ? slice_of_map(c, n) : NULL;
    }
}

/* ---- pad, concat, repeat ---- */
static const bbi_node *simplify_pad(bbi_context *c, const bbi_node *n) {
    const bbi_node *x = n->arg[0];
    int64_t start = n->ints[0], total = n->ints[1], step = n->ints[2];
    if (total == x->dim) return x;
    if (bbi_is_const(x, 0)) return bbi_zero(c, total);
    if (x->dim == 1 && step != 1) return bbi_pad(c, x, start, total, 1);
    if (x->op == BBI_OP_pad) return bbi_pad(c, x->arg[0], start + step * x->ints[0], total, step * x->ints[2]);
    return NULL;
}

static const bbi_node *simplify_concat(bbi_context *c, const bbi_node *n) {
    const bbi_node *a = n->arg[0], *b = n->arg[1];
    const bbi_node *x = a->op == BBI_OP_repeat ? a->arg[0] : a, *y = b->op == BBI_OP_repeat ? b->arg[0] : b;
    if (x == y && x->dim == 1) return bbi_repeat(c, x, n->dim);
    if (bbi_is_const(b, 0)) return bbi_pad(c, a, 0, n->dim, 1);
    if (bbi_is_const(a, 0)) return bbi_pad(c, b, a->dim, n->dim, 1);
    if (a->op != BBI_OP_slice || b->op != BBI_OP_slice || a->arg[0] != b->arg[0]) return NULL;
    int64_t step = a->dim > 1 ? a->ints[2] : b->dim > 1 ? b->ints[2] : b->ints[0] - a->ints[0];
    bool uniform = (a->dim == 1 || a->ints[2] == step) && (b->dim == 1 || b->ints[2] == step);
    if (step < 1 || !uniform || a->ints[0] + a->dim * step != b->ints[0]) return NULL;
    return bbi_slice(c, a->arg[0], a->ints[0], n->dim, step);
}

const bbi_node *bbi_simplify_index(bbi_context *c, const bbi_node *n) {
    switch (n->op) {
    case BBI_OP_slice: return simplify_slice(c, n);
    case BBI_OP_pad: return simplify_pad(c, n);
    case BBI_OP_concat: return simplify_concat(c, n);
    default: return n->dim == 1 ? n->arg[0] : NULL;
    }
}
