/* select_exact.c: minima and the K smallest of squared distances, exactly, from approximate values. A scan (expr/expand.c)
 * lists for each row the K' > K smallest of values a_j that differ from those of the formula by something of the row's
 * and by an error of at most E = rounding (norm of the row + largest norm of the columns) + underflow. The K listed first
 * have values of at most a_K + E, so a column with a_j > a_K + 2 E is not among the K smallest, nor ties with them. Where
 * the last listed a_K' is beyond that, all that may be among them are listed: they are evaluated as the formula says, in
 * the schedule with columns in lanes, and sorted by value and index. Other rows meet all columns, a lane block of rows
 * at a time. Where indices alone are wanted and each of the K + 1 first listed is more than 2 E above the one before, their
 * order is known without that. Either way the result is that of the formula to the bit, ties included.
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
    bool indices;    /* nobody reads the values */
    bool loaded;     /* the rows are packed */
} selection;

/* Of all rows of all batch elements. */
static int64_t number_of(const selection *s, int64_t row) {
    return s->item->batch * s->worker->schedule->rows + s->item->first_row + row;
}

/* 2 E of row `at`; not finite where there is no bound. */
static double twice_error(const selection *s, int64_t at) {
    const bbi_candidates *c = s->c;
    double norms = real_at(s->worker->run, c->norm, at) + real_at(s->worker->run, c->largest, s->item->batch);
    return norms < c->most ? 2 * (c->rounding * norms + c->underflow) : INFINITY;
}

/* Are the K first listed the K smallest, in that order? */
static bool is_ordered(const selection *s, int64_t at) {
    const bbi_candidates *c = s->c;
    const int64_t first = at * c->count;
    const double apart = twice_error(s, at);
    bool ordered = s->indices && c->plain && c->count > c->k;
    for (int64_t k = first; ordered && k < first + c->k; k++) {
        double gap = real_at(s->worker->run, c->value, k + 1) - real_at(s->worker->run, c->value, k);
        ordered = gap > apart && c->index[k] >= 0 && c->index[k + 1] >= 0;
    }
    return ordered;
}

/* How many candidates row `at` needs; 0: more than are listed. */
static int64_t needed(const selection *s, int64_t at) {
    const bbi_run *run = s->worker->run;
    const bbi_candidates *c = s->c;
    int64_t first = at * c->count, n = c->k;
    double limit = real_at(run, c->value, first + c->k - 1) + twice_error(s, at);
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
    const int64_t *list = s->c->index + number_of(s, row) * s->c->count;
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

static void take_listed(const selection *s, int64_t row) {
    bbi_fold_neutral(&s->code->folding[0], s->value, s->index);
    memcpy(s->index, s->c->index + number_of(s, row) * s->c->count, (size_t)s->k * sizeof *s->index);
    bbi_finish_row(s->worker, s->item, row, s->value, s->index);
}

static void load_rows(selection *s) {
    if (!s->loaded) bbi_load_rows(s->worker, s->item);
    s->loaded = true;
}

static bool settle(selection *s, int64_t row) {
    const bbi_schedule *how = s->worker->schedule;
    int64_t at = number_of(s, row), count = needed(s, at);
    const int64_t *list = s->c->index + at * s->c->count;
    if (count == 0) return false;
    load_rows(s);
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
    s.indices = s.stage->nread == 0;
    for (int32_t k = 0; k < s.stage->nresult; k++) s.indices = s.indices && s.stage->result[k].fold >= 0;
    return s;
}

void bbi_run_candidates(bbi_worker *worker, const bbi_item *item) {
    bbi_candidates *c = worker->run->candidates;
    int64_t lanes = worker->schedule->lanes;
    selection s = open_item(worker, item);
    bool ordered = item->rows > 0 && is_ordered(&s, number_of(&s, 0)), next;
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    if (!s.indices) load_rows(&s);
    for (int64_t block = 0; block * lanes < item->rows; block++) {
        char *open = &c->open[item->batch * c->blocks + item->first_row / lanes + block];
        for (int64_t row = block * lanes; row < (block + 1) * lanes && row < item->rows; row++, ordered = next) {
            if (bbi_run_stopped(worker->run)) return;
            next = row + 1 < item->rows && is_ordered(&s, number_of(&s, row + 1));
            if (!next) fetch(&s, row + 1);
            if (ordered)
                take_listed(&s, row);
            else if (!*open)
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
