/*
 * arrivals.c
 *		Requests as they come in: they are taken from their slots, answered at once from the key
 *		cache, refused at once where a call would be useless, or put into the queue of their line.
 */
#include "postgres.h"

#include "pg/base/settings.h"
#include "pg/cache/keycache.h"
#include "worker/arrivals.h"
#include "worker/endpoints.h"
#include "worker/flights.h"
#include "worker/lines.h"

static KmsFlight flights[CHATCRYPT_SLOTS];

static const cc_refusal *
remembered(const KmsFlight *flight, int64 now_ms)
{
	const KmsLine *line = flight->line;
	cc_refusal_key key;

	if (chatcrypt_endpoint_refuses(line->endpoint, now_ms))
		return &line->endpoint->refusal;
	if (cc_refusal_holds(&line->key_refusal, now_ms))
		return &line->key_refusal;
	if (cc_refusal_holds(&line->op_refusals[flight->request->op], now_ms))
		return &line->op_refusals[flight->request->op];
	if (!chatcrypt_flight_is_remembered(flight))
		return NULL;
	cc_refusal_key_of(&key, flight->request->op, flight->request->kms_key, flight->item);
	return cc_refusals_get(&key, now_ms);
}

/* Finishes the flight and returns true, where a call to the KMS would be useless. */
static bool
refuse_at_once(KmsFlight *flight, int64 now_ms)
{
	const KmsLine *line = flight->line;
	const cc_refusal *refusal = remembered(flight, now_ms);

	if (refusal != NULL)
		chatcrypt_flight_fail(flight, refusal->outcome, refusal->error);
	else if (line->endpoint->breaker.state != CC_BREAKER_CLOSED)
		chatcrypt_flight_turn_away(flight, line->endpoint->last_error);
	else if (line->hold_until_ms >= flight->deadline_ms)
		chatcrypt_flight_fail(flight, CC_KMS_TRANSIENT, line->stats.last_error);
	else
		return false;
	return true;
}

/* For a request of kms_check(), which is about the present state: forgets what is remembered. */
static void
forget_for(KmsFlight *flight, int64 now_ms)
{
	chatcrypt_line_forget(flight->line);
	flight->line->endpoint->refusal.until_ms = 0;
	flight->line->endpoint->session_try_at_ms = 0;
	cc_breaker_hurry(&flight->line->endpoint->breaker, now_ms);
	cc_refusals_clear();
}

static void
turn_away(int slot, cc_kms_outcome outcome, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = outcome};

	strlcpy(chatcrypt_workerslots_item(slot)->error, error, CC_KMS_ERROR_MAX);
	chatcrypt_workerslots_finish(slot, &answer);
}

/* Makes the flight of a slot, on its line; returns NULL where the slot was finished at once. */
static KmsFlight *
new_flight(int slot, int64 now_ms)
{
	KmsFlight  *flight = &flights[slot];
	const ChatcryptSlotRequest *request = chatcrypt_workerslots_request(slot);
	KmsEndpoint *endpoint = chatcrypt_endpoint_for(request->kms_key);

	memset(flight, 0, sizeof(*flight));
	flight->slot = slot;
	flight->request = request;
	flight->item = chatcrypt_workerslots_item(slot);
	flight->ready_at_ms = now_ms + chatcrypt_kms_batch_delay;
	if (!chatcrypt_workerslots_wanted(slot, &flight->deadline_ms))
		turn_away(slot, CC_KMS_TIMEOUT, "");
	else if (endpoint == NULL)
		turn_away(slot, CC_KMS_CONFIG, "no provider knows a key URI of this form");
	else if ((flight->line = chatcrypt_line_for(request, endpoint, now_ms)) == NULL)
		turn_away(slot, CC_KMS_TRANSIENT, "too many different keys are asked for at this moment");
	return flight->line != NULL ? flight : NULL;
}

/*
 * A session that missed in the key cache while the flight for its key was ending, and that
 * made its request after the end of that flight, needs no flight of its own.
 */
static bool
finish_from_cache(KmsFlight *flight)
{
	const ChatcryptSlotRequest *request = flight->request;
	ChatcryptSlotAnswer answer = {.outcome = CC_KMS_OK};
	bool		stale;

	if (request->op != CC_KMS_UNWRAP || request->refresh || request->fresh || request->uncached)
		return false;

	/* The first look does not count as a miss, because the session's own look did. */
	if (!chatcrypt_keycache_touch(&request->id, false, &stale) || stale ||
		chatcrypt_keycache_get(&request->id, flight->item->dek) != CHATCRYPT_CACHE_HIT)
		return false;
	chatcrypt_flight_finish(flight, &answer, "");
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
	chatcrypt_line_enqueue(flight);
}

void
chatcrypt_arrivals_accept(int64 now_ms)
{
	static int	slots[CHATCRYPT_SLOTS];
	int			n = chatcrypt_workerslots_take(slots);

	for (int i = 0; i < n; i++)
		accept(slots[i], now_ms);
}
