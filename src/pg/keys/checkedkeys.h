/*
 * checkedkeys.h
 *		Which keys this process has checked against their rows, beyond those that it has
 *		at hand: names and check values, and no secret.
 *
 * Having a key from the shared cache takes its exact name, check value included, and
 * that is in its row.  A process that goes round more chats than its keyring holds would
 * read a row for each message.  What falls out of the keyring is noted here, and may be
 * asked of the shared cache by its name again while what held for it in the keyring goes
 * on to hold: no row of chatcrypt.dek was changed, and nothing was evicted for safety.
 */
#ifndef CHATCRYPT_CHECKEDKEYS_H
#define CHATCRYPT_CHECKEDKEYS_H

#include "pg/cache/keycache.h"

/* What a key was asked for as.  Compared as bytes; it has no padding. */
typedef struct ChatcryptAsked
{
	uint8		chat_id[CC_ID_LEN];
	uint32		version;		/* or what the keyring has in place of one */
	uint32		use;
} ChatcryptAsked;

/* As of when a key was checked. */
typedef struct ChatcryptCheckedAt
{
	uint64		generation;		/* of chatcrypt.dek: pg/store/relations.h */
	uint64		epoch;			/* of the shared cache: pg/cache/keycache.h */
} ChatcryptCheckedAt;

extern void chatcrypt_checkedkeys_note(const ChatcryptAsked *asked, ChatcryptCheckedAt at,
									   const ChatcryptKeyId *id);

/* False where no such key was checked as of now. */
extern bool chatcrypt_checkedkeys_find(const ChatcryptAsked *asked, ChatcryptCheckedAt now,
									   ChatcryptKeyId *id);

#endif
