/* emit_gpu_states.c: where the states of reductions stand in a kernel for graphics processors, in registers or in memory,
 * and how large a block of pairs leaves them room. */
#include "emit_gpu.h"

enum { MAX_SUMS = 96, MAX_LIST = 32, MAX_WEIGHTS = 16, MAX_COMPONENTS = 16 }; /* in registers, rows times ... */
enum { MAX_WORDS = 104, WORDS_OF_SKELETON = 34 };                             /* of the 128 registers of a thread */

/* The fold that takes component `c` of the out area. */
static int fold_at(const bbi_gpu *g, int64_t c) {
    for (int k = 0; k < g->e.stage->nfold; k++) {
        const bbi_fold *f = bbi_gpu_fold(g, k);
        int64_t count = f->dim + f->weight_dim;
        if (f->out_first >= 0 && c >= f->out_first && c < f->out_first + count) return k;
    }
    return 0;
}

int bbi_gpu_fold_of_out(const bbi_gpu *g, const bbi_instruction *s) {
    return fold_at(g, bbi_gpu_component(g, s->index));
}

bool bbi_gpu_is_exponent(const bbi_gpu *g, int k, int64_t c) {
    return bbi_gpu_fold(g, k)->family == BBI_FAMILY_LSE && c == bbi_gpu_fold(g, k)->out_first;
}

bool bbi_gpu_is_memory_sink(const bbi_gpu *g, const bbi_instruction *s) {
    if (s->kind == BBI_STEP_SUM) return !g->register_sums;
    if (s->kind != BBI_STEP_OUT) return false;
    int k = bbi_gpu_fold_of_out(g, s);
    return g->in_memory[k] && !bbi_gpu_is_exponent(g, k, bbi_gpu_component(g, s->index));
}

/* ---- where states stand ---- */
static bool is_too_large(const bbi_gpu *g, const bbi_fold *f) {
    int64_t rows = g->layout->rows;
    if (f->family == BBI_FAMILY_KMIN) return f->k * f->dim * rows > MAX_LIST;
    if (f->family == BBI_FAMILY_LSE) return f->weight_dim * rows > MAX_WEIGHTS * 2;
    return f->out_first >= 0 && f->dim * rows > 2 * MAX_COMPONENTS;
}

static void lay_out(bbi_gpu *g, int k) {
    const bbi_fold *f = bbi_gpu_fold(g, k);
    bbi_gpu_layout *l = g->layout;
    l->value_first[k] = l->values;
    l->index_first[k] = l->indices;
    l->low[k] = f->family == BBI_FAMILY_SUM && bbi_gpu_has_low(g);
    switch (f->family) {
    case BBI_FAMILY_SUM: l->values += f->dim * (l->low[k] ? 2 : 1); break;
    case BBI_FAMILY_KMIN:
        l->values += f->k * f->dim;
        l->indices += f->k * f->dim;
        break;
    case BBI_FAMILY_LSE: l->values += 2 + f->weight_dim; break;
    case BBI_FAMILY_USER: l->values += bbi_gpu_user_state(g, k); break;
    default:
        l->values += f->dim;
        if (bbi_gpu_is_extreme(f) && f->want_index) l->indices += f->dim;
    }
    g->slot_first[k] = l->slots;
    if (f->family == BBI_FAMILY_LSE && g->in_memory[k]) l->slots += f->weight_dim;
}

static void place_states(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    g->register_sums = stage->sum_count * g->layout->rows * (bbi_gpu_has_low(g) ? 3 : 2) <= MAX_SUMS;
    for (int k = 0; k < stage->nfold; k++) g->in_memory[k] = is_too_large(g, bbi_gpu_fold(g, k));
    for (int32_t n = 0; n < g->e.code->count; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if ((s->kind != BBI_STEP_SUM && s->kind != BBI_STEP_OUT) || bbi_gpu_is_fixed(g, s->index)) continue;
        if (s->kind == BBI_STEP_SUM)
            g->register_sums = false;
        else
            g->in_memory[bbi_gpu_fold_of_out(g, s)] = true;
    }
    for (int k = 0; k < stage->nfold; k++)
        if (bbi_gpu_fold(g, k)->family == BBI_FAMILY_USER) g->in_memory[k] = false;
}

/* ---- registers that a thread needs: a guess that the disassembly has been compared with ---- */
static int64_t real_words(const bbi_gpu *g) { return g->options->is_double ? 2 : 1; }

static int64_t total_words(const bbi_gpu *g) {
    return (g->options->is_double || g->options->wide ? 2 : 1) * (bbi_gpu_is_direct(g) ? 0
                                                                  : bbi_gpu_has_low(g) ? 2
                                                                                       : 1);
}

/* Of fold k, with what the pairs of a block give it. */
static int64_t fold_words(const bbi_gpu *g, int k) {
    const bbi_fold *f = bbi_gpu_fold(g, k);
    int64_t rows = g->layout->rows, block = rows * g->layout->casts * real_words(g), word = real_words(g);
    bool weights = f->family == BBI_FAMILY_LSE && f->weight_dim > 0;
    if (f->out_first < 0) return 0;
    if (g->in_memory[k])
        return f->family == BBI_FAMILY_LSE    ? rows * (2 * word + total_words(g)) + block * (1 + weights)
               : f->family == BBI_FAMILY_KMIN ? 12 + word * rows * (f->dim < 8 ? f->dim : 1) /* limits */
                                              : (word + 4) * (f->dim < 8 ? f->dim : 1);
    switch (f->family) {
    case BBI_FAMILY_KMIN: return f->dim * (block + rows * f->k * (word + 1));
    case BBI_FAMILY_LSE:
        return rows * (word + (1 + f->weight_dim) * (word + total_words(g))) + block * (1 + weights + f->weight_dim);
    case BBI_FAMILY_SUM: return f->dim * (block + rows * (total_words(g) + word));
    case BBI_FAMILY_USER: return f->dim * block + 2 * rows * bbi_gpu_user_state(g, k) * word;
    default: return f->dim * (block + rows * (word + (bbi_gpu_is_extreme(f) && f->want_index)));
    }
}

static int64_t sum_words(const bbi_gpu *g) {
    return g->register_sums ? g->e.stage->sum_count * g->layout->rows * (real_words(g) + total_words(g)) : 0;
}

/* Values of one pair that are needed at once, in a segment. */
static int64_t live_values(const bbi_gpu *g) {
    const bbi_code *code = g->e.code;
    int64_t live = 0, most = 0;
    for (int32_t n = code->count;
         n-- > 0;) { /* backwards: a value lives from its last use on; marks are in `assigned` */
        const bbi_instruction *s = &code->instruction[n];
        bool makes = s->kind == BBI_STEP_MAP || s->kind == BBI_STEP_SET || s->kind == BBI_STEP_CHOOSE;
        if (makes && g->assigned[s->result]) g->assigned[s->result] = false, live--;
        for (int a = 0; a < s->narg; a++) {
            const bbi_operand *o = &s->arg[a];
            if (o->space != BBI_VALUE || g->crosses[o->number] || g->assigned[o->number]) continue;
            g->assigned[o->number] = true;
            if (++live > most) most = live;
        }
    }
    for (int32_t v = 0; v < code->value_count; v++) g->assigned[v] = false;
    return most;
}

/* What an elementary function in float64 needs while it is computed. */
static int64_t function_words(const bbi_gpu *g) {
    bool dear = false;
    for (int32_t n = 0; g->options->is_double && n < g->e.code->count; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        dear = dear || (s->kind == BBI_STEP_MAP && bbi_op_info(s->op)->cost >= 15);
    }
    return dear ? 16 : 0;
}

static int64_t all_words(const bbi_gpu *g) {
    const bbi_gpu_layout *l = g->layout;
    int64_t columns = g->deep.right ? g->deep.right : bbi_gpu_segment_columns(g), words = WORDS_OF_SKELETON;
    if (columns > 4) columns = 4; /* others are loaded where they are needed */
    int64_t held = bbi_gpu_held(g), crossing = 0;
    for (int32_t v = 0; v < g->e.code->value_count; v++) crossing += g->crosses[v];
    words += 2 * l->rows + real_words(g) * (held + columns * l->casts + crossing * l->rows * l->casts);
    if (!g->deep.right) words += function_words(g) + real_words(g) * live_values(g);
    for (int k = 0; k < g->e.stage->nfold; k++) words += fold_words(g, k);
    return words + sum_words(g);
}

/* What takes the most moves to memory; false: there is nothing left. */
static bool move_to_memory(bbi_gpu *g) {
    int64_t most = sum_words(g), words;
    int which = -1;
    for (int k = 0; k < g->e.stage->nfold; k++) {
        if (g->in_memory[k] || bbi_gpu_fold(g, k)->family == BBI_FAMILY_LSE || /* its weights follow its exponent */
            bbi_gpu_fold(g, k)->family == BBI_FAMILY_USER)
            continue;
        words = fold_words(g, k);
        g->in_memory[k] = true;
        words -= fold_words(g, k); /* less what its addresses take */
        g->in_memory[k] = false;
        if (words <= most) continue;
        most = words;
        which = k;
    }
    if (most <= 0) return false;
    if (which < 0)
        g->register_sums = false;
    else
        g->in_memory[which] = true;
    return true;
}

bool bbi_gpu_place_in_registers(bbi_gpu *g, int64_t words) {
    place_states(g);
    if (g->e.stage->sum_count && !g->register_sums) return false;
    for (int k = 0; k < g->e.stage->nfold; k++)
        if (g->in_memory[k]) return false;
    if (all_words(g) > words) return false;
    g->layout->slots = g->layout->values = g->layout->indices = 0;
    for (int k = 0; k < g->e.stage->nfold; k++) lay_out(g, k);
    return true;
}

/* Rows, casts and places of states for which registers suffice: four blocks on a multiprocessor leave a thread 128 of
 * them; what is too crowded even so has 168. */
void bbi_gpu_choose_states(bbi_gpu *g) {
    bbi_gpu_layout *l = g->layout;
    place_states(g);
    while (all_words(g) > MAX_WORDS && (l->casts > 1 || l->rows > 1)) {
        if (l->casts > 1 && l->casts >= l->rows)
            l->casts /= 2;
        else
            l->rows /= 2;
        place_states(g);
    }
    while (all_words(g) > MAX_WORDS && move_to_memory(g)) continue;
    int64_t most = g->e.stage->out_count > 1 ? MAX_WORDS - 40 : g->options->is_double ? MAX_WORDS - 16 : MAX_WORDS;
    g->blocks = all_words(g) > most ? 3 : 4;
    l->slots = g->register_sums ? 0 : g->e.stage->sum_count;
    for (int k = 0; k < g->e.stage->nfold; k++) lay_out(g, k);
}
