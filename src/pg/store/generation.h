/*
 * generation.h
 *		A generation is a number that moves whenever rows of certain tables may have changed.
 *		What this process remembers of such rows is valid while the number is the same as when
 *		the rows were read.
 *
 * A generation moves when a trigger requests relation-cache invalidation of one of its tables
 * (invalidate.c), and when PostgreSQL invalidates the whole relation cache.  It also moves when
 * a transaction or subtransaction aborts, and when a transaction is prepared: the session may
 * remember rows that were only visible to that transaction.
 */
#ifndef CHATCRYPT_GENERATION_H
#define CHATCRYPT_GENERATION_H

#define CHATCRYPT_GENERATION_TABLES 2

/* Static, and initially all zeroes. */
typedef struct ChatcryptGeneration
{
	uint64		now;			/* the number; 0 before it is watched */
	Oid			relations[CHATCRYPT_GENERATION_TABLES]; /* its owner sets them before it reads */
	struct ChatcryptGeneration *next;
} ChatcryptGeneration;

/* Called once, before the number is read for the first time. */
extern void chatcrypt_generation_watch(ChatcryptGeneration *generation);

#endif
