/*
 * memo.h
 *		What this process remembers of rows: a hash table that grows as it fills, up to
 *		a bound, and then begins anew.
 *
 * A look-up of a row costs some microseconds, and one of what is remembered a tenth of
 * one.  Whether that is still true is its owner's to know: each entry says as of when it
 * was (a generation that invalidation messages move), and one that is out of date is
 * overwritten.  In ordinary memory, which core dumps hold: nothing secret belongs here.
 */
#ifndef CHATCRYPT_MEMO_H
#define CHATCRYPT_MEMO_H

#include "utils/hsearch.h"

typedef struct ChatcryptMemo
{
	const char *name;
	Size		key_len;		/* of what an entry begins with, padding included: compared as bytes */
	Size		entry_len;
	long		most;			/* entries */
	HTAB	   *table;			/* NULL while there are none */
} ChatcryptMemo;

/* The entry, until the next call that enters one; NULL where there is none. */
extern void *chatcrypt_memo_find(const ChatcryptMemo *memo, const void *key);

/* The same, and where there is none a new one, with nothing but its key. */
extern void *chatcrypt_memo_enter(ChatcryptMemo *memo, const void *key);

#endif
