/* emit_gpu_user.c: reductions of the caller's own in kernels for graphics processors. Their formulas are printed as functions
 * of private arrays, which are registers once they are inlined and their loops unrolled: what a formula is computed from
 * (state, value, other state) is copied to the `row` of its plan, from which its result is taken (see bbi_custom). The
 * literals of a definition are in the text. A block of pairs changes the states of its rows in the order of its columns;
 * states of parts are merged in the computing type. */
#include "emit_gpu.h"

#include <inttypes.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
#define L(x) ((long long)(x))

static const bbi_custom *custom_of(const bbi_gpu *g, int k) {
    return &g->options->custom[g->e.stage->fold[k].user];
}

static bool is_user(const bbi_gpu *g, int k) { return g->e.stage->fold[k].family == BBI_FAMILY_USER; }

int64_t bbi_gpu_user_state(const bbi_gpu *g, int k) { return custom_of(g, k)->state_dim; }

int bbi_gpu_user_codes(const bbi_stage *stage, const bbi_custom *custom, const bbi_code **codes, int count) {
    for (int32_t k = 0; k < stage->nfold; k++) {
        if (stage->fold[k].family != BBI_FAMILY_USER) continue;
        const bbi_custom *u = &custom[stage->fold[k].user];
        const bbi_plan *const plan[] = {u->init, u->step, u->merge, u->finish};
        for (int n = 0; n < 4; n++) {
            codes[count++] = &plan[n]->stage[0].uniform_code;
            codes[count++] = &plan[n]->stage[0].epilogue;
        }
    }
    return count;
}

/* Values of a loop cannot be gathered for a step without an array in memory. */
bool bbi_gpu_takes_user(const bbi_stage *stage, const bbi_fold *fold) {
    static const int64_t zeros[1024];
    const bbi_code *code = &stage->pair_code;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind != BBI_STEP_OUT || code->index[s->index].op == BBI_IX_CONST) continue;
        int64_t c = bbi_index_value(code, s->index, stage->size, zeros);
        if (c >= fold->out_first && c < fold->out_first + fold->dim) return false;
    }
    return true;
}

/* ---- a formula as a function ---- */
static void emit_uniform(bbi_gpu *g, const bbi_stage *stage) {
    static const bbi_gpu_spaces spaces = {.uniform = {"uniform[", "]"},
                                          .row = {"uniform[", "]"},
                                          .column = {"uniform[", "]"},
                                          .out = {"uniform[", "] = "},
                                          .behind = "",
                                          .entry = -1,
                                          .known = true};
    LINE("V uniform[%lld];", L(stage->uniform_count > 0 ? stage->uniform_count : 1));
    for (int32_t k = 0; k < stage->nconstant; k++) {
        bbi_text_add(g->e.text, "    uniform[%d] = ", (int)k);
        bbi_emit_literal(g->e.text, stage->constant[k]);
        bbi_text_add(g->e.text, ";\n");
    }
    if (!stage->uniform_code.count) return;
    LINE("{");
    bbi_gpu_print_code(g, &stage->uniform_code, &spaces);
    LINE("}");
}

static void emit_formula(bbi_gpu *g, int k, const char *name, const bbi_plan *plan) {
    static const bbi_gpu_spaces spaces = {.uniform = {"uniform[", "]"},
                                          .row = {"row[", "]"},
                                          .column = {"row[", "]"},
                                          .out = {"row[", "] = "},
                                          .behind = "",
                                          .entry = -1,
                                          .known = true};
    static const char *const from[] = {"state", "given", "other"};
    const bbi_stage *own = g->e.stage, *stage = &plan->stage[0];
    const bbi_code *code = g->e.code;
    LINE("BB_INLINE void bb_user%d_%s(const V *state, const V *given, const V *other, V *result)", k, name);
    LINE("{");
    g->e.indent = 1;
    g->e.stage = stage;
    emit_uniform(g, stage);
    LINE("V row[%lld];", L(stage->row_count > 0 ? stage->row_count : 1));
    for (int32_t n = 0; n < stage->nsource; n++)
        LINE("BB_EACH(d, %lld) row[%lld + d] = %s[d];", L(stage->source[n].dim), L(stage->source[n].first),
             from[stage->source[n].array]);
    LINE("{");
    bbi_gpu_print_code(g, &stage->epilogue, &spaces);
    LINE("}");
    LINE("BB_EACH(d, %lld) result[d] = row[%lld + d];", L(stage->result[0].dim), L(stage->result[0].first));
    g->e.indent = 0;
    LINE("}");
    g->e.stage = own;
    g->e.code = code;
}

void bbi_gpu_emit_user(bbi_gpu *g, bool around) {
    for (int k = 0; k < g->e.stage->nfold; k++) {
        if (!is_user(g, k)) continue;
        const bbi_custom *u = custom_of(g, k);
        if (!around) emit_formula(g, k, "init", u->init);
        if (!around) emit_formula(g, k, "step", u->step);
        if (around) emit_formula(g, k, "merge", u->merge);
        if (around) emit_formula(g, k, "finish", u->finish);
    }
}

/* ---- in the kernel of pairs ---- */
void bbi_gpu_begin_user(const bbi_gpu *g, int k) {
    LINE("V u%d[BB_ROWS][%lld];", k, L(bbi_gpu_user_state(g, k)));
    LINE("BB_EACH(r, BB_ROWS) bb_user%d_init(0, 0, 0, u%d[r]);", k, k);
}

/* Behind a block: what its pairs put out. */
void bbi_gpu_step_user(const bbi_gpu *g) {
    for (int k = 0; k < g->e.stage->nfold; k++) {
        const bbi_fold *f = &g->e.stage->fold[k];
        if (!is_user(g, k)) continue;
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) {", g->casts);
        LINE("    V given[%lld];", L(f->dim));
        for (int64_t c = 0; c < f->dim; c++) LINE("    given[%lld] = o%lld[r][u];", L(c), L(f->out_first + c));
        LINE("    bb_user%d_step(u%d[r], given, 0, u%d[r]);", k, k, k);
        LINE("}");
    }
}

void bbi_gpu_end_user(const bbi_gpu *g, int k) {
    LINE("BB_EACH(r, BB_ROWS) BB_EACH(d, %lld) BB_VALUE(%lld + d, r) = (A)u%d[r][d];", L(bbi_gpu_user_state(g, k)),
         L(g->layout->value_first[k]), k);
}

/* ---- behind them ---- */
static void load_state(const bbi_gpu *g, int k, const char *name, const char *part) {
    LINE("BB_EACH(d, %lld) %s[d] = (V)BB_V(%s, %lld + d);", L(bbi_gpu_user_state(g, k)), name, part,
         L(g->layout->value_first[k]));
}

void bbi_gpu_merge_user(bbi_gpu *g, int k) {
    int64_t state = bbi_gpu_user_state(g, k);
    LINE("{");
    g->e.indent++;
    LINE("V state[%lld], other[%lld];", L(state), L(state));
    load_state(g, k, "state", "into");
    LINE("for (I64 p = into + step; p < last; p += step) {");
    g->e.indent++;
    load_state(g, k, "other", "p");
    LINE("bb_user%d_merge(state, 0, other, state);", k);
    g->e.indent--;
    LINE("}");
    LINE("BB_EACH(d, %lld) BB_V(into, %lld + d) = (A)state[d];", L(state), L(g->layout->value_first[k]));
    g->e.indent--;
    LINE("}");
}

void bbi_gpu_finish_user(bbi_gpu *g, const bbi_read *read) {
    int k = read->fold;
    LINE("{");
    g->e.indent++;
    LINE("V state[%lld], result[%lld];", L(bbi_gpu_user_state(g, k)), L(read->dim));
    load_state(g, k, "state", "0");
    LINE("bb_user%d_finish(state, 0, 0, result);", k);
    LINE("BB_EACH(d, %lld) row[(%lld + d) * stride] = (R)result[d];", L(read->dim), L(read->first));
    g->e.indent--;
    LINE("}");
}
