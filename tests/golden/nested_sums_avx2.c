/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  %0 = mul(x[0], y[0])
  loop c0 < n[2] {
    %1 = add(%0, x[c0])
    loop c1 < n[3] {
      sum[(c0 * n[3]) + c1] += %1 * y[c1]
    }
  }

 */

BB_INLINE V op_add(V a, V b) { return a + b; }
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
    const I64 n3 = size[3];
    V b0[64];
    V b1[64];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const V x0_0 = v_loadu(lane);
            I64 q = t;
            for (; q < t1; q++) {
                const V y0 = v_splat(cast[q]);
                V a0_0_0 = op_mul(x0_0, y0);
                b0[(q - t + 0) * 1 + 0] = a0_0_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi2_0 = v_loadu(lane + c0 * lane_stride);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = b0[(q - t + 0) * 1 + 0];
                        V a1_0_0 = op_add(a0_0_0, xi2_0);
                        b1[(q - t + 0) * 1 + 0] = a1_0_0;
                    }
                }
                {
                    I64 c1 = 0;
                    for (; c1 < n3; c1 += 1) {
                        {
                            V s6_0_0 = v_loadu(sum + ((c0 * n3) + c1) * BB_L);
                            I64 q = t;
                            for (; q < t1; q++) {
                                V a1_0_0 = b1[(q - t + 0) * 1 + 0];
                                const V yi5 = v_splat(cast[q + c1 * cast_stride]);
                                s6_0_0 = op_fma(a1_0_0, yi5, s6_0_0);
                            }
                            v_storeu(sum + ((c0 * n3) + c1) * BB_L, s6_0_0);
                        }
                    }
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
    const I64 n3 = size[3];
    V b0[128];
    V b1[128];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const V x0_0 = v_loadu(lane);
            const V x0_1 = v_loadu(lane + BB_W);
            I64 q = t;
            for (; q < t1; q++) {
                const V y0 = v_splat(cast[q]);
                V a0_0_0 = op_mul(x0_0, y0);
                V a0_1_0 = op_mul(x0_1, y0);
                b0[(q - t + 0) * 2 + 0] = a0_0_0;
                b0[(q - t + 0) * 2 + 1] = a0_1_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi2_0 = v_loadu(lane + c0 * lane_stride);
                    const V xi2_1 = v_loadu(lane + c0 * lane_stride + BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = b0[(q - t + 0) * 2 + 0];
                        V a0_1_0 = b0[(q - t + 0) * 2 + 1];
                        V a1_0_0 = op_add(a0_0_0, xi2_0);
                        V a1_1_0 = op_add(a0_1_0, xi2_1);
                        b1[(q - t + 0) * 2 + 0] = a1_0_0;
                        b1[(q - t + 0) * 2 + 1] = a1_1_0;
                    }
                }
                {
                    I64 c1 = 0;
                    for (; c1 + 5 <= n3; c1 += 5) {
                        {
                            V s6_0_0 = v_loadu(sum + ((c0 * n3) + c1) * BB_L);
                            V s6_1_0 = v_loadu(sum + ((c0 * n3) + c1) * BB_L + 1 * BB_W);
                            V s6_0_1 = v_loadu(sum + ((c0 * n3) + (c1 + 1)) * BB_L);
                            V s6_1_1 = v_loadu(sum + ((c0 * n3) + (c1 + 1)) * BB_L + 1 * BB_W);
                            V s6_0_2 = v_loadu(sum + ((c0 * n3) + (c1 + 2)) * BB_L);
                            V s6_1_2 = v_loadu(sum + ((c0 * n3) + (c1 + 2)) * BB_L + 1 * BB_W);
                            V s6_0_3 = v_loadu(sum + ((c0 * n3) + (c1 + 3)) * BB_L);
                            V s6_1_3 = v_loadu(sum + ((c0 * n3) + (c1 + 3)) * BB_L + 1 * BB_W);
                            V s6_0_4 = v_loadu(sum + ((c0 * n3) + (c1 + 4)) * BB_L);
                            V s6_1_4 = v_loadu(sum + ((c0 * n3) + (c1 + 4)) * BB_L + 1 * BB_W);
                            I64 q = t;
                            for (; q < t1; q++) {
                                V a1_0_0 = b1[(q - t + 0) * 2 + 0];
                                V a1_1_0 = b1[(q - t + 0) * 2 + 1];
                                const V yi5_0 = v_splat(cast[q + c1 * cast_stride]);
                                s6_0_0 = op_fma(a1_0_0, yi5_0, s6_0_0);
                                s6_1_0 = op_fma(a1_1_0, yi5_0, s6_1_0);
                                const V yi5_1 = v_splat(cast[q + (c1 + 1) * cast_stride]);
                                s6_0_1 = op_fma(a1_0_0, yi5_1, s6_0_1);
                                s6_1_1 = op_fma(a1_1_0, yi5_1, s6_1_1);
                                const V yi5_2 = v_splat(cast[q + (c1 + 2) * cast_stride]);
                                s6_0_2 = op_fma(a1_0_0, yi5_2, s6_0_2);
                                s6_1_2 = op_fma(a1_1_0, yi5_2, s6_1_2);
                                const V yi5_3 = v_splat(cast[q + (c1 + 3) * cast_stride]);
                                s6_0_3 = op_fma(a1_0_0, yi5_3, s6_0_3);
                                s6_1_3 = op_fma(a1_1_0, yi5_3, s6_1_3);
                                const V yi5_4 = v_splat(cast[q + (c1 + 4) * cast_stride]);
                                s6_0_4 = op_fma(a1_0_0, yi5_4, s6_0_4);
                                s6_1_4 = op_fma(a1_1_0, yi5_4, s6_1_4);
                            }
                            v_storeu(sum + ((c0 * n3) + c1) * BB_L, s6_0_0);
                            v_storeu(sum + ((c0 * n3) + c1) * BB_L + 1 * BB_W, s6_1_0);
                            v_storeu(sum + ((c0 * n3) + (c1 + 1)) * BB_L, s6_0_1);
                            v_storeu(sum + ((c0 * n3) + (c1 + 1)) * BB_L + 1 * BB_W, s6_1_1);
                            v_storeu(sum + ((c0 * n3) + (c1 + 2)) * BB_L, s6_0_2);
                            v_storeu(sum + ((c0 * n3) + (c1 + 2)) * BB_L + 1 * BB_W, s6_1_2);
                            v_storeu(sum + ((c0 * n3) + (c1 + 3)) * BB_L, s6_0_3);
                            v_storeu(sum + ((c0 * n3) + (c1 + 3)) * BB_L + 1 * BB_W, s6_1_3);
                            v_storeu(sum + ((c0 * n3) + (c1 + 4)) * BB_L, s6_0_4);
                            v_storeu(sum + ((c0 * n3) + (c1 + 4)) * BB_L + 1 * BB_W, s6_1_4);
                        }
                    }
                    for (; c1 < n3; c1 += 1) {
                        {
                            V s6_0_0 = v_loadu(sum + ((c0 * n3) + c1) * BB_L);
                            V s6_1_0 = v_loadu(sum + ((c0 * n3) + c1) * BB_L + 1 * BB_W);
                            I64 q = t;
                            for (; q < t1; q++) {
                                V a1_0_0 = b1[(q - t + 0) * 2 + 0];
                                V a1_1_0 = b1[(q - t + 0) * 2 + 1];
                                const V yi5 = v_splat(cast[q + c1 * cast_stride]);
                                s6_0_0 = op_fma(a1_0_0, yi5, s6_0_0);
                                s6_1_0 = op_fma(a1_1_0, yi5, s6_1_0);
                            }
                            v_storeu(sum + ((c0 * n3) + c1) * BB_L, s6_0_0);
                            v_storeu(sum + ((c0 * n3) + c1) * BB_L + 1 * BB_W, s6_1_0);
                        }
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
    for (; lanes - e > 1 * BB_W; e += 2 * BB_W) {
        group_2(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
    for (; e < lanes; e += BB_W) {
        group_1(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride);
    }
}
