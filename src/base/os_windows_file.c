/* os_windows_file.c: programs and files on Windows. The home folder of a user is private by its access list,
 * so what POSIX says by owner and mode is here only: a plain file or folder and no reparse point (link). */
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include "base.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

#include "os_windows.h"

enum { LOG_KEPT = 64 << 10 };

bool bbi_wide_path(const char *path, wchar_t wide[BBI_PATH_SIZE]) {
    return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, BBI_PATH_SIZE) > 0;
}

bool bbi_narrow_path(const wchar_t *wide, char *path, size_t size) {
    return WideCharToMultiByte(CP_UTF8, 0, wide, -1, path, (int)size, NULL, NULL) > 0;
}

static int last_error(void) {
    switch (GetLastError()) {
    case ERROR_SUCCESS: return 0;
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND: return ENOENT;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION: return EACCES;
    case ERROR_ALREADY_EXISTS:
    case ERROR_FILE_EXISTS: return EEXIST;
    case ERROR_DISK_FULL: return ENOSPC;
    default: return EIO;
    }
}

static int64_t unix_seconds(FILETIME time) {
    int64_t ticks = (int64_t)time.dwHighDateTime << 32 | time.dwLowDateTime; /* 100 ns since 1601 */
    return ticks / 10000000 - 11644473600;
}

/* ---- programs ---- */

/* The rule that C programs undo (CommandLineToArgvW): quotes around, backslashes before a quote doubled. */
static void quote(bbi_text *line, const char *argument) {
    bbi_text_add(line, line->length ? " \"" : "\"");
    for (size_t slashes = 0;; argument++) {
        if (*argument == '\\') {
            slashes++;
            continue;
        }
        size_t written = *argument == '"' ? 2 * slashes + 1 : *argument ? slashes : 2 * slashes;
        for (; written > 0; written--) bbi_text_append(line, "\\", 1);
        slashes = 0;
        if (!*argument) break;
        bbi_text_append(line, argument, 1);
    }
    bbi_text_add(line, "\"");
}

static void follow(HANDLE log_end, bbi_text *log) {
    char bytes[4096];
    DWORD length;
    while (ReadFile(log_end, bytes, sizeof bytes, &length, NULL) && length > 0) {
        size_t room = log && log->length < LOG_KEPT ? LOG_KEPT - log->length : 0;
        if (room) bbi_text_append(log, bytes, length < room ? length : room);
    }
}

/* Only the write end of the pipe is handed on, by name: other handles of the host stay with it. */
static bool start(wchar_t *line, const wchar_t *directory, HANDLE log_end, PROCESS_INFORMATION *process) {
    STARTUPINFOEXW startup = {.StartupInfo = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES}};
    startup.StartupInfo.hStdOutput = startup.StartupInfo.hStdError = log_end;
    SIZE_T size = 0;
    InitializeProcThreadAttributeList(NULL, 1, 0, &size);
    startup.lpAttributeList = bbi_alloc(size);
    bool started = startup.lpAttributeList && InitializeProcThreadAttributeList(startup.lpAttributeList, 1, 0, &size);
    if (started) {
        DWORD flags = CREATE_NO_WINDOW | EXTENDED_STARTUPINFO_PRESENT;
        started = UpdateProcThreadAttribute(startup.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &log_end,
                                            sizeof log_end, NULL, NULL) &&
                  CreateProcessW(NULL, line, NULL, NULL, TRUE, flags, NULL, directory, &startup.StartupInfo, process);
        DeleteProcThreadAttributeList(startup.lpAttributeList);
    }
    bbi_free(startup.lpAttributeList);
    return started;
}

bb_status bbi_run_program(const char *const argv[], const char *directory, bbi_text *log, int *exit_code) {
    *exit_code = BBI_EXIT_UNKNOWN;
    bbi_text line = {0};
    for (int k = 0; argv[k]; k++) quote(&line, argv[k]);
    wchar_t folder[BBI_PATH_SIZE], *wide = bbi_alloc((line.length + 1) * sizeof *wide);
    int size = line.failed || !wide ? 0 : MultiByteToWideChar(CP_UTF8, 0, line.data, -1, wide, (int)line.length + 1);
    bbi_text_free(&line);
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof inherited, .bInheritHandle = TRUE};
    HANDLE read_end, write_end;
    PROCESS_INFORMATION process;
    bool started = false;
    if (size > 0 && (!directory || bbi_wide_path(directory, folder)) &&
        CreatePipe(&read_end, &write_end, &inherited, 0)) {
        SetHandleInformation(read_end, HANDLE_FLAG_INHERIT, 0);
        started = start(wide, directory ? folder : NULL, write_end, &process);
        CloseHandle(write_end);
        if (started) follow(read_end, log);
        CloseHandle(read_end);
    }
    bbi_free(wide);
    if (!started) return bbi_fail(BB_SYSTEM, "program %s cannot be started (error %lu)", argv[0], GetLastError());
    DWORD code;
    WaitForSingleObject(process.hProcess, INFINITE);
    if (GetExitCodeProcess(process.hProcess, &code)) *exit_code = (int)(code & 0x7fffffff);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return BB_OK;
}

bool bbi_find_program(const char *name, char *path, size_t size) {
    wchar_t wide[BBI_PATH_SIZE], found[BBI_PATH_SIZE];
    if (!*name || !bbi_wide_path(name, wide)) return false;
    DWORD length = SearchPathW(NULL, wide, L".exe", BBI_PATH_SIZE, found, NULL);
    if (length == 0 || length >= BBI_PATH_SIZE) return false;
    if (GetFileAttributesW(found) & FILE_ATTRIBUTE_DIRECTORY) return false;
    return bbi_narrow_path(found, path, size);
}

/* ---- files ---- */

int bbi_file_look(const char *path, bbi_file_status *status) {
    wchar_t wide[BBI_PATH_SIZE];
    BY_HANDLE_FILE_INFORMATION info;
    if (!bbi_wide_path(path, wide)) return EINVAL;
    DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    HANDLE file = CreateFileW(wide, 0, share, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return last_error();
    int failed = GetFileInformationByHandle(file, &info) ? 0 : last_error();
    CloseHandle(file);
    if (!failed)
        *status = (bbi_file_status){.size = (int64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow,
                                    .modified = unix_seconds(info.ftLastWriteTime),
                                    .device = info.dwVolumeSerialNumber,
                                    .inode = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow};
    return failed;
}

int bbi_file_read(const char *path, size_t limit, bool ours, char **bytes, size_t *length) {
    wchar_t wide[BBI_PATH_SIZE];
    LARGE_INTEGER size = {0};
    *bytes = NULL;
    *length = 0;
    if (!bbi_wide_path(path, wide)) return EINVAL;
    DWORD attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES) return last_error();
    if (ours && attributes & (FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY)) return EPERM;
    DWORD share = FILE_SHARE_READ | FILE_SHARE_DELETE;
    HANDLE file = CreateFileW(wide, GENERIC_READ, share, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return last_error();
    int failed = GetFileSizeEx(file, &size) ? 0 : last_error();
    if (!failed && ((uint64_t)size.QuadPart > limit || size.QuadPart > INT32_MAX)) failed = EFBIG;
    if (!failed && !(*bytes = bbi_alloc((size_t)size.QuadPart + 1))) failed = ENOMEM;
    DWORD done = 0;
    if (!failed && !ReadFile(file, *bytes, (DWORD)size.QuadPart, &done, NULL)) failed = last_error();
    CloseHandle(file);
    if (failed) {
        bbi_free(*bytes);
        *bytes = NULL;
    } else {
        (*bytes)[done] = '\0';
        *length = done;
    }
    return failed;
}

int bbi_file_write(const char *path, const void *bytes, size_t length, bool durable) {
    static _Atomic unsigned counter;
    char temporary[BBI_PATH_SIZE];
    wchar_t wide[BBI_PATH_SIZE], target[BBI_PATH_SIZE];
    int size = snprintf(temporary, sizeof temporary, "%s.%lu.%u.tmp", path, GetCurrentProcessId(),
                        atomic_fetch_add(&counter, 1));
    if (size < 0 || (size_t)size >= sizeof temporary || length > INT32_MAX) return ENAMETOOLONG;
    if (!bbi_wide_path(temporary, wide) || !bbi_wide_path(path, target)) return EINVAL;
    HANDLE file = CreateFileW(wide, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return last_error();
    DWORD done = 0;
    int failed = WriteFile(file, bytes, (DWORD)length, &done, NULL) && done == length ? 0 : last_error();
    if (!failed && durable && !FlushFileBuffers(file)) failed = last_error();
    CloseHandle(file);
    if (!failed && !MoveFileExW(wide, target, MOVEFILE_REPLACE_EXISTING)) failed = last_error();
    if (failed) DeleteFileW(wide);
    return failed;
}

int bbi_file_touch(const char *path) {
    wchar_t wide[BBI_PATH_SIZE];
    FILETIME now;
    if (!bbi_wide_path(path, wide)) return EINVAL;
    DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    HANDLE file = CreateFileW(wide, FILE_WRITE_ATTRIBUTES, share, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) return last_error();
    GetSystemTimeAsFileTime(&now);
    int failed = SetFileTime(file, NULL, NULL, &now) ? 0 : last_error();
    CloseHandle(file);
    return failed;
}

int bbi_file_remove(const char *path) {
    wchar_t wide[BBI_PATH_SIZE];
    if (!bbi_wide_path(path, wide)) return EINVAL;
    return DeleteFileW(wide) ? 0 : last_error();
}

int bbi_path_resolve(const char *path, char *resolved, size_t size) {
    wchar_t wide[BBI_PATH_SIZE], full[BBI_PATH_SIZE];
    if (!bbi_wide_path(path, wide)) return EINVAL;
    DWORD length = GetFullPathNameW(wide, BBI_PATH_SIZE, full, NULL);
    if (length == 0 || length >= BBI_PATH_SIZE) return ENAMETOOLONG;
    return bbi_narrow_path(full, resolved, size) ? 0 : ENAMETOOLONG;
}

/* ---- folders ---- */

static bool is_folder(const wchar_t *wide, bool link_too) {
    DWORD attributes = GetFileAttributesW(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES || !(attributes & FILE_ATTRIBUTE_DIRECTORY)) return false;
    return link_too || !(attributes & FILE_ATTRIBUTE_REPARSE_POINT);
}

int bbi_folder_make(const char *path) {
    wchar_t wide[BBI_PATH_SIZE];
    if (!*path) return ENOENT;
    if (!bbi_wide_path(path, wide)) return EINVAL;
    for (size_t k = 1;; k++) {
        wchar_t end = wide[k];
        if (end != L'/' && end != L'\\' && end != L'\0') continue;
        wide[k] = L'\0';
        if (!CreateDirectoryW(wide, NULL)) {
            int failed = last_error();
            if (!is_folder(wide, true)) return failed;
        }
        if (!end) return 0;
        wide[k] = end;
    }
}

int bbi_folder_private(const char *path) {
    wchar_t wide[BBI_PATH_SIZE];
    if (!bbi_wide_path(path, wide)) return EINVAL;
    if (GetFileAttributesW(wide) == INVALID_FILE_ATTRIBUTES) return last_error();
    return is_folder(wide, false) ? 0 : EPERM;
}

int bbi_folder_list(const char *path, int (*visit)(void *user, const char *name, const bbi_file_status *status),
                    void *user) {
    char pattern[BBI_PATH_SIZE], name[BBI_PATH_SIZE];
    wchar_t wide[BBI_PATH_SIZE];
    WIN32_FIND_DATAW found;
    int size = snprintf(pattern, sizeof pattern, "%s/*", path), stopped = 0;
    if (size < 0 || (size_t)size >= sizeof pattern || !bbi_wide_path(pattern, wide)) return ENAMETOOLONG;
    HANDLE search = FindFirstFileW(wide, &found);
    if (search == INVALID_HANDLE_VALUE) return last_error();
    do {
        if (found.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT)) continue;
        if (!bbi_narrow_path(found.cFileName, name, sizeof name)) continue;
        bbi_file_status status = {.size = (int64_t)found.nFileSizeHigh << 32 | found.nFileSizeLow,
                                  .modified = unix_seconds(found.ftLastWriteTime)};
        stopped = visit(user, name, &status);
    } while (!stopped && FindNextFileW(search, &found));
    FindClose(search);
    return stopped;
}

int bbi_folder_temporary(char *path, size_t size) {
    static _Atomic unsigned counter;
    wchar_t base[BBI_PATH_SIZE], wide[BBI_PATH_SIZE];
    char narrow[BBI_PATH_SIZE];
    DWORD length = GetTempPathW(BBI_PATH_SIZE, base);
    if (length == 0 || length >= BBI_PATH_SIZE || !bbi_narrow_path(base, narrow, sizeof narrow)) return ENOENT;
    for (int attempt = 0; attempt < 100; attempt++) {
        int used =
            snprintf(path, size, "%sbenben-%lu-%u", narrow, GetCurrentProcessId(), atomic_fetch_add(&counter, 1));
        if (used < 0 || (size_t)used >= size || !bbi_wide_path(path, wide)) return ENAMETOOLONG;
        if (CreateDirectoryW(wide, NULL)) return 0;
        if (GetLastError() != ERROR_ALREADY_EXISTS) return last_error();
    }
    return EEXIST;
}

static int remove_visited(void *user, const char *name, const bbi_file_status *status) {
    char path[BBI_PATH_SIZE];
    (void)status;
    int size = snprintf(path, sizeof path, "%s/%s", (const char *)user, name);
    if (size > 0 && (size_t)size < sizeof path) bbi_file_remove(path);
    return 0;
}

int bbi_folder_remove(const char *path) {
    char folder[BBI_PATH_SIZE];
    wchar_t wide[BBI_PATH_SIZE];
    if (snprintf(folder, sizeof folder, "%s", path) >= BBI_PATH_SIZE || !bbi_wide_path(path, wide)) return EINVAL;
    bbi_folder_list(path, remove_visited, folder);
    return RemoveDirectoryW(wide) ? 0 : last_error();
}

/* ---- locks: a file that is open for one process alone and goes with its handle ---- */

struct bbi_file_lock {
    HANDLE handle;
};

bbi_file_lock *bbi_file_lock_take(const char *path, double timeout) {
    wchar_t wide[BBI_PATH_SIZE];
    double deadline = bbi_seconds() + timeout;
    bbi_file_lock *lock = bbi_wide_path(path, wide) ? bbi_alloc(sizeof *lock) : NULL;
    if (!lock) return NULL;
    for (;;) {
        lock->handle = CreateFileW(wide, GENERIC_WRITE, 0, NULL, OPEN_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
        if (lock->handle != INVALID_HANDLE_VALUE) return lock;
        if (last_error() != EACCES || bbi_seconds() >= deadline) break;
        bbi_sleep(5e-3);
    }
    bbi_free(lock);
    return NULL;
}

void bbi_file_lock_release(bbi_file_lock *lock) {
    if (!lock) return;
    CloseHandle(lock->handle);
    bbi_free(lock);
}

void bbi_system_error(int code, char *text, size_t size) {
    if (strerror_s(text, size, code) != 0) snprintf(text, size, "error %d", code);
}
#else
typedef int bbi_not_windows; /* a translation unit must not be empty */
#endif
