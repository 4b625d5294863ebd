/* compiler.h: the system's C compiler, found and started when a kernel has to be built. */
#ifndef BBI_COMPILER_H
#define BBI_COMPILER_H

#include "base.h"

enum { BBI_COMPILER_WORDS = 8, BBI_COMPILER_FLAGS = 32, BBI_COMPILER_SOURCES = 2 };

typedef struct bbi_compiler {
    char program[BBI_PATH_SIZE];           /* path of what is started */
    char text[256];                        /* holds the words after it: "cc" of "zig cc", "gcc" of "ccache gcc" */
    const char *words[BBI_COMPILER_WORDS]; /* pointers into text; NULL ends them */
    char identity[BBI_PATH_SIZE + 512];    /* path, size, time, inode: changes when the compiler does */
    bool zig;
    bool portable;    /* for any machine of the level, not for this one */
    unsigned refused; /* bits of options that it does not take */
} bbi_compiler;

enum { BBI_REFUSES_NATIVE = 1, BBI_REFUSES_GCC = 2 }; /* -march=native; options that only gcc knows */

/* $BENBEN_CC, cc, gcc, clang, zig cc: the first that exists. Found once and again when BENBEN_CC or PATH
 * change. BB_COMPILER when there is none; the message says what was looked for. */
bb_status bbi_compiler_find(bbi_compiler *compiler);
/* Flags of the C language and the machine, NULL at the end; part of a cache key. */
void bbi_compiler_flags(const bbi_compiler *compiler, int level, const char *flags[BBI_COMPILER_FLAGS]);
/* Source texts to the bytes of one shared object (released with bbi_free). The command and what the compiler
 * said are added to log (may be NULL). *lasting: the same source will fail again (false for want of space,
 * a killed process, ...). */
bb_status bbi_compiler_run(const bbi_compiler *compiler, const char *const *sources, int count, int level, char **bytes,
                           size_t *length, bbi_text *log, bool *lasting);

#endif
