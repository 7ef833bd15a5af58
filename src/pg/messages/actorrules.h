/*
 * actorrules.h
 *		What an actor may write of a message; without an actor nothing is refused here.
 */
#ifndef CHATCRYPT_ACTORRULES_H
#define CHATCRYPT_ACTORRULES_H

#include "pg/messages/messages.h"

/* For a new message. */
extern void chatcrypt_actorrules_write(ChatcryptMessageRow *row);

/* For one that is there. */
extern void chatcrypt_actorrules_check_change(const ChatcryptMessageRow *old,
											  const ChatcryptMessageRow *given);

#endif
