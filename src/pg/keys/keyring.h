/*
 * keyring.h
 *		Keys for other rooms: the key that a chat seals with, or that an envelope names.
 *		Participants' rights are checked here, and in every function that gives a key.
 */
#ifndef CHATCRYPT_KEYRING_H
#define CHATCRYPT_KEYRING_H

#include "pg/keys/keyuse.h"
#include "pg/service/kmsjob.h"

/*
 * Each of these asks first whether the actor takes part in the chat, or whether one must be
 * named (chatcrypt_access_require_for_key_use()).  Roles are the business of the caller.
 */

/*
 * The key that seals new messages of the chat, the active one for a use, or the one
 * that opened version names.  Raises, in words for a person, where there is none or
 * the KMS refuses.  Valid until the next call of any.
 */
extern const ChatcryptKey *chatcrypt_keyring_seal(const uint8 chat_id[CC_ID_LEN]);
extern const ChatcryptKey *chatcrypt_keyring_active(const uint8 chat_id[CC_ID_LEN],
													ChatcryptUse use);
extern const ChatcryptKey *chatcrypt_keyring_open(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												  uint32 version);

/*
 * The same as a question: NULL where the chat has no such key or it was destroyed.
 * What the KMS answers still raises: an unreachable KMS must not look like damage.
 */
extern const ChatcryptKey *chatcrypt_keyring_find(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												  uint32 version);

/* For a caller that gets NULL and raises nothing: counts what did not open (failedopens.h). */
extern void chatcrypt_keyring_note_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
										  uint32 version);

/*
 * The same, and where the KMS does not give the key it does not raise either: then
 * failure holds the outcome, the words and wrong_key, and otherwise CC_KMS_OK.
 */
extern const ChatcryptKey *chatcrypt_keyring_probe(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												   uint32 version, ChatcryptKmsJob *failure);

#endif
