/*
 * feed.c
 *		Writes the outbox of the external search index: see feed.h.
 *
 * The outbox, chatcrypt.search_feed, holds ids and no text, so that no body reaches a page or
 * the WAL through it.  A row says only that a message must be looked at again.  What the index
 * is told is read from the message when a batch is drained.
 *
 * Writers only add rows.  One row for each message, updated by each change, would take less
 * room, but a transaction that edits or deletes a message would then wait for a consumer that
 * holds the row, or deadlock with it.  A drain merges the rows of one message.
 *
 * A change of a whole chat is one row without a message, which the drain takes apart.  A chat
 * of a million messages is therefore shredded as fast as one of three.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/search/feed.h"
#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

/* Column numbers of sql/48_search_feed.sql; new columns go to the end. */
enum
{
	FEED_POSITION,
	FEED_CHAT_ID,
	FEED_MESSAGE_ID,
	FEED_NOTED_AT,
	FEED_BATCH,
	FEED_DUE_AT,
	FEED_FAILURES,
	FEED_PROBLEM,
	FEED_AFTER,
	FEED_FENCE,
	FEED_COLUMNS
};

static bool read_any_fed(const uint8 *unused, void *value);
static bool read_fed(const uint8 *chat_id, void *value);

/* Two memories, so that a database without a feed looks nothing up for each of its chats. */
static ChatcryptMemory any_fed = {.tables = {"search_feed_chat"}, .value_size = sizeof(bool),
								  .read = read_any_fed};
static ChatcryptMemory fed = {.tables = {"search_feed_chat"}, .value_size = sizeof(bool),
							  .read = read_fed};

static bool
read_any_fed(const uint8 *unused, void *value)
{
	(void) unused;
	*(bool *) value = !chatcrypt_store_has_no_rows("search_feed_chat");
	return true;
}

static bool
read_fed(const uint8 *chat_id, void *value)
{
	TupleDesc	desc;

	*(bool *) value = chatcrypt_store_find_row("search_feed_chat", "search_feed_chat_pkey", InvalidOid,
										 F_UUID_EQ, PointerGetDatum(chat_id), &desc) != NULL;
	return true;
}

bool
chatcrypt_feed_is_on(void)
{
	static const uint8 all_chats[CC_ID_LEN];

	return *(const bool *) chatcrypt_chatmemory_remember(&any_fed, all_chats);
}

static bool
is_fed(const uint8 *chat_id)
{
	return chatcrypt_feed_is_on() && *(const bool *) chatcrypt_chatmemory_remember(&fed, chat_id);
}

static void
fill_row(TupleTableSlot *slot, const uint8 *chat_id, const uint8 *message_id)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, FEED_COLUMNS * sizeof(bool));
	slot->tts_values[FEED_POSITION] =
		Int64GetDatum(nextval_internal(chatcrypt_relations_find("search_feed_position_seq"),
									   false));
	slot->tts_values[FEED_CHAT_ID] = PointerGetDatum(chat_id);
	slot->tts_values[FEED_MESSAGE_ID] = PointerGetDatum(message_id);
	slot->tts_values[FEED_NOTED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	slot->tts_values[FEED_FAILURES] = Int32GetDatum(0);
	for (int i = FEED_POSITION; i <= FEED_NOTED_AT; i++)
		slot->tts_isnull[i] = false;
	slot->tts_isnull[FEED_FAILURES] = false;
	ExecStoreVirtualTuple(slot);
}

/*
 * Inserts as the executor does, but without a statement and without checking rights, because
 * every message of a chat that is fed pays for it.
 */
static void
add_row(const uint8 *chat_id, const uint8 *message_id)
{
	Relation	table = table_open(chatcrypt_relations_find("search_feed"), RowExclusiveLock);
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(table),
													table_slot_callbacks(table));

	if (RelationGetNumberOfAttributes(table) != FEED_COLUMNS)
		elog(ERROR, "chatcrypt.search_feed has other columns than it was made with");
	InitResultRelInfo(result, table, 0, NULL, 0);
	ExecOpenIndices(result, false);
	fill_row(slot, chat_id, message_id);
	ExecSimpleRelationInsert(result, estate, slot);
	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	pfree(result);
	table_close(table, NoLock);
}

/*
 * The transaction gets its id before it looks whether the chat is fed, so that the fence of
 * chatcrypt_feed_begin() waits for it if it is told no.
 */
void
chatcrypt_feed_note(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN])
{
	(void) GetCurrentTransactionId();
	if (is_fed(chat_id))
		add_row(chat_id, message_id);
}

/*
 * A transaction that wrote a message before it could know that the chat is fed has not noted
 * that message, and may commit after the messages of the chat were listed.  The messages of a
 * chat that was not fed before are therefore listed only after all transactions have ended that
 * had an id when its fence was raised, which the drain does (feedchats.c).
 *
 * A row of search_feed_chat that exists already is locked, so that no drain removes it
 * meanwhile.
 */
void
chatcrypt_feed_begin(Datum chats)
{
	ChatcryptArg arg = {UUIDARRAYOID, chats, false};

	chatcrypt_owner_execute("WITH registered AS ("
							"INSERT INTO chatcrypt.search_feed_chat AS f "
							"SELECT unnest($1) "
							"ON CONFLICT (chat_id) DO UPDATE SET chat_id = f.chat_id "
							"RETURNING chat_id, xmax = 0 AS is_new) "
							"INSERT INTO chatcrypt.search_feed (chat_id, fence) "
							"SELECT chat_id, CASE WHEN is_new THEN xid8 '0' END "
							"FROM registered",
							&arg, 1);
}

uint64
chatcrypt_feed_again(const uint8 chat_id[CC_ID_LEN])
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	return chatcrypt_owner_execute("INSERT INTO chatcrypt.search_feed (chat_id) "
								   "SELECT chat_id FROM chatcrypt.search_feed_chat "
								   "WHERE chat_id = $1",
								   &arg, 1);
}

uint64
chatcrypt_feed_tenant_again(const ChatcryptArg *tenant)
{
	return chatcrypt_owner_execute("INSERT INTO chatcrypt.search_feed (chat_id) "
								   "SELECT f.chat_id FROM chatcrypt.search_feed_chat f "
								   "JOIN chatcrypt.chat c USING (chat_id) "
								   "WHERE c.tenant = $1",
								   tenant, 1);
}

PG_FUNCTION_INFO_V1(chatcrypt_resend_search_feed);

/*
 * resend_search_feed(chat_id any_id), or resend_search_feed() for all chats that are fed: how many
 * chats
 */
Datum
chatcrypt_resend_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptOwnerScope scope;
	uint64		chats;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.resend_search_feed()");
	if (PG_NARGS() > 0)
		chatcrypt_id_refuse_null(fcinfo, 0, "the id of the chat");
	chatcrypt_owner_begin(&scope);
	if (PG_NARGS() == 0)
		chats = chatcrypt_owner_execute("INSERT INTO chatcrypt.search_feed (chat_id) "
										"SELECT chat_id FROM chatcrypt.search_feed_chat",
										NULL, 0);
	else
		chats = chatcrypt_feed_again(PG_GETARG_UUID_P(0)->data);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT64((int64) chats);
}
