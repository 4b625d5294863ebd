/* fuzz_run.c: random bytes become a formula, arrays and options, which run through the interpreter. The program or the
 * run may be refused, with a message; nothing may crash, hang, write beside the outputs or stay allocated. Inputs lie
 * in blocks of exactly the size that their strides reach, so that a sanitizer sees any step beside them.
 * LLVMFuzzerTestOneInput takes the bytes; the program's own main (left out with -DBENBEN_LIBFUZZER) draws them for a
 * number of seconds: fuzz_run [seconds [seed]]. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUTS = 12, MAX_OUTPUTS = 12, MAX_DIMS = 4, TEXT_SIZE = 2000, GUARD = 64, MAX_CLUSTERS = 4 };

typedef struct source {
    const uint8_t *at;
    size_t left;
    char text[TEXT_SIZE]; /* the formula */
    size_t length;
} source;

static const char *current = "";
static int64_t completed; /* runs that were not refused */

static void give_up(const char *what) {
    fprintf(stderr, "fuzz_run: %s\nformula: %s\nmessage: %s\n", what, current, bb_last_error());
    abort();
}

/* A number below n; 0 when the bytes are used up. */
static int draw(source *s, int n) {
    if (s->left == 0) return 0;
    s->left--;
    return *s->at++ % n;
}

#define PICK(s, list) (list)[draw(s, (int)(sizeof(list) / sizeof *(list)))]

/* ---- a formula ------------------------------------------------------------------------------- */

static void put(source *s, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(s->text + s->length, TEXT_SIZE - s->length, format, arguments);
    va_end(arguments);
    if (length > 0) s->length += (size_t)length;
    if (s->length >= TEXT_SIZE) s->length = TEXT_SIZE - 1;
}

static void put_expression(source *s, int depth);

static void put_leaf(source *s) {
    static const char *const leaves[] = {"x:i3", "y:j3",   "u:i1",   "v:j1",    "p:p3",    "q:p1",
                                         "w:j9", "z:i13",  "0",      "1",       "-2.5",    "1e-40",
                                         "inf",  "_one_i", "_one_j", "zero(3)", "iota(3)", "e:j20"};
    put(s, "%s", PICK(s, leaves));
}

/* An operation of the table with as many operands and integers as it wants, or other ones. */
static void put_operation(source *s, int depth) {
    bb_op_info op;
    if (bb_op(draw(s, 250) % bb_op_count(), &op) != BB_OK) give_up("an operation without a row");
    int operands = op.arity + (draw(s, 40) == 1), integers = op.integers < 0 ? draw(s, 4) : op.integers;
    put(s, "%s(", op.name);
    for (int k = 0; k < operands; k++) {
        put(s, k ? ", " : "");
        put_expression(s, depth - 1);
    }
    for (int k = 0; k < integers; k++) {
        static const int numbers[] = {0, 1, 2, 3, 1, 2, 3, 4, 9, -1, 1000000};
        put(s, k || operands ? ", %d" : "%d", PICK(s, numbers));
    }
    put(s, ")");
}

static void put_reduction(source *s, int depth) {
    static const char *const axes[] = {"j", "i", "ij", "j"};
    static const char *const composite[] = {"mean", "var", "any", "count", "softmax", "min_argmin", "kmin_argkmin"};
    bb_reduction_info r;
    if (bb_reduction(draw(s, bb_reduction_count()), &r) != BB_OK) give_up("a reduction without a row");
    bool table = draw(s, 4) > 0;
    const char *name = table ? r.name : PICK(s, composite), *axis = PICK(s, axes);
    put(s, "%s_%s(", name, axis);
    put_expression(s, depth - 1);
    if (table && r.formulas == 2) {
        put(s, ", ");
        put_expression(s, depth - 1);
    }
    if (table ? r.takes_k : name[0] == 'k') {
        static const int k[] = {1, 2, 3, 10, 100};
        put(s, ", %d", PICK(s, k));
    }
    put(s, ")");
}

static void put_expression(source *s, int depth) {
    static const char *const infix[] = {"+", "-", "*", "/", "|", "<", "**"};
    int choice = depth <= 0 ? 0 : draw(s, 10);
    if (choice <= 1)
        put_leaf(s);
    else if (choice <= 5)
        put_operation(s, depth);
    else if (choice == 6)
        put_reduction(s, depth);
    else {
        put(s, "(");
        put_expression(s, depth - 1);
        put(s, " %s ", PICK(s, infix));
        put_expression(s, depth - 1);
        put(s, ")");
    }
}

/* ---- arrays ---------------------------------------------------------------------------------- */

typedef struct block {
    char *memory; /* guards around, for outputs */
    size_t bytes;
    int64_t shape[MAX_DIMS], strides[MAX_DIMS];
    bb_array array;
} block;

static double small_number(source *s) {
    int n = draw(s, 64);
    return n == 63 ? (double)NAN : n == 62 ? (double)INFINITY : (n - 30) / 8.0;
}

static void fill(source *s, block *b, size_t bytes) {
    if (b->array.dtype_code == 0) {
        for (size_t k = 0; k < bytes / 8; k++) ((int64_t *)(void *)b->array.data)[k] = draw(s, 8) - 1;
    } else if (b->array.dtype_bits == 64) {
        for (size_t k = 0; k < bytes / 8; k++) ((double *)(void *)b->array.data)[k] = small_number(s);
    } else if (b->array.dtype_bits == 32) {
        for (size_t k = 0; k < bytes / 4; k++) ((float *)(void *)b->array.data)[k] = (float)small_number(s);
    } else {
        for (size_t k = 0; k < bytes; k++) ((uint8_t *)b->array.data)[k] = (uint8_t)(draw(s, 256) * 37 + (int)k);
    }
}

/* Memory for an array of a shape under drawn strides. Outputs: no two elements share a place. */
static void allocate(source *s, block *b, bb_dtype dtype, int ndim, bool output) {
    int64_t low = 0, high = 0, step = 1 + (draw(s, 4) == 3);
    bool strided = draw(s, 3) == 2, empty = false;
    b->array = bb_array_of(NULL, dtype, ndim, b->shape);
    for (int k = ndim - 1; k >= 0; k--) {
        b->strides[k] = step;
        step *= b->shape[k] + (strided && draw(s, 3) == 2);
        if (strided && draw(s, 3) == 2) b->strides[k] = -b->strides[k];
        if (strided && !output && draw(s, 6) == 5) b->strides[k] = 0;
        empty = empty || b->shape[k] == 0;
    }
    if (!strided) {
        step = 1;
        for (int k = ndim - 1; k >= 0; k--) b->strides[k] = step, step *= b->shape[k];
    }
    for (int k = 0; k < ndim && !empty; k++) {
        int64_t reach = (b->shape[k] - 1) * b->strides[k];
        if (reach < 0)
            low += reach;
        else
            high += reach;
    }
    if (strided) b->array.strides = b->strides;
    size_t size = b->array.dtype_bits / 8, guard = output ? GUARD : 0;
    b->bytes = empty ? 0 : (size_t)(high - low + 1) * size;
    b->memory = malloc(b->bytes + 2 * guard + 1);
    if (!b->memory) give_up("out of memory");
    memset(b->memory, 0x6b, b->bytes + 2 * guard + 1);
    b->array.data = b->memory + guard;
    fill(s, b, b->bytes);
    b->array.byte_offset = (uint64_t)(-low) * size;
}

static void check_guards(const block *b) {
    for (int k = 0; k < GUARD; k++)
        if (b->memory[k] != 0x6b || b->memory[GUARD + b->bytes + (size_t)k] != 0x6b)
            give_up("memory beside an output was written");
}

/* ---- a run ----------------------------------------------------------------------------------- */

typedef struct play {
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    int64_t m, n, batch;
    int inputs, outputs;
    block input[MAX_INPUTS], output[MAX_OUTPUTS];
    int64_t ranges[2][2 * MAX_CLUSTERS], slices[2][MAX_CLUSTERS], reduced[2][4 * MAX_CLUSTERS];
} play;

static bb_status make_program(source *s, play *p) {
    int wanted[1] = {0};
    bb_program *derived = NULL;
    for (int k = draw(s, 8) == 7; k >= 0; k--) {
        put_reduction(s, 4);
        put(s, k ? "; " : "");
    }
    current = s->text;
    if (bb_context_new(&p->context) != BB_OK) give_up("no context");
    BBI_FORWARD(bb_program_parse(p->context, s->text, NULL, 0, &p->program));
    int derive = draw(s, 6);
    if (derive < 4) return BB_OK;
    BBI_FORWARD((derive == 4 ? bb_grad : bb_diff)(p->program, wanted, 1, NULL, 0, &derived));
    bb_program_release(p->program);
    p->program = derived;
    return BB_OK;
}

static bb_status make_inputs(source *s, play *p) {
    static const int64_t sizes[] = {3, 1, 0, 2, 7, 33, 65, 129, 300};
    static const bb_dtype types[] = {BB_FLOAT32, BB_FLOAT32, BB_FLOAT64, BB_FLOAT16, BB_BFLOAT16};
    bb_dtype common = PICK(s, types);
    p->m = PICK(s, sizes), p->n = PICK(s, sizes);
    p->batch = draw(s, 4) == 3 ? 1 + draw(s, 3) : 0;
    p->inputs = bb_program_variable_count(p->program);
    p->outputs = bb_program_output_count(p->program);
    if (p->inputs > MAX_INPUTS || p->outputs > MAX_OUTPUTS) return BB_BAD_ARGUMENT;
    for (int k = 0; k < p->inputs; k++) {
        bb_variable_info v;
        block *b = &p->input[k];
        int ndim = 0;
        if (bb_program_variable(p->program, k, &v) != BB_OK) give_up("a variable without a description");
        if (p->batch && draw(s, 3) > 0) b->shape[ndim++] = draw(s, 4) == 3 ? 1 : p->batch;
        if (v.place != BB_NONE) b->shape[ndim++] = (v.place == BB_I ? p->m : p->n) + (draw(s, 60) == 59);
        b->shape[ndim++] = v.dim + (draw(s, 60) == 59);
        bb_dtype dtype = draw(s, 8) < 7 ? common : PICK(s, types);
        if (draw(s, 60) == 59) dtype = BB_INT64;
        allocate(s, b, dtype, ndim, false);
    }
    return BB_OK;
}

static void make_ranges(source *s, play *p, bb_ranges *ranges) {
    *ranges = (bb_ranges){.size = sizeof *ranges};
    for (int side = 0; side < 2; side++) {
        int64_t rows = side ? p->n : p->m, columns = side ? p->m : p->n, at = 0, slices = 0;
        int clusters = draw(s, MAX_CLUSTERS + 1);
        for (int c = 0; c < clusters; c++) {
            int64_t begin = at + draw(s, 3), end = begin + draw(s, 40);
            if (draw(s, 30) < 29) end = end > rows ? rows : end, begin = begin > end ? end : begin;
            p->ranges[side][2 * c] = begin;
            p->ranges[side][2 * c + 1] = at = end;
            for (int k = draw(s, 3); k > 0 && slices < 2 * MAX_CLUSTERS; k--, slices++) {
                int64_t from = draw(s, 200), to = from + draw(s, 200);
                if (draw(s, 60) < 59) to = to > columns ? columns : to, from = from > to ? to : from;
                p->reduced[side][2 * slices] = from;
                p->reduced[side][2 * slices + 1] = to;
            }
            p->slices[side][c] = slices;
        }
        *(side ? &ranges->count_j : &ranges->count_i) = clusters;
    }
    ranges->ranges_i = p->ranges[0], ranges->slices_i = p->slices[0], ranges->reduced_j = p->reduced[0];
    ranges->ranges_j = p->ranges[1], ranges->slices_j = p->slices[1], ranges->reduced_i = p->reduced[1];
}

static bb_status run(source *s, play *p) {
    static const bb_dtype types[] = {BB_FLOAT32, BB_FLOAT64, BB_FLOAT16, BB_BFLOAT16};
    bb_array input[MAX_INPUTS], output[MAX_OUTPUTS];
    bb_ranges ranges;
    bb_compile_options how = {.size = sizeof how,
                              .target = BB_TARGET_INTERP,
                              .sum_scheme = (bb_sum_scheme)draw(s, 4),
                              .accumulate_double = draw(s, 2)};
    bb_run_options options = {.size = sizeof options, .threads = 1 + draw(s, 2)};
    BBI_FORWARD(make_inputs(s, p));
    if (draw(s, 4) == 3) {
        make_ranges(s, p, &ranges);
        options.ranges = &ranges;
    }
    if (draw(s, 8) == 7) options.rows_i = p->m, options.rows_j = p->n;
    for (int k = 0; k < p->inputs; k++) input[k] = p->input[k].array;
    BBI_FORWARD(bb_compile(p->program, &how, &p->kernel));
    for (int k = 0; k < p->outputs; k++) {
        bb_output_info info;
        int ndim;
        block *b = &p->output[k];
        BBI_FORWARD(bb_output_shape(p->kernel, input, p->inputs, &options, k, b->shape, MAX_DIMS, &ndim));
        BBI_FORWARD(bb_program_output(p->program, k, &info));
        int64_t count = 1;
        for (int d = 0; d < ndim; d++) count *= b->shape[d];
        if (count > 1 << 20) return BB_BAD_ARGUMENT;
        if (draw(s, 60) == 59) b->shape[ndim - 1]++;
        allocate(s, b, info.is_index ? BB_INT64 : PICK(s, types), ndim, true);
        output[k] = b->array;
    }
    bb_status status = bb_run(p->kernel, input, p->inputs, output, p->outputs, &options);
    for (int k = 0; k < p->outputs; k++) check_guards(&p->output[k]);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    source s = {.at = data, .left = size};
    static play p;
    int64_t live = bbi_live_allocations();
    p = (play){0};
    bb_clear_error();
    bb_status status = make_program(&s, &p);
    if (status != BB_OK && !bb_last_error()[0]) give_up("refused without a message");
    if (status == BB_OK) status = run(&s, &p);
    if (status == BB_INTERNAL || status == BB_OUT_OF_MEMORY) give_up("an internal error");
    for (int k = 0; k < MAX_INPUTS; k++) free(p.input[k].memory);
    for (int k = 0; k < MAX_OUTPUTS; k++) free(p.output[k].memory);
    bb_context_release(p.context);
    bb_program_release(p.program);
    bb_kernel_release(p.kernel);
    if (bbi_live_allocations() != live) give_up("memory is left behind");
    completed += status == BB_OK;
    return 0;
}

#ifndef BENBEN_LIBFUZZER
static uint64_t random_state = 1;

static uint8_t random_byte(void) { /* xorshift64* (Vigna, 2016) */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint8_t)(random_state * 0x2545F4914F6CDD1Du >> 56);
}

int main(int argc, char **argv) {
    const char *wanted = getenv("BENBEN_FUZZ_SECONDS");
    double seconds = argc > 1 ? atof(argv[1]) : wanted ? atof(wanted) : 5;
    if (argc > 2) random_state = strtoull(argv[2], NULL, 10) | 1;
    int64_t count = 0;
    for (double end = bbi_seconds() + seconds; count % 16 || bbi_seconds() < end; count++) {
        uint8_t bytes[600];
        for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = random_byte();
        LLVMFuzzerTestOneInput(bytes, sizeof bytes);
    }
    printf("fuzz_run: %lld programs, %lld ran\n", (long long)count, (long long)completed);
    return completed * 20 > count ? 0 : 1; /* else nearly everything is refused and nothing is tested */
}
#endif
