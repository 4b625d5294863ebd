/* os_posix.c: threads, locks, clock and dynamic loading on POSIX systems. Its siblings os_posix_file.c and
 * os_posix_process.c hold files and programs; os_windows.c holds all of it for Windows. Nothing else in the
 * library includes a system header. */
#ifndef _WIN32
#define _GNU_SOURCE
#include "base.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- locks ---- */

struct bbi_mutex {
    pthread_mutex_t lock;
};

bbi_mutex *bbi_mutex_new(void) {
    bbi_mutex *mutex = bbi_alloc(sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->lock, NULL) != 0) {
        bbi_free(mutex);
        return NULL;
    }
    return mutex;
}

void bbi_mutex_free(bbi_mutex *mutex) {
    if (!mutex) return;
    pthread_mutex_destroy(&mutex->lock);
    bbi_free(mutex);
}

void bbi_mutex_lock(bbi_mutex *mutex) { pthread_mutex_lock(&mutex->lock); }

void bbi_mutex_unlock(bbi_mutex *mutex) { pthread_mutex_unlock(&mutex->lock); }

struct bbi_condition {
    pthread_cond_t queue;
};

bbi_condition *bbi_condition_new(void) {
    bbi_condition *condition = bbi_alloc(sizeof *condition);
    if (condition && pthread_cond_init(&condition->queue, NULL) != 0) {
        bbi_free(condition);
        return NULL;
    }
    return condition;
}

void bbi_condition_free(bbi_condition *condition) {
    if (!condition) return;
    pthread_cond_destroy(&condition->queue);
    bbi_free(condition);
}

void bbi_condition_wait(bbi_condition *condition, bbi_mutex *mutex) {
    pthread_cond_wait(&condition->queue, &mutex->lock);
}

void bbi_condition_wake_all(bbi_condition *condition) { pthread_cond_broadcast(&condition->queue); }

static struct {
    pthread_mutex_t lock;
    pthread_cond_t queue;
} global_monitor[BBI_GLOBAL_COUNT] = {
    {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER},
    {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER},
    {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER},
    {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER},
};
_Static_assert(sizeof global_monitor / sizeof *global_monitor == 4 && BBI_GLOBAL_COUNT == 4, "one row per monitor");

static pthread_once_t fork_handlers = PTHREAD_ONCE_INIT;

static void before_fork(void) {
    for (int k = 0; k < BBI_GLOBAL_COUNT; k++) pthread_mutex_lock(&global_monitor[k].lock);
}

static void after_fork_in_parent(void) {
    for (int k = BBI_GLOBAL_COUNT - 1; k >= 0; k--) pthread_mutex_unlock(&global_monitor[k].lock);
}

/* Waiters of the parent do not exist in the child: queues start afresh. */
static void after_fork_in_child(void) {
    for (int k = BBI_GLOBAL_COUNT - 1; k >= 0; k--) {
        pthread_cond_init(&global_monitor[k].queue, NULL);
        pthread_mutex_unlock(&global_monitor[k].lock);
    }
}

static void install_fork_handlers(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

void bbi_global_lock(bbi_global monitor) {
    pthread_once(&fork_handlers, install_fork_handlers);
    pthread_mutex_lock(&global_monitor[monitor].lock);
}

void bbi_global_unlock(bbi_global monitor) { pthread_mutex_unlock(&global_monitor[monitor].lock); }

void bbi_global_wait(bbi_global monitor) {
    pthread_cond_wait(&global_monitor[monitor].queue, &global_monitor[monitor].lock);
}

void bbi_global_wake_all(bbi_global monitor) { pthread_cond_broadcast(&global_monitor[monitor].queue); }

/* ---- threads ---- */

struct bbi_thread {
    pthread_t id;
};

typedef struct task {
    void (*function)(void *);
    void *argument;
} task;

static void *run_task(void *pointer) {
    task job = *(task *)pointer;
    bbi_free(pointer);
    job.function(job.argument);
    return NULL;
}

/* A host may dlclose the library while a thread runs its code: from the first thread on it stays mapped. In
 * a program that is linked statically this asks for the program itself and does nothing. */
static void pin_library(void) {
    Dl_info info;
    void (*function)(void) = pin_library;
    void *self;
    memcpy(&self, &function, sizeof self);
    if (dladdr(self, &info) && info.dli_fname) (void)dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

bbi_thread *bbi_thread_start(void (*function)(void *), void *argument) {
    static pthread_once_t pinned = PTHREAD_ONCE_INIT;
    bbi_thread *thread = bbi_alloc(sizeof *thread);
    task *job = bbi_alloc(sizeof *job);
    int failed = ENOMEM;
    if (thread && job) {
        *job = (task){function, argument};
        pthread_once(&pinned, pin_library);
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failed = pthread_create(&thread->id, NULL, run_task, job);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (!failed) return thread;
    bbi_free(job);
    bbi_free(thread);
    return NULL;
}

void bbi_thread_join(bbi_thread *thread) {
    if (!thread) return;
    pthread_join(thread->id, NULL);
    bbi_free(thread);
}

void bbi_thread_detach(bbi_thread *thread) {
    if (!thread) return;
    pthread_detach(thread->id);
    bbi_free(thread);
}

int bbi_cpu_count(void) {
    long count = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
    if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (int)count;
}

int64_t bbi_process_id(void) { return getpid(); }

/* ---- clock, memory, environment ---- */

#if defined MADV_HUGEPAGE || defined MADV_FREE
static bool advise(void *start, size_t size, int advice) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)start + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)start + size) / page * page;
    int before = errno;
    bool taken = to <= from || madvise((char *)start + (from - (uintptr_t)start), to - from, advice) == 0;
    errno = before;
    return taken;
}
#endif

void bbi_advise_large_pages(void *start, size_t size) {
#ifdef MADV_HUGEPAGE
    (void)advise(start, size, MADV_HUGEPAGE);
#else
    (void)start, (void)size;
#endif
}

bool bbi_advise_unused(void *start, size_t size) {
#ifdef MADV_FREE
    return advise(start, size, MADV_FREE);
#else
    (void)start, (void)size;
    return false;
#endif
}

double bbi_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t bbi_wall_seconds(void) { return (int64_t)time(NULL); }

void bbi_sleep(double seconds) {
    if (!(seconds > 0)) return;
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

int64_t bbi_peak_memory(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (int64_t)usage.ru_maxrss;
#else
    return (int64_t)usage.ru_maxrss * 1024;
#endif
}

/* In a set-user-id program the caller's environment must not choose compilers and folders. */
const char *bbi_environment(const char *name) {
    if (getuid() != geteuid() || getgid() != getegid()) return NULL;
    return getenv(name);
}

void bbi_cpu_describe(bbi_text *text) {
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[1024];
    while (file && fgets(line, sizeof line, file)) {
        static const char *const kept[] = {"CPU ", "Features", "isa", "cpu", "model name", "flags"};
        if (line[0] == '\n') break; /* the first processor speaks for all */
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            if (!strncmp(line, kept[k], strlen(kept[k])) && !strstr(line, "MHz")) bbi_text_add(text, "%s", line);
    }
    if (file) fclose(file);
    if (!text->length) bbi_text_add(text, "unknown processor");
}

/* ---- dynamic loading ---- */

static void *open_library(const char *path, const char **error) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library && error) {
        const char *text = dlerror();
        *error = text ? text : "unknown error of the dynamic loader";
    }
    return library;
}

void *bbi_library_open(const char *path, const char **error) { return open_library(path, error); }

void *bbi_library_symbol(void *library, const char *name) { return dlsym(library, name); }

void bbi_library_close(void *library) {
    if (library) dlclose(library);
}

#ifdef __linux__
/* glibc takes a path that it has seen before for the library loaded then, and numbers of descriptors come back: the path
 * is made unique by writing a number in its slashes ("/" for 0, "/." for 1; the kernel ignores both). The number begins
 * with an address of this copy of the library, because a process may hold several (an extension module and a shared
 * library, say) that count each for itself. */
static void unique_descriptor_path(int descriptor, char *path, size_t size) {
    static _Atomic uint32_t counter;
    uint64_t number = (uint64_t)(uintptr_t)&counter << 20 ^ (atomic_fetch_add(&counter, 1) + 1);
    size_t length = (size_t)snprintf(path, size, "/proc/self/fd");
    for (; number; number >>= 1) {
        path[length++] = '/';
        if (number & 1) path[length++] = '.';
    }
    snprintf(path + length, size - length, "/%d", descriptor);
}

/* A path under which nothing is loaded yet: also a copy of the library that has been unloaded may have stood at the
 * same address. */
static void free_descriptor_path(int descriptor, char *path, size_t size) {
    for (;;) {
        unique_descriptor_path(descriptor, path, size);
        void *loaded = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
        if (!loaded) return;
        dlclose(loaded);
    }
}

static void *open_in_memory(const void *bytes, size_t length, const char **error) {
    int descriptor = memfd_create("benben", MFD_CLOEXEC);
    if (descriptor < 0) return NULL;
    void *library = NULL;
    size_t done = 0;
    while (done < length) {
        ssize_t part = write(descriptor, (const char *)bytes + done, length - done);
        if (part < 0 && errno == EINTR) continue;
        if (part <= 0) break;
        done += (size_t)part;
    }
    if (done == length) {
        char path[192]; /* 64 bits, two characters each, and the rest */
        free_descriptor_path(descriptor, path, sizeof path);
        library = open_library(path, error);
    }
    close(descriptor);
    return library;
}
#endif

void *bbi_library_open_bytes(const void *bytes, size_t length, const char **error) {
    *error = "no memory and no temporary folder to load it from";
#ifdef __linux__
    void *in_memory = open_in_memory(bytes, length, error);
    if (in_memory) return in_memory;
#endif
    char folder[BBI_PATH_SIZE], path[BBI_PATH_SIZE + 16];
    if (bbi_folder_temporary(folder, sizeof folder) != 0) return NULL;
    snprintf(path, sizeof path, "%s/kernel.so", folder);
    void *library = bbi_file_write(path, bytes, length, false) == 0 ? open_library(path, error) : NULL;
    bbi_folder_remove(folder);
    return library;
}
#else
typedef int bbi_not_posix; /* a translation unit must not be empty */
#endif
