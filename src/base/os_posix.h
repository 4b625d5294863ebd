/* os_posix.h: what the POSIX files share among themselves. */
#ifndef BBI_OS_POSIX_H
#define BBI_OS_POSIX_H

/* Notes a temporary folder (or, path NULL, a running program) to be cleared away should the process end
 * now. */
void bbi_leftover_add(const char *path, int child);
void bbi_leftover_done(const char *path, int child);

/* Tests set it: programs are started as where posix_spawn cannot change the folder. */
extern bool bbi_spawn_by_fork;

#endif
