/* old_glibc.c: functions that glibc 2.28 lacks, for wheels (see old_glibc.h). They are hidden and take the place of the C
 * library's in this library alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* Before 2.33, stat and its kin were inline wrappers of __xstat; the system calls are the same on 64-bit machines. */
HIDDEN int fstat(int descriptor, struct stat *status) { return (int)syscall(SYS_fstat, descriptor, status); }

HIDDEN int fstatat(int folder, const char *restrict path, struct stat *restrict status, int flags) {
    return (int)syscall(SYS_newfstatat, folder, path, status, flags);
}

HIDDEN int stat(const char *restrict path, struct stat *restrict status) {
    return fstatat(AT_FDCWD, path, status, 0);
}

/* Since 2.29 and 2.34. ENOSYS tells os_posix_process.c to do without. */
HIDDEN int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *restrict actions,
                                                const char *restrict folder) {
    int (*add)(posix_spawn_file_actions_t *, const char *);
    void *found = dlsym(RTLD_DEFAULT, "posix_spawn_file_actions_addchdir_np");
    memcpy(&add, &found, sizeof add);
    return found ? add(actions, folder) : ENOSYS;
}

HIDDEN int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int first) {
    int (*add)(posix_spawn_file_actions_t *, int);
    void *found = dlsym(RTLD_DEFAULT, "posix_spawn_file_actions_addclosefrom_np");
    memcpy(&add, &found, sizeof add);
    return found ? add(actions, first) : ENOSYS;
}
