/*
 * unusedkeys.c
 *		Finds and destroys keys of one chat that no row names: see unusedkeys.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/cache/eviction.h"
#include "pg/history/events.h"
#include "pg/keys/dekrows.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"
#include "pg/upkeep/namedkey.h"
#include "pg/upkeep/registry.h"
#include "pg/upkeep/unusedkeys.h"

#define READ_POLICY \
	"SELECT external_envelopes " \
	"FROM chatcrypt.chat " \
	"WHERE chat_id = $1"

/*
 * Reads the chat's policy, and locks its row first if the caller says so, which keeps other
 * changes of its keys and of its policy away.  Does not wait for a lock.
 */
static void
require_purgeable(const uint8 *chat_id, bool lock)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptMode mode;
	bool		isnull;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (chatcrypt_owner_execute(lock ? READ_POLICY " FOR NO KEY UPDATE SKIP LOCKED" : READ_POLICY,
								&arg, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("chat %s is being changed by another transaction and keeps its keys",
						chatcrypt_id_text(chat_id))));
	if (DatumGetBool(chatcrypt_owner_value(&isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("keys of chat %s are not purged: envelopes of it may live outside this database",
						chatcrypt_id_text(chat_id)),
				 errhint("Where none do, set external_envelopes of the chat to false in chatcrypt.chat.")));
}

/* ---------- what rows name ---------- */

/*
 * The different headers of all envelopes that a place holds of the chat, read as the place's
 * owner; NULL for none.
 */
static ArrayType *
headers_in_place(const ChatcryptPlace *place, const uint8 *chat_id)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;
	ChatcryptArg arg;
	Datum		chat_value;
	Datum		headers;
	bool		isnull;

	if (!chatcrypt_registry_chat_value(place, chat_id, &chat_value))
		return NULL;
	arg = (ChatcryptArg) {chatcrypt_registry_id_type(place->chat_type), chat_value, false};
	chatcrypt_owner_begin_as(&scope, place->owner);
	chatcrypt_owner_execute(psprintf("SELECT array_agg(DISTINCT substr(%s, 1, 5)) "
									 "FROM ONLY %s "
									 "WHERE %s = $1 AND %s IS NOT NULL",
									 place->envelope, place->table, place->chat, place->column),
									 &arg, 1);
	headers = chatcrypt_owner_value(&isnull);
	if (!isnull)
	{
		MemoryContextSwitchTo(context);
		headers = PointerGetDatum(DatumGetArrayTypePCopy(headers));
	}
	chatcrypt_owner_end(&scope);
	return isnull ? NULL : DatumGetArrayTypeP(headers);
}

/* The versions of keys that any envelope or part of the chat names, as Int32 datums. */
typedef struct NamedVersions
{
	List	   *data;
	List	   *conversation;
} NamedVersions;

static void
note_named(NamedVersions *named, const bytea *header)
{
	ChatcryptPurpose purpose;
	uint32		version;

	if (!chatcrypt_namedkey_read(header, &purpose, &version) || version > PG_INT32_MAX)
		return;					/* no row of dek has such a version */
	if (purpose == CHATCRYPT_PURPOSE_CONVERSATION)
		named->conversation = list_append_unique_int(named->conversation, (int) version);
	else
		named->data = list_append_unique_int(named->data, (int) version);
}

static NamedVersions
versions_in_use(const uint8 *chat_id)
{
	NamedVersions named = {0};
	ListCell   *cell;

	foreach(cell, chatcrypt_registry_places(AccessShareLock))
	{
		ArrayType  *headers = headers_in_place(lfirst(cell), chat_id);
		Datum	   *elements;
		int			count;

		if (headers == NULL)
			continue;
		deconstruct_array(headers, BYTEAOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
		for (int i = 0; i < count; i++)
			note_named(&named, DatumGetByteaPP(elements[i]));
	}
	return named;
}

/* The versions as an argument of a statement: integer[]. */
static ChatcryptArg
versions_arg(const List *versions)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(versions) + 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, versions)
		values[count++] = Int32GetDatum(lfirst_int(cell));
	return (ChatcryptArg) {
		INT4ARRAYOID,
		PointerGetDatum(construct_array(values, count, INT4OID, sizeof(int32), true, TYPALIGN_INT)),
		false
	};
}

/* Of chat $1, whose rows name the data keys of versions $2 and the conversation keys of $3. */
#define IS_UNUSED \
	"d.chat_id = $1 " \
	"AND d.state = 'decrypt_only' " \
	"AND d.purpose <> 'search' " \
	"AND d.dek_version <> ALL (CASE d.purpose WHEN 'data' THEN $2 ELSE $3 END)"

/* ---------- finding ---------- */

/* A row of the statement below: kcv, purpose, version. */
static ChatcryptUnusedKey *
read_key(uint64 row, const uint8 *chat_id)
{
	ChatcryptUnusedKey *key = palloc0(sizeof(ChatcryptUnusedKey));
	bool		isnull;

	memcpy(key->sought.chat_id.data, chat_id, CC_ID_LEN);
	key->kcv = DatumGetByteaPCopy(chatcrypt_owner_column(row, 1, &isnull));
	if (!chatcrypt_keytypes_parse_purpose(TextDatumGetCString(chatcrypt_owner_column(row, 2,
																					 &isnull)),
										  &key->sought.purpose))
		elog(ERROR, "a row of chatcrypt.dek is damaged");
	key->sought.version = (uint32) DatumGetInt32(chatcrypt_owner_column(row, 3, &isnull));
	return key;
}

/* To be called inside an owner scope. */
static List *
find_unused(const uint8 *chat_id, MemoryContext context)
{
	NamedVersions named = versions_in_use(chat_id);
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		versions_arg(named.data),
		versions_arg(named.conversation)
	};
	uint64		count = chatcrypt_owner_execute("SELECT d.kcv, d.purpose, d.dek_version "
												"FROM chatcrypt.dek AS d "
												"WHERE " IS_UNUSED, args, lengthof(args));
	MemoryContext previous = MemoryContextSwitchTo(context);
	List	   *keys = NIL;

	for (uint64 i = 0; i < count; i++)
		keys = lappend(keys, read_key(i, chat_id));
	MemoryContextSwitchTo(previous);
	return keys;
}

List *
chatcrypt_unusedkeys_find(const uint8 chat_id[CC_ID_LEN], MemoryContext context)
{
	ChatcryptOwnerScope scope;
	List	   *keys;

	chatcrypt_owner_begin(&scope);
	require_purgeable(chat_id, false);
	keys = find_unused(chat_id, context);
	chatcrypt_owner_end(&scope);
	return keys;
}

/* ---------- destroying ---------- */

/* The key check values of the keys, as bytea[]. */
static ChatcryptArg
check_values(const List *keys)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(keys) + 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, keys)
		values[count++] = PointerGetDatum(((const ChatcryptUnusedKey *) lfirst(cell))->kcv);
	return (ChatcryptArg) {
		BYTEAARRAYOID,
		PointerGetDatum(construct_array(values, count, BYTEAOID, -1, false, TYPALIGN_INT)),
		false
	};
}

/* A row that is about to be destroyed: purpose, version, kms_key, kcv. */
static ChatcryptEvent
prepare_to_destroy(HeapTuple tuple, TupleDesc desc, const uint8 *chat_id)
{
	ChatcryptEvent event = {.event = "purge", .chat_id = chat_id};
	ChatcryptKeyId id;
	ChatcryptPurpose purpose;
	bool		isnull;
	bytea	   *kcv;

	event.purpose = SPI_getvalue(tuple, desc, 1);
	event.dek_version = (uint32) DatumGetInt32(SPI_getbinval(tuple, desc, 2, &isnull));
	event.kms_key = SPI_getvalue(tuple, desc, 3);
	kcv = DatumGetByteaPP(SPI_getbinval(tuple, desc, 4, &isnull));
	if (!chatcrypt_keytypes_parse_purpose(event.purpose, &purpose) ||
		VARSIZE_ANY_EXHDR(kcv) != CC_KCV_LEN) elog(ERROR, "a row of chatcrypt.dek is damaged");
	id = chatcrypt_keytypes_key_id(chat_id, purpose, event.dek_version);
	memcpy(id.kcv, VARDATA_ANY(kcv), CC_KCV_LEN);
	chatcrypt_eviction_note_key(&id);
	return event;
}

/* To be called inside an owner scope, with the chat locked. */
static int
destroy_unused(const ChatcryptOwnerScope *scope, const uint8 *chat_id, const List *keys)
{
	NamedVersions named = versions_in_use(chat_id);
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		versions_arg(named.data),
		versions_arg(named.conversation),
		check_values(keys)
	};
	SPITupleTable *found;
	int			nfound;

	nfound = (int) chatcrypt_owner_execute("SELECT d.purpose, d.dek_version, d.kms_key, d.kcv "
										   "FROM chatcrypt.dek AS d "
										   "WHERE " IS_UNUSED " AND d.kcv = ANY ($4) "
										   "ORDER BY d.dek_version "
										   "FOR UPDATE", args, lengthof(args));
	found = SPI_tuptable;
	for (int i = 0; i < nfound; i++)
	{
		ChatcryptEvent event = prepare_to_destroy(found->vals[i], found->tupdesc, chat_id);

		chatcrypt_event_record(scope, &event);
	}
	if (nfound > 0 && chatcrypt_dekrows_destroy(IS_UNUSED " AND d.kcv = ANY ($4)", args,
												lengthof(args)) != (uint64) nfound)
		elog(ERROR, "keys changed while they were locked");
	return nfound;
}

int
chatcrypt_unusedkeys_destroy(const uint8 chat_id[CC_ID_LEN], const List *keys)
{
	ChatcryptOwnerScope scope;
	int			destroyed;

	chatcrypt_owner_begin(&scope);
	require_purgeable(chat_id, true);
	destroyed = destroy_unused(&scope, chat_id, keys);
	chatcrypt_owner_end(&scope);
	return destroyed;
}
