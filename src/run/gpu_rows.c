/* gpu_rows.c: runs whose rows can be divided: those of a program all of whose results and intermediate values are kept along
 * one axis. Large arrays of the host go to a CUDA device in pieces of rows, by way of two pinned buffers on two streams: while
 * the device works on one piece, the host copies the next one in and the last one out. Columns and parameters are copied
 * once. What decides the order of summation is that of the whole run (run->whole_rows), whatever the pieces. */
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

enum { PIECES_AT_ONCE = 2, LEAST_ROWS = 1024 };
static const int64_t staged_bytes = 16 << 20; /* of a pinned buffer; $BENBEN_DEVICE_STAGE */
static const double share_of_memory = 0.8;    /* of what is free */

bbi_place bbi_gpu_row_axis(const bbi_plan *plan) {
    bbi_place axis = plan->nstage ? plan->stage[0].kept : BBI_P;
    if (axis == BBI_P || !bbi_gpu_takes(plan)) return BBI_P;
    for (int32_t k = 0; k < plan->ntemporary; k++)
        if (plan->temporary[k].place != axis) return BBI_P;
    for (int32_t n = 0; n < plan->nstage; n++) {
        const bbi_stage *stage = &plan->stage[n];
        if (stage->kept != axis || stage->folded == axis || (stage->list && stage->list_transposed)) return BBI_P;
        for (int32_t k = 0; k < stage->nsource; k++) {
            const bbi_source *s = &stage->source[k];
            if (s->space == BBI_ROW ? s->array < 0 && s->array != BBI_ONE && s->array != BBI_SLOT : s->array >= plan->ninput) return BBI_P;
        }
        for (int32_t k = 0; k < stage->nfold; k++)
            if (stage->fold[k].lookup) return BBI_P;
    }
    return axis;
}

/* an array of the caller's, and its compact copies on the device: (own batch, rows, dim) */
typedef struct part {
    const bbi_view *host;
    bool is_row, is_result, is_used;
    int64_t dim, size, rows;           /* bytes of a number; rows of the whole array */
    int64_t batches;                   /* where the array has a stride of its own */
    int64_t batch[BBI_MAX_BATCH_DIMS]; /* extents, 1 where it is broadcast */
    bbi_memory memory[PIECES_AT_ONCE]; /* columns and parameters: the first alone */
} part;

typedef struct pieces {
    bbi_run *run;
    bbi_device *device;
    bbi_place axis;
    part *part; /* inputs, outputs */
    int count;
    int64_t rows, piece, first[PIECES_AT_ONCE],
        taken[PIECES_AT_ONCE]; /* rows of the run, of a piece; what a slot holds */
    bbi_stager *stager;
} pieces;

static int64_t size_of_dtype(int dtype) { return dtype == BBI_F16 || dtype == BBI_BF16 ? 2 : dtype == BBI_F32 ? 4 : 8; }

static int64_t part_bytes(const part *p, int64_t rows) { return p->batches * rows * p->dim * p->size; }

/* ---- the arrays ---- */
static void describe(pieces *w, part *p, const bbi_view *view, bool is_row, bool is_result, int64_t rows, int64_t dim) {
    const bbi_extent *extent = &w->run->extent;
    *p = (part){.host = view, .is_row = is_row, .is_result = is_result, .is_used = true, .dim = dim, .rows = rows};
    p->size = size_of_dtype(view->array.dtype);
    p->batches = 1;
    for (int k = 0; k < extent->nbatch; k++) {
        p->batch[k] = view->batch_stride[k] || is_result ? extent->batch[k] : 1;
        p->batches *= p->batch[k];
    }
}

static void find_parts(pieces *w) {
    const bbi_run *run = w->run;
    const bbi_plan *plan = run->plan;
    for (int32_t n = 0; n < plan->nstage; n++) {
        const bbi_stage *stage = &plan->stage[n];
        int64_t columns = bbi_run_rows(run, stage->folded);
        for (int32_t k = 0; k < stage->nsource; k++) {
            const bbi_source *s = &stage->source[k];
            if (s->array < 0 || s->array >= plan->ninput) continue;
            int64_t rows = s->space == BBI_ROW ? w->rows : s->space == BBI_COLUMN ? columns : 1;
            describe(w, &w->part[s->array], &run->input[s->array], s->space == BBI_ROW, false, rows, s->dim);
        }
        if (stage->list && stage->list_array < plan->ninput)
            describe(w, &w->part[stage->list_array], &run->input[stage->list_array], true, false, w->rows,
                     stage->list_dim);
        for (int32_t k = 0; k < stage->nresult; k++) {
            const bbi_result *r = &stage->result[k];
            if (r->array < plan->noutput)
                describe(w, &w->part[plan->ninput + r->array], &run->output[r->array], true, true, w->rows, r->dim);
        }
    }
}

static int64_t row_bytes(const pieces *w, bool is_result) {
    int64_t bytes = 0;
    for (int k = 0; k < w->count; k++)
        if (w->part[k].is_used && w->part[k].is_row && w->part[k].is_result == is_result)
            bytes += part_bytes(&w->part[k], 1);
    return bytes;
}

/* Between rows first .. first + count - 1 of batch element `batch` of an array's own and compact memory. */
static void copy_rows(const pieces *w, const part *p, int64_t batch, int64_t first, int64_t count, char *compact) {
    const bbi_view *v = p->host;
    char *data = (char *)(uintptr_t)v->array.data + first * v->array.row_stride;
    for (int k = w->run->extent.nbatch - 1; k >= 0; k--) {
        data += batch % p->batch[k] * v->batch_stride[k];
        batch /= p->batch[k];
    }
    bool dense = p->dim == 1 || v->array.dim_stride == p->size;
    int64_t run = dense && v->array.row_stride == p->dim * p->size ? count * p->dim : dense ? p->dim : 1;
    for (int64_t at = 0; at < count * p->dim; at += run) {
        char *outside = data + at / p->dim * v->array.row_stride + at % p->dim * v->array.dim_stride;
        if (p->is_result)
            memcpy(outside, compact + at * p->size, (size_t)(run * p->size));
        else
            memcpy(compact + at * p->size, outside, (size_t)(run * p->size));
    }
}

/* ---- memory ---- */
/* Rows of a piece: what fits into a pinned buffer, and twice into the memory that is free. */
static void choose_piece(pieces *w, int64_t room) {
    const bbi_plan *plan = w->run->plan;
    int64_t in = row_bytes(w, false), out = row_bytes(w, true), most = in > out ? in : out;
    double real = w->run->executable->is_double ? 8 : 4, batches = (double)w->run->extent.batches, packed = 0,
           fixed = 0;
    for (int32_t n = 0; n < plan->nstage; n++) {
        const bbi_stage *stage = &plan->stage[n];
        double columns = (double)stage->column_count * (double)bbi_run_rows(w->run, stage->folded) * real * batches;
        double rows = (double)stage->row_count * real * batches;
        if (columns > fixed) fixed = columns;
        if (rows > packed) packed = rows;
    }
    for (int32_t k = 0; k < plan->ntemporary; k++) packed += 8 * (double)plan->temporary[k].dim * batches;
    double common = 0;
    for (int k = 0; k < w->count; k++)
        if (w->part[k].is_used && !w->part[k].is_row) common += (double)part_bytes(&w->part[k], w->part[k].rows);
    int64_t free_bytes = w->device->driver->free_memory(w->device);
    double fit =
        ((share_of_memory * (double)free_bytes - common) / PIECES_AT_ONCE - fixed) / ((double)(in + out) + packed + 1);
    w->piece = most > 0 ? room / most : w->rows;
    if (fit < (double)w->piece) w->piece = fit < LEAST_ROWS ? LEAST_ROWS : (int64_t)fit;
    if (w->piece > w->rows) w->piece = w->rows;
}

static bb_status allocate(pieces *w) {
    for (int k = 0; k < w->count; k++) {
        part *p = &w->part[k];
        for (int slot = 0; p->is_used && slot < (p->is_row ? PIECES_AT_ONCE : 1); slot++) {
            int64_t bytes = part_bytes(p, p->is_row ? w->piece : p->rows);
            BBI_FORWARD(w->device->driver->allocate(w->device, (size_t)bytes + 8, &p->memory[slot]));
        }
    }
    return BB_OK;
}

/* Columns and parameters, in pieces as large as a pinned buffer. */
static bb_status send_common(pieces *w, int64_t room) {
    int slot = 0;
    for (int k = 0; k < w->count; k++) {
        const part *p = &w->part[k];
        int64_t row = p->dim * p->size, most = row > 0 && room / row > 0 ? room / row : 1;
        for (int64_t b = 0; p->is_used && !p->is_row && b < p->batches; b++)
            for (int64_t first = 0; first < p->rows; first += most, slot = (slot + 1) % PIECES_AT_ONCE) {
                int64_t count = p->rows - first < most ? p->rows - first : most;
                void *stream = w->stager->stream[slot];
                BBI_FORWARD(w->device->driver->wait(w->device, stream));
                copy_rows(w, p, b, first, count, w->stager->in[slot]);
                BBI_FORWARD(w->device->driver->send(w->device, stream,
                                                    p->memory[0] + (bbi_memory)((b * p->rows + first) * row),
                                                    w->stager->in[slot], (size_t)(count * row)));
            }
    }
    for (slot = 0; slot < PIECES_AT_ONCE; slot++)
        BBI_FORWARD(w->device->driver->wait(w->device, w->stager->stream[slot]));
    return BB_OK;
}

/* ---- pieces ---- */
static bb_status take_back(pieces *w, int slot) {
    char *from = w->stager->out[slot];
    if (!w->taken[slot]) return BB_OK;
    BBI_FORWARD(w->device->driver->wait(w->device, w->stager->stream[slot]));
    for (int k = 0; k < w->count; k++) {
        const part *p = &w->part[k];
        for (int64_t b = 0; p->is_used && p->is_result && b < p->batches; b++) {
            copy_rows(w, p, b, w->first[slot], w->taken[slot], from);
            from += w->taken[slot] * p->dim * p->size;
        }
    }
    w->taken[slot] = 0;
    return BB_OK;
}

/* The array's copy on the device, as a run on it sees it. */
static void view_on_device(const pieces *w, const part *p, int slot, int64_t rows, bbi_view *view) {
    *view = (bbi_view){.array.dtype = BBI_F32};
    if (!p->is_used) return;
    int64_t stride = rows * p->dim * p->size;
    view->array = (bbi_array){.data = (const char *)(uintptr_t)p->memory[p->is_row ? slot : 0],
                              .dtype = p->host->array.dtype,
                              .row_stride = p->dim * p->size,
                              .dim_stride = p->size};
    for (int k = w->run->extent.nbatch - 1; k >= 0; k--) {
        if (p->batch[k] > 1) view->batch_stride[k] = stride, view->batched = true;
        stride *= p->batch[k];
    }
}

static bb_status start_piece(pieces *w, int slot, int64_t first, int64_t rows, bbi_view *views) {
    const bbi_driver *driver = w->device->driver;
    void *stream = w->stager->stream[slot];
    bbi_run run = {.executable = w->run->executable, .plan = w->run->plan, .extent = w->run->extent};
    char *in = w->stager->in[slot], *out = w->stager->out[slot];
    for (int k = 0; k < w->count; k++) {
        const part *p = &w->part[k];
        int64_t bytes = part_bytes(p, rows);
        view_on_device(w, p, slot, p->is_row ? rows : p->rows, &views[k]);
        if (!p->is_used || !p->is_row || p->is_result) continue;
        for (int64_t b = 0; b < p->batches; b++) copy_rows(w, p, b, first, rows, in + b * rows * p->dim * p->size);
        BBI_FORWARD(driver->send(w->device, stream, p->memory[slot], in, (size_t)bytes));
        in += bytes;
    }
    run.options.stream = stream;
    run.options.cancel = w->run->options.cancel;
    run.input = views;
    run.output = views + run.plan->ninput;
    run.whole_rows = w->rows;
    *(w->axis == BBI_I ? &run.extent.m : &run.extent.n) = rows;
    w->first[slot] = first, w->taken[slot] = rows;
    BBI_FORWARD(bbi_gpu_call_stages(&run, 0, run.plan->nstage, 0, run.extent.batches, true));
    for (int k = 0; k < w->count; k++) {
        const part *p = &w->part[k];
        if (!p->is_used || !p->is_result) continue;
        BBI_FORWARD(driver->receive(w->device, stream, out, p->memory[slot], (size_t)part_bytes(p, rows)));
        out += part_bytes(p, rows);
    }
    return BB_OK;
}

static bb_status progress(const bbi_run *run, double done) {
    if (bbi_run_stopped((bbi_run *)(uintptr_t)run) ||
        (run->options.progress && run->options.progress(run->options.progress_data, done)))
        return bbi_fail(BB_CANCELLED, "the run was cancelled: its outputs are incomplete");
    return BB_OK;
}

static bb_status perform(pieces *w, int64_t room, bbi_view *views) {
    choose_piece(w, room);
    BBI_FORWARD(allocate(w));
    BBI_FORWARD(send_common(w, room));
    int slot = 0;
    for (int64_t first = 0; first < w->rows; first += w->piece, slot = (slot + 1) % PIECES_AT_ONCE) {
        int64_t rows = w->rows - first < w->piece ? w->rows - first : w->piece;
        BBI_FORWARD(take_back(w, slot));
        BBI_FORWARD(progress(w->run, (double)first / (double)w->rows));
        BBI_FORWARD(start_piece(w, slot, first, rows, views));
    }
    for (int k = 0; k < PIECES_AT_ONCE; k++, slot = (slot + 1) % PIECES_AT_ONCE) BBI_FORWARD(take_back(w, slot));
    return BB_OK;
}

/* After an error, too, nothing is given back that a kernel may still use. */
static void clean_up(pieces *w) {
    for (int slot = 0; w->stager && slot < PIECES_AT_ONCE; slot++)
        if (w->device->driver->wait(w->device, w->stager->stream[slot]) != BB_OK) break;
    for (int k = 0; w->part && k < w->count; k++)
        for (int slot = 0; slot < PIECES_AT_ONCE; slot++)
            w->device->driver->release(w->device, w->part[k].memory[slot]);
    bbi_stager_give(w->stager);
}

bb_status bbi_gpu_run_pieces(bbi_run *run, bool *done) {
    const bbi_plan *plan = run->plan;
    const char *asked = bbi_environment("BENBEN_DEVICE_STAGE");
    int64_t room = asked ? strtoll(asked, NULL, 10) : staged_bytes;
    pieces w = {.run = run, .axis = bbi_gpu_row_axis(plan), .count = plan->ninput + plan->noutput};
    w.device = bbi_gpu_device(run->executable);
    *done = false;
    if (!w.device->driver->receive || w.axis == BBI_P || run->segments || room < 4096) return BB_OK;
    w.rows = bbi_run_rows(run, w.axis);
    w.part = bbi_calloc((size_t)w.count + 1, sizeof *w.part);
    bbi_view *views = bbi_calloc((size_t)w.count + 1, sizeof *views);
    bb_status status = w.part && views ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a run");
    if (status == BB_OK) {
        find_parts(&w);
        double in = (double)row_bytes(&w, false), out = (double)row_bytes(&w, true);
        *done = (in + out) * (double)w.rows > 2.0 * (double)room && in <= (double)room && out <= (double)room;
        for (int k = 0; k < w.count; k++)
            *done = *done && (!w.part[k].is_used || w.part[k].dim * w.part[k].size <= room);
    }
    if (status == BB_OK && *done) status = bbi_gpu_check_lists(run, false);
    if (status == BB_OK && *done) {
        status = bbi_stager_take(w.device, (size_t)room, &w.stager);
        if (status == BB_OK) status = perform(&w, room, views);
        char message[512];
        strncpy(message, bb_last_error(), sizeof message - 1);
        message[sizeof message - 1] = 0;
        clean_up(&w);
        if (status != BB_OK) bbi_fail(status, "%s", message);
    }
    bbi_free(w.part);
    bbi_free(views);
    return status;
}
