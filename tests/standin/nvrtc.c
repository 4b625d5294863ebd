/* nvrtc.c: a stand-in for NVRTC, whose "cubins" are texts for emulate.hpp: with cuda.c beside it, kernels in CUDA C++ compute
 * on the host what they would on a device. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
typedef struct program {
    char *text;
    size_t length, room;
} program;

static void add(program *p, const char *text, size_t length) {
    if (p->length + length + 1 > p->room) p->text = realloc(p->text, p->room = 2 * (p->length + length + 1));
    memcpy(p->text + p->length, text, length);
    p->text[p->length += length] = 0;
}

/* asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(t)); becomes y = asm_ex2_approx_f32(t); */
static const char *translate(program *p, const char *at) {
    char name[64] = "asm_";
    size_t n = 4;
    const char *source = strstr(strchr(at, ':') + 1, ": \""), *argument = strchr(source, '(');
    int depth = 0;
    for (const char *c = at + 5; *c != ' ' && n < sizeof name - 1; c++) name[n++] = *c == '.' ? '_' : *c;
    add(p, "y = ", 4);
    add(p, name, n);
    const char *end = argument;
    do depth += (*end == '(') - (*end == ')');
    while (*end++ && depth > 0);
    add(p, argument, (size_t)(end - argument));
    return end + 1; /* the parenthesis of asm( */
}

API int nvrtcVersion(int *major, int *minor) {
    *major = 99, *minor = 1;
    return 0;
}
API int nvrtcCreateProgram(program **made, const char *source, const char *name, int headers, const char *const *texts,
                           const char *const *names) {
    static const char *const kernels[] = {"benben_pairs", "benben_uniform", "benben_pack", "benben_finish",
                                          "benben_merge", "benben_listed", "benben_listed_keys", "benben_listed_count",
                                          "benben_listed_scan", "benben_listed_move", "benben_listed_blocks",
                                          "benben_listed_rows"};
    program *p = *made = calloc(1, sizeof *p);
    (void)name, (void)headers, (void)texts, (void)names;
    add(p, "//EMULATE\n", 10);
    for (const char *at = source; *at;) {
        if (strncmp(at, "asm(\"", 5) == 0) {
            at = translate(p, at);
        } else if (strncmp(at, "extern __shared__ float4 bb_shared[];", 37) == 0) {
            at += 37;
        } else {
            add(p, at++, 1);
        }
    }
    for (int k = 0; k < (int)(sizeof kernels / sizeof *kernels); k++) {
        char call[64];
        int n = snprintf(call, sizeof call, "void %s(", kernels[k]);
        if (!strstr(source, call)) continue;
        n = snprintf(call, sizeof call, "\nEMULATE(%s)\n", kernels[k]);
        add(p, call, (size_t)n);
    }
    return 0;
}
API int nvrtcDestroyProgram(program **p) {
    free((*p)->text);
    free(*p);
    return 0;
}
API int nvrtcCompileProgram(program *p, int count, const char *const *options) {
    (void)p, (void)count, (void)options;
    return 0;
}
API int nvrtcGetProgramLogSize(program *p, size_t *size) {
    (void)p;
    *size = 1;
    return 0;
}
API int nvrtcGetProgramLog(program *p, char *log) {
    (void)p;
    *log = 0;
    return 0;
}
API int nvrtcGetCUBINSize(program *p, size_t *size) {
    *size = p->length + 1;
    return 0;
}
API int nvrtcGetCUBIN(program *p, char *cubin) {
    memcpy(cubin, p->text, p->length + 1);
    return 0;
}
API int nvrtcGetPTXSize(program *p, size_t *size) { return nvrtcGetCUBINSize(p, size); }
API int nvrtcGetPTX(program *p, char *ptx) { return nvrtcGetCUBIN(p, ptx); }
API int nvrtcGetNumSupportedArchs(int *count) {
    *count = 1;
    return 0;
}
API int nvrtcGetSupportedArchs(int *archs) {
    archs[0] = 90;
    return 0;
}
