/*
 * directupdate.c
 *		Gives rows of chatcrypt.sealed_message new envelopes: see directupdate.h.
 *
 * table_tuple_update can be told not to wait.  A row that another transaction has locked or
 * changed is then left alone, as by SELECT ...  FOR UPDATE SKIP LOCKED, but without the write
 * that a lock takes in every row.  The executor would add nothing for this table but index
 * entries.  The table's own constraints hold for every envelope with the version that it names.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pg/compat.h"
#include "pg/messages/messagetable.h"
#include "pg/messages/directupdate.h"
#include "pg/store/store.h"

/* The check constraints of the table: the envelope is one, and the time can be bound. */
#define CHECKS	2

struct ChatcryptDirectUpdate
{
	Relation	table;
	BlockNumber blocks;			/* our lock keeps vacuum from removing any */
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *old;
	TupleTableSlot *new;
};

/* Other than our own, which does not concern a row of which only the envelope changes. */
static bool
has_update_triggers(const TriggerDesc *triggers)
{
	Oid			ours = chatcrypt_relations_require_new_envelope();

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (TRIGGER_FOR_UPDATE(triggers->triggers[i].tgtype) &&
			triggers->triggers[i].tgfoid != ours)
			return true;
	return false;
}

static bool
is_as_we_made_it(Relation table)
{
	const TupleConstr *constraints = RelationGetDescr(table)->constr;

	return table->rd_rel->relkind == RELKIND_RELATION &&
		!table->rd_rel->relispartition &&
		RelationGetNumberOfAttributes(table) == MESSAGE_COLUMNS &&
		table->rd_rules == NULL &&
		constraints != NULL && constraints->num_check == CHECKS &&
		!has_update_triggers(table->trigdesc);
}

ChatcryptDirectUpdate *
chatcrypt_directupdate_open(void)
{
	Relation	table = table_open(chatcrypt_relations_find("sealed_message"), RowExclusiveLock);
	ChatcryptDirectUpdate *update;

	if (!is_as_we_made_it(table))
	{
		table_close(table, NoLock);
		return NULL;
	}
	update = palloc(sizeof(ChatcryptDirectUpdate));
	update->table = table;
	update->blocks = RelationGetNumberOfBlocks(table);
	update->estate = CreateExecutorState();
	update->estate->es_snapshot = GetActiveSnapshot();
	update->result = makeNode(ResultRelInfo);
	InitResultRelInfo(update->result, table, 0, NULL, 0);
	ExecOpenIndices(update->result, false);
	update->old = table_slot_create(table, NULL);
	update->new = table_slot_create(table, NULL);
	return update;
}

void
chatcrypt_directupdate_close(ChatcryptDirectUpdate *update)
{
	ExecDropSingleTupleTableSlot(update->old);
	ExecDropSingleTupleTableSlot(update->new);
	ExecCloseIndices(update->result);
	FreeExecutorState(update->estate);
	table_close(update->table, NoLock);
	pfree(update);
}

bool
chatcrypt_directupdate_fetch(ChatcryptDirectUpdate *update, ItemPointer at, Datum **values,
							 bool **nulls)
{
	if (ItemPointerGetBlockNumber(at) >= update->blocks ||
		!table_tuple_fetch_row_version(update->table, at, update->estate->es_snapshot, update->old))
		return false;
	slot_getallattrs(update->old);
	*values = update->old->tts_values;
	*nulls = update->old->tts_isnull;
	return true;
}

static void
fill_new(ChatcryptDirectUpdate *update, bytea *envelope, uint32 dek_version)
{
	ExecClearTuple(update->new);
	memcpy(update->new->tts_values, update->old->tts_values, sizeof(Datum) * MESSAGE_COLUMNS);
	memcpy(update->new->tts_isnull, update->old->tts_isnull, sizeof(bool) * MESSAGE_COLUMNS);
	update->new->tts_values[MESSAGE_BODY] = PointerGetDatum(envelope);
	update->new->tts_values[MESSAGE_DEK_VERSION] = Int32GetDatum((int32) dek_version);
	ExecStoreVirtualTuple(update->new);
}

bool
chatcrypt_directupdate_replace(ChatcryptDirectUpdate *update, ItemPointer at, bytea *envelope,
							   uint32 dek_version)
{
	ChatcryptUpdateIndexes indexes;
	LockTupleMode lockmode;
	TM_FailureData failure;

	fill_new(update, envelope, dek_version);
	if (chatcrypt_tuple_update(update->table, at, update->new, update->estate->es_snapshot, false,
							   &failure, &lockmode, &indexes) != TM_Ok)
		return false;
	if (chatcrypt_updates_indexes(indexes) && update->result->ri_NumIndices > 0)
		chatcrypt_insert_index_entries(update->result, update->new, update->estate, indexes);
	ResetPerTupleExprContext(update->estate);
	return true;
}
