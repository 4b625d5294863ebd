/* The storage types float16 (IEEE binary16) and bfloat16, to and from float.
 *
 * Integer arithmetic on the bits: gcc 12 has no bfloat16, and a conversion of the language may call a
 * function of the compiler's run-time library. Rounding is to nearest, ties to even; denormal numbers,
 * infinities, the sign of zero and NaN (made quiet, its upper payload kept) are converted as such. */
#ifndef BBI_HALF_H
#define BBI_HALF_H

#include <stdint.h>

static inline float bbi_float_of_bits(uint32_t bits) {
    union {
        uint32_t u;
        float f;
    } b = {.u = bits};
    return b.f;
}

static inline uint32_t bbi_bits_of_float(float x) {
    union {
        float f;
        uint32_t u;
    } b = {.f = x};
    return b.u;
}

static inline float bb_half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, field = (h >> 10) & 31u, fraction = h & 0x3ffu;
    if (field == 31) {
        uint32_t quiet = fraction ? 0x400000u : 0;
        return bbi_float_of_bits(sign | 0x7f800000u | quiet | fraction << 13);
    }
    if (field == 0) { /* fraction 2^-24: exact, and normal in float */
        float magnitude = (float)fraction * 0x1p-24f;
        return bbi_float_of_bits(sign | bbi_bits_of_float(magnitude));
    }
    return bbi_float_of_bits(sign | (field + 112) << 23 | fraction << 13);
}

static inline uint16_t bb_float_to_half(float x) {
    uint32_t bits = bbi_bits_of_float(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) { /* 65520, half way to 2^16, and above */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude >= 0x38800000u) { /* 2^-14: the carry of the rounding runs into the exponent as it should */
        uint32_t odd = magnitude >> 13 & 1u;
        return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
    }
    if (magnitude <= 0x33000000u) { /* up to 2^-25, half of the smallest number */
        return (uint16_t)sign;
    }
    /* A denormal result counts units of 2^-24. */
    uint32_t shift = 126 - (magnitude >> 23), significand = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t result = significand >> shift, rest = significand & ((1u << shift) - 1), half = 1u << (shift - 1);
    result += rest > half || (rest == half && (result & 1u));
    return (uint16_t)(sign | result);
}

static inline float bb_bfloat_to_float(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    return bbi_float_of_bits((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : bits);
}

static inline uint16_t bb_float_to_bfloat(float x) {
    uint32_t bits = bbi_bits_of_float(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
