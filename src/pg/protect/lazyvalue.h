/*
 * lazyvalue.h
 *		A value of a protected column that is opened when somebody looks at it.
 *
 * It is a read-only expanded object (utils/expandeddatum.h), which PostgreSQL flattens wherever
 * a value is looked at, copied or written.  Flattening opens the stored value, once, and keeps
 * the result until the slot is cleared.  So count(*), columns behind the protected one, row
 * locks and an UPDATE of other columns open nothing and ask for no key.
 *
 * Whether it shows plaintext or the sealed form is decided when the row is taken apart, by the
 * rights of the current user then.
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
	ChatcryptSeat seat;			/* with ids once slot is NULL */
	ChatcryptColumnState state;
	bool		shows_sealed;
	const struct varlena *stored;
	struct varlena *shown;		/* what flattening gives, once that is known */
	TupleTableSlot *slot;		/* where the ids are to be found, until they were */
	const ChatcryptProtected *table;	/* of that slot */
	ChatcryptPlainMemory *memory;
} ChatcryptLazy;

/* Once for each column of a slot. */
extern void chatcrypt_lazyvalue_init(ChatcryptLazy *lazy, const ChatcryptColumn *column,
								ChatcryptPlainMemory *memory);

/* For each row. */
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

/* NULL for any other value. */
extern ChatcryptLazy *chatcrypt_lazyvalue_of(Datum value);

/* The same value for another slot, in that one's memory. */
extern Datum chatcrypt_lazyvalue_copy(ChatcryptLazy *lazy, ChatcryptPlainMemory *memory);

/* Takes the ids from the slot: before that is cleared, or they are compared. */
extern const ChatcryptSeat *chatcrypt_lazyvalue_seat(ChatcryptLazy *lazy);

/*
 * The stored value, detoasted; and its envelope, where it has the form of one and, in a column
 * that is mixed or opening, opens: there a plain value may look like an envelope.  New, in the
 * current memory context.
 */
extern struct varlena *chatcrypt_lazyvalue_stored(ChatcryptLazy *lazy, bytea **envelope);

/* Whether it has the form of an envelope, and a chat whose key of that version is not here. */
extern bool chatcrypt_lazyvalue_is_orphan(ChatcryptLazy *lazy);

/*
 * The plaintext, in new memory of the caller's to wipe, without asking for rights; NULL where it does not
 * open and on_failure allows that.
 */
extern struct varlena *chatcrypt_lazyvalue_open(ChatcryptLazy *lazy, ChatcryptOnFailure on_failure);

/*
 * Whether it is to be NULL, as chatcrypt.on_decrypt_error wants of values that do not open: that
 * is decided when the row is taken apart, and needs a look at the value then.
 */
extern bool chatcrypt_lazyvalue_is_null(ChatcryptLazy *lazy);

#endif
