/* What CUDA C++ (NVRTC) calls things: see gpu.h. */
typedef long long I64;
#define BB_INLINE static __device__ __forceinline__
#if defined(__HIP__) /* a call needs a stack there */
#define BB_RARE static __device__ __forceinline__
#else
#define BB_RARE static __device__ __noinline__ /* one text of all its calls */
#endif
#define BB_KERNEL_OF(threads, blocks) extern "C" __global__ __launch_bounds__(threads, blocks)
#define BB_KERNEL(threads) BB_KERNEL_OF(threads, 4)
#define BB_GLOBAL
#define BB_LOCAL
#define BB_RESTRICT __restrict__
#define BB_TILE_ARGUMENT
#define BB_TILE_DECLARATION extern __shared__ float4 bb_shared[]; R *const tile = (R *)bb_shared;
#define BB_LOCAL_ARRAY(type, name, count) __shared__ type name[count]
#define BB_THREAD ((int)threadIdx.x)
#define BB_BLOCK ((I64)blockIdx.x)
#define BB_BARRIER() __syncthreads()
/* the largest of numbers >= 0, or NaN, in local memory; as float, rounded upwards a little */
#define BB_RAISE(most, x) atomicMax(most, __float_as_uint((float)(x) * 1.000001f))
#define BB_TALLEST(most) K(__uint_as_float((most)[0]))
/* numbers that are passed by value */
#define BB_TABLE_TYPE(name, count) typedef struct { I64 v[count]; } name##_table;
#define BB_TABLE(name) const name##_table name
#define BB_AT(name, k) name.v[k]
#define BB_BARRIER_GLOBAL() __syncthreads()
#define BB_HAS_DOUBLE 1
#define BB_UNROLL _Pragma("unroll")
#define BB_UNROLL_TWICE _Pragma("unroll 2")
#define BB_UNROLL_FOUR _Pragma("unroll 4")
#define BB_ROLLED _Pragma("unroll 1")
#if BB_DOUBLE
#define BB_INF __longlong_as_double(0x7ff0000000000000ll)
#define BB_NAN __longlong_as_double(0x7ff8000000000000ll)
#define BB_LOAD4(to, at, from)                                          \
    do {                                                                \
        const double2 a_ = *(const double2 *)(from);                    \
        const double2 b_ = *(const double2 *)((from) + 2);              \
        (to)[at] = a_.x, (to)[(at) + 1] = a_.y;                         \
        (to)[(at) + 2] = b_.x, (to)[(at) + 3] = b_.y;                   \
    } while (0)
#define BB_LOADV(to, at, from)                                          \
    do {                                                                \
        const double2 a_ = *(const double2 *)(from);                    \
        (to)[at] = a_.x, (to)[(at) + 1] = a_.y;                         \
    } while (0)
#define BB_STOREV(to, from) (*(double2 *)(to) = make_double2((from)[0], (from)[1]))
#define v_expk(a, b) bb_expk((a) * (b))
#define v_sqrtk(a) sqrt(a)
#define v_rsqrtk(a) ((a) == K(0) ? K(0) : rsqrt(a))
#define v_invk(a) (K(1) / (a))
#define BB_EXPK BB_INLINE R bb_expk(R t) { return t < -1022.0 ? 0.0 : exp2(t); }
#else
#define BB_INF __int_as_float(0x7f800000)
#define BB_NAN __int_as_float(0x7fc00000)
#define BB_LOAD4(to, at, from)                                          \
    do {                                                                \
        const float4 a_ = *(const float4 *)(from);                      \
        (to)[at] = a_.x, (to)[(at) + 1] = a_.y;                         \
        (to)[(at) + 2] = a_.z, (to)[(at) + 3] = a_.w;                   \
    } while (0)
#define BB_LOADV BB_LOAD4
#define BB_STOREV(to, from) (*(float4 *)(to) = make_float4((from)[0], (from)[1], (from)[2], (from)[3]))
/* For pairs: the special-function unit, about two ulp; what is not a normal number is 0. */
#define v_expk(a, b) bb_expk((a) * (b))
#define v_sqrtk(a) bb_sqrtk(a)
#define v_rsqrtk(a) bb_rsqrtk(a)
#define v_invk(a) bb_invk(a)
#if defined(__HIP__) /* the same text for AMD's processors: compiled in the tests, never run */
#define BB_EXPK                                                         \
    BB_INLINE R bb_expk(R t) { return __builtin_amdgcn_exp2f(t); }      \
    BB_INLINE R bb_sqrtk(R a) { return __builtin_amdgcn_sqrtf(a); }     \
    BB_INLINE R bb_rsqrtk(R a) { return a == K(0) ? K(0) : __builtin_amdgcn_rsqf(a); } \
    BB_INLINE R bb_invk(R a) { return __builtin_amdgcn_rcpf(a); }
#else
#define BB_EXPK                                                         \
    BB_INLINE R bb_expk(R t)                                            \
    {                                                                   \
        R y;                                                            \
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(t));           \
        return y;                                                       \
    }                                                                   \
    BB_INLINE R bb_sqrtk(R a)                                           \
    {                                                                   \
        R y;                                                            \
        asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(a));              \
        return y;                                                       \
    }                                                                   \
    BB_INLINE R bb_rsqrtk(R a)                                          \
    {                                                                   \
        R y;                                                            \
        asm("rsqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(a));             \
        return a == K(0) ? K(0) : y;                                    \
    }                                                                   \
    BB_INLINE R bb_invk(R a)                                            \
    {                                                                   \
        R y;                                                            \
        asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(a));               \
        return y;                                                       \
    }
#endif
#endif
/* numbers of two bytes */
#if defined(__HIP__)
BB_INLINE float bb_from_half(const void *p) { return (float)*(const _Float16 *)p; }
BB_INLINE void bb_to_half(float x, void *p) { *(_Float16 *)p = (_Float16)x; }
#else
BB_INLINE float bb_from_half(const void *p)
{
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(*(const unsigned short *)p));
    return y;
}
BB_INLINE void bb_to_half(float x, void *p)
{
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    *(unsigned short *)p = y;
}
#endif
#define bb_bits(x) __float_as_uint(x)
#define bb_from_bits(x) __uint_as_float(x)
#define bb_from_wide_bits(x) __longlong_as_double(x)
