/* simplify.h: between simplify.c and the files that do its work. A function that rewrites a candidate (a node
 * that is checked, shaped and put into canonical order, but not interned) returns NULL where it does not
 * apply. */
#ifndef BBI_SIMPLIFY_H
#define BBI_SIMPLIFY_H

#include "expr.h"

/* ---- components.c ---- */
const bbi_node *bbi_simplify_map(bbi_context *c, const bbi_node *n);   /* MAP over repeat, pad, slice, concat */
const bbi_node *bbi_simplify_index(bbi_context *c, const bbi_node *n); /* INDEX over INDEX and MAP */

/* ---- contract.c ---- */
const bbi_node *bbi_simplify_contract(bbi_context *c, const bbi_node *n);

/* ---- rule.c ---- */
enum { BBI_NODE_LETTERS = 5, BBI_INT_LETTERS = 4 }; /* x y z p q; m n k l */
const bbi_node *bbi_simplify_rules(bbi_context *c, const bbi_node *n);
/* For tests: the texts; how often a rule was applied; both sides made over given operands (false where their
 * dimensions differ or do not fit); whether the right side weighs less whatever stands for the letters. */
int bbi_rule_count(void);
const char *bbi_rule_text(int rule, bool right);
int64_t bbi_rule_fired(bbi_context *c, int rule); /* how often, in this context */
bool bbi_rule_sides(bbi_context *c, int rule, const bbi_node *const letters[BBI_NODE_LETTERS],
                    const int64_t integers[BBI_INT_LETTERS], const bbi_node **left, const bbi_node **right);
bool bbi_rule_decreases(bbi_context *c, int rule);

#endif
