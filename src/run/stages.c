/* stages.c: one stage of a run. Its items are taken by threads from a counter. Small problems meet no thread. */
#include "../plan/emit_gpu.h"
#include "frame.h"
#include "team.h"

#include <stdio.h>
#include <stdlib.h>

static const double work_worth_a_thread = 5e5;    /* pair operations */
static const int64_t workspaces_limit = 48 << 20; /* bytes, all threads */
/* Bytes of packed columns that all items share; where there are many components packing them for each item anew would
 * take as long as the pairs. */
static const int64_t columns_limit = 64 << 20, long_columns_limit = 1 << 30, long_column = 24;
static const double report_interval = 0.02;       /* seconds between two calls of the progress callback */

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
    bool aside; /* packing and merging, which the progress of the run does not count */
    bool last;  /* of the run */
    void (*perform)(bbi_worker *worker, const bbi_item *item);
    const bbi_segments *segments; /* NULL: all rows meet all columns */
    int64_t groups, chunks, items;
    double work;
    _Atomic int64_t next, done;
} region;

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
    double part = r->aside ? 0 : (double)atomic_load(&r->done) / (double)r->items;
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

/* A region and the workspaces of its threads, the caller's first. */
typedef struct crew {
    region *region;
    char **workspace;
} crew;

static void help(void *argument, int64_t helper) {
    const crew *c = argument;
    if (c->workspace[1 + helper]) work(c->region, c->workspace[1 + helper], helper < 0);
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
    char **all = wanted ? bbi_calloc((size_t)(1 + wanted), sizeof *all) : NULL;
    if (!all) {
        work(r, workspace, true);
        return;
    }
    all[0] = workspace;
    for (int64_t k = 1; k <= wanted; k++) all[k] = bbi_alloc_aligned(r->run->schedule[r->stage].bytes);
    bbi_team_work(wanted, r->last, help, &(crew){r, all});
    for (int64_t k = 1; k <= wanted; k++) bbi_free_aligned(all[k]);
    bbi_free(all);
}

static bb_status run_region(region *r) {
    bbi_run *run = r->run;
    char *workspace = bbi_block_need(&run->frame->workspace, run->schedule[r->stage].bytes + 64);
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
    int64_t limit = run->plan->stage[number].column_count < long_column ? columns_limit : long_columns_limit;
    run->packed = NULL;
    if (s->groups < 2 || s->transposed || blocks == 0 || run->segments || bytes * blocks > limit / slots)
        return BB_OK;
    run->packed = bbi_block_need(&run->frame->columns, (size_t)(bytes * blocks * slots));
    if (!run->packed) return BB_OK;
    region r = {.run = run, .stage = number, .aside = true, .groups = 1, .chunks = blocks, .items = blocks * slots};
    r.perform = bbi_pack_block;
    r.work = bbi_packing_work(run->plan->stage[number].column_count * s->columns * slots);
    return run_region(&r);
}

/* Whether the stage ends the run. */
static bool is_last(const bbi_run *run, int32_t number, int64_t slots) {
    return number + 1 == run->plan->nstage && run->first_batch + slots >= run->extent.batches;
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
    rest.last = r->last; /* and the one before, as a rule */
    rest.work = whole * (double)atomic_load(&run->candidates->open_count) / (double)run->candidates->blocks;
    BBI_FORWARD(bbi_executable_prepare(run->executable, r->stage, false, rest.work));
    BBI_FORWARD(pack_columns(run, r->stage, r->items / r->groups));
    return run_region(&rest);
}

bb_status bbi_run_stage(bbi_run *run, int32_t number, int64_t slots) {
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
    r.last = is_last(run, number, slots) && s->chunks == 1;
    if (r.items == 0) return BB_OK;
    if (run->candidates && stage->folded != BBI_P) return run_candidates(&r);
    if (run->executable->gpu && stage->folded != BBI_P && !bbi_gpu_refusal(stage)) {
        BBI_FORWARD(bbi_gpu_call_stages(run, number, 1, run->first_batch, run->first_batch + slots, false));
        run->work_done += r.work;
        return BB_OK;
    }
    BBI_FORWARD(bbi_executable_prepare(run->executable, number, s->transposed, r.work));
    if (r.perform == bbi_run_direct && bbi_stage_selection(stage) == BBI_SELECT_LEAST)
        BBI_FORWARD(bbi_executable_prepare(run->executable, number, true, r.work));
    if (r.perform == bbi_run_direct) BBI_FORWARD(pack_columns(run, number, slots));
    BBI_FORWARD(run_region(&r));
    run->work_done += r.work;
    if (s->chunks == 1) return BB_OK;
    region merging = {.run = run,
                      .stage = number,
                      .aside = true,
                      .last = is_last(run, number, slots),
                      .groups = s->groups,
                      .chunks = 1,
                      .items = s->groups * slots,
                      .perform = s->tiles ? bbi_merge_symmetric : bbi_merge_item};
    int64_t loaded = bbi_epilogue_needs_rows(stage) ? stage->row_count : 0;
    merging.work = bbi_packing_work(s->rows * slots * (s->chunks * s->value_count + loaded));
    return run_region(&merging);
}
