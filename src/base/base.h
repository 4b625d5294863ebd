/* base.h: what every folder of the library stands on. Prototypes are grouped by the file that defines them.
 *
 * Lifetimes in the library: (1) an arena, freed at once with its owner; (2) reference-counted handles; (3)
 * the caller's arrays, borrowed for the length of a call and never freed. */
#ifndef BBI_BASE_H
#define BBI_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "benben.h"

#if defined(__MINGW32__) /* the build asks for the standard's formats, not those of Microsoft's library */
#define BBI_PRINTF(a, b) __attribute__((format(gnu_printf, a, b)))
#elif defined(__GNUC__)
#define BBI_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define BBI_PRINTF(a, b)
#endif

/* ---- memory.c: the only place that allocates ---- */
/* NULL when out of memory (the caller reports BB_OUT_OF_MEMORY). bbi_alloc and bbi_realloc leave new bytes
 * undefined. */
void *bbi_alloc(size_t size);
void *bbi_calloc(size_t count, size_t size);
void *bbi_realloc(void *pointer, size_t size);
void bbi_free(void *pointer);
void *bbi_alloc_aligned(size_t size); /* 64-byte aligned, of large pages where it is large; released with
                                         bbi_free_aligned */
void bbi_free_aligned(void *pointer);
/* A block of a run, of *size bytes or more, and what it is done with: one such block is kept for the next run of any
 * kernel, with no contents, so that the system need not clear its pages again. It may take these back at any time; where
 * it cannot, small blocks alone are kept. */
void *bbi_alloc_kept(size_t *size);
void bbi_free_kept(void *pointer, size_t size);
char *bbi_strdup(const char *string);
/* Fault injection and leak counting for tests: after `count` more successful allocations every further one
 * fails (-1: never). */
void bbi_fail_allocations_after(int64_t count);
int64_t bbi_live_allocations(void);

/* Bump allocator: memory is zeroed, 16-byte aligned, freed all at once. A zero-initialised arena is empty and
 * valid. */
typedef struct bbi_arena {
    struct bbi_arena_chunk *chunk;
    size_t total;
} bbi_arena;
void *bbi_arena_alloc(bbi_arena *arena, size_t size);
char *bbi_arena_strndup(bbi_arena *arena, const char *string, size_t length);
void bbi_arena_free(bbi_arena *arena);

/* ---- text.c: growing text; a zero-initialised buffer is empty and valid ---- */
typedef struct bbi_text {
    char *data; /* NUL-terminated whenever not NULL */
    size_t length, capacity;
    bool failed; /* out of memory happened: the text is incomplete */
} bbi_text;
void bbi_text_add(bbi_text *text, const char *format, ...) BBI_PRINTF(2, 3);
void bbi_text_vadd(bbi_text *text, const char *format, va_list arguments);
void bbi_text_append(bbi_text *text, const char *bytes, size_t length);
void bbi_text_free(bbi_text *text);

/* ---- sha256.c ---- */
typedef struct bbi_sha256 {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} bbi_sha256;
void bbi_sha256_init(bbi_sha256 *hash);
void bbi_sha256_add(bbi_sha256 *hash, const void *bytes, size_t length);
/* Length-prefixed: fields cannot run together. */
void bbi_sha256_field(bbi_sha256 *hash, const void *bytes, size_t length);
void bbi_sha256_finish(bbi_sha256 *hash, uint8_t digest[32]);

/* ---- error.c: one message per thread; codes and their one-line meaning stand in error.def ---- */
/* Stores the message and returns code; the second adds to the stored message and returns its code. */
bb_status bbi_fail(bb_status code, const char *format, ...) BBI_PRINTF(2, 3);
bb_status bbi_fail_append(const char *format, ...) BBI_PRINTF(1, 2);
#define BBI_FORWARD(expression)                                                                                        \
    do {                                                                                                               \
        bb_status bbi_status_ = (expression);                                                                          \
        if (bbi_status_ != BB_OK) return bbi_status_;                                                                  \
    } while (0)

/* ---- debug.c: BENBEN_DEBUG letters; nothing is written unless that variable or the caller asks ---- */
bool bbi_debug(char letter);
void bbi_log(char letter, const char *format, ...) BBI_PRINTF(2, 3);
typedef void (*bbi_log_callback)(void *user, char letter, const char *line);
/* Letters asked for besides BENBEN_DEBUG's (NULL: none) and who receives the lines (NULL: stderr). */
void bbi_set_log(const char *letters, bbi_log_callback callback, void *user);

/* ---- os_posix.c, os_windows.c: threads, clock, dynamic loading ---- */
typedef struct bbi_mutex bbi_mutex; /* not recursive */
bbi_mutex *bbi_mutex_new(void);
void bbi_mutex_free(bbi_mutex *mutex);
void bbi_mutex_lock(bbi_mutex *mutex);
void bbi_mutex_unlock(bbi_mutex *mutex);
typedef struct bbi_condition bbi_condition;
bbi_condition *bbi_condition_new(void);
void bbi_condition_free(bbi_condition *condition);
void bbi_condition_wait(bbi_condition *condition, bbi_mutex *mutex); /* spurious wake-ups happen */
void bbi_condition_wake_all(bbi_condition *condition);
/* Process-wide monitors: a static lock with its condition each, needing no set-up. They stay usable in a
 * forked child (a fork waits for them, so hold one only briefly: no compile, no I/O, no callback while it is
 * held). */
typedef enum bbi_global {
    BBI_GLOBAL_JIT,
    BBI_GLOBAL_POOL,
    BBI_GLOBAL_SETUP,
    BBI_GLOBAL_EXIT,
    BBI_GLOBAL_COUNT
} bbi_global;
void bbi_global_lock(bbi_global monitor);
void bbi_global_unlock(bbi_global monitor);
void bbi_global_wait(bbi_global monitor); /* spurious wake-ups happen */
void bbi_global_wake_all(bbi_global monitor);
/* Threads block every signal (the host's handlers run on the host's threads) and pin the library in memory. */
typedef struct bbi_thread bbi_thread;
bbi_thread *bbi_thread_start(void (*function)(void *), void *argument); /* NULL when it cannot be started */
void bbi_thread_join(bbi_thread *thread);
void bbi_thread_detach(bbi_thread *thread);
int bbi_cpu_count(void);        /* cores this process may use */
int64_t bbi_process_id(void);   /* changes in a forked child */
double bbi_seconds(void);       /* monotonic clock */
void bbi_advise_large_pages(void *start, size_t size); /* a hint, before the first use */
/* The system may take back the pages and with them their contents; false where it cannot be told so. */
bool bbi_advise_unused(void *start, size_t size);
int64_t bbi_wall_seconds(void); /* since 1970: to compare with times of files */
void bbi_sleep(double seconds);
int64_t bbi_peak_memory(void);                 /* bytes resident at most so far, 0 where unknown */
const char *bbi_environment(const char *name); /* NULL when unset, or in a set-user-id program */
void *bbi_library_open(const char *path, const char **error);
/* Loads a shared object from memory: the very bytes that were checked, whatever happens to files meanwhile. */
void *bbi_library_open_bytes(const void *bytes, size_t length, const char **error);
void *bbi_library_symbol(void *library, const char *name);
void bbi_library_close(void *library);

/* ---- cpu.c: the processor, asked only when needed ---- */
/* 0 baseline, 1 AVX2+FMA+F16C, 2 AVX-512 F+DQ+BW+VL as well: what CPU and operating system allow. Other
 * machines: 0. */
int bbi_cpu_level(void);
int64_t bbi_cache_size(int level);     /* data cache of level 1, 2 or 3 in bytes; a sane guess where unknown */
const char *bbi_cpu_identity(void);    /* what -march=native depends on, for cache keys */
void bbi_cpu_describe(bbi_text *text); /* what the operating system says of a processor without cpuid */

/* ---- os_posix_process.c, os_windows.c: programs ---- */
/* Starts a program without a shell (argv[0] is a path), captures stdout+stderr together in log (at most the
 * first 64 KiB kept; log may be NULL), waits. *exit_code is the status, 128+signal, or BBI_EXIT_UNKNOWN where
 * the host ignores SIGCHLD or reaps our child itself: judge success by what the program was to produce. */
enum { BBI_EXIT_UNKNOWN = -1 };
bb_status bbi_run_program(const char *const argv[], const char *directory, bbi_text *log, int *exit_code);
/* Looks in PATH; a name with a slash is checked as it is and made absolute. */
bool bbi_find_program(const char *name, char *path, size_t size);

/* ---- os_posix_file.c, os_windows.c: files; int results are 0 or an errno value ---- */
enum { BBI_PATH_SIZE = 4096 };
typedef struct bbi_file_status {
    int64_t size, modified; /* bytes, seconds since 1970 */
    uint64_t device, inode; /* 0 where unknown */
} bbi_file_status;
int bbi_file_look(const char *path, bbi_file_status *status); /* regular files; follows links */
/* Reads a whole regular file of at most `limit` bytes (EFBIG). `ours`: it must belong to this user, be
 * writable by nobody else and be no symbolic link (EPERM). *bytes is released with bbi_free. */
int bbi_file_read(const char *path, size_t limit, bool ours, char **bytes, size_t *length);
/* Writes a temporary file in the same folder, renames it: readers see all of it or nothing. `durable`:
 * flushed to disk before the renaming, so that the same holds after a crash of the machine. */
int bbi_file_write(const char *path, const void *bytes, size_t length, bool durable);
int bbi_file_touch(const char *path); /* modified now */
int bbi_file_remove(const char *path);
int bbi_path_resolve(const char *path, char *resolved, size_t size); /* absolute, without links */
int bbi_folder_make(const char *path);    /* with its parents, for this user only; existing ones are fine */
int bbi_folder_private(const char *path); /* 0: ours, no symbolic link, writable by us and by nobody else */
/* Calls visit for every regular file of a folder; a non-zero answer stops. */
int bbi_folder_list(const char *path, int (*visit)(void *user, const char *name, const bbi_file_status *status),
                    void *user);
/* New, private, under TMPDIR (else /tmp, ...). When the process ends while one exists, it is removed on the
 * way out, and programs still running are told to stop. */
int bbi_folder_temporary(char *path, size_t size);
int bbi_folder_remove(const char *path); /* with the files in it; folders in it stop this */
/* Lock between processes on a file that is created when missing. NULL after `timeout` seconds or where locks
 * do not work. Releasing removes the file. */
typedef struct bbi_file_lock bbi_file_lock;
bbi_file_lock *bbi_file_lock_take(const char *path, double timeout);
void bbi_file_lock_release(bbi_file_lock *lock);
void bbi_system_error(int code, char *text, size_t size); /* words for an errno value, thread-safe */

#endif
