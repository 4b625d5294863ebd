/* kernel.c: kernels. A kernel is cheap to make; plans and executables come with the first arrays, one for each real
 * type. */
#include "program.h"

#include <stddef.h>
#include <string.h>

bb_status bbi_plan_outputs(const bb_program *program, const bbi_node *const *outputs, int ninput,
                           const bb_compile_options *options, bool is_double, const int32_t *same, bbi_plan **plan) {
    bool direct = options && options->sum_scheme == BB_SUM_DIRECT && options->accumulate_double && !is_double;
    bbi_plan_options how = {.separate_sums = direct, .places = program->place, .same = same};
    bb_status status = bbi_plan_make(program->context, outputs, program->noutput, ninput, &how, plan);
    if (status == BB_OK && bbi_debug('l')) {
        bbi_text text = {0};
        bbi_plan_print(&text, *plan);
        if (text.data) bbi_log('l', "%s", text.data);
        bbi_text_free(&text);
    }
    return status;
}

bb_status bbi_plan_of(const bb_program *program, const bb_compile_options *options, bool is_double, const int32_t *same,
                      bbi_plan **plan) {
    bbi_context_lock(program->context);
    bb_status status =
        bbi_plan_outputs(program, program->output, (int)program->signature.count, options, is_double, same, plan);
    bbi_context_unlock(program->context);
    return status;
}

static bb_status check_options(const bb_compile_options *options, bb_compile_options *all) {
    memset(all, 0, sizeof *all);
    all->size = sizeof *all;
    if (!options) return BB_OK;
    if (!bbi_options_fit(options->size, sizeof *all, "bb_compile options")) return BB_BAD_ARGUMENT;
    memcpy(all, options, options->size < sizeof *all ? options->size : sizeof *all);
    all->size = sizeof *all;
    if ((int)all->target < 0 || all->target > BB_TARGET_OPENCL)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_compile: unknown target %d", (int)all->target);
    if ((int)all->policy < 0 || all->policy > BB_POLICY_BACKGROUND)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_compile: unknown policy %d", (int)all->policy);
    if ((int)all->sum_scheme < 0 || all->sum_scheme > BB_SUM_DIRECT)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_compile: unknown sum scheme %d", (int)all->sum_scheme);
    if ((int)all->accuracy < 0 || all->accuracy > BB_ACCURACY_FAST)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_compile: unknown accuracy %d", (int)all->accuracy);
    return BB_OK;
}

bb_status bb_compile(const bb_program *program, const bb_compile_options *options, bb_kernel **kernel) {
    bb_compile_options all;
    if (!program || !kernel) return bbi_fail(BB_BAD_ARGUMENT, "bb_compile: program and kernel must not be NULL");
    *kernel = NULL;
    BBI_FORWARD(check_options(options, &all));
    bb_kernel *k = bbi_calloc(1, sizeof *k);
    if (!k) return bbi_fail(BB_OUT_OF_MEMORY, "bb_compile: out of memory");
    k->references = 1;
    k->options = all;
    k->level = BBI_LEVEL_HERE;
    k->program = (bb_program *)program;
    bb_program_retain(k->program);
    k->mutex = bbi_mutex_new();
    bb_status status = k->mutex ? bbi_plan_of(program, &all, false, NULL, &k->plan)
                                : bbi_fail(BB_OUT_OF_MEMORY, "bb_compile: out of memory");
    if (status == BB_OK)
        *kernel = k;
    else
        bb_kernel_release(k);
    return status;
}

void bb_kernel_retain(bb_kernel *kernel) {
    if (kernel) atomic_fetch_add(&kernel->references, 1);
}

void bbi_variant_free(bbi_variant *v) {
    if (!v) return;
    bbi_expanded_free(atomic_load(&v->expanded));
    if (v->executable) bbi_executable_free(v->executable);
    bbi_plan_free(v->plan);
    bbi_free(v->same);
    bbi_free(v);
}

void bb_kernel_release(bb_kernel *kernel) {
    if (!kernel || atomic_fetch_sub(&kernel->references, 1) != 1) return;
    for (int t = 0; t < 2; t++) {
        bbi_variant_free(atomic_load(&kernel->variant[t]));
        bbi_variant_free(atomic_load(&kernel->ranged[t]));
        for (bbi_variant *v = atomic_load(&kernel->twins[t]), *next; v; v = next) {
            next = v->next;
            bbi_variant_free(v);
        }
    }
    for (int k = 0; k < BBI_MAX_DEVICES; k++) bb_kernel_release(kernel->on_device[k]);
    bbi_plan_free(kernel->plan);
    bb_program_release(kernel->program);
    if (kernel->mutex) bbi_mutex_free(kernel->mutex);
    bbi_free(kernel);
}

const bb_program *bb_kernel_program(const bb_kernel *kernel) { return kernel ? kernel->program : NULL; }

static bb_status make_variant(bb_kernel *kernel, bool is_double, bbi_variant **variant) {
    bbi_variant *v = bbi_calloc(1, sizeof *v);
    if (!v) return bbi_fail(BB_OUT_OF_MEMORY, "kernel: out of memory");
    bb_status status = is_double ? bbi_plan_of(kernel->program, &kernel->options, true, NULL, &v->plan) : BB_OK;
    if (status == BB_OK)
        status = bbi_executable_new(is_double ? v->plan : kernel->plan, is_double, &kernel->options, kernel->level,
                                    &v->executable);
    if (status == BB_OK)
        *variant = v;
    else
        bbi_variant_free(v);
    return status;
}

bb_status bbi_kernel_variant(bb_kernel *kernel, bool is_double, bbi_variant **variant) {
    *variant = atomic_load_explicit(&kernel->variant[is_double], memory_order_acquire);
    if (*variant) return BB_OK;
    bbi_mutex_lock(kernel->mutex);
    *variant = atomic_load(&kernel->variant[is_double]);
    bb_status status = BB_OK;
    if (!*variant) {
        status = make_variant(kernel, is_double, variant);
        if (status == BB_OK) atomic_store_explicit(&kernel->variant[is_double], *variant, memory_order_release);
    }
    bbi_mutex_unlock(kernel->mutex);
    return status;
}

static bb_status logged_run(bbi_executable *executable, const bb_array *inputs, const bb_program *p,
                            const bb_array *outputs, const bb_run_options *options) {
    bbi_extent extent;
    const char *reason;
    double start = bbi_seconds();
    bb_status status = bbi_execute(executable, inputs, (int)p->signature.count, p->signature.variables, outputs,
                                   p->noutput, p->info, options);
    double seconds = bbi_seconds() - start;
    if (status != BB_OK || bbi_arrays_extent(inputs, (int)p->signature.count, p->signature.variables,
                                             (int)p->signature.count, options, &extent) != BB_OK)
        return status;
    double pairs = (double)extent.batches * (double)extent.m * (double)extent.n, cost = 0;
    for (int32_t s = 0; s < executable->plan->nstage; s++) cost += executable->plan->stage[s].cost;
    bbi_log('r', "%s: %lld x %lld pairs, %.3g ms, %.3g Gpair/s, %.3g Gop/s",
            executable->gpu                                             ? bbi_gpu_name(executable)
            : bbi_executable_tier(executable, &reason) == BB_TARGET_CPU ? "cpu"
                                                                        : "interp",
            (long long)extent.m, (long long)extent.n, 1e3 * seconds, 1e-9 * pairs / seconds,
            1e-9 * pairs * cost / seconds);
    return status;
}

/* *variant: what is to be executed; NULL where the run is done already. */
static bb_status choose_variant(bb_kernel *kernel, bool is_double, const bb_array *inputs, const bb_array *outputs,
                                const bb_run_options *options, bbi_variant **variant) {
    bb_run_options all;
    BBI_FORWARD(bbi_run_options_of(options, &all));
    bbi_variant *v;
    BBI_FORWARD(bbi_variant_for(kernel, is_double, all.ranges != NULL, &v));
    *variant = v;
    if (v == atomic_load(&kernel->ranged[is_double])) return BB_OK;
    bool done = false;
    BBI_FORWARD(bbi_run_expanded(kernel, v, is_double, inputs, outputs, options, &done));
    bbi_variant *twin = NULL;
    int32_t same[BBI_MAX_TWINS];
    if (!done && !v->executable->gpu && bbi_twin_inputs(kernel, inputs, options, same))
        BBI_FORWARD(bbi_twin_variant(kernel, is_double, same, &twin));
    *variant = done ? NULL : twin ? twin : v;
    return BB_OK;
}

bb_status bb_run(bb_kernel *kernel, const bb_array *inputs, int input_count, const bb_array *outputs, int output_count,
                 const bb_run_options *options) {
    bool is_double;
    bbi_variant *v;
    if (!kernel || (input_count > 0 && !inputs) || (output_count > 0 && !outputs))
        return bbi_fail(BB_BAD_ARGUMENT, "bb_run: kernel, inputs and outputs must not be NULL");
    const bb_program *p = kernel->program;
    if (input_count != p->signature.count)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_run: %d inputs, but the program has %lld variables", input_count,
                        (long long)p->signature.count);
    if (output_count != p->noutput)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_run: %d outputs, but the program has %d", output_count, p->noutput);
    const size_t long_enough = offsetof(bb_run_options, device_count) + sizeof options->device_count;
    if (options && options->size >= long_enough && options->devices && options->device_count > 0) {
        bb_run_options all;
        BBI_FORWARD(bbi_run_options_of(options, &all));
        return bbi_run_devices(kernel, inputs, outputs, &all);
    }
    bool any = kernel->options.target == BB_TARGET_AUTO || kernel->options.target == BB_TARGET_CUDA;
    if (any && bbi_arrays_on_device(inputs, input_count, outputs, output_count))
        return bbi_run_staged(kernel, inputs, input_count, outputs, output_count, options);
    bool done = false;
    BBI_FORWARD(bbi_run_where_it_pays(kernel, inputs, outputs, options, &done));
    if (done) return BB_OK;
    kernel->taken = 0;
    BBI_FORWARD(bbi_arrays_real_type(kernel->plan, inputs, input_count, p->signature.variables, &is_double));
    BBI_FORWARD(choose_variant(kernel, is_double, inputs, outputs, options, &v));
    if (!v) return BB_OK;
    if (bbi_debug('r')) return logged_run(v->executable, inputs, p, outputs, options);
    return bbi_execute(v->executable, inputs, input_count, p->signature.variables, outputs, output_count, p->info,
                       options);
}

/* Shapes do not depend on where arrays lie. */
static bb_status extent_anywhere(const bb_program *p, const bb_array *inputs, int count, const bb_run_options *options,
                                 bbi_extent *extent) {
    int known = (int)p->signature.count;
    if (!bbi_arrays_on_device(inputs, count, NULL, 0))
        return bbi_arrays_extent(inputs, count, p->signature.variables, known, options, extent);
    bb_array *plain = bbi_calloc((size_t)count, sizeof *plain);
    if (!plain) return bbi_fail(BB_OUT_OF_MEMORY, "bb_output_shape: out of memory");
    for (int k = 0; k < count; k++) {
        plain[k] = inputs[k];
        plain[k].device_type = 1;
    }
    bb_status status = bbi_arrays_extent(plain, count, p->signature.variables, known, options, extent);
    bbi_free(plain);
    return status;
}

bb_status bb_output_shape(const bb_kernel *kernel, const bb_array *inputs, int input_count,
                          const bb_run_options *options, int position, int64_t *shape, int capacity, int *ndim) {
    int64_t full[BBI_MAX_BATCH_DIMS + 2];
    bbi_extent extent;
    if (!kernel || !ndim || (capacity > 0 && !shape) || (input_count > 0 && !inputs))
        return bbi_fail(BB_BAD_ARGUMENT, "bb_output_shape: kernel, inputs, shape and ndim must not be NULL");
    const bb_program *p = kernel->program;
    if (position < 0 || position >= p->noutput)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_output_shape: there is no output %d", position);
    BBI_FORWARD(extent_anywhere(p, inputs, input_count, options, &extent));
    *ndim = bbi_output_shape(&extent, &p->info[position], full);
    if (*ndim > capacity)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_output_shape: %d dimensions, room for %d", *ndim, capacity);
    memcpy(shape, full, (size_t)*ndim * sizeof *shape);
    return BB_OK;
}

bb_target bb_kernel_tier(const bb_kernel *kernel, bb_dtype dtype, const char **reason) {
    const char *ignored;
    if (!reason) reason = &ignored;
    *reason = "";
    if (kernel && kernel->taken) return bb_kernel_tier(kernel->on_device[kernel->taken - 1], dtype, reason);
    bbi_variant *v = kernel ? atomic_load(&kernel->variant[dtype == BB_FLOAT64]) : NULL;
    bbi_executable *expanded = v ? bbi_expanded_executable(atomic_load(&v->expanded)) : NULL;
    bb_target tier = v ? bbi_executable_tier(expanded ? expanded : v->executable, reason) : BB_TARGET_CPU;
    for (bbi_variant *t = v ? atomic_load(&kernel->twins[dtype == BB_FLOAT64]) : NULL; t && !expanded; t = t->next)
        if (t->executable && tier == BB_TARGET_CPU) tier = bbi_executable_tier(t->executable, reason);
    if (v && v->executable->gpu) return bbi_executable_tier(v->executable, reason);
    if (v) return tier;
    *reason = "the kernel has not run with this type yet";
    return BB_TARGET_INTERP;
}

bb_status bb_kernel_wait(bb_kernel *kernel) {
    if (!kernel) return bbi_fail(BB_BAD_ARGUMENT, "bb_kernel_wait: the kernel is NULL");
    for (int t = 0; t < 2; t++) {
        bbi_variant *v = atomic_load(&kernel->variant[t]);
        if (!v) continue;
        BBI_FORWARD(bbi_executable_wait(v->executable));
        bbi_executable *expanded = bbi_expanded_executable(atomic_load(&v->expanded));
        if (expanded) BBI_FORWARD(bbi_executable_wait(expanded));
        for (v = atomic_load(&kernel->twins[t]); v; v = v->next)
            if (v->executable) BBI_FORWARD(bbi_executable_wait(v->executable));
    }
    return BB_OK;
}
