/* test_os.c: the bottom layer: programs that are started, files, locks and folders. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base.h"
#include "in_child.h"
#include "os_posix.h"

/* ---- programs ---- */

static int run_shell(const char *script, const char *directory, bbi_text *log) {
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    int exit_code = 1000;
    assert_int_equal(bbi_run_program(argv, directory, log, &exit_code), BB_OK);
    return exit_code;
}

static void a_program_gives_its_output_and_status(void **state) {
    (void)state;
    bbi_text log = {0};
    assert_int_equal(run_shell("echo out; echo err >&2; pwd; cat; exit 3", "/usr", &log), 3);
    assert_string_equal(log.data, "out\nerr\n/usr\n");
    bbi_text_free(&log);
    assert_int_equal(run_shell("kill -9 $$", NULL, NULL), 128 + 9);
    assert_int_equal(run_shell("i=0; while [ $i -lt 9000 ]; do echo 0123456789; i=$((i+1)); done", NULL, &log), 0);
    assert_int_equal(log.length, 64 << 10);
    bbi_text_free(&log);
}

static void an_old_c_library_starts_programs_too(void **state) {
    bbi_spawn_by_fork = true;
    a_program_gives_its_output_and_status(state);
    bbi_text log = {0};
    assert_int_equal(run_shell("ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0", "/", &log), 0);
    assert_string_equal(log.data, "5\n/dev/null\n"); /* 0, 1, 2, the folder that ls reads, its first line */
    bbi_text_free(&log);
    const char *argv[] = {"/bin/sh", "-c", "true", NULL};
    int exit_code;
    assert_int_equal(bbi_run_program(argv, "/no/such/folder", NULL, &exit_code), BB_SYSTEM);
    bbi_spawn_by_fork = false;
}

static void a_program_that_is_not_there_is_an_error(void **state) {
    (void)state;
    const char *argv[] = {"/no/such/program", NULL};
    int exit_code;
    assert_int_equal(bbi_run_program(argv, NULL, NULL, &exit_code), BB_SYSTEM);
    assert_non_null(strstr(bb_last_error(), "/no/such/program"));
}

static int run_with_sigchld_ignored(void) {
    signal(SIGCHLD, SIG_IGN);
    const char *argv[] = {"/bin/sh", "-c", "(exit 4); echo $?", NULL}; /* the shell must be able to wait */
    bbi_text log = {0};
    int exit_code;
    bb_status status = bbi_run_program(argv, NULL, &log, &exit_code);
    bool right = status == BB_OK && exit_code == BBI_EXIT_UNKNOWN && !strcmp(log.data, "4\n");
    bbi_text_free(&log);
    return right ? 0 : 1;
}

static void reap_everything(int signal_number) {
    (void)signal_number;
    int saved = errno;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    errno = saved;
}

static int run_with_a_reaping_handler(void) {
    signal(SIGCHLD, reap_everything);
    const char *argv[] = {"/bin/sh", "-c", "echo done", NULL};
    for (int k = 0; k < 20; k++) {
        bbi_text log = {0};
        int exit_code;
        if (bbi_run_program(argv, NULL, &log, &exit_code) != BB_OK || strcmp(log.data, "done\n")) return 1;
        bbi_text_free(&log);
        if (exit_code != 0 && exit_code != BBI_EXIT_UNKNOWN) return 2;
    }
    return 0;
}

static void a_host_that_handles_sigchld_changes_nothing(void **state) {
    (void)state;
    assert_int_equal(in_child(run_with_sigchld_ignored), 0);
    assert_int_equal(in_child(run_with_a_reaping_handler), 0);
}

static int open_descriptors(void) {
    int count = 0;
    DIR *self = opendir("/proc/self/fd");
    while (self && readdir(self)) count++;
    if (self) closedir(self);
    return count;
}

static void a_program_leaves_no_zombie_and_no_descriptor(void **state) {
    (void)state;
    int before = open_descriptors();
    for (int k = 0; k < 5; k++) run_shell("exit 0", NULL, NULL);
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void a_grandchild_that_stays_is_not_waited_for(void **state) {
    (void)state;
    bbi_text log = {0};
    double start = bbi_seconds();
    assert_int_equal(run_shell("echo first; sleep 5 & exit 0", NULL, &log), 0);
    assert_true(bbi_seconds() - start < 3);
    assert_string_equal(log.data, "first\n");
    bbi_text_free(&log);
}

static void programs_are_found_in_path(void **state) {
    (void)state;
    char path[BBI_PATH_SIZE];
    assert_true(bbi_find_program("sh", path, sizeof path));
    assert_int_equal(path[0], '/');
    assert_true(bbi_find_program("/bin/sh", path, sizeof path));
    assert_false(bbi_find_program("no-such-program-here", path, sizeof path));
    assert_false(bbi_find_program("/etc/passwd", path, sizeof path));
    assert_false(bbi_find_program("/", path, sizeof path));
    assert_false(bbi_find_program("", path, sizeof path));
    assert_false(bbi_find_program("sh", path, 3));
}

/* ---- files ---- */

static char folder[BBI_PATH_SIZE]; /* new for every test that asks for it */

static int make_folder(void **state) {
    (void)state;
    return bbi_folder_temporary(folder, sizeof folder);
}

static int remove_folder(void **state) {
    (void)state;
    return bbi_folder_remove(folder);
}

static const char *in_folder(const char *name) {
    static char paths[4][BBI_PATH_SIZE + 64];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void what_is_written_is_read_back_whole(void **state) {
    (void)state;
    char content[100000], *bytes;
    size_t length;
    for (size_t k = 0; k < sizeof content; k++) content[k] = (char)(k * 31);
    for (int durable = 0; durable < 2; durable++) {
        assert_int_equal(bbi_file_write(in_folder("f"), content, sizeof content - (size_t)durable, durable), 0);
        assert_int_equal(bbi_file_read(in_folder("f"), 1 << 20, true, &bytes, &length), 0);
        assert_int_equal(length, sizeof content - (size_t)durable);
        assert_memory_equal(bytes, content, length);
        assert_int_equal(bytes[length], 0);
        bbi_free(bytes);
    }
    assert_int_equal(bbi_file_read(in_folder("f"), 1000, true, &bytes, &length), EFBIG);
    assert_int_equal(bbi_file_read(in_folder("none"), 1000, true, &bytes, &length), ENOENT);
    assert_null(bytes);
}

static void files_that_others_may_change_are_not_ours(void **state) {
    (void)state;
    char *bytes;
    size_t length;
    assert_int_equal(bbi_file_write(in_folder("f"), "abc", 3, false), 0);
    assert_int_equal(symlink(in_folder("f"), in_folder("link")), 0);
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(bbi_file_read(in_folder("link"), 10, true, &bytes, &length), EPERM);
    assert_int_equal(bbi_file_read(in_folder("link"), 10, false, &bytes, &length), 0);
    bbi_free(bytes);
    assert_int_equal(bbi_file_read(in_folder("pipe"), 10, true, &bytes, &length), EPERM);
    assert_int_equal(chmod(in_folder("f"), 0620), 0);
    assert_int_equal(bbi_file_read(in_folder("f"), 10, true, &bytes, &length), EPERM);
    assert_int_equal(bbi_folder_private(folder), 0);
    assert_int_equal(chmod(folder, 0770), 0);
    assert_int_equal(bbi_folder_private(folder), EPERM);
    assert_int_equal(bbi_folder_private(in_folder("link")), EPERM);
    assert_int_equal(bbi_folder_private(in_folder("none")), ENOENT);
}

static int write_beyond_the_limit(void) {
    struct rlimit limit = {1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    static char content[2000];
    return bbi_file_write(in_folder("big"), content, sizeof content, true) == EFBIG ? 5 : 1;
}

static void a_file_size_limit_is_an_error_and_no_signal(void **state) {
    (void)state;
    assert_int_equal(in_child(write_beyond_the_limit), 5);
    assert_int_equal(access(in_folder("big"), F_OK), -1);
}

static int hold_lock(void) {
    bbi_file_lock *lock = bbi_file_lock_take(in_folder("lock"), 5);
    if (!lock) return 1;
    bbi_file_write(in_folder("held"), "", 0, false);
    bbi_sleep(0.3);
    bbi_file_remove(in_folder("held"));
    bbi_file_lock_release(lock);
    return 0;
}

static void one_process_at_a_time_holds_a_lock(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) _exit(hold_lock());
    for (int k = 0; k < 5000 && access(in_folder("held"), F_OK) != 0; k++) bbi_sleep(1e-3);
    assert_null(bbi_file_lock_take(in_folder("lock"), 0.02));
    bbi_file_lock *lock = bbi_file_lock_take(in_folder("lock"), 5);
    assert_non_null(lock);
    assert_int_equal(access(in_folder("held"), F_OK), -1);
    bbi_file_lock_release(lock);
    assert_int_equal(access(in_folder("lock"), F_OK), -1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_null(bbi_file_lock_take("/no/such/folder/lock", 0.02));
}

static void folders_are_made_with_their_parents(void **state) {
    (void)state;
    assert_int_equal(bbi_folder_make(in_folder("a/b/c")), 0);
    assert_int_equal(bbi_folder_make(in_folder("a/b/c/")), 0);
    assert_int_equal(bbi_folder_private(in_folder("a/b/c")), 0);
    assert_int_equal(bbi_folder_remove(in_folder("a/b/c")), 0);
    assert_int_equal(bbi_folder_remove(in_folder("a/b")), 0);
    assert_int_equal(bbi_file_write(in_folder("a/file"), "", 0, false), 0);
    assert_int_equal(bbi_folder_make(in_folder("a/file/x")), ENOTDIR);
    assert_int_equal(bbi_folder_remove(in_folder("a")), 0);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_gives_its_output_and_status),
        cmocka_unit_test(an_old_c_library_starts_programs_too),
        cmocka_unit_test(a_program_that_is_not_there_is_an_error),
        cmocka_unit_test(a_host_that_handles_sigchld_changes_nothing),
        cmocka_unit_test(a_program_leaves_no_zombie_and_no_descriptor),
        cmocka_unit_test(a_grandchild_that_stays_is_not_waited_for),
        cmocka_unit_test(programs_are_found_in_path),
        IN_FOLDER(what_is_written_is_read_back_whole),
        IN_FOLDER(files_that_others_may_change_are_not_ours),
        IN_FOLDER(a_file_size_limit_is_an_error_and_no_signal),
        IN_FOLDER(one_process_at_a_time_holds_a_lock),
        IN_FOLDER(folders_are_made_with_their_parents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
