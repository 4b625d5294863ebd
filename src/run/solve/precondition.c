/* precondition.c: P = L L^T + mu I for a positive semidefinite matrix K, from some of its columns and its diagonal.
 *
 * L is a partial Cholesky factor of K whose pivots are drawn at random: with probabilities proportional to the diagonal
 * of the residual K - L L^T (Chen, Epperly, Tropp and Webber, Randomly pivoted Cholesky, arXiv 2304.12465), a block at a
 * time by rejection, which has the same law as one at a time (Epperly, Tropp and Webber, arXiv 2410.03969); or uniformly,
 * which makes L L^T the Nystrom approximation K(:, S) K(S, S)^-1 K(S, :). P^-1 is applied by Woodbury's identity
 *     P^-1 r = (r - L (L^T L + mu I)^-1 L^T r) / mu.
 *
 * The rank grows block by block until the trace of the residual is of the size of the ridge, until the memory is used
 * up, until building has cost what the iterations still to be expected cost (whoever goes on paying until then pays at
 * most twice the least), or until no larger rank would pay if the residual goes on falling as it has. All counts are of
 * operations, not of seconds: the result can be had again. */
#include "solve.h"

#include <math.h>
#include <string.h>

/* In pair operations, as the planner counts, of float32 and float64 (measured with N = 5,000, D = 3, ranks of 64 to 512): a fused
 * multiply-add of dense.c in building; one where P^-1 is applied; what it takes there to read a number of L twice; an entry of
 * the matrix and its way into L. */
static const double work_of_fma[2] = {4, 1.7}, work_of_apply[2] = {20, 8}, work_of_number[2] = {90, 40},
                    work_of_entry[2] = {1100, 480};
enum { SLAB = 1 << 20 }; /* numbers that memory is asked for together: few and large pages */

/* ---- pivots ---------------------------------------------------------------------------------- */
/* of a block; all arrays hold BBI_CHUNK entries, matrices BBI_CHUNK x BBI_CHUNK */
typedef struct block {
    bbi_factor *f;
    double *diagonal, *columns; /* of the residual (n); K(:, candidates), (candidates, n) */
    double *weight;             /* scratch (n) */
    bool *chosen;               /* per row of K */
    int64_t candidate[BBI_CHUNK], candidates, pivot[BBI_CHUNK], pivots;
    int kept[BBI_CHUNK];                    /* number of the candidate that became a pivot */
    double residual[BBI_CHUNK * BBI_CHUNK], /* K - L L^T at the candidates, then their Cholesky factor */
        triangle[BBI_CHUNK * BBI_CHUNK],    /* ... at the pivots, lower: T */
        inverse[BBI_CHUNK * BBI_CHUNK];     /* T^-1 */
    double *rows;                           /* rows of L at the candidates, (BBI_CHUNK, rank) */
} block;

/* Where the cumulated weight passes u. */
static int64_t locate(const double *cumulated, int64_t n, double u) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (cumulated[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Candidates, each once, in the order of the draws; a second draw of the same row would be rejected. */
static void draw(block *b, bool uniform, int64_t wanted, bbi_random *random) {
    double sum = 0;
    for (int64_t i = 0; i < b->f->n; i++) {
        double weight = b->chosen[i] ? 0 : uniform ? b->diagonal[i] > 0 : b->diagonal[i];
        b->weight[i] = sum += weight;
    }
    b->candidates = 0;
    for (int64_t k = 0; k < wanted && sum > 0; k++) {
        int64_t row = locate(b->weight, b->f->n, sum * bbi_random_uniform(random));
        bool known = b->chosen[row];
        for (int64_t c = 0; c < b->candidates; c++) known = known || b->candidate[c] == row;
        if (!known) b->candidate[b->candidates++] = row;
    }
}

static void residual_at_candidates(block *b) {
    const bbi_factor *f = b->f;
    for (int64_t c = 0; c < b->candidates; c++) {
        int64_t panel = b->candidate[c] / BBI_PANEL, row = b->candidate[c] % BBI_PANEL, at = 0;
        for (int64_t k = 0; k < f->chunks; k++)
            for (int64_t w = 0; w < f->width[k]; w++)
                b->rows[c * f->rank + at++] = bbi_factor_panel(f, k, panel)[w * BBI_PANEL + row];
    }
    for (int64_t i = 0; i < b->candidates; i++)
        for (int64_t j = 0; j <= i; j++) {
            double lower = f->dense->dot(b->rows + i * f->rank, b->rows + j * f->rank, f->rank);
            b->residual[i * BBI_CHUNK + j] = b->columns[j * f->n + b->candidate[i]] - lower;
        }
}

/* Rejection: a candidate becomes a pivot with the probability residual now / residual when it was drawn. */
static void choose(block *b, bool uniform, double least, bbi_random *random) {
    double *h = b->residual;
    b->pivots = 0;
    for (int64_t i = 0; i < b->candidates; i++) {
        double *row = h + i * BBI_CHUNK, u = bbi_random_uniform(random), now = row[i];
        int64_t p = b->pivots;
        double *l = b->triangle + p * BBI_CHUNK;
        for (int64_t k = 0; k < p; k++) {
            double sum = row[b->kept[k]];
            for (int64_t t = 0; t < k; t++) sum -= l[t] * b->triangle[k * BBI_CHUNK + t];
            l[k] = sum / b->triangle[k * BBI_CHUNK + k];
            now -= l[k] * l[k];
        }
        if (!(now > least) || (!uniform && u * row[i] >= now)) continue;
        l[p] = sqrt(now);
        b->kept[p] = (int)i;
        b->pivot[b->pivots++] = b->candidate[i];
        b->chosen[b->candidate[i]] = true;
    }
}

/* ---- a block of columns of L ------------------------------------------------------------------ */
/* L_new = (K(:, S) - L L(S, :)^T) T^-T for a panel of rows; the diagonal of the residual loses its squares. */
static void add_panel(void *argument, int64_t panel) {
    block *b = argument;
    const bbi_factor *f = b->f;
    int64_t rows = bbi_factor_rows(f, panel), at = 0, width = b->pivots;
    double *c = f->chunk[f->chunks] + panel * width * BBI_PANEL;
    memset(c, 0, (size_t)(width * BBI_PANEL) * sizeof *c);
    for (int64_t p = 0; p < width; p++)
        memcpy(c + p * BBI_PANEL, b->columns + b->kept[p] * f->n + panel * BBI_PANEL, (size_t)rows * sizeof *c);
    for (int64_t k = 0; k < f->chunks; at += f->width[k++])
        f->dense->gemm(width, BBI_PANEL, f->width[k], b->rows + at, f->rank, 1, bbi_factor_panel(f, k, panel),
                       BBI_PANEL, c, BBI_PANEL, -1);
    double *diagonal = b->diagonal + panel * BBI_PANEL, old[BBI_CHUNK * BBI_PANEL];
    f->dense->flush(width * BBI_PANEL, c);
    memcpy(old, c, (size_t)(width * BBI_PANEL) * sizeof *c);
    memset(c, 0, (size_t)(width * BBI_PANEL) * sizeof *c);
    f->dense->gemm(width, BBI_PANEL, width, b->inverse, BBI_CHUNK, 1, old, BBI_PANEL, c, BBI_PANEL, 1);
    f->dense->flush(width * BBI_PANEL, c);
    f->dense->squares(width, c, diagonal);
    for (int64_t r = 0; r < rows; r++) {
        if (!isfinite(diagonal[r]))
            diagonal[r] = NAN;
        else if (diagonal[r] < 0 || b->chosen[panel * BBI_PANEL + r])
            diagonal[r] = 0;
    }
}

/* T^-1 of the lower triangular T, by columns */
static void invert_triangle(block *b) {
    memset(b->inverse, 0, sizeof b->inverse);
    for (int64_t j = 0; j < b->pivots; j++)
        for (int64_t i = j; i < b->pivots; i++) {
            double sum = i == j;
            for (int64_t k = j; k < i; k++) sum -= b->triangle[i * BBI_CHUNK + k] * b->inverse[k * BBI_CHUNK + j];
            sum /= b->triangle[i * BBI_CHUNK + i];
            b->inverse[i * BBI_CHUNK + j] = fabs(sum) < BBI_TINY ? 0 : sum;
        }
}

/* Memory for a chunk: from the last slab, or a new one. */
static double *chunk_memory(bbi_factor *f, int64_t size) {
    if (size > f->room) {
        double **slab = bbi_realloc(f->slab, (size_t)(f->slabs + 1) * sizeof *slab);
        if (!slab) return NULL;
        f->slab = slab;
        int64_t usual = f->panels * BBI_PANEL * 256 < SLAB ? f->panels * BBI_PANEL * 256 : SLAB;
        f->room = size > usual ? size : usual;
        f->slab[f->slabs] = bbi_alloc_aligned((size_t)f->room * sizeof(double));
        if (!f->slab[f->slabs]) return NULL;
        f->chunk[f->chunks] = f->slab[f->slabs++];
    } else {
        f->chunk[f->chunks] = f->chunk[f->chunks - 1] + f->panels * f->width[f->chunks - 1] * BBI_PANEL;
    }
    f->room -= size;
    return f->chunk[f->chunks];
}

static bb_status add_chunk(block *b) {
    bbi_factor *f = b->f;
    if (f->chunks == f->capacity) {
        int64_t capacity = 2 * f->capacity + 8;
        double **chunk = bbi_realloc(f->chunk, (size_t)capacity * sizeof *chunk);
        if (chunk) f->chunk = chunk;
        int64_t *width = bbi_realloc(f->width, (size_t)capacity * sizeof *width);
        if (width) f->width = width;
        if (!chunk || !width) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the preconditioner");
        f->capacity = capacity;
    }
    /* pivots in the place of candidates: rows of L */
    for (int64_t p = 0; p < b->pivots; p++)
        memmove(b->rows + p * f->rank, b->rows + b->kept[p] * f->rank, (size_t)f->rank * sizeof *b->rows);
    if (!chunk_memory(f, f->panels * b->pivots * BBI_PANEL))
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld more columns of the preconditioner",
                        (long long)b->pivots);
    invert_triangle(b);
    bbi_parallel(f->threads, f->panels, add_panel, b);
    f->width[f->chunks++] = b->pivots;
    f->rank += b->pivots;
    f->trace_left = 0;
    for (int64_t i = 0; i < f->n; i++) f->trace_left += b->diagonal[i];
    return BB_OK;
}

/* ---- how far --------------------------------------------------------------------------------- */
/* slope: of the trace that is left, against the rank; it is an estimate of the residual's largest eigenvalue, hence of the
 * condition number of P^-1 (K + alpha I). */
static double iterations_ahead(const bbi_factor *f, const bbi_factor_options *o, double slope) {
    double most = f->n < 400 ? 5 * (double)f->n : 2000; /* rounding makes them more than the unknowns */
    if (!(o->alpha > 0)) return most;
    double condition = 1 + (slope < f->trace_left ? slope : f->trace_left) / o->alpha;
    double iterations = 0.5 * sqrt(condition) * (o->digits + 0.7);
    return iterations < most ? iterations : most;
}

static double build_cost(const bbi_factor *f, const bbi_matrix *m, double rank) {
    double n = (double)f->n;
    return rank * n * (work_of_entry[m->is_double] + m->pair_cost) + 1.5 * rank * rank * n * work_of_fma[m->is_double];
}

static double iteration_cost(const bbi_factor *f, const bbi_matrix *m, const bbi_factor_options *o, double rank) {
    double number = work_of_number[m->is_double] + 2 * (double)m->columns * work_of_apply[m->is_double];
    return o->work + rank * (double)f->n * number;
}

/* The slope of the trace that is left where a block ended. */
typedef struct capture {
    double rank, slope;
} capture;

enum { TOO_EARLY = 64 }; /* a rank that does not tell how the residual falls */

/* old: of a block at about a half of the rank or less. The slope goes on falling as a power of the rank, as it has since then, or as an
 * exponential with the rate at which the trace falls now, whichever is faster. */
static bool worth_its_price(const bbi_factor *f, const bbi_matrix *m, const bbi_factor_options *o, const capture *last,
                            const capture *old) {
    double rank = (double)f->rank, built = build_cost(f, m, rank);
    double now = iterations_ahead(f, o, last->slope) * iteration_cost(f, m, o, rank), least = now;
    if (built >= now) return false;
    if (rank < TOO_EARLY || !(old->slope > 0)) return true;
    double power = last->slope < old->slope ? log(old->slope / last->slope) / log(rank / old->rank) : 0;
    double rate = f->trace_left > 0 ? last->slope / f->trace_left : 0;
    const double larger[] = {rank + BBI_CHUNK, 1.5 * rank, 2 * rank, 3 * rank};
    for (int k = 0; k < 4; k++) {
        double slope = last->slope * fmin(pow(rank / larger[k], power), exp(-rate * (larger[k] - rank)));
        double next =
            build_cost(f, m, larger[k]) - built + iterations_ahead(f, o, slope) * iteration_cost(f, m, o, larger[k]);
        if (next < least) least = next;
    }
    if (o->rival > 0 && least > o->rival && built > 0.1 * o->rival) return false;
    return least < now;
}

/* Room for one more block: the factor, its Gram matrix, the columns of K that the block is made from. */
static bool has_room(const bbi_factor *f, const bbi_factor_options *o) {
    double n = (double)f->n, rank = (double)f->rank + BBI_CHUNK;
    return 8 * (n * (rank + BBI_CHUNK) + rank * rank) <= (double)o->memory;
}

static bool enough(const bbi_factor *f, const bbi_matrix *m, const bbi_factor_options *o, const capture *last,
                   const capture *old) {
    double noise = m->is_double ? 1e-14 : 1e-6;
    if (f->trace_left <= o->alpha || f->trace_left <= noise * f->trace || f->rank >= f->n) return true;
    if (f->rank && !has_room(f, o)) return true;
    if (o->rank > 0) return f->rank >= o->rank;
    return f->rank && !worth_its_price(f, m, o, last, old);
}

static int64_t candidates_wanted(const bbi_factor *f, const bbi_factor_options *o) {
    int64_t wanted = f->rank < 16 ? 16 : f->rank < BBI_CHUNK ? f->rank : BBI_CHUNK;
    if (o->rank > 0 && wanted > o->rank - f->rank) wanted = o->rank - f->rank;
    return wanted < f->n - f->rank ? wanted : f->n - f->rank;
}

static bool is_finite(const block *b) {
    double sum = b->f->trace_left;
    for (int64_t i = 0; i < b->candidates; i++)
        for (int64_t j = 0; j <= i; j++) sum += fabs(b->residual[i * BBI_CHUNK + j]);
    return isfinite(sum);
}

static bb_status grow(block *b, bbi_matrix *m, int64_t batch, const bbi_factor_options *o, const char **reason) {
    bbi_factor *f = b->f;
    bbi_random random = {o->seed + (uint64_t)batch * 0x9E3779B9u};
    double noise = m->is_double ? 1e-15 : 1e-7, largest = 0;
    capture last = {0}, old = {0}, later = {0};
    bool uniform = o->kind == BB_PRECONDITION_NYSTROM;
    for (int64_t i = 0; i < f->n; i++)
        if (b->diagonal[i] > largest) largest = b->diagonal[i];
    for (int idle = 0; idle < 4 && !enough(f, m, o, &last, &old);) {
        draw(b, uniform, candidates_wanted(f, o), &random);
        if (!b->candidates) return BB_OK;
        double *rows = bbi_realloc(b->rows, (size_t)(BBI_CHUNK * (f->rank + 1)) * sizeof *rows);
        if (!rows) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the preconditioner");
        b->rows = rows;
        BBI_FORWARD(bbi_matrix_columns(m, batch, b->candidate, b->candidates, b->columns));
        residual_at_candidates(b);
        if (!is_finite(b)) *reason = "the matrix has entries that are not finite";
        if (*reason) return BB_OK;
        choose(b, uniform, noise * largest, &random);
        for (int64_t c = 0; c < b->candidates && uniform; c++) b->chosen[b->candidate[c]] = true;
        idle = b->pivots ? 0 : idle + 1;
        if (!b->pivots) continue;
        double before = f->trace_left;
        BBI_FORWARD(add_chunk(b));
        if (!isfinite(f->trace_left)) *reason = "the matrix has entries that are not finite";
        if (*reason) return BB_OK;
        double fall = f->trace_left > 0 ? log(before / f->trace_left) : INFINITY;
        last = (capture){(double)f->rank, f->trace_left > 0 ? fall * f->trace_left / (double)b->pivots : 0};
        f->ahead = iterations_ahead(f, o, last.slope);
        if (last.rank < 1.9 * later.rank) continue;
        old = later;
        later = last;
    }
    return BB_OK;
}

/* ---- L^T L + mu I ----------------------------------------------------------------------------- */
typedef struct gram_work {
    const bbi_factor *f;
    int64_t ld, rows;   /* of a strip: how it is cut changes no sum */
    int64_t step;       /* from row to row of `transposed`: no power of two, so that rows do not share a cache set */
    double *transposed; /* per strip: a panel of L by rows, (BBI_PANEL, step) */
} gram_work;

static void gram_strip(void *argument, int64_t strip) {
    const gram_work *g = argument;
    const bbi_factor *f = g->f;
    int64_t first = strip * g->rows, rows = f->rank - first < g->rows ? f->rank - first : g->rows;
    int64_t lanes = bbi_padded(first + rows) < g->ld ? bbi_padded(first + rows) : g->ld;
    double *t = g->transposed + strip * BBI_PANEL * g->step;
    memset(t, 0, (size_t)(BBI_PANEL * g->step) * sizeof *t);
    for (int64_t panel = 0; panel < f->panels; panel++) {
        int64_t at = 0;
        for (int64_t k = 0; k < f->chunks && at < lanes; at += f->width[k++]) {
            const double *from = bbi_factor_panel(f, k, panel);
            for (int64_t some = 0; some < BBI_PANEL; some += 8) /* a cache line of each column at a time */
                for (int64_t w = 0; w < f->width[k]; w++)
                    for (int64_t r = some; r < some + 8; r++) t[r * g->step + at + w] = from[w * BBI_PANEL + r];
        }
        f->dense->gemm(rows, lanes, BBI_PANEL, t + first, 1, g->step, t, g->step, f->gram + first * g->ld, g->ld, 1);
    }
}

static bb_status make_gram(bbi_factor *f, const char **reason) {
    int64_t ld = bbi_padded(f->rank), rows = bbi_padded(f->rank / (2 * f->threads) + 1),
            strips = (f->rank + rows - 1) / rows;
    gram_work g = {.f = f, .ld = ld, .step = ld + 8, .rows = rows};
    f->gram = bbi_calloc((size_t)(f->rank * ld) + 1, sizeof *f->gram);
    g.transposed = bbi_alloc_aligned((size_t)(strips * BBI_PANEL * g.step) * sizeof *g.transposed + 8);
    bool ok = f->gram && g.transposed;
    if (ok) bbi_parallel(f->threads, strips, gram_strip, &g);
    bbi_free_aligned(g.transposed);
    if (!ok) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a preconditioner of rank %lld", (long long)f->rank);
    for (int64_t k = 0; k < f->rank; k++)
        for (int64_t l = 0; l <= k; l++) f->size += (k == l ? 1 : 2) * f->gram[k * ld + l] * f->gram[k * ld + l];
    f->size = sqrt(f->size);
    for (int64_t k = 0; k < f->rank; k++) f->gram[k * ld + k] += f->mu;
    if (!bbi_cholesky(f->dense, f->gram, f->rank, ld)) *reason = "its small system is singular to rounding";
    return BB_OK;
}

static bb_status check_diagonal(const block *b, const char **reason) {
    for (int64_t i = 0; i < b->f->n; i++) {
        if (!isfinite(b->diagonal[i])) *reason = "the diagonal of the matrix is not finite";
        if (b->diagonal[i] < 0) *reason = "the diagonal of the matrix has negative entries";
        b->f->trace += b->diagonal[i];
    }
    b->f->trace_left = b->f->trace;
    if (!*reason && !(b->f->trace > 0)) *reason = "the diagonal of the matrix is zero";
    return BB_OK;
}

static bb_status make(block *b, bbi_matrix *m, int64_t batch, const bbi_factor_options *options, const char **reason) {
    bbi_factor *f = b->f;
    BBI_FORWARD(bbi_matrix_diagonal(m, batch, b->diagonal));
    BBI_FORWARD(check_diagonal(b, reason));
    if (*reason) return BB_OK;
    BBI_FORWARD(grow(b, m, batch, options, reason));
    if (!*reason && !f->rank) *reason = "no column of the matrix is worth it";
    if (*reason) return BB_OK;
    f->mu = options->alpha + (options->fit ? f->trace_left / (double)f->n : 0);
    if (f->mu < 0.01 * f->trace_left / (double)f->n) f->mu = 0.01 * f->trace_left / (double)f->n;
    if (f->mu < 1e-14 * f->trace) f->mu = 1e-14 * f->trace;
    return make_gram(f, reason);
}

static bb_status make_sparse(bbi_factor *f, bbi_matrix *m, int64_t batch, const bbi_factor_options *o,
                             const char **reason) {
    bb_status status = BB_OK;
    if (o->kind == BB_PRECONDITION_BLOCKS)
        status = bbi_blocks_make(&f->blocks, m, batch, o->clusters, o->alpha, o->memory, reason);
    else if (!m->kernel || m->n != m->points || !m->structure.scalar)
        *reason = "a sparse factor needs a kernel with one unknown for each point";
    else
        status = bbi_neighbors_make(&f->neighbors, m, batch, o, reason);
    if (status != BB_OK || *reason) bbi_factor_free(f);
    return status;
}

bb_status bbi_factor_make(bbi_factor *f, bbi_matrix *m, int64_t batch, const bbi_factor_options *options,
                          const char **reason) {
    *f = (bbi_factor){.n = m->n, .panels = (m->n + BBI_PANEL - 1) / BBI_PANEL, .threads = m->threads};
    f->dense = bbi_dense_of(m->level);
    *reason = m->structure.no_entries;
    if (*reason || m->n == 0) return BB_OK;
    if (options->kind >= BB_PRECONDITION_BLOCKS) return make_sparse(f, m, batch, options, reason);
    block *b = bbi_calloc(1, sizeof *b);
    bb_status status = BB_OUT_OF_MEMORY;
    if (b) {
        size_t n = (size_t)m->n;
        b->f = f;
        b->diagonal = bbi_calloc((size_t)(f->panels * BBI_PANEL), sizeof(double));
        b->weight = bbi_alloc(n * sizeof(double));
        b->columns = bbi_alloc_aligned(n * BBI_CHUNK * sizeof(double));
        b->chosen = bbi_calloc(n, sizeof(bool));
        bool ok = b->diagonal && b->weight && b->columns && b->chosen;
        if (ok) status = make(b, m, batch, options, reason);
        bbi_free(b->diagonal), bbi_free(b->weight), bbi_free_aligned(b->columns), bbi_free(b->chosen);
        bbi_free(b->rows);
        if (!ok) b = (bbi_free(b), NULL);
    }
    if (!b) status = bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a preconditioner of %lld unknowns", (long long)m->n);
    bbi_free(b);
    if (status != BB_OK || *reason) bbi_factor_free(f);
    return status;
}
