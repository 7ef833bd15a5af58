/*
 * memo.c
 *		What this process remembers of rows: see memo.h.
 *
 * A full table is dropped, not thinned out: a process that comes by more rows than it
 * holds, one after the other, would find none of them whichever was given up, and one that
 * comes by a few of them again and again has those back at once.
 */
#include "postgres.h"

#include "pg/store/memo.h"

#define AT_FIRST	128

void *
chatcrypt_memo_find(const ChatcryptMemo *memo, const void *key)
{
	return memo->table == NULL ? NULL : hash_search(memo->table, key, HASH_FIND, NULL);
}

/* Its memory is its own context, below that of the process. */
static HTAB *
make_table(const ChatcryptMemo *memo)
{
	HASHCTL		control = {.keysize = memo->key_len, .entrysize = memo->entry_len};

	return hash_create(memo->name, AT_FIRST, &control, HASH_ELEM | HASH_BLOBS);
}

void *
chatcrypt_memo_enter(ChatcryptMemo *memo, const void *key)
{
	void	   *entry = chatcrypt_memo_find(memo, key);

	if (entry != NULL)
		return entry;
	if (memo->table != NULL && hash_get_num_entries(memo->table) >= memo->most)
	{
		hash_destroy(memo->table);
		memo->table = NULL;
	}
	if (memo->table == NULL)
		memo->table = make_table(memo);
	return hash_search(memo->table, key, HASH_ENTER, NULL);
}
