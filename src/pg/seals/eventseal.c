/*
 * eventseal.c
 *		Seals the history of keys into a chain: see eventseal.h.
 *
 * Code that writes events knows nothing of the chain.  A seal covers all events that are
 * committed and not yet sealed, and records exactly which events those are: an event whose
 * transaction commits late goes into a later seal, although its number is lower.
 * The ids of all sealed events are kept as one multirange, so that a round that finds
 * nothing to seal costs next to nothing.
 *
 * A seal also records its horizon: every transaction before it had ended when the seal
 * was made, and everything that those had written was seen.  An event of such a
 * transaction that turns up later was forged.
 *
 * Lock contract: a session that seals locks the row of chatcrypt.event_chain, and asks the
 * KMS before that.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "pg/access/access.h"
#include "pg/seals/eventseal.h"
#include "pg/store/owner.h"

#define MOST_AT_ONCE	100000	/* events of one seal */
#define NULL_LEN		0xffffffffU
#define NOTIFY_IDS_MAX	7000	/* a notification holds 8000 bytes */

/* ---------- bytes ---------- */

static void
append_bytes(StringInfo buf, const void *bytes, Size len)
{
	pq_sendint32(buf, (uint32) len);
	appendBinaryStringInfo(buf, (const char *) bytes, (int) len);
}

static void
append_int64(StringInfo buf, int64 value)
{
	pq_sendint32(buf, sizeof(value));
	pq_sendint64(buf, (uint64) value);
}

/* As UTF-8 in any server encoding, since a dump can be restored into another encoding. */
static void
append_text(StringInfo buf, Datum value)
{
	char	   *here = TextDatumGetCString(value);
	char	   *utf8 = pg_server_to_any(here, (int) strlen(here), PG_UTF8);

	append_bytes(buf, utf8, strlen(utf8));
}

/* Appends length and bytes.  No setting of a session changes them. */
static void
append_value(StringInfo buf, Oid type, Datum value)
{
	switch (type)
	{
		case TEXTOID:
			append_text(buf, value);
			break;
		case UUIDOID:
			append_bytes(buf, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case INT4OID:
			append_int64(buf, DatumGetInt32(value));
			break;
		case INT8OID:
			append_int64(buf, DatumGetInt64(value));
			break;
		case TIMESTAMPTZOID:
			append_int64(buf, DatumGetTimestampTz(value));
			break;
		case XID8OID:
			append_int64(buf, (int64) U64FromFullTransactionId(DatumGetFullTransactionId(value)));
			break;
		default:
			elog(ERROR, "unexpected type %u in chatcrypt.key_event", type);
	}
}

void
chatcrypt_eventseal_digest(HeapTuple row, TupleDesc columns, int first, uint8 digest[CC_SHA256_LEN])
{
	static const char label[] = "chatcrypt/v1/key_event";
	StringInfoData buf;

	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, label, sizeof(label));	/* with the 00 */
	for (int column = first; column < first + CHATCRYPT_EVENT_NCOLUMNS; column++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(row, columns, column, &isnull);

		if (isnull)
			pq_sendint32(&buf, NULL_LEN);
		else
			append_value(&buf, SPI_gettypeid(columns, column), value);
	}
	cc_sha256(buf.data, buf.len, digest);
	pfree(buf.data);
}

void
chatcrypt_eventseal_mac(const ChatcryptEventKey *key, const ChatcryptSeal *seal,
						uint8 mac[CC_SHA256_LEN])
{
	static const char label[] = "chatcrypt/v1/event_seal";
	StringInfoData buf;

	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, label, sizeof(label));	/* with the 00 */
	append_int64(&buf, seal->number);
	append_bytes(&buf, seal->previous_mac, CC_SHA256_LEN);
	append_int64(&buf, seal->system_id);
	append_int64(&buf, (int64) seal->horizon);
	append_int64(&buf, seal->sealed_at);
	append_bytes(&buf, seal->event_ids, strlen(seal->event_ids));
	append_bytes(&buf, seal->digests, seal->digests_len);
	chatcrypt_eventkey_mac(key, buf.data, buf.len, mac);
	pfree(buf.data);
}

static const bytea *
bytes_column(HeapTuple row, TupleDesc columns, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, columns, number, &isnull);

	return isnull ? NULL : DatumGetByteaPP(value);
}

/* Only these two columns may be NULL: the horizon, and the previous MAC of the first seal. */
static bool
has_what_a_seal_has(HeapTuple row, TupleDesc columns)
{
	for (int number = 1; number <= columns->natts; number++)
	{
		bool		isnull;

		(void) SPI_getbinval(row, columns, number, &isnull);
		if (isnull && number != 4 && number != 6)
			return false;
	}
	return true;
}

bool
chatcrypt_eventseal_read(HeapTuple row, TupleDesc columns, ChatcryptSeal *seal,
						 uint8 mac[CC_SHA256_LEN])
{
	const bytea *digests = bytes_column(row, columns, 3);
	const bytea *previous = bytes_column(row, columns, 6);
	const bytea *written = bytes_column(row, columns, 7);
	bool		isnull;
	Datum		horizon = SPI_getbinval(row, columns, 4, &isnull);

	if (!has_what_a_seal_has(row, columns) || VARSIZE_ANY_EXHDR(written) != CC_SHA256_LEN ||
		(previous != NULL && VARSIZE_ANY_EXHDR(previous) != CC_SHA256_LEN))
		return false;
	seal->horizon = isnull ? 0 : U64FromFullTransactionId(DatumGetFullTransactionId(horizon));
	seal->number = DatumGetInt64(SPI_getbinval(row, columns, 1, &isnull));
	seal->event_ids = TextDatumGetCString(SPI_getbinval(row, columns, 2, &isnull));
	seal->digests = (const uint8 *) VARDATA_ANY(digests);
	seal->digests_len = VARSIZE_ANY_EXHDR(digests);
	seal->system_id = DatumGetInt64(SPI_getbinval(row, columns, 5, &isnull));
	if (previous != NULL)
		memcpy(seal->previous_mac, VARDATA_ANY(previous), CC_SHA256_LEN);
	seal->sealed_at = DatumGetTimestampTz(SPI_getbinval(row, columns, 8, &isnull));
	memcpy(mac, VARDATA_ANY(written), CC_SHA256_LEN);
	return true;
}

/* ---------- sealing ---------- */

/*
 * The events that are not sealed, gap by gap.  The inner ORDER BY and LIMIT make the server
 * look up each gap by index, however many gaps the planner expects.
 */
#define UNSEALED(most) \
	"unnest(int8multirange(int8range(NULL, NULL)) - " \
	"coalesce((SELECT sealed FROM chatcrypt.event_chain), '{}')) AS gap, " \
	"LATERAL (SELECT * FROM chatcrypt.key_event " \
	"WHERE event_id >= coalesce(lower(gap), -9223372036854775808) " \
	"AND event_id <= coalesce(upper(gap) - 1, 9223372036854775807) " \
	"ORDER BY event_id LIMIT " most ") AS e"

static bool
anything_to_seal(void)
{
	ChatcryptOwnerScope scope;
	bool		any;

	chatcrypt_owner_begin(&scope);
	any = chatcrypt_owner_execute("SELECT FROM " UNSEALED("1") " LIMIT 1", NULL, 0) > 0;
	chatcrypt_owner_end(&scope);
	return any;
}

/* Writes sorted ids as an int8multirange: a run of consecutive ids is one range. */
static char *
ids_as_multirange(const int64 *ids, uint64 count)
{
	StringInfoData ranges;
	uint64		i = 0;

	initStringInfo(&ranges);
	appendStringInfoChar(&ranges, '{');
	while (i < count)
	{
		uint64		end = i + 1;

		while (end < count && ids[end] == ids[end - 1] + 1)
			end++;
		appendStringInfo(&ranges, "%s[" INT64_FORMAT "," INT64_FORMAT ")", i > 0 ? "," : "", ids[i],
						 ids[end - 1] + 1);
		i = end;
	}
	appendStringInfoChar(&ranges, '}');
	return ranges.data;
}

/* Reads the rows of the last statement: the horizon is column 1, the event begins at column 2. */
static void
take_rows(ChatcryptSeal *seal, uint64 limit)
{
	uint64		count = SPI_processed;
	int64	   *ids = palloc(sizeof(int64) * count);
	uint8	   *digests = palloc(CC_SHA256_LEN * count);
	TupleDesc	columns = SPI_tuptable->tupdesc;
	bool		isnull;

	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		ids[i] = DatumGetInt64(SPI_getbinval(row, columns, 2, &isnull));
		chatcrypt_eventseal_digest(row, columns, 2, digests + i * CC_SHA256_LEN);
	}
	if (count < limit)
		{
		Datum		horizon = SPI_getbinval(SPI_tuptable->vals[0], columns, 1, &isnull);

		seal->horizon = U64FromFullTransactionId(DatumGetFullTransactionId(horizon));
	}
	seal->event_ids = ids_as_multirange(ids, count);
	seal->digests = digests;
	seal->digests_len = CC_SHA256_LEN * count;
}

/* Makes the new seal follow the last one; the caller holds the lock. */
static void
link_to_last(ChatcryptSeal *seal)
{
	bool		isnull;
	bytea	   *mac;

	seal->number = 1;
	if (chatcrypt_owner_execute("SELECT seal_id, mac "
								"FROM chatcrypt.event_seal "
								"ORDER BY seal_id DESC "
								"LIMIT 1", NULL, 0) == 0)
		return;
	seal->number = DatumGetInt64(chatcrypt_owner_value(&isnull)) + 1;
	mac = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	memcpy(seal->previous_mac, VARDATA_ANY(mac), CC_SHA256_LEN);
}

static void
write_seal(const ChatcryptSeal *seal, const uint8 *mac)
{
	FullTransactionId horizon = FullTransactionIdFromU64(seal->horizon);
	ChatcryptArg args[] = {
		{INT8OID, Int64GetDatum(seal->number), false},
		{TEXTOID, CStringGetTextDatum(seal->event_ids), false},
		chatcrypt_owner_bytes_arg(seal->digests, seal->digests_len),
		{XID8OID, FullTransactionIdGetDatum(horizon), seal->horizon == 0},
		{INT8OID, Int64GetDatum(seal->system_id), false},
		chatcrypt_owner_bytes_arg(seal->previous_mac, CC_SHA256_LEN),
		chatcrypt_owner_bytes_arg(mac, CC_SHA256_LEN),
		{TIMESTAMPTZOID, TimestampTzGetDatum(seal->sealed_at), false}
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.event_seal (seal_id, event_ids, event_digests, "
							"horizon, system_id, "
							"previous_mac, mac, sealed_at) "
							"VALUES ($1, $2::int8multirange, $3, $4, $5, "
							"CASE WHEN $1 > 1 THEN $6 END, $7, $8)", args, lengthof(args));
	chatcrypt_owner_execute("UPDATE chatcrypt.event_chain "
							"SET sealed = sealed + $1::int8multirange",
							&args[1], 1);
}

/* Notifies programs that keep a copy of the history: which events, and the head of the chain. */
static void
notify(const ChatcryptSeal *seal, const uint8 *mac)
{
	ChatcryptArg args[] = {
		{INT8OID, Int64GetDatum(seal->number), false},
		{TEXTOID, CStringGetTextDatum(seal->event_ids), strlen(seal->event_ids) > NOTIFY_IDS_MAX},
		chatcrypt_owner_bytes_arg(mac, CC_SHA256_LEN)
	};

	chatcrypt_owner_execute("SELECT pg_notify('chatcrypt_key_event', json_build_object("
							"'seal', $1, 'events', $2, 'mac', encode($3, 'hex'))::text)", args,
							lengthof(args));
}

/* Returns how many events went into the seal; 0 where there were none, and so no seal. */
static uint64
seal_once(const ChatcryptEventKey *key, int64 limit)
{
	ChatcryptArg arg = {INT8OID, Int64GetDatum(limit), false};
	ChatcryptSeal seal = {.system_id = (int64) GetSystemIdentifier()};
	uint8		mac[CC_SHA256_LEN];
	ChatcryptOwnerScope scope;
	uint64		count;

	chatcrypt_owner_begin(&scope);
	chatcrypt_eventkey_lock(key);
	link_to_last(&seal);
	count = chatcrypt_owner_execute("SELECT pg_snapshot_xmin(pg_current_snapshot()), "
									CHATCRYPT_EVENT_COLUMNS " "
									"FROM " UNSEALED("$1") " "
									"ORDER BY e.event_id "
									"LIMIT $1", &arg, 1);
	if (count > 0)
	{
		take_rows(&seal, (uint64) limit);
		seal.sealed_at = GetCurrentTimestamp();
		chatcrypt_eventseal_mac(key, &seal, mac);
		write_seal(&seal, mac);
		notify(&seal, mac);
	}
	chatcrypt_owner_end(&scope);
	return count;
}

PG_FUNCTION_INFO_V1(chatcrypt_seal_events);

/* seal_events(limit bigint): how many were sealed. */
Datum
chatcrypt_seal_events(PG_FUNCTION_ARGS)
{
	int64		limit = PG_GETARG_INT64(0);
	ChatcryptEventKey key;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.seal_events()");
	if (limit < 1 || limit > MOST_AT_ONCE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("one seal takes 1 to %d events", MOST_AT_ONCE)));
	if (!anything_to_seal())
		PG_RETURN_INT64(0);

	if (!chatcrypt_eventkey_read(&key))
	{
		chatcrypt_eventkey_make();
		(void) chatcrypt_eventkey_read(&key);
	}
	chatcrypt_eventkey_warm(&key);
	PG_RETURN_INT64((int64) seal_once(&key, limit));
}
