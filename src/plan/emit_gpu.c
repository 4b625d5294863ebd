/* emit_gpu.c: the text of a stage's kernel for graphics processors: prelude, skeleton, and the segments of the pair code.
 * A pure function of the stage and the options. See emit_gpu.h for the words. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <string.h>

extern const char bbi_prelude_gpu[], bbi_prelude_cuda[], bbi_prelude_cuda_trig[], bbi_prelude_opencl[];

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
enum {
    MAX_TILE_COMPONENTS = 58,
    MAX_TILE_COMPONENTS_DOUBLE = 26
}; /* less than 32 KiB of local memory, with what a distance adds */

const char *bbi_gpu_refusal(const bbi_stage *stage) {
    if (stage->nsource + stage->nresult + stage->nfold > BBI_GPU_MAX_ARRAYS) return "more arrays than a kernel takes";
    if (stage->symmetric) return "a symmetric schedule";
    if (stage->nfold > BBI_GPU_MAX_FOLDS) return "more reductions than a kernel takes";
    for (int32_t k = 0; k < stage->nfold; k++)
        if (stage->fold[k].family == BBI_FAMILY_USER && !bbi_gpu_takes_user(stage, &stage->fold[k]))
            return "a reduction of the caller's own of a long vector";
    return NULL;
}

/* ---- the shape of the code ---- */
static bool is_sink(const bbi_instruction *s) { return s->kind == BBI_STEP_SUM || s->kind == BBI_STEP_OUT; }

static bool has_result(const bbi_instruction *s) {
    return s->kind == BBI_STEP_MAP || s->kind == BBI_STEP_SET || s->kind == BBI_STEP_CHOOSE;
}

static void find_loops(bbi_gpu *g) {
    const bbi_code *code = g->e.code;
    for (int32_t n = 0; n < code->count; n++) {
        if (code->instruction[n].kind != BBI_STEP_LOOP) continue;
        int32_t at = n;
        for (int depth = 0; at < code->count; at++) {
            const bbi_instruction *s = &code->instruction[at];
            if (s->kind == BBI_STEP_LOOP && ++depth > 1) g->nested[n] = true;
            if (s->kind == BBI_STEP_END && --depth == 0) break;
            if (is_sink(s)) g->e.sinks[n] = true;
            for (int a = 0; has_result(s) && a < s->narg; a++)
                if (s->arg[a].space == BBI_VALUE && s->arg[a].number == s->result) g->e.carries[n] = true;
        }
        g->e.end[n] = at;
    }
}

/* A loop with segments inside. */
static bool is_opened(const bbi_gpu *g, int32_t n) {
    return g->e.code->instruction[n].kind == BBI_STEP_LOOP && (g->e.sinks[n] || (g->e.carries[n] && !g->nested[n]));
}

static int32_t segment_end(const bbi_gpu *g, int32_t first, int32_t last) {
    int32_t n = first;
    while (n < last && !is_opened(g, n)) n = g->e.code->instruction[n].kind == BBI_STEP_LOOP ? g->e.end[n] + 1 : n + 1;
    return n;
}

static void number_segments(bbi_gpu *g, int32_t first, int32_t last, int32_t *count) {
    for (int32_t n = first; n < last;) {
        int32_t stop = segment_end(g, n, last);
        if (stop == n) {
            number_segments(g, n + 1, g->e.end[n], count);
            n = g->e.end[n] + 1;
            continue;
        }
        for (; n < stop; n++) g->e.segment[n] = *count;
        ++*count;
    }
}

static void find_crossing(bbi_gpu *g) {
    const bbi_code *code = g->e.code;
    for (int32_t v = 0; v < code->value_count; v++) g->e.home[v] = -1;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_LOOP || s->kind == BBI_STEP_END) continue;
        for (int a = 0; a < s->narg; a++) {
            if (s->arg[a].space != BBI_VALUE) continue;
            if (g->e.home[s->arg[a].number] != g->e.segment[n]) g->crosses[s->arg[a].number] = true;
        }
        if (!has_result(s)) continue;
        if (g->e.home[s->result] < 0) g->e.home[s->result] = g->e.segment[n];
        if (g->e.home[s->result] != g->e.segment[n]) g->crosses[s->result] = true;
    }
}

/* ---- blocks ---- */
double bbi_gpu_work(const bbi_gpu *g) {
    double work = 0;
    for (int32_t n = 0; n < g->e.code->count; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if (s->kind == BBI_STEP_MAP) work += 1 + bbi_op_info(s->op)->cost;
    }
    return work;
}

/* Rows and casts of a block: what crosses between segments, sums and lists have to fit into registers. */
static void choose_block(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    bbi_gpu_layout *l = g->layout;
    double work = bbi_gpu_work(g);
    int crossing = 0;
    int64_t list = 1;
    bool sinks = false;
    for (int32_t v = 0; v < g->e.code->value_count; v++) crossing += g->crosses[v];
    for (int32_t n = 0; n < g->e.code->count; n++) sinks = sinks || g->e.sinks[n];
    for (int32_t k = 0; k < stage->nfold; k++)
        if (stage->fold[k].family == BBI_FAMILY_KMIN && stage->fold[k].k > list) list = stage->fold[k].k;
    l->rows = work > 200 || list > 8 ? 1 : work > 60 || list > 1 ? 2 : 4;
    l->casts = work > 200 ? 1 : 4;
    if (sinks && crossing <= 2) l->rows = l->rows > 2 ? 2 : l->rows, l->casts = 8;
    while (l->rows > 1 && crossing * l->rows * l->casts > 64) l->rows /= 2;
    while (l->casts > 1 && crossing * l->rows * l->casts > 64) l->casts /= 2;
    while (l->rows > 1 && stage->sum_count * l->rows > 32) l->rows /= 2;
    if (g->options->is_double) {
        l->rows = l->rows > 2 && stage->nfold == 1 && stage->sum_count <= 2 && stage->out_count <= 1 ? 2 : 1;
    }
    if (g->options->few_rows) l->rows = 1;
    l->shared = stage->column_count <= (g->options->is_double ? MAX_TILE_COMPONENTS_DOUBLE : MAX_TILE_COMPONENTS);
}

/* ---- the segments ---- */
static void emit_sequence(bbi_gpu *g, int32_t first, int32_t last) {
    for (int32_t n = first; n < last;) {
        int32_t stop = segment_end(g, n, last);
        if (stop == n && g->served[n]) {
            n = g->e.end[n] + 1;
            continue;
        }
        if (stop > n) {
            bbi_gpu_segment(g, n, stop);
            n = stop;
            continue;
        }
        const bbi_instruction *loop = &g->e.code->instruction[n];
        if (g->deep.on && g->casts > 1) {
            bbi_gpu_deep_loop(g, n);
            n = g->e.end[n] + 1;
            continue;
        }
        bbi_text_add(g->e.text, "%*s%s for (int c%d = 0; c%d < ", 4 * g->e.indent, "",
                     g->e.sinks[n] ? "BB_ROLLED" : "BB_UNROLL_TWICE", (int)loop->counter, (int)loop->counter);
        bbi_emit_index(&g->e, loop->index, 0);
        bbi_text_add(g->e.text, "; c%d++) {\n", (int)loop->counter);
        g->e.indent++;
        emit_sequence(g, n + 1, g->e.end[n]);
        g->e.indent--;
        LINE("}");
        n = g->e.end[n] + 1;
    }
}

/* The columns q, q + 1, ... of a tile: `casts` at a time. */
static void emit_block(bbi_gpu *g, int casts) {
    g->casts = casts;
    if (g->deep.on && casts > 1)
        LINE("{");
    else
        LINE("BB_ROLLED for (; q + %d <= n; q += %d * shares) {", casts, casts);
    g->e.indent++;
    for (int32_t v = 0; v < g->e.code->value_count; v++)
        if (g->crosses[v]) LINE("V a%d[BB_ROWS][%d];", (int)v, casts);
    if (g->fast && !g->distance.scale) {
        bbi_gpu_select_distance(g);
    } else {
        bbi_gpu_declare_outs(g);
        emit_sequence(g, 0, g->e.code->count);
        if (g->products.count) bbi_gpu_store_values(g);
        bbi_gpu_step_user(g);
    }
    g->e.indent--;
    LINE("}");
}

/* The loop of expanded distances; where it is not taken the next loop meets the columns. Threads that share rows agree
 * about an exponent, whose condition is of rows and tile alone: its blocks may be larger. Of a selection, whose condition
 * is also of the thread's own state, they need not: the blocks of both loops are the same, and q goes on. */
static void emit_fast(bbi_gpu *g) {
    int casts = g->distance.scale && !g->options->is_double ? 8 : g->layout->casts;
    g->fast = true;
    if (!g->distance.scale) bbi_gpu_begin_selection(g);
    LINE("int q = share * %d;", casts);
    LINE("if (fast) {");
    g->e.indent++;
    emit_block(g, casts);
    g->e.indent--;
    LINE("}");
    if (g->distance.scale) LINE("q = (fast ? n / %d * %d : 0) + share * %d;", casts, casts, g->layout->casts);
    g->fast = false;
}

/* ---- skeleton ---- */
static const char opening[] =
    "BB_KERNEL_OF(BB_THREADS, BB_BLOCKS) void " BBI_GPU_SYMBOL "(\n"
    "    BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,\n"
    "    BB_GLOBAL const R *BB_RESTRICT uniform, BB_GLOBAL const R *BB_RESTRICT row,\n"
    "    BB_GLOBAL const R *BB_RESTRICT column, BB_GLOBAL const I64 *BB_RESTRICT group,\n"
    "    BB_GLOBAL const I64 *BB_RESTRICT interval, BB_GLOBAL A *BB_RESTRICT value,\n"
    "    BB_GLOBAL I64 *BB_RESTRICT index, BB_GLOBAL R *BB_RESTRICT scratch BB_TILE_ARGUMENT)\n"
    "{\n"
    "    BB_TILE_DECLARATION\n"
    "    const int tx = BB_TX, shares = BB_THREADS / tx, x = BB_THREAD % tx, share = "
    "BB_THREAD / "
    "tx;\n"
    "    const I64 groups = BB_AT(geometry, BB_GEO_GROUPS), chunks = BB_AT(geometry, BB_GEO_CHUNKS);\n"
    "    const I64 row_stride = BB_AT(geometry, BB_GEO_ROW_STRIDE), column_stride = BB_AT(geometry, "
    "BB_GEO_COLUMN_STRIDE);\n"
    "    const I64 total = BB_AT(geometry, BB_GEO_TOTAL);\n"
    "    const I64 chunk = BB_BLOCK % chunks, number = BB_BLOCK / chunks % groups, slot = BB_BLOCK / chunks / groups;\n"
    "    const I64 part = BB_TOGETHER ? chunk : chunk * shares + share, begin = chunk * BB_AT(geometry, "
    "BB_GEO_CHUNK);\n"
    "    const I64 padded = (slot * groups + number) * tx * BB_ROWS + (BB_TOGETHER ? 0 : x);\n"
    "    I64 first_row = (BB_AT(geometry, BB_GEO_FIRST_GROUP) + number) * tx * BB_ROWS;\n"
    "    I64 end_row = BB_AT(geometry, BB_GEO_ROWS), columns = BB_AT(geometry, BB_GEO_COLUMNS), intervals = 0;\n"
    "    if (BB_AT(geometry, BB_GEO_RANGES)) {\n"
    "        group += (BB_AT(geometry, BB_GEO_FIRST_GROUP) + number) * 5;\n"
    "        first_row = group[0], end_row = group[1], intervals = group[3], columns = group[4];\n"
    "        interval += 2 * group[2];\n"
    "    }\n"
    "    uniform += slot * BB_AT(geometry, BB_GEO_UNIFORM_SLOT);\n"
    "    row += slot * BB_AT(geometry, BB_GEO_ROW_SLOT);\n"
    "    column += slot * BB_AT(geometry, BB_GEO_COLUMN_SLOT);\n"
    "    I64 at[BB_ROWS];\n"
    "    BB_EACH(r, BB_ROWS) at[r] = first_row + x + r * tx < end_row ? first_row + x + r * tx : end_row - 1;\n"
    "    value += part * BB_VALUES * total + padded;\n"
    "    index += part * BB_INDICES * total + padded;\n"
    "    scratch += part * BB_SLOTS * total + padded;\n"
    "    const I64 left = columns - begin, most = BB_AT(geometry, BB_GEO_CHUNK);\n"
    "    const int count = (int)(left < 0 ? 0 : left < most ? left : most);\n";

/* Threads of all shares fill the tile. A position beyond the columns is never read. */
static void emit_fill(const bbi_gpu *g, bool expanded) {
    LINE("BB_BARRIER();");
    if (expanded) LINE("if (BB_THREAD == 0) tallest[0] = 0;");
    LINE("for (int k = BB_THREAD; k < n; k += BB_THREADS) {");
    LINE("    const I64 place = begin + t + k, c = intervals ? bb_column(interval, intervals, place) : place;");
    if (g->layout->shared && g->e.stage->column_count <= 8)
        LINE("    BB_EACH(d, %d) tile[d * BB_TILE + k] = column[d * column_stride + c];",
             (int)g->e.stage->column_count);
    else if (g->layout->shared)
        LINE("    for (int d = 0; d < %d; d++) tile[d * BB_TILE + k] = column[d * column_stride + c];",
             (int)g->e.stage->column_count);
    else
        LINE("    place_of[k] = c;");
    LINE("}");
    LINE("BB_BARRIER();");
}

static bool names_size(const bbi_code *code, int64_t slot) {
    for (int32_t n = 0; n < code->index_count; n++)
        if (code->index[n].op == BBI_IX_SIZE && code->index[n].value == slot) return true;
    return false;
}

/* Columns from q on. */
static void emit_tile(bbi_gpu *g) {
    emit_block(g, g->layout->casts);
    if (g->layout->casts == 1) return;
    LINE("q = n / %d * %d + share;", g->layout->casts, g->layout->casts);
    emit_block(g, 1);
}

void bbi_gpu_emit_pairs(bbi_gpu *g) {
    LINE("int q = share * %d;", g->layout->casts);
    emit_tile(g);
}

/* Tiles that are full, and the columns behind them. */
static void emit_deep(bbi_gpu *g) {
    LINE("if (n == BB_TILE) {");
    g->e.indent++;
    LINE("const int q = share * %d;", g->layout->casts);
    emit_block(g, g->layout->casts);
    g->e.indent--;
    LINE("} else {");
    g->e.indent++;
    LINE("int q = share;");
    emit_block(g, 1);
    g->e.indent--;
    LINE("}");
}

static void emit_kernel(bbi_gpu *g) {
    bool direct = g->options->scheme == 2;
    bbi_text_append(g->e.text, opening, sizeof opening - 1);
    g->e.indent = 1;
    for (int32_t slot = 0; slot < g->e.stage->nsize; slot++)
        if (names_size(g->e.code, slot)) LINE("const int n%d = (int)size[%d];", (int)slot, (int)slot);
    if (!g->layout->shared) LINE("BB_LOCAL_ARRAY(I64, place_of, BB_TILE);");
    if (g->products.count) {
        bbi_gpu_emit_products(g);
        g->e.indent--;
        LINE("}");
        return;
    }
    if (g->deep.on) bbi_gpu_deep_begin(g);
    bbi_gpu_hold(g);
    bbi_gpu_begin_states(g);
    bool expanded = bbi_gpu_is_expanded(g) && g->layout->casts == 4;
    if (expanded) LINE("BB_LOCAL_ARRAY(unsigned, tallest, 1);");
    LINE("for (int t = 0; t < count; t += BB_TILE) {");
    g->e.indent++;
    LINE("const int n = count - t < BB_TILE ? count - t : BB_TILE;");
    emit_fill(g, expanded);
    if (expanded) {
        bbi_gpu_prepare_distance(g);
        emit_fast(g);
        emit_tile(g);
    } else if (g->deep.on) {
        emit_deep(g);
    } else {
        bbi_gpu_emit_pairs(g);
    }
    if (!direct) bbi_gpu_flush(g);
    g->e.indent--;
    LINE("}");
    if (direct) bbi_gpu_flush(g);
    bbi_gpu_end_states(g);
    g->e.indent--;
    LINE("}");
}

static void emit_operations(bbi_gpu *g, const bbi_code *const *codes, int count) {
    static const char *const operands[] = {"void", "V a", "V a, V b", "V a, V b, V c"};
    bool used[BBI_OP_COUNT] = {false};
    for (int k = 0; k < count; k++)
        for (int32_t n = 0; n < codes[k]->count; n++)
            if (codes[k]->instruction[n].kind == BBI_STEP_MAP) used[codes[k]->instruction[n].op] = true;
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *row = bbi_op_info(op);
        if (used[op]) LINE("BB_INLINE V op_%s(%s) { return %s; }", row->name, operands[row->arity], row->value);
    }
}

void bbi_gpu_head(bbi_gpu *g, const bbi_code *const *codes, int count) {
    static const char *const geometry[BBI_GEO_COUNT] = {
        [BBI_GEO_TX] = "TX",
        [BBI_GEO_GROUPS] = "GROUPS",
        [BBI_GEO_FIRST_GROUP] = "FIRST_GROUP",
        [BBI_GEO_CHUNKS] = "CHUNKS",
        [BBI_GEO_CHUNK] = "CHUNK",
        [BBI_GEO_ROWS] = "ROWS",
        [BBI_GEO_COLUMNS] = "COLUMNS",
        [BBI_GEO_ROW_STRIDE] = "ROW_STRIDE",
        [BBI_GEO_ROW_SLOT] = "ROW_SLOT",
        [BBI_GEO_COLUMN_STRIDE] = "COLUMN_STRIDE",
        [BBI_GEO_COLUMN_SLOT] = "COLUMN_SLOT",
        [BBI_GEO_UNIFORM_SLOT] = "UNIFORM_SLOT",
        [BBI_GEO_TOTAL] = "TOTAL",
        [BBI_GEO_RANGES] = "RANGES",
        [BBI_GEO_SLOTS] = "SLOTS",
        [BBI_GEO_FIRST_BATCH] = "FIRST_BATCH",
        [BBI_GEO_BATCH] = "BATCH",
        [BBI_GEO_ROW_BLOCKS] = "ROW_BLOCKS",
        [BBI_GEO_PARTS] = "PARTS",
        [BBI_GEO_GROUP_ROWS] = "GROUP_ROWS",
        [BBI_GEO_EXTENT_J] = "EXTENT_J",
        [BBI_GEO_STEP] = "STEP",
    };
    static const char *const preludes[2][2] = {{bbi_prelude_opencl, ""}, {bbi_prelude_cuda, bbi_prelude_cuda_trig}};
    const char *const *target = preludes[g->options->cuda];
    LINE("#define BB_DOUBLE %d\n#define BB_WIDE %d", (int)g->options->is_double,
         (int)(g->options->is_double || g->options->wide));
    for (int k = 0; k < 2; k++) bbi_text_append(g->e.text, target[k], strlen(target[k]));
    bbi_text_append(g->e.text, bbi_prelude_gpu, strlen(bbi_prelude_gpu));
    bbi_text_add(g->e.text, BBI_KERNEL_MARK);
    emit_operations(g, codes, count);
    for (int k = 0; k < BBI_GEO_COUNT; k++)
        if (geometry[k]) LINE("#define BB_GEO_%s %d", geometry[k], k);
    LINE("BB_TABLE_TYPE(geometry, %d)", (int)BBI_GEO_COUNT);
    LINE("#define BB_THREADS %d", BBI_GPU_THREADS);
}

static int tile_of(const bbi_gpu *g) {
    return g->products.count ? g->products.columns : g->deep.on ? g->deep.tile : BBI_GPU_TILE;
}

static void emit_head(bbi_gpu *g) {
    const bbi_gpu_layout *l = g->layout;
    const bbi_code *codes[1 + BBI_GPU_MAX_FOLDS * BBI_GPU_USER_CODES] = {g->e.code};
    bbi_gpu_head(g, codes, bbi_gpu_user_codes(g->e.stage, g->options->custom, codes, 1));
    LINE("#define BB_TILE %d\n#define BB_ROWS %d", tile_of(g), l->rows);
    if (l->tx)
        LINE("#define BB_TX %d", l->tx);
    else
        LINE("#define BB_TX (int)BB_AT(geometry, BB_GEO_TX)");
    LINE("#define BB_TOGETHER %d\n#define BB_BLOCKS %d", (int)l->together,
         g->products.count ? bbi_gpu_product_blocks(g)
         : g->deep.on      ? g->deep.blocks
                           : g->blocks);
    if (g->products.count) bbi_gpu_product_head(g);
    if (g->deep.on) bbi_gpu_deep_head(g);
    LINE("#define BB_VALUES %lld\n#define BB_INDICES %lld\n#define BB_SLOTS %lld", (long long)l->values,
         (long long)l->indices, (long long)l->slots);
    LINE("#define BB_LOG2E K(0x1.71547652b82fep+0)\n#define BB_LARGE K(%s)",
         g->options->is_double ? "0x1p55" : "0x1p26");
    LINE("#define BB_DRIFT(m, lm) (fabs(m) > BB_LARGE ? K(0) : v_fma(m, BB_LOG2E, lm))");
    LINE("#define BB_VALUE(c, r) value[(I64)(c) * total + (r) * tx]");
    LINE("#define BB_INDEX(c, r) index[(I64)(c) * total + (r) * tx]");
    LINE("#define BB_SLOT(c, r) scratch[(I64)(c) * total + (r) * tx]");
    if (l->shared)
        LINE("#define BB_COLUMN(c, u) tile[(c) * BB_TILE + q + (u)]");
    else
        LINE("#define BB_COLUMN(c, u) column[(I64)(c) * column_stride + place_of[q + (u)]]");
}

/* ---- entry ---- */
static bool new_emitter(bbi_gpu *g) {
    size_t steps = (size_t)g->e.code->count + 1, values = (size_t)g->e.code->value_count + 1;
    g->e.end = bbi_calloc(steps, sizeof *g->e.end);
    g->e.sinks = bbi_calloc(steps, sizeof *g->e.sinks);
    g->e.carries = bbi_calloc(steps, sizeof *g->e.carries);
    g->nested = bbi_calloc(steps, sizeof *g->nested);
    g->e.segment = bbi_calloc(steps, sizeof *g->e.segment);
    g->e.home = bbi_calloc(values, sizeof *g->e.home);
    g->crosses = bbi_calloc(values, sizeof *g->crosses);
    g->assigned = bbi_calloc(values, sizeof *g->assigned);
    g->skip = bbi_calloc(steps, sizeof *g->skip);
    g->served = bbi_calloc(steps, sizeof *g->served);
    g->products.used = bbi_calloc((size_t)g->e.stage->column_count + 1, sizeof *g->products.used);
    g->held = bbi_calloc(3 * (size_t)g->e.code->index_count + 1, sizeof *g->held);
    return g->e.end && g->e.sinks && g->e.carries && g->nested && g->e.segment && g->e.home && g->crosses &&
           g->assigned && g->skip && g->served && g->products.used && g->held;
}

static void free_emitter(bbi_gpu *g) {
    bbi_free(g->e.end);
    bbi_free(g->e.sinks);
    bbi_free(g->e.carries);
    bbi_free(g->nested);
    bbi_free(g->e.segment);
    bbi_free(g->e.home);
    bbi_free(g->crosses);
    bbi_free(g->assigned);
    bbi_free(g->skip);
    bbi_free(g->served);
    bbi_free(g->products.used);
    bbi_free(g->held);
}

bb_status bbi_emit_gpu(bbi_text *text, const bbi_stage *stage, const bbi_gpu_options *options, bbi_gpu_layout *layout) {
    bbi_emit_options unused = {.is_double = options->is_double};
    bbi_gpu g = {.e = {.text = text, .stage = stage, .code = &stage->pair_code, .options = &unused, .counter = -1},
                 .options = options,
                 .layout = layout};
    bb_status status = BB_OK;
    memset(layout, 0, sizeof *layout);
    if (stage->folded == BBI_P) return BB_OK;
    if (stage->list) {
        bbi_gpu_emit_listed(&g);
        return text->failed ? bbi_fail(BB_OUT_OF_MEMORY, "no memory for the text of a kernel") : BB_OK;
    }
    if (new_emitter(&g)) {
        int32_t count = 0;
        find_loops(&g);
        number_segments(&g, 0, g.e.code->count, &count);
        find_crossing(&g);
        if (!bbi_gpu_find_products(&g) && !bbi_gpu_find_deep(&g)) {
            choose_block(&g);
            bbi_gpu_choose_states(&g);
            bbi_gpu_find_distance(&g);
        }
        emit_head(&g);
        bbi_gpu_emit_user(&g, false);
        emit_kernel(&g);
        if (text->failed) status = bbi_fail(BB_OUT_OF_MEMORY, "no memory for the text of a kernel");
    } else {
        status = bbi_fail(BB_OUT_OF_MEMORY, "no memory to emit a kernel");
    }
    free_emitter(&g);
    return status;
}
