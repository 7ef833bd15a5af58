/*
 * histogram.h
 *		How long calls or waits took, in the form that monitoring counts it: buckets with
 *		fixed bounds, and counts that only ever rise.
 */
#ifndef CHATCRYPT_HISTOGRAM_H
#define CHATCRYPT_HISTOGRAM_H

#define CHATCRYPT_HISTOGRAM_BOUNDS	19

typedef struct ChatcryptHistogram
{
	uint64		counts[CHATCRYPT_HISTOGRAM_BOUNDS + 1]; /* the last has no bound */
	uint64		us;				/* of all together */
} ChatcryptHistogram;

/* The place in counts of a duration, for counters that are atomic. */
extern int	chatcrypt_histogram_bucket(int64 us);

extern void chatcrypt_histogram_add(ChatcryptHistogram *histogram, int64 us);

/* Upper bounds in seconds, and how many calls took no longer than each, as arrays of SQL. */
extern Datum chatcrypt_histogram_bounds(void);
extern Datum chatcrypt_histogram_counts(const ChatcryptHistogram *histogram);
extern uint64 chatcrypt_histogram_total(const ChatcryptHistogram *histogram);

#endif
