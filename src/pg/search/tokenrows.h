/*
 * tokenrows.h
 *		The rows of chatcrypt.search_token: one for each message that can be searched.
 *
 * Whoever writes or removes a row holds the row of its message, by a lock or because
 * its transaction has just written or deleted it.  So two never meet over one message,
 * and rows are found as they are now, not as a transaction's snapshot shows them: a
 * transaction under REPEATABLE READ neither fails because of reindex_search() nor leaves
 * a row behind.
 */
#ifndef CHATCRYPT_TOKENROWS_H
#define CHATCRYPT_TOKENROWS_H

#include "datatype/timestamp.h"

#include "core/bytes.h"
#include "pg/search/terms.h"

/* Was there ever a row?  Cheaper than looking for one. */
extern bool chatcrypt_tokenrows_exist(void);

/* Takes the place of the row that the message may have. */
extern void chatcrypt_tokenrows_write(const uint8 message_id[CC_ID_LEN], TimestampTz created_at,
									  const ChatcryptTerms *terms);
extern void chatcrypt_tokenrows_remove(const uint8 message_id[CC_ID_LEN]);

/* Inside an owner scope: all of a chat, of a tenant, or of the database. */
extern void chatcrypt_tokenrows_remove_chat(const uint8 chat_id[CC_ID_LEN]);
extern void chatcrypt_tokenrows_remove_tenant(Datum tenant);
extern void chatcrypt_tokenrows_remove_all(void);

/*
 * Inside an owner scope: does the active snapshot show a message of the chat that has no
 * tokens of this generation?  Looks at each message until it finds one.
 */
extern bool chatcrypt_tokenrows_are_missing(const uint8 chat_id[CC_ID_LEN], int64 generation);

#endif
