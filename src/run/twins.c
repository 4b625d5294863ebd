/* twins.c: runs in which i and j are the same elements, because an i-variable and a j-variable are given one array: a
 * plan of its own serves them (see plan/symmetric.c), made when such arrays are first met. Which plan runs depends on
 * arrays and sizes alone, never on the tier or the number of threads, and so do the results. */
#include "program.h"

#include <string.h>

enum { ROWS_WORTH_IT = 256, MAX_PLANS = 8 }; /* plans for one kernel and real type */

static bool is_candidate(const bb_array *a, const bbi_variable *v) {
    return v->place != BBI_P && a->data && a->shape && a->ndim >= 2 && a->ndim <= BBI_MAX_BATCH_DIMS + 2 &&
           a->dtype_code != 0 && a->shape[a->ndim - 2] >= ROWS_WORTH_IT;
}

static bool is_same(const bb_array *a, const bb_array *b) {
    size_t bytes = (size_t)a->ndim * sizeof *a->shape;
    if ((char *)a->data + a->byte_offset != (char *)b->data + b->byte_offset) return false;
    if (a->ndim != b->ndim || a->dtype_code != b->dtype_code || a->dtype_bits != b->dtype_bits) return false;
    if (memcmp(a->shape, b->shape, bytes) != 0 || !a->strides != !b->strides) return false;
    return !a->strides || memcmp(a->strides, b->strides, bytes) == 0;
}

bool bbi_twin_inputs(const bb_kernel *kernel, const bb_array *inputs, const bb_run_options *options, int32_t *same) {
    const bbi_signature *signature = &kernel->program->signature;
    bb_run_options all;
    bool across = false;
    if (signature->count > BBI_MAX_TWINS || bbi_run_options_of(options, &all) != BB_OK || all.ranges) return false;
    if (kernel->options.sum_scheme == BB_SUM_DIRECT) return false;
    for (int32_t k = 0; k < signature->count; k++) {
        const bbi_variable *v = &signature->variables[k];
        same[k] = k;
        for (int32_t n = 0; is_candidate(&inputs[k], v) && n < k; n++) {
            const bbi_variable *w = &signature->variables[n];
            if (same[n] != n || w->dim != v->dim || !is_candidate(&inputs[n], w)) continue;
            if (!is_same(&inputs[k], &inputs[n])) continue;
            same[k] = n;
            break;
        }
        for (int32_t n = 0; n < k; n++)
            across = across || (same[n] == same[k] && signature->variables[n].place != v->place);
    }
    return across;
}

/* ---- plans ---- */

static bbi_variant *find_twin(const bb_kernel *kernel, bool is_double, const int32_t *same, int *count) {
    bbi_variant *v = atomic_load_explicit(&kernel->twins[is_double], memory_order_acquire);
    size_t bytes = (size_t)kernel->program->signature.count * sizeof *same;
    for (*count = 0; v && memcmp(v->same, same, bytes) != 0; v = v->next) ++*count;
    return v;
}

/* Operations for each pair (i, j). */
static double pair_cost(const bbi_plan *plan) {
    double cost = 0;
    for (int32_t k = 0; k < plan->nstage; k++) {
        const bbi_stage *s = &plan->stage[k];
        if (s->kept != BBI_P && s->folded != BBI_P && !s->list) cost += s->symmetric ? s->cost / 2 : s->cost;
    }
    return cost;
}

static bb_status fill_twin(const bb_kernel *kernel, bool is_double, bbi_variant *v) {
    bb_status status = bbi_plan_of(kernel->program, &kernel->options, is_double, v->same, &v->plan);
    if (status == BB_OK && pair_cost(v->plan) < 0.95 * pair_cost(kernel->plan))
        status = bbi_executable_new(v->plan, is_double, &kernel->options, kernel->level, &v->executable);
    return status == BB_OUT_OF_MEMORY ? status : BB_OK; /* what cannot be planned so is planned without */
}

static bb_status make_twin(bb_kernel *kernel, bool is_double, const int32_t *same, bbi_variant **variant) {
    size_t bytes = (size_t)kernel->program->signature.count * sizeof *same;
    bbi_variant *v = bbi_calloc(1, sizeof *v);
    if (v) v->same = bbi_alloc(bytes);
    if (!v || !v->same) {
        bbi_free(v);
        return bbi_fail(BB_OUT_OF_MEMORY, "kernel: out of memory");
    }
    memcpy(v->same, same, bytes);
    bb_status status = fill_twin(kernel, is_double, v);
    if (status != BB_OK) {
        bbi_variant_free(v);
        return status;
    }
    v->next = atomic_load(&kernel->twins[is_double]);
    atomic_store_explicit(&kernel->twins[is_double], v, memory_order_release);
    *variant = v;
    return BB_OK;
}

bb_status bbi_twin_variant(bb_kernel *kernel, bool is_double, const int32_t *same, bbi_variant **variant) {
    int count;
    bb_status status = BB_OK;
    *variant = find_twin(kernel, is_double, same, &count);
    if (!*variant && count < MAX_PLANS) {
        bbi_mutex_lock(kernel->mutex);
        *variant = find_twin(kernel, is_double, same, &count);
        if (!*variant && count < MAX_PLANS) status = make_twin(kernel, is_double, same, variant);
        bbi_mutex_unlock(kernel->mutex);
    }
    if (*variant && !(*variant)->executable) *variant = NULL;
    return status;
}
