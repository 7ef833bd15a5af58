/*
 * newdeks.h
 *		Making data keys: the KMS call, the key check value, and the wrapped bytes,
 *		before any row is written or locked.
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
 * Has the KMS generate count keys and warms the shared cache with them.  Raises
 * where any of them fails.
 */
extern void chatcrypt_newdeks_generate(const ChatcryptWrapping *wrapping, ChatcryptNewDek *deks,
									   int count);

/*
 * The same as far as it goes, each under its own KMS key: where the KMS did not make
 * one, its wrapped is NULL, and its job (of the array that comes back) says why.
 */
extern ChatcryptKmsJob *chatcrypt_newdeks_try_generate(const uint8 deployment_id[CC_ID_LEN],
													   char *const *kms_keys, ChatcryptNewDek *deks,
													   int count);

/*
 * The same as the first for keys that exist already, each under its own KMS key.
 * What knows them writes each to where it is wiped, and may not raise.
 */
typedef cc_status (*ChatcryptKnownDek) (const ChatcryptKeyId *id, const void *arg,
										uint8 dek[CC_DEK_LEN]);

extern void chatcrypt_newdeks_wrap(const uint8 deployment_id[CC_ID_LEN], char *const *kms_keys,
								   ChatcryptKnownDek known, const void *arg, ChatcryptNewDek *deks,
								   int count);

/* The same for one.  The caller wipes dek, also where this raises. */
extern void chatcrypt_newdeks_wrap_one(const ChatcryptWrapping *wrapping,
									   const uint8 dek[CC_DEK_LEN], ChatcryptNewDek *new_dek);

#endif
