/* expr.c: the context and the one way into it. bbi_node_make checks a candidate, infers its shape by kind,
 * puts the operands of commuting operations into a canonical order, folds constants, looks it up in the
 * intern table, offers it to the rewrite rules and, where none applies, stores it. In raw mode (the tests'
 * oracle) it only checks, infers and interns; raw nodes and rewritten nodes never meet in the table, so a
 * formula built raw first does not hide its simplified form.
 *
 * Canonical order: that of order.c; constants come first. */
#include "expr.h"

#include <string.h>

enum { MAX_REWRITE_DEPTH = 200, FIRST_TABLE_SIZE = 1024 };
#define MAX_DIMENSION ((int64_t)1 << 40)

/* ---- context ---- */
bbi_context *bbi_context_new(void) {
    bbi_context *c = bbi_calloc(1, sizeof *c);
    if (c) {
        c->references = 1;
        c->table_size = FIRST_TABLE_SIZE;
        c->table = bbi_calloc(FIRST_TABLE_SIZE, sizeof *c->table);
        c->mutex = bbi_mutex_new();
        if (c->table && c->mutex) return c;
        bbi_context_release(c);
    }
    bbi_fail(BB_OUT_OF_MEMORY, "context: out of memory");
    return NULL;
}

void bbi_context_retain(bbi_context *context) {
    if (context) __atomic_add_fetch(&context->references, 1, __ATOMIC_RELAXED);
}

void bbi_context_release(bbi_context *context) {
    if (!context || __atomic_sub_fetch(&context->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    bbi_rules_free(context->rules);
    bbi_arena_free(&context->arena);
    bbi_free(context->definition);
    bbi_free(context->table);
    if (context->mutex) bbi_mutex_free(context->mutex);
    bbi_free(context);
}

/* ---- intern table ---- */
static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static uint64_t node_hash(const bbi_node *n, bool raw) {
    uint64_t bits;
    memcpy(&bits, &n->value, sizeof bits);
    uint64_t h = mix(bits, (uint64_t)n->op << 32 | (uint64_t)n->place << 16 | n->narg);
    for (int k = 0; k < n->narg; k++) h = mix(h, n->arg[k] ? (uint64_t)n->arg[k]->id : UINT64_MAX);
    for (int k = 0; k < n->nint; k++) h = mix(h, (uint64_t)n->ints[k]);
    return raw && n->narg > 0 ? ~h : h;
}

static bool same_node(const bbi_node *a, const bbi_node *b) {
    if (a->hash != b->hash || a->op != b->op || a->place != b->place || a->narg != b->narg || a->nint != b->nint)
        return false;
    if (memcmp(&a->value, &b->value, sizeof a->value)) return false;
    for (int k = 0; k < a->narg; k++)
        if (a->arg[k] != b->arg[k]) return false;
    return a->nint == 0 || memcmp(a->ints, b->ints, (size_t)a->nint * sizeof *a->ints) == 0;
}

static const bbi_node *find_node(const bbi_context *c, const bbi_node *candidate) {
    const bbi_node *n = c->table[candidate->hash & (uint64_t)(c->table_size - 1)];
    while (n && !same_node(n, candidate)) n = n->next;
    return n;
}

bool bbi_owns(const bbi_context *c, const bbi_node *node) {
    const bbi_node *n = c->table[node->hash & (uint64_t)(c->table_size - 1)];
    while (n && n != node) n = n->next;
    return n != NULL;
}

static void grow_table(bbi_context *c) {
    int64_t size = 4 * c->table_size;
    const bbi_node **table = bbi_calloc((size_t)size, sizeof *table);
    if (!table) return; /* longer chains, nothing worse */
    for (int64_t k = 0; k < c->table_size; k++) {
        for (const bbi_node *n = c->table[k], *next; n; n = next) {
            const bbi_node **slot = &table[n->hash & (uint64_t)(size - 1)];
            next = n->next;
            ((bbi_node *)n)->next = *slot;
            *slot = n;
        }
    }
    bbi_free(c->table);
    c->table = table;
    c->table_size = size;
}

static bool has_room(const bbi_context *c) {
    if (c->node_limit && c->node_count >= c->node_limit) {
        bbi_fail(BB_BAD_ARGUMENT,
                 "the formula grows by more than %d nodes: operations that are made component by component "
                 "(grad matrix, divergence, laplacian, trace, B-splines, soft-DTW) need shorter vectors",
                 (int)BBI_MAX_GROWTH);
        return false;
    }
    if (c->node_count < INT32_MAX) return true;
    bbi_fail(BB_OUT_OF_MEMORY, "context: more than 2^31 nodes; begin a new one");
    return false;
}

/* NULL when out of memory. */
static bbi_node *store_node(bbi_context *c, const bbi_node *candidate) {
    if (c->node_count >= c->table_size) grow_table(c);
    bbi_node *n = bbi_arena_alloc(&c->arena, sizeof *n);
    int64_t *ints = n && candidate->nint ? bbi_arena_alloc(&c->arena, (size_t)candidate->nint * sizeof *ints) : NULL;
    if (!n || (candidate->nint && !ints)) return NULL;
    *n = *candidate;
    if (ints) memcpy(ints, candidate->ints, (size_t)candidate->nint * sizeof *ints);
    n->ints = ints;
    n->id = (int32_t)c->node_count++;
    bbi_order_prepare(n);
    const bbi_node **slot = &c->table[n->hash & (uint64_t)(c->table_size - 1)];
    n->next = *slot;
    *slot = n;
    return n;
}

static const bbi_node *insert_node(bbi_context *c, const bbi_node *candidate) {
    if (!has_room(c)) return NULL;
    const bbi_node *n = store_node(c, candidate);
    if (!n) bbi_fail(BB_OUT_OF_MEMORY, "formula: out of memory");
    return n;
}

/* Rewriting descends into shared subexpressions: without memory of what became of a candidate it would take
 * time exponential in the depth of some formulas. Forgetting (out of memory) only costs time. */
static void remember(bbi_context *c, const bbi_node *candidate, const bbi_node *image) {
    if (c->node_count >= INT32_MAX) return;
    bbi_node *n = store_node(c, candidate);
    if (n) n->image = image;
}

/* The depth bound is never met by the rules as they are; should it be, the node is merely left as it stands.
 */
static const bbi_node *intern(bbi_context *c, bbi_node *candidate) {
    candidate->hash = node_hash(candidate, c->raw);
    const bbi_node *n = find_node(c, candidate);
    if (n) return n->image ? n->image : n;
    if (!c->raw && candidate->narg > 0 && c->depth < MAX_REWRITE_DEPTH) {
        c->depth++;
        n = bbi_simplify(c, candidate);
        c->depth--;
        if (n) {
            remember(c, candidate, n);
            return n;
        }
        n = find_node(c, candidate);
        if (n) return n->image ? n->image : n;
    }
    return insert_node(c, candidate);
}

/* ---- shapes: one function per kind ---- */
static bb_status shape_map(const bbi_op_row *row, bbi_node *n) {
    n->dim = 1;
    for (int k = 0; k < n->narg; k++)
        if (n->arg[k]->dim != 1) n->dim = n->arg[k]->dim;
    for (int k = 0; k < n->narg; k++) {
        if (n->arg[k]->dim == 1 || n->arg[k]->dim == n->dim) continue;
        if (n->narg == 3)
            return bbi_fail(BB_BAD_SHAPE,
                            "%s: operands have dimensions %lld, %lld and %lld; those that are not 1 must be equal",
                            row->name, (long long)n->arg[0]->dim, (long long)n->arg[1]->dim, (long long)n->arg[2]->dim);
        return bbi_fail(BB_BAD_SHAPE,
                        "%s: operands have dimensions %lld and %lld; they must be equal, or one of them 1", row->name,
                        (long long)n->arg[0]->dim, (long long)n->arg[1]->dim);
    }
    return BB_OK;
}

static bb_status shape_slice(bbi_node *n) {
    int64_t dim = n->arg[0]->dim, start = n->ints[0], count = n->ints[1], step = n->ints[2];
    if (start < 0 || count < 1 || step < 1 || start >= dim || (count - 1) > (dim - 1 - start) / step)
        return bbi_fail(
            BB_BAD_SHAPE,
            "slice: %lld components from %lld on in steps of %lld do not fit into a vector of dimension %lld",
            (long long)count, (long long)start, (long long)step, (long long)dim);
    n->dim = count;
    return BB_OK;
}

static bb_status shape_pad(bbi_node *n) {
    int64_t dim = n->arg[0]->dim, start = n->ints[0], total = n->ints[1], step = n->ints[2];
    if (start < 0 || step < 1 || total > MAX_DIMENSION || start >= total || (dim - 1) > (total - 1 - start) / step)
        return bbi_fail(
            BB_BAD_SHAPE,
            "pad: a vector of dimension %lld does not fit into dimension %lld from %lld on in steps of %lld",
            (long long)dim, (long long)total, (long long)start, (long long)step);
    n->dim = total;
    return BB_OK;
}

static bb_status shape_index(bbi_node *n) {
    switch (n->op) {
    case BBI_OP_slice: return shape_slice(n);
    case BBI_OP_pad: return shape_pad(n);
    case BBI_OP_concat:
        n->dim = n->arg[0]->dim + n->arg[1]->dim;
        return n->dim <= MAX_DIMENSION ? BB_OK : bbi_fail(BB_BAD_SHAPE, "concat: the result is too long");
    default:
        if (n->arg[0]->dim != 1)
            return bbi_fail(BB_BAD_SHAPE, "repeat: the operand has dimension %lld; it must be a scalar",
                            (long long)n->arg[0]->dim);
        n->dim = n->ints[0];
        return n->dim >= 1 && n->dim <= MAX_DIMENSION
                   ? BB_OK
                   : bbi_fail(BB_BAD_SHAPE, "repeat: %lld times; it must be at least once", (long long)n->dim);
    }
}

/* Product of the sizes of distinct, existing labels; 0 otherwise. *used collects the labels met. */
static int64_t label_product(const bbi_contraction *spec, const int64_t *labels, int count, uint64_t *used) {
    uint64_t own = 0;
    int64_t product = 1;
    for (int k = 0; k < count; k++) {
        if (labels[k] < 0 || labels[k] >= spec->nlabel || own >> labels[k] & 1) return 0;
        own |= (uint64_t)1 << labels[k];
        int64_t size = spec->size[labels[k]];
        if (size < 1 || product > MAX_DIMENSION / size) return 0;
        product *= size;
    }
    *used |= own;
    return product;
}

static bb_status shape_contract(bbi_node *n) {
    const int64_t *t = n->ints;
    bool whole = n->nint >= 4 && n->nint <= BBI_MAX_INTS;
    for (int k = 0; whole && k < 4; k++) whole = t[k] >= 0 && t[k] <= BBI_MAX_INTS;
    if (!whole || 4 + t[0] + t[1] + t[2] + t[3] != n->nint)
        return bbi_fail(BB_BAD_ARGUMENT, "contract: the lists of labels do not have the lengths that they announce");
    bbi_contraction spec = bbi_contraction_of(n);
    uint64_t used = 0;
    int64_t a = label_product(&spec, spec.la, spec.na, &used), b = label_product(&spec, spec.lb, spec.nb, &used);
    n->dim = label_product(&spec, spec.lo, spec.no, &used);
    if (!a || !b || !n->dim || (spec.nlabel && used != UINT64_MAX >> (64 - spec.nlabel)))
        return bbi_fail(BB_BAD_ARGUMENT, "contract: a label is missing, repeated or out of range, or has no size");
    int64_t dim_b = n->narg == 2 ? n->arg[1]->dim : 1;
    if (a != n->arg[0]->dim || b != dim_b)
        return bbi_fail(BB_BAD_SHAPE, "contract: operands have dimensions %lld and %lld, their axes %lld and %lld",
                        (long long)n->arg[0]->dim, (long long)dim_b, (long long)a, (long long)b);
    return BB_OK;
}

static bb_status infer_shape(const bbi_op_row *row, bbi_node *n) {
    switch (row->kind) {
    case BBI_MAP: return shape_map(row, n);
    case BBI_FOLD: n->dim = 1; return BB_OK;
    case BBI_INDEX: return shape_index(n);
    case BBI_CONTRACT: return shape_contract(n);
    default: return bbi_fail(BB_INTERNAL, "%s: not a node", row->name);
    }
}

/* ---- making nodes ---- */
static bb_status check_counts(const bbi_op_row *row, int narg, int nint) {
    bool fits = narg == row->arity || (row->kind == BBI_CONTRACT && narg == 1);
    if (!fits)
        return bbi_fail(BB_BAD_ARGUMENT, "%s: takes %d operand%s, found %d", row->name, row->arity,
                        row->arity == 1 ? "" : "s", narg);
    if (row->int_count >= 0 && nint != row->int_count)
        return bbi_fail(BB_BAD_ARGUMENT, "%s: takes %d integer parameter%s, found %d", row->name, row->int_count,
                        row->int_count == 1 ? "" : "s", nint);
    return BB_OK;
}

static bool all_constant(const bbi_node *n) {
    for (int k = 0; k < n->narg; k++)
        if (n->arg[k]->op != BBI_OP_CONST) return false;
    return true;
}

static double fold_constants(const bbi_op_row *row, const bbi_node *n) {
    double v[3] = {0, 0, 0};
    for (int k = 0; k < n->narg; k++) v[k] = n->arg[k]->value;
    return row->scalar(v[0], v[1], v[2]);
}

const bbi_node *bbi_node_make(bbi_context *c, int op, const bbi_node *const *args, int narg, const int64_t *ints,
                              int nint) {
    const bbi_op_row *row = bbi_op_info(op);
    bbi_node n = {.op = (uint16_t)op, .narg = (uint8_t)narg, .nint = nint, .ints = ints};
    for (int k = 0; k < narg && k < BBI_MAX_ARGS; k++) {
        if (!args[k]) return NULL;
        n.arg[k] = args[k];
        n.place |= args[k]->place;
    }
    if (!row || check_counts(row, narg, nint) != BB_OK || infer_shape(row, &n) != BB_OK) return NULL;
    if (!c->raw) {
        if (row->kind == BBI_MAP && all_constant(&n)) return bbi_const(c, fold_constants(row, &n));
        if (row->flags & BBI_COMMUTES && bbi_compare(n.arg[1], n.arg[0]) < 0) {
            n.arg[0] = args[1];
            n.arg[1] = args[0];
        }
    }
    return intern(c, &n);
}

const bbi_node *bbi_op1(bbi_context *c, int op, const bbi_node *a) { return bbi_node_make(c, op, &a, 1, NULL, 0); }

const bbi_node *bbi_op2(bbi_context *c, int op, const bbi_node *a, const bbi_node *b) {
    return bbi_node_make(c, op, (const bbi_node *[]){a, b}, 2, NULL, 0);
}

const bbi_node *bbi_op3(bbi_context *c, int op, const bbi_node *a, const bbi_node *b, const bbi_node *d) {
    return bbi_node_make(c, op, (const bbi_node *[]){a, b, d}, 3, NULL, 0);
}

/* ---- leaves ---- */
const bbi_node *bbi_var(bbi_context *c, int64_t position, bbi_place place, int64_t dim) {
    bool placed = position >= 0 ? place >= BBI_P && place <= BBI_J : position >= BBI_NUMBER && place <= BBI_IJ;
    if (!placed || dim < 1 || dim > MAX_DIMENSION) {
        bbi_fail(BB_BAD_ARGUMENT,
                 "variable: position %lld, dimension %lld, place %d; a position and a dimension >= 1 on i, "
                 "on j or a parameter are needed",
                 (long long)position, (long long)dim, (int)place);
        return NULL;
    }
    int64_t ints[3] = {position, place, dim};
    return intern(c, &(bbi_node){.op = BBI_OP_VAR, .place = (uint8_t)place, .dim = dim, .nint = 3, .ints = ints});
}

const bbi_node *bbi_const(bbi_context *c, double value) {
    return intern(c, &(bbi_node){.op = BBI_OP_CONST, .dim = 1, .value = value});
}

const bbi_node *bbi_iota(bbi_context *c, int64_t n) {
    if (n < 1 || n > MAX_DIMENSION) {
        bbi_fail(BB_BAD_ARGUMENT, "iota: %lld components; at least one is needed", (long long)n);
        return NULL;
    }
    if (n == 1 && !c->raw) return bbi_const(c, 0);
    return intern(c, &(bbi_node){.op = BBI_OP_IOTA, .dim = n, .nint = 1, .ints = &n});
}

/* ---- components ---- */
const bbi_node *bbi_slice(bbi_context *c, const bbi_node *a, int64_t start, int64_t count, int64_t step) {
    return bbi_node_make(c, BBI_OP_slice, &a, 1, (int64_t[]){start, count, step}, 3);
}

const bbi_node *bbi_pad(bbi_context *c, const bbi_node *a, int64_t start, int64_t total, int64_t step) {
    return bbi_node_make(c, BBI_OP_pad, &a, 1, (int64_t[]){start, total, step}, 3);
}

const bbi_node *bbi_repeat(bbi_context *c, const bbi_node *a, int64_t n) {
    return bbi_node_make(c, BBI_OP_repeat, &a, 1, &n, 1);
}

const bbi_node *bbi_zero(bbi_context *c, int64_t dim) {
    return dim == 1 ? bbi_const(c, 0) : bbi_repeat(c, bbi_const(c, 0), dim);
}

bool bbi_is_const(const bbi_node *node, double value) {
    while (node->op == BBI_OP_repeat) node = node->arg[0];
    return node->op == BBI_OP_CONST && node->value == value;
}

/* ---- contractions ---- */
bbi_contraction bbi_contraction_of(const bbi_node *node) {
    const int64_t *t = node->ints;
    bbi_contraction spec = {.nlabel = (int)t[0], .na = (int)t[1], .nb = (int)t[2], .no = (int)t[3]};
    spec.size = t + 4;
    spec.la = spec.size + spec.nlabel;
    spec.lb = spec.la + spec.na;
    spec.lo = spec.lb + spec.nb;
    return spec;
}

const bbi_node *bbi_contract(bbi_context *c, const bbi_node *a, const bbi_node *b, const bbi_contraction *spec) {
    int64_t ints[BBI_MAX_INTS] = {spec->nlabel, spec->na, spec->nb, spec->no};
    const int64_t *list[4] = {spec->size, spec->la, spec->lb, spec->lo};
    int n = 4;
    for (int part = 0; part < 4; part++) {
        for (int k = 0; k < ints[part]; k++) {
            if (n == BBI_MAX_INTS) {
                bbi_fail(BB_BAD_ARGUMENT, "contract: the tensors have too many axes");
                return NULL;
            }
            ints[n++] = list[part][k];
        }
    }
    return bbi_node_make(c, BBI_OP_contract, (const bbi_node *[]){a, b}, b ? 2 : 1, ints, n);
}

/* ---- reductions ---- */
bool bbi_node_is_index(const bbi_node *node) {
    return node->op == BBI_OP_REDUCE && bbi_reduction_info((int)node->ints[0])->output == BBI_OUT_INDEX;
}

static bb_status check_reduction(const bbi_reduction_row *row, bbi_place axis, int64_t k, const bbi_node *f,
                                 const bbi_node *weight) {
    if (axis < BBI_I || axis > BBI_IJ) return bbi_fail(BB_BAD_ARGUMENT, "%s: the axis must be i, j or both", row->name);
    if ((weight != NULL) != (row->formulas == 2))
        return bbi_fail(BB_BAD_ARGUMENT, "%s: takes %s", row->name,
                        weight ? "one formula, found a second" : "a second formula, the weight");
    if (row->parameters && k < 1)
        return bbi_fail(BB_BAD_ARGUMENT, "%s: K is %lld; it must be at least 1", row->name, (long long)k);
    if (row->parameters && k > MAX_DIMENSION / f->dim) return bbi_fail(BB_BAD_SHAPE, "%s: K is too large", row->name);
    if (row->family == BBI_FAMILY_LSE && f->dim != 1)
        return bbi_fail(BB_BAD_SHAPE, "%s: the formula has dimension %lld; it must be a scalar", row->name,
                        (long long)f->dim);
    return BB_OK;
}

/* A pair list: indices along the folded axis kept per row, or (the transpose) along the kept one. */
static bb_status check_list(const bbi_reduction_row *row, bbi_place axis, const bbi_node *f, const bbi_node *list) {
    if (row->output == BBI_OUT_INDEX && row->family != BBI_FAMILY_KMIN) /* both axes: see factor.c */
        return axis == BBI_I && bbi_node_is_index(list) && list->dim == f->dim && list->place == f->place
                   ? BB_OK
                   : bbi_fail(BB_BAD_ARGUMENT, "%s over i: the list must hold the index along j of each row",
                              row->name);
    bool indices = bbi_node_is_index(list) || (list->op == BBI_OP_VAR && list->ints[0] >= 0);
    if (row->family != BBI_FAMILY_SUM || axis == BBI_IJ)
        return bbi_fail(BB_BAD_ARGUMENT, "%s: only a sum over i or over j takes a list of pairs", row->name);
    if (!indices || (list->place != BBI_I && list->place != BBI_J))
        return bbi_fail(BB_BAD_ARGUMENT,
                        "%s: the list of pairs must be an index reduction that keeps i or j (argmin_j, argkmin_j ...) "
                        "or a variable of "
                        "indices placed i or j",
                        row->name);
    if (f->place != BBI_IJ)
        return bbi_fail(BB_BAD_SHAPE, "%s over a list of pairs: the formula must depend on both i and j", row->name);
    return BB_OK;
}

static int64_t reduction_dim(const bbi_context *c, const bbi_reduction_row *row, int64_t k, const bbi_node *f,
                             const bbi_node *weight) {
    if (row->family == BBI_FAMILY_KMIN) return k * f->dim;
    if (row->family == BBI_FAMILY_USER) return c->definition[k].finish->dim;
    if (row->family != BBI_FAMILY_LSE) return f->dim;
    int64_t sums = weight ? weight->dim : 1;
    return row->output == BBI_OUT_MAXSUM ? 1 + sums : sums;
}

const bbi_node *bbi_reduce(bbi_context *c, bbi_reduction reduction, bbi_place axis, int64_t k, const bbi_node *f,
                           const bbi_node *weight, const bbi_node *list) {
    const bbi_reduction_row *row = bbi_reduction_info((int)reduction);
    if (!f || !row || check_reduction(row, axis, k, f, weight) != BB_OK) return NULL;
    if (list && check_list(row, axis, f, list) != BB_OK) return NULL;
    bool failed = false;
    const bbi_node *other = c->raw ? NULL : bbi_reduce_rewritten(c, reduction, axis, f, weight, list, &failed);
    if (other || failed) return other;
    bool numbered = row->parameters || row->family == BBI_FAMILY_USER; /* K, or the number of the definition */
    int64_t ints[4] = {reduction, axis, numbered ? k : 0, weight ? weight->dim : f->dim};
    bbi_node n = {.op = BBI_OP_REDUCE, .nint = 4, .ints = ints, .dim = reduction_dim(c, row, k, f, weight)};
    const bbi_node *operands[3] = {f, weight, list};
    for (int i = 0; i < 3; i++) {
        if (!operands[i]) continue;
        n.arg[i] = operands[i];
        n.narg = (uint8_t)(i + 1);
        n.place |= operands[i]->place;
    }
    n.place &= (uint8_t)~axis;
    return intern(c, &n);
}
