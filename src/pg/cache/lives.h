/*
 * lives.h
 *		How long the keys of the key cache may still be used: shortest, longest and median.
 *		The keys are counted in buckets, so that the median does not need them all at once.
 */
#ifndef CHATCRYPT_LIVES_H
#define CHATCRYPT_LIVES_H

#define CHATCRYPT_LIFE_BUCKETS	1024

/* Start from zeroes. */
typedef struct ChatcryptLives
{
	uint64		count;
	int64		shortest;
	int64		longest;
	uint32		buckets[CHATCRYPT_LIFE_BUCKETS];
} ChatcryptLives;

/* Counts a key that reaches its hard limit, chatcrypt.cache_max_age, in left_ms. */
extern void chatcrypt_lives_count(ChatcryptLives *lives, int64 left_ms);

/* In ms, with the resolution of a bucket.  At least one key must have been counted. */
extern int64 chatcrypt_lives_median(const ChatcryptLives *lives);

#endif
