/* test_interp.c: the interpreter against a scalar evaluation in double of the same code, at every instruction
 * set of this machine, in both real types. A test's name is the sentence that would be false if it failed. */
#include "interp_twin.h"

static const char gaussian[] = "%0 = sub(x[0], y[0])\n%1 = mul(%0, %0)\n%2 = sub(y[1], x[1])\n%3 = fma(%2, %2, %1)\n"
                               "%4 = sub(x[2], y[2])\n%5 = fma(%4, %4, %3)\n%7 = expk(%5, -0.7)\n"
                               "sum[0] += %7 * y[3]\n";

static void a_gaussian_sum_is_right(void **state) {
    (void)state;
    check_all(gaussian, (problem){.rows_dim = 3, .columns_dim = 4, .sum_count = 1}, -1, 1);
}

/* Differences that are squared and summed as well, in both orders; runs of sums of one tile; the same in a
 * loop. */
static const char gradient[] = "%0 = sub(x[0], y[0])\n%1 = mul(%0, %0)\n%2 = sub(x[1], y[1])\n%3 = fma(%2, %2, %1)\n"
                               "%4 = sub(y[2], x[2])\n%5 = fma(%4, %4, %3)\n%7 = expk(%5, -0.7)\n"
                               "%8 = mul(%7, y[3])\nsum[0] += %0 * %8\nsum[1] += %8 * %2\nsum[2] += %4 * %8\n"
                               "%9 = sub(y[4], x[4])\nsum[3] += %8 * %9\nsum[4] += %8 * y[2]\nsum[5] += y[3] * %8\n"
                               "sum[6] += %8 * y[4]\nsum[7] += %8 * y[1]\nsum[8] += %8 * y[0]\n"
                               "loop c0 < n[1] {\n  %10 = sub(x[c0], y[c0 + 1])\n  sum[c0 + 9] += %10 * %7\n}\n"
                               "loop c1 < 3 {\n  %11 = sub(y[c1], x[c1])\n  sum[c1 + 19] += %8 * %11\n}\n";

static void a_gradient_is_right(void **state) {
    (void)state;
    check_all(gradient, (problem){.rows_dim = 10, .columns_dim = 11, .sum_count = 22, .size = {0, 10}}, -1, 1);
}

static void outputs_and_several_sums_are_right(void **state) {
    (void)state;
    check_all("%0 = mul(x[0], y[0])\n%1 = fma(x[1], y[1], %0)\n%2 = fma(y[2], x[2], %1)\nout[1] = %2\n%3 = "
              "exp(%2)\n"
              "out[0] = %3\n%4 = add(%3, p[2])\nsum[0] += %4\nsum[1] += x[0] * %3\nsum[2] += y[1] * "
              "x[1]\nsum[3] += p[0] * y[0]\n"
              "sum[4] += 2.5\nout[2] = y[1]\n%5 = where(y[0], x[0], %4)\n%6 = sub(%5, %3)\nout[3] = %6\n",
              (problem){.rows_dim = 3, .columns_dim = 3, .sum_count = 5, .out_count = 4}, -1, 1);
}

static void loops_are_right(void **state) {
    (void)state;
    for (int64_t d = 0; d <= 70; d += 35) {
        check_all("%0 := 0\nloop c0 < n[0] {\n  %1 = sub(x[c0], y[c0])\n  %0 = fma(%1, %1, %0)\n}\n"
                  "%2 := p[1]\nloop c1 < n[0] {\n  %2 = fma(y[c1 + 1], x[c1], %2)\n}\n"
                  "%4 = expk(%0, -0.01)\n"
                  "%5 = fma(%2, 0.1, %4)\nloop c2 < n[1] {\n  sum[c2] += %5 * y[c2]\n}\nloop c3 < 3 {\n  "
                  "sum[c3 + 11] += y[c3] * %4\n}\n",
                  (problem){.rows_dim = 70, .columns_dim = 71, .sum_count = 14, .size = {d, 11}}, -1, 1);
    }
}

static void nested_loops_choices_and_counts_are_right(void **state) {
    (void)state;
    check_all("%0 := 1\nloop c0 < n[0] {\n  %1 := c0\n  loop c1 < n[1] {\n    %2 = mul(x[(c0 * n[1]) + c1], "
              "y[c1])\n"
              "    %3 = c1 < c0 ? %2 : y[c0]\n    %4 = c1 == 1 ? %3 : 0.5\n    %1 = fma(%4, %3, %1)\n  }\n  "
              "%5 = mul(%1, c0)\n"
              "  %0 = add(%0, %5)\n  out[c0] = %1\n  sum[c0] += %5\n}\nsum[n[0]] += %0\n",
              (problem){.rows_dim = 12, .columns_dim = 4, .sum_count = 4, .out_count = 3, .size = {3, 4}}, -1, 1);
}

static void values_cross_from_straight_code_to_choices_and_back(void **state) {
    (void)state;
    check_all("%0 = mul(x[0], y[0])\n%1 = exp(%0)\n%2 = n[0] < 2 ? %1 : x[1]\n%3 = add(%2, y[1])\n%4 = mul(%3, %0)\n"
              "sum[0] += %4\nloop c0 < n[1] {\n  %5 = sub(%4, x[c0])\n  %6 = sin(%5)\n  %7 = c0 < 1 ? 0 : %6\n"
              "  sum[c0 + 1] += %7\n}\n%8 = n[1] < 2 ? %4 : %3\nout[0] = %8\nout[1] = %3\n",
              (problem){.rows_dim = 3, .columns_dim = 3, .sum_count = 4, .out_count = 2, .size = {1, 3}}, -1, 1);
}

static void values_keep_their_tile_while_a_loop_needs_them(void **state) {
    (void)state;
    check_all("%0 = mul(x[0], y[0])\n%1 = mul(x[1], y[1])\nloop c0 < n[0] {\n  %2 = add(%0, %1)\n"
              "  %3 = mul(x[c0], 3)\n  %4 = mul(y[c0], 5)\n  %5 = mul(%3, %4)\n  %6 = sub(%5, %2)\n  out[c0] = %6\n"
              "  loop c1 < 2 {\n    %7 = mul(%3, x[c1])\n    %8 = mul(%7, %7)\n    sum[(c0 * 2) + c1] += %8 * %0\n "
              " }\n"
              "}\n%9 = neg(%0)\n%10 = neg(%9)\nsum[6] += %10\n",
              (problem){.rows_dim = 3, .columns_dim = 3, .sum_count = 7, .out_count = 3, .size = {3}}, -1, 1);
}

static void accumulators_that_are_assigned_again_are_not_fused(void **state) {
    (void)state;
    check_all("%0 := x[2]\n%1 = sub(x[0], y[0])\n%2 = fma(%1, %1, %0)\n%0 = mul(%0, 7)\n%3 = sub(x[1], y[1])\n"
              "%4 = fma(%3, %3, %2)\nout[0] = %4\nout[1] = %0\nsum[0] += %4 * y[0]\n"
              "%5 = mul(%0, p[0])\n%0 = neg(%0)\n%6 = expk(%5, y[0])\nout[2] = %6\n%7 = abs(%0)\n%0 := 1\nout[3] = %7\n"
              "out[4] = %0\n",
              (problem){.rows_dim = 3, .columns_dim = 3, .sum_count = 1, .out_count = 5}, -0.2, 0.2);
}

/* Operands of every kind, for every elementwise operation, in its domain. */
static void every_operation_is_right_on_every_kind_of_operand(void **state) {
    (void)state;
    static const char *const kinds[] = {"x[%d]", "y[%d]", "p[%d]", "%%%d"};
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        if (row->kind != BBI_MAP) continue;
        const int combinations = row->arity == 1 ? 4 : row->arity == 2 ? 16 : 64;
        for (int n = 0; n < combinations; n++) {
            char text[512];
            int length = snprintf(text, sizeof text, "%%0 := x[0]\n%%1 := y[1]\n%%2 := x[2]\n%%3 = %s(", row->name);
            for (int k = 0; k < row->arity; k++) {
                length += snprintf(text + length, sizeof text - (size_t)length, k ? ", " : "");
                length += snprintf(text + length, sizeof text - (size_t)length, kinds[n >> 2 * k & 3], k);
            }
            snprintf(text + length, sizeof text - (size_t)length, ")\nout[0] = %%3\n");
            bbi_code code = code_of_text(text);
            for (int level = 0; level <= bbi_cpu_level(); level++) {
                for (int k = 0; k < 4; k++) {
                    problem p = {.level = level,
                                 .is_double = k & 1,
                                 .transposed = k & 2,
                                 .lanes = 21,
                                 .casts = 5,
                                 .rows_dim = 3,
                                 .columns_dim = 3,
                                 .out_count = 1};
                    check_pair(&code, &p, row->domain_low, row->domain_high);
                }
            }
            bbi_code_free(&code);
        }
    }
}

/* ---- bits ------------------------------------------------------------------------------------ */
static void assert_same_sums(const char *one, const char *other, int64_t split) {
    bbi_code code[2] = {code_of_text(one), code_of_text(other)};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        for (int k = 0; k < 4; k++) {
            problem p = {.level = level,
                         .is_double = k & 1,
                         .transposed = k & 2,
                         .lanes = block(k & 1) - 3,
                         .casts = 117,
                         .rows_dim = 80,
                         .columns_dim = 80,
                         .sum_count = 22,
                         .out_count = 12,
                         .size = {77, 10}};
            open_problem(&p, -1, 1);
            const size_t bytes = (size_t)p.sum_count * BBI_LANE_BYTES * (size_t)(p.transposed ? p.casts : 1);
            void *second = bbi_alloc_aligned(bytes);
            assert_non_null(second);
            memcpy(second, p.sum, bytes);
            for (int n = 0; n < 2; n++) {
                bbi_interp *interp = bbi_interp_new(&code[n], p.level, p.is_double, false, p.sum_count);
                assert_non_null(interp);
                const int64_t part = n ? split : p.casts;
                for (int64_t first = 0; first < p.casts; first += part) {
                    run_part(&p, interp, n ? second : p.sum, first, first + part < p.casts ? part : p.casts - first);
                }
                bbi_interp_free(interp);
            }
            assert_memory_equal(p.sum, second, bytes);
            bbi_free_aligned(second);
            close_problem(&p);
        }
    }
    bbi_code_free(&code[0]);
    bbi_code_free(&code[1]);
}

static void bits_do_not_depend_on_how_casts_are_split(void **state) {
    (void)state;
    static const int64_t splits[] = {1, 7, 16, 32, 50};
    for (int n = 0; n < 5; n++) {
        assert_same_sums(gaussian, gaussian, splits[n]);
    }
}

/* The second code uses every intermediate value once more, which forbids every fusion. */
static void fusion_does_not_change_bits(void **state) {
    (void)state;
    assert_same_sums(gaussian,
                     "%0 = sub(x[0], y[0])\nout[0] = %0\n%1 = mul(%0, %0)\nout[1] = %1\n%2 = sub(y[1], "
                     "x[1])\nout[2] = %2\n"
                     "%3 = fma(%2, %2, %1)\nout[3] = %3\n%4 = sub(x[2], y[2])\nout[4] = %4\n%5 = fma(%4, %4, "
                     "%3)\nout[5] = %5\n"
                     "out[6] = %5\n%7 = expk(%5, -0.7)\nout[7] = %7\nsum[0] += %7 * y[3]\n",
                     117);
    assert_same_sums(
        "%0 := p[0]\nloop c0 < n[0] {\n  %1 = sub(x[c0], y[c0])\n  %0 = fma(%1, %1, %0)\n}\n"
        "loop c1 < n[1] {\n  sum[c1] += %0 * y[c1]\n}\n",
        "%0 := p[0]\nloop c0 < n[0] {\n  %1 = sub(x[c0], y[c0])\n  out[0] = %1\n  %0 = fma(%1, %1, %0)\n}\n"
        "loop c1 < n[1] {\n  %2 = stop(%0)\n  out[1] = %2\n  sum[c1] += %2 * y[c1]\n}\n",
        117);
    assert_same_sums(
        "%0 = mul(x[0], y[0])\n%1 = fma(x[1], y[1], %0)\n%2 = fma(y[2], x[2], %1)\nsum[0] += %2\n",
        "%0 = mul(x[0], y[0])\nout[0] = %0\n%1 = fma(x[1], y[1], %0)\nout[1] = %1\n%2 = fma(y[2], x[2], %1)\n"
        "out[2] = %2\nsum[0] += %2\n",
        117);
}

static void fusion_does_not_change_the_bits_of_gradients(void **state) {
    (void)state;
    char apart[2048] = ""; /* every value has one more use, sums alternate with something else */
    int sums = 0;
    for (const char *line = gradient; *line; line = strchr(line, '\n') + 1) {
        const int length = (int)(strchr(line, '\n') - line), used = (int)strlen(apart);
        int value;
        snprintf(apart + used, sizeof apart - (size_t)used, "%.*s\n", length, line);
        char *end = apart + strlen(apart);
        const size_t left = sizeof apart - (size_t)(end - apart);
        if (sscanf(line, " %%%d", &value) == 1) snprintf(end, left, "out[%d] = %%%d\n", value, value);
        if (strstr(apart + used, "sum[")) snprintf(end, left, "out[%d] = 1\n", sums++ & 1);
    }
    assert_same_sums(gradient, apart, 117);
    assert_same_sums(gradient, gradient, 5);
}

/* ---- elementwise codes ----------------------------------------------------------------------- */
static const int64_t counts[] = {1, 3, 31, 32, 33, 64, 65, 1000, 2500};

static void map_codes_compute_further_components(void **state) {
    (void)state;
    bbi_code code = code_of_text("%0 = mul(x[0], p[1])\n%1 = exp(%0)\nout[2] = %1\n%2 := 0\nloop c0 < 2 {\n"
                                 "  %2 = fma(x[c0], x[c0], %2)\n}\n%3 = sub(%2, %1)\nout[3] = %3\nout[4] = 0.5\n");
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        for (int n = 0; n < 18; n++) {
            problem p = {.level = level, .is_double = n & 1, .lanes = counts[n / 2]};
            const int64_t count = counts[n / 2], stride = (count + 63) / 64 * 64;
            void *array = new_array(p.is_double, 6 * stride, -1, 1), *u = new_array(p.is_double, 4, -1, 1);
            void *copy = new_array(p.is_double, 6 * stride, 0, 0);
            memcpy(copy, array, (size_t)(6 * stride) * (p.is_double ? 8 : 4));
            bbi_interp *interp = bbi_interp_new(&code, level, p.is_double, true, 0);
            void *workspace = bbi_alloc_aligned((size_t)bbi_interp_workspace(interp));
            bbi_interp_map(interp, NULL, u, array, stride, count, workspace);
            for (int64_t r = 0; r < count; r++) {
                twin t = {
                    .code = &code, .is_double = p.is_double, .uniform = u, .row = copy, .row_stride = stride, .r = r};
                twin_run(&t, 0);
                for (int64_t c = 0; c < 6; c++) {
                    const double expected = c >= 2 && c < 5 ? t.out[c] : get(p.is_double, copy, c * stride + r);
                    assert_near(&p, get(p.is_double, array, c * stride + r), expected, 2);
                }
            }
            bbi_free_aligned(workspace);
            bbi_interp_free(interp);
            bbi_free_aligned(array);
            bbi_free_aligned(copy);
            bbi_free_aligned(u);
        }
    }
    bbi_code_free(&code);
}

static void the_uniform_code_writes_its_compact_array_and_nothing_beyond(void **state) {
    (void)state;
    bbi_code code = code_of_text("%0 = mul(p[0], p[1])\n%1 = exp(%0)\nout[2] = %1\nout[3] = p[1]\nout[4] = n[0]\n");
    const int64_t size[1] = {9};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        for (int d = 0; d < 2; d++) {
            problem p = {.level = level, .is_double = d};
            double array[6] = {0};
            for (int k = 0; k < 6; k++) {
                set(d, array, k, 0.5 + k);
            }
            bbi_interp *interp = bbi_interp_new(&code, level, d, true, 0);
            void *workspace = bbi_alloc_aligned((size_t)bbi_interp_workspace(interp));
            bbi_interp_map(interp, size, NULL, array, 1, 1, workspace);
            const double expected[6] = {0.5, 1.5, exp(0.75), 1.5, 9, 5.5};
            for (int k = 0; k < 6; k++) {
                assert_near(&p, get(d, array, k), expected[k], 2);
            }
            bbi_free_aligned(workspace);
            bbi_interp_free(interp);
        }
    }
    bbi_code_free(&code);
}

static void pair_lists_are_elementwise(void **state) {
    (void)state;
    bbi_code code = code_of_text("%0 = sub(x[0], y[0])\n%1 = mul(%0, %0)\n%2 = sub(x[1], y[1])\n%3 = fma(%2, %2, %1)\n"
                                 "%5 = expk(%3, p[0])\n%6 := 0\nloop c0 < n[0] {\n  %7 = sub(x[c0], y[c0])\n"
                                 "  %6 = fma(%7, %7, %6)\n}\nout[0] = %5\nout[1] = %6\n");
    const int64_t size[1] = {2};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        for (int n = 0; n < 18; n++) {
            problem p = {.level = level, .is_double = n & 1};
            const int64_t count = counts[n / 2], stride = (count + 63) / 64 * 64;
            void *row = new_array(p.is_double, 2 * stride, -1, 1), *column = new_array(p.is_double, 2 * stride, -1, 1);
            void *u = new_array(p.is_double, 4, -1, 1), *out = new_array(p.is_double, 2 * stride, -1, 1);
            bbi_interp *interp = bbi_interp_new(&code, level, p.is_double, false, 0);
            void *workspace = bbi_alloc_aligned((size_t)bbi_interp_workspace(interp));
            bbi_interp_zip(interp, size, u, row, column, out, stride, count, workspace);
            for (int64_t e = 0; e < count; e++) {
                twin t = {.code = &code,
                          .is_double = p.is_double,
                          .size = size,
                          .uniform = u,
                          .row = row,
                          .column = column,
                          .row_stride = stride,
                          .column_stride = stride,
                          .r = e,
                          .c = e};
                twin_run(&t, 0);
                assert_near(&p, get(p.is_double, out, e), t.out[0],
                            1 + 8 * fabs(t.out[0])); /* the power loses digits */
                assert_near(&p, get(p.is_double, out, stride + e), t.out[1], 2);
            }
            bbi_free_aligned(workspace);
            bbi_interp_free(interp);
            bbi_free_aligned(row);
            bbi_free_aligned(column);
            bbi_free_aligned(out);
            bbi_free_aligned(u);
        }
    }
    bbi_code_free(&code);
}

static void no_memory_gives_null_and_leaks_nothing(void **state) {
    (void)state;
    bbi_code code = code_of_text(gaussian);
    const int64_t live = bbi_live_allocations();
    int64_t n = 0;
    for (bbi_interp *interp = NULL; !interp; n++) {
        bbi_fail_allocations_after(n);
        interp = bbi_interp_new(&code, 0, false, false, 1);
        bbi_fail_allocations_after(-1);
        bbi_interp_free(interp);
        assert_int_equal(bbi_live_allocations(), live);
    }
    assert_true(n > 5);
    bbi_code_free(&code);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gaussian_sum_is_right),
        cmocka_unit_test(a_gradient_is_right),
        cmocka_unit_test(outputs_and_several_sums_are_right),
        cmocka_unit_test(loops_are_right),
        cmocka_unit_test(nested_loops_choices_and_counts_are_right),
        cmocka_unit_test(values_cross_from_straight_code_to_choices_and_back),
        cmocka_unit_test(values_keep_their_tile_while_a_loop_needs_them),
        cmocka_unit_test(accumulators_that_are_assigned_again_are_not_fused),
        cmocka_unit_test(every_operation_is_right_on_every_kind_of_operand),
        cmocka_unit_test(bits_do_not_depend_on_how_casts_are_split),
        cmocka_unit_test(fusion_does_not_change_bits),
        cmocka_unit_test(fusion_does_not_change_the_bits_of_gradients),
        cmocka_unit_test(map_codes_compute_further_components),
        cmocka_unit_test(the_uniform_code_writes_its_compact_array_and_nothing_beyond),
        cmocka_unit_test(pair_lists_are_elementwise),
        cmocka_unit_test(no_memory_gives_null_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
