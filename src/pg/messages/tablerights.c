/*
 * tablerights.c
 *		Runs the statements that write chatcrypt.sealed_message: see tablerights.h.
 *
 * PostgreSQL checks rights when a plan starts, and has no way to grant one for a single
 * statement: with SECURITY DEFINER everything that happens on the way would run as the owner of
 * the table.  So the statement that is about to start is recognized by the address of its text,
 * which no other statement can have because its plan is kept, and it starts from a copy of the
 * plan that does not ask for the right to write.  The address of the plan would not do: after a
 * concurrent ANALYZE the statement is planned once more just before it starts.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/plancache.h"

#include "pg/compat.h"
#include "pg/messages/tablerights.h"
#include "pg/store/store.h"

static ExecutorStart_hook_type previous_executor_start;
static const char *writing;		/* the text of the statement that this file runs; NULL for none */

static PlannedStmt *
without_right_to_write(const PlannedStmt *plan)
{
	PlannedStmt *copy = makeNode(PlannedStmt);

	memcpy(copy, plan, sizeof(PlannedStmt));
	chatcrypt_ask_no_right_to_write(copy, chatcrypt_relations_find("sealed_message"));
	return copy;
}

static void
start_query(QueryDesc *query, int flags)
{
	if (unlikely(writing != NULL) && query->sourceText == writing)
		query->plannedstmt = without_right_to_write(query->plannedstmt);
	if (previous_executor_start)
		previous_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

void
chatcrypt_tablerights_install_hooks(void)
{
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_query;
}

uint64
chatcrypt_tablerights_run(SPIPlanPtr *plan, const char *sql, const ChatcryptArg *args, int nargs)
{
	const char *outer = writing;
	CachedPlanSource *source;
	uint64		processed;

	/* The executor looks for writes among the rights that are asked for. */
	PreventCommandIfReadOnly("writing messages");
	chatcrypt_statement_prepare(plan, sql, args, nargs);
	source = linitial(SPI_plan_get_plan_sources(*plan));
	PG_TRY();
	{
		writing = source->query_string;
		processed = chatcrypt_statement_run(plan, sql, args, nargs, false);
	}
	PG_FINALLY();
	{
		writing = outer;
	}
	PG_END_TRY();
	return processed;
}
