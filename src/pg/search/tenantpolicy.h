/*
 * tenantpolicy.h
 *		How new chats of a tenant are searched: set_tenant_search(), and what create_chat()
 *		makes of it.
 */
#ifndef CHATCRYPT_TENANTPOLICY_H
#define CHATCRYPT_TENANTPOLICY_H

#include "pg/search/policyrequest.h"
#include "pg/store/owner.h"

/*
 * The policy that new chats of the tenant get; its mode is OFF if they are not searched.  Raises
 * an error if the text search configuration does not exist any more.
 */
extern void chatcrypt_tenantpolicy_read(const char *tenant, ChatcryptPolicyRequest *request);

/*
 * Gives new chats (uuid[]) their policy.  Called inside an owner scope, in the transaction that
 * makes the chats, and their search keys if the mode is BLIND.
 */
extern void chatcrypt_tenantpolicy_apply(const ChatcryptOwnerScope *scope, ArrayType *chats,
										 const ChatcryptPolicyRequest *request);

#endif
