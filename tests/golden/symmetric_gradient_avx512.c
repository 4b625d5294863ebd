
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
        const V p0 = v_splat(uniform[0]);
        V s0_0 = v_loadu(sum + 0 * BB_L);
        V s1_0 = v_loadu(sum + 1 * BB_L);
        I64 q = t;
        for (; q < t1; q++) {
            const V y0 = v_splat(cast[q]);
            V a0_0_0 = op_sub(x0_0, y0);
            V a1_0_0 = op_mul(a0_0_0, a0_0_0);
            const V y1 = v_splat(cast[q + 1 * cast_stride]);
            V a3_0_0 = op_sub(x1_0, y1);
            V a2_0_0 = op_fma(a3_0_0, a3_0_0, a1_0_0);
            V a4_0_0 = op_expk(a2_0_0, p0);
            s0_0 = op_fma(a0_0_0, a4_0_0, s0_0);
            V m0_0 = v_loadu(out + (0 * out_stride + q) * BB_W);
            m0_0 = op_fma(a0_0_0, a4_0_0, m0_0);
            v_storeu(out + (0 * out_stride + q) * BB_W, m0_0);
            s1_0 = op_fma(a3_0_0, a4_0_0, s1_0);
            V m1_0 = v_loadu(out + (1 * out_stride + q) * BB_W);
            m1_0 = op_fma(a3_0_0, a4_0_0, m1_0);
            v_storeu(out + (1 * out_stride + q) * BB_W, m1_0);
        }
        v_storeu(sum + 0 * BB_L, s0_0);
        v_storeu(sum + 1 * BB_L, s1_0);
    }
}
static void group_4(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride)
{
    const I64 t = 0, t1 = casts;
    {
        const V x0_0 = v_loadu(lane);
        const V x0_1 = v_loadu(lane + BB_W);
        const V x0_2 = v_loadu(lane + 2 * BB_W);
        const V x0_3 = v_loadu(lane + 3 * BB_W);
        const V x1_0 = v_loadu(lane + 1 * lane_stride);
        const V x1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
        const V x1_2 = v_loadu(lane + 1 * lane_stride + 2 * BB_W);
        const V x1_3 = v_loadu(lane + 1 * lane_stride + 3 * BB_W);
        const V p0 = v_splat(uniform[0]);
        V s0_0 = v_loadu(sum + 0 * BB_L);
        V s0_1 = v_loadu(sum + 0 * BB_L + 1 * BB_W);
        V s0_2 = v_loadu(sum + 0 * BB_L + 2 * BB_W);
        V s0_3 = v_loadu(sum + 0 * BB_L + 3 * BB_W);
        V s1_0 = v_loadu(sum + 1 * BB_L);
        V s1_1 = v_loadu(sum + 1 * BB_L + 1 * BB_W);
        V s1_2 = v_loadu(sum + 1 * BB_L + 2 * BB_W);
        V s1_3 = v_loadu(sum + 1 * BB_L + 3 * BB_W);
        I64 q = t;
        for (; q < t1; q++) {
            const V y0 = v_splat(cast[q]);
            V a0_0_0 = op_sub(x0_0, y0);
            V a0_1_0 = op_sub(x0_1, y0);
            V a0_2_0 = op_sub(x0_2, y0);
            V a0_3_0 = op_sub(x0_3, y0);
            V a1_0_0 = op_mul(a0_0_0, a0_0_0);
            V a1_1_0 = op_mul(a0_1_0, a0_1_0);
            V a1_2_0 = op_mul(a0_2_0, a0_2_0);
            V a1_3_0 = op_mul(a0_3_0, a0_3_0);
            const V y1 = v_splat(cast[q + 1 * cast_stride]);
            V a3_0_0 = op_sub(x1_0, y1);
            V a3_1_0 = op_sub(x1_1, y1);
            V a3_2_0 = op_sub(x1_2, y1);
            V a3_3_0 = op_sub(x1_3, y1);
            V a2_0_0 = op_fma(a3_0_0, a3_0_0, a1_0_0);
            V a2_1_0 = op_fma(a3_1_0, a3_1_0, a1_1_0);
            V a2_2_0 = op_fma(a3_2_0, a3_2_0, a1_2_0);
            V a2_3_0 = op_fma(a3_3_0, a3_3_0, a1_3_0);
            V a4_0_0 = op_expk(a2_0_0, p0);
            V a4_1_0 = op_expk(a2_1_0, p0);
            V a4_2_0 = op_expk(a2_2_0, p0);
            V a4_3_0 = op_expk(a2_3_0, p0);
            s0_0 = op_fma(a0_0_0, a4_0_0, s0_0);
            s0_1 = op_fma(a0_1_0, a4_1_0, s0_1);
            s0_2 = op_fma(a0_2_0, a4_2_0, s0_2);
            s0_3 = op_fma(a0_3_0, a4_3_0, s0_3);
            V m0_0 = v_loadu(out + (0 * out_stride + q) * BB_W);
            m0_0 = op_fma(a0_0_0, a4_0_0, m0_0);
            m0_0 = op_fma(a0_1_0, a4_1_0, m0_0);
            m0_0 = op_fma(a0_2_0, a4_2_0, m0_0);
            m0_0 = op_fma(a0_3_0, a4_3_0, m0_0);
            v_storeu(out + (0 * out_stride + q) * BB_W, m0_0);
            s1_0 = op_fma(a3_0_0, a4_0_0, s1_0);
            s1_1 = op_fma(a3_1_0, a4_1_0, s1_1);
            s1_2 = op_fma(a3_2_0, a4_2_0, s1_2);
            s1_3 = op_fma(a3_3_0, a4_3_0, s1_3);
            V m1_0 = v_loadu(out + (1 * out_stride + q) * BB_W);
            m1_0 = op_fma(a3_0_0, a4_0_0, m1_0);
            m1_0 = op_fma(a3_1_0, a4_1_0, m1_0);
            m1_0 = op_fma(a3_2_0, a4_2_0, m1_0);
            m1_0 = op_fma(a3_3_0, a4_3_0, m1_0);
            v_storeu(out + (1 * out_stride + q) * BB_W, m1_0);
        }
        v_storeu(sum + 0 * BB_L, s0_0);
        v_storeu(sum + 0 * BB_L + 1 * BB_W, s0_1);
        v_storeu(sum + 0 * BB_L + 2 * BB_W, s0_2);
        v_storeu(sum + 0 * BB_L + 3 * BB_W, s0_3);
        v_storeu(sum + 1 * BB_L, s1_0);
        v_storeu(sum + 1 * BB_L + 1 * BB_W, s1_1);
        v_storeu(sum + 1 * BB_L + 2 * BB_W, s1_2);
        v_storeu(sum + 1 * BB_L + 3 * BB_W, s1_3);
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
