/* interp_isa.h: shared by the sources that are the interpreter's operations for one instruction set and one
 * real type: one function of vectors for each MAP row of op.def, so that interpreted and emitted code perform
 * the same operations. */
#ifndef BBI_INTERP_ISA_H
#define BBI_INTERP_ISA_H

#include "isa.h"
#include "prelude/cpu.h"
#include "prelude/math.h"
#include "prelude/math_trig.h"
#include "prelude/math_special.h"

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

BB_INLINE V at(const char *p) { return v_loadu((const R *)p); }
BB_INLINE V splat_at(const char *p) { return v_splat(*(const R *)p); }
BB_INLINE void put(char *p, V a) { v_storeu((R *)p, a); }

#define OP(id, alias, arity, nint, kind, flags, value, ...) DEFINE_##kind(id, value)
#define DEFINE_FOLD(...)
#define DEFINE_CONTRACT(...)
#define DEFINE_INDEX(...)
#define DEFINE_MACRO(...)
#define DEFINE_BUILD(...)
#define DEFINE_MAP(id, value)                                                                                          \
    BB_INLINE V f_##id(V a, V b, V c) {                                                                                \
        (void)a, (void)b, (void)c;                                                                                     \
        return value;                                                                                                  \
    }
#include "../expr/op.def"
#undef OP

/* What is added to acc: x, x y, or x (y - z). */
BB_INLINE V sum_term(int narg, V x, V y, V z, V acc) {
    return narg == 1 ? acc + x : v_fma(x, narg == 2 ? y : y - z, acc);
}

BB_INLINE V chain_term(V x, V y, bool square, bool add, V acc) {
    const V t = square ? x - y : x, u = square ? t : y;
    return add ? v_fma(t, u, acc) : t * u;
}

#endif
