/* benben aot: kernels compiled ahead, for programs that shall need neither compiler nor wait. The build of the library
 * makes the kernels inside it with the same command, of a list (src/run/builtin.list). A line of a list is a formula,
 * with words in front of it that say more:
 *
 *     D=1,2,3,10 E=1,5 of=x of=y,b few sum_j(exp(-sqdist(x:iD, y:jD)) * b:jE)
 *
 * D and E stand for dimensions and take each of their values; each `of` adds the gradient with respect to these
 * variables; `few` asks for the schedule of few rows too, not of the gradients; type=float32 keeps to one real type; min=1 to higher vector
 * levels. A # begins a comment. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

enum { MAX_GRADIENTS = 16, MAX_VALUES = 16, MAX_LINE = 4096 };

static const char help[] =
    "usage: benben aot FORMULA ... -o FILE [OPTIONS]\n\n"
    "Compiles what the formulas need ahead of time. The library uses a shared object that BENBEN_AOT=FILE names, or "
    "that\n"
    "the program gives to bb_aot_load; C text is built into a program and given to bb_aot_use.\n\n"
    "  -o, --output FILE   a shared object, or C text where the name ends with .c\n"
    "      --of VARIABLES  the gradient with respect to these too, x,y; several times\n"
    "      --dtype TYPE    float32 or float64; without it both (C text: float32)\n"
    "      --level N       0 baseline, 1 AVX2, 2 AVX-512; without it that of this machine\n"
    "      --name NAME     of the table in C text (benben_aot)\n"
    "      --list FILE     formulas from a file, one on a line: cmd/aot.c tells more\n";

typedef struct request {
    const char *formula;
    const char *of[MAX_GRADIENTS];
    int of_count;
    bool few_rows, few_gradients;
} request;

typedef struct ahead {
    bb_aot *collection;
    bool type[2]; /* wanted */
    int level;
} ahead;

/* ---- collecting ---- */

static int add_program(const ahead *a, const bb_program *program, const bool *type, bool few_rows) {
    for (int t = 0; t < 2; t++) {
        if (!type[t]) continue;
        if (bb_aot_add(a->collection, program, (bb_dtype)t, few_rows) != BB_OK) return complain_status();
    }
    return 0;
}

static int add_formula(const ahead *a, const request *r, const bool *type) {
    bb_context *context;
    bb_program *program, *gradient;
    if (bb_context_new(&context) != BB_OK) return complain_status();
    int code = 0;
    if (bb_program_parse(context, r->formula, NULL, 0, &program) != BB_OK) {
        code = complain_status();
    } else {
        code = add_program(a, program, type, r->few_rows);
        for (int k = 0; k < r->of_count && !code; k++) {
            code = gradient_of(program, r->of[k], &gradient);
            if (code) break;
            code = add_program(a, gradient, type, r->few_gradients);
            bb_program_release(gradient);
        }
        bb_program_release(program);
    }
    bb_context_release(context);
    return code;
}

/* ---- lists ---- */

typedef struct line {
    request request;
    int64_t value[2][MAX_VALUES]; /* of D, E */
    int count[2];
    bool type[2];
    int least;
} line;

static bool read_values(line *l, int which, const char *text) {
    l->count[which] = 0;
    while (*text && l->count[which] < MAX_VALUES) {
        char *end;
        int64_t value = strtoll(text, &end, 10);
        if (end == text || value < 1 || (*end && *end != ',')) return false;
        l->value[which][l->count[which]++] = value;
        text = end + (*end == ',');
    }
    return l->count[which] > 0 && !*text;
}

/* False where the word does not belong in front of a formula: the formula begins. */
static bool read_word(line *l, char *word, bool *bad) {
    if (!strncmp(word, "D=", 2) || !strncmp(word, "E=", 2)) {
        *bad = !read_values(l, word[0] == 'E', word + 2);
    } else if (!strncmp(word, "of=", 3) && l->request.of_count < MAX_GRADIENTS) {
        l->request.of[l->request.of_count++] = word + 3;
    } else if (!strncmp(word, "type=float", 10)) {
        l->type[0] = !strcmp(word + 10, "32");
        l->type[1] = !strcmp(word + 10, "64");
        *bad = !l->type[0] && !l->type[1];
    } else if (!strncmp(word, "min=", 4)) {
        l->least = atoi(word + 4);
    } else if (!strcmp(word, "few")) {
        l->request.few_rows = true;
    } else {
        return false;
    }
    return true;
}

/* The formula with D and E, where they are dimensions (:iD, :jE), replaced. */
static bool fill_in(const char *formula, const int64_t value[2], char *text, size_t size) {
    size_t used = 0;
    for (const char *at = formula; *at; at++) {
        bool dimension = (*at == 'D' || *at == 'E') && at - formula >= 2 && at[-2] == ':' && strchr("ijp", at[-1]);
        int length = dimension ? snprintf(text + used, size - used, "%lld", (long long)value[*at == 'E'])
                               : snprintf(text + used, size - used, "%c", *at);
        used += (size_t)length;
        if (used + 1 >= size) return false;
    }
    return true;
}

static int add_line(const ahead *a, char *text) {
    line l = {.value = {{1}, {1}}, .count = {1, 1}, .type = {true, true}};
    char formula[MAX_LINE];
    bool bad = false;
    for (;;) {
        text += strspn(text, " \t");
        size_t length = strcspn(text, " \t");
        char kept = text[length];
        text[length] = '\0';
        bool word = read_word(&l, text, &bad);
        if (bad) return complain(EXIT_USAGE, "a list of formulas: cannot read '%s'", text);
        if (!word) {
            text[length] = kept;
            break;
        }
        text += length + (kept != '\0');
    }
    if (a->level < l.least) return 0;
    bool type[2] = {l.type[0] && a->type[0], l.type[1] && a->type[1]};
    for (int d = 0; d < l.count[0]; d++)
        for (int e = 0; e < l.count[1]; e++) {
            int64_t value[2] = {l.value[0][d], l.value[1][e]};
            if (!fill_in(text, value, formula, sizeof formula)) return complain(EXIT_USAGE, "too long: %s", text);
            l.request.formula = formula;
            int code = add_formula(a, &l.request, type);
            if (code) return code;
        }
    return 0;
}

static int add_list(const ahead *a, const char *path) {
    char text[MAX_LINE];
    FILE *file = fopen(path, "r");
    if (!file) return complain(EXIT_FAILED, "%s cannot be read", path);
    int code = 0;
    while (!code && fgets(text, sizeof text, file)) {
        text[strcspn(text, "#\r\n")] = '\0';
        if (text[strspn(text, " \t")]) code = add_line(a, text);
    }
    fclose(file);
    return code;
}

/* ---- writing ---- */

/* A file that would not change is left alone, so that what is built of it is not built again. */
static bool unchanged(const char *path, const char *bytes, size_t length) {
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    char *found = malloc(length + 1);
    bool same = found && fread(found, 1, length + 1, file) == length && !memcmp(found, bytes, length);
    free(found);
    fclose(file);
    return same;
}

static int write_file(const char *path, const char *bytes, size_t length) {
    if (unchanged(path, bytes, length)) return 0;
    FILE *file = fopen(path, "wb");
    bool whole = file && fwrite(bytes, 1, length, file) == length;
    if (file && fclose(file) != 0) whole = false;
    return whole ? 0 : complain(EXIT_FAILED, "%s cannot be written", path);
}

static bool is_c(const char *path) {
    size_t length = strlen(path);
    return length > 2 && !strcmp(path + length - 2, ".c");
}

static int write_output(const ahead *a, const char *path, const char *name) {
    int code;
    if (is_c(path)) {
        char *text;
        if (bb_aot_source(a->collection, a->type[0] ? BB_FLOAT32 : BB_FLOAT64, name, &text) != BB_OK)
            return complain_status();
        code = write_file(path, text, strlen(text));
        bb_free(text);
    } else {
        void *bytes;
        size_t length;
        if (bb_aot_object(a->collection, &bytes, &length) != BB_OK) return complain_status();
        code = write_file(path, bytes, length);
        bb_free(bytes);
    }
    if (!code && !is_c(path)) printf("%s: %lld kernels\n", path, (long long)bb_aot_count(a->collection));
    return code;
}

/* ---- command line ---- */

typedef struct arguments {
    const char *output, *name, *list;
    request request;
    bb_dtype dtype;
    bool has_dtype;
    int64_t level;
} arguments;

static bool read_options(int argc, char **argv, arguments *a, bool *helped) {
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'}, {"of", required_argument, NULL, 'f'},
        {"dtype", required_argument, NULL, 'd'},  {"level", required_argument, NULL, 'l'},
        {"name", required_argument, NULL, 'n'},   {"list", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},         {0}};
    for (int letter; (letter = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
        switch (letter) {
        case 'h': return *helped = true;
        case 'o': a->output = optarg; break;
        case 'n': a->name = optarg; break;
        case 't': a->list = optarg; break;
        case 'd':
            if (!parse_dtype(optarg, &a->dtype)) return false;
            a->has_dtype = true;
            break;
        case 'l':
            if (!parse_integer(optarg, "--level", 0, 2, &a->level)) return false;
            break;
        case 'f':
            if (a->request.of_count == MAX_GRADIENTS) return complain(EXIT_USAGE, "too many --of"), false;
            a->request.of[a->request.of_count++] = optarg;
            break;
        default: return false;
        }
    }
    return true;
}

int command_aot(int argc, char **argv) {
    arguments given = {.name = "benben_aot", .level = -1, .request = {.few_rows = true, .few_gradients = true}};
    ahead a = {0};
    bool helped = false;
    if (!read_options(argc, argv, &given, &helped)) return EXIT_USAGE;
    if (helped) {
        fputs(help, stdout);
        return 0;
    }
    if (optind == argc && !given.list) return complain(EXIT_USAGE, "aot needs a formula: benben aot --help tells more");
    if (!given.output) return complain(EXIT_USAGE, "aot needs -o FILE");
    if (given.has_dtype && given.dtype != BB_FLOAT32 && given.dtype != BB_FLOAT64)
        return complain(EXIT_USAGE, "--dtype: kernels compute in float32 (halves too) or float64");
    a.type[0] = !given.has_dtype || given.dtype == BB_FLOAT32;
    a.type[1] = given.has_dtype ? given.dtype == BB_FLOAT64 : !is_c(given.output);
    a.level = given.level < 0 ? 2 : (int)given.level;
    if (bb_aot_new((int)given.level, &a.collection) != BB_OK) return complain_status();
    int code = given.list ? add_list(&a, given.list) : 0;
    for (; optind < argc && !code; optind++) {
        given.request.formula = argv[optind];
        code = add_formula(&a, &given.request, a.type);
    }
    if (!code) code = write_output(&a, given.output, given.name);
    bb_aot_release(a.collection);
    return code;
}
