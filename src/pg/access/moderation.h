/*
 * moderation.h
 *		In whose name an actor writes, and whose messages and files it may change.
 *
 * These checks apply while an actor is set; without one nothing is refused here.
 */
#ifndef CHATCRYPT_MODERATION_H
#define CHATCRYPT_MODERATION_H

#include "postgres.h"

#include "core/bytes.h"

/*
 * The sender of a message or file that is being written: the actor, or without an actor the
 * given name, which may be NULL.  Raises if the given name is not that of the actor.
 */
extern const text *chatcrypt_moderation_sender(const text *given);

/*
 * May the actor change and delete what this sender sent?  The sender may, and so may every
 * participant if the chat's moderation is "participants".  A NULL sender is no actor.
 */
extern bool chatcrypt_moderation_may_change(const uint8 chat_id[CC_ID_LEN], const text *sender);

/* Raises if the actor may not.  what is "message" or "attachment", for the error. */
extern void chatcrypt_moderation_require_own(const char *what, const uint8 chat_id[CC_ID_LEN],
											 const text *sender);

/* Raises unless the actor may remove this participant from the chat. */
extern void chatcrypt_moderation_require_may_remove(const uint8 chat_id[CC_ID_LEN],
													const text *participant);

#endif
