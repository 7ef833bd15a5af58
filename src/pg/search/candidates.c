/*
 * candidates.c
 *		Reads the candidates of a search from the index: see candidates.h.
 *
 * The index is read under the snapshot of the calling statement.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "pg/compat.h"
#include "pg/search/candidates.h"
#include "pg/store/owner.h"

/*
 * $1 is the chat, $2 and $3 the place that candidates must be older than, $4 the size of the
 * batch.  The parameters of the condition follow.
 */
#define FIXED_PARAMETERS	4

static const char by_token[] =
"SELECT t.message_id, t.created_at FROM chatcrypt.search_token t "
"WHERE t.chat_id = $1 AND (t.created_at, t.message_id) < ($2, $3) AND %s "
"ORDER BY t.created_at DESC, t.message_id DESC LIMIT $4";

static const char by_time[] =
"SELECT m.message_id, m.created_at FROM chatcrypt.sealed_message m %s"
"WHERE m.chat_id = $1 AND (m.created_at, m.message_id) < ($2, $3) AND m.created_at <= $2 %s%s "
"ORDER BY m.created_at DESC, m.message_id DESC LIMIT $4";

static char *
make_statement(const ChatcryptIndexCondition *condition)
{
	if (condition->indexed)
		return psprintf(by_token, condition->sql);
	if (condition->sql != NULL)
		return psprintf(by_time, "JOIN chatcrypt.search_token t USING (message_id) ", "AND ",
						condition->sql);
	return psprintf(by_time, "", "", "");
}

void
chatcrypt_candidates_begin(ChatcryptCandidates *candidates, const uint8 chat_id[CC_ID_LEN],
						   const ChatcryptSearchPolicy *policy, const ChatcryptQuery *query,
						   const ChatcryptPlace *before)
{
	memset(candidates, 0, sizeof(*candidates));
	candidates->chat_id = chat_id;
	candidates->after = *before;
	chatcrypt_indexcondition_make(query, chat_id, policy, FIXED_PARAMETERS + 1,
								  &candidates->condition);
	candidates->statement = make_statement(&candidates->condition);
}

static void
run_statement(const ChatcryptCandidates *candidates, int count)
{
	const List *arguments = candidates->condition.arguments;
	int			nargs = FIXED_PARAMETERS + list_length(arguments);
	Oid		   *types = palloc(sizeof(Oid) * nargs);
	Datum	   *values = palloc(sizeof(Datum) * nargs);
	int			result;

	types[0] = types[2] = UUIDOID;
	types[1] = TIMESTAMPTZOID;
	types[3] = INT4OID;
	values[0] = PointerGetDatum(candidates->chat_id);
	values[1] = TimestampTzGetDatum(candidates->after.created_at);
	values[2] = PointerGetDatum(&candidates->after.message_id);
	values[3] = Int32GetDatum(count);
	for (int i = FIXED_PARAMETERS; i < nargs; i++)
	{
		types[i] = INT8ARRAYOID;
		values[i] = PointerGetDatum(list_nth(arguments, i - FIXED_PARAMETERS));
	}
	result = SPI_execute_with_args(candidates->statement, nargs, types, values, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not search: %s", SPI_result_code_string(result));
}

/* Copies what the statement gave into the memory context. */
static void
take_batch(ChatcryptCandidates *candidates, MemoryContext context)
{
	int			count = (int) SPI_processed;

	candidates->count = count;
	candidates->ids = MemoryContextAlloc(context, sizeof(Datum) * Max(count, 1));
	candidates->places = MemoryContextAlloc(context, sizeof(ChatcryptPlace) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		ChatcryptPlace *place = &candidates->places[i];
		bool		isnull;

		place->message_id = *DatumGetUUIDP(chatcrypt_owner_column(i, 1, &isnull));
		place->created_at = DatumGetTimestampTz(chatcrypt_owner_column(i, 2, &isnull));
		candidates->ids[i] = PointerGetDatum(&place->message_id);
	}
}

void
chatcrypt_candidates_next(ChatcryptCandidates *candidates, int count)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_by_index();
	run_statement(candidates, count);
	take_batch(candidates, context);
	chatcrypt_owner_end(&scope);
	candidates->at_end = candidates->count < count;
	if (candidates->count > 0)
		candidates->after = candidates->places[candidates->count - 1];
}
