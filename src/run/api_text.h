/* api_text.h: texts that the public interface gives out. */
#ifndef BBI_API_TEXT_H
#define BBI_API_TEXT_H

#include "base.h"

void bbi_doctor_text(bbi_text *text); /* doctor.c */
/* show.c: hands the text on where all is well, else frees it. */
bb_status bbi_give_text(bb_status status, bbi_text *text, char **out);

#endif
