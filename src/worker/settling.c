/*
 * settling.c
 *		What a reply means to the flights of its call: they succeed, fail, or are tried again.
 *		The table in kms/retrypolicy.h shows which.
 */
#include "postgres.h"

#include "pg/base/clock.h"
#include "worker/calls.h"
#include "worker/flights.h"
#include "worker/lines.h"
#include "worker/settling.h"

/*
 * The time of the next try for those flights of a call whose failure was transient.  It is the
 * same for all, so that they share a call again, and a KMS in trouble gets no more calls than
 * before.
 */
static int64
next_try_ms(const KmsCall *call, int64 now_ms)
{
	int			tries = 0;

	for (int i = 0; i < call->batch.nitems; i++)
		tries = Max(tries, call->flights[i]->tries);
	return Max(now_ms + cc_backoff_random_ms(tries + 1), call->line->hold_until_ms);
}

/* Queues the flight for a try at that time, or fails it where that is past its deadline. */
static void
try_again(KmsFlight *flight, cc_kms_outcome outcome, const char *error, int64 at_ms)
{
	flight->tries++;
	flight->item->outcome = outcome;
	if (error != flight->item->error)
		strlcpy(flight->item->error, error, CC_KMS_ERROR_MAX);
	flight->ready_at_ms = at_ms;
	flight->line->stats.retries++;
	if (!chatcrypt_workerslots_wanted(flight->slot, &flight->deadline_ms) ||
		flight->ready_at_ms >= flight->deadline_ms)
		chatcrypt_flight_fail(flight, outcome, flight->item->error);
	else
		chatcrypt_line_enqueue(flight);
}

static void
refused(KmsFlight *flight, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	cc_refusal_key key;

	if (chatcrypt_flight_is_remembered(flight) && !flight->request->fresh)
	{
		cc_refusal_key_of(&key, flight->request->op, flight->request->kms_key, flight->item);
		cc_refusals_put(&key, outcome, error, now_ms);
	}
	chatcrypt_flight_fail(flight, outcome, error);
}

static void
settle_item(KmsFlight *flight, int64 now_ms, int64 retry_at_ms)
{
	cc_kms_outcome outcome = flight->item->outcome;

	if (outcome == CC_KMS_OK)
	{
		chatcrypt_flight_succeed(flight);
		return;
	}

	/* kms_check() makes an item fail on purpose, which the view should not show */
	if (!flight->request->fresh)
		chatcrypt_line_note_error(flight->line, outcome, flight->item->error);
	if (outcome == CC_KMS_NOT_OPENED && !flight->request->fresh && !flight->request->check_only)
		chatcrypt_line_suspect(flight->line);
	if (cc_kms_outcome_is_transient(outcome))
		try_again(flight, outcome, flight->item->error, retry_at_ms);
	else
		refused(flight, outcome, flight->item->error, now_ms);
}

/* Is the outcome to be remembered?  Not where all requests are those of kms_check(). */
static bool
is_for_memory(const KmsCall *call)
{
	for (int i = 0; i < call->batch.nitems; i++)
		if (!call->flights[i]->request->fresh)
			return true;
	return false;
}

/*
 * A permanent refusal of a whole call holds for its operation with its key, and for no other
 * operation: a KMS grants rights for each.
 */
static void
settle_refused(KmsCall *call, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	KmsLine    *line = call->line;
	cc_refusal *refusal = &line->op_refusals[call->batch.op];

	if (outcome == CC_KMS_REJECTED)
	{
		refused(call->flights[0], outcome, error, now_ms);
		return;
	}
	if (outcome != CC_KMS_DENIED)
		line->key_known = false;
	for (int i = 0; i < call->batch.nitems; i++)
		chatcrypt_flight_fail(call->flights[i], outcome, error);
	if (!is_for_memory(call))
		return;
	cc_refusal_begin(refusal, outcome, error, now_ms);
	chatcrypt_flights_fail(&line->queues[call->batch.op], refusal);
}

/* One of many items may be the cause, or their number: smaller calls find out which. */
static bool
wants_halves(const KmsCall *call, cc_kms_outcome outcome)
{
	return (outcome == CC_KMS_SPLIT || outcome == CC_KMS_REJECTED) && call->batch.nitems > 1;
}

static void
settle_in_halves(KmsCall *call, cc_kms_outcome outcome, int64 now_ms)
{
	int			half = call->batch.nitems / 2;

	if (outcome == CC_KMS_SPLIT)
		call->line->batch_limit = half;
	for (int i = 0; i < call->batch.nitems; i++)
		call->flights[i]->max_batch = half;
	chatcrypt_call_requeue(call, now_ms);
}

/* Publishes the call before its answers, so that a session with an answer finds it in the view. */
static void
tell_first(KmsCall *call, cc_kms_outcome outcome, int64 now_ms)
{
	chatcrypt_call_over(call);
	for (int i = 0; i < call->batch.nitems && outcome == CC_KMS_OK; i++)
		call->line->stats.items += call->items[i]->outcome == CC_KMS_OK;
	chatcrypt_line_publish(call->line, now_ms);
}

void
chatcrypt_settling_run(KmsCall *call, cc_kms_outcome outcome, const char *error)
{
	int64		now = chatcrypt_clock_ms();
	int64		retry_at = next_try_ms(call, now);

	tell_first(call, outcome, now);
	if (outcome == CC_KMS_OK)
	{
		if (call->batch.op != CC_KMS_UNWRAP)
			call->line->wrapped_by = call->batch.wrapped_by;
		for (int i = 0; i < call->batch.nitems; i++)
			settle_item(call->flights[i], now, retry_at);
	}
	else if (outcome == CC_KMS_LOGIN_AGAIN)
		chatcrypt_call_requeue(call, now);
	else if (wants_halves(call, outcome))
		settle_in_halves(call, outcome, now);
	else if (cc_kms_outcome_is_transient(outcome))
	{
		for (int i = 0; i < call->batch.nitems; i++)
			try_again(call->flights[i], outcome, error, retry_at);
	}
	else
		settle_refused(call, outcome == CC_KMS_SPLIT ? CC_KMS_REJECTED : outcome, error, now);
	chatcrypt_call_free(call);
}
