/*
 * observer.h
 *		What search is told of messages and keys, by rooms that do not know it: search stands on
 *		them.  It registers when the library is loaded.
 */
#ifndef CHATCRYPT_OBSERVER_H
#define CHATCRYPT_OBSERVER_H

#include "datatype/timestamp.h"

#include "core/bytes.h"

typedef struct ChatcryptObserver
{
	/*
	 * After a message was inserted, or got another body, id, chat or created_at.  The body
	 * is in the server's encoding; NULL for none.  The caller's transaction holds the
	 * message's row, which keeps two writers of one message apart.
	 */
	void		(*message_written) (const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
									TimestampTz created_at, const text *body);

	/* After anything else of a message changed. */
	void		(*message_touched) (const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN]);

	/* After a message moved away from this chat or this id.  Deletions come by trigger. */
	void		(*message_removed) (const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN]);

	/* The rest inside an owner scope.  All messages of a chat were deleted with it. */
	void		(*chat_deleted) (const uint8 chat_id[CC_ID_LEN]);

	/* The keys of a chat, or of all chats of a tenant, were destroyed. */
	void		(*chat_shredded) (const uint8 chat_id[CC_ID_LEN]);
	void		(*tenant_shredded) (Datum tenant);
} ChatcryptObserver;

extern void chatcrypt_observer_register(const ChatcryptObserver *observer);
extern const ChatcryptObserver *chatcrypt_observer(void);

#endif
