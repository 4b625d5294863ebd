/* transposed.c: the schedule with columns in lanes, for few rows. The rows of an item are cast; every lane
 * block of columns is met by all of them. The last columns, fewer than a lane block, are folded apart from
 * the others, because what lies behind them in their block is no data. */
#include "execute.h"

#include <string.h>

/* addresses of one item */
typedef struct transposed {
    bbi_worker *worker;
    const bbi_item *item;
    const bbi_stage *stage;
    const bbi_stage_code *code;
    const bbi_schedule *s;
    char *uniform, *row, *column, *sum, *out, *state, *interp;
    bbi_pair_kernel *kernel;
    int64_t size;   /* of a real number */
    int64_t unsaid; /* lane blocks summed since the last flush */
} transposed;

static char *next_state(const transposed *t, const bbi_folding *folding, char *state) {
    return state + (bbi_fold_state_bytes(folding, true, t->s->group) + 63) / 64 * 64;
}

static void begin(transposed *t) {
    char *state = t->state;
    memset(t->sum, 0, (size_t)(t->item->rows * t->stage->sum_count * BBI_LANE_BYTES));
    for (int32_t k = 0; k < t->stage->nfold; k++) {
        bbi_fold_init(&t->code->folding[k], true, t->item->rows, state);
        state = next_state(t, &t->code->folding[k], state);
    }
    t->unsaid = 0;
}

static void flush_sums(transposed *t, int64_t lanes) {
    char *state = t->state;
    for (int32_t k = 0; k < t->stage->nfold; k++) {
        const bbi_folding *folding = &t->code->folding[k];
        if (folding->fold.sum_first >= 0)
            bbi_fold_flush(folding, true, t->item->rows, state, t->sum + folding->fold.sum_first * BBI_LANE_BYTES,
                           t->stage->sum_count, lanes);
        state = next_state(t, folding, state);
    }
    t->unsaid = 0;
}

/* One lane block of the packed columns against all rows. */
static void meet(transposed *t, int64_t first, int64_t lanes, int64_t position) {
    const char *lane = t->column + first * t->size;
    const int64_t *sizes = t->stage->size;
    int64_t casts = t->item->rows, lane_stride = t->s->column_stride, cast_stride = t->s->row_stride;
    if (t->kernel)
        t->kernel(sizes, t->uniform, lane, lane_stride, t->row, cast_stride, lanes, casts, t->sum, t->out, t->s->group);
    else
        bbi_interp_pair(t->code->pair, true, sizes, t->uniform, lane, lane_stride, t->row, cast_stride, lanes, casts,
                        t->sum, t->out, t->s->group, t->interp);
    char *state = t->state;
    for (int32_t k = 0; k < t->stage->nfold; k++) {
        const bbi_folding *folding = &t->code->folding[k];
        if (folding->fold.sum_first < 0)
            bbi_fold_step(folding, true, state, t->out, t->s->group, lanes, casts, position);
        state = next_state(t, folding, state);
    }
    bool to_the_end = t->worker->run->executable->scheme == BBI_SCHEME_DIRECT;
    if (++t->unsaid == BBI_COLUMN_BLOCK && !to_the_end) flush_sums(t, lanes);
}

static void take_partial(const transposed *t, int64_t row, int64_t lanes, double *value, int64_t *index) {
    const char *state = t->state;
    for (int32_t k = 0; k < t->stage->nfold; k++) {
        const bbi_folding *folding = &t->code->folding[k];
        bbi_fold_partial(folding, true, state, row, lanes, value, index);
        value += bbi_fold_value_count(folding);
        index += bbi_fold_index_count(folding);
        state = next_state(t, folding, (char *)(uintptr_t)state);
    }
}

static double *value_of(const transposed *t, int64_t row) {
    return (double *)(void *)(t->worker->workspace + t->s->value) + row * t->s->value_count;
}

static int64_t *index_of(const transposed *t, int64_t row) {
    return (int64_t *)(void *)(t->worker->workspace + t->s->index) + row * t->s->index_count;
}

/* Whole lane blocks, then the rest; the rows' partial results are in the workspace afterwards. */
static void walk(transposed *t) {
    int64_t rows = t->item->rows, lanes = t->s->lanes, begin_at = t->item->first_position;
    int64_t whole = begin_at + (t->item->end_position - begin_at) / lanes * lanes, rest = t->item->end_position - whole;
    const bbi_compiled *compiled = t->code->compiled[1];
    bool compile = compiled && t->worker->run->executable->tiering != BBI_TIERING_INTERP;
    begin(t);
    for (int64_t at = begin_at; at < whole; at += t->s->block) {
        int64_t count = whole - at < t->s->block ? whole - at : t->s->block;
        if (bbi_run_stopped(t->worker->run)) return;
        bbi_load_columns(t->worker, t->item, at, count);
        t->kernel = compile ? bbi_compiled_function(compiled) : NULL;
        for (int64_t first = 0; first < count; first += lanes) meet(t, first, lanes, at + first);
    }
    if (t->unsaid) flush_sums(t, lanes);
    for (int64_t row = 0; row < rows; row++) take_partial(t, row, lanes, value_of(t, row), index_of(t, row));
    if (!rest) return;
    begin(t);
    bbi_load_columns(t->worker, t->item, whole, rest);
    t->kernel = compile ? bbi_compiled_function(compiled) : NULL;
    meet(t, 0, rest, whole);
    flush_sums(t, rest);
    for (int64_t row = 0; row < rows; row++) {
        take_partial(t, row, rest, value_of(t, t->s->group), index_of(t, t->s->group));
        bbi_merge_rows(t->worker, value_of(t, row), index_of(t, row), value_of(t, t->s->group),
                       index_of(t, t->s->group));
    }
}

void bbi_run_transposed(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    char *w = worker->workspace;
    transposed t = {.worker = worker,
                    .item = item,
                    .s = s,
                    .stage = &worker->run->plan->stage[worker->stage],
                    .code = &worker->run->executable->stage[worker->stage],
                    .size = BBI_LANE_BYTES / s->lanes,
                    .uniform = w + s->uniform,
                    .row = w + s->row,
                    .column = w + s->column,
                    .sum = w + s->sum,
                    .out = w + s->out,
                    .state = w + s->state,
                    .interp = w + s->interp};
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_rows(worker, item);
    walk(&t);
    if (bbi_run_stopped(worker->run)) return;
    for (int64_t row = 0; row < item->rows; row++) {
        if (s->chunks == 1) {
            bbi_finish_row(worker, item, row, value_of(&t, row), index_of(&t, row));
            continue;
        }
        double *value;
        int64_t *index;
        bbi_partial_slot(worker, item, row, &value, &index);
        memcpy(value, value_of(&t, row), (size_t)s->value_count * sizeof *value);
        memcpy(index, index_of(&t, row), (size_t)s->index_count * sizeof *index);
    }
    if (s->chunks == 1) bbi_finish_item(worker, item);
}
