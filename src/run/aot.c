/* aot.c: where kernels that were compiled ahead are looked up: tables sorted by digest, of the library itself
 * (builtin.c), of shared objects (BENBEN_AOT, bb_aot_load) and of the program (bb_aot_use). A table is never taken
 * away again, and the list of them only grows, so that readers need no lock. */
#include "aot.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TABLES = 256 };

#ifdef _WIN32
static const char separators[] = ";";
#else
static const char separators[] = ":";
#endif

static _Atomic(const struct bb_aot_table *) table[MAX_TABLES];
static _Atomic int table_count;
static _Atomic bool environment_done;

void bbi_aot_key(const char *source, uint8_t key[BBI_AOT_KEY]) {
    uint8_t digest[32];
    bbi_sha256 hash;
    bbi_sha256_init(&hash);
    bbi_sha256_add(&hash, source, strlen(source));
    bbi_sha256_finish(&hash, digest);
    memcpy(key, digest, BBI_AOT_KEY);
}

/* ---- adding tables ---- */

bb_status bb_aot_use(const bb_aot_table *added) {
    if (!added) return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_use: the table is NULL");
    if (added->abi != BBI_AOT_ABI || (added->count > 0 && !added->kernel))
        return bbi_fail(BB_BAD_ARGUMENT,
                        "kernels compiled ahead for another version of the library (%u, this one takes %d): make them "
                        "again with its own `benben aot`",
                        (unsigned)added->abi, (int)BBI_AOT_ABI);
    bbi_global_lock(BBI_GLOBAL_SETUP);
    int count = atomic_load(&table_count), known = 0;
    while (known < count && atomic_load(&table[known]) != added) known++;
    bool full = known == MAX_TABLES;
    if (known == count && !full) {
        atomic_store(&table[count], added);
        atomic_store(&table_count, count + 1);
    }
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    return full ? bbi_fail(BB_BAD_ARGUMENT, "bb_aot_use: more than %d tables", (int)MAX_TABLES) : BB_OK;
}

bb_status bb_aot_load(const char *path) {
    static const char *const symbols[] = {"benben_aot_float32", "benben_aot_float64"};
    const char *error = NULL;
    if (!path || !*path) return bbi_fail(BB_BAD_ARGUMENT, "bb_aot_load: no path");
    void *library = bbi_library_open(path, &error);
    if (!library) return bbi_fail(BB_SYSTEM, "kernels compiled ahead cannot be loaded: %s", error ? error : path);
    bb_status status = BB_OK;
    int found = 0;
    for (int k = 0; k < 2 && status == BB_OK; k++) {
        const bb_aot_table *added = bbi_library_symbol(library, symbols[k]);
        if (!added) continue;
        found++;
        status = bb_aot_use(added);
    }
    if (status == BB_OK && !found)
        status = bbi_fail(BB_BAD_ARGUMENT, "%s holds no kernels: it has no symbol %s; `benben aot` makes such files",
                          path, symbols[0]);
    if (status != BB_OK) bbi_library_close(library);
    return status;
}

bb_status bbi_aot_environment(void) {
    char path[BBI_PATH_SIZE];
    bb_status first = BB_OK;
    for (const char *at = bbi_environment("BENBEN_AOT"); at && *at;) {
        size_t length = strcspn(at, separators);
        snprintf(path, sizeof path, "%.*s", (int)(length < sizeof path ? length : 0), at);
        bb_status status = length ? bb_aot_load(path) : BB_OK;
        if (status != BB_OK) bbi_log('c', "BENBEN_AOT: %s", bb_last_error());
        if (first == BB_OK) first = status;
        at += length + (at[length] != '\0');
    }
    return first;
}

/* A thread that comes while another loads does the same once more: it changes nothing. */
static void load_environment(void) {
    if (atomic_load(&environment_done)) return;
    if (bbi_aot_environment() != BB_OK) bb_clear_error();
    atomic_store(&environment_done, true);
}

/* ---- finding ---- */

static void *find_in(const struct bb_aot_table *t, const uint8_t key[BBI_AOT_KEY]) {
    int64_t low = 0, high = (int64_t)t->count - 1;
    while (low <= high) {
        int64_t middle = (low + high) / 2;
        int order = memcmp(t->kernel[middle].key, key, BBI_AOT_KEY);
        if (order == 0) return t->kernel[middle].function;
        if (order < 0)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return NULL;
}

static bool switched_off(void) {
    const char *value = bbi_environment("BENBEN_BUILTIN");
    return value && !strcmp(value, "0");
}

void *bbi_aot_find(const char *source) {
    uint8_t key[BBI_AOT_KEY];
    int builtin_count;
    void *function = NULL;
    load_environment();
    const struct bb_aot_table *const *builtin = bbi_builtin_tables(&builtin_count);
    int count = atomic_load(&table_count);
    if (switched_off()) builtin_count = 0;
    if (builtin_count + count == 0) return NULL;
    bbi_aot_key(source, key);
    for (int k = 0; k < builtin_count && !function; k++) function = find_in(builtin[k], key);
    for (int k = 0; k < count && !function; k++) function = find_in(atomic_load(&table[k]), key);
    return function;
}

void bbi_aot_count(int64_t *builtin, int64_t *loaded) {
    int count;
    const struct bb_aot_table *const *tables = bbi_builtin_tables(&count);
    *builtin = *loaded = 0;
    load_environment();
    for (int k = 0; k < count; k++) *builtin += tables[k]->count;
    count = atomic_load(&table_count);
    for (int k = 0; k < count; k++) *loaded += atomic_load(&table[k])->count;
    if (switched_off()) *builtin = 0;
}
