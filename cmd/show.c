/* benben show: the texts that a formula turns into on its way to a kernel. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

enum { MAX_DECLARATIONS = 64 };

static const char help[] =
    "usage: benben show FORMULA [NAME:i3 NAME:j3 NAME:p1 ...] [OPTIONS]\n\n"
    "Prints what a formula becomes. Variables are declared by name, place and dimension, or written so in place.\n\n"
    "  -s, --stage STAGE   parsed, simplified, gradient, plan, source, cuda or opencl;\n"
    "                      several times, or with commas.\n"
    "                      Without it: all but the sources\n"
    "      --of VARIABLES  show the stages of the gradient with respect to these, x,y: the formula's own otherwise\n"
    "      --dtype TYPE    of the source: float32 (default) or float64\n"
    "      --size MxN      say which processor so many rows and columns in host memory are given to, and why\n";

typedef struct showing {
    bool parsed, simplified, gradient, plan, source, cuda, opencl;
    const char *of;
    int64_t m, n; /* of `--size`; 0: not given */
    bb_dtype dtype;
} showing;

static bool add_stages(showing *s, const char *text) {
    const char *const names[] = {"parsed", "simplified", "gradient", "plan", "source", "cuda", "opencl"};
    bool *const flags[] = {&s->parsed, &s->simplified, &s->gradient, &s->plan, &s->source, &s->cuda, &s->opencl};
    while (*text) {
        size_t length = strcspn(text, ",");
        int k = 0;
        while (k < 7 && (strlen(names[k]) != length || strncmp(names[k], text, length) != 0)) k++;
        if (k == 7) {
            complain(EXIT_USAGE, "--stage %.*s: expected parsed, simplified, gradient, plan, source, cuda or opencl",
                     (int)length, text);
            return false;
        }
        *flags[k] = true;
        text += length + (text[length] == ',');
    }
    return true;
}

static int show_text(const bb_program *program, const char *title, const char *what, bb_dtype dtype) {
    char *text;
    if (bb_program_show(program, what, dtype, &text) != BB_OK) return complain_status();
    size_t length = strlen(text);
    printf("---- %s\n%s%s", title, text, length && text[length - 1] == '\n' ? "" : "\n");
    bb_free(text);
    return 0;
}

int gradient_of(const bb_program *program, const char *names, bb_program **gradient) {
    int wanted[MAX_DECLARATIONS], count = 0, variables = bb_program_variable_count(program);
    if (variables > MAX_DECLARATIONS) return complain(EXIT_USAGE, "more than %d variables", MAX_DECLARATIONS);
    for (int k = 0; !names && k < variables; k++) {
        wanted[count++] = k;
    }
    while (names && *names && count < MAX_DECLARATIONS) {
        size_t length = strcspn(names, ",");
        int found = -1;
        for (int k = 0; k < variables; k++) {
            bb_variable_info info;
            if (bb_program_variable(program, k, &info) != BB_OK) return complain_status();
            if (strlen(info.name) == length && strncmp(info.name, names, length) == 0) found = k;
        }
        if (found < 0) return complain(EXIT_USAGE, "--of %.*s: the formula has no such variable", (int)length, names);
        wanted[count++] = found;
        names += length + (names[length] == ',');
    }
    return bb_grad(program, wanted, count, NULL, 0, gradient) == BB_OK ? 0 : complain_status();
}

static int show_target(const showing *s, const bb_program *program) {
    char *why;
    if (bb_program_target(program, s->dtype, s->m, s->n, 1, NULL, &why) != BB_OK) return complain_status();
    printf("---- target\n%s\n", why);
    bb_free(why);
    return 0;
}

static int show_program(const showing *s, const bb_program *program) {
    int code = s->m > 0 ? show_target(s, program) : 0;
    if (!code && s->parsed) code = show_text(program, "parsed", "parsed", s->dtype);
    if (!code && s->simplified) code = show_text(program, "simplified", "dag", s->dtype);
    if (!code && s->gradient) {
        bb_program *gradient;
        code = gradient_of(program, NULL, &gradient);
        if (!code) {
            code = show_text(gradient, "gradient", "dag", s->dtype);
            bb_program_release(gradient);
        }
    }
    if (!code && s->plan) code = show_text(program, "plan", "plan", s->dtype);
    if (!code && s->source) code = show_text(program, "source", "source", s->dtype);
    if (!code && s->cuda) code = show_text(program, "cuda", "cuda", s->dtype);
    if (!code && s->opencl) code = show_text(program, "opencl", "opencl", s->dtype);
    return code;
}

static int show(const showing *s, const char *formula, const char *const *declarations, int count) {
    bb_context *context;
    bb_program *program;
    if (bb_context_new(&context) != BB_OK) return complain_status();
    int code = 0;
    if (bb_program_parse(context, formula, declarations, count, &program) != BB_OK) {
        code = complain_status();
    } else if (s->of) {
        bb_program *gradient;
        code = gradient_of(program, s->of, &gradient);
        if (!code) {
            code = show_program(s, gradient);
            bb_program_release(gradient);
        }
        bb_program_release(program);
    } else {
        code = show_program(s, program);
        bb_program_release(program);
    }
    bb_context_release(context);
    return code;
}

static bool parse_size(showing *s, const char *text) {
    char *end;
    double m = strtod(text, &end), n = *end == 'x' ? strtod(end + 1, &end) : 0;
    if (*end || !(m >= 1 && m < 1e15 && n >= 1 && n < 1e15)) {
        complain(EXIT_USAGE, "--size %s: expected rows and columns, 10000x1e6", text);
        return false;
    }
    s->m = (int64_t)m;
    s->n = (int64_t)n;
    return true;
}

int command_show(int argc, char **argv) {
    static const struct option options[] = {{"stage", required_argument, NULL, 's'},
                                            {"of", required_argument, NULL, 'o'},
                                            {"dtype", required_argument, NULL, 'd'},
                                            {"size", required_argument, NULL, 'z'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    showing s = {.dtype = BB_FLOAT32};
    for (int letter; (letter = getopt_long(argc, argv, "s:h", options, NULL)) != -1;) {
        if (letter == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (letter == '?' || (letter == 's' && !add_stages(&s, optarg)) ||
            (letter == 'd' && !parse_dtype(optarg, &s.dtype))) {
            return EXIT_USAGE;
        }
        if (letter == 'o') s.of = optarg;
        if (letter == 'z' && !parse_size(&s, optarg)) return EXIT_USAGE;
    }
    if (optind == argc) return complain(EXIT_USAGE, "show needs a formula: benben show --help tells more");
    if (argc - optind - 1 > MAX_DECLARATIONS) return complain(EXIT_USAGE, "more than %d variables", MAX_DECLARATIONS);
    if (!s.parsed && !s.simplified && !s.gradient && !s.plan && !s.source && !s.cuda && !s.opencl) {
        s.parsed = s.simplified = s.gradient = s.plan = true;
    }
    return show(&s, argv[optind], (const char *const *)argv + optind + 1, argc - optind - 1);
}
