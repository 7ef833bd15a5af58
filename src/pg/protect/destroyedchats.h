/*
 * destroyedchats.h
 *		Chats whose keys were destroyed: with chatcrypt.on_decrypt_error = null_destroyed, values
 *		of protected columns are NULL there.
 */
#ifndef CHATCRYPT_DESTROYEDCHATS_H
#define CHATCRYPT_DESTROYEDCHATS_H

#include "core/bytes.h"

/* Whether there is any such chat: asked of every row, and so answered from memory. */
extern bool chatcrypt_destroyedchats_exist(void);

extern bool chatcrypt_destroyedchats_has(const uint8 chat_id[CC_ID_LEN]);

#endif
