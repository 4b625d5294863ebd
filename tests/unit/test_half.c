/* test_half.c: float16 and bfloat16: every pattern there and back, and rounding against neighbours found by
 * search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "half.h"

/* The value of a binary16 pattern by its definition. */
static double half_value(uint16_t h) {
    int field = h >> 10 & 31, fraction = h & 1023;
    double magnitude = field == 31 ? (fraction ? NAN : INFINITY)
                       : field     ? ldexp(1024 + fraction, field - 25)
                                   : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void every_pattern_returns(void **unused) {
    for (uint32_t h = 0; h < 65536; h++) {
        float x = bb_half_to_float((uint16_t)h), b = bb_bfloat_to_float((uint16_t)h);
        double expected = half_value((uint16_t)h);
        if (isnan(expected)) {
            assert_true(isnan(x) && isnan(bb_half_to_float(bb_float_to_half(x))));
        } else {
            assert_true((double)x == expected && !signbit(x) == !(h & 0x8000));
            assert_int_equal(bb_float_to_half(x), h);
        }
        if ((h & 0x7fff) > 0x7f80) {
            assert_true(isnan(b) && isnan(bb_bfloat_to_float(bb_float_to_bfloat(b))));
        } else {
            assert_int_equal(bbi_bits_of_float(b), h << 16);
            assert_int_equal(bb_float_to_bfloat(b), h);
        }
    }
}

/* Between two neighbours a number goes to the nearer one, from the middle to the even one. */
static void halves_round_to_nearest_even(void **unused) {
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = bb_half_to_float((uint16_t)h), high = bb_half_to_float((uint16_t)(h + 1));
        float middle = (low + high) / 2;
        assert_int_equal(bb_float_to_half(middle), h & 1 ? h + 1 : h);
        assert_int_equal(bb_float_to_half(nextafterf(middle, 0)), h);
        assert_int_equal(bb_float_to_half(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(bb_float_to_half(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    assert_int_equal(bb_float_to_half(65519.996f), 0x7bff);
    assert_int_equal(bb_float_to_half(65520.0f), 0x7c00);
    assert_int_equal(bb_float_to_half(INFINITY), 0x7c00);
    assert_int_equal(bb_float_to_half(-1e30f), 0xfc00);
    assert_int_equal(bb_float_to_half(0x1p-26f), 0);
    assert_int_equal(bb_float_to_half(-0x1p-140f), 0x8000);
}

static void bfloats_round_to_nearest_even(void **unused) {
    for (uint32_t h = 0; h < 0x7f80; h++) {
        float middle = bbi_float_of_bits(h << 16 | 0x8000u);
        assert_int_equal(bb_float_to_bfloat(middle), h & 1 ? h + 1 : h);
        assert_int_equal(bb_float_to_bfloat(bbi_float_of_bits(h << 16 | 0x7fffu)), h);
        assert_int_equal(bb_float_to_bfloat(bbi_float_of_bits(h << 16 | 0x8001u)), h + 1);
    }
    assert_true(isnan(bb_bfloat_to_float(bb_float_to_bfloat(bbi_float_of_bits(0x7f800001u)))));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_returns),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloats_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
