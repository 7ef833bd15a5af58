/*
 * reencrypt.c
 *		Moves envelopes to their chat's newest key: reencrypt_chat(), reencrypt_due(),
 *		and reseal() for envelopes that are kept elsewhere.
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
 *
 * Commits of slices do not wait for the disk: what a crash takes back is found again
 * by the next pass, and a key that it needs is destroyed by a later commit, which a
 * crash takes back first.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "pg/access.h"
#include "pg/compat.h"
#include "pg/ids.h"
#include "pg/keyring.h"
#include "pg/messagetable.h"
#include "pg/owner.h"
#include "pg/progress.h"
#include "pg/registry.h"
#include "pg/rowmover.h"
#include "pg/seal.h"
#include "pg/work.h"

/* Envelopes that one UPDATE carries; an array of them must stay well below 1 GB. */
#define BYTES_AT_ONCE	(16 * 1024 * 1024)

/* Rows that are listed before they are worked on: 6 bytes each. */
#define ROWS_AT_ONCE	200000

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

static uint32
version_of(const bytea *envelope)
{
	cc_envelope_info info;

	if (cc_envelope_inspect((const uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope), &info) != CC_OK)
		elog(ERROR, "a fresh envelope cannot be read");
	return info.dek_version;
}

/* One run of a procedure. */
typedef struct Run
{
	int			batch;
	bool		forgiving;		/* a chat that fails is warned of, and the others go on */
	MemoryContext slice_context;
	int64		moved;
	int64		unreadable;
	int64		failed;
} Run;

/* One pass over one place of one chat. */
typedef struct Pass
{
	const uint8 *chat_id;
	const ChatcryptPlace *known;	/* what the run knew of it at its beginning */
	MemoryContext context;		/* of rows */
	ItemPointerData after;
	ItemPointerData *rows;
	int			nrows;
	int64		unreadable;
	int64		passed_over;
} Pass;

/* The place as it is now, locked for this transaction. */
static ChatcryptPlace *
place_of(const Pass *pass, LOCKMODE lockmode)
{
	return chatcrypt_place(pass->known->relation, pass->known->registered ? &pass->known->registry_id : NULL, lockmode);
}

static ItemPointerData *
copy_rows(Datum array, MemoryContext context, int *nrows)
{
	ArrayType  *rows = DatumGetArrayTypeP(array);
	Size		size;
	ItemPointerData *copy;

	*nrows = ArrayGetNItems(ARR_NDIM(rows), ARR_DIMS(rows));
	size = sizeof(ItemPointerData) * *nrows;	/* as the array has them: two bytes aligned */
	copy = MemoryContextAlloc(context, size);
	memcpy(copy, ARR_DATA_PTR(rows), size);
	return copy;
}

/* A step: the next rows of the place that another key than the newest sealed. */
static void
list_outdated(void *arg)
{
	Pass	   *pass = arg;
	ChatcryptPlace *place = place_of(pass, AccessShareLock);
	ChatcryptOwnerScope scope;
	ChatcryptArg args[4];
	Datum		chat_value;
	Datum		rows;
	bool		isnull;

	pass->nrows = 0;
	if (!chatcrypt_place_chat_value(place, pass->chat_id, &chat_value))
		return;
	args[0] = (ChatcryptArg) {chatcrypt_place_id_type(place->chat_type), chat_value, false};
	args[1] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(newest_header(pass->chat_id)), false};
	args[2] = (ChatcryptArg) {TIDOID, PointerGetDatum(&pass->after), false};
	args[3] = (ChatcryptArg) {INT4OID, Int32GetDatum(ROWS_AT_ONCE), false};

	chatcrypt_owner_begin_as(&scope, place->owner);
	chatcrypt_owner_execute(psprintf("SELECT array_agg(at ORDER BY at) FROM (SELECT ctid AS at FROM ONLY %s "
									 "WHERE %s = $1 AND substr(%s, 1, 5) <> $2 AND ctid > $3 ORDER BY ctid LIMIT $4) AS outdated",
									 place->table, place->chat, place->envelope), args, lengthof(args));
	rows = chatcrypt_owner_value(&isnull);
	if (!isnull)
		pass->rows = copy_rows(rows, pass->context, &pass->nrows);
	chatcrypt_owner_end(&scope);
	if (pass->nrows > 0)
		pass->after = pass->rows[pass->nrows - 1];
}

/* Rows of one transaction, and what became of them. */
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
move_rows(Slice *slice, ArrayType *rows)
{
	const ChatcryptPlace *place = slice->place;
	ChatcryptArg args[3];
	SPITupleTable *found;
	uint64		nfound;
	Datum		chat_value;

	if (!chatcrypt_place_chat_value(place, slice->chat_id, &chat_value))
		return 0;
	args[0] = (ChatcryptArg) {TIDARRAYOID, PointerGetDatum(rows), false};
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

/* Does the row go to the newest key?  False where it is no outdated row of the chat any more, or is taken. */
static bool
move_row(Slice *slice, ChatcryptRowMover *mover, ItemPointer at, const bytea *header)
{
	Datum	   *values;
	bool	   *nulls;
	cc_status	why;
	bytea	   *envelope;
	bytea	   *resealed;
	bool		moved;

	if (!chatcrypt_rowmover_fetch(mover, at, &values, &nulls) || nulls[MESSAGE_BODY] ||
		memcmp(DatumGetUUIDP(values[MESSAGE_CHAT_ID])->data, slice->chat_id, CC_ID_LEN) != 0)
		return false;
	envelope = DatumGetByteaPP(values[MESSAGE_BODY]);
	if (memcmp(VARDATA_ANY(envelope), VARDATA(header), CC_HEADER_LEN) == 0)
		return false;
	resealed = chatcrypt_reseal(slice->chat_id, DatumGetUUIDP(values[MESSAGE_ID])->data, envelope, NULL, &why);
	if (resealed == NULL)
	{
		slice->unreadable++;
		return true;
	}
	moved = chatcrypt_rowmover_replace(mover, at, resealed, version_of(resealed));
	slice->moved += moved;
	pfree(resealed);
	if (DatumGetPointer(values[MESSAGE_BODY]) != (Pointer) envelope)
		pfree(envelope);
	return moved;
}

/* The same as move_rows(), for chatcrypt.message and without its locks. */
static uint64
move_messages(Slice *slice, ChatcryptRowMover *mover, ItemPointer rows, int count)
{
	const bytea *header = newest_header(slice->chat_id);
	uint64		got = 0;

	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		got += move_row(slice, mover, &rows[i], header);
	}
	return got;
}

static ArrayType *
array_of_rows(ItemPointer rows, int count)
{
	Datum	   *elements = palloc(sizeof(Datum) * count);

	for (int i = 0; i < count; i++)
		elements[i] = PointerGetDatum(&rows[i]);
	return construct_array(elements, count, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
}

/* Some of the rows that a pass has listed. */
typedef struct SliceOfPass
{
	Pass	   *pass;
	int			first;
	int			count;
	Slice		slice;
	uint64		got;
} SliceOfPass;

/* A step. */
static void
move_slice(void *arg)
{
	SliceOfPass *part = arg;
	const Pass *pass = part->pass;
	ItemPointer rows = &pass->rows[part->first];
	ChatcryptOwnerScope scope;
	ChatcryptRowMover *mover;

	memset(&part->slice, 0, sizeof(part->slice));
	part->slice.chat_id = pass->chat_id;
	part->slice.place = place_of(pass, RowExclusiveLock);
	chatcrypt_owner_begin_as(&scope, part->slice.place->owner);
	mover = part->slice.place->registered ? NULL : chatcrypt_rowmover_open();
	if (mover != NULL)
	{
		part->got = move_messages(&part->slice, mover, rows, part->count);
		chatcrypt_rowmover_close(mover);
	}
	else
		part->got = move_rows(&part->slice, array_of_rows(rows, part->count));
	chatcrypt_owner_end(&scope);
}

/* Does a step of the run and commits it; false where it failed and that may be. */
static bool
take_step(const Run *run, ChatcryptStep step, void *arg)
{
	MemoryContext previous = MemoryContextSwitchTo(run->slice_context);
	bool		done = true;

	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (run->forgiving)
		done = chatcrypt_work_try(step, arg);
	else
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		PopActiveSnapshot();
	}
	MemoryContextSwitchTo(previous);
	MemoryContextReset(run->slice_context);
	chatcrypt_work_commit();
	return done;
}

static bool
pass_over_place(Run *run, Pass *pass)
{
	SliceOfPass part = {.pass = pass};

	for (;;)
	{
		if (!take_step(run, list_outdated, pass))
			return false;
		if (pass->nrows == 0)
			return true;
		for (part.first = 0; part.first < pass->nrows; part.first += part.count)
		{
			part.count = Min(run->batch, pass->nrows - part.first);
			if (!take_step(run, move_slice, &part))
				return false;
			run->moved += part.slice.moved;
			chatcrypt_progress_note("re-encrypt", pass->chat_id, run->moved, CHATCRYPT_TOTAL_UNKNOWN);
			pass->unreadable += part.slice.unreadable;
			pass->passed_over += part.count - (int64) part.got;
		}
		pfree(pass->rows);
		if (pass->nrows < ROWS_AT_ONCE)
			return true;
	}
}

/* What is remembered of a pass over all places of a chat. */
typedef struct Upkeep
{
	const uint8 *chat_id;
	int64		dek_id;			/* where everything is under this key now; or 0 */
	int64		unreadable;
} Upkeep;

/* A step: which key seals the chat; before the first place is looked at. */
static void
find_newest_dek(void *arg)
{
	Upkeep	   *upkeep = arg;
	const ChatcryptKey *key = chatcrypt_keyring_seal(upkeep->chat_id);
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(upkeep->chat_id), false},
		{TEXTOID, CStringGetTextDatum(chatcrypt_purpose_text(key->purpose)), false},
		{INT4OID, Int32GetDatum((int32) key->version), false}
	};
	ChatcryptOwnerScope scope;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT dek_id FROM chatcrypt.dek WHERE chat_id = $1 AND purpose = $2 AND dek_version = $3",
							args, lengthof(args));
	upkeep->dek_id = DatumGetInt64(chatcrypt_owner_value(&isnull));
	chatcrypt_owner_end(&scope);
}

/* A step. */
static void
note_upkeep(void *arg)
{
	Upkeep	   *upkeep = arg;
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(upkeep->chat_id), false},
		{INT8OID, Int64GetDatum(upkeep->dek_id), upkeep->dek_id == 0},
		{INT8OID, Int64GetDatum(upkeep->unreadable), false}
	};
	ChatcryptOwnerScope scope;

	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.upkeep AS u (chat_id, reencrypted_to, reencrypted_at, unreadable) "
							"SELECT chat_id, $2, clock_timestamp(), $3 FROM chatcrypt.chat WHERE chat_id = $1 "
							"ON CONFLICT (chat_id) DO UPDATE SET reencrypted_to = coalesce(excluded.reencrypted_to, u.reencrypted_to), "
							"reencrypted_at = excluded.reencrypted_at, unreadable = excluded.unreadable",
							args, lengthof(args));
	chatcrypt_owner_end(&scope);
}

static void
reencrypt(Run *run, const uint8 *chat_id, List *places)
{
	Upkeep		upkeep = {.chat_id = chat_id};
	int64		passed_over = 0;
	bool		done = take_step(run, find_newest_dek, &upkeep);
	ListCell   *cell;

	foreach(cell, places)
	{
		Pass		pass = {.chat_id = chat_id, .known = lfirst(cell), .context = CurrentMemoryContext};

		ItemPointerSet(&pass.after, 0, 0);
		done = done && pass_over_place(run, &pass);
		upkeep.unreadable += pass.unreadable;
		passed_over += pass.passed_over;
	}
	run->unreadable += upkeep.unreadable;
	if (!done || passed_over > 0)
		upkeep.dek_id = 0;
	run->failed += !done;
	(void) take_step(run, note_upkeep, &upkeep);
}

static int
batch_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n) || PG_GETARG_INT32(n) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a batch has at least one row")));
	return PG_GETARG_INT32(n);
}

static Datum
reencrypt_chat(FunctionCallInfo fcinfo, const pg_uuid_t *chat_id)
{
	Run			run = {.batch = batch_argument(fcinfo, 1)};
	List	   *places;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	chatcrypt_work_begin(fcinfo, "chatcrypt.reencrypt_chat()");
	run.slice_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt slice", ALLOCSET_DEFAULT_SIZES);
	places = chatcrypt_places(AccessShareLock);
	reencrypt(&run, chat_id->data, places);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.moved, run.unreadable}, 2);
}

static void
refuse_null_chat(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the id of the chat must not be null")));
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_chat);

/* reencrypt_chat(chat uuid, batch integer, INOUT moved bigint, INOUT unreadable bigint) */
Datum
chatcrypt_reencrypt_chat(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;

	refuse_null_chat(fcinfo);
	id = *PG_GETARG_UUID_P(0);	/* the argument's memory may end with the transaction */
	return reencrypt_chat(fcinfo, &id);
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_chat_bigint);

Datum
chatcrypt_reencrypt_chat_bigint(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;

	refuse_null_chat(fcinfo);
	chatcrypt_bigint_id(PG_GETARG_INT64(0), id.data);
	return reencrypt_chat(fcinfo, &id);
}

/*
 * Chats with keys that were replaced since they were last gone through, for as long
 * as $1 or the policies say; those first that were looked at longest ago.  $2: how many.
 */
#define DUE \
	"SELECT c.chat_id FROM chatcrypt.dek d JOIN chatcrypt.chat c USING (chat_id) JOIN chatcrypt.tenant t USING (tenant) " \
	"LEFT JOIN chatcrypt.upkeep u USING (chat_id) LEFT JOIN chatcrypt.dek done ON done.dek_id = u.reencrypted_to " \
	"WHERE d.state = 'decrypt_only' AND d.purpose <> 'search' AND c.mode <> 'e2ee' " \
	"AND (done.state IS NULL " \
	"OR done.state <> 'active' AND (d.dek_version >= done.dek_version OR d.purpose <> done.purpose)) " \
	"GROUP BY c.chat_id, t.tenant, u.chat_id " \
	"HAVING min(d.valid_to) <= now() - coalesce($1, c.reencrypt_after, t.reencrypt_after) " \
	"ORDER BY u.reencrypted_at NULLS FIRST, min(d.valid_to) LIMIT $2"

/* The chats that are due, in the current memory context. */
static pg_uuid_t *
due_chats(FunctionCallInfo fcinfo, uint64 *count)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg args[] = {
		{INTERVALOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)},
		{INT8OID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)}
	};
	ChatcryptOwnerScope scope;
	pg_uuid_t  *chats;
	bool		isnull;

	chatcrypt_owner_begin(&scope);
	*count = chatcrypt_owner_execute(DUE, args, lengthof(args));
	chats = MemoryContextAllocHuge(context, sizeof(pg_uuid_t) * (*count + 1));
	for (uint64 i = 0; i < *count; i++)
		chats[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	chatcrypt_owner_end(&scope);
	return chats;
}

PG_FUNCTION_INFO_V1(chatcrypt_reencrypt_due);

/*
 * reencrypt_due(replaced_for interval, "limit" bigint, batch integer,
 *				 INOUT moved bigint, INOUT unreadable bigint, INOUT failed bigint)
 */
Datum
chatcrypt_reencrypt_due(PG_FUNCTION_ARGS)
{
	Run			run = {.batch = batch_argument(fcinfo, 2), .forgiving = true};
	List	   *places;
	pg_uuid_t  *chats;
	uint64		count;

	chatcrypt_require(CHATCRYPT_MAY_ADMINISTER);
	if (!PG_ARGISNULL(1) && PG_GETARG_INT64(1) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the limit must not be negative")));
	chatcrypt_work_begin(fcinfo, "chatcrypt.reencrypt_due()");
	run.slice_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt slice", ALLOCSET_DEFAULT_SIZES);
	places = chatcrypt_places(AccessShareLock);
	chats = due_chats(fcinfo, &count);
	for (uint64 i = 0; i < count; i++)
		reencrypt(&run, chats[i].data, places);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, (int64[]) {run.moved, run.unreadable, run.failed}, 3);
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
