/* test_prelude.c: the vector functions of the CPU prelude, for every instruction set that this machine has,
 * in float and in double: accuracy over sweeps of bit patterns against the C library in higher precision,
 * special values bit for bit, the same bits from every compiler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "prelude_unit.h"

enum { N = PRELUDE_BLOCK };
typedef long double (*unary)(long double);
typedef long double (*binary)(long double, long double);

/* ---- references and bounds ---- */
static long double sigmoidl(long double x) { return 1 / (1 + expl(-x)); }
static long double softplusl(long double x) { return x > 40 ? x + expl(-x) : log1pl(expl(x)); }
static long double sqrtkl(long double x) { return sqrtl(x); }
static long double rsqrtkl(long double x) { return x == 0 ? 0 : 1 / sqrtl(x); }
static long double invkl(long double x) { return 1 / x; }
static long double expkl(long double x) { return exp2l(x); }

typedef struct accuracy {
    const char *name;
    enum prelude_function f;
    unary one;
    binary two;
    double ulp, ulp_without_fma;
} accuracy;

#define ONE(name, with, without) {#name, PRELUDE_##name, name##l, NULL, with, without}
#define TWO(name, with, without) {#name, PRELUDE_##name, NULL, name##l, with, without}
static const accuracy bounds[] = {
    ONE(expk, 2, 2),         ONE(exp, 1, 1),
    ONE(exp2, 1, 1.2),       ONE(expm1, 2, 2),
    ONE(log, 1, 1),          ONE(log2, 1, 1),
    ONE(log10, 1, 1),        ONE(log1p, 1, 1),
    ONE(sin, 1, 1),          ONE(cos, 1, 1),
    ONE(tan, 2.5, 2.5),      ONE(asin, 3, 3),
    ONE(acos, 2, 2),         ONE(atan, 2, 2),
    ONE(sinh, 2, 2),         ONE(cosh, 2, 2),
    ONE(tanh, 2, 2),         ONE(erf, 1.5, 1.5),
    ONE(erfc, 4, 4),         ONE(sigmoid, 2.5, 2.5),
    ONE(softplus, 2.5, 2.5), ONE(sqrt, 0.5001, 0.5001),
    ONE(floor, 0, 0),        ONE(ceil, 0, 0),
    ONE(trunc, 0, 0),        ONE(rint, 0, 0),
    ONE(sqrtk, 1.2, 0.5001), ONE(rsqrtk, 1.5, 1.5),
    ONE(asinh, 3, 3),        ONE(acosh, 3, 3),
    ONE(atanh, 3, 3),        ONE(invk, 1, 0.5001),
    TWO(atan2, 2.5, 2.5),    TWO(pow, 1.5, 1.5),
    TWO(hypot, 1.2, 1.2),
};
enum { BOUNDS = sizeof bounds / sizeof *bounds };

/* ---- the units of this machine ---- */
typedef struct machine {
    int level, is_double;
    const prelude_unit *unit;
} machine;

static int machines(machine *list) {
    static const prelude_unit *const units[3][2] = {
        {&prelude_unit_0_0, &prelude_unit_0_1},
#if BBI_HAVE_ISA >= 1
        {&prelude_unit_1_0, &prelude_unit_1_1},
#endif
#if BBI_HAVE_ISA >= 2
        {&prelude_unit_2_0, &prelude_unit_2_1},
#endif
    };
    int count = 0;
    for (int level = 0; level <= bbi_cpu_level() && level <= BBI_HAVE_ISA; level++) {
        for (int is_double = 0; is_double < 2; is_double++) {
            list[count++] = (machine){level, is_double, units[level][is_double]};
        }
    }
    return count;
}

/* Elements of either type. */
typedef union block {
    float f[N];
    double d[N];
} block;

static long double get(const block *b, int is_double, int i) { return is_double ? b->d[i] : b->f[i]; }
static void set(block *b, int is_double, int i, long double x) {
    if (is_double) {
        b->d[i] = (double)x;
    } else {
        b->f[i] = (float)x;
    }
}

/* ---- arguments: a pseudo-random sequence of bits, without the C library's functions ---- */
static uint64_t state;

static uint64_t random_bits(void) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Any pattern of bits at all, or a number of magnitude 2^-low .. 2^high. */
static void set_random(block *b, int is_double, int i, int any, int low, int high) {
    uint64_t bits = random_bits();
    if (any) {
        if (is_double) {
            memcpy(&b->d[i], &bits, sizeof(double));
        } else {
            uint32_t half = (uint32_t)bits;
            memcpy(&b->f[i], &half, sizeof(float));
        }
        return;
    }
    double scale = 1, m = 1 + (double)(bits >> 12) * 0x1p-52;
    for (int e = (int)(random_bits() % (uint64_t)(low + high)) - low; e != 0; e += e < 0 ? 1 : -1) {
        scale *= e < 0 ? 0.5 : 2;
    }
    set(b, is_double, i, (bits & 1 ? -m : m) * scale);
}

/* Round r of a sweep: one third over all patterns, the rest where the functions are not constant. */
static void fill(block *x, block *y, int is_double, int r) {
    static const int range[4][2] = {{40, 8}, {2, 2}, {6, 4}, {4, 10}};
    for (int i = 0; i < N; i++) {
        set_random(x, is_double, i, r % 3 == 0, range[r % 4][0], range[r % 4][1]);
        set_random(y, is_double, i, r % 6 == 0, range[r % 4][0], range[r % 4][1]);
        if (r % 5 == 0) { /* whole exponents, and bases close to 1 with large exponents */
            set(y, is_double, i, rintl(get(y, is_double, i)));
        } else if (r % 7 == 0) {
            set(x, is_double, i, 1 + get(x, is_double, i) / 65536);
            set(y, is_double, i, get(y, is_double, i) * 1024);
        }
    }
}

/* ---- errors ---- */
/* |y - r| in units in the last place of r, in the format; 1e9 for a wrong NaN or infinity. */
static double ulps(long double y, long double r, int is_double) {
    long double largest = is_double ? DBL_MAX : FLT_MAX;
    int digits = is_double ? 53 : 24, lowest = is_double ? -1074 : -149, e;
    if (isnan(r) || isnan(y)) {
        return isnan(r) && isnan(y) ? 0 : 1e9;
    }
    if (isinf(y) || isinf(r)) {
        return fabsl(r) > largest && fabsl(y) > largest && (y > 0) == (r > 0) ? 0 : 1e9;
    }
    (void)frexpl(r, &e);
    int unit = r == 0 || e - digits < lowest ? lowest : e - digits;
    return (double)(fabsl(y - r) / ldexpl(1, unit));
}

/* v_expk may flush what is below the normal numbers, and a binade more. */
static int flushed(const accuracy *b, long double x, long double y, int is_double) {
    return b->f == PRELUDE_expk && x < (is_double ? -1021.5L : -125.L) && y == 0;
}

static void sweep(const accuracy *b, int is_double, const machine *list, int count, int rounds) {
    double worst[6] = {0};
    long double at[6][2] = {{0}};
    state = 42;
    for (int r = 0; r < rounds; r++) {
        block x, y, z;
        long double reference[N];
        fill(&x, &y, is_double, r);
        for (int i = 0; i < N; i++) {
            long double p = get(&x, is_double, i), q = get(&y, is_double, i);
            reference[i] = b->one ? b->one(p) : b->two(p, q);
        }
        for (int m = 0; m < count; m++) {
            if (list[m].is_double != is_double) {
                continue;
            }
            list[m].unit->call(b->f, &x, &y, &z);
            for (int i = 0; i < N; i++) {
                long double p = get(&x, is_double, i), result = get(&z, is_double, i);
                double error = flushed(b, p, result, is_double) ? 0 : ulps(result, reference[i], is_double);
                if (error > worst[m]) {
                    worst[m] = error;
                    at[m][0] = p;
                    at[m][1] = get(&y, is_double, i);
                }
            }
        }
    }
    for (int m = 0; m < count; m++) {
        double bound = list[m].unit->has_fma ? b->ulp : b->ulp_without_fma;
        if (worst[m] > bound) {
            fail_msg("%s, %s, level %d: %.3f ulp at (%La, %La), stated: %g", b->name, is_double ? "double" : "float",
                     list[m].level, worst[m], at[m][0], at[m][1], bound);
        }
    }
}

static void functions_keep_the_stated_bounds(void **unused) {
    machine list[6];
    int count = machines(list);
    for (int n = 0; n < BOUNDS; n++) {
        sweep(&bounds[n], 0, list, count, 4000);
        sweep(&bounds[n], 1, list, count, 1500);
    }
}

/* ---- special values ---- */
typedef struct special {
    enum prelude_function f;
    double x, y, z;
} special;

static const double inf = INFINITY, nan_ = NAN;
#define S(f, x, z) {PRELUDE_##f, x, 0, z}
#define D(f, x, y, z) {PRELUDE_##f, x, y, z}

static int same(long double a, long double b) { return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b)); }

static void check_special(const special *rows, int count) {
    machine list[6];
    int machine_count = machines(list);
    for (int m = 0; m < machine_count; m++) {
        for (int n = 0; n < count; n++) {
            int is_double = list[m].is_double;
            block x, y, z, expected;
            for (int i = 0; i < N; i++) {
                set(&x, is_double, i, rows[n].x);
                set(&y, is_double, i, rows[n].y);
                set(&expected, is_double, i, rows[n].z);
            }
            list[m].unit->call(rows[n].f, &x, &y, &z);
            for (int i = 0; i < N; i++) {
                if (!same(get(&z, is_double, i), get(&expected, is_double, i))) {
                    fail_msg("row %d, level %d, double %d, lane %d: f%d(%g, %g) = %Lg, expected %g", n, list[m].level,
                             is_double, i, (int)rows[n].f, rows[n].x, rows[n].y, get(&z, is_double, i), rows[n].z);
                }
            }
        }
    }
}
#define CHECK(...)                                                                                                     \
    do {                                                                                                               \
        const special rows[] = {__VA_ARGS__};                                                                          \
        check_special(rows, (int)(sizeof rows / sizeof *rows));                                                        \
    } while (0)

static void exponentials_and_logarithms_have_their_limits(void **unused) {
    CHECK(S(expk, 0, 1), S(expk, -0.0, 1), S(expk, inf, inf), S(expk, -inf, 0), S(expk, nan_, nan_), S(expk, 10, 1024),
          S(expk, -100, 0x1p-100), S(expk, 127, 0x1p127), S(expk, 1e30, inf), S(expk, -1e30, 0), S(expk, 1025, inf),
          S(expk, -1100, 0));
    CHECK(S(exp, 0, 1), S(exp, -0.0, 1), S(exp, inf, inf), S(exp, -inf, 0), S(exp, nan_, nan_), S(exp, 1e30, inf),
          S(exp, -1e30, 0), S(exp, 711, inf), S(exp2, 0, 1), S(exp2, -20, 0x1p-20), S(exp2, 100, 0x1p100),
          S(exp2, inf, inf), S(exp2, -inf, 0), S(exp2, nan_, nan_), S(exp2, -140, 0x1p-140), S(exp2, 1024, inf));
    CHECK(S(expm1, 0, 0), S(expm1, -0.0, -0.0), S(expm1, inf, inf), S(expm1, -inf, -1), S(expm1, nan_, nan_),
          S(expm1, 1e-40, 1e-40), S(expm1, -1e5, -1));
    CHECK(S(log, 1, 0), S(log, 0, -inf), S(log, -0.0, -inf), S(log, -1, nan_), S(log, -inf, nan_), S(log, inf, inf),
          S(log, nan_, nan_), S(log2, 1024, 10), S(log2, 0x1p-140, -140), S(log2, 0, -inf), S(log2, inf, inf),
          S(log2, -2, nan_), S(log10, 1, 0), S(log10, 1000, 3), S(log10, 0, -inf), S(log10, inf, inf),
          S(log10, -1, nan_));
    CHECK(S(log1p, 0, 0), S(log1p, -0.0, -0.0), S(log1p, -1, -inf), S(log1p, -2, nan_), S(log1p, inf, inf),
          S(log1p, nan_, nan_), S(log1p, 1e-40, 1e-40), S(sqrt, -0.0, -0.0), S(sqrt, -1, nan_), S(sqrt, inf, inf),
          S(sqrt, 9, 3), S(sigmoid, inf, 1), S(sigmoid, -inf, 0), S(sigmoid, 0, 0.5), S(sigmoid, nan_, nan_),
          S(softplus, inf, inf), S(softplus, -inf, 0), S(softplus, nan_, nan_), S(softplus, 1e4, 1e4));
}

static void roots_and_inverses_have_their_limits(void **unused) {
    CHECK(S(sqrtk, 0, 0), S(sqrtk, -0.0, -0.0), S(sqrtk, inf, inf), S(sqrtk, -inf, nan_), S(sqrtk, -1, nan_),
          S(sqrtk, nan_, nan_), S(sqrtk, 4, 2), S(sqrtk, 1, 1), S(sqrtk, 0x1p100, 0x1p50), S(sqrtk, 0x1p-120, 0x1p-60));
    CHECK(S(rsqrtk, 0, 0), S(rsqrtk, -0.0, 0), S(rsqrtk, inf, 0), S(rsqrtk, -inf, nan_), S(rsqrtk, -1, nan_),
          S(rsqrtk, nan_, nan_), S(rsqrtk, 4, 0.5), S(rsqrtk, 1, 1), S(rsqrtk, 0x1p100, 0x1p-50));
    CHECK(S(invk, 0, inf), S(invk, -0.0, -inf), S(invk, inf, 0), S(invk, -inf, -0.0), S(invk, nan_, nan_),
          S(invk, 1, 1), S(invk, -4, -0.25), S(invk, 0x1p-100, 0x1p100), S(invk, -0x1p100, -0x1p-100));
}

static void trigonometric_functions_have_their_limits(void **unused) {
    const double pi = 3.14159265358979323846;
    CHECK(S(sin, 0, 0), S(sin, -0.0, -0.0), S(sin, inf, nan_), S(sin, -inf, nan_), S(sin, nan_, nan_), S(cos, 0, 1),
          S(cos, -inf, nan_), S(cos, nan_, nan_), S(tan, -0.0, -0.0), S(tan, inf, nan_), S(sin, 1e-40, 1e-40));
    CHECK(S(asin, -0.0, -0.0), S(asin, 1.5, nan_), S(asin, nan_, nan_), S(asin, 1, pi / 2), S(acos, 1, 0),
          S(acos, -1.5, nan_), S(acos, nan_, nan_), S(acos, -1, pi), S(atan, -0.0, -0.0), S(atan, inf, pi / 2),
          S(atan, -inf, -pi / 2), S(atan, nan_, nan_), S(atan, 1, pi / 4));
    CHECK(D(atan2, 0, 1, 0), D(atan2, -0.0, 1, -0.0), D(atan2, 0, -1, pi), D(atan2, -0.0, -1, -pi), D(atan2, 0, 0, 0),
          D(atan2, 0, -0.0, pi), D(atan2, -0.0, -0.0, -pi), D(atan2, -0.0, 0, -0.0), D(atan2, 1, 0, pi / 2),
          D(atan2, -1, -0.0, -pi / 2), D(atan2, inf, inf, pi / 4), D(atan2, -inf, inf, -pi / 4),
          D(atan2, inf, 3, pi / 2), D(atan2, 3, inf, 0), D(atan2, -3, inf, -0.0), D(atan2, 3, -inf, pi),
          D(atan2, nan_, 1, nan_), D(atan2, 1, nan_, nan_), D(atan2, 3e38, 3e38, pi / 4));
    CHECK(S(sinh, -0.0, -0.0), S(sinh, inf, inf), S(sinh, -inf, -inf), S(sinh, nan_, nan_), S(cosh, 0, 1),
          S(cosh, -inf, inf), S(cosh, nan_, nan_), S(tanh, -0.0, -0.0), S(tanh, inf, 1), S(tanh, -inf, -1),
          S(tanh, nan_, nan_), S(erf, -0.0, -0.0), S(erf, inf, 1), S(erf, -inf, -1), S(erf, nan_, nan_),
          S(erfc, inf, 0), S(erfc, -inf, 2), S(erfc, nan_, nan_), S(erfc, 0, 1));
    CHECK(S(asinh, -0.0, -0.0), S(asinh, inf, inf), S(asinh, -inf, -inf), S(asinh, nan_, nan_),
          S(asinh, 1e-40, 1e-40), S(acosh, 1, 0), S(acosh, 0.5, nan_), S(acosh, 0, nan_), S(acosh, -1, nan_),
          S(acosh, -3, nan_), S(acosh, -1e30, nan_), S(acosh, -inf, nan_), S(acosh, inf, inf), S(acosh, nan_, nan_),
          S(atanh, -0.0, -0.0), S(atanh, 1, inf), S(atanh, -1, -inf), S(atanh, 1.5, nan_), S(atanh, -3, nan_),
          S(atanh, inf, nan_), S(atanh, nan_, nan_));
}

static void powers_follow_c99(void **unused) {
    CHECK(D(pow, nan_, 0, 1), D(pow, 1, nan_, 1), D(pow, nan_, 1, nan_), D(pow, 2, nan_, nan_), D(pow, 0, 3, 0),
          D(pow, -0.0, 3, -0.0), D(pow, -0.0, 2, 0), D(pow, -0.0, -3, -inf), D(pow, -0.0, -2, inf), D(pow, 0, -3, inf),
          D(pow, 0, 0.5, 0), D(pow, -0.0, 0.5, 0), D(pow, -1, inf, 1), D(pow, -1, -inf, 1), D(pow, 0.5, inf, 0),
          D(pow, 0.5, -inf, inf), D(pow, -2, inf, inf), D(pow, -2, -inf, 0), D(pow, inf, 2, inf), D(pow, inf, -2, 0),
          D(pow, -inf, 3, -inf), D(pow, -inf, 2, inf), D(pow, -inf, -3, -0.0), D(pow, -inf, 0.5, inf),
          D(pow, -8, 1.0 / 3, nan_), D(pow, -2, 3, -8), D(pow, -2, -1, -0.5), D(pow, 10, 2, 100), D(pow, 3, 4, 81),
          D(pow, 0, inf, 0), D(pow, 0, -inf, inf), D(pow, -2, 1e20, inf), D(pow, 1.5, 1e30, inf), D(pow, 1.5, -1e30, 0),
          D(pow, 2, -140, 0x1p-140), D(pow, -1, 1e30, 1));
    CHECK(D(hypot, 3, 4, 5), D(hypot, inf, nan_, inf), D(hypot, nan_, -inf, inf), D(hypot, nan_, 1, nan_),
          D(hypot, 1, nan_, nan_), D(hypot, 0, -0.0, 0), D(hypot, 0x3p124, 0x4p124, 0x5p124), D(mod, 7, 3, 1),
          D(mod, -7, 3, 2), D(mod, 7, -3, -2), D(mod, 5.5, 2, 1.5), D(mod, nan_, 2, nan_), D(mod, 1, 0, nan_));
}

static void vocabulary_is_exact(void **unused) {
    CHECK(S(floor, -0.5, -1), S(floor, -0.0, -0.0), S(floor, 0.5, 0), S(floor, -inf, -inf), S(floor, nan_, nan_),
          S(ceil, -0.5, -0.0), S(ceil, 0.5, 1), S(ceil, inf, inf), S(trunc, -1.5, -1), S(trunc, -0.5, -0.0),
          S(trunc, nan_, nan_), S(rint, 0.5, 0), S(rint, 1.5, 2), S(rint, -2.5, -2), S(rint, -0.25, -0.0),
          S(rint, 8388609, 8388609), S(abs, -0.0, 0), S(abs, -inf, inf), S(signbit, -3, -0.0), S(signbit, 3, 0));
    CHECK(D(min, 1, 2, 1), D(min, nan_, 2, 2), D(min, 2, nan_, 2), D(min, nan_, nan_, nan_), D(max, 1, 2, 2),
          D(max, nan_, 2, 2), D(max, 2, nan_, 2), D(min, 0, -0.0, -0.0), D(min, -0.0, 0, 0), D(max, -inf, 5, 5),
          D(minx, nan_, 2, 2), D(minx, 2, nan_, nan_), D(maxx, nan_, 2, 2), D(maxx, 2, nan_, nan_), D(minx, 1, 2, 1),
          D(maxx, 1, 2, 2), D(maxx, 0, -0.0, -0.0), D(copysign, 3, -0.0, -3), D(copysign, -3, 1, 3),
          D(xor, 3, -0.0, -3));
    CHECK(D(lt, 1, 2, 1), D(lt, 2, 2, 0), D(lt, nan_, 1, 0), D(le, 2, 2, 1), D(le, 3, 2, 0), D(le, 1, nan_, 0),
          D(gt, 2, 1, 1), D(gt, 2, 2, 0), D(gt, nan_, 1, 0), D(ge, 2, 2, 1), D(ge, 1, 2, 0), D(ge, nan_, nan_, 0),
          D(eq, 0, -0.0, 1), D(eq, nan_, nan_, 0), D(ne, nan_, nan_, 1), D(ne, 1, 1, 0), D(ne, 1, 2, 1));
    CHECK(D(and_or_not, 2, 1, 1), D(and_or_not, -1, -2, 0), D(and_or_not, -2, -1, 1), D(and_or_not, 1, -2, 0),
          D(and_or_not, nan_, 1, 1), D(select, nan_, 7, 7), D(select, 1, 7, 1), D(any, 1, 2, 0), D(any, 2, 1, 1),
          D(all, 1, 2, 0), D(all, 2, 1, 1), D(integer, -5, 3, -8), D(integer, 1000, 234, 4936), D(fma, 3, 4, 11));
}

static void any_and_all_see_every_lane(void **unused) {
    machine list[6];
    int count = machines(list);
    for (int m = 0; m < count; m++) {
        int is_double = list[m].is_double, lanes = list[m].unit->lanes;
        for (int odd = 0; odd < N; odd++) {
            block x, y, some, every;
            for (int i = 0; i < N; i++) {
                set(&x, is_double, i, i == odd);
                set(&y, is_double, i, 0.5);
            }
            list[m].unit->call(PRELUDE_any, &x, &y, &some);
            list[m].unit->call(PRELUDE_all, &y, &x, &every);
            for (int i = 0; i < N; i++) {
                assert_int_equal(get(&some, is_double, i) == 1, i / lanes == odd / lanes);
                assert_int_equal(get(&every, is_double, i) == 1, i / lanes != odd / lanes);
            }
        }
    }
}

/* A fused product keeps what a rounded one loses: (1 + u)(1 - u) - 1 = -u^2. */
static void fma_rounds_once_where_it_says_so(void **unused) {
    machine list[6];
    int count = machines(list);
    for (int m = 0; m < count; m++) {
        int is_double = list[m].is_double;
        double u = is_double ? 0x1p-40 : 0x1p-20;
        block x, y, z;
        for (int i = 0; i < N; i++) {
            set(&x, is_double, i, 1 + u);
            set(&y, is_double, i, 1 - u);
        }
        list[m].unit->call(PRELUDE_fma, &x, &y, &z);
        assert_true(get(&z, is_double, N - 1) == (list[m].unit->has_fma ? -u * u : 0));
        assert_true(list[m].level == 0 || list[m].unit->has_fma);
    }
}

/* 2^(a b): two units in the last place, and one rounding of the product. */
static void the_product_of_an_exponential_is_rounded_once(void **unused) {
    machine list[6];
    int count = machines(list);
    for (int m = 0; m < count; m++) {
        int is_double = list[m].is_double;
        state = 3;
        for (int r = 0; r < 3000; r++) {
            block x, y, z;
            fill(&x, &y, is_double, r);
            list[m].unit->call(PRELUDE_expk_product, &x, &y, &z);
            for (int i = 0; i < N; i++) {
                long double t = get(&x, is_double, i) * get(&y, is_double, i), result = get(&z, is_double, i);
                if (flushed(&bounds[0], t, result, is_double)) continue;
                double error = ulps(result, exp2l(t), is_double), bound = 2 + 0.7 * (double)fabsl(t);
                if (isinf(result) && t > (is_double ? 1023.9999L : 127.9999L)) continue;
                if (error > bound) {
                    fail_msg("level %d, double %d: 2^(%La %La) = %La, %.2f ulp", list[m].level, is_double,
                             get(&x, is_double, i), get(&y, is_double, i), result, error);
                }
            }
        }
    }
}

/* A NaN with a payload, such as the missing value of a statistics package, is still a NaN after the
 * exponential. */
static void expk_keeps_every_nan(void **unused) {
    machine list[6];
    int count = machines(list);
    for (int m = 0; m < count; m++) {
        for (uint32_t payload = 1; payload < 4096; payload += 31) {
            block x, z;
            for (int i = 0; i < N; i++) {
                uint64_t wide = 0x7ff8000000000000u | payload;
                uint32_t narrow = 0x7fc00000u | payload;
                if (list[m].is_double) {
                    memcpy(&x.d[i], &wide, sizeof wide);
                } else {
                    memcpy(&x.f[i], &narrow, sizeof narrow);
                }
            }
            list[m].unit->call(PRELUDE_expk, &x, &x, &z);
            for (int i = 0; i < N; i++) {
                assert_true(isnan(get(&z, list[m].is_double, i)));
            }
        }
    }
}

/* ---- the same bits from every compiler and optimisation level ---- */
/* Whether element i is a NaN, whose bits are nobody's promise: the test's own arithmetic makes operands of them, so an
 * exclusive or with one says nothing either. */
static int is_any_nan(const machine *m, int f, const block *x, const block *y, const block *z, int i) {
    if (f == PRELUDE_xor && (isnan(get(x, m->is_double, i)) || isnan(get(y, m->is_double, i)))) return 1;
    return isnan(get(z, m->is_double, i));
}

static uint64_t digest(const machine *m) {
    uint64_t hash = 0;
    state = 7;
    for (int f = 0; f < PRELUDE_COUNT; f++) {
        for (int r = 0; r < 60; r++) {
            block x, y, z;
            fill(&x, &y, m->is_double, r);
            m->unit->call((enum prelude_function)f, &x, &y, &z);
            for (int i = 0; i < N; i++) {
                uint64_t bits = 0;
                if (m->is_double) {
                    memcpy(&bits, &z.d[i], sizeof z.d[i]);
                } else {
                    memcpy(&bits, &z.f[i], sizeof z.f[i]);
                }
                hash = (hash ^ (is_any_nan(m, f, &x, &y, &z, i) ? 1 : bits)) * 0x100000001b3u;
                hash ^= hash >> 29;
            }
        }
    }
    return hash;
}

/* The values change when a function changes: then gcc and clang, at -O0 and at -O3, must agree on new ones. */
static void bits_are_those_of_every_compiler(void **unused) {
#ifdef __x86_64__
    static const uint64_t expected[3][2] = {
        {0x83834a6478686d7a, 0xcb14d83d7dd21b07},
        {0x9446fb47bb8211da, 0x1efbe88de9fb7972},
        {0x490cccc58185ea33, 0xdf00cea358b59db7},
    };
    machine list[6];
    int count = machines(list), wrong = 0;
    for (int m = 0; m < count; m++) {
        uint64_t found = digest(&list[m]);
        if (found != expected[list[m].level][list[m].is_double]) {
            print_error("level %d, double %d: 0x%016llx\n", list[m].level, list[m].is_double,
                        (unsigned long long)found);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_keep_the_stated_bounds),
        cmocka_unit_test(exponentials_and_logarithms_have_their_limits),
        cmocka_unit_test(roots_and_inverses_have_their_limits),
        cmocka_unit_test(trigonometric_functions_have_their_limits),
        cmocka_unit_test(powers_follow_c99),
        cmocka_unit_test(vocabulary_is_exact),
        cmocka_unit_test(any_and_all_see_every_lane),
        cmocka_unit_test(fma_rounds_once_where_it_says_so),
        cmocka_unit_test(the_product_of_an_exponential_is_rounded_once),
        cmocka_unit_test(expk_keeps_every_nan),
        cmocka_unit_test(bits_are_those_of_every_compiler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
