/*
 * sqlwrites.h
 *		The statements that store a row of chatcrypt.sealed_message, as the current user.
 *
 * Rows have the columns of the table, with the envelope.  Each function returns false where
 * nothing was stored: a policy, a trigger or the statement's own condition kept the row out or
 * as it was.
 */
#ifndef CHATCRYPT_SQLWRITES_H
#define CHATCRYPT_SQLWRITES_H

#include "pg/messages/messages.h"

extern bool chatcrypt_sqlwrite_insert(const ChatcryptMessageRow *row);

/* The same, unless there is a message with this id. */
extern bool chatcrypt_sqlwrite_insert_unless_there(const ChatcryptMessageRow *row);

/*
 * Inserts a message, or gives an existing message of the same chat another body.  False where
 * the existing message belongs to another chat, or has another sender or time than the row was
 * sealed for.
 */
extern bool chatcrypt_sqlwrite_upsert(const ChatcryptMessageRow *row);

/* Sets all columns of the message that had the id old_id. */
extern bool chatcrypt_sqlwrite_update(const ChatcryptMessageRow *row, Datum old_id);

/*
 * Sets the columns other than the body, for a change that keeps the ids, the sender and the
 * time.
 */
extern bool chatcrypt_sqlwrite_update_without_body(const ChatcryptMessageRow *row);

#endif
