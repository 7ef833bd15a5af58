/*
 * viewplan.c
 *		Plans statements that write to the view chatcrypt.messages, and tells the trigger of the
 *		view what their plans say: see viewplan.h.
 *
 * An UPDATE of a table waits for a session that changes a row at the same time, and then checks
 * the row as that session left it (EvalPlanQual).  An UPDATE of a view with an INSTEAD OF
 * trigger does not: its rows come from a subquery that locks nothing, and what was written in
 * between would be lost.  A SELECT ...  FOR UPDATE of the same view does wait and check again,
 * in a LockRows node.  So the view's subquery gets, before it is planned, the mark that FOR NO
 * KEY UPDATE would have put there, and PostgreSQL plans LockRows below ModifyTable.  The
 * trigger then gets the newest version of a row, for which all conditions hold: those of the
 * statement, of the view, and of row-level security.
 *
 * MERGE cannot be planned that way: its target may be on the nullable side of an outer join,
 * where PostgreSQL locks no rows.  Nor is there a LockRows node in that place where the view's
 * subquery is planned by itself, as the subquery of a security barrier is.  So the trigger does
 * not assume that its rows are locked: when the query starts, this file looks at the plan and
 * tells the trigger (viewquery.h).
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "pg/compat.h"
#include "pg/messages/messagetable.h"
#include "pg/messages/numberplan.h"
#include "pg/messages/viewplan.h"
#include "pg/messages/viewtrigger.h"
#include "pg/messages/viewquery.h"
#include "pg/store/store.h"

static planner_hook_type previous_planner;
static ExecutorStart_hook_type previous_executor_start;

bool
chatcrypt_viewplan_is_messages(Oid relation)
{
	return chatcrypt_relations_is_named(relation, "messages");
}

static bool
is_target(const RangeTblEntry *entry)
{
	return entry->relkind == RELKIND_VIEW && chatcrypt_viewplan_is_messages(entry->relid);
}

/* ---------- planning ---------- */

/*
 * The rewriter replaced the view by its subquery, and has the old row passed to the trigger as
 * the whole row of that subquery.  NULL where this is not so.
 */
static Query *
subquery_of_target(const Query *update)
{
	ListCell   *cell;

	foreach(cell, update->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Var		   *row = (Var *) entry->expr;

		if (!entry->resjunk || entry->resname == NULL || strcmp(entry->resname, "wholerow") != 0 ||
			!IsA(row, Var) || row->varattno != InvalidAttrNumber || row->varlevelsup != 0)
			continue;
		return rt_fetch(row->varno, update->rtable)->subquery;
	}
	return NULL;
}

/* Marks the rows as the rewriter does for the view of a SELECT ...  FOR NO KEY UPDATE. */
static void
lock_rows_of(Query *view)
{
	Oid			table = chatcrypt_relations_find("sealed_message");
	ListCell   *cell;

	foreach(cell, view->jointree->fromlist)
	{
		RangeTblRef *source = lfirst(cell);
		RangeTblEntry *entry;

		if (!IsA(source, RangeTblRef))
			continue;
		entry = rt_fetch(source->rtindex, view->rtable);
		if (entry->rtekind != RTE_RELATION || entry->relid != table)
			continue;
		LockRelationOid(table, RowShareLock);
		entry->rellockmode = RowShareLock;
		applyLockingClause(view, source->rtindex, LCS_FORNOKEYUPDATE, LockWaitBlock, true);
	}
}

static bool
names_message_id_alone(const OnConflictExpr *conflict)
{
	const InferenceElem *element;
	const Var  *column;

	if (list_length(conflict->arbiterElems) != 1 || conflict->arbiterWhere != NULL)
		return false;
	element = linitial_node(InferenceElem, conflict->arbiterElems);
	column = (const Var *) element->expr;
	return IsA(column, Var) && column->varattno == MESSAGE_ID + 1 &&
		!OidIsValid(element->infercollid) && !OidIsValid(element->inferopclass);
}

/*
 * A view has no unique index that ON CONFLICT (message_id) could be matched with.  The table
 * has one on that column, and the trigger carries out DO NOTHING.  What the trigger cannot do
 * would fail a little later, with the same SQLSTATE and without a hint.
 */
static void
take_conflict_clause(OnConflictExpr *conflict)
{
	if (conflict->arbiterElems == NIL)
		return;
	if (conflict->action != ONCONFLICT_NOTHING)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("ON CONFLICT DO UPDATE does not work on view \"messages\""),
				 errhint("Call chatcrypt.put_message() or chatcrypt.put_messages(), which replace the body of an existing message.")));
	if (!names_message_id_alone(conflict))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("there is no unique or exclusion constraint matching the ON CONFLICT specification"),
				 errhint("Write ON CONFLICT (message_id) DO NOTHING, or ON CONFLICT DO NOTHING.")));
	conflict->arbiterElems = NIL;
}

static void
prepare_query(Query *query)
{
	ListCell   *cell;
	Query	   *view;

	foreach(cell, query->cteList)	/* only a CTE of a query can write */
		prepare_query(castNode(Query, lfirst_node(CommonTableExpr, cell)->ctequery));
	if (query->resultRelation == 0 || !is_target(rt_fetch(query->resultRelation, query->rtable)))
		return;
	if (query->commandType == CMD_INSERT && query->onConflict != NULL)
		take_conflict_clause(query->onConflict);
	view = query->commandType == CMD_UPDATE ? subquery_of_target(query) : NULL;
	if (view != NULL)
		lock_rows_of(view);
}

static PlannedStmt *
plan_query(CHATCRYPT_PLANNER_PARAMETERS)
{
	prepare_query(parse);
	chatcrypt_numberplan_rewrite(parse);
	return chatcrypt_call_planner(previous_planner);
}

/* ---------- starting ---------- */

/* Fills the place of our trigger with what the plan says; the view may have other triggers. */
static void
tell_trigger(const ModifyTableState *write, ResultRelInfo *target)
{
	const ModifyTable *plan = (const ModifyTable *) write->ps.plan;
	bool		locks_rows = write->operation == CMD_UPDATE &&
		IsA(outerPlanState(write), LockRowsState);

	for (int i = 0; i < target->ri_TrigDesc->numtriggers; i++)
	{
		FmgrInfo   *trigger = &target->ri_TrigFunctions[i];

		fmgr_info_cxt(target->ri_TrigDesc->triggers[i].tgfoid, trigger,
					  write->ps.state->es_query_cxt);
		if (trigger->fn_addr != chatcrypt_write_message)
			continue;
		chatcrypt_viewquery_of(trigger)->rows_are_locked = locks_rows;
		chatcrypt_viewquery_of(trigger)->ignores_duplicates =
			plan->onConflictAction == ONCONFLICT_NOTHING;
	}
}

static void
tell_triggers(const ModifyTableState *write)
{
	for (int i = 0; i < write->mt_nrels; i++)
	{
		ResultRelInfo *target = &write->resultRelInfo[i];

		if (target->ri_RelationDesc->rd_rel->relkind == RELKIND_VIEW &&
			target->ri_TrigDesc != NULL &&
			chatcrypt_viewplan_is_messages(RelationGetRelid(target->ri_RelationDesc)))
			tell_trigger(write, target);
	}
}

static void
start_query(QueryDesc *query, int flags)
{
	ListCell   *cell;

	if (previous_executor_start)
		previous_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
	if (IsA(query->planstate, ModifyTableState))
		tell_triggers((ModifyTableState *) query->planstate);
	foreach(cell, query->estate->es_auxmodifytables)
		tell_triggers(lfirst(cell));
}

void
chatcrypt_viewplan_install_hooks(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_query;
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_query;
}
