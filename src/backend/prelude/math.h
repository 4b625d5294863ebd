/* Elementary functions on the vectors of cpu.h, in float and in double: exponentials and logarithms here, angles in
 * math_trig.h, powers, lengths and the error function in math_special.h, in this order.
 *
 * The text is a sequence of blocks. The line that opens a block names what it defines and the blocks it
 * needs, which stand before it, in this file or in those before it, so that an emitted kernel carries only the blocks
 * its formula uses. Error bounds are in units in the last place (ulp) of the result, float and double, for every
 * argument; "no FMA" is the x86 baseline. The polynomials are printed by tools/minimax.py; E: names the row of its
 * table. */

/*@ v_expk : */
/* 2^(a b) for kernels, with as few instructions as possible; 2 ulp beyond one rounding of a b, exact where a b
 * is 0. Above the largest number infinity, below 2^-126 (2^-1022; without AVX-512 below 2^-125, 2^-1021.5)
 * zero, and a NaN stays one: where the result is no normal number, multiplying takes a hundred times longer.
 * With t = a b = n/c + f, c = 32 (float), 16 (double) with AVX-512, 8 with AVX2 in float, else 1:
 * 2^t = 2^floor(n/c) 2^((n mod c)/c) 2^f, the second factor from a table that fits into registers, chosen by
 * the low bits of a + BB_MAGIC/c. The tables are rounded so that the error of the product is smallest. */
#if BB_ISA == 2
/* n = floor(c t), so that the scaling instruction, which takes floor(t) itself, may be given t. E: exp2-floor. */
BB_INLINE V v_expk(V a, V b)
{
    V t = a * b;
#if BB_DOUBLE
    const V low = {0x1p+0,
                   0x1.0b5586cf9890fp+0,
                   0x1.172b83c7d517bp+0,
                   0x1.2387a6e756238p+0,
                   0x1.306fe0a31b715p+0,
                   0x1.3dea64c123422p+0,
                   0x1.4bfdad5362a27p+0,
                   0x1.5ab07dd485429p+0};
    const V high = {0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f09p+0,
                    0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};
    V f = BB_REDUCE(t, 4 << 4 | 9), p = BB_LOOK_UP(low, high, (VI)BB_ADD_DOWN(t, K(BB_MAGIC / 16)));
    V q = BB_P5(f, 0x1.62e42fefa39abp-1, 0x1.ebfbdff841237p-3, 0x1.c6b08d4e90bd7p-5, 0x1.3b2ad01b233a7p-7,
                0x1.5d7517dbd7755p-10, 0x1.4a03b2d34bcf0p-13);
#else
    const V low = {0x1p+0,        0x1.059b0ep+0, 0x1.0b5586p+0, 0x1.11301ep+0, 0x1.172b84p+0, 0x1.1d4874p+0,
                   0x1.2387a8p+0, 0x1.29e9ep+0,  0x1.306fep+0,  0x1.371a74p+0, 0x1.3dea64p+0, 0x1.44e086p+0,
                   0x1.4bfdaep+0, 0x1.5342b6p+0, 0x1.5ab07ep+0, 0x1.6247ecp+0};
    const V high = {0x1.6a09e6p+0, 0x1.71f75ep+0, 0x1.7a1148p+0, 0x1.82589ap+0, 0x1.8ace54p+0, 0x1.93737cp+0,
                    0x1.9c4918p+0, 0x1.a5503cp+0, 0x1.ae89fap+0, 0x1.b7f77p+0,  0x1.c199bep+0, 0x1.cb720ep+0,
                    0x1.d5818ep+0, 0x1.dfc974p+0, 0x1.ea4afap+0, 0x1.f50766p+0};
    V f = BB_REDUCE(t, 5 << 4 | 9), p = BB_LOOK_UP(low, high, (VI)BB_ADD_DOWN(t, K(BB_MAGIC / 32)));
    V q = BB_P1(f, 0x1.62e0fap-1, 0x1.f1p-3);
#endif
    VM normal = (VM)BB_T(cmp, 512_mask)(t, K(1 - BB_EB), 5, BB_ALL, 4); /* not less: NaN passes */
    return BB_T(scalef, 512_mask)(v_fma(p * f, q, p), t, (V){0}, normal, 4);
}
#else
/* Without a scaling instruction the polynomial is doubled and the exponent one less: then each finite power, and
 * zero, is a normal factor or zero. E: exp2, exp2-eighth. */
BB_INLINE V v_expk(V a, V b)
{
#if BB_ISA == 1
    const R magic = BB_DOUBLE ? BB_MAGIC + BB_EB - 1 : BB_MAGIC / 8;
    V r = v_minx(K(magic + BB_EB + 1), v_fma(a, b, K(magic)));
    VI in = (VI)BB_T(cmp, 256)(r, K(magic + 2 - BB_EB), 5); /* not less: NaN passes */
    V f = (V)((VI)v_fma(a, b, K(magic) - r) & in);
#else
    V t = v_minx(K(BB_EB + 1), v_maxx(K(1 - BB_EB), a * b)), r = t + K(BB_MAGIC + BB_EB - 1);
    V f = t - (r - K(BB_MAGIC + BB_EB - 1));
#endif
#if BB_DOUBLE
    V p = BB_P11(f, 2, 0x1.62e42fefa39efp+0, 0x1.ebfbdff82c5b3p-2, 0x1.c6b08d704a26fp-4, 0x1.3b2ab6fb9da48p-6,
                 0x1.5d87fe7845d65p-9, 0x1.43091316b5598p-12, 0x1.ffcbfe60d4b06p-16, 0x1.62bfb3a884fa7p-19,
                 0x1.b5209d3467848p-23, 0x1.e63e2c7b018efp-27, 0x1.f0a76b5700c41p-31);
#elif BB_ISA == 1
    V p = BB_P3(f, 2, 0x1.62e432p+0, 0x1.ec0c68p-2, 0x1.c67d72p-4);
#else
    V p = BB_P6(f, 2, 0x1.62e43p+0, 0x1.ebfb94p-2, 0x1.c6af9ep-4, 0x1.3b6812p-6, 0x1.5ef4ep-9, 0x1.17a054p-12);
#endif
    VU scale = (VU)r << (BB_ISA == 1 && !BB_DOUBLE ? BB_MB - 3 : BB_MB);
#if BB_ISA == 1
#if !BB_DOUBLE
    const VI table = {0x3f000000, 0x3efb95c2, 0x3ef837f0, 0x3ef5fed7, 0x3ef504f3, 0x3ef5672a, 0x3ef744fd, 0x3efac0c7};
    scale += (VU)__builtin_ia32_permvarsi256(table, (VI)r); /* of 2^(n/8), less what n adds to the bits */
#endif
    scale &= (VU)in;
#endif
    return p * (V)scale;
}
#endif

/*@ v_sqrtk v_rsqrtk v_invk : */
/* For kernels: sqrt x; 1/sqrt x, 0 at 0; 1/x; 1.2, 1.5, 1 ulp, zeros, infinities and NaN as in
 * v_sqrt and division. With AVX-512 the estimate y = (1/sqrt x)(1 - e/2), of 14 bits, becomes y (1 + e/2): a
 * quarter of the time of the exact instruction. */
#if BB_ISA == 2
BB_INLINE V v_rsqrt_step(V x, V y) { return v_fma(y * K(0.5), v_fma(-(x * y), y, K(1)), y); }
BB_INLINE V v_sqrtk(V x)
{
    V y = BB_T(rsqrt14, 512_mask)(x, x, BB_ALL);
    if (BB_DOUBLE) y = v_rsqrt_step(x, y);
    V s = x * y, r = v_fma(s * K(0.5), v_fma(-s, y, K(1)), s);
    return BB_FIX(r, x, BB_WHERE_ZERO(1) | BB_WHERE_INF(1));
}
BB_INLINE V v_rsqrtk(V x)
{
    V y = v_rsqrt_step(x, BB_T(rsqrt14, 512_mask)(x, x, BB_ALL));
    if (BB_DOUBLE) y = v_rsqrt_step(x, y);
    return BB_FIX(y, x, BB_WHERE_ZERO(8) | BB_WHERE_INF(8));
}
BB_INLINE V v_invk(V x)
{
    V y = BB_T(rcp14, 512_mask)(x, x, BB_ALL), r = v_fma(y, v_fma(-x, y, K(1)), y);
    if (BB_DOUBLE) r = v_fma(r, v_fma(-x, r, K(1)), r);
    return BB_FIX(r, y, BB_WHERE_ZERO(1) | BB_WHERE_INF(1) | BB_WHERE_MINUS_INF(1));
}
#else
BB_INLINE V v_sqrtk(V x) { return v_sqrt(x); }
BB_INLINE V v_rsqrtk(V x) { return v_sel(v_eq(x, K(0)), K(0), K(1) / v_sqrt(x)); }
BB_INLINE V v_invk(V x) { return K(1) / x; }
#endif

/*@ v_scale : */
/* p 2^k of an integer k, |k| < 2 BB_EB: two factors, the first product exact, so that a result below the
 * normal numbers is rounded once. */
BB_INLINE V v_scale(V p, V k)
{
#if BB_ISA == 2
    return BB_T(scalef, 512_mask)(p, k, p, BB_ALL, 4);
#else
    V h = v_fma(k, K(0.5), K(BB_MAGIC)) - K(BB_MAGIC);
    return p * v_pow2(h) * v_pow2(k - h);
#endif
}

/*@ v_exp_parts : */
/* e^(x + c) = (1 + s) 2^k for a small correction c; returns s. Cody and Waite: x = k log 2 + f with log 2 in
 * two parts, the first short enough for k times it to be exact. E: exp. */
BB_INLINE V v_exp_parts(V x, V c, V *k)
{
    V n = v_fma(x, K(0x1.71547652b82fep+0), K(BB_MAGIC)) - K(BB_MAGIC);
#if BB_DOUBLE
    V h = v_fma(n, K(-0x1.62e42fefa4p-1), x), l = v_fma(n, K(0x1.8432a1b0e2634p-43), c), f = h + l;
    V q = BB_P9(f, 0x1.000000000000ap-1, 0x1.55555555554b5p-3, 0x1.5555555550494p-5, 0x1.111111113a671p-7,
                0x1.6c16c185344d5p-10, 0x1.a01a00becb3f7p-13, 0x1.a01996e30a4a6p-16, 0x1.71e021e3a2864p-19,
                0x1.28b0998db222ep-22, 0x1.abdebff9666cdp-26);
#else
    V h = v_fma(n, K(-0x1.62e4p-1), x), l = v_fma(n, K(-0x1.7f7d1cp-20), c), f = h + l;
    V q = BB_P4(f, 0x1.fffffcp-2, 0x1.55548cp-3, 0x1.555858p-5, 0x1.123de2p-7, 0x1.6ac76cp-10);
#endif
    *k = n;
    return f + v_fma(f * f, q, (h - f) + l);
}

/*@ v_exp : v_exp_parts v_scale */
/* e^x; 1 ulp. Arguments are clamped where the result is already zero or infinity; the zeros are not computed,
 * because an underflow takes a hundred times longer. */
BB_INLINE V v_exp(V x)
{
    V k;
    VM zero = v_lt(x, K(BB_DOUBLE ? -746 : -104));
    x = v_sel(zero, K(0), v_minx(K(BB_DOUBLE ? 710 : 89), x));
    V s = v_exp_parts(x, K(0), &k);
    return v_sel(zero, K(0), v_scale(K(1) + s, k));
}

/*@ v_lse_base v_lse_moved v_lse_far v_lse_offset v_lse_move v_lse_near v_lse_term v_lse_moves v_lse_shift : v_expk v_exp */
/* Log-sum-exps add up exp(x - base), where base trails the largest x so far by 1 at most, so that it rarely moves: at each
 * `moved` lane to the largest x, when the sums are multiplied by exp(old base - new one), 1 elsewhere. -BB_BIG stands for
 * -infinity. A term is 2^(x c + offset), offset = -base c rounded, c = log2(e) in this type: one fma, where a difference
 * and a product would round twice. All terms and factors go by the rounded offset, whose error, below 1/16, is made good in
 * the end (fold_isa.c); c changes a term by 2 u / e of the largest (u = 2^-24 or 2^-53). Where a base is far from 0,
 * infinite above all, x is replaced by x - base and the offset is 0; values that reach +infinity count 1 each. Without
 * fma terms are made of differences: the product would be rounded. */
#define BB_LOG2E K(0x1.71547652b82fep+0)
BB_INLINE V v_lse_base(V best) { return v_maxx(best, K(-BB_BIG)); }
BB_INLINE VM v_lse_moved(V best, V base) { return v_gt(best, base + K(1)); }
#if BB_FMA
BB_INLINE VM v_lse_far(V base) { return v_ge(v_abs(base), K(BB_DOUBLE ? 0x1p48 : 0x1p20)); }
BB_INLINE V v_lse_offset(V base) { return v_sel(v_lse_far(base), K(0), -(base * BB_LOG2E)); }
BB_INLINE V v_lse_term(V x, V offset) { return v_expk(v_fma(x, BB_LOG2E, offset), K(1)); }
BB_INLINE V v_lse_move(V best, V base)
{
    const VM from_far = v_lse_far(base), to_far = v_lse_far(best);
    const V offset = v_lse_offset(base), next = v_lse_offset(best);
    const V near = v_fma(base, BB_LOG2E, next), far = v_fma(-best, BB_LOG2E, -offset);
    const V factor = v_expk(v_sel(from_far, near, v_sel(to_far, far, next - offset)), K(1));
    return v_sel(v_lse_moved(best, base), v_sel(v_and(from_far, to_far), v_exp(base - best), factor), K(1));
}
#else
BB_INLINE VM v_lse_far(V base) { return v_eq(base, K(BB_INF)); }
BB_INLINE V v_lse_offset(V base) { return v_sel(v_lse_far(base), K(0), base); }
BB_INLINE V v_lse_term(V x, V offset) { return v_expk(x - offset, BB_LOG2E); }
BB_INLINE V v_lse_move(V best, V base) { return v_sel(v_lse_moved(best, base), v_exp(base - best), K(1)); }
#endif
BB_INLINE V v_lse_near(V x, V base)
{
    const V difference = v_sel(v_and(v_eq(x, K(BB_INF)), v_eq(base, x)), K(0), x - base);
    return v_sel(v_lse_far(base), difference, x);
}
/* For some vectors, in memory: what is rare should be short, too. */
static __attribute__((noinline, unused)) void v_lse_moves(const R *best, R *base, R *factor, int vectors)
{
    for (int v = 0; v < vectors; v++, best += BB_W, base += BB_W, factor += BB_W) {
        const V to = v_loadu(best), from = v_loadu(base);
        v_storeu(factor, v_lse_move(to, from));
        v_storeu(base, v_sel(v_lse_moved(to, from), to, from));
    }
}
static __attribute__((noinline, unused)) void v_lse_shift(R *x, long long step, long long casts, const R *base, int vectors)
{
    for (long long q = 0; q < casts; q++, x += step)
        for (int v = 0; v < vectors; v++) v_storeu(x + v * BB_W, v_lse_near(v_loadu(x + v * BB_W), v_loadu(base + v * BB_W)));
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
/* log(1 + f) = f - h + lo, h = f^2/2; returns lo. With s = f/(2 + f) the odd series of log((1 + s)/(1 - s))
 * needs half the terms. E: log. */
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

/*@ v_log_base : v_log_parts v_log_series v_log_edge */
/* log x times the constant ch + cl, log 2 times which is lh + ll; ch and the high part of log(1 + f) have
 * half the bits, so that their product is exact. */
BB_INLINE V v_log_base(V x, R ch, R cl, R lh, R ll)
{
    V e, f = v_log_parts(x, &e), h = K(0.5) * f * f;
    V hi = (V)((VI)(f - h) & -((I)1 << (BB_DOUBLE ? 32 : 12)));
    V lo = ((f - hi) - h) + v_log_series(f, h);
    V a = e * lh, b = hi * ch, s = a + b;
    V l = v_fma(lo + hi, v_splat(cl), lo * ch) + e * ll;
    return v_log_edge(x, s + (((a - s) + b) + l));
}

/*@ v_log2 : v_log_base */
/* log2 x; 1 ulp, exact for powers of two. */
BB_INLINE V v_log2(V x)
{
#if BB_DOUBLE
    return v_log_base(x, 0x1.71547p+0, 0x1.94ae0bf85ddf4p-22, 1, 0);
#else
    return v_log_base(x, 0x1.716p+0f, -0x1.7135a8p-13f, 1, 0);
#endif
}

/*@ v_log10 : v_log_base */
/* log10 x; 1 ulp. */
BB_INLINE V v_log10(V x)
{
#if BB_DOUBLE
    return v_log_base(x, 0x1.bcb7bp-2, 0x1.526e50e32a6abp-26, 0x1.34413509f8p-2, -0x1.80433b83b532ap-44);
#else
    return v_log_base(x, 0x1.bccp-2f, -0x1.09d5b2p-15f, 0x1.344p-2f, 0x1.3509f8p-18f);
#endif
}

/*@ v_log1p : v_log_parts v_log_series v_log_edge */
/* log(1 + x); 1 ulp. What the rounded sum u = 1 + x loses, d, returns as log(1 + d/u). */
BB_INLINE V v_log1p(V x)
{
    V u = K(1) + x, d = v_sel(v_gt(x, K(1)), K(1) - (u - x), x - (u - K(1))) / u;
    V e, f = v_log_parts(u, &e), h = K(0.5) * f * f;
#if BB_DOUBLE
    V a = e * K(0x1.62e42fefa4p-1), l = e * K(-0x1.8432a1b0e2634p-43);
#else
    V a = e * K(0x1.62e4p-1), l = e * K(0x1.7f7d1cp-20);
#endif
    V s = a + f, lost = (a - s) + f;
    V y = s + (lost + (((v_log_series(f, h) - h) + l) + v_fma(d * K(-0.5), d, d)));
    return v_copysign(v_log_edge(u, y), x);
}

/*@ v_exp2 : v_scale */
/* 2^t; 1 ulp (1.2 without FMA). Zeros are not computed. E: exp2-fine. */
BB_INLINE V v_exp2(V t)
{
    VM zero = v_le(t, K(-BB_EB - BB_MB));
    t = v_sel(zero, K(0), v_minx(K(BB_EB + 2), t));
    V k = (t + K(BB_MAGIC)) - K(BB_MAGIC), f = t - k;
#if BB_DOUBLE
    V p = BB_P11(f, 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c574p-3, 0x1.c6b08d704a1fbp-5, 0x1.3b2ab6fbaadeap-7,
                 0x1.5d87fe786a9b5p-10, 0x1.430912dcbc857p-13, 0x1.ffcbfd7c84066p-17, 0x1.62c0923304ff4p-20,
                 0x1.b522c336a2087p-24, 0x1.e334ad4b92663p-28, 0x1.ed1a9d47a1ba8p-32, 0x1.f9e59a66b7bfp-35);
#else
    V p = BB_P6(f, 0x1.62e43p-1, 0x1.ebfbep-3, 0x1.c6b06ep-5, 0x1.3b2a74p-7, 0x1.5da43ap-10, 0x1.43e0ap-13,
                0x1.e0f81cp-17);
#endif
    return v_sel(zero, K(0), v_scale(v_fma(f, p, K(1)), k));
}

/*@ v_expm1 : v_exp_parts */
/* e^x - 1; 2 ulp. With u = 2^(k-1), e^x - 1 = 2 (u s + (u - 1/2)): u is finite while the result is. */
BB_INLINE V v_expm1(V x)
{
    V k, t = v_minx(K(BB_DOUBLE ? 710 : 89), v_maxx(K(-50), x));
    V s = v_exp_parts(t, K(0), &k), u = v_pow2(k - K(1));
    V y = K(2) * v_fma(u, s, u - K(0.5));
    return v_copysign(v_sel(v_eq(k, K(0)), s, y), x);
}

/*@ v_sinh : v_exp_parts v_scale */
/* sinh x; 2 ulp. E: sinh. */
BB_INLINE V v_sinh(V x)
{
    V k, a = v_minx(K(BB_DOUBLE ? 711 : 90), v_abs(x)), z = a * a;
    V s = v_exp_parts(a, K(0), &k), e = v_scale(K(1) + s, k - K(1));
#if BB_DOUBLE
    V p = BB_P6(z, 0x1.5555555555556p-3, 0x1.111111111101ep-7, 0x1.a01a01a037269p-13, 0x1.71de3a3b06be7p-19,
                0x1.ae646ff50a947p-26, 0x1.6116f4a05d6a6p-33, 0x1.b5c897664d1f1p-41);
#else
    V p = BB_P3(z, 0x1.555556p-3, 0x1.1110ep-7, 0x1.a022bcp-13, 0x1.756c1ep-19);
#endif
    return v_copysign(v_sel(v_lt(a, K(1)), v_fma(a * z, p, a), e - K(0.25) / e), x);
}

/*@ v_cosh : v_exp_parts v_scale */
/* cosh x; 2 ulp. */
BB_INLINE V v_cosh(V x)
{
    V k, s = v_exp_parts(v_minx(K(BB_DOUBLE ? 711 : 90), v_abs(x)), K(0), &k);
    V e = v_scale(K(1) + s, k - K(1));
    return e + K(0.25) / e;
}

/*@ v_tanh : v_exp */
/* tanh x; 2 ulp. E: tanh. */
BB_INLINE V v_tanh(V x)
{
    V a = v_abs(x), z = a * a, e = v_exp(a + a);
#if BB_DOUBLE
    V p = BB_P9(z, -0x1.555555555549ep-2, 0x1.11111111029b2p-3, -0x1.ba1ba1ad7383ep-5, 0x1.664f45c326455p-6,
                -0x1.226ddd4e9375cp-7, 0x1.d6c61e6806523p-9, -0x1.7cf3c3b4f33d2p-10, 0x1.2fa2a96b697aep-11,
                -0x1.b90a79f4f57e6p-13, 0x1.ac02ef90dbfep-15);
#else
    V p = BB_P4(z, -0x1.55554ap-2, 0x1.110ceep-3, -0x1.b91e7ep-5, 0x1.58e518p-6, -0x1.9921a2p-8);
#endif
    return v_copysign(v_sel(v_lt(a, K(0.55)), v_fma(a * z, p, a), K(1) - K(2) / (e + K(1))), x);
}

/*@ v_sigmoid : v_exp */
/* 1/(1 + e^-x); 2.5 ulp. The exponential is never of a positive number. */
BB_INLINE V v_sigmoid(V x)
{
    V e = v_exp(-v_abs(x));
    return v_sel(v_ge(x, K(0)), K(1), e) / (K(1) + e);
}

/*@ v_softplus : v_exp v_log1p */
/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); 2.5 ulp. */
BB_INLINE V v_softplus(V x) { return v_maxx(K(0), x) + v_log1p(v_exp(-v_abs(x))); }
