/* emit_body.c: the steps of a segment over a block of pairs.
 *
 * A block is `vectors` vectors of lanes times `block` casts, or, inside a loop that sums, times `block`
 * iterations of that loop, so that every loaded operand serves several pairs. Steps are printed
 * breadth-first: each for the whole block before the next. Names: a5_0_1 is value 5 for vector 0 and cast
 * (iteration) 1; x3_0 and y3_1 are components of the row and column arrays, xi7_0 at index expression 7; s4_0
 * is the sum at index expression 4; b5 the buffer of value 5. Blocks change which pairs stand side by side,
 * never what is computed for one of them, nor the order of the casts in a sum. */
#include "emit.h"

#include <inttypes.h>

static void begin_line(const bbi_emitter *e) { bbi_text_add(e->text, "%*s", 4 * e->indent, ""); }

/* ---- operands ---- */
static bool is_memory(const bbi_operand *o) {
    return o->space == BBI_UNIFORM || o->space == BBI_ROW || o->space == BBI_COLUMN;
}

static bool is_lane(const bbi_emitter *e, int space) {
    return space == (e->options->transposed ? BBI_COLUMN : BBI_ROW);
}

static bool is_cast(const bbi_emitter *e, int space) {
    return space == (e->options->transposed ? BBI_ROW : BBI_COLUMN);
}

static uint8_t *loaded_at(const bbi_emitter *e, const bbi_operand *o) {
    return &e->loaded[(o->space - BBI_UNIFORM) * e->code->index_count + o->number];
}

/* How many copies of an operand there are along the block. */
static int copies(const bbi_emitter *e, const bbi_operand *o) {
    bool varies = e->counter < 0 ? is_cast(e, o->space) : bbi_index_depends(e->code, o->number, e->counter);
    return varies ? e->block : 1;
}

static void print_name(const bbi_emitter *e, const bbi_operand *o, int v, int u) {
    static const char letters[] = {[BBI_UNIFORM] = 'p', [BBI_ROW] = 'x', [BBI_COLUMN] = 'y'};
    const bbi_index *x = &e->code->index[o->number];
    if (x->op == BBI_IX_CONST) {
        bbi_text_add(e->text, "%c%" PRId64, letters[o->space], x->value);
    } else {
        bbi_text_add(e->text, "%ci%d", letters[o->space], (int)o->number);
    }
    if (is_lane(e, o->space)) bbi_text_add(e->text, "_%d", v);
    if (copies(e, o) > 1) bbi_text_add(e->text, "_%d", u);
}

/* Multiples of the stride: "xs" for component 1, nothing for component 0. */
static void print_offset(const bbi_emitter *e, int32_t index, const char *stride, int at) {
    const bbi_index *x = &e->code->index[index];
    if (x->op == BBI_IX_CONST && x->value == 0) return;
    bbi_text_add(e->text, " + ");
    bbi_emit_index(e, index, at);
    bbi_text_add(e->text, " * %s", stride);
}

static void print_load(const bbi_emitter *e, const bbi_operand *o, int v, int u) {
    if (o->space == BBI_UNIFORM) {
        bbi_text_add(e->text, "v_splat(uniform[");
        bbi_emit_index(e, o->number, u);
        bbi_text_add(e->text, "])");
    } else if (is_lane(e, o->space)) {
        bbi_text_add(e->text, "v_loadu(lane");
        print_offset(e, o->number, "lane_stride", u);
        if (v) bbi_text_add(e->text, v == 1 ? " + BB_W" : " + %d * BB_W", v);
        bbi_text_add(e->text, ")");
    } else {
        bbi_text_add(e->text, "v_splat(cast[q");
        print_offset(e, o->number, "cast_stride", u);
        if (u && e->counter < 0) bbi_text_add(e->text, " + %d", u);
        bbi_text_add(e->text, "])");
    }
}

/* Marks an operand as loaded from here to the end of the loop; false where it already was. */
static bool mark_loaded(const bbi_emitter *e, const bbi_operand *o) {
    uint8_t *loaded = loaded_at(e, o);
    if (*loaded) return false;
    *loaded = (uint8_t)(e->depth + 1);
    return true;
}

/* Copy u of an operand, for all vectors where it varies with the lanes. */
static void load_copy(const bbi_emitter *e, const bbi_operand *o, int u) {
    for (int v = 0; v < (is_lane(e, o->space) ? e->vectors : 1); v++) {
        begin_line(e);
        bbi_text_add(e->text, "const V ");
        print_name(e, o, v, u);
        bbi_text_add(e->text, " = ");
        print_load(e, o, v, u);
        bbi_text_add(e->text, ";\n");
    }
}

/* A value that another segment left in a buffer is the same for all iterations of the loop that is blocked.
 */
static bool is_shared(const bbi_emitter *e, int32_t value) {
    return e->counter >= 0 && e->buffered[value] && !e->assigned[value];
}

static void print_value(const bbi_emitter *e, int32_t value, int v, int u) {
    bbi_text_add(e->text, "a%d_%d_%d", (int)value, v, is_shared(e, value) ? 0 : u);
}

static void print_operand(const bbi_emitter *e, const bbi_operand *o, int v, int u, bool in_place) {
    switch (o->space) {
    case BBI_VALUE: print_value(e, o->number, v, u); return;
    case BBI_LITERAL: bbi_emit_literal(e->text, o->literal); return;
    case BBI_COUNT:
        bbi_text_add(e->text, "v_splat((R)");
        bbi_emit_index(e, o->number, u);
        bbi_text_add(e->text, ")");
        return;
    default: break;
    }
    if (in_place && !*loaded_at(e, o)) {
        print_load(e, o, v, u);
    } else {
        print_name(e, o, v, u);
    }
}

void bbi_emit_operand(const bbi_emitter *e, const bbi_operand *o, int v, int u) { print_operand(e, o, v, u, true); }

void bbi_forget_loads(const bbi_emitter *e) {
    for (int32_t n = 0; n < 3 * e->code->index_count; n++) e->loaded[n] = 0;
}

/* ---- steps ---- */
static void print_sum_name(const bbi_emitter *e, const bbi_instruction *s, int v, int u) {
    bbi_text_add(e->text, "s%d_%d", (int)s->index, v);
    if (e->counter >= 0) bbi_text_add(e->text, "_%d", u);
}

/* Where component `index` of the sums of vector v stands. */
static void print_sum_place(const bbi_emitter *e, const bbi_instruction *s, int v, int u) {
    bbi_text_add(e->text, "sum + ");
    if (e->options->transposed) {
        int cast = e->counter < 0 ? u : 0;
        bbi_text_add(e->text, cast ? "((q + %d) * sum_count + " : "(q * sum_count + ", cast);
        bbi_emit_index(e, s->index, u);
        bbi_text_add(e->text, ")");
    } else {
        bbi_emit_index(e, s->index, u);
    }
    bbi_text_add(e->text, v ? " * BB_L + %d * BB_W" : " * BB_L", v);
}

static void print_added(const bbi_emitter *e, const bbi_instruction *s, int v, int u) {
    bbi_text_add(e->text, s->narg == 2 ? "op_fma(" : "");
    print_operand(e, &s->arg[0], v, u, false);
    if (s->narg == 2) {
        bbi_text_add(e->text, ", ");
        print_operand(e, &s->arg[1], v, u, false);
    }
    bbi_text_add(e->text, s->narg == 2 ? ", " : " + ");
}

static void print_sum(const bbi_emitter *e, const bbi_instruction *s, int v, int u) {
    if (e->options->transposed) {
        bbi_text_add(e->text, "v_storeu(");
        print_sum_place(e, s, v, u);
        bbi_text_add(e->text, ", ");
        print_added(e, s, v, u);
        bbi_text_add(e->text, "v_loadu(");
        print_sum_place(e, s, v, u);
        bbi_text_add(e->text, s->narg == 2 ? ")));\n" : "));\n");
    } else {
        print_sum_name(e, s, v, u);
        bbi_text_add(e->text, " = ");
        print_added(e, s, v, u);
        print_sum_name(e, s, v, u);
        bbi_text_add(e->text, s->narg == 2 ? ");\n" : ";\n");
    }
}

static void print_out(const bbi_emitter *e, const bbi_instruction *s, int v, int u) {
    if (e->selection != BBI_SELECT_NONE && !bbi_emit_is_weight(e, s)) {
        bbi_emit_select_open(e, v);
        print_operand(e, &s->arg[0], v, u, false);
        bbi_emit_select_close(e, v);
        if (e->selection == BBI_SELECT_BEST || e->selection == BBI_SELECT_LEAST) return;
        begin_line(e);
    }
    bbi_text_add(e->text, "v_storeu(out + (q");
    if (e->selection == BBI_SELECT_LSE) bbi_text_add(e->text, " - %s", e->from); /* read behind the group */
    print_offset(e, s->index, "out_stride", u);
    if (u && e->counter < 0) bbi_text_add(e->text, " + %d", u);
    bbi_text_add(e->text, v ? ") * BB_L + %d * BB_W, " : ") * BB_L, ", v);
    print_operand(e, &s->arg[0], v, u, false);
    bbi_text_add(e->text, ");\n");
}

/* Where a value stands between two segments. */
static void print_buffer(const bbi_emitter *e, int32_t value, int v, int u) {
    bbi_text_add(e->text, "b%d[(q - t + %d) * %d + %d]", (int)value, u, e->vectors, v);
}

static void print_result(const bbi_emitter *e, const bbi_instruction *s, int v, int u) {
    bbi_text_add(e->text, e->declared[s->result] ? "" : "V ");
    print_value(e, s->result, v, u);
    bbi_text_add(e->text, " = ");
    if (s->kind == BBI_STEP_MAP) {
        bbi_text_add(e->text, "op_%s(", bbi_op_info(s->op)->name);
        for (int n = 0; n < s->narg; n++) {
            if (n) bbi_text_add(e->text, ", ");
            print_operand(e, &s->arg[n], v, u, false);
        }
        bbi_text_add(e->text, ");\n");
    } else if (s->kind == BBI_STEP_CHOOSE) { /* the operand that is not chosen may lie outside of its array */
        bbi_emit_index(e, s->index, u);
        bbi_text_add(e->text, " ? ");
        print_operand(e, &s->arg[0], v, u, true);
        bbi_text_add(e->text, " : ");
        print_operand(e, &s->arg[1], v, u, true);
        bbi_text_add(e->text, ";\n");
    } else {                                       /* SET */
        if (s < e->code->instruction + e->panel) { /* its first value in the first panel only */
            bbi_text_add(e->text, "p ? ");
            print_buffer(e, s->result, v, u);
            bbi_text_add(e->text, " : ");
        }
        print_operand(e, &s->arg[0], v, u, false);
        bbi_text_add(e->text, ";\n");
    }
}

/* A copy is loaded where it is first needed, not all copies at once: the registers hold the accumulators of
 * the block. */
static void print_step(bbi_emitter *e, const bbi_instruction *s) {
    bool fresh[3] = {false};
    if (bbi_emit_is_weight(e, s) && s->arg[0].space != BBI_VALUE) return; /* loaded where it is used */
    for (int n = 0; n < s->narg && s->kind != BBI_STEP_CHOOSE; n++) {
        fresh[n] = is_memory(&s->arg[n]) && mark_loaded(e, &s->arg[n]);
    }
    for (int u = 0; u < e->block; u++) {
        for (int n = 0; n < s->narg; n++) {
            if (fresh[n] && u < copies(e, &s->arg[n])) load_copy(e, &s->arg[n], u);
        }
        if (s->kind == BBI_STEP_MIRROR) {
            bbi_emit_mirror(e, s, u);
            continue;
        }
        for (int v = 0; v < e->vectors; v++) {
            begin_line(e);
            if (s->kind == BBI_STEP_SUM) {
                print_sum(e, s, v, u);
            } else if (s->kind == BBI_STEP_OUT) {
                print_out(e, s, v, u);
            } else {
                print_result(e, s, v, u);
            }
        }
    }
    if (s->result >= 0) e->declared[s->result] = true;
}

static void leave_loop(bbi_emitter *e) {
    e->indent--;
    e->depth--;
    bbi_emit_line(e, "}");
    for (int32_t n = 0; n < 3 * e->code->index_count; n++) {
        if (e->loaded[n] > e->depth + 1) e->loaded[n] = 0;
    }
}

/* The casts that loop n is about to read: those of the next casts or panel, which stand one row of a packed block further
 * on than any prefetcher of the processor looks, into the first-level cache; those of the next block into the second. */
static void print_fetches(const bbi_emitter *e, int32_t n) {
    const bbi_instruction *loop = &e->code->instruction[n];
    for (int32_t k = 0; k < e->code->index_count; k++) {
        bool read = false;
        for (const bbi_instruction *s = loop; s < e->code->instruction + e->end[n]; s++)
            for (int a = 0; a < s->narg; a++)
                read = read || (s->arg[a].space == BBI_COLUMN && s->arg[a].number == k);
        if (!read || !bbi_index_depends(e->code, k, loop->counter)) continue;
        begin_line(e);
        bbi_text_add(e->text, "BB_FETCH_NEAR(cast + ahead + ");
        bbi_emit_index(e, k, 0);
        bbi_text_add(e->text, " * cast_stride);\n");
        begin_line(e);
        bbi_text_add(e->text, "BB_FETCH_FAR(cast + q + (next + ");
        bbi_emit_index(e, k, 0);
        bbi_text_add(e->text, ") * cast_stride);\n");
    }
}

/* The loop of a panel runs over a part of its iterations only. */
static void open_loop(bbi_emitter *e, int32_t n) {
    const bbi_instruction *loop = &e->code->instruction[n];
    int counter = (int)loop->counter;
    begin_line(e);
    bbi_text_add(e->text, "for (I64 c%d = %s; c%d < ", counter, n == e->panel ? "p" : "0", counter);
    if (n == e->panel)
        bbi_text_add(e->text, "p1");
    else
        bbi_emit_index(e, loop->index, 0);
    bbi_text_add(e->text, "; c%d++) {\n", counter);
    e->indent++;
    e->depth++;
    if (n == e->panel && !e->options->transposed) print_fetches(e, n);
}

static void print_steps(bbi_emitter *e, int32_t first, int32_t last) {
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (s->kind == BBI_STEP_LOOP) {
            open_loop(e, n);
        } else if (s->kind == BBI_STEP_END) {
            leave_loop(e);
        } else {
            print_step(e, s);
        }
    }
}

/* ---- buffers ---- */
static void move_buffer(bbi_emitter *e, int32_t value, bool store) {
    for (int u = 0; u < (is_shared(e, value) ? 1 : e->block); u++) {
        for (int v = 0; v < e->vectors; v++) {
            begin_line(e);
            if (!store) {
                bbi_text_add(e->text, "V ");
                print_value(e, value, v, u);
                bbi_text_add(e->text, " = ");
            }
            print_buffer(e, value, v, u);
            if (store) {
                bbi_text_add(e->text, " = ");
                print_value(e, value, v, u);
            }
            bbi_text_add(e->text, ";\n");
        }
    }
}

/* Values that earlier segments defined and that this one reads, or assigns again. */
static void load_buffers(bbi_emitter *e, int32_t first, int32_t last) {
    const bbi_code *code = e->code;
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_LOOP || s->kind == BBI_STEP_END) continue;
        for (int a = 0; a < s->narg; a++) {
            int32_t value = s->arg[a].number;
            if (s->arg[a].space != BBI_VALUE || !e->buffered[value] || e->declared[value]) continue;
            if (e->home[value] == e->segment[first]) continue;
            move_buffer(e, value, false);
            e->declared[value] = true;
        }
    }
}

static void print_casts(bbi_emitter *e, int32_t first, int32_t last) {
    const bbi_code *code = e->code;
    int step = e->counter < 0 ? e->block : 1;
    if (step > 1) {
        bbi_emit_line(e, "for (; q + %d <= %s; q += %d) {", step, e->to, step);
    } else {
        if (e->unroll) bbi_text_add(e->text, "#pragma GCC unroll %d\n", bbi_emit_unrolled(e));
        bbi_emit_line(e, "for (; q < %s; q++) {", e->to);
    }
    e->indent++;
    e->depth++;
    if (e->panel >= 0 && !e->options->transposed)
        bbi_emit_line(e,
                      "const I64 ahead = q + %d <= t1 ? q + %d : p1 < n ? t + %d + panel * cast_stride : "
                      "t1 + %d - p * cast_stride;",
                      2 * step, 2 * step - 1, step - 1, step - 1);
    for (int32_t v = 0; v < code->value_count; v++) {
        e->declared[v] = false;
    }
    load_buffers(e, first, last);
    print_steps(e, first, last);
    for (int32_t v = 0; v < code->value_count; v++) {
        if (e->buffered[v] && e->assigned[v]) move_buffer(e, v, true);
    }
    leave_loop(e);
}

/* ---- what stands around the loop over casts ---- */
/* Is the index the same for every step of the segment, whatever loops it contains? */
static bool is_fixed(const bbi_emitter *e, int32_t index, int32_t first, int32_t last) {
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (s->kind == BBI_STEP_LOOP && bbi_index_depends(e->code, index, s->counter)) return false;
    }
    return true;
}

static void hoist_loads(bbi_emitter *e, int32_t first, int32_t last) {
    int uniforms = 8;
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (s->kind == BBI_STEP_LOOP || s->kind == BBI_STEP_END || s->kind == BBI_STEP_CHOOSE) continue;
        for (int a = 0; a < s->narg; a++) {
            const bbi_operand *o = &s->arg[a];
            if (!is_memory(o) || is_cast(e, o->space) || *loaded_at(e, o)) continue;
            if (!is_fixed(e, o->number, first, last)) continue;
            bool lane = is_lane(e, o->space);
            int *left = lane ? &e->budget : &uniforms, registers = copies(e, o) * (lane ? e->vectors : 1);
            if (registers > *left) continue;
            *left -= registers;
            mark_loaded(e, o);
            for (int u = 0; u < copies(e, o); u++) load_copy(e, o, u);
        }
    }
}

static void move_sums(bbi_emitter *e, int32_t first, int32_t last, bool store) {
    if (e->options->transposed) return;
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (s->kind != BBI_STEP_SUM) continue;
        for (int u = 0; u < (e->counter >= 0 ? e->block : 1); u++) {
            for (int v = 0; v < e->vectors; v++) {
                begin_line(e);
                bbi_text_add(e->text, store ? "v_storeu(" : "V ");
                if (store) {
                    print_sum_place(e, s, v, u);
                    bbi_text_add(e->text, ", ");
                }
                print_sum_name(e, s, v, u);
                if (!store) {
                    bbi_text_add(e->text, " = v_loadu(");
                    print_sum_place(e, s, v, u);
                }
                bbi_text_add(e->text, ");\n");
            }
        }
    }
}

/* Panels of equal length. Also without any iteration the accumulators get their first values. */
static void open_panel(bbi_emitter *e) {
    if (e->panel < 0) return;
    int32_t count = e->code->instruction[e->panel].index;
    begin_line(e);
    bbi_text_add(e->text, "const I64 n = ");
    bbi_emit_index(e, count, 0);
    bbi_text_add(e->text, ", panel = n / (n / %d + 1) + 1;\n", BBI_PANEL + 1);
    bbi_emit_line(e, "for (I64 p = 0; p == 0 || p < n; p += panel) {");
    e->indent++;
    e->depth++;
    bbi_emit_line(e, "const I64 p1 = p + panel < n ? p + panel : n;");
}

void bbi_emit_segment(bbi_emitter *e, int32_t first, int32_t last) {
    const bbi_code *code = e->code;
    for (int32_t v = 0; v < code->value_count; v++) {
        e->assigned[v] = false;
    }
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_MAP || s->kind == BBI_STEP_SET || s->kind == BBI_STEP_CHOOSE) {
            e->assigned[s->result] = true;
        }
    }
    bbi_forget_loads(e);
    bbi_emit_line(e, "{");
    e->indent++;
    e->depth = 0;
    hoist_loads(e, first, last);
    move_sums(e, first, last, false);
    open_panel(e);
    bbi_emit_line(e, "I64 q = %s;", e->from);
    print_casts(e, first, last);
    /* what is left of the casts: in twos while that is possible, for a chain of sums waits for its last addition */
    while (e->counter < 0 && e->block > 1) {
        e->block = e->block > 3 ? 2 : 1;
        print_casts(e, first, last);
    }
    if (e->panel >= 0) leave_loop(e);
    move_sums(e, first, last, true);
    e->indent--;
    bbi_emit_line(e, "}");
}
