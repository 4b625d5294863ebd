/* nvrtc.h: NVIDIA's compiler for CUDA C++, a library that is found and loaded when a kernel is first built. */
#ifndef BBI_NVRTC_H
#define BBI_NVRTC_H

#include "base.h"

typedef struct bbi_nvrtc bbi_nvrtc;
/* $BENBEN_NVRTC; what the process has loaded or its loader finds; a CUDA toolkit ($CUDA_HOME, $CUDA_PATH,
 * /usr/local/cuda); the PyPI wheel in $VIRTUAL_ENV, $CONDA_PREFIX, /usr/local and /usr. The first that loads, for the
 * whole process. BB_COMPILER when there is none; the message says what to install. */
bb_status bbi_nvrtc_find(const bbi_nvrtc **nvrtc);
const char *bbi_nvrtc_path(const bbi_nvrtc *nvrtc);
int bbi_nvrtc_version(const bbi_nvrtc *nvrtc); /* 1000 major + minor */
/* For compute capability `arch` (90: 9.0): a cubin, or PTX where this NVRTC is older than the device. Through the disk
 * cache, whose key names text, architecture and versions (of the driver too: 0 where there is none). Released with bbi_free. */
bb_status bbi_nvrtc_compile(const bbi_nvrtc *nvrtc, const char *source, int arch, int driver_version, char **image,
                            size_t *length);

#endif
