/*
 * keyaccess.c
 *		Gives keys to other rooms: checks who may have a key, and raises an error where there is
 *		none.
 *		Not here: how a key is found (keyring.c).
 *
 * Each function that gives a key first checks that the actor takes part in the chat, so that no
 * caller can forget to.  Callers check roles.
 */
#include "postgres.h"

#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/keys/failedopens.h"
#include "pg/keys/keyaccess.h"
#include "pg/keys/keyring.h"
#include "pg/store/store.h"

/*
 * Raises an error that says why there is no key.  Reads the key's row once more to tell the
 * reasons apart.
 */
static void
raise_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	ChatcryptMode mode;
	ChatcryptDekRow row;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (version != 0 && chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), version, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the data key of chat %s version %u was destroyed",
						chatcrypt_id_text(chat_id), version),
				 errdetail("What it encrypted cannot be read again.")));
	if (version != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("chat %s has no data key of version %u", chatcrypt_id_text(chat_id),
						version)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("chat %s has no active %s key", chatcrypt_id_text(chat_id),
					chatcrypt_keytypes_purpose_text(chatcrypt_keyuse_purpose(use))),
			 errdetail("Its keys were destroyed, or it was never given one."),
			 use == CHATCRYPT_FOR_CONVERSATION ?
			 errhint("Only chats of mode conversation_key, which create_chat() makes, have one.") :
			 use != CHATCRYPT_FOR_ATTACHMENTS ? 0 :
			 errhint("chatcrypt.ensure_attachment_key() gives one to a chat of mode conversation_key.")));
}

/*
 * The active key for a use, or the key that seals messages.  Raises an error where there is
 * none.
 */
static inline const ChatcryptKey *
active_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version)
{
	const ChatcryptKey *key;

	chatcrypt_access_require_for_key_use(chat_id);
	key = chatcrypt_keyring_get(chat_id, use, asked_version, NULL);
	if (unlikely(key == NULL))
		raise_no_key(chat_id, use, 0);
	return key;
}

const ChatcryptKey *
chatcrypt_keyaccess_seal(const uint8 chat_id[CC_ID_LEN])
{
	return active_key(chat_id, CHATCRYPT_FOR_MESSAGES, CHATCRYPT_THE_ONE_THAT_SEALS);
}

const ChatcryptKey *
chatcrypt_keyaccess_active(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use)
{
	return active_key(chat_id, use, CHATCRYPT_THE_ACTIVE_ONE);
}

const ChatcryptKey *
chatcrypt_keyaccess_find(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	chatcrypt_access_require_for_key_use(chat_id);
	return chatcrypt_keyring_get(chat_id, use, version, NULL);
}

const ChatcryptKey *
chatcrypt_keyaccess_probe(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version,
						  ChatcryptKmsJob *failure)
{
	const ChatcryptKey *key;

	memset(failure, 0, sizeof(*failure));
	chatcrypt_access_require_for_key_use(chat_id);
	key = chatcrypt_keyring_get(chat_id, use, version, failure);
	failure->kms_key = NULL;	/* these point into a row that is gone by now */
	failure->wrapped = NULL;
	return key;
}

void
chatcrypt_keyaccess_note_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	ChatcryptDekRow row;

	chatcrypt_failedopens_note(chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), version,
												   &row) ?
							CHATCRYPT_FAILED_OPEN_DESTROYED : CHATCRYPT_FAILED_OPEN_NO_KEY);
}

const ChatcryptKey *
chatcrypt_keyaccess_open(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 version)
{
	const ChatcryptKey *key = chatcrypt_keyaccess_find(chat_id, use, version);

	if (unlikely(key == NULL))
	{
		chatcrypt_keyaccess_note_no_key(chat_id, use, version);
		raise_no_key(chat_id, use, version);
	}
	return key;
}
