/* test_pack.c: packing and unpacking against element-by-element conversion, for every storage type, layout
 * and level. A test's name is the sentence that would be false if it failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../src/backend/backend.h"
#include "../../src/backend/half.h"

static const int64_t bytes_of[] = {[BBI_F16] = 2, [BBI_BF16] = 2, [BBI_F32] = 4, [BBI_F64] = 8, [BBI_I64] = 8};

static double load(int dtype, const char *p) {
    uint16_t h;
    float f;
    double d;
    int64_t i;
    switch (dtype) {
    case BBI_F16: memcpy(&h, p, 2); return bb_half_to_float(h);
    case BBI_BF16: memcpy(&h, p, 2); return bb_bfloat_to_float(h);
    case BBI_F32: memcpy(&f, p, 4); return f;
    case BBI_F64: memcpy(&d, p, 8); return d;
    default: memcpy(&i, p, 8); return (double)i;
    }
}

static void save(int dtype, char *p, double x) {
    const uint16_t h = dtype == BBI_F16 ? bb_float_to_half((float)x) : bb_float_to_bfloat((float)x);
    const float f = (float)x;
    const int64_t i = (int64_t)x;
    switch (dtype) {
    case BBI_F16:
    case BBI_BF16: memcpy(p, &h, 2); break;
    case BBI_F32: memcpy(p, &f, 4); break;
    case BBI_F64: memcpy(p, &x, 8); break;
    default: memcpy(p, &i, 8); break;
    }
}

static double get(bool is_double, const void *array, int64_t k) {
    return is_double ? ((const double *)array)[k] : (double)((const float *)array)[k];
}

/* Numbers that every storage type but int64 holds to some bits, distinct for a few hundred elements. */
static double number(int dtype, int64_t k) {
    return dtype == BBI_I64 ? (double)(k % 1000 - 500) : (double)((k * 37) % 509 - 254) / 32;
}

typedef struct layout {
    int dtype;
    int64_t rows, dim, shift; /* shift: bytes off alignment */
    int kind; /* 0 compact rows, 1 columns, 2 gaps between rows, 3 gaps everywhere, 4 backwards, 5 one row for
                 all */
    char *memory;
    bbi_array array;
} layout;

enum { KINDS = 6 };
static void open_layout(layout *l) {
    const int64_t size = bytes_of[l->dtype], rows = l->rows, dim = l->dim;
    const int64_t row_strides[KINDS] = {dim * size, size, (dim + 3) * size, (3 * dim + 1) * size, -dim * size, 0};
    const int64_t dim_strides[KINDS] = {size, (rows + 1) * size, size, 3 * size, -size, size};
    const size_t total = (size_t)((rows + 2) * (3 * dim + 4) * size + 64);
    l->memory = bbi_alloc(total);
    assert_non_null(l->memory);
    for (size_t k = 0; k < total; k++) {
        l->memory[k] = 0x3b; /* a finite number in every type */
    }
    char *first = l->memory + l->shift + (l->kind == 4 ? (rows * dim) * size : 0);
    l->array = (bbi_array){
        .data = first, .dtype = l->dtype, .row_stride = row_strides[l->kind], .dim_stride = dim_strides[l->kind]};
}

static char *element(const layout *l, int64_t r, int64_t d) {
    return l->memory + (l->array.data - l->memory) + r * l->array.row_stride + d * l->array.dim_stride;
}

static void fill(layout *l) {
    for (int64_t r = 0; r < l->rows; r++) {
        for (int64_t d = 0; d < l->dim; d++) {
            save(l->dtype, element(l, r, d), number(l->dtype, r * l->dim + d));
        }
    }
}

static const int64_t dims[] = {1, 2, 3, 4, 5, 8, 15, 16, 33, 100};

static void for_every_layout(void (*check)(layout *l, int level, bool is_double)) {
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        for (int n = 0; n < 2 * 5 * KINDS * 10; n++) {
            layout l = {.dtype = n / 2 % 5, .kind = n / 10 % KINDS, .dim = dims[n / (10 * KINDS)], .rows = 77};
            check(&l, level, n & 1);
            l.shift = 1; /* addresses need no alignment */
            check(&l, level, n & 1);
        }
    }
}

static void check_pack(layout *l, int level, bool is_double) {
    enum { STRIDE = 128, FIRST = 3 };
    open_layout(l);
    fill(l);
    static double result[100 * STRIDE];
    const int64_t counts[] = {0, 1, 5, 16, 64, 74}, padded[] = {16, 16, 5, 32, 64, 128};
    for (int n = 0; n < 6; n++) {
        memset(result, 0xff, sizeof result);
        bbi_pack(is_double, level, result, STRIDE, &l->array, l->dim, FIRST, counts[n], padded[n]);
        for (int64_t k = 0; k < l->dim * STRIDE; k++) {
            const int64_t lane = k % STRIDE, row = lane < counts[n] ? lane : counts[n] - 1;
            const double found = get(is_double, result, k);
            if (lane >= padded[n]) {
                assert_true(isnan(found)); /* untouched */
            } else {
                const double expected = counts[n] > 0 ? load(l->dtype, element(l, FIRST + row, k / STRIDE)) : 0;
                assert_true(found == expected);
            }
        }
    }
    bbi_free(l->memory);
}

static void packing_converts_transposes_and_repeats_the_last_row(void **state) {
    (void)state;
    for_every_layout(check_pack);
}

static void check_pack_indexed(layout *l, int level, bool is_double) {
    enum { STRIDE = 64, COUNT = 41 };
    (void)level;
    open_layout(l);
    fill(l);
    int64_t rows[COUNT];
    for (int64_t k = 0; k < COUNT; k++) {
        rows[k] = k % 7 == 3 ? -1 : (k * 29) % l->rows;
    }
    static double result[100 * STRIDE];
    bbi_pack_indexed(is_double, result, STRIDE, &l->array, l->dim, rows, COUNT, STRIDE);
    for (int64_t d = 0; d < l->dim; d++) {
        for (int64_t k = 0; k < STRIDE; k++) {
            const int64_t row = rows[k < COUNT ? k : COUNT - 1];
            assert_true(get(is_double, result, d * STRIDE + k) == (row < 0 ? 0 : load(l->dtype, element(l, row, d))));
        }
    }
    bbi_free(l->memory);
}

static void indexed_packing_gathers_rows_and_gives_zero_for_none(void **state) {
    (void)state;
    for_every_layout(check_pack_indexed);
}

static void check_unpack(layout *l, int level, bool is_double) {
    enum { STRIDE = 128, FIRST = 2, COUNT = 71 };
    if (l->kind == 5) return; /* one row cannot be written several times */
    open_layout(l);
    static double source[100 * STRIDE];
    for (int64_t k = 0; k < l->dim * STRIDE; k++) {
        const double x = number(l->dtype, k) * (l->dtype == BBI_I64 ? 1 : 1.001);
        if (is_double) {
            source[k] = x;
        } else {
            ((float *)source)[k] = (float)x;
        }
    }
    fill(l);
    bbi_unpack(is_double, level, source, STRIDE, &l->array, l->dim, FIRST, COUNT);
    for (int64_t r = 0; r < l->rows; r++) {
        for (int64_t d = 0; d < l->dim; d++) {
            char expected[8];
            const bool written = r >= FIRST && r < FIRST + COUNT;
            save(l->dtype, expected,
                 written ? get(is_double, source, d * STRIDE + r - FIRST) : number(l->dtype, r * l->dim + d));
            assert_memory_equal(element(l, r, d), expected, (size_t)bytes_of[l->dtype]);
        }
    }
    bbi_free(l->memory);
}

static void unpacking_is_the_way_back_and_writes_nothing_else(void **state) {
    (void)state;
    for_every_layout(check_unpack);
}

static void every_float16_and_bfloat16_number_survives_both_ways(void **state) {
    (void)state;
    enum { ALL = 65536 };
    uint16_t *in = bbi_alloc(ALL * 2), *out = bbi_alloc(ALL * 2);
    double *packed = bbi_alloc_aligned(ALL * 8);
    for (int64_t k = 0; k < ALL; k++) {
        in[k] = (uint16_t)k;
    }
    for (int n = 0; n < 4 * (bbi_cpu_level() + 1); n++) {
        const int dtype = n & 1 ? BBI_BF16 : BBI_F16;
        const bool is_double = n & 2;
        const bbi_array from = {.data = (char *)in, .dtype = dtype, .row_stride = 2},
                        to = {.data = (char *)out, .dtype = dtype, .row_stride = 2};
        bbi_pack(is_double, n / 4, packed, ALL, &from, 1, 0, ALL, ALL);
        bbi_unpack(is_double, n / 4, packed, ALL, &to, 1, 0, ALL);
        for (int64_t k = 0; k < ALL; k++) {
            const double x = load(dtype, (char *)&in[k]), y = get(is_double, packed, k);
            assert_true(isnan(x) ? isnan(y) && isnan(load(dtype, (char *)&out[k])) : x == y && in[k] == out[k]);
        }
    }
    bbi_free(in);
    bbi_free(out);
    bbi_free_aligned(packed);
}

static void rounding_to_float16_is_to_nearest_ties_to_even(void **state) {
    (void)state;
    enum { COUNT = 16 };
    static const float x[COUNT] = {1.0f,         0x1.002p0f, 0x1.006p0f, 0x1.0021p0f, 65504,           65519.996f,
                                   65520,        -65520,     0x1p-24f,   0x1p-25f,    0x1.000002p-25f, 0x1.8p-24f,
                                   0x1.ffep-15f, -0.0f,      INFINITY,   0x1.ffdfp-1f};
    static const uint16_t expected[COUNT] = {0x3c00, 0x3c00, 0x3c02, 0x3c01, 0x7bff, 0x7bff, 0x7c00, 0xfc00,
                                             1,      0,      1,      2,      0x0400, 0x8000, 0x7c00, 0x3bff};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        uint16_t out[COUNT];
        const bbi_array array = {.data = (char *)out, .dtype = BBI_F16, .row_stride = 2};
        bbi_unpack(false, level, x, COUNT, &array, 1, 0, COUNT);
        for (int k = 0; k < COUNT; k++) {
            if (out[k] != expected[k])
                fail_msg("level %d: %a became %04x, not %04x", level, (double)x[k], out[k], expected[k]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_converts_transposes_and_repeats_the_last_row),
        cmocka_unit_test(indexed_packing_gathers_rows_and_gives_zero_for_none),
        cmocka_unit_test(unpacking_is_the_way_back_and_writes_nothing_else),
        cmocka_unit_test(every_float16_and_bfloat16_number_survives_both_ways),
        cmocka_unit_test(rounding_to_float16_is_to_nearest_ties_to_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
