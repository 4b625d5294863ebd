/* gpu_call.c: arrays and memory of a run on a graphics processor. Arrays of the host are copied there as they are (those with
 * wide gaps between their elements without them), results come back; arrays of the device are used in place. In between
 * everything happens on the device, in the order of one stream. */
#include "gpu.h"

#include <string.h>

static const size_t alignment = 256;

static size_t rounded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

static bb_status no_memory(void) {
    return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a device's arrays");
}

bbi_gpu_view *bbi_gpu_source_view(const bbi_gpu_call *call, int32_t array) { return &call->view[array]; }

bbi_gpu_view *bbi_gpu_result_view(const bbi_gpu_call *call, int32_t array) {
    const bbi_plan *plan = call->run->plan;
    int32_t number =
        array < plan->noutput ? plan->ninput + plan->ntemporary + array : plan->ninput + array - plan->noutput;
    return &call->view[number];
}

/* ---- memory: of the caller's allocator, in the order of his stream, or the device's own ---- */
typedef struct holding {
    bbi_gpu_call *call;
    bbi_memory block; /* all pieces in one; 0: each for itself */
    size_t bytes;
    bbi_workspace *workspace;
    int count;
    struct piece {
        bbi_memory *memory;
        size_t bytes;
    } *piece;
} holding;

static bb_status need(holding *h, bbi_memory *memory, size_t bytes) {
    const bbi_device *device = h->call->device;
    if (bytes == 0) return BB_OK;
    if (device->largest && bytes > (size_t)device->largest)
        return bbi_fail(BB_OUT_OF_MEMORY,
                        "%s: an array of %lld bytes, and the device takes %lld at a time: divide the rows "
                        "or the batch among several calls",
                        device->name, (long long)bytes, (long long)device->largest);
    h->piece[h->count].memory = memory;
    h->piece[h->count++].bytes = bytes;
    h->bytes += rounded(bytes);
    return BB_OK;
}

static bb_status ask_caller(holding *h) {
    const bb_run_options *o = &h->call->run->options;
    void *memory = o->allocate(o->allocator, h->bytes, h->call->stream);
    h->block = (bbi_memory)(uintptr_t)memory;
    if (memory) return BB_OK;
    return bbi_fail(BB_OUT_OF_MEMORY,
                    "the allocator of the run options has no %lld bytes: divide the rows among several calls",
                    (long long)h->bytes);
}

static bb_status hold(holding *h) {
    bbi_gpu_call *call = h->call;
    bbi_device *device = call->device;
    bb_status status = BB_OK;
    if (h->count == 0) return BB_OK;
    if (!call->on_device) {
        for (int k = 0; k < h->count && status == BB_OK; k++)
            status = bbi_device_allocate(device, h->piece[k].bytes, h->piece[k].memory);
        return status;
    }
    if (call->run->options.allocate)
        status = ask_caller(h);
    else if (device->has_stream_memory)
        status = device->driver->stream_allocate(device, call->stream, h->bytes, &h->block);
    else
        status = bbi_workspace_take(device, call->stream, h->bytes, &h->workspace, &h->block);
    bbi_memory at = h->block;
    for (int k = 0; k < h->count && status == BB_OK; at += rounded(h->piece[k++].bytes)) *h->piece[k].memory = at;
    return status;
}

static void let_go(holding *h) {
    bbi_gpu_call *call = h->call;
    const bb_run_options *o = &call->run->options;
    if (!call->on_device)
        for (int k = 0; k < h->count; k++) bbi_device_release(call->device, h->piece[k].bytes, *h->piece[k].memory);
    else if (h->workspace)
        bbi_workspace_give(h->workspace);
    else if (h->block && o->allocate)
        o->release(o->allocator, (void *)(uintptr_t)h->block, h->bytes, call->stream);
    else if (h->block)
        call->device->driver->stream_release(call->device, call->stream, h->block);
    bbi_free(h->piece);
}

/* ---- arrays of the host ---- */
/* An array over the broadcast batch as loops, the innermost last; a dimension of stride 0 is met once. */
typedef struct loops {
    int count;
    int64_t extent[BBI_MAX_BATCH_DIMS + 2], stride[BBI_MAX_BATCH_DIMS + 2]; /* bytes */
    int64_t low, bytes; /* first byte before the array's own, bytes from the first to the last */
    int64_t elements, size;
} loops;

static int64_t dtype_size(int dtype) { return dtype == BBI_F16 || dtype == BBI_BF16 ? 2 : dtype == BBI_F32 ? 4 : 8; }

static void loops_of(const bbi_extent *extent, const bbi_gpu_view *view, int64_t rows, int64_t dim, loops *l) {
    *l = (loops){.count = extent->nbatch + 2, .elements = 1, .size = dtype_size(view->dtype)};
    for (int k = 0; k < l->count; k++) {
        bool batch = k < extent->nbatch;
        l->stride[k] = batch ? view->batch[k] : k == extent->nbatch ? view->row : view->dim;
        l->extent[k] = batch ? extent->batch[k] : k == extent->nbatch ? rows : dim;
        if (l->stride[k] == 0) l->extent[k] = 1;
        l->elements *= l->extent[k];
        int64_t reach = l->stride[k] * (l->extent[k] - 1);
        if (reach < 0) l->low -= reach;
        l->bytes += reach < 0 ? -reach : reach;
    }
    l->bytes += l->size;
}

/* Between an array and a compact copy of it. */
static void copy_loops(const loops *l, char *array, char *compact, bool gather) {
    for (int64_t at = 0; at < l->elements; at++) {
        int64_t rest = at, offset = 0;
        for (int k = l->count - 1; k >= 0; k--) {
            offset += rest % l->extent[k] * l->stride[k];
            rest /= l->extent[k];
        }
        if (gather)
            memcpy(compact + at * l->size, array + offset, (size_t)l->size);
        else
            memcpy(array + offset, compact + at * l->size, (size_t)l->size);
    }
}

/* the copies of a call */
typedef struct copy {
    bbi_gpu_view host, *device;
    loops loops;
    char *data; /* the host's element (0, 0, 0) */
    bool is_result, is_compact;
    int64_t rows, components;
} copy;

static void view_of_host(const bbi_gpu_call *call, const bbi_view *from, bbi_gpu_view *view, char **data) {
    *view = (bbi_gpu_view){.row = from->array.row_stride, .dim = from->array.dim_stride, .dtype = from->array.dtype};
    for (int k = 0; k < call->run->extent.nbatch; k++) view->batch[k] = from->batch_stride[k];
    *data = (char *)(uintptr_t)from->array.data;
}

/* Compact, for batch elements from `begin` on: a linear function of their number. */
static void compact_view(const bbi_gpu_call *call, int64_t begin, int64_t rows, int64_t dim, int dtype,
                         bbi_gpu_view *view) {
    const bbi_extent *extent = &call->run->extent;
    int64_t size = dtype_size(dtype), stride = rows * dim * size;
    *view = (bbi_gpu_view){
        .row = dim * size, .dim = size, .dtype = dtype, .offset = -begin * stride, .memory = view->memory};
    for (int k = extent->nbatch - 1; k >= 0; k--) {
        view->batch[k] = stride;
        stride *= extent->batch[k];
    }
}

/* An array of the run on the host: an input, an output, or a temporary of the elements that run together. */
static void host_array(const bbi_gpu_call *call, int32_t array, bool is_result, int64_t rows, copy *c) {
    const bbi_run *run = call->run;
    const bbi_plan *plan = run->plan;
    int32_t outside = is_result ? plan->noutput : plan->ninput;
    if (array < outside) {
        view_of_host(call, is_result ? &run->output[array] : &run->input[array], &c->host, &c->data);
        return;
    }
    const bbi_temporary *t = &plan->temporary[array - outside];
    int dtype = t->index ? BBI_I64 : call->executable->is_double ? BBI_F64 : BBI_F32;
    compact_view(call, call->begin, rows, t->dim, dtype, &c->host);
    c->data = run->temporary[array - outside] + c->host.offset;
    c->host.offset = 0;
}

static bb_status send(const bbi_gpu_call *call, const bbi_gpu_view *to, const void *from, int64_t bytes) {
    const bbi_driver *driver = call->device->driver;
    if (call->on_device) return driver->send(call->device, call->stream, to->memory, from, (size_t)bytes);
    return driver->write(call->device, to->memory, 0, from, (size_t)bytes);
}

static bb_status upload(holding *h, const copy *c) {
    bbi_gpu_call *call = h->call;
    if (c->loops.elements == 0) return BB_OK;
    if (!c->is_compact) return send(call, c->device, c->data - c->loops.low, c->loops.bytes);
    char *compact = bbi_alloc_aligned((size_t)(c->loops.elements * c->loops.size) + 64);
    if (!compact) return no_memory();
    copy_loops(&c->loops, c->data, compact, true);
    bb_status status = send(call, c->device, compact, c->loops.elements * c->loops.size);
    bbi_free_aligned(compact);
    return status;
}

/* What a result's copy covers: rows of batch elements begin .. end - 1. */
static bb_status download(holding *h, const copy *c) {
    bbi_gpu_call *call = h->call;
    const bbi_driver *driver = call->device->driver;
    const bbi_extent *extent = &call->run->extent;
    int64_t each = c->rows * c->components * c->loops.size, all = each * (call->end - call->begin);
    if (all == 0) return BB_OK;
    char *compact = bbi_alloc_aligned((size_t)all + 64);
    if (!compact) return no_memory();
    bb_status status = driver->read(call->device, compact, c->device->memory, 0, (size_t)all);
    for (int64_t b = call->begin; status == BB_OK && b < call->end; b++) {
        loops one = {.count = 2, .elements = c->rows * c->components, .size = c->loops.size};
        int64_t rest = b, offset = 0;
        for (int k = extent->nbatch - 1; k >= 0; k--) {
            offset += rest % extent->batch[k] * c->host.batch[k];
            rest /= extent->batch[k];
        }
        one.extent[0] = c->rows, one.extent[1] = c->components;
        one.stride[0] = c->host.row, one.stride[1] = c->host.dim;
        char *to = c->data + offset, *from = compact + (b - call->begin) * each;
        if (c->host.dim == c->loops.size && (c->rows == 1 || c->host.row == c->components * c->loops.size))
            memcpy(to, from, (size_t)each);
        else
            copy_loops(&one, to, from, false);
    }
    bbi_free_aligned(compact);
    return status;
}

/* ---- what a call's stages read and write ---- */
typedef struct copies {
    copy *copy;
    int count;
} copies;

static bb_status add_source(holding *h, copies *all, int32_t array, int64_t rows, int64_t dim) {
    bbi_gpu_call *call = h->call;
    bbi_gpu_view *view = bbi_gpu_source_view(call, array);
    bool whole = call->count == call->run->plan->nstage;
    if (view->row != INT64_MIN || (whole && array >= call->run->plan->ninput)) return BB_OK; /* there, or a temporary */
    copy *c = &all->copy[all->count++];
    *c = (copy){.device = view};
    host_array(call, array, false, rows, c);
    loops_of(&call->run->extent, &c->host, rows, dim, &c->loops);
    if (array >= call->run->plan->ninput) { /* a temporary of the elements that run together alone */
        c->loops =
            (loops){.count = 1, .elements = rows * dim * (call->end - call->begin), .size = dtype_size(c->host.dtype)};
        c->loops.bytes = c->loops.elements * c->loops.size;
        *view = c->host;
        c->data = call->run->temporary[array - call->run->plan->ninput];
        compact_view(call, call->begin, rows, dim, c->host.dtype, view);
        view->memory = 0;
        return need(h, &view->memory, (size_t)c->loops.bytes);
    }
    *view = c->host;
    view->offset = c->loops.low;
    c->is_compact = c->loops.bytes > 2 * c->loops.elements * c->loops.size;
    if (!c->is_compact) return need(h, &view->memory, c->loops.elements ? (size_t)c->loops.bytes : 0);
    int64_t stride = c->loops.size, nbatch = call->run->extent.nbatch;
    view->offset = 0;
    for (int k = c->loops.count - 1; k >= 0; k--) {
        int64_t *to = k < nbatch ? &view->batch[k] : k == nbatch ? &view->row : &view->dim;
        *to = c->loops.stride[k] ? stride : 0;
        stride *= c->loops.extent[k];
    }
    return need(h, &view->memory, (size_t)(c->loops.elements * c->loops.size));
}

static bb_status add_result(holding *h, copies *all, int32_t array, int64_t rows, int64_t dim) {
    bbi_gpu_call *call = h->call;
    bbi_gpu_view *view = bbi_gpu_result_view(call, array);
    bool whole = call->count == call->run->plan->nstage;
    if (view->row != INT64_MIN || (whole && array >= call->run->plan->noutput)) return BB_OK;
    copy *c = &all->copy[all->count++];
    *c = (copy){.device = view, .is_result = true, .rows = rows, .components = dim};
    host_array(call, array, true, rows, c);
    c->loops.size = dtype_size(c->host.dtype);
    compact_view(call, call->begin, rows, dim, c->host.dtype, view);
    view->memory = 0;
    return need(h, &view->memory, (size_t)(rows * dim * c->loops.size * (call->end - call->begin)));
}

static bb_status find_host_arrays(holding *h, copies *all) {
    bbi_gpu_call *call = h->call;
    const bbi_run *run = call->run;
    for (int32_t n = call->first; n < call->first + call->count; n++) {
        const bbi_stage *stage = &run->plan->stage[n];
        int64_t rows = bbi_run_rows(run, stage->kept), columns = bbi_run_rows(run, stage->folded);
        for (int32_t k = 0; k < stage->nsource; k++) {
            const bbi_source *s = &stage->source[k];
            if (s->array < 0) continue;
            BBI_FORWARD(add_source(h, all, s->array,
                                   s->space == BBI_UNIFORM ? 1
                                   : s->space == BBI_ROW   ? rows
                                                           : columns,
                                   s->dim));
        }
        if (stage->list)
            BBI_FORWARD(
                add_source(h, all, stage->list_array, stage->list_transposed ? columns : rows, stage->list_dim));
        for (int32_t k = 0; k < stage->nfold; k++)
            if (stage->fold[k].lookup)
                BBI_FORWARD(add_source(h, all, stage->fold[k].lookup - 1, columns, stage->fold[k].dim));
        for (int32_t k = 0; k < stage->nresult; k++)
            BBI_FORWARD(add_result(h, all, stage->result[k].array, rows, stage->result[k].dim));
    }
    return BB_OK;
}

/* A host parameter of few numbers travels with the kernels. */
static bool is_given(const bbi_gpu_call *call, int32_t array, int64_t *dim) {
    const bbi_run *run = call->run;
    if (!run->input[array].on_host || run->input[array].batched || run->input[array].array.dtype == BBI_I64)
        return false;
    for (int32_t n = 0; n < run->plan->nstage; n++)
        for (int32_t k = 0; k < run->plan->stage[n].nsource; k++) {
            const bbi_source *s = &run->plan->stage[n].source[k];
            if (s->array != array) continue;
            if (s->space != BBI_UNIFORM || s->dim > BBI_GPU_BATCH_DIMS) return false;
            *dim = s->dim;
        }
    return true;
}

static void give(const bbi_gpu_call *call, int32_t array, int64_t dim, bbi_gpu_view *view) {
    bool is_double = call->executable->is_double;
    double packed[BBI_GPU_BATCH_DIMS * 8] = {0};
    bbi_array row = call->run->input[array].array;
    row.row_stride = row.dim_stride; /* components as rows of one component */
    bbi_pack(is_double, 0, packed, BBI_GPU_BATCH_DIMS, &row, 1, 0, dim, dim);
    *view = (bbi_gpu_view){.dtype = BBI_GPU_GIVEN};
    for (int64_t k = 0; k < dim; k++)
        memcpy(&view->folded[k], (char *)packed + k * (is_double ? 8 : 4), is_double ? 8 : 4);
}

static bb_status find_device_arrays(holding *h, copies *all) {
    bbi_gpu_call *call = h->call;
    const bbi_run *run = call->run;
    char *data;
    for (int32_t k = 0; k < run->plan->ninput; k++) {
        int64_t dim = 0;
        if (is_given(call, k, &dim)) give(call, k, dim, &call->view[k]);
        if (run->input[k].on_host) continue;
        view_of_host(call, &run->input[k], &call->view[k], &data);
        call->view[k].memory = (bbi_memory)(uintptr_t)data;
    }
    for (int32_t k = 0; k < run->plan->noutput; k++) {
        bbi_gpu_view *view = bbi_gpu_result_view(call, k);
        view_of_host(call, &run->output[k], view, &data);
        view->memory = (bbi_memory)(uintptr_t)data;
    }
    return find_host_arrays(h, all); /* inputs of the host that are left */
}

/* ---- the batch ---- */
/* Neighbouring dimensions of the batch become one where every array steps through them as through one. */
static void fold_batch(bbi_gpu_call *call) {
    const bbi_extent *extent = &call->run->extent;
    const bbi_plan *plan = call->run->plan;
    int32_t views = plan->ninput + plan->ntemporary + plan->noutput;
    int64_t size[BBI_MAX_BATCH_DIMS];
    int last[BBI_MAX_BATCH_DIMS], count = 0; /* innermost dimension of each that is left */
    for (int k = 0; k < extent->nbatch; k++) {
        if (extent->batch[k] == 1) continue;
        bool joins = count > 0;
        for (int32_t v = 0; v < views && joins; v++)
            joins = call->view[v].batch[last[count - 1]] == call->view[v].batch[k] * extent->batch[k];
        if (!joins) size[count++] = 1;
        size[count - 1] *= extent->batch[k];
        last[count - 1] = k;
    }
    for (int k = 0; k < BBI_GPU_BATCH_DIMS; k++) call->batch[k] = 1;
    call->one_by_one = count > BBI_GPU_BATCH_DIMS;
    if (call->one_by_one) {
        call->slots = 1;
        return;
    }
    for (int k = 0; k < count; k++) {
        int to = BBI_GPU_BATCH_DIMS - count + k;
        call->batch[to] = size[k];
        for (int32_t v = 0; v < views; v++)
            if (call->view[v].dtype != BBI_GPU_GIVEN) call->view[v].folded[to] = call->view[v].batch[last[k]];
    }
}

static int64_t temporary_bytes(const bbi_gpu_call *call, int32_t k) {
    const bbi_temporary *t = &call->run->plan->temporary[k];
    return bbi_run_rows(call->run, t->place) * t->dim * (t->index || call->executable->is_double ? 8 : 4);
}

/* Batch elements that run together: packed and intermediate values in an eighth of the memory. */
static void choose_slots(bbi_gpu_call *call) {
    const bbi_run *run = call->run;
    int64_t real = call->executable->is_double ? 8 : 4, limit = call->device->memory / 8, bytes = 1,
            all = call->end - call->begin;
    for (int32_t n = call->first; n < call->first + call->count; n++) {
        const bbi_stage *stage = &run->plan->stage[n];
        int64_t packed = stage->uniform_count + stage->row_count * (bbi_run_rows(run, stage->kept) + 128) +
                         stage->column_count * (bbi_run_rows(run, stage->folded) + 128);
        if (packed * real > bytes) bytes = packed * real;
    }
    for (int32_t k = 0; k < run->plan->ntemporary; k++) bytes += temporary_bytes(call, k);
    call->slots = limit / bytes < 1 ? 1 : limit / bytes < all ? limit / bytes : all;
    if (run->options.ranges_count > 1) call->slots = 1;
}

/* ---- a call ---- */
/* Temporaries of a plan that is on the device as a whole: of the elements that run together. */
static bb_status need_temporaries(holding *h) {
    bbi_gpu_call *call = h->call;
    const bbi_plan *plan = call->run->plan;
    for (int32_t k = 0; call->count == plan->nstage && k < plan->ntemporary; k++) {
        const bbi_temporary *t = &plan->temporary[k];
        bbi_gpu_view *view = &call->view[plan->ninput + k];
        int dtype = t->index ? BBI_I64 : call->executable->is_double ? BBI_F64 : BBI_F32;
        view->memory = 0;
        compact_view(call, 0, bbi_run_rows(call->run, t->place), t->dim, dtype, view);
        BBI_FORWARD(need(h, &view->memory, (size_t)(temporary_bytes(call, k) * call->slots)));
    }
    return BB_OK;
}

static void move_temporaries(bbi_gpu_call *call, int64_t batch) {
    const bbi_plan *plan = call->run->plan;
    for (int32_t k = 0; call->count == plan->nstage && k < plan->ntemporary; k++)
        call->view[plan->ninput + k].offset = -batch * temporary_bytes(call, k);
}

static bb_status start_stages(bbi_gpu_call *call) {
    for (int64_t batch = call->begin; batch < call->end; batch += call->slots) {
        int64_t slots = call->end - batch < call->slots ? call->end - batch : call->slots;
        move_temporaries(call, batch);
        for (int32_t n = call->first; n < call->first + call->count; n++)
            BBI_FORWARD(bbi_gpu_start(call, n, batch, slots));
    }
    return BB_OK;
}

static bb_status prepare(holding *h, copies *all) {
    bbi_gpu_call *call = h->call;
    const bbi_run *run = call->run;
    choose_slots(call);
    BBI_FORWARD(call->on_device ? find_device_arrays(h, all) : find_host_arrays(h, all));
    BBI_FORWARD(need_temporaries(h));
    for (int32_t v = 0; v < run->plan->ninput + run->plan->ntemporary + run->plan->noutput; v++)
        if (call->view[v].row == INT64_MIN) compact_view(call, 0, 0, 1, BBI_F32, &call->view[v]); /* nobody's */
    fold_batch(call);
    bool each = run->segments && run->options.ranges_count > 1;
    int64_t begin = call->begin;
    for (; call->begin == begin || (each && call->begin < call->end); call->begin++)
        for (int32_t n = call->first; n < call->first + call->count; n++) BBI_FORWARD(bbi_gpu_measure(call, n));
    call->begin = begin;
    for (int k = 0; k < BBI_BUFFERS; k++) BBI_FORWARD(need(h, &call->buffer[k], call->bytes[k]));
    return hold(h);
}

static bb_status perform(holding *h, copies *all) {
    bbi_gpu_call *call = h->call;
    BBI_FORWARD(prepare(h, all));
    for (int k = 0; k < all->count; k++)
        if (!all->copy[k].is_result) BBI_FORWARD(upload(h, &all->copy[k]));
    BBI_FORWARD(start_stages(call));
    for (int k = 0; k < all->count; k++)
        if (all->copy[k].is_result) BBI_FORWARD(download(h, &all->copy[k]));
    return call->on_device || !bbi_run_stopped(call->run)
               ? BB_OK
               : bbi_fail(BB_CANCELLED, "the run was cancelled: its outputs are incomplete");
}

bb_status bbi_gpu_call_stages(bbi_run *run, int32_t first, int32_t count, int64_t begin, int64_t end, bool on_device) {
    const bbi_plan *plan = run->plan;
    bbi_device *device = run->executable->gpu->device;
    size_t views = (size_t)(plan->ninput + plan->ntemporary + plan->noutput);
    BBI_FORWARD(bbi_device_check(device));
    BBI_FORWARD(bbi_gpu_check_lists(run, on_device));
    bbi_gpu_call call = {.run = run, .executable = run->executable, .device = device, .first = first, .count = count};
    call.begin = begin, call.end = end, call.on_device = on_device;
    call.stream = on_device ? run->options.stream : device->stream;
    call.view = bbi_calloc(views + 1, sizeof *call.view);
    holding h = {.call = &call, .piece = bbi_calloc(views + BBI_BUFFERS + 1, sizeof *h.piece)};
    copies all = {.copy = bbi_calloc(views + 1, sizeof *all.copy)};
    bb_status status = call.view && h.piece && all.copy ? BB_OK : no_memory();
    for (size_t k = 0; call.view && k < views; k++) call.view[k].row = INT64_MIN;
    if (status == BB_OK) status = perform(&h, &all);
    let_go(&h);
    bbi_free(all.copy);
    bbi_free(call.view);
    return status;
}
