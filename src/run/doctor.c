/* doctor.c: what was found on this machine, what is missing, and what to do about it. */
#include "api_text.h"
#include "aot.h"
#include "cache.h"
#include "compiler.h"
#include "jit.h"

#include "device/device.h"

static void describe_machine(bbi_text *text) {
    static const char *const level[] = {"baseline", "AVX2 with FMA", "AVX-512 (F, DQ, BW, VL)"};
    bbi_text_add(text, "benben %s\n", bb_version());
    bbi_text_add(text,
                 "processor     %d cores for this process, vector level %s, caches %lld KiB / %lld KiB / %lld KiB\n",
                 bbi_cpu_count(), level[bbi_cpu_level()], (long long)bbi_cache_size(1) / 1024,
                 (long long)bbi_cache_size(2) / 1024, (long long)bbi_cache_size(3) / 1024);
}

static void describe_compiler(bbi_text *text) {
    bbi_compiler *compiler = bbi_alloc(sizeof *compiler);
    if (!compiler) return;
    if (bbi_compiler_find(compiler) != BB_OK) {
        bbi_text_add(
            text,
            "compiler      missing: %s\n              without one everything works; what is not compiled ahead is "
            "interpreted, about 2 to 4 times slower on large problems\n",
            bb_last_error());
        bb_clear_error();
        bbi_free(compiler);
        return;
    }
    bbi_text_add(text, "compiler      %s", compiler->program);
    for (int k = 0; k < BBI_COMPILER_WORDS && compiler->words[k]; k++) bbi_text_add(text, " %s", compiler->words[k]);
    bbi_jit_module *module = NULL;
    void *function = NULL;
    double start = bbi_seconds();
    bb_status status = bbi_jit_load("int benben_probe(int x) { return x + 1; }\n", "benben_probe", bbi_cpu_level(),
                                    &module, &function, NULL);
    if (status == BB_OK) {
        bbi_text_add(text, "; works (%.0f ms for a trivial kernel, cached or not)\n", 1e3 * (bbi_seconds() - start));
        bbi_jit_release(module);
    } else {
        bbi_text_add(text, "; FAILS: %s\n              set BENBEN_CC to a working C compiler\n", bb_last_error());
        bb_clear_error();
    }
    bbi_free(compiler);
}

static void describe_cache(bbi_text *text) {
    bbi_cache_state *state = bbi_alloc(sizeof *state);
    if (state && bbi_cache_look(state) == BB_OK) {
        bbi_text_add(text, "cache         %s: ", state->folder[0] ? state->folder : "no folder");
        if (state->refusal[0])
            bbi_text_add(
                text,
                "not used, %s; kernels are compiled again in each process. Set BENBEN_CACHE_DIR to a private folder\n",
                state->refusal);
        else
            bbi_text_add(text, "%lld kernels, %.1f of at most %.0f MiB\n", (long long)state->entries,
                         (double)state->bytes / 1048576, (double)state->limit / 1048576);
    }
    bbi_free(state);
}

static void describe_ahead(bbi_text *text) {
    int64_t builtin, loaded;
    const char *paths = bbi_environment("BENBEN_AOT");
    bbi_aot_count(&builtin, &loaded);
    bbi_text_add(text, "builtin       %lld kernels in the library, %lld loaded%s%s\n", (long long)builtin,
                 (long long)loaded, paths && *paths ? "; BENBEN_AOT=" : "", paths ? paths : "");
    if (bbi_aot_environment() == BB_OK) return;
    bbi_text_add(text, "              %s\n", bb_last_error());
    bb_clear_error();
}

void bbi_doctor_text(bbi_text *text) {
    describe_machine(text);
    describe_compiler(text);
    describe_ahead(text);
    describe_cache(text);
    bbi_text_add(text, "cuda          ");
    bbi_driver_cuda.describe(text);
    bbi_text_add(text, "opencl        ");
    bbi_driver_opencl.describe(text);
}
