/*
 * maintenancecall.c
 *		run_maintenance(): one round in this database, now.
 *
 * The round runs in a worker, and not in the caller's session: a task that commits as it
 * goes and then fails can be undone and reported only if it runs at top level.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/upkeep/maintenance.h"
#include "pg/upkeep/maintenancestatus.h"

#define NAP_MS	100			/* less than the shortest time that a purge holds its snapshot */

static void
check_call(FunctionCallInfo fcinfo)
{
	CallContext *call = (CallContext *) fcinfo->context;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.run_maintenance()");
	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("chatcrypt.run_maintenance() cannot run inside a transaction block"),
				 errdetail("Its tasks could wait for what this transaction has locked."),
				 errhint("CALL it by itself.")));
}

/*
 * Ends the transaction, so that nothing in the backend holds up the round: no snapshot, no
 * lock, and no transaction that is older than what a purge has noted.
 */
static void
let_go(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	SPI_commit();
	SPI_finish();
}

/* A procedure always has a transaction, so each is made no longer than a nap. */
static void
nap_until_end(BackgroundWorkerHandle *handle)
{
	static uint32 wait_event;
	pid_t		pid;

	while (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, NAP_MS,
						 chatcrypt_wait_event(&wait_event, "ChatcryptRound"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		let_go();
	}
}

/* Waits for the round, and ends it where the wait fails or is canceled. */
static void
wait_for_round(BackgroundWorkerHandle *handle)
{
	PG_TRY();
	{
		nap_until_end(handle);
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(handle);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Reports failures since then: a WARNING for each task, and an ERROR if the round itself failed. */
static void
tell(const char *database, TimestampTz since)
{
	ChatcryptTaskStatus status;

	chatcrypt_maintenancestatus_bury(database);
	for (int i = 0; i < CHATCRYPT_TASK_ROWS; i++)
	{
		if (chatcrypt_maintenancestatus_read(i, &status) && strcmp(status.database,
																   database) == 0 &&
			status.last_error_at >= since && strcmp(status.task, CHATCRYPT_ROUND) != 0)
			ereport(WARNING_CLIENT_ONLY,	/* the worker has logged it */
					(errmsg("maintenance task %s: %s", status.task, status.last_error)));
	}
	(void) chatcrypt_maintenancestatus_find(database, CHATCRYPT_ROUND, &status);
	if (status.last_success < since)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the maintenance of this database did not come to its end"),
				 errdetail("What it did stays done; the server log says what ended it.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_run_maintenance);

/* run_maintenance() */
Datum
chatcrypt_run_maintenance(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	BackgroundWorkerHandle *handle;
	TimestampTz since = GetCurrentTimestamp();
	char		database[NAMEDATALEN];

	check_call(fcinfo);
	strlcpy(database, get_database_name(MyDatabaseId), NAMEDATALEN);
	let_go();
	context = MemoryContextSwitchTo(TopMemoryContext);
	if (!chatcrypt_maintenance_start_round(database, true, MyProcPid, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("there is no free background worker for the maintenance of this database"),
				 errhint("Raise max_worker_processes, or try again later.")));
	MemoryContextSwitchTo(context);
	wait_for_round(handle);
	pfree(handle);
	tell(database, since);
	PG_RETURN_VOID();
}
