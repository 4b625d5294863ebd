/* os_posix_exit.c: what to clear away when the process ends while a background thread compiles: the thread
 * dies in the middle, its compiler lives on and its temporary folder stays. A destructor of the library (it
 * runs at exit, or when the library is unloaded, which a started thread prevents) stops the compilers and
 * removes the folders. The table is small and of fixed size: what does not fit is merely not cleared. A
 * forked child inherits the table but not the duty: entries carry their process. */
#ifndef _WIN32
#define _GNU_SOURCE
#include "base.h"
#include "os_posix.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { LEFTOVERS = 32, LEFTOVER_PATH = 256, TRIES = 20 };

static struct leftover {
    pid_t owner; /* 0: free */
    pid_t child;
    char path[LEFTOVER_PATH];
} leftovers[LEFTOVERS]; /* guarded by BBI_GLOBAL_EXIT */

void bbi_leftover_add(const char *path, int child) {
    if (path && strlen(path) >= LEFTOVER_PATH) return;
    pid_t self = getpid();
    bbi_global_lock(BBI_GLOBAL_EXIT);
    for (int k = 0; k < LEFTOVERS; k++) {
        struct leftover *entry = &leftovers[k];
        if (entry->owner == self) continue;
        *entry = (struct leftover){.owner = self, .child = child};
        if (path) strcpy(entry->path, path);
        break;
    }
    bbi_global_unlock(BBI_GLOBAL_EXIT);
}

void bbi_leftover_done(const char *path, int child) {
    pid_t self = getpid();
    bbi_global_lock(BBI_GLOBAL_EXIT);
    for (int k = 0; k < LEFTOVERS; k++) {
        struct leftover *entry = &leftovers[k];
        if (entry->owner == self && entry->child == child && !strcmp(entry->path, path ? path : "")) entry->owner = 0;
    }
    bbi_global_unlock(BBI_GLOBAL_EXIT);
}

/* Compilers get SIGTERM, upon which they remove their own temporary files; each is the leader of its own
 * group. While they go, their folders may fill again: a few tries. */
__attribute__((destructor)) static void clear_leftovers(void) {
    struct leftover mine[LEFTOVERS];
    pid_t self = getpid();
    int count = 0;
    bbi_global_lock(BBI_GLOBAL_EXIT);
    for (int k = 0; k < LEFTOVERS; k++)
        if (leftovers[k].owner == self) mine[count++] = leftovers[k];
    bbi_global_unlock(BBI_GLOBAL_EXIT);
    for (int k = 0; k < count; k++)
        if (mine[k].child > 0) kill(-mine[k].child, SIGTERM);
    for (int attempt = 0, left = count; left > 0 && attempt < TRIES; attempt++) {
        if (attempt > 0) bbi_sleep(5e-3);
        left = 0;
        for (int k = 0; k < count; k++)
            if (mine[k].path[0] && access(mine[k].path, F_OK) == 0 && bbi_folder_remove(mine[k].path) != 0) left++;
    }
}
#else
typedef int bbi_not_posix; /* a translation unit must not be empty */
#endif
