/*
 * feed.h
 *		Writes the outbox of the external search index.  feeddrain.c reads it.
 */
#ifndef CHATCRYPT_FEED_H
#define CHATCRYPT_FEED_H

#include "core/bytes.h"
#include "pg/store/owner.h"

/*
 * Notes that the current transaction wrote or deleted a message, if the chat is or was fed.
 * This only adds a row, and so waits for no other transaction.
 */
extern void chatcrypt_feed_note(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN]);

/* Is or was any chat of the database fed?  If not, nothing is noted. */
extern bool chatcrypt_feed_is_on(void);

/* Inside an owner scope: */

/* Feeds these chats (uuid[]) from now on, beginning with the messages that they have. */
extern void chatcrypt_feed_begin(Datum chats);

/*
 * Tells the index again of all messages of the chat, or of all chats of the tenant, because
 * their policy changed or their keys were destroyed.  The number of chats that are or were fed.
 */
extern uint64 chatcrypt_feed_again(const uint8 chat_id[CC_ID_LEN]);
extern uint64 chatcrypt_feed_tenant_again(const ChatcryptArg *tenant);

#endif
