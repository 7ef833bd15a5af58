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
	CC_KMS_SEALED,				/* up, but sealed or standing by: opens the breaker */
	CC_KMS_BAD_REPLY,			/* an answer that is not what was asked for: tried again, never believed */
	CC_KMS_DENIED,				/* 403 after a fresh login, or the login itself: permanent */
	CC_KMS_REJECTED,			/* 400: version too old, or whatever else it says no to: permanent */
	CC_KMS_NOT_OPENED,			/* the key is there and does not open it: another key, another context, damage */
	CC_KMS_NO_KEY,				/* 404: no such key, mount or file: configuration */
	CC_KMS_CONFIG,				/* settings or files that cannot be used; the error says which */
	CC_KMS_LOGIN_AGAIN,			/* batch and key only: send it again, after an exchange if one is due now */
	CC_KMS_SPLIT				/* batch only: 413, send it in halves */
} cc_kms_outcome;

#define CC_KMS_OUTCOMES	(CC_KMS_SPLIT + 1)

/* True for those that may be tried again and that keep warm keys going. */
extern bool cc_kms_outcome_is_transient(cc_kms_outcome outcome);

/* True where the KMS refuses one item for what it is, and not the key's use. */
extern bool cc_kms_outcome_is_of_item(cc_kms_outcome outcome);
extern const char *cc_kms_outcome_text(cc_kms_outcome outcome);

/* One or two words, for counters. */
extern const char *cc_kms_outcome_name(cc_kms_outcome outcome);

#endif
