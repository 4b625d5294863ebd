/* Elementary functions on the vectors of cpu.h, in float and in double.
 *
 * The text is a sequence of blocks. The line that opens a block names what it defines and the blocks it
 * needs, which stand before it, so that an emitted kernel carries only the blocks its formula uses. Error
 * bounds are in units in the last place (ulp) of the result, float and double, for every argument; "no FMA"
 * is the x86 baseline. The polynomials are printed by tools/minimax.py; E: names the row of its table. */

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

/*@ v_trig_huge : */
/* Payne and Hanek, in integers, for the lanes of x beyond the limit: x = n pi/2 + r + l, |r + l| <= pi/4, n
 * modulo 4. The table is 2/pi behind 64 zero bits. x = m 2^e with an integer m; the bits of 2/pi above
 * 2^(2-e) contribute multiples of 4 to x 2/pi and are skipped, and the product of m with the next 192 bits
 * leaves 139 bits behind the binary point, where no double comes closer than 2^-62 to a multiple of pi/2. */
BB_INLINE double bb_upper(double x)
{
    union {
        double x;
        unsigned long long u;
    } b = {x};
    b.u &= ~0x7ffffffull;
    return b.x;
}
BB_INLINE unsigned long long bb_mulhi(unsigned long long a, unsigned long long b)
{
    unsigned long long al = (unsigned)a, ah = a >> 32, bl = (unsigned)b, bh = b >> 32;
    unsigned long long t = ah * bl + (al * bl >> 32), u = al * bh + (unsigned)t;
    return ah * bh + (t >> 32) + (u >> 32);
}
static __attribute__((unused)) int bb_trig_huge(double x, double *r, double *l)
{
    static const unsigned long long table[20] = {
        0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
        0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
        0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7,
        0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};
    union {
        double x;
        unsigned long long u;
    } b = {x};
    int field = (int)(b.u >> 52) & 2047;
    if (field == 2047) {
        *r = *l = x - x;
        return 0;
    }
    unsigned long long m = (b.u & 0xfffffffffffffull) | 0x10000000000000ull, w[3];
    int at = field - 1075 - 2 + 64;
    for (int i = 0; i < 3; i++) {
        const unsigned long long *p = table + (at >> 6) + i;
        w[i] = at & 63 ? p[0] << (at & 63) | p[1] >> (64 - (at & 63)) : p[0];
    }
    unsigned long long p0 = m * w[2], carry = bb_mulhi(m, w[2]);
    unsigned long long p1 = m * w[1], p2 = m * w[0] + bb_mulhi(m, w[1]);
    p1 += carry;
    p2 += p1 < carry;
    /* The product is p2 p1 p0 / 2^190: two bits of quadrant, then the fraction, rounded to the nearest. */
    unsigned long long n = (p2 + 0x2000000000000000ull) >> 62;
    p2 -= n << 62;
    double c0 = (double)(int)(p2 >> 32) * 0x1p-30, c1 = (double)(unsigned)p2 * 0x1p-62;
    double c2 = (double)(unsigned)(p1 >> 32) * 0x1p-94, c3 = (double)(unsigned)p1 * 0x1p-126;
    double s = c0 + c1, t = s + c2, h = t + c3;
    double d = ((c0 - s) + c1) + ((s - t) + c2) + ((t - h) + c3) + (double)(unsigned)(p0 >> 32) * 0x1p-158;
    /* times pi/2 = 0x1.921fb54442d18p+0 + 0x1.1a62633145c07p-54, the product of the leading parts in full */
    double g = h + d, k = (h - g) + d, gu = bb_upper(g), gl = g - gu, q = g * 0x1.921fb54442d18p+0;
    const double pu = 0x1.921fb5p+0, pl = 0x1.110b46p-26;
    double v = (((gu * pu - q) + gu * pl) + gl * pu) + gl * pl;
    v += g * 0x1.1a62633145c07p-54 + k * 0x1.921fb54442d18p+0;
    double y = q + v, z = (q - y) + v;
    if (b.u >> 63) {
        y = -y;
        z = -z;
        n = 4 - n;
    }
    *r = y;
    *l = z;
    return (int)(n & 3);
}
#define BB_TRIG_LIMIT 1.6e6
static __attribute__((noinline, unused)) void bb_trig_lanes(const R *x, R *r, R *l, R *n)
{
    for (int i = 0; i < BB_W; i++) {
        double y, z;
        if (x[i] > (R)BB_TRIG_LIMIT || x[i] < (R)-BB_TRIG_LIMIT) {
            n[i] = (R)bb_trig_huge((double)x[i], &y, &z);
            r[i] = (R)y;
            l[i] = BB_DOUBLE ? (R)z : (R)(y - (double)r[i]);
        }
    }
}

/*@ v_trig_reduce : v_trig_huge */
/* x = n pi/2 + r + l, |r + l| <= pi/4 (and a rounding more); returns r; *n is n modulo 4 in its low bits.
 * Cody and Waite where the products with the parts of pi/2 are exact: |n| < 2^20. In float the same in double
 * lanes of twice the width. */
BB_INLINE V v_trig_reduce(V x, V *lo, VI *n)
{
#if BB_DOUBLE
    V m = v_fma(x, K(0x1.45f306dc9c883p-1), K(BB_MAGIC)), k = m - K(BB_MAGIC);
    V a = x - k * K(0x1.921fb544p+0), b = k * K(0x1.0b4611a6p-34), s = a - b, t = s - a;
    V e = (a - (s - t)) - (b + t);
    V c = k * K(0x1.3198a2ep-69), u = s - c, w = u - s;
    e += ((s - (u - w)) - (c + w)) - k * K(0x1.b839a252049c1p-104);
    V r = u + e, l = (u - r) + e;
#else
    typedef double VD __attribute__((vector_size(2 * BB_VB)));
    const double magic = 0x1.8p52;
    VD d = __builtin_convertvector(x, VD), kd = (d * 0x1.45f306dc9c883p-1 + magic) - magic;
    VD rd = (d - kd * 0x1.921fb544p+0) - kd * 0x1.0b4611a626331p-34;
    V r = __builtin_convertvector(rd, V);
    V l = __builtin_convertvector(rd - __builtin_convertvector(r, VD), V);
    V k = __builtin_convertvector(kd, V);
#endif
    if (v_any(v_gt(v_abs(x), K(BB_TRIG_LIMIT)))) {
        R lanes[4][BB_W];
        v_storeu(lanes[0], x);
        v_storeu(lanes[1], r);
        v_storeu(lanes[2], l);
        v_storeu(lanes[3], k);
        bb_trig_lanes(lanes[0], lanes[1], lanes[2], lanes[3]);
        r = v_loadu(lanes[1]);
        l = v_loadu(lanes[2]);
        k = v_loadu(lanes[3]);
    }
    *lo = l;
    *n = (VI)(k + K(BB_MAGIC));
    return r;
}

/*@ v_trig_series : */
/* sin(r + l) and cos(r + l) for |r| <= pi/4, l < ulp(r). E: sin, cos. */
BB_INLINE V v_sin_series(V r, V l)
{
    V z = r * r;
#if BB_DOUBLE
    V p = BB_P5(z, -0x1.5555555555548p-3, 0x1.111111110f73p-7, -0x1.a01a019be9215p-13, 0x1.71de35552b08dp-19,
                -0x1.ae5e4b837d6a5p-26, 0x1.5d8b5567d157cp-33);
#else
    V p = BB_P2(z, -0x1.555546p-3, 0x1.110778p-7, -0x1.995408p-13);
#endif
    return r + v_fma(r * z, p, v_fma(z * K(-0.5), l, l));
}
BB_INLINE V v_cos_series(V r, V l)
{
    V z = r * r, h = z * K(0.5), w = K(1) - h;
#if BB_DOUBLE
    V p = BB_P5(z, 0x1.555555555554bp-5, -0x1.6c16c16c15015p-10, 0x1.a01a019c8f254p-16,
                -0x1.27e4f7f191469p-22, 0x1.1ee9dbcef7f5ep-29, -0x1.8fa68483bd124p-37);
#else
    V p = BB_P2(z, 0x1.55554ap-5, -0x1.6c0c28p-10, 0x1.99e80cp-16);
#endif
    return w + (((K(1) - w) - h) + v_fma(z * z, p, -(r * l)));
}
/* masks and signs of n: bit 0 exchanges sine and cosine, bit 1 changes the sign */
BB_INLINE VM v_odd(VI n) { return v_lt((V)((VU)n << (int)(sizeof(R) * 8 - 1) ^ (VU)K(1)), K(0)); }
BB_INLINE V v_bit1(VI n) { return v_signbit((V)((VU)n << (int)(sizeof(R) * 8 - 2))); }

/*@ v_sin : v_trig_reduce v_trig_series */
/* sin x; 1 ulp. */
BB_INLINE V v_sin(V x)
{
    VI n;
    V l, r = v_trig_reduce(x, &l, &n);
    V y = v_xor(v_sel(v_odd(n), v_cos_series(r, l), v_sin_series(r, l)), v_bit1(n));
    return v_sel(v_eq(x, K(0)), x, y);
}

/*@ v_cos : v_trig_reduce v_trig_series */
/* cos x; 1 ulp. */
BB_INLINE V v_cos(V x)
{
    VI n;
    V l, r = v_trig_reduce(x, &l, &n);
    return v_xor(v_sel(v_odd(n), v_sin_series(r, l), v_cos_series(r, l)), v_bit1((VI)((VU)n + 1)));
}

/*@ v_tan : v_trig_reduce v_trig_series */
/* tan x; 2.5 ulp. */
BB_INLINE V v_tan(V x)
{
    VI n;
    V l, r = v_trig_reduce(x, &l, &n), s = v_sin_series(r, l), c = v_cos_series(r, l);
    VM odd = v_odd(n);
    return v_sel(v_eq(x, K(0)), x, v_sel(odd, -c, s) / v_sel(odd, s, c));
}

/*@ v_atan_core : */
/* The angle in [0, pi] of the point (b, a), a >= 0, mirrored where left is negative. The quotient q is
 * brought below tan(pi/8) by exchanging a and b and by a rotation of pi/4; n is the number of quarters.
 * E: atan. */
BB_INLINE V v_atan_core(V a, V b, V left)
{
    V scale = v_sel(v_gt(v_maxx(b, a), K(BB_DOUBLE ? 0x1p1020 : (double)0x1p124f)), K(0.25), K(1));
    V hi = v_maxx(b, a) * scale, lo = v_minx(b, a) * scale;
    VM same = v_eq(a, b), swap = v_gt(a, b);
    VM turn = v_or(v_gt(lo, hi * K(0x1.a827999fcef32p-2)), v_and(same, v_gt(a, K(0))));
    V q = v_sel(turn, lo - hi, lo) / v_sel(turn, lo + hi, hi);
    V n = v_sel(turn, K(1), K(0)), sign = v_sel(swap, K(-1), K(1));
    q = v_sel(same, K(0), q);
    n = v_sel(swap, K(2) - n, n);
    n = v_sel(v_lt(left, K(0)), K(4) - n, n);
    q = v_xor(q, v_signbit(v_xor(sign, left)));
    V z = q * q;
#if BB_DOUBLE
    V p = BB_P10(z, -0x1.555555555553dp-2, 0x1.9999999995869p-3, -0x1.24924922ad502p-3, 0x1.c71c70e6076bep-4,
                 -0x1.745cf8db732cep-4, 0x1.3b11190bfc302p-4, -0x1.10ebb7a82c1b3p-4, 0x1.df0f44350fe6cp-5,
                 -0x1.9cd2a766014d4p-5, 0x1.37d587ee607e8p-5, -0x1.256a52bafdcc4p-6);
    V quarter = K(0x1.921fb54442d18p-1), rest = K(0x1.1a62633145c07p-55);
#else
    V p = BB_P4(z, -0x1.55554ap-2, 0x1.9991e2p-3, -0x1.23b9a2p-3, 0x1.b22456p-4, -0x1.f2e5a8p-5);
    V quarter = K(0x1.921fb8p-1), rest = K(-0x1.5dde98p-24);
#endif
    return n * quarter + (q + v_fma(q * z, p, n * rest));
}

/*@ v_atan : v_atan_core */
/* atan x; 2 ulp. */
BB_INLINE V v_atan(V x) { return v_copysign(v_atan_core(v_abs(x), K(1), K(1)), x); }

/*@ v_atan2 : v_atan_core */
/* The angle of the point (x, y), as in C99; 2.5 ulp. */
BB_INLINE V v_atan2(V y, V x)
{
    V r = v_copysign(v_atan_core(v_abs(y), v_abs(x), v_copysign(K(1), x)), y);
    return v_sel(v_or(v_isnan(x), v_isnan(y)), x + y, r);
}

/*@ v_asin_core : */
/* asin s = s + s z p(z) for s = |x| up to 1/2, and for s = sqrt((1 - |x|)/2) above, where asin |x| = pi/2 - 2
 * asin s. E: asin. */
BB_INLINE V v_asin_core(V a, VM big)
{
    V z = v_sel(big, (K(1) - a) * K(0.5), a * a), s = v_sel(big, v_sqrt(z), a);
#if BB_DOUBLE
    V p = BB_P11(z, 0x1.555555555539p-3, 0x1.333333336e82dp-4, 0x1.6db6db42785e6p-5, 0x1.f1c72c39c57b5p-6,
                 0x1.6e89f42a2bf7fp-6, 0x1.1c6be3151b47bp-6, 0x1.c6fda313b9329p-7, 0x1.8ec3d26f47f44p-7,
                 0x1.abc7c1790fb8cp-8, 0x1.3ffa19e1546e9p-6, -0x1.09dc066592033p-6, 0x1.05709167b7a6p-5);
#else
    V p = BB_P4(z, 0x1.5555c8p-3, 0x1.330204p-4, 0x1.747bb8p-5, 0x1.8c3e54p-6, 0x1.595c58p-5);
#endif
    return v_fma(s * z, p, s);
}
#define BB_HALF_PI (BB_DOUBLE ? 0x1.921fb54442d18p+0 : 0x1.921fb8p+0)
#define BB_HALF_PI_REST (BB_DOUBLE ? 0x1.1a62633145c07p-54 : -0x1.5dde98p-23)

/*@ v_asin : v_asin_core */
/* asin x; 3 ulp. */
BB_INLINE V v_asin(V x)
{
    V a = v_abs(x);
    VM big = v_gt(a, K(0.5));
    V t = v_asin_core(a, big);
    return v_copysign(v_sel(big, K(BB_HALF_PI) - (t + t - K(BB_HALF_PI_REST)), t), x);
}

/*@ v_acos : v_asin_core */
/* acos x; 2 ulp. */
BB_INLINE V v_acos(V x)
{
    V a = v_abs(x);
    VM big = v_gt(a, K(0.5)), right = v_gt(x, K(0.5));
    V t = v_asin_core(a, big), n = v_sel(right, K(0), v_sel(big, K(2), K(1)));
    V u = v_sel(big, v_copysign(t + t, x), -v_copysign(t, x));
    return n * K(BB_HALF_PI) + v_fma(n, K(BB_HALF_PI_REST), u);
}

/*@ v_asinh : v_log1p */
/* asinh x = log(1 + a + a^2/(1 + sqrt(1 + a^2))), a = |x|; from 2^60 on log(1 + a) + log 2; 3 ulp. */
BB_INLINE V v_asinh(V x)
{
    V a = v_abs(x), z = a * a;
    VM small = v_lt(a, K(0x1p60));
    V y = v_log1p(v_sel(small, a + z / (K(1) + v_sqrt(K(1) + z)), a));
    return v_copysign(v_sel(small, y, y + K(0x1.62e42fefa39efp-1)), x);
}

/*@ v_acosh : v_log1p */
/* acosh x = log(1 + t + sqrt(t (t + 2))), t = x - 1; from 2^60 on log(1 + t) + log 2; NaN below 1; 3 ulp. */
BB_INLINE V v_acosh(V x)
{
    V t = x - K(1);
    VM small = v_lt(t, K(0x1p60));
    V y = v_log1p(v_sel(v_lt(t, K(0)), K(-2), v_sel(small, t + v_sqrt(t * (t + K(2))), t)));
    return v_sel(small, y, y + K(0x1.62e42fefa39efp-1));
}

/*@ v_atanh : v_log1p */
/* atanh x = log(1 + 2 a/(1 - a))/2, a = |x|; infinite at 1, NaN beyond; 3 ulp. */
BB_INLINE V v_atanh(V x)
{
    V a = v_abs(x);
    return v_copysign(K(0.5) * v_log1p((a + a) / (K(1) - a)), x);
}

/*@ v_two_prod : */
/* a b = h + l exactly (without FMA, and in double, up to 2^-105 of it): returns h. */
BB_INLINE V v_two_prod(V a, V b, V *l)
{
    V h = a * b;
#if BB_FMA
    *l = v_fma(a, b, -h);
#else
    const I mask = -((I)1 << (BB_DOUBLE ? 27 : 12));
    V ah = (V)((VI)a & mask), al = a - ah, bh = (V)((VI)b & mask), bl = b - bh;
    *l = (((ah * bh - h) + ah * bl) + al * bh) + al * bl;
#endif
    return h;
}

/*@ v_hypot : */
/* sqrt(a^2 + b^2) without overflow on the way; 1.2 ulp. */
BB_INLINE V v_hypot(V a, V b)
{
    const I limit = (I)(2 * BB_EB - 1);
    a = v_abs(a);
    b = v_abs(b);
    V hi = v_maxx(a, b), lo = v_minx(a, b);
    VU field = (VU)v_minx(hi, (V)v_splati(limit << BB_MB)) >> BB_MB;
    field += (field - 1) >> (int)(sizeof(R) * 8 - 1); /* at least 1 */
    V down = (V)((2 * BB_EB - field) << BB_MB), up = (V)(field << BB_MB);
    hi *= down;
    lo *= down;
    V r = v_sqrt(v_fma(hi, hi, lo * lo)) * up;
    r = v_sel(v_or(v_isnan(a), v_isnan(b)), a + b, r);
    return v_sel(v_or(v_eq(a, K(BB_INF)), v_eq(b, K(BB_INF))), K(BB_INF), r);
}

/*@ v_erf_series : */
/* erf x for |x| <= 1. E: erf. */
BB_INLINE V v_erf_series(V x)
{
    V z = x * x;
#if BB_DOUBLE
    V p = BB_P12(z, 0x1.06eba8214db69p-3, -0x1.812746b037a25p-2, 0x1.ce2f21a0458d8p-4, -0x1.b82ce31354cedp-6,
                 0x1.565bcd2c62ef2p-8, -0x1.c02db93314573p-11, 0x1.f9a3b951ee56ap-14, -0x1.f4dcf13c9f1a7p-17,
                 0x1.ba69135cf9ep-20, -0x1.6390bfe02c4cdp-23, 0x1.1320ae6305dcbp-26, -0x1.c4bb413514fc6p-30,
                 0x1.3ba4145518fafp-33);
#else
    V p = BB_P6(z, 0x1.06eba8p-3, -0x1.81273ep-2, 0x1.ce2ce6p-4, -0x1.b7f71ap-6, 0x1.53f22ep-8,
                -0x1.a351d4p-11, 0x1.47730ap-14);
#endif
    return v_fma(x, p, x);
}

/*@ v_erfc_tail : v_exp_parts v_scale v_two_prod */
/* erfc x for 1/2 <= x <= 27.3 (float 10.1), after Shepherd and Laframboise: (1 + 2 x) e^(x^2) erfc x is nearly constant and a
 * polynomial in (x - 4)/(x + 4). The square is taken in full, for its error is multiplied by x^2.
 * E: erfc. */
BB_INLINE V v_erfc_tail(V x)
{
    V t = (x - K(4)) / (x + K(4));
#if BB_DOUBLE
    V p = BB_P20(t, 0x1.3ba5916e9fd7fp+0, -0x1.1df1ad154a26ep-3, 0x1.f7f5df66fb17fp-7, 0x1.16ecefcfa3501p-4,
                 -0x1.9ddb23c3d70cap-4, 0x1.7fee004e576a5p-4, -0x1.0fb06dffecf57p-4, 0x1.3079eded74764p-5,
                 -0x1.096238377c4d1p-6, 0x1.49c6752a8344fp-8, -0x1.8d4adbef8d991p-11, -0x1.a1e105cdbed7dp-13,
                 0x1.3be489b440f0ap-13, -0x1.99231aaca6165p-16, -0x1.7937e9991ef0ap-17, 0x1.7d33b4f236a91p-18,
                 0x1.5d9ffa50af58dp-22, -0x1.a46aaacbe92cdp-21, 0x1.84c1a7ef8576fp-25, 0x1.40c8d6b82d9aap-24,
                 -0x1.353c6090b290ep-28);
#else
    V p = BB_P10(t, 0x1.3ba592p+0, -0x1.1df17cp-3, 0x1.f7cddcp-7, 0x1.16d8ccp-4, -0x1.9d749p-4, 0x1.81363ep-4,
                 -0x1.11fe0cp-4, 0x1.1fdcdep-5, -0x1.04bc72p-6, 0x1.36ef0ep-7, 0x1.507916p-9);
#endif
    V l, k, h = v_two_prod(x, x, &l), s = v_exp_parts(-h, -l, &k), c = p / v_fma(K(2), x, K(1));
    return v_scale(v_fma(s, c, c), k);
}

/*@ v_erf : v_erf_series v_erfc_tail */
/* erf x; 1.5 ulp. */
BB_INLINE V v_erf(V x)
{
    V a = v_abs(x), y = v_sel(v_lt(a, K(1)), v_erf_series(a), K(1) - v_erfc_tail(v_minx(K(6), a)));
    return v_copysign(y, x);
}

/*@ v_erfc : v_erf_series v_erfc_tail */
/* erfc x; 4 ulp. Zeros are not computed. */
BB_INLINE V v_erfc(V x)
{
    V a = v_abs(x);
    VM zero = v_gt(a, K(BB_DOUBLE ? 27.23 : 10.06));
    V t = v_sel(zero, K(0), v_erfc_tail(v_sel(zero, K(1), a))), y = v_sel(v_lt(x, K(0)), K(2) - t, t);
    return v_sel(v_lt(a, K(0.5)), K(1) - v_erf_series(x), y);
}

/*@ v_pow_core : v_log_parts v_two_prod v_scale */
/* a^b = 2^(b log2 a) for 0 < a < infinity: the logarithm as a sum of two numbers, half a word more exact than
 * the format. E: log-long, exp2-fine. */
BB_INLINE V v_log2_pair(V a, V *rest)
{
    V e, f = v_log_parts(a, &e);
    /* s + sl = f/(2 + f) */
    V u = K(2) + f, ul = f - (u - K(2)), inverse = K(1) / u, s = f * inverse, l;
    V t = v_two_prod(s, u, &l), sl = (((f - t) - l) - s * ul) * inverse;
    /* g + gl = z (2/3 + z p(z)), z + zl = (s + sl)^2 */
    V zl, z = v_two_prod(s, s, &zl);
    zl = v_fma(s + s, sl, zl);
#if BB_DOUBLE
    V p = BB_P8(z, 0x1.999999999999ap-2, 0x1.2492492492363p-2, 0x1.c71c71c747eb4p-3, 0x1.745d172bc6f6ep-3,
                0x1.3b13ba5b99a5fp-3, 0x1.110f1be69dec8p-3, 0x1.e2659998f42cdp-4, 0x1.a50697555cf4fp-4,
                0x1.ecb6a13f395c4p-4);
    V third = K(0x1.5555555555555p-1), thirdl = K(0x1.5555555555555p-55);
    V scale = K(0x1.71547652b82fep+0), scalel = K(0x1.777d0ffda0d24p-56);
#else
    V p = BB_P3(z, 0x1.999998p-2, 0x1.2493b6p-2, 0x1.c63da8p-3, 0x1.9083eap-3);
    V third = K(0x1.555556p-1), thirdl = K(-0x1.555556p-26);
    V scale = K(0x1.715476p+0), scalel = K(0x1.4ae0cp-26);
#endif
    V zp = z * p, c = third + zp, cl = thirdl + (zp - (c - third));
    V gl, g = v_two_prod(z, c, &gl);
    gl += v_fma(z, cl, zl * c);
    /* h + hl = 2 s + s g, then times 1/log 2 */
    V kl, k = v_two_prod(s, g, &kl), h = (s + s) + k, hl = ((s + s) - h) + k;
    hl += (sl + sl) + (kl + v_fma(s, gl, sl * g));
    V bl, b = v_two_prod(h, scale, &bl), y = e + b;
    bl += v_fma(h, scalel, hl * scale);
    *rest = ((e - y) + b) + bl;
    return y;
}
BB_INLINE V v_pow_core(V a, V b)
{
    const R big = BB_DOUBLE ? (R)0x1p66 : (R)0x1p36; /* beyond, only a = 1 has a finite nonzero power */
    V limit = K(BB_DOUBLE ? 1100 : 160);
    b = v_maxx(K(-big), v_minx(K(big), b));
    V yl, y = v_log2_pair(a, &yl), tl, t = v_two_prod(y, b, &tl);
    tl = v_sel(v_lt(v_abs(t), limit), v_fma(yl, b, tl), K(0));
    t = v_maxx(-limit, v_minx(limit, t));
    V k = (t + K(BB_MAGIC)) - K(BB_MAGIC), f = (t - k) + tl;
#if BB_DOUBLE
    V p = BB_P11(f, 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c574p-3, 0x1.c6b08d704a1fbp-5, 0x1.3b2ab6fbaadeap-7,
                 0x1.5d87fe786a9b5p-10, 0x1.430912dcbc857p-13, 0x1.ffcbfd7c84066p-17, 0x1.62c0923304ff4p-20,
                 0x1.b522c336a2087p-24, 0x1.e334ad4b92663p-28, 0x1.ed1a9d47a1ba8p-32, 0x1.f9e59a66b7bfp-35);
#else
    V p = BB_P6(f, 0x1.62e43p-1, 0x1.ebfbep-3, 0x1.c6b06ep-5, 0x1.3b2a74p-7, 0x1.5da43ap-10, 0x1.43e0ap-13,
                0x1.e0f81cp-17);
#endif
    return v_scale(v_fma(f, p, K(1)), k);
}

/*@ v_pow : v_pow_core */
/* a^b with the special cases of C99; 1.5 ulp. */
BB_INLINE V v_pow(V a, V b)
{
    V m = v_abs(a), r = v_pow_core(m, b);
    r = v_sel(v_or(v_eq(m, K(0)), v_eq(m, K(BB_INF))), v_sel(v_gt(b, K(0)), m, K(1) / m), r);
    VM whole = v_eq(v_floor(b), b), even = v_eq(K(2) * v_floor(b * K(0.5)), b);
    r = v_xor(r, v_sel(v_and(whole, v_not(even)), v_signbit(a), K(0)));
    VM complex = v_and(v_and(v_lt(a, K(0)), v_gt(a, K(-BB_INF))), v_not(whole));
    r = v_sel(complex, K(BB_NAN), r);
    r = v_sel(v_or(v_isnan(a), v_isnan(b)), a + b, r);
    return v_sel(v_or(v_eq(b, K(0)), v_eq(a, K(1))), K(1), r);
}

/*@ v_mod : */
/* a - b floor(a/b), by its definition. */
BB_INLINE V v_mod(V a, V b) { return v_fma(-b, v_floor(a / b), a); }
