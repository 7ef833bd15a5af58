/*
 * errors.c
 *		Statuses of the core as errors of PostgreSQL.
 *
 *	SQLSTATE	condition
 *	39000		a message that does not open: wrong key, damaged bytes, wrong aad
 *	22023		something that is no envelope of ours, or a wrong argument
 *	54000		over a limit of the formats
 *	53200		out of memory
 *	XX000		the cryptographic libraries failed
 *
 * What a KMS answers has SQLSTATEs of its own: pg/service/kms_errors.c.
 */
#include "postgres.h"

#include "pg/base/errors.h"
#include "pg/base/ids.h"

static int
of_chat(const uint8 *chat_id)
{
	return chat_id ? errdetail("The chat is %s.", chatcrypt_id_text(chat_id)) : 0;
}

void
chatcrypt_raise(cc_status status, const uint8 *chat_id)
{
	switch (status)
	{
		case CC_ERR_AUTH:
			ereport(ERROR,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
					 errmsg("the message does not open"),
					 errdetail("The chat, the message id or the additional data is another one, or the bytes are damaged.")));
		case CC_ERR_TRUNCATED:
		case CC_ERR_TRAILING:
		case CC_ERR_SUITE:
		case CC_ERR_VERSION:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("this is not a message envelope: %s", cc_status_text(status)),
					 of_chat(chat_id)));
		case CC_ERR_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the message or its additional data is too large"),
					 errdetail("A message holds up to 1 GB, additional data up to 64 kB.")));
		case CC_ERR_ARGUMENT:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("chats of mode conversation_key take no additional data"),
					 of_chat(chat_id)));
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
