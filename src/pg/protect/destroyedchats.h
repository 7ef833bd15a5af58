/*
 * destroyedchats.h
 *		Chats whose keys were destroyed: with chatcrypt.on_decrypt_error = null_destroyed, their
 *		values in protected columns are shown as NULL.
 */
#ifndef CHATCRYPT_DESTROYEDCHATS_H
#define CHATCRYPT_DESTROYEDCHATS_H

#include "core/bytes.h"

/* Whether any such chat exists.  Answered from memory, because it is asked for every row. */
extern bool chatcrypt_destroyedchats_exist(void);

/* Whether this chat is one of them. */
extern bool chatcrypt_destroyedchats_has(const uint8 chat_id[CC_ID_LEN]);

#endif
