/* gpu_stage.c: a stage that folds, on a graphics processor. The host packs rows and columns and runs their map codes, as
 * for the CPU; the device meets the pairs and leaves partial results, which the host merges in the order of the columns
 * and finishes as it does its own. Everything that decides the order of summation (rows of a group, chunks) is a
 * function of sizes and plan, so that results are the same on every run and every number of threads. */
#include "gpu.h"

#include <math.h>
#include <string.h>

enum { BLOCKS_WANTED = 512, FEW_ROWS = 64, MIN_TX = 4, MIN_CHUNK = BBI_GPU_TILE, ARGUMENTS = 10 };
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
    l->group_rows = l->tx * layout->rows;
    l->shares = BBI_GPU_THREADS / l->tx;
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

/* ---- one stage of a run ---- */
typedef enum buffer {
    GEOMETRY,
    SIZES,
    UNIFORM,
    ROWS,
    COLUMNS,
    GROUPS,
    INTERVALS,
    VALUES,
    INDICES,
    SCRATCH
} buffer; /* in the order of the kernel's arguments */

struct bbi_gpu_job {
    bbi_run *run;
    int32_t number;
    int64_t slots;
    const bbi_segments *segments;
    const bbi_stage *stage;
    const bbi_schedule *schedule;
    const bbi_gpu_kernel *kernel;
    bbi_device *device;
    bbi_gpu_launch launch;
    int64_t real, wide; /* bytes of R and of A */
    bbi_memory memory[ARGUMENTS];
    size_t bytes[ARGUMENTS];
    int64_t *first_group; /* with ranges: of a segment, among the groups of a launch */
    double *value;        /* merged: slot, row, value_count */
    int64_t *index;       /* likewise */
    char *part_value;     /* of one band, as the device left them */
    int64_t *part_index;
    double *row_value; /* of a part of a row */
    int64_t *row_index;
};

static bb_status no_memory(void) {
    return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a device's arrays");
}

static bb_status need(bbi_gpu_job *j, buffer which, int64_t bytes) {
    if (j->device->largest && bytes > j->device->largest)
        return bbi_fail(BB_OUT_OF_MEMORY,
                        "%s: an array of %lld bytes, and the device takes %lld at a time: divide the rows "
                        "or the batch among several calls",
                        j->device->name, (long long)bytes, (long long)j->device->largest);
    j->bytes[which] = (size_t)(bytes > 0 ? bytes : 8);
    return bbi_device_allocate(j->device, j->bytes[which], &j->memory[which]);
}

static bb_status send(bbi_gpu_job *j, buffer which, const void *from, int64_t bytes) {
    BBI_FORWARD(need(j, which, bytes));
    return j->device->driver->write(j->device, j->memory[which], from, (size_t)bytes);
}

/* ---- packing ---- */
static bb_status send_axis(bbi_gpu_job *j, bbi_worker *worker, uint8_t space, int64_t count, int64_t stride,
                           int64_t components) {
    const bbi_stage_code *code = &j->run->executable->stage[j->number];
    int64_t slot_bytes = components * stride * j->real;
    char *packed = bbi_alloc_aligned((size_t)(slot_bytes * j->slots) + 64);
    if (!packed) return no_memory();
    bbi_elements elements = {.count = count};
    for (int64_t slot = 0; slot < j->slots && count > 0; slot++) {
        bbi_item item = {.batch_slot = slot, .batch = j->run->first_batch + slot, .segment = &j->schedule->dense};
        bbi_load_uniform(worker, item.batch, slot);
        bbi_load_sources(worker, &item, space, &elements, packed + slot * slot_bytes, stride,
                         space == BBI_ROW ? code->row : code->column);
    }
    bb_status status = send(j, space == BBI_ROW ? ROWS : COLUMNS, packed, slot_bytes * j->slots);
    bbi_free_aligned(packed);
    return status;
}

static bb_status send_uniform(bbi_gpu_job *j, bbi_worker *worker) {
    int64_t bytes = j->stage->uniform_count * j->real;
    char *all = bbi_alloc_aligned((size_t)(bytes * j->slots) + 64);
    if (!all) return no_memory();
    for (int64_t slot = 0; slot < j->slots; slot++) {
        bbi_load_uniform(worker, j->run->first_batch + slot, slot);
        memcpy(all + slot * bytes, worker->workspace + j->schedule->uniform, (size_t)bytes);
    }
    bb_status status = send(j, UNIFORM, all, bytes * j->slots);
    bbi_free_aligned(all);
    return status;
}

static bb_status send_arrays(bbi_gpu_job *j) {
    const bbi_schedule *s = j->schedule;
    bbi_worker worker = {.run = j->run,
                         .stage = j->number,
                         .schedule = s,
                         .workspace = bbi_alloc_aligned(s->bytes + 64),
                         .uniform_batch = -1};
    if (!worker.workspace) return no_memory();
    bb_status status = send_uniform(j, &worker);
    if (status == BB_OK) status = send_axis(j, &worker, BBI_ROW, s->rows, j->launch.row_stride, j->stage->row_count);
    if (status == BB_OK)
        status = send_axis(j, &worker, BBI_COLUMN, s->columns, j->launch.column_stride, j->stage->column_count);
    bbi_free_aligned(worker.workspace);
    return status;
}

/* ---- ranges ---- */
static int64_t count_intervals(const bbi_segments *segments) {
    int64_t count = 0;
    for (int64_t k = 0; k < segments->count; k++) count += segments->segment[k].intervals;
    return count;
}

/* Groups of rows of one segment each, and what columns they meet. */
static bb_status send_ranges(bbi_gpu_job *j) {
    const bbi_segments *segments = j->segments;
    bbi_gpu_launch *l = &j->launch;
    int64_t intervals = count_intervals(segments), *group, *interval, at = 0, groups = 0;
    for (int64_t k = 0; k < segments->count; k++) groups += ceil_div(segments->segment[k].count, l->group_rows);
    l->groups = groups;
    if (l->band > groups) l->band = groups > 0 ? groups : 1;
    j->first_group = bbi_calloc((size_t)segments->count + 1, sizeof *j->first_group);
    group = bbi_calloc((size_t)(groups * BBI_GPU_GROUP_FIELDS + 1), sizeof *group);
    interval = bbi_calloc((size_t)(2 * intervals + 1), sizeof *interval);
    bb_status status = j->first_group && group && interval ? BB_OK : no_memory();
    groups = 0;
    for (int64_t k = 0; status == BB_OK && k < segments->count; k++) {
        const bbi_segment *s = &segments->segment[k];
        int64_t first = at, position = 0;
        for (int64_t n = 0; n < s->intervals; n++) {
            interval[2 * at] = position;
            interval[2 * at++ + 1] = s->interval[2 * n];
            position += s->interval[2 * n + 1] - s->interval[2 * n];
        }
        j->first_group[k] = groups;
        for (int64_t row = 0; row < s->count; row += l->group_rows) {
            int64_t *g = group + BBI_GPU_GROUP_FIELDS * groups++;
            g[0] = s->first + row;
            g[1] = s->count - row < l->group_rows ? s->first + s->count : s->first + row + l->group_rows;
            g[2] = first;
            g[3] = s->intervals;
            g[4] = s->columns;
        }
    }
    if (status == BB_OK) status = send(j, GROUPS, group, groups * BBI_GPU_GROUP_FIELDS * 8);
    if (status == BB_OK) status = send(j, INTERVALS, interval, intervals * 16);
    bbi_free(group);
    bbi_free(interval);
    return status;
}

/* ---- launches ---- */
static int64_t total_rows(const bbi_gpu_job *j, int64_t groups) { return j->slots * groups * j->launch.group_rows; }

static bb_status launch_band(bbi_gpu_job *j, int64_t first, int64_t groups) {
    const bbi_gpu_launch *l = &j->launch;
    int64_t geometry[BBI_GEO_COUNT] = {
        [BBI_GEO_TX] = l->tx,
        [BBI_GEO_GROUPS] = groups,
        [BBI_GEO_FIRST_GROUP] = first,
        [BBI_GEO_CHUNKS] = l->chunks,
        [BBI_GEO_CHUNK] = l->chunk,
        [BBI_GEO_ROWS] = j->schedule->rows,
        [BBI_GEO_COLUMNS] = j->schedule->columns,
        [BBI_GEO_ROW_STRIDE] = l->row_stride,
        [BBI_GEO_ROW_SLOT] = l->row_stride * j->stage->row_count,
        [BBI_GEO_COLUMN_STRIDE] = l->column_stride,
        [BBI_GEO_COLUMN_SLOT] = l->column_stride * j->stage->column_count,
        [BBI_GEO_UNIFORM_SLOT] = j->stage->uniform_count,
        [BBI_GEO_TOTAL] = total_rows(j, groups),
        [BBI_GEO_RANGES] = j->segments != NULL,
    };
    const bbi_driver *driver = j->device->driver;
    const bbi_gpu_layout *layout = &j->kernel->layout;
    size_t local = layout->shared ? (size_t)((j->stage->column_count + layout->derived) * BBI_GPU_TILE * j->real) : 16;
    if (local < 16) local = 16;
    BBI_FORWARD(driver->write(j->device, j->memory[GEOMETRY], geometry, sizeof geometry));
    return driver->launch(j->device, j->kernel->kernel, j->slots * groups * l->chunks, BBI_GPU_THREADS, local,
                          j->memory, ARGUMENTS);
}

/* ---- from a band's partial results to rows ---- */
static double part_value(const bbi_gpu_job *j, int64_t at) {
    return j->wide == 8 ? ((const double *)(void *)j->part_value)[at]
                        : (double)((const float *)(void *)j->part_value)[at];
}

/* A part of a row, as bbi_fold_partial gives it. */
static void take_part(const bbi_gpu_job *j, int64_t part, int64_t place, int64_t total) {
    const bbi_gpu_layout *layout = &j->kernel->layout;
    const bbi_folding *folding = j->run->executable->stage[j->number].folding;
    double *value = j->row_value;
    int64_t *index = j->row_index;
    for (int32_t k = 0; k < j->stage->nfold; k++) {
        int64_t values = bbi_fold_value_count(&folding[k]), indices = bbi_fold_index_count(&folding[k]);
        int64_t first = part * layout->values + layout->value_first[k];
        int64_t first_index = part * layout->indices + layout->index_first[k];
        bool corrected = layout->low[k] && values == j->stage->fold[k].dim; /* both parts of a sum in one double */
        for (int64_t c = 0; c < values; c++) {
            value[c] = part_value(j, (first + c) * total + place);
            if (corrected && isfinite(value[c])) value[c] += part_value(j, (first + values + c) * total + place);
        }
        for (int64_t c = 0; c < indices; c++) index[c] = j->part_index[(first_index + c) * total + place];
        value += values;
        index += indices;
    }
}

static void merge_row(const bbi_gpu_job *j, int64_t slot, int64_t row, int64_t place, int64_t total) {
    const bbi_schedule *s = j->schedule;
    double *value = j->value + (slot * s->rows + row) * s->value_count;
    int64_t *index = j->index + (slot * s->rows + row) * s->index_count;
    bbi_worker worker = {.run = j->run, .stage = j->number, .schedule = s};
    for (int64_t part = 0; part < j->launch.parts; part++) {
        take_part(j, part, place, total);
        if (part == 0) {
            memcpy(value, j->row_value, (size_t)s->value_count * sizeof *value);
            memcpy(index, j->row_index, (size_t)s->index_count * sizeof *index);
        } else {
            bbi_merge_rows(&worker, value, index, j->row_value, j->row_index);
        }
    }
}

/* Rows of the groups first .. first + groups - 1. */
static void merge_band(const bbi_gpu_job *j, int64_t first, int64_t groups) {
    int64_t size = j->launch.group_rows, total = total_rows(j, groups), rows = j->schedule->rows;
    for (int64_t slot = 0; slot < j->slots; slot++) {
        for (int64_t k = 0; !j->segments && k < groups * size && first * size + k < rows; k++)
            merge_row(j, slot, first * size + k, slot * groups * size + k, total);
        for (int64_t n = 0; j->segments && n < j->segments->count; n++) {
            const bbi_segment *s = &j->segments->segment[n];
            for (int64_t k = 0; k < s->count; k++) {
                int64_t group = j->first_group[n] + k / size - first;
                if (group >= 0 && group < groups)
                    merge_row(j, slot, s->first + k, (slot * groups + group) * size + k % size, total);
            }
        }
    }
}

static bb_status run_bands(bbi_gpu_job *j) {
    const bbi_gpu_launch *l = &j->launch;
    const bbi_gpu_layout *layout = &j->kernel->layout;
    const bbi_driver *driver = j->device->driver;
    int64_t most = l->parts * total_rows(j, l->band);
    BBI_FORWARD(need(j, GEOMETRY, BBI_GEO_COUNT * 8));
    BBI_FORWARD(need(j, VALUES, most * layout->values * j->wide));
    BBI_FORWARD(need(j, INDICES, most * layout->indices * 8));
    BBI_FORWARD(need(j, SCRATCH, most * layout->slots * j->real));
    j->part_value = bbi_alloc_aligned((size_t)(most * layout->values * j->wide) + 64);
    j->part_index = (int64_t *)bbi_alloc_aligned((size_t)(most * layout->indices * 8) + 64);
    if (!j->part_value || !j->part_index) return no_memory();
    for (int64_t first = 0; first < l->groups; first += l->band) {
        int64_t groups = l->groups - first < l->band ? l->groups - first : l->band;
        int64_t count = l->parts * total_rows(j, groups);
        if (bbi_run_stopped(j->run)) return BB_OK;
        BBI_FORWARD(launch_band(j, first, groups));
        BBI_FORWARD(
            driver->read(j->device, j->part_value, j->memory[VALUES], (size_t)(count * layout->values * j->wide)));
        BBI_FORWARD(driver->read(j->device, j->part_index, j->memory[INDICES], (size_t)(count * layout->indices * 8)));
        merge_band(j, first, groups);
    }
    return BB_OK;
}

/* ---- the last steps of rows, as on the CPU ---- */
static void finish_item(bbi_worker *worker, const bbi_item *item) {
    const bbi_gpu_job *j = worker->run->gpu;
    const bbi_schedule *s = worker->schedule;
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_rows(worker, item);
    for (int64_t row = 0; row < item->rows; row++) {
        int64_t at = item->batch_slot * s->rows + item->first_row + row;
        bbi_finish_row(worker, item, row, j->value + at * s->value_count, j->index + at * s->index_count);
    }
    bbi_finish_item(worker, item);
}

static bb_status run_job(bbi_gpu_job *j) {
    const bbi_schedule *s = j->schedule;
    int64_t rows = j->slots * s->rows;
    BBI_FORWARD(bbi_device_check(j->device));
    bool few = s->rows <= FEW_ROWS && !j->segments;
    BBI_FORWARD(bbi_gpu_kernel_of(j->run->executable, j->number, few, &j->kernel));
    bbi_gpu_plan_launch(&j->kernel->layout, s->rows, s->columns, j->slots, j->segments ? j->segments->count : 1,
                        j->wide == 8, &j->launch);
    j->value = bbi_alloc((size_t)((rows + 1) * (s->value_count + 1)) * sizeof *j->value);
    j->index = bbi_alloc((size_t)((rows + 1) * (s->index_count + 1)) * sizeof *j->index);
    if (!j->value || !j->index) return no_memory();
    j->row_value = j->value + rows * s->value_count;
    j->row_index = j->index + rows * s->index_count;
    BBI_FORWARD(send(j, SIZES, j->stage->size, j->stage->nsize * 8));
    BBI_FORWARD(send_arrays(j));
    if (j->segments)
        BBI_FORWARD(send_ranges(j));
    else {
        BBI_FORWARD(need(j, GROUPS, 8));
        BBI_FORWARD(need(j, INTERVALS, 8));
    }
    return run_bands(j);
}

bb_status bbi_gpu_run_stage(bbi_run *run, int32_t number, int64_t slots, bbi_segments *segments) {
    const bbi_stage *stage = &run->plan->stage[number];
    const bbi_executable *e = run->executable;
    bool wide = e->is_double || (stage->nfold && e->stage[number].folding[0].accumulate_double);
    bbi_gpu_job j = {.run = run,
                     .number = number,
                     .slots = slots,
                     .segments = segments,
                     .stage = stage,
                     .schedule = &run->schedule[number],
                     .device = e->gpu->device,
                     .real = e->is_double ? 8 : 4,
                     .wide = wide ? 8 : 4};
    bb_status status = run_job(&j);
    if (status == BB_OK) {
        run->gpu = &j;
        status = bbi_run_rows_of(run, number, slots, segments, finish_item);
        run->gpu = NULL;
    }
    for (int k = 0; k < ARGUMENTS; k++) bbi_device_release(j.device, j.bytes[k], j.memory[k]);
    bbi_free(j.first_group);
    bbi_free(j.value);
    bbi_free(j.index);
    bbi_free_aligned(j.part_value);
    bbi_free_aligned(j.part_index);
    return status;
}
