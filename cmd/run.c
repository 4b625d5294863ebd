/* benben run: binds the names of a formula to files and numbers, computes, writes or prints the results. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

static const char help[] =
    "usage: benben run FORMULA NAME=FILE.npy:i NAME=FILE.npy:j NAME=FILE.npy:p NAME=NUMBER[,NUMBER...] [OPTIONS]\n\n"
    "Arrays have the shape (..., rows, dim); the letter says whether the rows are the i's or the j's, or that there\n"
    "are none (p: a parameter of shape (..., dim)). It may be left out where the formula says it (x:i3, s:p1).\n\n"
    "  -o, --output FILE.npy  where the result goes; once per output. Without it results are printed\n"
    "      --dtype TYPE       convert everything to float16, bfloat16, float32 or float64\n"
    "      --target TARGET    auto, interp (no compiler), cpu, cuda or opencl\n"
    "      --device N         number of the device of cuda and opencl (benben devices lists them)\n"
    "      --threads N        0: all cores\n"
    "      --sum SCHEME       auto, block, kahan or direct\n"
    "      --rows-i M, --rows-j N  numbers of rows that no array tells\n"
    "      --time             say how long it took, the first time and once warm\n\n"
    "Several formulas are separated by semicolons.\n";

static int choose(const char *option, const char *text, const char *const *names, int count) {
    for (int k = 0; k < count; k++) {
        if (strcmp(text, names[k]) == 0) return k;
    }
    fprintf(stderr, "benben: %s %s: expected", option, text);
    for (int k = 0; k < count; k++) {
        fprintf(stderr, "%s %s", k == 0 ? "" : k + 1 == count ? " or" : ",", names[k]);
    }
    fputc('\n', stderr);
    return -1;
}

/* ---- NAME=VALUE ------------------------------------------------------------------------------ */
/* A list of numbers: fills the array as a parameter. False, without a word, when the text is something else. */
static bool parse_numbers(const char *text, npy *array) {
    int64_t count = 1;
    for (const char *at = text; *at; at++) {
        count += *at == ',';
    }
    double *values = allocate((size_t)count * sizeof *values);
    for (int64_t k = 0; k < count; k++) {
        char *end;
        values[k] = strtod(text, &end);
        if (end == text || *end != (k + 1 < count ? ',' : 0)) {
            free(values);
            return false;
        }
        text = end + 1;
    }
    *array =
        (npy){.data = values, .ndim = 1, .shape = {count}, .strides = {1}, .count = count, .kind = 'f', .bytes = 8};
    return true;
}

/* A vector given for rows is a column of width 1; a scalar given as a parameter has width 1. */
static void raise_rank(binding *b) {
    npy *array = &b->array;
    int rank = b->letter == 'p' ? 1 : 2;
    while (array->ndim < rank) {
        array->shape[array->ndim] = 1;
        array->strides[array->ndim++] = 1;
    }
}

bool job_parse_binding(job *j, const char *argument) {
    const char *equals = strchr(argument, '=');
    if (!equals || equals == argument || equals - argument >= NAME_SIZE) {
        complain(EXIT_USAGE, "'%s': expected NAME=FILE.npy:i, :j or :p, or NAME=NUMBER", argument);
        return false;
    }
    if (j->binding_count == MAX_BINDINGS) {
        complain(EXIT_USAGE, "more than %d variables", MAX_BINDINGS);
        return false;
    }
    binding *b = &j->bindings[j->binding_count];
    snprintf(b->name, sizeof b->name, "%.*s", (int)(equals - argument), argument);
    for (int k = 0; k < j->binding_count; k++) {
        if (strcmp(j->bindings[k].name, b->name) != 0) continue;
        complain(EXIT_USAGE, "%s is given twice", b->name);
        return false;
    }
    b->text = equals + 1;
    b->is_number = parse_numbers(b->text, &b->array);
    if (b->is_number) {
        b->letter = 'p';
    } else {
        size_t length = strlen(b->text);
        bool has_letter = length > 2 && b->text[length - 2] == ':' && strchr("ijp", b->text[length - 1]);
        char *path = allocate(length + 1);
        memcpy(path, b->text, length + 1);
        if (has_letter) {
            b->letter = b->text[length - 1];
            path[length - 2] = 0;
        }
        bool loaded = npy_load(path, &b->array);
        free(path);
        if (!loaded) return false;
    }
    j->binding_count++;
    if (b->letter) raise_rank(b);
    return true;
}

/* ---- the program ----------------------------------------------------------------------------- */
static bool parse_program(job *j) {
    char texts[MAX_BINDINGS][NAME_SIZE + 32];
    const char *declarations[MAX_BINDINGS];
    int count = 0;
    for (int k = 0; k < j->binding_count; k++) {
        const binding *b = &j->bindings[k];
        if (!b->letter) continue;
        long long dim = (long long)b->array.shape[b->array.ndim - 1];
        snprintf(texts[count], sizeof *texts, "%s:%c%lld", b->name, b->letter, dim);
        declarations[count] = texts[count];
        count++;
    }
    return bb_context_new(&j->context) == BB_OK &&
           bb_program_parse(j->context, j->formula, declarations, count, &j->program) == BB_OK;
}

static binding *find_binding(job *j, const char *name) {
    for (int k = 0; k < j->binding_count; k++) {
        if (strcmp(j->bindings[k].name, name) == 0) return &j->bindings[k];
    }
    return NULL;
}

/* The type of everything whose own type says nothing (numbers, integers): that of the arrays. */
static bool choose_dtype(job *j) {
    if (j->has_dtype) return true;
    const binding *seen = NULL;
    for (int k = 0; k < j->binding_count; k++) {
        const binding *b = &j->bindings[k];
        bb_dtype dtype;
        if (b->is_number || !npy_dtype(&b->array, &dtype)) continue;
        if (seen && (j->dtype == BB_FLOAT64) != (dtype == BB_FLOAT64)) {
            complain(EXIT_USAGE, "%s is %s and %s is %s: choose one with --dtype", seen->name, dtype_name(j->dtype),
                     b->name, dtype_name(dtype));
            return false;
        }
        j->dtype = seen && j->dtype != dtype ? BB_FLOAT32 : dtype;
        seen = b;
    }
    if (!seen) j->dtype = BB_FLOAT64;
    return true;
}

static void convert_bindings(job *j) {
    bb_dtype number_dtype = j->dtype == BB_FLOAT64 ? BB_FLOAT64 : BB_FLOAT32;
    for (int k = 0; k < j->binding_count; k++) {
        binding *b = &j->bindings[k];
        bb_dtype dtype;
        bool is_float = npy_dtype(&b->array, &dtype);
        if (b->is_number) {
            npy_convert(&b->array, number_dtype);
        } else if (!is_float) {
            complain(0, "%s holds integers: read as %s", b->name, dtype_name(j->dtype));
            npy_convert(&b->array, j->dtype);
        } else if (j->has_dtype) {
            npy_convert(&b->array, j->dtype);
        }
    }
}

static bool bind_inputs(job *j) {
    j->input_count = bb_program_variable_count(j->program);
    if (j->input_count > MAX_BINDINGS) {
        complain(EXIT_USAGE, "more than %d variables", MAX_BINDINGS);
        return false;
    }
    for (int k = 0; k < j->input_count; k++) {
        bb_variable_info info;
        if (bb_program_variable(j->program, k, &info) != BB_OK) return complain_status(), false;
        binding *b = find_binding(j, info.name);
        if (!b) {
            char letter = info.place == BB_I ? 'i' : info.place == BB_J ? 'j' : 'p';
            complain(EXIT_USAGE, "the formula's variable '%s' has no value: add %s=FILE.npy:%c", info.name, info.name,
                     letter);
            return false;
        }
        if (!b->letter) {
            b->letter = info.place == BB_NONE ? 'p' : 'i';
            raise_rank(b);
        }
        bb_dtype dtype = BB_FLOAT64;
        npy_dtype(&b->array, &dtype);
        j->inputs[k] = bb_array_of(b->array.data, dtype, b->array.ndim, b->array.shape);
        j->inputs[k].strides = b->array.strides;
    }
    return true;
}

static bool make_outputs(job *j) {
    j->output_count = bb_program_output_count(j->program);
    if (j->output_count > MAX_OUTPUTS || (j->path_count && j->path_count != j->output_count)) {
        complain(EXIT_USAGE, "the formula has %d output%s, -o was given %d time%s", j->output_count,
                 j->output_count == 1 ? "" : "s", j->path_count, j->path_count == 1 ? "" : "s");
        return false;
    }
    for (int k = 0; k < j->output_count; k++) {
        bb_output_info info;
        int ndim;
        if (bb_program_output(j->program, k, &info) != BB_OK ||
            bb_output_shape(j->kernel, j->inputs, j->input_count, &j->run, k, j->shapes[k], NPY_DIMENSIONS, &ndim) !=
                BB_OK) {
            return complain_status(), false;
        }
        bb_dtype dtype = info.is_index ? BB_INT64 : j->dtype;
        size_t count = 1;
        for (int axis = 0; axis < ndim; axis++) {
            count *= (size_t)j->shapes[k][axis];
        }
        j->outputs[k] = bb_array_of(allocate(count * dtype_bytes(dtype)), dtype, ndim, j->shapes[k]);
    }
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */
static double pair_count(const job *j) {
    double rows[4] = {0}, pairs = 1;
    rows[BB_I] = (double)j->run.rows_i;
    rows[BB_J] = (double)j->run.rows_j;
    for (int k = 0; k < j->input_count; k++) {
        bb_variable_info info;
        if (bb_program_variable(j->program, k, &info) != BB_OK || info.place == BB_NONE) continue;
        rows[info.place] = (double)j->inputs[k].shape[j->inputs[k].ndim - 2];
    }
    for (int axis = BB_I; axis <= BB_J; axis++) {
        if (rows[axis] > 0) pairs *= rows[axis];
    }
    for (int axis = 0; j->output_count && axis + 2 < j->outputs[0].ndim; axis++) {
        pairs *= (double)j->shapes[0][axis];
    }
    return pairs;
}

static bb_status run_once(job *j) {
    progress_begin(&j->progress, "computing");
    bb_status status = bb_run(j->kernel, j->inputs, j->input_count, j->outputs, j->output_count, &j->run);
    progress_end(&j->progress);
    return status;
}

/* A short computation is repeated, so that the time is not that of the compiler. */
static bb_status run_timed(job *j) {
    double start = now();
    bb_status status = run_once(j);
    double first = now() - start, best = first;
    bb_statistics statistics = {.size = sizeof statistics};
    if (status != BB_OK || bb_get_statistics(&statistics) != BB_OK) return status;
    int more = 0;
    if (first < 5 && bb_kernel_wait(j->kernel) == BB_OK) {
        for (double began = now(); more < 1000 && now() - began < 1; more++) {
            start = now();
            status = run_once(j);
            if (status != BB_OK) return status;
            double took = now() - start;
            if (!more || took < best) best = took;
        }
    }
    const char *reason = "";
    bb_target tier = bb_kernel_tier(j->kernel, j->dtype, &reason);
    fprintf(stderr, "first run %.4g s (%lld compiled, %lld from the cache)", first, (long long)statistics.compiles,
            (long long)statistics.disk_hits);
    if (more) fprintf(stderr, ", best of %d more %.4g s", more, best);
    fprintf(stderr, ": %.3g pairs/s, %s; peak memory %.0f MB\n", pair_count(j) / best,
            tier == BB_TARGET_INTERP ? "interpreted"
            : tier == BB_TARGET_CPU  ? "compiled"
            : tier == BB_TARGET_CUDA ? "cuda"
                                     : "opencl",
            (double)statistics.peak_memory / 1e6);
    if (*reason) fprintf(stderr, "interpreted because: %s\n", reason);
    return status;
}

int job_prepare(job *j) {
    if (!parse_program(j)) return complain_status();
    if (!choose_dtype(j)) return EXIT_USAGE;
    convert_bindings(j);
    if (!bind_inputs(j)) return EXIT_USAGE;
    if (bb_compile(j->program, &j->compile, &j->kernel) != BB_OK) return complain_status();
    if (!make_outputs(j)) return EXIT_USAGE;
    catch_interrupt();
    return 0;
}

static int execute(job *j) {
    int code = job_prepare(j);
    if (code) return code;
    bb_status status = j->time ? run_timed(j) : run_once(j);
    if (status == BB_CANCELLED) return complain(EXIT_CANCELLED, "cancelled");
    return status == BB_OK ? job_deliver(j) : complain_status();
}

int job_deliver(const job *j) {
    for (int k = 0; k < j->output_count; k++) {
        bb_dtype dtype = j->outputs[k].dtype_code == 0 ? BB_INT64 : j->dtype;
        if (j->path_count) {
            const bb_array *a = &j->outputs[k];
            if (!npy_save(j->paths[k], dtype, a->ndim, a->shape, a->data)) return EXIT_FAILED;
        } else {
            if (k) putchar('\n');
            print_array(stdout, dtype, j->outputs[k].ndim, j->shapes[k], j->outputs[k].data);
        }
    }
    return 0;
}

void job_release(job *j) {
    for (int k = 0; k < j->output_count; k++) {
        free(j->outputs[k].data);
    }
    for (int k = 0; k < j->binding_count; k++) {
        npy_free(&j->bindings[k].array);
    }
    if (j->kernel) bb_kernel_release(j->kernel);
    if (j->program) bb_program_release(j->program);
    if (j->context) bb_context_release(j->context);
    free(j);
}

/* ---- the command line ------------------------------------------------------------------------ */
enum {
    OPTION_DTYPE = 256,
    OPTION_TARGET,
    OPTION_THREADS,
    OPTION_SUM,
    OPTION_ROWS_I,
    OPTION_ROWS_J,
    OPTION_TIME,
    OPTION_DEVICE
};
const struct option job_options[] = {{"output", required_argument, NULL, 'o'},
                                     {"dtype", required_argument, NULL, OPTION_DTYPE},
                                     {"target", required_argument, NULL, OPTION_TARGET},
                                     {"threads", required_argument, NULL, OPTION_THREADS},
                                     {"sum", required_argument, NULL, OPTION_SUM},
                                     {"rows-i", required_argument, NULL, OPTION_ROWS_I},
                                     {"rows-j", required_argument, NULL, OPTION_ROWS_J},
                                     {"time", no_argument, NULL, OPTION_TIME},
                                     {"device", required_argument, NULL, OPTION_DEVICE},
                                     {"help", no_argument, NULL, 'h'},
                                     {0}};

bool job_take_option(job *j, int letter, const char *argument) {
    static const char *const targets[] = {"auto", "interp", "cpu", "cuda", "opencl"};
    static const char *const sums[] = {"auto", "block", "kahan", "direct"};
    int64_t number;
    int chosen;
    switch (letter) {
    case 'o':
        if (j->path_count == MAX_OUTPUTS) return complain(EXIT_USAGE, "more than %d outputs", MAX_OUTPUTS), false;
        j->paths[j->path_count++] = argument;
        return true;
    case OPTION_DTYPE: j->has_dtype = true; return parse_dtype(argument, &j->dtype);
    case OPTION_TARGET:
        chosen = choose("--target", argument, targets, 5);
        j->compile.target = (bb_target)chosen;
        return chosen >= 0;
    case OPTION_SUM:
        chosen = choose("--sum", argument, sums, 4);
        j->compile.sum_scheme = (bb_sum_scheme)chosen;
        return chosen >= 0;
    case OPTION_THREADS:
        if (!parse_integer(argument, "--threads", 0, 4096, &number)) return false;
        j->run.threads = (int)number;
        return true;
    case OPTION_DEVICE:
        if (!parse_integer(argument, "--device", 0, 1024, &number)) return false;
        j->compile.device = (int)number;
        return true;
    case OPTION_ROWS_I: return parse_integer(argument, "--rows-i", 1, INT64_MAX / 2, &j->run.rows_i);
    case OPTION_ROWS_J: return parse_integer(argument, "--rows-j", 1, INT64_MAX / 2, &j->run.rows_j);
    case OPTION_TIME: j->time = true; return true;
    default: return false;
    }
}

int command_run(int argc, char **argv) {
    job *j = allocate(sizeof *j);
    memset(j, 0, sizeof *j);
    j->compile.size = sizeof j->compile;
    j->run = (bb_run_options){
        .size = sizeof j->run, .progress = progress_report, .progress_data = &j->progress, .cancel = &interrupted};
    int code = 0;
    bool good = true;
    for (int letter; good && (letter = getopt_long(argc, argv, "o:h", job_options, NULL)) != -1;) {
        if (letter == 'h') {
            fputs(help, stdout);
            job_release(j);
            return 0;
        }
        good = job_take_option(j, letter, optarg);
    }
    if (good && optind == argc) {
        complain(EXIT_USAGE, "run needs a formula: benben run --help tells more");
        good = false;
    }
    if (good) j->formula = argv[optind++];
    for (; good && optind < argc; optind++) {
        good = job_parse_binding(j, argv[optind]);
    }
    code = good ? execute(j) : EXIT_USAGE;
    job_release(j);
    return code;
}
