/*
 * eventverify.c
 *		verify_events(): follows the chain of seals and returns a row for each problem.
 *
 *	broken		a seal was removed or altered, or the chain was cut off
 *	removed		an event that was sealed is not there
 *	altered		an event is not as it was sealed
 *	inserted	an event was not there yet when its transaction had already ended
 *
 * A seal is believed only where its MAC is right, and only then are its events
 * looked at.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/xid8.h"

#include "pg/access/access.h"
#include "pg/seals/eventseal.h"
#include "pg/store/owner.h"

typedef struct Walk
{
	ReturnSetInfo *result;
	ChatcryptEventKey key;
	int64		last_number;	/* of the previous seal; 0 at the beginning */
	uint8		last_mac[CC_SHA256_LEN];
	int64		system_id;		/* of the previous seals, as long as it is the same */
	uint64		horizon;		/* the highest among those; 0 for none */
	const bytea *known_mac;		/* a seal's MAC that the caller has kept; NULL for none */
	bool		known_mac_seen;
} Walk;

static void
report(Walk *walk, const char *problem, int64 event_id, int64 seal_id, const char *detail)
{
	bool		nulls[4] = {false, event_id == 0, seal_id == 0, false};

	tuplestore_putvalues(walk->result->setResult, walk->result->setDesc, (Datum[]) {
		CStringGetTextDatum(problem), Int64GetDatum(event_id), Int64GetDatum(seal_id),
		CStringGetTextDatum(detail)
	}, nulls);
}

/* A column of the row that is being read: NULL where the row has none. */
static Datum
column(HeapTuple row, int number, bool *isnull)
{
	return SPI_getbinval(row, SPI_tuptable->tupdesc, number, isnull);
}

static void
check_link(Walk *walk, const ChatcryptSeal *seal)
{
	if (seal->number != walk->last_number + 1)
		report(walk, "broken", 0, seal->number,
			   psprintf("The seals from " INT64_FORMAT " to " INT64_FORMAT " are not there.",
						walk->last_number + 1, seal->number - 1));
	else if (!cc_equal(seal->previous_mac, walk->last_mac, CC_SHA256_LEN))
		report(walk, "broken", 0, seal->number, "The seal does not follow the one before it.");
}

/* Checks one row: the id that was sealed, then the event, or NULLs where it is missing. */
static void
check_event(Walk *walk, const ChatcryptSeal *seal, HeapTuple row, const uint8 *sealed_digest)
{
	uint8		digest[CC_SHA256_LEN];
	bool		isnull;
	int64		event_id = DatumGetInt64(column(row, 1, &isnull));
	uint64		transaction;

	(void) column(row, 2, &isnull);
	if (isnull)
	{
		report(walk, "removed", event_id, seal->number, "The event was sealed, and is not there.");
		return;
	}
	chatcrypt_eventseal_digest(row, SPI_tuptable->tupdesc, 2, digest);
	if (!cc_equal(digest, sealed_digest, CC_SHA256_LEN))
	{
		report(walk, "altered", event_id, seal->number, "The event is not as it was sealed.");
		return;
	}
	transaction =
		U64FromFullTransactionId(DatumGetFullTransactionId(column(row, 1 + CHATCRYPT_EVENT_NCOLUMNS,
																  &isnull)));
	if (seal->system_id == walk->system_id && transaction < walk->horizon)
		report(walk, "inserted", event_id, seal->number,
			   "Its transaction had ended when an earlier seal was made, and it was not there.");
}

/* The MAC of the seal was right, so its ids are too, and there is a digest for each. */
static void
check_events(Walk *walk, const ChatcryptSeal *seal)
{
	ChatcryptArg ids = {TEXTOID, CStringGetTextDatum(seal->event_ids), false};
	uint64		count = chatcrypt_owner_execute("SELECT g.id, " CHATCRYPT_EVENT_COLUMNS " "
												"FROM unnest($1::int8multirange) AS r, "
												"generate_series(lower(r), upper(r) - 1) AS g (id) "
												"LEFT JOIN chatcrypt.key_event AS e "
												"ON e.event_id = g.id "
												"ORDER BY g.id",
												&ids, 1);

	for (uint64 i = 0; i < count; i++)
		check_event(walk, seal, SPI_tuptable->vals[i], seal->digests + i * CC_SHA256_LEN);
	SPI_freetuptable(SPI_tuptable);
}

static void
move_on(Walk *walk, const ChatcryptSeal *seal, const uint8 *mac)
{
	if (seal->system_id != walk->system_id)
		walk->horizon = 0;
	walk->system_id = seal->system_id;
	walk->horizon = Max(walk->horizon, seal->horizon);
	memcpy(walk->last_mac, mac, CC_SHA256_LEN);
	if (walk->known_mac != NULL && VARSIZE_ANY_EXHDR(walk->known_mac) == CC_SHA256_LEN &&
		cc_equal(VARDATA_ANY(walk->known_mac), mac, CC_SHA256_LEN))
		walk->known_mac_seen = true;
}

static void
check_seal(Walk *walk, HeapTuple row)
{
	ChatcryptSeal seal = {0};
	uint8		written[CC_SHA256_LEN];
	uint8		right[CC_SHA256_LEN];
	bool		readable = chatcrypt_eventseal_read(row, SPI_tuptable->tupdesc, &seal, written);
	bool		isnull;

	if (readable)
		chatcrypt_eventseal_mac(&walk->key, &seal, right);
	if (!readable || !cc_equal(written, right, CC_SHA256_LEN))
	{
		seal.number = DatumGetInt64(column(row, 1, &isnull));
		report(walk, "broken", 0, seal.number,
			   "The seal was altered, or made with another key: nothing in it is believed.");
	}
	else
	{
		check_link(walk, &seal);
		check_events(walk, &seal);
		move_on(walk, &seal, written);
	}
	walk->last_number = seal.number;
	if (readable)
		memcpy(walk->last_mac, written, CC_SHA256_LEN);
}

/* Reads one seal after the other, so that a long history needs little memory. */
static bool
check_next_seal(Walk *walk, MemoryContext seal_context)
{
	ChatcryptArg after = {INT8OID, Int64GetDatum(walk->last_number), false};
	MemoryContext previous;
	SPITupleTable *row;

	CHECK_FOR_INTERRUPTS();
	if (chatcrypt_owner_execute("SELECT " CHATCRYPT_SEAL_COLUMNS " "
								"FROM chatcrypt.event_seal AS s "
								"WHERE s.seal_id > $1 "
								"ORDER BY s.seal_id "
								"LIMIT 1", &after, 1) == 0)
		return false;
	row = SPI_tuptable;
	previous = MemoryContextSwitchTo(seal_context);
	check_seal(walk, row->vals[0]);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(seal_context);
	SPI_freetuptable(row);
	return true;
}

/*
 * Reports events that are in no seal, although the last seal would have seen them, but not
 * those of a seal that is no longer there: check_end() reports these.
 */
static void
check_unsealed(Walk *walk)
{
	FullTransactionId horizon = FullTransactionIdFromU64(walk->horizon);
	ChatcryptArg arg = {XID8OID, FullTransactionIdGetDatum(horizon), false};
	bool		isnull;

	if (walk->horizon == 0 || walk->system_id != (int64) GetSystemIdentifier())
		return;
	chatcrypt_owner_execute("SELECT e.event_id "
							"FROM chatcrypt.key_event AS e "
							"WHERE e.transaction_id < $1 "
							"AND NOT (SELECT coalesce(range_agg(r), '{}') "
							"FROM (SELECT event_ids "
							"FROM chatcrypt.event_seal "
							"UNION ALL SELECT sealed "
							"FROM chatcrypt.event_chain) AS s (ids), "
							"unnest(ids) AS r) @> e.event_id "
							"ORDER BY 1", &arg, 1);
	for (uint64 i = 0; i < SPI_processed; i++)
		report(walk, "inserted", DatumGetInt64(column(SPI_tuptable->vals[i], 1, &isnull)), 0,
			   "Its transaction had ended when the last seal was made, and it was not there.");
}

/* Seals that were cut off at the end leave no gap, but the list of sealed ids still has theirs. */
static void
check_end(Walk *walk)
{
	bool		isnull;

	if (chatcrypt_owner_execute("SELECT (c.sealed - s.ids)::text "
								"FROM chatcrypt.event_chain AS c, "
								"(SELECT coalesce(range_agg(r), '{}') "
								"FROM chatcrypt.event_seal, unnest(event_ids) AS r) AS s (ids) "
								"WHERE c.sealed - s.ids <> '{}'", NULL, 0) > 0)
		report(walk, "broken", 0, 0,
			   psprintf("The events %s were sealed, and their seals are not there.",
											  TextDatumGetCString(chatcrypt_owner_value(&isnull))));
	if (walk->known_mac != NULL && !walk->known_mac_seen)
		report(walk, "broken", 0, 0,
			   "No seal has the MAC that was named: the chain was cut off before it, "
			   "or is another one.");
}

static void
verify(Walk *walk)
{
	MemoryContext seal_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt seal",
													   ALLOCSET_DEFAULT_SIZES);
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	while (check_next_seal(walk, seal_context))
		;
	check_unsealed(walk);
	check_end(walk);
	chatcrypt_owner_end(&scope);
	MemoryContextDelete(seal_context);
}

static bool
any_seal(void)
{
	ChatcryptOwnerScope scope;
	bool		any;

	chatcrypt_owner_begin(&scope);
	any = chatcrypt_owner_execute("SELECT FROM chatcrypt.event_seal "
								  "LIMIT 1", NULL, 0) > 0;
	chatcrypt_owner_end(&scope);
	return any;
}

PG_FUNCTION_INFO_V1(chatcrypt_verify_events);

/* verify_events(known_mac bytea): problem, event_id, seal_id, detail. */
Datum
chatcrypt_verify_events(PG_FUNCTION_ARGS)
{
	Walk		walk = {.result = (ReturnSetInfo *) fcinfo->resultinfo};

	chatcrypt_rights_require(CHATCRYPT_MAY_AUDIT);
	InitMaterializedSRF(fcinfo, 0);
	if (!PG_ARGISNULL(0))
		walk.known_mac = PG_GETARG_BYTEA_PP(0);
	if (chatcrypt_eventkey_read(&walk.key))
	{
		chatcrypt_eventkey_warm(&walk.key);
		verify(&walk);
	}
	else if (any_seal() || walk.known_mac != NULL)
		report(&walk, "broken", 0, 0,
			   "The key of the chain is not there: no seal can be believed.");
	return (Datum) 0;
}
