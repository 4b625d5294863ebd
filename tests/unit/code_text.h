/* code_text.h: pair code written as bbi_code_print prints it, for tests:
 *
 *   %0 = sub(x[0], y[0])
 *   %1 := 0
 *   loop c0 < n[0] {
 *     %1 = fma(x[c0 + 1], y[c0 + 1], %1)
 *   }
 *   %2 = c0 < 3 ? x[c0] : 0
 *   sum[0] += %1 * y[3]
 *   out[1] = %0
 *
 * A malformed text ends the test program with a message. */
#ifndef CODE_TEXT_H
#define CODE_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/plan/plan.h"

typedef struct reader {
    const char *at, *text;
    bbi_code *code;
} reader;

static inline void reader_fail(const reader *r, const char *what) {
    fprintf(stderr, "code_text.h: %s expected at \"%.30s\" of\n%s\n", what, r->at, r->text);
    abort();
}

static inline bool take(reader *r, const char *word) {
    while (*r->at == ' ') r->at++;
    size_t n = strlen(word);
    if (strncmp(r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

static inline void need(reader *r, const char *word) {
    if (!take(r, word)) reader_fail(r, word);
}

static inline int64_t read_int(reader *r) {
    char *end;
    long long value = strtoll(r->at, &end, 10);
    if (end == r->at) reader_fail(r, "integer");
    r->at = end;
    return value;
}

static inline int32_t read_index(reader *r);

static inline int32_t read_index_leaf(reader *r) {
    if (take(r, "n[")) {
        int32_t n = bbi_code_index(r->code, BBI_IX_SIZE, 0, 0, read_int(r));
        need(r, "]");
        return n;
    }
    if (take(r, "c")) {
        int64_t counter = read_int(r);
        if (counter >= r->code->counter_count) r->code->counter_count = (int32_t)counter + 1;
        return bbi_code_index(r->code, BBI_IX_COUNTER, 0, 0, counter);
    }
    bool min = take(r, "min("), max = !min && take(r, "max(");
    if (min || max) {
        int32_t a = read_index(r);
        need(r, ",");
        int32_t b = read_index(r);
        need(r, ")");
        return bbi_code_index(r->code, min ? BBI_IX_MIN : BBI_IX_MAX, a, b, 0);
    }
    if (take(r, "(")) {
        int32_t n = read_index(r);
        need(r, ")");
        return n;
    }
    take(r, "");
    return bbi_code_index(r->code, BBI_IX_CONST, 0, 0, read_int(r));
}

static inline int32_t read_index(reader *r) {
    static const struct {
        const char *text;
        bbi_index_op op;
    } infix[] = {{"+ ", BBI_IX_ADD}, {"- ", BBI_IX_SUB}, {"* ", BBI_IX_MUL}, {"/ ", BBI_IX_DIV},  {"% ", BBI_IX_MOD},
                 {"< ", BBI_IX_LT},  {">= ", BBI_IX_GE}, {"== ", BBI_IX_EQ}, {"and ", BBI_IX_AND}};
    int32_t a = read_index_leaf(r);
    for (size_t n = 0; n < sizeof infix / sizeof *infix; n++) {
        if (take(r, infix[n].text)) return bbi_code_index(r->code, infix[n].op, a, read_index_leaf(r), 0);
    }
    return a;
}

static inline bbi_operand read_operand(reader *r) {
    bbi_operand o = {0};
    if (take(r, "%")) {
        o.space = BBI_VALUE;
        o.number = (int32_t)read_int(r);
        return o;
    }
    int space = take(r, "p[") ? BBI_UNIFORM : take(r, "x[") ? BBI_ROW : take(r, "y[") ? BBI_COLUMN : -1;
    if (space >= 0) {
        o.space = (uint8_t)space;
        o.number = read_index(r);
        need(r, "]");
        return o;
    }
    if (*r->at == 'c' || *r->at == 'n' || *r->at == '(') {
        o.space = BBI_COUNT;
        o.number = read_index_leaf(r);
        return o;
    }
    char *end;
    o.space = BBI_LITERAL;
    o.literal = strtod(r->at, &end);
    if (end == r->at) reader_fail(r, "operand");
    r->at = end;
    return o;
}

static inline void read_result(reader *r, bbi_instruction *s) {
    s->result = (int32_t)read_int(r);
    if (s->result >= r->code->value_count) r->code->value_count = s->result + 1;
    if (take(r, ":=")) {
        take(r, "");
        s->kind = BBI_STEP_SET;
        s->arg[s->narg++] = read_operand(r);
        return;
    }
    need(r, "=");
    take(r, "");
    const char *name = r->at;
    size_t length = strcspn(name, "(?\n");
    int op = name[length] == '(' ? bbi_op_find(name, length) : -1;
    if (op < 0) {
        s->kind = BBI_STEP_CHOOSE;
        s->index = read_index(r);
        need(r, "?");
        take(r, "");
        s->arg[s->narg++] = read_operand(r);
        need(r, ":");
        take(r, "");
        s->arg[s->narg++] = read_operand(r);
        return;
    }
    s->kind = BBI_STEP_MAP;
    s->op = (uint16_t)op;
    r->at += length + 1;
    do {
        take(r, "");
        s->arg[s->narg++] = read_operand(r);
    } while (take(r, ","));
    need(r, ")");
}

static inline void read_step(reader *r) {
    bbi_instruction s = {0};
    if (take(r, "}")) {
        s.kind = BBI_STEP_END;
    } else if (take(r, "loop c")) {
        s.kind = BBI_STEP_LOOP;
        s.counter = (int32_t)read_int(r);
        if (s.counter >= r->code->counter_count) r->code->counter_count = s.counter + 1;
        need(r, "<");
        s.index = read_index(r);
        need(r, "{");
    } else if (take(r, "sum[")) {
        s.kind = BBI_STEP_SUM;
        s.index = read_index(r);
        need(r, "] +=");
        do {
            take(r, "");
            s.arg[s.narg++] = read_operand(r);
        } while (take(r, "*"));
    } else if (take(r, "out[")) {
        s.kind = BBI_STEP_OUT;
        s.index = read_index(r);
        need(r, "] =");
        take(r, "");
        s.arg[s.narg++] = read_operand(r);
    } else {
        need(r, "%");
        read_result(r, &s);
    }
    if (bbi_code_add(r->code, &s) != BB_OK) abort();
}

/* The code of a text; to be freed with bbi_code_free. */
static inline bbi_code code_of_text(const char *text) {
    bbi_code code = {0};
    reader r = {.at = text, .text = text, .code = &code};
    for (;;) {
        while (*r.at == '\n' || *r.at == ' ') r.at++;
        if (!*r.at) return code;
        read_step(&r);
    }
}

#endif
