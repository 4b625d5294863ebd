/* oracle.c: the slow twin that tests believe: every node evaluated by its definition, pair by pair, in
 * float64, over the DAG as it is. A node that depends on one axis or none has a table of its values; a node
 * of pairs is evaluated anew at each pair; a reduction gathers the values of its row and applies the
 * definition to them. Nothing here is shared with the planner, the interpreter or the emitters. */
#include "expr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct oracle {
    const bbi_node **nodes; /* as bbi_topological gives them: operands first */
    int64_t count;
    double **values; /* per node: its table, or the value at the current pair */
    bool *needed;    /* nodes of pairs under the reduction that is being taken */
    int64_t m, n, slot;
    const bbi_oracle_array *variables;
    int64_t nvariable;
} oracle;

static int64_t find(const oracle *o, const bbi_node *node) { return bbi_position(o->nodes, o->count, node); }

static int64_t rows_of(const oracle *o, int place) {
    return place == BBI_P ? 1 : place == BBI_I ? o->m : place == BBI_J ? o->n : o->m * o->n;
}

static int64_t row_at(int place, int64_t i, int64_t j) {
    return place == BBI_I ? i : place == BBI_J ? j : 0; /* a node of pairs keeps one value only */
}

static const double *value_at(const oracle *o, const bbi_node *node, int64_t i, int64_t j) {
    return o->values[find(o, node)] + row_at(node->place, i, j) * node->dim;
}

/* ---- One operation at one pair ---- */

static void fold(int op, const double *a, int64_t dim, double *out) {
    long double sum = 0;
    int64_t best = -1;
    bool largest = op == BBI_OP_max || op == BBI_OP_argmax;
    for (int64_t d = 0; d < dim; d++) {
        sum += a[d];
        if (!isnan(a[d]) && (best < 0 || (largest ? a[d] > a[best] : a[d] < a[best]))) best = d;
    }
    if (op == BBI_OP_sum)
        *out = (double)sum;
    else if (op == BBI_OP_argmax || op == BBI_OP_argmin)
        *out = (double)best;
    else
        *out = best >= 0 ? a[best] : largest ? -INFINITY : INFINITY;
}

static int64_t offset(const bbi_contraction *spec, const int64_t *index, const int64_t *labels, int count) {
    int64_t at = 0;
    for (int k = 0; k < count; k++) at = at * spec->size[labels[k]] + index[labels[k]];
    return at;
}

static void contract(const bbi_node *node, const double *a, const double *b, double *out) {
    bbi_contraction spec = bbi_contraction_of(node);
    int64_t index[BBI_MAX_INTS] = {0}, total = 1;
    for (int64_t d = 0; d < node->dim; d++) out[d] = 0;
    for (int k = 0; k < spec.nlabel; k++) total *= spec.size[k];
    for (int64_t step = 0; step < total; step++) {
        double factor = b ? b[offset(&spec, index, spec.lb, spec.nb)] : 1;
        out[offset(&spec, index, spec.lo, spec.no)] += a[offset(&spec, index, spec.la, spec.na)] * factor;
        for (int k = spec.nlabel - 1; k >= 0 && ++index[k] == spec.size[k]; k--) index[k] = 0;
    }
}

static void rearrange(const bbi_node *node, const double *a, const double *b, double *out) {
    int64_t first = node->arg[0]->dim;
    for (int64_t d = 0; d < node->dim; d++) {
        switch (node->op) {
        case BBI_OP_slice: out[d] = a[node->ints[0] + d * node->ints[2]]; break;
        case BBI_OP_concat: out[d] = d < first ? a[d] : b[d - first]; break;
        case BBI_OP_repeat: out[d] = a[0]; break;
        default: out[d] = 0; break; /* pad */
        }
    }
    for (int64_t d = 0; node->op == BBI_OP_pad && d < first; d++) out[node->ints[0] + d * node->ints[2]] = a[d];
}

static bb_status variable_value(const oracle *o, const bbi_node *node, int64_t i, int64_t j, double *out) {
    int64_t position = node->ints[0];
    if (position < 0) { /* not the caller's */
        double number = node->place == BBI_I ? (double)i : node->place == BBI_J ? (double)j : (double)(i * o->n + j);
        *out = position == BBI_ONE ? 1 : position == BBI_SLOT ? (double)o->slot : number;
        return BB_OK;
    }
    if (position >= o->nvariable) {
        return bbi_fail(BB_BAD_ARGUMENT, "oracle: no array for the variable at position %lld", (long long)position);
    }
    const bbi_oracle_array *array = &o->variables[position];
    if (array->dim != node->dim || array->rows != rows_of(o, node->place)) {
        return bbi_fail(BB_BAD_SHAPE, "oracle: variable %lld is %lld x %lld, its array %lld x %lld",
                        (long long)position, (long long)rows_of(o, node->place), (long long)node->dim,
                        (long long)array->rows, (long long)array->dim);
    }
    memcpy(out, array->data + row_at(node->place, i, j) * node->dim, (size_t)node->dim * sizeof *out);
    return BB_OK;
}

static bb_status evaluate(const oracle *o, const bbi_node *node, int64_t i, int64_t j, double *out) {
    const bbi_op_row *row = bbi_op_info(node->op);
    const double *a[3] = {NULL, NULL, NULL};
    for (int k = 0; k < node->narg && k < 3; k++) a[k] = node->arg[k] ? value_at(o, node->arg[k], i, j) : NULL;
    switch (row->kind) {
    case BBI_MAP:
        for (int64_t d = 0; d < node->dim; d++) {
            double operand[3] = {0, 0, 0};
            for (int k = 0; k < node->narg; k++) operand[k] = a[k][node->arg[k]->dim == 1 ? 0 : d];
            out[d] = row->scalar(operand[0], operand[1], operand[2]);
        }
        return BB_OK;
    case BBI_FOLD: fold(node->op, a[0], node->arg[0]->dim, out); return BB_OK;
    case BBI_CONTRACT: contract(node, a[0], a[1], out); return BB_OK;
    case BBI_INDEX: rearrange(node, a[0], a[1], out); return BB_OK;
    default: break;
    }
    if (node->op == BBI_OP_VAR) return variable_value(o, node, i, j, out);
    if (node->op != BBI_OP_CONST && node->op != BBI_OP_IOTA) {
        return bbi_fail(BB_INTERNAL, "oracle: operation '%s' cannot stand here", row->name);
    }
    for (int64_t d = 0; d < node->dim; d++) out[d] = node->op == BBI_OP_CONST ? node->value : (double)d;
    return BB_OK;
}

/* ---- Reductions: the values of one row, gathered, then the definition ---- */

typedef struct gathered {
    int64_t count, capacity;
    int64_t df, dw;
    double *f, *w; /* count x df, count x dw */
} gathered;

static bb_status gather(oracle *o, const bbi_node *r, gathered *g, int64_t i, int64_t j, int64_t slot) {
    const bbi_node *f = r->arg[0], *w = r->narg > 1 ? r->arg[1] : NULL;
    o->slot = slot;
    for (int64_t k = 0; k < o->count; k++) {
        if (o->needed[k]) BBI_FORWARD(evaluate(o, o->nodes[k], i, j, o->values[k]));
    }
    if (g->count == g->capacity) {
        int64_t capacity = g->capacity ? 2 * g->capacity : 64;
        double *grown = bbi_realloc(g->f, (size_t)(capacity * g->df) * sizeof *grown);
        if (grown) g->f = grown;
        double *grown_w = grown ? bbi_realloc(g->w, (size_t)(capacity * g->dw + 1) * sizeof *grown) : NULL;
        if (!grown_w) return bbi_fail(BB_OUT_OF_MEMORY, "oracle: out of memory");
        g->w = grown_w;
        g->capacity = capacity;
    }
    memcpy(g->f + g->count * g->df, value_at(o, f, i, j), (size_t)g->df * sizeof *g->f);
    if (w) memcpy(g->w + g->count * g->dw, value_at(o, w, i, j), (size_t)g->dw * sizeof *g->w);
    g->count++;
    return BB_OK;
}

/* All pairs of output row `row`, in the order of their index. */
static bb_status gather_row(oracle *o, const bbi_node *r, int64_t row, gathered *g) {
    bool folds_i = r->ints[1] & BBI_I, folds_j = r->ints[1] & BBI_J;
    int64_t i0 = folds_i ? 0 : r->place & BBI_I ? row : 0, i1 = folds_i ? o->m : i0 + 1;
    int64_t j0 = folds_j ? 0 : r->place & BBI_J ? row : 0, j1 = folds_j ? o->n : j0 + 1;
    for (int64_t i = i0; i < i1; i++) {
        for (int64_t j = j0; j < j1; j++) BBI_FORWARD(gather(o, r, g, i, j, 0));
    }
    return BB_OK;
}

/* The pair that an entry of a list names; false for the entry -1, which names none. */
static bool entry_pair(const oracle *o, const bbi_node *list, int64_t row, double entry, int64_t *i, int64_t *j) {
    int64_t e = entry >= 0 ? (int64_t)entry : -1;
    *i = list->place == BBI_I ? row : list->place == BBI_J ? e : e / (o->n ? o->n : 1);
    *j = list->place == BBI_I ? e : list->place == BBI_J ? row : e % (o->n ? o->n : 1);
    return e >= 0;
}

/* The listed pairs that belong to output row `row`, in the order of the list. */
static bb_status gather_listed(oracle *o, const bbi_node *r, int64_t row, gathered *g) {
    const bbi_node *list = r->arg[2];
    const double *entries = o->values[find(o, list)];
    for (int64_t k = 0; k < rows_of(o, list->place); k++) {
        for (int64_t s = 0; s < list->dim; s++) {
            int64_t i, j;
            if (!entry_pair(o, list, k, entries[k * list->dim + s], &i, &j)) continue;
            if (i >= o->m || j >= o->n)
                return bbi_fail(BB_BAD_ARGUMENT, "oracle: a list names the pair (%lld, %lld)", (long long)i,
                                (long long)j);
            if ((r->place & BBI_I && i != row) || (r->place & BBI_J && j != row)) continue;
            BBI_FORWARD(gather(o, r, g, i, j, s));
        }
    }
    return BB_OK;
}

/* Whether entry a of component d comes before entry b among the smallest (largest); NaN never comes. */
static bool before(const gathered *g, int64_t d, int64_t a, int64_t b, bool largest) {
    double x = g->f[a * g->df + d];
    if (isnan(x) || b < 0) return !isnan(x);
    double y = g->f[b * g->df + d];
    return largest ? x > y : x < y;
}

/* Selection by repeated search: entry k is the first of the smallest that were not taken yet. */
static bb_status select_entries(const gathered *g, const bbi_node *r, int64_t k, bool largest, bool index,
                                double *out) {
    bool *taken = bbi_calloc((size_t)(g->count * g->df + 1), sizeof *taken);
    if (!taken) return bbi_fail(BB_OUT_OF_MEMORY, "oracle: out of memory");
    for (int64_t e = 0; e < k * g->df && e < r->dim; e++) {
        int64_t d = e % g->df, best = -1;
        for (int64_t a = 0; a < g->count; a++) {
            if (!taken[a * g->df + d] && before(g, d, a, best, largest)) best = a;
        }
        if (best >= 0) taken[best * g->df + d] = true;
        if (index)
            out[e] = (double)best;
        else
            out[e] = best >= 0 ? g->f[best * g->df + d] : largest ? -INFINITY : INFINITY;
    }
    bbi_free(taken);
    return BB_OK;
}

/* m = max f, s_e = sum over k of exp(f_k - m) w_ke; an infinite m is not shifted by. */
static void log_sum_exp(const gathered *g, const bbi_node *r, bbi_output output, double *out) {
    double m = -INFINITY;
    int64_t width = g->dw ? g->dw : 1;
    for (int64_t k = 0; k < g->count; k++) m = g->f[k] > m ? g->f[k] : m;
    double shift = isfinite(m) ? m : 0;
    for (int64_t e = 0; e < width; e++) {
        long double weighted = 0, plain = 0;
        for (int64_t k = 0; k < g->count; k++) {
            long double p = expl((long double)g->f[k] - shift);
            weighted += g->dw ? p * g->w[k * g->dw + e] : p;
            plain += p;
        }
        if (output == BBI_OUT_LOGSUM)
            out[e] = (double)(shift + logl(weighted));
        else if (output == BBI_OUT_RATIO)
            out[e] = (double)(weighted / plain);
        else
            out[r->dim - width + e] = (double)weighted;
    }
    if (output == BBI_OUT_MAXSUM) out[0] = m;
}

static bb_status reduce(const gathered *g, const bbi_node *r, double *out) {
    const bbi_reduction_row *row = bbi_reduction_info((int)r->ints[0]);
    switch (row->family) {
    case BBI_FAMILY_SUM:
    case BBI_FAMILY_PROD:
        for (int64_t d = 0; d < r->dim; d++) {
            long double sum = 0, product = 1;
            for (int64_t k = 0; k < g->count; k++) {
                sum += g->f[k * g->df + d];
                product *= g->f[k * g->df + d];
            }
            out[d] = (double)(row->family == BBI_FAMILY_SUM ? sum : product);
        }
        return BB_OK;
    case BBI_FAMILY_MIN: return select_entries(g, r, 1, false, row->output == BBI_OUT_INDEX, out);
    case BBI_FAMILY_MAX: return select_entries(g, r, 1, true, row->output == BBI_OUT_INDEX, out);
    case BBI_FAMILY_KMIN: return select_entries(g, r, r->ints[2], false, row->output == BBI_OUT_INDEX, out);
    case BBI_FAMILY_LSE: log_sum_exp(g, r, row->output, out); return BB_OK;
    case BBI_FAMILY_USER: break;
    }
    return bbi_fail(BB_INTERNAL, "oracle: a reduction of no known family");
}

/* Marks the nodes of pairs that the root needs at each pair. */
static void mark(oracle *o, const bbi_node *const *roots, int nroot) {
    memset(o->needed, 0, (size_t)o->count * sizeof *o->needed);
    for (int k = 0; k < nroot; k++) {
        if (roots[k] && roots[k]->place == BBI_IJ) o->needed[find(o, roots[k])] = true;
    }
    for (int64_t k = o->count - 1; k >= 0; k--) {
        for (int a = 0; o->needed[k] && a < o->nodes[k]->narg; a++) {
            const bbi_node *operand = o->nodes[k]->arg[a];
            if (operand && operand->place == BBI_IJ) o->needed[find(o, operand)] = true;
        }
    }
}

/* Of a selection over both axes, written over i of one over j: the index i becomes i N + j. */
static void look_up(const oracle *o, const bbi_node *r, double *index) {
    const bbi_node *columns = r->arg[2];
    const double *j = o->values[find(o, columns)];
    for (int64_t d = 0; d < r->dim; d++) {
        if (index[d] < 0) continue;
        double column = j[(int64_t)index[d] * columns->dim + d];
        index[d] = column < 0 ? -1 : index[d] * (double)o->n + column;
    }
}

static bb_status reduction_table(oracle *o, const bbi_node *r, double *table) {
    const bbi_node *bodies[2] = {r->arg[0], r->narg > 1 ? r->arg[1] : NULL};
    gathered g = {.df = r->arg[0]->dim, .dw = bodies[1] ? bodies[1]->dim : 0};
    bool selection = bbi_reduction_info((int)r->ints[0])->family != BBI_FAMILY_SUM;
    bool listed = r->narg > 2 && r->arg[2] && !selection;
    bb_status status = BB_OK;
    mark(o, bodies, 2);
    for (int64_t row = 0; status == BB_OK && row < rows_of(o, r->place); row++) {
        g.count = 0;
        status = listed ? gather_listed(o, r, row, &g) : gather_row(o, r, row, &g);
        if (status == BB_OK) status = reduce(&g, r, table + row * r->dim);
        if (status == BB_OK && selection && r->narg > 2 && r->arg[2]) look_up(o, r, table + row * r->dim);
    }
    bbi_free(g.f);
    bbi_free(g.w);
    return status;
}

/* ---- The DAG ---- */

static bb_status fill_tables(oracle *o) {
    for (int64_t k = 0; k < o->count; k++) {
        const bbi_node *node = o->nodes[k];
        int64_t rows = node->place == BBI_IJ ? 1 : rows_of(o, node->place);
        o->values[k] = bbi_calloc((size_t)(rows * node->dim + 1), sizeof(double));
        if (!o->values[k]) return bbi_fail(BB_OUT_OF_MEMORY, "oracle: out of memory");
        if (node->op == BBI_OP_REDUCE) {
            BBI_FORWARD(reduction_table(o, node, o->values[k]));
        } else if (node->place != BBI_IJ) {
            for (int64_t row = 0; row < rows; row++)
                BBI_FORWARD(evaluate(o, node, row, row, o->values[k] + row * node->dim));
        }
    }
    return BB_OK;
}

/* A root that depends on both axes has a row per pair, j fastest. */
static bb_status copy_root(oracle *o, const bbi_node *root, bbi_oracle_array *output) {
    *output = (bbi_oracle_array){NULL, rows_of(o, root->place), root->dim};
    output->data = bbi_calloc((size_t)(output->rows * root->dim + 1), sizeof(double));
    if (!output->data) return bbi_fail(BB_OUT_OF_MEMORY, "oracle: out of memory");
    if (root->place != BBI_IJ) {
        memcpy(output->data, o->values[find(o, root)], (size_t)(output->rows * root->dim) * sizeof(double));
        return BB_OK;
    }
    mark(o, &root, 1);
    for (int64_t pair = 0; pair < output->rows; pair++) {
        for (int64_t k = 0; k < o->count; k++) {
            if (o->needed[k]) BBI_FORWARD(evaluate(o, o->nodes[k], pair / o->n, pair % o->n, o->values[k]));
        }
        memcpy(output->data + pair * root->dim, o->values[find(o, root)], (size_t)root->dim * sizeof(double));
    }
    return BB_OK;
}

bb_status bbi_oracle(const bbi_node *const *roots, int64_t nroot, const bbi_oracle_array *variables, int64_t nvariable,
                     int64_t m, int64_t n, bbi_oracle_array *outputs) {
    oracle o = {.m = m, .n = n, .variables = variables, .nvariable = nvariable};
    for (int64_t k = 0; k < nroot; k++) outputs[k] = (bbi_oracle_array){NULL, 0, 0};
    bb_status status = bbi_topological(roots, nroot, &o.nodes, &o.count);
    if (status != BB_OK) return status;
    o.values = bbi_calloc((size_t)o.count, sizeof *o.values);
    o.needed = bbi_calloc((size_t)o.count, sizeof *o.needed);
    if (!o.values || !o.needed) status = bbi_fail(BB_OUT_OF_MEMORY, "oracle: out of memory");
    if (status == BB_OK) status = fill_tables(&o);
    for (int64_t k = 0; status == BB_OK && k < nroot; k++) status = copy_root(&o, roots[k], &outputs[k]);
    for (int64_t k = 0; status != BB_OK && k < nroot; k++) {
        bbi_free(outputs[k].data);
        outputs[k].data = NULL;
    }
    for (int64_t k = 0; o.values && k < o.count; k++) bbi_free(o.values[k]);
    bbi_free(o.values);
    bbi_free(o.needed);
    bbi_free(o.nodes);
    return status;
}
