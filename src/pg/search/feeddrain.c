/*
 * feeddrain.c
 *		What comes out of the outbox of the external search index: drain_search_feed(),
 *		ack_search_feed() and nack_search_feed().  What goes in is feed.c's; the
 *		text of a batch is made by feedbatch.c.
 *
 * Rows are leased to a batch, in an order that keeps one message in one batch at a time:
 * only the oldest row of a message is given out, SKIP LOCKED keeps consumers apart, and
 * younger rows, of changes that the batch will show already, go with it.
 *
 * What makes the index right in the end is none of this but the version of a document:
 * the number of its batch, drawn before anything is read.  A batch shows each message as
 * it was at its draw or later, and whatever changed after that is noted and so drawn
 * again; an index that refuses versions older than the one it has ends with the last.
 * Numbers are never less than the milliseconds since 1970, for the sake of databases that
 * are restored from a backup.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/search/feed.h"
#include "pg/search/feedbatch.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

#define MOST_MESSAGES	10000

/* Doubles from ten seconds to ten minutes. */
#define PAUSE \
	"clock_timestamp() + least(interval '10 minutes', " \
	"interval '5 seconds' * power(2, least(f.failures + 1, 10)))"

static int64
unix_ms(void)
{
	const int64 epochs = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return (GetCurrentTimestamp() + epochs) / 1000;
}

/*
 * Inside an owner scope.  No two are the same; the lock is held for as long as it takes
 * to move the sequence.
 */
static int64
draw_number(void)
{
	Oid			sequence = chatcrypt_store_relation("search_feed_batch");
	int64		least = unix_ms();
	int64		number = nextval_internal(sequence, false);

	if (number >= least)
		return number;
	LockRelationOid(sequence, ShareUpdateExclusiveLock);
	number = nextval_internal(sequence, false);
	if (number < least)
	{
		(void) DirectFunctionCall2(setval_oid, ObjectIdGetDatum(sequence), Int64GetDatum(least));
		number = nextval_internal(sequence, false);
	}
	UnlockRelationOid(sequence, ShareUpdateExclusiveLock);
	return number;
}

/* ---------- whole chats ---------- */

/*
 * Who remembers that the chat is not fed forgets it now.  The message of the transaction
 * that began to feed it may still be on its way, though what it did can be seen.
 */
static void
have_all_sessions_forget(void)
{
	SharedInvalidationMessage message;

	memset(&message, 0, sizeof(message));
	message.rc.id = SHAREDINVALRELCACHE_ID;
	message.rc.dbId = MyDatabaseId;
	message.rc.relId = chatcrypt_store_relation("search_feed_chat");
	SendSharedInvalidMessages(&message, 1);
}

/*
 * Each new fence is the next transaction id: all that are lower must have ended.  Before
 * this transaction has one, or the chat waits for this transaction too, and so for the next
 * drain.  A fence that is higher came with a dump, from another server.
 */
static void
raise_fences(void)
{
	ChatcryptArg args[2];
	bool		isnull;

	args[1] = (ChatcryptArg) {XID8OID, FullTransactionIdGetDatum(ReadNextFullTransactionId()),
							  false};
	chatcrypt_owner_execute("SELECT array_agg(position) FROM chatcrypt.search_feed "
							"WHERE message_id IS NULL "
							"AND (fence = xid8 '0' OR fence > $1)", &args[1], 1);
	args[0] = (ChatcryptArg) {INT8ARRAYOID, chatcrypt_owner_value(&isnull), false};
	if (isnull)
		return;
	have_all_sessions_forget();
	args[1].value = FullTransactionIdGetDatum(ReadNextFullTransactionId());
	chatcrypt_owner_execute("UPDATE chatcrypt.search_feed SET fence = $2 WHERE position = ANY ($1)",
							args, lengthof(args));
}

/*
 * A chat that is fed no more and was gone over to its end is forgotten, unless somebody
 * is turning it on.
 */
static void
end_chat(Datum position, Datum chat_id)
{
	ChatcryptArg row = {INT8OID, position, false};
	ChatcryptArg chat = {UUIDOID, chat_id, false};

	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed WHERE position = $1", &row, 1);
	if (chatcrypt_owner_execute("SELECT FROM chatcrypt.search_feed_chat WHERE chat_id = $1 "
								"FOR UPDATE SKIP LOCKED", &chat, 1) == 0)
		return;
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed_chat f WHERE chat_id = $1 "
							"AND NOT EXISTS (SELECT FROM chatcrypt.search_policy p "
							"WHERE p.chat_id = f.chat_id AND p.feed) "
							"AND NOT EXISTS (SELECT FROM chatcrypt.search_feed r "
							"WHERE r.chat_id = f.chat_id AND r.message_id IS NULL)",
							&chat, 1);
}

/*
 * Notes the next messages of a chat that is to be gone over.  All messages of one moment
 * are noted together, so that the moment is where to go on.  False where there is none
 * left, or others are at all of them.
 */
static bool
list_some(int most)
{
	ChatcryptArg args[4];
	bool		isnull;
	int64		listed;

	if (chatcrypt_owner_execute("SELECT position, chat_id, after FROM chatcrypt.search_feed "
								"WHERE message_id IS NULL "
								"AND (fence IS NULL OR fence > xid8 '0' "
								"AND fence <= pg_snapshot_xmax(pg_current_snapshot())) "
								"AND NOT EXISTS (SELECT "
								"FROM pg_snapshot_xip(pg_current_snapshot()) AS running "
								"WHERE running < fence) "
								"ORDER BY position LIMIT 1 FOR UPDATE SKIP LOCKED", NULL, 0) == 0)
		return false;
	for (int i = 0; i < 3; i++)
	{
		args[i].value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1,
									  &args[i].isnull);
		args[i].type = SPI_gettypeid(SPI_tuptable->tupdesc, i + 1);
	}
	args[3] = (ChatcryptArg) {INT4OID, Int32GetDatum(most), false};
	chatcrypt_owner_execute("WITH listed AS (SELECT message_id, created_at FROM chatcrypt.message "
							"WHERE chat_id = $2 "
							"AND ($3 IS NULL OR created_at > $3) "
							"ORDER BY created_at FETCH FIRST ($4) ROWS WITH TIES), "
							"noted AS (INSERT INTO chatcrypt.search_feed (message_id, chat_id) "
							"SELECT message_id, $2 FROM listed), "
							"moved AS (UPDATE chatcrypt.search_feed "
							"SET fence = NULL, after = (SELECT max(created_at) FROM listed) "
							"WHERE position = $1) SELECT count(*) FROM listed", args,
							lengthof(args));
	listed = DatumGetInt64(chatcrypt_owner_value(&isnull));
	if (listed < most)
		end_chat(args[0].value, args[1].value);
	return true;
}

/* ---------- leases ---------- */

/* Positions and messages of what the batch may have, as two arrays; false where that is nothing. */
static bool
pick(int most, ChatcryptArg picked[2])
{
	ChatcryptArg limit = {INT4OID, Int32GetDatum(most), false};
	bool		isnull;

	chatcrypt_owner_execute("SELECT array_agg(position), array_agg(message_id), count(*) "
							"FROM (SELECT position, message_id "
							"FROM chatcrypt.search_feed f WHERE message_id IS NOT NULL "
							"AND (due_at IS NULL OR due_at <= clock_timestamp()) "
							"AND position = (SELECT min(o.position) FROM chatcrypt.search_feed o "
							"WHERE o.message_id = f.message_id) "
							"ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED) AS due", &limit, 1);
	picked[0] = (ChatcryptArg) {INT8ARRAYOID, chatcrypt_owner_value(&isnull), false};
	picked[1] = (ChatcryptArg) {UUIDARRAYOID,
								SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2,
											  &isnull), false};
	return !isnull;
}

static int
count_picked(const ChatcryptArg picked[2])
{
	ArrayType  *positions = DatumGetArrayTypeP(picked[0].value);

	return ArrayGetNItems(ARR_NDIM(positions), ARR_DIMS(positions));
}

/* Changes that can be seen by now, and so will be in what the batch says of their messages. */
static void
drop_younger(ChatcryptArg picked[2])
{
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed "
							"WHERE position = ANY (ARRAY(SELECT position "
							"FROM chatcrypt.search_feed "
							"WHERE message_id = ANY ($2) AND position <> ALL ($1) "
							"FOR UPDATE SKIP LOCKED))", picked, 2);
}

static void
lease(const ChatcryptFeedBatch *batch, Datum until)
{
	ChatcryptArg args[] = {
		chatcrypt_feedbatch_positions(batch, CHATCRYPT_FEED_HAS),
		{INT8OID, Int64GetDatum(batch->number), false},
		{TIMESTAMPTZOID, until, false}
	};

	chatcrypt_owner_execute("UPDATE chatcrypt.search_feed SET batch = $2, due_at = $3 "
							"WHERE position = ANY ($1)",
							args, lengthof(args));
}

static void
put_off(const ChatcryptFeedBatch *batch)
{
	ChatcryptArg args[] = {
		chatcrypt_feedbatch_positions(batch, CHATCRYPT_FEED_PUT_OFF),
		{TEXTOID, CStringGetTextDatum(batch->problem), false}
	};

	chatcrypt_owner_execute("UPDATE chatcrypt.search_feed f "
							"SET batch = NULL, failures = f.failures + 1, problem = $2, "
							"due_at = " PAUSE
							" WHERE position = ANY ($1)", args, lengthof(args));
}

/* ---------- functions ---------- */

static void
prepare(ChatcryptRight right, const char *function)
{
	chatcrypt_require(right);
	chatcrypt_refuse_actor(function);
	PreventCommandIfReadOnly(function);
}

/*
 * A snapshot that is older than the number of the batch could show what is older than the
 * number says.
 */
static void
require_read_committed(void)
{
	if (!IsolationUsesXactSnapshot())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("drain_search_feed runs in READ COMMITTED transactions only")));
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const Interval none;

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arguments of drain_search_feed() must not be null")));
	if (PG_GETARG_INT32(0) < 1 || PG_GETARG_INT32(0) > MOST_MESSAGES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a batch has 1 to %d messages", MOST_MESSAGES)));
	if (!DatumGetBool(DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(1),
										  IntervalPGetDatum(&none))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a lease must be longer than nothing")));
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(2)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of the index must not be empty")));
}

/*
 * Inside an owner scope.  Each statement has a snapshot of its own: nothing is read by
 * one from before the draw.
 */
static void
drain(ChatcryptFeedBatch *batch, int most, const Interval *lease_time)
{
	ChatcryptArg picked[2];
	bool		any;

	raise_fences();
	batch->number = draw_number();
	(void) list_some(most);		/* also while there is more than enough else to do */
	any = pick(most, picked);
	while ((!any || count_picked(picked) < most) && list_some(most))
		any = pick(most, picked);
	if (!any)
		return;
	drop_younger(picked);
	chatcrypt_feedbatch_fill(batch, picked);
	if (batch->count[CHATCRYPT_FEED_HAS] > 0)
		lease(batch,
			  DirectFunctionCall2(timestamptz_pl_interval,
								  TimestampTzGetDatum(GetCurrentTimestamp()),
										 PointerGetDatum(lease_time)));
	if (batch->count[CHATCRYPT_FEED_PUT_OFF] > 0)
		put_off(batch);
}

PG_FUNCTION_INFO_V1(chatcrypt_drain_search_feed);

/* drain_search_feed(max_messages integer, lease interval, index text): NDJSON, or NULL for nothing */
Datum
chatcrypt_drain_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptFeedBatch *batch;
	ChatcryptOwnerScope scope;
	text	   *lines;

	prepare(CHATCRYPT_MAY_FEED, "chatcrypt.drain_search_feed()");
	chatcrypt_require_for_plaintext(CHATCRYPT_MAY_FEED);
	require_read_committed();
	check_arguments(fcinfo);
	batch = chatcrypt_feedbatch_new(PG_GETARG_TEXT_PP(2));
	PG_TRY();
	{
		chatcrypt_owner_begin_as(&scope, chatcrypt_store_owner());
		drain(batch, PG_GETARG_INT32(0), PG_GETARG_INTERVAL_P(1));
		chatcrypt_owner_end(&scope);
	}
	PG_CATCH();
	{
		chatcrypt_feedbatch_drop(batch);
		PG_RE_THROW();
	}
	PG_END_TRY();
	lines = chatcrypt_feedbatch_end(batch);
	if (lines == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(lines);
}

/*
 * What of a batch the response calls done: written, deleted, not there to be deleted, or
 * superseded.  Of what an index says nothing but a number of three digits is kept or shown:
 * its words can hold what it was sent.
 */
#define DELETE_DONE \
	"DELETE FROM chatcrypt.search_feed f USING (SELECT coalesce(item -> 'index', " \
	"item -> 'delete') AS said, item ? 'delete' AS deletes " \
	"FROM jsonb_array_elements($2 -> 'items') AS item) AS i WHERE f.batch = $1 " \
	"AND f.message_id::text = said ->> '_id' AND " \
	"(said ->> 'status' ~ '^(2[0-9]{2}|409)$' OR deletes AND said ->> 'status' = '404')"

#define PUT_OFF_REST \
	"WITH said AS (SELECT DISTINCT ON (id) id, status FROM (SELECT " \
	"coalesce(item -> 'index', item -> 'delete') ->> '_id' AS id, " \
	"substring(coalesce(item -> 'index', item -> 'delete') ->> 'status' FROM '^[0-9]{3}$') " \
	"AS status FROM jsonb_array_elements($2 -> 'items') AS item) AS items ORDER BY id, status) " \
	"UPDATE chatcrypt.search_feed f " \
	"SET batch = NULL, failures = f.failures + 1, due_at = " PAUSE ", " \
	"problem = 'the index said ' || coalesce(said.status, 'nothing') " \
	"FROM chatcrypt.search_feed r LEFT JOIN said ON said.id = r.message_id::text " \
	"WHERE r.batch = $1 AND f.batch = $1 AND f.position = r.position"

#define HAS_ITEMS "SELECT jsonb_typeof($1 -> 'items') = 'array'"
#define HAS_NO_ERRORS "SELECT $1 -> 'errors' = 'false'"

static bool
response_is(const char *question, const ChatcryptArg *response)
{
	bool		isnull;
	Datum		answer;

	chatcrypt_owner_execute(question, response, 1);
	answer = chatcrypt_owner_value(&isnull);
	return !isnull && DatumGetBool(answer);
}

/* Inside an owner scope. */
static uint64
ack_what_was_taken(const ChatcryptArg args[2])
{
	uint64		done;

	if (!response_is(HAS_ITEMS, &args[1]))
	{
		if (response_is(HAS_NO_ERRORS, &args[1]))
			return chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed WHERE batch = $1",
										   args, 1);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the response says nothing of the messages of the batch"),
				 errhint("Give what the _bulk API answered, with its items.")));
	}
	chatcrypt_owner_without_loops();
	done = chatcrypt_owner_execute(DELETE_DONE, args, 2);
	chatcrypt_owner_execute(PUT_OFF_REST, args, 2);
	return done;
}

PG_FUNCTION_INFO_V1(chatcrypt_ack_search_feed);

/* ack_search_feed(batch bigint, response jsonb): how many are done */
Datum
chatcrypt_ack_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptArg args[2];
	ChatcryptOwnerScope scope;
	uint64		done;

	prepare(CHATCRYPT_MAY_FEED, "chatcrypt.ack_search_feed()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	args[0] = (ChatcryptArg) {INT8OID, PG_GETARG_DATUM(0), false};
	args[1] = (ChatcryptArg) {JSONBOID, PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
							  PG_ARGISNULL(1)};
	chatcrypt_owner_begin(&scope);
	if (PG_ARGISNULL(1))
		done = chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed WHERE batch = $1", args,
									   1);
	else
		done = ack_what_was_taken(args);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT64((int64) done);
}

PG_FUNCTION_INFO_V1(chatcrypt_nack_search_feed);

/* nack_search_feed(batch bigint): how many are given out again */
Datum
chatcrypt_nack_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptArg batch = {INT8OID, PG_GETARG_DATUM(0), false};
	ChatcryptOwnerScope scope;
	uint64		released;

	prepare(CHATCRYPT_MAY_FEED, "chatcrypt.nack_search_feed()");
	chatcrypt_owner_begin(&scope);
	released =
		chatcrypt_owner_execute("UPDATE chatcrypt.search_feed SET batch = NULL, due_at = NULL "
								"WHERE batch = $1", &batch, 1);
	chatcrypt_owner_end(&scope);
	PG_RETURN_INT64((int64) released);
}
