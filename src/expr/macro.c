/* macro.c: formulas of the tables (macros, vjp texts, rows of reduce_macro.def) made into nodes over bound
 * operands, and the one entry by which builders and readers apply an operation of any kind. Each text is read
 * once per context; what is kept is its tree, so that the thousands of instances that a gradient needs cost
 * no reading. Trees and their table live in the context's arena. */
#include "syntax.h"

#include <string.h>

enum { FIRST_SLOTS = 64, MAX_DEPTH = 200 };

typedef struct entry {
    const char *text;
    const bbi_syntax *tree;
    uint64_t hash;
} entry;
/* open addressing, at most half full */
typedef struct text_table {
    entry *slots;
    size_t size, used;
} text_table;

/* FNV-1a. Keys are contents, not addresses: a caller may well build a text on its stack. */
static uint64_t hash_text(const char *text) {
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

static entry *find_slot(const text_table *table, const char *text, uint64_t hash) {
    size_t k = hash & (table->size - 1);
    while (table->slots[k].text && (table->slots[k].hash != hash || strcmp(table->slots[k].text, text)))
        k = (k + 1) & (table->size - 1);
    return &table->slots[k];
}

static bool grow(bbi_context *c, text_table *table) {
    text_table larger = {NULL, table->size ? 2 * table->size : FIRST_SLOTS, table->used};
    larger.slots = bbi_arena_alloc(&c->arena, larger.size * sizeof *larger.slots);
    if (!larger.slots) return false;
    for (size_t k = 0; k < table->size; k++) {
        const entry *old = &table->slots[k];
        if (old->text) *find_slot(&larger, old->text, old->hash) = *old;
    }
    *table = larger;
    return true;
}

static const bbi_syntax *fail_memory(void) {
    bbi_fail(BB_OUT_OF_MEMORY, "out of memory while reading a formula of the tables");
    return NULL;
}

const bbi_syntax *bbi_table_syntax(bbi_context *c, const char *text) {
    text_table *table = c->texts;
    if (!table) c->texts = table = bbi_arena_alloc(&c->arena, sizeof *table);
    if (!table || (2 * table->used >= table->size && !grow(c, table))) return fail_memory();
    uint64_t hash = hash_text(text);
    entry *slot = find_slot(table, text, hash);
    if (slot->text) return slot->tree;
    const bbi_syntax *tree;
    const char *copy = bbi_arena_strndup(&c->arena, text, strlen(text));
    if (!copy) return fail_memory();
    if (bbi_syntax_read(&c->arena, text, strlen(text), &tree) != BB_OK) return NULL;
    *slot = (entry){copy, tree, hash};
    table->used++;
    return tree;
}

const bbi_node *bbi_table_formula(bbi_context *c, const char *text, const bbi_binding *bindings, int count) {
    const bbi_syntax *tree = bbi_table_syntax(c, text);
    bbi_scope scope = {.c = c, .bindings = bindings, .binding_count = count};
    const bbi_node *node = NULL;
    int64_t outputs;
    if (!tree) return NULL;
    if (c->depth >= MAX_DEPTH) {
        bbi_fail(BB_INTERNAL, "formulas of the tables are nested too deep, at '%s'", text);
        return NULL;
    }
    c->depth++;
    bb_status status = bbi_elaborate(&scope, tree, &node, 1, &outputs);
    c->depth--;
    return status == BB_OK ? node : NULL;
}

static const bbi_node *expand_macro(bbi_context *c, const bbi_op_row *row, const bbi_node *const *args,
                                    const int64_t *ints, int nint) {
    static const char *const operand_names[] = {"a", "b", "c", "d"}, *const integer_names[] = {"m", "n", "k", "l"};
    bbi_binding bindings[BBI_MAX_ARGS + 4];
    int count = 0;
    for (int k = 0; k < row->arity; k++) bindings[count++] = (bbi_binding){operand_names[k], args[k], 0};
    for (int k = 0; k < nint && k < 4; k++) bindings[count++] = (bbi_binding){integer_names[k], NULL, ints[k]};
    return bbi_table_formula(c, row->value, bindings, count);
}

/* Inner operations report under their own names: the name that the caller used is put in front. */
static const bbi_node *named(const bbi_op_row *row, const bbi_node *result) {
    if (result) return result;
    bb_status code = bbi_fail_append("%s", "");
    const char *message = bb_last_error();
    size_t length = strlen(row->name);
    bool there = !strncmp(message, row->name, length) && message[length] == ':';
    if (!there && code != BB_OUT_OF_MEMORY) bbi_fail(code, "%s: %s", row->name, message);
    return NULL;
}

const bbi_node *bbi_apply(bbi_context *c, int op, const bbi_node *const *args, int narg, const int64_t *ints,
                          int nint) {
    const bbi_op_row *row = bbi_op_info(op);
    for (int k = 0; k < narg; k++) {
        if (!args[k]) return NULL;
    }
    if (row->kind != BBI_MACRO && row->kind != BBI_BUILD) return bbi_node_make(c, op, args, narg, ints, nint);
    if (narg != row->arity || (row->int_count >= 0 && nint != row->int_count)) {
        bbi_fail(BB_BAD_ARGUMENT, "%s: takes %d operands and %d integers; found %d and %d", row->name, row->arity,
                 row->int_count, narg, nint);
        return NULL;
    }
    if (row->kind == BBI_MACRO) return named(row, expand_macro(c, row, args, ints, nint));
    bbi_builder *builder = bbi_builder_of(op);
    if (!builder) {
        bbi_fail(BB_INTERNAL, "%s: the operation has no builder", row->name);
        return NULL;
    }
    return named(row, builder(c, args, narg, ints, nint));
}
