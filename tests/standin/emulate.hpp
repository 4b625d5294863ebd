// emulate.hpp: kernels in CUDA C++ on the host, for the stand-ins of the driver and of NVRTC. A text that follows is compiled
// by the system's C++ compiler; a block's threads are fibers that change at barriers, blocks run one after the other.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>
using namespace std;

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static double2 make_double2(double x, double y) { return {x, y}; }
static struct { unsigned x; } threadIdx, blockIdx;
alignas(64) static float4 bb_shared[16384];

enum { MOST_THREADS = 128, STACK = 1 << 16 };
static ucontext_t fiber[MOST_THREADS], scheduler;
static char stack[MOST_THREADS][STACK];
static bool ended[MOST_THREADS];
static void (*body)(void **);
static void **body_arguments;

static void __syncthreads() { unsigned me = threadIdx.x; swapcontext(&fiber[me], &scheduler); threadIdx.x = me; }

static void enter() { body(body_arguments); ended[threadIdx.x] = true; }

static void run(unsigned blocks, unsigned threads, void (*f)(void **), void **arguments) {
    body = f, body_arguments = arguments;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        for (unsigned t = 0; t < threads; t++) {
            getcontext(&fiber[t]);
            fiber[t].uc_stack.ss_sp = stack[t];
            fiber[t].uc_stack.ss_size = STACK;
            fiber[t].uc_link = &scheduler;
            ended[t] = false;
            makecontext(&fiber[t], enter, 0);
        }
        for (bool left = true; left;) {
            left = false;
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) {
                unsigned t = threadIdx.x;
                if (!ended[t]) swapcontext(&scheduler, &fiber[t]);
                threadIdx.x = t;
                left = left || !ended[t];
            }
        }
    }
}

template <class... P, size_t... K> static void call(void (*f)(P...), void **a, index_sequence<K...>) {
    f(*(remove_cv_t<P> *)a[K]...);
}
template <class... P> static void call(void (*f)(P...), void **a) { call(f, a, index_sequence_for<P...>()); }
#define EMULATE(name)                                                                             \
    static void body_##name(void **a) { call(name, a); }                                          \
    extern "C" void emulate_##name(unsigned blocks, unsigned threads, void **a) { run(blocks, threads, body_##name, a); }

template <class T, class F> static T bits_of(F x) { T y; static_assert(sizeof x == sizeof y); memcpy(&y, &x, sizeof y); return y; }
static double __longlong_as_double(long long x) { return bits_of<double>(x); }
static long long __double_as_longlong(double x) { return bits_of<long long>(x); }
static float __int_as_float(int x) { return bits_of<float>(x); }
static float __uint_as_float(unsigned x) { return bits_of<float>(x); }
static unsigned __float_as_uint(float x) { return bits_of<unsigned>(x); }
static void atomicMax(unsigned *p, unsigned x) { if (x > *p) *p = x; }
template <class T> static T rsqrt(T x) { return 1 / sqrt(x); }
static float asm_ex2_approx_ftz_f32(float x) { float y = exp2(x); return y < 0x1p-126f ? 0 : y; }
static float asm_sqrt_approx_f32(float x) { return sqrt(x); }
static float asm_rsqrt_approx_f32(float x) { return 1 / sqrt(x); }
static float asm_rcp_approx_f32(float x) { return 1 / x; }
static float asm_cvt_f32_f16(unsigned short x) { return bits_of<_Float16>(x); }
static unsigned short asm_cvt_rn_f16_f32(float x) { return bits_of<unsigned short>((_Float16)x); }

#define __device__
#define __global__
#define __constant__
#define __noinline__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
