/* The limit of the machine: fused multiply-adds a second for each width and type, on every core at once, and the
 * clock. cc -O3 -march=native -fopenmp -shared -fPIC */
#include <stdint.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Twelve independent chains hide the latency (4-5 cycles, 2 a cycle) and fit into 16 registers. They are variables of a
 * function of their own, and the empty assembly keeps each of them in a register. */
#define CHAINS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define START(k) V a##k = (V){0} + k;
#define STEP(k) a##k = a##k * b + c;
#define KEEP(k) __asm__ volatile("" : "+x"(a##k));
#define RATE(NAME, REAL, BYTES)                                                                                        \
    static __attribute__((noinline)) double NAME##_once(void) {                                                        \
        typedef REAL V __attribute__((vector_size(BYTES)));                                                            \
        V b = (V){0} + (REAL)0.999, c = (V){0} + (REAL)1e-3;                                                           \
        CHAINS(START)                                                                                                  \
        double began = now();                                                                                          \
        for (int n = 0; n < 100000; n++) {                                                                             \
            CHAINS(STEP) CHAINS(KEEP)                                                                                  \
        }                                                                                                              \
        return now() - began;                                                                                          \
    }                                                                                                                  \
    static double NAME(double seconds) {                                                                               \
        double total = 0;                                                                                              \
        _Pragma("omp parallel reduction(+ : total)") {                                                                 \
            double busy = 0;                                                                                           \
            long runs = 0;                                                                                             \
            for (; busy < seconds; runs++) busy += NAME##_once();                                                      \
            total += 12e5 * (double)runs / busy;                                                                       \
        }                                                                                                              \
        return total;                                                                                                  \
    }
RATE(f32_32, float, 32)
RATE(f64_32, double, 32)
#ifdef __AVX512F__
RATE(f32_64, float, 64)
RATE(f64_64, double, 64)
#endif

/* A product has a latency of three cycles; additions may be folded at renaming. */
double clock_rate(void) {
    double best = 1e9;
    for (int k = 0; k < 10; k++) {
        double began = now();
        uint64_t x = 0;
        for (int n = 0; n < 100000; n++) __asm__ volatile("imul %0, %0\n\timul %0, %0" : "+r"(x));
        double t = now() - began;
        best = t < best ? t : best;
    }
    return 6e5 / best;
}

/* Fused multiply-adds a second on all cores together, in vectors of bytes (32, 64); 0 where the machine has none. */
double fma_rate(int bytes, int is_double, double seconds) {
    if (bytes == 32) return is_double ? f64_32(seconds) : f32_32(seconds);
#ifdef __AVX512F__
    return is_double ? f64_64(seconds) : f32_64(seconds);
#else
    return 0;
#endif
}
