/* benben ops, doctor, cache: printed from the library's own introspection alone. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static void print_json_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 32)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void json_field(const char *name, const char *text) {
    printf("\"%s\": ", name);
    print_json_text(text ? text : "");
    fputs(", ", stdout);
}

static void ops_json(void) {
    bb_op_info op;
    bb_reduction_info reduction;
    puts("{\"operations\": [");
    for (int k = 0; bb_op(k, &op) == BB_OK; k++) {
        printf("%s {", k ? ",\n" : "");
        json_field("name", op.name);
        json_field("alias", op.alias);
        json_field("kind", op.kind);
        json_field("doc", op.doc);
        printf("\"arity\": %d, \"integers\": %d, \"cost\": %g, \"differentiable\": %s}", op.arity, op.integers, op.cost,
               op.differentiable ? "true" : "false");
    }
    puts("],\n\"reductions\": [");
    for (int k = 0; bb_reduction(k, &reduction) == BB_OK; k++) {
        printf("%s {", k ? ",\n" : "");
        json_field("name", reduction.name);
        json_field("alias", reduction.alias);
        json_field("doc", reduction.doc);
        printf("\"takes_k\": %s, \"formulas\": %d, \"is_index\": %s}", reduction.takes_k ? "true" : "false",
               reduction.formulas, reduction.is_index ? "true" : "false");
    }
    puts("]}");
}

/* A bar would end a cell of a Markdown table. */
static void print_cell(const char *text) {
    for (; *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
}

static void ops_table(bool markdown) {
    bb_op_info op;
    bb_reduction_info reduction;
    if (markdown) puts("| operation | KeOps | operands | integers | kind | meaning |\n|---|---|---|---|---|---|");
    for (int k = 0; bb_op(k, &op) == BB_OK; k++) {
        char integers[16] = "any";
        if (op.integers >= 0) snprintf(integers, sizeof integers, "%d", op.integers);
        if (markdown) {
            printf("| `%s` | %s%s%s | %d | %s | %s | ", op.name, *op.alias ? "`" : "", op.alias, *op.alias ? "`" : "",
                   op.arity, integers, op.kind);
            print_cell(op.doc);
            puts(" |");
        } else {
            printf("%-18s %-18s %d operand%s  %s\n", op.name, op.alias, op.arity, op.arity == 1 ? " " : "s", op.doc);
        }
    }
    puts(markdown ? "\n| reduction | KeOps | K | formulas | result | meaning |\n|---|---|---|---|---|---|" : "");
    for (int k = 0; bb_reduction(k, &reduction) == BB_OK; k++) {
        const char *result = reduction.is_index ? "index" : "value", *takes = reduction.takes_k ? "yes" : "";
        if (markdown) {
            printf("| `%s_j`, `%s_i` | `%s_Reduction` | %s | %d | %s | %s |\n", reduction.name, reduction.name,
                   reduction.alias, takes, reduction.formulas, result, reduction.doc);
        } else {
            printf("%-22s %-24s %s\n", reduction.name, reduction.alias, reduction.doc);
        }
    }
}

int command_ops(int argc, char **argv) {
    static const struct option options[] = {
        {"markdown", no_argument, NULL, 'm'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool markdown = false, json = false;
    for (int letter; (letter = getopt_long(argc, argv, "mjh", options, NULL)) != -1;) {
        if (letter == 'h') {
            puts("usage: benben ops [--markdown | --json]\nLists every operation and every reduction.");
            return 0;
        }
        if (letter == '?') return EXIT_USAGE;
        *(letter == 'm' ? &markdown : &json) = true;
    }
    if (optind < argc) return complain(EXIT_USAGE, "ops takes no argument: found '%s'", argv[optind]);
    if (json)
        ops_json();
    else
        ops_table(markdown);
    return 0;
}

int command_doctor(int argc, char **argv) {
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
        if (!help) return complain(EXIT_USAGE, "doctor takes no argument: found '%s'", argv[1]);
        puts("usage: benben doctor\nSays what was found on this machine, what is missing, and the remedy.");
        return 0;
    }
    char *text;
    if (bb_doctor(&text) != BB_OK) return complain_status();
    fputs(text, stdout);
    bb_free(text);
    return 0;
}

static int print_devices(const char *name, bb_target target) {
    int count = 0;
    if (bb_device_count(target, &count) != BB_OK || count == 0) {
        printf("%-7s -   %s\n", name, count == 0 && *bb_last_error() ? bb_last_error() : "no device");
        bb_clear_error();
        return 0;
    }
    for (int k = 0; k < count; k++) {
        bb_device_info info = {.size = sizeof info};
        if (bb_device_about(target, k, &info) != BB_OK) return complain_status();
        printf("%-7s %-3d %s, %.1f GiB", name, k, info.name, (double)info.memory / 1073741824);
        if (info.architecture) printf(", compute capability %d.%d", info.architecture / 10, info.architecture % 10);
        puts(info.has_float64 ? "" : ", no float64");
    }
    return 0;
}

int command_devices(int argc, char **argv) {
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
        if (!help) return complain(EXIT_USAGE, "devices takes no argument: found '%s'", argv[1]);
        puts("usage: benben devices\n"
             "Lists graphics processors: target, number (for --device), name. Where there is none, what is missing.");
        return 0;
    }
    int code = print_devices("cuda", BB_TARGET_CUDA);
    return code ? code : print_devices("opencl", BB_TARGET_OPENCL);
}

int command_cache(int argc, char **argv) {
    static const struct option options[] = {{"clear", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    for (int letter; (letter = getopt_long(argc, argv, "ch", options, NULL)) != -1;) {
        if (letter == 'h') {
            puts("usage: benben cache [--clear]\nShows where compiled kernels are kept, or removes them all.");
            return 0;
        }
        if (letter == '?') return EXIT_USAGE;
        if (bb_cache_clear() != BB_OK) return complain_status();
    }
    if (optind < argc) return complain(EXIT_USAGE, "cache takes no argument: found '%s'", argv[optind]);
    char *path = NULL;
    int64_t entries, bytes;
    if (bb_cache_info(&path, &entries, &bytes) != BB_OK) return complain_status();
    if (path)
        printf("%s: %lld kernels, %.1f MB\n", path, (long long)entries, (double)bytes / 1e6);
    else
        puts("no cache folder: compiled kernels last as long as the process (benben doctor tells why)");
    bb_free(path);
    return 0;
}
