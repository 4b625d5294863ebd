/* place.c: placing a value along axes that it does not depend on. */
#include "expr.h"

const bbi_node *bbi_place_as(bbi_context *c, const bbi_node *f, bbi_place place) {
    if (!f || (place & ~f->place) == 0) return f;
    return bbi_op2(c, BBI_OP_mul, f, bbi_var(c, BBI_ONE, place, 1));
}
