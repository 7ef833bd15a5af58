/*
 * tokenrows.h
 *		The rows of chatcrypt.search_token: one for each message that can be searched.
 *
 * A transaction that writes or removes a row holds the row of the message, because it has locked,
 * written or deleted the message.  Two transactions therefore never write the tokens of one
 * message at once.  Rows are found as they are now, and not as the snapshot of the transaction
 * shows them, so that a transaction under REPEATABLE READ neither fails because of
 * reindex_search() nor leaves a row behind.
 */
#ifndef CHATCRYPT_TOKENROWS_H
#define CHATCRYPT_TOKENROWS_H

#include "datatype/timestamp.h"

#include "core/bytes.h"
#include "pg/search/terms.h"

/* Does the table have any page?  This is cheaper than looking for a row. */
extern bool chatcrypt_tokenrows_exist(void);

/* Writes the row of a message, in place of one that it may have already. */
extern void chatcrypt_tokenrows_write(const uint8 message_id[CC_ID_LEN], TimestampTz created_at,
									  const ChatcryptTerms *terms);
extern void chatcrypt_tokenrows_remove(const uint8 message_id[CC_ID_LEN]);

/* Inside an owner scope: removes all rows of a chat, of a tenant, or of the database. */
extern void chatcrypt_tokenrows_remove_chat(const uint8 chat_id[CC_ID_LEN]);
extern void chatcrypt_tokenrows_remove_tenant(Datum tenant);
extern void chatcrypt_tokenrows_remove_all(void);

/*
 * Inside an owner scope: does the active snapshot show a message of the chat that has no tokens
 * of this generation?  This looks at each message of the chat until it finds one.
 */
extern bool chatcrypt_tokenrows_are_missing(const uint8 chat_id[CC_ID_LEN], int64 generation);

#endif
