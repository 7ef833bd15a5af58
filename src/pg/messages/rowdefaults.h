/*
 * rowdefaults.h
 *		What a new message has where its INSERT gave nothing, or where an actor has no choice.
 */
#ifndef CHATCRYPT_ROWDEFAULTS_H
#define CHATCRYPT_ROWDEFAULTS_H

#include "pg/messages/messages.h"

/* Raises for columns that are not for the writer to give, and for a chat that is not said. */
extern void chatcrypt_rowdefaults_fill(ChatcryptMessageRow *row);

#endif
