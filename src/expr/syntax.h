/* syntax.h: formulas as trees, before any of their names has a meaning; shared by the readers of the tables'
 * texts (macro.c) and of the users' texts (parse.c). A tree is immutable and lives in the arena it was read
 * into. */
#ifndef BBI_SYNTAX_H
#define BBI_SYNTAX_H

#include "expr.h"

/* ---- lex.c: text to tokens ---- */
enum {
    BBI_MAX_TEXT = 1 << 20, /* bytes of one formula text */
    BBI_MAX_NESTING = 300,  /* parentheses, calls and prefix operators inside each other: bounds the C stack */
    BBI_MAX_CALL = 12,      /* arguments of one call */
    BBI_MAX_NAME = 128,     /* bytes of a name */
    BBI_MAX_POSITION = 4096 /* variables of one signature */
};
/* Punctuation is its own character; pairs of characters and the words that are operators follow them. */
typedef enum bbi_token_kind {
    BBI_TOKEN_END = 0,
    BBI_TOKEN_INTEGER = 256,
    BBI_TOKEN_REAL,
    BBI_TOKEN_NAME,
    BBI_TOKEN_POWER,        /* ** */
    BBI_TOKEN_FLOOR_DIVIDE, /* // */
    BBI_TOKEN_LESS_EQUAL,
    BBI_TOKEN_GREATER_EQUAL,
    BBI_TOKEN_EQUAL,
    BBI_TOKEN_NOT_EQUAL,
    BBI_TOKEN_AND,
    BBI_TOKEN_OR,
    BBI_TOKEN_NOT
} bbi_token_kind;
typedef struct bbi_lexer {
    const char *text;
    size_t length, next; /* next: where the token after the current one is looked for */
    int kind;            /* of the current token, a bbi_token_kind or a character */
    size_t start, size;  /* of the current token */
    int64_t integer;
    double real;
} bbi_lexer;
bb_status bbi_lex(bbi_lexer *lexer); /* moves on to the next token */
/* Decimal digits (no sign, no point) times ten to the exponent, correctly rounded in every locale. */
double bbi_decimal(const char *digits, size_t count, int64_t exponent);
/* Stores a message of two lines: the line of the text and a caret under the place, and the message. */
bb_status bbi_fail_at(bb_status code, const char *text, size_t length, size_t place, const char *format, ...)
    BBI_PRINTF(5, 6);

/* ---- syntax.c: tokens to trees ---- */
typedef enum bbi_syntax_kind {
    BBI_SYNTAX_INTEGER,
    BBI_SYNTAX_REAL,
    BBI_SYNTAX_NAME,
    BBI_SYNTAX_DECLARATION, /* x:i3 */
    BBI_SYNTAX_LIST,        /* [2, 3] */
    BBI_SYNTAX_PREFIX,      /* - or not before the child */
    BBI_SYNTAX_CHAIN,       /* operators of one precedence, from the left: child0 op1 child1 op2 child2 … */
    BBI_SYNTAX_CALL         /* name(child, child …[; list]) */
} bbi_syntax_kind;
/* What the name of a call stands for. */
typedef enum bbi_callee {
    BBI_CALLEE_UNKNOWN,
    BBI_CALLEE_OP,        /* which: bbi_op */
    BBI_CALLEE_REDUCTION, /* which: bbi_reduction */
    BBI_CALLEE_COMPOSITE, /* which: row of reduce_macro.def */
    BBI_CALLEE_SPECIAL    /* which: bbi_special */
} bbi_callee;
typedef enum bbi_special {
    BBI_SPECIAL_VAR,
    BBI_SPECIAL_VI,
    BBI_SPECIAL_VJ,
    BBI_SPECIAL_PM,
    BBI_SPECIAL_INTCST,
    BBI_SPECIAL_RATCST,
    BBI_SPECIAL_DIM
} bbi_special;
/* Axis of a reduction's name: a bbi_place for sum_j, sum_i, sum_ij, or one of these. */
enum {
    BBI_AXIS_NUMBER = 16, /* Sum_Reduction(f, 0) */
    BBI_AXIS_BOUND = 17   /* sum_axis, in reduce_macro.def */
};
typedef struct bbi_syntax bbi_syntax;
struct bbi_syntax {
    uint8_t kind;             /* bbi_syntax_kind */
    uint8_t callee;           /* CALL: bbi_callee */
    uint8_t axis;             /* CALL of a reduction: its axis; DECLARATION: the bbi_place */
    bool pair_list;           /* CALL: the last child stands after a semicolon */
    int16_t which;            /* CALL: see bbi_callee; PREFIX: the token */
    int16_t op;               /* token of the operator that stands before this child of a CHAIN */
    uint32_t place, op_place; /* byte offsets of the subexpression and of that operator: where carets point */
    uint32_t size;            /* NAME, CALL, DECLARATION: length of the name */
    int32_t count;            /* of children */
    const char *name;
    int64_t integer; /* INTEGER; DECLARATION: the dimension */
    double real;     /* REAL and INTEGER */
    const bbi_syntax *child, *next;
};
/* Reads formulas separated by ';'; they are linked by their member next. */
bb_status bbi_syntax_read(bbi_arena *arena, const char *text, size_t length, const bbi_syntax **formulas);

/* ---- callee.c: what the name of a call stands for ---- */
/* rows of reduce_macro.def */
typedef struct bbi_composite_row {
    const char *name, *alias;
    int parameters, formulas;
    const char *text, *doc;
} bbi_composite_row;
const bbi_composite_row *bbi_composite_info(int64_t row); /* NULL beyond the last */
void bbi_resolve_call(bbi_syntax *call);                  /* sets callee, which, axis */
/* Adds "; did you mean 'sqdist'?" or what else helps with an unknown name of a call. */
void bbi_suggest_call(bbi_text *text, const char *name, size_t length);
/* The name in texts of a variable of negative position, without its axis: _one. NULL where there is none. */
const char *bbi_internal_variable(int64_t position);
/* The reverse, with the axis: _one_ij. */
bool bbi_find_internal_variable(const char *name, size_t length, int64_t *position, bbi_place *place);
/* At most 3: larger distances are 3. Letter case costs nothing. */
int bbi_edit_distance(const char *a, size_t na, const char *b, size_t nb);

/* ---- elaborate.c: trees to nodes ---- */
/* what names mean, and where errors are shown */
typedef struct bbi_scope {
    bbi_context *c;
    const char *text; /* a user's text: errors show the place; NULL for the tables' texts */
    size_t length;
    const bbi_binding *bindings;
    int binding_count;
    bbi_place axis;                   /* meaning of BBI_AXIS_BOUND */
    bbi_signature *signature;         /* NULL in the tables' texts */
    const bbi_parse_options *options; /* may be NULL */
} bbi_scope;
bb_status bbi_elaborate(const bbi_scope *scope, const bbi_syntax *formulas, const bbi_node **outputs,
                        int64_t max_outputs, int64_t *noutput);

/* ---- signature.c ---- */
/* Position or -1. */
int64_t bbi_signature_find(const bbi_signature *signature, const char *name, size_t length);
/* As bbi_signature_add, at a given position (-1: that of the same name, else the next free one). */
bb_status bbi_signature_place(bbi_signature *signature, const char *name, size_t length, int64_t dim, bbi_place place,
                              int64_t wanted, int64_t *position);

/* ---- macro.c: formulas of the tables ---- */
/* The tree of a table's text, read once per context. NULL on error. */
const bbi_syntax *bbi_table_syntax(bbi_context *c, const char *text);

#endif
