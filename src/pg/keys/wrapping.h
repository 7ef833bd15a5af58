/*
 * wrapping.h
 *		Unwraps, re-wraps and checks data keys page by page: what rewrap(), move_kms_key() and
 *		verify_keys() have in common.
 *
 * A page of keys is read, sent through the KMS step by step with nothing locked, and written.
 * A row keeps its old wrapping until the new one has been unwrapped and compared with the row's
 * key check value.  One statement then replaces the old one: a crash between any two steps
 * leaves the old wrapping or the new one, and either of them opens.
 */
#ifndef CHATCRYPT_WRAPPING_H
#define CHATCRYPT_WRAPPING_H

#include "pg/procedures/work.h"
#include "pg/store/owner.h"

/* Two full calls of the provider that takes the fewest. */
#define CHATCRYPT_WRAPPING_PAGE	480

/* The row that a job is for, kept beside the job. */
typedef struct ChatcryptWrapped
{
	int64		dek_id;
	bytea	   *old;			/* encrypted_dek as it was read */
	char	   *kms_key;		/* the KMS key that wrapped it */
	char	   *detail;			/* for the history */
} ChatcryptWrapped;

/* A job that failed, without its key. */
typedef struct ChatcryptFailure
{
	cc_kms_op	op;
	ChatcryptKmsJob job;
	int64		dek_id;
} ChatcryptFailure;

typedef struct ChatcryptPage
{
	ChatcryptKmsJob *jobs;		/* in guarded memory of this process: one page at a time */
	ChatcryptWrapped *rows;
	int			count;
	ChatcryptFailure *failures; /* of this page; they point into it */
	int			nfailures;
} ChatcryptPage;

/* Makes an empty page in the current memory context. */
extern void chatcrypt_wrapping_begin(ChatcryptPage *page);

/*
 * Reads up to limit keys that are not destroyed and whose dek_id is above after, in the order
 * of dek_id.  A NULL among the fields of which matches any key.  Returns the last dek_id, or
 * after where there are no more keys.
 */
typedef struct ChatcryptWhichKeys
{
	ChatcryptArg tenant;
	ChatcryptArg chat_id;
	ChatcryptArg kms_key;
} ChatcryptWhichKeys;

extern int64 chatcrypt_wrapping_read(ChatcryptPage *page, const ChatcryptWhichKeys *which,
									 int64 after, int64 limit);

/* The number of such keys. */
extern int64 chatcrypt_wrapping_count_keys(const ChatcryptWhichKeys *which);

/* A random dek_id between the first and the last of such keys. */
extern int64 chatcrypt_wrapping_some_dek_id(const ChatcryptWhichKeys *which);

/* Leaves out row i; the last one takes its place. */
extern void chatcrypt_wrapping_leave_out(ChatcryptPage *page, int i);

/* Sets up the jobs to unwrap or re-wrap the wrappings that were read. */
extern void chatcrypt_wrapping_point_to_old(ChatcryptPage *page);

/* Runs one operation of the KMS on all keys that are left; those that fail go to the failures. */
extern void chatcrypt_wrapping_run(ChatcryptPage *page, cc_kms_op op);

/*
 * The steps, each on the keys that the step before left.  The first unwraps what was read; the
 * keys stay in the page until they are wrapped or an error is raised.  The others make a new
 * wrapping: wrap by another KMS key, rewrap by the same.
 */
extern void chatcrypt_wrapping_unwrap(ChatcryptPage *page);
extern void chatcrypt_wrapping_wrap(ChatcryptPage *page, const char *kms_key);
extern void chatcrypt_wrapping_rewrap(ChatcryptPage *page);

/*
 * Unwraps the new wrapping, or the one that was read where there is no new one, and compares
 * the key with its check value.  No key leaves the worker.
 */
extern void chatcrypt_wrapping_check(ChatcryptPage *page);

/*
 * A step of work: writes the checked wrappings, and sets page->count to the number of rows
 * written.
 */
extern void chatcrypt_wrapping_write(ChatcryptPage *page, const char *event);

/*
 * Wraps and unwraps a throw-away key.  *version is the version of the KMS key that wraps now, 0
 * where the KMS does not say.  False where that failed, which is noted in outages.
 */
extern bool chatcrypt_wrapping_try_kms_key(const char *kms_key, ChatcryptOutages *outages,
										   uint32 *version);

/* The version that wrapped the row's key; 0 where that cannot be told. */
extern uint32 chatcrypt_wrapping_version(const char *kms_key, const bytea *wrapped);

#endif
