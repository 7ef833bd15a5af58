/*
 * place.h
 *		The description of a place where envelopes are kept (registry.h).
 */
#ifndef CHATCRYPT_PLACE_H
#define CHATCRYPT_PLACE_H

#include "utils/uuid.h"

#include "pg/messages/seal.h"

typedef enum ChatcryptPlaceKind
{
	CHATCRYPT_PLACE_MESSAGES,	/* chatcrypt.sealed_message */
	CHATCRYPT_PLACE_FILES,		/* chatcrypt.sealed_attachment: the metadata of files */
	CHATCRYPT_PLACE_PARTS,		/* chatcrypt.sealed_attachment_part: parts, not envelopes */
	CHATCRYPT_PLACE_REGISTERED,
	CHATCRYPT_PLACE_PROTECTED	/* a protected column of an application's table */
} ChatcryptPlaceKind;

/* One column of one table.  Names are quoted as SQL; that of the table has its schema. */
typedef struct ChatcryptPlace
{
	ChatcryptPlaceKind kind;
	pg_uuid_t	registry_id;	/* the id of its registration */
	Oid			relation;		/* a table that holds rows; a leaf where there are partitions */
	Oid			owner;
	char	   *table;
	char	   *column;			/* that holds the envelopes */
	char	   *envelope;		/* an expression: the envelope as bytea */
	char	   *envelope_of_t;	/* the same, of a table that is called t */
	char	   *written;		/* another: what the column is set to, of r.envelope */
	char	   *chat;
	Oid			chat_type;		/* uuid or an integer */
	char	   *message;
	Oid			message_type;
	const ChatcryptAad *aad;	/* NULL for none, and for messages, where each row has its own */
} ChatcryptPlace;

#endif
