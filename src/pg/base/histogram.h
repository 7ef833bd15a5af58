/*
 * histogram.h
 *		How long calls or waits took, in the form that monitoring systems expect: buckets
 *		with fixed bounds, and counts that only ever rise.
 */
#ifndef CHATCRYPT_HISTOGRAM_H
#define CHATCRYPT_HISTOGRAM_H

#define CHATCRYPT_HISTOGRAM_BOUNDS	19

typedef struct ChatcryptHistogram
{
	uint64		counts[CHATCRYPT_HISTOGRAM_BOUNDS + 1]; /* the last bucket has no bound */
	uint64		us;				/* sum of all durations */
} ChatcryptHistogram;

/* The index in counts that a duration belongs to, for callers whose counters are atomic. */
extern int	chatcrypt_histogram_bucket(int64 us);

extern void chatcrypt_histogram_add(ChatcryptHistogram *histogram, int64 us);

/* As SQL arrays: the upper bounds in seconds, and how many calls took no longer than each. */
extern Datum chatcrypt_histogram_bounds(void);
extern Datum chatcrypt_histogram_counts(const ChatcryptHistogram *histogram);
extern uint64 chatcrypt_histogram_total(const ChatcryptHistogram *histogram);

#endif
