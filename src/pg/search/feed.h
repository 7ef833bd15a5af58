/*
 * feed.h
 *		What goes into the outbox of the external search index.  What comes out of it is
 *		feeddrain.c's.
 */
#ifndef CHATCRYPT_FEED_H
#define CHATCRYPT_FEED_H

#include "core/bytes.h"
#include "pg/store/owner.h"

/*
 * A message was written or is gone, in this transaction: the index is told, where the
 * chat is or was fed.  Adds a row and so waits for nobody.
 */
extern void chatcrypt_feed_note(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN]);

/* Is, or was, any chat fed?  Where not there is nothing to note. */
extern bool chatcrypt_feed_is_on(void);

/* The rest inside an owner scope. */

/* The chats, uuid[], are fed from now on, with the messages that they have. */
extern void chatcrypt_feed_begin(Datum chats);

/*
 * Something holds for all messages of the chat, or of all chats of the tenant: another
 * policy, or that no key of theirs is left.  The index is told of each, where they were
 * fed.  How many chats that are.
 */
extern uint64 chatcrypt_feed_again(const uint8 chat_id[CC_ID_LEN]);
extern uint64 chatcrypt_feed_tenant_again(const ChatcryptArg *tenant);

#endif
