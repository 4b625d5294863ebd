/* fold_select_isa.c: minima, maxima and the K smallest of tiles of values, for one instruction set and one real type.
 *
 * What happens seldom (a new minimum, a value below the K-th smallest) is found by one comparison for a group of casts
 * of a vector: here, or by the compiled kernel while the values are in registers (bbi_hits). Only what is hit is looked
 * at again. Either way values are taken in the order of the columns and ties stay with the first, so that the state is
 * the same whoever finds the hits, and however large the groups are. */
#include "fold_list.h"

enum {
    TILE = 16,   /* casts between two comparisons */
    RANKED = 256 /* entries that are sorted by their ranks */
};

static int64_t vector_count(const bbi_fold_tile *t) { return (t->lanes + BB_W - 1) / BB_W; }

static const R *component(const bbi_fold_tile *t, int64_t c) { return (const R *)t->values + c * t->component_step; }

/* ---- minimum and maximum ---- */
/* A lane's best, whether it has seen a number, and its index; of one component, from some vector on. */
typedef struct extremes {
    R *best, *seen, *index; /* part p of the index: p * LANES further */
} extremes;

static extremes extremes_of(const bbi_fold_tile *t, int64_t c, int64_t lane) {
    const bbi_extreme_cell places = bbi_extreme_places(t->folding);
    return (extremes){.best = (R *)(void *)(t->cell + places.best) + c * LANES + lane,
                      .seen = (R *)(void *)(t->cell + places.seen) + c * LANES + lane,
                      .index = (R *)(void *)(t->cell + places.index) + c * PARTS * LANES + lane};
}

/* v_minx and v_maxx give their second operand where the first is NaN: NaN is ignored. */
BB_INLINE V better(bool max, V a, V b) { return max ? v_maxx(a, b) : v_minx(a, b); }
BB_INLINE VM is_better(bool max, V a, V b) { return max ? v_gt(a, b) : v_lt(a, b); }

/* A group where a lane improves, or (unless `numbers` says that only what is better counts) a lane that has seen no
 * number yet: cast by cast, strictly better only, so that the first of equals stays. The casts agree in the high half
 * of their columns. */
BB_INLINE void improve(bool max, bool numbers, const R *p, int64_t casts, extremes e, int64_t first) {
    V m = v_loadu(e.best), low = v_loadu(e.index);
    VM unseen = v_eq(v_loadu(e.seen), K(0)), took = v_lt(K(0), K(0));
    for (int64_t q = 0; q < casts; q++) {
        const V x = v_loadu(p + q * LANES);
        VM now = is_better(max, x, m);
        if (numbers) now = v_or(now, v_and(v_and(unseen, v_not(took)), v_eq(x, x)));
        m = v_sel(now, x, m);
        low = v_sel(now, (V)v_splati(index_part(first + q, 0)), low);
        took = v_or(took, now);
    }
    v_storeu(e.best, m);
    v_storeu(e.seen, v_mask01(v_or(took, v_not(unseen))));
    v_storeu(e.index, low);
    for (int part = 1; part < PARTS; part++) {
        R *high = e.index + part * LANES;
        v_storeu(high, v_sel(took, (V)v_splati(index_part(first, part)), v_loadu(high)));
    }
}

/* The same for any columns. */
BB_INLINE void improve_any(bool max, bool numbers, const R *p, int64_t casts, extremes e, int64_t first) {
    if (PARTS == 1 || first >> 32 == (first + casts - 1) >> 32) {
        improve(max, numbers, p, casts, e, first);
        return;
    }
    for (int64_t q = 0; q < casts; q++) improve(max, numbers, p + q * LANES, 1, e, first + q);
}

/* Where the lanes of a cell are columns of one row, they share the best of all: only what is better than that
 * concerns the row, and lanes that see few columns each would improve all the time. */
BB_INLINE void improve_row(bool max, const R *p, int64_t lanes, extremes e, int64_t first) {
    R b = e.best[0];
    int64_t at = -1;
    for (int64_t l = 0; l < lanes; l++) {
        bool unseen = at < 0 && e.seen[0] == 0;
        if (p[l] != p[l] || !(unseen || (max ? p[l] > b : p[l] < b))) continue;
        b = p[l];
        at = first + l;
    }
    for (int64_t l = 0; at >= 0 && l < LANES; l++) {
        e.best[l] = b;
        e.seen[l] = 1;
        for (int part = 0; part < PARTS; part++) {
            const I half = index_part(at, part);
            __builtin_memcpy(e.index + part * LANES + l, &half, sizeof half);
        }
    }
}

BB_INLINE void least_only(bool max, R *best, const R *p, int64_t casts) {
    V m = v_loadu(best);
    for (int64_t q = 0; q < casts; q++) m = better(max, v_loadu(p + q * LANES), m);
    v_storeu(best, m);
}

BB_INLINE void extreme(bool max, const bbi_fold_tile *t) {
    for (int64_t c = 0; c < t->folding->fold.dim; c++) {
        for (int64_t v = 0; v < vector_count(t); v++) {
            const R *p = component(t, c) + v * BB_W;
            const extremes e = extremes_of(t, c, v * BB_W);
            if (!t->folding->fold.want_index) {
                least_only(max, e.best, p, t->casts);
                continue;
            }
            for (int64_t q0 = 0; q0 < t->casts; q0 += TILE) {
                int64_t casts = t->casts - q0 < TILE ? t->casts - q0 : TILE;
                V m = v_loadu(e.best), least = m;
                for (int64_t q = q0; q < q0 + casts; q++) least = better(max, v_loadu(p + q * LANES), least);
                VM rare = v_or(is_better(max, least, m), v_eq(v_loadu(e.seen), K(0)));
                if (__builtin_expect(!v_any(rare), 1)) continue;
                if (t->lane_step) {
                    int64_t left = t->lanes - v * BB_W;
                    improve_row(max, p, left < BB_W ? left : BB_W, extremes_of(t, c, 0), t->first + v * BB_W);
                    continue;
                }
                improve_any(max, true, p + q0 * LANES, casts, e, t->first + q0);
            }
        }
    }
}

static void step_min(const bbi_fold_tile *t) { extreme(false, t); }
static void step_max(const bbi_fold_tile *t) { extreme(true, t); }

/* A lane that has seen no number has the worst of all as its limit. If it has seen none better after the hits are done,
 * its numbers are all as bad: the first of them counts. */
BB_INLINE void hit_extreme(bool max, const bbi_fold_tile *t, const bbi_hits *hits) {
    for (int64_t n = 0; n < hits->count; n++) {
        const int64_t hit = hits->hit[n], lane = hit & 255, casts = hit >> 8 & 255, q = hit >> 16 & 65535;
        improve_any(max, false, component(t, 0) + q * LANES + lane, casts, extremes_of(t, 0, lane), t->first + q);
    }
    for (int64_t v = 0; v < vector_count(t); v++) {
        const extremes e = extremes_of(t, 0, v * BB_W);
        if (__builtin_expect(v_any(v_eq(v_loadu(e.seen), K(0))), 0))
            improve_any(max, true, component(t, 0) + v * BB_W, t->casts, e, t->first);
    }
}

static void hit_min(const bbi_fold_tile *t, const bbi_hits *hits) { hit_extreme(false, t, hits); }
static void hit_max(const bbi_fold_tile *t, const bbi_hits *hits) { hit_extreme(true, t, hits); }

/* ---- K smallest ---- */
/* Sorts up to RANKED entries by value and index: each goes to the place that the number of those before it is. */
static void sort_by_rank(R *value, int64_t *index, int64_t n) {
    R from[RANKED + BB_W], to[RANKED];
    int64_t place[RANKED];
    __builtin_memcpy(from, value, (size_t)n * sizeof *from);
    for (int64_t i = n; i < n + (int64_t)BB_W; i++) from[i] = BB_NAN;
    for (int64_t i = 0; i < n; i++) {
        const V x = v_splat(from[i]);
        int64_t rank = 0, equal = 0;
        for (int64_t j = 0; j < n; j += BB_W) {
            const V y = v_loadu(from + j);
            rank += __builtin_popcount((unsigned)v_bits(v_lt(y, x)));
            equal += __builtin_popcount((unsigned)v_bits(v_eq(y, x)));
        }
        for (int64_t j = 0; equal > 1 && j < n; j++) rank += from[j] == from[i] && index[j] < index[i];
        to[rank] = from[i];
        place[rank] = index[i];
    }
    __builtin_memcpy(value, to, (size_t)n * sizeof *to);
    __builtin_memcpy(index, place, (size_t)n * sizeof *place);
}

static bool is_less(R a, int64_t i, R b, int64_t j) { return a < b || (a == b && i < j); }

/* Quicksort (Hoare, 1962) down to what is sorted by rank; the shorter side first, so that the depth is a logarithm. */
static void sort_entries(R *value, int64_t *index, int64_t n) {
    while (n > RANKED) {
        const R x = value[n / 2];
        const int64_t at = index[n / 2];
        int64_t i = 0, j = n - 1;
        while (i <= j) {
            while (is_less(value[i], index[i], x, at)) i++;
            while (is_less(x, at, value[j], index[j])) j--;
            if (i > j) break;
            const R v = value[i];
            const int64_t l = index[i];
            value[i] = value[j];
            index[i++] = index[j];
            value[j] = v;
            index[j--] = l;
        }
        if (j + 1 < n - i) {
            sort_entries(value, index, j + 1);
            value += i, index += i, n -= i;
        } else {
            sort_entries(value + i, index + i, n - i);
            n = j + 1;
        }
    }
    sort_by_rank(value, index, n);
}

static int64_t order_list(void *value, int64_t *index, int64_t n, int64_t k) {
    if (n > k) select_smallest(value, index, n, k), n = k;
    sort_entries(value, index, n);
    return n;
}

BB_INLINE void insert_group(const lists *to, int64_t vectors, const R *p, int64_t lane, int64_t casts, int64_t first) {
    insert_below(to, vectors, v_loadu(to->limit + lane), p, lane, casts, first);
}

/* Where the lanes of a cell are columns of one row, the row has one list, in lane 0; the other lanes stay
 * empty. Lists of their own would each keep K of the few columns that they see. */
static void insert_row(const lists *to, int64_t vectors, const R *p, int64_t lanes, int64_t first) {
    unsigned bits = (unsigned)v_bits(v_not(v_ge(v_loadu(p), v_splat(*to->limit))));
    if (lanes < BB_W) bits &= (1u << lanes) - 1;
    for (; bits; bits &= bits - 1) {
        const int l = __builtin_ctz(bits);
        if (p[l] == p[l] && !(p[l] >= *to->limit)) insert(to, vectors, 0, p[l], first + l);
    }
}

BB_INLINE void insert_tile(const lists *to, int64_t vectors, const bbi_fold_tile *t, const R *values) {
    for (int64_t v = 0; v < vector_count(t); v++) {
        const R *p = values + v * BB_W;
        if (t->lane_step) {
            insert_row(to, vectors, p, t->lanes - v * BB_W, t->first + v * BB_W);
            continue;
        }
        for (int64_t q0 = 0; q0 < t->casts; q0 += TILE) {
            const int64_t casts = t->casts - q0 < TILE ? t->casts - q0 : TILE;
            V least = K(BB_INF);
            for (int64_t q = q0; q < q0 + casts; q++) least = v_minx(v_loadu(p + q * LANES), least);
            if (__builtin_expect(v_all(v_ge(least, v_loadu(to->limit + v * BB_W))), 1)) continue;
            insert_group(to, vectors, p + q0 * LANES, v * BB_W, casts, t->first + q0);
        }
    }
}

/* Groups on their way to lists, in the order of their columns: words with a bit for each value that is below its limit. They
 * are found before anything is inserted: to guess which words of a group have a bit would be wrong half of the time, and
 * each insertion after the wrong guess would start late. Most have one, which is guessed well. */
enum { FOUND = 65 }; /* at least all words of a group */
typedef struct found {
    uint64_t bits[FOUND + 1]; /* one more is written than counts */
    const R *at[FOUND + 1];
    int64_t lane[FOUND + 1], first[FOUND + 1];
} found;

BB_INLINE int64_t find_below(found *f, int64_t count, const bbi_fold_tile *t, const lists *to, int64_t hit) {
    const int64_t lane = hit & 255, casts = hit >> 8 & 255, begin = hit >> 16 & 65535;
    const V limit = v_loadu(to->limit + lane);
    for (int64_t q = begin; q < begin + casts; q += WORD_CASTS) {
        const int64_t left = begin + casts - q;
        f->at[count] = component(t, 0) + q * LANES + lane;
        f->bits[count] = word_below(f->at[count], limit, left < WORD_CASTS ? left : WORD_CASTS);
        f->lane[count] = lane;
        f->first[count] = t->first + q;
        count += f->bits[count] != 0;
    }
    return count;
}

BB_INLINE void insert_hits(const lists *to, int64_t vectors, const bbi_fold_tile *t, const bbi_hits *hits) {
    found f;
    for (int64_t n = 0; n < hits->count;) {
        int64_t count = 0;
        while (n < hits->count && count + (hits->hit[n] >> 8 & 255) / WORD_CASTS < FOUND)
            count = find_below(&f, count, t, to, hits->hit[n++]);
        for (int64_t k = 0; k < count; k++) insert_word(to, vectors, f.bits[k], f.at[k], f.lane[k], f.first[k]);
    }
}

static void step_kmin(const bbi_fold_tile *t) {
    for (int64_t c = 0; c < t->folding->fold.dim; c++) {
        const lists to = lists_of(t, c);
        BY_VECTORS(insert_tile, &to, t, component(t, c));
    }
}

static void hit_kmin(const bbi_fold_tile *t, const bbi_hits *hits) {
    const lists to = lists_of(t, 0);
    BY_VECTORS(insert_hits, &to, t, hits);
}

const bbi_select_isa BBI_ISA_NAME(bbi_select_isa, BB_ISA, BB_DOUBLE) = {
    .step = {[BBI_FAMILY_MIN] = step_min, [BBI_FAMILY_MAX] = step_max, [BBI_FAMILY_KMIN] = step_kmin},
    .order_list = order_list,
    .hits = {[BBI_FAMILY_MIN] = hit_min, [BBI_FAMILY_MAX] = hit_max, [BBI_FAMILY_KMIN] = hit_kmin},
};
