/*
 * putmessages.c
 *		put_messages(): stores many messages in one call, whose ids may exist already.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/messages/upsert.h"

/* The arguments that are arrays, in their order. */
static const struct
{
	int			column;
	const char *name;
	bool		optional;
} arguments[] = {
	{MESSAGE_CHAT_ID, "chat_ids", false},
	{MESSAGE_ID, "message_ids", false},
	{MESSAGE_BODY, "bodies", false},
	{MESSAGE_SENDER, "senders", true},
	{MESSAGE_CREATED_AT, "created_ats", true},
	{MESSAGE_EXPIRES_AT, "expires_ats", true}
};

/* The messages to store, by column; an array that was not given has no values. */
typedef struct Messages
{
	Datum	   *values[MESSAGE_COLUMNS];
	bool	   *nulls[MESSAGE_COLUMNS];
	int			count;
} Messages;

static void
take_array(Messages *messages, int n, ArrayType *array)
{
	int			column = arguments[n].column;
	int			count;
	int16		length;
	bool		by_value;
	char		alignment;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have one dimension", arguments[n].name)));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &alignment);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, alignment,
					  &messages->values[column], &messages->nulls[column], &count);
	if (n == 0)
		messages->count = count;
	if (count != messages->count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s has %d elements, and chat_ids has %d", arguments[n].name, count,
						messages->count),
				 errhint("Give one element of each array for each message.")));
}

static void
take_arguments(FunctionCallInfo fcinfo, Messages *messages)
{
	for (int n = 0; n < (int) lengthof(arguments); n++)
	{
		if (!arguments[n].optional)
			chatcrypt_id_refuse_null(fcinfo, n, arguments[n].name);
		if (!PG_ARGISNULL(n))
			take_array(messages, n, PG_GETARG_ARRAYTYPE_P(n));
	}
}

static bool
wants_replacement(FunctionCallInfo fcinfo, int n)
{
	char	   *wanted = PG_ARGISNULL(n) ? "null" : text_to_cstring(PG_GETARG_TEXT_PP(n));

	if (strcmp(wanted, "replace") != 0 && strcmp(wanted, "ignore") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_duplicate must be replace or ignore")));
	return wanted[0] == 'r';
}

static void
message_at(const Messages *messages, int i, ChatcryptMessageRow *row)
{
	for (int column = 0; column < MESSAGE_COLUMNS; column++)
	{
		row->nulls[column] = messages->values[column] == NULL || messages->nulls[column][i];
		row->values[column] = row->nulls[column] ? (Datum) 0 : messages->values[column][i];
	}
}

static void
put_all(const Messages *messages, bool replace, int64 counts[CHATCRYPT_PUT_OUTCOMES])
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt message",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(row_context);
	ChatcryptMessageRow row;

	for (int i = 0; i < messages->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		message_at(messages, i, &row);
		counts[chatcrypt_upsert_put(&row, replace)]++;
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(row_context);
}

PG_FUNCTION_INFO_V1(chatcrypt_put_messages);

/*
 * put_messages(chats any_id[], messages any_id[], bodies, senders, created_ats, expires_ats,
 * on_duplicate): how many were inserted, replaced, ignored, refused
 */
Datum
chatcrypt_put_messages(PG_FUNCTION_ARGS)
{
	Messages	messages = {0};
	int64		counts[CHATCRYPT_PUT_OUTCOMES] = {0};
	Datum		values[CHATCRYPT_PUT_OUTCOMES];
	bool		nulls[CHATCRYPT_PUT_OUTCOMES] = {0};
	TupleDesc	desc;

	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "the function must give a row");
	take_arguments(fcinfo, &messages);
	put_all(&messages, wants_replacement(fcinfo, lengthof(arguments)), counts);
	for (int i = 0; i < CHATCRYPT_PUT_OUTCOMES; i++)
		values[i] = Int64GetDatum(counts[i]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
