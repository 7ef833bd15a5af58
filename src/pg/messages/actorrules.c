/*
 * actorrules.c
 *		What an actor may write of a message: see actorrules.h.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/messages/actorrules.h"
#include "pg/messages/messagerow.h"

typedef ChatcryptMessageRow Row;

/*
 * A session that acts for a participant writes in the participant's name, in the participant's
 * chats, and with the present time.  Keys and policies do not ensure that: a message without a
 * body needs no key, and policies do not apply to superusers.
 */
void
chatcrypt_actorrules_write(Row *row)
{
	if (chatcrypt_actor() == NULL)
		return;
	chatcrypt_access_require_participant(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data);
	row->values[MESSAGE_SENDER] =
		PointerGetDatum(chatcrypt_moderation_sender(chatcrypt_messagerow_sender(row)));
	row->nulls[MESSAGE_SENDER] = false;
	row->nulls[MESSAGE_CREATED_AT] = true;
}

/*
 * An actor needs the right to change a message both in the chat that it is in and in the chat
 * that it moves to, and cannot make somebody else its sender.
 */
void
chatcrypt_actorrules_check_change(const Row *old, const Row *given)
{
	const text *sender = chatcrypt_messagerow_sender(given);

	chatcrypt_moderation_require_own("message", DatumGetUUIDP(old->values[MESSAGE_CHAT_ID])->data,
									 chatcrypt_messagerow_sender(old));
	if (chatcrypt_actor() == NULL)
		return;
	if (chatcrypt_messagerow_differs(old, given, MESSAGE_SENDER))
		(void) chatcrypt_moderation_sender(sender != NULL ? sender : cstring_to_text(""));
	if (chatcrypt_messagerow_differs(old, given, MESSAGE_CREATED_AT))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("an actor cannot change created_at of a message")));
	chatcrypt_moderation_require_own("message", DatumGetUUIDP(given->values[MESSAGE_CHAT_ID])->data,
									 sender);
}
