/*
 * copyguard.c
 *		Keeps message bodies out of the context of errors during COPY.
 *
 * If anything goes wrong while COPY reads a line (a missing column, a duplicate id, a
 * cancel, a shutdown), PostgreSQL adds that line to the context of the error, and so to
 * the server's log.  For a COPY into the view messages, or by mistake into its table,
 * or into a protected table, only the number of the line is kept there.  Errors are caught and raised again; reports that
 * cannot be caught, such as the FATAL of a terminated session, are changed by the log hook.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "pg/access/copyguard.h"

static ProcessUtility_hook_type previous_process_utility;
static emit_log_hook_type previous_emit_log;
static bool copying;

/* A table with protected columns has the access method of that name. */
static bool
is_protected(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			am = HeapTupleIsValid(tuple) ? ((Form_pg_class) GETSTRUCT(tuple))->relam : InvalidOid;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return OidIsValid(am) && am == get_am_oid("chatcrypt", true);
}

static bool
copies_into_messages(const Node *utility)
{
	const CopyStmt *copy = (const CopyStmt *) utility;
	Oid			schema;
	Oid			target;

	if (!IsA(utility, CopyStmt) || !copy->is_from || copy->relation == NULL)
		return false;
	schema = get_namespace_oid("chatcrypt", true);
	target = RangeVarGetRelid(copy->relation, NoLock, true);
	return OidIsValid(target) && OidIsValid(schema) &&
		(target == get_relname_relid("messages", schema) ||
		 target == get_relname_relid("sealed_message", schema) || is_protected(target));
}

/* Of "COPY messages, line 7: ..." keeps what is before the colon, in any language. */
static void
cut_context(ErrorData *error)
{
	char	   *colon;

	if (error->context == NULL)
		return;
	colon = strchr(error->context, ':');
	if (colon != NULL)
		*colon = '\0';
	else
		error->context = NULL;
}

static void
emit_log(ErrorData *error)
{
	if (copying)
		cut_context(error);
	if (previous_emit_log)
		previous_emit_log(error);
}

static void
call_process_utility(PlannedStmt *statement, const char *sql, bool read_only_tree,
					 ProcessUtilityContext context, ParamListInfo params,
					 QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	if (previous_process_utility)
		previous_process_utility(statement, sql, read_only_tree, context, params, environment, dest,
								 completion);
	else
		standard_ProcessUtility(statement, sql, read_only_tree, context, params, environment, dest,
								completion);
}

static void
process_utility(PlannedStmt *statement, const char *sql, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				DestReceiver *dest, QueryCompletion *completion)
{
	MemoryContext memory = CurrentMemoryContext;
	bool		outer = copying;

	if (!copies_into_messages(statement->utilityStmt))
	{
		call_process_utility(statement, sql, read_only_tree, context, params, environment, dest,
							 completion);
		return;
	}
	PG_TRY();
	{
		copying = true;
		call_process_utility(statement, sql, read_only_tree, context, params, environment, dest,
							 completion);
		copying = outer;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		copying = outer;
		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		cut_context(error);
		ReThrowError(error);
	}
	PG_END_TRY();
}

void
chatcrypt_copyguard_install_hooks(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
}
