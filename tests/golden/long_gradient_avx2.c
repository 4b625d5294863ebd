/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  %1 := 0
  loop c0 < n[2] {
    %0 = sub(x[c0], y[c0])
    %1 = fma(%0, %0, %1)
  }
  %2 = mul(%1, p[0])
  %3 = exp(%2)
  %4 = mul(%3, y[n[2]])
  loop c1 < n[2] {
    %5 = sub(x[c1], y[c1])
    sum[c1] += %4 * %5
  }

 */
/*@ v_scale : */
/*@ v_exp_parts : */
/*@ v_exp : v_exp_parts v_scale */

BB_INLINE V op_sub(V a, V b) { return a - b; }
BB_INLINE V op_mul(V a, V b) { return a * b; }
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
    const I64 next = size[2];
    V b1[64];
    V b4[64];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const I64 n = n2, panel = n / (n / 105 + 1) + 1;
            for (I64 p = 0; p == 0 || p < n; p += panel) {
                const I64 p1 = p + panel < n ? p + panel : n;
                I64 q = t;
                for (; q < t1; q++) {
                    const I64 ahead = q + 2 <= t1 ? q + 1 : p1 < n ? t + 0 + panel * cast_stride : t1 + 0 - p * cast_stride;
                    V a1_0_0 = p ? b1[(q - t + 0) * 1 + 0] : K(0e0);
                    for (I64 c0 = p; c0 < p1; c0++) {
                        BB_FETCH_NEAR(cast + ahead + c0 * cast_stride);
                        BB_FETCH_FAR(cast + q + (next + c0) * cast_stride);
                        const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                        const V yi1 = v_splat(cast[q + c0 * cast_stride]);
                        V a0_0_0 = op_sub(xi1_0, yi1);
                        a1_0_0 = op_fma(a0_0_0, a0_0_0, a1_0_0);
                    }
                    b1[(q - t + 0) * 1 + 0] = a1_0_0;
                }
            }
        }
        {
            const V p0 = v_splat(uniform[0]);
            I64 q = t;
            for (; q < t1; q++) {
                V a1_0_0 = b1[(q - t + 0) * 1 + 0];
                V a2_0_0 = op_mul(a1_0_0, p0);
                V a3_0_0 = op_exp(a2_0_0);
                const V yi0 = v_splat(cast[q + n2 * cast_stride]);
                V a4_0_0 = op_mul(a3_0_0, yi0);
                b4[(q - t + 0) * 1 + 0] = a4_0_0;
            }
        }
        {
            I64 c1 = 0;
            for (; c1 < n2; c1 += 1) {
                {
                    const V xi3_0 = v_loadu(lane + c1 * lane_stride);
                    V s3_0_0 = v_loadu(sum + c1 * BB_L);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a4_0_0 = b4[(q - t + 0) * 1 + 0];
                        const V yi3 = v_splat(cast[q + c1 * cast_stride]);
                        V a5_0_0 = op_sub(xi3_0, yi3);
                        s3_0_0 = op_fma(a4_0_0, a5_0_0, s3_0_0);
                    }
                    v_storeu(sum + c1 * BB_L, s3_0_0);
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
    const I64 next = size[2];
    V b1[120];
    V b4[120];
    for (I64 t = 0; t < casts; t += 60) {
        const I64 t1 = t + 60 < casts ? t + 60 : casts;
        {
            const I64 n = n2, panel = n / (n / 105 + 1) + 1;
            for (I64 p = 0; p == 0 || p < n; p += panel) {
                const I64 p1 = p + panel < n ? p + panel : n;
                I64 q = t;
                for (; q + 5 <= t1; q += 5) {
                    const I64 ahead = q + 10 <= t1 ? q + 9 : p1 < n ? t + 4 + panel * cast_stride : t1 + 4 - p * cast_stride;
                    V a1_0_0 = p ? b1[(q - t + 0) * 2 + 0] : K(0e0);
                    V a1_1_0 = p ? b1[(q - t + 0) * 2 + 1] : K(0e0);
                    V a1_0_1 = p ? b1[(q - t + 1) * 2 + 0] : K(0e0);
                    V a1_1_1 = p ? b1[(q - t + 1) * 2 + 1] : K(0e0);
                    V a1_0_2 = p ? b1[(q - t + 2) * 2 + 0] : K(0e0);
                    V a1_1_2 = p ? b1[(q - t + 2) * 2 + 1] : K(0e0);
                    V a1_0_3 = p ? b1[(q - t + 3) * 2 + 0] : K(0e0);
                    V a1_1_3 = p ? b1[(q - t + 3) * 2 + 1] : K(0e0);
                    V a1_0_4 = p ? b1[(q - t + 4) * 2 + 0] : K(0e0);
                    V a1_1_4 = p ? b1[(q - t + 4) * 2 + 1] : K(0e0);
                    for (I64 c0 = p; c0 < p1; c0++) {
                        BB_FETCH_NEAR(cast + ahead + c0 * cast_stride);
                        BB_FETCH_FAR(cast + q + (next + c0) * cast_stride);
                        const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                        const V xi1_1 = v_loadu(lane + c0 * lane_stride + BB_W);
                        const V yi1_0 = v_splat(cast[q + c0 * cast_stride]);
                        V a0_0_0 = op_sub(xi1_0, yi1_0);
                        V a0_1_0 = op_sub(xi1_1, yi1_0);
                        const V yi1_1 = v_splat(cast[q + c0 * cast_stride + 1]);
                        V a0_0_1 = op_sub(xi1_0, yi1_1);
                        V a0_1_1 = op_sub(xi1_1, yi1_1);
                        const V yi1_2 = v_splat(cast[q + c0 * cast_stride + 2]);
                        V a0_0_2 = op_sub(xi1_0, yi1_2);
                        V a0_1_2 = op_sub(xi1_1, yi1_2);
                        const V yi1_3 = v_splat(cast[q + c0 * cast_stride + 3]);
                        V a0_0_3 = op_sub(xi1_0, yi1_3);
                        V a0_1_3 = op_sub(xi1_1, yi1_3);
                        const V yi1_4 = v_splat(cast[q + c0 * cast_stride + 4]);
                        V a0_0_4 = op_sub(xi1_0, yi1_4);
                        V a0_1_4 = op_sub(xi1_1, yi1_4);
                        a1_0_0 = op_fma(a0_0_0, a0_0_0, a1_0_0);
                        a1_1_0 = op_fma(a0_1_0, a0_1_0, a1_1_0);
                        a1_0_1 = op_fma(a0_0_1, a0_0_1, a1_0_1);
                        a1_1_1 = op_fma(a0_1_1, a0_1_1, a1_1_1);
                        a1_0_2 = op_fma(a0_0_2, a0_0_2, a1_0_2);
                        a1_1_2 = op_fma(a0_1_2, a0_1_2, a1_1_2);
                        a1_0_3 = op_fma(a0_0_3, a0_0_3, a1_0_3);
                        a1_1_3 = op_fma(a0_1_3, a0_1_3, a1_1_3);
                        a1_0_4 = op_fma(a0_0_4, a0_0_4, a1_0_4);
                        a1_1_4 = op_fma(a0_1_4, a0_1_4, a1_1_4);
                    }
                    b1[(q - t + 0) * 2 + 0] = a1_0_0;
                    b1[(q - t + 0) * 2 + 1] = a1_1_0;
                    b1[(q - t + 1) * 2 + 0] = a1_0_1;
                    b1[(q - t + 1) * 2 + 1] = a1_1_1;
                    b1[(q - t + 2) * 2 + 0] = a1_0_2;
                    b1[(q - t + 2) * 2 + 1] = a1_1_2;
                    b1[(q - t + 3) * 2 + 0] = a1_0_3;
                    b1[(q - t + 3) * 2 + 1] = a1_1_3;
                    b1[(q - t + 4) * 2 + 0] = a1_0_4;
                    b1[(q - t + 4) * 2 + 1] = a1_1_4;
                }
                for (; q + 2 <= t1; q += 2) {
                    const I64 ahead = q + 4 <= t1 ? q + 3 : p1 < n ? t + 1 + panel * cast_stride : t1 + 1 - p * cast_stride;
                    V a1_0_0 = p ? b1[(q - t + 0) * 2 + 0] : K(0e0);
                    V a1_1_0 = p ? b1[(q - t + 0) * 2 + 1] : K(0e0);
                    V a1_0_1 = p ? b1[(q - t + 1) * 2 + 0] : K(0e0);
                    V a1_1_1 = p ? b1[(q - t + 1) * 2 + 1] : K(0e0);
                    for (I64 c0 = p; c0 < p1; c0++) {
                        BB_FETCH_NEAR(cast + ahead + c0 * cast_stride);
                        BB_FETCH_FAR(cast + q + (next + c0) * cast_stride);
                        const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                        const V xi1_1 = v_loadu(lane + c0 * lane_stride + BB_W);
                        const V yi1_0 = v_splat(cast[q + c0 * cast_stride]);
                        V a0_0_0 = op_sub(xi1_0, yi1_0);
                        V a0_1_0 = op_sub(xi1_1, yi1_0);
                        const V yi1_1 = v_splat(cast[q + c0 * cast_stride + 1]);
                        V a0_0_1 = op_sub(xi1_0, yi1_1);
                        V a0_1_1 = op_sub(xi1_1, yi1_1);
                        a1_0_0 = op_fma(a0_0_0, a0_0_0, a1_0_0);
                        a1_1_0 = op_fma(a0_1_0, a0_1_0, a1_1_0);
                        a1_0_1 = op_fma(a0_0_1, a0_0_1, a1_0_1);
                        a1_1_1 = op_fma(a0_1_1, a0_1_1, a1_1_1);
                    }
                    b1[(q - t + 0) * 2 + 0] = a1_0_0;
                    b1[(q - t + 0) * 2 + 1] = a1_1_0;
                    b1[(q - t + 1) * 2 + 0] = a1_0_1;
                    b1[(q - t + 1) * 2 + 1] = a1_1_1;
                }
                for (; q < t1; q++) {
                    const I64 ahead = q + 2 <= t1 ? q + 1 : p1 < n ? t + 0 + panel * cast_stride : t1 + 0 - p * cast_stride;
                    V a1_0_0 = p ? b1[(q - t + 0) * 2 + 0] : K(0e0);
                    V a1_1_0 = p ? b1[(q - t + 0) * 2 + 1] : K(0e0);
                    for (I64 c0 = p; c0 < p1; c0++) {
                        BB_FETCH_NEAR(cast + ahead + c0 * cast_stride);
                        BB_FETCH_FAR(cast + q + (next + c0) * cast_stride);
                        const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                        const V xi1_1 = v_loadu(lane + c0 * lane_stride + BB_W);
                        const V yi1 = v_splat(cast[q + c0 * cast_stride]);
                        V a0_0_0 = op_sub(xi1_0, yi1);
                        V a0_1_0 = op_sub(xi1_1, yi1);
                        a1_0_0 = op_fma(a0_0_0, a0_0_0, a1_0_0);
                        a1_1_0 = op_fma(a0_1_0, a0_1_0, a1_1_0);
                    }
                    b1[(q - t + 0) * 2 + 0] = a1_0_0;
                    b1[(q - t + 0) * 2 + 1] = a1_1_0;
                }
            }
        }
        {
            const V p0 = v_splat(uniform[0]);
            I64 q = t;
            for (; q < t1; q++) {
                V a1_0_0 = b1[(q - t + 0) * 2 + 0];
                V a1_1_0 = b1[(q - t + 0) * 2 + 1];
                V a2_0_0 = op_mul(a1_0_0, p0);
                V a2_1_0 = op_mul(a1_1_0, p0);
                V a3_0_0 = op_exp(a2_0_0);
                V a3_1_0 = op_exp(a2_1_0);
                const V yi0 = v_splat(cast[q + n2 * cast_stride]);
                V a4_0_0 = op_mul(a3_0_0, yi0);
                V a4_1_0 = op_mul(a3_1_0, yi0);
                b4[(q - t + 0) * 2 + 0] = a4_0_0;
                b4[(q - t + 0) * 2 + 1] = a4_1_0;
            }
        }
        {
            I64 c1 = 0;
            for (; c1 + 5 <= n2; c1 += 5) {
                {
                    V s3_0_0 = v_loadu(sum + c1 * BB_L);
                    V s3_1_0 = v_loadu(sum + c1 * BB_L + 1 * BB_W);
                    V s3_0_1 = v_loadu(sum + (c1 + 1) * BB_L);
                    V s3_1_1 = v_loadu(sum + (c1 + 1) * BB_L + 1 * BB_W);
                    V s3_0_2 = v_loadu(sum + (c1 + 2) * BB_L);
                    V s3_1_2 = v_loadu(sum + (c1 + 2) * BB_L + 1 * BB_W);
                    V s3_0_3 = v_loadu(sum + (c1 + 3) * BB_L);
                    V s3_1_3 = v_loadu(sum + (c1 + 3) * BB_L + 1 * BB_W);
                    V s3_0_4 = v_loadu(sum + (c1 + 4) * BB_L);
                    V s3_1_4 = v_loadu(sum + (c1 + 4) * BB_L + 1 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a4_0_0 = b4[(q - t + 0) * 2 + 0];
                        V a4_1_0 = b4[(q - t + 0) * 2 + 1];
                        const V xi3_0_0 = v_loadu(lane + c1 * lane_stride);
                        const V xi3_1_0 = v_loadu(lane + c1 * lane_stride + BB_W);
                        const V yi3_0 = v_splat(cast[q + c1 * cast_stride]);
                        V a5_0_0 = op_sub(xi3_0_0, yi3_0);
                        V a5_1_0 = op_sub(xi3_1_0, yi3_0);
                        const V xi3_0_1 = v_loadu(lane + (c1 + 1) * lane_stride);
                        const V xi3_1_1 = v_loadu(lane + (c1 + 1) * lane_stride + BB_W);
                        const V yi3_1 = v_splat(cast[q + (c1 + 1) * cast_stride]);
                        V a5_0_1 = op_sub(xi3_0_1, yi3_1);
                        V a5_1_1 = op_sub(xi3_1_1, yi3_1);
                        const V xi3_0_2 = v_loadu(lane + (c1 + 2) * lane_stride);
                        const V xi3_1_2 = v_loadu(lane + (c1 + 2) * lane_stride + BB_W);
                        const V yi3_2 = v_splat(cast[q + (c1 + 2) * cast_stride]);
                        V a5_0_2 = op_sub(xi3_0_2, yi3_2);
                        V a5_1_2 = op_sub(xi3_1_2, yi3_2);
                        const V xi3_0_3 = v_loadu(lane + (c1 + 3) * lane_stride);
                        const V xi3_1_3 = v_loadu(lane + (c1 + 3) * lane_stride + BB_W);
                        const V yi3_3 = v_splat(cast[q + (c1 + 3) * cast_stride]);
                        V a5_0_3 = op_sub(xi3_0_3, yi3_3);
                        V a5_1_3 = op_sub(xi3_1_3, yi3_3);
                        const V xi3_0_4 = v_loadu(lane + (c1 + 4) * lane_stride);
                        const V xi3_1_4 = v_loadu(lane + (c1 + 4) * lane_stride + BB_W);
                        const V yi3_4 = v_splat(cast[q + (c1 + 4) * cast_stride]);
                        V a5_0_4 = op_sub(xi3_0_4, yi3_4);
                        V a5_1_4 = op_sub(xi3_1_4, yi3_4);
                        s3_0_0 = op_fma(a4_0_0, a5_0_0, s3_0_0);
                        s3_1_0 = op_fma(a4_1_0, a5_1_0, s3_1_0);
                        s3_0_1 = op_fma(a4_0_0, a5_0_1, s3_0_1);
                        s3_1_1 = op_fma(a4_1_0, a5_1_1, s3_1_1);
                        s3_0_2 = op_fma(a4_0_0, a5_0_2, s3_0_2);
                        s3_1_2 = op_fma(a4_1_0, a5_1_2, s3_1_2);
                        s3_0_3 = op_fma(a4_0_0, a5_0_3, s3_0_3);
                        s3_1_3 = op_fma(a4_1_0, a5_1_3, s3_1_3);
                        s3_0_4 = op_fma(a4_0_0, a5_0_4, s3_0_4);
                        s3_1_4 = op_fma(a4_1_0, a5_1_4, s3_1_4);
                    }
                    v_storeu(sum + c1 * BB_L, s3_0_0);
                    v_storeu(sum + c1 * BB_L + 1 * BB_W, s3_1_0);
                    v_storeu(sum + (c1 + 1) * BB_L, s3_0_1);
                    v_storeu(sum + (c1 + 1) * BB_L + 1 * BB_W, s3_1_1);
                    v_storeu(sum + (c1 + 2) * BB_L, s3_0_2);
                    v_storeu(sum + (c1 + 2) * BB_L + 1 * BB_W, s3_1_2);
                    v_storeu(sum + (c1 + 3) * BB_L, s3_0_3);
                    v_storeu(sum + (c1 + 3) * BB_L + 1 * BB_W, s3_1_3);
                    v_storeu(sum + (c1 + 4) * BB_L, s3_0_4);
                    v_storeu(sum + (c1 + 4) * BB_L + 1 * BB_W, s3_1_4);
                }
            }
            for (; c1 < n2; c1 += 1) {
                {
                    const V xi3_0 = v_loadu(lane + c1 * lane_stride);
                    const V xi3_1 = v_loadu(lane + c1 * lane_stride + BB_W);
                    V s3_0_0 = v_loadu(sum + c1 * BB_L);
                    V s3_1_0 = v_loadu(sum + c1 * BB_L + 1 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a4_0_0 = b4[(q - t + 0) * 2 + 0];
                        V a4_1_0 = b4[(q - t + 0) * 2 + 1];
                        const V yi3 = v_splat(cast[q + c1 * cast_stride]);
                        V a5_0_0 = op_sub(xi3_0, yi3);
                        V a5_1_0 = op_sub(xi3_1, yi3);
                        s3_0_0 = op_fma(a4_0_0, a5_0_0, s3_0_0);
                        s3_1_0 = op_fma(a4_1_0, a5_1_0, s3_1_0);
                    }
                    v_storeu(sum + c1 * BB_L, s3_0_0);
                    v_storeu(sum + c1 * BB_L + 1 * BB_W, s3_1_0);
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
