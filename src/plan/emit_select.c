/* emit_select.c: what a kernel does for minima, maxima and the K smallest, while the values are in registers.
 *
 * A plain minimum is accumulated like a sum. Where indices are wanted, a value costs one v_minx: each vector takes the
 * best of a group of casts, and one comparison with what was known before tells whether somebody has to look at the
 * values: the vectors of a block share one branch, their hits are listed without. A minimum improves within the call;
 * the limit of the K smallest is that of the call's beginning.
 *
 * v_minx and v_maxx give their second operand where one is NaN: values that are NaN do nothing, a limit that is NaN
 * stays, and is not equal to itself: everything is a hit then.
 *
 * Short code that the K smallest are selected from is not worth keeping its values: the smallest of each group is
 * kept. */
#include "emit.h"

bbi_selection bbi_stage_selection(const bbi_stage *stage) {
    const bbi_fold *fold = stage->fold;
    bool lse = fold && fold->family == BBI_FAMILY_LSE;
    int64_t wanted = 1 + (lse ? fold->weight_dim : 0);
    if (stage->list || stage->nfold != 1 || stage->sum_count != 0 || stage->out_count != wanted || fold->dim != 1)
        return BBI_SELECT_NONE;
    const bbi_code *code = &stage->pair_code;
    int depth = 0, outs = 0;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        depth += (s->kind == BBI_STEP_LOOP) - (s->kind == BBI_STEP_END);
        if (s->kind != BBI_STEP_OUT) continue;
        if (depth > 0 || outs++ == wanted || code->index[s->index].op != BBI_IX_CONST) return BBI_SELECT_NONE;
    }
    if (lse) return outs == wanted && wanted <= 1 + BBI_LSE_WEIGHTS ? BBI_SELECT_LSE : BBI_SELECT_NONE;
    bool extreme = fold->family == BBI_FAMILY_MIN || fold->family == BBI_FAMILY_MAX;
    if (outs == 0 || !(extreme || fold->family == BBI_FAMILY_KMIN)) return BBI_SELECT_NONE;
    if (!extreme) return code->counter_count == 0 ? BBI_SELECT_LEAST : BBI_SELECT_HITS;
    return fold->want_index ? BBI_SELECT_HITS : BBI_SELECT_BEST;
}

static void declare(const bbi_emitter *e, const char *name) {
    for (int v = 0; v < e->vectors; v++) bbi_emit_line(e, "V %s_%d = v_loadu(sum + %d * BB_W);", name, v, v);
}

void bbi_emit_select_begin(const bbi_emitter *e) {
    if (e->selection == BBI_SELECT_LSE) bbi_emit_lse_begin(e);
    if (e->selection == BBI_SELECT_BEST) declare(e, "best");
    if (e->selection != BBI_SELECT_HITS) return;
    declare(e, "limit");
    bbi_emit_line(e, "I64 hits = hit[0];");
}

void bbi_emit_select_tile(const bbi_emitter *e) {
    for (int v = 0; v < e->vectors && e->selection == BBI_SELECT_LEAST; v++)
        bbi_emit_line(e, "V best_%d = K(BB_INF);", v);
    for (int v = 0; v < e->vectors && e->selection == BBI_SELECT_HITS; v++)
        bbi_emit_line(e, "V best_%d = limit_%d;", v, v);
}

void bbi_emit_select_open(const bbi_emitter *e, int v) {
    bool max = e->stage->fold[0].family == BBI_FAMILY_MAX || e->selection == BBI_SELECT_LSE;
    bbi_text_add(e->text, "best_%d = %s(", v, max ? "v_maxx" : "v_minx");
}

void bbi_emit_select_close(const bbi_emitter *e, int v) { bbi_text_add(e->text, ", best_%d);\n", v); }

void bbi_emit_select_hits(bbi_emitter *e) {
    if (e->selection == BBI_SELECT_LSE) bbi_emit_lse_group(e);
    for (int v = 0; v < e->vectors && e->selection == BBI_SELECT_LEAST; v++)
        bbi_emit_line(e, "v_storeu(sum + %s / %d * BB_L + %d * BB_W, best_%d);", e->from, BBI_LEAST_CASTS, v, v);
    if (e->selection != BBI_SELECT_HITS) return;
    for (int v = 0; v < e->vectors; v++) bbi_emit_line(e, "const VM better_%d = v_ne(best_%d, limit_%d);", v, v, v);
    bbi_text_add(e->text, "%*sif (__builtin_expect(v_any(", 4 * e->indent, "");
    for (int v = 1; v < e->vectors; v++) bbi_text_add(e->text, "v_or(");
    for (int v = 0; v < e->vectors; v++) bbi_text_add(e->text, v ? ", better_%d)" : "better_%d", v);
    bbi_text_add(e->text, "), 0)) {\n");
    for (int v = 0; v < e->vectors; v++) {
        bbi_emit_line(e, "    const I64 bits_%d = v_bits(better_%d);", v, v);
        bbi_emit_line(e, "    hit[1 + hits] = bits_%d << 32 | %s << 16 | (%s - %s) << 8 | (first + %d * BB_W);", v,
                      e->from, e->to, e->from, v);
        bbi_emit_line(e, "    hits += bits_%d != 0;", v);
        if (e->stage->fold[0].family != BBI_FAMILY_KMIN) bbi_emit_line(e, "    limit_%d = best_%d;", v, v);
    }
    bbi_emit_line(e, "}");
}

void bbi_emit_select_end(const bbi_emitter *e) {
    if (e->selection == BBI_SELECT_LSE) bbi_emit_lse_end(e);
    if (e->selection == BBI_SELECT_HITS) bbi_emit_line(e, "hit[0] = hits;");
    for (int v = 0; v < e->vectors && e->selection == BBI_SELECT_BEST; v++)
        bbi_emit_line(e, "v_storeu(sum + %d * BB_W, best_%d);", v, v);
}
