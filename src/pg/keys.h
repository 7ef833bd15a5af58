/*
 * keys.h
 *		What is done to the keys of a chat that exists.
 */
#ifndef CHATCRYPT_KEYS_H
#define CHATCRYPT_KEYS_H

#include "core/bytes.h"

/* Gives the chat a new key that seals from now on; its version.  The caller has checked rights. */
extern uint32 chatcrypt_rotate(const uint8 chat_id[CC_ID_LEN]);

/* Raises: there is no such chat. */
extern void chatcrypt_no_such_chat(const uint8 chat_id[CC_ID_LEN]) pg_attribute_noreturn();

/* Inside an owner scope: keeps two changes of one chat's keys apart, and no writer of messages waiting. */
extern void chatcrypt_lock_chat(const uint8 chat_id[CC_ID_LEN]);

#endif
