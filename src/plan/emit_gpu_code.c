/* emit_gpu_code.c: a code as the body of a function of one element or of one pair, for the kernels that do not work on
 * blocks of pairs. Where the components of its spaces stand is the caller's matter (`bbi_gpu_spaces`). */
#include "emit_gpu.h"

#include <inttypes.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)

static bool depends_on_a_loop(const bbi_code *code, int32_t index) {
    for (int32_t c = 0; c < code->counter_count; c++)
        if (bbi_index_depends(code, index, c)) return true;
    return false;
}

static bool is_entry(const bbi_gpu *g, const bbi_operand *o, const bbi_gpu_spaces *spaces) {
    return o->space == BBI_ROW && spaces->entry >= 0 && !depends_on_a_loop(g->e.code, o->number) &&
           bbi_gpu_component(g, o->number) == spaces->entry;
}

static void print_place(const bbi_gpu *g, const char *const around[2], int32_t index) {
    bbi_text_add(g->e.text, "%s", around[0]);
    bbi_emit_index(&g->e, index, 0);
    bbi_text_add(g->e.text, "%s", around[1]);
}

void bbi_gpu_print_operand(const bbi_gpu *g, const bbi_operand *o, const bbi_gpu_spaces *spaces) {
    static const char *const count[] = {"K(", ")"};
    if (is_entry(g, o, spaces)) {
        bbi_text_add(g->e.text, "K(entry)");
        return;
    }
    switch (o->space) {
    case BBI_VALUE: bbi_text_add(g->e.text, "a%d", (int)o->number); return;
    case BBI_LITERAL: bbi_emit_literal(g->e.text, o->literal); return;
    case BBI_COUNT: print_place(g, count, o->number); return;
    case BBI_UNIFORM: print_place(g, spaces->uniform, o->number); return;
    case BBI_ROW: print_place(g, spaces->row, o->number); return;
    default: print_place(g, spaces->column, o->number); return;
    }
}

static void print_value(const bbi_gpu *g, const bbi_instruction *s, const bbi_gpu_spaces *spaces) {
    bbi_text *t = g->e.text;
    if (s->kind == BBI_STEP_MAP) bbi_text_add(t, "op_%s(", bbi_op_info(s->op)->name);
    if (s->kind == BBI_STEP_CHOOSE) {
        bbi_emit_index(&g->e, s->index, 0);
        bbi_text_add(t, " ? ");
    }
    for (int n = 0; n < s->narg; n++) {
        if (n) bbi_text_add(t, s->kind == BBI_STEP_CHOOSE ? " : " : ", ");
        bbi_gpu_print_operand(g, &s->arg[n], spaces);
    }
    if (s->kind == BBI_STEP_MAP) bbi_text_add(t, ")");
}

static void print_step(bbi_gpu *g, const bbi_instruction *s, const bbi_gpu_spaces *spaces) {
    bbi_text *t = g->e.text;
    if (s->kind == BBI_STEP_END) {
        g->e.indent--;
        LINE("}");
        return;
    }
    bbi_text_add(t, "%*s", 4 * g->e.indent, "");
    if (s->kind == BBI_STEP_LOOP) {
        bbi_text_add(t, "for (int c%d = 0; c%d < ", (int)s->counter, (int)s->counter);
        bbi_emit_index(&g->e, s->index, 0);
        bbi_text_add(t, "; c%d++) {\n", (int)s->counter);
        g->e.indent++;
        return;
    }
    if (s->kind == BBI_STEP_OUT)
        print_place(g, spaces->out, s->index);
    else
        bbi_text_add(t, "a%d = ", (int)s->result);
    print_value(g, s, spaces);
    bbi_text_add(t, "%s;\n", s->kind == BBI_STEP_OUT ? spaces->behind : "");
}

static bool names_size(const bbi_code *code, int64_t slot) {
    for (int32_t n = 0; n < code->index_count; n++)
        if (code->index[n].op == BBI_IX_SIZE && code->index[n].value == slot) return true;
    return false;
}

void bbi_gpu_print_code(bbi_gpu *g, const bbi_code *code, const bbi_gpu_spaces *spaces) {
    g->e.code = code;
    for (int32_t slot = 0; slot < g->e.stage->nsize; slot++) {
        if (!names_size(code, slot)) continue;
        if (spaces->known)
            LINE("const int n%d = %" PRId64 ";", (int)slot, g->e.stage->size[slot]);
        else
            LINE("const int n%d = (int)size[%d];", (int)slot, (int)slot);
    }
    for (int32_t v = 0; v < code->value_count; v++) LINE("V a%d;", (int)v);
    for (int32_t n = 0; n < code->count; n++) print_step(g, &code->instruction[n], spaces);
}
