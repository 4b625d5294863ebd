/* dense.c: the dense linear algebra that the solvers need and that no library is asked for: Cholesky factors
 * and the solves with them; random numbers; a loop over threads. */
#include "solve.h"

#include <math.h>
#include <stdatomic.h>

const bbi_dense *bbi_dense_of(int level) {
    switch (level < BBI_HAVE_ISA ? level : BBI_HAVE_ISA) {
#if BBI_HAVE_ISA >= 2
    case 2: return &bbi_dense_isa_2;
#endif
#if BBI_HAVE_ISA >= 1
    case 1: return &bbi_dense_isa_1;
#endif
    default: return &bbi_dense_isa_0;
    }
}

/* ---- Cholesky -------------------------------------------------------------------------------- */
bool bbi_cholesky(const bbi_dense *dense, double *a, int64_t n, int64_t ld) {
    for (int64_t i = 0; i < n; i++) {
        double *row = a + i * ld;
        for (int64_t j = 0; j < i; j++) row[j] = (row[j] - dense->dot(row, a + j * ld, j)) / a[j * ld + j];
        double pivot = row[i] - dense->dot(row, row, i);
        if (!(pivot > 0) || !isfinite(pivot)) return false;
        row[i] = sqrt(pivot);
    }
    return true;
}

void bbi_cholesky_solve(const bbi_dense *dense, const double *l, int64_t n, int64_t ld, double *x) {
    for (int64_t i = 0; i < n; i++) x[i] = (x[i] - dense->dot(l + i * ld, x, i)) / l[i * ld + i];
    for (int64_t i = n - 1; i >= 0; i--) { /* by rows of L: x_j -= L_ij x_i */
        double last = -(x[i] /= l[i * ld + i]);
        dense->combine(i, 1, 1, l + i * ld, &last, x, 1);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */
typedef struct region {
    void (*function)(void *argument, int64_t item);
    void *argument;
    int64_t items;
    _Atomic int64_t next;
} region;

static void work(void *argument, int64_t helper) {
    region *r = argument;
    (void)helper;
    for (int64_t item; (item = atomic_fetch_add(&r->next, 1)) < r->items;) r->function(r->argument, item);
}

void bbi_parallel(int threads, int64_t items, void (*function)(void *argument, int64_t item), void *argument) {
    region r = {.function = function, .argument = argument, .items = items};
    int64_t wanted = threads < items ? threads : items;
    bbi_team_work(wanted > 1 ? wanted - 1 : 0, false, work, &r);
}

/* ---- random numbers -------------------------------------------------------------------------- */
static uint64_t next(bbi_random *random) {
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double bbi_random_uniform(bbi_random *random) { return (double)(next(random) >> 11) * 0x1p-53; }

double bbi_random_normal(bbi_random *random) { /* Box and Muller, 1958 */
    double u = 1 - bbi_random_uniform(random), v = bbi_random_uniform(random);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}
