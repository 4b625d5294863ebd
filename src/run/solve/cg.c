/* cg.c: block conjugate gradients with a preconditioner (Hestenes and Stiefel, J. Res. NBS 49, 1952; O'Leary, The block
 * conjugate gradient algorithm, 1980). Columns that share a matrix also share their search directions, some at a time:
 *     W = P^T A P,  X += P W^+ P^T R,  R -= A P W^+ P^T R,  P = Z - P W^+ (A P)^T Z,  Z = M^-1 R.
 * W^+ is that of the directions that a Cholesky factorisation with pivoting finds independent: near convergence they
 * are not, and columns that have converged leave. With one column this is the ordinary iteration. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 8 }; /* columns that share directions */

/* ---- what iterations have in common ---------------------------------------------------------- */
void bbi_column_products(const bbi_matrix *m, const double *a, const double *b, double *result) {
    memset(result, 0, (size_t)(m->batches * m->columns) * sizeof *result);
    for (int64_t n = 0; n < m->batches; n++) {
        double *sum = result + n * m->columns;
        for (int64_t i = 0; i < m->n; i++) {
            const double *u = a + (n * m->n + i) * m->columns, *v = b + (n * m->n + i) * m->columns;
            for (int64_t e = 0; e < m->columns; e++) sum[e] += u[e] * v[e];
        }
    }
}

bool bbi_column_done(const bbi_iteration *it, int64_t column) {
    double rr = it->rr[column], t = it->tolerance;
    return it->options->relative ? sqrt(rr) <= t * sqrt(it->bb[column]) : rr < (double)it->m->n * t * t || rr == 0;
}

static double residual_of(bbi_iteration *it) {
    double rr = 0, bb = 0;
    bool each = true;
    for (int64_t k = 0; k < it->m->batches * it->m->columns; k++) {
        rr += it->rr[k], bb += it->bb[k];
        each = each && bbi_column_done(it, k);
    }
    it->done = each || (!it->options->relative && rr < (double)it->m->count * it->tolerance * it->tolerance);
    return bb > 0 ? sqrt(rr / bb) : sqrt(rr);
}

bb_status bbi_iteration_look(bbi_iteration *it, bool *stop) {
    bb_solve_result *result = it->result;
    const bb_solve_options *o = it->options;
    double residual = result->residual = residual_of(it);
    if (o->history && result->history_count < o->history_capacity) o->history[result->history_count] = residual;
    if (o->history) result->history_count++;
    if (o->report && o->report(o->report_data, result->iterations, residual))
        return bbi_fail(BB_CANCELLED, "bb_solve: cancelled after %lld iterations", (long long)result->iterations);
    if (isnan(residual))
        return bbi_fail(BB_NO_CONVERGENCE,
                        "bb_solve: the residual is NaN: the right-hand side, the data or the formula give values that "
                        "are not numbers");
    if (it->first < 0) it->first = residual;
    if (it->best < 0 || residual < 0.9 * it->best) it->best = residual, it->best_at = result->iterations;
    it->stagnates = result->iterations - it->best_at > 500 + it->best_at;
    *stop = it->done || it->stagnates || result->iterations >= it->limit ||
            (it->pause > 0 && result->iterations >= it->pause);
    if (!it->done && residual > 1e9 * it->first)
        return bbi_fail(BB_NO_CONVERGENCE,
                        "bb_solve: the iteration diverges (relative residual %.3g after %lld iterations): check that "
                        "the formula is a symmetric kernel; raise alpha (now %g), centre the data, compute in float64",
                        residual, (long long)result->iterations, it->alpha);
    return BB_OK;
}

/* ---- small systems --------------------------------------------------------------------------- */
/* W = P^T A P of the columns of a group. Its Cholesky factor has a row for each direction in use, in the order in which
 * they were chosen; columns go by the number of the direction. */
typedef struct small {
    int size, rank, order[BLOCK];
    double w[BLOCK][BLOCK], scale[BLOCK], l[BLOCK][BLOCK];
} small;

/* Pivoted Cholesky of W scaled to a unit diagonal. False where W is not positive semidefinite up to rounding. */
static bool factor(small *s, double least) {
    double left[BLOCK];
    for (int i = 0; i < s->size; i++) {
        s->order[i] = i;
        left[i] = s->w[i][i] > 0;
        s->scale[i] = s->w[i][i] > 0 ? 1 / sqrt(s->w[i][i]) : 0;
    }
    for (s->rank = 0; s->rank < s->size; s->rank++) {
        int k = s->rank, best = k;
        for (int i = k; i < s->size; i++) {
            if (left[s->order[i]] > left[s->order[best]]) best = i;
            if (left[s->order[i]] < -0.01) return false;
        }
        int p = s->order[best];
        if (left[p] <= least) return true;
        s->order[best] = s->order[k];
        s->order[k] = p;
        s->l[k][p] = sqrt(left[p]);
        for (int i = k + 1; i < s->size; i++) {
            int q = s->order[i];
            double sum = 0.5 * (s->w[p][q] + s->w[q][p]) * s->scale[p] * s->scale[q];
            for (int t = 0; t < k; t++) sum -= s->l[t][p] * s->l[t][q];
            s->l[k][q] = sum / s->l[k][p];
            left[q] -= s->l[k][q] * s->l[k][q];
        }
    }
    return true;
}

/* y <- W^+ y for the columns of y, (size, size) */
static void solve_small(const small *s, double y[BLOCK][BLOCK]) {
    for (int e = 0; e < s->size; e++) {
        double u[BLOCK] = {0};
        for (int k = 0; k < s->rank; k++) {
            int p = s->order[k];
            u[k] = s->scale[p] * y[p][e];
            for (int t = 0; t < k; t++) u[k] -= s->l[t][p] * u[t];
            u[k] /= s->l[k][p];
        }
        for (int k = 0; k < s->size; k++) y[k][e] = 0;
        for (int k = s->rank - 1; k >= 0; k--) {
            int p = s->order[k];
            for (int i = k + 1; i < s->rank; i++) u[k] -= s->l[k][s->order[i]] * u[i];
            u[k] /= s->l[k][p];
            y[p][e] = s->scale[p] * u[k];
        }
    }
}

/* ---- blocks of columns ----------------------------------------------------------------------- */
typedef struct state {
    bbi_iteration *it;
    double *p, *q, *z, *scratch; /* directions, A p, M^-1 r (r itself without a preconditioner) */
    small *group;
    int64_t groups, width; /* per batch element; columns of a group */
    double least;
} state;

static int size_of(const state *s, int64_t group) {
    int64_t left = s->it->m->columns - group * s->width;
    return (int)(left < s->width ? left : s->width);
}

/* result = A^T B for the columns of a group */
static void products(const state *s, int64_t batch, int64_t group, const double *a, const double *b,
                     double result[BLOCK][BLOCK]) {
    const bbi_matrix *m = s->it->m;
    int size = size_of(s, group);
    for (int i = 0; i < size; i++) memset(result[i], 0, sizeof result[i]);
    for (int64_t row = 0; row < m->n; row++) {
        int64_t at = (batch * m->n + row) * m->columns + group * s->width;
        for (int i = 0; i < size; i++)
            for (int j = 0; j < size; j++) result[i][j] += a[at + i] * b[at + j];
    }
}

/* Y <- Y + sign B C */
static void add_products(const state *s, int64_t batch, int64_t group, double *y, const double *b,
                         double c[BLOCK][BLOCK], double sign) {
    const bbi_matrix *m = s->it->m;
    int size = size_of(s, group);
    for (int64_t row = 0; row < m->n; row++) {
        int64_t at = (batch * m->n + row) * m->columns + group * s->width;
        for (int i = 0; i < size; i++) {
            double x = sign * b[at + i];
            for (int j = 0; j < size; j++) y[at + j] += x * c[i][j];
        }
    }
}

static bool is_active(const state *s, int64_t batch, int64_t column) {
    return !bbi_column_done(s->it, batch * s->it->m->columns + column);
}

/* Directions of columns that have converged are 0: they neither move nor take part. */
static void drop_converged(const state *s) {
    const bbi_matrix *m = s->it->m;
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t e = 0; e < m->columns; e++)
            if (!is_active(s, n, e))
                for (int64_t i = 0; i < m->n; i++) s->p[(n * m->n + i) * m->columns + e] = 0;
}

/* The curvature of a direction of an active column: NaN, or negative by more than rounding. */
static bb_status check_curvature(const state *s, int64_t batch, int64_t column, double curvature) {
    const bbi_iteration *it = s->it;
    const bbi_matrix *m = it->m;
    double pp = 0, qq = 0;
    if (curvature > 0) return BB_OK;
    for (int64_t i = 0; i < m->n; i++) {
        int64_t k = (batch * m->n + i) * m->columns + column;
        pp += s->p[k] * s->p[k];
        qq += s->q[k] * s->q[k];
    }
    long long iteration = (long long)it->result->iterations;
    if (isnan(curvature))
        return bbi_fail(BB_NO_CONVERGENCE,
                        "bb_solve: iteration %lld met NaN: the data or the formula give values that are not numbers",
                        iteration);
    if (curvature >= -(m->is_double ? 1e-12 : 1e-6) * sqrt(pp) * sqrt(qq)) return BB_OK;
    return bbi_fail(BB_INDEFINITE,
                    "bb_solve: iteration %lld found a direction with p.(K + alpha I)p = %g < 0 in column %lld: the "
                    "matrix is not positive definite; raise alpha (now %g), centre the data, compute in float64, check "
                    "that the formula is a symmetric positive kernel, or use the method MINRES",
                    iteration, curvature, (long long)column, it->alpha);
}

static bb_status multiply(state *s) { /* q = (K + alpha I) p */
    bbi_matrix *m = s->it->m;
    BBI_FORWARD(bbi_matrix_multiply(m, s->p, s->q));
    for (int64_t k = 0; k < m->count; k++) s->q[k] += s->it->alpha * s->p[k];
    return BB_OK;
}

static void precondition(const state *s) { /* z = M^-1 r */
    const bbi_iteration *it = s->it;
    int64_t size = it->m->n * it->m->columns;
    for (int64_t n = 0; it->factor && n < it->m->batches; n++)
        bbi_factor_solve(&it->factor[n], it->m->columns, it->r + n * size, s->z + n * size, s->scratch);
}

/* X and R; *moved: whether any direction was of use. */
static bb_status advance(state *s, int64_t batch, int64_t group, bool *moved) {
    small *w = &s->group[batch * s->groups + group];
    double c[BLOCK][BLOCK];
    w->size = size_of(s, group);
    products(s, batch, group, s->p, s->q, w->w);
    for (int e = 0; e < w->size; e++)
        if (is_active(s, batch, group * s->width + e))
            BBI_FORWARD(check_curvature(s, batch, group * s->width + e, w->w[e][e]));
    if (!factor(w, s->least))
        return bbi_fail(BB_INDEFINITE,
                        "bb_solve: iteration %lld found a plane in which K + alpha I is not positive definite; raise "
                        "alpha (now %g), centre the data, compute in float64, or use the method MINRES",
                        (long long)s->it->result->iterations, s->it->alpha);
    *moved = *moved || w->rank > 0;
    products(s, batch, group, s->p, s->it->r, c);
    solve_small(w, c);
    add_products(s, batch, group, s->it->x, s->p, c, 1);
    add_products(s, batch, group, s->it->r, s->q, c, -1);
    return BB_OK;
}

/* P = Z - P W^+ Q^T Z, by way of the new Z in place of P */
static void turn(state *s, int64_t batch, int64_t group, double *next) {
    double c[BLOCK][BLOCK];
    products(s, batch, group, s->q, s->z, c);
    solve_small(&s->group[batch * s->groups + group], c);
    add_products(s, batch, group, next, s->p, c, -1);
}

/* P <- P T with orthonormal columns by a pivoted Cholesky factor of P^T P, 0 for those that depend on the others. Done
 * before the product with A, it keeps W as well conditioned as A is; in exact arithmetic it changes nothing. */
static void orthonormalise(state *s, int64_t batch, int64_t group) {
    const bbi_matrix *m = s->it->m;
    small *w = &s->group[batch * s->groups + group];
    w->size = size_of(s, group);
    if (w->size == 1) return;
    products(s, batch, group, s->p, s->p, w->w);
    (void)factor(w, s->least);
    for (int64_t row = 0; row < m->n; row++) {
        double *p = s->p + (batch * m->n + row) * m->columns + group * s->width, u[BLOCK];
        for (int k = 0; k < w->rank; k++) {
            int q = w->order[k];
            u[k] = w->scale[q] * p[q];
            for (int t = 0; t < k; t++) u[k] -= w->l[t][q] * u[t];
            u[k] /= w->l[k][q];
        }
        for (int k = 0; k < w->size; k++) p[w->order[k]] = k < w->rank ? u[k] : 0;
    }
}

static bb_status step(state *s, double *next, bool *moved) {
    bbi_matrix *m = s->it->m;
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t g = 0; g < s->groups; g++) orthonormalise(s, n, g);
    BBI_FORWARD(multiply(s));
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t g = 0; g < s->groups; g++) BBI_FORWARD(advance(s, n, g, moved));
    bbi_column_products(m, s->it->r, s->it->r, s->it->rr);
    precondition(s);
    memcpy(next, s->z, (size_t)m->count * sizeof *next);
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t g = 0; g < s->groups; g++) turn(s, n, g, next);
    memcpy(s->p, next, (size_t)m->count * sizeof *next);
    return BB_OK;
}

static bb_status iterate(state *s, double *next) {
    bbi_iteration *it = s->it;
    bool stop, moved = true;
    precondition(s);
    memcpy(s->p, s->z, (size_t)it->m->count * sizeof *s->p);
    for (;; it->result->iterations++) {
        BBI_FORWARD(bbi_iteration_look(it, &stop));
        if (stop) return BB_OK;
        if (!moved) {
            it->stagnates = true;
            return BB_OK;
        }
        moved = false;
        drop_converged(s);
        BBI_FORWARD(step(s, next, &moved));
    }
}

bb_status bbi_cg(bbi_iteration *it) {
    const bbi_matrix *m = it->m;
    state s = {.it = it, .width = m->columns < BLOCK ? m->columns : BLOCK};
    if (!m->structure.scalar) s.width = 1; /* matrices of their own have directions of their own */
    int64_t scratch = 0;
    s.groups = (m->columns + s.width - 1) / s.width;
    s.least = m->is_double ? 1e-12 : 1e-6;
    for (int64_t n = 0; it->factor && n < m->batches; n++) {
        int64_t wanted = bbi_factor_scratch(&it->factor[n], m->columns);
        if (wanted > scratch) scratch = wanted;
    }
    double *all = bbi_calloc((size_t)(4 * m->count + scratch) + 1, sizeof *all);
    s.group = bbi_calloc((size_t)(m->batches * s.groups) + 1, sizeof *s.group);
    bb_status status =
        all && s.group ? BB_OK
                       : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld unknowns", (long long)m->count);
    if (status == BB_OK) {
        s.p = all;
        s.q = all + m->count;
        s.z = it->factor ? all + 2 * m->count : it->r;
        s.scratch = all + 4 * m->count;
        status = iterate(&s, all + 3 * m->count);
    }
    bbi_free(all);
    bbi_free(s.group);
    return status;
}
