/*
 * encrypt.c
 *		encrypt(), decrypt(), decrypt_bytea(), try_decrypt() and small functions beside them.
 *		Not here: what the view messages shows (messagebody.c).
 *
 * A NULL body or envelope gives NULL.  A NULL id with a body or envelope that is not NULL is a
 * mistake, and raises an error rather than losing a message.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/random.h"
#include "core/rowaad.h"
#include "pg/access/access.h"
#include "pg/access/actor.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/keys/cipher.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/messages.h"
#include "pg/messages/seal.h"
#include "pg/messages/unopened.h"

static inline const uint8 *
id_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the id of the %s must not be null", n == 0 ? "chat" : "message")));
	return PG_GETARG_UUID_P(n)->data;
}

static inline const ChatcryptAad *
aad_argument(FunctionCallInfo fcinfo, int n, ChatcryptAad *room)
{
	return PG_NARGS() <= n || PG_ARGISNULL(n) ? NULL : chatcrypt_seal_aad(room,
																		  PG_GETARG_BYTEA_PP(n));
}

/*
 * The additional data of what the extension seals by itself says what it is.  A user who could
 * seal with the same additional data could make a message of any sender.
 */
static void
refuse_reserved(const ChatcryptAad *aad)
{
	if (aad == NULL || !cc_aad_is_reserved(aad->bytes, aad->len) ||
		(chatcrypt_actor() == NULL && chatcrypt_rights_has(CHATCRYPT_MAY_ADMINISTER)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("additional data that begins with \"row\", \"col\" or \"file\" and a zero byte is reserved"),
			 errdetail("It is for what chatcrypt seals itself, and for a chatcrypt_admin without an actor."),
			 errhint("Use other additional data, or write to the view chatcrypt.messages.")));
}

static inline Datum
encrypt(FunctionCallInfo fcinfo, bool is_text)
{
	const uint8 *chat_id;
	const uint8 *message_id;
	ChatcryptAad aad_room;
	const ChatcryptAad *aad;
	bytea	   *body;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	chat_id = id_argument(fcinfo, 0);
	message_id = id_argument(fcinfo, 1);
	body = PG_GETARG_BYTEA_PP(2);
	aad = aad_argument(fcinfo, 3, &aad_room);
	refuse_reserved(aad);
	if (is_text)
		PG_RETURN_BYTEA_P(chatcrypt_seal_text(chat_id, message_id, body, aad));
	PG_RETURN_BYTEA_P(chatcrypt_seal(chat_id, message_id, VARDATA_ANY(body),
									 VARSIZE_ANY_EXHDR(body), aad));
}

static inline Datum
decrypt(FunctionCallInfo fcinfo, bool is_text, ChatcryptOnFailure on_failure)
{
	const uint8 *chat_id;
	const uint8 *message_id;
	ChatcryptAad aad_room;
	const ChatcryptAad *aad;
	bytea	   *envelope;
	struct varlena *plaintext;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	chat_id = id_argument(fcinfo, 0);
	message_id = id_argument(fcinfo, 1);
	envelope = PG_GETARG_BYTEA_PP(2);
	aad = aad_argument(fcinfo, 3, &aad_room);
	plaintext = is_text ?
		chatcrypt_seal_open_text(chat_id, message_id, envelope, aad, on_failure) :
		chatcrypt_seal_open(chat_id, message_id, envelope, aad, on_failure);
	if (plaintext == NULL)
		return chatcrypt_unopened_return_null(fcinfo);
	PG_RETURN_POINTER(plaintext);
}

PG_FUNCTION_INFO_V1(chatcrypt_encrypt_text);

/* encrypt(chat, message, plaintext text [, aad]): the envelope */
Datum
chatcrypt_encrypt_text(PG_FUNCTION_ARGS)
{
	return encrypt(fcinfo, true);
}

PG_FUNCTION_INFO_V1(chatcrypt_encrypt_bytea);

/* encrypt(chat, message, plaintext bytea [, aad]): the envelope */
Datum
chatcrypt_encrypt_bytea(PG_FUNCTION_ARGS)
{
	return encrypt(fcinfo, false);
}

PG_FUNCTION_INFO_V1(chatcrypt_decrypt);

/* decrypt(chat, message, envelope [, aad]): the text */
Datum
chatcrypt_decrypt(PG_FUNCTION_ARGS)
{
	return decrypt(fcinfo, true, CHATCRYPT_FAIL_RAISE);
}

PG_FUNCTION_INFO_V1(chatcrypt_decrypt_bytea);

/* decrypt_bytea(chat, message, envelope [, aad]): the bytes */
Datum
chatcrypt_decrypt_bytea(PG_FUNCTION_ARGS)
{
	return decrypt(fcinfo, false, CHATCRYPT_FAIL_RAISE);
}

PG_FUNCTION_INFO_V1(chatcrypt_try_decrypt);

/* try_decrypt(chat, message, envelope [, aad]): the text, or NULL */
Datum
chatcrypt_try_decrypt(PG_FUNCTION_ARGS)
{
	return decrypt(fcinfo, true, CHATCRYPT_FAIL_NULL);
}

PG_FUNCTION_INFO_V1(chatcrypt_dek_version);

/* dek_version(envelope): needs no key and no right; NULL where the bytes are no envelope. */
Datum
chatcrypt_dek_version(PG_FUNCTION_ARGS)
{
	int32		version = chatcrypt_seal_version(PG_GETARG_VARLENA_PP(0));

	if (version == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(version);
}

PG_FUNCTION_INFO_V1(chatcrypt_is_sealed);

/*
 * is_sealed(envelope, dek_version): the constraint of chatcrypt.sealed_message.  Its error has
 * the text and the fields that PostgreSQL uses for a violation, but not the row.
 */
Datum
chatcrypt_is_sealed(PG_FUNCTION_ARGS)
{
	bool		sealed = PG_ARGISNULL(0) || PG_ARGISNULL(1) ? PG_ARGISNULL(0) && PG_ARGISNULL(1) :
		PG_GETARG_INT32(1) != 0 &&
		chatcrypt_seal_version(PG_GETARG_VARLENA_PP(0)) == PG_GETARG_INT32(1);

	if (unlikely(!sealed))
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("new row for relation \"sealed_message\" violates check constraint "
						"\"sealed_message_is_encrypted\""),
				 errdetail("The value of encrypted_message is not an envelope of the key version in dek_version."),
				 errhint("Write to the view chatcrypt.messages, which encrypts."),
				 err_generic_string(PG_DIAG_SCHEMA_NAME, "chatcrypt"),
				 err_generic_string(PG_DIAG_TABLE_NAME, "sealed_message"),
				 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "sealed_message_is_encrypted")));
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(chatcrypt_new_message_id);

/* A UUIDv7: its time comes first, so that the ids of a day are neighbors in an index. */
Datum
chatcrypt_new_message_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	uint64		ms =
		(GetCurrentTimestamp() + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;

	(void) fcinfo;
	chatcrypt_cipher_fresh_randomness();
	if (cc_random_bytes(id->data + 6, UUID_LEN - 6) != CC_OK)
		chatcrypt_raise(CC_ERR_RANDOM, NULL);
	for (int i = 0; i < 6; i++)
		id->data[i] = (uint8) (ms >> (8 * (5 - i)));
	id->data[6] = 0x70 | (id->data[6] & 0x0f);
	id->data[8] = 0x80 | (id->data[8] & 0x3f);
	PG_RETURN_UUID_P(id);
}
