/* cuda.c: a stand-in for libcuda.so.1, for machines without a graphics processor. Device memory is host memory; a launch
 * checks what it is given; of the pairs every partial result is 1, and a row's result (of programs with one output of float32) how many
 * there are; nothing else is computed. Every call is a line of
 * the file that STANDIN_LOG names. STANDIN_FAIL=name:n:code lets call number n of a function fail with that code;
 * With STANDIN_EMULATE (the path of emulate.hpp) and nvrtc.c beside it kernels compute. STANDIN_POOLS=1: there is memory in the order of
 * streams. STANDIN_MEMORY bounds the bytes of all allocations; STANDIN_ARCH is the compute capability (90). What a caller does
 * wrong (a pointer that is none, no context, a launch out of bounds, memory that is too small) is a line `WRONG ...`. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
enum { MOST = 4096 };
enum {
    TX,
    GROUPS,
    FIRST_GROUP,
    CHUNKS,
    CHUNK,
    ROWS,
    COLUMNS,
    ROW_STRIDE,
    ROW_SLOT,
    COLUMN_STRIDE,
    COLUMN_SLOT,
    UNIFORM_SLOT,
    TOTAL,
    RANGES,
    SLOTS,
    FIRST_BATCH,
    BATCH,
    ROW_BLOCKS = BATCH + 4,
    PARTS,
    GROUP_ROWS
}; /* see bbi_gpu_geometry */
enum { OFFSET, ROW, DIM, DTYPE, BATCH_STRIDE, COUNT = BATCH_STRIDE + 4, FIRST, FIELDS }; /* see bbi_gpu_field */
static char functions[][32] = {"benben_pairs",        "benben_uniform",      "benben_pack",        "benben_finish",
                               "benben_merge",        "benben_listed",       "benben_listed_keys", "benben_listed_count",
                               "benben_listed_scan",  "benben_listed_move",  "benben_listed_blocks",
                               "benben_listed_rows"};

static struct {
    char *bytes;
    size_t size;
} blocks[MOST];
typedef void launcher(unsigned, unsigned, void **);
typedef struct record {
    const char *name;
    launcher *emulate;
} record;
static int count, streams;
static _Thread_local int contexts; /* that are current */
static int primary[2];             /* contexts of the devices */
static _Thread_local int current[8];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static size_t used;
static char symbol[64]; /* the streams, which are addresses in it; modules */

static void line(const char *format, ...) {
    const char *path = getenv("STANDIN_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    va_list arguments;
    if (!file) return;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fputc('\n', file);
    fclose(file);
}

/* What STANDIN_FAIL says of this call: a code, or 0. */
static int fails(const char *name) {
    static struct {
        char name[64];
        int calls;
    } seen[64];
    const char *wanted = getenv("STANDIN_FAIL"), *colon = wanted ? strchr(wanted, ':') : NULL;
    int k = 0, number, code;
    while (k < 63 && seen[k].name[0] && strcmp(seen[k].name, name) != 0) k++;
    snprintf(seen[k].name, sizeof seen[k].name, "%s", name);
    seen[k].calls++;
    if (!colon || strncmp(wanted, name, (size_t)(colon - wanted)) != 0 || strlen(name) != (size_t)(colon - wanted))
        return 0;
    if (sscanf(colon, ":%d:%d", &number, &code) != 2 || number != seen[k].calls) return 0;
    line("%s fails with %d", name, code);
    return code;
}

static void unlock(pthread_mutex_t **locked) { pthread_mutex_unlock(*locked); }
static pthread_mutex_t *lock(void) {
    pthread_mutex_lock(&mutex);
    return &mutex;
}

#define ENTER(...)                                                                                                     \
    __attribute__((cleanup(unlock))) pthread_mutex_t *locked_ = lock();                                                \
    do {                                                                                                               \
        int code_ = fails(__func__);                                                                                   \
        if (code_) return code_;                                                                                       \
        line(__VA_ARGS__);                                                                                             \
    } while (0)
#define IN_CONTEXT()                                                                                                   \
    do {                                                                                                               \
        if (contexts < 1) line("WRONG %s without a context", __func__);                                                \
    } while (0)

/* "own": the device's; "own1": the next that was made ... */
static const char *stream_name(const void *stream) {
    static _Thread_local char name[16];
    long number = (const char *)stream - symbol;
    if (number < 0 || number >= (long)sizeof symbol) return "other";
    snprintf(name, sizeof name, number ? "own%ld" : "own", number);
    return name;
}

/* The block that holds an address. */
static int find(unsigned long long pointer) {
    for (int k = 0; k < count; k++) {
        unsigned long long first = (unsigned long long)(size_t)blocks[k].bytes;
        if (blocks[k].bytes && first <= pointer && pointer < first + blocks[k].size) return k;
    }
    return -1;
}

/* Bytes from an address to the end of its block. */
static size_t room(unsigned long long pointer) {
    int k = find(pointer);
    return k < 0 ? 0 : blocks[k].size - (size_t)(pointer - (unsigned long long)(size_t)blocks[k].bytes);
}

API int cuInit(unsigned flags) {
    ENTER("cuInit %u", flags);
    return 0;
}
API int cuDriverGetVersion(int *version) {
    ENTER("cuDriverGetVersion");
    *version = 13000;
    return 0;
}
API int cuGetErrorString(int code, const char **text) {
    *text = code == 2 ? "out of memory" : code == 700 ? "an illegal memory access was encountered" : "some error";
    return 0;
}
API int cuDeviceGetCount(int *devices) {
    ENTER("cuDeviceGetCount");
    *devices = 2;
    return 0;
}
API int cuDeviceGet(int *device, int ordinal) {
    ENTER("cuDeviceGet %d", ordinal);
    *device = ordinal;
    return 0;
}
API int cuDeviceGetName(char *name, int length, int device) {
    ENTER("cuDeviceGetName %d", device);
    snprintf(name, (size_t)length, "stand-in %d", device);
    return 0;
}
API int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *arch = getenv("STANDIN_ARCH");
    int capability = arch ? atoi(arch) : 90;
    ENTER("cuDeviceGetAttribute %d %d", attribute, device);
    *value = attribute == 75    ? capability / 10
             : attribute == 76  ? capability % 10
             : attribute == 115 ? getenv("STANDIN_POOLS") != NULL
                                : 0;
    return 0;
}
API int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    ENTER("cuDeviceTotalMem %d", device);
    *bytes = (size_t)1 << 34;
    return 0;
}
API int cuDevicePrimaryCtxRetain(void **context, int device) {
    ENTER("cuDevicePrimaryCtxRetain %d", device);
    *context = &primary[device];
    return 0;
}
API int cuCtxPushCurrent_v2(void *context) {
    ENTER("cuCtxPushCurrent");
    if (context != &primary[0] && context != &primary[1]) line("WRONG a context that is none");
    if (contexts < 8) current[contexts] = context == &primary[1];
    contexts++;
    return 0;
}
API int cuCtxPopCurrent_v2(void **context) {
    ENTER("cuCtxPopCurrent");
    if (contexts-- < 1) line("WRONG pop without push");
    *context = &primary[0];
    return 0;
}
API int cuStreamCreate(void **stream, unsigned flags) {
    IN_CONTEXT();
    ENTER("cuStreamCreate %u", flags);
    *stream = symbol + streams++ % (int)sizeof symbol;
    return 0;
}
API int cuStreamSynchronize(void *stream) {
    IN_CONTEXT();
    ENTER("cuStreamSynchronize %s", stream_name(stream));
    return 0;
}
/* The text of a kernel as a library of the host. What was compiled once is in the folder STANDIN_KEPT, by the hash of its text;
 * each module is a copy, with static variables of its own. */
static void *emulate(const char *text) {
    static int number;
    char path[256], kept[512], command[2048];
    uint64_t hash = 0xcbf29ce484222325, other = 5381;
    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3, other = other * 33 + (unsigned char)*c;
    snprintf(kept, sizeof kept, "%s/%016llx%016llx.so", getenv("STANDIN_KEPT"), (unsigned long long)hash,
             (unsigned long long)other);
    snprintf(path, sizeof path, "%s/benben_emulated_%d_%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid(),
             number++);
    if (access(kept, R_OK) == 0) {
        snprintf(command, sizeof command, "cp %s %s.so", kept, path);
    } else {
        FILE *file = fopen(path, "w");
        if (!file) return NULL;
        fputs(text, file);
        fclose(file);
        snprintf(command, sizeof command,
                 "c++ -std=c++17 -O0 -w -shared -fPIC -ffp-contract=off -include %s -o %s.so -x c++ %s && rm %s && "
                 "cp %s.so %s.%d && mv %s.%d %s",
                 getenv("STANDIN_EMULATE"), path, path, path, path, kept, (int)getpid(), kept, (int)getpid(), kept);
    }
    void *library = system(command) == 0 ? (strcat(path, ".so"), dlopen(path, RTLD_NOW | RTLD_LOCAL)) : NULL;
    if (!library) line("WRONG text: %s", command);
    remove(path);
    return library;
}

API int cuModuleLoadData(void **module, const void *image) {
    const char *bytes = image;
    IN_CONTEXT();
    ENTER("cuModuleLoadData %s", memcmp(bytes, "\177ELF", 4) == 0 ? "cubin"
                                 : memcmp(bytes, "//EMU", 5) == 0 ? "text"
                                 : strstr(bytes, ".version")      ? "ptx"
                                                                  : "nonsense");
    *module = memcmp(bytes, "//EMU", 5) == 0 ? emulate(bytes) : symbol;
    return *module ? 0 : 218;
}
API int cuModuleUnload(void *module) {
    IN_CONTEXT();
    ENTER("cuModuleUnload");
    if (!module) line("WRONG a module that is none");
    return 0;
}
API int cuModuleGetFunction(void **function, void *module, const char *name) {
    IN_CONTEXT();
    ENTER("cuModuleGetFunction %s", name);
    for (int k = 0; k < (int)(sizeof functions / sizeof *functions); k++) {
        char emulated[64];
        if (strcmp(name, functions[k]) != 0) continue;
        record *made = calloc(1, sizeof *made); /* held to the end: a module's functions are few */
        made->name = functions[k];
        snprintf(emulated, sizeof emulated, "emulate_%s", name);
        void *found = module == symbol ? NULL : dlsym(module, emulated);
        memcpy(&made->emulate, &found, sizeof found);
        *function = made;
    }
    return 0;
}
static int allocate(unsigned long long *pointer, size_t size) {
    const char *most = getenv("STANDIN_MEMORY");
    if (most && used + size > (size_t)atoll(most)) return 2;
    if (count == MOST) return 2;
    blocks[count].bytes = calloc(1, size);
    blocks[count].size = size;
    used += size;
    memset(blocks[count].bytes, 0x7f, size); /* large numbers */
    *pointer = (unsigned long long)(size_t)blocks[count++].bytes;
    return 0;
}
API int cuMemAlloc_v2(unsigned long long *pointer, size_t size) {
    IN_CONTEXT();
    ENTER("cuMemAlloc %zu", size);
    return allocate(pointer, size);
}
API int cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
    IN_CONTEXT();
    ENTER("cuMemHostAlloc %zu %u", size, flags);
    *pointer = malloc(size);
    return 0;
}
API int cuMemFreeHost(void *pointer) {
    IN_CONTEXT();
    ENTER("cuMemFreeHost");
    free(pointer);
    return 0;
}
API int cuMemGetInfo_v2(size_t *left, size_t *all) {
    const char *most = getenv("STANDIN_MEMORY");
    IN_CONTEXT();
    ENTER("cuMemGetInfo");
    *all = most ? (size_t)atoll(most) : (size_t)1 << 34;
    *left = *all > used ? *all - used : 0;
    return 0;
}
API int cuMemPoolCreate(void **pool, const void *properties) {
    const int *p = properties;
    IN_CONTEXT();
    ENTER("cuMemPoolCreate");
    if (p[0] != 1 || p[2] != 1) line("WRONG properties of a pool");
    *pool = symbol;
    return 0;
}
API int cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
    ENTER("cuMemPoolSetAttribute %d", attribute);
    return pool == symbol && value ? 0 : 1;
}
API int cuMemAllocFromPoolAsync(unsigned long long *pointer, size_t size, void *pool, void *stream) {
    ENTER("cuMemAllocFromPoolAsync %zu %s", size, stream_name(stream));
    (void)pool;
    return allocate(pointer, size);
}

static int release(unsigned long long pointer) {
    int k = find(pointer);
    if (!pointer) return 0;
    if (k < 0 || (unsigned long long)(size_t)blocks[k].bytes != pointer) {
        line("WRONG a pointer that is none is freed");
        return 1;
    }
    used -= blocks[k].size;
    free(blocks[k].bytes);
    blocks[k].bytes = NULL;
    line("held %zu", used);
    return 0;
}
API int cuMemFreeAsync(unsigned long long pointer, void *stream) {
    IN_CONTEXT();
    ENTER("cuMemFreeAsync %s", stream_name(stream));
    return release(pointer);
}
API int cuMemFree_v2(unsigned long long pointer) {
    IN_CONTEXT();
    ENTER("cuMemFree");
    return release(pointer);
}

static int copy(const char *name, void *to, const void *from, unsigned long long device, size_t size) {
    if (size > room(device)) {
        line("WRONG %s of %zu bytes beside its block", name, size);
        return 1;
    }
    memcpy(to, from, size);
    return 0;
}
API int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t size, void *stream) {
    IN_CONTEXT();
    ENTER("cuMemcpyHtoD %zu %s", size, stream_name(stream));
    return copy("cuMemcpyHtoD", (void *)(size_t)to, from, to, size);
}
API int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t size, void *stream) {
    IN_CONTEXT();
    ENTER("cuMemcpyDtoH %zu %s", size, stream_name(stream));
    return copy("cuMemcpyDtoH", to, (const void *)(size_t)from, from, size);
}

static unsigned long long address(void **arguments, int k) {
    unsigned long long pointer;
    memcpy(&pointer, arguments[k], sizeof pointer);
    return pointer;
}

static void need(void **arguments, int k, long long bytes, const char *what) {
    if (bytes > 0 && room(address(arguments, k)) < (size_t)bytes)
        line("WRONG %s: too small, or no device memory", what);
}

/* geometry size uniform row column group interval value index scratch */
static void pairs(const long long *g, unsigned gx, unsigned bx, void **arguments) {
    long long shares = bx / g[TX], parts = g[CHUNKS] * shares, slots = gx / (g[GROUPS] * g[CHUNKS]);
    line("geometry tx %lld groups %lld first %lld chunks %lld chunk %lld rows %lld columns %lld slots %lld parts %lld",
         g[TX], g[GROUPS], g[FIRST_GROUP], g[CHUNKS], g[CHUNK], g[ROWS], g[COLUMNS], slots, parts);
    if (g[CHUNK] * g[CHUNKS] < g[COLUMNS]) line("WRONG columns that no chunk holds");
    if (g[TOTAL] != slots * g[GROUPS] * g[GROUP_ROWS] || g[PARTS] != parts || g[SLOTS] != slots) line("WRONG total");
    if (g[ROW_STRIDE] < g[ROWS] || g[COLUMN_STRIDE] < g[COLUMNS]) line("WRONG strides");
    need(arguments, 1, 8, "sizes");
    need(arguments, 3, 4 * g[ROW_SLOT] * slots, "rows");
    need(arguments, 4, 4 * g[COLUMN_SLOT] * slots, "columns");
    need(arguments, 7, 4 * parts * g[TOTAL], "values");
    float *value = (float *)(size_t)address(arguments, 7);
    for (long long k = 0; k < parts * g[TOTAL]; k++) value[k] = 1;
}

/* geometry size uniform row group interval value index result views */
static void finish(const long long *g, unsigned gx, unsigned bx, void **arguments) {
    const long long *view = arguments[9];
    if ((long long)gx * bx < g[TOTAL]) line("WRONG rows that no thread finishes");
    need(arguments, 3, 4 * g[ROW_SLOT] * g[SLOTS], "rows");
    need(arguments, 6, 4 * g[PARTS] * g[TOTAL], "values");
    for (long long slot = 0; slot < g[SLOTS]; slot++)
        for (long long k = 0; k < g[GROUPS] * g[GROUP_ROWS]; k++) {
            long long row = g[FIRST_GROUP] * g[GROUP_ROWS] + k;
            long long batch = g[FIRST_BATCH] + slot;
            float sum = 0;
            if (row >= g[ROWS]) continue;
            unsigned long long at = address(arguments, 8) + (unsigned long long)(view[OFFSET] + row * view[ROW]);
            for (int d = 3; d >= 0; batch /= g[BATCH + d--])
                at += (unsigned long long)(batch % g[BATCH + d] * view[BATCH_STRIDE + d]);
            const float *value = (const float *)(size_t)address(arguments, 6) + slot * g[GROUPS] * g[GROUP_ROWS] + k;
            for (long long p = 0; p < g[PARTS]; p++) sum += value[p * g[TOTAL]];
            if (room(at) < 4 || view[DTYPE] != 2) {
                line("WRONG a result outside of its array");
                return;
            }
            *(float *)(size_t)at = sum;
        }
}

API int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *stream, void **arguments, void **extra) {
    IN_CONTEXT();
    ENTER("cuLaunchKernel grid %u %u %u block %u %u %u shared %u device %d stream %s %s", gx, gy, gz, bx, by, bz,
          shared, contexts > 0 && contexts <= 8 ? current[contexts - 1] : -1, stream_name(stream),
          ((record *)function)->name);
    launcher *emulated = ((record *)function)->emulate;
    function = (void *)((record *)function)->name;
    const long long *g = arguments[0];
    if (extra) line("WRONG extra");
    if (emulated) {
        emulated(gx, bx, arguments);
    } else if (function == functions[0]) {
        pairs(g, gx, bx, arguments);
    } else if (function == functions[1]) {
        need(arguments, 3, 4 * g[UNIFORM_SLOT] * g[SLOTS], "uniform values");
        if (gx != g[SLOTS]) line("WRONG blocks of uniform values");
    } else if (function == functions[2]) {
        need(arguments, 3, 4 * g[ROW_SLOT] * g[SLOTS], "packed rows");
        need(arguments, 4, 4 * g[COLUMN_SLOT] * g[SLOTS], "packed columns");
        if ((gx - g[ROW_BLOCKS]) * bx < g[COLUMNS] * g[SLOTS]) line("WRONG columns that no thread packs");
    } else if (function == functions[3]) {
        finish(g, gx, bx, arguments);
    } else if (function == functions[4]) {
        need(arguments, 1, 4 * g[PARTS] * g[TOTAL], "values");
    } else {
        line("WRONG function");
    }
    return 0;
}
