/* simplify.c: rewriting as nodes are made. A formula grows from its leaves, and every node is offered here
 * once, over operands that are already simplified; so a rule need only look at a root and a little below
 * it, and there is no pass over the formula and no fixed point. What a rule builds is made by
 * bbi_node_make and so simplified in turn.
 *
 * Policy. Rules follow algebra, not IEEE arithmetic: x - x is 0 and 0 x is 0 though x be infinite. They
 * may lose or gain a rounding, and turn a NaN or an infinity into a number; they never turn a finite
 * result into NaN, and constants are collected only while they stay far from overflow in float. Sums are
 * not reordered but for the canonical order of the two operands of one addition.
 *
 * Why rewriting ends. Every row of rule.def makes the weight W of the tree smaller, a polynomial
 * interpretation (Lankford, 1979). With p a constant:
 *
 *     W(leaf)   = 1                      W(p + x)    = W(x) + 2
 *     W(-x)     = W(x) + 2               W(p - x)    = W(x) + 3
 *     W(x + y)  = W(x) + W(y) + 2        W(p x)      = W(x) + 3
 *     W(x - y)  = W(x) + W(y) + 3        W(repeat x) = W(x) + 1
 *     W(x / y)  = 2 (W(x) + W(y)) + 4    others: 2 (sum of W of the operands) + 3
 *
 * W grows with the weight of each operand, so what shrinks at a rule's root shrinks in the whole formula.
 * bbi_rule_decreases checks it for any operands by comparing linear forms; the tests ask it for every
 * rule. The structural rewrites of components.c and contract.c each move repeats and pads towards the
 * root, slices towards the leaves and axes out of contractions, never back; the canonical forms below are
 * reached in one step.
 *
 * What a new rule must satisfy (tests/unit/test_rules.c checks all four):
 *   1. both sides agree at random points for every combination of dimensions for which it fires;
 *   2. W decreases, also where some of x, y, z are constants;
 *   3. it names no number but 0, 1, 2, 1/2 and their negatives: a formula's structure, and with it the
 *      compiled code, must not depend on its numbers;
 *   4. it can fire: what it matches is not rewritten by something else first.
 * And what no test can check: the right side should not cost more when the matched operations are also used
 * elsewhere. exp(x) inside square(exp(x)) is nearly always shared, hence no such rule. */
#include "simplify.h"

#include <math.h>

/* Even functions: f(x - y) = f(y - x), so that |x - y| and |y - x| are one node. */
static const bbi_node *orient_difference(bbi_context *c, const bbi_node *n) {
    const bbi_node *d = n->arg[0];
    bool even = n->op == BBI_OP_square || n->op == BBI_OP_abs || n->op == BBI_OP_cos || n->op == BBI_OP_cosh;
    if (!even || d->op != BBI_OP_sub || d->arg[0]->op == BBI_OP_CONST || bbi_compare(d->arg[0], d->arg[1]) <= 0)
        return NULL;
    return bbi_op1(c, n->op, bbi_op2(c, BBI_OP_sub, d->arg[1], d->arg[0]));
}

/* Division by a constant is a product where that is the same number: 1 / p exact, which is to say p a power
 * of two. */
static const bbi_node *divide_by_constant(bbi_context *c, const bbi_node *n) {
    int exponent;
    const bbi_node *p = n->arg[1];
    if (p->op != BBI_OP_CONST || n->arg[0]->op == BBI_OP_CONST || p->value == 0 || !isfinite(p->value)) return NULL;
    if (fabs(frexp(p->value, &exponent)) != 0.5 || exponent > 100 || exponent < -100) return NULL;
    return bbi_op2(c, BBI_OP_mul, bbi_const(c, 1 / p->value), n->arg[0]);
}

/* The variable that is one and only carries a placement, beside an operand that has that placement already.
 */
static const bbi_node *drop_placement(const bbi_node *n) {
    for (int k = 0; k < 2; k++) {
        const bbi_node *one = n->arg[k], *other = n->arg[1 - k];
        bool is_one = one->op == BBI_OP_VAR && one->ints[0] == BBI_ONE && one->dim == 1;
        if (is_one && (one->place & ~other->place) == 0) return other;
    }
    return NULL;
}

/* A zero that was given a placement keeps it: a result along i stays one though it be zero. */
static bool is_placed_zero(const bbi_node *n) {
    if (n->op != BBI_OP_mul || n->arg[1]->op != BBI_OP_VAR || n->arg[1]->ints[0] != BBI_ONE) return false;
    return n->arg[0]->op == BBI_OP_CONST && n->arg[0]->value == 0;
}

static const bbi_node *canonical_form(bbi_context *c, const bbi_node *n) {
    switch (n->op) {
    case BBI_OP_sub: /* x - p = -p + x */
        if (n->arg[1]->op != BBI_OP_CONST) return NULL;
        return bbi_op2(c, BBI_OP_add, bbi_const(c, -n->arg[1]->value), n->arg[0]);
    case BBI_OP_mul: return drop_placement(n);
    case BBI_OP_div: return divide_by_constant(c, n);
    case BBI_OP_argmax:
    case BBI_OP_argmin: return n->arg[0]->dim == 1 || n->arg[0]->op == BBI_OP_repeat ? bbi_const(c, 0) : NULL;
    case BBI_OP_REDUCE: /* a sum of zeros */
        return n->ints[0] == BBI_RED_sum && bbi_is_const(n->arg[0], 0) ? bbi_zero(c, n->dim) : NULL;
    default: return n->narg == 1 ? orient_difference(c, n) : NULL;
    }
}

static const bbi_node *rewrite(bbi_context *c, const bbi_node *n) {
    if (is_placed_zero(n)) return NULL;
    const bbi_node *r = canonical_form(c, n);
    if (r) return r;
    switch (bbi_op_info(n->op)->kind) {
    case BBI_MAP: r = bbi_simplify_map(c, n); break;
    case BBI_INDEX: r = bbi_simplify_index(c, n); break;
    case BBI_CONTRACT: r = bbi_simplify_contract(c, n); break;
    default: break;
    }
    return r ? r : bbi_simplify_rules(c, n);
}

const bbi_node *bbi_simplify(bbi_context *c, const bbi_node *candidate) {
    const bbi_node *r = rewrite(c, candidate);
    if (r) c->rewrites++;
    return r;
}
