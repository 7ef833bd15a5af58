/*
 * sockets.h
 *		The worker's one place to sleep: on its latch, on the postmaster, and on the sockets
 *		of the transport.
 */
#ifndef CHATCRYPT_SOCKETS_H
#define CHATCRYPT_SOCKETS_H

/*
 * From now on waits for these events of the socket; with 0, no longer for any.  Touches plain
 * memory only, and so libcurl may call it.  Returns false where memory runs out.
 */
extern bool chatcrypt_sockets_watch(int socket, uint32 events);

/* No longer waits for any socket. */
extern void chatcrypt_sockets_forget(void);

/*
 * Sleeps until the latch is set, a socket is ready, or timeout_ms have passed; ready() is called
 * for each socket that is ready.
 */
extern void chatcrypt_sockets_wait(int64 timeout_ms, void (*ready) (int socket, uint32 events));

#endif
