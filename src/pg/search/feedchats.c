/*
 * feedchats.c
 *		Lists the messages of whole chats for the external search index: see feedchats.h.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/sinval.h"
#include "utils/xid8.h"

#include "pg/compat.h"
#include "pg/search/feedchats.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

/*
 * Makes all sessions that remember that a chat is not fed read that again.  The transaction that
 * began to feed the chat sends such a message itself, but that may still be on its way when the
 * rows of the transaction are already visible.
 */
static void
have_all_sessions_forget(void)
{
	SharedInvalidationMessage message;

	memset(&message, 0, sizeof(message));
	message.rc.id = SHAREDINVALRELCACHE_ID;
	message.rc.dbId = MyDatabaseId;
	message.rc.relId = chatcrypt_relations_find("search_feed_chat");
	SendSharedInvalidMessages(&message, 1);
}

/* A fence that lies in the future was restored from a dump of another server, and gets a new value. */
void
chatcrypt_feedchats_raise_fences(void)
{
	ChatcryptArg args[2];
	bool		isnull;

	args[1] = (ChatcryptArg) {XID8OID, FullTransactionIdGetDatum(ReadNextFullTransactionId()),
							  false};
	chatcrypt_owner_execute("SELECT array_agg(position) FROM chatcrypt.search_feed "
							"WHERE message_id IS NULL "
							"AND (fence = xid8 '0' OR fence > $1)",
							&args[1], 1);
	args[0] = (ChatcryptArg) {INT8ARRAYOID, chatcrypt_owner_value(&isnull), false};
	if (isnull)
		return;
	have_all_sessions_forget();
	args[1].value = FullTransactionIdGetDatum(ReadNextFullTransactionId());
	chatcrypt_owner_execute("UPDATE chatcrypt.search_feed SET fence = $2 "
							"WHERE position = ANY ($1)",
							args, lengthof(args));
}

/*
 * All messages of the chat are noted.  If the chat is no longer fed it is forgotten, unless
 * another transaction is turning its feed on.
 */
static void
end_chat(Datum position, Datum chat_id)
{
	ChatcryptArg row = {INT8OID, position, false};
	ChatcryptArg chat = {UUIDOID, chat_id, false};

	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed WHERE position = $1", &row, 1);
	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.search_feed_chat "
								"WHERE chat_id = $1 FOR UPDATE SKIP LOCKED",
								&chat, 1) == 0)
		return;
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed_chat f "
							"WHERE chat_id = $1 "
							"AND NOT EXISTS (SELECT FROM chatcrypt.search_policy p "
							"WHERE p.chat_id = f.chat_id AND p.feed) "
							"AND NOT EXISTS (SELECT FROM chatcrypt.search_feed r "
							"WHERE r.chat_id = f.chat_id AND r.message_id IS NULL)",
							&chat, 1);
}

/* Locks a row without a message whose fence is passed: its position, chat and place. */
#define NEXT_CHAT \
	"SELECT position, chat_id, after FROM chatcrypt.search_feed " \
	"WHERE message_id IS NULL " \
	"AND (fence IS NULL " \
	"OR fence > xid8 '0' AND fence <= pg_snapshot_xmax(pg_current_snapshot())) " \
	"AND NOT EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS running " \
	"WHERE running < fence) " \
	"ORDER BY position LIMIT 1 FOR UPDATE SKIP LOCKED"

/*
 * $1 to $3 are what NEXT_CHAT gave, $4 how many messages to list.  All messages of one
 * created_at are noted together, so that created_at alone says where to go on.
 */
#define NOTE_MESSAGES \
	"WITH listed AS (SELECT message_id, created_at FROM chatcrypt.sealed_message " \
	"WHERE chat_id = $2 AND ($3 IS NULL OR created_at > $3) " \
	"ORDER BY created_at FETCH FIRST ($4) ROWS WITH TIES), " \
	"noted AS (INSERT INTO chatcrypt.search_feed (message_id, chat_id) " \
	"SELECT message_id, $2 FROM listed), " \
	"moved AS (UPDATE chatcrypt.search_feed " \
	"SET fence = NULL, after = (SELECT max(created_at) FROM listed) " \
	"WHERE position = $1) " \
	"SELECT count(*) FROM listed"

bool
chatcrypt_feedchats_note_some(int max)
{
	ChatcryptArg args[4];
	bool		isnull;
	int64		listed;

	if (chatcrypt_owner_execute(NEXT_CHAT, NULL, 0) == 0)
		return false;
	for (int i = 0; i < 3; i++)
	{
		args[i].value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1,
									  &args[i].isnull);
		args[i].type = SPI_gettypeid(SPI_tuptable->tupdesc, i + 1);
	}
	args[3] = (ChatcryptArg) {INT4OID, Int32GetDatum(max), false};
	chatcrypt_owner_execute(NOTE_MESSAGES, args, lengthof(args));
	listed = DatumGetInt64(chatcrypt_owner_value(&isnull));
	if (listed < max)
		end_chat(args[0].value, args[1].value);
	return true;
}
