/* in_child.h: what a test does to its own process is done in a forked one. */
#ifndef IN_CHILD_H
#define IN_CHILD_H

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a function in a forked child; its answer is the exit status. */
static inline int in_child(int (*function)(void)) {
    pid_t child = fork();
    if (child == 0) _exit(function());
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + status;
}

#endif
