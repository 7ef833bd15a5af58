/*
 * messagerow.c
 *		A row of the view messages on its way into the table: see messagerow.h.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/messages/messagerow.h"
#include "pg/messages/seal.h"
#include "pg/store/observer.h"

typedef ChatcryptMessageRow Row;

void
chatcrypt_messagerow_refuse_null(const Row *row, int column, const char *name)
{
	if (row->nulls[column])
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column \"%s\" of view \"messages\"", name)));
}

void
chatcrypt_messagerow_refuse_dek_version(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_GENERATED_ALWAYS),
			 errmsg("column \"dek_version\" of view \"messages\" is set by the server")));
}

void
chatcrypt_messagerow_put_envelope(Row *row, bytea *envelope)
{
	row->values[MESSAGE_BODY] = PointerGetDatum(envelope);
	row->values[MESSAGE_DEK_VERSION] = Int32GetDatum(chatcrypt_seal_fresh_version(envelope));
	row->nulls[MESSAGE_DEK_VERSION] = false;
}

const text *
chatcrypt_messagerow_sender(const Row *row)
{
	return row->nulls[MESSAGE_SENDER] ? NULL : DatumGetTextPP(row->values[MESSAGE_SENDER]);
}

const ChatcryptAad *
chatcrypt_messagerow_aad(ChatcryptRowAad *aad, const Row *row)
{
	return chatcrypt_binding_aad_to_seal(aad, DatumGetTimestampTz(row->values[MESSAGE_CREATED_AT]),
										 chatcrypt_messagerow_sender(row));
}

void
chatcrypt_messagerow_seal(Row *row)
{
	ChatcryptRowAad aad;

	if (row->nulls[MESSAGE_BODY])
	{
		row->nulls[MESSAGE_DEK_VERSION] = true;
		return;
	}
	chatcrypt_messagerow_put_envelope(row,
									  chatcrypt_seal_text(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
														  DatumGetUUIDP(row->values[MESSAGE_ID])->data,
														  DatumGetTextPP(row->values[MESSAGE_BODY]),
														  chatcrypt_messagerow_aad(&aad, row)));
}

text *
chatcrypt_messagerow_body(const Row *given)
{
	return given->nulls[MESSAGE_BODY] ? NULL : DatumGetTextPP(given->values[MESSAGE_BODY]);
}

void
chatcrypt_messagerow_note_written(const Row *stored, const text *body)
{
	chatcrypt_observer()->message_written(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
										  DatumGetUUIDP(stored->values[MESSAGE_ID])->data,
										  DatumGetTimestampTz(stored->values[MESSAGE_CREATED_AT]),
										  body);
}

bool
chatcrypt_messagerow_differs(const Row *a, const Row *b, int column)
{
	return !chatcrypt_binding_same_column(column, a->values[column], a->nulls[column],
										  b->values[column], b->nulls[column]);
}
