/* device.h: graphics processors, behind one table of functions for each target. Libraries of vendors are loaded when a
 * program first asks for the target, never before, and nothing of them is needed to build. */
#ifndef BBI_DEVICE_H
#define BBI_DEVICE_H

#include "backend.h"

typedef struct bbi_device bbi_device;
typedef uint64_t bbi_memory; /* device memory: an address or a handle; 0: none */
typedef struct bbi_driver {
    const char *name;
    /* Number `number` of the devices of this kind. BB_DEVICE with what is missing and what to do. */
    bb_status (*open)(int number, bbi_device **device);
    bb_status (*build)(bbi_device *device, const char *source, const char *symbol, void **kernel);
    void (*drop)(bbi_device *device, void *kernel);
    bb_status (*allocate)(bbi_device *device, size_t bytes, bbi_memory *memory);
    void (*release)(bbi_device *device, bbi_memory memory);
    bb_status (*write)(bbi_device *device, bbi_memory to, const void *from, size_t bytes);
    bb_status (*read)(bbi_device *device, void *to, bbi_memory from, size_t bytes); /* waits for what was launched */
    /* blocks of `threads` threads, in one dimension */
    bb_status (*launch)(bbi_device *device, void *kernel, int64_t blocks, int threads, size_t local_bytes,
                        const bbi_memory *arguments, int count);
    bb_status (*wait)(bbi_device *device, void *stream); /* until a caller's stream has come to its end */
    /* A line for `benben doctor`: what was found, or what is missing. */
    void (*describe)(bbi_text *text);
} bbi_driver;
/* the head of every driver's own device */
struct bbi_device {
    const bbi_driver *driver;
    int number;
    bool is_cuda, has_double;
    char name[256];
    int64_t memory, largest; /* bytes of the device; of one allocation at most */
    struct bbi_pool *pool;
};

extern const bbi_driver bbi_driver_opencl, bbi_driver_cuda;

/* ---- device.c ---- */
/* The device, opened once for the process. A forked child cannot use what its parent opened: that is an error. */
bb_status bbi_device_open(const bbi_driver *driver, int number, bbi_device **device);
bb_status bbi_device_check(const bbi_device *device); /* the same for one that is open */
/* Memory of the device; small blocks are kept for the next run (BENBEN_DEVICE_POOL=0: none is), and given back where memory
 * is short. `bytes` is the same number in both calls. */
bb_status bbi_device_allocate(bbi_device *device, size_t bytes, bbi_memory *memory);
void bbi_device_release(bbi_device *device, size_t bytes, bbi_memory memory);

#endif
