/* expanded.c: a second executable of a kernel, whose squared distances are norms and scalar products (expr/expand.c). A
 * small program that runs first computes the centres, which are parameters of the second plan, and the bound of the
 * errors by which a run is decided. What is decided depends on the arrays, never on threads or tiers. */
#include "program.h"

#include <math.h>
#include <string.h>

struct bbi_expanded {
    bbi_expansion what; /* its nodes belong to the context */
    bbi_plan *plan, *prepare;
    bbi_executable *executable, *preparing;
    bbi_variable *signature; /* the program's, then the centres */
    bb_output_info prepared[BBI_EXPAND_CENTRE + BBI_EXPAND_MAX];
    int64_t values; /* of one batch element of what is prepared */
    _Atomic bool used;
};

/* Rows and columns from which on the preparation is a small part of the run. */
static const double worth_rows = 300;

void bbi_expanded_free(bbi_expanded *x) {
    if (!x) return;
    if (x->executable) bbi_executable_free(x->executable);
    if (x->preparing) bbi_executable_free(x->preparing);
    bbi_plan_free(x->plan);
    bbi_plan_free(x->prepare);
    bbi_free(x->signature);
    bbi_free(x);
}

bbi_executable *bbi_expanded_executable(const bbi_expanded *x) {
    return x && atomic_load_explicit(&x->used, memory_order_relaxed) ? x->executable : NULL;
}

static bb_status no_memory(void) { return bbi_fail(BB_OUT_OF_MEMORY, "kernel: out of memory"); }

/* The context is locked. */
static bb_status make_plans(bbi_expanded *x, const bb_kernel *kernel, bool is_double) {
    const bb_program *p = kernel->program;
    const bbi_node *output[BBI_MAX_OUTPUTS];
    int ninput = (int)p->signature.count;
    x->what.output = output;
    BBI_FORWARD(
        bbi_expand(p->context, p->output, p->noutput, ninput, kernel->options.accuracy != BB_ACCURACY_FAST, &x->what));
    x->what.output = NULL;
    if (!x->what.centres) return BB_OK;
    BBI_FORWARD(bbi_plan_outputs(p, output, ninput + x->what.centres, &kernel->options, is_double, &x->plan));
    return bbi_plan_make(p->context, x->what.prepared, BBI_EXPAND_CENTRE + x->what.centres, ninput, NULL, &x->prepare);
}

static bb_status make(bbi_expanded *x, const bb_kernel *kernel, bool is_double) {
    const bb_program *p = kernel->program;
    int64_t ninput = p->signature.count;
    bbi_context_lock(p->context);
    bb_status status = make_plans(x, kernel, is_double);
    bbi_context_unlock(p->context);
    if (status != BB_OK || !x->what.centres) return status;
    x->signature = bbi_calloc((size_t)(ninput + x->what.centres), sizeof *x->signature);
    if (!x->signature) return no_memory();
    if (ninput) memcpy(x->signature, p->signature.variables, (size_t)ninput * sizeof *x->signature);
    for (int k = 0; k < BBI_EXPAND_CENTRE + x->what.centres; k++) {
        int64_t dim = x->what.prepared[k]->dim;
        x->prepared[k] = (bb_output_info){.place = BB_NONE, .dim = dim};
        x->values += dim;
        if (k >= BBI_EXPAND_CENTRE)
            x->signature[ninput + k - BBI_EXPAND_CENTRE] = (bbi_variable){.name = "", .dim = dim, .place = BBI_P};
    }
    bb_compile_options interpreted = kernel->options; /* rows and columns only: not worth a compiler */
    interpreted.target = BB_TARGET_INTERP;
    BBI_FORWARD(bbi_executable_new(x->prepare, is_double, &interpreted, kernel->level, &x->preparing));
    return bbi_executable_new(x->plan, is_double, &kernel->options, kernel->level, &x->executable);
}

static bb_status find(bb_kernel *kernel, bbi_variant *v, bool is_double, bbi_expanded **expanded) {
    *expanded = atomic_load_explicit(&v->expanded, memory_order_acquire);
    if (*expanded) return BB_OK;
    bb_status status = BB_OK;
    bbi_mutex_lock(kernel->mutex);
    *expanded = atomic_load(&v->expanded);
    if (!*expanded) {
        bbi_expanded *x = bbi_calloc(1, sizeof *x);
        status = x ? make(x, kernel, is_double) : no_memory();
        if (status == BB_OK)
            atomic_store_explicit(&v->expanded, *expanded = x, memory_order_release);
        else
            bbi_expanded_free(x);
    }
    bbi_mutex_unlock(kernel->mutex);
    return status;
}

bb_status bbi_expanded_of(bb_kernel *kernel, bbi_variant *variant, bool is_double, bbi_executable **executable) {
    bbi_expanded *x;
    *executable = NULL;
    if (kernel->options.accuracy == BB_ACCURACY_EXACT) return BB_OK;
    BBI_FORWARD(find(kernel, variant, is_double, &x));
    *executable = x->executable;
    return BB_OK;
}

/* ---- a run ---- */
typedef struct preparation {
    bb_array output[BBI_EXPAND_CENTRE + BBI_EXPAND_MAX];
    int64_t shape[BBI_EXPAND_CENTRE + BBI_EXPAND_MAX][BBI_MAX_BATCH_DIMS + 2];
    char *memory;
} preparation;

static double value_at(const bb_array *array, int64_t k) {
    return array->dtype_bits == 64 ? ((const double *)array->data)[k] : (double)((const float *)array->data)[k];
}

static bb_status prepare(const bbi_expanded *x, const bb_program *p, bool is_double, const bb_array *inputs,
                         const bb_run_options *options, const bbi_extent *extent, preparation *q) {
    int count = BBI_EXPAND_CENTRE + x->what.centres;
    int64_t size = is_double ? 8 : 4;
    char *memory = q->memory = bbi_alloc((size_t)(x->values * extent->batches * size));
    if (!memory) return no_memory();
    for (int k = 0; k < count; k++) {
        int ndim = bbi_output_shape(extent, &x->prepared[k], q->shape[k]);
        q->output[k] = bb_array_of(memory, is_double ? BB_FLOAT64 : BB_FLOAT32, ndim, q->shape[k]);
        memory += x->prepared[k].dim * extent->batches * size;
    }
    bb_run_options quiet = *options;
    quiet.progress = NULL;
    quiet.ranges = NULL;
    quiet.ranges_count = 0;
    return bbi_execute(x->preparing, inputs, (int)p->signature.count, p->signature.variables, q->output, count,
                       x->prepared, &quiet);
}

static bool is_accurate(const preparation *q, int64_t batches) {
    for (int64_t k = 0; k < batches; k++) {
        if (!(value_at(&q->output[BBI_EXPAND_BOUND], k) <= BBI_EXPAND_LIMIT)) return false;
        if (!isfinite(value_at(&q->output[BBI_EXPAND_TOTAL], k))) return false;
    }
    return true;
}

static bb_status run(bbi_expanded *x, const bb_program *p, const bb_array *inputs, const preparation *q,
                     const bb_array *outputs, const bb_run_options *options) {
    size_t ninput = (size_t)p->signature.count, count = ninput + (size_t)x->what.centres;
    bb_array *all = bbi_calloc(count, sizeof *all);
    if (!all) return no_memory();
    if (ninput) memcpy(all, inputs, ninput * sizeof *all);
    memcpy(all + ninput, q->output + BBI_EXPAND_CENTRE, (count - ninput) * sizeof *all);
    bb_status status = bbi_execute(x->executable, all, (int)count, x->signature, outputs, p->noutput, p->info, options);
    bbi_free(all);
    return status;
}

bb_status bbi_run_expanded(bb_kernel *kernel, bbi_variant *variant, bool is_double, const bb_array *inputs,
                           const bb_array *outputs, const bb_run_options *options, bool *done) {
    const bb_program *p = kernel->program;
    bbi_expanded *x;
    bb_run_options all;
    bbi_extent extent;
    bool fast = kernel->options.accuracy == BB_ACCURACY_FAST;
    if (kernel->options.accuracy == BB_ACCURACY_EXACT) return BB_OK;
    x = atomic_load_explicit(&variant->expanded, memory_order_acquire);
    if (x && !x->what.centres) return BB_OK;
    BBI_FORWARD(bbi_run_options_of(options, &all));
    BBI_FORWARD(bbi_arrays_extent(inputs, (int)p->signature.count, p->signature.variables, (int)p->signature.count,
                                  &all, &extent));
    double m = (double)extent.m, n = (double)extent.n;
    if (extent.batches == 0 || m == 0 || n == 0 || (!fast && m * n < worth_rows * (m + n))) return BB_OK;
    BBI_FORWARD(find(kernel, variant, is_double, &x));
    if (!x->what.centres) return BB_OK;
    preparation q = {.memory = NULL};
    bb_status status = prepare(x, p, is_double, inputs, &all, &extent, &q);
    if (status == BB_OK && (fast || is_accurate(&q, extent.batches))) {
        *done = true;
        status = run(x, p, inputs, &q, outputs, options);
    }
    atomic_store_explicit(&x->used, *done, memory_order_relaxed);
    bbi_free(q.memory);
    return status;
}
