/* test_prelude_text.c: the text of the prelude's functions: an emitted kernel takes only the blocks that it
 * uses and those which their opening lines name, so that what a block uses must be named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 512, WORD = 32, BLOCKS = 64 };
typedef struct word {
    char text[WORD];
    int block; /* where it stands first: there it is defined, -1 in the vocabulary */
} word;
static word words[WORDS];
static int word_count, block_count;
static char needs[BLOCKS][BLOCKS]; /* needs[a][b]: a cannot do without b */
static char names[BLOCKS][256];

/* The next identifier that the prelude could have defined (v_, bb_, BB_); 0 at the end. */
static int next_word(const char **at, const char *end, char *text) {
    for (const char *p = *at; p < end;) {
        size_t n = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        if (n > 0 && n < WORD && (!strncmp(p, "v_", 2) || !strncmp(p, "bb_", 3) || !strncmp(p, "BB_", 3))) {
            memcpy(text, p, n);
            text[n] = 0;
            *at = p + n;
            return 1;
        }
        p += n > 0 ? n : 1;
    }
    *at = end;
    return 0;
}

static int home_of(const char *text, int reader) {
    for (int i = 0; i < word_count; i++) {
        if (!strcmp(words[i].text, text)) {
            return words[i].block;
        }
    }
    assert_true(word_count < WORDS);
    memcpy(words[word_count].text, text, WORD);
    words[word_count++].block = reader;
    return reader;
}

static char *read_prelude(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/src/backend/prelude/%s", BBI_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 18);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 18) - 1, file) > 0);
    fclose(file);
    return text;
}

/* Reads the line that opens a block: what it names, and, with what those need in turn, what it needs. */
static void read_head(const char *head, const char *end) {
    const char *colon = memchr(head, ':', (size_t)(end - head)), *at = colon;
    char text[WORD];
    assert_non_null(colon);
    memcpy(names[block_count], head, (size_t)(colon - head));
    needs[block_count][block_count] = 1;
    while (next_word(&at, end, text)) {
        int found = 0;
        for (int b = 0; b < block_count; b++) {
            const char *name = strstr(names[b], text);
            if (name && name[strlen(text)] == ' ') {
                found = 1;
                for (int c = 0; c <= b; c++) {
                    needs[block_count][c] |= needs[b][c];
                }
            }
        }
        if (!found) {
            fail_msg("%s needs %s, which no earlier block names", names[block_count], text);
        }
    }
}

static const char *const math_files[] = {"math.h", "math_trig.h", "math_special.h"};

/* The blocks of a file behind those of the files before it. */
static void check_blocks(const char *math) {
    char text[WORD];
    for (const char *mark = strstr(math, "/*@"); mark; block_count++) {
        const char *next = strstr(mark + 1, "/*@"), *end = next ? next : mark + strlen(mark);
        const char *line = strchr(mark, '\n');
        assert_true(block_count < BLOCKS);
        read_head(mark, line);
        for (const char *at = line; next_word(&at, end, text);) {
            int home = home_of(text, block_count);
            if (home >= 0 && !needs[block_count][home]) {
                fail_msg("%s uses %s of %s without naming it", names[block_count], text, names[home]);
            }
        }
        mark = next;
    }
}

static void blocks_name_all_they_need(void **unused) {
    char *vocabulary = read_prelude("cpu.h"), text[WORD];
    const char *at = vocabulary;
    while (next_word(&at, vocabulary + strlen(vocabulary), text)) {
        home_of(text, -1);
    }
    for (int i = 0; i < 3; i++) {
        int before = block_count;
        char *math = read_prelude(math_files[i]);
        check_blocks(math);
        free(math);
        assert_true(block_count > before);
    }
    assert_true(block_count > 30);
    free(vocabulary);
}

static void the_prelude_includes_nothing(void **unused) {
    for (int i = -1; i < 3; i++) {
        char *text = read_prelude(i < 0 ? "cpu.h" : math_files[i]);
        assert_null(strstr(text, "#include"));
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_name_all_they_need),
        cmocka_unit_test(the_prelude_includes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
