/*
 * guarded.h
 *		Memory for keys: mappings of our own that no core dump takes.
 *
 * Advice on PostgreSQL's own shared segment is lost under huge pages, so secrets
 * get anonymous mappings, page aligned and unmapped only by the end of the process.
 */
#ifndef CHATCRYPT_GUARDED_H
#define CHATCRYPT_GUARDED_H

/* Made before any child: the same address, and the same bytes, in all of them. */
extern void *chatcrypt_guarded_shared(Size size);

/* This process's own, and zeroes in a forked child.  NULL where there is no memory. */
extern void *chatcrypt_guarded_private(Size size);

/*
 * Milliseconds of a clock that all processes share and that never goes back; 4 ms coarse,
 * 5 ns to read.
 */
extern int64 chatcrypt_guarded_now_ms(void);

#endif
