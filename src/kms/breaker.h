/*
 * breaker.h
 *		Stops calls to a KMS that does not answer, and finds out when it is back.
 *		Plain arithmetic on times that the caller gives; no clock, no PostgreSQL.
 *
 * closed:    calls go out; some failures in a row, or one that is sure, open it
 * open:      no call goes out until the next probe is due
 * half open: one call, the probe, is under way; its end closes or opens it again
 *
 * Probes are due at growing intervals, counted from start to start, so that a
 * probe that hangs does not put off the next one for longer than the cap.  A probe
 * is a lighter call than real work: after one that was answered the breaker is on
 * trial, and the first failure opens it again for longer, until real work is done.
 */
#ifndef CC_BREAKER_H
#define CC_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define CC_BREAKER_FAILURES		3		/* in a row open it */
#define CC_BREAKER_FIRST_MS		250
#define CC_BREAKER_LONGEST_MS	3000	/* between probes, and for one probe */

typedef enum cc_breaker_state
{
	CC_BREAKER_CLOSED,
	CC_BREAKER_OPEN,
	CC_BREAKER_HALF_OPEN
} cc_breaker_state;

/* Zeroes are a closed breaker. */
typedef struct cc_breaker
{
	cc_breaker_state state;
	bool		on_trial;
	int			failures;
	int64_t		interval_ms;
	int64_t		probe_at_ms;
} cc_breaker;

/* True where this closed it.  real_work: more than a probe could tell. */
extern bool cc_breaker_success(cc_breaker *breaker, bool real_work);

/* True where this opened it.  sure: one such failure is enough. */
extern bool cc_breaker_failure(cc_breaker *breaker, bool sure, int64_t now_ms);

/* True, once, when a probe is due: the caller starts it and reports how it ended. */
extern bool cc_breaker_probe(cc_breaker *breaker, int64_t now_ms);

/* Makes the next probe due now. */
extern void cc_breaker_hurry(cc_breaker *breaker, int64_t now_ms);

extern const char *cc_breaker_text(cc_breaker_state state);

#endif
