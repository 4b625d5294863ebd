/* fold.c: the scalar side of reductions: beginning and end of their states, partial results and their
 * merging.
 *
 * A partial result is a row of doubles and of indices; what the lanes or chunks of a row have found is put
 * together in the order of the columns, which decides the rounding of sums and nothing else: minima, maxima
 * and the K smallest compare pairs (value, index), so that ties go to the smaller index in any grouping. Each
 * family is a row of the table below. */
#include "fold.h"

#include <math.h>
#include <string.h>

typedef struct family {
    int64_t (*cell_bytes)(const bbi_folding *f);
    void (*init)(const bbi_folding *f, char *cell);
    int64_t (*value_count)(const bbi_folding *f);
    int64_t (*index_count)(const bbi_folding *f);
    void (*neutral)(const bbi_folding *f, double *value, int64_t *index);
    void (*add_lane)(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index);
    void (*merge)(const bbi_folding *f, double *value, int64_t *index, const double *more, const int64_t *more_index);
    void (*finish)(const bbi_folding *f, bbi_output output, const double *value, double *result);
} family;

/* ---- cells ---- */
static double lane_real(const bbi_folding *f, const char *array, int64_t n) {
    return bbi_fold_real(array, f->is_double, n);
}

/* The sum number n of a lane, where sums stand at `array`. */
static double lane_sum(const bbi_folding *f, const char *array, int64_t n, int64_t lane) {
    return bbi_fold_real(array + n * bbi_fold_sum_bytes(f), bbi_fold_wide(f), lane);
}

void bbi_fold_fill(const bbi_folding *f, char *array, int64_t count, double value) {
    for (int64_t n = 0; n < count; n++) {
        if (f->is_double) {
            ((double *)(void *)array)[n] = value;
        } else {
            ((float *)(void *)array)[n] = (float)value;
        }
    }
}

static int64_t no_index(const bbi_folding *f) {
    (void)f;
    return 0;
}

static int64_t dimension(const bbi_folding *f) { return f->fold.dim; }

static void copy_values(const bbi_folding *f, bbi_output output, const double *value, double *result) {
    (void)output;
    memcpy(result, value, (size_t)f->fold.dim * sizeof *result);
}

/* ---- sum and product ---- */
static bool is_kahan(const bbi_folding *f) { return f->scheme == BBI_SCHEME_KAHAN; }

/* A compensated sum in double stays a pair (high, low) to the end; in float the double sum of both is enough.
 */
static bool is_pair(const bbi_folding *f) { return is_kahan(f) && bbi_fold_wide(f); }

static int64_t sum_bytes(const bbi_folding *f) { return f->fold.dim * bbi_fold_sum_bytes(f) * (is_kahan(f) ? 2 : 1); }

static void sum_init(const bbi_folding *f, char *cell) { memset(cell, 0, (size_t)sum_bytes(f)); }

static int64_t sum_values(const bbi_folding *f) { return f->fold.dim * (is_pair(f) ? 2 : 1); }

static void sum_neutral(const bbi_folding *f, double *value, int64_t *index) {
    (void)index;
    memset(value, 0, (size_t)sum_values(f) * sizeof *value);
}

/* Where the sum is not finite the correction is NaN and means nothing. */
static double corrected(double high, double low) { return isfinite(high) ? high + low : high; }

/* (high, low) + x, low taking the exact error (Neumaier, 1974). */
static void add_pair(double *high, double *low, double x) {
    double t = *high + x;
    *low += fabs(*high) >= fabs(x) ? (*high - t) + x : (x - t) + *high;
    *high = t;
}

static void sum_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    (void)index;
    int64_t dim = f->fold.dim;
    for (int64_t c = 0; c < dim; c++) {
        double high = lane_sum(f, cell, c, lane), low = is_kahan(f) ? lane_sum(f, cell, dim + c, lane) : 0;
        if (is_pair(f)) {
            add_pair(&value[c], &value[dim + c], high);
            value[dim + c] += low;
        } else {
            value[c] += corrected(high, low);
        }
    }
}

static void sum_merge(const bbi_folding *f, double *value, int64_t *index, const double *more,
                      const int64_t *more_index) {
    (void)index, (void)more_index;
    int64_t dim = f->fold.dim;
    for (int64_t c = 0; c < dim; c++) {
        if (is_pair(f)) {
            add_pair(&value[c], &value[dim + c], more[c]);
            value[dim + c] += more[dim + c];
        } else {
            value[c] += more[c];
        }
    }
}

static void sum_finish(const bbi_folding *f, bbi_output output, const double *value, double *result) {
    (void)output;
    for (int64_t c = 0; c < f->fold.dim; c++) {
        result[c] = is_pair(f) ? corrected(value[c], value[f->fold.dim + c]) : value[c];
    }
}

static int64_t prod_bytes(const bbi_folding *f) { return f->fold.dim * BBI_LANE_BYTES; }

static void prod_init(const bbi_folding *f, char *cell) { bbi_fold_fill(f, cell, f->fold.dim * bbi_fold_lanes(f), 1); }

static void prod_neutral(const bbi_folding *f, double *value, int64_t *index) {
    (void)index;
    for (int64_t c = 0; c < f->fold.dim; c++) value[c] = 1;
}

static void prod_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    (void)index;
    for (int64_t c = 0; c < f->fold.dim; c++) value[c] *= lane_real(f, cell, c * bbi_fold_lanes(f) + lane);
}

static void prod_merge(const bbi_folding *f, double *value, int64_t *index, const double *more,
                       const int64_t *more_index) {
    (void)index, (void)more_index;
    for (int64_t c = 0; c < f->fold.dim; c++) value[c] *= more[c];
}

/* ---- minimum and maximum ---- */
static double worst(const bbi_folding *f) { return f->fold.family == BBI_FAMILY_MAX ? -INFINITY : INFINITY; }

static int64_t extreme_bytes(const bbi_folding *f) {
    return bbi_extreme_places(f).index + f->fold.dim * 8 * bbi_fold_lanes(f);
}

static void extreme_init(const bbi_folding *f, char *cell) {
    const bbi_extreme_cell places = bbi_extreme_places(f);
    int64_t count = f->fold.dim * bbi_fold_lanes(f);
    bbi_fold_fill(f, cell + places.best, count, worst(f));
    bbi_fold_fill(f, cell + places.seen, count, 0);
    memset(cell + places.index, -1, 8 * (size_t)count);
}

static int64_t extreme_indices(const bbi_folding *f) { return f->fold.want_index ? f->fold.dim : 0; }

static void extreme_neutral(const bbi_folding *f, double *value, int64_t *index) {
    for (int64_t c = 0; c < f->fold.dim; c++) {
        value[c] = worst(f);
        if (f->fold.want_index) index[c] = -1;
    }
}

static void take_extreme(const bbi_folding *f, double *value, int64_t *index, double x, const int64_t *i) {
    bool less = f->fold.family == BBI_FAMILY_MAX ? x > *value : x < *value;
    if (f->fold.want_index) {
        if (*i < 0) return;
        if (!less && *index >= 0 && (x != *value || *i > *index)) return;
        *index = *i;
    } else if (!less) {
        return;
    }
    *value = x;
}

static void extreme_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    const bbi_extreme_cell places = bbi_extreme_places(f);
    int64_t lanes = bbi_fold_lanes(f);
    for (int64_t c = 0; c < f->fold.dim; c++) {
        int64_t at = bbi_fold_index(f, cell + places.index + 8 * c * lanes, lane, lanes);
        take_extreme(f, &value[c], index + c, lane_real(f, cell + places.best, c * lanes + lane), &at);
    }
}

static void extreme_merge(const bbi_folding *f, double *value, int64_t *index, const double *more,
                          const int64_t *more_index) {
    for (int64_t c = 0; c < f->fold.dim; c++) take_extreme(f, &value[c], index + c, more[c], more_index + c);
}

/* ---- log-sum-exp ---- */
/* value[0] = m, value[1 + n] = sum number n of exp(f - m) times 1 or a component of the weight. */
static int64_t lse_bytes(const bbi_folding *f) {
    return BBI_LANE_BYTES * (4 + f->fold.weight_dim) + (1 + f->fold.weight_dim) * bbi_fold_sum_bytes(f);
}

static void lse_init(const bbi_folding *f, char *cell) {
    memset(cell, 0, (size_t)lse_bytes(f));
    bbi_fold_fill(f, cell, bbi_fold_lanes(f), -INFINITY);
}

static int64_t lse_values(const bbi_folding *f) { return 2 + f->fold.weight_dim; }

static void lse_neutral(const bbi_folding *f, double *value, int64_t *index) {
    (void)index;
    memset(value, 0, (size_t)lse_values(f) * sizeof *value);
    value[0] = -INFINITY;
}

/* exp(m - top); equal infinities differ by nothing. */
static double scale_of(double m, double top) { return m == top ? 1 : m == -INFINITY ? 0 : exp(m - top); }

static void lse_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    (void)index;
    double m = lane_real(f, cell, lane), top = m > value[0] ? m : value[0];
    double old = scale_of(value[0], top), new = scale_of(m, top);
    value[0] = top;
    for (int64_t n = 0; n <= f->fold.weight_dim; n++) {
        value[1 + n] = value[1 + n] * old + lane_sum(f, cell + BBI_LANE_BYTES, n, lane) * new;
    }
}

static void lse_merge(const bbi_folding *f, double *value, int64_t *index, const double *more,
                      const int64_t *more_index) {
    (void)index, (void)more_index;
    double top = more[0] > value[0] ? more[0] : value[0];
    double old = scale_of(value[0], top), new = scale_of(more[0], top);
    value[0] = top;
    for (int64_t n = 1; n < lse_values(f); n++) value[n] = value[n] * old + more[n] * new;
}

static void lse_finish(const bbi_folding *f, bbi_output output, const double *value, double *result) {
    int64_t weights = f->fold.weight_dim, count = weights ? weights : 1;
    const double *sum = value + 1 + (weights ? 1 : 0);
    if (output == BBI_OUT_MAXSUM) *result++ = value[0];
    for (int64_t n = 0; n < count; n++) {
        if (output == BBI_OUT_LOGSUM) {
            result[n] = value[0] + log(sum[n]);
        } else {
            result[n] = output == BBI_OUT_RATIO ? sum[n] / value[1] : sum[n];
        }
    }
}

/* ---- the table ---- */
static const family families[] = {
    [BBI_FAMILY_SUM] = {sum_bytes, sum_init, sum_values, no_index, sum_neutral, sum_add_lane, sum_merge, sum_finish},
    [BBI_FAMILY_PROD] = {prod_bytes, prod_init, dimension, no_index, prod_neutral, prod_add_lane, prod_merge,
                         copy_values},
    [BBI_FAMILY_MIN] = {extreme_bytes, extreme_init, dimension, extreme_indices, extreme_neutral, extreme_add_lane,
                        extreme_merge, copy_values},
    [BBI_FAMILY_MAX] = {extreme_bytes, extreme_init, dimension, extreme_indices, extreme_neutral, extreme_add_lane,
                        extreme_merge, copy_values},
    [BBI_FAMILY_KMIN] = {bbi_kmin_bytes, bbi_kmin_init, bbi_kmin_count, bbi_kmin_count, bbi_kmin_neutral,
                         bbi_kmin_add_lane, bbi_kmin_merge, bbi_kmin_finish},
    [BBI_FAMILY_LSE] = {lse_bytes, lse_init, lse_values, no_index, lse_neutral, lse_add_lane, lse_merge, lse_finish},
    [BBI_FAMILY_USER] = {bbi_user_bytes, bbi_user_init, bbi_user_values, no_index, bbi_user_neutral, bbi_user_add_lane,
                         bbi_user_merge, bbi_user_finish},
};

static const family *family_of(const bbi_folding *f) { return &families[f->fold.family]; }

static const bbi_fold_isa *fold_isa(const bbi_folding *f) {
#if BBI_HAVE_ISA >= 2
    if (f->level >= 2) return f->is_double ? &bbi_fold_isa_2_1 : &bbi_fold_isa_2_0;
#endif
#if BBI_HAVE_ISA >= 1
    if (f->level >= 1) return f->is_double ? &bbi_fold_isa_1_1 : &bbi_fold_isa_1_0;
#endif
    return f->is_double ? &bbi_fold_isa_0_1 : &bbi_fold_isa_0_0;
}

const bbi_select_isa *bbi_select_isa_of(const bbi_folding *f) {
#if BBI_HAVE_ISA >= 2
    if (f->level >= 2) return f->is_double ? &bbi_select_isa_2_1 : &bbi_select_isa_2_0;
#endif
#if BBI_HAVE_ISA >= 1
    if (f->level >= 1) return f->is_double ? &bbi_select_isa_1_1 : &bbi_select_isa_1_0;
#endif
    return f->is_double ? &bbi_select_isa_0_1 : &bbi_select_isa_0_0;
}

static const bbi_least_isa *least_isa(const bbi_folding *f) {
#if BBI_HAVE_ISA >= 2
    if (f->level >= 2) return f->is_double ? &bbi_least_isa_2_1 : &bbi_least_isa_2_0;
#endif
#if BBI_HAVE_ISA >= 1
    if (f->level >= 1) return f->is_double ? &bbi_least_isa_1_1 : &bbi_least_isa_1_0;
#endif
    return f->is_double ? &bbi_least_isa_0_1 : &bbi_least_isa_0_0;
}

static bbi_fold_stepper *stepper_of(const bbi_folding *f) {
    if (f->fold.family == BBI_FAMILY_USER) return bbi_user_step_tile;
    bbi_fold_stepper *step = bbi_select_isa_of(f)->step[f->fold.family];
    return step ? step : fold_isa(f)->step[f->fold.family];
}

/* ---- entries ---- */
int64_t bbi_fold_state_bytes(const bbi_folding *f, bool transposed, int64_t casts) {
    return family_of(f)->cell_bytes(f) * (transposed ? casts : 1);
}

void bbi_fold_init(const bbi_folding *f, bool transposed, int64_t casts, void *state) {
    int64_t cell_bytes = family_of(f)->cell_bytes(f);
    for (int64_t cell = 0; cell < (transposed ? casts : 1); cell++) {
        family_of(f)->init(f, (char *)state + cell * cell_bytes);
    }
}

void bbi_fold_flush(const bbi_folding *f, bool transposed, int64_t casts, void *state, void *sum, int64_t sum_count,
                    int64_t lanes) {
    int64_t cell_bytes = sum_bytes(f);
    bbi_fold_stepper *step = stepper_of(f);
    for (int64_t cell = 0; cell < (transposed ? casts : 1); cell++) {
        char *block = (char *)sum + cell * sum_count * BBI_LANE_BYTES;
        step(&(bbi_fold_tile){.folding = f,
                              .cell = (char *)state + cell * cell_bytes,
                              .values = block,
                              .component_step = bbi_fold_lanes(f),
                              .lanes = lanes,
                              .casts = 1});
        memset(block, 0, (size_t)(f->fold.dim * BBI_LANE_BYTES));
    }
}

void bbi_fold_step(const bbi_folding *f, bool transposed, void *state, const void *out, int64_t out_stride,
                   int64_t lanes, int64_t casts, int64_t first_column) {
    bbi_fold_stepper *step = stepper_of(f);
    bbi_fold_tile tile = {.folding = f,
                          .cell = state,
                          .component_step = out_stride * bbi_fold_lanes(f),
                          .lanes = lanes,
                          .casts = casts,
                          .first = first_column};
    const char *values = (const char *)out + f->fold.out_first * out_stride * BBI_LANE_BYTES;
    tile.values = values;
    if (!transposed) {
        step(&tile);
        return;
    }
    int64_t cell_bytes = family_of(f)->cell_bytes(f);
    tile.casts = 1;
    tile.lane_step = 1;
    for (int64_t cell = 0; cell < casts; cell++) {
        tile.cell = (char *)state + cell * cell_bytes;
        tile.values = values + cell * BBI_LANE_BYTES;
        step(&tile);
    }
}

/* The K-th smallest, the best and the maximum are all what a state of one component begins with. */
void bbi_fold_limits(const bbi_folding *f, const void *state, bbi_hits *hits) {
    (void)f;
    memcpy(hits->limit, state, sizeof hits->limit);
    hits->count = 0;
}

void bbi_fold_hits(const bbi_folding *f, void *state, const void *out, int64_t lanes, int64_t casts,
                   int64_t first_column, const bbi_hits *hits) {
    bbi_select_isa_of(f)->hits[f->fold.family](
        &(bbi_fold_tile){
            .folding = f, .cell = state, .values = out, .lanes = lanes, .casts = casts, .first = first_column},
        hits);
}

void bbi_fold_no_hits(const bbi_folding *f, bbi_hits *hits) {
    bbi_fold_fill(f, hits->limit, bbi_fold_lanes(f), -INFINITY);
    hits->count = 0;
}

void bbi_fold_first(const bbi_folding *f, void *state, const void *out, int64_t lanes, int64_t casts,
                    int64_t first_column) {
    least_isa(f)->first(&(bbi_fold_tile){
        .folding = f, .cell = state, .values = out, .lanes = lanes, .casts = casts, .first = first_column});
}

void bbi_fold_least(const bbi_folding *f, void *state, const bbi_least *least) {
    least_isa(f)->least(f, state, least);
}

void bbi_fold_row(const bbi_folding *f, void *state, int64_t lane, void *values, int64_t count, int64_t first) {
    least_isa(f)->row(f, state, lane, values, count, first);
}

void *bbi_fold_block_open(const bbi_folding *f, void *state, int64_t lanes) {
    fold_isa(f)->lse_open(&(bbi_fold_tile){.folding = f, .cell = state, .lanes = lanes});
    return bbi_lse_block(f, state);
}

void bbi_fold_block_step(const bbi_folding *f, void *state, const void *out, int64_t out_stride, int64_t lanes,
                         int64_t casts) {
    fold_isa(f)->lse_step(&(bbi_fold_tile){.folding = f,
                                           .cell = state,
                                           .values = out,
                                           .component_step = out_stride * bbi_fold_lanes(f),
                                           .lanes = lanes,
                                           .casts = casts});
}

void bbi_fold_block_cast(const bbi_folding *f, void *state, const void *out, const void *weight, int64_t weight_stride,
                         int64_t lanes, int64_t casts) {
    fold_isa(f)->lse_step(&(bbi_fold_tile){.folding = f,
                                           .cell = state,
                                           .values = out,
                                           .weight = weight,
                                           .weight_stride = weight_stride,
                                           .lanes = lanes,
                                           .casts = casts});
}

void bbi_fold_block_close(const bbi_folding *f, void *state, int64_t lanes) {
    fold_isa(f)->lse_close(&(bbi_fold_tile){.folding = f, .cell = state, .lanes = lanes});
}

int64_t bbi_fold_value_count(const bbi_folding *f) { return family_of(f)->value_count(f); }
int64_t bbi_fold_index_count(const bbi_folding *f) { return family_of(f)->index_count(f); }

void bbi_fold_partial(const bbi_folding *f, bool transposed, const void *state, int64_t row, int64_t lanes,
                      double *value, int64_t *index) {
    const family *of = family_of(f);
    const char *cell = (const char *)state + (transposed ? row * of->cell_bytes(f) : 0);
    int64_t first = transposed ? 0 : row, last = transposed ? lanes : row + 1;
    of->neutral(f, value, index);
    for (int64_t lane = first; lane < last; lane++) of->add_lane(f, cell, lane, value, index);
}

bool bbi_fold_is_one_sum(const bbi_folding *f) { return f->fold.family == BBI_FAMILY_SUM && !is_pair(f); }

void bbi_fold_partial_sums(const bbi_folding *f, const void *state, int64_t lanes, double *value, int64_t step) {
    int64_t dim = f->fold.dim;
    bool kahan = is_kahan(f), wide = bbi_fold_wide(f);
    for (int64_t c = 0; c < dim; c++) {
        const char *high = (const char *)state + c * bbi_fold_sum_bytes(f), *low = high + dim * bbi_fold_sum_bytes(f);
        for (int64_t lane = 0; lane < lanes; lane++) {
            double sum = bbi_fold_real(high, wide, lane);
            if (kahan) sum = corrected(sum, bbi_fold_real(low, wide, lane));
            value[lane * step + c] = 0 + sum;
        }
    }
}

/* SUM, PROD, MIN and MAX keep their values first in the cell, component after component. */
bool bbi_fold_finish_block(const bbi_folding *f, bbi_output output, const void *state, int64_t lanes, void *dst,
                           int64_t stride) {
    bool sums = f->fold.family == BBI_FAMILY_SUM, wide = sums ? bbi_fold_wide(f) : f->is_double;
    bool plain =
        f->fold.family == BBI_FAMILY_PROD || f->fold.family == BBI_FAMILY_MIN || f->fold.family == BBI_FAMILY_MAX;
    if (output != BBI_OUT_VALUE || !(plain || (sums && !is_kahan(f)))) return false;
    int64_t step = sums ? bbi_fold_sum_bytes(f) : BBI_LANE_BYTES;
    for (int64_t c = 0; c < f->fold.dim; c++) {
        const char *from = (const char *)state + c * step;
        for (int64_t lane = 0; lane < lanes; lane++) {
            double value = bbi_fold_real(from, wide, lane) + (sums ? 0.0 : -0.0); /* a sum is never -0 */
            if (f->is_double) {
                ((double *)dst)[c * stride + lane] = value;
            } else {
                ((float *)dst)[c * stride + lane] = (float)value;
            }
        }
    }
    return true;
}

#define ADD_STATE(A, high, low, more, count)                                                                           \
    for (int64_t n = 0; n < count; n++) {                                                                              \
        const A x = ((const A *)(more))[n], s = ((A *)(high))[n], t = s + x, b = t - s;                                \
        ((A *)(high))[n] = t;                                                                                          \
        if (low) ((A *)(low))[n] += ((s - (t - b)) + (x - b)) + ((const A *)(more))[n + count];                        \
    }

void bbi_fold_add_state(const bbi_folding *f, void *state, const void *more) {
    int64_t count = f->fold.dim * bbi_fold_lanes(f);
    if (bbi_fold_wide(f)) {
        double *low = is_kahan(f) ? (double *)state + count : NULL;
        ADD_STATE(double, state, low, more, count)
    } else {
        float *low = is_kahan(f) ? (float *)state + count : NULL;
        ADD_STATE(float, state, low, more, count)
    }
}

void bbi_fold_neutral(const bbi_folding *f, double *value, int64_t *index) { family_of(f)->neutral(f, value, index); }

void bbi_fold_merge(const bbi_folding *f, double *value, int64_t *index, const double *more_value,
                    const int64_t *more_index) {
    family_of(f)->merge(f, value, index, more_value, more_index);
}

void bbi_fold_finish(const bbi_folding *f, bbi_output output, const double *value, const int64_t *index,
                     double *result) {
    if (output == BBI_OUT_INDEX) {
        for (int64_t n = 0; n < bbi_fold_index_count(f); n++) result[n] = (double)index[n];
        return;
    }
    family_of(f)->finish(f, output, value, result);
}
