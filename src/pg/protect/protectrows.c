/*
 * protectrows.c
 *		Seals or opens the stored rows of a table as its labels say: see protectrows.h.
 *
 * A row is updated with its own values, without triggers, rules and foreign keys; protectwrite.c
 * decides how the values are stored.  Rows that are already as they should be are skipped, so a
 * pass that was stopped can simply be started again.
 *
 * A step does not wait for row locks: a row that another transaction has locked is left to the next
 * pass.  Other sessions wait only for rows that the step has changed.  The current user during a
 * step is the table's owner, as in CREATE INDEX, because expressions of indexes are evaluated.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pg/compat.h"
#include "pg/protect/lazyvalue.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectrows.h"
#include "pg/store/owner.h"

/* The largest number of blocks that one step scans. */
#define BLOCKS_AT_ONCE 1024

/* The state of one step. */
typedef struct Step
{
	ChatcryptRowsPass *pass;
	Relation	relation;
	ChatcryptProtected *table;
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slot;
} Step;

typedef enum RowState
{
	ROW_IS_DONE,
	ROW_IS_TO_CHANGE,
	ROW_IS_UNREADABLE
} RowState;

static RowState
state_of_value(const ChatcryptColumn *column, ChatcryptLazy *lazy)
{
	bytea	   *envelope;

	(void) chatcrypt_lazyvalue_stored(lazy, &envelope);
	if (column->label.state == CHATCRYPT_COLUMN_MIXED)
		return envelope == NULL ? ROW_IS_TO_CHANGE : ROW_IS_DONE;
	if (chatcrypt_lazyvalue_is_orphan(lazy))
		return ROW_IS_UNREADABLE;
	return envelope != NULL ? ROW_IS_TO_CHANGE : ROW_IS_DONE;
}

static RowState
state_of_row(const Step *step)
{
	RowState	state = ROW_IS_DONE;

	for (int i = 0; i < step->table->ncolumns; i++)
	{
		const ChatcryptColumn *column = &step->table->columns[i];
		bool		isnull;
		Datum		value;
		ChatcryptLazy *lazy;

		if (column->label.state == CHATCRYPT_COLUMN_SEALED)
			continue;
		value = slot_getattr(step->slot, column->number, &isnull);
		lazy = isnull ? NULL : chatcrypt_lazyvalue_of(value);
		if (lazy != NULL && state != ROW_IS_TO_CHANGE)
			state = Max(state, state_of_value(column, lazy));
	}
	return state;
}

/*
 * Locks the row without waiting.  The heap's update cannot be told not to wait in place of this: it
 * asserts that no other transaction has locked the row then.
 */
static TM_Result
lock_row(const Step *step, ItemPointer at)
{
	TM_FailureData failure;

	return table_tuple_lock(step->relation, at, GetActiveSnapshot(), step->slot,
							GetCurrentCommandId(true), LockTupleNoKeyExclusive, LockWaitSkip, 0,
							&failure);
}

/* Returns false if another transaction has locked the row. */
static bool
change_row(const Step *step)
{
	ItemPointerData at = step->slot->tts_tid;
	TM_FailureData failure;
	LockTupleMode lockmode;
	ChatcryptUpdateIndexes indexes;
	TM_Result	result;

	result = lock_row(step, &at);
	if (result == TM_Ok)
	{
		slot_getallattrs(step->slot);
		result = chatcrypt_tuple_update(step->relation, &at, step->slot, GetActiveSnapshot(), true,
										&failure, &lockmode, &indexes);
	}
	if (result == TM_Ok && step->result->ri_NumIndices > 0 && chatcrypt_updates_indexes(indexes))
		chatcrypt_insert_index_entries(step->result, step->slot, step->estate, indexes);
	ResetPerTupleExprContext(step->estate);
	/* A transaction that has updated or deleted it meanwhile has written it as the labels say. */
	return result != TM_BeingModified && result != TM_WouldBlock;
}

static void
look_at_row(Step *step)
{
	switch (state_of_row(step))
	{
		case ROW_IS_DONE:
			break;
		case ROW_IS_TO_CHANGE:
			if (change_row(step))
				step->pass->changed++;
			else
				step->pass->busy++;
			break;
		case ROW_IS_UNREADABLE:
			step->pass->unreadable++;
			break;
	}
}

static void
go_through_rows(Step *step)
{
	ChatcryptRowsPass *pass = step->pass;
	BlockNumber end = pass->blocks - pass->next > BLOCKS_AT_ONCE ?
		pass->next + BLOCKS_AT_ONCE : pass->blocks;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt rows",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer;
	ItemPointerData first;
	ItemPointerData last;
	TableScanDesc scan;
	BlockNumber current = pass->next;

	ItemPointerSet(&first, pass->next, FirstOffsetNumber);
	ItemPointerSet(&last, end - 1, MaxOffsetNumber);
	scan = chatcrypt_table_beginscan_tidrange(step->relation, GetActiveSnapshot(), &first, &last);
	outer = MemoryContextSwitchTo(context);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, step->slot))
	{
		BlockNumber block = ItemPointerGetBlockNumber(&step->slot->tts_tid);

		if (pass->changed >= pass->batch && block != current)
		{
			end = block;
			break;
		}
		current = block;
		look_at_row(step);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	pass->next = end;
	MemoryContextSwitchTo(outer);
	table_endscan(scan);
	MemoryContextDelete(context);
}

static ChatcryptProtected *
copy_description(Relation relation)
{
	const ChatcryptProtected *table = chatcrypt_protected(relation);
	ChatcryptProtected *copy = palloc(chatcrypt_protected_size(table));

	memcpy(copy, table, chatcrypt_protected_size(table));
	return copy;
}

/* Values that do not open must raise an error, and not be taken for NULL. */
static void
raise_for_what_does_not_open(void)
{
	(void) set_config_option("chatcrypt.on_decrypt_error", "raise", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
chatcrypt_protectrows_step(ChatcryptRowsPass *pass)
{
	Step		step = {.pass = pass};
	ChatcryptOwnerScope scope;

	pass->changed = 0;
	step.relation = table_open(pass->relation, RowExclusiveLock);
	CheckCmdReplicaIdentity(step.relation, CMD_UPDATE);
	step.table = copy_description(step.relation);
	PushActiveSnapshot(GetLatestSnapshot());
	chatcrypt_owner_begin_as(&scope, step.relation->rd_rel->relowner);
	raise_for_what_does_not_open();

	step.estate = CreateExecutorState();
	step.result = makeNode(ResultRelInfo);
	InitResultRelInfo(step.result, step.relation, 0, NULL, 0);
	ExecOpenIndices(step.result, false);
	step.slot = table_slot_create(step.relation, NULL);
	if (pass->next < pass->blocks)
		go_through_rows(&step);
	ExecDropSingleTupleTableSlot(step.slot);
	ExecCloseIndices(step.result);
	FreeExecutorState(step.estate);

	chatcrypt_owner_end(&scope);
	PopActiveSnapshot();
	table_close(step.relation, NoLock);
}
