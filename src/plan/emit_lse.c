/* emit_lse.c: what a kernel does for a log-sum-exp behind each group of casts, whose values were just written to `out`:
 * it moves the base of the exponentials where a value exceeds it by more than 1, which is rare, then adds them up. The
 * fold of values from memory (fold_isa.c) takes the same steps in the same order. */
#include "emit.h"

static int64_t sum_count(const bbi_emitter *e) { return 1 + e->stage->fold->weight_dim; }

/* Copies of the code of a cast. A log-sum-exp has long code, whose casts need not stand side by side. */
int bbi_emit_unrolled(const bbi_emitter *e) { return e->selection == BBI_SELECT_LSE ? 2 : BBI_GROUP_CASTS; }

bool bbi_emit_is_weight(const bbi_emitter *e, const bbi_instruction *s) {
    return e->selection == BBI_SELECT_LSE && s->kind == BBI_STEP_OUT && e->code->index[s->index].value > 0;
}

/* Calls of v_or around a text for each vector. */
static void emit_any(const bbi_emitter *e, const char *format) {
    bbi_text_add(e->text, "v_any(");
    for (int v = 1; v < e->vectors; v++) bbi_text_add(e->text, "v_or(");
    for (int v = 0; v < e->vectors; v++) {
        bbi_text_add(e->text, v ? ", " : "");
        bbi_text_add(e->text, format, v, v);
        bbi_text_add(e->text, v ? ")" : "");
    }
    bbi_text_add(e->text, ")");
}

static void emit_far(const bbi_emitter *e) {
    emit_any(e, "v_lse_far(base_%d)");
    bbi_text_add(e->text, ";\n");
}

void bbi_emit_lse_begin(const bbi_emitter *e) {
    for (int v = 0; v < e->vectors; v++) {
        bbi_emit_line(e, "V best_%d = v_loadu(sum + %d * BB_W), base_%d = v_loadu(sum + BB_L + %d * BB_W);", v, v, v,
                      v);
        bbi_emit_line(e, "V offset_%d = v_lse_offset(base_%d);", v, v);
        for (int c = 0; c < sum_count(e); c++)
            bbi_emit_line(e, "V lse%d_%d = v_loadu(sum + %d * BB_L + %d * BB_W);", c, v, 2 + c, v);
    }
    bbi_text_add(e->text, "%*sint far = ", 4 * e->indent, "");
    emit_far(e);
}

/* The OUT step of component c. */
static const bbi_operand *operand_of(const bbi_emitter *e, int64_t c) {
    const bbi_code *code = e->code;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_OUT && code->index[s->index].value == c) return &s->arg[0];
    }
    return NULL;
}

static void emit_terms(bbi_emitter *e) {
    if (e->unroll) bbi_text_add(e->text, "#pragma GCC unroll %d\n", bbi_emit_unrolled(e));
    bbi_emit_line(e, "for (I64 q = %s; q < %s; q++) {", e->from, e->to);
    e->indent++;
    for (int v = 0; v < e->vectors; v++) {
        bbi_emit_line(e, "const V e_%d = v_lse_term(v_loadu(out + (q - %s) * BB_L + %d * BB_W), offset_%d);", v,
                      e->from, v, v);
        bbi_emit_line(e, "lse0_%d += e_%d;", v, v);
    }
    for (int c = 1; c < sum_count(e); c++) {
        const bbi_operand *weight = operand_of(e, c);
        for (int v = 0; v < e->vectors; v++) {
            bbi_text_add(e->text, "%*slse%d_%d = v_fma(e_%d, ", 4 * e->indent, "", c, v, v);
            if (weight->space == BBI_VALUE)
                bbi_text_add(e->text, "v_loadu(out + (q - %s + %d * out_stride) * BB_L + %d * BB_W)", e->from, c, v);
            else
                bbi_emit_operand(e, weight, v, 0);
            bbi_text_add(e->text, ", lse%d_%d);\n", c, v);
        }
    }
    e->indent--;
    bbi_emit_line(e, "}");
}

/* Through memory: best and base where they stand between calls. */
static void emit_moves(bbi_emitter *e) {
    bbi_emit_line(e, "R factor[%d * BB_W];", e->vectors);
    for (int v = 0; v < e->vectors; v++) {
        bbi_emit_line(e, "v_storeu(sum + %d * BB_W, best_%d);", v, v);
        bbi_emit_line(e, "v_storeu(sum + BB_L + %d * BB_W, base_%d);", v, v);
    }
    bbi_emit_line(e, "v_lse_moves(sum, sum + BB_L, factor, %d);", e->vectors);
    for (int v = 0; v < e->vectors; v++) {
        bbi_emit_line(e, "base_%d = v_loadu(sum + BB_L + %d * BB_W), offset_%d = v_lse_offset(base_%d);", v, v, v, v);
        for (int c = 0; c < sum_count(e); c++) bbi_emit_line(e, "lse%d_%d *= v_loadu(factor + %d * BB_W);", c, v, v);
    }
    bbi_text_add(e->text, "%*sfar = ", 4 * e->indent, "");
    emit_far(e);
}

void bbi_emit_lse_group(bbi_emitter *e) {
    bbi_text_add(e->text, "%*sif (__builtin_expect(", 4 * e->indent, "");
    emit_any(e, "v_lse_moved(best_%d, base_%d)");
    bbi_text_add(e->text, ", 0)) {\n");
    e->indent++;
    emit_moves(e);
    e->indent--;
    bbi_emit_line(e, "}");
    bbi_emit_line(e, "if (__builtin_expect(far, 0)) v_lse_shift(out, BB_L, %s - %s, sum + BB_L, %d);", e->to, e->from,
                  e->vectors);
    bbi_forget_loads(e);
    emit_terms(e);
}

void bbi_emit_lse_end(const bbi_emitter *e) {
    for (int v = 0; v < e->vectors; v++) {
        bbi_emit_line(e, "v_storeu(sum + %d * BB_W, best_%d);", v, v);
        bbi_emit_line(e, "v_storeu(sum + BB_L + %d * BB_W, base_%d);", v, v);
        for (int c = 0; c < sum_count(e); c++)
            bbi_emit_line(e, "v_storeu(sum + %d * BB_L + %d * BB_W, lse%d_%d);", 2 + c, v, c, v);
    }
}
