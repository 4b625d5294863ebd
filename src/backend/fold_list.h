/* fold_list.h: the lists of the K smallest of a lane block, for one instruction set and one real type: included by
 * fold_select_isa.c and fold_least_isa.c. */
#ifndef BBI_FOLD_LIST_H
#define BBI_FOLD_LIST_H

#include "fold.h"
#include "prelude/cpu.h"

#define LANES (BBI_LANE_BYTES / (int64_t)sizeof(R))
enum {
    PARTS = (int)(sizeof(int64_t) / sizeof(R)), /* R's that hold an index: low half and high half, or all of it */
    WORD_CASTS = 64 / (int)BB_W                 /* casts of a vector whose lanes have a bit each in 64 */
};

#if BB_ISA == 2 /* the lanes that have a bit, one after the other, and zeros */
#if BB_DOUBLE
#define COMPRESS(x, bits) __builtin_ia32_compressdf512_mask(x, K(0), (unsigned char)(bits))
#else
#define COMPRESS(x, bits) __builtin_ia32_compresssf512_mask(x, K(0), (unsigned short)(bits))
#endif
#endif

/* The part of an index that R number `part` holds. */
BB_INLINE I index_part(int64_t column, int part) { return (I)(uint64_t)(column >> 32 * part); }

/* The lists of a component. A record is what belongs to a lane: small K: its values, then (halves of) their indices. */
typedef struct lists {
    int64_t k, stride;
    bool sorted;
    R *limit, *value;
    int64_t *count, *index; /* large K */
} lists;

BB_INLINE lists lists_of(const bbi_fold_tile *t, int64_t c) {
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

/* Everything that is not at most x moves up by one, x takes the place below; what falls off the end was not among the
 * K smallest. Equal values that are there already have smaller indices. Places without a value are NaN: not at most x.
 * The values one place below come from registers: loading them from there would wait for the stores of the last
 * insertion. High halves of indices are 0 until a column has one. `vectors` of them make K places. */
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

/* The k-th smallest of n numbers, behind which the last vector is filled up: between bounds that are numbers of the
 * list, pivots where it stands if they were spread evenly, and every other time one of them, which halves what is left
 * on average whatever they are. */
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

/* Keeps the k smallest entries of n, in their order, which is that of their indices: of equals the first stay. Returns
 * the worst of them. */
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

/* A bit for each lane of WORD_CASTS casts of a vector at most that is not at least its limit. */
BB_INLINE uint64_t word_below(const R *p, V limit, int64_t casts) {
    uint64_t bits = 0;
    int64_t q = 0;
    for (; q + 4 <= casts; q += 4) {
        const R *at = p + q * LANES;
        bits |= (below_limit(at, limit) | below_limit(at + LANES, limit) << BB_W |
                 below_limit(at + 2 * LANES, limit) << 2 * BB_W | below_limit(at + 3 * LANES, limit) << 3 * BB_W)
                << q * BB_W;
    }
    for (; q < casts; q++) bits |= below_limit(p + q * LANES, limit) << q * BB_W;
    return bits;
}

/* Those of a word whose first cast is column `first`. NaN is no value. */
BB_INLINE void insert_word(const lists *to, int64_t vectors, uint64_t bits, const R *p, int64_t lane, int64_t first) {
    for (; bits; bits &= bits - 1) {
        const unsigned at = (unsigned)__builtin_ctzll(bits), l = at % BB_W;
        const R x = p[at / BB_W * LANES + l];
        if (x == x) insert(to, vectors, lane + l, x, first + at / BB_W);
    }
}

/* Some casts of one vector. The limits are read once: to read them again after a lane has stored its new one would
 * stall. What is above a new limit falls off the list. */
BB_INLINE void insert_below(const lists *to, int64_t vectors, V limit, const R *p, int64_t lane, int64_t casts,
                            int64_t first) {
    for (int64_t q = 0; q < casts; q += WORD_CASTS, p += WORD_CASTS * LANES) {
        const int64_t word = casts - q < WORD_CASTS ? casts - q : WORD_CASTS;
        insert_word(to, vectors, word_below(p, limit, word), p, lane, first + q);
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

#endif
