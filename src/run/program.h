/* program.h: the public handles. A program is a signature and outputs over a context; a kernel is a program with
 * options, its plans and what was made of them for each real type. */
#ifndef BBI_PROGRAM_H
#define BBI_PROGRAM_H

#include "execute.h"

enum { BBI_MAX_OUTPUTS = 256, BBI_MAX_DEVICES = 16 };

struct bb_program {
    _Atomic int64_t references;
    bbi_context *context;
    bbi_signature signature;
    const bbi_node **output;
    bb_output_info *info;
    bbi_place *place; /* where each output is wanted: a gradient is shaped as its variable even where it is the same for
                         all rows */
    int noutput;
    bool derived; /* by differentiation */
};

typedef struct bbi_expanded bbi_expanded;
/* what serves one real type */
typedef struct bbi_variant {
    bbi_plan *plan; /* of double, or for inputs that are the same; else the kernel's is used */
    bbi_executable *executable;
    _Atomic(bbi_expanded *) expanded; /* NULL: nobody asked for it yet */
    int32_t *same;                    /* which inputs are: see bbi_plan_options; NULL: whatever they are */
    struct bbi_variant *next;
} bbi_variant;

struct bb_kernel {
    _Atomic int64_t references;
    bb_program *program;
    bb_compile_options options;
    int level;                         /* see bbi_executable_new */
    bbi_mutex *mutex;                  /* guards the making of variants */
    bbi_plan *plan;                    /* of the float variant; tells types before one is chosen */
    _Atomic(bbi_variant *) variant[2]; /* float, double */
    bb_kernel *on_device[BBI_MAX_DEVICES]; /* for runs whose arrays lie there; gpu_arrays.c */
    _Atomic(bbi_variant *) ranged[2];  /* for runs with ranges that the plan would not serve; ranged.c */
    _Atomic int taken;                 /* 1 + number of the device that the latest run was given, 0: none; choice.c */
    _Atomic(bbi_variant *) twins[2];   /* lists for inputs that are the same; without executable where nothing is won */
};

/* ---- program.c */
/* Takes over the signature's contents (also on failure). places: at least the outputs' own; NULL: those. The context is
 * locked. */
bb_status bbi_program_make(bbi_context *c, bbi_signature *signature, const bbi_node *const *outputs, int64_t noutput,
                           const bbi_place *places, bb_program **program);
const bbi_node *bbi_program_variable(const bb_program *program, int position);
void bbi_context_lock(const bbi_context *c);
void bbi_context_unlock(const bbi_context *c);
bool bbi_options_fit(size_t size, size_t ours,
                     const char *what); /* false (with the error stored) when a structure has no size */

/* ---- choice.c */
/* Where the target is automatic: the run on a device that is worth it; done: that it was. */
bb_status bbi_run_where_it_pays(bb_kernel *kernel, const bb_array *inputs, const bb_array *outputs,
                                const bb_run_options *options, bool *done);

/* ---- kernel.c */
bb_status bbi_kernel_variant(bb_kernel *kernel, bool is_double, bbi_variant **variant);
/* Of other outputs, placed as the program's; same: see bbi_plan_options. The context is locked. */
bb_status bbi_plan_outputs(const bb_program *program, const bbi_node *const *outputs, int ninput,
                           const bb_compile_options *options, bool is_double, const int32_t *same, bbi_plan **plan);
bb_status bbi_plan_of(const bb_program *program, const bb_compile_options *options, bool is_double, const int32_t *same,
                      bbi_plan **plan);
void bbi_variant_free(bbi_variant *variant);

/* ---- ranged.c: runs with ranges */
bool bbi_plan_is_flat(const bbi_plan *plan); /* some output is folded in a stage that keeps no axis */
bb_status bbi_variant_for(bb_kernel *kernel, bool is_double, bool ranges, bbi_variant **variant);

/* ---- twins.c: runs in which i and j are the same elements */
enum { BBI_MAX_TWINS = 64 }; /* inputs of a program that are compared */
/* Fills same[] (see bbi_plan_options) and returns true where an i- and a j-variable are given one array and a plan for
 * that can pay. */
bool bbi_twin_inputs(const bb_kernel *kernel, const bb_array *inputs, const bb_run_options *options, int32_t *same);
/* The variant for such inputs; NULL where the ordinary one serves. */
bb_status bbi_twin_variant(bb_kernel *kernel, bool is_double, const int32_t *same, bbi_variant **variant);

/* ---- gpu_arrays.c: runs whose arrays lie in the memory of a device */
bool bbi_arrays_on_device(const bb_array *inputs, int ninput, const bb_array *outputs, int noutput);
bb_status bbi_run_staged(bb_kernel *kernel, const bb_array *inputs, int ninput, const bb_array *outputs, int noutput,
                         const bb_run_options *options);
/* The kernel itself where it is for this CUDA device, else one that is; kept by the kernel. */
bb_status bbi_kernel_on_device(bb_kernel *kernel, int number, bb_kernel **chosen);

/* ---- gpu_devices.c: arrays of the host, rows divided among the devices of the options (which are complete) */
bb_status bbi_run_devices(bb_kernel *kernel, const bb_array *inputs, const bb_array *outputs, const bb_run_options *options);

/* ---- expanded.c */
/* Runs with expanded distances where that is wanted, pays and is accurate enough; *done false: nothing was computed. */
bb_status bbi_run_expanded(bb_kernel *kernel, bbi_variant *variant, bool is_double, const bb_array *inputs,
                           const bb_array *outputs, const bb_run_options *options, bool *done);
/* The executable of expanded distances, NULL where nothing is expanded. */
bb_status bbi_expanded_of(bb_kernel *kernel, bbi_variant *variant, bool is_double, bbi_executable **executable);
void bbi_expanded_free(bbi_expanded *expanded);
bbi_executable *bbi_expanded_executable(const bbi_expanded *expanded); /* NULL where nothing is expanded */

#endif
