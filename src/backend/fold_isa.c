/* fold_isa.c: tiles of values folded into the cells of sums, products and log-sum-exps, for one instruction set and
 * one real type.
 *
 * Values come as the pair code wrote them: lanes side by side, casts one lane block apart. Each function
 * takes vector after vector and walks down its casts with the state in registers. */
#include "fold.h"
#include "prelude/cpu.h"
#include "prelude/math.h"

#define LANES (BBI_LANE_BYTES / (int64_t)sizeof(R))
enum { LSE_CASTS = 128 }; /* whole groups, whose terms for two vectors fit into the first-level cache */

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

/* What a block of columns adds: the largest value so far, and sums of exp(f - base) (v_lse_base) that begin at 0. They
 * are made group after group, in the same order as by compiled kernels (BBI_SELECT_LSE). */
typedef struct lse_lane {
    V best, base, offset, sum;
} lse_lane;

/* What weighted sums are made of: terms, and the factors that groups multiply sums by, 1 as a rule. */
typedef struct lse_terms {
    V term[LSE_CASTS], factor[LSE_CASTS / BBI_GROUP_CASTS];
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

/* exp(base - best) for sums that go by the offset: where it is large, so is its rounding error, and the fma has it. */
BB_INLINE V lse_block_scale(V base, V best) {
    if (!BB_FMA) return lse_scale(base, best);
    const VM small = v_or(v_lt(v_abs(base), K(2)), v_lse_far(base));
    return v_sel(small, lse_scale(base, best), v_expk(v_fma(-best, BB_LOG2E, -v_lse_offset(base)), K(1)));
}

BB_INLINE lse_factors lse_merge(const bbi_fold_tile *t, int64_t v, V best, V base) {
    R *shift = (R *)(void *)t->cell + v * BB_W;
    const V old = v_loadu(shift);
    lse_factors f = {.state = K(1), .block = lse_block_scale(base, best)};
    if (v_any(v_ne(old, best))) f.state = lse_scale(old, best);
    v_storeu(shift, best);
    return f;
}

BB_INLINE void lse_add(const bbi_fold_tile *t, int64_t v, int64_t c, const lse_factors *f, V sum) {
    rescale(t->folding, t->cell + BBI_LANE_BYTES + c * bbi_fold_sum_bytes(t->folding), v, f->state, sum * f->block);
}

static R *lse_block(const bbi_fold_tile *t) { return bbi_lse_block(t->folding, t->cell); }

static void lse_open(const bbi_fold_tile *t) {
    R *at = lse_block(t);
    for (int64_t v = 0; v < vector_count(t); v++, at += BB_W) {
        const V best = v_loadu((const R *)(const void *)t->cell + v * BB_W);
        v_storeu(at, best);
        v_storeu(at + LANES, v_lse_base(best));
        for (int64_t c = 0; c <= t->folding->fold.weight_dim; c++) v_storeu(at + (2 + c) * LANES, K(0));
    }
}

static void lse_close(const bbi_fold_tile *t) {
    const R *at = lse_block(t);
    for (int64_t v = 0; v < vector_count(t); v++, at += BB_W) {
        const lse_factors f = lse_merge(t, v, v_loadu(at), v_loadu(at + LANES));
        for (int64_t c = 0; c <= t->folding->fold.weight_dim; c++) lse_add(t, v, c, &f, v_loadu(at + (2 + c) * LANES));
    }
}

BB_INLINE lse_lane load_lane(const R *block) {
    const V base = v_loadu(block + LANES);
    return (lse_lane){v_loadu(block), base, v_lse_offset(base), v_loadu(block + 2 * LANES)};
}

BB_INLINE void store_lane(R *block, lse_lane l) {
    v_storeu(block, l.best);
    v_storeu(block + LANES, l.base);
    v_storeu(block + 2 * LANES, l.sum);
}

BB_INLINE V move_lane(lse_lane *l) {
    const V factor = v_lse_move(l->best, l->base);
    l->base = v_sel(v_lse_moved(l->best, l->base), l->best, l->base);
    l->offset = v_lse_offset(l->base);
    l->sum *= factor;
    return factor;
}

BB_INLINE V lse_term(const lse_lane *l, V x, bool far) {
    return v_lse_term(__builtin_expect(far, 0) ? v_lse_near(x, l->base) : x, l->offset);
}

BB_INLINE bool any_far(const lse_lane *a, const lse_lane *b) {
    return v_any(v_or(v_lse_far(a->base), v_lse_far(b->base)));
}

/* The casts of a group for two vectors, so that the processor need not wait for one. `more`: of both, for weights.
 * Is a base far from 0? */
BB_INLINE bool lse_group(lse_lane *a, lse_lane *b, const R *x, const R *y, int64_t first, int64_t casts, bool far,
                         lse_terms *more) {
#pragma GCC unroll 8
    for (int64_t q = first; q < first + casts; q++) {
        a->best = v_maxx(v_loadu(x + q * LANES), a->best);
        b->best = v_maxx(v_loadu(y + q * LANES), b->best);
    }
    V to_a = K(1), to_b = K(1);
    if (__builtin_expect(v_any(v_or(v_lse_moved(a->best, a->base), v_lse_moved(b->best, b->base))), 0)) {
        to_a = move_lane(a), to_b = move_lane(b);
        far = any_far(a, b);
    }
    if (more) more[0].factor[first / BBI_GROUP_CASTS] = to_a, more[1].factor[first / BBI_GROUP_CASTS] = to_b;
#pragma GCC unroll 8
    for (int64_t q = first; q < first + casts; q++) {
        const V ea = lse_term(a, v_loadu(x + q * LANES), far), eb = lse_term(b, v_loadu(y + q * LANES), far);
        a->sum += ea;
        b->sum += eb;
        if (more) more[0].term[q] = ea, more[1].term[q] = eb;
    }
    return far;
}

/* The weights of a cast: of each lane, or one for all. */
BB_INLINE V weight_at(const R *w, int64_t q, bool cast) { return cast ? v_splat(w[q]) : v_loadu(w + q * LANES); }

/* Sums c and c + 1 (c alone where `both` is false) of two vectors: four chains, so that none is waited for. w: weights
 * of the first. */
BB_INLINE void weighted_sums(const bbi_fold_tile *t, R *block, const lse_terms *e, int64_t c, int64_t second,
                             const R *w, int64_t casts, bool both, bool cast) {
    const R *w1 = w + (cast ? 0 : second), *x = w + (cast ? t->weight_stride : t->component_step),
            *x1 = x + (cast ? 0 : second);
    R *a = block + (2 + c) * LANES, *b = a + (both ? LANES : 0);
    V a0 = v_loadu(a), a1 = v_loadu(a + second), b0 = v_loadu(b), b1 = v_loadu(b + second);
    for (int64_t first = 0; first < casts; first += BBI_GROUP_CASTS) {
        const int64_t end = casts - first < BBI_GROUP_CASTS ? casts : first + BBI_GROUP_CASTS;
        const V f0 = e[0].factor[first / BBI_GROUP_CASTS], f1 = e[1].factor[first / BBI_GROUP_CASTS];
        a0 *= f0, a1 *= f1;
        if (both) b0 *= f0, b1 *= f1;
        for (int64_t q = first; q < end; q++) {
            a0 = v_fma(e[0].term[q], weight_at(w, q, cast), a0);
            a1 = v_fma(e[1].term[q], weight_at(w1, q, cast), a1);
            if (both) {
                b0 = v_fma(e[0].term[q], weight_at(x, q, cast), b0);
                b1 = v_fma(e[1].term[q], weight_at(x1, q, cast), b1);
            }
        }
    }
    v_storeu(a, a0);
    v_storeu(a + second, a1);
    if (both) v_storeu(b, b0), v_storeu(b + second, b1);
}

BB_INLINE void all_weighted_sums(const bbi_fold_tile *t, R *block, const lse_terms *e, int64_t second, const R *w,
                                 int64_t step, int64_t casts, bool cast) {
    const int64_t weights = t->folding->fold.weight_dim;
    int64_t c = 1;
    for (; c + 1 <= weights; c += 2, w += 2 * step) weighted_sums(t, block, e, c, second, w, casts, true, cast);
    if (c <= weights) weighted_sums(t, block, e, c, second, w, casts, false, cast);
}

/* Vectors v and v + 1 (v alone where there is no other) of casts from q0 on, LSE_CASTS at most, added to a block. */
BB_INLINE void lse_vectors(const bbi_fold_tile *t, R *block, int64_t v, int64_t q0, int64_t casts, bool weighted) {
    const int64_t second = vector_count(t) - v > 1 ? BB_W : 0;
    const R *x = component(t, 0) + v * BB_W + q0 * LANES, *y = x + second;
    lse_terms terms[2], *more = weighted ? terms : 0;
    block += v * BB_W;
    lse_lane a = load_lane(block), b = load_lane(block + second);
    bool far = any_far(&a, &b);
    int64_t q = 0;
    for (; q + BBI_GROUP_CASTS <= casts; q += BBI_GROUP_CASTS)
        far = lse_group(&a, &b, x, y, q, BBI_GROUP_CASTS, far, more);
    if (q < casts) lse_group(&a, &b, x, y, q, casts - q, far, more);
    store_lane(block, a);
    if (second) store_lane(block + second, b);
    if (weighted && t->weight)
        all_weighted_sums(t, block, terms, second, (const R *)t->weight + q0, t->weight_stride, casts, true);
    else if (weighted)
        all_weighted_sums(t, block, terms, second, x + t->component_step, t->component_step, casts, false);
}

static void lse_step(const bbi_fold_tile *t) {
    R *block = lse_block(t);
    const bool weighted = t->folding->fold.weight_dim > 0;
    for (int64_t q = 0; q < t->casts; q += LSE_CASTS) {
        const int64_t casts = t->casts - q < LSE_CASTS ? t->casts - q : LSE_CASTS;
        for (int64_t v = 0; v < vector_count(t); v += 2) {
            if (weighted)
                lse_vectors(t, block, v, q, casts, true);
            else
                lse_vectors(t, block, v, q, casts, false);
        }
    }
}

/* A tile that is a block of its own. */
static void step_lse(const bbi_fold_tile *t) {
    lse_open(t);
    lse_step(t);
    lse_close(t);
}

const bbi_fold_isa BBI_ISA_NAME(bbi_fold_isa, BB_ISA, BB_DOUBLE) = {
    .step = {[BBI_FAMILY_SUM] = step_sum, [BBI_FAMILY_PROD] = step_prod, [BBI_FAMILY_LSE] = step_lse},
    .lse_open = lse_open,
    .lse_step = lse_step,
    .lse_close = lse_close,
};
