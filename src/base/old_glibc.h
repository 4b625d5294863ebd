/* old_glibc.h: forced into every source where BENBEN_OLD_GLIBC is on (wheels), so that what is built against a new C
 * library runs on systems of glibc 2.28. It asks for the older versions of symbols that newer ones share their name with;
 * functions that the old library lacks, or has under other names, are in old_glibc.c. A symbol that a source begins to
 * use and that is too new shows in `make wheel`: auditwheel refuses the tag. */
#ifndef BBI_OLD_GLIBC_H
#define BBI_OLD_GLIBC_H

#if defined(__x86_64__)
#define BBI_FIRST_GLIBC "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define BBI_FIRST_GLIBC "GLIBC_2.17"
#else
#error "the first version of glibc for this machine is not known: build with -DBENBEN_OLD_GLIBC=OFF"
#endif
#define BBI_OLD(name) __asm__(".symver " #name "," #name "@" BBI_FIRST_GLIBC);

/* 2.29 and 2.35 gave these versions that do not set errno */
BBI_OLD(exp)
BBI_OLD(exp2)
BBI_OLD(log)
BBI_OLD(log2)
BBI_OLD(pow)
BBI_OLD(hypot)
/* 2.32 and 2.34 moved these into libc.so.6 */
BBI_OLD(dladdr)
BBI_OLD(dlclose)
BBI_OLD(dlerror)
BBI_OLD(dlopen)
BBI_OLD(dlsym)
BBI_OLD(pthread_create)
BBI_OLD(pthread_detach)
BBI_OLD(pthread_join)
BBI_OLD(pthread_once)
BBI_OLD(pthread_sigmask)

#endif
