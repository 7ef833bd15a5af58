/*
 * backoff.h
 *		How long to wait before the next try: anything between nothing and a limit
 *		that doubles ("full jitter"), so that those who failed together do not come
 *		back together.
 */
#ifndef CC_BACKOFF_H
#define CC_BACKOFF_H

#include <stdint.h>

#define CC_BACKOFF_FIRST_MS		50
#define CC_BACKOFF_LONGEST_MS	2000

/* failed is how many tries there were, 1 or more; random is 32 random bits of the caller's. */
static inline int64_t
cc_backoff_ms(int failed, uint32_t random)
{
	int64_t		limit = CC_BACKOFF_FIRST_MS;

	while (--failed > 0 && limit < CC_BACKOFF_LONGEST_MS)
		limit *= 2;
	if (limit > CC_BACKOFF_LONGEST_MS)
		limit = CC_BACKOFF_LONGEST_MS;
	return (int64_t) (((uint64_t) random * (uint64_t) (limit + 1)) >> 32);
}

#endif
