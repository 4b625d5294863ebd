/* jit.h: from the text of a kernel to a function: kernels compiled ahead, table in memory, disk cache, compiler. */
#ifndef BBI_JIT_H
#define BBI_JIT_H

#include "base.h"

typedef struct bbi_jit_module bbi_jit_module; /* a loaded shared object; counted, shared by equal sources */

/* *function is the symbol of that name in the compiled source, valid until the module is released. Blocks
 * while this or another thread compiles the same source. `level` is the instruction set (bbi_cpu_level),
 * passed as -DBB_ISA. The command and the compiler's output are added to log (may be NULL) when a compiler
 * runs. Failures are BB_COMPILER; one that would repeat itself is remembered and answered without another
 * start of the compiler. */
bb_status bbi_jit_load(const char *source, const char *symbol, int level, bbi_jit_module **module, void **function,
                       bbi_text *log);
/* The same without ever compiling: BB_OK with *module NULL when neither memory nor disk has it, or when
 * another thread is at it. */
bb_status bbi_jit_peek(const char *source, const char *symbol, int level, bbi_jit_module **module, void **function);
/* The same of kernels compiled ahead alone; false: it is none. */
bool bbi_jit_ahead(const char *source, bbi_jit_module **module, void **function);
void bbi_jit_release(bbi_jit_module *module);
/* Unloads every module that nobody holds and forgets remembered failures. */
void bbi_jit_forget(void);

enum {
    BBI_JIT_COMPILES,
    BBI_JIT_DISK_HITS,
    BBI_JIT_MEMORY_HITS,
    BBI_JIT_FAILURES,
    BBI_JIT_AHEAD_HITS,
    BBI_JIT_COUNTERS
};
void bbi_jit_counters(int64_t counters[BBI_JIT_COUNTERS]); /* since the process began */

#endif
