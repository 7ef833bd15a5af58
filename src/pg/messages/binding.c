/*
 * binding.c
 *		Binds the sender and the time of a message into its envelope: see binding.h.
 *
 * A write that would part a row from its envelope is refused.  The table's trigger refuses new
 * values of bound columns without a new envelope that opens with them, whatever sets the
 * values: a foreign key's SET NULL, a statement that bypasses the view, a trigger during
 * re-encryption.  What the view and put_message() have written is compared with what was
 * sealed, since a BEFORE trigger may also keep the old values.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "common/int.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/messagetable.h"
#include "pg/store/store.h"

/* Microseconds from 1970 to 2000, the epoch of PostgreSQL. */
#define EPOCH_DISTANCE	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* Columns of the table: how a value is passed, and its length. */
static const struct
{
	bool		by_value;
	int			length;
}			column_types[MESSAGE_COLUMNS] = {
	[MESSAGE_ID] = {false, UUID_LEN},
	[MESSAGE_CHAT_ID] = {false, UUID_LEN},
	[MESSAGE_SENDER] = {false, -1},
	[MESSAGE_BODY] = {false, -1},
	[MESSAGE_DEK_VERSION] = {true, sizeof(int32)},
	[MESSAGE_CREATED_AT] = {true, sizeof(TimestampTz)},
	[MESSAGE_EXPIRES_AT] = {true, sizeof(TimestampTz)}
};

static const int bound_columns[] = {MESSAGE_ID, MESSAGE_CHAT_ID, MESSAGE_SENDER,
									MESSAGE_CREATED_AT};

/* ---------- the additional data ---------- */

/* Why a row has no additional data. */
typedef enum Unbindable
{
	BINDABLE,
	TIME_HAS_NO_NUMBER,
	SENDER_IS_TOO_LONG,
	SENDER_IS_NOT_UTF8
} Unbindable;

/*
 * A sender in UTF-8: its own bytes where they are UTF-8 already or the database has no
 * encoding, else a new string.  NULL where the sender cannot be converted.
 */
static const char *
sender_in_utf8(const text *sender, Size *len)
{
	const char *own = VARDATA_ANY(sender);
	Size		room;
	Oid			conversion;
	char	   *utf8;

	*len = VARSIZE_ANY_EXHDR(sender);
	if (*len == 0 || GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return own;
	conversion = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	if (!OidIsValid(conversion) || *len > CC_ROW_SENDER_MAX)
		return NULL;
	room = (*len + 1) * MAX_CONVERSION_GROWTH;
	utf8 = palloc(room);
	if (pg_do_encoding_conversion_buf(conversion, GetDatabaseEncoding(), PG_UTF8,
									  (unsigned char *) unconstify(char *, own), (int) *len,
									  (unsigned char *) utf8, (int) room, true) != (int) *len)
	{
		pfree(utf8);
		return NULL;
	}
	*len = strlen(utf8);
	return utf8;
}

static Unbindable
write_aad(ChatcryptRowAad *row, TimestampTz created_at, const char *sender, Size sender_len)
{
	Size		len = CC_ROW_AAD_FIXED_LEN + sender_len;
	uint8	   *out = row->room;
	int64		unix_time;

	if (TIMESTAMP_NOT_FINITE(created_at) ||
		pg_add_s64_overflow(created_at, EPOCH_DISTANCE, &unix_time))
		return TIME_HAS_NO_NUMBER;
	if (sender_len > CC_ROW_SENDER_MAX)
		return SENDER_IS_TOO_LONG;
	if (len > sizeof(row->room))
		out = row->allocated = palloc(len);
	if (cc_row_aad_write(unix_time, (const uint8 *) sender, sender_len, out) != CC_OK)
		elog(ERROR, "the additional data of a row could not be written");
	row->aad.bytes = out;
	row->aad.len = len;
	return BINDABLE;
}

static Unbindable
make_aad(ChatcryptRowAad *row, TimestampTz created_at, const text *sender)
{
	const char *utf8 = NULL;
	Size		len = 0;
	Unbindable	made;

	row->allocated = NULL;
	row->aad = (ChatcryptAad) {.of_row = true};
	if (sender != NULL)
	{
		utf8 = sender_in_utf8(sender, &len);
		if (utf8 == NULL)
			return len > CC_ROW_SENDER_MAX ? SENDER_IS_TOO_LONG : SENDER_IS_NOT_UTF8;
	}
	made = write_aad(row, created_at, utf8, len);
	if (utf8 != NULL && utf8 != VARDATA_ANY(sender))
		pfree(unconstify(char *, utf8));
	return made;
}

const ChatcryptAad *
chatcrypt_binding_aad(ChatcryptRowAad *row, TimestampTz created_at, const text *sender)
{
	row->aad.unbindable = make_aad(row, created_at, sender) != BINDABLE;
	return &row->aad;
}

const ChatcryptAad *
chatcrypt_binding_aad_to_seal(ChatcryptRowAad *row, TimestampTz created_at, const text *sender)
{
	switch (make_aad(row, created_at, sender))
	{
		case BINDABLE:
			break;
		case TIME_HAS_NO_NUMBER:
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("created_at of a message must be finite and before the year 294247"),
					 errdetail("It is bound into the envelope as microseconds since 1970.")));
		case SENDER_IS_TOO_LONG:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the sender of a message can have at most %u bytes",
							CC_ROW_SENDER_MAX)));
		case SENDER_IS_NOT_UTF8:
			ereport(ERROR,
					(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
					 errmsg("the sender of a message cannot be converted from encoding \"%s\" to UTF-8",
							GetDatabaseEncodingName())));
	}
	return &row->aad;
}

void
chatcrypt_binding_free_aad(ChatcryptRowAad *row)
{
	if (row->allocated != NULL)
		pfree(row->allocated);
	row->allocated = NULL;
}

PG_FUNCTION_INFO_V1(chatcrypt_row_aad_of);

/* row_aad(created_at timestamptz, sender text): not STRICT, since a NULL sender is none. */
Datum
chatcrypt_row_aad_of(PG_FUNCTION_ARGS)
{
	ChatcryptRowAad row;
	const ChatcryptAad *aad;
	bytea	   *result;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("created_at of a message must not be null")));
	aad = chatcrypt_binding_aad_to_seal(&row, PG_GETARG_TIMESTAMPTZ(0),
										PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	result = palloc(VARHDRSZ + aad->len);
	SET_VARSIZE(result, VARHDRSZ + aad->len);
	memcpy(VARDATA(result), aad->bytes, aad->len);
	PG_RETURN_BYTEA_P(result);
}

/* ---------- what would part a row from its envelope ---------- */

bool
chatcrypt_binding_same_column(int column, Datum a, bool a_null, Datum b, bool b_null)
{
	if (a_null || b_null)
		return a_null == b_null;
	return datum_image_eq(a, b, column_types[column].by_value, column_types[column].length);
}

void
chatcrypt_binding_require_as_sealed(const Datum *sealed, const bool *sealed_nulls,
									const Datum *stored, const bool *stored_nulls)
{
	for (int i = 0; i < (int) lengthof(bound_columns); i++)
	{
		int			column = bound_columns[i];

		if (!chatcrypt_binding_same_column(column, sealed[column], sealed_nulls[column],
										   stored[column], stored_nulls[column]))
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("a trigger changed an id, the sender or the time of a message after it was sealed"),
					 errdetail("They are bound into the envelope, which would not open."),
					 errhint("Make sure that no trigger on chatcrypt.sealed_message changes message_id, chat_id, sender or created_at.")));
	}
}

/* Reads the row of a trigger's tuple. */
static void
read_row(HeapTuple tuple, TupleDesc table, Datum *values, bool *nulls)
{
	for (int i = 0; i < MESSAGE_COLUMNS; i++)
		values[i] = heap_getattr(tuple, i + 1, table, &nulls[i]);
}

/*
 * Whether the row's envelope opens; the plaintext is wiped.  Raises an error where the KMS does
 * not give the key.
 */
static bool
opens(const Datum *values, const bool *nulls)
{
	ChatcryptRowAad aad;
	const ChatcryptAad *bound = chatcrypt_binding_aad(&aad,
													  DatumGetTimestampTz(values[MESSAGE_CREATED_AT]),
													  nulls[MESSAGE_SENDER] ? NULL :
													  DatumGetTextPP(values[MESSAGE_SENDER]));
	bytea	   *plaintext = chatcrypt_seal_open(DatumGetUUIDP(values[MESSAGE_CHAT_ID])->data,
												DatumGetUUIDP(values[MESSAGE_ID])->data,
												DatumGetByteaPP(values[MESSAGE_BODY]), bound,
												CHATCRYPT_FAIL_NULL);

	if (plaintext == NULL)
		return false;
	cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	pfree(plaintext);
	return true;
}

/*
 * Called where a bound column has a new value and the row has an envelope: the condition of the
 * trigger says so.
 */
static void
require_new_envelope(const TriggerData *trigger)
{
	TupleDesc	table = RelationGetDescr(trigger->tg_relation);
	Datum		before[MESSAGE_COLUMNS];
	bool		nulls_before[MESSAGE_COLUMNS];
	Datum		after[MESSAGE_COLUMNS];
	bool		nulls_after[MESSAGE_COLUMNS];

	read_row(trigger->tg_trigtuple, table, before, nulls_before);
	read_row(trigger->tg_newtuple, table, after, nulls_after);
	if (chatcrypt_binding_same_column(MESSAGE_BODY, before[MESSAGE_BODY],
									  nulls_before[MESSAGE_BODY],
									  after[MESSAGE_BODY], nulls_after[MESSAGE_BODY]))
		ereport(ERROR,
				(errcode(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION),
				 errmsg("message_id, chat_id, sender and created_at of a message cannot be changed without a new envelope"),
				 errdetail("They are bound into encrypted_message, which would not open."),
				 errhint("Write to the view chatcrypt.messages, which seals the message anew, or delete the message.")));
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA && !opens(after, nulls_after))
		ereport(ERROR,
				(errcode(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION),
				 errmsg("the new envelope of a message does not open with its new id, chat, sender or time"),
				 errhint("Write to the view chatcrypt.messages, and make sure that no trigger on chatcrypt.sealed_message changes these columns.")));
}

PG_FUNCTION_INFO_V1(chatcrypt_require_new_envelope);

/*
 * Trigger on chatcrypt.sealed_message, ENABLE ALWAYS, after an UPDATE of a row.  It runs after,
 * so that it sees what BEFORE triggers have made of the row.  Where changes of another server
 * are applied, that server has checked that they open, and this one may have no key.
 */
Datum
chatcrypt_require_new_envelope(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		RelationGetRelid(trigger->tg_relation) != chatcrypt_relations_find("sealed_message"))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.require_new_envelope() must be called as the trigger of chatcrypt.sealed_message")));
	require_new_envelope(trigger);
	return PointerGetDatum(NULL);
}
