/* The vocabulary of the CPU kernels: one vector type and its elementary operations.
 *
 * This text is compiled twice: library sources include it once per instruction set, and every emitted kernel
 * begins with it. It therefore includes nothing, defines only inline functions, and calls nothing that could
 * leave an undefined symbol. Two macros choose what it means:
 *
 *   BB_DOUBLE  0 float, 1 double
 *   BB_ISA     0 the baseline (SSE2, NEON, or plain C elsewhere), 1 AVX2 with FMA, 2 AVX-512 (F, DQ, BW, VL)
 *
 * The same instruction set gives the same bits with every compiler and at every optimisation level, provided
 * that contraction is off (-ffp-contract=off). Where there is no fused multiply-add (BB_FMA 0: x86 baseline),
 * v_fma is a multiplication followed by an addition. Vectors have +, -, *, / and unary minus. */
#ifndef BB_PRELUDE_CPU_H
#define BB_PRELUDE_CPU_H

#ifndef BB_ISA
#define BB_ISA 0
#endif
#define BB_INLINE static inline __attribute__((always_inline, unused))

/* BB_VB: bytes of a vector; BB_W: its lanes; BB_MB: stored bits of a significand; BB_EB: exponent bias */
#define BB_VB (BB_ISA == 2 ? 64 : BB_ISA == 1 ? 32 : 16)
#if BB_DOUBLE
typedef double R;
typedef long long I;
typedef unsigned long long U;
#define BB_MB 52
#define BB_EB 1023
#define BB_W (BB_VB / 8)
#else
typedef float R;
typedef int I;
typedef unsigned U;
#define BB_MB 23
#define BB_EB 127
#define BB_W (BB_VB / 4)
#endif
typedef R V __attribute__((vector_size(BB_VB)));
typedef I VI __attribute__((vector_size(BB_VB)));
typedef U VU __attribute__((vector_size(BB_VB)));
typedef R bb_unaligned __attribute__((vector_size(BB_VB), aligned(sizeof(R)), may_alias));
typedef R bb_aligned __attribute__((vector_size(BB_VB), may_alias));
#if BB_ISA == 2 && BB_DOUBLE
typedef unsigned char VM;
#elif BB_ISA == 2
typedef unsigned short VM;
#else
typedef VI VM; /* lanes of 0 or -1 */
#endif

/* into the first-level cache; into the second */
#define BB_FETCH_NEAR(address) __builtin_prefetch(address, 0, 3)
#define BB_FETCH_FAR(address) __builtin_prefetch(address, 0, 2)
/* K(0.5) is a vector of R's, whatever the type of the literal: an expression never becomes double by
 * accident. Splats subtract zero, because adding it would turn -0 into +0. */
#define K(x) v_splat((R)(x))
BB_INLINE V v_splat(R r) { return r - (V){0}; }
BB_INLINE VI v_splati(I i) { return i - (VI){0}; }
BB_INLINE V v_load(const R *p) { return *(const bb_aligned *)p; }
BB_INLINE V v_loadu(const R *p) { return *(const bb_unaligned *)p; }
BB_INLINE void v_store(R *p, V a) { *(bb_aligned *)p = a; }
BB_INLINE void v_storeu(R *p, V a) { *(bb_unaligned *)p = a; }

/* BB_T(name) completes the name of an x86 builtin with its type: ps for float, pd for double. */
#if BB_DOUBLE
#define BB_T_(head, tail) head##pd##tail
#define BB_S_(head, tail) head##pd_##tail
#else
#define BB_T_(head, tail) head##ps##tail
#define BB_S_(head, tail) head##ps_##tail
#endif
#define BB_T(head, tail) BB_T_(__builtin_ia32_##head, tail)
#define BB_S(head, tail) BB_S_(__builtin_ia32_##head, tail)
#define BB_ALL ((VM)-1)
#ifdef __has_builtin
#define BB_HAS(x) __has_builtin(x)
#else
#define BB_HAS(x) 0
#endif

/* ---- arithmetic: v_fma(a, b, c) = a b + c; v_sqrt correctly rounded;
 *      v_minx, v_maxx: one instruction, the second operand if either is NaN (or both are zero) ---- */
#if BB_ISA == 2
#define BB_FMA 1
BB_INLINE V v_fma(V a, V b, V c) { return BB_T(vfmadd, 512_mask)(a, b, c, BB_ALL, 4); }
#ifdef __clang__
BB_INLINE V v_minx(V a, V b) { return BB_T(min, 512)(a, b, 4); }
BB_INLINE V v_maxx(V a, V b) { return BB_T(max, 512)(a, b, 4); }
#else
BB_INLINE V v_minx(V a, V b) { return BB_T(min, 512_mask)(a, b, a, BB_ALL, 4); }
BB_INLINE V v_maxx(V a, V b) { return BB_T(max, 512_mask)(a, b, a, BB_ALL, 4); }
#endif
#if defined(__clang__) && BB_HAS(__builtin_elementwise_sqrt)
BB_INLINE V v_sqrt(V a) { return __builtin_elementwise_sqrt(a); }
#elif defined(__clang__)
BB_INLINE V v_sqrt(V a) { return BB_T(sqrt, 512)(a, 4); }
#else
BB_INLINE V v_sqrt(V a) { return BB_T(sqrt, 512_mask)(a, a, BB_ALL, 4); }
#endif
#define BB_ROUND(a, mode) BB_T(rndscale, _mask)(a, mode, a, BB_ALL, 4)
/* a less its multiple of 2^-m below it, m = mode >> 4; a + b rounded down; element i, modulo 2 BB_W, of two vectors */
#ifdef __clang__
#define BB_REDUCE(a, mode) BB_T(reduce, 512_mask)(a, mode, a, BB_ALL, 4)
#define BB_ADD_DOWN(a, b) BB_T(add, 512)(a, b, 9)
#define BB_LOOK_UP(low, high, i) BB_T(vpermi2var, 512)(low, i, high)
#else
#define BB_REDUCE(a, mode) BB_T(reduce, 512_mask)(a, mode, a, BB_ALL)
#define BB_ADD_DOWN(a, b) BB_T(add, 512_mask)(a, b, a, BB_ALL, 9)
#define BB_LOOK_UP(low, high, i) BB_T(vpermt2var, 512_mask)(i, low, high, BB_ALL)
#endif
/* r, but for the classes of x that the table names: 4 bits for each, 0 r, 1 x, 8 zero */
#define BB_FIX(r, x, table) BB_T(fixupimm, 512_mask)(r, x, v_splati(table), 0, BB_ALL, 4)
#define BB_WHERE_ZERO(response) ((response) << 8)
#define BB_WHERE_INF(response) ((response) << 20)
#define BB_WHERE_MINUS_INF(response) ((response) << 16)

#elif BB_ISA == 1
#define BB_FMA 1
BB_INLINE V v_minx(V a, V b) { return BB_T(min, 256)(a, b); }
BB_INLINE V v_maxx(V a, V b) { return BB_T(max, 256)(a, b); }
#if defined(__clang__) && BB_HAS(__builtin_elementwise_fma)
BB_INLINE V v_fma(V a, V b, V c) { return __builtin_elementwise_fma(a, b, c); }
#else
BB_INLINE V v_fma(V a, V b, V c) { return BB_T(vfmadd, 256)(a, b, c); }
#endif
#if defined(__clang__) && BB_HAS(__builtin_elementwise_sqrt)
BB_INLINE V v_sqrt(V a) { return __builtin_elementwise_sqrt(a); }
#else
BB_INLINE V v_sqrt(V a) { return BB_T(sqrt, 256)(a); }
#endif
#define BB_ROUND(a, mode) BB_T(round, 256)(a, mode)

#elif defined(__SSE2__)
#define BB_FMA 0
BB_INLINE V v_fma(V a, V b, V c) { return a * b + c; }
BB_INLINE V v_minx(V a, V b) { return BB_T(min, )(a, b); }
BB_INLINE V v_maxx(V a, V b) { return BB_T(max, )(a, b); }
#if defined(__clang__) && BB_HAS(__builtin_elementwise_sqrt)
BB_INLINE V v_sqrt(V a) { return __builtin_elementwise_sqrt(a); }
#else
BB_INLINE V v_sqrt(V a) { return BB_T(sqrt, )(a); }
#endif

#else
BB_INLINE V v_minx(V a, V b)
{
    VI m = (VI)(a < b);
    return (V)(((VI)a & m) | ((VI)b & ~m));
}
BB_INLINE V v_maxx(V a, V b)
{
    VI m = (VI)(a > b);
    return (V)(((VI)a & m) | ((VI)b & ~m));
}
#if defined(__aarch64__)
#define BB_FMA 1
#if BB_DOUBLE
#define BB_NEON ".2d"
#else
#define BB_NEON ".4s"
#endif
#define BB_NEON1(op, r, a) __asm__(op " %0" BB_NEON ", %1" BB_NEON : "=w"(r) : "w"(a))
#define BB_ROUND(a, mode) __extension__({ V r_; BB_NEON1(mode, r_, a); r_; })
/* The assembler is the one spelling that gcc and clang share without arm_neon.h. */
BB_INLINE V v_fma(V a, V b, V c)
{
    __asm__("fmla %0" BB_NEON ", %1" BB_NEON ", %2" BB_NEON : "+w"(c) : "w"(a), "w"(b));
    return c;
}
BB_INLINE V v_sqrt(V a)
{
    V r;
    BB_NEON1("fsqrt", r, a);
    return r;
}
#else
#define BB_FMA 0
BB_INLINE V v_fma(V a, V b, V c) { return a * b + c; }
BB_INLINE V v_sqrt(V a)
{
    for (int i = 0; i < BB_W; i++) {
        a[i] = BB_DOUBLE ? (R)__builtin_sqrt(a[i]) : (R)__builtin_sqrtf((float)a[i]);
    }
    return a;
}
#endif
#endif

/* ---- bits ---- */
#define BB_SIGN ((I)((U)1 << (sizeof(R) * 8 - 1)))
BB_INLINE V v_abs(V a) { return (V)((VI)a & ~BB_SIGN); }
BB_INLINE V v_copysign(V a, V s) { return (V)(((VI)a & ~BB_SIGN) | ((VI)s & BB_SIGN)); }
BB_INLINE V v_signbit(V a) { return (V)((VI)a & BB_SIGN); } /* -0 where the sign bit is set, else +0 */
BB_INLINE V v_xor(V a, V b) { return (V)((VI)a ^ (VI)b); }

/* ---- masks: comparisons are false on NaN, v_ne is true ---- */
#if BB_ISA == 2
#define BB_COMPARE(name, op, code) \
    BB_INLINE VM name(V a, V b) { return (VM)BB_T(cmp, 512_mask)(a, b, code, BB_ALL, 4); }
BB_INLINE VM v_and(VM a, VM b) { return (VM)(a & b); }
BB_INLINE VM v_or(VM a, VM b) { return (VM)(a | b); }
BB_INLINE VM v_not(VM a) { return (VM)~a; }
BB_INLINE int v_bits(VM m) { return m; }
BB_INLINE int v_any(VM m) { return m != 0; }
BB_INLINE int v_all(VM m) { return m == BB_ALL; }
#ifdef __clang__
BB_INLINE V v_sel(VM m, V a, V b) { return BB_S(select, 512)(m, a, b); }
#else
BB_INLINE V v_sel(VM m, V a, V b) { return BB_T(blendm, _512_mask)(b, a, m); }
#endif
#else
#define BB_COMPARE(name, op, code) \
    BB_INLINE VM name(V a, V b) { return (VM)(a op b); }
BB_INLINE VM v_and(VM a, VM b) { return a & b; }
BB_INLINE VM v_or(VM a, VM b) { return a | b; }
BB_INLINE VM v_not(VM a) { return ~a; }
#if BB_ISA == 1
BB_INLINE int v_bits(VM m) { return BB_T(movmsk, 256)((V)m); }
BB_INLINE V v_sel(VM m, V a, V b) { return BB_T(blendv, 256)(b, a, (V)m); }
#else
#ifdef __SSE2__
BB_INLINE int v_bits(VM m) { return BB_T(movmsk, )((V)m); }
#else
BB_INLINE int v_bits(VM m)
{
    int bits = 0;
    for (int i = 0; i < BB_W; i++) {
        bits |= (int)(m[i] & 1) << i;
    }
    return bits;
}
#endif
BB_INLINE V v_sel(VM m, V a, V b) { return (V)(((VI)a & m) | ((VI)b & ~m)); }
#endif
BB_INLINE int v_any(VM m) { return v_bits(m) != 0; }
BB_INLINE int v_all(VM m) { return v_bits(m) == (1 << BB_W) - 1; }
#endif
BB_COMPARE(v_eq, ==, 0)
BB_COMPARE(v_lt, <, 1)
BB_COMPARE(v_le, <=, 2)
BB_COMPARE(v_ne, !=, 4)
BB_COMPARE(v_ge, >=, 13)
BB_COMPARE(v_gt, >, 14)
BB_INLINE VM v_isnan(V a) { return v_ne(a, a); }
BB_INLINE V v_mask01(VM m) { return v_sel(m, K(1), K(0)); }

/* ---- minimum and maximum: the other operand where one is NaN; of two zeros, the second ---- */
BB_INLINE V v_min(V a, V b) { return v_sel(v_isnan(b), a, v_minx(a, b)); }
BB_INLINE V v_max(V a, V b) { return v_sel(v_isnan(b), a, v_maxx(a, b)); }

/* ---- rounding to an integer; the sign of zero is kept ---- */
#if BB_ISA >= 1
BB_INLINE V v_rint(V a) { return BB_ROUND(a, 8); }
BB_INLINE V v_floor(V a) { return BB_ROUND(a, 9); }
BB_INLINE V v_ceil(V a) { return BB_ROUND(a, 10); }
BB_INLINE V v_trunc(V a) { return BB_ROUND(a, 11); }
#elif defined(__aarch64__)
BB_INLINE V v_rint(V a) { return BB_ROUND(a, "frintn"); }
BB_INLINE V v_floor(V a) { return BB_ROUND(a, "frintm"); }
BB_INLINE V v_ceil(V a) { return BB_ROUND(a, "frintp"); }
BB_INLINE V v_trunc(V a) { return BB_ROUND(a, "frintz"); }
#else
/* Adding 2^MB leaves no room for a fraction. From 2^MB on, and where a is NaN, it is its own answer. */
BB_INLINE V v_rint(V a)
{
    V big = K((R)((U)1 << BB_MB)), r = (v_abs(a) + big) - big;
    return v_copysign(v_sel(v_lt(v_abs(a), big), r, a), a);
}
BB_INLINE V v_floor(V a)
{
    V r = v_rint(a);
    return v_copysign(r - v_mask01(v_gt(r, a)), a);
}
BB_INLINE V v_ceil(V a)
{
    V r = v_rint(a);
    return v_copysign(r + v_mask01(v_lt(r, a)), a);
}
BB_INLINE V v_trunc(V a)
{
    V m = v_abs(a), r = v_rint(m);
    return v_copysign(r - v_mask01(v_gt(r, m)), a);
}
#endif

/* ---- integers in the lanes ---- */
/* BB_MAGIC is 1.5 2^MB: a + BB_MAGIC holds rint(a) in its low bits, for |a| < 2^(MB-2). */
#define BB_MAGIC ((R)((U)3 << (BB_MB - 1)))
#define BB_MAGIC_BITS ((U)(BB_EB + BB_MB) << BB_MB | (U)1 << (BB_MB - 1))
BB_INLINE VI v_seli(VM m, VI a, VI b) { return (VI)v_sel(m, (V)a, (V)b); }
/* of an integer, |a| < 2^(MB-2); unsigned, for what is out of range wraps around */
BB_INLINE VI v_to_int(V a) { return (VI)((VU)(a + K(BB_MAGIC)) - BB_MAGIC_BITS); }
BB_INLINE V v_from_int(VI i) { return (V)((VU)i + BB_MAGIC_BITS) - K(BB_MAGIC); }
/* 2^k of an integer k in [-BB_EB, BB_EB + 1], with 0 and infinity at the ends */
BB_INLINE V v_pow2(V k) { return (V)((VU)(k + K(BB_MAGIC + BB_EB)) << BB_MB); }
#define BB_INF ((R)__builtin_inf())
#define BB_BIG (BB_DOUBLE ? 0x1.fffffffffffffp+1023 : 0x1.fffffep+127) /* the largest number */
#define BB_NAN ((R)__builtin_nanf(""))
#define BB_TINY (BB_DOUBLE ? (R)0x1p-1022 : (R)0x1p-126) /* the smallest normal number */

/* Horner's rule, constant coefficient first: BB_P2(x, a, b, c) = a + x (b + x c). */
#define BB_P1(x, a, b) v_fma(x, K(b), K(a))
#define BB_P2(x, a, ...) v_fma(x, BB_P1(x, __VA_ARGS__), K(a))
#define BB_P3(x, a, ...) v_fma(x, BB_P2(x, __VA_ARGS__), K(a))
#define BB_P4(x, a, ...) v_fma(x, BB_P3(x, __VA_ARGS__), K(a))
#define BB_P5(x, a, ...) v_fma(x, BB_P4(x, __VA_ARGS__), K(a))
#define BB_P6(x, a, ...) v_fma(x, BB_P5(x, __VA_ARGS__), K(a))
#define BB_P7(x, a, ...) v_fma(x, BB_P6(x, __VA_ARGS__), K(a))
#define BB_P8(x, a, ...) v_fma(x, BB_P7(x, __VA_ARGS__), K(a))
#define BB_P9(x, a, ...) v_fma(x, BB_P8(x, __VA_ARGS__), K(a))
#define BB_P10(x, a, ...) v_fma(x, BB_P9(x, __VA_ARGS__), K(a))
#define BB_P11(x, a, ...) v_fma(x, BB_P10(x, __VA_ARGS__), K(a))
#define BB_P12(x, a, ...) v_fma(x, BB_P11(x, __VA_ARGS__), K(a))
#define BB_P13(x, a, ...) v_fma(x, BB_P12(x, __VA_ARGS__), K(a))
#define BB_P14(x, a, ...) v_fma(x, BB_P13(x, __VA_ARGS__), K(a))
#define BB_P15(x, a, ...) v_fma(x, BB_P14(x, __VA_ARGS__), K(a))
#define BB_P16(x, a, ...) v_fma(x, BB_P15(x, __VA_ARGS__), K(a))
#define BB_P17(x, a, ...) v_fma(x, BB_P16(x, __VA_ARGS__), K(a))
#define BB_P18(x, a, ...) v_fma(x, BB_P17(x, __VA_ARGS__), K(a))
#define BB_P19(x, a, ...) v_fma(x, BB_P18(x, __VA_ARGS__), K(a))
#define BB_P20(x, a, ...) v_fma(x, BB_P19(x, __VA_ARGS__), K(a))

#endif
