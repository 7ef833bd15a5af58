/*
 * wireaccept.c
 *		accept_wire_message(): stores what a client sends in wire form as a row of
 *		chatcrypt.sealed_message.
 *
 * A client says that it encrypted the message; the server believes it only if the message
 * opens.  A message that opened under the active key is stored as it came.  One that opened
 * under an older key, because it was on its way during a rotation, is sealed anew with the
 * active key: no message is lost, and after a rotation nothing more is stored under the key
 * that the rotation ended.
 *
 * The caller learns nothing but that the message opens or does not: accept_wire_message() needs
 * the right to write, not the right to read, and a wrong key and damaged bytes give the same
 * error.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/base64.h"
#include "core/secretbox.h"
#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/keys/keyaccess.h"
#include "pg/keys/chatkeys.h"
#include "pg/messages/messages.h"
#include "pg/messages/seal.h"
#include "pg/messages/utf8.h"

/* ---------- fields ---------- */

/* The error names keys of the object, and shows nothing of the message. */
static void
refuse_field(const char *key, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of a wire message %s", key, why)));
}

/* A value of the object; NULL where it is absent or null. */
static JsonbValue *
field(Jsonb *wire, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&wire->root, key, strlen(key), NULL);

	return value == NULL || value->type == jbvNull ? NULL : value;
}

static JsonbValue *
string_field(Jsonb *wire, const char *key)
{
	JsonbValue *value = field(wire, key);

	if (value != NULL && value->type != jbvString)
		refuse_field(key, "must be a string");
	return value;
}

static text *
text_field(Jsonb *wire, const char *key)
{
	JsonbValue *value = string_field(wire, key);

	return value == NULL ? NULL :
		cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static bool
bool_field(Jsonb *wire, const char *key)
{
	JsonbValue *value = field(wire, key);

	if (value == NULL || value->type != jbvBool)
		refuse_field(key, "must be true or false");
	return value->val.boolean;
}

/* The digits of a number; the function that reads them refuses a fraction. */
static char *
digits(const JsonbValue *value)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
}

/* Reads an id, which is a uuid or a number; false where there is none. */
static bool
id_field(Jsonb *wire, const char *key, pg_uuid_t *id)
{
	JsonbValue *value = field(wire, key);

	if (value == NULL)
		return false;
	if (value->type == jbvNumeric)
		chatcrypt_id_parse(digits(value), id->data);
	else if (value->type == jbvString)
		chatcrypt_id_parse(pnstrdup(value->val.string.val, value->val.string.len), id->data);
	else
		refuse_field(key, "must be a uuid or a number");
	return true;
}

/* The version that the client used; that of the active key where it does not say. */
static uint32
version_field(Jsonb *wire, uint32 active)
{
	JsonbValue *value = field(wire, "key_version");
	int32		version;

	if (value == NULL)
		return active;
	if (value->type != jbvNumeric)
		refuse_field("key_version", "must be a number");
	version = DatumGetInt32(DirectFunctionCall1(int4in, CStringGetDatum(digits(value))));
	if (version < 1)
		refuse_field("key_version", "must be positive");
	return (uint32) version;
}

/*
 * The bytes of a field in base64, with before bytes of room in front; *len is the length
 * without that room.
 */
static uint8 *
base64_field(Jsonb *wire, const char *key, Size before, Size *len)
{
	JsonbValue *value = string_field(wire, key);
	Size		capacity;
	uint8	   *room;

	if (value == NULL)
		refuse_field(key, "is missing");
	capacity = CC_BASE64_BYTES_MAX(value->val.string.len);
	room = palloc(before + capacity);
	if (cc_base64_decode(value->val.string.val, value->val.string.len, room + before, capacity,
						 len) != CC_OK)
		refuse_field(key, "must be base64, padded and in one line");
	return room;
}

/* ---------- what a client encrypted ---------- */

static bytea *
envelope_of(Jsonb *wire, uint32 version)
{
	Size		nonce_len;
	Size		box_len;
	uint8	   *nonce = base64_field(wire, "nonce", 0, &nonce_len);
	uint8	   *room = base64_field(wire, "encrypted_payload", VARHDRSZ + CC_SECRETBOX_BOX_AT,
									&box_len);
	cc_status	status;

	if (nonce_len != CC_SECRETBOX_NONCE_LEN)
		refuse_field("nonce", "must be 24 bytes");
	SET_VARSIZE(room, VARHDRSZ + CC_SECRETBOX_BOX_AT + box_len);
	status = cc_secretbox_assemble(version, nonce, room + VARHDRSZ + CC_SECRETBOX_BOX_AT, box_len,
								   room + VARHDRSZ);
	if (status == CC_ERR_TRUNCATED)
		refuse_field("encrypted_payload", "must be at least 16 bytes");
	if (status != CC_OK)
		chatcrypt_raise(status, NULL);
	return (bytea *) room;
}

static void
require_conversation_key(const uint8 *chat_id)
{
	ChatcryptMode mode;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (mode != CHATCRYPT_MODE_CONVERSATION_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chat %s is not of mode conversation_key, and its clients have no key",
						chatcrypt_id_text(chat_id))));
}

/* Inserts the message.  The body is a copy that this function wipes in any case. */
static void
insert_and_wipe(ChatcryptMessageRow *row, text *body, bytea *envelope, pg_uuid_t *id)
{
	row->values[MESSAGE_BODY] = PointerGetDatum(body);
	row->nulls[MESSAGE_BODY] = body == NULL;
	PG_TRY();
	{
		chatcrypt_message_insert(row, envelope, id);
	}
	PG_CATCH();
	{
		chatcrypt_utf8_wipe_text(body);
		PG_RE_THROW();
	}
	PG_END_TRY();
	chatcrypt_utf8_wipe_text(body);
}

static void
accept_encrypted(Jsonb *wire, const uint8 *chat_id, ChatcryptMessageRow *row, pg_uuid_t *id)
{
	static const uint8 any_message[CC_ID_LEN];	/* the format binds no id */
	JsonbValue *content = string_field(wire, "content");
	uint32		active;
	uint32		version;
	bytea	   *envelope;
	text	   *body;

	if (content != NULL && content->val.string.len > 0)
		refuse_field("content", "must be empty where the message is encrypted");
	require_conversation_key(chat_id);
	active = chatcrypt_keyaccess_active(chat_id, CHATCRYPT_FOR_CONVERSATION)->version;
	version = version_field(wire, active);
	envelope = envelope_of(wire, version);
	body = chatcrypt_seal_open_text(chat_id, any_message, envelope, NULL,
									CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_NO_TEXT);
	if (body == NULL)
		refuse_field("encrypted_payload", "must hold text that this database can store");
	insert_and_wipe(row, body, version == active ? envelope : NULL, id);
}

static void
accept_plain(Jsonb *wire, ChatcryptMessageRow *row, pg_uuid_t *id)
{
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (field(wire, "encrypted_payload") != NULL || field(wire, "nonce") != NULL)
		refuse_field("encrypted", "must be true where there is a payload or a nonce");
	insert_and_wipe(row, text_field(wire, "content"), NULL, id);
}

/* ---------- the message ---------- */

static void
set_column(ChatcryptMessageRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

/* An actor writes in its own name, whatever the client says. */
static void
set_sender(Jsonb *wire, ChatcryptMessageRow *row)
{
	const text *sender = chatcrypt_moderation_sender(text_field(wire, "sender"));

	if (sender != NULL)
		set_column(row, MESSAGE_SENDER, PointerGetDatum(sender));
}

/*
 * The time that the client sends counts only for a service that moves messages in; a message of
 * an actor gets the time of the server.
 */
static void
set_time(Jsonb *wire, ChatcryptMessageRow *row)
{
	text	   *at = text_field(wire, "created_at");

	if (at != NULL && chatcrypt_actor() == NULL)
		set_column(row, MESSAGE_CREATED_AT,
				   DirectFunctionCall3(timestamptz_in, CStringGetDatum(text_to_cstring(at)),
									   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
read_columns(Jsonb *wire, const pg_uuid_t *chat_id, ChatcryptMessageRow *row)
{
	pg_uuid_t  *message_id = palloc(sizeof(pg_uuid_t));
	pg_uuid_t	named;

	for (int i = 0; i < MESSAGE_COLUMNS; i++)
		row->nulls[i] = true;
	set_column(row, MESSAGE_CHAT_ID, UUIDPGetDatum(chat_id));
	if (id_field(wire, "chat_id", &named) && memcmp(&named, chat_id, sizeof(named)) != 0)
		refuse_field("chat_id", "names another chat");
	if (id_field(wire, "message_id", message_id))
		set_column(row, MESSAGE_ID, UUIDPGetDatum(message_id));
	set_sender(wire, row);
	set_time(wire, row);
}

PG_FUNCTION_INFO_V1(chatcrypt_accept_wire_message);

/* accept_wire_message(chat any_id, wire jsonb): the id of the message. */
Datum
chatcrypt_accept_wire_message(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));
	ChatcryptMessageRow row;
	pg_uuid_t  *chat_id;
	Jsonb	   *wire;

	chatcrypt_rights_require(CHATCRYPT_MAY_WRITE);
	PreventCommandIfReadOnly("chatcrypt.accept_wire_message()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("neither the id of the chat nor the wire message may be null")));
	chat_id = PG_GETARG_UUID_P(0);
	wire = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(wire))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a wire message must be a JSON object")));
	chatcrypt_access_require_participant(chat_id->data);
	read_columns(wire, chat_id, &row);
	if (bool_field(wire, "encrypted"))
		accept_encrypted(wire, chat_id->data, &row, result);
	else
		accept_plain(wire, &row, result);
	PG_RETURN_UUID_P(result);
}
