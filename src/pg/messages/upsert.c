/*
 * upsert.c
 *		Stores messages whose ids may exist already: put_message(), and one message of
 *		put_messages().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/messages/messagerow.h"
#include "pg/messages/rowdefaults.h"
#include "pg/messages/sqlwrites.h"
#include "pg/messages/upsert.h"
#include "pg/store/statement.h"
#include "pg/store/store.h"

typedef ChatcryptMessageRow Row;

/* What is known of the message that has this id, if the current user may see it. */
typedef enum Existing
{
	NO_MESSAGE,
	OF_ANOTHER_CHAT,
	OF_THIS_CHAT
} Existing;

/*
 * Looks for a message with the row's id and locks it.  If it is in the same chat, gives the row
 * its sender and time: an upsert leaves them as they are, so the new body is sealed for them.
 */
static Existing
take_what_stays(Row *row)
{
	static SPIPlanPtr plan;
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg id = {UUIDOID, row->values[MESSAGE_ID], false};
	Existing	existing = NO_MESSAGE;
	HeapTuple	found;
	TupleDesc	desc;
	bool		isnull;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (chatcrypt_statement_run(&plan,
								"SELECT chat_id, sender, created_at "
								"FROM chatcrypt.sealed_message "
								"WHERE message_id OPERATOR(pg_catalog.=) $1 "
								"FOR NO KEY UPDATE",
								&id, 1, false) > 0)
	{
		found = SPI_tuptable->vals[0];
		desc = SPI_tuptable->tupdesc;
		existing = memcmp(DatumGetUUIDP(SPI_getbinval(found, desc, 1, &isnull)),
						  DatumGetUUIDP(row->values[MESSAGE_CHAT_ID]), UUID_LEN) == 0 ?
			OF_THIS_CHAT : OF_ANOTHER_CHAT;
	}
	if (existing == OF_THIS_CHAT)
	{
		Datum		sender = SPI_getbinval(found, desc, 2, &row->nulls[MESSAGE_SENDER]);

		if (!row->nulls[MESSAGE_SENDER])
		{
			MemoryContext spi = MemoryContextSwitchTo(context);

			row->values[MESSAGE_SENDER] = PointerGetDatum(DatumGetTextPCopy(sender));
			MemoryContextSwitchTo(spi);
		}
		row->values[MESSAGE_CREATED_AT] = SPI_getbinval(found, desc, 3, &isnull);
	}
	SPI_finish();
	return existing;
}

/*
 * Whether a message that policies hide from the actor has this id in another chat.  Raises an
 * error where it is in the same chat and not the actor's own: the error of the policy would say
 * less.
 */
static bool
hidden_in_another_chat(const Row *row)
{
	TupleDesc	desc;
	HeapTuple	message = chatcrypt_store_find_row("sealed_message", "sealed_message_pkey",
												   InvalidOid, F_UUID_EQ,
												   row->values[MESSAGE_ID], &desc);
	Row			there;

	if (message == NULL)
		return false;
	for (int i = MESSAGE_ID; i <= MESSAGE_SENDER; i++)
		there.values[i] = heap_getattr(message, i + 1, desc, &there.nulls[i]);
	if (chatcrypt_messagerow_differs(row, &there, MESSAGE_CHAT_ID))
		return true;
	chatcrypt_moderation_require_own("message", DatumGetUUIDP(there.values[MESSAGE_CHAT_ID])->data,
									 chatcrypt_messagerow_sender(&there));
	return false;
}

/*
 * Stores the message; false where the id belongs to another chat.  A message that appears
 * between the two statements is locked by the second, so that the next round finds it; if the
 * next round does not see it, this user may not see it.
 */
static bool
put_message(const Row *given, Row *stored)
{
	for (int round = 0; round < 2; round++)
	{
		Existing	existing;

		*stored = *given;
		chatcrypt_rowdefaults_fill(stored);
		existing = take_what_stays(stored);
		if (existing == OF_ANOTHER_CHAT)
			return false;
		if (existing == OF_THIS_CHAT)
			chatcrypt_moderation_require_own("message",
											 DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
											 chatcrypt_messagerow_sender(stored));
		else if (chatcrypt_actor() != NULL && hidden_in_another_chat(stored))
			return false;
		chatcrypt_messagerow_seal(stored);
		if (chatcrypt_sqlwrite_upsert(stored))
			return true;
	}
	return false;
}

ChatcryptPutOutcome
chatcrypt_upsert_put(const Row *given, bool replace)
{
	Row			stored = *given;
	ChatcryptPutOutcome outcome;

	chatcrypt_messagerow_refuse_null(given, MESSAGE_ID, "message_id");
	chatcrypt_rowdefaults_fill(&stored);
	chatcrypt_messagerow_seal(&stored);
	outcome = chatcrypt_upsert_insert_unless_there(&stored);
	if (outcome == CHATCRYPT_PUT_IGNORED && replace)
		outcome = put_message(given, &stored) ? CHATCRYPT_PUT_REPLACED : CHATCRYPT_PUT_REFUSED;
	if (outcome == CHATCRYPT_PUT_INSERTED || outcome == CHATCRYPT_PUT_REPLACED)
		chatcrypt_messagerow_note_written(&stored, chatcrypt_messagerow_body(given));
	return outcome;
}

PG_FUNCTION_INFO_V1(chatcrypt_put_message);

/*
 * put_message(chat any_id, message any_id, body, sender, created_at, expires_at): true, or
 * NULL where it did nothing.
 */
Datum
chatcrypt_put_message(PG_FUNCTION_ARGS)
{
	static const int columns[] = {
		MESSAGE_CHAT_ID, MESSAGE_ID, MESSAGE_BODY,
		MESSAGE_SENDER, MESSAGE_CREATED_AT, MESSAGE_EXPIRES_AT
	};
	Row			given;
	Row			stored;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	given.nulls[MESSAGE_DEK_VERSION] = true;
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		given.nulls[columns[i]] = PG_ARGISNULL(i);
		given.values[columns[i]] = PG_GETARG_DATUM(i);
	}
	chatcrypt_messagerow_refuse_null(&given, MESSAGE_ID, "message_id");
	if (!put_message(&given, &stored))
		PG_RETURN_NULL();
	chatcrypt_messagerow_note_written(&stored, chatcrypt_messagerow_body(&given));
	PG_RETURN_BOOL(true);
}
