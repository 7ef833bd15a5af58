/*
 * sealedform.h
 *		How a protected column stores its values.
 *
 * What is stored is a valid value of the column's own type, so that whoever reads bytes without
 * this library (logical decoding, a restore elsewhere, pageinspect) gets a value and no crash:
 *
 *		text, varchar	cc1: and the envelope in base64
 *		json, jsonb		a JSON string of the same
 *		bytea			the four bytes cc1: and the envelope
 *
 * What is sealed is the text of a json or jsonb, in UTF-8, and the bytes of a bytea.  Each
 * envelope is bound to its chat, its message and its column (the registry's uuid).
 *
 * Nothing here asks for rights.
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

/* Where one value belongs. */
typedef struct ChatcryptSeat
{
	ChatcryptForm form;
	uint8		aad[CHATCRYPT_COLUMN_AAD_LEN];
	uint8		chat_id[CC_ID_LEN];
	uint8		message_id[CC_ID_LEN];
} ChatcryptSeat;

/* False for a type that cannot be protected. */
extern bool chatcrypt_sealedform_of_type(Oid type, ChatcryptForm *form);

/*
 * The envelope in a stored value that is not compressed or out of line; NULL for a value that
 * has not the form of one.  New, in the current memory context.
 */
extern bytea *chatcrypt_sealedform_envelope(ChatcryptForm form, const struct varlena *stored);

/* Whether it begins as an envelope's stored form does, whatever follows. */
extern bool chatcrypt_sealedform_begins(ChatcryptForm form, const struct varlena *value);

/* The reverse: what is stored of an envelope. */
extern struct varlena *chatcrypt_sealedform_of_envelope(ChatcryptForm form, const bytea *envelope);

/* Seals a value for its seat, under the chat's data key. */
extern struct varlena *chatcrypt_sealedform_seal(const ChatcryptSeat *seat,
												 const struct varlena *value);

/* Opens an envelope of the seat.  The value is the caller's to wipe.  NULL as chatcrypt_seal_open(). */
extern struct varlena *chatcrypt_sealedform_open(const ChatcryptSeat *seat, const bytea *envelope,
												 ChatcryptOnFailure on_failure);

/* Whether it is an envelope of the seat; the KMS may raise. */
extern bool chatcrypt_sealedform_opens(const ChatcryptSeat *seat, const bytea *envelope);

/* Whether it names a key that is not here, or was destroyed. */
extern bool chatcrypt_sealedform_lacks_key(const ChatcryptSeat *seat, const bytea *envelope);

#endif
