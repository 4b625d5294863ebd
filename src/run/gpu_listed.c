/* gpu_listed.c: stages over listed pairs on a device: how they are laid out, and the kernels of emit_gpu_listed.c one after
 * the other. How a list is cut depends on sizes alone. */
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS_WANTED = 512, FEWEST_ENTRIES = 16 };
static const int64_t partial_limit = 256 << 20; /* bytes of sums of a launch */
static const int64_t most_entries = 1 << 22;    /* that are sorted at a time; $BENBEN_DEVICE_ENTRIES */

static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

void bbi_gpu_plan_listed(const bbi_gpu_layout *layout, const bbi_stage *stage, int64_t rows, int64_t slots, bool is_wide,
                         bbi_gpu_launch *l) {
    *l = (bbi_gpu_launch){.tx = BBI_GPU_THREADS, .group_rows = BBI_GPU_THREADS, .shares = 1, .chunks = 1};
    l->groups = ceil_div(rows, l->group_rows);
    int64_t blocks = l->groups * slots > 0 ? l->groups * slots : 1;
    if (!stage->list_transposed)
        l->chunks = clamp(ceil_div(BLOCKS_WANTED, blocks), 1, clamp(stage->list_dim / FEWEST_ENTRIES, 1, 1 << 20));
    l->chunk = ceil_div(stage->list_dim > 0 ? stage->list_dim : 1, l->chunks);
    l->chunks = ceil_div(stage->list_dim > 0 ? stage->list_dim : 1, l->chunk);
    l->parts = l->chunks;
    int64_t group_bytes = l->group_rows * slots * l->parts * (layout->values * (is_wide ? 8 : 4) + 1);
    l->band = clamp(partial_limit / (group_bytes > 0 ? group_bytes : 1), 1, l->groups > 0 ? l->groups : 1);
}

/* ---- pieces of a list of the columns ---- */
typedef struct piece {
    int64_t slots, columns, capacity, tiles;
} piece;

static piece piece_of(const bbi_gpu_launcher *l, int64_t slots) {
    const char *asked = bbi_environment("BENBEN_DEVICE_ENTRIES");
    int64_t most = asked ? strtoll(asked, NULL, 10) : most_entries, dim = l->stage->list_dim;
    int64_t columns = l->columns > 0 ? l->columns : 1;
    piece p = {.slots = clamp(most / (columns * dim), 1, slots)};
    p.columns = clamp(most / (p.slots * dim), 1, columns);
    p.capacity = p.slots * p.columns * dim;
    p.tiles = ceil_div(p.capacity, BBI_GPU_SORT_TILE);
    return p;
}

void bbi_gpu_measure_listed(bbi_gpu_launcher *l, bool is_wide) {
    if (!l->stage->list_transposed) return;
    piece p = piece_of(l, l->call->slots);
    bbi_gpu_enlarge(l->call, BBI_BUFFER_ENTRIES, 4 * (4 * p.capacity + (1 << BBI_GPU_SORT_BITS) * p.tiles));
    bbi_gpu_enlarge(l->call, BBI_BUFFER_BLOCKS,
                    (p.capacity / BBI_GPU_SORT_BLOCK + 1) * l->ready.pairs->layout.values * (is_wide ? 8 : 4));
}

static void begin(bbi_gpu_launcher *l) {
    l->arguments = l->arrays = 0;
    bbi_gpu_add_table(l, l->geometry, BBI_GEO_COUNT);
}

static void add_operands(bbi_gpu_launcher *l) {
    bbi_gpu_add_memory(l, &l->ready.size);
    for (int k = 0; k <= BBI_BUFFER_COLUMNS; k++) bbi_gpu_add_memory(l, &l->call->buffer[k]);
}

static void add_list(bbi_gpu_launcher *l) {
    bbi_gpu_add_array(l, bbi_gpu_source_view(l->call, l->stage->list_array), l->stage->list_dim, 0);
}

static bb_status start(bbi_gpu_launcher *l, bbi_gpu_listed_kernel which, int64_t blocks, const int64_t *pass) {
    const bbi_gpu_call *call = l->call;
    bbi_gpu_add_table(l, pass, BBI_PASS_COUNT);
    if (l->arrays) bbi_gpu_add_table(l, l->views, BBI_FIELDS);
    return call->device->driver->launch(call->device, call->stream, l->ready.pairs->kernel, (int)which, blocks,
                                        BBI_GPU_THREADS, 0, l->argument, l->arguments);
}

/* Entries and keys end up in pass[BBI_PASS_SIDE]. */
static bb_status sort(bbi_gpu_launcher *l, int64_t *pass) {
    int64_t keys = pass[BBI_PASS_SLOTS] * l->geometry[BBI_GEO_GROUPS] * BBI_GPU_THREADS + 2;
    begin(l);
    add_list(l);
    bbi_gpu_add_memory(l, &l->call->buffer[BBI_BUFFER_ENTRIES]);
    BBI_FORWARD(start(l, BBI_LISTED_KEYS, ceil_div(pass[BBI_PASS_ENTRIES], BBI_GPU_THREADS), pass));
    for (pass[BBI_PASS_SHIFT] = 0; (keys - 1) >> pass[BBI_PASS_SHIFT]; pass[BBI_PASS_SHIFT] += BBI_GPU_SORT_BITS) {
        for (int which = BBI_LISTED_COUNT; which <= BBI_LISTED_MOVE; which++) {
            begin(l);
            bbi_gpu_add_memory(l, &l->call->buffer[BBI_BUFFER_ENTRIES]);
            BBI_FORWARD(start(l, (bbi_gpu_listed_kernel)which, which == BBI_LISTED_SCAN ? 1 : pass[BBI_PASS_TILES], pass));
        }
        pass[BBI_PASS_SIDE] = 1 - pass[BBI_PASS_SIDE];
    }
    return BB_OK;
}

static bb_status add_piece(bbi_gpu_launcher *l, int64_t *pass) {
    bbi_gpu_call *call = l->call;
    int64_t entries = pass[BBI_PASS_SLOTS] * pass[BBI_PASS_COLUMNS] * pass[BBI_PASS_LIST_DIM];
    pass[BBI_PASS_ENTRIES] = entries;
    pass[BBI_PASS_TILES] = ceil_div(entries, BBI_GPU_SORT_TILE);
    pass[BBI_PASS_SIDE] = 0;
    if (entries > 0) BBI_FORWARD(sort(l, pass));
    if (entries >= BBI_GPU_SORT_BLOCK) {
        begin(l);
        add_operands(l);
        bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_ENTRIES]);
        bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_BLOCKS]);
        BBI_FORWARD(start(l, BBI_LISTED_BLOCKS, ceil_div(entries / BBI_GPU_SORT_BLOCK, BBI_GPU_THREADS), pass));
    }
    begin(l);
    add_operands(l);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_ENTRIES]);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_BLOCKS]);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_VALUES]);
    return start(l, BBI_LISTED_ROWS, l->geometry[BBI_GEO_TOTAL] / BBI_GPU_THREADS, pass);
}

static bb_status start_transposed(bbi_gpu_launcher *l) {
    piece p = piece_of(l, l->call->slots);
    int64_t pass[BBI_PASS_COUNT] = {[BBI_PASS_LIST_DIM] = l->stage->list_dim, [BBI_PASS_CAPACITY] = p.capacity};
    for (int64_t slot = 0; slot < l->slots; slot += p.slots) {
        pass[BBI_PASS_FIRST_SLOT] = slot;
        pass[BBI_PASS_SLOTS] = l->slots - slot < p.slots ? l->slots - slot : p.slots;
        int64_t column = 0;
        do { /* once where there is no column */
            pass[BBI_PASS_FIRST_COLUMN] = column;
            pass[BBI_PASS_COLUMNS] = l->columns - column < p.columns ? l->columns - column : p.columns;
            BBI_FORWARD(add_piece(l, pass));
            column += p.columns;
        } while (column < l->columns);
    }
    return BB_OK;
}

/* geometry: of this launch */
bb_status bbi_gpu_start_listed(bbi_gpu_launcher *l) {
    if (l->stage->list_transposed) return start_transposed(l);
    int64_t pass[BBI_PASS_COUNT] = {[BBI_PASS_LIST_DIM] = l->stage->list_dim};
    begin(l);
    add_operands(l);
    add_list(l);
    bbi_gpu_add_memory(l, &l->call->buffer[BBI_BUFFER_VALUES]);
    return start(l, BBI_LISTED_SUMS, l->geometry[BBI_GEO_TOTAL] / BBI_GPU_THREADS * l->launch.parts, pass);
}

/* ---- lists of the caller's ---- */
static bb_status check_list(const bbi_run *run, const bbi_stage *stage) {
    int64_t rows = bbi_run_rows(run, stage->kept), columns = bbi_run_rows(run, stage->folded);
    int64_t owners = stage->list_transposed ? columns : rows, limit = stage->list_transposed ? rows : columns;
    const bbi_view *view = &run->input[stage->list_array];
    for (int64_t b = 0; b < (view->batched ? run->extent.batches : 1); b++) {
        bbi_array list = bbi_view_at(view, &run->extent, b);
        for (int64_t row = 0; row < owners; row++)
            for (int64_t k = 0; k < stage->list_dim; k++) {
                int64_t entry;
                memcpy(&entry, list.data + row * list.row_stride + k * list.dim_stride, sizeof entry);
                if (entry < -1 || entry >= limit) return bbi_fail_list(entry, row, limit);
            }
    }
    return BB_OK;
}

bb_status bbi_gpu_check_lists(const bbi_run *run, bool on_device) {
    for (int32_t n = 0; n < run->plan->nstage; n++) {
        const bbi_stage *stage = &run->plan->stage[n];
        if (!stage->list || stage->list_array >= run->plan->ninput) continue;
        if (!on_device || run->input[stage->list_array].on_host) BBI_FORWARD(check_list(run, stage));
    }
    return BB_OK;
}
