/*
 * errors.c
 *		Raises the statuses of the core as PostgreSQL errors.
 *
 *	SQLSTATE	condition
 *	39000		a message does not open: wrong key, damaged bytes or wrong additional data
 *	22023		the bytes are not a message envelope, or an argument is wrong
 *	54000		a limit of the formats is exceeded
 *	53200		out of memory
 *	XX000		a cryptographic library failed
 *
 * Errors of a KMS have SQLSTATEs of their own: see pg/service/kmserrors.c.
 */
#include "postgres.h"

#include "pg/base/errors.h"
#include "pg/base/ids.h"

/* A caller that has no message yet gives the nil uuid. */
static bool
is_message(const uint8 *message_id)
{
	static const uint8 nil[CC_ID_LEN];

	return message_id != NULL && memcmp(message_id, nil, CC_ID_LEN) != 0;
}

static int
of_message(const uint8 *chat_id, const uint8 *message_id)
{
	if (chat_id == NULL)
		return 0;
	if (!is_message(message_id))
		return errdetail("The chat is %s.", chatcrypt_id_text(chat_id));
	return errdetail("It was given as message %s of chat %s.", chatcrypt_id_text(message_id),
					 chatcrypt_id_text(chat_id));
}

/* A wrong key, damaged bytes and wrong additional data must give the same text. */
static int
not_opened(const uint8 *chat_id, const uint8 *message_id)
{
	if (chat_id == NULL || !is_message(message_id))
		return errdetail("The message was sealed for another chat, message id or additional data, or its bytes are damaged.");
	return errdetail("What was given as message %s of chat %s was sealed for another chat, message or additional data, or its bytes are damaged.",
					 chatcrypt_id_text(message_id), chatcrypt_id_text(chat_id));
}

void
chatcrypt_raise(cc_status status, const uint8 *chat_id)
{
	chatcrypt_raise_for_message(status, chat_id, NULL);
}

void
chatcrypt_raise_for_message(cc_status status, const uint8 *chat_id, const uint8 *message_id)
{
	switch (status)
	{
		case CC_ERR_AUTH:
			ereport(ERROR,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
					 errmsg("the message does not open"),
					 not_opened(chat_id, message_id)));
		case CC_ERR_TRUNCATED:
		case CC_ERR_TRAILING:
		case CC_ERR_SUITE:
		case CC_ERR_VERSION:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("this is not a message envelope: %s", cc_status_text(status)),
					 of_message(chat_id, message_id)));
		case CC_ERR_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the message or its additional data is too large"),
					 errdetail("A message holds up to 1 GB, additional data up to 64 kB.")));
		case CC_ERR_ARGUMENT:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("chats of mode conversation_key take no additional data"),
					 of_message(chat_id, message_id)));
		case CC_ERR_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not encrypt or decrypt: %s", cc_status_text(status))));
	}
}

void
chatcrypt_no_such_chat(const uint8 chat_id[CC_ID_LEN])
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("chat %s does not exist", chatcrypt_id_text(chat_id)),
			 errhint("Create it with chatcrypt.create_chat() first.")));
}
