/*
 * test_breaker.c
 *		The breaker on a clock of the test's, and the back-off between tries.
 */
#include "harness.h"

#include "kms/backoff.h"
#include "kms/breaker.h"

#define T0 INT64_C(1000000)

static cc_breaker breaker;

/* Opens the breaker at T0. */
static void
open_it(void)
{
	breaker = (cc_breaker) {.state = CC_BREAKER_CLOSED};
	(void) cc_breaker_failure(&breaker, true, T0);
}

static void
opens_at_the_third_failure_in_a_row(void)
{
	breaker = (cc_breaker) {.state = CC_BREAKER_CLOSED};
	CHECK(!cc_breaker_failure(&breaker, false, T0));
	CHECK(!cc_breaker_failure(&breaker, false, T0));
	CHECK(!cc_breaker_success(&breaker, true));
	CHECK(!cc_breaker_failure(&breaker, false, T0));
	CHECK(!cc_breaker_failure(&breaker, false, T0));
	CHECK(breaker.state == CC_BREAKER_CLOSED);
	CHECK(cc_breaker_failure(&breaker, false, T0));
	CHECK(breaker.state == CC_BREAKER_OPEN);
}

static void
opens_at_one_sure_failure(void)
{
	open_it();
	CHECK(breaker.state == CC_BREAKER_OPEN);
	CHECK(!cc_breaker_failure(&breaker, true, T0 + 1));
}

static void
probes_once_at_a_time(void)
{
	open_it();
	CHECK(!cc_breaker_probe(&breaker, T0 + CC_BREAKER_FIRST_MS - 1));
	CHECK(cc_breaker_probe(&breaker, T0 + CC_BREAKER_FIRST_MS));
	CHECK(breaker.state == CC_BREAKER_HALF_OPEN);
	CHECK(!cc_breaker_probe(&breaker, T0 + 1000000));
	CHECK(!cc_breaker_failure(&breaker, true, T0 + 1000000));
	CHECK(breaker.state == CC_BREAKER_OPEN);
	CHECK(cc_breaker_probe(&breaker, T0 + 1000000));
}

/* However long the KMS is away and each probe hangs, the next one is at most the cap later. */
static void
probes_are_never_further_apart_than_the_cap(void)
{
	int64_t		now = T0;
	int64_t		last = T0;
	int			probes = 0;

	open_it();
	while (probes < 50)
	{
		now++;
		CHECK_AT(now - last <= CC_BREAKER_LONGEST_MS, now);
		if (!cc_breaker_probe(&breaker, now))
			continue;
		CHECK_AT(now - last >= CC_BREAKER_FIRST_MS, now);
		last = now;
		probes++;
		/* it hangs for as long as a probe may */
		(void) cc_breaker_failure(&breaker, true, now + CC_BREAKER_LONGEST_MS);
	}
	CHECK(breaker.interval_ms == CC_BREAKER_LONGEST_MS);
}

static void
real_work_closes_it_for_good(void)
{
	open_it();
	CHECK(cc_breaker_probe(&breaker, T0 + CC_BREAKER_FIRST_MS));
	CHECK(cc_breaker_success(&breaker, true));
	CHECK(!cc_breaker_failure(&breaker, false, T0));
	CHECK(!cc_breaker_failure(&breaker, false, T0));
	CHECK(breaker.state == CC_BREAKER_CLOSED);
}

/* A KMS whose probes are answered and whose work fails gets one call an interval, and longer ones. */
static void
on_trial_one_failure_opens_it_for_longer(void)
{
	int64_t		now = T0;
	int64_t		interval = 0;

	open_it();
	for (int round = 0; round < 10; round++)
	{
		now = breaker.probe_at_ms;
		CHECK_AT(cc_breaker_probe(&breaker, now), round);
		CHECK_AT(cc_breaker_success(&breaker, false), round);
		CHECK_AT(!cc_breaker_success(&breaker, false), round);
		CHECK_AT(cc_breaker_failure(&breaker, false, now), round);
		CHECK_AT(breaker.probe_at_ms - now >= interval, round);
		interval = breaker.probe_at_ms - now;
	}
	CHECK(interval == CC_BREAKER_LONGEST_MS);
}

static void
a_late_answer_closes_it(void)
{
	open_it();
	CHECK(cc_breaker_success(&breaker, true));
	CHECK(breaker.state == CC_BREAKER_CLOSED);
}

static void
hurry_makes_a_probe_due(void)
{
	open_it();
	cc_breaker_hurry(&breaker, T0 + 1);
	CHECK(cc_breaker_probe(&breaker, T0 + 1));
	cc_breaker_hurry(&breaker, T0 + 2);
	CHECK(breaker.state == CC_BREAKER_HALF_OPEN);
}

static void
every_state_has_a_word(void)
{
	CHECK(strcmp(cc_breaker_text(CC_BREAKER_CLOSED), "closed") == 0);
	CHECK(strcmp(cc_breaker_text(CC_BREAKER_OPEN), "open") == 0);
	CHECK(strcmp(cc_breaker_text(CC_BREAKER_HALF_OPEN), "half open") == 0);
}

static void
back_off_is_full_jitter_under_a_doubling_limit(void)
{
	static const int64_t limits[] = {50, 100, 200, 400, 800, 1600, 2000, 2000, 2000};

	for (int failed = 1; failed <= 9; failed++)
	{
		CHECK_AT(cc_backoff_ms(failed, 0) == 0, failed);
		CHECK_AT(cc_backoff_ms(failed, UINT32_MAX) == limits[failed - 1], failed);
		CHECK_AT(cc_backoff_ms(failed, UINT32_MAX / 2) == limits[failed - 1] / 2, failed);
	}
	CHECK(cc_backoff_ms(INT32_MAX, UINT32_MAX) == CC_BACKOFF_LONGEST_MS);
	CHECK(cc_backoff_ms(0, UINT32_MAX) == CC_BACKOFF_FIRST_MS);
}

int
main(void)
{
	RUN(opens_at_the_third_failure_in_a_row);
	RUN(opens_at_one_sure_failure);
	RUN(probes_once_at_a_time);
	RUN(probes_are_never_further_apart_than_the_cap);
	RUN(real_work_closes_it_for_good);
	RUN(on_trial_one_failure_opens_it_for_longer);
	RUN(a_late_answer_closes_it);
	RUN(hurry_makes_a_probe_due);
	RUN(every_state_has_a_word);
	RUN(back_off_is_full_jitter_under_a_doubling_limit);
	return unit_done();
}
