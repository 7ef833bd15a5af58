/*
 * work.h
 *		What procedures have in common that do much, in many transactions: rotate_due,
 *		rewrap, move_kms_key.
 *
 * They are written in C: nobody's search_path gets between them and their
 * statements, and a caller who is inside a transaction block is told so before
 * anything is done.  Between two commits each does one small step; a step that
 * fails is a WARNING, is counted, and does not stop the others.
 *
 * A WARNING is one line of the server log, with its detail.  A worker without a client
 * collects what fails instead, and logs a summary.
 */
#ifndef CHATCRYPT_WORK_H
#define CHATCRYPT_WORK_H

#include "fmgr.h"
#include "nodes/pg_list.h"

#include "pg/service/requests.h"

/* For a procedure that will commit.  Raises where its caller is in a transaction block. */
extern void chatcrypt_work_begin(FunctionCallInfo fcinfo, const char *name);
extern void chatcrypt_work_commit(void);

/* The procedure's result: the values of its INOUT arguments, all of type bigint, if it has any. */
extern Datum chatcrypt_work_end(FunctionCallInfo fcinfo, const int64 *counts, int ncounts);

/*
 * Runs one step in a subtransaction.  False where it raised, and then a WARNING
 * says what.  A cancel, and whatever would befall every other step too, are not
 * held up.
 */
typedef void (*ChatcryptStep) (void *arg);
extern bool chatcrypt_work_try(ChatcryptStep step, void *arg);

/*
 * From now on, and anew, a step that fails is no WARNING: the words of the first one are
 * kept.  Empty while none has failed.
 */
#define CHATCRYPT_WORDS_MAX	512		/* with the terminator */
extern void chatcrypt_work_collect(void);
extern const char *chatcrypt_work_first_failure(void);

/*
 * Key services that are out of order, and keys that were refused.  In one piece of work
 * each key service is waited for once, and not once for every key that it should have
 * worked on; and keys that fail for the same reason are told of together.
 */
typedef struct ChatcryptOutages
{
	MemoryContext context;		/* where they are remembered */
	List	   *kms_keys;
	List	   *failures;
} ChatcryptOutages;

/* Did the job fail for a reason of its own, or would every other with this key? */
extern bool chatcrypt_work_is_outage(const ChatcryptKmsJob *job);

/* A job that failed with a key service that is out of order; NULL where none was noted. */
extern const ChatcryptKmsJob *chatcrypt_work_outage_of(const ChatcryptOutages *outages,
													   const char *kms_key);

extern bool chatcrypt_work_is_out(const ChatcryptOutages *outages, const char *kms_key);

/* A job that failed, perhaps because its whole key service is out of order. */
extern void chatcrypt_work_note_failure(ChatcryptOutages *outages, cc_kms_op op,
										const ChatcryptKmsJob *job);

/* At the end: one WARNING for each KMS key and reason. */
extern void chatcrypt_work_report_failures(ChatcryptOutages *outages);

/* A job that says of the whole key that it cannot be used: a WARNING, and it is out. */
extern void chatcrypt_work_note_outage(ChatcryptOutages *outages, const ChatcryptKmsJob *job);

/* An argument that says how many rows a batch has; raises for NULL and for less than one. */
extern int	chatcrypt_work_batch_argument(FunctionCallInfo fcinfo, int n);

/* An argument such as max_keys: the largest number there is for NULL; raises for less than 0. */
extern int64 chatcrypt_work_limit_argument(FunctionCallInfo fcinfo, int n, const char *name);

#endif
