/*
 * ids.h
 *		The ids of chats, messages and files, as SQL has them.
 */
#ifndef CHATCRYPT_IDS_H
#define CHATCRYPT_IDS_H

#include "fmgr.h"
#include "utils/array.h"
#include "utils/uuid.h"

#include "core/bytes.h"

/* The id that a bigint stands for, in space 0. */
extern void chatcrypt_id_of_bigint(int64 number, uint8 id[CC_ID_LEN]);

/* An id that is written as a uuid or as a number; an error for anything else, which it does not show. */
extern void chatcrypt_id_parse(const char *text, uint8 id[CC_ID_LEN]);

/* The reverse; false for an id that stands for none. */
extern bool chatcrypt_id_number(const uint8 id[CC_ID_LEN], int64 *number);

/*
 * For an error: the number that the id stands for, or else the uuid, in the current memory
 * context.  Each function that takes an id takes this text.
 */
extern char *chatcrypt_id_text(const uint8 id[CC_ID_LEN]);

/* number_of(id uuid) in SQL, which the planner's hook looks for. */
extern PGDLLEXPORT Datum chatcrypt_number_of(PG_FUNCTION_ARGS);

/* For data: always the uuid, in the current memory context. */
extern char *chatcrypt_id_uuid_text(const uint8 id[CC_ID_LEN]);

/* Raises where the argument is NULL, in a function that is not STRICT: "%s must not be null". */
extern void chatcrypt_id_refuse_null(FunctionCallInfo fcinfo, int n, const char *what);

/*
 * The first argument, a chat's id, which must not be NULL.  A copy, because the memory of
 * arguments may end with the transaction.
 */
extern pg_uuid_t chatcrypt_id_chat_argument(FunctionCallInfo fcinfo);

/*
 * The first argument, an array of chats' ids, none of them NULL: a uuid[] of our own.  Its
 * ARR_DATA_PTR() is the ids, one after the other.
 */
extern ArrayType *chatcrypt_id_chats_argument(FunctionCallInfo fcinfo, int *count);

/* A uuid[] of ids that stand one after the other. */
extern ArrayType *chatcrypt_id_array(const uint8 *ids, int count);

#endif
