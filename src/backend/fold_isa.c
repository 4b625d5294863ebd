/* fold_isa.c: tiles of values folded into the cells of sums, products and log-sum-exps, for one instruction set and
 * one real type.
 *
 * Values come as the pair code wrote them: lanes side by side, casts one lane block apart. Each function
 * takes vector after vector and walks down its casts with the state in registers. */
#include "fold.h"
#include "prelude/cpu.h"
#include "prelude/math.h"

#define LANES (BBI_LANE_BYTES / (int64_t)sizeof(R))
enum { LSE_TILE = 64 }; /* casts between two rescalings; their exponentials fit into the first-level cache */

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
    for (q = 0; q < casts; q++) e[q] = v_expk(v_loadu(p + q * LANES) - base, K(0x1.71547652b82fep+0));
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
                                                                        [BBI_FAMILY_LSE] = step_lse,
                                                                    }};
