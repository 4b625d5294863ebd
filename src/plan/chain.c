/* chain.c: long chains of additions, as Laplacians of long vectors have them. bbi_lower descends from a node to its
 * operands and would descend as deep as such a chain is long, beyond any stack; here its links are lowered in the order
 * of order.c, operands first, so that each finds the one before it done. */
#include "lower.h"

#include <stdlib.h>

typedef struct chain {
    const bbi_node **link;
    int32_t count, capacity;
    bbi_table seen; /* (node id, 0) */
} chain;

static bb_status add_link(const bbi_builder_state *b, chain *c, const bbi_node *node, int32_t index) {
    if (node->op != BBI_OP_add && node->op != BBI_OP_sub) return BB_OK;
    if (!bbi_computed_here(b, node) || bbi_table_get(&c->seen, node->id, 0) >= 0 ||
        bbi_table_get(&b->memo, node->id, index) >= 0)
        return BB_OK;
    const bbi_node **grown = bbi_grow(c->link, c->count, &c->capacity, sizeof *grown);
    if (!grown) return BB_OUT_OF_MEMORY;
    c->link = grown;
    c->link[c->count++] = node;
    return bbi_table_put(&c->seen, node->id, 0, 1);
}

static bb_status collect(const bbi_builder_state *b, chain *c, const bbi_node *node, int32_t index) {
    BBI_FORWARD(add_link(b, c, node, index));
    for (int32_t k = 0; k < c->count; k++)
        for (int a = 0; a < 2; a++)
            if (c->link[k]->arg[a]->dim == node->dim) BBI_FORWARD(add_link(b, c, c->link[k]->arg[a], index));
    return BB_OK;
}

bb_status bbi_lower_chain(bbi_builder_state *b, const bbi_node *node, int32_t index) {
    chain c = {0};
    bb_status status = collect(b, &c, node, index);
    if (c.count > 1) qsort(c.link, (size_t)c.count, sizeof *c.link, bbi_compare_places);
    for (int32_t k = 0; k + 1 < c.count && status == BB_OK; k++) { /* the last one is the node itself */
        bbi_operand done;
        status = bbi_lower(b, c.link[k], index, &done);
    }
    bbi_table_free(&c.seen);
    bbi_free(c.link);
    return status;
}
