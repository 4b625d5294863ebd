/* os_windows.c: threads, locks, clock and dynamic loading on Windows; os_windows_file.c holds files and
 * programs. There is no fork, and no signal either: monitors are plain static locks. */
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define PSAPI_VERSION 2
#include "base.h"

#include <windows.h>

#include <process.h>
#include <psapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "os_windows.h"

/* ---- locks ---- */

struct bbi_mutex {
    SRWLOCK lock;
};

bbi_mutex *bbi_mutex_new(void) {
    bbi_mutex *mutex = bbi_alloc(sizeof *mutex);
    if (mutex) InitializeSRWLock(&mutex->lock);
    return mutex;
}

void bbi_mutex_free(bbi_mutex *mutex) { bbi_free(mutex); }

void bbi_mutex_lock(bbi_mutex *mutex) { AcquireSRWLockExclusive(&mutex->lock); }

void bbi_mutex_unlock(bbi_mutex *mutex) { ReleaseSRWLockExclusive(&mutex->lock); }

struct bbi_condition {
    CONDITION_VARIABLE queue;
};

bbi_condition *bbi_condition_new(void) {
    bbi_condition *condition = bbi_alloc(sizeof *condition);
    if (condition) InitializeConditionVariable(&condition->queue);
    return condition;
}

void bbi_condition_free(bbi_condition *condition) { bbi_free(condition); }

void bbi_condition_wait(bbi_condition *condition, bbi_mutex *mutex) {
    SleepConditionVariableSRW(&condition->queue, &mutex->lock, INFINITE, 0);
}

void bbi_condition_wake_all(bbi_condition *condition) { WakeAllConditionVariable(&condition->queue); }

/* All zero is the initial state of both, as SRWLOCK_INIT and CONDITION_VARIABLE_INIT say. */
static struct {
    SRWLOCK lock;
    CONDITION_VARIABLE queue;
} global_monitor[BBI_GLOBAL_COUNT];

void bbi_global_lock(bbi_global monitor) { AcquireSRWLockExclusive(&global_monitor[monitor].lock); }

void bbi_global_unlock(bbi_global monitor) { ReleaseSRWLockExclusive(&global_monitor[monitor].lock); }

void bbi_global_wait(bbi_global monitor) {
    SleepConditionVariableSRW(&global_monitor[monitor].queue, &global_monitor[monitor].lock, INFINITE, 0);
}

void bbi_global_wake_all(bbi_global monitor) { WakeAllConditionVariable(&global_monitor[monitor].queue); }

/* ---- threads ---- */

struct bbi_thread {
    HANDLE handle;
};

typedef struct task {
    void (*function)(void *);
    void *argument;
} task;

static unsigned __stdcall run_task(void *pointer) {
    task job = *(task *)pointer;
    bbi_free(pointer);
    job.function(job.argument);
    return 0;
}

bbi_thread *bbi_thread_start(void (*function)(void *), void *argument) {
    bbi_thread *thread = bbi_alloc(sizeof *thread);
    task *job = bbi_alloc(sizeof *job);
    if (thread && job) {
        HMODULE self; /* a host may unload the library while a thread runs its code */
        GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                           (const char *)(uintptr_t)run_task, &self);
        *job = (task){function, argument};
        thread->handle = (HANDLE)_beginthreadex(NULL, 0, run_task, job, 0, NULL);
        if (thread->handle) return thread;
    }
    bbi_free(job);
    bbi_free(thread);
    return NULL;
}

void bbi_thread_join(bbi_thread *thread) {
    if (!thread) return;
    WaitForSingleObject(thread->handle, INFINITE);
    bbi_thread_detach(thread);
}

void bbi_thread_detach(bbi_thread *thread) {
    if (!thread) return;
    CloseHandle(thread->handle);
    bbi_free(thread);
}

int bbi_cpu_count(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors < 1 ? 1 : (int)info.dwNumberOfProcessors;
}

int64_t bbi_process_id(void) { return (int64_t)GetCurrentProcessId(); }

/* ---- clock, memory, environment ---- */

void bbi_advise_large_pages(void *start, size_t size) { (void)start, (void)size; }
bool bbi_advise_unused(void *start, size_t size) {
    (void)start, (void)size;
    return false;
}

double bbi_seconds(void) {
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart / (double)frequency.QuadPart;
}

int64_t bbi_wall_seconds(void) { return (int64_t)time(NULL); }

void bbi_sleep(double seconds) {
    if (seconds > 0) Sleep((DWORD)(1e3 * seconds + 0.5));
}

int64_t bbi_peak_memory(void) {
    PROCESS_MEMORY_COUNTERS counters;
    if (!GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters)) return 0;
    return (int64_t)counters.PeakWorkingSetSize;
}

const char *bbi_environment(const char *name) { return getenv(name); }

void bbi_cpu_describe(bbi_text *text) {
    const char *identifier = getenv("PROCESSOR_IDENTIFIER");
    bbi_text_add(text, "%s", identifier ? identifier : "unknown processor");
}

/* ---- dynamic loading ---- */

static _Thread_local char loader_message[128];

void *bbi_library_open(const char *path, const char **error) {
    wchar_t wide[BBI_PATH_SIZE];
    HMODULE library = bbi_wide_path(path, wide) ? LoadLibraryW(wide) : NULL;
    if (!library && error) {
        snprintf(loader_message, sizeof loader_message, "LoadLibrary answers error %lu", GetLastError());
        *error = loader_message;
    }
    return (void *)library;
}

/* Windows loads from files only, and a loaded file cannot be deleted: the file is left to the next one that
 * looks, and stays for the length of the process. */
void *bbi_library_open_bytes(const void *bytes, size_t length, const char **error) {
    char folder[BBI_PATH_SIZE], path[BBI_PATH_SIZE + 16];
    if (error) *error = "no temporary folder to load it from";
    if (bbi_folder_temporary(folder, sizeof folder) != 0) return NULL;
    snprintf(path, sizeof path, "%s/kernel.dll", folder);
    void *library = bbi_file_write(path, bytes, length, false) == 0 ? bbi_library_open(path, error) : NULL;
    if (!library) bbi_folder_remove(folder);
    return library;
}

void *bbi_library_symbol(void *library, const char *name) {
    return (void *)(uintptr_t)GetProcAddress((HMODULE)library, name);
}

void bbi_library_close(void *library) {
    if (!library) return;
    wchar_t wide[BBI_PATH_SIZE];
    DWORD length = GetModuleFileNameW((HMODULE)library, wide, BBI_PATH_SIZE);
    FreeLibrary((HMODULE)library);
    wchar_t *name = length && length < BBI_PATH_SIZE ? wcsrchr(wide, L'\\') : NULL;
    if (!name || wcscmp(name, L"\\kernel.dll") != 0) return;
    DeleteFileW(wide); /* one of ours, in a folder of its own */
    *name = L'\0';
    RemoveDirectoryW(wide);
}
#else
typedef int bbi_not_windows; /* a translation unit must not be empty */
#endif
