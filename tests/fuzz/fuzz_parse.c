/* fuzz_parse.c: the reader of formulas under random texts. LLVMFuzzerTestOneInput takes one text; the
 * program's own main (left out with -DBENBEN_LIBFUZZER) mutates the formulas of tests/text/formulas.txt for a
 * number of seconds: fuzz_parse [seconds [seed]]. Every text is either refused with a message or gives nodes
 * whose printed form is read back to the same nodes; nothing may leak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SIZE = 4096, MAX_OUTPUTS = 4 };

static void give_up(const char *what, const char *text, const char *detail) {
    fprintf(stderr, "fuzz_parse: %s\ntext: %s\n%s\n", what, text, detail);
    abort();
}

/* Operations that make one node per component would take all memory for a vector of millions, as they must:
 * dimensions stay small. */
static void shorten_numbers(char *text) {
    size_t run = 0, out = 0;
    for (size_t k = 0; text[k]; k++) {
        run = text[k] >= '0' && text[k] <= '9' ? run + 1 : 0;
        if (run <= 2) text[out++] = text[k];
    }
    text[out] = '\0';
}

static void check_reading_back(bbi_context *c, const char *text, const bbi_node *node, bbi_signature *signature) {
    bbi_text printed = {0};
    const bbi_node *again;
    int64_t count;
    bbi_print(&printed, node, signature);
    if (printed.failed) give_up("printing failed", text, "");
    if (printed.length < 100000 && !strstr(printed.data, "...")) {
        if (bbi_parse(c, printed.data, signature, NULL, &again, 1, &count) != BB_OK)
            give_up("the printed form is refused", text, bb_last_error());
        if (again != node) give_up("the printed form gives another node", text, printed.data);
    }
    bbi_text_free(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[MAX_SIZE + 1];
    if (size > MAX_SIZE) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    shorten_numbers(text);
    int64_t live = bbi_live_allocations(), count;
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    const bbi_node *outputs[MAX_OUTPUTS];
    bbi_parse_alias(&signature, "x = Vi(3)");
    bbi_parse_alias(&signature, "y = Vj(3)");
    bbi_parse_alias(&signature, text);
    if (bbi_parse(c, text, &signature, NULL, outputs, MAX_OUTPUTS, &count) == BB_OK) {
        for (int64_t k = 0; k < count; k++) check_reading_back(c, text, outputs[k], &signature);
    } else if (bb_last_error()[0] == '\0') {
        give_up("refused without a message", text, "");
    }
    bbi_signature_free(&signature);
    bbi_context_release(c);
    if (bbi_live_allocations() != live) give_up("memory is left behind", text, "");
    return 0;
}

#ifndef BENBEN_LIBFUZZER
static uint64_t random_state = 1;

static size_t below(size_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return n ? (size_t)(random_state % n) : 0;
}

static char corpus[65536];
static const char *formulas[1000];
static size_t formula_count;

static void read_corpus(void) {
    FILE *file = fopen(BBI_SOURCE_DIR "/tests/text/formulas.txt", "rb");
    size_t size = file ? fread(corpus, 1, sizeof corpus - 1, file) : 0;
    if (file) fclose(file);
    corpus[size] = '\0';
    for (char *line = strtok(corpus, "\n"); line && formula_count < 1000; line = strtok(NULL, "\n")) {
        if (!strchr("#@=!", *line)) formulas[formula_count++] = line;
    }
    if (!formula_count) give_up("no corpus", BBI_SOURCE_DIR "/tests/text/formulas.txt", "");
}

/* A word of the language: an operation's name or alias, an operator, a number. */
static const char *random_word(void) {
    static const char *const words[] = {"(",          ")",
                                        ",",          ";",
                                        "[",          "]",
                                        "**",         "-",
                                        "|",          "x",
                                        "y",          "1",
                                        "2",          "0.5",
                                        "1e9",        "_i(",
                                        "_j(",        ":i2",
                                        " not ",      "sum_j(",
                                        "argkmin_i(", "Sum_Reduction(",
                                        "Var(0,3,0)", "_one_i",
                                        "contract(",  ",0)",
                                        "nan",        "[0],[0]"};
    const bbi_op_row *row = bbi_op_info((int)below(BBI_OP_COUNT));
    if (below(2)) return words[below(sizeof words / sizeof *words)];
    return below(2) && row->alias[0] ? row->alias : row->name;
}

/* Replaces the bytes [from, to) of the text. */
static size_t splice(char *text, size_t size, size_t from, size_t to, const char *piece, size_t length) {
    if (size - (to - from) + length > MAX_SIZE) return size;
    char copy[MAX_SIZE];
    memcpy(copy, piece, length);
    memmove(text + from + length, text + to, size - to);
    memcpy(text + from, copy, length);
    return size - (to - from) + length;
}

static size_t mutate(char *text, size_t size) {
    size_t from = below(size + 1), to = from + below(size - from + 1), length = to - from > 20 ? 20 : to - from;
    const char *other = formulas[below(formula_count)], *word = random_word();
    size_t start = below(strlen(other));
    switch (below(6)) {
    case 0:
        if (from < size) text[from] = (char)below(256);
        return size;
    case 1: return splice(text, size, from, from + length, "", 0);
    case 2: return splice(text, size, from, from, word, strlen(word));
    case 3: return splice(text, size, from, from + below(length + 1), word, strlen(word));
    case 4: return splice(text, size, from, to, other + start, below(strlen(other) - start + 1));
    default: return splice(text, size, below(size + 1), size, text + from, length);
    }
}

int main(int argc, char **argv) {
    const char *wanted = getenv("BENBEN_FUZZ_SECONDS");
    double seconds = argc > 1 ? atof(argv[1]) : wanted ? atof(wanted) : 5;
    if (argc > 2) random_state = strtoull(argv[2], NULL, 10) | 1;
    read_corpus();
    int64_t count = 0;
    double end = bbi_seconds() + seconds;
    while (count % 64 || bbi_seconds() < end) {
        char text[MAX_SIZE + 1];
        size_t size = strlen(formulas[count % (int64_t)formula_count]);
        memcpy(text, formulas[count % (int64_t)formula_count], size);
        for (size_t rounds = below(6); rounds > 0; rounds--) size = mutate(text, size);
        LLVMFuzzerTestOneInput((const uint8_t *)text, size);
        count++;
    }
    printf("fuzz_parse: %lld texts\n", (long long)count);
    return 0;
}
#endif
