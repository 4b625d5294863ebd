/* prelude_unit.h: what test_prelude.c sees of the prelude: for each instruction set and type a unit that
 * applies every function to arrays. prelude_isa.c is compiled once for each. */
#ifndef PRELUDE_UNIT_H
#define PRELUDE_UNIT_H

#include <stdint.h>

enum { PRELUDE_BLOCK = 64 }; /* elements of a call: a multiple of every vector's lanes */

/* X(name): functions of one argument, of two, and those whose value is made here. The masks of
 * prelude_isa.c answer 1 or 0 in each lane. */
#define PRELUDE_UNARY(X)                                                                                               \
    X(exp)                                                                                                             \
    X(exp2)                                                                                                            \
    X(expm1)                                                                                                           \
    X(log) X(log2) X(log10) X(log1p) X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(erf)       \
        X(erfc) X(sigmoid) X(softplus) X(sqrt) X(floor) X(ceil) X(trunc) X(rint) X(sqrtk) X(rsqrtk) X(invk) X(abs)     \
            X(signbit) X(asinh) X(acosh) X(atanh)
#define PRELUDE_BINARY(X) X(atan2) X(pow) X(hypot) X(mod) X(min) X(max) X(minx) X(maxx) X(copysign) X(xor)
#define PRELUDE_MASKS(X)                                                                                               \
    X(lt) X(le) X(gt) X(ge) X(eq) X(ne) X(and_or_not) X(any) X(all) X(select) X(integer) X(fma) X(expk) X(expk_product)

#define PRELUDE_NAME(name) PRELUDE_##name,
enum prelude_function {
    PRELUDE_UNARY(PRELUDE_NAME) PRELUDE_BINARY(PRELUDE_NAME) PRELUDE_MASKS(PRELUDE_NAME) PRELUDE_COUNT
};

typedef struct prelude_unit {
    int lanes, has_fma;
    /* z[i] = f(x[i], y[i]) for PRELUDE_BLOCK elements of the unit's type */
    void (*call)(enum prelude_function f, const void *x, const void *y, void *z);
} prelude_unit;

extern const prelude_unit prelude_unit_0_0, prelude_unit_0_1, prelude_unit_1_0, prelude_unit_1_1, prelude_unit_2_0,
    prelude_unit_2_1;

#endif
