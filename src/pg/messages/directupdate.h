/*
 * directupdate.h
 *		Gives rows of chatcrypt.sealed_message new envelopes the way the executor would, but
 *		without locking the rows first and without waiting for other transactions.  This makes
 *		re-encryption affordable.
 *
 * Where the table has something that only the executor handles (a trigger, a rule, an added
 * column or constraint, partitions) there is no direct update, and the caller uses SQL.
 */
#ifndef CHATCRYPT_DIRECTUPDATE_H
#define CHATCRYPT_DIRECTUPDATE_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

typedef struct ChatcryptDirectUpdate ChatcryptDirectUpdate;

/*
 * Opens a direct update in the current memory context; NULL where the caller must use SQL.  The
 * caller closes it, unless the transaction aborts.
 */
extern ChatcryptDirectUpdate *chatcrypt_directupdate_open(void);
extern void chatcrypt_directupdate_close(ChatcryptDirectUpdate *update);

/*
 * The columns of a row that the active snapshot sees, in the order of the table's columns;
 * valid until the next call.  False where there is no such row.
 */
extern bool chatcrypt_directupdate_fetch(ChatcryptDirectUpdate *update, ItemPointer at,
										 Datum **values, bool **nulls);

/*
 * Writes the row that was fetched last with another envelope.  False, with nothing done, where
 * another transaction has changed or locked it.
 */
extern bool chatcrypt_directupdate_replace(ChatcryptDirectUpdate *update, ItemPointer at,
										   bytea *envelope, uint32 dek_version);

#endif
