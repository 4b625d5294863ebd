/* symmetric.c: the schedule of a symmetric stage, which meets each pair of elements once. An item is a band of rows
 * against a band of columns, the same or a later one. Rows are in lanes as in the direct schedule; what a pair gives to
 * its row is summed in the lanes, what it gives to its column in a vector per column that all lane blocks of a group of
 * rows add to, and whose lanes are then added up. Both end in the states of lane blocks, of the rows' band and of the
 * columns' band, so that the rest is as in the direct schedule: partial results merge in column order.
 *
 * On the diagonal a lane block meets its own columns in full: of those pairs the mirror sums go nowhere. Only there can
 * a lane block have idle lanes, because nothing follows the last one. */
#include "execute.h"

#include <string.h>

typedef struct symmetric {
    bbi_worker *worker;
    const bbi_item *item;
    const bbi_stage *stage;
    const bbi_stage_code *code;
    const bbi_schedule *s;
    char *row_state, *column_state; /* of the bands' first lane blocks; the same on the diagonal */
    int64_t state_step;             /* from one lane block to the next */
    int64_t size, vector;           /* bytes of a real number, of a vector */
    bbi_pair_kernel *kernel;
} symmetric;

void bbi_symmetric_item(const bbi_schedule *s, int64_t tile, bbi_item *item) {
    int64_t band = 0, left = s->chunks;
    for (; tile >= left; left--, band++) tile -= left;
    item->chunk = band + tile;
    item->first_row = band * s->chunk;
    item->rows = s->rows - item->first_row < s->chunk ? s->rows - item->first_row : s->chunk;
    item->first_position = item->chunk * s->chunk;
    int64_t rest = s->columns - item->first_position;
    item->end_position = item->first_position + (rest < s->chunk ? rest : s->chunk);
}

static char *sum_of(const symmetric *m, int64_t block) {
    return m->worker->workspace + m->s->sum + block * m->stage->sum_count * BBI_LANE_BYTES;
}

/* Packed columns from `first` on against a lane block of rows; the mirror sums stand at column `mirror` of the area. */
static void meet(const symmetric *m, int64_t block, int64_t lanes, int64_t first, int64_t casts, int64_t mirror) {
    char *w = m->worker->workspace, *out = w + m->s->out + mirror * m->vector;
    const char *lane = bbi_row_at(m->worker, block * m->s->lanes), *cast = w + m->s->column + first * m->size;
    int64_t stride = m->s->block + m->s->lanes;
    if (casts <= 0) return;
    if (m->kernel)
        m->kernel(m->stage->size, w + m->s->uniform, lane, m->s->row_stride, cast, m->s->column_stride, lanes, casts,
                  sum_of(m, block), out, stride);
    else
        bbi_interp_pair(m->code->pair, false, m->stage->size, w + m->s->uniform, lane, m->s->row_stride, cast,
                        m->s->column_stride, lanes, casts, sum_of(m, block), out, stride, w + m->s->interp);
}

/* The mirror sums of the packed columns become sums of lane blocks of columns and enter their states. */
static void flush_mirror(const symmetric *m, int64_t at, int64_t count) {
    char *w = m->worker->workspace, *mirrored = w + m->s->mirrored;
    int64_t lanes = m->s->lanes, stride = m->s->block + lanes;
    for (int64_t first = 0; first < count; first += lanes, mirrored += m->stage->sum_count * BBI_LANE_BYTES) {
        int64_t columns = count - first < lanes ? count - first : lanes;
        memset(mirrored, 0, (size_t)(m->stage->sum_count * BBI_LANE_BYTES));
        for (int32_t k = 0; k < m->stage->nfold; k++) {
            const bbi_fold *fold = &m->stage->fold[k];
            for (int64_t c = fold->sum_first; c < fold->sum_first + fold->dim; c++)
                bbi_interp_lane_sums(m->code->pair, mirrored + c * BBI_LANE_BYTES,
                                     w + m->s->out + (c * stride + first) * m->vector, columns, fold->mirror_negative);
        }
        int64_t block = (at + first - m->item->first_position) / lanes;
        bbi_states_flush(m->worker, m->column_state + block * m->state_step, mirrored, columns);
    }
}

/* A group of rows against the packed columns at .. at + count - 1. */
static void meet_block(const symmetric *m, const bbi_item *group, int64_t at, int64_t count) {
    int64_t lanes = m->s->lanes, first_block = (group->first_row - m->item->first_row) / lanes;
    memset(m->worker->workspace + m->s->out, 0, (size_t)(m->stage->sum_count * (m->s->block + lanes) * m->vector));
    for (int64_t block = 0; block * lanes < group->rows; block++) {
        int64_t own = group->first_row + block * lanes - at, left = group->rows - block * lanes;
        int64_t used = left < lanes ? left : lanes;
        if (own >= count) break; /* these columns and those before were met by the rows that they are */
        if (own >= 0) meet(m, block, used, own, count - own < lanes ? count - own : lanes, m->s->block);
        int64_t behind = own + lanes > 0 ? own + lanes : 0;
        meet(m, block, used, behind, count - behind, behind);
        bbi_states_flush(m->worker, m->row_state + (first_block + block) * m->state_step, sum_of(m, block), used);
    }
    flush_mirror(m, at, count);
}

static void meet_columns(symmetric *m, const bbi_item *group, int64_t first) {
    const bbi_compiled *compiled = m->code->compiled[0];
    bool compile = compiled && m->worker->run->executable->tiering != BBI_TIERING_INTERP;
    for (int64_t at = first; at < m->item->end_position; at += m->s->block) {
        int64_t left = m->item->end_position - at, count = left < m->s->block ? left : m->s->block;
        if (bbi_run_stopped(m->worker->run)) return;
        bbi_load_columns(m->worker, m->item, at, count);
        m->kernel = compile ? bbi_compiled_function(compiled) : NULL;
        meet_block(m, group, at, count);
    }
}

/* ---- states and partial results ---- */
static int64_t blocks_of(const bbi_schedule *s) { return (s->rows + s->lanes - 1) / s->lanes; }

int64_t bbi_symmetric_bytes(const bbi_schedule *s, int64_t slots) {
    return s->tiles && s->chunks > 1 ? slots * blocks_of(s) * s->chunks * s->state_bytes : 0;
}

/* Where a stage that is cut keeps what a chunk of columns gives to a lane block of rows. */
static char *partial_state(const bbi_worker *worker, int64_t slot, int64_t row, int64_t chunk) {
    const bbi_schedule *s = worker->schedule;
    return worker->run->partial_state + ((slot * blocks_of(s) + row / s->lanes) * s->chunks + chunk) * s->state_bytes;
}

static void choose_states(symmetric *m, bool diagonal) {
    const bbi_schedule *s = m->s;
    const bbi_item *item = m->item;
    m->row_state = m->column_state = m->worker->workspace + s->state;
    m->state_step = s->state_bytes;
    if (s->chunks > 1) {
        m->row_state = partial_state(m->worker, item->batch_slot, item->first_row, item->chunk);
        m->column_state = partial_state(m->worker, item->batch_slot, item->first_position, item->first_row / s->chunk);
        m->state_step = s->state_bytes * s->chunks;
    }
    char *state = m->row_state;
    for (int64_t k = 0; k < item->rows; k += s->lanes, state += m->state_step) bbi_states_init(m->worker, state);
    state = m->column_state;
    for (int64_t k = item->first_position; k < item->end_position && !diagonal; k += s->lanes, state += m->state_step)
        bbi_states_init(m->worker, state);
}

void bbi_merge_symmetric(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    char *states = worker->workspace + s->state, *state = states;
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_rows(worker, item);
    for (int64_t row = 0; row < item->rows; row += s->lanes, state += s->state_bytes) {
        const char *more = partial_state(worker, item->batch_slot, item->first_row + row, 0);
        memcpy(state, more, (size_t)s->state_bytes);
        for (int64_t chunk = 1; chunk < s->chunks; chunk++) bbi_states_add(worker, state, more += s->state_bytes);
    }
    bbi_states_finish(worker, item, states);
}

void bbi_run_symmetric(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    bool diagonal = item->first_row == item->first_position;
    symmetric m = {.worker = worker,
                   .item = item,
                   .s = s,
                   .stage = &worker->run->plan->stage[worker->stage],
                   .code = &worker->run->executable->stage[worker->stage],
                   .size = BBI_LANE_BYTES / s->lanes,
                   .vector = 16 << worker->run->executable->level};
    choose_states(&m, diagonal);
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    memset(sum_of(&m, 0), 0, (size_t)(s->group / s->lanes * m.stage->sum_count * BBI_LANE_BYTES));
    for (int64_t at = 0; at < item->rows; at += s->group) {
        bbi_item group = *item;
        group.first_row = item->first_row + at;
        group.rows = item->rows - at < s->group ? item->rows - at : s->group;
        bbi_load_rows(worker, &group);
        meet_columns(&m, &group, diagonal ? group.first_row : item->first_position);
        if (bbi_run_stopped(worker->run)) return;
        if (s->chunks == 1) bbi_states_finish(worker, &group, m.row_state + at / s->lanes * s->state_bytes);
    }
}
