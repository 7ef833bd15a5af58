/*
 * seal.c
 *		Seals and opens one message: see seal.h.
 *		Not here: the text in a message (utf8.c), and why an envelope does not open
 *		(diagnosis.c).
 *
 * The order is always the same: allocate, fetch the key, work, and only then report, so that no
 * error is raised while a key is in use.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/secretbox.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/keys/cipher.h"
#include "pg/keys/failedopens.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/seal.h"
#include "pg/messages/utf8.h"
#include "pg/store/store.h"

#define CACHE_LINE		64
#define PREFETCH_MAX	512		/* beyond it the processor prefetches by itself */

/* Bytes that an envelope adds, whichever of the two formats the chat turns out to use. */
#define MOST_OVERHEAD	Max(CC_ENVELOPE_OVERHEAD, CC_SECRETBOX_OVERHEAD)

static const ChatcryptAad no_aad;

const ChatcryptAad *
chatcrypt_seal_aad(ChatcryptAad *aad, const bytea *given)
{
	if (given == NULL)
		return NULL;
	*aad = (ChatcryptAad) {
		.bytes = (const uint8 *) VARDATA_ANY(given), .len = VARSIZE_ANY_EXHDR(given)
	};
	return aad;
}

/* Whether a conversation message would have to bind this additional data. */
static bool
must_be_bound(const ChatcryptAad *aad)
{
	return aad->len > 0 && !aad->of_row;
}

static cc_status
seal_with(const ChatcryptKey *key, const uint8 *message_id, const ChatcryptAad *aad,
		  const uint8 *plaintext, Size len, uint8 *out, Size *out_len)
{
	if (key->use == CHATCRYPT_FOR_CONVERSATION)
	{
		if (must_be_bound(aad))
			return CC_ERR_ARGUMENT;
		*out_len = len + CC_SECRETBOX_OVERHEAD;
		return cc_secretbox_seal(key->secret.conversation, key->version, plaintext, len, out);
	}
	if (aad->unbindable)
		return CC_ERR_TOO_LARGE;
	*out_len = len + CC_ENVELOPE_OVERHEAD;
	return cc_envelope_seal(chatcrypt_cipher_aead(), &key->secret.message, key->version,
							message_id, aad->bytes, aad->len, plaintext, len, out);
}

static cc_status
open_with(const ChatcryptKey *key, const uint8 *message_id, const ChatcryptAad *aad,
		  const uint8 *envelope, Size len, uint8 *plaintext)
{
	if (key->use == CHATCRYPT_FOR_CONVERSATION)
		return must_be_bound(aad) ? CC_ERR_AUTH :
			cc_secretbox_open(key->secret.conversation, key->version, envelope, len, plaintext);
	if (aad->unbindable)
		return CC_ERR_AUTH;
	return cc_envelope_open(chatcrypt_cipher_aead(), &key->secret.message, key->version,
							message_id, aad->bytes, aad->len, envelope, len, plaintext);
}

/*
 * Chooses the key: the one that seals the chat's messages, whatever its purpose is, or the
 * active data key.
 */
typedef const ChatcryptKey *(*KeyChoice) (const uint8 chat_id[CC_ID_LEN]);

static const ChatcryptKey *
data_key(const uint8 chat_id[CC_ID_LEN])
{
	return chatcrypt_keyaccess_active(chat_id, CHATCRYPT_FOR_MESSAGES);
}

static pg_attribute_always_inline bytea *
seal(KeyChoice choose, const uint8 *chat_id, const uint8 *message_id, const char *plaintext,
	 Size len, const ChatcryptAad *aad)
{
	bytea	   *envelope;
	Size		envelope_len;
	cc_status	status;

	if (len > MaxAllocSize - VARHDRSZ - MOST_OVERHEAD)
		chatcrypt_raise(CC_ERR_TOO_LARGE, chat_id);
	envelope = palloc(VARHDRSZ + len + MOST_OVERHEAD);
	chatcrypt_cipher_fresh_randomness();
	status = seal_with(choose(chat_id), message_id, aad ? aad : &no_aad,
					   (const uint8 *) plaintext, len, (uint8 *) VARDATA(envelope), &envelope_len);
	if (status != CC_OK)
		chatcrypt_raise(status, chat_id);
	SET_VARSIZE(envelope, VARHDRSZ + envelope_len);
	return envelope;
}

bytea *
chatcrypt_seal(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
			   const char *plaintext, Size len, const ChatcryptAad *aad)
{
	return seal(chatcrypt_keyaccess_seal, chat_id, message_id, plaintext, len, aad);
}

bytea *
chatcrypt_seal_as_data(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
					   const char *plaintext, Size len, const ChatcryptAad *aad)
{
	return seal(data_key, chat_id, message_id, plaintext, len, aad);
}

static bytea *
seal_text(KeyChoice choose, const uint8 *chat_id, const uint8 *message_id, const text *body,
		  const ChatcryptAad *aad)
{
	Size		len;
	char	   *utf8 = chatcrypt_utf8_of_text(body, &len);
	bytea	   *volatile envelope = NULL;

	if (utf8 == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("the message is not text in UTF-8"),
				 errhint("Encrypt it as bytea.")));
	if (utf8 == VARDATA_ANY(body))
		return seal(choose, chat_id, message_id, utf8, len, aad);
	PG_TRY();
	{
		envelope = seal(choose, chat_id, message_id, utf8, len, aad);
	}
	PG_FINALLY();
	{
		cc_wipe(utf8, len);
	}
	PG_END_TRY();
	pfree(utf8);
	return envelope;
}

bytea *
chatcrypt_seal_text(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
					const text *body, const ChatcryptAad *aad)
{
	return seal_text(chatcrypt_keyaccess_seal, chat_id, message_id, body, aad);
}

bytea *
chatcrypt_seal_text_as_data(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
							const text *body, const ChatcryptAad *aad)
{
	return seal_text(data_key, chat_id, message_id, body, aad);
}

int32
chatcrypt_seal_version(const struct varlena *envelope)
{
	cc_envelope_info info;

	if (cc_envelope_inspect((const uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope),
							&info) != CC_OK ||
		info.dek_version > PG_INT32_MAX)
		return 0;
	return (int32) info.dek_version;
}

int32
chatcrypt_seal_fresh_version(const struct varlena *envelope)
{
	int32		version = chatcrypt_seal_version(envelope);

	if (version == 0)
		elog(ERROR, "a fresh envelope cannot be read");
	return version;
}

static inline cc_status
inspect(const bytea *envelope, cc_envelope_info *info, ChatcryptUse *use)
{
	cc_status	status = cc_envelope_inspect((const uint8 *) VARDATA_ANY(envelope),
											 VARSIZE_ANY_EXHDR(envelope), info);

	if (status != CC_OK)
		return status;
	if (info->suite == CC_SUITE_ATTACHMENT)
		return CC_ERR_SUITE;
	if (info->dek_version > PG_INT32_MAX)
		return CC_ERR_VERSION;
	*use = info->suite == CC_SUITE_CONVERSATION ? CHATCRYPT_FOR_CONVERSATION :
		CHATCRYPT_FOR_MESSAGES;
	return CC_OK;
}

cc_status
chatcrypt_seal_inspect(const bytea *envelope, cc_envelope_info *info, ChatcryptUse *use)
{
	return inspect(envelope, info, use);
}

/*
 * Loads the envelope into the processor cache while its key is looked up and derived from: a
 * scan finds no envelope there, and the cipher would otherwise wait for it line by line.
 * Always inline, because gcc takes a function that only prefetches for one that does nothing,
 * and leaves its calls out.
 */
static pg_attribute_always_inline void
prefetch(const bytea *envelope)
{
	const char *start = VARDATA_ANY(envelope);
	const char *last = start + Min(VARSIZE_ANY_EXHDR(envelope), PREFETCH_MAX);

	for (const char *line = start; line < last; line += CACHE_LINE)
		__builtin_prefetch(line);
	__builtin_prefetch(last);
}

/*
 * Opens an envelope into a new varlena.  NULL, with *why set, where it does not open.  Raises
 * an error for a missing key unless on_failure says otherwise, and for a failure of the KMS
 * unless failure is not NULL.
 */
static struct varlena *
open_into(const uint8 *chat_id, const uint8 *message_id, const bytea *envelope,
		  const ChatcryptAad *aad,
		  ChatcryptOnFailure on_failure, ChatcryptKmsJob *failure, cc_status *why)
{
	cc_envelope_info info;
	ChatcryptUse use;
	const ChatcryptKey *key;
	struct varlena *plaintext;

	prefetch(envelope);
	*why = inspect(envelope, &info, &use);
	if (*why != CC_OK)
		return NULL;
	plaintext = palloc(VARHDRSZ + info.plaintext_len + 1);
	SET_VARSIZE(plaintext, VARHDRSZ + info.plaintext_len);
	if (failure != NULL)
		key = chatcrypt_keyaccess_probe(chat_id, use, info.dek_version, failure);
	else
		key = on_failure == CHATCRYPT_FAIL_RAISE ?
			chatcrypt_keyaccess_open(chat_id, use, info.dek_version) :
			chatcrypt_keyaccess_find(chat_id, use, info.dek_version);
	*why = key == NULL ? CC_ERR_NO_KEY :
		open_with(key, message_id, aad ? aad : &no_aad,
				  (const uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope),
				  (uint8 *) VARDATA(plaintext));
	if (*why == CC_OK)
		return plaintext;
	pfree(plaintext);
	return NULL;
}

ChatcryptOnFailure
chatcrypt_seal_on_failure_in_views(void)
{
	switch (chatcrypt_on_decrypt_error)
	{
		case CHATCRYPT_ON_ERROR_NULL:
			return CHATCRYPT_FAIL_NULL;
		case CHATCRYPT_ON_ERROR_NULL_DESTROYED:
			return CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_DESTROYED;
		default:
			return CHATCRYPT_FAIL_RAISE;
	}
}

bool
chatcrypt_seal_was_destroyed(const uint8 chat_id[CC_ID_LEN], const bytea *envelope)
{
	cc_envelope_info info;
	ChatcryptUse use;
	ChatcryptDekRow row;

	return inspect(envelope, &info, &use) == CC_OK &&
		chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), info.dek_version, &row) &&
		row.state == CHATCRYPT_DEK_DESTROYED &&
		!chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), 0, &row);
}

/*
 * Counts an envelope that did not open.  Where a missing key raises an error, keyaccess.c counts
 * it.
 */
static void
note_failed_open(const uint8 *chat_id, const bytea *envelope, cc_status why)
{
	cc_envelope_info info;
	ChatcryptUse use;

	if (why == CC_ERR_NO_KEY && inspect(envelope, &info, &use) == CC_OK)
		chatcrypt_keyaccess_note_no_key(chat_id, use, info.dek_version);
	else
		chatcrypt_failedopens_note_bytes(why);
}

bytea *
chatcrypt_seal_open(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
					const bytea *envelope, const ChatcryptAad *aad, ChatcryptOnFailure on_failure)
{
	cc_status	why;
	struct varlena *plaintext = open_into(chat_id, message_id, envelope, aad, on_failure, NULL,
										  &why);

	if (plaintext != NULL)
		return plaintext;
	if (on_failure == CHATCRYPT_FAIL_NULL)
	{
		note_failed_open(chat_id, envelope, why);
		return NULL;
	}
	if (why == CC_ERR_NO_KEY)
	{
		if (chatcrypt_seal_was_destroyed(chat_id, envelope))
		{
			note_failed_open(chat_id, envelope, why);
			return NULL;
		}
		/* Raises the error that there is for a missing key. */
		plaintext = open_into(chat_id, message_id, envelope, aad, CHATCRYPT_FAIL_RAISE, NULL, &why);
	}
	if (plaintext == NULL)
	{
		note_failed_open(chat_id, envelope, why);
		chatcrypt_raise_for_message(why, chat_id, message_id);
	}
	return plaintext;
}

bytea *
chatcrypt_seal_probe(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
					 const bytea *envelope, const ChatcryptAad *aad, ChatcryptKmsJob *failure,
					 cc_status *why)
{
	memset(failure, 0, sizeof(*failure));
	return open_into(chat_id, message_id, envelope, aad, CHATCRYPT_FAIL_NULL, failure, why);
}

static void
raise_not_text(bool is_utf8, const uint8 *chat_id, const uint8 *message_id)
{
	if (is_utf8)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("the message cannot be shown in the encoding \"%s\" of this database",
						GetDatabaseEncodingName()),
				 errdetail("It is message %s of chat %s.", chatcrypt_id_text(message_id),
						   chatcrypt_id_text(chat_id)),
				 errhint("Read its UTF-8 bytes with chatcrypt.decrypt_bytea().")));
	ereport(ERROR,
			(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
			 errmsg("the message is not text"),
			 errdetail("It is message %s of chat %s.", chatcrypt_id_text(message_id),
					   chatcrypt_id_text(chat_id)),
			 errhint("Read it with chatcrypt.decrypt_bytea().")));
}

text *
chatcrypt_seal_open_text(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
						 const bytea *envelope, const ChatcryptAad *aad,
						 ChatcryptOnFailure on_failure)
{
	struct varlena *plaintext = chatcrypt_seal_open(chat_id, message_id, envelope, aad,
													on_failure == CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_NO_TEXT ?
													CHATCRYPT_FAIL_RAISE : on_failure);
	text	   *result;
	bool		is_utf8;

	if (plaintext == NULL)
		return NULL;
	result = chatcrypt_utf8_as_text(plaintext);
	if (result == plaintext)
		return result;
	is_utf8 = pg_verify_mbstr(PG_UTF8, VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ, true);
	cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	pfree(plaintext);
	if (result == NULL && (on_failure == CHATCRYPT_FAIL_RAISE ||
						   on_failure == CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_DESTROYED))
		raise_not_text(is_utf8, chat_id, message_id);
	return result;
}

static bytea *
reseal(KeyChoice choose, const uint8 *chat_id, const uint8 *message_id, const bytea *envelope,
	   const ChatcryptAad *aad, cc_status *why)
{
	struct varlena *plaintext = open_into(chat_id, message_id, envelope, aad, CHATCRYPT_FAIL_NULL,
										  NULL, why);
	bytea	   *volatile resealed = NULL;

	if (plaintext == NULL)
		return NULL;
	PG_TRY();
	{
		resealed = seal(choose, chat_id, message_id, VARDATA(plaintext),
						VARSIZE(plaintext) - VARHDRSZ, aad);
	}
	PG_FINALLY();
	{
		cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	}
	PG_END_TRY();
	pfree(plaintext);
	return resealed;
}

bytea *
chatcrypt_seal_again(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
					 const bytea *envelope, const ChatcryptAad *aad, cc_status *why)
{
	return reseal(chatcrypt_keyaccess_seal, chat_id, message_id, envelope, aad, why);
}

bytea *
chatcrypt_seal_again_as_data(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
							 const bytea *envelope, const ChatcryptAad *aad, cc_status *why)
{
	return reseal(data_key, chat_id, message_id, envelope, aad, why);
}
