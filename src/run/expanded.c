/* expanded.c: a second plan of a kernel, whose squared distances are norms and scalar products (expr/expand.c). A small
 * program that runs first computes the centres, which are parameters of the second plan. Where distances are exponents
 * the second plan takes the place of the first in runs for which the small program's bound of the errors is low enough.
 * Where they are selected from it lists candidates, of which the first plan takes the right ones (select_exact.c). What
 * is decided depends on the arrays, never on threads or tiers; only how long failures are remembered on the calls. */
#include "program.h"

#include <math.h>
#include <string.h>

typedef enum use { UNUSED, EXPONENTS, SELECTION } use;
enum { MOST_PREPARED = BBI_EXPAND_CENTRE + BBI_EXPAND_MAX };

struct bbi_expanded {
    use use;
    bbi_expansion exponents; /* nodes of the context, for the plans only */
    bbi_scan scan;
    bbi_plan *plan, *prepare;
    bbi_executable *executable, *preparing;
    bbi_variable *signature; /* the program's, then the centres */
    bb_output_info output[3], prepared[MOST_PREPARED];
    int preparations, centres; /* the last ones are the centres */
    int64_t values;            /* of one batch element of what is prepared */
    _Atomic bool used;
    _Atomic int pause; /* runs that do not try: most rows of the last one needed all columns */
};

/* Rows and columns from which on the preparation is a small part of the run. */
static const double worth_rows = 300;
static const int64_t selection_rows = 256, columns_per_candidate = 50;
static const double most_candidates = 1 << 25; /* entries in memory */
static const int pause_after_failure = 15;

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

/* ---- making ---- */
static bb_status plan_exponents(bbi_expanded *x, const bb_kernel *kernel, bool is_double) {
    const bb_program *p = kernel->program;
    const bbi_node *output[BBI_MAX_OUTPUTS];
    int ninput = (int)p->signature.count;
    bool guarded = kernel->options.accuracy != BB_ACCURACY_FAST;
    x->exponents.output = output;
    BBI_FORWARD(bbi_expand(p->context, p->output, p->noutput, ninput, guarded, &x->exponents));
    x->exponents.output = NULL;
    if (!x->exponents.centres) return BB_OK;
    x->use = EXPONENTS;
    x->centres = x->exponents.centres;
    x->preparations = BBI_EXPAND_CENTRE + x->centres;
    for (int k = 0; k < x->preparations; k++) x->prepared[k].dim = x->exponents.prepared[k]->dim;
    BBI_FORWARD(bbi_plan_outputs(p, output, ninput + x->centres, &kernel->options, is_double, NULL, &x->plan));
    return bbi_plan_make(p->context, x->exponents.prepared, x->preparations, ninput, NULL, &x->prepare);
}

static bb_status plan_selection(bbi_expanded *x, const bb_kernel *kernel) {
    const bb_program *p = kernel->program;
    int ninput = (int)p->signature.count;
    BBI_FORWARD(bbi_expand_selection(p->context, p->output, p->noutput, ninput, &x->scan));
    if (!x->scan.k) return BB_OK;
    x->use = SELECTION;
    x->centres = 1;
    x->preparations = 2;
    for (int k = 0; k < 2; k++) x->prepared[k].dim = x->scan.prepared[k]->dim;
    for (int k = 0; k < 3; k++)
        x->output[k] =
            (bb_output_info){.place = (bb_axis)x->scan.kept, .dim = x->scan.output[k]->dim, .is_index = k == 1};
    BBI_FORWARD(bbi_plan_make(p->context, x->scan.output, 3, ninput + 1, NULL, &x->plan));
    return bbi_plan_make(p->context, x->scan.prepared, 2, ninput, NULL, &x->prepare);
}

static bb_status make(bbi_expanded *x, const bb_kernel *kernel, bool is_double) {
    const bb_program *p = kernel->program;
    int64_t ninput = p->signature.count;
    bbi_context_lock(p->context);
    bb_status status = plan_exponents(x, kernel, is_double);
    if (status == BB_OK && x->use == UNUSED) status = plan_selection(x, kernel);
    bbi_context_unlock(p->context);
    if (status != BB_OK || x->use == UNUSED) return status;
    x->signature = bbi_calloc((size_t)(ninput + x->centres), sizeof *x->signature);
    if (!x->signature) return no_memory();
    if (ninput) memcpy(x->signature, p->signature.variables, (size_t)ninput * sizeof *x->signature);
    for (int k = 0, centre = k - (x->preparations - x->centres); k < x->preparations; k++, centre++) {
        x->values += x->prepared[k].dim;
        if (centre >= 0)
            x->signature[ninput + centre] = (bbi_variable){.name = "", .dim = x->prepared[k].dim, .place = BBI_P};
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
typedef struct job {
    bbi_expanded *x;
    const bb_kernel *kernel;
    const bbi_variant *variant;
    bool is_double;
    const bb_array *inputs, *outputs;
    bb_run_options options;
    bbi_extent extent;
    bb_array prepared[MOST_PREPARED];
    int64_t shape[MOST_PREPARED][BBI_MAX_BATCH_DIMS + 2];
    char *memory; /* of what is prepared */
} job;

static double value_at(const bb_array *array, int64_t k) {
    return array->dtype_bits == 64 ? ((const double *)array->data)[k] : (double)((const float *)array->data)[k];
}

static bb_dtype real_of(const job *j) { return j->is_double ? BB_FLOAT64 : BB_FLOAT32; }

static bb_status prepare(job *j) {
    const bbi_expanded *x = j->x;
    const bbi_signature *signature = &j->kernel->program->signature;
    int64_t size = j->is_double ? 8 : 4;
    char *memory = j->memory = bbi_alloc((size_t)(x->values * j->extent.batches * size));
    if (!memory) return no_memory();
    for (int k = 0; k < x->preparations; k++) {
        int ndim = bbi_output_shape(&j->extent, &x->prepared[k], j->shape[k]);
        j->prepared[k] = bb_array_of(memory, real_of(j), ndim, j->shape[k]);
        memory += x->prepared[k].dim * j->extent.batches * size;
    }
    bb_run_options quiet = j->options;
    quiet.progress = NULL;
    quiet.ranges = NULL;
    quiet.ranges_count = 0;
    return bbi_execute(x->preparing, j->inputs, (int)signature->count, signature->variables, j->prepared,
                       x->preparations, x->prepared, &quiet);
}

/* The second plan: the program's inputs, then the centres. */
static bb_status run_plan(const job *j, const bb_array *outputs, int noutput, const bb_output_info *info,
                          const bb_run_options *options) {
    const bbi_expanded *x = j->x;
    size_t ninput = (size_t)j->kernel->program->signature.count, count = ninput + (size_t)x->centres;
    bb_array *all = bbi_calloc(count, sizeof *all);
    if (!all) return no_memory();
    if (ninput) memcpy(all, j->inputs, ninput * sizeof *all);
    memcpy(all + ninput, j->prepared + x->preparations - x->centres, (count - ninput) * sizeof *all);
    bb_status status = bbi_execute(x->executable, all, (int)count, x->signature, outputs, noutput, info, options);
    bbi_free(all);
    return status;
}

/* ---- exponents ---- */
static bool is_accurate(const job *j) {
    for (int64_t k = 0; k < j->extent.batches; k++) {
        if (!(value_at(&j->prepared[BBI_EXPAND_BOUND], k) <= BBI_EXPAND_LIMIT)) return false;
        if (!isfinite(value_at(&j->prepared[BBI_EXPAND_TOTAL], k))) return false;
    }
    return true;
}

static bb_status run_exponents(job *j, bool *done) {
    const bb_program *p = j->kernel->program;
    bool fast = j->kernel->options.accuracy == BB_ACCURACY_FAST;
    double m = (double)j->extent.m, n = (double)j->extent.n;
    if (!fast && m * n < worth_rows * (m + n)) return BB_OK;
    BBI_FORWARD(prepare(j));
    *done = fast || is_accurate(j);
    return *done ? run_plan(j, j->outputs, p->noutput, p->info, &j->options) : BB_OK;
}

/* ---- selections ---- */
static bool is_worth_scanning(const job *j) {
    const bbi_scan *scan = &j->x->scan;
    int64_t rows = scan->kept == BBI_I ? j->extent.m : j->extent.n, columns = j->extent.m + j->extent.n - rows;
    double entries = (double)rows * (double)scan->count * (double)j->extent.batches;
    if (j->options.ranges || rows < selection_rows || columns < columns_per_candidate * scan->count) return false;
    if (entries > most_candidates || scan->dim > 50000) return false;
    int pause = atomic_load_explicit(&j->x->pause, memory_order_relaxed);
    if (pause > 0) atomic_store_explicit(&j->x->pause, pause - 1, memory_order_relaxed);
    return pause <= 0;
}

static bb_status select_candidates(const job *j, const bb_array *scanned, int64_t rows, char *open, int64_t blocks) {
    const bb_program *p = j->kernel->program;
    double u = j->is_double ? 0x1p-53 : 0x1p-24, dim = (double)j->x->scan.dim;
    bbi_candidates c = {.k = j->x->scan.k,
                        .count = j->x->scan.count,
                        .value = scanned[0].data,
                        .index = scanned[1].data,
                        .norm = scanned[2].data,
                        .largest = j->prepared[0].data,
                        .rounding = 1.02 * (dim + 16) * u,
                        .underflow = j->is_double ? 0x1p-600 : 0x1p-80,
                        .most = j->is_double ? 0x1p900 : 0x1p100,
                        .plain = j->x->scan.plain,
                        .open = open,
                        .blocks = blocks};
    bb_status status = bbi_execute_candidates(j->variant->executable, &c, j->inputs, (int)p->signature.count,
                                              p->signature.variables, j->outputs, p->noutput, p->info, &j->options);
    if (2 * atomic_load(&c.open_count) > blocks * j->extent.batches)
        atomic_store_explicit(&j->x->pause, pause_after_failure, memory_order_relaxed);
    bbi_log('r', "candidates of %lld rows, %lld blocks of rows met all columns", (long long)(rows * j->extent.batches),
            (long long)atomic_load(&c.open_count));
    return status;
}

static bb_status run_selection(job *j, bool *done) {
    const bbi_scan *scan = &j->x->scan;
    if (!is_worth_scanning(j)) return BB_OK;
    int64_t rows = scan->kept == BBI_I ? j->extent.m : j->extent.n, all = rows * j->extent.batches;
    int64_t real = j->is_double ? 8 : 4, lanes = BBI_LANE_BYTES / real, blocks = (rows + lanes - 1) / lanes;
    int64_t bytes[] = {all * scan->count * real, all * scan->count * 8, all * real, blocks * j->extent.batches};
    int64_t shape[3][BBI_MAX_BATCH_DIMS + 2];
    bb_array scanned[3];
    char *memory = bbi_alloc_aligned((size_t)(bytes[0] + bytes[1] + bytes[2] + bytes[3] + 3 * 64)), *at = memory;
    if (!memory) return no_memory();
    for (int k = 0; k < 3; k++) {
        int ndim = bbi_output_shape(&j->extent, &j->x->output[k], shape[k]);
        scanned[k] = bb_array_of(at, k == 1 ? BB_INT64 : real_of(j), ndim, shape[k]);
        at += (bytes[k] + 63) / 64 * 64;
    }
    memset(at, 0, (size_t)bytes[3]);
    bb_run_options quiet = j->options;
    quiet.progress = NULL;
    bb_status status = prepare(j);
    if (status == BB_OK) status = run_plan(j, scanned, 3, j->x->output, &quiet);
    if (status == BB_OK) status = select_candidates(j, scanned, rows, at, blocks);
    *done = true;
    bbi_free_aligned(memory);
    return status;
}

bb_status bbi_run_expanded(bb_kernel *kernel, bbi_variant *variant, bool is_double, const bb_array *inputs,
                           const bb_array *outputs, const bb_run_options *options, bool *done) {
    const bb_program *p = kernel->program;
    job j = {.kernel = kernel, .variant = variant, .is_double = is_double, .inputs = inputs, .outputs = outputs};
    if (kernel->options.accuracy == BB_ACCURACY_EXACT) return BB_OK;
    j.x = atomic_load_explicit(&variant->expanded, memory_order_acquire);
    if (j.x && j.x->use == UNUSED) return BB_OK;
    BBI_FORWARD(bbi_run_options_of(options, &j.options));
    BBI_FORWARD(bbi_arrays_extent(inputs, (int)p->signature.count, p->signature.variables, (int)p->signature.count,
                                  &j.options, &j.extent));
    if (j.extent.batches == 0 || j.extent.m == 0 || j.extent.n == 0) return BB_OK;
    bool large = (double)j.extent.m * (double)j.extent.n >= worth_rows * worth_rows;
    if (!large && kernel->options.accuracy != BB_ACCURACY_FAST) return BB_OK;
    BBI_FORWARD(find(kernel, variant, is_double, &j.x));
    bb_status status = BB_OK;
    if (j.x->use == EXPONENTS) status = run_exponents(&j, done);
    if (j.x->use == SELECTION) status = run_selection(&j, done);
    atomic_store_explicit(&j.x->used, *done, memory_order_relaxed);
    bbi_free(j.memory);
    return status;
}
