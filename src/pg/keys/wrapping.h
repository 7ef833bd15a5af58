/*
 * wrapping.h
 *		Data keys on their way to another wrapping: what rewrap, move_kms_key and
 *		verify_keys have in common.
 *
 * A page of keys is read, sent through the KMS step by step with nothing locked,
 * and written.  The row holds its old wrapping until the new one has been unwrapped
 * and compared with the row's key check value, and then both change places in one
 * statement: a crash between any two steps leaves the old wrapping or the new one,
 * and each of them opens.
 */
#ifndef CHATCRYPT_WRAPPING_H
#define CHATCRYPT_WRAPPING_H

#include "pg/procedures/work.h"
#include "pg/store/owner.h"

/* Two full calls of the provider that takes the fewest. */
#define CHATCRYPT_WRAPPING_PAGE	480

/* Beside each job: the row that it is about. */
typedef struct ChatcryptWrapped
{
	int64		dek_id;
	bytea	   *old;			/* encrypted_dek as it was read */
	char	   *kms_key;		/* which wraps that */
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
	ChatcryptFailure *failures; /* of this page; what they point to is the page's */
	int			nfailures;
} ChatcryptPage;

/* In the current memory context, and empty. */
extern void chatcrypt_wrapping_begin(ChatcryptPage *page);

/*
 * Reads up to limit keys that are not destroyed, in the order of dek_id and after
 * that one; NULL arguments are those that do not matter.  The last dek_id, or
 * after where there were no more.
 */
typedef struct ChatcryptWhichKeys
{
	ChatcryptArg tenant;
	ChatcryptArg chat_id;
	ChatcryptArg kms_key;
} ChatcryptWhichKeys;

extern int64 chatcrypt_wrapping_read(ChatcryptPage *page, const ChatcryptWhichKeys *which,
									 int64 after, int64 limit);

/* How many there are. */
extern int64 chatcrypt_wrapping_count_keys(const ChatcryptWhichKeys *which);

/* Any dek_id between the first and the last of them. */
extern int64 chatcrypt_wrapping_some_dek_id(const ChatcryptWhichKeys *which);

/* Leaves out row i; the last one takes its place. */
extern void chatcrypt_wrapping_leave_out(ChatcryptPage *page, int i);

/* Has the jobs unwrap, or re-wrap, what the rows have. */
extern void chatcrypt_wrapping_point_to_old(ChatcryptPage *page);

/* One operation of the KMS on all that is left; what fails goes to the failures. */
extern void chatcrypt_wrapping_run(ChatcryptPage *page, cc_kms_op op);

/*
 * The steps, each on what the one before left.  unwrap: as the row has it; the keys
 * stay in the page until they are wrapped, or something raises.  rewrap and wrap:
 * the new wrapping, by the same KMS key and by another.
 */
extern void chatcrypt_wrapping_unwrap(ChatcryptPage *page);
extern void chatcrypt_wrapping_wrap(ChatcryptPage *page, const char *kms_key);
extern void chatcrypt_wrapping_rewrap(ChatcryptPage *page);

/* Unwraps what a step made, or else what the rows have, and compares; no key leaves the worker. */
extern void chatcrypt_wrapping_check(ChatcryptPage *page);

/* A step of work: writes what was checked.  Says in page->count how many rows took it. */
extern void chatcrypt_wrapping_write(ChatcryptPage *page, const char *event);

/*
 * Wraps and unwraps a throw-away key: the version of the KMS's key that wraps now,
 * 0 where the KMS does not say.  False where it failed, and the outages say so.
 */
extern bool chatcrypt_wrapping_try_kms_key(const char *kms_key, ChatcryptOutages *outages,
										   uint32 *version);

/* The version that wrapped the row's key; 0 where that cannot be told. */
extern uint32 chatcrypt_wrapping_version(const char *kms_key, const bytea *wrapped);

#endif
