/*
 * seal.h
 *		Seals and opens one message, for SQL functions and triggers alike.
 */
#ifndef CHATCRYPT_SEAL_H
#define CHATCRYPT_SEAL_H

#include "core/envelope.h"
#include "pg/keys/keyaccess.h"

/* Additional data of an envelope.  A pointer to it may be NULL, for none. */
typedef struct ChatcryptAad
{
	const uint8 *bytes;
	Size		len;

	/*
	 * The additional data of a row (binding.h).  Every format that can bind additional data
	 * binds it; a conversation message cannot, and leaves it out.
	 */
	bool		of_row;
	bool		unbindable;		/* no envelope can have been sealed for the row */
} ChatcryptAad;

/* Points aad to additional data that a caller gave, without a copy; NULL for NULL. */
extern const ChatcryptAad *chatcrypt_seal_aad(ChatcryptAad *aad, const bytea *given);

/*
 * Seals len bytes of plaintext under the chat's active key.  aad may be NULL.
 * The caller has checked its user's rights.
 */
extern bytea *chatcrypt_seal(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
							 const char *plaintext, Size len, const ChatcryptAad *aad);

/* The same for text in the server's encoding, which is sealed as UTF-8. */
extern bytea *chatcrypt_seal_text(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
								  const text *body, const ChatcryptAad *aad);

/*
 * The same under the chat's active data key, which differs from the key of messages in a chat
 * of mode conversation_key: for what clients do not read with the key of their conversation.
 */
extern bytea *chatcrypt_seal_as_data(const uint8 chat_id[CC_ID_LEN],
									 const uint8 message_id[CC_ID_LEN], const char *plaintext,
									 Size len, const ChatcryptAad *aad);
extern bytea *chatcrypt_seal_text_as_data(const uint8 chat_id[CC_ID_LEN],
										  const uint8 message_id[CC_ID_LEN], const text *body,
										  const ChatcryptAad *aad);

/* Which key an envelope needs.  An error status where no such envelope can exist in any chat. */
extern CC_MUST_CHECK cc_status chatcrypt_seal_inspect(const bytea *envelope, cc_envelope_info *info,
													  ChatcryptUse *use);

/* The key version that an envelope of any format names; 0 where the bytes are no envelope. */
extern int32 chatcrypt_seal_version(const struct varlena *envelope);

/* The same for an envelope that was just made: raises an error where it cannot be read. */
extern int32 chatcrypt_seal_fresh_version(const struct varlena *envelope);

/*
 * What an envelope that does not open results in: an error, or NULL.  A KMS that is down raises
 * an error in either case.  A caller that opens a message to store it has its own error for
 * what is no text: it passes the last value, and gets NULL for that.
 */
typedef enum ChatcryptOnFailure
{
	CHATCRYPT_FAIL_RAISE,
	CHATCRYPT_FAIL_NULL,
	CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_DESTROYED,	/* as chatcrypt_seal_was_destroyed() says */
	CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_NO_TEXT
} ChatcryptOnFailure;

/* What the setting chatcrypt.on_decrypt_error says for the views. */
extern ChatcryptOnFailure chatcrypt_seal_on_failure_in_views(void);

/*
 * Whether the plaintext of the envelope was destroyed on purpose, with all keys of its chat.  A
 * key that was destroyed while the chat has a newer one was purged because no envelope named
 * it: an envelope that names it is damaged.
 */
extern bool chatcrypt_seal_was_destroyed(const uint8 chat_id[CC_ID_LEN], const bytea *envelope);

extern bytea *chatcrypt_seal_open(const uint8 chat_id[CC_ID_LEN], const uint8 message_id[CC_ID_LEN],
								  const bytea *envelope, const ChatcryptAad *aad,
								  ChatcryptOnFailure on_failure);
extern text *chatcrypt_seal_open_text(const uint8 chat_id[CC_ID_LEN],
									  const uint8 message_id[CC_ID_LEN],
									  const bytea *envelope, const ChatcryptAad *aad,
									  ChatcryptOnFailure on_failure);

/*
 * For callers that must go on while a KMS is down: NULL where the envelope does not open, and
 * where the KMS does not give the key; failure then says so, as with chatcrypt_keyaccess_probe().
 * The caller wipes the plaintext.
 */
extern bytea *chatcrypt_seal_probe(const uint8 chat_id[CC_ID_LEN],
								   const uint8 message_id[CC_ID_LEN],
								   const bytea *envelope, const ChatcryptAad *aad,
								   ChatcryptKmsJob *failure, cc_status *why);

/*
 * Seals the plaintext of an envelope anew, under the chat's active key.  The plaintext never
 * leaves this function.  NULL, with *why set, where the envelope does not open.
 */
extern bytea *chatcrypt_seal_again(const uint8 chat_id[CC_ID_LEN],
								   const uint8 message_id[CC_ID_LEN],
								   const bytea *envelope, const ChatcryptAad *aad, cc_status *why);
extern bytea *chatcrypt_seal_again_as_data(const uint8 chat_id[CC_ID_LEN],
										   const uint8 message_id[CC_ID_LEN], const bytea *envelope,
										   const ChatcryptAad *aad, cc_status *why);

#endif
