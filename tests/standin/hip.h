/* What HIP's headers give a kernel, for clang without ROCm: enough to compile the texts for AMD's processors. */
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __constant__ __attribute__((constant))
#define __shared__ __attribute__((shared))
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(threads, blocks) __attribute__((amdgpu_flat_work_group_size(1, threads)))
struct float4 { float x, y, z, w; } __attribute__((aligned(16)));
struct double2 { double x, y; } __attribute__((aligned(16)));
static __device__ inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static __device__ inline double2 make_double2(double x, double y) { return {x, y}; }
struct bb_x { __device__ operator unsigned() const { return __builtin_amdgcn_workitem_id_x(); } };
struct bb_thread { bb_x x; };
struct bb_y { __device__ operator unsigned() const { return __builtin_amdgcn_workgroup_id_x(); } };
struct bb_block { bb_y x; };
static __device__ bb_thread threadIdx;
static __device__ bb_block blockIdx;
static __device__ inline void __syncthreads()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
static __device__ inline unsigned atomicMax(unsigned *p, unsigned v) { return __atomic_fetch_max(p, v, __ATOMIC_RELAXED); }
static __device__ inline unsigned __float_as_uint(float a) { return __builtin_bit_cast(unsigned, a); }
static __device__ inline float __uint_as_float(unsigned a) { return __builtin_bit_cast(float, a); }
static __device__ inline float __int_as_float(int a) { return __builtin_bit_cast(float, a); }
static __device__ inline double __longlong_as_double(long long a) { return __builtin_bit_cast(double, a); }
static __device__ inline long long __double_as_longlong(double a) { return __builtin_bit_cast(long long, a); }
/* The device library, which ROCm links: declared, so that what is called, and how, is checked. */
#define BB_ONE(name)                                   \
    extern "C" __device__ float __ocml_##name##_f32(float);   \
    extern "C" __device__ double __ocml_##name##_f64(double); \
    static __device__ inline float name(float a) { return __ocml_##name##_f32(a); } \
    static __device__ inline double name(double a) { return __ocml_##name##_f64(a); }
#define BB_TWO(name)                                          \
    extern "C" __device__ float __ocml_##name##_f32(float, float);    \
    extern "C" __device__ double __ocml_##name##_f64(double, double); \
    static __device__ inline float name(float a, float b) { return __ocml_##name##_f32(a, b); } \
    static __device__ inline double name(double a, double b) { return __ocml_##name##_f64(a, b); }
#define BB_BUILTIN(name)                                                       \
    static __device__ inline float name(float a) { return __builtin_##name##f(a); } \
    static __device__ inline double name(double a) { return __builtin_##name(a); }
#define BB_BUILTIN2(name)                                                                     \
    static __device__ inline float name(float a, float b) { return __builtin_##name##f(a, b); } \
    static __device__ inline double name(double a, double b) { return __builtin_##name(a, b); }
BB_ONE(exp) BB_ONE(exp2) BB_ONE(expm1) BB_ONE(log) BB_ONE(log2) BB_ONE(log10) BB_ONE(log1p) BB_ONE(asin) BB_ONE(acos) BB_ONE(atan) BB_ONE(sinh) BB_ONE(cosh) BB_ONE(tanh) BB_ONE(erf) BB_ONE(erfc)
BB_ONE(rsqrt) BB_ONE(asinh) BB_ONE(acosh) BB_ONE(atanh) BB_TWO(atan2) BB_TWO(pow) BB_TWO(hypot)
BB_BUILTIN(fabs) BB_BUILTIN(sqrt) BB_BUILTIN(floor) BB_BUILTIN(ceil) BB_BUILTIN(trunc) BB_BUILTIN(rint)
BB_BUILTIN2(fmin) BB_BUILTIN2(fmax)
static __device__ inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static __device__ inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
