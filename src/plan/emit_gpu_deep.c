/* emit_gpu_deep.c: sums over many components, scalar products and squared distances in high dimension, in tiles.
 *
 * Where the pair code has loops over components, a block of threads, 16 along rows times 8 along columns, owns 16 R rows
 * and meets 8 C columns at a time. Of these a slice of BB_DEPTH components is brought into local memory, lefts[component][row]
 * and rights[component][column]; each thread loads R + C / 4 times for R C pairs, whose accumulators stand in registers.
 * Then comes the next slice. What the pairs do before and behind the loops, and the reductions, is as in any other kernel.
 * Threads of a warp read 16 neighbours of lefts and two vectors of rights: no bank is asked for two lines at once.
 *
 * The columns that do not fill a tile, of which there is one in a chunk, are met one at a time without local memory. */
#include "emit_gpu.h"

#include <string.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
enum { TX = 16, DEPTH = 16, MAX_STREAMS = 2 };

static const bbi_instruction *step(const bbi_gpu *g, int32_t n) { return &g->e.code->instruction[n]; }

static bool is_stream(const bbi_gpu *g, const bbi_operand *o, uint8_t space, int32_t counter) {
    return o->space == space && bbi_index_depends(g->e.code, o->number, counter);
}

/* The number of an operand among those of its space in the loop that change with the counter; o = NULL: how many there are. */
static int number_of(const bbi_gpu *g, int32_t loop, uint8_t space, const bbi_operand *o) {
    int32_t found[64];
    int count = 0;
    for (int32_t n = loop + 1; n < g->e.end[loop]; n++)
        for (int a = 0; a < step(g, n)->narg; a++) {
            const bbi_operand *x = &step(g, n)->arg[a];
            if (!is_stream(g, x, space, step(g, loop)->counter)) continue;
            int k = 0;
            while (k < count && found[k] != x->number) k++;
            if (o && o->number == x->number) return k;
            if (k == count && count < 64) found[count++] = x->number;
        }
    return o ? -1 : count;
}

int bbi_gpu_deep_stream(const bbi_gpu *g, const bbi_operand *o) {
    if (!g->deep.inside || (o->space != BBI_ROW && o->space != BBI_COLUMN)) return -1;
    return number_of(g, g->deep.loop, o->space, o);
}

/* ---- which stages ---- */
/* Steps on values, of operands whose component is that of the counter. */
static bool is_deep_loop(bbi_gpu *g, int32_t loop) {
    if (g->nested[loop] || g->e.sinks[loop] || !g->e.carries[loop]) return false;
    int32_t counter = step(g, loop)->counter;
    for (int32_t n = loop + 1; n < g->e.end[loop]; n++) {
        const bbi_instruction *s = step(g, n);
        if (s->kind != BBI_STEP_MAP) return false;
        for (int a = 0; a < s->narg; a++) {
            const bbi_operand *o = &s->arg[a];
            if ((o->space == BBI_ROW || o->space == BBI_COLUMN) && !bbi_index_depends(g->e.code, o->number, counter))
                return false;
        }
    }
    int rows = number_of(g, loop, BBI_ROW, NULL), columns = number_of(g, loop, BBI_COLUMN, NULL);
    if (rows > g->deep.left) g->deep.left = rows;
    if (columns > g->deep.right) g->deep.right = columns;
    return rows <= MAX_STREAMS && columns <= MAX_STREAMS;
}

/* Shapes of a block, the best first: so many blocks fit on a multiprocessor if a thread needs no more than `words`. */
typedef struct shape {
    int rows, casts, blocks, words;
} shape;
static const shape shapes[] = {{8, 8, 3, 144}, {4, 8, 4, 104}, {4, 8, 3, 160}, {4, 4, 4, 104},
                               {2, 8, 4, 104}, {2, 4, 4, 104}, {1, 4, 4, 104}};

static bool try_shape(bbi_gpu *g, const shape *s) {
    if (s->rows * s->casts * (g->options->is_double ? 2 : 1) > 64 || (g->options->few_rows && s->rows > 2))
        return false;
    g->layout->rows = s->rows;
    g->layout->casts = s->casts;
    g->deep.blocks = g->options->is_double && s->casts == 8 ? 3 : s->blocks;
    return bbi_gpu_place_in_registers(g, g->options->is_double && s->casts == 8 ? 128 : s->words);
}

bool bbi_gpu_find_deep(bbi_gpu *g) {
    const int count = sizeof shapes / sizeof *shapes;
    bbi_gpu_layout *l = g->layout;
    bbi_gpu_deep *d = &g->deep;
    bool found = false;
    if (g->options->apart) return false;
    for (int32_t n = 0; n < g->e.code->count; n++) {
        if (step(g, n)->kind != BBI_STEP_LOOP) continue;
        if (!is_deep_loop(g, n)) return false;
        found = true;
        n = g->e.end[n];
    }
    int k = 0;
    while (found && k < count && !try_shape(g, &shapes[k])) k++;
    if (!found || k == count) {
        memset(l, 0, sizeof *l);
        *d = (bbi_gpu_deep){0};
        return false;
    }
    l->tx = TX;
    d->tall = TX * l->rows;
    d->tile = BBI_GPU_THREADS / TX * l->casts;
    l->local = DEPTH * (d->left * d->tall + d->right * d->tile);
    d->on = true;
    return true;
}

/* ---- text ---- */
void bbi_gpu_deep_head(const bbi_gpu *g) {
    LINE("#define BB_TALL %d\n#define BB_DEPTH %d", g->deep.tall, DEPTH);
    LINE("#define BB_LEFT(s, r) lefts[((s) * BB_DEPTH + deep) * BB_TALL + x + (r) * tx]");
    LINE("#define BB_RIGHT(s, u) rights[((s) * BB_DEPTH + deep) * BB_TILE + q + (u)]");
}

void bbi_gpu_deep_begin(const bbi_gpu *g) {
    LINE("BB_LOCAL R *const lefts = tile, *const rights = tile + %d;", DEPTH * g->deep.left * g->deep.tall);
    LINE("const I64 my_row = first_row + BB_THREAD %% BB_TALL < end_row ? first_row + BB_THREAD %% BB_TALL : end_row - "
         "1;");
}

/* Components `from` to `to` of a stream, a thread for a row (column) of each. */
static void fill_stream(bbi_gpu *g, int32_t loop, const bbi_operand *o, int stream) {
    bool is_row = o->space == BBI_ROW;
    const char *size = is_row ? "BB_TALL" : "BB_TILE";
    LINE("BB_UNROLL_FOUR for (int d = BB_THREAD / %s; d < depth; d += BB_THREADS / %s) {", size, size);
    LINE("    const int c%d = from + d;", (int)step(g, loop)->counter);
    bbi_text_add(g->e.text, "%*s%s[(%d + d) * %s + BB_THREAD %% %s] = ", 4 * g->e.indent + 4, "",
                 is_row ? "lefts" : "rights", stream * DEPTH, size, size);
    bbi_text_add(g->e.text, is_row ? "row[my_row + (I64)" : "column[my_column + (I64)");
    bbi_emit_index(&g->e, o->number, 0);
    bbi_text_add(g->e.text, is_row ? " * row_stride];\n" : " * column_stride];\n");
    LINE("}");
}

static void fill_streams(bbi_gpu *g, int32_t loop, uint8_t space) {
    int next = 0;
    for (int32_t n = loop + 1; n < g->e.end[loop]; n++)
        for (int a = 0; a < step(g, n)->narg; a++) {
            const bbi_operand *o = &step(g, n)->arg[a];
            if (!is_stream(g, o, space, step(g, loop)->counter) || number_of(g, loop, space, o) != next) continue;
            fill_stream(g, loop, o, next++);
        }
}

/* A loop over components, for the block of pairs of every thread. */
void bbi_gpu_deep_loop(bbi_gpu *g, int32_t loop) {
    const bbi_instruction *s = step(g, loop);
    bbi_text_add(g->e.text, "%*sBB_ROLLED for (int from = 0, end = ", 4 * g->e.indent, "");
    bbi_emit_index(&g->e, s->index, 0);
    bbi_text_add(g->e.text, "; from < end; from += BB_DEPTH) {\n");
    g->e.indent++;
    LINE("const int depth = end - from < BB_DEPTH ? end - from : BB_DEPTH;");
    LINE("const I64 my_column = place_of[BB_THREAD %% BB_TILE];");
    LINE("BB_BARRIER();");
    fill_streams(g, loop, BBI_ROW);
    fill_streams(g, loop, BBI_COLUMN);
    LINE("BB_BARRIER();");
    LINE("%s for (int deep = 0; deep < depth; deep++) {", g->layout->rows == 8 ? "BB_ROLLED" : "BB_UNROLL_FOUR");
    g->e.indent++;
    LINE("const int c%d = from + deep;", (int)s->counter);
    g->deep.inside = true;
    g->deep.loop = loop;
    bbi_gpu_segment(g, loop + 1, g->e.end[loop]);
    g->deep.inside = false;
    g->e.indent--;
    LINE("}");
    g->e.indent--;
    LINE("}");
}
