/*
 * unopened.c
 *		Handles bodies that do not open in an UPDATE or MERGE of the view messages: see
 *		unopened.h.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "fmgr.h"
#include "parser/parsetree.h"

#include "pg/compat.h"
#include "pg/messages/unopened.h"
#include "pg/messages/viewplan.h"

typedef ChatcryptMessageRow Row;

static ExecutorRun_hook_type previous_executor_run;
static bool updating;
static bool some_did_not_open;	/* in the innermost query */

bool
chatcrypt_unopened_is_updating(void)
{
	return updating;
}

Datum
chatcrypt_unopened_return_null(FunctionCallInfo fcinfo)
{
	if (updating)
		some_did_not_open = true;
	PG_RETURN_NULL();
}

/*
 * Whether this query is an UPDATE or a MERGE of our view.  The first test is almost always
 * enough.
 */
static bool
updates_the_view(QueryDesc *query)
{
	const ModifyTable *plan;
	RangeTblEntry *target;

	if (query->operation != CMD_UPDATE && query->operation != CMD_MERGE)
		return false;
	if (!IsA(query->plannedstmt->planTree, ModifyTable))
		return false;
	plan = (const ModifyTable *) query->plannedstmt->planTree;
	target = rt_fetch(linitial_int(plan->resultRelations), query->plannedstmt->rtable);
	return target->relkind == RELKIND_VIEW && chatcrypt_viewplan_is_messages(target->relid);
}

static void
run_query(CHATCRYPT_EXECUTOR_RUN_PARAMETERS)
{
	bool		outer = updating;
	bool		outer_did_not_open = some_did_not_open;
	bool		inner = updates_the_view(queryDesc);

	if (outer == inner)
	{
		chatcrypt_call_executor_run(previous_executor_run);
		return;
	}
	PG_TRY();
	{
		updating = inner;
		some_did_not_open = false;
		chatcrypt_call_executor_run(previous_executor_run);
	}
	PG_FINALLY();
	{
		updating = outer;
		some_did_not_open = outer_did_not_open;
	}
	PG_END_TRY();
}

void
chatcrypt_unopened_install_hooks(void)
{
	previous_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = run_query;
}

/*
 * The old row's body is NULL where it does not open.  So is a body that a subquery of the same
 * statement reads and that does not open: that NULL must not replace an existing body.
 */
void
chatcrypt_unopened_refuse_to_erase(const Row *old, const Row *given)
{
	if (old->nulls[MESSAGE_BODY] || !given->nulls[MESSAGE_BODY] || !some_did_not_open)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
			 errmsg("cannot set a body to NULL in a statement that read a message that does not open"),
			 errhint("Leave out the message that does not open.")));
}
