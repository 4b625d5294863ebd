/* emit_gpu_expand.c: squared distances of few components as |x - c|^2 + |y - c|^2 - 2 <x - c, y - c>, in a loop that a thread
 * takes where a bound of the errors allows it, tile by tile; the loop of differences stands behind it.
 *
 * c is the mean of eight columns of the tile. When a tile is filled, y' = y - c and the norms are added to it; each thread
 * computes x' = -2 (x - c) and the norms of its rows, in which the scale of the exponential is folded. A pair then takes
 * one addition and D fused ones (differences: 2 D and a product with the scale).
 *
 * Exponents: the distance is used as exp2(p d) alone. The error of the exponent is about (sqrt(D) + 4) u of the norms (see
 * expr/expand.c): the loop is taken where that changes no exponential by more than 2e-6 (4e-15) relative.
 * Selections: the distance is what a minimum or the K smallest select from. The loop only tells which columns may
 * improve the state: those whose value is below the worst that is kept plus a proven bound of all errors,
 * 1.02 (5 D + 40) u (|x - c|^2 + |y - c|^2); these are evaluated by differences, in their order.
 * So the result is that of differences to the bit. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)

static bool is_map(const bbi_instruction *s, int op) { return s->kind == BBI_STEP_MAP && s->op == op; }

static bool is_value(const bbi_operand *o, int32_t value) { return o->space == BBI_VALUE && o->number == value; }

/* The only instruction that uses a value; -1: none, or several. */
static int32_t only_user(const bbi_code *code, int32_t value, int32_t *uses) {
    int32_t user = -1;
    *uses = 0;
    for (int32_t n = 0; n < code->count; n++)
        for (int a = 0; a < code->instruction[n].narg; a++)
            if (is_value(&code->instruction[n].arg[a], value)) user = n, ++*uses;
    return user;
}

static bool take_difference(bbi_gpu *g, int32_t n) {
    bbi_gpu_distance *d = &g->distance;
    const bbi_instruction *s = &g->e.code->instruction[n];
    if (!is_map(s, BBI_OP_sub) || d->dim == BBI_GPU_MAX_DISTANCE) return false;
    const bbi_operand *row = &s->arg[0], *column = &s->arg[1];
    if (row->space == BBI_COLUMN) row = &s->arg[1], column = &s->arg[0];
    if (row->space != BBI_ROW || column->space != BBI_COLUMN) return false;
    if (!bbi_gpu_is_const(g, row->number) || !bbi_gpu_is_const(g, column->number)) return false;
    d->row[d->dim] = row;
    d->column[d->dim++] = column;
    g->skip[n] = true;
    return true;
}

/* sub, square, then sub and fma again and again; every value used by the next step alone. */
static int32_t find_chain(bbi_gpu *g, int32_t first) {
    const bbi_code *code = g->e.code;
    int32_t sum = -1, n = first;
    while (n + 1 < code->count) {
        const bbi_instruction *sub = &code->instruction[n], *add = &code->instruction[n + 1];
        int32_t uses, user = only_user(code, sub->result, &uses);
        bool squares =
            uses == 2 && user == n + 1 && is_value(&add->arg[0], sub->result) && is_value(&add->arg[1], sub->result);
        bool opens = sum < 0 && is_map(add, BBI_OP_mul);
        bool goes_on = sum >= 0 && is_map(add, BBI_OP_fma) && is_value(&add->arg[2], sum);
        if (!squares || !(opens || goes_on)) break;
        if (sum >= 0) {
            only_user(code, sum, &uses);
            if (uses != 1) break;
        }
        if (!take_difference(g, n)) return -1;
        g->skip[n + 1] = true;
        sum = add->result;
        n += 2;
    }
    return sum;
}

static bool is_scale(const bbi_gpu *g, const bbi_operand *o) {
    return o->space == BBI_UNIFORM && bbi_gpu_is_const(g, o->number);
}

/* The operand that scales the distance where an exponential or a log-sum-exp takes it, and nothing else; else NULL. */
static const bbi_operand *find_scale(const bbi_gpu *g, const bbi_instruction *user, int32_t sum) {
    if (is_map(user, BBI_OP_expk))
        return is_value(&user->arg[0], sum) && is_scale(g, &user->arg[1]) ? &user->arg[1] : NULL;
    if (!is_map(user, BBI_OP_mul)) return NULL;
    const bbi_operand *scale = is_value(&user->arg[0], sum) ? &user->arg[1] : &user->arg[0];
    int32_t uses, last = only_user(g->e.code, user->result, &uses);
    if (uses != 1 || !is_scale(g, scale)) return NULL;
    const bbi_instruction *out = &g->e.code->instruction[last];
    bool taken = out->kind == BBI_STEP_OUT && bbi_gpu_is_const(g, out->index);
    if (!taken) return NULL;
    int64_t c = bbi_gpu_component(g, out->index);
    return bbi_gpu_is_exponent(g, bbi_gpu_fold_of_out(g, out), c) ? scale : NULL;
}

static bool is_selection(const bbi_gpu *g, const bbi_instruction *user) {
    const bbi_stage *stage = g->e.stage;
    if (user->kind != BBI_STEP_OUT || stage->nfold != 1 || stage->out_count != 1 || stage->sum_count != 0) return false;
    return (stage->fold[0].family == BBI_FAMILY_MIN || stage->fold[0].family == BBI_FAMILY_KMIN) && !g->in_memory[0];
}

void bbi_gpu_find_distance(bbi_gpu *g) {
    const bbi_code *code = g->e.code;
    bbi_gpu_distance *d = &g->distance;
    int32_t uses = 0, user = -1, sum = -1;
    *d = (bbi_gpu_distance){.user = -1};
    if (g->options->exact || !g->layout->shared || code->counter_count > 0 || code->count == 0) return;
    for (int32_t n = 0; n < code->count && sum < 0; n++) {
        for (int32_t k = 0; k < code->count; k++) g->skip[k] = false;
        d->dim = 0;
        sum = find_chain(g, n);
    }
    if (sum >= 0) user = only_user(code, sum, &uses);
    if (user >= 0 && uses == 1) {
        const bbi_instruction *s = &code->instruction[user];
        d->scale = find_scale(g, s, sum);
        if (!d->scale && !is_selection(g, s)) user = -1;
        d->user = uses == 1 ? user : -1;
    }
    if (d->user < 0) d->dim = 0;
    if (d->dim) g->layout->derived = d->dim + 1;
}

/* Components of rows are in registers, and a scale is there. */
static bool is_held(const bbi_gpu *g) {
    const bbi_gpu_distance *d = &g->distance;
    for (int k = 0; k < d->dim; k++)
        if (g->held[(BBI_ROW - BBI_UNIFORM) * g->e.code->index_count + d->row[k]->number] != 1) return false;
    return !d->scale || g->held[d->scale->number] == 1;
}

bool bbi_gpu_is_expanded(const bbi_gpu *g) { return g->distance.dim > 0 && is_held(g); }

/* ---- when a tile has been filled ---- */
static long long component(const bbi_gpu *g, const bbi_operand *o) {
    return (long long)bbi_gpu_component(g, o->number);
}

static void print_scale(const bbi_gpu *g) {
    if (g->distance.scale) bbi_text_add(g->e.text, "p%lld * ", component(g, g->distance.scale));
}

static void print_norm(const bbi_gpu *g) {
    print_scale(g);
    bbi_text_add(g->e.text, "(");
    for (int k = 0; k < g->distance.dim; k++) bbi_text_add(g->e.text, k ? " + d%d * d%d" : "d%d * d%d", k, k);
    bbi_text_add(g->e.text, ");\n");
}

static void prepare_columns(const bbi_gpu *g) {
    const bbi_gpu_distance *d = &g->distance;
    long long first = g->e.stage->column_count;
    for (int k = 0; k < d->dim; k++) {
        LINE("V centre%d = 0;", k);
        LINE("BB_EACH(k, 8) centre%d += K(0.125) * tile[%lld * BB_TILE + n * k / 8];", k, component(g, d->column[k]));
    }
    LINE("if (BB_THREAD < n) {");
    for (int k = 0; k < d->dim; k++) {
        LINE("    const V d%d = tile[%lld * BB_TILE + BB_THREAD] - centre%d;", k, component(g, d->column[k]), k);
        LINE("    tile[%lld * BB_TILE + BB_THREAD] = d%d;", first + k, k);
    }
    bbi_text_add(g->e.text, "%*sconst V norm = ", 4 * g->e.indent + 4, "");
    print_norm(g);
    LINE("    tile[%lld * BB_TILE + BB_THREAD] = norm;", first + d->dim);
    LINE("    BB_RAISE(tallest, fabs(norm));");
    LINE("}");
}

static void prepare_rows(const bbi_gpu *g) {
    const bbi_gpu_distance *d = &g->distance;
    double u = g->options->is_double ? 0x1p-53 : 0x1p-24, rho = sqrt(d->dim) + 4;
    LINE("const V tall = BB_TALLEST(tallest);");
    for (int k = 0; k < d->dim; k++) LINE("V w%d[BB_ROWS];", k);
    LINE("V wn[BB_ROWS];");
    if (!d->scale) LINE("V error[BB_ROWS], limit[BB_ROWS];");
    LINE("VM fast = 1;");
    LINE("BB_EACH(r, BB_ROWS) {");
    for (int k = 0; k < d->dim; k++) LINE("    const V d%d = x%lld[r] - centre%d;", k, component(g, d->row[k]), k);
    for (int k = 0; k < d->dim; k++) {
        bbi_text_add(g->e.text, "%*sw%d[r] = K(-2) * ", 4 * g->e.indent + 4, "", k);
        print_scale(g);
        bbi_text_add(g->e.text, "d%d;\n", k);
    }
    bbi_text_add(g->e.text, "%*swn[r] = ", 4 * g->e.indent + 4, "");
    print_norm(g);
    if (d->scale) { /* in powers of two: log 2 of the error is that of the exponential */
        double unit = is_map(&g->e.code->instruction[d->user], BBI_OP_expk) ? 0.6931471805599453 : 1;
        LINE("    fast = fast && (fabs(wn[r]) + tall) * K(%.8g) <= K(%.8g);", rho * unit, BBI_EXPAND_LIMIT);
    } else {
        LINE("    error[r] = K(%.17g) * (wn[r] + tall) + K(%s);", 2.04 * (5 * d->dim + 40) * u,
             g->options->is_double ? "1e-180" : "1e-24");
        LINE("    fast = fast && wn[r] + tall < K(%s);", g->options->is_double ? "1e270" : "1e30");
    }
    LINE("}");
}

void bbi_gpu_prepare_distance(const bbi_gpu *g) {
    prepare_columns(g);
    LINE("BB_BARRIER();");
    prepare_rows(g);
}

/* ---- the loop ---- */
/* The sum of products for row r and cast u, begun with `start`. */
void bbi_gpu_print_distance(const bbi_gpu *g, const char *start) {
    int dim = g->distance.dim;
    for (int k = dim; k-- > 0;) bbi_text_add(g->e.text, "v_fma(w%d[r], z%d[u], ", k, k);
    bbi_text_add(g->e.text, "%s", start);
    for (int k = 0; k < dim; k++) bbi_text_add(g->e.text, ")");
}

void bbi_gpu_load_distance(const bbi_gpu *g) {
    long long first = g->e.stage->column_count;
    for (int k = 0; k <= g->distance.dim; k++) {
        LINE("V z%d[%d];", k, g->casts);
        LINE("BB_EACH(k, %d) BB_LOAD4(z%d, 4 * k, tile + %lld * BB_TILE + q + 4 * k);", g->casts / 4, k, first + k);
    }
}

/* What a value has to be below to be looked at: less the row's norm, which all its values share. */
static void print_limit(const bbi_gpu *g) {
    const bbi_fold *f = &g->e.stage->fold[0];
    char place[32] = "";
    if (f->family == BBI_FAMILY_KMIN) snprintf(place, sizeof place, "[%" PRId64 "]", f->k - 1);
    LINE("limit[r] = b0[r]%s - wn[r] + error[r];", place);
}

/* Exact values of the casts of row r; the fold takes them. */
static void evaluate(const bbi_gpu *g) {
    const bbi_gpu_distance *d = &g->distance;
    LINE("BB_EACH(u, %d) {", g->casts);
    for (int k = 0; k < d->dim; k++) {
        LINE("    const V d%d = x%lld[r] - BB_COLUMN(%lld, u);", k, component(g, d->row[k]),
             component(g, d->column[k]));
        LINE(k ? "    o0[r][u] = v_fma(d%d, d%d, o0[r][u]);" : "    o0[r][u] = d%d * d%d;", k, k);
    }
    LINE("}");
}

void bbi_gpu_select_distance(bbi_gpu *g) {
    const bbi_fold *f = &g->e.stage->fold[0];
    bool seen = f->family == BBI_FAMILY_KMIN || f->want_index;
    char unseen[64] = "0";
    if (seen && f->family == BBI_FAMILY_KMIN) snprintf(unseen, sizeof unseen, "i0[r][%" PRId64 "] < 0", f->k - 1);
    if (seen && f->family == BBI_FAMILY_MIN) snprintf(unseen, sizeof unseen, "i0[r] < 0");
    bbi_gpu_load_distance(g);
    LINE("V o0[BB_ROWS][%d];", g->casts);
    LINE("BB_EACH(r, BB_ROWS) {");
    g->e.indent++;
    LINE("V least = BB_INF;");
    bbi_text_add(g->e.text, "%*sBB_EACH(u, %d) least = fmin(", 4 * g->e.indent, "", g->casts);
    char start[16];
    snprintf(start, sizeof start, "z%d[u]", g->distance.dim);
    bbi_gpu_print_distance(g, start);
    bbi_text_add(g->e.text, ", least);\n");
    LINE("if (least < limit[r]) {");
    g->e.indent++;
    evaluate(g);
    bbi_gpu_fold_row(g);
    print_limit(g);
    LINE("if (%s) limit[r] = BB_INF;", unseen);
    g->e.indent--;
    LINE("}");
    g->e.indent--;
    LINE("}");
}

/* Limits at the beginning of a tile; a state that has not all it wants takes the loop of differences. */
void bbi_gpu_begin_selection(const bbi_gpu *g) {
    const bbi_fold *f = &g->e.stage->fold[0];
    LINE("BB_EACH(r, BB_ROWS) {");
    bbi_gpu *mutable = (bbi_gpu *)(uintptr_t)g;
    mutable->e.indent++;
    print_limit(g);
    if (f->family == BBI_FAMILY_KMIN) LINE("fast = fast && i0[r][%" PRId64 "] >= 0;", f->k - 1);
    if (f->family == BBI_FAMILY_MIN && f->want_index) LINE("fast = fast && i0[r] >= 0;");
    if (f->family == BBI_FAMILY_MIN && !f->want_index) LINE("fast = fast && b0[r] < BB_INF;");
    mutable->e.indent--;
    LINE("}");
}
