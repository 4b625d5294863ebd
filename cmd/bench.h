/* bench.h: the cases of benben bench and the plain C loop beside them. */
#ifndef BENCH_H
#define BENCH_H

#include "command.h"

typedef struct bench_kernel {
    const char *name, *formula;    /* over x:i<D>, y:j<D>, b:j<E>, s:p1 */
    const char *naive32, *naive64; /* KERNEL(q) of bench/naive.c, q = sqdist / s; NULL: no plain loop */
} bench_kernel;

/* ---- bench_naive.c --------------------------------------------------------------------------- */
typedef void naive_float(long long M, long long N, const float *x, const float *y, const float *b, float s, float *a,
                         int threads);
typedef void naive_double(long long M, long long N, const double *x, const double *y, const double *b, double s,
                          double *a, int threads);
typedef struct naive_loop {
    naive_float *single;
    naive_double *twice;
    const char *openmp; /* "" or why the loop runs on one core */
} naive_loop;
/* Compiles the loop and loads it for good (OpenMP's threads do not survive its removal); false, with the reason in why,
 * when that cannot be done. */
bool naive_build(const bench_kernel *kernel, bool is_double, int dim, naive_loop *loop, char *why, size_t size);

/* ---- bench_latency.c: how long a small or new problem takes ---------------------------------- */
int bench_latency(void);

#endif
