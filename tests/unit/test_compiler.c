/* test_compiler.c: the compiler that the table of kernels starts: refusals, absence, options and names of it,
 * hosts that ignore signals, fork or exit while it runs. */
#define _GNU_SOURCE
#include "cache_case.h"

#include <signal.h>

static void a_refused_source_is_not_compiled_again(void **state) {
    (void)state;
    static const char source[] = "int f(void) { return undeclared_thing; }";
    int64_t before[BBI_JIT_COUNTERS], live = bbi_live_allocations();
    bbi_jit_module *module;
    void *symbol;
    setenv("BENBEN_DUMP", in_root("kept"), 1);
    bbi_jit_counters(before);
    for (int k = 0; k < 3; k++) {
        bb_clear_error();
        bbi_text log = {0};
        assert_int_equal(bbi_jit_load(source, "f", 0, &module, &symbol, &log), BB_COMPILER);
        assert_null(module);
        assert_non_null(strstr(bb_last_error(), "undeclared_thing"));
        assert_non_null(strstr(bb_last_error(), in_root("kept")));
        if (k == 0) assert_non_null(strstr(log.data, "undeclared_thing"));
        bbi_text_free(&log);
    }
    expect_counts(before, 1, 0, 0, 1);
    assert_int_equal(run_shell("grep -q undeclared_thing kept/*.c"), 0);
    assert_int_equal(bbi_jit_load("int f;", "g", 0, &module, &symbol, NULL), BB_INTERNAL);
    assert_non_null(strstr(bb_last_error(), "'g'"));
    bbi_jit_forget();
    assert_int_equal(bbi_live_allocations(), live);
}

static void a_failure_that_may_pass_is_tried_again(void **state) {
    (void)state;
    char script[BBI_PATH_SIZE + 200];
    snprintf(script, sizeof script, "#!/bin/sh\nif test -e %s; then exec cc \"$@\"; fi\nkill -9 $$\n",
             in_root("healthy"));
    write_script("moody", script);
    setenv("BENBEN_CC", in_root("moody"), 1);
    assert_int_equal(call_factor(11), -1);
    assert_non_null(strstr(bb_last_error(), "137"));
    assert_int_equal(bbi_file_write(in_root("healthy"), "", 0, false), 0);
    assert_int_equal(call_factor(11), 23);
}

static void without_a_compiler_one_message_says_what_to_do(void **state) {
    (void)state;
    setenv("PATH", in_root("nothing"), 1);
    assert_int_equal(call_factor(12), -1);
    assert_non_null(strstr(bb_last_error(), "zig cc"));
    assert_non_null(strstr(bb_last_error(), "install gcc"));
    setenv("BENBEN_CC", "no-such-compiler", 1);
    assert_int_equal(call_factor(12), -1);
    assert_non_null(strstr(bb_last_error(), "BENBEN_CC='no-such-compiler'"));
    unsetenv("BENBEN_CC");
    setenv("PATH", search_path, 1);
    assert_int_equal(call_factor(12), 25);
}

static void options_that_a_compiler_refuses_are_left_out(void **state) {
    (void)state;
    char script[BBI_PATH_SIZE + 500];
    snprintf(script, sizeof script,
             "#!/bin/sh\necho start >> %s\nfor o in \"$@\"; do case $o in\n"
             "-march=native) echo \"bad value 'native' for -march\"; exit 1;;\n"
             "-fno-tree*) echo \"unknown argument: $o\"; exit 1;;\nesac; done\nexec cc \"$@\"\n",
             in_root("starts"));
    write_script("picky", script);
    setenv("BENBEN_CC", in_root("picky"), 1);
    assert_int_equal(call_factor(13), 27);
    assert_int_equal(starts("starts"), 3); /* each refusal once */
    assert_int_equal(call_factor(14), 29);
    assert_int_equal(starts("starts"), 4); /* and remembered */
    bbi_jit_forget();
    assert_int_equal(call_factor(13), 27);
    assert_int_equal(starts("starts"), 4); /* under the same name on disk */
}

static void a_compiler_is_words_or_a_path_with_blanks(void **state) {
    (void)state;
    bbi_compiler compiler;
    setenv("BENBEN_CC", "  env  -u NOTHING cc ", 1);
    assert_int_equal(bbi_compiler_find(&compiler), BB_OK);
    assert_string_equal(compiler.words[2], "cc");
    assert_null(compiler.words[3]);
    assert_non_null(strstr(compiler.identity, "/cc ")); /* a change of what `env` starts is seen */
    assert_int_equal(call_factor(15), 31);
    write_script("my compiler", "#!/bin/sh\nexec cc \"$@\"\n");
    setenv("BENBEN_CC", in_root("my compiler"), 1);
    assert_int_equal(call_factor(16), 33);
    char here[BBI_PATH_SIZE];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(root), 0); /* a relative path is the host's, not the compile's */
    setenv("BENBEN_CC", "./my compiler", 1);
    assert_int_equal(call_factor(20), 41);
    assert_int_equal(chdir(here), 0);
    setenv("BENBEN_CC", "a b c d e f g h i j k", 1);
    assert_int_equal(bbi_compiler_find(&compiler), BB_COMPILER);
}

/* ---- hosts with habits of their own ---- */

static int compile_with_sigchld_ignored(void) {
    bbi_jit_module *module;
    void *symbol;
    signal(SIGCHLD, SIG_IGN);
    if (call_factor(17) != 35) return 1;
    if (bbi_jit_load("int f(void) { wrong }", "f", 0, &module, &symbol, NULL) != BB_COMPILER) return 2;
    return strstr(bb_last_error(), "wrong") ? 9 : 3;
}

static void sigchld_ignored_changes_nothing(void **state) {
    (void)state;
    assert_int_equal(in_child(compile_with_sigchld_ignored), 9);
}

static void compile_slowly(void *argument) {
    (void)argument;
    call_factor(18);
}

/* The child ends by a signal: at an orderly exit a leak checker would count what the parent's thread had at
 * hand. */
static int value_made_in_a_child(void) {
    int answer[2], value = -1;
    assert_int_equal(pipe(answer), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        setenv("BENBEN_CACHE", "0", 1); /* what the parent's compile would leave on disk does not help */
        value = call_factor(18);
        if (write(answer[1], &value, sizeof value) > 0) kill(getpid(), SIGKILL);
        _exit(1);
    }
    close(answer[1]);
    if (read(answer[0], &value, sizeof value) != sizeof value) value = -1;
    close(answer[0]);
    waitpid(child, NULL, 0);
    return value;
}

static void a_forked_child_does_not_wait_for_the_parents_compile(void **state) {
    (void)state;
    use_slow_compiler("0.4");
    bbi_thread *thread = bbi_thread_start(compile_slowly, NULL);
    for (int k = 0; k < 5000 && starts("begun") == 0; k++) bbi_sleep(1e-3);
    assert_int_equal(value_made_in_a_child(), 37);
    bbi_thread_join(thread);
    assert_int_equal(starts("starts"), 2);
}

static void a_host_that_exits_during_a_compile_leaves_nothing(void **state) {
    (void)state;
    char *bytes;
    size_t length;
    use_slow_compiler("3");
    pid_t child = fork();
    if (child == 0) {
        bbi_thread_detach(bbi_thread_start(compile_slowly, NULL));
        for (int k = 0; k < 5000 && starts("begun") == 0; k++) bbi_sleep(1e-3);
        exit(12); /* with destructors: not _exit */
    }
    double start = bbi_seconds();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 12);
    assert_true(bbi_seconds() - start < 2);
    assert_int_not_equal(bbi_file_read(in_root("tmp"), 1, false, &bytes, &length), 0);
    assert_int_equal(rmdir(in_root("tmp")), 0);
    assert_int_equal(mkdir(in_root("tmp"), 0700), 0);
}

int main(void) {
    case_start();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_refused_source_is_not_compiled_again),
        IN_FOLDER(a_failure_that_may_pass_is_tried_again),
        IN_FOLDER(without_a_compiler_one_message_says_what_to_do),
        IN_FOLDER(options_that_a_compiler_refuses_are_left_out),
        IN_FOLDER(a_compiler_is_words_or_a_path_with_blanks),
        IN_FOLDER(sigchld_ignored_changes_nothing),
        IN_FOLDER(a_forked_child_does_not_wait_for_the_parents_compile),
        IN_FOLDER(a_host_that_exits_during_a_compile_leaves_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(search_path);
    return failed;
}
