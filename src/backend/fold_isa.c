/* fold_isa.c: tiles of values folded into the cells of sums, products and log-sum-exps, for one instruction set and
 * one real type.
 *
 * Values come as the pair code wrote them: lanes side by side, casts one lane block apart. Each function
 * takes vector after vector and walks down its casts with the state in registers. */
#include "fold.h"
#include "prelude/cpu.h"
#include "prelude/math.h"

#define LANES (BBI_LANE_BYTES / (int64_t)sizeof(R))

static int64_t vector_count(const bbi_fold_tile *t) { return (t->lanes + BB_W - 1) / BB_W; }

static const R *component(const bbi_fold_tile *t, int64_t c) { return (const R *)t->values + c * t->component_step; }

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

/* ---- log-sum-exp ---- */
/* sum <- sum scale + terms, in R or in double */
BB_INLINE void rescale(const bbi_folding *f, char *sum, int64_t v, V scale, V terms) {
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

/* What a block of casts adds: the largest value so far, and sums of exp(f - base) (v_lse_base) that begin at 0. They are
 * made group after group in the same order by compiled kernels (BBI_SELECT_LSE). Where the largest value is +infinity,
 * base is, and the values that reach it count 1 each. */
typedef struct lse_lane {
    V best, base, sum;
} lse_lane;

/* What weighted sums are made of: terms, and the factors that groups multiply sums by, 1 as a rule. */
typedef struct lse_terms {
    V term[BBI_LSE_CASTS], factor[BBI_LSE_CASTS / BBI_GROUP_CASTS];
} lse_terms;

/* Of the state, whose sums belong to the old maximum, and of the block, whose sums belong to the base. */
typedef struct lse_factors {
    V state, block;
} lse_factors;

/* exp(from - to); equal infinities differ by nothing, and below -infinity there is no sum. */
BB_INLINE V lse_scale(V from, V to) {
    const VM same = v_or(v_eq(from, to), v_eq(to, K(-BB_INF)));
    return v_sel(same, K(1), v_exp(from - to));
}

BB_INLINE lse_factors lse_merge(const bbi_fold_tile *t, int64_t v, V best, V base) {
    R *shift = (R *)(void *)t->cell + v * BB_W;
    const V old = v_loadu(shift);
    lse_factors f = {.state = K(1), .block = K(1)};
    if (v_any(v_ne(old, best))) f.state = lse_scale(old, best);
    if (v_any(v_ne(base, best))) f.block = lse_scale(base, best);
    v_storeu(shift, best);
    return f;
}

BB_INLINE void lse_add(const bbi_fold_tile *t, int64_t v, int64_t c, const lse_factors *f, V sum) {
    rescale(t->folding, t->cell + BBI_LANE_BYTES + c * bbi_fold_sum_bytes(t->folding), v, f->state, sum * f->block);
}

/* Blocks as kernels leave them. */
static void take_lse(const bbi_fold_tile *t) {
    const R *block = t->values;
    for (int64_t v = 0; v < vector_count(t); v++) {
        const R *at = block + v * BB_W;
        const lse_factors f = lse_merge(t, v, v_loadu(at), v_loadu(at + LANES));
        for (int64_t c = 0; c <= t->folding->fold.weight_dim; c++) lse_add(t, v, c, &f, v_loadu(at + (2 + c) * LANES));
    }
}

BB_INLINE V lse_term(const lse_lane *l, V x, bool infinite) {
    const V term = v_lse_term(x, l->base);
    if (__builtin_expect(!infinite, 1)) return term;
    return v_sel(v_and(v_eq(x, K(BB_INF)), v_eq(l->base, K(BB_INF))), K(1), term);
}

/* The casts of a group for two vectors, so that the processor need not wait for one. `more`: of both, for weights.
 * Is a base infinite? */
BB_INLINE bool lse_group(lse_lane *a, lse_lane *b, const R *x, const R *y, int64_t first, int64_t casts, bool infinite,
                         lse_terms *more) {
#pragma GCC unroll 8
    for (int64_t q = first; q < first + casts; q++) {
        a->best = v_maxx(v_loadu(x + q * LANES), a->best);
        b->best = v_maxx(v_loadu(y + q * LANES), b->best);
    }
    V to_a = K(1), to_b = K(1);
    if (__builtin_expect(v_any(v_or(v_lse_moved(a->best, a->base), v_lse_moved(b->best, b->base))), 0)) {
        to_a = v_lse_move(a->best, a->base), to_b = v_lse_move(b->best, b->base);
        a->base = v_lse_next(a->best, a->base), b->base = v_lse_next(b->best, b->base);
        a->sum *= to_a;
        b->sum *= to_b;
        infinite = v_any(v_or(v_eq(a->base, K(BB_INF)), v_eq(b->base, K(BB_INF))));
    }
    if (more) more[0].factor[first / BBI_GROUP_CASTS] = to_a, more[1].factor[first / BBI_GROUP_CASTS] = to_b;
#pragma GCC unroll 8
    for (int64_t q = first; q < first + casts; q++) {
        const V ea = lse_term(a, v_loadu(x + q * LANES), infinite), eb = lse_term(b, v_loadu(y + q * LANES), infinite);
        a->sum += ea;
        b->sum += eb;
        if (more) more[0].term[q] = ea, more[1].term[q] = eb;
    }
    return infinite;
}

BB_INLINE V weighted_sum(const lse_terms *e, const R *w, int64_t casts) {
    V s = K(0);
    for (int64_t first = 0; first < casts; first += BBI_GROUP_CASTS) {
        const int64_t end = casts - first < BBI_GROUP_CASTS ? casts : first + BBI_GROUP_CASTS;
        s *= e->factor[first / BBI_GROUP_CASTS];
        for (int64_t q = first; q < end; q++) s = v_fma(e->term[q], v_loadu(w + q * LANES), s);
    }
    return s;
}

BB_INLINE lse_lane open_lse(const R *shift) {
    const V best = v_loadu(shift);
    return (lse_lane){best, v_lse_base(best), K(0)};
}

BB_INLINE void close_lse(const bbi_fold_tile *t, int64_t v, lse_lane l, const lse_terms *more, const R *weights,
                         int64_t casts) {
    const lse_factors f = lse_merge(t, v, l.best, l.base);
    lse_add(t, v, 0, &f, l.sum);
    for (int64_t c = 1; more && c <= t->folding->fold.weight_dim; c++)
        lse_add(t, v, c, &f, weighted_sum(more, weights + c * t->component_step, casts));
}

/* Vectors v and v + 1 (v alone where there is no other) of casts from q0 on, BBI_LSE_CASTS at most. */
BB_INLINE void lse_block(const bbi_fold_tile *t, int64_t v, int64_t q0, int64_t casts, bool weighted) {
    const int64_t second = vector_count(t) - v > 1 ? BB_W : 0;
    const R *x = component(t, 0) + v * BB_W + q0 * LANES, *y = x + second;
    const R *shift = (const R *)(const void *)t->cell + v * BB_W;
    lse_terms terms[2], *more = weighted ? terms : 0;
    lse_lane a = open_lse(shift), b = open_lse(shift + second);
    bool infinite = v_any(v_or(v_eq(a.base, K(BB_INF)), v_eq(b.base, K(BB_INF))));
    int64_t q = 0;
    for (; q + BBI_GROUP_CASTS <= casts; q += BBI_GROUP_CASTS)
        infinite = lse_group(&a, &b, x, y, q, BBI_GROUP_CASTS, infinite, more);
    if (q < casts) lse_group(&a, &b, x, y, q, casts - q, infinite, more);
    close_lse(t, v, a, more, x, casts);
    if (second) close_lse(t, v + 1, b, weighted ? terms + 1 : 0, y, casts);
}

static void step_lse(const bbi_fold_tile *t) {
    const bool weighted = t->folding->fold.weight_dim > 0;
    for (int64_t q = 0; q < t->casts; q += BBI_LSE_CASTS) {
        const int64_t casts = t->casts - q < BBI_LSE_CASTS ? t->casts - q : BBI_LSE_CASTS;
        for (int64_t v = 0; v < vector_count(t); v += 2) {
            if (weighted)
                lse_block(t, v, q, casts, true);
            else
                lse_block(t, v, q, casts, false);
        }
    }
}

const bbi_fold_isa BBI_ISA_NAME(bbi_fold_isa, BB_ISA, BB_DOUBLE) = {.step =
                                                                        {
                                                                            [BBI_FAMILY_SUM] = step_sum,
                                                                            [BBI_FAMILY_PROD] = step_prod,
                                                                            [BBI_FAMILY_LSE] = step_lse,
                                                                        },
                                                                    .take_lse = take_lse};
