/* structure.c: what a formula tells about the matrix whose product with b it is. A walk over the nodes finds whether
 * the components of b are systems of their own (then they share products but have steps of their own), whether with the
 * same matrix (then the formula can be written for any number of columns), and whether the program, run on a few of the
 * points alone, yields entries of the same matrix. What the walk cannot see is answered on the safe side: one system of
 * all components, no entries. */
#include "solve.h"

#include <string.h>

typedef enum kind {
    FREE,     /* does not depend on b */
    SCALAR,   /* component e is a number times b_e, or a sum of such: the same numbers for all e */
    SEPARATE, /* ... numbers of its own for each e */
    OTHER
} kind;

typedef struct walk {
    const bbi_node **node;
    int64_t count, unknown, dim;
    bbi_place axis;
    kind *kind;
    bool *reduced; /* a reduction stands at or below the node */
    const char *no_entries;
} walk;

static bool sums_over(const bbi_node *n, bbi_place axis) {
    return n->ints[0] == BBI_RED_sum && n->ints[1] == (int64_t)axis && !n->arg[1] && !n->arg[2];
}

static kind kind_of_product(kind a, const bbi_node *factor) {
    return a == OTHER ? OTHER : factor->dim == 1 ? a : SEPARATE;
}

static kind kind_of_map(const walk *w, const bbi_node *n, const kind *k) {
    if (n->dim != w->dim) return OTHER;
    if (n->op == BBI_OP_mul && k[1] == FREE) return kind_of_product(k[0], n->arg[1]);
    if (n->op == BBI_OP_mul && k[0] == FREE) return kind_of_product(k[1], n->arg[0]);
    if (n->op == BBI_OP_div && k[1] == FREE) return kind_of_product(k[0], n->arg[1]);
    if (!(bbi_op_info(n->op)->flags & BBI_LINEAR)) return OTHER;
    kind most = SCALAR;
    for (int i = 0; i < n->narg; i++) {
        if (k[i] == FREE) return OTHER;
        if (k[i] > most) most = k[i];
    }
    return most;
}

static kind kind_of(const walk *w, const bbi_node *n, const kind *k, bool depends) {
    if (n->op == BBI_OP_VAR) return n->ints[0] == w->unknown ? SCALAR : FREE;
    if (!depends) return FREE;
    if (n->op == BBI_OP_REDUCE) return sums_over(n, w->axis) ? k[0] : OTHER;
    return bbi_op_info(n->op)->kind == BBI_MAP ? kind_of_map(w, n, k) : OTHER;
}

static void visit(walk *w, int64_t at) {
    const bbi_node *n = w->node[at];
    kind k[BBI_MAX_ARGS] = {FREE};
    bool depends = false, below = false;
    for (int i = 0; i < n->narg; i++) {
        if (!n->arg[i]) continue;
        int64_t position = bbi_position(w->node, w->count, n->arg[i]);
        k[i] = w->kind[position];
        depends = depends || k[i] != FREE;
        below = below || w->reduced[position];
    }
    w->kind[at] = kind_of(w, n, k, depends);
    w->reduced[at] = below || n->op == BBI_OP_REDUCE;
    if (n->op == BBI_OP_VAR && n->ints[0] < BBI_ONE) w->no_entries = "the formula uses the numbers of the points";
    if (n->op != BBI_OP_REDUCE) return;
    if (!sums_over(n, w->axis)) w->no_entries = "the formula has a reduction that is no sum over the right-hand side";
    if (!depends || below) w->no_entries = "the formula has a reduction within the matrix";
}

bb_status bbi_structure_of(const bb_program *program, int unknown, bbi_structure *structure) {
    const bbi_variable *b = &program->signature.variables[unknown];
    walk w = {.unknown = unknown, .dim = b->dim, .axis = b->place};
    BBI_FORWARD(bbi_topological(program->output, 1, &w.node, &w.count));
    w.kind = bbi_calloc((size_t)w.count + 1, sizeof *w.kind);
    w.reduced = bbi_calloc((size_t)w.count + 1, sizeof *w.reduced);
    bool ok = w.kind && w.reduced;
    for (int64_t k = 0; ok && k < w.count; k++) visit(&w, k);
    kind found = ok ? w.kind[bbi_position(w.node, w.count, program->output[0])] : OTHER;
    structure->scalar = found == SCALAR;
    structure->separate = found == SCALAR || found == SEPARATE || b->dim == 1;
    structure->no_entries = w.no_entries;
    if (found == SEPARATE && b->dim > 1) structure->no_entries = "each component has a matrix of its own";
    bbi_free(w.kind);
    bbi_free(w.reduced);
    bbi_free(w.node);
    return ok ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a formula of %lld nodes", (long long)w.count);
}

/* The signature of p with one variable of another dimension and those of one place elsewhere; places may be the same. */
static bb_status signature_with(const bb_program *p, int unknown, int64_t dim, bbi_place from, bbi_place to,
                                bbi_signature *signature) {
    bb_status status = BB_OK;
    for (int64_t k = 0; k < p->signature.count && status == BB_OK; k++) {
        const bbi_variable *v = &p->signature.variables[k];
        int64_t position;
        status = bbi_signature_add(signature, v->name, strlen(v->name), k == unknown ? dim : v->dim,
                                   v->place == from ? to : v->place, &position);
    }
    return status;
}

/* The context is locked. */
static bb_status rewrite(const bb_program *p, int unknown, int64_t columns, bb_program **result) {
    const bbi_node *from = bbi_program_variable(p, unknown);
    bbi_place place = p->signature.variables[unknown].place;
    const bbi_node *to = bbi_var(p->context, unknown, place, columns);
    const bbi_node *output = to ? bbi_replace(p->context, p->output[0], &from, &to, 1) : NULL;
    bbi_signature signature = {0};
    bb_status status = output ? BB_OK : bbi_fail_append("%s", "");
    if (status == BB_OK) status = signature_with(p, unknown, columns, place, place, &signature);
    if (status == BB_OK) return bbi_program_make(p->context, &signature, &output, 1, p->place, result);
    bbi_signature_free(&signature);
    return status;
}

bb_status bbi_with_columns(bb_kernel *kernel, int unknown, int64_t columns, bb_kernel **result) {
    bb_program *program = NULL;
    *result = NULL;
    bbi_context_lock(kernel->program->context);
    bb_status status = rewrite(kernel->program, unknown, columns, &program);
    bbi_context_unlock(kernel->program->context);
    if (status == BB_OK) status = bb_compile(program, &kernel->options, result);
    bb_program_release(program);
    return status;
}

/* ---- summands -------------------------------------------------------------------------------- */
/* What stands for a node of the formula in its summand: the operand of a sum, a variable of the place `from` elsewhere. */
typedef struct moving {
    bb_program *program;
    int unknown;
    int64_t dim;
    bbi_place from, to;
} moving;

/* The node itself where it stays; NULL on error. */
static const bbi_node *moved(const moving *m, const bbi_node *n) {
    bb_context *c = m->program->context;
    if (n->op == BBI_OP_REDUCE) return n->arg[0];
    if (n->op != BBI_OP_VAR) return n;
    if (n->ints[0] == m->unknown) return bbi_var(c, m->unknown, m->to, m->dim);
    if ((n->place & (int)m->from) == 0) return n;
    bbi_place place = (bbi_place)((n->place & ~(int)m->from) | (int)m->to); /* BBI_ONE may have both */
    return n->ints[0] == BBI_ONE && place == BBI_P ? bbi_const(c, 1) : bbi_var(c, n->ints[0], place, n->dim);
}

/* root with its sums, or its variables, replaced; NULL on error */
static const bbi_node *replaced(const moving *m, const bbi_node *root, int op) {
    const bbi_node **node = NULL;
    int64_t count = 0, found = 0;
    if (bbi_topological(&root, 1, &node, &count) != BB_OK) return NULL;
    const bbi_node **from = bbi_alloc((size_t)(2 * count + 1) * sizeof *from), **to = from ? from + count : NULL;
    bool failed = !from;
    for (int64_t k = 0; k < count && !failed; k++) {
        const bbi_node *stand_in = (int)node[k]->op == op ? moved(m, node[k]) : node[k];
        failed = !stand_in;
        if (failed || stand_in == node[k]) continue;
        from[found] = node[k];
        to[found++] = stand_in;
    }
    const bbi_node *result = !failed ? bbi_replace(m->program->context, root, from, to, found) : NULL;
    if (!from) bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a formula of %lld nodes", (long long)count);
    bbi_free(node);
    bbi_free(from);
    return result;
}

/* The context is locked. */
static bb_status summand(const moving *m, bb_program **result) {
    const bb_program *p = m->program;
    bbi_signature signature = {0};
    const bbi_node *output = replaced(m, p->output[0], BBI_OP_REDUCE);
    if (output) output = replaced(m, output, BBI_OP_VAR);
    if (output) output = bbi_place_as(p->context, output, p->place[0]);
    bb_status status = output ? BB_OK : bbi_fail_append("%s", "");
    if (status == BB_OK) status = signature_with(p, m->unknown, m->dim, m->from, m->to, &signature);
    if (status == BB_OK) return bbi_program_make(p->context, &signature, &output, 1, p->place, result);
    bbi_signature_free(&signature);
    return status;
}

bb_status bbi_summand_of(bb_kernel *kernel, int unknown, int64_t dim, bool diagonal, bb_kernel **result) {
    bb_program *p = kernel->program, *program = NULL;
    moving m = {p, unknown, dim, p->signature.variables[unknown].place, diagonal ? p->place[0] : BBI_P};
    bb_compile_options options = kernel->options;
    options.target = BB_TARGET_INTERP;
    *result = NULL;
    bbi_context_lock(p->context);
    bb_status status = summand(&m, &program);
    bbi_context_unlock(p->context);
    if (status == BB_OK) status = bb_compile(program, &options, result);
    bb_program_release(program);
    return status;
}
