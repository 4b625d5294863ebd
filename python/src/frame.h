/* frame.h: what a call that runs a kernel keeps on its stack: the arrays of its arguments, its options, who is told of
 * progress. */
#ifndef BENBEN_FRAME_H
#define BENBEN_FRAME_H

#include "core.h"

enum { STACK_VALUES = 24, MAX_OUTPUTS = 64, MAX_DEVICES = 64, CODE_INT = 0, CODE_BFLOAT = 4, DEVICE_CPU = 1, DEVICE_CUDA = 2 };

typedef struct core_kernel {
    PyObject_HEAD bb_kernel *kernel;
    int inputs, outputs;
    int rows; /* outputs that depend on no axis have one of length 1 all the same */
    bb_output_info info[MAX_OUTPUTS];
    bb_variable_info *variable;
} core_kernel;

typedef struct core_ranges {
    bb_ranges *structure;
    core_value *value;
    Py_ssize_t count, taken;
} core_ranges;

typedef struct watch {
    PyThreadState *state;
    PyObject *progress; /* or NULL */
} watch;

typedef struct frame {
    core_value *value, on_stack[STACK_VALUES];
    bb_array *array, array_on_stack[STACK_VALUES];
    int taken, inputs;
    int convert;
    bb_dtype dtype;         /* of floating-point outputs */
    const core_value *like; /* the first tensor that comes with an allocator, or NULL */
    PyObject *origin;       /* borrowed: the first array on a CUDA device without an allocator, or NULL */
    PyObject *scratch;      /* a list: what was taken from that allocator for the time of the call, or NULL */
    core_ranges ranges;
    bb_run_options options;
    int devices[MAX_DEVICES]; /* of the options */
    watch watch;
} frame;

/* Takes the inputs, a tuple; 0, or -1 with an exception. Dropped also after a failure. f->convert: the caller has to
 * convert them first. */
int core_frame_take(frame *f, const core_kernel *self, PyObject *inputs);
void core_frame_drop(frame *f);
/* NULL: the default */
int core_frame_options(frame *f, PyObject *ranges, PyObject *rows_i, PyObject *rows_j, PyObject *threads,
                       PyObject *progress);
/* Allocates output k, or takes the caller's; a new reference. */
PyObject *core_frame_output(frame *f, core_kernel *self, int k, PyObject *given);
/* For reports of solvers: data is a watch. */
int core_watch_solve(void *data, int64_t iteration, double residual);

/* ---- solver.c */
PyObject *core_solve(PyObject *module, PyObject *arguments);
PyObject *core_trace(PyObject *module, PyObject *arguments);
PyObject *core_eigen(PyObject *module, PyObject *arguments);

#endif
