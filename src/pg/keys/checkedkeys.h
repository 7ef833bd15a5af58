/*
 * checkedkeys.h
 *		The keys that this process has checked against their rows and that have left its ring
 *		(keyring.h): their names and check values, and no secret.
 *
 * The shared cache gives a key only for its exact name.  That name includes the check value,
 * which is in the key's row.  A process that goes through more chats than its ring holds would
 * read a row for each message.  So the name of a key that leaves the ring is noted here.  With
 * it the key may be requested from the shared cache again, without its row, for as long as its
 * entry in the ring would have been good: no row of chatcrypt.dek was changed, and nothing was
 * evicted for safety.
 */
#ifndef CHATCRYPT_CHECKEDKEYS_H
#define CHATCRYPT_CHECKEDKEYS_H

#include "pg/cache/keycache.h"

/* How a key was requested.  Compared as bytes; it has no padding. */
typedef struct ChatcryptAsked
{
	uint8		chat_id[CC_ID_LEN];
	uint32		version;		/* or a constant of pg/keys/keylookup.h */
	uint32		use;
} ChatcryptAsked;

/* The state in which a key was checked. */
typedef struct ChatcryptCheckedAt
{
	uint64		generation;		/* of chatcrypt.dek: pg/store/relations.h */
	uint64		epoch;			/* of the shared cache: pg/cache/keycache.h */
} ChatcryptCheckedAt;

extern void chatcrypt_checkedkeys_note(const ChatcryptAsked *asked, ChatcryptCheckedAt at,
									   const ChatcryptKeyId *id);

/* False unless the key was checked at the same generation and epoch. */
extern bool chatcrypt_checkedkeys_find(const ChatcryptAsked *asked, ChatcryptCheckedAt now,
									   ChatcryptKeyId *id);

#endif
