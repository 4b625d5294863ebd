/* test_memory.c: want of memory at every allocation, one after the other, of whatever the public interface does. Each
 * failure is BB_OUT_OF_MEMORY with a message (or the work is done all the same), nothing is left behind, and the same
 * call succeeds when there is memory again. And what succeeds leaves nothing behind either, however often it is done.
 */
#include "run_case.h"

static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
static const bb_compile_options waiting = {.size = sizeof waiting, .policy = BB_POLICY_WAIT};

static const char *const formulas[] = {
    "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j2)",
    "sum_j(exp(-sqdist(x:i3, y:j3) - logsumexp_j(-sqdist(x, y))) * b:j2)",
    "kmin_argkmin_j(sqdist(x:i3, y:j3), 3); max_j(x - y); sumsoftmaxweight_i(-sqdist(x, y), x)",
    "Sum_Reduction(Laplacian(Exp(-SqDist(Var(0,3,0),Var(1,3,1))),Var(0,3,0))*Var(2,1,1),0)",
    "sum_i(sum_j(tensordot(x:i20, y:j20, [4, 5], [5, 4], [1], [0])) * norm2(x)); var_j(elem(y, 3) * x)",
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

/* A scenario makes what it needs, does its work, releases everything and answers the first failure. */
typedef bb_status scenario(const char *formula);

static void starve(scenario *play, const char *formula, const char *what) {
    EXPECT_OK(play(formula)); /* what is kept for the whole process is made here */
    int64_t live = bbi_live_allocations(), failures = 0;
    for (int64_t n = 0, successes = 0; successes < 8; n++) {
        bb_clear_error();
        bbi_fail_allocations_after(n);
        bb_status status = play(formula);
        bbi_fail_allocations_after(-1);
        successes = status == BB_OK ? successes + 1 : 0;
        failures += status != BB_OK;
        if (status != BB_OK && (status != BB_OUT_OF_MEMORY || !strstr(bb_last_error(), "memory")))
            fail_msg("%s, %s: allocation %lld: status %d: %s", what, formula, (long long)n, (int)status,
                     bb_last_error());
        if (bbi_live_allocations() != live)
            fail_msg("%s, %s: allocation %lld: %lld blocks are left", what, formula, (long long)n,
                     (long long)(bbi_live_allocations() - live));
    }
    if (failures == 0) fail_msg("%s, %s: nothing was allocated", what, formula);
    EXPECT_OK(play(formula));
    assert_int_equal(bbi_live_allocations(), live);
}

static void starve_all(scenario *play, const char *what) {
    for (int f = 0; f < FORMULAS; f++) starve(play, formulas[f], what);
}

/* ---- scenarios without arrays ---------------------------------------------------------------- */

typedef struct made {
    bb_context *context;
    bb_program *program, *derived;
    bb_kernel *kernel;
} made;

static bb_status parse(made *m, const char *formula) {
    BBI_FORWARD(bb_context_new(&m->context));
    return bb_program_parse(m->context, formula, NULL, 0, &m->program);
}

static void release(made *m) {
    bb_context_release(m->context);
    bb_program_release(m->program);
    bb_program_release(m->derived);
    bb_kernel_release(m->kernel);
}

static bb_status parsing(const char *formula) {
    made m = {0};
    bb_status status = parse(&m, formula);
    release(&m);
    return status;
}

static bb_status declared(const char *formula) {
    static const char *const declarations[] = {"u = Vi(3)", "v:j3", "Pm(2)"};
    made m = {0};
    bb_status status = bb_context_new(&m.context);
    if (status == BB_OK) status = bb_program_parse(m.context, formula, declarations, 2, &m.program);
    release(&m);
    return status;
}

static bb_status gradient(const char *formula) {
    made m = {0};
    int wanted[2] = {0, 1};
    bb_status status = parse(&m, formula);
    if (status == BB_OK) status = bb_grad(m.program, wanted, 2, NULL, 0, &m.derived);
    release(&m);
    return status;
}

static bb_status tangent(const char *formula) {
    made m = {0};
    int wanted[2] = {1, 0}, forward[1] = {0};
    bb_status status = parse(&m, formula);
    if (status == BB_OK) status = bb_diff(m.program, wanted, 2, forward, 1, &m.derived);
    release(&m);
    return status;
}

static bb_status compiling(const char *formula) {
    made m = {0};
    int wanted[1] = {0};
    bb_status status = parse(&m, formula);
    if (status == BB_OK) status = bb_grad(m.program, wanted, 1, NULL, 0, &m.derived);
    if (status == BB_OK) status = bb_compile(m.derived, NULL, &m.kernel);
    release(&m);
    return status;
}

static bb_status showing(const char *formula, const char *what) {
    made m = {0};
    char *text = NULL;
    bb_status status = parse(&m, formula);
    if (status == BB_OK) status = bb_program_show(m.program, what, BB_FLOAT32, &text);
    if ((status == BB_OK) != (text && text[0]))
        fail_msg("%s: status %d with the text %s", what, (int)status, text ? text : "(null)");
    bb_free(text);
    release(&m);
    return status;
}

static bb_status showing_parsed(const char *formula) { return showing(formula, "parsed"); }
static bb_status showing_dag(const char *formula) { return showing(formula, "dag"); }
static bb_status showing_plan(const char *formula) { return showing(formula, "plan"); }
static bb_status showing_source(const char *formula) { return showing(formula, "source"); }

static bb_status doctor(const char *formula) {
    (void)formula;
    char *text = NULL, *path = NULL;
    bb_status status = bb_doctor(&text);
    if (status == BB_OK) status = bb_cache_info(&path, NULL, NULL);
    bb_free(text);
    bb_free(path);
    return status;
}

static bb_status collecting(const char *formula) {
    made m = {0};
    bb_aot *collection = NULL;
    char *text = NULL;
    bb_status status = parse(&m, formula);
    if (status == BB_OK) status = bb_aot_new(1, &collection);
    if (status == BB_OK) status = bb_aot_add(collection, m.program, BB_FLOAT64, 1);
    if (status == BB_OK) status = bb_aot_source(collection, BB_FLOAT64, "kernels", &text);
    bb_free(text);
    bb_aot_release(collection);
    release(&m);
    return status;
}

static bb_status building(const char *formula) {
    (void)formula;
    static const bb_variable_info signature[] = {{"x", BB_I, 2, 0}, {"y", BB_J, 2, 0}};
    made m = {0};
    BBI_FORWARD(bb_context_new(&m.context));
    bb_context *c = m.context;
    bb_expr x = bb_variable(c, 0, BB_I, 2), y = bb_variable(c, 1, BB_J, 2), s = bb_variable(c, 0, BB_NONE, 2),
            f = bb_variable(c, 1, BB_NONE, 2), t = bb_variable(c, 2, BB_NONE, 2);
    bb_expr distance = bb_apply(c, "sqdist", (bb_expr[]){x, y}, 2, NULL, 0);
    bb_expr nearest = bb_reduce(c, "argkmin", BB_J, distance, NULL, 2);
    bb_expr listed = bb_reduce_listed(c, BB_J, bb_apply(c, "mul", (bb_expr[]){x, y}, 2, NULL, 0), nearest);
    bb_reduction_definition largest = {.size = sizeof largest,
                                       .state_dim = 2,
                                       .init = bb_apply(c, "zero", NULL, 0, (const int64_t[]){2}, 1),
                                       .step = bb_apply(c, "maximum", (bb_expr[]){s, f}, 2, NULL, 0),
                                       .merge = bb_apply(c, "maximum", (bb_expr[]){s, t}, 2, NULL, 0)};
    bb_expr output[2] = {listed,
                         bb_reduce_custom(c, &largest, BB_J, bb_apply(c, "add", (bb_expr[]){x, y}, 2, NULL, 0))};
    bb_status status = bb_program_new(c, signature, 2, output, 2, &m.program);
    if (status == BB_OK) status = bb_compile(m.program, &interpreted, &m.kernel);
    release(&m);
    return status;
}

static void making_starves(void **state) {
    (void)state;
    starve_all(parsing, "parse");
    starve_all(declared, "parse with declarations");
    starve(building, "", "builders");
}

static void deriving_starves(void **state) {
    (void)state;
    starve_all(gradient, "gradient");
    starve_all(tangent, "tangent");
}

static void compiling_starves(void **state) {
    (void)state;
    starve_all(compiling, "compile");
}

static void showing_starves(void **state) {
    (void)state;
    starve_all(showing_parsed, "parsed");
    starve_all(showing_dag, "dag");
    starve_all(showing_plan, "plan");
    starve_all(showing_source, "source");
    starve(doctor, "", "doctor");
    if (BBI_HAVE_ISA > 0) starve_all(collecting, "compiled ahead");
}

/* ---- scenarios with arrays: those are made before memory is short ---------------------------- */

static run_case sized;
static char *wanted_bits;

static bb_status run_anew(const bb_compile_options *how, const bb_run_options *options) {
    bb_kernel *kernel = NULL;
    bb_status status = bb_compile(sized.program, how, &kernel);
    if (status == BB_OK) status = bb_run(kernel, sized.input, sized.inputs, sized.output, sized.outputs, options);
    bb_kernel_release(kernel);
    if (status == BB_OK && wanted_bits) case_expect_bits(&sized, wanted_bits, "with little memory");
    return status;
}

static bb_status running(const char *formula) {
    (void)formula;
    return run_anew(&interpreted, NULL);
}

static bb_status running_compiled(const char *formula) {
    (void)formula;
    return run_anew(&waiting, NULL);
}

static bb_status running_in_threads(const char *formula) {
    (void)formula;
    bb_run_options options = {.size = sizeof options, .threads = 3};
    return run_anew(&interpreted, &options);
}

static bb_status running_ranges(const char *formula) {
    (void)formula;
    const int64_t i[] = {0, 20, 30, 60}, j[] = {0, 80}, slices_i[] = {2, 3}, slices_j[] = {1},
                  of_j[] = {0, 5, 60, 80, 7, 7}, of_i[] = {3, 60};
    bb_ranges ranges = {.size = sizeof ranges,
                        .count_i = 2,
                        .count_j = 1,
                        .ranges_i = i,
                        .slices_i = slices_i,
                        .reduced_j = of_j,
                        .ranges_j = j,
                        .slices_j = slices_j,
                        .reduced_i = of_i};
    bb_run_options options = {.size = sizeof options, .ranges = &ranges};
    return run_anew(&interpreted, &options);
}

static void play_sized(scenario *play, int formula, int64_t m, int64_t n, const char *what) {
    size_t length;
    case_open(&sized, formulas[formula], BB_FLOAT32, &interpreted);
    case_size(&sized, m, n);
    EXPECT_OK(play(formulas[formula]));
    wanted_bits = case_bits(&sized, &length);
    starve(play, formulas[formula], what);
    free(wanted_bits);
    wanted_bits = NULL;
    case_close(&sized);
}

static void running_starves(void **state) {
    (void)state;
    for (int f = 0; f < FORMULAS; f++) {
        play_sized(running, f, 60, 80, "run");
        play_sized(running_ranges, f, 60, 80, "run with ranges");
    }
    play_sized(running_compiled, 0, 60, 80, "compiled run");
    play_sized(running_in_threads, 0, 2000, 2000, "run in threads");
    play_sized(running_in_threads, 1, 3, 60000, "run in threads");
}

static bb_status running_on_itself(const char *formula) {
    (void)formula;
    static float point[200];
    static const int64_t shape[2] = {100, 2};
    for (int k = 0; k < 200; k++) point[k] = (float)k / 64;
    bb_array in[2] = {bb_array_of(point, BB_FLOAT32, 2, shape), bb_array_of(point, BB_FLOAT32, 2, shape)};
    return bb_run(sized.kernel, in, 2, in, 1, NULL);
}

static bb_status solving(const char *formula) {
    (void)formula;
    bb_solve_options options = {.size = sizeof options, .alpha = 0.5};
    bb_array in[3] = {sized.input[0], sized.input[0], sized.input[2]}, out = sized.output[0];
    return bb_solve(sized.kernel, in, 3, 2, &out, &options, NULL);
}

/* x_i and y_j are one array: a plan of its own is made. */
static bb_status running_on_equal_arrays(const char *formula) {
    (void)formula;
    bb_kernel *kernel;
    bb_array in[3] = {sized.input[0], sized.input[0], sized.input[2]};
    BBI_FORWARD(bb_compile(sized.program, &interpreted, &kernel));
    bb_status status = bb_run(kernel, in, 3, sized.output, 1, NULL);
    bb_kernel_release(kernel);
    return status;
}

static bb_status solving_with(bb_solve_method method, bb_precondition precondition) {
    bb_solve_options options = {.size = sizeof options, .alpha = 0.5, .method = method, .precondition = precondition};
    bb_array in[3] = {sized.input[0], sized.input[0], sized.input[2]}, out = sized.output[0];
    return bb_solve(sized.kernel, in, 3, 2, &out, &options, NULL);
}

static bb_status solving_preconditioned(const char *formula) {
    (void)formula;
    return solving_with(BB_SOLVE_CG, BB_PRECONDITION_RPCHOLESKY);
}

static bb_status solving_by_minres(const char *formula) {
    (void)formula;
    return solving_with(BB_SOLVE_MINRES, BB_PRECONDITION_AUTO);
}

static bb_matrix sized_matrix(void) {
    static bb_array in[3];
    in[0] = in[1] = sized.input[0];
    in[2] = sized.input[2];
    return (bb_matrix){.size = sizeof(bb_matrix), .kernel = sized.kernel, .inputs = in, .input_count = 3, .unknown = 2};
}

static bb_status solving_by_patterns(const char *formula) {
    (void)formula;
    int64_t clusters[40], neighbors[40];
    for (int k = 0; k < 40; k++) clusters[k] = k / 10, neighbors[k] = k - 1;
    bb_matrix matrix = sized_matrix();
    bb_solve_options options = {.size = sizeof options,
                                .alpha = 0.5,
                                .precondition = BB_PRECONDITION_BLOCKS,
                                .clusters = clusters,
                                .neighbors = neighbors,
                                .neighbor_count = 1};
    BBI_FORWARD(bb_solve_matrix(&matrix, &matrix.inputs[2], &sized.output[0], &options, NULL));
    options.precondition = BB_PRECONDITION_NEIGHBORS;
    return bb_solve_matrix(&matrix, &matrix.inputs[2], &sized.output[0], &options, NULL);
}

static bb_status finding_spectra(const char *formula) {
    (void)formula;
    bb_matrix matrix = sized_matrix();
    double value, values[3], vectors[40 * 3], left[40 * 4], right[40 * 4];
    bb_trace_options trace = {.size = sizeof trace, .alpha = 0.5, .probes = 4, .left = left, .right = right};
    bb_eigen_options eigen = {.size = sizeof eigen, .count = 3};
    BBI_FORWARD(bb_logdet(&matrix, &trace, &value, NULL, NULL));
    trace.dense_rows = -1;
    BBI_FORWARD(bb_logdet(&matrix, &trace, &value, NULL, NULL));
    BBI_FORWARD(bb_trace(&matrix, &trace, &value, NULL, NULL));
    BBI_FORWARD(bb_eigen(&matrix, &eigen, values, vectors, NULL));
    eigen.block = 2;
    return bb_eigen(&matrix, &eigen, values, NULL, NULL);
}

static void copies_and_solves_starve(void **state) {
    (void)state;
    case_open(&sized, "sum_j(exp(-sqdist(x:i2, y:j2)) * b:j3)", BB_FLOAT32, &interpreted);
    case_size(&sized, 260, 260);
    starve(running_on_equal_arrays, "", "equal arrays");
    case_close(&sized);
    case_open(&sized, "sum_j(exp(-sqdist(x:i2, y:j2)) * y)", BB_FLOAT32, &interpreted);
    starve(running_on_itself, "", "output on an input");
    case_close(&sized);
    case_open(&sized, "sum_j(exp(-sqdist(x:i2, y:j2)) * b:j3)", BB_FLOAT32, &interpreted);
    case_size(&sized, 40, 40);
    starve(solving, "", "solve");
    starve(solving_preconditioned, "", "solve with a preconditioner");
    starve(solving_by_minres, "", "solve by MINRES");
    starve(solving_by_patterns, "", "solve with clusters and neighbours");
    starve(finding_spectra, "", "log-determinants, traces, eigenpairs");
    case_close(&sized);
}

/* ---- nothing is left behind ------------------------------------------------------------------ */

static void many_runs_leave_nothing(void **state) {
    (void)state;
    run_case c;
    int64_t before = bbi_live_allocations();
    case_open(&c, formulas[0], BB_FLOAT32, &interpreted);
    case_size(&c, 10, 10);
    EXPECT_OK(case_run(&c, NULL));
    int64_t live = bbi_live_allocations(), peak = bbi_peak_memory();
    for (int k = 0; k < 100000; k++)
        if (case_run(&c, NULL) != BB_OK) fail_msg("run %d: %s", k, bb_last_error());
    assert_int_equal(bbi_live_allocations(), live);
    assert_true(bbi_peak_memory() - peak < 1 << 22);
    case_close(&c);
    assert_int_equal(bbi_live_allocations(), before);
}

static void many_programs_leave_nothing(void **state) {
    (void)state;
    for (int f = 0; f < FORMULAS; f++) EXPECT_OK(compiling(formulas[f]));
    int64_t live = bbi_live_allocations();
    for (int k = 0; k < 2000; k++)
        if (compiling(formulas[k % FORMULAS]) != BB_OK) fail_msg("cycle %d: %s", k, bb_last_error());
    assert_int_equal(bbi_live_allocations(), live);
}

static void many_programs_in_one_context_share_it(void **state) {
    (void)state;
    bb_context *c;
    EXPECT_OK(bb_context_new(&c));
    int64_t live = 0;
    for (int k = 0; k < 2000; k++) {
        bb_program *program, *derived;
        bb_kernel *kernel;
        int wanted[1] = {0};
        EXPECT_OK(bb_program_parse(c, formulas[0], NULL, 0, &program));
        EXPECT_OK(bb_grad(program, wanted, 1, NULL, 0, &derived));
        EXPECT_OK(bb_compile(derived, &interpreted, &kernel));
        bb_kernel_release(kernel);
        bb_program_release(derived);
        bb_program_release(program);
        if (k == 1) live = bbi_live_allocations();
    }
    assert_int_equal(bbi_live_allocations(), live);
    bb_context_release(c);
}

static int set_up(void **state) {
    static char folder[BBI_PATH_SIZE];
    (void)state;
    if (bbi_folder_temporary(folder, sizeof folder) != 0) return 1;
    return setenv("BENBEN_CACHE_DIR", folder, 1);
}

static int tear_down(void **state) {
    (void)state;
    return bbi_folder_remove(getenv("BENBEN_CACHE_DIR"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(making_starves),
        cmocka_unit_test(deriving_starves),
        cmocka_unit_test(compiling_starves),
        cmocka_unit_test(showing_starves),
        cmocka_unit_test(running_starves),
        cmocka_unit_test(copies_and_solves_starve),
        cmocka_unit_test(many_runs_leave_nothing),
        cmocka_unit_test(many_programs_leave_nothing),
        cmocka_unit_test(many_programs_in_one_context_share_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
