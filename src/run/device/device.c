/* device.c: the graphics processors that this process has opened. They stay open to its end: closing a driver's context
 * at exit races with the driver's own exit handlers. */
#include "device.h"

enum { MOST_DEVICES = 64 };
static bbi_device *opened[MOST_DEVICES];
static int count;
static int64_t process; /* that opened them */

/* ---- blocks that are kept: powers of two ---- */
enum { SMALLEST = 8, LARGEST = 26, KEPT = 8 }; /* exponents; blocks of a size */
typedef struct bbi_pool {
    bbi_mutex *mutex;
    bbi_memory block[LARGEST + 1][KEPT];
    int count[LARGEST + 1];
} bbi_pool;

/* The exponent of the block for so many bytes; 0: none is kept. */
static int size_class(const bbi_device *device, size_t bytes) {
    int k = SMALLEST;
    while (k <= LARGEST && ((size_t)1 << k) < bytes) k++;
    return device->pool && k <= LARGEST ? k : 0;
}

static void give_back(bbi_device *device) {
    bbi_pool *pool = device->pool;
    if (!pool) return;
    bbi_mutex_lock(pool->mutex);
    for (int k = 0; k <= LARGEST; k++)
        while (pool->count[k] > 0) device->driver->release(device, pool->block[k][--pool->count[k]]);
    bbi_mutex_unlock(pool->mutex);
}

bb_status bbi_device_allocate(bbi_device *device, size_t bytes, bbi_memory *memory) {
    bbi_pool *pool = device->pool;
    int k = size_class(device, bytes);
    *memory = 0;
    if (k) {
        bbi_mutex_lock(pool->mutex);
        if (pool->count[k] > 0) *memory = pool->block[k][--pool->count[k]];
        bbi_mutex_unlock(pool->mutex);
        bytes = (size_t)1 << k;
    }
    if (*memory) return BB_OK;
    bb_status status = device->driver->allocate(device, bytes, memory);
    if (status != BB_OUT_OF_MEMORY || !pool) return status;
    give_back(device);
    return device->driver->allocate(device, bytes, memory);
}

void bbi_device_release(bbi_device *device, size_t bytes, bbi_memory memory) {
    bbi_pool *pool = device->pool;
    int k = size_class(device, bytes);
    if (!memory) return;
    if (k) {
        bbi_mutex_lock(pool->mutex);
        bool kept = pool->count[k] < KEPT;
        if (kept) pool->block[k][pool->count[k]++] = memory;
        bbi_mutex_unlock(pool->mutex);
        if (kept) return;
    }
    device->driver->release(device, memory);
}

static void open_pool(bbi_device *device) {
    const char *off = bbi_environment("BENBEN_DEVICE_POOL");
    if (off && off[0] == '0') return;
    device->pool = bbi_calloc(1, sizeof *device->pool);
    if (!device->pool) return;
    device->pool->mutex = bbi_mutex_new();
    if (device->pool->mutex) return;
    bbi_free(device->pool);
    device->pool = NULL;
}

/* ---- workspaces of streams ---- */
struct bbi_workspace {
    bbi_mutex *mutex;
    void *stream;
    bbi_memory memory;
    size_t bytes;
    bbi_workspace *next;
};

static bbi_workspace *workspace_of(bbi_device *device, void *stream) {
    bbi_workspace *w = NULL;
    bbi_global_lock(BBI_GLOBAL_SETUP);
    for (w = device->workspace; w && w->stream != stream;) w = w->next;
    if (!w && (w = bbi_calloc(1, sizeof *w)) != NULL) {
        w->stream = stream;
        w->mutex = bbi_mutex_new();
        if (w->mutex) {
            w->next = device->workspace;
            device->workspace = w;
        } else {
            bbi_free(w);
            w = NULL;
        }
    }
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    return w;
}

/* Where the block grows, kernels that use the old one may still run: releasing waits for them. */
bb_status bbi_workspace_take(bbi_device *device, void *stream, size_t bytes, bbi_workspace **workspace,
                             bbi_memory *memory) {
    bbi_workspace *w = *workspace = workspace_of(device, stream);
    if (!w) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a device's workspace");
    bbi_mutex_lock(w->mutex);
    bb_status status = BB_OK;
    if (w->bytes < bytes) {
        device->driver->release(device, w->memory);
        w->memory = 0, w->bytes = 0;
        status = device->driver->allocate(device, bytes, &w->memory);
        if (status == BB_OK) w->bytes = bytes;
    }
    *memory = w->memory;
    if (status != BB_OK) {
        bbi_mutex_unlock(w->mutex);
        *workspace = NULL;
    }
    return status;
}

void bbi_workspace_give(bbi_workspace *workspace) {
    if (workspace) bbi_mutex_unlock(workspace->mutex);
}

/* ---- copies that overlap work ---- */
static bb_status renew(bbi_device *device, char **buffer, size_t bytes) {
    void *memory = NULL;
    if (*buffer) device->driver->pinned_free(device, *buffer);
    *buffer = NULL;
    BBI_FORWARD(device->driver->pinned_new(device, bytes, &memory));
    *buffer = memory;
    return BB_OK;
}

static bb_status fill_stager(bbi_device *device, size_t bytes, bbi_stager *s) {
    for (int k = 0; k < 2; k++)
        if (!s->stream[k]) BBI_FORWARD(device->driver->stream_new(device, &s->stream[k]));
    if (s->bytes >= bytes) return BB_OK;
    s->bytes = 0;
    for (int k = 0; k < 2; k++) {
        BBI_FORWARD(renew(device, &s->in[k], bytes));
        BBI_FORWARD(renew(device, &s->out[k], bytes));
    }
    s->bytes = bytes;
    return BB_OK;
}

bb_status bbi_stager_take(bbi_device *device, size_t bytes, bbi_stager **stager) {
    *stager = NULL;
    bbi_global_lock(BBI_GLOBAL_SETUP);
    bbi_stager *s = device->stager;
    if (!s && (s = bbi_calloc(1, sizeof *s)) != NULL) {
        s->mutex = bbi_mutex_new();
        if (s->mutex) device->stager = s;
    }
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    if (!s || !s->mutex) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing copies to a device");
    bbi_mutex_lock(s->mutex);
    bb_status status = fill_stager(device, bytes, s);
    if (status == BB_OK)
        *stager = s;
    else
        bbi_mutex_unlock(s->mutex);
    return status;
}

void bbi_stager_give(bbi_stager *stager) {
    if (stager) bbi_mutex_unlock(stager->mutex);
}

/* ---- devices ---- */
static bb_status forked(const char *name) {
    return bbi_fail(BB_DEVICE,
                    "%s was opened before this process was forked, and no driver survives that: start processes by "
                    "spawn, or open the device in the child alone",
                    name);
}

bb_status bbi_device_check(const bbi_device *device) {
    return process == bbi_process_id() ? BB_OK : forked(device->name);
}

static bb_status find(const bbi_driver *driver, int number, bbi_device **device) {
    for (int k = 0; k < count; k++) {
        if (opened[k]->driver != driver || opened[k]->number != number) continue;
        *device = opened[k];
        return bbi_device_check(*device);
    }
    if (count > 0 && process != bbi_process_id()) return forked(opened[0]->name);
    if (count == MOST_DEVICES) return bbi_fail(BB_DEVICE, "more than %d devices", (int)MOST_DEVICES);
    BBI_FORWARD(driver->open(number, device));
    (*device)->driver = driver;
    (*device)->number = number;
    process = bbi_process_id();
    open_pool(*device);
    opened[count++] = *device;
    return BB_OK;
}

bb_status bbi_device_open(const bbi_driver *driver, int number, bbi_device **device) {
    static _Atomic(bbi_mutex *) guard;
    bbi_global_lock(BBI_GLOBAL_SETUP);
    bbi_mutex *mutex = guard;
    if (!mutex) guard = mutex = bbi_mutex_new();
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    if (!mutex) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while opening a device");
    bbi_mutex_lock(mutex);
    bb_status status = find(driver, number, device);
    bbi_mutex_unlock(mutex);
    return status;
}
