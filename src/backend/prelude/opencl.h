/* What OpenCL C 1.2 calls things: see gpu.h. */
#pragma OPENCL FP_CONTRACT OFF
typedef long I64;
#define BB_INLINE static inline
#define BB_RARE static
#define BB_KERNEL(threads) __kernel __attribute__((reqd_work_group_size(threads, 1, 1)))
/* so many blocks are to fit into the registers of a multiprocessor */
#define BB_KERNEL_OF(threads, blocks) BB_KERNEL(threads)
#define BB_GLOBAL __global
#define BB_LOCAL __local
#define BB_RESTRICT restrict
#define BB_TILE_ARGUMENT , __local R *restrict tile
#define BB_TILE_DECLARATION
#define BB_LOCAL_ARRAY(type, name, count) __local type name[count]
#define BB_THREAD ((int)get_local_id(0))
#define BB_BLOCK ((I64)get_group_id(0))
#define BB_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
/* the largest of numbers >= 0, or NaN, in local memory; as float, rounded upwards a little */
#define BB_RAISE(most, x) atomic_max((volatile __local unsigned *)(most), as_uint((float)(x) * 1.000001f))
#define BB_TALLEST(most) K(as_float((most)[0]))
/* numbers that are passed in a buffer of their own */
#define BB_TABLE_TYPE(name, count)
#define BB_TABLE(name) __global const I64 *restrict name
#define BB_AT(name, k) name[k]
#define BB_BARRIER_GLOBAL() barrier(CLK_GLOBAL_MEM_FENCE)
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define BB_HAS_DOUBLE 1
#else
#define BB_HAS_DOUBLE 0
#endif
#define BB_UNROLL _Pragma("unroll")
#define BB_UNROLL_TWICE _Pragma("unroll 2")
#define BB_UNROLL_FOUR _Pragma("unroll 4")
#define BB_ROLLED _Pragma("unroll 1")
#define BB_INF ((R)INFINITY)
#define BB_NAN ((R)NAN)
/* four neighbours of local memory */
#define BB_LOAD4(to, at, from)                  \
    do {                                        \
        (to)[at] = (from)[0];                   \
        (to)[(at) + 1] = (from)[1];             \
        (to)[(at) + 2] = (from)[2];             \
        (to)[(at) + 3] = (from)[3];             \
    } while (0)
/* BB_WIDTH of them, loaded and stored; BB_WIDTH is 4, or 2 of double */
#define BB_LOADV(to, at, from) BB_EACH(w_, BB_WIDTH) (to)[(at) + w_] = (from)[w_]
#define BB_STOREV(to, from) BB_EACH(w_, BB_WIDTH) (to)[w_] = (from)[w_]

/* For pairs, two ulp: 2^(a b), which is 0 below the normal numbers. */
#if BB_DOUBLE
#define BB_UNDERFLOW (-1022.0)
#else
#define BB_UNDERFLOW (-126.0f)
#endif
#define v_expk(a, b) bb_expk((a) * (b))
#define v_sqrtk(a) sqrt(a)
#define v_rsqrtk(a) ((a) == K(0) ? K(0) : K(1) / sqrt(a))
#define v_invk(a) (K(1) / (a))
#define BB_EXPK static inline R bb_expk(R t) { return t < BB_UNDERFLOW ? (R)0 : exp2(t); }
#define bb_sin(a) sin(a)
#define bb_cos(a) cos(a)
#define bb_tan(a) tan(a)
/* numbers of two bytes */
#define bb_from_half(p) vload_half(0, (BB_GLOBAL const half *)(p))
#define bb_to_half(x, p) vstore_half_rte(x, 0, (BB_GLOBAL half *)(p))
#define bb_bits(x) as_uint(x)
#define bb_from_bits(x) as_float(x)
#define bb_from_wide_bits(x) as_double(x)
