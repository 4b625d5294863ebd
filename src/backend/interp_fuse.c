/* Turns the instructions of a code into actions, with their functions looked up, and frequent sequences into
 * one action.
 *
 * Fusion changes which memory is touched, never which operations are performed on which operands in which
 * order, so the bits stay those of the code. It looks at values that are defined once and used once within
 * one stretch of code (no loop boundary between); arrays of the pair code are read-only, so a read may move
 * down to the use:
 *   t = x - y; s = fma(t, t, r)                 one term of a chain; chains that continue one another are one action
 *   s = fma(x, y, r)                            likewise
 *   t = x - y; sum += t v                       one action; here and in chains t is computed again if others use it too
 *   sum_1 += t v_1; sum_2 += t v_2 ...          one pass over t
 *   a loop around one chain or one sum          one action
 *   r = ...; out = r                            written where it belongs */
#include "interp.h"

/* ---- translation of instructions ------------------------------------------------------------- */
static bbi_address address_of(const bbi_interp_builder *b, int32_t index) {
    const bbi_index *x = &b->code->index[index];
    if (x->op == BBI_IX_CONST) {
        return (bbi_address){.slot = -1, .value = x->value};
    }
    return (bbi_address){.slot = index};
}

static int32_t add_literal(bbi_interp *interp, double value) {
    const int32_t n = interp->literal_count++;
    if (interp->is_double) {
        ((double *)interp->literal)[n] = value;
    } else {
        ((float *)interp->literal)[n] = (float)value;
    }
    return n;
}

static bbi_place_operand operand_of(bbi_interp_builder *b, const bbi_operand *o) {
    bbi_place_operand r = {.space = o->space, .component = {.slot = -1, .value = o->number}};
    if (o->space == BBI_LITERAL) {
        r.component.value = add_literal(b->interp, o->literal);
    } else if (o->space == BBI_COUNT && b->code->index[o->number].op == BBI_IX_CONST) {
        r.space = BBI_LITERAL;
        r.component.value = add_literal(b->interp, (double)b->code->index[o->number].value);
    } else if (o->space != BBI_VALUE) {
        r.component = address_of(b, o->number);
    }
    return r;
}

static void choose_functions(const bbi_interp *interp, bbi_action *a) {
    for (unsigned splats = 0; splats < 8; splats++) {
        bbi_map_function *special = interp->isa->special(a->op, splats);
        a->function[splats] = special ? special : interp->isa->map[a->op];
    }
}

static void translate(bbi_interp_builder *b) {
    static const uint8_t kind[] = {
        [BBI_STEP_MAP] = BBI_ACT_MAP,   [BBI_STEP_SET] = BBI_ACT_COPY,     [BBI_STEP_CHOOSE] = BBI_ACT_CHOOSE,
        [BBI_STEP_LOOP] = BBI_ACT_LOOP, [BBI_STEP_END] = BBI_ACT_END,      [BBI_STEP_SUM] = BBI_ACT_SUM,
        [BBI_STEP_OUT] = BBI_ACT_OUT,   [BBI_STEP_MIRROR] = BBI_ACT_MIRROR};
    for (int32_t n = 0, block = 0; n < b->code->count; n++) {
        const bbi_instruction *s = &b->code->instruction[n];
        bbi_action *a = &b->interp->action[n];
        const bool loop = s->kind == BBI_STEP_LOOP || s->kind == BBI_STEP_END;
        const bool has_index = s->kind >= BBI_STEP_CHOOSE && s->kind != BBI_STEP_END;
        const bool has_result = s->kind <= BBI_STEP_CHOOSE;
        *a = (bbi_action){.kind = kind[s->kind],
                          .narg = loop ? 0 : s->narg,
                          .op = s->op,
                          .counter = s->counter,
                          .result = has_result ? s->result : -1,
                          .first_term = -1,
                          .wide = BBI_WIDE_KINDS,
                          .run = 1};
        a->index = has_index ? address_of(b, s->index) : (bbi_address){.slot = -1};
        for (int k = 0; k < a->narg; k++) {
            a->arg[k] = operand_of(b, &s->arg[k]);
            if (a->arg[k].space == BBI_VALUE) b->uses[a->arg[k].component.value]++;
        }
        if (has_result) b->defs[a->result]++;
        if (a->kind == BBI_ACT_MAP) choose_functions(b->interp, a);
        if (a->kind == BBI_ACT_MIRROR) b->interp->mirrors = true;
        block += loop;
        b->block[n] = block;
    }
}

/* ---- fusion within a stretch of code --------------------------------------------------------- */
/* The action that defines an operand, if the operand is a value defined once, in the same stretch, and used
 * `uses` times. */
static bbi_action *definition(const bbi_interp_builder *b, const bbi_place_operand *o, int32_t at, int32_t uses) {
    if (o->space != BBI_VALUE) return NULL;
    const int64_t v = o->component.value;
    const bool local =
        b->defs[v] == 1 && b->uses[v] == uses && b->defined[v] >= 0 && b->block[b->defined[v]] == b->block[at];
    return local ? &b->interp->action[b->defined[v]] : NULL;
}

static bool is_stable(const bbi_interp_builder *b, const bbi_place_operand *o) {
    return o->space != BBI_VALUE || b->defs[o->component.value] == 1;
}

/* One operand among the rows, the other among the columns. */
static bool is_row_column(const bbi_place_operand *x, const bbi_place_operand *y) {
    return (x->space == BBI_ROW && y->space == BBI_COLUMN) || (x->space == BBI_COLUMN && y->space == BBI_ROW);
}

static bool is_same_value(const bbi_place_operand *x, const bbi_place_operand *y) {
    return x->space == BBI_VALUE && y->space == BBI_VALUE && x->component.value == y->component.value;
}

static void add_term(bbi_interp_builder *b, bbi_action *chain, const bbi_place_operand *x, const bbi_place_operand *y) {
    bbi_interp *interp = b->interp;
    const int32_t n = interp->term_count++;
    const bool swap = x->space == BBI_COLUMN;
    interp->term[n] =
        (bbi_term){.row = swap ? y->component : x->component, .column = swap ? x->component : y->component, .next = -1};
    if (chain->term_count++ == 0) {
        chain->first_term = n;
        return;
    }
    int32_t last = chain->first_term;
    while (interp->term[last].next >= 0) {
        last = interp->term[last].next;
    }
    interp->term[last].next = n;
}

/* The difference of row and column that is an operand of the action at `at`, if the operand is one. */
static bbi_action *difference_of(const bbi_interp_builder *b, const bbi_place_operand *o, int32_t at) {
    bbi_action *d = o->space == BBI_VALUE ? definition(b, o, at, b->uses[o->component.value]) : NULL;
    const bool fits = d && d->kind == BBI_ACT_MAP && d->op == BBI_OP_sub && is_row_column(&d->arg[0], &d->arg[1]);
    return fits ? d : NULL;
}

static void drop_uses(bbi_interp_builder *b, bbi_action *a, int32_t uses) {
    b->uses[a->result] -= uses;
    if (b->uses[a->result] == 0) a->kind = BBI_ACT_NONE;
}

/* The difference x - y that an action squares, if it does. */
static bbi_action *squared_difference(const bbi_interp_builder *b, int32_t n) {
    const bbi_action *a = &b->interp->action[n];
    if (a->op != BBI_OP_square && !is_same_value(&a->arg[0], &a->arg[1])) return NULL;
    return difference_of(b, &a->arg[0], n);
}

/* Continues the chain that defines operand 2 of the fma, or starts one. A plain product x y heads a chain
 * only where a chain of products goes on. */
static void fuse_fma(bbi_interp_builder *b, int32_t n) {
    bbi_action *a = &b->interp->action[n];
    bbi_action *difference = squared_difference(b, n);
    if (!difference && !is_row_column(&a->arg[0], &a->arg[1])) return;
    const bbi_place_operand x = difference ? difference->arg[0] : a->arg[0],
                            y = difference ? difference->arg[1] : a->arg[1];
    bbi_action *head = definition(b, &a->arg[2], n, 1);
    const bool square = difference != NULL;
    const bool product =
        head && head->kind == BBI_ACT_MAP && head->op == BBI_OP_mul && is_row_column(&head->arg[0], &head->arg[1]);
    const bool follows = head && head->kind == BBI_ACT_CHAIN && head->square == square &&
                         (head->narg == 0 || is_stable(b, &head->arg[0]));
    bbi_action chain = {.kind = BBI_ACT_CHAIN,
                        .narg = 1,
                        .square = square,
                        .result = a->result,
                        .first_term = -1,
                        .index = {.slot = -1}};
    chain.arg[0] = a->arg[2];
    if (follows) {
        chain = *head;
        chain.result = a->result;
        head->kind = BBI_ACT_NONE;
    } else if (product && !square) {
        chain.narg = 0;
        add_term(b, &chain, &head->arg[0], &head->arg[1]);
        head->kind = BBI_ACT_NONE;
    }
    add_term(b, &chain, &x, &y);
    if (difference) drop_uses(b, difference, 2);
    *a = chain;
}

static void fuse_square(bbi_interp_builder *b, int32_t n) {
    bbi_action *a = &b->interp->action[n], *difference = squared_difference(b, n);
    if (!difference) return;
    bbi_action chain = {
        .kind = BBI_ACT_CHAIN, .square = true, .result = a->result, .first_term = -1, .index = {.slot = -1}};
    add_term(b, &chain, &difference->arg[0], &difference->arg[1]);
    drop_uses(b, difference, a->op == BBI_OP_square ? 1 : 2);
    *a = chain;
}

/* sum += v (x - y), and a sum's tile as its first operand: fma(x, y, s) = fma(y, x, s). */
static void fuse_sum(bbi_interp_builder *b, int32_t n) {
    bbi_action *a = &b->interp->action[n];
    if (a->narg < 2) return;
    for (int k = 0; k < 2; k++) {
        bbi_action *difference = difference_of(b, &a->arg[k], n);
        if (!difference || a->arg[1 - k].space != BBI_VALUE || is_same_value(&a->arg[0], &a->arg[1])) continue;
        a->arg[0] = a->arg[1 - k];
        a->arg[1] = difference->arg[0];
        a->arg[2] = difference->arg[1];
        a->narg = 3;
        drop_uses(b, difference, 1);
        break;
    }
    if (a->arg[0].space != BBI_VALUE) {
        const bbi_place_operand other = a->arg[0];
        a->arg[0] = a->arg[1];
        a->arg[1] = other;
    }
    if (a->arg[0].space != BBI_VALUE) return;
    if (a->narg == 3) {
        a->wide = a->arg[1].space == BBI_ROW ? BBI_WIDE_LANE_CAST : BBI_WIDE_CAST_LANE;
    } else if (a->arg[1].space == BBI_COLUMN) {
        a->wide = BBI_WIDE_CAST;
    }
}

static void fuse_out(bbi_interp_builder *b, int32_t n) {
    bbi_action *a = &b->interp->action[n], *source = definition(b, &a->arg[0], n, 1);
    if (!source || (source->kind != BBI_ACT_MAP && source->kind != BBI_ACT_CHAIN)) return;
    for (int k = 0; k < source->narg; k++) {
        if (!is_stable(b, &source->arg[k])) return;
    }
    const bbi_address index = a->index;
    *a = *source;
    a->to_out = true;
    a->index = index;
    source->kind = BBI_ACT_NONE;
}

/* ---- fusion of loops ------------------------------------------------------------------------- */
static bool index_uses(const bbi_code *code, int32_t index, int32_t counter) {
    const bbi_index *x = &code->index[index];
    if (x->op == BBI_IX_COUNTER) return x->value == counter;
    if (x->op == BBI_IX_CONST || x->op == BBI_IX_SIZE) return false;
    return index_uses(code, x->a, counter) || index_uses(code, x->b, counter);
}

/* x = a + b counter, where a and b do not depend on the counter. */
static bool is_linear(const bbi_code *code, int32_t index, int32_t counter) {
    const bbi_index *x = &code->index[index];
    if (x->op == BBI_IX_COUNTER || !index_uses(code, index, counter)) return true;
    if (x->op == BBI_IX_ADD || x->op == BBI_IX_SUB) {
        return is_linear(code, x->a, counter) && is_linear(code, x->b, counter);
    }
    return x->op == BBI_IX_MUL && is_linear(code, x->a, counter) && is_linear(code, x->b, counter) &&
           !(index_uses(code, x->a, counter) && index_uses(code, x->b, counter));
}

static bool is_linear_address(const bbi_code *code, bbi_address a, int32_t counter) {
    return a.slot < 0 || is_linear(code, a.slot, counter);
}

static void fuse_loop(bbi_interp_builder *b, int32_t first, int32_t end) {
    bbi_action *loop = &b->interp->action[first], *body = NULL;
    for (int32_t n = first + 1; n < end; n++) {
        bbi_action *a = &b->interp->action[n];
        if (a->kind == BBI_ACT_NONE) continue;
        if (body) return;
        body = a;
    }
    if (!body) return;
    const bbi_place_operand *x = &body->arg[0];
    const bool chain = body->kind == BBI_ACT_CHAIN && !body->to_out && body->narg == 1 && x->space == BBI_VALUE &&
                       x->component.value == body->result && body->term_count == 1;
    const bool sum = body->kind == BBI_ACT_SUM && body->wide != BBI_WIDE_KINDS && body->index.slot >= 0 &&
                     index_uses(b->code, body->index.slot, loop->counter);
    if (!chain && !sum) return;
    if (chain) {
        loop->kind = BBI_ACT_CHAIN_LOOP;
        loop->square = body->square;
        loop->result = body->result;
        loop->first_term = body->first_term;
        loop->term_count = 1;
        const bbi_term *term = &b->interp->term[body->first_term];
        loop->linear = is_linear_address(b->code, term->row, loop->counter) &&
                       is_linear_address(b->code, term->column, loop->counter);
        loop->narg = 1;
        loop->arg[0] = body->arg[0];
        body->kind = BBI_ACT_NONE;
    } else {
        loop->kind = BBI_ACT_SUM_LOOP; /* the body stays, for the transposed schedule */
    }
}

static void fuse(bbi_interp_builder *b) {
    bbi_interp *interp = b->interp;
    for (int32_t n = 0; n < interp->action_count; n++) {
        bbi_action *a = &interp->action[n];
        if (!interp->map && a->kind == BBI_ACT_MAP) {
            if (a->op == BBI_OP_fma) {
                fuse_fma(b, n);
            } else if (a->op == BBI_OP_mul || a->op == BBI_OP_square) {
                fuse_square(b, n);
            }
        } else if (!interp->map && a->kind == BBI_ACT_SUM) {
            fuse_sum(b, n);
        } else if (!interp->map && a->kind == BBI_ACT_OUT) {
            fuse_out(b, n);
        }
        if (a->result >= 0) b->defined[a->result] = n;
    }
    for (int32_t n = 0; n < interp->action_count && !interp->map; n++) {
        if (interp->action[n].kind != BBI_ACT_LOOP) continue;
        int32_t end = n + 1, inner = 0;
        for (; interp->action[end].kind != BBI_ACT_END || inner > 0; end++) {
            inner += interp->action[end].kind == BBI_ACT_LOOP;
            inner -= interp->action[end].kind == BBI_ACT_END;
        }
        fuse_loop(b, n, end);
    }
}

/* Sums of the same tile that follow one another. Their components differ: a component has one SUM. */
static void find_runs(bbi_interp *interp) {
    for (int32_t n = 0; n < interp->action_count; n++) {
        bbi_action *a = &interp->action[n];
        if (a->kind != BBI_ACT_SUM || a->wide == BBI_WIDE_KINDS) continue;
        for (; a->run < BBI_WIDE && n + a->run < interp->action_count; a->run++) {
            const bbi_action *next = a + a->run;
            if (next->kind != BBI_ACT_SUM || next->wide != a->wide || !is_same_value(&next->arg[0], &a->arg[0])) break;
        }
    }
}

/* Drops the absorbed actions and gives loops their ends. */
static bool compact(bbi_interp_builder *b) {
    bbi_interp *interp = b->interp;
    int32_t *open = bbi_alloc(((size_t)interp->action_count + 1) * sizeof *open), depth = 0, count = 0;
    if (!open) return false;
    for (int32_t n = 0; n < interp->action_count; n++) {
        bbi_action *a = &interp->action[n];
        const uint8_t kind = a->kind;
        if (kind == BBI_ACT_NONE) continue;
        interp->action[count] = *a;
        if (kind == BBI_ACT_LOOP || kind == BBI_ACT_CHAIN_LOOP || kind == BBI_ACT_SUM_LOOP) open[depth++] = count;
        count++;
        if (kind == BBI_ACT_END) interp->action[open[--depth]].end = count;
    }
    interp->action_count = count;
    bbi_free(open);
    find_runs(interp);
    return true;
}

bool bbi_interp_fuse(bbi_interp_builder *b) {
    translate(b);
    fuse(b);
    return compact(b);
}
