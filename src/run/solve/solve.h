/* solve.h: systems with kernel matrices. matrix.c makes products and entries of the matrix, precondition.c factors
 * an approximation of it, cg.c and minres.c iterate, solve.c drives; dense.c is the small linear algebra that they
 * need. Prototypes are grouped by file; calls go from later files to earlier ones only.
 *
 * Vectors are float64 whatever the kernel computes in: (batches, n, columns), row-major. */
#ifndef BBI_SOLVE_H
#define BBI_SOLVE_H

#include "../program.h"
#include "../team.h"

/* ---- structure.c: what the formula says about its matrix ------------------------------------- */
typedef struct bbi_structure {
    bool separate;          /* component e of the product depends on component e of b only */
    bool scalar;            /* ... by the same matrix for all e: the formula can be made for any number of columns */
    const char *no_entries; /* why the program cannot be run on single pairs; NULL where it can */
} bbi_structure;
bb_status bbi_structure_of(const bb_program *program, int unknown, bbi_structure *structure);
/* A kernel of a scalar structure for another dimension of b. */
bb_status bbi_with_columns(bb_kernel *kernel, int unknown, int64_t columns, bb_kernel **result);
/* What a pair of points adds to the product, for b of the dimension dim, as a kernel of one row for each point of the output's
 * axis. The points of the other axis, and b, are parameters; diagonal: they are those of the same number. It is interpreted,
 * so that nothing waits for a compiler. The matrix has entries. */
bb_status bbi_summand_of(bb_kernel *kernel, int unknown, int64_t dim, bool diagonal, bb_kernel **result);

/* ---- dense.c, dense_isa.c: small dense matrices, row-major ----------------------------------- */
enum { BBI_BLOCK = 16 }; /* columns that share search directions, at most; a multiple of every vector */
enum { BBI_PANEL = 64 }; /* rows of a tall matrix that are stored together; a multiple of every vector */
#define BBI_TINY 1e-120  /* products of smaller numbers are denormal, hence slow */
typedef struct bbi_dense {
    /* C[i, l] += sign sum_k A[i, k] B[k, l]; A[i, k] at a[i row + k step]; lanes a multiple of 32 */
    void (*gemm)(int64_t rows, int64_t lanes, int64_t depth, const double *a, int64_t row, int64_t step,
                 const double *b, int64_t ldb, double *c, int64_t ldc, double sign);
    /* sums[k, 0 .. 7] += parts of sum_w panel[k, w] v[w], w < BBI_PANEL; the eight parts are added by the caller */
    void (*project)(int64_t width, const double *panel, const double *v, double *sums);
    double (*dot)(const double *a, const double *b, int64_t count);
    void (*flush)(int64_t count, double *a); /* what is below BBI_TINY becomes 0; count a multiple of 32 */
    /* diagonal[w] -= sum_k panel[k, w]^2, w < BBI_PANEL */
    void (*squares)(int64_t width, const double *panel, double *diagonal);
    /* of tall matrices of at most BBI_BLOCK columns, `step` from row to row, and small ones with BBI_BLOCK:
     * sums = A^T B; Y += B C, where C has zeros behind its columns and y does not overlap b */
    void (*cross)(int64_t rows, int64_t step, int size, const double *a, const double *b, double *sums);
    void (*combine)(int64_t rows, int64_t step, int size, const double *b, const double *c, double *y, int64_t y_step);
} bbi_dense;
extern const bbi_dense bbi_dense_isa_0;
#if BBI_HAVE_ISA >= 1
extern const bbi_dense bbi_dense_isa_1;
#endif
#if BBI_HAVE_ISA >= 2
extern const bbi_dense bbi_dense_isa_2;
#endif
const bbi_dense *bbi_dense_of(int level);
/* A = L L^T in the lower triangle; false where A is not positive definite. */
bool bbi_cholesky(const bbi_dense *dense, double *a, int64_t n, int64_t ld);
/* x <- (L L^T)^-1 x for one vector */
void bbi_cholesky_solve(const bbi_dense *dense, const double *l, int64_t n, int64_t ld, double *x);
/* function(argument, item) for all items, by up to `threads` threads */
void bbi_parallel(int threads, int64_t items, void (*function)(void *argument, int64_t item), void *argument);

/* splitmix64 (Steele, Lea and Flood, 2014) */
typedef struct bbi_random {
    uint64_t state;
} bbi_random;
double bbi_random_uniform(bbi_random *random); /* in [0, 1) */
double bbi_random_normal(bbi_random *random);

/* ---- symmetric_eigen.c ----------------------------------------------------------------------- */
/* Of the tridiagonal matrix with the diagonal d (then: eigenvalues, in no order) and e beside it (n entries, the last is
 * not read, all are lost). The rows of z, n of length `width`, take part in the rotations: from the identity they become
 * the eigenvectors, from its first column their first components. False: something is not finite. */
bool bbi_tridiagonal_eigen(int64_t n, double *d, double *e, double *z, int64_t width);
/* Of A (lost), ascending; z: eigenvectors as rows, (n, n). */
bb_status bbi_symmetric_eigen(const bbi_dense *dense, double *a, int64_t n, int64_t ld, double *values, double *z);

/* ---- matrix.c -------------------------------------------------------------------------------- */
typedef struct bbi_matrix {
    const bb_matrix *given;               /* borrowed */
    bb_kernel *kernel, *owned;            /* NULL without a kernel */
    bb_kernel *entries, *diagonal, *wide; /* summands, for columns and the diagonal; of wide_columns */
    int64_t wide_columns;
    bb_array *inputs; /* inputs[unknown] is the direction */
    int ninput, unknown, level, threads;
    bb_run_options run;
    bbi_extent extent;
    bbi_structure structure;
    bool is_double;
    int64_t batches, points, dim; /* of the right-hand side */
    int64_t n, columns, count;    /* unknowns of a system; systems that share a matrix; all together */
    double pair_cost;             /* operations per pair, as the planner counts */
    int64_t shape[BBI_MAX_BATCH_DIMS + 2];
    int64_t products;
} bbi_matrix;
/* A copy of the caller's structure, whatever its size. */
bb_status bbi_matrix_given(const bb_matrix *matrix, bb_matrix *given);
/* The matrix, checked; what: who asks, for messages. columns: of the vectors of a matrix without a kernel. Closed also
 * after a failure. */
bb_status bbi_matrix_open(bbi_matrix *m, const char *what, const bb_matrix *given, int64_t columns);
/* For vectors of any number of columns where the structure allows, else of one: what a function of the matrix needs. */
bb_status bbi_matrix_open_block(bbi_matrix *m, const char *what, const bb_matrix *given, int64_t columns);
void bbi_matrix_close(bbi_matrix *m);
bb_status bbi_matrix_multiply(bbi_matrix *m, const double *p, double *q); /* q = K p */
double bbi_matrix_work(const bbi_matrix *m); /* operations of a product of one batch element */
bb_status bbi_matrix_answered(int stop);     /* what a callback of the matrix returned */

/* ---- entries.c ------------------------------------------------------------------------------- */
/* Columns list[0 .. count - 1] of the matrix of a batch element: result[k * n + i] = K[i, list[k]]. */
bb_status bbi_matrix_columns(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, double *result);
bb_status bbi_matrix_diagonal(bbi_matrix *m, int64_t batch, double *diagonal);
/* Blocks of `width` unknowns each, list (rows, width) with -1 for none at the end: result[r, i, k] = K[list[r, i], list[r, k]].
 * Of matrices with a kernel whose points have one unknown. */
bb_status bbi_matrix_blocks(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t rows, int64_t width,
                            double *result);
/* The block of some unknowns: result[k * count + i] = K[list[i], list[k]]. */
bb_status bbi_matrix_block(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, double *result);

/* ---- pattern.c ------------------------------------------------------------------------------- */
/* Components of the points that the unknowns belong to, up to 16; 0: there are none. */
int bbi_matrix_dimension(const bbi_matrix *m);
/* ... (points, dimension); *finite: whether all are. */
bb_status bbi_matrix_places(const bbi_matrix *m, int64_t batch, double *points, bool *finite);
/* For each of n points the `wanted` nearest of those that come before it in a random order, list (n, wanted), -1 for none;
 * rank (n): the order. */
bb_status bbi_pattern_make(const double *points, int64_t n, int dim, int64_t wanted, int threads, uint64_t seed,
                           int64_t *list, int64_t *rank);
/* Clusters of at most 256 points near each other: their numbers. */
bb_status bbi_pattern_clusters(const double *points, int64_t n, int dim, int64_t *label);

/* ---- blocks.c -------------------------------------------------------------------------------- */
typedef struct bbi_blocks bbi_blocks;
/* clusters: the number of each unknown's block, NULL: by the points' places, else some in a row. *result is there also after a failure. */
bb_status bbi_blocks_make(bbi_blocks **result, bbi_matrix *m, int64_t batch, const int64_t *clusters, double alpha,
                          int64_t memory, const char **reason);
void bbi_blocks_free(bbi_blocks *blocks);
/* z = P^-1 r, both (n, columns); scratch: n doubles */
void bbi_blocks_solve(const bbi_blocks *blocks, int64_t columns, const double *r, double *z, double *scratch);

/* ---- neighbors.c ----------------------------------------------------------------------------- */
typedef struct bbi_neighbors bbi_neighbors;
struct bbi_factor_options;
/* Neighbours of each unknown that pay where the caller left their number open; *cost: operations that the solution is then
 * expected to take, and those of building. */
int64_t bbi_neighbors_wanted(const bbi_matrix *m, const struct bbi_factor_options *options, double *cost);
double bbi_neighbors_cost(const bbi_matrix *m, int64_t wanted);
/* Of the options, or found among the points. *result is there also after a failure. */
bb_status bbi_neighbors_make(bbi_neighbors **result, bbi_matrix *m, int64_t batch,
                             const struct bbi_factor_options *options, const char **reason);
void bbi_neighbors_free(bbi_neighbors *neighbors);
/* z = P^-1 r, both (n, columns); scratch: `columns` doubles */
void bbi_neighbors_solve(const bbi_neighbors *neighbors, int64_t columns, const double *r, double *z, double *scratch);

/* ---- precondition.c -------------------------------------------------------------------------- */
enum { BBI_CHUNK = 64 }; /* columns that are factored together */
/* P = L L^T + mu I; L in chunks of columns, each (panels, width, BBI_PANEL), zeros behind the last row. Or P is that of
 * blocks.c or neighbors.c, and nothing else is set. */
typedef struct bbi_factor {
    int64_t n, panels, rank, chunks, capacity;
    double **chunk;
    int64_t *width;
    double **slab; /* the memory of the chunks, one after the other */
    int64_t slabs, room;
    double *gram;                       /* Cholesky factor of L^T L + mu I, (rank, padded rank) */
    double mu, trace, trace_left, size; /* size: at least the largest eigenvalue of L L^T */
    const bbi_dense *dense;
    int threads;
    bbi_blocks *blocks;
    bbi_neighbors *neighbors;
    double ahead; /* iterations that are to be expected with it */
} bbi_factor;
typedef struct bbi_factor_options {
    bb_precondition kind; /* NYSTROM: pivots drawn uniformly; RPCHOLESKY: with the residual's diagonal; BLOCKS */
    const int64_t *clusters, *neighbors, *neighbor_rank;
    int64_t neighbor_count;
    double alpha, work; /* the ridge; pair operations that one iteration costs */
    double digits;      /* -log of the tolerance */
    double rival;       /* operations that a solution without a factor of low rank takes, 0: that is none */
    bool fit;           /* mu takes up the trace that L leaves: P is to be like the matrix, not only to be inverted */
    int64_t rank, memory;
    uint64_t seed;
} bbi_factor_options;
static inline double *bbi_factor_panel(const bbi_factor *f, int64_t chunk, int64_t panel) {
    return f->chunk[chunk] + panel * f->width[chunk] * BBI_PANEL;
}
static inline int64_t bbi_factor_rows(const bbi_factor *f, int64_t panel) { /* of a panel */
    int64_t left = f->n - panel * BBI_PANEL;
    return left < BBI_PANEL ? left : BBI_PANEL;
}
static inline int64_t bbi_padded(int64_t rank) { return (rank + BBI_PANEL - 1) / BBI_PANEL * BBI_PANEL; }
/* *reason: NULL, or why there is no factor (the status is then BB_OK). */
bb_status bbi_factor_make(bbi_factor *f, bbi_matrix *m, int64_t batch, const bbi_factor_options *options,
                          const char **reason);

/* ---- factor.c -------------------------------------------------------------------------------- */
void bbi_factor_free(bbi_factor *f);
/* z = P^-1 r, both (n, columns); scratch from bbi_factor_scratch doubles. */
int64_t bbi_factor_scratch(const bbi_factor *f, int64_t columns);
/* z, (n, columns), of independent normal vectors of the covariance P; not of blocks. scratch as for bbi_factor_solve. */
void bbi_factor_sample(const bbi_factor *f, int64_t columns, bbi_random *random, double *z, double *scratch);
double bbi_factor_logdet(const bbi_factor *f); /* not of blocks */
void bbi_factor_solve(const bbi_factor *f, int64_t columns, const double *r, double *z, double *scratch);

/* ---- exact.c: functions of small matrices ------------------------------------------------------ */
bb_status bbi_not_positive(double eigenvalue, double alpha); /* of K + alpha I, or a larger one: a refusal */
/* tr f(K + alpha I) of each batch element by dense matrices, f NULL: log det. errors may be NULL; *rounding: the largest. */
bb_status bbi_exact_function(bbi_matrix *m, double alpha, double (*f)(void *data, double x), void *data, double *values,
                             double *errors, double *rounding);
bb_status bbi_exact_trace(bbi_matrix *m, double alpha, double *values); /* from the diagonal */

/* ---- cg.c, minres.c: iterations on r = b - A x ----------------------------------------------- */
typedef struct bbi_iteration {
    bbi_matrix *m;
    const bb_solve_options *options;
    bb_solve_result *result;
    double alpha, tolerance;
    double *x, *r; /* iterate and its residual; MINRES leaves r as it was */
    double *kept;  /* iterate of the least residual, kept_residual */
    double kept_residual;
    double *rr, *bb;      /* per system: |r|^2, |b|^2 */
    bbi_factor *factor;   /* per batch element, or NULL */
    int64_t limit, pause; /* iterations altogether; stop there for a moment (0: never), */
    int64_t look;         /* ... or from here on where twice as many would not do */
    double best, first;   /* residual: the least so far, the one at the start */
    int64_t best_at;
    bool done, stagnates;
} bbi_iteration;
/* Per system: sum over the rows of a * b. */
void bbi_column_products(const bbi_matrix *m, const double *a, const double *b, double *result);
/* Whether a system is solved as its |r|^2 says. */
bool bbi_column_done(const bbi_iteration *it, int64_t column);
/* Residual of all systems, history, report, NaN: *stop where the iteration is over for any reason. */
bb_status bbi_iteration_look(bbi_iteration *it, bool *stop);
bb_status bbi_cg(bbi_iteration *it);
bb_status bbi_minres(bbi_iteration *it);

#endif
