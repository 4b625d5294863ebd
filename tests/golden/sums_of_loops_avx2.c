/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  loop c0 < n[2] {
    %0 := 0
    loop c1 < n[3] {
      %1 = sub(x[c1], y[c1 + c0])
      %0 = fma(%1, %1, %0)
    }
    %2 = mul(%0, p[1])
    sum[c0] += %2
  }

 */

BB_INLINE V op_sub(V a, V b) { return a - b; }
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
    const I64 next = size[2];
    V b0[64];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const I64 n = n3, panel = n / (n / 105 + 1) + 1;
                    for (I64 p = 0; p == 0 || p < n; p += panel) {
                        const I64 p1 = p + panel < n ? p + panel : n;
                        I64 q = t;
                        for (; q < t1; q++) {
                            const I64 ahead = q + 2 <= t1 ? q + 1 : p1 < n ? t + 0 + panel * cast_stride : t1 + 0 - p * cast_stride;
                            V a0_0_0 = p ? b0[(q - t + 0) * 1 + 0] : K(0e0);
                            for (I64 c1 = p; c1 < p1; c1++) {
                                BB_FETCH_NEAR(cast + ahead + (c1 + c0) * cast_stride);
                                BB_FETCH_FAR(cast + q + (next + (c1 + c0)) * cast_stride);
                                const V xi2_0 = v_loadu(lane + c1 * lane_stride);
                                const V yi4 = v_splat(cast[q + (c1 + c0) * cast_stride]);
                                V a1_0_0 = op_sub(xi2_0, yi4);
                                a0_0_0 = op_fma(a1_0_0, a1_0_0, a0_0_0);
                            }
                            b0[(q - t + 0) * 1 + 0] = a0_0_0;
                        }
                    }
                }
                {
                    const V p1 = v_splat(uniform[1]);
                    V s3_0 = v_loadu(sum + c0 * BB_L);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = b0[(q - t + 0) * 1 + 0];
                        V a2_0_0 = op_mul(a0_0_0, p1);
                        s3_0 = a2_0_0 + s3_0;
                    }
                    v_storeu(sum + c0 * BB_L, s3_0);
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
    const I64 next = size[2];
    V b0[128];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const I64 n = n3, panel = n / (n / 105 + 1) + 1;
                    for (I64 p = 0; p == 0 || p < n; p += panel) {
                        const I64 p1 = p + panel < n ? p + panel : n;
                        I64 q = t;
                        for (; q + 5 <= t1; q += 5) {
                            const I64 ahead = q + 10 <= t1 ? q + 9 : p1 < n ? t + 4 + panel * cast_stride : t1 + 4 - p * cast_stride;
                            V a0_0_0 = p ? b0[(q - t + 0) * 2 + 0] : K(0e0);
                            V a0_1_0 = p ? b0[(q - t + 0) * 2 + 1] : K(0e0);
                            V a0_0_1 = p ? b0[(q - t + 1) * 2 + 0] : K(0e0);
                            V a0_1_1 = p ? b0[(q - t + 1) * 2 + 1] : K(0e0);
                            V a0_0_2 = p ? b0[(q - t + 2) * 2 + 0] : K(0e0);
                            V a0_1_2 = p ? b0[(q - t + 2) * 2 + 1] : K(0e0);
                            V a0_0_3 = p ? b0[(q - t + 3) * 2 + 0] : K(0e0);
                            V a0_1_3 = p ? b0[(q - t + 3) * 2 + 1] : K(0e0);
                            V a0_0_4 = p ? b0[(q - t + 4) * 2 + 0] : K(0e0);
                            V a0_1_4 = p ? b0[(q - t + 4) * 2 + 1] : K(0e0);
                            for (I64 c1 = p; c1 < p1; c1++) {
                                BB_FETCH_NEAR(cast + ahead + (c1 + c0) * cast_stride);
                                BB_FETCH_FAR(cast + q + (next + (c1 + c0)) * cast_stride);
                                const V xi2_0 = v_loadu(lane + c1 * lane_stride);
                                const V xi2_1 = v_loadu(lane + c1 * lane_stride + BB_W);
                                const V yi4_0 = v_splat(cast[q + (c1 + c0) * cast_stride]);
                                V a1_0_0 = op_sub(xi2_0, yi4_0);
                                V a1_1_0 = op_sub(xi2_1, yi4_0);
                                const V yi4_1 = v_splat(cast[q + (c1 + c0) * cast_stride + 1]);
                                V a1_0_1 = op_sub(xi2_0, yi4_1);
                                V a1_1_1 = op_sub(xi2_1, yi4_1);
                                const V yi4_2 = v_splat(cast[q + (c1 + c0) * cast_stride + 2]);
                                V a1_0_2 = op_sub(xi2_0, yi4_2);
                                V a1_1_2 = op_sub(xi2_1, yi4_2);
                                const V yi4_3 = v_splat(cast[q + (c1 + c0) * cast_stride + 3]);
                                V a1_0_3 = op_sub(xi2_0, yi4_3);
                                V a1_1_3 = op_sub(xi2_1, yi4_3);
                                const V yi4_4 = v_splat(cast[q + (c1 + c0) * cast_stride + 4]);
                                V a1_0_4 = op_sub(xi2_0, yi4_4);
                                V a1_1_4 = op_sub(xi2_1, yi4_4);
                                a0_0_0 = op_fma(a1_0_0, a1_0_0, a0_0_0);
                                a0_1_0 = op_fma(a1_1_0, a1_1_0, a0_1_0);
                                a0_0_1 = op_fma(a1_0_1, a1_0_1, a0_0_1);
                                a0_1_1 = op_fma(a1_1_1, a1_1_1, a0_1_1);
                                a0_0_2 = op_fma(a1_0_2, a1_0_2, a0_0_2);
                                a0_1_2 = op_fma(a1_1_2, a1_1_2, a0_1_2);
                                a0_0_3 = op_fma(a1_0_3, a1_0_3, a0_0_3);
                                a0_1_3 = op_fma(a1_1_3, a1_1_3, a0_1_3);
                                a0_0_4 = op_fma(a1_0_4, a1_0_4, a0_0_4);
                                a0_1_4 = op_fma(a1_1_4, a1_1_4, a0_1_4);
                            }
                            b0[(q - t + 0) * 2 + 0] = a0_0_0;
                            b0[(q - t + 0) * 2 + 1] = a0_1_0;
                            b0[(q - t + 1) * 2 + 0] = a0_0_1;
                            b0[(q - t + 1) * 2 + 1] = a0_1_1;
                            b0[(q - t + 2) * 2 + 0] = a0_0_2;
                            b0[(q - t + 2) * 2 + 1] = a0_1_2;
                            b0[(q - t + 3) * 2 + 0] = a0_0_3;
                            b0[(q - t + 3) * 2 + 1] = a0_1_3;
                            b0[(q - t + 4) * 2 + 0] = a0_0_4;
                            b0[(q - t + 4) * 2 + 1] = a0_1_4;
                        }
                        for (; q + 2 <= t1; q += 2) {
                            const I64 ahead = q + 4 <= t1 ? q + 3 : p1 < n ? t + 1 + panel * cast_stride : t1 + 1 - p * cast_stride;
                            V a0_0_0 = p ? b0[(q - t + 0) * 2 + 0] : K(0e0);
                            V a0_1_0 = p ? b0[(q - t + 0) * 2 + 1] : K(0e0);
                            V a0_0_1 = p ? b0[(q - t + 1) * 2 + 0] : K(0e0);
                            V a0_1_1 = p ? b0[(q - t + 1) * 2 + 1] : K(0e0);
                            for (I64 c1 = p; c1 < p1; c1++) {
                                BB_FETCH_NEAR(cast + ahead + (c1 + c0) * cast_stride);
                                BB_FETCH_FAR(cast + q + (next + (c1 + c0)) * cast_stride);
                                const V xi2_0 = v_loadu(lane + c1 * lane_stride);
                                const V xi2_1 = v_loadu(lane + c1 * lane_stride + BB_W);
                                const V yi4_0 = v_splat(cast[q + (c1 + c0) * cast_stride]);
                                V a1_0_0 = op_sub(xi2_0, yi4_0);
                                V a1_1_0 = op_sub(xi2_1, yi4_0);
                                const V yi4_1 = v_splat(cast[q + (c1 + c0) * cast_stride + 1]);
                                V a1_0_1 = op_sub(xi2_0, yi4_1);
                                V a1_1_1 = op_sub(xi2_1, yi4_1);
                                a0_0_0 = op_fma(a1_0_0, a1_0_0, a0_0_0);
                                a0_1_0 = op_fma(a1_1_0, a1_1_0, a0_1_0);
                                a0_0_1 = op_fma(a1_0_1, a1_0_1, a0_0_1);
                                a0_1_1 = op_fma(a1_1_1, a1_1_1, a0_1_1);
                            }
                            b0[(q - t + 0) * 2 + 0] = a0_0_0;
                            b0[(q - t + 0) * 2 + 1] = a0_1_0;
                            b0[(q - t + 1) * 2 + 0] = a0_0_1;
                            b0[(q - t + 1) * 2 + 1] = a0_1_1;
                        }
                        for (; q < t1; q++) {
                            const I64 ahead = q + 2 <= t1 ? q + 1 : p1 < n ? t + 0 + panel * cast_stride : t1 + 0 - p * cast_stride;
                            V a0_0_0 = p ? b0[(q - t + 0) * 2 + 0] : K(0e0);
                            V a0_1_0 = p ? b0[(q - t + 0) * 2 + 1] : K(0e0);
                            for (I64 c1 = p; c1 < p1; c1++) {
                                BB_FETCH_NEAR(cast + ahead + (c1 + c0) * cast_stride);
                                BB_FETCH_FAR(cast + q + (next + (c1 + c0)) * cast_stride);
                                const V xi2_0 = v_loadu(lane + c1 * lane_stride);
                                const V xi2_1 = v_loadu(lane + c1 * lane_stride + BB_W);
                                const V yi4 = v_splat(cast[q + (c1 + c0) * cast_stride]);
                                V a1_0_0 = op_sub(xi2_0, yi4);
                                V a1_1_0 = op_sub(xi2_1, yi4);
                                a0_0_0 = op_fma(a1_0_0, a1_0_0, a0_0_0);
                                a0_1_0 = op_fma(a1_1_0, a1_1_0, a0_1_0);
                            }
                            b0[(q - t + 0) * 2 + 0] = a0_0_0;
                            b0[(q - t + 0) * 2 + 1] = a0_1_0;
                        }
                    }
                }
                {
                    const V p1 = v_splat(uniform[1]);
                    V s3_0 = v_loadu(sum + c0 * BB_L);
                    V s3_1 = v_loadu(sum + c0 * BB_L + 1 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a0_0_0 = b0[(q - t + 0) * 2 + 0];
                        V a0_1_0 = b0[(q - t + 0) * 2 + 1];
                        V a2_0_0 = op_mul(a0_0_0, p1);
                        V a2_1_0 = op_mul(a0_1_0, p1);
                        s3_0 = a2_0_0 + s3_0;
                        s3_1 = a2_1_0 + s3_1;
                    }
                    v_storeu(sum + c0 * BB_L, s3_0);
                    v_storeu(sum + c0 * BB_L + 1 * BB_W, s3_1);
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
