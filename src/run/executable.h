/* executable.h: a plan made ready for one real type: interpreters of its codes, and pair kernels that arrive
 * from the compiler while the plan is already in use. Prototypes are grouped by file. */
#ifndef BBI_EXECUTABLE_H
#define BBI_EXECUTABLE_H

#include <stdatomic.h>

#include "backend.h"

/* ---- background.c: pair kernels that become compiled ---- */
typedef enum bbi_compile_state {
    BBI_COMPILE_NONE,    /* nobody asked for it */
    BBI_COMPILE_QUEUED,  /* waits for the background thread */
    BBI_COMPILE_RUNNING, /* some thread is at it */
    BBI_COMPILE_DONE,
    BBI_COMPILE_FAILED
} bbi_compile_state;
typedef struct bbi_compiled bbi_compiled; /* counted: the background thread may outlive the executable */
/* The stage is borrowed: every call below but release reads it. NULL when out of memory. */
bbi_compiled *bbi_compiled_new(const bbi_stage *stage, const bbi_emit_options *options);
void bbi_compiled_release(bbi_compiled *compiled);
bbi_pair_kernel *bbi_compiled_function(const bbi_compiled *compiled); /* NULL as long as there is none */
/* In a forked child a compile that the parent had not finished counts as not started. */
bbi_compile_state bbi_compiled_state(const bbi_compiled *compiled);
/* Takes the kernel if it was compiled ahead (`ahead`: asked once), or is in memory or in the disk cache already; never
 * compiles, failures are silent. */
void bbi_compiled_peek(bbi_compiled *compiled, bool ahead);
typedef bb_status bbi_source_visitor(void *data, const bbi_emit_options *options, const char *source);
bb_status bbi_compiled_source(bbi_compiled *compiled, bbi_source_visitor *visit, void *data);
/* Starts a compile in the background unless one has been started; failures show in the state only. */
void bbi_compiled_start(bbi_compiled *compiled);
/* Compiles here, or waits for whoever is at it. BB_COMPILER with the reason in the message. */
bb_status bbi_compiled_wait(bbi_compiled *compiled);
const char *bbi_compiled_reason(const bbi_compiled *compiled); /* FAILED: why; lives as long as `compiled` */

/* ---- executable.c ---- */
typedef enum bbi_tiering {
    BBI_TIERING_INTERP,     /* never compile */
    BBI_TIERING_AUTO,       /* interpret; compile in the background once use has shown that it can pay */
    BBI_TIERING_BACKGROUND, /* compile in the background from the first run on */
    BBI_TIERING_WAIT        /* compile before the first result */
} bbi_tiering;

/* what executes a stage; NULL where the stage has no such code */
typedef struct bbi_stage_code {
    bbi_interp *uniform, *row, *column, *pair, *epilogue;
    bbi_folding *folding;      /* stage->nfold of them */
    bbi_compiled *compiled[2]; /* direct, transposed; NULL for maps and pair lists */
    _Atomic bool used[2];      /* some run had that schedule */
} bbi_stage_code;

typedef struct bbi_gpu_code bbi_gpu_code; /* gpu.h */
typedef struct bbi_frame bbi_frame;       /* memory of a run, kept for the next one; frame.h */
typedef struct bbi_executable {
    const bbi_plan *plan;
    bool is_double;
    bool required; /* compiled code was asked for: no compiler is an error */
    int level;
    bbi_scheme scheme;
    bool exact; /* distances by differences always */
    bbi_tiering tiering;
    bbi_stage_code *stage;
    bbi_gpu_code *gpu;           /* NULL: everything runs on the CPU */
    _Atomic int64_t interpreted; /* pair operations that interpreters have done for this executable */
    _Atomic(bbi_frame *) spare;
} bbi_executable;

/* The plan is borrowed and must outlive the executable. options may be NULL. BENBEN_TARGET=interp|cpu decides
 * where the options leave the target open. level: the instruction set; BBI_LEVEL_HERE: this machine's, or what
 * BENBEN_ISA=0|1|2 lowers it to (for tests). */
enum { BBI_LEVEL_HERE = -1 };
bb_status bbi_executable_new(const bbi_plan *plan, bool is_double, const bb_compile_options *options, int level,
                             bbi_executable **executable);
/* The text of every pair kernel that runs may ask for. */
bb_status bbi_executable_sources(const bbi_executable *executable, bbi_source_visitor *visit, void *data);
/* No run may be under way; a background compile may: it finishes by itself and is thrown away. */
void bbi_executable_free(bbi_executable *executable);
/* Compiles what runs have used (what they would use, when there was none) and waits for it. Where compiled
 * code is optional a failure is no error: bbi_executable_tier tells. */
bb_status bbi_executable_wait(bbi_executable *executable);
/* BB_TARGET_CPU once every pair kernel in use is compiled, else BB_TARGET_INTERP and why ("" when it is just
 * not compiled yet). */
bb_target bbi_executable_tier(const bbi_executable *executable, const char **reason);
/* Applies the tiering before a stage runs with `work` pair operations: it may wait for a compile or start
 * one. Only where compiled code was asked for can it fail. */
bb_status bbi_executable_prepare(bbi_executable *executable, int stage, bool transposed, double work);

/* ---- gpu.c: an executable whose stages run on a graphics processor where they can */
bb_status bbi_gpu_open(bbi_executable *executable, bb_target target, int number);
void bbi_gpu_close(bbi_executable *executable);
bb_target bbi_gpu_target(const bbi_executable *executable);
const char *bbi_gpu_name(const bbi_executable *executable);

#endif
