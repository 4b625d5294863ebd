/* Squared distances as norms and scalar products: where they are used and where not, and how far they are from exact
 * values and from the differences. */
#include "expanded_case.h"

typedef struct cloud {
    double size, shift; /* points are shift + size * (random in [-1, 1]) in each component */
} cloud;

static bb_compile_options options_of(bb_accuracy accuracy) {
    return (bb_compile_options){.size = sizeof(bb_compile_options), .target = BB_TARGET_INTERP, .accuracy = accuracy};
}

static void put(bb_array *array, int64_t e, double value) {
    if (array->dtype_bits == 64)
        ((double *)array->data)[e] = value;
    else
        ((float *)array->data)[e] = (float)value;
}

/* Long vectors are points of the cloud, parameters 0.5, all else random in [-1, 1]. */
static void fill(run_case *c, int64_t m, int64_t n, cloud points) {
    uint32_t state = 99;
    case_size(c, m, n);
    for (int k = 0; k < c->inputs; k++) {
        bool point = c->variable[k].dim > 8 && c->variable[k].place != BB_NONE;
        int64_t count = case_rows(c, c->variable[k].place) * c->variable[k].dim;
        for (int64_t e = 0; e < count; e++) {
            double r = draw(&state);
            put(&c->input[k], e, c->variable[k].place == BB_NONE ? 0.5 : point ? points.shift + points.size * r : r);
        }
    }
}

/* ---- exponents ---- */
static void gaussians_are_as_accurate_as_stated(void **state) {
    (void)state;
    static const cloud clouds[] = {{0.2, 0}, {0.2, 100}, {0.3, -1000}};
    static const int dims[] = {12, 16, 50, 101};
    for (size_t k = 0; k < 4; k++)
        for (size_t n = 0; n < 3; n++)
            for (int wide = 0; wide < 2; wide++) {
                char formula[100];
                snprintf(formula, sizeof formula, "sum_j(exp(-s:p1 * sqdist(x:i%d, y:j%d)) * b:j1)", dims[k], dims[k]);
                bb_compile_options options = options_of(BB_ACCURACY_AUTO);
                run_case c;
                case_open(&c, formula, wide ? BB_FLOAT64 : BB_FLOAT32, &options);
                cloud points = clouds[n];
                points.size *= 4 / sqrt((double)dims[k]);
                fill(&c, 640, 601, points);
                EXPECT_OK(case_run(&c, NULL));
                assert_true(is_expanded(&c));
                check_gaussian(&c, wide ? 5e-15 : 2.5e-6);
                case_close(&c);
            }
}

static char *exact_bits(const char *formula, const run_case *like, cloud points, size_t *length) {
    bb_compile_options options = options_of(BB_ACCURACY_EXACT);
    run_case c;
    case_open(&c, formula, like->dtype, &options);
    fill(&c, like->m, like->n, points);
    for (int k = 0; k < c.inputs; k++) memcpy(c.input[k].data, like->input[k].data, case_bytes(&c.input[k]));
    EXPECT_OK(case_run(&c, NULL));
    assert_false(is_expanded(&c));
    char *bits = case_bits(&c, length);
    case_close(&c);
    return bits;
}

/* Data for which the bound does not hold: the differences, to the bit. */
static void expect_differences(run_case *c, const char *formula, cloud points, const char *what) {
    size_t length;
    char *bits = exact_bits(formula, c, points, &length);
    EXPECT_OK(case_run(c, NULL));
    if (is_expanded(c)) fail_msg("%s: expanded", what);
    case_expect_bits(c, bits, what);
    free(bits);
}

static void data_outside_of_the_bound_keep_differences(void **state) {
    (void)state;
    static const char formula[] = "sum_j(exp(-s:p1 * sqdist(x:i16, y:j16)) * b:j1)";
    bb_compile_options options = options_of(BB_ACCURACY_AUTO);
    const cloud near = {0.2, 3};
    run_case c;
    case_open(&c, formula, BB_FLOAT32, &options);
    fill(&c, 640, 601, near);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(is_expanded(&c));
    static const double bad[] = {NAN, INFINITY, -INFINITY, 1e30};
    for (int input = 0; input < 3; input++)
        for (size_t k = 0; k < 4; k++) {
            fill(&c, 640, 601, near);
            put(&c.input[input], input ? 16 * 77 + 3 : 0, bad[k]);
            expect_differences(&c, formula, near, "a number outside");
        }
    put(&c.input[0], 0, 0.5);
    fill(&c, 640, 601, (cloud){3, 0});
    expect_differences(&c, formula, near, "a wide cloud");
    fill(&c, 640, 601, near);
    put(&c.input[0], 0, -1000);
    expect_differences(&c, formula, near, "a small bandwidth");
    fill(&c, 640, 601, near);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(is_expanded(&c));
    case_close(&c);
}

typedef struct usage {
    const char *formula;
    bool expands;
} usage;

static void only_exponents_are_expanded(void **state) {
    (void)state;
    static const usage usages[] = {
        {"logsumexp_j(b:j1 - sqdist(x:i16, y:j16) / s:p1)", true},
        {"sumsoftmaxweight_j(-sqdist(x:i16, y:j16), b:j2)", true},
        {"sum_j(exp(-r:i1 * sqdist(x:i16, y:j16) + t:j1) * (b:j1 - exp(-2 * sqdist(x, y))))", true},
        {"sum_j(exp(-sqdist(x:i16, y:j16) - 0.5 * sqdist(u:i12, v:j12)) * b:j1)", true},
        {"sum_i(exp(-sqdist(x:i16, 0.9 * y:j16)) * b:i2)", true},
        {"sum_j(sum_j(exp(-sqdist(x:i16, y:j16)) * b:j1) * exp(-sqdist(x, y)))", true},
        {"sum_j(grad(exp(-sqdist(x:i16, y:j16)) * b:j1, x, e:i1))", true},
        {"sum_j(exp(-sqdist(x:i8, y:j8)) * b:j1)", false},
        {"sum_j(sqdist(x:i16, y:j16) * b:j1)", false},
        {"sum_j(exp(-norm2(x:i16 - y:j16)) * b:j1)", false},
        {"sum_j(exp(-sqdist(x:i16, y:j16)) * sqdist(x, y))", false},
        {"sum_j(exp(-sqdist(x:i16, y:j16) * (1 + t:i1 * b:j1)))", false},
        {"sum_j(inv(1 + sqdist(x:i16, y:j16)))", false},
        {"argmax_j(sqdist(x:i16, y:j16))", false},
        {"argmin_j(sqdist(x:i16, y:j16)); sum_j(sqdist(x, y))", false}};
    bb_compile_options options = options_of(BB_ACCURACY_AUTO), exact = options_of(BB_ACCURACY_EXACT);
    for (size_t k = 0; k < sizeof usages / sizeof *usages; k++) {
        const cloud points = {0.25, 1};
        run_case c, d;
        case_open(&c, usages[k].formula, BB_FLOAT32, &options);
        case_open(&d, usages[k].formula, BB_FLOAT32, &exact);
        fill(&c, 700, 601, points);
        fill(&d, 700, 601, points);
        EXPECT_OK(case_run(&c, NULL));
        EXPECT_OK(case_run(&d, NULL));
        if (is_expanded(&c) != usages[k].expands) fail_msg("%s: expanded is %d", usages[k].formula, is_expanded(&c));
        int64_t count = bbi_array_count(&c.output[0]);
        double scale = 0;
        for (int64_t e = 0; e < count; e++) scale = fmax(scale, fabs(case_element(&d.output[0], e)));
        for (int64_t e = 0; e < count; e++) {
            double found = case_element(&c.output[0], e), wanted = case_element(&d.output[0], e);
            if (!(fabs(found - wanted) <= 1e-5 * scale))
                fail_msg("%s: element %lld: %.9g, by differences %.9g", usages[k].formula, (long long)e, found, wanted);
        }
        case_close(&c);
        case_close(&d);
    }
}

/* ---- shapes ---- */
static void every_element_of_a_batch_counts(void **state) {
    (void)state;
    bb_compile_options options = options_of(BB_ACCURACY_AUTO), exact = options_of(BB_ACCURACY_EXACT);
    enum { BATCH = 2, M = 650, N = 700, D = 16 };
    run_case c, d;
    case_open(&c, "sum_j(exp(-sqdist(x:i16, y:j16)))", BB_FLOAT32, &options);
    case_open(&d, "sum_j(exp(-sqdist(x:i16, y:j16)))", BB_FLOAT32, &exact);
    float *x = malloc(4 * BATCH * M * D), *y = malloc(4 * BATCH * N * D), out[BATCH * M], wanted[BATCH * M];
    int64_t xs[] = {BATCH, M, D}, ys[] = {BATCH, N, D}, os[] = {BATCH, M, 1};
    for (int wide = 0; wide < 2; wide++) {
        uint32_t seed = 5;
        for (int k = 0; k < BATCH * M * D; k++) x[k] = (float)(0.2 * draw(&seed) + (k < M * D ? 1 : 50));
        for (int k = 0; k < BATCH * N * D; k++) y[k] = (float)(0.2 * draw(&seed) + (k < N * D ? 1 : 50));
        if (wide) y[N * D + 5] = 90;
        bb_array inputs[] = {bb_array_of(x, BB_FLOAT32, 3, xs), bb_array_of(y, BB_FLOAT32, 3, ys)};
        bb_array output = bb_array_of(out, BB_FLOAT32, 3, os), reference = bb_array_of(wanted, BB_FLOAT32, 3, os);
        EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, NULL));
        EXPECT_OK(bb_run(d.kernel, inputs, 2, &reference, 1, NULL));
        assert_int_equal(is_expanded(&c), !wide);
        for (int k = 0; k < BATCH * M; k++) assert_true(fabsf(out[k] - wanted[k]) <= (wide ? 0 : 5e-6f) * wanted[k]);
    }
    free(x);
    free(y);
    case_close(&c);
    case_close(&d);
}

static void ranges_are_kept(void **state) {
    (void)state;
    bb_compile_options options = options_of(BB_ACCURACY_AUTO);
    run_case c;
    case_open(&c, "sum_j(exp(-s:p1 * sqdist(x:i16, y:j16)) * b:j1)", BB_FLOAT32, &options);
    fill(&c, 640, 640, (cloud){0.2, 0});
    int64_t clusters[] = {0, 100, 100, 640}, slices[] = {1, 2}, intervals[] = {10, 60, 0, 640};
    bb_ranges ranges = {.size = sizeof ranges, .count_i = 2, .count_j = 2};
    ranges.ranges_i = ranges.ranges_j = clusters;
    ranges.slices_i = ranges.slices_j = slices;
    ranges.reduced_j = ranges.reduced_i = intervals;
    bb_run_options run = {.size = sizeof run, .ranges = &ranges, .ranges_count = 1};
    EXPECT_OK(case_run(&c, &run));
    assert_true(is_expanded(&c));
    int64_t n = c.n;
    for (int64_t i = 0; i < c.m; i += 9) { /* the first rows meet columns 10 to 59 only */
        double scale, wanted, found = case_element(&c.output[0], i);
        bb_array y = c.input[2], b = c.input[3];
        if (i < 100) {
            c.input[2].data = (float *)y.data + 10 * 16;
            c.input[3].data = (float *)b.data + 10;
            c.n = 50;
        }
        wanted = exact_gaussian(&c, i, 0.5, &scale);
        c.input[2] = y;
        c.input[3] = b;
        c.n = n;
        assert_true(fabs(found - wanted) <= 3e-6 * scale);
    }
    case_close(&c);
}

static void tiers_and_threads_give_the_same_bits(void **state) {
    (void)state;
    size_t length;
    char *bits = NULL;
    for (int way = 0; way < 4; way++) {
        bb_compile_options options = options_of(BB_ACCURACY_AUTO);
        bb_run_options run = {.size = sizeof run, .threads = 1 + way % 3};
        if (way == 3) options.target = BB_TARGET_CPU;
        run_case c;
        case_open(&c, "sum_j(exp(-s:p1 * sqdist(x:i33, y:j33)) * b:j3)", BB_FLOAT32, &options);
        fill(&c, 1500, 1301, (cloud){0.2, 7});
        EXPECT_OK(case_run(&c, &run));
        assert_true(is_expanded(&c));
        if (way == 3) {
            const char *reason;
            EXPECT_OK(bb_kernel_wait(c.kernel));
            assert_int_equal(bb_kernel_tier(c.kernel, BB_FLOAT32, &reason), BB_TARGET_CPU);
        }
        if (bits)
            case_expect_bits(&c, bits, way == 3 ? "compiled" : "threads");
        else
            bits = case_bits(&c, &length);
        case_close(&c);
    }
    free(bits);
}

/* ---- fast ---- */
static void fast_expands_whatever_the_data(void **state) {
    (void)state;
    bb_compile_options options = options_of(BB_ACCURACY_FAST);
    run_case c;
    case_open(&c, "min_j(sqrt(sqdist(x:i20, y:j20)))", BB_FLOAT32, &options);
    fill(&c, 70, 130, (cloud){2, 30});
    memcpy(c.input[1].data, c.input[0].data, 4 * 20 * 65); /* 65 distances of 0 */
    EXPECT_OK(case_run(&c, NULL));
    assert_true(is_expanded(&c));
    double norms = 2 * 20 * 4; /* (sqrt(D) + 4) u bounds the error of d in these units; sqrt(d) moves no more than */
    double most = sqrt((sqrt(20) + 4) * 0x1p-24 * norms);
    for (int64_t i = 0; i < c.m; i++) {
        double best = INFINITY;
        for (int64_t j = 0; j < c.n; j++) {
            double d = 0;
            for (int k = 0; k < 20; k++) {
                double t = case_element(&c.input[0], i * 20 + k) - case_element(&c.input[1], j * 20 + k);
                d += t * t;
            }
            best = fmin(best, sqrt(d));
        }
        assert_true(fabs(case_element(&c.output[0], i) - best) <= most);
    }
    case_close(&c);
}

/* ---- selections ---- */
typedef enum cloud_kind {
    RANDOM,
    GRID,
    CLUSTERS,
    COPIES,
    NEAR,
    FAR,
    WITH_NAN,
    WITH_INF,
    HUGE_VALUES,
    KINDS
} cloud_kind;

static double point(cloud_kind kind, int64_t row, int64_t k, bool column, uint32_t *seed) {
    double r = draw(seed);
    switch (kind) {
    case GRID: return floor(2 * r);                               /* distances are integers: ties everywhere */
    case CLUSTERS: return (double)(row % 7 * (k % 3)) + 1e-4 * r; /* distances small beside the norms */
    case COPIES: return sin((double)(row % 40 * 31 + k));         /* every point many times */
    case NEAR: /* distances that differ by more and by less than the error of the expanded form */
        return cos((double)(row % 90 * 17 + k)) + (column ? r * pow(10, -2 - (double)(row % 11) / 2) : 0);
    case FAR: return 1000 + r;
    case WITH_NAN: return row == 3 && k == 5 && column ? NAN : r;
    case WITH_INF: return row == 700 && k == 2 ? INFINITY : r;
    case HUGE_VALUES: return 1e19 * r;
    default: return r;
    }
}

static void fill_points(run_case *c, int64_t m, int64_t n, cloud_kind kind) {
    uint32_t seed = 1234;
    case_size(c, m, n);
    for (int k = 0; k < c->inputs; k++) {
        int64_t dim = c->variable[k].dim, rows = case_rows(c, c->variable[k].place);
        for (int64_t e = 0; e < rows * dim; e++)
            put(&c->input[k], e, point(kind, e / dim, e % dim, c->variable[k].place == BB_J, &seed));
    }
}

/* By candidates and by all columns: the same bits. */
static void selections_are_those_of_differences(void **state) {
    (void)state;
    static const char *const formulas[] = {
        "kmin_argkmin_j(sqdist(x:i16, y:j16), 10)",
        "min_argmin_j(sqdist(x:i17, y:j17))",
        "argmin_j(norm2(x:i33 - y:j33))",
        "argkmin_i(sqdist(x:i20, y:j20), 3)",
        "2 * kmin_j(0.3 * sqdist(x:i50, 0.5 * y:j50), 33); argkmin_j(0.3 * sqdist(x, 0.5 * y), 33)",
        "min_j(sqdist(x:i12, y:j12))",
        "argkmin_j(sqdist(x:i18, y:j18), 10)",
        "argmin_j(sqdist(x:i18, y:j18))"};
    for (size_t f = 0; f < sizeof formulas / sizeof *formulas; f++)
        for (int kind = 0; kind < KINDS; kind++)
            for (int wide = 0; wide < 2; wide++) {
                bb_compile_options options = options_of(BB_ACCURACY_AUTO), exact = options_of(BB_ACCURACY_EXACT);
                size_t length;
                run_case c, d;
                if (wide && kind % 2) continue;
                case_open(&c, formulas[f], wide ? BB_FLOAT64 : BB_FLOAT32, &options);
                case_open(&d, formulas[f], wide ? BB_FLOAT64 : BB_FLOAT32, &exact);
                int64_t many = f == 4 ? 2100 : 1009, few = 300;
                fill_points(&c, f == 3 ? many : few, f == 3 ? few : many, (cloud_kind)kind);
                fill_points(&d, f == 3 ? many : few, f == 3 ? few : many, (cloud_kind)kind);
                EXPECT_OK(case_run(&c, NULL));
                EXPECT_OK(case_run(&d, NULL));
                if (!is_expanded(&c)) fail_msg("%s: no candidates were looked for", formulas[f]);
                char *bits = case_bits(&d, &length);
                case_expect_bits(&c, bits, formulas[f]);
                EXPECT_OK(case_run(&c, NULL)); /* after a failure all columns may be met at once */
                case_expect_bits(&c, bits, formulas[f]);
                free(bits);
                case_close(&c);
                case_close(&d);
            }
}

/* Ordinary points: no row needs all columns; points that coincide: all do, and the next runs do not try. */
static void candidates_suffice_where_points_differ(void **state) {
    (void)state;
    bb_compile_options options = options_of(BB_ACCURACY_AUTO);
    run_case c;
    case_open(&c, "argkmin_j(sqdist(x:i16, y:j16), 10)", BB_FLOAT32, &options);
    fill_points(&c, 700, 1500, RANDOM);
    EXPECT_OK(case_run(&c, NULL));
    EXPECT_OK(case_run(&c, NULL));
    assert_true(is_expanded(&c));
    fill_points(&c, 700, 1500, COPIES);
    EXPECT_OK(case_run(&c, NULL));
    assert_true(is_expanded(&c));
    EXPECT_OK(case_run(&c, NULL));
    assert_false(is_expanded(&c));
    case_close(&c);
}

static void selections_have_the_bits_of_every_tier(void **state) {
    (void)state;
    size_t length;
    char *bits = NULL;
    for (int way = 0; way < 4; way++) {
        bb_compile_options options = options_of(way == 3 ? BB_ACCURACY_EXACT : BB_ACCURACY_AUTO);
        bb_run_options run = {.size = sizeof run, .threads = 1 + way % 3};
        if (way == 2) options.target = BB_TARGET_CPU;
        run_case c;
        case_open(&c, "kmin_argkmin_j(sqdist(x:i40, y:j40), 7)", BB_FLOAT32, &options);
        fill_points(&c, 1300, 1201, RANDOM);
        memcpy((float *)c.input[1].data + 500 * 40, c.input[1].data, 4 * 40 * 500);
        for (int k = 0; k < 20; k++) /* some rows need all columns */
            memcpy((float *)c.input[1].data + (1000 + k) * 40, c.input[0].data, 4 * 40);
        EXPECT_OK(case_run(&c, &run));
        if (bits)
            case_expect_bits(&c, bits, "tier or threads");
        else
            bits = case_bits(&c, &length);
        case_close(&c);
    }
    free(bits);
}

static void batches_and_ranges_select_too(void **state) {
    (void)state;
    bb_compile_options options = options_of(BB_ACCURACY_AUTO), exact = options_of(BB_ACCURACY_EXACT);
    enum { BATCH = 3, M = 290, N = 903, D = 16 };
    run_case c, d;
    case_open(&c, "argkmin_j(sqdist(x:i16, y:j16), 5)", BB_FLOAT32, &options);
    case_open(&d, "argkmin_j(sqdist(x:i16, y:j16), 5)", BB_FLOAT32, &exact);
    float *x = malloc(4 * BATCH * M * D), *y = malloc(4 * BATCH * N * D);
    int64_t *out = malloc(8 * BATCH * M * 5), *wanted = malloc(8 * BATCH * M * 5);
    int64_t xs[] = {BATCH, M, D}, ys[] = {BATCH, N, D}, os[] = {BATCH, M, 5};
    uint32_t seed = 5;
    for (int k = 0; k < BATCH * M * D; k++) x[k] = (float)(draw(&seed) + k / (M * D) * 10);
    for (int k = 0; k < BATCH * N * D; k++) y[k] = (float)(draw(&seed) + k / (N * D) * 10);
    bb_array inputs[] = {bb_array_of(x, BB_FLOAT32, 3, xs), bb_array_of(y, BB_FLOAT32, 3, ys)};
    bb_array output = bb_array_of(out, BB_INT64, 3, os), reference = bb_array_of(wanted, BB_INT64, 3, os);
    EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, NULL));
    EXPECT_OK(bb_run(d.kernel, inputs, 2, &reference, 1, NULL));
    assert_true(is_expanded(&c));
    assert_memory_equal(out, wanted, 8 * BATCH * M * 5);
    int64_t cluster[] = {0, M}, slice[] = {1}, interval[] = {100, 900}, back[] = {0, N}, rows[] = {0, M};
    bb_ranges ranges = {sizeof ranges, 1, 1, cluster, slice, interval, back, slice, rows};
    bb_run_options run = {.size = sizeof run, .ranges = &ranges, .ranges_count = 1};
    EXPECT_OK(bb_run(c.kernel, inputs, 2, &output, 1, &run));
    EXPECT_OK(bb_run(d.kernel, inputs, 2, &reference, 1, &run));
    assert_memory_equal(out, wanted, 8 * BATCH * M * 5);
    free(x);
    free(y);
    free(out);
    free(wanted);
    case_close(&c);
    case_close(&d);
}

static void unknown_accuracy_is_refused(void **state) {
    (void)state;
    bb_compile_options options = options_of((bb_accuracy)7);
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    EXPECT_OK(bb_context_new(&context));
    EXPECT_OK(bb_program_parse(context, "sum_j(x:i1 * y:j1)", NULL, 0, &program));
    assert_int_equal(bb_compile(program, &options, &kernel), BB_BAD_ARGUMENT);
    assert_non_null(strstr(bb_last_error(), "accuracy"));
    bb_program_release(program);
    bb_context_release(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gaussians_are_as_accurate_as_stated),
                                       cmocka_unit_test(data_outside_of_the_bound_keep_differences),
                                       cmocka_unit_test(only_exponents_are_expanded),
                                       cmocka_unit_test(every_element_of_a_batch_counts),
                                       cmocka_unit_test(ranges_are_kept),
                                       cmocka_unit_test(tiers_and_threads_give_the_same_bits),
                                       cmocka_unit_test(fast_expands_whatever_the_data),
                                       cmocka_unit_test(selections_are_those_of_differences),
                                       cmocka_unit_test(candidates_suffice_where_points_differ),
                                       cmocka_unit_test(selections_have_the_bits_of_every_tier),
                                       cmocka_unit_test(batches_and_ranges_select_too),
                                       cmocka_unit_test(unknown_accuracy_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
