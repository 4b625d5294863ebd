/* elaborate_call.c: calls to nodes: operations with their operands and integers, reductions in both
 * spellings. */
#include "elaborate.h"

#include <string.h>

/* ---- Operations ---- */

/* contract(a, b, [sizes], [labels of a], [labels of b], [labels of the result]): the hidden operation under
 * every tensor product. */
static bool elaborate_contract(const bbi_scope *s, const bbi_syntax *call, bbi_value *result) {
    int64_t ints[BBI_MAX_INTS];
    const bbi_node *args[2] = {NULL, NULL};
    int count, narg = 0;
    const bbi_syntax *item = call->child;
    for (; item && item->kind != BBI_SYNTAX_LIST && narg < 2; item = item->next) {
        if (!bbi_elaborate_node(s, item, &args[narg++])) return false;
    }
    int lists = 0;
    for (const bbi_syntax *k = item; k; k = k->next) lists += k->kind == BBI_SYNTAX_LIST ? 1 : 100;
    if (lists != 4 || narg == 0)
        return bbi_fail_in(s, call, BB_BAD_SYNTAX, "contract takes one or two operands and four lists of integers");
    if (!bbi_elaborate_integers(s, item, ints, &count)) return false;
    const int64_t *size = ints, *la = size + 1 + size[0], *lb = la + 1 + la[0], *lo = lb + 1 + lb[0];
    bbi_contraction spec = {(int)*size, (int)*la, (int)*lb, (int)*lo, size + 1, la + 1, lb + 1, lo + 1};
    return bbi_give_node(s, call->place, bbi_contract(s->c, args[0], args[1], &spec), result);
}

/* True where f is (made of) results of reductions: its gradient is then that of the whole program, not of
 * each pair. */
static bool is_reduced(const bbi_node *f) {
    const bbi_node **nodes = NULL;
    int64_t count = 0;
    bool found = false;
    if (f->place == BBI_IJ || bbi_topological(&f, 1, &nodes, &count) != BB_OK) return false;
    for (int64_t k = 0; k < count; k++) found = found || nodes[k]->op == BBI_OP_REDUCE;
    bbi_free(nodes);
    return found;
}

static const bbi_node *apply_op(const bbi_scope *s, int op, const bbi_node *const *args, int narg, const int64_t *ints,
                                int nint) {
    if (op == BBI_OP_grad && is_reduced(args[0])) {
        const bbi_node *result;
        return bbi_vjp(s->c, &args[0], &args[2], 1, &args[1], 1, false, &result) == BB_OK ? result : NULL;
    }
    return bbi_apply(s->c, op, args, narg, ints, nint);
}

static bool elaborate_op(const bbi_scope *s, const bbi_syntax *call, bbi_value *result) {
    const bbi_op_row *row = bbi_op_info(call->which);
    const bbi_node *args[BBI_MAX_ARGS] = {NULL};
    int64_t ints[BBI_MAX_INTS];
    int nint;
    if (call->pair_list)
        return bbi_fail_in(s, call, BB_BAD_SYNTAX, "%s: only reductions take a list of pairs", call->name);
    if (row->kind == BBI_CONTRACT) return elaborate_contract(s, call, result);
    bool short_of = call->count < row->arity + (row->int_count > 0 ? row->int_count : 0);
    if (short_of || (row->int_count == 0 && call->count > row->arity)) {
        bbi_text form = {0};
        if (row->int_count > 0) bbi_text_add(&form, " and %d integer%s", row->int_count, row->int_count > 1 ? "s" : "");
        if (row->int_count < 0) bbi_text_add(&form, " and integers");
        bbi_fail_in(s, call, BB_BAD_SYNTAX, "%s takes %d operand%s%s; found %d argument%s", call->name, row->arity,
                    row->arity == 1 ? "" : "s", form.data ? form.data : "", (int)call->count,
                    call->count == 1 ? "" : "s");
        bbi_text_free(&form);
        return false;
    }
    const bbi_syntax *item = call->child;
    for (int k = 0; k < row->arity; k++, item = item->next) {
        if (!bbi_elaborate_node(s, item, &args[k])) return false;
    }
    if (!bbi_elaborate_integers(s, item, ints, &nint)) return false;
    return bbi_give_node(s, call->place, apply_op(s, call->which, args, row->arity, ints, nint), result);
}

/* ---- Reductions ---- */

/* arguments of a reduction, in either spelling */
typedef struct folded {
    const bbi_node *f, *weight, *list;
    int64_t k;
    bbi_place axis;
} folded;

static bool has_parameter(const bbi_syntax *call) {
    return call->callee == BBI_CALLEE_REDUCTION ? bbi_reduction_info(call->which)->parameters > 0
                                                : bbi_composite_info(call->which)->parameters > 0;
}

/* Name_Reduction(f, [K,] kept axis [, weight]), name_axis(f [, weight] [, K]), both with [; list]. */
static bool elaborate_arguments(const bbi_scope *s, const bbi_syntax *call, folded *a) {
    bool keops = call->axis == BBI_AXIS_NUMBER, parameter = has_parameter(call);
    const bbi_syntax *item = call->child, *list = NULL;
    int count = call->count - call->pair_list, fixed = 1 + parameter + keops;
    *a = (folded){.axis = call->axis == BBI_AXIS_BOUND ? s->axis : keops ? 0 : (bbi_place)call->axis};
    if (count < fixed || count > fixed + 1) {
        return bbi_fail_in(s, call, BB_BAD_SYNTAX, "write %s(formula%s%s%s%s)", call->name, keops ? "" : "[, weight]",
                           parameter ? ", K" : "", keops ? ", 0 or 1: the index that the result keeps" : "",
                           keops ? "[, weight]" : "");
    }
    if (!bbi_elaborate_node(s, item, &a->f)) return false;
    item = item->next;
    bool weighted = count > fixed;
    if (weighted && !keops) {
        if (!bbi_elaborate_node(s, item, &a->weight)) return false;
        item = item->next;
    }
    if (parameter) {
        if (!bbi_elaborate_integer(s, item, &a->k)) return false;
        item = item->next;
    }
    if (keops) {
        int64_t kept;
        if (!bbi_elaborate_integer(s, item, &kept)) return false;
        if (kept != 0 && kept != 1) {
            return bbi_fail_in(s, item, BB_BAD_ARGUMENT, "the result keeps index 0 (i) or 1 (j); found %lld",
                               (long long)kept);
        }
        a->axis = kept == 0 ? BBI_J : BBI_I;
        a->f =
            bbi_place_as(s->c, a->f, kept == 0 ? BBI_I : BBI_J); /* the result keeps its index even where f lacks it */
        if (!a->f) return bbi_fail_built(s, call->place);
        item = item->next;
        if (weighted && !bbi_elaborate_node(s, item, &a->weight)) return false;
        if (weighted) item = item->next;
    }
    if (call->pair_list) list = item;
    return !list || bbi_elaborate_node(s, list, &a->list);
}

/* The weighted twin of a reduction: logsumexp -> logsumexpweight; its own where it takes a weight already;
 * -1. */
static int weighted_reduction(int reduction) {
    const bbi_reduction_row *row = bbi_reduction_info(reduction);
    char name[BBI_MAX_NAME];
    size_t length = strlen(row->name);
    if (row->formulas == 2) return reduction;
    if (length + 7 > sizeof name) return -1;
    memcpy(name, row->name, length);
    memcpy(name + length, "weight", 7);
    return bbi_reduction_find(name, length + 6);
}

static bool elaborate_reduction(const bbi_scope *s, const bbi_syntax *call, bbi_value *result) {
    folded a;
    if (!elaborate_arguments(s, call, &a)) return false;
    int reduction = a.weight ? weighted_reduction(call->which) : call->which;
    if (reduction < 0) return bbi_fail_in(s, call, BB_BAD_ARGUMENT, "%s takes one formula and no weight", call->name);
    if (!a.weight && bbi_reduction_info(reduction)->formulas == 2) {
        return bbi_fail_in(s, call, BB_BAD_ARGUMENT, "%s takes a formula and a weight", call->name);
    }
    return bbi_give_node(s, call->place, bbi_reduce(s->c, (bbi_reduction)reduction, a.axis, a.k, a.f, a.weight, a.list),
                         result);
}

/* One or several outputs of a row of reduce_macro.def. */
bb_status bbi_elaborate_composite(const bbi_scope *s, const bbi_syntax *call, const bbi_node **outputs,
                                  int64_t max_outputs, int64_t *noutput) {
    const bbi_composite_row *row = bbi_composite_info(call->which);
    folded a;
    *noutput = 0;
    if (!elaborate_arguments(s, call, &a)) return bbi_fail_append("%s", "");
    if ((row->formulas == 2) != (a.weight != NULL)) {
        bbi_fail_in(s, call, BB_BAD_ARGUMENT,
                    row->formulas == 2 ? "%s takes a formula and a weight" : "%s takes one formula and no weight",
                    call->name);
        return BB_BAD_ARGUMENT;
    }
    if (a.list) {
        bbi_fail_in(s, call, BB_BAD_ARGUMENT, "%s takes no list of pairs", call->name);
        return BB_BAD_ARGUMENT;
    }
    bbi_place kept = (bbi_place)(a.f->place & ~a.axis);
    const bbi_node *one = bbi_place_as(s->c, bbi_const(s->c, 1), kept);
    if (!one) return bbi_fail_append("%s", "");
    bbi_binding bindings[4] = {{"f", a.f, 0}, {"K", NULL, a.k}, {"one", one, 0}, {"w", a.weight, 0}};
    bbi_scope inner = {.c = s->c, .bindings = bindings, .binding_count = a.weight ? 4 : 3, .axis = a.axis};
    const bbi_syntax *trees = bbi_table_syntax(s->c, row->text);
    bb_status status = trees ? bbi_elaborate(&inner, trees, outputs, max_outputs, noutput) : bbi_fail_append("%s", "");
    if (status != BB_OK) bbi_fail_built(s, call->place);
    return status;
}

/* ---- Every call ---- */

static bool fail_unknown_call(const bbi_scope *s, const bbi_syntax *call) {
    bbi_text help = {0};
    bbi_suggest_call(&help, call->name, call->size);
    bbi_fail_in(s, call, BB_UNKNOWN_NAME, "unknown operation '%s'%s", call->name,
                help.data && !help.failed ? help.data : "");
    bbi_text_free(&help);
    return false;
}

bool bbi_elaborate_call(const bbi_scope *s, const bbi_syntax *call, bbi_value *result) {
    const bbi_node *outputs[2];
    int64_t count;
    switch ((bbi_callee)call->callee) {
    case BBI_CALLEE_OP: return elaborate_op(s, call, result);
    case BBI_CALLEE_REDUCTION: return elaborate_reduction(s, call, result);
    case BBI_CALLEE_SPECIAL: return bbi_elaborate_special(s, call, result);
    case BBI_CALLEE_COMPOSITE:
        if (strchr(bbi_composite_info(call->which)->text, ';')) {
            return bbi_fail_in(s, call, BB_BAD_SYNTAX, "%s has two results: it stands at the top of a formula only",
                               call->name);
        }
        return bbi_elaborate_composite(s, call, outputs, 2, &count) == BB_OK &&
               bbi_give_node(s, call->place, outputs[0], result);
    case BBI_CALLEE_UNKNOWN: break;
    }
    return fail_unknown_call(s, call);
}
