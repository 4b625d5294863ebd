/* cuda.c: NVIDIA's processors through the driver, libcuda, which is opened at run time; its few names that are used are
 * declared here as cuda.h has them. The primary context is used, which torch and others share, and is current only during
 * a call. Nothing is done before the first device is asked for. */
#include "device.h"
#include "nvrtc.h"

#include <stdio.h>
#include <string.h>

typedef struct cu_opaque *cu_handle; /* context, module, function, stream */
typedef unsigned long long cu_pointer;
enum {
    CU_CLOCK_RATE = 13,
    CU_MULTIPROCESSORS = 16,
    CU_CAPABILITY_MAJOR = 75, /* attributes of a device */
    CU_CAPABILITY_MINOR = 76,
    CU_MEMORY_POOLS = 115,
    CU_POINTER_DEVICE_ORDINAL = 9,
    CU_STREAM_NON_BLOCKING = 1,
    CU_POOL_RELEASE_THRESHOLD = 4,
    CU_OUT_OF_MEMORY = 2,
    CU_NO_DEVICE = 100
};

#define CU_FUNCTIONS(F)                                                                                                \
    F(cuInit, cuInit, (unsigned))                                                                                      \
    F(cuDriverGetVersion, cuDriverGetVersion, (int *))                                                                 \
    F(cuGetErrorString, cuGetErrorString, (int, const char **))                                                        \
    F(cuDeviceGetCount, cuDeviceGetCount, (int *))                                                                     \
    F(cuDeviceGet, cuDeviceGet, (int *, int))                                                                          \
    F(cuDeviceGetName, cuDeviceGetName, (char *, int, int))                                                            \
    F(cuDeviceGetAttribute, cuDeviceGetAttribute, (int *, int, int))                                                   \
    F(cuDeviceTotalMem, cuDeviceTotalMem_v2, (size_t *, int))                                                          \
    F(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (cu_handle *, int))                                          \
    F(cuCtxPushCurrent, cuCtxPushCurrent_v2, (cu_handle))                                                              \
    F(cuCtxPopCurrent, cuCtxPopCurrent_v2, (cu_handle *))                                                              \
    F(cuStreamCreate, cuStreamCreate, (cu_handle *, unsigned))                                                         \
    F(cuStreamSynchronize, cuStreamSynchronize, (cu_handle))                                                           \
    F(cuModuleLoadData, cuModuleLoadData, (cu_handle *, const void *))                                                 \
    F(cuModuleUnload, cuModuleUnload, (cu_handle))                                                                     \
    F(cuModuleGetFunction, cuModuleGetFunction, (cu_handle *, cu_handle, const char *))                                \
    F(cuMemAlloc, cuMemAlloc_v2, (cu_pointer *, size_t))                                                               \
    F(cuMemFree, cuMemFree_v2, (cu_pointer))                                                                           \
    F(cuMemHostAlloc, cuMemHostAlloc, (void **, size_t, unsigned))                                                     \
    F(cuMemFreeHost, cuMemFreeHost, (void *))                                                                          \
    F(cuMemGetInfo, cuMemGetInfo_v2, (size_t *, size_t *))                                                             \
    F(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, (cu_pointer, const void *, size_t, cu_handle))                          \
    F(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, (void *, cu_pointer, size_t, cu_handle))                                \
    F(cuLaunchKernel, cuLaunchKernel,                                                                                  \
      (cu_handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cu_handle, void **, void **))

/* memory in the order of streams: CUDA 11.2; whose memory an address is */
#define CU_POOL_FUNCTIONS(F)                                                                                           \
    F(cuMemPoolCreate, cuMemPoolCreate, (cu_handle *, const void *))                                                   \
    F(cuMemPoolSetAttribute, cuMemPoolSetAttribute, (cu_handle, int, void *))                                          \
    F(cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync, (cu_pointer *, size_t, cu_handle, cu_handle))                  \
    F(cuMemFreeAsync, cuMemFreeAsync, (cu_pointer, cu_handle))                                                         \
    F(cuPointerGetAttribute, cuPointerGetAttribute, (void *, int, cu_pointer))

typedef struct functions {
#define DECLARE(name, symbol, parameters) int(*name) parameters;
    CU_FUNCTIONS(DECLARE)
    CU_POOL_FUNCTIONS(DECLARE)
#undef DECLARE
} functions;

typedef struct cuda {
    bbi_device device;
    functions cu;
    const bbi_nvrtc *nvrtc;
    int id, arch, driver_version;
    cu_handle context, stream, pool;
} cuda;
typedef struct cu_kernels {
    cu_handle module, function[BBI_KERNEL_SYMBOLS];
} cu_kernels;

/* ---- messages ---- */
static bb_status failure(const functions *cu, const char *name, int code, const char *what) {
    const char *text = NULL;
    if (cu->cuGetErrorString(code, &text) != 0 || !text) text = "unknown error";
    return bbi_fail(code == CU_OUT_OF_MEMORY ? BB_OUT_OF_MEMORY : BB_DEVICE, "CUDA (%s): %s: %s (%d)", name, what, text,
                    code);
}

static bb_status failed(const cuda *d, int code, const char *what) {
    return failure(&d->cu, d->device.name, code, what);
}

/* ---- the driver and its devices ---- */
static bb_status load(functions *cu) {
#ifdef _WIN32
    const char *name = "nvcuda.dll";
#else
    const char *name = "libcuda.so.1";
#endif
    const char *named = bbi_environment("BENBEN_LIBCUDA"), *why = "";
    void *library = bbi_library_open(named ? named : name, &why);
    if (!library)
        return bbi_fail(
            BB_DEVICE,
            "CUDA has no driver here: %s. Install NVIDIA's driver (it brings %s; in a container, start it with "
            "--gpus all), or choose another target: cpu, opencl",
            why, name);
#define RESOLVE(name, exported, parameters)                                                                            \
    {                                                                                                                  \
        void *symbol = bbi_library_symbol(library, #exported);                                                         \
        if (!symbol) return bbi_fail(BB_DEVICE, "the CUDA driver lacks %s: install a newer one", #exported);           \
        memcpy(&cu->name, &symbol, sizeof symbol);                                                                     \
    }
    CU_FUNCTIONS(RESOLVE)
#undef RESOLVE
#define RESOLVE(name, exported, parameters)                                                                            \
    {                                                                                                                  \
        void *symbol = bbi_library_symbol(library, #exported);                                                         \
        memcpy(&cu->name, &symbol, sizeof symbol);                                                                     \
    }
    CU_POOL_FUNCTIONS(RESOLVE)
#undef RESOLVE
    int code = cu->cuInit(0);
    if (code == CU_NO_DEVICE)
        return bbi_fail(BB_DEVICE,
                        "CUDA has a driver here but sees no device: look at `nvidia-smi` and CUDA_VISIBLE_DEVICES");
    return code == 0 ? BB_OK : failure(cu, "driver", code, "it does not start");
}

/* Multiprocessors of 128 lanes; float64 has half of them in the models for computing centres, two elsewhere. */
static void estimate_rate(cuda *d) {
    int processors = 0, kilohertz = 0;
    d->cu.cuDeviceGetAttribute(&processors, CU_MULTIPROCESSORS, d->id);
    d->cu.cuDeviceGetAttribute(&kilohertz, CU_CLOCK_RATE, d->id);
    double lanes = 128.0 * (processors > 0 ? processors : 20) * 1e3 * (kilohertz > 0 ? kilohertz : 1400000);
    d->device.rate[0] = lanes;
    d->device.rate[1] =
        d->arch == 60 || d->arch == 70 || d->arch == 80 || d->arch == 90 || d->arch == 100 ? lanes / 2 : lanes / 64;
}

static bb_status ask(cuda *d, int number) {
    const functions *cu = &d->cu;
    int count = 0, major = 0, minor = 0;
    size_t memory = 0;
    int code = cu->cuDeviceGetCount(&count);
    if (code != 0) return failed(d, code, "counting devices");
    if (number < 0 || number >= count)
        return bbi_fail(BB_BAD_ARGUMENT, "CUDA device %d: there are %d, from 0 on", number, count);
    if ((code = cu->cuDeviceGet(&d->id, number)) != 0) return failed(d, code, "opening the device");
    cu->cuDeviceGetName(d->device.name, (int)sizeof d->device.name - 1, d->id);
    if ((code = cu->cuDeviceGetAttribute(&major, CU_CAPABILITY_MAJOR, d->id)) != 0 ||
        (code = cu->cuDeviceGetAttribute(&minor, CU_CAPABILITY_MINOR, d->id)) != 0 ||
        (code = cu->cuDeviceTotalMem(&memory, d->id)) != 0 || (code = cu->cuDriverGetVersion(&d->driver_version)) != 0)
        return failed(d, code, "asking the device");
    d->arch = 10 * major + minor;
    estimate_rate(d);
    d->device.memory = d->device.largest = (int64_t)memory;
    d->device.has_double = true;
    return BB_OK;
}

static int enter(const cuda *d) { return d->cu.cuCtxPushCurrent(d->context); }

static void leave(const cuda *d) {
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
static void make_pool(cuda *d) {
    int has = 0;
    unsigned long long keep = UINT64_MAX;
    pool_properties p = {.type = 1, .location = 1, .id = d->id};
    const functions *cu = &d->cu;
    if (!cu->cuMemPoolCreate || !cu->cuMemPoolSetAttribute || !cu->cuMemAllocFromPoolAsync || !cu->cuMemFreeAsync)
        return;
    if (cu->cuDeviceGetAttribute(&has, CU_MEMORY_POOLS, d->id) != 0 || !has) return;
    if (cu->cuMemPoolCreate(&d->pool, &p) != 0) return;
    cu->cuMemPoolSetAttribute(d->pool, CU_POOL_RELEASE_THRESHOLD, &keep);
    d->device.has_stream_memory = true;
}

static bb_status start(cuda *d, int number) {
    snprintf(d->device.name, sizeof d->device.name, "device %d", number);
    BBI_FORWARD(load(&d->cu));
    BBI_FORWARD(ask(d, number));
    BBI_FORWARD(bbi_nvrtc_find(&d->nvrtc));
    int code = d->cu.cuDevicePrimaryCtxRetain(&d->context, d->id);
    if (code == 0) code = enter(d);
    if (code != 0) return failed(d, code, "no context");
    code = d->cu.cuStreamCreate(&d->stream, CU_STREAM_NON_BLOCKING);
    if (code == 0) make_pool(d);
    leave(d);
    d->device.stream = d->stream;
    return code == 0 ? BB_OK : failed(d, code, "no stream");
}

static bb_status cu_open(int number, bbi_device **device) {
    cuda *d = bbi_calloc(1, sizeof *d);
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
    cuda *d = (cuda *)device;
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
        if (code != 0) status = failed(d, code, "loading a kernel");
    }
    if (status == BB_OK)
        *kernels = all;
    else
        bbi_free(all);
    return status;
}

static void cu_drop(bbi_device *device, void *kernels) {
    cuda *d = (cuda *)device;
    cu_kernels *all = kernels;
    if (all && bbi_device_check(device) == BB_OK && enter(d) == 0) {
        d->cu.cuModuleUnload(all->module);
        leave(d);
    }
    bbi_free(all);
}

static bb_status cu_launch(bbi_device *device, void *stream, void *kernels, int number, int64_t blocks, int threads,
                           size_t local_bytes, const bbi_argument *arguments, int count) {
    cuda *d = (cuda *)device;
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
    return code == 0 ? BB_OK : failed(d, code, "starting a kernel");
}

/* ---- memory ---- */
static bb_status no_memory(const cuda *d, int code, size_t bytes) {
    if (code != CU_OUT_OF_MEMORY) return failed(d, code, "allocating memory");
    return bbi_fail(BB_OUT_OF_MEMORY,
                    "CUDA (%s): %lld bytes do not fit into the memory of the device: divide the rows or "
                    "the batch among several calls",
                    d->device.name, (long long)bytes);
}

static bb_status cu_allocate(bbi_device *device, size_t bytes, bbi_memory *memory) {
    cuda *d = (cuda *)device;
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
    cuda *d = (cuda *)device;
    if (!memory || enter(d) != 0) return;
    d->cu.cuMemFree(memory);
    leave(d);
}

static bb_status cu_stream_allocate(bbi_device *device, void *stream, size_t bytes, bbi_memory *memory) {
    cuda *d = (cuda *)device;
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
    cuda *d = (cuda *)device;
    if (!memory || enter(d) != 0) return;
    d->cu.cuMemFreeAsync(memory, stream);
    leave(d);
}

static bb_status cu_write(bbi_device *device, bbi_memory to, size_t offset, const void *from, size_t bytes) {
    cuda *d = (cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyHtoDAsync(to + offset, from, bytes,
                                       d->stream); /* from pageable memory: copied when it returns */
        if (code == 0) code = d->cu.cuStreamSynchronize(d->stream);
        leave(d);
    }
    return code == 0 ? BB_OK : failed(d, code, "copying to the device");
}

/* From pageable memory the driver has taken the bytes when it returns. */
static bb_status cu_send(bbi_device *device, void *stream, bbi_memory to, const void *from, size_t bytes) {
    cuda *d = (cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyHtoDAsync(to, from, bytes, stream);
        leave(d);
    }
    return code == 0 ? BB_OK : failed(d, code, "copying to the device");
}

static bb_status cu_read(bbi_device *device, void *to, bbi_memory from, size_t offset, size_t bytes) {
    cuda *d = (cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyDtoHAsync(to, from + offset, bytes, d->stream);
        if (code == 0) code = d->cu.cuStreamSynchronize(d->stream);
        leave(d);
    }
    return code == 0 ? BB_OK : failed(d, code, "copying from the device, or a kernel before that");
}

/* ---- copies that overlap work ---- */
static bb_status cu_receive(bbi_device *device, void *stream, void *to, bbi_memory from, size_t bytes) {
    cuda *d = (cuda *)device;
    if (bytes == 0) return BB_OK;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemcpyDtoHAsync(to, from, bytes, stream);
        leave(d);
    }
    return code == 0 ? BB_OK : failed(d, code, "copying from the device");
}

static bb_status cu_stream_new(bbi_device *device, void **stream) {
    cuda *d = (cuda *)device;
    cu_handle made = NULL;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuStreamCreate(&made, CU_STREAM_NON_BLOCKING);
        leave(d);
    }
    *stream = made;
    return code == 0 ? BB_OK : failed(d, code, "no stream");
}

static bb_status cu_pinned_new(bbi_device *device, size_t bytes, void **memory) {
    cuda *d = (cuda *)device;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuMemHostAlloc(memory, bytes, 0);
        leave(d);
    }
    return code == 0 ? BB_OK : failed(d, code, "pinned memory of the host (BENBEN_DEVICE_STAGE=0: do without)");
}

static void cu_pinned_free(bbi_device *device, void *memory) {
    cuda *d = (cuda *)device;
    if (enter(d) != 0) return;
    d->cu.cuMemFreeHost(memory);
    leave(d);
}

static int64_t cu_free_memory(bbi_device *device) {
    cuda *d = (cuda *)device;
    size_t left = (size_t)device->memory, all = 0;
    if (enter(d) == 0) {
        if (d->cu.cuMemGetInfo(&left, &all) != 0) left = (size_t)device->memory;
        leave(d);
    }
    return (int64_t)left;
}

static bb_status cu_wait(bbi_device *device, void *stream) {
    cuda *d = (cuda *)device;
    int code = enter(d);
    if (code == 0) {
        code = d->cu.cuStreamSynchronize(stream);
        leave(d);
    }
    return code == 0 ? BB_OK : failed(d, code, "waiting for the caller's stream");
}

/* ---- benben doctor ---- */
static void describe_compiler(bbi_text *text) {
    const bbi_nvrtc *nvrtc;
    if (bbi_nvrtc_find(&nvrtc) == BB_OK) {
        bbi_text_add(text, "NVRTC %d.%d (%s)\n", bbi_nvrtc_version(nvrtc) / 1000, bbi_nvrtc_version(nvrtc) % 1000,
                     bbi_nvrtc_path(nvrtc));
        return;
    }
    bbi_text_add(text, "%s\n", bb_last_error());
    bb_clear_error();
}

static void cu_describe(bbi_text *text) {
    functions cu;
    int count = 0, version = 0;
    describe_compiler(text);
    bbi_text_add(text, "              ");
    if (load(&cu) != BB_OK) {
        bbi_text_add(text, "%s\n", bb_last_error());
        bb_clear_error();
        return;
    }
    cu.cuDriverGetVersion(&version);
    cu.cuDeviceGetCount(&count);
    bbi_text_add(text, "driver for CUDA %d.%d, %d devices\n", version / 1000, version % 1000 / 10, count);
    for (int k = 0; k < count; k++) {
        cuda d = {.cu = cu};
        if (ask(&d, k) == BB_OK)
            bbi_text_add(text, "              device %d: %s, compute capability %d.%d, %.1f GiB\n", k, d.device.name,
                         d.arch / 10, d.arch % 10, (double)d.device.memory / 1073741824);
    }
}

/* ---- which devices there are, without starting one ---- */
static bb_status cu_count(int *count) {
    functions cu;
    BBI_FORWARD(load(&cu));
    int code = cu.cuDeviceGetCount(count);
    return code == 0 ? BB_OK : failure(&cu, "driver", code, "counting devices");
}

static bb_status cu_look(int number, bbi_device_facts *facts) {
    cuda d = {0};
    BBI_FORWARD(load(&d.cu));
    BBI_FORWARD(ask(&d, number));
    *facts = (bbi_device_facts){.memory = d.device.memory, .has_double = true, .architecture = d.arch};
    snprintf(facts->name, sizeof facts->name, "%.127s", d.device.name);
    return BB_OK;
}

/* Asked for every array of some libraries: what that takes is looked up once. */
static bb_status find_driver(const functions **cu, int *devices) {
    static functions found;
    static int count;
    bbi_global_lock(BBI_GLOBAL_SETUP);
    bb_status status = count ? BB_OK : load(&found);
    if (status == BB_OK && !count && found.cuDeviceGetCount(&count) != 0) count = 1;
    *devices = count;
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    *cu = &found;
    return status;
}

static bb_status cu_owner(bbi_memory memory, int *number) {
    const functions *cu;
    int count;
    *number = 0;
    BBI_FORWARD(find_driver(&cu, &count));
    if (count < 2 || !cu->cuPointerGetAttribute) return BB_OK;
    int code = cu->cuPointerGetAttribute(number, CU_POINTER_DEVICE_ORDINAL, memory);
    return code == 0 ? BB_OK : failure(cu, "driver", code, "whose memory an array lies in");
}

const bbi_driver bbi_driver_cuda = {.name = "cuda",
                                    .target = BB_TARGET_CUDA,
                                    .count = cu_count,
                                    .look = cu_look,
                                    .owner = cu_owner,
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
                                    .describe = cu_describe};
