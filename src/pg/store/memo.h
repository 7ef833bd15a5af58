/*
 * memo.h
 *		What this process remembers of rows: a hash table that grows as it fills, up to
 *		a limit, and then starts over empty.
 *
 * Looking a row up in a table costs some microseconds, and in a memo a tenth of one.  The
 * owner of a memo decides whether an entry is still valid: each entry holds the generation as
 * of which it was read (generation.h), and an entry that is out of date is overwritten.  A
 * memo is in ordinary memory, which core dumps include, so nothing secret belongs in it.
 */
#ifndef CHATCRYPT_MEMO_H
#define CHATCRYPT_MEMO_H

#include "utils/hsearch.h"

typedef struct ChatcryptMemo
{
	const char *name;
	Size		key_len;		/* of the key at the start of an entry; all its bytes are compared */
	Size		entry_len;
	long		most;			/* the largest number of entries */
	HTAB	   *table;			/* NULL while there are no entries */
} ChatcryptMemo;

/* The entry of a key, valid until the next call that enters one; NULL if there is none. */
extern void *chatcrypt_memo_find(const ChatcryptMemo *memo, const void *key);

/* The same, but makes an entry if there is none; only the key of a new entry is set. */
extern void *chatcrypt_memo_enter(ChatcryptMemo *memo, const void *key);

#endif
