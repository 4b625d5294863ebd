/* Packing: from a caller's array, any strides and storage type, to structures of arrays of the computing
 * type, and back.
 *
 * What decides is where neighbours lie in storage. Components that are whole runs of rows (one component,
 * column-major arrays, broadcasts) are converted run by run. Rows of compact components are transposed, from
 * storage itself where that is R already, else by way of a small buffer. */
#include "backend.h"
#include "isa.h"

#include <string.h>

enum { BUFFER = 1024 }; /* R's in the buffer between conversion and transposition */

static const bbi_pack_isa *table_of(int level, bool is_double) {
    switch (level < BBI_HAVE_ISA ? level : BBI_HAVE_ISA) {
#if BBI_HAVE_ISA >= 2
    case 2: return is_double ? &bbi_pack_isa_2_1 : &bbi_pack_isa_2_0;
#endif
#if BBI_HAVE_ISA >= 1
    case 1: return is_double ? &bbi_pack_isa_1_1 : &bbi_pack_isa_1_0;
#endif
    default: return is_double ? &bbi_pack_isa_0_1 : &bbi_pack_isa_0_0;
    }
}

static int64_t real_bytes(bool is_double) { return is_double ? 8 : 4; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t magnitude(int64_t a) { return a < 0 ? -a : a; }

/* Are the rows of one component nearer to each other than the components of one row? */
static bool is_by_component(const bbi_array *array, int64_t dim) {
    return dim == 1 || magnitude(array->row_stride) <= magnitude(array->dim_stride);
}

bool bbi_is_compact(const bbi_array *array, bool is_double) {
    const int64_t real = real_bytes(is_double);
    return array->dtype == (is_double ? BBI_F64 : BBI_F32) && array->dim_stride == real &&
           array->row_stride % real == 0 && (uintptr_t)array->data % (uintptr_t)real == 0;
}

/* Lanes count .. padded - 1 repeat lane count - 1, so that they neither trap nor slow anything down. */
static void pad_lanes(bool is_double, char *lanes, int64_t count, int64_t padded) {
    const int64_t real = real_bytes(is_double);
    if (count == 0) {
        memset(lanes, 0, (size_t)(padded * real));
        return;
    }
    for (int64_t r = count; r < padded; r++) {
        memcpy(lanes + r * real, lanes + (count - 1) * real, (size_t)real);
    }
}

/* By way of a buffer: as many components of as many rows as it holds at a time. */
static void pack_through_buffer(const bbi_pack_isa *isa, int64_t real, char *dst, int64_t stride,
                                const bbi_array *array, const char *data, int64_t dim, int64_t count) {
    double buffer[BUFFER];
    const int64_t width = least(dim, BUFFER / 16), height = BUFFER / width;
    const bool compact = width == dim && array->row_stride == dim * array->dim_stride;
    for (int64_t d = 0; d < dim; d += width) {
        const int64_t wide = least(width, dim - d);
        for (int64_t r = 0; r < count; r += height) {
            const int64_t rows = least(height, count - r);
            const char *from = data + r * array->row_stride + d * array->dim_stride;
            if (compact) {
                isa->read[array->dtype](buffer, from, array->dim_stride, rows * dim);
            } else {
                for (int64_t k = 0; k < rows; k++) {
                    isa->read[array->dtype]((char *)buffer + k * wide * real, from + k * array->row_stride,
                                            array->dim_stride, wide);
                }
            }
            isa->transpose(dst + (d * stride + r) * real, stride, buffer, wide, rows, wide);
        }
    }
}

void bbi_pack(bool is_double, int level, void *dst, int64_t stride, const bbi_array *array, int64_t dim, int64_t first,
              int64_t count, int64_t padded) {
    const bbi_pack_isa *isa = table_of(level, is_double);
    const int64_t real = real_bytes(is_double);
    const char *data = array->data + first * array->row_stride;
    if (count == 0) {
        /* nothing to read, not even an address */
    } else if (is_by_component(array, dim)) {
        for (int64_t d = 0; d < dim; d++) {
            isa->read[array->dtype]((char *)dst + d * stride * real, data + d * array->dim_stride, array->row_stride,
                                    count);
        }
    } else if (bbi_is_compact(array, is_double)) {
        isa->transpose(dst, stride, data, array->row_stride / real, count, dim);
    } else {
        pack_through_buffer(isa, real, dst, stride, array, data, dim, count);
    }
    for (int64_t d = 0; d < dim && count < padded; d++) {
        pad_lanes(is_double, (char *)dst + d * stride * real, count, padded);
    }
}

void bbi_pack_indexed(bool is_double, void *dst, int64_t stride, const bbi_array *array, int64_t dim,
                      const int64_t *rows, int64_t count, int64_t padded) {
    double buffer[BUFFER];
    const bbi_pack_isa *isa = table_of(0, is_double);
    const int64_t real = real_bytes(is_double), width = least(dim, BUFFER / 16), height = BUFFER / width;
    for (int64_t d = 0; d < dim; d += width) {
        const int64_t wide = least(width, dim - d);
        for (int64_t r = 0; r < count; r += height) {
            const int64_t block = least(height, count - r);
            for (int64_t k = 0; k < block; k++) {
                char *to = (char *)buffer + k * wide * real;
                if (rows[r + k] < 0) {
                    memset(to, 0, (size_t)(wide * real)); /* no such row: an empty entry of a list */
                } else {
                    const char *from = array->data + rows[r + k] * array->row_stride + d * array->dim_stride;
                    isa->read[array->dtype](to, from, array->dim_stride, wide);
                }
            }
            isa->transpose((char *)dst + (d * stride + r) * real, stride, buffer, wide, block, wide);
        }
    }
    for (int64_t d = 0; d < dim && count < padded; d++) {
        pad_lanes(is_double, (char *)dst + d * stride * real, count, padded);
    }
}

void bbi_unpack(bool is_double, int level, const void *src, int64_t stride, const bbi_array *array, int64_t dim,
                int64_t first, int64_t count) {
    const bbi_pack_isa *isa = table_of(level, is_double);
    const int64_t real = real_bytes(is_double);
    const char *from = src;
    char *data =
        (char *)(uintptr_t)array->data + first * array->row_stride; /* the caller gave the array to be written */
    if (count == 0) return;
    if (is_by_component(array, dim) || dim <= 4) { /* rows too short to be worth a transposition */
        for (int64_t d = 0; d < dim; d++) {
            isa->write[array->dtype](data + d * array->dim_stride, array->row_stride, from + d * stride * real, count);
        }
        return;
    }
    double buffer[BUFFER];
    const int64_t width = least(dim, BUFFER / 16), height = BUFFER / width;
    for (int64_t d = 0; d < dim; d += width) {
        const int64_t wide = least(width, dim - d);
        for (int64_t r = 0; r < count; r += height) {
            const int64_t block = least(height, count - r);
            char *to = data + r * array->row_stride + d * array->dim_stride;
            isa->transpose(buffer, wide, from + (d * stride + r) * real, stride, wide, block);
            for (int64_t k = 0; k < block; k++) {
                isa->write[array->dtype](to + k * array->row_stride, array->dim_stride,
                                         (char *)buffer + k * wide * real, wide);
            }
        }
    }
}
