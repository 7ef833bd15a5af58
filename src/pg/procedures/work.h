/*
 * work.h
 *		What is common to procedures that do long work in many transactions, such as
 *		rotate_due, rewrap and move_kms_key.
 *
 * They are written in C, so that no caller's search_path affects their statements, and so
 * that a caller inside a transaction block gets an error before anything is done.  Between
 * two commits each does one small step.  A step that fails gives a WARNING, is counted, and
 * does not stop the others.
 *
 * A WARNING takes one line of the server log, including its detail.  A worker without a
 * client collects the failures instead, and logs a summary.
 */
#ifndef CHATCRYPT_WORK_H
#define CHATCRYPT_WORK_H

#include "fmgr.h"
#include "nodes/pg_list.h"

#include "pg/service/requests.h"

/* For a procedure that will commit.  Raises if its caller is in a transaction block. */
extern void chatcrypt_work_begin(FunctionCallInfo fcinfo, const char *name);
extern void chatcrypt_work_commit(void);

/* Ends the procedure with the values of its INOUT arguments, all of type bigint, if any. */
extern Datum chatcrypt_work_end(FunctionCallInfo fcinfo, const int64 *counts, int ncounts);

/*
 * Runs one step in a subtransaction.  If the step raises an error, it is reported as a WARNING
 * and the result is false.  A cancel, and errors that every other step would meet too, are
 * raised again.
 */
typedef void (*ChatcryptStep) (void *arg);
extern bool chatcrypt_work_try(ChatcryptStep step, void *arg);

/*
 * From this call on, a step that fails gives no WARNING; only the text of the first failure is
 * kept.  Each call forgets the failure before.  The text is empty while no step has failed.
 */
#define CHATCRYPT_WORDS_MAX	512		/* with the terminator */
extern void chatcrypt_work_collect(void);
extern const char *chatcrypt_work_first_failure(void);

/*
 * KMS keys that are out of order, and data keys that failed.  One run of a procedure waits
 * only once for a key service that does not answer, and not once for each of its data keys;
 * and data keys that fail for the same reason are reported together.
 */
typedef struct ChatcryptOutages
{
	MemoryContext context;		/* where they are remembered */
	List	   *kms_keys;
	List	   *failures;
} ChatcryptOutages;

/* Would every other job with this KMS key fail too?  False if the reason is this job's own. */
extern bool chatcrypt_work_is_outage(const ChatcryptKmsJob *job);

/* The noted job whose failure showed that this KMS key is out of order; NULL if there is none. */
extern const ChatcryptKmsJob *chatcrypt_work_outage_of(const ChatcryptOutages *outages,
													   const char *kms_key);

extern bool chatcrypt_work_is_out(const ChatcryptOutages *outages, const char *kms_key);

/* Notes a job that failed, and its KMS key as out of order if chatcrypt_work_is_outage(). */
extern void chatcrypt_work_note_failure(ChatcryptOutages *outages, cc_kms_op op,
										const ChatcryptKmsJob *job);

/* To be called at the end: gives one WARNING for each KMS key and reason. */
extern void chatcrypt_work_report_failures(ChatcryptOutages *outages);

/* For a job that tried the KMS key itself: gives a WARNING and notes the key as out of order. */
extern void chatcrypt_work_note_outage(ChatcryptOutages *outages, const ChatcryptKmsJob *job);

/* An argument for the number of rows in a batch; raises for NULL and for less than 1. */
extern int	chatcrypt_work_batch_argument(FunctionCallInfo fcinfo, int n);

/* An argument such as max_keys: NULL means no limit; raises for less than 0. */
extern int64 chatcrypt_work_limit_argument(FunctionCallInfo fcinfo, int n, const char *name);

#endif
