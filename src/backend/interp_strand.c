/* Straight pair code as strands: links of threaded code (interp_strand_isa.c) that run for a block of pairs at
 * a time, the current value in registers.
 *
 * A strand replaces a stretch of actions between loops, which stay as they are: pair lists and very few lanes
 * run them tile by tile. Values that nothing outside of the stretch reads live in memory of the block, and only
 * where some link needs them when they are no longer the current value; the others stand in tile buffers.
 *
 * Links come in an order of their own: operands before what uses them, the one that comes last being still in
 * registers. What is summed or written keeps its order. A stretch that assigns a value which has several
 * assignments runs in the order of the code. Order changes nothing else: operations, operands and the order of
 * the terms in a sum are those of the code, so the bits are. */
#include "interp_frame.h"

#include <string.h>

typedef struct strand_builder {
    bbi_interp_builder *b;
    bbi_interp *interp;
    int32_t first, end;
    bool in_order;
    int32_t current; /* the value in registers, -1: none that has a number */
    /* by value */
    int32_t *maker; /* the action of the stretch that defines it, -1 */
    int32_t *made;  /* the link that does */
    int32_t *home;  /* the stretch that names it; -1: none so far */
    bool *crosses;  /* named outside of its stretch, or assigned several times */
    int32_t *last;  /* the last link that reads it */
    bool *emitted;  /* by action */
} strand_builder;

/* ---- making: which actions ------------------------------------------------------------------- */
static bool is_straight(const bbi_action *a) {
    switch (a->kind) {
    case BBI_ACT_MAP:
    case BBI_ACT_COPY:
    case BBI_ACT_CHAIN:
    case BBI_ACT_SUM:
    case BBI_ACT_OUT:
    case BBI_ACT_MIRROR: return true;
    default: return false;
    }
}

static bool is_out(const bbi_action *a) { return a->to_out || a->kind == BBI_ACT_OUT; }

static int32_t stretch_end(const bbi_interp *interp, int32_t first) {
    int32_t n = first;
    while (n < interp->action_count && n - first < BBI_STRAND_ACTIONS && is_straight(&interp->action[n])) n++;
    return n;
}

static void name_value(const strand_builder *s, int64_t value, int32_t stretch) {
    if (s->home[value] < 0) s->home[value] = stretch;
    if (s->home[value] != stretch || s->b->defs[value] > 1) s->crosses[value] = true;
}

static void find_crossing(const strand_builder *s) {
    const bbi_interp *interp = s->interp;
    for (int32_t n = 0, end = 0; n < interp->action_count; n++) {
        if (n >= end) end = stretch_end(interp, n);
        const bbi_action *a = &interp->action[n];
        const int32_t stretch = end > n ? 2 * end + 1 : 2 * n; /* actions of no stretch are each their own */
        for (int k = 0; k < a->narg; k++) {
            if (a->arg[k].space == BBI_VALUE) name_value(s, a->arg[k].component.value, stretch);
        }
        if (a->result >= 0) name_value(s, a->result, stretch);
    }
}

/* ---- making: links --------------------------------------------------------------------------- */
static bbi_strand_link *add_link(strand_builder *s, bbi_link_kind what) {
    bbi_strand_link *link = &s->interp->link[s->interp->link_count++];
    *link = (bbi_strand_link){.what = (uint8_t)what, .keep = -1, .first_term = -1};
    return link;
}

static uint8_t kind_of(const bbi_place_operand *o, bool transposed) {
    if (o->space == BBI_VALUE || o->space == (transposed ? BBI_COLUMN : BBI_ROW)) return BBI_KIND_MEMORY;
    return BBI_KIND_SPLAT;
}

static bool is_current(const strand_builder *s, const bbi_place_operand *o) {
    return o->space == BBI_VALUE && s->current == o->component.value;
}

/* An operand that is read from memory: what defines it has to store it. */
static void add_operand(strand_builder *s, bbi_strand_link *link, int n, const bbi_place_operand *o) {
    const int64_t v = o->component.value;
    link->x[link->operands] = *o;
    if (o->space == BBI_VALUE && !s->crosses[v]) {
        link->local[link->operands] = true;
        s->interp->link[s->made[v]].keep = (int32_t)v;
        s->last[v] = (int32_t)(link - s->interp->link);
    }
    link->operands++;
    for (int t = 0; t < 2; t++) link->kind[t][n] = kind_of(o, t);
}

/* Operand k of an action becomes the current value. */
static void load(strand_builder *s, const bbi_action *a, int k) {
    if (is_current(s, &a->arg[k])) return;
    bbi_strand_link *link = add_link(s, BBI_LINK_LOAD);
    add_operand(s, link, 0, &a->arg[k]);
    s->current = a->arg[k].space == BBI_VALUE ? (int32_t)a->arg[k].component.value : -1;
}

/* The operand that is, or will be, the current value. */
static int registered(const strand_builder *s, const bbi_action *a, int count) {
    for (int k = 0; k < count; k++) {
        if (is_current(s, &a->arg[k])) return k;
    }
    for (int k = 0; k < count; k++) {
        if (a->arg[k].space == BBI_VALUE) return k;
    }
    for (int k = 0; k < count; k++) {
        if (a->arg[k].space == BBI_ROW) return k;
    }
    return 0;
}

static void add_operands(strand_builder *s, bbi_strand_link *link, const bbi_action *a, int in_register) {
    link->narg = a->narg;
    for (int k = 0; k < a->narg; k++) {
        if (k != in_register && !is_current(s, &a->arg[k])) add_operand(s, link, k, &a->arg[k]);
    }
}

/* Both operands from memory at once. */
static bool append_pair(strand_builder *s, const bbi_action *a) {
    bbi_link_function *run[2];
    if (a->narg != 2 || is_current(s, &a->arg[0]) || is_current(s, &a->arg[1])) return false;
    for (int t = 0; t < 2; t++) {
        const uint8_t kind[2] = {kind_of(&a->arg[0], t), kind_of(&a->arg[1], t)};
        run[t] = s->interp->strands->pair(a->op, kind);
        if (!run[t]) return false;
    }
    bbi_strand_link *link = add_link(s, BBI_LINK_MAP);
    add_operands(s, link, a, -1);
    memcpy(link->run, run, sizeof run);
    return true;
}

static void append_map(strand_builder *s, const bbi_action *a) {
    if (append_pair(s, a)) return;
    const int k = registered(s, a, a->narg);
    load(s, a, k);
    bbi_strand_link *link = add_link(s, BBI_LINK_MAP);
    add_operands(s, link, a, k);
    link->function = s->interp->isa->map[a->op];
    for (int t = 0; t < 2; t++) link->run[t] = s->interp->strands->map(a->op, link->kind[t]);
}

/* The value is the first factor: fma(x, y, s) = fma(y, x, s). */
static void append_sum(strand_builder *s, const bbi_action *original) {
    bbi_action a = *original;
    const int k = registered(s, &a, a.narg < 3 ? a.narg : 1);
    const bbi_place_operand value = a.arg[k];
    a.arg[k] = a.arg[0];
    a.arg[0] = value;
    load(s, &a, 0);
    bbi_strand_link *link = add_link(s, a.kind == BBI_ACT_SUM ? BBI_LINK_SUM : BBI_LINK_MIRROR);
    add_operands(s, link, &a, 0);
    link->index = a.index;
    for (int t = 0; t < 2; t++) {
        link->run[t] = a.kind == BBI_ACT_SUM ? s->interp->strands->sum(a.narg, link->kind[t]) : s->interp->strands->mirror;
        if (a.kind == BBI_ACT_MIRROR) link->kind[t][2] = a.narg;
    }
}

static void append_chain(strand_builder *s, const bbi_action *a) {
    if (a->narg > 0) load(s, a, 0);
    bbi_strand_link *link = add_link(s, BBI_LINK_CHAIN);
    link->first_term = a->first_term;
    link->term_count = a->term_count;
    for (int t = 0; t < 2; t++) link->run[t] = s->interp->strands->chain(a->square, a->narg > 0, a->term_count);
}

static void append(strand_builder *s, const bbi_action *a) {
    switch (a->kind) {
    case BBI_ACT_MAP: append_map(s, a); break;
    case BBI_ACT_CHAIN: append_chain(s, a); break;
    case BBI_ACT_COPY:
    case BBI_ACT_OUT:
        load(s, a, 0);
        add_link(s, BBI_LINK_NOTHING)->copy = a->kind == BBI_ACT_OUT && a->arg[0].space == BBI_COLUMN;
        break;
    default: append_sum(s, a); return;
    }
    bbi_strand_link *link = &s->interp->link[s->interp->link_count - 1];
    link->out = is_out(a);
    link->index = a->index;
    if (a->result < 0) return;
    s->current = a->result;
    s->made[a->result] = s->interp->link_count - 1;
    if (s->crosses[a->result] && !a->to_out) link->keep = a->result;
}

/* ---- making: their order --------------------------------------------------------------------- */
/* The action of the stretch that has to come before because it makes this operand; -1 without. */
static int32_t missing(const strand_builder *s, const bbi_place_operand *o) {
    if (o->space != BBI_VALUE) return -1;
    const int32_t n = s->maker[o->component.value];
    return n >= 0 && !s->emitted[n] ? n : -1;
}

/* Worth being last, because it is then in registers: what nobody else reads; what is computed late. */
static bool is_better_last(const strand_builder *s, int32_t n, int32_t other) {
    if (other < 0) return true;
    const bool once = s->b->uses[s->interp->action[n].result] == 1,
               other_once = s->b->uses[s->interp->action[other].result] == 1;
    return once != other_once ? once : n > other;
}

static void emit(strand_builder *s, int32_t n) {
    const bbi_action *a = &s->interp->action[n];
    if (s->emitted[n]) return;
    s->emitted[n] = true;
    int32_t last = -1;
    for (int k = 0; k < a->narg && !s->in_order; k++) {
        const int32_t m = missing(s, &a->arg[k]);
        if (m >= 0 && is_better_last(s, m, last)) last = m;
    }
    for (int k = 0; k < a->narg && last >= 0; k++) {
        const int32_t m = missing(s, &a->arg[k]);
        if (m >= 0 && m != last) emit(s, m);
    }
    if (last >= 0) emit(s, last);
    append(s, a);
}

static bool is_root(const strand_builder *s, const bbi_action *a) {
    return s->in_order || a->to_out || a->result < 0 || s->crosses[a->result];
}

/* Room in the block's memory, from the link that stores a value to the last that reads it. */
static void assign_local(strand_builder *s, int32_t first) {
    bbi_interp *interp = s->interp;
    int32_t free_slot[BBI_STRAND_ACTIONS], free_count = 0, slots = 0;
    for (int32_t n = first; n < interp->link_count; n++) {
        bbi_strand_link *link = &interp->link[n];
        for (int k = 0; k < link->operands; k++) {
            if (!link->local[k]) continue;
            const int64_t v = link->x[k].component.value;
            link->x[k].component.value = s->maker[v];
            if (s->last[v] != n) continue;
            s->last[v] = -1;
            free_slot[free_count++] = s->maker[v];
        }
        if (link->keep < 0 || s->crosses[link->keep]) continue;
        link->keep_local = true;
        const int32_t slot = free_count > 0 ? free_slot[--free_count] : slots++;
        s->maker[link->keep] = slot; /* no longer needed for its first purpose */
        link->keep = slot;
    }
    if (slots > interp->local_count) interp->local_count = slots;
}

static void make_strand(strand_builder *s) {
    bbi_interp *interp = s->interp;
    const int32_t first = interp->link_count;
    int32_t terms = 0;
    s->current = -1;
    s->in_order = false;
    for (int32_t n = s->first; n < s->end; n++) {
        const bbi_action *a = &interp->action[n];
        terms += a->term_count;
        if (a->result < 0) continue;
        s->maker[a->result] = n;
        if (s->b->defs[a->result] > 1) s->in_order = true;
    }
    for (int32_t n = s->first; n < s->end; n++) {
        if (is_root(s, &interp->action[n])) emit(s, n);
    }
    assign_local(s, first);
    bbi_action *a = &interp->action[s->first];
    a->strand_end = s->end;
    a->first_link = first;
    a->link_count = interp->link_count - first;
    if (terms > interp->strand_terms) interp->strand_terms = terms;
    if (a->link_count > interp->strand_links) interp->strand_links = a->link_count;
    for (int32_t n = s->first; n < s->end; n++) {
        if (interp->action[n].result >= 0) s->maker[interp->action[n].result] = -1;
    }
}

static bool allocate(strand_builder *s) {
    const size_t values = (size_t)s->b->code->value_count + 1, actions = (size_t)s->interp->action_count + 1;
    s->interp->link = bbi_alloc(2 * actions * sizeof *s->interp->link); /* one, and a load before it */
    s->maker = bbi_alloc(4 * values * sizeof *s->maker);
    s->crosses = bbi_calloc(values + actions, sizeof *s->crosses);
    if (!s->interp->link || !s->maker || !s->crosses) return false;
    s->made = s->maker + values;
    s->home = s->made + values;
    s->last = s->home + values;
    s->emitted = s->crosses + values;
    for (size_t n = 0; n < 4 * values; n++) s->maker[n] = -1;
    return true;
}

static bool is_all_strands(const bbi_interp *interp) {
    for (int32_t n = 0; n < interp->action_count; n = interp->action[n].strand_end) {
        if (interp->action[n].strand_end == 0) return false;
    }
    return true;
}

static void count_outs(bbi_interp *interp) {
    int32_t outs = 0;
    for (int32_t n = 0; n < interp->action_count; n++) outs += is_out(&interp->action[n]);
    for (int32_t k = 0; k < interp->link_count; k++) interp->select_links += interp->link[k].out;
    if (interp->select_links != outs) interp->select_links = 0;
}

bool bbi_interp_make_strands(bbi_interp_builder *b) {
    bbi_interp *interp = b->interp;
    strand_builder s = {.b = b, .interp = interp};
    const bool allocated = allocate(&s);
    if (allocated) find_crossing(&s);
    for (int32_t n = 0; allocated && n < interp->action_count;) {
        s.first = n;
        s.end = stretch_end(interp, n);
        n = s.end > n ? s.end : n + 1;
        if (s.end - s.first >= 2 || (s.end > s.first && is_out(&interp->action[s.first]))) make_strand(&s);
    }
    bool crossing = false;
    for (int32_t v = 0; allocated && v < b->code->value_count; v++) crossing |= s.crosses[v];
    count_outs(interp);
    interp->one_pass = allocated && !crossing && is_all_strands(interp);
    bbi_free(s.maker);
    bbi_free(s.crosses);
    return allocated;
}

void bbi_interp_strand_lives(const bbi_interp_builder *b) {
    const bbi_interp *interp = b->interp;
    for (int32_t n = 0; n < interp->action_count; n++) {
        const bbi_action *a = &interp->action[n];
        for (int32_t k = a->first_link; k < a->first_link + a->link_count; k++) {
            const bbi_strand_link *link = &interp->link[k];
            for (int x = 0; x <= link->operands; x++) {
                const bool kept = x == link->operands;
                if (kept ? link->keep < 0 || link->keep_local : link->local[x] || link->x[x].space != BBI_VALUE) continue;
                const int64_t v = kept ? link->keep : link->x[x].component.value;
                if (b->last[v] < a->strand_end - 1) b->last[v] = a->strand_end - 1;
            }
        }
    }
}

void bbi_interp_strand_buffers(const bbi_interp_builder *b) {
    bbi_interp *interp = b->interp;
    for (int32_t k = 0; k < interp->link_count; k++) {
        bbi_strand_link *link = &interp->link[k];
        for (int x = 0; x < link->operands; x++) {
            if (link->x[x].space == BBI_VALUE && !link->local[x])
                link->x[x].component.value = b->buffer[link->x[x].component.value];
        }
        if (link->keep >= 0 && !link->keep_local) link->keep = b->buffer[link->keep];
    }
}

/* ---- running --------------------------------------------------------------------------------- */
enum { LOCAL_BYTES = BBI_BLOCK_CASTS * BBI_BLOCK_VECTORS * 64 };

/* Memory of the block; links with a store or two behind each, and the last; terms. */
int64_t bbi_interp_strand_bytes(const bbi_interp *interp) {
    return interp->local_count * LOCAL_BYTES + (3 * (int64_t)interp->strand_links + 1) * (int64_t)sizeof(bbi_link) +
           2 * (int64_t)interp->strand_terms * (int64_t)sizeof(char *);
}

static void bind_operand(bbi_frame *f, const bbi_block *block, const bbi_strand_link *link, int n, bbi_link *bound) {
    const bbi_place_operand *o = &link->x[n];
    bbi_link_operand *x = &bound->x[n];
    bbi_motion motion = BBI_STAYS;
    if (link->local[n]) {
        x->at = f->local + o->component.value * LOCAL_BYTES;
        motion = BBI_LOCAL;
    } else if (o->space == BBI_COUNT) {
        x->at = bbi_frame_count(f, bbi_frame_value(f, o->component), &bound->number[n]);
    } else {
        const bbi_space_view *space = &f->space[o->space];
        x->at = space->base + bbi_frame_value(f, o->component) * space->stride;
        if (o->space == BBI_VALUE) motion = BBI_TILE;
        if (o->space == BBI_ROW || o->space == BBI_COLUMN) motion = space->splat ? BBI_CASTS : BBI_LANES;
    }
    x->offset = &block->offset[motion];
}

static void bind_terms(const bbi_frame *f, const bbi_strand_link *link, bbi_link *bound, const char ***terms) {
    const bbi_space_view *row = &f->space[BBI_ROW], *column = &f->space[BBI_COLUMN];
    const char **lane = *terms, **cast = lane + link->term_count;
    *terms += 2 * link->term_count;
    for (int32_t n = link->first_term, k = 0; n >= 0; n = f->interp->term[n].next, k++) {
        const bbi_term *term = &f->interp->term[n];
        const char *x = row->base + bbi_frame_value(f, term->row) * row->stride;
        const char *y = column->base + bbi_frame_value(f, term->column) * column->stride;
        lane[k] = row->splat ? y : x;
        cast[k] = row->splat ? x : y;
    }
    bound->lane = lane;
    bound->cast = cast;
    bound->count = link->term_count;
}

static bbi_link store_to(const bbi_frame *f, const bbi_block *block, const char *at, bbi_motion motion) {
    return (bbi_link){.run = f->interp->strands->store, .x = {{.at = at, .offset = &block->offset[motion]}}};
}

static bbi_link *bind(bbi_frame *f, const bbi_block *block, const bbi_strand_link *link, bbi_link *bound,
                      const char ***terms) {
    const bool transposed = f->space[BBI_ROW].splat;
    if (f->no_copies && (link->copy || (link->what == BBI_LINK_LOAD && link[1].copy))) return bound; /* nor the load in front */
    if (link->what != BBI_LINK_NOTHING) {
        bound->run = link->run[transposed];
        bound->function = link->function;
        bound->count = link->narg;
        memcpy(bound->kind, link->kind[transposed], sizeof bound->kind);
        for (int n = 0; n < link->operands; n++) bind_operand(f, block, link, n, bound);
        if (link->what == BBI_LINK_LOAD) bound->run = f->interp->strands->load[bound->kind[0]];
        if (link->what == BBI_LINK_CHAIN) bind_terms(f, link, bound, terms);
        if (link->what == BBI_LINK_SUM)
            bound->x[2] = (bbi_link_operand){.at = f->sum + bbi_frame_value(f, link->index) * BBI_LANE_BYTES,
                                             .offset = &block->offset[BBI_SUMS]};
        if (link->what == BBI_LINK_MIRROR)
            bound->x[2] = (bbi_link_operand){.at = f->out + bbi_frame_value(f, link->index) * f->out_stride,
                                             .offset = &block->offset[BBI_MIRROR]};
        bound++;
    }
    if (link->keep >= 0)
        *bound++ = link->keep_local ? store_to(f, block, f->local + link->keep * LOCAL_BYTES, BBI_LOCAL)
                                    : store_to(f, block, f->tiles + link->keep * f->tile_stride, BBI_TILE);
    if (!link->out) return bound;
    *bound = store_to(f, block, f->out + bbi_frame_value(f, link->index) * f->out_stride, BBI_OUTS);
    if (f->select) {
        bound->run = f->interp->strands->select[f->select->max];
        bound->select = f->select;
        f->select->casts = f->casts;
    }
    return bound + 1;
}

void bbi_interp_run_strand(bbi_frame *f, const bbi_action *a) {
    const bbi_interp *interp = f->interp;
    bbi_block block;
    bbi_link *links = (bbi_link *)(void *)(f->local + interp->local_count * LOCAL_BYTES), *end = links;
    const char **terms = (const char **)(void *)(links + 3 * interp->strand_links + 1);
    for (int32_t n = a->first_link; n < a->first_link + a->link_count; n++) {
        end = bind(f, &block, &interp->link[n], end, &terms);
    }
    end->run = interp->strands->stop;
    const int64_t real = f->isa->real_bytes;
    const int64_t step[BBI_MOTIONS] = {[BBI_CASTS] = real,
                                       [BBI_MIRROR] = f->out_step,
                                       [BBI_TILE] = f->tile_step,
                                       [BBI_SUMS] = f->sum_step,
                                       [BBI_OUTS] = f->out_step};
    interp->strands->walk(links, &block, step, f->casts, f->vectors);
}
