/*
 * ids.c
 *		The ids of chats and messages, as SQL has them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "core/id.h"
#include "pg/base/ids.h"

void
chatcrypt_bigint_id(int64 number, uint8 id[CC_ID_LEN])
{
	if (cc_id_from_int64(0, number, id) != CC_OK)
		elog(ERROR, "could not make an id of a bigint");
}

char *
chatcrypt_id_text(const uint8 id[CC_ID_LEN])
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, PointerGetDatum(id)));
}

PG_FUNCTION_INFO_V1(chatcrypt_id);
PG_FUNCTION_INFO_V1(chatcrypt_id_in_space);

/* id(number bigint): the uuid that stands for a bigint id.  LEAKPROOF: it takes any number. */
Datum
chatcrypt_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	chatcrypt_bigint_id(PG_GETARG_INT64(0), id->data);
	PG_RETURN_UUID_P(id);
}

/* id(number bigint, space bigint): the same of another space. */
Datum
chatcrypt_id_in_space(PG_FUNCTION_ARGS)
{
	int64		space = PG_GETARG_INT64(1);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (space < 0 || cc_id_from_int64((uint64) space, PG_GETARG_INT64(0), id->data) != CC_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("an id space is a number from 0 to %lld", (long long) CC_ID_SPACE_MAX)));
	PG_RETURN_UUID_P(id);
}

void
chatcrypt_refuse_null(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

pg_uuid_t
chatcrypt_chat_argument(FunctionCallInfo fcinfo)
{
	chatcrypt_refuse_null(fcinfo, 0, "the id of the chat");
	return *PG_GETARG_UUID_P(0);
}

pg_uuid_t
chatcrypt_chat_argument_bigint(FunctionCallInfo fcinfo)
{
	pg_uuid_t	id;

	chatcrypt_refuse_null(fcinfo, 0, "the id of the chat");
	chatcrypt_bigint_id(PG_GETARG_INT64(0), id.data);
	return id;
}
