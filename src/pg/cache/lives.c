/*
 * lives.c
 *		How long the keys of the key cache may still be used: see lives.h.
 */
#include "postgres.h"

#include "pg/base/settings.h"
#include "pg/cache/lives.h"

void
chatcrypt_lives_count(ChatcryptLives *lives, int64 left_ms)
{
	int64		max_age = (int64) chatcrypt_cache_max_age * 1000;

	left_ms = Min(left_ms, max_age - 1);
	if (lives->count == 0 || left_ms < lives->shortest)
		lives->shortest = left_ms;
	lives->longest = Max(lives->longest, left_ms);
	lives->buckets[left_ms * CHATCRYPT_LIFE_BUCKETS / max_age]++;
	lives->count++;
}

int64
chatcrypt_lives_median(const ChatcryptLives *lives)
{
	uint64		seen = 0;
	int			bucket = 0;

	while (bucket < CHATCRYPT_LIFE_BUCKETS && (seen += lives->buckets[bucket]) * 2 < lives->count)
		bucket++;
	return Min(Max((int64) chatcrypt_cache_max_age * 1000 * bucket / CHATCRYPT_LIFE_BUCKETS,
				   lives->shortest),
			   lives->longest);
}
