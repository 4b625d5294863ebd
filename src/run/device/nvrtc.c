/* nvrtc.c: finding NVRTC and compiling with it. Several versions of CUDA may be on a machine: one NVRTC is chosen for the
 * process, and its version is part of every cache key, so that they never mix. */
#include "nvrtc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

typedef struct nvrtc_opaque *nvrtc_program;
#define NVRTC_FUNCTIONS(F)                                                                                             \
    F(nvrtcVersion, (int *, int *))                                                                                    \
    F(nvrtcCreateProgram,                                                                                              \
      (nvrtc_program *, const char *, const char *, int, const char *const *, const char *const *))                    \
    F(nvrtcDestroyProgram, (nvrtc_program *))                                                                          \
    F(nvrtcCompileProgram, (nvrtc_program, int, const char *const *))                                                  \
    F(nvrtcGetProgramLogSize, (nvrtc_program, size_t *))                                                               \
    F(nvrtcGetProgramLog, (nvrtc_program, char *))                                                                     \
    F(nvrtcGetPTXSize, (nvrtc_program, size_t *))                                                                      \
    F(nvrtcGetPTX, (nvrtc_program, char *))                                                                            \
    F(nvrtcGetCUBINSize, (nvrtc_program, size_t *))                                                                    \
    F(nvrtcGetCUBIN, (nvrtc_program, char *))                                                                          \
    F(nvrtcGetNumSupportedArchs, (int *))                                                                              \
    F(nvrtcGetSupportedArchs, (int *))

struct bbi_nvrtc {
#define DECLARE(name, parameters) int(*name) parameters;
    NVRTC_FUNCTIONS(DECLARE)
#undef DECLARE
    char path[BBI_PATH_SIZE];
    int version;
};
enum { MAX_ARCHS = 64 };

/* ---- finding ---- */
static bool resolve(bbi_nvrtc *n, void *library) {
#define RESOLVE(name, parameters)                                                                                      \
    {                                                                                                                  \
        void *symbol = bbi_library_symbol(library, #name);                                                             \
        if (!symbol) return false;                                                                                     \
        memcpy(&n->name, &symbol, sizeof symbol);                                                                      \
    }
    NVRTC_FUNCTIONS(RESOLVE)
#undef RESOLVE
    return true;
}

/* NVRTC opens its built-in functions by their name alone, and some builds do not look beside themselves: a library that is
 * loaded already is found. */
static void load_builtins(const char *path, int major, int minor) {
    char beside[BBI_PATH_SIZE + 48];
    const char *end = strrchr(path, '/'), *why;
    if (!end) return;
    snprintf(beside, sizeof beside, "%.*s/libnvrtc-builtins.so.%d.%d", (int)(end - path), path, major, minor);
    bbi_file_status status;
    if (bbi_file_look(beside, &status) == 0) (void)bbi_library_open(beside, &why);
}

static bool try_path(bbi_nvrtc *n, const char *path) {
    const char *why;
    int major, minor;
    void *library = bbi_library_open(path, &why);
    if (!library) return false;
    if (!resolve(n, library) || n->nvrtcVersion(&major, &minor) != 0) {
        bbi_library_close(library);
        return false;
    }
    load_builtins(path, major, minor);
    snprintf(n->path, sizeof n->path, "%s", path);
    n->version = 1000 * major + minor;
    return true;
}

static bool try_format(bbi_nvrtc *n, const char *format, ...) {
    char path[BBI_PATH_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    bbi_file_status status;
    return length > 0 && length < BBI_PATH_SIZE && bbi_file_look(path, &status) == 0 && try_path(n, path);
}

/* The wheels nvidia-cuda-nvrtc (CUDA 13) and nvidia-cuda-nvrtc-cu12. */
static bool try_wheels(bbi_nvrtc *n, const char *prefix) {
    static const char *const packages[] = {"site-packages", "dist-packages"};
    for (int minor = 20; prefix && minor >= 8; minor--)
        for (int k = 0; k < 2; k++) {
            if (try_format(n, "%s/lib/python3.%d/%s/nvidia/cu13/lib/libnvrtc.so.13", prefix, minor, packages[k]) ||
                try_format(n, "%s/lib/python3.%d/%s/nvidia/cuda_nvrtc/lib/libnvrtc.so.12", prefix, minor, packages[k]))
                return true;
        }
    return false;
}

static bool find(bbi_nvrtc *n) {
#ifdef _WIN32
    static const char *const names[] = {"nvrtc64_130_0.dll", "nvrtc64_120_0.dll"};
#else
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
#endif
    const char *homes[] = {bbi_environment("CUDA_HOME"), bbi_environment("CUDA_PATH"), "/usr/local/cuda"};
    const char *prefixes[] = {bbi_environment("VIRTUAL_ENV"), bbi_environment("CONDA_PREFIX"), "/usr/local", "/usr"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (try_path(n, names[k])) return true;
    for (size_t k = 0; k < sizeof homes / sizeof *homes; k++)
        if (homes[k] &&
            (try_format(n, "%s/lib64/libnvrtc.so", homes[k]) || try_format(n, "%s/lib/libnvrtc.so", homes[k])))
            return true;
    for (size_t k = 0; k < sizeof prefixes / sizeof *prefixes; k++)
        if (try_wheels(n, prefixes[k])) return true;
    return false;
}

static bb_status look(bbi_nvrtc *n) {
    const char *named = bbi_environment("BENBEN_NVRTC");
    if (named ? try_path(n, named) : find(n)) return BB_OK;
    if (named)
        return bbi_fail(BB_COMPILER, "BENBEN_NVRTC=%s is no NVRTC that can be loaded: name a libnvrtc.so, or unset it",
                        named);
    return bbi_fail(BB_COMPILER,
                    "NVRTC, NVIDIA's compiler at run time, was not found: pip install nvidia-cuda-nvrtc (or "
                    "install a CUDA toolkit), or name the library in BENBEN_NVRTC");
}

bb_status bbi_nvrtc_find(const bbi_nvrtc **nvrtc) {
    static _Atomic(const bbi_nvrtc *) chosen;
    *nvrtc = chosen;
    if (*nvrtc) return BB_OK;
    bbi_nvrtc *n = bbi_calloc(1, sizeof *n);
    if (!n) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while looking for NVRTC");
    bb_status status = look(n);
    const bbi_nvrtc *none = NULL;
    if (status != BB_OK ||
        !__atomic_compare_exchange_n((const bbi_nvrtc **)&chosen, &none, n, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        bbi_free(n);
    *nvrtc = chosen;
    return status;
}

const char *bbi_nvrtc_path(const bbi_nvrtc *nvrtc) { return nvrtc->path; }
int bbi_nvrtc_version(const bbi_nvrtc *nvrtc) { return nvrtc->version; }

/* ---- compiling ---- */
/* The newest architecture that this NVRTC knows and the device can run; *exact: it is the device's own. */
static int choose_arch(const bbi_nvrtc *n, int arch, bool *exact) {
    int count = 0, known[MAX_ARCHS], best = 0;
    if (n->nvrtcGetNumSupportedArchs(&count) != 0 || count > MAX_ARCHS || n->nvrtcGetSupportedArchs(known) != 0)
        count = 0;
    for (int k = 0; k < count; k++)
        if (known[k] <= arch && known[k] > best) best = known[k];
    *exact = best == arch;
    return best;
}

static bb_status failed(const bbi_nvrtc *n, nvrtc_program program, int code) {
    size_t length = 0;
    n->nvrtcGetProgramLogSize(program, &length);
    char *log = bbi_calloc(1, length + 1);
    if (log) n->nvrtcGetProgramLog(program, log);
    if (log) bbi_log('c', "%s", log);
    bb_status status = bbi_fail(BB_COMPILER, "NVRTC %d.%d failed (%d): %.600s", n->version / 1000, n->version % 1000,
                                code, log ? log : "");
    bbi_free(log);
    return status;
}

static bb_status take(const bbi_nvrtc *n, nvrtc_program program, bool cubin, char **image, size_t *length) {
    int code = cubin ? n->nvrtcGetCUBINSize(program, length) : n->nvrtcGetPTXSize(program, length);
    if (code != 0) return failed(n, program, code);
    *image = bbi_alloc(*length + 1);
    if (!*image) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for a kernel of %lld bytes", (long long)*length);
    code = cubin ? n->nvrtcGetCUBIN(program, *image) : n->nvrtcGetPTX(program, *image);
    (*image)[*length] = 0;
    if (code == 0) return BB_OK;
    bbi_free(*image);
    return failed(n, program, code);
}

static bb_status compile(const bbi_nvrtc *n, const char *source, const char *option, bool cubin, char **image,
                         size_t *length) {
    const char *options[] = {option, "--fmad=false", "--std=c++17", "--diag-suppress=177"};
    nvrtc_program program;
    int code = n->nvrtcCreateProgram(&program, source, "benben.cu", 0, NULL, NULL);
    if (code != 0) return bbi_fail(BB_COMPILER, "NVRTC cannot begin (%d)", code);
    double start = bbi_seconds();
    code = n->nvrtcCompileProgram(program, (int)(sizeof options / sizeof *options), options);
    bbi_log('c', "nvrtc %s: %.0f ms", option, 1e3 * (bbi_seconds() - start));
    bb_status status = code == 0 ? take(n, program, cubin, image, length) : failed(n, program, code);
    n->nvrtcDestroyProgram(&program);
    return status;
}

bb_status bbi_nvrtc_compile(const bbi_nvrtc *n, const char *source, int arch, int driver_version, char **image,
                            size_t *length) {
    bool exact;
    int chosen = choose_arch(n, arch, &exact);
    char option[64], versions[64];
    uint8_t key[32];
    bbi_sha256 hash;
    if (!chosen)
        return bbi_fail(BB_COMPILER,
                        "NVRTC %d.%d (%s) makes no code for compute capability %d.%d: install one that does",
                        n->version / 1000, n->version % 1000, n->path, arch / 10, arch % 10);
    snprintf(option, sizeof option, "--gpu-architecture=%s_%d", exact ? "sm" : "compute", chosen);
    snprintf(versions, sizeof versions, "nvrtc %d driver %d", n->version, driver_version);
    bbi_sha256_init(&hash);
    bbi_sha256_field(&hash, "cuda", 4);
    bbi_sha256_field(&hash, option, strlen(option));
    bbi_sha256_field(&hash, versions, strlen(versions));
    bbi_sha256_field(&hash, source, strlen(source));
    bbi_sha256_finish(&hash, key);
    if (bbi_cache_load(key, image, length)) return BB_OK;
    BBI_FORWARD(compile(n, source, option, exact, image, length));
    bbi_cache_store(key, *image, *length + (exact ? 0 : 1)); /* PTX with its zero */
    return BB_OK;
}
