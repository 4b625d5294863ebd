/* backend.h: the CPU family. One set of C files (interp_isa.c, fold_isa.c, pack_isa.c) is compiled once per
 * instruction-set level and real type with the prelude, and is reached through this table of functions; everything
 * above is ordinary C. */
#ifndef BBI_BACKEND_H
#define BBI_BACKEND_H

#include "../plan/plan.h"

/* dtype and strides of a caller's array as the packers see it: element (r, d) at data + r *
                              row_stride + d * dim_stride bytes */
typedef struct bbi_array {
    const char *data;
    int dtype; /* bbi_dtype */
    int64_t row_stride, dim_stride;
} bbi_array;
typedef enum bbi_dtype { BBI_F16, BBI_BF16, BBI_F32, BBI_F64, BBI_I64 } bbi_dtype;

/* ---- interp.c: a code made ready to be executed; immutable, shared by threads ---------------- */
typedef struct bbi_interp bbi_interp;
/* map: a map code (uniform, row, column code, epilogue); else pair code. NULL when out of memory. */
bbi_interp *bbi_interp_new(const bbi_code *code, int level, bool is_double, bool map, int64_t sum_count);
void bbi_interp_free(bbi_interp *interp);
int64_t bbi_interp_workspace(const bbi_interp *interp); /* bytes, 64-byte aligned, one per thread */
/* Map code over count lanes of one array: component c of element r at array[c * stride + r]; stride is a multiple of
 * the lane block, so the last vector may be processed whole. BBI_ROW, BBI_COLUMN (and BBI_UNIFORM of the uniform code,
 * which runs with count = 1 on `array`) address `array`; uniform: the uniform array for the others (may be NULL for the
 * uniform code). */
void bbi_interp_map(const bbi_interp *interp, const int64_t *size, const void *uniform, void *array, int64_t stride,
                    int64_t count, void *workspace);
/* Elementwise over pairs: rows and columns are both lanes (pair lists): row[c * stride + e], column[c * stride + e];
 * writes OUT components to out[c * stride + e]. */
void bbi_interp_zip(const bbi_interp *interp, const int64_t *size, const void *uniform, const void *row,
                    const void *column, void *out, int64_t stride, int64_t count, void *workspace);
/* The twin of bbi_pair_kernel: same arguments, same bits; but it never selects (bbi_selection), it writes all outs. */
void bbi_interp_pair(const bbi_interp *interp, bool transposed, const int64_t *size, const void *uniform,
                     const void *lane, int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes,
                     int64_t casts, void *sum, void *out, int64_t out_stride, void *workspace);

/* Pair code of one output component, direct schedule, that names the hits as a kernel does (BBI_SELECT_HITS), where
 * `selects`. max: the larger is better; improves: the limit is the best so far. */
bool bbi_interp_selects(const bbi_interp *interp, int64_t lanes);
void bbi_interp_select(const bbi_interp *interp, const int64_t *size, const void *uniform, const void *lane,
                       int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes, int64_t casts,
                       void *out, int64_t out_stride, bool max, bool improves, bbi_hits *hits, void *workspace);

/* Pair code whose outputs but the first are components *first, *first + 1, ... of the columns: how many they are. Other
 * code: 0. */
int64_t bbi_interp_copies(const bbi_interp *interp, int64_t *first);
/* As bbi_interp_pair, direct schedule, of the first output alone. */
void bbi_interp_first(const bbi_interp *interp, const int64_t *size, const void *uniform, const void *lane,
                      int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes, int64_t casts,
                      void *out, int64_t out_stride, void *workspace);

/* Mirror sums of `count` casts, a vector each as the pair code leaves them, to one real each. */
void bbi_interp_lane_sums(const bbi_interp *interp, void *result, const void *source, int64_t count, bool negative);

/* ---- fold.c: reduction states over a lane block, per chunk of columns ------------------------ */
typedef enum bbi_scheme { BBI_SCHEME_BLOCK, BBI_SCHEME_KAHAN, BBI_SCHEME_DIRECT } bbi_scheme;
/* fold_user.c: the step of a custom reduction, made for one real type and level; the custom reduction is borrowed. */
typedef struct bbi_user_step bbi_user_step;
bb_status bbi_user_step_new(const bbi_custom *custom, int level, bool is_double, bbi_user_step **step);
void bbi_user_step_free(bbi_user_step *step);
/* the run-time view of a bbi_fold */
typedef struct bbi_folding {
    bbi_fold fold;
    bbi_scheme scheme;
    bool accumulate_double; /* second-level accumulators of float sums are double */
    bool is_double;
    int level;
    const bbi_user_step *user; /* FAMILY_USER */
} bbi_folding;
/* State of one lane block (direct: L rows) or of `casts` rows x L lanes (transposed). */
int64_t bbi_fold_state_bytes(const bbi_folding *f, bool transposed, int64_t casts);
void bbi_fold_init(const bbi_folding *f, bool transposed, int64_t casts, void *state);
/* SUM accumulated by the pair code: adds the block sum (as bbi_pair_kernel leaves it, at this fold's first component;
 * transposed: row stride sum_count * L) to the second level and clears it. */
void bbi_fold_flush(const bbi_folding *f, bool transposed, int64_t casts, void *state, void *sum, int64_t sum_count,
                    int64_t lanes);
/* Every other fold: folds a tile of the out area. first_column: index, within the row's whole column sequence, of cast
 * 0 (direct) or of lane 0 (transposed). */
void bbi_fold_step(const bbi_folding *f, bool transposed, void *state, const void *out, int64_t out_stride,
                   int64_t lanes, int64_t casts, int64_t first_column);
/* The same for a tile whose kernel finds the hits (BBI_SELECT_HITS): limits before the call, the fold behind it. */
void bbi_fold_limits(const bbi_folding *f, const void *state, bbi_hits *hits);
void bbi_fold_hits(const bbi_folding *f, void *state, const void *out, int64_t lanes, int64_t casts,
                   int64_t first_column, const bbi_hits *hits);
/* The K smallest of the first columns, of which all values are looked at: what bounds the K-th smallest is found first. */
bool bbi_fold_sorts(int64_t k); /* are lists of k kept in order? */
void bbi_fold_no_hits(const bbi_folding *f, bbi_hits *hits); /* limits below which nothing is */
void bbi_fold_first(const bbi_folding *f, void *state, const void *out, int64_t lanes, int64_t casts, int64_t first_column);
/* The K smallest from the smallest values of groups of columns (BBI_SELECT_LEAST) of one lane block: a group is evaluated
 * again for a lane where one of its values may be among the K smallest. */
typedef uint32_t bbi_again; /* group << BBI_AGAIN_GROUP | lane */
enum {
    BBI_AGAIN = 64, /* groups evaluated at a time */
    BBI_AGAIN_MOST = BBI_AGAIN + 16,
    BBI_AGAIN_GROUP = 8,
    BBI_AGAIN_LANE = 255,
    BBI_LEAST_GROUPS = 2048 /* at most between two looks */
};
typedef struct bbi_least {
    const void *least;             /* R least[groups][L], at most BBI_LEAST_GROUPS */
    int64_t first, columns, lanes; /* number of the first column, how many there are */
    void *out;                     /* R out[BBI_AGAIN][BBI_LEAST_CASTS], and a lane block */
    void *data;
    /* Values of group again[n] to out[n]; what is behind the last column is undefined. */
    void (*evaluate)(void *data, const bbi_again *again, int64_t count, void *out);
} bbi_least;
void bbi_fold_least(const bbi_folding *f, void *state, const bbi_least *least);
/* Of one lane: R values[count], behind which a whole vector may be written. */
void bbi_fold_row(const bbi_folding *f, void *state, int64_t lane, void *values, int64_t count, int64_t first);
/* A log-sum-exp over a block of columns: what is returned is what a kernel adds to (BBI_SELECT_LSE); without a kernel, tiles
 * of the out area, of 8 casts each but for the last, give the same bits. Closing adds the block to the state. */
void *bbi_fold_block_open(const bbi_folding *f, void *state, int64_t lanes);
void bbi_fold_block_step(const bbi_folding *f, void *state, const void *out, int64_t out_stride, int64_t lanes,
                         int64_t casts);
/* Likewise; the weights are the same for all lanes, weight c of cast q at weight[c * weight_stride + q]. */
void bbi_fold_block_cast(const bbi_folding *f, void *state, const void *out, const void *weight, int64_t weight_stride,
                         int64_t lanes, int64_t casts);
void bbi_fold_block_close(const bbi_folding *f, void *state, int64_t lanes);
/* Partial results, mergeable in any grouping but always merged in column order: per row `value_count` doubles and
 * `index_count` int64. */
int64_t bbi_fold_value_count(const bbi_folding *f);
int64_t bbi_fold_index_count(const bbi_folding *f);
/* Row `row` of the state (direct: lane `row`; transposed: cast `row`, merging its first `lanes` lanes in a fixed
 * order). */
void bbi_fold_partial(const bbi_folding *f, bool transposed, const void *state, int64_t row, int64_t lanes,
                      double *value, int64_t *index);
/* A sum's state of a lane block <- itself, then more. */
void bbi_fold_add_state(const bbi_folding *f, void *state, const void *more);
void bbi_fold_neutral(const bbi_folding *f, double *value, int64_t *index);
void bbi_fold_merge(const bbi_folding *f, double *value, int64_t *index, const double *more_value,
                    const int64_t *more_index); /* first <- first then more */
/* Sums whose partial result is one number for each component: all lanes of a lane block at once, as bbi_fold_partial gives
 * them. Component c of a lane goes to value[lane * step + c]. */
bool bbi_fold_is_one_sum(const bbi_folding *folding);
void bbi_fold_partial_sums(const bbi_folding *folding, const void *state, int64_t lanes, double *value, int64_t step);
/* Direct schedule, all columns in one state: an output of its first `lanes` rows at once, dst[d * stride + lane] of
 * type R. False where results are finished row by row (indices, compensated sums, ...). */
bool bbi_fold_finish_block(const bbi_folding *f, bbi_output output, const void *state, int64_t lanes, void *dst,
                           int64_t stride);
/* The same of the indices of the K smallest: K of them at target + lane * row_step, -1 where there are fewer. False where
 * there is more than one list, or lists are not kept sorted. */
bool bbi_fold_list_indices(const bbi_folding *f, const void *state, int64_t lanes, char *target, int64_t row_step);
/* dim values of an output (LSE: m + log s ...), rounded to R by the caller; indices for BBI_OUT_INDEX as doubles are
 * read by the caller from index. */
void bbi_fold_finish(const bbi_folding *f, bbi_output output, const double *value, const int64_t *index,
                     double *result);

/* ---- pack.c ---------------------------------------------------------------------------------- */
/* Rows first .. first + count - 1 of an array into components 0 .. dim - 1 of dst (R): dst[d * stride + r]; lanes count
 * .. padded - 1 repeat the last row. */
void bbi_pack(bool is_double, int level, void *dst, int64_t stride, const bbi_array *array, int64_t dim, int64_t first,
              int64_t count, int64_t padded);
bool bbi_is_compact(const bbi_array *array, bool is_double); /* rows of R without gaps, aligned: as the codes read them */
void bbi_pack_indexed(bool is_double, void *dst, int64_t stride, const bbi_array *array, int64_t dim,
                      const int64_t *rows, int64_t count, int64_t padded);
void bbi_unpack(bool is_double, int level, const void *src, int64_t stride, const bbi_array *array, int64_t dim,
                int64_t first, int64_t count); /* writes to array */

#endif
