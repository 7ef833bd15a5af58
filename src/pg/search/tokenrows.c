/*
 * tokenrows.c
 *		The rows of chatcrypt.search_token: see tokenrows.h.
 *
 * Rows are written as the server writes its catalogs, which costs a third of an INSERT through
 * SPI.  This is possible because the table belongs to the extension, has no trigger, constraint or
 * generated column, and no role has rights on it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "pg/compat.h"
#include "pg/search/tokenrows.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

/* Columns of sql/46_search.sql. */
enum
{
	TOKEN_MESSAGE_ID,
	TOKEN_CHAT_ID,
	TOKEN_CREATED_AT,
	TOKEN_GENERATION,
	TOKEN_TOKENS,
	TOKEN_COLUMNS
};

bool
chatcrypt_tokenrows_exist(void)
{
	Relation	table = table_open(chatcrypt_relations_find("search_token"), AccessShareLock);
	bool		exist = RelationGetNumberOfBlocks(table) > 0;

	table_close(table, AccessShareLock);
	return exist;
}

/* Finds the row of a message; false if it has none. */
static bool
find_row(Relation table, const uint8 *message_id, Snapshot snapshot, ItemPointer at)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, TOKEN_MESSAGE_ID + 1, BTEqualStrategyNumber, F_UUID_EQ,
				PointerGetDatum(message_id));
	scan = systable_beginscan(table, chatcrypt_relations_find("search_token_pkey"), true, snapshot,
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*at = tuple->t_self;
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

/*
 * False if another transaction, which removes the rows of a whole chat, removed the row first.
 * Then the caller must look for the row again.
 */
static bool
try_remove(Relation table, const uint8 *message_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TM_Result	result = TM_Ok;
	TM_FailureData failure;
	ItemPointerData at;

	if (find_row(table, message_id, snapshot, &at))
		result = chatcrypt_tuple_delete(table, &at, snapshot, true, &failure);
	UnregisterSnapshot(snapshot);
	return result == TM_Ok || result == TM_SelfModified;
}

static void
remove_row(Relation table, const uint8 *message_id)
{
	while (!try_remove(table, message_id))
		CHECK_FOR_INTERRUPTS();
}

void
chatcrypt_tokenrows_remove(const uint8 message_id[CC_ID_LEN])
{
	Relation	table = table_open(chatcrypt_relations_find("search_token"), RowExclusiveLock);

	remove_row(table, message_id);
	table_close(table, NoLock);
}

static ArrayType *
terms_array(const ChatcryptTerms *terms)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(terms->count, 1));

	for (int i = 0; i < terms->count; i++)
		values[i] = Int64GetDatum(terms->terms[i]);
	return construct_array(values, terms->count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

void
chatcrypt_tokenrows_write(const uint8 message_id[CC_ID_LEN], TimestampTz created_at,
						  const ChatcryptTerms *terms)
{
	Relation	table = table_open(chatcrypt_relations_find("search_token"), RowExclusiveLock);
	Datum		values[TOKEN_COLUMNS];
	bool		nulls[TOKEN_COLUMNS] = {false};

	values[TOKEN_MESSAGE_ID] = PointerGetDatum(message_id);
	values[TOKEN_CHAT_ID] = PointerGetDatum(terms->chat_id);
	values[TOKEN_CREATED_AT] = TimestampTzGetDatum(created_at);
	values[TOKEN_GENERATION] = Int64GetDatum(terms->policy.generation);
	values[TOKEN_TOKENS] = PointerGetDatum(terms_array(terms));
	remove_row(table, message_id);
	CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	table_close(table, NoLock);
}

bool
chatcrypt_tokenrows_are_missing(const uint8 chat_id[CC_ID_LEN], int64 generation)
{
	Oid			types[] = {UUIDOID, INT8OID};
	Datum		values[] = {PointerGetDatum(chat_id), Int64GetDatum(generation)};

	if (SPI_execute_with_args("SELECT FROM chatcrypt.sealed_message m "
							  "WHERE m.chat_id = $1 AND m.encrypted_message IS NOT NULL "
							  "AND NOT EXISTS (SELECT FROM chatcrypt.search_token t "
							  "WHERE t.message_id = m.message_id AND t.generation = $2)",
							  lengthof(types), types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for messages without tokens");
	return SPI_processed > 0;
}

/*
 * Finds the rows through the messages of the chat.  An index by chat would cost time for each
 * message that is inserted, and would be used for nothing else.
 */
void
chatcrypt_tokenrows_remove_chat(const uint8 chat_id[CC_ID_LEN])
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	if (chatcrypt_tokenrows_exist())
		chatcrypt_owner_execute_on_latest("DELETE FROM chatcrypt.search_token t "
										  "USING chatcrypt.sealed_message m "
										  "WHERE m.chat_id = $1 AND t.message_id = m.message_id "
										  "AND t.chat_id = $1", &arg, 1);
}

void
chatcrypt_tokenrows_remove_tenant(Datum tenant)
{
	ChatcryptArg arg = {TEXTOID, tenant, false};

	if (chatcrypt_tokenrows_exist())
		chatcrypt_owner_execute_on_latest("DELETE FROM chatcrypt.search_token t "
										  "USING chatcrypt.chat c "
										  "JOIN chatcrypt.sealed_message m USING (chat_id) "
										  "WHERE c.tenant = $1 AND t.message_id = m.message_id "
										  "AND t.chat_id = m.chat_id", &arg, 1);
}

void
chatcrypt_tokenrows_remove_all(void)
{
	if (chatcrypt_tokenrows_exist())
		chatcrypt_owner_execute("TRUNCATE chatcrypt.search_token", NULL, 0);
}
