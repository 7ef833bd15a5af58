/*
 * lives.h
 *		How long the keys of the key cache will stay, counted roughly: the median would take all
 *		of them at once otherwise.
 */
#ifndef CHATCRYPT_LIVES_H
#define CHATCRYPT_LIVES_H

#define CHATCRYPT_LIFE_BUCKETS	1024

/* Zeroes at first. */
typedef struct ChatcryptLives
{
	uint64		count;
	int64		shortest;
	int64		longest;
	uint32		buckets[CHATCRYPT_LIFE_BUCKETS];
} ChatcryptLives;

/* A key that has so many milliseconds until its hard limit, chatcrypt.cache_max_age. */
extern void chatcrypt_lives_count(ChatcryptLives *lives, int64 left_ms);

/* In milliseconds; there is at least one key. */
extern int64 chatcrypt_lives_median(const ChatcryptLives *lives);

#endif
