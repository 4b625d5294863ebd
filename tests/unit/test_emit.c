/* test_emit.c: emitted pair kernels: their text against stored ones, their objects free of undefined symbols,
 * their results against a scalar evaluation in double and, bit for bit, against the interpreter. With
 * BENBEN_GOLDEN_RENEW set the stored texts (tests/golden, without the prelude) are written instead of
 * compared. A test's name is the sentence that would be false if it failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "../../src/backend/backend.h"
#include "../../src/run/compiler.h"
#include "code_text.h"

/* ---- the codes ---- */
enum { COMPONENTS = 140, MAX_SUMS = 24, MAX_OUTS = 4, MAX_CASTS = 150, SIZES = 6 };
typedef struct example {
    const char *name, *text;
    int64_t size[SIZES]; /* slot 0: number of sums, slot 1: of outs; slot 2 is a loop's bound here */
} example;

#define SQUARED_DISTANCE                                                                                               \
    "%0 = sub(x[0], y[0])\n %1 = mul(%0, %0)\n %2 = sub(x[1], y[1])\n %3 = fma(%2, %2, %1)\n"                          \
    "%4 = sub(x[2], y[2])\n %5 = fma(%4, %4, %3)\n"
#define LONG_DISTANCE "%1 := 0\n loop c0 < n[2] {\n %0 = sub(x[c0], y[c0])\n %1 = fma(%0, %0, %1)\n }\n"
#define POWER(from, to) "%" #to " = powf(0.5, %" #from ")\n"
static const example examples[] = {
    {"gaussian", SQUARED_DISTANCE "%6 = mul(%5, p[0])\n %7 = exp(%6)\n sum[0] += %7 * y[3]", {1}},
    {"gaussian_gradient",
     SQUARED_DISTANCE "%6 = mul(%5, p[0])\n %7 = exp(%6)\n %8 = mul(%7, y[3])\n"
                      "sum[0] += %8 * %0\n sum[1] += %8 * %2\n sum[2] += %8 * %4",
     {3}},
    {"long_features", LONG_DISTANCE "%2 = mul(%1, p[0])\n %3 = exp(%2)\n sum[0] += %3 * y[n[2]]", {1, 0, 13}},
    {"wide_sum",
     SQUARED_DISTANCE "%6 = neg(%5)\n %7 = exp(%6)\n loop c0 < n[2] {\n sum[c0] += %7 * y[c0 + 3]\n }",
     {17, 0, 17}},
    {"long_gradient",
     LONG_DISTANCE "%2 = mul(%1, p[0])\n %3 = exp(%2)\n %4 = mul(%3, y[n[2]])\n"
                   "loop c1 < n[2] {\n %5 = sub(x[c1], y[c1])\n sum[c1] += %4 * %5\n }",
     {11, 0, 11}},
    {"distance_out", SQUARED_DISTANCE "out[0] = %5\n %6 = maximum(%5, x[3])\n sum[0] += %6", {1, 1}},
    {"outs_and_sums",
     "loop c0 < n[2] {\n %0 = mul(x[c0], y[c0 + 1])\n out[c0] = %0\n }\n sum[0] += x[1]\n sum[1] += y[2] * "
     "p[1]",
     {2, 3, 3}},
    {"nested_sums",
     "%0 = mul(x[0], y[0])\n loop c0 < n[2] {\n %1 = add(%0, x[c0])\n loop c1 < n[3] {\n"
     "sum[(c0 * n[3]) + c1] += %1 * y[c1]\n }\n }",
     {20, 0, 4, 5}},
    {"sums_of_loops",
     "loop c0 < n[2] {\n %0 := 0\n loop c1 < n[3] {\n %1 = sub(x[c1], y[c0 + c1])\n %0 = fma(%1, %1, %0)\n "
     "}\n"
     "%2 = mul(%0, p[1])\n sum[c0] += %2\n }",
     {9, 0, 9, 6}},
    {"carried_by_a_loop", "%0 := 1\n loop c0 < n[2] {\n %0 = mul(%0, x[c0])\n sum[c0] += %0 * y[c0]\n }", {5, 0, 5}},
    {"choices",
     "loop c0 < n[2] {\n %0 = (c0 >= 2) and (c0 < 7) ? y[c0 - 2] : 0\n %1 = c0 % 2 ? %0 : x[c0]\n %2 = "
     "mul(%1, (c0 + 1))\n"
     "sum[c0] += %2 * 0.3\n }",
     {9, 0, 9}},
    {"long_code", /* too long for several vectors side by side */
     "%0 = mul(x[0], y[0])\n" POWER(0, 1) POWER(1, 2) POWER(2, 3) POWER(3, 4) POWER(4, 5) POWER(5, 6) POWER(6, 7)
         POWER(7, 8) POWER(8, 9) POWER(9, 10) POWER(10, 11) POWER(11, 12) POWER(12, 13)
             POWER(13, 14) "sum[0] += %13 * y[1]\n sum[1] += %14",
     {2}},
    {"panels", LONG_DISTANCE "%2 = mul(%1, p[0])\n %3 = exp(%2)\n sum[0] += %3 * y[n[2]]", {1, 0, 131}},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static bbi_stage stage_of(const example *e) {
    bbi_stage s = {
        .pair_code = code_of_text(e->text), .nsize = SIZES, .sum_count = e->size[0], .out_count = e->size[1]};
    s.size = (int64_t *)(uintptr_t)e->size;
    return s;
}

static bbi_text emitted(const bbi_stage *stage, bool is_double, int level, bool transposed) {
    bbi_text text = {0};
    bbi_emit_options options = {.is_double = is_double, .level = level, .transposed = transposed};
    if (bbi_emit_pair(&text, stage, &options) != BB_OK) fail_msg("%s", bb_last_error());
    return text;
}

/* ---- arrays ---- */
typedef struct arrays {
    bool is_double, transposed;
    int64_t width, casts, lanes;
    char *uniform, *lane, *cast, *sum, *out;
} arrays;
enum { LANE_STRIDE = 64, CAST_STRIDE = MAX_CASTS + 5 };

static uint64_t seed = 1;
static double uniform(double low, double high) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(seed >> 33) / 2147483648.0;
}

static double get(const arrays *a, const char *array, int64_t n) {
    return a->is_double ? ((const double *)(const void *)array)[n] : (double)((const float *)(const void *)array)[n];
}

static char *random_array(const arrays *a, int64_t count) {
    char *array = bbi_alloc_aligned((size_t)count * 8);
    assert_non_null(array);
    for (int64_t n = 0; n < (a->is_double ? count : 2 * count); n++) {
        double x = uniform(-1, 1);
        if (a->is_double) {
            ((double *)(void *)array)[n] = x;
        } else {
            ((float *)(void *)array)[n] = (float)x;
        }
    }
    return array;
}

static size_t sum_bytes(const arrays *a) {
    return (size_t)(BBI_LANE_BYTES * MAX_SUMS * (a->transposed ? MAX_CASTS : 1));
}
enum { OUT_BYTES = BBI_LANE_BYTES * MAX_OUTS * MAX_CASTS };

static arrays new_arrays(bool is_double, bool transposed) {
    arrays a = {.is_double = is_double, .transposed = transposed, .width = BBI_LANE_BYTES / (is_double ? 8 : 4)};
    a.uniform = random_array(&a, COMPONENTS);
    a.lane = random_array(&a, COMPONENTS * LANE_STRIDE);
    a.cast = random_array(&a, COMPONENTS * CAST_STRIDE);
    a.sum = random_array(&a, (int64_t)sum_bytes(&a) / 8);
    a.out = random_array(&a, OUT_BYTES / 8);
    return a;
}

static void free_arrays(arrays *a) {
    bbi_free_aligned(a->uniform);
    bbi_free_aligned(a->lane);
    bbi_free_aligned(a->cast);
    bbi_free_aligned(a->sum);
    bbi_free_aligned(a->out);
}

/* ---- the scalar twin ---- */
typedef struct pair {
    const example *example;
    const bbi_code *code;
    const arrays *a;
    int64_t lane, cast, counter[4];
    double value[32], sum[MAX_SUMS], size[MAX_SUMS], out[MAX_OUTS];
} pair;

static double operand(const pair *p, const bbi_operand *o) {
    if (o->space == BBI_VALUE) return p->value[o->number];
    if (o->space == BBI_LITERAL) return o->literal;
    int64_t n = bbi_index_value(p->code, o->number, p->example->size, p->counter);
    if (o->space == BBI_COUNT) return (double)n;
    if (o->space == BBI_UNIFORM) return get(p->a, p->a->uniform, n);
    bool lane = o->space == (p->a->transposed ? BBI_COLUMN : BBI_ROW);
    return lane ? get(p->a, p->a->lane, n * LANE_STRIDE + p->lane) : get(p->a, p->a->cast, n * CAST_STRIDE + p->cast);
}

static void run_pair(pair *p, int32_t first, int32_t last) {
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &p->code->instruction[n];
        double x[3] = {0};
        int64_t at = s->kind == BBI_STEP_MAP || s->kind == BBI_STEP_SET || s->kind == BBI_STEP_END
                         ? 0
                         : bbi_index_value(p->code, s->index, p->example->size, p->counter);
        if (s->kind == BBI_STEP_CHOOSE) {
            p->value[s->result] = operand(p, &s->arg[at ? 0 : 1]);
            continue;
        }
        for (int k = 0; k < s->narg; k++) x[k] = operand(p, &s->arg[k]);
        if (s->kind == BBI_STEP_MAP) p->value[s->result] = bbi_op_info(s->op)->scalar(x[0], x[1], x[2]);
        if (s->kind == BBI_STEP_SET) p->value[s->result] = x[0];
        if (s->kind == BBI_STEP_OUT) p->out[at] = x[0];
        if (s->kind == BBI_STEP_SUM) {
            p->sum[at] += s->narg == 2 ? x[0] * x[1] : x[0];
            p->size[at] += fabs(s->narg == 2 ? x[0] * x[1] : x[0]);
        }
        if (s->kind != BBI_STEP_LOOP) continue;
        int32_t end = n + 1;
        for (int depth = 1; depth; end++) {
            depth +=
                (p->code->instruction[end].kind == BBI_STEP_LOOP) - (p->code->instruction[end].kind == BBI_STEP_END);
        }
        for (p->counter[s->counter] = 0; p->counter[s->counter] < at; p->counter[s->counter]++)
            run_pair(p, n + 1, end - 1);
        n = end - 1;
    }
}

static void expect_near(const example *e, double found, double expected, double size, bool is_double) {
    double tolerance = (is_double ? 0x1p-44 : 0x1p-16) * (fabs(expected) + size + 1);
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%s: found %.17g, expected %.17g", e->name, found, expected);
}

/* One lane after the call against the twin; `before` holds the sums as they were. */
static void check_lane(const example *e, const bbi_code *code, const arrays *a, const char *before, int64_t lane) {
    pair p = {.example = e, .code = code, .a = a, .lane = lane};
    for (p.cast = 0; p.cast < a->casts; p.cast++) {
        run_pair(&p, 0, code->count);
        for (int64_t c = 0; c < e->size[1]; c++) {
            expect_near(e, get(a, a->out, (c * MAX_CASTS + p.cast) * a->width + lane), p.out[c], 0, a->is_double);
        }
        bool last = a->transposed || p.cast == a->casts - 1;
        for (int64_t c = 0; last && c < e->size[0]; c++) {
            int64_t at = ((a->transposed ? p.cast * e->size[0] : 0) + c) * a->width + lane;
            expect_near(e, get(a, a->sum, at), get(a, before, at) + p.sum[c], p.size[c], a->is_double);
            if (a->transposed) p.sum[c] = p.size[c] = 0;
        }
    }
}

/* ---- compiled, interpreted, scalar ---- */
static const int64_t lane_counts[] = {1, 5, 8, 16, 17, 31, 32, 33, 64}, cast_counts[] = {0, 1, 3, 15, 16, 65, 150};

/* the two ways to run a code */
typedef struct twins {
    bbi_pair_kernel *kernel;
    bbi_interp *interp;
    void *workspace;
} twins;

static void check_call(const example *e, const bbi_stage *stage, const twins *t, arrays *a, int64_t lanes,
                       int64_t casts) {
    a->lanes = lanes;
    a->casts = casts;
    char *sum = bbi_alloc_aligned(sum_bytes(a)), *out = bbi_alloc_aligned(OUT_BYTES), *before = bbi_alloc(sum_bytes(a));
    memcpy(sum, a->sum, sum_bytes(a));
    memcpy(out, a->out, OUT_BYTES);
    memcpy(before, a->sum, sum_bytes(a));
    t->kernel(stage->size, a->uniform, a->lane, LANE_STRIDE, a->cast, CAST_STRIDE, lanes, casts, a->sum, a->out,
              MAX_CASTS);
    bbi_interp_pair(t->interp, a->transposed, stage->size, a->uniform, a->lane, LANE_STRIDE, a->cast, CAST_STRIDE,
                    lanes, casts, sum, out, MAX_CASTS, t->workspace);
    int64_t rows = a->transposed ? casts : 1, size = BBI_LANE_BYTES / a->width;
    for (int64_t n = 0; n < rows * e->size[0]; n++) {
        int64_t at = n * BBI_LANE_BYTES;
        if (memcmp(a->sum + at, sum + at, (size_t)(lanes * size)) != 0)
            fail_msg("%s: sums differ from the interpreter's", e->name);
    }
    for (int64_t n = 0; n < e->size[1] * casts; n++) {
        int64_t at = (n / casts * MAX_CASTS + n % casts) * BBI_LANE_BYTES;
        if (memcmp(a->out + at, out + at, (size_t)(lanes * size)) != 0)
            fail_msg("%s: values differ from the interpreter's", e->name);
    }
    check_lane(e, &stage->pair_code, a, before, lanes - 1);
    bbi_free_aligned(sum);
    bbi_free_aligned(out);
    bbi_free(before);
}

static void *load(const bbi_text *source, int level) {
    bbi_compiler compiler;
    bbi_text log = {0};
    char *bytes;
    size_t length;
    bool lasting;
    const char *error;
    assert_int_equal(bbi_compiler_find(&compiler), BB_OK);
    if (bbi_compiler_run(&compiler, (const char *const[]){source->data}, 1, level, &bytes, &length, &log, &lasting) !=
        BB_OK)
        fail_msg("%s", bb_last_error());
    void *library = bbi_library_open_bytes(bytes, length, &error);
    if (!library) fail_msg("%s", error);
    bbi_free(bytes);
    bbi_text_free(&log);
    return library;
}

static void check_example(const example *e, bool is_double, int level, bool transposed) {
    bbi_stage stage = stage_of(e);
    bbi_text text = emitted(&stage, is_double, level, transposed);
    void *library = load(&text, level), *symbol = bbi_library_symbol(library, BBI_KERNEL_SYMBOL);
    twins t = {.interp = bbi_interp_new(&stage.pair_code, level, is_double, false, stage.sum_count)};
    assert_non_null(symbol);
    assert_non_null(t.interp);
    memcpy(&t.kernel, &symbol, sizeof symbol);
    t.workspace = bbi_alloc_aligned((size_t)bbi_interp_workspace(t.interp) + 64);
    arrays a = new_arrays(is_double, transposed);
    for (size_t l = 0; l < sizeof lane_counts / sizeof *lane_counts; l++) {
        for (size_t c = 0; c < sizeof cast_counts / sizeof *cast_counts; c++) {
            if (lane_counts[l] <= a.width) check_call(e, &stage, &t, &a, lane_counts[l], cast_counts[c]);
        }
    }
    free_arrays(&a);
    bbi_free_aligned(t.workspace);
    bbi_interp_free(t.interp);
    bbi_library_close(library);
    bbi_text_free(&text);
    bbi_code_free(&stage.pair_code);
}

static void compiled_kernels_have_the_interpreters_bits_at_the_highest_level(void **unused) {
    (void)unused;
    for (int n = 0; n < EXAMPLES; n++) {
        check_example(&examples[n], false, bbi_cpu_level(), false);
        check_example(&examples[n], true, bbi_cpu_level(), false);
        check_example(&examples[n], n & 1, bbi_cpu_level(), true);
    }
}

static void compiled_kernels_have_the_interpreters_bits_at_lower_levels(void **unused) {
    (void)unused;
    for (int level = 0; level < bbi_cpu_level(); level++) {
        for (int n = level; n < EXAMPLES; n += 2) check_example(&examples[n], (n / 2) & 1, level, (n / 4) & 1);
    }
}

/* ---- the text ---- */
static void equal_codes_have_equal_texts(void **unused) {
    (void)unused;
    for (int n = 0; n < EXAMPLES; n++) {
        bbi_stage stage = stage_of(&examples[n]), again = stage_of(&examples[n]);
        again.sum_count +=
            stage.size[2] > 0 && n > 2 && examples[n].size[0] > 2; /* no part of a text with run-time sums */
        bbi_text a = emitted(&stage, false, 1, true), b = emitted(&again, false, 1, true);
        assert_string_equal(a.data, b.data);
        bbi_text_free(&a);
        bbi_text_free(&b);
        bbi_code_free(&stage.pair_code);
        bbi_code_free(&again.pair_code);
    }
}

/* What the emitter itself prints: the text before the prelude and after it, and the names of the blocks in
 * between. */
static void add_own_text(bbi_text *own, const char *text) {
    const char *prelude = strstr(text, "#define BB_DOUBLE"), *rest = strstr(text, "\nBB_INLINE V op_");
    assert_true(prelude && rest);
    bbi_text_append(own, text, (size_t)(prelude - text));
    for (const char *p = strstr(prelude, "/*@"); p && p < rest; p = strstr(p + 1, "/*@")) {
        bbi_text_append(own, p, strcspn(p, "\n") + 1);
    }
    bbi_text_add(own, "%s", rest);
}

/* The kernel's text, without the prelude, against tests/golden/NAME_KIND.c; the text is released. */
static void expect_golden(const char *name, const char *kind, bbi_text *text) {
    bbi_text own = {0};
    char path[1000], *bytes;
    size_t length;
    add_own_text(&own, text->data);
    snprintf(path, sizeof path, "%s/tests/golden/%s_%s.c", BBI_SOURCE_DIR, name, kind);
    if (getenv("BENBEN_GOLDEN_RENEW")) {
        assert_int_equal(bbi_file_write(path, own.data, own.length, false), 0);
    } else {
        if (bbi_file_read(path, 1000000, false, &bytes, &length) != 0) fail_msg("%s is missing: make golden", path);
        if (length != own.length || memcmp(bytes, own.data, length) != 0)
            fail_msg("%s differs: make golden, review", path);
        bbi_free(bytes);
    }
    bbi_text_free(text);
    bbi_text_free(&own);
}

static void texts_are_those_stored_in_golden(void **unused) {
    (void)unused;
    for (int n = 0; n < 2 * EXAMPLES; n++) {
        const example *e = &examples[n / 2];
        if (n > 8 && n & 1) continue;
        bbi_stage stage = stage_of(e);
        bbi_text text = emitted(&stage, false, n & 1 ? 2 : 1, n & 1);
        expect_golden(e->name, n & 1 ? "transposed_avx512" : "avx2", &text);
        bbi_code_free(&stage.pair_code);
    }
}

/* Kernels that select: their runs are compared in test_select.c. */
static void texts_of_selections_are_those_stored_in_golden(void **unused) {
    (void)unused;
    static const struct {
        const char *name, *text;
        bbi_fold fold;
    } selections[] = {
        {"smallest_value", SQUARED_DISTANCE "out[0] = %5", {.family = BBI_FAMILY_MIN, .dim = 1}},
        {"place_of_the_largest",
         SQUARED_DISTANCE "out[0] = %5",
         {.family = BBI_FAMILY_MAX, .dim = 1, .want_index = true}},
        {"smallest_of_long_features", LONG_DISTANCE "out[0] = %1", {.family = BBI_FAMILY_KMIN, .dim = 1, .k = 10}}};
    for (int n = 0; n < 3; n++) {
        bbi_fold fold = selections[n].fold;
        const example e = {.text = selections[n].text, .size = {0, 1, 13}};
        bbi_stage stage = stage_of(&e);
        stage.fold = &fold;
        stage.nfold = 1;
        bbi_text text = emitted(&stage, false, 1, false);
        expect_golden(selections[n].name, "avx2", &text);
        bbi_code_free(&stage.pair_code);
    }
}

/* ---- objects ---- */
static void run(const char *const argv[], bbi_text *log) {
    int exit_code;
    bb_status status = bbi_run_program(argv, NULL, log, &exit_code);
    if (status != BB_OK || exit_code != 0) fail_msg("%s failed: %s", argv[0], log->data ? log->data : bb_last_error());
}

/* Compiles at an optimisation level and asks nm what is undefined. */
static void check_symbols(const char *nm, const bbi_text *source, const char *folder, const char *optimisation,
                          int level) {
    char input[BBI_PATH_SIZE + 20], object[BBI_PATH_SIZE + 20];
    const char *flags[BBI_COMPILER_FLAGS], *argv[BBI_COMPILER_FLAGS + BBI_COMPILER_WORDS + 8];
    bbi_compiler compiler;
    bbi_text log = {0};
    int count = 0;
    assert_int_equal(bbi_compiler_find(&compiler), BB_OK);
    bbi_compiler_flags(&compiler, level, flags);
    snprintf(input, sizeof input, "%s/kernel.c", folder);
    snprintf(object, sizeof object, "%s/kernel.o", folder);
    assert_int_equal(bbi_file_write(input, source->data, source->length, false), 0);
    argv[count++] = compiler.program;
    for (int n = 0; compiler.words[n]; n++) argv[count++] = compiler.words[n];
    for (int n = 0; flags[n]; n++) {
        if (strcmp(flags[n], "-shared") != 0) argv[count++] = flags[n];
    }
    const char *const more[] = {optimisation, "-c", input, "-o", object};
    for (int n = 0; n < 5; n++) argv[count++] = more[n];
    argv[count] = NULL;
    run(argv, &log);
    bbi_text_free(&log);
    run((const char *const[]){nm, "-u", object, NULL}, &log);
    if (log.data && strchr(log.data, 'U')) fail_msg("%s leaves undefined: %s", optimisation, log.data);
    bbi_text_free(&log);
}

/* Every elementwise operation once. */
static bbi_code all_operations(void) {
    bbi_code code = {0};
    int32_t zero = bbi_code_index(&code, BBI_IX_CONST, 0, 0, 0);
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        if (row->kind != BBI_MAP) continue;
        bbi_instruction s = {
            .kind = BBI_STEP_MAP, .narg = (uint8_t)row->arity, .op = (uint16_t)op, .result = code.value_count++};
        for (int n = 0; n < row->arity; n++)
            s.arg[n] = (bbi_operand){.space = n ? BBI_COLUMN : BBI_ROW, .number = zero};
        bbi_instruction out = {.kind = BBI_STEP_OUT, .narg = 1, .arg = {{.space = BBI_VALUE, .number = s.result}}};
        out.index = bbi_code_index(&code, BBI_IX_CONST, 0, 0, s.result);
        assert_int_equal(bbi_code_add(&code, &s), BB_OK);
        assert_int_equal(bbi_code_add(&code, &out), BB_OK);
    }
    return code;
}

static void objects_leave_no_symbol_undefined(void **unused) {
    (void)unused;
    static const char *const optimisations[] = {"-O0", "-O1", "-O2", "-O3"};
    char nm[BBI_PATH_SIZE], folder[BBI_PATH_SIZE];
    if (!bbi_find_program("nm", nm, sizeof nm)) skip();
    assert_int_equal(bbi_folder_temporary(folder, sizeof folder), 0);
    bbi_stage operations = {.pair_code = all_operations()};
    for (int n = 0; n < 4; n++) {
        int level = n == 0 || n == 3 ? bbi_cpu_level() : 0;
        bbi_text text = emitted(&operations, n & 1, level, false);
        check_symbols(nm, &text, folder, optimisations[n], level);
        bbi_text_free(&text);
        for (int k = n; k < EXAMPLES; k += 4) {
            bbi_stage stage = stage_of(&examples[k]);
            text = emitted(&stage, k & 2, (n + k) % (bbi_cpu_level() + 1), n & 1);
            check_symbols(nm, &text, folder, optimisations[n], (n + k) % (bbi_cpu_level() + 1));
            bbi_text_free(&text);
            bbi_code_free(&stage.pair_code);
        }
    }
    bbi_code_free(&operations.pair_code);
    bbi_folder_remove(folder);
}

static void emitting_reports_lack_of_memory(void **unused) {
    (void)unused;
    bbi_emit_options options = {.level = 1};
    bb_status status = BB_OUT_OF_MEMORY;
    bbi_stage stage = stage_of(&examples[4]);
    int64_t live = bbi_live_allocations();
    for (int64_t n = 0; status != BB_OK; n++) {
        bbi_text text = {0};
        bbi_fail_allocations_after(n);
        status = bbi_emit_pair(&text, &stage, &options);
        bbi_fail_allocations_after(-1);
        bbi_text_free(&text);
        if (status != BB_OK) assert_int_equal(status, BB_OUT_OF_MEMORY);
        assert_int_equal(bbi_live_allocations(), live);
    }
    bbi_code_free(&stage.pair_code);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_those_stored_in_golden),
        cmocka_unit_test(texts_of_selections_are_those_stored_in_golden),
        cmocka_unit_test(equal_codes_have_equal_texts),
        cmocka_unit_test(compiled_kernels_have_the_interpreters_bits_at_the_highest_level),
        cmocka_unit_test(compiled_kernels_have_the_interpreters_bits_at_lower_levels),
        cmocka_unit_test(objects_leave_no_symbol_undefined),
        cmocka_unit_test(emitting_reports_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
