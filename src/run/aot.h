/* aot.h: kernels compiled ahead. They are found by their text, like all others, so that whoever makes them and whoever
 * uses them agree on nothing but that text: level, real type, prelude and interface of a kernel are part of it. */
#ifndef BBI_AOT_H
#define BBI_AOT_H

#include "base.h"

/* The same declarations stand in the C text that aot_write.c prints. */
enum { BBI_AOT_ABI = 1, BBI_AOT_KEY = 16 };
typedef struct bbi_aot_kernel {
    uint8_t key[BBI_AOT_KEY]; /* the first bytes of the SHA-256 digest of the text */
    void *function;
} bbi_aot_kernel;
struct bb_aot_table {
    uint32_t abi, count;
    const bbi_aot_kernel *kernel; /* by ascending key */
};

void bbi_aot_key(const char *source, uint8_t key[BBI_AOT_KEY]);
/* The function of the kernel with this text, from the library itself, from BENBEN_AOT or from a table that was given
 * to bb_aot_load or bb_aot_use; NULL: none. */
void *bbi_aot_find(const char *source);

/* Loads what BENBEN_AOT names; the first failure. bbi_aot_find does so by itself. */
bb_status bbi_aot_environment(void);
/* What is there, for people. builtin: of the library itself. */
void bbi_aot_count(int64_t *builtin, int64_t *loaded);

/* builtin.c: the tables inside the library; `count` of them. */
const struct bb_aot_table *const *bbi_builtin_tables(int *count);

#endif
