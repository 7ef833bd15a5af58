/*
 * protectrows.h
 *		Seals or opens the stored rows of a table as its labels say: seals the values of columns
 *		that are mixed, and opens those of columns that are opening.
 */
#ifndef CHATCRYPT_PROTECTROWS_H
#define CHATCRYPT_PROTECTROWS_H

#include "storage/block.h"

#include "pg/protect/protected.h"

/* One pass over a table.  The caller runs each step in a transaction of its own. */
typedef struct ChatcryptRowsPass
{
	Oid			relation;
	int			batch;			/* rows after which a step ends, at the end of their block */
	BlockNumber next;			/* where the next step starts */
	BlockNumber blocks;			/* size of the table when the pass began */
	int64		changed;		/* rows that the last step changed */
	int64		busy;			/* rows of the pass that other transactions had locked */
	int64		unreadable;		/* rows of the pass that stay sealed: a value does not open */
} ChatcryptRowsPass;

/* Does one step, from block next on. */
extern void chatcrypt_protectrows_step(ChatcryptRowsPass *pass);

#endif
