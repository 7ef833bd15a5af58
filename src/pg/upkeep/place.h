/*
 * place.h
 *		What is known of a place where envelopes are kept (registry.h).
 */
#ifndef CHATCRYPT_PLACE_H
#define CHATCRYPT_PLACE_H

#include "utils/uuid.h"

#include "pg/messages/seal.h"

typedef enum ChatcryptPlaceKind
{
	CHATCRYPT_PLACE_MESSAGES,	/* chatcrypt.sealed_message */
	CHATCRYPT_PLACE_FILES,		/* chatcrypt.sealed_attachment: what is known of files */
	CHATCRYPT_PLACE_PARTS,		/* chatcrypt.sealed_attachment_part: no envelopes, but parts, and its columns part and last */
	CHATCRYPT_PLACE_REGISTERED
} ChatcryptPlaceKind;

/* One column of one table.  Texts are SQL: quoted, and qualified with a schema where a table. */
typedef struct ChatcryptPlace
{
	ChatcryptPlaceKind kind;
	pg_uuid_t	registry_id;	/* where it is registered */
	Oid			relation;		/* a table with rows of its own: leaves, where it is partitioned */
	Oid			owner;
	char	   *table;
	char	   *envelope;
	char	   *chat;
	Oid			chat_type;		/* uuid or an integer */
	char	   *message;
	Oid			message_type;
	const ChatcryptAad *aad;	/* NULL for none, and where each row has its own: messages */
} ChatcryptPlace;

#endif
