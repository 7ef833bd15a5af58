/*
 * tablewrite.c
 *		Runs the statements that write chatcrypt.message: see tablewrite.h.
 *
 * PostgreSQL checks rights when a plan starts, and has no way to grant one for a single
 * statement: SECURITY DEFINER would make the owner of the table the user of everything
 * that happens on the way.  So the plan that is about to start is told apart by its
 * address, which no other statement can have while we hold a reference to it, and starts
 * from a copy that does not ask for the right to write.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/plancache.h"
#include "utils/resowner.h"

#include "pg/base/store.h"
#include "pg/compat.h"
#include "pg/messages/tablewrite.h"

static ExecutorStart_hook_type previous_executor_start;
static const PlannedStmt *writing;	/* the plan that this file runs; NULL for none */

static PlannedStmt *
without_right_to_write(const PlannedStmt *plan)
{
	PlannedStmt *copy = makeNode(PlannedStmt);

	memcpy(copy, plan, sizeof(PlannedStmt));
	chatcrypt_ask_no_right_to_write(copy, chatcrypt_store_relation("message"));
	return copy;
}

static void
start_query(QueryDesc *query, int flags)
{
	if (unlikely(writing != NULL) && query->plannedstmt == writing)
		query->plannedstmt = without_right_to_write(writing);
	if (previous_executor_start)
		previous_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

void
chatcrypt_tablewrite_install_hooks(void)
{
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_query;
}

uint64
chatcrypt_tablewrite_run(SPIPlanPtr *plan, const char *sql, const ChatcryptArg *args, int nargs)
{
	const PlannedStmt *outer = writing;
	CachedPlan *cached;
	uint64		processed;

	/* The executor looks for writes among the rights that are asked for. */
	PreventCommandIfReadOnly("writing messages");
	chatcrypt_statement_prepare(plan, sql, args, nargs);
	cached = SPI_plan_get_cached_plan(*plan);
	if (cached == NULL || list_length(cached->stmt_list) != 1)
		elog(ERROR, "could not plan a statement that writes messages");
	PG_TRY();
	{
		writing = linitial_node(PlannedStmt, cached->stmt_list);
		processed = chatcrypt_statement_run(plan, sql, args, nargs, false);
	}
	PG_FINALLY();
	{
		writing = outer;
	}
	PG_END_TRY();
	ReleaseCachedPlan(cached, CurrentResourceOwner);
	return processed;
}
