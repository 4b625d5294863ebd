/* direct.c: the schedule with rows in lanes. An item packs its lane blocks once, then walks over the columns:
 * each block of columns is packed once and meets every lane block of the item while it is in the cache. */
#include "execute.h"

#include <string.h>

/* addresses of one item */
typedef struct direct {
    bbi_worker *worker;
    const bbi_item *item;
    const bbi_stage *stage;
    const bbi_stage_code *code;
    const bbi_schedule *s;
    char *uniform, *column, *sum, *out, *state, *interp;
    void *open; /* the block of columns that is added to a log-sum-exp */
    bbi_hits *hits;
    bbi_selection selection; /* of compiled kernels; HITS of the interpreter too */
    int64_t size;            /* of a real number */
} direct;

static direct direct_of(bbi_worker *worker, const bbi_item *item) {
    const bbi_schedule *s = worker->schedule;
    char *w = worker->workspace;
    return (direct){.worker = worker,
                    .item = item,
                    .s = s,
                    .stage = &worker->run->plan->stage[worker->stage],
                    .code = &worker->run->executable->stage[worker->stage],
                    .size = BBI_LANE_BYTES / s->lanes,
                    .uniform = w + s->uniform,
                    .column = w + s->column,
                    .sum = w + s->sum,
                    .out = w + s->out,
                    .hits = (bbi_hits *)(void *)(w + s->hits),
                    .selection = bbi_stage_selection(&worker->run->plan->stage[worker->stage]),
                    .state = w + s->state,
                    .interp = w + s->interp};
}

static char *sum_of(const direct *d, int64_t block) { return d->sum + block * d->stage->sum_count * BBI_LANE_BYTES; }

static char *lanes_at(const direct *d, int64_t block) { return bbi_row_at(d->worker, block * d->s->lanes); }

static char *state_of(const direct *d, int64_t block) { return d->state + block * d->s->state_bytes; }

/* What a compiled kernel takes for its sums. */
static void *accumulator_of(const direct *d, int64_t block) {
    if (d->selection == BBI_SELECT_BEST) return state_of(d, block);
    if (d->selection == BBI_SELECT_LSE) return d->open;
    return d->selection == BBI_SELECT_HITS ? (void *)d->hits : sum_of(d, block);
}

static char *next_state(const bbi_folding *folding, char *state) {
    return state + (bbi_fold_state_bytes(folding, false, 1) + 63) / 64 * 64;
}

static int64_t lanes_of(const direct *d, int64_t block) {
    int64_t left = d->item->rows - block * d->s->lanes;
    return left < d->s->lanes ? left : d->s->lanes;
}

void bbi_states_init(const bbi_worker *worker, char *state) {
    const bbi_folding *folding = worker->run->executable->stage[worker->stage].folding;
    for (int32_t k = 0; k < worker->run->plan->stage[worker->stage].nfold; k++) {
        bbi_fold_init(&folding[k], false, 1, state);
        state = next_state(&folding[k], state);
    }
}

static void begin(const direct *d, int64_t blocks) {
    memset(d->sum, 0, (size_t)(blocks * d->stage->sum_count * BBI_LANE_BYTES));
    for (int64_t block = 0; block < blocks; block++) bbi_states_init(d->worker, state_of(d, block));
}

static void call_pair(const direct *d, bbi_pair_kernel *kernel, int64_t block, int64_t first, int64_t casts) {
    const char *lane = lanes_at(d, block), *cast = d->column + first * d->size;
    const int64_t *sizes = d->stage->size;
    int64_t lanes = lanes_of(d, block), lane_stride = d->s->row_stride, cast_stride = d->s->column_stride;
    if (kernel)
        kernel(sizes, d->uniform, lane, lane_stride, cast, cast_stride, lanes, casts, accumulator_of(d, block), d->out,
               d->s->tile);
    else
        bbi_interp_pair(d->code->pair, false, sizes, d->uniform, lane, lane_stride, cast, cast_stride, lanes, casts,
                        sum_of(d, block), d->out, d->s->tile, d->interp);
}

static void step_folds(const direct *d, int64_t block, int64_t casts, int64_t position) {
    char *state = state_of(d, block);
    for (int32_t k = 0; k < d->stage->nfold; k++) {
        const bbi_folding *folding = &d->code->folding[k];
        if (d->selection == BBI_SELECT_LSE)
            bbi_fold_block_step(folding, state, d->out, d->s->tile, lanes_of(d, block), casts);
        else if (folding->fold.sum_first < 0)
            bbi_fold_step(folding, false, state, d->out, d->s->tile, lanes_of(d, block), casts, position);
        state = next_state(folding, state);
    }
}

void bbi_states_add(const bbi_worker *worker, char *state, const char *more) {
    const bbi_folding *folding = worker->run->executable->stage[worker->stage].folding;
    for (int32_t k = 0; k < worker->run->plan->stage[worker->stage].nfold; k++) {
        char *next = next_state(&folding[k], state);
        bbi_fold_add_state(&folding[k], state, more);
        more += next - state;
        state = next;
    }
}

void bbi_states_flush(const bbi_worker *worker, char *state, char *sum, int64_t lanes) {
    const bbi_stage *stage = &worker->run->plan->stage[worker->stage];
    for (int32_t k = 0; k < stage->nfold; k++) {
        const bbi_folding *folding = &worker->run->executable->stage[worker->stage].folding[k];
        if (folding->fold.sum_first >= 0)
            bbi_fold_flush(folding, false, 1, state, sum + folding->fold.sum_first * BBI_LANE_BYTES, stage->sum_count,
                           lanes);
        state = next_state(folding, state);
    }
}

static void flush_sums(const direct *d, int64_t block) {
    bbi_states_flush(d->worker, state_of(d, block), sum_of(d, block), lanes_of(d, block));
}

static void call_hits(const direct *d, bbi_pair_kernel *kernel, int64_t block, int64_t first, int64_t casts) {
    const bbi_family family = d->code->folding[0].fold.family;
    if (kernel) {
        call_pair(d, kernel, block, first, casts);
        return;
    }
    bbi_interp_select(d->code->pair, d->stage->size, d->uniform, lanes_at(d, block), d->s->row_stride,
                      d->column + first * d->size, d->s->column_stride, lanes_of(d, block), casts, d->out, d->s->tile,
                      family == BBI_FAMILY_MAX, family != BBI_FAMILY_KMIN, d->hits, d->interp);
}

/* Limits grow old in the course of a call, and many values pass a limit that is falling fast: the first calls are short.
 */
static void meet_hits(const direct *d, bbi_pair_kernel *kernel, int64_t block, int64_t first, int64_t count,
                      int64_t position) {
    const bbi_folding *folding = &d->code->folding[0];
    bool fresh = folding->fold.family == BBI_FAMILY_KMIN && position == d->item->first_position;
    if (fresh) { /* nothing is a hit, all is looked at */
        bbi_fold_no_hits(folding, d->hits);
        call_hits(d, kernel, block, first, count);
        bbi_fold_first(folding, state_of(d, block), d->out, lanes_of(d, block), count, position);
        return;
    }
    for (int64_t end = first + count; first < end;) {
        int64_t met = position - d->item->first_position, casts = met / 8 - met / 8 % 16;
        if (casts < 16) casts = 16;
        if (folding->fold.family != BBI_FAMILY_KMIN) casts = count;
        if (casts > end - first) casts = end - first;
        bbi_fold_limits(folding, state_of(d, block), d->hits);
        call_hits(d, kernel, block, first, casts);
        bbi_fold_hits(folding, state_of(d, block), d->out, lanes_of(d, block), casts, position, d->hits);
        first += casts;
        position += casts;
    }
}

/* An interpreted log-sum-exp of one value whose weights are columns: they are read where they stand, and the room that
 * is theirs in a tile gives longer tiles. False where it is not. */
static bool meet_weighted(const direct *d, int64_t block, int64_t count) {
    const bbi_folding *folding = &d->code->folding[0];
    const int64_t weights = folding->fold.weight_dim, lanes = lanes_of(d, block);
    const int64_t room = d->s->tile * (1 + weights);
    int64_t copy, casts = room - room % BBI_GROUP_CASTS;
    if (weights == 0 || casts == 0 || bbi_interp_copies(d->code->pair, &copy) != weights) return false;
    for (int64_t first = 0; first < count; first += casts) {
        if (count - first < casts) casts = count - first;
        const char *cast = d->column + first * d->size;
        bbi_interp_first(d->code->pair, d->stage->size, d->uniform, lanes_at(d, block), d->s->row_stride,
                         cast, d->s->column_stride, lanes, casts, d->out, casts, d->interp);
        bbi_fold_block_cast(folding, state_of(d, block), d->out, cast + copy * d->s->column_stride * d->size,
                            d->s->column_stride, lanes, casts);
    }
    return true;
}

/* The packed columns, `count` of them from this position of the sequence on, against one lane block. */
static void meet(direct *d, bbi_pair_kernel *kernel, int64_t block, int64_t position, int64_t count) {
    bool lse = d->selection == BBI_SELECT_LSE, in_kernel = kernel && (lse || d->selection == BBI_SELECT_BEST);
    if (lse) d->open = bbi_fold_block_open(&d->code->folding[0], state_of(d, block), lanes_of(d, block));
    int64_t casts = d->stage->out_count == 0 || in_kernel ? count : d->s->tile;
    int64_t first = lse && !kernel && meet_weighted(d, block, count) ? count : 0;
    for (; first < count; first += casts) {
        if (count - first < casts) casts = count - first;
        if (d->selection == BBI_SELECT_HITS && (kernel || bbi_interp_selects(d->code->pair, lanes_of(d, block)))) {
            meet_hits(d, kernel, block, first, casts, position + first);
            continue;
        }
        call_pair(d, kernel, block, first, casts);
        if (!in_kernel) step_folds(d, block, casts, position + first);
    }
    if (lse) bbi_fold_block_close(&d->code->folding[0], state_of(d, block), lanes_of(d, block));
}

/* The K smallest of long rows: all values of the first columns are kept and looked at together, so that limits are low from
 * the start. Returns where the other columns begin. */
static int64_t meet_first(direct *d, bbi_pair_kernel *kernel, int64_t blocks) {
    const bbi_folding *folding = &d->code->folding[0];
    const int64_t first = d->item->first_position, end = first + d->s->first_look;
    char *const out = d->out, *const column = d->column;
    if (!d->worker->run->packed || d->s->first_look == 0 || end > d->item->end_position) return first;
    for (int64_t block = 0; block < blocks; block++) {
        if (bbi_run_stopped(d->worker->run)) break;
        bbi_fold_no_hits(folding, d->hits);
        for (int64_t at = first, casts; at < end; at += casts, d->out += casts * BBI_LANE_BYTES) {
            const int64_t within = at % d->s->block, left = d->s->block - within;
            casts = left < d->s->tile ? left : d->s->tile;
            d->column = bbi_packed_at(d->worker, d->item, at);
            call_hits(d, kernel, block, within, casts);
        }
        d->out = out;
        bbi_fold_first(folding, state_of(d, block), out, lanes_of(d, block), end - first, first);
    }
    d->column = column;
    return end;
}

static void walk(direct *d, int64_t blocks) {
    bool to_the_end = d->worker->run->executable->scheme == BBI_SCHEME_DIRECT;
    const bbi_compiled *compiled = d->code->compiled[0];
    if (d->selection == BBI_SELECT_LEAST) {
        if (bbi_run_least(d->worker, d->item)) return;
        d->selection = BBI_SELECT_HITS, compiled = NULL;
    }
    bbi_pair_kernel *now = compiled ? bbi_compiled_function(compiled) : NULL;
    int64_t begin = d->item->first_position;
    if (d->selection == BBI_SELECT_HITS && now) begin = meet_first(d, now, blocks);
    for (int64_t at = begin; at < d->item->end_position; at += d->s->block) {
        int64_t left = d->item->end_position - at, count = left < d->s->block ? left : d->s->block;
        if (bbi_run_stopped(d->worker->run)) return;
        if (d->worker->run->packed)
            d->column = bbi_packed_at(d->worker, d->item, at);
        else
            bbi_load_columns(d->worker, d->item, at, count);
        bbi_pair_kernel *kernel = compiled ? bbi_compiled_function(compiled) : NULL;
        if (d->worker->run->executable->tiering == BBI_TIERING_INTERP) kernel = NULL;
        for (int64_t block = 0; block < blocks; block++) {
            meet(d, kernel, block, at, count);
            if (!to_the_end) flush_sums(d, block);
        }
    }
    for (int64_t block = 0; to_the_end && block < blocks; block++) flush_sums(d, block);
}

/* Partial result of a row; rows without columns have the neutral one. */
static void take_partial(const direct *d, int64_t row, double *value, int64_t *index) {
    const char *state = d->state + row / d->s->lanes * d->s->state_bytes;
    for (int32_t k = 0; k < d->stage->nfold; k++) {
        const bbi_folding *folding = &d->code->folding[k];
        if (d->item->first_position >= d->item->end_position)
            bbi_fold_neutral(folding, value, index);
        else
            bbi_fold_partial(folding, false, state, row % d->s->lanes, lanes_of(d, row / d->s->lanes), value, index);
        value += bbi_fold_value_count(folding);
        index += bbi_fold_index_count(folding);
        state = next_state(folding, (char *)(uintptr_t)state);
    }
}

/* Whole lane blocks of results, where every fold can give them: otherwise false, and rows are finished one by
 * one. */
static bool finish_blocks(const direct *d, int64_t blocks) {
    const bbi_stage *stage = d->stage;
    for (int32_t k = 0; k < stage->nresult; k++)
        if (stage->result[k].fold >= 0) return false;
    for (int64_t block = 0; block < blocks; block++) {
        char *state = state_of(d, block);
        for (int32_t fold = 0; fold < stage->nfold; fold++) {
            const bbi_folding *folding = &d->code->folding[fold];
            for (int32_t k = 0; k < stage->nread; k++) {
                const bbi_read *read = &stage->read[k];
                char *target = lanes_at(d, block) + read->first * d->s->row_stride * d->size;
                if (read->fold != fold) continue;
                if (!bbi_fold_finish_block(folding, read->output, state, lanes_of(d, block), target, d->s->row_stride))
                    return false; /* at the first block: it does not depend on the block */
            }
            state = next_state(folding, state);
        }
    }
    return true;
}

static bool is_cut(const bbi_schedule *s) { return s->chunks > 1 && !s->tiles; }

/* Sums alone, cut along the columns: the partial results of whole lane blocks; otherwise false. */
static bool finish_sums(const direct *d, int64_t blocks) {
    if (d->item->first_position >= d->item->end_position || !bbi_only_sums(d->worker)) return false;
    int64_t step = d->s->chunks * d->s->value_count;
    for (int64_t block = 0; block < blocks; block++) {
        const char *state = state_of(d, block);
        double *value;
        int64_t *index;
        bbi_partial_slot(d->worker, d->item, block * d->s->lanes, &value, &index);
        for (int32_t k = 0; k < d->stage->nfold; k++) {
            const bbi_folding *folding = &d->code->folding[k];
            bbi_fold_partial_sums(folding, state, lanes_of(d, block), value, step);
            value += bbi_fold_value_count(folding);
            state = next_state(folding, (char *)(uintptr_t)state);
        }
    }
    return true;
}

static void finish_rows(const direct *d) {
    double *value = (double *)(void *)(d->worker->workspace + d->s->value);
    int64_t *index = (int64_t *)(void *)(d->worker->workspace + d->s->index);
    for (int64_t row = 0; row < d->item->rows; row++) {
        if (is_cut(d->s)) bbi_partial_slot(d->worker, d->item, row, &value, &index);
        take_partial(d, row, value, index);
        if (!is_cut(d->s)) bbi_finish_row(d->worker, d->item, row, value, index);
    }
}

void bbi_states_finish(bbi_worker *worker, const bbi_item *item, char *state) {
    direct d = direct_of(worker, item);
    d.state = state;
    int64_t blocks = (item->rows + d.s->lanes - 1) / d.s->lanes;
    bool done = is_cut(d.s) ? finish_sums(&d, blocks)
                            : bbi_finish_lists(worker, item, state) || finish_blocks(&d, blocks);
    if (!done) finish_rows(&d);
    if (!is_cut(d.s)) bbi_finish_item(worker, item);
}

void bbi_run_direct(bbi_worker *worker, const bbi_item *item) {
    direct d = direct_of(worker, item);
    int64_t blocks = (item->rows + d.s->lanes - 1) / d.s->lanes;
    bbi_load_uniform(worker, item->batch, item->batch_slot);
    bbi_load_rows(worker, item);
    begin(&d, blocks);
    walk(&d, blocks);
    if (!bbi_run_stopped(worker->run)) bbi_states_finish(worker, item, d.state);
}
