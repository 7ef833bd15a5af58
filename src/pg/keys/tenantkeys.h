/*
 * tenantkeys.h
 *		Which KMS key a tenant's data keys are wrapped with, and the rows that are
 *		made at first use: the deployment id and the tenant "default".
 */
#ifndef CHATCRYPT_TENANTKEYS_H
#define CHATCRYPT_TENANTKEYS_H

#include "pg/compat.h"
#include "pg/keys/newdeks.h"

/*
 * Only reads.  Where there is no deployment id yet, makes one up, which
 * chatcrypt_tenantkey_settle() writes.
 */
extern void chatcrypt_tenantkey_wrapping(const char *tenant, ChatcryptWrapping *wrapping);

/*
 * Inside an owner scope: makes the rows where they are missing.  False, with nothing written,
 * where the deployment has another id by now.
 */
extern bool chatcrypt_tenantkey_settle(const char *tenant, const ChatcryptWrapping *wrapping);

/*
 * Inside an owner scope: makes the row of the tenant "default", if that is the name and the row
 * is missing.
 */
extern void chatcrypt_tenantkey_make_default(const char *tenant);

pg_noreturn extern void chatcrypt_no_such_tenant(const char *tenant);

/* Raises an error where the text is not a key URI of any provider. */
extern void chatcrypt_tenantkey_check_uri(const char *uri);

/*
 * Has each KMS key make a data key, which is dropped.  Warns of each KMS key that does not make
 * one.
 */
extern void chatcrypt_tenantkeys_try(char *const *uris, int count);

/* The wrapping for new keys of a chat.  Raises an error where there is no such chat. */
extern void chatcrypt_tenantkey_wrapping_of_chat(const uint8 chat_id[CC_ID_LEN],
												 ChatcryptWrapping *wrapping);

#endif
