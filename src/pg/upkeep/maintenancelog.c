/*
 * maintenancelog.c
 *		Lines of the server's log about a round: see maintenancelog.h.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "pg/upkeep/maintenancelog.h"

static char database[NAMEDATALEN];
static StringInfoData done;		/* "TASK did N", and so on, until the line is written */

/*
 * A round that is ended from outside has committed what it did until then.  That is written
 * here, at the exit of the process, because such an end can come in the middle of any task.
 */
static void
log_round(int code, Datum arg)
{
	(void) code;
	(void) arg;
	if (done.len > 0)
		ereport(LOG,
				(errmsg("maintenance of database \"%s\": %s", database, done.data)));
}

void
chatcrypt_maintenancelog_begin(const char *name)
{
	MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);

	strlcpy(database, name, NAMEDATALEN);
	initStringInfo(&done);
	MemoryContextSwitchTo(previous);
	before_shmem_exit(log_round, (Datum) 0);
}

void
chatcrypt_maintenancelog_note(const char *task, uint64 items)
{
	if (items > 0)
		appendStringInfo(&done, "%s%s did " UINT64_FORMAT, done.len > 0 ? ", " : "", task, items);
}

void
chatcrypt_maintenancelog_failure(const char *task, uint64 items, const char *wrong)
{
	ereport(LOG,
			(errmsg("maintenance of database \"%s\": %s did " UINT64_FORMAT ", but %s", database,
					task, items, wrong),
			 errhidestmt(true)));
}
