/*
 * protectwrite.c
 *		Writes rows of protected tables: see protectwrite.h.
 *
 * A tuple is formed with its protected values sealed, in memory that is freed at the end of the
 * call, and is given to the heap in one of the heap's own slots.  The heap therefore never sees
 * plaintext.  Our own slot keeps its values, and gets the header of the tuple for system columns.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectslot.h"
#include "pg/protect/protectwrite.h"
#include "pg/protect/storedvalue.h"

static const TableAmRoutine *heap;

/* The state of one call, which writes one row or more. */
typedef struct Write
{
	Relation	relation;
	const ChatcryptProtected *table;	/* a copy, because sealing accepts invalidations */
	MemoryContext context;
	MemoryContext outer;
} Write;

/*
 * A table without labels, such as one restored with pg_restore --no-security-labels or created by
 * CREATE TABLE ... (LIKE ...), would store plaintext where its users expect protection.
 */
static void
refuse_unlabelled(Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has the access method chatcrypt and no protected column",
					RelationGetRelationName(relation)),
			 errdetail("Its rows would be stored in plaintext."),
			 errhint("Restore the table's security labels, or set its access method to heap and call chatcrypt.protect().")));
}

static void
begin_write(Write *write, Relation relation)
{
	const ChatcryptProtected *table = chatcrypt_protected(relation);
	ChatcryptProtected *copy;

	if (unlikely(!table->usable) && !chatcrypt_allow_unlabelled)
		refuse_unlabelled(relation);
	write->relation = relation;
	write->context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt write",
										   ALLOCSET_DEFAULT_SIZES);
	write->outer = MemoryContextSwitchTo(write->context);
	copy = palloc(chatcrypt_protected_size(table));
	memcpy(copy, table, chatcrypt_protected_size(table));
	write->table = copy;
}

static void
end_write(Write *write)
{
	MemoryContextSwitchTo(write->outer);
	MemoryContextDelete(write->context);
}

static void
read_ids(const Write *write, const TupleTableSlot *slot, ChatcryptSeat *seat)
{
	const ChatcryptProtected *table = write->table;
	bool		no_chat = slot->tts_isnull[table->chat - 1];

	if (no_chat || slot->tts_isnull[table->message - 1])
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("the id of the %s must not be null", no_chat ? "chat" : "message")));
	chatcrypt_protected_id(slot->tts_values[table->chat - 1], table->chat_type, seat->chat_id);
	chatcrypt_protected_id(slot->tts_values[table->message - 1], table->message_type,
						   seat->message_id);
}

/* The slot gets the truncated value too, so that RETURNING and triggers show it. */
static void
cut_to_length(const ChatcryptColumn *column, TupleTableSlot *slot, Datum *value)
{
	Datum		cut = chatcrypt_storedvalue_within_length(column, *value);

	if (cut != *value && CHATCRYPT_IS_OURS(slot))
		slot->tts_values[column->number - 1] = chatcrypt_protectslot_own(slot, cut);
	*value = cut;
}

static void
seal_values(const Write *write, TupleTableSlot *slot, ChatcryptOldRow *old, Datum *values,
			bool *isnull)
{
	const ChatcryptProtected *table = write->table;
	ChatcryptSeat seat;
	bool		knows_ids = false;

	for (int i = 0; i < table->ncolumns; i++)
	{
		const ChatcryptColumn *column = &table->columns[i];
		int			at = column->number - 1;

		if (isnull[at])
		{
			isnull[at] = !chatcrypt_storedvalue_stays(column, table, old, &values[at]);
			continue;
		}
		if (!knows_ids)
			read_ids(write, slot, &seat);
		knows_ids = true;
		cut_to_length(column, slot, &values[at]);
		values[at] = chatcrypt_storedvalue_of(column, &seat, values[at], table, old);
	}
}

/* Forms the tuple to store from a slot's values, in a slot of the heap that the caller drops. */
static TupleTableSlot *
heap_slot_of(const Write *write, TupleTableSlot *slot, ChatcryptOldRow *old)
{
	TupleDesc	desc = RelationGetDescr(write->relation);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *isnull = palloc(sizeof(bool) * desc->natts);
	HeapTuple	tuple;

	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, sizeof(Datum) * desc->natts);
	memcpy(isnull, slot->tts_isnull, sizeof(bool) * desc->natts);
	if (write->table->usable)
		seal_values(write, slot, old, values, isnull);
	tuple = heap_form_tuple(desc, values, isnull);
	tuple->t_tableOid = RelationGetRelid(write->relation);
	return ExecStoreHeapTuple(tuple, MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple), true);
}

static void
note_written(TupleTableSlot *slot, TupleTableSlot *stored)
{
	HeapTuple	tuple = ((HeapTupleTableSlot *) stored)->tuple;

	tuple->t_self = stored->tts_tid;
	chatcrypt_protectslot_note_written(slot, tuple);
}

static void
tuple_insert(Relation relation, TupleTableSlot *slot, CommandId cid, ChatcryptInsertOptions options,
			 struct BulkInsertStateData *bistate)
{
	Write		write;
	TupleTableSlot *stored;

	begin_write(&write, relation);
	stored = heap_slot_of(&write, slot, NULL);
	heap->tuple_insert(relation, stored, cid, options, bistate);
	note_written(slot, stored);
	ExecDropSingleTupleTableSlot(stored);
	end_write(&write);
}

/*
 * The executor holds the lock of a speculative insertion, and releases the last one that was taken.
 * Sealing may run statements with ON CONFLICT, which take such locks too, and may have to wait for
 * the KMS.  So the lock is given back while the row is sealed: nobody can wait for it before the
 * tuple is in the table.  The executor uses its own token only to release the lock.
 */
static void
tuple_insert_speculative(Relation relation, TupleTableSlot *slot, CommandId cid,
						 ChatcryptInsertOptions options, struct BulkInsertStateData *bistate,
						 uint32 token)
{
	Write		write;
	TupleTableSlot *stored;

	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	begin_write(&write, relation);
	stored = heap_slot_of(&write, slot, NULL);
	token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	heap->tuple_insert_speculative(relation, stored, cid, options, bistate, token);
	note_written(slot, stored);
	ExecDropSingleTupleTableSlot(stored);
	end_write(&write);
}

/* The heap's callback would look for the tuple in the slot, but needs only its place. */
static void
tuple_complete_speculative(Relation relation, TupleTableSlot *slot, uint32 token, bool succeeded)
{
	(void) token;
	if (succeeded)
		heap_finish_speculative(relation, &slot->tts_tid);
	else
		heap_abort_speculative(relation, &slot->tts_tid);
}

static void
multi_insert(Relation relation, TupleTableSlot **slots, int nslots, CommandId cid,
			 ChatcryptInsertOptions options, struct BulkInsertStateData *bistate)
{
	Write		write;
	TupleTableSlot **stored;

	begin_write(&write, relation);
	stored = palloc(sizeof(TupleTableSlot *) * nslots);
	for (int i = 0; i < nslots; i++)
		stored[i] = heap_slot_of(&write, slots[i], NULL);
	heap->multi_insert(relation, stored, nslots, cid, options, bistate);
	for (int i = 0; i < nslots; i++)
	{
		note_written(slots[i], stored[i]);
		ExecDropSingleTupleTableSlot(stored[i]);
	}
	end_write(&write);
}

static TM_Result
tuple_update(CHATCRYPT_UPDATE_PARAMETERS)
{
	Write		write;
	ChatcryptOldRow old = {.relation = relation, .at = *at};
	TupleTableSlot *stored;
	TM_Result	result;

	begin_write(&write, relation);
	stored = heap_slot_of(&write, slot, &old);
	result = heap->tuple_update(CHATCRYPT_UPDATE_ARGUMENTS(relation, stored));
	if (result == TM_Ok)
		note_written(slot, stored);
	ExecDropSingleTupleTableSlot(stored);
	end_write(&write);
	return result;
}

void
chatcrypt_protectwrite_replace(TableAmRoutine *routine)
{
	heap = GetHeapamTableAmRoutine();
	routine->tuple_insert = tuple_insert;
	routine->tuple_insert_speculative = tuple_insert_speculative;
	routine->tuple_complete_speculative = tuple_complete_speculative;
	routine->multi_insert = multi_insert;
	routine->tuple_update = tuple_update;
}
