/*
 * outcomes.h
 *		How calls ended: what that means to the breaker and to holds, and what the log and the
 *		status views tell of it.
 */
#ifndef CHATCRYPT_OUTCOMES_H
#define CHATCRYPT_OUTCOMES_H

#include "worker/dispatch.h"

/* For the breaker, the log and the views.  reply is NULL where the provider has no network. */
extern void chatcrypt_outcome_note(KmsCall *call, cc_kms_outcome outcome, const char *error,
								   const cc_http_reply *reply);

/* A hold begins, or the server has answered a call that was sent after it began. */
extern void chatcrypt_outcome_heed(const KmsCall *call, cc_kms_outcome outcome,
								   const cc_http_reply *reply);

#endif
