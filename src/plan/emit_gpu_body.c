/* emit_gpu_body.c: the steps of a segment over a block of pairs, `rows` rows of a thread times `casts` columns.
 *
 * A segment is a stretch of code that is printed inside the loops over the block. Values that cross from one segment to
 * another are arrays a5[row][cast], all others scalars; the loops have constant bounds and are unrolled, so that both
 * are registers. Rows and columns that a segment reads are loaded in front of it, columns four at a time. A loop over
 * components that only computes values, with an accumulator and without a loop inside, is a segment of its own with the
 * loop around it: loaded components serve the whole block. Any other loop without sinks is printed inside. */
#include "emit_gpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)

static void begin_line(const bbi_gpu *g) { bbi_text_add(g->e.text, "%*s", 4 * g->e.indent, ""); }

static bool is_memory(const bbi_operand *o) {
    return o->space == BBI_UNIFORM || o->space == BBI_ROW || o->space == BBI_COLUMN;
}

bool bbi_gpu_is_const(const bbi_gpu *g, int32_t index) { return g->e.code->index[index].op == BBI_IX_CONST; }

bool bbi_gpu_is_fixed(const bbi_gpu *g, int32_t index) {
    const bbi_index *x = &g->e.code->index[index];
    if (x->op == BBI_IX_CONST || x->op == BBI_IX_SIZE) return true;
    return x->op != BBI_IX_COUNTER && bbi_gpu_is_fixed(g, x->a) && bbi_gpu_is_fixed(g, x->b);
}

int64_t bbi_gpu_component(const bbi_gpu *g, int32_t index) {
    static const int64_t zeros[1024];
    return bbi_index_value(g->e.code, index, g->e.stage->size, zeros);
}

static uint8_t *held_at(const bbi_gpu *g, const bbi_operand *o) {
    return &g->held[(o->space - BBI_UNIFORM) * g->e.code->index_count + o->number];
}

static void print_name(const bbi_gpu *g, const bbi_operand *o) {
    static const char letters[] = {[BBI_UNIFORM] = 'p', [BBI_ROW] = 'x', [BBI_COLUMN] = 'y'};
    const bbi_index *x = &g->e.code->index[o->number];
    if (x->op == BBI_IX_CONST)
        bbi_text_add(g->e.text, "%c%" PRId64, letters[o->space], x->value);
    else
        bbi_text_add(g->e.text, "%ci%d", letters[o->space], (int)o->number);
}

/* The number of a column's component in the tile. */
static void print_component(const bbi_gpu *g, int32_t index) {
    int64_t shift = g->products.count && g->layout->shared ? bbi_gpu_product_shift(g, index) : 0;
    if (shift) bbi_text_add(g->e.text, "(");
    bbi_emit_index(&g->e, index, 0);
    if (shift) bbi_text_add(g->e.text, " - %" PRId64 ")", shift);
}

/* An operand in memory, of row r and cast u. */
static void print_load(const bbi_gpu *g, const bbi_operand *o) {
    bbi_text *t = g->e.text;
    int stream = bbi_gpu_deep_stream(g, o);
    if (stream >= 0) {
        bbi_text_add(t, o->space == BBI_ROW ? "BB_LEFT(%d, r)" : "BB_RIGHT(%d, u)", stream);
        return;
    }
    bbi_text_add(t, o->space == BBI_UNIFORM ? "uniform[" : o->space == BBI_ROW ? "row[at[r] + (I64)" : "BB_COLUMN(");
    if (o->space == BBI_COLUMN)
        print_component(g, o->number);
    else
        bbi_emit_index(&g->e, o->number, 0);
    bbi_text_add(t, o->space == BBI_UNIFORM ? "]" : o->space == BBI_ROW ? " * row_stride]" : ", u)");
}

void bbi_gpu_operand(const bbi_gpu *g, const bbi_operand *o) {
    bbi_text *t = g->e.text;
    switch (o->space) {
    case BBI_VALUE: bbi_text_add(t, g->crosses[o->number] ? "a%d[r][u]" : "a%d", (int)o->number); return;
    case BBI_LITERAL: bbi_emit_literal(t, o->literal); return;
    case BBI_COUNT:
        bbi_text_add(t, "K(");
        bbi_emit_index(&g->e, o->number, 0);
        bbi_text_add(t, ")");
        return;
    default: break;
    }
    if (!*held_at(g, o)) {
        print_load(g, o);
        return;
    }
    print_name(g, o);
    bbi_text_add(t, o->space == BBI_ROW ? "[r]" : o->space == BBI_COLUMN ? "[u]" : "");
}

/* ---- loads in front ---- */
static void load_rows(bbi_gpu *g, const bbi_operand *o, int level) {
    begin_line(g);
    bbi_text_add(g->e.text, "V ");
    print_name(g, o);
    bbi_text_add(g->e.text, "[BB_ROWS];\n");
    begin_line(g);
    bbi_text_add(g->e.text, "BB_EACH(r, BB_ROWS) ");
    print_name(g, o);
    bbi_text_add(g->e.text, "[r] = ");
    print_load(g, o);
    bbi_text_add(g->e.text, ";\n");
    *held_at(g, o) = (uint8_t)level;
}

static void load_uniform(bbi_gpu *g, const bbi_operand *o, int level) {
    begin_line(g);
    bbi_text_add(g->e.text, "const V ");
    print_name(g, o);
    bbi_text_add(g->e.text, " = ");
    print_load(g, o);
    bbi_text_add(g->e.text, ";\n");
    *held_at(g, o) = (uint8_t)level;
}

static void load_columns(bbi_gpu *g, const bbi_operand *o) {
    begin_line(g);
    bbi_text_add(g->e.text, "V ");
    print_name(g, o);
    bbi_text_add(g->e.text, "[%d];\n", g->casts);
    int stream = bbi_gpu_deep_stream(g, o);
    bool vectors = (g->layout->shared || stream >= 0) && g->casts % 4 == 0;
    begin_line(g);
    bbi_text_add(g->e.text, vectors ? "BB_EACH(k, %d) BB_LOAD4(" : "BB_EACH(u, %d) ",
                 vectors ? g->casts / 4 : g->casts);
    print_name(g, o);
    if (vectors && stream >= 0) {
        bbi_text_add(g->e.text, ", 4 * k, &BB_RIGHT(%d, 4 * k));\n", stream);
    } else if (vectors) {
        bbi_text_add(g->e.text, ", 4 * k, tile + (");
        print_component(g, o->number);
        bbi_text_add(g->e.text, ") * BB_TILE + q + 4 * k);\n");
    } else {
        bbi_text_add(g->e.text, "[u] = ");
        print_load(g, o);
        bbi_text_add(g->e.text, ";\n");
    }
    *held_at(g, o) = 2;
}

enum { MAX_UNIFORMS = 16 };

/* Constant components of rows stand in registers as far as these go; so do those of the uniform values. */
static int registers_for_rows(const bbi_gpu *g) { return g->options->is_double ? 32 : 64; }

static bool holds_loads(const bbi_instruction *s) {
    return s->kind != BBI_STEP_LOOP && s->kind != BBI_STEP_END && s->kind != BBI_STEP_CHOOSE;
}

/* Different constant components of a space that the code reads. */
static int64_t count_held(const bbi_gpu *g, uint8_t space) {
    const bbi_code *code = g->e.code;
    int64_t count = 0;
    for (int pass = 0; pass < 2; pass++) /* marks, then takes the marks away */
        for (int32_t n = 0; n < code->count; n++) {
            const bbi_instruction *s = &code->instruction[n];
            for (int a = 0; holds_loads(s) && a < s->narg; a++) {
                const bbi_operand *o = &s->arg[a];
                if (o->space != space || !bbi_gpu_is_const(g, o->number)) continue;
                uint8_t *mark = held_at(g, o);
                if (pass == 0 && *mark == 0) *mark = 3, count++;
                if (pass == 1 && *mark == 3) *mark = 0;
            }
        }
    return count;
}

int64_t bbi_gpu_segment_columns(const bbi_gpu *g) {
    const bbi_code *code = g->e.code;
    int64_t most = 0;
    for (int32_t first = 0, last; first < code->count; first = last) {
        int64_t count = 0;
        for (last = first; last < code->count && g->e.segment[last] == g->e.segment[first]; last++)
            for (int a = 0; a < code->instruction[last].narg; a++) {
                const bbi_operand *o = &code->instruction[last].arg[a];
                if (o->space != BBI_COLUMN || *held_at(g, o)) continue;
                *held_at(g, o) = 3;
                count++;
            }
        for (int32_t n = 0; n < 3 * code->index_count; n++)
            if (g->held[n] == 3) g->held[n] = 0;
        if (count > most) most = count;
    }
    return most;
}

int64_t bbi_gpu_held(const bbi_gpu *g) {
    int64_t rows = count_held(g, BBI_ROW) * g->layout->rows, most = registers_for_rows(g);
    int64_t uniforms = count_held(g, BBI_UNIFORM);
    if (rows > most) rows = most / g->layout->rows * g->layout->rows;
    return rows + (uniforms < MAX_UNIFORMS ? uniforms : MAX_UNIFORMS);
}

void bbi_gpu_hold(bbi_gpu *g) {
    const bbi_code *code = g->e.code;
    int registers = registers_for_rows(g), uniforms = MAX_UNIFORMS;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (!holds_loads(s)) continue;
        for (int a = 0; a < s->narg; a++) {
            const bbi_operand *o = &s->arg[a];
            if (!is_memory(o) || *held_at(g, o) || !bbi_gpu_is_const(g, o->number)) continue;
            if (o->space == BBI_ROW && registers >= g->layout->rows) {
                registers -= g->layout->rows;
                load_rows(g, o, 1);
            }
            if (o->space == BBI_UNIFORM && uniforms-- > 0) load_uniform(g, o, 1);
        }
    }
}

static bool depends_inside(const bbi_gpu *g, int32_t index, int32_t first, int32_t last) {
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if (s->kind == BBI_STEP_LOOP && bbi_index_depends(g->e.code, index, s->counter)) return true;
    }
    return false;
}

static void load_operands(bbi_gpu *g, int32_t first, int32_t last) {
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if (!holds_loads(s)) continue;
        if ((g->fast && g->skip[n]) || g->served[n]) continue;
        for (int a = 0; a < s->narg; a++) {
            const bbi_operand *o = &s->arg[a];
            if (!is_memory(o) || *held_at(g, o) || depends_inside(g, o->number, first, last)) continue;
            if (o->space == BBI_ROW) load_rows(g, o, 2);
            if (o->space == BBI_COLUMN) load_columns(g, o);
            if (o->space == BBI_UNIFORM) load_uniform(g, o, 2);
        }
    }
}

static void release_operands(bbi_gpu *g) {
    for (int32_t n = 0; n < 3 * g->e.code->index_count; n++)
        if (g->held[n] == 2) g->held[n] = 0;
}

/* ---- steps ---- */
static void print_added(const bbi_gpu *g, const bbi_instruction *s) {
    bbi_text_add(g->e.text, s->narg == 2 ? "v_fma(" : "");
    bbi_gpu_operand(g, &s->arg[0]);
    if (s->narg == 2) {
        bbi_text_add(g->e.text, ", ");
        bbi_gpu_operand(g, &s->arg[1]);
    }
    bbi_text_add(g->e.text, s->narg == 2 ? ", " : " + ");
}

static void print_sum(const bbi_gpu *g, const bbi_instruction *s) {
    char name[40];
    if (g->register_sums)
        snprintf(name, sizeof name, "s%" PRId64 "[r]", bbi_gpu_component(g, s->index));
    else
        snprintf(name, sizeof name, "h%d", (int)s->index);
    bbi_text_add(g->e.text, "%s = ", name);
    print_added(g, s);
    bbi_text_add(g->e.text, s->narg == 2 ? "%s);\n" : "%s;\n", name);
}

static void print_result(bbi_gpu *g, const bbi_instruction *s) {
    bbi_text *t = g->e.text;
    if (g->crosses[s->result])
        bbi_text_add(t, "a%d[r][u] = ", (int)s->result);
    else
        bbi_text_add(t, g->assigned[s->result] ? "a%d = " : "V a%d = ", (int)s->result);
    if (s->kind == BBI_STEP_MAP) {
        bbi_text_add(t, "op_%s(", bbi_op_info(s->op)->name);
        for (int n = 0; n < s->narg; n++) {
            if (n) bbi_text_add(t, ", ");
            bbi_gpu_operand(g, &s->arg[n]);
        }
        bbi_text_add(t, ");\n");
    } else if (s->kind == BBI_STEP_CHOOSE) { /* the operand that is not chosen may lie outside of its array */
        bbi_emit_index(&g->e, s->index, 0);
        bbi_text_add(t, " ? ");
        bbi_gpu_operand(g, &s->arg[0]);
        bbi_text_add(t, " : ");
        bbi_gpu_operand(g, &s->arg[1]);
        bbi_text_add(t, ";\n");
    } else {
        bbi_gpu_operand(g, &s->arg[0]);
        bbi_text_add(t, ";\n");
    }
    g->assigned[s->result] = true;
}

static void print_step(bbi_gpu *g, const bbi_instruction *s) {
    if (s->kind != BBI_STEP_END && !(s->kind == BBI_STEP_OUT && bbi_gpu_is_memory_sink(g, s))) begin_line(g);
    if (s->kind == BBI_STEP_LOOP) {
        bbi_text_add(g->e.text, "for (int c%d = 0; c%d < ", (int)s->counter, (int)s->counter);
        bbi_emit_index(&g->e, s->index, 0);
        bbi_text_add(g->e.text, "; c%d++) {\n", (int)s->counter);
        g->e.indent++;
    } else if (s->kind == BBI_STEP_END) {
        g->e.indent--;
        LINE("}");
    } else if (s->kind == BBI_STEP_SUM) {
        print_sum(g, s);
    } else if (s->kind == BBI_STEP_OUT) {
        if (bbi_gpu_is_memory_sink(g, s)) {
            bbi_gpu_memory_step(g, s);
            return;
        }
        bbi_text_add(g->e.text, "o%" PRId64 "[r][u] = ", bbi_gpu_component(g, s->index));
        bbi_gpu_operand(g, &s->arg[0]);
        bbi_text_add(g->e.text, ";\n");
    } else {
        print_result(g, s);
    }
}

/* What takes an expanded distance, whose scale is in the norms and products: its exponential, or the product itself. */
static void print_exponential(bbi_gpu *g, const bbi_instruction *s) {
    char start[32];
    begin_line(g);
    snprintf(start, sizeof start, "wn[r] + z%d[u]", g->distance.dim);
    bbi_text_add(g->e.text, "V a%d = %s(", (int)s->result, s->op == BBI_OP_expk ? "bb_expk" : "");
    bbi_gpu_print_distance(g, start);
    bbi_text_add(g->e.text, ");\n");
    g->assigned[s->result] = true;
}

/* ---- sums and states in memory: loaded and stored around the casts of a row ---- */
static bool has_memory_sink(const bbi_gpu *g, int32_t first, int32_t last) {
    for (int32_t n = first; n < last; n++)
        if (bbi_gpu_is_memory_sink(g, &g->e.code->instruction[n])) return true;
    return false;
}

static void move_memory(const bbi_gpu *g, int32_t first, int32_t last, bool store) {
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &g->e.code->instruction[n];
        if (!bbi_gpu_is_memory_sink(g, s)) continue;
        if (s->kind == BBI_STEP_OUT) {
            if (store)
                bbi_gpu_memory_close(g, s);
            else
                bbi_gpu_memory_open(g, s);
            continue;
        }
        begin_line(g);
        bbi_text_add(g->e.text, store ? "BB_SLOT(" : "V h%d = BB_SLOT(", (int)s->index);
        bbi_emit_index(&g->e, s->index, 0);
        bbi_text_add(g->e.text, store ? ", r) = h%d;\n" : ", r);\n", (int)s->index);
    }
}

void bbi_gpu_segment(bbi_gpu *g, int32_t first, int32_t last) {
    const bbi_code *code = g->e.code;
    if (first == last) return;
    for (int32_t v = 0; v < code->value_count; v++) g->assigned[v] = false;
    LINE("{");
    g->e.indent++;
    load_operands(g, first, last);
    if (g->fast) bbi_gpu_load_distance(g);
    bool memory = has_memory_sink(g, first, last);
    LINE(memory ? "BB_EACH(r, BB_ROWS) {" : "BB_EACH(u, %d) {", g->casts);
    g->e.indent++;
    if (memory) move_memory(g, first, last, false);
    LINE(memory ? "BB_EACH(u, %d) {" : "BB_EACH(r, BB_ROWS) {", g->casts);
    g->e.indent++;
    for (int32_t n = first; n < last; n++) {
        if ((g->fast && g->skip[n]) || g->served[n]) continue;
        if (g->fast && n == g->distance.user)
            print_exponential(g, &code->instruction[n]);
        else
            print_step(g, &code->instruction[n]);
    }
    g->e.indent--;
    LINE("}");
    if (memory) move_memory(g, first, last, true);
    g->e.indent--;
    LINE("}");
    release_operands(g);
    g->e.indent--;
    LINE("}");
    bbi_gpu_fold_segment(g, first, last);
}
