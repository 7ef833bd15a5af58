/*
 * chatkeys.h
 *		Changes to the keys of a chat that exists.
 */
#ifndef CHATCRYPT_CHATKEYS_H
#define CHATCRYPT_CHATKEYS_H

#include "pg/compat.h"
#include "pg/keys/newdeks.h"
#include "pg/store/owner.h"

/*
 * Gives the chat a new key that seals from now on, and returns its version.  Raises an error
 * where the chat has no active key to replace: a shredded chat is not brought back to life.
 * The caller has checked rights.
 */
extern uint32 chatcrypt_chatkeys_rotate(const uint8 chat_id[CC_ID_LEN]);

/* The same for the chat's active key of the given purpose. */
extern uint32 chatcrypt_chatkeys_rotate_purpose(const uint8 chat_id[CC_ID_LEN],
												ChatcryptPurpose purpose);

/*
 * Whether the chat's messages can be sealed.  Raises an error where there is no such chat, or
 * the chat is end-to-end encrypted.
 */
extern bool chatcrypt_chatkeys_can_seal(const uint8 chat_id[CC_ID_LEN]);

/*
 * Gives the chat an active key for the purpose where it has none; true where this call made it.
 * Calls the KMS and writes, so it cannot run on a standby.  Raises an error where the chat was
 * shredded.  The caller has checked rights.
 */
extern bool chatcrypt_chatkeys_ensure(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose);

/*
 * Inside an owner scope: locks the chat's row, so that one transaction at a time changes the
 * chat's keys.  Sessions that write messages do not wait for this lock.
 */
extern void chatcrypt_chatkeys_lock(const uint8 chat_id[CC_ID_LEN]);

/* Inside an owner scope: the newest version that a chat ever had for a purpose; 0 for none. */
extern uint32 chatcrypt_chatkeys_newest_version(const uint8 chat_id[CC_ID_LEN],
												ChatcryptPurpose purpose);

/*
 * Inside an owner scope, with the chat locked: makes the new key the active one, and records
 * that in the history, with the reason unless why is NULL.  False, with nothing done, where its
 * version is no longer the next one, or there is no active key to replace.
 */
extern bool chatcrypt_chatkeys_take_over(const ChatcryptOwnerScope *scope,
										 const ChatcryptNewDek *dek,
										 const char *kms_key, const char *why);

/*
 * Returns the version if an imported key may have it, and raises an error otherwise: rotation
 * must have room for later versions.
 */
extern uint32 chatcrypt_chatkeys_import_version(int32 version);

#endif
