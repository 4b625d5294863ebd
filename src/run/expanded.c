/* expanded.c: a second plan of a kernel, whose squared distances are norms and scalar products (expr/expand.c). Two small
 * programs run first: one computes the centres, which are parameters of the second plan, from some of the columns, for any
 * centre will do; the other, which has them as parameters too, bounds. Where distances are exponents the second plan takes
 * the place of the first in runs for which the bound of the errors is low enough.
 * Where they are selected from it lists candidates, of which the first plan takes the right ones (select_exact.c). What
 * is decided depends on the arrays, never on threads or tiers; only how long failures are remembered on the calls. */
#include "program.h"
#include "team.h"

#include <math.h>
#include <string.h>

typedef enum use { UNUSED, EXPONENTS, SELECTION } use;

/* A program that runs in front: its values come from inputs alone, or from inputs and centres. */
typedef struct before {
    bbi_plan *plan;
    bbi_executable *executable;
    bb_output_info info[BBI_EXPAND_MAX];
    int count;
} before;
struct bbi_expanded {
    use use;
    bbi_expansion exponents; /* nodes of the context, for the plans only */
    bbi_scan scan;
    bbi_plan *plan;
    bbi_executable *executable;
    before centring, bounding;
    bbi_variable *signature; /* the program's, then the centres */
    bb_output_info output[3];
    int64_t values; /* of one batch element of what is prepared */
    _Atomic bool used;
    _Atomic int pause; /* runs that do not try: most rows of the last one needed all columns */
};

/* Rows and columns from which on the preparation is a small part of the run. */
static const double worth_rows = 300;
static const int64_t selection_rows = 256, columns_per_candidate = 50;
static const double most_candidates = 1 << 25; /* entries in memory */
static const int pause_after_failure = 15;
static const int64_t sample = 1024; /* columns, or somewhat more, whose mean is a centre */

void bbi_expanded_free(bbi_expanded *x) {
    if (!x) return;
    if (x->executable) bbi_executable_free(x->executable);
    before *const both[] = {&x->centring, &x->bounding};
    for (int k = 0; k < 2; k++) {
        if (both[k]->executable) bbi_executable_free(both[k]->executable);
        bbi_plan_free(both[k]->plan);
    }
    bbi_plan_free(x->plan);
    bbi_free(x->signature);
    bbi_free(x);
}

bbi_executable *bbi_expanded_executable(const bbi_expanded *x) {
    return x && atomic_load_explicit(&x->used, memory_order_relaxed) ? x->executable : NULL;
}

static bb_status no_memory(void) { return bbi_fail(BB_OUT_OF_MEMORY, "kernel: out of memory"); }

/* ---- making ---- */
static bb_status plan_before(before *b, bbi_context *c, const bbi_node *const *value, int count, int ninput) {
    b->count = count;
    for (int k = 0; k < count; k++) b->info[k].dim = value[k]->dim;
    return bbi_plan_make(c, value, count, ninput, NULL, &b->plan);
}

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
    const int centres = x->exponents.centres;
    BBI_FORWARD(bbi_plan_outputs(p, output, ninput + centres, &kernel->options, is_double, NULL, &x->plan));
    BBI_FORWARD(plan_before(&x->centring, p->context, x->exponents.centre, centres, ninput));
    return plan_before(&x->bounding, p->context, x->exponents.bound, BBI_EXPAND_BOUNDS, ninput + centres);
}

static bb_status plan_selection(bbi_expanded *x, const bb_kernel *kernel) {
    const bb_program *p = kernel->program;
    int ninput = (int)p->signature.count;
    BBI_FORWARD(bbi_expand_selection(p->context, p->output, p->noutput, ninput, &x->scan));
    if (!x->scan.k) return BB_OK;
    x->use = SELECTION;
    for (int k = 0; k < 3; k++)
        x->output[k] =
            (bb_output_info){.place = (bb_axis)x->scan.kept, .dim = x->scan.output[k]->dim, .is_index = k == 1};
    BBI_FORWARD(bbi_plan_make(p->context, x->scan.output, 3, ninput + 1, NULL, &x->plan));
    BBI_FORWARD(plan_before(&x->centring, p->context, &x->scan.centre, 1, ninput));
    return plan_before(&x->bounding, p->context, &x->scan.largest, 1, ninput + 1);
}

static bb_status make(bbi_expanded *x, const bb_kernel *kernel, bool is_double) {
    const bb_program *p = kernel->program;
    int64_t ninput = p->signature.count;
    bbi_context_lock(p->context);
    bb_status status = plan_exponents(x, kernel, is_double);
    if (status == BB_OK && x->use == UNUSED) status = plan_selection(x, kernel);
    bbi_context_unlock(p->context);
    if (status != BB_OK || x->use == UNUSED) return status;
    const int centres = x->centring.count;
    x->signature = bbi_calloc((size_t)(ninput + centres), sizeof *x->signature);
    if (!x->signature) return no_memory();
    if (ninput) memcpy(x->signature, p->signature.variables, (size_t)ninput * sizeof *x->signature);
    for (int k = 0; k < centres; k++) {
        x->signature[ninput + k] = (bbi_variable){.name = "", .dim = x->centring.info[k].dim, .place = BBI_P};
        x->values += x->centring.info[k].dim;
    }
    for (int k = 0; k < x->bounding.count; k++) x->values += x->bounding.info[k].dim;
    bb_compile_options interpreted = kernel->options; /* rows and columns only: not worth a compiler */
    interpreted.target = BB_TARGET_INTERP;
    BBI_FORWARD(
        bbi_executable_new(x->centring.plan, is_double, &interpreted, kernel->level, &x->centring.executable));
    BBI_FORWARD(
        bbi_executable_new(x->bounding.plan, is_double, &interpreted, kernel->level, &x->bounding.executable));
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
    bb_array *all; /* the inputs, then the centres */
    bb_array bound[BBI_EXPAND_BOUNDS];
    int64_t shape[BBI_EXPAND_MAX + BBI_EXPAND_BOUNDS][BBI_MAX_BATCH_DIMS + 2];
    char *memory; /* of what is prepared */
} job;

static double value_at(const bb_array *array, int64_t k) {
    return array->dtype_bits == 64 ? ((const double *)array->data)[k] : (double)((const float *)array->data)[k];
}

static bb_dtype real_of(const job *j) { return j->is_double ? BB_FLOAT64 : BB_FLOAT32; }

/* Arrays for the values of a program that runs in front. */
static char *place_values(job *j, const before *b, int64_t (*shape)[BBI_MAX_BATCH_DIMS + 2], bb_array *array, char *memory) {
    for (int k = 0; k < b->count; k++) {
        int ndim = bbi_output_shape(&j->extent, &b->info[k], shape[k]);
        array[k] = bb_array_of(memory, real_of(j), ndim, shape[k]);
        memory += b->info[k].dim * j->extent.batches * (j->is_double ? 8 : 4);
    }
    return memory;
}

/* Views of every step-th row of the inputs that vary with j. An odd step: arrays are often grids of even sides. */
typedef struct thinned {
    int64_t shape[BBI_MAX_BATCH_DIMS + 2], strides[BBI_MAX_BATCH_DIMS + 2];
} thinned;

static void thin(const job *j, bb_array *inputs, thinned *views) {
    const bbi_signature *signature = &j->kernel->program->signature;
    const int64_t step = j->extent.n / sample | 1;
    for (int64_t v = 0; v < signature->count; v++) {
        bb_array *array = &inputs[v];
        *array = j->inputs[v];
        if (signature->variables[v].place != BBI_J) continue;
        const int last = array->ndim - 1;
        int64_t stride = 1;
        for (int d = last; d >= 0; d--) {
            views[v].shape[d] = array->shape[d];
            views[v].strides[d] = array->strides ? array->strides[d] : stride;
            stride *= array->shape[d];
        }
        views[v].shape[last - 1] = (array->shape[last - 1] + step - 1) / step;
        views[v].strides[last - 1] *= step;
        array->shape = views[v].shape;
        array->strides = views[v].strides;
    }
}

static bb_status find_centres(job *j, const bb_run_options *options) {
    const before *b = &j->x->centring;
    const bbi_signature *signature = &j->kernel->program->signature;
    bb_array *centre = j->all + signature->count;
    if (j->extent.n < 3 * sample || options->rows_j)
        return bbi_execute(b->executable, j->inputs, (int)signature->count, signature->variables, centre, b->count,
                           b->info, options);
    thinned *views = bbi_calloc((size_t)signature->count + 1, sizeof *views + sizeof(bb_array));
    if (!views) return no_memory();
    bb_array *inputs = (bb_array *)(void *)(views + signature->count + 1);
    thin(j, inputs, views);
    bb_status status = bbi_execute(b->executable, inputs, (int)signature->count, signature->variables, centre, b->count,
                                   b->info, options);
    bbi_free(views);
    return status;
}

static bb_status prepare(job *j) {
    const bbi_expanded *x = j->x;
    const size_t ninput = (size_t)j->kernel->program->signature.count, count = ninput + (size_t)x->centring.count;
    const size_t bytes = (size_t)(x->values * j->extent.batches * (j->is_double ? 8 : 4));
    char *memory = j->memory = bbi_alloc(count * sizeof *j->all + bytes);
    if (!memory) return no_memory();
    j->all = (bb_array *)(void *)memory;
    if (ninput) memcpy(j->all, j->inputs, ninput * sizeof *j->all);
    memory = place_values(j, &x->centring, j->shape, j->all + ninput, memory + count * sizeof *j->all);
    place_values(j, &x->bounding, j->shape + x->centring.count, j->bound, memory);
    bb_run_options quiet = j->options;
    quiet.progress = NULL;
    quiet.ranges = NULL;
    quiet.ranges_count = 0;
    BBI_FORWARD(find_centres(j, &quiet));
    return bbi_execute(x->bounding.executable, j->all, (int)count, x->signature, j->bound, x->bounding.count,
                       x->bounding.info, &quiet);
}

/* The second plan: the program's inputs, then the centres. */
static bb_status run_plan(const job *j, const bb_array *outputs, int noutput, const bb_output_info *info,
                          const bb_run_options *options) {
    const bbi_expanded *x = j->x;
    const int count = (int)j->kernel->program->signature.count + x->centring.count;
    return bbi_execute(x->executable, j->all, count, x->signature, outputs, noutput, info, options);
}

/* ---- exponents ---- */
static bool is_accurate(const job *j) {
    for (int64_t k = 0; k < j->extent.batches; k++) {
        if (!(value_at(&j->bound[BBI_EXPAND_BOUND], k) <= BBI_EXPAND_LIMIT)) return false;
        if (!isfinite(value_at(&j->bound[BBI_EXPAND_TOTAL], k))) return false;
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
    if (!*done) return BB_OK;
    bbi_team_pass();
    bb_status status = run_plan(j, j->outputs, p->noutput, p->info, &j->options);
    bbi_team_enter();
    return status;
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
                        .largest = j->bound[0].data,
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
    bbi_team_pass();
    if (status == BB_OK) status = select_candidates(j, scanned, rows, at, blocks);
    bbi_team_enter();
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
    bbi_team_enter();
    if (j.x->use == EXPONENTS) status = run_exponents(&j, done);
    if (j.x->use == SELECTION) status = run_selection(&j, done);
    bbi_team_leave();
    atomic_store_explicit(&j.x->used, *done, memory_order_relaxed);
    bbi_free(j.memory);
    return status;
}
