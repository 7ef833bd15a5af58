/*
 * tenants.h
 *		Which KMS key a tenant's data keys are wrapped with, and the rows that are
 *		made at first use: the deployment id and the tenant "default".
 */
#ifndef CHATCRYPT_TENANTS_H
#define CHATCRYPT_TENANTS_H

#include "pg/compat.h"
#include "pg/keys/newdeks.h"

/*
 * Only reads.  Where there is no deployment id yet, makes one up, which
 * chatcrypt_tenant_settle() writes.
 */
extern void chatcrypt_tenant_wrapping(const char *tenant, ChatcryptWrapping *wrapping);

/*
 * Inside an owner scope: makes the rows where they are missing.  False, with nothing written,
 * where the deployment has another id by now.
 */
extern bool chatcrypt_tenant_settle(const char *tenant, const ChatcryptWrapping *wrapping);

/*
 * Inside an owner scope: makes the row of the tenant "default", if that is the name and the row
 * is missing.
 */
extern void chatcrypt_tenant_make_default(const char *tenant);

pg_noreturn extern void chatcrypt_no_such_tenant(const char *tenant);

/* Raises an error where the text is not a key URI of any provider. */
extern void chatcrypt_tenant_check_kms_key(const char *uri);

/*
 * Has each KMS key make a data key, which is dropped.  Warns of each KMS key that does not make
 * one.
 */
extern void chatcrypt_tenant_try_kms_keys(char *const *uris, int count);

/* The wrapping for new keys of a chat.  Raises an error where there is no such chat. */
extern void chatcrypt_tenant_wrapping_of_chat(const uint8 chat_id[CC_ID_LEN],
											  ChatcryptWrapping *wrapping);

#endif
