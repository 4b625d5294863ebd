/* emit_gpu_listed.c: sums over listed pairs. Sums are compensated.
 *
 * A list of the rows: a thread takes a row (and a part of its entries, where rows are few) and gathers columns.
 *
 * A list of the columns names rows, in any order. Adding to them by atomic operations would give other bits on every run,
 * so the entries are sorted by the row that they name, by a radix sort that keeps the order of the list: keys, then for each
 * digit counts of a tile, their sums over all tiles, and a move; a thread for each row then adds its entries, which stand
 * together now, in the order of the list. Sums of whole blocks of BBI_GPU_SORT_BLOCK sorted entries of one row are made
 * before, by a thread for each, so that a row that most entries name keeps no one waiting. Long lists come in pieces of
 * whole columns; sums and corrections of a row stand in `value` meanwhile.
 *
 * An index that names nothing makes NaN of the row (lists of the columns: of all rows): a device cannot return a status, and
 * lists of the host are checked before (gpu_listed.c). */
#include "emit_gpu.h"

#include <inttypes.h>
#include <string.h>

extern const char bbi_prelude_gpu_listed[], bbi_prelude_gpu_listed_rows[], bbi_prelude_gpu_listed_columns[];

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
enum { MOST_REGISTER_SUMS = 16 };

const char *const *bbi_gpu_pair_symbols(const bbi_stage *stage) {
    static const char *const pairs[] = {BBI_GPU_SYMBOL, NULL};
    static const char *const rows[] = {"benben_listed", NULL};
    static const char *const columns[BBI_LISTED_KERNELS + 1] = {[BBI_LISTED_KEYS] = "benben_listed_keys",
                                                                [BBI_LISTED_COUNT] = "benben_listed_count",
                                                                [BBI_LISTED_SCAN] = "benben_listed_scan",
                                                                [BBI_LISTED_MOVE] = "benben_listed_move",
                                                                [BBI_LISTED_BLOCKS] = "benben_listed_blocks",
                                                                [BBI_LISTED_ROWS] = "benben_listed_rows"};
    return !stage->list ? pairs : stage->list_transposed ? columns : rows;
}

/* ---- one pair ---- */
static bool sums_in_registers(const bbi_gpu *g) {
    const bbi_code *code = &g->e.stage->pair_code;
    for (int32_t n = 0; n < code->count; n++)
        if (code->instruction[n].kind == BBI_STEP_OUT && code->index[code->instruction[n].index].op != BBI_IX_CONST)
            return false;
    return g->e.stage->out_count <= MOST_REGISTER_SUMS;
}

static int64_t entry_component(const bbi_stage *stage) {
    for (int32_t k = 0; k < stage->nsource; k++)
        if (stage->source[k].array == BBI_SLOT && stage->source[k].space == BBI_ROW) return stage->source[k].first;
    return -1;
}

static void emit_pair(bbi_gpu *g) {
    static const bbi_gpu_spaces spaces = {.uniform = {"uniform[", "]"},
                                          .row = {"row[(I64)", " * row_stride]"},
                                          .column = {"column[(I64)", " * column_stride]"},
                                          .out = {"BB_ADD(", ", "},
                                          .behind = ")"};
    bbi_gpu_spaces own = spaces;
    own.entry = entry_component(g->e.stage);
    LINE("BB_INLINE void bb_add_pair(BB_GLOBAL const I64 *size, BB_GLOBAL const R *uniform, BB_GLOBAL const R *row,");
    LINE("    I64 row_stride, BB_GLOBAL const R *column, I64 column_stride, I64 entry, BB_SUMS)");
    LINE("{");
    g->e.indent = 1;
    bbi_gpu_print_code(g, &g->e.stage->pair_code, &own);
    g->e.indent = 0;
    LINE("}");
}

/* ---- entry ---- */
static void lay_out(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    bbi_gpu_layout *l = g->layout;
    l->rows = l->casts = 1;
    l->values = 2 * stage->out_count;
    l->low_step = stage->out_count;
    for (int32_t k = 0; k < stage->nfold; k++) {
        l->value_first[k] = stage->fold[k].out_first;
        l->low[k] = true;
    }
}

void bbi_gpu_emit_listed(bbi_gpu *g) {
    static const char *const pass[BBI_PASS_COUNT] = {
        [BBI_PASS_LIST_DIM] = "LIST_DIM",         [BBI_PASS_FIRST_SLOT] = "FIRST_SLOT",
        [BBI_PASS_SLOTS] = "SLOTS",               [BBI_PASS_FIRST_COLUMN] = "FIRST_COLUMN",
        [BBI_PASS_COLUMNS] = "COLUMNS",           [BBI_PASS_ENTRIES] = "ENTRIES",
        [BBI_PASS_CAPACITY] = "CAPACITY",         [BBI_PASS_TILES] = "TILES",
        [BBI_PASS_SHIFT] = "SHIFT",               [BBI_PASS_SIDE] = "SIDE"};
    const bbi_code *code = &g->e.stage->pair_code;
    lay_out(g);
    bbi_gpu_head(g, &code, 1);
    bbi_gpu_arrays_head(g, 1);
    for (int k = 0; k < BBI_PASS_COUNT; k++) LINE("#define BB_PASS_%s %d", pass[k], k);
    LINE("BB_TABLE_TYPE(pass, %d)", (int)BBI_PASS_COUNT);
    LINE("#define BB_OUTS %" PRId64 "\n#define BB_ITEMS %d\n#define BB_BITS %d\n#define BB_SORTED %d",
         g->e.stage->out_count, (int)BBI_GPU_SORT_ITEMS, (int)BBI_GPU_SORT_BITS, (int)BBI_GPU_SORT_BLOCK);
    LINE("#define BB_REGISTERS %d", (int)sums_in_registers(g));
    bbi_text_append(g->e.text, bbi_prelude_gpu_listed, strlen(bbi_prelude_gpu_listed));
    const char *kernels = g->e.stage->list_transposed ? bbi_prelude_gpu_listed_columns : bbi_prelude_gpu_listed_rows;
    bbi_text_append(g->e.text, kernels, strlen(kernels));
    emit_pair(g);
}
