/* builder.c: one code under construction as a tree of scopes, one per loop. An instruction goes to the scope of the innermost counter that it
 * mentions; a loop is spliced into its parent when it closes, so what the parent received meanwhile stands before it. */
#include "lower.h"

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
    bbi_table_free(&b->memo);
    *b = (bbi_builder_state){0};
}

bb_status bbi_emit(bbi_builder_state *b, int32_t scope, const bbi_instruction *instruction) {
    bbi_scope *s = &b->scope[scope];
    bbi_instruction *list = bbi_grow(s->list, s->count, &s->capacity, sizeof *list);
    if (!list) return no_memory();
    s->list = list;
    s->list[s->count++] = *instruction;
    return BB_OK;
}

int32_t bbi_scope_open(bbi_builder_state *b, int32_t parent, int32_t trip) {
    bbi_scope *grown = bbi_grow(b->scope, b->scope_count, &b->scope_capacity, sizeof *grown);
    if (!grown) return -1;
    b->scope = grown;
    b->scope[b->scope_count] = (bbi_scope){.parent = parent, .counter = b->code->counter_count++, .trip = trip, .open = true};
    return b->scope_count++;
}

bb_status bbi_scope_close(bbi_builder_state *b, int32_t scope) {
    int32_t parent = b->scope[scope].parent;
    bbi_instruction loop = {.kind = BBI_STEP_LOOP, .index = b->scope[scope].trip, .counter = b->scope[scope].counter, .result = -1};
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

int32_t bbi_scope_of_index(const bbi_builder_state *b, int32_t index) {
    const bbi_index *ix = &b->code->index[index];
    if (ix->op == BBI_IX_CONST || ix->op == BBI_IX_SIZE) return 0;
    if (ix->op == BBI_IX_COUNTER) {
        for (int32_t n = b->scope_count - 1; n > 0; n--)
            if (b->scope[n].counter == ix->value) return n;
        return 0;
    }
    int32_t x = bbi_scope_of_index(b, ix->a), y = bbi_scope_of_index(b, ix->b);
    return depth_of(b, x) > depth_of(b, y) ? x : y;
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
