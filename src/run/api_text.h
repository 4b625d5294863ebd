/* api_text.h: texts that the public interface gives out. */
#ifndef BBI_API_TEXT_H
#define BBI_API_TEXT_H

#include "base.h"

void bbi_doctor_text(bbi_text *text); /* doctor.c */

#endif
