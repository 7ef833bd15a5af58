/*
 * indexing.h
 *		Has search follow what happens to messages and keys, in the same transaction.  Chats
 *		without search pay a look at what is remembered.
 */
#ifndef CHATCRYPT_INDEXING_H
#define CHATCRYPT_INDEXING_H

#include "datatype/timestamp.h"

#include "core/bytes.h"

/* As ChatcryptObserver's message_written, for a message that is indexed again. */
extern void chatcrypt_indexing_message_written(const uint8 chat_id[CC_ID_LEN],
											   const uint8 message_id[CC_ID_LEN],
											   TimestampTz created_at, const text *body);

/* At load: from then on search is told; see store/observer.h. */
extern void chatcrypt_indexing_observe(void);

#endif
