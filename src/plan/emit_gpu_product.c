/* emit_gpu_product.c: sums of a value of the pair times many components of the column, K b with K the matrix of values
 * (M x N, never stored) and b of N x E, as a product of tiles.
 *
 * A block of threads owns `tall` rows. It computes the values of all its rows with a tile of columns once, R x C pairs a
 * thread as in any other kernel (emit_gpu_body.c), and leaves them in local memory, k[column][row]; beside them stands
 * b[column][output] for a panel of the outputs. Then each thread has `down` rows times `over` outputs in registers and
 * goes along the columns: a step takes (down + over) / 4 vector loads for down * over fused operations.
 *
 * The rows of a thread are vectors of W neighbours, as far apart as there are threads in between, and so are its outputs:
 * threads of a warp, 8 along rows times 4 along outputs, then load 8 and 4 different vectors that lie side by side. Lines of
 * both tiles are longer by W, so that lines that are written at once begin in different banks.
 *
 * Where one panel takes all outputs its sums stay in registers for some tiles; else every panel's are added to the totals
 * in `value` when the tile is done. Outputs are numbered through the pieces of a product: a piece is a loop of the pair
 * code over components of the column. Other sums of the stage stand in registers with the pairs, and are
 * added up over the threads that share a row when they go to `value`. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <string.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
#define L(x) ((long long)(x))
enum { LEAST_OUTPUTS = 9, MOST_BYTES = 46 << 10, MOST_COUNTERS = 1024, PANEL_COLUMNS = 32 };

/* ---- which stages ---- */
static const bbi_instruction *step(const bbi_gpu *g, int32_t n) { return &g->e.code->instruction[n]; }

/* first + counter for all values of the counter */
static bool is_linear(const bbi_gpu *g, int32_t index, int32_t counter, int64_t count, int64_t *first) {
    int64_t at[MOST_COUNTERS] = {0};
    for (int64_t c = 0; c < count; c++) {
        at[counter] = c;
        int64_t value = bbi_index_value(g->e.code, index, g->e.stage->size, at);
        if (c == 0) *first = value;
        if (value != *first + c) return false;
    }
    return true;
}

typedef struct sought {
    bbi_gpu *g;
    int32_t begin, end; /* steps of the loop */
    int32_t counter;
    int64_t count, sum;
} sought;

static bool add_piece(const sought *s, const bbi_operand *value, int64_t column) {
    bbi_gpu_products *p = &s->g->products;
    int k = 0;
    while (k < p->count && p->product[k].value != value->number) k++;
    if (k == BBI_GPU_MAX_PRODUCTS) return false;
    bbi_gpu_product *product = &p->product[k];
    if (k == p->count) *product = (bbi_gpu_product){.value = value->number}, p->count++;
    for (int n = 0; n < product->pieces; n++) {
        const bbi_gpu_piece *other = &product->piece[n];
        if (s->sum < other->sum + other->count && other->sum < s->sum + s->count) return false;
    }
    if (product->pieces == BBI_GPU_MAX_PIECES) return false;
    product->piece[product->pieces++] = (bbi_gpu_piece){.column = column, .sum = s->sum, .count = s->count};
    product->count += s->count;
    return true;
}

/* The step inside of the loop that makes a value; NULL: it comes from outside. */
static const bbi_instruction *maker(const sought *s, const bbi_operand *o) {
    for (int32_t n = s->begin; n < s->end; n++)
        if (step(s->g, n)->kind == BBI_STEP_MAP && step(s->g, n)->result == o->number) return step(s->g, n);
    return NULL;
}

static bool take_term(const sought *s, const bbi_operand *a, const bbi_operand *b) {
    int64_t column;
    const bbi_operand *value = a->space == BBI_VALUE ? a : b, *other = value == a ? b : a;
    if (value->space != BBI_VALUE || other->space != BBI_COLUMN || maker(s, value)) return false;
    return is_linear(s->g, other->number, s->counter, s->count, &column) && add_piece(s, value, column);
}

static bool take_value(const sought *s, const bbi_operand *o) {
    if (o->space != BBI_VALUE) return false;
    const bbi_instruction *from = maker(s, o);
    if (!from) return false;
    if (from->op == BBI_OP_mul) return take_term(s, &from->arg[0], &from->arg[1]);
    if (from->op == BBI_OP_add) return take_value(s, &from->arg[0]) && take_value(s, &from->arg[1]);
    return from->op == BBI_OP_fma && take_term(s, &from->arg[0], &from->arg[1]) && take_value(s, &from->arg[2]);
}

static bool take_sum(sought *s, const bbi_instruction *sum) {
    if (!is_linear(s->g, sum->index, s->counter, s->count, &s->sum)) return false;
    return sum->narg == 2 ? take_term(s, &sum->arg[0], &sum->arg[1]) : take_value(s, &sum->arg[0]);
}

static bool take_loop(bbi_gpu *g, int32_t n) {
    static const int64_t zeros[MOST_COUNTERS];
    sought s = {.g = g, .begin = n + 1, .end = g->e.end[n], .counter = step(g, n)->counter};
    s.count = bbi_index_value(g->e.code, step(g, n)->index, g->e.stage->size, zeros);
    if (s.count < 1) return false;
    for (int32_t k = n; k <= s.end; k++) {
        bool inside = k > n && k < s.end;
        if (inside && step(g, k)->kind != BBI_STEP_MAP && step(g, k)->kind != BBI_STEP_SUM) return false;
        if (step(g, k)->kind == BBI_STEP_SUM && !take_sum(&s, step(g, k))) return false;
        g->served[k] = true;
    }
    return true;
}

static bool take_rest(bbi_gpu *g, const bbi_instruction *sum) {
    bbi_gpu_products *p = &g->products;
    int64_t component = bbi_gpu_component(g, sum->index);
    for (int k = 0; k < p->nrest; k++)
        if (p->rest[k] == component) return true;
    if (p->nrest == BBI_GPU_MAX_REST) return false;
    p->rest[p->nrest++] = component;
    return true;
}

static bool take_all(bbi_gpu *g) {
    for (int32_t n = 0; n < g->e.code->count; n++) {
        if (step(g, n)->kind == BBI_STEP_OUT) return false;
        if (step(g, n)->kind == BBI_STEP_SUM && !take_rest(g, step(g, n))) return false;
        if (step(g, n)->kind != BBI_STEP_LOOP) continue;
        if (g->e.sinks[n] && !take_loop(g, n)) return false;
        n = g->e.end[n];
    }
    return g->products.count > 0;
}

/* Sums that several products add to belong to one thread: they have the same number in each. No other sums are among
 * them. */
static bool is_consistent(const bbi_gpu_products *p) {
    for (int a = 0; a < p->count; a++)
        for (int b = 0; b < a; b++)
            for (int k = 0, at = 0; k < p->product[a].pieces; at += (int)p->product[a].piece[k++].count)
                for (int n = 0, to = 0; n < p->product[b].pieces; to += (int)p->product[b].piece[n++].count) {
                    const bbi_gpu_piece *x = &p->product[a].piece[k], *y = &p->product[b].piece[n];
                    if (x->sum < y->sum + y->count && y->sum < x->sum + x->count && (x->sum != y->sum || at != to))
                        return false;
                }
    for (int a = 0; a < p->count; a++)
        for (int k = 0; k < p->product[a].pieces; k++)
            for (int n = 0; n < p->nrest; n++) {
                const bbi_gpu_piece *x = &p->product[a].piece[k];
                if (p->rest[n] >= x->sum && p->rest[n] < x->sum + x->count) return false;
            }
    return true;
}

/* ---- components of the columns that the values take ---- */
typedef struct interval {
    int64_t low, high;
} interval;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static interval values_of(const bbi_gpu *g, int32_t index) {
    const bbi_index *x = &g->e.code->index[index];
    if (x->op == BBI_IX_CONST) return (interval){x->value, x->value};
    if (x->op == BBI_IX_SIZE) return (interval){g->e.stage->size[x->value], g->e.stage->size[x->value]};
    if (x->op == BBI_IX_COUNTER) {
        int32_t n = 0;
        while (step(g, n)->kind != BBI_STEP_LOOP || step(g, n)->counter != x->value) n++;
        return (interval){0, most(values_of(g, step(g, n)->index).high - 1, 0)};
    }
    interval a = values_of(g, x->a), b = values_of(g, x->b);
    switch (x->op) {
    case BBI_IX_ADD: return (interval){a.low + b.low, a.high + b.high};
    case BBI_IX_SUB: return (interval){a.low - b.high, a.high - b.low};
    case BBI_IX_MUL: return (interval){a.low * b.low, a.high * b.high};
    case BBI_IX_DIV: return (interval){a.low / most(b.high, 1), a.high / most(b.low, 1)};
    case BBI_IX_MOD: return (interval){0, least(a.high, most(b.high - 1, 0))};
    case BBI_IX_MIN: return (interval){least(a.low, b.low), least(a.high, b.high)};
    case BBI_IX_MAX: return (interval){most(a.low, b.low), most(a.high, b.high)};
    default: return (interval){0, 1};
    }
}

static void mark_components(const bbi_gpu *g) {
    int64_t count = g->e.stage->column_count;
    for (int32_t n = 0; n < g->e.code->count; n++) {
        const bbi_instruction *s = step(g, n);
        for (int a = 0; a < s->narg && !g->served[n] && s->kind != BBI_STEP_LOOP && s->kind != BBI_STEP_END; a++) {
            if (s->arg[a].space != BBI_COLUMN) continue;
            interval at = values_of(g, s->arg[a].number);
            for (int64_t c = most(at.low, 0); c <= at.high && c < count; c++) g->products.used[c] = true;
        }
    }
}

static int64_t count_used(const bbi_gpu *g, int64_t end) {
    int64_t count = 0;
    for (int64_t c = 0; c < end; c++) count += g->products.used[c];
    return count;
}

int64_t bbi_gpu_product_shift(const bbi_gpu *g, int32_t index) {
    int64_t low = most(values_of(g, index).low, 0);
    if (low > g->e.stage->column_count) low = g->e.stage->column_count;
    return low - count_used(g, low);
}

/* ---- shapes ---- */
int64_t bbi_gpu_product_tile(const bbi_gpu *g) {
    return g->layout->shared ? g->products.components * g->products.columns : 0;
}

static int64_t reals(const bbi_gpu *g) {
    const bbi_gpu_products *p = &g->products;
    return bbi_gpu_product_tile(g) + p->count * p->columns * p->line + p->panel_columns * p->panel_line;
}

static void choose_columns(bbi_gpu *g, int columns) {
    bbi_gpu_products *p = &g->products;
    p->columns = columns;
    p->panel_columns = columns < PANEL_COLUMNS ? columns : PANEL_COLUMNS;
}

/* Rows and casts in which the values are computed; sums of the product stand in registers meanwhile. */
static void choose_pairs(bbi_gpu *g) {
    bbi_gpu_products *p = &g->products;
    bbi_gpu_layout *l = g->layout;
    double work = bbi_gpu_work(g);
    int crossing = 0,
        room = !p->single               ? 32
               : p->down * p->over > 48 ? 8
                                        : 16,
        fewest = p->tall > BBI_GPU_THREADS ? p->tall / BBI_GPU_THREADS : 1;
    for (int32_t v = 0; v < g->e.code->value_count; v++) crossing += g->crosses[v];
    if (g->options->is_double) room /= 2;
    l->rows = work > 60 ? 1 : p->tall < 64 ? 2 : 4;
    l->casts = work > 200 ? 1 : 4;
    while (l->rows > 1 && (crossing * l->casts + 2 * p->nrest) * l->rows > room) l->rows /= 2;
    while (l->casts > 1 && crossing * l->rows * l->casts > room) l->casts /= 2;
    if (l->rows < fewest) l->rows = fewest;
    l->tx = p->tall / l->rows;
    l->together = true;
}

static bool choose_shape(bbi_gpu *g) {
    bbi_gpu_products *p = &g->products;
    bbi_gpu_layout *l = g->layout;
    int64_t outputs = 0, real = g->options->is_double ? 8 : 4;
    for (int k = 0; k < p->count; k++) outputs = most(outputs, p->product[k].count);
    p->width = g->options->is_double ? 2 : 4;
    p->across = g->options->few_rows || outputs > 64 ? 16 : outputs > 32 ? 8 : 4;
    p->down = g->options->few_rows ? p->width : g->options->is_double ? 4 : 8;
    p->tall = BBI_GPU_THREADS / p->across * p->down;
    int64_t panels = (outputs + 8 * p->across - 1) / (8 * p->across);
    p->over = (int)((outputs + panels * p->across - 1) / (panels * p->across));
    p->vectors = (p->over + p->width - 1) / p->width;
    p->line = p->tall + p->width;
    p->panel_line = p->across * p->vectors * p->width + p->width;
    p->single = p->count == 1 && panels == 1;
    p->components = count_used(g, g->e.stage->column_count);
    choose_pairs(g);
    l->shared = p->components <= 64;
    choose_columns(g, p->single ? 32 : 64);
    while (reals(g) * real > MOST_BYTES && p->columns > 16) choose_columns(g, p->columns / 2);
    if (reals(g) * real > MOST_BYTES) l->shared = false;
    l->local = reals(g);
    return l->local * real <= MOST_BYTES;
}

static void lay_out(bbi_gpu *g) {
    bbi_gpu_layout *l = g->layout;
    for (int k = 0; k < g->e.stage->nfold; k++) {
        const bbi_fold *f = &g->e.stage->fold[k];
        l->value_first[k] = l->values;
        l->low[k] = g->options->scheme == 1;
        l->values += f->dim * (l->low[k] ? 2 : 1);
    }
}

bool bbi_gpu_find_products(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    bbi_gpu_products *p = &g->products;
    if (g->options->apart || stage->out_count || g->e.code->counter_count > MOST_COUNTERS) return false;
    for (int32_t k = 0; k < stage->nfold; k++)
        if (stage->fold[k].family != BBI_FAMILY_SUM || stage->fold[k].sum_first < 0) return false;
    bool found = take_all(g) && is_consistent(p);
    int64_t outputs = 0;
    for (int k = 0; k < p->count; k++) outputs = most(outputs, p->product[k].count);
    if (found && outputs >= LEAST_OUTPUTS) {
        for (int k = 0; k < p->count; k++) g->crosses[p->product[k].value] = true;
        mark_components(g);
        if (choose_shape(g)) {
            lay_out(g);
            g->register_sums = true;
            return true;
        }
    }
    memset(g->served, 0, (size_t)g->e.code->count * sizeof *g->served);
    memset(g->layout, 0, sizeof *g->layout);
    p->count = 0;
    return false;
}
