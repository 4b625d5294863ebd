/* What one writes without the library, for each case of bench/run: plain loops with the type, the dimensions and the
 * case fixed at compile time, left to the compiler at -O3 -march=native -ffast-math -fopenmp.
 * All take the same arguments; what a case does not need is null. */
#include <math.h>
#include <stdint.h>
#include <tgmath.h>
#ifndef REAL
#define REAL float
#define D 3
#define E 1
#define K 10
#define CASE_gauss
#endif
#if defined CASE_laplace
#define KERNEL(q) exp(-sqrt((q) / s))
#elif defined CASE_matern52
#define KERNEL(q) matern((q) / s)
static inline REAL matern(REAL q) {
    REAL r = sqrt(5 * q);
    return (1 + r + r * r / 3) * exp(-r);
}
#elif defined CASE_energy
#define KERNEL(q) sqrt(q)
#else
#define KERNEL(q) exp(-(q) / s)
#endif
typedef struct arrays {
    const REAL *x, *y, *b, *e, *v, *p, *pi, *g, *l;
    const int64_t *starts, *blocks; /* block-sparse: starts of the clusters, then for each the first of its columns */
} arrays;

static inline REAL distance(const REAL *x, const REAL *y) {
    REAL q = 0;
    for (int d = 0; d < D; d++) {
        REAL t = x[d] - y[d];
        q += t * t;
    }
    return q;
}

/* One row: columns j0 to j1, added to out where the case is a sum. */
static inline void row(const arrays *in, int64_t i, int64_t j0, int64_t j1, REAL s, REAL *out, int64_t *index) {
    const REAL *x = in->x + i * D, *y = in->y;
    (void)index;
#if defined CASE_logsumexp || defined CASE_sinkhorn || defined CASE_softmax
#if defined CASE_sinkhorn
#define TERM ((in->g[j] - distance(x, y + j * D) / 2) / s + in->l[j])
#else
#define TERM (-distance(x, y + j * D) / s)
#endif
    REAL top = -INFINITY, sum = 0;
    for (int64_t j = j0; j < j1; j++) {
        REAL t = TERM;
        top = t > top ? t : top;
    }
#if defined CASE_softmax
    REAL acc[E] = {0};
    for (int64_t j = j0; j < j1; j++) {
        REAL k = exp(TERM - top);
        sum += k;
        for (int e = 0; e < E; e++) acc[e] += k * in->b[j * E + e];
    }
    for (int e = 0; e < E; e++) out[i * E + e] = acc[e] / sum;
#else
    for (int64_t j = j0; j < j1; j++) sum += exp(TERM - top);
#if defined CASE_sinkhorn
    out[i] = -s * (top + log(sum));
#else
    out[i] = top + log(sum);
#endif
#endif
#elif defined CASE_argmin
    REAL best = INFINITY;
    int64_t at = -1;
    for (int64_t j = j0; j < j1; j++) {
        REAL q = distance(x, y + j * D);
        if (q < best) best = q, at = j;
    }
    index[i] = at;
#elif defined CASE_argkmin
    REAL near[K + 1];
    int64_t at[K + 1];
    for (int k = 0; k <= K; k++) near[k] = (REAL)3e38, at[k] = -1;
    for (int64_t j = j0; j < j1; j++) {
        REAL q = distance(x, y + j * D);
        if (q >= near[K - 1]) continue;
        int k = K - 1;
        for (; k > 0 && near[k - 1] > q; k--) near[k] = near[k - 1], at[k] = at[k - 1];
        near[k] = q;
        at[k] = j;
    }
    for (int k = 0; k < K; k++) index[i * K + k] = at[k];
#elif defined CASE_gradient
    REAL acc[D] = {0};
    for (int64_t j = j0; j < j1; j++) {
        REAL w = KERNEL(distance(x, y + j * D)) * in->b[j];
        for (int d = 0; d < D; d++) acc[d] += w * (x[d] - y[j * D + d]);
    }
    for (int d = 0; d < D; d++) out[i * D + d] = -2 / s * in->e[i] * acc[d];
#elif defined CASE_hessian
    REAL acc[D] = {0}, sum = 0;
    for (int64_t j = j0; j < j1; j++) {
        REAL w = KERNEL(distance(x, y + j * D)) * in->b[j], u = 0;
        for (int d = 0; d < D; d++) u += in->v[i * D + d] * (x[d] - y[j * D + d]);
        sum += w;
        for (int d = 0; d < D; d++) acc[d] += w * u * (x[d] - y[j * D + d]);
    }
    for (int d = 0; d < D; d++) out[i * D + d] = in->e[i] * (4 / (s * s) * acc[d] - 2 / s * sum * in->v[i * D + d]);
#elif defined CASE_lddmm
    REAL move[D] = {0}, force[D] = {0};
    for (int64_t j = j0; j < j1; j++) {
        REAL k = KERNEL(distance(x, y + j * D)), u = 0;
        for (int d = 0; d < D; d++) u += in->pi[i * D + d] * in->p[j * D + d];
        for (int d = 0; d < D; d++) move[d] += k * in->p[j * D + d];
        for (int d = 0; d < D; d++) force[d] += k * u * (x[d] - y[j * D + d]);
    }
    for (int d = 0; d < D; d++) out[i * 2 * D + d] = move[d], out[i * 2 * D + D + d] = 2 / s * force[d];
#elif E == 1
    REAL sum = 0;
    for (int64_t j = j0; j < j1; j++) sum += KERNEL(distance(x, y + j * D)) * in->b[j];
    out[i] += sum;
#else
    REAL acc[E] = {0};
    for (int64_t j = j0; j < j1; j++) {
        REAL k = KERNEL(distance(x, y + j * D));
        for (int e = 0; e < E; e++) acc[e] += k * in->b[j * E + e];
    }
    for (int e = 0; e < E; e++) out[i * E + e] += acc[e];
#endif
}

/* batch: rows [k M, k M + M) meet columns [k N, k N + N). clusters > 0: rows of cluster c meet the columns of `each`
 * clusters. */
void loops(const arrays *in, int64_t batches, int64_t M, int64_t N, int64_t clusters, int64_t each, double scale,
           REAL *out, int64_t *index) {
    REAL s = (REAL)scale;
    if (clusters > 0) {
#pragma omp parallel for schedule(dynamic)
        for (int64_t c = 0; c < clusters; c++) {
            for (int64_t i = in->starts[c]; i < in->starts[c + 1]; i++) {
                for (int e = 0; e < E; e++) out[i * E + e] = 0;
                for (int64_t k = 0; k < each; k++) {
                    int64_t other = in->blocks[c * each + k];
                    row(in, i, in->starts[other], in->starts[other + 1], s, out, index);
                }
            }
        }
        return;
    }
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < batches * M; i++) {
        int64_t first = i / M * N;
#if !(defined CASE_argmin || defined CASE_argkmin || defined CASE_gradient || defined CASE_hessian ||                  \
      defined CASE_lddmm || defined CASE_logsumexp || defined CASE_sinkhorn || defined CASE_softmax)
        for (int e = 0; e < E; e++) out[i * E + e] = 0;
#endif
        row(in, i, first, first + N, s, out, index);
    }
}
