/*
 * diagnosis.c
 *		Says why an envelope does not open: see diagnosis.h.
 */
#include "postgres.h"

#include "core/envelope.h"
#include "pg/messages/diagnosis.h"
#include "pg/store/store.h"

char *
chatcrypt_diagnosis_of_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version,
						   const ChatcryptKmsJob *failure)
{
	ChatcryptMode mode;
	ChatcryptDekRow row;

	if (failure->wrong_key)
		return psprintf("wrong key: version %u unwraps to another key than the one that was "
						"wrapped", version);
	if (failure->outcome != CC_KMS_OK)
		return psprintf("key not unwrapped: version %u: %s", version,
						failure->error[0] != '\0' ? failure->error :
						cc_kms_outcome_text(failure->outcome));
	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		return pstrdup("no key: there is no such chat");
	if (chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), version, &row))
		return psprintf("key destroyed: version %u", version);
	return psprintf("no key: the chat has none of version %u", version);
}

/* Only administrators and auditors are told whether the key or the bytes are wrong. */
static char *
what_is_wrong_with_bytes(const ChatcryptKey *key, const uint8 *message_id, const bytea *envelope,
						 const ChatcryptAad *aad, cc_status status)
{
	if (status != CC_ERR_AUTH)
		return psprintf("not an envelope: %s", cc_status_text(status));
	if (key->use == CHATCRYPT_FOR_CONVERSATION)
		return pstrdup("damaged, or sealed under another key");
	if (cc_envelope_is_committed(&key->secret.message, key->version, message_id,
								 (const uint8 *) VARDATA_ANY(envelope),
								 VARSIZE_ANY_EXHDR(envelope)))
		return psprintf("damaged: the key and the message are right, %s are not",
						aad != NULL && aad->of_row ? "the bytes, the sender or the time" :
						"the bytes or the additional data");
	return pstrdup("wrong key: sealed under another key or for another message, "
				   "or damaged at its beginning");
}

char *
chatcrypt_diagnosis_of_envelope(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
								const bytea *envelope, const ChatcryptAad *aad)
{
	cc_envelope_info info;
	ChatcryptUse use;
	ChatcryptKmsJob failure;
	cc_status	status = chatcrypt_seal_inspect(envelope, &info, &use);
	const ChatcryptKey *key;
	bytea	   *plaintext;

	if (status == CC_ERR_SUITE)
		return psprintf("unknown suite: %u", *(const uint8 *) VARDATA_ANY(envelope));
	if (status != CC_OK)
		return psprintf("not an envelope: %s", cc_status_text(status));
	plaintext = chatcrypt_seal_probe(chat_id, message_id, envelope, aad, &failure, &status);
	if (plaintext != NULL)
	{
		cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
		pfree(plaintext);
		return NULL;
	}
	key = status == CC_ERR_NO_KEY ? NULL :
		chatcrypt_keyaccess_probe(chat_id, use, info.dek_version, &failure);
	return key == NULL ?
		chatcrypt_diagnosis_of_key(chat_id, use, info.dek_version, &failure) :
		what_is_wrong_with_bytes(key, message_id, envelope, aad, status);
}
