/*
 * ownrows.c
 *		Refuses tables whose rows are kept elsewhere: see ownrows.h.
 *
 * The plan shows where the rows are.  For a statement without conditions PostgreSQL's own
 * planner makes one scan of the table, whereas other planners put a node of their own above
 * the scan or in its place.  Any unknown kind of node is refused.
 */
#include "postgres.h"

#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"

#include "pg/store/owner.h"
#include "pg/upkeep/ownrows.h"

static bool
is_scan_of(const Plan *plan, List *rtable, Oid relation)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_IndexScan:
		case T_BitmapHeapScan:
			return rt_fetch(((const Scan *) plan)->scanrelid, rtable)->relid == relation;
		default:
			return false;
	}
}

static bool
is_write_of(const Plan *plan, List *rtable, Oid relation)
{
	return IsA(plan, ModifyTable) &&
		rt_fetch(linitial_int(((const ModifyTable *) plan)->resultRelations), rtable)->relid ==
		relation;
}

static bool
is_about(const PlannedStmt *statement, Oid relation)
{
	const Plan *plan = statement->planTree;

	if (statement->commandType == CMD_UPDATE)
	{
		if (!is_write_of(plan, statement->rtable, relation))
			return false;
		plan = outerPlan(plan);
	}
	return is_scan_of(plan, statement->rtable, relation);
}

/* Rules may have turned the statement into several. */
static bool
is_planned_as_own(const char *sql, CmdType command, Oid relation)
{
	RawStmt    *raw = linitial_node(RawStmt, pg_parse_query(sql));
	List	   *queries = pg_analyze_and_rewrite_fixedparams(raw, sql, NULL, 0, NULL);
	ListCell   *cell;

	foreach(cell, pg_plan_queries(queries, sql, 0, NULL))
	{
		const PlannedStmt *statement = lfirst_node(PlannedStmt, cell);

		if (statement->commandType == command && statement->canSetTag)
			return is_about(statement, relation);
	}
	return false;
}

static bool
has_own_rows(const ChatcryptPlace *place, bool to_write)
{
	const char *read = psprintf("SELECT ctid, %s FROM ONLY %s", place->envelope, place->table);
	const char *write = psprintf("UPDATE ONLY %s SET %s = %s", place->table, place->column,
								 place->column);

	return is_planned_as_own(read, CMD_SELECT, place->relation) &&
		(!to_write || is_planned_as_own(write, CMD_UPDATE, place->relation));
}

void
chatcrypt_ownrows_require(const ChatcryptPlace *place, bool to_write)
{
	ChatcryptOwnerScope scope;
	bool		has;

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_owner_begin_as(&scope, place->owner);
	has = has_own_rows(place, to_write);
	chatcrypt_owner_end(&scope);
	PopActiveSnapshot();
	if (!has)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("rows of %s are not kept in that table", place->table),
				 errdetail("A plan for it is not a scan of the table itself: it is distributed, compressed or replaced by a rule."),
				 errhint("Find the envelopes in such a table with the system that keeps it, re-encrypt them with chatcrypt.reencrypt_envelope(), and leave external_envelopes of their chats true.")));
}
