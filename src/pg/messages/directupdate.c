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
	ChatcryptDirectUpdate *mover;

	if (!is_as_we_made_it(table))
	{
		table_close(table, NoLock);
		return NULL;
	}
	mover = palloc(sizeof(ChatcryptDirectUpdate));
	mover->table = table;
	mover->blocks = RelationGetNumberOfBlocks(table);
	mover->estate = CreateExecutorState();
	mover->estate->es_snapshot = GetActiveSnapshot();
	mover->result = makeNode(ResultRelInfo);
	InitResultRelInfo(mover->result, table, 0, NULL, 0);
	ExecOpenIndices(mover->result, false);
	mover->old = table_slot_create(table, NULL);
	mover->new = table_slot_create(table, NULL);
	return mover;
}

void
chatcrypt_directupdate_close(ChatcryptDirectUpdate *mover)
{
	ExecDropSingleTupleTableSlot(mover->old);
	ExecDropSingleTupleTableSlot(mover->new);
	ExecCloseIndices(mover->result);
	FreeExecutorState(mover->estate);
	table_close(mover->table, NoLock);
	pfree(mover);
}

bool
chatcrypt_directupdate_fetch(ChatcryptDirectUpdate *mover, ItemPointer at, Datum **values,
							 bool **nulls)
{
	if (ItemPointerGetBlockNumber(at) >= mover->blocks ||
		!table_tuple_fetch_row_version(mover->table, at, mover->estate->es_snapshot, mover->old))
		return false;
	slot_getallattrs(mover->old);
	*values = mover->old->tts_values;
	*nulls = mover->old->tts_isnull;
	return true;
}

static void
fill_new(ChatcryptDirectUpdate *mover, bytea *envelope, uint32 dek_version)
{
	ExecClearTuple(mover->new);
	memcpy(mover->new->tts_values, mover->old->tts_values, sizeof(Datum) * MESSAGE_COLUMNS);
	memcpy(mover->new->tts_isnull, mover->old->tts_isnull, sizeof(bool) * MESSAGE_COLUMNS);
	mover->new->tts_values[MESSAGE_BODY] = PointerGetDatum(envelope);
	mover->new->tts_values[MESSAGE_DEK_VERSION] = Int32GetDatum((int32) dek_version);
	ExecStoreVirtualTuple(mover->new);
}

bool
chatcrypt_directupdate_replace(ChatcryptDirectUpdate *mover, ItemPointer at, bytea *envelope,
							   uint32 dek_version)
{
	ChatcryptUpdateIndexes indexes;
	LockTupleMode lockmode;
	TM_FailureData failure;

	fill_new(mover, envelope, dek_version);
	if (chatcrypt_tuple_update(mover->table, at, mover->new, mover->estate->es_snapshot, false,
							   &failure, &lockmode, &indexes) != TM_Ok)
		return false;
	if (chatcrypt_updates_indexes(indexes) && mover->result->ri_NumIndices > 0)
		chatcrypt_insert_index_entries(mover->result, mover->new, mover->estate, indexes);
	ResetPerTupleExprContext(mover->estate);
	return true;
}
