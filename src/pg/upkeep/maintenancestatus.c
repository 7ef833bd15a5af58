/*
 * maintenancestatus.c
 *		The rows behind chatcrypt.maintenance_status: see maintenancestatus.h.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/base/settings.h"
#include "pg/upkeep/maintenancestatus.h"

#define LONGEST_DELAY_S	600		/* between tries after failures, unless the interval is longer */
#define MOST_DOUBLINGS	16
#define LOGGED_EVERY	(60 * USECS_PER_SEC)

static ChatcryptTaskStatus *rows;
static LWLock *lock;

void
chatcrypt_maintenancestatus_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(ChatcryptTaskStatus) * CHATCRYPT_TASK_ROWS));
	RequestNamedLWLockTranche("ChatcryptMaintenance", 1);
}

void
chatcrypt_maintenancestatus_startup(void)
{
	bool		found;

	rows = ShmemInitStruct("chatcrypt maintenance",
						   sizeof(ChatcryptTaskStatus) * CHATCRYPT_TASK_ROWS, &found);
	lock = &GetNamedLWLockTranche("ChatcryptMaintenance")->lock;
	if (!found)
		memset(rows, 0, sizeof(ChatcryptTaskStatus) * CHATCRYPT_TASK_ROWS);
}

/* To be called under the lock; NULL where there is no such row. */
static ChatcryptTaskStatus *
find_row(const char *database, const char *task)
{
	for (int i = 0; i < CHATCRYPT_TASK_ROWS; i++)
		if (strcmp(rows[i].database, database) == 0 && strcmp(rows[i].task, task) == 0)
			return &rows[i];
	return NULL;
}

/* To be called under the lock: a free row, or the one that was due longest ago. */
static ChatcryptTaskStatus *
spare_row(void)
{
	ChatcryptTaskStatus *oldest = &rows[0];

	for (int i = 0; i < CHATCRYPT_TASK_ROWS; i++)
	{
		if (rows[i].database[0] == '\0')
			return &rows[i];
		if (rows[i].next_due < oldest->next_due)
			oldest = &rows[i];
	}
	return oldest;
}

/* Finds or makes the row, and takes the lock, which the caller releases. */
static ChatcryptTaskStatus *
lock_row(const char *database, const char *task)
{
	ChatcryptTaskStatus *row;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	row = find_row(database, task);
	if (row != NULL)
		return row;
	row = spare_row();
	memset(row, 0, sizeof(*row));
	strlcpy(row->database, database, NAMEDATALEN);
	strlcpy(row->task, task, NAMEDATALEN);
	return row;
}

/* Counts from the beginning of the run, so that rounds begin at regular intervals. */
static TimestampTz
due_after_success(const ChatcryptTaskStatus *row)
{
	return TimestampTzPlusMilliseconds(row->last_start,
									   (int64) chatcrypt_maintenance_interval * 1000);
}

static TimestampTz
due_after_failure(const ChatcryptTaskStatus *row)
{
	int			doublings = Min(row->failures_in_a_row, MOST_DOUBLINGS);
	int64		delay_s = (int64) chatcrypt_maintenance_interval << doublings;

	delay_s = Min(delay_s, Max(chatcrypt_maintenance_interval, LONGEST_DELAY_S));
	return TimestampTzPlusMilliseconds(row->last_error_at, delay_s * 1000);
}

void
chatcrypt_maintenancestatus_started(const char *database, const char *task)
{
	TimestampTz now = GetCurrentTimestamp();
	ChatcryptTaskStatus *row = lock_row(database, task);

	row->pid = MyProcPid;
	row->last_start = now;
	row->runs++;
	LWLockRelease(lock);
}

static void
set_error(ChatcryptTaskStatus *row, const char *error, TimestampTz now)
{
	int			len = pg_mbcliplen(error, (int) strlen(error), CHATCRYPT_TASK_ERROR_MAX - 1);

	memcpy(row->last_error, error, len);
	row->last_error[len] = '\0';
	row->last_error_at = now;
}

/* Under the lock. */
static void
end_run(ChatcryptTaskStatus *row, uint64 items)
{
	row->pid = 0;
	row->items += items;
	row->failures_in_a_row = 0;
	row->next_due = due_after_success(row);
}

void
chatcrypt_maintenancestatus_succeeded(const char *database, const char *task, uint64 items)
{
	TimestampTz now = GetCurrentTimestamp();
	ChatcryptTaskStatus *row = lock_row(database, task);

	end_run(row, items);
	row->last_success = now;
	LWLockRelease(lock);
}

bool
chatcrypt_maintenancestatus_failed_in_part(const char *database, const char *task, uint64 items,
										   uint64 failed, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();
	ChatcryptTaskStatus *row = lock_row(database, task);
	bool		to_be_logged = strncmp(row->last_error, error,
									   CHATCRYPT_TASK_ERROR_MAX - MAX_MULTIBYTE_CHAR_LEN) != 0 ||
		now - row->last_logged >= LOGGED_EVERY;

	if (to_be_logged)
		row->last_logged = now;
	end_run(row, items);
	row->failures++;
	row->partial_failures++;
	row->failed_items += failed;
	set_error(row, error, now);
	LWLockRelease(lock);
	return to_be_logged;
}

/* Under the lock. */
static void
fail(ChatcryptTaskStatus *row, const char *error, TimestampTz now)
{
	row->pid = 0;
	row->failures++;
	row->failures_in_a_row++;
	set_error(row, error, now);
	row->next_due = due_after_failure(row);
}

void
chatcrypt_maintenancestatus_failed(const char *database, const char *task, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();

	fail(lock_row(database, task), error, now);
	LWLockRelease(lock);
}

void
chatcrypt_maintenancestatus_bury(const char *database)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATCRYPT_TASK_ROWS; i++)
		if (rows[i].pid != 0 && strcmp(rows[i].database, database) == 0 &&
			BackendPidGetProc(rows[i].pid) == NULL)
			fail(&rows[i], "the worker ended before it was done: see the server log", now);
	LWLockRelease(lock);
}

bool
chatcrypt_maintenancestatus_find(const char *database, const char *task,
								 ChatcryptTaskStatus *status)
{
	const ChatcryptTaskStatus *row;

	memset(status, 0, sizeof(*status));
	LWLockAcquire(lock, LW_SHARED);
	row = find_row(database, task);
	if (row != NULL)
		*status = *row;
	LWLockRelease(lock);
	return row != NULL;
}

bool
chatcrypt_maintenancestatus_read(int row, ChatcryptTaskStatus *status)
{
	LWLockAcquire(lock, LW_SHARED);
	*status = rows[row];
	LWLockRelease(lock);
	return status->database[0] != '\0';
}

static bool
is_named(const List *names, const char *database)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp((const char *) lfirst(cell), database) == 0)
			return true;
	return false;
}

PG_FUNCTION_INFO_V1(chatcrypt_read_maintenance_status);

/*
 * The time at which a task is next due is not shown for a database that is not in the setting:
 * its rounds come only from run_maintenance().
 *
 * database, task, running, last_start, last_success, last_error, last_error_at, next_due,
 * runs, failures, items, partial_failures, failed_items
 */
Datum
chatcrypt_read_maintenance_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ChatcryptTaskStatus row;
	List	   *maintained;

	(void) chatcrypt_settings_parse_databases(chatcrypt_maintenance_databases, &maintained);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < CHATCRYPT_TASK_ROWS; i++)
	{
		bool		nulls[13] = {false};

		if (!chatcrypt_maintenancestatus_read(i, &row))
			continue;
		nulls[3] = row.last_start == 0;
		nulls[4] = row.last_success == 0;
		nulls[5] = row.last_error_at == 0;
		nulls[6] = row.last_error_at == 0;
		nulls[7] = row.next_due == 0 || !is_named(maintained, row.database);
		tuplestore_putvalues(result->setResult, result->setDesc, (Datum[]) {
			DirectFunctionCall1(namein, CStringGetDatum(row.database)),
			CStringGetTextDatum(row.task),
			BoolGetDatum(row.pid != 0),
			TimestampTzGetDatum(row.last_start),
			TimestampTzGetDatum(row.last_success),
			CStringGetTextDatum(row.last_error),
			TimestampTzGetDatum(row.last_error_at),
			TimestampTzGetDatum(row.next_due),
			Int64GetDatum((int64) row.runs),
			Int64GetDatum((int64) row.failures),
			Int64GetDatum((int64) row.items),
			Int64GetDatum((int64) row.partial_failures),
			Int64GetDatum((int64) row.failed_items)
		}, nulls);
	}
	return (Datum) 0;
}
