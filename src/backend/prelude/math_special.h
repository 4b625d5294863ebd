/* Hypotenuse, error function, powers and remainder, behind math.h and math_trig.h; math.h says how blocks are written. */

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
