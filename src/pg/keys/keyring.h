/*
 * keyring.h
 *		The keys that this process has at hand: the fast path of every message.
 */
#ifndef CHATCRYPT_KEYRING_H
#define CHATCRYPT_KEYRING_H

#include "core/envelope.h"
#include "pg/cache/keycache.h"
#include "pg/service/requests.h"
#include "pg/store/store.h"

/* What a key is wanted for: which DEK that takes, and what is made of it. */
typedef enum ChatcryptUse
{
	CHATCRYPT_FOR_MESSAGES,		/* K(message) and K(commit) of a data DEK */
	CHATCRYPT_FOR_CONVERSATION, /* a conversation DEK itself */
	CHATCRYPT_FOR_ATTACHMENTS,	/* K(attachment) of a data DEK */
	CHATCRYPT_FOR_SEARCH		/* K(search) of a search DEK */
} ChatcryptUse;

/* The purpose of the DEK behind a use. */
extern ChatcryptPurpose chatcrypt_purpose_of(ChatcryptUse use);

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
 * Each of these asks first whether the actor takes part in the chat, or whether one must be
 * named (chatcrypt_require_for_key_use()).  Roles are the business of the caller.
 */

/*
 * The key that seals new messages of the chat, the active one for a use, or the one
 * that opened version names.  Raises, in words for a person, where there is none or
 * the KMS refuses.  Valid until the next call of any.
 */
extern const ChatcryptKey *chatcrypt_keyring_seal(const uint8 chat_id[CC_ID_LEN]);
extern const ChatcryptKey *chatcrypt_keyring_active(const uint8 chat_id[CC_ID_LEN],
													ChatcryptUse use);
extern const ChatcryptKey *chatcrypt_keyring_open(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												  uint32 version);

/*
 * The same as a question: NULL where the chat has no such key or it was destroyed.
 * What the KMS answers still raises: an unreachable KMS must not look like damage.
 */
extern const ChatcryptKey *chatcrypt_keyring_find(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												  uint32 version);

/* For a caller that gets NULL and raises nothing: counts what did not open (failedopens.h). */
extern void chatcrypt_keyring_note_no_key(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
										  uint32 version);

/*
 * The same, and where the KMS does not give the key it does not raise either: then
 * failure holds the outcome, the words and wrong_key, and otherwise CC_KMS_OK.
 */
extern const ChatcryptKey *chatcrypt_keyring_probe(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use,
												   uint32 version, ChatcryptKmsJob *failure);

/* A job to unwrap the key of a row, which must stay. */
extern void chatcrypt_keyring_job_for_row(const ChatcryptDekRow *row, ChatcryptKmsJob *job);

/*
 * Drops randomness that an earlier statement drew ahead.  To be called before any
 * is drawn: two machines cloned from one between statements must not share salts.
 */
extern void chatcrypt_keyring_fresh_randomness(void);

/* This process's cipher context, re-keyed by each message. */
extern cc_aead *chatcrypt_keyring_aead(void);

#endif
