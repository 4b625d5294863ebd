/* Makes a code ready for the interpreter: instructions become actions (interp_fuse.c), index expressions that
 * can be known early are evaluated early, values share tile buffers. */
#include "interp.h"

#include <string.h>

static void choose_tables(bbi_interp *interp, int level) {
#define TABLES(isa_level)                                                                                              \
    interp->isa = interp->is_double ? &bbi_interp_isa_##isa_level##_1 : &bbi_interp_isa_##isa_level##_0;               \
    interp->strands = interp->is_double ? &bbi_strand_isa_##isa_level##_1 : &bbi_strand_isa_##isa_level##_0;           \
    return;
    switch (level < BBI_HAVE_ISA ? level : BBI_HAVE_ISA) {
#if BBI_HAVE_ISA >= 2
    case 2: TABLES(2)
#endif
#if BBI_HAVE_ISA >= 1
    case 1: TABLES(1)
#endif
    default: TABLES(0)
    }
#undef TABLES
}

/* ---- index expressions: when to evaluate which ----------------------------------------------- */
static void mark_used(const bbi_interp_builder *b, bbi_address address) {
    if (address.slot >= 0 && b->level[address.slot] == -3) b->level[address.slot] = -1;
}

static void mark_all_used(const bbi_interp_builder *b) {
    const bbi_interp *interp = b->interp;
    for (int32_t n = 0; n < interp->action_count; n++) {
        const bbi_action *a = &interp->action[n];
        mark_used(b, a->index);
        for (int k = 0; k < a->narg; k++) {
            if (a->arg[k].space != BBI_VALUE) mark_used(b, a->arg[k].component);
        }
    }
    for (int32_t n = 0; n < interp->term_count; n++) {
        mark_used(b, interp->term[n].row);
        mark_used(b, interp->term[n].column);
    }
    for (int32_t n = interp->index_count; n-- > 0;) { /* operands stand before what uses them */
        const bbi_index *x = &interp->index[n];
        if (b->level[n] == -3 || x->op == BBI_IX_CONST || x->op == BBI_IX_SIZE || x->op == BBI_IX_COUNTER) continue;
        mark_used(b, (bbi_address){.slot = x->a});
        mark_used(b, (bbi_address){.slot = x->b});
    }
}

/* The loop, by its place among the actions, that an index expression changes with. */
static void find_levels(const bbi_interp_builder *b) {
    const bbi_interp *interp = b->interp;
    for (int32_t n = 0; n < interp->index_count; n++) {
        const bbi_index *x = &interp->index[n];
        interp->initial[n] = x->op == BBI_IX_CONST ? x->value : 0;
        if (b->level[n] == -3 || x->op == BBI_IX_SIZE) continue;
        if (x->op == BBI_IX_CONST) {
            b->level[n] = -2;
        } else if (x->op == BBI_IX_COUNTER) {
            for (int32_t k = 0; k < interp->action_count; k++) {
                const bbi_action *a = &interp->action[k];
                if (a->end > 0 && a->counter == x->value) b->level[n] = k;
            }
        } else {
            const int32_t la = b->level[x->a], lb = b->level[x->b], l = la > lb ? la : lb;
            b->level[n] = l > -1 ? l : -1;
        }
    }
}

static int32_t list_nodes(const bbi_interp_builder *b, int32_t level) {
    bbi_interp *interp = b->interp;
    const int32_t first = interp->node_count;
    for (int32_t n = 0; n < interp->index_count; n++) {
        if (b->level[n] == level) interp->node[interp->node_count++] = n;
    }
    return interp->node_count - first;
}

static void schedule_indices(bbi_interp_builder *b) {
    bbi_interp *interp = b->interp;
    for (int32_t n = 0; n < interp->index_count; n++) {
        b->level[n] = -3;
    }
    mark_all_used(b);
    find_levels(b);
    interp->outer_nodes = list_nodes(b, -1);
    for (int32_t n = 0; n < interp->action_count; n++) {
        bbi_action *a = &interp->action[n];
        if (a->end == 0) continue;
        a->first_node = interp->node_count;
        a->node_count = list_nodes(b, n);
    }
}

/* ---- values to buffers: linear scan ---------------------------------------------------------- */
/* A value that lives across the boundary of a loop lives to the end of the loop. */
static void touch(bbi_interp_builder *b, int64_t value, int32_t at, const int32_t *open, int32_t depth) {
    if (b->defined[value] < 0) b->defined[value] = at;
    int32_t last = at;
    for (int32_t d = depth; d-- > 0;) {
        if (open[d] > b->defined[value]) last = b->interp->action[open[d]].end - 1;
    }
    if (last > b->last[value]) b->last[value] = last;
}

static bool find_lifetimes(bbi_interp_builder *b) {
    const bbi_interp *interp = b->interp;
    int32_t *open = bbi_alloc(((size_t)interp->action_count + 1) * sizeof *open), depth = 0;
    if (!open) return false;
    for (int32_t v = 0; v < b->code->value_count; v++) {
        b->defined[v] = b->last[v] = b->buffer[v] = -1;
    }
    for (int32_t n = 0; n < interp->action_count; n++) {
        const bbi_action *a = &interp->action[n];
        for (int k = 0; k < a->narg; k++) {
            if (a->arg[k].space == BBI_VALUE) touch(b, a->arg[k].component.value, n, open, depth);
        }
        if (a->result >= 0) touch(b, a->result, n, open, depth);
        if (a->end > 0) open[depth++] = n;
        if (a->kind == BBI_ACT_END) depth--;
    }
    bbi_free(open);
    return true;
}

/* An operand whose last use this is may hand its buffer to the result: operations read an element before they
 * write it. */
static void assign_buffers(bbi_interp_builder *b) {
    bbi_interp *interp = b->interp;
    int32_t free_count = 0;
    for (int32_t n = 0; n < interp->action_count; n++) {
        b->first_ending[n] = -1;
    }
    for (int32_t v = 0; v < b->code->value_count; v++) {
        if (b->last[v] < 0) continue;
        b->next_ending[v] = b->first_ending[b->last[v]];
        b->first_ending[b->last[v]] = v;
    }
    for (int32_t n = 0; n < interp->action_count; n++) {
        bbi_action *a = &interp->action[n];
        for (int k = 0; k < a->narg; k++) {
            if (a->arg[k].space == BBI_VALUE) a->arg[k].component.value = b->buffer[a->arg[k].component.value];
        }
        for (int32_t v = b->first_ending[n]; v >= 0; v = b->next_ending[v]) {
            if (b->buffer[v] >= 0) b->free_buffer[free_count++] = b->buffer[v];
        }
        if (a->result < 0) continue;
        const int32_t v = a->result;
        if (b->buffer[v] < 0) {
            b->buffer[v] = free_count > 0 ? b->free_buffer[--free_count] : interp->buffer_count++;
            if (b->last[v] == n) b->free_buffer[free_count++] = b->buffer[v];
        }
        a->result = b->buffer[v];
    }
}

/* ---- making and freeing ---------------------------------------------------------------------- */
static bool allocate(bbi_interp_builder *b) {
    const bbi_code *code = b->code;
    bbi_interp *interp = b->interp;
    const size_t count = (size_t)code->count + 1, values = (size_t)code->value_count + 1,
                 indices = (size_t)code->index_count + 1;
    interp->action = bbi_alloc(count * sizeof *interp->action);
    interp->term = bbi_alloc(2 * count * sizeof *interp->term);
    interp->index = bbi_alloc(indices * sizeof *interp->index);
    interp->initial = bbi_alloc(indices * sizeof *interp->initial);
    interp->node = bbi_alloc(indices * sizeof *interp->node);
    interp->literal = bbi_alloc(3 * count * sizeof(double));
    b->uses = bbi_calloc(values, 6 * sizeof *b->uses);
    b->block = bbi_alloc(2 * count * sizeof *b->block);
    b->level = bbi_alloc(indices * sizeof *b->level);
    if (!interp->action || !interp->term || !interp->index || !interp->initial || !interp->node || !interp->literal ||
        !b->uses || !b->block || !b->level) {
        return false;
    }
    b->defs = b->uses + values;
    b->defined = b->defs + values;
    b->last = b->defined + values;
    b->buffer = b->last + values;
    b->next_ending = b->buffer + values;
    b->first_ending = b->block + count;
    b->free_buffer = b->uses; /* counts of uses are no longer needed when buffers are assigned */
    return true;
}

/* Outputs 1, 2, ... that are components of the columns, one behind the other. */
static void find_copies(bbi_interp *interp, const bbi_code *code) {
    int64_t copies = 0, first = 0;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind != BBI_STEP_OUT) continue;
        const bbi_index *to = &code->index[s->index], *from = to;
        const bool column = s->arg[0].space == BBI_COLUMN;
        if (to->op == BBI_IX_CONST && to->value == 0 && !column) continue;
        if (column) from = &code->index[s->arg[0].number];
        if (to->op != BBI_IX_CONST || to->value == 0 || !column || from->op != BBI_IX_CONST) return;
        if (copies++ == 0) first = from->value - (to->value - 1);
        if (from->value - (to->value - 1) != first) return;
    }
    interp->copies = copies;
    interp->first_copy = first;
}

static bool build(bbi_interp_builder *b) {
    const bbi_code *code = b->code;
    if (!allocate(b)) return false;
    if (code->index_count > 0) memcpy(b->interp->index, code->index, (size_t)code->index_count * sizeof *code->index);
    b->interp->index_count = code->index_count;
    b->interp->counter_count = code->counter_count;
    b->interp->action_count = code->count;
    for (int32_t v = 0; v < code->value_count; v++) {
        b->defined[v] = -1;
    }
    if (!b->interp->map) find_copies(b->interp, code);
    if (!bbi_interp_fuse(b)) return false;
    if (!b->interp->map && !bbi_interp_make_strands(b)) return false;
    schedule_indices(b);
    if (!find_lifetimes(b)) return false;
    bbi_interp_strand_lives(b);
    assign_buffers(b);
    bbi_interp_strand_buffers(b);
    return true;
}

/* Few buffers: longer tiles, so that a step is started less often; all of them together stay in the
 * first-level cache. Multiples of BBI_GROUP_CASTS. */
static int64_t casts_of_tile(int32_t buffers) { return buffers <= 2 ? 48 : buffers <= 6 ? 24 : 16; }

bbi_interp *bbi_interp_new(const bbi_code *code, int level, bool is_double, bool map, int64_t sum_count) {
    bbi_interp *interp = bbi_calloc(1, sizeof *interp);
    if (!interp) return NULL;
    interp->map = map;
    interp->is_double = is_double;
    choose_tables(interp, level);
    interp->sum_count = sum_count;
    bbi_interp_builder b = {.code = code, .interp = interp};
    const bool built = build(&b);
    bbi_free(b.uses);
    bbi_free(b.block);
    bbi_free(b.level);
    if (!built) {
        bbi_interp_free(interp);
        return NULL;
    }
    interp->tile_casts = casts_of_tile(interp->buffer_count);
    return interp;
}

void bbi_interp_free(bbi_interp *interp) {
    if (!interp) return;
    bbi_free(interp->action);
    bbi_free(interp->term);
    bbi_free(interp->index);
    bbi_free(interp->initial);
    bbi_free(interp->node);
    bbi_free(interp->literal);
    bbi_free(interp->link);
    bbi_free(interp);
}
