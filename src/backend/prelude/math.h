/* Elementary functions on the vectors of cpu.h, in float and in double.
 *
 * The text is a sequence of blocks. The line that opens a block names what it defines and the blocks it needs, which
 * stand before it, so that an emitted kernel carries only the blocks its formula uses. Error bounds are in units in
 * the last place (ulp) of the result, float and double, for every argument; "no FMA" is the x86 baseline. The
 * polynomials are printed by tools/minimax.py; E stands for the row of its table. */

/*@ v_expk : */
/* 2^t for kernels, with as few instructions as possible; 1.5 ulp. Below 2^-125.5 (2^-1021.5) the result is zero unless
 * the instruction set has a scaling instruction, above the largest number infinity. p(0) is exactly 1, so that a chain
 * of rescalings by 2^0 does nothing. Without a scaling instruction the polynomial is doubled and the exponent one
 * less: then each finite power, and zero, is a normal factor or zero. E: exp2. */
BB_INLINE V v_expk(V t)
{
#if BB_ISA == 2
#define BB_TWICE(x) (x)
    V f = BB_T(reduce, 512_mask)(t, 8, t, BB_ALL BB_SAE);
    V k = t - f;
#else
#define BB_TWICE(x) (2 * (x))
    t = v_minx(K(BB_EB + 1), v_maxx(K(1 - BB_EB), t));
    V r = t + K(BB_MAGIC + BB_EB - 1);
    V f = t - (r - K(BB_MAGIC + BB_EB - 1));
#endif
#if BB_DOUBLE
    V p = BB_P11(f, BB_TWICE(1.0), BB_TWICE(0x1.62e42fefa39efp-1), BB_TWICE(0x1.ebfbdff82c5b3p-3),
                 BB_TWICE(0x1.c6b08d704a26fp-5), BB_TWICE(0x1.3b2ab6fb9da48p-7), BB_TWICE(0x1.5d87fe7845d65p-10),
                 BB_TWICE(0x1.43091316b5598p-13), BB_TWICE(0x1.ffcbfe60d4b06p-17), BB_TWICE(0x1.62bfb3a884fa7p-20),
                 BB_TWICE(0x1.b5209d3467848p-24), BB_TWICE(0x1.e63e2c7b018efp-28), BB_TWICE(0x1.f0a76b5700c41p-32));
#else
    V p = BB_P6(f, BB_TWICE(1.0), BB_TWICE(0x1.62e43p-1), BB_TWICE(0x1.ebfb94p-3), BB_TWICE(0x1.c6af9ep-5),
                BB_TWICE(0x1.3b6812p-7), BB_TWICE(0x1.5ef4ep-10), BB_TWICE(0x1.17a054p-13));
#endif
#undef BB_TWICE
#if BB_ISA == 2
    return BB_T(scalef, 512_mask)(p, k, p, BB_ALL, 4);
#else
    return p * (V)((VU)r << BB_MB);
#endif
}

/*@ v_scale : */
/* p 2^k of an integer k, |k| < 2 BB_EB: two factors, the first product exact, so that a result below the normal
 * numbers is rounded once. */
BB_INLINE V v_scale(V p, V k)
{
#if BB_ISA == 2
    return BB_T(scalef, 512_mask)(p, k, p, BB_ALL, 4);
#else
    V h = (v_fma(k, K(0.5), K(BB_MAGIC))) - K(BB_MAGIC);
    return p * v_pow2(h) * v_pow2(k - h);
#endif
}

/*@ v_exp_parts : */
/* e^(x + c) = p 2^k for a small correction c; returns p. Cody and Waite: x = k log 2 + f with log 2 in two parts, the
 * first short enough for k times it to be exact. E: exp. */
BB_INLINE V v_exp_parts(V x, V c, V *k)
{
    V n = v_fma(x, K(0x1.71547652b82fep+0), K(BB_MAGIC)) - K(BB_MAGIC);
#if BB_DOUBLE
    V h = v_fma(n, K(-0x1.62e42fefa4p-1), x), f = v_fma(n, K(0x1.8432a1b0e2634p-43), h);
    V e = v_fma(n, K(0x1.8432a1b0e2634p-43), h - f) + c;
    V q = BB_P9(f, 0x1.000000000000ap-1, 0x1.55555555554b5p-3, 0x1.5555555550494p-5, 0x1.111111113a671p-7,
                0x1.6c16c185344d5p-10, 0x1.a01a00becb3f7p-13, 0x1.a01996e30a4a6p-16, 0x1.71e021e3a2864p-19,
                0x1.28b0998db222ep-22, 0x1.abdebff9666cdp-26);
#else
    V h = v_fma(n, K(-0x1.62e4p-1), x), f = v_fma(n, K(-0x1.7f7d1cp-20), h);
    V e = v_fma(n, K(-0x1.7f7d1cp-20), h - f) + c;
    V q = BB_P4(f, 0x1.fffffcp-2, 0x1.55548cp-3, 0x1.555858p-5, 0x1.123de2p-7, 0x1.6ac76cp-10);
#endif
    *k = n;
    return K(1) + (f + v_fma(f * f, q, e));
}

/*@ v_exp : v_exp_parts v_scale */
/* e^x; 1 ulp. Arguments are clamped where the result is already zero or infinity. */
BB_INLINE V v_exp(V x)
{
    V k;
    x = v_minx(K(BB_DOUBLE ? 710 : 89), v_maxx(K(BB_DOUBLE ? -746 : -104), x));
    V p = v_exp_parts(x, K(0), &k);
    return v_scale(p, k);
}

/*@ v_log_parts : */
/* x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), for 0 < x < infinity; returns f. */
BB_INLINE V v_log_parts(V x, V *e)
{
    VM small = v_lt(x, K(BB_TINY));
    VU b = (VU)v_sel(small, x * K((R)((U)1 << (BB_MB + 1))), x);
#if BB_DOUBLE
    const U half = 0x3fe6a09e667f3bcdu, one = 0x3ff0000000000000u; /* the bits of sqrt(1/2) and 1 */
#else
    const U half = 0x3f3504f3u, one = 0x3f800000u;
#endif
    b += one - half;
    *e = v_from_int((VI)(b >> BB_MB)) - v_sel(small, K(BB_EB + BB_MB + 1), K(BB_EB));
    return (V)((b & (((U)1 << BB_MB) - 1)) + half) - K(1);
}

/*@ v_log_series : */
/* log(1 + f) = f - h + lo, h = f^2/2; returns lo. With s = f/(2 + f) the odd series of log((1 + s)/(1 - s)) needs
 * half the terms. E: log. */
BB_INLINE V v_log_series(V f, V h)
{
    V s = f / (K(2) + f), z = s * s;
#if BB_DOUBLE
    V p = BB_P6(z, 0x1.5555555555592p-1, 0x1.999999997ff1ap-2, 0x1.24924941e14bp-2, 0x1.c71c521453d58p-3,
                0x1.74663cee2994bp-3, 0x1.39a1e8944951dp-3, 0x1.2f03bd8719f5cp-3);
#else
    V p = BB_P2(z, 0x1.55557ap-1, 0x1.995ed6p-2, 0x1.31e08p-2);
#endif
    return s * v_fma(z, p, h);
}

/*@ v_log_edge : */
/* The logarithm y of x where 0 < x < infinity; its limits, or NaN, elsewhere. */
BB_INLINE V v_log_edge(V x, V y)
{
    y = v_sel(v_lt(x, K(BB_INF)), y, x);
    return v_sel(v_gt(x, K(0)), y, v_sel(v_eq(x, K(0)), K(-BB_INF), K(BB_NAN)));
}

/*@ v_log : v_log_parts v_log_series v_log_edge */
/* log x; 1 ulp. e log 2 is exact in its leading part, and what the sum with f loses is put back. */
BB_INLINE V v_log(V x)
{
    V e, f = v_log_parts(x, &e), h = K(0.5) * f * f;
#if BB_DOUBLE
    V a = e * K(0x1.62e42fefa4p-1), l = e * K(-0x1.8432a1b0e2634p-43);
#else
    V a = e * K(0x1.62e4p-1), l = e * K(0x1.7f7d1cp-20);
#endif
    V s = a + f, lost = (a - s) + f;
    return v_log_edge(x, s + (lost + ((v_log_series(f, h) - h) + l)));
}
