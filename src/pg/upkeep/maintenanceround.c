/*
 * maintenanceround.c
 *		One round of maintenance in one database: a separate worker that connects, runs
 *		each task that is due, and ends.
 *
 * Each task is a statement that any role with the right could send, and is run as a
 * client's statement would be: at top level, so that a procedure can commit as it goes.
 * For the same reason a task that fails is undone by aborting its transaction, which
 * cannot be done from inside a statement.
 *
 * A lock keeps two rounds of one database apart.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/upkeep/maintenancelog.h"
#include "pg/upkeep/maintenancestatus.h"

/* Advisory locks of applications have 1 and 2 in their last field. */
#define LOCK_CLASS	3
#define LOCK_KEY	0x63686174	/* "chat" */

extern PGDLLEXPORT void chatcrypt_maintenance_round_main(Datum arg);

/*
 * The tasks, in their order.  The history is sealed before anything that may take long; if a
 * session holds a lock on it, no other task is held up.  Keys are rotated before messages move
 * to the newest, and purged after that.  A task whose function this database does not have is
 * left out.
 */
typedef struct Task
{
	const char *name;			/* of a function or procedure without required arguments */
	uint64		batch;			/* run again while it dealt with that many; 0 to run it once */
	const char *lock_timeout;	/* for each lock; after it the task is left to the next round */
} Task;

static const Task tasks[] = {
	{"seal_events", 10000, "100ms"},
	{"rotate_due", 0, "60s"},
	{"reencrypt_due", 0, "60s"},
	{"apply_retention", 0, "60s"},
	{"purge_unused_keys", 0, "60s"}
};

/* ---------- one statement ---------- */

/* The result of a task, by the names of its columns. */
typedef struct TaskResult
{
	DestReceiver receiver;
	int64		items;			/* the first column: how many items it dealt with */
	int64		failed;
	int64		unreadable;
	int64		waiting_for;	/* older transactions that still ran when the wait ended */
} TaskResult;

static int64
number_in(TupleTableSlot *slot, int column)
{
	Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor, column - 1);
	bool		isnull;
	Datum		value = slot_getattr(slot, column, &isnull);

	if (isnull)
		return 0;
	return attribute->atttypid == INT8OID ? DatumGetInt64(value) :
		attribute->atttypid == INT4OID ? DatumGetInt32(value) : 0;
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *receiver)
{
	TaskResult *result = (TaskResult *) receiver;
	TupleDesc	columns = slot->tts_tupleDescriptor;

	for (int column = 1; column <= columns->natts; column++)
	{
		const char *name = NameStr(TupleDescAttr(columns, column - 1)->attname);

		if (column == 1)
			result->items += number_in(slot, column);
		else if (strcmp(name, "failed") == 0)
			result->failed += number_in(slot, column);
		else if (strcmp(name, "unreadable") == 0)
			result->unreadable += number_in(slot, column);
		else if (strcmp(name, "waiting_for") == 0)
			result->waiting_for += number_in(slot, column);
	}
	return true;
}

static void
ignore_startup(DestReceiver *receiver, int operation, TupleDesc columns)
{
	(void) receiver;
	(void) operation;
	(void) columns;
}

static void
ignore_end(DestReceiver *receiver)
{
	(void) receiver;
}

/*
 * Runs the statement like a client's: it begins no transaction block, and may commit as it
 * goes, so that the result is in memory which outlives transactions.
 */
static void
run_statement(const char *sql, MemoryContext context, TaskResult *result)
{
	RawStmt    *raw;
	List	   *plans;
	Portal		portal;

	result->receiver = (DestReceiver) {receive_row, ignore_startup, ignore_end, ignore_end,
									   DestNone};
	MemoryContextSwitchTo(context);
	raw = linitial_node(RawStmt, pg_parse_query(sql));
	PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(raw, sql, NULL, 0, NULL), sql, 0,
							NULL);
	PopActiveSnapshot();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, sql, CreateCommandTag(raw->stmt), plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	(void) chatcrypt_run_portal(portal, &result->receiver);
	PortalDrop(portal, false);
}

/* The statement that calls the task, in the given context; NULL without such a function here. */
static char *
look_up(const char *name, MemoryContext context)
{
	Oid			schema = get_namespace_oid("chatcrypt", true);
	CatCList   *functions = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	char	   *statement = NULL;

	for (int i = 0; i < functions->n_members && statement == NULL; i++)
	{
		Form_pg_proc function = (Form_pg_proc) GETSTRUCT(&functions->members[i]->tuple);

		if (function->pronamespace == schema && function->pronargs == function->pronargdefaults)
			statement = MemoryContextStrdup(context,
											psprintf(function->prokind == PROKIND_PROCEDURE ?
															  "CALL chatcrypt.%s()" :
															  "SELECT * FROM chatcrypt.%s()",
															  name));
	}
	ReleaseSysCacheList(functions);
	return statement;
}

/* ---------- one task ---------- */

static char *
statement_of(const Task *task, MemoryContext context)
{
	char	   *statement;

	StartTransactionCommand();
	statement = look_up(task->name, context);
	CommitTransactionCommand();
	return statement;
}

static void
run_in_transaction(const char *statement, MemoryContext context, TaskResult *result)
{
	SetCurrentStatementStartTimestamp();
	debug_query_string = statement;
	pgstat_report_activity(STATE_RUNNING, statement);
	StartTransactionCommand();
	run_statement(statement, context, result);
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	debug_query_string = NULL;
}

/* Undoes the transaction of the task; what the task committed before stays. */
static void
note_failure(const char *database, const Task *task, MemoryContext context)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	debug_query_string = NULL;
	QueryCancelPending = false;
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(context);
	chatcrypt_maintenancestatus_failed(database, task->name,
									   error->detail ? psprintf("%s: %s", error->message,
																error->detail) :
									   error->message);
	RESUME_INTERRUPTS();
}

/* What failed in part, in words; NULL where nothing did. */
static char *
what_went_wrong(const TaskResult *result)
{
	StringInfoData words;

	initStringInfo(&words);
	if (result->failed > 0)
		appendStringInfo(&words, INT64_FORMAT " of " INT64_FORMAT " failed; the first: %s",
						 result->failed, result->items + result->failed,
						 chatcrypt_work_first_failure());
	if (result->unreadable > 0)
		appendStringInfo(&words, "%s" INT64_FORMAT " of " INT64_FORMAT " messages did not open: "
						 "verify_chat() tells why", words.len > 0 ? "; " : "", result->unreadable,
						 result->items + result->unreadable);
	if (result->waiting_for > 0)
		appendStringInfo(&words, "%s" INT64_FORMAT " older transactions did not end in time",
						 words.len > 0 ? "; " : "", result->waiting_for);
	return words.len > 0 ? words.data : NULL;
}

/*
 * A task that failed in part has a line of its own.  If the same failure was logged just
 * before, what the task did goes into the line of the round with the others.
 */
static void
note_end(const char *database, const Task *task, const TaskResult *result)
{
	char	   *wrong = what_went_wrong(result);
	uint64		items = (uint64) Max(result->items, 0);

	if (wrong == NULL)
		chatcrypt_maintenancestatus_succeeded(database, task->name, items);
	else if (chatcrypt_maintenancestatus_failed_in_part(database, task->name, items,
														(uint64) (result->failed + result->unreadable), wrong))
	{
		chatcrypt_maintenancelog_failure(task->name, items, wrong);
		return;
	}
	chatcrypt_maintenancelog_note(task->name, items);
}

static void
run_batches(const Task *task, const char *statement, MemoryContext context, TaskResult *result)
{
	int64		before;

	do
	{
		before = result->items;
		run_in_transaction(statement, context, result);
	} while (task->batch > 0 && result->items - before >= (int64) task->batch);
}

/* Runs a task.  However it ends, the round goes on with the next. */
static void
run_task(const char *database, const Task *task, MemoryContext context)
{
	TaskResult	result = {.items = 0};
	char	   *statement;

	PG_TRY();
	{
		statement = statement_of(task, context);
		if (statement != NULL)
		{
			chatcrypt_maintenancestatus_started(database, task->name);
			chatcrypt_work_collect();
			SetConfigOption("lock_timeout", task->lock_timeout, PGC_SUSET, PGC_S_SESSION);
			chatcrypt_progress_note(task->name, NULL, 0, CHATCRYPT_TOTAL_UNKNOWN);
			run_batches(task, statement, context, &result);
			MemoryContextSwitchTo(context);
			note_end(database, task, &result);
		}
	}
	PG_CATCH();
	{
		note_failure(database, task, context);
	}
	PG_END_TRY();
	chatcrypt_progress_end();
	MemoryContextReset(context);
}

/* ---------- the round ---------- */

/* Overrides what ALTER DATABASE or ALTER ROLE has set, which is meant for applications. */
static void
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"application_name", "chatcrypt maintenance"},
		{"search_path", "pg_catalog, pg_temp"},
		{"session_replication_role", "origin"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"}
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_SESSION);
}

static bool
is_installed(void)
{
	bool		installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("chatcrypt", true));
	CommitTransactionCommand();
	return installed;
}

/* The process holds the lock.  False where another round is under way and is not waited for. */
static bool
lock_database(bool wait)
{
	LOCKTAG		tag;
	bool		locked;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_KEY, 0, LOCK_CLASS);
	StartTransactionCommand();
	locked = LockAcquire(&tag, ExclusiveLock, true, !wait) != LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	return locked;
}

static void
run_round(const char *database, bool forced)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "chatcrypt maintenance",
												  ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < (int) lengthof(tasks); i++)
	{
		ChatcryptTaskStatus status;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		(void) chatcrypt_maintenancestatus_find(database, tasks[i].name, &status);
		if (forced || status.failures_in_a_row == 0 || status.next_due <= GetCurrentTimestamp())
			run_task(database, &tasks[i], context);
	}
	MemoryContextDelete(context);
}

void
chatcrypt_maintenance_round_main(Datum arg)
{
	bool		forced = DatumGetBool(arg);
	char		database[NAMEDATALEN];

	strlcpy(database, MyBgworkerEntry->bgw_extra, NAMEDATALEN);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(database, NULL, 0);

	chatcrypt_access_act_for_nobody();
	if (lock_database(forced))
	{
		pin_settings();
		chatcrypt_maintenancelog_begin(database);
		chatcrypt_maintenancestatus_bury(database);
		chatcrypt_maintenancestatus_started(database, CHATCRYPT_ROUND);
		if (is_installed())
		{
			run_round(database, forced);
			chatcrypt_maintenancestatus_succeeded(database, CHATCRYPT_ROUND, 0);
		}
		else
			chatcrypt_maintenancestatus_failed(database, CHATCRYPT_ROUND,
											   "this database does not have the extension chatcrypt");
	}
	proc_exit(0);
}
