/*
 * sealedform.h
 *		How a protected column stores its values.
 *
 * A stored value is a valid value of the column's own type, so that code which reads it without
 * this library (logical decoding, a restore elsewhere, pageinspect) gets a value and does not crash:
 *
 *		text, varchar	cc1: and the envelope in base64
 *		json, jsonb		a JSON string of that text
 *		bytea			the four bytes cc1: and the envelope
 *
 * Of a text, varchar, json or jsonb the text is sealed in UTF-8, and of a bytea its bytes.  Each
 * envelope is bound to its chat, its message and its column (by the uuid of its registration).
 *
 * The functions here do not check the rights of the user.
 */
#ifndef CHATCRYPT_SEALEDFORM_H
#define CHATCRYPT_SEALEDFORM_H

#include "core/bytes.h"
#include "pg/messages/seal.h"

typedef enum ChatcryptForm
{
	CHATCRYPT_FORM_TEXT,
	CHATCRYPT_FORM_JSON,
	CHATCRYPT_FORM_JSONB,
	CHATCRYPT_FORM_BYTEA
} ChatcryptForm;

/* The additional data of a column: "col" 00 and the uuid of its registration. */
#define CHATCRYPT_COLUMN_AAD_PREFIX		"col"	/* with its terminator */
#define CHATCRYPT_COLUMN_AAD_LEN		(4 + CC_ID_LEN)

/* The place of one value: an envelope opens only in the place for which it was sealed. */
typedef struct ChatcryptSeat
{
	ChatcryptForm form;
	uint8		aad[CHATCRYPT_COLUMN_AAD_LEN];
	uint8		chat_id[CC_ID_LEN];
	uint8		message_id[CC_ID_LEN];
} ChatcryptSeat;

/* The form of a type.  Returns false for a type that cannot be protected. */
extern bool chatcrypt_sealedform_of_type(Oid type, ChatcryptForm *form);

/*
 * The envelope in a stored value, which must not be compressed or out of line; NULL for a value
 * that does not have the form of one.  The envelope is new, in the current memory context.
 */
extern bytea *chatcrypt_sealedform_envelope(ChatcryptForm form, const struct varlena *stored);

/* Whether a value begins like the stored form of an envelope, whatever follows. */
extern bool chatcrypt_sealedform_begins(ChatcryptForm form, const struct varlena *value);

/* The reverse: the stored form of an envelope. */
extern struct varlena *chatcrypt_sealedform_of_envelope(ChatcryptForm form, const bytea *envelope);

/* Seals a value for its seat, under the chat's data key. */
extern struct varlena *chatcrypt_sealedform_seal(const ChatcryptSeat *seat,
												 const struct varlena *value);

/*
 * Opens an envelope of the seat.  The caller wipes the value.  Returns NULL in the same cases as
 * chatcrypt_seal_open().
 */
extern struct varlena *chatcrypt_sealedform_open(const ChatcryptSeat *seat, const bytea *envelope,
												 ChatcryptOnFailure on_failure);

/* Whether an envelope opens in the seat.  Raises an error if the KMS fails. */
extern bool chatcrypt_sealedform_opens(const ChatcryptSeat *seat, const bytea *envelope);

/* Whether an envelope names a key that does not exist here, or was destroyed. */
extern bool chatcrypt_sealedform_lacks_key(const ChatcryptSeat *seat, const bytea *envelope);

#endif
