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
 * before this function returns.  Where no request could be sent, kind->refused() is called and
 * the result is false.  Either of the two functions ends the call.
 */
extern bool chatcrypt_call_send(KmsCall *call, int64 timeout_ms);

/* Marks the call as no longer under way, though its flights may still have to be settled. */
extern void chatcrypt_call_over(KmsCall *call);
extern void chatcrypt_call_free(KmsCall *call);

/* Puts the flights of the call back into their queues, to be sent again at once. */
extern void chatcrypt_call_requeue(KmsCall *call, int64 now_ms);

/* Cancels all calls because of new settings; their flights are sent again. */
extern void chatcrypt_calls_cancel(void);

#endif
