/*
 * lazyvalue.c
 *		A value of a protected column that is opened when it is first used: see lazyvalue.h.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "pg/access/access.h"
#include "pg/access/rights.h"
#include "pg/compat.h"
#include "pg/protect/destroyedchats.h"
#include "pg/protect/lazyvalue.h"

static Size get_flat_size(ExpandedObjectHeader *header);
static void flatten_into(ExpandedObjectHeader *header, void *result, Size allocated_size);

static const ExpandedObjectMethods lazy_methods = {get_flat_size, flatten_into};

void
chatcrypt_lazyvalue_init(ChatcryptLazy *lazy, const ChatcryptColumn *column,
					ChatcryptPlainMemory *memory)
{
	memset(lazy, 0, sizeof(*lazy));
	/* A read-only object is never transferred or deleted, so its context is not used. */
	EOH_init_header(&lazy->header, &lazy_methods, memory->parent);
	lazy->seat.form = column->form;
	memcpy(lazy->seat.aad, column->aad, sizeof(column->aad));
	lazy->state = column->label.state;
	lazy->memory = memory;
}

ChatcryptLazy *
chatcrypt_lazyvalue_of(Datum value)
{
	ExpandedObjectHeader *header;

	if (!VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
		return NULL;
	header = DatumGetEOHP(value);
	return header->eoh_methods == &lazy_methods ? (ChatcryptLazy *) header : NULL;
}

Datum
chatcrypt_lazyvalue_copy(ChatcryptLazy *lazy, ChatcryptPlainMemory *memory)
{
	MemoryContext previous = MemoryContextSwitchTo(chatcrypt_plainmemory_context(memory));
	ChatcryptLazy *copy = palloc(sizeof(ChatcryptLazy));

	(void) chatcrypt_lazyvalue_seat(lazy);
	*copy = *lazy;
	EOH_init_header(&copy->header, &lazy_methods, memory->parent);
	copy->stored = (struct varlena *)
		DatumGetPointer(datumCopy(PointerGetDatum(lazy->stored), false, -1));
	copy->shown = NULL;
	copy->memory = memory;
	MemoryContextSwitchTo(previous);
	return EOHPGetRODatum(&copy->header);
}

const ChatcryptSeat *
chatcrypt_lazyvalue_seat(ChatcryptLazy *lazy)
{
	const ChatcryptProtected *table = lazy->table;
	bool		no_chat;
	bool		no_message;
	Datum		chat;
	Datum		message;

	if (lazy->slot == NULL)
		return &lazy->seat;
	chat = slot_getattr(lazy->slot, table->chat, &no_chat);
	message = slot_getattr(lazy->slot, table->message, &no_message);
	if (no_chat || no_message)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a row of a protected table lacks the id of its %s",
						no_chat ? "chat" : "message")));
	chatcrypt_protected_id(chat, table->chat_type, lazy->seat.chat_id);
	chatcrypt_protected_id(message, table->message_type, lazy->seat.message_id);
	lazy->slot = NULL;
	return &lazy->seat;
}

static void
wipe_later(const ChatcryptLazy *lazy, struct varlena *stored)
{
	if (stored != lazy->stored)
		chatcrypt_plainmemory_wipe_later(stored, VARSIZE_ANY(stored));
}

/* The stored value, and what has the form of an envelope in it, or NULL. */
static struct varlena *
detoast(ChatcryptLazy *lazy, bytea **envelope)
{
	const ChatcryptSeat *seat = chatcrypt_lazyvalue_seat(lazy);
	struct varlena *stored = pg_detoast_datum_packed(unconstify(struct varlena *, lazy->stored));

	*envelope = chatcrypt_sealedform_envelope(seat->form, stored);
	if (*envelope == NULL)
		wipe_later(lazy, stored);
	return stored;
}

/* Outside a sealed column, a plain value may look like an envelope. */
static bool
is_sealed(const ChatcryptLazy *lazy, const bytea *envelope)
{
	return lazy->state == CHATCRYPT_COLUMN_SEALED ||
		chatcrypt_sealedform_opens(&lazy->seat, envelope) ||
		chatcrypt_seal_was_destroyed(lazy->seat.chat_id, envelope);
}

struct varlena *
chatcrypt_lazyvalue_stored(ChatcryptLazy *lazy, bytea **envelope)
{
	struct varlena *stored = detoast(lazy, envelope);

	if (*envelope != NULL && !is_sealed(lazy, *envelope))
	{
		pfree(*envelope);
		*envelope = NULL;
		wipe_later(lazy, stored);
	}
	return stored;
}

bool
chatcrypt_lazyvalue_is_orphan(ChatcryptLazy *lazy)
{
	bytea	   *envelope;

	(void) detoast(lazy, &envelope);
	return envelope != NULL && chatcrypt_sealedform_lacks_key(&lazy->seat, envelope);
}

/* In a sealed column, a value that is not sealed is damaged, or was written without chatcrypt. */
static void
refuse_plain_value(const ChatcryptLazy *lazy)
{
	if (lazy->state == CHATCRYPT_COLUMN_SEALED)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a value of a protected column is not sealed"),
				 errdetail("The value is damaged, or was written without chatcrypt."),
				 errhint("See chatcrypt.verify_protected().")));
}

static struct varlena *
copy_of(const struct varlena *value)
{
	Size		len = VARSIZE_ANY_EXHDR(value);
	struct varlena *copy = palloc(VARHDRSZ + len);

	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), VARDATA_ANY(value), len);
	return copy;
}

/* A plain value is not freed, because it is wiped together with its memory context. */
static void
free_sealed(const ChatcryptLazy *lazy, struct varlena *stored, bytea *envelope)
{
	pfree(envelope);
	if (stored != lazy->stored)
		pfree(stored);
}

struct varlena *
chatcrypt_lazyvalue_open(ChatcryptLazy *lazy, ChatcryptOnFailure on_failure)
{
	bytea	   *envelope;
	struct varlena *stored = chatcrypt_lazyvalue_stored(lazy, &envelope);
	struct varlena *opened;

	if (envelope == NULL)
	{
		if (on_failure == CHATCRYPT_FAIL_NULL && lazy->state == CHATCRYPT_COLUMN_SEALED)
			return NULL;
		refuse_plain_value(lazy);
		chatcrypt_access_require_for_key_use(lazy->seat.chat_id);
		opened = copy_of(stored);
	}
	else
	{
		opened = chatcrypt_sealedform_open(&lazy->seat, envelope, on_failure);
		free_sealed(lazy, stored, envelope);
	}
	return opened;
}

/* Once per session, because the warning would be the same for each row. */
static void
warn_of_sealed_form(void)
{
	static bool warned = false;

	if (warned || chatcrypt_rights_has(CHATCRYPT_MAY_READ))
		return;
	warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("protected columns are shown sealed: role \"%s\" is not a member of chatcrypt_reader",
					GetUserNameFromId(GetUserId(), false)),
			 errhint("An administrator can GRANT chatcrypt_reader to it.")));
}

/* A value that is not sealed yet is sealed on the fly for a user who may not see plaintext. */
static struct varlena *
sealed_form(ChatcryptLazy *lazy)
{
	bytea	   *envelope;
	struct varlena *stored;
	struct varlena *sealed;

	warn_of_sealed_form();
	stored = chatcrypt_lazyvalue_stored(lazy, &envelope);
	if (envelope == NULL)
		refuse_plain_value(lazy);
	if (envelope == NULL)
		return chatcrypt_sealedform_seal(&lazy->seat, stored);
	sealed = copy_of(stored);
	free_sealed(lazy, stored, envelope);
	return sealed;
}

/* Sets what is shown, in the slot's memory, so that it is wiped together with the slot. */
static void
show(ChatcryptLazy *lazy, ChatcryptOnFailure on_failure)
{
	MemoryContext previous = MemoryContextSwitchTo(chatcrypt_plainmemory_context(lazy->memory));

	if (lazy->shows_sealed)
		lazy->shown = sealed_form(lazy);
	else
	{
		chatcrypt_access_require_client();
		lazy->shown = chatcrypt_lazyvalue_open(lazy, on_failure);
		if (lazy->shown != NULL)
			chatcrypt_plainmemory_note(lazy->memory, VARDATA(lazy->shown),
									   VARSIZE(lazy->shown) - VARHDRSZ);
	}
	MemoryContextSwitchTo(previous);
}

static bool
was_destroyed(ChatcryptLazy *lazy)
{
	struct varlena *stored;
	bytea	   *envelope;
	bool		destroyed;

	if (!chatcrypt_destroyedchats_exist() ||
		!chatcrypt_destroyedchats_has(chatcrypt_lazyvalue_seat(lazy)->chat_id))
		return false;
	stored = detoast(lazy, &envelope);
	destroyed = envelope != NULL && chatcrypt_seal_was_destroyed(lazy->seat.chat_id, envelope);
	if (envelope != NULL)
		free_sealed(lazy, stored, envelope);
	return destroyed;
}

bool
chatcrypt_lazyvalue_is_null(ChatcryptLazy *lazy)
{
	if (lazy->shows_sealed)
		return false;
	switch (chatcrypt_seal_on_failure_in_views())
	{
		case CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_DESTROYED:
			return was_destroyed(lazy);
		case CHATCRYPT_FAIL_NULL:
			if (lazy->shown == NULL)
				show(lazy, CHATCRYPT_FAIL_NULL);
			return lazy->shown == NULL;
		default:
			return false;
	}
}

static Size
get_flat_size(ExpandedObjectHeader *header)
{
	ChatcryptLazy *lazy = (ChatcryptLazy *) header;

	if (lazy->shown == NULL)
		show(lazy, CHATCRYPT_FAIL_RAISE);
	return VARSIZE(lazy->shown);
}

static void
flatten_into(ExpandedObjectHeader *header, void *result, Size allocated_size)
{
	ChatcryptLazy *lazy = (ChatcryptLazy *) header;

	if (lazy->shown == NULL)
		show(lazy, CHATCRYPT_FAIL_RAISE);
	Assert(allocated_size == VARSIZE(lazy->shown));
	memcpy(result, lazy->shown, allocated_size);
}
