/* rule.c: the rules of rule.def: read once per context into small trees, found by the operation at their
 * root, matched against a candidate and instantiated. A tree is not a node: its letters have no dimension.
 * Commuting operations in a left side are numbered, and a match is tried with every choice of their operand
 * orders: complete, and cheap because most attempts end at the first operand. */
#include "simplify.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SWAPS = 6, MAX_OPERANDS = 3 };

/* an integer of an operation: letter, literal, or the dimension of a node */
typedef struct parameter {
    enum { LITERAL, LETTER, DIMENSION } kind;
    int64_t value; /* the literal; else which letter */
} parameter;

typedef struct tree {
    enum {
        NODE,
        CONSTANT,
        NUMBER,
        INTEGER,
        OPERATION
    } kind;     /* NODE x y z, CONSTANT p q, INTEGER m n k l as a constant */
    int letter; /* x y z p q: 0 .. 4; m n k l: 0 .. 3 */
    double number;
    int op, swap; /* swap: number of this commuting operation, -1: none */
    int narg, nint;
    const struct tree *arg[MAX_OPERANDS];
    parameter ints[MAX_OPERANDS];
} tree;

typedef struct rule {
    const tree *left, *right;
    int swaps;
    int next; /* rule with the same root, -1 at the end */
} rule;

static const struct {
    const char *left, *right;
} texts[] = {
#define RULE(left, right) {left, right},
#include "rule.def"
};
enum { RULES = sizeof texts / sizeof *texts };

typedef struct rule_set {
    bbi_arena arena;
    rule rule[RULES];
    int first[BBI_OP_COUNT];
    int64_t fired[RULES];
} rule_set;

typedef struct bindings {
    const bbi_node *node[BBI_NODE_LETTERS];
    int64_t integer[BBI_INT_LETTERS];
    bool bound[BBI_INT_LETTERS];
} bindings;

/* ---- reading ---- */
typedef struct reader {
    bbi_arena *arena;
    const char *at;
    int swaps;
    bool bad;
} reader;

static const tree *read_sum(reader *r);

static char peek(reader *r) {
    while (*r->at == ' ') r->at++;
    return *r->at;
}

static bool accept(reader *r, char wanted) {
    if (peek(r) != wanted) return false;
    r->at++;
    return true;
}

static tree *new_tree(reader *r, tree value) {
    tree *t = bbi_arena_alloc(r->arena, sizeof *t);
    if (t)
        *t = value;
    else
        r->bad = true;
    return t;
}

static const tree *operation(reader *r, int op, const tree *a, const tree *b) {
    const bbi_op_row *row = bbi_op_info(op);
    bool swaps = row && row->flags & BBI_COMMUTES;
    if (!a || (row && row->arity == 2 && !b)) r->bad = true;
    if (r->bad) return NULL;
    return new_tree(
        r, (tree){.kind = OPERATION, .op = op, .swap = swaps ? r->swaps++ : -1, .narg = b ? 2 : 1, .arg = {a, b}});
}

static parameter read_parameter(reader *r) {
    static const char letters[] = "mnkl", nodes[] = "xyzpq";
    parameter p = {LITERAL, 0};
    if (strncmp(r->at, "dim(", 4) == 0 && r->at[4] && strchr(nodes, r->at[4])) {
        p = (parameter){DIMENSION, strchr(nodes, r->at[4]) - nodes};
        r->at += 5;
        r->bad = r->bad || !accept(r, ')');
    } else if (*r->at && strchr(letters, *r->at)) {
        p = (parameter){LETTER, strchr(letters, *r->at++) - letters};
    } else {
        char *end;
        p.value = strtoll(r->at, &end, 10);
        r->bad = r->bad || end == r->at;
        r->at = end;
    }
    return p;
}

static const tree *read_call(reader *r, const char *name, size_t length) {
    tree t = {.kind = OPERATION, .op = bbi_op_find(name, length), .swap = -1};
    const bbi_op_row *row = bbi_op_info(t.op);
    if (!row || row->arity > MAX_OPERANDS || row->int_count > MAX_OPERANDS) {
        r->bad = true;
        return NULL;
    }
    for (; t.narg < row->arity && !r->bad; t.narg++) {
        if (t.narg && !accept(r, ',')) r->bad = true;
        t.arg[t.narg] = read_sum(r);
    }
    for (; t.nint < row->int_count && !r->bad; t.nint++) {
        r->bad = !accept(r, ',');
        peek(r);
        t.ints[t.nint] = read_parameter(r);
    }
    if (!accept(r, ')')) r->bad = true;
    if (row->flags & BBI_COMMUTES) t.swap = r->swaps++;
    return r->bad ? NULL : new_tree(r, t);
}

static const tree *read_atom(reader *r) {
    static const char nodes[] = "xyzpq", integers[] = "mnkl";
    char first = peek(r);
    if (accept(r, '(')) {
        const tree *inner = read_sum(r);
        r->bad = r->bad || !accept(r, ')');
        return inner;
    }
    if (isdigit((unsigned char)first)) {
        char *end;
        double number = strtod(r->at, &end);
        r->at = end;
        return new_tree(r, (tree){.kind = NUMBER, .number = number});
    }
    const char *name = r->at;
    while (isalnum((unsigned char)*r->at) || *r->at == '_') r->at++;
    size_t length = (size_t)(r->at - name);
    if (length > 1 && accept(r, '(')) return read_call(r, name, length);
    const char *node = length == 1 ? strchr(nodes, first) : NULL,
               *integer = length == 1 ? strchr(integers, first) : NULL;
    if (node) return new_tree(r, (tree){.kind = node - nodes < 3 ? NODE : CONSTANT, .letter = (int)(node - nodes)});
    if (integer) return new_tree(r, (tree){.kind = INTEGER, .letter = (int)(integer - integers)});
    r->bad = true;
    return NULL;
}

static const tree *read_signed(reader *r) {
    if (!accept(r, '-')) return read_atom(r);
    const tree *t = read_signed(r);
    if (t && t->kind == NUMBER) return new_tree(r, (tree){.kind = NUMBER, .number = -t->number});
    return operation(r, BBI_OP_neg, t, NULL);
}

static const tree *read_product(reader *r) {
    const tree *t = read_signed(r);
    for (char sign = peek(r); !r->bad && (sign == '*' || sign == '/'); sign = peek(r)) {
        r->at++;
        const tree *u = read_signed(r);
        bool numbers = t && u && t->kind == NUMBER && u->kind == NUMBER && sign == '/';
        if (numbers)
            t = new_tree(r, (tree){.kind = NUMBER, .number = t->number / u->number});
        else
            t = operation(r, sign == '*' ? BBI_OP_mul : BBI_OP_div, t, u);
    }
    return t;
}

static const tree *read_sum(reader *r) {
    const tree *t = read_product(r);
    for (char sign = peek(r); !r->bad && (sign == '+' || sign == '-'); sign = peek(r)) {
        r->at++;
        t = operation(r, sign == '+' ? BBI_OP_add : BBI_OP_sub, t, read_product(r));
    }
    return t;
}

static const tree *read_side(bbi_arena *arena, const char *text, int *swaps) {
    reader r = {.arena = arena, .at = text};
    const tree *t = read_sum(&r);
    *swaps = r.swaps;
    return r.bad || peek(&r) != 0 ? NULL : t;
}

static rule_set *read_rules(void) {
    rule_set *set = bbi_calloc(1, sizeof *set);
    for (int op = 0; set && op < BBI_OP_COUNT; op++) set->first[op] = -1;
    for (int k = RULES - 1; set && k >= 0; k--) { /* backwards: chains are in the order of the table */
        rule *r = &set->rule[k];
        int unused;
        r->left = read_side(&set->arena, texts[k].left, &r->swaps);
        r->right = read_side(&set->arena, texts[k].right, &unused);
        if (!r->left || !r->right || r->left->kind != OPERATION || r->swaps > MAX_SWAPS) {
            bbi_rules_free(set);
            return NULL;
        }
        r->next = set->first[r->left->op];
        set->first[r->left->op] = k;
    }
    return set;
}

static rule_set *rules_of(bbi_context *c) {
    if (!c->rules) c->rules = read_rules();
    return c->rules;
}

void bbi_rules_free(void *rules) {
    rule_set *set = rules;
    if (!set) return;
    bbi_arena_free(&set->arena);
    bbi_free(set);
}

/* ---- matching ---- */
static bool bind_integer(bindings *b, const parameter *p, int64_t value) {
    if (p->kind != LETTER) return p->kind == LITERAL && p->value == value;
    if (b->bound[p->value]) return b->integer[p->value] == value;
    b->bound[p->value] = true;
    b->integer[p->value] = value;
    return true;
}

static bool match(const tree *t, const bbi_node *n, unsigned swapped, bindings *b) {
    if (t->kind == NODE || t->kind == CONSTANT) {
        if (t->kind == CONSTANT && n->op != BBI_OP_CONST) return false;
        if (b->node[t->letter]) return b->node[t->letter] == n;
        b->node[t->letter] = n;
        return true;
    }
    if (t->kind == NUMBER) return n->op == BBI_OP_CONST && n->value == t->number;
    if (t->op != n->op) return false;
    bool swap = t->swap >= 0 && swapped >> t->swap & 1;
    for (int k = 0; k < t->narg; k++) {
        if (!match(t->arg[k], n->arg[swap ? 1 - k : k], swapped, b)) return false;
    }
    for (int k = 0; k < t->nint; k++) {
        if (!bind_integer(b, &t->ints[k], n->ints[k])) return false;
    }
    return true;
}

/* ---- what the sides would be, without making them ---- */
static int64_t parameter_value(const parameter *p, const bindings *b) {
    if (p->kind == LITERAL) return p->value;
    return p->kind == LETTER ? b->integer[p->value] : b->node[p->value]->dim;
}

/* Dimension of a side; 0 where the dimensions of operands do not fit. */
static int64_t side_dim(const tree *t, const bindings *b) {
    if (t->kind == NODE || t->kind == CONSTANT) return b->node[t->letter]->dim;
    if (t->kind != OPERATION) return 1;
    int64_t d[MAX_OPERANDS], widest = 1;
    for (int k = 0; k < t->narg; k++) {
        d[k] = side_dim(t->arg[k], b);
        if (d[k] != 1) widest = d[k];
    }
    if (t->op == BBI_OP_concat) return d[0] + d[1];
    if (t->op == BBI_OP_repeat) return parameter_value(&t->ints[0], b);
    if (t->op == BBI_OP_slice || t->op == BBI_OP_pad) return parameter_value(&t->ints[1], b);
    for (int k = 0; k < t->narg; k++) {
        if (d[k] != 1 && d[k] != widest) return 0;
    }
    return bbi_op_info(t->op)->kind == BBI_FOLD ? 1 : widest;
}

static bbi_place side_place(const tree *t, const bindings *b) {
    if (t->kind == NODE || t->kind == CONSTANT) return (bbi_place)b->node[t->letter]->place;
    bbi_place place = BBI_P;
    for (int k = 0; k < t->narg; k++) place = (bbi_place)(place | side_place(t->arg[k], b));
    return place;
}

static bool is_constant(const tree *t, const bindings *b) {
    if (t->kind == NODE || t->kind == CONSTANT) return b->node[t->letter]->op == BBI_OP_CONST;
    if (t->kind != OPERATION) return true;
    if (bbi_op_info(t->op)->kind == BBI_INDEX) return false;
    for (int k = 0; k < t->narg; k++) {
        if (!is_constant(t->arg[k], b)) return false;
    }
    return true;
}

/* Operations of a side, those on pairs first: one on rows or columns counts 1/64, one on parameters 1/4096.
 */
static double side_cost(const tree *t, const bindings *b) {
    static const double weight[4] = {1.0 / 4096, 1.0 / 64, 1.0 / 64, 1};
    if (t->kind != OPERATION || is_constant(t, b)) return 0;
    const bbi_op_row *row = bbi_op_info(t->op);
    int64_t components = row->kind == BBI_FOLD ? side_dim(t->arg[0], b) : side_dim(t, b);
    double cost = row->cost * (double)components * weight[side_place(t, b)];
    for (int k = 0; k < t->narg; k++) cost += side_cost(t->arg[k], b);
    return cost;
}

static double constant_value(const tree *t, const bindings *b) {
    if (t->kind == NODE || t->kind == CONSTANT) return b->node[t->letter]->value;
    if (t->kind == NUMBER) return t->number;
    if (t->kind == INTEGER) return (double)b->integer[t->letter];
    double v[MAX_OPERANDS] = {0};
    for (int k = 0; k < t->narg; k++) v[k] = constant_value(t->arg[k], b);
    const bbi_op_row *row = bbi_op_info(t->op);
    return row->scalar ? row->scalar(v[0], v[1], v[2]) : v[0];
}

/* Collecting constants must not overflow where the formula as it was written did not, in float either. */
static bool constants_are_moderate(const tree *t, const bindings *b) {
    if (t->kind != OPERATION) return true;
    if (is_constant(t, b)) {
        double v = fabs(constant_value(t, b));
        return v == 0 || (v > 1e-30 && v < 1e30);
    }
    for (int k = 0; k < t->narg; k++) {
        if (!constants_are_moderate(t->arg[k], b)) return false;
    }
    return true;
}

/* ---- making a side ---- */
static const bbi_node *make_side(bbi_context *c, const tree *t, const bindings *b) {
    if (t->kind == NODE || t->kind == CONSTANT) return b->node[t->letter];
    if (t->kind == NUMBER) return bbi_const(c, t->number);
    if (t->kind == INTEGER) return bbi_const(c, (double)b->integer[t->letter]);
    const bbi_node *args[MAX_OPERANDS];
    int64_t ints[MAX_OPERANDS];
    for (int k = 0; k < t->narg; k++) args[k] = make_side(c, t->arg[k], b);
    for (int k = 0; k < t->nint; k++) ints[k] = parameter_value(&t->ints[k], b);
    return bbi_node_make(c, t->op, args, t->narg, ints, t->nint);
}

static bool fires(const rule *r, const bbi_node *n, bindings *b) {
    for (unsigned swapped = 0; swapped < 1u << r->swaps; swapped++) {
        memset(b, 0, sizeof *b);
        if (!match(r->left, n, swapped, b) || side_dim(r->right, b) != n->dim) continue;
        if (side_cost(r->right, b) > side_cost(r->left, b) * (1 + 1e-9)) continue;
        if (constants_are_moderate(r->right, b)) return true;
    }
    return false;
}

const bbi_node *bbi_simplify_rules(bbi_context *c, const bbi_node *n) {
    rule_set *set = rules_of(c);
    if (!set) return NULL;
    for (int k = set->first[n->op]; k >= 0; k = set->rule[k].next) {
        bindings b;
        if (!fires(&set->rule[k], n, &b)) continue;
        set->fired[k]++;
        if (bbi_debug('s')) bbi_log('s', "%s  ->  %s", texts[k].left, texts[k].right);
        return make_side(c, set->rule[k].right, &b);
    }
    return NULL;
}

/* ---- for tests ---- */
int bbi_rule_count(void) { return RULES; }

const char *bbi_rule_text(int k, bool right) { return right ? texts[k].right : texts[k].left; }

int64_t bbi_rule_fired(bbi_context *c, int k) {
    const rule_set *set = rules_of(c);
    return set ? set->fired[k] : 0;
}

bool bbi_rule_sides(bbi_context *c, int k, const bbi_node *const letters[BBI_NODE_LETTERS],
                    const int64_t integers[BBI_INT_LETTERS], const bbi_node **left, const bbi_node **right) {
    const rule_set *set = rules_of(c);
    bindings b;
    if (!set) return false;
    memcpy(b.node, letters, sizeof b.node);
    memcpy(b.integer, integers, sizeof b.integer);
    int64_t dim = side_dim(set->rule[k].left, &b);
    if (dim == 0 || side_dim(set->rule[k].right, &b) != dim) return false;
    *left = make_side(c, set->rule[k].left, &b);
    *right = make_side(c, set->rule[k].right, &b);
    return *left && *right && (*left)->dim == (*right)->dim;
}

/* ---- weights: see simplify.c ---- */
/* linear in the weights of the letters: factor . letters + offset */
typedef struct weight {
    double factor[BBI_NODE_LETTERS], offset;
    bool constant, multiple; /* multiple: a constant times something */
} weight;

enum { LEAST = 1 }; /* weight of a constant, and the least of any node */

static weight scaled(weight w, double factor, double offset) {
    for (int k = 0; k < BBI_NODE_LETTERS; k++) w.factor[k] *= factor;
    w.offset = w.offset * factor + offset;
    w.constant = w.multiple = false;
    return w;
}

static weight total(const weight *w, int count) {
    weight sum = {{0}, 0, true, false};
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < BBI_NODE_LETTERS; k++) sum.factor[k] += w[i].factor[k];
        sum.offset += w[i].offset;
        sum.constant = sum.constant && w[i].constant;
    }
    return sum;
}

static weight times_constant(weight w, bool made) {
    if (made && w.multiple) return w;
    w = scaled(w, 1, 3);
    w.multiple = true;
    return w;
}

static weight operation_weight(const tree *t, const weight *arg, bool made) {
    bool left = t->narg == 2 && arg[0].constant, right = t->narg == 2 && arg[1].constant;
    weight sum = total(arg, t->narg);
    if (t->op == BBI_OP_repeat) return scaled(sum, 1, 1);
    if (sum.constant) return (weight){{0}, LEAST, true, false};
    if (t->op == BBI_OP_neg) return made && arg[0].multiple ? arg[0] : scaled(sum, 1, 2);
    if (t->op == BBI_OP_mul && (left || right)) return times_constant(arg[left], made);
    if (t->op == BBI_OP_add && (left || right)) return scaled(arg[left], 1, 2);
    if (t->op == BBI_OP_sub && (left || right)) return scaled(arg[left], 1, left ? 3 : 2);
    if (t->op == BBI_OP_add) return scaled(sum, 1, 2);
    if (t->op == BBI_OP_sub) return scaled(sum, 1, 3);
    return scaled(sum, 2, t->op == BBI_OP_div ? 4 : 3);
}

/* normal: set to false where no such node exists, because it is computed (constants) or has another canonical
 * form (x - p); NULL for a right side, which is made, so that -(p x) and q (p x) in it count as the one
 * product that they become. */
static weight side_weight(const tree *t, unsigned constants, bool *normal) {
    weight w = {{0}, LEAST, true, false};
    if (t->kind == NUMBER || t->kind == INTEGER) return w;
    if (t->kind != OPERATION) {
        if (t->kind == CONSTANT || constants >> t->letter & 1) return w;
        w.factor[t->letter] = 1;
        w.offset = 0;
        w.constant = false;
        return w;
    }
    weight arg[MAX_OPERANDS];
    for (int k = 0; k < t->narg; k++) arg[k] = side_weight(t->arg[k], constants, normal);
    w = operation_weight(t, arg, !normal);
    if (normal && (w.constant || (t->op == BBI_OP_sub && arg[1].constant))) *normal = false;
    return w;
}

bool bbi_rule_decreases(bbi_context *c, int k) {
    const rule_set *set = rules_of(c);
    if (!set) return false;
    for (unsigned constants = 0; constants < 8; constants++) {
        bool normal = true;
        weight left = side_weight(set->rule[k].left, constants, &normal);
        weight right = side_weight(set->rule[k].right, constants, NULL);
        double least = left.offset - right.offset;
        for (int i = 0; i < BBI_NODE_LETTERS && normal; i++) {
            if (left.factor[i] < right.factor[i]) return false;
            least += LEAST * (left.factor[i] - right.factor[i]);
        }
        if (normal && least <= 0) return false;
    }
    return true;
}
