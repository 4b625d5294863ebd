/* program.c: programs from text, from expressions, and as derivatives of other programs. */
#include "program.h"

#include <stdio.h>
#include <string.h>

void bbi_context_lock(const bbi_context *c) {
    bbi_mutex_lock(c->mutex);
    ((bbi_context *)c)->node_limit = c->node_count + BBI_MAX_GROWTH;
}
void bbi_context_unlock(const bbi_context *c) { bbi_mutex_unlock(c->mutex); }

bool bbi_options_fit(size_t size, size_t ours, const char *what) {
    if (size >= sizeof(size_t) && size <= 4 * ours) return true;
    bbi_fail(BB_BAD_ARGUMENT, "%s: the size field is %zu; set it to sizeof the structure (%zu)", what, size, ours);
    return false;
}

/* ---- life ------------------------------------------------------------------------------------ */
static void program_free(bb_program *p) {
    bbi_signature_free(&p->signature);
    bbi_free(p->output);
    bbi_free(p->info);
    bbi_free(p->place);
    if (p->context) bbi_context_release(p->context);
    bbi_free(p);
}

void bb_program_retain(bb_program *program) {
    if (program) atomic_fetch_add(&program->references, 1);
}

void bb_program_release(bb_program *program) {
    if (program && atomic_fetch_sub(&program->references, 1) == 1) program_free(program);
}

bb_status bbi_program_make(bbi_context *c, bbi_signature *signature, const bbi_node *const *outputs, int64_t noutput,
                           const bbi_place *places, bb_program **program) {
    *program = NULL;
    bb_program *p = bbi_calloc(1, sizeof *p);
    if (!p) {
        bbi_signature_free(signature);
        return bbi_fail(BB_OUT_OF_MEMORY, "program: out of memory");
    }
    p->references = 1;
    p->signature = *signature;
    *signature = (bbi_signature){0};
    p->context = c;
    bbi_context_retain(c);
    p->noutput = (int)noutput;
    p->output = bbi_calloc((size_t)noutput + 1, sizeof *p->output);
    p->info = bbi_calloc((size_t)noutput + 1, sizeof *p->info);
    p->place = bbi_calloc((size_t)noutput + 1, sizeof *p->place);
    bb_status status = p->output && p->info && p->place ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "program: out of memory");
    for (int64_t k = 0; k < noutput && status == BB_OK; k++) {
        const bbi_node *n = p->output[k] = outputs[k];
        if (!n) {
            status = bbi_fail_append("%s", "");
        } else if (n->place == BBI_IJ) {
            status = bbi_fail(BB_BAD_SHAPE,
                              "output %lld depends on both i and j: it is a matrix, which is never stored; reduce it, "
                              "for instance sum_j(...)",
                              (long long)k);
        } else {
            p->place[k] = places ? places[k] : (bbi_place)n->place;
            p->info[k] =
                (bb_output_info){.place = (bb_axis)p->place[k], .dim = n->dim, .is_index = bbi_node_is_index(n)};
        }
    }
    if (status != BB_OK)
        program_free(p);
    else
        *program = p;
    return status;
}

static void log_program(char letter, const bb_program *p) {
    bbi_text text = {0};
    if (!bbi_debug(letter)) return;
    for (int k = 0; k < p->noutput; k++) {
        bbi_text_add(&text, k ? "; " : "");
        bbi_print(&text, p->output[k], &p->signature);
    }
    if (text.data) bbi_log(letter, "%s", text.data);
    bbi_text_free(&text);
}

/* ---- making ---------------------------------------------------------------------------------- */
bb_status bb_program_parse(bb_context *context, const char *formula, const char *const *declarations, int count,
                           bb_program **program) {
    if (!context || !formula || !program || count < 0 || (count > 0 && !declarations))
        return bbi_fail(
            BB_BAD_ARGUMENT,
            "bb_program_parse: %d declarations; context, formula, declarations and program must not be NULL", count);
    bbi_signature signature = {0};
    const bbi_node *outputs[BBI_MAX_OUTPUTS];
    int64_t noutput = 0;
    bb_status status = BB_OK;
    *program = NULL;
    bbi_context_lock(context);
    for (int k = 0; k < count && status == BB_OK; k++) status = bbi_parse_alias(&signature, declarations[k]);
    if (status == BB_OK) status = bbi_parse(context, formula, &signature, NULL, outputs, BBI_MAX_OUTPUTS, &noutput);
    if (status == BB_OK) status = bbi_program_make(context, &signature, outputs, noutput, NULL, program);
    if (status == BB_OK) log_program('p', *program);
    bbi_context_unlock(context);
    bbi_signature_free(&signature);
    return status;
}

static bb_status check_variables(const bbi_node *const *outputs, int noutput, const bbi_signature *signature) {
    const bbi_node **nodes;
    int64_t count;
    BBI_FORWARD(bbi_topological(outputs, noutput, &nodes, &count));
    bb_status status = BB_OK;
    for (int64_t n = 0; n < count && status == BB_OK; n++) {
        const bbi_node *v = nodes[n];
        if (v->op != BBI_OP_VAR || v->ints[0] < 0) continue;
        if (v->ints[0] >= signature->count)
            status = bbi_fail(BB_BAD_ARGUMENT, "an output uses variable %lld, but the signature has %lld variables",
                              (long long)v->ints[0], (long long)signature->count);
        else if (signature->variables[v->ints[0]].dim != v->dim ||
                 signature->variables[v->ints[0]].place != (bbi_place)v->place)
            status =
                bbi_fail(BB_BAD_SHAPE,
                         "variable %lld has dimension %lld and place %d in an output, %lld and %d in the signature",
                         (long long)v->ints[0], (long long)v->dim, v->place,
                         (long long)signature->variables[v->ints[0]].dim, (int)signature->variables[v->ints[0]].place);
    }
    bbi_free(nodes);
    return status;
}

bb_status bb_program_new(bb_context *context, const bb_variable_info *signature, int variable_count,
                         const bb_expr *outputs, int output_count, bb_program **program) {
    if (!context || !program || !outputs || output_count < 1 || output_count > BBI_MAX_OUTPUTS || variable_count < 0 ||
        (variable_count > 0 && !signature))
        return bbi_fail(BB_BAD_ARGUMENT,
                        "bb_program_new: %d variables, %d outputs; context, signature, outputs and program must not be "
                        "NULL, outputs 1 to %d",
                        variable_count, output_count, (int)BBI_MAX_OUTPUTS);
    bbi_signature s = {0};
    bb_status status = BB_OK;
    *program = NULL;
    for (int k = 0; k < output_count; k++)
        if (!outputs[k])
            return bb_last_error()[0] ? bbi_fail_append(" (output %d of the program)", k)
                                      : bbi_fail(BB_BAD_ARGUMENT, "bb_program_new: output %d is NULL", k);
    bbi_context_lock(context);
    for (int k = 0; k < output_count && status == BB_OK; k++)
        if (!bbi_owns(context, outputs[k]))
            status = bbi_fail(BB_BAD_ARGUMENT, "bb_program_new: output %d belongs to another context", k);
    for (int k = 0; k < variable_count && status == BB_OK; k++) {
        const char *name = signature[k].name ? signature[k].name : "";
        int64_t position;
        bb_axis place = signature[k].place;
        if ((place != BB_NONE && place != BB_I && place != BB_J) || signature[k].dim < 1)
            status = bbi_fail(BB_BAD_ARGUMENT,
                              "variable %d: the place must be BB_I, BB_J or BB_NONE and the dimension at least 1", k);
        else
            status =
                bbi_signature_add(&s, name, strlen(name), signature[k].dim, (bbi_place)signature[k].place, &position);
    }
    if (status == BB_OK) status = check_variables(outputs, output_count, &s);
    if (status == BB_OK) status = bbi_program_make(context, &s, outputs, output_count, NULL, program);
    bbi_context_unlock(context);
    bbi_signature_free(&s);
    return status;
}

/* ---- derivatives ----------------------------------------------------------------------------- */
const bbi_node *bbi_program_variable(const bb_program *p, int position) {
    const bbi_variable *v = &p->signature.variables[position];
    return bbi_var(p->context, position, v->place, v->dim);
}

/* shared by bb_grad and bb_diff */
typedef struct derivation {
    const bb_program *program;
    bbi_signature signature; /* the program's, then directions, then forward outputs */
    const bbi_node *variable[BBI_MAX_OUTPUTS];
    const bbi_node *direction[BBI_MAX_OUTPUTS]; /* cotangents of outputs or tangents of variables */
    const bbi_node *output[BBI_MAX_OUTPUTS];    /* the floating-point outputs */
    int64_t noutput;
    const bbi_node *known[BBI_MAX_OUTPUTS], *stand_in[BBI_MAX_OUTPUTS]; /* forward outputs and their variables */
} derivation;

static bb_status add_variable(derivation *d, const char *prefix, int number, const bbi_node *like,
                              const bbi_node **variable) {
    char name[64];
    int64_t position = d->signature.count;
    snprintf(name, sizeof name, "%s%d_%lld", prefix, number,
             (long long)position); /* the position makes it unique at every order */
    BBI_FORWARD(bbi_signature_add(&d->signature, name, strlen(name), like->dim, (bbi_place)like->place, &position));
    *variable = bbi_var(d->program->context, position, (bbi_place)like->place, like->dim);
    return *variable ? BB_OK : BB_OUT_OF_MEMORY;
}

static bb_status copy_signature(bbi_signature *copy, const bb_program *p) {
    for (int64_t k = 0; k < p->signature.count; k++) {
        const bbi_variable *v = &p->signature.variables[k];
        int64_t position;
        BBI_FORWARD(bbi_signature_add(copy, v->name, strlen(v->name), v->dim, v->place, &position));
        copy->variables[position].is_index = v->is_index;
    }
    return BB_OK;
}

static bb_status open_derivation(derivation *d, const bb_program *p, const int *variables, int count,
                                 const char *what) {
    *d = (derivation){.program = p};
    if (count < 1 || count > BBI_MAX_OUTPUTS || !variables)
        return bbi_fail(BB_BAD_ARGUMENT, "%s: %d variables asked for; at least one, at most %d", what, count,
                        (int)BBI_MAX_OUTPUTS);
    for (int k = 0; k < count; k++) {
        if (variables[k] < 0 || variables[k] >= p->signature.count)
            return bbi_fail(BB_BAD_ARGUMENT, "%s: variable %d does not exist; the program has %lld", what, variables[k],
                            (long long)p->signature.count);
        d->variable[k] = bbi_program_variable(p, variables[k]);
        if (!d->variable[k]) return BB_OUT_OF_MEMORY;
    }
    BBI_FORWARD(copy_signature(&d->signature, p));
    for (int k = 0; k < p->noutput; k++) {
        if (p->info[k].is_index) continue;
        d->output[d->noutput] = bbi_place_as(p->context, p->output[k], p->place[k]); /* its direction is shaped as it */
        if (!d->output[d->noutput++]) return bbi_fail_append("%s", "");
    }
    return d->noutput ? BB_OK
                      : bbi_fail(BB_NOT_DIFFERENTIABLE,
                                 "%s: the program has only index outputs, which have no derivative", what);
}

/* Indices are read as lists of pairs; those of a formula that depends on the folded axis alone are compared with numbers,
 * which an array of int64 does not serve. */
static bool may_be_known(const bb_program *p, int output) {
    return !p->info[output].is_index || p->output[output]->arg[0]->place == BBI_IJ;
}

static bb_status add_forward(derivation *d, const int *forward, int count, const char *what) {
    const bb_program *p = d->program;
    if (count < 0 || count > BBI_MAX_OUTPUTS || (count > 0 && !forward))
        return bbi_fail(BB_BAD_ARGUMENT, "%s: %d forward outputs", what, count);
    for (int k = 0; k < count; k++) {
        if (forward[k] < 0 || forward[k] >= p->noutput || !may_be_known(p, forward[k]))
            return bbi_fail(BB_BAD_ARGUMENT,
                            "%s: forward output %d is no output of the program that a derivative could read", what,
                            forward[k]);
        d->known[k] = bbi_place_as(p->context, p->output[forward[k]], p->place[forward[k]]);
        if (!d->known[k]) return bbi_fail_append("%s", "");
        BBI_FORWARD(add_variable(d, "forward", forward[k], d->known[k], &d->stand_in[k]));
        d->signature.variables[d->signature.count - 1].is_index = p->info[forward[k]].is_index;
    }
    return BB_OK;
}

/* like: what each result is shaped as, even where it does not depend on that axis */
static bb_status close_derivation(derivation *d, const bbi_node **results, const bbi_node *const *like, int count,
                                  int forward_count, bb_program **program) {
    bbi_place places[BBI_MAX_OUTPUTS];
    for (int k = 0; k < count; k++) {
        if (forward_count)
            results[k] = bbi_replace(d->program->context, results[k], d->known, d->stand_in, forward_count);
        if (!results[k]) return bbi_fail_append("%s", "");
        places[k] = (bbi_place)like[k]->place;
    }
    BBI_FORWARD(bbi_program_make(d->program->context, &d->signature, results, count, places, program));
    (*program)->derived = true;
    log_program('g', *program);
    return BB_OK;
}

static bb_status make_gradient(derivation *d, const bb_program *p, const int *variables, int count, const int *forward,
                               int forward_count, bb_program **gradient) {
    const bbi_node *result[BBI_MAX_OUTPUTS];
    BBI_FORWARD(open_derivation(d, p, variables, count, "bb_grad"));
    for (int64_t k = 0; k < d->noutput; k++)
        BBI_FORWARD(add_variable(d, "cotangent", (int)k, d->output[k], &d->direction[k]));
    BBI_FORWARD(add_forward(d, forward, forward_count, "bb_grad"));
    BBI_FORWARD(bbi_vjp(p->context, d->output, d->direction, d->noutput, d->variable, count, false, result));
    return close_derivation(d, result, d->variable, count, forward_count, gradient);
}

bb_status bb_grad(const bb_program *program, const int *variables, int count, const int *forward, int forward_count,
                  bb_program **gradient) {
    if (!program || !gradient) return bbi_fail(BB_BAD_ARGUMENT, "bb_grad: program and gradient must not be NULL");
    *gradient = NULL;
    derivation *d = bbi_alloc(sizeof *d);
    if (!d) return bbi_fail(BB_OUT_OF_MEMORY, "bb_grad: out of memory");
    bbi_context_lock(program->context);
    bb_status status = make_gradient(d, program, variables, count, forward, forward_count, gradient);
    bbi_context_unlock(program->context);
    bbi_signature_free(&d->signature);
    bbi_free(d);
    return status;
}

static bb_status make_tangent(derivation *d, const bb_program *p, const int *variables, int count, const int *forward,
                              int forward_count, bb_program **tangent) {
    const bbi_node *result[BBI_MAX_OUTPUTS];
    BBI_FORWARD(open_derivation(d, p, variables, count, "bb_diff"));
    for (int k = 0; k < count; k++)
        BBI_FORWARD(add_variable(d, "tangent", variables[k], d->variable[k], &d->direction[k]));
    BBI_FORWARD(add_forward(d, forward, forward_count, "bb_diff"));
    for (int64_t k = 0; k < d->noutput; k++) {
        result[k] = bbi_jvp(p->context, d->output[k], d->variable, d->direction, count);
        if (!result[k]) return bbi_fail_append("%s", "");
    }
    return close_derivation(d, result, d->output, (int)d->noutput, forward_count, tangent);
}

bb_status bb_diff(const bb_program *program, const int *variables, int count, const int *forward, int forward_count,
                  bb_program **tangent) {
    if (!program || !tangent) return bbi_fail(BB_BAD_ARGUMENT, "bb_diff: program and tangent must not be NULL");
    *tangent = NULL;
    derivation *d = bbi_alloc(sizeof *d);
    if (!d) return bbi_fail(BB_OUT_OF_MEMORY, "bb_diff: out of memory");
    bbi_context_lock(program->context);
    bb_status status = make_tangent(d, program, variables, count, forward, forward_count, tangent);
    bbi_context_unlock(program->context);
    bbi_signature_free(&d->signature);
    bbi_free(d);
    return status;
}

bb_status bb_program_select(const bb_program *program, const int *outputs, int count, bb_program **selected) {
    if (!program || !selected || !outputs || count < 1 || count > BBI_MAX_OUTPUTS)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_program_select: %d outputs; program, outputs and selected must not be NULL",
                        count);
    const bbi_node *chosen[BBI_MAX_OUTPUTS];
    bbi_place places[BBI_MAX_OUTPUTS];
    *selected = NULL;
    for (int k = 0; k < count; k++) {
        if (outputs[k] < 0 || outputs[k] >= program->noutput)
            return bbi_fail(BB_BAD_ARGUMENT, "bb_program_select: output %d does not exist; the program has %d",
                            outputs[k], program->noutput);
        chosen[k] = program->output[outputs[k]];
        places[k] = program->place[outputs[k]];
    }
    bbi_context_lock(program->context);
    bbi_signature signature = {0};
    bb_status status = copy_signature(&signature, program);
    if (status == BB_OK)
        status = bbi_program_make(program->context, &signature, chosen, count, places, selected);
    if (status == BB_OK) (*selected)->derived = program->derived;
    bbi_context_unlock(program->context);
    bbi_signature_free(&signature);
    return status;
}

/* ---- looking --------------------------------------------------------------------------------- */
int bb_program_variable_count(const bb_program *program) { return program ? (int)program->signature.count : 0; }
int bb_program_output_count(const bb_program *program) { return program ? program->noutput : 0; }

bb_status bb_program_variable(const bb_program *program, int position, bb_variable_info *info) {
    if (!program || !info || position < 0 || position >= program->signature.count)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_program_variable: there is no variable %d", position);
    const bbi_variable *v = &program->signature.variables[position];
    *info = (bb_variable_info){.name = v->name, .place = (bb_axis)v->place, .dim = v->dim, .is_index = v->is_index};
    return BB_OK;
}

bb_status bb_program_output(const bb_program *program, int position, bb_output_info *info) {
    if (!program || !info || position < 0 || position >= program->noutput)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_program_output: there is no output %d", position);
    *info = program->info[position];
    return BB_OK;
}

bb_expr bb_program_expr(const bb_program *program, int position) {
    return program && position >= 0 && position < program->noutput ? program->output[position] : NULL;
}

double bb_program_cost(const bb_program *program) { return program ? bbi_cost(program->output, program->noutput) : 0; }
