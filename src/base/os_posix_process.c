/* os_posix_process.c: starting a program on POSIX systems. The host's process is not ours: its signal
 * dispositions, its reaping of children, its descriptors and its current folder are left as they are, and
 * the program sees none of them. */
#ifndef _WIN32
#define _GNU_SOURCE
#include "base.h"
#include "os_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool bbi_spawn_by_fork;

enum { LOG_KEPT = 64 << 10, POLL_MILLISECONDS = 100 };

static int make_pipe(int ends[2]) {
#ifdef __linux__
    return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
#else
    if (pipe(ends) != 0) return errno;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
#endif
}

/* stdin from /dev/null, stdout and stderr into the pipe, no other descriptor of the host where the C
 * library can. ENOSYS: it cannot change the folder. */
static int add_actions(posix_spawn_file_actions_t *actions, const char *directory, int log_end) {
    int failed = posix_spawn_file_actions_adddup2(actions, log_end, 1);
    if (!failed) failed = posix_spawn_file_actions_adddup2(actions, log_end, 2);
    if (!failed) failed = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!failed && directory)
        failed = bbi_spawn_by_fork ? ENOSYS : posix_spawn_file_actions_addchdir_np(actions, directory);
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    if (!failed) {
        failed = posix_spawn_file_actions_addclosefrom_np(actions, 3);
        if (failed == ENOSYS) failed = 0;
    }
#endif
#endif
    return failed;
}

/* Default signals: a compiler driver that inherits an ignored SIGCHLD cannot wait for its own passes. A
 * process group of its own: Ctrl-C in the host's terminal does not kill a compile whose result is still
 * wanted. */
static const int reset[] = {SIGCHLD, SIGPIPE, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGXFSZ, SIGXCPU};

static int add_attributes(posix_spawnattr_t *attributes) {
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (size_t k = 0; k < sizeof reset / sizeof *reset; k++) sigaddset(&defaults, reset[k]);
    int failed = posix_spawnattr_setsigdefault(attributes, &defaults);
    if (!failed) failed = posix_spawnattr_setsigmask(attributes, &none);
    if (!failed) failed = posix_spawnattr_setpgroup(attributes, 0);
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP;
    return failed ? failed : posix_spawnattr_setflags(attributes, flags);
}

/* The same where posix_spawn cannot change the folder (glibc before 2.29). Between fork and exec only what is safe in the
 * child of a process with threads. */
static void become(char *const *argv, const char *directory, int log_end) {
    sigset_t none;
    sigemptyset(&none);
    for (size_t k = 0; k < sizeof reset / sizeof *reset; k++) signal(reset[k], SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    int input = open("/dev/null", O_RDONLY);
    if (input < 0 || dup2(log_end, 1) < 0 || dup2(log_end, 2) < 0 || dup2(input, 0) < 0 || chdir(directory) != 0)
        return;
    long limit = sysconf(_SC_OPEN_MAX);
    for (int k = 3; k < (limit < 0 || limit > 65536 ? 65536 : (int)limit); k++) close(k);
    execve(argv[0], argv, environ);
}

static int spawn_by_fork(pid_t *child, char *const *argv, const char *directory, int log_end) {
    if (access(directory, X_OK) != 0) return errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of the host runs in the child */
    *child = fork();
    int failed = *child < 0 ? errno : 0;
    if (*child == 0) {
        become(argv, directory, log_end);
        _exit(127);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static int spawn(pid_t *child, const char *const argv[], const char *directory, int log_end) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed) return failed;
    failed = posix_spawnattr_init(&attributes);
    if (!failed) {
        failed = add_actions(&actions, directory, log_end);
        char **arguments;
        memcpy(&arguments, &argv, sizeof arguments); /* posix_spawn's type lacks the const, it writes nothing */
        bool by_fork = failed == ENOSYS;
        if (by_fork) failed = spawn_by_fork(child, arguments, directory, log_end);
        if (!failed && !by_fork) failed = add_attributes(&attributes);
        if (!failed && !by_fork) failed = posix_spawn(child, argv[0], &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* True once the child is gone: with its status, or without where somebody else reaped it (ECHILD). */
static bool reap(pid_t child, int flags, int *exit_code) {
    int status;
    pid_t who;
    do who = waitpid(child, &status, flags);
    while (who < 0 && errno == EINTR);
    if (who == 0) return false;
    bbi_leftover_done(NULL, child);
    *exit_code = BBI_EXIT_UNKNOWN;
    if (who == child && WIFEXITED(status)) *exit_code = WEXITSTATUS(status);
    if (who == child && WIFSIGNALED(status)) *exit_code = 128 + WTERMSIG(status);
    return true;
}

static void keep(bbi_text *log, const char *bytes, size_t length) {
    if (!log || log->length >= LOG_KEPT) return;
    bbi_text_append(log, bytes, length < LOG_KEPT - log->length ? length : LOG_KEPT - log->length);
}

/* Reads until the last writer closes its end. A grandchild that lives on (a compile server) may hold it for
 * ever, so the end of the child itself is looked for as well; what is in the pipe by then is still read. */
static void follow(pid_t child, int log_end, bbi_text *log, int *exit_code) {
    char bytes[4096];
    bool reaped = false;
    for (;;) {
        struct pollfd wanted = {.fd = log_end, .events = POLLIN};
        int ready = poll(&wanted, 1, reaped ? 0 : POLL_MILLISECONDS);
        if (ready < 0 && errno != EINTR) break;
        if (ready > 0) {
            ssize_t length = read(log_end, bytes, sizeof bytes);
            if (length == 0 || (length < 0 && errno != EINTR)) break;
            if (length > 0) keep(log, bytes, (size_t)length);
        } else if (reaped) {
            break;
        } else if (ready == 0) {
            reaped = reap(child, WNOHANG, exit_code);
        }
    }
    if (!reaped) reap(child, 0, exit_code);
}

bb_status bbi_run_program(const char *const argv[], const char *directory, bbi_text *log, int *exit_code) {
    int ends[2];
    *exit_code = BBI_EXIT_UNKNOWN;
    pid_t child = 0;
    int failed = access(argv[0], X_OK) == 0 ? 0 : errno; /* an emulated vfork cannot report a failed exec */
    if (!failed) failed = make_pipe(ends);
    if (!failed) {
        failed = spawn(&child, argv, directory, ends[1]);
        close(ends[1]);
        if (!failed) {
            bbi_leftover_add(NULL, child);
            follow(child, ends[0], log, exit_code);
        }
        close(ends[0]);
    }
    if (!failed) return BB_OK;
    char reason[128];
    bbi_system_error(failed, reason, sizeof reason);
    return bbi_fail(BB_SYSTEM, "program %s cannot be started: %s", argv[0], reason);
}

static bool executable(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Not resolved further: a link may be there for the sake of its name. */
static bool make_absolute(const char *name, char *path, size_t size) {
    char here[BBI_PATH_SIZE];
    if (name[0] != '/' && !getcwd(here, sizeof here)) return false;
    int length = name[0] == '/' ? snprintf(path, size, "%s", name) : snprintf(path, size, "%s/%s", here, name);
    return length > 0 && (size_t)length < size;
}

/* Relative entries of PATH are passed over: what they mean depends on where the host stands. */
bool bbi_find_program(const char *name, char *path, size_t size) {
    if (!*name) return false;
    if (strchr(name, '/')) return make_absolute(name, path, size) && executable(path);
    const char *entry = bbi_environment("PATH");
    if (!entry || !*entry) entry = "/usr/local/bin:/usr/bin:/bin";
    for (const char *end;; entry = end + 1) {
        end = entry + strcspn(entry, ":");
        int length = snprintf(path, size, "%.*s/%s", (int)(end - entry), entry, name);
        if (*entry == '/' && (size_t)length < size && executable(path)) return true;
        if (!*end) return false;
    }
}
#else
typedef int bbi_not_posix; /* a translation unit must not be empty */
#endif
