/* prelude_isa.c: the functions of the prelude applied to arrays, for one instruction set and type. */
#include "prelude_unit.h"

#include "prelude/cpu.h"
#include "prelude/math.h"
#include "prelude/math_trig.h"
#include "prelude/math_special.h"

#define CAT_(a, b, c) a##b##_##c
#define CAT(a, b, c) CAT_(a, b, c)

static V function_lt(V a, V b) { return v_mask01(v_lt(a, b)); }
static V function_le(V a, V b) { return v_mask01(v_le(a, b)); }
static V function_gt(V a, V b) { return v_mask01(v_gt(a, b)); }
static V function_ge(V a, V b) { return v_mask01(v_ge(a, b)); }
static V function_eq(V a, V b) { return v_mask01(v_eq(a, b)); }
static V function_ne(V a, V b) { return v_mask01(v_ne(a, b)); }

/* a > 0 and b > 0, or not (a >= b) */
static V function_and_or_not(V a, V b) {
    return v_mask01(v_or(v_and(v_gt(a, K(0)), v_gt(b, K(0))), v_not(v_ge(a, b))));
}
static V function_any(V a, V b) { return v_any(v_gt(a, b)) ? K(1) : K(0); }
static V function_all(V a, V b) { return v_all(v_gt(a, b)) ? K(1) : K(0); }
static V function_select(V a, V b) { return v_sel(v_isnan(a), b, a); }

/* The integer of a as a lane, plus that of b, times 2^2. */
static V function_integer(V a, V b) { return v_from_int((VI)((VU)v_to_int(a) + (VU)v_to_int(b))) * v_pow2(K(2)); }
static V function_expk(V a, V b) { return (void)b, v_expk(a, K(1)); }
static V function_expk_product(V a, V b) { return v_expk(a, b); }
static V function_fma(V a, V b) { return v_fma(a, b, K(-1)); }

static void call(enum prelude_function f, const void *x, const void *y, void *z) {
    const R *p = x, *q = y;
    R *r = z;
    for (int i = 0; i < PRELUDE_BLOCK; i += BB_W) {
        V a = v_loadu(p + i), b = v_loadu(q + i), c = K(0);
        switch (f) {
#define UNARY(name)                                                                                                    \
    case PRELUDE_##name: c = v_##name(a); break;
#define MASK(name)                                                                                                     \
    case PRELUDE_##name: c = function_##name(a, b); break;
#define BINARY(name)                                                                                                   \
    case PRELUDE_##name: c = v_##name(a, b); break;
            PRELUDE_UNARY(UNARY)
            PRELUDE_BINARY(BINARY)
            PRELUDE_MASKS(MASK)
        case PRELUDE_COUNT: break;
        }
        v_storeu(r + i, c);
    }
}

const prelude_unit CAT(prelude_unit_, BB_ISA, BB_DOUBLE) = {.lanes = BB_W, .has_fma = BB_FMA, .call = call};
