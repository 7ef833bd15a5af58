/*
 * flights.c
 *		Requests as they come in and as they end: taken from their slots, refused at
 *		once where asking is of no use, and settled one by one when a reply is there.
 *		Not here: how they wait and travel together (batches.c).
 */
#include "postgres.h"

#include "core/kdf.h"
#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "pg/cache/keycache.h"
#include "worker/dispatch.h"

static KmsFlight flights[CHATCRYPT_SLOTS];

/* ---------- the end of a flight ---------- */

static void
finish(KmsFlight *flight, const ChatcryptSlotAnswer *answer, const char *error)
{
	flight->item->outcome = answer->outcome;
	if (error != flight->item->error)
		strlcpy(flight->item->error, error, CC_KMS_ERROR_MAX);
	if (answer->outcome != CC_KMS_OK)
		cc_wipe(flight->item->dek, CC_DEK_LEN);
	flight->line->stats_changed = true;
	flight->line = NULL;
	chatcrypt_slot_finish(flight->slot, answer);
}

static void
finish_failed(KmsFlight *flight, cc_kms_outcome outcome, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = outcome};
	const ChatcryptKeyId *id = &flight->request->id;
	int64		hold_ms = flight->line->hold_until_ms - chatcrypt_clock_ms();
	bool		stale;

	if (hold_ms > 0 && cc_kms_outcome_is_transient(outcome))
		answer.held_s = (int) ((hold_ms + 999) / 1000);

	/*
	 * A key that the KMS refuses is not to be used from the cache either.  Only
	 * where it is cached: an eviction moves the epoch, and with it every local
	 * cache of the cluster.
	 */
	if (flight->request->op == CC_KMS_UNWRAP && !flight->request->uncached &&
		!cc_kms_outcome_is_transient(outcome) && chatcrypt_keycache_touch(id, false, &stale))
		chatcrypt_keycache_evict(id);
	finish(flight, &answer, error);
}

static void
finish_breaker_open(KmsFlight *flight, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = CC_KMS_TRANSIENT,.breaker_open = true};

	finish(flight, &answer, error);
}

/* Whatever the KMS says, a key is used only where it is the one that the row pins. */
static bool
is_right_key(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	uint8		kcv[CC_KCV_LEN];

	return cc_dek_kcv(dek, id->chat_id, id->version, kcv) == CC_OK &&
		cc_equal(kcv, id->kcv, CC_KCV_LEN);
}

static void
finish_ok(KmsFlight *flight)
{
	ChatcryptSlotAnswer answer = {
		.outcome = CC_KMS_OK,
		.wrapped_by = flight->line->suspicion ^ flight->line->wrapped_by
	};
	const ChatcryptKeyId *id = &flight->request->id;

	if (flight->request->op == CC_KMS_UNWRAP && !flight->request->unpinned)
	{
		if (!is_right_key(id, flight->item->dek))
		{
			answer = (ChatcryptSlotAnswer) {.outcome = CC_KMS_BAD_REPLY,.wrong_key = true};
			chatcrypt_line_note_error(flight->line, answer.outcome,
									  "the KMS unwrapped to another key than the one that was "
									  "wrapped");
		}
		else if (!flight->request->uncached)
		{
			/* not one that was shredded since: its waiters may have it, the cache not */
			chatcrypt_keycache_put_if(id, flight->item->dek, flight->request->epoch);
		}
	}
	finish(flight, &answer, answer.wrong_key ? flight->line->stats.last_error : "");
}

/* Says what went wrong last, since that is why it is late. */
void
chatcrypt_flight_expire(KmsFlight *flight)
{
	const char *last_error = flight->line->endpoint->last_error;

	if (flight->tries > 0)
		finish_failed(flight, flight->item->outcome, flight->item->error);
	else
		finish_failed(flight, CC_KMS_TIMEOUT,
					  last_error[0] != '\0' ? last_error : "the calls before it took too long");
}

static void
fail_queue(KmsQueue *queue, const cc_failure *failure)
{
	KmsFlight  *next;

	for (KmsFlight *flight = chatcrypt_take_queue(queue); flight != NULL; flight = next)
	{
		next = flight->next;
		finish_failed(flight, failure->outcome, failure->error);
	}
}

void
chatcrypt_line_fail_all(KmsLine *line, const cc_failure *failure)
{
	for (int op = 0; op < KMS_OPS; op++)
		fail_queue(&line->queues[op], failure);
}

/* ---------- accepting ---------- */

/*
 * Are refusals of this very key remembered?  Only where it names one, and not
 * without a network between: a file is asked again as fast as this is looked up,
 * and whoever mends it need not wait.
 */
static bool
is_remembered(const KmsFlight *flight)
{
	return (flight->request->op == CC_KMS_UNWRAP || flight->request->op == CC_KMS_REWRAP) &&
		flight->line->endpoint->provider->perform == NULL;
}

static const cc_failure *
remembered(const KmsFlight *flight, int64 now_ms)
{
	const KmsLine *line = flight->line;
	cc_failure_key key;

	if (chatcrypt_endpoint_refuses(line->endpoint, now_ms))
		return &line->endpoint->failure;
	if (now_ms < line->failure.until_ms)
		return &line->failure;
	if (now_ms < line->op_failures[flight->request->op].until_ms)
		return &line->op_failures[flight->request->op];
	if (!is_remembered(flight))
		return NULL;
	cc_failure_key_of(&key, flight->request->op, flight->request->kms_key, flight->item);
	return cc_failures_get(&key, now_ms);
}

/* True, and finished, where asking would be of no use. */
static bool
refuse_at_once(KmsFlight *flight, int64 now_ms)
{
	const KmsLine *line = flight->line;
	const cc_failure *failure = remembered(flight, now_ms);

	if (failure != NULL)
		finish_failed(flight, failure->outcome, failure->error);
	else if (line->endpoint->breaker.state != CC_BREAKER_CLOSED)
		finish_breaker_open(flight, line->endpoint->last_error);
	else if (line->hold_until_ms >= flight->deadline_ms)
		finish_failed(flight, CC_KMS_TRANSIENT, line->stats.last_error);
	else
		return false;
	return true;
}

/* Someone wants to know how things are now, not how they were. */
static void
forget_for(KmsFlight *flight, int64 now_ms)
{
	chatcrypt_line_forget(flight->line);
	flight->line->endpoint->failure.until_ms = 0;
	flight->line->endpoint->session_try_at_ms = 0;
	cc_breaker_hurry(&flight->line->endpoint->breaker, now_ms);
	cc_failures_clear();
}

static void
turn_away(int slot, cc_kms_outcome outcome, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = outcome};

	strlcpy(chatcrypt_slot_item(slot)->error, error, CC_KMS_ERROR_MAX);
	chatcrypt_slot_finish(slot, &answer);
}

/* The flight of a slot, on its line; NULL where the slot is finished already. */
static KmsFlight *
new_flight(int slot, int64 now_ms)
{
	KmsFlight  *flight = &flights[slot];
	const ChatcryptSlotRequest *request = chatcrypt_slot_request(slot);
	KmsEndpoint *endpoint = chatcrypt_endpoint_for(request->kms_key);

	memset(flight, 0, sizeof(*flight));
	flight->slot = slot;
	flight->request = request;
	flight->item = chatcrypt_slot_item(slot);
	flight->ready_at_ms = now_ms + chatcrypt_kms_batch_delay;
	if (!chatcrypt_slot_wanted(slot, &flight->deadline_ms))
		turn_away(slot, CC_KMS_TIMEOUT, "");
	else if (endpoint == NULL)
		turn_away(slot, CC_KMS_CONFIG, "no provider knows a key URI of this form");
	else if ((flight->line = chatcrypt_line_for(request, endpoint, now_ms)) == NULL)
		turn_away(slot, CC_KMS_TRANSIENT, "too many different keys are asked for at this moment");
	return flight->line != NULL ? flight : NULL;
}

/*
 * A backend that missed in the cache while the flight for its key was landing, and
 * asked when that had landed, needs no flight of its own.
 */
static bool
finish_from_cache(KmsFlight *flight)
{
	const ChatcryptSlotRequest *request = flight->request;
	ChatcryptSlotAnswer answer = {.outcome = CC_KMS_OK};
	bool		stale;

	if (request->op != CC_KMS_UNWRAP || request->refresh || request->fresh || request->uncached)
		return false;

	/* First a question that does not count as a miss: the backend's own did. */
	if (!chatcrypt_keycache_touch(&request->id, false, &stale) || stale ||
		chatcrypt_keycache_get(&request->id, flight->item->dek) != CHATCRYPT_CACHE_HIT)
		return false;
	finish(flight, &answer, "");
	return true;
}

static void
accept(int slot, int64 now_ms)
{
	KmsFlight  *flight = new_flight(slot, now_ms);

	if (flight == NULL || finish_from_cache(flight))
		return;
	if (flight->request->fresh)
		forget_for(flight, now_ms);
	else if (refuse_at_once(flight, now_ms))
		return;
	chatcrypt_enqueue(flight);
}

void
chatcrypt_flights_accept(int64 now_ms)
{
	static int	slots[CHATCRYPT_SLOTS];
	int			n = chatcrypt_slots_take(slots);

	for (int i = 0; i < n; i++)
		accept(slots[i], now_ms);
}

/* ---------- settling ---------- */

/*
 * When those of a call that failed in passing are tried again: at one moment, so
 * that they share a call again, and a KMS in trouble is not asked more than before.
 */
static int64
next_try_ms(const KmsCall *call, int64 now_ms)
{
	int			tries = 0;

	for (int i = 0; i < call->batch.nitems; i++)
		tries = Max(tries, call->flights[i]->tries);
	return Max(now_ms + chatcrypt_retry_ms(tries + 1), call->line->hold_until_ms);
}

/* At that time, or never where it would be past the deadline. */
static void
try_again(KmsFlight *flight, cc_kms_outcome outcome, const char *error, int64 at_ms)
{
	flight->tries++;
	flight->item->outcome = outcome;
	if (error != flight->item->error)
		strlcpy(flight->item->error, error, CC_KMS_ERROR_MAX);
	flight->ready_at_ms = at_ms;
	flight->line->stats.retries++;
	if (!chatcrypt_slot_wanted(flight->slot, &flight->deadline_ms) ||
		flight->ready_at_ms >= flight->deadline_ms)
		finish_failed(flight, outcome, flight->item->error);
	else
		chatcrypt_enqueue(flight);
}

static void
refused(KmsFlight *flight, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	cc_failure_key key;

	if (is_remembered(flight) && !flight->request->fresh)
	{
		cc_failure_key_of(&key, flight->request->op, flight->request->kms_key, flight->item);
		cc_failures_put(&key, outcome, error, now_ms);
	}
	finish_failed(flight, outcome, error);
}

static void
settle_item(KmsFlight *flight, int64 now_ms, int64 retry_at_ms)
{
	cc_kms_outcome outcome = flight->item->outcome;

	if (outcome == CC_KMS_OK)
	{
		finish_ok(flight);
		return;
	}

	/* kms_check() fails an item on purpose, and is told: no news for the view */
	if (!flight->request->fresh)
		chatcrypt_line_note_error(flight->line, outcome, flight->item->error);
	if (outcome == CC_KMS_NOT_OPENED && !flight->request->fresh && !flight->request->check_only)
		chatcrypt_line_suspect(flight->line);
	if (cc_kms_outcome_is_transient(outcome))
		try_again(flight, outcome, flight->item->error, retry_at_ms);
	else
		refused(flight, outcome, flight->item->error, now_ms);
}

static void
put_back(KmsFlight *flight, int64 now_ms)
{
	flight->ready_at_ms = now_ms;
	chatcrypt_enqueue(flight);
}

void
chatcrypt_flights_requeue(KmsCall *call, int64 now_ms)
{
	for (int i = 0; i < call->batch.nitems; i++)
		put_back(call->flights[i], now_ms);
	call->batch.nitems = 0;
}

/* What was asked to see how things are now is remembered for nobody. */
static bool
is_for_memory(const KmsCall *call)
{
	for (int i = 0; i < call->batch.nitems; i++)
		if (!call->flights[i]->request->fresh)
			return true;
	return false;
}

/*
 * What the KMS says of a whole call that is refused for good holds for this operation
 * with its key, and for no other: rights are given for each.
 */
static void
settle_refused(KmsCall *call, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	KmsLine    *line = call->line;
	cc_failure *failure = &line->op_failures[call->batch.op];

	if (outcome == CC_KMS_REJECTED)
	{
		refused(call->flights[0], outcome, error, now_ms);
		return;
	}
	if (outcome != CC_KMS_DENIED)
		line->key_known = false;
	for (int i = 0; i < call->batch.nitems; i++)
		finish_failed(call->flights[i], outcome, error);
	if (!is_for_memory(call))
		return;
	failure->outcome = outcome;
	failure->until_ms = now_ms + CC_FAILURE_MS;
	strlcpy(failure->error, error, CC_KMS_ERROR_MAX);
	fail_queue(&line->queues[call->batch.op], failure);
}

/* One of many may be to blame, or their number: smaller calls will tell. */
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
	chatcrypt_flights_requeue(call, now_ms);
}

/* A session that has its answer and looks at kms_status then finds the call that brought it. */
static void
tell_first(KmsCall *call, cc_kms_outcome outcome, int64 now_ms)
{
	chatcrypt_call_over(call);
	for (int i = 0; i < call->batch.nitems && outcome == CC_KMS_OK; i++)
		call->line->stats.items += call->items[i]->outcome == CC_KMS_OK;
	chatcrypt_line_publish(call->line, now_ms);
}

void
chatcrypt_flights_settle(KmsCall *call, cc_kms_outcome outcome, const char *error)
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
		chatcrypt_flights_requeue(call, now);
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
