/* recurrence.c: Lanczos's recurrence for a block of random probes. With P = L L^T + mu I from precondition.c it runs in
 * the inner product of P^-1,
 *     beta' v' = A w - alpha v - beta v_old,  w = P^-1 v,  v^T w = 1,
 * from z of the covariance P, and T belongs to P^-1/2 A P^-1/2. From the same vectors comes A^-1 z, by the factors of
 * T. All probes of a block share each product. */
#include "quadrature.h"

#include <math.h>
#include <string.h>

/* ---- products -------------------------------------------------------------------------------- */
static bb_status multiply(bbi_quadrature *q) { /* u = (K + alpha I) w */
    bbi_matrix *m = &q->m;
    int64_t vectors = q->probes, rows = m->batches * m->n;
    if (m->columns == vectors) {
        BBI_FORWARD(bbi_matrix_multiply(m, q->w, q->u));
    } else {
        for (int64_t e = 0; e < vectors; e++) {
            for (int64_t i = 0; i < rows; i++) q->one[i] = q->w[i * vectors + e];
            BBI_FORWARD(bbi_matrix_multiply(m, q->one, q->one + rows));
            for (int64_t i = 0; i < rows; i++) q->u[i * vectors + e] = q->one[rows + i];
        }
    }
    for (int64_t k = 0; k < rows * vectors; k++) q->u[k] += q->options.alpha * q->w[k];
    return BB_OK;
}

/* sums[batch, probe] = a^T b */
static void inner_products(const bbi_quadrature *q, const double *a, const double *b) {
    memset(q->sums, 0, (size_t)(q->m.batches * q->probes) * sizeof *q->sums);
    for (int64_t n = 0; n < q->m.batches; n++)
        for (int64_t i = 0; i < q->m.n; i++) {
            int64_t at = (n * q->m.n + i) * q->probes;
            for (int64_t e = 0; e < q->probes; e++) q->sums[n * q->probes + e] += a[at + e] * b[at + e];
        }
}

static void precondition(const bbi_quadrature *q, const double *r, double *z) {
    int64_t size = q->m.n * q->probes;
    if (!q->factor) memcpy(z, r, (size_t)(q->m.batches * size) * sizeof *z);
    for (int64_t n = 0; q->factor && n < q->m.batches; n++)
        bbi_factor_solve(&q->factor[n], q->probes, r + n * size, z + n * size, q->scratch);
}

/* ---- probes ---------------------------------------------------------------------------------- */
bool bbi_recurrence_units(const bbi_quadrature *q) {
    return q->probes >= q->m.n && (q->options.left || q->options.right);
}

static void draw(bbi_quadrature *q, int64_t block) {
    bbi_random random = {q->options.seed * 0xD1342543DE82EF95u + (uint64_t)block * 0xDA942042E4DD58B5u};
    int64_t size = q->m.n * q->probes;
    (void)bbi_random_uniform(&random);
    for (int64_t n = 0; n < q->m.batches; n++) {
        double *v = q->v + n * size;
        if (bbi_recurrence_units(q)) {
            for (int64_t k = 0; k < size; k++) v[k] = k / q->probes == k % q->probes ? sqrt((double)q->probes) : 0;
        } else if (q->factor) {
            bbi_factor_sample(&q->factor[n], q->probes, &random, v, q->scratch);
        } else {
            for (int64_t k = 0; k < size; k++) v[k] = bbi_random_uniform(&random) < 0.5 ? -1 : 1;
        }
    }
}

static double *slot(bbi_quadrature *q, double *all, int64_t batch, int64_t row) {
    return all + (batch * q->m.n + row) * q->probes;
}

/* Vectors scaled so that z^T P^-1 z = n: a vector on the sphere varies less than a normal one. */
bb_status bbi_recurrence_begin(bbi_quadrature *q, int64_t block) {
    bbi_matrix *m = &q->m;
    draw(q, block);
    precondition(q, q->v, q->w);
    inner_products(q, q->v, q->w);
    for (int64_t k = 0; k < m->batches * q->probes; k++) {
        double norm2 = q->sums[k];
        q->column[k].size = 0;
        q->column[k].still = !(norm2 > 0);
        q->column[k].norm2 = bbi_recurrence_units(q) ? (norm2 > 0 ? (double)q->probes : 0) : (double)m->n;
        q->column[k].zeta = sqrt(q->column[k].norm2);
        q->sums[k] = norm2 > 0 ? 1 / sqrt(norm2) : 0;
    }
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t i = 0; i < m->n; i++)
            for (int64_t e = 0; e < q->probes; e++) {
                double scale = q->sums[n * q->probes + e];
                slot(q, q->v, n, i)[e] *= scale;
                slot(q, q->w, n, i)[e] *= scale;
                slot(q, q->v_old, n, i)[e] = 0;
                if (q->options.right && block == 0)
                    slot(q, q->options.right, n, i)[e] =
                        slot(q, q->w, n, i)[e] * sqrt(q->column[n * q->probes + e].norm2);
            }
    if (q->x) memset(q->x, 0, (size_t)(m->batches * m->n * q->probes) * sizeof *q->x);
    return BB_OK;
}

/* ---- one step -------------------------------------------------------------------------------- */
/* The new entry of T; x and p by its factors. */
static bb_status extend(bbi_quadrature *q) {
    const bbi_matrix *m = &q->m;
    inner_products(q, q->u, q->w);
    for (int64_t k = 0; k < m->batches * q->probes; k++) {
        bbi_recurrence *r = &q->column[k];
        if (r->still) continue;
        if (!isfinite(q->sums[k]))
            return bbi_fail(BB_NO_CONVERGENCE, "the matrix has entries that are not finite numbers: check the data");
        double beta = r->size ? r->beside[r->size - 1] : 0, l = r->size ? beta / r->pivot : 0;
        r->diagonal[r->size++] = q->sums[k];
        r->pivot = q->sums[k] - l * beta;
        if (r->size > 1) r->zeta *= -l;
        if (q->logdet && !(r->pivot > 0)) return bbi_not_positive(r->pivot, q->options.alpha);
        q->sums[k] = l;
    }
    for (int64_t n = 0; n < m->batches && q->x; n++)
        for (int64_t i = 0; i < m->n; i++)
            for (int64_t e = 0; e < q->probes; e++) {
                const bbi_recurrence *r = &q->column[n * q->probes + e];
                if (r->still) continue;
                double *p = slot(q, q->p, n, i) + e;
                *p = slot(q, q->w, n, i)[e] - (r->size > 1 ? q->sums[n * q->probes + e] * *p : 0);
                slot(q, q->x, n, i)[e] += r->zeta / r->pivot * *p;
            }
    return BB_OK;
}

/* The next vector of Lanczos. */
static void turn(bbi_quadrature *q) {
    const bbi_matrix *m = &q->m;
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t i = 0; i < m->n; i++)
            for (int64_t e = 0; e < q->probes; e++) {
                const bbi_recurrence *r = &q->column[n * q->probes + e];
                if (r->still) continue;
                double beta = r->size > 1 ? r->beside[r->size - 2] : 0;
                slot(q, q->u, n, i)[e] -=
                    r->diagonal[r->size - 1] * slot(q, q->v, n, i)[e] + beta * slot(q, q->v_old, n, i)[e];
            }
    double *old = q->v_old;
    q->v_old = q->v, q->v = q->u, q->u = old;
    precondition(q, q->v, q->w);
    inner_products(q, q->v, q->w);
    for (int64_t k = 0; k < m->batches * q->probes; k++) {
        bbi_recurrence *r = &q->column[k];
        if (r->still) continue;
        double beta = q->sums[k] > 0 ? sqrt(q->sums[k]) : 0, size = fabs(r->diagonal[0]);
        r->beside[r->size - 1] = beta;
        if (!(beta > 1e-13 * size) || r->size >= m->n) r->still = true;
        q->sums[k] = r->still ? 0 : 1 / beta;
    }
    for (int64_t n = 0; n < m->batches; n++)
        for (int64_t i = 0; i < m->n; i++)
            for (int64_t e = 0; e < q->probes; e++) {
                double scale = q->sums[n * q->probes + e];
                if (q->column[n * q->probes + e].still) scale = 0;
                slot(q, q->v, n, i)[e] *= scale;
                slot(q, q->w, n, i)[e] *= scale;
            }
}

bb_status bbi_recurrence_step(bbi_quadrature *q) {
    BBI_FORWARD(multiply(q));
    BBI_FORWARD(extend(q));
    turn(q);
    return BB_OK;
}
