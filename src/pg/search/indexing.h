/*
 * indexing.h
 *		Keeps the index and the feed in step with messages and keys, in the transaction that
 *		writes or destroys them.  For a chat without search this only looks at what the
 *		session remembers.
 */
#ifndef CHATCRYPT_INDEXING_H
#define CHATCRYPT_INDEXING_H

#include "datatype/timestamp.h"

#include "core/bytes.h"

/* The same as message_written of ChatcryptObserver, for a message that is indexed again. */
extern void chatcrypt_indexing_message_written(const uint8 chat_id[CC_ID_LEN],
											   const uint8 message_id[CC_ID_LEN],
											   TimestampTz created_at, const text *body);

/* Registers search as the observer of messages and keys when the library is loaded. */
extern void chatcrypt_indexing_observe(void);

#endif
