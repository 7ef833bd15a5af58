/*
 * moderation.h
 *		In whose name an actor writes, and whose messages and files it may change.
 *
 * All of it holds while an actor is set; without one nothing is refused here.
 */
#ifndef CHATCRYPT_MODERATION_H
#define CHATCRYPT_MODERATION_H

#include "postgres.h"

#include "core/bytes.h"

/*
 * The sender of what is written now: the actor, or without one what is given, which may be
 * NULL.  Raises where somebody else is given.
 */
extern const text *chatcrypt_moderation_sender(const text *given);

/*
 * May what this sender sent be changed and deleted?  By the sender, and by participants of
 * a chat that says so.  NULL is nobody's.
 */
extern bool chatcrypt_moderation_may_change(const uint8 chat_id[CC_ID_LEN], const text *sender);

/* Raises where it may not.  what is its kind, for the error. */
extern void chatcrypt_moderation_require_own(const char *what, const uint8 chat_id[CC_ID_LEN],
											 const text *sender);

/* Raises unless the actor may take this participant out of a chat. */
extern void chatcrypt_moderation_require_may_remove(const uint8 chat_id[CC_ID_LEN],
													const text *participant);

#endif
