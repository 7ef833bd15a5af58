/*
 * upsert.h
 *		Messages whose ids may be there already.
 */
#ifndef CHATCRYPT_UPSERT_H
#define CHATCRYPT_UPSERT_H

#include "pg/messages/messages.h"

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
extern ChatcryptPutOutcome chatcrypt_upsert_put(const ChatcryptMessageRow *given, bool replace);

/* Stores a row as the table has it, unless its id is there: never CHATCRYPT_PUT_REPLACED. */
extern ChatcryptPutOutcome chatcrypt_upsert_insert_unless_there(ChatcryptMessageRow *row);

#endif

