/*
 * searchcalls.c
 *		search() as SQL has it: of one chat or of an array of chats.
 */
#include "postgres.h"

#include "utils/array.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/search/search.h"

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

PG_FUNCTION_INFO_V1(chatcrypt_search);

/* search(chat_ids any_id[], query text, max_messages integer, before timestamptz, before_id any_id) */
Datum
chatcrypt_search(PG_FUNCTION_ARGS)
{
	ArrayType  *chats;
	int			nchats;

	prepare(fcinfo);
	chats = chatcrypt_chats_argument(fcinfo, &nchats);
	if (nchats > MOST_CHATS)
		refuse_argument("a search is in 10000 chats at most");
	chatcrypt_search_chats(fcinfo, (pg_uuid_t *) ARR_DATA_PTR(chats), nchats);
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
