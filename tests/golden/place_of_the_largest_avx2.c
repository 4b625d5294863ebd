/* Pair kernel in float: rows x in lanes, columns y cast. Every pair (x, y) does

  %0 = sub(x[0], y[0])
  %1 = mul(%0, %0)
  %2 = sub(x[1], y[1])
  %3 = fma(%2, %2, %1)
  %4 = sub(x[2], y[2])
  %5 = fma(%4, %4, %3)
  out[0] = %5

 */

BB_INLINE V op_sub(V a, V b) { return a - b; }
BB_INLINE V op_mul(V a, V b) { return a * b; }
BB_INLINE V op_fma(V a, V b, V c) { return v_fma(a, b, c); }
/* ==== kernel ==== */

typedef long long I64;
#define BB_L (I64)(256 / sizeof(R))
#define BB_HITS 32
static void group_1(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride, I64 *restrict hit, I64 first)
{
    V limit_0 = v_loadu(sum + 0 * BB_W);
    I64 hits = hit[0];
    I64 t = 0;
    for (; t + 8 <= casts; t += 8) {
        const I64 t1 = t + 8;
        V best_0 = limit_0;
        {
            const V x0_0 = v_loadu(lane);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            I64 q = t;
#pragma GCC unroll 8
            for (; q < t1; q++) {
                const V y0 = v_splat(cast[q]);
                V a0_0_0 = op_sub(x0_0, y0);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                const V y1 = v_splat(cast[q + 1 * cast_stride]);
                V a2_0_0 = op_sub(x1_0, y1);
                V a3_0_0 = op_fma(a2_0_0, a2_0_0, a1_0_0);
                const V y2 = v_splat(cast[q + 2 * cast_stride]);
                V a4_0_0 = op_sub(x2_0, y2);
                V a5_0_0 = op_fma(a4_0_0, a4_0_0, a3_0_0);
                best_0 = v_maxx(a5_0_0, best_0);
                v_storeu(out + (q) * BB_L, a5_0_0);
            }
        }
        const VM better_0 = v_ne(best_0, limit_0);
        if (__builtin_expect(v_any(better_0), 0)) {
            const I64 bits_0 = v_bits(better_0);
            hit[1 + hits] = bits_0 << 32 | t << 16 | (t1 - t) << 8 | (first + 0 * BB_W);
            hits += bits_0 != 0;
            limit_0 = best_0;
        }
    }
    if (t < casts) {
        const I64 t1 = casts;
        V best_0 = limit_0;
        {
            const V x0_0 = v_loadu(lane);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            I64 q = t;
            for (; q < t1; q++) {
                const V y0 = v_splat(cast[q]);
                V a0_0_0 = op_sub(x0_0, y0);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                const V y1 = v_splat(cast[q + 1 * cast_stride]);
                V a2_0_0 = op_sub(x1_0, y1);
                V a3_0_0 = op_fma(a2_0_0, a2_0_0, a1_0_0);
                const V y2 = v_splat(cast[q + 2 * cast_stride]);
                V a4_0_0 = op_sub(x2_0, y2);
                V a5_0_0 = op_fma(a4_0_0, a4_0_0, a3_0_0);
                best_0 = v_maxx(a5_0_0, best_0);
                v_storeu(out + (q) * BB_L, a5_0_0);
            }
        }
        const VM better_0 = v_ne(best_0, limit_0);
        if (__builtin_expect(v_any(better_0), 0)) {
            const I64 bits_0 = v_bits(better_0);
            hit[1 + hits] = bits_0 << 32 | t << 16 | (t1 - t) << 8 | (first + 0 * BB_W);
            hits += bits_0 != 0;
            limit_0 = best_0;
        }
    }
    hit[0] = hits;
}
static void group_2(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,
    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R *restrict out,
    I64 out_stride, I64 *restrict hit, I64 first)
{
    V limit_0 = v_loadu(sum + 0 * BB_W);
    V limit_1 = v_loadu(sum + 1 * BB_W);
    I64 hits = hit[0];
    I64 t = 0;
    for (; t + 8 <= casts; t += 8) {
        const I64 t1 = t + 8;
        V best_0 = limit_0;
        V best_1 = limit_1;
        {
            const V x0_0 = v_loadu(lane);
            const V x0_1 = v_loadu(lane + BB_W);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            const V x2_1 = v_loadu(lane + 2 * lane_stride + BB_W);
            I64 q = t;
#pragma GCC unroll 8
            for (; q < t1; q++) {
                const V y0 = v_splat(cast[q]);
                V a0_0_0 = op_sub(x0_0, y0);
                V a0_1_0 = op_sub(x0_1, y0);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                V a1_1_0 = op_mul(a0_1_0, a0_1_0);
                const V y1 = v_splat(cast[q + 1 * cast_stride]);
                V a2_0_0 = op_sub(x1_0, y1);
                V a2_1_0 = op_sub(x1_1, y1);
                V a3_0_0 = op_fma(a2_0_0, a2_0_0, a1_0_0);
                V a3_1_0 = op_fma(a2_1_0, a2_1_0, a1_1_0);
                const V y2 = v_splat(cast[q + 2 * cast_stride]);
                V a4_0_0 = op_sub(x2_0, y2);
                V a4_1_0 = op_sub(x2_1, y2);
                V a5_0_0 = op_fma(a4_0_0, a4_0_0, a3_0_0);
                V a5_1_0 = op_fma(a4_1_0, a4_1_0, a3_1_0);
                best_0 = v_maxx(a5_0_0, best_0);
                v_storeu(out + (q) * BB_L, a5_0_0);
                best_1 = v_maxx(a5_1_0, best_1);
                v_storeu(out + (q) * BB_L + 1 * BB_W, a5_1_0);
            }
        }
        const VM better_0 = v_ne(best_0, limit_0);
        const VM better_1 = v_ne(best_1, limit_1);
        if (__builtin_expect(v_any(v_or(better_0, better_1)), 0)) {
            const I64 bits_0 = v_bits(better_0);
            hit[1 + hits] = bits_0 << 32 | t << 16 | (t1 - t) << 8 | (first + 0 * BB_W);
            hits += bits_0 != 0;
            limit_0 = best_0;
            const I64 bits_1 = v_bits(better_1);
            hit[1 + hits] = bits_1 << 32 | t << 16 | (t1 - t) << 8 | (first + 1 * BB_W);
            hits += bits_1 != 0;
            limit_1 = best_1;
        }
    }
    if (t < casts) {
        const I64 t1 = casts;
        V best_0 = limit_0;
        V best_1 = limit_1;
        {
            const V x0_0 = v_loadu(lane);
            const V x0_1 = v_loadu(lane + BB_W);
            const V x1_0 = v_loadu(lane + 1 * lane_stride);
            const V x1_1 = v_loadu(lane + 1 * lane_stride + BB_W);
            const V x2_0 = v_loadu(lane + 2 * lane_stride);
            const V x2_1 = v_loadu(lane + 2 * lane_stride + BB_W);
            I64 q = t;
            for (; q < t1; q++) {
                const V y0 = v_splat(cast[q]);
                V a0_0_0 = op_sub(x0_0, y0);
                V a0_1_0 = op_sub(x0_1, y0);
                V a1_0_0 = op_mul(a0_0_0, a0_0_0);
                V a1_1_0 = op_mul(a0_1_0, a0_1_0);
                const V y1 = v_splat(cast[q + 1 * cast_stride]);
                V a2_0_0 = op_sub(x1_0, y1);
                V a2_1_0 = op_sub(x1_1, y1);
                V a3_0_0 = op_fma(a2_0_0, a2_0_0, a1_0_0);
                V a3_1_0 = op_fma(a2_1_0, a2_1_0, a1_1_0);
                const V y2 = v_splat(cast[q + 2 * cast_stride]);
                V a4_0_0 = op_sub(x2_0, y2);
                V a4_1_0 = op_sub(x2_1, y2);
                V a5_0_0 = op_fma(a4_0_0, a4_0_0, a3_0_0);
                V a5_1_0 = op_fma(a4_1_0, a4_1_0, a3_1_0);
                best_0 = v_maxx(a5_0_0, best_0);
                v_storeu(out + (q) * BB_L, a5_0_0);
                best_1 = v_maxx(a5_1_0, best_1);
                v_storeu(out + (q) * BB_L + 1 * BB_W, a5_1_0);
            }
        }
        const VM better_0 = v_ne(best_0, limit_0);
        const VM better_1 = v_ne(best_1, limit_1);
        if (__builtin_expect(v_any(v_or(better_0, better_1)), 0)) {
            const I64 bits_0 = v_bits(better_0);
            hit[1 + hits] = bits_0 << 32 | t << 16 | (t1 - t) << 8 | (first + 0 * BB_W);
            hits += bits_0 != 0;
            limit_0 = best_0;
            const I64 bits_1 = v_bits(better_1);
            hit[1 + hits] = bits_1 << 32 | t << 16 | (t1 - t) << 8 | (first + 1 * BB_W);
            hits += bits_1 != 0;
            limit_1 = best_1;
        }
    }
    hit[0] = hits;
}
void benben_kernel(const I64 *size, const void *uniform, const void *lane, I64 lane_stride,
    const void *cast, I64 cast_stride, I64 lanes, I64 casts, void *sum, void *out, I64 out_stride)
{
    I64 e = 0;
    for (; lanes - e > 1 * BB_W; e += 2 * BB_W) {
        group_2(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride, (I64 *)sum + BB_HITS, e);
    }
    for (; e < lanes; e += BB_W) {
        group_1(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,
                (R *)sum + e, (R *)out + e, out_stride, (I64 *)sum + BB_HITS, e);
    }
}
