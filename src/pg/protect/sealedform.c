/*
 * sealedform.c
 *		How a protected column stores its values: see sealedform.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "core/base64.h"
#include "pg/compat.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/utf8.h"
#include "pg/protect/plainmemory.h"
#include "pg/protect/sealedform.h"

#define ARMOUR		"cc1:"
#define ARMOUR_LEN	4

bool
chatcrypt_sealedform_of_type(Oid type, ChatcryptForm *form)
{
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
			*form = CHATCRYPT_FORM_TEXT;
			return true;
		case JSONOID:
			*form = CHATCRYPT_FORM_JSON;
			return true;
		case JSONBOID:
			*form = CHATCRYPT_FORM_JSONB;
			return true;
		case BYTEAOID:
			*form = CHATCRYPT_FORM_BYTEA;
			return true;
		default:
			return false;
	}
}

/* ---------- armour: cc1: and base64, or the bytes themselves ---------- */

static bool
begins_as_armour(const char *bytes, Size len)
{
	return len > ARMOUR_LEN && memcmp(bytes, ARMOUR, ARMOUR_LEN) == 0;
}

static bytea *
envelope_of_armour(const char *armour, Size len)
{
	bytea	   *envelope;
	size_t		got;

	if (!begins_as_armour(armour, len))
		return NULL;
	envelope = palloc(VARHDRSZ + CC_BASE64_BYTES_MAX(len));
	if (cc_base64_decode(armour + ARMOUR_LEN, len - ARMOUR_LEN, (uint8 *) VARDATA(envelope),
						 CC_BASE64_BYTES_MAX(len), &got) != CC_OK)
	{
		pfree(envelope);
		return NULL;
	}
	SET_VARSIZE(envelope, VARHDRSZ + got);
	return envelope;
}

/* A varlena of the armour, with the text "around" before and after it. */
static struct varlena *
armour_of(const bytea *envelope, const char *around)
{
	Size		len = VARSIZE_ANY_EXHDR(envelope);
	Size		outer = strlen(around);
	Size		total = outer + ARMOUR_LEN + CC_BASE64_TEXT_LEN(len) + outer;
	struct varlena *stored = palloc(VARHDRSZ + total + 1);
	char	   *at = VARDATA(stored);

	memcpy(at, around, outer);
	memcpy(at + outer, ARMOUR, ARMOUR_LEN);
	cc_base64_encode((const uint8 *) VARDATA_ANY(envelope), len, at + outer + ARMOUR_LEN);
	memcpy(at + total - outer, around, outer);
	SET_VARSIZE(stored, VARHDRSZ + total);
	return stored;
}

static bytea *
copy_bytes(const char *prefix, Size prefix_len, const char *bytes, Size len)
{
	bytea	   *copy = palloc(VARHDRSZ + prefix_len + len);

	SET_VARSIZE(copy, VARHDRSZ + prefix_len + len);
	memcpy(VARDATA(copy), prefix, prefix_len);
	memcpy(VARDATA(copy) + prefix_len, bytes, len);
	return copy;
}

/* A jsonb needs an alignment that only a value with a long header has. */
static Jsonb *
aligned_jsonb(const struct varlena *value)
{
	struct varlena *copy;

	if (!VARATT_IS_SHORT(value))
		return (Jsonb *) value;
	copy = copy_bytes(NULL, 0, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	chatcrypt_plainmemory_wipe_later(copy, VARSIZE(copy));
	return (Jsonb *) copy;
}

static void
armour_in_jsonb(Jsonb *stored, const char **armour, Size *len)
{
	JsonbValue	string;

	*len = 0;
	if (!JB_ROOT_IS_SCALAR(stored) || !JsonbExtractScalar(&stored->root, &string) ||
		string.type != jbvString)
		return;
	*armour = string.val.string.val;
	*len = string.val.string.len;
}

/* Finds where the armour of a stored value would be; the length is 0 if it can have none. */
static void
find_armour(ChatcryptForm form, const struct varlena *stored, const char **armour, Size *len)
{
	*armour = VARDATA_ANY(stored);
	*len = VARSIZE_ANY_EXHDR(stored);
	if (form == CHATCRYPT_FORM_JSONB)
		armour_in_jsonb(aligned_jsonb(stored), armour, len);
	else if (form == CHATCRYPT_FORM_JSON && *len > 2 && (*armour)[0] == '"')
	{
		*armour += 1;
		*len -= 2;
	}
	else if (form == CHATCRYPT_FORM_JSON)
		*len = 0;
}

bool
chatcrypt_sealedform_begins(ChatcryptForm form, const struct varlena *value)
{
	const char *armour;
	Size		len;

	find_armour(form, value, &armour, &len);
	return begins_as_armour(armour, len);
}

bytea *
chatcrypt_sealedform_envelope(ChatcryptForm form, const struct varlena *stored)
{
	const char *armour;
	Size		len;

	find_armour(form, stored, &armour, &len);
	if (form != CHATCRYPT_FORM_BYTEA)
		return envelope_of_armour(armour, len);
	return begins_as_armour(armour, len) ?
		copy_bytes(NULL, 0, armour + ARMOUR_LEN, len - ARMOUR_LEN) : NULL;
}

static struct varlena *
jsonb_of_text(const text *json)
{
	char	   *string = text_to_cstring(json);

	chatcrypt_plainmemory_wipe_later(string, strlen(string));
	return (struct varlena *)
		DatumGetPointer(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
}

struct varlena *
chatcrypt_sealedform_of_envelope(ChatcryptForm form, const bytea *envelope)
{
	switch (form)
	{
		case CHATCRYPT_FORM_TEXT:
			return armour_of(envelope, "");
		case CHATCRYPT_FORM_JSON:
			return armour_of(envelope, "\"");
		case CHATCRYPT_FORM_JSONB:
			return jsonb_of_text((text *) armour_of(envelope, "\""));
		case CHATCRYPT_FORM_BYTEA:
			return (struct varlena *) copy_bytes(ARMOUR, ARMOUR_LEN, VARDATA_ANY(envelope),
												 VARSIZE_ANY_EXHDR(envelope));
	}
	pg_unreachable();
}

/* ---------- sealing and opening ---------- */

static ChatcryptAad
aad_of(const ChatcryptSeat *seat)
{
	return (ChatcryptAad) {.bytes = seat->aad, .len = sizeof(seat->aad)};
}

static text *
text_of_jsonb(const struct varlena *value)
{
	Jsonb	   *jsonb = aligned_jsonb(value);
	char	   *string = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	text	   *result = cstring_to_text(string);

	cc_wipe(string, strlen(string));
	pfree(string);
	return result;
}

static bytea *
seal_jsonb(const ChatcryptSeat *seat, const struct varlena *value, const ChatcryptAad *aad)
{
	text	   *json = text_of_jsonb(value);
	bytea	   *volatile envelope = NULL;

	PG_TRY();
	{
		envelope = chatcrypt_seal_text_as_data(seat->chat_id, seat->message_id, json, aad);
	}
	PG_FINALLY();
	{
		chatcrypt_utf8_wipe_text(json);
	}
	PG_END_TRY();
	return envelope;
}

struct varlena *
chatcrypt_sealedform_seal(const ChatcryptSeat *seat, const struct varlena *value)
{
	ChatcryptAad aad = aad_of(seat);
	bytea	   *envelope;

	switch (seat->form)
	{
		case CHATCRYPT_FORM_BYTEA:
			envelope = chatcrypt_seal_as_data(seat->chat_id, seat->message_id, VARDATA_ANY(value),
											  VARSIZE_ANY_EXHDR(value), &aad);
			break;
		case CHATCRYPT_FORM_JSONB:
			envelope = seal_jsonb(seat, value, &aad);
			break;
		default:
			envelope = chatcrypt_seal_text_as_data(seat->chat_id, seat->message_id,
												   (const text *) value, &aad);
	}
	return chatcrypt_sealedform_of_envelope(seat->form, envelope);
}

struct varlena *
chatcrypt_sealedform_open(const ChatcryptSeat *seat, const bytea *envelope,
						  ChatcryptOnFailure on_failure)
{
	ChatcryptAad aad = aad_of(seat);
	text	   *opened;

	if (seat->form == CHATCRYPT_FORM_BYTEA)
		return chatcrypt_seal_open(seat->chat_id, seat->message_id, envelope, &aad, on_failure);
	opened = chatcrypt_seal_open_text(seat->chat_id, seat->message_id, envelope, &aad, on_failure);
	if (opened == NULL || seat->form != CHATCRYPT_FORM_JSONB)
		return opened;
	chatcrypt_plainmemory_wipe_later(opened, VARSIZE_ANY(opened));
	return jsonb_of_text(opened);
}

bool
chatcrypt_sealedform_opens(const ChatcryptSeat *seat, const bytea *envelope)
{
	ChatcryptAad aad = aad_of(seat);
	ChatcryptKmsJob failure;
	cc_status	why;
	bytea	   *opened = chatcrypt_seal_probe(seat->chat_id, seat->message_id, envelope, &aad,
											   &failure, &why);

	if (opened == NULL && failure.outcome != CC_KMS_OK)
		opened = chatcrypt_seal_open(seat->chat_id, seat->message_id, envelope, &aad,
									 CHATCRYPT_FAIL_NULL);
	chatcrypt_utf8_wipe_text(opened);
	if (opened != NULL)
		pfree(opened);
	return opened != NULL;
}

bool
chatcrypt_sealedform_lacks_key(const ChatcryptSeat *seat, const bytea *envelope)
{
	int32		version = chatcrypt_seal_version(envelope);

	return version > 0 &&
		chatcrypt_keyaccess_find(seat->chat_id, CHATCRYPT_FOR_MESSAGES, version) == NULL;
}
