/*
 * newchats.h
 *		Chats that a protected table meets for the first time.
 */
#ifndef CHATCRYPT_NEWCHATS_H
#define CHATCRYPT_NEWCHATS_H

#include "core/bytes.h"

/*
 * Before a value of a chat is sealed: makes the chat where there is none of this id, as
 * create_chat() does, because the application knows nothing of chatcrypt.  Not while an actor is
 * set: whose chat it is must be said.  The caller has asked for the right to write.
 */
extern void chatcrypt_newchats_ensure(const uint8 chat_id[CC_ID_LEN]);

#endif
