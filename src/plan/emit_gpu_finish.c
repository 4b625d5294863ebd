/* emit_gpu_finish.c: the kernels behind the pairs: a thread merges the partial results of a row in the order of the parts,
 * which is that of the columns (shares of a chunk interleave them: selections compare indices), translates indices, runs
 * the epilogue and stores results. Merged states stand in part 0. Where there are many parts, a kernel before merges each
 * BBI_GPU_MERGED of them (`step` apart) into their first, by a thread for each row and first, again and again. Sums of parts
 * are compensated: A may be float. */
#include "emit_gpu.h"

#include <inttypes.h>

#define LINE(...) bbi_emit_line(&g->e, __VA_ARGS__)
#define L(x) ((long long)(x))

int bbi_gpu_finish_arrays(const bbi_stage *stage, bbi_gpu_finish_array *arrays) {
    int count = 0;
    for (int32_t k = 0; k < stage->nfold; k++)
        if (stage->fold[k].lookup) arrays[count++] = (bbi_gpu_finish_array){.is_lookup = true, .number = k};
    for (int32_t k = 0; k < stage->nresult; k++) arrays[count++] = (bbi_gpu_finish_array){.number = k};
    return count;
}

static bool is_extreme(const bbi_fold *f) { return f->family == BBI_FAMILY_MIN || f->family == BBI_FAMILY_MAX; }

/* ---- merging ---- */
static void merge_sum(const bbi_gpu *g, const bbi_fold *f, int64_t first, bool low, bool is_last) {
    LINE("for (int c = 0; c < %lld; c++) {", L(f->dim));
    LINE("    A s = BB_V(into, %lld + c), low = %s;", L(first), low ? "BB_V(into, BB_LOW + c)" : "0");
    LINE("    for (I64 p = into + step; p < last; p += step) {");
    LINE("        const A x = BB_V(p, %lld + c);", L(first));
    LINE("        BB_TWO_SUM(s, low, x);");
    if (low) LINE("        low += BB_V(p, BB_LOW + c);");
    LINE("    }");
    if (low && !is_last)
        LINE("    BB_V(into, %lld + c) = s, BB_V(into, BB_LOW + c) = low;", L(first));
    else
        LINE("    BB_V(into, %lld + c) = BB_IS_FINITE(s) ? s + low : s;", L(first));
    LINE("}");
}

static void merge_extreme(const bbi_gpu *g, const bbi_fold *f, int64_t first, int64_t index) {
    const char *better = f->family == BBI_FAMILY_MAX ? ">" : "<";
    LINE("for (int c = 0; c < %lld; c++) {", L(f->dim));
    LINE("    A best = BB_V(into, %lld + c);", L(first));
    if (f->want_index) LINE("    I64 where = BB_I(into, %lld + c);", L(index));
    LINE("    for (I64 p = into + step; p < last; p += step) {");
    LINE("        const A x = BB_V(p, %lld + c);", L(first));
    if (f->want_index) {
        LINE("        const I64 i = BB_I(p, %lld + c);", L(index));
        LINE("        if (i >= 0 && (where < 0 || x %s best || (x == best && i < where))) best = x, where = i;",
             better);
    } else {
        LINE("        if (x %s best) best = x;", better);
    }
    LINE("    }");
    LINE("    BB_V(into, %lld + c) = best;", L(first));
    if (f->want_index) LINE("    BB_I(into, %lld + c) = where;", L(index));
    LINE("}");
}

/* Parts are brought to the largest maximum; the scale of each stands in the place of its maximum meanwhile. */
static void merge_exponentials(const bbi_gpu *g, const bbi_fold *f, int64_t first) {
    LINE("if (into + step < last) {");
    LINE("    A top = BB_V(into, %lld);", L(first));
    LINE("    for (I64 p = into + step; p < last; p += step) top = BB_V(p, %lld) > top ? BB_V(p, %lld) : top;",
         L(first), L(first));
    LINE("    for (I64 p = into; p < last; p += step)");
    LINE("        BB_V(p, %lld) = BB_V(p, %lld) == top ? (A)1 : exp(BB_V(p, %lld) - top);", L(first), L(first),
         L(first));
    LINE("    for (int c = 1; c <= %lld; c++) {", L(f->weight_dim + 1));
    LINE("        A s = 0, low = 0;");
    LINE("        for (I64 p = into; p < last; p += step) {");
    LINE("            const A x = BB_V(p, %lld + c) * BB_V(p, %lld);", L(first), L(first));
    LINE("            BB_TWO_SUM(s, low, x);");
    LINE("        }");
    LINE("        BB_V(into, %lld + c) = BB_IS_FINITE(s) ? s + low : s;", L(first));
    LINE("    }");
    LINE("    BB_V(into, %lld) = top;", L(first));
    LINE("}");
}

static void merge_lists(const bbi_gpu *g, const bbi_fold *f, int64_t first, int64_t index) {
    LINE("for (I64 p = into + step; p < last; p += step)");
    LINE("    for (int c = 0; c < %lld; c++)", L(f->dim));
    LINE("        bb_merge_lists(&BB_V(into, %lld + c), &BB_I(into, %lld + c), &BB_V(p, %lld + c), &BB_I(p, %lld + c),",
         L(first), L(index), L(first), L(index));
    LINE("                       total * %lld, %lld);", L(f->dim), L(f->k));
}

static void merge(bbi_gpu *g, int k, bool is_last) {
    const bbi_fold *f = &g->e.stage->fold[k];
    int64_t first = g->layout->value_first[k], index = g->layout->index_first[k];
    if (f->family == BBI_FAMILY_SUM) {
        int64_t step = g->layout->low_step ? g->layout->low_step : f->dim;
        if (g->layout->low[k]) LINE("#undef BB_LOW\n#define BB_LOW %lld", L(first + step));
        merge_sum(g, f, first, g->layout->low[k], is_last);
    } else if (is_extreme(f)) {
        merge_extreme(g, f, first, index);
    } else if (f->family == BBI_FAMILY_KMIN) {
        merge_lists(g, f, first, index);
    } else if (f->family == BBI_FAMILY_LSE) {
        merge_exponentials(g, f, first);
    } else if (f->family == BBI_FAMILY_USER) {
        bbi_gpu_merge_user(g, k);
    } else {
        LINE("for (I64 p = into + step; p < last; p += step)");
        LINE("    for (int c = 0; c < %lld; c++) BB_V(into, %lld + c) *= BB_V(p, %lld + c);", L(f->dim), L(first),
             L(first));
    }
}

/* ---- what the epilogue reads ---- */
static void look_up(const bbi_gpu *g, int number, const bbi_fold *f, int64_t index) {
    LINE("for (int c = 0; c < %lld; c++) {", L(f->dim));
    LINE("    const I64 i = BB_I(0, %lld + c);", L(index));
    LINE("    if (i < 0) continue;");
    LINE("    const I64 j = *(BB_GLOBAL const I64 *)(t%d + BB_ORIGIN(%d) + i * BB_VIEW(%d, BB_FIELD_ROW)", number,
         number, number);
    LINE("                                           + c * BB_VIEW(%d, BB_FIELD_DIM));", number);
    LINE("    BB_I(0, %lld + c) = j < 0 ? -1 : i * BB_AT(geometry, BB_GEO_EXTENT_J) + j;", L(index));
    LINE("}");
}

static void fill_read(bbi_gpu *g, const bbi_read *read) {
    const bbi_fold *f = &g->e.stage->fold[read->fold];
    if (f->family == BBI_FAMILY_USER) {
        bbi_gpu_finish_user(g, read);
        return;
    }
    int64_t first = g->layout->value_first[read->fold], index = g->layout->index_first[read->fold];
    int64_t sum = first + 1 + (f->weight_dim ? 1 : 0);
    const char *format = "for (int c = 0; c < %lld; c++) row[(%lld + c) * stride] = (R)BB_V(0, %lld + c);";
    switch (read->output) {
    case BBI_OUT_INDEX:
        LINE("for (int c = 0; c < %lld; c++) row[(%lld + c) * stride] = (R)BB_I(0, %lld + c);", L(read->dim),
             L(read->first), L(index));
        return;
    case BBI_OUT_LOGSUM:
        LINE("for (int c = 0; c < %lld; c++)", L(read->dim));
        LINE("    row[(%lld + c) * stride] = (R)(BB_V(0, %lld) + log(BB_V(0, %lld + c)));", L(read->first), L(first),
             L(sum));
        return;
    case BBI_OUT_RATIO:
        LINE("for (int c = 0; c < %lld; c++)", L(read->dim));
        LINE("    row[(%lld + c) * stride] = (R)(BB_V(0, %lld + c) / BB_V(0, %lld));", L(read->first), L(sum),
             L(first + 1));
        return;
    case BBI_OUT_MAXSUM:
        LINE("row[%lld * stride] = (R)BB_V(0, %lld);", L(read->first), L(first));
        LINE(format, L(read->dim - 1), L(read->first + 1), L(sum));
        return;
    default: LINE(format, L(read->dim), L(read->first), L(first)); return;
    }
}

static void store_result(const bbi_gpu *g, int number, const bbi_result *result) {
    LINE("t%d += BB_ORIGIN(%d) + place * BB_VIEW(%d, BB_FIELD_ROW);", number, number, number);
    LINE("for (int c = 0; c < %lld; c++)", L(result->dim));
    if (result->fold >= 0)
        LINE("    *(BB_GLOBAL I64 *)(t%d + c * BB_VIEW(%d, BB_FIELD_DIM)) = BB_I(0, %lld + c);", number, number,
             L(g->layout->index_first[result->fold] + result->first));
    else
        LINE("    bb_store(t%d + c * BB_VIEW(%d, BB_FIELD_DIM), (int)BB_VIEW(%d, BB_FIELD_DTYPE), row[(%lld + c) * "
             "stride]);",
             number, number, number, L(result->first));
}

/* ---- the kernel ---- */
static const char place[] =
    "    const I64 total = BB_AT(geometry, BB_GEO_TOTAL), into = 0, last = BB_AT(geometry, BB_GEO_PARTS);\n"
    "    const I64 step = BB_AT(geometry, BB_GEO_STEP);\n"
    "    const I64 size_of_group = BB_AT(geometry, BB_GEO_GROUP_ROWS), groups = BB_AT(geometry, BB_GEO_GROUPS);\n"
    "    const I64 id = BB_BLOCK * BB_THREADS + BB_THREAD, stride = BB_AT(geometry, BB_GEO_ROW_STRIDE);\n"
    "    if (id >= total) return;\n"
    "    const I64 number = id / size_of_group % groups + BB_AT(geometry, BB_GEO_FIRST_GROUP);\n"
    "    const I64 slot = id / size_of_group / groups;\n"
    "    I64 place = number * size_of_group, end = BB_AT(geometry, BB_GEO_ROWS), intervals = 0;\n"
    "    if (BB_AT(geometry, BB_GEO_RANGES)) {\n"
    "        group += number * 5;\n"
    "        place = group[0], end = group[1], intervals = group[3];\n"
    "        interval += 2 * group[2];\n"
    "    }\n"
    "    place += id % size_of_group;\n"
    "    if (place >= end) return;\n"
    "    BB_BATCH(slot);\n"
    "    uniform += slot * BB_AT(geometry, BB_GEO_UNIFORM_SLOT);\n"
    "    row += slot * BB_AT(geometry, BB_GEO_ROW_SLOT) + place;\n"
    "    value += id;\n"
    "    index += id;\n";

static const char merged[] =
    "    const I64 total = BB_AT(geometry, BB_GEO_TOTAL), parts = BB_AT(geometry, BB_GEO_PARTS);\n"
    "    const I64 step = BB_AT(geometry, BB_GEO_STEP), id = BB_BLOCK * BB_THREADS + BB_THREAD;\n"
    "    const I64 into = id / total * step * BB_MERGED, end = into + step * BB_MERGED;\n"
    "    const I64 last = end < parts ? end : parts;\n"
    "    if (into >= parts) return;\n"
    "    value += id % total;\n"
    "    index += id % total;\n";

static void emit_merge(bbi_gpu *g) {
    LINE("#define BB_MERGED %d", BBI_GPU_MERGED);
    LINE("BB_KERNEL(BB_THREADS) void %s(BB_TABLE(geometry), BB_GLOBAL A *value, BB_GLOBAL I64 *index)",
         bbi_gpu_map_symbols[BBI_MAP_MERGE]);
    LINE("{");
    bbi_text_append(g->e.text, merged, sizeof merged - 1);
    g->e.indent = 1;
    for (int k = 0; k < g->e.stage->nfold; k++) merge(g, k, false);
    g->e.indent = 0;
    LINE("}");
}

void bbi_gpu_emit_finish(bbi_gpu *g) {
    const bbi_stage *stage = g->e.stage;
    bbi_gpu_finish_array arrays[BBI_GPU_MAX_ARRAYS];
    int count = bbi_gpu_finish_arrays(stage, arrays);
    emit_merge(g);
    LINE("BB_KERNEL(BB_THREADS) void %s(BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,",
         bbi_gpu_map_symbols[BBI_MAP_FINISH]);
    LINE("    BB_GLOBAL const R *BB_RESTRICT uniform, BB_GLOBAL R *row, BB_GLOBAL const I64 *group,");
    LINE("    BB_GLOBAL const I64 *interval, BB_GLOBAL A *value, BB_GLOBAL I64 *index,");
    for (int k = 0; k < count; k++) LINE("    BB_GLOBAL char *t%d,", k);
    LINE("    BB_TABLE(views))");
    LINE("{");
    bbi_text_append(g->e.text, place, sizeof place - 1);
    g->e.indent = 1;
    for (int k = 0; k < stage->nfold; k++) merge(g, k, true);
    if (g->layout->indices) {
        LINE("for (int c = 0; intervals && c < BB_INDICES; c++)");
        LINE("    if (BB_I(0, c) >= 0) BB_I(0, c) = bb_column(interval, intervals, BB_I(0, c));");
    }
    for (int k = 0; k < count; k++)
        if (arrays[k].is_lookup)
            look_up(g, k, &stage->fold[arrays[k].number], g->layout->index_first[arrays[k].number]);
    for (int32_t k = 0; k < stage->nread; k++) fill_read(g, &stage->read[k]);
    if (stage->epilogue.count) LINE("bb_epilogue(size, uniform, row, stride);");
    for (int k = 0; k < count; k++)
        if (!arrays[k].is_lookup) store_result(g, k, &stage->result[arrays[k].number]);
    g->e.indent = 0;
    LINE("}");
}
