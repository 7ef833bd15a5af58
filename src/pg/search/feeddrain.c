/*
 * feeddrain.c
 *		drain_search_feed(): hands out what the external search index has not been told.
 *
 * feed.c writes the outbox, feedchats.c takes apart rows that stand for whole chats,
 * feedbatch.c writes the text of a batch, and feedleases.c keeps what was handed out until it
 * is acknowledged.
 *
 * A message is in one batch at a time.  Of each message only the oldest row is handed out, and
 * SKIP LOCKED keeps consumers apart.  Younger rows of the message, whose changes the batch
 * already shows, are deleted with it.
 *
 * What makes the index right in the end is the version of a document, which is the number of
 * its batch, drawn before anything is read.  A batch shows each message as it was at the draw
 * or later.  A change after that is noted and handed out in a later batch, and an index that
 * refuses versions older than its own ends with the last one.  Numbers are never less than the
 * milliseconds since 1970, so that they also rise when a database is restored from a backup.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/search/feedbatch.h"
#include "pg/search/feedchats.h"
#include "pg/search/feedleases.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

#define MOST_MESSAGES	10000

/* ---------- numbers of batches ---------- */

static int64
unix_ms(void)
{
	const int64 epochs = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return (GetCurrentTimestamp() + epochs) / 1000;
}

/*
 * Inside an owner scope.  Each number is drawn once.  The lock is held only while the sequence
 * is moved.
 */
static int64
draw_number(void)
{
	Oid			sequence = chatcrypt_relations_find("search_feed_batch");
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

/* ---------- rows ---------- */

#define PICK_ROWS \
	"SELECT array_agg(position), array_agg(message_id), count(*) " \
	"FROM (SELECT position, message_id FROM chatcrypt.search_feed f " \
	"WHERE message_id IS NOT NULL " \
	"AND (due_at IS NULL OR due_at <= clock_timestamp()) " \
	"AND position = (SELECT min(o.position) FROM chatcrypt.search_feed o " \
	"WHERE o.message_id = f.message_id) " \
	"ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED) AS due"

/* Locks rows that are due: their positions and messages, as two arrays; false if there are none. */
static bool
pick(int max, ChatcryptArg picked[2])
{
	ChatcryptArg limit = {INT4OID, Int32GetDatum(max), false};
	bool		isnull;

	chatcrypt_owner_execute(PICK_ROWS, &limit, 1);
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

/*
 * Deletes the younger rows of the messages that were picked.  The changes that they stand for
 * are visible by now, so the batch will show them.
 */
static void
drop_younger(ChatcryptArg picked[2])
{
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_feed "
							"WHERE position = ANY (ARRAY(SELECT position "
							"FROM chatcrypt.search_feed "
							"WHERE message_id = ANY ($2) AND position <> ALL ($1) "
							"FOR UPDATE SKIP LOCKED))",
							picked, 2);
}

/*
 * Some messages of whole chats are noted in each drain, even if enough other rows are due, so
 * that whole chats do not wait for the outbox to be empty.
 */
static bool
pick_enough(int max, ChatcryptArg picked[2])
{
	bool		any;

	(void) chatcrypt_feedchats_note_some(max);
	any = pick(max, picked);
	while ((!any || count_picked(picked) < max) && chatcrypt_feedchats_note_some(max))
		any = pick(max, picked);
	return any;
}

/* ---------- the function ---------- */

/* A snapshot from before the draw could show a message as it was before its version. */
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
				 errmsg("a batch of the search feed must have 1 to %d messages", MOST_MESSAGES)));
	if (!DatumGetBool(DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(1),
										  IntervalPGetDatum(&none))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the lease must be longer than zero")));
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(2)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of the search index must not be empty")));
}

static TimestampTz
lease_end(const Interval *lease)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   IntervalPGetDatum(lease)));
}

/*
 * Inside an owner scope.  Each statement has a snapshot of its own, so that nothing after the
 * draw reads what was there before it.
 */
static void
drain(ChatcryptFeedBatch *batch, int max, const Interval *lease)
{
	ChatcryptArg picked[2];

	chatcrypt_feedchats_raise_fences();
	batch->number = draw_number();
	if (!pick_enough(max, picked))
		return;
	drop_younger(picked);
	chatcrypt_feedbatch_fill(batch, picked);
	if (batch->count[CHATCRYPT_FEED_HAS] > 0)
		chatcrypt_feedleases_begin(batch, lease_end(lease));
	if (batch->count[CHATCRYPT_FEED_PUT_OFF] > 0)
		chatcrypt_feedleases_put_off(batch);
}

PG_FUNCTION_INFO_V1(chatcrypt_drain_search_feed);

/*
 * drain_search_feed(max_messages integer, lease interval, index text): NDJSON, or NULL if there is
 * nothing to hand out
 */
Datum
chatcrypt_drain_search_feed(PG_FUNCTION_ARGS)
{
	ChatcryptFeedBatch *batch;
	ChatcryptOwnerScope scope;
	text	   *lines;

	chatcrypt_feedleases_require("chatcrypt.drain_search_feed()");
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_FEED);
	require_read_committed();
	check_arguments(fcinfo);
	batch = chatcrypt_feedbatch_new(PG_GETARG_TEXT_PP(2));
	PG_TRY();
	{
		chatcrypt_owner_begin_as(&scope, chatcrypt_relations_owner());
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
