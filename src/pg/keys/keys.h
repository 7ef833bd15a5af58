/*
 * keys.h
 *		What is done to the keys of a chat that exists.
 */
#ifndef CHATCRYPT_KEYS_H
#define CHATCRYPT_KEYS_H

#include "pg/compat.h"
#include "pg/keys/newdeks.h"
#include "pg/store/owner.h"

/*
 * Gives the chat a new key that seals from now on; its version.  Raises where it has
 * none to take over from: what was shredded is not brought back to life.  The caller
 * has checked rights.
 */
extern uint32 chatcrypt_keys_rotate(const uint8 chat_id[CC_ID_LEN]);

/* The same for a key of another purpose, that the chat has. */
extern uint32 chatcrypt_keys_rotate_purpose(const uint8 chat_id[CC_ID_LEN],
											ChatcryptPurpose purpose);

/*
 * Whether the chat's messages can be sealed; raises where there is no such chat, or it
 * has no keys here.
 */
extern bool chatcrypt_keys_chat_can_seal(const uint8 chat_id[CC_ID_LEN]);

/*
 * Gives the chat an active key for the purpose where it has none: whether this call
 * made it.  Asks the KMS and writes, so not from what must run on a standby.  Raises
 * where the chat was shredded.  The caller has checked rights.
 */
extern bool chatcrypt_keys_ensure(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose);

/*
 * Inside an owner scope: keeps two changes of one chat's keys apart, and no writer of
 * messages waiting.
 */
extern void chatcrypt_keys_lock_chat(const uint8 chat_id[CC_ID_LEN]);

/* Inside an owner scope: the newest version that a chat ever had for a purpose; 0 for none. */
extern uint32 chatcrypt_keys_newest_version(const uint8 chat_id[CC_ID_LEN],
											ChatcryptPurpose purpose);

/*
 * Inside an owner scope, with the chat locked: the new key seals from now on, and
 * the history says so, and why where that is said.  False where its version is not
 * the next one any more, or where no key is active to take over from, and nothing
 * was done.
 */
extern bool chatcrypt_keys_take_over(const ChatcryptOwnerScope *scope, const ChatcryptNewDek *dek,
									 const char *kms_key, const char *why);

/* Raises for a version that an imported key may not have, which leaves rotation no room. */
extern uint32 chatcrypt_keys_import_version(int32 version);

#endif
