/* cg.c: block conjugate gradients with a preconditioner (Hestenes and Stiefel, J. Res. NBS 49, 1952; O'Leary, The block
 * conjugate gradient algorithm, 1980), in the variant that carries an orthonormal basis of the residuals instead of the
 * residuals (Dubrulle, Retooling the method of block conjugate gradients, ETNA 12, 2001). Columns that share a matrix
 * share their search directions, some at a time: R = Q C with Q^T M^-1 Q = I, Z = M^-1 Q and
 *     W = P^T A P,  a = W^+ P^T Q,  X += P a C,  Q' c = Q - A P a,  C' = c C,  P' = Z' - P W^+ (A P)^T Z'.
 * The columns of R become nearly dependent as they converge; those of Q do not, so that no digits are lost. W^+ and
 * the basis are those of the columns that a Cholesky factorisation with pivoting finds independent. With one column
 * this is the ordinary iteration. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { BLOCK = BBI_BLOCK, SOME_ROWS = 64 };

/* ---- what iterations have in common ---------------------------------------------------------- */
void bbi_column_products(const bbi_matrix *m, const double *a, const double *b, double *result) {
    memset(result, 0, (size_t)(m->batches * m->columns) * sizeof *result);
    for (int64_t n = 0; n < m->batches; n++) {
        double *sum = result + n * m->columns;
        if (m->columns == 1) {
            *sum = bbi_dense_of(m->level)->dot(a + n * m->n, b + n * m->n, m->n);
            continue;
        }
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

/* Whether the residual, falling as it has on average, is far from its end after twice the iterations before the pause. */
static bool is_slow(const bbi_iteration *it, double residual) {
    const bbi_matrix *m = it->m;
    double done = (double)it->result->iterations, bb = 0, target = it->tolerance;
    for (int64_t k = 0; k < m->batches * m->columns; k++) bb += it->bb[k];
    if (!it->options->relative) target *= sqrt((double)m->count / (bb > 0 ? bb : 1));
    return done * log(residual / target) > (2 * (double)it->pause - done) * log(it->first / residual);
}

bb_status bbi_iteration_look(bbi_iteration *it, bool *stop) {
    bb_solve_result *result = it->result;
    const bb_solve_options *o = it->options;
    double residual = result->residual = residual_of(it);
    /* a phase begins where the one before ended */
    if (o->history && result->iterations < o->history_capacity) o->history[result->iterations] = residual;
    if (o->history) result->history_count = result->iterations + 1;
    if (o->report && o->report(o->report_data, result->iterations, residual))
        return bbi_fail(BB_CANCELLED, "bb_solve: cancelled after %lld iterations", (long long)result->iterations);
    if (isnan(residual))
        return bbi_fail(BB_NO_CONVERGENCE,
                        "bb_solve: the residual is NaN: the right-hand side, the data or the formula give values that "
                        "are not numbers");
    if (it->first < 0) it->first = residual;
    if (it->best < 0 || residual < 0.9 * it->best) it->best = residual, it->best_at = result->iterations;
    if (residual < 0.9 * it->kept_residual) {
        it->kept_residual = residual;
        memcpy(it->kept, it->x, (size_t)it->m->count * sizeof *it->x);
    }
    it->stagnates = result->iterations - it->best_at > 500 + it->best_at;
    *stop = it->done || it->stagnates || result->iterations >= it->limit ||
            (it->pause > 0 && result->iterations >= it->pause) ||
            (it->pause > 0 && result->iterations >= it->look && is_slow(it, residual));
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
typedef struct group {
    small w;                    /* of P^T A P */
    double basis[BLOCK][BLOCK]; /* C: residuals = Q C */
} group;

typedef struct state {
    bbi_iteration *it;
    double *p, *ap, *q, *z, *scratch; /* directions, A p, basis of the residuals, M^-1 q (q without a preconditioner) */
    group *group;
    int64_t groups, width; /* per batch element; columns of a group */
    double least;          /* squared size of what counts as dependent */
    const bbi_dense *dense;
} state;

static int size_of(const state *s, int64_t g) {
    int64_t left = s->it->m->columns - g * s->width;
    return (int)(left < s->width ? left : s->width);
}

/* result = A^T B for the columns of a group */
static void products(const state *s, int64_t batch, int64_t g, const double *a, const double *b,
                     double result[BLOCK][BLOCK]) {
    const bbi_matrix *m = s->it->m;
    int64_t at = batch * m->n * m->columns + g * s->width;
    int size = size_of(s, g);
    for (int i = 0; i < size; i++) memset(result[i], 0, sizeof result[i]);
    s->dense->cross(m->n, m->columns, size, a + at, b + at, result[0]);
}

/* Y <- Y + sign B C */
static void add_products(const state *s, int64_t batch, int64_t g, double *y, const double *b, double c[BLOCK][BLOCK],
                         double sign) {
    const bbi_matrix *m = s->it->m;
    int64_t at = batch * m->n * m->columns + g * s->width;
    int size = size_of(s, g);
    double scaled[BLOCK][BLOCK] = {{0}};
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) scaled[i][j] = sign * c[i][j];
    s->dense->combine(m->n, m->columns, size, b + at, scaled[0], y + at, m->columns);
}

/* C <- A C */
static void multiply_small(int size, double a[BLOCK][BLOCK], double c[BLOCK][BLOCK]) {
    for (int j = 0; j < size; j++) {
        double column[BLOCK];
        for (int i = 0; i < size; i++) column[i] = c[i][j];
        for (int i = 0; i < size; i++) {
            c[i][j] = 0;
            for (int k = 0; k < size; k++) c[i][j] += a[i][k] * column[k];
        }
    }
}

/* T, where W = T^-T T^-1, in the order of the columns; 0 for those that depend on the others. */
static void triangle(const small *w, double t[BLOCK][BLOCK]) {
    memset(t, 0, BLOCK * sizeof *t);
    for (int e = 0; e < w->size; e++) { /* row e, by a substitution for the unit vector */
        double u[BLOCK] = {0};
        for (int k = 0; k < w->rank; k++) {
            int q = w->order[k];
            u[k] = q == e ? w->scale[q] : 0;
            for (int i = 0; i < k; i++) u[k] -= w->l[i][q] * u[i];
            u[k] /= w->l[k][q];
            t[e][q] = u[k];
        }
    }
}

/* V <- V T, some rows at a time */
static void transform(const state *s, int64_t batch, int64_t g, double t[BLOCK][BLOCK], double *v) {
    const bbi_matrix *m = s->it->m;
    int size = size_of(s, g);
    double product[SOME_ROWS * BLOCK];
    for (int64_t row = 0; row < m->n; row += SOME_ROWS) {
        int64_t rows = m->n - row < SOME_ROWS ? m->n - row : SOME_ROWS;
        double *to = v + (batch * m->n + row) * m->columns + g * s->width;
        memset(product, 0, (size_t)(rows * size) * sizeof *product);
        s->dense->combine(rows, m->columns, size, to, t[0], product, size);
        for (int64_t r = 0; r < rows; r++) memcpy(to + r * m->columns, product + r * size, (size_t)size * sizeof *to);
    }
}

static bb_status not_a_number(const bbi_iteration *it) {
    return bbi_fail(BB_NO_CONVERGENCE,
                    "bb_solve: iteration %lld met NaN or infinity: the right-hand side, the data or the formula give "
                    "values that are not finite numbers",
                    (long long)it->result->iterations);
}

/* Q becomes orthonormal with respect to M^-1 (Z along with it), C absorbs what that takes. Twice: the first time leaves
 * an error that grows with the condition of Q. */
static bb_status orthonormalise(const state *s, int64_t batch, int64_t g) {
    group *of = &s->group[batch * s->groups + g];
    small w = {.size = size_of(s, g)};
    for (int pass = 0; pass < 2; pass++) {
        double c[BLOCK][BLOCK] = {{0}}, t[BLOCK][BLOCK];
        products(s, batch, g, s->q, s->z, w.w);
        for (int e = 0; e < w.size; e++)
            if (!isfinite(w.w[e][e])) return not_a_number(s->it);
        (void)factor(&w, 1e-14);
        triangle(&w, t);
        transform(s, batch, g, t, s->q);
        if (s->z != s->q) transform(s, batch, g, t, s->z);
        for (int k = 0; k < w.rank; k++)
            for (int i = k; i < w.size; i++) {
                int e = w.order[i];
                if (w.scale[e] > 0) c[w.order[k]][e] = w.l[k][e] / w.scale[e];
            }
        multiply_small(w.size, c, of->basis);
    }
    return BB_OK;
}

/* R = Q C */
static void form_residual(const state *s, int64_t batch, int64_t g) {
    const bbi_matrix *m = s->it->m;
    int size = size_of(s, g);
    for (int64_t row = 0; row < m->n; row++)
        memset(s->it->r + (batch * m->n + row) * m->columns + g * s->width, 0, (size_t)size * sizeof *s->it->r);
    add_products(s, batch, g, s->it->r, s->q, s->group[batch * s->groups + g].basis, 1);
}

/* The curvature of a direction: NaN, or negative by more than rounding. */
static bb_status check_curvature(const state *s, int64_t batch, int64_t column, double curvature) {
    const bbi_iteration *it = s->it;
    const bbi_matrix *m = it->m;
    double pp = 0, qq = 0;
    if (curvature > 0 && !isinf(curvature)) return BB_OK;
    if (!isfinite(curvature)) return not_a_number(it);
    for (int64_t i = 0; i < m->n; i++) {
        int64_t k = (batch * m->n + i) * m->columns + column;
        pp += s->p[k] * s->p[k];
        qq += s->ap[k] * s->ap[k];
    }
    if (curvature >= -(m->is_double ? 1e-12 : 1e-6) * sqrt(pp) * sqrt(qq)) return BB_OK;
    return bbi_fail(BB_INDEFINITE,
                    "bb_solve: iteration %lld found a direction with p.(K + alpha I)p = %g < 0: the "
                    "matrix is not positive definite; raise alpha (now %g), centre the data, compute in float64, check "
                    "that the formula is a symmetric positive kernel, or use the method MINRES",
                    (long long)it->result->iterations, curvature, it->alpha);
}

static bb_status multiply(state *s) { /* A p = (K + alpha I) p */
    bbi_matrix *m = s->it->m;
    BBI_FORWARD(bbi_matrix_multiply(m, s->p, s->ap));
    for (int64_t k = 0; k < m->count; k++) s->ap[k] += s->it->alpha * s->p[k];
    return BB_OK;
}

static void precondition(const state *s) { /* z = M^-1 q */
    const bbi_iteration *it = s->it;
    int64_t size = it->m->n * it->m->columns;
    for (int64_t n = 0; it->factor && n < it->m->batches; n++)
        bbi_factor_solve(&it->factor[n], it->m->columns, s->q + n * size, s->z + n * size, s->scratch);
}

/* X, and Q before it is orthonormal again; *moved: whether any direction was of use. */
static bb_status advance(state *s, int64_t batch, int64_t g, bool *moved) {
    group *of = &s->group[batch * s->groups + g];
    small *w = &of->w;
    double c[BLOCK][BLOCK], step[BLOCK][BLOCK];
    w->size = size_of(s, g);
    products(s, batch, g, s->p, s->ap, w->w);
    for (int e = 0; e < w->size; e++) BBI_FORWARD(check_curvature(s, batch, g * s->width + e, w->w[e][e]));
    if (!factor(w, s->least))
        return bbi_fail(BB_INDEFINITE,
                        "bb_solve: iteration %lld found a plane in which K + alpha I is not positive definite; raise "
                        "alpha (now %g), centre the data, compute in float64, or use the method MINRES",
                        (long long)s->it->result->iterations, s->it->alpha);
    *moved = *moved || w->rank > 0;
    products(s, batch, g, s->p, s->q, c);
    solve_small(w, c);
    memcpy(step, of->basis, sizeof step);
    multiply_small(w->size, c, step);
    add_products(s, batch, g, s->it->x, s->p, step, 1);
    add_products(s, batch, g, s->q, s->ap, c, -1);
    return BB_OK;
}

/* P = Z - P W^+ (A P)^T Z, by way of the new Z in place of P */
static void turn(state *s, int64_t batch, int64_t g, double *next) {
    double c[BLOCK][BLOCK];
    products(s, batch, g, s->ap, s->z, c);
    solve_small(&s->group[batch * s->groups + g].w, c);
    add_products(s, batch, g, next, s->p, c, -1);
}

/* From Q to its basis, R and the new directions. */
static bb_status renew(state *s, double *next, bool first) {
    bbi_matrix *m = s->it->m;
    precondition(s);
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t g = 0; g < s->groups; g++) BBI_FORWARD(orthonormalise(s, n, g));
    memcpy(next, s->z, (size_t)m->count * sizeof *next);
    for (int64_t n = 0; n < m->batches && !first; n++)
        for (int64_t g = 0; g < s->groups; g++) {
            form_residual(s, n, g);
            turn(s, n, g, next);
        }
    memcpy(s->p, next, (size_t)m->count * sizeof *next);
    return BB_OK;
}

static bb_status step(state *s, double *next, bool *moved) {
    bbi_matrix *m = s->it->m;
    BBI_FORWARD(multiply(s));
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t g = 0; g < s->groups; g++) BBI_FORWARD(advance(s, n, g, moved));
    BBI_FORWARD(renew(s, next, false));
    bbi_column_products(m, s->it->r, s->it->r, s->it->rr);
    return BB_OK;
}

static bb_status iterate(state *s, double *next) {
    bbi_iteration *it = s->it;
    bool stop, moved = true;
    memcpy(s->q, it->r, (size_t)it->m->count * sizeof *s->q);
    for (int64_t k = 0; k < it->m->batches * s->groups; k++)
        for (int e = 0; e < BLOCK; e++) s->group[k].basis[e][e] = 1;
    for (bool first = true;; it->result->iterations++, first = false) {
        BBI_FORWARD(bbi_iteration_look(it, &stop));
        if (stop) return BB_OK;
        if (!moved) {
            it->stagnates = true;
            return BB_OK;
        }
        moved = false;
        if (first) BBI_FORWARD(renew(s, next, true));
        BBI_FORWARD(step(s, next, &moved));
    }
}

bb_status bbi_cg(bbi_iteration *it) {
    const bbi_matrix *m = it->m;
    state s = {.it = it, .groups = (m->columns + BLOCK - 1) / BLOCK};
    if (!m->structure.scalar) s.groups = m->columns; /* matrices of their own have directions of their own */
    int64_t scratch = 0;
    s.width = s.groups ? (m->columns + s.groups - 1) / s.groups : 1;
    s.groups = (m->columns + s.width - 1) / s.width;
    s.least = m->is_double ? 1e-14 : 1e-6;
    s.dense = bbi_dense_of(m->level);
    for (int64_t n = 0; it->factor && n < m->batches; n++) {
        int64_t wanted = bbi_factor_scratch(&it->factor[n], m->columns);
        if (wanted > scratch) scratch = wanted;
    }
    int64_t vectors = it->factor ? 5 : 4;
    double *all = bbi_calloc((size_t)(vectors * m->count + scratch) + 1, sizeof *all);
    s.group = bbi_calloc((size_t)(m->batches * s.groups) + 1, sizeof *s.group);
    bb_status status =
        all && s.group ? BB_OK
                       : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld unknowns", (long long)m->count);
    if (status == BB_OK) {
        s.p = all;
        s.ap = all + m->count;
        s.q = all + 2 * m->count;
        s.z = it->factor ? all + 4 * m->count : s.q;
        s.scratch = all + vectors * m->count;
        status = iterate(&s, all + 3 * m->count);
    }
    bbi_free(all);
    bbi_free(s.group);
    return status;
}
