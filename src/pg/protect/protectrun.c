/*
 * protectrun.c
 *		The procedure protect_rows(), which repeats passes over a table until all of its rows are as
 *		its labels say, and then completes protect() or unprotect().
 *
 * Each step commits.  If the session is stopped or killed, no work is lost: the next call starts
 * from the first block and skips the rows that are done.
 *
 * Before the procedure marks a column as holding only sealed values, it waits for all transactions
 * that may still see the old versions of rows.  It holds no lock while it waits.
 *
 * Other sessions may call protect() and unprotect() at any time between two steps.  So each pass
 * notes the columns and their states, and only a column that is still in the state that was noted
 * is completed.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/procedures/fence.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/protect/protectchecks.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectrows.h"
#include "pg/protect/protectswitch.h"
#include "pg/store/owner.h"

#define FUNCTION "chatcrypt.protect_rows()"

/* The pause between passes, during which other transactions may release their row locks. */
#define SHORTEST_PAUSE	100		/* ms */
#define LONGEST_PAUSE	5000

typedef struct Run
{
	Oid			relation;
	MemoryContext context;		/* reset after each step */
	ChatcryptProtected *columns;	/* as they were when the pass began, or NULL; one allocation */
	int			batch;
	int			per_second;		/* 0 for no limit */
	int64		changed;
	int64		busy;			/* rows that the last pass left because they were locked */
	int64		unreadable;
	TimestampTz started;
} Run;

typedef void (*StepFunction) (Run *run, void *arg);

/* Runs one step, and commits. */
static void
take_step(Run *run, StepFunction step, void *arg)
{
	MemoryContext previous = MemoryContextSwitchTo(run->context);

	step(run, arg);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(run->context);
	chatcrypt_work_commit();
}

/* ---------- passes ---------- */

static void
note_columns(Run *run)
{
	const ChatcryptProtected *table = chatcrypt_protected_by_oid(run->relation);
	Size		size;

	if (run->columns != NULL)
		pfree(run->columns);
	run->columns = NULL;
	if (table == NULL)
		return;
	size = chatcrypt_protected_size(table);
	run->columns = MemoryContextAlloc(MemoryContextGetParent(run->context), size);
	memcpy(run->columns, table, size);
}

static bool
is_as_noted(const Run *run, const ChatcryptColumn *column)
{
	for (int i = 0; run->columns != NULL && i < run->columns->ncolumns; i++)
	{
		const ChatcryptColumnLabel *noted = &run->columns->columns[i].label;

		if (memcmp(&noted->registry_id, &column->label.registry_id, sizeof(pg_uuid_t)) == 0)
			return noted->state == column->label.state;
	}
	return false;
}

static bool
are_as_noted(const Run *run, const ChatcryptProtected *table)
{
	for (int i = 0; table != NULL && i < table->ncolumns; i++)
		if (!is_as_noted(run, &table->columns[i]))
			return false;
	return true;
}

/* The columns are noted before the size is read: rows past the end are then written as noted. */
static void
begin_pass(Run *run, void *arg)
{
	ChatcryptRowsPass *pass = arg;
	Relation	table = table_open(run->relation, AccessShareLock);

	note_columns(run);
	*pass = (ChatcryptRowsPass) {.relation = run->relation, .batch = run->batch};
	pass->blocks = run->columns == NULL ? 0 : RelationGetNumberOfBlocks(table);
	table_close(table, AccessShareLock);
}

static void
change_rows(Run *run, void *arg)
{
	(void) run;
	chatcrypt_protectrows_step(arg);
}

static void
nap(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 WAIT_EVENT_PG_SLEEP);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Waits until the rate allows the number of rows that were changed so far. */
static void
throttle(const Run *run)
{
	int64		allowed_ms;
	int64		gone_ms;

	if (run->per_second == 0)
		return;
	allowed_ms = run->changed * 1000 / run->per_second;
	while ((gone_ms = (GetCurrentTimestamp() - run->started) / 1000) < allowed_ms)
		nap(Min(allowed_ms - gone_ms, 1000));
}

static void
compare_columns(Run *run, void *arg)
{
	*(bool *) arg = are_as_noted(run, chatcrypt_protected_by_oid(run->relation));
}

/*
 * Returns true if there was nothing to do.  If the states of columns changed meanwhile, parts of
 * the pass had other work to do, and the result is false.
 */
static bool
make_pass(Run *run)
{
	ChatcryptRowsPass pass;
	int64		changed = 0;
	bool		same;

	take_step(run, begin_pass, &pass);
	while (pass.next < pass.blocks)
	{
		take_step(run, change_rows, &pass);
		changed += pass.changed;
		run->changed += pass.changed;
		chatcrypt_progress_note("protect", NULL, pass.next, pass.blocks);
		throttle(run);
	}
	run->busy = pass.busy;
	run->unreadable = pass.unreadable;
	take_step(run, compare_columns, &same);
	return same && changed == 0 && pass.busy == 0;
}

/*
 * Passes are repeated until one changes nothing.  Returns false if rows are still locked at the
 * deadline.  Only a pass that left locked rows is followed by a pause, which grows.
 */
static bool
make_passes(Run *run, TimestampTz until)
{
	long		pause = SHORTEST_PAUSE;

	while (!make_pass(run))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (run->busy == 0)
			continue;
		if (left == 0)
			return false;
		nap(Min(pause, left));
		pause = Min(pause * 2, LONGEST_PAUSE);
	}
	return true;
}

/* ---------- completion ---------- */

static void
look_for_unfinished(Run *run, void *arg)
{
	bool	   *any = arg;
	ChatcryptProtected *table;

	chatcrypt_protectchecks_owner(run->relation, FUNCTION);
	table = chatcrypt_protected_by_oid(run->relation);
	*any = false;
	for (int i = 0; table != NULL && i < table->ncolumns; i++)
		*any |= table->columns[i].label.state != CHATCRYPT_COLUMN_SEALED;
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not protected", get_rel_name(run->relation)),
				 errhint("See chatcrypt.protect().")));
}

static bool
has_opening(const ChatcryptProtected *table)
{
	for (int i = 0; table != NULL && i < table->ncolumns; i++)
		if (table->columns[i].label.state == CHATCRYPT_COLUMN_OPENING)
			return true;
	return false;
}

/* A column of which the registration is deleted requires AccessExclusiveLock. */
static void
finish_column(const Run *run, const ChatcryptColumn *column)
{
	ChatcryptOwnerScope scope;
	ChatcryptArg arg = {UUIDOID, UUIDPGetDatum(&column->label.registry_id), false};

	if (column->label.state == CHATCRYPT_COLUMN_MIXED)
	{
		chatcrypt_protectswitch_forget_missing(run->relation, column->number);
		chatcrypt_protectswitch_state(run->relation, column, CHATCRYPT_COLUMN_SEALED);
	}
	else if (column->label.state == CHATCRYPT_COLUMN_OPENING && run->unreadable == 0)
	{
		chatcrypt_owner_begin(&scope);
		chatcrypt_owner_execute("DELETE FROM chatcrypt.envelope_column WHERE registry_id = $1",
								&arg, 1);
		chatcrypt_owner_end(&scope);
		chatcrypt_protectswitch_unprotect(run->relation, column);
	}
}

/*
 * Completes the columns that are as the last pass noted them.  The result says whether that is all
 * of them; for the others, another pass has to be made.
 */
static void
finish(Run *run, void *arg)
{
	bool	   *complete = arg;
	ChatcryptProtected *table;

	chatcrypt_protectswitch_lock(run->relation, has_opening(run->columns) ?
								 AccessExclusiveLock : ShareUpdateExclusiveLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_protectchecks_owner(run->relation, FUNCTION);
	table = chatcrypt_protected_by_oid(run->relation);
	*complete = are_as_noted(run, table);
	for (int i = 0; table != NULL && i < table->ncolumns; i++)
		if (is_as_noted(run, &table->columns[i]))
			finish_column(run, &table->columns[i]);
	PopActiveSnapshot();
}

static void
warn_of_unreadable(const Run *run)
{
	if (run->unreadable > 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("values in " INT64_FORMAT " rows of table \"%s\" do not open, and the table stays protected",
						run->unreadable, get_rel_name(run->relation)),
				 errhint("Find the values with chatcrypt.verify_protected(), set them to NULL or delete their rows, then call " FUNCTION " again.")));
}

/* Returns true once every transaction that could see the old versions of rows has ended. */
static bool
outlast_older_transactions(TimestampTz until)
{
	bool		alone;

	chatcrypt_fence_raise();
	alone = chatcrypt_fence_wait(until);
	chatcrypt_fence_lower();
	return alone;
}

static void
tell_of_locked(const Run *run)
{
	ereport(NOTICE,
			(errmsg_plural(INT64_FORMAT " row of table \"%s\" is locked by another transaction",
						   INT64_FORMAT " rows of table \"%s\" are locked by other transactions",
						   (unsigned long) run->busy, run->busy, get_rel_name(run->relation)),
			 errhint("Call " FUNCTION " again to finish.")));
}

/*
 * After the passes, older transactions are waited for, so that no snapshot is left in which a row
 * is still as it was before.
 */
static void
run_to_the_end(Run *run, TimestampTz until)
{
	bool		complete = false;

	while (!complete)
	{
		if (!make_passes(run, until))
		{
			tell_of_locked(run);
			return;
		}
		if (!outlast_older_transactions(until))
		{
			ereport(NOTICE,
					(errmsg("all rows are done, but older transactions may still see old versions of them"),
					 errhint("Call " FUNCTION " again to finish.")));
			return;
		}
		take_step(run, finish, &complete);
	}
}

PG_FUNCTION_INFO_V1(chatcrypt_protect_rows);

/*
 * protect_rows("table" regclass, batch integer, rows_per_second integer, max_wait interval,
 * INOUT changed bigint)
 */
Datum
chatcrypt_protect_rows(PG_FUNCTION_ARGS)
{
	Run			run = {.batch = chatcrypt_work_batch_argument(fcinfo, 1)};
	bool		unfinished;
	TimestampTz until;

	chatcrypt_id_refuse_null(fcinfo, 0, "the table");
	run.relation = PG_GETARG_OID(0);
	run.per_second = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	if (!PG_ARGISNULL(2) && run.per_second < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows_per_second must be at least 1")));
	chatcrypt_protectchecks_owner(run.relation, FUNCTION);
	chatcrypt_work_begin(fcinfo, FUNCTION);
	run.context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt rows",
										ALLOCSET_DEFAULT_SIZES);
	run.started = GetCurrentTimestamp();
	until = chatcrypt_fence_deadline(fcinfo, 3);
	take_step(&run, look_for_unfinished, &unfinished);
	if (unfinished)
		run_to_the_end(&run, until);
	chatcrypt_progress_end();
	warn_of_unreadable(&run);
	return chatcrypt_work_end(fcinfo, (int64[]) {run.changed}, 1);
}
