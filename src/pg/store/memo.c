/*
 * memo.c
 *		What this process remembers of rows: see memo.h.
 *
 * A full table is dropped as a whole.  A process that goes through more rows than the table
 * holds would find none of them again, whichever entries were removed; and a process that
 * uses a few rows again and again soon has their entries back.
 */
#include "postgres.h"

#include "pg/store/memo.h"

#define AT_FIRST	128

void *
chatcrypt_memo_find(const ChatcryptMemo *memo, const void *key)
{
	return memo->table == NULL ? NULL : hash_search(memo->table, key, HASH_FIND, NULL);
}

/* The table has a memory context of its own, which lives as long as the process. */
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
