
typedef long long I64;
#define BB_L (I64)(256 / sizeof(R))
static void group_1(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 n2 = size[2];
    const I64 n3 = size[3];
    V b6[64];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const V x0_0 = v_loadu(lane);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            const V p0 = v_splat(uniform[0]);
            I64 q = t;
            for (; q < t1; q++) {
                const V yi3 = v_splat(cast[q + n3 * cast_stride]);
                V a0_0_0 = op_sub(x0_0, yi3);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                const V yi5 = v_splat(cast[q + (n3 + 1) * cast_stride]);
                V a3_0_0 = op_sub(x1_0, yi5);
                V a2_0_0 = op_fma(a3_0_0, a3_0_0, a1_0_0);
                const V yi7 = v_splat(cast[q + (n3 + 2) * cast_stride]);
                V a5_0_0 = op_sub(x2_0, yi7);
                V a4_0_0 = op_fma(a5_0_0, a5_0_0, a2_0_0);
                V a6_0_0 = op_expk(a4_0_0, p0);
                b6[(q - t + 0) * 1 + 0] = a6_0_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi10_0 = v_loadu(lane + (c0 + 3) * lane_stride);
                    V s2_0_0 = v_loadu(sum + c0 * BB_L);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a6_0_0 = b6[(q - t + 0) * 1 + 0];
                        const V yi2 = v_splat(cast[q + c0 * cast_stride]);
                        s2_0_0 = op_fma(yi2, a6_0_0, s2_0_0);
                        V m2_0 = v_loadu(out + (c0 * out_stride + q) * BB_W);
                        m2_0 = op_fma(xi10_0, a6_0_0, m2_0);
                        v_storeu(out + (c0 * out_stride + q) * BB_W, m2_0);
                    }
                    v_storeu(sum + c0 * BB_L, s2_0_0);
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
    const I64 n3 = size[3];
    V b6[256];
    for (I64 t = 0; t < casts; t += 64) {
        const I64 t1 = t + 64 < casts ? t + 64 : casts;
        {
            const V x0_0 = v_loadu(lane);
            const V x0_1 = v_loadu(lane + BB_W);
            const V x0_2 = v_loadu(lane + 2 * BB_W);
            const V x0_3 = v_loadu(lane + 3 * BB_W);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
            const V x1_2 = v_loadu(lane + 1 * lane_stride + 2 * BB_W);
            const V x1_3 = v_loadu(lane + 1 * lane_stride + 3 * BB_W);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            const V x2_1 = v_loadu(lane + 2 * lane_stride + BB_W);
            const V x2_2 = v_loadu(lane + 2 * lane_stride + 2 * BB_W);
            const V x2_3 = v_loadu(lane + 2 * lane_stride + 3 * BB_W);
            const V p0 = v_splat(uniform[0]);
            I64 q = t;
            for (; q < t1; q++) {
                const V yi3 = v_splat(cast[q + n3 * cast_stride]);
                V a0_0_0 = op_sub(x0_0, yi3);
                V a0_1_0 = op_sub(x0_1, yi3);
                V a0_2_0 = op_sub(x0_2, yi3);
                V a0_3_0 = op_sub(x0_3, yi3);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                V a1_1_0 = op_mul(a0_1_0, a0_1_0);
                V a1_2_0 = op_mul(a0_2_0, a0_2_0);
                V a1_3_0 = op_mul(a0_3_0, a0_3_0);
                const V yi5 = v_splat(cast[q + (n3 + 1) * cast_stride]);
                V a3_0_0 = op_sub(x1_0, yi5);
                V a3_1_0 = op_sub(x1_1, yi5);
                V a3_2_0 = op_sub(x1_2, yi5);
                V a3_3_0 = op_sub(x1_3, yi5);
                V a2_0_0 = op_fma(a3_0_0, a3_0_0, a1_0_0);
                V a2_1_0 = op_fma(a3_1_0, a3_1_0, a1_1_0);
                V a2_2_0 = op_fma(a3_2_0, a3_2_0, a1_2_0);
                V a2_3_0 = op_fma(a3_3_0, a3_3_0, a1_3_0);
                const V yi7 = v_splat(cast[q + (n3 + 2) * cast_stride]);
                V a5_0_0 = op_sub(x2_0, yi7);
                V a5_1_0 = op_sub(x2_1, yi7);
                V a5_2_0 = op_sub(x2_2, yi7);
                V a5_3_0 = op_sub(x2_3, yi7);
                V a4_0_0 = op_fma(a5_0_0, a5_0_0, a2_0_0);
                V a4_1_0 = op_fma(a5_1_0, a5_1_0, a2_1_0);
                V a4_2_0 = op_fma(a5_2_0, a5_2_0, a2_2_0);
                V a4_3_0 = op_fma(a5_3_0, a5_3_0, a2_3_0);
                V a6_0_0 = op_expk(a4_0_0, p0);
                V a6_1_0 = op_expk(a4_1_0, p0);
                V a6_2_0 = op_expk(a4_2_0, p0);
                V a6_3_0 = op_expk(a4_3_0, p0);
                b6[(q - t + 0) * 4 + 0] = a6_0_0;
                b6[(q - t + 0) * 4 + 1] = a6_1_0;
                b6[(q - t + 0) * 4 + 2] = a6_2_0;
                b6[(q - t + 0) * 4 + 3] = a6_3_0;
            }
        }
        {
            I64 c0 = 0;
            for (; c0 + 5 <= n2; c0 += 5) {
                {
                    V s2_0_0 = v_loadu(sum + c0 * BB_L);
                    V s2_1_0 = v_loadu(sum + c0 * BB_L + 1 * BB_W);
                    V s2_2_0 = v_loadu(sum + c0 * BB_L + 2 * BB_W);
                    V s2_3_0 = v_loadu(sum + c0 * BB_L + 3 * BB_W);
                    V s2_0_1 = v_loadu(sum + (c0 + 1) * BB_L);
                    V s2_1_1 = v_loadu(sum + (c0 + 1) * BB_L + 1 * BB_W);
                    V s2_2_1 = v_loadu(sum + (c0 + 1) * BB_L + 2 * BB_W);
                    V s2_3_1 = v_loadu(sum + (c0 + 1) * BB_L + 3 * BB_W);
                    V s2_0_2 = v_loadu(sum + (c0 + 2) * BB_L);
                    V s2_1_2 = v_loadu(sum + (c0 + 2) * BB_L + 1 * BB_W);
                    V s2_2_2 = v_loadu(sum + (c0 + 2) * BB_L + 2 * BB_W);
                    V s2_3_2 = v_loadu(sum + (c0 + 2) * BB_L + 3 * BB_W);
                    V s2_0_3 = v_loadu(sum + (c0 + 3) * BB_L);
                    V s2_1_3 = v_loadu(sum + (c0 + 3) * BB_L + 1 * BB_W);
                    V s2_2_3 = v_loadu(sum + (c0 + 3) * BB_L + 2 * BB_W);
                    V s2_3_3 = v_loadu(sum + (c0 + 3) * BB_L + 3 * BB_W);
                    V s2_0_4 = v_loadu(sum + (c0 + 4) * BB_L);
                    V s2_1_4 = v_loadu(sum + (c0 + 4) * BB_L + 1 * BB_W);
                    V s2_2_4 = v_loadu(sum + (c0 + 4) * BB_L + 2 * BB_W);
                    V s2_3_4 = v_loadu(sum + (c0 + 4) * BB_L + 3 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a6_0_0 = b6[(q - t + 0) * 4 + 0];
                        V a6_1_0 = b6[(q - t + 0) * 4 + 1];
                        V a6_2_0 = b6[(q - t + 0) * 4 + 2];
                        V a6_3_0 = b6[(q - t + 0) * 4 + 3];
                        const V yi2_0 = v_splat(cast[q + c0 * cast_stride]);
                        s2_0_0 = op_fma(yi2_0, a6_0_0, s2_0_0);
                        s2_1_0 = op_fma(yi2_0, a6_1_0, s2_1_0);
                        s2_2_0 = op_fma(yi2_0, a6_2_0, s2_2_0);
                        s2_3_0 = op_fma(yi2_0, a6_3_0, s2_3_0);
                        const V yi2_1 = v_splat(cast[q + (c0 + 1) * cast_stride]);
                        s2_0_1 = op_fma(yi2_1, a6_0_0, s2_0_1);
                        s2_1_1 = op_fma(yi2_1, a6_1_0, s2_1_1);
                        s2_2_1 = op_fma(yi2_1, a6_2_0, s2_2_1);
                        s2_3_1 = op_fma(yi2_1, a6_3_0, s2_3_1);
                        const V yi2_2 = v_splat(cast[q + (c0 + 2) * cast_stride]);
                        s2_0_2 = op_fma(yi2_2, a6_0_0, s2_0_2);
                        s2_1_2 = op_fma(yi2_2, a6_1_0, s2_1_2);
                        s2_2_2 = op_fma(yi2_2, a6_2_0, s2_2_2);
                        s2_3_2 = op_fma(yi2_2, a6_3_0, s2_3_2);
                        const V yi2_3 = v_splat(cast[q + (c0 + 3) * cast_stride]);
                        s2_0_3 = op_fma(yi2_3, a6_0_0, s2_0_3);
                        s2_1_3 = op_fma(yi2_3, a6_1_0, s2_1_3);
                        s2_2_3 = op_fma(yi2_3, a6_2_0, s2_2_3);
                        s2_3_3 = op_fma(yi2_3, a6_3_0, s2_3_3);
                        const V yi2_4 = v_splat(cast[q + (c0 + 4) * cast_stride]);
                        s2_0_4 = op_fma(yi2_4, a6_0_0, s2_0_4);
                        s2_1_4 = op_fma(yi2_4, a6_1_0, s2_1_4);
                        s2_2_4 = op_fma(yi2_4, a6_2_0, s2_2_4);
                        s2_3_4 = op_fma(yi2_4, a6_3_0, s2_3_4);
                        const V xi10_0_0 = v_loadu(lane + (c0 + 3) * lane_stride);
                        const V xi10_1_0 = v_loadu(lane + (c0 + 3) * lane_stride + BB_W);
                        const V xi10_2_0 = v_loadu(lane + (c0 + 3) * lane_stride + 2 * BB_W);
                        const V xi10_3_0 = v_loadu(lane + (c0 + 3) * lane_stride + 3 * BB_W);
                        V m2_0 = v_loadu(out + (c0 * out_stride + q) * BB_W);
                        m2_0 = op_fma(xi10_0_0, a6_0_0, m2_0);
                        m2_0 = op_fma(xi10_1_0, a6_1_0, m2_0);
                        m2_0 = op_fma(xi10_2_0, a6_2_0, m2_0);
                        m2_0 = op_fma(xi10_3_0, a6_3_0, m2_0);
                        v_storeu(out + (c0 * out_stride + q) * BB_W, m2_0);
                        const V xi10_0_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride);
                        const V xi10_1_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride + BB_W);
                        const V xi10_2_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride + 2 * BB_W);
                        const V xi10_3_1 = v_loadu(lane + ((c0 + 1) + 3) * lane_stride + 3 * BB_W);
                        V m2_1 = v_loadu(out + ((c0 + 1) * out_stride + q) * BB_W);
                        m2_1 = op_fma(xi10_0_1, a6_0_0, m2_1);
                        m2_1 = op_fma(xi10_1_1, a6_1_0, m2_1);
                        m2_1 = op_fma(xi10_2_1, a6_2_0, m2_1);
                        m2_1 = op_fma(xi10_3_1, a6_3_0, m2_1);
                        v_storeu(out + ((c0 + 1) * out_stride + q) * BB_W, m2_1);
                        const V xi10_0_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride);
                        const V xi10_1_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride + BB_W);
                        const V xi10_2_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride + 2 * BB_W);
                        const V xi10_3_2 = v_loadu(lane + ((c0 + 2) + 3) * lane_stride + 3 * BB_W);
                        V m2_2 = v_loadu(out + ((c0 + 2) * out_stride + q) * BB_W);
                        m2_2 = op_fma(xi10_0_2, a6_0_0, m2_2);
                        m2_2 = op_fma(xi10_1_2, a6_1_0, m2_2);
                        m2_2 = op_fma(xi10_2_2, a6_2_0, m2_2);
                        m2_2 = op_fma(xi10_3_2, a6_3_0, m2_2);
                        v_storeu(out + ((c0 + 2) * out_stride + q) * BB_W, m2_2);
                        const V xi10_0_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride);
                        const V xi10_1_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride + BB_W);
                        const V xi10_2_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride + 2 * BB_W);
                        const V xi10_3_3 = v_loadu(lane + ((c0 + 3) + 3) * lane_stride + 3 * BB_W);
                        V m2_3 = v_loadu(out + ((c0 + 3) * out_stride + q) * BB_W);
                        m2_3 = op_fma(xi10_0_3, a6_0_0, m2_3);
                        m2_3 = op_fma(xi10_1_3, a6_1_0, m2_3);
                        m2_3 = op_fma(xi10_2_3, a6_2_0, m2_3);
                        m2_3 = op_fma(xi10_3_3, a6_3_0, m2_3);
                        v_storeu(out + ((c0 + 3) * out_stride + q) * BB_W, m2_3);
                        const V xi10_0_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride);
                        const V xi10_1_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride + BB_W);
                        const V xi10_2_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride + 2 * BB_W);
                        const V xi10_3_4 = v_loadu(lane + ((c0 + 4) + 3) * lane_stride + 3 * BB_W);
                        V m2_4 = v_loadu(out + ((c0 + 4) * out_stride + q) * BB_W);
                        m2_4 = op_fma(xi10_0_4, a6_0_0, m2_4);
                        m2_4 = op_fma(xi10_1_4, a6_1_0, m2_4);
                        m2_4 = op_fma(xi10_2_4, a6_2_0, m2_4);
                        m2_4 = op_fma(xi10_3_4, a6_3_0, m2_4);
                        v_storeu(out + ((c0 + 4) * out_stride + q) * BB_W, m2_4);
                    }
                    v_storeu(sum + c0 * BB_L, s2_0_0);
                    v_storeu(sum + c0 * BB_L + 1 * BB_W, s2_1_0);
                    v_storeu(sum + c0 * BB_L + 2 * BB_W, s2_2_0);
                    v_storeu(sum + c0 * BB_L + 3 * BB_W, s2_3_0);
                    v_storeu(sum + (c0 + 1) * BB_L, s2_0_1);
                    v_storeu(sum + (c0 + 1) * BB_L + 1 * BB_W, s2_1_1);
                    v_storeu(sum + (c0 + 1) * BB_L + 2 * BB_W, s2_2_1);
                    v_storeu(sum + (c0 + 1) * BB_L + 3 * BB_W, s2_3_1);
                    v_storeu(sum + (c0 + 2) * BB_L, s2_0_2);
                    v_storeu(sum + (c0 + 2) * BB_L + 1 * BB_W, s2_1_2);
                    v_storeu(sum + (c0 + 2) * BB_L + 2 * BB_W, s2_2_2);
                    v_storeu(sum + (c0 + 2) * BB_L + 3 * BB_W, s2_3_2);
                    v_storeu(sum + (c0 + 3) * BB_L, s2_0_3);
                    v_storeu(sum + (c0 + 3) * BB_L + 1 * BB_W, s2_1_3);
                    v_storeu(sum + (c0 + 3) * BB_L + 2 * BB_W, s2_2_3);
                    v_storeu(sum + (c0 + 3) * BB_L + 3 * BB_W, s2_3_3);
                    v_storeu(sum + (c0 + 4) * BB_L, s2_0_4);
                    v_storeu(sum + (c0 + 4) * BB_L + 1 * BB_W, s2_1_4);
                    v_storeu(sum + (c0 + 4) * BB_L + 2 * BB_W, s2_2_4);
                    v_storeu(sum + (c0 + 4) * BB_L + 3 * BB_W, s2_3_4);
                }
            }
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi10_0 = v_loadu(lane + (c0 + 3) * lane_stride);
                    const V xi10_1 = v_loadu(lane + (c0 + 3) * lane_stride + BB_W);
                    const V xi10_2 = v_loadu(lane + (c0 + 3) * lane_stride + 2 * BB_W);
                    const V xi10_3 = v_loadu(lane + (c0 + 3) * lane_stride + 3 * BB_W);
                    V s2_0_0 = v_loadu(sum + c0 * BB_L);
                    V s2_1_0 = v_loadu(sum + c0 * BB_L + 1 * BB_W);
                    V s2_2_0 = v_loadu(sum + c0 * BB_L + 2 * BB_W);
                    V s2_3_0 = v_loadu(sum + c0 * BB_L + 3 * BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        V a6_0_0 = b6[(q - t + 0) * 4 + 0];
                        V a6_1_0 = b6[(q - t + 0) * 4 + 1];
                        V a6_2_0 = b6[(q - t + 0) * 4 + 2];
                        V a6_3_0 = b6[(q - t + 0) * 4 + 3];
                        const V yi2 = v_splat(cast[q + c0 * cast_stride]);
                        s2_0_0 = op_fma(yi2, a6_0_0, s2_0_0);
                        s2_1_0 = op_fma(yi2, a6_1_0, s2_1_0);
                        s2_2_0 = op_fma(yi2, a6_2_0, s2_2_0);
                        s2_3_0 = op_fma(yi2, a6_3_0, s2_3_0);
                        V m2_0 = v_loadu(out + (c0 * out_stride + q) * BB_W);
                        m2_0 = op_fma(xi10_0, a6_0_0, m2_0);
                        m2_0 = op_fma(xi10_1, a6_1_0, m2_0);
                        m2_0 = op_fma(xi10_2, a6_2_0, m2_0);
                        m2_0 = op_fma(xi10_3, a6_3_0, m2_0);
                        v_storeu(out + (c0 * out_stride + q) * BB_W, m2_0);
                    }
                    v_storeu(sum + c0 * BB_L, s2_0_0);
                    v_storeu(sum + c0 * BB_L + 1 * BB_W, s2_1_0);
                    v_storeu(sum + c0 * BB_L + 2 * BB_W, s2_2_0);
                    v_storeu(sum + c0 * BB_L + 3 * BB_W, s2_3_0);
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
                (R *)sum + e, (R *)out, out_stride);
    }
    for (; e < lanes; e += BB_W) {
        group_1(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out, out_stride);
    }
}
