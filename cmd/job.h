/* What run.c and solve.c share: a formula, the arrays that its names are bound to, its kernel. */
#ifndef BENBEN_JOB_H
#define BENBEN_JOB_H

#include <getopt.h>

#include "command.h"

enum { MAX_BINDINGS = 64, MAX_OUTPUTS = 64, NAME_SIZE = 64 };

typedef struct binding {
    char name[NAME_SIZE];
    char letter; /* 'i', 'j', 'p', or 0: the formula says it */
    bool is_number;
    const char *text; /* behind the = */
    npy array;
} binding;

typedef struct job {
    const char *formula;
    binding bindings[MAX_BINDINGS];
    int binding_count;
    const char *paths[MAX_OUTPUTS];
    int path_count;
    bool has_dtype, time;
    bb_dtype dtype;
    bb_compile_options compile;
    bb_run_options run;
    bb_context *context;
    bb_program *program;
    bb_kernel *kernel;
    int input_count, output_count;
    bb_array inputs[MAX_BINDINGS], outputs[MAX_OUTPUTS];
    int64_t shapes[MAX_OUTPUTS][NPY_DIMENSIONS];
    progress progress;
} job;

extern const struct option job_options[];
bool job_take_option(job *j, int letter, const char *argument);
bool job_parse_binding(job *j, const char *argument);
int job_prepare(job *j); /* 0, or what the command ends with: parses, binds, compiles, allocates outputs */
int job_deliver(const job *j);
void job_release(job *j);

#endif
