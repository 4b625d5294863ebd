/* fold_isa.c: tiles of values folded into the cells of reductions, for one instruction set and one real type.
 *
 * Values come as the pair code wrote them: lanes side by side, casts one lane block apart. Each function
 * takes vector after vector and walks down its casts with the state in registers. What happens seldom (a new
 * minimum, a value below the K-th smallest) is found by one comparison per tile and vector and then done lane
 * by lane. */
#include "fold.h"
#include "prelude/cpu.h"
#include "prelude/math.h"

#define LANES (BBI_LANE_BYTES / (int64_t)sizeof(R))
enum {
    TILE = 16,    /* casts between two comparisons */
    LSE_TILE = 64 /* casts between two rescalings; their exponentials fit into the first-level cache */
};

static int64_t vector_count(const bbi_fold_tile *t) { return (t->lanes + BB_W - 1) / BB_W; }

static const R *component(const bbi_fold_tile *t, int64_t c) { return (const R *)t->values + c * t->component_step; }

static unsigned lane_bits(VM mask) {
#if BB_ISA == 2
    return mask;
#else
    return (unsigned)v_bits(mask);
#endif
}

/* ---- sums ---- */
/* s + x = t + error exactly (Knuth, The Art of Computer Programming, volume 2, 4.2.2, theorem B), the errors
 * summed apart. An infinite s makes the error NaN: whoever reads the pair ignores it then. */
#define TWO_SUM(T, s, low, x)                                                                                          \
    do {                                                                                                               \
        const T t_ = (s) + (x), b_ = t_ - (s);                                                                         \
        (low) += ((s) - (t_ - b_)) + ((x) - b_);                                                                       \
        (s) = t_;                                                                                                      \
    } while (0)

static void sum_terms(V *high, V *low, const R *p, int64_t casts) {
    V s = *high, e = K(0);
    if (low) {
        e = *low;
        for (int64_t q = 0; q < casts; q++) TWO_SUM(V, s, e, v_loadu(p + q * LANES));
        *low = e;
    } else {
        for (int64_t q = 0; q < casts; q++) s += v_loadu(p + q * LANES);
    }
    *high = s;
}

static void sum_real(const bbi_fold_tile *t, int64_t c, R *high, R *low) {
    for (int64_t v = 0; v < vector_count(t); v++) {
        V s = v_loadu(high + v * BB_W), e = low ? v_loadu(low + v * BB_W) : K(0);
        sum_terms(&s, low ? &e : 0, component(t, c) + v * BB_W, t->casts);
        v_storeu(high + v * BB_W, s);
        if (low) v_storeu(low + v * BB_W, e);
    }
}

#if !BB_DOUBLE
/* Half a vector of floats becomes a vector of doubles. */
typedef double VD __attribute__((vector_size(BB_VB)));
typedef double unaligned_double __attribute__((vector_size(BB_VB), aligned(8), may_alias));
typedef float unaligned_half __attribute__((vector_size(BB_VB / 2), aligned(4), may_alias));

BB_INLINE VD widen(const float *p) { return __builtin_convertvector(*(const unaligned_half *)p, VD); }

static void sum_double(const bbi_fold_tile *t, int64_t c, double *high, double *low) {
    for (int64_t at = 0; at < vector_count(t) * BB_W; at += BB_W / 2) {
        const float *p = component(t, c) + at;
        unaligned_double *h = (unaligned_double *)(high + at);
        unaligned_double *l = low ? (unaligned_double *)(low + at) : 0;
        VD s = *h;
        if (low) {
            VD e = *l;
            for (int64_t q = 0; q < t->casts; q++) {
                const VD x = widen(p + q * LANES);
                TWO_SUM(VD, s, e, x);
            }
            *l = e;
        } else {
            for (int64_t q = 0; q < t->casts; q++) s += widen(p + q * LANES);
        }
        *h = s;
    }
}
#endif

static void step_sum(const bbi_fold_tile *t) {
    const bbi_folding *f = t->folding;
    int64_t bytes = bbi_fold_sum_bytes(f);
    bool kahan = f->scheme == BBI_SCHEME_KAHAN;
    for (int64_t c = 0; c < f->fold.dim; c++) {
        char *high = t->cell + c * bytes, *low = kahan ? high + f->fold.dim * bytes : 0;
#if !BB_DOUBLE
        if (f->accumulate_double) {
            sum_double(t, c, (double *)high, (double *)low);
            continue;
        }
#endif
        sum_real(t, c, (R *)high, (R *)low);
    }
}

static void step_prod(const bbi_fold_tile *t) {
    for (int64_t c = 0; c < t->folding->fold.dim; c++) {
        R *state = (R *)t->cell + c * LANES;
        for (int64_t v = 0; v < vector_count(t); v++) {
            const R *p = component(t, c) + v * BB_W;
            V s = v_loadu(state + v * BB_W);
            for (int64_t q = 0; q < t->casts; q++) s *= v_loadu(p + q * LANES);
            v_storeu(state + v * BB_W, s);
        }
    }
}

/* ---- minimum and maximum ---- */
/* v_minx and v_maxx give their second operand where the first is NaN: NaN is ignored. */
BB_INLINE V better(bool max, V a, V b) { return max ? v_maxx(a, b) : v_minx(a, b); }
BB_INLINE VM is_better(bool max, V a, V b) { return max ? v_gt(a, b) : v_lt(a, b); }

/* A tile where a lane improves, or a lane that has seen no number yet: cast by cast, strictly better only, so
 * that the first of equals stays. */
BB_INLINE void improve(bool max, const R *p, int64_t casts, R *best, R *seen, int64_t *index, int64_t first) {
    V m = v_loadu(best);
    VM unseen = v_eq(v_loadu(seen), K(0));
    V hit = K(-1);
    for (int64_t q = 0; q < casts; q++) {
        const V x = v_loadu(p + q * LANES);
        const VM now = v_or(is_better(max, x, m), v_and(unseen, v_eq(x, x)));
        m = v_sel(now, x, m);
        hit = v_sel(now, v_splat((R)q), hit);
        unseen = v_and(unseen, v_not(now));
    }
    v_storeu(best, m);
    v_storeu(seen, v_mask01(v_not(unseen)));
    R casts_hit[BB_W];
    v_storeu(casts_hit, hit);
    for (unsigned bits = lane_bits(v_ge(hit, K(0))); bits; bits &= bits - 1) {
        int l = __builtin_ctz(bits);
        index[l] = first + (int64_t)casts_hit[l];
    }
}

/* Where the lanes of a cell are columns of one row, they share the best of all: only what is better than that
 * concerns the row, and lanes that see few columns each would improve all the time. */
BB_INLINE void improve_row(bool max, const R *p, int64_t lanes, R *best, R *seen, int64_t *index, int64_t first) {
    R b = best[0];
    int64_t at = seen[0] != 0 ? index[0] : -1, before = at;
    for (int64_t l = 0; l < lanes; l++) {
        if (p[l] != p[l] || (at >= 0 && !(max ? p[l] > b : p[l] < b))) continue;
        b = p[l];
        at = first + l;
    }
    for (int64_t l = 0; at != before && l < LANES; l++) {
        best[l] = b;
        seen[l] = 1;
        index[l] = at;
    }
}

BB_INLINE void extreme(bool max, const bbi_fold_tile *t) {
    const bbi_extreme_cell places = bbi_extreme_places(t->folding);
    for (int64_t c = 0; c < t->folding->fold.dim; c++) {
        R *best = (R *)(t->cell + places.best) + c * LANES, *seen = (R *)(t->cell + places.seen) + c * LANES;
        int64_t *index = (int64_t *)(void *)(t->cell + places.index) + c * LANES;
        for (int64_t v = 0; v < vector_count(t); v++) {
            const R *p = component(t, c) + v * BB_W;
            if (!t->folding->fold.want_index) {
                V m = v_loadu(best + v * BB_W);
                for (int64_t q = 0; q < t->casts; q++) m = better(max, v_loadu(p + q * LANES), m);
                v_storeu(best + v * BB_W, m);
                continue;
            }
            for (int64_t q0 = 0; q0 < t->casts; q0 += TILE) {
                int64_t casts = t->casts - q0 < TILE ? t->casts - q0 : TILE;
                V m = v_loadu(best + v * BB_W), least = m;
                for (int64_t q = q0; q < q0 + casts; q++) least = better(max, v_loadu(p + q * LANES), least);
                VM rare = v_or(is_better(max, least, m), v_eq(v_loadu(seen + v * BB_W), K(0)));
                if (__builtin_expect(!v_any(rare), 1)) continue;
                if (t->lane_step) {
                    int64_t left = t->lanes - v * BB_W;
                    improve_row(max, p, left < BB_W ? left : BB_W, best, seen, index, t->first + v * BB_W);
                    continue;
                }
                improve(max, p + q0 * LANES, casts, best + v * BB_W, seen + v * BB_W, index + v * BB_W, t->first + q0);
            }
        }
    }
}

static void step_min(const bbi_fold_tile *t) { extreme(false, t); }
static void step_max(const bbi_fold_tile *t) { extreme(true, t); }

/* ---- K smallest ---- */
enum { PARTS = sizeof(int64_t) / sizeof(R) }; /* vectors that hold the indices of a vector of values: low, high */

BB_INLINE V load_index(const char *index, int64_t part, int64_t v) {
    return v_loadu((const R *)(const void *)(index + part * BBI_LANE_BYTES) + v * BB_W);
}

BB_INLINE void store_index(char *index, int64_t part, int64_t v, V a) {
    v_storeu((R *)(void *)(index + part * BBI_LANE_BYTES) + v * BB_W, a);
}

/* Each lane of `hit` inserts its x: what is not below it stays, what is moves down by one, the last falls
 * off. Equal values that are there already have smaller indices. Places without a value are NaN and count as
 * above everything. */
static void insert_sorted(char *cell, const bbi_kmin_cell *places, int64_t k, int64_t v, V x, VM hit, int64_t column) {
    V part[PARTS], carried = x;
    for (int64_t i = 0; i < PARTS; i++) part[i] = (V)v_splati((I)(column >> 32 * i)); /* bits of R's */
    for (int64_t n = 0; n < k; n++) {
        R *value = (R *)cell + n * LANES + v * BB_W;
        char *index = cell + places->index + n * 8 * LANES;
        const V there = v_loadu(value);
        const VM moves = v_and(hit, v_not(v_ge(x, there)));
        v_storeu(value, v_sel(moves, carried, there));
        carried = v_sel(moves, there, carried);
        for (int64_t i = 0; i < PARTS; i++) {
            const V old = load_index(index, i, v);
            store_index(index, i, v, v_sel(moves, part[i], old));
            part[i] = v_sel(moves, old, part[i]);
        }
    }
}

static void sorted_tile(const bbi_fold_tile *t, char *cell, const bbi_kmin_cell *places, const R *p, int64_t v,
                        int64_t q0, int64_t casts) {
    const int64_t k = t->folding->fold.k;
    const R *last = (R *)cell + (k - 1) * LANES + v * BB_W;
    for (int64_t q = q0; q < q0 + casts; q++) {
        const V x = v_loadu(p + q * LANES);
        const VM hit = v_and(v_eq(x, x), v_not(v_ge(x, v_loadu(last))));
        if (!v_any(hit)) continue;
        insert_sorted(cell, places, k, v, x, hit, t->first + q);
    }
}

static bool is_worse(R a, int64_t i, R b, int64_t j) { return a > b || (a == b && i > j); }

/* A heap with the worst at the top (Williams, 1964): grows at the end, then its top is replaced. */
static void insert_heap(R *value, int64_t *index, int64_t count, int64_t k, R x, int64_t i) {
    int64_t at = 0;
    if (count < k) {
        for (at = count; at > 0 && is_worse(x, i, value[(at - 1) / 2], index[(at - 1) / 2]); at = (at - 1) / 2) {
            value[at] = value[(at - 1) / 2];
            index[at] = index[(at - 1) / 2];
        }
    } else {
        for (int64_t child; (child = 2 * at + 1) < k; at = child) {
            if (child + 1 < k && is_worse(value[child + 1], index[child + 1], value[child], index[child])) child++;
            if (!is_worse(value[child], index[child], x, i)) break;
            value[at] = value[child];
            index[at] = index[child];
        }
    }
    value[at] = x;
    index[at] = i;
}

/* The limits of a vector are read once: to read them again after a lane has stored its new one would stall.
 * What passes an old limit is compared with the lane's own before it is inserted. */
static void heap_tile(const bbi_fold_tile *t, char *cell, const bbi_kmin_cell *places, const R *p, int64_t v,
                      int64_t q0, int64_t casts) {
    const int64_t k = t->folding->fold.k;
    int64_t *count = (int64_t *)(void *)(cell + places->count);
    R *limit = (R *)(cell + places->limit), *full = (R *)(cell + places->full);
    const V limits = v_loadu(limit + v * BB_W);
    const VM room = v_eq(v_loadu(full + v * BB_W), K(0));
    for (int64_t q = q0; q < q0 + casts; q++) {
        const V x = v_loadu(p + q * LANES);
        const VM passes = v_or(v_lt(x, limits), v_and(room, v_eq(x, x)));
        for (unsigned bits = lane_bits(passes); bits; bits &= bits - 1) {
            int64_t lane = v * BB_W + __builtin_ctz(bits);
            const R new = p[q * LANES + lane - v * BB_W];
            R *value = (R *)(cell + places->value) + lane * k;
            if (count[lane] == k && !(new < limit[lane])) continue;
            insert_heap(value, (int64_t *)(void *)(cell + places->index) + lane * k, count[lane], k, new, t->first + q);
            count[lane] += count[lane] < k;
            if (count[lane] < k) continue;
            limit[lane] = value[0];
            full[lane] = 1;
        }
    }
}

/* May the tile hold one of the K smallest of a lane? `least` is the tile's smallest number. */
BB_INLINE int is_rare(const char *cell, const bbi_kmin_cell *places, int64_t k, int64_t v, V least) {
    if (places->sorted) return v_any(v_not(v_ge(least, v_loadu((const R *)cell + (k - 1) * LANES + v * BB_W))));
    const V limit = v_loadu((const R *)(cell + places->limit) + v * BB_W);
    return v_any(v_or(v_lt(least, limit), v_eq(v_loadu((const R *)(cell + places->full) + v * BB_W), K(0))));
}

/* Below the last of a list of one row: place by place upwards, values without a number (NaN) first. */
static void insert_row(char *cell, const bbi_kmin_cell *places, int64_t k, R x, int64_t column) {
    R *value = (R *)cell;
    char *index = cell + places->index;
    const int64_t step = 8 * LANES;
    int64_t n = k - 1;
    for (; n > 0 && !(x >= value[(n - 1) * LANES]); n--) {
        value[n * LANES] = value[(n - 1) * LANES];
        for (int64_t i = 0; i < PARTS; i++) {
            R *part = (R *)(void *)(index + n * step + i * BBI_LANE_BYTES);
            __builtin_memcpy(part, (char *)part - step, sizeof(R));
        }
    }
    value[n * LANES] = x;
    for (int64_t i = 0; i < PARTS; i++) {
        const I part = (I)(column >> 32 * i);
        __builtin_memcpy(index + n * step + i * BBI_LANE_BYTES, &part, sizeof part);
    }
}

/* Where the lanes of a cell are columns of one row, the row has one list, in lane 0; the other lanes stay
 * empty. Lists of their own would each keep K of the few columns that they see. */
static void row_tile(const bbi_fold_tile *t, char *cell, const bbi_kmin_cell *places, const R *p, int64_t v) {
    const int64_t k = t->folding->fold.k, left = t->lanes - v * BB_W;
    const R *limit = places->sorted ? (const R *)cell + (k - 1) * LANES : (const R *)(cell + places->limit);
    int64_t *count = (int64_t *)(void *)(cell + places->count);
    const V x = v_loadu(p);
    unsigned bits = lane_bits(v_and(v_eq(x, x), v_not(v_ge(x, v_splat(*limit)))));
    if (!places->sorted && *count < k) bits = lane_bits(v_eq(x, x));
    if (left < BB_W) bits &= (1u << left) - 1;
    for (; bits; bits &= bits - 1) {
        const int lane = __builtin_ctz(bits);
        const int64_t column = t->first + v * BB_W + lane;
        const R new = p[lane];
        if (places->sorted) {
            if (!(new >= *limit)) insert_row(cell, places, k, new, column);
            continue;
        }
        if (*count == k && !(new < *limit)) continue;
        R *value = (R *)(cell + places->value);
        insert_heap(value, (int64_t *)(void *)(cell + places->index), *count, k, new, column);
        *count += *count < k;
        if (*count == k) *(R *)(cell + places->limit) = value[0];
    }
}

static void step_kmin(const bbi_fold_tile *t) {
    const bbi_kmin_cell places = bbi_kmin_places(t->folding);
    for (int64_t c = 0; c < t->folding->fold.dim; c++) {
        char *cell = t->cell + c * places.bytes;
        for (int64_t v = 0; v < vector_count(t); v++) {
            const R *p = component(t, c) + v * BB_W;
            if (t->lane_step) {
                row_tile(t, cell, &places, p, v);
                continue;
            }
            for (int64_t q0 = 0; q0 < t->casts; q0 += TILE) {
                int64_t casts = t->casts - q0 < TILE ? t->casts - q0 : TILE;
                V least = K(BB_INF);
                for (int64_t q = q0; q < q0 + casts; q++) least = v_minx(v_loadu(p + q * LANES), least);
                if (__builtin_expect(!is_rare(cell, &places, t->folding->fold.k, v, least), 1)) continue;
                (places.sorted ? sorted_tile : heap_tile)(t, cell, &places, p, v, q0, casts);
            }
        }
    }
}

/* ---- log-sum-exp ---- */
/* sum <- sum scale + terms, in R or in double */
static void rescale(const bbi_folding *f, char *sum, int64_t v, V scale, V terms) {
#if !BB_DOUBLE
    if (f->accumulate_double) {
        double *s = (double *)(void *)sum + v * BB_W;
        float a[BB_W], b[BB_W];
        v_storeu(a, scale);
        v_storeu(b, terms);
        for (int l = 0; l < BB_W; l++) s[l] = s[l] * (double)a[l] + (double)b[l];
        return;
    }
#endif
    (void)f;
    R *s = (R *)(void *)sum + v * BB_W;
    v_storeu(s, v_loadu(s) * scale + terms);
}

/* One vector of a tile: the maximum so far, one rescaling of the sums, then the exponentials of all casts.
 * The shift is the maximum; where that is -infinity it is 0, so that the exponentials are 0 and not NaN, and
 * where it is +infinity the values that reach it count 1 each.
 * With t = x - shift <= 0 the terms are 2^(t log2(e)), log2(e) = 0x1.71547652b82fep+0, and 0 below the normal
 * numbers. Constant and product round (u = 2^-24 or 2^-53): a term e^t changes by at most 2 |t| u relatively,
 * that is by 2 u / e of the largest term; the rounding of x alone may change it by as much. */
static void lse_tile(const bbi_fold_tile *t, int64_t v, int64_t q0, int64_t casts) {
    const R *p = component(t, 0) + v * BB_W + q0 * LANES;
    R *shift = (R *)(void *)t->cell + v * BB_W;
    const V old = v_loadu(shift);
    V m = old, other = old, e[LSE_TILE], s = K(0), rest = K(0);
    int64_t q = 0;
    for (; q + 2 <= casts; q += 2) {
        m = v_maxx(v_loadu(p + q * LANES), m);
        other = v_maxx(v_loadu(p + (q + 1) * LANES), other);
    }
    m = v_maxx(other, q < casts ? v_maxx(v_loadu(p + q * LANES), m) : m);
    v_storeu(shift, m);
    const V base = v_sel(v_eq(m, K(-BB_INF)), K(0), m), scale = v_sel(v_eq(old, m), K(1), v_exp(old - base));
    const VM top = v_eq(m, K(BB_INF));
    for (q = 0; q < casts; q++) e[q] = v_expk((v_loadu(p + q * LANES) - base) * K(0x1.71547652b82fep+0));
    for (q = 0; v_any(top) && q < casts; q++) {
        e[q] = v_sel(v_and(top, v_eq(v_loadu(p + q * LANES), m)), K(1), e[q]);
    }
    for (q = 0; q + 2 <= casts; q += 2) {
        s += e[q];
        rest += e[q + 1];
    }
    s += q < casts ? rest + e[q] : rest;
    char *sum = t->cell + BBI_LANE_BYTES;
    int64_t bytes = bbi_fold_sum_bytes(t->folding);
    rescale(t->folding, sum, v, scale, s);
    for (int64_t c = 1; c <= t->folding->fold.weight_dim; c++) {
        const R *w = component(t, c) + v * BB_W + q0 * LANES;
        s = K(0);
        for (q = 0; q < casts; q++) s = v_fma(e[q], v_loadu(w + q * LANES), s);
        rescale(t->folding, sum + c * bytes, v, scale, s);
    }
}

static void step_lse(const bbi_fold_tile *t) {
    for (int64_t v = 0; v < vector_count(t); v++) {
        for (int64_t q = 0; q < t->casts; q += LSE_TILE) {
            lse_tile(t, v, q, t->casts - q < LSE_TILE ? t->casts - q : LSE_TILE);
        }
    }
}

const bbi_fold_isa BBI_ISA_NAME(bbi_fold_isa, BB_ISA, BB_DOUBLE) = {.step = {
                                                                        [BBI_FAMILY_SUM] = step_sum,
                                                                        [BBI_FAMILY_PROD] = step_prod,
                                                                        [BBI_FAMILY_MIN] = step_min,
                                                                        [BBI_FAMILY_MAX] = step_max,
                                                                        [BBI_FAMILY_KMIN] = step_kmin,
                                                                        [BBI_FAMILY_LSE] = step_lse,
                                                                    }};
