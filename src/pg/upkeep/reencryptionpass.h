/*
 * reencryptionpass.h
 *		Moves the rows of one chat in one place to the chat's newest key: first one step
 *		lists the outdated rows by their ctids, then further steps move slices of the list.
 *		The caller runs each step in a transaction of its own.
 *
 * Whatever happened to a row in between, a slice only touches rows that still belong to the
 * chat and are still outdated, so that a ctid which another row got meanwhile does no harm.
 * It only writes to rows that hold the very envelope that was read; otherwise the slice is
 * undone.  It takes the rows that it can lock at once and passes over those that other
 * transactions hold: it waits for no writer, and writers wait for one slice at most.  A body
 * that was changed in between is already sealed under the newest key, or is passed over.  The
 * plaintext never leaves chatcrypt_seal_again().
 */
#ifndef CHATCRYPT_REENCRYPTIONPASS_H
#define CHATCRYPT_REENCRYPTIONPASS_H

#include "storage/itemptr.h"

#include "pg/upkeep/registry.h"

/* Rows that are listed at once: 6 bytes each. */
#define CHATCRYPT_ROWS_LISTED	200000

typedef struct ChatcryptPass
{
	const uint8 *chat_id;
	const ChatcryptPlace *known;	/* what the run knew of the place at its beginning */
	MemoryContext context;		/* of rows */
	ItemPointerData after;		/* in: where the last list ended; out: where this one does */
	ItemPointerData *rows;		/* out: to be freed by the caller where nrows is not 0 */
	int			nrows;			/* out: CHATCRYPT_ROWS_LISTED where there may be more */
} ChatcryptPass;

typedef struct ChatcryptSlice
{
	const ChatcryptPass *pass;
	int			first;			/* index in the rows of the pass */
	int			count;
	int64		moved;			/* out: now under the newest key */
	int64		unreadable;		/* out: did not open, and were left unchanged */
	int64		passed_over;	/* out: held by other transactions, or no longer outdated */
} ChatcryptSlice;

/* Steps (pg/procedures/work.h), with a ChatcryptPass and a ChatcryptSlice as arguments. */
extern void chatcrypt_reencryptionpass_list(void *pass);
extern void chatcrypt_reencryptionpass_move(void *slice);

#endif
