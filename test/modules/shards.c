/*
 * shards.c
 *		A planner that sends statements elsewhere: what a distributed database does, for
 *		the tests of chatcrypt.  Never installed.
 *
 * A table named "shell" is planned with all tables that inherit from it, also where
 * the statement said ONLY: its rows are theirs, and a ctid is no one row's.
 * shards.blind has it leave alone statements without parameters, so that a look at the
 * plan of such a statement sees nothing.
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "optimizer/planner.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "pg/compat.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static planner_hook_type previous_hook;
static bool blind;

/* With subqueries. */
static void
send_to_shards(Query *query)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_SUBQUERY)
			send_to_shards(entry->subquery);
		else if (entry->rtekind == RTE_RELATION && strcmp(get_rel_name(entry->relid), "shell") == 0)
			entry->inh = true;
	}
}

static PlannedStmt *
plan_with_shards(CHATCRYPT_PLANNER_PARAMETERS)
{
	if (!blind || params != NULL)
		send_to_shards(parse);
	return chatcrypt_call_planner(previous_hook);
}

void
_PG_init(void)
{
	DefineCustomBoolVariable("shards.blind", "Whether statements without parameters stay as they are.",
							 NULL, &blind, false, PGC_USERSET, 0, NULL, NULL, NULL);
	previous_hook = planner_hook;
	planner_hook = plan_with_shards;
}
