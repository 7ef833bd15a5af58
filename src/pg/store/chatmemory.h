/*
 * chatmemory.h
 *		What a session remembers of chats, of their policies, and of whether the actor
 *		takes part in them.  It is read from the tables once for each chat, and again
 *		after a row of one of those tables has changed.
 *
 * As with keys (invalidate.c), triggers on the tables request the invalidation.  If a memory
 * may hold that a row is absent, the trigger on its table must fire on INSERT too.
 */
#ifndef CHATCRYPT_CHATMEMORY_H
#define CHATCRYPT_CHATMEMORY_H

#include "core/bytes.h"
#include "pg/store/generation.h"
#include "pg/store/memo.h"

/* Reads the value for a chat from the tables.  Returns false if it must not be remembered. */
typedef bool (*ChatcryptReadChat) (const uint8 chat_id[CC_ID_LEN], void *value);

/* One for each kind of value: static, with its first three members initialized. */
typedef struct ChatcryptMemory
{
	const char *tables[CHATCRYPT_GENERATION_TABLES];	/* where the values come from */
	Size		value_size;
	ChatcryptReadChat read;

	/* private to chatmemory.c */
	ChatcryptGeneration generation; /* of those tables; not watched before the first use */
	ChatcryptMemo places;
	void	   *just_read;
} ChatcryptMemory;

/* The value for the chat, valid until the next call; NULL if read() returned false. */
extern const void *chatcrypt_chatmemory_remember(ChatcryptMemory *memory,
												 const uint8 chat_id[CC_ID_LEN]);

/*
 * Makes all values be read again: for a change that does not come from one of the tables.
 */
extern void chatcrypt_chatmemory_forget(ChatcryptMemory *memory);

#endif
