/*
 * newdeks.h
 *		Makes data keys: the KMS call, the key check value, and the wrapped bytes, before any
 *		row is written or locked.
 */
#ifndef CHATCRYPT_NEWDEKS_H
#define CHATCRYPT_NEWDEKS_H

#include "pg/service/requests.h"
#include "pg/store/store.h"

/* A key that was just wrapped, ready to become a row of chatcrypt.dek.  No secret. */
typedef struct ChatcryptNewDek
{
	ChatcryptKeyId id;			/* in: chat, purpose, version; out: kcv */
	bytea	   *wrapped;		/* out */
} ChatcryptNewDek;

/* What all keys of one call share. */
typedef struct ChatcryptWrapping
{
	char	   *kms_key;
	uint8		deployment_id[CC_ID_LEN];
} ChatcryptWrapping;

/*
 * Has the KMS generate count keys, and warms the shared cache with them.  Raises an error where
 * any of them fails.
 */
extern void chatcrypt_newdeks_generate(const ChatcryptWrapping *wrapping, ChatcryptNewDek *deks,
									   int count);

/*
 * The same, each key under its own KMS key, and without an error where a key fails: wrapped is
 * then NULL for that key, and its job in the returned array says why.
 */
extern ChatcryptKmsJob *chatcrypt_newdeks_try_generate(const uint8 deployment_id[CC_ID_LEN],
													   char *const *kms_keys, ChatcryptNewDek *deks,
													   int count);

/*
 * Like chatcrypt_newdeks_generate(), but for keys that exist already, each under its own KMS
 * key.  The callback writes a key to dek, which is wiped later, and must not raise an error.
 */
typedef cc_status (*ChatcryptKnownDek) (const ChatcryptKeyId *id, const void *arg,
										uint8 dek[CC_DEK_LEN]);

extern void chatcrypt_newdeks_wrap(const uint8 deployment_id[CC_ID_LEN], char *const *kms_keys,
								   ChatcryptKnownDek known, const void *arg, ChatcryptNewDek *deks,
								   int count);

/* The same for one key.  The caller wipes dek, also where this raises an error. */
extern void chatcrypt_newdeks_wrap_one(const ChatcryptWrapping *wrapping,
									   const uint8 dek[CC_DEK_LEN], ChatcryptNewDek *new_dek);

#endif
