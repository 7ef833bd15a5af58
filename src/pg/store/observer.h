/*
 * observer.h
 *		Tells search about changes of messages and keys.  The rooms that make these changes
 *		must not include search, which is above them; so search registers an observer when
 *		the library is loaded, and they call it.
 */
#ifndef CHATCRYPT_OBSERVER_H
#define CHATCRYPT_OBSERVER_H

#include "datatype/timestamp.h"

#include "core/bytes.h"

typedef struct ChatcryptObserver
{
	/*
	 * After a message was inserted, or its body, id, chat or created_at was changed.  The body
	 * is in the server's encoding; NULL for none.  The caller's transaction has locked the row
	 * of the message, so that no two sessions write the same message at once.
	 */
	void		(*message_written) (const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
									TimestampTz created_at, const text *body);

	/* After anything else about a message was changed. */
	void		(*message_touched) (const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN]);

	/* After a message left this chat or this id.  A trigger tells search about deletions. */
	void		(*message_removed) (const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN]);

	/*
	 * The functions from here on are called inside an owner scope.  A chat was deleted with all
	 * of its messages.
	 */
	void		(*chat_deleted) (const uint8 chat_id[CC_ID_LEN]);

	/* The keys of a chat, or of all chats of a tenant, were destroyed. */
	void		(*chat_shredded) (const uint8 chat_id[CC_ID_LEN]);
	void		(*tenant_shredded) (Datum tenant);
} ChatcryptObserver;

extern void chatcrypt_observer_register(const ChatcryptObserver *observer);
extern const ChatcryptObserver *chatcrypt_observer(void);

#endif
