/*
 * errors.h
 *		The one place where a status of the core becomes a PostgreSQL error, and the
 *		errors that several rooms have in common.
 */
#ifndef CHATCRYPT_ERRORS_H
#define CHATCRYPT_ERRORS_H

#include "core/bytes.h"
#include "pg/compat.h"

/*
 * Raises the error of a status; chat_id may be NULL.  A wrong key, damaged data and wrong
 * additional data give the same error.
 */
pg_noreturn extern void chatcrypt_raise(cc_status status, const uint8 *chat_id);

/* The same, but the error also names the message, unless message_id is NULL or nil. */
pg_noreturn extern void chatcrypt_raise_for_message(cc_status status, const uint8 *chat_id,
													const uint8 *message_id);

/* Raises the error for a chat that does not exist. */
pg_noreturn extern void chatcrypt_no_such_chat(const uint8 chat_id[CC_ID_LEN]);

#endif
