/*
 * storedvalue.c
 *		Decides what is stored for a new value of a protected column: see storedvalue.h.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/heaptoast.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/snapmgr.h"

#include "pg/access/access.h"
#include "pg/access/rights.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/utf8.h"
#include "pg/protect/lazyvalue.h"
#include "pg/protect/newchats.h"
#include "pg/protect/plainmemory.h"
#include "pg/protect/sealedview.h"
#include "pg/protect/storedvalue.h"
#include "pg/store/store.h"

/* Plaintext here and below is wiped together with the memory context of the write. */
static struct varlena *
detoast(struct varlena *given)
{
	struct varlena *detoasted = pg_detoast_datum_packed(given);

	if (detoasted != given)
		chatcrypt_plainmemory_wipe_later(detoasted, VARSIZE_ANY(detoasted));
	return detoasted;
}

/* ---------- the row that an UPDATE replaces ---------- */

static HeapTuple
old_tuple(ChatcryptOldRow *old)
{
	HeapTupleData tuple = {.t_self = old->at, .t_tableOid = RelationGetRelid(old->relation)};
	Buffer		buffer;

	if (!old->fetched)
	{
		old->fetched = true;
		old->found = heap_fetch(old->relation, SnapshotAny, &tuple, &buffer, false);
		if (old->found)
		{
			old->tuple = heap_copytuple(&tuple);
			ReleaseBuffer(buffer);
		}
	}
	return old->found ? old->tuple : NULL;
}

/* The stored value of the old row and its seat.  Returns false if there is none. */
static bool
old_value(ChatcryptOldRow *old, const ChatcryptColumn *column, const ChatcryptProtected *table,
		  ChatcryptSeat *seat, Datum *value)
{
	HeapTuple	tuple = old == NULL ? NULL : old_tuple(old);
	TupleDesc	desc;
	bool		no_value;
	bool		no_chat;
	bool		no_message;
	Datum		chat;
	Datum		message;

	if (tuple == NULL)
		return false;
	desc = RelationGetDescr(old->relation);
	*value = heap_getattr(tuple, column->number, desc, &no_value);
	chat = heap_getattr(tuple, table->chat, desc, &no_chat);
	message = heap_getattr(tuple, table->message, desc, &no_message);
	if (no_value || no_chat || no_message)
		return false;
	seat->form = column->form;
	memcpy(seat->aad, column->aad, sizeof(seat->aad));
	chatcrypt_protected_id(chat, table->chat_type, seat->chat_id);
	chatcrypt_protected_id(message, table->message_type, seat->message_id);
	return true;
}

static bool
is_same_seat(const ChatcryptSeat *a, const ChatcryptSeat *b)
{
	return memcmp(a->aad, b->aad, sizeof(a->aad)) == 0 &&
		memcmp(a->chat_id, b->chat_id, CC_ID_LEN) == 0 &&
		memcmp(a->message_id, b->message_id, CC_ID_LEN) == 0;
}

static bool
is_same_value(const struct varlena *a, const struct varlena *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		cc_equal(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a));
}

/*
 * A value that a trigger returned unchanged, and that is stored out of line, is not written out of
 * line again: the new row keeps the old TOAST pointer.
 */
static bool
stays_out_of_line(const ChatcryptColumn *column, const ChatcryptSeat *seat,
				  const struct varlena *value, const ChatcryptProtected *table,
				  ChatcryptOldRow *old, Datum *stored)
{
	ChatcryptSeat old_seat;
	struct varlena *detoasted;
	struct varlena *opened;
	bytea	   *envelope;
	bool		same;

	if (old == NULL || VARSIZE_ANY_EXHDR(value) < TOAST_TUPLE_THRESHOLD / 4 ||
		!old_value(old, column, table, &old_seat, stored) || !is_same_seat(seat, &old_seat) ||
		!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(*stored)))
		return false;
	detoasted = pg_detoast_datum((struct varlena *) DatumGetPointer(*stored));
	if (is_same_value(detoasted, value))
		return true;
	envelope = chatcrypt_sealedform_envelope(column->form, detoasted);
	opened = envelope == NULL ? NULL :
		chatcrypt_sealedform_open(seat, envelope, CHATCRYPT_FAIL_NULL);
	same = opened != NULL && is_same_value(opened, value);
	chatcrypt_utf8_wipe_text(opened);
	return same;
}

bool
chatcrypt_storedvalue_stays(const ChatcryptColumn *column, const ChatcryptProtected *table,
					   ChatcryptOldRow *old, Datum *value)
{
	ChatcryptSeat seat;
	bytea	   *envelope;

	if (old == NULL || chatcrypt_on_decrypt_error == CHATCRYPT_ON_ERROR_RAISE ||
		!old_value(old, column, table, &seat, value))
		return false;
	envelope = chatcrypt_sealedform_envelope(
		column->form, detoast((struct varlena *) DatumGetPointer(*value)));
	if (envelope == NULL)
		return false;
	if (chatcrypt_on_decrypt_error == CHATCRYPT_ON_ERROR_NULL_DESTROYED)
		return chatcrypt_seal_was_destroyed(seat.chat_id, envelope);
	return !chatcrypt_sealedform_opens(&seat, envelope);
}

/* ---------- new values ---------- */

static Datum
open_to_store(const ChatcryptSeat *seat, const bytea *envelope)
{
	struct varlena *opened = chatcrypt_sealedform_open(seat, envelope, CHATCRYPT_FAIL_RAISE);

	chatcrypt_plainmemory_wipe_later(opened, VARSIZE_ANY(opened));
	return PointerGetDatum(opened);
}

static void
refuse_other_place(const ChatcryptSeat *seat, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("a sealed value cannot be stored for message %s of chat %s: %s",
					chatcrypt_id_text(seat->message_id), chatcrypt_id_text(seat->chat_id), why),
			 errdetail("The value was sealed for another chat, message or column, and would have to be opened."),
			 errhint("A member of both chatcrypt_reader and chatcrypt_writer can change the ids of a row.")));
}

static struct varlena *
within_length(const ChatcryptColumn *column, struct varlena *value)
{
	const char *bytes = VARDATA_ANY(value);
	int			len = (int) VARSIZE_ANY_EXHDR(value);
	int			most;
	struct varlena *cut;

	if (column->label.length == 0 || pg_mbstrlen_with_len(bytes, len) <= column->label.length)
		return value;
	most = pg_mbcharcliplen(bytes, len, column->label.length);
	for (int i = most; i < len; i++)
		if (bytes[i] != ' ')
			ereport(ERROR,
					(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
					 errmsg("value too long for type character varying(%d)",
							column->label.length)));
	cut = palloc(VARHDRSZ + most);
	SET_VARSIZE(cut, VARHDRSZ + most);
	memcpy(VARDATA(cut), bytes, most);
	chatcrypt_plainmemory_wipe_later(cut, VARSIZE(cut));
	return cut;
}

Datum
chatcrypt_storedvalue_within_length(const ChatcryptColumn *column, Datum value)
{
	struct varlena *given = (struct varlena *) DatumGetPointer(value);

	if (column->label.length == 0 || VARATT_IS_EXTERNAL_EXPANDED(given))
		return value;
	given = detoast(given);
	if (chatcrypt_sealedform_begins(column->form, given))
		return value;
	return PointerGetDatum(within_length(column, given));
}

static Datum
seal_new(const ChatcryptColumn *column, const ChatcryptSeat *seat, struct varlena *value)
{
	value = within_length(column, value);
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (column->label.state == CHATCRYPT_COLUMN_OPENING)
	{
		chatcrypt_access_require_for_key_use(seat->chat_id);
		return PointerGetDatum(value);
	}
	chatcrypt_newchats_ensure(seat->chat_id);
	return PointerGetDatum(chatcrypt_sealedform_seal(seat, value));
}

/* Rule 2. */
static Datum
seal_elsewhere(const ChatcryptColumn *column, const ChatcryptSeat *seat, ChatcryptLazy *lazy)
{
	struct varlena *opened;

	if (lazy->shows_sealed || !chatcrypt_rights_has(CHATCRYPT_MAY_READ))
		refuse_other_place(seat, "the current user is shown only the sealed form");
	chatcrypt_access_require_client();
	opened = chatcrypt_lazyvalue_open(lazy, CHATCRYPT_FAIL_RAISE);
	chatcrypt_plainmemory_wipe_later(opened, VARSIZE_ANY(opened));
	return seal_new(column, seat, opened);
}

/* The value keeps its seat, but may have to be stored in another state: sealed, or plain. */
static Datum
convert(const ChatcryptColumn *column, const ChatcryptSeat *seat, ChatcryptLazy *lazy)
{
	bytea	   *envelope;
	struct varlena *stored = chatcrypt_lazyvalue_stored(lazy, &envelope);

	if (column->label.state == CHATCRYPT_COLUMN_OPENING)
		return envelope == NULL || chatcrypt_sealedform_lacks_key(seat, envelope) ?
			PointerGetDatum(stored) : open_to_store(seat, envelope);
	if (envelope != NULL)
		return PointerGetDatum(lazy->stored);
	chatcrypt_newchats_ensure(seat->chat_id);
	return PointerGetDatum(chatcrypt_sealedform_seal(seat, stored));
}

static Datum
store_lazy(const ChatcryptColumn *column, const ChatcryptSeat *seat, ChatcryptLazy *lazy)
{
	if (!is_same_seat(seat, chatcrypt_lazyvalue_seat(lazy)))
		return seal_elsewhere(column, seat, lazy);
	if (column->label.state == CHATCRYPT_COLUMN_SEALED && lazy->state == CHATCRYPT_COLUMN_SEALED)
		return PointerGetDatum(lazy->stored);
	return convert(column, seat, lazy);
}

static bool
has_deployment(void)
{
	uint8		id[CC_ID_LEN];

	return chatcrypt_store_deployment_id(id);
}

/* Rules 3 and 4: returns true if the value is to be stored as it is. */
static bool
is_kept(const ChatcryptSeat *seat, const bytea *envelope)
{
	bool		restores = chatcrypt_sealedview_restores();

	/* pg_restore -j may bring the keys before the id of the deployment that they are bound to. */
	if (restores && !has_deployment())
		return true;
	if (chatcrypt_sealedform_opens(seat, envelope))
		return true;
	if (restores)
	{
		if (chatcrypt_sealedform_lacks_key(seat, envelope))
			return true;
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a value for message %s of chat %s does not open",
						chatcrypt_id_text(seat->message_id), chatcrypt_id_text(seat->chat_id)),
				 errdetail("Its key exists, but the value is damaged, or was sealed for another message or column.")));
	}
	return false;
}

Datum
chatcrypt_storedvalue_of(const ChatcryptColumn *column, ChatcryptSeat *seat, Datum value,
					   const ChatcryptProtected *table, ChatcryptOldRow *old)
{
	ChatcryptLazy *lazy = chatcrypt_lazyvalue_of(value);
	struct varlena *given;
	bytea	   *envelope;
	Datum		stored;

	seat->form = column->form;
	memcpy(seat->aad, column->aad, sizeof(seat->aad));
	if (lazy != NULL)
		return store_lazy(column, seat, lazy);
	given = detoast((struct varlena *) DatumGetPointer(value));
	envelope = chatcrypt_sealedform_envelope(column->form, given);
	if (envelope != NULL && is_kept(seat, envelope))
		return column->label.state == CHATCRYPT_COLUMN_OPENING &&
			chatcrypt_sealedform_opens(seat, envelope) ?
			open_to_store(seat, envelope) : PointerGetDatum(given);
	if (chatcrypt_sealedform_begins(column->form, given) && chatcrypt_sealedview_applies())
		refuse_other_place(seat, "it does not open there");
	if (column->label.state == CHATCRYPT_COLUMN_SEALED &&
		stays_out_of_line(column, seat, given, table, old, &stored))
		return stored;
	return seal_new(column, seat, given);
}
