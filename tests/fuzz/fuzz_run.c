/* Runs programs on arrays of random shape, type and layout, valid or not, through the public interface alone:
 *   fuzz_run [SECONDS [SEED]]
 * Whatever the arrays say, a call answers with a status and a message, writes nothing beside its outputs, and gives
 * the same bits when repeated. (Strides and pointers that lie about the caller's memory are not tried: nobody could
 * tell.) Meant to run under AddressSanitizer too. */
#include <benben.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const formulas[] = {
    "sum_j(exp(-sqdist(x, y) / s) * b)", "sum_i(exp(-sqdist(x, y) / s) * x)", "sum_ij(sin(x | y) * b)",
    "logsumexp_j(-sqdist(x, y) * s)", "logsumexp_i((x | y))", "sumsoftmaxweight_j(-sqdist(x, y), b)",
    "min_j(sqdist(x, y) * b)", "argmin_i(abs(x - y))", "max_j(x - y); argmax_j(x - y)", "kmin_argkmin_j(sqdist(x, y), 2)",
    "argkmin_j(x * y, 3)", "prod_j(x + y)", "mean_j(x * y); var_j(x * y)", "x * sum(y:p2) + s", "sum_j(y * b); sum_i(x)",
    "sum_j(exp(-sqdist(x, y) - logsumexp_j(-sqdist(x, y))) * b)", "grad(sum_j(exp(-sqdist(x, y) / s) * b), x, 1)",
    "grad(logsumexp_j(-sqdist(x, y)), y, 1)", "sum_j(grad(min_j(sqdist(x, y)), x, 1) * x * b)",
    "sum_j(where(x < y, b, floor(x / y)))", "sum_j(powf(abs(x), y) + atan2(x, y))", "any_j(x > y); count_j(x > y)",
    "maxsumshiftexp_j(sqdist(x, y))", "sum_j(softmax_j(x | y) * b)", "sum_j(isnan(log(x + y)))"};
enum { FORMULAS = sizeof formulas / sizeof *formulas, VARIABLES = 5, OUTPUTS = 4, GUARD = 64, MOST_CLUSTERS = 4 };
static const int64_t row_counts[] = {0, 1, 2, 3, 17, 64, 65, 130, 300};

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545F4914F6CDD1Du >> 11;
}

static int64_t below(int64_t n) { return (int64_t)(next_random() % (uint64_t)n); }

static bool one_in(int64_t n) { return below(n) == 0; }

static void *allocate(size_t size)
{
    void *pointer = malloc(size ? size : 1);
    if (!pointer) abort();
    return pointer;
}

/* ---- arrays ---------------------------------------------------------------------------------------------------------- */
typedef struct fuzz_array {
    bb_array array;
    int64_t shape[6], strides[6];
    unsigned char *memory; /* with guards in front and behind */
    size_t bytes;
} fuzz_array;

static double random_value(void)
{
    static const double odd[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e38, -1e38, 1e-40, 5e-324, 65504};
    return one_in(20) ? odd[below(12)] : (double)below(1 << 20) / (1 << 19) - 1;
}

static void fill(fuzz_array *a, bb_dtype dtype, int64_t count)
{
    void *data = a->memory + GUARD;
    for (int64_t k = 0; k < count; k++) {
        if (dtype == BB_FLOAT64) ((double *)data)[k] = random_value();
        else if (dtype == BB_FLOAT32) ((float *)data)[k] = (float)random_value();
        else if (dtype == BB_INT64) ((int64_t *)data)[k] = below(100);
        else ((uint16_t *)data)[k] = (uint16_t)next_random();
    }
}

/* Memory for the shape, compact or with room between the elements, sometimes backwards. */
static void make_array(fuzz_array *a, bb_dtype dtype, int ndim, bool plain)
{
    static const size_t sizes[] = {4, 8, 2, 2, 8};
    int64_t room = plain || !one_in(4) ? 1 : 2, stride = room;
    for (int k = ndim - 1; k >= 0; k--) {
        a->strides[k] = stride;
        stride *= a->shape[k] > 0 ? a->shape[k] : 1;
    }
    int64_t offset = 0;
    for (int k = 0; k < ndim && !plain; k++) {
        if (!one_in(8) || a->shape[k] < 2) continue;
        offset += (a->shape[k] - 1) * a->strides[k];
        a->strides[k] = -a->strides[k];
    }
    a->bytes = (size_t)stride * sizes[dtype];
    a->memory = allocate(a->bytes + 2 * GUARD);
    memset(a->memory, 0xA5, a->bytes + 2 * GUARD);
    fill(a, dtype, stride);
    a->array = bb_array_of(a->memory + GUARD, dtype, ndim, a->shape);
    a->array.byte_offset = (uint64_t)offset * sizes[dtype];
    if (!plain) a->array.strides = a->strides;
}

/* One lie about the array. */
static void corrupt(fuzz_array *a)
{
    switch (below(9)) {
    case 0: a->array.data = NULL; break;
    case 1: a->array.ndim = (int32_t)below(5) - 1; break;
    case 2: a->array.dtype_bits = (uint8_t)(8 << below(5)); break;
    case 3: a->array.dtype_code = (uint8_t)below(8); break;
    case 4: a->array.dtype_lanes = (uint16_t)below(3); break;
    case 5: a->array.device_type = (int32_t)below(5); break;
    case 6: a->shape[below(a->array.ndim > 0 ? a->array.ndim : 1)] = -1; break;
    case 7: a->array.shape = NULL; break;
    default: a->shape[a->array.ndim > 0 ? a->array.ndim - 1 : 0] = below(3); break;
    }
    /* what is shorter than it says would be read beyond its end */
    bool larger = a->array.dtype_bits > 16 || a->array.ndim > 3 || a->array.dtype_lanes > 1;
    if (larger && a->array.data) a->array.data = NULL;
}

static bool guards_hold(const fuzz_array *a)
{
    for (int k = 0; k < GUARD; k++) {
        if (a->memory[k] != 0xA5 || a->memory[GUARD + a->bytes + (size_t)k] != 0xA5) return false;
    }
    return true;
}

/* ---- ranges --------------------------------------------------------------------------------------------------------------- */
typedef struct fuzz_ranges {
    bb_ranges ranges;
    int64_t rows[2][MOST_CLUSTERS * 2], slices[2][MOST_CLUSTERS], reduced[2][MOST_CLUSTERS * MOST_CLUSTERS * 2];
} fuzz_ranges;

static void make_ranges(fuzz_ranges *r, int64_t m, int64_t n)
{
    int64_t extent[2] = {m, n}, count[2] = {1 + below(MOST_CLUSTERS), 1 + below(MOST_CLUSTERS)};
    for (int axis = 0; axis < 2; axis++) {
        int64_t at = 0;
        for (int64_t c = 0; c < count[axis]; c++) {
            int64_t end = c + 1 < count[axis] ? at + below(extent[axis] - at + 1) : extent[axis];
            r->rows[axis][2 * c] = at;
            r->rows[axis][2 * c + 1] = at = end;
        }
        for (int64_t c = 0, total = 0; c < count[axis]; c++) {
            for (int64_t k = below(3); k > 0; k--, total++) {
                int64_t start = below(extent[1 - axis] + 1);
                r->reduced[axis][2 * total] = start;
                r->reduced[axis][2 * total + 1] = start + below(extent[1 - axis] - start + 1);
            }
            r->slices[axis][c] = total;
        }
    }
    if (one_in(3)) r->rows[below(2)][below(2)] = below(400) - 50;
    if (one_in(3)) r->reduced[below(2)][below(4)] = below(400) - 50;
    if (one_in(6)) r->slices[below(2)][0] = -1;
    r->ranges = (bb_ranges){sizeof r->ranges, count[0], count[1], r->rows[0], r->slices[0], r->reduced[0],
                            r->rows[1], r->slices[1], r->reduced[1]};
}

/* ---- one run --------------------------------------------------------------------------------------------------------------- */
static int64_t answered, refused;

static void expect(bool holds, const char *what, const char *formula, uint64_t seed)
{
    if (holds) return;
    fprintf(stderr, "fuzz_run: %s\n  %s\n  fuzz_run 0 %llu shows it again\n", what, formula, (unsigned long long)seed);
    abort();
}

static bb_dtype random_dtype(bool is_double)
{
    if (one_in(40)) return (bb_dtype)below(5);
    static const bb_dtype singles[] = {BB_FLOAT32, BB_FLOAT32, BB_FLOAT32, BB_FLOAT16, BB_BFLOAT16};
    return is_double ? BB_FLOAT64 : singles[below(5)];
}

static void draw_inputs(const bb_program *program, int count, fuzz_array inputs[], const int64_t rows[4])
{
    bool is_double = one_in(3);
    int batches = one_in(4) ? 1 + (int)below(2) : 0;
    for (int k = 0; k < count; k++) {
        bb_variable_info info;
        bb_program_variable(program, k, &info);
        fuzz_array *a = &inputs[k];
        int ndim = 0;
        for (int b = (int)below(batches + 1); b > 0; b--) {
            a->shape[ndim++] = one_in(3) ? 1 : 2;
        }
        if (info.place != BB_NONE) a->shape[ndim++] = one_in(30) ? below(5) : rows[info.place];
        a->shape[ndim++] = one_in(40) ? below(6) : info.dim;
        make_array(a, random_dtype(is_double), ndim, false);
        if (one_in(60)) corrupt(a);
    }
}

/* Outputs of the shape that the library asks for, sometimes of another one. */
static bool draw_outputs(const bb_program *program, bb_kernel *kernel, const bb_array *inputs, int input_count,
                         const bb_run_options *options, fuzz_array outputs[], int count)
{
    for (int k = 0; k < count; k++) {
        bb_output_info info;
        int ndim = 0;
        bb_program_output(program, k, &info);
        if (bb_output_shape(kernel, inputs, input_count, options, k, outputs[k].shape, 6, &ndim) != BB_OK) return false;
        if (one_in(60) && ndim) outputs[k].shape[below(ndim)] = below(4);
        bb_dtype dtype = info.is_index != one_in(60) ? BB_INT64 : one_in(4) ? (bb_dtype)below(4) : BB_FLOAT32;
        make_array(&outputs[k], dtype, ndim, one_in(2));
    }
    return true;
}

static void run_once(bb_kernel *kernel, const bb_program *program, const char *formula, uint64_t seed)
{
    fuzz_array inputs[VARIABLES] = {{{0}, {0}, {0}, NULL, 0}}, outputs[OUTPUTS] = {{{0}, {0}, {0}, NULL, 0}};
    int input_count = bb_program_variable_count(program), output_count = bb_program_output_count(program);
    int64_t rows[4] = {0, row_counts[below(9)], row_counts[below(9)], 0};
    fuzz_ranges *ranges = allocate(sizeof *ranges);
    memset(ranges, 0, sizeof *ranges);
    bb_run_options options = {.size = sizeof options, .threads = (int)below(4)};
    draw_inputs(program, input_count, inputs, rows);
    if (one_in(4)) {
        make_ranges(ranges, rows[BB_I], rows[BB_J]);
        options.ranges = &ranges->ranges;
        options.ranges_count = one_in(10) ? below(3) : 1;
        if (options.ranges_count > 1) options.ranges_count = 1;
    }
    if (one_in(10)) options.rows_i = rows[BB_I];
    if (one_in(50)) options.size = (size_t)below(24) * 8; /* of an older caller, or nonsense */
    bb_array views[VARIABLES], results[OUTPUTS];
    for (int k = 0; k < input_count; k++) {
        views[k] = inputs[k].array;
    }
    bool drawn = draw_outputs(program, kernel, views, input_count, &options, outputs, output_count);
    bb_status status = BB_BAD_SHAPE;
    if (drawn) {
        for (int k = 0; k < output_count; k++) {
            results[k] = outputs[k].array;
        }
        if (one_in(100)) results[0].data = NULL;
        status = bb_run(kernel, views, one_in(100) ? input_count - 1 : input_count, results, output_count, &options);
    }
    expect(status == BB_OK || *bb_last_error(), "a failure without a message", formula, seed);
    expect(status != BB_INTERNAL, bb_last_error(), formula, seed);
    *(status == BB_OK ? &answered : &refused) += 1;
    for (int k = 0; k < input_count; k++) {
        expect(guards_hold(&inputs[k]), "memory beside an input was written", formula, seed);
    }
    for (int k = 0; drawn && k < output_count; k++) {
        expect(guards_hold(&outputs[k]), "memory beside an output was written", formula, seed);
        if (status != BB_OK) continue;
        unsigned char *first = allocate(outputs[k].bytes);
        memcpy(first, outputs[k].memory + GUARD, outputs[k].bytes);
        options.threads = 1;
        expect(bb_run(kernel, views, input_count, results, output_count, &options) == BB_OK, "a repeated run fails",
               formula, seed);
        expect(!memcmp(first, outputs[k].memory + GUARD, outputs[k].bytes), "a repeated run gives other bits", formula,
               seed);
        free(first);
    }
    for (int k = 0; k < VARIABLES; k++) {
        free(inputs[k].memory);
    }
    for (int k = 0; k < OUTPUTS; k++) {
        free(outputs[k].memory);
    }
    free(ranges);
}

static void fuzz_program(uint64_t seed)
{
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    random_state = seed * 2654435761u | 1;
    for (int k = 0; k < 8; k++) {
        next_random();
    }
    const char *formula = formulas[below(FORMULAS)];
    char x[16], y[16], b[16];
    int dim = 1 + (int)below(one_in(5) ? 12 : 3);
    snprintf(x, sizeof x, "x:i%d", dim);
    snprintf(y, sizeof y, "y:%s%d", strstr(formula, "y:p2") ? "p" : "j", strstr(formula, "y:p2") ? 2 : dim);
    snprintf(b, sizeof b, "b:j%d", one_in(4) ? 1 + (int)below(12) : 1);
    const char *const declarations[4] = {x, y, b, "s:p1"};
    if (bb_context_new(&context) != BB_OK) abort();
    if (bb_program_parse(context, formula, declarations, 4, &program) == BB_OK) {
        bb_compile_options options = {.size = sizeof options, .target = BB_TARGET_INTERP,
                                      .sum_scheme = (bb_sum_scheme)below(4), .accumulate_double = one_in(4)};
        if (bb_compile(program, &options, &kernel) == BB_OK) {
            for (int k = 0; k < 20; k++) {
                run_once(kernel, program, formula, seed);
            }
            bb_kernel_release(kernel);
        }
        bb_program_release(program);
    }
    bb_context_release(context);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 5;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    time_t start = time(NULL);
    do {
        fuzz_program(seed++);
    } while (difftime(time(NULL), start) < seconds);
    printf("%llu programs: %lld runs answered, %lld refused\n", (unsigned long long)seed - 1, (long long)answered,
           (long long)refused);
    return argc > 2 || (answered && refused) ? 0 : 1;
}
