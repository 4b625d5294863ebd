/* The packers' inner loops, for one instruction set and one real type: conversion between storage types and
 * R, and the transposition from rows of components to components of rows.
 *
 * Numbers in storage are moved with memcpy, since a caller's array may lie at any address. float16 uses the
 * conversion instructions where the instruction set has them; float64 to float16 and bfloat16 rounds to float
 * first. */
#include "isa.h"
#include "backend.h"
#include "half.h"
#include "prelude/cpu.h"

#include <string.h>

/* ---- conversion of single numbers ------------------------------------------------------------ */
typedef uint16_t f16;
typedef uint16_t bf16;
typedef float f32;
typedef double f64;
typedef int64_t i64;
BB_INLINE R from_f16(f16 x) { return (R)bb_half_to_float(x); }
BB_INLINE R from_bf16(bf16 x) { return (R)bb_bfloat_to_float(x); }
BB_INLINE R from_f32(f32 x) { return (R)x; }
BB_INLINE R from_f64(f64 x) { return (R)x; }
BB_INLINE R from_i64(i64 x) { return (R)x; }
BB_INLINE f16 to_f16(R x) { return bb_float_to_half((float)x); }
BB_INLINE bf16 to_bf16(R x) { return bb_float_to_bfloat((float)x); }
BB_INLINE f32 to_f32(R x) { return (f32)x; }
BB_INLINE f64 to_f64(R x) { return (f64)x; }
/* Numbers that are no int64 become 0. */
BB_INLINE i64 to_i64(R x) { return x >= (R)-0x1p63 && x < (R)0x1p63 ? (i64)x : 0; }

/* ---- runs of numbers ------------------------------------------------------------------------- */
/* Several numbers at a time where they are compact; returns how many were done. */
#if !BB_DOUBLE && BB_ISA >= 1
typedef short half8 __attribute__((vector_size(16)));
typedef float float8 __attribute__((vector_size(32)));
typedef unsigned short ushort8 __attribute__((vector_size(16)));
typedef unsigned uint8 __attribute__((vector_size(32)));
BB_INLINE int64_t read_many_f16(R *result, const char *data, int64_t count) {
    int64_t k = 0;
    for (; k + 8 <= count; k += 8) {
        half8 h;
        memcpy(&h, data + 2 * k, sizeof h);
        const float8 f = __builtin_ia32_vcvtph2ps256(h);
        memcpy(result + k, &f, sizeof f);
    }
    return k;
}
BB_INLINE int64_t read_many_bf16(R *result, const char *data, int64_t count) {
    int64_t k = 0;
    for (; k + 8 <= count; k += 8) {
        ushort8 h;
        memcpy(&h, data + 2 * k, sizeof h);
        const uint8 bits = __builtin_convertvector(h, uint8) << 16;
        memcpy(result + k, &bits, sizeof bits);
    }
    return k;
}
BB_INLINE int64_t write_many_f16(char *data, const R *source, int64_t count) {
    int64_t k = 0;
    for (; k + 8 <= count; k += 8) {
        float8 f;
        memcpy(&f, source + k, sizeof f);
        const half8 h = __builtin_ia32_vcvtps2ph256(f, 0); /* 0: to nearest, ties to even */
        memcpy(data + 2 * k, &h, sizeof h);
    }
    return k;
}
#else
#define read_many_f16(result, data, count) 0
#define read_many_bf16(result, data, count) 0
#define write_many_f16(data, source, count) 0
#endif
#if BB_DOUBLE
#define COPY_f64(to, from, count) (memcpy(to, from, (size_t)(count) * sizeof(R)), (count))
#define COPY_f32(to, from, count) 0
#else
#define COPY_f64(to, from, count) 0
#define COPY_f32(to, from, count) (memcpy(to, from, (size_t)(count) * sizeof(R)), (count))
#endif
#define read_many_f32(result, data, count) COPY_f32(result, data, count)
#define read_many_f64(result, data, count) COPY_f64(result, data, count)
#define read_many_i64(result, data, count) 0
#define write_many_bf16(data, source, count) 0
#define write_many_f32(data, source, count) COPY_f32(data, source, count)
#define write_many_f64(data, source, count) COPY_f64(data, source, count)
#define write_many_i64(data, source, count) 0

#define STORAGE(type)                                                                                                  \
    static void read_##type(void *result, const char *data, int64_t step, int64_t count) {                             \
        R *r = result;                                                                                                 \
        int64_t k = 0;                                                                                                 \
        if (step == (int64_t)sizeof(type)) {                                                                           \
            k = read_many_##type(r, data, count);                                                                      \
            for (; k < count; k++) {                                                                                   \
                type x;                                                                                                \
                memcpy(&x, data + k * (int64_t)sizeof x, sizeof x);                                                    \
                r[k] = from_##type(x);                                                                                 \
            }                                                                                                          \
        }                                                                                                              \
        for (data += k * step; k < count; k++, data += step) {                                                         \
            type x;                                                                                                    \
            memcpy(&x, data, sizeof x);                                                                                \
            r[k] = from_##type(x);                                                                                     \
        }                                                                                                              \
    }                                                                                                                  \
    static void write_##type(char *data, int64_t step, const void *source, int64_t count) {                            \
        const R *s = source;                                                                                           \
        int64_t k = 0;                                                                                                 \
        if (step == (int64_t)sizeof(type)) k = write_many_##type(data, s, count);                                      \
        for (data += k * step; k < count; k++, data += step) {                                                         \
            const type x = to_##type(s[k]);                                                                            \
            memcpy(data, &x, sizeof x);                                                                                \
        }                                                                                                              \
    }
STORAGE(f16)
STORAGE(bf16)
STORAGE(f32)
STORAGE(f64)
STORAGE(i64)

/* ---- transposition --------------------------------------------------------------------------- */
/* Squares of Q x Q numbers in 16-byte vectors, every instruction set's own size: 4 x 4 floats or 2 x 2
 * doubles. */
enum { Q = 16 / sizeof(R), LINE = 64 / sizeof(R) };
typedef R quad __attribute__((vector_size(16)));
typedef I quad_index __attribute__((vector_size(16)));
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (quad_index){__VA_ARGS__})
#endif
BB_INLINE quad quad_at(const R *p) {
    quad q;
    memcpy(&q, p, sizeof q);
    return q;
}
BB_INLINE void put_quad(R *p, quad q) { memcpy(p, &q, sizeof q); }

BB_INLINE void transpose_square(R *result, int64_t stride, const R *source, int64_t row_step) {
    const quad a = quad_at(source), b = quad_at(source + row_step);
#if BB_DOUBLE
    put_quad(result, SHUFFLE(a, b, 0, 2));
    put_quad(result + stride, SHUFFLE(a, b, 1, 3));
#else
    const quad c = quad_at(source + 2 * row_step), d = quad_at(source + 3 * row_step);
    const quad ab = SHUFFLE(a, b, 0, 4, 1, 5), cd = SHUFFLE(c, d, 0, 4, 1, 5);
    const quad AB = SHUFFLE(a, b, 2, 6, 3, 7), CD = SHUFFLE(c, d, 2, 6, 3, 7);
    put_quad(result, SHUFFLE(ab, cd, 0, 1, 4, 5));
    put_quad(result + stride, SHUFFLE(ab, cd, 2, 3, 6, 7));
    put_quad(result + 2 * stride, SHUFFLE(AB, CD, 0, 1, 4, 5));
    put_quad(result + 3 * stride, SHUFFLE(AB, CD, 2, 3, 6, 7));
#endif
}

/* Compact components at once: few streams, no square would be full. */
BB_INLINE void transpose_few(R *result, int64_t stride, const R *source, int64_t row_step, int64_t rows,
                             const int dim) {
    for (int64_t r = 0; r < rows; r++, source += row_step) {
        for (int d = 0; d < dim; d++) {
            result[d * stride + r] = source[d];
        }
    }
}

#if !BB_DOUBLE
/* Four compact rows of two or three floats at a time; returns how many rows were done. */
static int64_t transpose_pairs(R *result, int64_t stride, const R *source, int64_t rows) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, source += 8) {
        const quad a = quad_at(source), b = quad_at(source + 4);
        put_quad(result + r, SHUFFLE(a, b, 0, 2, 4, 6));
        put_quad(result + stride + r, SHUFFLE(a, b, 1, 3, 5, 7));
    }
    return r;
}

/* xyzx yzxy zxyz: two numbers of each component from the first half, two from the second. */
static int64_t transpose_triples(R *result, int64_t stride, const R *source, int64_t rows) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, source += 12) {
        const quad a = quad_at(source), b = quad_at(source + 4), c = quad_at(source + 8);
        const quad x = SHUFFLE(b, c, 2, 2, 5, 5), y = SHUFFLE(a, b, 1, 1, 4, 4), z = SHUFFLE(a, b, 2, 2, 5, 5);
        put_quad(result + r, SHUFFLE(a, x, 0, 3, 4, 6));
        put_quad(result + stride + r, SHUFFLE(y, SHUFFLE(b, c, 3, 3, 6, 6), 0, 2, 4, 6));
        put_quad(result + 2 * stride + r, SHUFFLE(z, c, 0, 2, 4, 7));
    }
    return r;
}
#else
#define transpose_pairs(result, stride, source, rows) 0
#define transpose_triples(result, stride, source, rows) 0
#endif

/* A cache line of each component at a time: rows are read in order, and a line is written whole. */
static void transpose_many(R *result, int64_t stride, const R *source, int64_t row_step, int64_t rows, int64_t dim) {
    const int64_t whole_rows = rows / Q * Q, done = dim / Q * Q;
    for (int64_t first = 0; first < whole_rows; first += LINE) {
        const int64_t end = first + LINE < whole_rows ? first + LINE : whole_rows;
        for (int64_t d = 0; d < done; d += Q) {
            for (int64_t r = first; r < end; r += Q) {
                transpose_square(result + d * stride + r, stride, source + r * row_step + d, row_step);
            }
        }
    }
    for (int64_t r = whole_rows; r < rows; r++) {
        for (int64_t d = 0; d < done; d++) {
            result[d * stride + r] = source[r * row_step + d];
        }
    }
    for (int64_t d = done; d < dim; d++) {
        for (int64_t r = 0; r < rows; r++) {
            result[d * stride + r] = source[r * row_step + d];
        }
    }
}

static void transpose(void *result, int64_t stride, const void *source, int64_t row_step, int64_t rows, int64_t dim) {
    R *to = result;
    const R *from = source;
    int64_t done = 0;
    switch (dim) {
    case 1: transpose_few(to, stride, from, row_step, rows, 1); break;
    case 2:
        if (row_step == 2) done = transpose_pairs(to, stride, from, rows);
        transpose_few(to + done, stride, from + done * row_step, row_step, rows - done, 2);
        break;
    case 3:
        if (row_step == 3) done = transpose_triples(to, stride, from, rows);
        transpose_few(to + done, stride, from + done * row_step, row_step, rows - done, 3);
        break;
    default: transpose_many(to, stride, from, row_step, rows, dim); break;
    }
}

const bbi_pack_isa BBI_ISA_NAME(bbi_pack_isa, BB_ISA, BB_DOUBLE) = {
    .read = {[BBI_F16] = read_f16,
             [BBI_BF16] = read_bf16,
             [BBI_F32] = read_f32,
             [BBI_F64] = read_f64,
             [BBI_I64] = read_i64},
    .write = {[BBI_F16] = write_f16,
              [BBI_BF16] = write_bf16,
              [BBI_F32] = write_f32,
              [BBI_F64] = write_f64,
              [BBI_I64] = write_i64},
    .transpose = transpose,
};
