/*
 * outcome.h
 *		How a call to a key service ended, for one item or for a whole batch.
 *		What is done then, and when it is tried again, is in retrypolicy.h.
 */
#ifndef CC_OUTCOME_H
#define CC_OUTCOME_H

#include <stdbool.h>

typedef enum cc_kms_outcome
{
	CC_KMS_OK = 0,
	CC_KMS_TRANSIENT,			/* no answer, reset, 412, 429, 5xx: try again */
	CC_KMS_TIMEOUT,				/* no answer in time: try again */
	CC_KMS_SEALED,				/* the server is up, but sealed or standing by: opens the breaker */
	CC_KMS_BAD_REPLY,			/* a reply that cannot be used: try again */
	CC_KMS_DENIED,				/* 403 after a fresh login, or for the login itself: permanent */
	CC_KMS_REJECTED,			/* 400: the version is too old, or another refusal: permanent */
	CC_KMS_NOT_OPENED,			/* the KMS key does not open it: wrong key or context, or damage */
	CC_KMS_NO_KEY,				/* 404: no such key, mount or file: an error of configuration */
	CC_KMS_CONFIG,				/* settings or files that cannot be used; the error says which */
	CC_KMS_LOGIN_AGAIN,			/* batch and key only: send it again, after an exchange if due */
	CC_KMS_SPLIT				/* batch only: 413, send it in halves */
} cc_kms_outcome;

#define CC_KMS_OUTCOMES	(CC_KMS_SPLIT + 1)

/* True for outcomes that are tried again, and after which cached keys may still be used. */
extern bool cc_kms_outcome_is_transient(cc_kms_outcome outcome);

/* True where the KMS refuses one item for its own contents, and not the use of the key. */
extern bool cc_kms_outcome_is_of_item(cc_kms_outcome outcome);
extern const char *cc_kms_outcome_text(cc_kms_outcome outcome);

/* One or two words, for counters. */
extern const char *cc_kms_outcome_name(cc_kms_outcome outcome);

#endif
