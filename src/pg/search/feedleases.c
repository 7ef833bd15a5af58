/*
 * feedleases.c
 *		Leases of the outbox of the external search index: see feedleases.h.
 *
 * Of what an index answers, nothing but a status of three digits is kept or shown, because its
 * text can contain what the index was sent.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/search/feedleases.h"
#include "pg/store/owner.h"

/*
 * When a row that failed is tried again.  The pause begins with ten seconds and doubles with each
 * failure, up to ten minutes.
 */
#define NEXT_TRY \
	"clock_timestamp() + least(interval '10 minutes', " \
	"interval '5 seconds' * power(2, least(f.failures + 1, 10)))"

void
chatcrypt_feedleases_require(const char *function)
{
	chatcrypt_rights_require(CHATCRYPT_MAY_FEED);
	chatcrypt_actor_refuse(function);
	PreventCommandIfReadOnly(function);
}

void
chatcrypt_feedleases_begin(const ChatcryptFeedBatch *batch, TimestampTz until)
{
	ChatcryptArg args[] = {
		chatcrypt_feedbatch_positions(batch, CHATCRYPT_FEED_HAS),
		{INT8OID, Int64GetDatum(batch->number), false},
		{TIMESTAMPTZOID, TimestampTzGetDatum(until), false}
	};

	chatcrypt_owner_execute("UPDATE chatcrypt.search_feed SET batch = $2, due_at = $3 "
							"WHERE position = ANY ($1)",
							args, lengthof(args));
}

void
chatcrypt_feedleases_put_off(const ChatcryptFeedBatch *batch)
{
	ChatcryptArg args[] = {
		chatcrypt_feedbatch_positions(batch, CHATCRYPT_FEED_PUT_OFF),
		{TEXTOID, CStringGetTextDatum(batch->problem), false}
	};

	chatcrypt_owner_execute("UPDATE chatcrypt.search_feed f "
							"SET batch = NULL, failures = f.failures + 1, problem = $2, "
							"due_at = " NEXT_TRY " "
							"WHERE position = ANY ($1)",
							args, lengthof(args));
}

/* ---------- acknowledging ---------- */

/*
 * $1 is the batch and $2 the response.  An item of the response is done if the document was
 * written or deleted, if it was not there to be deleted, or if the index has a newer version.
 */
#define DELETE_DONE \
	"DELETE FROM chatcrypt.search_feed f " \
	"USING (SELECT coalesce(item -> 'index', item -> 'delete') AS said, " \
	"item ? 'delete' AS deletes " \
	"FROM jsonb_array_elements($2 -> 'items') AS item) AS i " \
	"WHERE f.batch = $1 AND f.message_id::text = said ->> '_id' " \
	"AND (said ->> 'status' ~ '^(2[0-9]{2}|409)$' OR deletes AND said ->> 'status' = '404')"

#define PUT_OFF_REST \
	"WITH said AS (SELECT DISTINCT ON (id) id, status " \
	"FROM (SELECT coalesce(item -> 'index', item -> 'delete') ->> '_id' AS id, " \
	"substring(coalesce(item -> 'index', item -> 'delete') ->> 'status' FROM '^[0-9]{3}$') " \
	"AS status " \
	"FROM jsonb_array_elements($2 -> 'items') AS item) AS items " \
	"ORDER BY id, status) " \
	"UPDATE chatcrypt.search_feed f " \
	"SET batch = NULL, failures = f.failures + 1, due_at = " NEXT_TRY ", " \
	"problem = coalesce('the index answered with status ' || said.status, " \
	"'the response has no status for the message') " \
	"FROM chatcrypt.search_feed r LEFT JOIN said ON said.id = r.message_id::text " \
	"WHERE r.batch = $1 AND f.batch = $1 AND f.position = r.position"

#define HAS_ITEMS "SELECT jsonb_typeof($1 -> 'items') = 'array'"
#define HAS_NO_ERRORS "SELECT $1 -> 'errors' = 'false'"
#define DELETE_ALL "DELETE FROM chatcrypt.search_feed WHERE batch = $1"

static bool
response_is(const char *question, const ChatcryptArg *response)
{
	bool		isnull;
	Datum		answer;

	chatcrypt_owner_execute(question, response, 1);
	answer = chatcrypt_owner_value(&isnull);
	return !isnull && DatumGetBool(answer);
}

/* args are the batch and the response; the number of messages that are done. */
static uint64
ack_response(const ChatcryptArg args[2])
{
	uint64		done;

	if (!response_is(HAS_ITEMS, &args[1]))
	{
		if (response_is(HAS_NO_ERRORS, &args[1]))
			return chatcrypt_owner_execute(DELETE_ALL, args, 1);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the response does not say what became of the messages of the batch"),
				 errhint("Pass the answer of the _bulk API, with its items.")));
	}
	chatcrypt_owner_without_loops();
	done = chatcrypt_owner_execute(DELETE_DONE, args, 2);
	chatcrypt_owner_execute(PUT_OFF_REST, args, 2);
	return done;
}

PG_FUNCTION_INFO_V1(chatcrypt_ack_search_feed);

/* ack_search_feed(batch bigint, response jsonb): how many messages are done */
Datum
chatcrypt_ack_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptArg args[2];
	ChatcryptOwnerScope scope;
	uint64		done;

	chatcrypt_feedleases_require("chatcrypt.ack_search_feed()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	args[0] = (ChatcryptArg) {INT8OID, PG_GETARG_DATUM(0), false};
	args[1] = (ChatcryptArg) {JSONBOID, PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
							  PG_ARGISNULL(1)};
	chatcrypt_owner_begin(&scope);
	done = PG_ARGISNULL(1) ? chatcrypt_owner_execute(DELETE_ALL, args, 1) : ack_response(args);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT64((int64) done);
}

PG_FUNCTION_INFO_V1(chatcrypt_nack_search_feed);

/* nack_search_feed(batch bigint): how many messages are handed out again */
Datum
chatcrypt_nack_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptArg batch = {INT8OID, PG_GETARG_DATUM(0), false};
	ChatcryptOwnerScope scope;
	uint64		released;

	chatcrypt_feedleases_require("chatcrypt.nack_search_feed()");
	chatcrypt_owner_begin(&scope);
	released = chatcrypt_owner_execute("UPDATE chatcrypt.search_feed "
									   "SET batch = NULL, due_at = NULL "
									   "WHERE batch = $1",
									   &batch, 1);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT64((int64) released);
}
