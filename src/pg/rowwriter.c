/*
 * rowwriter.c
 *		Inserts rows into chatcrypt.message: see rowwriter.h.
 *
 * ExecSimpleRelationInsert, which logical replication uses, does the executor's
 * work for one row: triggers, generated columns, constraints, indexes.  It leaves
 * rights and row-level security to its caller: rights are looked at when a writer
 * opens; of policies only the extension's own is known here, and asked directly.
 *
 * A writer holds a table and its indexes open for as long as the memory of its
 * query lives.  That memory may end after the query's own resource owner (COPY) or
 * before it (an abort), so a writer's references belong to a resource owner of
 * its own, which the end of the memory releases, in either case and silently.  Where
 * even the transaction ends first (an error in a query that a function runs), it
 * takes the owners of all its writers along, and they are told.
 * The lock on the table belongs to the transaction.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "pg/access.h"
#include "pg/messagetable.h"
#include "pg/rowwriter.h"
#include "pg/store.h"

struct ChatcryptRowWriter
{
	ResourceOwner owner;
	bool		check_policy;
	Relation	table;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slot;
	MemoryContextCallback at_end;
	dlist_node	link;			/* in open_writers while owner is set */
};

static dlist_head open_writers = DLIST_STATIC_INIT(open_writers);

/* The owners are the transaction's children, and go with it. */
static void
forget_owners(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE || event == XACT_EVENT_PARALLEL_PRE_COMMIT)
		return;
	while (!dlist_is_empty(&open_writers))
		dlist_container(ChatcryptRowWriter, link, dlist_pop_head_node(&open_writers))->owner = NULL;
}

static void
make_owner(ChatcryptRowWriter *writer)
{
	static bool watching = false;

	if (!watching)
		RegisterXactCallback(forget_owners, NULL);
	watching = true;
	writer->owner = ResourceOwnerCreate(TopTransactionResourceOwner, "chatcrypt row writer");
	dlist_push_head(&open_writers, &writer->link);
}

static void
close_writer(void *arg)
{
	ChatcryptRowWriter *writer = arg;

	if (writer->owner == NULL)
		return;
	dlist_delete(&writer->link);
	ResourceOwnerRelease(writer->owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(writer->owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(writer->owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(writer->owner);
}

/* Is this policy chatcrypt.may_see(chat_id), as the extension made it? */
static bool
is_our_qual(const Node *qual, Oid may_see)
{
	const FuncExpr *call = (const FuncExpr *) qual;
	const Var  *chat_id;

	if (qual == NULL || !IsA(qual, FuncExpr) || call->funcid != may_see || list_length(call->args) != 1)
		return false;
	chat_id = linitial(call->args);
	return IsA(chat_id, Var) && chat_id->varattno == MESSAGE_CHAT_ID + 1;
}

static bool
has_our_policy_alone(Relation table)
{
	Oid			may_see = chatcrypt_store_function_may_see();
	ListCell   *cell;

	if (table->rd_rsdesc == NULL || list_length(table->rd_rsdesc->policies) != 1)
		return false;
	foreach(cell, table->rd_rsdesc->policies)
	{
		const RowSecurityPolicy *policy = lfirst(cell);

		if (policy->polcmd != '*' || !policy->permissive || !is_our_qual((Node *) policy->with_check_qual, may_see))
			return false;
	}
	return true;
}

/* Only a plain table of our own columns, without what the executor would do beyond a row. */
static bool
is_plain(Relation table)
{
	const TriggerDesc *triggers = table->trigdesc;

	return table->rd_rel->relkind == RELKIND_RELATION &&
		!table->rd_rel->relispartition &&
		RelationGetNumberOfAttributes(table) == MESSAGE_COLUMNS &&
		table->rd_rules == NULL &&
		(triggers == NULL ||
		 !(triggers->trig_insert_new_table || triggers->trig_insert_before_statement ||
		   triggers->trig_insert_after_statement));
}

static bool
may_write_directly(Relation table, bool *check_policy)
{
	Oid			relid = RelationGetRelid(table);
	int			security = check_enable_rls(relid, InvalidOid, true);

	*check_policy = security == RLS_ENABLED;
	return is_plain(table) &&
		pg_class_aclcheck(relid, GetUserId(), ACL_INSERT) == ACLCHECK_OK &&
		(security != RLS_ENABLED || has_our_policy_alone(table));
}

/* Everything that must be released lands in the current resource owner, the writer's. */
static void
open_table(ChatcryptRowWriter *writer, Oid relid)
{
	writer->table = table_open(relid, NoLock);
	writer->estate = CreateExecutorState();
	writer->result = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->result, writer->table, 0, NULL, 0);
	ExecOpenIndices(writer->result, false);
	writer->slot = MakeSingleTupleTableSlot(RelationGetDescr(writer->table), table_slot_callbacks(writer->table));
}

ChatcryptRowWriter *
chatcrypt_rowwriter_open(MemoryContext query_context)
{
	Oid			relid = chatcrypt_store_relation("message");
	Relation	table = table_open(relid, RowExclusiveLock);
	ResourceOwner outer_owner = CurrentResourceOwner;
	MemoryContext outer_context = CurrentMemoryContext;
	ChatcryptRowWriter *writer;
	bool		check_policy;
	bool		direct = may_write_directly(table, &check_policy);

	table_close(table, NoLock);
	if (!direct)
		return NULL;

	MemoryContextSwitchTo(query_context);
	writer = palloc0(sizeof(*writer));
	writer->check_policy = check_policy;
	make_owner(writer);
	writer->at_end.func = close_writer;
	writer->at_end.arg = writer;
	MemoryContextRegisterResetCallback(query_context, &writer->at_end);
	PG_TRY();
	{
		CurrentResourceOwner = writer->owner;
		open_table(writer, relid);
	}
	PG_FINALLY();
	{
		CurrentResourceOwner = outer_owner;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer_context);
	return writer;
}

void
chatcrypt_rowwriter_insert(ChatcryptRowWriter *writer, const Datum *values, const bool *nulls)
{
	if (writer->check_policy &&
		!chatcrypt_actor_may_see(DatumGetUUIDP(values[MESSAGE_CHAT_ID])->data))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("new row violates row-level security policy for table \"%s\"",
						RelationGetRelationName(writer->table))));

	ExecClearTuple(writer->slot);
	memcpy(writer->slot->tts_values, values, sizeof(Datum) * MESSAGE_COLUMNS);
	memcpy(writer->slot->tts_isnull, nulls, sizeof(bool) * MESSAGE_COLUMNS);
	ExecStoreVirtualTuple(writer->slot);
	writer->estate->es_snapshot = GetActiveSnapshot();
	ExecSimpleRelationInsert(writer->result, writer->estate, writer->slot);
	ExecClearTuple(writer->slot);
	ResetPerTupleExprContext(writer->estate);
}
