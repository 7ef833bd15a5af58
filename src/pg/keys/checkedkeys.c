/*
 * checkedkeys.c
 *		Keys that were checked against their rows: see checkedkeys.h.
 *
 * A key that is noted here is as good as an entry of the ring.  A change of a row of
 * chatcrypt.dek moves the generation, in this process and in others, before anything may rely
 * on the change.  So does the end of a (sub)transaction that may have seen rows of its own.
 */
#include "postgres.h"

#include "pg/keys/checkedkeys.h"
#include "pg/store/memo.h"

/* At 104 bytes each, about 13 MB in a process that has met that many keys. */
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
