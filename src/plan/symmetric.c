/* symmetric.c: plans for runs in which i and j are the same elements: there are as many of both, and some i-variable
 * is given the array that a j-variable is given (K(x, x) b, interacting particles, LDDMM).
 *
 * A variable is an array and an axis then: variables of the same array become the same but for their axis, and the
 * exchange of i and j, F(i, j) -> F(j, i), is a map on formulas that changes nothing but axes. Two things follow.
 * A result kept along j is one kept along i of the exchanged formula, so that gradients with respect to x_i and y_j
 * share one pass. And a pair (r, c) can give F(r, c) to the sum of row r and F(c, r) to that of row c: with a symmetric
 * or antisymmetric kernel the second costs next to nothing, because interned nodes that both need are one node.
 *
 * For that, nodes are found up to sign: each stands for ± itself, and the differences a - b of something and its
 * mirror image are written in one of their two orders. Signs move outwards through linear operations and products; for
 * what other operations do with them, the table of rewrite rules is asked. No rounding changes. */
#include "lower.h"

typedef struct signed_node {
    const bbi_node *node; /* NULL: cannot be had (that is no error unless somebody needs it) */
    bool negative;
} signed_node;

typedef struct exchange {
    bbi_context *c;
    bbi_plan_builder *plan;
    bool swap;  /* i and j are exchanged */
    bool stage; /* the reductions below are temporaries */
    const bbi_node **order;
    signed_node *image;
    int64_t count;
} exchange;

enum { PROBE = 1 << 24 }; /* position of a variable that nobody has */

static bbi_place swapped(bbi_place place) { return place == BBI_I ? BBI_J : place == BBI_J ? BBI_I : place; }

static const bbi_node *with_sign(bbi_context *c, signed_node x) {
    return x.negative && x.node ? bbi_op1(c, BBI_OP_neg, x.node) : x.node;
}

/* ---- one node -------------------------------------------------------------------------------- */
static signed_node image_of_variable(const exchange *e, const bbi_node *n) {
    int64_t position = n->ints[0];
    bbi_place place = (bbi_place)n->ints[1];
    if (place == BBI_P) return (signed_node){n, false};
    if (position >= 0 && position < e->plan->plan->ninput) position = e->plan->options->same[position];
    return (signed_node){bbi_var(e->c, position, e->swap ? swapped(place) : place, n->dim), false};
}

static signed_node image_of_reduction(const exchange *e, const bbi_node *n, const signed_node *arg) {
    if (e->stage) {
        if (!e->swap || n->place == BBI_P) return (signed_node){n, false};
        int64_t temporary = bbi_table_get(&e->plan->temporary_of, n->id, 0);
        if (temporary < 0) return (signed_node){NULL, false}; /* below another reduction: nobody asks for it */
        int64_t position = e->plan->plan->ninput + temporary;
        return (signed_node){bbi_var(e->c, position, swapped((bbi_place)n->place), n->dim), false};
    }
    bool sum = bbi_reduction_info((int)n->ints[0])->family == BBI_FAMILY_SUM, listed = n->narg > 2 && n->arg[2];
    if (e->swap && (listed || n->ints[0] == BBI_RED_custom)) return (signed_node){NULL, false};
    const bbi_node *f = sum ? arg[0].node : with_sign(e->c, arg[0]);
    const bbi_node *weight = n->narg > 1 ? with_sign(e->c, arg[1]) : NULL;
    bbi_place axis = e->swap ? swapped((bbi_place)n->ints[1]) : (bbi_place)n->ints[1];
    if (!f || (n->narg > 1 && n->arg[1] && !weight) || (listed && !arg[2].node)) return (signed_node){NULL, false};
    return (signed_node){
        bbi_reduce(e->c, (bbi_reduction)n->ints[0], axis, n->ints[2], f, weight, listed ? arg[2].node : NULL),
        sum && arg[0].negative};
}

/* a - b and b - a are one node up to sign where they may be images of each other. */
static signed_node difference(bbi_context *c, const bbi_node *a, const bbi_node *b, bool negative) {
    bool images = (a->place == BBI_I && b->place == BBI_J) || (a->place == BBI_J && b->place == BBI_I) ||
                  (a->place == BBI_IJ && b->place == BBI_IJ);
    bool turn = images && (a->place != b->place ? a->place == BBI_J : a->id > b->id);
    return (signed_node){turn ? bbi_op2(c, BBI_OP_sub, b, a) : bbi_op2(c, BBI_OP_sub, a, b), negative != turn};
}

/* 1: f(-x) = f(x), -1: f(-x) = -f(x), 0: neither is known to the rules. */
static int parity(bbi_context *c, int op) {
    const bbi_node *x = bbi_var(c, PROBE, BBI_I, 1), *y = bbi_op1(c, op, x);
    const bbi_node *z = bbi_op1(c, op, bbi_op1(c, BBI_OP_neg, x));
    if (!y || !z) return 0;
    return z == y ? 1 : z->op == BBI_OP_neg && z->arg[0] == y ? -1 : 0;
}

static signed_node rebuilt(const exchange *e, const bbi_node *n, const signed_node *arg, bool negative) {
    const bbi_node *plain[BBI_MAX_ARGS] = {0};
    for (int k = 0; k < n->narg; k++) plain[k] = arg[k].node;
    return (signed_node){bbi_node_make(e->c, n->op, plain, n->narg, n->ints, n->nint), negative};
}

static signed_node image_of_operation(const exchange *e, const bbi_node *n, signed_node *arg) {
    bool same = true, any = false, odd = false;
    for (int k = 0; k < n->narg; k++) {
        if (!n->arg[k]) continue;
        same = same && arg[k].negative == arg[0].negative;
        any = any || arg[k].negative;
        odd = odd != arg[k].negative;
    }
    if (n->op == BBI_OP_neg) return (signed_node){arg[0].node, !arg[0].negative};
    if (n->op == BBI_OP_sub || (n->op == BBI_OP_add && !same)) {
        bool subtract = (n->op == BBI_OP_sub) == same;
        if (subtract) return difference(e->c, arg[0].node, arg[1].node, arg[0].negative);
        return (signed_node){bbi_op2(e->c, BBI_OP_add, arg[0].node, arg[1].node), arg[0].negative};
    }
    if (!any) return rebuilt(e, n, arg, false);
    if (same && (bbi_op_info(n->op)->flags & BBI_LINEAR)) return rebuilt(e, n, arg, true);
    if (n->op == BBI_OP_mul || n->op == BBI_OP_div || n->op == BBI_OP_contract) return rebuilt(e, n, arg, odd);
    int how = n->narg == 1 && bbi_op_info(n->op)->kind == BBI_MAP ? parity(e->c, n->op) : 0;
    if (how != 0) return rebuilt(e, n, arg, how < 0);
    for (int k = 0; k < n->narg; k++) arg[k].node = with_sign(e->c, arg[k]);
    for (int k = 0; k < n->narg; k++)
        if (n->arg[k] && !arg[k].node) return (signed_node){NULL, false};
    return rebuilt(e, n, arg, false);
}

static signed_node image_of(const exchange *e, const bbi_node *n) {
    signed_node arg[BBI_MAX_ARGS] = {{0}};
    bool missing = false;
    if (n->op == BBI_OP_VAR) return image_of_variable(e, n);
    for (int k = 0; k < n->narg; k++) {
        if (!n->arg[k]) continue;
        arg[k] = e->image[bbi_position(e->order, e->count, n->arg[k])];
        missing = missing || !arg[k].node;
    }
    if (n->op == BBI_OP_REDUCE) return image_of_reduction(e, n, arg);
    if (n->narg == 0 || missing) return (signed_node){missing ? NULL : n, false};
    signed_node image = image_of_operation(e, n, arg);
    if (image.node && image.node->op == BBI_OP_neg)
        image = (signed_node){image.node->arg[0], !image.negative}; /* a rule took the sign out */
    return image;
}

/* ---- whole formulas -------------------------------------------------------------------------- */
static bb_status exchange_below(exchange *e, const bbi_node *root, signed_node *image) {
    *image = (signed_node){NULL, false};
    BBI_FORWARD(bbi_topological(&root, 1, &e->order, &e->count));
    e->image = bbi_calloc((size_t)e->count + 1, sizeof *e->image);
    bb_status status = e->image ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory");
    for (int64_t k = 0; e->image && k < e->count; k++) e->image[k] = image_of(e, e->order[k]);
    if (e->image) *image = e->image[e->count - 1]; /* the root has the largest number */
    if (image->node && image->node->dim != root->dim) image->node = NULL;
    bbi_free(e->image);
    bbi_free(e->order);
    return status;
}

bb_status bbi_symmetric_outputs(bbi_plan_builder *p, const bbi_node **outputs, bbi_place *places, int32_t noutput) {
    for (int32_t k = 0; k < noutput; k++) {
        const bbi_node *found = NULL;
        for (int swap = places[k] == BBI_J; swap >= 0 && !found; swap--) {
            exchange e = {.c = p->c, .plan = p, .swap = swap != 0};
            signed_node image;
            BBI_FORWARD(exchange_below(&e, outputs[k], &image));
            found = with_sign(p->c, image);
            if (found && swap) places[k] = BBI_I;
        }
        if (!found) return bbi_fail_append("%s", "");
        outputs[k] = found;
    }
    return BB_OK;
}

bb_status bbi_symmetric_image(bbi_plan_builder *p, const bbi_node *f, const bbi_node **image, bool *negative) {
    exchange e = {.c = p->c, .plan = p, .swap = true, .stage = true};
    signed_node found;
    BBI_FORWARD(exchange_below(&e, f, &found));
    if (!found.node) return bbi_fail_append("%s", "");
    *image = found.node;
    *negative = found.negative;
    return BB_OK;
}

/* ---- whether it pays ------------------------------------------------------------------------- */
/* Values that the rows' sums are made of. Steps are visited backwards, twice because a loop carries values round. */
static void mark_needed(const bbi_code *code, bool *needed) {
    for (int32_t k = 2 * code->count; k-- > 0;) {
        const bbi_instruction *s = &code->instruction[k % code->count];
        bool wanted = s->kind == BBI_STEP_SUM || (s->result >= 0 && needed[s->result]);
        for (int a = 0; wanted && a < s->narg; a++)
            if (s->arg[a].space == BBI_VALUE) needed[s->arg[a].number] = true;
    }
}

bb_status bbi_symmetric_pays(const bbi_stage *stage, bool *pays) {
    const bbi_code *code = &stage->pair_code;
    bool *needed = bbi_calloc((size_t)code->value_count + 1, sizeof *needed);
    if (!needed) return bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory");
    mark_needed(code, needed);
    double all = bbi_code_cost(stage, code, needed), both = stage->cost + (double)stage->sum_count;
    bbi_free(needed);
    *pays = both < 0.88 * 2 * all; /* just above, ten columns beside a Gaussian, halves take 1.05 times the time */
    return BB_OK;
}
