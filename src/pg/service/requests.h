/*
 * requests.h
 *		How a backend asks the KMS worker for something and waits for the answer.
 *
 * A fixed array of slots (slots.h) carries requests; a backend fills
 * slots, sets the worker's latch and sleeps on each slot's condition variable
 * under a wait event of its own.  Cancel, statement_timeout, termination and an
 * ERROR at any point release the slots (a slot that the worker is working on is
 * abandoned, and freed by the worker).  Requests to unwrap one and the same key
 * share a slot: one flight however many ask.
 *
 * Lock contract: one LWLock guards the slot directory, held for a few memory
 * accesses; nothing is waited for under it.
 */
#ifndef CHATCRYPT_REQUESTS_H
#define CHATCRYPT_REQUESTS_H

#include "kms/provider.h"
#include "pg/base/keytypes.h"

/* One thing asked of the KMS.  Memory of the caller's. */
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

/*
 * Runs all jobs, in as many flights as fit, and returns when each has an outcome.
 * Raises only for cancel, termination, or arguments that no KMS could take, and
 * then every job's dek is wiped; what a KMS answers, or that none did in time, is
 * in the jobs.  What CC_KMS_UNWRAP brings is checked against id.kcv, unless the job is
 * unpinned.
 */
extern void chatcrypt_kms_run(cc_kms_op op, ChatcryptKmsJob *jobs, int njobs);

/* Asks for a refresh of a key that is still good, and does not wait. */
extern void chatcrypt_kms_refresh(const ChatcryptKmsJob *job);

/*
 * Postmaster start-up.  What carries keys goes into chatcrypt_guarded_shared(), made
 * once and wiped where it exists already (a crash restart), the rest into shared memory.
 */
extern void chatcrypt_requests_request(void);
extern void chatcrypt_requests_startup(void);

#endif
