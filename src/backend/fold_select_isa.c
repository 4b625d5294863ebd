/* fold_select_isa.c: minima, maxima and the K smallest of tiles of values, for one instruction set and one real type.
 *
 * What happens seldom (a new minimum, a value below the K-th smallest) is found by one comparison for a group of casts
 * of a vector: here, or by the compiled kernel while the values are in registers (bbi_hits). Only what is hit is looked
 * at again. Either way values are taken in the order of the columns and ties stay with the first, so that the state is
 * the same whoever finds the hits, and however large the groups are. */
#include "fold.h"
#include "prelude/cpu.h"

#define LANES (BBI_LANE_BYTES / (int64_t)sizeof(R))
enum {
    TILE = 16,                                  /* casts between two comparisons */
    PARTS = (int)(sizeof(int64_t) / sizeof(R)), /* R's that hold an index: low half and high half, or all of it */
    SCANNED = 512,                              /* groups between two lists of hits */
    WAITING = 2 * BBI_SORTED_K,                 /* values of a lane that wait for their list */
    MOST_BINS = 512,                            /* values of each lane from which a first bound is found */
    RANKED = 256,                               /* entries that are sorted by their ranks */
    WORD_CASTS = 64 / (int)BB_W                 /* casts of a vector whose lanes have a bit each in 64 */
};

static int64_t vector_count(const bbi_fold_tile *t) { return (t->lanes + BB_W - 1) / BB_W; }

static const R *component(const bbi_fold_tile *t, int64_t c) { return (const R *)t->values + c * t->component_step; }

/* The part of an index that R number `part` holds. */
static I index_part(int64_t column, int part) { return (I)(uint64_t)(column >> 32 * part); }

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
/* The lists of a component. A record is what belongs to a lane: small K: its values, then (halves of) their indices. */
typedef struct lists {
    int64_t k, stride;
    bool sorted;
    R *limit, *value;
    int64_t *count, *index; /* large K */
} lists;

static lists lists_of(const bbi_fold_tile *t, int64_t c) {
    const bbi_kmin_cell places = bbi_kmin_places(t->folding);
    char *cell = t->cell + c * places.bytes;
    return (lists){.k = t->folding->fold.k,
                   .stride = places.stride,
                   .sorted = places.sorted,
                   .limit = (R *)(void *)cell,
                   .value = (R *)(void *)(cell + places.value),
                   .count = (int64_t *)(void *)(cell + places.count),
                   .index = (int64_t *)(void *)(cell + places.index)};
}

/* Places of two vectors, one after the other, from the last of the first on. */
#if BB_ISA == 2
#if BB_DOUBLE
#define FROM_LAST 7, 8, 9, 10, 11, 12, 13, 14
#else
#define FROM_LAST 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
#endif
#elif BB_ISA == 1
#if BB_DOUBLE
#define FROM_LAST 3, 4, 5, 6
#else
#define FROM_LAST 7, 8, 9, 10, 11, 12, 13, 14
#endif
#elif BB_DOUBLE
#define FROM_LAST 1, 2
#else
#define FROM_LAST 3, 4, 5, 6
#endif
#if BB_ISA == 2
#if BB_DOUBLE
#define COMPRESS(x, bits) __builtin_ia32_compressdf512_mask(x, K(0), (unsigned char)(bits))
#define FROM_0 ((VI){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define COMPRESS(x, bits) __builtin_ia32_compresssf512_mask(x, K(0), (unsigned short)(bits))
#define FROM_0 ((VI){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#endif
#endif
#ifdef __clang__
#define ONE_UP(below, here) __builtin_shufflevector(below, here, FROM_LAST)
#else
#define ONE_UP(below, here) __builtin_shuffle(below, here, (VI){FROM_LAST})
#endif

/* A vector of indices of a list; `first`: there is none below. */
BB_INLINE void move_up(R *part, bool first, VM moves, VM all_move, V own) {
    const V here = v_loadu(part), below = first ? here : v_loadu(part - BB_W);
    v_storeu(part, v_sel(moves, v_sel(all_move, ONE_UP(below, here), own), here));
}

/* Everything that is not at most x moves up by one, x takes the place below; what falls off the end was not among the K
 * smallest. Equal values that are there already have smaller indices. Places without a value are NaN: not at most x. The
 * values one place below come from registers: loading them from there would wait for the stores of the last insertion.
 * High halves of indices are 0 until a column has one. `vectors` of them make K places. */
BB_INLINE void insert_sorted(R *record, int64_t stride, int64_t vectors, R x, int64_t column) {
    const V new = v_splat(x), low = (V)v_splati(index_part(column, 0));
    for (R *value = record + (vectors - 1) * BB_W;; value -= BB_W) {
        const bool first = value == record;
        const V here = v_loadu(value), up = ONE_UP(first ? K(-BB_INF) : v_loadu(value - BB_W), here);
        const VM moves = v_not(v_ge(new, here)), all_move = v_not(v_ge(new, up));
        v_storeu(value, v_sel(moves, v_sel(all_move, up, new), here));
        move_up(value + stride, first, moves, all_move, low);
        if (PARTS == 2 && __builtin_expect(column >> 32 != 0, 0))
            move_up(value + 2 * stride, first, moves, all_move, (V)v_splati(index_part(column, 1)));
        if (first || (vectors > 2 && !v_all(all_move))) return;
    }
}

/* Where a list stands with respect to a value: how many are at most it, the largest of those, the least above it. */
typedef struct standing {
    int64_t count;
    R at_most, above;
} standing;

static standing standing_of(const R *value, int64_t n, R pivot) {
    V count = K(0), at_most = K(-BB_INF), above = K(BB_INF);
    for (int64_t i = 0; i < n; i += BB_W) {
        const V x = v_loadu(value + i);
        const VM low = v_le(x, v_splat(pivot));
        count += v_mask01(low);
        at_most = v_maxx(v_sel(low, x, at_most), at_most);
        above = v_minx(v_sel(low, above, x), above);
    }
    R counts[BB_W], largest[BB_W], least[BB_W];
    v_storeu(counts, count);
    v_storeu(largest, at_most);
    v_storeu(least, above);
    standing s = {0, largest[0], least[0]};
    for (int l = 0; l < (int)BB_W; l++) {
        s.count += (int64_t)counts[l];
        if (largest[l] > s.at_most) s.at_most = largest[l];
        if (least[l] < s.above) s.above = least[l];
    }
    return s;
}

/* The k-th smallest of n numbers, behind which the last vector is filled up: between bounds that are numbers of the list, pivots where it stands
 * if they were spread evenly, and every other time one of them, which halves what is left on average whatever they are. */
static R kth_smallest(R *value, int64_t n, int64_t k) {
    for (; n % BB_W; n++) value[n] = BB_INF;
    standing all = standing_of(value, n, -BB_INF);
    if (all.count >= k) return -BB_INF;
    R low = all.above, high = BB_INF; /* low: the next candidate; at most high: `above` or more */
    int64_t below = all.count, above = n;
    for (int64_t turn = 0;; turn++) {
        const R share = (R)(k - below) / (R)(above - below);
        R pivot = low + (high - low) * share;
        for (int64_t i = 0; (turn & 1) && i < n; i++) {
            pivot = value[(turn * 37 + i) % n];
            if (pivot >= low && pivot < high) break;
        }
        if (!(pivot >= low && pivot < high)) pivot = low;
        const standing s = standing_of(value, n, pivot);
        if (s.count >= k) {
            high = s.at_most, above = s.count;
            if (high == low || above == k) return high;
        } else {
            low = s.above, below = s.count;
            if (low == high) return high;
        }
    }
}

/* Keeps the k smallest entries of n, in their order, which is that of their indices: of equals the first stay. Returns the
 * worst of them. */
static R select_smallest(R *value, int64_t *index, int64_t n, int64_t k) {
    const R worst = kth_smallest(value, n, k);
    int64_t kept = 0, equals = k;
    for (int64_t i = 0; i < n; i++) equals -= value[i] < worst;
    for (int64_t i = 0; i < n; i++) {
        const R x = value[i];
        const int64_t equal = x == worst,
                      keep = (x < worst) | (equal & (equals > 0)); /* no branch: nobody could guess it */
        value[kept] = x;
        index[kept] = index[i];
        kept += keep;
        equals -= equal;
    }
    return worst;
}

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

/* Large K: what is below the limit is appended; a full list keeps its K smallest and lowers the limit. */
BB_INLINE void append(const lists *to, int64_t lane, R x, int64_t column) {
    R *value = to->value + lane * to->stride;
    int64_t *index = to->index + lane * to->stride, count = to->count[lane];
    value[count] = x;
    index[count] = column;
    if (++count == to->stride) {
        to->limit[lane] = select_smallest(value, index, count, to->k);
        count = to->k;
    }
    to->count[lane] = count;
}

/* vectors: of a sorted list, 0 of another */
BB_INLINE void insert(const lists *to, int64_t vectors, int64_t lane, R x, int64_t column) {
    if (vectors == 0) {
        append(to, lane, x, column);
        return;
    }
    R *record = to->value + lane * (1 + PARTS) * to->stride;
    insert_sorted(record, to->stride, vectors, x, column);
    to->limit[lane] = record[to->k - 1];
}

BB_INLINE uint64_t below_limit(const R *p, V limit) { return (uint64_t)v_bits(v_not(v_ge(v_loadu(p), limit))); }

/* Some casts of one vector. The limits are read once: to read them again after a lane has stored its new one would
 * stall. What is above a new limit falls off the list. */
BB_INLINE void insert_below(const lists *to, int64_t vectors, V limit, const R *p, int64_t lane, int64_t casts,
                            int64_t first) {
    for (int64_t q0 = 0; q0 < casts; q0 += WORD_CASTS, p += WORD_CASTS * LANES) {
        const int64_t word = casts - q0 < WORD_CASTS ? casts - q0 : WORD_CASTS;
        uint64_t bits = 0;
        int64_t q = 0;
        for (; q + 4 <= word; q += 4) {
            const R *at = p + q * LANES;
            bits |= (below_limit(at, limit) | below_limit(at + LANES, limit) << BB_W |
                     below_limit(at + 2 * LANES, limit) << 2 * BB_W | below_limit(at + 3 * LANES, limit) << 3 * BB_W)
                    << q * BB_W;
        }
        for (; q < word; q++) bits |= below_limit(p + q * LANES, limit) << q * BB_W;
        for (; bits; bits &= bits - 1) {
            const unsigned at = (unsigned)__builtin_ctzll(bits), l = at % BB_W;
            const R x = p[at / BB_W * LANES + l];
            if (x == x) insert(to, vectors, lane + l, x, first + q0 + at / BB_W);
        }
    }
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

BB_INLINE void insert_hits(const lists *to, int64_t vectors, const bbi_fold_tile *t, const bbi_hits *hits) {
    for (int64_t n = 0; n < hits->count; n++) {
        const int64_t hit = hits->hit[n], lane = hit & 255, casts = hit >> 8 & 255, q = hit >> 16 & 65535;
        insert_group(to, vectors, component(t, 0) + q * LANES + lane, lane, casts, t->first + q);
    }
}

/* `call` with the number of vectors of a list: a constant where one or two hold it. */
#define BY_VECTORS(call, to, ...)                                                                                      \
    do {                                                                                                               \
        const int64_t vectors_ = (to)->sorted ? ((to)->k + BB_W - 1) / BB_W : 0;                                       \
        switch (vectors_) {                                                                                            \
        case 0: call(to, 0, __VA_ARGS__); break;                                                                       \
        case 1: call(to, 1, __VA_ARGS__); break;                                                                       \
        case 2: call(to, 2, __VA_ARGS__); break;                                                                       \
        default: call(to, vectors_, __VA_ARGS__);                                                                      \
        }                                                                                                              \
    } while (0)

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

/* ---- K smallest from the smallest of groups ---- */
/* Numbers in the order of integers, and back; the same for both zeros is the larger. */
BB_INLINE VI key_of(V x) {
    const VI bits = (VI)(x + K(0));
    return bits ^ (VI)((VU)(bits < 0) >> 1);
}

BB_INLINE V number_of(VI key) { return (V)(key ^ (VI)((VU)(key < 0) >> 1)); }

BB_INLINE V next_up(V x) { return number_of(key_of(x) + 1); }

/* A number for each lane above which it has no need to look: at least k of these n smallest values are below. By halving,
 * until few more than k are; NaN where there are no k numbers. */
static V bound_of(const R *least, int64_t step, int64_t n, int64_t k) {
    if (n < k) return K(BB_NAN);
    V low = K(BB_INF), high = K(-BB_INF);
    for (int64_t i = 0; i < n; i++) {
        const V x = v_loadu(least + i * step);
        low = v_minx(x, low), high = v_maxx(x, high);
    }
    const V enough = K(k) - K(0.5), few = K(k + k / 8) + K(1.5);
    VI from = key_of(low), to = key_of(high);
    VM done = v_lt(K(0), K(0));
    for (int turn = 0; turn < 24; turn++) {
        const VI middle = (from & to) + ((from ^ to) >> 1);
        const V pivot = number_of(middle);
        V count = K(0), odd = K(0);
        int64_t i = 0;
        for (; i + 2 <= n; i += 2) {
            count += v_mask01(v_le(v_loadu(least + i * step), pivot));
            odd += v_mask01(v_le(v_loadu(least + (i + 1) * step), pivot));
        }
        if (i < n) odd += v_mask01(v_le(v_loadu(least + i * step), pivot));
        count += odd;
        const VM above = v_gt(count, enough);
        to = v_seli(above, middle, to);
        from = v_seli(above, from, middle);
        done = v_or(done, v_and(above, v_lt(count, few)));
        if (v_all(done)) break;
    }
    return next_up(number_of(to));
}

/* Of the smallest values of groups, so many that the K-th smallest of theirs is little above the K-th smallest of all. */
static V first_bound(const R *least, int64_t groups, int64_t k) {
    V coarse[MOST_BINS];
    const int64_t wanted = 4 * k < 16 ? 16 : 4 * k, each = groups / wanted;
    if (each < 2 || groups / each + 1 > MOST_BINS) return bound_of(least, LANES, groups, k);
    int64_t n = 0;
    for (int64_t i = 0; i < groups; n++) {
        V x = v_loadu(least + i++ * LANES);
        for (int64_t more = 1; more < each && i < groups; more++) x = v_minx(v_loadu(least + i++ * LANES), x);
        coarse[n] = x;
    }
    return bound_of((const R *)coarse, BB_W, n, k);
}

/* Without those whose bounds have sunk below since they were listed. */
static int64_t still_below(const R *least, bbi_again *again, int64_t count, const R *bound) {
    int64_t kept = 0;
    for (int64_t n = 0; n < count; n++) {
        again[kept] = again[n];
        kept += !(least[again[n].group * LANES + again[n].lane] >= bound[again[n].lane]);
    }
    return kept;
}

/* Values of the lanes of a vector that wait for their list, in the order of their columns. */
typedef struct waiting {
    R value[BB_W][WAITING + BBI_LEAST_CASTS];
    I index[BB_W][WAITING + BBI_LEAST_CASTS]; /* from s->first on */
    int64_t count[BB_W];
} waiting;

/* n values into an empty list: each goes to the place that the number of those before it is. */
static void fill_list(R *record, int64_t stride, int64_t k, R *value, const I *index, int64_t n, int64_t first) {
    R sorted[WAITING];
    I order[WAITING];
    v_storeu(value + n, K(BB_NAN));
    for (int64_t i = 0; i < n; i++) {
        const V x = v_splat(value[i]);
        int64_t rank = 0, equal = 0, j = 0;
        do {
            const V y = v_loadu(value + j);
            rank += __builtin_popcount((unsigned)v_bits(v_lt(y, x)));
            equal += __builtin_popcount((unsigned)v_bits(v_eq(y, x)));
        } while ((j += BB_W) < n);
        for (j = 0; equal > 1 && j < i; j++) rank += value[j] == value[i];
        sorted[rank] = value[i];
        order[rank] = index[i];
    }
    if (n > k) n = k;
    __builtin_memcpy(record, sorted, (size_t)n * sizeof *record);
    for (int64_t i = 0; i < n; i++) {
        for (int part = 0; part < PARTS; part++) {
            const I half = index_part(first + order[i], part);
            __builtin_memcpy(record + (1 + part) * stride + i, &half, sizeof half);
        }
    }
}

/* The values of lane `at` of a vector, lane `lane` of all, go to its list. */
BB_INLINE void settle(const lists *to, int64_t vectors, waiting *w, int64_t at, int64_t lane, int64_t first, R *bound) {
    R *record = to->value + lane * (1 + PARTS) * to->stride;
    const int64_t count = w->count[at];
    if (record[0] != record[0]) {
        fill_list(record, to->stride, to->k, w->value[at], w->index[at], count, first);
    } else {
        for (int64_t n = 0; n < count; n++)
            insert_sorted(record, to->stride, vectors, w->value[at][n], first + w->index[at][n]);
    }
    w->count[at] = 0;
    const R limit = to->limit[lane] = record[to->k - 1];
    if (limit < bound[lane] || bound[lane] != bound[lane]) bound[lane] = limit;
}

/* Those of up to BB_W values, of which `left` count, that are below the limit. */
BB_INLINE void wait_for(waiting *w, int64_t at, const R *x, int64_t left, V limit, int64_t index) {
    const V value = v_loadu(x);
    unsigned bits = (unsigned)v_bits(v_and(v_not(v_ge(value, limit)), v_eq(value, value)));
    if (left < (int64_t)BB_W) bits &= left > 0 ? (1u << left) - 1 : 0;
    R *values = w->value[at] + w->count[at];
    I *indices = w->index[at] + w->count[at];
    w->count[at] += __builtin_popcount(bits);
#if BB_ISA == 2
    const VI column = v_splati((I)index) + FROM_0;
    v_storeu(values, COMPRESS(value, bits));
    v_storeu((R *)(void *)indices, COMPRESS((V)column, bits));
#else
    for (; bits; bits &= bits - 1, values++, indices++) {
        const int l = __builtin_ctz(bits);
        *values = x[l];
        *indices = (I)(index + l);
    }
#endif
}

BB_INLINE void take_again(const lists *to, int64_t vectors, const bbi_least *s, const bbi_again *again, int64_t count,
                          R *bound, waiting *w) {
    s->evaluate(s->data, again, count, s->out);
    for (int64_t n = 0; n < count; n++) {
        const int64_t lane = again[n].lane, first = again[n].group * BBI_LEAST_CASTS, left = s->columns - first;
        const int64_t casts = left < BBI_LEAST_CASTS ? left : BBI_LEAST_CASTS, at = lane % BB_W;
        const R *x = (const R *)s->out + n * LANES;
        const V limit = v_splat(bound[lane]);
        if (vectors > 0) {
            for (int64_t c = 0; c < BBI_LEAST_CASTS; c += BB_W) wait_for(w, at, x + c, casts - c, limit, first + c);
            if (__builtin_expect(w->count[at] > WAITING - BBI_LEAST_CASTS, 0))
                settle(to, vectors, w, at, lane, s->first, bound);
            continue;
        }
        for (int64_t c = 0; c < casts; c++)
            if (!(x[c] >= bound[lane]) && x[c] == x[c]) append(to, lane, x[c], s->first + first + c);
        if (to->limit[lane] < bound[lane] || bound[lane] != bound[lane]) bound[lane] = to->limit[lane];
    }
}

/* The groups that some lane of the vector has to look at, and those lanes. No branch: nobody could guess it. */
static int64_t hit_groups(const R *least, int64_t from, int64_t to, V bound, unsigned used, uint32_t *group,
                          uint32_t *lanes) {
    int64_t hits = 0;
    for (int64_t g = from; g < to; g++) {
        const unsigned bits = (unsigned)v_bits(v_not(v_ge(v_loadu(least + g * LANES), bound))) & used;
        group[hits] = (uint32_t)g;
        lanes[hits] = bits;
        hits += bits != 0;
    }
    return hits;
}

static V bound_before(const lists *to, const R *least, int64_t lane, int64_t groups) {
    const V limit = v_loadu(to->limit + lane);
    if (!v_any(v_isnan(limit))) return limit;
    const V first = first_bound(least, groups, to->k);
    return v_sel(v_isnan(limit), first, v_minx(first, limit));
}

BB_INLINE void take_first(const lists *to, int64_t vectors, const bbi_fold_tile *t) {
    for (int64_t lane = 0; lane < t->lanes; lane += BB_W) {
        const R *p = (const R *)t->values + lane;
        insert_below(to, vectors, bound_before(to, p, lane, t->casts), p, lane, t->casts, t->first);
    }
}

static void first_kmin(const bbi_fold_tile *t) {
    const lists to = lists_of(t, 0);
    BY_VECTORS(take_first, &to, t);
}

/* The lanes of one vector. */
BB_INLINE void take_vector(const lists *to, int64_t vectors, const bbi_least *s, int64_t lane, waiting *w) {
    const R *least = s->least;
    const int64_t groups = (s->columns + BBI_LEAST_CASTS - 1) / BBI_LEAST_CASTS, left = s->lanes - lane;
    const V under = bound_before(to, least + lane, lane, groups);
    const unsigned used = left < (int64_t)BB_W ? (1u << left) - 1 : 0xffffffffu >> (32 - BB_W);
    int64_t usual = (to->k + to->k / 4 + 4) * (int64_t)BB_W; /* hits; many more: equal values, or no bound */
    bbi_again again[BBI_AGAIN];
    R bound[LANES];
    v_storeu(bound + lane, under);
    for (int64_t from = 0; from < groups; from += SCANNED) {
        uint32_t hit[SCANNED], lanes[SCANNED];
        const int64_t hits = hit_groups(least + lane, from, groups - from < SCANNED ? groups : from + SCANNED, under,
                                        used, hit, lanes);
        for (int64_t n = 0, count = 0; n < hits; n++) {
            uint32_t bits = lanes[n];
            do {
                again[count].lane = (int32_t)lane + __builtin_ctz(bits);
                again[count++].group = (int32_t)hit[n];
                bits &= bits - 1;
            } while (bits);
            if (count < BBI_AGAIN - (int64_t)BB_W && n + 1 < hits) continue;
            usual -= count;
            if (usual < 0) count = still_below(least, again, count, bound);
            take_again(to, vectors, s, again, count, bound, w);
            count = 0;
        }
    }
    for (int64_t at = 0; vectors > 0 && at < (int64_t)BB_W; at++)
        if (w->count[at] > 0) settle(to, vectors, w, at, lane + at, s->first, bound);
}

BB_INLINE void take_least(const lists *to, int64_t vectors, const bbi_least *s) {
    waiting w;
    for (int64_t at = 0; at < (int64_t)BB_W; at++) w.count[at] = 0;
    for (int64_t lane = 0; lane < s->lanes; lane += BB_W) take_vector(to, vectors, s, lane, &w);
}

static void least_kmin(const bbi_folding *folding, void *state, const bbi_least *least) {
    const bbi_fold_tile tile = {.folding = folding, .cell = state};
    const lists to = lists_of(&tile, 0);
    BY_VECTORS(take_least, &to, least);
}

/* ---- K smallest from all values of a row ---- */
static int64_t count_at_most(const R *value, int64_t n, R pivot) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += BB_W)
        count += __builtin_popcount((unsigned)v_bits(v_le(v_loadu(value + i), v_splat(pivot))));
    return count;
}

static I key_of_number(R x) {
    const V all = v_splat(x);
    return key_of(all)[0];
}

/* As bound_of, of one or two vectors of numbers: the least of them that k are at most. */
static R bound_of_two(const R *value, bool second, int64_t k) {
    const V enough = K(k) - K(0.5), a = v_loadu(value), b = second ? v_loadu(value + BB_W) : a;
    V below_a = K(0), below_b = K(0), more_a = K(0), more_b = K(0);
    for (int64_t i = 0; i < (second ? 2 : 1) * (int64_t)BB_W; i += 2) {
        const V x = v_splat(value[i]), y = v_splat(value[i + 1]);
        below_a += v_mask01(v_le(x, a));
        more_a += v_mask01(v_le(y, a));
        if (!second) continue;
        below_b += v_mask01(v_le(x, b));
        more_b += v_mask01(v_le(y, b));
    }
    below_a += more_a;
    below_b += more_b;
    const V least = v_minx(v_sel(v_gt(below_a, enough), a, K(BB_INF)), v_sel(v_gt(below_b, enough), b, K(BB_INF)));
    R all[BB_W];
    v_storeu(all, least);
    for (int l = 1; l < (int)BB_W; l++) all[0] = all[l] < all[0] ? all[l] : all[0];
    return next_up(v_splat(all[0]))[0];
}

/* As bound_of, of n numbers and NaN behind them up to a whole vector. */
static R bound_of_row(const R *value, int64_t n, int64_t k) {
    if (n <= 2 * (int64_t)BB_W) return bound_of_two(value, n > (int64_t)BB_W, k);
    V low = K(BB_INF), high = K(-BB_INF);
    for (int64_t i = 0; i < n; i += BB_W) {
        const V x = v_loadu(value + i);
        low = v_minx(x, low), high = v_maxx(x, high);
    }
    R least[BB_W], most[BB_W];
    v_storeu(least, low);
    v_storeu(most, high);
    for (int l = 1; l < (int)BB_W; l++) {
        if (least[l] < least[0]) least[0] = least[l];
        if (most[l] > most[0]) most[0] = most[l];
    }
    if (count_at_most(value, n, most[0]) < k) return BB_NAN;
    I from = key_of_number(least[0]), to = key_of_number(most[0]);
    for (int turn = 0; turn < 24; turn++) {
        const I middle = (from & to) + ((from ^ to) >> 1);
        const int64_t count = count_at_most(value, n, number_of(v_splati(middle))[0]);
        if (count < k) {
            from = middle;
        } else {
            to = middle;
            if (count <= k + k / 8 + 1) break;
        }
    }
    return next_up(number_of(v_splati(to)))[0];
}

/* Of the smallest of some of the vectors each, so many that the K-th of these numbers is little above that of all. */
static R first_bound_of_row(const R *value, int64_t n, int64_t k) {
    V coarse[MOST_BINS / 8];
    const int64_t vectors = (n + BB_W - 1) / BB_W, wanted = (3 * k + BB_W - 1) / BB_W, each = vectors / wanted;
    if (each < 2 || vectors / each + 1 > MOST_BINS / 8) return bound_of_row(value, n, k);
    int64_t bins = 0;
    for (int64_t i = 0; i < vectors; bins++) {
        V x = K(BB_INF);
        for (int64_t more = 0; more < each && i < vectors; more++) x = v_minx(v_loadu(value + i++ * BB_W), x);
        coarse[bins] = x;
    }
    return bound_of_row((const R *)coarse, bins * BB_W, k);
}

BB_INLINE void take_row(const lists *to, int64_t vectors, int64_t lane, R *value, int64_t n, int64_t first) {
    waiting w;
    R bound[LANES];
    v_storeu(value + n, K(BB_NAN));
    bound[lane] = to->limit[lane];
    if (bound[lane] != bound[lane]) bound[lane] = first_bound_of_row(value, n, to->k);
    w.count[0] = 0;
    for (int64_t i = 0; vectors > 0 && i < n; i += BB_W) {
        wait_for(&w, 0, value + i, BB_W, v_splat(bound[lane]), i);
        if (w.count[0] > WAITING - BBI_LEAST_CASTS) settle(to, vectors, &w, 0, lane, first, bound);
    }
    if (vectors > 0 && w.count[0] > 0) settle(to, vectors, &w, 0, lane, first, bound);
    for (int64_t i = 0; vectors == 0 && i < n; i += BB_W) {
        const V x = v_loadu(value + i);
        unsigned bits = (unsigned)v_bits(v_and(v_not(v_ge(x, v_splat(bound[lane]))), v_eq(x, x)));
        for (; bits; bits &= bits - 1) append(to, lane, value[i + __builtin_ctz(bits)], first + i + __builtin_ctz(bits));
        if (to->limit[lane] < bound[lane] || bound[lane] != bound[lane]) bound[lane] = to->limit[lane];
    }
}

static void row_kmin(const bbi_folding *folding, void *state, int64_t lane, void *values, int64_t count, int64_t first) {
    const bbi_fold_tile tile = {.folding = folding, .cell = state};
    const lists to = lists_of(&tile, 0);
    BY_VECTORS(take_row, &to, lane, values, count, first);
}

const bbi_select_isa BBI_ISA_NAME(bbi_select_isa, BB_ISA, BB_DOUBLE) = {
    .step = {[BBI_FAMILY_MIN] = step_min, [BBI_FAMILY_MAX] = step_max, [BBI_FAMILY_KMIN] = step_kmin},
    .order_list = order_list,
    .least = least_kmin,
    .first = first_kmin,
    .row = row_kmin,
    .hits = {[BBI_FAMILY_MIN] = hit_min, [BBI_FAMILY_MAX] = hit_max, [BBI_FAMILY_KMIN] = hit_kmin},
};
