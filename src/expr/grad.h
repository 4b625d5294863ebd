/* grad.h: shared by grad.c (reverse mode), tangent.c (forward mode) and selection.c (rules of the reductions). */
#ifndef BBI_GRAD_H
#define BBI_GRAD_H

#include "expr.h"

/* The text of a row's derivative with respect to operand k, instantiated for node n with g in the place of the
 * cotangent (MAP rows: or of the operand's tangent). NULL without an error where the text is empty; *failed tells the
 * two apart. */
const bbi_node *bbi_derivative_text(bbi_context *c, const bbi_node *n, int k, const bbi_node *g, bool *failed);
/* d brought to dimension dim: summed over its components, or repeated. from: the dimension of the value that d is an
 * adjoint of. */
const bbi_node *bbi_fit_dim(bbi_context *c, const bbi_node *d, int64_t from, int64_t dim);

/* Weight of a pair in a reduction r of the families PROD and LSE: dr = fold over the axis of (df * f_factor + dw *
 * w_factor), all per component of r; NULL factors do not occur. */
typedef struct bbi_pair_weights {
    const bbi_node *f; /* factor of df (df scalar for LSE) */
    const bbi_node *w; /* factor of dw; NULL without weight */
} bbi_pair_weights;
bb_status bbi_reduction_weights(bbi_context *c, const bbi_node *r, bbi_pair_weights *weights);
/* How often a value that lacks some of the folded axes counts in reduction r: 1, or a number of columns placed as r. */
const bbi_node *bbi_missing_count(bbi_context *c, const bbi_node *r, const bbi_node *f);
/* Selections (min, max, K smallest): their index list; the cotangent of f at an entry of the list (f placed IJ) or at
 * an element of the folded axis (f placed on that axis alone); and the tangent of r. */
const bbi_node *bbi_selection_list(bbi_context *c, const bbi_node *r);
const bbi_node *bbi_selection_cotangent(bbi_context *c, const bbi_node *r, const bbi_node *g);
const bbi_node *bbi_selection_tangent(bbi_context *c, const bbi_node *r, const bbi_node *df);

#endif
