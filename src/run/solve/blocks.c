/* blocks.c: the block-diagonal preconditioner: the matrix within clusters of unknowns, plus the ridge, factored block by
 * block; what lies between clusters is left out. It serves matrices whose entries fall off with the distance, where a
 * factor of low rank captures nothing. */
#include "solve.h"

#include <math.h>
#include <string.h>

struct bbi_blocks {
    int64_t count, n;
    int64_t *order, *start; /* unknowns block by block; where block k begins in order, start[count] = n */
    double **factor;        /* Cholesky factors, row-major, leading dimension the size */
    const bbi_dense *dense;
    int threads;
};

enum { IN_A_ROW = 256 }; /* unknowns of a block where the caller named no clusters and there are no places */

static int64_t size_of(const bbi_blocks *b, int64_t k) { return b->start[k + 1] - b->start[k]; }

void bbi_blocks_free(bbi_blocks *b) {
    if (!b) return;
    for (int64_t k = 0; b->factor && k < b->count; k++) bbi_free(b->factor[k]);
    bbi_free(b->factor);
    bbi_free(b->order);
    bbi_free(b->start);
    bbi_free(b);
}

/* Sorts the unknowns by their cluster; clusters that nobody is in vanish. */
static bb_status sort(bbi_blocks *b, const int64_t *clusters) {
    int64_t most = -1;
    for (int64_t i = 0; i < b->n && clusters; i++) {
        if (clusters[i] < 0 || clusters[i] >= b->n)
            return bbi_fail(BB_BAD_ARGUMENT,
                            "bb_solve: unknown %lld is in cluster %lld; expected a number from 0 to %lld", (long long)i,
                            (long long)clusters[i], (long long)b->n - 1);
        if (clusters[i] > most) most = clusters[i];
    }
    b->count = clusters ? most + 1 : (b->n + IN_A_ROW - 1) / IN_A_ROW;
    b->order = bbi_alloc((size_t)(b->n + 1) * sizeof *b->order);
    b->start = bbi_calloc((size_t)b->count + 2, sizeof *b->start);
    b->factor = bbi_calloc((size_t)b->count + 1, sizeof *b->factor);
    if (!b->order || !b->start || !b->factor)
        return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld clusters", (long long)b->count);
    for (int64_t i = 0; i < b->n; i++) b->start[(clusters ? clusters[i] : i / IN_A_ROW) + 1]++;
    for (int64_t k = 0; k < b->count; k++) b->start[k + 1] += b->start[k];
    for (int64_t i = 0; i < b->n; i++) b->order[b->start[clusters ? clusters[i] : i / IN_A_ROW]++] = i;
    for (int64_t k = b->count; k > 0; k--) b->start[k] = b->start[k - 1];
    b->start[0] = 0;
    return BB_OK;
}

static bb_status sort_by_place(bbi_blocks *b, const bbi_matrix *m, int64_t batch) {
    int dim = bbi_matrix_dimension(m);
    if (!dim || b->n <= IN_A_ROW) return sort(b, NULL);
    bool finite = true;
    double *points = bbi_alloc((size_t)(b->n * dim) * sizeof *points);
    int64_t *label = bbi_calloc((size_t)b->n, sizeof *label);
    bb_status status = points && label
                           ? BB_OK
                           : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld points", (long long)b->n);
    if (status == BB_OK) status = bbi_matrix_places(m, batch, points, &finite);
    if (status == BB_OK && finite) status = bbi_pattern_clusters(points, b->n, dim, label);
    if (status == BB_OK) status = sort(b, finite ? label : NULL);
    bbi_free(points);
    bbi_free(label);
    return status;
}

typedef struct factoring {
    bbi_blocks *b;
    bool *good;
} factoring;

static void factor_block(void *argument, int64_t k) {
    factoring *f = argument;
    f->good[k] = bbi_cholesky(f->b->dense, f->b->factor[k], size_of(f->b, k), size_of(f->b, k));
}

static bb_status factor(bbi_blocks *b, bbi_matrix *m, int64_t batch, double alpha, const char **reason) {
    for (int64_t k = 0; k < b->count; k++) {
        int64_t size = size_of(b, k);
        double *a = b->factor[k] = bbi_alloc((size_t)(size * size) * sizeof *a + 8);
        if (!a) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for a block of %lld", (long long)size);
        BBI_FORWARD(bbi_matrix_block(m, batch, b->order + b->start[k], size, a));
        for (int64_t i = 0; i < size; i++) a[i * size + i] += alpha;
    }
    factoring f = {b, bbi_calloc((size_t)b->count + 1, sizeof(bool))};
    if (!f.good) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for the preconditioner");
    bbi_parallel(b->threads, b->count, factor_block, &f);
    for (int64_t k = 0; k < b->count; k++)
        if (!f.good[k]) *reason = "a diagonal block of the matrix is not positive definite";
    bbi_free(f.good);
    return BB_OK;
}

bb_status bbi_blocks_make(bbi_blocks **result, bbi_matrix *m, int64_t batch, const int64_t *clusters, double alpha,
                          int64_t memory, const char **reason) {
    bbi_blocks *b = *result = bbi_calloc(1, sizeof *b);
    if (!b) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for the preconditioner");
    b->n = m->n;
    b->threads = m->threads;
    b->dense = bbi_dense_of(m->level);
    BBI_FORWARD(clusters ? sort(b, clusters) : sort_by_place(b, m, batch));
    double bytes = 0;
    for (int64_t k = 0; k < b->count; k++) bytes += 8 * (double)size_of(b, k) * (double)size_of(b, k);
    if (bytes > (double)memory)
        return bbi_fail(BB_BAD_ARGUMENT,
                        "bb_solve: the blocks of the %lld clusters take %.3g bytes, memory allows %.3g: make the "
                        "clusters smaller, or allow more",
                        (long long)b->count, bytes, (double)memory);
    return factor(b, m, batch, alpha, reason);
}

/* ---- application ----------------------------------------------------------------------------- */
typedef struct apply {
    const bbi_blocks *b;
    int64_t columns;
    const double *r;
    double *z, *scratch;
} apply;

static void apply_block(void *argument, int64_t k) {
    const apply *a = argument;
    const bbi_blocks *b = a->b;
    int64_t size = size_of(b, k);
    const int64_t *list = b->order + b->start[k];
    double *x = a->scratch + b->start[k];
    for (int64_t e = 0; e < a->columns; e++) {
        for (int64_t i = 0; i < size; i++) x[i] = a->r[list[i] * a->columns + e];
        bbi_cholesky_solve(b->dense, b->factor[k], size, size, x);
        for (int64_t i = 0; i < size; i++) a->z[list[i] * a->columns + e] = x[i];
    }
}

void bbi_blocks_solve(const bbi_blocks *b, int64_t columns, const double *r, double *z, double *scratch) {
    apply a = {b, columns, r, z, scratch};
    bbi_parallel(b->n > 1000 ? b->threads : 1, b->count, apply_block, &a);
}
