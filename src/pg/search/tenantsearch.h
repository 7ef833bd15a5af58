/*
 * tenantsearch.h
 *		How new chats of a tenant are searched.
 */
#ifndef CHATCRYPT_TENANTSEARCH_H
#define CHATCRYPT_TENANTSEARCH_H

#include "pg/search/searchwish.h"
#include "pg/store/owner.h"

/*
 * What the tenant wants for new chats; of mode OFF where it wants nothing.  Raises where its
 * text search configuration is gone.
 */
extern void chatcrypt_tenant_search(const char *tenant, ChatcryptSearchWish *wish);

/*
 * Inside an owner scope, in the transaction that makes the chats, uuid[], and their search
 * keys where the mode is BLIND: they are searched so.
 */
extern void chatcrypt_tenant_search_begin(const ChatcryptOwnerScope *scope, ArrayType *chats,
										  const ChatcryptSearchWish *wish);

#endif
