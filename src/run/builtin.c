/* builtin.c: the kernels inside the library, one table for each vector level and real type. The build makes them of
 * src/run/builtin.list with a library that has none (BBI_BUILTIN -1), and then this file again with the highest
 * level that there is (BBI_BUILTIN). */
#include "aot.h"

#ifndef BBI_BUILTIN
#define BBI_BUILTIN -1
#endif

#if BBI_BUILTIN >= 0
extern const struct bb_aot_table bbi_builtin_0_float32, bbi_builtin_0_float64;
#endif
#if BBI_BUILTIN >= 1
extern const struct bb_aot_table bbi_builtin_1_float32, bbi_builtin_1_float64;
#endif
#if BBI_BUILTIN >= 2
extern const struct bb_aot_table bbi_builtin_2_float32, bbi_builtin_2_float64;
#endif

static const struct bb_aot_table *const tables[] = {
#if BBI_BUILTIN >= 0
    &bbi_builtin_0_float32,
    &bbi_builtin_0_float64,
#endif
#if BBI_BUILTIN >= 1
    &bbi_builtin_1_float32,
    &bbi_builtin_1_float64,
#endif
#if BBI_BUILTIN >= 2
    &bbi_builtin_2_float32,
    &bbi_builtin_2_float64,
#endif
    NULL,
};

const struct bb_aot_table *const *bbi_builtin_tables(int *count) {
    *count = (int)(sizeof tables / sizeof *tables) - 1;
    return tables;
}
