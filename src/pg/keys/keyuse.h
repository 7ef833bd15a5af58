/*
 * keyuse.h
 *		The uses of a key: which data key a use takes, and what is derived from it.
 */
#ifndef CHATCRYPT_KEYUSE_H
#define CHATCRYPT_KEYUSE_H

#include "core/envelope.h"
#include "pg/base/keytypes.h"

typedef enum ChatcryptUse
{
	CHATCRYPT_FOR_MESSAGES,		/* K(message) and K(commit) of a data DEK */
	CHATCRYPT_FOR_CONVERSATION, /* a conversation DEK itself */
	CHATCRYPT_FOR_ATTACHMENTS,	/* K(attachment) of a data DEK */
	CHATCRYPT_FOR_SEARCH		/* K(search) of a search DEK */
} ChatcryptUse;

/* The purpose of the DEK behind a use. */
extern ChatcryptPurpose chatcrypt_keyuse_purpose(ChatcryptUse use);

/* One key, ready for use.  Secret: it stays in guarded memory, and is never copied out. */
typedef struct ChatcryptKey
{
	uint32		version;
	ChatcryptUse use;
	union
	{
		cc_message_keys message;
		uint8		conversation[CC_DEK_LEN];
		uint8		attachment[CC_DEK_LEN];
		cc_hmac_key search;
	}			secret;
} ChatcryptKey;

/*
 * Derives from a data key what key->use takes, into key->secret.  The caller fills in the rest
 * of the key, and wipes the data key.
 */
extern CC_MUST_CHECK cc_status chatcrypt_keyuse_derive(ChatcryptKey *key, const ChatcryptKeyId *id,
													   const uint8 dek[CC_DEK_LEN]);

#endif
