/* cuda.c: NVIDIA's processors through the driver: contexts, kernels, memory and streams of a device. The primary
 * context is used, which torch and others share, and is current only during a call. */
#include "cuda_driver.h"

#include <stdio.h>

typedef struct cu_kernels {
    cu_handle module, function[BBI_KERNEL_SYMBOLS];
} cu_kernels;

/* ---- devices ---- */
static int enter(const bbi_cuda *d) { return d->cu.cuCtxPushCurrent(d->context); }

static void leave(const bbi_cuda *d) {
    cu_handle popped;
    d->cu.cuCtxPopCurrent(&popped);
}

/* as CUmemPoolProps */
typedef struct pool_properties {
    int type, handles, location, id; /* 1: pinned; 0: none; 1: a device */
    void *security;
    size_t most;
    unsigned char reserved[56];
} pool_properties;

/* A pool of our own keeps what it has: without a threshold each synchronisation would give it back to the system. Where
 * there is none, streams have workspaces. */
static void make_pool(bbi_cuda *d) {
    int has = 0;
    unsigned long long keep = UINT64_MAX;
    pool_properties p = {.type = 1, .location = 1, .id = d->id};
    const bbi_cuda_functions *cu = &d->cu;
    if (!cu->cuMemPoolCreate || !cu->cuMemPoolSetAttribute || !cu->cuMemAllocFromPoolAsync || !cu->cuMemFreeAsync)
        return;
    if (cu->cuDeviceGetAttribute(&has, CU_MEMORY_POOLS, d->id) != 0 || !has) return;
    if (cu->cuMemPoolCreate(&d->pool, &p) != 0) return;
    cu->cuMemPoolSetAttribute(d->pool, CU_POOL_RELEASE_THRESHOLD, &keep);
    d->device.has_stream_memory = true;
}

static bb_status start(bbi_cuda *d, int number) {
    snprintf(d->device.name, sizeof d->device.name, "device %d", number);
    BBI_FORWARD(bbi_cuda_load(&d->cu));
    BBI_FORWARD(bbi_cuda_ask(d, number));
    BBI_FORWARD(bbi_nvrtc_find(&d->nvrtc));
    int code = d->cu.cuDevicePrimaryCtxRetain(&d->context, d->id);
    if (code == 0) code = enter(d);
    if (code != 0) return bbi_cuda_failed(d, code, "no context");
    code = d->cu.cuStreamCreate(&d->stream, CU_STREAM_NON_BLOCKING);
    if (code == 0) make_pool(d);
    leave(d);
    d->device.stream = d->stream;
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "no stream");
}

static bb_status cu_open(int number, bbi_device **device) {
    bbi_cuda *d = bbi_calloc(1, sizeof *d);
    if (!d) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while opening a device");
    bb_status status = start(d, number);
    if (status == BB_OK)
        *device = &d->device;
    else
        bbi_free(d);
    return status;
}

/* ---- kernels ---- */
static bb_status cu_build(bbi_device *device, const char *source, const char *const *symbols, void **kernels) {
    bbi_cuda *d = (bbi_cuda *)device;
    char *image;
    size_t length;
    cu_kernels *all = bbi_calloc(1, sizeof *all);
    if (!all) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while loading a kernel");
    bb_status status = bbi_nvrtc_compile(d->nvrtc, source, d->arch, d->driver_version, &image, &length);
    if (status == BB_OK) {
        int code = enter(d);
        if (code == 0) {
            code = d->cu.cuModuleLoadData(&all->module, image);
            for (int k = 0; code == 0 && symbols[k]; k++) {
                code = d->cu.cuModuleGetFunction(&all->function[k], all->module, symbols[k]);
                if (code != 0) d->cu.cuModuleUnload(all->module);
            }
            leave(d);
        }
        bbi_free(image);
        if (code != 0) status = bbi_cuda_failed(d, code, "loading a kernel");
    }
    if (status == BB_OK)
        *kernels = all;
    else
        bbi_free(all);
    return status;
}

static void cu_drop(bbi_device *device, void *kernels) {
    bbi_cuda *d = (bbi_cuda *)device;
    cu_kernels *all = kernels;
    if (all && bbi_device_check(device) == BB_OK && enter(d) == 0) {
        d->cu.cuModuleUnload(all->module);
        leave(d);
    }
    bbi_free(all);
}

static bb_status cu_launch(bbi_device *device, void *stream, void *kernels, int number, int64_t blocks, int threads,
                           size_t local_bytes, const bbi_argument *arguments, int count) {
    bbi_cuda *d = (bbi_cuda *)device;
    const cu_kernels *all = kernels;
    void *place[BBI_MOST_ARGUMENTS];
    if (blocks > INT32_MAX)
        return bbi_fail(BB_DEVICE, "CUDA (%s): %lld blocks in a launch: divide the rows among several calls",
                        d->device.name, (long long)blocks);
    for (int n = 0; n < count; n++) place[n] = (void *)(uintptr_t)arguments[n].value;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuLaunchKernel(all->function[number], (unsigned)blocks, 1, 1, (unsigned)threads, 1, 1,
                                    (unsigned)local_bytes, stream, place, NULL);
        leave(d);
    }
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "starting a kernel");
}

/* ---- memory ---- */
static bb_status no_memory(const bbi_cuda *d, int code, size_t bytes) {
    if (code != CU_OUT_OF_MEMORY) return bbi_cuda_failed(d, code, "allocating memory");
    return bbi_fail(BB_OUT_OF_MEMORY,
                    "CUDA (%s): %lld bytes do not fit into the memory of the device: divide the rows or "
                    "the batch among several calls",
                    d->device.name, (long long)bytes);
}

static bb_status cu_allocate(bbi_device *device, size_t bytes, bbi_memory *memory) {
    bbi_cuda *d = (bbi_cuda *)device;
    cu_pointer pointer = 0;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemAlloc(&pointer, bytes ? bytes : 1);
        leave(d);
    }
    *memory = code == 0 ? pointer : 0;
    return code == 0 ? BB_OK : no_memory(d, code, bytes);
}

static void cu_release(bbi_device *device, bbi_memory memory) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (!memory || enter(d) != 0) return;
    d->cu.cuMemFree(memory);
    leave(d);
}

static bb_status cu_stream_allocate(bbi_device *device, void *stream, size_t bytes, bbi_memory *memory) {
    bbi_cuda *d = (bbi_cuda *)device;
    cu_pointer pointer = 0;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemAllocFromPoolAsync(&pointer, bytes ? bytes : 1, d->pool, stream);
        leave(d);
    }
    *memory = code == 0 ? pointer : 0;
    return code == 0 ? BB_OK : no_memory(d, code, bytes);
}

static void cu_stream_release(bbi_device *device, void *stream, bbi_memory memory) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (!memory || enter(d) != 0) return;
    d->cu.cuMemFreeAsync(memory, stream);
    leave(d);
}

static bb_status cu_write(bbi_device *device, bbi_memory to, size_t offset, const void *from, size_t bytes) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyHtoDAsync(to + offset, from, bytes,
                                       d->stream); /* from pageable memory: copied when it returns */
        if (code == 0) code = d->cu.cuStreamSynchronize(d->stream);
        leave(d);
    }
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "copying to the device");
}

/* From pageable memory the driver has taken the bytes when it returns. */
static bb_status cu_send(bbi_device *device, void *stream, bbi_memory to, const void *from, size_t bytes) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyHtoDAsync(to, from, bytes, stream);
        leave(d);
    }
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "copying to the device");
}

static bb_status cu_read(bbi_device *device, void *to, bbi_memory from, size_t offset, size_t bytes) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyDtoHAsync(to, from + offset, bytes, d->stream);
        if (code == 0) code = d->cu.cuStreamSynchronize(d->stream);
        leave(d);
    }
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "copying from the device, or a kernel before that");
}

/* ---- copies that overlap work ---- */
static bb_status cu_receive(bbi_device *device, void *stream, void *to, bbi_memory from, size_t bytes) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyDtoHAsync(to, from, bytes, stream);
        leave(d);
    }
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "copying from the device");
}

static bb_status cu_stream_new(bbi_device *device, void **stream) {
    bbi_cuda *d = (bbi_cuda *)device;
    cu_handle made = NULL;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuStreamCreate(&made, CU_STREAM_NON_BLOCKING);
        leave(d);
    }
    *stream = made;
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "no stream");
}

static bb_status cu_pinned_new(bbi_device *device, size_t bytes, void **memory) {
    bbi_cuda *d = (bbi_cuda *)device;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemHostAlloc(memory, bytes, 0);
        leave(d);
    }
    return code == 0 ? BB_OK
                     : bbi_cuda_failed(d, code, "pinned memory of the host (BENBEN_DEVICE_STAGE=0: do without)");
}

static void cu_pinned_free(bbi_device *device, void *memory) {
    bbi_cuda *d = (bbi_cuda *)device;
    if (enter(d) != 0) return;
    d->cu.cuMemFreeHost(memory);
    leave(d);
}

static int64_t cu_free_memory(bbi_device *device) {
    bbi_cuda *d = (bbi_cuda *)device;
    size_t left = (size_t)device->memory, all = 0;
    if (enter(d) == 0) {
        if (d->cu.cuMemGetInfo(&left, &all) != 0) left = (size_t)device->memory;
        leave(d);
    }
    return (int64_t)left;
}

static bb_status cu_wait(bbi_device *device, void *stream) {
    bbi_cuda *d = (bbi_cuda *)device;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuStreamSynchronize(stream);
        leave(d);
    }
    return code == 0 ? BB_OK : bbi_cuda_failed(d, code, "waiting for the caller's stream");
}

const bbi_driver bbi_driver_cuda = {.name = "cuda",
                                    .target = BB_TARGET_CUDA,
                                    .count = bbi_cuda_count,
                                    .look = bbi_cuda_look,
                                    .owner = bbi_cuda_owner,
                                    .open = cu_open,
                                    .build = cu_build,
                                    .drop = cu_drop,
                                    .allocate = cu_allocate,
                                    .release = cu_release,
                                    .write = cu_write,
                                    .send = cu_send,
                                    .read = cu_read,
                                    .launch = cu_launch,
                                    .wait = cu_wait,
                                    .stream_allocate = cu_stream_allocate,
                                    .stream_release = cu_stream_release,
                                    .receive = cu_receive,
                                    .stream_new = cu_stream_new,
                                    .pinned_new = cu_pinned_new,
                                    .pinned_free = cu_pinned_free,
                                    .free_memory = cu_free_memory,
                                    .describe = bbi_cuda_describe};
