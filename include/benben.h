/* benben.h: the public C interface of Benben (in the making). */
#ifndef BENBEN_H
#define BENBEN_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef enum bb_status {
    BB_OK = 0, BB_OUT_OF_MEMORY = 1, BB_BAD_ARGUMENT = 2, BB_BAD_SYNTAX = 3, BB_UNKNOWN_NAME = 4, BB_BAD_SHAPE = 5,
    BB_BAD_DTYPE = 6, BB_BAD_RANGES = 7, BB_NOT_DIFFERENTIABLE = 8, BB_COMPILER = 9, BB_CACHE = 10, BB_DEVICE = 11,
    BB_CANCELLED = 12, BB_NO_CONVERGENCE = 13, BB_INDEFINITE = 14, BB_SYSTEM = 15, BB_INTERNAL = 16
} bb_status;
#ifdef __cplusplus
}
#endif
#endif
