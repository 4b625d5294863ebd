/* The interpreter's executor: a code is run action by action over tiles of (casts x lanes).
 *
 * A tile holds as many vectors of lanes as are in use, cast after cast without gaps, so that an operation
 * between tiles is one flat loop. Every operand is found in the same way: base of its space + component x
 * stride, plus the space's step per cast; lanes are vectors in memory or one number for all (splat). Map
 * codes and pair lists have no casts: there a "cast" is a further block of lanes.
 *
 * Sums: a tile's casts are added in ascending order onto the sum area, tile after tile; a component of the
 * sum area is written by one SUM only, so each component sees its terms in the order of the casts, as in the
 * compiled kernel. */
#include "interp_frame.h"

/* ---- index expressions ----------------------------------------------------------------------- */
static int64_t combine(bbi_index_op op, int64_t a, int64_t b) {
    switch (op) {
    case BBI_IX_ADD: return a + b;
    case BBI_IX_SUB: return a - b;
    case BBI_IX_MUL: return a * b;
    case BBI_IX_DIV: return b != 0 ? a / b : 0;
    case BBI_IX_MOD: return b != 0 ? a % b : 0;
    case BBI_IX_MIN: return a < b ? a : b;
    case BBI_IX_MAX: return a > b ? a : b;
    case BBI_IX_LT: return a < b;
    case BBI_IX_GE: return a >= b;
    case BBI_IX_EQ: return a == b;
    case BBI_IX_AND: return a != 0 && b != 0;
    default: return 0;
    }
}

static void evaluate(const bbi_frame *f, int32_t first, int32_t count) {
    const bbi_interp *interp = f->interp;
    for (int32_t k = first; k < first + count; k++) {
        const int32_t n = interp->node[k];
        const bbi_index *x = &interp->index[n];
        if (x->op == BBI_IX_SIZE) {
            f->index[n] = f->size[x->value];
        } else if (x->op == BBI_IX_COUNTER) {
            f->index[n] = f->counter[x->value];
        } else {
            f->index[n] = combine((bbi_index_op)x->op, f->index[x->a], f->index[x->b]);
        }
    }
}

/* ---- operands -------------------------------------------------------------------------------- */
static inline void look(bbi_frame *f, const bbi_place_operand *o, int number, bbi_view *view) {
    const bbi_space_view *s = &f->space[o->space];
    const int64_t component = bbi_frame_value(f, o->component);
    if (o->space == BBI_COUNT) {
        *view = (bbi_view){.at = bbi_frame_count(f, component, &f->count[number]), .splat = true};
        return;
    }
    view->at = s->base + component * s->stride;
    view->cast_step = s->step;
    view->splat = s->splat;
}

/* Where all operands go from cast to cast as the tile does, or are the same for all, the tile is one row. */
static inline bool is_flat(const bbi_frame *f, const bbi_view *view, int count) {
    bool flat = true;
    for (int k = 0; k < count; k++) {
        flat &= view[k].cast_step == (view[k].splat ? 0 : f->tile_step);
    }
    return flat || f->casts == 1;
}

static void put_out(const bbi_frame *f, int64_t component, const bbi_view *view) {
    char *out = f->out + component * f->out_stride;
    if (f->single) {
        memcpy(out, view->at, (size_t)f->isa->real_bytes);
    } else {
        f->isa->copy(out, f->out_step, view, f->casts, f->vectors);
    }
}

/* Where an action writes its tile: its buffer, or the out area itself if its casts are laid out as those of
 * the tile. */
static char *destination(const bbi_frame *f, const bbi_action *a) {
    if (a->to_out && f->tile_step == f->out_step) return f->out + bbi_frame_value(f, a->index) * f->out_stride;
    return f->tiles + a->result * f->tile_stride;
}

static void finish(const bbi_frame *f, const bbi_action *a, const char *tile) {
    if (!a->to_out || f->tile_step == f->out_step) return;
    put_out(f, bbi_frame_value(f, a->index), &(bbi_view){.at = tile, .cast_step = f->tile_step});
}

/* ---- actions --------------------------------------------------------------------------------- */
static inline void run_map(bbi_frame *f, const bbi_action *a) {
    bbi_view view[3];
    unsigned splats = 0;
    for (int k = 0; k < a->narg; k++) {
        look(f, &a->arg[k], k, &view[k]);
        splats |= (unsigned)view[k].splat << k;
    }
    char *result = destination(f, a);
    if (is_flat(f, view, a->narg)) {
        a->function[splats](result, view, 1, f->casts * f->vectors);
    } else {
        a->function[splats](result, view, f->casts, f->vectors);
    }
    finish(f, a, result);
}

static void run_copy(bbi_frame *f, const bbi_action *a, int which) {
    bbi_view view;
    look(f, &a->arg[which], 0, &view);
    char *result = f->tiles + a->result * f->tile_stride;
    if (is_flat(f, &view, 1)) {
        f->isa->copy(result, 0, &view, 1, f->casts * f->vectors);
    } else {
        f->isa->copy(result, f->tile_step, &view, f->casts, f->vectors);
    }
}

static inline void run_sum(bbi_frame *f, const bbi_action *a) {
    bbi_view view[3];
    for (int k = 0; k < a->narg; k++) {
        look(f, &a->arg[k], k, &view[k]);
    }
    f->isa->sum(f->sum + bbi_frame_value(f, a->index) * BBI_BLOCK_BYTES, f->sum_step, view, a->narg, f->casts, f->vectors);
}

/* The direct schedule only: columns are cast, all casts are added to one sum. */
static inline bool is_wide(const bbi_frame *f) { return f->space[BBI_COLUMN].splat && f->sum_step == 0; }

static void add_wide(const bbi_frame *f, const bbi_action *a, bbi_wide *wide) {
    const bbi_space_view *row = &f->space[BBI_ROW], *column = &f->space[BBI_COLUMN];
    const bbi_place_operand *cast = &a->arg[a->wide == BBI_WIDE_LANE_CAST ? 2 : 1],
                            *lane = &a->arg[a->wide == BBI_WIDE_LANE_CAST ? 1 : 2];
    const int64_t n = wide->count++;
    wide->sum[n] = f->sum + bbi_frame_value(f, a->index) * BBI_BLOCK_BYTES;
    wide->cast[n] = column->base + bbi_frame_value(f, cast->component) * column->stride;
    if (a->wide != BBI_WIDE_CAST) wide->lane[n] = row->base + bbi_frame_value(f, lane->component) * row->stride;
}

static void run_wide(const bbi_frame *f, const bbi_action *a, bbi_wide *wide) {
    wide->tile = f->tiles + a->arg[0].component.value * f->tile_stride;
    wide->tile_step = f->tile_step;
    wide->cast_step = f->space[BBI_COLUMN].step;
    f->isa->sum_wide[a->wide](wide, f->casts, f->vectors);
    wide->count = 0;
}

/* A run of sums of one tile; returns how many actions were done. */
static int32_t run_sums(bbi_frame *f, const bbi_action *a) {
    if (a->run < 2 || !is_wide(f)) {
        run_sum(f, a);
        return 1;
    }
    bbi_wide wide;
    wide.count = 0;
    for (int32_t n = 0; n < a->run; n++) {
        add_wide(f, a + n, &wide);
    }
    run_wide(f, a, &wide);
    return a->run;
}

static void run_out(bbi_frame *f, const bbi_action *a) {
    bbi_view view;
    if (f->no_copies && a->arg[0].space == BBI_COLUMN) return;
    look(f, &a->arg[0], 0, &view);
    put_out(f, bbi_frame_value(f, a->index), &view);
}

static void run_mirror(bbi_frame *f, const bbi_action *a) {
    bbi_view view[3];
    for (int k = 0; k < a->narg; k++) look(f, &a->arg[k], k, &view[k]);
    f->isa->mirror(f->out + bbi_frame_value(f, a->index) * f->out_stride, view, a->narg, f->casts, f->vectors);
}

/* of a chain, as pointers */
typedef struct bbi_terms {
    const char *lane[BBI_CHAIN_TERMS], *cast[BBI_CHAIN_TERMS];
    int64_t count;
} bbi_terms;

static inline void add_term(const bbi_frame *f, bbi_terms *t, const bbi_term *term) {
    const bbi_space_view *row = &f->space[BBI_ROW], *column = &f->space[BBI_COLUMN];
    const char *x = row->base + bbi_frame_value(f, term->row) * row->stride;
    const char *y = column->base + bbi_frame_value(f, term->column) * column->stride;
    t->lane[t->count] = row->splat ? y : x;
    t->cast[t->count] = row->splat ? x : y;
    t->count++;
}

static void run_terms(bbi_frame *f, const bbi_action *a, const bbi_terms *t, const bbi_view *initial, char *result) {
    bbi_chain chain = {
        .count = t->count, .lane = t->lane, .cast = t->cast, .square = a->square, .has_initial = initial != NULL};
    const bbi_space_view *row = &f->space[BBI_ROW], *column = &f->space[BBI_COLUMN];
    chain.cast_step = row->splat ? row->step : column->splat ? column->step : 0;
    if (initial) chain.initial = *initial;
    f->isa->chain(result, &chain, f->casts, f->vectors);
}

/* A long chain goes through the result BBI_CHAIN_TERMS terms at a time. */
static void run_chain(bbi_frame *f, const bbi_action *a) {
    const bbi_interp *interp = f->interp;
    char *result = destination(f, a);
    bbi_view view, *initial = NULL;
    bbi_terms t;
    t.count = 0;
    if (a->narg > 0) {
        look(f, &a->arg[0], 0, &view);
        initial = &view;
    }
    for (int32_t n = a->first_term; n >= 0; n = interp->term[n].next) {
        add_term(f, &t, &interp->term[n]);
        if (t.count < BBI_CHAIN_TERMS && interp->term[n].next >= 0) continue;
        run_terms(f, a, &t, initial, result);
        view = (bbi_view){.at = result, .cast_step = f->tile_step};
        initial = &view;
        t.count = 0;
    }
    finish(f, a, result);
}

/* The operands of a linear term stand at equal distances: those of the first two iterations tell. */
static void add_linear_terms(bbi_frame *f, const bbi_action *a, int64_t c, int64_t count, bbi_terms *t) {
    t->count = 0;
    for (int n = 0; n < 2; n++) {
        f->counter[a->counter] = c + n;
        evaluate(f, a->first_node, a->node_count);
        add_term(f, t, &f->interp->term[a->first_term]);
    }
    const int64_t lane = t->lane[1] - t->lane[0], cast = t->cast[1] - t->cast[0];
    for (int64_t n = 2; n < count; n++) {
        t->lane[n] = t->lane[n - 1] + lane;
        t->cast[n] = t->cast[n - 1] + cast;
    }
    t->count = count;
}

static void run_chain_loop(bbi_frame *f, const bbi_action *a) {
    char *result = f->tiles + a->result * f->tile_stride;
    const bbi_view view = {.at = result, .cast_step = f->tile_step};
    const int64_t count = bbi_frame_value(f, a->index);
    bbi_terms t;
    for (int64_t c = 0; c < count; c += t.count) {
        const int64_t now = count - c < BBI_CHAIN_TERMS ? count - c : BBI_CHAIN_TERMS;
        t.count = 0;
        if (a->linear) {
            add_linear_terms(f, a, c, now, &t);
        } else {
            for (int64_t n = 0; n < now; n++) {
                f->counter[a->counter] = c + n;
                evaluate(f, a->first_node, a->node_count);
                add_term(f, &t, &f->interp->term[a->first_term]);
            }
        }
        run_terms(f, a, &t, &view, result);
    }
}

static void run_actions(bbi_frame *f, int32_t first, int32_t end);

static void run_loop(bbi_frame *f, int32_t n) {
    const bbi_action *a = &f->interp->action[n];
    const int64_t count = bbi_frame_value(f, a->index);
    for (int64_t c = 0; c < count; c++) {
        f->counter[a->counter] = c;
        evaluate(f, a->first_node, a->node_count);
        run_actions(f, n + 1, a->end - 1);
    }
}

/* The sum areas of different iterations are different components, BBI_WIDE of which are taken together. */
static void run_sum_loop(bbi_frame *f, int32_t n) {
    const bbi_action *a = &f->interp->action[n], *sum = a + 1;
    if (!is_wide(f)) {
        run_loop(f, n);
        return;
    }
    const int64_t count = bbi_frame_value(f, a->index);
    bbi_wide wide;
    wide.count = 0;
    for (int64_t c = 0; c < count; c++) {
        f->counter[a->counter] = c;
        evaluate(f, a->first_node, a->node_count);
        add_wide(f, sum, &wide);
        if (wide.count == BBI_WIDE || c + 1 == count) run_wide(f, sum, &wide);
    }
}

static void run_actions(bbi_frame *f, int32_t first, int32_t end) {
    for (int32_t n = first; n < end; n++) {
        const bbi_action *a = &f->interp->action[n];
        if (a->strand_end > 0 && f->in_strands) {
            bbi_interp_run_strand(f, a);
            n = a->strand_end - 1;
            continue;
        }
        switch (a->kind) {
        case BBI_ACT_MAP: run_map(f, a); break;
        case BBI_ACT_COPY: run_copy(f, a, 0); break;
        case BBI_ACT_CHOOSE: run_copy(f, a, bbi_frame_value(f, a->index) == 0); break;
        case BBI_ACT_SUM: n += run_sums(f, a) - 1; break;
        case BBI_ACT_OUT: run_out(f, a); break;
        case BBI_ACT_MIRROR: run_mirror(f, a); break;
        case BBI_ACT_CHAIN: run_chain(f, a); break;
        case BBI_ACT_LOOP:
            run_loop(f, n);
            n = a->end - 1;
            break;
        case BBI_ACT_CHAIN_LOOP:
            run_chain_loop(f, a);
            n = a->end - 1;
            break;
        case BBI_ACT_SUM_LOOP:
            run_sum_loop(f, n);
            n = a->end - 1;
            break;
        default: break;
        }
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */
static int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* Workspace: tile buffers, values of index expressions, counters, what strands need. */
int64_t bbi_interp_workspace(const bbi_interp *interp) {
    return interp->buffer_count * interp->tile_casts * BBI_BLOCK_BYTES + rounded(interp->index_count * 8) +
           rounded(interp->counter_count * 8) + bbi_interp_strand_bytes(interp) + 64;
}

static void open_frame(bbi_frame *f, const bbi_interp *interp, const int64_t *size, void *workspace) {
    char *w = workspace;
    f->interp = interp;
    f->isa = interp->isa;
    f->size = size;
    f->tiles = w;
    f->tile_stride = interp->tile_casts * BBI_BLOCK_BYTES;
    w += interp->buffer_count * f->tile_stride;
    f->index = (int64_t *)w;
    f->counter = (int64_t *)(w + rounded(interp->index_count * 8));
    f->local = (char *)f->counter + rounded(interp->counter_count * 8);
    f->in_strands = false;
    f->select = NULL;
    f->single = f->no_copies = false;
    f->sum = f->out = NULL;
    f->sum_step = f->out_stride = f->out_step = 0;
    f->space[BBI_LITERAL] = (bbi_space_view){.base = interp->literal, .stride = interp->isa->real_bytes, .splat = true};
    f->space[BBI_COUNT] = (bbi_space_view){.splat = true};
    if (interp->node_count > 0) {
        memcpy(f->index, interp->initial, (size_t)interp->index_count * sizeof *f->index);
        evaluate(f, 0, interp->outer_nodes);
    }
}

static void set_tile(bbi_frame *f, int64_t casts, int64_t vectors) {
    f->casts = casts;
    f->vectors = vectors;
    f->tile_step = vectors * f->isa->vector_bytes;
    f->space[BBI_VALUE] = (bbi_space_view){.base = f->tiles, .stride = f->tile_stride, .step = f->tile_step};
}

/* Fewer vectors are not worth a block of BBI_BLOCK_VECTORS. */
enum { STRAND_VECTORS = 3 };

/* ---- pairs: rows by columns ------------------------------------------------------------------ */
static void run_pair(const bbi_interp *interp, bool transposed, const int64_t *size, const void *uniform,
                     const void *lane, int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes,
                     int64_t casts, void *sum, void *out, int64_t out_stride, bool no_copies, bbi_selecting *select,
                     void *workspace) {
    const int64_t real = interp->isa->real_bytes, vector = interp->isa->vector_bytes;
    int64_t vectors = (lanes * real + vector - 1) / vector;
    bbi_frame f;
    open_frame(&f, interp, size, workspace);
    f.in_strands = vectors >= STRAND_VECTORS;
    f.select = select;
    f.no_copies = no_copies;
    if (f.in_strands) vectors = (vectors + BBI_BLOCK_VECTORS - 1) / BBI_BLOCK_VECTORS * BBI_BLOCK_VECTORS;
    bbi_space_view *casting = &f.space[transposed ? BBI_ROW : BBI_COLUMN];
    f.space[BBI_UNIFORM] = (bbi_space_view){.base = uniform, .stride = real, .splat = true};
    f.space[transposed ? BBI_COLUMN : BBI_ROW] = (bbi_space_view){.base = lane, .stride = lane_stride * real};
    *casting = (bbi_space_view){.base = cast, .stride = cast_stride * real, .step = real, .splat = true};
    f.sum = sum;
    f.sum_step = transposed ? interp->sum_count * BBI_BLOCK_BYTES : 0;
    f.out = out;
    f.out_step = interp->mirrors ? vector : BBI_BLOCK_BYTES;
    f.out_stride = out_stride * f.out_step;
    for (int64_t first = 0; first < casts; first += f.casts) {
        const int64_t left = casts - first;
        const bool whole = left < interp->tile_casts || (f.in_strands && interp->one_pass);
        set_tile(&f, whole ? left : interp->tile_casts, vectors);
        run_actions(&f, 0, interp->action_count);
        casting->base += f.casts * real;
        if (f.sum) f.sum += f.casts * f.sum_step;
        if (f.out) f.out += f.casts * f.out_step;
        if (select) select->first += f.casts;
    }
}

void bbi_interp_pair(const bbi_interp *interp, bool transposed, const int64_t *size, const void *uniform,
                     const void *lane, int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes,
                     int64_t casts, void *sum, void *out, int64_t out_stride, void *workspace) {
    run_pair(interp, transposed, size, uniform, lane, lane_stride, cast, cast_stride, lanes, casts, sum, out,
             out_stride, false, NULL, workspace);
}

void bbi_interp_first(const bbi_interp *interp, const int64_t *size, const void *uniform, const void *lane,
                      int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes, int64_t casts,
                      void *out, int64_t out_stride, void *workspace) {
    run_pair(interp, false, size, uniform, lane, lane_stride, cast, cast_stride, lanes, casts, NULL, out, out_stride,
             true, NULL, workspace);
}

int64_t bbi_interp_copies(const bbi_interp *interp, int64_t *first) {
    *first = interp->first_copy;
    return interp->copies;
}

bool bbi_interp_selects(const bbi_interp *interp, int64_t lanes) {
    return lanes * interp->isa->real_bytes > (STRAND_VECTORS - 1) * interp->isa->vector_bytes && interp->select_links == 1;
}

void bbi_interp_select(const bbi_interp *interp, const int64_t *size, const void *uniform, const void *lane,
                       int64_t lane_stride, const void *cast, int64_t cast_stride, int64_t lanes, int64_t casts,
                       void *out, int64_t out_stride, bool max, bool improves, bbi_hits *hits, void *workspace) {
    bbi_selecting select = {.hits = hits, .max = max, .improves = improves};
    memcpy(select.best, hits->limit, sizeof select.best);
    run_pair(interp, false, size, uniform, lane, lane_stride, cast, cast_stride, lanes, casts, NULL, out, out_stride,
             false, &select, workspace);
}

void bbi_interp_lane_sums(const bbi_interp *interp, void *result, const void *source, int64_t count, bool negative) {
    interp->isa->lane_sums(result, source, count, negative);
}

/* ---- elementwise: blocks of lanes take the place of casts ------------------------------------ */
static void run_lanes(bbi_frame *f, int64_t count) {
    const int64_t real = f->isa->real_bytes, vector = f->isa->vector_bytes, block = BBI_BLOCK_BYTES / real;
    for (int64_t first = 0; first < count;) {
        const int64_t left = count - first, whole = left / block;
        if (whole > 0) {
            set_tile(f, whole < f->interp->tile_casts ? whole : f->interp->tile_casts, BBI_BLOCK_BYTES / vector);
        } else {
            set_tile(f, 1, (left * real + vector - 1) / vector);
        }
        run_actions(f, 0, f->interp->action_count);
        first += f->casts * block;
        f->space[BBI_ROW].base += f->casts * f->space[BBI_ROW].step;
        f->space[BBI_COLUMN].base += f->casts * f->space[BBI_COLUMN].step;
        f->out += f->casts * f->out_step;
    }
}

void bbi_interp_map(const bbi_interp *interp, const int64_t *size, const void *uniform, void *array, int64_t stride,
                    int64_t count, void *workspace) {
    const int64_t real = interp->isa->real_bytes;
    bbi_frame f;
    if (count <= 0 || interp->action_count == 0) return;
    open_frame(&f, interp, size, workspace);
    f.single = count == 1 && stride * real % BBI_BLOCK_BYTES != 0; /* the uniform array, or one like it, is compact */
    const bbi_space_view own = {
        .base = array, .stride = stride * real, .step = f.single ? 0 : BBI_BLOCK_BYTES, .splat = f.single};
    f.space[BBI_ROW] = f.space[BBI_COLUMN] = own;
    f.space[BBI_UNIFORM] =
        (bbi_space_view){.base = uniform ? uniform : array, .stride = uniform ? real : stride * real, .splat = true};
    f.out = array;
    f.out_stride = stride * real;
    f.out_step = BBI_BLOCK_BYTES;
    run_lanes(&f, count);
}

void bbi_interp_zip(const bbi_interp *interp, const int64_t *size, const void *uniform, const void *row,
                    const void *column, void *out, int64_t stride, int64_t count, void *workspace) {
    const int64_t real = interp->isa->real_bytes;
    bbi_frame f;
    if (count <= 0) return;
    open_frame(&f, interp, size, workspace);
    f.space[BBI_ROW] = (bbi_space_view){.base = row, .stride = stride * real, .step = BBI_BLOCK_BYTES};
    f.space[BBI_COLUMN] = (bbi_space_view){.base = column, .stride = stride * real, .step = BBI_BLOCK_BYTES};
    f.space[BBI_UNIFORM] = (bbi_space_view){.base = uniform, .stride = real, .splat = true};
    f.out = out;
    f.out_stride = stride * real;
    f.out_step = BBI_BLOCK_BYTES;
    run_lanes(&f, count);
}
