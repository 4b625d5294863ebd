/* device.h: graphics processors, behind one table of functions for each target. Libraries of vendors are loaded when a
 * program first asks for the target, never before, and nothing of them is needed to build. */
#ifndef BBI_DEVICE_H
#define BBI_DEVICE_H

#include "backend.h"

typedef struct bbi_device bbi_device;
typedef uint64_t bbi_memory; /* device memory: an address or a handle; 0: none */
typedef struct bbi_argument {
    const void *value; /* of an address: a bbi_memory */
    size_t bytes;
    bool is_table; /* numbers: passed by value, or in a buffer of their own */
} bbi_argument;
enum { BBI_KERNEL_SYMBOLS = 6, BBI_MOST_ARGUMENTS = 64 };
typedef struct bbi_device_facts {
    char name[128];
    int64_t memory;
    bool has_double;
    int architecture;
} bbi_device_facts;
typedef struct bbi_driver {
    const char *name;
    bb_target target;
    bb_status (*count)(int *count); /* of devices; BB_DEVICE with what is missing where there is no driver */
    bb_status (*look)(int number, bbi_device_facts *facts); /* number: 0 .. count - 1 */
    bb_status (*owner)(bbi_memory memory, int *number);     /* of cuda: the device whose memory it is */
    /* Number `number` of the devices of this kind. BB_DEVICE with what is missing and what to do. */
    bb_status (*open)(int number, bbi_device **device);
    /* The kernels of a text by name (at most BBI_KERNEL_SYMBOLS, then NULL). */
    bb_status (*build)(bbi_device *device, const char *source, const char *const *symbols, void **kernels);
    void (*drop)(bbi_device *device, void *kernels);
    bb_status (*allocate)(bbi_device *device, size_t bytes, bbi_memory *memory);
    void (*release)(bbi_device *device, bbi_memory memory);
    /* Copies at bytes of the device's memory, in the order of the device's own stream; they return when they are done. */
    bb_status (*write)(bbi_device *device, bbi_memory to, size_t offset, const void *from, size_t bytes);
    /* In the order of a stream; `from` may be overwritten when it returns. NULL where streams are not a caller's. */
    bb_status (*send)(bbi_device *device, void *stream, bbi_memory to, const void *from, size_t bytes);
    bb_status (*read)(bbi_device *device, void *to, bbi_memory from, size_t offset, size_t bytes);
    /* Starts kernel number `number` of a text, blocks of `threads` threads in one dimension. */
    bb_status (*launch)(bbi_device *device, void *stream, void *kernels, int number, int64_t blocks, int threads,
                        size_t local_bytes, const bbi_argument *arguments, int count);
    bb_status (*wait)(bbi_device *device, void *stream); /* until what was given to a stream is done */
    /* Memory in the order of a stream; NULL, or device->has_stream_memory false: there is none. */
    bb_status (*stream_allocate)(bbi_device *device, void *stream, size_t bytes, bbi_memory *memory);
    void (*stream_release)(bbi_device *device, void *stream, bbi_memory memory);
    /* Of targets whose copies can overlap work, else NULL: in the order of a stream, to and from pinned memory. */
    bb_status (*receive)(bbi_device *device, void *stream, void *to, bbi_memory from, size_t bytes);
    bb_status (*stream_new)(bbi_device *device, void **stream);
    bb_status (*pinned_new)(bbi_device *device, size_t bytes, void **memory);
    void (*pinned_free)(bbi_device *device, void *memory);
    int64_t (*free_memory)(bbi_device *device);
    /* A line for `benben doctor`: what was found, or what is missing. */
    void (*describe)(bbi_text *text);
} bbi_driver;
/* the head of every driver's own device */
struct bbi_device {
    const bbi_driver *driver;
    int number;
    double rate[2]; /* operations per second at its peak: float32, float64; 0: not known */
    bool has_double, has_stream_memory;
    char name[256];
    int64_t memory, largest; /* bytes of the device; of one allocation at most */
    int64_t local;           /* bytes of local memory that a block may have; 0: as many as any kernel asks for */
    void *stream;            /* the device's own */
    struct bbi_pool *pool;
    struct bbi_workspace *workspace;
    struct bbi_stager *stager;
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

/* Memory of a run on a caller's stream where the driver has none in the order of streams: one block for each stream, kept.
 * Held until it is given back, so that no other thread puts kernels between those of the run. */
typedef struct bbi_workspace bbi_workspace;
bb_status bbi_workspace_take(bbi_device *device, void *stream, size_t bytes, bbi_workspace **workspace,
                             bbi_memory *memory);
void bbi_workspace_give(bbi_workspace *workspace);

/* Two streams with a pinned buffer in and one out for each; one for the device, which a run has to itself. */
typedef struct bbi_stager {
    bbi_mutex *mutex;
    size_t bytes; /* of a buffer */
    void *stream[2];
    char *in[2], *out[2];
} bbi_stager;
bb_status bbi_stager_take(bbi_device *device, size_t bytes, bbi_stager **stager);
void bbi_stager_give(bbi_stager *stager);

#endif
