/* os_windows.h: what the Windows files share among themselves. Paths are UTF-8 in the library, UTF-16 in the
 * system. */
#ifndef BBI_OS_WINDOWS_H
#define BBI_OS_WINDOWS_H

#include <wchar.h>

#include "base.h"

bool bbi_wide_path(const char *path, wchar_t wide[BBI_PATH_SIZE]);
bool bbi_narrow_path(const wchar_t *wide, char *path, size_t size);

#endif
