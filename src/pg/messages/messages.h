/*
 * messages.h
 *		The view chatcrypt.messages: what its trigger and its body column share.
 */
#ifndef CHATCRYPT_MESSAGES_H
#define CHATCRYPT_MESSAGES_H

#include "fmgr.h"
#include "utils/uuid.h"

#include "pg/messages/messagetable.h"

/*
 * True while the innermost query is an UPDATE or MERGE of the view.  PostgreSQL then
 * computes every column of the old row, wanted or not: a body that does not open
 * must not keep the rest of its row from being changed.
 */
extern bool chatcrypt_messages_updating(void);

/* Tells that such a query read NULL for a body that does not open. */
extern void chatcrypt_messages_note_unopened(void);

extern void chatcrypt_messages_install_hooks(void);

/* A row of the view, or of the table. */
typedef struct ChatcryptMessageRow
{
	Datum		values[MESSAGE_COLUMNS];
	bool		nulls[MESSAGE_COLUMNS];
} ChatcryptMessageRow;

/*
 * Inserts a message as INSERT into the view does, with the same defaults, as the
 * current user; its id.  The row is as the view has it, with the plaintext.  It is
 * sealed, unless there is an envelope that holds it already.
 */
extern void chatcrypt_insert_message(const ChatcryptMessageRow *given, bytea *envelope,
									 pg_uuid_t *id);

typedef enum ChatcryptPutOutcome
{
	CHATCRYPT_PUT_INSERTED,
	CHATCRYPT_PUT_REPLACED,		/* the body of the message that has the id */
	CHATCRYPT_PUT_IGNORED,		/* the chat has a message with this id */
	CHATCRYPT_PUT_REFUSED		/* another chat has */
} ChatcryptPutOutcome;

#define CHATCRYPT_PUT_OUTCOMES 4

/*
 * Inserts a message whose id is given, or does with the one that has this id what the
 * caller wants; as the current user.  The row is as the view has it.
 */
extern ChatcryptPutOutcome chatcrypt_put(const ChatcryptMessageRow *given, bool replace);

/* The default of message_id: an SQL function that C calls as well. */
extern PGDLLEXPORT Datum chatcrypt_new_message_id(PG_FUNCTION_ARGS);

/* The trigger of the view, which the planner's and the executor's hooks look for. */
extern PGDLLEXPORT Datum chatcrypt_write_message(PG_FUNCTION_ARGS);

#endif
