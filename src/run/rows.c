/* rows.c: what all schedules share: packing of rows and columns with their map codes, and the way from
 * finished reductions through the epilogue to the results. */
#include "execute.h"

#include <string.h>

static const bbi_stage *stage_of(const bbi_worker *w) { return &w->run->plan->stage[w->stage]; }

static const bbi_stage_code *code_of(const bbi_worker *w) { return &w->run->executable->stage[w->stage]; }

static int64_t size_of_real(const bbi_worker *w) { return BBI_LANE_BYTES / w->schedule->lanes; }

/* Codes process whole vectors: the widest ones are filled with copies of the last element. */
static int64_t padded_count(int64_t count, int64_t size) {
    int64_t vector = 64 / size;
    return (count + vector - 1) / vector * vector;
}

static void put(bool is_double, void *array, int64_t at, double value) {
    if (is_double)
        ((double *)array)[at] = value;
    else
        ((float *)array)[at] = (float)value;
}

/* ---- uniform values ---- */

/* The uniform code runs on one element of an array of whole lane blocks; the others want it compact. */
static void compute_uniform(bbi_worker *w, int64_t batch, int64_t slot) {
    const bbi_stage *stage = stage_of(w);
    const bbi_executable *e = w->run->executable;
    int64_t lanes = w->schedule->lanes, size = size_of_real(w);
    char *wide = w->workspace + w->schedule->wide, *uniform = w->workspace + w->schedule->uniform;
    for (int64_t k = 0; k < stage->nconstant; k++)
        for (int64_t lane = 0; lane < 64 / size; lane++) put(e->is_double, wide, k * lanes + lane, stage->constant[k]);
    for (int32_t k = 0; k < stage->nsource; k++) {
        const bbi_source *source = &stage->source[k];
        if (source->space != BBI_UNIFORM) continue;
        bbi_array array = bbi_run_array(w->run, source->array, batch, slot);
        bbi_pack(e->is_double, e->level, wide + source->first * BBI_LANE_BYTES, lanes, &array, source->dim, 0, 1,
                 64 / size);
    }
    bbi_interp_map(code_of(w)->uniform, stage->size, NULL, wide, lanes, 1, w->workspace + w->schedule->interp);
    for (int64_t k = 0; k < stage->uniform_count; k++)
        memcpy(uniform + k * size, wide + k * BBI_LANE_BYTES, (size_t)size);
}

static void copy_uniform(bbi_worker *w, int64_t batch, int64_t slot) {
    const bbi_stage *stage = stage_of(w);
    const bbi_executable *e = w->run->executable;
    int64_t size = size_of_real(w);
    char *wide = w->workspace + w->schedule->wide, *uniform = w->workspace + w->schedule->uniform;
    for (int64_t k = 0; k < stage->nconstant; k++) put(e->is_double, uniform, k, stage->constant[k]);
    for (int32_t k = 0; k < stage->nsource; k++) {
        const bbi_source *source = &stage->source[k];
        if (source->space != BBI_UNIFORM) continue;
        bbi_array array = bbi_run_array(w->run, source->array, batch, slot);
        array.row_stride = array.dim_stride; /* its components as lanes: one row of the packed array */
        bbi_pack(e->is_double, e->level, wide, source->dim, &array, 1, 0, source->dim, source->dim);
        memcpy(uniform + source->first * size, wide, (size_t)(source->dim * size));
    }
}

void bbi_load_uniform(bbi_worker *worker, int64_t batch, int64_t slot) {
    if (worker->uniform_batch == batch) return;
    worker->uniform_batch = batch;
    if (code_of(worker)->uniform)
        compute_uniform(worker, batch, slot);
    else
        copy_uniform(worker, batch, slot);
}

/* ---- rows and columns ---- */

/* Sources that are no arrays: see BBI_ONE and its like. */
static void fill_numbers(const bbi_worker *w, int32_t which, char *target, const bbi_elements *elements,
                         int64_t padded) {
    for (int64_t k = 0; k < padded; k++) {
        int64_t at = k < elements->count ? k : elements->count - 1;
        int64_t number = elements->list ? elements->list[at] : elements->first + at;
        if (which == BBI_SLOT) number = elements->slot ? elements->slot[at] : 0;
        put(w->run->executable->is_double, target, k, which == BBI_ONE ? 1.0 : (double)number);
    }
}

void bbi_load_sources(bbi_worker *worker, const bbi_item *item, uint8_t space, const bbi_elements *elements,
                      char *target, int64_t stride, const bbi_interp *code) {
    const bbi_stage *stage = stage_of(worker);
    const bbi_executable *e = worker->run->executable;
    int64_t padded = padded_count(elements->count, size_of_real(worker));
    for (int32_t k = 0; k < stage->nsource; k++) {
        const bbi_source *source = &stage->source[k];
        if (source->space != space) continue;
        char *first = target + source->first * stride * size_of_real(worker);
        if (source->array < 0) {
            fill_numbers(worker, source->array, first, elements, padded);
            continue;
        }
        bbi_array array = bbi_run_array(worker->run, source->array, item->batch, item->batch_slot);
        if (elements->list)
            bbi_pack_indexed(e->is_double, first, stride, &array, source->dim, elements->list, elements->count, padded);
        else
            bbi_pack(e->is_double, e->level, first, stride, &array, source->dim, elements->first, elements->count,
                     padded);
    }
    if (code)
        bbi_interp_map(code, stage->size, worker->workspace + worker->schedule->uniform, target, stride,
                       elements->count, worker->workspace + worker->schedule->interp);
}

static int64_t rows_of_piece(const bbi_worker *w, const bbi_item *item, int64_t first) {
    const int64_t left = item->rows - first;
    return left < w->schedule->piece ? left : w->schedule->piece;
}

void bbi_load_rows(bbi_worker *worker, const bbi_item *item) {
    for (int64_t first = 0; first < item->rows; first += worker->schedule->piece) {
        bbi_elements rows = {.first = item->first_row + first, .count = rows_of_piece(worker, item, first)};
        bbi_load_sources(worker, item, BBI_ROW, &rows, bbi_row_at(worker, first), worker->schedule->row_stride,
                         code_of(worker)->row);
    }
}

void bbi_load_columns(bbi_worker *worker, const bbi_item *item, int64_t first, int64_t count) {
    bbi_load_columns_to(worker, item, first, count, worker->workspace + worker->schedule->column);
}

void bbi_load_columns_to(bbi_worker *worker, const bbi_item *item, int64_t first, int64_t count, char *target) {
    int64_t *list = (int64_t *)(void *)(worker->workspace + worker->schedule->list);
    bbi_elements columns = {.count = count};
    if (!bbi_segment_is_straight(item->segment, first, count, &columns.first)) {
        bbi_segment_columns(item->segment, first, count, list);
        columns.list = list;
    }
    bbi_load_sources(worker, item, BBI_COLUMN, &columns, target, worker->schedule->column_stride,
                     code_of(worker)->column);
}

int64_t bbi_packed_bytes(const bbi_run *run, int32_t stage) {
    const bbi_schedule *s = &run->schedule[stage];
    return BBI_LANE_BYTES / s->lanes * s->column_stride * run->plan->stage[stage].column_count;
}

char *bbi_packed_at(const bbi_worker *worker, const bbi_item *item, int64_t position) {
    const bbi_schedule *s = worker->schedule;
    int64_t blocks = (s->columns + s->block - 1) / s->block, block = item->batch_slot * blocks + position / s->block;
    return worker->run->packed + block * bbi_packed_bytes(worker->run, worker->stage);
}

void bbi_pack_block(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    int64_t first = item->chunk * s->block, left = s->columns - first;
    bbi_elements columns = {.first = first, .count = left < s->block ? left : s->block};
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_sources(worker, item, BBI_COLUMN, &columns, bbi_packed_at(worker, item, first), s->column_stride,
                     code_of(worker)->column);
}

/* ---- results ---- */

static bbi_array result_array(const bbi_worker *w, const bbi_result *result, const bbi_item *item) {
    const bbi_run *run = w->run;
    if (result->array < run->plan->noutput) return bbi_view_at(&run->output[result->array], &run->extent, item->batch);
    int32_t temporary = result->array - run->plan->noutput;
    return bbi_run_array(run, run->plan->ninput + temporary, item->batch, item->batch_slot);
}

static void write_indices(bbi_worker *w, const bbi_item *item, int64_t row, int32_t fold, const int64_t *index) {
    const bbi_stage *stage = stage_of(w);
    for (int32_t k = 0; k < stage->nresult; k++) {
        const bbi_result *result = &stage->result[k];
        if (result->fold != fold) continue;
        bbi_array array = result_array(w, result, item);
        char *target = (char *)(uintptr_t)array.data + (item->first_row + row) * array.row_stride;
        const int64_t *from = index + result->first;
        if (array.dim_stride == sizeof *from) {
            memcpy(target, from, (size_t)result->dim * sizeof *from);
            continue;
        }
        for (int64_t d = 0; d < result->dim; d++) memcpy(target + d * array.dim_stride, &from[d], sizeof *from);
    }
}

static void fill_reads(bbi_worker *w, int64_t row, int32_t fold, const double *value, const int64_t *index) {
    const bbi_stage *stage = stage_of(w);
    const bbi_schedule *s = w->schedule;
    double *result = (double *)(void *)(w->workspace + s->result);
    for (int32_t k = 0; k < stage->nread; k++) {
        const bbi_read *read = &stage->read[k];
        if (read->fold != fold) continue;
        if (read->output == BBI_OUT_INDEX)
            for (int64_t d = 0; d < read->dim; d++) result[d] = (double)index[d];
        else
            bbi_fold_finish(&code_of(w)->folding[fold], read->output, value, index, result);
        for (int64_t d = 0; d < read->dim; d++)
            put(w->run->executable->is_double, bbi_row_at(w, row), (read->first + d) * s->row_stride, result[d]);
    }
}

/* Over both axes: the index of a row i becomes i N + j, j being that row's own index. */
static void look_up(bbi_worker *w, const bbi_item *item, const bbi_fold *fold, int64_t *index, int64_t count) {
    bbi_array columns = bbi_run_array(w->run, fold->lookup - 1, item->batch, item->batch_slot);
    for (int64_t d = 0; d < count; d++) {
        int64_t j = -1;
        if (index[d] < 0) continue;
        memcpy(&j, columns.data + index[d] * columns.row_stride + d * columns.dim_stride, sizeof j);
        index[d] = j < 0 ? -1 : index[d] * w->run->extent.n + j;
    }
}

void bbi_finish_row(bbi_worker *worker, const bbi_item *item, int64_t row, const double *value, int64_t *index) {
    const bbi_stage *stage = stage_of(worker);
    const bbi_stage_code *code = code_of(worker);
    for (int64_t k = 0; item->segment->interval && k < worker->schedule->index_count; k++)
        if (index[k] >= 0) index[k] = bbi_segment_column(item->segment, index[k]);
    for (int32_t fold = 0; fold < stage->nfold; fold++) {
        int64_t indices = bbi_fold_index_count(&code->folding[fold]);
        if (indices && stage->fold[fold].lookup) look_up(worker, item, &stage->fold[fold], index, indices);
        fill_reads(worker, row, fold, value, index);
        if (indices) write_indices(worker, item, row, fold, index);
        value += bbi_fold_value_count(&code->folding[fold]);
        index += indices;
    }
}

bool bbi_finish_lists(bbi_worker *worker, const bbi_item *item, const char *state) {
    const bbi_stage *stage = stage_of(worker);
    const bbi_schedule *s = worker->schedule;
    const bbi_result *result = stage->result;
    if (stage->nfold != 1 || stage->nread > 0 || stage->nresult != 1 || result->fold != 0 || result->first != 0 ||
        result->dim != stage->fold->k || stage->fold->lookup || item->segment->interval)
        return false;
    const bbi_array array = result_array(worker, result, item);
    char *target = (char *)(uintptr_t)array.data + item->first_row * array.row_stride;
    if (array.dim_stride != 8 || array.row_stride % 8 != 0 || (uintptr_t)target % 8 != 0) return false;
    for (int64_t row = 0; row < item->rows; row += s->lanes, state += s->state_bytes) {
        const int64_t left = item->rows - row;
        if (!bbi_fold_list_indices(code_of(worker)->folding, state, left < s->lanes ? left : s->lanes,
                                   target + row * array.row_stride, array.row_stride))
            return false; /* at the first: it does not depend on the block */
    }
    return true;
}

void bbi_finish_item(bbi_worker *worker, const bbi_item *item) {
    const bbi_stage *stage = stage_of(worker);
    const bbi_schedule *s = worker->schedule;
    const bbi_executable *e = worker->run->executable;
    const bbi_interp *epilogue = code_of(worker)->epilogue;
    for (int64_t first = 0; first < item->rows; first += s->piece) {
        const int64_t rows = rows_of_piece(worker, item, first);
        char *row = bbi_row_at(worker, first);
        if (epilogue)
            bbi_interp_map(epilogue, stage->size, worker->workspace + s->uniform, row, s->row_stride, rows,
                           worker->workspace + s->interp);
        for (int32_t k = 0; k < stage->nresult; k++) {
            const bbi_result *result = &stage->result[k];
            if (result->fold >= 0) continue;
            bbi_array array = result_array(worker, result, item);
            bbi_unpack(e->is_double, e->level, row + result->first * s->row_stride * size_of_real(worker), s->row_stride,
                       &array, result->dim, item->first_row + first, rows);
        }
    }
}

void bbi_run_map(bbi_worker *worker, const bbi_item *item) {
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_rows(worker, item);
    bbi_finish_item(worker, item);
}

/* ---- stages that are cut along the columns ---- */

void bbi_partial_slot(const bbi_worker *worker, const bbi_item *item, int64_t row, double **value, int64_t **index) {
    const bbi_schedule *s = worker->schedule;
    int64_t number = (item->batch_slot * s->rows + item->first_row + row) * s->chunks + item->chunk;
    *value = worker->run->partial_value + number * s->value_count;
    *index = worker->run->partial_index + number * s->index_count;
}

void bbi_merge_rows(const bbi_worker *worker, double *value, int64_t *index, const double *more_value,
                    const int64_t *more_index) {
    for (int32_t fold = 0; fold < stage_of(worker)->nfold; fold++) {
        const bbi_folding *folding = &code_of(worker)->folding[fold];
        int64_t values = bbi_fold_value_count(folding), indices = bbi_fold_index_count(folding);
        bbi_fold_merge(folding, value, index, more_value, more_index);
        value += values;
        more_value += values;
        index += indices;
        more_index += indices;
    }
}

bool bbi_only_sums(const bbi_worker *worker) {
    const bbi_stage *stage = stage_of(worker);
    for (int32_t k = 0; k < stage->nfold; k++)
        if (!bbi_fold_is_one_sum(&code_of(worker)->folding[k])) return false;
    return true;
}

/* Component d of a fold that is a sum: the partial results of each row, in the order of the chunks. */
static void merge_sums(bbi_worker *w, const bbi_item *item, const double *value, int64_t target) {
    const bbi_schedule *s = w->schedule;
    bool is_double = w->run->executable->is_double;
    for (int64_t row = 0; row < item->rows; row++, value += s->chunks * s->value_count) {
        double sum = value[0];
        for (int64_t chunk = 1; chunk < s->chunks; chunk++) sum += value[chunk * s->value_count];
        put(is_double, bbi_row_at(w, row), target * s->row_stride, sum);
    }
}

static void merge_only_sums(bbi_worker *w, const bbi_item *item) {
    const bbi_stage *stage = stage_of(w);
    bbi_item part = *item;
    double *value;
    int64_t *index;
    part.chunk = 0;
    bbi_partial_slot(w, &part, 0, &value, &index);
    for (int32_t fold = 0; fold < stage->nfold; fold++) {
        for (int32_t k = 0; k < stage->nread; k++) {
            const bbi_read *read = &stage->read[k];
            for (int64_t d = 0; read->fold == fold && d < read->dim; d++)
                merge_sums(w, item, value + d, read->first + d);
        }
        value += bbi_fold_value_count(&code_of(w)->folding[fold]);
    }
}

static bool is_read(const bbi_stage *stage, const bbi_index *index) {
    if (index->op != BBI_IX_CONST && index->op != BBI_IX_SIZE) return false;
    int64_t component = index->op == BBI_IX_SIZE ? stage->size[index->value] : index->value;
    for (int32_t k = 0; k < stage->nread; k++)
        if (component >= stage->read[k].first && component < stage->read[k].first + stage->read[k].dim) return true;
    return false;
}

/* Does the epilogue read more of the rows than results of folds? */
bool bbi_epilogue_needs_rows(const bbi_stage *stage) {
    const bbi_code *code = &stage->epilogue;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *step = &code->instruction[n];
        for (int a = 0; a < step->narg; a++)
            if (step->arg[a].space == BBI_ROW && !is_read(stage, &code->index[step->arg[a].number])) return true;
    }
    return false;
}

void bbi_merge_item(bbi_worker *worker, const bbi_item *item) {
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    if (bbi_epilogue_needs_rows(stage_of(worker))) bbi_load_rows(worker, item);
    if (bbi_only_sums(worker)) {
        merge_only_sums(worker, item);
        bbi_finish_item(worker, item);
        return;
    }
    for (int64_t row = 0; row < item->rows; row++) {
        double *value, *more_value;
        int64_t *index, *more_index;
        bbi_item part = *item;
        part.chunk = 0;
        bbi_partial_slot(worker, &part, row, &value, &index);
        for (part.chunk = 1; part.chunk < worker->schedule->chunks; part.chunk++) {
            bbi_partial_slot(worker, &part, row, &more_value, &more_index);
            bbi_merge_rows(worker, value, index, more_value, more_index);
        }
        bbi_finish_row(worker, item, row, value, index);
    }
    bbi_finish_item(worker, item);
}
