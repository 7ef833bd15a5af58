/*
 * calls.h
 *		The pool of calls under way, and the one path on which a request is built and sent.
 */
#ifndef CHATCRYPT_CALLS_H
#define CHATCRYPT_CALLS_H

#include "worker/dispatch.h"

/* line is NULL for a step of the session.  NULL where all calls are in use. */
extern KmsCall *chatcrypt_call_new(const KmsCallKind *kind, KmsEndpoint *endpoint, KmsLine *line);

/*
 * Builds the request and sends it.  kind->done() is called when the reply is there, and never
 * before this returns.  False, after kind->refused(), where no request could be sent.  Either
 * of the two ends the call.
 */
extern bool chatcrypt_call_send(KmsCall *call, int64 timeout_ms);

/* No longer under way, though its flights may still have to be settled. */
extern void chatcrypt_call_over(KmsCall *call);
extern void chatcrypt_call_free(KmsCall *call);

/* Puts the flights back into their queues, to go again at once. */
extern void chatcrypt_call_requeue(KmsCall *call, int64 now_ms);

/* For new settings: whatever was asked is asked again. */
extern void chatcrypt_calls_cancel(void);

#endif
