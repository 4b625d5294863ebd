/* Sine, cosine and tangent for CUDA, two to three ulp: the device's own keep an array on the stack, and use float64 in
 * float32 kernels. Cody and Waite reduce by pi/2 = A + B + C up to BB_TRIG_LIMIT, where x - n A is exact. Beyond, Payne
 * and Hanek: |x| = m 2^e with an integer m; the bits of 2/pi that contribute multiples of 4 to x 2/pi are skipped, and m
 * times the next three words, whose last is only carried from, leaves twice as many bits behind the binary point as are
 * zero where a number comes closest to a multiple of pi/2. The words are read from constant memory. */
#if BB_DOUBLE
#define BB_TRIG_LIMIT 0x1p30
typedef double bb_real;
typedef unsigned long long bb_word;
/* 64 zero bits, then 2/pi */
static __constant__ bb_word bb_two_over_pi[20] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
    0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
    0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};
BB_INLINE bb_word bb_high(bb_word a, bb_word b)
{
    const bb_word al = (unsigned)a, ah = a >> 32, bl = (unsigned)b, bh = b >> 32;
    const bb_word t = ah * bl + (al * bl >> 32), u = al * bh + (unsigned)t;
    return ah * bh + (t >> 32) + (u >> 32);
}
/* |x| = n pi/2 + r */
typedef struct { double r; int n; } bb_turn;
BB_RARE bb_turn bb_trig_huge(double x)
{
    const bb_word bits = (bb_word)__double_as_longlong(x), m = (bits & 0xfffffffffffffull) | 0x10000000000000ull;
    const int field = (int)(bits >> 52) & 2047, at = (field < 2047 ? field : 2046) - 1013, k = at >> 6, s = at & 63;
    const bb_word t0 = bb_two_over_pi[k], t1 = bb_two_over_pi[k + 1], t2 = bb_two_over_pi[k + 2];
    const bb_word w0 = t0 << s | t1 >> 1 >> (63 - s), w1 = t1 << s | t2 >> 1 >> (63 - s);
    const bb_word carry = bb_high(m, t2 << s | bb_two_over_pi[k + 3] >> 1 >> (63 - s));
    bb_word low = m * w1 + carry, high = m * w0 + bb_high(m, w1) + (low < carry);
    const int n = (int)((high + (1ull << 61)) >> 62);
    high -= (bb_word)n << 62;
    const bool minus = (long long)high < 0;
    high = minus ? ~high : high, low = minus ? ~low : low;
    const double f = (double)(unsigned)(high >> 32) * 0x1p-30 +
                     ((double)(unsigned)high * 0x1p-62 +
                      ((double)(unsigned)(low >> 32) * 0x1p-94 + (double)(unsigned)low * 0x1p-126));
    const double r = fma(f, 0x1.921fb54442d18p+0, f * 0x1.1a62633145c07p-54);
    const bb_turn turn = {minus ? -r : r, n};
    return turn;
}
BB_INLINE bb_turn bb_trig_near(double x)
{
    const double m = fma(x, 0x1.45f306dc9c883p-1, 0x1.8p52), k = m - 0x1.8p52;
    const bb_turn turn = {fma(k, 0x1.f1976b7ed8fbcp-110, fma(k, -0x1.1a62633145c07p-54, fma(k, -0x1.921fb54442d18p+0, x))),
                          (int)__double_as_longlong(m)};
    return turn;
}
/* the series of sine or cosine behind its first terms, of z = r^2 */
BB_INLINE double bb_trig_series(double z, bool cosine)
{
    double p = cosine ? -0x1.8fa68483bd124p-37 : 0x1.5d8b5567d157cp-33;
    p = fma(p, z, cosine ? 0x1.1ee9dbcef7f5ep-29 : -0x1.ae5e4b837d6a5p-26);
    p = fma(p, z, cosine ? -0x1.27e4f7f191469p-22 : 0x1.71de35552b08dp-19);
    p = fma(p, z, cosine ? 0x1.a01a019c8f254p-16 : -0x1.a01a019be9215p-13);
    p = fma(p, z, cosine ? -0x1.6c16c16c15015p-10 : 0x1.111111110f73p-7);
    return fma(p, z, cosine ? 0x1.555555555554bp-5 : -0x1.5555555555548p-3);
}
#else
#define BB_TRIG_LIMIT 0x1p16f
typedef float bb_real;
typedef unsigned long long bb_word;
/* 32 zero bits, then 2/pi */
static __constant__ unsigned bb_two_over_pi[8] = {0x00000000, 0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                                  0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
typedef struct { float r; int n; } bb_turn;
BB_RARE bb_turn bb_trig_huge(float x)
{
    const unsigned bits = __float_as_uint(x);
    const int field = (int)(bits >> 23) & 255, at = (field < 255 ? field : 254) - 120, k = at >> 5, s = at & 31;
    const unsigned t0 = bb_two_over_pi[k], t1 = bb_two_over_pi[k + 1], t2 = bb_two_over_pi[k + 2];
    const unsigned w0 = t0 << s | t1 >> 1 >> (31 - s), w1 = t1 << s | t2 >> 1 >> (31 - s);
    const unsigned w2 = t2 << s | bb_two_over_pi[k + 3] >> 1 >> (31 - s);
    const bb_word m = (bits & 0x7fffffu) | 0x800000u;
    bb_word p = (m * w0 << 32) + m * w1 + (m * w2 >> 32);
    const int n = (int)((p + (1ull << 61)) >> 62);
    p -= (bb_word)n << 62;
    const bool minus = (long long)p < 0;
    const float f = (float)(minus ? ~p : p) * 0x1p-62f, r = fma(f, 0x1.921fb6p+0f, f * -0x1.777a5cp-25f);
    const bb_turn turn = {minus ? -r : r, n};
    return turn;
}
BB_INLINE bb_turn bb_trig_near(float x)
{
    const float m = fma(x, 0x1.45f306p-1f, 0x1.8p23f), k = m - 0x1.8p23f;
    const bb_turn turn = {fma(k, 0x1.ee59dap-50f, fma(k, 0x1.777a5cp-25f, fma(k, -0x1.921fb6p+0f, x))),
                          (int)__float_as_uint(m)};
    return turn;
}
BB_INLINE float bb_trig_series(float z, bool cosine)
{
    float p = cosine ? 0x1.99e80cp-16f : -0x1.995408p-13f;
    p = fma(p, z, cosine ? -0x1.6c0c28p-10f : 0x1.110778p-7f);
    return fma(p, z, cosine ? 0x1.55554ap-5f : -0x1.555546p-3f);
}
#endif
/* x = n pi/2 + r */
BB_INLINE bb_turn bb_trig_reduce(bb_real x)
{
    bb_turn turn = bb_trig_near(x);
    if (!(fabs(x) <= BB_TRIG_LIMIT)) {
        turn = bb_trig_huge(x);
        turn.r += x - x; /* infinity: NaN */
        if (x < 0) turn.r = -turn.r, turn.n = -turn.n;
    }
    return turn;
}
BB_INLINE bb_real bb_sin_of(bb_real r) { return fma(r * (r * r), bb_trig_series(r * r, false), r); }
BB_INLINE bb_real bb_cos_of(bb_real z) { return fma(z, fma(z, bb_trig_series(z, true), (bb_real)-0.5), (bb_real)1); }
/* sin(x + quarters pi/2) */
BB_INLINE bb_real bb_quarter(bb_real x, int quarters)
{
    const bb_turn turn = bb_trig_reduce(x);
    const bb_real r = turn.r, z = r * r;
    const int n = turn.n + quarters;
    const bool cosine = n & 1;
    const bb_real p = bb_trig_series(z, cosine), q = cosine ? fma(z, p, (bb_real)-0.5) : p;
    const bb_real y = fma(cosine ? z : r * z, q, cosine ? (bb_real)1 : r);
    return n & 2 ? -y : y;
}
BB_INLINE bb_real bb_sin(bb_real x) { return x == 0 ? x : bb_quarter(x, 0); }
BB_INLINE bb_real bb_cos(bb_real x) { return bb_quarter(x, 1); }
BB_INLINE bb_real bb_tan(bb_real x)
{
    const bb_turn turn = bb_trig_reduce(x);
    const bb_real s = bb_sin_of(turn.r), c = bb_cos_of(turn.r * turn.r);
    return x == 0 ? x : turn.n & 1 ? -c / s : s / c;
}
