/*
 * reencryption_pass.c
 *		Takes the rows of one chat in one place to its newest key: see
 *		reencryption_pass.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/compat.h"
#include "pg/keyring.h"
#include "pg/messagetable.h"
#include "pg/owner.h"
#include "pg/reencryption_pass.h"
#include "pg/rowmover.h"
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
	bytes[0] = key->use == CHATCRYPT_FOR_CONVERSATION ? CC_SUITE_CONVERSATION : CC_SUITE_MESSAGE;
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

/* The place as it is now, locked for this transaction. */
static ChatcryptPlace *
place_of(const ChatcryptPass *pass, LOCKMODE lockmode)
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

void
chatcrypt_pass_list(void *arg)
{
	ChatcryptPass *pass = arg;
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
	args[3] = (ChatcryptArg) {INT4OID, Int32GetDatum(CHATCRYPT_ROWS_LISTED), false};

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
typedef struct Work
{
	const ChatcryptPlace *place;
	const uint8 *chat_id;
	Datum	   *rows;			/* of those resealed and not yet written */
	Datum	   *envelopes;
	int			waiting;
	Size		bytes;
	int64		moved;
	int64		unreadable;
} Work;

static void
write_waiting(Work *work)
{
	ChatcryptArg args[2];

	if (work->waiting == 0)
		return;
	args[0] = (ChatcryptArg) {TIDARRAYOID,
		PointerGetDatum(construct_array(work->rows, work->waiting, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT)), false};
	args[1] = (ChatcryptArg) {BYTEAARRAYOID,
		PointerGetDatum(construct_array(work->envelopes, work->waiting, BYTEAOID, -1, false, TYPALIGN_INT)), false};
	work->moved += chatcrypt_owner_execute(psprintf("UPDATE ONLY %s AS t SET %s = r.envelope%s "
													 "FROM unnest($1, $2) AS r (at, envelope) WHERE t.ctid = r.at",
													 work->place->table, work->place->envelope,
													 work->place->registered ? "" : ", dek_version = chatcrypt.dek_version(r.envelope)"),
											args, lengthof(args));
	for (int i = 0; i < work->waiting; i++)
		pfree(DatumGetPointer(work->envelopes[i]));
	pfree(DatumGetPointer(args[0].value));
	pfree(DatumGetPointer(args[1].value));
	work->waiting = 0;
	work->bytes = 0;
}

/* One row: its place, message id and envelope. */
static void
reseal_row(Work *work, HeapTuple tuple, TupleDesc desc)
{
	uint8		message_id[CC_ID_LEN];
	bool		isnull;
	cc_status	why;
	bytea	   *envelope;
	bytea	   *resealed;

	chatcrypt_place_id(work->place->message_type, SPI_getbinval(tuple, desc, 2, &isnull), message_id);
	envelope = DatumGetByteaPP(SPI_getbinval(tuple, desc, 3, &isnull));
	resealed = chatcrypt_reseal(work->chat_id, message_id, envelope, work->place->aad, &why);
	if (resealed == NULL)
	{
		work->unreadable++;
		return;
	}
	work->rows[work->waiting] = SPI_getbinval(tuple, desc, 1, &isnull);
	work->envelopes[work->waiting] = PointerGetDatum(resealed);
	work->waiting++;
	work->bytes += VARSIZE(resealed);
}

/* Locks what it can of the rows, and takes them to the newest key; how many it got. */
static uint64
move_rows(Work *work, ArrayType *rows)
{
	const ChatcryptPlace *place = work->place;
	ChatcryptArg args[3];
	SPITupleTable *found;
	uint64		nfound;
	Datum		chat_value;

	if (!chatcrypt_place_chat_value(place, work->chat_id, &chat_value))
		return 0;
	args[0] = (ChatcryptArg) {TIDARRAYOID, PointerGetDatum(rows), false};
	args[1] = (ChatcryptArg) {chatcrypt_place_id_type(place->chat_type), chat_value, false};
	args[2] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(newest_header(work->chat_id)), false};
	nfound = chatcrypt_owner_execute(psprintf("SELECT ctid, %s%s, %s FROM ONLY %s WHERE ctid = ANY ($1) AND %s = $2 "
											  "AND substr(%s, 1, 5) <> $3 AND %s IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED",
											  place->message, place->message_type == UUIDOID ? "" : "::bigint",
											  place->envelope, place->table, place->chat, place->envelope, place->message),
									 args, lengthof(args));
	found = SPI_tuptable;
	work->rows = palloc(sizeof(Datum) * (nfound + 1));
	work->envelopes = palloc(sizeof(Datum) * (nfound + 1));
	for (uint64 i = 0; i < nfound; i++)
	{
		CHECK_FOR_INTERRUPTS();
		reseal_row(work, found->vals[i], found->tupdesc);
		if (work->bytes > BYTES_AT_ONCE)
			write_waiting(work);
	}
	write_waiting(work);
	return nfound;
}

/* Does the row go to the newest key?  False where it is no outdated row of the chat any more, or is taken. */
static bool
move_row(Work *work, ChatcryptRowMover *mover, ItemPointer at, const bytea *header)
{
	Datum	   *values;
	bool	   *nulls;
	cc_status	why;
	bytea	   *envelope;
	bytea	   *resealed;
	bool		moved;

	if (!chatcrypt_rowmover_fetch(mover, at, &values, &nulls) || nulls[MESSAGE_BODY] ||
		memcmp(DatumGetUUIDP(values[MESSAGE_CHAT_ID])->data, work->chat_id, CC_ID_LEN) != 0)
		return false;
	envelope = DatumGetByteaPP(values[MESSAGE_BODY]);
	if (memcmp(VARDATA_ANY(envelope), VARDATA(header), CC_HEADER_LEN) == 0)
		return false;
	resealed = chatcrypt_reseal(work->chat_id, DatumGetUUIDP(values[MESSAGE_ID])->data, envelope, NULL, &why);
	if (resealed == NULL)
	{
		work->unreadable++;
		return true;
	}
	moved = chatcrypt_rowmover_replace(mover, at, resealed, version_of(resealed));
	work->moved += moved;
	pfree(resealed);
	if (DatumGetPointer(values[MESSAGE_BODY]) != (Pointer) envelope)
		pfree(envelope);
	return moved;
}

/* The same as move_rows(), for chatcrypt.message and without its locks. */
static uint64
move_messages(Work *work, ChatcryptRowMover *mover, ItemPointer rows, int count)
{
	const bytea *header = newest_header(work->chat_id);
	uint64		got = 0;

	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		got += move_row(work, mover, &rows[i], header);
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

void
chatcrypt_pass_move(void *arg)
{
	ChatcryptSlice *slice = arg;
	const ChatcryptPass *pass = slice->pass;
	ItemPointer rows = &pass->rows[slice->first];
	Work		work = {.chat_id = pass->chat_id};
	uint64		got;
	ChatcryptOwnerScope scope;
	ChatcryptRowMover *mover;

	work.place = place_of(pass, RowExclusiveLock);
	chatcrypt_owner_begin_as(&scope, work.place->owner);
	mover = work.place->registered ? NULL : chatcrypt_rowmover_open();
	if (mover != NULL)
	{
		got = move_messages(&work, mover, rows, slice->count);
		chatcrypt_rowmover_close(mover);
	}
	else
		got = move_rows(&work, array_of_rows(rows, slice->count));
	chatcrypt_owner_end(&scope);
	slice->moved = work.moved;
	slice->unreadable = work.unreadable;
	slice->passed_over = slice->count - (int64) got;
}
