/* background.c: pair kernels that become compiled. One detached thread per process takes requests from a
 * queue and ends when there are none; a caller who cannot wait for the queue compiles himself.
 *
 * Everything but the function pointer is guarded by the monitor BBI_GLOBAL_POOL, which is never held during a
 * compile. The thread reaches a request through a counted reference and its source text alone, so executables
 * and plans may be freed under it; it touches nothing that is freed at exit. A forked child inherits requests
 * but no thread: whoever looks at a request compares process numbers and begins again. */
#include "executable.h"

#include <string.h>

#include "jit.h"

struct bbi_compiled {
    _Atomic(bbi_pair_kernel *) function;
    _Atomic int state;       /* bbi_compile_state; written under the monitor */
    _Atomic int64_t process; /* who queued or runs it */
    _Atomic bool sought;     /* among the kernels compiled ahead, in vain */
    int references;
    bb_status status;
    char *reason; /* FAILED: the message */
    char *source; /* text, between request and compile */
    bbi_jit_module *module;
    bbi_compiled *next; /* in the queue */
    const bbi_stage *stage;
    bbi_emit_options options;
};

static struct {
    bbi_compiled *first, *running; /* each holds a reference */
    bool thread;                   /* one is alive, or about to be */
    int64_t process;
} queue;

bbi_compiled *bbi_compiled_new(const bbi_stage *stage, const bbi_emit_options *options) {
    bbi_compiled *compiled = bbi_calloc(1, sizeof *compiled);
    if (!compiled) return NULL;
    compiled->references = 1;
    compiled->stage = stage;
    compiled->options = *options;
    return compiled;
}

static void destroy(bbi_compiled *compiled) {
    if (compiled->module) bbi_jit_release(compiled->module);
    bbi_free(compiled->reason);
    bbi_free(compiled->source);
    bbi_free(compiled);
}

bbi_pair_kernel *bbi_compiled_function(const bbi_compiled *compiled) {
    return atomic_load_explicit(&compiled->function, memory_order_acquire);
}

bbi_compile_state bbi_compiled_state(const bbi_compiled *compiled) {
    bbi_compile_state state = (bbi_compile_state)atomic_load(&compiled->state);
    bool pending = state == BBI_COMPILE_QUEUED || state == BBI_COMPILE_RUNNING;
    return pending && atomic_load(&compiled->process) != bbi_process_id() ? BBI_COMPILE_NONE : state;
}

const char *bbi_compiled_reason(const bbi_compiled *compiled) {
    if (atomic_load(&compiled->state) != BBI_COMPILE_FAILED) return "";
    return compiled->reason ? compiled->reason : "the compiler failed";
}

/* ---- under the monitor ---- */

/* True when that was the last reference: the caller destroys it after unlocking. */
static bool drop(bbi_compiled *compiled) { return --compiled->references == 0; }

static void set_state(bbi_compiled *compiled, bbi_compile_state state) {
    atomic_store(&compiled->process, bbi_process_id());
    atomic_store(&compiled->state, state);
}

/* A forked child starts with an empty queue. References of the parent's queue and thread are given up; a
 * request that only they held stays behind as a small leak, because nothing may be destroyed here. */
static void lock_queue(void) {
    bbi_global_lock(BBI_GLOBAL_POOL);
    int64_t process = bbi_process_id();
    if (queue.process == process) return;
    for (bbi_compiled *item = queue.first; item; item = item->next) drop(item);
    if (queue.running) drop(queue.running);
    queue.first = queue.running = NULL;
    queue.thread = false;
    queue.process = process;
}

static bool take_from_queue(bbi_compiled *compiled) {
    for (bbi_compiled **link = &queue.first; *link; link = &(*link)->next)
        if (*link == compiled) {
            *link = compiled->next;
            return true;
        }
    return false;
}

void bbi_compiled_release(bbi_compiled *compiled) {
    if (!compiled) return;
    lock_queue();
    if (take_from_queue(compiled)) drop(compiled);
    bool last = drop(compiled);
    bbi_global_unlock(BBI_GLOBAL_POOL);
    if (last) destroy(compiled);
}

/* ---- compiling ---- */

static bb_status emit(bbi_compiled *compiled, char **source) {
    bbi_text text = {0};
    bb_status status = bbi_emit_pair(&text, compiled->stage, &compiled->options);
    if (status == BB_OK && (text.failed || !text.data)) status = bbi_fail(BB_OUT_OF_MEMORY, "out of memory");
    if (status != BB_OK) bbi_text_free(&text);
    *source = status == BB_OK ? text.data : NULL;
    return status;
}

bb_status bbi_compiled_source(bbi_compiled *compiled, bbi_source_visitor *visit, void *data) {
    char *source;
    BBI_FORWARD(emit(compiled, &source));
    bb_status status = visit(data, &compiled->options, source);
    bbi_free(source);
    return status;
}

static void publish(bbi_compiled *compiled, bbi_jit_module *module, void *symbol) {
    bbi_pair_kernel *function;
    memcpy(&function, &symbol, sizeof function);
    compiled->module = module;
    atomic_store_explicit(&compiled->function, function, memory_order_release);
    set_state(compiled, BBI_COMPILE_DONE);
}

/* Runs the compiler on a request whose state is RUNNING. Want of memory is no property of the source: it
 * leaves the request as if nobody had asked. */
static bb_status compile(bbi_compiled *compiled, const char *source) {
    bbi_jit_module *module = NULL;
    void *symbol = NULL;
    bb_status status = bbi_jit_load(source, BBI_KERNEL_SYMBOL, compiled->options.level, &module, &symbol, NULL);
    char *reason = status == BB_OK ? NULL : bbi_strdup(bb_last_error());
    bbi_global_lock(BBI_GLOBAL_POOL);
    compiled->status = status;
    if (status == BB_OK)
        publish(compiled, module, symbol);
    else if (status == BB_OUT_OF_MEMORY)
        set_state(compiled, BBI_COMPILE_NONE);
    else {
        compiled->reason = reason;
        reason = NULL;
        set_state(compiled, BBI_COMPILE_FAILED);
    }
    bbi_global_wake_all(BBI_GLOBAL_POOL);
    bbi_global_unlock(BBI_GLOBAL_POOL);
    bbi_free(reason);
    return status;
}

void bbi_compiled_peek(bbi_compiled *compiled, bool ahead) {
    if (bbi_compiled_state(compiled) != BBI_COMPILE_NONE) return;
    if (ahead && atomic_exchange_explicit(&compiled->sought, true, memory_order_relaxed)) return;
    char *source;
    bbi_jit_module *module = NULL;
    void *symbol = NULL;
    if (emit(compiled, &source) != BB_OK) return;
    if (ahead)
        bbi_jit_ahead(source, &module, &symbol);
    else if (bbi_jit_peek(source, BBI_KERNEL_SYMBOL, compiled->options.level, &module, &symbol) != BB_OK)
        module = NULL;
    bbi_free(source);
    if (!module) return;
    lock_queue();
    bool ours = bbi_compiled_state(compiled) == BBI_COMPILE_NONE;
    if (ours) publish(compiled, module, symbol);
    bbi_global_unlock(BBI_GLOBAL_POOL);
    if (!ours) bbi_jit_release(module);
}

static void background(void *unused) {
    (void)unused;
    lock_queue();
    while (queue.first) {
        bbi_compiled *compiled = queue.running = queue.first;
        queue.first = compiled->next;
        char *source = compiled->source;
        compiled->source = NULL;
        set_state(compiled, BBI_COMPILE_RUNNING);
        bbi_global_unlock(BBI_GLOBAL_POOL);
        compile(compiled, source);
        bbi_free(source);
        lock_queue();
        queue.running = NULL;
        if (drop(compiled)) {
            bbi_global_unlock(BBI_GLOBAL_POOL);
            destroy(compiled);
            lock_queue();
        }
    }
    queue.thread = false;
    bbi_global_unlock(BBI_GLOBAL_POOL);
}

/* No thread could be started: the requests count as never made. */
static void abandon_queue(void) {
    lock_queue();
    for (bbi_compiled *item = queue.first; item; item = item->next) {
        set_state(item, BBI_COMPILE_NONE);
        drop(item); /* never the last reference: an executable that goes takes its requests out of the queue */
    }
    queue.first = NULL;
    queue.thread = false;
    bbi_global_wake_all(BBI_GLOBAL_POOL);
    bbi_global_unlock(BBI_GLOBAL_POOL);
}

void bbi_compiled_start(bbi_compiled *compiled) {
    char *source;
    if (bbi_compiled_state(compiled) != BBI_COMPILE_NONE || emit(compiled, &source) != BB_OK) return;
    lock_queue();
    bool start = false;
    if (bbi_compiled_state(compiled) == BBI_COMPILE_NONE) {
        bbi_compiled **link = &queue.first;
        while (*link) link = &(*link)->next;
        *link = compiled;
        compiled->next = NULL;
        compiled->references++;
        bbi_free(compiled->source);
        compiled->source = source;
        source = NULL;
        set_state(compiled, BBI_COMPILE_QUEUED);
        start = !queue.thread;
        queue.thread = true;
    }
    bbi_global_unlock(BBI_GLOBAL_POOL);
    bbi_free(source);
    if (!start) return;
    bbi_thread *thread = bbi_thread_start(background, NULL);
    if (thread)
        bbi_thread_detach(thread);
    else
        abandon_queue();
}

bb_status bbi_compiled_wait(bbi_compiled *compiled) {
    char *source = NULL;
    if (bbi_compiled_state(compiled) == BBI_COMPILE_NONE) BBI_FORWARD(emit(compiled, &source));
    lock_queue();
    while (bbi_compiled_state(compiled) == BBI_COMPILE_RUNNING) bbi_global_wait(BBI_GLOBAL_POOL);
    bbi_compile_state state = bbi_compiled_state(compiled);
    bool here = state == BBI_COMPILE_NONE || state == BBI_COMPILE_QUEUED;
    if (here) {
        if (take_from_queue(compiled)) drop(compiled);
        if (compiled->source && !source) {
            source = compiled->source;
            compiled->source = NULL;
        }
        set_state(compiled, BBI_COMPILE_RUNNING);
    }
    bbi_global_unlock(BBI_GLOBAL_POOL);
    bb_status status = BB_OK;
    if (here && !source) { /* another thread's compile ended for want of memory */
        status = emit(compiled, &source);
        if (status != BB_OK) {
            bbi_global_lock(BBI_GLOBAL_POOL);
            set_state(compiled, BBI_COMPILE_NONE);
            bbi_global_wake_all(BBI_GLOBAL_POOL);
            bbi_global_unlock(BBI_GLOBAL_POOL);
            return status;
        }
    }
    if (here)
        status = compile(compiled, source);
    else if (state == BBI_COMPILE_FAILED)
        status = bbi_fail(compiled->status, "%s", bbi_compiled_reason(compiled));
    bbi_free(source);
    return status;
}
