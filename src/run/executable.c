/* executable.c: a plan made ready for one real type, and the decision when compiled code takes the place of
 * the interpreters. Both give the same bits, so that the decision is about time alone: a run never waits for
 * a compile unless it was told to. It begins interpreted, and its work items take the compiled kernel from
 * the moment it is there. */
#include "executable.h"

#include <string.h>

#include "execute.h"

/* A compile takes about 75 ms of one core. It is started when interpreters have spent a good part of that
 * (some ten operations per nanosecond), so that a kernel that is used a few times on small data costs no
 * compile. */
static const double work_before_compile = 1e8;
/* From here on a look into the disk cache (about a millisecond) before the run begins is worth it. */
static const double work_before_peek = 1e7;
/* And a look among the kernels compiled ahead, which takes a tenth of that and is done once. */
static const double work_before_look = 1e6;

/* ---- making ---- */

static bb_status make_interp(const bbi_executable *e, const bbi_code *code, bool map, int64_t sums,
                             bbi_interp **interp) {
    if (code->count == 0) return BB_OK;
    *interp = bbi_interp_new(code, e->level, e->is_double, map, sums);
    return *interp ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing an interpreter");
}

static bb_status make_stage(const bbi_executable *e, const bbi_stage *stage, const bb_compile_options *options,
                            bbi_stage_code *code) {
    BBI_FORWARD(make_interp(e, &stage->uniform_code, true, 0, &code->uniform));
    BBI_FORWARD(make_interp(e, &stage->row_code, true, 0, &code->row));
    BBI_FORWARD(make_interp(e, &stage->column_code, true, 0, &code->column));
    BBI_FORWARD(make_interp(e, &stage->pair_code, false, stage->sum_count, &code->pair));
    BBI_FORWARD(make_interp(e, &stage->epilogue, true, 0, &code->epilogue));
    code->folding = bbi_calloc((size_t)stage->nfold + 1, sizeof *code->folding);
    if (!code->folding) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a reduction");
    for (int32_t k = 0; k < stage->nfold; k++)
        code->folding[k] = (bbi_folding){.fold = stage->fold[k],
                                         .scheme = e->scheme,
                                         .accumulate_double = options->accumulate_double != 0,
                                         .is_double = e->is_double,
                                         .level = e->level};
    for (int32_t k = 0; k < stage->nfold; k++) {
        bbi_user_step *step;
        if (stage->fold[k].family != BBI_FAMILY_USER) continue;
        BBI_FORWARD(bbi_user_step_new(&e->plan->custom[stage->fold[k].user], e->level, e->is_double, &step));
        code->folding[k].user = step;
    }
    if (!code->pair || stage->list || stage->folded == BBI_P) return BB_OK;
    for (int transposed = 0; transposed < 2; transposed++) {
        bbi_emit_options emit = {.is_double = e->is_double,
                                 .level = e->level,
                                 .transposed = transposed != 0,
                                 .again = transposed && bbi_stage_selection(stage) == BBI_SELECT_LEAST};
        code->compiled[transposed] = bbi_compiled_new(stage, &emit);
        if (!code->compiled[transposed]) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a kernel");
    }
    return BB_OK;
}

static int choose_level(void) {
    int level = bbi_cpu_level();
    const char *lower = bbi_environment("BENBEN_ISA");
    if (lower && lower[0] >= '0' && lower[0] <= '9' && lower[1] == 0 && lower[0] - '0' < level) level = lower[0] - '0';
    return level;
}

static bb_status choose_tiering(bbi_executable *e, const bb_compile_options *options) {
    bb_target target = options->target;
    const char *forced = bbi_environment("BENBEN_TARGET");
    if (target == BB_TARGET_AUTO && forced && !strcmp(forced, "interp")) target = BB_TARGET_INTERP;
    if (target == BB_TARGET_AUTO && forced && !strcmp(forced, "cpu")) target = BB_TARGET_CPU;
    if (target == BB_TARGET_AUTO && forced && !strcmp(forced, "cuda")) target = BB_TARGET_CUDA;
    if (target == BB_TARGET_AUTO && forced && !strcmp(forced, "opencl")) target = BB_TARGET_OPENCL;
    if (target < BB_TARGET_AUTO || target > BB_TARGET_OPENCL)
        return bbi_fail(BB_BAD_ARGUMENT, "compile options: unknown target %d", (int)target);
    if (options->policy < BB_POLICY_AUTO || options->policy > BB_POLICY_BACKGROUND)
        return bbi_fail(BB_BAD_ARGUMENT, "compile options: unknown policy %d", (int)options->policy);
    e->required = target == BB_TARGET_CPU;
    e->exact = options->accuracy == BB_ACCURACY_EXACT;
    if (target == BB_TARGET_CUDA || target == BB_TARGET_OPENCL) BBI_FORWARD(bbi_gpu_open(e, target, options->device));
    if (target == BB_TARGET_INTERP)
        e->tiering = BBI_TIERING_INTERP;
    else if (options->policy == BB_POLICY_BACKGROUND)
        e->tiering = BBI_TIERING_BACKGROUND;
    else if (options->policy == BB_POLICY_WAIT || e->required)
        e->tiering = BBI_TIERING_WAIT;
    else
        e->tiering = BBI_TIERING_AUTO;
    switch (options->sum_scheme) {
    case BB_SUM_AUTO:
    case BB_SUM_BLOCK: e->scheme = BBI_SCHEME_BLOCK; return BB_OK;
    case BB_SUM_KAHAN: e->scheme = BBI_SCHEME_KAHAN; return BB_OK;
    case BB_SUM_DIRECT: e->scheme = BBI_SCHEME_DIRECT; return BB_OK;
    }
    return bbi_fail(BB_BAD_ARGUMENT, "compile options: unknown summation scheme %d", (int)options->sum_scheme);
}

static bb_status make(bbi_executable *e, const bb_compile_options *options) {
    const bbi_plan *plan = e->plan;
    BBI_FORWARD(choose_tiering(e, options));
    e->stage = bbi_calloc((size_t)plan->nstage + 1, sizeof *e->stage);
    if (!e->stage) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a program");
    for (int32_t s = 0; s < plan->nstage; s++) BBI_FORWARD(make_stage(e, &plan->stage[s], options, &e->stage[s]));
    return BB_OK;
}

bb_status bbi_executable_new(const bbi_plan *plan, bool is_double, const bb_compile_options *options, int level,
                             bbi_executable **executable) {
    bb_compile_options all = {.size = sizeof all};
    if (options) {
        if (options->size == 0) return bbi_fail(BB_BAD_ARGUMENT, "compile options: set `size` to sizeof");
        memcpy(&all, options, options->size < sizeof all ? options->size : sizeof all);
    }
    bbi_executable *e = *executable = bbi_calloc(1, sizeof *e);
    if (!e) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a program");
    e->plan = plan;
    e->is_double = is_double;
    e->level = level == BBI_LEVEL_HERE ? choose_level() : level;
    bb_status status = make(e, &all);
    if (status != BB_OK) {
        bbi_executable_free(e);
        *executable = NULL;
    }
    return status;
}

void bbi_executable_free(bbi_executable *executable) {
    if (!executable) return;
    for (int32_t s = 0; executable->stage && s < executable->plan->nstage; s++) {
        bbi_stage_code *code = &executable->stage[s];
        bbi_interp *const interps[] = {code->uniform, code->row, code->column, code->pair, code->epilogue};
        for (size_t k = 0; k < sizeof interps / sizeof *interps; k++)
            if (interps[k]) bbi_interp_free(interps[k]);
        bbi_compiled_release(code->compiled[0]);
        bbi_compiled_release(code->compiled[1]);
        for (int32_t k = 0; code->folding && k < executable->plan->stage[s].nfold; k++)
            bbi_user_step_free((bbi_user_step *)code->folding[k].user);
        bbi_free(code->folding);
    }
    bbi_frame_free(atomic_exchange(&executable->spare, NULL));
    bbi_gpu_close(executable);
    bbi_free(executable->stage);
    bbi_free(executable);
}

bb_status bbi_executable_sources(const bbi_executable *executable, bbi_source_visitor *visit, void *data) {
    for (int32_t s = 0; s < executable->plan->nstage; s++)
        for (int transposed = 0; transposed < 2; transposed++) {
            bbi_compiled *compiled = executable->stage[s].compiled[transposed];
            if (compiled) BBI_FORWARD(bbi_compiled_source(compiled, visit, data));
        }
    return BB_OK;
}

/* ---- tiers ---- */

static void prepare_auto(bbi_executable *e, bbi_compiled *compiled, double work) {
    if (bbi_compiled_state(compiled) != BBI_COMPILE_NONE) return;
    double before = (double)atomic_load_explicit(&e->interpreted, memory_order_relaxed);
    if (work < work_before_compile) /* also keeps the conversion in range */
        atomic_fetch_add_explicit(&e->interpreted, (int64_t)work, memory_order_relaxed);
    if (before + work >= work_before_look) bbi_compiled_peek(compiled, true);
    if (work >= work_before_peek) bbi_compiled_peek(compiled, false);
    if (before + work >= work_before_compile) bbi_compiled_start(compiled);
}

bb_status bbi_executable_prepare(bbi_executable *executable, int stage, bool transposed, double work) {
    bbi_stage_code *code = &executable->stage[stage];
    bbi_compiled *compiled = code->compiled[transposed];
    if (executable->tiering == BBI_TIERING_INTERP || !compiled || bbi_compiled_function(compiled)) return BB_OK;
    atomic_store_explicit(&code->used[transposed], true, memory_order_relaxed);
    if (executable->tiering == BBI_TIERING_AUTO)
        prepare_auto(executable, compiled, work);
    else if (executable->tiering == BBI_TIERING_BACKGROUND) {
        bbi_compiled_peek(compiled, true);
        bbi_compiled_start(compiled);
    } else if (bbi_compiled_state(compiled) != BBI_COMPILE_FAILED || executable->required) {
        bb_status status = bbi_compiled_wait(compiled);
        if (status != BB_OK && executable->required) return status;
    }
    if (executable->required && bbi_compiled_state(compiled) == BBI_COMPILE_FAILED)
        return bbi_fail(BB_COMPILER, "%s", bbi_compiled_reason(compiled));
    return BB_OK;
}

bb_status bbi_executable_wait(bbi_executable *executable) {
    bb_status result = BB_OK;
    if (executable->tiering == BBI_TIERING_INTERP || executable->gpu)
        return BB_OK; /* a device's kernels are never late */
    for (int32_t s = 0; s < executable->plan->nstage; s++) {
        bbi_stage_code *code = &executable->stage[s];
        if (!code->compiled[0]) continue;
        bool unused = !atomic_load(&code->used[0]) && !atomic_load(&code->used[1]);
        for (int transposed = 0; transposed < 2; transposed++) {
            bool wanted = atomic_load(&code->used[transposed]) || (unused && !transposed);
            if (!wanted || bbi_compiled_function(code->compiled[transposed])) continue;
            bb_status status = bbi_compiled_wait(code->compiled[transposed]);
            if (status != BB_OK && executable->required) result = status;
        }
    }
    return result;
}

bb_target bbi_executable_tier(const bbi_executable *executable, const char **reason) {
    if (executable->gpu) {
        if (reason) *reason = "";
        return bbi_gpu_target(executable);
    }
    const char *why = executable->tiering == BBI_TIERING_INTERP ? "the interpreter was asked for" : "";
    bool all = executable->tiering != BBI_TIERING_INTERP;
    for (int32_t s = 0; all && s < executable->plan->nstage; s++) {
        const bbi_stage_code *code = &executable->stage[s];
        int ready = 0, wanted = 0;
        for (int transposed = 0; transposed < 2 && code->compiled[0]; transposed++) {
            const bbi_compiled *compiled = code->compiled[transposed];
            bool done = bbi_compiled_function(compiled) != NULL;
            ready += done;
            wanted += done || atomic_load(&code->used[transposed]);
            if (!done && bbi_compiled_state(compiled) == BBI_COMPILE_FAILED) why = bbi_compiled_reason(compiled);
        }
        all = !code->compiled[0] || (wanted && ready == wanted);
    }
    if (reason) *reason = why;
    return all ? BB_TARGET_CPU : BB_TARGET_INTERP;
}
