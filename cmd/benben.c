/* The command: subcommands and what they share. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

typedef struct subcommand {
    const char *name, *doc;
    int (*function)(int argc, char **argv);
} subcommand;

static const subcommand subcommands[] = {
    {"run", "compute a formula on .npy files", command_run},
    {"solve", "systems (K + alpha I) a = b with the matrix of a formula", command_solve},
    {"logdet", "log-determinants of such matrices", command_logdet},
    {"eigen", "their largest eigenvalues", command_eigen},
    {"show", "what a formula becomes: parsed, simplified, gradient, plan, source", command_show},
    {"ops", "the operations and reductions (--markdown, --json)", command_ops},
    {"doctor", "what was found on this machine, what is missing and the remedy", command_doctor},
    {"devices", "graphics processors and their numbers", command_devices},
    {"cache", "the cache of compiled kernels (--clear)", command_cache},
    {"aot", "compile formulas ahead, for use without compiler and wait", command_aot},
    {"bench", "times of standard cases beside a plain C loop", command_bench},
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

int complain(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("benben: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return code;
}

int complain_status(void) {
    const char *message = bb_last_error();
    return complain(EXIT_FAILED, "%s", *message ? message : "the library gave no reason");
}

void *allocate(size_t size) {
    void *pointer = malloc(size ? size : 1);
    if (!pointer) exit(complain(EXIT_FAILED, "out of memory: %zu bytes cannot be had", size));
    return pointer;
}

static const char *const dtype_names[] = {"float32", "float64", "float16", "bfloat16", "int64"};

const char *dtype_name(bb_dtype dtype) { return dtype_names[dtype]; }

bool parse_dtype(const char *text, bb_dtype *dtype) {
    for (int k = 0; k < 4; k++) {
        if (strcmp(text, dtype_names[k]) == 0) {
            *dtype = (bb_dtype)k;
            return true;
        }
    }
    complain(EXIT_USAGE, "--dtype %s: expected float16, bfloat16, float32 or float64", text);
    return false;
}

bool parse_integer(const char *text, const char *option, int64_t low, int64_t high, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < low || number > high) {
        complain(EXIT_USAGE, "%s %s: expected an integer from %lld to %lld", option, text, (long long)low,
                 (long long)high);
        return false;
    }
    *value = number;
    return true;
}

static void print_help(FILE *file) {
    fputs("Computes with matrices F(x_i, y_j) that are never stored.\n\n"
          "usage: benben COMMAND [OPTIONS] ...\n\n",
          file);
    for (int k = 0; k < SUBCOMMANDS; k++) {
        fprintf(file, "  %-8s %s\n", subcommands[k].name, subcommands[k].doc);
    }
    fputs("\nbenben COMMAND --help tells more. An example:\n"
          "  benben run 'sum_j(exp(-sqdist(x, y) / s) * b)' x=x.npy:i y=y.npy:j b=b.npy:j s=0.5 -o a.npy\n",
          file);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("benben %s\n", bb_version());
        return 0;
    }
    for (int k = 0; k < SUBCOMMANDS; k++) {
        if (strcmp(name, subcommands[k].name) != 0) continue;
        int code = subcommands[k].function(argc - 1, argv + 1);
        if (fflush(stdout) != 0 && !code) code = complain(EXIT_FAILED, "the output cannot be written");
        return code;
    }
    return complain(EXIT_USAGE, "'%s' is not a command: benben --help lists them", name);
}
