/*
 * keyrow.h
 *		The row of chatcrypt.dek behind a key that is asked for, and what the KMS is asked for it.
 */
#ifndef CHATCRYPT_KEYROW_H
#define CHATCRYPT_KEYROW_H

#include "pg/keys/keyuse.h"
#include "pg/service/kmsjob.h"
#include "pg/store/store.h"

/*
 * What a key is asked for as: the one that seals messages, whatever its use is; the
 * active one for a use; or a version of a use.  No version is above PG_INT32_MAX.
 */
#define CHATCRYPT_THE_ONE_THAT_SEALS	0
#define CHATCRYPT_THE_ACTIVE_ONE		PG_UINT32_MAX

/* Something is to be opened, and the key is not one to seal with. */
static inline bool
chatcrypt_keyrow_is_version(uint32 asked_version)
{
	return asked_version != CHATCRYPT_THE_ONE_THAT_SEALS && asked_version != CHATCRYPT_THE_ACTIVE_ONE;
}

/*
 * False where there is no such row.  Raises for a key to seal with in a chat that is encrypted
 * end to end.
 */
extern bool chatcrypt_keyrow_read(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
								  uint32 asked_version, ChatcryptDekRow *row);

/* A job to unwrap the key of a row, which must stay. */
extern void chatcrypt_keyrow_job(const ChatcryptDekRow *row, ChatcryptKmsJob *job);

/* Has the KMS unwrap it again, and does not wait. */
extern void chatcrypt_keyrow_refresh(const ChatcryptDekRow *row);

#endif
