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

/* Lets (value, index) sink from the top of the heap of the first `count` entries, the worst at the top. */
static void sift(entries e, int64_t count, double value, int64_t index) {
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && entry_worse(e, child + 1, e, child)) child++;
        if (!is_worse(e.value[child * e.step], e.index[child * e.step], value, index)) break;
        put_entry(e, at, e.value[child * e.step], e.index[child * e.step]);
    }
    put_entry(e, at, value, index);
}

static entries entries_of(const bbi_folding *f, double *value, int64_t *index, int64_t c) {
    return (entries){.value = value + c, .index = index + c, .step = f->fold.dim};
}

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

static void add_entry(entries e, int64_t k, double x, int64_t i) {
    if (is_worse(e.value[0], e.index[0], x, i)) sift(e, k, x, i);
}

/* One lane of a state has entries: its list is the sorted partial result. */
static void add_sorted(const bbi_folding *f, const char *cell, int64_t lane, entries e) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    int64_t size = BBI_LANE_BYTES / bbi_fold_lanes(f);
    const char *value = cell + places.value + lane * places.record * size;
    for (int64_t n = 0; n < f->fold.k; n++) {
        double x = bbi_fold_real(value, f->is_double, n);
        if (isnan(x)) return;
        put_entry(e, n, x, bbi_fold_index(f, value + places.stride * size, n, places.stride));
    }
}

static void add_list(const bbi_folding *f, const char *cell, int64_t lane, entries e) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    int64_t k = f->fold.k, count = ((const int64_t *)(const void *)(cell + places.count))[lane];
    const int64_t *index = (const int64_t *)(const void *)(cell + places.index) + lane * places.stride;
    for (int64_t n = 0; n < count; n++) {
        add_entry(e, k, bbi_fold_real(cell + places.value, f->is_double, lane * places.stride + n), index[n]);
    }
}

/* Large K: until bbi_kmin_close the entries are a heap: all absent is one. */
void bbi_kmin_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    const bbi_kmin_cell places = bbi_kmin_places(f);
    for (int64_t c = 0; c < f->fold.dim; c++, cell += places.bytes) {
        (places.sorted ? add_sorted : add_list)(f, cell, lane, entries_of(f, value, index, c));
    }
}

void bbi_kmin_close(const bbi_folding *f, double *value, int64_t *index) {
    if (bbi_kmin_places(f).sorted) return;
    for (int64_t c = 0; c < f->fold.dim; c++) {
        entries e = entries_of(f, value, index, c);
        for (int64_t last = f->fold.k - 1; last > 0; last--) {
            double x = e.value[last * e.step];
            int64_t i = e.index[last * e.step];
            put_entry(e, last, e.value[0], e.index[0]);
            sift(e, last, x, i);
        }
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
