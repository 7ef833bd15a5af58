/*
 * work.c
 *		Procedures that commit as they go: see work.h.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "core/bytes.h"
#include "pg/procedures/work.h"
#include "pg/service/failurelog.h"
#include "pg/service/kmserrors.h"

#define MOST_COUNTS 4

void
chatcrypt_work_begin(FunctionCallInfo fcinfo, const char *name)
{
	CallContext *call = (CallContext *) fcinfo->context;

	PreventCommandIfReadOnly(name);
	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block", name),
				 errdetail("The procedure commits its work as it goes."),
				 errhint("CALL it outside of a transaction block, directly or from another procedure.")));
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

void
chatcrypt_work_commit(void)
{
	CHECK_FOR_INTERRUPTS();
	SPI_commit();
}

Datum
chatcrypt_work_end(FunctionCallInfo fcinfo, const int64 *counts, int ncounts)
{
	Datum		values[MOST_COUNTS];
	bool		nulls[MOST_COUNTS] = {false};
	TupleDesc	columns;

	SPI_finish();
	if (ncounts == 0)
		return (Datum) 0;
	Assert(ncounts <= MOST_COUNTS);
	for (int i = 0; i < ncounts; i++)
		values[i] = Int64GetDatum(counts[i]);
	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE ||
		columns->natts != ncounts)
		elog(ERROR, "return type must be a row of %d columns", ncounts);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls));
}

/* Is it an error that the next step would meet as well, or one that ends the session's work? */
static bool
ends_all(const ErrorData *error)
{
	int			class = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return class == ERRCODE_OPERATOR_INTERVENTION || class == ERRCODE_INSUFFICIENT_RESOURCES ||
		error->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION;
}

static bool collecting;
static char first_failure[CHATCRYPT_WORDS_MAX];

void
chatcrypt_work_collect(void)
{
	collecting = true;
	first_failure[0] = '\0';
}

const char *
chatcrypt_work_first_failure(void)
{
	return first_failure;
}

static void
collect(const char *words)
{
	int			len = pg_mbcliplen(words, (int) strlen(words), CHATCRYPT_WORDS_MAX - 1);

	if (first_failure[0] == '\0')
	{
		memcpy(first_failure, words, len);
		first_failure[len] = '\0';
	}
	ereport(DEBUG1,
			(errmsg_internal("%s", words)));
}

/* Reports an error: to the client in full, and to the log in one line. */
static void
warn_of(const ErrorData *error)
{
	char	   *words = error->detail == NULL ? error->message :
		psprintf("%s: %s", error->message, error->detail);

	if (collecting)
	{
		collect(words);
		return;
	}
	ereport(WARNING_CLIENT_ONLY,
			(errcode(error->sqlerrcode),
			 errmsg_internal("%s", error->message),
			 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
			 error->hint != NULL ? errhint("%s", error->hint) : 0));
	chatcrypt_failurelog_tell_caught(error, words);
}

/* Runs a step; returns its error in the caller's memory context, or NULL if it succeeded. */
static ErrorData *
error_of(ChatcryptStep step, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

bool
chatcrypt_work_try(ChatcryptStep step, void *arg)
{
	ErrorData  *error = error_of(step, arg);

	if (error == NULL)
		return true;
	if (ends_all(error))
		ReThrowError(error);
	warn_of(error);
	FreeErrorData(error);
	return false;
}

bool
chatcrypt_work_is_out(const ChatcryptOutages *outages, const char *kms_key)
{
	ListCell   *cell;

	foreach(cell, outages->kms_keys)
		if (strcmp(lfirst(cell), kms_key) == 0)
			return true;
	return false;
}

bool
chatcrypt_work_is_outage(const ChatcryptKmsJob *job)
{
	return job->another_key ||
		(!job->wrong_key && !cc_kms_outcome_is_of_item(job->outcome) &&
		 job->outcome != CC_KMS_SPLIT);
}

static void
put_out(ChatcryptOutages *outages, const char *kms_key)
{
	MemoryContext previous = MemoryContextSwitchTo(outages->context);

	outages->kms_keys = lappend(outages->kms_keys, pstrdup(kms_key));
	MemoryContextSwitchTo(previous);
}

/* Jobs with the same KMS key that failed for the same reason. */
typedef struct Failure
{
	cc_kms_op	op;
	ChatcryptKmsJob first;
	int64		count;
} Failure;

static Failure *
find_failure(const ChatcryptOutages *outages, cc_kms_op op, const ChatcryptKmsJob *job)
{
	ListCell   *cell;

	foreach(cell, outages->failures)
	{
		Failure    *failure = lfirst(cell);

		if (failure->op == op && failure->first.outcome == job->outcome &&
			failure->first.wrong_key == job->wrong_key &&
			failure->first.another_key == job->another_key &&
			strcmp(failure->first.kms_key, job->kms_key) == 0)
			return failure;
	}
	return NULL;
}

const ChatcryptKmsJob *
chatcrypt_work_outage_of(const ChatcryptOutages *outages, const char *kms_key)
{
	ListCell   *cell;

	foreach(cell, outages->failures)
	{
		const Failure *failure = lfirst(cell);

		if (chatcrypt_work_is_outage(&failure->first) && strcmp(failure->first.kms_key,
																kms_key) == 0)
			return &failure->first;
	}
	return NULL;
}

/* Keeps a copy of the job without its data key; of what the job points to, only the URI is kept. */
static Failure *
add_failure(ChatcryptOutages *outages, cc_kms_op op, const ChatcryptKmsJob *job)
{
	MemoryContext previous = MemoryContextSwitchTo(outages->context);
	Failure    *failure = palloc0(sizeof(Failure));

	failure->op = op;
	failure->first = *job;
	cc_wipe(failure->first.dek, CC_DEK_LEN);
	failure->first.kms_key = pstrdup(job->kms_key);
	failure->first.wrapped = NULL;
	failure->first.wrapped_out = NULL;
	outages->failures = lappend(outages->failures, failure);
	MemoryContextSwitchTo(previous);
	return failure;
}

void
chatcrypt_work_note_failure(ChatcryptOutages *outages, cc_kms_op op, const ChatcryptKmsJob *job)
{
	Failure    *failure;

	if (chatcrypt_work_is_out(outages, job->kms_key))
		return;
	failure = find_failure(outages, op, job);
	if (failure == NULL)
		failure = add_failure(outages, op, job);
	failure->count++;
	if (chatcrypt_work_is_outage(job))
		put_out(outages, job->kms_key);
}

static void
raise_failure(void *arg)
{
	const Failure *failure = arg;

	chatcrypt_kmserror_raise(failure->op, &failure->first);
}

static void
report_failure(Failure *failure)
{
	ErrorData  *error = error_of(raise_failure, failure);

	if (chatcrypt_work_is_outage(&failure->first))
		error->message = psprintf("%s, and the other keys of \"%s\" are left as they are",
								  error->message, failure->first.kms_key);
	else if (failure->count > 1)
		error->message = psprintf("%s, nor " INT64_FORMAT " others of \"%s\"", error->message,
								  failure->count - 1, failure->first.kms_key);
	warn_of(error);
}

void
chatcrypt_work_report_failures(ChatcryptOutages *outages)
{
	ListCell   *cell;

	foreach(cell, outages->failures)
		report_failure(lfirst(cell));
	outages->failures = NIL;
}

static void
raise_outage(void *arg)
{
	chatcrypt_kmserror_raise_key(arg);
}

void
chatcrypt_work_note_outage(ChatcryptOutages *outages, const ChatcryptKmsJob *job)
{
	ChatcryptKmsJob failed = *job;

	if (chatcrypt_work_try(raise_outage, &failed))
		pg_unreachable();
	put_out(outages, job->kms_key);
}

int
chatcrypt_work_batch_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n) || PG_GETARG_INT32(n) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a batch has at least one row")));
	return PG_GETARG_INT32(n);
}

int64
chatcrypt_work_limit_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		return PG_INT64_MAX;
	if (PG_GETARG_INT64(n) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name)));
	return PG_GETARG_INT64(n);
}
