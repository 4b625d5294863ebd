/* Sine, cosine, tangent, their inverses and those of the hyperbolic functions, behind math.h, which says how blocks
 * are written. */

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
