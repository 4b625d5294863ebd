/* code.c: the straight code of a stage: building it, its interned index expressions, evaluating and checking
 * them.
 *
 * Index expressions are integers over loop counters and run-time sizes. They are folded and interned as they
 * are made, so that the interpreter evaluates each once per iteration and the emitter can compare two places
 * by their numbers. Rewriting keeps a constant operand second; nothing else is reordered. */
#include "plan.h"

#include <string.h>

/* ---- index expressions ---- */
static int64_t apply_index(bbi_index_op op, int64_t a, int64_t b) {
    switch (op) {
    case BBI_IX_ADD: return a + b;
    case BBI_IX_SUB: return a - b;
    case BBI_IX_MUL: return a * b;
    case BBI_IX_DIV: return b != 0 ? a / b : 0;
    case BBI_IX_MOD: return b != 0 ? a % b : 0;
    case BBI_IX_MIN: return a < b ? a : b;
    case BBI_IX_MAX: return a > b ? a : b;
    case BBI_IX_LT: return a < b;
    case BBI_IX_GE: return a >= b;
    case BBI_IX_EQ: return a == b;
    case BBI_IX_AND: return a != 0 && b != 0;
    case BBI_IX_CONST:
    case BBI_IX_SIZE:
    case BBI_IX_COUNTER: break;
    }
    return 0;
}

static bool is_leaf(bbi_index_op op) { return op == BBI_IX_CONST || op == BBI_IX_SIZE || op == BBI_IX_COUNTER; }

static bool commutes(bbi_index_op op) {
    return op == BBI_IX_ADD || op == BBI_IX_MUL || op == BBI_IX_MIN || op == BBI_IX_MAX || op == BBI_IX_EQ ||
           op == BBI_IX_AND;
}

static bool is_const(const bbi_code *code, int32_t n) { return code->index[n].op == BBI_IX_CONST; }

static int32_t intern_index(bbi_code *code, bbi_index_op op, int32_t a, int32_t b, int64_t value) {
    for (int32_t n = code->index_count; n-- > 0;) {
        const bbi_index *x = &code->index[n];
        if (x->op == op && x->a == a && x->b == b && x->value == value) return n;
    }
    if (code->index_count == code->index_capacity) {
        int32_t capacity = code->index_capacity ? 2 * code->index_capacity : 16;
        bbi_index *grown = bbi_realloc(code->index, (size_t)capacity * sizeof *grown);
        if (!grown) return (int32_t)(bbi_fail(BB_OUT_OF_MEMORY, "no memory for the indices of a code"), -1);
        code->index = grown;
        code->index_capacity = capacity;
    }
    code->index[code->index_count] = (bbi_index){.op = (uint8_t)op, .a = a, .b = b, .value = value};
    return code->index_count++;
}

static int32_t index_const(bbi_code *code, int64_t value) { return intern_index(code, BBI_IX_CONST, 0, 0, value); }

/* x op k for a constant k: the answer, or -1 where none of the identities holds. */
static int32_t fold_right_constant(bbi_code *code, bbi_index_op op, int32_t a, int64_t k) {
    switch (op) {
    case BBI_IX_ADD:
    case BBI_IX_SUB: return k == 0 ? a : -1;
    case BBI_IX_MUL: return k == 1 ? a : k == 0 ? index_const(code, 0) : -1;
    case BBI_IX_DIV: return k == 1 ? a : -1;
    case BBI_IX_MOD: return k == 1 ? index_const(code, 0) : -1;
    case BBI_IX_MAX: return k == 0 ? a : -1; /* all values are >= 0 */
    case BBI_IX_MIN: return k == 0 ? index_const(code, 0) : -1;
    case BBI_IX_GE: return k == 0 ? index_const(code, 1) : -1;
    case BBI_IX_LT: return k == 0 ? index_const(code, 0) : -1;
    case BBI_IX_AND: return k == 0 ? index_const(code, 0) : -1;
    default: return -1;
    }
}

static int32_t fold_same(bbi_code *code, bbi_index_op op, int32_t a) {
    switch (op) {
    case BBI_IX_SUB:
    case BBI_IX_LT: return index_const(code, 0);
    case BBI_IX_GE:
    case BBI_IX_EQ: return index_const(code, 1);
    case BBI_IX_MIN:
    case BBI_IX_MAX: return a;
    default: return -1;
    }
}

int32_t bbi_code_index(bbi_code *code, bbi_index_op op, int32_t a, int32_t b, int64_t value) {
    if (is_leaf(op)) return intern_index(code, op, 0, 0, value);
    if (a < 0 || b < 0) return -1;
    if (is_const(code, a) && is_const(code, b)) {
        return index_const(code, apply_index(op, code->index[a].value, code->index[b].value));
    }
    if (commutes(op) && (is_const(code, a) || (!is_const(code, b) && a > b))) {
        int32_t t = a;
        a = b;
        b = t;
    }
    if (a == b) {
        int32_t same = fold_same(code, op, a);
        if (same >= 0) return same;
    }
    if (is_const(code, b)) {
        int64_t k = code->index[b].value;
        int32_t folded = fold_right_constant(code, op, a, k);
        if (folded >= 0) return folded;
        const bbi_index x = code->index[a];
        if (op == BBI_IX_ADD && x.op == BBI_IX_ADD && is_const(code, x.b)) {
            return bbi_code_index(code, op, x.a, index_const(code, code->index[x.b].value + k), 0);
        }
        if (op == BBI_IX_MUL && x.op == BBI_IX_MUL && is_const(code, x.b)) {
            return bbi_code_index(code, op, x.a, index_const(code, code->index[x.b].value * k), 0);
        }
    }
    return intern_index(code, op, a, b, 0);
}

int64_t bbi_index_value(const bbi_code *code, int32_t index, const int64_t *size, const int64_t *counter) {
    const bbi_index *x = &code->index[index];
    switch (x->op) {
    case BBI_IX_CONST: return x->value;
    case BBI_IX_SIZE: return size[x->value];
    case BBI_IX_COUNTER: return counter[x->value];
    default:
        return apply_index((bbi_index_op)x->op, bbi_index_value(code, x->a, size, counter),
                           bbi_index_value(code, x->b, size, counter));
    }
}

/* ---- building ---- */
bb_status bbi_code_add(bbi_code *code, const bbi_instruction *instruction) {
    if (code->count == code->capacity) {
        int32_t capacity = code->capacity ? 2 * code->capacity : 32;
        bbi_instruction *grown = bbi_realloc(code->instruction, (size_t)capacity * sizeof *grown);
        if (!grown) return bbi_fail(BB_OUT_OF_MEMORY, "no memory for a code of %d steps", (int)code->count);
        code->instruction = grown;
        code->capacity = capacity;
    }
    code->instruction[code->count++] = *instruction;
    if (instruction->kind == BBI_STEP_SUM || instruction->kind == BBI_STEP_MIRROR) code->has_sum = true;
    if (instruction->kind == BBI_STEP_OUT) code->has_out = true;
    return BB_OK;
}

void bbi_code_free(bbi_code *code) {
    bbi_free(code->instruction);
    bbi_free(code->index);
    memset(code, 0, sizeof *code);
}

/* ---- the verifier ---- */
enum { UNDEFINED = 0, ASSIGNED = 1, ACCUMULATOR = 2 };
typedef struct bbi_checker {
    const bbi_code *code;
    uint8_t *state;      /* of a value: UNDEFINED, ASSIGNED or ACCUMULATOR */
    int32_t *value_loop; /* of a value: the instruction of the loop that it lives in, -1 at the top */
    bool *open;          /* of a counter */
    int32_t *outer;      /* of an instruction that is a loop: the loop around it */
    int32_t loop;        /* innermost open loop, -1 at the top */
    int32_t at;
} bbi_checker;

static bb_status wrong(const bbi_checker *k, const char *what, int32_t number) {
    return bbi_fail(BB_INTERNAL, "code, step %d: %s %d", (int)k->at, what, (int)number);
}

static bb_status check_index(const bbi_checker *k, int32_t n) {
    const bbi_code *code = k->code;
    if (n < 0 || n >= code->index_count) return wrong(k, "no such index expression", n);
    const bbi_index *x = &code->index[n];
    if (x->op == BBI_IX_CONST) return BB_OK;
    if (x->op == BBI_IX_SIZE) {
        return x->value >= 0 && x->value < BBI_SIZE_SLOTS ? BB_OK : wrong(k, "size slot out of range in index", n);
    }
    if (x->op == BBI_IX_COUNTER) {
        bool inside = x->value >= 0 && x->value < code->counter_count && k->open[x->value];
        return inside ? BB_OK : wrong(k, "index uses a counter outside of its loop: counter", (int32_t)x->value);
    }
    if (x->op > BBI_IX_AND || x->a >= n || x->b >= n) return wrong(k, "malformed index expression", n);
    if ((x->op == BBI_IX_DIV || x->op == BBI_IX_MOD) && code->index[x->b].op != BBI_IX_SIZE &&
        (code->index[x->b].op != BBI_IX_CONST || code->index[x->b].value <= 0)) {
        return wrong(k, "divisor is neither a size nor a positive constant in index", n);
    }
    BBI_FORWARD(check_index(k, x->a));
    return check_index(k, x->b);
}

/* Is the loop (-1: the top) open at this point? */
static bool is_around(const bbi_checker *k, int32_t loop) {
    for (int32_t l = k->loop; l >= 0; l = k->outer[l]) {
        if (l == loop) return true;
    }
    return loop < 0;
}

static bool is_live(const bbi_checker *k, int32_t value) {
    return k->state[value] != UNDEFINED && is_around(k, k->value_loop[value]);
}

static bb_status check_operands(const bbi_checker *k, const bbi_instruction *s, int narg_low, int narg_high) {
    if (s->narg < narg_low || s->narg > narg_high) return wrong(k, "wrong number of operands:", s->narg);
    for (int n = 0; n < s->narg; n++) {
        const bbi_operand *o = &s->arg[n];
        if (o->space > BBI_COLUMN) return wrong(k, "operand of an unknown kind", o->space);
        if (o->space == BBI_LITERAL) continue;
        if (o->space != BBI_VALUE) {
            BBI_FORWARD(check_index(k, o->number));
            continue;
        }
        if (o->number < 0 || o->number >= k->code->value_count) return wrong(k, "no such value", o->number);
        if (!is_live(k, o->number))
            return wrong(k, "value used before its definition or outside of its loop:", o->number);
    }
    return BB_OK;
}

static bb_status check_result(bbi_checker *k, const bbi_instruction *s) {
    int32_t v = s->result;
    if (v < 0 || v >= k->code->value_count) return wrong(k, "no such value", v);
    if (is_live(k, v)) return k->state[v] == ACCUMULATOR ? BB_OK : wrong(k, "value assigned twice:", v);
    if (k->state[v] != UNDEFINED) return wrong(k, "value of another loop assigned again:", v);
    k->state[v] = s->kind == BBI_STEP_SET ? ACCUMULATOR : ASSIGNED;
    k->value_loop[v] = k->loop;
    return BB_OK;
}

static bb_status check_loop(bbi_checker *k, const bbi_instruction *s) {
    BBI_FORWARD(check_index(k, s->index));
    if (s->counter < 0 || s->counter >= k->code->counter_count) return wrong(k, "no such counter", s->counter);
    for (int32_t n = 0; n < k->at; n++) {
        const bbi_instruction *other = &k->code->instruction[n];
        bool same = other->kind == BBI_STEP_LOOP && other->counter == s->counter;
        if (same) return wrong(k, "two loops with counter", s->counter);
    }
    k->open[s->counter] = true;
    k->outer[k->at] = k->loop;
    k->loop = k->at;
    return BB_OK;
}

static bool index_depends(const bbi_code *code, int32_t n, int32_t counter) {
    const bbi_index *x = &code->index[n];
    if (x->op == BBI_IX_COUNTER) return x->value == counter;
    if (x->op == BBI_IX_CONST || x->op == BBI_IX_SIZE) return false;
    return index_depends(code, x->a, counter) || index_depends(code, x->b, counter);
}

/* Interpreter and compiled code add to a component cast by cast. That leaves one order only where a pair adds
 * to it once: one step per component, whose index names every loop around it. */
static bb_status check_sum(const bbi_checker *k, const bbi_instruction *s) {
    const bbi_code *code = k->code;
    if (!code->has_sum) return wrong(k, "a sum in code that is marked to have none", 0);
    BBI_FORWARD(check_index(k, s->index));
    for (int32_t l = k->loop; l >= 0; l = k->outer[l]) {
        int32_t counter = code->instruction[l].counter;
        if (!index_depends(code, s->index, counter)) return wrong(k, "a sum of a loop without its counter", counter);
    }
    for (int32_t n = 0; n < k->at; n++) {
        const bbi_instruction *other = &code->instruction[n];
        bool same = other->kind == s->kind && other->index == s->index;
        if (same) return wrong(k, "two steps sum component", s->index);
    }
    return check_operands(k, s, 1, 2);
}

static bb_status check_step(bbi_checker *k, const bbi_instruction *s) {
    switch (s->kind) {
    case BBI_STEP_MAP: {
        const bbi_op_row *row = s->op < BBI_OP_COUNT ? bbi_op_info(s->op) : NULL;
        if (!row || row->kind != BBI_MAP) return wrong(k, "not an elementwise operation:", s->op);
        BBI_FORWARD(check_operands(k, s, row->arity, row->arity));
        return check_result(k, s);
    }
    case BBI_STEP_SET: BBI_FORWARD(check_operands(k, s, 1, 1)); return check_result(k, s);
    case BBI_STEP_CHOOSE:
        BBI_FORWARD(check_index(k, s->index));
        BBI_FORWARD(check_operands(k, s, 2, 2));
        return check_result(k, s);
    case BBI_STEP_LOOP: return check_loop(k, s);
    case BBI_STEP_END:
        if (k->loop < 0) return wrong(k, "end without a loop", 0);
        k->open[k->code->instruction[k->loop].counter] = false;
        k->loop = k->outer[k->loop];
        return BB_OK;
    case BBI_STEP_MIRROR:
        if (k->code->has_out) return wrong(k, "mirror sums and outputs stand in the same area: step", k->at);
        return check_sum(k, s);
    case BBI_STEP_SUM: return check_sum(k, s);
    case BBI_STEP_OUT:
        if (!k->code->has_out) return wrong(k, "an output in code that is marked to have none", 0);
        BBI_FORWARD(check_index(k, s->index));
        return check_operands(k, s, 1, 1);
    default: return wrong(k, "unknown kind of step", s->kind);
    }
}

bb_status bbi_code_check(const bbi_code *code) {
    bbi_checker k = {.code = code, .loop = -1};
    size_t values = (size_t)code->value_count + 1, counters = (size_t)code->counter_count + 1;
    k.state = bbi_calloc(values, sizeof *k.state);
    k.value_loop = bbi_calloc(values, sizeof *k.value_loop);
    k.open = bbi_calloc(counters, sizeof *k.open);
    k.outer = bbi_calloc((size_t)code->count + 1, sizeof *k.outer);
    bb_status status = BB_OK;
    if (!k.state || !k.value_loop || !k.open || !k.outer) {
        status = bbi_fail(BB_OUT_OF_MEMORY, "no memory to check a code of %d steps", (int)code->count);
    }
    for (k.at = 0; status == BB_OK && k.at < code->count; k.at++) {
        status = check_step(&k, &code->instruction[k.at]);
    }
    if (status == BB_OK && k.loop >= 0) status = wrong(&k, "a loop without its end, opened by step", k.loop);
    bbi_free(k.state);
    bbi_free(k.value_loop);
    bbi_free(k.open);
    bbi_free(k.outer);
    return status;
}
