/* test_gradients.c: derivatives of whole programs. Gradients and tangents of random programs, with respect to
 * all variables at once, are compared with those of the unsimplified program evaluated by the oracle, element
 * by element, and with central differences of the oracle along a random direction; so are their own
 * derivatives. Ranges are compared with a masked dense computation. Then operation counts and forward outputs; closed
 * forms are in test_closed_forms.c.
 *
 * BENBEN_TEST_ROUNDS, BENBEN_TEST_SEED, BENBEN_TEST_COUNT: as in test_programs.c. */
#include "random_run.h"

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}
static uint64_t rounds(uint64_t quick) {
    return setting("BENBEN_TEST_COUNT", quick * setting("BENBEN_TEST_ROUNDS", 1));
}
static uint64_t first_seed(uint64_t start) { return setting("BENBEN_TEST_SEED", start); }

/* ---- a program, a direction, and the derivative along it ---- */

typedef bb_status derive_function(const bb_program *, const int *, int, const int *, int, bb_program **);

/* Replaces the program and its oracle by their derivative with respect to the formula's variables. New inputs
 * are drawn. */
static void run_derive(random_run *r, derive_function *derive) {
    bb_program *program, *oracle;
    int variables[RANDOM_VARIABLES], before = r->inputs;
    for (int k = 0; k < r->formula.variables; k++) variables[k] = k;
    RUN_OK(r, derive(r->program, variables, r->formula.variables, NULL, 0, &program));
    RUN_OK(r, derive(r->oracle, variables, r->formula.variables, NULL, 0, &oracle));
    bb_program_release(r->program);
    bb_program_release(r->oracle);
    r->program = program, r->oracle = oracle;
    run_describe(r);
    for (int k = before; k < r->inputs; k++) {
        int64_t count = run_rows(r, (int)r->variable[k].place) * r->variable[k].dim;
        r->value[k + 3] = malloc((size_t)count * sizeof(double) + 8);
        for (int64_t e = 0; e < count; e++) r->value[k + 3][e] = (double)below(&r->formula, 129) / 64 - 1;
    }
}

/* Outputs that are not indices, weighted: sum over k of <weight_k, output_k(inputs + t direction)>, by the
 * oracle. The weights of a program's outputs are the cotangents, which its gradient has for its last inputs.
 */
static long double weighted(random_run *r, const bb_program *oracle, int inputs, double **direction, double t,
                            long double *size) {
    const bbi_node *root[RUN_OUTPUTS];
    bbi_oracle_array result[RUN_OUTPUTS];
    double *kept[RANDOM_VARIABLES];
    int count = bb_program_output_count(oracle), weight = inputs;
    long double total = 0;
    for (int k = 0; k < count; k++) root[k] = bb_program_expr(oracle, k);
    for (int v = 0; v < r->formula.variables; v++) {
        int64_t elements = run_rows(r, (int)r->variable[v].place) * r->variable[v].dim;
        kept[v] = r->value[v];
        r->value[v] = malloc((size_t)elements * sizeof(double) + 8);
        for (int64_t e = 0; e < elements; e++) r->value[v][e] = kept[v][e] + t * direction[v][e];
    }
    RUN_OK(r, run_oracle(r, root, count, result));
    for (int k = 0; k < count; k++) {
        bb_output_info info;
        RUN_OK(r, bb_program_output(oracle, k, &info));
        if (info.is_index) continue;
        const double *w = run_value(r, weight++);
        int64_t rows = run_rows(r, (int)info.place);
        for (int64_t e = 0; e < rows * info.dim; e++) {
            double value = result[k].data[result[k].rows == rows ? e : e % info.dim];
            total += (long double)w[e] * value;
            *size += fabsl((long double)w[e] * value);
        }
        bbi_free(result[k].data);
    }
    for (int v = 0; v < r->formula.variables; v++) {
        free(r->value[v]);
        r->value[v] = kept[v];
    }
    return total;
}

/* The gradient's outputs, from the arrays, against the direction. */
static long double along(random_run *r, const arrays *a, double **direction, long double *size) {
    long double total = 0;
    for (int v = 0; v < r->formula.variables; v++) {
        int64_t count = run_rows(r, (int)r->variable[v].place) * r->variable[v].dim;
        for (int64_t e = 0; e < count; e++) {
            total += (long double)load(&a->output[v], e) * direction[v][e];
            *size += fabsl((long double)load(&a->output[v], e) * direction[v][e]);
        }
    }
    return total;
}

/* Two central differences of steps h and h / 2 and Richardson's extrapolation; their difference says how far
 * to trust it. */
static bool agrees(random_run *r, const bb_program *oracle, int inputs, double **direction, double h, long double found,
                   long double scale) {
    long double size = 0, difference[2];
    for (int k = 0; k < 2; k++, h /= 2)
        difference[k] =
            (weighted(r, oracle, inputs, direction, h, &size) - weighted(r, oracle, inputs, direction, -h, &size)) /
            (2 * h);
    long double wanted = (4 * difference[1] - difference[0]) / 3, doubt = fabsl(difference[1] - difference[0]);
    long double allowed = 2 * doubt + 1e-8L * scale + 1e-14L * size / h + 1e-10L;
    if (fabsl(found - wanted) <= allowed || !isfinite((double)wanted)) return true;
    if (h < 1e-5)
        fprintf(stderr, "along a direction: found %.15Lg, differences %.15Lg, allowed %.3Lg\n", found, wanted, allowed);
    return false;
}

/* A long step may cross a kink, where another minimum begins: then a short one decides. */
static void check_against_differences(random_run *r, const arrays *a, const bb_program *oracle, int inputs) {
    double *direction[RANDOM_VARIABLES];
    long double scale = 0;
    for (int v = 0; v < r->formula.variables; v++) {
        int64_t count = run_rows(r, (int)r->variable[v].place) * r->variable[v].dim;
        direction[v] = malloc((size_t)count * sizeof(double) + 8);
        for (int64_t e = 0; e < count; e++) direction[v][e] = (double)below(&r->formula, 129) / 64 - 1;
    }
    long double found = along(r, a, direction, &scale);
    if (!agrees(r, oracle, inputs, direction, 1e-4, found, scale) &&
        !agrees(r, oracle, inputs, direction, 1e-6, found, scale))
        run_fail(r, "gradient and central differences");
    for (int v = 0; v < r->formula.variables; v++) free(direction[v]);
}

/* ---- random programs ---- */

static bb_kernel *interpreted(random_run *r) {
    bb_compile_options options = {.size = sizeof options, .target = BB_TARGET_INTERP};
    bb_kernel *kernel = NULL;
    RUN_OK(r, bb_compile(r->program, &options, &kernel));
    return kernel;
}

static const bb_dtype float64 = BB_FLOAT64;

/* The program's run, against the oracle of the unsimplified program element by element. */
static void check_run(random_run *r, arrays *a, const char *what) {
    bb_kernel *kernel = interpreted(r);
    for (int k = 0; k < RUN_OUTPUTS; k++) {
        bbi_free(r->wanted[k].data), r->wanted[k].data = NULL;
        bbi_free(r->bound[k].data), r->bound[k].data = NULL;
    }
    run_want(r, 40);
    arrays_open(a, r, &float64, 1, BB_FLOAT64);
    RUN_OK(r, arrays_run(r, a, kernel, 1));
    arrays_check(r, a, 8 * 0x1p-53, what);
    bb_kernel_release(kernel);
}

static void check_shapes(random_run *r) {
    for (int v = 0; v < r->formula.variables; v++)
        if (r->info[v].place != r->variable[v].place || r->info[v].dim != r->variable[v].dim)
            run_fail(r, "a gradient is shaped as its variable");
}

/* A formula some output of which is the same for all rows once simplified (sub(a, a)) is no case here: the
 * cotangents of the two programs differ in shape. */
static bool open_smooth(random_run *r, uint64_t seed, int depth, bool sparse) {
    static const int64_t lengths[] = {1, 2, 3, 5, 9, 17, 33};
    run_open(r, seed, true, true, depth, 1 + (int)(seed % 2));
    run_draw(r, lengths[below(&r->formula, 7)], lengths[below(&r->formula, 7)], sparse, 0);
    if (r->moved) run_close(r);
    return !r->moved;
}

static void check_first_order(uint64_t seed) {
    random_run r;
    arrays a;
    if (!open_smooth(&r, seed, 3, seed % 4 == 3)) return;
    bb_program *forward = r.oracle;
    bb_program_retain(forward);
    int inputs = r.inputs;
    run_derive(&r, bb_grad);
    check_shapes(&r);
    check_run(&r, &a, "gradient");
    check_against_differences(&r, &a, forward, inputs);
    arrays_close(&a);
    bb_program_release(forward);
    run_close(&r);
}

static void gradients_agree_with_differences(void **state) {
    (void)state;
    uint64_t first = first_seed(1000), count = rounds(250);
    for (uint64_t k = 0; k < count; k++) check_first_order(first + k);
}

/* <cotangent, J tangent> = <J' cotangent, tangent> */
static void check_transposed(uint64_t seed) {
    random_run r;
    arrays a, b;
    if (!open_smooth(&r, seed, 3, seed % 4 == 3)) return;
    bb_program *program = r.program, *oracle = r.oracle;
    bb_program_retain(program), bb_program_retain(oracle);
    int inputs = r.inputs, outputs = r.outputs;
    run_derive(&r, bb_grad);
    check_run(&r, &a, "gradient");
    double *cotangent[RUN_OUTPUTS], *tangent[RANDOM_VARIABLES];
    for (int k = 0; k < outputs; k++) cotangent[k] = r.value[inputs + 3 + k], r.value[inputs + 3 + k] = NULL;
    bb_program_release(r.program), bb_program_release(r.oracle);
    r.program = program, r.oracle = oracle;
    run_describe(&r);
    run_derive(&r, bb_diff);
    check_run(&r, &b, "tangent");
    for (int v = 0; v < r.formula.variables; v++) tangent[v] = r.value[inputs + 3 + v];
    long double scale = 0, reverse = along(&r, &a, tangent, &scale), forward = 0;
    for (int k = 0; k < outputs; k++) {
        int64_t count = run_rows(&r, (int)r.info[k].place) * r.info[k].dim;
        for (int64_t e = 0; e < count; e++) {
            forward += (long double)cotangent[k][e] * load(&b.output[k], e);
            scale += fabsl((long double)cotangent[k][e] * load(&b.output[k], e));
        }
        free(cotangent[k]);
    }
    if (fabsl(forward - reverse) > 1e-9L * scale + 1e-12L && isfinite((double)scale)) {
        fprintf(stderr, "forward %.15Lg, reverse %.15Lg\n", forward, reverse);
        run_fail(&r, "tangents are the transposed of gradients");
    }
    arrays_close(&a);
    arrays_close(&b);
    run_close(&r);
}

static void tangents_are_transposed_gradients(void **state) {
    (void)state;
    uint64_t first = first_seed(4000), count = rounds(120);
    for (uint64_t k = 0; k < count; k++) check_transposed(first + k);
}

/* Gradient of the gradient, gradient of the tangent, tangent of the gradient. */
static void check_second_order(uint64_t seed) {
    random_run r;
    arrays a;
    if (!open_smooth(&r, seed, 2, seed % 4 == 3)) return;
    run_derive(&r, seed % 3 == 1 ? bb_diff : bb_grad);
    bb_program *first = r.oracle;
    bb_program_retain(first);
    int inputs = r.inputs;
    run_derive(&r, seed % 3 == 2 ? bb_diff : bb_grad);
    check_run(&r, &a, "second derivative");
    if (seed % 3 != 2) check_against_differences(&r, &a, first, inputs);
    arrays_close(&a);
    bb_program_release(first);
    run_close(&r);
}

static void second_derivatives_agree_with_differences(void **state) {
    (void)state;
    uint64_t first = first_seed(7000), count = rounds(120);
    for (uint64_t k = 0; k < count; k++) check_second_order(first + k);
}

/* ---- operation counts ---- */

/* A scalar formula and its full gradient: at most 5 times the formula (Baur and Strassen, 1983). */
static void check_cost(uint64_t seed) {
    random_run r;
    bb_program *gradient;
    int variables[RANDOM_VARIABLES];
    run_open(&r, seed, true, true, 3, 1);
    const char *text = r.formula.text[0]; /* of parts of vectors, the padding counts as much as the parts */
    if (r.outputs == 1 && r.info[0].dim == 1 && !strstr(text, "elem(") && !strstr(text, "extract(")) {
        for (int k = 0; k < r.formula.variables; k++) variables[k] = k;
        RUN_OK(&r, bb_grad(r.program, variables, r.formula.variables, NULL, 0, &gradient));
        bbi_node const *root[RUN_OUTPUTS];
        int count = bb_program_output_count(gradient);
        for (int k = 0; k < count; k++) root[k] = bb_program_expr(gradient, k);
        root[count] = bb_program_expr(r.program, 0);
        double cost = bbi_cost(root, count + 1), own = bb_program_cost(r.program);
        if (cost > 5 * own) {
            fprintf(stderr, "cost %g, of the formula %g\n", cost, own);
            run_fail(&r, "cost of a formula and its gradient");
        }
        bb_program_release(gradient);
    }
    run_close(&r);
}

static void gradients_cost_at_most_four_times_the_formula(void **state) {
    (void)state;
    uint64_t first = first_seed(10000), count = rounds(400);
    for (uint64_t k = 0; k < count; k++) check_cost(first + k);
}

/* ---- forward outputs ---- */
static void check_forward(uint64_t seed) {
    random_run r;
    arrays a, b;
    int variables[RANDOM_VARIABLES], forward[RUN_OUTPUTS], given = 0;
    bb_program *gradient;
    if (!open_smooth(&r, seed, 3, false)) return;
    check_run(&r, &a, "value");
    double *value[RUN_OUTPUTS] = {0};
    for (int k = 0; k < r.outputs; k++) {
        int64_t count = run_rows(&r, (int)r.info[k].place) * r.info[k].dim;
        value[given] = malloc((size_t)count * sizeof(double) + 8);
        for (int64_t e = 0; e < count; e++) value[given][e] = load(&a.output[k], e);
        forward[given++] = k;
    }
    arrays_close(&a);
    for (int k = 0; k < r.formula.variables; k++) variables[k] = k;
    RUN_OK(&r, bb_grad(r.program, variables, r.formula.variables, forward, given, &gradient));
    run_derive(&r, bb_grad);
    check_run(&r, &a, "gradient");
    bb_program_release(r.program);
    r.program = gradient;
    int before = r.inputs;
    run_describe(&r);
    assert_int_equal(r.inputs, before + given);
    for (int k = 0; k < given; k++) r.value[before + k + 3] = value[k];
    bb_kernel *kernel = interpreted(&r);
    arrays_open(&b, &r, &float64, 1, BB_FLOAT64);
    RUN_OK(&r, arrays_run(&r, &b, kernel, 1));
    arrays_check(&r, &b, 16 * 0x1p-53, "gradient with forward outputs given");
    arrays_close(&b);
    arrays_close(&a);
    bb_kernel_release(kernel);
    run_close(&r);
}

static void forward_outputs_may_be_given(void **state) {
    (void)state;
    uint64_t first = first_seed(13000), count = rounds(100);
    for (uint64_t k = 0; k < count; k++) check_forward(first + k);
}

/* ---- selections and reductions by name ---- */
static void named_reductions_differentiate_twice(void **state) {
    (void)state;
    static const char *const texts[] = {"kmin_j(sqdist(x0, y1), 3)",
                                        "min_j(sqdist(x0, y1) * s2)",
                                        "max_i(dot(x0, y1) + s2)",
                                        "kmin_i(sin(x0 * s2 - y1), 2)",
                                        "logsumexp_j(-sqdist(x0, y1) / s2)",
                                        "logsumexpweight_i(-sqdist(x0, y1), exp(x0 * s2))",
                                        "sumsoftmaxweight_j(-sqdist(x0, y1), y1 * x0 * s2)",
                                        "prod_j(1 + 0.1 * sin(dot(x0, y1)) * s2)",
                                        "sum_j(exp(-sqdist(x0, y1) - logsumexp_i(-sqdist(x0, y1) * s2)))",
                                        "var_j(dot(x0, y1) * s2)",
                                        "sum_ij(min_j(sqdist(x0, y1)) * exp(-sqdist(x0, y1) * s2))",
                                        "sum_j(kmin_j(sqdist(x0, y1), 2) * elem(y1, 0) * s2)",
                                        "std_i(sqdist(x0, y1) + s2 * elem(x0, 0))",
                                        "min_j(y1 * s2)",
                                        "sum_i(max_j(y1) * x0)",
                                        "kmin_j(y1, 2)",
                                        "prod_ij(1 + 0.01 * x0 * y1 * s2)"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (int second = 0; second < 3; second++) {
            random_run r;
            arrays a;
            memset(&r, 0, sizeof r);
            r.seed = t;
            random_program *f = &r.formula;
            f->state = 77 + t;
            add_variable(f, 'x', BBI_I, 2, -2, 2), add_variable(f, 'y', BBI_J, 2, -2, 2),
                add_variable(f, 's', BBI_P, 1, 0.5, 2);
            for (int version = 0; version < 2; version++) {
                f->text[version] = malloc(strlen(texts[t]) + 1);
                strcpy(f->text[version], texts[t]);
            }
            run_start(&r);
            run_draw(&r, 6, 9, false, 0);
            bb_program *before = r.oracle;
            bb_program_retain(before);
            int inputs = r.inputs;
            for (int order = 0; order <= second; order++) {
                bb_program_release(before);
                before = r.oracle;
                bb_program_retain(before);
                inputs = r.inputs;
                run_derive(&r, second == 1 && order == 0 ? bb_diff : bb_grad);
            }
            check_run(&r, &a, texts[t]);
            check_against_differences(&r, &a, before, inputs);
            arrays_close(&a);
            bb_program_release(before);
            run_close(&r);
        }
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(tangents_are_transposed_gradients),
        cmocka_unit_test(second_derivatives_agree_with_differences),
        cmocka_unit_test(gradients_cost_at_most_four_times_the_formula),
        cmocka_unit_test(forward_outputs_may_be_given),
        cmocka_unit_test(named_reductions_differentiate_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
