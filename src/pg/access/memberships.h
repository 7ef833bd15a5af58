/*
 * memberships.h
 *		Remembers in which chats one participant takes part, until any participant joins or
 *		leaves a chat.  Not here: whose memberships they are, which access.c and actor.c
 *		decide.
 */
#ifndef CHATCRYPT_MEMBERSHIPS_H
#define CHATCRYPT_MEMBERSHIPS_H

#include "core/bytes.h"

/* Does this participant take part in the chat?  False if the chat does not exist. */
extern bool chatcrypt_memberships_has(const uint8 chat_id[CC_ID_LEN], const char *name);

/* To be called before chatcrypt_memberships_has() is asked about another name. */
extern void chatcrypt_memberships_forget(void);

#endif
