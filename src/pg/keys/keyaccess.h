/*
 * keyaccess.h
 *		Gives other rooms the key that a chat seals with, or the key that an envelope names.
 */
#ifndef CHATCRYPT_KEYACCESS_H
#define CHATCRYPT_KEYACCESS_H

#include "pg/keys/keyuse.h"
#include "pg/service/kmsjob.h"

/*
 * Every function that gives a key first checks that the actor takes part in the chat, or that
 * no actor has to be named (chatcrypt_access_require_for_key_use()).  The caller checks roles.
 */

/*
 * The key that seals new messages of the chat; the active key for a use; the key of a version
 * for a use.  Each function raises an error where there is no such key or the KMS refuses.  A
 * key is valid until the next call of any function of this file.
 */
extern const ChatcryptKey *chatcrypt_keyaccess_seal(const uint8 chat_id[CC_ID_LEN]);
extern const ChatcryptKey *chatcrypt_keyaccess_active(const uint8 chat_id[CC_ID_LEN],
													  ChatcryptUse use);
extern const ChatcryptKey *chatcrypt_keyaccess_open(const uint8 chat_id[CC_ID_LEN],
													ChatcryptUse use, uint32 version);

/*
 * Like chatcrypt_keyaccess_open(), but NULL where the chat has no such key or the key was
 * destroyed.  It still raises what the KMS answers: an unreachable KMS must not look like
 * damage.
 */
extern const ChatcryptKey *chatcrypt_keyaccess_find(const uint8 chat_id[CC_ID_LEN],
													ChatcryptUse use, uint32 version);

/*
 * Counts something that did not open (failedopens.h), for a caller that got NULL and raises no
 * error.
 */
extern void chatcrypt_keyaccess_note_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
											uint32 version);

/*
 * Like chatcrypt_keyaccess_find(), but does not raise an error where the KMS does not give the
 * key: failure then holds the outcome, the error text and wrong_key.  Otherwise the outcome in
 * it is CC_KMS_OK.
 */
extern const ChatcryptKey *chatcrypt_keyaccess_probe(const uint8 chat_id[CC_ID_LEN],
													 ChatcryptUse use,
													 uint32 version, ChatcryptKmsJob *failure);

#endif
