/*
 * maintenance.c
 *		The launcher of maintenance: see maintenance.h.  What a round does is in
 *		maintenanceround.c.
 *
 * The launcher remembers little: the time at which a round is due is kept in
 * maintenancestatus.c, and survives the launcher.  It looks at its workers every second
 * while there are any, and otherwise sleeps until a round is due.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/upkeep/maintenance.h"
#include "pg/upkeep/maintenancestatus.h"

#define MOST_DATABASES	128
#define LOOK_MS			1000	/* how often running workers are looked at */
#define IDLE_MS			60000

typedef struct Database
{
	char		name[NAMEDATALEN];	/* empty for a free entry */
	bool		wanted;			/* the setting names the database */
	BackgroundWorkerHandle *handle; /* of the round under way; NULL for none */
	TimestampTz started_at;
} Database;

static Database databases[MOST_DATABASES];
static bool said_no_room;
static uint32 wait_event;

extern PGDLLEXPORT void chatcrypt_maintenance_launcher_main(Datum arg);

void
chatcrypt_maintenance_register(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,	/* a standby has nothing to maintain */
		.bgw_restart_time = 5
	};

	snprintf(worker.bgw_name, BGW_MAXLEN, "chatcrypt maintenance launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "chatcrypt maintenance launcher");
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "chatcrypt");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "chatcrypt_maintenance_launcher_main");
	RegisterBackgroundWorker(&worker);
}

bool
chatcrypt_maintenance_start_round(const char *database, bool forced, pid_t notify_pid,
								  BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = BoolGetDatum(forced),
		.bgw_notify_pid = notify_pid
	};

	snprintf(worker.bgw_name, BGW_MAXLEN, "chatcrypt maintenance %.60s", database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "chatcrypt maintenance");
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "chatcrypt");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "chatcrypt_maintenance_round_main");
	strlcpy(worker.bgw_extra, database, BGW_EXTRALEN);
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* ---------- the list ---------- */

static Database *
find_database(const char *name)
{
	for (int i = 0; i < MOST_DATABASES; i++)
		if (strcmp(databases[i].name, name) == 0)
			return &databases[i];
	return NULL;
}

static void
want_database(const char *name)
{
	Database   *database = find_database(name);

	if (database == NULL)
		database = find_database("");
	if (database == NULL)
	{
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("chatcrypt.maintenance_databases has more than %d names", MOST_DATABASES),
				 errdetail("Database \"%s\" is not maintained.", name)));
		return;
	}
	strlcpy(database->name, name, NAMEDATALEN);
	database->wanted = true;
}

/* Reads the setting again.  A round in a database that is no longer in it is ended. */
static void
read_list(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt databases",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	List	   *names = NIL;
	ListCell   *cell;

	for (int i = 0; i < MOST_DATABASES; i++)
		databases[i].wanted = false;
	(void) chatcrypt_settings_parse_databases(chatcrypt_maintenance_databases, &names);
	foreach(cell, names)
		want_database(lfirst(cell));
	for (int i = 0; i < MOST_DATABASES; i++)
	{
		if (databases[i].wanted)
			continue;
		if (databases[i].handle != NULL)
			TerminateBackgroundWorker(databases[i].handle);
		else
			databases[i].name[0] = '\0';
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
}

/* ---------- rounds ---------- */

static void
start_round(Database *database)
{
	database->started_at = GetCurrentTimestamp();
	if (chatcrypt_maintenance_start_round(database->name, false, 0, &database->handle))
	{
		said_no_room = false;
		return;
	}
	database->handle = NULL;
	chatcrypt_maintenancestatus_failed(database->name, CHATCRYPT_ROUND,
									   "there was no free background worker: raise max_worker_processes");
	if (!said_no_room)
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the maintenance of database \"%s\"", database->name),
				 errdetail("There is no free background worker."),
				 errhint("Raise max_worker_processes.")));
	said_no_room = true;
}

static bool
has_ended(Database *database)
{
	ChatcryptTaskStatus round;
	pid_t		pid;

	if (GetBackgroundWorkerPid(database->handle, &pid) != BGWH_STOPPED)
		return false;
	pfree(database->handle);
	database->handle = NULL;

	/* A round reports by itself how it ends, but one that never began cannot. */
	chatcrypt_maintenancestatus_bury(database->name);
	(void) chatcrypt_maintenancestatus_find(database->name, CHATCRYPT_ROUND, &round);
	if (round.pid == 0 && round.last_start < database->started_at &&
		round.last_error_at < database->started_at)
		chatcrypt_maintenancestatus_failed(database->name, CHATCRYPT_ROUND,
										   "the worker could not connect: see the server log");
	if (!database->wanted)
		database->name[0] = '\0';
	return true;
}

/* Milliseconds until the database is to be looked at again. */
static long
look_after(Database *database)
{
	TimestampTz now = GetCurrentTimestamp();
	ChatcryptTaskStatus round;

	if (database->name[0] == '\0')
		return IDLE_MS;
	if (database->handle != NULL && !has_ended(database))
		return LOOK_MS;
	if (!database->wanted)
		return IDLE_MS;
	(void) chatcrypt_maintenancestatus_find(database->name, CHATCRYPT_ROUND, &round);
	if (round.pid != 0)
		return LOOK_MS;			/* a session has called run_maintenance() */
	if (round.next_due > now)
		return Min(TimestampDifferenceMilliseconds(now, round.next_due), IDLE_MS);
	start_round(database);
	return LOOK_MS;
}

/* Also called where the launcher fails: its successor does not know of these workers. */
static void
end_rounds(int code, Datum arg)
{
	(void) code;
	(void) arg;
	for (int i = 0; i < MOST_DATABASES; i++)
		if (databases[i].handle != NULL)
			TerminateBackgroundWorker(databases[i].handle);
}

void
chatcrypt_maintenance_launcher_main(Datum arg)
{
	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(end_rounds, (Datum) 0);
	read_list();

	while (!ShutdownRequestPending)
	{
		long		sleep_ms = IDLE_MS;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_list();
		}
		for (int i = 0; i < MOST_DATABASES; i++)
			sleep_ms = Min(sleep_ms, look_after(&databases[i]));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, sleep_ms,
						 chatcrypt_wait_event(&wait_event, "ChatcryptMaintenance"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(1);				/* a worker that exits with 0 is not started again */
}
