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

/* Makes the id that stands for a bigint, in id space 0. */
extern void chatcrypt_id_of_bigint(int64 number, uint8 id[CC_ID_LEN]);

/*
 * Reads an id that is written as a uuid or as a number.  Raises for anything else, without
 * showing the text.
 */
extern void chatcrypt_id_parse(const char *text, uint8 id[CC_ID_LEN]);

/* The number that an id stands for, in id space 0; false if it stands for none. */
extern bool chatcrypt_id_number(const uint8 id[CC_ID_LEN], int64 *number);

/*
 * For error messages: the number that the id stands for, or else the uuid, in the current
 * memory context.  Every function that takes an id accepts this text.
 */
extern char *chatcrypt_id_text(const uint8 id[CC_ID_LEN]);

/* number_of(id uuid) in SQL, which the planner's hook looks for. */
extern PGDLLEXPORT Datum chatcrypt_number_of(PG_FUNCTION_ARGS);

/* For data: the text of the uuid, even if the id stands for a number.  In the current context. */
extern char *chatcrypt_id_uuid_text(const uint8 id[CC_ID_LEN]);

/* In a function that is not STRICT, raises "%s must not be null" if argument n is NULL. */
extern void chatcrypt_id_refuse_null(FunctionCallInfo fcinfo, int n, const char *what);

/*
 * The first argument, the id of a chat; raises if it is NULL.  The result is a copy, because
 * the memory of arguments may end with the transaction.
 */
extern pg_uuid_t chatcrypt_id_chat_argument(FunctionCallInfo fcinfo);

/*
 * The first argument, an array of ids of chats, as a uuid[] that is a copy; raises if it or
 * an element is NULL.  ARR_DATA_PTR() of the result gives the ids, one after the other.
 */
extern ArrayType *chatcrypt_id_chats_argument(FunctionCallInfo fcinfo, int *count);

/* Makes a uuid[] of ids that lie one after the other. */
extern ArrayType *chatcrypt_id_array(const uint8 *ids, int count);

#endif
