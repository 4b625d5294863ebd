/* Results on the terminal: every number with the digits that tell it from its neighbours, long arrays abridged. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

enum { ROWS_SHOWN = 20, COLUMNS_SHOWN = 12, EDGE = 3 };

/* Fewest digits that read back as the same number of the type. */
static void format_number(bb_dtype dtype, const void *data, int64_t index, char text[40]) {
    if (dtype == BB_INT64) {
        snprintf(text, 40, "%lld", (long long)((const int64_t *)data)[index]);
        return;
    }
    double value = element_value(dtype, data, index);
    bool single = dtype != BB_FLOAT64;
    int digits = dtype == BB_FLOAT16 ? 4 : dtype == BB_BFLOAT16 ? 3 : single ? 6 : 15;
    for (;; digits++) {
        snprintf(text, 40, "%.*g", digits, value);
        double back = strtod(text, NULL);
        bool same = single ? (float)back == (float)value : back == value;
        if (same || digits >= 17 || dtype == BB_FLOAT16 || dtype == BB_BFLOAT16 || isnan(value)) return;
    }
}

static void print_row(FILE *file, bb_dtype dtype, const void *data, int64_t first, int64_t count) {
    fputc('[', file);
    for (int64_t k = 0; k < count; k++) {
        if (count > COLUMNS_SHOWN && k == EDGE) {
            fputs(", ...", file);
            k = count - EDGE;
        }
        char text[40];
        format_number(dtype, data, first + k, text);
        fprintf(file, "%s%s", k ? ", " : "", text);
    }
    fputc(']', file);
}

void print_array(FILE *file, bb_dtype dtype, int ndim, const int64_t *shape, const void *data) {
    int64_t dim = ndim ? shape[ndim - 1] : 1, rows = 1;
    for (int k = 0; k + 1 < ndim; k++) {
        rows *= shape[k];
    }
    for (int64_t row = 0; row < rows; row++) {
        if (rows > ROWS_SHOWN && row == EDGE) {
            fprintf(file, "... %lld more rows: -o FILE.npy keeps them\n", (long long)(rows - 2 * EDGE));
            row = rows - EDGE;
        }
        print_row(file, dtype, data, row * dim, dim);
        fputc('\n', file);
    }
    if (!rows) fputs("[]\n", file);
}
