/*
 * clock.h
 *		The machine's monotonic clock at full resolution, for measurements and for waits
 *		of a millisecond or two.  The clock of guarded.h is cheaper but up to a tick behind.
 */
#ifndef CHATCRYPT_CLOCK_H
#define CHATCRYPT_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
chatcrypt_clock_us(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline int64_t
chatcrypt_clock_ms(void)
{
	return chatcrypt_clock_us() / 1000;
}

#endif
