/* benben bench: times one case by its name, such as gauss/f32/1e4x1e4x3 (kernel, type, M x N x D [x E]). */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "bench.h"

static const bench_kernel kernels[] = {
    {"gauss", "sum_j(exp(-sqdist(x, y) / s) * b)", "expf(-(q))", "exp(-(q))"},
    {"laplace", "sum_j(exp(-sqrt(sqdist(x, y) / s)) * b)", "expf(-sqrtf(q))", "exp(-sqrt(q))"},
    {"cauchy", "sum_j(b / (1 + sqdist(x, y) / s))", "1 / (1 + (q))", "1 / (1 + (q))"},
    {"logsumexp", "logsumexp_j(-sqdist(x, y) / s)", NULL, NULL},
    {"argmin", "argmin_j(sqdist(x, y))", NULL, NULL},
    {"argkmin", "argkmin_j(sqdist(x, y), 10)", NULL, NULL},
    {"gaussgrad", "grad(sum_j(exp(-sqdist(x, y) / s) * b), x, 1)", NULL, NULL},
};
enum { KERNELS = sizeof kernels / sizeof *kernels };
static const char *const default_cases[] = {
    "gauss/f32/1e4x1e4x3",  "gauss/f64/1e4x1e4x3",   "gauss/f32/1e4x1e4x3x100", "gauss/f32/1e4x1e4x100",
    "gauss/f32/1e1x1e7x3",  "laplace/f32/1e4x1e4x3", "cauchy/f32/1e4x1e4x3",    "logsumexp/f32/1e4x1e4x3",
    "argmin/f32/1e4x1e4x3", "argkmin/f32/1e4x1e4x3"};

typedef struct bench_case {
    const bench_kernel *kernel;
    bool is_double;
    int64_t m, n, d, e;
} bench_case;

static bool parse_case(const char *text, bench_case *c) {
    char name[32], type[8];
    double size[4] = {0, 0, 0, 1};
    int used = 0;
    int found = sscanf(text, "%31[^/]/%7[^/]/%lfx%lfx%lf%n", name, type, &size[0], &size[1], &size[2], &used);
    if (found == 5 && text[used] == 'x') {
        int more = 0;
        found = sscanf(text + used, "x%lf%n", &size[3], &more) == 1 ? found : 0;
        used += more;
    }
    bool good = found == 5 && !text[used] && (strcmp(type, "f32") == 0 || strcmp(type, "f64") == 0);
    for (int k = 0; k < 4; k++) {
        good = good && size[k] >= 1 && size[k] <= 1e9;
    }
    *c = (bench_case){.is_double = good && type[1] == '6'};
    if (good) {
        c->m = (int64_t)size[0];
        c->n = (int64_t)size[1];
        c->d = (int64_t)size[2];
        c->e = (int64_t)size[3];
    }
    for (int k = 0; good && k < KERNELS; k++) {
        if (strcmp(name, kernels[k].name) == 0) c->kernel = &kernels[k];
    }
    if (good && c->kernel) return true;
    complain(EXIT_USAGE,
             "'%s' is no case: expected KERNEL/f32/MxNxD, f64 for f32, E behind D; --list names the kernels", text);
    return false;
}

/* Numbers of an LCG, uniform in [0, 1): the same on every machine. */
static void *fill(bool is_double, int64_t count, uint64_t seed) {
    float *single = allocate((size_t)count * (is_double ? 8 : 4));
    double *twice = (double *)(void *)single;
    for (int64_t k = 0; k < count; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        double value = (double)(seed >> 40) / (1 << 24);
        if (is_double)
            twice[k] = value;
        else
            single[k] = (float)value;
    }
    return single;
}

typedef struct bench_data {
    void *x, *y, *b, *s, *a, *plain;
    int64_t shapes[5][2];
    bb_array inputs[4], output;
    int input_count;
} bench_data;

static void make_data(const bench_case *c, bench_data *data) {
    *data = (bench_data){.x = fill(c->is_double, c->m * c->d, 1),
                         .y = fill(c->is_double, c->n * c->d, 2),
                         .b = fill(c->is_double, c->n * c->e, 3),
                         .s = fill(c->is_double, 1, 4)};
    double s = 0.5;
    float narrow = (float)s;
    memcpy(data->s, c->is_double ? (void *)&s : (void *)&narrow, c->is_double ? sizeof s : sizeof narrow);
    const int64_t shapes[4][2] = {{c->m, c->d}, {c->n, c->d}, {c->n, c->e}, {1, 0}};
    memcpy(data->shapes, shapes, sizeof shapes);
}

static void free_data(bench_data *data) {
    void *all[] = {data->x, data->y, data->b, data->s, data->a, data->plain};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        free(all[k]);
    }
}

/* Best time of several runs, together at least half a second or three runs. */
static bb_status time_kernel(bb_kernel *kernel, bench_data *data, const bb_run_options *options, double *best) {
    *best = INFINITY;
    double began = now();
    for (int k = 0; k < 3 || (now() - began < 0.5 && k < 1000); k++) {
        double start = now();
        bb_status status = bb_run(kernel, data->inputs, data->input_count, &data->output, 1, options);
        if (status != BB_OK) return status;
        *best = fmin(*best, now() - start);
        if (now() - began > 20) break;
    }
    return BB_OK;
}

static double time_naive(const naive_loop *loop, const bench_case *c, bench_data *data, int threads) {
    double best = INFINITY, began = now();
    for (int k = 0; k < 3 || (now() - began < 0.5 && k < 1000); k++) {
        double start = now();
        void *x = data->x, *y = data->y, *b = data->b, *a = data->plain;
        if (c->is_double)
            loop->twice(c->m, c->n, x, y, b, *(double *)data->s, a, threads);
        else
            loop->single(c->m, c->n, x, y, b, *(float *)data->s, a, threads);
        best = fmin(best, now() - start);
        if (now() - began > 20) break;
    }
    return best;
}

static double largest_difference(const bench_case *c, const bench_data *data) {
    bb_dtype dtype = c->is_double ? BB_FLOAT64 : BB_FLOAT32;
    double worst = 0, scale = 0;
    for (int64_t k = 0; k < c->m; k++) {
        double a = element_value(dtype, data->a, k), b = element_value(dtype, data->plain, k);
        worst = fmax(worst, fabs(a - b));
        scale = fmax(scale, fabs(b));
    }
    return scale > 0 ? worst / scale : worst;
}

static void compare_naive(const bench_case *c, bench_data *data, double time, int threads) {
    naive_loop loop;
    char why[512];
    if (!c->kernel->naive32 || c->e != 1) return;
    if (!naive_build(c->kernel, c->is_double, (int)c->d, &loop, why, sizeof why)) {
        printf("   plain C loop: none (%s)\n", why);
        return;
    }
    data->plain = allocate((size_t)c->m * (c->is_double ? 8 : 4));
    double plain = time_naive(&loop, c, data, threads ? threads : bbi_cpu_count());
    printf("   plain C loop: %.4g s%s; ratio %.2f; the two differ by %.1e\n", plain, loop.openmp, plain / time,
           largest_difference(c, data));
}

static bool make_program(const bench_case *c, bb_context *context, bb_program **program) {
    char texts[4][32];
    snprintf(texts[0], sizeof *texts, "x:i%lld", (long long)c->d);
    snprintf(texts[1], sizeof *texts, "y:j%lld", (long long)c->d);
    snprintf(texts[2], sizeof *texts, "b:j%lld", (long long)c->e);
    snprintf(texts[3], sizeof *texts, "s:p1");
    const char *const declarations[4] = {texts[0], texts[1], texts[2], texts[3]};
    return bb_program_parse(context, c->kernel->formula, declarations, 4, program) == BB_OK;
}

static int run_case(const char *name, const bench_case *c, const bb_run_options *options, bb_target target) {
    bb_context *context = NULL;
    bb_program *program = NULL;
    bb_kernel *kernel = NULL;
    bb_compile_options compile = {.size = sizeof compile,
                                  .target = target,
                                  .policy = target == BB_TARGET_INTERP ? BB_POLICY_AUTO : BB_POLICY_WAIT};
    bench_data data;
    make_data(c, &data);
    bb_dtype dtype = c->is_double ? BB_FLOAT64 : BB_FLOAT32;
    void *const pointers[4] = {data.x, data.y, data.b, data.s};
    for (int k = 0; k < 4; k++) {
        data.inputs[k] = bb_array_of(pointers[k], dtype, k < 3 ? 2 : 1, data.shapes[k]);
    }
    data.input_count = 4;
    bb_output_info info;
    double best = 0;
    bool good = bb_context_new(&context) == BB_OK && make_program(c, context, &program) &&
                bb_program_output(program, 0, &info) == BB_OK && bb_compile(program, &compile, &kernel) == BB_OK;
    if (good) {
        data.shapes[4][0] = c->m;
        data.shapes[4][1] = info.dim;
        data.a = allocate((size_t)(c->m * info.dim) * (info.is_index ? 8 : dtype_bytes(dtype)));
        data.output = bb_array_of(data.a, info.is_index ? BB_INT64 : dtype, 2, data.shapes[4]);
        good = time_kernel(kernel, &data, options, &best) == BB_OK;
    }
    int code = good ? 0 : complain_status();
    if (good) {
        const char *reason;
        bool compiled = bb_kernel_tier(kernel, dtype, &reason) == BB_TARGET_CPU;
        printf("%-26s %.4g s, %.3g pairs/s, %s\n", name, best, (double)c->m * (double)c->n / best,
               compiled ? "compiled" : "interpreted");
        compare_naive(c, &data, best, options->threads);
        fflush(stdout);
    }
    if (kernel) bb_kernel_release(kernel);
    if (program) bb_program_release(program);
    if (context) bb_context_release(context);
    free_data(&data);
    return code;
}

static void print_help(void) {
    puts(
        "usage: benben bench [CASE ...] [--target interp|cpu] [--threads N] [--list]\n\n"
        "A case is KERNEL/TYPE/MxNxD or KERNEL/TYPE/MxNxDxE (E right-hand sides), such as gauss/f32/1e4x1e4x3;\n"
        "`latency` tells how long new and small problems take. Without a case: a standard list. Times are the best of\n"
        "several runs; the plain C loop is bench/naive.c at -O3 -march=native -ffast-math -fopenmp.");
}

int command_bench(int argc, char **argv) {
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"target", required_argument, NULL, 'g'},
                                            {"list", no_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bb_run_options run = {.size = sizeof run, .cancel = &interrupted};
    bb_target target = BB_TARGET_AUTO;
    int64_t threads = 0;
    for (int letter; (letter = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (letter == 'h') return print_help(), 0;
        if (letter == '?') return EXIT_USAGE;
        if (letter == 't' && !parse_integer(optarg, "--threads", 0, 4096, &threads)) return EXIT_USAGE;
        if (letter == 'l') {
            for (int k = 0; k < KERNELS; k++) {
                printf("%-10s %s\n", kernels[k].name, kernels[k].formula);
            }
            puts("latency    first answer, compile times, cache, a small problem again and again");
            return 0;
        }
        if (letter != 'g') continue;
        target = strcmp(optarg, "interp") == 0 ? BB_TARGET_INTERP : BB_TARGET_CPU;
        if (target == BB_TARGET_CPU && strcmp(optarg, "cpu") != 0) {
            return complain(EXIT_USAGE, "--target %s: expected interp or cpu", optarg);
        }
    }
    run.threads = (int)threads;
    catch_interrupt();
    int count = argc > optind ? argc - optind : (int)(sizeof default_cases / sizeof *default_cases);
    const char *const *names = argc > optind ? (const char *const *)argv + optind : default_cases;
    for (int k = 0; k < count; k++) {
        bench_case c;
        int code;
        if (strcmp(names[k], "latency") == 0)
            code = bench_latency();
        else
            code = parse_case(names[k], &c) ? run_case(names[k], &c, &run, target) : EXIT_USAGE;
        if (code) return code;
    }
    return argc > optind ? 0 : bench_latency();
}
