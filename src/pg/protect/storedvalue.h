/*
 * storedvalue.h
 *		Decides what is stored for a new value of a protected column, and which rights that needs.
 */
#ifndef CHATCRYPT_STOREDVALUE_H
#define CHATCRYPT_STOREDVALUE_H

#include "postgres.h"

#include "pg/protect/protected.h"
#include "pg/protect/sealedform.h"

/* The row that an UPDATE replaces.  Its tuple is fetched when it is first needed. */
typedef struct ChatcryptOldRow
{
	Relation	relation;
	ItemPointerData at;
	bool		fetched;
	bool		found;
	struct HeapTupleData *tuple;	/* a copy */
} ChatcryptOldRow;

/*
 * The form in which a value is stored, in the current memory context or where the value is.  old is
 * NULL for a new row.  The rules:
 *
 * 1. A lazy value whose chat, message and column are the same stays as it is stored; no value is
 *	  opened, and no right is needed.
 * 2. A lazy value with other ids or from another column is opened and sealed anew.  The user must
 *	  be a reader and a writer.
 * 3. Any other value that has the form of an envelope, and opens here, is stored as it is.
 * 4. One that does not open here is stored as it is by a restore if its key does not exist here
 *	  (sealedview.h), is refused for a user who is shown the sealed form, and otherwise is text
 *	  like any other.
 * 5. All other values are sealed.  The user must be a writer.
 *
 * In a column that is mixed, rule 1 seals a plain value; in one that is opening, all values are
 * stored in plaintext where the rules above would seal them or keep an envelope that opens.
 */
extern Datum chatcrypt_storedvalue_of(const ChatcryptColumn *column, ChatcryptSeat *seat,
									  Datum value, const ChatcryptProtected *table,
									  ChatcryptOldRow *old);

/*
 * Applies the limit of varchar(n), which the catalog no longer has for a protected column: spaces
 * beyond the limit are removed, as for that type, and any other characters are an error.
 */
extern Datum chatcrypt_storedvalue_within_length(const ChatcryptColumn *column, Datum value);

/*
 * For a new value that is NULL: returns true if the old value was shown as NULL because it does not
 * open.  That value then stays stored.
 */
extern bool chatcrypt_storedvalue_stays(const ChatcryptColumn *column,
										const ChatcryptProtected *table, ChatcryptOldRow *old,
										Datum *value);

#endif
