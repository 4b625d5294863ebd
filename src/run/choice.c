/* choice.c: what an automatic target takes for arrays in host memory: the processor, or a CUDA device where the problem is worth
 * the transfer. OpenCL is taken only where it is asked for: its devices differ too much, and may be this processor. */
#include "api_text.h"
#include "gpu.h"
#include "program.h"

#include <stdatomic.h>
#include <string.h>

/* What the estimates rest on. */
static const struct {
    double core[2];   /* operations of a compiled kernel per second and core: float32, float64 */
    double share;     /* of a device's peak that its kernels reach */
    double link;      /* bytes per second between host and device, not pinned */
    double launch;    /* seconds of launches, synchronisation and small copies of a stage */
    double beginning; /* seconds to start the driver and to build the first kernel; no shorter run looks for a device */
} model = {.core = {2e10, 1e10}, .share = 0.4, .link = 6e9, .launch = 1e-4, .beginning = 0.5};

enum { UNKNOWN, FOUND, MISSING };
static _Atomic int state;

typedef struct bbi_estimate {
    double m, n, batches, cpu, transfer, gpu; /* seconds */
    const char *refusal;
} bbi_estimate;

static bbi_device *find_device(void) {
    bbi_device *device = NULL;
    if (state == MISSING) return NULL;
    bool found = bbi_device_open(&bbi_driver_cuda, 0, &device) == BB_OK;
    if (!found) bb_clear_error();
    state = found ? FOUND : MISSING;
    return device;
}

static double components(const bb_program *p, const bbi_extent *e) {
    double count = 0;
    for (int64_t k = 0; k < p->signature.count; k++) {
        const bbi_variable *v = &p->signature.variables[k];
        count += (double)v->dim * (v->place == BBI_I ? (double)e->m : v->place == BBI_J ? (double)e->n : 1);
    }
    for (int k = 0; k < p->noutput; k++)
        count += (double)p->info[k].dim * (p->info[k].place == BB_I   ? (double)e->m
                                           : p->info[k].place == BB_J ? (double)e->n
                                                                      : 1);
    return count * (double)e->batches;
}

static double cost_of(const bbi_plan *plan) {
    double cost = 0;
    for (int32_t s = 0; s < plan->nstage; s++)
        if (!plan->stage[s].list) cost += plan->stage[s].cost; /* listed pairs are few */
    return cost > 1 ? cost : 1;
}

static void estimate_cpu(const bbi_plan *plan, const bbi_extent *e, bool is_double, int threads, bbi_estimate *found) {
    *found = (bbi_estimate){.m = (double)e->m, .n = (double)e->n, .batches = (double)e->batches};
    found->cpu = found->m * found->n * found->batches * cost_of(plan) /
                 (model.core[is_double] * (threads > 0 ? threads : bbi_cpu_count()));
    for (int32_t s = 0; s < plan->nstage; s++) {
        const char *refusal = bbi_gpu_refusal(&plan->stage[s]);
        if (refusal && plan->stage[s].folded != BBI_P) found->refusal = refusal;
    }
}

static void estimate_gpu(const bb_program *p, const bbi_plan *plan, const bbi_extent *e, bool is_double,
                         const bbi_device *device, bbi_estimate *found) {
    found->transfer = components(p, e) * (is_double ? 8 : 4) / model.link + model.launch * plan->nstage;
    found->gpu = model.beginning + found->transfer +
                 found->m * found->n * found->batches * cost_of(plan) / (model.share * device->rate[is_double]);
}

/* ---- a run ---- */
/* At a glance, so that small runs do not wait for estimates: neither axis is longer than the largest array. */
static bool is_small(const bb_kernel *kernel, const bb_array *inputs) {
    double largest = 1;
    for (int64_t k = 0; k < kernel->program->signature.count; k++) {
        double count = 1;
        for (int32_t d = 0; inputs[k].shape && d < inputs[k].ndim; d++) count *= (double)inputs[k].shape[d];
        if (count > largest) largest = count;
    }
    return largest * largest * cost_of(kernel->plan) < model.beginning * model.core[1];
}

bb_status bbi_run_where_it_pays(bb_kernel *kernel, const bb_array *inputs, const bb_array *outputs,
                                const bb_run_options *options, bool *done) {
    const bb_program *p = kernel->program;
    bbi_extent extent;
    bbi_estimate found;
    bb_run_options all;
    bool is_double;
    bb_kernel *chosen;
    *done = false;
    if (kernel->options.target != BB_TARGET_AUTO || state == MISSING || is_small(kernel, inputs) ||
        bbi_environment("BENBEN_TARGET"))
        return BB_OK;
    BBI_FORWARD(bbi_run_options_of(options, &all));
    if (all.ranges) return BB_OK; /* their pairs are not counted */
    BBI_FORWARD(
        bbi_arrays_real_type(kernel->plan, inputs, (int)p->signature.count, p->signature.variables, &is_double));
    BBI_FORWARD(bbi_arrays_extent(inputs, (int)p->signature.count, p->signature.variables, (int)p->signature.count,
                                  options, &extent));
    estimate_cpu(kernel->plan, &extent, is_double, all.threads, &found);
    if (found.cpu < model.beginning || found.refusal) return BB_OK;
    bbi_device *device = find_device();
    if (!device) return BB_OK;
    estimate_gpu(p, kernel->plan, &extent, is_double, device, &found);
    if (found.gpu >= found.cpu) return BB_OK;
    bb_status status = bbi_kernel_on_device(kernel, device->number, &chosen);
    if (status == BB_OK) status = bb_run(chosen, inputs, (int)p->signature.count, outputs, p->noutput, options);
    *done = status == BB_OK || (status != BB_DEVICE && status != BB_OUT_OF_MEMORY);
    if (*done) {
        kernel->taken = device->number + 1;
        return status;
    }
    bbi_log('r', "cuda was chosen and failed, the processor goes on: %s", bb_last_error());
    bb_clear_error();
    if (status == BB_DEVICE) state = MISSING;
    return BB_OK;
}

/* ---- what it would be, and why ---- */
static bool forced_target(int *target, bbi_text *why) {
    static const char *const names[] = {"", "interp", "cpu", "cuda", "opencl"};
    const char *forced = bbi_environment("BENBEN_TARGET");
    for (int k = BB_TARGET_INTERP; forced && k <= BB_TARGET_OPENCL; k++) {
        if (strcmp(forced, names[k]) != 0) continue;
        *target = k;
        bbi_text_add(why, "%s: BENBEN_TARGET says so", forced);
        return true;
    }
    return false;
}

static bb_target explain(const bb_program *p, const bbi_plan *plan, const bbi_extent *e, bool is_double,
                         bbi_text *why) {
    bbi_estimate found;
    bbi_device *device = find_device();
    estimate_cpu(plan, e, is_double, 0, &found);
    if (!device) {
        bbi_text_add(why, "cpu: no GPU found (benben doctor says more)");
        return BB_TARGET_CPU;
    }
    if (found.refusal) {
        bbi_text_add(why, "cpu: %s", found.refusal);
        return BB_TARGET_CPU;
    }
    estimate_gpu(p, plan, e, is_double, device, &found);
    bool gpu = found.gpu < found.cpu;
    bbi_text_add(why, "%s: ", gpu ? "cuda" : "cpu");
    if (found.batches > 1) bbi_text_add(why, "%.3g x ", found.batches);
    bbi_text_add(
        why,
        "%.3g x %.3g pairs take about %.2g s here, %.2g s on %s (transfer and launches %.2g s, the first run's "
        "start %.2g s)",
        found.m, found.n, found.cpu, found.gpu, device->name, found.transfer, model.beginning);
    return gpu ? BB_TARGET_CUDA : BB_TARGET_CPU;
}

bb_status bb_program_target(const bb_program *program, bb_dtype dtype, int64_t m, int64_t n, int64_t batches,
                            int *target, char **why) {
    int ignored;
    char *text_ignored = NULL;
    if (!program || m < 0 || n < 0 || batches < 0)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_program_target: program must not be NULL, sizes not negative");
    if (!target) target = &ignored;
    bbi_text text = {0};
    if (!forced_target(target, &text)) {
        bbi_extent extent = {.m = m, .n = n, .batches = batches};
        bbi_plan *plan;
        BBI_FORWARD(bbi_plan_of(program, NULL, dtype == BB_FLOAT64, NULL, &plan));
        *target = explain(program, plan, &extent, dtype == BB_FLOAT64, &text);
        bbi_plan_free(plan);
    }
    bb_status status = bbi_give_text(BB_OK, &text, why ? why : &text_ignored);
    bb_free(text_ignored);
    return status;
}
