/*
 * protectrows.h
 *		Brings the rows of a table to what its labels say: seals those of columns that are mixed,
 *		and opens those of columns that are opening.
 */
#ifndef CHATCRYPT_PROTECTROWS_H
#define CHATCRYPT_PROTECTROWS_H

#include "storage/block.h"

#include "pg/protect/protected.h"

/* One pass over a table, of which each step is a transaction. */
typedef struct ChatcryptRowsPass
{
	Oid			relation;
	int			batch;			/* rows that a step changes at most, but for the rest of a block */
	BlockNumber next;
	BlockNumber blocks;
	int64		changed;		/* by the last step */
	int64		busy;			/* rows of the pass that others were about to change */
	int64		unreadable;		/* of a column that is opening: they stay sealed */
} ChatcryptRowsPass;

/* A step: goes on from block next. */
extern void chatcrypt_protectrows_step(ChatcryptRowsPass *pass);

#endif
