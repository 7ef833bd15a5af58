/*
 * retrypolicy.h
 *		When the KMS is asked again: everything that decides this, for every provider.  It is
 *		plain arithmetic on times that the caller gives; no clock is read, and nothing here
 *		knows PostgreSQL.
 *
 * What came of a call      what becomes of its requests  what becomes of others
 * --------------------     ----------------------------  --------------------
 * no answer in time,       back-off, then again until    the breaker of the provider opens:
 *   unreachable, 5xx       their deadline (kms_timeout)  at the third failure in a row, or at
 *                                                        once where one is sure
 * sealed, standing by      the same                      the breaker opens at once
 * an unusable reply        the same                      as for no answer
 * 412, 429: busy           the same                      nothing
 * any of these, with a     the same, not before the      the key is on hold until that time, for
 *   Retry-After            hold is over                  30 s at most; then one call goes out,
 *                                                        and the others when it is answered
 * denied, no such key,     fail                          for 30 s the same operation with the key
 *   not set up                                           fails without a call; after a refused
 *                                                        login, or settings that cannot be used,
 *                                                        all do, with every key
 * rejected, not opened     fail                          for 30 s the same wrapped key fails
 *                                                        without a call; others are asked
 * the request is too       again, in halves              nothing
 *   large
 *
 * chatcrypt.kms_check() and a reload make the worker forget refusals and holds, and make a
 * probe due.  A provider without a network is asked each time: reading a file is as fast as
 * looking up a refusal.
 *
 * There are two growing intervals, which differ on purpose.  The back-off belongs to a
 * request: it has to fit several times into the request's timeout, and is random, so that
 * requests that failed together do not come back together.  The interval between probes
 * belongs to a provider: there is one call in it, and it is not random, because only one
 * process probes.
 */
#ifndef CC_RETRYPOLICY_H
#define CC_RETRYPOLICY_H

#include <stdint.h>

#include "core/kdf.h"
#include "kms/provider.h"

/* ---------- back-off: a request whose failure was transient ---------- */

#define CC_BACKOFF_FIRST_MS		50
#define CC_BACKOFF_LONGEST_MS	2000

/*
 * A random time between 0 and a limit that doubles ("full jitter").  failed is the number of
 * failed tries so far, 1 or more; random is 32 random bits from the caller.
 */
extern int64_t cc_backoff_ms(int failed, uint32_t random);

/* The same with random bits that it draws itself; the longest wait where there are none. */
extern int64_t cc_backoff_random_ms(int failed);

/* ---------- hold: the server names a Retry-After ---------- */

/* The longest hold, however long a Retry-After the server names. */
#define CC_HOLD_LONGEST_MS		30000

/* The time of the next call that the server allows; 0 where it named none. */
extern int64_t cc_hold_until_ms(cc_kms_outcome outcome, const cc_http_reply *reply, int64_t now_ms);

/* ---------- logins ---------- */

#define CC_LOGIN_RETRY_MS		5000	/* after a failed renewal, with a good token */
#define CC_LOGIN_TRUST_MS		30000	/* a new token after a refusal counts as fresh */

/* ---------- looks at a key that is in use, for the status view alone ---------- */

#define CC_LOOK_AGAIN_MS		60000
#define CC_LOOK_DENIED_MS		600000	/* the right to look may stay away for long */
#define CC_LOOK_IN_USE_MS		3600000 /* a key not used for so long is left alone */

/* ---------- the log ---------- */

/* A condition that persists is logged again after this time, and not each time it is met. */
#define CC_LOG_AGAIN_MS			60000

/* ---------- refusals that are remembered ---------- */

#define CC_REFUSAL_MS	30000
#define CC_REFUSALS		1024	/* refusals of wrapped keys in all; a power of two */

typedef struct cc_refusal
{
	cc_kms_outcome outcome;
	char		error[CC_KMS_ERROR_MAX];
	int64_t		until_ms;		/* 0 for none */
} cc_refusal;

extern void cc_refusal_begin(cc_refusal *refusal, cc_kms_outcome outcome, const char *error,
							 int64_t now_ms);

static inline bool
cc_refusal_holds(const cc_refusal *refusal, int64_t now_ms)
{
	return now_ms < refusal->until_ms;
}

/*
 * Refusals of single wrapped keys, so that a row whose key can never be unwrapped does not
 * cost a call each time it is read.  There is one table for the process.
 */
typedef struct cc_refusal_key
{
	uint8_t		digest[CC_SHA256_LEN];	/* of everything that the KMS was sent */
} cc_refusal_key;

extern void cc_refusal_key_of(cc_refusal_key *key, cc_kms_op op, const char *kms_key,
							  const cc_kms_item *item);
extern void cc_refusals_put(const cc_refusal_key *key, cc_kms_outcome outcome,
							const char *error, int64_t now_ms);

/* NULL where no refusal is remembered; otherwise valid until the next put or clear. */
extern const cc_refusal *cc_refusals_get(const cc_refusal_key *key, int64_t now_ms);
extern void cc_refusals_clear(void);

/* ---------- breaker: a provider that does not answer ---------- */

/*
 * Stops the calls to a KMS that does not answer, and finds out when it is back.
 *
 * closed:    calls go out; several failures in a row, or one that is sure, open the breaker
 * open:      no call goes out until the next probe is due
 * half open: one call, the probe, is under way; its outcome closes or reopens the breaker
 *
 * Probes are due at growing intervals, counted from start to start, so that a
 * probe that hangs does not delay the next one for longer than the cap.  A probe
 * is a lighter call than real work.  So after a probe that was answered the breaker is on
 * trial: until real work has succeeded, the first failure opens it again, for longer.
 */
#define CC_BREAKER_FAILURES		3		/* so many failures in a row open it */
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

/* True where this closed the breaker.  real_work: the call was not merely a probe. */
extern bool cc_breaker_success(cc_breaker *breaker, bool real_work);

/* True where this opened the breaker.  sure: one such failure is enough. */
extern bool cc_breaker_failure(cc_breaker *breaker, bool sure, int64_t now_ms);

/* True, once, when a probe is due: the caller starts it and reports how it ended. */
extern bool cc_breaker_probe(cc_breaker *breaker, int64_t now_ms);

/* Makes the next probe due now. */
extern void cc_breaker_hurry(cc_breaker *breaker, int64_t now_ms);

extern const char *cc_breaker_text(cc_breaker_state state);

/* Was a server reached?  One that is busy or refuses counts as reached.  reply may be NULL. */
extern bool cc_breaker_was_reached(cc_kms_outcome outcome, const cc_http_reply *reply);

/* Is one such failure enough?  A timeout is, if it was at least half of the full one. */
extern bool cc_breaker_is_sure(cc_kms_outcome outcome, int64_t timeout_ms, int64_t full_timeout_ms);

/* The timeout of a call that may be a probe.  A probe gives up sooner, not to delay the next. */
extern int64_t cc_breaker_timeout_ms(const cc_breaker *breaker, int64_t full_timeout_ms);

#endif
