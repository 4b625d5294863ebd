/* The vocabulary of graphics processors: what CUDA and OpenCL share. A thread owns BB_ROWS rows; a V is one number of
 * one pair, so that the operations of op.def mean here what they mean for a vector on a CPU. The text of the target
 * (cuda.h or opencl.h) stands before and says what a kernel, local memory, a barrier and the mathematical functions
 * are. Elementary functions are the device's own; v_expk, v_sqrtk, v_rsqrtk and v_invk, which kernels use per pair, are
 * its fast ones. BB_DOUBLE: R is double; BB_WIDE: A, in which blocks of columns are added up, is. */
#if BB_DOUBLE
typedef double R;
#else
typedef float R;
#endif
#if BB_WIDE
typedef double A;
#else
typedef R A;
#endif
typedef R V;
typedef int VM;
#define BB_EACH(k, count) BB_UNROLL for (int k = 0; k < (count); k++)

#define K(x) ((R)(x))
BB_EXPK
#define v_lt(a, b) ((a) < (b))
#define v_le(a, b) ((a) <= (b))
#define v_gt(a, b) ((a) > (b))
#define v_ge(a, b) ((a) >= (b))
#define v_eq(a, b) ((a) == (b))
#define v_ne(a, b) ((a) != (b))
#define v_isnan(a) ((a) != (a))
#define v_and(a, b) ((a) && (b))
#define v_or(a, b) ((a) || (b))
#define v_not(a) (!(a))
#define v_sel(m, a, b) ((m) ? (a) : (b))
#define v_mask01(m) ((m) ? K(1) : K(0))
#define v_fma(a, b, c) fma(a, b, c)
#define v_abs(a) fabs(a)
#define v_sqrt(a) sqrt(a)
#define v_floor(a) floor(a)
#define v_ceil(a) ceil(a)
#define v_trunc(a) trunc(a)
#define v_rint(a) rint(a)
#define v_exp(a) exp(a)
#define v_exp2(a) exp2(a)
#define v_expm1(a) expm1(a)
#define v_log(a) log(a)
#define v_log2(a) log2(a)
#define v_log10(a) log10(a)
#define v_log1p(a) log1p(a)
#define v_sin(a) bb_sin(a)
#define v_cos(a) bb_cos(a)
#define v_tan(a) bb_tan(a)
#define v_asin(a) asin(a)
#define v_acos(a) acos(a)
#define v_atan(a) atan(a)
#define v_atan2(a, b) atan2(a, b)
#define v_sinh(a) sinh(a)
#define v_cosh(a) cosh(a)
#define v_tanh(a) tanh(a)
#define v_asinh(a) asinh(a)
#define v_acosh(a) acosh(a)
#define v_atanh(a) atanh(a)
#define v_erf(a) erf(a)
#define v_erfc(a) erfc(a)
#define v_pow(a, b) pow(a, b)
#define v_hypot(a, b) hypot(a, b)
BB_INLINE V v_sigmoid(V a)
{
    V e = exp(-fabs(a));
    return (a >= K(0) ? K(1) : e) / (K(1) + e);
}
BB_INLINE V v_softplus(V a) { return (a > K(0) ? a : a == a ? K(0) : a) + log1p(exp(-fabs(a))); }

/* s + x = s' + error exactly (Knuth); the errors are added up in low. */
#define BB_TWO_SUM(s, low, x)                        \
    do {                                             \
        const A t_ = (s) + (x), b_ = t_ - (s);       \
        (low) += ((s) - (t_ - b_)) + ((x) - b_);     \
        (s) = t_;                                    \
    } while (0)

/* The column at a position of a sequence of intervals, each (position of its first column, column). */
BB_INLINE I64 bb_column(BB_GLOBAL const I64 *interval, I64 count, I64 position)
{
    I64 low = 0, high = count - 1;
    while (low < high) {
        const I64 middle = low + (high - low + 1) / 2;
        if (interval[2 * middle] <= position)
            low = middle;
        else
            high = middle - 1;
    }
    return interval[2 * low + 1] + (position - interval[2 * low]);
}

/* Enters x, which is better than the last of k entries, `step` components apart, ascending; index -1: no entry yet. value
 * and index: of component 0. Returns the last entry, NaN where there is none. Addresses are computed here, in one place:
 * else the compiler keeps all of them in registers. */
BB_RARE V bb_insert(BB_GLOBAL A *value, BB_GLOBAL I64 *index, I64 total, int value_first, int index_first, int step, int k,
                    V x, I64 at)
{
    int n = k - 1;
    value += value_first * total;
    index += index_first * total;
    total *= step;
    BB_ROLLED for (; n > 0 && (index[(n - 1) * total] < 0 || (A)x < value[(n - 1) * total]); n--) {
        value[n * total] = value[(n - 1) * total];
        index[n * total] = index[(n - 1) * total];
    }
    value[n * total] = (A)x;
    index[n * total] = at;
    return index[(k - 1) * total] < 0 ? BB_NAN : (V)value[(k - 1) * total];
}
