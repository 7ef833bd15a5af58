/*
 * handout.c
 *		conversation_key(): gives the key of a conversation to a client that is to hold it.
 *
 * The one function that lets a data key out of the server.  Each call is recorded in the
 * history of keys, in the transaction of the caller: so it never works on a standby, and the
 * row is written before the key is fetched.  The transaction can still be rolled back after the
 * client has its answer, and the row is then lost.  So each call also writes a line to the
 * server's log, which no client can take back.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/history/events.h"
#include "pg/keys/keyaccess.h"

/* The history names each key that a client may hold. */
static void
record_in_history(const uint8 *chat_id, uint32 version)
{
	ChatcryptEvent event = {
		.event = "hand_out",
		.chat_id = chat_id,
		.purpose = chatcrypt_keytypes_purpose_text(CHATCRYPT_PURPOSE_CONVERSATION),
		.dek_version = version
	};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
}

/*
 * One line, which log_error_verbosity does not shorten.  Names come last: their owners choose
 * them, and so no name can pass for another part of the line.
 */
static void
record_in_log(const uint8 *chat_id, uint32 version)
{
	const char *actor = chatcrypt_actor();

	ereport(LOG_SERVER_ONLY,
			(errmsg("conversation key of chat %s version %u handed out in transaction %llu to role \"%s\"%s%s%s",
					chatcrypt_id_text(chat_id), version,
					(unsigned long long) U64FromFullTransactionId(GetTopFullTransactionId()),
					GetUserNameFromId(GetUserId(), false),
					actor ? " for \"" : "", actor ? actor : "", actor ? "\"" : ""),
			 errhidestmt(true), errhidecontext(true)));
}

/* The requested version, or else that of the active key. */
static uint32
asked_version(FunctionCallInfo fcinfo, const uint8 *chat_id)
{
	if (PG_ARGISNULL(1))
		return chatcrypt_keyaccess_active(chat_id, CHATCRYPT_FOR_CONVERSATION)->version;
	if (PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the version of a key must be positive")));
	return (uint32) PG_GETARG_INT32(1);
}

/*
 * The row that is the result, with zeroes in place of the key.  The key is fetched last and
 * copied straight into its place: no other copy is made, and no error can be raised after that.
 */
static HeapTuple
row_without_key(FunctionCallInfo fcinfo, uint32 version, uint8 **key)
{
	static const uint8 zeroes[CC_DEK_LEN];
	Datum		values[] = {Int32GetDatum((int32) version),
							chatcrypt_owner_bytes_arg(zeroes, CC_DEK_LEN).value};
	bool		nulls[lengthof(values)] = {false, false};
	TupleDesc	desc;
	HeapTuple	row;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "chatcrypt.conversation_key() returns a row");
	row = heap_form_tuple(BlessTupleDesc(desc), values, nulls);
	*key = (uint8 *) VARDATA_ANY(DatumGetPointer(heap_getattr(row, 2, desc, &nulls[1])));
	return row;
}

static Datum
hand_out(FunctionCallInfo fcinfo, const uint8 *chat_id)
{
	uint32		version;
	HeapTuple	row;
	uint8	   *place;
	const ChatcryptKey *key;

	chatcrypt_access_require_for_key(chat_id);
	PreventCommandIfReadOnly("chatcrypt.conversation_key()");
	version = asked_version(fcinfo, chat_id);
	row = row_without_key(fcinfo, version, &place);
	record_in_history(chat_id, version);
	key = chatcrypt_keyaccess_open(chat_id, CHATCRYPT_FOR_CONVERSATION, version);
	record_in_log(chat_id, version);
	memcpy(place, key->secret.conversation, CC_DEK_LEN);
	PG_RETURN_DATUM(HeapTupleGetDatum(row));
}

PG_FUNCTION_INFO_V1(chatcrypt_conversation_key);

/* conversation_key(chat any_id, version integer): key_version integer, key bytea */
Datum
chatcrypt_conversation_key(PG_FUNCTION_ARGS)
{
	chatcrypt_id_refuse_null(fcinfo, 0, "the id of the chat");
	return hand_out(fcinfo, PG_GETARG_UUID_P(0)->data);
}
