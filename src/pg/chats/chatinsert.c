/*
 * chatinsert.c
 *		Refuses INSERT into the view chatcrypt.chats, and names the function that creates a
 *		chat.
 *
 * A trigger alone would raise its error too late: before it PostgreSQL reports that the role
 * may not write to the view, or that ON CONFLICT (chat_id) finds no unique index there.  So an
 * INSERT is refused while it is planned.  COPY is not planned, and MERGE is not checked there:
 * the trigger refuses what they insert.
 */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"

#include "pg/chats/chatinsert.h"
#include "pg/compat.h"
#include "pg/store/store.h"

static planner_hook_type previous_planner;

pg_noreturn static void
refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot create a chat with INSERT"),
			 errdetail("It would have no key."),
			 errhint("Call chatcrypt.create_chat(); where the chat may exist already, chatcrypt.create_chat(…, if_not_exists => true).")));
}

static void
check_query(const Query *query)
{
	const RangeTblEntry *target;
	ListCell   *cell;

	foreach(cell, query->cteList)	/* only a CTE of a query can write */
		check_query(castNode(Query, lfirst_node(CommonTableExpr, cell)->ctequery));
	if (query->commandType != CMD_INSERT)
		return;
	target = rt_fetch(query->resultRelation, query->rtable);
	if (target->relkind == RELKIND_VIEW && chatcrypt_relations_is_named(target->relid, "chats"))
		refuse();
}

static PlannedStmt *
plan_query(CHATCRYPT_PLANNER_PARAMETERS)
{
	check_query(parse);
	return chatcrypt_call_planner(previous_planner);
}

void
chatcrypt_chatinsert_install_hooks(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_query;
}

PG_FUNCTION_INFO_V1(chatcrypt_refuse_chat);

/* INSTEAD OF INSERT ON chatcrypt.chats. */
Datum
chatcrypt_refuse_chat(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	refuse();
}
