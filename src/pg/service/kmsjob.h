/*
 * kmsjob.h
 *		A job: one operation on one data key that a session requests of the KMS, and its
 *		result.
 */
#ifndef CHATCRYPT_KMSJOB_H
#define CHATCRYPT_KMSJOB_H

#include "kms/provider.h"
#include "pg/base/keytypes.h"

/* The caller owns the memory that a job points to. */
typedef struct ChatcryptKmsJob
{
	ChatcryptKeyId id;			/* an unwrapped key must match id.kcv, and is cached under id */
	const char *kms_key;
	uint64		epoch;			/* in, for unwrap: of the key cache before reading the row; 0: now */
	uint8		context[CC_CONTEXT_LEN];
	const uint8 *wrapped;		/* for unwrap and rewrap */
	uint16		wrapped_len;
	uint8		dek[CC_DEK_LEN];	/* in for wrap, out for unwrap and generate; the caller wipes */
	uint8	   *wrapped_out;	/* for wrap, generate, rewrap: room for CC_KMS_WRAPPED_MAX bytes */
	uint16		wrapped_out_len;
	cc_kms_outcome outcome;
	bool		fresh;			/* in: ask the KMS, even if an earlier failure is remembered */
	bool		uncached;		/* in, for unwrap: leave the key cache as it is */
	bool		check_only;		/* in, for unwrap: the same, and do not return the key */
	bool		unpinned;		/* in, for unwrap: no kcv is known: neither check nor cache it */
	bool		wrong_key;		/* the KMS returned a key that does not match id.kcv */
	bool		breaker_open;	/* refused at once, without asking the KMS */
	bool		worker_silent;	/* the same, because the worker hangs */
	int			held_s;			/* seconds until the KMS may be asked again; 0 for no hold */
	bool		another_key;	/* not set by the KMS: see pg/keys/samekmskey.h */
	uint64		wrapped_by;		/* out, if it wraps: changes when the URI may name another key */
	char		error[CC_KMS_ERROR_MAX];
} ChatcryptKmsJob;

#endif
