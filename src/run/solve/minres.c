/* minres.c: the minimal residual method (Paige and Saunders, SIAM J. Numer. Anal. 12, 1975) for symmetric matrices that
 * may be indefinite or singular: Lanczos vectors, a QR factorisation of the tridiagonal matrix by one rotation a step.
 * Each column has a recurrence of its own; all share the products. */
#include "solve.h"

#include <math.h>
#include <string.h>

/* of one column; names as in the paper: beta and alpha of the tridiagonal matrix, rotations (c, s), phi the residual */
typedef struct recurrence {
    double beta, alpha, phi, c, s, c_old, s_old;
    double diagonal, above, above2; /* of the column of R */
    bool still;
} recurrence;

typedef struct state {
    bbi_iteration *it;
    double *v, *v_old, *u, *w, *w_old; /* Lanczos vectors, A v; directions */
    double *sums;
    recurrence *column;
} state;

static bb_status multiply(state *s) { /* u = (K + alpha I) v */
    bbi_matrix *m = s->it->m;
    BBI_FORWARD(bbi_matrix_multiply(m, s->v, s->u));
    for (int64_t k = 0; k < m->count; k++) s->u[k] += s->it->alpha * s->v[k];
    return BB_OK;
}

/* The new column of R and its rotation, once alpha and the next beta are known. */
static void rotate(recurrence *r, double beta_next) {
    double gamma = r->c * r->alpha - r->c_old * r->s * r->beta;
    r->above = r->s * r->alpha + r->c_old * r->c * r->beta;
    r->above2 = r->s_old * r->beta;
    r->diagonal = hypot(gamma, beta_next);
    r->c_old = r->c;
    r->s_old = r->s;
    if (r->diagonal > 0) {
        r->c = gamma / r->diagonal;
        r->s = beta_next / r->diagonal;
    } else {
        r->still = true; /* singular, and the right-hand side is not in the range */
    }
}

static void update_vectors(state *s, const double *beta_next) {
    const bbi_matrix *m = s->it->m;
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t i = 0; i < m->n; i++)
            for (int64_t e = 0; e < m->columns; e++) {
                int64_t column = n * m->columns + e, k = (n * m->n + i) * m->columns + e;
                const recurrence *r = &s->column[column];
                if (r->still) {
                    s->v[k] = 0;
                    continue;
                }
                double w = (s->v[k] - r->above2 * s->w_old[k] - r->above * s->w[k]) / r->diagonal;
                s->w_old[k] = s->w[k];
                s->w[k] = w;
                s->it->x[k] += r->c * r->phi * w;
                s->v_old[k] = s->v[k];
                s->v[k] = beta_next[column] > 0 ? s->u[k] / beta_next[column] : 0;
            }
}

static void orthogonalise(state *s) { /* u -= alpha v + beta v_old */
    const bbi_matrix *m = s->it->m;
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t i = 0; i < m->n; i++)
            for (int64_t e = 0; e < m->columns; e++) {
                int64_t k = (n * m->n + i) * m->columns + e;
                const recurrence *r = &s->column[n * m->columns + e];
                s->u[k] -= r->alpha * s->v[k] + r->beta * s->v_old[k];
            }
}

static bb_status step(state *s) {
    bbi_iteration *it = s->it;
    int64_t columns = it->m->batches * it->m->columns;
    BBI_FORWARD(multiply(s));
    bbi_column_products(it->m, s->v, s->u, s->sums);
    for (int64_t k = 0; k < columns; k++) s->column[k].alpha = s->sums[k];
    orthogonalise(s);
    bbi_column_products(it->m, s->u, s->u, s->sums);
    for (int64_t k = 0; k < columns; k++) {
        s->sums[k] = sqrt(s->sums[k]);
        if (!s->column[k].still) rotate(&s->column[k], s->sums[k]);
    }
    update_vectors(s, s->sums);
    for (int64_t k = 0; k < columns; k++) {
        recurrence *r = &s->column[k];
        if (r->still) continue;
        r->phi *= -r->s;
        r->beta = s->sums[k];
        it->rr[k] = r->phi * r->phi;
        r->still = bbi_column_done(it, k) || r->beta == 0;
    }
    return BB_OK;
}

static bb_status iterate(state *s) {
    bbi_iteration *it = s->it;
    int64_t columns = it->m->batches * it->m->columns;
    for (int64_t k = 0; k < columns; k++) {
        double norm = sqrt(it->rr[k]);
        s->column[k] = (recurrence){.phi = norm, .c = 1, .c_old = 1, .still = bbi_column_done(it, k)};
        s->sums[k] = norm > 0 ? 1 / norm : 0;
    }
    for (int64_t n = 0; n < it->m->batches; n++)
        for (int64_t i = 0; i < it->m->n; i++)
            for (int64_t e = 0; e < it->m->columns; e++) {
                int64_t k = (n * it->m->n + i) * it->m->columns + e;
                s->v[k] = it->r[k] * s->sums[n * it->m->columns + e];
            }
    for (bool stop;; it->result->iterations++) {
        bool moving = false;
        BBI_FORWARD(bbi_iteration_look(it, &stop));
        for (int64_t k = 0; k < columns; k++) moving = moving || !s->column[k].still;
        if (!moving && !it->done) it->stagnates = true;
        if (stop || !moving) return BB_OK;
        BBI_FORWARD(step(s));
    }
}

bb_status bbi_minres(bbi_iteration *it) {
    size_t count = (size_t)it->m->count, columns = (size_t)(it->m->batches * it->m->columns);
    double *all = bbi_calloc(5 * count + columns + 1, sizeof *all);
    state s = {.it = it, .column = bbi_calloc(columns + 1, sizeof *s.column)};
    bb_status status = all && s.column
                           ? BB_OK
                           : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld unknowns", (long long)count);
    if (status == BB_OK) {
        s.v = all, s.v_old = all + count, s.u = all + 2 * count, s.w = all + 3 * count, s.w_old = all + 4 * count;
        s.sums = all + 5 * count;
        status = iterate(&s);
    }
    bbi_free(all);
    bbi_free(s.column);
    return status;
}
