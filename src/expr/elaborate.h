/* elaborate.h: shared by elaborate.c (numbers, operators, names) and elaborate_call.c (operations and
 * reductions). Functions that return false have stored the message, at its place in a user's text. */
#ifndef BBI_ELABORATE_H
#define BBI_ELABORATE_H

#include "syntax.h"

typedef enum bbi_value_kind { BBI_VALUE_NODE, BBI_VALUE_INTEGER, BBI_VALUE_REAL, BBI_VALUE_LIST } bbi_value_kind;
typedef struct bbi_value {
    bbi_value_kind kind;
    const bbi_node *node;
    int64_t integer;
    double real; /* also of an integer */
} bbi_value;

/* ---- elaborate.c ---- */
bool bbi_fail_in(const bbi_scope *s, const bbi_syntax *tree, bb_status code, const char *format, ...) BBI_PRINTF(4, 5);
/* A builder failed and stored its message: shows the place. */
bool bbi_fail_built(const bbi_scope *s, size_t place);
bool bbi_give_node(const bbi_scope *s, size_t place, const bbi_node *node,
                   bbi_value *result); /* NULL: as bbi_fail_built */
bool bbi_elaborate_node(const bbi_scope *s, const bbi_syntax *tree, const bbi_node **node);
bool bbi_elaborate_integer(const bbi_scope *s, const bbi_syntax *tree, int64_t *integer);
/* Integer arguments from `item` on, at most BBI_MAX_INTS; a list contributes its length, then its items. */
bool bbi_elaborate_integers(const bbi_scope *s, const bbi_syntax *item, int64_t *ints, int *count);
bool bbi_elaborate_special(const bbi_scope *s, const bbi_syntax *call, bbi_value *result); /* BBI_CALLEE_SPECIAL */

/* ---- elaborate_call.c ---- */
bool bbi_elaborate_call(const bbi_scope *s, const bbi_syntax *call, bbi_value *result);
/* All outputs of a row of reduce_macro.def. */
bb_status bbi_elaborate_composite(const bbi_scope *s, const bbi_syntax *call, const bbi_node **outputs,
                                  int64_t max_outputs, int64_t *noutput);

#endif
