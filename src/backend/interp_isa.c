/* The interpreter's operations on tiles, for one instruction set and one real type.
 *
 * One function per MAP row of op.def, generated from the row's value text, so that interpreted and emitted
 * code perform the same operations. Each reads its operands through views; the few operations that fill inner
 * loops have variants with the splat flags known at compile time. Sums and chains keep their accumulators in
 * registers over the rows of a tile; every accumulator sees its terms in ascending order whatever the
 * blocking. */
#include "interp_isa.h"

/* ---- elementwise operations ------------------------------------------------------------------ */
/* s0 s1 s2: splat flags of the operands, constants or expressions. */
#define LOOP(arity, f, s0, s1, s2)                                                                                     \
    const char *p0 = view[0].at, *p1 = view[arity > 1].at, *p2 = view[arity > 2 ? 2 : 0].at;                           \
    const int64_t q0 = view[0].cast_step, q1 = view[arity > 1].cast_step, q2 = view[arity > 2 ? 2 : 0].cast_step;      \
    for (; rows > 0; rows--, p0 += q0, p1 += q1, p2 += q2) {                                                           \
        const V w0 = splat_at(p0), w1 = splat_at(p1), w2 = splat_at(p2);                                               \
        for (int64_t v = 0; v < vectors * BB_VB; v += BB_VB, result += BB_VB) {                                        \
            const V a = (s0) ? w0 : at(p0 + v);                                                                        \
            const V b = arity < 2 ? a : (s1) ? w1 : at(p1 + v);                                                        \
            const V c = arity < 3 ? a : (s2) ? w2 : at(p2 + v);                                                        \
            put(result, f(a, b, c));                                                                                   \
        }                                                                                                              \
    }

#define OP(id, alias, arity, nint, kind, ...) GENERATE_##kind(id, arity)
#define GENERATE_FOLD(...)
#define GENERATE_CONTRACT(...)
#define GENERATE_INDEX(...)
#define GENERATE_MACRO(...)
#define GENERATE_BUILD(...)
#define GENERATE_MAP(id, arity)                                                                                        \
    static void map_##id(char *result, const bbi_view *view, int64_t rows, int64_t vectors) {                          \
        LOOP(arity, f_##id, view[0].splat, view[1].splat, view[2].splat)                                               \
    }
#include "../expr/op.def"
#undef OP
#undef GENERATE_MAP

#define OP(id, alias, arity, nint, kind, flags, value, ...) [BBI_OP_##id] = LIST_##kind(id),
#define LIST_FOLD(id) NULL
#define LIST_CONTRACT(id) NULL
#define LIST_INDEX(id) NULL
#define LIST_MACRO(id) NULL
#define LIST_BUILD(id) NULL
#define LIST_MAP(id) map_##id
static bbi_map_function *const map[BBI_OP_COUNT] = {
#include "../expr/op.def"
};
#undef OP

/* ---- variants with known splat flags --------------------------------------------------------- */
#define VARIANT(arity, id, letters, s0, s1, s2)                                                                        \
    static void id##_##letters(char *result, const bbi_view *view, int64_t rows, int64_t vectors) {                    \
        LOOP(arity, f_##id, s0, s1, s2)                                                                                \
    }
#define BINARY(id) VARIANT(2, id, mm, 0, 0, 0) VARIANT(2, id, sm, 1, 0, 0) VARIANT(2, id, ms, 0, 1, 0)
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
VARIANT(3, fma, mmm, 0, 0, 0)
VARIANT(3, fma, smm, 1, 0, 0)
VARIANT(3, fma, msm, 0, 1, 0)
VARIANT(3, fma, mss, 0, 1, 1)
VARIANT(3, fnma, mmm, 0, 0, 0)
VARIANT(3, fnma, smm, 1, 0, 0)
VARIANT(3, fnma, msm, 0, 1, 0)

/* Exponentials of a product: four vectors at a time, their latencies overlap. */
#define EXPONENTIAL(letters, s0, s1)                                                                                   \
    static void expk_##letters(char *result, const bbi_view *view, int64_t rows, int64_t vectors) {                    \
        const char *p = view[0].at, *q = view[1].at;                                                                   \
        for (; rows > 0; rows--, p += view[0].cast_step, q += view[1].cast_step) {                                     \
            const V x = splat_at(p), y = splat_at(q);                                                                  \
            int64_t v = 0;                                                                                             \
            for (; v + 4 <= vectors; v += 4, result += 4 * BB_VB) {                                                    \
                V t[4];                                                                                                \
                UNROLL                                                                                                 \
                for (int k = 0; k < 4; k++) {                                                                          \
                    t[k] = v_expk(s0 ? x : at(p + (v + k) * BB_VB), s1 ? y : at(q + (v + k) * BB_VB));                 \
                }                                                                                                      \
                UNROLL                                                                                                 \
                for (int k = 0; k < 4; k++) put(result + k * BB_VB, t[k]);                                             \
            }                                                                                                          \
            for (; v < vectors; v++, result += BB_VB) {                                                                \
                put(result, v_expk(s0 ? x : at(p + v * BB_VB), s1 ? y : at(q + v * BB_VB)));                           \
            }                                                                                                          \
        }                                                                                                              \
    }
EXPONENTIAL(mm, 0, 0)
EXPONENTIAL(sm, 1, 0)
EXPONENTIAL(ms, 0, 1)

static bbi_map_function *special(int op, unsigned splats) {
#define CHOOSE(id)                                                                                                     \
    case BBI_OP_##id: return splats == 0 ? id##_mm : splats == 1 ? id##_sm : splats == 2 ? id##_ms : NULL;
    switch (op) {
        CHOOSE(add)
        CHOOSE(sub)
        CHOOSE(mul)
        CHOOSE(div)
        CHOOSE(expk)
    case BBI_OP_fma:
        return splats == 0 ? fma_mmm : splats == 1 ? fma_smm : splats == 2 ? fma_msm : splats == 6 ? fma_mss : NULL;
    case BBI_OP_fnma: return splats == 0 ? fnma_mmm : splats == 1 ? fnma_smm : splats == 2 ? fnma_msm : NULL;
    default: return NULL;
    }
#undef CHOOSE
}

static void copy(char *result, int64_t result_step, const bbi_view *view, int64_t rows, int64_t vectors) {
    const char *p = view->at;
    for (; rows > 0; rows--, p += view->cast_step, result += result_step) {
        const V s = splat_at(p);
        for (int64_t v = 0; v < vectors * BB_VB; v += BB_VB) {
            put(result + v, view->splat ? s : at(p + v));
        }
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */
/* GROUP vectors of one sum row, over all casts: independent chains that hide the latency of the fma. */
#define GROUP (BB_ISA == 2 ? 4 : 8)
BB_INLINE void sum_group(char *sum, const bbi_view *view, int narg, bool s0, bool s1, bool s2, int64_t rows,
                         int64_t first, int group) {
    V acc[GROUP];
    const bbi_view *v0 = &view[0], *v1 = &view[narg > 1], *v2 = &view[narg > 2 ? 2 : 0];
    const char *p = v0->at + (s0 ? 0 : first), *q = v1->at + (s1 ? 0 : first), *r = v2->at + (s2 ? 0 : first);
    UNROLL
    for (int g = 0; g < group; g++) acc[g] = at(sum + first + g * BB_VB);
    for (; rows > 0; rows--, p += v0->cast_step, q += v1->cast_step, r += v2->cast_step) {
        const V a = splat_at(p), b = splat_at(q), c = splat_at(r);
        UNROLL
        for (int g = 0; g < group; g++) {
            const V x = s0 ? a : at(p + g * BB_VB), y = narg < 2 ? x : s1 ? b : at(q + g * BB_VB);
            acc[g] = sum_term(narg, x, y, narg < 3 ? x : s2 ? c : at(r + g * BB_VB), acc[g]);
        }
    }
    UNROLL
    for (int g = 0; g < group; g++) put(sum + first + g * BB_VB, acc[g]);
}

BB_INLINE void sum_rows(char *sum, const bbi_view *view, int narg, bool s0, bool s1, bool s2, int64_t rows,
                        int64_t vectors) {
    int64_t v = 0;
    for (; v + GROUP <= vectors; v += GROUP) {
        sum_group(sum, view, narg, s0, s1, s2, rows, v * BB_VB, GROUP);
    }
    for (; v < vectors; v++) {
        sum_group(sum, view, narg, s0, s1, s2, rows, v * BB_VB, 1);
    }
}

/* Each cast has a sum of its own. */
static void sum_casts(char *sum, int64_t sum_step, const bbi_view *view, int narg, int64_t rows, int64_t vectors) {
    const bbi_view *v0 = &view[0], *v1 = &view[narg > 1], *v2 = &view[narg > 2 ? 2 : 0];
    const char *p = v0->at, *q = v1->at, *r = v2->at;
    for (; rows > 0; rows--, sum += sum_step, p += v0->cast_step, q += v1->cast_step, r += v2->cast_step) {
        const V a = splat_at(p), b = splat_at(q), c = splat_at(r);
        for (int64_t v = 0; v < vectors * BB_VB; v += BB_VB) {
            const V x = v0->splat ? a : at(p + v), y = v1->splat ? b : at(q + v), z = v2->splat ? c : at(r + v);
            put(sum + v, sum_term(narg, x, y, z, at(sum + v)));
        }
    }
}

static void sum(char *area, int64_t sum_step, const bbi_view *view, int narg, int64_t rows, int64_t vectors) {
    const int splats = view[0].splat | (narg > 1 && view[1].splat) << 1 | (narg > 2 && view[2].splat) << 2;
    if (sum_step != 0) {
        sum_casts(area, sum_step, view, narg, rows, vectors);
        return;
    }
    switch (narg << 3 | splats) {
    case 1 << 3 | 0: sum_rows(area, view, 1, 0, 0, 0, rows, vectors); break;
    case 1 << 3 | 1: sum_rows(area, view, 1, 1, 1, 1, rows, vectors); break;
    case 2 << 3 | 0: sum_rows(area, view, 2, 0, 0, 0, rows, vectors); break;
    case 2 << 3 | 1: sum_rows(area, (const bbi_view[2]){view[1], view[0]}, 2, 0, 1, 1, rows, vectors); break;
    case 2 << 3 | 2: sum_rows(area, view, 2, 0, 1, 1, rows, vectors); break;
    case 2 << 3 | 3: sum_rows(area, view, 2, 1, 1, 1, rows, vectors); break;
    case 3 << 3 | 2: sum_rows(area, view, 3, 0, 1, 0, rows, vectors); break;
    default: sum_rows(area, view, 3, 0, 0, 1, rows, vectors); break;
    }
}

/* Wide sums: a block of components by a block of vectors, so that one load of the tile feeds up to BBI_WIDE
 * multiplications. */
#define WIDE_GROUP (BB_ISA == 2 ? 4 : 2)
BB_INLINE void wide_group(const bbi_wide *wide, int kind, int count, int64_t rows, int64_t first, int group) {
    V acc[BBI_WIDE][WIDE_GROUP];
    const char *p = wide->tile + first, *cast[BBI_WIDE];
    UNROLL
    for (int e = 0; e < count; e++) {
        cast[e] = wide->cast[e];
        UNROLL
        for (int g = 0; g < group; g++) acc[e][g] = at(wide->sum[e] + first + g * BB_VB);
    }
    for (int64_t r = 0; r < rows; r++, p += wide->tile_step) {
        V x[WIDE_GROUP];
        UNROLL
        for (int g = 0; g < group; g++) x[g] = at(p + g * BB_VB);
        UNROLL
        for (int e = 0; e < count; e++) {
            const V w = splat_at(cast[e] + r * wide->cast_step);
            UNROLL
            for (int g = 0; g < group; g++) {
                const V l = kind == BBI_WIDE_CAST ? w : at(wide->lane[e] + first + g * BB_VB);
                acc[e][g] = sum_term(kind == BBI_WIDE_CAST ? 2 : 3, x[g], kind == BBI_WIDE_LANE_CAST ? l : w,
                                     kind == BBI_WIDE_LANE_CAST ? w : l, acc[e][g]);
            }
        }
    }
    UNROLL
    for (int e = 0; e < count; e++) {
        UNROLL
        for (int g = 0; g < group; g++) put(wide->sum[e] + first + g * BB_VB, acc[e][g]);
    }
}

BB_INLINE void wide_rows(const bbi_wide *wide, int kind, int count, int64_t rows, int64_t vectors) {
    int64_t v = 0;
    for (; v + WIDE_GROUP <= vectors; v += WIDE_GROUP) {
        wide_group(wide, kind, count, rows, v * BB_VB, WIDE_GROUP);
    }
    for (; v < vectors; v++) {
        wide_group(wide, kind, count, rows, v * BB_VB, 1);
    }
}

#define WIDE_KIND(name, kind)                                                                                          \
    static void name(const bbi_wide *wide, int64_t rows, int64_t vectors) {                                            \
        switch (wide->count) {                                                                                         \
        case 1: wide_rows(wide, kind, 1, rows, vectors); break;                                                        \
        case 2: wide_rows(wide, kind, 2, rows, vectors); break;                                                        \
        case 3: wide_rows(wide, kind, 3, rows, vectors); break;                                                        \
        default: wide_rows(wide, kind, BBI_WIDE, rows, vectors); break;                                                \
        }                                                                                                              \
    }
WIDE_KIND(wide_cast, BBI_WIDE_CAST)
WIDE_KIND(wide_lane_cast, BBI_WIDE_LANE_CAST)
WIDE_KIND(wide_cast_lane, BBI_WIDE_CAST_LANE)

/* ---- mirror sums ----------------------------------------------------------------------------- */
BB_INLINE void mirror_rows(char *area, const bbi_view *view, int narg, bool s0, bool s1, int64_t rows,
                           int64_t vectors) {
    const bbi_view *v0 = &view[0], *v1 = &view[narg > 1];
    const char *p = v0->at, *q = v1->at;
    for (; rows > 0; rows--, area += BB_VB, p += v0->cast_step, q += v1->cast_step) {
        const V a = splat_at(p), b = splat_at(q);
        V acc = at(area);
        for (int64_t v = 0; v < vectors * BB_VB; v += BB_VB) {
            const V x = s0 ? a : at(p + v), y = s1 ? b : at(q + v);
            acc = sum_term(narg, x, y, y, acc);
        }
        put(area, acc);
    }
}

static void mirror(char *area, const bbi_view *view, int narg, int64_t rows, int64_t vectors) {
    const bool s0 = view[0].splat, s1 = narg > 1 && view[1].splat;
    if (narg == 2 && !s0 && !s1) {
        mirror_rows(area, view, 2, 0, 0, rows, vectors);
    } else if (narg == 1 && !s0) {
        mirror_rows(area, view, 1, 0, 0, rows, vectors);
    } else {
        mirror_rows(area, view, narg, s0, s1, rows, vectors);
    }
}

/* The lower half of the lanes plus the upper one, down to the 16 bytes that every level has, and to one lane. */
typedef R sixteen __attribute__((vector_size(16)));
typedef R sixteen_at __attribute__((vector_size(16), aligned(sizeof(R)), may_alias));

BB_INLINE sixteen lanes_16(const R *p) { return *(const sixteen_at *)p; }

static void lane_sums(char *result, const char *source, int64_t count, bool negative) {
    enum { Q = 16 / sizeof(R) };
    for (int64_t k = 0; k < count; k++, source += BB_VB, result += sizeof(R)) {
        const R *p = (const R *)source;
#if BB_VB == 64
        const sixteen s = (lanes_16(p) + lanes_16(p + 2 * Q)) + (lanes_16(p + Q) + lanes_16(p + 3 * Q));
#elif BB_VB == 32
        const sixteen s = lanes_16(p) + lanes_16(p + Q);
#else
        const sixteen s = lanes_16(p);
#endif
#if BB_DOUBLE
        const R sum = s[0] + s[1];
#else
        const R sum = (s[0] + s[2]) + (s[1] + s[3]);
#endif
        *(R *)result = negative ? -sum : sum;
    }
}

/* ---- chains: squared distances and scalar products ------------------------------------------- */
/* CHAIN_VECTORS x CHAIN_CASTS accumulators, as many as there are registers for beside the operands: a load of the
 * lanes serves all casts, a splat of the cast all vectors. */
enum { CHAIN_VECTORS = BB_ISA == 2 ? 4 : 2, CHAIN_CASTS = 6 };

BB_INLINE void chain_block(char *result, const bbi_chain *chain, bool square, int64_t row, int64_t first,
                           int64_t vectors, int casts, int group) {
    V acc[CHAIN_CASTS][CHAIN_VECTORS];
    const int64_t v = first * BB_VB, step = chain->cast_step;
    int64_t d = !chain->has_initial;
    UNROLL
    for (int j = 0; d == 0 && j < casts; j++) {
        const char *p = chain->initial.at + (row + j) * chain->initial.cast_step;
        UNROLL
        for (int g = 0; g < group; g++) acc[j][g] = chain->initial.splat ? splat_at(p) : at(p + v + g * BB_VB);
    }
    if (d > 0) {
        const char *x = chain->lane[0] + v, *y = chain->cast[0] + row * step;
        UNROLL
        for (int j = 0; j < casts; j++) {
            UNROLL
            for (int g = 0; g < group; g++)
                acc[j][g] = chain_term(at(x + g * BB_VB), splat_at(y + j * step), square, 0, K(0));
        }
    }
    for (; d < chain->count; d++) {
        const char *x = chain->lane[d] + v, *y = chain->cast[d] + row * step;
        V lane[CHAIN_VECTORS];
        UNROLL
        for (int g = 0; g < group; g++) lane[g] = at(x + g * BB_VB);
        UNROLL
        for (int j = 0; j < casts; j++) {
            const V w = splat_at(y + j * step);
            UNROLL
            for (int g = 0; g < group; g++) acc[j][g] = chain_term(lane[g], w, square, 1, acc[j][g]);
        }
    }
    UNROLL
    for (int j = 0; j < casts; j++) {
        UNROLL
        for (int g = 0; g < group; g++) put(result + ((row + j) * vectors + g) * BB_VB + v, acc[j][g]);
    }
}

BB_INLINE void chain_rows(char *result, const bbi_chain *chain, bool square, int64_t rows, int64_t vectors) {
    int64_t v = 0;
    for (; v + CHAIN_VECTORS <= vectors; v += CHAIN_VECTORS) {
        int64_t r = 0;
        for (; r + CHAIN_CASTS <= rows; r += CHAIN_CASTS) {
            chain_block(result, chain, square, r, v, vectors, CHAIN_CASTS, CHAIN_VECTORS);
        }
        for (; r + 2 <= rows; r += 2) chain_block(result, chain, square, r, v, vectors, 2, CHAIN_VECTORS);
        for (; r < rows; r++) chain_block(result, chain, square, r, v, vectors, 1, CHAIN_VECTORS);
    }
    for (; v < vectors; v++) {
        for (int64_t r = 0; r < rows; r++) chain_block(result, chain, square, r, v, vectors, 1, 1);
    }
}

/* Both sides vary with the lanes: pair lists. */
static void chain_pairs(char *result, const bbi_chain *chain, int64_t bytes) {
    for (int64_t v = 0; v < bytes; v += BB_VB) {
        V acc = K(0);
        if (chain->has_initial) {
            acc = chain->initial.splat ? splat_at(chain->initial.at) : at(chain->initial.at + v);
        }
        for (int64_t d = 0; d < chain->count; d++) {
            acc = chain_term(at(chain->lane[d] + v), at(chain->cast[d] + v), chain->square, d > 0 || chain->has_initial,
                             acc);
        }
        put(result + v, acc);
    }
}

static void chain(char *result, const bbi_chain *c, int64_t rows, int64_t vectors) {
    if (c->cast_step == 0) {
        chain_pairs(result, c, rows * vectors * BB_VB);
    } else if (c->square) {
        chain_rows(result, c, 1, rows, vectors);
    } else {
        chain_rows(result, c, 0, rows, vectors);
    }
}

const bbi_interp_isa BBI_ISA_NAME(bbi_interp_isa, BB_ISA, BB_DOUBLE) = {
    .vector_bytes = BB_VB,
    .real_bytes = sizeof(R),
    .map = map,
    .special = special,
    .copy = copy,
    .sum = sum,
    .sum_wide = {wide_cast, wide_lane_cast, wide_cast_lane},
    .chain = chain,
    .mirror = mirror,
    .lane_sums = lane_sums,
};
