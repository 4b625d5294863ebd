/* elaborate.c: from trees to nodes. A scope says what names mean: bound operands in the tables' texts,
 * declared variables in the users'. Numbers stay numbers as long as they meet only numbers (so that 1/2 is
 * exact and dim(a)/2 can be an integer parameter) and become constant nodes where they meet one. Every
 * failure inside a user's text is shown at its place. */
#include "elaborate.h"

#include <math.h>
#include <string.h>

static bool elaborate(const bbi_scope *s, const bbi_syntax *tree, bbi_value *result);

bool bbi_fail_in(const bbi_scope *s, const bbi_syntax *tree, bb_status code, const char *format, ...) {
    bbi_text message = {0};
    va_list arguments;
    va_start(arguments, format);
    bbi_text_vadd(&message, format, arguments);
    va_end(arguments);
    const char *text = message.failed ? "out of memory" : message.data;
    if (s->text)
        bbi_fail_at(code, s->text, s->length, tree->place, "%s", text);
    else
        bbi_fail(code, "%s", text);
    bbi_text_free(&message);
    return false;
}

/* A builder failed and stored its message: show the place. Out of memory has none. */
bool bbi_fail_built(const bbi_scope *s, size_t place) {
    bb_status code = bbi_fail_append("%s", "");
    if (s->text && code != BB_OUT_OF_MEMORY) bbi_fail_at(code, s->text, s->length, place, "%s", bb_last_error());
    return false;
}

bool bbi_give_node(const bbi_scope *s, size_t place, const bbi_node *node, bbi_value *result) {
    if (!node) return bbi_fail_built(s, place);
    *result = (bbi_value){.kind = BBI_VALUE_NODE, .node = node};
    return true;
}

static bool give_integer(int64_t integer, bbi_value *result) {
    *result = (bbi_value){.kind = BBI_VALUE_INTEGER, .integer = integer, .real = (double)integer};
    return true;
}

static bool give_real(double real, bbi_value *result) {
    *result = (bbi_value){.kind = BBI_VALUE_REAL, .real = real};
    return true;
}

/* ---- Conversions ---- */

static bool to_node(const bbi_scope *s, const bbi_syntax *tree, const bbi_value *v, const bbi_node **node) {
    if (v->kind == BBI_VALUE_LIST)
        return bbi_fail_in(s, tree, BB_BAD_SYNTAX, "a list of integers cannot stand for an operand");
    *node = v->kind == BBI_VALUE_NODE ? v->node : bbi_const(s->c, v->real);
    return *node ? true : bbi_fail_built(s, tree->place);
}

bool bbi_elaborate_node(const bbi_scope *s, const bbi_syntax *tree, const bbi_node **node) {
    bbi_value v;
    return elaborate(s, tree, &v) && to_node(s, tree, &v, node);
}

bool bbi_elaborate_integer(const bbi_scope *s, const bbi_syntax *tree, int64_t *integer) {
    bbi_value v;
    if (!elaborate(s, tree, &v)) return false;
    if (v.kind != BBI_VALUE_INTEGER) return bbi_fail_in(s, tree, BB_BAD_SYNTAX, "expected an integer here");
    *integer = v.integer;
    return true;
}

bool bbi_elaborate_integers(const bbi_scope *s, const bbi_syntax *item, int64_t *ints, int *count) {
    *count = 0;
    for (; item; item = item->next) {
        bool list = item->kind == BBI_SYNTAX_LIST;
        if (*count + 1 + (list ? item->count : 0) > BBI_MAX_INTS)
            return bbi_fail_in(s, item, BB_BAD_SYNTAX, "too many integers");
        if (!list) {
            if (!bbi_elaborate_integer(s, item, &ints[(*count)++])) return false;
            continue;
        }
        ints[(*count)++] = item->count;
        for (const bbi_syntax *k = item->child; k; k = k->next) {
            if (!bbi_elaborate_integer(s, k, &ints[(*count)++])) return false;
        }
    }
    return true;
}

/* ---- Operators ---- */

static int operator_op(int token) {
    switch (token) {
    case '+': return BBI_OP_add;
    case '-': return BBI_OP_sub;
    case '*': return BBI_OP_mul;
    case '/': return BBI_OP_div;
    case '|': return BBI_OP_dot;
    case '<': return BBI_OP_lt;
    case '>': return BBI_OP_gt;
    case BBI_TOKEN_LESS_EQUAL: return BBI_OP_le;
    case BBI_TOKEN_GREATER_EQUAL: return BBI_OP_ge;
    case BBI_TOKEN_EQUAL: return BBI_OP_eq;
    case BBI_TOKEN_NOT_EQUAL: return BBI_OP_ne;
    case BBI_TOKEN_AND: return BBI_OP_logical_and;
    case BBI_TOKEN_OR: return BBI_OP_logical_or;
    default: return -1;
    }
}

static bool multiply(int64_t a, int64_t b, int64_t *product) {
    if (a != 0 && b != 0) {
        if (a == INT64_MIN || b == INT64_MIN) return false;
        if ((a < 0 ? -a : a) > INT64_MAX / (b < 0 ? -b : b)) return false;
    }
    *product = a * b;
    return true;
}

static bool power(int64_t base, int64_t exponent, int64_t *result) {
    *result = 1;
    if (exponent < 0 || exponent > 64) return false;
    for (int64_t k = 0; k < exponent; k++) {
        if (!multiply(*result, base, result)) return false;
    }
    return true;
}

/* Quotient and remainder as Python's: the remainder has the divisor's sign. */
static int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static int64_t floor_remainder(int64_t a, int64_t b) { return a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0); }

/* Both operands are integers. Results that are no 64-bit integer become real numbers. False: not an operation
 * on numbers. */
static bool fold_integers(int token, const bbi_value *a, const bbi_value *b, bbi_value *result) {
    int64_t x = a->integer, y = b->integer, z;
    switch (token) {
    case '+':
        if (y > 0 ? x > INT64_MAX - y : x < INT64_MIN - y) return give_real(a->real + b->real, result);
        return give_integer(x + y, result);
    case '-':
        if (y < 0 ? x > INT64_MAX + y : x < INT64_MIN + y) return give_real(a->real - b->real, result);
        return give_integer(x - y, result);
    case '*': return multiply(x, y, &z) ? give_integer(z, result) : give_real(a->real * b->real, result);
    case BBI_TOKEN_POWER: return power(x, y, &z) ? give_integer(z, result) : give_real(pow(a->real, b->real), result);
    case '/':
        if (y == 0 || y == -1 || x % y != 0)
            return y == -1 && x != INT64_MIN ? give_integer(-x, result) : give_real(a->real / b->real, result);
        return give_integer(x / y, result);
    case BBI_TOKEN_FLOOR_DIVIDE: return y != 0 && y != -1 && give_integer(floor_divide(x, y), result);
    case '%': return y != 0 && y != -1 && give_integer(floor_remainder(x, y), result);
    default: return false;
    }
}

/* f ** n with an integer n is a product; 1/2 and -1/2 are KeOps's square roots, with their values at 0. */
static const bbi_node *make_power(bbi_context *c, const bbi_node *base, const bbi_value *exponent) {
    if (exponent->kind == BBI_VALUE_INTEGER) return bbi_apply(c, BBI_OP_pow, &base, 1, &exponent->integer, 1);
    if (exponent->kind == BBI_VALUE_REAL && exponent->real == 0.5) return bbi_op1(c, BBI_OP_sqrt, base);
    if (exponent->kind == BBI_VALUE_REAL && exponent->real == -0.5) return bbi_op1(c, BBI_OP_rsqrt, base);
    const bbi_node *args[2] = {base, exponent->kind == BBI_VALUE_NODE ? exponent->node : bbi_const(c, exponent->real)};
    return bbi_apply(c, BBI_OP_powf, args, 2, NULL, 0);
}

static const bbi_node *make_binary(bbi_context *c, int token, const bbi_node *a, const bbi_node *b) {
    const bbi_node *args[3] = {a, b, NULL};
    if (token == BBI_TOKEN_FLOOR_DIVIDE) return bbi_op1(c, BBI_OP_floor, bbi_op2(c, BBI_OP_div, a, b));
    if (token != '%') return bbi_apply(c, operator_op(token), args, 2, NULL, 0);
    args[2] = bbi_const(c, 0);
    return bbi_apply(c, BBI_OP_mod, args, 3, NULL, 0);
}

static bool combine(const bbi_scope *s, const bbi_syntax *left, const bbi_value *a, const bbi_syntax *right,
                    const bbi_value *b, bbi_value *result) {
    const bbi_node *x, *y;
    if (a->kind == BBI_VALUE_INTEGER && b->kind == BBI_VALUE_INTEGER) {
        bool divides = right->op == '/' || right->op == '%' || right->op == BBI_TOKEN_FLOOR_DIVIDE;
        if (divides && b->integer == 0) return bbi_fail_in(s, right, BB_BAD_ARGUMENT, "division by the number zero");
        if (fold_integers(right->op, a, b, result)) return true;
    }
    if (!to_node(s, left, a, &x)) return false;
    if (right->op == BBI_TOKEN_POWER && b->kind != BBI_VALUE_LIST)
        return bbi_give_node(s, right->op_place, make_power(s->c, x, b), result);
    if (!to_node(s, right, b, &y)) return false;
    return bbi_give_node(s, right->op_place, make_binary(s->c, right->op, x, y), result);
}

static bool elaborate_chain(const bbi_scope *s, const bbi_syntax *tree, bbi_value *result) {
    const bbi_syntax *left = tree->child;
    bbi_value a, b;
    if (!elaborate(s, left, &a)) return false;
    for (const bbi_syntax *right = left->next; right; right = right->next) {
        bbi_value joined;
        if (!elaborate(s, right, &b) || !combine(s, left, &a, right, &b, &joined)) return false;
        a = joined;
    }
    *result = a;
    return true;
}

static bool elaborate_prefix(const bbi_scope *s, const bbi_syntax *tree, bbi_value *result) {
    bbi_value v;
    const bbi_node *node;
    bool minus = tree->which == '-';
    if (!elaborate(s, tree->child, &v)) return false;
    if (minus && v.kind == BBI_VALUE_INTEGER && v.integer != INT64_MIN) return give_integer(-v.integer, result);
    if (minus && (v.kind == BBI_VALUE_REAL || v.kind == BBI_VALUE_INTEGER)) return give_real(-v.real, result);
    if (!to_node(s, tree->child, &v, &node)) return false;
    return bbi_give_node(s, tree->place, bbi_apply(s->c, minus ? BBI_OP_neg : BBI_OP_logical_not, &node, 1, NULL, 0),
                         result);
}

/* ---- Names ---- */

static bool fail_unknown_name(const bbi_scope *s, const bbi_syntax *tree) {
    static const char letters[] = "pij";
    bbi_text help = {0};
    bbi_syntax call = {.name = tree->name, .size = tree->size};
    const bbi_variable *closest = NULL;
    int64_t shown = 0, total = s->signature ? s->signature->count : 0;
    bbi_resolve_call(&call);
    if (call.callee != BBI_CALLEE_UNKNOWN) bbi_text_add(&help, "; it is an operation: '%s(...)'", tree->name);
    for (int64_t k = 0; k < total; k++) {
        const bbi_variable *v = &s->signature->variables[k];
        if (!v->dim || !v->name[0]) continue;
        if (!closest && tree->size > 2 && bbi_edit_distance(v->name, strlen(v->name), tree->name, tree->size) < 2)
            closest = v;
        if (shown < 12)
            bbi_text_add(&help, "%s%s (%c, %lld)", shown ? ", " : "; declared: ", v->name, letters[v->place],
                         (long long)v->dim);
        if (++shown == 13) bbi_text_add(&help, ", ...");
    }
    if (closest)
        bbi_text_add(&help, "; did you mean '%s'?", closest->name);
    else if (shown == 0 && call.callee == BBI_CALLEE_UNKNOWN)
        bbi_text_add(&help, "; to declare a variable in place write %s:i3", tree->name);
    bbi_fail_in(s, tree, BB_UNKNOWN_NAME, "unknown name '%s'%s", tree->name,
                help.data && !help.failed ? help.data : "");
    bbi_text_free(&help);
    return false;
}

static bool elaborate_name(const bbi_scope *s, const bbi_syntax *tree, bbi_value *result) {
    static const struct {
        const char *name;
        double value;
    } numbers[] = {{"pi", 3.14159265358979323846}, {"inf", (double)INFINITY}, {"nan", (double)NAN}};
    for (int k = 0; k < s->binding_count; k++) {
        if (strcmp(s->bindings[k].name, tree->name)) continue;
        if (!s->bindings[k].node) return give_integer(s->bindings[k].integer, result);
        *result = (bbi_value){.kind = BBI_VALUE_NODE, .node = s->bindings[k].node};
        return true;
    }
    int64_t position;
    bbi_place place;
    if (bbi_find_internal_variable(tree->name, tree->size, &position, &place)) {
        return bbi_give_node(s, tree->place, bbi_var(s->c, position, place, 1), result);
    }
    position = s->signature ? bbi_signature_find(s->signature, tree->name, tree->size) : -1;
    if (position >= 0) {
        const bbi_variable *v = &s->signature->variables[position];
        return bbi_give_node(s, tree->place, bbi_var(s->c, position, v->place, v->dim), result);
    }
    if (s->options && s->options->lookup) {
        const bbi_node *node = s->options->lookup(s->options->lookup_data, tree->name, tree->size);
        if (node) return bbi_give_node(s, tree->place, node, result);
    }
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        if (!strcmp(numbers[k].name, tree->name)) return give_real(numbers[k].value, result);
    }
    return fail_unknown_name(s, tree);
}

static bool declare(const bbi_scope *s, const bbi_syntax *tree, const char *name, size_t length, int64_t dim,
                    bbi_place place, int64_t wanted, bbi_value *result) {
    int64_t position;
    if (!s->signature) return bbi_fail_in(s, tree, BB_BAD_SYNTAX, "variables cannot be declared here");
    if (bbi_signature_place(s->signature, name, length, dim, place, wanted, &position) != BB_OK)
        return bbi_fail_built(s, tree->place);
    return bbi_give_node(s, tree->place, bbi_var(s->c, position, place, dim), result);
}

/* ---- Calls that the reader itself knows ---- */

static bool special_variable(const bbi_scope *s, const bbi_syntax *call, const int64_t *ints, int count,
                             bbi_value *result) {
    static const bbi_place categories[] = {BBI_I, BBI_J, BBI_P};
    bool full = call->which == BBI_SPECIAL_VAR;
    if (count != (full ? 3 : 2)) {
        return bbi_fail_in(s, call, BB_BAD_SYNTAX,
                           full
                               ? "write Var(position, dimension, category), category 0 for i, 1 for j, 2 for parameters"
                               : "inside a formula write %s(position, dimension)",
                           call->name);
    }
    bbi_place place = call->which == BBI_SPECIAL_VI ? BBI_I : call->which == BBI_SPECIAL_VJ ? BBI_J : BBI_P;
    if (full && (ints[2] < 0 || ints[2] > 2)) {
        return bbi_fail_in(s, call, BB_BAD_ARGUMENT, "Var: the category is 0 (i), 1 (j) or 2 (parameter); found %lld",
                           (long long)ints[2]);
    }
    if (full) place = categories[ints[2]];
    if (ints[0] < 0) return bbi_fail_in(s, call, BB_BAD_ARGUMENT, "%s: the position is negative", call->name);
    return declare(s, call, "", 0, ints[1], place, ints[0], result);
}

bool bbi_elaborate_special(const bbi_scope *s, const bbi_syntax *call, bbi_value *result) {
    int64_t ints[BBI_MAX_INTS];
    int count, wanted = call->which == BBI_SPECIAL_RATCST ? 2 : 1;
    if (call->pair_list)
        return bbi_fail_in(s, call, BB_BAD_SYNTAX, "%s: only reductions take a list of pairs", call->name);
    if (call->which == BBI_SPECIAL_DIM) {
        const bbi_node *node;
        if (call->count != 1) return bbi_fail_in(s, call, BB_BAD_SYNTAX, "dim takes one operand");
        return bbi_elaborate_node(s, call->child, &node) && give_integer(node->dim, result);
    }
    if (!bbi_elaborate_integers(s, call->child, ints, &count)) return false;
    if (call->which <= BBI_SPECIAL_PM) return special_variable(s, call, ints, count, result);
    if (count != wanted)
        return bbi_fail_in(s, call, BB_BAD_SYNTAX, "%s takes %d integer%s", call->name, wanted, wanted > 1 ? "s" : "");
    if (call->which == BBI_SPECIAL_INTCST) return give_integer(ints[0], result);
    if (ints[1] == 0) return bbi_fail_in(s, call, BB_BAD_ARGUMENT, "division by the number zero");
    bbi_value a, b;
    give_integer(ints[0], &a);
    give_integer(ints[1], &b);
    return fold_integers('/', &a, &b, result);
}

/* ---- Everything ---- */

static bool elaborate(const bbi_scope *s, const bbi_syntax *tree, bbi_value *result) {
    switch ((bbi_syntax_kind)tree->kind) {
    case BBI_SYNTAX_INTEGER: return give_integer(tree->integer, result);
    case BBI_SYNTAX_REAL: return give_real(tree->real, result);
    case BBI_SYNTAX_NAME: return elaborate_name(s, tree, result);
    case BBI_SYNTAX_DECLARATION:
        return declare(s, tree, tree->name, tree->size, tree->integer, (bbi_place)tree->axis, -1, result);
    case BBI_SYNTAX_LIST: *result = (bbi_value){.kind = BBI_VALUE_LIST}; return true;
    case BBI_SYNTAX_PREFIX: return elaborate_prefix(s, tree, result);
    case BBI_SYNTAX_CHAIN: return elaborate_chain(s, tree, result);
    case BBI_SYNTAX_CALL: return bbi_elaborate_call(s, tree, result);
    }
    return bbi_fail_in(s, tree, BB_INTERNAL, "a tree of no kind");
}

bb_status bbi_elaborate(const bbi_scope *s, const bbi_syntax *formulas, const bbi_node **outputs, int64_t max_outputs,
                        int64_t *noutput) {
    *noutput = 0;
    for (const bbi_syntax *tree = formulas; tree; tree = tree->next) {
        int64_t added = 1;
        if (*noutput >= max_outputs) {
            bbi_fail_in(s, tree, BB_BAD_ARGUMENT, "more than %lld outputs", (long long)max_outputs);
            return BB_BAD_ARGUMENT;
        }
        if (tree->kind == BBI_SYNTAX_CALL && tree->callee == BBI_CALLEE_COMPOSITE) {
            BBI_FORWARD(bbi_elaborate_composite(s, tree, outputs + *noutput, max_outputs - *noutput, &added));
        } else if (!bbi_elaborate_node(s, tree, &outputs[*noutput])) {
            return bbi_fail_append("%s", "");
        }
        *noutput += added;
    }
    return BB_OK;
}
