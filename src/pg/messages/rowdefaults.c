/*
 * rowdefaults.c
 *		The defaults of a new message: see rowdefaults.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/messages/actorrules.h"
#include "pg/messages/messagerow.h"
#include "pg/messages/retention.h"
#include "pg/messages/rowdefaults.h"

typedef ChatcryptMessageRow Row;

static void
set_expiry(Row *row)
{
	TimestampTz expires_at;

	if (!chatcrypt_retention_expiry(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
									DatumGetTimestampTz(row->values[MESSAGE_CREATED_AT]),
									&expires_at))
		return;
	row->values[MESSAGE_EXPIRES_AT] = TimestampTzGetDatum(expires_at);
	row->nulls[MESSAGE_EXPIRES_AT] = false;
}

void
chatcrypt_rowdefaults_fill(Row *row)
{
	chatcrypt_messagerow_refuse_null(row, MESSAGE_CHAT_ID, "chat_id");
	chatcrypt_actorrules_write(row);
	if (!row->nulls[MESSAGE_DEK_VERSION])
		chatcrypt_messagerow_refuse_dek_version();
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
