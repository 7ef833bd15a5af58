/*
 * tenantpolicy.h
 *		How new chats of a tenant are searched.
 */
#ifndef CHATCRYPT_TENANTPOLICY_H
#define CHATCRYPT_TENANTPOLICY_H

#include "pg/search/policyrequest.h"
#include "pg/store/owner.h"

/*
 * What the tenant wants for new chats; of mode OFF where it wants nothing.  Raises where its
 * text search configuration is gone.
 */
extern void chatcrypt_tenantpolicy_read(const char *tenant, ChatcryptPolicyRequest *request);

/*
 * Inside an owner scope, in the transaction that makes the chats, uuid[], and their search
 * keys where the mode is BLIND: they are searched so.
 */
extern void chatcrypt_tenantpolicy_apply(const ChatcryptOwnerScope *scope, ArrayType *chats,
										 const ChatcryptPolicyRequest *request);

#endif
