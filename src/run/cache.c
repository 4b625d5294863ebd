/* cache.c: the disk cache. One file per entry, <digest>.bin: a header, then the payload. Nothing is kept
 * open or remembered between calls, so that processes, threads, forked children and changes of the
 * environment need no care here.
 *
 * Trust: an entry becomes code in this process. The folder must belong to the user, be no symbolic link and
 * be writable by nobody else; so must the file, asked of the open descriptor; magic, version, key, length
 * and SHA-256 must agree. An entry that fails is removed and counts as a miss. The caller loads the bytes
 * that were checked, never the file: a shared object that is cut short under a process ends it with SIGBUS.
 *
 * Concurrency: entries appear by rename, whole. A lock per key lets one process compile while others wait;
 * the lock only saves work, nothing depends on it. */
#include "cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,
    HEADER_SIZE = 8 + 4 + 4 + 8 + 32 + 32, /* magic, version, zero, payload length, key, SHA-256 of the payload */
    ENTRY_LIMIT = 64 << 20,
    STALE_SECONDS = 3600,
    FRESH_SECONDS = 60,
};

static const int64_t default_limit = 256 << 20;
static const char magic[8] = {'b', 'e', 'n', 'b', 'e', 'n', '\r', '\n'};

void bbi_hex(const uint8_t *bytes, size_t count, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t k = 0; k < count; k++) {
        text[2 * k] = digits[bytes[k] >> 4];
        text[2 * k + 1] = digits[bytes[k] & 15];
    }
    text[2 * count] = '\0';
}

/* ---- the folder ---- */

static bool set_folder(char *folder, const char *base, const char *rest) {
    int length = snprintf(folder, BBI_PATH_SIZE, "%s%s", base, rest);
    if (length <= 0 || length > BBI_PATH_SIZE - 160) { /* room for names of entries and temporaries */
        folder[0] = '\0';
        return false;
    }
    while (length > 1 && folder[length - 1] == '/') folder[--length] = '\0'; /* "link/" would follow the link */
    return true;
}

static bool absolute(const char *path) {
    return path && (path[0] == '/' || path[0] == '\\' || (path[0] && path[1] == ':'));
}

/* BENBEN_CACHE_DIR, XDG_CACHE_HOME/benben (relative ones are void by that specification), ~/.cache/benben. */
static bool find_folder(char *folder) {
    const char *chosen = bbi_environment("BENBEN_CACHE_DIR");
    if (chosen && *chosen) return set_folder(folder, chosen, "");
    const char *base = bbi_environment("XDG_CACHE_HOME");
    if (absolute(base)) return set_folder(folder, base, "/benben");
    base = bbi_environment("LOCALAPPDATA");
    if (absolute(base)) return set_folder(folder, base, "/benben");
    base = bbi_environment("HOME");
    if (absolute(base)) return set_folder(folder, base, "/.cache/benben");
    folder[0] = '\0';
    return false;
}

static bool switched_off(void) {
    const char *value = bbi_environment("BENBEN_CACHE");
    return value && !strcmp(value, "0");
}

/* True when entries may be read and written; otherwise `refusal` (256 bytes or NULL) says why not. */
static bool usable_folder(char *folder, char *refusal, bool create) {
    char unused[256], reason[128];
    if (!refusal) refusal = unused;
    refusal[0] = '\0';
    bool found = find_folder(folder);
    if (switched_off()) {
        snprintf(refusal, 256, "switched off by BENBEN_CACHE=0");
    } else if (!found) {
        snprintf(refusal, 256, "no folder: set BENBEN_CACHE_DIR, XDG_CACHE_HOME or HOME");
    } else {
        int failed = create ? bbi_folder_make(folder) : 0;
        if (!failed) failed = bbi_folder_private(folder);
        if (!failed) return true;
        bbi_system_error(failed, reason, sizeof reason);
        if (failed == EPERM)
            snprintf(refusal, 256,
                     "the folder must belong to you, be no symbolic link and be writable by nobody else "
                     "(chmod go-w, or another BENBEN_CACHE_DIR)");
        else
            snprintf(refusal, 256, "%s", reason);
    }
    bbi_log('k', "cache folder '%s' not used: %s", folder, refusal);
    return false;
}

static int64_t size_limit(void) {
    const char *value = bbi_environment("BENBEN_CACHE_SIZE");
    char *end;
    long long limit = value && *value ? strtoll(value, &end, 10) : -1;
    return limit < 0 || *end ? default_limit : (int64_t)limit;
}

static bool ends_with(const char *name, const char *ending) {
    size_t length = strlen(name), tail = strlen(ending);
    return length >= tail && !strcmp(name + length - tail, ending);
}

/* 64 digits and one of our endings: a folder that also holds other things keeps them. */
static bool own_name(const char *name, const char *ending) {
    return strspn(name, "0123456789abcdef") == 64 && ends_with(name, ending);
}

/* "" where the folder cannot be used. */
static bool entry_path(const uint8_t key[32], const char *ending, char *path, bool create) {
    if (!usable_folder(path, NULL, create)) return false;
    size_t length = strlen(path);
    path[length] = '/';
    bbi_hex(key, 32, path + length + 1);
    strcat(path + length + 65, ending);
    return true;
}

/* ---- entries ---- */

static void put_integer(uint8_t *bytes, uint64_t value, int count) {
    for (int k = 0; k < count; k++) bytes[k] = (uint8_t)(value >> 8 * k);
}

static void make_header(uint8_t header[HEADER_SIZE], const uint8_t key[32], const void *payload, size_t length) {
    bbi_sha256 hash;
    memcpy(header, magic, 8);
    put_integer(header + 8, VERSION, 4);
    put_integer(header + 12, 0, 4);
    put_integer(header + 16, length, 8);
    memcpy(header + 24, key, 32);
    bbi_sha256_init(&hash);
    bbi_sha256_add(&hash, payload, length);
    bbi_sha256_finish(&hash, header + 56);
}

static bool good_entry(const uint8_t key[32], const char *bytes, size_t length) {
    uint8_t expected[HEADER_SIZE];
    if (length < HEADER_SIZE) return false;
    make_header(expected, key, bytes + HEADER_SIZE, length - HEADER_SIZE);
    return !memcmp(expected, bytes, HEADER_SIZE);
}

bool bbi_cache_load(const uint8_t key[32], char **bytes, size_t *length) {
    char path[BBI_PATH_SIZE];
    bbi_file_status status;
    *bytes = NULL;
    *length = 0;
    if (!entry_path(key, ".bin", path, false)) return false;
    int failed = bbi_file_read(path, ENTRY_LIMIT, true, bytes, length);
    if (failed == ENOENT || failed == ENOMEM) return false;
    if (failed || !good_entry(key, *bytes, *length)) {
        bbi_log('k', "bad entry removed: %s", path);
        bbi_file_remove(path);
        bbi_free(*bytes);
        *bytes = NULL;
        *length = 0;
        return false;
    }
    *length -= HEADER_SIZE;
    memmove(*bytes, *bytes + HEADER_SIZE, *length + 1);
    if (bbi_file_look(path, &status) == 0 && bbi_wall_seconds() - status.modified > FRESH_SECONDS)
        bbi_file_touch(path); /* the time of last use decides what is dropped */
    bbi_log('k', "hit: %s", path);
    return true;
}

void bbi_cache_drop(const uint8_t key[32]) {
    char path[BBI_PATH_SIZE];
    if (entry_path(key, ".bin", path, false)) bbi_file_remove(path);
}

/* ---- size ---- */

typedef struct entry {
    char name[72];
    int64_t size, modified;
} entry;

typedef struct listing {
    const char *folder;
    entry *entries;
    int64_t count, capacity, bytes;
} listing;

static void remove_named(const char *folder, const char *name) {
    char path[BBI_PATH_SIZE + 256];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length > 0 && (size_t)length < sizeof path) bbi_file_remove(path);
}

/* Collects entries; what crashed processes left (temporaries, locks) goes once it is an hour old. */
static int visit(void *user, const char *name, const bbi_file_status *status) {
    listing *list = user;
    if (own_name(name, ".tmp") || own_name(name, ".lock")) {
        if (bbi_wall_seconds() - status->modified > STALE_SECONDS) remove_named(list->folder, name);
        return 0;
    }
    if (strlen(name) != 68 || !own_name(name, ".bin")) return 0;
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 64;
        entry *entries = bbi_realloc(list->entries, (size_t)capacity * sizeof *entries);
        if (!entries) return ENOMEM;
        list->entries = entries;
        list->capacity = capacity;
    }
    entry *added = &list->entries[list->count++];
    *added = (entry){.size = status->size, .modified = status->modified};
    memcpy(added->name, name, 69);
    list->bytes += status->size;
    return 0;
}

static int list_folder(const char *folder, listing *list) {
    *list = (listing){.folder = folder};
    return bbi_folder_list(folder, visit, list);
}

static int older_first(const void *a, const void *b) {
    const entry *p = a, *q = b;
    if (p->modified != q->modified) return p->modified < q->modified ? -1 : 1;
    return strcmp(p->name, q->name);
}

/* Down to 7/8 of the limit, so that a full cache does not drop one entry per store; never the entry just
 * made. */
static void keep_limit(const char *folder, const char *newest, int64_t limit) {
    listing list;
    if (list_folder(folder, &list) == 0 && list.bytes > limit) {
        qsort(list.entries, (size_t)list.count, sizeof *list.entries, older_first);
        for (int64_t k = 0; k < list.count && list.bytes > limit - limit / 8; k++) {
            if (!strcmp(list.entries[k].name, newest)) continue;
            remove_named(folder, list.entries[k].name);
            list.bytes -= list.entries[k].size;
            bbi_log('k', "dropped to keep BENBEN_CACHE_SIZE: %s", list.entries[k].name);
        }
    }
    bbi_free(list.entries);
}

bool bbi_cache_store(const uint8_t key[32], const void *bytes, size_t length) {
    char path[BBI_PATH_SIZE];
    int64_t limit = size_limit();
    if (length > ENTRY_LIMIT - HEADER_SIZE || (int64_t)length + HEADER_SIZE > limit) return false;
    if (!entry_path(key, ".bin", path, true)) return false;
    char *file = bbi_alloc(HEADER_SIZE + length);
    if (!file) return false;
    make_header((uint8_t *)file, key, bytes, length);
    memcpy(file + HEADER_SIZE, bytes, length);
    int failed = bbi_file_write(path, file, HEADER_SIZE + length, true);
    bbi_free(file);
    bbi_log('k', failed ? "not stored (error %d): %s" : "stored (%d): %s", failed, path);
    if (failed) return false;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    keep_limit(path, slash + 1, limit);
    return true;
}

bbi_file_lock *bbi_cache_lock(const uint8_t key[32], double timeout) {
    char path[BBI_PATH_SIZE];
    return entry_path(key, ".lock", path, true) ? bbi_file_lock_take(path, timeout) : NULL;
}

/* ---- for people ---- */

bb_status bbi_cache_look(bbi_cache_state *state) {
    listing list = {0};
    *state = (bbi_cache_state){.limit = size_limit()};
    int failed = 0;
    if (usable_folder(state->folder, state->refusal, false)) {
        failed = list_folder(state->folder, &list);
        state->entries = list.count;
        state->bytes = list.bytes;
    } else if (bbi_folder_private(state->folder) == ENOENT && !switched_off() && state->folder[0]) {
        state->refusal[0] = '\0'; /* not there yet: made with the first entry */
    }
    bbi_free(list.entries);
    return failed == ENOMEM ? bbi_fail(BB_OUT_OF_MEMORY, "no memory to list the cache folder %s", state->folder)
                            : BB_OK;
}

bb_status bbi_cache_clear(int64_t *removed) {
    char folder[BBI_PATH_SIZE], refusal[256];
    listing list;
    if (removed) *removed = 0;
    if (!usable_folder(folder, refusal, false)) {
        if (folder[0] && bbi_folder_private(folder) == ENOENT) return BB_OK;
        return bbi_fail(BB_CACHE, "the cache folder '%s' cannot be cleared: %s", folder, refusal);
    }
    int failed = list_folder(folder, &list);
    for (int64_t k = 0; k < list.count; k++) remove_named(folder, list.entries[k].name);
    if (removed) *removed = list.count;
    bbi_free(list.entries);
    return failed == ENOMEM ? bbi_fail(BB_OUT_OF_MEMORY, "no memory to list the cache folder %s", folder) : BB_OK;
}
