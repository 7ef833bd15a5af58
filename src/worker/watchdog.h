/*
 * watchdog.h
 *		Ends a worker that is stuck where it can be ended; see watchdog.c.
 */
#ifndef CHATCRYPT_WATCHDOG_H
#define CHATCRYPT_WATCHDOG_H

/* Before anything can get stuck, and after what shared memory needs is registered to be undone. */
extern void chatcrypt_watchdog_start(void);

/*
 * Around calls that may look up names or read files: code of libcurl and of the
 * providers, and nothing of PostgreSQL's.  They do not nest.  leave() does not return
 * where the watchdog has given the worker up.
 */
extern void chatcrypt_watchdog_enter(const char *what);
extern void chatcrypt_watchdog_leave(void);

#endif
