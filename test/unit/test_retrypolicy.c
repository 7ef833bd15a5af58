/*
 * test_retrypolicy.c
 *		When the KMS is asked again: back-off, holds, refusals and the breaker, on a
 *		clock that the test sets.
 */
#include "harness.h"

#include "kms/retrypolicy.h"

#define T0 INT64_C(1000000)

/* ---------- breaker and back-off ---------- */

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
		/* the probe hangs for as long as it may */
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

/* A KMS that answers probes but fails real calls gets one call in each of growing intervals. */
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

/* ---------- hold ---------- */

static void
a_hold_is_as_long_as_the_server_says_and_no_longer_than_the_cap(void)
{
	cc_http_reply reply = {.status = 429, .retry_after_ms = 7000};

	CHECK(cc_hold_until_ms(CC_KMS_TRANSIENT, &reply, T0) == T0 + 7000);
	reply.retry_after_ms = 3600000;
	CHECK(cc_hold_until_ms(CC_KMS_SEALED, &reply, T0) == T0 + CC_HOLD_LONGEST_MS);
}

static void
nothing_is_held_without_a_time_or_after_a_refusal(void)
{
	cc_http_reply reply = {.status = 429, .retry_after_ms = -1};

	CHECK(cc_hold_until_ms(CC_KMS_TRANSIENT, &reply, T0) == 0);
	reply.retry_after_ms = 0;
	CHECK(cc_hold_until_ms(CC_KMS_TRANSIENT, &reply, T0) == 0);
	reply.retry_after_ms = 7000;
	CHECK(cc_hold_until_ms(CC_KMS_DENIED, &reply, T0) == 0);
	CHECK(cc_hold_until_ms(CC_KMS_OK, &reply, T0) == 0);
}

/* ---------- what counts for the breaker ---------- */

static void
a_server_that_refuses_or_is_busy_was_reached(void)
{
	cc_http_reply busy = {.status = 429};
	cc_http_reply failed = {.status = 500};

	CHECK(cc_breaker_was_reached(CC_KMS_OK, NULL));
	CHECK(cc_breaker_was_reached(CC_KMS_DENIED, &failed));
	CHECK(cc_breaker_was_reached(CC_KMS_TRANSIENT, &busy));
	busy.status = 412;
	CHECK(cc_breaker_was_reached(CC_KMS_TRANSIENT, &busy));
	CHECK(!cc_breaker_was_reached(CC_KMS_TRANSIENT, &failed));
	CHECK(!cc_breaker_was_reached(CC_KMS_TIMEOUT, NULL));
}

static void
one_failure_is_enough_where_it_is_sure(void)
{
	CHECK(cc_breaker_is_sure(CC_KMS_SEALED, 1, 5000));
	CHECK(cc_breaker_is_sure(CC_KMS_TIMEOUT, 2500, 5000));
	CHECK(!cc_breaker_is_sure(CC_KMS_TIMEOUT, 2499, 5000));
	CHECK(!cc_breaker_is_sure(CC_KMS_TRANSIENT, 5000, 5000));
}

static void
a_probe_gives_up_before_the_next_one_is_due(void)
{
	breaker = (cc_breaker) {.state = CC_BREAKER_CLOSED};
	CHECK(cc_breaker_timeout_ms(&breaker, 60000) == 60000);
	open_it();
	CHECK(cc_breaker_timeout_ms(&breaker, 60000) == CC_BREAKER_LONGEST_MS);
	CHECK(cc_breaker_timeout_ms(&breaker, 100) == 100);
}

static void
a_random_wait_is_within_the_limit(void)
{
	for (int i = 0; i < 1000; i++)
	{
		int64_t		wait = cc_backoff_random_ms(2);

		CHECK_AT(wait >= 0 && wait <= 2 * CC_BACKOFF_FIRST_MS, i);
	}
}

/* ---------- one refusal ---------- */

static void
a_refusal_holds_for_its_time(void)
{
	cc_refusal	refusal = {CC_KMS_OK};

	CHECK(!cc_refusal_holds(&refusal, 0));
	cc_refusal_begin(&refusal, CC_KMS_DENIED, "no", T0);
	CHECK(refusal.outcome == CC_KMS_DENIED && strcmp(refusal.error, "no") == 0);
	CHECK(cc_refusal_holds(&refusal, T0 + CC_REFUSAL_MS - 1));
	CHECK(!cc_refusal_holds(&refusal, T0 + CC_REFUSAL_MS));
}

/* ---------- refusals of wrapped keys ---------- */

static cc_kms_item item;
static cc_refusal_key key;

static void
start(void)
{
	memset(&item, 0, sizeof(item));
	unit_fill(item.context, sizeof(item.context));
	unit_fill(item.wrapped, 69);
	item.wrapped_len = 69;
	cc_refusals_clear();
	cc_refusal_key_of(&key, CC_KMS_UNWRAP, "local:main", &item);
}

static void
remembers_for_its_time_and_no_longer(void)
{
	const cc_refusal *refusal;

	start();
	CHECK(cc_refusals_get(&key, T0) == NULL);
	cc_refusals_put(&key, CC_KMS_REJECTED, "no", T0);
	refusal = cc_refusals_get(&key, T0 + CC_REFUSAL_MS - 1);
	CHECK(refusal != NULL);
	CHECK(refusal->outcome == CC_KMS_REJECTED && strcmp(refusal->error, "no") == 0);
	CHECK(cc_refusals_get(&key, T0 + CC_REFUSAL_MS) == NULL);
}

/* If the requests differ in anything, the refusal of one says nothing about the other. */
static void
others_are_asked(void)
{
	cc_refusal_key other;

	start();
	cc_refusals_put(&key, CC_KMS_REJECTED, "no", T0);

	cc_refusal_key_of(&other, CC_KMS_REWRAP, "local:main", &item);
	CHECK(cc_refusals_get(&other, T0) == NULL);
	cc_refusal_key_of(&other, CC_KMS_UNWRAP, "local:mai", &item);
	CHECK(cc_refusals_get(&other, T0) == NULL);
	for (int i = 0; i < CC_CONTEXT_LEN; i++)
	{
		item.context[i] ^= 1;
		cc_refusal_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
		CHECK_AT(cc_refusals_get(&other, T0) == NULL, i);
		item.context[i] ^= 1;
	}
	for (int i = 0; i < 69; i++)
	{
		item.wrapped[i] ^= 0x80;
		cc_refusal_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
		CHECK_AT(cc_refusals_get(&other, T0) == NULL, i);
		item.wrapped[i] ^= 0x80;
	}
	item.wrapped_len--;
	cc_refusal_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
	CHECK(cc_refusals_get(&other, T0) == NULL);

	CHECK(cc_refusals_get(&key, T0) != NULL);
}

static void
the_longest_uri_and_wrapping_fit(void)
{
	char		uri[CC_KMS_URI_MAX];
	cc_refusal_key other;

	start();
	memset(uri, 'u', sizeof(uri) - 1);
	uri[sizeof(uri) - 1] = '\0';
	item.wrapped_len = CC_KMS_WRAPPED_MAX;
	cc_refusal_key_of(&key, CC_KMS_UNWRAP, uri, &item);
	item.wrapped[CC_KMS_WRAPPED_MAX - 1] ^= 1;
	cc_refusal_key_of(&other, CC_KMS_UNWRAP, uri, &item);
	CHECK(memcmp(&key, &other, sizeof(key)) != 0);
}

static void
the_key_that_was_dek_says_nothing(void)
{
	cc_refusal_key other;

	start();
	unit_fill(item.dek, sizeof(item.dek));
	cc_refusal_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
	CHECK(memcmp(&key, &other, sizeof(key)) == 0);
}

static void
a_long_error_is_cut(void)
{
	char		longer[CC_KMS_ERROR_MAX * 2];

	start();
	memset(longer, 'e', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cc_refusals_put(&key, CC_KMS_DENIED, longer, T0);
	CHECK(strlen(cc_refusals_get(&key, T0)->error) == CC_KMS_ERROR_MAX - 1);
}

/* More refusals than the table holds: the newest is always there, and clearing forgets all. */
static void
many_push_out_the_old(void)
{
	start();
	for (int i = 0; i < CC_REFUSALS * 4; i++)
	{
		unit_fill(item.wrapped, 16);
		cc_refusal_key_of(&key, CC_KMS_UNWRAP, "local:main", &item);
		cc_refusals_put(&key, CC_KMS_REJECTED, "no", T0);
		CHECK_AT(cc_refusals_get(&key, T0) != NULL, i);
	}
	cc_refusals_clear();
	CHECK(cc_refusals_get(&key, T0) == NULL);
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
	RUN(remembers_for_its_time_and_no_longer);
	RUN(others_are_asked);
	RUN(the_longest_uri_and_wrapping_fit);
	RUN(the_key_that_was_dek_says_nothing);
	RUN(a_long_error_is_cut);
	RUN(many_push_out_the_old);
	RUN(a_hold_is_as_long_as_the_server_says_and_no_longer_than_the_cap);
	RUN(nothing_is_held_without_a_time_or_after_a_refusal);
	RUN(a_server_that_refuses_or_is_busy_was_reached);
	RUN(one_failure_is_enough_where_it_is_sure);
	RUN(a_probe_gives_up_before_the_next_one_is_due);
	RUN(a_random_wait_is_within_the_limit);
	RUN(a_refusal_holds_for_its_time);
	return unit_done();
}
