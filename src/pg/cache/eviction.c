/*
 * eviction.c
 *		Evicts keys from the key cache at commit: see eviction.h.
 *
 * Keys that a rolled-back savepoint noted stay noted: an unnecessary eviction costs only a
 * cache miss.  After PREPARE TRANSACTION the keys stay in the cache until they age out, but
 * match no row once the transaction is committed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/cache/eviction.h"
#include "pg/cache/keycache.h"

/* What was noted of one kind; the items are in the memory context of the transaction. */
typedef struct Noted
{
	Size		item_len;
	char	   *items;
	Size		count;
	Size		room;
} Noted;

static Noted keys = {.item_len = sizeof(ChatcryptKeyId)};
static Noted chats = {.item_len = CC_ID_LEN};
static Oid	database = InvalidOid;

/* Allocates nothing, because an error after the commit would be a PANIC. */
static void
evict_all(void)
{
	for (Size i = 0; i < keys.count; i++)
		chatcrypt_keycache_evict((const ChatcryptKeyId *) keys.items + i);
	if (chats.count > 0)
		chatcrypt_keycache_evict_chats(MyDatabaseId, (uint8 *) chats.items, chats.count);
	if (OidIsValid(database))
		chatcrypt_keycache_evict_database(database);
}

/* The items themselves are freed with their memory context. */
static void
forget(Noted *noted)
{
	noted->items = NULL;
	noted->count = 0;
	noted->room = 0;
}

static void
note_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		evict_all();
	forget(&keys);
	forget(&chats);
	database = InvalidOid;
}

static void
watch_once(void)
{
	static bool watching = false;

	if (!watching)
		RegisterXactCallback(note_end, NULL);
	watching = true;
}

static void
note(Noted *noted, const void *item)
{
	watch_once();
	if (noted->count == noted->room)
	{
		noted->room = Max(2 * noted->room, 16);
		noted->items = noted->items == NULL ?
			MemoryContextAlloc(TopTransactionContext, noted->room * noted->item_len) :
			repalloc_huge(noted->items, noted->room * noted->item_len);
	}
	memcpy(noted->items + noted->count * noted->item_len, item, noted->item_len);
	noted->count++;
}

void
chatcrypt_eviction_note_key(const ChatcryptKeyId *id)
{
	note(&keys, id);
}

void
chatcrypt_eviction_note_chat(const uint8 chat_id[CC_ID_LEN])
{
	note(&chats, chat_id);
}

void
chatcrypt_eviction_note_database(Oid of)
{
	watch_once();
	database = of;
}
