/* factor.c: what P = L L^T + mu I does: P^-1 of vectors, vectors of the covariance P, log det P. precondition.c makes it.
 * A group of panels is an item of the threads; how they are cut depends on the factor alone, so that results do not
 * depend on the threads. Preconditioners of other kinds answer by blocks.c and neighbors.c. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { PANEL_GROUPS = 16 };

void bbi_factor_free(bbi_factor *f) {
    for (int64_t k = 0; k < f->slabs; k++) bbi_free_aligned(f->slab[k]);
    bbi_blocks_free(f->blocks);
    bbi_neighbors_free(f->neighbors);
    bbi_free(f->chunk);
    bbi_free(f->slab);
    bbi_free(f->width);
    bbi_free(f->gram);
    *f = (bbi_factor){0};
}

/* ---- application ----------------------------------------------------------------------------- */
typedef struct apply {
    const bbi_factor *f;
    int64_t columns, ld, groups;
    const double *r;
    double *z, *sums, *t; /* parts of L^T r: (groups, columns, rank, 8); (columns, rank) */
} apply;

/* The rows of a panel, a column after the other, zeros behind the last row. */
static void columns_of(const apply *a, const double *from, int64_t panel, double *to) {
    int64_t rows = bbi_factor_rows(a->f, panel);
    memset(to, 0, (size_t)(BBI_PANEL * a->columns) * sizeof *to);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = 0; e < a->columns; e++) to[e * BBI_PANEL + r] = from[(panel * BBI_PANEL + r) * a->columns + e];
}

static double *group_scratch(const apply *a, int64_t group) {
    return a->sums + group * (a->columns * (8 * a->f->rank + BBI_PANEL));
}

static void project_group(void *argument, int64_t group) {
    const apply *a = argument;
    const bbi_factor *f = a->f;
    double *sums = group_scratch(a, group), *v = sums + a->columns * 8 * f->rank;
    memset(sums, 0, (size_t)(a->columns * 8 * f->rank) * sizeof *sums);
    for (int64_t panel = group * f->panels / a->groups; panel < (group + 1) * f->panels / a->groups; panel++) {
        columns_of(a, a->r, panel, v);
        int64_t at = 0;
        for (int64_t k = 0; k < f->chunks; at += f->width[k++])
            for (int64_t e = 0; e < a->columns; e++)
                f->dense->project(f->width[k], bbi_factor_panel(f, k, panel), v + e * BBI_PANEL,
                                  sums + 8 * (e * f->rank + at));
    }
    for (int64_t k = 0; k < a->columns * f->rank; k++) { /* in place: the eight parts stand behind */
        const double *part = sums + 8 * k;
        sums[k] = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    }
}

static void expand_group(void *argument, int64_t group) {
    const apply *a = argument;
    const bbi_factor *f = a->f;
    double *v = group_scratch(a, group) + a->columns * 8 * f->rank;
    for (int64_t panel = group * f->panels / a->groups; panel < (group + 1) * f->panels / a->groups; panel++) {
        columns_of(a, a->r, panel, v);
        int64_t at = 0, rows = bbi_factor_rows(f, panel);
        for (int64_t k = 0; k < f->chunks; at += f->width[k++])
            f->dense->gemm(a->columns, BBI_PANEL, f->width[k], a->t + at, f->rank, 1, bbi_factor_panel(f, k, panel),
                           BBI_PANEL, v, BBI_PANEL, -1);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t e = 0; e < a->columns; e++)
                a->z[(panel * BBI_PANEL + r) * a->columns + e] = v[e * BBI_PANEL + r];
    }
}

static int64_t groups_of(const bbi_factor *f) { return f->panels < PANEL_GROUPS ? f->panels : PANEL_GROUPS; }

int64_t bbi_factor_scratch(const bbi_factor *f, int64_t columns) {
    if (f->blocks) return f->n;
    if (f->neighbors) return columns;
    return groups_of(f) * columns * (8 * f->rank + BBI_PANEL) + columns * f->rank + 1;
}

static apply application(const bbi_factor *f, int64_t columns, const double *r, double *z, double *scratch) {
    return (apply){.f = f,
                   .columns = columns,
                   .groups = groups_of(f),
                   .r = r,
                   .z = z,
                   .sums = scratch + columns * f->rank,
                   .t = scratch};
}

static int threads_for(const bbi_factor *f, int64_t columns) {
    return (double)f->n * (double)f->rank * (double)columns > 2e5 ? f->threads : 1;
}

void bbi_factor_solve(const bbi_factor *f, int64_t columns, const double *r, double *z, double *scratch) {
    if (f->blocks) {
        bbi_blocks_solve(f->blocks, columns, r, z, scratch);
        return;
    }
    if (f->neighbors) {
        bbi_neighbors_solve(f->neighbors, columns, r, z, scratch);
        return;
    }
    apply a = application(f, columns, r, z, scratch);
    bbi_parallel(threads_for(f, columns), a.groups, project_group, &a);
    memset(a.t, 0, (size_t)(columns * f->rank) * sizeof *a.t);
    for (int64_t g = 0; g < a.groups; g++)
        for (int64_t k = 0; k < columns * f->rank; k++) a.t[k] += group_scratch(&a, g)[k];
    for (int64_t e = 0; e < columns; e++)
        bbi_cholesky_solve(f->dense, f->gram, f->rank, bbi_padded(f->rank), a.t + e * f->rank);
    bbi_parallel(threads_for(f, columns), a.groups, expand_group, &a);
    for (int64_t k = 0; k < f->n * columns; k++) z[k] /= f->mu;
}

/* ---- P as a covariance ------------------------------------------------------------------------ */
static void sample_panel(const apply *a, int64_t panel, double *v) {
    const bbi_factor *f = a->f;
    int64_t at = 0, rows = bbi_factor_rows(f, panel);
    memset(v, 0, (size_t)(BBI_PANEL * a->columns) * sizeof *v);
    for (int64_t k = 0; k < f->chunks; at += f->width[k++])
        f->dense->gemm(a->columns, BBI_PANEL, f->width[k], a->t + at, f->rank, 1, bbi_factor_panel(f, k, panel),
                       BBI_PANEL, v, BBI_PANEL, 1);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = 0; e < a->columns; e++) a->z[(panel * BBI_PANEL + r) * a->columns + e] += v[e * BBI_PANEL + r];
}

void bbi_factor_sample(const bbi_factor *f, int64_t columns, bbi_random *random, double *z, double *scratch) {
    apply a = application(f, columns, z, z, scratch);
    double scale = sqrt(f->mu);
    for (int64_t k = 0; k < f->n * columns; k++) z[k] = scale * bbi_random_normal(random);
    for (int64_t k = 0; k < columns * f->rank; k++) a.t[k] = bbi_random_normal(random);
    for (int64_t panel = 0; panel < f->panels; panel++) sample_panel(&a, panel, a.sums);
}

double bbi_factor_logdet(const bbi_factor *f) {
    double sum = (double)(f->n - f->rank) * log(f->mu);
    for (int64_t k = 0; k < f->rank; k++) sum += 2 * log(f->gram[k * bbi_padded(f->rank) + k]);
    return sum;
}
