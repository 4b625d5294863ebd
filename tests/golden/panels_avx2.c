/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  %1 := 0
  loop c0 < n[2] {
    %0 = sub(x[c0], y[c0])
    %1 = fma(%0, %0, %1)
  }
  %2 = mul(%1, p[0])
  %3 = exp(%2)
  sum[0] += %3 * y[n[2]]

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
            V s2_0 = v_loadu(sum + 0 * BB_L);
            I64 q = t;
            for (; q < t1; q++) {
                V a1_0_0 = b1[(q - t + 0) * 1 + 0];
                V a2_0_0 = op_mul(a1_0_0, p0);
                V a3_0_0 = op_exp(a2_0_0);
                const V yi0 = v_splat(cast[q + n2 * cast_stride]);
                s2_0 = op_fma(a3_0_0, yi0, s2_0);
            }
            v_storeu(sum + 0 * BB_L, s2_0);
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
            V s2_0 = v_loadu(sum + 0 * BB_L);
            V s2_1 = v_loadu(sum + 0 * BB_L + 1 * BB_W);
            I64 q = t;
            for (; q < t1; q++) {
                V a1_0_0 = b1[(q - t + 0) * 2 + 0];
                V a1_1_0 = b1[(q - t + 0) * 2 + 1];
                V a2_0_0 = op_mul(a1_0_0, p0);
                V a2_1_0 = op_mul(a1_1_0, p0);
                V a3_0_0 = op_exp(a2_0_0);
                V a3_1_0 = op_exp(a2_1_0);
                const V yi0 = v_splat(cast[q + n2 * cast_stride]);
                s2_0 = op_fma(a3_0_0, yi0, s2_0);
                s2_1 = op_fma(a3_1_0, yi0, s2_1);
            }
            v_storeu(sum + 0 * BB_L, s2_0);
            v_storeu(sum + 0 * BB_L + 1 * BB_W, s2_1);
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
