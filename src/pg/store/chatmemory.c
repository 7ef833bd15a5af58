/*
 * chatmemory.c
 *		What a session remembers of chats: see chatmemory.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

/* Chats, of each memory: 4 to 8 MB in a process that has met so many. */
#define REMEMBERED	65536

/* A chat's place in a memory; the value follows. */
typedef struct Place
{
	uint8		chat_id[CC_ID_LEN];
	uint64		generation;		/* as of which the value was read */
} Place;

static ChatcryptMemory *memories;

static void
note_relcache_change(Datum arg, Oid relation)
{
	(void) arg;
	for (ChatcryptMemory *memory = memories; memory != NULL; memory = memory->next)
		if (relation == InvalidOid || relation == memory->relations[0] ||
			relation == memory->relations[1])
			memory->generation++;
}

/* What a transaction saw of its own changes is not remembered where they may not come to be. */
static void
forget_all(void)
{
	for (ChatcryptMemory *memory = memories; memory != NULL; memory = memory->next)
		memory->generation++;
}

static void
note_transaction(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT ||
		event == XACT_EVENT_PREPARE)
		forget_all();
}

static void
note_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_all();
}

static void *
value_at(Place *place)
{
	return (char *) place + MAXALIGN(sizeof(Place));
}

static void
open_memory(ChatcryptMemory *memory)
{
	static bool watching = false;

	if (!watching)
	{
		CacheRegisterRelcacheCallback(note_relcache_change, (Datum) 0);
		RegisterXactCallback(note_transaction, NULL);
		RegisterSubXactCallback(note_subtransaction, NULL);
		watching = true;
	}
	memory->places = (ChatcryptMemo) {
		.name = "chatcrypt memory of chats",
		.key_len = CC_ID_LEN,
		.entry_len = MAXALIGN(sizeof(Place)) + MAXALIGN(memory->value_size),
		.most = REMEMBERED
	};
	memory->just_read = MemoryContextAllocZero(TopMemoryContext, memory->value_size);
	memory->generation = 1;
	memory->next = memories;
	memories = memory;
}

/* Before anything is read: a change from here on must be noticed. */
static void
find_tables(ChatcryptMemory *memory)
{
	for (int i = 0; i < CHATCRYPT_MEMORY_TABLES; i++)
		if (memory->tables[i] != NULL)
			memory->relations[i] = chatcrypt_store_relation(memory->tables[i]);
}

const void *
chatcrypt_remember(ChatcryptMemory *memory, const uint8 chat_id[CC_ID_LEN])
{
	Place	   *place;
	uint64		now;

	if (unlikely(memory->generation == 0))
		open_memory(memory);
	AcceptInvalidationMessages();
	place = chatcrypt_memo_find(&memory->places, chat_id);
	if (place != NULL && place->generation == memory->generation)
		return value_at(place);

	find_tables(memory);
	now = memory->generation;
	if (!memory->read(chat_id, memory->just_read))
		return NULL;
	place = chatcrypt_memo_enter(&memory->places, chat_id);
	memcpy(value_at(place), memory->just_read, memory->value_size);
	place->generation = now;
	return value_at(place);
}

void
chatcrypt_forget(ChatcryptMemory *memory)
{
	if (memory->generation != 0)
		memory->generation++;
}
