/* symmetric_eigen.c: eigenvalues and -vectors of small symmetric matrices: Householder's reduction to a tridiagonal
 * matrix, then QL with implicit shifts (Golub and Van Loan, Matrix Computations, sections 8.2 and 8.3). Vectors are kept
 * as rows, so that a rotation works on two contiguous ones. */
#include "solve.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* One step from row l of an unreduced part that ends at row m; z: rows of length `width` that are rotated along. */
static void ql_step(int64_t l, int64_t m, double *d, double *e, double *z, int64_t width) {
    double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    for (int64_t i = m - 1; i >= l; i--) {
        double f = s * e[i], b = c * e[i];
        e[i + 1] = r = hypot(f, g);
        if (r == 0) { /* the matrix splits here */
            d[i + 1] -= p;
            e[m] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        double *low = z + i * width, *high = low + width;
        for (int64_t k = 0; k < width; k++) {
            double x = high[k];
            high[k] = s * low[k] + c * x;
            low[k] = c * low[k] - s * x;
        }
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
}

bool bbi_tridiagonal_eigen(int64_t n, double *d, double *e, double *z, int64_t width) {
    if (n > 0) e[n - 1] = 0;
    for (int64_t l = 0; l < n; l++)
        for (int iteration = 0;; iteration++) {
            int64_t m = l;
            while (m < n - 1 && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1]))) m++;
            if (m == l) break;
            if (iteration == 60 || !isfinite(d[l] + e[l])) return false;
            ql_step(l, m, d, e, z, width);
        }
    return true;
}

/* A <- H A H with H = I - beta v v^T on the rows behind k; v in place of the column below the diagonal. */
static void reflect(const bbi_dense *dense, double *a, int64_t n, int64_t ld, int64_t k, double *v, double *w,
                    double *beta) {
    int64_t size = n - k - 1;
    double norm = 0;
    for (int64_t i = 0; i < size; i++) {
        v[i] = a[(k + 1 + i) * ld + k];
        norm += v[i] * v[i];
    }
    norm = sqrt(norm);
    *beta = 0;
    if (norm == 0) return;
    double first = v[0];
    v[0] += copysign(norm, first);
    *beta = 1 / (norm * (norm + fabs(first)));
    a[(k + 1) * ld + k] = -copysign(norm, first);
    double inner = 0;
    for (int64_t i = 0; i < size; i++) {
        w[i] = *beta * dense->dot(a + (k + 1 + i) * ld + k + 1, v, size);
        inner += w[i] * v[i];
    }
    for (int64_t i = 0; i < size; i++) w[i] -= 0.5 * *beta * inner * v[i];
    for (int64_t i = 0; i < size; i++) {
        double *row = a + (k + 1 + i) * ld + k + 1;
        for (int64_t j = 0; j < size; j++) row[j] -= v[i] * w[j] + w[i] * v[j];
    }
}

/* Z <- H Z on the rows behind k */
static void reflect_rows(double *z, int64_t n, int64_t k, const double *v, double beta, double *w) {
    memset(w, 0, (size_t)n * sizeof *w);
    for (int64_t i = k + 1; i < n; i++)
        for (int64_t j = 0; j < n; j++) w[j] += v[i - k - 1] * z[i * n + j];
    for (int64_t i = k + 1; i < n; i++)
        for (int64_t j = 0; j < n; j++) z[i * n + j] -= beta * v[i - k - 1] * w[j];
}

static void sort(int64_t n, double *values, double *z, double *row) {
    for (int64_t k = 0; k < n; k++) {
        int64_t least = k;
        for (int64_t i = k + 1; i < n; i++)
            if (values[i] < values[least]) least = i;
        if (least == k) continue;
        double value = values[k];
        values[k] = values[least], values[least] = value;
        memcpy(row, z + k * n, (size_t)n * sizeof *row);
        memcpy(z + k * n, z + least * n, (size_t)n * sizeof *row);
        memcpy(z + least * n, row, (size_t)n * sizeof *row);
    }
}

bb_status bbi_symmetric_eigen(const bbi_dense *dense, double *a, int64_t n, int64_t ld, double *values, double *z) {
    double *scratch = bbi_calloc((size_t)(3 * n) + 1, sizeof *scratch);
    if (!scratch) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a matrix of %lld rows", (long long)n);
    double *e = scratch, *v = scratch + n, *w = scratch + 2 * n, beta;
    memset(z, 0, (size_t)(n * n) * sizeof *z);
    for (int64_t i = 0; i < n; i++) z[i * n + i] = 1;
    for (int64_t k = 0; k + 2 < n; k++) {
        reflect(dense, a, n, ld, k, v, w, &beta);
        if (beta != 0) reflect_rows(z, n, k, v, beta, w);
    }
    for (int64_t i = 0; i < n; i++) {
        values[i] = a[i * ld + i];
        if (i + 1 < n) e[i] = a[(i + 1) * ld + i];
    }
    bool good = bbi_tridiagonal_eigen(n, values, e, z, n);
    if (good) sort(n, values, z, w);
    bbi_free(scratch);
    return good ? BB_OK
                : bbi_fail(BB_NO_CONVERGENCE,
                           "the eigenvalues of a matrix of %lld rows cannot be found: it has "
                           "entries that are not finite numbers",
                           (long long)n);
}
