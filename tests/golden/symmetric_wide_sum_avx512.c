
typedef long long I64;
#define BB_L (I64)(256 / sizeof(R))
static void group_1(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 t = 0, t1 = casts;
    {
        const V x0_0 = v_loadu(lane);
        const V x1_0 = v_loadu(lane + 1 * lane_stride);
        const V x2_0 = v_loadu(lane + 2 * lane_stride);
        const V p0 = v_splat(uniform[0]);
        const V x3_0 = v_loadu(lane + 3 * lane_stride);
        const V x4_0 = v_loadu(lane + 4 * lane_stride);
        const V x5_0 = v_loadu(lane + 5 * lane_stride);
        const V x6_0 = v_loadu(lane + 6 * lane_stride);
        const V x7_0 = v_loadu(lane + 7 * lane_stride);
        const V x8_0 = v_loadu(lane + 8 * lane_stride);
        V s0_0 = v_loadu(sum + 0 * BB_L);
        V s2_0 = v_loadu(sum + 1 * BB_L);
        V s4_0 = v_loadu(sum + 2 * BB_L);
        V s7_0 = v_loadu(sum + 3 * BB_L);
        V s8_0 = v_loadu(sum + 4 * BB_L);
        V s9_0 = v_loadu(sum + 5 * BB_L);
        I64 q = t;
        for (; q < t1; q++) {
            const V y6 = v_splat(cast[q + 6 * cast_stride]);
            V a0_0_0 = op_sub(x0_0, y6);
            V a1_0_0 = op_mul(a0_0_0, a0_0_0);
            const V y7 = v_splat(cast[q + 7 * cast_stride]);
            V a3_0_0 = op_sub(x1_0, y7);
            V a2_0_0 = op_fma(a3_0_0, a3_0_0, a1_0_0);
            const V y8 = v_splat(cast[q + 8 * cast_stride]);
            V a5_0_0 = op_sub(x2_0, y8);
            V a4_0_0 = op_fma(a5_0_0, a5_0_0, a2_0_0);
            V a6_0_0 = op_expk(a4_0_0, p0);
            const V y0 = v_splat(cast[q]);
            s0_0 = op_fma(y0, a6_0_0, s0_0);
            V m0_0 = v_loadu(out + (0 * out_stride + q) * BB_W);
            m0_0 = op_fma(x3_0, a6_0_0, m0_0);
            v_storeu(out + (0 * out_stride + q) * BB_W, m0_0);
            const V y1 = v_splat(cast[q + 1 * cast_stride]);
            s2_0 = op_fma(y1, a6_0_0, s2_0);
            V m2_0 = v_loadu(out + (1 * out_stride + q) * BB_W);
            m2_0 = op_fma(x4_0, a6_0_0, m2_0);
            v_storeu(out + (1 * out_stride + q) * BB_W, m2_0);
            const V y2 = v_splat(cast[q + 2 * cast_stride]);
            s4_0 = op_fma(y2, a6_0_0, s4_0);
            V m4_0 = v_loadu(out + (2 * out_stride + q) * BB_W);
            m4_0 = op_fma(x5_0, a6_0_0, m4_0);
            v_storeu(out + (2 * out_stride + q) * BB_W, m4_0);
            const V y3 = v_splat(cast[q + 3 * cast_stride]);
            s7_0 = op_fma(y3, a6_0_0, s7_0);
            V m7_0 = v_loadu(out + (3 * out_stride + q) * BB_W);
            m7_0 = op_fma(x6_0, a6_0_0, m7_0);
            v_storeu(out + (3 * out_stride + q) * BB_W, m7_0);
            const V y4 = v_splat(cast[q + 4 * cast_stride]);
            s8_0 = op_fma(y4, a6_0_0, s8_0);
            V m8_0 = v_loadu(out + (4 * out_stride + q) * BB_W);
            m8_0 = op_fma(x7_0, a6_0_0, m8_0);
            v_storeu(out + (4 * out_stride + q) * BB_W, m8_0);
            const V y5 = v_splat(cast[q + 5 * cast_stride]);
            s9_0 = op_fma(y5, a6_0_0, s9_0);
            V m9_0 = v_loadu(out + (5 * out_stride + q) * BB_W);
            m9_0 = op_fma(x8_0, a6_0_0, m9_0);
            v_storeu(out + (5 * out_stride + q) * BB_W, m9_0);
        }
        v_storeu(sum + 0 * BB_L, s0_0);
        v_storeu(sum + 1 * BB_L, s2_0);
        v_storeu(sum + 2 * BB_L, s4_0);
        v_storeu(sum + 3 * BB_L, s7_0);
        v_storeu(sum + 4 * BB_L, s8_0);
        v_storeu(sum + 5 * BB_L, s9_0);
    }
}
static void group_4(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 t = 0, t1 = casts;
    {
        const V p0 = v_splat(uniform[0]);
        V s0_0 = v_loadu(sum + 0 * BB_L);
        V s0_1 = v_loadu(sum + 0 * BB_L + 1 * BB_W);
        V s0_2 = v_loadu(sum + 0 * BB_L + 2 * BB_W);
        V s0_3 = v_loadu(sum + 0 * BB_L + 3 * BB_W);
        V s2_0 = v_loadu(sum + 1 * BB_L);
        V s2_1 = v_loadu(sum + 1 * BB_L + 1 * BB_W);
        V s2_2 = v_loadu(sum + 1 * BB_L + 2 * BB_W);
        V s2_3 = v_loadu(sum + 1 * BB_L + 3 * BB_W);
        V s4_0 = v_loadu(sum + 2 * BB_L);
        V s4_1 = v_loadu(sum + 2 * BB_L + 1 * BB_W);
        V s4_2 = v_loadu(sum + 2 * BB_L + 2 * BB_W);
        V s4_3 = v_loadu(sum + 2 * BB_L + 3 * BB_W);
        V s7_0 = v_loadu(sum + 3 * BB_L);
        V s7_1 = v_loadu(sum + 3 * BB_L + 1 * BB_W);
        V s7_2 = v_loadu(sum + 3 * BB_L + 2 * BB_W);
        V s7_3 = v_loadu(sum + 3 * BB_L + 3 * BB_W);
        V s8_0 = v_loadu(sum + 4 * BB_L);
        V s8_1 = v_loadu(sum + 4 * BB_L + 1 * BB_W);
        V s8_2 = v_loadu(sum + 4 * BB_L + 2 * BB_W);
        V s8_3 = v_loadu(sum + 4 * BB_L + 3 * BB_W);
        V s9_0 = v_loadu(sum + 5 * BB_L);
        V s9_1 = v_loadu(sum + 5 * BB_L + 1 * BB_W);
        V s9_2 = v_loadu(sum + 5 * BB_L + 2 * BB_W);
        V s9_3 = v_loadu(sum + 5 * BB_L + 3 * BB_W);
        I64 q = t;
        for (; q < t1; q++) {
            const V x0_0 = v_loadu(lane);
            const V x0_1 = v_loadu(lane + BB_W);
            const V x0_2 = v_loadu(lane + 2 * BB_W);
            const V x0_3 = v_loadu(lane + 3 * BB_W);
            const V y6 = v_splat(cast[q + 6 * cast_stride]);
            V a0_0_0 = op_sub(x0_0, y6);
            V a0_1_0 = op_sub(x0_1, y6);
            V a0_2_0 = op_sub(x0_2, y6);
            V a0_3_0 = op_sub(x0_3, y6);
            V a1_0_0 = op_mul(a0_0_0, a0_0_0);
            V a1_1_0 = op_mul(a0_1_0, a0_1_0);
            V a1_2_0 = op_mul(a0_2_0, a0_2_0);
            V a1_3_0 = op_mul(a0_3_0, a0_3_0);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
            const V x1_2 = v_loadu(lane + 1 * lane_stride + 2 * BB_W);
            const V x1_3 = v_loadu(lane + 1 * lane_stride + 3 * BB_W);
            const V y7 = v_splat(cast[q + 7 * cast_stride]);
            V a3_0_0 = op_sub(x1_0, y7);
            V a3_1_0 = op_sub(x1_1, y7);
            V a3_2_0 = op_sub(x1_2, y7);
            V a3_3_0 = op_sub(x1_3, y7);
            V a2_0_0 = op_fma(a3_0_0, a3_0_0, a1_0_0);
            V a2_1_0 = op_fma(a3_1_0, a3_1_0, a1_1_0);
            V a2_2_0 = op_fma(a3_2_0, a3_2_0, a1_2_0);
            V a2_3_0 = op_fma(a3_3_0, a3_3_0, a1_3_0);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            const V x2_1 = v_loadu(lane + 2 * lane_stride + BB_W);
            const V x2_2 = v_loadu(lane + 2 * lane_stride + 2 * BB_W);
            const V x2_3 = v_loadu(lane + 2 * lane_stride + 3 * BB_W);
            const V y8 = v_splat(cast[q + 8 * cast_stride]);
            V a5_0_0 = op_sub(x2_0, y8);
            V a5_1_0 = op_sub(x2_1, y8);
            V a5_2_0 = op_sub(x2_2, y8);
            V a5_3_0 = op_sub(x2_3, y8);
            V a4_0_0 = op_fma(a5_0_0, a5_0_0, a2_0_0);
            V a4_1_0 = op_fma(a5_1_0, a5_1_0, a2_1_0);
            V a4_2_0 = op_fma(a5_2_0, a5_2_0, a2_2_0);
            V a4_3_0 = op_fma(a5_3_0, a5_3_0, a2_3_0);
            V a6_0_0 = op_expk(a4_0_0, p0);
            V a6_1_0 = op_expk(a4_1_0, p0);
            V a6_2_0 = op_expk(a4_2_0, p0);
            V a6_3_0 = op_expk(a4_3_0, p0);
            const V y0 = v_splat(cast[q]);
            s0_0 = op_fma(y0, a6_0_0, s0_0);
            s0_1 = op_fma(y0, a6_1_0, s0_1);
            s0_2 = op_fma(y0, a6_2_0, s0_2);
            s0_3 = op_fma(y0, a6_3_0, s0_3);
            const V x3_0 = v_loadu(lane + 3 * lane_stride);
            const V x3_1 = v_loadu(lane + 3 * lane_stride + BB_W);
            const V x3_2 = v_loadu(lane + 3 * lane_stride + 2 * BB_W);
            const V x3_3 = v_loadu(lane + 3 * lane_stride + 3 * BB_W);
            V m0_0 = v_loadu(out + (0 * out_stride + q) * BB_W);
            m0_0 = op_fma(x3_0, a6_0_0, m0_0);
            m0_0 = op_fma(x3_1, a6_1_0, m0_0);
            m0_0 = op_fma(x3_2, a6_2_0, m0_0);
            m0_0 = op_fma(x3_3, a6_3_0, m0_0);
            v_storeu(out + (0 * out_stride + q) * BB_W, m0_0);
            const V y1 = v_splat(cast[q + 1 * cast_stride]);
            s2_0 = op_fma(y1, a6_0_0, s2_0);
            s2_1 = op_fma(y1, a6_1_0, s2_1);
            s2_2 = op_fma(y1, a6_2_0, s2_2);
            s2_3 = op_fma(y1, a6_3_0, s2_3);
            const V x4_0 = v_loadu(lane + 4 * lane_stride);
            const V x4_1 = v_loadu(lane + 4 * lane_stride + BB_W);
            const V x4_2 = v_loadu(lane + 4 * lane_stride + 2 * BB_W);
            const V x4_3 = v_loadu(lane + 4 * lane_stride + 3 * BB_W);
            V m2_0 = v_loadu(out + (1 * out_stride + q) * BB_W);
            m2_0 = op_fma(x4_0, a6_0_0, m2_0);
            m2_0 = op_fma(x4_1, a6_1_0, m2_0);
            m2_0 = op_fma(x4_2, a6_2_0, m2_0);
            m2_0 = op_fma(x4_3, a6_3_0, m2_0);
            v_storeu(out + (1 * out_stride + q) * BB_W, m2_0);
            const V y2 = v_splat(cast[q + 2 * cast_stride]);
            s4_0 = op_fma(y2, a6_0_0, s4_0);
            s4_1 = op_fma(y2, a6_1_0, s4_1);
            s4_2 = op_fma(y2, a6_2_0, s4_2);
            s4_3 = op_fma(y2, a6_3_0, s4_3);
            const V x5_0 = v_loadu(lane + 5 * lane_stride);
            const V x5_1 = v_loadu(lane + 5 * lane_stride + BB_W);
            const V x5_2 = v_loadu(lane + 5 * lane_stride + 2 * BB_W);
            const V x5_3 = v_loadu(lane + 5 * lane_stride + 3 * BB_W);
            V m4_0 = v_loadu(out + (2 * out_stride + q) * BB_W);
            m4_0 = op_fma(x5_0, a6_0_0, m4_0);
            m4_0 = op_fma(x5_1, a6_1_0, m4_0);
            m4_0 = op_fma(x5_2, a6_2_0, m4_0);
            m4_0 = op_fma(x5_3, a6_3_0, m4_0);
            v_storeu(out + (2 * out_stride + q) * BB_W, m4_0);
            const V y3 = v_splat(cast[q + 3 * cast_stride]);
            s7_0 = op_fma(y3, a6_0_0, s7_0);
            s7_1 = op_fma(y3, a6_1_0, s7_1);
            s7_2 = op_fma(y3, a6_2_0, s7_2);
            s7_3 = op_fma(y3, a6_3_0, s7_3);
            const V x6_0 = v_loadu(lane + 6 * lane_stride);
            const V x6_1 = v_loadu(lane + 6 * lane_stride + BB_W);
            const V x6_2 = v_loadu(lane + 6 * lane_stride + 2 * BB_W);
            const V x6_3 = v_loadu(lane + 6 * lane_stride + 3 * BB_W);
            V m7_0 = v_loadu(out + (3 * out_stride + q) * BB_W);
            m7_0 = op_fma(x6_0, a6_0_0, m7_0);
            m7_0 = op_fma(x6_1, a6_1_0, m7_0);
            m7_0 = op_fma(x6_2, a6_2_0, m7_0);
            m7_0 = op_fma(x6_3, a6_3_0, m7_0);
            v_storeu(out + (3 * out_stride + q) * BB_W, m7_0);
            const V y4 = v_splat(cast[q + 4 * cast_stride]);
            s8_0 = op_fma(y4, a6_0_0, s8_0);
            s8_1 = op_fma(y4, a6_1_0, s8_1);
            s8_2 = op_fma(y4, a6_2_0, s8_2);
            s8_3 = op_fma(y4, a6_3_0, s8_3);
            const V x7_0 = v_loadu(lane + 7 * lane_stride);
            const V x7_1 = v_loadu(lane + 7 * lane_stride + BB_W);
            const V x7_2 = v_loadu(lane + 7 * lane_stride + 2 * BB_W);
            const V x7_3 = v_loadu(lane + 7 * lane_stride + 3 * BB_W);
            V m8_0 = v_loadu(out + (4 * out_stride + q) * BB_W);
            m8_0 = op_fma(x7_0, a6_0_0, m8_0);
            m8_0 = op_fma(x7_1, a6_1_0, m8_0);
            m8_0 = op_fma(x7_2, a6_2_0, m8_0);
            m8_0 = op_fma(x7_3, a6_3_0, m8_0);
            v_storeu(out + (4 * out_stride + q) * BB_W, m8_0);
            const V y5 = v_splat(cast[q + 5 * cast_stride]);
            s9_0 = op_fma(y5, a6_0_0, s9_0);
            s9_1 = op_fma(y5, a6_1_0, s9_1);
            s9_2 = op_fma(y5, a6_2_0, s9_2);
            s9_3 = op_fma(y5, a6_3_0, s9_3);
            const V x8_0 = v_loadu(lane + 8 * lane_stride);
            const V x8_1 = v_loadu(lane + 8 * lane_stride + BB_W);
            const V x8_2 = v_loadu(lane + 8 * lane_stride + 2 * BB_W);
            const V x8_3 = v_loadu(lane + 8 * lane_stride + 3 * BB_W);
            V m9_0 = v_loadu(out + (5 * out_stride + q) * BB_W);
            m9_0 = op_fma(x8_0, a6_0_0, m9_0);
            m9_0 = op_fma(x8_1, a6_1_0, m9_0);
            m9_0 = op_fma(x8_2, a6_2_0, m9_0);
            m9_0 = op_fma(x8_3, a6_3_0, m9_0);
            v_storeu(out + (5 * out_stride + q) * BB_W, m9_0);
        }
        v_storeu(sum + 0 * BB_L, s0_0);
        v_storeu(sum + 0 * BB_L + 1 * BB_W, s0_1);
        v_storeu(sum + 0 * BB_L + 2 * BB_W, s0_2);
        v_storeu(sum + 0 * BB_L + 3 * BB_W, s0_3);
        v_storeu(sum + 1 * BB_L, s2_0);
        v_storeu(sum + 1 * BB_L + 1 * BB_W, s2_1);
        v_storeu(sum + 1 * BB_L + 2 * BB_W, s2_2);
        v_storeu(sum + 1 * BB_L + 3 * BB_W, s2_3);
        v_storeu(sum + 2 * BB_L, s4_0);
        v_storeu(sum + 2 * BB_L + 1 * BB_W, s4_1);
        v_storeu(sum + 2 * BB_L + 2 * BB_W, s4_2);
        v_storeu(sum + 2 * BB_L + 3 * BB_W, s4_3);
        v_storeu(sum + 3 * BB_L, s7_0);
        v_storeu(sum + 3 * BB_L + 1 * BB_W, s7_1);
        v_storeu(sum + 3 * BB_L + 2 * BB_W, s7_2);
        v_storeu(sum + 3 * BB_L + 3 * BB_W, s7_3);
        v_storeu(sum + 4 * BB_L, s8_0);
        v_storeu(sum + 4 * BB_L + 1 * BB_W, s8_1);
        v_storeu(sum + 4 * BB_L + 2 * BB_W, s8_2);
        v_storeu(sum + 4 * BB_L + 3 * BB_W, s8_3);
        v_storeu(sum + 5 * BB_L, s9_0);
        v_storeu(sum + 5 * BB_L + 1 * BB_W, s9_1);
        v_storeu(sum + 5 * BB_L + 2 * BB_W, s9_2);
        v_storeu(sum + 5 * BB_L + 3 * BB_W, s9_3);
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
