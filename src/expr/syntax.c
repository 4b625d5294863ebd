/* syntax.c: the grammar of formulas, both spellings in one, with Python's precedence:
 *
 *   text       = formula { ";" formula } [ ";" ]
 *   formula    = and { "or" and }          and = not { "and" not }      not = "not" not | comparison
 *   comparison = dot [ ( "<" | ">" | "<=" | ">=" | "==" | "!=" ) dot ]  dot = sum { "|" sum }
 *   sum        = product { ( "+" | "-" ) product }
 *   product    = prefix { ( "*" | "/" | "//" | "%" ) prefix }
 *   prefix     = ( "-" | "+" ) prefix | primary [ "**" prefix ]
 *   primary    = number | name | name ":" ( "i" | "j" | "p" ) dimension | "(" formula ")" | list
 *              | name "(" [ formula { "," formula } ] [ ";" formula ] ")"
 *   list       = "[" [ formula { "," formula } ] "]" | "(" formula "," [ formula { "," formula } ] ")"
 *
 * Operators of one precedence make one flat chain, so that a sum of many thousand terms needs no deep recursion;
 * what does recur (parentheses, calls, prefixes) is counted and bounded. */
#include "syntax.h"

#include <string.h>

typedef struct reader {
    bbi_lexer lexer;
    bbi_arena *arena;
    int depth;
} reader;

enum { OR_LEVEL = 1, AND_LEVEL, NOT_LEVEL, COMPARISON_LEVEL, DOT_LEVEL, SUM_LEVEL, PRODUCT_LEVEL, PREFIX_LEVEL };

static bbi_syntax *read_binary(reader *r, int level);

static int precedence(int token) {
    switch (token) {
    case BBI_TOKEN_OR: return OR_LEVEL;
    case BBI_TOKEN_AND: return AND_LEVEL;
    case '<':
    case '>':
    case BBI_TOKEN_LESS_EQUAL:
    case BBI_TOKEN_GREATER_EQUAL:
    case BBI_TOKEN_EQUAL:
    case BBI_TOKEN_NOT_EQUAL: return COMPARISON_LEVEL;
    case '|': return DOT_LEVEL;
    case '+':
    case '-': return SUM_LEVEL;
    case '*':
    case '/':
    case '%':
    case BBI_TOKEN_FLOOR_DIVIDE: return PRODUCT_LEVEL;
    default: return 0;
    }
}

static bbi_syntax *fail(const reader *r, size_t place, const char *message) {
    bbi_fail_at(BB_BAD_SYNTAX, r->lexer.text, r->lexer.length, place, "%s", message);
    return NULL;
}

static bool advance(reader *r) { return bbi_lex(&r->lexer) == BB_OK; }

static bbi_syntax *new_tree(reader *r, bbi_syntax_kind kind, size_t place) {
    bbi_syntax *tree = bbi_arena_alloc(r->arena, sizeof *tree);
    if (!tree) {
        bbi_fail(BB_OUT_OF_MEMORY, "out of memory while reading a formula");
        return NULL;
    }
    tree->kind = (uint8_t)kind;
    tree->place = tree->op_place = (uint32_t)place;
    return tree;
}

/* Expected-but-found, shared by every place that misses a token. */
static bbi_syntax *fail_expected(const reader *r, const char *expected) {
    const bbi_lexer *x = &r->lexer;
    if (x->kind == BBI_TOKEN_END)
        bbi_fail_at(BB_BAD_SYNTAX, x->text, x->length, x->start, "expected %s, found the end", expected);
    else {
        bbi_fail_at(BB_BAD_SYNTAX, x->text, x->length, x->start, "expected %s, found '%.*s'", expected, (int)x->size,
                    x->text + x->start);
    }
    return NULL;
}

/* Items between brackets, separated by commas, up to the closing character; in calls one more item may stand
 * after a semicolon. */
static bool read_items(reader *r, bbi_syntax *tree, int closing, int limit) {
    const bbi_syntax **link = &tree->child;
    bool separated = false;
    while (r->lexer.kind != closing || separated) {
        bbi_syntax *item = read_binary(r, OR_LEVEL);
        if (!item) return false;
        if (++tree->count > limit) return fail(r, item->place, "too many items");
        *link = item;
        link = &item->next;
        if (r->lexer.kind == closing) break;
        bool semicolon = r->lexer.kind == ';' && tree->kind == BBI_SYNTAX_CALL && !tree->pair_list;
        if (tree->pair_list || !(semicolon || r->lexer.kind == ',')) {
            return fail_expected(r, closing == ')' ? "',' or ')'" : "',' or ']'");
        }
        tree->pair_list = semicolon;
        separated = true;
        if (!advance(r)) return false;
    }
    return advance(r);
}

/* The part behind the colon of x:i3. */
static bbi_syntax *read_declaration(reader *r, bbi_syntax *name) {
    if (!advance(r)) return NULL;
    const bbi_lexer *x = &r->lexer;
    const char *word = x->text + x->start;
    const char *help = "expected i, j or p and a dimension, as in x:i3";
    if (x->kind != BBI_TOKEN_NAME || x->size < 2 || x->size > 10) return fail(r, x->start, help);
    if (*word != 'i' && *word != 'j' && *word != 'p') return fail(r, x->start, help);
    for (size_t k = 1; k < x->size; k++) {
        if (word[k] < '0' || word[k] > '9') return fail(r, x->start, help);
        name->integer = 10 * name->integer + (word[k] - '0');
    }
    name->kind = BBI_SYNTAX_DECLARATION;
    name->axis = *word == 'i' ? BBI_I : *word == 'j' ? BBI_J : BBI_P;
    return advance(r) ? name : NULL;
}

static bbi_syntax *read_name(reader *r) {
    bbi_syntax *tree = new_tree(r, BBI_SYNTAX_NAME, r->lexer.start);
    if (!tree) return NULL;
    tree->name = bbi_arena_strndup(r->arena, r->lexer.text + r->lexer.start, r->lexer.size);
    tree->size = (uint32_t)r->lexer.size;
    if (!tree->name) {
        bbi_fail(BB_OUT_OF_MEMORY, "out of memory while reading a formula");
        return NULL;
    }
    if (!advance(r)) return NULL;
    if (r->lexer.kind == ':') return read_declaration(r, tree);
    if (r->lexer.kind != '(') return tree;
    tree->kind = BBI_SYNTAX_CALL;
    if (!advance(r) || !read_items(r, tree, ')', BBI_MAX_CALL)) return NULL;
    if (tree->size == 3 && !memcmp(tree->name, "Ind", 3)) { /* KeOps's older spelling of lists */
        tree->kind = BBI_SYNTAX_LIST;
        return tree;
    }
    bbi_resolve_call(tree);
    return tree;
}

static bbi_syntax *read_number(reader *r) {
    bool integer = r->lexer.kind == BBI_TOKEN_INTEGER;
    bbi_syntax *tree = new_tree(r, integer ? BBI_SYNTAX_INTEGER : BBI_SYNTAX_REAL, r->lexer.start);
    if (!tree) return NULL;
    tree->integer = r->lexer.integer;
    tree->real = r->lexer.real;
    return advance(r) ? tree : NULL;
}

/* ( expression ), or a tuple, which is a list. */
static bbi_syntax *read_parenthesis(reader *r) {
    size_t place = r->lexer.start;
    bbi_syntax *first = advance(r) ? read_binary(r, OR_LEVEL) : NULL;
    if (!first) return NULL;
    if (r->lexer.kind == ')') return advance(r) ? first : NULL;
    if (r->lexer.kind != ',') return fail_expected(r, "')'");
    bbi_syntax *tree = new_tree(r, BBI_SYNTAX_LIST, place);
    if (!tree || !advance(r)) return NULL;
    if (!read_items(r, tree, ')', BBI_MAX_INTS - 1)) return NULL;
    first->next = tree->child;
    tree->child = first;
    tree->count++;
    return tree;
}

static bbi_syntax *read_primary(reader *r) {
    switch (r->lexer.kind) {
    case BBI_TOKEN_INTEGER:
    case BBI_TOKEN_REAL: return read_number(r);
    case BBI_TOKEN_NAME: return read_name(r);
    case '(': return read_parenthesis(r);
    case '[': {
        bbi_syntax *tree = new_tree(r, BBI_SYNTAX_LIST, r->lexer.start);
        return tree && advance(r) && read_items(r, tree, ']', BBI_MAX_INTS) ? tree : NULL;
    }
    default: return fail_expected(r, "an expression");
    }
}

/* Links the operand behind an operator; a chain of the same precedence made just before is continued. */
static bbi_syntax *join(reader *r, bbi_syntax *chain, bbi_syntax *left, bbi_syntax **last, bbi_syntax *right) {
    if (!chain) {
        chain = new_tree(r, BBI_SYNTAX_CHAIN, left->place);
        if (!chain) return NULL;
        chain->child = left;
        chain->count = 1;
        *last = left;
    }
    (*last)->next = right;
    *last = right;
    chain->count++;
    return chain;
}

static bbi_syntax *read_power(reader *r, bbi_syntax *base);

/* Prefix operators and the primary under them. */
static bbi_syntax *read_prefix(reader *r, int level) {
    if (++r->depth > BBI_MAX_NESTING) return fail(r, r->lexer.start, "the formula is nested too deep");
    int kind = r->lexer.kind;
    size_t place = r->lexer.start;
    bbi_syntax *tree = NULL;
    if (kind == '-' || kind == '+' || kind == BBI_TOKEN_NOT) {
        if (kind == BBI_TOKEN_NOT && level > NOT_LEVEL) return fail(r, place, "'not' needs parentheses here");
        bbi_syntax *child = !advance(r)             ? NULL
                            : kind == BBI_TOKEN_NOT ? read_binary(r, NOT_LEVEL)
                                                    : read_prefix(r, PREFIX_LEVEL);
        if (child && kind != '+') {
            tree = new_tree(r, BBI_SYNTAX_PREFIX, place);
            if (tree) {
                tree->which = (int16_t)kind;
                tree->child = child;
                tree->count = 1;
            }
        } else {
            tree = child;
        }
    } else {
        tree = read_primary(r);
        if (tree && r->lexer.kind == BBI_TOKEN_POWER) tree = read_power(r, tree);
    }
    r->depth--;
    return tree;
}

/* base ** exponent: the exponent is a prefix expression, which makes the operator associate to the right. */
static bbi_syntax *read_power(reader *r, bbi_syntax *base) {
    size_t place = r->lexer.start;
    bbi_syntax *exponent = advance(r) ? read_prefix(r, PREFIX_LEVEL) : NULL, *last = NULL;
    if (!exponent) return NULL;
    exponent->op = BBI_TOKEN_POWER;
    exponent->op_place = (uint32_t)place;
    return join(r, NULL, base, &last, exponent);
}

static bbi_syntax *read_binary(reader *r, int level) {
    bbi_syntax *left = read_prefix(r, level), *chain = NULL, *last = NULL;
    int chain_level = 0, here;
    while (left && (here = precedence(r->lexer.kind)) >= level && here > 0) {
        int op = r->lexer.kind;
        size_t place = r->lexer.start;
        if (chain_level != here) chain = NULL;
        if (chain && here == COMPARISON_LEVEL)
            return fail(r, place, "comparisons do not chain: write (a < b) and (b < c)");
        bbi_syntax *right = advance(r) ? read_binary(r, here + 1) : NULL;
        if (!right) return NULL;
        right->op = (int16_t)op;
        right->op_place = (uint32_t)place;
        left = chain = join(r, chain, left, &last, right);
        chain_level = here;
    }
    return left;
}

bb_status bbi_syntax_read(bbi_arena *arena, const char *text, size_t length, const bbi_syntax **formulas) {
    reader r = {{.text = text, .length = length}, arena, 0};
    const bbi_syntax **link = formulas;
    *formulas = NULL;
    if (length > BBI_MAX_TEXT) return bbi_fail(BB_BAD_SYNTAX, "the formula is longer than %d bytes", BBI_MAX_TEXT);
    BBI_FORWARD(bbi_lex(&r.lexer));
    do {
        bbi_syntax *formula = read_binary(&r, OR_LEVEL);
        if (!formula) return bbi_fail_append("%s", "");
        *link = formula;
        link = &formula->next;
        if (r.lexer.kind != ';' && r.lexer.kind != BBI_TOKEN_END) {
            fail_expected(&r, "an operator or the end");
            return BB_BAD_SYNTAX;
        }
        if (r.lexer.kind == ';') BBI_FORWARD(bbi_lex(&r.lexer));
    } while (r.lexer.kind != BBI_TOKEN_END);
    return BB_OK;
}
