/*
 * upsert.h
 *		Stores messages whose ids may exist already.
 */
#ifndef CHATCRYPT_UPSERT_H
#define CHATCRYPT_UPSERT_H

#include "pg/messages/messages.h"

typedef enum ChatcryptPutOutcome
{
	CHATCRYPT_PUT_INSERTED,
	CHATCRYPT_PUT_REPLACED,		/* the message that has the id got another body */
	CHATCRYPT_PUT_IGNORED,		/* the chat has a message with this id */
	CHATCRYPT_PUT_REFUSED		/* another chat has a message with this id */
} ChatcryptPutOutcome;

#define CHATCRYPT_PUT_OUTCOMES 4

/*
 * Inserts a message whose id is given, as the current user.  Where a message has this id
 * already, replaces its body or ignores the new message, as the caller wants.  The row has the
 * columns of the view.
 */
extern ChatcryptPutOutcome chatcrypt_upsert_put(const ChatcryptMessageRow *given, bool replace);

/*
 * Stores a row with the columns of the table, unless there is a message with its id: never
 * returns CHATCRYPT_PUT_REPLACED.
 */
extern ChatcryptPutOutcome chatcrypt_upsert_insert_unless_there(ChatcryptMessageRow *row);

#endif

