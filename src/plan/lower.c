/* lower.c: nodes to operands, a component at a time and on demand, so that a vector per pair is never stored: a MAP
 * node yields its component from its operands' components, an INDEX node only computes where to look, a fold of a long
 * vector is a loop around its body.
 *
 * Products that feed a sum become fma here, for both tiers alike; exponentials per pair become powers of two whose
 * scale is folded into the factors that do not depend on the pair; a division per pair by what does not depend on it
 * becomes a product (lower_product.c). Each of these adds at most one rounding of its operand. Roots and inverses per pair are rounded
 * nearly, not exactly. */
#include "lower.h"

#include <math.h>

static bb_status add_map(bbi_builder_state *b, int32_t scope, int op, const bbi_operand *args, int narg,
                         bbi_operand *result) {
    bbi_instruction in = {.kind = BBI_STEP_MAP,
                          .op = (uint16_t)op,
                          .narg = (uint8_t)narg,
                          .result = bbi_new_value(b),
                          .index = -1,
                          .counter = -1};
    for (int k = 0; k < narg; k++) in.arg[k] = args[k];
    *result = (bbi_operand){.space = BBI_VALUE, .number = in.result};
    return bbi_emit(b, scope, &in);
}

static bb_status add_assignment(bbi_builder_state *b, int32_t scope, bbi_step kind, int op, int32_t result,
                                const bbi_operand *args, int narg) {
    bbi_instruction in = {
        .kind = (uint8_t)kind, .op = (uint16_t)op, .narg = (uint8_t)narg, .result = result, .index = -1, .counter = -1};
    for (int k = 0; k < narg; k++) in.arg[k] = args[k];
    return bbi_emit(b, scope, &in);
}

static bbi_operand literal(double value) { return (bbi_operand){.space = BBI_LITERAL, .literal = value}; }

static int32_t component(const bbi_builder_state *b, const bbi_node *operand, int32_t index) {
    return operand->dim == 1 ? bbi_code_index(b->code, BBI_IX_CONST, 0, 0, 0) : index;
}

/* ---- leaves and values computed elsewhere ---------------------------------------------------- */
static bb_status lower_constant(bbi_builder_state *b, double value, bbi_operand *result) {
    if (bbi_is_literal(value)) {
        *result = literal(value);
        return BB_OK;
    }
    int32_t position = bbi_stage_constant(b->stage, value);
    if (position < 0) return bbi_fail(BB_INTERNAL, "plan: no room for the constant %g", value);
    *result = (bbi_operand){.space = BBI_UNIFORM, .number = bbi_ix_const(b, position)};
    return BB_OK;
}

static bb_status lower_located(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    bbi_place_in_stage place;
    if (b->epilogue && node->op == BBI_OP_REDUCE && bbi_table_get(&b->stage->fold_of, node->id, 0) >= 0)
        BBI_FORWARD(bbi_stage_read(b->stage, node, &place));
    else
        BBI_FORWARD(bbi_locate(b->stage, node, &place));
    /* place.first is an index of the stage's own numbering: a literal (>= 0) or the complement of a run-time size */
    int32_t first =
        place.first >= 0 ? bbi_ix_const(b, place.first) : bbi_code_index(b->code, BBI_IX_SIZE, 0, 0, ~place.first);
    *result = (bbi_operand){.space = place.space, .number = bbi_ix(b, BBI_IX_ADD, first, index)};
    return result->number < 0 ? BB_OUT_OF_MEMORY : BB_OK;
}

/* ---- elementwise ----------------------------------------------------------------------------- */
/* Roots and inverses per pair are good to a unit in the last place, and several times as fast. */
static int per_pair(int op) {
    switch (op) {
    case BBI_OP_sqrt: return BBI_OP_sqrtk;
    case BBI_OP_rsqrt: return BBI_OP_rsqrtk;
    case BBI_OP_inv: return BBI_OP_invk;
    default: return op;
    }
}

static bb_status lower_exponential(bbi_builder_state *b, const bbi_node *node, int32_t scope, int32_t index,
                                   bbi_operand *result) {
    const bbi_node *scale, *rest;
    bbi_operand args[2];
    BBI_FORWARD(bbi_exponent(b, node, &rest, &scale));
    BBI_FORWARD(bbi_lower(b, rest, component(b, rest, index), &args[0]));
    BBI_FORWARD(bbi_lower(b, scale, component(b, scale, index), &args[1]));
    return add_map(b, scope, BBI_OP_expk, args, 2, result);
}

static bb_status lower_map(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    int32_t scope = bbi_scope_of_index(b, index);
    if (b->native == BBI_VALUE && (node->op == BBI_OP_exp || node->op == BBI_OP_exp2))
        return lower_exponential(b, node, scope, index, result);
    if (b->native == BBI_VALUE) {
        const bbi_node *form;
        BBI_FORWARD(bbi_pair_form(b, node, &form));
        if (form) return bbi_lower(b, form, index, result);
    }
    bbi_operand args[3];
    if (node->op == BBI_OP_add) { /* f g + h */
        for (int k = 0; k < 2; k++) {
            const bbi_node *f, *g, *h = node->arg[1 - k];
            BBI_FORWARD(bbi_factors(b, node->arg[k], &f, &g));
            if (!g) continue;
            BBI_FORWARD(bbi_lower(b, f, component(b, f, index), &args[0]));
            BBI_FORWARD(bbi_lower(b, g, component(b, g, index), &args[1]));
            BBI_FORWARD(bbi_lower(b, h, component(b, h, index), &args[2]));
            return add_map(b, scope, BBI_OP_fma, args, 3, result);
        }
    }
    if (node->op == BBI_OP_sub) { /* h - f g */
        const bbi_node *f, *g, *h = node->arg[0];
        BBI_FORWARD(bbi_factors(b, node->arg[1], &f, &g));
        if (g) {
            BBI_FORWARD(bbi_lower(b, f, component(b, f, index), &args[0]));
            BBI_FORWARD(bbi_lower(b, g, component(b, g, index), &args[1]));
            BBI_FORWARD(bbi_lower(b, h, component(b, h, index), &args[2]));
            return add_map(b, scope, BBI_OP_fnma, args, 3, result);
        }
    }
    if (b->native == BBI_VALUE && (node->op == BBI_OP_mul || node->op == BBI_OP_div || node->op == BBI_OP_neg)) {
        const bbi_node *f, *g; /* a product with what stands in front of the pairs: divided by it once, there */
        BBI_FORWARD(bbi_factors(b, node, &f, &g));
        if (g) {
            BBI_FORWARD(bbi_lower(b, f, component(b, f, index), &args[0]));
            BBI_FORWARD(bbi_lower(b, g, component(b, g, index), &args[1]));
            return add_map(b, scope, BBI_OP_mul, args, 2, result);
        }
    }
    if (node->op == BBI_OP_square) { /* one operation fewer for the tables of the tiers */
        BBI_FORWARD(bbi_lower(b, node->arg[0], index, &args[0]));
        args[1] = args[0];
        return add_map(b, scope, BBI_OP_mul, args, 2, result);
    }
    for (int k = 0; k < node->narg; k++)
        BBI_FORWARD(bbi_lower(b, node->arg[k], component(b, node->arg[k], index), &args[k]));
    return add_map(b, scope, b->native == BBI_VALUE ? per_pair(node->op) : node->op, args, node->narg, result);
}

/* ---- folds over components ------------------------------------------------------------------- */
static bb_status sum_term(bbi_builder_state *b, const bbi_node *body, int32_t index, int32_t scope,
                          const bbi_operand *total, int32_t target) {
    const bbi_node *f, *g;
    bbi_operand args[3];
    BBI_FORWARD(bbi_factors(b, body, &f, &g));
    BBI_FORWARD(bbi_lower(b, f, component(b, f, index), &args[0]));
    if (!g) {
        args[1] = args[0], args[0] = *total;
        return add_assignment(b, scope, BBI_STEP_MAP, BBI_OP_add, target, args, 2);
    }
    BBI_FORWARD(bbi_lower(b, g, component(b, g, index), &args[1]));
    args[2] = *total;
    return add_assignment(b, scope, BBI_STEP_MAP, BBI_OP_fma, target, args, 3);
}

static bb_status lower_sum(bbi_builder_state *b, const bbi_node *node, bbi_operand *result) {
    const bbi_node *body = node->arg[0];
    if (body->dim <= BBI_SMALL) {
        BBI_FORWARD(bbi_lower(b, body, bbi_ix_const(b, 0), result));
        for (int64_t k = 1; k < body->dim; k++) {
            int32_t target = bbi_new_value(b);
            BBI_FORWARD(sum_term(b, body, bbi_ix_const(b, k), 0, result, target));
            *result = (bbi_operand){.space = BBI_VALUE, .number = target};
        }
        return BB_OK;
    }
    bbi_operand zero = literal(0);
    *result = (bbi_operand){.space = BBI_VALUE, .number = bbi_new_value(b)};
    BBI_FORWARD(add_assignment(b, 0, BBI_STEP_SET, 0, result->number, &zero, 1));
    int32_t scope = bbi_scope_open(b, 0, bbi_ix_size(b, body->dim));
    if (scope < 0) return BB_OUT_OF_MEMORY;
    int32_t counter = bbi_code_index(b->code, BBI_IX_COUNTER, 0, 0, b->scope[scope].counter);
    BBI_FORWARD(sum_term(b, body, counter, scope, result, result->number));
    return bbi_scope_close(b, scope);
}

/* One step of max, min (best <- better of best and x) and of argmax, argmin (best and its place). */
static bb_status selection_step(bbi_builder_state *b, int op, int32_t scope, int32_t index, const bbi_node *body,
                                bbi_operand best, bbi_operand place) {
    bool largest = op == BBI_OP_max || op == BBI_OP_argmax;
    bbi_operand x, better, args[3];
    BBI_FORWARD(bbi_lower(b, body, index, &x));
    args[0] = x, args[1] = best;
    BBI_FORWARD(add_map(b, scope, largest ? BBI_OP_gt : BBI_OP_lt, args, 2, &better));
    args[0] = better, args[1] = x, args[2] = best;
    BBI_FORWARD(add_assignment(b, scope, BBI_STEP_MAP, BBI_OP_where, best.number, args, 3));
    if (place.space != BBI_VALUE) return BB_OK;
    int64_t k;
    args[1] = bbi_ix_is_const(b, index, &k) ? literal((double)k) : (bbi_operand){.space = BBI_COUNT, .number = index};
    args[2] = place;
    return add_assignment(b, scope, BBI_STEP_MAP, BBI_OP_where, place.number, args, 3);
}

static bb_status lower_selection(bbi_builder_state *b, const bbi_node *node, bbi_operand *result) {
    const bbi_node *body = node->arg[0];
    bool largest = node->op == BBI_OP_max || node->op == BBI_OP_argmax,
         wants_place = node->op == BBI_OP_argmax || node->op == BBI_OP_argmin;
    bbi_operand start = literal(largest ? -INFINITY : INFINITY), zero = literal(0), place = literal(0);
    bbi_operand best = {.space = BBI_VALUE, .number = bbi_new_value(b)};
    BBI_FORWARD(add_assignment(b, 0, BBI_STEP_SET, 0, best.number, &start, 1));
    if (wants_place) {
        place = (bbi_operand){.space = BBI_VALUE, .number = bbi_new_value(b)};
        BBI_FORWARD(add_assignment(b, 0, BBI_STEP_SET, 0, place.number, &zero, 1));
    }
    if (body->dim <= BBI_SMALL) {
        for (int64_t k = 0; k < body->dim; k++)
            BBI_FORWARD(selection_step(b, node->op, 0, bbi_ix_const(b, k), body, best, place));
    } else {
        int32_t scope = bbi_scope_open(b, 0, bbi_ix_size(b, body->dim));
        if (scope < 0) return BB_OUT_OF_MEMORY;
        int32_t counter = bbi_code_index(b->code, BBI_IX_COUNTER, 0, 0, b->scope[scope].counter);
        BBI_FORWARD(selection_step(b, node->op, scope, counter, body, best, place));
        BBI_FORWARD(bbi_scope_close(b, scope));
    }
    *result = wants_place ? place : best;
    return BB_OK;
}

/* ---- contractions ---------------------------------------------------------------------------- */
enum { MAX_LABELS = 32, UNROLLED_PRODUCTS = 64 };

/* Row-major position of the labels in an operand whose label values are known. */
static int32_t flat_index(bbi_builder_state *b, const bbi_contraction *s, const int64_t *labels, int count,
                          const int32_t *value) {
    int32_t flat = bbi_ix_const(b, 0);
    for (int k = 0; k < count; k++) {
        int32_t size = bbi_ix_size(b, s->size[labels[k]]);
        flat = k ? bbi_ix(b, BBI_IX_ADD, bbi_ix(b, BBI_IX_MUL, flat, size), value[labels[k]]) : value[labels[k]];
    }
    return flat;
}

/* The label values of output component `index`. */
static void split_index(bbi_builder_state *b, const bbi_contraction *s, int32_t index, int32_t *value) {
    int64_t below = 1;
    for (int k = s->no - 1; k >= 0; k--) {
        int64_t size = s->size[s->lo[k]];
        int32_t high = below == 1 ? index : bbi_ix(b, BBI_IX_DIV, index, bbi_ix_size(b, below));
        value[s->lo[k]] = k == 0 ? high : bbi_ix(b, BBI_IX_MOD, high, bbi_ix_size(b, size));
        below *= size;
    }
}

static bb_status contract_term(bbi_builder_state *b, const bbi_node *node, const bbi_contraction *s,
                               const int32_t *value, int32_t scope, const bbi_operand *total, int32_t target,
                               bbi_operand *first) {
    bbi_operand args[3];
    int narg = 1;
    BBI_FORWARD(bbi_lower(b, node->arg[0], flat_index(b, s, s->la, s->na, value), &args[0]));
    if (node->narg > 1 && node->arg[1]) {
        BBI_FORWARD(bbi_lower(b, node->arg[1], flat_index(b, s, s->lb, s->nb, value), &args[1]));
        narg = 2;
    }
    if (first) {
        if (narg == 2) return add_map(b, scope, BBI_OP_mul, args, 2, first);
        *first = args[0];
        return BB_OK;
    }
    args[narg] = *total;
    return add_assignment(b, scope, BBI_STEP_MAP, narg == 2 ? BBI_OP_fma : BBI_OP_add, target, args, narg + 1);
}

static bb_status unrolled_contraction(bbi_builder_state *b, const bbi_node *node, const bbi_contraction *s,
                                      const int *summed, int nsummed, int64_t products, int32_t *value, int32_t scope,
                                      bbi_operand *result) {
    for (int64_t p = 0; p < products; p++) {
        int64_t rest = p;
        for (int k = nsummed - 1; k >= 0; k--) {
            value[summed[k]] = bbi_ix_const(b, rest % s->size[summed[k]]);
            rest /= s->size[summed[k]];
        }
        int32_t target = p ? bbi_new_value(b) : -1;
        bbi_operand total = *result;
        BBI_FORWARD(contract_term(b, node, s, value, scope, &total, target, p ? NULL : result));
        if (p) *result = (bbi_operand){.space = BBI_VALUE, .number = target};
    }
    return BB_OK;
}

static bb_status lower_contraction(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    bbi_contraction s = bbi_contraction_of(node);
    int32_t value[MAX_LABELS], scope = bbi_scope_of_index(b, index), inner = scope, opened[MAX_LABELS];
    int summed[MAX_LABELS], nsummed = 0;
    int64_t products = 1;
    if (s.nlabel > MAX_LABELS) return bbi_fail(BB_BAD_SHAPE, "contraction: at most %d axes", (int)MAX_LABELS);
    split_index(b, &s, index, value);
    for (int label = 0; label < s.nlabel; label++) {
        bool kept = false, used = false;
        for (int k = 0; k < s.no; k++) kept = kept || s.lo[k] == label;
        for (int k = 0; k < s.na; k++) used = used || s.la[k] == label;
        for (int k = 0; k < s.nb; k++) used = used || s.lb[k] == label;
        if (kept || !used) continue;
        summed[nsummed++] = label;
        products *= s.size[label];
    }
    if (products <= UNROLLED_PRODUCTS && (products <= BBI_SMALL || node->dim <= BBI_SMALL))
        return unrolled_contraction(b, node, &s, summed, nsummed, products, value, scope, result);
    bbi_operand zero = literal(0);
    *result = (bbi_operand){.space = BBI_VALUE, .number = bbi_new_value(b)};
    BBI_FORWARD(add_assignment(b, scope, BBI_STEP_SET, 0, result->number, &zero, 1));
    for (int k = 0; k < nsummed; k++) {
        inner = opened[k] = bbi_scope_open(b, inner, bbi_ix_size(b, s.size[summed[k]]));
        if (inner < 0) return BB_OUT_OF_MEMORY;
        value[summed[k]] = bbi_code_index(b->code, BBI_IX_COUNTER, 0, 0, b->scope[inner].counter);
    }
    BBI_FORWARD(contract_term(b, node, &s, value, inner, result, result->number, NULL));
    for (int k = nsummed - 1; k >= 0; k--) BBI_FORWARD(bbi_scope_close(b, opened[k]));
    return BB_OK;
}

/* ---- components elsewhere -------------------------------------------------------------------- */
static bb_status choose(bbi_builder_state *b, int32_t condition, const bbi_operand *args, bbi_operand *result) {
    bbi_instruction in = {.kind = BBI_STEP_CHOOSE,
                          .narg = 2,
                          .result = bbi_new_value(b),
                          .index = condition,
                          .counter = -1,
                          .arg = {args[0], args[1]}};
    *result = (bbi_operand){.space = BBI_VALUE, .number = in.result};
    return bbi_emit(b, bbi_scope_of_index(b, condition), &in);
}

static bb_status lower_concat(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    const bbi_node *x = node->arg[0], *y = node->arg[1];
    int64_t k;
    if (bbi_ix_is_const(b, index, &k))
        return bbi_lower(b, k < x->dim ? x : y, bbi_ix_const(b, k < x->dim ? k : k - x->dim), result);
    int32_t n = bbi_ix_size(b, x->dim), last = bbi_ix(b, BBI_IX_SUB, n, bbi_ix_const(b, 1));
    bbi_operand args[2];
    BBI_FORWARD(bbi_lower(b, x, component(b, x, bbi_ix(b, BBI_IX_MIN, index, last)), &args[0]));
    BBI_FORWARD(bbi_lower(b, y, component(b, y, bbi_ix(b, BBI_IX_SUB, bbi_ix(b, BBI_IX_MAX, index, n), n)), &args[1]));
    return choose(b, bbi_ix(b, BBI_IX_LT, index, n), args, result);
}

static bb_status lower_pad(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    const bbi_node *x = node->arg[0];
    int64_t start = node->ints[0], step = node->ints[2], k;
    if (bbi_ix_is_const(b, index, &k)) {
        bool inside = k >= start && (k - start) % step == 0 && (k - start) / step < x->dim;
        if (inside) return bbi_lower(b, x, bbi_ix_const(b, (k - start) / step), result);
        *result = literal(0);
        return BB_OK;
    }
    int32_t first = bbi_ix_size(b, start), stride = bbi_ix_size(b, step), n = bbi_ix_size(b, x->dim);
    int32_t offset = bbi_ix(b, BBI_IX_SUB, bbi_ix(b, BBI_IX_MAX, index, first), first);
    int32_t at = bbi_ix(b, BBI_IX_DIV, offset, stride),
            whole = bbi_ix(b, BBI_IX_EQ, bbi_ix(b, BBI_IX_MOD, offset, stride), bbi_ix_const(b, 0));
    int32_t inside = bbi_ix(b, BBI_IX_AND, bbi_ix(b, BBI_IX_GE, index, first),
                            bbi_ix(b, BBI_IX_AND, whole, bbi_ix(b, BBI_IX_LT, at, n)));
    bbi_operand args[2] = {{0}, literal(0)};
    int32_t safe = bbi_ix(b, BBI_IX_MIN, at, bbi_ix(b, BBI_IX_SUB, n, bbi_ix_const(b, 1)));
    BBI_FORWARD(bbi_lower(b, x, component(b, x, safe), &args[0]));
    return choose(b, inside, args, result);
}

static bb_status lower_index(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    const bbi_node *x = node->arg[0];
    if (node->op == BBI_OP_repeat) return bbi_lower(b, x, bbi_ix_const(b, 0), result);
    if (node->op == BBI_OP_concat) return lower_concat(b, node, index, result);
    if (node->op == BBI_OP_pad) return lower_pad(b, node, index, result);
    int32_t scaled = bbi_ix(b, BBI_IX_MUL, index, bbi_ix_size(b, node->ints[2]));
    return bbi_lower(b, x, component(b, x, bbi_ix(b, BBI_IX_ADD, bbi_ix_size(b, node->ints[0]), scaled)), result);
}

/* ---- dispatch -------------------------------------------------------------------------------- */
bool bbi_computed_here(const bbi_builder_state *b, const bbi_node *node) {
    if (bbi_op_info(node->op)->kind == BBI_LEAF) return false;
    uint8_t space = bbi_space_of(b->stage, node);
    if (b->epilogue) { /* values over the stage's own reductions exist nowhere else */
        if (bbi_table_get(&b->stage->plan->stage_of, node->id, 1) == b->stage - b->stage->plan->stage) return true;
        return space == BBI_ROW && bbi_table_get(&b->stage->located, node->id, 0) < 0;
    }
    return space == b->native;
}

static bb_status lower_computed(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    switch (bbi_op_info(node->op)->kind) {
    case BBI_MAP: return lower_map(b, node, index, result);
    case BBI_FOLD: return node->op == BBI_OP_sum ? lower_sum(b, node, result) : lower_selection(b, node, result);
    case BBI_CONTRACT: return lower_contraction(b, node, index, result);
    default: return bbi_fail(BB_INTERNAL, "plan: operation %s cannot be lowered", bbi_op_info(node->op)->name);
    }
}

enum { DEPTH_OF_CHAINS = 200 };

bb_status bbi_lower(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result) {
    if (index < 0) return bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory");
    if (node->op == BBI_OP_CONST) return lower_constant(b, node->value, result);
    if (node->op == BBI_OP_VAR && node->ints[0] == BBI_ONE) {
        *result = literal(1);
        return BB_OK;
    }
    if (node->op == BBI_OP_IOTA) {
        int64_t k;
        *result =
            bbi_ix_is_const(b, index, &k) ? literal((double)k) : (bbi_operand){.space = BBI_COUNT, .number = index};
        return BB_OK;
    }
    if (bbi_op_info(node->op)->kind == BBI_INDEX) return lower_index(b, node, index, result);
    if (!bbi_computed_here(b, node)) return lower_located(b, node, index, result);
    int64_t known = bbi_table_get(&b->memo, node->id, index);
    if (known >= 0) {
        *result = b->operand[known];
        return BB_OK;
    }
    BBI_FORWARD(bbi_builder_check(b));
    if (b->depth >= DEPTH_OF_CHAINS && (node->op == BBI_OP_add || node->op == BBI_OP_sub))
        BBI_FORWARD(bbi_lower_chain(b, node, index));
    b->depth++;
    bb_status status = lower_computed(b, node, index, result);
    b->depth--;
    if (status != BB_OK) return status;
    int32_t capacity = (int32_t)b->operand_capacity;
    bbi_operand *grown = bbi_grow(b->operand, b->operand_count, &capacity, sizeof *grown);
    if (!grown) return BB_OUT_OF_MEMORY;
    b->operand = grown, b->operand_capacity = capacity;
    b->operand[b->operand_count] = *result;
    return bbi_table_put(&b->memo, node->id, index, b->operand_count++);
}

/* ---- sinks ----------------------------------------------------------------------------------- */
static bb_status sink_component(bbi_builder_state *b, const bbi_node *node, bbi_step kind, int32_t scope, int32_t index,
                                int32_t target) {
    bbi_instruction in = {.kind = (uint8_t)kind, .narg = 1, .result = -1, .counter = -1, .index = target};
    const bbi_node *f = node, *g = NULL;
    if (kind != BBI_STEP_OUT) BBI_FORWARD(bbi_factors_of_sum(b, node, &f, &g));
    BBI_FORWARD(bbi_lower(b, f, component(b, f, index), &in.arg[0]));
    if (g) {
        BBI_FORWARD(bbi_lower(b, g, component(b, g, index), &in.arg[1]));
        in.narg = 2;
    }
    return target < 0 ? BB_OUT_OF_MEMORY : bbi_emit(b, scope, &in);
}

/* image: what is added to the column's sum, NULL where nothing is. */
static bb_status sink_components(bbi_builder_state *b, const bbi_node *node, const bbi_node *image, bbi_step kind,
                                 int32_t first) {
    bool loop = node->dim > BBI_SMALL;
    int32_t scope = loop ? bbi_scope_open(b, 0, bbi_ix_size(b, node->dim)) : 0;
    if (scope < 0) return BB_OUT_OF_MEMORY;
    for (int64_t k = 0; k < (loop ? 1 : node->dim); k++) {
        int32_t at = loop ? bbi_code_index(b->code, BBI_IX_COUNTER, 0, 0, b->scope[scope].counter) : bbi_ix_const(b, k);
        int32_t target = bbi_ix(b, BBI_IX_ADD, first, at);
        BBI_FORWARD(sink_component(b, node, kind, scope, at, target));
        if (image) BBI_FORWARD(sink_component(b, image, BBI_STEP_MIRROR, scope, at, target));
    }
    return loop ? bbi_scope_close(b, scope) : BB_OK;
}

bb_status bbi_lower_sink(bbi_builder_state *b, const bbi_node *node, bbi_step kind, int32_t first) {
    if (kind == BBI_STEP_SUM)
        b->code->has_sum = true;
    else
        b->code->has_out = true;
    return sink_components(b, node, NULL, kind, first);
}

bb_status bbi_lower_mirrored(bbi_builder_state *b, const bbi_node *node, const bbi_node *image, int32_t first) {
    b->code->has_sum = true;
    return sink_components(b, node, image, BBI_STEP_SUM, first);
}
