/*
 * kmsjob.h
 *		One thing that a session asks of the KMS, and what came of it.
 */
#ifndef CHATCRYPT_KMSJOB_H
#define CHATCRYPT_KMSJOB_H

#include "kms/provider.h"
#include "pg/base/keytypes.h"

/* The memory that it points to is the caller's. */
typedef struct ChatcryptKmsJob
{
	ChatcryptKeyId id;			/* the worker checks the kcv of what it unwraps, and caches it under this */
	const char *kms_key;
	uint64		epoch;			/* in, for unwrap: the key cache's before the row was read; 0 for "now" */
	uint8		context[CC_CONTEXT_LEN];
	const uint8 *wrapped;		/* for unwrap and rewrap */
	uint16		wrapped_len;
	uint8		dek[CC_DEK_LEN];	/* in for wrap, out for unwrap and generate; the caller wipes */
	uint8	   *wrapped_out;	/* for wrap, generate, rewrap: room for CC_KMS_WRAPPED_MAX bytes */
	uint16		wrapped_out_len;
	cc_kms_outcome outcome;
	bool		fresh;			/* in: ask the KMS, whatever is remembered of earlier failures */
	bool		uncached;		/* in, for unwrap: leave the key cache as it is */
	bool		check_only;		/* in, for unwrap: the same, and keep the key; only the outcome is wanted */
	bool		unpinned;		/* in, for unwrap: no row pins this key, so it is neither checked nor cached */
	bool		wrong_key;		/* the KMS answered with a key whose kcv is another */
	bool		breaker_open;	/* refused at once, without asking */
	bool		worker_silent;	/* the same, because the worker does not move */
	int			held_s;			/* the KMS wants no request, and is asked again after so many seconds */
	bool		another_key;	/* not from the KMS: see pg/keys/samekey.h */
	uint64		wrapped_by;		/* out, for what wraps: moves when the key behind the URI may be another one */
	char		error[CC_KMS_ERROR_MAX];
} ChatcryptKmsJob;

#endif
