/* emit_text.c: lines, literals and index expressions, as the kernels of all targets spell them. */
#include "emit.h"

#include <inttypes.h>
#include <math.h>

void bbi_emit_line(const bbi_emitter *e, const char *format, ...) {
    va_list arguments;
    bbi_text_add(e->text, "%*s", 4 * e->indent, "");
    va_start(arguments, format);
    bbi_text_vadd(e->text, format, arguments);
    va_end(arguments);
    bbi_text_append(e->text, "\n", 1);
}

/* Exact, and the same in every locale: the significand as an integer. */
void bbi_emit_literal(bbi_text *t, double value) {
    if (isnan(value)) {
        bbi_text_add(t, "K(BB_NAN)");
    } else if (isinf(value)) {
        bbi_text_add(t, value > 0 ? "K(BB_INF)" : "K(-BB_INF)");
    } else if (fabs(value) < 1e15 && value == floor(value)) {
        bbi_text_add(t, "K(%s%" PRId64 "e0)", signbit(value) ? "-" : "", (int64_t)fabs(value));
    } else {
        int exponent;
        int64_t significand = (int64_t)ldexp(frexp(fabs(value), &exponent), 53);
        exponent -= 53;
        while (significand % 2 == 0) {
            significand /= 2;
            exponent++;
        }
        bbi_text_add(t, "K(%s0x%" PRIx64 "p%d)", value < 0 ? "-" : "", (uint64_t)significand, exponent);
    }
}

void bbi_emit_index(const bbi_emitter *e, int32_t index, int at) {
    static const char *const infix[] = {[BBI_IX_ADD] = "+", [BBI_IX_SUB] = "-", [BBI_IX_MUL] = "*", [BBI_IX_DIV] = "/",
                                        [BBI_IX_MOD] = "%", [BBI_IX_MIN] = "<", [BBI_IX_MAX] = ">", [BBI_IX_LT] = "<",
                                        [BBI_IX_GE] = ">=", [BBI_IX_EQ] = "==", [BBI_IX_AND] = "&&"};
    const bbi_index *x = &e->code->index[index];
    switch (x->op) {
    case BBI_IX_CONST: bbi_text_add(e->text, "%" PRId64, x->value); return;
    case BBI_IX_SIZE: bbi_text_add(e->text, "n%" PRId64, x->value); return;
    case BBI_IX_COUNTER:
        if (x->value == e->counter && at) {
            bbi_text_add(e->text, "(c%" PRId64 " + %d)", x->value, at);
        } else {
            bbi_text_add(e->text, "c%" PRId64, x->value);
        }
        return;
    default: break;
    }
    bbi_text_add(e->text, "(");
    bbi_emit_index(e, x->a, at);
    bbi_text_add(e->text, " %s ", infix[x->op]);
    bbi_emit_index(e, x->b, at);
    if (x->op == BBI_IX_MIN || x->op == BBI_IX_MAX) {
        bbi_text_add(e->text, " ? ");
        bbi_emit_index(e, x->a, at);
        bbi_text_add(e->text, " : ");
        bbi_emit_index(e, x->b, at);
    }
    bbi_text_add(e->text, ")");
}

bool bbi_index_depends(const bbi_code *code, int32_t index, int32_t counter) {
    const bbi_index *x = &code->index[index];
    if (x->op == BBI_IX_COUNTER) return x->value == counter;
    if (x->op == BBI_IX_CONST || x->op == BBI_IX_SIZE) return false;
    return bbi_index_depends(code, x->a, counter) || bbi_index_depends(code, x->b, counter);
}
