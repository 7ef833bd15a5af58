/*
 * progress.c
 *		The progress of work that is under way: see progress.h.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "pg/access/access.h"
#include "pg/procedures/progress.h"

#define ENTRIES		64			/* work beyond these is not shown */
#define TASK_LEN	64			/* with the terminator */
#define NO_ENTRY	(-1)
#define NOBODY		(-1)		/* waits for no process */
#define MARK_EVERY	(10 * USECS_PER_SEC)
#define CLASS_OF_WAIT	0xff000000U	/* the class bits of a wait event */

/* How far the work had come at some time. */
typedef struct Mark
{
	TimestampTz at;
	int64		done;
} Mark;

typedef struct Entry
{
	int			pid;			/* 0 if the entry is free */
	Oid			database;
	char		task[TASK_LEN];
	bool		has_chat;
	uint8		chat_id[CC_ID_LEN];
	int64		done;
	int64		total;
	TimestampTz started_at;
	TimestampTz updated_at;
	Mark		marks[2];		/* the rate is measured since the older one, over 10 to 20 s */
	int			waits_for;		/* a pid, 0 for a prepared transaction, or NOBODY */
} Entry;

static Entry *entries;
static LWLock *lock;
static int	mine = NO_ENTRY;

void
chatcrypt_progress_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Entry) * ENTRIES));
	RequestNamedLWLockTranche("ChatcryptProgress", 1);
}

void
chatcrypt_progress_startup(void)
{
	bool		found;

	entries = ShmemInitStruct("chatcrypt progress", sizeof(Entry) * ENTRIES, &found);
	lock = &GetNamedLWLockTranche("ChatcryptProgress")->lock;
	if (!found)
		memset(entries, 0, sizeof(Entry) * ENTRIES);
}

void
chatcrypt_progress_end(void)
{
	if (mine == NO_ENTRY)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	memset(&entries[mine], 0, sizeof(Entry));
	LWLockRelease(lock);
	mine = NO_ENTRY;
}

static void
end_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	chatcrypt_progress_end();
}

/* An abort ends the work.  A commit does not, because procedures commit as they go. */
static void
end_at_abort(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT)
		chatcrypt_progress_end();
}

static void
clean_up_once(void)
{
	static bool registered = false;

	if (registered)
		return;
	before_shmem_exit(end_at_exit, (Datum) 0);
	RegisterXactCallback(end_at_abort, NULL);
	registered = true;
}

/* The caller holds the lock. */
static int
free_entry(void)
{
	for (int i = 0; i < ENTRIES; i++)
		if (entries[i].pid == 0)
			return i;
	return NO_ENTRY;
}

/* The entry of this process, with the task set.  The caller holds the lock. */
static Entry *
claim_entry(const char *task, TimestampTz now)
{
	Entry	   *entry;

	if (mine == NO_ENTRY)
		mine = free_entry();
	if (mine == NO_ENTRY)
		return NULL;
	entry = &entries[mine];
	if (entry->pid != 0 && strncmp(entry->task, task, TASK_LEN - 1) == 0)
		return entry;
	entry->pid = MyProcPid;
	entry->database = MyDatabaseId;
	strlcpy(entry->task, task, TASK_LEN);
	entry->started_at = now;
	return entry;
}

static void
set_marks(Entry *entry, TimestampTz now, int64 done)
{
	Mark		mark = {now, done};

	if (entry->started_at == now || done < entry->marks[1].done)
		entry->marks[0] = entry->marks[1] = mark;
	else if (now - entry->marks[1].at >= MARK_EVERY)
	{
		entry->marks[0] = entry->marks[1];
		entry->marks[1] = mark;
	}
}

void
chatcrypt_progress_note(const char *task, const uint8 *chat_id, int64 done, int64 total)
{
	TimestampTz now = GetCurrentTimestamp();
	Entry	   *entry;

	clean_up_once();
	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = claim_entry(task, now);
	if (entry != NULL)
	{
		entry->has_chat = chat_id != NULL;
		if (chat_id != NULL)
			memcpy(entry->chat_id, chat_id, CC_ID_LEN);
		entry->done = done;
		entry->total = total;
		entry->updated_at = now;
		entry->waits_for = NOBODY;
		set_marks(entry, now, done);
	}
	LWLockRelease(lock);
}

void
chatcrypt_progress_waits_for(int pid)
{
	if (mine == NO_ENTRY)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	entries[mine].waits_for = pid;
	LWLockRelease(lock);
}

PG_FUNCTION_INFO_V1(chatcrypt_note_progress);

/* note_progress(task text, chat_id any_id, done bigint, total bigint); a NULL task ends it. */
Datum
chatcrypt_note_progress(PG_FUNCTION_ARGS)
{
	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	if (PG_ARGISNULL(0))
		chatcrypt_progress_end();
	else
	{
		char	   *task = text_to_cstring(PG_GETARG_TEXT_PP(0));

		/* Cut at a whole character, because the task is shown as text later. */
		task[pg_mbcliplen(task, strlen(task), TASK_LEN - 1)] = '\0';
		chatcrypt_progress_note(task,
								PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1)->data,
								PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2),
								PG_ARGISNULL(3) ? CHATCRYPT_TOTAL_UNKNOWN : PG_GETARG_INT64(3));
	}
	PG_RETURN_VOID();
}

/* Copies an entry; false if it is free. */
static bool
read_entry(int number, Entry *entry)
{
	LWLockAcquire(lock, LW_SHARED);
	*entry = entries[number];
	LWLockRelease(lock);
	return entry->pid != 0;
}

/* The recent rate in items a second; 0 if nothing was done. */
static double
rate_of(const Entry *entry, TimestampTz now)
{
	double		seconds = (double) (now - entry->marks[0].at) / USECS_PER_SEC;

	return seconds <= 0 ? 0 : (double) (entry->done - entry->marks[0].done) / seconds;
}

/* The time that is left at that rate; NULL if it cannot be estimated. */
static Datum
time_left(const Entry *entry, double rate, bool *isnull)
{
	double		seconds = rate > 0 ? (double) (entry->total - entry->done) / rate : -1;

	*isnull = entry->total == CHATCRYPT_TOTAL_UNKNOWN || seconds < 0 || seconds > PG_INT32_MAX;
	if (*isnull)
		return (Datum) 0;
	return DirectFunctionCall7(make_interval, Int32GetDatum(0), Int32GetDatum(0), Int32GetDatum(0),
							   Int32GetDatum(0), Int32GetDatum(0), Int32GetDatum(0),
							   Float8GetDatum(rint(seconds)));
}

/*
 * Which process holds the work up: the one that it noted, or one that holds the lock it waits
 * for.  The lock table is not read for a process that waits for no lock.
 */
static int
waited_for(const Entry *entry)
{
	PGPROC	   *process = BackendPidGetProc(entry->pid);
	ArrayType  *blockers;

	if (entry->waits_for != NOBODY || process == NULL ||
		(process->wait_event_info & CLASS_OF_WAIT) != PG_WAIT_LOCK)
		return entry->waits_for;
	blockers = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids,
													  Int32GetDatum(entry->pid)));
	return ArrayGetNItems(ARR_NDIM(blockers), ARR_DIMS(blockers)) == 0 ? NOBODY :
		((int32 *) ARR_DATA_PTR(blockers))[0];
}

static void
put_entry(ReturnSetInfo *result, const Entry *entry)
{
	bool		nulls[11] = {false};
	char	   *database = get_database_name(entry->database);
	double		rate = rate_of(entry, GetCurrentTimestamp());
	Datum		left = time_left(entry, rate, &nulls[9]);
	int			waits_for = waited_for(entry);

	nulls[1] = database == NULL;
	nulls[3] = !entry->has_chat;
	nulls[5] = entry->total == CHATCRYPT_TOTAL_UNKNOWN;
	nulls[10] = waits_for == NOBODY;
	tuplestore_putvalues(result->setResult, result->setDesc, (Datum[]) {
		Int32GetDatum(entry->pid),
		database == NULL ? (Datum) 0 : DirectFunctionCall1(namein, CStringGetDatum(database)),
		CStringGetTextDatum(entry->task),
		UUIDPGetDatum((const pg_uuid_t *) entry->chat_id),
		Int64GetDatum(entry->done),
		Int64GetDatum(entry->total),
		TimestampTzGetDatum(entry->started_at),
		TimestampTzGetDatum(entry->updated_at),
		Float8GetDatum(rate),
		left,
		Int32GetDatum(waits_for)
	}, nulls);
}

PG_FUNCTION_INFO_V1(chatcrypt_read_progress);

/*
 * read_progress(): pid, database, task, chat_id, done, total, started_at, updated_at, rate,
 * left, waits_for
 */
Datum
chatcrypt_read_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Entry		entry;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < ENTRIES; i++)
		if (read_entry(i, &entry))
			put_entry(result, &entry);
	return (Datum) 0;
}
