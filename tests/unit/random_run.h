/* random_run.h: a random program with arrays for it: made as the caller's program, and in a raw context,
 * masked, for the oracle. Inputs are multiples of 1/64 below 2 in magnitude: the same number in every storage
 * type. */
#ifndef BENBEN_TEST_RANDOM_RUN_H
#define BENBEN_TEST_RANDOM_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "program.h"
#include "error_bound.h"
#include "random_program.h"

enum { RUN_INPUTS = 40, RUN_OUTPUTS = 24, RUN_CLUSTERS = 4 };

typedef struct random_run {
    random_program formula;
    uint64_t seed;
    bb_context *context, *raw;
    bb_program *program, *oracle;
    int inputs, outputs; /* of the program */
    int label;           /* the oracle has three inputs more from here on: row_label, column_label, nothing */
    int64_t m, n;
    double *value[RUN_INPUTS + 3]; /* as the oracle counts */
    bb_variable_info variable[RUN_INPUTS];
    bb_output_info info[RUN_OUTPUTS];
    bbi_oracle_array wanted[RUN_OUTPUTS], bound[RUN_OUTPUTS];
    int64_t bound_rows[RUN_OUTPUTS];
    /* ranges: clusters of rows and columns, and which meet */
    int64_t rows[2][RUN_CLUSTERS + 1];
    bool meet[RUN_CLUSTERS][RUN_CLUSTERS];
    int64_t ranges[2][2 * RUN_CLUSTERS], slices[2][RUN_CLUSTERS], partners[2][2 * RUN_CLUSTERS * RUN_CLUSTERS];
    bool sparse;
    bool moved; /* the simplified program has an output that depends on fewer axes */
} random_run;

static inline void run_fail(const random_run *r, const char *what) {
    fprintf(stderr, "seed %llu, %lld x %lld%s\n  %s\n", (unsigned long long)r->seed, (long long)r->m, (long long)r->n,
            r->sparse ? ", ranges" : "", r->formula.text[0]);
    for (int k = 0; k < r->inputs; k++)
        fprintf(stderr, "  %s:%c%lld\n", r->variable[k].name, "pij"[r->variable[k].place],
                (long long)r -> variable[k].dim);
    fail_msg("%s (%s)", what, bb_last_error());
}

#define RUN_OK(r, expression)                                                                                          \
    do {                                                                                                               \
        if ((expression) != BB_OK) run_fail(r, #expression);                                                           \
    } while (0)

static inline int64_t run_rows(const random_run *r, int place) {
    return place == BBI_I ? r->m : place == BBI_J ? r->n : 1;
}

static inline double *run_value(const random_run *r, int input) {
    return r->value[input < r->label ? input : input + 3];
}

static inline void run_describe(random_run *r) {
    r->inputs = bb_program_variable_count(r->program);
    r->outputs = bb_program_output_count(r->program);
    assert_true(r->outputs <= RUN_OUTPUTS && r->inputs <= RUN_INPUTS);
    for (int k = 0; k < r->inputs; k++) RUN_OK(r, bb_program_variable(r->program, k, &r->variable[k]));
    for (int k = 0; k < r->outputs; k++) RUN_OK(r, bb_program_output(r->program, k, &r->info[k]));
}

/* Both programs of the formula. */
static inline void run_start(random_run *r) {
    static char declaration[RUN_INPUTS + 3][64];
    const char *pointer[RUN_INPUTS + 3];
    int count = r->label = r->formula.variables;
    for (int k = 0; k < count; k++) {
        const random_variable *v = &r->formula.variable[k];
        snprintf(declaration[k], sizeof declaration[k], "%s:%c%d", v->name, "pij"[v->place], v -> dim);
        pointer[k] = declaration[k];
    }
    snprintf(declaration[count], 64, "row_label:i%d", RUN_CLUSTERS);
    snprintf(declaration[count + 1], 64, "column_label:j%d", RUN_CLUSTERS);
    snprintf(declaration[count + 2], 64, "nothing:p2");
    for (int k = 0; k < 3; k++) pointer[count + k] = declaration[count + k];
    RUN_OK(r, bb_context_new(&r->context));
    RUN_OK(r, bb_context_new(&r->raw));
    r->raw->raw = true;
    RUN_OK(r, bb_program_parse(r->context, r->formula.text[0], pointer, count, &r->program));
    RUN_OK(r, bb_program_parse(r->raw, r->formula.text[1], pointer, count + 3, &r->oracle));
    run_describe(r);
    for (int k = 0; k < r->outputs; k++) {
        bb_output_info raw;
        RUN_OK(r, bb_program_output(r->oracle, k, &raw));
        r->moved = r->moved || raw.place != r->info[k].place;
    }
}

static inline void run_open(random_run *r, uint64_t seed, bool smooth, bool firm, int depth, int outputs) {
    memset(r, 0, sizeof *r);
    r->seed = seed;
    random_formula(&r->formula, seed, smooth, firm, depth, outputs);
    run_start(r);
}

static inline void run_clear(random_run *r) {
    for (int k = 0; k < RUN_INPUTS + 3; k++) free(r->value[k]), r->value[k] = NULL;
    for (int k = 0; k < RUN_OUTPUTS; k++) {
        bbi_free(r->wanted[k].data), r->wanted[k].data = NULL;
        bbi_free(r->bound[k].data), r->bound[k].data = NULL;
    }
}

static inline void run_close(random_run *r) {
    run_clear(r);
    bb_program_release(r->program);
    bb_program_release(r->oracle);
    bb_context_release(r->context);
    bb_context_release(r->raw);
    random_free(&r->formula);
}

/* ---- inputs ---- */

/* Clusters of rows (side 0) and columns (side 1) with random borders, some of them empty; each meets some of
 * the other side's. The intervals of a cluster may be written in two pieces. */
static inline void run_ranges(random_run *r) {
    for (int side = 0; side < 2; side++) {
        int64_t count = side ? r->n : r->m;
        for (int c = 0; c <= RUN_CLUSTERS; c++)
            r->rows[side][c] = c == RUN_CLUSTERS ? count : c ? below(&r->formula, (int)count + 1) : 0;
        for (int a = 1; a < RUN_CLUSTERS; a++)
            for (int b = a + 1; b < RUN_CLUSTERS; b++)
                if (r->rows[side][b] < r->rows[side][a]) {
                    int64_t swap = r->rows[side][a];
                    r->rows[side][a] = r->rows[side][b], r->rows[side][b] = swap;
                }
    }
    int largest[2] = {0, 0};
    for (int side = 0; side < 2; side++)
        for (int c = 1; c < RUN_CLUSTERS; c++)
            if (r->rows[side][c + 1] - r->rows[side][c] >
                r->rows[side][largest[side] + 1] - r->rows[side][largest[side]])
                largest[side] = c;
    for (int a = 0; a < RUN_CLUSTERS; a++)
        for (int b = 0; b < RUN_CLUSTERS; b++)
            r->meet[a][b] = chance(&r->formula, 60) || (r->formula.smooth && (a == largest[0] || b == largest[1]));
    for (int side = 0; side < 2; side++) {
        int64_t pieces = 0;
        for (int a = 0; a < RUN_CLUSTERS; a++) {
            r->ranges[side][2 * a] = r->rows[side][a], r->ranges[side][2 * a + 1] = r->rows[side][a + 1];
            for (int b = 0; b < RUN_CLUSTERS; b++) {
                if (!(side ? r->meet[b][a] : r->meet[a][b])) continue;
                r->partners[side][2 * pieces] = r->rows[!side][b],
                                      r->partners[side][2 * pieces + 1] = r->rows[!side][b + 1];
                pieces++;
            }
            r->slices[side][a] = pieces;
        }
    }
}

static inline bb_ranges run_ranges_of(const random_run *r) {
    return (bb_ranges){.size = sizeof(bb_ranges),
                       .count_i = RUN_CLUSTERS,
                       .count_j = RUN_CLUSTERS,
                       .ranges_i = r->ranges[0],
                       .slices_i = r->slices[0],
                       .reduced_j = r->partners[0],
                       .ranges_j = r->ranges[1],
                       .slices_j = r->slices[1],
                       .reduced_i = r->partners[1]};
}

static inline int run_cluster(const random_run *r, int side, int64_t row) {
    for (int c = 0; c < RUN_CLUSTERS; c++)
        if (row >= r->rows[side][c] && row < r->rows[side][c + 1]) return c;
    return 0;
}

/* The labels whose product is 1 where a pair counts. */
static inline void run_labels(random_run *r) {
    int at = r->label;
    r->value[at] = calloc((size_t)r->m * RUN_CLUSTERS + 1, sizeof(double));
    r->value[at + 1] = calloc((size_t)r->n * RUN_CLUSTERS + 1, sizeof(double));
    r->value[at + 2] = calloc(2, sizeof(double));
    r->value[at + 2][0] = NAN, r->value[at + 2][1] = -INFINITY;
    for (int64_t i = 0; i < r->m; i++) r->value[at][i * RUN_CLUSTERS + (r->sparse ? run_cluster(r, 0, i) : 0)] = 1;
    for (int64_t j = 0; j < r->n; j++)
        for (int a = 0; a < RUN_CLUSTERS; a++)
            r->value[at + 1][j * RUN_CLUSTERS + a] = r->sparse ? r->meet[a][run_cluster(r, 1, j)] : 1;
}

/* Whether an output is folded over one axis and depends on neither: with ranges it is refused. */
static inline bool run_is_flat(random_run *r) {
    bb_compile_options options = {.size = sizeof options, .target = BB_TARGET_INTERP};
    bb_kernel *kernel;
    RUN_OK(r, bb_compile(r->program, &options, &kernel));
    bool flat = bbi_plan_is_flat(kernel->plan);
    bb_kernel_release(kernel);
    return flat;
}

/* grain: inputs are its multiples; 0: any number. */
static inline void run_draw(random_run *r, int64_t m, int64_t n, bool sparse, double grain) {
    run_clear(r);
    r->m = m, r->n = n, r->sparse = sparse && !run_is_flat(r);
    if (r->sparse) run_ranges(r);
    for (int k = 0; k < r->inputs; k++) {
        const random_variable *v = &r->formula.variable[k];
        bool own = k < r->formula.variables;
        int64_t count = run_rows(r, (int)r->variable[k].place) * r->variable[k].dim;
        double low = own ? v->low : -1, high = own ? v->high : 1, *value = malloc((size_t)count * sizeof(double) + 8);
        for (int64_t e = 0; e < count; e++) {
            double x = low + (high - low) * (double)(draw(&r->formula) >> 11) / 9007199254740992.0;
            value[e] = grain ? rint(x / grain) * grain : x;
        }
        r->value[k < r->label ? k : k + 3] = value;
    }
    run_labels(r);
}

/* ---- what is wanted ---- */
static inline bb_status run_oracle(random_run *r, const bbi_node *const *roots, int count, bbi_oracle_array *result) {
    bbi_oracle_array variable[RUN_INPUTS + 3];
    for (int k = 0; k < r->inputs; k++)
        variable[k < r->label ? k : k + 3] =
            (bbi_oracle_array){run_value(r, k), run_rows(r, (int)r->variable[k].place), r->variable[k].dim};
    double *const *label = r->value + r->label;
    variable[r->label] = (bbi_oracle_array){label[0], r->m, RUN_CLUSTERS};
    variable[r->label + 1] = (bbi_oracle_array){label[1], r->n, RUN_CLUSTERS};
    variable[r->label + 2] = (bbi_oracle_array){label[2], 1, 2};
    return bbi_oracle(roots, count, variable, r->inputs + 3, r->m, r->n, result);
}

static inline void run_want(random_run *r, double sum_factor) {
    const bbi_node *root[2 * RUN_OUTPUTS];
    bbi_oracle_array result[2 * RUN_OUTPUTS];
    for (int k = 0; k < r->outputs; k++) root[k] = bb_program_expr(r->oracle, k);
    RUN_OK(r, bound_errors(r->raw, root, r->outputs, sum_factor, root + r->outputs));
    RUN_OK(r, run_oracle(r, root, 2 * r->outputs, result));
    for (int k = 0; k < r->outputs; k++) {
        r->wanted[k] = result[k], r->bound[k] = result[r->outputs + k];
        r->bound_rows[k] = r->bound[k].rows;
    }
}

/* ---- storage ---- */
static inline size_t storage_bytes(bb_dtype dtype) {
    return dtype == BB_FLOAT64 || dtype == BB_INT64 ? 8 : dtype == BB_FLOAT32 ? 4 : 2;
}

static inline void store(void *data, bb_dtype dtype, int64_t e, double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    switch (dtype) {
    case BB_FLOAT64: ((double *)data)[e] = x; break;
    case BB_FLOAT32: ((float *)data)[e] = f; break;
    case BB_BFLOAT16: ((uint16_t *)data)[e] = (uint16_t)(bits >> 16); break; /* exact for the inputs drawn here */
    default: { /* float16: multiples of 1/64 below 2 are normal and exact */
        int exponent;
        double mantissa = frexp(fabs(x), &exponent);
        uint16_t half = x == 0 ? 0 : (uint16_t)((exponent + 14) << 10 | ((int)(mantissa * 2048) & 1023));
        ((uint16_t *)data)[e] = (uint16_t)(half | (x < 0 ? 0x8000 : 0));
    }
    }
}

static inline double load(const bb_array *array, int64_t e) {
    if (array->dtype_code == 0) return (double)((const int64_t *)array->data)[e];
    if (array->dtype_bits == 64) return ((const double *)array->data)[e];
    if (array->dtype_bits == 32) return ((const float *)array->data)[e];
    uint16_t h = ((const uint16_t *)array->data)[e];
    if (array->dtype_code == 4) {
        uint32_t bits = (uint32_t)h << 16;
        float f;
        memcpy(&f, &bits, sizeof f);
        return f;
    }
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double x = exponent == 31 ? (mantissa ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                              : ldexp(mantissa, -24);
    return h >> 15 ? -x : x;
}

typedef struct arrays { /* inputs and outputs of one run in given storage types */
    bb_array input[RUN_INPUTS], output[RUN_OUTPUTS];
    int64_t input_shape[RUN_INPUTS][2], output_shape[RUN_OUTPUTS][2];
    int inputs, outputs;
    bb_dtype result; /* type of the floating-point outputs */
} arrays;

static inline bb_array storage(bb_axis place, int64_t rows, int64_t dim, bb_dtype dtype, int64_t shape[2]) {
    shape[0] = place == BB_NONE ? dim : rows, shape[1] = dim;
    size_t bytes = (size_t)(rows * dim) * storage_bytes(dtype);
    bb_array a = bb_array_of(malloc(bytes + 8), dtype, place == BB_NONE ? 1 : 2, shape);
    memset(a.data, 0x5a, bytes + 8);
    return a;
}

/* types: one per input, used in turn */
static inline void arrays_open(arrays *a, const random_run *r, const bb_dtype *types, int type_count, bb_dtype result) {
    *a = (arrays){.inputs = r->inputs, .outputs = r->outputs, .result = result};
    for (int k = 0; k < r->inputs; k++) {
        bb_dtype type = types[k % type_count];
        int64_t rows = run_rows(r, (int)r->variable[k].place), dim = r->variable[k].dim;
        a->input[k] = storage(r->variable[k].place, rows, dim, type, a->input_shape[k]);
        for (int64_t e = 0; e < rows * dim; e++) store(a->input[k].data, type, e, run_value(r, k)[e]);
    }
    for (int k = 0; k < r->outputs; k++)
        a->output[k] = storage(r->info[k].place, run_rows(r, (int)r->info[k].place), r->info[k].dim,
                               r->info[k].is_index ? BB_INT64 : result, a->output_shape[k]);
}

static inline void arrays_close(arrays *a) {
    for (int k = 0; k < a->inputs; k++) free(a->input[k].data);
    for (int k = 0; k < a->outputs; k++) free(a->output[k].data);
}

static inline bb_status arrays_run(const random_run *r, arrays *a, bb_kernel *kernel, int threads) {
    bb_ranges ranges = run_ranges_of(r);
    bb_run_options options = {.size = sizeof options, .threads = threads, .rows_i = r->m, .rows_j = r->n};
    if (r->sparse) options.ranges = &ranges, options.ranges_count = 1;
    return bb_run(kernel, a->input, a->inputs, a->output, a->outputs, &options);
}

static inline double unit_roundoff(bb_dtype type) {
    return type == BB_FLOAT64 ? 0x1p-53 : type == BB_FLOAT32 ? 0x1p-24 : type == BB_FLOAT16 ? 0x1p-11 : 0x1p-8;
}

/* |found - wanted| <= 4 u E + the rounding of the result; indices exactly; a row of no column has the index
 * -1. */
static inline void arrays_check(random_run *r, const arrays *a, double u, const char *what) {
    /* A mean of nothing is NaN, a minimum inf: NaN is right where it left an empty sum as its factor. */
    static const char *const without_zero[] = {"mean_", "softmax", "min_", "max_", "logsum"};
    bool may_be_void = r->m * r->n == 0;
    for (int k = 0; k < 5 && r->sparse; k++) may_be_void = may_be_void || strstr(r->formula.text[0], without_zero[k]);
    for (int k = 0; k < r->outputs; k++) {
        int64_t rows = run_rows(r, (int)r->info[k].place), dim = r->info[k].dim;
        int64_t wanted_rows = r->wanted[k].rows;
        for (int64_t e = 0; e < rows * dim; e++) {
            double found = load(&a->output[k], e), wanted = r->wanted[k].data[wanted_rows == rows ? e : e % dim];
            double bound = r->bound[k].data[r->bound_rows[k] == rows ? e : e % dim];
            double allowed = r->info[k].is_index ? 0 : 4 * u * bound + (u < 1e-12 ? 1e-27 : 1e-36);
            if (!r->info[k].is_index)
                allowed += (a->output[k].dtype_bits == 16 ? 1.01 * unit_roundoff(a->result) : 0) * fabs(wanted) +
                           (a->output[k].dtype_bits == 16 ? 1e-7 : 0);
            bool same = found == wanted || fabs(found - wanted) <= allowed || (isnan(found) && isnan(wanted));
            bool half = a->output[k].dtype_bits == 16 && a->output[k].dtype_code == 2;
            double most = half ? 65000 : a->output[k].dtype_bits < 64 ? 3e38 : 1e308;
            if (fabs(wanted) > most) same = true; /* infinity, then */
            if (may_be_void && (isnan(found) || isnan(wanted))) same = true;
            if (same) continue;
            fprintf(stderr, "%s: output %d of %lld x %lld, element %lld: found %.17g, wanted %.17g, allowed %.3g\n",
                    what, k, (long long)rows, (long long)dim, (long long)e, found, wanted, allowed);
            run_fail(r, what);
        }
    }
}

static inline bool same_number(double x, double y) { return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y)); }

/* Equal bits, but that one NaN is as good as another. */
static inline void arrays_same(random_run *r, const arrays *a, const arrays *b, const char *what) {
    for (int k = 0; k < r->outputs; k++) {
        int64_t count = run_rows(r, (int)r->info[k].place) * r->info[k].dim;
        for (int64_t e = 0; e < count; e++) {
            double x = load(&a->output[k], e), y = load(&b->output[k], e);
            if (same_number(x, y)) continue;
            fprintf(stderr, "%s: output %d, element %lld: %.17g and %.17g\n", what, k, (long long)e, x, y);
            run_fail(r, what);
        }
    }
}

#endif
