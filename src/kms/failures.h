/*
 * failures.h
 *		Remembers for a while what a KMS refused for good, so that a row that can
 *		never be unwrapped does not cost a call each time it is read.
 *		One table for the process; the caller brings the time.
 */
#ifndef CC_FAILURES_H
#define CC_FAILURES_H

#include "core/kdf.h"
#include "kms/provider.h"

#define CC_FAILURE_MS	30000
#define CC_FAILURES		1024	/* a power of two */

/* What was refused: a digest of all that the KMS was told. */
typedef struct cc_failure_key
{
	uint8_t		digest[CC_SHA256_LEN];
} cc_failure_key;

typedef struct cc_failure
{
	cc_kms_outcome outcome;
	char		error[CC_KMS_ERROR_MAX];
	int64_t		until_ms;		/* 0 for none */
} cc_failure;

extern void cc_failure_key_of(cc_failure_key *key, cc_kms_op op, const char *kms_key,
							  const cc_kms_item *item);
extern void cc_failures_put(const cc_failure_key *key, cc_kms_outcome outcome,
							const char *error, int64_t now_ms);

/* NULL where nothing is remembered; otherwise valid until the next put or clear. */
extern const cc_failure *cc_failures_get(const cc_failure_key *key, int64_t now_ms);
extern void cc_failures_clear(void);

#endif
