/* callee.c: what the name of a call stands for: an operation of op.def, a reduction of reduce.def or
 * reduce_macro.def with its axis, or one of the few names that the reader itself knows; and the help for a
 * name that stands for nothing. */
#include "syntax.h"

#include <string.h>

static const bbi_composite_row composites[] = {
#define COMPOSITE(name, alias, parameters, formulas, text, doc) {name, alias, parameters, formulas, text, doc},
#include "reduce_macro.def"
};

static const struct {
    const char *name;
    bbi_special special;
} specials[] = {{"Var", BBI_SPECIAL_VAR},       {"Vi", BBI_SPECIAL_VI},         {"Vj", BBI_SPECIAL_VJ},
                {"Pm", BBI_SPECIAL_PM},         {"Vx", BBI_SPECIAL_VI},         {"Vy", BBI_SPECIAL_VJ},
                {"IntCst", BBI_SPECIAL_INTCST}, {"RatCst", BBI_SPECIAL_RATCST}, {"dim", BBI_SPECIAL_DIM}};

/* Suffixes of a reduction's name; those of the short spelling go with the row's name, _Reduction with its
 * alias. */
static const struct {
    const char *text;
    uint8_t axis;
} suffixes[] = {
    {"_ij", BBI_IJ}, {"_i", BBI_I}, {"_j", BBI_J}, {"_axis", BBI_AXIS_BOUND}, {"_Reduction", BBI_AXIS_NUMBER}};

const bbi_composite_row *bbi_composite_info(int64_t row) {
    return row >= 0 && row < (int64_t)(sizeof composites / sizeof *composites) ? &composites[row] : NULL;
}

static bool same_name(const char *row_name, const char *name, size_t length) {
    return strlen(row_name) == length && !memcmp(row_name, name, length);
}

static int find_reduction(const char *name, size_t length, bool by_alias) {
    for (int k = 0; k < BBI_RED_COUNT; k++) {
        const bbi_reduction_row *row = bbi_reduction_info(k);
        if (same_name(by_alias ? row->alias : row->name, name, length)) return k;
    }
    return -1;
}

static int find_composite(const char *name, size_t length, bool by_alias) {
    const bbi_composite_row *row;
    for (int k = 0; (row = bbi_composite_info(k)) != NULL; k++) {
        if (same_name(by_alias ? row->alias : row->name, name, length)) return k;
    }
    return -1;
}

static bool set(bbi_syntax *call, bbi_callee callee, int which, uint8_t axis) {
    call->callee = (uint8_t)callee;
    call->which = (int16_t)which;
    call->axis = axis;
    return which >= 0;
}

static bool resolve_reduction(bbi_syntax *call) {
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
        size_t tail = strlen(suffixes[k].text);
        if (call->size <= tail || memcmp(call->name + call->size - tail, suffixes[k].text, tail)) continue;
        bool by_alias = suffixes[k].axis == BBI_AXIS_NUMBER;
        size_t stem = call->size - tail;
        if (set(call, BBI_CALLEE_REDUCTION, find_reduction(call->name, stem, by_alias), suffixes[k].axis)) return true;
        if (set(call, BBI_CALLEE_COMPOSITE, find_composite(call->name, stem, by_alias), suffixes[k].axis)) return true;
    }
    return false;
}

void bbi_resolve_call(bbi_syntax *call) {
    for (size_t k = 0; k < sizeof specials / sizeof *specials; k++) {
        if (same_name(specials[k].name, call->name, call->size)) {
            set(call, BBI_CALLEE_SPECIAL, specials[k].special, 0);
            return;
        }
    }
    if (set(call, BBI_CALLEE_OP, bbi_op_find(call->name, call->size), 0)) return;
    if (!resolve_reduction(call)) set(call, BBI_CALLEE_UNKNOWN, 0, 0);
}

/* Variables that are not the caller's, in the order of their negative positions; texts that print.c makes
 * name them. */
static const char *const internal_variables[] = {"_one", "_slot", "_number"};

const char *bbi_internal_variable(int64_t position) {
    return position >= BBI_NUMBER && position <= BBI_ONE ? internal_variables[-1 - position] : NULL;
}

bool bbi_find_internal_variable(const char *name, size_t length, int64_t *position, bbi_place *place) {
    if (length == 0 || *name != '_') return false;
    for (int64_t p = BBI_ONE; p >= BBI_NUMBER; p--) {
        size_t stem = strlen(bbi_internal_variable(p));
        if (length <= stem || memcmp(name, bbi_internal_variable(p), stem)) continue;
        for (size_t k = 0; k < 3; k++) {
            if (!same_name(suffixes[k].text, name + stem, length - stem)) continue;
            *position = p;
            *place = (bbi_place)suffixes[k].axis;
            return true;
        }
    }
    return false;
}

static int lower(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c; }

/* Levenshtein's distance by rows; names are at most BBI_MAX_NAME long. */
int bbi_edit_distance(const char *a, size_t na, const char *b, size_t nb) {
    enum { FAR = 3 };
    unsigned char row[BBI_MAX_NAME + 1];
    if (na > BBI_MAX_NAME || nb > BBI_MAX_NAME || na > nb + FAR || nb > na + FAR) return FAR;
    for (size_t k = 0; k <= nb; k++) row[k] = (unsigned char)k;
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned change = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            unsigned shorter = 1u + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = (unsigned char)(change < shorter ? change : shorter);
        }
    }
    return row[nb] < FAR ? row[nb] : FAR;
}

typedef struct candidate {
    const char *wanted;
    size_t length;
    int distance;
    char name[BBI_MAX_NAME + 16];
} candidate;

static void consider(candidate *best, const char *stem, const char *suffix) {
    char name[sizeof best->name];
    size_t a = strlen(stem), b = strlen(suffix);
    if (a == 0 || a + b >= sizeof name) return;
    memcpy(name, stem, a);
    memcpy(name + a, suffix, b + 1);
    int distance = bbi_edit_distance(best->wanted, best->length, name, a + b);
    if (distance >= best->distance || (size_t)distance * 2 >= best->length) return;
    best->distance = distance;
    memcpy(best->name, name, a + b + 1);
}

static void consider_reduction(candidate *best, const char *name, const char *alias) {
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
        if (suffixes[k].axis == BBI_AXIS_BOUND) continue;
        consider(best, suffixes[k].axis == BBI_AXIS_NUMBER ? alias : name, suffixes[k].text);
    }
}

void bbi_suggest_call(bbi_text *text, const char *name, size_t length) {
    candidate best = {.wanted = name, .length = length, .distance = 3};
    const bbi_composite_row *row;
    bool short_name = find_reduction(name, length, false) >= 0 || find_composite(name, length, false) >= 0;
    if (short_name) {
        bbi_text_add(text, ": a reduction names the axis it folds: %.*s_j, %.*s_i or %.*s_ij", (int)length, name,
                     (int)length, name, (int)length, name);
        return;
    }
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        const bbi_op_row *info = bbi_op_info(op);
        if (info->flags & BBI_HIDDEN || info->kind == BBI_LEAF) continue;
        consider(&best, info->name, "");
        consider(&best, info->alias, "");
    }
    for (size_t k = 0; k < sizeof specials / sizeof *specials; k++) consider(&best, specials[k].name, "");
    for (int k = 0; k < BBI_RED_COUNT; k++)
        consider_reduction(&best, bbi_reduction_info(k)->name, bbi_reduction_info(k)->alias);
    for (int k = 0; (row = bbi_composite_info(k)) != NULL; k++) consider_reduction(&best, row->name, row->alias);
    if (best.distance < 3) bbi_text_add(text, "; did you mean '%s'?", best.name);
}
