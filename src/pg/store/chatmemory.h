/*
 * chatmemory.h
 *		What a session remembers of chats, their policies and whether the actor takes
 *		part: looked up in the tables once for each chat, and again when a row of one
 *		of those tables has changed.
 *
 * As with keys (invalidate.c), triggers on the tables ask for the invalidation.  Where what
 * is remembered may be that a row was absent, they must fire on INSERT too.
 */
#ifndef CHATCRYPT_CHATMEMORY_H
#define CHATCRYPT_CHATMEMORY_H

#include "core/bytes.h"
#include "pg/store/generation.h"
#include "pg/store/memo.h"

/* Reads what there is to know of a chat.  False where that must not be remembered. */
typedef bool (*ChatcryptReadChat) (const uint8 chat_id[CC_ID_LEN], void *value);

/* One for each thing to remember: static, its first three members given. */
typedef struct ChatcryptMemory
{
	const char *tables[CHATCRYPT_GENERATION_TABLES];	/* that the values come from */
	Size		value_size;
	ChatcryptReadChat read;

	/* chatmemory.c's own */
	ChatcryptGeneration generation; /* of those tables; not watched before first use */
	ChatcryptMemo places;
	void	   *just_read;
} ChatcryptMemory;

/* What is known of the chat, valid until the next call; NULL where read said false. */
extern const void *chatcrypt_chatmemory_remember(ChatcryptMemory *memory,
												 const uint8 chat_id[CC_ID_LEN]);

/* For what is no table: everything will be read again. */
extern void chatcrypt_chatmemory_forget(ChatcryptMemory *memory);

#endif
