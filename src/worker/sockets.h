/*
 * sockets.h
 *		The worker's one place to sleep: on its latch, on the postmaster, and on the sockets
 *		of the transport.
 */
#ifndef CHATCRYPT_SOCKETS_H
#define CHATCRYPT_SOCKETS_H

/*
 * Waits for these events of the socket from now on; 0 for none any more.  Touches plain memory
 * only, and so may be called by libcurl.  False where memory fails.
 */
extern bool chatcrypt_sockets_watch(int socket, uint32 events);

/* Waits for no socket any more. */
extern void chatcrypt_sockets_forget(void);

/*
 * Sleeps until the latch is set, a socket is ready, or timeout_ms have passed; ready is called
 * for each socket that is.
 */
extern void chatcrypt_sockets_wait(int64 timeout_ms, void (*ready) (int socket, uint32 events));

#endif
