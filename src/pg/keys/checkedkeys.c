/*
 * checkedkeys.c
 *		Keys that were checked against their rows: see checkedkeys.h.
 *
 * The guarantee is that of an entry of the keyring: a row of chatcrypt.dek that is changed
 * moves the generation before anybody may rely on the change, here and in
 * others, and so does the end of a (sub)transaction that may have seen rows of its own.
 */
#include "postgres.h"

#include "pg/keys/checkedkeys.h"
#include "pg/store/memo.h"

/* At 104 bytes each, some 13 MB in a process that has met so many keys. */
#define MOST	131072

typedef struct CheckedKey
{
	ChatcryptAsked asked;
	ChatcryptCheckedAt at;
	uint32		version;
	uint8		purpose;
	uint8		kcv[CC_KCV_LEN];
} CheckedKey;

static ChatcryptMemo checked_keys = {
	.name = "chatcrypt keys checked", .key_len = sizeof(ChatcryptAsked), .entry_len =
		sizeof(CheckedKey), .most = MOST
};

void
chatcrypt_checkedkeys_note(const ChatcryptAsked *asked, ChatcryptCheckedAt at,
						   const ChatcryptKeyId *id)
{
	CheckedKey *key = chatcrypt_memo_enter(&checked_keys, asked);

	key->at = at;
	key->version = id->version;
	key->purpose = id->purpose;
	memcpy(key->kcv, id->kcv, CC_KCV_LEN);
}

bool
chatcrypt_checkedkeys_find(const ChatcryptAsked *asked, ChatcryptCheckedAt now, ChatcryptKeyId *id)
{
	const CheckedKey *key = chatcrypt_memo_find(&checked_keys, asked);

	if (key == NULL || key->at.generation != now.generation || key->at.epoch != now.epoch)
		return false;
	*id = chatcrypt_keytypes_key_id(asked->chat_id, key->purpose, key->version);
	memcpy(id->kcv, key->kcv, CC_KCV_LEN);
	return true;
}
