/* test_execute.c: runs of programs: values against the oracle over formulas, sizes, types and tiers; batches,
 * strides, pair lists; what is refused and with which words. */
#include "run_case.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_compile_options compiled = {.size = sizeof compiled, .target = BB_TARGET_CPU};

static const char *const formulas[] = {
    "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)",
    "sum_i(exp(-sqdist(x:i3, y:j3) / s:p1) * b:i2)",
    "sum_ij(exp(-sqdist(x:i3, y:j3)) * b:j2)",
    "sum_j(exp(-sqdist(x:i20, y:j20) / 64) * b:j12)",
    "logsumexp_j(-sqdist(x:i3, y:j3))",
    "logsumexp_j(-sqdist(x:i3, y:j3), b:j1 * b)",
    "sum_j(exp(-sqdist(x:i3, y:j3) - logsumexp_j(-sqdist(x, y))) * b:j2)",
    "sum_j(exp(-sqdist(x:i2, y:j2)) * b:j1); sum_j(x * y); max_j(x - y)",
    "exp(x:i3) + s:p1",
    "sum_j(x:i2 * y:j2 - 1) * x + s:p2",
};
static const char *const selections[] = {
    "argmin_j(sqdist(x:i3, y:j3))",     "min_argmin_j(sqdist(x:i3, y:j3))", "argmax_i(x:i2 * y:j2)",
    "argkmin_j(sqdist(x:i3, y:j3), 3)", "kmin_argkmin_j(x:i2 * y:j2, 2)",
};
static const int64_t sizes[][2] = {{1, 1},   {1, 0},    {0, 1},   {2, 3},   {63, 64},
                                   {64, 65}, {65, 257}, {3, 700}, {257, 2}, {300, 40}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void check_formula(const char *formula, bb_dtype dtype, int64_t least) {
    run_case a, b;
    case_open(&a, formula, dtype, &interpreted);
    case_open(&b, formula, dtype, &compiled);
    for (int k = 0; k < SIZES; k++) {
        if (sizes[k][0] < least || sizes[k][1] < least) continue;
        size_t length;
        case_size(&a, sizes[k][0], sizes[k][1]);
        case_size(&b, sizes[k][0], sizes[k][1]);
        EXPECT_OK(case_run(&a, NULL));
        EXPECT_OK(case_run(&b, NULL));
        case_check(&a, dtype == BB_FLOAT64 ? 1e-12 : 3e-5);
        char *bits = case_bits(&a, &length);
        case_expect_bits(&b, bits, formula);
        free(bits);
    }
    case_close(&a);
    case_close(&b);
}

static void values_agree_with_the_oracle_and_tiers_bit_for_bit(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof formulas / sizeof *formulas; k++) {
        check_formula(formulas[k], BB_FLOAT32, 0);
        check_formula(formulas[k], BB_FLOAT64, 0);
    }
}

static void selections_agree_with_the_oracle_ties_included(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof selections / sizeof *selections; k++) {
        check_formula(selections[k], BB_FLOAT32, k < 3 ? 0 : 3);
        check_formula(selections[k], BB_FLOAT64, k < 3 ? 0 : 3);
    }
}

static void long_axes_agree_with_the_oracle(void **state) {
    (void)state;
    static const char *const some[] = {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j2)", "logsumexp_j(-sqdist(x:i3, y:j3))",
                                       "argkmin_j(sqdist(x:i3, y:j3), 5)", "sum_ij(exp(-sqdist(x:i3, y:j3)) * b:j1)",
                                       "max_argmax_j(x:i1 * y:j1)"};
    static const int64_t shape[][2] = {{3, 20011}, {40, 3001}, {17, 9000}};
    for (size_t k = 0; k < sizeof some / sizeof *some; k++)
        for (size_t s = 0; s < 3; s++) {
            run_case c;
            case_open(&c, some[k], BB_FLOAT32, &interpreted);
            case_size(&c, shape[s][0], shape[s][1]);
            EXPECT_OK(case_run(&c, NULL));
            case_check(&c, 1e-5);
            case_close(&c);
        }
}

/* ---- summation ---- */

static void every_scheme_sums(void **state) {
    (void)state;
    for (int scheme = BB_SUM_BLOCK; scheme <= BB_SUM_DIRECT; scheme++)
        for (int wide = 0; wide < 2; wide++)
            for (int rows = 2; rows < 100; rows += 60) {
                bb_compile_options options = {.size = sizeof options,
                                              .target = BB_TARGET_INTERP,
                                              .sum_scheme = (bb_sum_scheme)scheme,
                                              .accumulate_double = wide};
                run_case c;
                case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j2)", BB_FLOAT32, &options);
                case_size(&c, rows, 3001);
                EXPECT_OK(case_run(&c, NULL));
                case_check(&c, 2e-5);
                case_close(&c);
            }
}

static void sums_of_many_terms_keep_their_accuracy(void **state) {
    (void)state;
    for (int rows = 1; rows < 80; rows += 39) {
        run_case c;
        double wanted = 0;
        case_open(&c, "sum_j(x:i1 * y:j1)", BB_FLOAT32, &interpreted);
        case_size(&c, rows, 300000);
        for (int64_t j = 0; j < c.n; j++) {
            float y = (float)(j % 97) / 97;
            ((float *)c.input[1].data)[j] = y;
            wanted += (double)y;
        }
        for (int64_t i = 0; i < c.m; i++) ((float *)c.input[0].data)[i] = 1;
        EXPECT_OK(case_run(&c, NULL));
        for (int64_t i = 0; i < c.m; i++) assert_true(fabs(case_element(&c.output[0], i) - wanted) < 2e-7 * wanted);
        case_close(&c);
    }
}

/* ---- batches and strides ---- */

static void batches_broadcast_as_in_numpy(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(exp(-sqdist(x:i2, y:j2) / s:p1) * logsumexp_j(-sqdist(x, y)))", BB_FLOAT64, &interpreted);
    enum { A = 3, B = 2, M = 5, N = 70 };
    double x[B * M * 2], y[A * N * 2], s[A] = {1, 2, 3}, out[A * B * M];
    uint32_t seed = 7;
    for (int k = 0; k < B * M * 2; k++) x[k] = case_random(&seed);
    for (int k = 0; k < A * N * 2; k++) y[k] = case_random(&seed);
    int64_t xs[] = {B, M, 2}, ys[] = {A, 1, N, 2}, ss[] = {A, 1, 1}, os[] = {A, B, M, 1};
    bb_array inputs[] = {bb_array_of(x, BB_FLOAT64, 3, xs), bb_array_of(y, BB_FLOAT64, 4, ys),
                         bb_array_of(s, BB_FLOAT64, 3, ss)};
    bb_array output = bb_array_of(out, BB_FLOAT64, 4, os);
    int64_t shape[4];
    int ndim;
    EXPECT_OK(bb_output_shape(c.kernel, inputs, 3, NULL, 0, shape, 4, &ndim));
    assert_int_equal(ndim, 4);
    assert_memory_equal(shape, os, sizeof os);
    EXPECT_OK(bb_run(c.kernel, inputs, 3, &output, 1, NULL));
    for (int a = 0; a < A; a++)
        for (int b = 0; b < B; b++) {
            double one[M];
            int64_t xs1[] = {M, 2}, ys1[] = {N, 2}, ss1[] = {1}, os1[] = {M, 1};
            bb_array single[] = {bb_array_of(x + b * M * 2, BB_FLOAT64, 2, xs1),
                                 bb_array_of(y + a * N * 2, BB_FLOAT64, 2, ys1),
                                 bb_array_of(s + a, BB_FLOAT64, 1, ss1)};
            bb_array result = bb_array_of(one, BB_FLOAT64, 2, os1);
            EXPECT_OK(bb_run(c.kernel, single, 3, &result, 1, NULL));
            assert_memory_equal(one, out + (a * B + b) * M, sizeof one);
        }
    case_close(&c);
}

/* More temporaries than are kept at once: the batch is cut into slabs. */
static void a_batch_with_large_temporaries_runs_in_parts(void **state) {
    (void)state;
    run_case c;
    enum { B = 5, M = 1100000 };
    case_open(&c, "sum_j(exp(x:i1 * y:j1 - logsumexp_j(x * y)) * y)", BB_FLOAT32, &interpreted);
    float *x = malloc(B * M * sizeof *x), *out = malloc(B * M * sizeof *out), *one = malloc(M * sizeof *one),
          y[2] = {1, 2};
    for (int64_t k = 0; k < (int64_t)B * M; k++) x[k] = (float)(k % 1009) / 512;
    int64_t xs[] = {B, M, 1}, ys[] = {2, 1};
    bb_array inputs[] = {bb_array_of(x, BB_FLOAT32, 3, xs), bb_array_of(y, BB_FLOAT32, 2, ys)};
    bb_array output = bb_array_of(out, BB_FLOAT32, 3, xs);
    EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, NULL));
    for (int64_t b = 0; b < B; b++) {
        inputs[0] = bb_array_of(x + b * M, BB_FLOAT32, 2, xs + 1);
        output = bb_array_of(one, BB_FLOAT32, 2, xs + 1);
        EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, NULL));
        assert_memory_equal(one, out + b * M, M * sizeof *one);
    }
    free(x), free(out), free(one);
    case_close(&c);
}

static void arrays_are_read_and_written_through_their_strides(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)", BB_FLOAT32, &interpreted);
    case_size(&c, 70, 90);
    EXPECT_OK(case_run(&c, NULL));
    float *x = c.input[0].data, *y = c.input[1].data, columns[3 * 70], backwards[90 * 3], wide[70 * 2];
    for (int i = 0; i < 70; i++)
        for (int d = 0; d < 3; d++) columns[d * 70 + i] = x[3 * i + d];
    for (int j = 0; j < 90; j++)
        for (int d = 0; d < 3; d++) backwards[(89 - j) * 3 + 2 - d] = y[3 * j + d];
    int64_t column_strides[] = {1, 70}, negative[] = {-3, -1}, apart[] = {2, 1};
    bb_array inputs[4], output = c.output[0];
    memcpy(inputs, c.input, sizeof inputs);
    inputs[0].data = columns;
    inputs[0].strides = column_strides;
    inputs[1].data = backwards;
    inputs[1].byte_offset = (90 * 3 - 1) * sizeof(float);
    inputs[1].strides = negative;
    output.data = wide;
    output.strides = apart;
    for (int k = 0; k < 140; k++) wide[k] = 77;
    EXPECT_OK(bb_run(c.kernel, inputs, 4, &output, 1, NULL));
    for (int i = 0; i < 70; i++) {
        assert_memory_equal(&wide[2 * i], (float *)c.output[0].data + i, sizeof(float));
        assert_true(wide[2 * i + 1] == 77);
    }
    case_close(&c);
}

static void stride_zero_repeats_an_input(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(x:i1 * y:j1)", BB_FLOAT32, &interpreted);
    case_size(&c, 3, 100);
    int64_t zero[] = {0, 1};
    c.input[1].strides = zero;
    ((float *)c.input[1].data)[0] = 0.5f;
    EXPECT_OK(case_run(&c, NULL));
    for (int i = 0; i < 3; i++) assert_true(case_element(&c.output[0], i) == 50 * case_element(&c.input[0], i));
    c.input[1].strides = NULL;
    c.output[0].strides = zero;
    assert_int_equal(case_run(&c, NULL), BB_BAD_ARGUMENT);
    case_close(&c);
}

static void an_output_may_be_an_input(void **state) {
    (void)state;
    run_case c;
    size_t length;
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * y)", BB_FLOAT32, &interpreted);
    case_size(&c, 200, 200);
    EXPECT_OK(case_run(&c, NULL));
    char *bits = case_bits(&c, &length);
    bb_array apart = c.output[0];
    c.output[0].data = c.input[1].data;
    EXPECT_OK(case_run(&c, NULL));
    case_expect_bits(&c, bits, "in place");
    free(bits);
    c.output[0] = apart;
    case_close(&c);
}

static void half_types_mix_with_float(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(x:i1 * y:j1)", BB_FLOAT32, &interpreted);
    uint16_t x[2] = {0x3c00, 0xc000} /* 1, -2 */, out[2];
    uint16_t y[3] = {0x3f80, 0x4040, 0x3f00} /* bfloat16: 1, 3, 0.5 */;
    int64_t xs[] = {2, 1}, ys[] = {3, 1};
    bb_array inputs[] = {bb_array_of(x, BB_FLOAT16, 2, xs), bb_array_of(y, BB_BFLOAT16, 2, ys)};
    bb_array output = bb_array_of(out, BB_FLOAT16, 2, xs);
    EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, NULL));
    assert_int_equal(out[0], 0x4480); /* 4.5 */
    assert_int_equal(out[1], 0xc880); /* -9 */
    case_close(&c);
}

/* ---- pair lists ---- */

static void listed_pairs_sum_to_both_sides(void **state) {
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        run_case c;
        memset(&c, 0, sizeof c);
        c.dtype = BB_FLOAT64;
        EXPECT_OK(bb_context_new(&c.context));
        bb_expr x = bb_variable(c.context, 0, BB_I, 2), y = bb_variable(c.context, 1, BB_J, 2);
        bb_expr pair[] = {x, y}, d = bb_apply(c.context, "sqdist", pair, 2, NULL, 0);
        bb_expr list = bb_reduce(c.context, "argkmin", BB_J, d, NULL, 4);
        bb_expr f = bb_apply(c.context, "mul", (bb_expr[]){x, y}, 2, NULL, 0);
        bb_expr outputs[] = {bb_reduce_listed(c.context, transposed ? BB_I : BB_J, f, list), list};
        bb_variable_info signature[] = {{"x", BB_I, 2, 0}, {"y", BB_J, 2, 0}};
        EXPECT_OK(bb_program_new(c.context, signature, 2, outputs, 2, &c.program));
        EXPECT_OK(bb_compile(c.program, &interpreted, &c.kernel));
        c.inputs = c.outputs = 2;
        for (int k = 0; k < 2; k++) {
            EXPECT_OK(bb_program_variable(c.program, k, &c.variable[k]));
            EXPECT_OK(bb_program_output(c.program, k, &c.info[k]));
        }
        case_size(&c, 300, 90);
        EXPECT_OK(case_run(&c, NULL));
        const int64_t *listed = c.output[1].data;
        const double *xs = c.input[0].data, *ys = c.input[1].data;
        int64_t rows = transposed ? c.n : c.m;
        double *wanted = calloc((size_t)(2 * rows), sizeof *wanted);
        for (int64_t i = 0; i < c.m; i++)
            for (int k = 0; k < 4; k++)
                for (int e = 0; e < 2; e++)
                    wanted[2 * (transposed ? listed[4 * i + k] : i) + e] +=
                        xs[2 * i + e] * ys[2 * listed[4 * i + k] + e];
        for (int64_t e = 0; e < 2 * rows; e++) assert_true(fabs(wanted[e] - case_element(&c.output[0], e)) < 1e-10);
        free(wanted);
        case_close(&c);
    }
}

/* ---- what is refused ---- */

static void bad_arrays_are_refused_by_name(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", BB_FLOAT32, &interpreted);
    case_size(&c, 20, 30);
    bb_array good[3];
    int64_t wrong_dim[] = {20, 4}, wrong_rows[] = {29, 1}, batch3[] = {3, 20, 3}, batch2[] = {2, 30, 3};
    memcpy(good, c.input, sizeof good);
    c.input[0].shape = wrong_dim;
    expect_refused(&c, NULL, BB_BAD_SHAPE, "input 0 'x' has the shape (20, 4), expected (..., M, 3)");
    c.input[0] = good[0];
    c.input[2].shape = wrong_rows;
    expect_refused(&c, NULL, BB_BAD_SHAPE, "input 2 'b' has 29 rows but input 1 'y' has 30");
    c.input[2] = good[2];
    c.input[0].shape = batch3, c.input[1].shape = batch2;
    c.input[0].ndim = c.input[1].ndim = 3;
    expect_refused(&c, NULL, BB_BAD_SHAPE, "input 1 'y' has the batch shape (2,)");
    c.input[0] = good[0], c.input[1] = good[1];
    c.input[1].dtype_bits = 64;
    expect_refused(&c, NULL, BB_BAD_DTYPE, "float64");
    c.input[1].dtype_code = 0;
    expect_refused(&c, NULL, BB_BAD_DTYPE, "input 1 'y' has the type int64");
    c.input[1] = good[1];
    c.input[1].device_type = 2;
    expect_refused(&c, NULL, BB_DEVICE, "input 1 'y'");
    c.input[1] = good[1];
    c.input[1].data = NULL;
    expect_refused(&c, NULL, BB_BAD_ARGUMENT, "input 1 'y' has no data");
    c.input[1].data = good[1].data;
    bb_array output = c.output[0];
    c.output[0].shape = wrong_rows;
    expect_refused(&c, NULL, BB_BAD_SHAPE, "output 0 has the shape (29, 1), expected (20, 1)");
    c.output[0] = output;
    c.output[0].dtype_code = 0, c.output[0].dtype_bits = 64;
    expect_refused(&c, NULL, BB_BAD_DTYPE, "output 0 has int64");
    c.output[0] = output;
    bb_run_options options = {.size = sizeof options, .rows_j = 31};
    expect_refused(&c, &options, BB_BAD_SHAPE, "rows_j = 31");
    case_close(&c);
}

static void more_smallest_values_than_columns_are_refused(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "argkmin_j(sqdist(x:i3, y:j3), 5)", BB_FLOAT32, &interpreted);
    case_size(&c, 3, 4);
    expect_refused(&c, NULL, BB_BAD_SHAPE, "K = 5");
    case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_agree_with_the_oracle_and_tiers_bit_for_bit),
        cmocka_unit_test(selections_agree_with_the_oracle_ties_included),
        cmocka_unit_test(long_axes_agree_with_the_oracle),
        cmocka_unit_test(every_scheme_sums),
        cmocka_unit_test(sums_of_many_terms_keep_their_accuracy),
        cmocka_unit_test(batches_broadcast_as_in_numpy),
        cmocka_unit_test(a_batch_with_large_temporaries_runs_in_parts),
        cmocka_unit_test(arrays_are_read_and_written_through_their_strides),
        cmocka_unit_test(stride_zero_repeats_an_input),
        cmocka_unit_test(an_output_may_be_an_input),
        cmocka_unit_test(half_types_mix_with_float),
        cmocka_unit_test(listed_pairs_sum_to_both_sides),
        cmocka_unit_test(bad_arrays_are_refused_by_name),
        cmocka_unit_test(more_smallest_values_than_columns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
