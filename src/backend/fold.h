/* fold.h: the states of reductions, shared by fold.c, fold_kmin.c (scalar part), fold_isa.c, fold_select_isa.c and
 * fold_least_isa.c (steps over tiles).
 *
 * A cell is the state of a lane block: one for a block of rows (direct schedule), or one for each row
 * (transposed, where the lanes of a cell hold different columns and are merged at the end). All arrays of a
 * cell have a slot per lane, L = BBI_LANE_BYTES / sizeof(R) of them, and A is R, or double where float is
 * accumulated in double.
 *
 * SUM       A high[dim][L]; Kahan: A low[dim][L]
 *
 * PROD      R product[dim][L]
 *
 * MIN, MAX  R best[dim][L]; with indices: R seen[dim][L] (0 or 1), index[dim], each in 8 L bytes: for double L int64,
 *           for float L low halves, then L high halves
 *
 * KMIN      per component: see bbi_kmin_cell; transposed, the lanes share one list, which stands in lane 0
 *
 * LSE       R shift[L], A sum[1 + weight_dim][L]; then the block of columns that is being added: R best[L], base[L],
 *           sum[1 + weight_dim][L] (see BBI_SELECT_LSE)
 *
 * USER      see fold_user.c */
#ifndef BBI_FOLD_H
#define BBI_FOLD_H

#include "backend.h"
#include "isa.h"

enum {
    BBI_SORTED_K = 64 /* K up to here is kept sorted */
};

/* A tile of values for one cell: component c of cast q, all lanes, at values + c * component_step + q * L, in
 * R's. */
typedef struct bbi_fold_tile {
    const bbi_folding *folding;
    char *cell;
    const void *values;
    int64_t component_step;
    const void *weight;    /* log-sum-exps: NULL, or weights that are the same for all lanes: */
    int64_t weight_stride; /* weight c of cast q at c * weight_stride + q */
    int64_t lanes, casts;
    int64_t first, lane_step; /* column of cast q and lane l: first + q + l * lane_step */
} bbi_fold_tile;

typedef void bbi_fold_stepper(const bbi_fold_tile *tile);
typedef struct bbi_fold_isa {
    bbi_fold_stepper *step[BBI_FAMILY_USER]; /* by family: SUM, PROD, LSE */
    bbi_fold_stepper *lse_open, *lse_step, *lse_close; /* the parts of LSE's step, where a block is several tiles */
} bbi_fold_isa;
typedef struct bbi_select_isa {
    bbi_fold_stepper *step[BBI_FAMILY_USER]; /* MIN, MAX, KMIN */
    void (*hits[BBI_FAMILY_USER])(const bbi_fold_tile *tile, const bbi_hits *hits);
    /* The k smallest of a list of n R's, sorted by value and index, in front; how many they are. */
    int64_t (*order_list)(void *value, int64_t *index, int64_t n, int64_t k);
} bbi_select_isa;
typedef struct bbi_least_isa { /* KMIN: see bbi_fold_first, bbi_fold_least, bbi_fold_row */
    bbi_fold_stepper *first;
    void (*least)(const bbi_folding *folding, void *state, const bbi_least *least);
    void (*row)(const bbi_folding *folding, void *state, int64_t lane, void *values, int64_t count, int64_t first);
} bbi_least_isa;

/* fold_kmin.c: the K smallest */
int64_t bbi_kmin_bytes(const bbi_folding *f);
void bbi_kmin_init(const bbi_folding *f, char *cell);
int64_t bbi_kmin_count(const bbi_folding *f);
void bbi_kmin_neutral(const bbi_folding *f, double *value, int64_t *index);
void bbi_kmin_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index);
void bbi_kmin_merge(const bbi_folding *f, double *value, int64_t *index, const double *more, const int64_t *more_index);
void bbi_kmin_finish(const bbi_folding *f, bbi_output output, const double *value, double *result);

/* fold_user.c: the family of custom reductions */
int64_t bbi_user_bytes(const bbi_folding *f);
void bbi_user_init(const bbi_folding *f, char *cell);
int64_t bbi_user_values(const bbi_folding *f);
void bbi_user_neutral(const bbi_folding *f, double *value, int64_t *index);
void bbi_user_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index);
void bbi_user_merge(const bbi_folding *f, double *value, int64_t *index, const double *more, const int64_t *more_index);
void bbi_user_finish(const bbi_folding *f, bbi_output output, const double *value, double *result);
void bbi_user_step_tile(const bbi_fold_tile *tile);

extern const bbi_fold_isa bbi_fold_isa_0_0, bbi_fold_isa_0_1;
extern const bbi_select_isa bbi_select_isa_0_0, bbi_select_isa_0_1;
extern const bbi_least_isa bbi_least_isa_0_0, bbi_least_isa_0_1;
#if BBI_HAVE_ISA >= 1
extern const bbi_fold_isa bbi_fold_isa_1_0, bbi_fold_isa_1_1;
extern const bbi_select_isa bbi_select_isa_1_0, bbi_select_isa_1_1;
extern const bbi_least_isa bbi_least_isa_1_0, bbi_least_isa_1_1;
#endif
#if BBI_HAVE_ISA >= 2
extern const bbi_fold_isa bbi_fold_isa_2_0, bbi_fold_isa_2_1;
extern const bbi_select_isa bbi_select_isa_2_0, bbi_select_isa_2_1;
extern const bbi_least_isa bbi_least_isa_2_0, bbi_least_isa_2_1;
#endif

const bbi_select_isa *bbi_select_isa_of(const bbi_folding *f);

/* A number of an array of float, or of double. */
static inline double bbi_fold_real(const void *array, bool wide, int64_t n) {
    return wide ? ((const double *)array)[n] : (double)((const float *)array)[n];
}
void bbi_fold_fill(const bbi_folding *f, char *array, int64_t count, double value); /* R's */

/* ---- places in a cell, in bytes ---- */
static inline int64_t bbi_fold_lanes(const bbi_folding *f) {
    return f->is_double ? BBI_LANE_BYTES / 8 : BBI_LANE_BYTES / 4;
}

/* Are sums accumulated in double? */
static inline bool bbi_fold_wide(const bbi_folding *f) { return f->is_double || f->accumulate_double; }

static inline int64_t bbi_fold_sum_bytes(const bbi_folding *f) {
    return bbi_fold_lanes(f) * (bbi_fold_wide(f) ? 8 : 4);
}

static inline void *bbi_lse_block(const bbi_folding *f, char *cell) {
    return cell + BBI_LANE_BYTES + (1 + f->fold.weight_dim) * bbi_fold_sum_bytes(f);
}

/* offsets of component 0; those of component c are c strides further */
typedef struct bbi_extreme_cell {
    int64_t best, seen, index;
} bbi_extreme_cell;

static inline bbi_extreme_cell bbi_extreme_places(const bbi_folding *f) {
    int64_t bytes = f->fold.dim * BBI_LANE_BYTES;
    return (bbi_extreme_cell){.best = 0, .seen = bytes, .index = 2 * bytes};
}

/* Number `lane` of L indices in 8 L bytes; of `step` indices, where they stand further apart. */
static inline int64_t bbi_fold_index(const bbi_folding *f, const void *index, int64_t lane, int64_t step) {
    const uint32_t *halves = index;
    if (f->is_double) return ((const int64_t *)index)[lane];
    return (int64_t)((uint64_t)halves[lane] | (uint64_t)halves[step + lane] << 32);
}

/* The K smallest of the lanes of a component: R limit[L], the K-th smallest, NaN as long as a lane has not K; then a
 * list for each lane. Small K: a record for each lane, R value[stride] ascending, NaN where there is none yet, long
 * enough for whole vectors; indices at the same places of index[stride], for float
 * low[stride], high[stride]. Large K: int64 count[L], R value[L][stride], int64 index[L][stride], in no order until it is read. */
/* offsets within a component */
typedef struct bbi_kmin_cell {
    bool sorted;
    int64_t stride, record, count, value, index, bytes; /* stride and record in R's */
} bbi_kmin_cell;

static inline bbi_kmin_cell bbi_kmin_places(const bbi_folding *f) {
    int64_t lanes = bbi_fold_lanes(f), k = f->fold.k;
    bbi_kmin_cell c = {.sorted = k <= BBI_SORTED_K, .count = BBI_LANE_BYTES};
    c.stride = ((c.sorted ? k : 2 * k) + 15) / 16 * 16;
    c.record = c.sorted ? (f->is_double ? 2 : 3) * c.stride : c.stride;
    c.value = c.count + (c.sorted ? 0 : 8 * lanes);
    c.index = c.value + BBI_LANE_BYTES * c.record;
    c.bytes = c.index + (c.sorted ? 0 : 8 * lanes * c.stride);
    return c;
}

#endif
