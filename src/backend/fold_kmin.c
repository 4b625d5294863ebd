/* fold_kmin.c: the scalar side of the K smallest: states read into partial results, sorted and merged. */
#include "fold.h"

#include <math.h>
#include <string.h>

/* A column of a partial result: entry k at k * step; no entry: (infinity, -1), after all others. */
typedef struct entries {
    double *value;
    int64_t *index;
    int64_t step;
} entries;

static bool is_worse(double a, int64_t i, double b, int64_t j) {
    if (i < 0 || j < 0) return i < 0 && j >= 0;
    return a > b || (a == b && i > j);
}

static bool entry_worse(entries e, int64_t k, entries o, int64_t l) {
    return is_worse(e.value[k * e.step], e.index[k * e.step], o.value[l * o.step], o.index[l * o.step]);
}

static void put_entry(entries e, int64_t k, double value, int64_t index) {
    e.value[k * e.step] = value;
    e.index[k * e.step] = index;
}

static entries entries_of(const bbi_folding *f, double *value, int64_t *index, int64_t c) {
    return (entries){.value = value + c, .index = index + c, .step = f->fold.dim};
}

bool bbi_fold_sorts(int64_t k) { return k <= BBI_SORTED_K; }

int64_t bbi_kmin_bytes(const bbi_folding *f) { return f->fold.dim * bbi_kmin_places(f).bytes; }

void bbi_kmin_init(const bbi_folding *f, char *cell) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    int64_t lanes = bbi_fold_lanes(f);
    for (int64_t c = 0; c < f->fold.dim; c++, cell += places.bytes) {
        bbi_fold_fill(f, cell, lanes, NAN);
        if (places.sorted) {
            int64_t size = BBI_LANE_BYTES / lanes;
            memset(cell + places.value, 0, (size_t)(BBI_LANE_BYTES * places.record));
            for (int64_t lane = 0; lane < lanes; lane++) {
                char *record = cell + places.value + lane * places.record * size;
                bbi_fold_fill(f, record, places.stride, NAN);
            }
        } else {
            memset(cell + places.count, 0, 8 * (size_t)lanes);
        }
    }
}

int64_t bbi_kmin_count(const bbi_folding *f) { return f->fold.k * f->fold.dim; }

void bbi_kmin_neutral(const bbi_folding *f, double *value, int64_t *index) {
    for (int64_t n = 0; n < bbi_kmin_count(f); n++) {
        value[n] = INFINITY;
        index[n] = -1;
    }
}

/* One lane of a state has entries: its list, NaN where it lacks some, is the sorted partial result. */
static void add_sorted(const bbi_folding *f, const char *cell, int64_t lane, entries e) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    const int64_t size = BBI_LANE_BYTES / bbi_fold_lanes(f), k = f->fold.k;
    const char *value = cell + places.value + lane * places.record * size, *index = value + places.stride * size;
    if (f->is_double) {
        const double *x = (const double *)(const void *)value;
        const int64_t *column = (const int64_t *)(const void *)index;
        for (int64_t n = 0; n < k && x[n] == x[n]; n++) put_entry(e, n, x[n], column[n]);
    } else {
        const float *x = (const float *)(const void *)value;
        const uint32_t *low = (const uint32_t *)(const void *)index, *high = low + places.stride;
        for (int64_t n = 0; n < k && x[n] == x[n]; n++)
            put_entry(e, n, (double)x[n], (int64_t)((uint64_t)low[n] | (uint64_t)high[n] << 32));
    }
}

bool bbi_fold_list_indices(const bbi_folding *f, const void *state, int64_t lanes, char *target, int64_t row_step) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    const int64_t size = BBI_LANE_BYTES / bbi_fold_lanes(f), k = f->fold.k;
    const char *list = (const char *)state + places.value;
    if (f->fold.family != BBI_FAMILY_KMIN || !places.sorted || f->fold.dim != 1) return false;
    for (int64_t lane = 0; lane < lanes; lane++, list += places.record * size) {
        int64_t *to = (int64_t *)(void *)(target + lane * row_step);
        const char *index = list + places.stride * size;
        if (f->is_double) {
            const double *x = (const double *)(const void *)list;
            const int64_t *column = (const int64_t *)(const void *)index;
            for (int64_t n = 0; n < k; n++) to[n] = x[n] == x[n] ? column[n] : -1;
        } else {
            const float *x = (const float *)(const void *)list;
            const uint32_t *low = (const uint32_t *)(const void *)index, *high = low + places.stride;
            for (int64_t n = 0; n < k; n++)
                to[n] = x[n] == x[n] ? (int64_t)((uint64_t)low[n] | (uint64_t)high[n] << 32) : -1;
        }
    }
    return true;
}

/* A list in no order is put in order where it stands. */
static void add_list(const bbi_folding *f, const char *cell, int64_t lane, entries e) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    int64_t size = BBI_LANE_BYTES / bbi_fold_lanes(f);
    int64_t *count = (int64_t *)(uintptr_t)(cell + places.count) + lane;
    int64_t *index = (int64_t *)(uintptr_t)(cell + places.index) + lane * places.stride;
    char *value = (char *)(uintptr_t)(cell + places.value) + lane * places.stride * size;
    *count = bbi_select_isa_of(f)->order_list(value, index, *count, f->fold.k);
    for (int64_t n = 0; n < *count; n++) put_entry(e, n, bbi_fold_real(value, f->is_double, n), index[n]);
}

void bbi_kmin_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    for (int64_t c = 0; c < f->fold.dim; c++, cell += places.bytes) {
        (places.sorted ? add_sorted : add_list)(f, cell, lane, entries_of(f, value, index, c));
    }
}

/* Two sorted lists, in place: first how many of the K come from each, then from the last to the first. */
void bbi_kmin_merge(const bbi_folding *f, double *value, int64_t *index, const double *more,
                    const int64_t *more_index) {
    for (int64_t c = 0; c < f->fold.dim; c++) {
        entries a = entries_of(f, value, index, c), b = a;
        b.value = (double *)(uintptr_t)(more + c);
        b.index = (int64_t *)(uintptr_t)(more_index + c);
        int64_t i = 0, j = 0;
        while (i + j < f->fold.k) {
            if (entry_worse(a, i, b, j)) {
                j++;
            } else {
                i++;
            }
        }
        for (int64_t last = f->fold.k - 1; j > 0; last--) {
            bool from_a = i > 0 && entry_worse(a, i - 1, b, j - 1);
            entries from = from_a ? a : b;
            int64_t n = from_a ? --i : --j;
            put_entry(a, last, from.value[n * from.step], from.index[n * from.step]);
        }
    }
}

void bbi_kmin_finish(const bbi_folding *f, bbi_output output, const double *value, double *result) {
    (void)output;
    memcpy(result, value, (size_t)bbi_kmin_count(f) * sizeof *result);
}
