/* run_case.h: a formula, a kernel of it and random arrays of given sizes, for the tests of runs. Inputs are
 * multiples of 1/4, so that squared distances are exact in any type: ties happen and are decided the same way
 * by the oracle. */
#ifndef RUN_CASE_H
#define RUN_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expr.h"

enum { CASE_MAX = 8 };
typedef struct run_case {
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    bb_dtype dtype;
    int64_t m, n;
    int inputs, outputs;
    bb_variable_info variable[CASE_MAX];
    bb_output_info info[CASE_MAX];
    bb_array input[CASE_MAX], output[CASE_MAX];
    int64_t input_shape[CASE_MAX][2], output_shape[CASE_MAX][2];
} run_case;

#define EXPECT_OK(expression)                                                                                          \
    do {                                                                                                               \
        bb_status status_ = (expression);                                                                              \
        if (status_ != BB_OK) fail_msg("%s: status %d: %s", #expression, (int)status_, bb_last_error());               \
    } while (0)

static inline int64_t case_rows(const run_case *c, bb_axis place) {
    return place == BB_I ? c->m : place == BB_J ? c->n : 1;
}

static inline size_t case_bytes(const bb_array *array) {
    size_t count = array->dtype_bits / 8;
    for (int k = 0; k < array->ndim; k++) count *= (size_t)array->shape[k];
    return count;
}

static inline double case_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 16 & 15) / 4 - 2;
}

static inline void case_open(run_case *c, const char *formula, bb_dtype dtype, const bb_compile_options *options) {
    memset(c, 0, sizeof *c);
    c->dtype = dtype;
    EXPECT_OK(bb_context_new(&c->context));
    EXPECT_OK(bb_program_parse(c->context, formula, NULL, 0, &c->program));
    EXPECT_OK(bb_compile(c->program, options, &c->kernel));
    c->inputs = bb_program_variable_count(c->program);
    c->outputs = bb_program_output_count(c->program);
    assert_true(c->inputs <= CASE_MAX && c->outputs <= CASE_MAX);
    for (int k = 0; k < c->inputs; k++) EXPECT_OK(bb_program_variable(c->program, k, &c->variable[k]));
    for (int k = 0; k < c->outputs; k++) EXPECT_OK(bb_program_output(c->program, k, &c->info[k]));
}

static inline bb_array case_array(bb_dtype dtype, bb_axis place, int64_t rows, int64_t dim, int64_t shape[2]) {
    shape[0] = place == BB_NONE ? dim : rows;
    shape[1] = dim;
    bb_array array = bb_array_of(NULL, dtype, place == BB_NONE ? 1 : 2, shape);
    array.data = malloc(case_bytes(&array) + 1);
    assert_non_null(array.data);
    memset(array.data, 0x7f, case_bytes(&array));
    return array;
}

static inline void case_free_arrays(run_case *c) {
    for (int k = 0; k < CASE_MAX; k++) {
        free(c->input[k].data);
        free(c->output[k].data);
        c->input[k].data = c->output[k].data = NULL;
    }
}

static inline void case_size(run_case *c, int64_t m, int64_t n) {
    uint32_t state = 12345;
    case_free_arrays(c);
    c->m = m;
    c->n = n;
    for (int k = 0; k < c->inputs; k++) {
        bb_axis place = c->variable[k].place;
        c->input[k] = case_array(c->dtype, place, case_rows(c, place), c->variable[k].dim, c->input_shape[k]);
        int64_t count = case_rows(c, place) * c->variable[k].dim;
        for (int64_t e = 0; e < count; e++) {
            double value = place == BB_NONE ? 1.5 : case_random(&state);
            if (c->dtype == BB_FLOAT64)
                ((double *)c->input[k].data)[e] = value;
            else
                ((float *)c->input[k].data)[e] = (float)value;
        }
    }
    for (int k = 0; k < c->outputs; k++)
        c->output[k] = case_array(c->info[k].is_index ? BB_INT64 : c->dtype, c->info[k].place,
                                  case_rows(c, c->info[k].place), c->info[k].dim, c->output_shape[k]);
}

static inline bb_status case_run(run_case *c, const bb_run_options *options) {
    return bb_run(c->kernel, c->input, c->inputs, c->output, c->outputs, options);
}

static inline void case_close(run_case *c) {
    case_free_arrays(c);
    bb_kernel_release(c->kernel);
    bb_program_release(c->program);
    bb_context_release(c->context);
}

static inline double case_element(const bb_array *array, int64_t e) {
    if (array->dtype_code == 0) return (double)((const int64_t *)array->data)[e];
    return array->dtype_bits == 64 ? ((const double *)array->data)[e] : (double)((const float *)array->data)[e];
}

/* Every output against the oracle: indices exactly, values relative to the largest of the output. */
static inline void case_check(run_case *c, double tolerance) {
    bbi_oracle_array variable[CASE_MAX], result[CASE_MAX];
    const bbi_node *root[CASE_MAX];
    for (int k = 0; k < c->inputs; k++) {
        bb_axis place = c->variable[k].place;
        variable[k] = (bbi_oracle_array){.rows = case_rows(c, place), .dim = c->variable[k].dim};
        variable[k].data = malloc((size_t)(variable[k].rows * variable[k].dim) * 8 + 8);
        for (int64_t e = 0; e < variable[k].rows * variable[k].dim; e++)
            variable[k].data[e] = case_element(&c->input[k], e);
    }
    for (int k = 0; k < c->outputs; k++) root[k] = bb_program_expr(c->program, k);
    EXPECT_OK(bbi_oracle(root, c->outputs, variable, c->inputs, c->m, c->n, result));
    for (int k = 0; k < c->outputs; k++) {
        int64_t count = case_rows(c, c->info[k].place) * c->info[k].dim;
        double scale = 1;
        for (int64_t e = 0; e < count; e++)
            if (isfinite(result[k].data[e])) scale = fmax(scale, fabs(result[k].data[e]));
        for (int64_t e = 0; e < count; e++) {
            double found = case_element(&c->output[k], e), wanted = result[k].data[e];
            double allowed = c->info[k].is_index ? 0 : tolerance * scale;
            bool same = found == wanted || fabs(found - wanted) <= allowed || (isnan(found) && isnan(wanted));
            if (!same)
                fail_msg("output %d, element %lld of %lld x %lld: found %.17g, wanted %.17g", k, (long long)e,
                         (long long)c->m, (long long)c->n, found, wanted);
        }
        bbi_free(result[k].data);
    }
    for (int k = 0; k < c->inputs; k++) free(variable[k].data);
}

/* Copies of all output bytes, to compare bits. Released with free. */
static inline char *case_bits(const run_case *c, size_t *length) {
    *length = 0;
    for (int k = 0; k < c->outputs; k++) *length += case_bytes(&c->output[k]);
    char *bits = malloc(*length + 1), *at = bits;
    for (int k = 0; k < c->outputs; k++) {
        memcpy(at, c->output[k].data, case_bytes(&c->output[k]));
        at += case_bytes(&c->output[k]);
    }
    return bits;
}

static inline void case_expect_bits(const run_case *c, const char *bits, const char *what) {
    size_t length;
    char *found = case_bits(c, &length);
    if (memcmp(found, bits, length) != 0)
        fail_msg("%s: other bits for %lld x %lld", what, (long long)c->m, (long long)c->n);
    free(found);
}

static inline void expect_refused(run_case *c, const bb_run_options *options, bb_status wanted, const char *word) {
    bb_status found = case_run(c, options);
    if (found != wanted || !strstr(bb_last_error(), word))
        fail_msg("wanted status %d and '%s', found %d: %s", (int)wanted, word, (int)found, bb_last_error());
}

#endif
