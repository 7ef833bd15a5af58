/*
 * searchcalls.c
 *		search() as SQL has it: of one chat or of an array, by uuid or by number.  All of it
 *		is C, because a function in SQL would keep what it gets in a file where that is large.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/search/searching.h"

#define MOST_CHATS	10000

static void
refuse_argument(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}

/* Before anything is read of the arguments. */
static void
prepare(FunctionCallInfo fcinfo)
{
	chatcrypt_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		refuse_argument("the chats, the query and the limit of a search must not be null");
}

static Datum *
chat_arguments(ArrayType *chats, Oid type, int len, bool by_value, char alignment, int *nchats)
{
	Datum	   *ids;
	bool	   *nulls;

	if (ArrayGetNItems(ARR_NDIM(chats), ARR_DIMS(chats)) > MOST_CHATS)
		refuse_argument("a search is in 10000 chats at most");
	deconstruct_array(chats, type, len, by_value, alignment, &ids, &nulls, nchats);
	for (int i = 0; i < *nchats; i++)
		if (nulls[i])
			refuse_argument("the id of a chat must not be null");
	return ids;
}

PG_FUNCTION_INFO_V1(chatcrypt_search);

/* search(chats uuid[], query text, "limit" integer, before timestamptz, before_id uuid) */
Datum
chatcrypt_search(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *chats;
	Datum	   *ids;
	int			nchats;

	prepare(fcinfo);
	ids = chat_arguments(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &nchats);
	chats = palloc(sizeof(pg_uuid_t) * Max(nchats, 1));
	for (int i = 0; i < nchats; i++)
		chats[i] = *DatumGetUUIDP(ids[i]);
	chatcrypt_search_chats(fcinfo, chats, nchats);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(chatcrypt_search_bigints);

Datum
chatcrypt_search_bigints(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *chats;
	Datum	   *ids;
	int			nchats;

	prepare(fcinfo);
	ids = chat_arguments(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &nchats);
	chats = palloc(sizeof(pg_uuid_t) * Max(nchats, 1));
	for (int i = 0; i < nchats; i++)
		chatcrypt_bigint_id(DatumGetInt64(ids[i]), chats[i].data);
	chatcrypt_search_chats(fcinfo, chats, nchats);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(chatcrypt_search_chat);

Datum
chatcrypt_search_chat(PG_FUNCTION_ARGS)
{
	pg_uuid_t	chat;

	prepare(fcinfo);
	chat = *PG_GETARG_UUID_P(0);
	chatcrypt_search_chats(fcinfo, &chat, 1);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(chatcrypt_search_chat_bigint);

Datum
chatcrypt_search_chat_bigint(PG_FUNCTION_ARGS)
{
	pg_uuid_t	chat;

	prepare(fcinfo);
	chatcrypt_bigint_id(PG_GETARG_INT64(0), chat.data);
	chatcrypt_search_chats(fcinfo, &chat, 1);
	return (Datum) 0;
}
