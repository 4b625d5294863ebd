/* quadrature.c: log-determinants and traces of functions by stochastic Lanczos quadrature (Ubaru, Chen and Saad, SIAM
 * J. Matrix Anal. Appl. 38, 2017). A random vector z gives n e_1^T f(T) e_1 for the tridiagonal matrix T of Lanczos's
 * recurrence from z (recurrence.c); the mean over several z estimates tr f(A). With a preconditioner P the matrix T
 * belongs to P^-1/2 A P^-1/2: log det A = log det P + tr log of that, which is nearly the identity. */
#include "quadrature.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PROBES = 16, MAX_PROBES = 1024, STEPS = 300, DENSE_ROWS = 800, DENSE_EIGEN = 300 };

static double identity(void *data, double x) {
    (void)data;
    return x;
}

static double logarithm(void *data, double x) {
    (void)data;
    return log(x);
}

/* ---- estimates ------------------------------------------------------------------------------- */
static bb_status estimate(bbi_quadrature *q, const bbi_recurrence *r, double *value) {
    double (*f)(void *, double) = q->logdet ? logarithm : q->options.function ? q->options.function : identity;
    memcpy(q->d, r->diagonal, (size_t)r->size * sizeof *q->d);
    memcpy(q->e, r->beside, (size_t)r->size * sizeof *q->e);
    memset(q->first, 0, (size_t)r->size * sizeof *q->first);
    q->first[0] = 1;
    if (!bbi_tridiagonal_eigen(r->size, q->d, q->e, q->first, 1))
        return bbi_fail(BB_NO_CONVERGENCE, "the recurrence of Lanczos met numbers that are not finite: check the data");
    *value = 0;
    for (int64_t k = 0; k < r->size; k++) {
        if (q->logdet && !(q->d[k] > 0)) return bbi_not_positive(q->d[k], q->options.alpha);
        *value += q->first[k] * q->first[k] * f(q->options.function_data, q->d[k]);
    }
    *value *= r->norm2;
    return BB_OK;
}

/* Estimates of the block's probes behind those of earlier blocks; *drift: how far the means have moved. */
static bb_status look(bbi_quadrature *q, double *drift) {
    *drift = 0;
    for (int64_t n = 0; n < q->m.batches; n++) {
        double moved = 0, *all = q->sample + n * q->capacity + q->seen;
        for (int64_t e = 0; e < q->probes; e++) {
            const bbi_recurrence *r = &q->column[n * q->probes + e];
            double value = 0;
            if (r->size) BBI_FORWARD(estimate(q, r, &value));
            moved += value - all[e];
            all[e] = value;
        }
        q->drift[n] = fabs(moved / (double)q->probes);
        if (q->drift[n] > *drift) *drift = q->drift[n];
    }
    return BB_OK;
}

/* Student's quantile for 95 % by the expansion of Cornish and Fisher. */
static double quantile(int64_t freedom) {
    double f = (double)freedom;
    return freedom < 1    ? 13
           : freedom == 1 ? 12.71
                          : 1.96 + 2.372 / f + 2.823 / (f * f) + 2.556 / (f * f * f) + 1.6 / (f * f * f * f);
}

static void summarise(const bbi_quadrature *q, int64_t batch, int64_t count, double *mean, double *error) {
    const double *all = q->sample + batch * q->capacity;
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < count; k++) sum += all[k];
    *mean = sum / (double)count;
    for (int64_t k = 0; k < count; k++) squares += (all[k] - *mean) * (all[k] - *mean);
    *error = count > 1 ? quantile(count - 1) * sqrt(squares / ((double)(count - 1) * (double)count)) : fabs(*mean);
    if (bbi_recurrence_units(q)) *error = 0;
}

/* Whether A^-1 z has been found where it is wanted: residuals by the recurrence, relative to z. */
static bool solved(const bbi_quadrature *q) {
    for (int64_t k = 0; q->x && k < q->m.batches * q->probes; k++) {
        const bbi_recurrence *r = &q->column[k];
        if (!r->still && r->beside[r->size - 1] * fabs(r->zeta / r->pivot) > 1e-5 * sqrt(r->norm2)) return false;
    }
    return true;
}

static bool all_still(const bbi_quadrature *q) {
    for (int64_t k = 0; k < q->m.batches * q->probes; k++)
        if (!q->column[k].still) return false;
    return true;
}

/* What Lanczos may leave out: little beside the error of the sample. */
static double drift_allowed(const bbi_quadrature *q) {
    double least = q->options.tolerance > 0 ? 0.1 * q->options.tolerance : INFINITY;
    for (int64_t n = 0; n < q->m.batches; n++) {
        double mean, error;
        summarise(q, n, q->seen + q->probes, &mean, &error);
        double floor = 1e-9 * (fabs(mean) + (double)q->m.n), wanted = 0.05 * error > floor ? 0.05 * error : floor;
        if (wanted < least) least = wanted;
    }
    return least;
}

static bb_status run_block(bbi_quadrature *q, int64_t block) {
    double drift = INFINITY;
    BBI_FORWARD(bbi_recurrence_begin(q, block));
    for (int64_t n = 0; n < q->m.batches; n++)
        for (int64_t e = 0; e < q->probes; e++) q->sample[n * q->capacity + q->seen + e] = 0;
    for (int64_t step = 1, next = 2; step <= q->steps && !all_still(q); step++) {
        BBI_FORWARD(bbi_recurrence_step(q));
        if (step > q->found.steps) q->found.steps = step;
        bool last = step == q->steps || all_still(q);
        if (step < next && !last) continue;
        next = step + 1 + step / 4;
        BBI_FORWARD(look(q, &drift));
        if (q->options.report && q->options.report(q->options.report_data, step, q->sample[q->seen]))
            return bbi_fail(BB_CANCELLED, "cancelled after %lld steps of Lanczos", (long long)step);
        if (all_still(q)) break;
        if (step > 2 && drift <= drift_allowed(q) && solved(q)) break;
    }
    if (q->options.left && block == 0)
        memcpy(q->options.left, q->x, (size_t)(q->m.batches * q->m.n * q->probes) * sizeof *q->x);
    for (int64_t n = 0; n < q->m.batches; n++) {
        bool still = true;
        for (int64_t e = 0; e < q->probes; e++) still = still && q->column[n * q->probes + e].still;
        if (!still && q->drift[n] > q->found.quadrature) q->found.quadrature = q->drift[n];
    }
    q->seen += q->probes;
    return BB_OK;
}

/* ---- the preconditioner ---------------------------------------------------------------------- */
static void free_factors(bbi_quadrature *q) {
    for (int64_t n = 0; q->factor && n < q->m.batches; n++) bbi_factor_free(&q->factor[n]);
    bbi_free(q->factor);
    q->factor = NULL;
}

static bb_status make_factors(bbi_quadrature *q) {
    const bb_trace_options *o = &q->options;
    double start = bbi_seconds(), trace = 0, left = 0;
    int64_t memory = o->memory ? o->memory : o->rank ? INT64_MAX : (int64_t)1 << 28;
    bbi_factor_options how = {.kind = o->precondition ? o->precondition : BB_PRECONDITION_RPCHOLESKY,
                              .alpha = o->alpha,
                              .work = bbi_matrix_work(&q->m),
                              .digits = 9,
                              .fit = true,
                              .rank = o->rank < q->m.n ? o->rank : q->m.n,
                              .memory = memory / (q->m.batches ? q->m.batches : 1),
                              .seed = o->seed};
    const char *reason = NULL;
    q->factor = bbi_calloc((size_t)q->m.batches + 1, sizeof *q->factor);
    if (!q->factor) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the preconditioner");
    for (int64_t n = 0; n < q->m.batches && !reason; n++) {
        BBI_FORWARD(bbi_factor_make(&q->factor[n], &q->m, n, &how, &reason));
        if (q->factor[n].rank > q->found.rank) q->found.rank = q->factor[n].rank;
        trace += q->factor[n].trace, left += q->factor[n].trace_left;
    }
    q->found.precondition_seconds = bbi_seconds() - start;
    if (reason) {
        q->found.remark = reason;
        q->found.rank = 0;
        free_factors(q);
        return BB_OK;
    }
    q->found.precondition = how.kind;
    q->found.trace_left = trace > 0 ? left / trace : 0;
    return BB_OK;
}

/* ---- rounding ---------------------------------------------------------------------------------- */
static bb_status look_at_diagonal(bbi_quadrature *q) {
    q->largest = 1;
    for (int64_t n = 0; n < q->m.batches && q->logdet && !q->m.is_double && !q->m.structure.no_entries; n++) {
        BBI_FORWARD(bbi_matrix_diagonal(&q->m, n, q->one));
        for (int64_t i = 0; i < q->m.n; i++)
            if (fabs(q->one[i]) > q->largest) q->largest = fabs(q->one[i]);
    }
    return BB_OK;
}

/* What rounding may add: of P^-1, which subtracts two numbers that are larger than its result by |L L^T| / mu, and of
 * the entries of a float32 kernel, independent errors that the smallest eigenvalues feel. */
static double rounding(const bbi_quadrature *q, int64_t batch) {
    double n = (double)q->m.n, error = 0, least = q->options.alpha;
    if (q->factor) {
        error = n * DBL_EPSILON * q->factor[batch].size / q->factor[batch].mu;
        if (!(least > 0)) least = q->factor[batch].mu;
    }
    if (q->m.is_double || !q->logdet) return error;
    for (int64_t e = 0; e < q->probes && !(least > 0); e++) {
        const bbi_recurrence *r = &q->column[batch * q->probes + e];
        if (r->size && (e == 0 || r->pivot < -least)) least = -r->pivot;
    }
    return error + FLT_EPSILON * q->largest * sqrt(n) / fabs(least);
}

/* ---- the whole ------------------------------------------------------------------------------- */
static bb_status allocate(bbi_quadrature *q) {
    size_t vectors = (size_t)(q->m.batches * q->m.n * q->probes), columns = (size_t)(q->m.batches * q->probes);
    size_t steps = (size_t)q->steps, scratch = 0;
    bool wants = q->options.left != NULL;
    for (int64_t n = 0; q->factor && n < q->m.batches; n++) {
        size_t wanted = (size_t)bbi_factor_scratch(&q->factor[n], q->probes);
        if (wanted > scratch) scratch = wanted;
    }
    size_t ones = 2 * (size_t)(q->m.batches * q->m.n);
    double *all = q->one = bbi_calloc((wants ? 6 : 4) * vectors + ones + scratch + 1, sizeof *all);
    double *small = q->sums =
        bbi_calloc(columns * (1 + 2 * steps) + 3 * steps + (size_t)q->m.batches + 1, sizeof *small);
    q->column = bbi_calloc(columns + 1, sizeof *q->column);
    q->sample = bbi_calloc((size_t)(q->m.batches * q->capacity) + 1, sizeof *q->sample);
    if (!all || !small || !q->column || !q->sample)
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld probes of %lld rows", (long long)q->probes,
                        (long long)q->m.n);
    all += ones;
    q->v = all, q->v_old = all + vectors, q->w = all + 2 * vectors, q->u = all + 3 * vectors;
    if (wants) q->p = all + 4 * vectors, q->x = all + 5 * vectors;
    q->scratch = all + (wants ? 6 : 4) * vectors;
    small += columns;
    for (size_t k = 0; k < columns; k++)
        q->column[k].diagonal = small + 2 * k * steps, q->column[k].beside = small + (2 * k + 1) * steps;
    small += 2 * columns * steps;
    q->d = small, q->e = small + steps, q->first = small + 2 * steps, q->drift = small + 3 * steps;
    return BB_OK;
}

static bb_status sample(bbi_quadrature *q, double *values, double *errors) {
    double worst;
    for (int64_t block = 0;; block++) {
        BBI_FORWARD(run_block(q, block));
        worst = 0;
        for (int64_t n = 0; n < q->m.batches; n++) {
            double error;
            summarise(q, n, q->seen, &values[n], &error);
            if (q->factor) values[n] += bbi_factor_logdet(&q->factor[n]);
            if (error > q->found.statistical || block) q->found.statistical = error;
            double lost = rounding(q, n);
            if (lost > q->found.rounding) q->found.rounding = lost;
            error += 2 * q->found.quadrature + lost;
            if (errors) errors[n] = error;
            if (error > worst) worst = error;
        }
        q->found.probes = q->seen;
        if (!(q->options.tolerance > 0) || worst <= q->options.tolerance) return BB_OK;
        if (q->seen + q->probes > q->capacity || 2 * q->found.quadrature > q->options.tolerance) break;
    }
    return bbi_fail(
        BB_NO_CONVERGENCE,
        "after %lld probes and up to %lld steps of Lanczos the error is %.3g, not %.3g: allow more probes or "
        "steps, a larger rank of the preconditioner, or raise alpha (now %g)",
        (long long)q->seen, (long long)q->found.steps, worst, q->options.tolerance, q->options.alpha);
}

static bool is_dense(const bbi_quadrature *q) {
    int64_t most = q->options.dense_rows ? q->options.dense_rows : q->logdet ? DENSE_ROWS : DENSE_EIGEN;
    return !q->m.structure.no_entries && q->m.n <= most;
}

static bb_status compute(bbi_quadrature *q, double *values, double *errors) {
    const bb_trace_options *o = &q->options;
    bool wants = o->left || o->right, diagonal = !q->logdet && !o->function && !q->m.structure.no_entries;
    for (int64_t n = 0; n < q->m.batches; n++) {
        values[n] = 0;
        if (errors) errors[n] = 0;
    }
    q->found.exact = q->m.n == 0 || diagonal || is_dense(q);
    if (q->m.n == 0) return BB_OK;
    if (diagonal) BBI_FORWARD(bbi_exact_trace(&q->m, o->alpha, values));
    if (q->found.exact && !diagonal)
        BBI_FORWARD(bbi_exact_function(&q->m, o->alpha,
                                       q->logdet     ? NULL
                                       : o->function ? o->function
                                                     : identity,
                                       o->function_data, values, errors, &q->found.rounding));
    if (q->found.exact && !wants) return BB_OK;
    if (q->logdet && o->precondition != BB_PRECONDITION_NONE && !bbi_recurrence_units(q)) BBI_FORWARD(make_factors(q));
    BBI_FORWARD(allocate(q));
    BBI_FORWARD(look_at_diagonal(q));
    if (!q->found.exact) return sample(q, values, errors);
    q->options.tolerance = 0;
    return run_block(q, 0);
}

static bb_status check_options(const bb_trace_options *o) {
    if (!(o->alpha >= 0) || isinf(o->alpha))
        return bbi_fail(BB_BAD_ARGUMENT, "alpha is %g; it must be at least 0", o->alpha);
    if (o->tolerance < 0 || o->probes < 0 || o->max_probes < 0 || o->steps < 0 || o->dense_rows < -1 || o->rank < 0 ||
        o->memory < 0)
        return bbi_fail(
            BB_BAD_ARGUMENT,
            "tolerance, probes, max_probes, steps, rank and memory must be at least 0, dense_rows at least -1");
    if ((int)o->precondition < 0 || o->precondition > BB_PRECONDITION_NYSTROM)
        return bbi_fail(BB_BAD_ARGUMENT,
                        "a log-determinant knows the preconditioners AUTO, NONE, RPCHOLESKY and NYSTROM");
    return BB_OK;
}

static bb_status open_and_compute(bbi_quadrature *q, const char *what, const bb_matrix *matrix, double *values,
                                  double *errors) {
    bb_trace_options *o = &q->options;
    bb_matrix given;
    if (!matrix || !values) return bbi_fail(BB_BAD_ARGUMENT, "%s: the matrix and values must not be NULL", what);
    BBI_FORWARD(check_options(o));
    BBI_FORWARD(bbi_matrix_given(matrix, &given));
    q->probes = o->probes ? o->probes : PROBES;
    q->capacity = o->tolerance > 0 ? (o->max_probes ? o->max_probes : MAX_PROBES) : q->probes;
    if (q->capacity < q->probes) q->capacity = q->probes;
    if (!q->logdet) o->left = o->right = NULL;
    bb_status status = bbi_matrix_open_block(&q->m, what, &given, q->probes);
    q->steps = o->steps ? o->steps : STEPS;
    if (q->steps > q->m.n) q->steps = q->m.n;
    bbi_team_enter();
    if (status == BB_OK) status = compute(q, values, errors);
    bbi_team_leave();
    free_factors(q);
    bbi_free(q->one), bbi_free(q->sums), bbi_free(q->column), bbi_free(q->sample);
    bbi_matrix_close(&q->m);
    return status;
}

static bb_status entry(const char *what, bool logdet, const bb_matrix *matrix, const bb_trace_options *options,
                       double *values, double *errors, bb_trace_result *result) {
    bbi_quadrature q = {.logdet = logdet,
                        .found = {.size = sizeof q.found, .precondition = BB_PRECONDITION_NONE, .remark = ""}};
    double start = bbi_seconds();
    if (options && !bbi_options_fit(options->size, sizeof q.options, "bb_trace_options")) return BB_BAD_ARGUMENT;
    if (options) memcpy(&q.options, options, options->size < sizeof q.options ? options->size : sizeof q.options);
    bb_status status = open_and_compute(&q, what, matrix, values, errors);
    q.found.products = q.m.products;
    q.found.seconds = bbi_seconds() - start;
    if (result && result->size) {
        size_t size = result->size < sizeof q.found ? result->size : sizeof q.found;
        q.found.size = result->size;
        memcpy(result, &q.found, size);
    }
    return status;
}

bb_status bb_logdet(const bb_matrix *matrix, const bb_trace_options *options, double *values, double *errors,
                    bb_trace_result *result) {
    return entry("bb_logdet", true, matrix, options, values, errors, result);
}

bb_status bb_trace(const bb_matrix *matrix, const bb_trace_options *options, double *values, double *errors,
                   bb_trace_result *result) {
    return entry("bb_trace", false, matrix, options, values, errors, result);
}
