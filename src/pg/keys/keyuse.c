/*
 * keyuse.c
 *		Derives from a data key what a use takes: see keyuse.h.
 */
#include "postgres.h"

#include "pg/keys/keyuse.h"

ChatcryptPurpose
chatcrypt_keyuse_purpose(ChatcryptUse use)
{
	switch (use)
	{
		case CHATCRYPT_FOR_CONVERSATION:
			return CHATCRYPT_PURPOSE_CONVERSATION;
		case CHATCRYPT_FOR_SEARCH:
			return CHATCRYPT_PURPOSE_SEARCH;
		case CHATCRYPT_FOR_MESSAGES:
		case CHATCRYPT_FOR_ATTACHMENTS:
			break;
	}
	return CHATCRYPT_PURPOSE_DATA;
}

static cc_status
derive_search_key(cc_hmac_key *key, const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	uint8		search[CC_DEK_LEN];
	cc_status	status = cc_dek_derive(dek, id->chat_id, id->version, CC_USE_SEARCH, search);

	if (status == CC_OK)
		cc_hmac_key_init(key, search, sizeof(search));
	cc_wipe(search, sizeof(search));
	return status;
}

cc_status
chatcrypt_keyuse_derive(ChatcryptKey *key, const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	switch (key->use)
	{
		case CHATCRYPT_FOR_MESSAGES:
			return cc_message_keys_derive(&key->secret.message, dek, id->chat_id, id->version);
		case CHATCRYPT_FOR_ATTACHMENTS:
			return cc_dek_derive(dek, id->chat_id, id->version, CC_USE_ATTACHMENT,
								 key->secret.attachment);
		case CHATCRYPT_FOR_SEARCH:
			return derive_search_key(&key->secret.search, id, dek);
		case CHATCRYPT_FOR_CONVERSATION:
			memcpy(key->secret.conversation, dek, CC_DEK_LEN);
			return CC_OK;
	}
	return CC_ERR_ARGUMENT;
}
