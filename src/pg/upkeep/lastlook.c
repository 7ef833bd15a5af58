/*
 * lastlook.c
 *		Searches all row versions for keys: see lastlook.h.
 *
 * Tables are scanned as CREATE INDEX scans them, whatever is visible to whom, and by the
 * extension itself: no operator, predicate or policy of a user is applied.  A place with
 * a plain index on its chat column costs one index scan for each chat; any other place
 * costs one scan of the table for all chats.  Protected columns are seen as they are stored, so
 * that no value is opened, and none is shown as NULL because it does not open.
 *
 * Lock contract: the table is locked as by any reader, and the page of a row version is
 * pinned while that version is looked at.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "core/envelope.h"
#include "pg/compat.h"
#include "pg/protect/protected.h"
#include "pg/store/owner.h"
#include "pg/upkeep/lastlook.h"
#include "pg/upkeep/namedkey.h"
#include "pg/upkeep/protectedplace.h"
#include "pg/upkeep/registry.h"

/* The file of a place's table. */
typedef struct PlaceFile
{
	Oid			relation;
	Oid			file;
} PlaceFile;

/* The search of one place. */
typedef struct Look
{
	ChatcryptSoughtKey **keys;	/* in the order of chats, those of one chat together */
	int			nkeys;
	Snapshot	since;
	Relation	table;
	TupleTableSlot *slot;
	AttrNumber	chat;
	AttrNumber	envelope;
	Oid			chat_type;
	bool		is_protected;
} Look;

static Oid
file_of(Oid relation)
{
	Relation	table = table_open(relation, NoLock);
	Oid			file = table->rd_rel->relfilenode;

	table_close(table, NoLock);
	return file;
}

List *
chatcrypt_lastlook_files(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *places = chatcrypt_registry_places(AccessShareLock);
	List	   *files = NIL;
	ListCell   *cell;

	MemoryContextSwitchTo(context);
	foreach(cell, places)
	{
		PlaceFile  *file = palloc(sizeof(PlaceFile));

		file->relation = ((ChatcryptPlace *) lfirst(cell))->relation;
		file->file = file_of(file->relation);
		files = lappend(files, file);
	}
	return files;
}

static bool
is_where_it_was(const PlaceFile *known, List *places)
{
	ListCell   *cell;

	foreach(cell, places)
		if (((ChatcryptPlace *) lfirst(cell))->relation == known->relation)
			return file_of(known->relation) == known->file;
	return false;
}

static int
compare_chats(const void *a, const void *b)
{
	const ChatcryptSoughtKey *const *key_a = a;
	const ChatcryptSoughtKey *const *key_b = b;

	return memcmp(&(*key_a)->chat_id, &(*key_b)->chat_id, sizeof(pg_uuid_t));
}

/* The index of the chat's first key; where the chat has none, is_key_of() is false for it. */
static int
first_key_of(const Look *look, const pg_uuid_t *chat_id)
{
	int			low = 0;
	int			high = look->nkeys;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (memcmp(&look->keys[middle]->chat_id, chat_id, sizeof(pg_uuid_t)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
is_key_of(const Look *look, int n, const pg_uuid_t *chat_id)
{
	return n < look->nkeys && memcmp(&look->keys[n]->chat_id, chat_id, sizeof(pg_uuid_t)) == 0;
}

static bool
is_any_left(const Look *look, int n, const pg_uuid_t *chat_id)
{
	for (; is_key_of(look, n, chat_id); n++)
		if (!look->keys[n]->found)
			return true;
	return false;
}

/* False for a chat column that is null. */
static bool
read_chat(const Look *look, pg_uuid_t *chat_id)
{
	bool		isnull;
	Datum		value = slot_getattr(look->slot, look->chat, &isnull);

	if (isnull)
		return false;
	if (look->chat_type == INT2OID)
		value = Int64GetDatum(DatumGetInt16(value));
	else if (look->chat_type == INT4OID)
		value = Int64GetDatum(DatumGetInt32(value));
	chatcrypt_registry_id(look->chat_type, value, chat_id->data);
	return true;
}

/*
 * Is the version visible to a snapshot that was taken since ours, or was it visible to
 * one that is gone?  It is where our snapshot sees it, or where it is younger than our
 * snapshot.  A version that was deleted before is invisible to all of them.  Once an old
 * version is frozen, its inserter says nothing; its number may then seem to lie in the
 * future.
 */
static bool
is_readable_since(const Look *look)
{
	TransactionId inserter;
	bool		isnull;

	if (table_tuple_satisfies_snapshot(look->table, look->slot, look->since))
		return true;
	inserter =
		DatumGetTransactionId(slot_getsysattr(look->slot, MinTransactionIdAttributeNumber,
											  &isnull));
	return TransactionIdIsNormal(inserter) &&
		TransactionIdPrecedes(inserter, ReadNextTransactionId()) &&
		XidInMVCCSnapshot(inserter, look->since) &&
		!TransactionIdDidAbort(inserter);
}

/* Marks the key that the first bytes of an envelope name. */
static void
mark_named(const Look *look, int n, const pg_uuid_t *chat_id, const bytea *header)
{
	ChatcryptPurpose purpose;
	uint32		version;

	if (!chatcrypt_namedkey_read(header, &purpose, &version))
		return;
	for (; is_key_of(look, n, chat_id); n++)
		look->keys[n]->found |= look->keys[n]->purpose == purpose &&
			look->keys[n]->version == version;
}

/*
 * Inspects the version in the slot.  Its envelope is read last, because that of a version
 * which does not count may be gone.
 */
static void
inspect_version(const Look *look)
{
	pg_uuid_t	chat_id;
	Datum		envelope;
	bytea	   *header;
	bool		isnull;
	int			first;

	CHECK_FOR_INTERRUPTS();
	if (!read_chat(look, &chat_id))
		return;
	first = first_key_of(look, &chat_id);
	if (!is_any_left(look, first, &chat_id))
		return;
	if (!is_readable_since(look))
		return;
	envelope = slot_getattr(look->slot, look->envelope, &isnull);
	if (isnull)
		return;
	header = look->is_protected ? chatcrypt_protectedplace_envelope(envelope) :
		DatumGetByteaPSlice(envelope, 0, CC_HEADER_LEN);
	if (header == NULL)
		return;
	mark_named(look, first, &chat_id, header);
	pfree(header);
}

/* Does the index have every version of every row of a chat, in an order that we know? */
static bool
is_index_of_chats(Relation index, AttrNumber chat, Oid opfamily)
{
	const FormData_pg_index *form = index->rd_index;

	return index->rd_rel->relam == BTREE_AM_OID &&
		form->indisvalid && form->indisready && form->indislive && !form->indcheckxmin &&
		form->indkey.values[0] == chat && index->rd_opfamily[0] == opfamily &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

static Relation
open_index_of_chats(const Look *look, Oid opfamily)
{
	Relation	found = NULL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(look->table))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_index_of_chats(index, look->chat, opfamily))
		{
			found = index;
			break;
		}
		index_close(index, AccessShareLock);
	}
	return found;
}

/* Converts the chat's id to a value of the column; false where the column cannot hold it. */
static bool
column_value(const ChatcryptPlace *place, const pg_uuid_t *chat_id, Datum *value)
{
	int64		number;

	if (!chatcrypt_registry_chat_value(place, chat_id->data, value))
		return false;
	if (place->chat_type != INT2OID && place->chat_type != INT4OID)
		return true;
	number = DatumGetInt64(*value);
	if (place->chat_type == INT2OID)
	{
		*value = Int16GetDatum((int16) number);
		return number >= PG_INT16_MIN && number <= PG_INT16_MAX;
	}
	*value = Int32GetDatum((int32) number);
	return number >= PG_INT32_MIN && number <= PG_INT32_MAX;
}

static void
look_by_index(const Look *look, const ChatcryptPlace *place, Relation index, RegProcedure equals)
{
	IndexScanDesc scan = chatcrypt_index_beginscan(look->table, index, SnapshotAny, 1);

	for (int i = 0; i < look->nkeys; i++)
	{
		ScanKeyData key;
		Datum		value;

		if ((i > 0 && compare_chats(&look->keys[i - 1], &look->keys[i]) == 0) ||
			!column_value(place, &look->keys[i]->chat_id, &value))
			continue;
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, equals, value);
		index_rescan(scan, &key, 1, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, look->slot))
			inspect_version(look);
	}
	index_endscan(scan);
}

static void
look_at_all(const Look *look)
{
	TableScanDesc scan = chatcrypt_table_beginscan(look->table, SnapshotAny);

	while (table_scan_getnextslot(scan, ForwardScanDirection, look->slot))
		inspect_version(look);
	table_endscan(scan);
}

/* Finds a column by its name, which a place has as quoted SQL. */
static AttrNumber
column_number(const ChatcryptPlace *place, const char *quoted)
{
	List	   *names;
	AttrNumber	number = InvalidAttrNumber;

	if (SplitIdentifierString(pstrdup(quoted), '.', &names) && list_length(names) == 1)
		number = get_attnum(place->relation, linitial(names));
	if (number <= 0)
		elog(ERROR, "column %s of %s cannot be found", quoted, place->table);
	return number;
}

/* Only for PostgreSQL's own table access method is it known that a snapshot keeps row versions. */
static void
require_heap(Relation table)
{
	if (table->rd_rel->relam != HEAP_TABLE_AM_OID &&
		!chatcrypt_protected_is_ours(RelationGetRelid(table)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("no key is purged while envelopes are registered in table \"%s\"",
						RelationGetRelationName(table)),
				 errdetail("Its access method is not heap, so row versions that were in it a moment ago cannot be searched.")));
}

static void
look_through(const ChatcryptPlace *place, ChatcryptSoughtKey **keys, int nkeys, Snapshot since)
{
	const TypeCacheEntry *type = lookup_type_cache(place->chat_type,
												   TYPECACHE_BTREE_OPFAMILY | TYPECACHE_EQ_OPR);
	Look		look = {.keys = keys, .nkeys = nkeys, .since = since,
						.chat_type = place->chat_type,
						.is_protected = place->kind == CHATCRYPT_PLACE_PROTECTED};
	Relation	index;

	look.table = table_open(place->relation, NoLock);
	require_heap(look.table);
	look.chat = column_number(place, place->chat);
	look.envelope = column_number(place, place->column);
	look.slot = table_slot_create(look.table, NULL);
	index = open_index_of_chats(&look, type->btree_opf);
	if (index != NULL)
	{
		look_by_index(&look, place, index, get_opcode(type->eq_opr));
		index_close(index, NoLock);
	}
	else
		look_at_all(&look);
	ExecDropSingleTupleTableSlot(look.slot);
	table_close(look.table, NoLock);
}

bool
chatcrypt_lastlook_run(List *files, ChatcryptSoughtKey **keys, int nkeys, Snapshot since)
{
	List	   *places = chatcrypt_registry_places(AccessShareLock);
	ListCell   *cell;
	int			guc_level;

	foreach(cell, files)
		if (!is_where_it_was(lfirst(cell), places))
			return false;
	qsort(keys, nkeys, sizeof(ChatcryptSoughtKey *), compare_chats);
	guc_level = NewGUCNestLevel();
	chatcrypt_owner_show_sealed();
	foreach(cell, places)
		look_through(lfirst(cell), keys, nkeys, since);
	AtEOXact_GUC(false, guc_level);
	return true;
}
