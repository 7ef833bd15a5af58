/*
 * chatmemory.c
 *		What a session remembers of chats: see chatmemory.h.
 */
#include "postgres.h"

#include "utils/inval.h"
#include "utils/memutils.h"

#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

/* Chats that each memory holds at most; so many take 4 to 8 MB. */
#define REMEMBERED	65536

/* The entry of a chat in a memory; the value follows it. */
typedef struct Place
{
	uint8		chat_id[CC_ID_LEN];
	uint64		generation;		/* as of which the value was read */
} Place;

static void *
value_at(Place *place)
{
	return (char *) place + MAXALIGN(sizeof(Place));
}

static void
open_memory(ChatcryptMemory *memory)
{
	chatcrypt_generation_watch(&memory->generation);
	memory->places = (ChatcryptMemo) {
		.name = "chatcrypt memory of chats",
		.key_len = CC_ID_LEN,
		.entry_len = MAXALIGN(sizeof(Place)) + MAXALIGN(memory->value_size),
		.most = REMEMBERED
	};
	memory->just_read = MemoryContextAllocZero(TopMemoryContext, memory->value_size);
}

/* Must come before the tables are read, so that a change from then on is noticed. */
static void
find_tables(ChatcryptMemory *memory)
{
	for (int i = 0; i < CHATCRYPT_GENERATION_TABLES; i++)
		if (memory->tables[i] != NULL)
			memory->generation.relations[i] = chatcrypt_relations_find(memory->tables[i]);
}

const void *
chatcrypt_chatmemory_remember(ChatcryptMemory *memory, const uint8 chat_id[CC_ID_LEN])
{
	Place	   *place;
	uint64		now;

	if (unlikely(memory->generation.now == 0))
		open_memory(memory);
	AcceptInvalidationMessages();
	place = chatcrypt_memo_find(&memory->places, chat_id);
	if (place != NULL && place->generation == memory->generation.now)
		return value_at(place);

	find_tables(memory);
	now = memory->generation.now;
	if (!memory->read(chat_id, memory->just_read))
		return NULL;
	place = chatcrypt_memo_enter(&memory->places, chat_id);
	memcpy(value_at(place), memory->just_read, memory->value_size);
	place->generation = now;
	return value_at(place);
}

void
chatcrypt_chatmemory_forget(ChatcryptMemory *memory)
{
	if (memory->generation.now != 0)
		memory->generation.now++;
}
