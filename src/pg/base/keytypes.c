/*
 * keytypes.c
 *		The identity and the purposes of data keys: see keytypes.h.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pg/base/keytypes.h"

ChatcryptKeyId
chatcrypt_keytypes_key_id(const uint8 chat_id[CC_ID_LEN], ChatcryptPurpose purpose, uint32 version)
{
	ChatcryptKeyId id;

	memset(&id, 0, sizeof(id));
	id.database = MyDatabaseId;
	id.version = version;
	id.purpose = purpose;
	memcpy(id.chat_id, chat_id, CC_ID_LEN);
	return id;
}

const char *
chatcrypt_keytypes_purpose_text(ChatcryptPurpose purpose)
{
	switch (purpose)
	{
		case CHATCRYPT_PURPOSE_DATA:
			return "data";
		case CHATCRYPT_PURPOSE_SEARCH:
			return "search";
		case CHATCRYPT_PURPOSE_CONVERSATION:
			return "conversation";
		case CHATCRYPT_PURPOSE_EVENTS:
			return "events";
	}
	pg_unreachable();
}

bool
chatcrypt_keytypes_parse_purpose(const char *text, ChatcryptPurpose *purpose)
{
	static const ChatcryptPurpose all[] = {
		CHATCRYPT_PURPOSE_DATA, CHATCRYPT_PURPOSE_SEARCH, CHATCRYPT_PURPOSE_CONVERSATION
	};

	for (int i = 0; i < (int) lengthof(all); i++)
	{
		if (strcmp(text, chatcrypt_keytypes_purpose_text(all[i])) != 0)
			continue;
		*purpose = all[i];
		return true;
	}
	return false;
}
