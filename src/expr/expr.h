/* expr.h: formulas. Nodes are immutable, interned and bump-allocated in their context: equality is pointer equality.
 * The only way to make a node is bbi_node_make (and the wrappers below): it infers shape and placement, folds
 * constants, applies the rewrite rules and interns. A failed call returns NULL with the error stored; every builder
 * accepts NULL operands and passes NULL on, so the first cause is the one reported. Prototypes are grouped by file;
 * calls go from later files to earlier ones only. */
#ifndef BBI_EXPR_H
#define BBI_EXPR_H

#include "../base/base.h"

enum {
    BBI_MAX_ARGS = 4,
    BBI_MAX_INTS = 64,
    BBI_SMALL = 8 /* dimensions up to here are unrolled, larger ones are run-time loops */
};

/* Placement: the axes that a value depends on. */
typedef enum bbi_place { BBI_P = 0, BBI_I = 1, BBI_J = 2, BBI_IJ = 3 } bbi_place;

/* Kinds of rows of op.def. */
typedef enum bbi_kind {
    BBI_MAP,      /* elementwise; operands of dimension 1 are broadcast to the others' */
    BBI_FOLD,     /* fold of a vector to a scalar: sum max min argmax argmin */
    BBI_CONTRACT, /* sum of products over labelled axes: ints = bbi_contraction; one operation */
    BBI_INDEX,    /* component k of the result is a component of an operand, or 0: slice pad concat repeat */
    BBI_MACRO,    /* a formula (the value column) over other operations; never a node */
    BBI_BUILD,    /* a C function (build.c) that makes other nodes from operands and ints; never a node */
    BBI_LEAF      /* variable, constant, iota, reduction */
} bbi_kind;

typedef enum bbi_op {
    BBI_OP_VAR,    /* ints: position, category (a bbi_place, not IJ), width */
    BBI_OP_CONST,  /* value; width 1 */
    BBI_OP_IOTA,   /* ints: n; component k is k */
    BBI_OP_REDUCE, /* ints: reduction (bbi_reduction), axis (BBI_J folds j, BBI_I folds i, BBI_IJ both), parameter K,
                      component count; args: f, second formula (weight) or none, pair list or none */
#define OP(id, ...) BBI_OP_##id,
#include "op.def"
    BBI_OP_COUNT
} bbi_op;

/* flags of op.def */
enum {
    BBI_COMMUTES = 1, /* a op b == b op a */
    BBI_NODIFF = 2,   /* derivative zero everywhere it exists */
    BBI_LINEAR = 4,   /* linear in its (all) operands jointly: the tangent is the operation on the tangents */
    BBI_BOOLEAN = 8,  /* value is 0 or 1 */
    BBI_HIDDEN = 16   /* internal: not offered by the parser or by introspection */
};

typedef struct bbi_op_row {
    const char *name;  /* short spelling: exp */
    const char *alias; /* KeOps's spelling: Exp; "" where there is none */
    bbi_kind kind;
    int arity, int_count; /* int_count -1: variable */
    int flags;
    const char
        *value; /* MAP: C text over a b c in the prelude's vocabulary; MACRO: formula over a b c, m n k l (ints) */
    const char *vjp[3]; /* formula over a b c (operands), y (result), g (cotangent), m n k l (ints); "" where zero; MAP
                           rows: linear and elementwise in g, so the same text with the tangent for g is the JVP */
    double domain_low, domain_high; /* where tests draw operands: off kinks and poles */
    double cost;                    /* floating-point operations per component */
    const char *doc;
    double (*scalar)(double a, double b, double c); /* MAP: the value text compiled for double with libm; else NULL */
} bbi_op_row;

typedef struct bbi_node bbi_node;
struct bbi_node {
    uint16_t op;
    uint8_t place; /* bbi_place */
    uint8_t narg;
    int32_t nint;
    int32_t id;  /* creation order in the context: operands have smaller ids */
    int64_t dim; /* number of components, >= 1 */
    double value;
    const bbi_node *arg[BBI_MAX_ARGS];
    const int64_t *ints;
    const bbi_node *next;  /* chain of the intern table */
    int32_t height;        /* 0: a leaf; else one more than the highest operand's */
    uint64_t shape;        /* see order.c */
    const bbi_node *image; /* NULL, or what a rewritten candidate became: such an entry of the table is in no formula */
    uint64_t hash;
};

/* Axis specification of CONTRACT: out[lo] = sum over the labels absent from lo of a[la] * b[lb]; row-major; a label of
 * lo that no operand has is a broadcast. Stored in node->ints as { nlabel, na, nb, no, size[nlabel], la[na], lb[nb],
 * lo[no] }. */
typedef struct bbi_contraction {
    int nlabel, na, nb, no;
    const int64_t *size, *la, *lb, *lo;
} bbi_contraction;

/* Rows of reduce.def. */
typedef enum bbi_reduction {
#define REDUCTION(id, ...) BBI_RED_##id,
#include "reduce.def"
    BBI_RED_COUNT,
    BBI_RED_custom = BBI_RED_COUNT /* defined by the caller; in no table */
} bbi_reduction;
/* which fold kernel does the work; see backend/fold.c */
typedef enum bbi_family {
    BBI_FAMILY_SUM,  /* s <- s + f */
    BBI_FAMILY_PROD, /* s <- s f */
    BBI_FAMILY_MIN,  /* value and index, componentwise */
    BBI_FAMILY_MAX,
    BBI_FAMILY_KMIN, /* the K smallest values and their indices, componentwise */
    BBI_FAMILY_LSE,  /* (m, s): m = max f, s = sum exp(f - m) w; f scalar, w a vector (or 1) */
    BBI_FAMILY_USER  /* formulas given by the caller */
} bbi_family;
/* what is read from the final state */
typedef enum bbi_output {
    BBI_OUT_VALUE,  /* SUM PROD MIN MAX KMIN: the value(s) */
    BBI_OUT_INDEX,  /* MIN MAX KMIN: the index, int64, -1 where there is none */
    BBI_OUT_LOGSUM, /* LSE: m + log s */
    BBI_OUT_RATIO,  /* LSE with weight: s_w / s_1 */
    BBI_OUT_MAXSUM  /* LSE: m then s */
} bbi_output;
typedef struct bbi_reduction_row {
    const char *name;  /* logsumexp: text adds _j, _i, _ij */
    const char *alias; /* LogSumExp: text adds _Reduction */
    bbi_family family;
    bbi_output output;
    int parameters; /* 1: takes K */
    int formulas;   /* 1, or 2 with a weight */
    const char *doc;
} bbi_reduction_row;

/* A declared variable. */
typedef struct bbi_variable {
    char *name; /* "" when anonymous */
    int64_t dim;
    bbi_place place; /* BBI_I, BBI_J or BBI_P */
    bool is_index;   /* a list of indices: int64 */
} bbi_variable;

/* A reduction of the caller's own: formulas over parameters s (position 0: a state), f (1: a value) and t (2: another
 * state). */
typedef struct bbi_definition {
    int64_t state_dim, dim;                       /* of the state and of f */
    const bbi_node *init, *step, *merge, *finish; /* finish: of any dimension */
} bbi_definition;

enum { BBI_MAX_GROWTH = 1 << 18 }; /* nodes that one call of a public function may make */

typedef struct bbi_context bbi_context; /* = struct bb_context */
struct bbi_context {
    bbi_arena arena;
    bbi_mutex *mutex;       /* public functions lock it; functions declared here expect it locked */
    int64_t references;     /* atomic */
    const bbi_node **table; /* intern table, open chains */
    int64_t table_size, node_count;
    int64_t
        node_limit; /* no node is made beyond this count; 0: no limit. Set when a public function locks the context */
    bool raw;       /* build nodes without rewriting (the tests' oracle) */
    int depth;      /* of rewriting and macro expansion, bounded */
    int64_t rewrites;
    bbi_definition *definition;
    int64_t definition_count;
    void *rules; /* compiled rewrite rules (simplify.c) */
    void *texts; /* parsed vjp and macro texts (macro.c) */
};

/* ---- optable.c ------------------------------------------------------------------------------- */
const bbi_op_row *bbi_op_info(int op); /* any op, leaves included */
const bbi_reduction_row *bbi_reduction_info(int reduction);
int bbi_op_find(const char *name, size_t length);        /* by name or alias, exact case; -1 */
int bbi_reduction_find(const char *name, size_t length); /* by name or alias, without suffix; -1 */

/* Variables with a negative position are not the caller's: BBI_ONE (place I, J or IJ) is 1 and only carries its
 * placement; BBI_SLOT (place IJ) is, inside a listed sum, the number of the entry in its row's list; BBI_NUMBER (place
 * I or J) is the element's own number along its axis. */
enum { BBI_ONE = -1, BBI_SLOT = -2, BBI_NUMBER = -3 };

/* ---- expr.c ---------------------------------------------------------------------------------- */
bbi_context *bbi_context_new(void);
void bbi_context_retain(bbi_context *context);
void bbi_context_release(bbi_context *context);
const bbi_node *bbi_var(bbi_context *c, int64_t position, bbi_place place, int64_t dim);
const bbi_node *bbi_const(bbi_context *c, double value);
const bbi_node *bbi_iota(bbi_context *c, int64_t n);
/* Any operation but leaves, macros and reductions. Checks arity, dimensions and ints; messages name the operation. */
const bbi_node *bbi_node_make(bbi_context *c, int op, const bbi_node *const *args, int narg, const int64_t *ints,
                              int nint);
const bbi_node *bbi_op1(bbi_context *c, int op, const bbi_node *a);
const bbi_node *bbi_op2(bbi_context *c, int op, const bbi_node *a, const bbi_node *b);
const bbi_node *bbi_op3(bbi_context *c, int op, const bbi_node *a, const bbi_node *b, const bbi_node *d);
const bbi_node *bbi_zero(bbi_context *c, int64_t dim); /* repeat(0, dim), or 0 */
const bbi_node *bbi_slice(bbi_context *c, const bbi_node *a, int64_t start, int64_t count, int64_t step);
const bbi_node *bbi_pad(bbi_context *c, const bbi_node *a, int64_t start, int64_t total, int64_t step);
const bbi_node *bbi_repeat(bbi_context *c, const bbi_node *a, int64_t n); /* a scalar to dimension n */
const bbi_node *bbi_contract(bbi_context *c, const bbi_node *a, const bbi_node *b,
                             const bbi_contraction *spec); /* b may be NULL with nb 0 */
const bbi_node *bbi_reduce(bbi_context *c, bbi_reduction reduction, bbi_place axis, int64_t k, const bbi_node *f,
                           const bbi_node *weight, const bbi_node *list);
/* ---- order.c: the order of nodes, which does not depend on when they were made ---------------- */
int bbi_compare(const bbi_node *a, const bbi_node *b); /* < 0, 0, > 0; operands come before what uses them */
int bbi_compare_places(const void *a, const void *b);  /* the same of two pointers to nodes, for qsort */
void bbi_order_prepare(bbi_node *n);                   /* sets height and shape; its operands have theirs */
/* Where node stands in an ascending list, such as a topological order; -1: nowhere. */
int64_t bbi_position(const bbi_node *const *nodes, int64_t count, const bbi_node *node);
bool bbi_is_literal(double value); /* rules may inspect it: it stays in the text of a kernel */
/* custom.c: the number of a definition, to be given as k to bbi_reduce(c, BBI_RED_custom, ...), or -1. */
int64_t bbi_define(bbi_context *c, const bbi_definition *definition);
bool bbi_owns(const bbi_context *c, const bbi_node *node); /* whether the node was made in this context */
bbi_contraction bbi_contraction_of(const bbi_node *node);
bool bbi_is_const(const bbi_node *node, double value); /* the constant, also repeated to a vector */
bool bbi_node_is_index(const bbi_node *node);          /* a reduction that yields int64 indices */
/* Topological order (operands first) of everything below the roots; *nodes is released with bbi_free. */
bb_status bbi_topological(const bbi_node *const *roots, int64_t nroot, const bbi_node ***nodes, int64_t *count);
/* Replaces variables: image[k] stands for the variable at position k (NULL: itself). Returns NULL on error. */
const bbi_node *bbi_substitute(bbi_context *c, const bbi_node *root, const bbi_node *const *image, int64_t nimage);
/* Replaces whole nodes: wherever from[k] stands, to[k] does. */
const bbi_node *bbi_replace(bbi_context *c, const bbi_node *root, const bbi_node *const *from,
                            const bbi_node *const *to, int64_t count);
double bbi_cost(const bbi_node *const *roots, int64_t nroot); /* sum of cost x components over distinct nodes */

/* ---- simplify.c: rule.def -------------------------------------------------------------------- */
/* Called by bbi_node_make on a candidate that is not interned yet: NULL where no rule applies, else the node that
 * replaces it. */
const bbi_node *bbi_simplify(bbi_context *c, const bbi_node *candidate);
void bbi_rules_free(void *rules);

/* ---- macro.c: formulas of the tables (macros, vjp texts) over bound operands ----------------- */
typedef struct bbi_binding {
    const char *name;
    const bbi_node *node; /* NULL: an integer */
    int64_t integer;
} bbi_binding;
const bbi_node *bbi_table_formula(bbi_context *c, const char *text, const bbi_binding *bindings, int count);
/* By name, macros included, the way of builders and of the parser: name or alias, operands, ints. */
const bbi_node *bbi_apply(bbi_context *c, int op, const bbi_node *const *args, int narg, const int64_t *ints, int nint);

/* ---- build.c: BUILD rows --------------------------------------------------------------------- */
typedef const bbi_node *bbi_builder(bbi_context *c, const bbi_node *const *args, int narg, const int64_t *ints,
                                    int nint);
bbi_builder *bbi_builder_of(int op);

/* ---- place.c --------------------------------------------------------------------------------- */
/* f, placed at least at `place`: multiplied by BBI_ONE where it does not depend on those axes. A reduction of the
 * result is then taken (and kept) along them: KeOps's "the last number is the index that the result keeps". */
const bbi_node *bbi_place_as(bbi_context *c, const bbi_node *f, bbi_place place);

/* ---- factor.c -------------------------------------------------------------------------------- */
/* Called by bbi_reduce: what stands for the reduction instead, or NULL (with *failed where that is an error). */
const bbi_node *bbi_reduce_rewritten(bbi_context *c, bbi_reduction reduction, bbi_place axis, const bbi_node *f,
                                     const bbi_node *weight, const bbi_node *list, bool *failed);

/* ---- expand.c -------------------------------------------------------------------------------- */
/* outputs with squared distances of long vectors written as norms and scalar products of centred vectors */
enum { BBI_EXPAND_BOUND, BBI_EXPAND_TOTAL, BBI_EXPAND_BOUNDS, BBI_EXPAND_MAX = 8 };
typedef struct bbi_expansion {
    const bbi_node **output; /* the caller's array, one for each output; written where there are centres */
    int centres;             /* 0: nothing to expand */
    /* values of programs that run first: the centres, which are variables of the others; a bound of the relative errors
       that the expansion adds, in units of roundoff, and a number that is finite where all norms are */
    const bbi_node *centre[BBI_EXPAND_MAX], *bound[BBI_EXPAND_BOUNDS];
} bbi_expansion;
/* first: position of the first centre's variable. guarded: only where the bound holds for all that a distance is used
 * for, when it is at most BBI_EXPAND_LIMIT; else every distance, clamped at 0. */
#define BBI_EXPAND_LIMIT 32.0
bb_status bbi_expand(bbi_context *c, const bbi_node *const *outputs, int64_t noutput, int64_t first, bool guarded,
                     bbi_expansion *result);
/* A scan for the candidates of the one minimum or K smallest that the outputs are made of, where these are of a squared
 * distance d, or of a function that grows with it. centre: variable `first` of the others; largest: norm on the folded
 * side. */
typedef struct bbi_scan {
    int64_t k, count; /* K, 0: no such program; how many candidates are looked for */
    int64_t dim;      /* of the vectors */
    bool plain;       /* of d itself */
    bbi_place kept, folded;
    /* of d less the row's norm, the `count` smallest along the folded axis, their indices; the row's norm */
    const bbi_node *output[3];
    const bbi_node *centre, *largest;
} bbi_scan;
/* first: position of the centre's variable. */
bb_status bbi_expand_selection(bbi_context *c, const bbi_node *const *outputs, int64_t noutput, int64_t first,
                               bbi_scan *scan);

/* ---- grad.c ---------------------------------------------------------------------------------- */
/* Cotangents of the variables for the cotangents of the outputs: result[v] = sum_k (d output_k / d variable_v)^T
 * cotangent_k, placed as the variable (contributions are summed over the axes that the variable does not have).
 * pairwise: keep the outputs' axes, sum over nothing (KeOps's Grad inside a formula). */
bb_status bbi_vjp(bbi_context *c, const bbi_node *const *outputs, const bbi_node *const *cotangents, int64_t noutput,
                  const bbi_node *const *variables, int64_t nvariable, bool pairwise, const bbi_node **result);
/* Tangent of an output for tangents of the variables. */
const bbi_node *bbi_jvp(bbi_context *c, const bbi_node *output, const bbi_node *const *variables,
                        const bbi_node *const *tangents, int64_t nvariable);
/* Operators of KeOps's text: see surface.md section 8. `fresh` is a variable position that nobody uses. */
const bbi_node *bbi_grad_matrix(bbi_context *c, const bbi_node *f, const bbi_node *x);
const bbi_node *bbi_divergence(bbi_context *c, const bbi_node *f, const bbi_node *x);
const bbi_node *bbi_laplacian(bbi_context *c, const bbi_node *f, const bbi_node *x);
const bbi_node *bbi_trace_operator(bbi_context *c, const bbi_node *f,
                                   const bbi_node *x); /* trace of the linear map x -> f */
const bbi_node *bbi_adjoint_operator(bbi_context *c, const bbi_node *f, const bbi_node *x,
                                     const bbi_node *g); /* its adjoint at g */

/* ---- parse.c: both spellings; print.c: the inverse ------------------------------------------- */
typedef struct bbi_signature {
    bbi_variable *variables;
    int64_t count, capacity;
} bbi_signature;
void bbi_signature_free(bbi_signature *signature);
bb_status bbi_signature_add(bbi_signature *signature, const char *name, size_t length, int64_t dim, bbi_place place,
                            int64_t *position);
typedef struct bbi_parse_options {
    const bbi_node *(*lookup)(void *data, const char *name,
                              size_t length); /* names the caller binds to nodes; may be NULL */
    void *lookup_data;
} bbi_parse_options;
/* A formula or a list of formulas "f; g" / reductions. Declares variables written in place (x:i3, Var(0,3,0), Vi(0,3))
 * into the signature and uses those already there. outputs is filled with at most max_outputs nodes. Min_ArgMin and its
 * like yield two outputs. */
bb_status bbi_parse(bbi_context *c, const char *text, bbi_signature *signature, const bbi_parse_options *options,
                    const bbi_node **outputs, int64_t max_outputs, int64_t *noutput);
/* Alias of the KeOps kind: "x = Vi(3)", "x=Vi(0,3)", "x = Var(0,3,0)", "Vi(3)", "b = Pm(2)", and the short "x:i3". */
bb_status bbi_parse_alias(bbi_signature *signature, const char *text);
/* Text that bbi_parse reads back to the same node. Shared subexpressions are printed where they stand. */
void bbi_print(bbi_text *text, const bbi_node *node, const bbi_signature *signature);
/* One line per distinct node: "%3 = exp(%2)  dim 1 IJ". */
void bbi_print_dag(bbi_text *text, const bbi_node *const *roots, int64_t nroot, const bbi_signature *signature);

/* ---- oracle.c: the tests' slow twin: per pair, float64, any DAG (raw or not) ----------------- */
/* dense float64 array of one variable or result: rows x dim, rows = M, N or 1 */
typedef struct bbi_oracle_array {
    double *data;
    int64_t rows, dim;
} bbi_oracle_array;
/* outputs[k].data is allocated (bbi_free). indices are given as doubles. */
bb_status bbi_oracle(const bbi_node *const *roots, int64_t nroot, const bbi_oracle_array *variables, int64_t nvariable,
                     int64_t m, int64_t n, bbi_oracle_array *outputs);

#endif
