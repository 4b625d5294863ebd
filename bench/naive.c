/* What one writes without the library: the plain loops, left to the compiler at
 *   cc -O3 -march=native -ffast-math -fopenmp
 * with the type, the dimension and the kernel fixed at compile time. `benben bench` compiles this text so, at run
 * time, and prints its own speed beside it. */
#ifndef REAL
#define REAL float
#define D 3
#define KERNEL(q) expf(-(q))
#endif
#include <math.h>

#ifdef __cplusplus
extern "C"
#endif
    void
    naive(long long M, long long N, const REAL *x, const REAL *y, const REAL *b, REAL s, REAL *a, int threads) {
    (void)threads; /* used where OpenMP is */
#pragma omp parallel for num_threads(threads)
    for (long long i = 0; i < M; i++) {
        REAL sum = 0;
        for (long long j = 0; j < N; j++) {
            REAL q = 0;
            for (int d = 0; d < D; d++) {
                REAL t = x[i * D + d] - y[j * D + d];
                q += t * t;
            }
            sum += KERNEL(q / s) * b[j];
        }
        a[i] = sum;
    }
}
