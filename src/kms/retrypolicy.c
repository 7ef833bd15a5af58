/*
 * retrypolicy.c
 *		When the KMS is asked again; retrypolicy.h has the whole policy in a table.
 */
#include <string.h>

#include "core/random.h"
#include "kms/retrypolicy.h"

static int64_t
doubled(int64_t interval_ms, int64_t longest_ms)
{
	return interval_ms > longest_ms / 2 ? longest_ms : interval_ms * 2;
}

static int64_t
at_most(int64_t ms, int64_t longest_ms)
{
	return ms < longest_ms ? ms : longest_ms;
}

/* ---------- back-off ---------- */

int64_t
cc_backoff_ms(int failed, uint32_t random)
{
	int64_t		limit = CC_BACKOFF_FIRST_MS;

	while (--failed > 0 && limit < CC_BACKOFF_LONGEST_MS)
		limit = doubled(limit, CC_BACKOFF_LONGEST_MS);
	return (int64_t) (((uint64_t) random * (uint64_t) (limit + 1)) >> 32);
}

int64_t
cc_backoff_random_ms(int failed)
{
	uint32_t	random;

	if (cc_random_bytes(&random, sizeof(random)) != CC_OK)
		random = UINT32_MAX;
	cc_random_forget();
	return cc_backoff_ms(failed, random);
}

/* ---------- hold ---------- */

int64_t
cc_hold_until_ms(cc_kms_outcome outcome, const cc_http_reply *reply, int64_t now_ms)
{
	if (reply->retry_after_ms <= 0 || !cc_kms_outcome_is_transient(outcome))
		return 0;
	return now_ms + at_most(reply->retry_after_ms, CC_HOLD_LONGEST_MS);
}

/* ---------- refusals ---------- */

void
cc_refusal_begin(cc_refusal *refusal, cc_kms_outcome outcome, const char *error, int64_t now_ms)
{
	refusal->outcome = outcome;
	refusal->until_ms = now_ms + CC_REFUSAL_MS;
	if (error != refusal->error)
	{
		strncpy(refusal->error, error, CC_KMS_ERROR_MAX - 1);
		refusal->error[CC_KMS_ERROR_MAX - 1] = '\0';
	}
}

/* Each key has one place.  Of two that share a place the older is forgotten, which costs a call. */
typedef struct Entry
{
	cc_refusal_key key;
	cc_refusal refusal;
} Entry;

static Entry entries[CC_REFUSALS];

void
cc_refusal_key_of(cc_refusal_key *key, cc_kms_op op, const char *kms_key, const cc_kms_item *item)
{
	uint8_t		bytes[1 + CC_KMS_URI_MAX + CC_CONTEXT_LEN + CC_KMS_WRAPPED_MAX];
	cc_writer	writer = cc_writer_init(bytes, sizeof(bytes));

	cc_write_u8(&writer, (uint8_t) op);
	cc_write_bytes(&writer, kms_key, strlen(kms_key) + 1);
	cc_write_bytes(&writer, item->context, CC_CONTEXT_LEN);
	cc_write_bytes(&writer, item->wrapped, item->wrapped_len);
	cc_sha256(bytes, sizeof(bytes) - writer.left, key->digest);
}

static Entry *
entry_of(const cc_refusal_key *key)
{
	uint32_t	hash;

	memcpy(&hash, key->digest, sizeof(hash));
	return &entries[hash % CC_REFUSALS];
}

void
cc_refusals_put(const cc_refusal_key *key, cc_kms_outcome outcome,
				const char *error, int64_t now_ms)
{
	Entry	   *entry = entry_of(key);

	entry->key = *key;
	cc_refusal_begin(&entry->refusal, outcome, error, now_ms);
}

const cc_refusal *
cc_refusals_get(const cc_refusal_key *key, int64_t now_ms)
{
	Entry	   *entry = entry_of(key);

	if (now_ms >= entry->refusal.until_ms || memcmp(&entry->key, key, sizeof(*key)) != 0)
		return NULL;
	return &entry->refusal;
}

void
cc_refusals_clear(void)
{
	memset(entries, 0, sizeof(entries));
}

/* ---------- breaker ---------- */

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
	breaker->interval_ms = doubled(breaker->interval_ms, CC_BREAKER_LONGEST_MS);
}

bool
cc_breaker_failure(cc_breaker *breaker, bool sure, int64_t now_ms)
{
	switch (breaker->state)
	{
		case CC_BREAKER_OPEN:
			/* the call was sent before the breaker opened, and says nothing new */
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

bool
cc_breaker_was_reached(cc_kms_outcome outcome, const cc_http_reply *reply)
{
	if (!cc_kms_outcome_is_transient(outcome))
		return true;
	return reply != NULL && (reply->status == 429 || reply->status == 412);
}

bool
cc_breaker_is_sure(cc_kms_outcome outcome, int64_t timeout_ms, int64_t full_timeout_ms)
{
	return outcome == CC_KMS_SEALED ||
		(outcome == CC_KMS_TIMEOUT && timeout_ms * 2 >= full_timeout_ms);
}

int64_t
cc_breaker_timeout_ms(const cc_breaker *breaker, int64_t full_timeout_ms)
{
	return breaker->state == CC_BREAKER_CLOSED ? full_timeout_ms :
		at_most(full_timeout_ms, CC_BREAKER_LONGEST_MS);
}
