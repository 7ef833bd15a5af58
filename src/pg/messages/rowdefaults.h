/*
 * rowdefaults.h
 *		Fills in a new message where its INSERT gave nothing, or where an actor has no choice.
 */
#ifndef CHATCRYPT_ROWDEFAULTS_H
#define CHATCRYPT_ROWDEFAULTS_H

#include "pg/messages/messages.h"

/* Raises an error for a column that is not for the writer to give, and for a missing chat. */
extern void chatcrypt_rowdefaults_fill(ChatcryptMessageRow *row);

#endif
