/*
 * reapply.c
 *		reapply_shreds(): destroys again the keys that a recovery to an earlier moment brought
 *		back.  The caller has the history of keys of the lost time, from a copy of it.
 *
 * That copy is believed only as far as it can be checked:
 *
 *	- it must have an event in common with the history of this database, so that the
 *	  history of another database, whose chats may have the same ids, destroys nothing;
 *	- where seals are given, each must belong to this database's chain, and an event that
 *	  is in none of them is not applied.
 *
 * Only chats are shredded, by their ids: beside the event of a tenant the history has the
 * events of its chats.  No text of an event becomes part of an SQL statement.
 *
 * An event is applied once.  That is recorded in the history together with what was done, and
 * looked up there while the chat is locked; so a chat that got a new key since then keeps it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/keys/chatkeys.h"
#include "pg/keys/shred.h"
#include "pg/seals/eventseal.h"
#include "pg/store/store.h"

/* An event that says that a chat was shredded. */
typedef struct Shred
{
	int64		event_id;
	pg_uuid_t	chat_id;
	TimestampTz happened_at;
	uint8		digest[CC_SHA256_LEN];
	bool		known;			/* the history of this database has the same event */
	bool		deleted;		/* the chat was deleted as well */
	bool		sealed;
	char	   *mark;			/* the beginning of the detail of the event that records it */
} Shred;

typedef struct Reapplying
{
	ReturnSetInfo *result;
	MemoryContext context;		/* of the call: for what outlives an SPI connection */
	ChatcryptArg events;
	bool		with_seals;
	Shred	   *shreds;			/* in the order of event_id */
	uint64		count;
} Reapplying;

static ChatcryptArg
rows_argument(FunctionCallInfo fcinfo, int n, const char *table)
{
	Oid			row_type = get_rel_type_id(chatcrypt_relations_find(table));

	return (ChatcryptArg) {get_array_type(row_type), PG_GETARG_DATUM(n), false};
}

static bool
any_row(const char *sql, const ChatcryptArg *arg)
{
	return chatcrypt_owner_execute(sql, arg, 1) > 0;
}

/* Refuses every row that chatcrypt.key_event itself would refuse. */
static void
refuse_what_is_no_event(const ChatcryptArg *events)
{
	if (any_row("SELECT FROM unnest($1) AS e "
				"WHERE e.event_id IS NULL OR e.event IS NULL OR e.transaction_id IS NULL "
				"OR e.happened_at IS NULL OR NOT isfinite(e.happened_at) "
				"OR (e.event = 'shred' AND e.chat_id IS NULL AND e.tenant IS NULL) "
				"LIMIT 1", events))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the events hold a row that is no event of a history of keys"),
				 errdetail("An event has an id, a kind, a transaction and a time, and a shredding names a chat or a tenant.")));
}

static void
refuse_another_history(const ChatcryptArg *events)
{
	if (!any_row("SELECT FROM unnest($1) AS e "
				 "JOIN chatcrypt.key_event AS k ON k.event_id = e.event_id AND k *= e "
				 "LIMIT 1", events))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the events are not of the history of this database"),
				 errdetail("None of them is in chatcrypt.key_event."),
				 errhint("Pass all events, from the first one on, of the history that continued where this one was cut off.")));
}

/* Where the event of a tenant destroyed keys, the events of its chats must be there too. */
static void
refuse_half_a_history(const ChatcryptArg *events)
{
	bool		isnull;

	if (any_row("SELECT t.tenant "
				"FROM unnest($1) AS t "
				"WHERE t.event = 'shred' AND t.chat_id IS NULL AND t.detail NOT LIKE '0 keys %' "
				"AND NOT EXISTS (SELECT FROM unnest($1) AS c "
				"WHERE c.event = 'shred' AND c.chat_id IS NOT NULL AND c.tenant = t.tenant "
				"AND c.transaction_id = t.transaction_id) "
				"LIMIT 1", events))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the events tell that tenant \"%s\" was shredded, and not of its chats",
						TextDatumGetCString(chatcrypt_owner_value(&isnull))),
				 errhint("Give all events of the history.")));
}

/* ---------- what was shredded ---------- */

static const char shreds_of_chats[] =
	"SELECT " CHATCRYPT_EVENT_COLUMNS ", "
	"EXISTS (SELECT FROM chatcrypt.key_event AS k WHERE k.event_id = e.event_id AND k *= e), "
	"coalesce(e.detail LIKE 'chat deleted, %', false), "
	"format('event %s of %s again: ', e.event_id, "
	"to_char(e.happened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')) "
	"FROM unnest($1) AS e "
	"WHERE e.event = 'shred' AND e.chat_id IS NOT NULL "
	"ORDER BY e.event_id";

static Shred
read_shred(const Reapplying *call, uint64 row)
{
	Shred		shred = {0};
	bool		isnull;
	Datum		mark = chatcrypt_owner_column(row, CHATCRYPT_EVENT_NCOLUMNS + 3, &isnull);

	shred.event_id = DatumGetInt64(chatcrypt_owner_column(row, 1, &isnull));
	shred.chat_id = *DatumGetUUIDP(chatcrypt_owner_column(row, 3, &isnull));
	shred.happened_at = DatumGetTimestampTz(chatcrypt_owner_column(row, 12, &isnull));
	chatcrypt_eventseal_digest(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, shred.digest);
	shred.known = DatumGetBool(chatcrypt_owner_column(row, CHATCRYPT_EVENT_NCOLUMNS + 1, &isnull));
	shred.deleted = DatumGetBool(chatcrypt_owner_column(row, CHATCRYPT_EVENT_NCOLUMNS + 2,
														&isnull));
	shred.mark = MemoryContextStrdup(call->context, TextDatumGetCString(mark));
	return shred;
}

static void
read_shreds(Reapplying *call)
{
	call->count = chatcrypt_owner_execute(shreds_of_chats, &call->events, 1);
	call->shreds = MemoryContextAllocHuge(call->context, Max(call->count, 1) * sizeof(Shred));
	for (uint64 i = 0; i < call->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		call->shreds[i] = read_shred(call, i);
	}
}

static void
read_history(Reapplying *call)
{
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	refuse_what_is_no_event(&call->events);
	refuse_another_history(&call->events);
	refuse_half_a_history(&call->events);
	read_shreds(call);
	chatcrypt_owner_end(&scope);
}

/* ---------- seals ---------- */

static void
refuse_seal(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a seal of the events was altered, or is not of the chain of this database"),
			 errdetail("Nothing was done."),
			 errhint("Find out who could change the copy of the history.")));
}

/* The first event that has this id or a higher one. */
static uint64
first_from(const Reapplying *call, int64 event_id)
{
	uint64		low = 0;
	uint64		high = call->count;

	while (low < high)
	{
		uint64		middle = low + (high - low) / 2;

		if (call->shreds[middle].event_id < event_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Checks the events from lower to upper - 1 against their digests. */
static void
compare_with_seal(Reapplying *call, int64 lower, int64 upper, const uint8 *digests)
{
	for (uint64 i = first_from(call, lower); i < call->count; i++)
	{
		Shred	   *shred = &call->shreds[i];

		if (shred->event_id >= upper)
			break;
		if (!cc_equal(shred->digest, digests + (shred->event_id - lower) * CC_SHA256_LEN,
					  CC_SHA256_LEN))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("event " INT64_FORMAT " is not as it was sealed", shred->event_id),
					 errdetail("Nothing was done."),
					 errhint("Find out who could change the copy of the history.")));
		shred->sealed = true;
	}
}

/* Reads a range "[LOWER,UPPER)"; returns where it ends, or NULL where there is none. */
static const char *
read_range(const char *text, int64 *lower, int64 *upper)
{
	char	   *end;

	if (*text != '[')
		return NULL;
	*lower = strtoll(text + 1, &end, 10);
	if (*end != ',')
		return NULL;
	*upper = strtoll(end + 1, &end, 10);
	return *end == ')' && *lower < *upper ? end + 1 : NULL;
}

/* The ranges of a seal are as their type writes them, and there is a digest for each id. */
static void
compare_with_ranges(Reapplying *call, const ChatcryptSeal *seal)
{
	const char *next = seal->event_ids;
	Size		done = 0;

	while (*next == '{' || *next == ',')
	{
		int64		lower;
		int64		upper;

		next = read_range(next + 1, &lower, &upper);
		if (next == NULL ||
			(uint64) upper - (uint64) lower > (seal->digests_len - done) / CC_SHA256_LEN)
			refuse_seal();
		compare_with_seal(call, lower, upper, seal->digests + done);
		done += (Size) (upper - lower) * CC_SHA256_LEN;
	}
}

static void
check_seal(Reapplying *call, const ChatcryptEventKey *key, HeapTuple row)
{
	ChatcryptSeal seal = {0};
	uint8		written[CC_SHA256_LEN];
	uint8		right[CC_SHA256_LEN];

	if (!chatcrypt_eventseal_read(row, SPI_tuptable->tupdesc, &seal, written))
		refuse_seal();
	chatcrypt_eventseal_mac(key, &seal, right);
	if (!cc_equal(written, right, CC_SHA256_LEN))
		refuse_seal();
	compare_with_ranges(call, &seal);
}

static void
check_seals(Reapplying *call, const ChatcryptEventKey *key, const ChatcryptArg *seals)
{
	MemoryContext seal_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt seal",
													   ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous;
	ChatcryptOwnerScope scope;
	uint64		count;

	chatcrypt_owner_begin(&scope);
	count = chatcrypt_owner_execute("SELECT " CHATCRYPT_SEAL_COLUMNS " FROM unnest($1) AS s",
									seals, 1);
	previous = MemoryContextSwitchTo(seal_context);
	for (uint64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		check_seal(call, key, SPI_tuptable->vals[i]);
		MemoryContextReset(seal_context);
	}
	MemoryContextSwitchTo(previous);
	chatcrypt_owner_end(&scope);
	MemoryContextDelete(seal_context);
}

static void
believe_seals_alone(Reapplying *call, const ChatcryptArg *seals)
{
	ChatcryptEventKey key;

	if (!chatcrypt_eventkey_read(&key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database has no key with which seals could be checked"),
				 errdetail("Its history was not sealed before the moment to which it was recovered."),
				 errhint("Leave the seals out if you trust the copy of the history without them.")));
	chatcrypt_eventkey_warm(&key);
	call->with_seals = true;
	check_seals(call, &key, seals);
}

/* ---------- shredding again ---------- */

static bool
was_applied(const Shred *shred)
{
	ChatcryptArg args[] = {
		{UUIDOID, UUIDPGetDatum(&shred->chat_id), false},
		{TEXTOID, CStringGetTextDatum(shred->mark), false}
	};
	ChatcryptOwnerScope scope;
	bool		was;

	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(shred->chat_id.data);
	was = chatcrypt_owner_execute_on_latest("SELECT FROM chatcrypt.key_event "
											"WHERE chat_id = $1 AND event = 'shred' "
											"AND starts_with(detail, $2)",
											args, lengthof(args)) > 0;
	chatcrypt_owner_end(&scope);
	return was;
}

/* Returns how many keys were destroyed; -1, with another outcome, where nothing was done. */
static int
apply(const Reapplying *call, const Shred *shred, const char **outcome)
{
	ChatcryptMode mode;

	if (shred->known)
		*outcome = "shredded before";
	else if (call->with_seals && !shred->sealed)
		*outcome = "in no seal";
	else if (!chatcrypt_store_chat_mode(shred->chat_id.data, &mode))
		*outcome = "no such chat";
	else if (was_applied(shred))
		*outcome = "shredded before";
	else
	{
		*outcome = "shredded";
		return chatcrypt_shred_keys(shred->chat_id.data, true, shred->mark);
	}
	return -1;
}

static void
apply_and_tell(const Reapplying *call, const Shred *shred)
{
	bool		nulls[6] = {false};
	const char *outcome;
	int			keys = apply(call, shred, &outcome);

	nulls[5] = keys < 0;
	tuplestore_putvalues(call->result->setResult, call->result->setDesc, (Datum[]) {
		Int64GetDatum(shred->event_id), UUIDPGetDatum(&shred->chat_id),
		TimestampTzGetDatum(shred->happened_at), BoolGetDatum(shred->deleted),
		CStringGetTextDatum(outcome), Int32GetDatum(keys)
	}, nulls);
}

static void
apply_all(const Reapplying *call)
{
	MemoryContext event_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt event",
														ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(event_context);

	for (uint64 i = 0; i < call->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		apply_and_tell(call, &call->shreds[i]);
		MemoryContextReset(event_context);
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(event_context);
}

static void
require_confirmation(FunctionCallInfo fcinfo)
{
	if (chatcrypt_shred_is_confirmed(fcinfo))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("shredding chats again cannot be undone and was not confirmed"),
			 errhint("Call chatcrypt.reapply_shreds(events, confirm => 'irreversible').")));
}

PG_FUNCTION_INFO_V1(chatcrypt_reapply_shreds);

/*
 * reapply_shreds(events key_event[], confirm text, seals event_seal[]): event_id, chat_id,
 * happened_at, deleted, outcome, keys.
 */
Datum
chatcrypt_reapply_shreds(PG_FUNCTION_ARGS)
{
	Reapplying	call = {.result = (ReturnSetInfo *) fcinfo->resultinfo,
		.context = CurrentMemoryContext};

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_id_refuse_null(fcinfo, 0, "the events");
	require_confirmation(fcinfo);
	PreventCommandIfReadOnly("chatcrypt.reapply_shreds()");
	InitMaterializedSRF(fcinfo, 0);
	call.events = rows_argument(fcinfo, 0, "key_event");
	read_history(&call);
	if (!PG_ARGISNULL(2))
	{
		ChatcryptArg seals = rows_argument(fcinfo, 2, "event_seal");

		believe_seals_alone(&call, &seals);
	}
	apply_all(&call);
	return (Datum) 0;
}
