/* opencl.c: OpenCL 1.2 devices, of any vendor, through the loader libOpenCL, which is opened at run time. The few names
 * that are used are declared here as the standard has them. */
#include "device.h"

#include <stdio.h>
#include <string.h>

typedef struct cl_opaque *cl_handle; /* platform, device, context, queue, program, kernel, memory */
typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_bits;
#if defined(_WIN32) && !defined(_WIN64)
#define CL_CALL __stdcall
#else
#define CL_CALL
#endif
enum {
    CL_PLATFORM_NAME = 0x0902,
    CL_DEVICE_TYPE = 0x1000,
    CL_DEVICE_MAX_WORK_GROUP_SIZE = 0x1004,
    CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    CL_DEVICE_GLOBAL_MEM_SIZE = 0x101f,
    CL_DEVICE_LOCAL_MEM_SIZE = 0x1023,
    CL_DEVICE_NAME = 0x102b,
    CL_DEVICE_DOUBLE_FP_CONFIG = 0x1032,
    CL_PROGRAM_BUILD_LOG = 0x1183,
    CL_DEVICE_TYPE_GPU = 4,
    CL_MEM_READ_WRITE = 1,
    CL_MEM_READ_ONLY = 4,
    CL_MEM_COPY_HOST_PTR = 32,
    MAX_PLATFORMS = 16,
    MAX_DEVICES = 32
};
static const cl_bits cl_device_type_all = 0xffffffff;

#define CL_FUNCTIONS(F)                                                                                                \
    F(clGetPlatformIDs, cl_int, (cl_uint, cl_handle *, cl_uint *))                                                     \
    F(clGetPlatformInfo, cl_int, (cl_handle, cl_uint, size_t, void *, size_t *))                                       \
    F(clGetDeviceIDs, cl_int, (cl_handle, cl_bits, cl_uint, cl_handle *, cl_uint *))                                   \
    F(clGetDeviceInfo, cl_int, (cl_handle, cl_uint, size_t, void *, size_t *))                                         \
    F(clCreateContext, cl_handle, (const intptr_t *, cl_uint, const cl_handle *, void *, void *, cl_int *))            \
    F(clCreateCommandQueue, cl_handle, (cl_handle, cl_handle, cl_bits, cl_int *))                                      \
    F(clCreateProgramWithSource, cl_handle, (cl_handle, cl_uint, const char **, const size_t *, cl_int *))             \
    F(clBuildProgram, cl_int, (cl_handle, cl_uint, const cl_handle *, const char *, void *, void *))                   \
    F(clGetProgramBuildInfo, cl_int, (cl_handle, cl_handle, cl_uint, size_t, void *, size_t *))                        \
    F(clCreateKernel, cl_handle, (cl_handle, const char *, cl_int *))                                                  \
    F(clSetKernelArg, cl_int, (cl_handle, cl_uint, size_t, const void *))                                              \
    F(clCreateBuffer, cl_handle, (cl_handle, cl_bits, size_t, void *, cl_int *))                                       \
    F(clEnqueueWriteBuffer, cl_int,                                                                                    \
      (cl_handle, cl_handle, cl_uint, size_t, size_t, const void *, cl_uint, const void *, void *))                    \
    F(clEnqueueReadBuffer, cl_int,                                                                                     \
      (cl_handle, cl_handle, cl_uint, size_t, size_t, void *, cl_uint, const void *, void *))                          \
    F(clEnqueueNDRangeKernel, cl_int,                                                                                  \
      (cl_handle, cl_handle, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const void *, void *))  \
    F(clFinish, cl_int, (cl_handle))                                                                                   \
    F(clReleaseMemObject, cl_int, (cl_handle))                                                                         \
    F(clReleaseKernel, cl_int, (cl_handle))                                                                            \
    F(clReleaseProgram, cl_int, (cl_handle))                                                                           \
    F(clReleaseContext, cl_int, (cl_handle))

typedef struct functions {
#define DECLARE(name, result, parameters) result(CL_CALL *name) parameters;
    CL_FUNCTIONS(DECLARE)
#undef DECLARE
} functions;

typedef struct opencl {
    bbi_device device;
    functions cl;
    cl_handle id, context, queue;
    bbi_mutex *mutex; /* arguments of a kernel and its launch belong together */
    cl_handle table[BBI_MOST_ARGUMENTS];
    int tables;
} opencl;

static const char *error_text(cl_int code) {
    switch (code) {
    case -1: return "no such device";
    case -2: return "the device is not available";
    case -3: return "no compiler";
    case -4:
    case -61: return "not enough memory on the device";
    case -5: return "not enough resources on the device";
    case -6: return "not enough memory on the host";
    case -11: return "the program could not be built";
    case -48: return "an invalid kernel";
    case -51:
    case -52: return "wrong arguments";
    case -54: return "an impossible size of work-groups";
    case -1001: return "no platform is installed";
    default: return "an error";
    }
}

static bb_status failure(const opencl *d, cl_int code, const char *what) {
    bb_status status = code == -4 || code == -5 || code == -6 || code == -61 ? BB_OUT_OF_MEMORY : BB_DEVICE;
    return bbi_fail(status, "OpenCL (%s): %s: %s (%d)", d->device.name, what, error_text(code), (int)code);
}

/* ---- the library and its devices ---- */
static bb_status load(functions *cl) {
    static const char *const names[] = {
#ifdef _WIN32
        "OpenCL.dll"
#else
        "libOpenCL.so.1", "libOpenCL.so"
#endif
    };
    const char *named = bbi_environment("BENBEN_OPENCL_LIBRARY"), *why = "";
    void *library = named ? bbi_library_open(named, &why) : NULL;
    for (size_t k = 0; !library && !named && k < sizeof names / sizeof *names; k++)
        library = bbi_library_open(names[k], &why);
    if (!library)
        return bbi_fail(
            BB_DEVICE,
            "OpenCL is not installed: %s. Install its loader (Debian: ocl-icd-libopencl1) and a driver of your "
            "device (for the processor itself: pocl-opencl-icd), or name the loader in BENBEN_OPENCL_LIBRARY",
            why);
#define RESOLVE(name, result, parameters)                                                                              \
    {                                                                                                                  \
        void *symbol = bbi_library_symbol(library, #name);                                                             \
        if (!symbol) return bbi_fail(BB_DEVICE, "the OpenCL library lacks %s: install OpenCL 1.2", #name);             \
        memcpy(&cl->name, &symbol, sizeof symbol);                                                                     \
    }
    CL_FUNCTIONS(RESOLVE)
#undef RESOLVE
    return BB_OK;
}

/* All devices, graphics processors first. */
static int list_devices(const functions *cl, cl_handle *devices) {
    cl_handle platforms[MAX_PLATFORMS], found[MAX_DEVICES];
    cl_uint platform_count = 0, found_count;
    int count = 0;
    if (cl->clGetPlatformIDs(MAX_PLATFORMS, platforms, &platform_count) != 0) return 0;
    if (platform_count > MAX_PLATFORMS) platform_count = MAX_PLATFORMS;
    for (int others = 0; others < 2; others++) {
        for (cl_uint p = 0; p < platform_count; p++) {
            found_count = 0;
            if (cl->clGetDeviceIDs(platforms[p], cl_device_type_all, MAX_DEVICES, found, &found_count) != 0) continue;
            for (cl_uint k = 0; k < found_count && k < MAX_DEVICES && count < MAX_DEVICES; k++) {
                cl_bits type = 0;
                cl->clGetDeviceInfo(found[k], CL_DEVICE_TYPE, sizeof type, &type, NULL);
                if (!(type & CL_DEVICE_TYPE_GPU) == (others == 1)) devices[count++] = found[k];
            }
        }
    }
    return count;
}

static bb_status find_device(opencl *d, int number) {
    cl_handle devices[MAX_DEVICES];
    int count = list_devices(&d->cl, devices);
    if (count == 0)
        return bbi_fail(
            BB_DEVICE,
            "OpenCL has no device here: install the driver of your device (for the processor itself, Debian: "
            "pocl-opencl-icd); `clinfo -l` lists what OpenCL sees");
    if (number < 0 || number >= count)
        return bbi_fail(BB_BAD_ARGUMENT, "OpenCL device %d: there are %d, from 0 on", number, count);
    d->id = devices[number];
    return BB_OK;
}

static void ask(opencl *d) {
    uint64_t number = 0;
    const functions *cl = &d->cl;
    cl->clGetDeviceInfo(d->id, CL_DEVICE_NAME, sizeof d->device.name - 1, d->device.name, NULL);
    cl->clGetDeviceInfo(d->id, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof number, &number, NULL);
    d->device.has_double = number != 0;
    if (cl->clGetDeviceInfo(d->id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof number, &number, NULL) == 0)
        d->device.memory = (int64_t)number;
    if (cl->clGetDeviceInfo(d->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof number, &number, NULL) == 0)
        d->device.largest = (int64_t)number;
    if (cl->clGetDeviceInfo(d->id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof number, &number, NULL) == 0)
        d->device.local = (int64_t)number;
}

static bb_status start(opencl *d, int number) {
    cl_int code = 0;
    BBI_FORWARD(load(&d->cl));
    BBI_FORWARD(find_device(d, number));
    ask(d);
    d->context = d->cl.clCreateContext(NULL, 1, &d->id, NULL, NULL, &code);
    if (!d->context) return failure(d, code, "no context");
    d->queue = d->cl.clCreateCommandQueue(d->context, d->id, 0, &code);
    if (!d->queue) return failure(d, code, "no queue");
    d->mutex = bbi_mutex_new();
    return d->mutex ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory while opening a device");
}

static bb_status cl_open(int number, bbi_device **device) {
    opencl *d = bbi_calloc(1, sizeof *d);
    if (!d) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while opening a device");
    bb_status status = start(d, number);
    if (status == BB_OK) {
        *device = &d->device;
        return BB_OK;
    }
    if (d->context) d->cl.clReleaseContext(d->context);
    bbi_free(d);
    return status;
}

/* ---- programs ---- */
static bb_status build_failure(opencl *d, cl_handle program, cl_int code) {
    size_t length = 0;
    d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &length);
    char *log = bbi_calloc(1, length + 1);
    if (log) d->cl.clGetProgramBuildInfo(program, d->id, CL_PROGRAM_BUILD_LOG, length, log, NULL);
    bb_status status = bbi_fail(BB_COMPILER, "OpenCL (%s): %s (%d): %.400s", d->device.name, error_text(code),
                                (int)code, log ? log : "");
    if (log) bbi_log('c', "%s", log);
    bbi_free(log);
    return status;
}

typedef struct cl_kernels {
    cl_handle kernel[BBI_KERNEL_SYMBOLS];
} cl_kernels;

static void cl_drop(bbi_device *device, void *kernels) {
    opencl *d = (opencl *)device;
    cl_kernels *all = kernels;
    for (int k = 0; all && bbi_device_check(device) == BB_OK && k < BBI_KERNEL_SYMBOLS; k++)
        if (all->kernel[k]) d->cl.clReleaseKernel(all->kernel[k]);
    bbi_free(all);
}

static bb_status cl_build(bbi_device *device, const char *source, const char *const *symbols, void **kernels) {
    opencl *d = (opencl *)device;
    cl_int code = 0;
    cl_kernels *all = bbi_calloc(1, sizeof *all);
    if (!all) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while loading a kernel");
    cl_handle program = d->cl.clCreateProgramWithSource(d->context, 1, &source, NULL, &code);
    bb_status status = program ? BB_OK : failure(d, code, "no program");
    if (status == BB_OK) {
        const char *more = bbi_environment("BENBEN_OPENCL_OPTIONS");
        char options[512];
        snprintf(options, sizeof options, "-cl-std=CL1.2 %s", more ? more : "");
        code = d->cl.clBuildProgram(program, 1, &d->id, options, NULL, NULL);
        if (code != 0) status = build_failure(d, program, code);
    }
    for (int k = 0; status == BB_OK && symbols[k]; k++) {
        all->kernel[k] = d->cl.clCreateKernel(program, symbols[k], &code);
        if (!all->kernel[k]) status = failure(d, code, "no kernel");
    }
    if (program) d->cl.clReleaseProgram(program); /* kernels hold it */
    if (status == BB_OK)
        *kernels = all;
    else
        cl_drop(device, all);
    return status;
}

/* ---- memory and launches ---- */
static cl_handle handle_of(bbi_memory memory) { return (cl_handle)(uintptr_t)memory; }

static bb_status cl_allocate(bbi_device *device, size_t bytes, bbi_memory *memory) {
    opencl *d = (opencl *)device;
    cl_int code = 0;
    cl_handle buffer = d->cl.clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes ? bytes : 1, NULL, &code);
    *memory = (bbi_memory)(uintptr_t)buffer;
    if (buffer) return BB_OK;
    return bbi_fail(BB_OUT_OF_MEMORY, "OpenCL (%s): %lld bytes of memory: %s (%d)", d->device.name, (long long)bytes,
                    error_text(code), (int)code);
}

static void cl_release(bbi_device *device, bbi_memory memory) {
    if (memory) ((opencl *)device)->cl.clReleaseMemObject(handle_of(memory));
}

static bb_status cl_write(bbi_device *device, bbi_memory to, size_t offset, const void *from, size_t bytes) {
    opencl *d = (opencl *)device;
    if (bytes == 0) return BB_OK;
    cl_int code = d->cl.clEnqueueWriteBuffer(d->queue, handle_of(to), 1, offset, bytes, from, 0, NULL, NULL);
    return code == 0 ? BB_OK : failure(d, code, "copying to the device");
}

static bb_status cl_read(bbi_device *device, void *to, bbi_memory from, size_t offset, size_t bytes) {
    opencl *d = (opencl *)device;
    if (bytes == 0) return BB_OK;
    cl_int code = d->cl.clEnqueueReadBuffer(d->queue, handle_of(from), 1, offset, bytes, to, 0, NULL, NULL);
    return code == 0 ? BB_OK : failure(d, code, "copying from the device");
}

/* A table is a buffer that lives as long as the kernel runs, which holds it. */
static cl_int set_argument(opencl *d, cl_handle kernel, int number, const bbi_argument *a) {
    cl_int code = 0;
    if (!a->is_table) {
        bbi_memory memory;
        memcpy(&memory, a->value, sizeof memory);
        cl_handle buffer = handle_of(memory);
        return d->cl.clSetKernelArg(kernel, (cl_uint)number, sizeof buffer, &buffer);
    }
    cl_handle table = d->cl.clCreateBuffer(d->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, a->bytes,
                                           (void *)(uintptr_t)a->value, &code);
    if (!table) return code;
    code = d->cl.clSetKernelArg(kernel, (cl_uint)number, sizeof table, &table);
    d->table[d->tables++] = table;
    return code;
}

static bb_status cl_launch(bbi_device *device, void *stream, void *kernels, int number, int64_t blocks, int threads,
                           size_t local_bytes, const bbi_argument *arguments, int count) {
    opencl *d = (opencl *)device;
    cl_handle kernel = ((cl_kernels *)kernels)->kernel[number];
    size_t all = (size_t)blocks * (size_t)threads, group = (size_t)threads;
    cl_int code = 0;
    (void)stream;
    bbi_mutex_lock(d->mutex);
    for (int k = 0; k < count && code == 0; k++) code = set_argument(d, kernel, k, &arguments[k]);
    if (code == 0 && local_bytes) code = d->cl.clSetKernelArg(kernel, (cl_uint)count, local_bytes, NULL);
    if (code == 0) code = d->cl.clEnqueueNDRangeKernel(d->queue, kernel, 1, NULL, &all, &group, 0, NULL, NULL);
    while (d->tables > 0) d->cl.clReleaseMemObject(d->table[--d->tables]);
    bbi_mutex_unlock(d->mutex);
    return code == 0 ? BB_OK : failure(d, code, "starting a kernel");
}

static bb_status cl_wait(bbi_device *device, void *stream) {
    opencl *d = (opencl *)device;
    (void)stream;
    cl_int code = d->cl.clFinish(d->queue);
    return code == 0 ? BB_OK : failure(d, code, "waiting for the device");
}

static void cl_describe(bbi_text *text) {
    functions cl;
    if (load(&cl) != BB_OK) {
        bbi_text_add(text, "%s\n", bb_last_error());
        bb_clear_error();
        return;
    }
    cl_handle devices[MAX_DEVICES];
    int count = list_devices(&cl, devices);
    if (count == 0)
        bbi_text_add(
            text, "the loader is there, but no device: install the driver of your device (Debian, for the processor: "
                  "pocl-opencl-icd)\n");
    for (int k = 0; k < count; k++) {
        char name[256] = "";
        uint64_t memory = 0, fp64 = 0;
        cl.clGetDeviceInfo(devices[k], CL_DEVICE_NAME, sizeof name - 1, name, NULL);
        cl.clGetDeviceInfo(devices[k], CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL);
        cl.clGetDeviceInfo(devices[k], CL_DEVICE_DOUBLE_FP_CONFIG, sizeof fp64, &fp64, NULL);
        bbi_text_add(text, "%sdevice %d: %s, %.1f GiB%s\n", k ? "              " : "", k, name,
                     (double)memory / 1073741824, fp64 ? "" : ", no float64");
    }
}

/* ---- which devices there are, without starting one ---- */
static bb_status cl_count(int *count) {
    functions cl;
    cl_handle devices[MAX_DEVICES];
    BBI_FORWARD(load(&cl));
    *count = list_devices(&cl, devices);
    return BB_OK;
}

static bb_status cl_look(int number, bbi_device_facts *facts) {
    opencl d = {0};
    BBI_FORWARD(load(&d.cl));
    BBI_FORWARD(find_device(&d, number));
    ask(&d);
    *facts = (bbi_device_facts){.memory = d.device.memory, .has_double = d.device.has_double};
    snprintf(facts->name, sizeof facts->name, "%.127s", d.device.name);
    return BB_OK;
}

const bbi_driver bbi_driver_opencl = {.name = "opencl",
                                      .target = BB_TARGET_OPENCL,
                                      .count = cl_count,
                                      .look = cl_look,
                                      .open = cl_open,
                                      .build = cl_build,
                                      .drop = cl_drop,
                                      .allocate = cl_allocate,
                                      .release = cl_release,
                                      .write = cl_write,
                                      .read = cl_read,
                                      .launch = cl_launch,
                                      .wait = cl_wait,
                                      .describe = cl_describe};
