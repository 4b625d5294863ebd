/* signature.c: the declared variables of a formula, in order of position, and the texts that declare one ("x
 * = Vi(3)", "x:i3"). A slot of dimension 0 is a position that nobody has declared yet. */
#include "syntax.h"

#include <string.h>

static const char *const place_letters[] = {"p", "i", "j"};

void bbi_signature_free(bbi_signature *signature) {
    for (int64_t k = 0; k < signature->count; k++) bbi_free(signature->variables[k].name);
    bbi_free(signature->variables);
    *signature = (bbi_signature){0};
}

int64_t bbi_signature_find(const bbi_signature *signature, const char *name, size_t length) {
    for (int64_t k = 0; length > 0 && k < signature->count; k++) {
        const char *known = signature->variables[k].name;
        if (known && strlen(known) == length && !memcmp(known, name, length)) return k;
    }
    return -1;
}

static bb_status reserve(bbi_signature *signature, int64_t count) {
    if (count > BBI_MAX_POSITION) {
        return bbi_fail(BB_BAD_ARGUMENT, "variable positions go from 0 to %d; found %lld", BBI_MAX_POSITION - 1,
                        (long long)count - 1);
    }
    if (count > signature->capacity) {
        int64_t capacity = count < 8 ? 8 : 2 * count;
        bbi_variable *grown = bbi_realloc(signature->variables, (size_t)capacity * sizeof *grown);
        if (!grown) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while declaring a variable");
        signature->variables = grown;
        signature->capacity = capacity;
    }
    while (signature->count < count) signature->variables[signature->count++] = (bbi_variable){0};
    return BB_OK;
}

static bb_status fail_conflict(const bbi_variable *known, int64_t position, int64_t dim, bbi_place place) {
    bool named = known->name && known->name[0];
    return bbi_fail(BB_BAD_ARGUMENT, "variable %lld%s%s%s is declared as %s%lld; here it is %s%lld",
                    (long long)position, named ? " ('" : "", named ? known->name : "", named ? "')" : "",
                    place_letters[known->place], (long long)known->dim, place_letters[place], (long long)dim);
}

/* First free position: of the variables that a text leaves unplaced. */
static int64_t free_position(const bbi_signature *signature) {
    int64_t k = 0;
    while (k < signature->count && signature->variables[k].dim) k++;
    return k;
}

bb_status bbi_signature_place(bbi_signature *signature, const char *name, size_t length, int64_t dim, bbi_place place,
                              int64_t wanted, int64_t *position) {
    if (dim < 1 || dim > INT32_MAX) {
        return bbi_fail(BB_BAD_SHAPE, "the dimension of a variable is at least 1 and below 2^31; found %lld",
                        (long long)dim);
    }
    bbi_place own_place;
    int64_t own;
    if (bbi_find_internal_variable(name, length, &own, &own_place)) {
        return bbi_fail(BB_BAD_ARGUMENT, "the name '%.*s' is reserved: choose another", (int)length, name);
    }
    int64_t named = bbi_signature_find(signature, name, length);
    if (named >= 0 && wanted >= 0 && named != wanted) {
        return bbi_fail(BB_BAD_ARGUMENT, "variable '%.*s' is declared at the positions %lld and %lld", (int)length,
                        name, (long long)named, (long long)wanted);
    }
    int64_t k = named >= 0 ? named : wanted >= 0 ? wanted : free_position(signature);
    if (k >= signature->count) BBI_FORWARD(reserve(signature, k + 1));
    bbi_variable *variable = &signature->variables[k];
    if (variable->dim && (variable->dim != dim || variable->place != place))
        return fail_conflict(variable, k, dim, place);
    if (length > 0 && variable->name && variable->name[0] && named < 0) {
        return bbi_fail(BB_BAD_ARGUMENT, "position %lld is declared twice: as '%s' and as '%.*s'", (long long)k,
                        variable->name, (int)length, name);
    }
    if (!variable->name || (length > 0 && named < 0)) {
        char *copy = bbi_calloc(length + 1, 1);
        if (!copy) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while declaring a variable");
        if (length) memcpy(copy, name, length);
        bbi_free(variable->name);
        variable->name = copy;
    }
    variable->dim = dim;
    variable->place = place;
    *position = k;
    return BB_OK;
}

bb_status bbi_signature_add(bbi_signature *signature, const char *name, size_t length, int64_t dim, bbi_place place,
                            int64_t *position) {
    return bbi_signature_place(signature, name, length, dim, place, -1, position);
}

static bb_status fail_alias(const char *text) {
    return bbi_fail(BB_BAD_SYNTAX,
                    "cannot read the declaration '%.200s': write 'x = Vi(3)', 'x = Vi(0,3)', 'x = Var(0,3,0)', 'Vi(3)' "
                    "(Vj and Pm alike) or 'x:i3'",
                    text);
}

/* Vi(3), Vi(0,3), Var(0,3,0) behind the name. */
static bb_status declare_call(bbi_signature *signature, const char *text, const bbi_syntax *call, const char *name,
                              size_t length) {
    int64_t number[3] = {0};
    const bbi_syntax *child = call->child;
    if (call->kind != BBI_SYNTAX_CALL || call->callee != BBI_CALLEE_SPECIAL || call->which > BBI_SPECIAL_PM ||
        call->pair_list) {
        return fail_alias(text);
    }
    bool full = call->which == BBI_SPECIAL_VAR;
    if (call->count > 3 || (full ? call->count != 3 : call->count < 1 || call->count > 2)) return fail_alias(text);
    for (int k = 0; k < call->count; k++, child = child->next) {
        if (child->kind != BBI_SYNTAX_INTEGER) return fail_alias(text);
        number[k] = child->integer;
    }
    int64_t position, wanted = call->count > 1 ? number[0] : -1, dim = call->count > 1 ? number[1] : number[0];
    bbi_place place = call->which == BBI_SPECIAL_VI ? BBI_I : call->which == BBI_SPECIAL_VJ ? BBI_J : BBI_P;
    if (full) {
        if (number[2] > 2) return fail_alias(text);
        place = number[2] == 0 ? BBI_I : number[2] == 1 ? BBI_J : BBI_P;
    }
    return bbi_signature_place(signature, name, length, dim, place, wanted, &position);
}

bb_status bbi_parse_alias(bbi_signature *signature, const char *text) {
    if (!text) return bbi_fail(BB_BAD_ARGUMENT, "a declaration is NULL");
    bbi_lexer lexer = {.text = text, .length = strlen(text)};
    const char *name = "";
    size_t length = 0, start = 0;
    BBI_FORWARD(bbi_lex(&lexer));
    if (lexer.kind == BBI_TOKEN_NAME) {
        bbi_lexer ahead = lexer;
        if (bbi_lex(&ahead) == BB_OK && ahead.kind == '=') {
            name = text + lexer.start;
            length = lexer.size;
            start = ahead.next;
        }
    }
    bbi_arena arena = {0};
    const bbi_syntax *tree;
    bb_status status = bbi_syntax_read(&arena, text + start, lexer.length - start, &tree);
    int64_t position;
    if (status != BB_OK) {
        status = status == BB_OUT_OF_MEMORY ? status : fail_alias(text);
    } else if (tree->next) {
        status = fail_alias(text);
    } else if (tree->kind == BBI_SYNTAX_DECLARATION && length == 0) {
        status = bbi_signature_add(signature, tree->name, tree->size, tree->integer, (bbi_place)tree->axis, &position);
    } else {
        status = declare_call(signature, text, tree, name, length);
    }
    bbi_arena_free(&arena);
    return status;
}
