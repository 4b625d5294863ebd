/* fold_least_isa.c: the K smallest where many values are known before lists are looked at, for one instruction set and one
 * real type: a bound of the K-th smallest comes first, and what is below it waits to be sorted at once. */
#include "fold_list.h"

enum {
    TOGETHER = 4,               /* vectors that are looked at side by side: each would wait for itself */
    FEW_BINS = 64,              /* values of each of their lanes from which first bounds are found */
    WAITING = 2 * BBI_SORTED_K, /* values of a lane that wait for their list */
    MOST_BINS = 512             /* values of each lane from which a first bound is found */
};

#ifdef __clang__
#define EACH(v) _Pragma("unroll") for (int64_t v = 0; v < TOGETHER; v++)
#else
#define EACH(v) _Pragma("GCC unroll 4") for (int64_t v = 0; v < TOGETHER; v++)
#endif

#if BB_ISA == 2
static const I index_0[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#endif

static const R from_0[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; /* of which BB_W are used */

/* Numbers in the order of integers, and back; the same for both zeros is the larger. */
BB_INLINE VI key_of(V x) {
    const VI bits = (VI)(x + K(0));
    return bits ^ (VI)((VU)(bits < 0) >> 1);
}

BB_INLINE V number_of(VI key) { return (V)(key ^ (VI)((VU)(key < 0) >> 1)); }

/* A number above x, the next one but never a denormal: where the processor takes these for 0 (a caller may have told it
 * to), the next after 0 would not be above it. */
BB_INLINE V next_up(V x) {
    const V next = number_of(key_of(x) + 1), normal = K(BB_DOUBLE ? 0x1p-1022 : 0x1p-126);
    return v_sel(v_and(v_lt(next, normal), v_gt(next, -normal)), normal, next);
}

/* A number for each lane above which it has no need to look: at least k of these n smallest values are below. By halving,
 * until few more than k are; NaN where there are no k numbers. */
static V bound_of(const R *least, int64_t step, int64_t n, int64_t k) {
    if (n < k) return K(BB_NAN);
    V low = K(BB_INF), high = K(-BB_INF), numbers = K(0);
    for (int64_t i = 0; i < n; i++) {
        const V x = v_loadu(least + i * step);
        low = v_minx(x, low), high = v_maxx(x, high);
        numbers += v_mask01(v_eq(x, x));
    }
    const V enough = K(k) - K(0.5), few = K(k + k / 16) + K(0.5);
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
    return v_sel(v_gt(numbers, enough), next_up(number_of(to)), K(BB_NAN));
}

/* Of the smallest values of groups, so many that the K-th smallest of theirs is little above the K-th smallest of all. */
static V first_bound(const R *least, int64_t groups, int64_t k) {
    V coarse[MOST_BINS];
    const int64_t wanted = 4 * k < 16 ? 16 : 4 * k, each = groups / wanted;
    if (each < 2 || groups / each + 1 > MOST_BINS) return bound_of(least, LANES, groups, k);
    int64_t n = 0;
    for (int64_t i = 0; i < groups; n++) {
        V x = K(BB_INF); /* also where there is no number: an infinite bound is none */
        for (int64_t more = 0; more < each && i < groups; more++) x = v_minx(v_loadu(least + i++ * LANES), x);
        coarse[n] = x;
    }
    return bound_of((const R *)coarse, BB_W, n, k);
}

/* The same of some vectors side by side, whose smallest values begin at at[v]. */
static void first_bounds(const R *const *at, int64_t groups, int64_t k, V *bound) {
    V coarse[FEW_BINS][TOGETHER];
    const int64_t wanted = 4 * k < 16 ? 16 : 4 * k, each = groups / wanted;
    const bool few = each >= 2 && groups / each + 1 <= FEW_BINS;
    int64_t n = 0;
    for (int64_t i = 0; few && i < groups; n++) {
        V x[TOGETHER];
        EACH(v) x[v] = K(BB_INF);
        for (int64_t more = 0; more < each && i < groups; more++, i++)
            EACH(v) x[v] = v_minx(v_loadu(at[v] + i * LANES), x[v]);
        EACH(v) coarse[n][v] = x[v];
    }
    for (int64_t v = 0; v < TOGETHER; v++)
        bound[v] = few ? bound_of((const R *)coarse + v * BB_W, TOGETHER * BB_W, n, k) : first_bound(at[v], groups, k);
}

/* Without those whose bounds have sunk below since they were listed. */
static int64_t still_below(const R *least, bbi_again *again, int64_t count, const R *bound) {
    int64_t kept = 0;
    for (int64_t n = 0; n < count; n++) {
        const uint32_t lane = again[n] & BBI_AGAIN_LANE, group = again[n] >> BBI_AGAIN_GROUP;
        again[kept] = again[n];
        kept += !(least[group * LANES + lane] >= bound[lane]);
    }
    return kept;
}

/* Values of the lanes of a vector that wait for their list, in the order of their columns. */
typedef struct waiting {
    R value[BB_W][WAITING + BBI_LEAST_CASTS];
    I index[BB_W][WAITING + BBI_LEAST_CASTS]; /* from s->first on */
    int64_t count[BB_W];
} waiting;

/* n values into an empty list: each goes to the place that the number of those before it is. What is behind the K-th place
 * does not matter; high halves of indices are 0. */
static void fill_list(R *record, int64_t stride, R *value, const I *index, int64_t n, int64_t first) {
    R place[WAITING + BB_W];
    const int parts = (first + INT32_MAX) >> 32 ? PARTS : 1;
    const V lane = v_loadu(from_0);
    v_storeu(value + n, K(BB_NAN));
    for (int64_t i = 0; i < n; i += BB_W) {
        const V x = v_loadu(value + i);
        V before = K(0), after = K(0); /* values that go before those: of those in front of them, and behind */
        for (int64_t j = 0; j < i; j++) before += v_mask01(v_le(v_splat(value[j]), x));
        for (int64_t j = i; j < i + (int64_t)BB_W && j < n; j++) {
            const V y = v_splat(value[j]), number = K(j - i);
            before += v_mask01(v_and(v_le(y, x), v_gt(lane, number)));
            after += v_mask01(v_and(v_lt(y, x), v_le(lane, number)));
        }
        for (int64_t j = i + BB_W; j < n; j++) after += v_mask01(v_lt(v_splat(value[j]), x));
        v_storeu(place + i, before + after);
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t rank = (int64_t)place[i];
        if (rank >= stride) continue;
        record[rank] = value[i];
        for (int part = 0; part < parts; part++) {
            const I half = index_part(first + index[i], part);
            __builtin_memcpy(record + (1 + part) * stride + rank, &half, sizeof half);
        }
    }
}

/* The values of lane `at` of a vector, lane `lane` of all, go to its list. */
BB_INLINE void settle(const lists *to, int64_t vectors, waiting *w, int64_t at, int64_t lane, int64_t first, R *bound) {
    R *record = to->value + lane * (1 + PARTS) * to->stride;
    const int64_t count = w->count[at];
    if (record[0] != record[0]) {
        fill_list(record, to->stride, w->value[at], w->index[at], count, first);
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
    const VI column = v_splati((I)index) + (VI)v_loadu((const R *)(const void *)index_0);
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
        const int64_t lane = again[n] & BBI_AGAIN_LANE, first = (again[n] >> BBI_AGAIN_GROUP) * BBI_LEAST_CASTS;
        const int64_t left = s->columns - first;
        const int64_t casts = left < BBI_LEAST_CASTS ? left : BBI_LEAST_CASTS, at = lane % BB_W;
        const R *x = (const R *)s->out + n * BBI_LEAST_CASTS;
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

/* What some vectors have to look at: of each, group << 16 | lanes. */
typedef struct scan {
    const R *at[TOGETHER]; /* smallest values */
    V bound[TOGETHER];
    int64_t hits[TOGETHER];
    uint32_t hit[TOGETHER][BBI_LEAST_GROUPS];
} scan;

/* Groups first .. end - 1. No branch: nobody could guess it. */
static void hit_groups(scan *s, int64_t first, int64_t end) {
    V bound[TOGETHER];
    int64_t hits[TOGETHER];
    EACH(v) bound[v] = s->bound[v], hits[v] = s->hits[v];
    for (int64_t g = first; g < end; g++) {
        EACH(v) {
            const V x = v_loadu(s->at[v] + g * LANES);
            const unsigned bits = (unsigned)v_bits(v_not(v_ge(x, bound[v])));
            s->hit[v][hits[v]] = (uint32_t)g << 16 | bits;
            hits[v] += bits != 0;
        }
    }
    EACH(v) s->hits[v] = hits[v];
}

/* The same where few are hit: four groups share a branch. */
static void hit_few(scan *s, int64_t groups) {
    int64_t g = 0;
    for (; g + 4 <= groups; g += 4) {
        bool none = true;
        EACH(v) {
            const R *at = s->at[v] + g * LANES;
            const V a = v_minx(v_loadu(at), v_loadu(at + LANES));
            const V b = v_minx(v_loadu(at + 2 * LANES), v_loadu(at + 3 * LANES));
            none = none & v_all(v_ge(v_minx(a, b), s->bound[v]));
        }
        if (!__builtin_expect(none, 1)) hit_groups(s, g, g + 4);
    }
    hit_groups(s, g, groups);
}

static V bound_before(const lists *to, const R *least, int64_t lane, int64_t groups) {
    const V limit = v_loadu(to->limit + lane);
    if (!v_any(v_isnan(limit))) return limit;
    const V first = first_bound(least, groups, to->k);
    return v_sel(v_isnan(limit), first, v_minx(first, limit));
}

/* Lanes of a group, and how many; a whole vector may be written. */
BB_INLINE int64_t list_again(bbi_again *again, bbi_again first, unsigned bits) {
    const int64_t count = __builtin_popcount(bits);
#if BB_ISA == 2
    typedef int W __attribute__((vector_size(64)));
    const W lane = (W){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + (int)first;
    const W found = __builtin_ia32_compresssi512_mask(lane, (W){0}, (unsigned short)bits);
    __builtin_memcpy(again, &found, sizeof found);
#else
    for (; bits; bits &= bits - 1) *again++ = first + (bbi_again)__builtin_ctz(bits);
#endif
    return count;
}

/* The lanes of one vector. */
BB_INLINE void take_vector(const lists *to, int64_t vectors, const bbi_least *s, int64_t lane, V under,
                           const uint32_t *hit, int64_t hits, waiting *w) {
    int64_t usual = (to->k + to->k / 4 + 4) * (int64_t)BB_W; /* hits; many more: equal values, or no bound */
    bbi_again again[BBI_AGAIN_MOST];
    R bound[LANES];
    v_storeu(bound + lane, under);
    for (int64_t n = 0, count = 0; n < hits; n++) {
        count += list_again(again + count, hit[n] >> 16 << BBI_AGAIN_GROUP | (uint32_t)lane, hit[n] & 65535);
        if (count < BBI_AGAIN - (int64_t)BB_W && n + 1 < hits) continue;
        usual -= count;
        if (usual < 0) count = still_below(s->least, again, count, bound);
        take_again(to, vectors, s, again, count, bound, w);
        count = 0;
    }
    for (int64_t at = 0; vectors > 0 && at < (int64_t)BB_W; at++)
        if (w->count[at] > 0) settle(to, vectors, w, at, lane + at, s->first, bound);
}

/* The groups that some vectors of lanes, from `first` on, have to look at; where there are fewer vectors, the first takes
 * the place of those that are missing. */
static void find(scan *s, const lists *to, const R *least, int64_t first, int64_t lanes, int64_t groups) {
    V limit[TOGETHER];
    bool full = true; /* the lists are */
    for (int64_t v = 0; v < TOGETHER; v++) {
        const int64_t lane = first + (first + v * BB_W < lanes ? v * BB_W : 0);
        s->at[v] = least + lane;
        s->bound[v] = limit[v] = v_loadu(to->limit + lane);
        s->hits[v] = 0;
    }
    for (int64_t lane = first; lane < lanes && lane < first + TOGETHER * BB_W; lane++)
        full = full && to->limit[lane] == to->limit[lane];
    if (!full) {
        first_bounds(s->at, groups, to->k, s->bound);
        EACH(v) s->bound[v] = v_sel(v_isnan(limit[v]), s->bound[v], v_minx(s->bound[v], limit[v]));
    }
    for (int64_t v = 0; v < TOGETHER; v++) { /* lanes that are no rows */
        const V last = K(lanes - first - v * BB_W) - K(0.5);
        s->bound[v] = v_sel(v_gt(v_loadu(from_0), last), K(-BB_INF), s->bound[v]);
    }
    if (full)
        hit_few(s, groups);
    else
        hit_groups(s, 0, groups);
}

BB_INLINE void take_least(const lists *to, int64_t vectors, const bbi_least *s) {
    waiting w;
    for (int64_t at = 0; at < (int64_t)BB_W; at++) w.count[at] = 0;
    for (int64_t first = 0; first < s->lanes; first += TOGETHER * BB_W) {
        scan found;
        find(&found, to, s->least, first, s->lanes, (s->columns + BBI_LEAST_CASTS - 1) / BBI_LEAST_CASTS);
        for (int64_t v = 0; v < TOGETHER; v++)
            take_vector(to, vectors, s, first + v * BB_W, found.bound[v], found.hit[v], found.hits[v], &w);
    }
}

static void least_kmin(const bbi_folding *folding, void *state, const bbi_least *least) {
    const bbi_fold_tile tile = {.folding = folding, .cell = state};
    const lists to = lists_of(&tile, 0);
    BY_VECTORS(take_least, &to, least);
}

/* ---- K smallest of the first columns ---- */
/* Values of one vector, which are all kept. */
BB_INLINE void take_hits(const lists *to, int64_t vectors, const bbi_fold_tile *t, int64_t lane, V under,
                         const uint32_t *hit, int64_t hits, waiting *w) {
    R bound[LANES];
    v_storeu(bound + lane, under);
    for (int64_t n = 0; n < hits; n++) {
        const int64_t cast = hit[n] >> 16;
        for (unsigned bits = hit[n] & 65535; bits; bits &= bits - 1) {
            const int at = __builtin_ctz(bits);
            const R x = ((const R *)t->values)[cast * LANES + lane + at];
            const int64_t count = w->count[at];
            w->value[at][count] = x;
            w->index[at][count] = (I)cast;
            w->count[at] = count + (x == x);
            if (__builtin_expect(w->count[at] == WAITING, 0)) settle(to, vectors, w, at, lane + at, t->first, bound);
        }
    }
    for (int64_t at = 0; at < (int64_t)BB_W; at++)
        if (w->count[at] > 0) settle(to, vectors, w, at, lane + at, t->first, bound);
}

BB_INLINE void take_first(const lists *to, int64_t vectors, const bbi_fold_tile *t) {
    const R *values = t->values;
    if (vectors == 0 || t->casts > BBI_LEAST_GROUPS) {
        for (int64_t lane = 0; lane < t->lanes; lane += BB_W)
            insert_below(to, vectors, bound_before(to, values + lane, lane, t->casts), values + lane, lane, t->casts,
                         t->first);
        return;
    }
    waiting w;
    for (int64_t at = 0; at < (int64_t)BB_W; at++) w.count[at] = 0;
    for (int64_t first = 0; first < t->lanes; first += TOGETHER * BB_W) {
        scan found;
        find(&found, to, values, first, t->lanes, t->casts);
        for (int64_t v = 0; v < TOGETHER; v++)
            take_hits(to, vectors, t, first + v * BB_W, found.bound[v], found.hit[v], found.hits[v], &w);
    }
}

static void first_kmin(const bbi_fold_tile *t) {
    const lists to = lists_of(t, 0);
    BY_VECTORS(take_first, &to, t);
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

const bbi_least_isa BBI_ISA_NAME(bbi_least_isa, BB_ISA, BB_DOUBLE) = {
    .first = first_kmin,
    .least = least_kmin,
    .row = row_kmin,
};
