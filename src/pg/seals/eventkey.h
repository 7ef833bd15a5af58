/*
 * eventkey.h
 *		The key that seals the history of keys: 32 bytes that the KMS wraps as it wraps
 *		a data key, in the one row of chatcrypt.event_chain, made at first use.
 *
 * The unwrapped key lives in the shared key cache and nowhere else.  A function that needs
 * it copies it from there for one MAC and wipes its copy, so that no error can leave one behind.
 */
#ifndef CHATCRYPT_EVENTKEY_H
#define CHATCRYPT_EVENTKEY_H

#include "core/kdf.h"
#include "pg/cache/keycache.h"

/* Holds no secret. */
typedef struct ChatcryptEventKey
{
	ChatcryptKeyId id;
	char	   *kms_key;
	bytea	   *wrapped;
} ChatcryptEventKey;

/* False where there is no key yet.  Allocates in the current memory context. */
extern bool chatcrypt_eventkey_read(ChatcryptEventKey *key);

/* Has the KMS make the key, and writes the row, unless another session was faster. */
extern void chatcrypt_eventkey_make(void);

/* Has the KMS unwrap the key, unless it is cached.  To be called before anything is locked. */
extern void chatcrypt_eventkey_warm(const ChatcryptEventKey *key);

extern void chatcrypt_eventkey_mac(const ChatcryptEventKey *key, const void *data, Size len,
								   uint8 mac[CC_SHA256_LEN]);

/*
 * Locks the row, so that one session seals at a time; to be called inside an owner scope.
 * Raises where the row now holds another key.
 */
extern void chatcrypt_eventkey_lock(const ChatcryptEventKey *key);

#endif
