/* exact.c: log-determinants and traces of functions of small matrices, by their entries: a Cholesky factor, eigenvalues;
 * and the trace itself, by the diagonal. */
#include "solve.h"

#include <float.h>
#include <math.h>

bb_status bbi_not_positive(double eigenvalue, double alpha) {
    return bbi_fail(
        BB_INDEFINITE,
        "bb_logdet: K + alpha I has the eigenvalue %.3g or a smaller one, which is not positive: raise alpha "
        "(now %g), centre the data, compute in float64, or check that the formula is a symmetric positive "
        "kernel",
        eigenvalue, alpha);
}

/* The symmetric part of K + alpha I; an error where the rest is more than rounding. */
static bb_status dense_matrix(bbi_matrix *m, double alpha, int64_t batch, double *a) {
    int64_t n = m->n, *list = bbi_alloc((size_t)n * sizeof *list + 8);
    double most = 0, skew = 0;
    if (!list) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a dense matrix");
    for (int64_t k = 0; k < n; k++) list[k] = k;
    bb_status status = bbi_matrix_columns(m, batch, list, n, a);
    bbi_free(list);
    BBI_FORWARD(status);
    m->products++;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double x = a[i * n + j], y = a[j * n + i];
            if (!isfinite(x + y))
                return bbi_fail(BB_NO_CONVERGENCE,
                                "the matrix has entries that are not finite numbers: check the data");
            if (fabs(x) > most) most = fabs(x);
            if (fabs(x - y) > skew) skew = fabs(x - y);
            a[i * n + j] = a[j * n + i] = 0.5 * (x + y);
        }
    if (skew > 1e-4 * most)
        return bbi_fail(BB_INDEFINITE,
                        "the matrix is not symmetric: entries differ from their mirror images by up to "
                        "%.3g of %.3g; give both sides the same points and use a symmetric formula",
                        skew, most);
    for (int64_t i = 0; i < n; i++) a[i * n + i] += alpha;
    return BB_OK;
}

static bb_status dense_logdet(const bbi_matrix *m, double alpha, double *a, double *value, double *error) {
    int64_t n = m->n;
    double largest = 0, least = INFINITY;
    for (int64_t k = 0; k < n; k++)
        if (fabs(a[k * n + k]) > largest) largest = fabs(a[k * n + k]);
    if (!bbi_cholesky(bbi_dense_of(m->level), a, n, n)) return bbi_not_positive(0, alpha);
    for (int64_t k = 0; k < n; k++) {
        *value += 2 * log(a[k * n + k]);
        if (a[k * n + k] < least) least = a[k * n + k];
    }
    *error = (m->is_double ? DBL_EPSILON : FLT_EPSILON) * largest * sqrt((double)n) / (least * least);
    return BB_OK;
}

static bb_status dense_trace(const bbi_matrix *m, double (*f)(void *data, double x), void *data, double *a,
                             double *value) {
    int64_t n = m->n;
    double *values = bbi_alloc((size_t)(n + n * n) * sizeof *values + 8);
    if (!values) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for eigenvalues");
    bb_status status = bbi_symmetric_eigen(bbi_dense_of(m->level), a, n, n, values, values + n);
    for (int64_t k = 0; k < n && status == BB_OK; k++) *value += f(data, values[k]);
    bbi_free(values);
    return status;
}

bb_status bbi_exact_function(bbi_matrix *m, double alpha, double (*f)(void *data, double x), void *data, double *values,
                             double *errors, double *rounding) {
    int64_t n = m->n;
    double *a = bbi_alloc((size_t)(n * n) * sizeof *a + 8);
    if (!a) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a dense matrix of %lld rows", (long long)n);
    bb_status status = BB_OK;
    for (int64_t k = 0; k < m->batches && status == BB_OK; k++) {
        double error = 0;
        values[k] = 0;
        status = dense_matrix(m, alpha, k, a);
        if (status == BB_OK)
            status = f ? dense_trace(m, f, data, a, &values[k]) : dense_logdet(m, alpha, a, &values[k], &error);
        if (errors) errors[k] = error;
        if (error > *rounding) *rounding = error;
    }
    bbi_free(a);
    return status;
}

bb_status bbi_exact_trace(bbi_matrix *m, double alpha, double *values) {
    double *diagonal = bbi_alloc((size_t)m->n * sizeof *diagonal + 8);
    if (!diagonal) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a diagonal");
    bb_status status = BB_OK;
    for (int64_t k = 0; k < m->batches && status == BB_OK; k++) {
        status = bbi_matrix_diagonal(m, k, diagonal);
        values[k] = alpha * (double)m->n;
        for (int64_t i = 0; i < m->n && status == BB_OK; i++) values[k] += diagonal[i];
        if (status == BB_OK && !isfinite(values[k]))
            status = bbi_fail(BB_NO_CONVERGENCE, "the diagonal of the matrix is not finite: check the data");
    }
    bbi_free(diagonal);
    return status;
}
