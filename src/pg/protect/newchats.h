/*
 * newchats.h
 *		Makes the chats whose first value a protected table stores.
 */
#ifndef CHATCRYPT_NEWCHATS_H
#define CHATCRYPT_NEWCHATS_H

#include "core/bytes.h"

/*
 * Called before a value is sealed: makes the chat if it does not exist, as create_chat() does,
 * because the application knows nothing of chatcrypt.  It makes none while an actor is set, because
 * the chat's participants would be unknown.  The caller has checked the right to write.
 */
extern void chatcrypt_newchats_ensure(const uint8 chat_id[CC_ID_LEN]);

#endif
