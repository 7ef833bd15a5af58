/*
 * heartbeat.h
 *		Shows whether the KMS worker hangs.  Each turn of its loop writes the time to
 *		shared memory, and there is a turn at least once a second, even if idle.
 *
 * A silent worker is considered to hang only if its latch was set and it stayed silent for
 * another second.  That second gives it time to catch up if the whole machine had stopped,
 * and not the worker alone.  The loop keeps turning while calls wait for a slow KMS, so a
 * slow KMS never makes the worker seem to hang.
 *
 * Lock contract: none is needed, because the two times are atomic.
 */
#ifndef CHATCRYPT_HEARTBEAT_H
#define CHATCRYPT_HEARTBEAT_H

/* The longest time between two turns of the worker's loop, in ms. */
#define CHATCRYPT_BEAT_MS	1000

/* For the views: a worker that is silent for so many ms hangs, even if no session asks it. */
#define CHATCRYPT_SILENCE_MS	5000

extern void chatcrypt_heartbeat_request(void);
extern void chatcrypt_heartbeat_startup(void);

/* For the worker. */
extern void chatcrypt_heartbeat_beat(void);

/* For sessions, before they set the worker's latch. */
extern void chatcrypt_heartbeat_expect(void);
extern int64 chatcrypt_heartbeat_silent_ms(void);

/* True while the worker hangs, so that asking it is useless; false as soon as it moves again. */
extern bool chatcrypt_heartbeat_is_missing(void);

#endif
