/* test_api.c: the public interface as a hostile caller uses it. Whatever is wrong with a call is answered by
 * a status and a message that names the operand, what was found and what to do; structures of other versions
 * are read as far as they go. Arrays have test_api_arrays.c. */
#include "refusal.h"

#include <limits.h>
#include <pthread.h>

/* ---- NULL and numbers out of range ---- */

static void making_things_refuses_null(void **state) {
    (void)state;
    bb_context *c;
    bb_program *p, *q;
    const char *const nothing[1] = {NULL};
    REFUSED(bb_context_new(NULL), BB_BAD_ARGUMENT, "context");
    bb_context_release(NULL);
    EXPECT_OK(bb_context_new(&c));
    REFUSED(bb_program_parse(NULL, "sum_j(y:j1)", NULL, 0, &p), BB_BAD_ARGUMENT, "context");
    REFUSED(bb_program_parse(c, NULL, NULL, 0, &p), BB_BAD_ARGUMENT, "formula");
    REFUSED(bb_program_parse(c, "sum_j(y:j1)", NULL, 0, NULL), BB_BAD_ARGUMENT, "program");
    REFUSED(bb_program_parse(c, "sum_j(y:j1)", NULL, 1, &p), BB_BAD_ARGUMENT, "declarations");
    REFUSED(bb_program_parse(c, "sum_j(y:j1)", NULL, -1, &p), BB_BAD_ARGUMENT, "-1 declarations");
    REFUSED(bb_program_parse(c, "sum_j(y)", nothing, 1, &p), BB_BAD_ARGUMENT, "declaration", "NULL");
    assert_null(p);
    REFUSED(bb_program_parse(c, "", NULL, 0, &p), BB_BAD_SYNTAX, "^");
    REFUSED(bb_program_parse(c, "x:i3 * y:j3", NULL, 0, &p), BB_BAD_SHAPE, "output 0", "both i and j", "sum_j");
    REFUSED(bb_program_parse(c, "sum_j(x:i0)", NULL, 0, &p), BB_BAD_SHAPE, "dimension");
    REFUSED(bb_program_parse(c, "sum_j(x:i99999999999)", NULL, 0, &p), BB_BAD_SYNTAX, "x:i3");
    EXPECT_OK(bb_program_parse(c, "argmin_j(y:j1 * x:i1)", NULL, 0, &p));
    int zero = 0, one[1] = {1}, minus[1] = {-1}, two[1] = {2};
    REFUSED(bb_grad(NULL, &zero, 1, NULL, 0, &q), BB_BAD_ARGUMENT, "program");
    REFUSED(bb_grad(p, &zero, 1, NULL, 0, NULL), BB_BAD_ARGUMENT, "gradient");
    REFUSED(bb_grad(p, one, 1, NULL, 0, &q), BB_NOT_DIFFERENTIABLE, "index");
    bb_program_release(p);
    EXPECT_OK(bb_program_parse(c, "sum_j(y:j1 * x:i1)", NULL, 0, &p));
    bb_status (*const derive[2])(const bb_program *, const int *, int, const int *, int, bb_program **) = {bb_grad,
                                                                                                           bb_diff};
    for (int k = 0; k < 2; k++) {
        REFUSED(derive[k](NULL, &zero, 1, NULL, 0, &q), BB_BAD_ARGUMENT, "program");
        REFUSED(derive[k](p, NULL, 1, NULL, 0, &q), BB_BAD_ARGUMENT, "variables");
        REFUSED(derive[k](p, &zero, 0, NULL, 0, &q), BB_BAD_ARGUMENT, "0 variables");
        REFUSED(derive[k](p, &zero, INT_MAX, NULL, 0, &q), BB_BAD_ARGUMENT, "at most");
        REFUSED(derive[k](p, minus, 1, NULL, 0, &q), BB_BAD_ARGUMENT, "variable -1", "has 2");
        REFUSED(derive[k](p, two, 1, NULL, 0, &q), BB_BAD_ARGUMENT, "variable 2");
        REFUSED(derive[k](p, &zero, 1, NULL, 1, &q), BB_BAD_ARGUMENT, "forward");
        REFUSED(derive[k](p, &zero, 1, one, 1, &q), BB_BAD_ARGUMENT, "forward output 1");
        REFUSED(derive[k](p, &zero, 1, one, -1, &q), BB_BAD_ARGUMENT, "forward");
        assert_null(q);
    }
    bb_program_release(p);
    bb_program_release(NULL);
    bb_program_retain(NULL);
    bb_context_release(c);
}

static void looking_at_things_refuses_null(void **state) {
    run_case *c = *state;
    bb_variable_info variable;
    bb_output_info output;
    bb_op_info op;
    bb_reduction_info reduction;
    char *text;
    REFUSED(bb_program_variable(NULL, 0, &variable), BB_BAD_ARGUMENT, "variable");
    REFUSED(bb_program_variable(c->program, 4, &variable), BB_BAD_ARGUMENT, "variable 4");
    REFUSED(bb_program_variable(c->program, -1, &variable), BB_BAD_ARGUMENT, "variable -1");
    REFUSED(bb_program_variable(c->program, 0, NULL), BB_BAD_ARGUMENT, "variable");
    REFUSED(bb_program_output(NULL, 0, &output), BB_BAD_ARGUMENT, "output");
    REFUSED(bb_program_output(c->program, 1, &output), BB_BAD_ARGUMENT, "output 1");
    REFUSED(bb_program_output(c->program, 0, NULL), BB_BAD_ARGUMENT, "output");
    REFUSED(bb_program_show(NULL, "dag", BB_FLOAT32, &text), BB_BAD_ARGUMENT, "program");
    REFUSED(bb_program_show(c->program, NULL, BB_FLOAT32, &text), BB_BAD_ARGUMENT, "what");
    REFUSED(bb_program_show(c->program, "dag", BB_FLOAT32, NULL), BB_BAD_ARGUMENT, "text");
    REFUSED(bb_program_show(c->program, "colour", BB_FLOAT32, &text), BB_BAD_ARGUMENT, "colour", "plan");
    assert_null(text);
    bb_program *selected = NULL;
    int output_zero = 0, output_one = 1;
    REFUSED(bb_program_select(NULL, &output_zero, 1, &selected), BB_BAD_ARGUMENT, "NULL");
    REFUSED(bb_program_select(c->program, NULL, 1, &selected), BB_BAD_ARGUMENT, "NULL");
    REFUSED(bb_program_select(c->program, &output_zero, 0, &selected), BB_BAD_ARGUMENT, "0 outputs");
    REFUSED(bb_program_select(c->program, &output_one, 1, &selected), BB_BAD_ARGUMENT, "output 1");
    REFUSED(bb_op(-1, &op), BB_BAD_ARGUMENT, "-1");
    REFUSED(bb_op(bb_op_count(), &op), BB_BAD_ARGUMENT, "operation");
    REFUSED(bb_op(0, NULL), BB_BAD_ARGUMENT, "operation");
    REFUSED(bb_reduction(bb_reduction_count(), &reduction), BB_BAD_ARGUMENT, "reduction");
    REFUSED(bb_reduction(-1, &reduction), BB_BAD_ARGUMENT, "reduction");
    REFUSED(bb_doctor(NULL), BB_BAD_ARGUMENT, "text");
    assert_true(bb_get_statistics(NULL) == BB_BAD_ARGUMENT);
    assert_int_equal(bb_program_variable_count(NULL), 0);
    assert_int_equal(bb_program_output_count(NULL), 0);
    assert_null(bb_program_expr(NULL, 0));
    assert_null(bb_program_expr(c->program, 1));
    assert_null(bb_program_expr(c->program, -1));
    assert_true(bb_program_cost(NULL) == 0);
    assert_int_equal(bb_expr_dim(NULL), 0);
    assert_int_equal(bb_expr_place(NULL), BB_NONE);
    assert_null(bb_kernel_program(NULL));
    assert_int_equal(bb_kernel_tier(NULL, BB_FLOAT32, NULL), BB_TARGET_INTERP);
    REFUSED(bb_kernel_wait(NULL), BB_BAD_ARGUMENT, "kernel");
    bb_kernel_retain(NULL);
    bb_kernel_release(NULL);
    bb_free(NULL);
    assert_string_equal(bb_status_text((bb_status)12345), "unknown status code");
    EXPECT_OK(bb_cache_info(NULL, NULL, NULL));
}

static void builders_pass_errors_on(void **state) {
    (void)state;
    bb_context *c, *other;
    bb_program *p;
    EXPECT_OK(bb_context_new(&c));
    EXPECT_OK(bb_context_new(&other));
    bb_expr x = bb_variable(c, 0, BB_I, 3), y = bb_variable(c, 1, BB_J, 3), foreign = bb_variable(other, 1, BB_J, 3);
    assert_true(x && y && foreign);
    REFUSED_EXPR(bb_variable(NULL, 0, BB_I, 3), "bb_variable", "context");
    REFUSED_EXPR(bb_number(NULL, 1), "bb_number", "context");
    REFUSED_EXPR(bb_variable(c, -1, BB_I, 3), "position -1");
    REFUSED_EXPR(bb_variable(c, 0, BB_IJ, 3), "place 3");
    REFUSED_EXPR(bb_variable(c, 0, (bb_axis)17, 3), "place 17");
    REFUSED_EXPR(bb_variable(c, 0, BB_I, 0), "dimension 0");
    REFUSED_EXPR(bb_variable(c, 0, BB_I, INT64_MAX), "dimension");
    REFUSED_EXPR(bb_apply(NULL, "add", (bb_expr[]){x, y}, 2, NULL, 0), "context");
    REFUSED_EXPR(bb_apply(c, "frobnicate", (bb_expr[]){x, y}, 2, NULL, 0), "frobnicate", "benben ops");
    REFUSED_EXPR(bb_apply(c, NULL, (bb_expr[]){x, y}, 2, NULL, 0), "benben ops");
    REFUSED_EXPR(bb_apply(c, "contract", (bb_expr[]){x, y}, 2, NULL, 0), "contract");
    REFUSED_EXPR(bb_apply(c, "add", NULL, 2, NULL, 0), "add");
    REFUSED_EXPR(bb_apply(c, "add", (bb_expr[]){x, y}, -1, NULL, 0), "add");
    REFUSED_EXPR(bb_apply(c, "add", (bb_expr[]){x, y}, INT_MAX, NULL, 0), "add", "2");
    REFUSED_EXPR(bb_apply(c, "add", (bb_expr[]){x}, 1, NULL, 0), "add", "2 operands", "1");
    REFUSED_EXPR(bb_apply(c, "elem", (bb_expr[]){x}, 1, NULL, 1), "elem");
    REFUSED_EXPR(bb_apply(c, "elem", (bb_expr[]){x}, 1, (const int64_t[]){INT64_MIN}, 1), "elem", "dimension 3");
    REFUSED_EXPR(bb_apply(c, "slice", (bb_expr[]){x}, 1, (const int64_t[]){0, INT64_MAX, INT64_MAX}, 3), "slice");
    REFUSED_EXPR(bb_apply(c, "pad", (bb_expr[]){x}, 1, (const int64_t[]){INT64_MAX - 1, INT64_MAX, 1}, 3), "pad");
    REFUSED_EXPR(bb_apply(c, "add", (bb_expr[]){x, bb_variable(c, 2, BB_J, 2)}, 2, NULL, 0), "dimensions 3 and 2");
    REFUSED_EXPR(bb_apply(c, "add", (bb_expr[]){x, foreign}, 2, NULL, 0), "operand 1", "another context");
    REFUSED_EXPR(bb_reduce(c, "sum", BB_J, foreign, NULL, 0), "another context");
    REFUSED_EXPR(bb_reduce(c, "summ", BB_J, x, NULL, 0), "summ", "benben ops");
    REFUSED_EXPR(bb_reduce(c, "sum", BB_NONE, x, NULL, 0), "axis 0");
    REFUSED_EXPR(bb_reduce(c, "sum", (bb_axis)4, x, NULL, 0), "axis 4");
    REFUSED_EXPR(bb_reduce(c, "sum", BB_J, x, y, 0), "sum", "second");
    REFUSED_EXPR(bb_reduce(c, "logsumexpweight", BB_J, bb_number(c, 1), NULL, 0), "weight");
    REFUSED_EXPR(bb_reduce(c, "logsumexp", BB_J, x, NULL, 0), "dimension 3", "scalar");
    REFUSED_EXPR(bb_reduce(c, "kmin", BB_J, x, NULL, 0), "K is 0");
    REFUSED_EXPR(bb_reduce(c, "kmin", BB_J, x, NULL, INT64_MAX), "K is too large");
    REFUSED_EXPR(bb_reduce_listed(c, BB_J, x, bb_apply(c, "neg", &x, 1, NULL, 0)), "list", "argmin");
    REFUSED_EXPR(bb_reduce_listed(c, BB_IJ, x, y), "axis");
    REFUSED_EXPR(bb_reduce_custom(c, NULL, BB_J, x), "definition");
    bb_reduction_definition definition = {.size = 0};
    REFUSED_EXPR(bb_reduce_custom(c, &definition, BB_J, x), "size");
    bb_clear_error();
    assert_null(bb_reduce(c, "sum", BB_J, NULL, NULL, 0));
    assert_null(bb_reduce_listed(c, BB_J, NULL, NULL));
    assert_null(bb_apply(c, "add", (bb_expr[]){x, NULL}, 2, NULL, 0));
    const bb_variable_info signature[2] = {{"x", BB_I, 3, 0}, {"y", BB_J, 3, 0}};
    bb_expr sum = bb_reduce(c, "sum", BB_J, bb_apply(c, "mul", (bb_expr[]){x, y}, 2, NULL, 0), NULL, 0), none = NULL;
    bb_clear_error();
    REFUSED(bb_program_new(c, signature, 2, &none, 1, &p), BB_BAD_ARGUMENT, "output 0", "NULL");
    assert_null(bb_apply(c, "frobnicate", &x, 1, NULL, 0));
    REFUSED(bb_program_new(c, signature, 2, &none, 1, &p), BB_UNKNOWN_NAME, "frobnicate", "output 0");
    REFUSED(bb_program_new(c, signature, 2, &sum, 0, &p), BB_BAD_ARGUMENT, "0 outputs");
    REFUSED(bb_program_new(c, signature, 2, &sum, INT_MAX, &p), BB_BAD_ARGUMENT, "outputs 1 to");
    REFUSED(bb_program_new(c, signature, -1, &sum, 1, &p), BB_BAD_ARGUMENT, "-1 variables");
    REFUSED(bb_program_new(c, NULL, 2, &sum, 1, &p), BB_BAD_ARGUMENT, "signature");
    REFUSED(bb_program_new(c, signature, 1, &sum, 1, &p), BB_BAD_ARGUMENT, "variable 1", "1 variables");
    REFUSED(bb_program_new(other, signature, 2, &sum, 1, &p), BB_BAD_ARGUMENT, "output 0", "another context");
    REFUSED(bb_program_new(c, signature, 2, &x, 1, NULL), BB_BAD_ARGUMENT, "program");
    bb_variable_info wrong[2] = {{"x", BB_I, 4, 0}, {"y", BB_J, 3, 0}};
    REFUSED(bb_program_new(c, wrong, 2, &sum, 1, &p), BB_BAD_SHAPE, "variable 0", "dimension 3", "4");
    wrong[0] = (bb_variable_info){"x", (bb_axis)9, 3, 0};
    REFUSED(bb_program_new(c, wrong, 2, &sum, 1, &p), BB_BAD_ARGUMENT, "variable 0", "place");
    wrong[0] = (bb_variable_info){"x", BB_I, INT64_MIN, 0};
    REFUSED(bb_program_new(c, wrong, 2, &sum, 1, &p), BB_BAD_ARGUMENT, "variable 0", "dimension");
    bb_expr product = bb_apply(c, "mul", (bb_expr[]){x, y}, 2, NULL, 0);
    REFUSED(bb_program_new(c, signature, 2, &product, 1, &p), BB_BAD_SHAPE, "output 0", "never stored");
    EXPECT_OK(bb_program_new(c, signature, 2, &sum, 1, &p));
    bb_program_release(p);
    bb_context_release(other);
    bb_context_release(c);
}

/* ---- options ---- */

static void structures_of_other_versions(void **state) {
    run_case *c = *state;
    struct {
        bb_run_options now;
        char later[64];
    } newer = {.now = {.size = sizeof newer, .threads = 1}};
    memset(newer.later, 0xff, sizeof newer.later);
    EXPECT_OK(case_run(c, &newer.now));
    bb_run_options older = {.size = offsetof(bb_run_options, ranges), .threads = 1};
    memset((char *)&older + older.size, 0xff, sizeof older - older.size);
    EXPECT_OK(case_run(c, &older));
    older.size = 0;
    REFUSED(case_run(c, &older), BB_BAD_ARGUMENT, "size", "sizeof");
    bb_kernel *kernel;
    bb_compile_options compile = {.size = offsetof(bb_compile_options, policy), .target = BB_TARGET_INTERP};
    memset((char *)&compile + compile.size, 0xff, sizeof compile - compile.size);
    EXPECT_OK(bb_compile(c->program, &compile, &kernel));
    bb_kernel_release(kernel);
    compile.size = 0;
    REFUSED(bb_compile(c->program, &compile, &kernel), BB_BAD_ARGUMENT, "size");
    compile.size = SIZE_MAX;
    REFUSED(bb_compile(c->program, &compile, &kernel), BB_BAD_ARGUMENT, "size");
    compile = (bb_compile_options){.size = sizeof compile, .target = (bb_target)7};
    REFUSED(bb_compile(c->program, &compile, &kernel), BB_BAD_ARGUMENT, "target 7");
    compile = (bb_compile_options){.size = sizeof compile, .policy = (bb_policy)-1};
    REFUSED(bb_compile(c->program, &compile, &kernel), BB_BAD_ARGUMENT, "policy");
    compile = (bb_compile_options){.size = sizeof compile, .sum_scheme = (bb_sum_scheme)4};
    REFUSED(bb_compile(c->program, &compile, &kernel), BB_BAD_ARGUMENT, "scheme 4");
    struct {
        bb_statistics now;
        int64_t guard;
    } statistics = {.now = {.size = offsetof(bb_statistics, disk_hits)}, .guard = 5};
    statistics.now.disk_hits = 1234;
    EXPECT_OK(bb_get_statistics(&statistics.now));
    assert_true(statistics.now.disk_hits == 1234 && statistics.guard == 5 && statistics.now.compiles >= 0);
    statistics.now.size = 0;
    REFUSED(bb_get_statistics(&statistics.now), BB_BAD_ARGUMENT, "size");
}

static void run_options_out_of_range(void **state) {
    run_case *c = *state;
    const int64_t all[] = {0, 5}, slices[] = {1}, columns[] = {0, 7};
    bb_run_options o = {.size = sizeof o, .threads = -1};
    REFUSED(case_run(c, &o), BB_BAD_ARGUMENT, "-1 threads");
    o = (bb_run_options){.size = sizeof o, .rows_i = -5};
    REFUSED(case_run(c, &o), BB_BAD_ARGUMENT, "negative", "rows");
    o = (bb_run_options){.size = sizeof o, .rows_i = 6};
    REFUSED(case_run(c, &o), BB_BAD_SHAPE, "input 0 'x' has 5 rows", "rows_i = 6");
    o = (bb_run_options){.size = sizeof o, .device_type = 2};
    REFUSED(case_run(c, &o), BB_DEVICE, "device type 2");
    o = (bb_run_options){.size = sizeof o, .threads = INT_MAX};
    EXPECT_OK(case_run(c, &o));
    bb_ranges ranges = {.size = 0, .count_i = 1, .ranges_i = all, .slices_i = slices, .reduced_j = columns};
    o = (bb_run_options){.size = sizeof o, .ranges = &ranges};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "size");
    ranges.size = sizeof ranges;
    EXPECT_OK(case_run(c, &o));
    o.ranges_count = 3;
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "3 structures", "1 batch");
    o.ranges_count = -1;
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "-1");
    o.ranges_count = 1;
    ranges.count_i = -1;
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "-1 clusters");
    ranges.count_i = 1, ranges.ranges_i = NULL;
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "ranges_i");
    ranges.ranges_i = all, ranges.reduced_j = NULL;
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "reduced_j");
    ranges.reduced_j = (const int64_t[]){0, 8};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "reduced_j[0]", "[0, 8)", "<= 7");
    ranges.reduced_j = (const int64_t[]){-1, 3};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "reduced_j[0]", "[-1, 3)");
    ranges.reduced_j = (const int64_t[]){4, 3};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "[4, 3)");
    ranges.reduced_j = columns, ranges.ranges_i = (const int64_t[]){0, 6};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "ranges_i[0]", "<= 5");
    ranges.ranges_i = (const int64_t[]){0, 3, 2, 5}, ranges.count_i = 2, ranges.slices_i = (const int64_t[]){1, 1};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "ranges_i", "row 2", "overlap");
    ranges.slices_i = (const int64_t[]){1, 0};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "slices_i[1]", "never decrease");
    ranges.slices_i = (const int64_t[]){-1, 0};
    REFUSED(case_run(c, &o), BB_BAD_RANGES, "slices_i[0]");
}

static void rows_that_no_input_tells(void **state) {
    (void)state;
    run_case c;
    bb_run_options o = {.size = sizeof o, .rows_j = 4};
    case_open(&c, "sum_j(x:i1 * x * _one_j)", BB_FLOAT64, &interpreted);
    case_size(&c, 3, 0);
    EXPECT_OK(case_run(&c, &o));
    for (int k = 0; k < 3; k++) {
        double x = ((double *)c.input[0].data)[k];
        assert_true(((double *)c.output[0].data)[k] == 4 * x * x);
    }
    case_close(&c);
    case_open(&c, "sum_i(exp(sum_j(y:j1 * _one_i)) + argmin_j(y * _one_i))", BB_FLOAT64, &interpreted);
    case_size(&c, 0, 3);
    o = (bb_run_options){.size = sizeof o, .rows_i = INT64_MAX / 2};
    REFUSED(case_run(&c, &o), BB_OUT_OF_MEMORY, "bytes");
    case_close(&c);
}

/* ---- systems ---- */

static void solves_refuse_what_runs_refuse(void **state) {
    (void)state;
    run_case c;
    static const int64_t wrong[] = {7, 1};
    bb_solve_options o = {.size = sizeof o, .alpha = 1};
    struct {
        size_t size;
        int64_t iterations;
        int64_t guard;
    } result = {.size = offsetof(bb_solve_result, residual), .guard = 9};
    case_open(&c, "sum_j(exp(-sqdist(x:i2, y:j2)) * b:j1)", BB_FLOAT64, &interpreted);
    case_size(&c, 6, 6);
    memcpy(c.input[1].data, c.input[0].data, case_bytes(&c.input[0]));
    bb_array in[3] = {c.input[0], c.input[1], c.input[2]}, out = c.output[0];
    EXPECT_OK(bb_solve(c.kernel, in, 3, 2, &out, &o, (bb_solve_result *)(void *)&result));
    assert_true(result.guard == 9 && result.iterations > 0);
    REFUSED(bb_solve(NULL, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "kernel");
    REFUSED(bb_solve(c.kernel, NULL, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "inputs");
    REFUSED(bb_solve(c.kernel, in, 3, 2, NULL, &o, NULL), BB_BAD_ARGUMENT, "output");
    REFUSED(bb_solve(c.kernel, in, 2, 1, &out, &o, NULL), BB_BAD_ARGUMENT, "2 inputs", "3 variables");
    REFUSED(bb_solve(c.kernel, in, 3, 3, &out, &o, NULL), BB_BAD_ARGUMENT, "unknown 3");
    REFUSED(bb_solve(c.kernel, in, 3, -1, &out, &o, NULL), BB_BAD_ARGUMENT, "unknown -1");
    REFUSED(bb_solve(c.kernel, in, 3, 1, &out, &o, NULL), BB_BAD_SHAPE, "variable 1", "'y'");
    o.alpha = -1;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "alpha is -1");
    o.alpha = NAN;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "alpha");
    o = (bb_solve_options){.size = sizeof o, .method = (bb_solve_method)3};
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "method 3");
    o = (bb_solve_options){.size = sizeof o, .precondition = (bb_precondition)9};
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "preconditioner 9");
    o = (bb_solve_options){.size = sizeof o, .rank = -1};
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "rank");
    o = (bb_solve_options){.size = 3};
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, &o, NULL), BB_BAD_ARGUMENT, "size");
    in[2].shape = NULL;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_ARGUMENT, "input 2 'b'", "shape");
    in[2] = c.input[2], in[2].data = NULL;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_ARGUMENT, "input 2 'b'", "null");
    in[2] = c.input[2], in[2].dtype_bits = 13;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_DTYPE, "input 2 'b'");
    in[2] = c.input[2], in[2].dtype_code = 0;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_DTYPE, "int64");
    in[2] = c.input[2], in[2].shape = wrong;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_SHAPE, "input 2 'b' has 7 rows");
    in[2] = c.input[2];
    out.data = NULL;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_ARGUMENT, "output", "null");
    out = c.output[0], out.shape = wrong;
    REFUSED(bb_solve(c.kernel, in, 3, 2, &out, NULL, NULL), BB_BAD_SHAPE, "output 0", "(7, 1)", "(6, 1)");
    case_close(&c);
}

/* ---- errors ---- */

static void *fail_elsewhere(void *message) {
    bool silent = bb_last_error()[0] == '\0';
    bb_context_new(NULL);
    snprintf(message, 256, "%s%s", silent ? "" : "not silent: ", bb_last_error());
    return NULL;
}

static void errors_belong_to_their_thread(void **state) {
    run_case *c = *state;
    char there[256] = "";
    pthread_t thread;
    assert_int_equal(bb_kernel_wait(NULL), BB_BAD_ARGUMENT);
    char here[256];
    snprintf(here, sizeof here, "%s", bb_last_error());
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, there), 0);
    pthread_join(thread, NULL);
    assert_string_equal(there, "bb_context_new: context must not be NULL");
    assert_string_equal(bb_last_error(), here);
    EXPECT_OK(case_run(c, NULL));
    assert_string_equal(bb_last_error(), here);
    bb_clear_error();
    assert_string_equal(bb_last_error(), "");
    EXPECT_OK(case_run(c, NULL));
    assert_string_equal(bb_last_error(), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_things_refuses_null),     WITH_GAUSSIAN(looking_at_things_refuses_null),
        cmocka_unit_test(builders_pass_errors_on),        WITH_GAUSSIAN(structures_of_other_versions),
        WITH_GAUSSIAN(run_options_out_of_range),          cmocka_unit_test(rows_that_no_input_tells),
        cmocka_unit_test(solves_refuse_what_runs_refuse), WITH_GAUSSIAN(errors_belong_to_their_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
