/*
 * directinsert.c
 *		Inserts rows into chatcrypt.sealed_message: see directinsert.h.
 *
 * ExecSimpleRelationInsert, which logical replication uses, does the executor's work for one
 * row: triggers, generated columns, constraints, indexes.  It leaves rights and row-level
 * security to its caller.  The right needed is the one on the view, which the executor has
 * checked.  The only policy that this file knows is the extension's own, which it checks by a
 * direct call.
 *
 * A direct insert holds a table and its indexes open for as long as the memory of its query
 * lives, which may be longer than the query's own resource owner lives (COPY).  So its references
 * belong to a resource owner of its own, which is released, without warnings, when that memory is
 * freed.  Where a (sub)transaction aborts that may be too late, because memory under SPI is freed
 * last: then the abort itself closes the direct inserts.  The lock on the table belongs to the
 * transaction.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
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

#include "pg/access/access.h"
#include "pg/messages/messagetable.h"
#include "pg/messages/directinsert.h"
#include "pg/store/store.h"

struct ChatcryptDirectInsert
{
	dlist_node	node;			/* in open_inserts, while there is an owner */
	ResourceOwner owner;		/* NULL once closed */
	int			nest_level;		/* of the (sub)transaction that opened it */
	bool		check_policy;
	Relation	table;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slot;
	MemoryContextCallback at_end;
};

static dlist_head open_inserts = DLIST_STATIC_INIT(open_inserts);

static void
close_insert(void *arg)
{
	ChatcryptDirectInsert *insert = arg;

	if (insert->owner == NULL)
		return;
	dlist_delete(&insert->node);
	ResourceOwnerRelease(insert->owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(insert->owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(insert->owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(insert->owner);
	insert->owner = NULL;
}

static void
close_inserts(int least_nest_level)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &open_inserts)
	{
		ChatcryptDirectInsert *insert = dlist_container(ChatcryptDirectInsert, node, iter.cur);

		if (insert->nest_level >= least_nest_level)
			close_insert(insert);
	}
}

/* Runs before the transaction's own resource owner is released, and ours with it. */
static void
close_at_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		close_inserts(0);
}

static void
close_at_subabort(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		close_inserts(GetCurrentTransactionNestLevel());
}

static void
watch_once(void)
{
	static bool watching = false;

	if (watching)
		return;
	RegisterXactCallback(close_at_end, NULL);
	RegisterSubXactCallback(close_at_subabort, NULL);
	watching = true;
}

/*
 * Whether this policy is chatcrypt.may_see(chat_id), as the extension made it.  The uuid is
 * cast to any_id.
 */
static bool
is_our_qual(const Node *qual, Oid may_see)
{
	const FuncExpr *call = (const FuncExpr *) qual;
	const RelabelType *any_id;
	const Var  *chat_id;

	if (qual == NULL || !IsA(qual, FuncExpr) || call->funcid != may_see ||
		list_length(call->args) != 1)
		return false;
	any_id = linitial(call->args);
	if (!IsA(any_id, RelabelType))
		return false;
	chat_id = (const Var *) any_id->arg;
	return IsA(chat_id, Var) && chat_id->varattno == MESSAGE_CHAT_ID + 1;
}

/* A user for whom there is no policy may insert nothing, so the policy must be for all users. */
static bool
is_for_everybody(const RowSecurityPolicy *policy)
{
	ArrayType  *roles = policy->roles;

	return ArrayGetNItems(ARR_NDIM(roles), ARR_DIMS(roles)) == 1 &&
		*(Oid *) ARR_DATA_PTR(roles) == ACL_ID_PUBLIC;
}

static bool
is_ours(const RowSecurityPolicy *policy)
{
	return policy->polcmd == '*' && policy->permissive && is_for_everybody(policy) &&
		is_our_qual((Node *) policy->with_check_qual, chatcrypt_relations_may_see());
}

/* Whether the extension's own policy is the only one that applies to an INSERT. */
static bool
has_our_policy_alone(Relation table)
{
	int			found = 0;
	ListCell   *cell;

	if (table->rd_rsdesc == NULL ||
		row_security_policy_hook_permissive != NULL || row_security_policy_hook_restrictive != NULL)
		return false;
	foreach(cell, table->rd_rsdesc->policies)
	{
		const RowSecurityPolicy *policy = lfirst(cell);

		if (policy->polcmd != '*' && policy->polcmd != ACL_INSERT_CHR)
			continue;
		if (!is_ours(policy))
			return false;
		found++;
	}
	return found == 1;
}

/*
 * Whether this is a plain table with our own columns only, without anything that the executor
 * would do beyond a row, and without triggers that may change a row or keep it out.
 */
static bool
is_plain(Relation table)
{
	const TriggerDesc *triggers = table->trigdesc;

	return table->rd_rel->relkind == RELKIND_RELATION &&
		!table->rd_rel->relispartition &&
		RelationGetNumberOfAttributes(table) == MESSAGE_COLUMNS &&
		table->rd_rules == NULL &&
		(triggers == NULL ||
		 !(triggers->trig_insert_new_table || triggers->trig_insert_before_row ||
		   triggers->trig_insert_before_statement || triggers->trig_insert_after_statement));
}

static bool
may_write_directly(Relation table, bool *check_policy)
{
	Oid			relid = RelationGetRelid(table);
	int			security = check_enable_rls(relid, InvalidOid, true);

	*check_policy = security == RLS_ENABLED;
	return is_plain(table) && (security != RLS_ENABLED || has_our_policy_alone(table));
}

/* What must be released belongs to the current resource owner, which is the direct insert's. */
static void
open_table(ChatcryptDirectInsert *insert, Oid relid)
{
	insert->table = table_open(relid, NoLock);
	insert->estate = CreateExecutorState();
	insert->result = makeNode(ResultRelInfo);
	InitResultRelInfo(insert->result, insert->table, 0, NULL, 0);
	ExecOpenIndices(insert->result, false);
	insert->slot = MakeSingleTupleTableSlot(RelationGetDescr(insert->table),
											table_slot_callbacks(insert->table));
}

/*
 * Other index types may keep more than memory from one row to the next (BRIN a pinned buffer,
 * from 17 on) and must be told of the last row, which a direct insert does not know.
 */
static bool
has_btrees_alone(const ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
		if (result->ri_IndexRelationDescs[i]->rd_rel->relam != BTREE_AM_OID)
			return false;
	return true;
}

ChatcryptDirectInsert *
chatcrypt_directinsert_open(MemoryContext query_context)
{
	Oid			relid = chatcrypt_relations_find("sealed_message");
	Relation	table = table_open(relid, RowExclusiveLock);
	ResourceOwner outer_owner = CurrentResourceOwner;
	MemoryContext outer_context = CurrentMemoryContext;
	ChatcryptDirectInsert *insert;
	bool		check_policy;
	bool		direct = may_write_directly(table, &check_policy);

	table_close(table, NoLock);
	if (!direct)
		return NULL;

	watch_once();
	MemoryContextSwitchTo(query_context);
	insert = palloc0(sizeof(*insert));
	insert->check_policy = check_policy;
	insert->nest_level = GetCurrentTransactionNestLevel();
	insert->owner = ResourceOwnerCreate(TopTransactionResourceOwner, "chatcrypt direct insert");
	dlist_push_head(&open_inserts, &insert->node);
	insert->at_end.func = close_insert;
	insert->at_end.arg = insert;
	MemoryContextRegisterResetCallback(query_context, &insert->at_end);
	PG_TRY();
	{
		CurrentResourceOwner = insert->owner;
		open_table(insert, relid);
	}
	PG_FINALLY();
	{
		CurrentResourceOwner = outer_owner;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer_context);
	if (has_btrees_alone(insert->result))
		return insert;
	close_insert(insert);
	return NULL;
}

void
chatcrypt_directinsert_row(ChatcryptDirectInsert *insert, const Datum *values, const bool *nulls)
{
	if (insert->check_policy &&
		!chatcrypt_access_actor_may_see(DatumGetUUIDP(values[MESSAGE_CHAT_ID])->data))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("new row violates row-level security policy for table \"%s\"",
						RelationGetRelationName(insert->table))));

	ExecClearTuple(insert->slot);
	memcpy(insert->slot->tts_values, values, sizeof(Datum) * MESSAGE_COLUMNS);
	memcpy(insert->slot->tts_isnull, nulls, sizeof(bool) * MESSAGE_COLUMNS);
	ExecStoreVirtualTuple(insert->slot);
	insert->estate->es_snapshot = GetActiveSnapshot();
	ExecSimpleRelationInsert(insert->result, insert->estate, insert->slot);
	ExecClearTuple(insert->slot);
	ResetPerTupleExprContext(insert->estate);
}
