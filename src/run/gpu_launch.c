/* gpu_launch.c: the kernels of a stage, started one after the other: uniform values, packing, pairs, and the merging of
 * their partial results with what follows. Everything that decides the order of summation (rows of a group, chunks) is a
 * function of sizes and plan, so that results are the same on every run. */
#include "gpu.h"

#include <string.h>

enum { BLOCKS_WANTED = 512, FEW_ROWS = 64, MIN_TX = 4, MIN_CHUNK = BBI_GPU_TILE, MAP_ROWS = BBI_GPU_THREADS };
static const int64_t longest_chunk = 1 << 30;   /* places in a chunk are 32-bit numbers */
static const int64_t partial_limit = 256 << 20; /* bytes of partial results of a launch */

static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* ---- how a launch is laid out ---- */
void bbi_gpu_plan_launch(const bbi_gpu_layout *layout, int64_t rows, int64_t columns, int64_t slots, int64_t segments,
                         bool is_wide, bbi_gpu_launch *l) {
    int64_t typical = segments > 1 ? ceil_div(rows, segments) : rows;
    *l = (bbi_gpu_launch){.tx = BBI_GPU_THREADS};
    while (l->tx > MIN_TX && l->tx / 2 * layout->rows >= typical) l->tx /= 2;
    if (layout->tx) l->tx = layout->tx;
    l->group_rows = l->tx * layout->rows;
    l->shares = layout->together ? 1 : BBI_GPU_THREADS / l->tx;
    l->groups = ceil_div(rows, l->group_rows) + (segments > 1 ? segments : 0); /* with ranges: at most */
    int64_t row_bytes = layout->values * (is_wide ? 8 : 4) + layout->indices * 8 + layout->slots * 8;
    int64_t group_bytes = l->group_rows * slots * l->shares * (row_bytes + 1);
    int64_t wanted = clamp(ceil_div(BLOCKS_WANTED, l->groups * slots > 0 ? l->groups * slots : 1), 1,
                           clamp(columns / MIN_CHUNK, 1, 1 << 20));
    wanted = clamp(wanted, 1, clamp(partial_limit / group_bytes, 1, 1 << 20));
    l->chunk = ceil_div(ceil_div(columns > 0 ? columns : 1, wanted), BBI_GPU_TILE) * BBI_GPU_TILE;
    if (l->chunk > longest_chunk) l->chunk = longest_chunk;
    l->chunks = ceil_div(columns > 0 ? columns : 1, l->chunk);
    l->parts = l->chunks * l->shares;
    l->band = clamp(partial_limit / (group_bytes * l->chunks), 1, l->groups > 0 ? l->groups : 1);
    l->row_stride = ceil_div(rows, 64) * 64 + 64;
    l->column_stride = ceil_div(columns, 64) * 64 + 64;
}

/* ---- a stage of a call ---- */
typedef bbi_gpu_launcher launcher;

static bool is_wide(const bbi_executable *e, int32_t stage) {
    const bbi_folding *folding = e->stage[stage].folding;
    return e->is_double || (e->plan->stage[stage].nfold && folding[0].accumulate_double);
}

const bbi_segments *bbi_gpu_segments(const bbi_run *run, int32_t number, int64_t batch) {
    const bbi_stage *stage = &run->plan->stage[number];
    if (!run->segments || stage->folded == BBI_P || stage->kept == BBI_P || stage->list) return NULL;
    int64_t structure = run->options.ranges_count > 1 ? batch : 0;
    return &run->segments[2 * structure + (stage->kept == BBI_J)];
}

static bb_status prepare(bbi_gpu_call *call, int32_t number, int64_t batch, int64_t slots, launcher *l) {
    const bbi_run *run = call->run;
    const bbi_segments *segments = bbi_gpu_segments(run, number, batch);
    *l = (launcher){.call = call, .stage = &run->plan->stage[number], .batch = batch, .slots = slots};
    l->rows = bbi_run_rows(run, l->stage->kept);
    l->columns = l->stage->folded == BBI_P ? 0 : bbi_run_rows(run, l->stage->folded);
    int64_t whole = run->whole_rows ? run->whole_rows : l->rows;
    BBI_FORWARD(bbi_gpu_stage_of(call->executable, number, whole <= FEW_ROWS && !segments && !l->stage->list, &l->ready));
    if (!l->ready.pairs) {
        l->launch = (bbi_gpu_launch){.group_rows = MAP_ROWS, .groups = ceil_div(l->rows, MAP_ROWS), .parts = 1};
        l->launch.band = l->launch.groups > 0 ? l->launch.groups : 1;
        l->launch.row_stride = ceil_div(l->rows, 64) * 64 + 64;
        l->launch.column_stride = 64;
        return BB_OK;
    }
    if (l->stage->list)
        bbi_gpu_plan_listed(&l->ready.pairs->layout, l->stage, whole, call->slots, is_wide(call->executable, number),
                            &l->launch);
    else
        bbi_gpu_plan_launch(&l->ready.pairs->layout, whole, l->columns, call->slots,
                            segments ? segments->count : 1, is_wide(call->executable, number), &l->launch);
    l->launch.row_stride = ceil_div(l->rows, 64) * 64 + 64;
    l->launch.column_stride = ceil_div(l->columns, 64) * 64 + 64;
    if (run->whole_rows) {
        l->launch.groups = ceil_div(l->rows, l->launch.group_rows);
        l->launch.band = clamp(l->launch.band, 1, l->launch.groups > 0 ? l->launch.groups : 1);
    }
    if (!segments) return BB_OK;
    BBI_FORWARD(bbi_gpu_lists_of(call->executable, number, segments, l->launch.group_rows, &l->lists));
    l->launch.groups = l->lists->groups;
    l->launch.band = clamp(l->launch.band, 1, l->lists->groups > 0 ? l->lists->groups : 1);
    return BB_OK;
}

void bbi_gpu_enlarge(bbi_gpu_call *call, bbi_gpu_buffer which, int64_t bytes) {
    if ((size_t)bytes > call->bytes[which]) call->bytes[which] = (size_t)bytes;
}

bb_status bbi_gpu_measure(bbi_gpu_call *call, int32_t number) {
    launcher l;
    BBI_FORWARD(prepare(call, number, call->begin, call->slots, &l));
    const bbi_stage *stage = l.stage;
    int64_t real = call->executable->is_double ? 8 : 4, wide = is_wide(call->executable, number) ? 8 : 4;
    bbi_gpu_enlarge(call, BBI_BUFFER_UNIFORM, call->slots * stage->uniform_count * real);
    bbi_gpu_enlarge(call, BBI_BUFFER_ROWS, call->slots * stage->row_count * l.launch.row_stride * real);
    bbi_gpu_enlarge(call, BBI_BUFFER_COLUMNS, call->slots * stage->column_count * l.launch.column_stride * real);
    if (!l.ready.pairs) return BB_OK;
    const bbi_gpu_layout *layout = &l.ready.pairs->layout;
    int64_t most = l.launch.parts * call->slots * l.launch.band * l.launch.group_rows;
    bbi_gpu_enlarge(call, BBI_BUFFER_VALUES, most * layout->values * wide);
    bbi_gpu_enlarge(call, BBI_BUFFER_INDICES, most * layout->indices * 8);
    bbi_gpu_enlarge(call, BBI_BUFFER_SCRATCH, most * layout->slots * real);
    if (stage->list) bbi_gpu_measure_listed(&l, is_wide(call->executable, number));
    return BB_OK;
}

/* ---- arguments ---- */
void bbi_gpu_add_memory(launcher *l, const bbi_memory *memory) {
    l->argument[l->arguments++] = (bbi_argument){.value = memory, .bytes = sizeof *memory};
}

void bbi_gpu_add_table(launcher *l, const int64_t *numbers, int64_t count) {
    l->argument[l->arguments++] = (bbi_argument){.value = numbers, .bytes = (size_t)count * 8, .is_table = true};
}

void bbi_gpu_add_array(launcher *l, const bbi_gpu_view *view, int64_t count, int64_t first) {
    int64_t *field = l->views + BBI_FIELDS * l->arrays++;
    const bbi_extent *extent = &l->call->run->extent;
    field[BBI_FIELD_OFFSET] = view->offset;
    field[BBI_FIELD_ROW] = view->row;
    field[BBI_FIELD_DIM] = view->dim;
    field[BBI_FIELD_DTYPE] = view->dtype;
    field[BBI_FIELD_COUNT] = count;
    field[BBI_FIELD_FIRST] = first;
    for (int k = 0; k < BBI_GPU_BATCH_DIMS; k++) field[BBI_FIELD_BATCH + k] = view->folded[k];
    if (l->call->one_by_one) {
        int64_t batch = l->batch;
        for (int k = extent->nbatch - 1; k >= 0; k--) {
            field[BBI_FIELD_OFFSET] += batch % extent->batch[k] * view->batch[k];
            batch /= extent->batch[k];
        }
    }
    bbi_gpu_add_memory(l, &view->memory);
}

static void begin(launcher *l) {
    l->arguments = l->arrays = 0;
    bbi_gpu_add_table(l, l->geometry, BBI_GEO_COUNT);
    bbi_gpu_add_memory(l, &l->ready.size);
}

static void add_sources(launcher *l, uint8_t space) {
    for (int32_t k = 0; k < l->stage->nsource; k++) {
        const bbi_source *s = &l->stage->source[k];
        if (bbi_gpu_is_source(s, space)) bbi_gpu_add_array(l, bbi_gpu_source_view(l->call, s->array), s->dim, s->first);
    }
}

static bb_status start(launcher *l, int number, int64_t blocks) {
    const bbi_gpu_call *call = l->call;
    bbi_gpu_add_table(l, l->views, (l->arrays > 0 ? l->arrays : 1) * BBI_FIELDS);
    return call->device->driver->launch(call->device, call->stream, l->ready.maps, number, blocks, BBI_GPU_THREADS, 0,
                                        l->argument, l->arguments);
}

/* ---- the kernels ---- */
static void describe(launcher *l) {
    const bbi_gpu_launch *a = &l->launch;
    const bbi_gpu_call *call = l->call;
    int64_t *g = l->geometry;
    g[BBI_GEO_TX] = a->tx;
    g[BBI_GEO_GROUPS] = a->groups;
    g[BBI_GEO_CHUNKS] = a->chunks;
    g[BBI_GEO_CHUNK] = a->chunk;
    g[BBI_GEO_ROWS] = l->rows;
    g[BBI_GEO_COLUMNS] = l->columns;
    g[BBI_GEO_ROW_STRIDE] = a->row_stride;
    g[BBI_GEO_ROW_SLOT] = a->row_stride * l->stage->row_count;
    g[BBI_GEO_COLUMN_STRIDE] = a->column_stride;
    g[BBI_GEO_COLUMN_SLOT] = a->column_stride * l->stage->column_count;
    g[BBI_GEO_UNIFORM_SLOT] = l->stage->uniform_count;
    g[BBI_GEO_RANGES] = l->lists != NULL;
    g[BBI_GEO_SLOTS] = l->slots;
    g[BBI_GEO_FIRST_BATCH] = call->one_by_one ? 0 : l->batch;
    for (int k = 0; k < BBI_GPU_BATCH_DIMS; k++) g[BBI_GEO_BATCH + k] = call->one_by_one ? 1 : call->batch[k];
    g[BBI_GEO_ROW_BLOCKS] = l->stage->row_count ? ceil_div(l->slots * l->rows, BBI_GPU_THREADS) : 0;
    g[BBI_GEO_PARTS] = a->parts;
    g[BBI_GEO_GROUP_ROWS] = a->group_rows;
    g[BBI_GEO_EXTENT_J] = call->run->extent.n;
}

static bb_status start_maps(launcher *l) {
    const bbi_stage *stage = l->stage;
    bbi_gpu_call *call = l->call;
    if (stage->uniform_count) {
        begin(l);
        bbi_gpu_add_memory(l, &l->ready.constant);
        bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_UNIFORM]);
        add_sources(l, BBI_UNIFORM);
        BBI_FORWARD(start(l, BBI_MAP_UNIFORM, l->slots));
    }
    int64_t blocks = l->geometry[BBI_GEO_ROW_BLOCKS];
    if (stage->column_count) blocks += ceil_div(l->slots * l->columns, BBI_GPU_THREADS);
    if (!blocks) return BB_OK;
    begin(l);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_UNIFORM]);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_ROWS]);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_COLUMNS]);
    add_sources(l, BBI_ROW);
    add_sources(l, BBI_COLUMN);
    return start(l, BBI_MAP_PACK, blocks);
}

static bb_status start_pairs(launcher *l, int64_t groups) {
    bbi_gpu_call *call = l->call;
    const bbi_gpu_layout *layout = &l->ready.pairs->layout;
    int64_t real = call->executable->is_double ? 8 : 4;
    size_t local = layout->shared ? (size_t)((l->stage->column_count + layout->derived) * BBI_GPU_TILE * real) : 16;
    if (layout->local) local = (size_t)(layout->local * real);
    if (local < 16) local = 16;
    begin(l);
    for (int k = 0; k <= BBI_BUFFER_COLUMNS; k++) bbi_gpu_add_memory(l, &call->buffer[k]);
    bbi_gpu_add_memory(l, l->lists ? &l->lists->group_memory : &l->none);
    bbi_gpu_add_memory(l, l->lists ? &l->lists->interval_memory : &l->none);
    for (int k = BBI_BUFFER_VALUES; k <= BBI_BUFFER_SCRATCH; k++) bbi_gpu_add_memory(l, &call->buffer[k]);
    return call->device->driver->launch(call->device, call->stream, l->ready.pairs->kernel, 0,
                                        l->slots * groups * l->launch.chunks, BBI_GPU_THREADS, local, l->argument,
                                        l->arguments);
}

/* Until few enough parts of a row are left for one thread. */
static bb_status merge_parts(launcher *l) {
    const bbi_gpu_call *call = l->call;
    int64_t *step = &l->geometry[BBI_GEO_STEP], parts = l->launch.parts, total = l->geometry[BBI_GEO_TOTAL];
    for (*step = 1; ceil_div(parts, *step) > BBI_GPU_MERGED; *step *= BBI_GPU_MERGED) {
        int64_t threads = total * ceil_div(parts, *step * BBI_GPU_MERGED);
        l->arguments = 0;
        bbi_gpu_add_table(l, l->geometry, BBI_GEO_COUNT);
        bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_VALUES]);
        bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_INDICES]);
        BBI_FORWARD(call->device->driver->launch(call->device, call->stream, l->ready.maps, BBI_MAP_MERGE,
                                                 ceil_div(threads, BBI_GPU_THREADS), BBI_GPU_THREADS, 0, l->argument,
                                                 l->arguments));
    }
    return BB_OK;
}

static bb_status start_finish(launcher *l) {
    bbi_gpu_finish_array arrays[BBI_GPU_MAX_ARRAYS];
    bbi_gpu_call *call = l->call;
    int count = bbi_gpu_finish_arrays(l->stage, arrays);
    begin(l);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_UNIFORM]);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_ROWS]);
    bbi_gpu_add_memory(l, l->lists ? &l->lists->group_memory : &l->none);
    bbi_gpu_add_memory(l, l->lists ? &l->lists->interval_memory : &l->none);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_VALUES]);
    bbi_gpu_add_memory(l, &call->buffer[BBI_BUFFER_INDICES]);
    for (int k = 0; k < count; k++) {
        if (arrays[k].is_lookup) {
            bbi_gpu_add_array(l, bbi_gpu_source_view(call, l->stage->fold[arrays[k].number].lookup - 1), 0, 0);
        } else {
            const bbi_result *r = &l->stage->result[arrays[k].number];
            bbi_gpu_add_array(l, bbi_gpu_result_view(call, r->array), r->dim, r->first);
        }
    }
    return start(l, BBI_MAP_FINISH, ceil_div(l->geometry[BBI_GEO_TOTAL], BBI_GPU_THREADS));
}

bb_status bbi_gpu_start(bbi_gpu_call *call, int32_t number, int64_t batch, int64_t slots) {
    launcher l;
    BBI_FORWARD(prepare(call, number, batch, slots, &l));
    if (l.rows == 0 || slots == 0) return BB_OK;
    describe(&l);
    BBI_FORWARD(start_maps(&l));
    for (int64_t first = 0; first < l.launch.groups; first += l.launch.band) {
        int64_t groups = l.launch.groups - first < l.launch.band ? l.launch.groups - first : l.launch.band;
        l.geometry[BBI_GEO_FIRST_GROUP] = first;
        l.geometry[BBI_GEO_GROUPS] = groups;
        l.geometry[BBI_GEO_TOTAL] = slots * groups * l.launch.group_rows;
        if (bbi_run_stopped(call->run)) return BB_OK;
        if (l.stage->list)
            BBI_FORWARD(bbi_gpu_start_listed(&l));
        else if (l.ready.pairs)
            BBI_FORWARD(start_pairs(&l, groups));
        BBI_FORWARD(merge_parts(&l));
        BBI_FORWARD(start_finish(&l));
    }
    return BB_OK;
}
