/*
 * actorrules.h
 *		What an actor may write of a message.  Without an actor nothing is refused here.
 */
#ifndef CHATCRYPT_ACTORRULES_H
#define CHATCRYPT_ACTORRULES_H

#include "pg/messages/messages.h"

/* For a new message: fills in the sender and clears the time, or raises an error. */
extern void chatcrypt_actorrules_write(ChatcryptMessageRow *row);

/* For a change of an existing message: raises an error where the actor may not make it. */
extern void chatcrypt_actorrules_check_change(const ChatcryptMessageRow *old,
											  const ChatcryptMessageRow *given);

#endif
