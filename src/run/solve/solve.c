/* solve.c: bb_solve. It checks the arrays, iterates without a preconditioner for as long as that is cheap, makes one where
 * that was not enough, and answers only after the residual has been computed anew from the solution: in floating-point
 * arithmetic the recurrences of conjugate gradients and MINRES go on falling where the true residual does not. */
#include "solve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    PLAIN_ITERATIONS = 8,
    FIRST_LOOK = 3
}; /* before a preconditioner is thought of, if they seem to lead somewhere; if not */
/* from here on, and in so many dimensions at most, neighbours are thought of without being asked for */
enum { MANY_POINTS = 3000, FEW_DIMENSIONS = 4 };
static const int64_t default_memory = (int64_t)1 << 28;

typedef struct solver {
    bbi_matrix m;
    bbi_iteration it;
    bb_solve_options options;
    bb_solve_result found;
    double *b;
    int64_t factors;
    bool settled; /* the best iterate has been chosen */
} solver;

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

/* what: the right-hand side, the solution or the guess */
static bb_status check_array(const bbi_matrix *m, const char *what, const bb_array *a) {
    const bb_array *like = m->kernel ? &m->given->inputs[m->unknown] : NULL;
    if (!a || !a->shape) return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: %s must not be NULL", what);
    if (like) {
        bbi_extent extent = m->extent;
        if (a == like) return like->ndim >= 2 ? BB_OK : bbi_fail(BB_BAD_SHAPE, "bb_solve: %s needs two axes", what);
        BBI_FORWARD(bbi_arrays_check_outputs(a, 1, m->kernel->program->info, &extent));
        if (like->ndim >= 2 && a->ndim == like->ndim && like->ndim <= BBI_MAX_BATCH_DIMS + 2 &&
            !memcmp(a->shape, like->shape, (size_t)like->ndim * sizeof *like->shape))
            return BB_OK;
        return bbi_fail(
            BB_BAD_SHAPE,
            "bb_solve: the solution must have the shape of the right-hand side (input %d), (..., rows, dim)",
            m->unknown);
    }
    bbi_extent extent = {.m = m->points, .batches = 1};
    bb_output_info info = {.place = BB_I, .dim = m->dim};
    if (a->ndim != 2 || a->shape[0] != m->points || a->shape[1] != m->dim)
        return bbi_fail(BB_BAD_SHAPE, "bb_solve: %s must have the shape (%lld, %lld), rows and columns", what,
                        (long long)m->points, (long long)m->dim);
    return bbi_arrays_check_outputs(a, 1, &info, &extent);
}

static bb_status check_options(const bb_solve_options *o) {
    if (!(o->alpha >= 0) || isinf(o->alpha))
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: alpha is %g; it must be at least 0", o->alpha);
    if ((int)o->method < 0 || o->method > BB_SOLVE_MINRES)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: unknown method %d", (int)o->method);
    if ((int)o->precondition < 0 || o->precondition > BB_PRECONDITION_NEIGHBORS)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: unknown preconditioner %d", (int)o->precondition);
    if (o->method == BB_SOLVE_MINRES && o->precondition > BB_PRECONDITION_NONE)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: MINRES runs without a preconditioner: leave it AUTO or NONE");
    if (o->rank < 0 || o->memory < 0 || o->history_capacity < 0)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: rank, memory and history_capacity must be at least 0");
    return BB_OK;
}

/* ---- residuals ------------------------------------------------------------------------------- */
/* r = b - (K + alpha I) x; one product */
static bb_status true_residual(solver *s) {
    bbi_iteration *it = &s->it;
    BBI_FORWARD(bbi_matrix_multiply(&s->m, it->x, it->r));
    for (int64_t k = 0; k < s->m.count; k++) it->r[k] = s->b[k] - (it->r[k] + it->alpha * it->x[k]);
    bbi_column_products(&s->m, it->r, it->r, it->rr);
    return BB_OK;
}

/* Whether the residual is small enough, with twice the tolerance; *size: |r| / |b|. */
static bool is_good(solver *s, double *size) {
    bbi_iteration *it = &s->it;
    double rr = 0, bb = 0, tolerance = it->tolerance;
    bool each = true;
    it->tolerance *= 2;
    for (int64_t k = 0; k < s->m.batches * s->m.columns; k++) {
        rr += it->rr[k], bb += it->bb[k];
        each = each && bbi_column_done(it, k);
    }
    it->tolerance = tolerance;
    *size = bb > 0 ? sqrt(rr / bb) : sqrt(rr);
    return each || (!it->options->relative && rr < 4 * (double)s->m.count * tolerance * tolerance);
}

/* ---- the preconditioner ---------------------------------------------------------------------- */
static void free_factors(solver *s) {
    for (int64_t n = 0; s->it.factor && n < s->factors; n++) bbi_factor_free(&s->it.factor[n]);
    bbi_free(s->it.factor);
    s->it.factor = NULL;
}

/* One for each batch element; *reason: why there are none. */
static bb_status factor_all(solver *s, const bbi_factor_options *how, const char **reason, double *ahead) {
    double trace = 0, left = 0;
    *ahead = 0;
    s->factors = 0;
    s->found.rank = 0;
    s->it.factor = bbi_calloc((size_t)s->m.batches + 1, sizeof *s->it.factor);
    if (!s->it.factor) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for the preconditioner");
    bb_status status = BB_OK;
    for (; s->factors < s->m.batches && status == BB_OK && !*reason; s->factors++) {
        bbi_factor *f = &s->it.factor[s->factors];
        status = bbi_factor_make(f, &s->m, s->factors, how, reason);
        if (f->rank > s->found.rank) s->found.rank = f->rank;
        if (f->ahead > *ahead) *ahead = f->ahead;
        trace += f->trace, left += f->trace_left;
    }
    s->found.precondition = how->kind;
    s->found.trace_left = trace > 0 ? left / trace : 0;
    return status;
}

static bbi_factor_options factor_options(const solver *s) {
    const bb_solve_options *o = &s->options;
    int64_t memory = o->memory ? o->memory : o->rank ? INT64_MAX : default_memory;
    return (bbi_factor_options){.kind = o->precondition ? o->precondition : BB_PRECONDITION_RPCHOLESKY,
                                .clusters = o->clusters,
                                .neighbors = o->neighbors,
                                .neighbor_rank = o->neighbor_rank,
                                .neighbor_count = o->neighbor_count,
                                .alpha = o->alpha,
                                .work = bbi_matrix_work(&s->m),
                                .digits = -log(s->it.tolerance < 0.5 ? s->it.tolerance : 0.5),
                                .rank = o->rank < s->m.n ? o->rank : s->m.n,
                                .memory = memory / (s->m.batches ? s->m.batches : 1),
                                .seed = o->seed};
}

/* Whether a sparse inverse factor may serve where nothing was asked for. */
static bool has_neighbors(const solver *s) {
    int dim = bbi_matrix_dimension(&s->m);
    if (s->m.structure.no_entries || !s->m.structure.scalar || !dim) return false;
    return s->options.neighbors || (s->m.n >= MANY_POINTS && dim <= FEW_DIMENSIONS && !s->options.rank);
}

/* Plain iterations before a preconditioner: they shall not cost much more than it does. */
static int64_t iterations_before(const solver *s) {
    if (!has_neighbors(s)) return PLAIN_ITERATIONS;
    bbi_factor_options how = factor_options(s);
    double cost;
    cost = bbi_neighbors_cost(&s->m, bbi_neighbors_wanted(&s->m, &how, &cost)) / how.work;
    return cost < 2 ? 2 : cost > PLAIN_ITERATIONS ? PLAIN_ITERATIONS : (int64_t)cost;
}

static bb_status make_factors(solver *s) {
    const bb_solve_options *o = &s->options;
    double start = bbi_seconds(), ahead;
    bbi_factor_options how = factor_options(s);
    const char *reason = NULL;
    bool alternative = !o->precondition && has_neighbors(s);
    if (alternative) (void)bbi_neighbors_wanted(&s->m, &how, &how.rival);
    bb_status status = factor_all(s, &how, &reason, &ahead);
    if (status == BB_OK && !reason && alternative && ahead * how.work > how.rival) {
        how.kind = BB_PRECONDITION_NEIGHBORS;
        free_factors(s);
        status = factor_all(s, &how, &reason, &ahead);
    }
    s->found.precondition_seconds = bbi_seconds() - start;
    if (status != BB_OK || !reason) return status;
    s->found.precondition = BB_PRECONDITION_NONE;
    s->found.trace_left = 0;
    s->found.remark = reason;
    s->found.rank = 0;
    free_factors(s);
    return BB_OK;
}

/* ---- the iterations -------------------------------------------------------------------------- */
/* A phase from x and r on, until the recurrence is content, stagnates or has used up its iterations. */
static bb_status run_phase(solver *s) {
    bbi_iteration *it = &s->it;
    it->best = it->first = -1;
    it->best_at = s->found.iterations;
    it->done = it->stagnates = false;
    return s->options.method == BB_SOLVE_MINRES ? bbi_minres(it) : bbi_cg(it);
}

static bb_status first_phases(solver *s) {
    bbi_iteration *it = &s->it;
    const bb_solve_options *o = &s->options;
    bool automatic = o->precondition == BB_PRECONDITION_AUTO && o->method != BB_SOLVE_MINRES;
    if (automatic) {
        it->pause = s->m.structure.no_entries ? 0 : iterations_before(s);
        s->found.remark = s->m.structure.no_entries ? s->m.structure.no_entries : "";
        it->look = FIRST_LOOK;
        BBI_FORWARD(run_phase(s));
        if (it->done && s->found.iterations <= it->pause) s->found.remark = "";
        if (it->done || !it->pause || s->found.iterations >= it->limit) return BB_OK;
        it->pause = 0;
    }
    if (automatic || o->precondition > BB_PRECONDITION_NONE) BBI_FORWARD(make_factors(s));
    return run_phase(s);
}

/* Where the caller left the tolerance open and float32 stands in its way. */
static bool float32_is_content(solver *s, double residual) {
    if (s->m.is_double || s->options.tolerance > 0 || !(residual < 1e-4)) return false;
    s->found.remark = "rounding of float32 keeps the residual above 1e-6";
    return true;
}

static bb_status no_convergence(const solver *s, double residual) {
    if (s->found.iterations >= s->it.limit)
        return bbi_fail(BB_NO_CONVERGENCE,
                        "bb_solve: after %lld iterations the relative residual is %.3g; raise alpha or "
                        "max_iterations, loosen the tolerance, or use float64",
                        (long long)s->it.limit, residual);
    return bbi_fail(BB_NO_CONVERGENCE,
                    "bb_solve: the relative residual does not fall below %.3g (%lld iterations): %s; raise alpha "
                    "(now %g), %sor loosen the tolerance",
                    residual, (long long)s->found.iterations,
                    s->m.is_double ? "the matrix is singular to rounding, or not symmetric"
                                   : "rounding of float32, or a matrix that is singular or not symmetric",
                    s->options.alpha, s->m.is_double ? "centre the data, " : "use float64, ");
}

/* After a failure: the last iterate, or a much better one that there was, and what its residual really is. The message stays that of the
 * failure. */
static void settle(solver *s) {
    bbi_iteration *it = &s->it;
    double size, other;
    if (s->settled || true_residual(s) != BB_OK) return;
    s->settled = true;
    (void)is_good(s, &size);
    if (!(it->kept_residual < 1e-3 * size) &&
        isfinite(size)) { /* conjugate gradients lower the energy, not the residual */
        s->found.residual = size;
        return;
    }
    double *x = it->x;
    it->x = it->kept, it->kept = x;
    if (isinf(it->kept_residual)) memset(it->x, 0, (size_t)s->m.count * sizeof *it->x);
    if (true_residual(s) == BB_OK) (void)is_good(s, &other);
    if (isfinite(size) && !(other < size))
        x = it->x, it->x = it->kept, it->kept = x;
    else
        size = other;
    s->found.residual = size;
}

/* After a failure: |Kb|^2 and b.K(Kb) differ where K is not symmetric, which is then what is said; two products. */
static bb_status look_at_symmetry(solver *s, bb_status status) {
    double *y = s->it.r, *z = s->it.kept, yy = 0, bz = 0, bb = 0, zz = 0;
    char message[1024];
    snprintf(message, sizeof message, "%s", bb_last_error());
    if (bbi_matrix_multiply(&s->m, s->b, y) != BB_OK || bbi_matrix_multiply(&s->m, y, z) != BB_OK)
        return bbi_fail(status, "%s", message);
    for (int64_t k = 0; k < s->m.count; k++) {
        yy += y[k] * y[k], bz += s->b[k] * z[k];
        bb += s->b[k] * s->b[k], zz += z[k] * z[k];
    }
    double size = yy + sqrt(bb) * sqrt(zz);
    if (!isfinite(size) || !(fabs(yy - bz) > 1e-3 * size)) return bbi_fail(status, "%s", message);
    return bbi_fail(
        status,
        "bb_solve: the matrix is not symmetric (|Kb|^2 is %.6g, b.K(Kb) is %.6g), as conjugate gradients and "
        "MINRES need it: give both sides the same points and use a symmetric formula, or use GMRES, "
        "scipy.sparse.linalg.gmres for one, which takes such matrices",
        yy, bz);
}

/* Again from the true residual as long as that helps. */
static bb_status iterate(solver *s) {
    bb_status status = first_phases(s);
    for (double last = INFINITY; status == BB_OK; status = run_phase(s)) {
        double size;
        bool limited = !s->it.done && s->found.iterations >= s->it.limit;
        BBI_FORWARD(true_residual(s));
        bool good = is_good(s, &size);
        s->found.residual = size;
        if (good) return BB_OK;
        if (!limited && !(size < 0.5 * last) && float32_is_content(s, size)) return BB_OK;
        if (limited || !(size < 0.5 * last)) {
            settle(s);
            return no_convergence(s, s->found.residual);
        }
        last = size;
    }
    return status;
}

static bb_status open_solver(solver *s) {
    size_t count = (size_t)s->m.count + 1, columns = (size_t)(s->m.batches * s->m.columns) + 1;
    double *all = bbi_calloc(4 * count + 2 * columns, sizeof *all);
    if (!all) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld unknowns", (long long)s->m.count);
    const bb_solve_options *o = &s->options;
    int64_t limit = 10 * s->m.n + 5000;
    s->b = all;
    s->it = (bbi_iteration){.m = &s->m,
                            .options = o,
                            .result = &s->found,
                            .alpha = o->alpha,
                            .tolerance = o->tolerance > 0 ? o->tolerance : 1e-6,
                            .x = all + count,
                            .r = all + 2 * count,
                            .kept = all + 3 * count,
                            .kept_residual = INFINITY,
                            .rr = all + 4 * count,
                            .bb = all + 4 * count + columns,
                            .limit = o->max_iterations > 0 ? o->max_iterations : limit};
    return BB_OK;
}

/* What was solved in float64 must fit into the caller's type. */
static bb_status check_range(const solver *s, const bb_array *output) {
    double most = output->dtype_code != 2 || output->dtype_bits == 32 ? 3.4028234e38 : 65504;
    for (int64_t k = 0; k < s->m.count && output->dtype_bits < 64; k++)
        if (fabs(s->it.x[k]) > most)
            return bbi_fail(BB_NO_CONVERGENCE,
                            "bb_solve: the solution has the entry %g, beyond the largest number %g of its type: use "
                            "float64, or scale the right-hand side",
                            s->it.x[k], most);
    return BB_OK;
}

static bb_status solve(solver *s, const bb_array *given, const bb_array *output) {
    bbi_iteration *it = &s->it;
    const bbi_matrix *m = &s->m;
    BBI_FORWARD(open_solver(s));
    const int64_t shape[2] = {m->points, m->dim};
    bb_array b = bb_array_of(s->b, BB_FLOAT64, given->ndim, m->kernel ? m->shape : shape);
    bb_array x = b;
    x.data = it->x;
    BBI_FORWARD(copy_array(&b, given, m->points, m->dim, m->batches));
    bbi_column_products(m, s->b, s->b, it->bb);
    memcpy(it->rr, it->bb, (size_t)(m->batches * m->columns) * sizeof *it->rr);
    memcpy(it->r, s->b, (size_t)m->count * sizeof *it->r);
    if (s->options.guess) {
        BBI_FORWARD(copy_array(&x, s->options.guess, m->points, m->dim, m->batches));
        BBI_FORWARD(true_residual(s));
    }
    bb_status status = iterate(s);
    if (status == BB_NO_CONVERGENCE || status == BB_INDEFINITE) {
        settle(s);
        status = look_at_symmetry(s, status);
    }
    x.data = it->x;
    bb_status copied = copy_array(output, &x, m->points, m->dim, m->batches);
    if (status == BB_OK && copied == BB_OK) return check_range(s, output);
    return status == BB_OK ? copied : status;
}

static bb_status open_and_solve(solver *s, const bb_matrix *matrix, const bb_array *b, const bb_array *x) {
    const bb_solve_options *o = &s->options;
    if (!b || (matrix && !matrix->kernel && (!b->shape || b->ndim != 2 || b->shape[1] < 0)))
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: the right-hand side must have the shape (rows, columns)");
    BBI_FORWARD(check_options(o));
    BBI_FORWARD(bbi_matrix_open(&s->m, "bb_solve", matrix, b->shape && b->ndim > 1 ? b->shape[1] : 1));
    BBI_FORWARD(check_array(&s->m, "the right-hand side", b));
    BBI_FORWARD(check_array(&s->m, "the solution", x));
    if (o->guess) BBI_FORWARD(check_array(&s->m, "the guess", o->guess));
    bbi_team_enter();
    bb_status status = solve(s, b, x);
    bbi_team_leave();
    return status;
}

bb_status bb_solve_matrix(const bb_matrix *matrix, const bb_array *right_hand_side, const bb_array *solution,
                          const bb_solve_options *options, bb_solve_result *result) {
    solver s = {.found = {.size = sizeof s.found, .precondition = BB_PRECONDITION_NONE, .remark = ""}};
    bb_matrix given = {.size = sizeof given};
    double start = bbi_seconds();
    if (options && !bbi_options_fit(options->size, sizeof s.options, "bb_solve options")) return BB_BAD_ARGUMENT;
    if (options) memcpy(&s.options, options, options->size < sizeof s.options ? options->size : sizeof s.options);
    if (!matrix) return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: the matrix must not be NULL");
    BBI_FORWARD(bbi_matrix_given(matrix, &given));
    if (s.options.run) given.run = s.options.run;
    bb_status status = open_and_solve(&s, &given, right_hand_side, solution);
    free_factors(&s);
    bbi_free(s.b);
    bbi_matrix_close(&s.m);
    s.found.products = s.m.products;
    s.found.seconds = bbi_seconds() - start;
    if (result && result->size) {
        size_t size = result->size < sizeof s.found ? result->size : sizeof s.found;
        s.found.size = result->size;
        memcpy(result, &s.found, size);
    }
    return status;
}

bb_status bb_solve(bb_kernel *kernel, const bb_array *inputs, int input_count, int unknown, const bb_array *output,
                   const bb_solve_options *options, bb_solve_result *result) {
    bb_matrix matrix = {
        .size = sizeof matrix, .kernel = kernel, .inputs = inputs, .input_count = input_count, .unknown = unknown};
    if (!kernel || !inputs) return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: kernel and inputs must not be NULL");
    if (!output) return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: output must not be NULL");
    if (unknown < 0 || unknown >= input_count)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_solve: unknown %d is the number of no input: they are 0 to %d", unknown,
                        input_count - 1);
    return bb_solve_matrix(&matrix, &inputs[unknown], output, options, result);
}
