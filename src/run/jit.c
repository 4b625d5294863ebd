/* jit.c: the table of compiled kernels of this process, behind those that were compiled ahead (aot.c). A source is named by a digest of everything that
 * reaches the compiler: text, instruction set, compiler, flags, processor, version. A module is
 *   EMPTY   named, nothing known (also after a failure that may pass),
 *   MAKING  one thread reads it from disk or compiles it, others wait,
 *   READY   loaded; stays when its last user leaves, until IDLE_KEPT others are idle too,
 *   FAILED  the compiler refused it and would again.
 * The table's monitor is held for look-ups only, never while a compiler or a disk works. In a forked child
 * the thread that was MAKING does not exist: the process id stored with it says so, and the child makes the
 * module itself. */
#include "jit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "aot.h"
#include "cache.h"
#include "compiler.h"

enum { BUCKETS = 256, IDLE_KEPT = 256 };
static const double lock_timeout = 30; /* seconds to wait for another process that compiles the same kernel */

typedef enum module_state { EMPTY, MAKING, READY, FAILED } module_state;

struct bbi_jit_module {
    uint8_t key[32];
    struct bbi_jit_module *next;
    module_state state;
    int64_t maker;    /* process of the thread that makes it */
    int64_t users;    /* holders and waiters */
    int64_t last_use; /* on the table's own clock */
    int64_t failures;
    void *library;
    bb_status status; /* of the last failure */
    char *message;
};

typedef struct build {
    const char *source;
    int level;
    bbi_compiler compiler;
    uint8_t key[32];
    bool may_compile;
    bbi_text *log;
} build;

static bbi_jit_module *table[BUCKETS]; /* with the two below: guarded by BBI_GLOBAL_JIT */
static int64_t table_clock, table_count;
static bbi_jit_module
    ahead; /* stands for kernels that were compiled ahead (aot.c): never in the table, never unloaded */
static _Atomic int64_t counter[BBI_JIT_COUNTERS];

static void count(int which) { atomic_fetch_add_explicit(&counter[which], 1, memory_order_relaxed); }

void bbi_jit_counters(int64_t counters[BBI_JIT_COUNTERS]) {
    for (int k = 0; k < BBI_JIT_COUNTERS; k++) counters[k] = atomic_load(&counter[k]);
}

static void add_text(bbi_sha256 *hash, const char *text) { bbi_sha256_field(hash, text, strlen(text)); }

static void set_key(build *request) {
    static const bbi_compiler all_taken; /* refusals are learnt later and must not change the name */
    const char *flags[BBI_COMPILER_FLAGS];
    uint8_t level = (uint8_t)request->level;
    static const int version[] = {BB_VERSION_MAJOR, BB_VERSION_MINOR, BB_VERSION_PATCH};
    bbi_sha256 hash;
    bbi_sha256_init(&hash);
    add_text(&hash, "benben kernel 1");
    bbi_sha256_field(&hash, version, sizeof version);
    add_text(&hash, request->compiler.identity);
    add_text(&hash, bbi_cpu_identity());
    bbi_sha256_field(&hash, &level, 1);
    bbi_compiler_flags(&all_taken, request->level, flags);
    for (int k = 0; flags[k]; k++) add_text(&hash, flags[k]);
    add_text(&hash, request->source);
    bbi_sha256_finish(&hash, request->key);
}

/* ---- making a module: no monitor held ---- */

static void dump_source(const build *request, char *path, size_t size) {
    const char *folder = bbi_environment("BENBEN_DUMP");
    char name[17];
    path[0] = '\0';
    if (!folder || !*folder) return;
    bbi_hex(request->key, 8, name);
    int length = snprintf(path, size, "%s/%s.c", folder, name);
    if (length < 0 || (size_t)length >= size || bbi_folder_make(folder) != 0 ||
        bbi_file_write(path, request->source, strlen(request->source), false) != 0)
        path[0] = '\0';
}

static void *load_from_disk(const build *request) {
    char *bytes;
    size_t length;
    const char *error = NULL;
    if (!bbi_cache_load(request->key, &bytes, &length)) return NULL;
    void *library = bbi_library_open_bytes(bytes, length, &error);
    bbi_free(bytes);
    if (library) {
        count(BBI_JIT_DISK_HITS);
    } else {
        bbi_log('k', "entry removed, it cannot be loaded: %s", error);
        bbi_cache_drop(request->key);
    }
    return library;
}

static bb_status compile(const build *request, void **library, bool *lasting) {
    char *bytes;
    size_t length;
    const char *error = NULL;
    bbi_log('e', "%s", request->source);
    count(BBI_JIT_COMPILES);
    BBI_FORWARD(bbi_compiler_run(&request->compiler, &request->source, 1, request->level, &bytes, &length, request->log,
                                 lasting));
    *library = bbi_library_open_bytes(bytes, length, &error);
    *lasting = true;
    bb_status status = BB_OK;
    if (*library)
        bbi_cache_store(request->key, bytes, length);
    else
        status = bbi_fail(BB_COMPILER, "the compiled kernel cannot be loaded: %s", error);
    bbi_free(bytes);
    return status;
}

/* *library stays NULL with BB_OK when it is not on disk and may not be compiled. */
static bb_status make(const build *request, void **library, bool *lasting) {
    char dumped[BBI_PATH_SIZE];
    *lasting = false;
    *library = load_from_disk(request);
    if (*library || !request->may_compile) return BB_OK;
    bbi_file_lock *lock = bbi_cache_lock(request->key, lock_timeout);
    if (lock) *library = load_from_disk(request); /* another process may have made it while we waited */
    bb_status status = BB_OK;
    if (!*library) {
        dump_source(request, dumped, sizeof dumped);
        status = compile(request, library, lasting);
        if (status != BB_OK) {
            count(BBI_JIT_FAILURES);
            if (dumped[0])
                bbi_fail_append("\nthe source is kept in %s", dumped);
            else
                bbi_fail_append("\nset BENBEN_DUMP to a folder to keep the source");
        }
    }
    bbi_file_lock_release(lock);
    return status;
}

/* ---- the table: BBI_GLOBAL_JIT held ---- */

static bbi_jit_module *find_or_add(const uint8_t key[32]) {
    bbi_jit_module **bucket = &table[key[0]];
    for (bbi_jit_module *module = *bucket; module; module = module->next)
        if (!memcmp(module->key, key, 32)) return module;
    bbi_jit_module *module = bbi_calloc(1, sizeof *module);
    if (!module) return NULL;
    memcpy(module->key, key, 32);
    module->next = *bucket;
    *bucket = module;
    table_count++;
    return module;
}

/* Takes the least recently used modules that nobody holds out of the table while it has more than `kept` of
 * them. */
static bbi_jit_module *take_idle(int64_t kept) {
    bbi_jit_module *taken = NULL;
    for (;;) {
        bbi_jit_module **oldest = NULL;
        int64_t idle = 0;
        for (int k = 0; k < BUCKETS; k++)
            for (bbi_jit_module **link = &table[k]; *link; link = &(*link)->next) {
                if ((*link)->users > 0) continue;
                idle++;
                if (!oldest || (*link)->last_use < (*oldest)->last_use) oldest = link;
            }
        if (idle <= kept) return taken;
        bbi_jit_module *module = *oldest;
        *oldest = module->next;
        module->next = taken;
        taken = module;
        table_count--;
    }
}

static void destroy_all(bbi_jit_module *module) {
    for (bbi_jit_module *next; module; module = next) {
        next = module->next;
        bbi_library_close(module->library);
        bbi_free(module->message);
        bbi_free(module);
    }
}

static void leave(bbi_jit_module *module) {
    bbi_global_lock(BBI_GLOBAL_JIT);
    module->users--;
    bbi_jit_module *taken = table_count > IDLE_KEPT ? take_idle(IDLE_KEPT) : NULL;
    bbi_global_unlock(BBI_GLOBAL_JIT);
    destroy_all(taken);
}

void bbi_jit_release(bbi_jit_module *module) {
    if (module && module != &ahead) leave(module);
}

void bbi_jit_forget(void) {
    bbi_global_lock(BBI_GLOBAL_JIT);
    bbi_jit_module *taken = take_idle(0);
    bbi_global_unlock(BBI_GLOBAL_JIT);
    destroy_all(taken);
}

/* ---- one request ---- */

/* Makes the module outside the monitor and publishes what came of it. Enters and leaves with the monitor
 * held. */
static bb_status make_and_publish(const build *request, bbi_jit_module *module) {
    void *library;
    bool lasting;
    module->state = MAKING;
    module->maker = bbi_process_id();
    bbi_global_unlock(BBI_GLOBAL_JIT);
    bb_status status = make(request, &library, &lasting);
    char *message = status == BB_OK ? NULL : bbi_strdup(bb_last_error());
    bbi_global_lock(BBI_GLOBAL_JIT);
    bbi_free(module->message);
    module->message = message;
    module->status = status;
    module->library = library;
    module->state = library ? READY : status != BB_OK && lasting ? FAILED : EMPTY;
    if (status != BB_OK) module->failures++;
    bbi_global_wake_all(BBI_GLOBAL_JIT);
    return status;
}

/* Brings the module to READY, or returns why not; with BB_OK and another state, it may not be compiled.
 * Monitor held. */
static bb_status settle(const build *request, bbi_jit_module *module) {
    int64_t failures = module->failures;
    bool waited = false;
    while (module->state == MAKING && module->maker == bbi_process_id()) {
        if (!request->may_compile) return BB_OK;
        waited = true;
        bbi_global_wait(BBI_GLOBAL_JIT);
    }
    if (module->state == READY) {
        count(BBI_JIT_MEMORY_HITS);
        return BB_OK;
    }
    if (module->state == FAILED || (waited && module->failures != failures))
        return bbi_fail(module->status, "%s", module->message ? module->message : "the compiler failed");
    return make_and_publish(request, module);
}

static bb_status acquire(const build *request, bbi_jit_module **result) {
    bbi_global_lock(BBI_GLOBAL_JIT);
    bbi_jit_module *module = find_or_add(request->key);
    if (!module) {
        bbi_global_unlock(BBI_GLOBAL_JIT);
        return bbi_fail(BB_OUT_OF_MEMORY, "no memory for the table of compiled kernels");
    }
    module->users++;
    module->last_use = ++table_clock;
    bb_status status = settle(request, module);
    bool ready = status == BB_OK && module->state == READY;
    bbi_global_unlock(BBI_GLOBAL_JIT);
    if (ready)
        *result = module;
    else
        leave(module);
    return status;
}

bool bbi_jit_ahead(const char *source, bbi_jit_module **module, void **function) {
    *function = bbi_aot_find(source);
    *module = *function ? &ahead : NULL;
    if (*function) count(BBI_JIT_AHEAD_HITS);
    return *function != NULL;
}

static bb_status load(build *request, const char *symbol, bbi_jit_module **module, void **function) {
    if (bbi_jit_ahead(request->source, module, function)) return BB_OK;
    BBI_FORWARD(bbi_compiler_find(&request->compiler));
    set_key(request);
    BBI_FORWARD(acquire(request, module));
    if (!*module) return BB_OK;
    *function = bbi_library_symbol((*module)->library, symbol);
    if (*function) return BB_OK;
    bbi_jit_release(*module);
    *module = NULL;
    return bbi_fail(BB_INTERNAL, "the compiled kernel has no symbol '%s'", symbol);
}

bb_status bbi_jit_load(const char *source, const char *symbol, int level, bbi_jit_module **module, void **function,
                       bbi_text *log) {
    build request = {.source = source, .level = level, .may_compile = true, .log = log};
    return load(&request, symbol, module, function);
}

bb_status bbi_jit_peek(const char *source, const char *symbol, int level, bbi_jit_module **module, void **function) {
    build request = {.source = source, .level = level};
    return load(&request, symbol, module, function);
}
