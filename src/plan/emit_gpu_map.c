/* emit_gpu_map.c: the kernels that stand around the pairs: uniform values, and the packing of rows and columns with
 * their map codes. emit_gpu_finish.c prints the kernel behind the pairs into the same text. Arrays have any storage type,
 * strides and batch: these are run-time numbers (`views`), so that the text depends on the stage alone. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <string.h>

extern const char bbi_prelude_gpu_map[];

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)

const char *const bbi_gpu_map_symbols[BBI_MAPS + 1] = {"benben_uniform", "benben_pack", "benben_finish", "benben_merge",
                                                       NULL};

bool bbi_gpu_is_source(const bbi_source *source, uint8_t space) { return source->space == space && source->array >= 0; }

/* ---- map codes ---- */
static const bbi_gpu_spaces uniform_spaces = {.uniform = {"uniform[", "]"},
                                              .row = {"uniform[", "]"},
                                              .column = {"uniform[", "]"},
                                              .out = {"uniform[", "] = "},
                                              .behind = "",
                                              .entry = -1};
static const bbi_gpu_spaces element_spaces = {.uniform = {"uniform[", "]"},
                                              .row = {"at[(I64)", " * stride]"},
                                              .column = {"at[(I64)", " * stride]"},
                                              .out = {"at[(I64)", " * stride] = "},
                                              .behind = "",
                                              .entry = -1};

/* A code as a function of an element: component c stands at at[c * stride]. */
static void emit_code(bbi_gpu *g, const char *name, const bbi_code *code, bool is_uniform) {
    if (!code->count) return;
    LINE("BB_INLINE void %s(BB_GLOBAL const I64 *size, BB_GLOBAL %sR *uniform%s)", name, is_uniform ? "" : "const ",
         is_uniform ? "" : ", BB_GLOBAL R *at, I64 stride");
    LINE("{");
    g->e.indent++;
    bbi_gpu_print_code(g, code, is_uniform ? &uniform_spaces : &element_spaces);
    g->e.indent--;
    LINE("}");
}

/* ---- sources ---- */
static int print_parameters(const bbi_gpu *g, uint8_t space, int number) {
    for (int32_t k = 0; k < g->e.stage->nsource; k++)
        if (bbi_gpu_is_source(&g->e.stage->source[k], space))
            LINE("    BB_GLOBAL const char *BB_RESTRICT s%d,", number++);
    return number;
}

static int count_sources(const bbi_stage *stage, uint8_t space) {
    int count = 0;
    for (int32_t k = 0; k < stage->nsource; k++) count += bbi_gpu_is_source(&stage->source[k], space);
    return count;
}

static void emit_uniform(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    int number = 0;
    LINE("BB_KERNEL(BB_THREADS) void %s(BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,",
         bbi_gpu_map_symbols[BBI_MAP_UNIFORM]);
    LINE("    BB_GLOBAL const R *BB_RESTRICT constants, BB_GLOBAL R *uniform,");
    print_parameters(g, BBI_UNIFORM, 0);
    LINE("    BB_TABLE(views))");
    LINE("{");
    g->e.indent = 1;
    LINE("BB_BATCH(BB_BLOCK);");
    LINE("uniform += BB_BLOCK * BB_AT(geometry, BB_GEO_UNIFORM_SLOT);");
    LINE("for (int k = BB_THREAD; k < %d; k += BB_THREADS) uniform[k] = constants[k];", (int)stage->nconstant);
    for (int32_t k = 0; k < stage->nsource; k++) {
        if (!bbi_gpu_is_source(&stage->source[k], BBI_UNIFORM)) continue;
        LINE("{");
        LINE("    const bool given = BB_VIEW(%d, BB_FIELD_DTYPE) == %d;", number, BBI_GPU_GIVEN);
        LINE("    if (!given) s%d += BB_ORIGIN(%d);", number, number);
        LINE("    for (int d = BB_THREAD; d < (int)BB_VIEW(%d, BB_FIELD_COUNT); d += BB_THREADS)", number);
        LINE("        uniform[BB_VIEW(%d, BB_FIELD_FIRST) + d] = given ? BB_GIVEN(%d, d) :", number, number);
        LINE("            bb_load(s%d + d * BB_VIEW(%d, BB_FIELD_DIM), (int)BB_VIEW(%d, BB_FIELD_DTYPE));", number,
             number, number);
        LINE("}");
        number++;
    }
    if (stage->uniform_code.count) {
        LINE("BB_BARRIER_GLOBAL();");
        LINE("if (BB_THREAD == 0) bb_uniform_code(size, uniform);");
    }
    g->e.indent = 0;
    LINE("}");
}

/* The elements of an axis, a thread for each. */
static int emit_axis(bbi_gpu *g, uint8_t space, int number) {
    const bbi_stage *stage = g->e.stage;
    const char *upper = space == BBI_ROW ? "ROW" : "COLUMN", *lower = space == BBI_ROW ? "row" : "column";
    bool code = space == BBI_ROW ? stage->row_code.count > 0 : stage->column_code.count > 0;
    LINE("const I64 count = BB_AT(geometry, BB_GEO_%sS), stride = BB_AT(geometry, BB_GEO_%s_STRIDE);", upper, upper);
    LINE("const I64 id = (BB_BLOCK%s) * BB_THREADS + BB_THREAD;",
         space == BBI_ROW ? "" : " - BB_AT(geometry, BB_GEO_ROW_BLOCKS)");
    LINE("if (id >= count * BB_AT(geometry, BB_GEO_SLOTS)) return;");
    LINE("const I64 slot = id / count, at = id - slot * count;");
    LINE("BB_BATCH(slot);");
    LINE("BB_GLOBAL R *to = %s + slot * BB_AT(geometry, BB_GEO_%s_SLOT) + at;", lower, upper);
    for (int32_t k = 0; k < stage->nsource; k++) {
        const bbi_source *s = &stage->source[k];
        if (s->space != space) continue;
        if (s->array < 0) {
            LINE("to[%" PRId64 " * stride] = %s;", s->first, s->array == BBI_NUMBER ? "(R)at" : "K(1)");
            continue;
        }
        LINE("s%d += BB_ORIGIN(%d) + at * BB_VIEW(%d, BB_FIELD_ROW);", number, number, number);
        LINE("for (int d = 0; d < (int)BB_VIEW(%d, BB_FIELD_COUNT); d++)", number);
        LINE("    to[(BB_VIEW(%d, BB_FIELD_FIRST) + d) * stride] =", number);
        LINE("        bb_load(s%d + d * BB_VIEW(%d, BB_FIELD_DIM), (int)BB_VIEW(%d, BB_FIELD_DTYPE));", number, number,
             number);
        number++;
    }
    if (code) LINE("bb_%s_code(size, uniform + slot * BB_AT(geometry, BB_GEO_UNIFORM_SLOT), to, stride);", lower);
    return number;
}

static void emit_pack(bbi_gpu *g) {
    LINE("BB_KERNEL(BB_THREADS) void %s(BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,",
         bbi_gpu_map_symbols[BBI_MAP_PACK]);
    LINE("    BB_GLOBAL const R *BB_RESTRICT uniform, BB_GLOBAL R *row, BB_GLOBAL R *column,");
    print_parameters(g, BBI_COLUMN, print_parameters(g, BBI_ROW, 0));
    LINE("    BB_TABLE(views))");
    LINE("{");
    g->e.indent = 1;
    LINE("if (BB_BLOCK < BB_AT(geometry, BB_GEO_ROW_BLOCKS)) {");
    g->e.indent++;
    int number = emit_axis(g, BBI_ROW, 0);
    g->e.indent--;
    LINE("} else {");
    g->e.indent++;
    emit_axis(g, BBI_COLUMN, number);
    g->e.indent--;
    LINE("}");
    g->e.indent = 0;
    LINE("}");
}

/* ---- the text ---- */
void bbi_gpu_arrays_head(bbi_gpu *g, int arrays) {
    static const char *const dtype[] = {
        [BBI_GPU_F16] = "F16", [BBI_GPU_BF16] = "BF16", [BBI_GPU_F32] = "F32", [BBI_GPU_F64] = "F64"};
    for (int k = 0; k < 4; k++) LINE("#define BB_%s %d", dtype[k], k);
    LINE("#define BB_FIELDS %d\n#define BB_FIELD_OFFSET %d\n#define BB_FIELD_ROW %d\n#define BB_FIELD_DIM %d",
         BBI_FIELDS, BBI_FIELD_OFFSET, BBI_FIELD_ROW, BBI_FIELD_DIM);
    LINE("#define BB_FIELD_DTYPE %d\n#define BB_FIELD_BATCH %d\n#define BB_FIELD_COUNT %d\n#define BB_FIELD_FIRST %d",
         BBI_FIELD_DTYPE, BBI_FIELD_BATCH, BBI_FIELD_COUNT, BBI_FIELD_FIRST);
    LINE("BB_TABLE_TYPE(views, %d)", (arrays > 0 ? arrays : 1) * BBI_FIELDS);
    LINE("#define BB_VALUES %lld\n#define BB_INDICES %lld", (long long)g->layout->values,
         (long long)g->layout->indices);
    bbi_text_append(g->e.text, bbi_prelude_gpu_map, strlen(bbi_prelude_gpu_map));
}

static void emit_head(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    const bbi_code *codes[4 + BBI_GPU_MAX_FOLDS * BBI_GPU_USER_CODES] = {&stage->uniform_code, &stage->row_code,
                                                                       &stage->column_code, &stage->epilogue};
    bbi_gpu_finish_array arrays[BBI_GPU_MAX_ARRAYS];
    int most = bbi_gpu_finish_arrays(stage, arrays);
    int sources = count_sources(stage, BBI_ROW) + count_sources(stage, BBI_COLUMN);
    if (sources > most) most = sources;
    sources = count_sources(stage, BBI_UNIFORM);
    if (sources > most) most = sources;
    bbi_gpu_head(g, codes, bbi_gpu_user_codes(stage, g->options->custom, codes, 4));
    bbi_gpu_arrays_head(g, most);
}

bb_status bbi_emit_gpu_maps(bbi_text *text, const bbi_stage *stage, const bbi_gpu_options *options,
                            const bbi_gpu_layout *layout) {
    bbi_emit_options unused = {.is_double = options->is_double};
    bbi_gpu_layout own = *layout;
    bbi_gpu g = {.e = {.text = text, .stage = stage, .code = &stage->row_code, .options = &unused, .counter = -1},
                 .options = options,
                 .layout = &own};
    emit_head(&g);
    emit_code(&g, "bb_uniform_code", &stage->uniform_code, true);
    emit_code(&g, "bb_row_code", &stage->row_code, false);
    emit_code(&g, "bb_column_code", &stage->column_code, false);
    emit_code(&g, "bb_epilogue", &stage->epilogue, false);
    bbi_gpu_emit_user(&g, true);
    emit_uniform(&g);
    emit_pack(&g);
    bbi_gpu_emit_finish(&g);
    return text->failed ? bbi_fail(BB_OUT_OF_MEMORY, "no memory for the text of a kernel") : BB_OK;
}
