/* parse.c: formulas of users: text to nodes over a signature. The reading itself stands in lex.c (tokens),
 * syntax.c (trees), callee.c (names) and elaborate.c (nodes); here a text is taken as a whole, and the
 * signature is left as it was when the text is refused. */
#include "syntax.h"

#include <string.h>

/* Which positions had a variable, and which a name, before a text was read: what a refused text added is taken
 * back. */
typedef struct snapshot {
    int64_t count;
    bool *was_named, *was_declared;
} snapshot;

static bb_status take(const bbi_signature *signature, snapshot *s) {
    s->count = signature->count;
    s->was_named = bbi_calloc((size_t)s->count, 2 * sizeof *s->was_named);
    if (!s->was_named) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while reading a formula");
    s->was_declared = s->was_named + s->count;
    for (int64_t k = 0; k < s->count; k++) {
        const bbi_variable *v = &signature->variables[k];
        s->was_named[k] = v->name && v->name[0];
        s->was_declared[k] = v->dim > 0;
    }
    return BB_OK;
}

static void restore(bbi_signature *signature, const snapshot *s) {
    for (int64_t k = 0; k < signature->count; k++) {
        bbi_variable *v = &signature->variables[k];
        bool known = k < s->count;
        if (known && s->was_named[k]) continue;
        if (known && s->was_declared[k]) {
            if (v->name) v->name[0] = '\0';
            continue;
        }
        bbi_free(v->name);
        *v = (bbi_variable){0};
    }
    signature->count = s->count;
}

/* Positions must be used without gaps: a program takes one array per position. */
static bb_status check_gaps(const bbi_signature *signature) {
    for (int64_t k = 0; k < signature->count; k++) {
        if (signature->variables[k].dim) continue;
        return bbi_fail(BB_BAD_ARGUMENT,
                        "variables are declared up to position %lld, but none at position %lld: number them "
                        "from 0, without "
                        "gaps",
                        (long long)signature->count - 1, (long long)k);
    }
    return BB_OK;
}

static bb_status parse(bbi_scope *scope, const bbi_node **outputs, int64_t max_outputs, int64_t *noutput) {
    bbi_arena arena = {0};
    const bbi_syntax *formulas;
    bb_status status = bbi_syntax_read(&arena, scope->text, scope->length, &formulas);
    if (status == BB_OK) status = bbi_elaborate(scope, formulas, outputs, max_outputs, noutput);
    if (status == BB_OK) status = check_gaps(scope->signature);
    bbi_arena_free(&arena);
    return status;
}

bb_status bbi_parse(bbi_context *c, const char *text, bbi_signature *signature, const bbi_parse_options *options,
                    const bbi_node **outputs, int64_t max_outputs, int64_t *noutput) {
    *noutput = 0;
    if (!text) return bbi_fail(BB_BAD_ARGUMENT, "the formula is NULL");
    bbi_signature none = {0};
    bbi_scope scope = {
        .c = c, .text = text, .length = strlen(text), .signature = signature ? signature : &none, .options = options};
    snapshot before = {0};
    BBI_FORWARD(take(scope.signature, &before));
    bb_status status = parse(&scope, outputs, max_outputs, noutput);
    if (status != BB_OK) {
        restore(scope.signature, &before);
        *noutput = 0;
    } else if (!signature && none.count) {
        status =
            bbi_fail(BB_BAD_ARGUMENT, "the formula declares variables, but the caller gave no signature to hold them");
    }
    bbi_free(before.was_named);
    bbi_signature_free(&none);
    return status;
}
