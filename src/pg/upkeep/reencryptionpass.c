/*
 * reencryptionpass.c
 *		Moves the rows of one chat in one place to its newest key: see
 *		reencryptionpass.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "pg/attachments/attachmentseal.h"
#include "pg/compat.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/binding.h"
#include "pg/messages/messagetable.h"
#include "pg/messages/directupdate.h"
#include "pg/messages/seal.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"
#include "pg/upkeep/reencryptionpass.h"

/* How many bytes of envelopes one UPDATE carries; their array must stay well below 1 GB. */
#define BYTES_AT_ONCE	(16 * 1024 * 1024)

static bytea *
header_of(uint8 suite, uint32 version)
{
	bytea	   *header = palloc(VARHDRSZ + CC_HEADER_LEN);

	SET_VARSIZE(header, VARHDRSZ + CC_HEADER_LEN);
	cc_header_write(suite, version, (uint8 *) VARDATA(header));
	return header;
}

/* The header of what the chat's newest key seals; raises where there is no key. */
static bytea *
newest_header(const uint8 *chat_id)
{
	const ChatcryptKey *key = chatcrypt_keyaccess_seal(chat_id);

	return header_of(key->use == CHATCRYPT_FOR_CONVERSATION ? CC_SUITE_CONVERSATION :
					 CC_SUITE_MESSAGE, key->version);
}

/*
 * The same for a place.  Files are under the data key even where messages are not.  NULL where
 * the chat has no data key, and so nothing in the place that could be moved.
 */
static bytea *
newest_header_in(const ChatcryptPlace *place, const uint8 *chat_id)
{
	ChatcryptDekRow row;

	if (place->kind == CHATCRYPT_PLACE_MESSAGES || place->kind == CHATCRYPT_PLACE_REGISTERED)
		return newest_header(chat_id);
	if (!chatcrypt_store_dek(chat_id, CHATCRYPT_PURPOSE_DATA, 0, &row))
		return NULL;
	return header_of(place->kind == CHATCRYPT_PLACE_PARTS ? CC_SUITE_ATTACHMENT : CC_SUITE_MESSAGE,
					 row.id.version);
}

/* The place as it is now, locked for this transaction. */
static ChatcryptPlace *
place_of(const ChatcryptPass *pass, LOCKMODE lockmode)
{
	return chatcrypt_registry_place(pass->known, lockmode);
}

static ItemPointerData *
copy_rows(Datum array, MemoryContext context, int *nrows)
{
	ArrayType  *rows = DatumGetArrayTypeP(array);
	Size		size;
	ItemPointerData *copy;

	*nrows = ArrayGetNItems(ARR_NDIM(rows), ARR_DIMS(rows));
	size = sizeof(ItemPointerData) * *nrows;	/* as an array has them, aligned to two bytes */
	copy = MemoryContextAlloc(context, size);
	memcpy(copy, ARR_DATA_PTR(rows), size);
	return copy;
}

void
chatcrypt_reencryptionpass_list(void *arg)
{
	ChatcryptPass *pass = arg;
	ChatcryptPlace *place = place_of(pass, AccessShareLock);
	ChatcryptOwnerScope scope;
	ChatcryptArg args[4];
	bytea	   *header = newest_header_in(place, pass->chat_id);
	Datum		chat_value;
	Datum		rows;
	bool		isnull;

	pass->nrows = 0;
	if (header == NULL || !chatcrypt_registry_chat_value(place, pass->chat_id, &chat_value))
		return;
	args[0] = (ChatcryptArg) {chatcrypt_registry_id_type(place->chat_type), chat_value, false};
	args[1] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(header), false};
	args[2] = (ChatcryptArg) {TIDOID, PointerGetDatum(&pass->after), false};
	args[3] = (ChatcryptArg) {INT4OID, Int32GetDatum(CHATCRYPT_ROWS_LISTED), false};

	chatcrypt_owner_begin_as(&scope, place->owner);
	chatcrypt_owner_execute(psprintf("SELECT array_agg(at ORDER BY at) "
									 "FROM (SELECT ctid AS at "
									 "FROM ONLY %s "
									 "WHERE %s = $1 AND substr(%s, 1, 5) <> $2 AND ctid > $3 "
									 "ORDER BY ctid "
									 "LIMIT $4) AS outdated",
									 place->table, place->chat, place->envelope), args,
									 lengthof(args));
	rows = chatcrypt_owner_value(&isnull);
	if (!isnull)
		pass->rows = copy_rows(rows, pass->context, &pass->nrows);
	chatcrypt_owner_end(&scope);
	if (pass->nrows > 0)
		pass->after = pass->rows[pass->nrows - 1];
}

/* The rows of one transaction, and what was done to them. */
typedef struct Work
{
	const ChatcryptPlace *place;
	const uint8 *chat_id;
	ChatcryptArg chat;			/* the chat's id as a value of the place's column */
	Datum	   *rows;			/* the ones that were resealed and not yet written */
	Datum	   *messages;
	Datum	   *old;
	Datum	   *envelopes;
	int			waiting;
	Size		bytes;
	int64		moved;
	int64		unreadable;
} Work;

static ChatcryptArg
waiting_envelopes(const Work *work, Datum *envelopes)
{
	return (ChatcryptArg) {BYTEAARRAYOID,
		PointerGetDatum(construct_array(envelopes, work->waiting, BYTEAOID, -1, false,
										TYPALIGN_INT)), false};
}

static ChatcryptArg
waiting_messages(const Work *work)
{
	if (work->place->message_type == UUIDOID)
		return (ChatcryptArg) {UUIDARRAYOID,
			PointerGetDatum(construct_array(work->messages, work->waiting, UUIDOID, UUID_LEN, false,
											TYPALIGN_CHAR)), false};
	return (ChatcryptArg) {INT8ARRAYOID,
		PointerGetDatum(construct_array(work->messages, work->waiting, INT8OID, sizeof(int64),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)), false};
}

static void
require_all_written(const Work *work, uint64 written)
{
	if (written != (uint64) work->waiting)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("re-encryption changed " UINT64_FORMAT " rows of %s and not %d", written,
						work->place->table, work->waiting),
				 errdetail("This batch is undone."),
				 errhint("See which trigger of the table suppresses an UPDATE or repeats it.")));
}

/*
 * Rows are found by ctid, which is quick, but each must also be the row that was read.  Where a
 * ctid now belongs to another row, that row is not overwritten.
 */
static void
write_waiting(Work *work)
{
	const ChatcryptPlace *place = work->place;
	ChatcryptArg args[5];
	uint64		written;
	bool		keeps_version = place->kind == CHATCRYPT_PLACE_MESSAGES ||
		place->kind == CHATCRYPT_PLACE_FILES;

	if (work->waiting == 0)
		return;
	args[0] = (ChatcryptArg) {TIDARRAYOID,
		PointerGetDatum(construct_array(work->rows, work->waiting, TIDOID, sizeof(ItemPointerData),
										false, TYPALIGN_SHORT)), false};
	args[1] = waiting_envelopes(work, work->envelopes);
	args[2] = waiting_envelopes(work, work->old);
	args[3] = waiting_messages(work);
	args[4] = work->chat;
	written = chatcrypt_owner_execute(psprintf("UPDATE ONLY %s AS t "
											   "SET %s = %s%s "
											   "FROM unnest($1, $2, $3, $4) "
											   "AS r (at, envelope, old, message) "
											   "WHERE t.ctid = r.at AND t.%s = $5 "
											   "AND t.%s = r.message AND %s = r.old",
											   place->table, place->column, place->written,
											   keeps_version ?
											   ", dek_version = "
											   "chatcrypt.dek_version(r.envelope)" : "",
											   place->chat, place->message, place->envelope_of_t),
									  args, lengthof(args));
	require_all_written(work, written);
	work->moved += (int64) written;
	for (int i = 0; i < work->waiting; i++)
		pfree(DatumGetPointer(work->envelopes[i]));
	for (int i = 0; i < 4; i++)
		pfree(DatumGetPointer(args[i].value));
	work->waiting = 0;
	work->bytes = 0;
}

/* The further columns of a row that are needed to seal it again. */
static const char *
more_columns(const ChatcryptPlace *place)
{
	switch (place->kind)
	{
		case CHATCRYPT_PLACE_MESSAGES:
			return ", created_at, sender";
		case CHATCRYPT_PLACE_PARTS:
			return ", part, last";
		case CHATCRYPT_PLACE_FILES:
		case CHATCRYPT_PLACE_REGISTERED:
		case CHATCRYPT_PLACE_PROTECTED:
			break;
	}
	return "";
}

static bytea *
reseal_message(const uint8 *chat_id, const uint8 *message_id, Datum created_at, Datum sender,
			   bool no_sender, const bytea *envelope)
{
	ChatcryptRowAad aad;
	cc_status	why;
	bytea	   *resealed;

	resealed = chatcrypt_seal_again(chat_id, message_id, envelope,
									chatcrypt_binding_aad(&aad, DatumGetTimestampTz(created_at),
														  no_sender ? NULL :
														  DatumGetTextPP(sender)),
									&why);
	chatcrypt_binding_free_aad(&aad);
	return resealed;
}

/*
 * Seals a row again under the newest key, in the format of the place.  The row has its ctid,
 * message id and envelope, and the columns of more_columns().
 */
static bytea *
reseal(const Work *work, const uint8 *message_id, const bytea *envelope, HeapTuple tuple,
	   TupleDesc desc)
{
	cc_part_id	part = {.file_id = message_id};
	Datum		created_at;
	Datum		sender;
	bool		isnull;
	cc_status	why;

	switch (work->place->kind)
	{
		case CHATCRYPT_PLACE_FILES:
		case CHATCRYPT_PLACE_PROTECTED:
			return chatcrypt_seal_again_as_data(work->chat_id, message_id, envelope,
												work->place->aad, &why);
		case CHATCRYPT_PLACE_PARTS:
			part.part = (uint32) DatumGetInt32(SPI_getbinval(tuple, desc, 4, &isnull));
			part.last = DatumGetBool(SPI_getbinval(tuple, desc, 5, &isnull));
			return chatcrypt_attachmentseal_reseal_part(work->chat_id, &part, envelope, &why);
		case CHATCRYPT_PLACE_MESSAGES:
			created_at = SPI_getbinval(tuple, desc, 4, &isnull);
			sender = SPI_getbinval(tuple, desc, 5, &isnull);
			return reseal_message(work->chat_id, message_id, created_at, sender, isnull, envelope);
		case CHATCRYPT_PLACE_REGISTERED:
			break;
	}
	return chatcrypt_seal_again(work->chat_id, message_id, envelope, work->place->aad, &why);
}

static void
reseal_row(Work *work, HeapTuple tuple, TupleDesc desc)
{
	uint8		message_id[CC_ID_LEN];
	bool		isnull;
	Datum		value;
	bytea	   *envelope;
	bytea	   *resealed;

	chatcrypt_registry_id(work->place->message_type, SPI_getbinval(tuple, desc, 2, &isnull),
						  message_id);
	value = SPI_getbinval(tuple, desc, 3, &isnull);
	envelope = DatumGetByteaPP(value);
	resealed = reseal(work, message_id, envelope, tuple, desc);
	if ((Pointer) envelope != DatumGetPointer(value))
		pfree(envelope);
	if (resealed == NULL)
	{
		work->unreadable++;
		return;
	}
	work->rows[work->waiting] = SPI_getbinval(tuple, desc, 1, &isnull);
	work->messages[work->waiting] = SPI_getbinval(tuple, desc, 2, &isnull);
	work->old[work->waiting] = value;
	work->envelopes[work->waiting] = PointerGetDatum(resealed);
	work->waiting++;
	work->bytes += VARSIZE(resealed);
}

/* Locks as many of the rows as it can, and moves them to the newest key; returns how many. */
static uint64
move_rows(Work *work, ArrayType *rows)
{
	const ChatcryptPlace *place = work->place;
	ChatcryptArg args[3];
	SPITupleTable *found;
	uint64		nfound;
	bytea	   *header = newest_header_in(place, work->chat_id);
	Datum		chat_value;

	if (header == NULL || !chatcrypt_registry_chat_value(place, work->chat_id, &chat_value))
		return 0;
	args[0] = (ChatcryptArg) {TIDARRAYOID, PointerGetDatum(rows), false};
	work->chat = (ChatcryptArg) {chatcrypt_registry_id_type(place->chat_type), chat_value, false};
	args[1] = work->chat;
	args[2] = (ChatcryptArg) {BYTEAOID, PointerGetDatum(header), false};
	nfound = chatcrypt_owner_execute(psprintf("SELECT ctid, %s%s, %s%s "
											  "FROM ONLY %s "
											  "WHERE ctid = ANY ($1) AND %s = $2 "
											  "AND substr(%s, 1, 5) <> $3 AND %s IS NOT NULL "
											  "FOR NO KEY UPDATE SKIP LOCKED",
											  place->message,
											  place->message_type == UUIDOID ? "" : "::bigint",
											  place->envelope, more_columns(place),
											  place->table, place->chat, place->envelope,
											  place->message),
									 args, lengthof(args));
	found = SPI_tuptable;
	work->rows = palloc(sizeof(Datum) * (nfound + 1));
	work->messages = palloc(sizeof(Datum) * (nfound + 1));
	work->old = palloc(sizeof(Datum) * (nfound + 1));
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

/*
 * Moves a row to the newest key.  Returns false where it is no longer an outdated row of the
 * chat, or another transaction has it.
 */
static bool
move_row(Work *work, ChatcryptDirectUpdate *update, ItemPointer at, const bytea *header)
{
	Datum	   *values;
	bool	   *nulls;
	bytea	   *envelope;
	bytea	   *resealed;
	bool		moved;

	if (!chatcrypt_directupdate_fetch(update, at, &values, &nulls) || nulls[MESSAGE_BODY] ||
		memcmp(DatumGetUUIDP(values[MESSAGE_CHAT_ID])->data, work->chat_id, CC_ID_LEN) != 0)
		return false;
	envelope = DatumGetByteaPP(values[MESSAGE_BODY]);
	if (memcmp(VARDATA_ANY(envelope), VARDATA(header), CC_HEADER_LEN) == 0)
		return false;
	resealed = reseal_message(work->chat_id, DatumGetUUIDP(values[MESSAGE_ID])->data,
							  values[MESSAGE_CREATED_AT], values[MESSAGE_SENDER],
							  nulls[MESSAGE_SENDER], envelope);
	if (resealed == NULL)
	{
		work->unreadable++;
		return true;
	}
	moved = chatcrypt_directupdate_replace(update, at, resealed,
										   (uint32) chatcrypt_seal_fresh_version(resealed));
	work->moved += moved;
	pfree(resealed);
	if (DatumGetPointer(values[MESSAGE_BODY]) != (Pointer) envelope)
		pfree(envelope);
	return moved;
}

/* The same as move_rows(), for chatcrypt.sealed_message and without its locks. */
static uint64
move_messages(Work *work, ChatcryptDirectUpdate *update, ItemPointer rows, int count)
{
	const bytea *header = newest_header(work->chat_id);
	uint64		got = 0;

	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		got += move_row(work, update, &rows[i], header);
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
chatcrypt_reencryptionpass_move(void *arg)
{
	ChatcryptSlice *slice = arg;
	const ChatcryptPass *pass = slice->pass;
	ItemPointer rows = &pass->rows[slice->first];
	Work		work = {.chat_id = pass->chat_id};
	uint64		got;
	ChatcryptOwnerScope scope;
	ChatcryptDirectUpdate *update;

	work.place = place_of(pass, RowExclusiveLock);
	chatcrypt_owner_defer_nothing();
	chatcrypt_owner_begin_as(&scope, work.place->owner);
	update = work.place->kind == CHATCRYPT_PLACE_MESSAGES ? chatcrypt_directupdate_open() : NULL;
	if (update != NULL)
	{
		got = move_messages(&work, update, rows, slice->count);
		chatcrypt_directupdate_close(update);
	}
	else
		got = move_rows(&work, array_of_rows(rows, slice->count));
	chatcrypt_owner_end(&scope);
	slice->moved = work.moved;
	slice->unreadable = work.unreadable;
	slice->passed_over = slice->count - (int64) got;
}
