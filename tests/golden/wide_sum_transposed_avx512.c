/* Pair kernel in float: columns y in lanes, rows x cast. Every pair (x, y) does

  %0 = sub(x[0], y[0])
  %1 = mul(%0, %0)
  %2 = sub(x[1], y[1])
  %3 = fma(%2, %2, %1)
  %4 = sub(x[2], y[2])
  %5 = fma(%4, %4, %3)
  %6 = neg(%5)
  %7 = exp(%6)
  loop c0 < n[2] {
    sum[c0] += %7 * y[c0 + 3]
  }

 */
/*@ v_scale : */
/*@ v_exp_parts : */
/*@ v_exp : v_exp_parts v_scale */

BB_INLINE V op_sub(V a, V b) { return a - b; }
BB_INLINE V op_mul(V a, V b) { return a * b; }
BB_INLINE V op_neg(V a) { return -a; }
BB_INLINE V op_exp(V a) { return v_exp(a); }
BB_INLINE V op_fma(V a, V b, V c) { return v_fma(a, b, c); }
/* ==== kernel ==== */

typedef long long I64;
#define BB_L (I64)(256 / sizeof(R))
static void group_1(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 n2 = size[2];
    const I64 sum_count = size[0];
    V b7[64];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const V y0_0 = v_loadu(lane);
            const V y1_0 = v_loadu(lane + 1 * lane_stride);
            const V y2_0 = v_loadu(lane + 2 * lane_stride);
            I64 q = t;
            for (; q < t1; q++) {
                const V x0 = v_splat(cast[q]);
                V a0_0_0 = op_sub(x0, y0_0);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                const V x1 = v_splat(cast[q + 1 * cast_stride]);
                V a2_0_0 = op_sub(x1, y1_0);
                V a3_0_0 = op_fma(a2_0_0, a2_0_0, a1_0_0);
                const V x2 = v_splat(cast[q + 2 * cast_stride]);
                V a4_0_0 = op_sub(x2, y2_0);
                V a5_0_0 = op_fma(a4_0_0, a4_0_0, a3_0_0);
                V a6_0_0 = op_neg(a5_0_0);
                V a7_0_0 = op_exp(a6_0_0);
                b7[(q - t + 0) * 1 + 0] = a7_0_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const V yi6_0 = v_loadu(lane + (c0 + 3) * lane_stride);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a7_0_0 = b7[(q - t + 0) * 1 + 0];
                        v_storeu(sum + (q * sum_count + c0) * BB_L, op_fma(a7_0_0, yi6_0, v_loadu(sum + (q * sum_count + c0) * BB_L)));
                    }
                }
            }
        }
    }
}
static void group_4(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 n2 = size[2];
    const I64 sum_count = size[0];
    V b7[256];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const V y0_0 = v_loadu(lane);
            const V y0_1 = v_loadu(lane + BB_W);
            const V y0_2 = v_loadu(lane + 2 * BB_W);
            const V y0_3 = v_loadu(lane + 3 * BB_W);
            const V y1_0 = v_loadu(lane + 1 * lane_stride);
            const V y1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
            const V y1_2 = v_loadu(lane + 1 * lane_stride + 2 * BB_W);
            const V y1_3 = v_loadu(lane + 1 * lane_stride + 3 * BB_W);
            const V y2_0 = v_loadu(lane + 2 * lane_stride);
            const V y2_1 = v_loadu(lane + 2 * lane_stride + BB_W);
            const V y2_2 = v_loadu(lane + 2 * lane_stride + 2 * BB_W);
            const V y2_3 = v_loadu(lane + 2 * lane_stride + 3 * BB_W);
            I64 q = t;
            for (; q < t1; q++) {
                const V x0 = v_splat(cast[q]);
                V a0_0_0 = op_sub(x0, y0_0);
                V a0_1_0 = op_sub(x0, y0_1);
                V a0_2_0 = op_sub(x0, y0_2);
                V a0_3_0 = op_sub(x0, y0_3);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                V a1_1_0 = op_mul(a0_1_0, a0_1_0);
                V a1_2_0 = op_mul(a0_2_0, a0_2_0);
                V a1_3_0 = op_mul(a0_3_0, a0_3_0);
                const V x1 = v_splat(cast[q + 1 * cast_stride]);
                V a2_0_0 = op_sub(x1, y1_0);
                V a2_1_0 = op_sub(x1, y1_1);
                V a2_2_0 = op_sub(x1, y1_2);
                V a2_3_0 = op_sub(x1, y1_3);
                V a3_0_0 = op_fma(a2_0_0, a2_0_0, a1_0_0);
                V a3_1_0 = op_fma(a2_1_0, a2_1_0, a1_1_0);
                V a3_2_0 = op_fma(a2_2_0, a2_2_0, a1_2_0);
                V a3_3_0 = op_fma(a2_3_0, a2_3_0, a1_3_0);
                const V x2 = v_splat(cast[q + 2 * cast_stride]);
                V a4_0_0 = op_sub(x2, y2_0);
                V a4_1_0 = op_sub(x2, y2_1);
                V a4_2_0 = op_sub(x2, y2_2);
                V a4_3_0 = op_sub(x2, y2_3);
                V a5_0_0 = op_fma(a4_0_0, a4_0_0, a3_0_0);
                V a5_1_0 = op_fma(a4_1_0, a4_1_0, a3_1_0);
                V a5_2_0 = op_fma(a4_2_0, a4_2_0, a3_2_0);
                V a5_3_0 = op_fma(a4_3_0, a4_3_0, a3_3_0);
                V a6_0_0 = op_neg(a5_0_0);
                V a6_1_0 = op_neg(a5_1_0);
                V a6_2_0 = op_neg(a5_2_0);
                V a6_3_0 = op_neg(a5_3_0);
                V a7_0_0 = op_exp(a6_0_0);
                V a7_1_0 = op_exp(a6_1_0);
                V a7_2_0 = op_exp(a6_2_0);
                V a7_3_0 = op_exp(a6_3_0);
                b7[(q - t + 0) * 4 + 0] = a7_0_0;
                b7[(q - t + 0) * 4 + 1] = a7_1_0;
                b7[(q - t + 0) * 4 + 2] = a7_2_0;
                b7[(q - t + 0) * 4 + 3] = a7_3_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 + 5 <= n2; c0 += 5) {
                {
                    const V yi6_0_0 = v_loadu(lane + (c0 + 3) * lane_stride);
                    const V yi6_1_0 = v_loadu(lane + (c0 + 3) * lane_stride + BB_W);
                    const V yi6_2_0 = v_loadu(lane + (c0 + 3) * lane_stride + 2 * BB_W);
                    const V yi6_3_0 = v_loadu(lane + (c0 + 3) * lane_stride + 3 * BB_W);
                    const V yi6_0_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride);
                    const V yi6_1_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride + BB_W);
                    const V yi6_2_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride + 2 * BB_W);
                    const V yi6_3_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride + 3 * BB_W);
                    const V yi6_0_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride);
                    const V yi6_1_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride + BB_W);
                    const V yi6_2_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride + 2 * BB_W);
                    const V yi6_3_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride + 3 * BB_W);
                    const V yi6_0_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride);
                    const V yi6_1_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride + BB_W);
                    const V yi6_2_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride + 2 * BB_W);
                    const V yi6_3_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride + 3 * BB_W);
                    const V yi6_0_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride);
                    const V yi6_1_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride + BB_W);
                    const V yi6_2_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride + 2 * BB_W);
                    const V yi6_3_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride + 3 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a7_0_0 = b7[(q - t + 0) * 4 + 0];
                        V a7_1_0 = b7[(q - t + 0) * 4 + 1];
                        V a7_2_0 = b7[(q - t + 0) * 4 + 2];
                        V a7_3_0 = b7[(q - t + 0) * 4 + 3];
                        v_storeu(sum + (q * sum_count + c0) * BB_L, op_fma(a7_0_0, yi6_0_0, v_loadu(sum + (q * sum_count + c0) * BB_L)));
                        v_storeu(sum + (q * sum_count + c0) * BB_L + 1 * BB_W, op_fma(a7_1_0, yi6_1_0, v_loadu(sum + (q * sum_count + c0) * BB_L + 1 * BB_W)));
                        v_storeu(sum + (q * sum_count + c0) * BB_L + 2 * BB_W, op_fma(a7_2_0, yi6_2_0, v_loadu(sum + (q * sum_count + c0) * BB_L + 2 * BB_W)));
                        v_storeu(sum + (q * sum_count + c0) * BB_L + 3 * BB_W, op_fma(a7_3_0, yi6_3_0, v_loadu(sum + (q * sum_count + c0) * BB_L + 3 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 1)) * BB_L, op_fma(a7_0_0, yi6_0_1, v_loadu(sum + (q * sum_count + (c0 + 1)) * BB_L)));
                        v_storeu(sum + (q * sum_count + (c0 + 1)) * BB_L + 1 * BB_W, op_fma(a7_1_0, yi6_1_1, v_loadu(sum + (q * sum_count + (c0 + 1)) * BB_L + 1 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 1)) * BB_L + 2 * BB_W, op_fma(a7_2_0, yi6_2_1, v_loadu(sum + (q * sum_count + (c0 + 1)) * BB_L + 2 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 1)) * BB_L + 3 * BB_W, op_fma(a7_3_0, yi6_3_1, v_loadu(sum + (q * sum_count + (c0 + 1)) * BB_L + 3 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 2)) * BB_L, op_fma(a7_0_0, yi6_0_2, v_loadu(sum + (q * sum_count + (c0 + 2)) * BB_L)));
                        v_storeu(sum + (q * sum_count + (c0 + 2)) * BB_L + 1 * BB_W, op_fma(a7_1_0, yi6_1_2, v_loadu(sum + (q * sum_count + (c0 + 2)) * BB_L + 1 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 2)) * BB_L + 2 * BB_W, op_fma(a7_2_0, yi6_2_2, v_loadu(sum + (q * sum_count + (c0 + 2)) * BB_L + 2 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 2)) * BB_L + 3 * BB_W, op_fma(a7_3_0, yi6_3_2, v_loadu(sum + (q * sum_count + (c0 + 2)) * BB_L + 3 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 3)) * BB_L, op_fma(a7_0_0, yi6_0_3, v_loadu(sum + (q * sum_count + (c0 + 3)) * BB_L)));
                        v_storeu(sum + (q * sum_count + (c0 + 3)) * BB_L + 1 * BB_W, op_fma(a7_1_0, yi6_1_3, v_loadu(sum + (q * sum_count + (c0 + 3)) * BB_L + 1 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 3)) * BB_L + 2 * BB_W, op_fma(a7_2_0, yi6_2_3, v_loadu(sum + (q * sum_count + (c0 + 3)) * BB_L + 2 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 3)) * BB_L + 3 * BB_W, op_fma(a7_3_0, yi6_3_3, v_loadu(sum + (q * sum_count + (c0 + 3)) * BB_L + 3 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 4)) * BB_L, op_fma(a7_0_0, yi6_0_4, v_loadu(sum + (q * sum_count + (c0 + 4)) * BB_L)));
                        v_storeu(sum + (q * sum_count + (c0 + 4)) * BB_L + 1 * BB_W, op_fma(a7_1_0, yi6_1_4, v_loadu(sum + (q * sum_count + (c0 + 4)) * BB_L + 1 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 4)) * BB_L + 2 * BB_W, op_fma(a7_2_0, yi6_2_4, v_loadu(sum + (q * sum_count + (c0 + 4)) * BB_L + 2 * BB_W)));
                        v_storeu(sum + (q * sum_count + (c0 + 4)) * BB_L + 3 * BB_W, op_fma(a7_3_0, yi6_3_4, v_loadu(sum + (q * sum_count + (c0 + 4)) * BB_L + 3 * BB_W)));
                    }
                }
            }
            for (; c0 < n2; c0 += 1) {
                {
                    const V yi6_0 = v_loadu(lane + (c0 + 3) * lane_stride);
                    const V yi6_1 = v_loadu(lane + (c0 + 3) * lane_stride + BB_W);
                    const V yi6_2 = v_loadu(lane + (c0 + 3) * lane_stride + 2 * BB_W);
                    const V yi6_3 = v_loadu(lane + (c0 + 3) * lane_stride + 3 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a7_0_0 = b7[(q - t + 0) * 4 + 0];
                        V a7_1_0 = b7[(q - t + 0) * 4 + 1];
                        V a7_2_0 = b7[(q - t + 0) * 4 + 2];
                        V a7_3_0 = b7[(q - t + 0) * 4 + 3];
                        v_storeu(sum + (q * sum_count + c0) * BB_L, op_fma(a7_0_0, yi6_0, v_loadu(sum + (q * sum_count + c0) * BB_L)));
                        v_storeu(sum + (q * sum_count + c0) * BB_L + 1 * BB_W, op_fma(a7_1_0, yi6_1, v_loadu(sum + (q * sum_count + c0) * BB_L + 1 * BB_W)));
                        v_storeu(sum + (q * sum_count + c0) * BB_L + 2 * BB_W, op_fma(a7_2_0, yi6_2, v_loadu(sum + (q * sum_count + c0) * BB_L + 2 * BB_W)));
                        v_storeu(sum + (q * sum_count + c0) * BB_L + 3 * BB_W, op_fma(a7_3_0, yi6_3, v_loadu(sum + (q * sum_count + c0) * BB_L + 3 * BB_W)));
                    }
                }
            }
        }
    }
}
void benben_kernel(const I64 *size, const void *uniform, const void *lane, I64 lane_stride,
    const void *cast, I64 cast_stride, I64 lanes, I64 casts, void *sum, void *out, I64 out_stride)
{
    I64 e = 0;
    for (; lanes - e > 2 * BB_W; e += 4 * BB_W) {
        group_4(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
    for (; e < lanes; e += BB_W) {
        group_1(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
}
