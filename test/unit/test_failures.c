/*
 * test_failures.c
 *		What the KMS worker remembers of refusals, and for how long.
 */
#include "harness.h"

#include "kms/failures.h"

#define T0 INT64_C(1000000)

static cc_kms_item item;
static cc_failure_key key;

static void
start(void)
{
	memset(&item, 0, sizeof(item));
	unit_fill(item.context, sizeof(item.context));
	unit_fill(item.wrapped, 69);
	item.wrapped_len = 69;
	cc_failures_clear();
	cc_failure_key_of(&key, CC_KMS_UNWRAP, "local:main", &item);
}

static void
remembers_for_its_time_and_no_longer(void)
{
	const cc_failure *failure;

	start();
	CHECK(cc_failures_get(&key, T0) == NULL);
	cc_failures_put(&key, CC_KMS_REJECTED, "no", T0);
	failure = cc_failures_get(&key, T0 + CC_FAILURE_MS - 1);
	CHECK(failure != NULL);
	CHECK(failure->outcome == CC_KMS_REJECTED && strcmp(failure->error, "no") == 0);
	CHECK(cc_failures_get(&key, T0 + CC_FAILURE_MS) == NULL);
}

/* Whatever differs in what the KMS is told, the refusal of the one says nothing of the other. */
static void
others_are_asked(void)
{
	cc_failure_key other;

	start();
	cc_failures_put(&key, CC_KMS_REJECTED, "no", T0);

	cc_failure_key_of(&other, CC_KMS_REWRAP, "local:main", &item);
	CHECK(cc_failures_get(&other, T0) == NULL);
	cc_failure_key_of(&other, CC_KMS_UNWRAP, "local:mai", &item);
	CHECK(cc_failures_get(&other, T0) == NULL);
	for (int i = 0; i < CC_CONTEXT_LEN; i++)
	{
		item.context[i] ^= 1;
		cc_failure_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
		CHECK_AT(cc_failures_get(&other, T0) == NULL, i);
		item.context[i] ^= 1;
	}
	for (int i = 0; i < 69; i++)
	{
		item.wrapped[i] ^= 0x80;
		cc_failure_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
		CHECK_AT(cc_failures_get(&other, T0) == NULL, i);
		item.wrapped[i] ^= 0x80;
	}
	item.wrapped_len--;
	cc_failure_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
	CHECK(cc_failures_get(&other, T0) == NULL);

	CHECK(cc_failures_get(&key, T0) != NULL);
}

static void
the_longest_uri_and_wrapping_fit(void)
{
	char		uri[CC_KMS_URI_MAX];
	cc_failure_key other;

	start();
	memset(uri, 'u', sizeof(uri) - 1);
	uri[sizeof(uri) - 1] = '\0';
	item.wrapped_len = CC_KMS_WRAPPED_MAX;
	cc_failure_key_of(&key, CC_KMS_UNWRAP, uri, &item);
	item.wrapped[CC_KMS_WRAPPED_MAX - 1] ^= 1;
	cc_failure_key_of(&other, CC_KMS_UNWRAP, uri, &item);
	CHECK(memcmp(&key, &other, sizeof(key)) != 0);
}

static void
the_key_that_was_dek_says_nothing(void)
{
	cc_failure_key other;

	start();
	unit_fill(item.dek, sizeof(item.dek));
	cc_failure_key_of(&other, CC_KMS_UNWRAP, "local:main", &item);
	CHECK(memcmp(&key, &other, sizeof(key)) == 0);
}

static void
a_long_error_is_cut(void)
{
	char		longer[CC_KMS_ERROR_MAX * 2];

	start();
	memset(longer, 'e', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cc_failures_put(&key, CC_KMS_DENIED, longer, T0);
	CHECK(strlen(cc_failures_get(&key, T0)->error) == CC_KMS_ERROR_MAX - 1);
}

/* More than the table holds: the newest is always there, and clearing forgets all. */
static void
many_push_out_the_old(void)
{
	start();
	for (int i = 0; i < CC_FAILURES * 4; i++)
	{
		unit_fill(item.wrapped, 16);
		cc_failure_key_of(&key, CC_KMS_UNWRAP, "local:main", &item);
		cc_failures_put(&key, CC_KMS_REJECTED, "no", T0);
		CHECK_AT(cc_failures_get(&key, T0) != NULL, i);
	}
	cc_failures_clear();
	CHECK(cc_failures_get(&key, T0) == NULL);
}

int
main(void)
{
	RUN(remembers_for_its_time_and_no_longer);
	RUN(others_are_asked);
	RUN(the_longest_uri_and_wrapping_fit);
	RUN(the_key_that_was_dek_says_nothing);
	RUN(a_long_error_is_cut);
	RUN(many_push_out_the_old);
	return unit_done();
}
