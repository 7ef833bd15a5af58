/*
 * heartbeat.h
 *		Whether the KMS worker moves.  Its loop stamps shared memory with each turn, and
 *		turns once a second even when there is nothing to do.
 *
 * A worker that has been silent for a while is taken to hang only after its latch was
 * set and it stayed silent for another second: then a machine that stood still as a
 * whole, and not the worker alone, has had its chance.  A worker that waits for a slow
 * KMS goes on turning, and so never hangs.
 *
 * Without locks: two times that are read and written as a whole.
 */
#ifndef CHATCRYPT_HEARTBEAT_H
#define CHATCRYPT_HEARTBEAT_H

/* The worker's promise: no longer than this between two turns. */
#define CHATCRYPT_BEAT_MS	1000

/* For the views: a worker that has been silent for so long hangs, whether it is asked or not. */
#define CHATCRYPT_SILENCE_MS	5000

extern void chatcrypt_heartbeat_request(void);
extern void chatcrypt_heartbeat_startup(void);

/* The worker. */
extern void chatcrypt_heartbeat_beat(void);

/* Sessions.  Called before the worker's latch is set. */
extern void chatcrypt_heartbeat_expect(void);
extern int64 chatcrypt_heartbeat_silent_ms(void);

/* True while it is of no use to ask the worker; false again as soon as it moves. */
extern bool chatcrypt_heartbeat_is_missing(void);

#endif
