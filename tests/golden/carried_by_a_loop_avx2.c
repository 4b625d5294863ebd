/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  %0 := 1
  loop c0 < n[2] {
    %0 = mul(%0, x[c0])
    sum[c0] += %0 * y[c0]
  }

 */

BB_INLINE V op_mul(V a, V b) { return a * b; }
BB_INLINE V op_fma(V a, V b, V c) { return v_fma(a, b, c); }
/* ==== kernel ==== */

typedef long long I64;
#define BB_L (I64)(256 / sizeof(R))
static void group_1(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 n2 = size[2];
    V b0[64];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            I64 q = t;
            for (; q < t1; q++) {
                V a0_0_0 = K(1e0);
                b0[(q - t + 0) * 1 + 0] = a0_0_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                    V s1_0 = v_loadu(sum + c0 * BB_L);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = b0[(q - t + 0) * 1 + 0];
                        a0_0_0 = op_mul(a0_0_0, xi1_0);
                        const V yi1 = v_splat(cast[q + c0 * cast_stride]);
                        s1_0 = op_fma(a0_0_0, yi1, s1_0);
                        b0[(q - t + 0) * 1 + 0] = a0_0_0;
                    }
                    v_storeu(sum + c0 * BB_L, s1_0);
                }
            }
        }
    }
}
static void group_2(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 n2 = size[2];
    V b0[128];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            I64 q = t;
            for (; q < t1; q++) {
                V a0_0_0 = K(1e0);
                V a0_1_0 = K(1e0);
                b0[(q - t + 0) * 2 + 0] = a0_0_0;
                b0[(q - t + 0) * 2 + 1] = a0_1_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                    const V xi1_1 = v_loadu(lane + c0 * lane_stride + BB_W);
                    V s1_0 = v_loadu(sum + c0 * BB_L);
                    V s1_1 = v_loadu(sum + c0 * BB_L + 1 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = b0[(q - t + 0) * 2 + 0];
                        V a0_1_0 = b0[(q - t + 0) * 2 + 1];
                        a0_0_0 = op_mul(a0_0_0, xi1_0);
                        a0_1_0 = op_mul(a0_1_0, xi1_1);
                        const V yi1 = v_splat(cast[q + c0 * cast_stride]);
                        s1_0 = op_fma(a0_0_0, yi1, s1_0);
                        s1_1 = op_fma(a0_1_0, yi1, s1_1);
                        b0[(q - t + 0) * 2 + 0] = a0_0_0;
                        b0[(q - t + 0) * 2 + 1] = a0_1_0;
                    }
                    v_storeu(sum + c0 * BB_L, s1_0);
                    v_storeu(sum + c0 * BB_L + 1 * BB_W, s1_1);
                }
            }
        }
    }
}
void benben_kernel(const I64 *size, const void *uniform, const void *lane, I64 lane_stride,
    const void *cast, I64 cast_stride, I64 lanes, I64 casts, void *sum, void *out, I64 out_stride)
{
    I64 e = 0;
    for (; lanes - e > 1 * BB_W; e += 2 * BB_W) {
        group_2(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
    for (; e < lanes; e += BB_W) {
        group_1(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
}
