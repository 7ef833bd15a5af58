/*
 * errors.h
 *		The one place where a status of the core becomes an error of PostgreSQL, and the
 *		errors that several rooms have in common.
 */
#ifndef CHATCRYPT_ERRORS_H
#define CHATCRYPT_ERRORS_H

#include "core/bytes.h"
#include "pg/compat.h"

/* Raises; chat_id may be NULL. Wrong key, damaged data and wrong aad read the same. */
pg_noreturn extern void chatcrypt_raise(cc_status status, const uint8 *chat_id);

/* The same, and names the message too, unless message_id is NULL or nil. */
pg_noreturn extern void chatcrypt_raise_for_message(cc_status status, const uint8 *chat_id,
													const uint8 *message_id);

/* Raises for a chat that is not there. */
pg_noreturn extern void chatcrypt_no_such_chat(const uint8 chat_id[CC_ID_LEN]);

#endif
