/*
 * events.c
 *		Writes the history of what was done to keys: see events.h.
 *
 * An event is a plain row, written by the transaction that it describes.  Nothing here
 * takes a lock or a place in the event chain: the rows are sealed into the chain later
 * and elsewhere, so that two writers never wait for each other.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pg/history/events.h"

static ChatcryptArg
text_or_null(const char *text)
{
	return (ChatcryptArg) {TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL};
}

void
chatcrypt_event_record(const ChatcryptOwnerScope *scope, const ChatcryptEvent *event)
{
	ChatcryptArg args[] = {
		text_or_null(event->event),
		{UUIDOID, PointerGetDatum(event->chat_id), event->chat_id == NULL},
		text_or_null(event->tenant),
		text_or_null(event->purpose),
		{INT4OID, Int32GetDatum((int32) event->dek_version), event->dek_version == 0},
		text_or_null(event->kms_key),
		text_or_null(event->detail),
		text_or_null(GetUserNameFromId(scope->user, false))
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.key_event (event, chat_id, tenant, purpose, "
							"dek_version, kms_key, detail, role) "
							"VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", args, lengthof(args));
}

void
chatcrypt_event_record_chats(const ChatcryptOwnerScope *scope, Datum ids,
							 const ChatcryptEvent *event)
{
	ChatcryptArg args[] = {
		{UUIDARRAYOID, ids, false},
		text_or_null(event->event),
		text_or_null(event->tenant),
		text_or_null(event->purpose),
		{INT4OID, Int32GetDatum((int32) event->dek_version), event->dek_version == 0},
		text_or_null(event->kms_key),
		text_or_null(event->detail),
		text_or_null(GetUserNameFromId(scope->user, false))
	};

	Assert(event->chat_id == NULL);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.key_event (event, chat_id, tenant, purpose, "
							"dek_version, kms_key, detail, role) "
							"SELECT $2, id, $3, $4, $5, $6, $7, $8 "
							"FROM unnest($1) AS id", args, lengthof(args));
}
