/* test_solve.c: what the solvers are made of, for every instruction set: dense linear algebra against plain loops, the
 * structure that is read from formulas, entries of matrices against the oracle's pairs, factors against dense ones. */
#include "run_case.h"

#include "run/solve/solve.h"

static double uniform(bbi_random *random) { return 2 * bbi_random_uniform(random) - 1; }

/* ---- dense linear algebra -------------------------------------------------------------------- */
static void products_are_those_of_plain_loops(void **state) {
    (void)state;
    bbi_random random = {1};
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        const bbi_dense *dense = bbi_dense_of(level);
        for (int64_t rows = 0; rows < 15; rows++)
            for (int64_t depth = 0; depth < 70; depth += 1 + rows) {
                enum { LANES = 64, LD = 70 };
                double a[15 * 70], b[70 * LANES], c[15 * LD], wanted[15 * LD];
                for (int k = 0; k < 15 * 70; k++) a[k] = uniform(&random);
                for (int k = 0; k < 70 * LANES; k++) b[k] = uniform(&random);
                for (int k = 0; k < 15 * LD; k++) c[k] = wanted[k] = uniform(&random);
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t l = 0; l < LANES; l++)
                        for (int64_t k = 0; k < depth; k++) wanted[i * LD + l] -= a[i + k * 15] * b[k * LANES + l];
                dense->gemm(rows, LANES, depth, a, 1, 15, b, LANES, c, LD, -1);
                for (int k = 0; k < 15 * LD; k++) assert_true(fabs(c[k] - wanted[k]) < 1e-12);
                double sum = 0, sums[8 * 15] = {0};
                for (int64_t k = 0; k < depth; k++) sum += a[k] * b[k];
                assert_true(fabs(dense->dot(a, b, depth) - sum) < 1e-12);
                dense->project(rows, b, a, sums);
                for (int64_t k = 0; k < rows; k++) {
                    double found = 0, should = 0;
                    for (int l = 0; l < 8; l++) found += sums[8 * k + l];
                    for (int w = 0; w < BBI_PANEL; w++) should += b[k * BBI_PANEL + w] * a[w];
                    assert_true(fabs(found - should) < 1e-12);
                }
            }
    }
}

static void cholesky_solves(void **state) {
    (void)state;
    enum { MOST = 70 };
    bbi_random random = {2};
    static double a[MOST * MOST], l[MOST * MOST];
    for (int level = 0; level <= bbi_cpu_level(); level++)
        for (int n = 0; n <= MOST; n += 1 + n / 4) {
            double x[MOST], b[MOST] = {0};
            for (int i = 0; i < n; i++)
                for (int j = 0; j <= i; j++) a[i * MOST + j] = a[j * MOST + i] = uniform(&random) + (i == j) * n;
            for (int i = 0; i < n; i++) x[i] = uniform(&random);
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++) b[i] += a[i * MOST + j] * x[j];
            memcpy(l, a, sizeof a);
            assert_true(bbi_cholesky(bbi_dense_of(level), l, n, MOST));
            bbi_cholesky_solve(bbi_dense_of(level), l, n, MOST, b);
            for (int i = 0; i < n; i++) assert_true(fabs(b[i] - x[i]) < 1e-11);
            if (n < 2) continue;
            memcpy(l, a, sizeof a);
            l[(n - 1) * MOST + n - 1] = -1;
            assert_false(bbi_cholesky(bbi_dense_of(level), l, n, MOST));
        }
}

/* ---- structure ------------------------------------------------------------------------------- */
static void formulas_tell_their_structure(void **state) {
    (void)state;
    static const struct {
        const char *formula;
        int unknown;
        bool separate, scalar, entries;
    } row[] = {
        {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j2)", 2, true, true, true},
        {"sum_j(b:j2 / (1 + sqdist(x:i3, y:j3)))", 0, true, true, true},
        {"sum_j(-(exp(x:i1 * y:j1) * b:j2 + abs(x - y) * b))", 2, true, true, true},
        {"sum_j(abs(x:i1 - y:j1) * b:j2) * 3 * exp(x)", 2, true, true, true},
        {"sum_i(exp(-sqdist(x:i3, y:j3)) * b:i2)", 2, true, true, true},
        {"sum_j(abs(x:i2 - y:j2) * b:j2)", 2, true, false, false},
        {"sum_j(abs(x:i1 - y:j1) * sum(b:j2) * b)", 2, false, false, true},
        {"sum_j(abs(x:i1 - y:j1) * matvecmult(A:p4, b:j2))", 3, false, false, true},
        {"sum_j((x:i2 | b:j2) * y:j2)", 1, false, false, true},
        {"sum_j((x:i2 | y:j2) * b:j1) / sum_j(exp((x | y)))", 2, true, true, false},
        {"max_j((x:i2 | y:j2) * b:j1)", 2, true, false, false},
        {"sum_j(eq(argmin_j((x:i2 | y:j2)), 3) * (x | y) * b:j1)", 2, true, true, false},
    };
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        run_case c;
        bbi_structure s;
        case_open(&c, row[k].formula, BB_FLOAT64, NULL);
        EXPECT_OK(bbi_structure_of(c.program, row[k].unknown, &s));
        if (s.separate != row[k].separate || s.scalar != row[k].scalar || !s.no_entries != row[k].entries)
            fail_msg("%s: separate %d, scalar %d, %s", row[k].formula, s.separate, s.scalar, s.no_entries);
        case_close(&c);
    }
}

/* ---- entries and factors --------------------------------------------------------------------- */
/* A square case: both sides hold the same points. */
static void open_square(run_case *c, bbi_matrix *m, const char *formula, bb_dtype dtype, int64_t n, int unknown) {
    static const bb_compile_options interpreted = {.size = sizeof interpreted, .target = BB_TARGET_INTERP};
    case_open(c, formula, dtype, &interpreted);
    case_size(c, n, n);
    memcpy(c->input[1].data, c->input[0].data, case_bytes(&c->input[0]));
    static bb_matrix given;
    given = (bb_matrix){.size = sizeof given,
                        .kernel = c->kernel,
                        .inputs = c->input,
                        .input_count = c->inputs,
                        .unknown = unknown};
    EXPECT_OK(bbi_matrix_open(m, "test", &given, 1));
}

static void entries_are_those_of_products(void **state) {
    (void)state;
    static const char *const formula[] = {
        "sum_j(exp(-sqdist(x:i2, y:j2) / 8) * b:j1)", "sum_j(exp(-sqdist(x:i2, y:j2) / 8) * b:j3)",
        "sum_j(exp(-sqdist(x:i3, y:j3) / 8) * ((x | b:j3) * y + b))", "sum_i(exp(-sqdist(x:i2, y:j2) / 8) * b:i3)"};
    for (int f = 0; f < 4; f++)
        for (int64_t n = 1; n < 40; n += 1 + n / 2)
            for (int type = 0; type < 2; type++) {
                run_case c;
                bbi_matrix m;
                open_square(&c, &m, formula[f], type ? BB_FLOAT64 : BB_FLOAT32, n, 2);
                size_t size = (size_t)m.n, count = (size_t)m.count;
                double *dense = calloc(size * size, 8), *diagonal = calloc(size, 8), *p = calloc(count, 8),
                       *q = calloc(count, 8), *block = calloc(size * size, 8);
                int64_t half = (m.n + 1) / 2, *list = calloc(size, sizeof *list);
                for (int64_t k = 0; k < m.n; k++) list[k] = (7 * k + 3) % m.n;
                EXPECT_OK(bbi_matrix_columns(&m, 0, list, m.n, dense));
                EXPECT_OK(bbi_matrix_diagonal(&m, 0, diagonal));
                EXPECT_OK(bbi_matrix_block(&m, 0, list, half, block));
                for (int64_t k = 0; k < m.n; k++) {
                    memset(p, 0, count * 8);
                    p[list[k] * m.columns] = 1;
                    EXPECT_OK(bbi_matrix_multiply(&m, p, q));
                    for (int64_t i = 0; i < half && k < half; i++) {
                        double wanted = q[list[i] * m.columns];
                        assert_true(fabs(block[k * half + i] - wanted) <= 1e-6 * (1 + fabs(wanted)));
                    }
                    for (int64_t i = 0; i < m.n; i++) {
                        assert_true(fabs(dense[k * m.n + i] - q[i * m.columns]) <= 1e-6 * (1 + fabs(q[i * m.columns])));
                        if (i == list[k])
                            assert_true(fabs(diagonal[i] - q[i * m.columns]) <= 1e-6 * (1 + fabs(diagonal[i])));
                    }
                }
                free(dense), free(diagonal), free(p), free(q), free(list), free(block);
                bbi_matrix_close(&m);
                case_close(&c);
            }
}

/* P z = r for z = P^-1 r with P from its columns; trace_left is that of K - L L^T; P approaches K with the rank. */
static void factors_are_what_they_say(void **state) {
    (void)state;
    for (int64_t n = 1; n < 200; n += 1 + n / 2)
        for (int nystrom = 0; nystrom < 2; nystrom++)
            for (int64_t rank = 1; rank <= n; rank = 3 * rank + 1) {
                run_case c;
                bbi_matrix m;
                bbi_factor f;
                const char *reason;
                bbi_random random = {9};
                bbi_factor_options o = {
                    .kind = nystrom ? BB_PRECONDITION_NYSTROM : BB_PRECONDITION_RPCHOLESKY,
                    .alpha = 1e-3, .work = 1e18, .digits = 14, .rank = rank, .memory = 1 << 30};
                open_square(&c, &m, "sum_j(exp(-sqdist(x:i3, y:j3) / 2) * b:j1)", BB_FLOAT64, n, 2);
                EXPECT_OK(bbi_factor_make(&f, &m, 0, &o, &reason));
                assert_null(reason);
                assert_true(f.rank <= rank && f.rank > 0);
                double r[200 * 2], z[200 * 2], back[200 * 2], left = f.trace;
                double *scratch = calloc((size_t)bbi_factor_scratch(&f, 2), 8), *l = calloc((size_t)(n * f.rank), 8);
                for (int64_t i = 0, at = 0; i < f.chunks; at += f.width[i++])
                    for (int64_t k = 0; k < n; k++)
                        for (int64_t w = 0; w < f.width[i]; w++) {
                            double x = f.chunk[i][(k / BBI_PANEL * f.width[i] + w) * BBI_PANEL + k % BBI_PANEL];
                            l[k * f.rank + at + w] = x;
                            left -= x * x;
                        }
                assert_true(fabs(left - f.trace_left) < 1e-9 * f.trace);
                for (int64_t k = 0; k < 2 * n; k++) r[k] = uniform(&random);
                bbi_factor_solve(&f, 2, r, z, scratch);
                for (int e = 0; e < 2; e++)
                    for (int64_t k = 0; k < n; k++) {
                        back[2 * k + e] = f.mu * z[2 * k + e];
                        for (int64_t w = 0; w < f.rank; w++)
                            for (int64_t i = 0; i < n; i++)
                                back[2 * k + e] += l[k * f.rank + w] * l[i * f.rank + w] * z[2 * i + e];
                    }
                for (int64_t k = 0; k < 2 * n; k++) assert_true(fabs(back[k] - r[k]) < 1e-8);
                free(scratch), free(l);
                bbi_factor_free(&f);
                bbi_matrix_close(&m);
                case_close(&c);
            }
}

/* ---- the interface, as a program would use it ------------------------------------------------- */
static int identity_plus_ones(void *data, int64_t columns, const double *x, double *y) {
    int64_t rows = *(const int64_t *)data;
    for (int64_t e = 0; e < columns; e++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++) sum += x[i * columns + e];
        for (int64_t i = 0; i < rows; i++) y[i * columns + e] = x[i * columns + e] + sum;
    }
    return 0;
}

static void an_example(void **state) {
    (void)state;
    enum { N = 100 };
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    double x[N * 2], b[N], a[N], s[1] = {0.5};
    const int64_t x_shape[2] = {N, 2}, b_shape[2] = {N, 1}, s_shape[1] = {1};
    for (int k = 0; k < N; k++) x[2 * k] = k % 10 / 10.0, x[2 * k + 1] = k / 10 / 10.0, b[k] = x[2 * k] * x[2 * k + 1];
    EXPECT_OK(bb_context_new(&context));
    EXPECT_OK(bb_program_parse(context, "sum_j(exp(-sqdist(x:i2, y:j2) / s:p1) * b:j1)", NULL, 0, &program));
    EXPECT_OK(bb_compile(program, NULL, &kernel));
    bb_array inputs[4] = {bb_array_of(x, BB_FLOAT64, 2, x_shape), bb_array_of(x, BB_FLOAT64, 2, x_shape),
                          bb_array_of(s, BB_FLOAT64, 1, s_shape), bb_array_of(b, BB_FLOAT64, 2, b_shape)};
    bb_array solution = bb_array_of(a, BB_FLOAT64, 2, b_shape);

    bb_solve_options solve = {.size = sizeof solve, .alpha = 0.01, .tolerance = 1e-8, .relative = 1};
    bb_solve_result solved = {.size = sizeof solved};
    EXPECT_OK(bb_solve(kernel, inputs, 4, 3, &solution, &solve, &solved)); /* (K + alpha I) a = b */
    assert_true(solved.residual <= 2e-8);

    bb_matrix matrix = {.size = sizeof matrix, .kernel = kernel, .inputs = inputs, .input_count = 4, .unknown = 3};
    bb_trace_options trace = {.size = sizeof trace, .alpha = 0.01};
    bb_eigen_options eigen = {.size = sizeof eigen, .count = 3};
    double logdet, exact, error, sum, values[3], vectors[N * 3];
    EXPECT_OK(bb_logdet(&matrix, &trace, &exact, NULL, NULL)); /* small: from the dense matrix */
    trace.dense_rows = -1;
    EXPECT_OK(bb_logdet(&matrix, &trace, &logdet, &error, NULL)); /* an estimate */
    assert_true(fabs(logdet - exact) <= 1.5 * error);
    EXPECT_OK(bb_trace(&matrix, &trace, &sum, NULL, NULL));
    assert_true(fabs(sum - 1.01 * N) < 1e-9);
    EXPECT_OK(bb_eigen(&matrix, &eigen, values, vectors, NULL));
    assert_true(values[0] <= values[1] && values[1] <= values[2] && values[2] < N);

    int64_t rows = N;
    bb_matrix other = {.size = sizeof other, .rows = N, .multiply = identity_plus_ones, .data = &rows};
    bb_array right = bb_array_of(b, BB_FLOAT64, 2, b_shape);
    solve.alpha = 0;
    EXPECT_OK(bb_solve_matrix(&other, &right, &solution, &solve, &solved)); /* a matrix known by its products */
    double total = 0, wanted = 0;
    for (int k = 0; k < N; k++) total += a[k], wanted += b[k] / (N + 1.0);
    assert_true(fabs(total - wanted) < 1e-6 * wanted);
    EXPECT_OK(bb_eigen(&other, &eigen, values, NULL, NULL));
    assert_true(fabs(values[2] - (N + 1)) < 1e-8);

    bb_kernel_release(kernel);
    bb_program_release(program);
    bb_context_release(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops), cmocka_unit_test(cholesky_solves),
        cmocka_unit_test(formulas_tell_their_structure),     cmocka_unit_test(entries_are_those_of_products),
        cmocka_unit_test(factors_are_what_they_say),         cmocka_unit_test(an_example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
