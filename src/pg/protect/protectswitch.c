/*
 * protectswitch.c
 *		Makes a table a protected one, or an ordinary one again: see protectswitch.h.
 *
 * On disk a protected table is a heap, so changing one field of pg_class changes its access method.
 * Statistics of the column are removed, because they hold values of it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/protect/protectlabels.h"
#include "pg/protect/protectswitch.h"

#define TRIES 20

/* ---------- the lock ---------- */

static void
lock_for_a_while(Oid relation, LOCKMODE lockmode)
{
	int			level = NewGUCNestLevel();
	char		timeout[16];

	snprintf(timeout, sizeof(timeout), "%d", chatcrypt_protect_lock_timeout);
	(void) set_config_option("lock_timeout", timeout, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	LockRelationOid(relation, lockmode);
	AtEOXact_GUC(true, level);
}

/* Returns false if the lock timeout expired. */
static bool
try_lock(Oid relation, LOCKMODE lockmode)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool locked = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		lock_for_a_while(relation, lockmode);
		ReleaseCurrentSubTransaction();
		locked = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return locked;
}

void
chatcrypt_protectswitch_lock(Oid relation, LOCKMODE lockmode)
{
	for (int i = 0; i < TRIES; i++)
	{
		if (try_lock(relation, lockmode))
			return;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(chatcrypt_protect_lock_timeout * 1000L);
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not lock table \"%s\"", get_rel_name(relation)),
			 errdetail("Each of %d attempts ended after %d ms.", TRIES,
					   chatcrypt_protect_lock_timeout),
			 errhint("Look in pg_stat_activity for transactions that use the table, then call the function again.")));
}

/* ---------- fields of the catalog ---------- */

static void
set_access_method(Oid relation, Oid am)
{
	Relation	catalog = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relation));
	Form_pg_class row = (Form_pg_class) GETSTRUCT(tuple);
	ObjectAddress table;
	ObjectAddress method;

	ObjectAddressSet(table, RelationRelationId, relation);
	ObjectAddressSet(method, AccessMethodRelationId, am);
	if (row->relam != am)
	{
		row->relam = am;
		CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
		(void) deleteDependencyRecordsForClass(RelationRelationId, relation,
											   AccessMethodRelationId, DEPENDENCY_NORMAL);
		recordDependencyOn(&table, &method, DEPENDENCY_NORMAL);	/* none for heap, which is pinned */
		CacheInvalidateRelcacheByRelid(relation);
	}
	heap_freetuple(tuple);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

static void
set_attribute(Oid relation, AttrNumber column, char storage, int32 typmod)
{
	Relation	catalog = table_open(AttributeRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy2(ATTNUM, ObjectIdGetDatum(relation),
											Int16GetDatum(column));
	Form_pg_attribute row = (Form_pg_attribute) GETSTRUCT(tuple);

	row->attstorage = storage;
	row->atttypmod = typmod;
	CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(catalog, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relation);
	CommandCounterIncrement();
}

void
chatcrypt_protectswitch_forget_missing(Oid relation, AttrNumber column)
{
	Relation	catalog = table_open(AttributeRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy2(ATTNUM, ObjectIdGetDatum(relation),
											Int16GetDatum(column));
	Datum		values[Natts_pg_attribute] = {0};
	bool		nulls[Natts_pg_attribute] = {false};
	bool		replaced[Natts_pg_attribute] = {false};

	if (((Form_pg_attribute) GETSTRUCT(tuple))->atthasmissing)
	{
		values[Anum_pg_attribute_atthasmissing - 1] = BoolGetDatum(false);
		replaced[Anum_pg_attribute_atthasmissing - 1] = true;
		nulls[Anum_pg_attribute_attmissingval - 1] = true;
		replaced[Anum_pg_attribute_attmissingval - 1] = true;
		tuple = heap_modify_tuple(tuple, RelationGetDescr(catalog), values, nulls, replaced);
		CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
		CacheInvalidateRelcacheByRelid(relation);
	}
	heap_freetuple(tuple);
	table_close(catalog, RowExclusiveLock);
	CommandCounterIncrement();
}

/* ---------- protecting and unprotecting ---------- */

static bool
is_empty(Oid relation)
{
	Relation	table = table_open(relation, NoLock);
	bool		empty = RelationGetNumberOfBlocks(table) == 0;

	table_close(table, NoLock);
	return empty;
}

static void
refuse_use(Oid relation, const char *function)
{
	Relation	table = table_open(relation, NoLock);

	CheckTableNotInUse(table, function);
	table_close(table, NoLock);
}

/* A second registration would make the values that are sealed for the first one unreadable. */
static void
refuse_label(Oid relation, AttrNumber column)
{
	if (chatcrypt_protectlabels_get(relation, column) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of table \"%s\" already has a chatcrypt label",
						get_attname(relation, column, false), get_rel_name(relation)),
				 errhint("Nothing was changed. Look in chatcrypt.protected.")));
}

void
chatcrypt_protectswitch_protect(Oid relation, AttrNumber column, AttrNumber chat,
								AttrNumber message, const pg_uuid_t *registry_id)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(column));
	Form_pg_attribute row = (Form_pg_attribute) GETSTRUCT(tuple);
	ChatcryptColumnLabel label = {.registry_id = *registry_id, .storage = row->attstorage};

	refuse_use(relation, "chatcrypt.protect()");
	refuse_label(relation, column);
	label.state = is_empty(relation) ? CHATCRYPT_COLUMN_SEALED : CHATCRYPT_COLUMN_MIXED;
	label.length = row->atttypid == VARCHAROID && row->atttypmod >= VARHDRSZ ?
		row->atttypmod - VARHDRSZ : 0;
	ReleaseSysCache(tuple);

	chatcrypt_protectlabels_set(relation, chat, "chat");
	chatcrypt_protectlabels_set(relation, message, "message");
	chatcrypt_protectlabels_set(relation, column, chatcrypt_protected_format(&label));
	set_attribute(relation, column, TYPSTORAGE_EXTERNAL, -1);
	/* Sealed values are longer: a table that needed no TOAST table may need one now. */
	AlterTableCreateToastTable(relation, (Datum) 0, AccessExclusiveLock);
	RemoveStatistics(relation, column);
	set_access_method(relation, chatcrypt_protected_am(false));
	if (label.state == CHATCRYPT_COLUMN_SEALED)
		chatcrypt_protectswitch_forget_missing(relation, column);
}

void
chatcrypt_protectswitch_state(Oid relation, const ChatcryptColumn *column,
							  ChatcryptColumnState state)
{
	ChatcryptColumnLabel label = column->label;

	label.state = state;
	chatcrypt_protectlabels_set(relation, column->number, chatcrypt_protected_format(&label));
	CommandCounterIncrement();
}

void
chatcrypt_protectswitch_unprotect(Oid relation, const ChatcryptColumn *column)
{
	ChatcryptProtected *table = chatcrypt_protected_by_oid(relation);
	int32		typmod = column->label.length > 0 ? column->label.length + VARHDRSZ : -1;
	char		storage = column->label.storage;

	refuse_use(relation, "chatcrypt.protect_rows()");
	chatcrypt_protectlabels_set(relation, column->number, NULL);
	set_attribute(relation, column->number, storage != 0 ? storage : TYPSTORAGE_EXTENDED, typmod);
	RemoveStatistics(relation, column->number);
	if (table->ncolumns > 1)
		return;
	chatcrypt_protectlabels_set(relation, table->chat, NULL);
	chatcrypt_protectlabels_set(relation, table->message, NULL);
	set_access_method(relation, HEAP_TABLE_AM_OID);
}
