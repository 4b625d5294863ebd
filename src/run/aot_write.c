/* aot_write.c: a collection of kernels to be compiled ahead. Kernels of one level and real type become one C text: the
 * whole prelude once, then of each kernel what follows BBI_KERNEL_MARK in its own text, with its static functions
 * renamed, and last the table that aot.c searches. What a formula needs is asked of the executables made for it, so that
 * this file knows neither schedules nor variants of kernels. */
#include "aot.h"

#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "compiler.h"
#include "program.h"

typedef struct item {
    uint8_t key[BBI_AOT_KEY];
    bool is_double;
    char *body; /* of its text: what follows the prelude */
} item;

struct bb_aot {
    int level;
    bool few_rows; /* of the program that is being added */
    item *items;
    int64_t count, capacity;
};

static const char *const type_names[] = {"float32", "float64"};

static bb_status no_memory(void) { return bbi_fail(BB_OUT_OF_MEMORY, "no memory for kernels to be compiled ahead"); }

bb_status bb_aot_new(int level, bb_aot **collection) {
    if (!collection) return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_new: collection must not be NULL");
    *collection = NULL;
    if (level < -1 || level > BBI_HAVE_ISA)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_new: level %d; this library knows 0 to %d, and -1 for this machine's",
                        level, (int)BBI_HAVE_ISA);
    bb_aot *made = bbi_calloc(1, sizeof *made);
    if (!made) return no_memory();
    made->level = level < 0 ? bbi_cpu_level() : level;
    *collection = made;
    return BB_OK;
}

void bb_aot_release(bb_aot *collection) {
    if (!collection) return;
    for (int64_t k = 0; k < collection->count; k++) bbi_free(collection->items[k].body);
    bbi_free(collection->items);
    bbi_free(collection);
}

int64_t bb_aot_count(const bb_aot *collection) { return collection ? collection->count : 0; }

/* ---- collecting ---- */

static bb_status add_kernel(void *data, const bbi_emit_options *options, const char *source) {
    bb_aot *a = data;
    item added = {.is_double = options->is_double};
    if (options->transposed && !a->few_rows && !options->again) return BB_OK;
    const char *mark = strstr(source, BBI_KERNEL_MARK);
    if (!mark) return bbi_fail(BB_INTERNAL, "the text of a kernel has no mark between prelude and kernel");
    bbi_aot_key(source, added.key);
    for (int64_t k = 0; k < a->count; k++)
        if (!memcmp(a->items[k].key, added.key, BBI_AOT_KEY)) return BB_OK;
    if (a->count == a->capacity) {
        int64_t capacity = a->capacity ? 2 * a->capacity : 64;
        item *items = bbi_realloc(a->items, (size_t)capacity * sizeof *items);
        if (!items) return no_memory();
        a->items = items;
        a->capacity = capacity;
    }
    added.body = bbi_strdup(mark + strlen(BBI_KERNEL_MARK));
    if (!added.body) return no_memory();
    a->items[a->count++] = added;
    return BB_OK;
}

/* What a kernel of this program would run: as it is written, and with expanded distances. */
static bb_status add_kernels_of(bb_aot *a, bb_kernel *kernel, bool is_double) {
    bbi_variant *variant;
    bbi_executable *expanded;
    kernel->level = a->level;
    BBI_FORWARD(bbi_kernel_variant(kernel, is_double, &variant));
    BBI_FORWARD(bbi_executable_sources(variant->executable, add_kernel, a));
    BBI_FORWARD(bbi_expanded_of(kernel, variant, is_double, &expanded));
    return expanded ? bbi_executable_sources(expanded, add_kernel, a) : BB_OK;
}

bb_status bb_aot_add(bb_aot *collection, const bb_program *program, bb_dtype dtype, int few_rows) {
    static const bb_compile_options options = {.size = sizeof options, .target = BB_TARGET_CPU};
    bb_kernel *kernel = NULL;
    if (!collection || !program)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_add: collection and program must not be NULL");
    if (dtype != BB_FLOAT32 && dtype != BB_FLOAT64)
        return bbi_fail(BB_BAD_DTYPE, "bb_aot_add: kernels compute in float32 (halves too) or float64");
    collection->few_rows = few_rows != 0;
    bb_status status = bb_compile(program, &options, &kernel);
    if (status == BB_OK) status = add_kernels_of(collection, kernel, dtype == BB_FLOAT64);
    bb_kernel_release(kernel);
    return status;
}

/* ---- text ---- */

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The next function or array that the body defines for itself: the word in front of the first of ( [ = after a line
 * that begins with `static` or BB_INLINE. NULL: no more. */
static const char *next_static(const char *at, size_t *length) {
    for (; at; at = strchr(at, '\n')) {
        if (*at == '\n') at++;
        if (strncmp(at, "static ", 7) != 0 && strncmp(at, "BB_INLINE ", 10) != 0) continue;
        const char *last = at + strcspn(at, "([=;");
        while (last > at && !is_word(last[-1])) last--;
        const char *first = last;
        while (first > at && is_word(first[-1])) first--;
        *length = (size_t)(last - first);
        return first;
    }
    return NULL;
}

static void print_renames(bbi_text *text, const char *body, const char *suffix, bool begin) {
    size_t length;
    for (const char *at = body; (at = next_static(at, &length)) != NULL; at += length) {
        if (begin)
            bbi_text_add(text, "#define %.*s %.*s_%s\n", (int)length, at, (int)length, at, suffix);
        else
            bbi_text_add(text, "#undef %.*s\n", (int)length, at);
    }
}

static void print_kernel(bbi_text *text, const item *kernel, const char *suffix) {
    bbi_text_add(text, "\n#define " BBI_KERNEL_SYMBOL " bbi_kernel_%s\n", suffix);
    print_renames(text, kernel->body, suffix, true);
    bbi_text_append(text, kernel->body, strlen(kernel->body));
    print_renames(text, kernel->body, suffix, false);
    bbi_text_add(text, "#undef " BBI_KERNEL_SYMBOL "\n");
}

static int by_key(const void *a, const void *b) {
    return memcmp(((const item *)a)->key, ((const item *)b)->key, BBI_AOT_KEY);
}

static void print_table(bbi_text *text, const bb_aot *a, bool is_double, const char *name) {
    char suffix[2 * BBI_AOT_KEY + 1];
    uint32_t count = 0;
    bbi_text_add(text,
                 "\nstruct bb_aot_kernel {\n    unsigned char key[%d];\n    void *function;\n};\n"
                 "static const struct bb_aot_kernel kernels_of_%s[] = {\n",
                 (int)BBI_AOT_KEY, name);
    for (int64_t k = 0; k < a->count; k++) {
        if (a->items[k].is_double != is_double) continue;
        bbi_hex(a->items[k].key, BBI_AOT_KEY, suffix);
        bbi_text_add(text, "    {{");
        for (int b = 0; b < BBI_AOT_KEY; b++) bbi_text_add(text, "%s%d", b ? ", " : "", (int)a->items[k].key[b]);
        bbi_text_add(text, "}, (void *)bbi_kernel_%s},\n", suffix);
        count++;
    }
    bbi_text_add(text,
                 "    {{0}, 0}};\nstruct bb_aot_table {\n    unsigned abi, count;\n"
                 "    const struct bb_aot_kernel *kernel;\n};\n"
                 "#ifdef _WIN32\n__declspec(dllexport)\n#else\n__attribute__((visibility(\"default\")))\n#endif\n"
                 "extern const struct bb_aot_table %s;\n"
                 "const struct bb_aot_table %s = {%d, %u, kernels_of_%s};\n",
                 name, name, (int)BBI_AOT_ABI, (unsigned)count, name);
}

static void print_flags(bbi_text *text, int level) {
    static const bbi_compiler portable = {.portable = true};
    const char *flags[BBI_COMPILER_FLAGS];
    bbi_compiler_flags(&portable, level, flags);
    bbi_text_add(text, "/* Kernels compiled ahead for benben %s. Compile with", bb_version());
    for (int k = 0; flags[k]; k++)
        if (strcmp(flags[k], "-shared") && strcmp(flags[k], "-nostdlib")) bbi_text_add(text, " %s", flags[k]);
    bbi_text_add(text, "; the table at the end goes to bb_aot_use. */\n");
}

static bool is_name(const char *name) {
    for (const char *at = name; *at; at++)
        if (!is_word(*at)) return false;
    return *name && !(*name >= '0' && *name <= '9');
}

static bb_status write_text(bb_aot *a, bool is_double, const char *name, bbi_text *text) {
    char suffix[2 * BBI_AOT_KEY + 1];
    bbi_emit_options options = {.is_double = is_double, .level = a->level};
    if (a->count > 1) qsort(a->items, (size_t)a->count, sizeof *a->items, by_key);
    print_flags(text, a->level);
    BBI_FORWARD(bbi_emit_whole_prelude(text, &options));
    bbi_text_add(text, "#ifndef _WIN32\n#pragma GCC visibility push(hidden)\n#endif\n");
    for (int64_t k = 0; k < a->count; k++) {
        if (a->items[k].is_double != is_double) continue;
        bbi_hex(a->items[k].key, BBI_AOT_KEY, suffix);
        print_kernel(text, &a->items[k], suffix);
    }
    bbi_text_add(text, "#ifndef _WIN32\n#pragma GCC visibility pop\n#endif\n");
    print_table(text, a, is_double, name);
    return text->failed ? no_memory() : BB_OK;
}

bb_status bb_aot_source(bb_aot *collection, bb_dtype dtype, const char *name, char **source) {
    if (!collection || !name || !source)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_source: collection, name and text must not be NULL");
    *source = NULL;
    if (dtype != BB_FLOAT32 && dtype != BB_FLOAT64)
        return bbi_fail(BB_BAD_DTYPE, "bb_aot_source: kernels compute in float32 (halves too) or float64");
    if (!is_name(name)) return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_source: '%s' is no name of a variable in C", name);
    bbi_text text = {0};
    bb_status status = write_text(collection, dtype == BB_FLOAT64, name, &text);
    if (status == BB_OK)
        *source = text.data;
    else
        bbi_text_free(&text);
    return status;
}

/* ---- shared object ---- */

static bb_status compile(bb_aot *a, bbi_text *source, bbi_compiler *compiler, void **bytes, size_t *length) {
    const char *sources[2];
    char name[32], *object = NULL;
    bool lasting;
    int used = 0;
    for (int type = 0; type < 2; type++) {
        int64_t k = 0;
        while (k < a->count && a->items[k].is_double != (type == 1)) k++;
        if (k == a->count) continue;
        strcpy(name, "benben_aot_");
        BBI_FORWARD(write_text(a, type == 1, strcat(name, type_names[type]), &source[type]));
        sources[used++] = source[type].data;
    }
    BBI_FORWARD(bbi_compiler_find(compiler));
    compiler->portable = true;
    BBI_FORWARD(bbi_compiler_run(compiler, sources, used, a->level, &object, length, NULL, &lasting));
    *bytes = object;
    return BB_OK;
}

bb_status bb_aot_object(bb_aot *collection, void **bytes, size_t *length) {
    if (!collection || !bytes || !length)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_object: collection, bytes and length must not be NULL");
    *bytes = NULL;
    *length = 0;
    if (collection->count == 0)
        return bbi_fail(BB_BAD_ARGUMENT, "nothing to compile: none of the formulas has work per pair");
    bbi_text source[2] = {{0}};
    bbi_compiler *compiler = bbi_alloc(sizeof *compiler);
    bb_status status = compiler ? compile(collection, source, compiler, bytes, length) : no_memory();
    bbi_text_free(&source[0]);
    bbi_text_free(&source[1]);
    bbi_free(compiler);
    return status;
}
