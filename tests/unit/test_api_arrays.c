/* test_api_arrays.c: arrays as a hostile caller gives them. A wrong one is named with what was found and
 * expected; what looks odd but has a meaning (strides of any sign, misaligned data, empty axes) works, and
 * memory that the caller did not offer stays untouched. */
#include "refusal.h"

#include <limits.h>

/* ---- arrays ---- */

static void runs_refuse_null_and_wrong_counts(void **state) {
    run_case *c = *state;
    int64_t shape[4];
    int ndim;
    bb_kernel *kernel;
    REFUSED(bb_compile(NULL, NULL, &kernel), BB_BAD_ARGUMENT, "program");
    REFUSED(bb_compile(c->program, NULL, NULL), BB_BAD_ARGUMENT, "kernel");
    REFUSED(bb_run(NULL, c->input, 4, c->output, 1, NULL), BB_BAD_ARGUMENT, "kernel");
    REFUSED(bb_run(c->kernel, NULL, 4, c->output, 1, NULL), BB_BAD_ARGUMENT, "inputs");
    REFUSED(bb_run(c->kernel, c->input, 4, NULL, 1, NULL), BB_BAD_ARGUMENT, "outputs");
    REFUSED(bb_run(c->kernel, c->input, 3, c->output, 1, NULL), BB_BAD_ARGUMENT, "3 inputs", "4 variables");
    REFUSED(bb_run(c->kernel, c->input, 5, c->output, 1, NULL), BB_BAD_ARGUMENT, "5 inputs");
    REFUSED(bb_run(c->kernel, c->input, -1, c->output, 1, NULL), BB_BAD_ARGUMENT, "-1 inputs");
    REFUSED(bb_run(c->kernel, c->input, 4, c->output, 0, NULL), BB_BAD_ARGUMENT, "0 outputs", "has 1");
    REFUSED(bb_run(c->kernel, c->input, 4, c->output, 2, NULL), BB_BAD_ARGUMENT, "2 outputs");
    REFUSED(bb_output_shape(NULL, c->input, 4, NULL, 0, shape, 4, &ndim), BB_BAD_ARGUMENT, "kernel");
    REFUSED(bb_output_shape(c->kernel, NULL, 4, NULL, 0, shape, 4, &ndim), BB_BAD_ARGUMENT, "inputs");
    REFUSED(bb_output_shape(c->kernel, c->input, 3, NULL, 0, shape, 4, &ndim), BB_BAD_ARGUMENT, "3 inputs",
            "4 variables");
    REFUSED(bb_output_shape(c->kernel, c->input, 4, NULL, 1, shape, 4, &ndim), BB_BAD_ARGUMENT, "output 1");
    REFUSED(bb_output_shape(c->kernel, c->input, 4, NULL, 0, NULL, 4, &ndim), BB_BAD_ARGUMENT, "shape");
    REFUSED(bb_output_shape(c->kernel, c->input, 4, NULL, 0, shape, 4, NULL), BB_BAD_ARGUMENT, "ndim");
    REFUSED(bb_output_shape(c->kernel, c->input, 4, NULL, 0, shape, 1, &ndim), BB_BAD_ARGUMENT, "2 dimensions",
            "room for 1");
    EXPECT_OK(bb_output_shape(c->kernel, c->input, 4, NULL, 0, shape, 4, &ndim));
    assert_true(ndim == 2 && shape[0] == 5 && shape[1] == 2);
}

/* Runs with one array replaced. Inputs are 0 to 3; 4 is the output. */
static bb_status run_with(run_case *c, int position, bb_array array) {
    bb_array input[4], output = position == 4 ? array : c->output[0];
    memcpy(input, c->input, sizeof input);
    if (position < 4) input[position] = array;
    return bb_run(c->kernel, input, 4, &output, 1, NULL);
}

static void arrays_of_wrong_shape_are_named(void **state) {
    run_case *c = *state;
    static const int64_t last[] = {5, 4}, rows[] = {8, 3}, flat[] = {15}, negative[] = {-5, 3}, huge[] = {INT64_MAX, 3},
                         batch2[] = {2, 7, 3}, batch3[] = {3, 5, 3},
                         deep[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 3}, two[] = {2}, result[] = {5, 3},
                         no_columns[] = {5, 0};
    bb_array x = c->input[0], y = c->input[1], s = c->input[2], a = c->output[0];
    x.shape = last;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "(5, 4)", "(..., M, 3)", "dimension");
    x.shape = no_columns;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "(5, 0)");
    y.shape = rows;
    REFUSED(run_with(c, 1, y), BB_BAD_SHAPE, "input 3 'b' has 7 rows", "input 1 'y' has 8", "j");
    x.shape = flat, x.ndim = 1;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "(15,)", "missing");
    x.ndim = 0;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "()", "missing");
    x.ndim = -3;
    REFUSED(run_with(c, 0, x), BB_BAD_ARGUMENT, "input 0 'x'", "shape");
    x.ndim = 2, x.shape = NULL;
    REFUSED(run_with(c, 0, x), BB_BAD_ARGUMENT, "input 0 'x'", "no shape");
    x.shape = negative;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "negative");
    x.shape = huge;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "memory");
    x.shape = deep, x.ndim = 16;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "16 dimensions", "at most");
    x.ndim = INT32_MAX;
    REFUSED(run_with(c, 0, x), BB_BAD_SHAPE, "input 0 'x'", "dimensions");
    s.shape = two;
    REFUSED(run_with(c, 2, s), BB_BAD_SHAPE, "input 2 's'", "(2,)", "(..., 1)");
    x = c->input[0], x.shape = batch3, x.ndim = 3;
    y = c->input[1], y.shape = batch2, y.ndim = 3;
    bb_array both[4] = {x, y, c->input[2], c->input[3]};
    REFUSED(bb_run(c->kernel, both, 4, c->output, 1, NULL), BB_BAD_SHAPE, "input 1 'y'", "(2,)", "(3,)", "broadcast");
    a.shape = result;
    REFUSED(run_with(c, 4, a), BB_BAD_SHAPE, "output 0", "(5, 3)", "(5, 2)", "bb_output_shape");
    a.ndim = 1;
    REFUSED(run_with(c, 4, a), BB_BAD_SHAPE, "output 0", "(5,)", "(5, 2)");
    a.ndim = 2, a.shape = NULL;
    REFUSED(run_with(c, 4, a), BB_BAD_ARGUMENT, "output 0", "no shape");
}

static void arrays_of_wrong_type_or_place_are_named(void **state) {
    run_case *c = *state;
    bb_array x = c->input[0], a = c->output[0];
    x.dtype_code = 0, x.dtype_bits = 64;
    REFUSED(run_with(c, 0, x), BB_BAD_DTYPE, "input 0 'x'", "int64", "float32");
    x.dtype_code = 2, x.dtype_bits = 64;
    REFUSED(run_with(c, 0, x), BB_BAD_DTYPE, "input 1 'y'", "float32", "input 0 'x'", "float64", "convert");
    for (int bits = 0; bits < 256; bits += 8)
        for (int code = 0; code < 8; code++) {
            bool known = (code == 2 && (bits == 16 || bits == 32 || bits == 64)) || (code == 4 && bits == 16) ||
                         (code == 0 && bits == 64);
            if (known) continue;
            x.dtype_code = (uint8_t)code, x.dtype_bits = (uint8_t)bits;
            REFUSED(run_with(c, 0, x), BB_BAD_DTYPE, "input 0 'x'", "not supported", "bfloat16");
        }
    x = c->input[0], x.dtype_lanes = 4;
    REFUSED(run_with(c, 0, x), BB_BAD_DTYPE, "input 0 'x'", "not supported");
    x = bb_array_of(x.data, (bb_dtype)99, 2, x.shape);
    REFUSED(run_with(c, 0, x), BB_BAD_DTYPE, "input 0 'x'", "not supported");
    x = c->input[0], x.device_type = 2;
    REFUSED(run_with(c, 0, x), BB_DEVICE, "input 0 'x'", "type 2", "CPU");
    x = c->input[0], x.data = NULL;
    REFUSED(run_with(c, 0, x), BB_BAD_ARGUMENT, "input 0 'x'", "null");
    a.data = NULL;
    REFUSED(run_with(c, 4, a), BB_BAD_ARGUMENT, "output 0", "null");
    a = c->output[0], a.device_type = 4;
    REFUSED(run_with(c, 4, a), BB_DEVICE, "output 0", "type 4");
    a = c->output[0], a.dtype_code = 0, a.dtype_bits = 64;
    REFUSED(run_with(c, 4, a), BB_BAD_DTYPE, "output 0", "int64", "float32");
    a.dtype_bits = 8;
    REFUSED(run_with(c, 4, a), BB_BAD_DTYPE, "output 0", "not supported");
    a = c->output[0], a.strides = (const int64_t[]){0, 1};
    REFUSED(run_with(c, 4, a), BB_BAD_ARGUMENT, "output 0", "stride 0", "dimension 0");
}

static void index_outputs_are_int64(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "argmin_j(sqdist(x:i2, y:j2)); min_j(sqdist(x, y))", BB_FLOAT32, &interpreted);
    case_size(&c, 4, 6);
    bb_array output[2] = {c.output[0], c.output[1]};
    output[0].dtype_code = 2;
    REFUSED(bb_run(c.kernel, c.input, 2, output, 2, NULL), BB_BAD_DTYPE, "output 0", "float64", "int64", "indices");
    output[0] = c.output[0];
    output[1].data = output[0].data;
    REFUSED(bb_run(c.kernel, c.input, 2, output, 2, NULL), BB_BAD_ARGUMENT, "output 1", "output 0", "memory");
    case_close(&c);
}

/* ---- odd but meaningful ---- */

static void run_and_expect(run_case *c, int position, bb_array array, const char *what) {
    size_t length;
    EXPECT_OK(case_run(c, NULL));
    char *bits = case_bits(c, &length);
    memset(c->output[0].data, 0x55, case_bytes(&c->output[0]));
    EXPECT_OK(run_with(c, position, array));
    case_expect_bits(c, bits, what);
    free(bits);
}

static void strides_of_any_sign_are_read(void **state) {
    run_case *c = *state;
    enum { N = 7, D = 3 };
    static float store[4 * N * D + 1];
    const float *y = c->input[1].data;
    const int64_t strides[][2] = {{D, 1}, {-D, 1}, {D, -1}, {-D, -1}, {1, N}, {-1, -N}, {2 * D, 2}, {-4 * D, 3}};
    for (size_t k = 0; k < sizeof strides / sizeof *strides; k++) {
        bb_array array = c->input[1];
        int64_t row = strides[k][0], step = strides[k][1],
                first = (row < 0 ? -row * (N - 1) : 0) + (step < 0 ? -step * (D - 1) : 0);
        for (int64_t j = 0; j < N; j++)
            for (int64_t d = 0; d < D; d++) store[first + row * j + step * d] = y[j * D + d];
        array.data = store;
        array.strides = strides[k];
        array.byte_offset = (uint64_t)first * sizeof *store;
        run_and_expect(c, 1, array, "strides of an input");
    }
    float one_row[D] = {0.25f, -0.5f, 1}, all_rows[N * D];
    for (int j = 0; j < N; j++) memcpy(all_rows + j * D, one_row, sizeof one_row);
    bb_array repeated = c->input[1];
    memcpy(c->input[1].data, all_rows, sizeof all_rows);
    repeated.data = one_row;
    repeated.strides = (const int64_t[]){0, 1};
    run_and_expect(c, 1, repeated, "stride 0");
}

static void strides_of_single_elements_are_ignored(void **state) {
    (void)state;
    run_case c;
    case_open(&c, "sum_j(x:i1 * y:j1)", BB_FLOAT32, &interpreted);
    case_size(&c, 1, 1);
    static const int64_t garbage[] = {INT64_MAX, INT64_MIN};
    EXPECT_OK(case_run(&c, NULL));
    float wanted = *(float *)c.output[0].data;
    c.input[0].strides = c.input[1].strides = c.output[0].strides = garbage;
    *(float *)c.output[0].data = 0;
    EXPECT_OK(case_run(&c, NULL));
    assert_true(*(float *)c.output[0].data == wanted);
    case_close(&c);
}

static void outputs_are_written_through_their_strides(void **state) {
    run_case *c = *state;
    enum { M = 5, E = 2 };
    float store[64], plain[M * E];
    const int64_t strides[][2] = {{-E, 1}, {E, -1}, {1, M}, {3 * E, 3}, {-4 * E, -4}};
    EXPECT_OK(case_run(c, NULL));
    memcpy(plain, c->output[0].data, sizeof plain);
    for (size_t k = 0; k < sizeof strides / sizeof *strides; k++) {
        bb_array output = c->output[0];
        int64_t row = strides[k][0], step = strides[k][1],
                first = (row < 0 ? -row * (M - 1) : 0) + (step < 0 ? -step * (E - 1) : 0), touched = 0;
        for (size_t e = 0; e < sizeof store / sizeof *store; e++) store[e] = 777;
        output.data = store;
        output.strides = strides[k];
        output.byte_offset = (uint64_t)first * sizeof *store;
        EXPECT_OK(run_with(c, 4, output));
        for (int64_t i = 0; i < M; i++)
            for (int64_t e = 0; e < E; e++) assert_true(store[first + row * i + step * e] == plain[i * E + e]);
        for (size_t e = 0; e < sizeof store / sizeof *store; e++) touched += store[e] != 777;
        assert_int_equal(touched, M * E);
    }
}

static void data_need_not_be_aligned(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int shift = 1; shift < 8; shift += 2) {
            run_case c;
            size_t length;
            static char x[400], b[400], a[400];
            case_open(&c, gaussian, type ? BB_FLOAT64 : BB_FLOAT32, &interpreted);
            case_size(&c, 5, 7);
            EXPECT_OK(case_run(&c, NULL));
            char *bits = case_bits(&c, &length);
            bb_array input[4] = {c.input[0], c.input[1], c.input[2], c.input[3]}, output = c.output[0];
            memcpy(x + shift, input[0].data, case_bytes(&input[0]));
            memcpy(b + shift, input[3].data, case_bytes(&input[3]));
            input[0].data = x + shift;
            input[3].data = b;
            input[3].byte_offset = (uint64_t)shift;
            output.data = a + shift;
            EXPECT_OK(bb_run(c.kernel, input, 4, &output, 1, NULL));
            assert_memory_equal(a + shift, bits, length);
            free(bits);
            case_close(&c);
        }
}

static void an_output_may_lie_on_an_input(void **state) {
    (void)state;
    run_case c;
    size_t length;
    case_open(&c, "sum_j(exp(-sqdist(x:i2, y:j2)) * y)", BB_FLOAT32, &interpreted);
    case_size(&c, 100, 100);
    EXPECT_OK(case_run(&c, NULL));
    char *bits = case_bits(&c, &length);
    bb_array output = c.output[0];
    output.data = c.input[0].data;
    EXPECT_OK(bb_run(c.kernel, c.input, 2, &output, 1, NULL));
    assert_memory_equal(output.data, bits, length);
    free(bits);
    case_close(&c);
}

static void empty_axes_need_no_memory(void **state) {
    run_case *c = *state;
    static const int64_t none3[] = {0, 3}, none2[] = {0, 2};
    bb_array input[4] = {c->input[0], bb_array_of(NULL, BB_FLOAT32, 2, none3), c->input[2],
                         bb_array_of(NULL, BB_FLOAT32, 2, none2)};
    EXPECT_OK(bb_run(c->kernel, input, 4, c->output, 1, NULL));
    for (int k = 0; k < 10; k++) assert_true(((float *)c->output[0].data)[k] == 0);
    bb_array nothing = bb_array_of(NULL, BB_FLOAT32, 2, none2);
    input[0] = bb_array_of(NULL, BB_FLOAT32, 2, none3);
    EXPECT_OK(bb_run(c->kernel, input, 4, &nothing, 1, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_GAUSSIAN(runs_refuse_null_and_wrong_counts),
        WITH_GAUSSIAN(arrays_of_wrong_shape_are_named),
        WITH_GAUSSIAN(arrays_of_wrong_type_or_place_are_named),
        cmocka_unit_test(index_outputs_are_int64),
        WITH_GAUSSIAN(strides_of_any_sign_are_read),
        cmocka_unit_test(strides_of_single_elements_are_ignored),
        WITH_GAUSSIAN(outputs_are_written_through_their_strides),
        cmocka_unit_test(data_need_not_be_aligned),
        cmocka_unit_test(an_output_may_lie_on_an_input),
        WITH_GAUSSIAN(empty_axes_need_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
