/*
 * tenants.h
 *		Which KMS key a tenant's data keys are wrapped with, and the rows that are
 *		made at first use: the deployment id and the tenant "default".
 */
#ifndef CHATCRYPT_TENANTS_H
#define CHATCRYPT_TENANTS_H

#include "pg/compat.h"
#include "pg/keys/newdeks.h"

/* Reads, and writes nothing: a deployment id is made up where there is none yet. */
extern void chatcrypt_tenant_wrapping(const char *tenant, ChatcryptWrapping *wrapping);

/*
 * Inside an owner scope: makes the rows where they are missing.  False where the
 * deployment has got another id in the meantime, and nothing was written.
 */
extern bool chatcrypt_tenant_settle(const char *tenant, const ChatcryptWrapping *wrapping);

/*
 * Inside an owner scope: makes the row of the tenant "default", where that is the name and
 * the row is missing.
 */
extern void chatcrypt_tenant_make_default(const char *tenant);

pg_noreturn extern void chatcrypt_no_such_tenant(const char *tenant);

/* Raises for what is no key URI of any provider. */
extern void chatcrypt_tenant_check_kms_key(const char *uri);

/* Has each key make a data key, which is dropped; a WARNING where it does not. */
extern void chatcrypt_tenant_try_kms_keys(char *const *uris, int count);

/* The wrapping of a chat that exists; its tenant and deployment do too. */
extern void chatcrypt_tenant_wrapping_of_chat(const uint8 chat_id[CC_ID_LEN],
											  ChatcryptWrapping *wrapping);

#endif
