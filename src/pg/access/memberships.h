/*
 * memberships.h
 *		In which chats one participant takes part, remembered until somebody joins or leaves.
 *		Whose memberships they are is the caller's to know (access.c, actor.c).
 */
#ifndef CHATCRYPT_MEMBERSHIPS_H
#define CHATCRYPT_MEMBERSHIPS_H

#include "core/bytes.h"

/* False for a chat that does not exist. */
extern bool chatcrypt_memberships_has(const uint8 chat_id[CC_ID_LEN], const char *name);

/* To be called before another name is asked for. */
extern void chatcrypt_memberships_forget(void);

#endif
