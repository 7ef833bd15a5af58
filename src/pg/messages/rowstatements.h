/*
 * rowstatements.h
 *		The statements that store a row of chatcrypt.sealed_message, as the current user.
 *
 * Rows are as the table has them, with the envelope.  False where nothing was stored: a
 * policy, a trigger or the statement's own condition kept the row out or as it was.
 */
#ifndef CHATCRYPT_ROWSTATEMENTS_H
#define CHATCRYPT_ROWSTATEMENTS_H

#include "pg/messages/messages.h"

extern bool chatcrypt_rowstatements_insert(const ChatcryptMessageRow *row);

/* The same, unless a message has this id. */
extern bool chatcrypt_rowstatements_insert_unless_there(const ChatcryptMessageRow *row);

/*
 * Inserts, or gives a message of the same chat another body; false where the one that is
 * there is another chat's, or has another sender or time than it was sealed for.
 */
extern bool chatcrypt_rowstatements_upsert(const ChatcryptMessageRow *row);

/* All columns of the message that had the id old_id. */
extern bool chatcrypt_rowstatements_update(const ChatcryptMessageRow *row, Datum old_id);

/* The columns but the envelope and what is bound to it. */
extern bool chatcrypt_rowstatements_update_without_body(const ChatcryptMessageRow *row);

#endif
