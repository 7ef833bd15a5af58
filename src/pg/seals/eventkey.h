/*
 * eventkey.h
 *		The key that seals the history of keys: 32 bytes that the KMS wraps as it wraps
 *		a data key, in the one row of chatcrypt.event_chain, made at first use.
 *
 * Unwrapped it lives in the shared key cache and nowhere else.  What needs it takes
 * it from there for one MAC and wipes its copy, so that no error can pass over it.
 */
#ifndef CHATCRYPT_EVENTKEY_H
#define CHATCRYPT_EVENTKEY_H

#include "core/kdf.h"
#include "pg/cache/keycache.h"

/* No secret. */
typedef struct ChatcryptEventKey
{
	ChatcryptKeyId id;
	char	   *kms_key;
	bytea	   *wrapped;
} ChatcryptEventKey;

/* False where there is none yet.  In the current memory context. */
extern bool chatcrypt_eventkey_read(ChatcryptEventKey *key);

/* Has the KMS make it, and writes the row; another session may have been faster. */
extern void chatcrypt_eventkey_make(void);

/* Asks the KMS for it, unless it is cached: to be called before anything is locked. */
extern void chatcrypt_eventkey_warm(const ChatcryptEventKey *key);

extern void chatcrypt_eventkey_mac(const ChatcryptEventKey *key, const void *data, Size len,
								   uint8 mac[CC_SHA256_LEN]);

/* Inside an owner scope: one sealer at a time.  Raises where the key is not this one any more. */
extern void chatcrypt_eventkey_lock(const ChatcryptEventKey *key);

#endif
