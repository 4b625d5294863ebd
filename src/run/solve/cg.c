/* cg.c: conjugate gradients (Hestenes and Stiefel, J. Res. NBS 49, 1952) for (K + alpha I) a = b with a kernel as the
 * matrix. All columns of all batch elements share each product with K and have step lengths of their own. Vectors are
 * float64 whatever the kernel computes in. */
#include "program.h"

#include <math.h>
#include <string.h>

/* (batch, rows, columns), row-major */
typedef struct system {
    bb_kernel *kernel;
    const bb_run_options *run;
    bb_array *inputs;
    int ninput, unknown;
    int64_t batches, rows, columns, count;
    bb_array direction, product; /* p in the kernel's dtype, K p in float64 */
    double alpha;
    double *x, *r, *p, *q; /* iterate, residual, direction, (K + alpha I) p */
    double *rr, *pq, *bb;  /* per column: |r|^2, p.q, |b|^2 */
} system_;

typedef struct storage {
    int64_t shape[BBI_MAX_BATCH_DIMS + 2];
    bool is_double;
} storage;

/* Per column: sum over the rows of a * b. */
static void column_products(const system_ *s, const double *a, const double *b, double *result) {
    memset(result, 0, (size_t)(s->batches * s->columns) * sizeof *result);
    for (int64_t n = 0; n < s->batches; n++) {
        double *sum = result + n * s->columns;
        for (int64_t m = 0; m < s->rows; m++) {
            const double *u = a + (n * s->rows + m) * s->columns, *v = b + (n * s->rows + m) * s->columns;
            for (int64_t e = 0; e < s->columns; e++) sum[e] += u[e] * v[e];
        }
    }
}

/* y += sign * step_e * x with a step per column */
static void add_columns(const system_ *s, double *y, const double *x, const double *step, double sign) {
    for (int64_t n = 0; n < s->batches; n++)
        for (int64_t m = 0; m < s->rows; m++)
            for (int64_t e = 0; e < s->columns; e++) {
                int64_t k = (n * s->rows + m) * s->columns + e;
                y[k] += sign * step[n * s->columns + e] * x[k];
            }
}

static bb_status multiply(system_ *s) { /* q = (K + alpha I) p */
    if (s->direction.dtype_bits == 32)
        for (int64_t k = 0; k < s->count; k++) ((float *)s->direction.data)[k] = (float)s->p[k];
    else
        memcpy(s->direction.data, s->p, (size_t)s->count * sizeof *s->p);
    BBI_FORWARD(bb_run(s->kernel, s->inputs, s->ninput, &s->product, 1, s->run));
    for (int64_t k = 0; k < s->count; k++) s->q[k] += s->alpha * s->p[k];
    return BB_OK;
}

/* ---- the iteration --------------------------------------------------------------------------- */
static double residual_of(const system_ *s, const bb_solve_options *options, bool *done) {
    double tolerance = options->tolerance > 0 ? options->tolerance : 1e-6, rr = 0, bb = 0;
    bool each = true;
    for (int64_t k = 0; k < s->batches * s->columns; k++) {
        rr += s->rr[k], bb += s->bb[k];
        each = each && sqrt(s->rr[k]) <= tolerance * sqrt(s->bb[k]);
    }
    *done = options->relative ? each : rr < (double)s->count * tolerance * tolerance || rr == 0;
    return bb > 0 ? sqrt(rr / bb) : sqrt(rr);
}

/* Step lengths rr / pq; columns that are solved stand still. */
static bb_status step_lengths(const system_ *s, int64_t iteration, double *step) {
    for (int64_t k = 0; k < s->batches * s->columns; k++) {
        step[k] = s->rr[k] > 0 ? s->rr[k] / s->pq[k] : 0;
        if (s->rr[k] > 0 && !(s->pq[k] > 0)) {
            if (isnan(s->pq[k]))
                return bbi_fail(
                    BB_NO_CONVERGENCE,
                    "bb_solve: iteration %lld met NaN: the data or the formula give values that are not numbers",
                    (long long)iteration);
            return bbi_fail(
                BB_INDEFINITE,
                "bb_solve: iteration %lld found a direction with p.(K + alpha I)p = %g <= 0 in column %lld: the matrix "
                "is not positive definite; "
                "raise alpha (now %g), compute in float64, or check that the formula is a symmetric positive kernel",
                (long long)iteration, s->pq[k], (long long)(k % s->columns), s->alpha);
        }
    }
    return BB_OK;
}

static bb_status iterate(system_ *s, const bb_solve_options *options, double *step, bb_solve_result *result) {
    int64_t limit = options->max_iterations > 0 ? options->max_iterations : (10 * s->rows > 100 ? 10 * s->rows : 100);
    bool done;
    for (result->iterations = 0;; result->iterations++) {
        result->residual = residual_of(s, options, &done);
        if (options->report && options->report(options->report_data, result->iterations, result->residual))
            return bbi_fail(BB_CANCELLED, "bb_solve: cancelled after %lld iterations", (long long)result->iterations);
        if (isnan(result->residual))
            return bbi_fail(BB_NO_CONVERGENCE,
                            "bb_solve: the residual is NaN: the right-hand side or the data contain NaN");
        if (done) return BB_OK;
        if (result->iterations == limit)
            return bbi_fail(BB_NO_CONVERGENCE,
                            "bb_solve: after %lld iterations the relative residual is %.3g; raise alpha or "
                            "max_iterations, loosen the tolerance, or use float64",
                            (long long)limit, result->residual);
        BBI_FORWARD(multiply(s));
        column_products(s, s->p, s->q, s->pq);
        BBI_FORWARD(step_lengths(s, result->iterations, step));
        add_columns(s, s->x, s->p, step, 1);
        add_columns(s, s->r, s->q, step, -1);
        memcpy(step, s->rr, (size_t)(s->batches * s->columns) * sizeof *step);
        column_products(s, s->r, s->r, s->rr);
        for (int64_t k = 0; k < s->batches * s->columns; k++) step[k] = step[k] > 0 ? s->rr[k] / step[k] : 0;
        for (int64_t n = 0; n < s->batches; n++)
            for (int64_t m = 0; m < s->rows; m++)
                for (int64_t e = 0; e < s->columns; e++) {
                    int64_t k = (n * s->rows + m) * s->columns + e;
                    s->p[k] = s->r[k] + step[n * s->columns + e] * s->p[k];
                }
    }
}

/* ---- the caller's arrays --------------------------------------------------------------------- */
static bb_status copy_array(const bb_array *to, const bb_array *from, int64_t rows, int64_t columns, int64_t batches) {
    bbi_extent extent = {.nbatch = from->ndim - 2, .batches = batches};
    memcpy(extent.batch, from->shape, (size_t)extent.nbatch * sizeof *extent.batch);
    bbi_view source, target;
    bbi_view_of(from, 2, &extent, &source);
    bbi_view_of(to, 2, &extent, &target);
    double *wide = bbi_alloc_aligned((size_t)(columns * BBI_LANE_BYTES));
    if (!wide) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory");
    int64_t lanes = BBI_LANE_BYTES / (int64_t)sizeof(double);
    for (int64_t n = 0; n < batches; n++) {
        bbi_array a = bbi_view_at(&source, &extent, n), b = bbi_view_at(&target, &extent, n);
        for (int64_t m = 0; m < rows; m += lanes) {
            int64_t count = rows - m < lanes ? rows - m : lanes;
            bbi_pack(true, 0, wide, lanes, &a, columns, m, count, lanes);
            bbi_unpack(true, 0, wide, lanes, &b, columns, m, count);
        }
    }
    bbi_free_aligned(wide);
    return BB_OK;
}

static bb_status check_system(bb_kernel *kernel, const bb_array *inputs, int ninput, int unknown,
                              const bb_array *output, const bb_run_options *run) {
    bbi_extent extent;
    bool is_double;
    if (!kernel || !inputs || !output)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: kernel, inputs and output must not be NULL");
    const bb_program *p = kernel->program;
    if (ninput != p->signature.count || unknown < 0 || unknown >= ninput)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: %d inputs for a program of %lld variables, unknown %d", ninput,
                        (long long)p->signature.count, unknown);
    const bbi_variable *v = &p->signature.variables[unknown];
    if (p->noutput != 1 || p->info[0].is_index || v->place == BBI_P || p->info[0].dim != v->dim ||
        (int)p->info[0].place != (BBI_IJ ^ (int)v->place))
        return bbi_fail(
            BB_BAD_SHAPE,
            "bb_solve: the program must have one output a_i = sum_j K(..) b_j of the dimension of variable %d ('%s')",
            unknown, v->name);
    BBI_FORWARD(bbi_arrays_real_type(kernel->plan, inputs, ninput, p->signature.variables, &is_double));
    BBI_FORWARD(bbi_arrays_extent(inputs, ninput, p->signature.variables, ninput, run, &extent));
    BBI_FORWARD(bbi_arrays_check_outputs(output, 1, p->info, &extent));
    const bb_array *b = &inputs[unknown];
    if (bbi_array_dtype(b) == BBI_I64)
        return bbi_fail(BB_BAD_DTYPE,
                        "bb_solve: the right-hand side (input %d) has the type int64, expected a floating one",
                        unknown);
    if (b->ndim < 2 || b->ndim > BBI_MAX_BATCH_DIMS + 2 || b->ndim != output->ndim ||
        memcmp(b->shape, output->shape, (size_t)b->ndim * sizeof *b->shape))
        return bbi_fail(
            BB_BAD_SHAPE,
            "bb_solve: the solution must have the shape of the right-hand side (input %d), (..., rows, dim)", unknown);
    return BB_OK;
}

static bb_status open_system(system_ *s, storage *store, const bb_array *b) {
    s->batches = 1;
    for (int d = 0; d < b->ndim; d++) store->shape[d] = b->shape[d];
    for (int d = 0; d < b->ndim - 2; d++) s->batches *= b->shape[d];
    s->rows = b->shape[b->ndim - 2], s->columns = b->shape[b->ndim - 1];
    s->count = s->batches * s->rows * s->columns;
    store->is_double = bbi_array_dtype(b) == BBI_F64;
    size_t vector = (size_t)s->count * sizeof(double) + 8,
           columns = (size_t)(s->batches * s->columns) * sizeof(double) + 8;
    double **const vectors[] = {&s->x, &s->r, &s->p, &s->q}, **const scalars[] = {&s->rr, &s->pq, &s->bb};
    bool ok = true;
    for (int k = 0; k < 4; k++) ok = (*vectors[k] = bbi_calloc(1, vector)) && ok;
    for (int k = 0; k < 3; k++) ok = (*scalars[k] = bbi_calloc(1, columns)) && ok;
    s->inputs = bbi_alloc((size_t)s->ninput * sizeof *s->inputs);
    s->direction =
        bb_array_of(bbi_calloc(1, vector), store->is_double ? BB_FLOAT64 : BB_FLOAT32, b->ndim, store->shape);
    s->product = bb_array_of(s->q, BB_FLOAT64, b->ndim, store->shape);
    return ok && s->inputs && s->direction.data
               ? BB_OK
               : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld unknowns", (long long)s->count);
}

static void close_system(system_ *s) {
    double *const all[] = {s->x, s->r, s->p, s->q, s->rr, s->pq, s->bb};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) bbi_free(all[k]);
    bbi_free(s->inputs);
    bbi_free(s->direction.data);
}

bb_status bb_solve(bb_kernel *kernel, const bb_array *inputs, int input_count, int unknown, const bb_array *output,
                   const bb_solve_options *options, bb_solve_result *result) {
    bb_solve_options all = {.size = sizeof all};
    bb_solve_result found = {.size = sizeof found};
    storage store;
    if (options && !bbi_options_fit(options->size, sizeof all, "bb_solve options")) return BB_BAD_ARGUMENT;
    if (options) memcpy(&all, options, options->size < sizeof all ? options->size : sizeof all);
    BBI_FORWARD(check_system(kernel, inputs, input_count, unknown, output, all.run));
    if (!(all.alpha >= 0)) return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: alpha is %g; it must be at least 0", all.alpha);
    double start = bbi_seconds();
    system_ s = {.kernel = kernel, .run = all.run, .ninput = input_count, .unknown = unknown, .alpha = all.alpha};
    bb_status status = open_system(&s, &store, &inputs[unknown]);
    double *step = status == BB_OK ? bbi_calloc((size_t)(s.batches * s.columns) + 1, sizeof *step) : NULL;
    if (status == BB_OK && !step) status = bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory");
    if (status == BB_OK) {
        memcpy(s.inputs, inputs, (size_t)input_count * sizeof *inputs);
        s.inputs[unknown] = s.direction;
        bb_array b = bb_array_of(s.r, BB_FLOAT64, inputs[unknown].ndim, store.shape),
                 x = bb_array_of(s.x, BB_FLOAT64, b.ndim, store.shape);
        status = copy_array(&b, &inputs[unknown], s.rows, s.columns, s.batches);
        memcpy(s.p, s.r, (size_t)s.count * sizeof *s.r); /* from a = 0: r = p = b */
        column_products(&s, s.r, s.r, s.rr);
        memcpy(s.bb, s.rr, (size_t)(s.batches * s.columns) * sizeof *s.rr);
        if (status == BB_OK) {
            status = iterate(&s, &all, step, &found);
            bb_status copied = copy_array(output, &x, s.rows, s.columns, s.batches);
            if (status == BB_OK) status = copied;
        }
    }
    bbi_free(step);
    close_system(&s);
    found.seconds = bbi_seconds() - start;
    if (result && result->size) {
        size_t size = result->size < sizeof found ? result->size : sizeof found;
        found.size = result->size;
        memcpy(result, &found, size);
    }
    return status;
}
