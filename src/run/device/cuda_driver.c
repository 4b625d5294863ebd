/* cuda_driver.c: libcuda, opened when a device is first asked for, and what it says of the devices that there are. */
#include "cuda_driver.h"

#include <stdio.h>
#include <string.h>

/* ---- messages ---- */
bb_status bbi_cuda_failure(const bbi_cuda_functions *cu, const char *name, int code, const char *what) {
    const char *text = NULL;
    if (cu->cuGetErrorString(code, &text) != 0 || !text) text = "unknown error";
    return bbi_fail(code == CU_OUT_OF_MEMORY ? BB_OUT_OF_MEMORY : BB_DEVICE, "CUDA (%s): %s: %s (%d)", name, what, text,
                    code);
}

bb_status bbi_cuda_failed(const bbi_cuda *d, int code, const char *what) {
    return bbi_cuda_failure(&d->cu, d->device.name, code, what);
}

/* ---- the driver and its devices ---- */
bb_status bbi_cuda_load(bbi_cuda_functions *cu) {
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
    return code == 0 ? BB_OK : bbi_cuda_failure(cu, "driver", code, "it does not start");
}

/* Multiprocessors of 128 lanes; float64 has half of them in the models for computing centres, two elsewhere. */
static void estimate_rate(bbi_cuda *d) {
    int processors = 0, kilohertz = 0;
    d->cu.cuDeviceGetAttribute(&processors, CU_MULTIPROCESSORS, d->id);
    d->cu.cuDeviceGetAttribute(&kilohertz, CU_CLOCK_RATE, d->id);
    double lanes = 128.0 * (processors > 0 ? processors : 20) * 1e3 * (kilohertz > 0 ? kilohertz : 1400000);
    d->device.rate[0] = lanes;
    d->device.rate[1] =
        d->arch == 60 || d->arch == 70 || d->arch == 80 || d->arch == 90 || d->arch == 100 ? lanes / 2 : lanes / 64;
}

bb_status bbi_cuda_ask(bbi_cuda *d, int number) {
    const bbi_cuda_functions *cu = &d->cu;
    int count = 0, major = 0, minor = 0;
    size_t memory = 0;
    int code = cu->cuDeviceGetCount(&count);
    if (code != 0) return bbi_cuda_failed(d, code, "counting devices");
    if (number < 0 || number >= count)
        return bbi_fail(BB_BAD_ARGUMENT, "CUDA device %d: there are %d, from 0 on", number, count);
    if ((code = cu->cuDeviceGet(&d->id, number)) != 0) return bbi_cuda_failed(d, code, "opening the device");
    cu->cuDeviceGetName(d->device.name, (int)sizeof d->device.name - 1, d->id);
    if ((code = cu->cuDeviceGetAttribute(&major, CU_CAPABILITY_MAJOR, d->id)) != 0 ||
        (code = cu->cuDeviceGetAttribute(&minor, CU_CAPABILITY_MINOR, d->id)) != 0 ||
        (code = cu->cuDeviceTotalMem(&memory, d->id)) != 0 || (code = cu->cuDriverGetVersion(&d->driver_version)) != 0)
        return bbi_cuda_failed(d, code, "asking the device");
    d->arch = 10 * major + minor;
    estimate_rate(d);
    d->device.memory = d->device.largest = (int64_t)memory;
    d->device.has_double = true;
    return BB_OK;
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

void bbi_cuda_describe(bbi_text *text) {
    bbi_cuda_functions cu;
    int count = 0, version = 0;
    describe_compiler(text);
    bbi_text_add(text, "              ");
    if (bbi_cuda_load(&cu) != BB_OK) {
        bbi_text_add(text, "%s\n", bb_last_error());
        bb_clear_error();
        return;
    }
    cu.cuDriverGetVersion(&version);
    cu.cuDeviceGetCount(&count);
    bbi_text_add(text, "driver for CUDA %d.%d, %d devices\n", version / 1000, version % 1000 / 10, count);
    for (int k = 0; k < count; k++) {
        bbi_cuda d = {.cu = cu};
        if (bbi_cuda_ask(&d, k) == BB_OK)
            bbi_text_add(text, "              device %d: %s, compute capability %d.%d, %.1f GiB\n", k, d.device.name,
                         d.arch / 10, d.arch % 10, (double)d.device.memory / 1073741824);
    }
}

/* ---- which devices there are, without starting one ---- */
bb_status bbi_cuda_count(int *count) {
    bbi_cuda_functions cu;
    BBI_FORWARD(bbi_cuda_load(&cu));
    int code = cu.cuDeviceGetCount(count);
    return code == 0 ? BB_OK : bbi_cuda_failure(&cu, "driver", code, "counting devices");
}

bb_status bbi_cuda_look(int number, bbi_device_facts *facts) {
    bbi_cuda d = {0};
    BBI_FORWARD(bbi_cuda_load(&d.cu));
    BBI_FORWARD(bbi_cuda_ask(&d, number));
    *facts = (bbi_device_facts){.memory = d.device.memory, .has_double = true, .architecture = d.arch};
    snprintf(facts->name, sizeof facts->name, "%.127s", d.device.name);
    return BB_OK;
}

/* Asked for every array of some libraries: what that takes is looked up once. */
static bb_status find_driver(const bbi_cuda_functions **cu, int *devices) {
    static bbi_cuda_functions found;
    static int count;
    bbi_global_lock(BBI_GLOBAL_SETUP);
    bb_status status = count ? BB_OK : bbi_cuda_load(&found);
    if (status == BB_OK && !count && found.cuDeviceGetCount(&count) != 0) count = 1;
    *devices = count;
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    *cu = &found;
    return status;
}

bb_status bbi_cuda_owner(bbi_memory memory, int *number) {
    const bbi_cuda_functions *cu;
    int count;
    *number = 0;
    BBI_FORWARD(find_driver(&cu, &count));
    if (count < 2 || !cu->cuPointerGetAttribute) return BB_OK;
    int code = cu->cuPointerGetAttribute(number, CU_POINTER_DEVICE_ORDINAL, memory);
    return code == 0 ? BB_OK : bbi_cuda_failure(cu, "driver", code, "whose memory an array lies in");
}
