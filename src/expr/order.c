/* order.c: the order of nodes. It decides which operand of a commuting operation stands first, in which order sums are
 * lowered, folds numbered and gradients gathered: so the text of a kernel follows from the formula alone, whatever its
 * context has met before.
 *
 * Smaller formulas come first, hence operands before what uses them: every ascending list is a topological order. Among
 * equal heights: constants, variables, others; then by placement, by dimension and by shape. The shape of a formula is
 * a digest of what the text of a kernel may depend on: operations, placements and small dimensions, but neither the
 * positions of variables, nor numbers, nor long dimensions. So formulas that differ in those alone are ordered alike
 * and share their kernels. Only formulas of one shape are compared further: numbers, positions, dimensions, operands
 * from the left. */
#include "expr.h"

#include <math.h>
#include <string.h>

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

bool bbi_is_literal(double value) {
    static const double literals[] = {0, 1, -1, 2, -2, 0.5, -0.5};
    for (size_t n = 0; n < sizeof literals / sizeof *literals; n++)
        if (value == literals[n] && !(value == 0 && signbit(value))) return true;
    return false;
}

/* A long dimension is a run-time number in a kernel, which one does not matter. */
static uint64_t class_of(int64_t n) { return n > BBI_SMALL ? BBI_SMALL + 1 : (uint64_t)n; }

void bbi_order_prepare(bbi_node *n) {
    uint64_t bits = 0;
    n->height = 0;
    if (n->op == BBI_OP_CONST && bbi_is_literal(n->value)) memcpy(&bits, &n->value, sizeof bits);
    uint64_t h = mix(bits, (uint64_t)n->op << 32 | (uint64_t)n->place << 16 | n->narg);
    h = mix(h, class_of(n->dim));
    for (int k = 0; k < n->narg; k++) {
        h = mix(h, n->arg[k] ? n->arg[k]->shape : UINT64_MAX);
        if (n->arg[k] && n->arg[k]->height >= n->height) n->height = n->arg[k]->height + 1;
    }
    int32_t first = n->op == BBI_OP_VAR && n->ints[0] >= 0; /* without its position */
    for (int32_t k = first; k < n->nint; k++) h = mix(h, class_of(n->ints[k]));
    n->shape = h;
}

static int sign(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int rank_of_op(const bbi_node *n) { return n->op == BBI_OP_CONST ? 0 : n->op == BBI_OP_VAR ? 1 : 2; }

static int compare_shapes(const bbi_node *a, const bbi_node *b) {
    int c = sign(a->height, b->height);
    if (!c) c = rank_of_op(a) - rank_of_op(b);
    if (!c) c = a->place - b->place;
    if (!c) c = sign((int64_t)class_of(a->dim), (int64_t)class_of(b->dim));
    if (!c) c = (a->shape > b->shape) - (a->shape < b->shape);
    return c;
}

/* What shapes leave out, and what two shapes of one digest would differ in. */
static int compare_contents(const bbi_node *a, const bbi_node *b) {
    int c = sign(a->op, b->op);
    if (!c && a->op == BBI_OP_CONST) c = (a->value > b->value) - (a->value < b->value);
    if (!c && a->op == BBI_OP_CONST) c = memcmp(&a->value, &b->value, sizeof a->value);
    if (!c) c = sign(a->narg, b->narg);
    if (!c) c = sign(a->nint, b->nint);
    for (int32_t k = 0; k < a->nint && !c; k++) c = sign(a->ints[k], b->ints[k]);
    return c;
}

int bbi_compare(const bbi_node *a, const bbi_node *b) {
    while (a != b) { /* down to the first operands that differ; formulas may be deeper than any stack */
        if (!a || !b) return a ? 1 : -1;
        int c = compare_shapes(a, b);
        if (!c) c = compare_contents(a, b);
        if (c) return c;
        int k = 0;
        while (k < a->narg && a->arg[k] == b->arg[k]) k++;
        if (k == a->narg) return sign(a->id, b->id); /* one of them was made raw */
        a = a->arg[k];
        b = b->arg[k];
    }
    return 0;
}

int bbi_compare_places(const void *a, const void *b) {
    return bbi_compare(*(const bbi_node *const *)a, *(const bbi_node *const *)b);
}

int64_t bbi_position(const bbi_node *const *nodes, int64_t count, const bbi_node *node) {
    int64_t low = 0, high = count - 1;
    while (low <= high) {
        int64_t middle = (low + high) / 2;
        int c = bbi_compare(nodes[middle], node);
        if (c == 0) return middle;
        if (c < 0)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}
