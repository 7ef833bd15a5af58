/*
 * reencrypt.c
 *		Moves envelopes to their chat's newest key: the steps of the procedures in
 *		sql/74_reencryption.sql, and reseal() for envelopes that are kept elsewhere.
 *
 * A pass over a place first lists its outdated rows by their ctids, and then takes
 * them in slices, a transaction each.  Whatever became of a row in between, a slice
 * only touches rows that are of the chat and outdated still, so that a ctid that
 * another row got meanwhile does no harm.
 *
 * A slice locks the rows that it can have at once and passes over those that others
 * hold: it waits for no writer, and writers wait for one slice at most.  A body that
 * somebody changed in between is sealed under the newest key already, or is passed
 * over.  The plaintext never leaves chatcrypt_reseal().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "pg/access.h"
#include "pg/compat.h"
#include "pg/ids.h"
#include "pg/keyring.h"
#include "pg/owner.h"
#include "pg/registry.h"
#include "pg/seal.h"

/* Envelopes that one UPDATE carries; an array of them must stay well below 1 GB. */
#define BYTES_AT_ONCE	(16 * 1024 * 1024)

/* The first bytes of what the chat's newest key seals; raises where there is none. */
static bytea *
newest_header(const uint8 *chat_id)
{
	const ChatcryptKey *key = chatcrypt_keyring_seal(chat_id);
	bytea	   *header = palloc(VARHDRSZ + CC_HEADER_LEN);
	uint8	   *bytes = (uint8 *) VARDATA(header);

	SET_VARSIZE(header, VARHDRSZ + CC_HEADER_LEN);
	bytes[0] = key->purpose == CHATCRYPT_PURPOSE_CONVERSATION ? CC_SUITE_CONVERSATION : CC_SUITE_MESSAGE;
	for (int i = 0; i < 4; i++)
		bytes[1 + i] = (uint8) (key->version >> (8 * (3 - i)));
	return header;
}

static pg_uuid_t *
registry_id_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_UUID_P(n);
}

static void
refuse_nulls(FunctionCallInfo fcinfo, int but)
{
	for (int i = 0; i < PG_NARGS(); i++)
		if (i != but && PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d must not be null", i + 1)));
}

PG_FUNCTION_INFO_V1(chatcrypt_outdated_rows);

/*
 * outdated_rows(chat uuid, relation oid, registry_id uuid, after tid, most integer):
 * where the next rows of a chat are that another key than the newest sealed; NULL for none.
 */
Datum
chatcrypt_outdated_rows(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	const uint8 *chat_id;
	ChatcryptPlace *place;
	ChatcryptOwnerScope scope;
	ChatcryptArg args[4];
	Datum		chat_value;
	Datum		rows;
	bool		isnull;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	refuse_nulls(fcinfo, 2);
	chat_id = PG_GETARG_UUID_P(0)->data;
	place = chatcrypt_place(PG_GETARG_OID(1), registry_id_argument(fcinfo, 2), AccessShareLock);
	if (!chatcrypt_place_chat_value(place, chat_id, &chat_value))
		PG_RETURN_NULL();
	args[0] = (ChatcryptArg) {chatcrypt_place_id_type(place->chat_type), chat_value, false};
	args[1] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(newest_header(chat_id)), false};
	args[2] = (ChatcryptArg) {TIDOID, PG_GETARG_DATUM(3), false};
	args[3] = (ChatcryptArg) {INT4OID, PG_GETARG_DATUM(4), false};

	chatcrypt_owner_begin_as(&scope, place->owner);
	chatcrypt_owner_execute(psprintf("SELECT array_agg(at ORDER BY at) FROM (SELECT ctid AS at FROM ONLY %s "
									 "WHERE %s = $1 AND substr(%s, 1, 5) <> $2 AND ctid > $3 ORDER BY ctid LIMIT $4) AS outdated",
									 place->table, place->chat, place->envelope), args, lengthof(args));
	rows = chatcrypt_owner_value(&isnull);
	if (!isnull)
	{
		MemoryContextSwitchTo(context);
		rows = datumCopy(rows, false, -1);
	}
	chatcrypt_owner_end(&scope);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(rows);
}

/* What became of a slice. */
typedef struct Slice
{
	const ChatcryptPlace *place;
	const uint8 *chat_id;
	Datum	   *rows;			/* of those resealed and not yet written */
	Datum	   *envelopes;
	int			waiting;
	Size		bytes;
	int64		moved;
	int64		unreadable;
} Slice;

static void
write_waiting(Slice *slice)
{
	ChatcryptArg args[2];

	if (slice->waiting == 0)
		return;
	args[0] = (ChatcryptArg) {TIDARRAYOID,
		PointerGetDatum(construct_array(slice->rows, slice->waiting, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT)), false};
	args[1] = (ChatcryptArg) {BYTEAARRAYOID,
		PointerGetDatum(construct_array(slice->envelopes, slice->waiting, BYTEAOID, -1, false, TYPALIGN_INT)), false};
	slice->moved += chatcrypt_owner_execute(psprintf("UPDATE ONLY %s AS t SET %s = r.envelope%s "
													 "FROM unnest($1, $2) AS r (at, envelope) WHERE t.ctid = r.at",
													 slice->place->table, slice->place->envelope,
													 slice->place->registered ? "" : ", dek_version = chatcrypt.dek_version(r.envelope)"),
											args, lengthof(args));
	for (int i = 0; i < slice->waiting; i++)
		pfree(DatumGetPointer(slice->envelopes[i]));
	pfree(DatumGetPointer(args[0].value));
	pfree(DatumGetPointer(args[1].value));
	slice->waiting = 0;
	slice->bytes = 0;
}

/* One row: its place, message id and envelope. */
static void
reseal_row(Slice *slice, HeapTuple tuple, TupleDesc desc)
{
	uint8		message_id[CC_ID_LEN];
	bool		isnull;
	cc_status	why;
	bytea	   *envelope;
	bytea	   *resealed;

	chatcrypt_place_id(slice->place->message_type, SPI_getbinval(tuple, desc, 2, &isnull), message_id);
	envelope = DatumGetByteaPP(SPI_getbinval(tuple, desc, 3, &isnull));
	resealed = chatcrypt_reseal(slice->chat_id, message_id, envelope, slice->place->aad, &why);
	if (resealed == NULL)
	{
		slice->unreadable++;
		return;
	}
	slice->rows[slice->waiting] = SPI_getbinval(tuple, desc, 1, &isnull);
	slice->envelopes[slice->waiting] = PointerGetDatum(resealed);
	slice->waiting++;
	slice->bytes += VARSIZE(resealed);
}

/* Locks what it can of the rows, and takes them to the newest key; how many it got. */
static uint64
move_slice(Slice *slice, Datum rows)
{
	const ChatcryptPlace *place = slice->place;
	ChatcryptArg args[3];
	SPITupleTable *found;
	uint64		nfound;
	Datum		chat_value;

	if (!chatcrypt_place_chat_value(place, slice->chat_id, &chat_value))
		return 0;
	args[0] = (ChatcryptArg) {TIDARRAYOID, rows, false};
	args[1] = (ChatcryptArg) {chatcrypt_place_id_type(place->chat_type), chat_value, false};
	args[2] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(newest_header(slice->chat_id)), false};
	nfound = chatcrypt_owner_execute(psprintf("SELECT ctid, %s%s, %s FROM ONLY %s WHERE ctid = ANY ($1) AND %s = $2 "
											  "AND substr(%s, 1, 5) <> $3 AND %s IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED",
											  place->message, place->message_type == UUIDOID ? "" : "::bigint",
											  place->envelope, place->table, place->chat, place->envelope, place->message),
									 args, lengthof(args));
	found = SPI_tuptable;
	slice->rows = palloc(sizeof(Datum) * (nfound + 1));
	slice->envelopes = palloc(sizeof(Datum) * (nfound + 1));
	for (uint64 i = 0; i < nfound; i++)
	{
		CHECK_FOR_INTERRUPTS();
		reseal_row(slice, found->vals[i], found->tupdesc);
		if (slice->bytes > BYTES_AT_ONCE)
			write_waiting(slice);
	}
	write_waiting(slice);
	return nfound;
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_rows);

/*
 * reencrypt_rows(chat uuid, relation oid, registry_id uuid, rows tid[],
 *				  OUT moved bigint, OUT unreadable bigint, OUT passed_over bigint)
 */
Datum
chatcrypt_reencrypt_rows(PG_FUNCTION_ARGS)
{
	Slice		slice = {0};
	ChatcryptOwnerScope scope;
	ArrayType  *rows;
	int64		asked;
	uint64		got;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	refuse_nulls(fcinfo, 2);
	rows = PG_GETARG_ARRAYTYPE_P(3);
	asked = ArrayGetNItems(ARR_NDIM(rows), ARR_DIMS(rows));
	slice.chat_id = PG_GETARG_UUID_P(0)->data;
	slice.place = chatcrypt_place(PG_GETARG_OID(1), registry_id_argument(fcinfo, 2), RowExclusiveLock);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	chatcrypt_owner_begin_as(&scope, slice.place->owner);
	got = move_slice(&slice, PointerGetDatum(rows));
	chatcrypt_owner_end(&scope);

	values[0] = Int64GetDatum(slice.moved);
	values[1] = Int64GetDatum(slice.unreadable);
	values[2] = Int64GetDatum(asked - (int64) got);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(chatcrypt_reseal_envelope);

/* reseal(chat uuid, message uuid, envelope bytea, aad bytea): NULL where it does not open */
Datum
chatcrypt_reseal_envelope(PG_FUNCTION_ARGS)
{
	cc_status	why;
	bytea	   *resealed;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	resealed = chatcrypt_reseal(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data, PG_GETARG_BYTEA_PP(2),
								PG_ARGISNULL(3) ? NULL : PG_GETARG_BYTEA_PP(3), &why);
	if (resealed == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(resealed);
}

PG_FUNCTION_INFO_V1(chatcrypt_note_reencrypted);

/* note_reencrypted(chat uuid, dek_id bigint, unreadable bigint) */
Datum
chatcrypt_note_reencrypted(PG_FUNCTION_ARGS)
{
	ChatcryptArg args[] = {
		{UUIDOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)},
		{INT8OID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)},
		{INT8OID, PG_GETARG_DATUM(2), PG_ARGISNULL(2)}
	};
	ChatcryptOwnerScope scope;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.upkeep AS u (chat_id, reencrypted_to, reencrypted_at, unreadable) "
							"VALUES ($1, $2, clock_timestamp(), $3) ON CONFLICT (chat_id) DO UPDATE SET "
							"reencrypted_to = coalesce(excluded.reencrypted_to, u.reencrypted_to), "
							"reencrypted_at = excluded.reencrypted_at, unreadable = excluded.unreadable",
							args, lengthof(args));
	chatcrypt_owner_end(&scope);
	PG_RETURN_VOID();
}
