/*
 * outcomes.h
 *		How calls ended: what that means to the breaker and to holds, and what the log and the
 *		status views show of it.
 */
#ifndef CHATCRYPT_OUTCOMES_H
#define CHATCRYPT_OUTCOMES_H

#include "worker/dispatch.h"

/* Notes an outcome for the breaker, the log and the views.  reply is NULL without a network. */
extern void chatcrypt_outcome_note(KmsCall *call, cc_kms_outcome outcome, const char *error,
								   const cc_http_reply *reply);

/* Begins a hold, or ends it where the server has answered a call that was sent after it began. */
extern void chatcrypt_outcome_heed(const KmsCall *call, cc_kms_outcome outcome,
								   const cc_http_reply *reply);

#endif
