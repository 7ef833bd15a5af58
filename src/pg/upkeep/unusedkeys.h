/*
 * unusedkeys.h
 *		The keys of one chat that were replaced and that no row names now: finds and destroys
 *		them.  Not here: the proof that no row will name them in a moment (purgekeys.c).
 */
#ifndef CHATCRYPT_UNUSEDKEYS_H
#define CHATCRYPT_UNUSEDKEYS_H

#include "pg/upkeep/lastlook.h"

/* A key, by what no other key has: ids are used again where the extension is created again. */
typedef struct ChatcryptUnusedKey
{
	ChatcryptSoughtKey sought;
	bytea	   *kcv;
} ChatcryptUnusedKey;

/* Raises for a chat that keeps its keys.  The list and its keys are in the given context. */
extern List *chatcrypt_unusedkeys_find(const uint8 chat_id[CC_ID_LEN], MemoryContext context);

/*
 * Locks the chat, and destroys those of the keys that are still unused, with a record in the
 * history; returns their number.  Waits for no lock: raises where another session holds it.
 */
extern int	chatcrypt_unusedkeys_destroy(const uint8 chat_id[CC_ID_LEN], const List *keys);

#endif
