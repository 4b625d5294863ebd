/* emit.c: the C text of a pair kernel, a pure function of a stage's pair code, the real type, the level and
 * the schedule.
 *
 * The kernel walks groups of lanes; within a group, tiles of casts; within a tile, the segments of the code,
 * each with its own loop over the casts of the tile. Straight steps and loops that only compute values are
 * one segment. A loop that sums or writes components by its counter is turned inside out: the loop outside,
 * the casts inside, so that its sums stay in registers over the tile while the values it reads come from
 * buffers in the first-level cache: with many right-hand sides this is a tile of the kernel matrix times a
 * panel. Code with no such loop needs no tiles: the accumulators stay in registers over the whole call. A long loop
 * that only computes (a distance in many dimensions) runs in panels of BBI_PANEL iterations: all casts of the tile meet
 * one panel before the next, their accumulators waiting in the buffer, so that the components of a panel are read from
 * the first-level cache; in the meantime the casts that come next are fetched there, and those of the next block of columns
 * into the second level.
 *
 * The text includes nothing, and its object leaves no symbol undefined: arrays are neither initialised nor
 * copied. */
#include "emit.h"

#include <inttypes.h>

/* ---- the shape of the code ---- */
static bool is_sink(const bbi_instruction *s) {
    return s->kind == BBI_STEP_SUM || s->kind == BBI_STEP_OUT || s->kind == BBI_STEP_MIRROR;
}

static bool has_result(const bbi_instruction *s) {
    return s->kind == BBI_STEP_MAP || s->kind == BBI_STEP_SET || s->kind == BBI_STEP_CHOOSE;
}

static void find_loops(bbi_emitter *e) {
    const bbi_code *code = e->code;
    for (int32_t n = 0; n < code->count; n++) {
        if (code->instruction[n].kind != BBI_STEP_LOOP) continue;
        int32_t at = n;
        for (int depth = 0; at < code->count; at++) {
            const bbi_instruction *s = &code->instruction[at];
            if (s->kind == BBI_STEP_LOOP) depth++;
            if (s->kind == BBI_STEP_END && --depth == 0) break;
            if (is_sink(s)) e->sinks[n] = true;
            for (int a = 0; has_result(s) && a < s->narg; a++) {
                if (s->arg[a].space == BBI_VALUE && s->arg[a].number == s->result) e->carries[n] = true;
            }
        }
        e->end[n] = at;
    }
}

/* The end of the segment that begins at `first`; `first` itself where a loop that sums or writes stands. A
 * loop that carries an accumulator is worth a block of casts, which would be a waste of text for the steps
 * around it: the segment of such a loop begins with the SETs before it and ends with it. */
static int32_t segment_end(const bbi_emitter *e, int32_t first, int32_t last) {
    int32_t n = first, sets = first; /* where the SETs begin that end at n */
    while (n < last) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (s->kind == BBI_STEP_LOOP) {
            if (e->sinks[n]) break;
            if (e->carries[n]) return sets > first ? sets : e->end[n] + 1;
            n = e->end[n];
        }
        n++;
        if (s->kind != BBI_STEP_SET) sets = n;
    }
    return n;
}

static void number_segments(bbi_emitter *e, int32_t first, int32_t last, int32_t *count) {
    for (int32_t n = first; n < last;) {
        int32_t stop = segment_end(e, n, last);
        if (stop == n) {
            number_segments(e, n + 1, e->end[n], count);
            n = e->end[n] + 1;
            continue;
        }
        for (; n < stop; n++) {
            e->segment[n] = *count;
        }
        ++*count;
    }
}

static void find_buffers(bbi_emitter *e) {
    const bbi_code *code = e->code;
    for (int32_t v = 0; v < code->value_count; v++) {
        e->home[v] = -1;
    }
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind == BBI_STEP_LOOP || s->kind == BBI_STEP_END) continue;
        for (int a = 0; a < s->narg; a++) {
            if (s->arg[a].space != BBI_VALUE) continue;
            if (e->home[s->arg[a].number] != e->segment[n]) e->buffered[s->arg[a].number] = true;
        }
        if (!has_result(s)) continue;
        if (e->home[s->result] < 0) e->home[s->result] = e->segment[n];
        if (e->home[s->result] != e->segment[n]) e->buffered[s->result] = true;
    }
    for (int32_t v = 0; v < code->value_count; v++) {
        e->nbuffered += e->buffered[v];
    }
}

/* ---- blocks ---- */
static double work_of(const bbi_emitter *e) {
    double work = 0;
    for (int32_t n = 0; n < e->code->count; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (s->kind == BBI_STEP_MAP) work += 1 + bbi_op_info(s->op)->cost;
    }
    return work;
}

/* Long code keeps the execution units busy by itself, and the compiler's time grows with the text. */
static int group_vectors(const bbi_emitter *e) {
    double work = work_of(e);
    if (work > 500) return 1;
    if (e->selection == BBI_SELECT_LSE && e->stage->fold->weight_dim > 1) return 2;
    return e->options->level >= 2 && work <= 150 ? 4 : 2;
}

/* How many casts, or iterations of the loop around a segment, stand side by side: as many as accumulators fit
 * into the registers beside the loaded operands. */
static int block_size(const bbi_emitter *e, int32_t first, int32_t last) {
    int carried = 0, sums = 0, depth = 0, inside = 0;
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        depth += (s->kind == BBI_STEP_LOOP) - (s->kind == BBI_STEP_END);
        sums += s->kind == BBI_STEP_SUM;
        inside += depth > 0 && has_result(s);
        for (int a = 0; depth > 0 && has_result(s) && a < s->narg; a++) {
            carried += s->arg[a].space == BBI_VALUE && s->arg[a].number == s->result;
        }
    }
    int accumulators = (e->counter >= 0 ? sums : carried) * e->vectors;
    if (accumulators == 0 || e->vectors == 1) return 1;
    bool contracts = e->counter < 0 && inside == carried; /* fma alone: no register for intermediate values */
    int registers = e->options->level >= 2 ? 20 : 10, limit = 5;
    if (contracts) registers += registers / 5, limit = 6;
    int most = registers / accumulators;
    return most < 1 ? 1 : most > limit ? limit : most;
}

static int load_budget(const bbi_emitter *e, int32_t first, int32_t last) {
    int sums = 0;
    for (int32_t n = first; n < last; n++) {
        sums += e->code->instruction[n].kind == BBI_STEP_SUM;
    }
    if (e->options->transposed) sums = 0;
    if (e->selection != BBI_SELECT_NONE) sums++;
    if (e->selection == BBI_SELECT_LSE) sums += 2 + (int)e->stage->fold->weight_dim;
    int left = (e->options->level >= 2 ? 20 : 8) - sums * e->vectors * (e->counter >= 0 ? e->block : 1);
    return left < 0 ? 0 : left;
}

/* The long loop of a segment whose accumulators all live in buffers, so that it can stop and go on: -1 without one. */
static int32_t find_panel(const bbi_emitter *e, int32_t first, int32_t last) {
    int32_t n = first;
    while (n < last && e->code->instruction[n].kind == BBI_STEP_SET && e->buffered[e->code->instruction[n].result]) n++;
    const bbi_instruction *loop = &e->code->instruction[n];
    if (n == last || loop->kind != BBI_STEP_LOOP || !e->carries[n] || e->end[n] + 1 != last) return -1;
    return e->code->index[loop->index].op == BBI_IX_SIZE ? n : -1;
}

static void emit_block(bbi_emitter *e, int32_t first, int32_t last, int block) {
    e->block = block;
    e->budget = load_budget(e, first, last);
    e->panel = e->counter < 0 ? find_panel(e, first, last) : -1;
    bbi_emit_segment(e, first, last);
}

/* ---- loops ---- */
static void emit_sequence(bbi_emitter *e, int32_t first, int32_t last);

/* Iterations may stand side by side when they are one segment and hand nothing on but the sums. */
static bool can_block(const bbi_emitter *e, int32_t first, int32_t last) {
    if (segment_end(e, first, last) != last) return false;
    for (int32_t n = first; n < last; n++) {
        const bbi_instruction *s = &e->code->instruction[n];
        if (has_result(s) && e->home[s->result] != e->segment[n]) return false;
    }
    return true;
}

static void open_loop(bbi_emitter *e, const bbi_instruction *loop, int step) {
    bbi_text_add(e->text, "%*sfor (; c%d%s", 4 * e->indent, "", (int)loop->counter, step > 1 ? " + " : "");
    if (step > 1) bbi_text_add(e->text, "%d <= ", step);
    if (step == 1) bbi_text_add(e->text, " < ");
    bbi_emit_index(e, loop->index, 0);
    bbi_text_add(e->text, "; c%d += %d) {\n", (int)loop->counter, step);
    e->indent++;
}

static void close_brace(bbi_emitter *e) {
    e->indent--;
    bbi_emit_line(e, "}");
}

static void emit_sink_loop(bbi_emitter *e, int32_t first) {
    const bbi_instruction *loop = &e->code->instruction[first];
    int32_t last = e->end[first];
    bbi_emit_line(e, "{");
    e->indent++;
    bbi_emit_line(e, "I64 c%d = 0;", (int)loop->counter);
    if (can_block(e, first + 1, last)) {
        e->counter = loop->counter;
        int block = block_size(e, first + 1, last);
        for (int step = block;; step = 1) {
            open_loop(e, loop, step);
            emit_block(e, first + 1, last, step);
            close_brace(e);
            if (step == 1) break;
        }
        e->counter = -1;
    } else {
        open_loop(e, loop, 1);
        emit_sequence(e, first + 1, last);
        close_brace(e);
    }
    close_brace(e);
}

static void emit_sequence(bbi_emitter *e, int32_t first, int32_t last) {
    for (int32_t n = first; n < last;) {
        int32_t stop = segment_end(e, n, last);
        if (stop == n) {
            emit_sink_loop(e, n);
            n = e->end[n] + 1;
        } else {
            emit_block(e, n, stop, block_size(e, n, stop));
            n = stop;
        }
    }
}

/* ---- the function of a group of vectors ---- */
static bool names_size(const bbi_code *code, int64_t slot) {
    for (int32_t n = 0; n < code->index_count; n++) {
        if (code->index[n].op == BBI_IX_SIZE && code->index[n].value == slot) return true;
    }
    return false;
}

/* The number of sums is part of the text only where the code names each of them. */
static void emit_sum_count(bbi_emitter *e) {
    const bbi_code *code = e->code;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *s = &code->instruction[n];
        if (s->kind != BBI_STEP_SUM || code->index[s->index].op == BBI_IX_CONST) continue;
        bbi_emit_line(e, "const I64 sum_count = size[0];");
        return;
    }
    bbi_emit_line(e, "const I64 sum_count = %" PRId64 ";", e->stage->sum_count);
}

/* The largest block of casts of any segment. */
static int widest_block(const bbi_emitter *e) {
    int block = 1;
    for (int32_t n = 0; n < e->code->count;) {
        int32_t stop = segment_end(e, n, e->code->count);
        if (stop == n) {
            n = e->end[n] + 1;
            continue;
        }
        int here = block_size(e, n, stop);
        if (here > block) block = here;
        n = stop;
    }
    return block;
}

/* Where the last segment begins, which a kernel that selects runs for one group of casts after the other. */
static int32_t last_segment(const bbi_emitter *e) {
    int32_t n = 0;
    for (int32_t stop; (stop = segment_end(e, n, e->code->count)) < e->code->count;) n = stop > n ? stop : e->end[n] + 1;
    return n;
}

/* Does the kernel look at groups of casts? */
static bool selects_groups(const bbi_emitter *e) {
    return e->selection > BBI_SELECT_BEST;
}

/* Whole blocks; those of a log-sum-exp are one by one, because the order of its sums must not depend on them. */
static int group_casts(const bbi_emitter *e) {
    int block = widest_block(e);
    return e->selection == BBI_SELECT_LSE ? BBI_GROUP_CASTS : (BBI_GROUP_CASTS + block - 1) / block * block;
}

/* Whole blocks, or what is left of them is a large part; and a kernel that selects looks at whole groups. A block of
 * columns holds whole tiles where that is possible. */
static int tile_size(const bbi_emitter *e) {
    bool selects = selects_groups(e);
    int block = widest_block(e), group = group_casts(e);
    if (e->selection == BBI_SELECT_LEAST) return BBI_LEAST_CASTS;
    if (selects && last_segment(e) == 0) return group;
    while (group % block) group += BBI_GROUP_CASTS; /* whole groups of whole blocks */
    int bytes = (16 << e->options->level) * e->vectors * (e->nbuffered ? e->nbuffered : 1);
    int most = 16384 / bytes, whole = selects ? group : block > 1 ? block : 8;
    if (most > 64) most = 64;
    if (most < whole) return whole;
    int tile = most - most % whole;
    while (tile > 2 * whole && BBI_LONG_BLOCK % tile) tile -= whole;
    return BBI_LONG_BLOCK % tile ? most - most % whole : tile;
}

/* ---- kernels that select ---- */
/* The casts of a group, from `from` to `to`, whose hits are looked for. */
static void emit_hits(bbi_emitter *e, int32_t first) {
    bbi_emit_select_tile(e);
    emit_sequence(e, first, e->code->count);
    bbi_emit_select_hits(e);
}

/* Short code: the last group is printed on its own, so that the others are unrolled. */
static void emit_groups(bbi_emitter *e, int casts) {
    e->unroll = e->code->counter_count == 0 && work_of(e) <= 50;
    if (e->selection == BBI_SELECT_LSE) { /* long code, whose groups differ little */
        bbi_emit_line(e, "for (I64 t = 0; t < casts; t += %d) {", casts);
        e->indent++;
        bbi_emit_line(e, "const I64 t1 = t + %d < casts ? t + %d : casts;", casts, casts);
        emit_hits(e, 0);
        e->unroll = false;
        close_brace(e);
        return;
    }
    bbi_emit_line(e, "I64 t = 0;");
    bbi_emit_line(e, "for (; t + %d <= casts; t += %d) {", casts, casts);
    e->indent++;
    bbi_emit_line(e, "const I64 t1 = t + %d;", casts);
    emit_hits(e, 0);
    e->unroll = false;
    close_brace(e);
    bbi_emit_line(e, "if (t < casts) {");
    e->indent++;
    bbi_emit_line(e, "const I64 t1 = casts;");
    emit_hits(e, 0);
    close_brace(e);
}

/* Code with loops: they run for a tile, the rest of the code for its groups. */
static void emit_tiles_of_groups(bbi_emitter *e, int tile) {
    int group = group_casts(e);
    int32_t last = last_segment(e);
    bbi_emit_line(e, "for (I64 t = 0; t < casts; t += %d) {", tile);
    e->indent++;
    bbi_emit_line(e, "const I64 t1 = t + %d < casts ? t + %d : casts;", tile, tile);
    emit_sequence(e, 0, last);
    bbi_emit_line(e, "for (I64 g = t; g < t1; g += %d) {", group);
    e->indent++;
    bbi_emit_line(e, "const I64 g1 = g + %d < t1 ? g + %d : t1;", group, group);
    e->from = "g", e->to = "g1";
    emit_hits(e, last);
    e->from = "t", e->to = "t1";
    close_brace(e);
    close_brace(e);
}

/* Whether some segment may have one. */
static bool has_panel(const bbi_emitter *e) {
    for (int32_t n = 0; n < e->code->count; n++) {
        const bbi_instruction *loop = &e->code->instruction[n];
        if (e->carries[n] && !e->sinks[n] && e->code->index[loop->index].op == BBI_IX_SIZE) return true;
    }
    return false;
}

/* Whether vectors of lanes that stand anywhere are evaluated, one cast each (see bbi_pair_kernel). */
static bool takes_lists(const bbi_emitter *e) {
    return e->options->transposed && bbi_stage_selection(e->stage) == BBI_SELECT_LEAST;
}

static void emit_group(bbi_emitter *e, bool tiled) {
    e->counter = -1;
    bbi_emit_line(e,
                  "%s void group_%d(const I64 *restrict size, const R *restrict uniform, const R *restrict lane,\n"
                  "    I64 lane_stride, const R *restrict cast, I64 cast_stride, I64 casts, R *restrict sum, R "
                  "*restrict out,\n"
                  "    I64 out_stride%s)\n{",
                  e->vectors == 1 && takes_lists(e) ? "BB_INLINE" : "static", e->vectors,
                  e->selection == BBI_SELECT_HITS ? ", I64 *restrict hit, I64 first" : "");
    e->indent++;
    for (int32_t slot = 0; slot < e->stage->nsize; slot++) {
        if (names_size(e->code, slot)) bbi_emit_line(e, "const I64 n%d = size[%d];", (int)slot, (int)slot);
    }
    if (e->options->transposed && e->code->has_sum) emit_sum_count(e);
    if (!e->options->transposed && has_panel(e)) bbi_emit_line(e, "const I64 next = size[2];");
    int tile = tile_size(e);
    for (int32_t v = 0; v < e->code->value_count; v++) {
        if (e->buffered[v]) bbi_emit_line(e, "V b%d[%d];", (int)v, tile * e->vectors);
    }
    bbi_emit_select_begin(e);
    if (selects_groups(e) && last_segment(e) == 0) {
        emit_groups(e, tile);
    } else if (selects_groups(e)) {
        emit_tiles_of_groups(e, tile);
    } else if (tiled) {
        bbi_emit_line(e, "for (I64 t = 0; t < casts; t += %d) {", tile);
        e->indent++;
        bbi_emit_line(e, "const I64 t1 = t + %d < casts ? t + %d : casts;", tile, tile);
        emit_sequence(e, 0, e->code->count);
        close_brace(e);
    } else {
        bbi_emit_line(e, "const I64 t = 0, t1 = casts;");
        emit_sequence(e, 0, e->code->count);
    }
    bbi_emit_select_end(e);
    close_brace(e);
}

static void emit_kernel(bbi_emitter *e) {
    static const char all[] = "(size, uniform, (const R *)lane + e, lane_stride, cast, cast_stride, casts,\n"
                              "                (R *)sum + e, (R *)out";
    bool hits = e->selection == BBI_SELECT_HITS;
    const char *more = hits                  ? " + e, out_stride, (I64 *)sum + BB_HITS, e);"
                       : e->stage->symmetric ? ", out_stride);" /* mirror sums are the same for all lanes */
                                             : " + e, out_stride);";
    int vectors = group_vectors(e);
    bool tiled = selects_groups(e) || segment_end(e, 0, e->code->count) != e->code->count;
    bbi_text_add(e->text, "\ntypedef long long I64;\n#define BB_L (I64)(%d / sizeof(R))\n", BBI_LANE_BYTES);
    if (hits) bbi_text_add(e->text, "#define BB_HITS %d\n", BBI_LANE_BYTES / 8);
    e->vectors = 1;
    emit_group(e, tiled);
    e->vectors = vectors;
    if (vectors > 1) emit_group(e, tiled);
    bbi_text_add(e->text,
                 "void " BBI_KERNEL_SYMBOL "(const I64 *size, const void *uniform, const void *lane, I64 lane_stride,\n"
                 "    const void *cast, I64 cast_stride, I64 lanes, I64 casts, void *sum, void *out, I64 "
                 "out_stride)\n{\n    I64 e = 0;\n");
    if (takes_lists(e))
        bbi_text_add(e->text,
                     "    for (I64 n = 0; n < -casts; n++) {\n"
                     "        for (e = 0; e < lanes; e += BB_W) {\n"
                     "            group_1(size, uniform, ((const R *const *)lane)[n] + e, lane_stride,\n"
                     "                ((const R *const *)cast)[n], cast_stride, 1, (R *)sum, (R *)out + n * lanes + e, 1);\n"
                     "        }\n    }\n    if (casts < 0) return;\n");
    if (vectors > 1) {
        bbi_text_add(e->text, "    for (; lanes - e > %d * BB_W; e += %d * BB_W) {\n        group_%d%s%s\n    }\n",
                     vectors / 2, vectors, vectors, all, more);
    }
    bbi_text_add(e->text, "    for (; e < lanes; e += BB_W) {\n        group_1%s%s\n    }\n}\n", all, more);
}

/* ---- entry ---- */
static bool new_emitter(bbi_emitter *e) {
    size_t steps = (size_t)e->code->count + 1, values = (size_t)e->code->value_count + 1;
    e->end = bbi_calloc(steps, sizeof *e->end);
    e->sinks = bbi_calloc(steps, sizeof *e->sinks);
    e->carries = bbi_calloc(steps, sizeof *e->carries);
    e->segment = bbi_calloc(steps, sizeof *e->segment);
    e->home = bbi_calloc(values, sizeof *e->home);
    e->buffered = bbi_calloc(values, sizeof *e->buffered);
    e->declared = bbi_calloc(values, sizeof *e->declared);
    e->assigned = bbi_calloc(values, sizeof *e->assigned);
    e->loaded = bbi_calloc(3 * (size_t)e->code->index_count + 1, sizeof *e->loaded);
    return e->end && e->sinks && e->carries && e->segment && e->home && e->buffered && e->declared && e->assigned &&
           e->loaded;
}

static void free_emitter(bbi_emitter *e) {
    bbi_free(e->end);
    bbi_free(e->sinks);
    bbi_free(e->carries);
    bbi_free(e->segment);
    bbi_free(e->home);
    bbi_free(e->buffered);
    bbi_free(e->declared);
    bbi_free(e->assigned);
    bbi_free(e->loaded);
}

static bb_status emit_text(bbi_emitter *e) {
    int32_t segments = 0;
    find_loops(e);
    number_segments(e, 0, e->code->count, &segments);
    find_buffers(e);
    bbi_text_add(e->text, "/* Pair kernel in %s: %s. Every pair (x, y) does\n\n",
                 e->options->is_double ? "double" : "float",
                 e->options->transposed ? "columns y in lanes, rows x cast" : "rows x in lanes, columns y cast");
    bbi_code_print(e->text, e->code);
    bbi_text_add(e->text, "\n */\n");
    BBI_FORWARD(bbi_emit_prelude(e->text, e->code, e->selection, e->options));
    bbi_text_add(e->text, BBI_KERNEL_MARK);
    emit_kernel(e);
    return e->text->failed ? bbi_fail(BB_OUT_OF_MEMORY, "no memory for the text of a kernel") : BB_OK;
}

bb_status bbi_emit_pair(bbi_text *text, const bbi_stage *stage, const bbi_emit_options *options) {
    BBI_FORWARD(bbi_code_check(&stage->pair_code));
    bbi_emitter e = {.text = text, .stage = stage, .code = &stage->pair_code, .options = options, .counter = -1,
                     .from = "t", .to = "t1", .panel = -1};
    if (!options->transposed) e.selection = bbi_stage_selection(stage);
    bb_status status = new_emitter(&e) ? emit_text(&e) : bbi_fail(BB_OUT_OF_MEMORY, "no memory to emit a kernel");
    free_emitter(&e);
    return status;
}
