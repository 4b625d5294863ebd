/* lower_product.c: products and exponentials per pair taken apart, so that what stands in front of the pairs is
 * multiplied there, and so that few numbers are denormal: on many processors a product with such an operand or result
 * takes a hundred times longer (additions, and a fused product of two normal numbers whose sum is normal, do not).
 * Exponentials per pair are zero below the smallest normal number; logistic functions are made of such; and a sum of
 * one component leaves an exponential for its fused product, instead of multiplying it by the other factors first. */
#include "lower.h"

/* ---- factors in front of what is computed per pair ------------------------------------------- */
/* f = scale * rest, with factors that are not computed per pair in scale (NULL: none), which is not either. */
static bb_status split_scale(bbi_builder_state *b, const bbi_node *f, const bbi_node **scale, const bbi_node **rest) {
    bbi_context *c = b->stage->plan->c;
    *scale = NULL, *rest = f;
    for (;;) {
        const bbi_node *factor = NULL, *x = *rest, *next = NULL;
        if (x->op == BBI_OP_neg) {
            factor = bbi_const(c, -1), next = x->arg[0];
        } else if (x->op == BBI_OP_mul && bbi_space_of(b->stage, x->arg[0]) != BBI_VALUE) {
            factor = x->arg[0], next = x->arg[1];
        } else if (x->op == BBI_OP_mul && bbi_space_of(b->stage, x->arg[1]) != BBI_VALUE) {
            factor = x->arg[1], next = x->arg[0];
        } else if (x->op == BBI_OP_div && bbi_space_of(b->stage, x->arg[1]) != BBI_VALUE) {
            factor = bbi_op1(c, BBI_OP_inv, x->arg[1]), next = x->arg[0];
        } else {
            return BB_OK;
        }
        if (factor && *scale) factor = bbi_op2(c, BBI_OP_mul, *scale, factor);
        if (factor && bbi_space_of(b->stage, factor) == BBI_VALUE) return BB_OK; /* of a row and a column */
        if (!factor) return bbi_fail_append("%s", "");
        *scale = factor, *rest = next;
    }
}

/* ---- the order of long products --------------------------------------------------------------- */
static bool is_exponential(const bbi_node *x) { return x->op == BBI_OP_exp || x->op == BBI_OP_exp2; }

enum { PRODUCT_FACTORS = 8, PRODUCT_KINDS = 4 };
typedef struct bbi_product { /* its factors: vectors; numbers in front of the pairs, exponentials, other numbers */
    const bbi_node *factor[PRODUCT_KINDS];
    int count;
    bool failed;
} bbi_product;

static void multiply(const bbi_builder_state *b, bbi_product *p, const bbi_node *x) {
    const bool pair = bbi_space_of(b->stage, x) == BBI_VALUE;
    if (x->op == BBI_OP_mul && pair) {
        multiply(b, p, x->arg[0]);
        multiply(b, p, x->arg[1]);
        return;
    }
    if (p->count++ >= PRODUCT_FACTORS) return;
    const bbi_node **factor = &p->factor[x->dim > 1 ? 0 : !pair ? 1 : is_exponential(x) ? 2 : 3];
    *factor = *factor ? bbi_op2(b->stage->plan->c, BBI_OP_mul, *factor, x) : x;
    if (!*factor) p->failed = true;
}

/* A product of three factors or more: numbers are multiplied before vectors are by them, once for all components; of
 * these an exponential by what stands in front of the pairs first, for other products begin with that as well. */
static bb_status regroup(const bbi_builder_state *b, const bbi_node **x) {
    bbi_product p = {0};
    if ((*x)->op != BBI_OP_mul || bbi_space_of(b->stage, *x) != BBI_VALUE || b->native != BBI_VALUE) return BB_OK;
    multiply(b, &p, *x);
    if (p.count < 3 || p.count > PRODUCT_FACTORS) return BB_OK;
    const bbi_node *product = NULL;
    for (int k = 0; k < PRODUCT_KINDS && !p.failed; k++) {
        const bbi_node *factor = p.factor[(k + 1) % PRODUCT_KINDS];
        if (!factor) continue;
        product = product ? bbi_op2(b->stage->plan->c, BBI_OP_mul, product, factor) : factor;
        if (!product) p.failed = true;
    }
    if (p.failed) return bbi_fail_append("%s", "");
    *x = product;
    return BB_OK;
}

/* The factors of a product: x = f * g; g NULL where x is no product worth taking apart. Per pair, quotients and signs are
 * products too: what stands in front of the pairs is one factor, f. */
bb_status bbi_factors(bbi_builder_state *b, const bbi_node *x, const bbi_node **f, const bbi_node **g) {
    BBI_FORWARD(regroup(b, &x));
    *f = x, *g = NULL;
    bool here = bbi_space_of(b->stage, x) == b->native || (b->epilogue && bbi_space_of(b->stage, x) != BBI_UNIFORM);
    if (!here) return BB_OK;
    if (x->op == BBI_OP_square) *f = *g = x->arg[0];
    if (b->native == BBI_VALUE && (x->op == BBI_OP_mul || x->op == BBI_OP_div || x->op == BBI_OP_neg)) {
        const bbi_node *scale, *rest;
        BBI_FORWARD(split_scale(b, x, &scale, &rest));
        if (scale) *f = scale, *g = rest;
    }
    if (x->op == BBI_OP_mul && !*g) *f = x->arg[0], *g = x->arg[1];
    return BB_OK;
}

/* ---- exponentials per pair ------------------------------------------------------------------- */
bb_status bbi_exponent(bbi_builder_state *b, const bbi_node *node, const bbi_node **rest, const bbi_node **scale) {
    bbi_context *c = b->stage->plan->c;
    BBI_FORWARD(split_scale(b, node->arg[0], scale, rest));
    const bbi_node *base = bbi_const(c, node->op == BBI_OP_exp2 ? 1 : 1.4426950408889634074);
    *scale = *scale && base ? bbi_op2(c, BBI_OP_mul, base, *scale) : base;
    return *scale ? BB_OK : bbi_fail_append("%s", "");
}

bb_status bbi_pair_form(bbi_builder_state *b, const bbi_node *node, const bbi_node **form) {
    bbi_context *c = b->stage->plan->c;
    const bbi_node *x = node->arg[0];
    *form = NULL;
    if (node->op == BBI_OP_sigmoid) {
        const bbi_node *power = bbi_op1(c, BBI_OP_exp, bbi_op1(c, BBI_OP_neg, x));
        *form = bbi_op1(c, BBI_OP_inv, bbi_op2(c, BBI_OP_add, bbi_const(c, 1), power));
    } else if (node->op == BBI_OP_softplus) {
        const bbi_node *power = bbi_op1(c, BBI_OP_exp, bbi_op1(c, BBI_OP_neg, bbi_op1(c, BBI_OP_abs, x)));
        const bbi_node *positive = bbi_op2(c, BBI_OP_maximum, x, bbi_const(c, 0));
        *form = bbi_op2(c, BBI_OP_add, positive, bbi_op1(c, BBI_OP_log1p, power));
    } else {
        return BB_OK;
    }
    return *form ? BB_OK : bbi_fail_append("%s", "");
}

enum { PRODUCT_DEPTH = 16 };

/* x = power * rest for an exponential per pair among its factors; power NULL: there is none; rest NULL: 1. */
static bb_status split_exponential(bbi_builder_state *b, const bbi_node *x, int depth, const bbi_node **power,
                                   const bbi_node **rest) {
    bbi_context *c = b->stage->plan->c;
    *power = *rest = NULL;
    if (bbi_space_of(b->stage, x) != BBI_VALUE || depth == PRODUCT_DEPTH) return BB_OK;
    if (is_exponential(x)) {
        *power = x;
        return BB_OK;
    }
    const bool product = x->op == BBI_OP_mul;
    if (!product && x->op != BBI_OP_div && x->op != BBI_OP_neg && x->op != BBI_OP_square) return BB_OK;
    const bbi_node *left = NULL, *other = x->arg[1];
    BBI_FORWARD(split_exponential(b, x->arg[0], depth + 1, power, &left));
    if (!*power && product) {
        other = x->arg[0];
        BBI_FORWARD(split_exponential(b, x->arg[1], depth + 1, power, &left));
    }
    if (!*power) return BB_OK;
    switch (x->op) {
    case BBI_OP_mul: *rest = left ? bbi_op2(c, BBI_OP_mul, left, other) : other; break;
    case BBI_OP_div: *rest = left ? bbi_op2(c, BBI_OP_div, left, other) : bbi_op1(c, BBI_OP_inv, other); break;
    case BBI_OP_neg: *rest = left ? bbi_op1(c, BBI_OP_neg, left) : bbi_const(c, -1); break;
    default: *rest = left ? bbi_op2(c, BBI_OP_mul, *power, bbi_op1(c, BBI_OP_square, left)) : *power;
    }
    return *rest ? BB_OK : bbi_fail_append("%s", "");
}

bb_status bbi_factors_of_sum(bbi_builder_state *b, const bbi_node *x, const bbi_node **f, const bbi_node **g) {
    const bbi_node *power, *rest;
    BBI_FORWARD(bbi_factors(b, x, f, g));
    if (x->dim > 1 || b->stage->stage->symmetric || is_exponential(*f) || (*g && is_exponential(*g))) return BB_OK;
    BBI_FORWARD(split_exponential(b, x, 0, &power, &rest));
    if (power && rest) *f = power, *g = rest;
    return BB_OK;
}
