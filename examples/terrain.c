/* The first job on real data: an elevation model of M points, M x M pairs that are never stored.
 *
 *   terrain FOLDER M N
 *
 * reads FOLDER/grid.f32 (M rows: east, north in km, height in m) and FOLDER/samples.i64 (N row numbers), and
 *   (a) smooths all heights with a Gaussian kernel, a weighted mean over all points;
 *   (b) differentiates the result with respect to the position: the slope of the smoothed terrain;
 *   (c) interpolates the terrain from the samples alone, by a kernel system of N unknowns;
 *   (d) finds the 10 nearest neighbours of every point in (east, north, height).
 * It leaves smooth.f32, slope.f32, interpolated.f32 and neighbours.i64 there; examples/terrain.py draws them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <benben.h>

enum { NEIGHBOURS = 10 };
static const float WIDTH = 0.3f;       /* km: standard deviation of the smoothing */
static const float CORRELATION = 1.0f; /* km: length of the interpolating kernel exp(-r / length) */
static const double RIDGE = 1e-2, TOLERANCE = 1e-4;
static const float HEIGHT_UNIT = 100; /* m that count as a km among neighbours */

static void check(bb_status status) {
    if (status == BB_OK) return;
    fprintf(stderr, "\nterrain: %s\n", bb_last_error());
    exit(1);
}

static void *allocate(size_t size) {
    void *pointer = malloc(size);
    if (pointer) return pointer;
    fprintf(stderr, "terrain: out of memory\n");
    exit(1);
}

static double seconds(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static FILE *open_file(const char *folder, const char *name, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, mode);
    if (file) return file;
    fprintf(stderr, "terrain: %s cannot be opened\n", path);
    exit(1);
}

static void *read_file(const char *folder, const char *name, size_t size) {
    FILE *file = open_file(folder, name, "rb");
    void *data = allocate(size);
    if (fread(data, 1, size, file) != size) {
        fprintf(stderr, "terrain: %s/%s is too short\n", folder, name);
        exit(1);
    }
    fclose(file);
    return data;
}

static void write_file(const char *folder, const char *name, const void *data, size_t size) {
    FILE *file = open_file(folder, name, "wb");
    if (fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        fprintf(stderr, "terrain: %s/%s cannot be written\n", folder, name);
        exit(1);
    }
}

/* ---- progress: a tick at every tenth --------------------------------------------------------- */
static int ticks;

static int show_progress(void *data, double done) {
    (void)data;
    for (; ticks < (int)(done * 10) && ticks < 10; ticks++) {
        printf(" %d%%", (ticks + 1) * 10);
        fflush(stdout);
    }
    return 0;
}

static int show_iteration(void *data, int64_t iteration, double residual) {
    (void)data;
    if (iteration % 25 == 0) printf(" %lld: %.1e", (long long)iteration, residual);
    fflush(stdout);
    return 0;
}

static void begin(const char *what) {
    printf("%s\n   ", what);
    fflush(stdout);
    ticks = 0;
}

static void end(double start, double pairs) {
    double time = seconds() - start;
    printf("\n    %.2f s, %.3g pairs, %.3g pairs/s\n", time, pairs, pairs / time);
}

/* ---- arrays and runs ------------------------------------------------------------------------- */
/* a compact matrix, or a row of parameters when rows is 0 */
typedef struct table {
    void *data;
    bb_dtype dtype;
    int64_t shape[2];
} table;

static bb_array view(const table *t) {
    return t->shape[0] ? bb_array_of(t->data, t->dtype, 2, t->shape) : bb_array_of(t->data, t->dtype, 1, t->shape + 1);
}

static table floats(int64_t rows, int64_t columns) {
    size_t count = (size_t)(rows ? rows : 1) * (size_t)columns;
    return (table){allocate(count * sizeof(float)), BB_FLOAT32, {rows, columns}};
}

static bb_kernel *compile(bb_context *context, const char *formula) {
    bb_program *program;
    bb_kernel *kernel;
    check(bb_program_parse(context, formula, NULL, 0, &program));
    check(bb_compile(program, NULL, &kernel));
    bb_program_release(program);
    return kernel;
}

static void run(bb_kernel *kernel, const table *inputs, int count, const table *output) {
    bb_array views[8], out = view(output);
    for (int k = 0; k < count; k++) {
        views[k] = view(&inputs[k]);
    }
    bb_run_options options = {.size = sizeof options, .progress = show_progress};
    check(bb_run(kernel, views, count, &out, 1, &options));
    show_progress(NULL, 1);
}

/* ---- the job --------------------------------------------------------------------------------- */
typedef struct terrain {
    const char *folder;
    bb_context *context;
    int64_t m, n;
    table place, height;           /* (M, 2) km, (M, 1) m */
    table some_place, some_height; /* (N, 2), (N, 1) */
    float mean;                    /* of the samples' heights */
} terrain;

static void load(terrain *t) {
    float *grid = read_file(t->folder, "grid.f32", (size_t)t->m * 3 * sizeof *grid);
    int64_t *samples = read_file(t->folder, "samples.i64", (size_t)t->n * sizeof *samples);
    t->place = floats(t->m, 2);
    t->height = floats(t->m, 1);
    t->some_place = floats(t->n, 2);
    t->some_height = floats(t->n, 1);
    float *place = t->place.data, *height = t->height.data;
    for (int64_t i = 0; i < t->m; i++) {
        memcpy(place + 2 * i, grid + 3 * i, 2 * sizeof *place);
        height[i] = grid[3 * i + 2];
    }
    double sum = 0;
    for (int64_t k = 0; k < t->n; k++) {
        memcpy((float *)t->some_place.data + 2 * k, place + 2 * samples[k], 2 * sizeof *place);
        ((float *)t->some_height.data)[k] = height[samples[k]];
        sum += (double)height[samples[k]];
    }
    t->mean = (float)(sum / (double)t->n);
    for (int64_t k = 0; k < t->n; k++) {
        ((float *)t->some_height.data)[k] -= t->mean;
    }
    free(grid);
    free(samples);
}

#define WEIGHTS "exp(-sqdist(x:i2, y:j2) / s:p1)"
#define MEAN "sum_j(" WEIGHTS " * h:j1) / sum_j(" WEIGHTS ")"

static void smooth(const terrain *t) {
    float s = 2 * WIDTH * WIDTH;
    const table inputs[4] = {t->place, t->place, {&s, BB_FLOAT32, {0, 1}}, t->height};
    table mean = floats(t->m, 1), slope = floats(t->m, 2);
    double pairs = (double)t->m * (double)t->m;

    begin("(a) smoothing: " MEAN);
    double start = seconds();
    bb_kernel *kernel = compile(t->context, MEAN);
    run(kernel, inputs, 4, &mean);
    end(start, pairs);
    bb_kernel_release(kernel);

    begin("(b) its derivative: grad(" MEAN ", x, 1)");
    start = seconds();
    kernel = compile(t->context, "grad(" MEAN ", x:i2, 1)");
    run(kernel, inputs, 4, &slope);
    end(start, pairs);
    bb_kernel_release(kernel);

    write_file(t->folder, "smooth.f32", mean.data, (size_t)t->m * sizeof(float));
    write_file(t->folder, "slope.f32", slope.data, (size_t)t->m * 2 * sizeof(float));
    free(mean.data);
    free(slope.data);
}

static void interpolate(const terrain *t) {
    static const char formula[] = "sum_j(exp(-norm2(x:i2 - y:j2) / s:p1) * b:j1)";
    float s = CORRELATION;
    const table system[4] = {t->some_place, t->some_place, {&s, BB_FLOAT32, {0, 1}}, t->some_height};
    table weights = floats(t->n, 1), all = floats(t->m, 1);
    bb_kernel *kernel = compile(t->context, formula);

    begin("(c) interpolation from samples: (K + ridge) b = h, K_ij = exp(-|x_i - y_j| / s), by conjugate gradients");
    double start = seconds();
    bb_array views[4], solution = view(&weights);
    for (int k = 0; k < 4; k++) {
        views[k] = view(&system[k]);
    }
    bb_solve_options options = {.size = sizeof options,
                                .alpha = RIDGE,
                                .tolerance = TOLERANCE,
                                .relative = 1,
                                .max_iterations = 2000,
                                .report = show_iteration};
    bb_solve_result result = {.size = sizeof result};
    check(bb_solve(kernel, views, 4, 3, &solution, &options, &result));
    end(start, (double)result.iterations * (double)t->n * (double)t->n);
    printf(
        "    %lld unknowns, %lld iterations, relative residual %.1e; the dense matrix would take %.1f GB in float64\n",
        (long long)t->n, (long long)result.iterations, result.residual, (double)t->n * (double)t->n * 8e-9);

    const table inputs[4] = {t->place, t->some_place, {&s, BB_FLOAT32, {0, 1}}, weights};
    begin("    ... and its values everywhere");
    start = seconds();
    run(kernel, inputs, 4, &all);
    end(start, (double)t->m * (double)t->n);
    for (int64_t i = 0; i < t->m; i++) {
        ((float *)all.data)[i] += t->mean;
    }
    write_file(t->folder, "interpolated.f32", all.data, (size_t)t->m * sizeof(float));
    write_file(t->folder, "weights.f32", weights.data, (size_t)t->n * sizeof(float));
    bb_kernel_release(kernel);
    free(weights.data);
    free(all.data);
}

static void find_neighbours(const terrain *t) {
    table points = floats(t->m, 3);
    table found = {allocate((size_t)t->m * NEIGHBOURS * sizeof(int64_t)), BB_INT64, {t->m, NEIGHBOURS}};
    for (int64_t i = 0; i < t->m; i++) {
        memcpy((float *)points.data + 3 * i, (float *)t->place.data + 2 * i, 2 * sizeof(float));
        ((float *)points.data)[3 * i + 2] = ((float *)t->height.data)[i] / HEIGHT_UNIT;
    }
    const table inputs[2] = {points, points};
    begin("(d) the 10 nearest neighbours in (east, north, height): argkmin_j(sqdist(x:i3, y:j3), 10)");
    double start = seconds();
    bb_kernel *kernel = compile(t->context, "argkmin_j(sqdist(x:i3, y:j3), 10)");
    run(kernel, inputs, 2, &found);
    end(start, (double)t->m * (double)t->m);
    write_file(t->folder, "neighbours.i64", found.data, (size_t)t->m * NEIGHBOURS * sizeof(int64_t));
    bb_kernel_release(kernel);
    free(points.data);
    free(found.data);
}

int main(int argc, char **argv) {
    terrain t = {0};
    if (argc == 4) {
        t.folder = argv[1];
        t.m = strtoll(argv[2], NULL, 10);
        t.n = strtoll(argv[3], NULL, 10);
    }
    if (t.m < 1 || t.n < 1) {
        fprintf(stderr, "usage: terrain FOLDER M N\n");
        return 2;
    }
    check(bb_context_new(&t.context));
    load(&t);
    printf("%lld points, %lld samples\n", (long long)t.m, (long long)t.n);
    smooth(&t);
    interpolate(&t);
    find_neighbours(&t);
    bb_statistics statistics = {.size = sizeof statistics};
    check(bb_get_statistics(&statistics));
    printf("peak memory %.0f MB\n", (double)statistics.peak_memory / 1e6);
    bb_context_release(t.context);
    table *tables[] = {&t.place, &t.height, &t.some_place, &t.some_height};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++) {
        free(tables[k]->data);
    }
    return 0;
}
