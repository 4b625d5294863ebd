/* Sums over listed pairs: what stands around the pair, which is printed behind (bb_add_pair). See plan/emit_gpu_listed.c.
 * BB_OUTS sums, then as many corrections: in registers (BB_REGISTERS: all indices are constants) or in memory. */
#if BB_REGISTERS
#define BB_SUMS A *sum
#define BB_SUM(c) sum[c]
#define BB_BEGIN(given)                                                         \
    A sum[2 * BB_OUTS];                                                         \
    BB_EACH(c, 2 * BB_OUTS) sum[c] = (given) ? value[(I64)c * total] : (A)0
#define BB_TAKEN sum
#define BB_END(to, step) BB_EACH(c, 2 * BB_OUTS) to[(I64)c * (step)] = sum[c]
#define BB_PLACE(to, step)
#else
#define BB_SUMS BB_GLOBAL A *sum, I64 sum_step
#define BB_SUM(c) sum[(I64)(c) * sum_step]
#define BB_BEGIN(given)                                                         \
    if (!(given))                                                               \
        BB_ROLLED for (int c = 0; c < 2 * BB_OUTS; c++) BB_SUM(c) = 0
#define BB_TAKEN sum, sum_step
#define BB_END(to, step)
#define BB_PLACE(to, step) BB_GLOBAL A *const sum = to; const I64 sum_step = step;
#endif
#define BB_ADD(c, x)                                                            \
    do {                                                                        \
        const A x_ = (A)(x);                                                    \
        A high_ = BB_SUM(c), low_ = BB_SUM((c) + BB_OUTS);                      \
        BB_TWO_SUM(high_, low_, x_);                                            \
        BB_SUM(c) = high_, BB_SUM((c) + BB_OUTS) = low_;                        \
    } while (0)
#define BB_SPOIL() for (int c = 0; c < BB_OUTS; c++) BB_SUM(c) = (A)BB_NAN

BB_INLINE void bb_add_pair(BB_GLOBAL const I64 *size, BB_GLOBAL const R *uniform, BB_GLOBAL const R *row, I64 row_stride,
                           BB_GLOBAL const R *column, I64 column_stride, I64 entry, BB_SUMS);
