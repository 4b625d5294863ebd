/* emit_symmetric.c: the steps that only the pair code of a symmetric stage has. A mirror sum belongs to a cast: one
 * vector in the out area, which is loaded once for all vectors of the group, added to vector by vector, and stored.
 * The order is that of the lanes whatever the size of the group, so that groups change no bits. */
#include "emit.h"

static void print_mirror_place(const bbi_emitter *e, const bbi_instruction *s, int u) {
    bbi_text_add(e->text, "out + (");
    bbi_emit_index(e, s->index, u);
    bbi_text_add(e->text, " * out_stride + q");
    if (u && e->counter < 0) bbi_text_add(e->text, " + %d", u);
    bbi_text_add(e->text, ") * BB_W");
}

void bbi_emit_mirror(const bbi_emitter *e, const bbi_instruction *s, int u) {
    bbi_text_add(e->text, "%*sV m%d_%d = v_loadu(", 4 * e->indent, "", (int)s->index, u);
    print_mirror_place(e, s, u);
    bbi_text_add(e->text, ");\n");
    for (int v = 0; v < e->vectors; v++) {
        bbi_text_add(e->text, "%*sm%d_%d = %s", 4 * e->indent, "", (int)s->index, u, s->narg == 2 ? "op_fma(" : "");
        bbi_emit_operand(e, &s->arg[0], v, u);
        if (s->narg == 2) {
            bbi_text_add(e->text, ", ");
            bbi_emit_operand(e, &s->arg[1], v, u);
        }
        bbi_text_add(e->text, s->narg == 2 ? ", m%d_%d);\n" : " + m%d_%d;\n", (int)s->index, u);
    }
    bbi_text_add(e->text, "%*sv_storeu(", 4 * e->indent, "");
    print_mirror_place(e, s, u);
    bbi_text_add(e->text, ", m%d_%d);\n", (int)s->index, u);
}
