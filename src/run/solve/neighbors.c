/* neighbors.c: a sparse inverse Cholesky factor, P^-1 = G^T G: row i of G is that of the exact factor if unknown i depended
 * on some unknowns before it only, its neighbours (Vecchia, J. R. Stat. Soc. B 50, 1988; Kolotilina and Yeremin, SIAM J.
 * Matrix Anal. Appl. 14, 1993). With an order in which unknowns near and far come early, neighbours lie at all scales
 * (Schaefer, Katzfuss and Owhadi, SIAM J. Sci. Comput. 43, 2021). It takes memory and work in proportion to the unknowns,
 * and serves kernels that are too rough, or too short, for a factor of low rank. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { TOGETHER = 512 }; /* rows whose blocks are computed by one run */
/* in operations per pair, as the planner counts, of float32 and float64: what it takes to find an unknown's neighbours, and
 * to make and factor an entry of its block (measured for 20 to 80 neighbours) */
static const double work_of_row[2] = {9e5, 5e5}, work_of_entry[2] = {1800, 1060};

struct bbi_neighbors {
    int64_t n, width; /* neighbours of an unknown at most, and itself */
    int64_t *list;    /* (n, width): neighbours, the unknown, then -1 */
    double *row;      /* (n, width) */
    int threads;
};

void bbi_neighbors_free(bbi_neighbors *g) {
    if (!g) return;
    bbi_free(g->list);
    bbi_free(g->row);
    bbi_free(g);
}

/* Neighbours are listed once, exist, and come before the unknown: so G is triangular, hence P positive definite. */
static bb_status take_pattern(bbi_neighbors *g, const int64_t *neighbors, const int64_t *rank) {
    for (int64_t i = 0; i < g->n; i++) {
        const int64_t *from = neighbors + i * (g->width - 1);
        int64_t *to = g->list + i * g->width, count = 0;
        for (int64_t k = 0; k < g->width - 1; k++) {
            int64_t j = from[k];
            if (j == -1) continue;
            bool known = false;
            for (int64_t t = 0; t < count; t++) known = known || to[t] == j;
            if (j < 0 || j >= g->n || known || !(rank ? rank[j] < rank[i] : j < i))
                return bbi_fail(BB_BAD_ARGUMENT,
                                "bb_solve: neighbour %lld of unknown %lld: expected an unknown that comes before it in "
                                "the order, once, or -1",
                                (long long)j, (long long)i);
            to[count++] = j;
        }
        to[count++] = i;
        while (count < g->width) to[count++] = -1;
    }
    return BB_OK;
}

typedef struct factoring {
    bbi_neighbors *g;
    const bbi_dense *dense;
    double *block; /* (rows, width, width) */
    double alpha;
    int64_t first;
    bool *good;
} factoring;

/* G_i = L^-T e for the Cholesky factor L of the block of the unknown and its neighbours, e the last unit vector. */
static void factor_row(void *argument, int64_t item) {
    const factoring *f = argument;
    int64_t width = f->g->width, i = f->first + item, size = 0;
    double *a = f->block + item * width * width, *row = f->g->row + i * width;
    while (size < width && f->g->list[i * width + size] >= 0) size++;
    for (int64_t k = 0; k < size; k++) {
        for (int64_t l = 0; l < k; l++)
            if (fabs(a[k * width + l]) < 1e-120)
                a[k * width + l] = 0; /* products of smaller ones are denormal, hence slow */
        a[k * width + k] += f->alpha;
    }
    double own = a[(size - 1) * width + size - 1];
    memset(row, 0, (size_t)width * sizeof *row);
    f->good[i] = own > 0 && isfinite(own);
    if (!f->good[i]) return;
    if (!bbi_cholesky(f->dense, a, size, width)) {
        row[size - 1] = 1 / sqrt(own);
        return;
    }
    row[size - 1] = 1;
    for (int64_t k = size - 1; k >= 0; k--) {
        row[k] /= a[k * width + k];
        for (int64_t j = 0; j < k; j++) row[j] -= a[k * width + j] * row[k];
    }
}

static bb_status factor(bbi_neighbors *g, bbi_matrix *m, int64_t batch, double alpha, const char **reason) {
    int64_t width = g->width;
    factoring f = {.g = g, .dense = bbi_dense_of(m->level), .alpha = alpha};
    f.block = bbi_alloc((size_t)(TOGETHER * width * width) * sizeof *f.block);
    f.good = bbi_calloc((size_t)g->n + 1, sizeof *f.good);
    bb_status status = f.block && f.good ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for blocks");
    for (f.first = 0; f.first < g->n && status == BB_OK; f.first += TOGETHER) {
        int64_t rows = g->n - f.first < TOGETHER ? g->n - f.first : TOGETHER;
        status = bbi_matrix_blocks(m, batch, g->list + f.first * width, rows, width, f.block);
        if (status == BB_OK) bbi_parallel(g->threads, rows, factor_row, &f);
    }
    for (int64_t i = 0; i < g->n && status == BB_OK; i++)
        if (!f.good[i]) *reason = "the diagonal of the matrix is not positive";
    bbi_free(f.block);
    bbi_free(f.good);
    return status;
}

/* ---- how many -------------------------------------------------------------------------------- */
double bbi_neighbors_cost(const bbi_matrix *m, int64_t wanted) {
    double width = (double)wanted + 1;
    return (double)m->n * (work_of_row[m->is_double] + work_of_entry[m->is_double] * width * width);
}

/* Iterations fall about as count^-0.7 (Gaussian and Matern kernels in the plane, from 24 and 11 with 20 neighbours); in space
 * there are 1 (Matern-1/2) to 6 times as many (Gaussian). */
static double iterations_with(const bbi_matrix *m, int64_t count, double digits) {
    double more = bbi_matrix_dimension(m) > 2 ? 2.5 : 1;
    return 1 + more * 14 * pow((double)count, -0.7) * digits;
}

int64_t bbi_neighbors_wanted(const bbi_matrix *m, const bbi_factor_options *o, double *cost) {
    int64_t most = m->n > 1 ? m->n - 1 : 1, best = o->neighbor_count ? o->neighbor_count : 10;
    *cost = bbi_neighbors_cost(m, best) + iterations_with(m, best, o->digits) * o->work;
    for (int64_t count = 20; count <= 100 && !o->neighbor_count; count += 10) {
        double total = bbi_neighbors_cost(m, count) + iterations_with(m, count, o->digits) * o->work;
        if ((double)m->n * (double)(count + 1) * 24 > (double)o->memory) break;
        if (total < *cost) *cost = total, best = count;
    }
    return best < most ? best : most;
}

/* ---- the whole ------------------------------------------------------------------------------- */
static bb_status find_pattern(bbi_neighbors *g, bbi_matrix *m, int64_t batch, uint64_t seed, const char **reason) {
    int dim = bbi_matrix_dimension(m);
    int64_t wanted = g->width - 1;
    bool finite = true;
    if (!dim) {
        *reason =
            "the formula has no points along the output's axis, of at most 16 dimensions, to look for neighbours among";
        return BB_OK;
    }
    double *points = bbi_alloc((size_t)(g->n * dim) * sizeof *points + 8);
    int64_t *near = bbi_alloc((size_t)(g->n * (wanted + 1)) * sizeof *near + 8), *rank = near + g->n * wanted;
    bb_status status = points && near ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for neighbours");
    if (status == BB_OK) status = bbi_matrix_places(m, batch, points, &finite);
    if (!finite) *reason = "the points have coordinates that are not finite";
    if (status == BB_OK && finite) status = bbi_pattern_make(points, g->n, dim, wanted, m->threads, seed, near, rank);
    if (status == BB_OK && finite) status = take_pattern(g, near, rank);
    bbi_free(points);
    bbi_free(near);
    return status;
}

bb_status bbi_neighbors_make(bbi_neighbors **result, bbi_matrix *m, int64_t batch, const bbi_factor_options *o,
                             const char **reason) {
    if (o->neighbor_count < (o->neighbors ? 1 : 0) || o->neighbor_count > 1000)
        return bbi_fail(BB_BAD_ARGUMENT,
                        "bb_solve: neighbor_count is %lld: expected 1 to 1000 neighbours of each unknown, or 0 without "
                        "the array neighbors",
                        (long long)o->neighbor_count);
    bbi_neighbors *g = *result = bbi_calloc(1, sizeof *g);
    if (!g) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for the preconditioner");
    g->n = m->n;
    double cost;
    g->width = 1 + (o->neighbors ? o->neighbor_count : bbi_neighbors_wanted(m, o, &cost));
    g->threads = m->threads;
    g->list = bbi_alloc((size_t)(g->n * g->width) * sizeof *g->list + 8);
    g->row = bbi_alloc((size_t)(g->n * g->width) * sizeof *g->row + 8);
    if (!g->list || !g->row)
        return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld neighbours of %lld unknowns",
                        (long long)g->width, (long long)g->n);
    if (o->neighbors)
        BBI_FORWARD(take_pattern(g, o->neighbors, o->neighbor_rank));
    else
        BBI_FORWARD(find_pattern(g, m, batch, o->seed, reason));
    return *reason ? BB_OK : factor(g, m, batch, o->alpha, reason);
}

void bbi_neighbors_solve(const bbi_neighbors *g, int64_t columns, const double *r, double *z, double *scratch) {
    memset(z, 0, (size_t)(g->n * columns) * sizeof *z);
    for (int64_t i = 0; i < g->n; i++) {
        const int64_t *list = g->list + i * g->width;
        const double *row = g->row + i * g->width;
        memset(scratch, 0, (size_t)columns * sizeof *scratch);
        for (int64_t k = 0; k < g->width && list[k] >= 0; k++)
            for (int64_t e = 0; e < columns; e++) scratch[e] += row[k] * r[list[k] * columns + e];
        for (int64_t k = 0; k < g->width && list[k] >= 0; k++)
            for (int64_t e = 0; e < columns; e++) z[list[k] * columns + e] += row[k] * scratch[e];
    }
}
