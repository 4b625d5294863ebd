/* emit_gpu_fold.c: the states of reductions in a kernel for graphics processors.
 *
 * Sums run in blocks, a tile of columns in R, and are added up in A. Names, all arrays over the rows of a thread: s3, t3
 * (z3) block and total (correction) of sum number 3; o2 what the pairs give the folds, component 2; b2, i2 the best value
 * of component 2 and its place, or the K smallest; b2 also a product or a total; of a log-sum-exp, fold 1: m1 the
 * maximum, e1 the exponentials of the block of pairs, ls1_0 and lt1_0 block and total of sum 0 (1 and more: weights).
 * States that no constant number of registers holds stand in memory: `value`, `index`, and blocks in `scratch`. Places
 * are counted from the first column of the chunk while they are in registers. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
#define L(x) ((long long)(x))
enum { MAX_SUMS = 96, MAX_LIST = 32, MAX_WEIGHTS = 16, MAX_COMPONENTS = 16 }; /* in registers, rows times ... */
enum { MAX_WORDS = 104, WORDS_OF_SKELETON = 34 };                             /* of the 128 registers of a thread */

static const bbi_fold *fold_of(const bbi_gpu *g, int k) { return &g->e.stage->fold[k]; }

static bool is_extreme(const bbi_fold *f) { return f->family == BBI_FAMILY_MIN || f->family == BBI_FAMILY_MAX; }

static bool is_less(const bbi_fold *f) { return f->family != BBI_FAMILY_MAX; }

static bool is_direct(const bbi_gpu *g) { return g->options->scheme == 2; }

static bool has_low(const bbi_gpu *g) { return g->options->scheme == 1; }

/* The fold that takes component `c` of the out area. */
static int fold_at(const bbi_gpu *g, int64_t c) {
    for (int k = 0; k < g->e.stage->nfold; k++) {
        const bbi_fold *f = fold_of(g, k);
        int64_t count = f->dim + f->weight_dim;
        if (f->out_first >= 0 && c >= f->out_first && c < f->out_first + count) return k;
    }
    return 0;
}

static int fold_of_out(const bbi_gpu *g, const bbi_instruction *s) {
    return fold_at(g, bbi_gpu_component(g, s->index));
}

static bool is_exponent(const bbi_gpu *g, int k, int64_t c) {
    return fold_of(g, k)->family == BBI_FAMILY_LSE && c == fold_of(g, k)->out_first;
}

bool bbi_gpu_is_memory_sink(const bbi_gpu *g, const bbi_instruction *s) {
    if (s->kind == BBI_STEP_SUM) return !g->register_sums;
    if (s->kind != BBI_STEP_OUT) return false;
    int k = fold_of_out(g, s);
    return g->in_memory[k] && !is_exponent(g, k, bbi_gpu_component(g, s->index));
}

/* ---- where states stand ---- */
static bool is_too_large(const bbi_gpu *g, const bbi_fold *f) {
    int64_t rows = g->layout->rows;
    if (f->family == BBI_FAMILY_KMIN) return f->k * f->dim * rows > MAX_LIST;
    if (f->family == BBI_FAMILY_LSE) return f->weight_dim * rows > MAX_WEIGHTS * 2;
    return f->out_first >= 0 && f->dim * rows > 2 * MAX_COMPONENTS;
}

static void lay_out(bbi_gpu *g, int k) {
    const bbi_fold *f = fold_of(g, k);
    bbi_gpu_layout *l = g->layout;
    l->value_first[k] = l->values;
    l->index_first[k] = l->indices;
    l->low[k] = f->family == BBI_FAMILY_SUM && has_low(g);
    switch (f->family) {
    case BBI_FAMILY_SUM: l->values += f->dim * (l->low[k] ? 2 : 1); break;
    case BBI_FAMILY_KMIN:
        l->values += f->k * f->dim;
        l->indices += f->k * f->dim;
        break;
    case BBI_FAMILY_LSE: l->values += 2 + f->weight_dim; break;
    default:
        l->values += f->dim;
        if (is_extreme(f) && f->want_index) l->indices += f->dim;
    }
    g->slot_first[k] = l->slots;
    if (f->family == BBI_FAMILY_LSE && g->in_memory[k]) l->slots += f->weight_dim;
}

static void place_states(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    g->register_sums = stage->sum_count * g->layout->rows * (has_low(g) ? 3 : 2) <= MAX_SUMS;
    for (int k = 0; k < stage->nfold; k++) g->in_memory[k] = is_too_large(g, fold_of(g, k));
    for (int32_t n = 0; n < g->e.code->count; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if ((s->kind != BBI_STEP_SUM && s->kind != BBI_STEP_OUT) || bbi_gpu_is_const(g, s->index)) continue;
        if (s->kind == BBI_STEP_SUM)
            g->register_sums = false;
        else
            g->in_memory[fold_of_out(g, s)] = true;
    }
}

/* ---- registers that a thread needs: a guess that the disassembly has been compared with ---- */
static int64_t real_words(const bbi_gpu *g) { return g->options->is_double ? 2 : 1; }

static int64_t total_words(const bbi_gpu *g) {
    return (g->options->is_double || g->options->wide ? 2 : 1) * (is_direct(g) ? 0 : has_low(g) ? 2 : 1);
}

/* Of fold k, with what the pairs of a block give it. */
static int64_t fold_words(const bbi_gpu *g, int k) {
    const bbi_fold *f = fold_of(g, k);
    int64_t rows = g->layout->rows, block = rows * g->layout->casts * real_words(g), word = real_words(g);
    bool weights = f->family == BBI_FAMILY_LSE && f->weight_dim > 0;
    if (f->out_first < 0) return 0;
    if (g->in_memory[k])
        return f->family == BBI_FAMILY_LSE    ? rows * (2 * word + total_words(g)) + block * (1 + weights)
               : f->family == BBI_FAMILY_KMIN ? (word + 8) * (f->dim < 8 ? f->dim : 1)
                                              : (word + 4) * (f->dim < 8 ? f->dim : 1);
    switch (f->family) {
    case BBI_FAMILY_KMIN: return f->dim * (block + rows * f->k * (word + 1));
    case BBI_FAMILY_LSE:
        return rows * (word + (1 + f->weight_dim) * (word + total_words(g))) + block * (1 + weights + f->weight_dim);
    case BBI_FAMILY_SUM: return f->dim * (block + rows * (total_words(g) + word));
    default: return f->dim * (block + rows * (word + (is_extreme(f) && f->want_index)));
    }
}

static int64_t sum_words(const bbi_gpu *g) {
    return g->register_sums ? g->e.stage->sum_count * g->layout->rows * (real_words(g) + total_words(g)) : 0;
}

static int64_t all_words(const bbi_gpu *g) {
    const bbi_gpu_layout *l = g->layout;
    int64_t columns = g->e.stage->column_count < 4 ? g->e.stage->column_count : 4, words = WORDS_OF_SKELETON;
    int64_t held = bbi_gpu_held_rows(g), crossing = 0;
    for (int32_t v = 0; v < g->e.code->value_count; v++) crossing += g->crosses[v];
    words += 2 * l->rows + real_words(g) * (held + columns * l->casts + crossing * l->rows * l->casts);
    for (int k = 0; k < g->e.stage->nfold; k++) words += fold_words(g, k);
    return words + sum_words(g);
}

/* What takes the most moves to memory; false: there is nothing left. */
static bool move_to_memory(bbi_gpu *g) {
    int64_t most = sum_words(g), words;
    int which = -1;
    for (int k = 0; k < g->e.stage->nfold; k++) {
        if (g->in_memory[k] || fold_of(g, k)->family == BBI_FAMILY_LSE) continue; /* its weights follow its exponent */
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

/* Rows, casts and places of states for which registers suffice. */
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
    l->slots = g->register_sums ? 0 : g->e.stage->sum_count;
    for (int k = 0; k < g->e.stage->nfold; k++) lay_out(g, k);
}

/* ---- beginning ---- */
static void declare(const bbi_gpu *g, const char *type, const char *name, int64_t c, const char *value) {
    LINE("%s %s%lld[BB_ROWS];", type, name, L(c));
    LINE("BB_EACH(r, BB_ROWS) %s%lld[r] = %s;", name, L(c), value);
}

static const char *worst(const bbi_fold *f) { return is_less(f) ? "BB_INF" : "-BB_INF"; }

static void fill(const bbi_gpu *g, const char *macro, int64_t first, int64_t count, const char *value) {
    if (count > 0)
        LINE("BB_ROLLED for (int c = 0; c < %lld; c++) BB_EACH(r, BB_ROWS) %s(%lld + c, r) = %s;", L(count), macro,
             L(first), value);
}

static void begin_memory(const bbi_gpu *g, int k) {
    const bbi_fold *f = fold_of(g, k);
    const bbi_gpu_layout *l = g->layout;
    if (f->family == BBI_FAMILY_LSE) {
        fill(g, "BB_VALUE", l->value_first[k] + 2, f->weight_dim, "0");
        fill(g, "BB_SLOT", g->slot_first[k], f->weight_dim, "0");
    } else if (f->family == BBI_FAMILY_SUM) {
        fill(g, "BB_VALUE", l->value_first[k], f->dim * (l->low[k] ? 2 : 1), "0");
        if (f->sum_first >= 0) fill(g, "BB_SLOT", f->sum_first, f->dim, "0");
    } else {
        bool list = f->family == BBI_FAMILY_KMIN;
        int64_t count = list ? f->k * f->dim : f->dim;
        fill(g, "BB_VALUE", l->value_first[k], count, f->family == BBI_FAMILY_PROD ? "1" : worst(f));
        if (list || f->want_index) fill(g, "BB_INDEX", l->index_first[k], count, "-1");
    }
}

static void begin_list(const bbi_gpu *g, const bbi_fold *f, int64_t c) {
    LINE("V b%lld[BB_ROWS][%lld];", L(c), L(f->k));
    LINE("int i%lld[BB_ROWS][%lld];", L(c), L(f->k));
    LINE("BB_EACH(r, BB_ROWS) BB_EACH(k, %lld) b%lld[r][k] = BB_INF, i%lld[r][k] = -1;", L(f->k), L(c), L(c));
}

static void begin_exponentials(const bbi_gpu *g, int k) {
    const bbi_fold *f = fold_of(g, k);
    declare(g, "V", "m", k, "-BB_INF");
    for (int64_t n = 0; n <= (g->in_memory[k] ? 0 : f->weight_dim); n++) {
        LINE("V ls%d_%lld[BB_ROWS];", k, L(n));
        LINE("A lt%d_%lld[BB_ROWS];", k, L(n));
        LINE("BB_EACH(r, BB_ROWS) ls%d_%lld[r] = 0, lt%d_%lld[r] = 0;", k, L(n), k, L(n));
    }
}

void bbi_gpu_begin_states(const bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    for (int64_t c = 0; g->register_sums && c < stage->sum_count; c++) {
        declare(g, "V", "s", c, "0");
        if (is_direct(g)) continue;
        declare(g, "A", "t", c, "0");
        if (has_low(g)) declare(g, "A", "z", c, "0");
    }
    for (int k = 0; k < stage->nfold; k++) {
        const bbi_fold *f = fold_of(g, k);
        bool sums = f->family == BBI_FAMILY_SUM && f->sum_first >= 0;
        if (f->family == BBI_FAMILY_LSE) begin_exponentials(g, k);
        if (sums ? !g->register_sums : g->in_memory[k]) begin_memory(g, k);
        if (sums || g->in_memory[k] || f->family == BBI_FAMILY_LSE) continue;
        for (int64_t c = f->out_first; c < f->out_first + f->dim; c++) {
            if (f->family == BBI_FAMILY_KMIN) {
                begin_list(g, f, c);
            } else if (f->family == BBI_FAMILY_SUM) {
                declare(g, "A", "b", c, "0");
                if (has_low(g)) declare(g, "A", "z_b", c, "0");
            } else {
                declare(g, "V", "b", c, f->family == BBI_FAMILY_PROD ? "1" : worst(f));
                if (is_extreme(f) && f->want_index) declare(g, "int", "i", c, "-1");
            }
        }
    }
}

void bbi_gpu_declare_outs(const bbi_gpu *g) {
    for (int32_t n = 0; n < g->e.code->count; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if (s->kind != BBI_STEP_OUT || bbi_gpu_is_memory_sink(g, s)) continue;
        LINE("V o%lld[BB_ROWS][%d];", L(bbi_gpu_component(g, s->index)), g->casts);
    }
    for (int k = 0; k < g->e.stage->nfold; k++)
        if (fold_of(g, k)->family == BBI_FAMILY_LSE && fold_of(g, k)->weight_dim)
            LINE("V e%d[BB_ROWS][%d];", k, g->casts);
}

/* ---- folds of a block of pairs, in registers ---- */
static void step_extreme(const bbi_gpu *g, const bbi_fold *f, int64_t c) {
    const char *most = is_less(f) ? "fmin" : "fmax", *better = is_less(f) ? "<" : ">";
    if (!f->want_index) {
        LINE("%sBB_EACH(u, %d) b%lld[r] = %s(o%lld[r][u], b%lld[r]);", g->fast ? "" : "BB_EACH(r, BB_ROWS) ", g->casts,
             L(c), most, L(c), L(c));
        return;
    }
    LINE(g->fast ? "{" : "BB_EACH(r, BB_ROWS) {");
    LINE("    V best = o%lld[r][0];", L(c));
    if (g->casts > 1) LINE("    BB_EACH(u, %d) best = %s(o%lld[r][u], best);", g->casts, most, L(c));
    LINE("    if (best %s b%lld[r] || i%lld[r] < 0) BB_EACH(u, %d) {", better, L(c), L(c), g->casts);
    LINE("        const V x = o%lld[r][u];", L(c));
    LINE("        if (x %s b%lld[r] || (i%lld[r] < 0 && x == x)) b%lld[r] = x, i%lld[r] = t + q + u;", better, L(c),
         L(c), L(c), L(c));
    LINE("    }");
    LINE("}");
}

static void step_list(const bbi_gpu *g, const bbi_fold *f, int64_t c) {
    long long k = f->k, n = c;
    LINE("%sBB_EACH(u, %d) {", g->fast ? "" : "BB_EACH(r, BB_ROWS) ", g->casts);
    LINE("    const V x = o%lld[r][u];", n);
    LINE("    if (x < b%lld[r][%lld] || (i%lld[r][%lld] < 0 && x == x)) {", n, k - 1, n, k - 1);
    LINE("        BB_UNROLL for (int k = %lld; k > 0; k--) {", k - 1);
    LINE("            const VM up = i%lld[r][k - 1] < 0 || x < b%lld[r][k - 1];", n, n);
    LINE("            const VM here = i%lld[r][k] < 0 || x < b%lld[r][k];", n, n);
    LINE("            b%lld[r][k] = up ? b%lld[r][k - 1] : here ? x : b%lld[r][k];", n, n, n);
    LINE("            i%lld[r][k] = up ? i%lld[r][k - 1] : here ? t + q + u : i%lld[r][k];", n, n, n);
    LINE("        }");
    LINE("        if (i%lld[r][0] < 0 || x < b%lld[r][0]) b%lld[r][0] = x, i%lld[r][0] = t + q + u;", n, n, n, n);
    LINE("    }");
    LINE("}");
}

/* One rescaling where the maximum grows; where it is -infinity all exponentials are 0, where it is +infinity the values
 * that reach it count 1 each (see lse_tile in fold_isa.c). */
static void step_exponent(const bbi_gpu *g, int k, int64_t c) {
    const bbi_fold *f = fold_of(g, k);
    bool memory = g->in_memory[k];
    LINE("BB_EACH(r, BB_ROWS) {");
    LINE("    V top = m%d[r];", k);
    LINE("    BB_EACH(u, %d) top = fmax(o%lld[r][u], top);", g->casts, L(c));
    LINE("    if (top > m%d[r]) {", k);
    LINE("        const V scale = v_expk(m%d[r] - top, BB_LOG2E);", k);
    for (int64_t n = 0; n <= (memory ? 0 : f->weight_dim); n++)
        LINE("        ls%d_%lld[r] *= scale, lt%d_%lld[r] *= scale;", k, L(n), k, L(n));
    if (memory)
        LINE("        for (int c = 0; c < %lld; c++) BB_SLOT(%lld + c, r) *= scale, BB_VALUE(%lld + c, r) *= scale;",
             L(f->weight_dim), L(g->slot_first[k]), L(g->layout->value_first[k] + 2));
    LINE("        m%d[r] = top;", k);
    LINE("    }");
    LINE("    const V base = top == -BB_INF ? K(0) : top;");
    LINE("    BB_EACH(u, %d) {", g->casts);
    LINE("        const V x = o%lld[r][u], e = top == BB_INF && x == top ? K(1) : v_expk(x - base, BB_LOG2E);", L(c));
    LINE("        ls%d_0[r] += e;", k);
    if (f->weight_dim) LINE("        e%d[r][u] = e;", k);
    LINE("    }");
    LINE("}");
}

static void step_out(const bbi_gpu *g, const bbi_instruction *s) {
    int64_t c = bbi_gpu_component(g, s->index);
    int k = fold_of_out(g, s);
    const bbi_fold *f = fold_of(g, k);
    if (is_exponent(g, k, c)) {
        step_exponent(g, k, c);
    } else if (f->family == BBI_FAMILY_LSE) {
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) ls%d_%lld[r] = v_fma(e%d[r][u], o%lld[r][u], ls%d_%lld[r]);", g->casts,
             k, L(c - f->out_first), k, L(c), k, L(c - f->out_first));
    } else if (is_extreme(f)) {
        step_extreme(g, f, c);
    } else if (f->family == BBI_FAMILY_KMIN) {
        step_list(g, f, c);
    } else if (f->family == BBI_FAMILY_SUM && has_low(g)) {
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) BB_TWO_SUM(b%lld[r], z_b%lld[r], (A)o%lld[r][u]);", g->casts, L(c),
             L(c), L(c));
    } else {
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) b%lld[r] %s o%lld[r][u];", g->casts, L(c),
             f->family == BBI_FAMILY_SUM ? "+=" : "*=", L(c));
    }
}

void bbi_gpu_fold_row(const bbi_gpu *g) {
    const bbi_fold *f = fold_of(g, 0);
    if (f->family == BBI_FAMILY_KMIN)
        step_list(g, f, 0);
    else
        step_extreme(g, f, 0);
}

/* An exponent before its weights, whatever the order of the code. */
void bbi_gpu_fold_segment(const bbi_gpu *g, int32_t first, int32_t last) {
    for (int pass = 0; pass < 2; pass++)
        for (int32_t n = first; n < last; n++) {
            const bbi_instruction *s = &g->e.code->instruction[n];
            if (s->kind != BBI_STEP_OUT || bbi_gpu_is_memory_sink(g, s)) continue;
            bool exponent = is_exponent(g, fold_of_out(g, s), bbi_gpu_component(g, s->index));
            if (exponent == (pass == 0)) step_out(g, s);
        }
}

/* ---- states in memory ---- */
/* macro(first + component of the fold, r) */
static void print_place(const bbi_gpu *g, const char *macro, const bbi_instruction *s, int64_t first) {
    bbi_text_add(g->e.text, "%s(", macro);
    bbi_emit_index(&g->e, s->index, 0);
    bbi_text_add(g->e.text, " + %lld, r)", L(first));
}

static void print_move(const bbi_gpu *g, const char *before, const char *macro, const bbi_instruction *s, int64_t first,
                       const char *behind) {
    bbi_text_add(g->e.text, "%*s%s", 4 * g->e.indent, "", before);
    print_place(g, macro, s, first);
    bbi_text_add(g->e.text, "%s\n", behind);
}

/* Relative to the out area's component: where values, indices, slots of a fold begin. */
static int64_t value_base(const bbi_gpu *g, int k) { return g->layout->value_first[k] - fold_of(g, k)->out_first; }

static int64_t index_base(const bbi_gpu *g, int k) { return g->layout->index_first[k] - fold_of(g, k)->out_first; }

static void move_state(const bbi_gpu *g, const bbi_instruction *s, bool store) {
    int k = fold_of_out(g, s);
    const bbi_fold *f = fold_of(g, k);
    char name[48], behind[48];
    int n = (int)s->index;
    snprintf(behind, sizeof behind, " = w%d;", n);
    if (f->family == BBI_FAMILY_LSE) {
        snprintf(name, sizeof name, "V w%d = ", n);
        print_move(g, store ? "" : name, "BB_SLOT", s, g->slot_first[k] - f->out_first - 1, store ? behind : ";");
        return;
    }
    bool sum = f->family == BBI_FAMILY_SUM;
    snprintf(name, sizeof name, "%s w%d = ", sum ? "A" : "V", n);
    print_move(g, store ? "" : name, "BB_VALUE", s, value_base(g, k), store ? behind : ";");
    snprintf(name, sizeof name, sum ? "A z_w%d = " : "I64 v%d = ", n);
    snprintf(behind, sizeof behind, sum ? " = z_w%d;" : " = v%d;", n);
    if (sum && has_low(g))
        print_move(g, store ? "" : name, "BB_VALUE", s, value_base(g, k) + f->dim, store ? behind : ";");
    if (is_extreme(f) && f->want_index)
        print_move(g, store ? "" : name, "BB_INDEX", s, index_base(g, k), store ? behind : ";");
}

/* The last of K entries: NaN where it is not there. */
static void load_limit(const bbi_gpu *g, const bbi_instruction *s, const char *before) {
    int k = fold_of_out(g, s);
    const bbi_fold *f = fold_of(g, k);
    bbi_text_add(g->e.text, "%*s%sw%d = ", 4 * g->e.indent, "", before, (int)s->index);
    print_place(g, "BB_INDEX", s, index_base(g, k) + (f->k - 1) * f->dim);
    bbi_text_add(g->e.text, " < 0 ? BB_NAN : (V)");
    print_place(g, "BB_VALUE", s, value_base(g, k) + (f->k - 1) * f->dim);
    bbi_text_add(g->e.text, ";\n");
}

void bbi_gpu_memory_open(const bbi_gpu *g, const bbi_instruction *s) {
    if (fold_of(g, fold_of_out(g, s))->family == BBI_FAMILY_KMIN)
        load_limit(g, s, "V ");
    else
        move_state(g, s, false);
}

void bbi_gpu_memory_close(const bbi_gpu *g, const bbi_instruction *s) {
    if (fold_of(g, fold_of_out(g, s))->family != BBI_FAMILY_KMIN) move_state(g, s, true);
}

void bbi_gpu_memory_step(const bbi_gpu *g, const bbi_instruction *s) {
    int k = fold_of_out(g, s), n = (int)s->index;
    const bbi_fold *f = fold_of(g, k);
    bbi_text_add(g->e.text, "%*sconst V x_%d = ", 4 * g->e.indent, "", n);
    bbi_gpu_operand(g, &s->arg[0]);
    bbi_text_add(g->e.text, ";\n");
    if (f->family == BBI_FAMILY_LSE) {
        LINE("w%d = v_fma(e%d[r][u], x_%d, w%d);", n, k, n, n);
    } else if (is_extreme(f) && f->want_index) {
        LINE("if (x_%d %s w%d || (v%d < 0 && x_%d == x_%d)) w%d = x_%d, v%d = begin + (t + q + u);", n,
             is_less(f) ? "<" : ">", n, n, n, n, n, n, n);
    } else if (is_extreme(f)) {
        LINE("w%d = %s(x_%d, w%d);", n, is_less(f) ? "fmin" : "fmax", n, n);
    } else if (f->family == BBI_FAMILY_KMIN) {
        LINE("if (!(x_%d >= w%d) && x_%d == x_%d) {", n, n, n, n);
        bbi_text_add(g->e.text, "%*sbb_insert(&", 4 * g->e.indent + 4, "");
        print_place(g, "BB_VALUE", s, value_base(g, k));
        bbi_text_add(g->e.text, ", &");
        print_place(g, "BB_INDEX", s, index_base(g, k));
        bbi_text_add(g->e.text, ", total * %lld, %lld, x_%d, begin + (t + q + u));\n", L(f->dim), L(f->k), n);
        load_limit(g, s, "    ");
        LINE("}");
    } else if (f->family == BBI_FAMILY_SUM && has_low(g)) {
        LINE("BB_TWO_SUM(w%d, z_w%d, (A)x_%d);", n, n, n);
    } else {
        LINE("w%d %s x_%d;", n, f->family == BBI_FAMILY_SUM ? "+=" : "*=", n);
    }
}

/* ---- the end of a tile, and of the columns ---- */
static void flush_memory(const bbi_gpu *g, int64_t slot, int64_t value, int64_t count, int64_t low) {
    if (count <= 0) return;
    LINE("BB_ROLLED for (int c = 0; c < %lld; c++) BB_EACH(r, BB_ROWS) {", L(count));
    if (low > 0) {
        LINE("    A high = BB_VALUE(%lld + c, r), low = BB_VALUE(%lld + c, r);", L(value), L(value + low));
        LINE("    BB_TWO_SUM(high, low, (A)BB_SLOT(%lld + c, r));", L(slot));
        LINE("    BB_VALUE(%lld + c, r) = high, BB_VALUE(%lld + c, r) = low;", L(value), L(value + low));
    } else {
        LINE("    BB_VALUE(%lld + c, r) += BB_SLOT(%lld + c, r);", L(value), L(slot));
    }
    LINE("    BB_SLOT(%lld + c, r) = 0;", L(slot));
    LINE("}");
}

void bbi_gpu_flush(const bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    for (int64_t c = 0; g->register_sums && !is_direct(g) && c < stage->sum_count; c++) {
        if (has_low(g))
            LINE("BB_EACH(r, BB_ROWS) BB_TWO_SUM(t%lld[r], z%lld[r], (A)s%lld[r]);", L(c), L(c), L(c));
        else
            LINE("BB_EACH(r, BB_ROWS) t%lld[r] += s%lld[r];", L(c), L(c));
        LINE("BB_EACH(r, BB_ROWS) s%lld[r] = 0;", L(c));
    }
    for (int k = 0; k < stage->nfold; k++) {
        const bbi_fold *f = fold_of(g, k);
        int64_t first = g->layout->value_first[k];
        if (f->family == BBI_FAMILY_SUM && f->sum_first >= 0 && !g->register_sums && !is_direct(g))
            flush_memory(g, f->sum_first, first, f->dim, g->layout->low[k] ? f->dim : 0);
        if (f->family != BBI_FAMILY_LSE) continue;
        for (int64_t n = 0; n <= (g->in_memory[k] ? 0 : f->weight_dim); n++)
            LINE("BB_EACH(r, BB_ROWS) lt%d_%lld[r] += ls%d_%lld[r], ls%d_%lld[r] = 0;", k, L(n), k, L(n), k, L(n));
        if (g->in_memory[k]) flush_memory(g, g->slot_first[k], first + 2, f->weight_dim, 0);
    }
}

static void store(const bbi_gpu *g, int64_t place, const char *format, ...) {
    va_list arguments;
    bbi_text_add(g->e.text, "%*sBB_EACH(r, BB_ROWS) BB_VALUE(%lld, r) = (A)", 4 * g->e.indent, "", L(place));
    va_start(arguments, format);
    bbi_text_vadd(g->e.text, format, arguments);
    va_end(arguments);
    bbi_text_add(g->e.text, ";\n");
}

static void end_sum(const bbi_gpu *g, int k) {
    const bbi_fold *f = fold_of(g, k);
    int64_t first = g->layout->value_first[k];
    if (!g->register_sums) {
        if (is_direct(g)) flush_memory(g, f->sum_first, first, f->dim, 0);
        return;
    }
    for (int64_t c = 0; c < f->dim; c++) {
        store(g, first + c, is_direct(g) ? "s%lld[r]" : "t%lld[r]", L(f->sum_first + c));
        if (has_low(g)) store(g, first + f->dim + c, "z%lld[r]", L(f->sum_first + c));
    }
}

static void end_out(const bbi_gpu *g, int k) {
    const bbi_fold *f = fold_of(g, k);
    int64_t first = g->layout->value_first[k], index = g->layout->index_first[k];
    for (int64_t c = 0; c < f->dim; c++) {
        long long n = f->out_first + c;
        if (f->family == BBI_FAMILY_KMIN) {
            LINE("BB_EACH(r, BB_ROWS) BB_EACH(k, %lld) {", L(f->k));
            LINE("    BB_VALUE(%lld + k * %lld, r) = (A)b%lld[r][k];", L(first + c), L(f->dim), n);
            LINE("    BB_INDEX(%lld + k * %lld, r) = i%lld[r][k] < 0 ? -1 : begin + i%lld[r][k];", L(index + c),
                 L(f->dim), n, n);
            LINE("}");
            continue;
        }
        store(g, first + c, "b%lld[r]", n);
        if (f->family == BBI_FAMILY_SUM && has_low(g)) store(g, first + f->dim + c, "z_b%lld[r]", n);
        if (is_extreme(f) && f->want_index)
            LINE("BB_EACH(r, BB_ROWS) BB_INDEX(%lld, r) = i%lld[r] < 0 ? -1 : begin + i%lld[r];", L(index + c), n, n);
    }
}

void bbi_gpu_end_states(const bbi_gpu *g) {
    for (int k = 0; k < g->e.stage->nfold; k++) {
        const bbi_fold *f = fold_of(g, k);
        if (f->family == BBI_FAMILY_LSE) {
            int64_t first = g->layout->value_first[k];
            store(g, first, "m%d[r]", k);
            for (int64_t n = 0; n <= (g->in_memory[k] ? 0 : f->weight_dim); n++)
                store(g, first + 1 + n, "lt%d_%lld[r]", k, L(n));
        } else if (f->sum_first >= 0) {
            end_sum(g, k);
        } else if (!g->in_memory[k]) {
            end_out(g, k);
        }
    }
}
