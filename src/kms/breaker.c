/*
 * breaker.c
 *		The circuit breaker of one KMS endpoint; see breaker.h.
 */
#include "kms/breaker.h"

bool
cc_breaker_success(cc_breaker *breaker, bool real_work)
{
	bool		was_shut = breaker->state != CC_BREAKER_CLOSED;

	breaker->state = CC_BREAKER_CLOSED;
	breaker->failures = 0;
	breaker->on_trial = (was_shut || breaker->on_trial) && !real_work;
	return was_shut;
}

static void
lengthen(cc_breaker *breaker)
{
	breaker->interval_ms *= 2;
	if (breaker->interval_ms > CC_BREAKER_LONGEST_MS)
		breaker->interval_ms = CC_BREAKER_LONGEST_MS;
}

bool
cc_breaker_failure(cc_breaker *breaker, bool sure, int64_t now_ms)
{
	switch (breaker->state)
	{
		case CC_BREAKER_OPEN:
			/* a call from before it opened: says nothing new */
			return false;
		case CC_BREAKER_HALF_OPEN:
			/* cc_breaker_probe() has set the time of the next one */
			breaker->state = CC_BREAKER_OPEN;
			return false;
		case CC_BREAKER_CLOSED:
			break;
	}
	breaker->failures++;
	if (!sure && !breaker->on_trial && breaker->failures < CC_BREAKER_FAILURES)
		return false;
	if (breaker->on_trial)
		lengthen(breaker);
	else
		breaker->interval_ms = CC_BREAKER_FIRST_MS;
	breaker->state = CC_BREAKER_OPEN;
	breaker->probe_at_ms = now_ms + breaker->interval_ms;
	return true;
}

bool
cc_breaker_probe(cc_breaker *breaker, int64_t now_ms)
{
	if (breaker->state != CC_BREAKER_OPEN || now_ms < breaker->probe_at_ms)
		return false;
	breaker->state = CC_BREAKER_HALF_OPEN;
	lengthen(breaker);
	breaker->probe_at_ms = now_ms + breaker->interval_ms;
	return true;
}

void
cc_breaker_hurry(cc_breaker *breaker, int64_t now_ms)
{
	if (breaker->state != CC_BREAKER_OPEN)
		return;
	breaker->interval_ms = CC_BREAKER_FIRST_MS;
	breaker->probe_at_ms = now_ms;
}

const char *
cc_breaker_text(cc_breaker_state state)
{
	switch (state)
	{
		case CC_BREAKER_CLOSED:
			return "closed";
		case CC_BREAKER_OPEN:
			return "open";
		case CC_BREAKER_HALF_OPEN:
			return "half open";
	}
	return "unknown";
}
