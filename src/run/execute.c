/* execute.c: the driver. A run checks its arrays, cuts the batch into slabs whose temporaries are small, and executes the
 * stages of the plan one after the other. */
#include "../plan/emit_gpu.h"
#include "frame.h"
#include "team.h"

#include <string.h>

static const int64_t temporaries_limit = 16 << 20; /* bytes of a slab, but one batch element always fits */

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
    char *memory = bbi_block_need(&run->frame->memory, (size_t)all);
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
        for (int32_t k = 0; k < run->plan->nstage; k++) BBI_FORWARD(bbi_run_stage(run, k, slots));
    }
    return finished(run);
}

/* ---- ranges ---- */

static bb_status make_segments(bbi_run *run, bbi_block *memory) {
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

static void free_segments(bbi_block *memory) {
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
    bbi_block segments = {0};
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
    run.frame = bbi_frame_take(executable);
    if (!run.frame) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a run");
    run.input = run.frame->view;
    run.output = run.frame->view + ninput;
    run.schedule = run.frame->schedule;
    run.temporary = run.frame->temporary;
    bbi_team_enter();
    bb_status status = run_arrays(&run, inputs, signature, outputs, info);
    bbi_team_leave();
    bbi_frame_give(executable, run.frame);
    return status;
}

/* ---- arrays of a device ---- */
static bb_status run_device_arrays(bbi_run *run, const bb_array *arrays, const bb_array *plain,
                                   const bbi_variable *signature, const bb_output_info *info) {
    const bbi_plan *plan = run->plan;
    bbi_block segments = {0};
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
