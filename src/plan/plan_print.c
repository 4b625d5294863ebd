/* plan_print.c: plans and code as text for people: `benben show plan`, the comment at the head of an emitted
 * kernel. */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- index expressions and code ---- */
static void print_index(bbi_text *t, const bbi_code *code, int32_t n, bool inner) {
    static const char *const infix[] = {
        [BBI_IX_ADD] = "+", [BBI_IX_SUB] = "-", [BBI_IX_MUL] = "*", [BBI_IX_DIV] = "/",  [BBI_IX_MOD] = "%",
        [BBI_IX_LT] = "<",  [BBI_IX_GE] = ">=", [BBI_IX_EQ] = "==", [BBI_IX_AND] = "and"};
    const bbi_index *x = &code->index[n];
    switch (x->op) {
    case BBI_IX_CONST: bbi_text_add(t, "%" PRId64, x->value); return;
    case BBI_IX_SIZE: bbi_text_add(t, "n[%" PRId64 "]", x->value); return;
    case BBI_IX_COUNTER: bbi_text_add(t, "c%" PRId64, x->value); return;
    case BBI_IX_MIN:
    case BBI_IX_MAX:
        bbi_text_add(t, x->op == BBI_IX_MIN ? "min(" : "max(");
        print_index(t, code, x->a, false);
        bbi_text_add(t, ", ");
        print_index(t, code, x->b, false);
        bbi_text_add(t, ")");
        return;
    default: break;
    }
    if (inner) bbi_text_add(t, "(");
    print_index(t, code, x->a, true);
    bbi_text_add(t, " %s ", infix[x->op]);
    print_index(t, code, x->b, true);
    if (inner) bbi_text_add(t, ")");
}

/* "2.5" in every locale. */
static void print_real(bbi_text *t, double value) {
    char buffer[40];
    snprintf(buffer, sizeof buffer, "%.17g", value);
    for (char *p = buffer; *p; p++) {
        bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '-' || *p == '+';
        if (!plain) *p = '.';
    }
    bbi_text_add(t, "%s", buffer);
}

static void print_operand(bbi_text *t, const bbi_code *code, const bbi_operand *o) {
    switch (o->space) {
    case BBI_VALUE: bbi_text_add(t, "%%%d", (int)o->number); return;
    case BBI_LITERAL: print_real(t, o->literal); return;
    case BBI_COUNT: print_index(t, code, o->number, true); return;
    default: break;
    }
    bbi_text_add(t, o->space == BBI_UNIFORM ? "p[" : o->space == BBI_ROW ? "x[" : "y[");
    print_index(t, code, o->number, false);
    bbi_text_add(t, "]");
}

static void print_operands(bbi_text *t, const bbi_code *code, const bbi_instruction *s, const char *separator) {
    for (int n = 0; n < s->narg; n++) {
        if (n) bbi_text_add(t, "%s", separator);
        print_operand(t, code, &s->arg[n]);
    }
}

static void print_step(bbi_text *t, const bbi_code *code, const bbi_instruction *s) {
    switch (s->kind) {
    case BBI_STEP_MAP:
        bbi_text_add(t, "%%%d = %s(", (int)s->result, bbi_op_info(s->op)->name);
        print_operands(t, code, s, ", ");
        bbi_text_add(t, ")\n");
        return;
    case BBI_STEP_SET:
        bbi_text_add(t, "%%%d := ", (int)s->result);
        print_operands(t, code, s, ", ");
        bbi_text_add(t, "\n");
        return;
    case BBI_STEP_CHOOSE:
        bbi_text_add(t, "%%%d = ", (int)s->result);
        print_index(t, code, s->index, false);
        bbi_text_add(t, " ? ");
        print_operands(t, code, s, " : ");
        bbi_text_add(t, "\n");
        return;
    case BBI_STEP_LOOP:
        bbi_text_add(t, "loop c%d < ", (int)s->counter);
        print_index(t, code, s->index, false);
        bbi_text_add(t, " {\n");
        return;
    case BBI_STEP_END: bbi_text_add(t, "}\n"); return;
    default:
        bbi_text_add(t, s->kind == BBI_STEP_OUT ? "out[" : s->kind == BBI_STEP_SUM ? "sum[" : "mirror[");
        print_index(t, code, s->index, false);
        bbi_text_add(t, s->kind == BBI_STEP_OUT ? "] = " : "] += ");
        print_operands(t, code, s, " * ");
        bbi_text_add(t, "\n");
    }
}

void bbi_code_print(bbi_text *text, const bbi_code *code) {
    int depth = 1;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_END) depth--;
        bbi_text_add(text, "%*s", 2 * depth, "");
        print_step(text, code, s);
        if (s->kind == BBI_STEP_LOOP) depth++;
    }
}

/* ---- plans ---- */
static const char *place_name(bbi_place place) {
    static const char *const names[] = {[BBI_P] = "p", [BBI_I] = "i", [BBI_J] = "j", [BBI_IJ] = "ij"};
    return names[place];
}

static void print_array(bbi_text *t, int32_t array, int32_t known, const char *kind) {
    if (array < 0) {
        bbi_text_add(t, array == BBI_SLOT ? "number of the entry" : "number of the element");
    } else if (array < known) {
        bbi_text_add(t, "%s %d", kind, (int)array);
    } else {
        bbi_text_add(t, "temporary %d", (int)(array - known));
    }
}

static void print_range(bbi_text *t, const char *space, int64_t first, int64_t dim) {
    bbi_text_add(t, "%s[%" PRId64, space, first);
    if (dim > 1) bbi_text_add(t, "..%" PRId64, first + dim - 1);
    bbi_text_add(t, "]");
}

static void print_code_part(bbi_text *t, const char *title, const bbi_code *code) {
    if (code->count == 0) return;
    bbi_text_add(t, " %s:\n", title);
    bbi_code_print(t, code);
}

static void print_fold(bbi_text *t, const bbi_fold *f, int32_t number) {
    static const char *const names[] = {
        [BBI_FAMILY_SUM] = "sum",   [BBI_FAMILY_PROD] = "prod", [BBI_FAMILY_MIN] = "min",  [BBI_FAMILY_MAX] = "max",
        [BBI_FAMILY_KMIN] = "kmin", [BBI_FAMILY_LSE] = "lse",   [BBI_FAMILY_USER] = "user"};
    bbi_text_add(t, " fold %d: %s, dimension %" PRId64, (int)number, names[f->family], f->dim);
    if (f->weight_dim) bbi_text_add(t, ", weight of dimension %" PRId64, f->weight_dim);
    if (f->k) bbi_text_add(t, ", k %" PRId64, f->k);
    bbi_text_add(t, f->sum_first >= 0 ? ", of " : ", from ");
    bool summed = f->sum_first >= 0;
    print_range(t, summed ? "sum" : "out", summed ? f->sum_first : f->out_first, f->dim + f->weight_dim);
    if (f->mirror_negative) bbi_text_add(t, ", mirror negative");
    bbi_text_add(t, f->want_index ? ", with indices\n" : "\n");
}

static void print_stage(bbi_text *t, const bbi_plan *plan, const bbi_stage *s) {
    static const char *const spaces[] = {[BBI_UNIFORM] = "p", [BBI_ROW] = "x", [BBI_COLUMN] = "y"};
    static const char *const outputs[] = {[BBI_OUT_VALUE] = "value",
                                          [BBI_OUT_INDEX] = "index",
                                          [BBI_OUT_LOGSUM] = "logsum",
                                          [BBI_OUT_RATIO] = "ratio",
                                          [BBI_OUT_MAXSUM] = "maxsum"};
    for (int32_t n = 0; n < s->nconstant; n++) {
        if (s->constant[n] == 0) continue; /* never used: 0 stands in the text */
        bbi_text_add(t, " p[%d] = ", (int)n);
        print_real(t, s->constant[n]);
        bbi_text_add(t, "\n");
    }
    for (int32_t n = 0; n < s->nsize; n++) {
        bbi_text_add(t, " n[%d] = %" PRId64 "\n", (int)n, s->size[n]);
    }
    for (int32_t n = 0; n < s->nsource; n++) {
        const bbi_source *source = &s->source[n];
        bbi_text_add(t, " ");
        print_range(t, spaces[source->space], source->first, source->dim);
        bbi_text_add(t, " = ");
        print_array(t, source->array, plan->ninput, "input");
        bbi_text_add(t, "\n");
    }
    print_code_part(t, "uniform", &s->uniform_code);
    print_code_part(t, "rows", &s->row_code);
    print_code_part(t, "columns", &s->column_code);
    print_code_part(t, "pairs", &s->pair_code);
    for (int32_t n = 0; n < s->nfold; n++) {
        print_fold(t, &s->fold[n], n);
    }
    for (int32_t n = 0; n < s->nread; n++) {
        bbi_text_add(t, " ");
        print_range(t, "x", s->read[n].first, s->read[n].dim);
        bbi_text_add(t, " = %s of fold %d\n", outputs[s->read[n].output], (int)s->read[n].fold);
    }
    print_code_part(t, "epilogue", &s->epilogue);
    for (int32_t n = 0; n < s->nresult; n++) {
        const bbi_result *r = &s->result[n];
        bbi_text_add(t, " ");
        print_array(t, r->array, plan->noutput, "output");
        bbi_text_add(t, " = ");
        if (r->fold < 0) {
            print_range(t, "x", r->first, r->dim);
        } else {
            bbi_text_add(t, "indices of fold %d", (int)r->fold);
        }
        bbi_text_add(t, "\n");
    }
}

void bbi_plan_print(bbi_text *text, const bbi_plan *plan) {
    for (int32_t n = 0; n < plan->ntemporary; n++) {
        const bbi_temporary *t = &plan->temporary[n];
        bbi_text_add(text, "temporary %d: %s, dimension %" PRId64 "%s\n", (int)n, place_name(t->place), t->dim,
                     t->index ? ", indices" : "");
    }
    for (int32_t n = 0; n < plan->nstage; n++) {
        const bbi_stage *s = &plan->stage[n];
        bbi_text_add(text, "stage %d: keeps %s", (int)n, place_name(s->kept));
        if (s->folded != BBI_P) bbi_text_add(text, ", folds %s", place_name(s->folded));
        if (s->list) {
            bbi_text_add(text, ", over pairs listed by ");
            print_array(text, s->list_array, plan->ninput, "input");
            bbi_text_add(text, " (%" PRId64 " each%s)", s->list_dim, s->list_transposed ? ", transposed" : "");
        }
        bbi_text_add(text, ", cost %.6g per pair%s\n", s->cost, s->symmetric ? ", half of the pairs" : "");
        print_stage(text, plan, s);
    }
}
