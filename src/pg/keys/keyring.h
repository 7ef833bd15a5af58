/*
 * keyring.h
 *		The keys that this process has at hand: the fast path of every message.
 *		Not here: the check that the caller may have the key, and the error for a key that does
 *		not exist (keyaccess.c).
 */
#ifndef CHATCRYPT_KEYRING_H
#define CHATCRYPT_KEYRING_H

#include "pg/keys/keylookup.h"

/*
 * The key, valid until the next call; NULL where there is none or it was destroyed.  Where the
 * KMS does not give the key, this raises an error or, if failure is not NULL, fills *failure
 * and returns NULL.
 */
extern const ChatcryptKey *chatcrypt_keyring_get(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												 uint32 asked_version, ChatcryptKmsJob *failure);

#endif
