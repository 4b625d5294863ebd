/* select_exact.c: minima and the K smallest of squared distances, exactly, from approximate values. A scan (expr/expand.c)
 * lists for each row the K' > K smallest of values a_j that differ from those of the formula by something of the row's
 * and by an error of at most E = rounding (norm of the row + largest norm of the columns) + underflow. The K listed first
 * have values of at most a_K + E, so a column with a_j > a_K + 2 E is not among the K smallest, nor ties with them. Where
 * the last listed a_K' is beyond that, all that may be among them are listed: they are evaluated as the formula says, in
 * the schedule with columns in lanes, and sorted by value and index. Other rows meet all columns, a lane block of rows
 * at a time. Either way the result is that of the formula to the bit, ties included.
 *
 * Requires: a stage in the direct schedule whose columns are not cut, no ranges. */
#include "execute.h"

#include <math.h>
#include <string.h>

static const int64_t most_fetched = 1 << 10; /* bytes of a column */

static double real_at(const bbi_run *run, const void *array, int64_t k) {
    return run->executable->is_double ? ((const double *)array)[k] : (double)((const float *)array)[k];
}

/* addresses of one item */
typedef struct selection {
    bbi_worker *worker;
    const bbi_item *item;
    const bbi_stage *stage;
    const bbi_stage_code *code;
    const bbi_candidates *c;
    char *uniform, *row, *column, *out, *interp;
    double *value;
    int64_t *index;
    int64_t k, size; /* entries; bytes of a real number */
} selection;

/* How many candidates row `at` (of all rows of all batch elements) needs; 0: more than are listed. */
static int64_t needed(const selection *s, int64_t at) {
    const bbi_run *run = s->worker->run;
    const bbi_candidates *c = s->c;
    double norms = real_at(run, c->norm, at) + real_at(run, c->largest, s->item->batch);
    int64_t first = at * c->count, n = c->k;
    if (!(norms < c->most)) return 0;
    double limit = real_at(run, c->value, first + c->k - 1) + 2 * (c->rounding * norms + c->underflow);
    if (!(real_at(run, c->value, first + c->count - 1) > limit)) return 0;
    while (real_at(run, c->value, first + n) <= limit) n++;
    for (int64_t k = 0; k < n; k++)
        if (c->index[first + k] < 0) return 0;
    return n;
}

/* Enters a value behind all that are smaller or tie with a smaller index. NaN is no value. */
static void enter(const selection *s, double x, int64_t index) {
    int64_t n = s->k;
    while (n > 0 && (x < s->value[n - 1] || s->index[n - 1] < 0 || (x == s->value[n - 1] && index < s->index[n - 1])))
        n--;
    if (n == s->k || isnan(x)) return;
    memmove(s->value + n + 1, s->value + n, (size_t)(s->k - 1 - n) * sizeof *s->value);
    memmove(s->index + n + 1, s->index + n, (size_t)(s->k - 1 - n) * sizeof *s->index);
    s->value[n] = x;
    s->index[n] = index;
}

/* Columns of a list against one row. Whole vectors of them are packed: that is fast. */
static void evaluate(const selection *s, int64_t row, const int64_t *list, int64_t count) {
    const bbi_schedule *how = s->worker->schedule;
    int64_t whole[BBI_LANE_BYTES / 4], vector = 64 / s->size;
    bbi_elements columns = {.count = (count + vector - 1) / vector * vector, .list = whole};
    for (int64_t k = 0; k < columns.count; k++) whole[k] = list[k < count ? k : count - 1];
    bbi_load_sources(s->worker, s->item, BBI_COLUMN, &columns, s->column, how->column_stride, s->code->column);
    bool interpreted = s->worker->run->executable->tiering == BBI_TIERING_INTERP;
    bbi_pair_kernel *kernel = interpreted ? NULL : bbi_compiled_function(s->code->compiled[1]);
    const char *cast = s->row + row * s->size;
    if (kernel)
        kernel(s->stage->size, s->uniform, s->column, how->column_stride, cast, how->row_stride, count, 1, NULL, s->out,
               1);
    else
        bbi_interp_pair(s->code->pair, true, s->stage->size, s->uniform, s->column, how->column_stride, cast,
                        how->row_stride, count, 1, NULL, s->out, 1, s->interp);
    for (int64_t k = 0; k < count; k++) enter(s, real_at(s->worker->run, s->out, k), list[k]);
}

/* The columns of a row's candidates are anywhere: they are fetched while other rows are evaluated. */
static void fetch(const selection *s, int64_t row) {
    int64_t at = s->item->batch * s->worker->schedule->rows + s->item->first_row + row;
    const int64_t *list = s->c->index + at * s->c->count;
    for (int32_t k = 0; k < s->stage->nsource && row < s->item->rows; k++) {
        const bbi_source *source = &s->stage->source[k];
        if (source->space != BBI_COLUMN || source->array < 0) continue;
        bbi_array array = bbi_run_array(s->worker->run, source->array, s->item->batch, s->item->batch_slot);
        int64_t bytes = source->dim * array.dim_stride;
        for (int64_t n = 0; n <= s->c->k && n < s->c->count; n++)
            for (int64_t b = 0; b < bytes && list[n] >= 0 && bytes <= most_fetched; b += 64)
                __builtin_prefetch(array.data + list[n] * array.row_stride + b);
    }
}

static bool settle(const selection *s, int64_t row) {
    const bbi_schedule *how = s->worker->schedule;
    int64_t at = s->item->batch * how->rows + s->item->first_row + row, count = needed(s, at);
    const int64_t *list = s->c->index + at * s->c->count;
    if (count == 0) return false;
    bbi_fold_neutral(&s->code->folding[0], s->value, s->index);
    for (int64_t k = 0; k < count; k += how->lanes)
        evaluate(s, row, list + k, count - k < how->lanes ? count - k : how->lanes);
    bbi_finish_row(s->worker, s->item, row, s->value, s->index);
    return true;
}

static selection open_item(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *how = worker->schedule;
    char *w = worker->workspace;
    selection s = {.worker = worker,
                   .item = item,
                   .stage = &worker->run->plan->stage[worker->stage],
                   .code = &worker->run->executable->stage[worker->stage],
                   .c = worker->run->candidates,
                   .uniform = w + how->uniform,
                   .row = w + how->row,
                   .column = w + how->column,
                   .out = w + how->out,
                   .interp = w + how->interp,
                   .value = (double *)(void *)(w + how->value),
                   .index = (int64_t *)(void *)(w + how->index),
                   .size = BBI_LANE_BYTES / how->lanes};
    s.k = bbi_fold_value_count(&s.code->folding[0]);
    return s;
}

void bbi_run_candidates(bbi_worker *worker, const bbi_item *item) {
    bbi_candidates *c = worker->run->candidates;
    int64_t lanes = worker->schedule->lanes;
    selection s = open_item(worker, item);
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_rows(worker, item);
    for (int64_t block = 0; block * lanes < item->rows; block++) {
        char *open = &c->open[item->batch * c->blocks + item->first_row / lanes + block];
        for (int64_t row = block * lanes; row < (block + 1) * lanes && row < item->rows && !*open; row++) {
            if (bbi_run_stopped(worker->run)) return;
            fetch(&s, row + 1);
            *open = !settle(&s, row);
        }
        if (*open) atomic_fetch_add(&c->open_count, 1);
    }
    bbi_finish_item(worker, item);
}

void bbi_run_open(bbi_worker *worker, const bbi_item *item) {
    const bbi_candidates *c = worker->run->candidates;
    int64_t lanes = worker->schedule->lanes;
    for (int64_t first = 0; first < item->rows; first += lanes) {
        if (!c->open[item->batch * c->blocks + (item->first_row + first) / lanes]) continue;
        bbi_item rows = *item;
        rows.first_row += first;
        rows.rows = item->rows - first < lanes ? item->rows - first : lanes;
        bbi_run_direct(worker, &rows);
    }
}
