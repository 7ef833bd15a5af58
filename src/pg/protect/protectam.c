/*
 * protectam.c
 *		The table access method chatcrypt: see protectam.h.  The callbacks that read are here;
 *		those that write are in protectwrite.c, and those that build in protectheap.c.
 *
 * The heap fills a slot that is lent to it.  If the heap raises an error, the slot stays lent until
 * it is freed together with its query.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "catalog/pg_am_d.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "guard/chatcrypt_guard.h"
#include "pg/compat.h"
#include "pg/protect/protectam.h"
#include "pg/protect/protectheap.h"
#include "pg/protect/protected.h"
#include "pg/protect/protectslot.h"
#include "pg/protect/protectwrite.h"

static const TableAmRoutine *heap;
static TableAmRoutine routine;

static const TupleTableSlotOps *
slot_callbacks(Relation relation)
{
	(void) relation;
	return chatcrypt_protectslot_ops();
}

static bool
scan_getnextslot(TableScanDesc scan, ScanDirection direction, TupleTableSlot *slot)
{
	const ChatcryptProtected *table = chatcrypt_protected(scan->rs_rd);
	bool		found;

	chatcrypt_protectslot_lend(slot);
	found = heap->scan_getnextslot(scan, direction, slot);
	chatcrypt_protectslot_take_back(slot, table);
	return found;
}

static bool
scan_getnextslot_tidrange(TableScanDesc scan, ScanDirection direction, TupleTableSlot *slot)
{
	const ChatcryptProtected *table = chatcrypt_protected(scan->rs_rd);
	bool		found;

	chatcrypt_protectslot_lend(slot);
	found = heap->scan_getnextslot_tidrange(scan, direction, slot);
	chatcrypt_protectslot_take_back(slot, table);
	return found;
}

/*
 * The check of a unique index asks whether a tuple is alive while one of the index's buffers is
 * locked, and does not use the tuple's values.  A description that has not been read yet is then
 * not read.
 */
static const ChatcryptProtected *
description_if_allowed(Relation relation)
{
	if (relation->rd_amcache == NULL && InterruptHoldoffCount > 0)
		return NULL;
	return chatcrypt_protected(relation);
}

static bool
index_fetch_tuple(struct IndexFetchTableData *scan, ItemPointer tid, Snapshot snapshot,
				  TupleTableSlot *slot, bool *call_again, bool *all_dead)
{
	const ChatcryptProtected *table = description_if_allowed(scan->rel);
	bool		found;

	chatcrypt_protectslot_lend(slot);
	found = heap->index_fetch_tuple(scan, tid, snapshot, slot, call_again, all_dead);
	chatcrypt_protectslot_take_back(slot, table);
	return found;
}

static bool
tuple_fetch_row_version(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	const ChatcryptProtected *table = chatcrypt_protected(relation);
	bool		found;

	chatcrypt_protectslot_lend(slot);
	found = heap->tuple_fetch_row_version(relation, tid, snapshot, slot);
	chatcrypt_protectslot_take_back(slot, table);
	return found;
}

/* The heap only examines the tuple in the slot, so the slot keeps its contents. */
static bool
tuple_satisfies_snapshot(Relation relation, TupleTableSlot *slot, Snapshot snapshot)
{
	bool		satisfies;

	chatcrypt_protectslot_lend_to_look(slot);
	satisfies = heap->tuple_satisfies_snapshot(relation, slot, snapshot);
	chatcrypt_protectslot_take_back(slot, NULL);
	return satisfies;
}

static TM_Result
tuple_lock(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
		   CommandId cid, LockTupleMode mode, LockWaitPolicy policy, uint8 flags,
		   TM_FailureData *failure)
{
	TM_Result	result;

	chatcrypt_protectslot_lend(slot);
	result = heap->tuple_lock(relation, tid, snapshot, slot, cid, mode, policy, flags, failure);
	/* Read the description afterwards: the lock may have waited, and a label may have changed. */
	chatcrypt_protectslot_take_back(slot, chatcrypt_protected(relation));
	return result;
}

static bool
scan_bitmap_next_tuple(CHATCRYPT_BITMAP_NEXT_TUPLE_PARAMETERS)
{
	const ChatcryptProtected *table = chatcrypt_protected(scan->rs_rd);
	bool		found;

	chatcrypt_protectslot_lend(slot);
	found = heap->scan_bitmap_next_tuple(CHATCRYPT_BITMAP_NEXT_TUPLE_ARGUMENTS);
	chatcrypt_protectslot_take_back(slot, table);
	return found;
}

static bool
scan_sample_next_tuple(TableScanDesc scan, struct SampleScanState *state, TupleTableSlot *slot)
{
	const ChatcryptProtected *table = chatcrypt_protected(scan->rs_rd);
	bool		found;

	chatcrypt_protectslot_lend(slot);
	found = heap->scan_sample_next_tuple(scan, state, slot);
	chatcrypt_protectslot_take_back(slot, table);
	return found;
}

/* scan_analyze_next_tuple() runs with a buffer locked, so the description is read here. */
static bool
scan_analyze_next_block(CHATCRYPT_ANALYZE_NEXT_BLOCK_PARAMETERS)
{
	(void) chatcrypt_protected(scan->rs_rd);
	return heap->scan_analyze_next_block(CHATCRYPT_ANALYZE_NEXT_BLOCK_ARGUMENTS);
}

/* Statistics hold no plaintext: a value is ciphertext, or NULL if its column is not all sealed. */
static bool
scan_analyze_next_tuple(CHATCRYPT_ANALYZE_NEXT_TUPLE_PARAMETERS)
{
	const ChatcryptProtected *table = scan->rs_rd->rd_amcache;
	bool		found;

	if (table == NULL)
		elog(ERROR, "the description of table \"%s\" has not been read",
			 RelationGetRelationName(scan->rs_rd));
	chatcrypt_protectslot_lend(slot);
	found = heap->scan_analyze_next_tuple(CHATCRYPT_ANALYZE_NEXT_TUPLE_ARGUMENTS);
	chatcrypt_protectslot_take_back(slot, table);
	chatcrypt_protectslot_for_statistics(slot);
	return found;
}

/* TOAST tables hold chunks of values that are already sealed. */
static Oid
relation_toast_am(Relation relation)
{
	(void) relation;
	return HEAP_TABLE_AM_OID;
}

static void
replace_callbacks(void)
{
	routine.slot_callbacks = slot_callbacks;
	routine.scan_getnextslot = scan_getnextslot;
	routine.scan_getnextslot_tidrange = scan_getnextslot_tidrange;
	routine.index_fetch_tuple = index_fetch_tuple;
	routine.tuple_fetch_row_version = tuple_fetch_row_version;
	routine.tuple_satisfies_snapshot = tuple_satisfies_snapshot;
	routine.tuple_lock = tuple_lock;
	routine.scan_bitmap_next_tuple = scan_bitmap_next_tuple;
	routine.scan_sample_next_tuple = scan_sample_next_tuple;
	routine.scan_analyze_next_block = scan_analyze_next_block;
	routine.scan_analyze_next_tuple = scan_analyze_next_tuple;
	routine.relation_toast_am = relation_toast_am;
}

void
chatcrypt_protectam_install(void)
{
	heap = GetHeapamTableAmRoutine();
	routine = *heap;
	chatcrypt_protectslot_init_ops();
	replace_callbacks();
	chatcrypt_protectwrite_replace(&routine);
	chatcrypt_protectheap_replace(&routine);
	*find_rendezvous_variable(CHATCRYPT_TABLE_AM_VARIABLE) = &routine;
}
