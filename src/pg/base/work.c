/*
 * work.c
 *		Procedures that commit as they go: see work.h.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "pg/base/work.h"
#include "pg/service/kms_errors.h"

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
				 errdetail("It commits what it has done as it goes."),
				 errhint("CALL it by itself, or from a procedure that was called so.")));
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

/* What the next step would meet as well, or what asks for an end. */
static bool
ends_all(const ErrorData *error)
{
	int			class = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return class == ERRCODE_OPERATOR_INTERVENTION || class == ERRCODE_INSUFFICIENT_RESOURCES ||
		error->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION;
}

static void
warn_of(const ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg_internal("%s", error->message),
			 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
			 error->hint != NULL ? errhint("%s", error->hint) : 0));
}

bool
chatcrypt_work_try(ChatcryptStep step, void *arg)
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

	if (error == NULL)
		return true;
	if (ends_all(error))
		ReThrowError(error);
	warn_of(error);
	FreeErrorData(error);
	return false;
}

bool
chatcrypt_is_out(const ChatcryptOutages *outages, const char *key_uri)
{
	ListCell   *cell;

	foreach(cell, outages->key_uris)
		if (strcmp(lfirst(cell), key_uri) == 0)
			return true;
	return false;
}

bool
chatcrypt_is_outage(const ChatcryptKmsJob *job)
{
	return job->another_key ||
		(!job->wrong_key && !cc_kms_outcome_is_of_item(job->outcome) &&
		 job->outcome != CC_KMS_SPLIT);
}

static void
put_out(ChatcryptOutages *outages, const char *key_uri)
{
	MemoryContext previous = MemoryContextSwitchTo(outages->context);

	outages->key_uris = lappend(outages->key_uris, pstrdup(key_uri));
	MemoryContextSwitchTo(previous);
}

typedef struct FailedJob
{
	cc_kms_op	op;
	const ChatcryptKmsJob *job;
} FailedJob;

static void
raise_failure(void *arg)
{
	const FailedJob *failed = arg;

	chatcrypt_kms_raise(failed->op, failed->job);
}

void
chatcrypt_note_failure(ChatcryptOutages *outages, cc_kms_op op, const ChatcryptKmsJob *job)
{
	FailedJob	failed = {op, job};

	if (chatcrypt_is_out(outages, job->key_uri))
		return;
	(void) chatcrypt_work_try(raise_failure, &failed);
	if (!chatcrypt_is_outage(job))
		return;
	put_out(outages, job->key_uri);
	ereport(WARNING,
			(errcode(ERRCODE_IO_ERROR),
			 errmsg("the other keys of \"%s\" are left as they are", job->key_uri)));
}

static void
raise_outage(void *arg)
{
	chatcrypt_kms_raise_key(arg);
}

void
chatcrypt_note_outage(ChatcryptOutages *outages, const ChatcryptKmsJob *job)
{
	ChatcryptKmsJob failed = *job;

	if (chatcrypt_work_try(raise_outage, &failed))
		pg_unreachable();
	put_out(outages, job->key_uri);
}

int
chatcrypt_batch_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n) || PG_GETARG_INT32(n) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a batch has at least one row")));
	return PG_GETARG_INT32(n);
}
