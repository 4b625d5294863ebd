/* api.c: the checked shell of the public header around contexts, expressions, tables, cache and machine. Programs and
 * kernels have files of their own. */
#include "aot.h"
#include "api_text.h"
#include "cache.h"
#include "compiler.h"
#include "jit.h"
#include "program.h"
#include "syntax.h"

#include <stdio.h>
#include <string.h>

const char *bb_version(void) { return "0.1.0"; }
void bb_free(void *pointer) { bbi_free(pointer); }

/* ---- arrays ---------------------------------------------------------------------------------- */
bb_array bb_array_of(void *data, bb_dtype dtype, int ndim, const int64_t *shape) {
    static const struct {
        uint8_t code, bits;
    } kind[] = {[BB_FLOAT32] = {2, 32},
                [BB_FLOAT64] = {2, 64},
                [BB_FLOAT16] = {2, 16},
                [BB_BFLOAT16] = {4, 16},
                [BB_INT64] = {0, 64}};
    bb_array a = {.data = data, .device_type = 1, .ndim = ndim, .shape = shape, .dtype_lanes = 1};
    if ((unsigned)dtype < sizeof kind / sizeof *kind) a.dtype_code = kind[dtype].code, a.dtype_bits = kind[dtype].bits;
    return a;
}

/* ---- contexts and expressions ---------------------------------------------------------------- */
bb_status bb_context_new(bb_context **context) {
    if (!context) return bbi_fail(BB_BAD_ARGUMENT, "bb_context_new: context must not be NULL");
    *context = bbi_context_new();
    return *context ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "bb_context_new: out of memory");
}

void bb_context_release(bb_context *context) {
    if (context) bbi_context_release(context);
}

static bool usable(const bb_context *context, const char *function) {
    if (context) return true;
    bbi_fail(BB_BAD_ARGUMENT, "%s: the context is NULL", function);
    return false;
}

bb_expr bb_variable(bb_context *context, int position, bb_axis place, int64_t dim) {
    if (!usable(context, "bb_variable")) return NULL;
    if (position < 0 || dim < 1 || (place != BB_NONE && place != BB_I && place != BB_J)) {
        bbi_fail(BB_BAD_ARGUMENT,
                 "bb_variable: position %d, place %d, dimension %lld; position >= 0, place BB_I, BB_J or BB_NONE, "
                 "dimension >= 1",
                 position, (int)place, (long long)dim);
        return NULL;
    }
    bbi_context_lock(context);
    bb_expr e = bbi_var(context, position, (bbi_place)place, dim);
    bbi_context_unlock(context);
    return e;
}

bb_expr bb_number(bb_context *context, double value) {
    if (!usable(context, "bb_number")) return NULL;
    bbi_context_lock(context);
    bb_expr e = bbi_const(context, value);
    bbi_context_unlock(context);
    return e;
}

/* Under the lock: operands are nodes of this very context. */
static bool all_owned(const bb_context *context, const bb_expr *operands, int count, const char *function) {
    for (int k = 0; k < count; k++) {
        if (!operands[k] || bbi_owns(context, operands[k])) continue;
        bbi_fail(BB_BAD_ARGUMENT, "%s: operand %d belongs to another context", function, k);
        return false;
    }
    return true;
}

bb_expr bb_apply(bb_context *context, const char *name, const bb_expr *operands, int count, const int64_t *integers,
                 int integer_count) {
    if (!usable(context, "bb_apply")) return NULL;
    int op = name ? bbi_op_find(name, strlen(name)) : -1;
    if (op < 0 || (bbi_op_info(op)->flags & BBI_HIDDEN)) {
        bbi_fail(BB_UNKNOWN_NAME, "bb_apply: there is no operation '%s'; `benben ops` lists them",
                 name ? name : "(null)");
        return NULL;
    }
    if (count < 0 || count > BBI_MAX_ARGS || integer_count < 0 || integer_count > BBI_MAX_INTS ||
        (count && !operands) || (integer_count && !integers)) {
        bbi_fail(BB_BAD_ARGUMENT, "bb_apply: %s takes %d operands; %d given with %d integers", name,
                 bbi_op_info(op)->arity, count, integer_count);
        return NULL;
    }
    for (int k = 0; k < count; k++)
        if (!operands[k]) return NULL;
    bbi_context_lock(context);
    bool owned = all_owned(context, operands, count, "bb_apply");
    bb_expr e = owned ? bbi_apply(context, op, operands, count, integers, integer_count) : NULL;
    bbi_context_unlock(context);
    return e;
}

static const bbi_composite_row *find_composite(const char *name) {
    const bbi_composite_row *row;
    for (int64_t k = 0; name && (row = bbi_composite_info(k)) != NULL; k++)
        if (strcmp(row->name, name) == 0 || (row->alias[0] && strcmp(row->alias, name) == 0)) return row;
    return NULL;
}

static const bbi_node *composite_operand(void *data, const char *name, size_t length) {
    const bb_expr *operands = data;
    return length == 1 && (name[0] == 'f' || name[0] == 'w') ? operands[name[0] == 'w'] : NULL;
}

/* A reduction made of others, by the way of the text: name_axis(f [, w]). */
static bb_expr reduce_composite(bb_context *context, const bbi_composite_row *row, bb_axis axis, bb_expr formula,
                                bb_expr weight) {
    static const char *const suffix[] = {[BB_I] = "i", [BB_J] = "j", [BB_IJ] = "ij"};
    bb_expr operands[2] = {formula, weight};
    bbi_parse_options options = {.lookup = composite_operand, .lookup_data = operands};
    const bbi_node *outputs[2];
    int64_t count;
    char text[128];
    if (strchr(row->text, ';') || (weight != NULL) != (row->formulas == 2)) {
        bbi_fail(BB_BAD_ARGUMENT, "bb_reduce: %s %s", row->name,
                 strchr(row->text, ';') ? "has two outputs: make a program of its two reductions"
                 : weight               ? "takes one formula, found a weight"
                                        : "takes a second formula, the weight");
        return NULL;
    }
    snprintf(text, sizeof text, "%s_%s(f%s)", row->name, suffix[axis], weight ? ", w" : "");
    return bbi_parse(context, text, NULL, &options, outputs, 2, &count) == BB_OK ? outputs[0] : NULL;
}

bb_expr bb_reduce(bb_context *context, const char *name, bb_axis axis, bb_expr formula, bb_expr weight, int64_t k) {
    if (!usable(context, "bb_reduce") || !formula) return NULL;
    int reduction = name ? bbi_reduction_find(name, strlen(name)) : -1;
    const bbi_composite_row *composite = reduction < 0 ? find_composite(name) : NULL;
    if (composite && axis >= BB_I && axis <= BB_IJ) {
        bbi_context_lock(context);
        bool owned = all_owned(context, (const bb_expr[]){formula, weight}, 2, "bb_reduce");
        bb_expr e = owned ? reduce_composite(context, composite, axis, formula, weight) : NULL;
        bbi_context_unlock(context);
        return e;
    }
    if (reduction < 0 || axis < BB_I || axis > BB_IJ) {
        bbi_fail(
            reduction < 0 ? BB_UNKNOWN_NAME : BB_BAD_ARGUMENT,
            "bb_reduce: reduction '%s' over axis %d; the axis is BB_I, BB_J or BB_IJ, `benben ops` lists the names",
            name ? name : "(null)", (int)axis);
        return NULL;
    }
    bbi_context_lock(context);
    bool owned = all_owned(context, (const bb_expr[]){formula, weight}, 2, "bb_reduce");
    bb_expr e = owned ? bbi_reduce(context, (bbi_reduction)reduction, (bbi_place)axis, k, formula, weight, NULL) : NULL;
    bbi_context_unlock(context);
    return e;
}

bb_expr bb_reduce_listed(bb_context *context, bb_axis axis, bb_expr formula, bb_expr list) {
    if (!usable(context, "bb_reduce_listed") || !formula || !list) return NULL;
    if (axis != BB_I && axis != BB_J) {
        bbi_fail(BB_BAD_ARGUMENT, "bb_reduce_listed: the axis is BB_I or BB_J, found %d", (int)axis);
        return NULL;
    }
    bbi_context_lock(context);
    bool owned = all_owned(context, (const bb_expr[]){formula, list}, 2, "bb_reduce_listed");
    bb_expr e =
        owned ? bbi_reduce(context, BBI_RED_sum, (bbi_place)axis, 0, bbi_place_as(context, formula, BBI_IJ), NULL, list)
              : NULL;
    bbi_context_unlock(context);
    return e;
}

bb_expr bb_reduce_custom(bb_context *context, const bb_reduction_definition *definition, bb_axis axis,
                         bb_expr formula) {
    if (!usable(context, "bb_reduce_custom") || !formula) return NULL;
    if (!definition || !bbi_options_fit(definition->size, sizeof *definition, "bb_reduce_custom definition") ||
        axis < BB_I || axis > BB_IJ) {
        bbi_fail(BB_BAD_ARGUMENT, "bb_reduce_custom: the definition must not be NULL, its size sizeof the structure, "
                                  "the axis BB_I, BB_J or BB_IJ");
        return NULL;
    }
    bbi_definition d = {.state_dim = definition->state_dim,
                        .dim = formula->dim,
                        .init = definition->init,
                        .step = definition->step,
                        .merge = definition->merge,
                        .finish = definition->finish};
    if (!d.init || !d.step || !d.merge) return NULL;
    bbi_context_lock(context);
    int64_t number = bbi_define(context, &d);
    bb_expr e = number < 0 ? NULL : bbi_reduce(context, BBI_RED_custom, (bbi_place)axis, number, formula, NULL, NULL);
    bbi_context_unlock(context);
    return e;
}

int64_t bb_expr_dim(bb_expr expression) { return expression ? expression->dim : 0; }
bb_axis bb_expr_place(bb_expr expression) { return expression ? (bb_axis)expression->place : BB_NONE; }

/* ---- tables ---------------------------------------------------------------------------------- */
static int nth_public_op(int number) { /* leaves and hidden rows are not counted */
    for (int op = BBI_OP_REDUCE + 1; op < BBI_OP_COUNT; op++)
        if (!(bbi_op_info(op)->flags & BBI_HIDDEN) && number-- == 0) return op;
    return -1;
}

int bb_op_count(void) {
    int count = 0;
    while (nth_public_op(count) >= 0) count++;
    return count;
}

bb_status bb_op(int number, bb_op_info *info) {
    static const char *const kind[] = {"map", "fold", "contract", "index", "macro", "build", "leaf"};
    int op = number < 0 ? -1 : nth_public_op(number);
    if (op < 0 || !info) return bbi_fail(BB_BAD_ARGUMENT, "bb_op: there is no operation number %d", number);
    const bbi_op_row *row = bbi_op_info(op);
    *info = (bb_op_info){.name = row->name,
                         .alias = row->alias,
                         .kind = kind[row->kind],
                         .doc = row->doc,
                         .arity = row->arity,
                         .integers = row->int_count,
                         .cost = row->cost,
                         .differentiable = !(row->flags & BBI_NODIFF)};
    return BB_OK;
}

int bb_reduction_count(void) {
    int count = BBI_RED_COUNT;
    while (bbi_composite_info(count - BBI_RED_COUNT)) count++;
    return count;
}

bb_status bb_reduction(int number, bb_reduction_info *info) {
    if (number < 0 || number >= bb_reduction_count() || !info)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_reduction: there is no reduction number %d", number);
    const bbi_composite_row *composite = bbi_composite_info((int64_t)number - BBI_RED_COUNT);
    if (composite) {
        *info = (bb_reduction_info){.name = composite->name,
                                    .alias = composite->alias,
                                    .doc = composite->doc,
                                    .takes_k = composite->parameters,
                                    .formulas = composite->formulas,
                                    .outputs = strchr(composite->text, ';') ? 2 : 1};
        return BB_OK;
    }
    const bbi_reduction_row *row = bbi_reduction_info(number);
    *info = (bb_reduction_info){.name = row->name,
                                .alias = row->alias,
                                .doc = row->doc,
                                .takes_k = row->parameters,
                                .formulas = row->formulas,
                                .is_index = row->output == BBI_OUT_INDEX,
                                .outputs = 1};
    return BB_OK;
}

/* ---- machine, compiler, cache ---------------------------------------------------------------- */
bb_status bb_get_statistics(bb_statistics *statistics) {
    int64_t counters[BBI_JIT_COUNTERS];
    if (!statistics || !bbi_options_fit(statistics->size, sizeof *statistics, "bb_get_statistics"))
        return BB_BAD_ARGUMENT;
    bbi_jit_counters(counters);
    bb_statistics all = {.size = statistics->size,
                         .compiles = counters[BBI_JIT_COMPILES],
                         .disk_hits = counters[BBI_JIT_DISK_HITS],
                         .memory_hits = counters[BBI_JIT_MEMORY_HITS],
                         .failures = counters[BBI_JIT_FAILURES],
                         .peak_memory = bbi_peak_memory(),
                         .ahead_hits = counters[BBI_JIT_AHEAD_HITS]};
    memcpy(statistics, &all, statistics->size < sizeof all ? statistics->size : sizeof all);
    return BB_OK;
}

bb_status bb_doctor(char **out) {
    if (!out) return bbi_fail(BB_BAD_ARGUMENT, "bb_doctor: text must not be NULL");
    bbi_text text = {0};
    *out = NULL;
    bbi_doctor_text(&text);
    return bbi_give_text(BB_OK, &text, out);
}

bb_status bb_cache_info(char **path, int64_t *entries, int64_t *bytes) {
    bbi_cache_state state;
    BBI_FORWARD(bbi_cache_look(&state));
    if (entries) *entries = state.entries;
    if (bytes) *bytes = state.bytes;
    if (!path) return BB_OK;
    *path = state.folder[0] ? bbi_strdup(state.folder) : NULL;
    return *path || !state.folder[0] ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "bb_cache_info: out of memory");
}

bb_status bb_cache_clear(void) { return bbi_cache_clear(NULL); }
