/* benben bench latency: the times that matter when nothing is large. What was compiled and what came from the cache
 * stands behind each time; BENBEN_CACHE=0 keeps the cache out. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { ROWS = 10, DIM = 3 };

typedef struct small_problem {
    float x[ROWS * DIM], y[ROWS * DIM], b[ROWS], e[ROWS], v[ROWS * DIM], a[ROWS * DIM];
    bb_context *context;
    bb_program *program, *gradient, *second;
    bb_array inputs[5], output;
} small_problem;

static const int64_t points[2] = {ROWS, DIM}, column[2] = {ROWS, 1};

static void fill(float *values, int count, int seed) {
    for (int k = 0; k < count; k++) {
        values[k] = (float)((k * 37 + seed * 11) % 101) / 101;
    }
}

/* A Gaussian, its gradient with respect to x, and the tangent of that (a Hessian-vector product). */
static bool make_problem(small_problem *p) {
    static const int x_only[1] = {0};
    memset(p, 0, sizeof *p);
    fill(p->x, ROWS * DIM, 1);
    fill(p->y, ROWS * DIM, 2);
    fill(p->b, ROWS, 3);
    fill(p->e, ROWS, 4);
    fill(p->v, ROWS * DIM, 5);
    float *const data[5] = {p->x, p->y, p->b, p->e, p->v};
    for (int k = 0; k < 5; k++) {
        p->inputs[k] = bb_array_of(data[k], BB_FLOAT32, 2, k == 2 || k == 3 ? column : points);
    }
    return bb_context_new(&p->context) == BB_OK &&
           bb_program_parse(p->context, "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", NULL, 0, &p->program) == BB_OK &&
           bb_grad(p->program, x_only, 1, NULL, 0, &p->gradient) == BB_OK &&
           bb_diff(p->gradient, x_only, 1, NULL, 0, &p->second) == BB_OK;
}

static void free_problem(small_problem *p) {
    if (p->second) bb_program_release(p->second);
    if (p->gradient) bb_program_release(p->gradient);
    if (p->program) bb_program_release(p->program);
    if (p->context) bb_context_release(p->context);
}

static bb_status run_small(small_problem *p, bb_kernel *kernel, int inputs, const int64_t *shape) {
    p->output = bb_array_of(p->a, BB_FLOAT32, 2, shape);
    return bb_run(kernel, p->inputs, inputs, &p->output, 1, NULL);
}

/* Seconds from a program to its first result. */
static bb_status time_first(small_problem *p, const bb_program *program, int inputs, const int64_t *shape,
                            bb_compile_options options, double *seconds, bb_kernel **kernel) {
    double start = now();
    options.size = sizeof options;
    bb_status status = bb_compile(program, &options, kernel);
    if (status == BB_OK) status = run_small(p, *kernel, inputs, shape);
    *seconds = now() - start;
    return status;
}

static bool time_new(small_problem *p, const bb_program *program, int inputs, const int64_t *shape,
                     bb_compile_options options, const char *what) {
    bb_kernel *kernel = NULL;
    bb_statistics before = {.size = sizeof before}, after = before;
    double seconds;
    bb_get_statistics(&before);
    bb_status status = time_first(p, program, inputs, shape, options, &seconds, &kernel);
    bb_get_statistics(&after);
    if (status == BB_OK) {
        printf("%-50s %8.2f ms  (%lld compiled, %lld from the cache)\n", what, seconds * 1e3,
               (long long)(after.compiles - before.compiles), (long long)(after.disk_hits - before.disk_hits));
    }
    if (kernel) bb_kernel_release(kernel);
    return status == BB_OK;
}

static bb_status time_repeated(small_problem *p, bb_compile_options options, const char *what) {
    bb_kernel *kernel = NULL;
    double seconds, best = 1;
    bb_status status = time_first(p, p->program, 3, column, options, &seconds, &kernel);
    for (int round = 0; status == BB_OK && round < 200; round++) {
        double start = now();
        for (int k = 0; status == BB_OK && k < 100; k++) {
            status = run_small(p, kernel, 3, column);
        }
        double took = (now() - start) / 100;
        if (took < best) best = took;
    }
    if (status == BB_OK) printf("%-50s %8.3f us\n", what, best * 1e6);
    if (kernel) bb_kernel_release(kernel);
    return status;
}

int bench_latency(void) {
    small_problem p;
    double start = now();
    bool good = make_problem(&p);
    if (good) printf("%-50s %8.2f ms\n", "formula, gradient, Hessian-vector product built in", (now() - start) * 1e3);
    const bb_compile_options interpreted = {.target = BB_TARGET_INTERP},
                             compiled = {.target = BB_TARGET_CPU, .policy = BB_POLICY_WAIT};
    good = good && time_new(&p, p.program, 3, column, interpreted, "first answer, interpreted");
    good = good && time_new(&p, p.program, 3, column, compiled, "first answer, compiled: Gaussian");
    good = good && time_new(&p, p.gradient, 4, points, compiled, "first answer, compiled: its gradient");
    good = good && time_new(&p, p.second, 5, points, compiled, "first answer, compiled: Hessian-vector product");
    good = good && time_repeated(&p, interpreted, "M = N = 10 again and again, interpreted") == BB_OK;
    good = good && time_repeated(&p, compiled, "M = N = 10 again and again, compiled") == BB_OK;
    int code = good ? 0 : complain_status();
    free_problem(&p);
    return code;
}
