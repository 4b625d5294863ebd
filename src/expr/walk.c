/* walk.c: what visits a whole formula: topological order, substitution of variables, operation counts.
 * Operands have smaller ids than their users, so the order of ids is topological too, where no text of a kernel
 * depends on it: nodes are marked in a bit set over ids and their rank in it is their place in that order. Nothing
 * here recurses: a chain of a million additions is walked like any other formula. */
#include "expr.h"

#include <stdlib.h>
#include <string.h>

/* bit set over ids, with the number of set bits before each word */
typedef struct visited {
    uint64_t *bits;
    int32_t *before;
    int64_t words;
} visited;

static int bit_count(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    return (int)(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

static int64_t rank_of(const visited *v, const bbi_node *n) {
    return v->before[n->id / 64] + bit_count(v->bits[n->id / 64] & (((uint64_t)1 << n->id % 64) - 1));
}

typedef struct node_list {
    const bbi_node **item;
    int64_t count, capacity;
} node_list;

/* Marks a node and appends it, once. */
static bool add_node(visited *v, node_list *list, const bbi_node *n) {
    uint64_t bit = (uint64_t)1 << n->id % 64;
    if (v->bits[n->id / 64] & bit) return true;
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 64;
        const bbi_node **item = bbi_realloc(list->item, (size_t)capacity * sizeof *item);
        if (!item) return false;
        list->item = item;
        list->capacity = capacity;
    }
    v->bits[n->id / 64] |= bit;
    list->item[list->count++] = n;
    return true;
}

static bool collect(visited *v, node_list *list, const bbi_node *const *roots, int64_t nroot) {
    int32_t last = 0;
    for (int64_t k = 0; k < nroot; k++)
        if (roots[k] && roots[k]->id > last) last = roots[k]->id;
    v->words = last / 64 + 1;
    v->bits = bbi_calloc((size_t)v->words, sizeof *v->bits);
    v->before = bbi_calloc((size_t)v->words, sizeof *v->before);
    if (!v->bits || !v->before) return false;
    for (int64_t k = 0; k < nroot; k++)
        if (roots[k] && !add_node(v, list, roots[k])) return false;
    for (int64_t k = 0; k < list->count; k++) {
        const bbi_node *n = list->item[k];
        for (int i = 0; i < n->narg; i++)
            if (n->arg[i] && !add_node(v, list, n->arg[i])) return false;
    }
    for (int64_t w = 1; w < v->words; w++) v->before[w] = v->before[w - 1] + bit_count(v->bits[w - 1]);
    return true;
}

static void free_visited(visited *v) {
    bbi_free(v->bits);
    bbi_free(v->before);
}

/* Everything below the roots by id; v stays valid for rank_of until free_visited. */
static bb_status sort_nodes(visited *v, const bbi_node *const *roots, int64_t nroot, const bbi_node ***nodes,
                            int64_t *count) {
    node_list list = {0};
    *v = (visited){0};
    *nodes = NULL;
    *count = 0;
    const bbi_node **sorted = NULL;
    if (collect(v, &list, roots, nroot)) sorted = bbi_alloc((size_t)(list.count + 1) * sizeof *sorted);
    if (sorted) {
        for (int64_t k = 0; k < list.count; k++) sorted[rank_of(v, list.item[k])] = list.item[k];
        *nodes = sorted;
        *count = list.count;
    } else {
        free_visited(v);
    }
    bbi_free(list.item);
    return sorted ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "formula: out of memory");
}

bb_status bbi_topological(const bbi_node *const *roots, int64_t nroot, const bbi_node ***nodes, int64_t *count) {
    visited v;
    BBI_FORWARD(sort_nodes(&v, roots, nroot, nodes, count));
    free_visited(&v);
    if (*count > 1) qsort(*nodes, (size_t)*count, sizeof **nodes, bbi_compare_places);
    return BB_OK;
}

/* ---- substitution ---- */
static const bbi_node *rebuild(bbi_context *c, const bbi_node *n, const bbi_node *const *args) {
    if (n->op != BBI_OP_REDUCE) return bbi_node_make(c, n->op, args, n->narg, n->ints, n->nint);
    return bbi_reduce(c, (bbi_reduction)n->ints[0], (bbi_place)n->ints[1], n->ints[2], args[0], args[1], args[2]);
}

static const bbi_node *replace_variable(const bbi_node *n, const bbi_node *const *image, int64_t nimage) {
    int64_t position = n->ints[0];
    if (position < 0 || position >= nimage || !image[position]) return n;
    if (image[position]->dim == n->dim) return image[position];
    bbi_fail(BB_BAD_SHAPE, "substitution: variable %lld has dimension %lld, what replaces it %lld", (long long)position,
             (long long)n->dim, (long long)image[position]->dim);
    return NULL;
}

/* of variables by position, and of any nodes by others */
typedef struct replacement {
    const bbi_node *const *image;
    int64_t nimage;
    const bbi_node *const *from, *const *to;
    int64_t count;
} replacement;

static const bbi_node *replaced(bbi_context *c, const visited *v, const bbi_node *const *node, const bbi_node *n,
                                const replacement *r) {
    for (int64_t k = 0; k < r->count; k++)
        if (n == r->from[k]) return r->to[k];
    if (n->op == BBI_OP_VAR) return replace_variable(n, r->image, r->nimage);
    if (n->narg == 0) return n;
    const bbi_node *args[BBI_MAX_ARGS] = {0};
    bool changed = false;
    for (int i = 0; i < n->narg; i++) {
        if (n->arg[i]) args[i] = node[rank_of(v, n->arg[i])];
        changed = changed || args[i] != n->arg[i];
    }
    return changed ? rebuild(c, n, args) : n;
}

static const bbi_node *replace_below(bbi_context *c, const bbi_node *root, const replacement *r) {
    visited v;
    const bbi_node **node, *result = NULL;
    int64_t count;
    if (!root || sort_nodes(&v, &root, 1, &node, &count) != BB_OK) return NULL;
    for (int64_t k = 0; k < count; k++) { /* node[k] is overwritten by what stands for it: later nodes look only back */
        result = replaced(c, &v, node, node[k], r);
        node[k] = result;
        if (!result) break;
    }
    free_visited(&v);
    bbi_free(node);
    return result;
}

const bbi_node *bbi_substitute(bbi_context *c, const bbi_node *root, const bbi_node *const *image, int64_t nimage) {
    replacement r = {.image = image, .nimage = nimage};
    return replace_below(c, root, &r);
}

const bbi_node *bbi_replace(bbi_context *c, const bbi_node *root, const bbi_node *const *from,
                            const bbi_node *const *to, int64_t count) {
    replacement r = {.from = from, .to = to, .count = count};
    return replace_below(c, root, &r);
}

/* ---- operation counts ---- */
/* An exponential, a maximum and a sum for each exponent, a product and a sum for each component of the weight. */
static double logsum_cost(const bbi_node *n) {
    return bbi_op_info(BBI_OP_exp)->cost + 3 + (n->narg > 1 && n->arg[1] ? 2 * (double)n->arg[1]->dim : 0);
}

static double node_cost(const bbi_node *n) {
    const bbi_op_row *row = bbi_op_info(n->op);
    double components = (double)n->dim;
    if (row->kind == BBI_FOLD || n->op == BBI_OP_REDUCE) components = (double)n->arg[0]->dim;
    if (n->op == BBI_OP_REDUCE && bbi_reduction_info((int)n->ints[0])->family == BBI_FAMILY_LSE) return logsum_cost(n);
    if (row->kind == BBI_CONTRACT) {
        bbi_contraction spec = bbi_contraction_of(n);
        components = n->narg == 2 ? 1 : 0.5;
        for (int k = 0; k < spec.nlabel; k++) components *= (double)spec.size[k];
    }
    return row->cost * components;
}

double bbi_cost(const bbi_node *const *roots, int64_t nroot) {
    const bbi_node **node;
    int64_t count;
    double cost = 0;
    if (bbi_topological(roots, nroot, &node, &count) != BB_OK) return 0;
    for (int64_t k = 0; k < count; k++) cost += node_cost(node[k]);
    bbi_free(node);
    return cost;
}
