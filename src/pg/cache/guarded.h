/*
 * guarded.h
 *		Memory for keys: separate mappings that are left out of core dumps.
 *
 * The advice to leave memory out of core dumps is lost for PostgreSQL's own shared segment if
 * that uses huge pages.  Secrets therefore get anonymous mappings of their own, which are
 * page aligned and stay mapped until the process ends.
 */
#ifndef CHATCRYPT_GUARDED_H
#define CHATCRYPT_GUARDED_H

/*
 * Maps memory that all processes share.  The postmaster calls it before it forks, so that
 * the mapping has the same address in every child.
 */
extern void *chatcrypt_guarded_shared(Size size);

/*
 * Maps memory of this process alone; a forked child sees zeroes there.  NULL if there is not
 * enough memory.
 */
extern void *chatcrypt_guarded_private(Size size);

/*
 * Milliseconds of a clock that all processes share and that never goes back.  It has a
 * resolution of about 4 ms and takes 5 ns to read.
 */
extern int64 chatcrypt_guarded_now_ms(void);

#endif
