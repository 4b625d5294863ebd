/* benben.h: symbolic matrices that are never stored.
 *
 * A tutorial, which the tests compile and run as it stands (cmake/tutorial.cmake):
 *
 *   #include <benben.h>
 *
 *   // 1. A formula. x has a row for each i, y and b for each j, s is a parameter; the number is the dimension. sum_j folds j.
 *   bb_context *context;
 *   bb_program *program;
 *   if (bb_context_new(&context) != BB_OK) return 1;
 *   if (bb_program_parse(context, "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)", NULL, 0, &program) != BB_OK) return 1;
 *
 *   // 2. Something that can run. Nothing is compiled yet: small calls are interpreted, large ones compiled meanwhile.
 *   bb_kernel *kernel;
 *   if (bb_compile(program, NULL, &kernel) != BB_OK) return 1;
 *
 *   // 3. Arrays: the caller's memory, in the order in which the variables were declared (x, y, s, b).
 *   float x[2 * 3] = {0, 0, 0, 1, 0, 0}, y[3 * 3] = {0, 0, 0, 1, 0, 0, 0, 1, 0}, s[1] = {2}, b[3] = {1, 2, 3}, a[2];
 *   int64_t x_shape[2] = {2, 3}, y_shape[2] = {3, 3}, s_shape[1] = {1}, b_shape[2] = {3, 1}, a_shape[2] = {2, 1};
 *   bb_array inputs[5] = {bb_array_of(x, BB_FLOAT32, 2, x_shape), bb_array_of(y, BB_FLOAT32, 2, y_shape),
 *                         bb_array_of(s, BB_FLOAT32, 1, s_shape), bb_array_of(b, BB_FLOAT32, 2, b_shape)};
 *   bb_array output = bb_array_of(a, BB_FLOAT32, 2, a_shape);
 *   if (bb_run(kernel, inputs, 4, &output, 1, NULL) != BB_OK) puts(bb_last_error());
 *   // a = {1 + 5 * exp(-0.5), 2 + exp(-0.5) + 3 * exp(-1)}
 *
 *   // 4. Derivatives are programs. The gradient with respect to x has the inputs x, y, s, b and, shaped as a, its cotangent.
 *   bb_program *gradient;
 *   bb_kernel *gradient_kernel;
 *   int wanted[1] = {0}; // x is variable 0
 *   if (bb_grad(program, wanted, 1, NULL, 0, &gradient) != BB_OK) return 1;
 *   if (bb_compile(gradient, NULL, &gradient_kernel) != BB_OK) return 1;
 *   float cotangent[2] = {1, 1}, dx[2 * 3];
 *   inputs[4] = bb_array_of(cotangent, BB_FLOAT32, 2, a_shape);
 *   output = bb_array_of(dx, BB_FLOAT32, 2, x_shape);
 *   if (bb_run(gradient_kernel, inputs, 5, &output, 1, NULL) != BB_OK) puts(bb_last_error());
 *   // dx = {2 * exp(-0.5), 3 * exp(-0.5), 0, -exp(-0.5) - 3 * exp(-1), 3 * exp(-1), 0}
 *
 *   // 5. Handles are released in any order.
 *   bb_kernel_release(gradient_kernel);
 *   bb_program_release(gradient);
 *   bb_kernel_release(kernel);
 *   bb_program_release(program);
 *   bb_context_release(context);
 *
 * Conventions. Every fallible function returns a bb_status (BB_OK is 0); bb_last_error() gives this thread's last message. Handles are
 * reference-counted and safe to share between threads; what a function gives out through a ** belongs to the caller, who releases it. Programs and
 * kernels keep what they need of their context alive. Arrays are borrowed for the length of a call. The library never prints, exits,
 * or writes outside its cache folder. Structures that may grow begin with their own size: set it with sizeof. */
#ifndef BENBEN_H
#define BENBEN_H

#include <stddef.h>
#include <stdint.h>

#define BB_VERSION_MAJOR 0
#define BB_VERSION_MINOR 1
#define BB_VERSION_PATCH 0

#if defined(BB_STATIC)
#define BB_API
#elif defined(_WIN32)
#ifdef BB_BUILD
#define BB_API __declspec(dllexport)
#else
#define BB_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define BB_API __attribute__((visibility("default")))
#else
#define BB_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---------------------------------------------------------------------------------------------------------------- */
typedef enum bb_status {
    BB_OK = 0,
    BB_OUT_OF_MEMORY = 1,
    BB_BAD_ARGUMENT = 2,
    BB_BAD_SYNTAX = 3,
    BB_UNKNOWN_NAME = 4,
    BB_BAD_SHAPE = 5,
    BB_BAD_DTYPE = 6,
    BB_BAD_RANGES = 7,
    BB_NOT_DIFFERENTIABLE = 8,
    BB_COMPILER = 9,
    BB_CACHE = 10,
    BB_DEVICE = 11,
    BB_CANCELLED = 12,
    BB_NO_CONVERGENCE = 13,
    BB_INDEFINITE = 14,
    BB_SYSTEM = 15,
    BB_INTERNAL = 16
} bb_status;
BB_API const char *bb_last_error(
    void); /* this thread's last message, "" when there was none; valid until its next failing call */
BB_API const char *bb_status_text(bb_status status); /* the meaning of a code in one line */
BB_API void bb_clear_error(void);
BB_API const char *bb_version(void); /* "0.1.0" */

/* ---- arrays: DLPack's fields --------------------------------------------------------------------------------------------------- */
typedef enum bb_dtype { BB_FLOAT32 = 0, BB_FLOAT64 = 1, BB_FLOAT16 = 2, BB_BFLOAT16 = 3, BB_INT64 = 4 } bb_dtype;
typedef struct bb_array {
    void *data;          /* pointer to device memory; element (0, ..., 0) is at data + byte_offset */
    int32_t device_type; /* as in DLPack: 1 CPU, 2 CUDA, 4 OpenCL */
    int32_t device_id;
    int32_t ndim;
    uint8_t dtype_code; /* as in DLPack: 0 int, 2 float, 4 bfloat */
    uint8_t dtype_bits;
    uint16_t dtype_lanes; /* 1 */
    const int64_t *
        shape; /* (..., rows, dim) for i- and j-variables, (..., dim) for parameters; dimensions in front are batches */
    const int64_t *strides; /* in elements; NULL: row-major and compact */
    uint64_t byte_offset;
} bb_array;
/* A compact row-major array on the CPU. */
BB_API bb_array bb_array_of(void *data, bb_dtype dtype, int ndim, const int64_t *shape);

/* ---- expressions ------------------------------------------------------------------------------------------------------------------ */
/* A context owns expressions and serialises their construction (any thread may call). */
typedef struct bbi_context bb_context;
typedef const struct bbi_node
    *bb_expr; /* owned by its context; NULL stands for an error, and every builder passes NULL on */
typedef enum bb_axis {
    BB_NONE = 0,
    BB_I = 1,
    BB_J = 2,
    BB_IJ = 3
} bb_axis; /* placement of a variable or axis of a reduction; BB_NONE: parameter */
BB_API bb_status bb_context_new(bb_context **context);
BB_API void bb_context_release(bb_context *context);

/* The variable at a position of the signature. place: BB_I, BB_J or BB_NONE; dim >= 1. */
BB_API bb_expr bb_variable(bb_context *context, int position, bb_axis place, int64_t dim);
BB_API bb_expr bb_number(bb_context *context, double value);
/* Any operation of the table by name or alias: operands, then its integer parameters (`benben ops` lists them). */
BB_API bb_expr bb_apply(bb_context *context, const char *name, const bb_expr *operands, int count,
                        const int64_t *integers, int integer_count);
/* Any reduction of the table over an axis. weight: second formula or NULL. k: for the K smallest, else 0. Over both axes an index is i N + j. */
BB_API bb_expr bb_reduce(bb_context *context, const char *name, bb_axis axis, bb_expr formula, bb_expr weight,
                         int64_t k);
/* Sum over listed pairs. list: an index reduction that keeps i (argkmin over j ...), or a variable placed BB_I whose array holds int64 indices (M, dim), -1 for
 * no entry: the j's of each i. Axis BB_J sums over them in their order, axis BB_I is the transpose. (With i and j exchanged likewise.) */
BB_API bb_expr bb_reduce_listed(bb_context *context, bb_axis axis, bb_expr formula, bb_expr list);
/* A reduction of the caller's own. State, value and other are variables of the formulas by position: 0 .. the old state s (dim state_dim), 1: f (dim of
 * formula), 2: the other state t (merge). init has no variable; step(s, f), merge(s, t), finish(s) are expressions over bb_variable(.., BB_NONE, ..). */
typedef struct bb_reduction_definition {
    size_t size;
    int64_t state_dim;
    bb_expr init, step, merge, finish; /* finish NULL: the state itself */
} bb_reduction_definition;
BB_API bb_expr bb_reduce_custom(bb_context *context, const bb_reduction_definition *definition, bb_axis axis,
                                bb_expr formula);
BB_API int64_t bb_expr_dim(bb_expr expression);
BB_API bb_axis bb_expr_place(bb_expr expression);

/* ---- programs --------------------------------------------------------------------------------------------------------------------------- */
typedef struct bb_program bb_program;
typedef struct bb_variable_info {
    const char *name; /* owned by the program; "" when it has none */
    bb_axis place;
    int64_t dim;
    int is_index; /* int64: forward indices of a derivative */
} bb_variable_info;
typedef struct bb_output_info {
    bb_axis place; /* BB_I: (..., M, dim), BB_J: (..., N, dim), BB_NONE: (..., dim) */
    int64_t dim;
    int is_index; /* int64 */
} bb_output_info;
/* From text (either spelling). declarations: "x = Vi(3)", "x:i3" ... in order; variables written in place follow. */
BB_API bb_status bb_program_parse(bb_context *context, const char *formula, const char *const *declarations, int count,
                                  bb_program **program);
/* From expressions. signature: the variables in order of position, also those that no expression mentions. */
BB_API bb_status bb_program_new(bb_context *context, const bb_variable_info *signature, int variable_count,
                                const bb_expr *outputs, int output_count, bb_program **program);
BB_API void bb_program_retain(bb_program *program);
BB_API void bb_program_release(bb_program *program);
BB_API int bb_program_variable_count(const bb_program *program);
BB_API int bb_program_output_count(const bb_program *program);
BB_API bb_status bb_program_variable(const bb_program *program, int position, bb_variable_info *info);
BB_API bb_status bb_program_output(const bb_program *program, int position, bb_output_info *info);
BB_API bb_expr bb_program_expr(const bb_program *program, int position);
BB_API double bb_program_cost(const bb_program *program); /* operations per pair, weighted by the table's cost column */
/* The gradient program. Inputs: the program's own, one cotangent per floating-point output (shaped as it), then the forward outputs named by `forward`,
 * whose values it may use instead of computing them again (indices, too, of formulas that depend on both axes: the selection is not repeated). Outputs: one per variable, shaped as it (summed over the axes that it lacks).
 * Method: reverse accumulation; see Griewank and Walther, Evaluating Derivatives, 2008. */
BB_API bb_status bb_grad(const bb_program *program, const int *variables, int count, const int *forward,
                         int forward_count, bb_program **gradient);
/* The tangent program. Inputs: the program's own, one tangent per variable in `variables`, then forward outputs. Outputs: one tangent per floating-point output. */
BB_API bb_status bb_diff(const bb_program *program, const int *variables, int count, const int *forward,
                         int forward_count, bb_program **tangent);
/* The program of some of the outputs: the same inputs. Where only some cotangents are not 0, the gradient of these outputs is the cheaper one. */
BB_API bb_status bb_program_select(const bb_program *program, const int *outputs, int count, bb_program **selected);
/* Text, to be released with bb_free: what = "parsed", "dag", "plan", "source" (of the CPU kernels, float32 unless dtype says else), "cuda" or "opencl",
 * behind which words name another variant of the kernels: few (rows), wide, exact, kahan, direct ("cuda few kahan"). */
BB_API bb_status bb_program_show(const bb_program *program, const char *what, bb_dtype dtype, char **text);
/* What an automatic target takes for arrays in host memory of these sizes, and why: "cpu: no GPU found ..."; why is to be released with
 * bb_free. Both may be NULL. A GPU is taken where the problem is worth the transfer and the start; BENBEN_TARGET forces a target. */
BB_API bb_status bb_program_target(const bb_program *program, bb_dtype dtype, int64_t m, int64_t n, int64_t batches, int *target, char **why);
BB_API void bb_free(void *pointer);

/* ---- kernels ------------------------------------------------------------------------------------------------------------------------------ */
typedef struct bb_kernel bb_kernel;
typedef enum bb_target {
    BB_TARGET_AUTO = 0,
    BB_TARGET_INTERP = 1,
    BB_TARGET_CPU = 2,
    BB_TARGET_CUDA = 3,  /* NVIDIA: the driver and NVRTC, found at run time */
    BB_TARGET_OPENCL = 4 /* OpenCL 1.2 of any vendor, found at run time */
} bb_target;
typedef enum bb_policy {
    BB_POLICY_AUTO =
        0, /* interpreted at once while the compiler works in the background; a long run goes over to the compiled kernel as soon as it is
                                 there (the bits are the same), and one that is in the cache is used from the start */
    BB_POLICY_WAIT = 1,      /* compile before the first result */
    BB_POLICY_BACKGROUND = 2 /* never wait */
} bb_policy;
typedef enum bb_sum_scheme { BB_SUM_AUTO = 0, BB_SUM_BLOCK = 1, BB_SUM_KAHAN = 2, BB_SUM_DIRECT = 3 } bb_sum_scheme;
typedef enum bb_accuracy {    /* of squared distances in 12 dimensions or more; docs/accuracy.md has measurements */
    BB_ACCURACY_AUTO = 0,     /* where they are only exponents (exp(-s |x - y|^2), log-sum-exp): norms and scalar products about the mean of the columns in runs
                                 where that changes no exponential by more than 2e-6 (float64: 4e-15) relative; minima and the K smallest: candidates found so, the result that
                                 of differences to the bit; else differences */
    BB_ACCURACY_EXACT = 1,    /* differences always */
    BB_ACCURACY_FAST = 2      /* norms and scalar products always: |x - y|^2 is off by about (4 + sqrt(D)) 6e-8 (|x - c|^2 + |y - c|^2), c the mean */
} bb_accuracy;
typedef struct bb_compile_options {
    size_t size;
    bb_target target;
    bb_policy policy;
    bb_sum_scheme sum_scheme;
    int accumulate_double; /* second-level accumulators of float32 sums in float64 */
    bb_accuracy accuracy;
    int device; /* number of the device of targets cuda and opencl */
} bb_compile_options;
BB_API bb_status bb_compile(const bb_program *program, const bb_compile_options *options, bb_kernel **kernel);
BB_API void bb_kernel_retain(bb_kernel *kernel);
BB_API void bb_kernel_release(bb_kernel *kernel);
BB_API const bb_program *bb_kernel_program(const bb_kernel *kernel); /* borrowed */

/* Block-sparse ranges, one structure per batch element or one for all (KeOps's six arrays). Rows [ranges[2c], ranges[2c+1]) of cluster c meet the columns of
 * the intervals slices[c-1] .. slices[c] - 1 (slices[-1] = 0) of reduced. For a reduction over i the roles swap, with the second three arrays.
 * Neighbour lists in CSR form are ranges too: a cluster for each row, an interval [j, j + 1) for each neighbour, slices the ends of the rows. */
typedef struct bb_ranges {
    size_t size;
    int64_t count_i, count_j;                       /* clusters */
    const int64_t *ranges_i, *slices_i, *reduced_j; /* (count_i, 2), (count_i), (slices_i[count_i - 1], 2) */
    const int64_t *ranges_j, *slices_j, *reduced_i;
} bb_ranges;
typedef struct bb_run_options {
    size_t size;
    int threads;             /* 0: all cores */
    const bb_ranges *ranges; /* NULL: all pairs */
    int64_t ranges_count;    /* 1, or the number of batch elements */
    int32_t device_type, device_id; /* of the arrays; 0: whatever they say */
    void *stream;            /* CUstream of arrays on a CUDA device; NULL: the default stream */
    /* Device memory for the time of a run, asked for once (see bb_run). The pointer is given back when the last kernel that
       uses it is in the stream, before that kernel is done: as torch's caching allocator takes it. NULL: our own. */
    void *(*allocate)(void *allocator, size_t bytes, void *stream);
    void (*release)(void *allocator, void *memory, size_t bytes, void *stream);
    void *allocator;
    int (*progress)(void *data, double done); /* done in [0, 1], from one thread at a time; non-zero return cancels */
    void *progress_data;
    const volatile int *cancel; /* non-zero: stop soon with BB_CANCELLED */
    int64_t rows_i, rows_j;     /* M and N where no input says them; 0: from the inputs */
    const int *devices;         /* target cuda, arrays on the host: numbers of devices among which the rows of the outputs are divided; NULL: one device */
    int device_count;
} bb_run_options;
/* Arrays of a CUDA device (device_type 2, all on one device) are taken where the target is cuda, or automatic: then the run is done on that
 * device. They are used in place: kernels are put into `stream` of the options, one after the other, and the call returns without
 * waiting for them. Outputs lie on the same device. Small inputs may lie on the host: up to 4 numbers of a parameter travel with the kernels, more
 * are copied in the order of the stream. After a first call with the same kernel, dtype and kind of sizes (few rows or many; with ranges: the same ranges)
 * a call only starts kernels and asks for memory in the order of the stream: CUDA graphs can capture it, where all arrays but such parameters are on the device. The
 * exceptions wait for the stream and go by way of the host: programs with stages that a device does not take (more than 40 arrays; own reductions of long values), outputs on the host,
 * outputs that share memory with inputs.
 * inputs: in the order of the signature; outputs: preallocated, of the shapes of bb_output_shape; floating-point outputs may have any floating dtype, index outputs int64. */
BB_API bb_status bb_run(bb_kernel *kernel, const bb_array *inputs, int input_count, const bb_array *outputs,
                        int output_count, const bb_run_options *options);
/* Shape of an output for these inputs. shape has room for capacity numbers. */
BB_API bb_status bb_output_shape(const bb_kernel *kernel, const bb_array *inputs, int input_count,
                                 const bb_run_options *options, int position, int64_t *shape, int capacity, int *ndim);
/* BB_TARGET_CPU once every pair kernel of the type is compiled, else BB_TARGET_INTERP. reason (may be NULL): why it is not compiled, "" otherwise. */
BB_API bb_target bb_kernel_tier(const bb_kernel *kernel, bb_dtype dtype, const char **reason);
/* Waits for background compiles. */
BB_API bb_status bb_kernel_wait(bb_kernel *kernel);

/* ---- kernel systems ------------------------------------------------------------------------------------------------------------------------- */
typedef enum bb_solve_method {
    BB_SOLVE_AUTO = 0,
    BB_SOLVE_CG = 1,    /* block conjugate gradients (Hestenes and Stiefel, 1952; O'Leary, 1980): K + alpha I positive definite */
    BB_SOLVE_MINRES = 2 /* minimal residuals (Paige and Saunders, 1975): any symmetric matrix; without preconditioner */
} bb_solve_method;
typedef enum bb_precondition {
    BB_PRECONDITION_AUTO = 0,       /* RPCHOLESKY where some plain iterations have not been enough and the matrix allows it */
    BB_PRECONDITION_NONE = 1,
    BB_PRECONDITION_RPCHOLESKY = 2, /* randomly pivoted Cholesky (Chen, Epperly, Tropp and Webber, arXiv 2304.12465) */
    BB_PRECONDITION_NYSTROM = 3,    /* Nystrom approximation from columns chosen uniformly */
    BB_PRECONDITION_BLOCKS = 4,     /* block-diagonal, exact within the clusters of the options: for matrices whose entries fall off with the distance */
    BB_PRECONDITION_NEIGHBORS = 5  /* sparse inverse Cholesky factor on the neighbours of the options (Vecchia, 1988): for rough or short kernels of many points */
} bb_precondition;
typedef struct bb_solve_options {
    size_t size;
    double alpha;               /* ridge: (K + alpha I) a = b */
    double tolerance;           /* 0: 1e-6, or what the rounding of float32 allows (below 1e-4; the remark says so) */
    int relative;               /* 0: stop when sum r^2 < numel(b) tolerance^2 (as pykeops); 1: when |r| <= tolerance |b| for each column */
    int64_t max_iterations;     /* 0: 10 x rows + 5000 */
    int (*report)(void *data, int64_t iteration, double residual); /* non-zero return cancels */
    void *report_data;
    const bb_run_options *run;
    bb_solve_method method;
    bb_precondition precondition;
    int64_t rank;               /* of the preconditioner; 0: chosen from its decay, what it costs and `memory` */
    int64_t memory;             /* bytes for the preconditioner, at most; 0: 256 MiB, or what `rank` takes */
    uint64_t seed;              /* of the preconditioner: the same seed gives the same bits */
    const bb_array *guess;      /* first iterate, of the shape of the solution; NULL: 0 */
    double *history;            /* residuals of iterations 0, 1, ...; NULL, or room for history_capacity numbers */
    int64_t history_capacity;
    const int64_t *clusters;    /* for BLOCKS: a number >= 0 for each unknown of a system; unknowns of one number are a block. NULL: at most 256 points near each other (without points: in a row) */
    const int64_t *neighbors;   /* for NEIGHBORS, (unknowns, neighbor_count): for each unknown some before it in the order (neighbours in space, of the points before it
                                   in a random order, say); -1: none. NULL: found among the points, where the formula has some; AUTO does so, or takes these, where a factor of low rank leaves too much */
    const int64_t *neighbor_rank; /* position of each unknown in the order; NULL: as they are numbered */
    int64_t neighbor_count;     /* without `neighbors`: how many, 0: as many as pay, 10 to 100 */
} bb_solve_options;
typedef struct bb_solve_result {
    size_t size;
    int64_t iterations;
    double residual;               /* |b - (K + alpha I) a| / |b|, computed from a at the end, also after a failure */
    double seconds;
    bb_precondition precondition;  /* what was used */
    int64_t rank;                  /* of the preconditioner (of the largest, where there is a batch) */
    double trace_left;             /* trace of K - (its approximation), relative to that of K */
    double precondition_seconds;   /* to build it; part of seconds */
    int64_t products;              /* with K */
    int64_t history_count;         /* residuals that there were, also those without room */
    const char *remark;            /* what the caller may want to know: why there is no preconditioner, that float32 ended the iterations; "" otherwise. Static. */
} bb_solve_result;
/* (K + alpha I) a = b for all columns and batch elements of b. The kernel is one output a_i = sum_j K(..) b_j; unknown: the position of b in its signature.
 * K must be symmetric: both sides are given the same points. Where the components of b do not mix they are columns with a common matrix; where they do (kernels
 * with matrices as values) they are one vector of M D unknowns. inputs: as for bb_run; inputs[unknown] is the right-hand side; output receives a (also when
 * BB_NO_CONVERGENCE or BB_INDEFINITE is returned: the last iterate, or an earlier one that is much better). The residual is computed anew from a before BB_OK is returned, with iterations added where the
 * recurrence was too hopeful: BB_NO_CONVERGENCE says so when rounding keeps it above twice the tolerance (raise alpha, use float64). */
BB_API bb_status bb_solve(bb_kernel *kernel, const bb_array *inputs, int input_count, int unknown, const bb_array *output,
                          const bb_solve_options *options, bb_solve_result *result);

/* What the functions below work on: a kernel with its arrays, or a matrix known by what it does (a sum, product or block matrix of kernels, say).
 * It is square and symmetric; its vectors are float64, (rows, columns), row-major. Callbacks run in the caller's thread; non-zero stops with BB_CANCELLED. */
typedef struct bb_matrix {
    size_t size;
    bb_kernel *kernel;                 /* as for bb_solve; NULL: the callbacks */
    const bb_array *inputs;
    int input_count, unknown;          /* the unknown's array gives its shape and type; its values matter to no function but bb_solve */
    const bb_run_options *run;
    int64_t rows;                      /* ---- without a kernel */
    int single;                        /* products are good to float32 only */
    int (*multiply)(void *data, int64_t columns, const double *x, double *y);               /* y = A x */
    int (*entries)(void *data, int64_t count, const int64_t *list, double *result);         /* result[k rows + i] = A[i, list[k]]; NULL: no preconditioner */
    int (*diagonal)(void *data, double *result);                                            /* NULL as well as entries, or neither */
    void *data;
    double entry_cost;                 /* operations that an entry costs within a product; 0: 10 */
} bb_matrix;
/* As bb_solve, for either kind; right_hand_side and solution have the shape (rows, columns), or with a kernel that of its unknown. */
BB_API bb_status bb_solve_matrix(const bb_matrix *matrix, const bb_array *right_hand_side, const bb_array *solution,
                                 const bb_solve_options *options, bb_solve_result *result);

/* Log-determinants and traces of functions by stochastic Lanczos quadrature (Ubaru, Chen and Saad, SIAM J. Matrix Anal. 38, 2017), of the matrix A = K + alpha I.
 * log det A = log det P + tr log(P^-1/2 A P^-1/2) with the preconditioner P of bb_solve (Gardner et al., arXiv 1809.11165; Wenger et al., arXiv 2107.00243): what is
 * left to estimate, and its error, is small. Probes run together, as columns of one product, where the components of b are columns with a common matrix; else
 * one after the other, and the matrix has M D rows. */
typedef struct bb_trace_options {
    size_t size;
    double alpha;                  /* ridge; a log-determinant needs K + alpha I positive definite */
    double tolerance;              /* > 0: probes are added until the stated error is at most that; 0: `probes` of them */
    int64_t probes, max_probes;    /* at a time, 0: 16; altogether with a tolerance, 0: 1024 */
    int64_t steps;                 /* of Lanczos, at most; 0: 300 */
    int64_t dense_rows;            /* up to so many rows the dense matrix is factored, where its entries can be had: no probes, no error but rounding; 0: 800, -1: never */
    double (*function)(void *data, double eigenvalue); /* of bb_trace; NULL: the identity, whose trace is exact where entries can be had */
    void *function_data;
    bb_precondition precondition;  /* of bb_logdet: AUTO, NONE, RPCHOLESKY or NYSTROM */
    int64_t rank, memory;          /* as in bb_solve_options; memory 0: 256 MiB */
    uint64_t seed;
    double *left, *right;          /* NULL, or room for (batches, rows, probes) numbers each: A^-1 z and P^-1 z of the first probes, scaled so that
                                      1/probes sum_k left_k^T dA right_k estimates d log det A: the gradient is that of a product, with right as b and left as its cotangent.
                                      With at least as many probes as rows they are scaled unit vectors, and the gradient is exact */
    int (*report)(void *data, int64_t steps, double estimate); /* non-zero return cancels */
    void *report_data;
} bb_trace_options;
typedef struct bb_trace_result {
    size_t size;
    int64_t probes, steps, products; /* used; the most steps of a block of probes; products with K, of a block each */
    double statistical, quadrature, rounding; /* parts of the error: of the sample (95 %), of stopping Lanczos, of numbers; the largest of the batch */
    int exact;                       /* 1: from the dense matrix or its diagonal */
    bb_precondition precondition;
    int64_t rank;
    double trace_left, precondition_seconds, seconds;
    const char *remark;
} bb_trace_result;
/* values and errors (may be NULL): one number for each batch element. The true value is within value +- error with a probability of 95 %. BB_INDEFINITE where an
 * eigenvalue is found not to be positive, BB_NO_CONVERGENCE where max_probes or steps do not reach the tolerance (values and errors are set all the same). */
BB_API bb_status bb_logdet(const bb_matrix *matrix, const bb_trace_options *options, double *values, double *errors,
                           bb_trace_result *result);
/* tr f(K + alpha I) */
BB_API bb_status bb_trace(const bb_matrix *matrix, const bb_trace_options *options, double *values, double *errors,
                          bb_trace_result *result);

/* Extreme eigenpairs by block Lanczos with thick restarts and full orthogonalisation. */
typedef enum bb_eigen_which {
    BB_EIGEN_LARGEST = 0,
    BB_EIGEN_SMALLEST = 1,  /* of a kernel matrix they lie close together: this may take long */
    BB_EIGEN_MAGNITUDE = 2  /* largest absolute value */
} bb_eigen_which;
typedef struct bb_eigen_options {
    size_t size;
    int64_t count;          /* of eigenpairs */
    bb_eigen_which which;
    double tolerance;       /* of |K v - lambda v| relative to the largest |lambda| found; 0: 1e-10, float32 1e-6 */
    int64_t block, basis;   /* vectors that are multiplied together, 0: up to 8; vectors kept, 0: chosen from count, block and memory */
    int64_t max_products;   /* 0: 1000 */
    int64_t memory;         /* bytes for the basis; 0: 256 MiB */
    uint64_t seed;
    int (*report)(void *data, int64_t products, double residual); /* non-zero return cancels */
    void *report_data;
} bb_eigen_options;
typedef struct bb_eigen_result {
    size_t size;
    int64_t products;       /* of a block each */
    double residual;        /* the largest |K v - lambda v| / max |lambda|, computed from the vectors at the end */
    double seconds;
    const char *remark;
} bb_eigen_result;
/* values: count, ascending; vectors: NULL or (rows, count), orthonormal columns. One matrix, not a batch. After BB_NO_CONVERGENCE the best approximations are there. */
BB_API bb_status bb_eigen(const bb_matrix *matrix, const bb_eigen_options *options, double *values, double *vectors,
                          bb_eigen_result *result);

/* ---- tables, for bindings and documentation ---------------------------------------------------------------------------------------------------- */
typedef struct bb_op_info {
    const char *name, *alias, *kind, *doc;
    int arity, integers; /* integers -1: a varying number */
    double cost;
    int differentiable;
} bb_op_info;
typedef struct bb_reduction_info {
    const char *name, *alias, *doc;
    int takes_k, formulas, is_index;
    int outputs; /* 2: values and indices; such a reduction stands at the top of a formula's text */
} bb_reduction_info;
BB_API int bb_op_count(void);
BB_API bb_status bb_op(int number, bb_op_info *info);
BB_API int bb_reduction_count(void);
BB_API bb_status bb_reduction(int number, bb_reduction_info *info);

/* ---- kernels compiled ahead ------------------------------------------------------------------------------------------------------------------ */
/* The library holds kernels of the formulas that most programs use, which need neither compiler nor wait (BENBEN_BUILTIN=0 leaves them out). A collection
 * makes the same of other formulas: a shared object for bb_aot_load and BENBEN_AOT=path[:path...], or C text to be built into a program for bb_aot_use. A kernel
 * is found by its text, whatever the spelling, the literals and the long dimensions of the formula. */
typedef struct bb_aot bb_aot;
typedef struct bb_aot_table bb_aot_table;
/* level: 0 baseline, 1 AVX2 with FMA, 2 AVX-512 (F, DQ, BW, VL), -1 this machine's. A collection is for one level: machines of another do not look at it. */
BB_API bb_status bb_aot_new(int level, bb_aot **collection);
BB_API void bb_aot_release(bb_aot *collection);
/* dtype: BB_FLOAT32 or BB_FLOAT64. few_rows: also for outputs of few rows, where the pairs are cut differently. */
BB_API bb_status bb_aot_add(bb_aot *collection, const bb_program *program, bb_dtype dtype, int few_rows);
BB_API int64_t bb_aot_count(const bb_aot *collection); /* kernels so far; equal ones count once */
/* The bytes of a shared object with all kernels, made by the system's compiler; released with bb_free. */
BB_API bb_status bb_aot_object(bb_aot *collection, void **bytes, size_t *length);
/* C text (bb_free) of the kernels of one type; it defines `const struct bb_aot_table NAME` and begins with the flags to compile it with. */
BB_API bb_status bb_aot_source(bb_aot *collection, bb_dtype dtype, const char *name, char **source);
/* From then on kernels are looked up there too, in every context of the process. A table must stay where it is. */
BB_API bb_status bb_aot_load(const char *path);
BB_API bb_status bb_aot_use(const bb_aot_table *table);

/* ---- the machine, the compiler, the cache ----------------------------------------------------------------------------------------------------------- */
typedef struct bb_statistics {
    size_t size;
    int64_t compiles, disk_hits, memory_hits, failures;
    int64_t peak_memory; /* bytes resident at most so far in this process */
    int64_t ahead_hits;  /* kernels taken from those compiled ahead */
} bb_statistics;
BB_API bb_status bb_get_statistics(bb_statistics *statistics);
/* Text about what was found and what is missing with the remedy ("benben doctor"); released with bb_free. */
BB_API bb_status bb_doctor(char **text);
/* Devices of a target (BB_TARGET_CUDA or BB_TARGET_OPENCL), numbered from 0 on as in the options. BB_DEVICE where there is none: the message says what is
 * missing. Looking at devices starts none. */
typedef struct bb_device_info {
    size_t size;
    char name[128];
    int64_t memory;   /* bytes */
    int has_float64;
    int architecture; /* CUDA: compute capability, 90 for 9.0; else 0 */
} bb_device_info;
BB_API bb_status bb_device_count(bb_target target, int *count);
BB_API bb_status bb_device_about(bb_target target, int number, bb_device_info *info);
BB_API bb_status bb_device_of(const void *memory, int *number); /* of an address in the memory of a CUDA device */
/* Memory of a CUDA device, for callers whose arrays come from a library without an allocator that they could use. Releasing waits for kernels that may use
 * it. bb_device_wait returns when what was given to a stream (NULL: the default one) is done; bb_device_read does so, and copies. */
BB_API bb_status bb_device_allocate(int number, size_t bytes, void **memory);
BB_API bb_status bb_device_release(int number, void *memory);
BB_API bb_status bb_device_wait(int number, void *stream);
BB_API bb_status bb_device_read(int number, void *stream, void *to, const void *from, size_t bytes);
BB_API bb_status bb_cache_info(char **path, int64_t *entries,
                               int64_t *bytes); /* path released with bb_free; NULL when there is no cache folder */
BB_API bb_status bb_cache_clear(void);

#ifdef __cplusplus
}
#endif
#endif
