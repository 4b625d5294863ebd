/* command.h: what the files of the command share. Every function that can fail prints one line to stderr itself and
 * returns false or the exit code: 1 for a failed computation, 2 for a misuse of the command. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "benben.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CANCELLED = 130 };

/* ---- benben.c ---------------------------------------------------------------------------------------------- */
int complain(int code, const char *format, ...); /* prints "benben: ..." and returns code */
int complain_status(void);                       /* prints the library's last message; the exit code it deserves */
void *allocate(size_t size);                     /* never NULL: ends the command when memory is exhausted */
bool parse_dtype(const char *text, bb_dtype *dtype);
const char *dtype_name(bb_dtype dtype);
bool parse_integer(const char *text, const char *option, int64_t low, int64_t high, int64_t *value);

/* ---- subcommands: argv[0] is the subcommand's name ----------------------------------------------------------- */
int command_run(int argc, char **argv);
int command_solve(int argc, char **argv);
int command_logdet(int argc, char **argv);
int command_eigen(int argc, char **argv);
int command_show(int argc, char **argv);
int command_ops(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_devices(int argc, char **argv);
int command_cache(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_aot(int argc, char **argv);

/* ---- show.c */
/* The gradient with respect to the named variables, x,y; NULL: all. */
int gradient_of(const bb_program *program, const char *names, bb_program **gradient);

/* ---- npy.c: arrays in NumPy's file format, versions 1 to 3 ----------------------------------------------------- */
enum { NPY_DIMENSIONS = 16 };
typedef struct npy {
    void *data; /* compact in the file's order; released with npy_free */
    int ndim;
    int64_t shape[NPY_DIMENSIONS], strides[NPY_DIMENSIONS]; /* strides in elements */
    int64_t count;
    char kind; /* 'f' float, 'i' signed, 'u' unsigned, 'b' bool, 'B' bfloat16 (never in a file) */
    int bytes; /* of one element */
} npy;
bool npy_load(const char *path, npy *array);
/* Floating-point type of the elements; false for integers. */
bool npy_dtype(const npy *array, bb_dtype *dtype);
void npy_convert(npy *array, bb_dtype dtype); /* of every element, in place of the old ones */
/* Row-major. bfloat16 has no place in the format and is written as float32. */
bool npy_save(const char *path, bb_dtype dtype, int ndim, const int64_t *shape, const void *data);
void npy_free(npy *array);
double element_value(bb_dtype dtype, const void *data, int64_t index); /* of a compact array */
size_t dtype_bytes(bb_dtype dtype);

/* ---- progress.c: a line on the terminal for long runs, Ctrl-C ------------------------------------------------- */
typedef struct progress {
    double start, shown;
    bool terminal, visible;
    const char *label;
} progress;
void progress_begin(progress *state, const char *label);
int progress_report(void *state, double done); /* for bb_run_options.progress */
void progress_end(progress *state);            /* wipes the line */
void catch_interrupt(void);                    /* the first Ctrl-C cancels, the second kills */
extern volatile int interrupted;               /* for bb_run_options.cancel */
double now(void);                              /* seconds on a monotonic clock */

/* ---- print.c: results on the terminal --------------------------------------------------------------------------- */
void print_array(FILE *file, bb_dtype dtype, int ndim, const int64_t *shape, const void *data);

#endif
