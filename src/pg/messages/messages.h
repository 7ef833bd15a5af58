/*
 * messages.h
 *		Messages, for other rooms.
 */
#ifndef CHATCRYPT_MESSAGES_H
#define CHATCRYPT_MESSAGES_H

#include "fmgr.h"
#include "utils/uuid.h"

#include "pg/messages/messagetable.h"

/* A row of the view, or of the table. */
typedef struct ChatcryptMessageRow
{
	Datum		values[MESSAGE_COLUMNS];
	bool		nulls[MESSAGE_COLUMNS];
} ChatcryptMessageRow;

/*
 * Inserts a message as INSERT into the view does, with the same defaults, as the current user,
 * and sets *id.  The row has the columns of the view, with the plaintext.  It is sealed, unless
 * there is an envelope that holds it already.
 */
extern void chatcrypt_message_insert(const ChatcryptMessageRow *given, bytea *envelope,
									 pg_uuid_t *id);

/* The default of message_id: an SQL function that C calls as well. */
extern PGDLLEXPORT Datum chatcrypt_new_message_id(PG_FUNCTION_ARGS);

#endif
