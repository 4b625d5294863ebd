/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  loop c0 < n[2] {
    %0 = (c0 >= 2) and (c0 < 7) ? y[c0 - 2] : 0
    %1 = c0 % 2 ? %0 : x[c0]
    %2 = mul(%1, (c0 + 1))
    sum[c0] += %2 * 0.29999999999999999
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
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    V s1_0_0 = v_loadu(sum + c0 * BB_L);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = ((c0 >= 2) && (c0 < 7)) ? v_splat(cast[q + (c0 - 2) * cast_stride]) : K(0e0);
                        V a1_0_0 = (c0 % 2) ? a0_0_0 : v_loadu(lane + c0 * lane_stride);
                        V a2_0_0 = op_mul(a1_0_0, v_splat((R)(c0 + 1)));
                        s1_0_0 = op_fma(a2_0_0, K(0x13333333333333p-54), s1_0_0);
                    }
                    v_storeu(sum + c0 * BB_L, s1_0_0);
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
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            I64 c0 = 0;
            for (; c0 + 5 <= n2; c0 += 5) {
                {
                    V s1_0_0 = v_loadu(sum + c0 * BB_L);
                    V s1_1_0 = v_loadu(sum + c0 * BB_L + 1 * BB_W);
                    V s1_0_1 = v_loadu(sum + (c0 + 1) * BB_L);
                    V s1_1_1 = v_loadu(sum + (c0 + 1) * BB_L + 1 * BB_W);
                    V s1_0_2 = v_loadu(sum + (c0 + 2) * BB_L);
                    V s1_1_2 = v_loadu(sum + (c0 + 2) * BB_L + 1 * BB_W);
                    V s1_0_3 = v_loadu(sum + (c0 + 3) * BB_L);
                    V s1_1_3 = v_loadu(sum + (c0 + 3) * BB_L + 1 * BB_W);
                    V s1_0_4 = v_loadu(sum + (c0 + 4) * BB_L);
                    V s1_1_4 = v_loadu(sum + (c0 + 4) * BB_L + 1 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = ((c0 >= 2) && (c0 < 7)) ? v_splat(cast[q + (c0 - 2) * cast_stride]) : K(0e0);
                        V a0_1_0 = ((c0 >= 2) && (c0 < 7)) ? v_splat(cast[q + (c0 - 2) * cast_stride]) : K(0e0);
                        V a0_0_1 = (((c0 + 1) >= 2) && ((c0 + 1) < 7)) ? v_splat(cast[q + ((c0 + 1) - 2) * cast_stride]) : K(0e0);
                        V a0_1_1 = (((c0 + 1) >= 2) && ((c0 + 1) < 7)) ? v_splat(cast[q + ((c0 + 1) - 2) * cast_stride]) : K(0e0);
                        V a0_0_2 = (((c0 + 2) >= 2) && ((c0 + 2) < 7)) ? v_splat(cast[q + ((c0 + 2) - 2) * cast_stride]) : K(0e0);
                        V a0_1_2 = (((c0 + 2) >= 2) && ((c0 + 2) < 7)) ? v_splat(cast[q + ((c0 + 2) - 2) * cast_stride]) : K(0e0);
                        V a0_0_3 = (((c0 + 3) >= 2) && ((c0 + 3) < 7)) ? v_splat(cast[q + ((c0 + 3) - 2) * cast_stride]) : K(0e0);
                        V a0_1_3 = (((c0 + 3) >= 2) && ((c0 + 3) < 7)) ? v_splat(cast[q + ((c0 + 3) - 2) * cast_stride]) : K(0e0);
                        V a0_0_4 = (((c0 + 4) >= 2) && ((c0 + 4) < 7)) ? v_splat(cast[q + ((c0 + 4) - 2) * cast_stride]) : K(0e0);
                        V a0_1_4 = (((c0 + 4) >= 2) && ((c0 + 4) < 7)) ? v_splat(cast[q + ((c0 + 4) - 2) * cast_stride]) : K(0e0);
                        V a1_0_0 = (c0 % 2) ? a0_0_0 : v_loadu(lane + c0 * lane_stride);
                        V a1_1_0 = (c0 % 2) ? a0_1_0 : v_loadu(lane + c0 * lane_stride + BB_W);
                        V a1_0_1 = ((c0 + 1) % 2) ? a0_0_1 : v_loadu(lane + (c0 + 1) * lane_stride);
                        V a1_1_1 = ((c0 + 1) % 2) ? a0_1_1 : v_loadu(lane + (c0 + 1) * lane_stride + BB_W);
                        V a1_0_2 = ((c0 + 2) % 2) ? a0_0_2 : v_loadu(lane + (c0 + 2) * lane_stride);
                        V a1_1_2 = ((c0 + 2) % 2) ? a0_1_2 : v_loadu(lane + (c0 + 2) * lane_stride + BB_W);
                        V a1_0_3 = ((c0 + 3) % 2) ? a0_0_3 : v_loadu(lane + (c0 + 3) * lane_stride);
                        V a1_1_3 = ((c0 + 3) % 2) ? a0_1_3 : v_loadu(lane + (c0 + 3) * lane_stride + BB_W);
                        V a1_0_4 = ((c0 + 4) % 2) ? a0_0_4 : v_loadu(lane + (c0 + 4) * lane_stride);
                        V a1_1_4 = ((c0 + 4) % 2) ? a0_1_4 : v_loadu(lane + (c0 + 4) * lane_stride + BB_W);
                        V a2_0_0 = op_mul(a1_0_0, v_splat((R)(c0 + 1)));
                        V a2_1_0 = op_mul(a1_1_0, v_splat((R)(c0 + 1)));
                        V a2_0_1 = op_mul(a1_0_1, v_splat((R)((c0 + 1) + 1)));
                        V a2_1_1 = op_mul(a1_1_1, v_splat((R)((c0 + 1) + 1)));
                        V a2_0_2 = op_mul(a1_0_2, v_splat((R)((c0 + 2) + 1)));
                        V a2_1_2 = op_mul(a1_1_2, v_splat((R)((c0 + 2) + 1)));
                        V a2_0_3 = op_mul(a1_0_3, v_splat((R)((c0 + 3) + 1)));
                        V a2_1_3 = op_mul(a1_1_3, v_splat((R)((c0 + 3) + 1)));
                        V a2_0_4 = op_mul(a1_0_4, v_splat((R)((c0 + 4) + 1)));
                        V a2_1_4 = op_mul(a1_1_4, v_splat((R)((c0 + 4) + 1)));
                        s1_0_0 = op_fma(a2_0_0, K(0x13333333333333p-54), s1_0_0);
                        s1_1_0 = op_fma(a2_1_0, K(0x13333333333333p-54), s1_1_0);
                        s1_0_1 = op_fma(a2_0_1, K(0x13333333333333p-54), s1_0_1);
                        s1_1_1 = op_fma(a2_1_1, K(0x13333333333333p-54), s1_1_1);
                        s1_0_2 = op_fma(a2_0_2, K(0x13333333333333p-54), s1_0_2);
                        s1_1_2 = op_fma(a2_1_2, K(0x13333333333333p-54), s1_1_2);
                        s1_0_3 = op_fma(a2_0_3, K(0x13333333333333p-54), s1_0_3);
                        s1_1_3 = op_fma(a2_1_3, K(0x13333333333333p-54), s1_1_3);
                        s1_0_4 = op_fma(a2_0_4, K(0x13333333333333p-54), s1_0_4);
                        s1_1_4 = op_fma(a2_1_4, K(0x13333333333333p-54), s1_1_4);
                    }
                    v_storeu(sum + c0 * BB_L, s1_0_0);
                    v_storeu(sum + c0 * BB_L + 1 * BB_W, s1_1_0);
                    v_storeu(sum + (c0 + 1) * BB_L, s1_0_1);
                    v_storeu(sum + (c0 + 1) * BB_L + 1 * BB_W, s1_1_1);
                    v_storeu(sum + (c0 + 2) * BB_L, s1_0_2);
                    v_storeu(sum + (c0 + 2) * BB_L + 1 * BB_W, s1_1_2);
                    v_storeu(sum + (c0 + 3) * BB_L, s1_0_3);
                    v_storeu(sum + (c0 + 3) * BB_L + 1 * BB_W, s1_1_3);
                    v_storeu(sum + (c0 + 4) * BB_L, s1_0_4);
                    v_storeu(sum + (c0 + 4) * BB_L + 1 * BB_W, s1_1_4);
                }
            }
            for (; c0 < n2; c0 += 1) {
                {
                    V s1_0_0 = v_loadu(sum + c0 * BB_L);
                    V s1_1_0 = v_loadu(sum + c0 * BB_L + 1 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = ((c0 >= 2) && (c0 < 7)) ? v_splat(cast[q + (c0 - 2) * cast_stride]) : K(0e0);
                        V a0_1_0 = ((c0 >= 2) && (c0 < 7)) ? v_splat(cast[q + (c0 - 2) * cast_stride]) : K(0e0);
                        V a1_0_0 = (c0 % 2) ? a0_0_0 : v_loadu(lane + c0 * lane_stride);
                        V a1_1_0 = (c0 % 2) ? a0_1_0 : v_loadu(lane + c0 * lane_stride + BB_W);
                        V a2_0_0 = op_mul(a1_0_0, v_splat((R)(c0 + 1)));
                        V a2_1_0 = op_mul(a1_1_0, v_splat((R)(c0 + 1)));
                        s1_0_0 = op_fma(a2_0_0, K(0x13333333333333p-54), s1_0_0);
                        s1_1_0 = op_fma(a2_1_0, K(0x13333333333333p-54), s1_1_0);
                    }
                    v_storeu(sum + c0 * BB_L, s1_0_0);
                    v_storeu(sum + c0 * BB_L + 1 * BB_W, s1_1_0);
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
