/* print.c: nodes to text in the short spelling, which parse.c reads back to the same nodes. (In raw contexts
 * operands of + and * may come back swapped: long sums are printed flat, which needs their order.) Numbers
 * are printed with the fewest digits that give the same double, in every locale. A shared subexpression is
 * printed at each of its uses, so the text is cut with "..." beyond BBI_MAX_TEXT bytes; the list of
 * bbi_print_dag stays as short as the DAG. */
#include "syntax.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct printer {
    bbi_text *text;
    const bbi_signature *signature;
    size_t limit; /* length at which the text is cut */
    int depth;
} printer;

enum { MAX_DEPTH = 1000, COMPARISON_LEVEL = 1, SUM_LEVEL, PRODUCT_LEVEL, PREFIX_LEVEL, ATOM_LEVEL };

static const char *const suffixes[] = {"", "_i", "_j", "_ij"};

static void print_node(printer *p, const bbi_node *node, int level);

/* ---- Numbers and variables ---- */

/* digits * 10^exponent as a decimal literal that is never taken for an integer. */
static void print_decimal(bbi_text *text, const char *digits, int count, int exponent) {
    int point = count + exponent; /* digits in front of the decimal point */
    if (point > 0 && point <= 17) {
        int whole = point < count ? point : count;
        bbi_text_append(text, digits, (size_t)whole);
        for (int k = whole; k < point; k++) bbi_text_append(text, "0", 1);
        bbi_text_add(text, ".%.*s", count > whole ? count - whole : 1, count > whole ? digits + whole : "0");
    } else if (point > -5 && point <= 0) {
        bbi_text_add(text, "0.");
        for (int k = point; k < 0; k++) bbi_text_append(text, "0", 1);
        bbi_text_append(text, digits, (size_t)count);
    } else {
        bbi_text_add(text, "%.1s", digits);
        if (count > 1) bbi_text_add(text, ".%.*s", count - 1, digits + 1);
        bbi_text_add(text, "e%d", point - 1);
    }
}

static void print_number(bbi_text *text, double x) {
    char buffer[64], digits[32];
    bool minus = signbit(x);
    if (minus) bbi_text_append(text, "-", 1);
    x = fabs(x);
    if (isnan(x) || isinf(x)) {
        bbi_text_add(text, isnan(x) ? "nan" : "inf");
        return;
    }
    if (x < 1e15 && x == floor(x) && !(minus && x == 0)) { /* -0 read as an integer would lose its sign */
        bbi_text_add(text, "%.0f", x);
        return;
    }
    for (int precision = 0; precision <= 17; precision++) { /* the locale's decimal point is skipped, whatever it is */
        snprintf(buffer, sizeof buffer, "%.*e", precision, x);
        int count = 0;
        const char *c = buffer;
        for (; *c != 'e'; c++) {
            if (*c >= '0' && *c <= '9') digits[count++] = *c;
        }
        int exponent = atoi(c + 1) - (count - 1);
        if (precision < 17 && bbi_decimal(digits, (size_t)count, exponent) != x) continue;
        if (x == 0)
            bbi_text_append(text, "0.0", 3);
        else
            print_decimal(text, digits, count, exponent);
        return;
    }
}

/* A name that the reader takes for this variable and for nothing else. */
static bool readable_name(const bbi_signature *signature, int64_t position) {
    const char *name = signature && position < signature->count ? signature->variables[position].name : NULL;
    bbi_lexer lexer = {.text = name ? name : "", .length = name ? strlen(name) : 0};
    if (!name || !name[0] || bbi_signature_find(signature, name, lexer.length) != position) return false;
    return bbi_lex(&lexer) == BB_OK && lexer.kind == BBI_TOKEN_NAME && lexer.next == lexer.length;
}

static void print_variable(bbi_text *text, const bbi_node *node, const bbi_signature *signature) {
    static const int categories[] = {2, 0, 1};
    int64_t position = node->ints[0];
    if (position < 0) {
        bbi_text_add(text, "%s%s", bbi_internal_variable(position), suffixes[node->place]);
    } else if (readable_name(signature, position)) {
        bbi_text_add(text, "%s", signature->variables[position].name);
    } else {
        bbi_text_add(text, "Var(%lld, %lld, %d)", (long long)position, (long long)node->dim,
                     categories[node->place & 3]);
    }
}

/* ---- Operators ---- */

static const char *infix(int op) {
    switch (op) {
    case BBI_OP_add: return " + ";
    case BBI_OP_sub: return " - ";
    case BBI_OP_mul: return " * ";
    case BBI_OP_div: return " / ";
    case BBI_OP_lt: return " < ";
    case BBI_OP_le: return " <= ";
    case BBI_OP_gt: return " > ";
    case BBI_OP_ge: return " >= ";
    case BBI_OP_eq: return " == ";
    case BBI_OP_ne: return " != ";
    default: return NULL;
    }
}

/* Level of the operator that a node is printed with; ATOM_LEVEL for calls. Numbers alone would be folded by
 * the reader: call form. */
static int level_of(const bbi_node *node) {
    bool constant = true;
    for (int k = 0; k < node->narg; k++) constant = constant && node->arg[k] && node->arg[k]->op == BBI_OP_CONST;
    if (node->op == BBI_OP_CONST) return signbit(node->value) ? PREFIX_LEVEL : ATOM_LEVEL;
    if (constant) return ATOM_LEVEL;
    if (node->op == BBI_OP_neg) return PREFIX_LEVEL;
    if (node->op == BBI_OP_add || node->op == BBI_OP_sub) return SUM_LEVEL;
    if (node->op == BBI_OP_mul || node->op == BBI_OP_div) return PRODUCT_LEVEL;
    return infix(node->op) ? COMPARISON_LEVEL : ATOM_LEVEL;
}

/* The operand that is printed on the left: of a sum or product the one that is itself a longer sum or
 * product. */
static int left_operand(const bbi_node *node) {
    bool commutes = node->op == BBI_OP_add || node->op == BBI_OP_mul;
    int level = level_of(node);
    return commutes && level_of(node->arg[0]) != level && level_of(node->arg[1]) == level &&
           node->arg[0]->op != BBI_OP_CONST;
}

/* a + b - c …: the left spine is walked without recursion. */
static void print_chain(printer *p, const bbi_node *node, int level) {
    int64_t length = 0;
    const bbi_node *leftmost = node;
    bool chains = level != COMPARISON_LEVEL;
    do {
        leftmost = leftmost->arg[left_operand(leftmost)];
        length++;
    } while (chains && level_of(leftmost) == level);
    const bbi_node **spine = bbi_alloc((size_t)length * sizeof *spine);
    if (!spine) {
        p->text->failed = true;
        return;
    }
    for (int64_t k = length; k > 0; node = node->arg[left_operand(node)]) spine[--k] = node;
    print_node(p, leftmost, level + !chains);
    for (int64_t k = 0; k < length && p->text->length < p->limit; k++) {
        bbi_text_add(p->text, "%s", infix(spine[k]->op));
        print_node(p, spine[k]->arg[!left_operand(spine[k])], level + 1);
    }
    bbi_free(spine);
}

/* ---- Calls ---- */

static void print_list(bbi_text *text, const int64_t *items, int count) {
    bbi_text_add(text, ", [");
    for (int k = 0; k < count; k++) bbi_text_add(text, "%s%lld", k ? ", " : "", (long long)items[k]);
    bbi_text_add(text, "]");
}

/* Integer parameters behind the operands. */
static void print_integers(bbi_text *text, const bbi_node *node) {
    if (node->op == BBI_OP_contract) {
        bbi_contraction spec = bbi_contraction_of(node);
        print_list(text, spec.size, spec.nlabel);
        print_list(text, spec.la, spec.na);
        print_list(text, spec.lb, spec.nb);
        print_list(text, spec.lo, spec.no);
        return;
    }
    for (int k = 0; k < node->nint; k++)
        bbi_text_add(text, "%s%lld", k || node->narg ? ", " : "", (long long)node->ints[k]);
}

static void print_reduction(printer *p, const bbi_node *node) {
    const bbi_reduction_row *row = bbi_reduction_info((int)node->ints[0]);
    bbi_text_add(p->text, "%s%s(", row->name, suffixes[node->ints[1] & 3]);
    for (int k = 0; k < node->narg; k++) {
        if (!node->arg[k]) continue;
        if (k == 2 && row->parameters) bbi_text_add(p->text, ", %lld", (long long)node->ints[2]);
        if (k > 0) bbi_text_add(p->text, k == 2 ? "; " : ", ");
        print_node(p, node->arg[k], 0);
    }
    if (row->parameters && node->narg < 3) bbi_text_add(p->text, ", %lld", (long long)node->ints[2]);
    bbi_text_add(p->text, ")");
}

static void print_call(printer *p, const bbi_node *node) {
    if (node->op == BBI_OP_REDUCE) {
        print_reduction(p, node);
        return;
    }
    bbi_text_add(p->text, "%s(", bbi_op_info(node->op)->name);
    for (int k = 0; k < node->narg; k++) {
        if (k > 0) bbi_text_add(p->text, ", ");
        print_node(p, node->arg[k], 0);
    }
    print_integers(p->text, node);
    bbi_text_add(p->text, ")");
}

static void print_node(printer *p, const bbi_node *node, int level) {
    if (p->text->failed || p->text->length >= p->limit || p->depth >= MAX_DEPTH) {
        bbi_text_add(p->text, "...");
        return;
    }
    p->depth++;
    int own = level_of(node);
    bool parenthesis = own < level;
    if (parenthesis) bbi_text_append(p->text, "(", 1);
    if (node->op == BBI_OP_CONST) {
        print_number(p->text, node->value);
    } else if (node->op == BBI_OP_VAR) {
        print_variable(p->text, node, p->signature);
    } else if (own == PREFIX_LEVEL) {
        bbi_text_append(p->text, "-", 1);
        print_node(p, node->arg[0], PREFIX_LEVEL);
    } else if (own == ATOM_LEVEL) {
        print_call(p, node);
    } else {
        print_chain(p, node, own);
    }
    if (parenthesis) bbi_text_append(p->text, ")", 1);
    p->depth--;
}

void bbi_print(bbi_text *text, const bbi_node *node, const bbi_signature *signature) {
    printer p = {text, signature, text->length + BBI_MAX_TEXT, 0};
    print_node(&p, node, 0);
}

/* ---- DAGs ---- */

static void print_line(bbi_text *text, const bbi_node *const *nodes, int64_t count, int64_t k,
                       const bbi_signature *signature) {
    static const char *const places[] = {"P", "I", "J", "IJ"};
    const bbi_node *node = nodes[k];
    bbi_text_add(text, "%%%lld = ", (long long)k);
    if (node->op == BBI_OP_CONST) {
        print_number(text, node->value);
    } else if (node->op == BBI_OP_VAR) {
        print_variable(text, node, signature);
    } else {
        bool reduction = node->op == BBI_OP_REDUCE;
        const bbi_reduction_row *row = reduction ? bbi_reduction_info((int)node->ints[0]) : NULL;
        bbi_text_add(text, "%s%s(", row ? row->name : bbi_op_info(node->op)->name,
                     row ? suffixes[node->ints[1] & 3] : "");
        for (int a = 0; a < node->narg; a++) {
            int64_t found = node->arg[a] ? bbi_position(nodes, count, node->arg[a]) : -1;
            if (found >= 0)
                bbi_text_add(text, "%s%%%lld", a == 0 ? "" : reduction && a == 2 ? "; " : ", ", (long long)found);
        }
        if (!reduction)
            print_integers(text, node);
        else if (row->parameters)
            bbi_text_add(text, ", %lld", (long long)node->ints[2]);
        bbi_text_add(text, ")");
    }
    bbi_text_add(text, "  dim %lld %s\n", (long long)node->dim, places[node->place & 3]);
}

void bbi_print_dag(bbi_text *text, const bbi_node *const *roots, int64_t nroot, const bbi_signature *signature) {
    const bbi_node **nodes;
    int64_t count;
    if (bbi_topological(roots, nroot, &nodes, &count) != BB_OK) {
        text->failed = true;
        return;
    }
    for (int64_t k = 0; k < count; k++) print_line(text, nodes, count, k, signature);
    bbi_free(nodes);
}
