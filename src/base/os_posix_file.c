/* os_posix_file.c: the few file operations that the disk cache and the compiler need, on POSIX systems.
 * What decides about trust (owner, mode, kind) is always read from an open descriptor, never from a path
 * that may change meanwhile. */
#ifndef _WIN32
#define _GNU_SOURCE
#include "base.h"
#include "os_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct bbi_file_lock {
    int descriptor;
    char path[];
};

static bbi_file_status describe(const struct stat *status) {
    return (bbi_file_status){.size = status->st_size,
                             .modified = (int64_t)status->st_mtime,
                             .device = (uint64_t)status->st_dev,
                             .inode = (uint64_t)status->st_ino};
}

static bool ours_alone(const struct stat *status) {
    return status->st_uid == geteuid() && (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

int bbi_file_look(const char *path, bbi_file_status *result) {
    struct stat status;
    if (stat(path, &status) != 0) return errno;
    if (!S_ISREG(status.st_mode)) return EINVAL;
    *result = describe(&status);
    return 0;
}

static int read_all(int descriptor, char *bytes, size_t size, size_t *length) {
    *length = 0;
    while (*length < size) {
        ssize_t part = read(descriptor, bytes + *length, size - *length);
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return errno;
        if (part == 0) break;
        *length += (size_t)part;
    }
    bytes[*length] = '\0';
    return 0;
}

/* O_NONBLOCK: opening a named pipe that somebody left there must not wait for its other end. */
int bbi_file_read(const char *path, size_t limit, bool ours, char **bytes, size_t *length) {
    *bytes = NULL;
    *length = 0;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (ours ? O_NOFOLLOW : 0));
    if (descriptor < 0) return errno == ELOOP ? EPERM : errno;
    struct stat status;
    int failed = fstat(descriptor, &status) == 0 ? 0 : errno;
    if (!failed && !S_ISREG(status.st_mode)) failed = ours ? EPERM : EINVAL;
    if (!failed && ours && !ours_alone(&status)) failed = EPERM;
    if (!failed && (uint64_t)status.st_size > limit) failed = EFBIG;
    if (!failed && !(*bytes = bbi_alloc((size_t)status.st_size + 1))) failed = ENOMEM;
    if (!failed) failed = read_all(descriptor, *bytes, (size_t)status.st_size, length);
    if (failed) {
        bbi_free(*bytes);
        *bytes = NULL;
    }
    close(descriptor);
    return failed;
}

static int write_all(int descriptor, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t part = write(descriptor, bytes, length);
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return errno;
        bytes += part;
        length -= (size_t)part;
    }
    return 0;
}

/* A file size limit answers a write with SIGXFSZ, which would end the host: ask first. */
static bool within_file_limit(size_t length) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || length <= limit.rlim_cur;
}

int bbi_file_write(const char *path, const void *bytes, size_t length, bool durable) {
    static _Atomic unsigned counter;
    char temporary[BBI_PATH_SIZE];
    int size = snprintf(temporary, sizeof temporary, "%s.%lld.%u.tmp", path, (long long)getpid(),
                        atomic_fetch_add(&counter, 1));
    if (size < 0 || (size_t)size >= sizeof temporary) return ENAMETOOLONG;
    if (!within_file_limit(length)) return EFBIG;
    int descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor < 0) return errno;
    int failed = write_all(descriptor, bytes, length);
    if (!failed && durable && fsync(descriptor) != 0 && errno != EINVAL && errno != ENOSYS) failed = errno;
    if (close(descriptor) != 0 && !failed && errno != EINTR) failed = errno;
    if (!failed && rename(temporary, path) != 0) failed = errno;
    if (failed) unlink(temporary);
    return failed;
}

int bbi_file_touch(const char *path) { return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno; }

int bbi_file_remove(const char *path) { return unlink(path) == 0 ? 0 : errno; }

int bbi_path_resolve(const char *path, char *resolved, size_t size) {
    char *real = realpath(path, NULL); /* the C library's own memory */
    if (!real) return errno;
    int length = snprintf(resolved, size, "%s", real);
    free(real);
    return length >= 0 && (size_t)length < size ? 0 : ENAMETOOLONG;
}

int bbi_folder_make(const char *path) {
    char part[BBI_PATH_SIZE];
    size_t length = strlen(path);
    if (length == 0) return ENOENT;
    if (length >= sizeof part) return ENAMETOOLONG;
    memcpy(part, path, length + 1);
    for (size_t k = 1; k <= length; k++) {
        if (part[k] != '/' && part[k] != '\0') continue;
        part[k] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            int failed = errno; /* a read-only or foreign parent that exists is fine */
            struct stat status;
            if (stat(part, &status) != 0 || !S_ISDIR(status.st_mode)) return failed;
        }
        if (k < length) part[k] = '/';
    }
    return 0;
}

int bbi_folder_private(const char *path) {
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0) return errno == ELOOP || errno == ENOTDIR ? EPERM : errno;
    struct stat status;
    int failed = fstat(descriptor, &status) == 0 ? 0 : errno;
    if (!failed && !ours_alone(&status)) failed = EPERM;
    if (!failed && faccessat(descriptor, ".", W_OK | X_OK, AT_EACCESS) != 0) failed = errno;
    close(descriptor);
    return failed;
}

int bbi_folder_list(const char *path, int (*visit)(void *user, const char *name, const bbi_file_status *status),
                    void *user) {
    DIR *folder = opendir(path);
    if (!folder) return errno;
    int stopped = 0;
    for (struct dirent *entry; !stopped && (entry = readdir(folder));) {
        struct stat status;
        if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISREG(status.st_mode)) continue;
        bbi_file_status described = describe(&status);
        stopped = visit(user, entry->d_name, &described);
    }
    closedir(folder);
    return stopped;
}

int bbi_folder_temporary(char *path, size_t size) {
    const char *candidates[] = {bbi_environment("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"};
    int failed = ENOENT;
    for (size_t k = 0; k < sizeof candidates / sizeof *candidates; k++) {
        if (!candidates[k] || candidates[k][0] != '/') continue;
        int length = snprintf(path, size, "%s/benben-XXXXXX", candidates[k]);
        if (length < 0 || (size_t)length >= size) continue;
        if (mkdtemp(path)) {
            bbi_leftover_add(path, 0);
            return 0;
        }
        failed = errno;
    }
    return failed;
}

int bbi_folder_remove(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) return errno;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    if (rmdir(path) != 0) return errno;
    bbi_leftover_done(path, 0);
    return 0;
}

/* Releasing unlinks the file, so whoever waited may have locked a file that is no longer there: look again. */
static bool still_there(int descriptor, const char *path) {
    struct stat held, named;
    return fstat(descriptor, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

/* 0 locked, EAGAIN held by another or replaced meanwhile, else a reason why locks do not work here. */
static int try_lock(bbi_file_lock *lock) {
    lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (lock->descriptor < 0) return errno == EINTR ? EAGAIN : errno;
    int failed = flock(lock->descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (failed == EINTR || failed == EWOULDBLOCK) failed = EAGAIN;
    if (!failed && !still_there(lock->descriptor, lock->path)) failed = EAGAIN;
    if (failed) close(lock->descriptor);
    return failed;
}

bbi_file_lock *bbi_file_lock_take(const char *path, double timeout) {
    size_t size = strlen(path) + 1;
    bbi_file_lock *lock = bbi_alloc(sizeof *lock + size);
    if (!lock) return NULL;
    memcpy(lock->path, path, size);
    double deadline = bbi_seconds() + timeout, pause = 1e-3;
    int failed = try_lock(lock);
    while (failed == EAGAIN && bbi_seconds() < deadline) {
        bbi_sleep(pause);
        if (pause < 16e-3) pause *= 2;
        failed = try_lock(lock);
    }
    if (!failed) return lock;
    bbi_free(lock);
    return NULL;
}

/* Unlocked by name: a child that the host forked meanwhile shares the lock and would hold it after our
 * close. */
void bbi_file_lock_release(bbi_file_lock *lock) {
    if (!lock) return;
    unlink(lock->path);
    flock(lock->descriptor, LOCK_UN);
    close(lock->descriptor);
    bbi_free(lock);
}

void bbi_system_error(int code, char *text, size_t size) {
#ifdef __GLIBC__
    char buffer[128];
    snprintf(text, size, "%s", strerror_r(code, buffer, sizeof buffer));
#else
    if (strerror_r(code, text, size) != 0) snprintf(text, size, "error %d", code);
#endif
}
#else
typedef int bbi_not_posix; /* a translation unit must not be empty */
#endif
