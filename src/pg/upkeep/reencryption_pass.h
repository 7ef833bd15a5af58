/*
 * reencryption_pass.h
 *		Takes the rows that one place holds of one chat to the chat's newest key:
 *		first a step that lists the outdated ones by their ctids, then steps that take
 *		slices of the list, each a transaction of its caller's.
 *
 * Whatever became of a row in between, a slice only touches rows that are of the
 * chat and outdated still, so that a ctid that another row got meanwhile does no
 * harm; and it only writes to rows that hold the very envelope that was read, or is
 * undone.  It takes the rows that it can have at once and passes over those that others
 * hold: it waits for no writer, and writers wait for one slice at most.  A body that
 * somebody changed in between is sealed under the newest key already, or is passed
 * over.  The plaintext never leaves chatcrypt_seal_again().
 */
#ifndef CHATCRYPT_REENCRYPTION_PASS_H
#define CHATCRYPT_REENCRYPTION_PASS_H

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
	ItemPointerData *rows;		/* out: to be freed by the caller, where there are any */
	int			nrows;			/* out: CHATCRYPT_ROWS_LISTED where there may be more */
} ChatcryptPass;

typedef struct ChatcryptSlice
{
	const ChatcryptPass *pass;
	int			first;			/* of the pass's rows */
	int			count;
	int64		moved;			/* out: now under the newest key */
	int64		unreadable;		/* out: did not open, and were left as they are */
	int64		passed_over;	/* out: taken by others, or outdated no more */
} ChatcryptSlice;

/* Steps: see pg/procedures/work.h.  The argument is a ChatcryptPass, a ChatcryptSlice. */
extern void chatcrypt_reencryption_pass_list(void *pass);
extern void chatcrypt_reencryption_pass_move(void *slice);

#endif
