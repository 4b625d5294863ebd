/* cuda_driver.h: the names of libcuda that are used, declared as NVIDIA's cuda.h has them, and a device. */
#ifndef BBI_CUDA_DRIVER_H
#define BBI_CUDA_DRIVER_H

#include "device.h"
#include "nvrtc.h"

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

typedef struct bbi_cuda_functions {
#define DECLARE(name, symbol, parameters) int(*name) parameters;
    CU_FUNCTIONS(DECLARE)
    CU_POOL_FUNCTIONS(DECLARE)
#undef DECLARE
} bbi_cuda_functions;

typedef struct bbi_cuda {
    bbi_device device;
    bbi_cuda_functions cu;
    const bbi_nvrtc *nvrtc;
    int id, arch, driver_version;
    cu_handle context, stream, pool;
} bbi_cuda;

/* What a code of the driver says, as a failure; what: was being done. */
bb_status bbi_cuda_failure(const bbi_cuda_functions *cu, const char *name, int code, const char *what);
bb_status bbi_cuda_failed(const bbi_cuda *d, int code, const char *what);
/* The library is opened and started. */
bb_status bbi_cuda_load(bbi_cuda_functions *cu);
/* Name, architecture, memory and rates of device `number`, which is not opened. */
bb_status bbi_cuda_ask(bbi_cuda *d, int number);
/* See bbi_driver. */
bb_status bbi_cuda_count(int *count);
bb_status bbi_cuda_look(int number, bbi_device_facts *facts);
bb_status bbi_cuda_owner(bbi_memory memory, int *number);
void bbi_cuda_describe(bbi_text *text);

#endif
