/* emit_prelude.c: what stands before an emitted kernel: the vocabulary of the CPU, those blocks of the
 * elementary functions that the code's operations need, and one inline function per operation. The texts of
 * the prelude are embedded by the build. A block of math.h and of the files behind it opens with a line
 * "name ... : needed ..." in a marked comment and ends where the next begins, or with its file. */
#include "emit.h"

#include <string.h>

extern const char bbi_prelude_cpu[], bbi_prelude_math[], bbi_prelude_math_trig[], bbi_prelude_math_special[];

enum { MAX_BLOCKS = 128 };
typedef struct bbi_block {
    const char *names, *needs, *text; /* names end at ':', needs at the end of the comment */
    size_t length;
    bool closes; /* its file */
    bool used;
} bbi_block;

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The next word of the text at *at and before limit; its length, 0 at the end. */
static size_t next_word(const char **at, const char *limit, const char **word) {
    const char *p = *at;
    while (p < limit && !is_word(*p)) p++;
    *word = p;
    while (p < limit && is_word(*p)) p++;
    *at = p;
    return (size_t)(p - *word);
}

/* Appends the blocks of a file to the `count` that are there: how many there are then, -1 where one has no head. */
static int split_blocks(const char *text, bbi_block *blocks, int count) {
    static const char mark[] = "/*@";
    for (const char *p = strstr(text, mark); p && count < MAX_BLOCKS;) {
        const char *next = strstr(p + 1, mark), *colon = strchr(p, ':'), *close = strstr(p, "*/");
        if (!colon || !close || colon > close) return -1;
        blocks[count++] = (bbi_block){
            .names = p + sizeof mark - 1,
            .needs = colon + 1,
            .text = p,
            .length = next ? (size_t)(next - p) : strlen(p),
            .closes = !next,
        };
        p = next;
    }
    return count;
}

static void use_block(bbi_block *blocks, int count, const char *word, size_t length) {
    for (int n = 0; n < count; n++) {
        const char *at = blocks[n].names, *name;
        for (size_t size; (size = next_word(&at, blocks[n].needs, &name)) != 0;) {
            if (size != length || memcmp(name, word, length) != 0 || blocks[n].used) continue;
            blocks[n].used = true;
            const char *need = blocks[n].needs, *limit = strstr(need, "*/"), *other;
            for (size_t other_size; (other_size = next_word(&need, limit, &other)) != 0;) {
                use_block(blocks, count, other, other_size);
            }
        }
    }
}

static void print_operation(bbi_text *t, const bbi_op_row *row) {
    static const char *const operands[] = {"void", "V a", "V a, V b", "V a, V b, V c"};
    bbi_text_add(t, "BB_INLINE V op_%s(%s) { return %s; }\n", row->name, operands[row->arity], row->value);
}

static bb_status print_prelude(bbi_text *text, const bool *used, bool lse, const bbi_emit_options *options) {
    bbi_block blocks[MAX_BLOCKS];
    const char *const files[] = {bbi_prelude_math, bbi_prelude_math_trig, bbi_prelude_math_special};
    int count = 0;
    for (int n = 0; n < 3 && count >= 0; n++) count = split_blocks(files[n], blocks, count);
    if (count < 0) return bbi_fail(BB_INTERNAL, "the prelude's blocks cannot be told apart");
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        if (!used[op]) continue;
        const char *at = bbi_op_info(op)->value, *limit = at + strlen(at), *word;
        for (size_t size; (size = next_word(&at, limit, &word)) != 0;) {
            use_block(blocks, count, word, size);
        }
    }
    if (lse) use_block(blocks, count, "v_lse_term", strlen("v_lse_term"));
    bbi_text_add(text, "#define BB_DOUBLE %d\n#ifndef BB_ISA\n#define BB_ISA %d\n#endif\n", (int)options->is_double,
                 options->level);
    bbi_text_append(text, bbi_prelude_cpu, strlen(bbi_prelude_cpu));
    for (int n = 0; n < count; n++) {
        if (!blocks[n].used) continue;
        bbi_text_append(text, blocks[n].text, blocks[n].length);
        if (blocks[n].closes && n + 1 < count) bbi_text_add(text, "\n"); /* the blank line that stands between blocks */
    }
    bbi_text_add(text, "\n");
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        if (used[op]) print_operation(text, bbi_op_info(op));
    }
    return BB_OK;
}

bb_status bbi_emit_prelude(bbi_text *text, const bbi_code *code, bbi_selection selection,
                           const bbi_emit_options *options) {
    bool used[BBI_OP_COUNT] = {false};
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_MAP) used[s->op] = true;
        if ((s->kind == BBI_STEP_SUM || s->kind == BBI_STEP_MIRROR) && s->narg == 2) used[BBI_OP_fma] = true;
    }
    return print_prelude(text, used, selection == BBI_SELECT_LSE, options);
}

bb_status bbi_emit_whole_prelude(bbi_text *text, const bbi_emit_options *options) {
    bool used[BBI_OP_COUNT];
    for (int op = 0; op < BBI_OP_COUNT; op++) used[op] = bbi_op_info(op)->kind == BBI_MAP;
    return print_prelude(text, used, true, options);
}
