/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  %0 = mul(x[0], y[0])
  %1 = powf(0.5, %0)
  %2 = powf(0.5, %1)
  %3 = powf(0.5, %2)
  %4 = powf(0.5, %3)
  %5 = powf(0.5, %4)
  %6 = powf(0.5, %5)
  %7 = powf(0.5, %6)
  %8 = powf(0.5, %7)
  %9 = powf(0.5, %8)
  %10 = powf(0.5, %9)
  %11 = powf(0.5, %10)
  %12 = powf(0.5, %11)
  %13 = powf(0.5, %12)
  %14 = powf(0.5, %13)
  sum[0] += %13 * y[1]
  sum[1] += %14

 */
/*@ v_scale : */
/*@ v_log_parts : */
/*@ v_two_prod : */
/*@ v_pow_core : v_log_parts v_two_prod v_scale */
/*@ v_pow : v_pow_core */

BB_INLINE V op_mul(V a, V b) { return a * b; }
BB_INLINE V op_powf(V a, V b) { return v_pow(a, b); }
BB_INLINE V op_fma(V a, V b, V c) { return v_fma(a, b, c); }
/* ==== kernel ==== */

typedef long long I64;
#define BB_L (I64)(256 / sizeof(R))
static void group_1(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 t = 0, t1 = casts;
    {
        const V x0_0 = v_loadu(lane);
        V s0_0 = v_loadu(sum + 0 * BB_L);
        V s1_0 = v_loadu(sum + 1 * BB_L);
        I64 q = t;
        for (; q < t1; q++) {
            const V y0 = v_splat(cast[q]);
            V a0_0_0 = op_mul(x0_0, y0);
            V a1_0_0 = op_powf(K(0x1p-1), a0_0_0);
            V a2_0_0 = op_powf(K(0x1p-1), a1_0_0);
            V a3_0_0 = op_powf(K(0x1p-1), a2_0_0);
            V a4_0_0 = op_powf(K(0x1p-1), a3_0_0);
            V a5_0_0 = op_powf(K(0x1p-1), a4_0_0);
            V a6_0_0 = op_powf(K(0x1p-1), a5_0_0);
            V a7_0_0 = op_powf(K(0x1p-1), a6_0_0);
            V a8_0_0 = op_powf(K(0x1p-1), a7_0_0);
            V a9_0_0 = op_powf(K(0x1p-1), a8_0_0);
            V a10_0_0 = op_powf(K(0x1p-1), a9_0_0);
            V a11_0_0 = op_powf(K(0x1p-1), a10_0_0);
            V a12_0_0 = op_powf(K(0x1p-1), a11_0_0);
            V a13_0_0 = op_powf(K(0x1p-1), a12_0_0);
            V a14_0_0 = op_powf(K(0x1p-1), a13_0_0);
            const V y1 = v_splat(cast[q + 1 * cast_stride]);
            s0_0 = op_fma(a13_0_0, y1, s0_0);
            s1_0 = a14_0_0 + s1_0;
        }
        v_storeu(sum + 0 * BB_L, s0_0);
        v_storeu(sum + 1 * BB_L, s1_0);
    }
}
void benben_kernel(const I64 *size, const void *uniform, const void *lane, I64 lane_stride,
    const void *cast, I64 cast_stride, I64 lanes, I64 casts, void *sum, void *out, I64 out_stride)
{
    I64 e = 0;
    for (; e < lanes; e += BB_W) {
        group_1(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
}
