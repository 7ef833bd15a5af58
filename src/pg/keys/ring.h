/*
 * ring.h
 *		The keys that this process has at hand: the fast path of every message.
 *		Not here: whether the caller may have the key, and words for one that is not there
 *		(keyring.c).
 */
#ifndef CHATCRYPT_RING_H
#define CHATCRYPT_RING_H

#include "pg/keys/keyrow.h"

/*
 * The key, valid until the next call; NULL where there is none or it was destroyed.  Where the
 * KMS does not give it, this raises, or is NULL and fills the failure if there is one to fill.
 */
extern const ChatcryptKey *chatcrypt_ring_get(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
											  uint32 asked_version, ChatcryptKmsJob *failure);

#endif
