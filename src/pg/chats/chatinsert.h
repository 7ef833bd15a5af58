/*
 * chatinsert.h
 *		Refuses INSERT into the view chatcrypt.chats.
 */
#ifndef CHATCRYPT_CHATINSERT_H
#define CHATCRYPT_CHATINSERT_H

extern void chatcrypt_chatinsert_install_hooks(void);

#endif
