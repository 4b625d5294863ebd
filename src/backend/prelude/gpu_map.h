/* The vocabulary of the kernels around the pairs: arrays of any storage type and strides, and merging. See
 * plan/emit_gpu.h for the numbers that describe an array. */
#define BB_VIEW(k, field) BB_AT(views, (k) * BB_FIELDS + (field))
/* where batch element number `batch` of array k begins, in bytes */
#define BB_ORIGIN(k)                                                                                \
    (BB_VIEW(k, BB_FIELD_OFFSET) + b0 * BB_VIEW(k, BB_FIELD_BATCH) + b1 * BB_VIEW(k, BB_FIELD_BATCH + 1) + \
     b2 * BB_VIEW(k, BB_FIELD_BATCH + 2) + b3 * BB_VIEW(k, BB_FIELD_BATCH + 3))
#define BB_BATCH(slot)                                                            \
    I64 b3 = BB_AT(geometry, BB_GEO_FIRST_BATCH) + (slot), b2, b1, b0;            \
    b2 = b3 / BB_AT(geometry, BB_GEO_BATCH + 3), b3 -= b2 * BB_AT(geometry, BB_GEO_BATCH + 3); \
    b1 = b2 / BB_AT(geometry, BB_GEO_BATCH + 2), b2 -= b1 * BB_AT(geometry, BB_GEO_BATCH + 2); \
    b0 = b1 / BB_AT(geometry, BB_GEO_BATCH + 1), b1 -= b0 * BB_AT(geometry, BB_GEO_BATCH + 1)

/* number d of array k, which stands in the table itself */
#define BB_GIVEN(k, d)                                                                                       \
    bb_real_of((d) == 0   ? BB_VIEW(k, BB_FIELD_BATCH)                                                       \
               : (d) == 1 ? BB_VIEW(k, BB_FIELD_BATCH + 1)                                                   \
               : (d) == 2 ? BB_VIEW(k, BB_FIELD_BATCH + 2)                                                   \
                          : BB_VIEW(k, BB_FIELD_BATCH + 3))
#if BB_DOUBLE
#define bb_real_of(bits) bb_from_wide_bits(bits)
#else
#define bb_real_of(bits) bb_from_bits((unsigned)(bits))
#endif

BB_INLINE R bb_load(BB_GLOBAL const char *p, int dtype)
{
    if (dtype == BB_F32) return (R)*(BB_GLOBAL const float *)p;
#if BB_HAS_DOUBLE
    if (dtype == BB_F64) return (R)*(BB_GLOBAL const double *)p;
#endif
    if (dtype == BB_F16) return (R)bb_from_half(p);
    if (dtype == BB_BF16) return (R)bb_from_bits((unsigned)*(BB_GLOBAL const unsigned short *)p << 16);
    return (R)*(BB_GLOBAL const I64 *)p;
}

/* to the nearest, ties to even; NaN stays one */
BB_INLINE unsigned short bb_to_brain(float x)
{
    const unsigned bits = bb_bits(x);
    return (unsigned short)(x != x ? (bits >> 16) | 64u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

BB_INLINE void bb_store(BB_GLOBAL char *p, int dtype, R x)
{
    if (dtype == BB_F32) *(BB_GLOBAL float *)p = (float)x;
#if BB_HAS_DOUBLE
    else if (dtype == BB_F64) *(BB_GLOBAL double *)p = (double)x;
#endif
    else if (dtype == BB_F16) bb_to_half((float)x, p);
    else *(BB_GLOBAL unsigned short *)p = bb_to_brain((float)x);
}

#define BB_IS_FINITE(x) ((x) - (x) == 0)
#define BB_V(part, c) value[((I64)(part) * BB_VALUES + (c)) * total]
#define BB_I(part, c) index[((I64)(part) * BB_INDICES + (c)) * total]

/* Is entry (a, i) behind (b, j)? No entry (index -1) is behind all. */
BB_INLINE int bb_is_behind(A a, I64 i, A b, I64 j)
{
    if (i < 0 || j < 0) return i < 0 && j >= 0;
    return a > b || (a == b && i > j);
}

/* Two sorted lists of k entries, `step` apart, into the first: how many of the k come from each, then from the last to
 * the first. */
BB_INLINE void bb_merge_lists(BB_GLOBAL A *a, BB_GLOBAL I64 *ai, BB_GLOBAL const A *b, BB_GLOBAL const I64 *bi, I64 step,
                              int k)
{
    int i = 0, j = 0;
    while (i + j < k) {
        if (bb_is_behind(a[i * step], ai[i * step], b[j * step], bi[j * step]))
            j++;
        else
            i++;
    }
    for (int last = k - 1; j > 0; last--) {
        if (i > 0 && bb_is_behind(a[(i - 1) * step], ai[(i - 1) * step], b[(j - 1) * step], bi[(j - 1) * step])) {
            i--;
            a[last * step] = a[i * step], ai[last * step] = ai[i * step];
        } else {
            j--;
            a[last * step] = b[j * step], ai[last * step] = bi[j * step];
        }
    }
}
