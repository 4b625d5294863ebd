/* execute.c: the driver. A run checks its arrays, cuts the batch into slabs whose temporaries are small, and
 * executes the stages of the plan one after the other; the items of a stage are taken by threads from a
 * counter. Threads are made for a stage and joined at its end, so that a forked child finds nothing missing.
 * Small problems meet neither a thread nor an allocation: the frame that holds views, schedules and workspace
 * is kept for the next run. */
#include "../plan/emit_gpu.h"
#include "execute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double work_worth_a_thread = 5e5;     /* pair operations */
static const int64_t workspaces_limit = 48 << 20;  /* bytes, all threads */
static const int64_t temporaries_limit = 16 << 20; /* bytes of a slab, but one batch element always fits */
static const int64_t columns_limit = 64 << 20;     /* bytes of packed columns that all items share */
static const size_t kept_bytes = 1 << 20;          /* of each block of a frame between runs */
static const double report_interval = 0.02;        /* seconds between two calls of the progress callback */

/* ---- frames ---- */

typedef struct block {
    char *bytes;
    size_t size;
} block;

struct bbi_frame {
    block workspace, memory; /* of the calling thread; temporaries and partial results */
    block columns;           /* packed columns of a stage */
    bbi_view *view;          /* the arrays behind the structure */
    bbi_schedule *schedule;
    char **temporary;
    bool scheduled; /* the schedules are those of these sizes, without ranges */
    int64_t m, n, slots;
};

static void *need(block *b, size_t size) {
    if (b->size >= size) return b->bytes;
    bbi_free_aligned(b->bytes);
    b->bytes = bbi_alloc_aligned(size);
    b->size = b->bytes ? size : 0;
    return b->bytes;
}

static void trim(block *b) {
    if (b->size <= kept_bytes) return;
    bbi_free_aligned(b->bytes);
    *b = (block){0};
}

void bbi_frame_free(bbi_frame *frame) {
    if (!frame) return;
    bbi_free_aligned(frame->workspace.bytes);
    bbi_free_aligned(frame->memory.bytes);
    bbi_free_aligned(frame->columns.bytes);
    bbi_free(frame);
}

static bbi_frame *take_frame(bbi_executable *e) {
    bbi_frame *frame = atomic_exchange(&e->spare, NULL);
    if (frame) return frame;
    const bbi_plan *plan = e->plan;
    size_t views = (size_t)(plan->ninput + plan->noutput) * sizeof(bbi_view);
    size_t schedules = (size_t)plan->nstage * sizeof(bbi_schedule);
    size_t temporaries = (size_t)plan->ntemporary * sizeof(char *);
    size_t head = (sizeof *frame + 15) / 16 * 16;
    frame = bbi_calloc(1, head + views + schedules + temporaries);
    if (!frame) return NULL;
    frame->view = (bbi_view *)(void *)((char *)frame + head);
    frame->schedule = (bbi_schedule *)(void *)((char *)frame->view + views);
    frame->temporary = (char **)(void *)((char *)frame->schedule + schedules);
    return frame;
}

static void give_frame(bbi_executable *e, bbi_frame *frame) {
    trim(&frame->workspace);
    trim(&frame->memory);
    trim(&frame->columns);
    bbi_frame_free(atomic_exchange(&e->spare, frame));
}

/* ---- what items ask of a run ---- */

void bbi_run_stop(bbi_run *run, bb_status status) {
    int none = 0;
    if (atomic_compare_exchange_strong(&run->stop, &none, (int)status))
        snprintf(run->message, sizeof run->message, "%s", bb_last_error());
}

bool bbi_run_stopped(bbi_run *run) {
    if (atomic_load_explicit(&run->stop, memory_order_relaxed)) return true;
    if (!run->options.cancel || !__atomic_load_n(run->options.cancel, __ATOMIC_RELAXED)) return false;
    int none = 0;
    atomic_compare_exchange_strong(&run->stop, &none, (int)BB_CANCELLED);
    return true;
}

int64_t bbi_run_rows(const bbi_run *run, bbi_place place) {
    return place == BBI_I ? run->extent.m : place == BBI_J ? run->extent.n : 1;
}

bbi_array bbi_run_array(const bbi_run *run, int32_t array, int64_t batch, int64_t slot) {
    if (array < run->plan->ninput) return bbi_view_at(&run->input[array], &run->extent, batch);
    const bbi_temporary *t = &run->plan->temporary[array - run->plan->ninput];
    bool is_double = run->executable->is_double;
    int64_t size = t->index || is_double ? 8 : 4;
    bbi_array view = {.dtype = t->index ? BBI_I64 : is_double ? BBI_F64 : BBI_F32, .dim_stride = size};
    view.row_stride = t->dim * size;
    view.data = run->temporary[array - run->plan->ninput] + slot * bbi_run_rows(run, t->place) * view.row_stride;
    return view;
}

/* ---- a stage: items and threads ---- */

typedef struct region {
    bbi_run *run;
    int32_t stage;
    bool merge; /* second pass over a stage that is cut along the columns */
    void (*perform)(bbi_worker *worker, const bbi_item *item);
    const bbi_segments *segments; /* NULL: all rows meet all columns */
    int64_t groups, chunks, items;
    double work;
    _Atomic int64_t next, done;
} region;

/* a thread beside the caller's */
typedef struct helper {
    region *region;
    char *workspace;
    bbi_thread *thread;
} helper;

static const bbi_segment *segment_of_group(const bbi_segments *segments, int64_t group) {
    int64_t low = 0, high = segments->count - 1;
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        if (segments->segment[middle].first_group <= group)
            low = middle;
        else
            high = middle - 1;
    }
    return &segments->segment[low];
}

static bbi_item locate(const region *r, int64_t number) {
    const bbi_run *run = r->run;
    const bbi_schedule *s = &run->schedule[r->stage];
    bbi_item item = {.chunk = number % r->chunks};
    if (r->perform == bbi_run_symmetric) {
        item = (bbi_item){.batch_slot = number / s->tiles, .segment = &s->dense};
        item.batch = run->first_batch + item.batch_slot;
        bbi_symmetric_item(s, number % s->tiles, &item);
        return item;
    }
    int64_t group = number / r->chunks % r->groups;
    item.batch_slot = number / r->chunks / r->groups;
    item.batch = run->first_batch + item.batch_slot;
    item.segment = r->segments ? segment_of_group(r->segments, group) : &s->dense;
    int64_t within = (group - item.segment->first_group) * s->group, left = item.segment->count - within;
    item.first_row = item.segment->first + within;
    item.rows = left < s->group ? left : s->group;
    item.first_position = r->chunks > 1 ? item.chunk * s->chunk : 0;
    item.end_position = item.segment->columns;
    if (r->chunks > 1 && item.first_position + s->chunk < item.end_position)
        item.end_position = item.first_position + s->chunk;
    return item;
}

static void report(region *r) {
    bbi_run *run = r->run;
    if (!run->options.progress) return;
    double now = bbi_seconds();
    if (now - run->reported < report_interval) return;
    run->reported = now;
    double part = (double)atomic_load(&r->done) / (double)r->items;
    double done = run->work > 0 ? (run->work_done + part * r->work) / run->work : 0;
    if (run->options.progress(run->options.progress_data, done < 1 ? done : 1)) {
        int none = 0;
        atomic_compare_exchange_strong(&run->stop, &none, (int)BB_CANCELLED);
    }
}

static void work(region *r, char *workspace, bool reports) {
    bbi_worker worker = {.run = r->run,
                         .stage = r->stage,
                         .schedule = &r->run->schedule[r->stage],
                         .workspace = workspace,
                         .uniform_batch = -1};
    for (;;) {
        int64_t number = atomic_fetch_add(&r->next, 1);
        if (number >= r->items || bbi_run_stopped(r->run)) return;
        bbi_item item = locate(r, number);
        r->perform(&worker, &item);
        atomic_fetch_add(&r->done, 1);
        if (reports) report(r);
    }
}

static void help(void *argument) {
    helper *h = argument;
    work(h->region, h->workspace, false);
}

int bbi_threads_allowed(int asked) {
    const char *text = asked ? NULL : bbi_environment("BENBEN_THREADS");
    if (text) asked = (int)strtol(text, NULL, 10);
    return asked < 1 ? bbi_cpu_count() : asked;
}

static int64_t helpers_wanted(const region *r) {
    size_t bytes = r->run->schedule[r->stage].bytes;
    double worth = r->work / work_worth_a_thread;
    if (r->items < 2 || worth < 2) return 0;
    if (!r->run->threads) r->run->threads = bbi_threads_allowed(r->run->options.threads);
    int64_t threads = r->run->threads, fit = workspaces_limit / (int64_t)(bytes + 1);
    if (threads > worth) threads = (int64_t)worth;
    if (threads > r->items) threads = r->items;
    if (threads > fit) threads = fit;
    return threads > 1 ? threads - 1 : 0;
}

/* A helper that cannot be had for want of memory or threads is done without. */
static void work_together(region *r, char *workspace) {
    int64_t wanted = helpers_wanted(r);
    helper *helpers = wanted ? bbi_calloc((size_t)wanted, sizeof *helpers) : NULL;
    for (int64_t k = 0; helpers && k < wanted; k++) {
        helpers[k] = (helper){.region = r, .workspace = bbi_alloc_aligned(r->run->schedule[r->stage].bytes)};
        if (helpers[k].workspace) helpers[k].thread = bbi_thread_start(help, &helpers[k]);
        if (!helpers[k].thread) break;
    }
    work(r, workspace, true);
    for (int64_t k = 0; helpers && k < wanted; k++) {
        bbi_thread_join(helpers[k].thread);
        bbi_free_aligned(helpers[k].workspace);
    }
    bbi_free(helpers);
}

static bb_status run_region(region *r) {
    bbi_run *run = r->run;
    char *workspace = need(&run->frame->workspace, run->schedule[r->stage].bytes + 64);
    if (!workspace)
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory: %lld bytes for a thread's workspace",
                        (long long)run->schedule[r->stage].bytes);
    work_together(r, workspace);
    bb_status status = (bb_status)atomic_load(&run->stop);
    if (status == BB_CANCELLED) return bbi_fail(BB_CANCELLED, "the run was cancelled: its outputs are incomplete");
    return status == BB_OK ? BB_OK : bbi_fail(status, "%s", run->message);
}

/* Where many items meet the same columns these are packed once for all, else (or where memory is short) by each item. */
static bb_status pack_columns(bbi_run *run, int32_t number, int64_t slots) {
    const bbi_schedule *s = &run->schedule[number];
    int64_t blocks = (s->columns + s->block - 1) / s->block, bytes = bbi_packed_bytes(run, number);
    run->packed = NULL;
    if (s->groups < 2 || s->transposed || blocks == 0 || run->segments || bytes * blocks > columns_limit / slots)
        return BB_OK;
    run->packed = need(&run->frame->columns, (size_t)(bytes * blocks * slots));
    if (!run->packed) return BB_OK;
    region r = {.run = run, .stage = number, .groups = 1, .chunks = blocks, .items = blocks * slots};
    r.perform = bbi_pack_block;
    r.work = 4.0 * (double)run->plan->stage[number].column_count * (double)s->columns * (double)slots;
    return run_region(&r);
}

static bb_status run_candidates(region *r) {
    bbi_run *run = r->run;
    double whole = r->work;
    r->perform = bbi_run_candidates;
    r->work = whole * (double)run->candidates->count / (double)(run->schedule[r->stage].columns + 1);
    BBI_FORWARD(bbi_executable_prepare(run->executable, r->stage, true, r->work));
    BBI_FORWARD(run_region(r));
    if (atomic_load(&run->candidates->open_count) == 0) return BB_OK;
    region rest = {.run = run, .stage = r->stage, .groups = r->groups, .chunks = 1, .items = r->items};
    rest.perform = bbi_run_open;
    rest.work = whole * (double)atomic_load(&run->candidates->open_count) / (double)run->candidates->blocks;
    BBI_FORWARD(bbi_executable_prepare(run->executable, r->stage, false, rest.work));
    BBI_FORWARD(pack_columns(run, r->stage, r->items / r->groups));
    return run_region(&rest);
}

static bb_status run_stage(bbi_run *run, int32_t number, int64_t slots) {
    const bbi_stage *stage = &run->plan->stage[number];
    const bbi_schedule *s = &run->schedule[number];
    region r = {.run = run, .stage = number, .groups = s->groups, .chunks = s->chunks};
    r.work = s->work * (double)slots / (double)run->slots;
    if (stage->list)
        r.perform = stage->list_transposed ? bbi_run_scattered : bbi_run_listed;
    else if (stage->folded == BBI_P)
        r.perform = bbi_run_map;
    else
        r.perform = s->tiles ? bbi_run_symmetric : s->transposed ? bbi_run_transposed : bbi_run_direct;
    if (stage->folded != BBI_P && !stage->list && stage->kept != BBI_P && run->segments) {
        int64_t structure = run->options.ranges_count > 1 ? run->first_batch : 0;
        bbi_segments *segments = &run->segments[2 * structure + (stage->kept == BBI_J)];
        bbi_segments_number(segments, s->group);
        r.segments = segments;
        r.groups = segments->groups;
    }
    if (stage->list && stage->list_transposed && r.groups > 1) r.groups = 1; /* such an item is all rows */
    r.items = (s->tiles ? s->tiles : r.groups * r.chunks) * slots;
    if (r.items == 0) return BB_OK;
    if (run->candidates && stage->folded != BBI_P) return run_candidates(&r);
    if (run->executable->gpu && stage->folded != BBI_P && !bbi_gpu_refusal(stage)) {
        BBI_FORWARD(bbi_gpu_call_stages(run, number, 1, run->first_batch, run->first_batch + slots, false));
        run->work_done += r.work;
        return BB_OK;
    }
    BBI_FORWARD(bbi_executable_prepare(run->executable, number, s->transposed, r.work));
    if (r.perform == bbi_run_direct) BBI_FORWARD(pack_columns(run, number, slots));
    BBI_FORWARD(run_region(&r));
    run->work_done += r.work;
    if (s->chunks == 1) return BB_OK;
    region merging = {.run = run,
                      .stage = number,
                      .groups = s->groups,
                      .chunks = 1,
                      .items = s->groups * slots,
                      .perform = s->tiles ? bbi_merge_symmetric : bbi_merge_item};
    return run_region(&merging);
}

/* ---- a run ---- */

static bb_status check_k(const bbi_stage *stage, int64_t rows, int64_t columns) {
    for (int32_t k = 0; k < stage->nfold && rows > 0; k++)
        if (stage->fold[k].family == BBI_FAMILY_KMIN && stage->fold[k].k > columns)
            return bbi_fail(BB_BAD_SHAPE, "K = %lld smallest values of %lld columns (%s): give K <= %s",
                            (long long)stage->fold[k].k, (long long)columns, stage->folded == BBI_I ? "i" : "j",
                            stage->folded == BBI_I ? "M" : "N");
    return BB_OK;
}

/* Pairs that ranges leave, as a fraction of all. */
static double density(const bbi_run *run, const bbi_stage *stage, double rows, double columns) {
    const bbi_segments *segments = &run->segments[stage->kept == BBI_J];
    double pairs = 0;
    for (int64_t k = 0; k < segments->count; k++)
        pairs += (double)segments->segment[k].count * (double)segments->segment[k].columns;
    return rows * columns > 0 ? pairs / (rows * columns) : 0;
}

/* Schedules are functions of the sizes: repeated shapes find them in the frame. */
static bool schedules_known(bbi_run *run) {
    const bbi_frame *frame = run->frame;
    if (run->segments || run->candidates || !frame->scheduled || frame->m != run->extent.m ||
        frame->n != run->extent.n || frame->slots != run->slots)
        return false;
    for (int32_t k = 0; k < run->plan->nstage; k++)
        run->work += run->schedule[k].work / (double)run->slots * (double)run->extent.batches;
    return true;
}

static bb_status make_schedules(bbi_run *run) {
    const bbi_plan *plan = run->plan;
    if (schedules_known(run)) return BB_OK;
    run->frame->scheduled = false;
    for (int32_t k = 0; k < plan->nstage; k++) {
        const bbi_stage *stage = &plan->stage[k];
        int64_t rows = bbi_run_rows(run, stage->kept), columns = bbi_run_rows(run, stage->folded);
        bool folds = stage->folded != BBI_P && !stage->list;
        bool ranges = folds && run->segments && stage->kept != BBI_P;
        if (folds) BBI_FORWARD(check_k(stage, rows, columns));
        bbi_schedule *s = &run->schedule[k];
        bbi_schedule_make(run->executable, k, rows, columns, run->slots, ranges, s);
        if (run->candidates) s->chunks = 1, s->chunk = columns > 0 ? columns : 1;
        if (ranges) s->work *= density(run, stage, (double)rows, (double)columns);
        run->work += s->work / (double)run->slots * (double)run->extent.batches;
    }
    run->frame->scheduled = !run->segments && !run->candidates;
    run->frame->m = run->extent.m;
    run->frame->n = run->extent.n;
    run->frame->slots = run->slots;
    return BB_OK;
}

static int64_t temporary_bytes(const bbi_run *run, int32_t number, int64_t slots) {
    const bbi_temporary *t = &run->plan->temporary[number];
    int64_t size = t->index || run->executable->is_double ? 8 : 4;
    return (slots * bbi_run_rows(run, t->place) * t->dim * size + 63) / 64 * 64;
}

static bb_status choose_slots(bbi_run *run) {
    int64_t bytes = 0;
    double estimate = 0; /* rows that the options ask for may be any number */
    for (int32_t k = 0; k < run->plan->ntemporary; k++)
        estimate += 8 * (double)bbi_run_rows(run, run->plan->temporary[k].place) * (double)run->plan->temporary[k].dim;
    if (estimate > 1e18)
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory: %.3g bytes for intermediate values", estimate);
    for (int32_t k = 0; k < run->plan->ntemporary; k++) bytes += temporary_bytes(run, k, 1);
    int64_t fit = bytes ? temporaries_limit / bytes : run->extent.batches;
    if (run->options.ranges_count > 1) fit = 1; /* each element has its own rows' groups */
    run->slots = fit < 1 ? 1 : fit < run->extent.batches ? fit : run->extent.batches;
    return BB_OK;
}

/* Temporaries and the partial results of the stage that has most of them. */
static bb_status reserve_memory(bbi_run *run) {
    int64_t bytes = 0, values = 0, indices = 0, states = 0;
    for (int32_t k = 0; k < run->plan->ntemporary; k++) bytes += temporary_bytes(run, k, run->slots);
    for (int32_t k = 0; k < run->plan->nstage; k++) {
        const bbi_schedule *s = &run->schedule[k];
        int64_t parts = s->chunks > 1 && !s->tiles ? run->slots * s->rows * s->chunks : 0;
        if (bbi_symmetric_bytes(s, run->slots) > states) states = bbi_symmetric_bytes(s, run->slots);
        if (parts * s->value_count > values) values = parts * s->value_count;
        if (parts * s->index_count > indices) indices = parts * s->index_count;
    }
    int64_t all = bytes + states + 8 * (values + indices);
    if (all == 0) return BB_OK;
    char *memory = need(&run->frame->memory, (size_t)all);
    if (!memory) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory: %lld bytes for intermediate values", (long long)all);
    run->partial_state = memory + bytes;
    run->partial_value = (double *)(void *)(memory + bytes + states);
    run->partial_index = (int64_t *)(void *)(memory + bytes + states + 8 * values);
    for (int32_t k = 0; k < run->plan->ntemporary; k++) {
        run->temporary[k] = memory;
        memory += temporary_bytes(run, k, run->slots);
    }
    return BB_OK;
}

static bb_status finished(const bbi_run *run) {
    if (run->options.progress && run->options.progress(run->options.progress_data, 1.0))
        return bbi_fail(BB_CANCELLED, "the run was cancelled by its progress callback");
    return BB_OK;
}

bool bbi_gpu_takes(const bbi_plan *plan) {
    for (int32_t k = 0; k < plan->nstage; k++)
        if (bbi_gpu_refusal(&plan->stage[k])) return false;
    return true;
}

static bb_status run_on_device(bbi_run *run, bool arrays_too) {
    for (int32_t k = 0; k < run->plan->nstage; k++) {
        const bbi_stage *stage = &run->plan->stage[k];
        if (stage->folded == BBI_P) continue;
        BBI_FORWARD(check_k(stage, bbi_run_rows(run, stage->kept), bbi_run_rows(run, stage->folded)));
    }
    bool done = false;
    if (!arrays_too) BBI_FORWARD(bbi_gpu_run_pieces(run, &done));
    if (!done) BBI_FORWARD(bbi_gpu_call_stages(run, 0, run->plan->nstage, 0, run->extent.batches, arrays_too));
    return finished(run);
}

static bb_status run_batches(bbi_run *run) {
    if (run->extent.batches == 0) return BB_OK;
    if (run->executable->gpu && !run->candidates && bbi_gpu_takes(run->plan)) return run_on_device(run, false);
    BBI_FORWARD(choose_slots(run));
    BBI_FORWARD(make_schedules(run));
    BBI_FORWARD(reserve_memory(run));
    for (run->first_batch = 0; run->first_batch < run->extent.batches; run->first_batch += run->slots) {
        int64_t left = run->extent.batches - run->first_batch, slots = left < run->slots ? left : run->slots;
        for (int32_t k = 0; k < run->plan->nstage; k++) BBI_FORWARD(run_stage(run, k, slots));
    }
    return finished(run);
}

/* ---- ranges ---- */

static bb_status make_segments(bbi_run *run, block *memory) {
    const bb_run_options *options = &run->options;
    if (!options->ranges) return BB_OK;
    int64_t structures = options->ranges_count > 1 ? options->ranges_count : 1;
    if (structures > 1 && structures != run->extent.batches)
        return bbi_fail(BB_BAD_RANGES,
                        "%lld structures of ranges for %lld batch elements: give one for all or one each",
                        (long long)structures, (long long)run->extent.batches);
    bool wanted[2] = {false, false};
    for (int32_t k = 0; k < run->plan->nstage; k++) {
        const bbi_stage *stage = &run->plan->stage[k];
        if (stage->folded == BBI_P || stage->list || stage->kept == BBI_P) continue;
        wanted[stage->kept == BBI_J] = true;
    }
    memory->bytes = bbi_calloc((size_t)structures * 2, sizeof *run->segments);
    memory->size = (size_t)structures * 2;
    run->segments = (bbi_segments *)(void *)memory->bytes;
    if (!run->segments) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the ranges");
    for (int64_t k = 0; k < 2 * structures; k++)
        if (wanted[k % 2])
            BBI_FORWARD(bbi_ranges_segments(options->ranges, k / 2, k % 2 ? BBI_J : BBI_I, run->extent.m, run->extent.n,
                                            &run->segments[k]));
    return BB_OK;
}

static void free_segments(block *memory) {
    bbi_segments *segments = (bbi_segments *)(void *)memory->bytes;
    for (size_t k = 0; segments && k < memory->size; k++) bbi_free(segments[k].segment);
    bbi_free(memory->bytes);
}

/* ---- outputs that share memory with inputs ---- */

static bool meets_inputs(const bb_array *output, const bb_array *inputs, int ninput) {
    for (int k = 0; k < ninput; k++)
        if (bbi_arrays_meet(output, &inputs[k])) return true;
    return false;
}

/* Results are written while inputs are still read: such an output is computed elsewhere and copied at the
 * end. */
static bb_status move_apart(bbi_run *run, const bb_array *output, int position, const bb_output_info *info,
                            bb_array *apart) {
    int64_t bytes = bbi_array_count(output) * (output->dtype_bits / 8);
    *apart = *output;
    apart->byte_offset = 0;
    apart->strides = NULL;
    apart->data = bbi_alloc_aligned((size_t)bytes);
    if (!apart->data)
        return bbi_fail(BB_OUT_OF_MEMORY,
                        "out of memory: output %d shares memory with an input and "
                        "needs a copy of %lld bytes",
                        position, (long long)bytes);
    bbi_view_of(apart, info->place == BB_NONE ? 1 : 2, &run->extent, &run->output[position]);
    return BB_OK;
}

static bb_status run_apart(bbi_run *run, const bb_array *inputs, const bb_array *outputs, const bb_output_info *info) {
    int count = run->plan->noutput;
    bb_array *apart = bbi_calloc((size_t)count, sizeof *apart);
    bb_status status = apart ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing outputs");
    for (int k = 0; k < count && status == BB_OK; k++)
        if (meets_inputs(&outputs[k], inputs, run->plan->ninput))
            status = move_apart(run, &outputs[k], k, &info[k], &apart[k]);
    if (status == BB_OK) status = run_batches(run);
    for (int k = 0; apart && k < count; k++) {
        if (status == BB_OK && apart[k].data) bbi_array_copy(&outputs[k], &apart[k]);
        bbi_free_aligned(apart[k].data);
    }
    bbi_free(apart);
    return status;
}

static bb_status run_arrays(bbi_run *run, const bb_array *inputs, const bbi_variable *signature,
                            const bb_array *outputs, const bb_output_info *info) {
    bool apart = false;
    for (int k = 0; k < run->plan->ninput; k++)
        bbi_view_of(&inputs[k], signature[k].place == BBI_P ? 1 : 2, &run->extent, &run->input[k]);
    for (int k = 0; k < run->plan->noutput; k++) {
        bbi_view_of(&outputs[k], info[k].place == BB_NONE ? 1 : 2, &run->extent, &run->output[k]);
        apart |= meets_inputs(&outputs[k], inputs, run->plan->ninput);
    }
    block segments = {0};
    bb_status status = make_segments(run, &segments);
    if (status == BB_OK) status = apart ? run_apart(run, inputs, outputs, info) : run_batches(run);
    free_segments(&segments);
    return status;
}

bb_status bbi_execute(bbi_executable *executable, const bb_array *inputs, int ninput, const bbi_variable *signature,
                      const bb_array *outputs, int noutput, const bb_output_info *info, const bb_run_options *options) {
    return bbi_execute_candidates(executable, NULL, inputs, ninput, signature, outputs, noutput, info, options);
}

bb_status bbi_execute_candidates(bbi_executable *executable, bbi_candidates *candidates, const bb_array *inputs,
                                 int ninput, const bbi_variable *signature, const bb_array *outputs, int noutput,
                                 const bb_output_info *info, const bb_run_options *options) {
    const bbi_plan *plan = executable->plan;
    bbi_run run = {.executable = executable, .plan = plan, .candidates = candidates};
    BBI_FORWARD(bbi_run_options_of(options, &run.options));
    BBI_FORWARD(bbi_arrays_extent(inputs, ninput, signature, plan->ninput, &run.options, &run.extent));
    if (noutput != plan->noutput || !outputs)
        return bbi_fail(BB_BAD_ARGUMENT, "%d outputs were given, the program has %d: pass one array for each",
                        outputs ? noutput : 0, (int)plan->noutput);
    BBI_FORWARD(bbi_arrays_check_outputs(outputs, noutput, info, &run.extent));
    run.frame = take_frame(executable);
    if (!run.frame) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a run");
    run.input = run.frame->view;
    run.output = run.frame->view + ninput;
    run.schedule = run.frame->schedule;
    run.temporary = run.frame->temporary;
    bb_status status = run_arrays(&run, inputs, signature, outputs, info);
    give_frame(executable, run.frame);
    return status;
}

/* ---- arrays of a device ---- */
static bb_status run_device_arrays(bbi_run *run, const bb_array *arrays, const bb_array *plain,
                                   const bbi_variable *signature, const bb_output_info *info) {
    const bbi_plan *plan = run->plan;
    block segments = {0};
    for (int k = 0; k < plan->ninput; k++) {
        bbi_view_of(&plain[k], signature[k].place == BBI_P ? 1 : 2, &run->extent, &run->input[k]);
        run->input[k].on_host = arrays[k].device_type == 1;
    }
    for (int k = 0; k < plan->noutput; k++)
        bbi_view_of(&plain[plan->ninput + k], info[k].place == BB_NONE ? 1 : 2, &run->extent, &run->output[k]);
    if (run->extent.batches == 0) return BB_OK;
    bb_status status = make_segments(run, &segments);
    if (status == BB_OK) status = run_on_device(run, true);
    free_segments(&segments);
    return status;
}

bb_status bbi_execute_on_device(bbi_executable *executable, const bb_array *inputs, int ninput,
                                const bbi_variable *signature, const bb_array *outputs, int noutput,
                                const bb_output_info *info, const bb_run_options *options) {
    const bbi_plan *plan = executable->plan;
    bbi_run run = {.executable = executable, .plan = plan};
    size_t count = (size_t)(ninput + noutput);
    BBI_FORWARD(bbi_run_options_of(options, &run.options));
    bb_array *arrays = bbi_calloc(2 * count + 1, sizeof *arrays), *plain = arrays ? arrays + count : NULL;
    bbi_view *view = bbi_calloc(count + 1, sizeof *view);
    bb_status status = arrays && view ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a run");
    for (size_t k = 0; status == BB_OK && k < count; k++) {
        arrays[k] = plain[k] = k < (size_t)ninput ? inputs[k] : outputs[k - (size_t)ninput];
        plain[k].device_type = 1; /* for checks, which are the same everywhere */
    }
    run.input = view;
    run.output = view + ninput;
    if (status == BB_OK) status = bbi_arrays_extent(plain, ninput, signature, plan->ninput, &run.options, &run.extent);
    if (status == BB_OK) status = bbi_arrays_check_outputs(plain + ninput, noutput, info, &run.extent);
    if (status == BB_OK) status = run_device_arrays(&run, arrays, plain, signature, info);
    bbi_free(arrays);
    bbi_free(view);
    return status;
}
