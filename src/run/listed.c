/* listed.c: sums over listed pairs: for each row the columns that an index array names, in their order. Both
 * sides of a block of pairs are gathered, the pair code runs over them element by element, and the values are
 * added in double precision to their rows. Transposed, the list belongs to the columns and names rows: values
 * are added in the order of the list by one thread, which makes the sum the same however often it is
 * repeated. */
#include "execute.h"

#include <string.h>

typedef struct listed {
    bbi_worker *worker;
    const bbi_stage *stage;
    const bbi_schedule *s;
    const bbi_item *item;
    int64_t *row, *column, *entry; /* of the pairs that wait; at most s->block */
    int64_t count;
    int64_t first_row; /* whose sums are at the front of `sums` */
    double *sums;      /* rows x out_count */
} listed;

static listed make_listed(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    int64_t *list = (int64_t *)(void *)(worker->workspace + s->list);
    return (listed){.worker = worker,
                    .stage = &worker->run->plan->stage[worker->stage],
                    .s = s,
                    .item = item,
                    .row = list,
                    .column = list + s->block,
                    .entry = list + 2 * s->block};
}

static double value_at(bool is_double, const char *array, int64_t at) {
    return is_double ? ((const double *)(const void *)array)[at] : (double)((const float *)(const void *)array)[at];
}

static void add_waiting(listed *l) {
    const bbi_executable *e = l->worker->run->executable;
    const bbi_stage_code *code = &e->stage[l->worker->stage];
    char *w = l->worker->workspace, *row = w + l->s->sum, *column = w + l->s->column, *out = w + l->s->out;
    if (l->count == 0) return;
    bbi_elements rows = {.count = l->count, .list = l->row, .slot = l->entry};
    bbi_elements columns = {.count = l->count, .list = l->column, .slot = l->entry};
    bbi_load_sources(l->worker, l->item, BBI_ROW, &rows, row, l->s->column_stride, code->row);
    bbi_load_sources(l->worker, l->item, BBI_COLUMN, &columns, column, l->s->column_stride, code->column);
    bbi_interp_zip(code->pair, l->stage->size, w + l->s->uniform, row, column, out, l->s->column_stride, l->count,
                   w + l->s->interp);
    for (int64_t k = 0; k < l->count; k++) {
        double *sum = l->sums + (l->row[k] - l->first_row) * l->stage->out_count;
        for (int64_t c = 0; c < l->stage->out_count; c++)
            sum[c] += value_at(e->is_double, out, c * l->s->column_stride + k);
    }
    l->count = 0;
}

static void add_pair(listed *l, int64_t row, int64_t column, int64_t entry) {
    l->row[l->count] = row;
    l->entry[l->count] = entry;
    l->column[l->count++] = column;
    if (l->count == l->s->block) add_waiting(l);
}

bb_status bbi_fail_list(int64_t entry, int64_t row, int64_t limit) {
    return bbi_fail(BB_BAD_ARGUMENT,
                    "the list of pairs names element %lld in row %lld, but there are %lld: "
                    "give indices from 0 on, -1 for none",
                    (long long)entry, (long long)row, (long long)limit);
}

/* Entry `k` of the list's row; -1 is an empty entry. False when it names what does not exist. */
static bool read_entry(const listed *l, const bbi_array *list, int64_t row, int64_t k, int64_t limit, int64_t *entry) {
    memcpy(entry, list->data + row * list->row_stride + k * list->dim_stride, sizeof *entry);
    if (*entry >= -1 && *entry < limit) return true;
    bbi_run_stop(l->worker->run, bbi_fail_list(*entry, row, limit));
    return false;
}

/* Sums of the item's rows become row components; then the epilogue as always. */
static void finish(const listed *l, const bbi_item *item) {
    const bbi_stage *stage = l->stage;
    bool is_double = l->worker->run->executable->is_double;
    bbi_load_rows(l->worker, item);
    for (int32_t k = 0; k < stage->nread; k++) {
        const bbi_read *read = &stage->read[k];
        for (int64_t row = 0; row < item->rows; row++) {
            const double *sum = l->sums + (item->first_row + row - l->first_row) * stage->out_count;
            for (int64_t d = 0; d < read->dim; d++) {
                double value = sum[stage->fold[read->fold].out_first + d];
                void *components = bbi_row_at(l->worker, row);
                int64_t at = (read->first + d) * l->s->row_stride;
                if (is_double)
                    ((double *)components)[at] = value;
                else
                    ((float *)components)[at] = (float)value;
            }
        }
    }
    bbi_finish_item(l->worker, item);
}

void bbi_run_listed(bbi_worker *worker, const bbi_item *item) {
    listed l = make_listed(worker, item);
    int64_t columns = l.s->columns, entry;
    bbi_array list = bbi_run_array(worker->run, l.stage->list_array, item->batch, item->batch_slot);
    l.sums = (double *)(void *)(worker->workspace + l.s->value);
    l.first_row = item->first_row;
    memset(l.sums, 0, (size_t)(item->rows * l.stage->out_count) * sizeof *l.sums);
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    for (int64_t row = item->first_row; row < item->first_row + item->rows; row++) {
        if (bbi_run_stopped(worker->run)) return;
        for (int64_t k = 0; k < l.stage->list_dim; k++) {
            if (!read_entry(&l, &list, row, k, columns, &entry)) return;
            if (entry >= 0) add_pair(&l, row, entry, k);
        }
    }
    add_waiting(&l);
    finish(&l, item);
}

static void scatter(listed *l, const bbi_array *list) {
    int64_t entry;
    for (int64_t column = 0; column < l->s->columns; column++) {
        if (bbi_run_stopped(l->worker->run)) return;
        for (int64_t k = 0; k < l->stage->list_dim; k++) {
            if (!read_entry(l, list, column, k, l->s->rows, &entry)) return;
            if (entry >= 0) add_pair(l, entry, column, k);
        }
    }
    add_waiting(l);
}

void bbi_run_scattered(bbi_worker *worker, const bbi_item *item) {
    listed l = make_listed(worker, item);
    bbi_array list = bbi_run_array(worker->run, l.stage->list_array, item->batch, item->batch_slot);
    l.sums = bbi_calloc((size_t)(l.s->rows * l.stage->out_count), sizeof *l.sums);
    if (!l.sums) {
        bbi_run_stop(worker->run, bbi_fail(BB_OUT_OF_MEMORY, "out of memory while summing over listed pairs"));
        return;
    }
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    scatter(&l, &list);
    bbi_item part = *item;
    for (part.first_row = 0; part.first_row < l.s->rows; part.first_row += l.s->group) {
        int64_t left = l.s->rows - part.first_row;
        part.rows = left < l.s->group ? left : l.s->group;
        if (bbi_run_stopped(worker->run)) break;
        finish(&l, &part);
    }
    bbi_free(l.sums);
}
