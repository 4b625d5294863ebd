/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  loop c0 < n[2] {
    %0 = mul(x[c0], y[c0 + 1])
    out[c0] = %0
  }
  sum[0] += x[1]
  sum[1] += y[2] * p[1]

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
                    const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                    I64 q = t;
                    for (; q < t1; q++) {
                        const V yi3 = v_splat(cast[q + (c0 + 1) * cast_stride]);
                        V a0_0_0 = op_mul(xi1_0, yi3);
                        v_storeu(out + (q + c0 * out_stride) * BB_L, a0_0_0);
                    }
                }
            }
        }
        {
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V p1 = v_splat(uniform[1]);
            V s4_0 = v_loadu(sum + 0 * BB_L);
            V s2_0 = v_loadu(sum + 1 * BB_L);
            I64 q = t;
            for (; q < t1; q++) {
                s4_0 = x1_0 + s4_0;
                const V y2 = v_splat(cast[q + 2 * cast_stride]);
                s2_0 = op_fma(y2, p1, s2_0);
            }
            v_storeu(sum + 0 * BB_L, s4_0);
            v_storeu(sum + 1 * BB_L, s2_0);
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
            for (; c0 < n2; c0 += 1) {
                {
                    const V xi1_0 = v_loadu(lane + c0 * lane_stride);
                    const V xi1_1 = v_loadu(lane + c0 * lane_stride + BB_W);
                    I64 q = t;
                    for (; q < t1; q++) {
                        const V yi3 = v_splat(cast[q + (c0 + 1) * cast_stride]);
                        V a0_0_0 = op_mul(xi1_0, yi3);
                        V a0_1_0 = op_mul(xi1_1, yi3);
                        v_storeu(out + (q + c0 * out_stride) * BB_L, a0_0_0);
                        v_storeu(out + (q + c0 * out_stride) * BB_L + 1 * BB_W, a0_1_0);
                    }
                }
            }
        }
        {
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
            const V p1 = v_splat(uniform[1]);
            V s4_0 = v_loadu(sum + 0 * BB_L);
            V s4_1 = v_loadu(sum + 0 * BB_L + 1 * BB_W);
            V s2_0 = v_loadu(sum + 1 * BB_L);
            V s2_1 = v_loadu(sum + 1 * BB_L + 1 * BB_W);
            I64 q = t;
            for (; q < t1; q++) {
                s4_0 = x1_0 + s4_0;
                s4_1 = x1_1 + s4_1;
                const V y2 = v_splat(cast[q + 2 * cast_stride]);
                s2_0 = op_fma(y2, p1, s2_0);
                s2_1 = op_fma(y2, p1, s2_1);
            }
            v_storeu(sum + 0 * BB_L, s4_0);
            v_storeu(sum + 0 * BB_L + 1 * BB_W, s4_1);
            v_storeu(sum + 1 * BB_L, s2_0);
            v_storeu(sum + 1 * BB_L + 1 * BB_W, s2_1);
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
