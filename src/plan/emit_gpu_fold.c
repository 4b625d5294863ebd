/* emit_gpu_fold.c: the states of reductions in a kernel for graphics processors.
 *
 * Sums run in blocks, a tile of columns in R, and are added up in A. Names, all arrays over the rows of a thread: s3, t3
 * (z3) block and total (correction) of sum number 3; o2 what the pairs give the folds, component 2; b2, i2 the best value
 * of component 2 and its place, or the K smallest; b2 also a product or a total; of a log-sum-exp, fold 1: m1 the
 * maximum, lm1 what it takes from an exponent, e1 the exponentials of the block of pairs, ls1_0 and lt1_0 block and total
 * of sum 0 (1 and more: weights). States that no constant number of registers holds stand in memory: `value`, `index`,
 * and blocks in `scratch`. Places are counted from the first column of the chunk while they are in registers. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
#define L(x) ((long long)(x))

/* ---- beginning ---- */
static void declare(const bbi_gpu *g, const char *type, const char *name, int64_t c, const char *value) {
    LINE("%s %s%lld[BB_ROWS];", type, name, L(c));
    LINE("BB_EACH(r, BB_ROWS) %s%lld[r] = %s;", name, L(c), value);
}

static const char *worst(const bbi_fold *f) { return bbi_gpu_is_less(f) ? "BB_INF" : "-BB_INF"; }

static void fill(const bbi_gpu *g, const char *macro, int64_t first, int64_t count, const char *value) {
    if (count > 0)
        LINE("BB_ROLLED for (int c = 0; c < %lld; c++) BB_EACH(r, BB_ROWS) %s(%lld + c, r) = %s;", L(count), macro,
             L(first), value);
}

static void begin_limits(const bbi_gpu *g, int k) {
    for (int32_t n = 0; n < g->e.code->count; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if (s->kind == BBI_STEP_OUT && bbi_gpu_is_const(g, s->index) && bbi_gpu_fold_of_out(g, s) == k)
            declare(g, "V", "b", bbi_gpu_component(g, s->index), "BB_NAN");
    }
}

static void begin_memory(const bbi_gpu *g, int k) {
    const bbi_fold *f = bbi_gpu_fold(g, k);
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
        if (list) begin_limits(g, k);
    }
}

static void begin_list(const bbi_gpu *g, const bbi_fold *f, int64_t c) {
    LINE("V b%lld[BB_ROWS][%lld];", L(c), L(f->k));
    LINE("int i%lld[BB_ROWS][%lld];", L(c), L(f->k));
    LINE("BB_EACH(r, BB_ROWS) BB_EACH(k, %lld) b%lld[r][k] = BB_INF, i%lld[r][k] = -1;", L(f->k), L(c), L(c));
}

static void begin_exponentials(const bbi_gpu *g, int k) {
    const bbi_fold *f = bbi_gpu_fold(g, k);
    declare(g, "V", "m", k, "-BB_INF");
    declare(g, "V", "lm", k, "0");
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
        if (bbi_gpu_is_direct(g)) continue;
        declare(g, "A", "t", c, "0");
        if (bbi_gpu_has_low(g)) declare(g, "A", "z", c, "0");
    }
    for (int k = 0; k < stage->nfold; k++) {
        const bbi_fold *f = bbi_gpu_fold(g, k);
        bool sums = f->family == BBI_FAMILY_SUM && f->sum_first >= 0;
        if (f->family == BBI_FAMILY_LSE) begin_exponentials(g, k);
        if (f->family == BBI_FAMILY_USER) {
            bbi_gpu_begin_user(g, k);
            continue;
        }
        if (sums ? !g->register_sums : g->in_memory[k]) begin_memory(g, k);
        if (sums || g->in_memory[k] || f->family == BBI_FAMILY_LSE) continue;
        for (int64_t c = f->out_first; c < f->out_first + f->dim; c++) {
            if (f->family == BBI_FAMILY_KMIN) {
                begin_list(g, f, c);
            } else if (f->family == BBI_FAMILY_SUM) {
                declare(g, "A", "b", c, "0");
                if (bbi_gpu_has_low(g)) declare(g, "A", "z_b", c, "0");
            } else {
                declare(g, "V", "b", c, f->family == BBI_FAMILY_PROD ? "1" : worst(f));
                if (bbi_gpu_is_extreme(f) && f->want_index) declare(g, "int", "i", c, "-1");
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
        if (bbi_gpu_fold(g, k)->family == BBI_FAMILY_LSE && bbi_gpu_fold(g, k)->weight_dim)
            LINE("V e%d[BB_ROWS][%d];", k, g->casts);
}

/* ---- folds of a block of pairs, in registers ---- */
/* In front of a fold of the block: the loop over the rows, but where a selected distance is folded for one row. */
static const char *each_row(const bbi_gpu *g) {
    return g->fast && !g->distance.scale ? "" : "BB_EACH(r, BB_ROWS) ";
}

static void step_extreme(const bbi_gpu *g, const bbi_fold *f, int64_t c) {
    const char *most = bbi_gpu_is_less(f) ? "fmin" : "fmax", *better = bbi_gpu_is_less(f) ? "<" : ">";
    if (!f->want_index) {
        LINE("%sBB_EACH(u, %d) b%lld[r] = %s(o%lld[r][u], b%lld[r]);", each_row(g), g->casts,
             L(c), most, L(c), L(c));
        return;
    }
    LINE("%s{", each_row(g));
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
    LINE("%sBB_EACH(u, %d) {", each_row(g), g->casts);
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

/* One rescaling where the maximum m grows. Exponentials are of x log2(e) + lm, one fused operation, where lm = -m log2(e)
 * but for its rounding, which BB_DRIFT gives and all sums share. Where m is so large that this would be more than a few
 * bits, x becomes x - m and lm 0. Where m is -infinity all exponentials are 0, where it is +infinity the values that
 * reach it count 1 each (see lse_tile in fold_isa.c). */
static void step_exponent(const bbi_gpu *g, int k, int64_t c) {
    const bbi_fold *f = bbi_gpu_fold(g, k);
    bool memory = g->in_memory[k];
    LINE("BB_EACH(r, BB_ROWS) {");
    LINE("    V top = m%d[r];", k);
    LINE("    BB_EACH(u, %d) top = fmax(o%lld[r][u], top);", g->casts, L(c));
    LINE("    if (top > m%d[r] || fabs(m%d[r]) > BB_LARGE) {", k, k);
    LINE("        const V lm = fabs(top) > BB_LARGE ? K(0) : top * -BB_LOG2E;");
    LINE("        const V drift = BB_DRIFT(top, lm) - BB_DRIFT(m%d[r], lm%d[r]);", k, k);
    LINE("        const V scale = top > m%d[r] ? bb_expk((m%d[r] - top) * BB_LOG2E + drift) : K(1);", k, k);
    LINE("        const V base = top == -BB_INF ? K(0) : top;");
    for (int64_t n = 0; n <= (memory ? 0 : f->weight_dim); n++)
        LINE("        ls%d_%lld[r] *= scale, lt%d_%lld[r] *= scale;", k, L(n), k, L(n));
    if (memory)
        LINE("        for (int c = 0; c < %lld; c++) BB_SLOT(%lld + c, r) *= scale, BB_VALUE(%lld + c, r) *= scale;",
             L(f->weight_dim), L(g->slot_first[k]), L(g->layout->value_first[k] + 2));
    LINE("        m%d[r] = top, lm%d[r] = lm;", k, k);
    LINE("        if (fabs(top) > BB_LARGE)");
    LINE("            BB_EACH(u, %d) o%lld[r][u] = top == BB_INF && o%lld[r][u] == top ? K(0) : o%lld[r][u] - base;",
         g->casts, L(c), L(c), L(c));
    LINE("    }");
    LINE("    BB_EACH(u, %d) {", g->casts);
    LINE("        const V e = bb_expk(v_fma(o%lld[r][u], BB_LOG2E, lm%d[r]));", L(c), k);
    LINE("        ls%d_0[r] += e;", k);
    if (f->weight_dim) LINE("        e%d[r][u] = e;", k);
    LINE("    }");
    LINE("}");
}

static void step_out(const bbi_gpu *g, const bbi_instruction *s) {
    int64_t c = bbi_gpu_component(g, s->index);
    int k = bbi_gpu_fold_of_out(g, s);
    const bbi_fold *f = bbi_gpu_fold(g, k);
    if (bbi_gpu_is_exponent(g, k, c)) {
        step_exponent(g, k, c);
    } else if (f->family == BBI_FAMILY_LSE) {
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) ls%d_%lld[r] = v_fma(e%d[r][u], o%lld[r][u], ls%d_%lld[r]);", g->casts,
             k, L(c - f->out_first), k, L(c), k, L(c - f->out_first));
    } else if (bbi_gpu_is_extreme(f)) {
        step_extreme(g, f, c);
    } else if (f->family == BBI_FAMILY_KMIN) {
        step_list(g, f, c);
    } else if (f->family == BBI_FAMILY_SUM && bbi_gpu_has_low(g)) {
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) BB_TWO_SUM(b%lld[r], z_b%lld[r], (A)o%lld[r][u]);", g->casts, L(c),
             L(c), L(c));
    } else {
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) b%lld[r] %s o%lld[r][u];", g->casts, L(c),
             f->family == BBI_FAMILY_SUM ? "+=" : "*=", L(c));
    }
}

void bbi_gpu_fold_row(const bbi_gpu *g) {
    const bbi_fold *f = bbi_gpu_fold(g, 0);
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
            if (bbi_gpu_fold(g, bbi_gpu_fold_of_out(g, s))->family == BBI_FAMILY_USER) continue; /* behind the block */
            bool exponent = bbi_gpu_is_exponent(g, bbi_gpu_fold_of_out(g, s), bbi_gpu_component(g, s->index));
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
static int64_t value_base(const bbi_gpu *g, int k) { return g->layout->value_first[k] - bbi_gpu_fold(g, k)->out_first; }

static int64_t index_base(const bbi_gpu *g, int k) { return g->layout->index_first[k] - bbi_gpu_fold(g, k)->out_first; }

static void move_state(const bbi_gpu *g, const bbi_instruction *s, bool store) {
    int k = bbi_gpu_fold_of_out(g, s);
    const bbi_fold *f = bbi_gpu_fold(g, k);
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
    if (sum && bbi_gpu_has_low(g))
        print_move(g, store ? "" : name, "BB_VALUE", s, value_base(g, k) + f->dim, store ? behind : ";");
    if (bbi_gpu_is_extreme(f) && f->want_index)
        print_move(g, store ? "" : name, "BB_INDEX", s, index_base(g, k), store ? behind : ";");
}

/* The last of K entries, NaN where it is not there: in registers of the kernel where the component is constant. */
static void limit_name(const bbi_gpu *g, const bbi_instruction *s, char name[32]) {
    if (bbi_gpu_is_const(g, s->index))
        snprintf(name, 32, "b%lld[r]", L(bbi_gpu_component(g, s->index)));
    else
        snprintf(name, 32, "w%d", (int)s->index);
}

static void load_limit(const bbi_gpu *g, const bbi_instruction *s) {
    int k = bbi_gpu_fold_of_out(g, s);
    const bbi_fold *f = bbi_gpu_fold(g, k);
    if (bbi_gpu_is_const(g, s->index)) return;
    bbi_text_add(g->e.text, "%*sV w%d = ", 4 * g->e.indent, "", (int)s->index);
    print_place(g, "BB_INDEX", s, index_base(g, k) + (f->k - 1) * f->dim);
    bbi_text_add(g->e.text, " < 0 ? BB_NAN : (V)");
    print_place(g, "BB_VALUE", s, value_base(g, k) + (f->k - 1) * f->dim);
    bbi_text_add(g->e.text, ";\n");
}

static void insert(const bbi_gpu *g, const bbi_instruction *s) {
    int k = bbi_gpu_fold_of_out(g, s), n = (int)s->index;
    const bbi_fold *f = bbi_gpu_fold(g, k);
    char limit[32];
    limit_name(g, s, limit);
    bbi_text_add(g->e.text,
                 "%*sif (!(x_%d >= %s) && x_%d == x_%d) %s = bb_insert(value + r * tx, index + r * tx, total, ",
                 4 * g->e.indent, "", n, limit, n, n, limit);
    bbi_emit_index(&g->e, s->index, 0);
    bbi_text_add(g->e.text, " + %lld, ", L(value_base(g, k)));
    bbi_emit_index(&g->e, s->index, 0);
    bbi_text_add(g->e.text, " + %lld, %lld, %lld, x_%d, begin + (t + q + u));\n", L(index_base(g, k)), L(f->dim),
                 L(f->k), n);
}

void bbi_gpu_memory_open(const bbi_gpu *g, const bbi_instruction *s) {
    if (bbi_gpu_fold(g, bbi_gpu_fold_of_out(g, s))->family == BBI_FAMILY_KMIN)
        load_limit(g, s);
    else
        move_state(g, s, false);
}

void bbi_gpu_memory_close(const bbi_gpu *g, const bbi_instruction *s) {
    if (bbi_gpu_fold(g, bbi_gpu_fold_of_out(g, s))->family != BBI_FAMILY_KMIN) move_state(g, s, true);
}

void bbi_gpu_memory_step(const bbi_gpu *g, const bbi_instruction *s) {
    int k = bbi_gpu_fold_of_out(g, s), n = (int)s->index;
    const bbi_fold *f = bbi_gpu_fold(g, k);
    bbi_text_add(g->e.text, "%*sconst V x_%d = ", 4 * g->e.indent, "", n);
    bbi_gpu_operand(g, &s->arg[0]);
    bbi_text_add(g->e.text, ";\n");
    if (f->family == BBI_FAMILY_LSE) {
        LINE("w%d = v_fma(e%d[r][u], x_%d, w%d);", n, k, n, n);
    } else if (bbi_gpu_is_extreme(f) && f->want_index) {
        LINE("if (x_%d %s w%d || (v%d < 0 && x_%d == x_%d)) w%d = x_%d, v%d = begin + (t + q + u);", n,
             bbi_gpu_is_less(f) ? "<" : ">", n, n, n, n, n, n, n);
    } else if (bbi_gpu_is_extreme(f)) {
        LINE("w%d = %s(x_%d, w%d);", n, bbi_gpu_is_less(f) ? "fmin" : "fmax", n, n);
    } else if (f->family == BBI_FAMILY_KMIN) {
        insert(g, s);
    } else if (f->family == BBI_FAMILY_SUM && bbi_gpu_has_low(g)) {
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
    for (int64_t c = 0; g->register_sums && !bbi_gpu_is_direct(g) && c < stage->sum_count; c++) {
        if (bbi_gpu_has_low(g))
            LINE("BB_EACH(r, BB_ROWS) BB_TWO_SUM(t%lld[r], z%lld[r], (A)s%lld[r]);", L(c), L(c), L(c));
        else
            LINE("BB_EACH(r, BB_ROWS) t%lld[r] += s%lld[r];", L(c), L(c));
        LINE("BB_EACH(r, BB_ROWS) s%lld[r] = 0;", L(c));
    }
    for (int k = 0; k < stage->nfold; k++) {
        const bbi_fold *f = bbi_gpu_fold(g, k);
        int64_t first = g->layout->value_first[k];
        if (f->family == BBI_FAMILY_SUM && f->sum_first >= 0 && !g->register_sums && !bbi_gpu_is_direct(g))
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
    const bbi_fold *f = bbi_gpu_fold(g, k);
    int64_t first = g->layout->value_first[k];
    if (!g->register_sums) {
        if (bbi_gpu_is_direct(g)) flush_memory(g, f->sum_first, first, f->dim, 0);
        return;
    }
    for (int64_t c = 0; c < f->dim; c++) {
        store(g, first + c, bbi_gpu_is_direct(g) ? "s%lld[r]" : "t%lld[r]", L(f->sum_first + c));
        if (bbi_gpu_has_low(g)) store(g, first + f->dim + c, "z%lld[r]", L(f->sum_first + c));
    }
}

static void end_out(const bbi_gpu *g, int k) {
    const bbi_fold *f = bbi_gpu_fold(g, k);
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
        if (f->family == BBI_FAMILY_SUM && bbi_gpu_has_low(g)) store(g, first + f->dim + c, "z_b%lld[r]", n);
        if (bbi_gpu_is_extreme(f) && f->want_index)
            LINE("BB_EACH(r, BB_ROWS) BB_INDEX(%lld, r) = i%lld[r] < 0 ? -1 : begin + i%lld[r];", L(index + c), n, n);
    }
}

void bbi_gpu_end_states(const bbi_gpu *g) {
    for (int k = 0; k < g->e.stage->nfold; k++) {
        const bbi_fold *f = bbi_gpu_fold(g, k);
        if (f->family == BBI_FAMILY_LSE) {
            int64_t first = g->layout->value_first[k];
            LINE("BB_EACH(r, BB_ROWS) lm%d[r] = bb_expk(-BB_DRIFT(m%d[r], lm%d[r]));", k, k, k);
            store(g, first, "m%d[r]", k);
            for (int64_t n = 0; n <= (g->in_memory[k] ? 0 : f->weight_dim); n++)
                store(g, first + 1 + n, "(lt%d_%lld[r] * lm%d[r])", k, L(n), k);
            if (g->in_memory[k])
                LINE("for (int c = 0; c < %lld; c++) BB_EACH(r, BB_ROWS) BB_VALUE(%lld + c, r) *= lm%d[r];",
                     L(f->weight_dim), L(first + 2), k);
        } else if (f->family == BBI_FAMILY_USER) {
            bbi_gpu_end_user(g, k);
        } else if (f->sum_first >= 0) {
            end_sum(g, k);
        } else if (!g->in_memory[k]) {
            end_out(g, k);
        }
    }
}
