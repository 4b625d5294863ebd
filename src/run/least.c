/* least.c: the K smallest where a compiled kernel gives the smallest value of each group of columns (BBI_SELECT_LEAST). A
 * lane block of rows meets a span of columns, then those groups are evaluated again, in the schedule with columns in lanes,
 * that hold what can be among the K smallest of a row: as the smallest values of the whole span are known by then, these
 * are few more than K. Blocks meet the span one after the other, so that the smallest values of one stay in the cache. */
#include "execute.h"

/* addresses of one item */
typedef struct least {
    bbi_worker *worker;
    const bbi_item *item;
    const bbi_stage *stage;
    const bbi_stage_code *code;
    const bbi_schedule *s;
    bbi_pair_kernel *direct, *transposed;
    char *uniform, *column, *out, *least, *state;
    int64_t size, first; /* bytes of a real number; the first column of the span */
    int64_t block;       /* being looked at: a lane block */
} least;

static int64_t lanes_of(const least *l, int64_t block) {
    int64_t left = l->item->rows - block * l->s->lanes;
    return left < l->s->lanes ? left : l->s->lanes;
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Where the packed columns of the block stand that begins at this position. */
static char *columns_at(const least *l, int64_t at) {
    if (l->worker->run->packed) return bbi_packed_at(l->worker, l->item, at);
    return l->column + (at - l->first) / l->s->block * bbi_packed_bytes(l->worker->run, l->worker->stage);
}

static char *load_columns(const least *l, int64_t at, int64_t count) {
    char *columns = columns_at(l, at);
    if (!l->worker->run->packed) bbi_load_columns_to(l->worker, l->item, at, count, columns);
    return columns;
}

/* All columns of the span against one lane block. */
static void meet(const least *l, int64_t end) {
    const int64_t rows = lanes_of(l, l->block);
    for (int64_t at = l->first; at < end; at += l->s->block)
        l->direct(l->stage->size, l->uniform, bbi_row_at(l->worker, l->block * l->s->lanes), l->s->row_stride,
                  columns_at(l, at), l->s->column_stride, rows, end - at < l->s->block ? end - at : l->s->block,
                  l->least + (at - l->first) / BBI_LEAST_CASTS * BBI_LANE_BYTES, l->out, 1);
}

/* Few columns, at most a span: all values of one row after the other. */
static void look_at_rows(const least *l) {
    int64_t count = l->item->end_position - l->first, lanes = l->s->lanes;
    const char *columns[BBI_LEAST_ROW];
    for (int64_t at = 0; at < count; at += l->s->block) {
        int64_t here = count - at < l->s->block ? count - at : l->s->block;
        const char *block = load_columns(l, l->first + at, here);
        for (int64_t lane = 0; lane < here; lane += lanes) columns[(at + lane) / lanes] = block + lane * l->size;
    }
    for (int64_t row = 0; row < l->item->rows; row++) {
        for (int64_t at = 0; at < count; at += lanes)
            l->transposed(l->stage->size, l->uniform, columns[at / lanes], l->s->column_stride, bbi_row_at(l->worker, row),
                          l->s->row_stride, count - at < lanes ? count - at : lanes, 1, NULL, l->out + at * l->size, 1);
        bbi_fold_row(&l->code->folding[0], l->state + row / lanes * l->s->state_bytes, row % lanes, l->out, count, l->first);
    }
}

/* Groups begin where vectors do, and these may be read whole. */
static void evaluate(void *data, const bbi_again *again, int64_t count, void *out) {
    const least *l = data;
    const uint32_t each = (uint32_t)(l->s->block / BBI_LEAST_CASTS);
    const uint64_t inverse = (UINT32_MAX + (uint64_t)each) / each; /* exact for groups and blocks of less than 2^16 groups */
    const int64_t bytes = bbi_packed_bytes(l->worker->run, l->worker->stage), *size = l->stage->size;
    const int64_t column_stride = l->s->column_stride, row_stride = l->s->row_stride;
    const char *columns = columns_at(l, l->first), *row = bbi_row_at(l->worker, l->block * l->s->lanes);
    const void *lane[BBI_AGAIN_MOST], *cast[BBI_AGAIN_MOST];
    if (count == 0) return;
    for (int64_t n = 0; n < count; n++) {
        const uint32_t group = again[n] >> BBI_AGAIN_GROUP, block = (uint32_t)(group * inverse >> 32);
        lane[n] = columns + block * bytes + (group - block * each) * BBI_LEAST_CASTS * l->size;
        cast[n] = row + (again[n] & BBI_AGAIN_LANE) * l->size;
    }
    l->transposed(size, l->uniform, lane, column_stride, cast, row_stride, BBI_LEAST_CASTS, -count, NULL, out, 1);
}

static void look(const least *l, int64_t end) {
    bbi_fold_least(&l->code->folding[0], l->state + l->block * l->s->state_bytes,
                   &(bbi_least){.least = l->least,
                                .first = l->first,
                                .columns = end - l->first,
                                .lanes = lanes_of(l, l->block),
                                .out = l->out,
                                .data = (void *)(uintptr_t)l,
                                .evaluate = evaluate});
}

bool bbi_run_least(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    char *w = worker->workspace;
    least l = {.worker = worker,
               .item = item,
               .stage = &worker->run->plan->stage[worker->stage],
               .code = &worker->run->executable->stage[worker->stage],
               .s = s,
               .uniform = w + s->uniform,
               .column = w + s->column,
               .out = w + s->out,
               .least = w + s->least,
               .state = w + s->state,
               .size = BBI_LANE_BYTES / s->lanes,
               .first = item->first_position};
    if (worker->run->executable->tiering == BBI_TIERING_INTERP || !l.code->compiled[0]) return false;
    l.direct = bbi_compiled_function(l.code->compiled[0]);
    l.transposed = bbi_compiled_function(l.code->compiled[1]);
    if (!l.direct || !l.transposed) return false;
    int64_t blocks = ceil_div(item->rows, s->lanes), span = worker->run->packed ? s->span : s->own_span;
    if (item->end_position - l.first <= s->few_columns && !bbi_run_stopped(worker->run)) {
        look_at_rows(&l);
        return true;
    }
    while (l.first < item->end_position) {
        int64_t end = l.first + span * s->block;
        if (end > item->end_position) end = item->end_position;
        for (int64_t at = l.first; at < end && !worker->run->packed; at += s->block)
            load_columns(&l, at, end - at < s->block ? end - at : s->block);
        for (l.block = 0; l.block < blocks; l.block++) {
            if (bbi_run_stopped(worker->run)) return true;
            meet(&l, end);
            look(&l, end);
        }
        l.first = end;
    }
    return true;
}
