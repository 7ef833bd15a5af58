/*
 * keytypes.h
 *		What all rooms know of a data key: its identity, its purpose and its state; and the
 *		modes of chats.
 */
#ifndef CHATCRYPT_KEYTYPES_H
#define CHATCRYPT_KEYTYPES_H

#include "core/bytes.h"

typedef enum ChatcryptPurpose
{
	CHATCRYPT_PURPOSE_DATA = 'd',
	CHATCRYPT_PURPOSE_SEARCH = 's',
	CHATCRYPT_PURPOSE_CONVERSATION = 'c',
	CHATCRYPT_PURPOSE_EVENTS = 'e'	/* the key of the event chain, which belongs to no chat */
} ChatcryptPurpose;

/* Names one data key.  It is compared as bytes, so fill it with zeroes first. */
typedef struct ChatcryptKeyId
{
	Oid			database;
	uint32		version;
	uint8		chat_id[CC_ID_LEN];
	uint8		kcv[CC_KCV_LEN];
	uint8		purpose;		/* ChatcryptPurpose */
	uint8		padding[7];
} ChatcryptKeyId;

typedef enum ChatcryptMode
{
	CHATCRYPT_MODE_MANAGED,
	CHATCRYPT_MODE_CONVERSATION_KEY,
	CHATCRYPT_MODE_E2EE
} ChatcryptMode;

typedef enum ChatcryptDekState
{
	CHATCRYPT_DEK_ACTIVE,
	CHATCRYPT_DEK_DECRYPT_ONLY,
	CHATCRYPT_DEK_DESTROYED
} ChatcryptDekState;

/* Names a data key of this database; the caller fills in the check value (kcv). */
extern ChatcryptKeyId chatcrypt_keytypes_key_id(const uint8 chat_id[CC_ID_LEN],
												ChatcryptPurpose purpose, uint32 version);

/*
 * The words for purposes in the tables.  Parsing returns false for any other word, and for
 * "events", because no chat has a key of that purpose.
 */
extern const char *chatcrypt_keytypes_purpose_text(ChatcryptPurpose purpose);
extern bool chatcrypt_keytypes_parse_purpose(const char *text, ChatcryptPurpose *purpose);

#endif
