/* What the hand-written kernels share: vectors of VB bytes, 2^t, packed points, rows in lanes.
 *
 * These kernels are what somebody writes who has one formula, one machine and much time; the generator is measured
 * against them. Everything is fixed at compile time: REAL type (DOUBLE), D, E, VB and the shape of the register tile
 * (NI vectors of rows x NJ columns). cc -O3 -march=native -fopenmp. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef VB
#define VB 32
#endif
#ifndef D
#define D 3
#endif
#ifndef E
#define E 1
#endif
#ifndef NI
#define NI 2
#endif
#ifndef NJ
#define NJ 4
#endif
#ifndef EXPANDED
#define EXPANDED 0 /* |x|^2 + |y|^2 - 2 <x, y> on centred points, else differences */
#endif
#ifdef DOUBLE
typedef double R;
typedef int64_t I;
#define MANTISSA 52
#define BIAS 1023
#define MAGIC 0x1.8p52
#define F(name) name##_pd
#else
typedef float R;
typedef int32_t I;
#define MANTISSA 23
#define BIAS 127
#define MAGIC 0x1.8p23f
#define F(name) name##_ps
#endif
#define W ((int)(VB / sizeof(R)))
#define TI (NI * W) /* rows of a tile */
#define DX (D + EXPANDED)
typedef R V __attribute__((vector_size(VB)));
typedef I VI __attribute__((vector_size(VB)));
#define UNROLL _Pragma("GCC unroll 64")
#define INLINE static inline __attribute__((always_inline))

INLINE V splat(R x) { return x - (V){0}; }
#if VB == 64
INLINE V vmax(V a, V b) { return F(_mm512_max)(a, b); }
INLINE V vmin(V a, V b) { return F(_mm512_min)(a, b); }
INLINE int some_less(V a, V b) {
#ifdef DOUBLE
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
#else
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
#endif
}
#else
INLINE V vmax(V a, V b) { return F(_mm256_max)(a, b); }
INLINE V vmin(V a, V b) { return F(_mm256_min)(a, b); }
INLINE int some_less(V a, V b) { return F(_mm256_movemask)((V)(a < b)); }
#endif

/* Minimax polynomials of 2^f on [-1/2, 1/2] with p(0) = 1, 1.5 ulp. */
#ifdef DOUBLE
#define DEGREE 11
static const R exp2_c[] = {0x1.0p+0,
                           0x1.62e42fefa39efp-1,
                           0x1.ebfbdff82c5b3p-3,
                           0x1.c6b08d704a26fp-5,
                           0x1.3b2ab6fb9da48p-7,
                           0x1.5d87fe7845d65p-10,
                           0x1.43091316b5598p-13,
                           0x1.ffcbfe60d4b06p-17,
                           0x1.62bfb3a884fa7p-20,
                           0x1.b5209d3467848p-24,
                           0x1.e63e2c7b018efp-28,
                           0x1.f0a76b5700c41p-32};
#else
#define DEGREE 6
static const R exp2_c[] = {0x1.0p+0f,      0x1.62e43p-1f,  0x1.ebfb94p-3f, 0x1.c6af9ep-5f,
                           0x1.3b6812p-7f, 0x1.5ef4ep-10f, 0x1.17a054p-13f};
#endif

/* t[k] = 2^t[k] of n vectors, one step of all before the next: 0 far below, infinity far above, NaN kept. */
INLINE void exp2_all(V *restrict t, const int n) {
    V p[32], k[32];
#if VB == 64
    UNROLL for (int i = 0; i < n; i++) k[i] = F(_mm512_roundscale)(t[i], 8);
    UNROLL for (int i = 0; i < n; i++) p[i] = t[i] - k[i];
#else
    UNROLL for (int i = 0; i < n; i++) t[i] = vmin(splat(BIAS + 1), vmax(splat(1 - BIAS), t[i]));
    UNROLL for (int i = 0; i < n; i++) k[i] = t[i] + (R)(MAGIC + BIAS - 1);
    UNROLL for (int i = 0; i < n; i++) p[i] = t[i] - (k[i] - (R)(MAGIC + BIAS - 1));
#endif
    V f[32];
    UNROLL for (int i = 0; i < n; i++) f[i] = p[i], p[i] = f[i] * exp2_c[DEGREE] + exp2_c[DEGREE - 1];
    UNROLL for (int c = DEGREE - 2; c >= 0; c--) { UNROLL for (int i = 0; i < n; i++) p[i] = p[i] * f[i] + exp2_c[c]; }
#if VB == 64
    UNROLL for (int i = 0; i < n; i++) {
#ifdef DOUBLE
        t[i] = _mm512_maskz_scalef_pd(_mm512_cmp_pd_mask(t[i], splat(1 - BIAS), _CMP_NLT_UQ), p[i], k[i]);
#else
        t[i] = _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(t[i], splat(1 - BIAS), _CMP_NLT_UQ), p[i], k[i]);
#endif
    }
#else
    UNROLL for (int i = 0; i < n; i++) t[i] = (p[i] + p[i]) * (V)((VI)k[i] << MANTISSA);
#endif
}

/* Packed points. rows: [tile][DX][TI], columns: [j][DX]. With EXPANDED the exponent -|x - y|^2 is
 * row_D + column_D + sum_d row_d column_d, else - sum_d (row_d - column_d)^2. The scale is folded in. */
typedef struct packed {
    R *x, *y;
    int64_t tiles, columns;
} packed;

static R *new_array(size_t count) { return aligned_alloc(64, (count * sizeof(R) + 64 + 63) & ~(size_t)63); }

static void pack(packed *p, int64_t M, int64_t N, const R *x, const R *y, double scale) {
    p->tiles = (M + TI - 1) / TI;
    p->columns = (N + 63) / 64 * 64; /* the last column again */
    p->x = new_array((size_t)(p->tiles * TI * DX));
    p->y = new_array((size_t)(p->columns * DX));
    R centre[D];
    for (int d = 0; d < D; d++) {
        double sum = 0;
        for (int64_t j = 0; j < N; j++) sum += EXPANDED ? (double)y[j * D + d] : 0;
        centre[d] = (R)(sum / (double)N);
    }
    R root = (R)sqrt(scale);
#pragma omp parallel for
    for (int64_t t = 0; t < p->tiles; t++) {
        for (int l = 0; l < TI; l++) {
            int64_t i = t * TI + l < M ? t * TI + l : M - 1;
            double norm = 0;
            R *out = p->x + t * TI * DX + l;
            for (int d = 0; d < D; d++) {
                R v = (x[i * D + d] - centre[d]) * root;
                norm += (double)v * (double)v;
                out[d * TI] = v;
            }
            if (EXPANDED) out[D * TI] = (R)-norm;
        }
    }
#pragma omp parallel for
    for (int64_t j = 0; j < p->columns; j++) {
        double norm = 0;
        R *out = p->y + j * DX;
        for (int d = 0; d < D; d++) {
            R v = (y[(j < N ? j : N - 1) * D + d] - centre[d]) * root;
            norm += (double)v * (double)v;
            out[d] = EXPANDED ? 2 * v : v;
        }
        if (EXPANDED) out[D] = (R)-norm;
    }
}

static void unpack(packed *p) {
    free(p->x);
    free(p->y);
}

/* s[q NI + a] = -|x - y|^2 (scaled) of NI vectors of rows and n columns from y on. */
INLINE void exponents(const R *x, const R *y, V *s, const int n) {
#if EXPANDED
    UNROLL for (int q = 0; q < n; q++) {
        UNROLL for (int a = 0; a < NI; a++) s[q * NI + a] = *(const V *)(x + D * TI + a * W) + y[q * DX + D];
    }
#pragma GCC unroll 2
    for (int d = 0; d < D; d++) {
        V xx[NI];
        UNROLL for (int a = 0; a < NI; a++) xx[a] = *(const V *)(x + d * TI + a * W);
        UNROLL for (int q = 0; q < n; q++) {
            V yy = splat(y[q * DX + d]);
            UNROLL for (int a = 0; a < NI; a++) s[q * NI + a] += xx[a] * yy;
        }
    }
#else
    UNROLL for (int d = 0; d < D; d++) {
        UNROLL for (int q = 0; q < n; q++) {
            UNROLL for (int a = 0; a < NI; a++) {
                V t = *(const V *)(x + d * TI + a * W) - y[q * DX + d];
                s[q * NI + a] = d == 0 ? -(t * t) : s[q * NI + a] - t * t;
            }
        }
    }
#endif
}
