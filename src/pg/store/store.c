/*
 * store.c
 *		Reads the extension's own tables: see store.h.
 *
 * A transaction whose snapshot is older than the destruction of a key must not use the key.
 * Every look-up therefore takes a catalog snapshot, which is new each time and is allowed in
 * parallel workers and on standbys.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "core/kdf.h"
#include "pg/cache/keycache.h"
#include "pg/compat.h"
#include "pg/store/store.h"

/* Column numbers of sql/20_tables.sql; new columns go to the end. */
enum
{
	DEK_CHAT_ID = 2,
	DEK_PURPOSE,
	DEK_VERSION,
	DEK_STATE,
	DEK_KMS_KEY,
	DEK_ENCRYPTED_DEK,
	DEK_KCV
};

enum
{
	CHAT_CHAT_ID = 1,
	CHAT_TENANT,
	CHAT_MODE
};

enum
{
	PARTICIPANT_PARTICIPANT = 1,
	PARTICIPANT_CHAT_ID
};

#define DEPLOYMENT_ID	2

static void
key_on(ScanKey key, AttrNumber column, Oid type_collation, RegProcedure equal, Datum value)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid,
						   type_collation, equal, value);
}

static void
damaged_row(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a row of chatcrypt.dek is damaged: %s", what)));
}

/* Copies a bytea column of a row into a buffer.  Returns its length, or 0 for NULL. */
static Size
copy_bytea(HeapTuple tuple, TupleDesc desc, AttrNumber column, uint8 *out, Size capacity)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);
	bytea	   *bytes;
	Size		len;

	if (isnull)
		return 0;
	bytes = DatumGetByteaPP(value);
	len = VARSIZE_ANY_EXHDR(bytes);
	if (len > capacity)
		damaged_row("a value is too long");
	memcpy(out, VARDATA_ANY(bytes), len);
	return len;
}

/* The text of a column that is NOT NULL, in the current memory context. */
static char *
get_text(HeapTuple tuple, TupleDesc desc, AttrNumber column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		damaged_row("a value is null");
	return TextDatumGetCString(value);
}

static void
copy_dek_row(HeapTuple tuple, TupleDesc desc, ChatcryptDekRow *row)
{
	bool		isnull;
	char	   *state = get_text(tuple, desc, DEK_STATE);

	row->state = strcmp(state, "active") == 0 ? CHATCRYPT_DEK_ACTIVE :
		strcmp(state, "decrypt_only") == 0 ? CHATCRYPT_DEK_DECRYPT_ONLY : CHATCRYPT_DEK_DESTROYED;
	row->id.version = DatumGetInt32(heap_getattr(tuple, DEK_VERSION, desc, &isnull));
	if (strlcpy(row->kms_key, get_text(tuple, desc, DEK_KMS_KEY),
				sizeof(row->kms_key)) >= sizeof(row->kms_key))
		damaged_row("kms_key is too long");
	if (row->state == CHATCRYPT_DEK_DESTROYED)
		return;
	row->wrapped_len = copy_bytea(tuple, desc, DEK_ENCRYPTED_DEK, row->wrapped,
								  sizeof(row->wrapped));
	if (copy_bytea(tuple, desc, DEK_KCV, row->id.kcv, CC_KCV_LEN) != CC_KCV_LEN)
		damaged_row("kcv is not 32 bytes long");
}

bool
chatcrypt_store_dek(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose,
					uint32 version, ChatcryptDekRow *row)
{
	const ChatcryptRelations *known = chatcrypt_relations();
	Relation	dek = chatcrypt_relations_open(&known->dek);
	uint64		epoch = chatcrypt_keycache_epoch();
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	key_on(&keys[0], DEK_CHAT_ID, InvalidOid, F_UUID_EQ, PointerGetDatum(chat_id));
	key_on(&keys[1], DEK_PURPOSE, C_COLLATION_OID, F_TEXTEQ,
		   CStringGetTextDatum(chatcrypt_keytypes_purpose_text(purpose)));
	key_on(&keys[2], DEK_VERSION, InvalidOid, F_INT4EQ, Int32GetDatum((int32) version));

	scan = systable_beginscan(dek, version == 0 ? known->dek_active : known->dek_by_version, true,
							  GetCatalogSnapshot(known->dek), version == 0 ? 2 : 3, keys);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		memset(row, 0, sizeof(*row));
		row->epoch = epoch;
		row->id.database = MyDatabaseId;
		row->id.purpose = purpose;
		memcpy(row->id.chat_id, chat_id, CC_ID_LEN);
		copy_dek_row(tuple, RelationGetDescr(dek), row);
	}
	systable_endscan(scan);
	table_close(dek, AccessShareLock);
	return found;
}

/* A copy of the first row that an index has for a key, or NULL; *desc is a copy too. */
static HeapTuple
copy_row(Relation relation, Oid index, ScanKey key, TupleDesc *desc)
{
	SysScanDesc scan = systable_beginscan(relation, index, true,
										  GetCatalogSnapshot(RelationGetRelid(relation)), 1, key);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
	{
		tuple = heap_copytuple(tuple);
		*desc = CreateTupleDescCopy(RelationGetDescr(relation));
	}
	systable_endscan(scan);
	return tuple;
}

HeapTuple
chatcrypt_store_find_row(const char *table, const char *index, Oid collation, RegProcedure equal,
						 Datum key, TupleDesc *desc)
{
	Relation	relation = table_open(chatcrypt_relations_find(table), AccessShareLock);
	ScanKeyData scan_key;
	HeapTuple	tuple;

	key_on(&scan_key, 1, collation, equal, key);
	tuple = copy_row(relation, chatcrypt_relations_find(index), &scan_key, desc);
	table_close(relation, AccessShareLock);
	return tuple;
}

bool
chatcrypt_store_has_no_rows(const char *table)
{
	Relation	relation = table_open(chatcrypt_relations_find(table), AccessShareLock);
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false,
										  GetCatalogSnapshot(RelationGetRelid(relation)), 0, NULL);
	bool		empty = !HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return empty;
}

/* Like chatcrypt_store_find_row() for a chat, but without looking up the names. */
static HeapTuple
fetch_chat(const uint8 chat_id[CC_ID_LEN], TupleDesc *desc)
{
	const ChatcryptRelations *known = chatcrypt_relations();
	Relation	chat = chatcrypt_relations_open(&known->chat);
	ScanKeyData key;
	HeapTuple	tuple;

	key_on(&key, CHAT_CHAT_ID, InvalidOid, F_UUID_EQ, PointerGetDatum(chat_id));
	tuple = copy_row(chat, known->chat_pkey, &key, desc);
	table_close(chat, AccessShareLock);
	return tuple;
}

bool
chatcrypt_store_chat_mode(const uint8 chat_id[CC_ID_LEN], ChatcryptMode *mode)
{
	TupleDesc	desc;
	HeapTuple	tuple = fetch_chat(chat_id, &desc);
	char	   *text;

	if (!HeapTupleIsValid(tuple))
		return false;
	text = get_text(tuple, desc, CHAT_MODE);
	*mode = strcmp(text, "managed") == 0 ? CHATCRYPT_MODE_MANAGED :
		strcmp(text, "conversation_key") == 0 ? CHATCRYPT_MODE_CONVERSATION_KEY :
			CHATCRYPT_MODE_E2EE;
	return true;
}

bool
chatcrypt_store_chat_is_new(const uint8 chat_id[CC_ID_LEN], bool *exists)
{
	TupleDesc	desc;
	HeapTuple	chat = fetch_chat(chat_id, &desc);

	*exists = HeapTupleIsValid(chat);
	return *exists && TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(chat->t_data));
}

bool
chatcrypt_store_is_participant(const uint8 chat_id[CC_ID_LEN], const char *actor, bool *lasts)
{
	const ChatcryptRelations *known = chatcrypt_relations();
	Relation	participant = chatcrypt_relations_open(&known->participant);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;
	bool		exists;

	key_on(&keys[0], PARTICIPANT_PARTICIPANT, C_COLLATION_OID, F_TEXTEQ,
		   CStringGetTextDatum(actor));
	key_on(&keys[1], PARTICIPANT_CHAT_ID, InvalidOid, F_UUID_EQ, PointerGetDatum(chat_id));
	scan = systable_beginscan(participant, known->participant_pkey, true,
							  GetCatalogSnapshot(known->participant), 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(participant, AccessShareLock);

	*lasts = found || (!chatcrypt_store_chat_is_new(chat_id, &exists) && exists);
	return found;
}

bool
chatcrypt_store_deployment_id(uint8 deployment_id[CC_ID_LEN])
{
	const ChatcryptRelations *known = chatcrypt_relations();
	Relation	deployment = chatcrypt_relations_open(&known->deployment);
	SysScanDesc scan = systable_beginscan(deployment, InvalidOid, false,
										  GetCatalogSnapshot(known->deployment), 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);
	bool		isnull;

	if (found)
		memcpy(deployment_id,
			   DatumGetUUIDP(heap_getattr(tuple, DEPLOYMENT_ID, RelationGetDescr(deployment),
										  &isnull))->data,
			   CC_ID_LEN);
	systable_endscan(scan);
	table_close(deployment, AccessShareLock);
	return found;
}

void
chatcrypt_store_deployment_lost(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("table chatcrypt.deployment is empty"),
			 errdetail("The id of this deployment is part of what binds each data key, and is dumped with the keys."),
			 errhint("Restore chatcrypt.deployment from the backup that chatcrypt.dek came from.")));
}

void
chatcrypt_store_context(const ChatcryptKeyId *id, uint8 context[CC_CONTEXT_LEN])
{
	uint8		deployment_id[CC_ID_LEN];

	if (!chatcrypt_store_deployment_id(deployment_id))
		chatcrypt_store_deployment_lost();
	if (cc_wrap_context(deployment_id, id->chat_id, chatcrypt_keytypes_purpose_text(id->purpose),
						id->version, context) != CC_OK)
		elog(ERROR, "could not make the context of a data key");
}
