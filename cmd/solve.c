/* benben solve, logdet, eigen: systems with the matrix of a formula that is linear in one of its variables. */
#include <stdlib.h>
#include <string.h>

#include "job.h"

enum {
    OPTION_ALPHA = 512,
    OPTION_RTOL,
    OPTION_PRECONDITION,
    OPTION_METHOD,
    OPTION_RANK,
    OPTION_UNKNOWN,
    OPTION_COUNT,
    OPTION_PROBES,
    OPTION_TOLERANCE,
    OPTION_SEED,
    OPTION_NEIGHBORS
};
typedef enum task { SOLVE, LOGDET, EIGEN } task;
typedef struct request {
    task task;
    double alpha, rtol, tolerance;
    int precondition, method;
    int64_t rank, count, probes, seed, neighbors;
    const char *unknown;
} request;

static const struct option own_options[] = {{"output", required_argument, NULL, 'o'},
                                            {"alpha", required_argument, NULL, OPTION_ALPHA},
                                            {"rtol", required_argument, NULL, OPTION_RTOL},
                                            {"precondition", required_argument, NULL, OPTION_PRECONDITION},
                                            {"method", required_argument, NULL, OPTION_METHOD},
                                            {"rank", required_argument, NULL, OPTION_RANK},
                                            {"unknown", required_argument, NULL, OPTION_UNKNOWN},
                                            {"count", required_argument, NULL, OPTION_COUNT},
                                            {"probes", required_argument, NULL, OPTION_PROBES},
                                            {"tolerance", required_argument, NULL, OPTION_TOLERANCE},
                                            {"neighbors", required_argument, NULL, OPTION_NEIGHBORS},
                                            {"seed", required_argument, NULL, OPTION_SEED},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};

static const char help[] =
    "usage: benben solve  FORMULA NAME=FILE.npy:i NAME=FILE.npy:j ... [OPTIONS]   (K + alpha I) a = b\n"
    "       benben logdet FORMULA NAME=FILE.npy:i NAME=FILE.npy:j ... [OPTIONS]   log det(K + alpha I)\n"
    "       benben eigen  FORMULA NAME=FILE.npy:i NAME=FILE.npy:j ... [OPTIONS]   largest eigenvalues of K\n\n"
    "The formula is a product such as sum_j(exp(-sqdist(x, y) / s) * b), linear in the unknown, its last variable; "
    "both\n"
    "sides are given the same points. The unknown's array is the right-hand side (of the others its shape alone "
    "matters).\n\n"
    "      --unknown NAME       another variable\n"
    "      --alpha NUMBER       ridge, 0\n"
    "      --rtol NUMBER        solve: residual relative to the right-hand side, 1e-6\n"
    "      --method METHOD      solve: auto, cg or minres\n"
    "      --precondition P     auto, none, rpcholesky, nystrom; solve: also blocks (of points near each other), "
    "neighbors\n"
    "      --neighbors N        solve: of each point; chosen where it is left out\n"
    "      --rank N             of the preconditioner; chosen where it is left out\n"
    "      --probes N, --tolerance NUMBER   logdet: random vectors, 16; error that is to be reached\n"
    "      --count N            eigen: how many, 6\n"
    "      --seed N             of random numbers\n"
    "  -o, --output FILE.npy    solve, eigen: the solution, the eigenvectors\n";

static bool parse_number(const char *text, const char *option, double *value) {
    char *end;
    *value = strtod(text, &end);
    if (end != text && !*end && *value >= 0) return true;
    complain(EXIT_USAGE, "%s %s: expected a number of at least 0", option, text);
    return false;
}

static bool choose(const char *option, const char *text, const char *const *names, int *value) {
    for (*value = 0; names[*value]; ++*value)
        if (!strcmp(text, names[*value])) return true;
    complain(EXIT_USAGE, "%s %s is unknown: --help tells what there is", option, text);
    return false;
}

static const char *const preconditioners[] = {"auto", "none", "rpcholesky", "nystrom", "blocks", "neighbors", NULL};

static bool take(request *r, job *j, int letter, const char *argument) {
    static const char *const methods[] = {"auto", "cg", "minres", NULL};
    switch (letter) {
    case OPTION_ALPHA: return parse_number(argument, "--alpha", &r->alpha);
    case OPTION_RTOL: return parse_number(argument, "--rtol", &r->rtol);
    case OPTION_TOLERANCE: return parse_number(argument, "--tolerance", &r->tolerance);
    case OPTION_PRECONDITION: return choose("--precondition", argument, preconditioners, &r->precondition);
    case OPTION_METHOD: return choose("--method", argument, methods, &r->method);
    case OPTION_RANK: return parse_integer(argument, "--rank", 0, INT64_MAX / 2, &r->rank);
    case OPTION_NEIGHBORS: return parse_integer(argument, "--neighbors", 1, 1000, &r->neighbors);
    case OPTION_COUNT: return parse_integer(argument, "--count", 1, 100000, &r->count);
    case OPTION_PROBES: return parse_integer(argument, "--probes", 1, 100000, &r->probes);
    case OPTION_SEED: return parse_integer(argument, "--seed", 0, INT64_MAX / 2, &r->seed);
    case OPTION_UNKNOWN: r->unknown = argument; return true;
    case 'o': return job_take_option(j, letter, argument);
    default: return false;
    }
}

static int find_unknown(const job *j, const char *name) {
    int count = bb_program_variable_count(j->program);
    for (int k = 0; name && k < count; k++) {
        bb_variable_info info;
        if (bb_program_variable(j->program, k, &info) == BB_OK && !strcmp(info.name, name)) return k;
    }
    return name ? -1 : count - 1;
}

static int finish(bb_status status) {
    if (status == BB_CANCELLED) return complain(EXIT_CANCELLED, "cancelled");
    return status == BB_OK ? 0 : complain_status();
}

static int solve(job *j, const request *r, int unknown) {
    bb_solve_options o = {.size = sizeof o,
                          .alpha = r->alpha,
                          .tolerance = r->rtol,
                          .relative = 1,
                          .run = &j->run,
                          .method = (bb_solve_method)r->method,
                          .precondition = (bb_precondition)r->precondition,
                          .rank = r->rank,
                          .neighbor_count = r->neighbors,
                          .seed = (uint64_t)r->seed};
    bb_solve_result found = {.size = sizeof found};
    int code = finish(bb_solve(j->kernel, j->inputs, j->input_count, unknown, j->outputs, &o, &found));
    fprintf(stderr, "%lld iterations, relative residual %.2e, preconditioner %s of rank %lld, %.3g s%s%s\n",
            (long long)found.iterations, found.residual, preconditioners[found.precondition], (long long)found.rank,
            found.seconds, found.remark && *found.remark ? ": " : "", found.remark ? found.remark : "");
    return code ? code : job_deliver(j);
}

static int logdet(const bb_matrix *matrix, const job *j, const request *r) {
    bb_trace_options o = {.size = sizeof o,
                          .alpha = r->alpha,
                          .tolerance = r->tolerance,
                          .probes = r->probes,
                          .precondition = (bb_precondition)r->precondition,
                          .rank = r->rank,
                          .seed = (uint64_t)r->seed};
    bb_trace_result found = {.size = sizeof found};
    int64_t batches = 1;
    for (int k = 0; k + 2 < j->outputs[0].ndim; k++) batches *= j->shapes[0][k];
    double *values = allocate((size_t)(2 * batches) * sizeof *values), *errors = values + batches;
    int code = finish(bb_logdet(matrix, &o, values, errors, &found));
    for (int64_t k = 0; k < batches && !code; k++) printf("%.10g +- %.2g\n", values[k], errors[k]);
    free(values);
    return code;
}

static int eigen(const bb_matrix *matrix, const job *j, const request *r) {
    int64_t rows = j->shapes[0][j->outputs[0].ndim - 2], count = r->count ? r->count : 6, shape[2] = {rows, 0};
    if (count > rows) count = rows;
    shape[1] = count;
    bb_eigen_options o = {.size = sizeof o, .count = count, .seed = (uint64_t)r->seed};
    double *values = allocate((size_t)(count + rows * count) * sizeof *values);
    int code = finish(bb_eigen(matrix, &o, values, values + count, NULL));
    for (int64_t k = 0; k < count && !code; k++) printf("%.10g\n", values[k]);
    if (!code && j->path_count && !npy_save(j->paths[0], BB_FLOAT64, 2, shape, values + count)) code = EXIT_FAILED;
    free(values);
    return code;
}

static int execute(job *j, const request *r) {
    int code = job_prepare(j), unknown = code ? -1 : find_unknown(j, r->unknown);
    if (code) return code;
    if (unknown < 0) return complain(EXIT_USAGE, "--unknown: the formula has no such variable");
    bb_variable_info info;
    if (j->output_count != 1 || bb_program_variable(j->program, unknown, &info) != BB_OK)
        return complain(EXIT_USAGE, "one formula is expected, a product with its last variable");
    if (r->task == SOLVE) return solve(j, r, unknown);
    if (r->task == EIGEN && info.dim != 1)
        return complain(EXIT_USAGE, "eigen: %s has the dimension %lld, expected 1", info.name, (long long)info.dim);
    bb_matrix matrix = {.size = sizeof matrix,
                        .kernel = j->kernel,
                        .inputs = j->inputs,
                        .input_count = j->input_count,
                        .unknown = unknown,
                        .run = &j->run};
    return r->task == LOGDET ? logdet(&matrix, j, r) : eigen(&matrix, j, r);
}

static int command(task what, int argc, char **argv) {
    request r = {.task = what};
    job *j = allocate(sizeof *j);
    memset(j, 0, sizeof *j);
    j->compile.size = sizeof j->compile;
    j->run = (bb_run_options){.size = sizeof j->run, .cancel = &interrupted};
    bool good = true;
    for (int letter; good && (letter = getopt_long(argc, argv, "o:h", own_options, NULL)) != -1;) {
        if (letter == 'h') {
            fputs(help, stdout);
            job_release(j);
            return 0;
        }
        good = take(&r, j, letter, optarg);
    }
    if (good && optind == argc) {
        complain(EXIT_USAGE, "%s needs a formula: benben %s --help tells more", argv[0], argv[0]);
        good = false;
    }
    if (good) j->formula = argv[optind++];
    for (; good && optind < argc; optind++) good = job_parse_binding(j, argv[optind]);
    int code = good ? execute(j, &r) : EXIT_USAGE;
    job_release(j);
    return code;
}

int command_solve(int argc, char **argv) { return command(SOLVE, argc, argv); }
int command_logdet(int argc, char **argv) { return command(LOGDET, argc, argv); }
int command_eigen(int argc, char **argv) { return command(EIGEN, argc, argv); }
