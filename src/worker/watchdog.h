/*
 * watchdog.h
 *		Ends a worker that is stuck in a region where that is safe; see watchdog.c.
 */
#ifndef CHATCRYPT_WATCHDOG_H
#define CHATCRYPT_WATCHDOG_H

/* To be called before anything can get stuck, and after the exit callbacks are registered. */
extern void chatcrypt_watchdog_start(void);

/*
 * These two enclose calls that may look up names or read files: code of libcurl and of
 * the providers, and none of PostgreSQL.  They do not nest.  leave() does not return
 * where the watchdog has already begun to end the worker.
 */
extern void chatcrypt_watchdog_enter(const char *what);
extern void chatcrypt_watchdog_leave(void);

#endif
