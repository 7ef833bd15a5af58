/*
 * search.h
 *		What is called wherever a message is written or goes, so that search follows in
 *		the same transaction.  Chats without search pay a look at what is remembered.
 */
#ifndef CHATCRYPT_SEARCH_H
#define CHATCRYPT_SEARCH_H

#include "datatype/timestamp.h"

#include "core/bytes.h"

/*
 * After a message was inserted, or got another body, id, chat or created_at.  The body
 * is in the server's encoding; NULL for none.  The caller's transaction holds the
 * message's row, which keeps two writers of one message apart.
 */
extern void chatcrypt_search_written(const uint8 chat_id[CC_ID_LEN],
									 const uint8 message_id[CC_ID_LEN], TimestampTz created_at,
									 const text *body);

/* After a message was deleted, or moved away from this chat or this id. */
extern void chatcrypt_search_removed(const uint8 chat_id[CC_ID_LEN],
									 const uint8 message_id[CC_ID_LEN]);

/*
 * Inside an owner scope, when the keys of a chat, or of all chats of a tenant, are
 * destroyed: what search keeps of them goes in the same transaction, and search is off.
 */
extern void chatcrypt_search_shredded(const uint8 chat_id[CC_ID_LEN]);
extern void chatcrypt_search_tenant_shredded(Datum tenant);

#endif
