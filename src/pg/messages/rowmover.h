/*
 * rowmover.h
 *		Gives rows of chatcrypt.sealed_message new envelopes the way the executor would, but
 *		without locking them first and without waiting for anybody: what makes
 *		re-encryption affordable.
 *
 * Where the table has something that only the executor does (a trigger, a rule, an
 * added column or constraint, partitions) there is no mover, and the caller uses SQL.
 */
#ifndef CHATCRYPT_ROWMOVER_H
#define CHATCRYPT_ROWMOVER_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

typedef struct ChatcryptRowMover ChatcryptRowMover;

/* In the current memory context, until the caller closes it or the transaction aborts. */
extern ChatcryptRowMover *chatcrypt_rowmover_open(void);
extern void chatcrypt_rowmover_close(ChatcryptRowMover *mover);

/*
 * The columns of a row that the active snapshot shows, in the order of the table's;
 * valid until the next call.  False where there is none.
 */
extern bool chatcrypt_rowmover_fetch(ChatcryptRowMover *mover, ItemPointer at, Datum **values,
									 bool **nulls);

/*
 * Writes the row that was fetched last with another envelope.  False where somebody
 * else has changed or locked it, and nothing was done.
 */
extern bool chatcrypt_rowmover_replace(ChatcryptRowMover *mover, ItemPointer at, bytea *envelope,
									   uint32 dek_version);

#endif
