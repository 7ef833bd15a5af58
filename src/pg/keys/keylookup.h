/*
 * keylookup.h
 *		The row of chatcrypt.dek that holds a requested key, and the KMS job that unwraps the
 *		key.
 */
#ifndef CHATCRYPT_KEYLOOKUP_H
#define CHATCRYPT_KEYLOOKUP_H

#include "pg/keys/keyuse.h"
#include "pg/service/kmsjob.h"
#include "pg/store/store.h"

/*
 * A request for a key names the key that seals messages, whatever its use is; the active key
 * for a use; or a version for a use.  No version is above PG_INT32_MAX.
 */
#define CHATCRYPT_THE_ONE_THAT_SEALS	0
#define CHATCRYPT_THE_ACTIVE_ONE		PG_UINT32_MAX

/*
 * Whether the request names a version: it is then for a key that opens, not for one that seals.
 */
static inline bool
chatcrypt_keylookup_is_version(uint32 asked_version)
{
	return asked_version != CHATCRYPT_THE_ONE_THAT_SEALS && asked_version != CHATCRYPT_THE_ACTIVE_ONE;
}

/*
 * False where there is no such row.  Raises an error where a key that seals is requested of a
 * chat that is end-to-end encrypted.
 */
extern bool chatcrypt_keylookup_read(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
									 uint32 asked_version, ChatcryptDekRow *row);

/* Fills a job that unwraps the key of a row.  The row must outlive the job. */
extern void chatcrypt_keylookup_job(const ChatcryptDekRow *row, ChatcryptKmsJob *job);

/* Has the KMS unwrap the key of a row again, and does not wait for it. */
extern void chatcrypt_keylookup_refresh(const ChatcryptDekRow *row);

#endif
