/*
 * ids.h
 *		The ids of chats and messages, as SQL has them.
 */
#ifndef CHATCRYPT_IDS_H
#define CHATCRYPT_IDS_H

#include "fmgr.h"
#include "utils/uuid.h"

#include "core/bytes.h"

/* The id that a bigint stands for, in space 0. */
extern void chatcrypt_bigint_id(int64 number, uint8 id[CC_ID_LEN]);

/* For an error: the uuid's text, in the current memory context. */
extern char *chatcrypt_id_text(const uint8 id[CC_ID_LEN]);

/* Raises where the argument is NULL, in a function that is not STRICT: "%s must not be null". */
extern void chatcrypt_refuse_null(FunctionCallInfo fcinfo, int n, const char *what);

/*
 * The first argument, a chat's id as a uuid or as a number, which must not be NULL.  A copy,
 * because the memory of arguments may end with the transaction.
 */
extern pg_uuid_t chatcrypt_chat_argument(FunctionCallInfo fcinfo);
extern pg_uuid_t chatcrypt_chat_argument_bigint(FunctionCallInfo fcinfo);

#endif
