/* ranged.c: runs with ranges whose program has a fold over one axis that does not depend on the other, wanted for every
 * row nevertheless (the gradient of sum_j(x + y) with respect to y, say): without ranges all rows have one value, with
 * them each row meets columns of its own, and a plan in which the formula carries the row serves them. */
#include "program.h"

static int32_t flat_output(const bbi_plan *plan, const bbi_stage *stage) {
    if (stage->folded == BBI_P || stage->list || stage->kept != BBI_P) return -1;
    for (int32_t k = 0; k < stage->nsource; k++)
        if (stage->source[k].array >= plan->ninput) return -1; /* the outer fold of a reduction over both axes */
    for (int32_t k = 0; k < stage->nresult; k++)
        if (stage->result[k].array < plan->noutput) return stage->result[k].array;
    return -1;
}

bool bbi_plan_is_flat(const bbi_plan *plan) {
    for (int32_t k = 0; k < plan->nstage; k++)
        if (flat_output(plan, &plan->stage[k]) >= 0) return true;
    return false;
}

/* A fold over one axis, wanted at `place`, that does not depend on the other. */
static bool is_flat_fold(const bbi_node *n, bbi_place place) {
    if (n->op != BBI_OP_REDUCE || n->arg[2] || n->ints[1] == BBI_IJ) return false;
    int kept = BBI_IJ & ~(int)n->ints[1];
    return (place & kept) && !(n->place & kept);
}

static const bbi_node *carry_place(bbi_context *c, const bbi_node *output, bbi_place place) {
    const bbi_node **node, **from = NULL, **to = NULL, *result = NULL;
    int64_t count, flat = 0;
    if (bbi_topological(&output, 1, &node, &count) != BB_OK) return NULL;
    from = bbi_alloc(2 * (size_t)(count + 1) * sizeof *from);
    bool made = from != NULL;
    for (int64_t k = 0; made && k < count; k++) {
        const bbi_node *n = node[k];
        if (!is_flat_fold(n, place)) continue;
        to = from + count;
        from[flat] = n;
        to[flat] = bbi_reduce(c, (bbi_reduction)n->ints[0], (bbi_place)n->ints[1], n->ints[2],
                              bbi_place_as(c, n->arg[0], place), n->arg[1], NULL);
        made = to[flat++] != NULL;
    }
    if (made) result = flat ? bbi_replace(c, output, from, to, flat) : output;
    if (!from) bbi_fail(BB_OUT_OF_MEMORY, "kernel: out of memory");
    bbi_free(from);
    bbi_free(node);
    return result;
}

static bb_status plan_ranged(const bb_kernel *kernel, bool is_double, bbi_plan **plan) {
    const bb_program *p = kernel->program;
    const bbi_node *output[BBI_MAX_OUTPUTS];
    bb_status status = BB_OK;
    bbi_context_lock(p->context);
    for (int k = 0; k < p->noutput && status == BB_OK; k++) {
        output[k] = carry_place(p->context, p->output[k], p->place[k]);
        if (!output[k]) status = bbi_fail_append("%s", "");
    }
    if (status == BB_OK)
        status = bbi_plan_outputs(p, output, (int)p->signature.count, &kernel->options, is_double, NULL, plan);
    bbi_context_unlock(p->context);
    return status;
}

/* Of a derivative with respect to a parameter the sum over all rows is meant, whatever they meet. */
static bb_status check_outputs(const bb_program *p, const bbi_plan *plan) {
    for (int32_t k = 0; k < plan->nstage && !p->derived; k++) {
        const bbi_stage *stage = &plan->stage[k];
        int32_t output = flat_output(plan, stage);
        char folded = stage->folded == BBI_J ? 'j' : 'i', kept = stage->folded == BBI_J ? 'i' : 'j';
        if (output < 0) continue;
        return bbi_fail(BB_BAD_RANGES,
                        "ranges say which %c each %c meets, but output %d, a reduction over %c, does not depend on %c "
                        "and has one row: write where(one, F, 0) for its formula F, with a variable one:%c1 of ones",
                        folded, kept, output, folded, kept, kept);
    }
    return BB_OK;
}

static bb_status make_ranged(bb_kernel *kernel, bool is_double, bbi_variant **variant) {
    bbi_variant *v = bbi_calloc(1, sizeof *v);
    if (!v) return bbi_fail(BB_OUT_OF_MEMORY, "kernel: out of memory");
    bb_status status = plan_ranged(kernel, is_double, &v->plan);
    if (status == BB_OK) status = check_outputs(kernel->program, v->plan);
    if (status == BB_OK)
        status = bbi_executable_new(v->plan, is_double, &kernel->options, kernel->level, &v->executable);
    if (status == BB_OK)
        *variant = v;
    else
        bbi_variant_free(v);
    return status;
}

bb_status bbi_variant_for(bb_kernel *kernel, bool is_double, bool ranges, bbi_variant **variant) {
    if (!ranges || !bbi_plan_is_flat(kernel->plan)) return bbi_kernel_variant(kernel, is_double, variant);
    *variant = atomic_load_explicit(&kernel->ranged[is_double], memory_order_acquire);
    if (*variant) return BB_OK;
    bbi_mutex_lock(kernel->mutex);
    *variant = atomic_load(&kernel->ranged[is_double]);
    bb_status status = BB_OK;
    if (!*variant) {
        status = make_ranged(kernel, is_double, variant);
        if (status == BB_OK) atomic_store_explicit(&kernel->ranged[is_double], *variant, memory_order_release);
    }
    bbi_mutex_unlock(kernel->mutex);
    return status;
}
