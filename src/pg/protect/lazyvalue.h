/*
 * lazyvalue.h
 *		A value of a protected column that is opened when it is first used.
 *
 * A lazy value is a read-only expanded object (utils/expandeddatum.h), which PostgreSQL flattens
 * wherever a value is read, copied or written.  Flattening opens the stored value once, and keeps
 * the result until the slot is cleared.  So count(*), reading columns after the protected one, row
 * locks and an UPDATE of other columns open no value and need no key.
 *
 * Whether a lazy value shows plaintext or the sealed form is decided when the row is deformed, by
 * the rights that the current user has then.
 */
#ifndef CHATCRYPT_LAZYVALUE_H
#define CHATCRYPT_LAZYVALUE_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/expandeddatum.h"

#include "pg/protect/plainmemory.h"
#include "pg/protect/protected.h"
#include "pg/protect/sealedform.h"

typedef struct ChatcryptLazy
{
	ExpandedObjectHeader header;
	ChatcryptSeat seat;			/* its ids are set once slot is NULL */
	ChatcryptColumnState state;
	bool		shows_sealed;
	const struct varlena *stored;
	struct varlena *shown;		/* the result of flattening; NULL until it is known */
	TupleTableSlot *slot;		/* has the ids; NULL once they are in seat */
	const ChatcryptProtected *table;	/* the description of that slot's row */
	ChatcryptPlainMemory *memory;
} ChatcryptLazy;

/* Called once for each protected column of a slot. */
extern void chatcrypt_lazyvalue_init(ChatcryptLazy *lazy, const ChatcryptColumn *column,
								ChatcryptPlainMemory *memory);

/* Called for each row. */
static inline Datum
chatcrypt_lazyvalue_set(ChatcryptLazy *lazy, TupleTableSlot *slot, const ChatcryptProtected *table,
				   Datum stored, bool shows_sealed)
{
	lazy->stored = (const struct varlena *) DatumGetPointer(stored);
	lazy->shown = NULL;
	lazy->slot = slot;
	lazy->table = table;
	lazy->shows_sealed = shows_sealed;
	return EOHPGetRODatum(&lazy->header);
}

/* The lazy value that a datum is; NULL for any other value. */
extern ChatcryptLazy *chatcrypt_lazyvalue_of(Datum value);

/* A copy of the value for another slot, in the memory of that slot. */
extern Datum chatcrypt_lazyvalue_copy(ChatcryptLazy *lazy, ChatcryptPlainMemory *memory);

/* Takes the ids from the slot.  Call this before the slot is cleared or the ids are compared. */
extern const ChatcryptSeat *chatcrypt_lazyvalue_seat(ChatcryptLazy *lazy);

/*
 * The stored value, detoasted, and its envelope, or NULL where it has none.  In a column that is
 * mixed or opening, a plain value may look like an envelope, so there an envelope counts only if
 * it opens, or if all keys of its chat were destroyed.  The envelope is new, in the current memory
 * context.  A plain value that was detoasted is wiped together with that context, and must not be
 * freed before.
 */
extern struct varlena *chatcrypt_lazyvalue_stored(ChatcryptLazy *lazy, bytea **envelope);

/* Whether the value has the form of an envelope whose key does not exist here. */
extern bool chatcrypt_lazyvalue_is_orphan(ChatcryptLazy *lazy);

/*
 * The plaintext, in new memory that the caller wipes; NULL where the value does not open and
 * on_failure allows that.  Does not check chatcrypt_reader.
 */
extern struct varlena *chatcrypt_lazyvalue_open(ChatcryptLazy *lazy, ChatcryptOnFailure on_failure);

/*
 * Whether the value is to be shown as NULL, as chatcrypt.on_decrypt_error says of values that do
 * not open.  This is decided when the row is deformed, and may have to open the value then.
 */
extern bool chatcrypt_lazyvalue_is_null(ChatcryptLazy *lazy);

#endif
