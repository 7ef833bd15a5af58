/*
 * wire.c
 *		Gives messages the form in which clients get them: message_wire() behind the view
 *		wire_messages, and wire_envelope().
 *		Not here: what clients send (wireaccept.c), and their keys (handout.c).
 *
 * A conversation message is taken apart as it is stored, into nonce and box in base64, and
 * needs no key.  Every other body is opened, as the view messages does.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/base64.h"
#include "core/envelope.h"
#include "core/secretbox.h"
#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/messages/utf8.h"

#define UUID_TEXT_LEN 36

/* ---------- jsonb ---------- */

static JsonbValue
string_value(const char *text, Size len)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = (char *) text;
	value.val.string.len = (int) len;
	return value;
}

static void
put(ChatcryptJsonb *object, const char *key, JsonbValue value)
{
	JsonbValue	name = string_value(key, strlen(key));

	chatcrypt_push_json(object, WJB_KEY, &name);
	chatcrypt_push_json(object, WJB_VALUE, &value);
}

static void
put_null(ChatcryptJsonb *object, const char *key)
{
	put(object, key, (JsonbValue) {.type = jbvNull});
}

static void
put_bool(ChatcryptJsonb *object, const char *key, bool value)
{
	put(object, key, (JsonbValue) {.type = jbvBool, .val.boolean = value});
}

static void
put_text(ChatcryptJsonb *object, const char *key, const text *value)
{
	if (value == NULL)
		put_null(object, key);
	else
		put(object, key, string_value(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

static void
put_base64(ChatcryptJsonb *object, const char *key, const uint8 *bytes, Size len)
{
	char	   *encoded = MemoryContextAllocHuge(CurrentMemoryContext, CC_BASE64_TEXT_LEN(len) + 1);

	cc_base64_encode(bytes, len, encoded);
	put(object, key, string_value(encoded, CC_BASE64_TEXT_LEN(len)));
}

/* The version that an envelope names; null where there is no envelope. */
static void
put_version(ChatcryptJsonb *object, const cc_envelope_info *info)
{
	if (info == NULL)
		put_null(object, "key_version");
	else
		put(object, "key_version",
			(JsonbValue) {.type = jbvNumeric, .val.numeric = int64_to_numeric(info->dek_version)});
}

/* In UTC, so that a message reads the same in every session. */
static void
put_time(ChatcryptJsonb *object, const char *key, TimestampTz at)
{
	const int	utc = 0;
	char	   *moment = palloc(MAXDATELEN + 1);

	JsonEncodeDateTime(moment, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
	put(object, key, string_value(moment, strlen(moment)));
}

/* ---------- a message ---------- */

static void
put_encrypted(ChatcryptJsonb *object, const bytea *envelope)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(envelope);

	put_bool(object, "encrypted", true);
	put_base64(object, "nonce", bytes + CC_SECRETBOX_NONCE_AT, CC_SECRETBOX_NONCE_LEN);
	put_base64(object, "encrypted_payload", bytes + CC_SECRETBOX_BOX_AT,
			   VARSIZE_ANY_EXHDR(envelope) - CC_SECRETBOX_BOX_AT);
	put(object, "content", string_value("", 0));
}

/*
 * The plaintext.  NULL where there is none, and for what does not open if
 * chatcrypt.on_decrypt_error says so.
 */
static text *
open_content(const uint8 *chat_id, const uint8 *message_id, TimestampTz created_at,
			 const text *sender, const bytea *envelope)
{
	ChatcryptRowAad aad;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (envelope == NULL)
		return NULL;
	return chatcrypt_seal_open_text(chat_id, message_id, envelope,
									chatcrypt_binding_aad(&aad, created_at, sender),
									chatcrypt_seal_on_failure_in_views());
}

/*
 * Ends the object with the content as its last field.  The content is a copy that this function
 * wipes in any case.
 */
static Jsonb *
end_with_content(ChatcryptJsonb *object, text *content)
{
	Jsonb	   *wire;

	PG_TRY();
	{
		put_text(object, "content", content);
		chatcrypt_push_json(object, WJB_END_OBJECT, NULL);
		wire = JsonbValueToJsonb(object->result);
	}
	PG_CATCH();
	{
		chatcrypt_utf8_wipe_text(content);
		PG_RE_THROW();
	}
	PG_END_TRY();
	chatcrypt_utf8_wipe_text(content);
	return wire;
}

/* Reads suite and version of an envelope; false for NULL and where the bytes are no envelope. */
static bool
inspect(const bytea *envelope, cc_envelope_info *info)
{
	return envelope != NULL &&
		cc_envelope_inspect((const uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope),
							info) == CC_OK &&
		info->dek_version <= PG_INT32_MAX;
}

PG_FUNCTION_INFO_V1(chatcrypt_message_wire);

/*
 * message_wire(chat uuid, message uuid, sender text, envelope bytea, created_at
 * timestamptz): one row of the view.
 */
Datum
chatcrypt_message_wire(PG_FUNCTION_ARGS)
{
	const uint8 *chat_id;
	const uint8 *message_id;
	text	   *sender = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	bytea	   *envelope = PG_ARGISNULL(3) ? NULL : PG_GETARG_BYTEA_PP(3);
	cc_envelope_info info;
	bool		known = inspect(envelope, &info);
	ChatcryptJsonb object = {0};

	chatcrypt_rights_require(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(4))
		PG_RETURN_NULL();
	chat_id = PG_GETARG_UUID_P(0)->data;
	message_id = PG_GETARG_UUID_P(1)->data;
	chatcrypt_access_require_participant(chat_id);

	chatcrypt_push_json(&object, WJB_BEGIN_OBJECT, NULL);
	put(&object, "message_id", string_value(chatcrypt_id_uuid_text(message_id), UUID_TEXT_LEN));
	put(&object, "chat_id", string_value(chatcrypt_id_uuid_text(chat_id), UUID_TEXT_LEN));
	put_text(&object, "sender", sender);
	put_version(&object, known ? &info : NULL);
	put_time(&object, "created_at", PG_GETARG_TIMESTAMPTZ(4));
	if (known && info.suite == CC_SUITE_CONVERSATION)
	{
		put_encrypted(&object, envelope);
		chatcrypt_push_json(&object, WJB_END_OBJECT, NULL);
		PG_RETURN_JSONB_P(JsonbValueToJsonb(object.result));
	}
	put_bool(&object, "encrypted", false);
	PG_RETURN_JSONB_P(end_with_content(&object,
									   open_content(chat_id, message_id, PG_GETARG_TIMESTAMPTZ(4),
													sender, envelope)));
}

PG_FUNCTION_INFO_V1(chatcrypt_wire_envelope);

/* wire_envelope(key_version integer, nonce bytea, payload bytea): needs no key and no right. */
Datum
chatcrypt_wire_envelope(PG_FUNCTION_ARGS)
{
	int32		version = PG_GETARG_INT32(0);
	bytea	   *nonce = PG_GETARG_BYTEA_PP(1);
	bytea	   *box = PG_GETARG_BYTEA_PP(2);
	Size		box_len = VARSIZE_ANY_EXHDR(box);
	bytea	   *envelope;
	cc_status	status;

	if (VARSIZE_ANY_EXHDR(nonce) != CC_SECRETBOX_NONCE_LEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a nonce must be %d bytes long", CC_SECRETBOX_NONCE_LEN)));
	if (version < 1)
		chatcrypt_raise(CC_ERR_VERSION, NULL);
	if (box_len > MaxAllocSize - VARHDRSZ - CC_SECRETBOX_BOX_AT)
		chatcrypt_raise(CC_ERR_TOO_LARGE, NULL);
	envelope = palloc(VARHDRSZ + CC_SECRETBOX_BOX_AT + box_len);
	SET_VARSIZE(envelope, VARHDRSZ + CC_SECRETBOX_BOX_AT + box_len);
	status = cc_secretbox_assemble((uint32) version, (const uint8 *) VARDATA_ANY(nonce),
								   (const uint8 *) VARDATA_ANY(box), box_len,
								   (uint8 *) VARDATA(envelope));
	if (status != CC_OK)
		chatcrypt_raise(status, NULL);
	PG_RETURN_BYTEA_P(envelope);
}
