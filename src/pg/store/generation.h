/*
 * generation.h
 *		A number that moves whenever rows of certain tables may have changed: what this process
 *		remembers of such rows is good while the number is the one as of which they were read.
 *
 * It moves when a trigger asks for relation-cache invalidation of one of the tables
 * (invalidate.c), and whatever the table when all invalidations were lost.  It moves too when a
 * (sub)transaction aborts or is prepared: what it saw of its own rows is not true for others,
 * and may never be.
 */
#ifndef CHATCRYPT_GENERATION_H
#define CHATCRYPT_GENERATION_H

#define CHATCRYPT_GENERATION_TABLES 2

/* Static, and zeroes at first. */
typedef struct ChatcryptGeneration
{
	uint64		now;			/* 0 before it is watched */
	Oid			relations[CHATCRYPT_GENERATION_TABLES]; /* its owner's to fill in, before it reads */
	struct ChatcryptGeneration *next;
} ChatcryptGeneration;

/* Once, before the first look at the number. */
extern void chatcrypt_generation_watch(ChatcryptGeneration *generation);

#endif
