/* quadrature.h: the state that recurrence.c and quadrature.c share: a block of probes, their recurrences, what has been
 * found. */
#ifndef BBI_QUADRATURE_H
#define BBI_QUADRATURE_H

#include "solve.h"

/* of one probe */
typedef struct bbi_recurrence {
    double *diagonal, *beside; /* of T */
    double norm2;              /* z^T P^-1 z */
    double pivot, zeta;        /* T = (unit lower bidiagonal) diag(pivots) (its transpose); forward substitution */
    int64_t size;
    bool still; /* the Krylov space is exhausted, or nothing left to do */
} bbi_recurrence;

typedef struct bbi_quadrature {
    bbi_matrix m;
    bb_trace_options options;
    bb_trace_result found;
    bool logdet;
    int64_t probes, steps, seen;                       /* per block; at most; probes of the blocks before this one */
    bbi_factor *factor;                                /* per batch element, or NULL */
    double *v, *v_old, *w, *u, *p, *x, *one, *scratch; /* (batches, n, probes); p, x for the gradient's vectors */
    double *sums;                                      /* (batches, probes) */
    bbi_recurrence *column;                            /* (batches, probes) */
    double *d, *e, *first;                             /* of one T */
    double *sample, *drift;                            /* estimates: (batches, capacity); of the mean, per batch */
    int64_t capacity;
    double largest; /* diagonal entry of a float32 kernel */
} bbi_quadrature;

/* ---- recurrence.c ---------------------------------------------------------------------------- */
/* As many probes as rows: their estimate is the trace itself, up to Lanczos. */
bool bbi_recurrence_units(const bbi_quadrature *q);
/* Draws the probes of a block. */
bb_status bbi_recurrence_begin(bbi_quadrature *q, int64_t block);
/* One product: an entry more of each T, x by its factors, the next vectors. */
bb_status bbi_recurrence_step(bbi_quadrature *q);

#endif
