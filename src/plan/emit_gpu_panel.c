/* emit_gpu_panel.c: the text of a kernel that multiplies tiles (emit_gpu_product.c says how it is laid out): the tiles in
 * local memory, the product, and what becomes of its sums. */
#include "emit_gpu.h"

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
#define L(x) ((long long)(x))
enum { FLUSH_COLUMNS = 256 };

/* ---- tiles ---- */
int bbi_gpu_product_blocks(const bbi_gpu *g) {
    int sums = g->products.down * g->products.over;
    return sums > (g->options->is_double ? 16 : 40) ? 3 : 4;
}

void bbi_gpu_product_head(const bbi_gpu *g) {
    const bbi_gpu_products *p = &g->products;
    LINE("#define BB_TALL %d\n#define BB_LINE %d\n#define BB_PANEL_LINE %d", p->tall, p->line, p->panel_line);
    LINE("#define BB_ACROSS %d\n#define BB_DOWN %d\n#define BB_OVER %d\n#define BB_WIDTH %d", p->across, p->down,
         p->over, p->width);
    LINE("#define BB_DOWN_VECTORS %d\n#define BB_OVER_VECTORS %d\n#define BB_PANEL_COLUMNS %d", p->down / p->width,
         p->vectors, p->panel_columns);
}

static void emit_components(const bbi_gpu *g) {
    int64_t count = g->e.stage->column_count, to = 0;
    for (int64_t c = 0; c < count; c++) {
        if (!g->products.used[c]) continue;
        int64_t end = c;
        while (end < count && g->products.used[end]) end++;
        LINE("for (int d = line; d < %lld; d += BB_THREADS / BB_TILE)", L(end - c));
        LINE("    tile[(%lld + d) * BB_TILE + k] = column[(%lld + d) * column_stride + c];", L(to), L(c));
        to += end - c;
        c = end;
    }
}

/* Behind the barrier that says that nobody reads the last tile. */
static void emit_fill(const bbi_gpu *g) {
    LINE("BB_BARRIER();");
    LINE("const int k = BB_THREAD %% BB_TILE, line = BB_THREAD / BB_TILE;");
    LINE("const I64 place = begin + t + k;");
    LINE("const I64 c = k >= n ? 0 : intervals ? bb_column(interval, intervals, place) : place;");
    if (g->layout->shared) {
        LINE("if (k < n) {");
        bbi_gpu *mutable = (bbi_gpu *)(uintptr_t)g;
        mutable->e.indent++;
        emit_components(g);
        mutable->e.indent--;
        LINE("}");
    } else {
        LINE("if (line == 0) place_of[k] = c;");
    }
}

/* Component of the column for output o. */
static void print_factor(const bbi_gpu *g, const bbi_gpu_product *product) {
    int64_t first = 0;
    for (int k = 0; k < product->pieces; k++) {
        const bbi_gpu_piece *piece = &product->piece[k];
        if (k + 1 < product->pieces) bbi_text_add(g->e.text, "o < %lld ? ", L(first + piece->count));
        bbi_text_add(g->e.text, "column[(I64)(%lld + o) * column_stride + c]", L(piece->column - first));
        if (k + 1 < product->pieces) bbi_text_add(g->e.text, " : ");
        first += piece->count;
    }
}

/* Columns from .. from + BB_PANEL_COLUMNS - 1 of the tile, outputs from `origin` on. */
static void emit_panel(const bbi_gpu *g, const bbi_gpu_product *product) {
    LINE("if (k >= from && k < from + BB_PANEL_COLUMNS && k < n) {");
    LINE("    BB_ROLLED for (int v = line; v < BB_ACROSS * BB_OVER_VECTORS; v += BB_THREADS / BB_TILE) {");
    LINE("        V s[BB_WIDTH];");
    LINE("        BB_EACH(w, BB_WIDTH) {");
    LINE("            const int nth = v / BB_ACROSS * BB_WIDTH + w, o = origin + v %% BB_ACROSS * BB_OVER + nth;");
    bbi_text_add(g->e.text, "%*ss[w] = nth < BB_OVER && o < %lld ? (", 4 * g->e.indent + 12, "", L(product->count));
    print_factor(g, product);
    bbi_text_add(g->e.text, ") : K(0);\n");
    LINE("        }");
    LINE("        BB_STOREV(panel + (k - from) * BB_PANEL_LINE + v * BB_WIDTH, s);");
    LINE("    }");
    LINE("}");
}

void bbi_gpu_store_values(const bbi_gpu *g) {
    for (int k = 0; k < g->products.count; k++)
        LINE("BB_EACH(r, BB_ROWS) BB_EACH(u, %d) values[(%d + q + u) * BB_LINE + x + r * tx] = a%d[r][u];", g->casts,
             k * g->products.columns, (int)g->products.product[k].value);
}

/* ---- products ---- */
static const char steps[] =
    "#define BB_FOR(k, count) BB_ROLLED for (int k = 0; k < (count); k++)\n"
    "#define BB_PRODUCT(at, from)                                                                   \\\n"
    "    do {                                                                                        \\\n"
    "        V left[BB_DOWN], right[BB_OVER_VECTORS * BB_WIDTH];                                     \\\n"
    "        BB_EACH(h, BB_DOWN_VECTORS)                                                             \\\n"
    "            BB_LOADV(left, h * BB_WIDTH, matrix + (at) * BB_LINE + h * (BB_TALL / BB_DOWN_VECTORS)); \\\n"
    "        BB_EACH(h, BB_OVER_VECTORS)                                                             \\\n"
    "            BB_LOADV(right, h * BB_WIDTH, panel_at + ((at) - (from)) * BB_PANEL_LINE + h * (BB_ACROSS * "
    "BB_WIDTH)); \\\n"
    "        BB_EACH(i, BB_DOWN) BB_EACH(w, BB_OVER) sum[i][w] = v_fma(left[i], right[w], sum[i][w]); \\\n"
    "    } while (0)\n"
    "#define BB_ROW_OF(i) ((i) / BB_WIDTH * (BB_TALL / BB_DOWN_VECTORS) + (i) % BB_WIDTH)\n";

static void emit_steps(const bbi_gpu *g, int number) {
    LINE("{");
    LINE("    BB_LOCAL const R *matrix = values + %d * BB_LINE + my_row * BB_WIDTH;", number * g->products.columns);
    LINE("    BB_LOCAL const R *panel_at = panel + my_output * BB_WIDTH;");
    LINE("    const int to = n < from + BB_PANEL_COLUMNS ? n : from + BB_PANEL_COLUMNS;");
    LINE("    int at = from;");
    LINE("    BB_ROLLED for (; at + 4 <= to; at += 4) BB_EACH(h4, 4) BB_PRODUCT(at + h4, from);");
    LINE("    BB_ROLLED for (; at < to; at++) BB_PRODUCT(at, from);");
    LINE("}");
}

static int64_t place_of(const bbi_gpu *g, int64_t sum, bool low) {
    const bbi_fold *fold = g->e.stage->fold;
    int f = 0;
    while (sum < fold[f].sum_first || sum >= fold[f].sum_first + fold[f].dim) f++;
    return g->layout->value_first[f] + sum - fold[f].sum_first + (low ? fold[f].dim : 0);
}

/* Component of `value` in which the sum of an output stands, as macros of o; low: of its correction. */
static void emit_places(const bbi_gpu *g, const bbi_gpu_product *product) {
    static const char *const names[] = {"BB_PLACE", "BB_LOW_PLACE"};
    for (int low = 0; low < (g->options->scheme == 1 ? 2 : 1); low++) {
        int64_t first = 0;
        bbi_text_add(g->e.text, "#undef %s\n", names[low]);
        bbi_text_add(g->e.text, "#define %s(o) ((o)", names[low]);
        for (int k = 0; k < product->pieces; k++) {
            const bbi_gpu_piece *piece = &product->piece[k];
            int64_t place = place_of(g, piece->sum, low) - first;
            if (k + 1 < product->pieces)
                bbi_text_add(g->e.text, " + ((o) < %lld ? %lld : ", L(first + piece->count), L(place));
            else
                bbi_text_add(g->e.text, " + (%lld)", L(place));
            first += piece->count;
        }
        for (int k = 1; k < product->pieces; k++) bbi_text_add(g->e.text, ")");
        bbi_text_add(g->e.text, ")\n");
    }
}

/* A statement for every sum of the thread; `to` points to those of an output, `rest` to their corrections. */
static void open_sums(const bbi_gpu *g, const bbi_gpu_product *product, const char *each) {
    LINE("%s(w, BB_OVER) {", each);
    LINE("    const int o = origin + my_output * BB_OVER + w;");
    LINE("    if (o < %lld) {", L(product->count));
    LINE("        BB_GLOBAL A *const to = value + BB_PLACE(o) * total + my_row * BB_WIDTH;");
    if (g->options->scheme == 1)
        LINE("        BB_GLOBAL A *const rest = value + BB_LOW_PLACE(o) * total + my_row * BB_WIDTH;");
    LINE("        %s(i, BB_DOWN) {", each);
}

static void close_sums(const bbi_gpu *g) {
    LINE("        }");
    LINE("    }");
    LINE("}");
}

static void emit_zeros(const bbi_gpu *g, const bbi_gpu_product *product) {
    open_sums(g, product, "BB_FOR");
    LINE("            to[BB_ROW_OF(i)] = 0;");
    if (g->options->scheme == 1) LINE("            rest[BB_ROW_OF(i)] = 0;");
    close_sums(g);
}

static void emit_flush(const bbi_gpu *g, const bbi_gpu_product *product) {
    open_sums(g, product, "BB_EACH");
    if (g->options->scheme == 1) {
        LINE("            A high = to[BB_ROW_OF(i)], low = rest[BB_ROW_OF(i)];");
        LINE("            BB_TWO_SUM(high, low, (A)sum[i][w]);");
        LINE("            to[BB_ROW_OF(i)] = high, rest[BB_ROW_OF(i)] = low;");
    } else if (g->options->scheme == 2 && !g->products.single) {
        LINE("            to[BB_ROW_OF(i)] = (A)sum[i][w];");
    } else {
        LINE("            to[BB_ROW_OF(i)] += (A)sum[i][w];");
    }
    close_sums(g);
}

static void emit_begin(const bbi_gpu *g, const bbi_gpu_product *product) {
    LINE("BB_EACH(i, BB_DOWN) BB_EACH(w, BB_OVER) sum[i][w] = 0;");
    if (g->options->scheme != 2 || g->products.single) return;
    open_sums(g, product, "BB_EACH");
    LINE("            sum[i][w] = (V)to[BB_ROW_OF(i)];");
    close_sums(g);
}

/* ---- other sums ---- */
static void declare_rest(const bbi_gpu *g) {
    for (int k = 0; k < g->products.nrest; k++) {
        long long n = g->products.rest[k];
        LINE("V s%lld[BB_ROWS];", n);
        LINE("BB_EACH(r, BB_ROWS) s%lld[r] = 0;", n);
        for (int low = 0; low < (g->options->scheme == 1 ? 2 : 1); low++)
            LINE("for (int k = BB_THREAD; k < BB_TALL; k += BB_THREADS) value[%lld * total + k] = 0;",
                 L(place_of(g, n, low)));
    }
}

/* Added up in the order of the threads that share a row. */
static void flush_rest(bbi_gpu *g) {
    if (!g->products.nrest) return;
    if (g->options->scheme == 2)
        LINE("if (t + BB_TILE >= count) {");
    else
        LINE("if ((t / BB_TILE + 1) %% %d == 0 || t + BB_TILE >= count) {", FLUSH_COLUMNS / g->products.columns);
    g->e.indent++;
    for (int k = 0; k < g->products.nrest; k++) {
        long long n = g->products.rest[k], place = place_of(g, n, false), rest = place_of(g, n, true);
        LINE("BB_BARRIER();");
        LINE("BB_EACH(r, BB_ROWS) values[share * BB_LINE + x + r * tx] = s%lld[r], s%lld[r] = 0;", n, n);
        LINE("BB_BARRIER();");
        LINE("BB_ROLLED for (int k = BB_THREAD; k < BB_TALL; k += BB_THREADS) {");
        LINE("    V s = values[k];");
        LINE("    for (int p = 1; p < shares; p++) s += values[p * BB_LINE + k];");
        if (g->options->scheme == 1) {
            LINE("    A high = value[%lld * total + k], low = value[%lld * total + k];", place, rest);
            LINE("    BB_TWO_SUM(high, low, (A)s);");
            LINE("    value[%lld * total + k] = high, value[%lld * total + k] = low;", place, rest);
        } else {
            LINE("    value[%lld * total + k] += (A)s;", place);
        }
        LINE("}");
    }
    g->e.indent--;
    LINE("}");
}

/* ---- the tiles of a chunk ---- */
/* All outputs in one panel: it is filled with the tile, sums go on. */
static void emit_single(bbi_gpu *g) {
    const bbi_gpu_product *product = g->products.product;
    LINE("const int from = 0, origin = 0;");
    emit_fill(g);
    emit_panel(g, product);
    LINE("BB_BARRIER();");
    bbi_gpu_emit_pairs(g);
    LINE("BB_BARRIER();");
    emit_steps(g, 0);
    if (g->options->scheme == 2)
        LINE("if (t + BB_TILE >= count) {");
    else
        LINE("if ((t / BB_TILE + 1) %% %d == 0 || t + BB_TILE >= count) {", FLUSH_COLUMNS / g->products.columns);
    g->e.indent++;
    emit_flush(g, product);
    emit_begin(g, product);
    g->e.indent--;
    LINE("}");
}

static void emit_panels(bbi_gpu *g, int number) {
    const bbi_gpu_product *product = &g->products.product[number];
    emit_places(g, product);
    LINE("BB_ROLLED for (int origin = 0; origin < %lld; origin += BB_ACROSS * BB_OVER) {", L(product->count));
    g->e.indent++;
    LINE("V sum[BB_DOWN][BB_OVER];");
    emit_begin(g, product);
    LINE("BB_ROLLED for (int from = 0; from < n; from += BB_PANEL_COLUMNS) {");
    g->e.indent++;
    LINE("BB_BARRIER();");
    emit_panel(g, product);
    LINE("BB_BARRIER();");
    emit_steps(g, number);
    g->e.indent--;
    LINE("}");
    emit_flush(g, product);
    g->e.indent--;
    LINE("}");
}

void bbi_gpu_emit_products(bbi_gpu *g) {
    const bbi_gpu_products *p = &g->products;
    bbi_text_append(g->e.text, steps, sizeof steps - 1);
    LINE("BB_LOCAL R *const values = tile + %lld, *const panel = values + %lld;", L(bbi_gpu_product_tile(g)),
         L(p->count * p->columns * p->line));
    LINE("const int warp = BB_THREAD / 32, warps_down = BB_THREADS / BB_ACROSS / 8;");
    LINE("const int my_row = BB_THREAD %% 8 + warp %% warps_down * 8;");
    LINE("const int my_output = BB_THREAD / 8 %% 4 + warp / warps_down * 4;");
    for (int k = 0; k < p->count; k++) {
        emit_places(g, &p->product[k]);
        LINE("BB_ROLLED for (int origin = 0; origin < %lld; origin += BB_ACROSS * BB_OVER)", L(p->product[k].count));
        emit_zeros(g, &p->product[k]);
    }
    declare_rest(g);
    if (p->single) {
        LINE("V sum[BB_DOWN][BB_OVER];");
        emit_begin(g, p->product);
    }
    LINE("BB_ROLLED for (int t = 0; t < count; t += BB_TILE) {");
    g->e.indent++;
    LINE("const int n = count - t < BB_TILE ? count - t : BB_TILE;");
    if (p->single) {
        emit_single(g);
    } else {
        emit_fill(g);
        LINE("BB_BARRIER();");
        bbi_gpu_emit_pairs(g);
        for (int k = 0; k < p->count; k++) emit_panels(g, k);
    }
    flush_rest(g);
    g->e.indent--;
    LINE("}");
}
