/* Reads and writes NumPy's .npy files, versions 1 to 3: floats of 16, 32 and 64 bits, integers and booleans, either
 * byte order, C or Fortran order. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "half.h"

static uint32_t little_endian(const unsigned char *bytes, int count) {
    uint32_t value = 0;
    for (int i = count - 1; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static bool machine_is_little(void) {
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* The text behind 'key': in the header's dictionary, or NULL. */
static const char *find_value(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) return NULL;
    at += strlen(key);
    while (*at == ' ') at++;
    if (*at != ':') return NULL;
    at++;
    while (*at == ' ') at++;
    return at;
}

static bool parse_descr(const char *path, const char *text, npy *array, bool *swap) {
    char order = 0, kind = 0, end = 0;
    int bytes = 0;
    bool known =
        text && sscanf(text, "'%c%c%d%c", &order, &kind, &bytes, &end) == 4 && end == '\'' && strchr("<>=|", order);
    if (known) {
        known = kind == 'f'   ? bytes == 2 || bytes == 4 || bytes == 8
                : kind == 'b' ? bytes == 1
                              : (kind == 'i' || kind == 'u') && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
    }
    if (!known) {
        int length = text ? (int)strcspn(text, ",}") : 0;
        complain(EXIT_USAGE, "%s: elements of type %.*s: expected float16, float32, float64 or integers", path, length,
                 text ? text : "");
        return false;
    }
    array->kind = kind;
    array->bytes = bytes;
    *swap = bytes > 1 && ((order == '<' && !machine_is_little()) || (order == '>' && machine_is_little()));
    return true;
}

static bool parse_shape(const char *path, const char *text, npy *array) {
    bool good = text && *text == '(';
    if (good) text++;
    array->ndim = 0;
    array->count = 1;
    while (good) {
        while (*text == ' ') text++;
        if (*text == ')') return true;
        char *end;
        long long size = strtoll(text, &end, 10);
        if (end == text || size < 0 || array->ndim == NPY_DIMENSIONS) break;
        if (size && array->count > INT64_MAX / 16 / size) break;
        array->shape[array->ndim++] = size;
        array->count *= size;
        text = end;
        while (*text == ' ') text++;
        if (*text == ',') text++;
    }
    complain(EXIT_USAGE, "%s: the header gives no usable shape", path);
    return false;
}

static void set_strides(npy *array, bool fortran) {
    int64_t stride = 1;
    for (int k = 0; k < array->ndim; k++) {
        int axis = fortran ? k : array->ndim - 1 - k;
        array->strides[axis] = stride;
        stride *= array->shape[axis];
    }
}

/* The header's text, to be freed; NULL after a complaint. */
static char *read_header(FILE *file, const char *path) {
    unsigned char start[12];
    if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0) {
        complain(EXIT_USAGE, "%s is not a .npy file", path);
        return NULL;
    }
    uint32_t length = little_endian(start + 8, 2);
    if (start[6] < 1 || start[6] > 3) {
        complain(EXIT_USAGE, "%s: version %d of the .npy format is not known", path, start[6]);
        return NULL;
    }
    if (start[6] >= 2) {
        if (fread(start + 10, 1, 2, file) != 2) {
            complain(EXIT_USAGE, "%s is truncated", path);
            return NULL;
        }
        length = little_endian(start + 8, 4);
    }
    if (length > 1 << 20) {
        complain(EXIT_USAGE, "%s: a header of %u bytes cannot be right", path, (unsigned)length);
        return NULL;
    }
    char *header = allocate((size_t)length + 1);
    if (fread(header, 1, length, file) != length) {
        complain(EXIT_USAGE, "%s is truncated", path);
        free(header);
        return NULL;
    }
    header[length] = 0;
    return header;
}

static void swap_bytes(npy *array) {
    unsigned char *at = array->data;
    for (int64_t i = 0; i < array->count; i++, at += array->bytes) {
        for (int k = 0; k < array->bytes / 2; k++) {
            unsigned char byte = at[k];
            at[k] = at[array->bytes - 1 - k];
            at[array->bytes - 1 - k] = byte;
        }
    }
}

static bool read_elements(FILE *file, const char *path, npy *array, bool swap) {
    size_t size = (size_t)array->count * (size_t)array->bytes;
    if (size >= 1 << 20) { /* a file that cannot hold so much is refused before its memory is asked for */
        long here = ftell(file);
        bool short_file = fseek(file, 0, SEEK_END) == 0 && (uint64_t)(ftell(file) - here) < size;
        if (short_file || fseek(file, here, SEEK_SET) != 0) {
            complain(EXIT_USAGE, "%s is truncated", path);
            return false;
        }
    }
    array->data = allocate(size);
    if (fread(array->data, 1, size, file) != size) {
        complain(EXIT_USAGE, "%s is truncated", path);
        npy_free(array);
        return false;
    }
    if (swap) swap_bytes(array);
    return true;
}

bool npy_load(const char *path, npy *array) {
    *array = (npy){0};
    FILE *file = fopen(path, "rb");
    if (!file) {
        complain(EXIT_USAGE, "%s cannot be opened", path);
        return false;
    }
    char *header = read_header(file, path);
    bool swap = false;
    bool good = header && parse_descr(path, find_value(header, "'descr'"), array, &swap) &&
                parse_shape(path, find_value(header, "'shape'"), array);
    if (good) {
        const char *order = find_value(header, "'fortran_order'");
        set_strides(array, order && strncmp(order, "True", 4) == 0);
        good = read_elements(file, path, array, swap);
    }
    free(header);
    fclose(file);
    return good;
}

bool npy_dtype(const npy *array, bb_dtype *dtype) {
    if (array->kind == 'B') {
        *dtype = BB_BFLOAT16;
        return true;
    }
    if (array->kind != 'f') return false;
    *dtype = array->bytes == 2 ? BB_FLOAT16 : array->bytes == 4 ? BB_FLOAT32 : BB_FLOAT64;
    return true;
}

size_t dtype_bytes(bb_dtype dtype) {
    return dtype == BB_FLOAT32 ? 4 : dtype == BB_FLOAT64 || dtype == BB_INT64 ? 8 : 2;
}

double element_value(bb_dtype dtype, const void *data, int64_t index) {
    switch (dtype) {
    case BB_FLOAT16: return (double)bb_half_to_float(((const uint16_t *)data)[index]);
    case BB_BFLOAT16: return (double)bb_bfloat_to_float(((const uint16_t *)data)[index]);
    case BB_FLOAT32: return (double)((const float *)data)[index];
    case BB_INT64: return (double)((const int64_t *)data)[index];
    default: return ((const double *)data)[index];
    }
}

static double integer_value(const npy *array, int64_t index) {
    const void *data = array->data;
    if (array->kind == 'i') {
        switch (array->bytes) {
        case 1: return (double)((const int8_t *)data)[index];
        case 2: return (double)((const int16_t *)data)[index];
        case 4: return (double)((const int32_t *)data)[index];
        default: return (double)((const int64_t *)data)[index];
        }
    }
    switch (array->bytes) {
    case 1: return (double)((const uint8_t *)data)[index];
    case 2: return (double)((const uint16_t *)data)[index];
    case 4: return (double)((const uint32_t *)data)[index];
    default: return (double)((const uint64_t *)data)[index];
    }
}

static void set_element(bb_dtype dtype, void *data, int64_t index, double value) {
    switch (dtype) {
    case BB_FLOAT16: ((uint16_t *)data)[index] = bb_float_to_half((float)value); break;
    case BB_BFLOAT16: ((uint16_t *)data)[index] = bb_float_to_bfloat((float)value); break;
    case BB_FLOAT32: ((float *)data)[index] = (float)value; break;
    default: ((double *)data)[index] = value; break;
    }
}

void npy_convert(npy *array, bb_dtype dtype) {
    bb_dtype old;
    bool is_float = npy_dtype(array, &old);
    if (is_float && old == dtype) return;
    void *data = allocate((size_t)array->count * dtype_bytes(dtype));
    for (int64_t i = 0; i < array->count; i++) {
        set_element(dtype, data, i, is_float ? element_value(old, array->data, i) : integer_value(array, i));
    }
    free(array->data);
    array->data = data;
    array->kind = dtype == BB_BFLOAT16 ? 'B' : 'f';
    array->bytes = (int)dtype_bytes(dtype);
}

bool npy_save(const char *path, bb_dtype dtype, int ndim, const int64_t *shape, const void *data) {
    const char *descr = dtype == BB_FLOAT16 ? "f2" : dtype == BB_FLOAT64 ? "f8" : dtype == BB_INT64 ? "i8" : "f4";
    char header[1024];
    int length = snprintf(header, sizeof header, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                          machine_is_little() ? '<' : '>', descr);
    int64_t count = 1;
    for (int k = 0; k < ndim; k++) {
        length += snprintf(header + length, sizeof header - (size_t)length, "%lld,%s", (long long)shape[k],
                           k + 1 < ndim ? " " : "");
        count *= shape[k];
    }
    length += snprintf(header + length, sizeof header - (size_t)length, "), }");
    int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    FILE *file = fopen(path, "wb");
    if (!file) {
        complain(EXIT_FAILED, "%s cannot be written", path);
        return false;
    }
    bool good = fwrite(start, 1, 10, file) == 10 && fprintf(file, "%s%*s\n", header, padded - 1 - length, "") == padded;
    if (dtype == BB_BFLOAT16) {
        for (int64_t i = 0; good && i < count; i++) {
            float value = (float)element_value(dtype, data, i);
            good = fwrite(&value, sizeof value, 1, file) == 1;
        }
    } else if (good && count) {
        good = fwrite(data, dtype_bytes(dtype), (size_t)count, file) == (size_t)count;
    }
    if (fclose(file) != 0) good = false;
    if (!good) {
        remove(path); /* better no result than half of one */
        complain(EXIT_FAILED, "%s cannot be written: is the disk full?", path);
    }
    return good;
}

void npy_free(npy *array) {
    free(array->data);
    array->data = NULL;
}
