/* builder.c: one code under construction as a tree of scopes, one per loop. An instruction goes to the scope of the
 * innermost counter that it mentions; a loop is spliced into its parent when it closes, so what the parent received
 * meanwhile stands before it. */
#include "lower.h"

enum { MAX_INSTRUCTIONS = 1 << 16, MAX_INDICES = 1 << 14, MAX_DEPTH = 1000 };

static bb_status no_memory(void) { return bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory"); }

bb_status bbi_builder_open(bbi_builder_state *b, bbi_stage_builder *stage, bbi_code *code, uint8_t native) {
    *b = (bbi_builder_state){.stage = stage, .code = code, .native = native};
    b->scope = bbi_grow(NULL, 0, &b->scope_capacity, sizeof *b->scope);
    if (!b->scope) return BB_OUT_OF_MEMORY;
    b->scope[0] = (bbi_scope){.parent = -1, .counter = -1, .trip = -1, .open = true};
    b->scope_count = 1;
    return BB_OK;
}

bb_status bbi_builder_close(bbi_builder_state *b) {
    for (int32_t n = 0; n < b->scope[0].count; n++) BBI_FORWARD(bbi_code_add(b->code, &b->scope[0].list[n]));
    b->scope[0].count = 0;
    return BB_OK;
}

void bbi_builder_free(bbi_builder_state *b) {
    for (int32_t n = 0; n < b->scope_count; n++) bbi_free(b->scope[n].list);
    bbi_free(b->scope);
    bbi_free(b->operand);
    bbi_free(b->scope_of);
    bbi_table_free(&b->memo);
    *b = (bbi_builder_state){0};
}

bb_status bbi_emit(bbi_builder_state *b, int32_t scope, const bbi_instruction *instruction) {
    if (scope < 0) return BB_OUT_OF_MEMORY;
    if (++b->instruction_count > MAX_INSTRUCTIONS)
        return bbi_fail(
            BB_BAD_SHAPE,
            "the formula needs more than %d instructions per pair: write it with shorter vectors or fewer operations",
            (int)MAX_INSTRUCTIONS);
    bbi_scope *s = &b->scope[scope];
    bbi_instruction *list = bbi_grow(s->list, s->count, &s->capacity, sizeof *list);
    if (!list) return no_memory();
    s->list = list;
    s->list[s->count++] = *instruction;
    return BB_OK;
}

/* Components on demand may be demanded very often: a scan of scans asks for each many times. */
bb_status bbi_builder_check(const bbi_builder_state *b) {
    if (b->stage->stage->nsize > BBI_SIZE_SLOTS || b->code->index_count > MAX_INDICES)
        return bbi_fail(BB_BAD_SHAPE,
                        "the formula needs more than %d run-time sizes or %d indices: write it with fewer long vectors "
                        "or fewer constants",
                        (int)BBI_SIZE_SLOTS, (int)MAX_INDICES);
    if (b->depth > MAX_DEPTH)
        return bbi_fail(BB_BAD_SHAPE, "the formula is nested more than %d deep: write it with fewer operations",
                        (int)MAX_DEPTH);
    return BB_OK;
}

int32_t bbi_scope_open(bbi_builder_state *b, int32_t parent, int32_t trip) {
    bbi_scope *grown = bbi_grow(b->scope, b->scope_count, &b->scope_capacity, sizeof *grown);
    if (!grown) return -1;
    b->scope = grown;
    b->scope[b->scope_count] =
        (bbi_scope){.parent = parent, .counter = b->code->counter_count++, .trip = trip, .open = true};
    return b->scope_count++;
}

bb_status bbi_scope_close(bbi_builder_state *b, int32_t scope) {
    int32_t parent = b->scope[scope].parent;
    bbi_instruction loop = {
        .kind = BBI_STEP_LOOP, .index = b->scope[scope].trip, .counter = b->scope[scope].counter, .result = -1};
    BBI_FORWARD(bbi_emit(b, parent, &loop));
    for (int32_t n = 0; n < b->scope[scope].count; n++) BBI_FORWARD(bbi_emit(b, parent, &b->scope[scope].list[n]));
    loop.kind = BBI_STEP_END;
    BBI_FORWARD(bbi_emit(b, parent, &loop));
    b->scope[scope].open = false;
    return BB_OK;
}

static int32_t depth_of(const bbi_builder_state *b, int32_t scope) {
    int32_t depth = 0;
    for (; b->scope[scope].parent >= 0; scope = b->scope[scope].parent) depth++;
    return depth;
}

/* The operands of an index have smaller numbers: one pass forward, and no index is looked at twice. */
int32_t bbi_scope_of_index(bbi_builder_state *b, int32_t index) {
    while (b->scope_of_count <= index) {
        const bbi_index *ix = &b->code->index[b->scope_of_count];
        int32_t *grown = bbi_grow(b->scope_of, b->scope_of_count, &b->scope_of_capacity, sizeof *grown), scope = 0;
        if (!grown) {
            no_memory();
            return -1;
        }
        b->scope_of = grown;
        if (ix->op == BBI_IX_COUNTER) {
            for (int32_t n = b->scope_count - 1; n > 0 && scope == 0; n--)
                if (b->scope[n].counter == ix->value) scope = n;
        } else if (ix->op != BBI_IX_CONST && ix->op != BBI_IX_SIZE) {
            int32_t x = grown[ix->a], y = grown[ix->b];
            scope = depth_of(b, x) > depth_of(b, y) ? x : y;
        }
        b->scope_of[b->scope_of_count++] = scope;
    }
    return b->scope_of[index];
}

int32_t bbi_new_value(bbi_builder_state *b) { return b->code->value_count++; }

int32_t bbi_ix(bbi_builder_state *b, bbi_index_op op, int32_t x, int32_t y) {
    return x < 0 || y < 0 ? -1 : bbi_code_index(b->code, op, x, y, 0);
}

int32_t bbi_ix_const(bbi_builder_state *b, int64_t value) { return bbi_code_index(b->code, BBI_IX_CONST, 0, 0, value); }

int32_t bbi_ix_size(bbi_builder_state *b, int64_t value) {
    if (value <= BBI_SMALL) return bbi_ix_const(b, value);
    bbi_stage *stage = b->stage->stage;
    int64_t *size = bbi_grow(stage->size, stage->nsize, &b->stage->size_capacity, sizeof *size);
    if (!size) return -1;
    stage->size = size;
    stage->size[stage->nsize] = value;
    return bbi_code_index(b->code, BBI_IX_SIZE, 0, 0, stage->nsize++);
}

bool bbi_ix_is_const(const bbi_builder_state *b, int32_t index, int64_t *value) {
    const bbi_index *ix = &b->code->index[index];
    *value = ix->value;
    return ix->op == BBI_IX_CONST;
}
