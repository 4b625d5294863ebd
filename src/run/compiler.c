/* compiler.c: from C text to the bytes of a shared object through the system's compiler, without a shell.
 * The compiler is told by its file (path, size, time, inode), never by asking it: `clang --version` takes
 * 28 ms, a stat a microsecond. Files live in a private temporary folder for the length of one compile. */
#include "compiler.h"

#include <stdio.h>
#include <string.h>

enum { OBJECT_LIMIT = 32 << 20 };

static const char remedy[] = "install gcc or clang, or set BENBEN_CC to a C compiler; until then formulas run "
                             "interpreted, at about a quarter of the speed";

/* ---- finding it ---- */

/* Splits "ccache gcc" at blanks; the whole text is one program when a file of that name exists. */
static bool set_words(bbi_compiler *compiler, const char *command) {
    *compiler = (bbi_compiler){0};
    if (bbi_find_program(command, compiler->program, sizeof compiler->program)) return true;
    if (strlen(command) >= sizeof compiler->text) return false;
    strcpy(compiler->text, command);
    char *first = NULL;
    int count = 0;
    for (char *at = compiler->text; *at;) {
        at += strspn(at, " \t");
        if (!*at) break;
        if (count > BBI_COMPILER_WORDS - 1) return false;
        if (!first)
            first = at;
        else
            compiler->words[count - 1] = at;
        count++;
        at += strcspn(at, " \t");
        if (*at) *at++ = '\0';
    }
    return first && bbi_find_program(first, compiler->program, sizeof compiler->program);
}

static void identify_file(bbi_text *text, const char *path) {
    bbi_file_status status;
    if (bbi_file_look(path, &status) != 0) return;
    bbi_text_add(text, "%s %lld %lld %llu %llu;", path, (long long)status.size, (long long)status.modified,
                 (unsigned long long)status.device, (unsigned long long)status.inode);
}

static const char *base_name(const char *path) {
    for (const char *at = path; *at; at++)
        if (*at == '/' || *at == '\\') path = at + 1;
    return path;
}

/* A guess that saves a vain start: `cc` is often a link to clang. Where it is wrong, the compiler's
 * complaint corrects it. */
static bool named_clang(const char *program) {
    char real[BBI_PATH_SIZE];
    const char *path = bbi_path_resolve(program, real, sizeof real) == 0 ? real : program;
    if (strstr(base_name(path), "clang")) return true;
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__)
    return !strcmp(base_name(path), "cc");
#else
    return false;
#endif
}

/* Every word that is a program counts: of "ccache gcc" it is gcc that matters. */
static void identify(bbi_compiler *compiler) {
    char path[BBI_PATH_SIZE];
    bbi_text text = {0};
    compiler->zig = !strcmp(base_name(compiler->program), "zig") || !strcmp(base_name(compiler->program), "zig.exe");
    identify_file(&text, compiler->program);
    if (compiler->zig || named_clang(compiler->program)) compiler->refused = BBI_REFUSES_GCC;
    for (int k = 0; compiler->words[k]; k++) {
        bbi_text_add(&text, "%s;", compiler->words[k]);
        if (compiler->words[k][0] != '-' && bbi_find_program(compiler->words[k], path, sizeof path))
            identify_file(&text, path);
        if (named_clang(compiler->words[k])) compiler->refused = BBI_REFUSES_GCC;
    }
    snprintf(compiler->identity, sizeof compiler->identity, "%s", text.data ? text.data : compiler->program);
    bbi_text_free(&text);
}

static bool search(bbi_compiler *compiler) {
    static const char *const candidates[] = {"cc", "gcc", "clang", "zig cc"};
    const char *chosen = bbi_environment("BENBEN_CC");
    if (chosen && *chosen) {
        if (!set_words(compiler, chosen)) return false;
        identify(compiler);
        return true;
    }
    for (size_t k = 0; k < sizeof candidates / sizeof *candidates; k++)
        if (set_words(compiler, candidates[k])) {
            identify(compiler);
            return true;
        }
    return false;
}

/* What was found last, for these values of BENBEN_CC and PATH; guarded by BBI_GLOBAL_SETUP. */
static struct {
    uint8_t environment[32];
    bool known, found;
    bbi_compiler compiler;
} last;

static void environment_digest(uint8_t digest[32]) {
    const char *chosen = bbi_environment("BENBEN_CC"), *path = bbi_environment("PATH");
    bbi_sha256 hash;
    bbi_sha256_init(&hash);
    bbi_sha256_field(&hash, chosen ? chosen : "", chosen ? strlen(chosen) : 0);
    bbi_sha256_field(&hash, path ? path : "", path ? strlen(path) : 0);
    bbi_sha256_finish(&hash, digest);
}

/* The words point into the text of the copy they belong to. */
static void copy_compiler(bbi_compiler *to, const bbi_compiler *from) {
    *to = *from;
    for (int k = 0; from->words[k]; k++) to->words[k] = to->text + (from->words[k] - from->text);
}

bb_status bbi_compiler_find(bbi_compiler *compiler) {
    uint8_t environment[32];
    environment_digest(environment);
    bbi_global_lock(BBI_GLOBAL_SETUP);
    bool known = last.known && !memcmp(last.environment, environment, 32), found = known && last.found;
    if (found) copy_compiler(compiler, &last.compiler);
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    if (!known) {
        found = search(compiler);
        bbi_global_lock(BBI_GLOBAL_SETUP);
        memcpy(last.environment, environment, 32);
        last.known = true;
        last.found = found;
        if (found) copy_compiler(&last.compiler, compiler);
        bbi_global_unlock(BBI_GLOBAL_SETUP);
        bbi_log('c', "compiler: %s", found ? compiler->identity : "none");
    }
    if (found) return BB_OK;
    const char *chosen = bbi_environment("BENBEN_CC");
    if (chosen && *chosen)
        return bbi_fail(BB_COMPILER, "BENBEN_CC='%s' is not a program that can be started; %s", chosen, remedy);
    return bbi_fail(BB_COMPILER,
                    "no C compiler: looked for BENBEN_CC (not set), cc, gcc, clang and 'zig cc' in PATH; %s", remedy);
}

static void remember_refused(const bbi_compiler *compiler) {
    bbi_global_lock(BBI_GLOBAL_SETUP);
    if (!strcmp(last.compiler.identity, compiler->identity)) last.compiler.refused = compiler->refused;
    bbi_global_unlock(BBI_GLOBAL_SETUP);
}

/* ---- flags ---- */

/* The compiler sees the machine, we see what we may use: under valgrind, or with a lower level asked for,
 * "native" would be too much, so what the level excludes is excluded by name. Where native is refused or not
 * wanted, the level's own flags stand in. */
static int machine_flags(const bbi_compiler *compiler, int level, const char **flags) {
    bool native = !compiler->portable && !(compiler->refused & BBI_REFUSES_NATIVE);
    int count = 0;
    if (native) flags[count++] = compiler->zig ? "-mcpu=native" : "-march=native";
#if defined(__x86_64__) || defined(__i386__)
    if (native) {
        if (level == 1) flags[count++] = "-mno-avx512f";
        if (level == 0) flags[count++] = "-mno-avx";
        return count;
    }
    static const char *const by_level[] = {"-mavx2",     "-mfma",      "-mf16c",    "-mavx512f",
                                           "-mavx512dq", "-mavx512bw", "-mavx512vl"};
    for (int k = 0; k < (level >= 2 ? 7 : level == 1 ? 3 : 0); k++) flags[count++] = by_level[k];
#endif
    return count;
}

void bbi_compiler_flags(const bbi_compiler *compiler, int level, const char *flags[BBI_COMPILER_FLAGS]) {
    static const char *const common[] = {
        "-O2",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-stack-protector",
        "-nostdlib",
        "-shared",
        "-fPIC",
        "-w",
#ifdef _WIN32
        "-Wl,-e,0", /* no entry point: the linker would take the first function for DllMain */
#endif
    };
    static const char *const isa[] = {"-DBB_ISA=0", "-DBB_ISA=1", "-DBB_ISA=2"};
    int count = 0;
    for (size_t k = 0; k < sizeof common / sizeof *common; k++) flags[count++] = common[k];
    if (compiler->refused & BBI_REFUSES_GCC) { /* no loop shall become a call of memset or memcpy */
        flags[count++] = "-fno-builtin-memset";
        flags[count++] = "-fno-builtin-memcpy";
    } else {
        flags[count++] = "-fno-tree-loop-distribute-patterns";
    }
    if (compiler->zig) flags[count++] = "-fno-sanitize=undefined";
    count += machine_flags(compiler, level, flags + count);
    flags[count++] = isa[level < 0 ? 0 : level > 2 ? 2 : level];
    flags[count] = NULL;
}

/* ---- running it ---- */

static uint64_t little_endian(const char *bytes, int count) {
    uint64_t value = 0;
    for (int k = 0; k < count; k++) value |= (uint64_t)(uint8_t)bytes[k] << 8 * k;
    return value;
}

/* A linker writes the section headers last: an ELF file that holds them is whole. This decides where the
 * exit status of the compiler is unknown; mapping a file that was cut short would end the process. */
static bool whole_object(const char *bytes, size_t length) {
    if (length < 64) return false;
    if (memcmp(bytes, "\177ELF\2\1", 6) != 0) return true; /* another format, judged by its loader */
    uint64_t start = little_endian(bytes + 40, 8), size = little_endian(bytes + 58, 2),
             count = little_endian(bytes + 60, 2);
    return start >= 64 && start <= length && size * count <= length - start && count > 0;
}

static void add_command(bbi_text *log, const char *const *argv) {
    for (int k = 0; argv[k]; k++) bbi_text_add(log, k ? " %s" : "%s", argv[k]);
    bbi_text_add(log, "\n");
}

static const char *const file_names[BBI_COMPILER_SOURCES] = {"kernel.c", "kernel_2.c"};

/* One start of the compiler inside `folder`; *exit_code 0 also means that the object exists and is whole. */
static bb_status run_once(const bbi_compiler *compiler, int source_count, int level, const char *folder, bbi_text *log,
                          int *exit_code, char **bytes, size_t *length) {
    const char *flags[BBI_COMPILER_FLAGS], *argv[BBI_COMPILER_WORDS + BBI_COMPILER_FLAGS + BBI_COMPILER_SOURCES + 8];
    char object[BBI_PATH_SIZE + 16];
    int count = 0;
    argv[count++] = compiler->program;
    for (int k = 0; compiler->words[k]; k++) argv[count++] = compiler->words[k];
    bbi_compiler_flags(compiler, level, flags);
    for (int k = 0; flags[k]; k++) argv[count++] = flags[k];
    static const char *const rest[] = {"-o", "kernel.so", "-x", "c"};
    for (int k = 0; k < 4; k++) argv[count++] = rest[k];
    for (int k = 0; k < source_count; k++) argv[count++] = file_names[k];
    argv[count] = NULL;
    add_command(log, argv);
    double start = bbi_seconds();
    BBI_FORWARD(bbi_run_program(argv, folder, log, exit_code));
    bbi_log('c', "%.1f ms, exit %d: %s", 1e3 * (bbi_seconds() - start), *exit_code, log->data ? log->data : "");
    if (*exit_code != 0 && *exit_code != BBI_EXIT_UNKNOWN) return BB_OK;
    snprintf(object, sizeof object, "%s/kernel.so", folder);
    bool made = bbi_file_read(object, OBJECT_LIMIT, false, bytes, length) == 0 && whole_object(*bytes, *length);
    *exit_code = made ? 0 : 1;
    return BB_OK;
}

static bool mentions(const char *text, const char *const *words) {
    for (; text && *words; words++)
        if (strstr(text, *words)) return true;
    return false;
}

/* The option that the compiler complains about, 0 if none. The first line is our own command. */
static unsigned newly_refused(const bbi_compiler *compiler, const bbi_text *log, size_t start) {
    static const char *const about_gcc[] = {"tree-loop-distribute", NULL};
    static const char *const about_native[] = {"march", "mcpu", "native", NULL};
    const char *said = log->data && start < log->length ? strchr(log->data + start, '\n') : NULL;
    unsigned refused = mentions(said, about_gcc)      ? BBI_REFUSES_GCC
                       : mentions(said, about_native) ? BBI_REFUSES_NATIVE
                                                      : 0;
    return refused & ~compiler->refused;
}

static const char *last_lines(const char *text, size_t length) {
    enum { SHOWN = 1500 };
    if (length <= SHOWN) return text;
    const char *start = text + length - SHOWN, *line = strchr(start, '\n');
    return line ? line + 1 : start;
}

static bb_status report(const bbi_compiler *compiler, const bbi_text *log, int exit_code, bool *lasting) {
    static const char *const passing[] = {"No space left", "Cannot allocate",     "out of memory",        "Killed",
                                          "fatal signal",  "Too many open files", "Resource temporarily", NULL};
    const char *said = log->data ? log->data : "";
    *lasting = exit_code < 128 && !mentions(said, passing);
    return bbi_fail(BB_COMPILER, "the compiler %s failed (exit status %d); it said:\n%s", compiler->program, exit_code,
                    last_lines(said, strlen(said)));
}

static bb_status write_source(const char *folder, const char *name, const char *source) {
    char path[BBI_PATH_SIZE + 16], reason[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int failed = bbi_file_write(path, source, strlen(source), false);
    if (!failed) return BB_OK;
    bbi_system_error(failed, reason, sizeof reason);
    return bbi_fail(BB_COMPILER, "the source of a kernel cannot be written to %s: %s; set TMPDIR to another folder",
                    path, reason);
}

static bb_status compile_in(const bbi_compiler *compiler, const char *const *sources, int count, int level,
                            const char *folder, char **bytes, size_t *length, bbi_text *log, bool *lasting) {
    bbi_compiler adapted;
    int exit_code;
    for (int k = 0; k < count; k++) BBI_FORWARD(write_source(folder, file_names[k], sources[k]));
    copy_compiler(&adapted, compiler);
    for (;;) {
        size_t start = log->length;
        BBI_FORWARD(run_once(&adapted, count, level, folder, log, &exit_code, bytes, length));
        unsigned refused = exit_code == 0 ? 0 : newly_refused(&adapted, log, start);
        if (!refused) break;
        adapted.refused |= refused;
        bbi_free(*bytes);
        *bytes = NULL;
    }
    if (exit_code != 0) return report(compiler, log, exit_code, lasting);
    if (adapted.refused != compiler->refused) remember_refused(&adapted);
    return BB_OK;
}

bb_status bbi_compiler_run(const bbi_compiler *compiler, const char *const *sources, int count, int level, char **bytes,
                           size_t *length, bbi_text *log, bool *lasting) {
    char folder[BBI_PATH_SIZE], reason[128];
    bbi_text own = {0};
    *bytes = NULL;
    *length = 0;
    *lasting = false;
    int failed = bbi_folder_temporary(folder, sizeof folder);
    if (failed) {
        bbi_system_error(failed, reason, sizeof reason);
        return bbi_fail(BB_COMPILER, "no temporary folder for the compiler (%s); set TMPDIR to one that can be written",
                        reason);
    }
    bb_status status = compile_in(compiler, sources, count, level, folder, bytes, length, &own, lasting);
    bbi_folder_remove(folder);
    if (log && own.data) bbi_text_append(log, own.data, own.length);
    bbi_text_free(&own);
    if (status != BB_OK) {
        bbi_free(*bytes);
        *bytes = NULL;
    }
    return status;
}
