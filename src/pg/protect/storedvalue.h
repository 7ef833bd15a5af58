/*
 * storedvalue.h
 *		What is stored of a new value of a protected column, and what right that takes.
 */
#ifndef CHATCRYPT_STOREDVALUE_H
#define CHATCRYPT_STOREDVALUE_H

#include "postgres.h"

#include "pg/protect/protected.h"
#include "pg/protect/sealedform.h"

/* What an UPDATE replaces, if it replaces anything: for chatcrypt_storedvalue_of() alone. */
typedef struct ChatcryptOldRow
{
	Relation	relation;
	ItemPointerData at;
	bool		fetched;
	bool		found;
	struct HeapTupleData *tuple;	/* a copy */
} ChatcryptOldRow;

/*
 * What is stored of a value, in the current memory context or where the value is.  old is NULL
 * for a new row.  The rules:
 *
 * 1. A value that was read and not looked at, and whose chat, message and column are the same,
 *	  stays as it is stored; nothing is opened, and no right is asked for.
 * 2. The same with other ids or another column is opened and sealed anew, by who is reader and
 *	  writer.
 * 3. A plain value in the form of an envelope that opens here is stored as it is.
 * 4. One that does not is what a restore brings (sealedview.h), is refused from who is shown the
 *	  sealed form, and otherwise is text like any other.
 * 5. Any other value is sealed, for a writer.
 */
extern Datum chatcrypt_storedvalue_of(const ChatcryptColumn *column, ChatcryptSeat *seat, Datum value,
									const ChatcryptProtected *table, ChatcryptOldRow *old);

/*
 * A value within the limit of varchar(n), which the column's type does not say any more: blanks
 * beyond it are cut, as that type does, and anything else is an error.
 */
extern Datum chatcrypt_storedvalue_within_length(const ChatcryptColumn *column, Datum value);

/*
 * For a NULL in the place of a value that was shown as NULL because it does not open: true, with
 * the value that stays stored.
 */
extern bool chatcrypt_storedvalue_stays(const ChatcryptColumn *column, const ChatcryptProtected *table,
								   ChatcryptOldRow *old, Datum *value);

#endif
