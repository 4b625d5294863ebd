/* show.c: what a program becomes on its way to a kernel, as text. */
#include "aot.h"
#include "api_text.h"
#include "gpu.h"
#include "program.h"

#include <string.h>

static bb_status show_sources(bbi_text *text, const bbi_plan *plan, bb_dtype dtype) {
    bbi_emit_options options = {.is_double = dtype == BB_FLOAT64, .level = bbi_cpu_level()};
    for (int32_t s = 0; s < plan->nstage; s++) {
        if (plan->stage[s].folded == BBI_P || plan->stage[s].list) continue;
        bbi_text kernel = {0};
        bb_status status = bbi_emit_pair(&kernel, &plan->stage[s], &options);
        if (status == BB_OK && kernel.data)
            bbi_text_add(text, "/* ==== stage %d%s ==== */\n%s", s, bbi_aot_find(kernel.data) ? ", compiled ahead" : "",
                         kernel.data);
        text->failed = text->failed || kernel.failed;
        bbi_text_free(&kernel);
        if (status != BB_OK) return status;
    }
    return BB_OK;
}

/* "cuda", "opencl", and behind it what makes another text of a stage: words with a space in front. */
static bool gpu_options(const char *what, bbi_gpu_options *options) {
    static const char *const words[] = {"cuda", "opencl", "few", "wide", "exact", "kahan", "direct", "apart"};
    enum { CUDA, OPENCL, FEW, WIDE, EXACT, KAHAN, DIRECT, APART, COUNT };
    for (bool first = true; *what; first = false) {
        size_t length = strcspn(what, " ");
        int k = 0;
        while (k < COUNT && (strlen(words[k]) != length || strncmp(words[k], what, length) != 0)) k++;
        if (k == COUNT || first != (k <= OPENCL)) return false;
        options->cuda = options->cuda || k == CUDA;
        options->few_rows = options->few_rows || k == FEW;
        options->wide = options->wide || k == WIDE;
        options->exact = options->exact || k == EXACT;
        options->apart = options->apart || k == APART;
        if (k == KAHAN || k == DIRECT) options->scheme = k == KAHAN ? 1 : 2;
        what += length + (what[length] == ' ');
    }
    return true;
}

static bb_status show_gpu_sources(bbi_text *text, const bbi_plan *plan, const bbi_gpu_options *options) {
    for (int32_t s = 0; s < plan->nstage; s++) {
        const char *why = bbi_gpu_refusal(&plan->stage[s]);
        bbi_gpu_layout layout;
        if (why)
            bbi_text_add(text, "/* ==== stage %d: on the processor: %s ==== */\n", s, why);
        else
            bbi_text_add(text, "/* ==== stage %d ==== */\n", s);
        if (why) continue;
        BBI_FORWARD(bbi_emit_gpu(text, &plan->stage[s], options, &layout));
        bbi_text_add(text, "/* ==== stage %d, around the pairs ==== */\n", s);
        BBI_FORWARD(bbi_emit_gpu_maps(text, &plan->stage[s], options, &layout));
    }
    return BB_OK;
}

static void show_expressions(bbi_text *text, const bb_program *p, bool dag) {
    bbi_context_lock(p->context);
    if (dag) bbi_print_dag(text, p->output, p->noutput, &p->signature);
    for (int k = 0; k < p->noutput && !dag; k++) {
        bbi_print(text, p->output[k], &p->signature);
        bbi_text_add(text, "\n");
    }
    bbi_context_unlock(p->context);
}

static bb_status show(bbi_text *text, const bb_program *p, const char *what, bb_dtype dtype) {
    bbi_gpu_options options = {.is_double = dtype == BB_FLOAT64};
    if (strcmp(what, "parsed") == 0 || strcmp(what, "dag") == 0) {
        show_expressions(text, p, what[0] == 'd');
        return BB_OK;
    }
    bool plain = strcmp(what, "plan") == 0 || strcmp(what, "source") == 0;
    if (!what[0] || (!plain && !gpu_options(what, &options)))
        return bbi_fail(
            BB_BAD_ARGUMENT,
            "bb_program_show: cannot show '%s'; parsed, dag, plan, source, cuda or opencl (behind these two "
            "few, wide, exact, kahan, direct, apart)",
            what);
    bbi_plan *plan;
    BBI_FORWARD(bbi_plan_of(p, NULL, dtype == BB_FLOAT64, NULL, &plan));
    bb_status status = BB_OK;
    options.custom = plan->custom;
    if (what[0] == 'p')
        bbi_plan_print(text, plan);
    else if (!plain)
        status = show_gpu_sources(text, plan, &options);
    else
        status = show_sources(text, plan, dtype);
    bbi_plan_free(plan);
    return status;
}

bb_status bbi_give_text(bb_status status, bbi_text *text, char **out) {
    if (status == BB_OK && (text->failed || !text->data))
        status = bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the text");
    if (status == BB_OK)
        *out = text->data;
    else
        bbi_text_free(text);
    return status;
}

bb_status bb_program_show(const bb_program *program, const char *what, bb_dtype dtype, char **out) {
    if (!program || !what || !out)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_program_show: program, what and text must not be NULL");
    bbi_text text = {0};
    *out = NULL;
    return bbi_give_text(show(&text, program, what, dtype), &text, out);
}
