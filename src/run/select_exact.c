/* select_exact.c: minima and the K smallest of squared distances, exactly, from approximate values. A scan (expr/expand.c)
 * lists for each row the K' > K smallest of values a_j = d_j - n, d_j the squared distances and n the norm of the row,
 * that are off from the formula's by at most E_j = rounding (n + 2 L + d_j) + underflow, L the largest norm of the columns:
 * the scalar product's error is one of sqrt(n L) <= (n + L) / 2 twice, the norm's one of L, and the formula's own one of
 * d_j (docs/accuracy.md). E_j grows with a_j, but more slowly. The K listed first have values of at most a_K + E_K, so a
 * column with a_j - 2 E_j > a_K is not among the K smallest, nor ties with them. Where the last one listed is such, all
 * that may be among them are listed: they are evaluated as the formula says, in the schedule with columns in lanes, and
 * sorted by value and index. Other rows meet all columns, a lane block of rows at a time. Where indices alone are wanted
 * those that are farther than twice the larger error from all others listed have their place without being evaluated.
 * Either way the result is that of the formula to the bit, ties included.
 *
 * Requires: a stage in the direct schedule whose columns are not cut, no ranges. */
#include "execute.h"

#include <math.h>
#include <string.h>

static const int64_t most_fetched = 16 << 10; /* bytes of a row's columns: a part of the first-level cache */

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
    char *uniform, *column, *out, *interp;
    double *value;
    int64_t *index;
    int64_t k, size; /* entries; bytes of a real number */
    bool indices;    /* nobody reads the values */
    bool loaded;     /* the rows are packed */
    bool few;        /* columns are packed as they stand, and need no code: as few as there are */
    const char *from; /* rows that can be cast from where they stand: the item's first; NULL: they are packed */
    int64_t step;     /* bytes from one to the next */
} selection;

/* Of all rows of all batch elements. */
static int64_t number_of(const selection *s, int64_t row) {
    return s->item->batch * s->worker->schedule->rows + s->item->first_row + row;
}

/* 2 E_j of a row is fixed + slope max(a_j + norm, 0). */
typedef struct margin {
    double fixed, slope, norm;
} margin;

/* Of row `at`; not finite where there is no bound. */
static margin margin_of(const selection *s, int64_t at) {
    const bbi_candidates *c = s->c;
    const double norm = real_at(s->worker->run, c->norm, at);
    const double largest = real_at(s->worker->run, c->largest, s->item->batch);
    if (!(norm + largest < c->most)) return (margin){.fixed = INFINITY};
    return (margin){2 * (c->rounding * (norm + 2 * largest) + c->underflow), 2 * c->rounding, norm};
}

static double twice_error(const margin *m, double a) {
    const double distance = a + m->norm;
    return m->fixed + m->slope * (distance > 0 ? distance : 0);
}

/* How many candidates row `at` needs; 0: more than are listed. */
static int64_t needed(const selection *s, int64_t at, const margin *m) {
    const bbi_run *run = s->worker->run;
    const bbi_candidates *c = s->c;
    int64_t first = at * c->count, n = c->k;
    const double last = real_at(run, c->value, first + c->count - 1), limit = real_at(run, c->value, first + c->k - 1);
    if (!(last - twice_error(m, last) > limit)) return 0;
    for (double a; a = real_at(run, c->value, first + n), !(a - twice_error(m, a) > limit);) n++;
    for (int64_t k = 0; k < n; k++)
        if (c->index[first + k] < 0) return 0;
    return n;
}

/* Of a row: how many of those listed it needs, 0 where these are more than all; of which those must be evaluated that are
 * within the margin of the one before (`near`) or behind. */
enum { MOST_NEAR = 64 };
typedef struct doubts {
    int64_t needed, count;
    bool by_place; /* all others have their places */
    int64_t place[MOST_NEAR], column[MOST_NEAR];
    bool near[MOST_NEAR];
} doubts;

static void doubt(const selection *s, int64_t row, doubts *d) {
    const bbi_candidates *c = s->c;
    const int64_t at = number_of(s, row), first = at * c->count;
    const margin m = margin_of(s, at);
    d->needed = needed(s, at, &m);
    d->count = 0;
    d->by_place = s->indices && c->plain && d->needed <= MOST_NEAR;
    bool near = false, behind;
    double here = real_at(s->worker->run, c->value, first), next = here;
    for (int64_t k = 0; d->by_place && k < d->needed; k++, near = behind, here = next) {
        if (k + 1 < d->needed) next = real_at(s->worker->run, c->value, first + k + 1);
        behind = k + 1 < d->needed && !(next - here > twice_error(&m, next));
        if (!near && !behind) continue;
        d->near[d->count] = near;
        d->place[d->count] = k;
        d->column[d->count++] = c->index[first + k];
    }
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

/* Columns of a list into lanes; returns the stride of their components. */
static int64_t pack_columns(const selection *s, const int64_t *list, int64_t count) {
    enum { QUAD = 4 }; /* rows that are transposed together */
    const int64_t vector = 64 / s->size;
    const bool few = s->few && count <= vector;
    const int64_t unit = few ? QUAD : vector, stride = few ? vector : s->worker->schedule->column_stride;
    int64_t whole[BBI_LANE_BYTES / 4];
    bbi_elements columns = {.count = (count + unit - 1) / unit * unit, .list = whole};
    for (int64_t k = 0; k < columns.count; k++) whole[k] = list[k < count ? k : count - 1];
    if (!few) {
        bbi_load_sources(s->worker, s->item, BBI_COLUMN, &columns, s->column, stride, s->code->column);
        return stride;
    }
    for (int32_t k = 0; k < s->stage->nsource; k++) {
        const bbi_source *source = &s->stage->source[k];
        if (source->space != BBI_COLUMN) continue;
        bbi_array array = bbi_run_array(s->worker->run, source->array, s->item->batch, s->item->batch_slot);
        bbi_pack_indexed(s->worker->run->executable->is_double, s->column + source->first * stride * s->size, stride,
                         &array, source->dim, whole, columns.count, columns.count);
    }
    return stride;
}

/* Columns of a list, a lane block at most, against one row. */
static void evaluate(const selection *s, int64_t row, const int64_t *list, int64_t count) {
    const int64_t stride = pack_columns(s, list, count), cast_stride = s->from ? 1 : s->worker->schedule->row_stride;
    const char *cast = s->from ? s->from + row * s->step : bbi_row_at(s->worker, row);
    bool interpreted = s->worker->run->executable->tiering == BBI_TIERING_INTERP;
    bbi_pair_kernel *kernel = interpreted ? NULL : bbi_compiled_function(s->code->compiled[1]);
    if (kernel)
        kernel(s->stage->size, s->uniform, s->column, stride, cast, cast_stride, count, 1, NULL, s->out, 1);
    else
        bbi_interp_pair(s->code->pair, true, s->stage->size, s->uniform, s->column, stride, cast, cast_stride, count, 1,
                        NULL, s->out, 1, s->interp);
}

/* The columns of a row's candidates are anywhere: they are fetched while other rows are evaluated. */
static void fetch(const selection *s, int64_t row, const doubts *d) {
    const int64_t *list = d->by_place ? d->column : s->c->index + number_of(s, row) * s->c->count;
    const int64_t count = d->by_place ? d->count : d->needed;
    int64_t left = most_fetched;
    for (int32_t k = 0; k < s->stage->nsource; k++) {
        const bbi_source *source = &s->stage->source[k];
        if (source->space != BBI_COLUMN || source->array < 0) continue;
        bbi_array array = bbi_run_array(s->worker->run, source->array, s->item->batch, s->item->batch_slot);
        const int64_t bytes = source->dim * array.dim_stride;
        for (int64_t n = 0; n < count && (left -= bytes) >= 0; n++)
            for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(array.data + list[n] * array.row_stride + b);
    }
}

static void load_rows(selection *s) {
    if (!s->loaded && !s->from) bbi_load_rows(s->worker, s->item);
    s->loaded = true;
}

/* Those in doubt, in the order of their values and indices, take the places of their like. */
static void place(const selection *s, int64_t row, doubts *d) {
    const bbi_schedule *how = s->worker->schedule;
    const int64_t *list = s->c->index + number_of(s, row) * s->c->count;
    double exact[MOST_NEAR];
    for (int64_t n = 0; n < d->count; n += how->lanes) {
        const int64_t count = d->count - n < how->lanes ? d->count - n : how->lanes;
        evaluate(s, row, d->column + n, count);
        for (int64_t k = 0; k < count; k++) exact[n + k] = real_at(s->worker->run, s->out, k);
    }
    memcpy(s->index, list, (size_t)s->k * sizeof *s->index);
    for (int64_t n = 0, first = 0; n < d->count; n++) {
        const double x = exact[n];
        const int64_t column = d->column[n];
        int64_t m = n;
        if (!d->near[n]) first = n;
        for (; m > first && (x < exact[m - 1] || (x == exact[m - 1] && column < d->column[m - 1])); m--)
            exact[m] = exact[m - 1], d->column[m] = d->column[m - 1];
        exact[m] = x, d->column[m] = column;
    }
    for (int64_t n = 0; n < d->count && d->place[n] < s->k; n++) s->index[d->place[n]] = d->column[n];
}

static void settle(selection *s, int64_t row, doubts *d) {
    const bbi_schedule *how = s->worker->schedule;
    const int64_t *list = s->c->index + number_of(s, row) * s->c->count;
    if (!d->by_place || d->count > 0) load_rows(s);
    bbi_fold_neutral(&s->code->folding[0], s->value, s->index);
    if (d->by_place) place(s, row, d);
    for (int64_t k = 0; !d->by_place && k < d->needed; k += how->lanes) {
        const int64_t count = d->needed - k < how->lanes ? d->needed - k : how->lanes;
        evaluate(s, row, list + k, count);
        for (int64_t n = 0; n < count; n++) enter(s, real_at(s->worker->run, s->out, n), list[k + n]);
    }
    bbi_finish_row(s->worker, s->item, row, s->value, s->index);
}

/* Rows of one array of R's, which no code prepares, are cast from where they stand; columns without code have no lanes but
 * their own. What stands in the other lanes is any number, at first 0. */
static void find_short_ways(selection *s) {
    const bbi_run *run = s->worker->run;
    int sources = 0;
    s->few = !s->code->column;
    for (int32_t k = 0; k < s->stage->nsource; k++) {
        const bbi_source *source = &s->stage->source[k];
        if (source->space == BBI_COLUMN) s->few = s->few && source->array >= 0;
        if (source->space != BBI_ROW || ++sources > 1 || source->array < 0 || s->code->row || !s->indices) continue;
        bbi_array array = bbi_run_array(run, source->array, s->item->batch, s->item->batch_slot);
        if (!bbi_is_compact(&array, run->executable->is_double)) continue;
        s->from = array.data + s->item->first_row * array.row_stride - source->first * s->size;
        s->step = array.row_stride;
    }
    if (sources > 1) s->from = NULL;
    if (s->few) memset(s->column, 0, (size_t)(64 * s->stage->column_count));
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
                   .column = w + how->column,
                   .out = w + how->out,
                   .interp = w + how->interp,
                   .value = (double *)(void *)(w + how->value),
                   .index = (int64_t *)(void *)(w + how->index),
                   .size = BBI_LANE_BYTES / how->lanes};
    s.k = bbi_fold_value_count(&s.code->folding[0]);
    s.indices = s.stage->nread == 0;
    for (int32_t k = 0; k < s.stage->nresult; k++) s.indices = s.indices && s.stage->result[k].fold >= 0;
    find_short_ways(&s);
    return s;
}

void bbi_run_candidates(bbi_worker *worker, const bbi_item *item) {
    bbi_candidates *c = worker->run->candidates;
    int64_t lanes = worker->schedule->lanes;
    selection s = open_item(worker, item);
    doubts two[2]; /* of this row and the next */
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    if (!s.indices) load_rows(&s);
    if (item->rows > 0) doubt(&s, 0, &two[0]);
    for (int64_t block = 0; block * lanes < item->rows; block++) {
        char *open = &c->open[item->batch * c->blocks + item->first_row / lanes + block];
        for (int64_t row = block * lanes; row < (block + 1) * lanes && row < item->rows; row++) {
            if (bbi_run_stopped(worker->run)) return;
            doubts *here = &two[row % 2], *next = &two[(row + 1) % 2];
            if (row + 1 < item->rows) {
                doubt(&s, row + 1, next);
                fetch(&s, row + 1, next);
            }
            if (here->needed == 0) *open = 1;
            if (!*open) settle(&s, row, here);
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
