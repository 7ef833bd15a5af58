/*
 * messagerow.c
 *		A row of the view messages on its way into the table: see messagerow.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/messages/actorrules.h"
#include "pg/messages/messagerow.h"
#include "pg/messages/retention.h"
#include "pg/messages/seal.h"
#include "pg/store/observer.h"

typedef ChatcryptMessageRow Row;

void
chatcrypt_row_refuse_null(const Row *row, int column, const char *name)
{
	if (row->nulls[column])
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column \"%s\" of view \"messages\"", name)));
}

void
chatcrypt_row_refuse_dek_version(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_GENERATED_ALWAYS),
			 errmsg("column \"dek_version\" of view \"messages\" is set by the server")));
}

void
chatcrypt_row_put_envelope(Row *row, bytea *envelope)
{
	row->values[MESSAGE_BODY] = PointerGetDatum(envelope);
	row->values[MESSAGE_DEK_VERSION] = Int32GetDatum(chatcrypt_fresh_envelope_version(envelope));
	row->nulls[MESSAGE_DEK_VERSION] = false;
}

const text *
chatcrypt_row_sender(const Row *row)
{
	return row->nulls[MESSAGE_SENDER] ? NULL : DatumGetTextPP(row->values[MESSAGE_SENDER]);
}

const ChatcryptAad *
chatcrypt_row_aad_for(ChatcryptRowAad *aad, const Row *row)
{
	return chatcrypt_row_aad_to_seal(aad, DatumGetTimestampTz(row->values[MESSAGE_CREATED_AT]),
									 chatcrypt_row_sender(row));
}

void
chatcrypt_row_seal(Row *row)
{
	ChatcryptRowAad aad;

	if (row->nulls[MESSAGE_BODY])
	{
		row->nulls[MESSAGE_DEK_VERSION] = true;
		return;
	}
	chatcrypt_row_put_envelope(row,
							   chatcrypt_seal_text(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
												   DatumGetUUIDP(row->values[MESSAGE_ID])->data,
												   DatumGetTextPP(row->values[MESSAGE_BODY]),
												   chatcrypt_row_aad_for(&aad, row)));
}

static void
set_expiry(Row *row)
{
	TimestampTz expires_at;

	if (!chatcrypt_expiry(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
						  DatumGetTimestampTz(row->values[MESSAGE_CREATED_AT]), &expires_at))
		return;
	row->values[MESSAGE_EXPIRES_AT] = TimestampTzGetDatum(expires_at);
	row->nulls[MESSAGE_EXPIRES_AT] = false;
}

void
chatcrypt_row_fill_defaults(Row *row)
{
	chatcrypt_row_refuse_null(row, MESSAGE_CHAT_ID, "chat_id");
	chatcrypt_write_as_actor(row);
	if (!row->nulls[MESSAGE_DEK_VERSION])
		chatcrypt_row_refuse_dek_version();
	if (row->nulls[MESSAGE_ID])
	{
		row->values[MESSAGE_ID] = DirectFunctionCall1(chatcrypt_new_message_id, (Datum) 0);
		row->nulls[MESSAGE_ID] = false;
	}
	if (row->nulls[MESSAGE_CREATED_AT])
	{
		row->values[MESSAGE_CREATED_AT] =
			TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		row->nulls[MESSAGE_CREATED_AT] = false;
	}
	if (row->nulls[MESSAGE_EXPIRES_AT])
		set_expiry(row);
}

text *
chatcrypt_row_body(const Row *given)
{
	return given->nulls[MESSAGE_BODY] ? NULL : DatumGetTextPP(given->values[MESSAGE_BODY]);
}

void
chatcrypt_row_note_written(const Row *stored, const text *body)
{
	chatcrypt_observer()->message_written(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
										  DatumGetUUIDP(stored->values[MESSAGE_ID])->data,
										  DatumGetTimestampTz(stored->values[MESSAGE_CREATED_AT]),
										  body);
}

bool
chatcrypt_rows_differ(const Row *a, const Row *b, int column)
{
	return !chatcrypt_same_column(column, a->values[column], a->nulls[column], b->values[column],
								  b->nulls[column]);
}
