/*
 * flights.c
 *		Requests on their way: taken from their slots, queued by key and operation,
 *		sent in batches, and settled one by one when the reply is there.
 *
 * A new request waits chatcrypt.kms_batch_delay for company, unless a batch is full
 * before; one that failed in passing waits for its next try.  Whatever happens, a
 * request ends by its deadline.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "core/kdf.h"
#include "pg/clock.h"
#include "pg/keycache.h"
#include "pg/settings.h"
#include "worker/dispatch.h"

static KmsFlight flights[CHATCRYPT_SLOTS];
static KmsLine lines[CHATCRYPT_KMS_KEYS];

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
	bool		stale;

	/*
	 * A key that the KMS refuses is not to be used from the cache either.  Only
	 * where it is cached: an eviction moves the epoch, and with it every local
	 * cache of the cluster.
	 */
	if (flight->request->op == CC_KMS_UNWRAP && !cc_kms_outcome_is_transient(outcome) &&
		chatcrypt_keycache_touch(id, 0, &stale))
		chatcrypt_keycache_evict(id);
	finish(flight, &answer, error);
}

static void
finish_breaker_open(KmsFlight *flight, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = CC_KMS_TRANSIENT,.breaker_open = true};

	finish(flight, &answer, error);
}

static bool
has_kcv(const ChatcryptKeyId *id)
{
	static const uint8 none[CC_KCV_LEN];

	return memcmp(id->kcv, none, CC_KCV_LEN) != 0;
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
	ChatcryptSlotAnswer answer = {.outcome = CC_KMS_OK};
	const ChatcryptKeyId *id = &flight->request->id;

	flight->line->stats.items++;
	if (flight->request->op == CC_KMS_UNWRAP && has_kcv(id))
	{
		if (!is_right_key(id, flight->item->dek))
		{
			answer = (ChatcryptSlotAnswer) {.outcome = CC_KMS_BAD_REPLY,.wrong_key = true};
			chatcrypt_line_note_error(flight->line, answer.outcome,
									  "the KMS unwrapped to another key than the one that was wrapped");
		}
		else if (flight->epoch == chatcrypt_keycache_epoch())
		{
			/* else a key was evicted since, perhaps this one, shredded: its waiters may have it, the cache not */
			chatcrypt_keycache_put(id, flight->item->dek);
		}
	}
	finish(flight, &answer, answer.wrong_key ? flight->line->stats.last_error : "");
}

/* ---------- lines ---------- */

KmsLine *
chatcrypt_line_at(int row)
{
	return lines[row].stats.key_uri[0] != '\0' ? &lines[row] : NULL;
}

static bool
is_idle(const KmsLine *line)
{
	int			queued = 0;

	for (int op = 0; op < KMS_OPS; op++)
		queued += line->queues[op].count;
	return queued == 0 && line->calls == 0;
}

/* The line of a key; a new one takes the place of the one that is idle for longest. */
static KmsLine *
line_for(const char *key_uri, KmsEndpoint *endpoint, int64 now_ms)
{
	KmsLine    *place = NULL;

	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = &lines[row];

		if (strcmp(line->stats.key_uri, key_uri) == 0)
		{
			line->used_at_ms = now_ms;
			return line;
		}
		if (is_idle(line) && (place == NULL || line->used_at_ms < place->used_at_ms))
			place = line;
	}
	if (place == NULL)
		return NULL;
	memset(place, 0, sizeof(*place));
	place->row = place - lines;
	place->used_at_ms = now_ms;
	place->endpoint = endpoint;
	place->stats.lease_ms = -1;
	strlcpy(place->stats.key_uri, key_uri, CC_KMS_URI_MAX);
	return place;
}

void
chatcrypt_lines_forget(void)
{
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		lines[row].failure.until_ms = 0;
		lines[row].hold_until_ms = 0;
		lines[row].batch_limit = 0;
		lines[row].key_known = false;
		lines[row].key_tries = 0;
		lines[row].key_try_at_ms = 0;
	}
}

/* ---------- queues ---------- */

static KmsQueue *
queue_of(KmsFlight *flight)
{
	return &flight->line->queues[flight->request->op];
}

static void
enqueue(KmsFlight *flight)
{
	KmsQueue   *queue = queue_of(flight);

	flight->next = NULL;
	if (queue->first == NULL)
		queue->first = flight;
	else
		queue->last->next = flight;
	queue->last = flight;
	queue->count++;
	flight->line->stats_changed = true;
}

/* Takes the whole queue apart; who goes through the list puts back what stays. */
static KmsFlight *
take_queue(KmsQueue *queue)
{
	KmsFlight  *first = queue->first;

	*queue = (KmsQueue) {0};
	return first;
}

void
chatcrypt_line_fail_all(KmsLine *line, const cc_failure *failure)
{
	for (int op = 0; op < KMS_OPS; op++)
	{
		KmsFlight  *next;

		for (KmsFlight *flight = take_queue(&line->queues[op]); flight != NULL; flight = next)
		{
			next = flight->next;
			finish_failed(flight, failure->outcome, failure->error);
		}
	}
}

/* ---------- accepting ---------- */

static const cc_failure *
remembered(const KmsFlight *flight, int64 now_ms)
{
	const KmsLine *line = flight->line;
	cc_failure_key key;

	if (now_ms < line->endpoint->failure.until_ms)
		return &line->endpoint->failure;
	if (now_ms < line->failure.until_ms)
		return &line->failure;
	if (flight->request->op != CC_KMS_UNWRAP && flight->request->op != CC_KMS_REWRAP)
		return NULL;
	cc_failure_key_of(&key, flight->request->op, flight->request->key_uri, flight->item);
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
	flight->line->failure.until_ms = 0;
	flight->line->endpoint->failure.until_ms = 0;
	flight->line->endpoint->session_try_at_ms = 0;
	flight->line->key_try_at_ms = 0;
	cc_breaker_hurry(&flight->line->endpoint->breaker, now_ms);
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
	KmsEndpoint *endpoint = chatcrypt_endpoint_for(request->key_uri);

	memset(flight, 0, sizeof(*flight));
	flight->slot = slot;
	flight->request = request;
	flight->item = chatcrypt_slot_item(slot);
	flight->epoch = chatcrypt_keycache_epoch();
	flight->ready_at_ms = now_ms + chatcrypt_kms_batch_delay;
	if (!chatcrypt_slot_wanted(slot, &flight->deadline_ms))
		turn_away(slot, CC_KMS_TIMEOUT, "");
	else if (endpoint == NULL)
		turn_away(slot, CC_KMS_CONFIG, "no provider knows a key URI of this form");
	else if ((flight->line = line_for(request->key_uri, endpoint, now_ms)) == NULL)
		turn_away(slot, CC_KMS_TRANSIENT, "too many different keys are asked for at this moment");
	return flight->line != NULL ? flight : NULL;
}

static void
accept(int slot, int64 now_ms)
{
	KmsFlight  *flight = new_flight(slot, now_ms);

	if (flight == NULL)
		return;
	if (flight->request->fresh)
		forget_for(flight, now_ms);
	else if (refuse_at_once(flight, now_ms))
		return;
	enqueue(flight);
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

/* Later, or never where that would be past its deadline. */
static void
try_again(KmsFlight *flight, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	flight->tries++;
	flight->item->outcome = outcome;
	if (error != flight->item->error)
		strlcpy(flight->item->error, error, CC_KMS_ERROR_MAX);
	flight->ready_at_ms = Max(now_ms + chatcrypt_retry_ms(flight->tries), flight->line->hold_until_ms);
	flight->line->stats.retries++;
	if (!chatcrypt_slot_wanted(flight->slot, &flight->deadline_ms) ||
		flight->ready_at_ms >= flight->deadline_ms)
		finish_failed(flight, outcome, flight->item->error);
	else
		enqueue(flight);
}

static void
refused(KmsFlight *flight, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	cc_failure_key key;

	if (flight->request->op == CC_KMS_UNWRAP || flight->request->op == CC_KMS_REWRAP)
	{
		cc_failure_key_of(&key, flight->request->op, flight->request->key_uri, flight->item);
		cc_failures_put(&key, outcome, error, now_ms);
	}
	finish_failed(flight, outcome, error);
}

static void
settle_item(KmsFlight *flight, int64 now_ms)
{
	cc_kms_outcome outcome = flight->item->outcome;

	if (outcome == CC_KMS_OK)
		finish_ok(flight);
	else if (cc_kms_outcome_is_transient(outcome))
	{
		chatcrypt_line_note_error(flight->line, outcome, flight->item->error);
		try_again(flight, outcome, flight->item->error, now_ms);
	}
	else
	{
		chatcrypt_line_note_error(flight->line, outcome, flight->item->error);
		refused(flight, outcome, flight->item->error, now_ms);
	}
}

static void
put_back(KmsFlight *flight, int64 now_ms)
{
	flight->ready_at_ms = now_ms;
	enqueue(flight);
}

void
chatcrypt_flights_requeue(KmsCall *call, int64 now_ms)
{
	for (int i = 0; i < call->batch.nitems; i++)
		put_back(call->flights[i], now_ms);
	call->batch.nitems = 0;
}

static void
settle_login(KmsCall *call, const char *error, int64 now_ms)
{
	chatcrypt_endpoint_login_again(call->endpoint, call->login);
	for (int i = 0; i < call->batch.nitems; i++)
	{
		KmsFlight  *flight = call->flights[i];

		if (flight->relogged)
			finish_failed(flight, CC_KMS_DENIED, error);
		else
		{
			flight->relogged = true;
			put_back(flight, now_ms);
		}
	}
}

/* What the KMS says of a whole call that is refused for good holds for its key. */
static void
settle_refused(KmsCall *call, cc_kms_outcome outcome, const char *error, int64 now_ms)
{
	KmsLine    *line = call->line;

	if (outcome == CC_KMS_REJECTED)
	{
		refused(call->flights[0], outcome, error, now_ms);
		return;
	}
	line->failure.outcome = outcome;
	line->failure.until_ms = now_ms + CC_FAILURE_MS;
	strlcpy(line->failure.error, error, CC_KMS_ERROR_MAX);
	line->key_known = false;
	for (int i = 0; i < call->batch.nitems; i++)
		finish_failed(call->flights[i], outcome, error);
	chatcrypt_line_fail_all(line, &line->failure);
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
		call->flights[i]->company = half;
	chatcrypt_flights_requeue(call, now_ms);
}

static void
settle(KmsCall *call, cc_kms_outcome outcome, const char *error)
{
	int64		now = chatcrypt_clock_ms();

	if (outcome == CC_KMS_OK)
	{
		for (int i = 0; i < call->batch.nitems; i++)
			settle_item(call->flights[i], now);
	}
	else if (outcome == CC_KMS_LOGIN_AGAIN)
		settle_login(call, error, now);
	else if (wants_halves(call, outcome))
		settle_in_halves(call, outcome, now);
	else if (cc_kms_outcome_is_transient(outcome))
	{
		for (int i = 0; i < call->batch.nitems; i++)
			try_again(call->flights[i], outcome, error, now);
	}
	else
		settle_refused(call, outcome == CC_KMS_SPLIT ? CC_KMS_REJECTED : outcome, error, now);
	chatcrypt_call_free(call);
}

static void
batch_done(KmsCall *call, const cc_http_reply *reply)
{
	KmsEndpoint *endpoint = call->endpoint;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome;

	outcome = endpoint->provider->batch_reply(endpoint->session, &call->batch, reply, error);
	endpoint->batches--;
	chatcrypt_call_note(call, outcome, error, reply);
	if (reply->retry_after_ms > 0 && cc_kms_outcome_is_transient(outcome))
		call->line->hold_until_ms = chatcrypt_clock_ms() + reply->retry_after_ms;
	settle(call, outcome, error);
}

/* ---------- batches ---------- */

static int
batch_max(const KmsLine *line)
{
	int			most = Min(line->endpoint->provider->batch_max, CC_KMS_BATCH_MAX);

	return Max(line->batch_limit > 0 ? Min(line->batch_limit, most) : most, 1);
}

/* Who failed waits for its time; who is new goes along with anyone. */
static bool
may_go(const KmsFlight *flight, int64 now_ms)
{
	return flight->tries == 0 || flight->ready_at_ms <= now_ms;
}

/* Ends what nobody wants and what is too late, and says whether a batch should go out. */
static bool
prepare(KmsLine *line, int op, int64 now_ms, int64 *wake_at_ms)
{
	KmsFlight  *next;
	int			ready = 0;
	bool		due = line->endpoint->provider->perform != NULL;

	for (KmsFlight *flight = take_queue(&line->queues[op]); flight != NULL; flight = next)
	{
		bool		wanted = chatcrypt_slot_wanted(flight->slot, &flight->deadline_ms);

		next = flight->next;
		if (!wanted || flight->deadline_ms <= now_ms)
		{
			const char *error = flight->tries > 0 ? flight->item->error : line->endpoint->last_error;

			finish_failed(flight, CC_KMS_TIMEOUT,
						  error[0] != '\0' ? error : "no answer within chatcrypt.kms_timeout");
			continue;
		}
		enqueue(flight);
		ready += may_go(flight, now_ms);
		due |= flight->ready_at_ms <= now_ms;
		*wake_at_ms = Min(*wake_at_ms, flight->deadline_ms);
		if (flight->ready_at_ms > now_ms)
			*wake_at_ms = Min(*wake_at_ms, flight->ready_at_ms);
	}
	return ready > 0 && (due || ready >= batch_max(line));
}

/* The longest that any of the batch may still wait. */
static int64
fill_batch(KmsCall *call, int op, int64 now_ms)
{
	KmsLine    *line = call->line;
	int			most = batch_max(line);
	int64		deadline = now_ms;
	KmsFlight  *next;

	call->batch.op = op;
	strlcpy(call->batch.key_uri, line->stats.key_uri, CC_KMS_URI_MAX);
	for (KmsFlight *flight = take_queue(&line->queues[op]); flight != NULL; flight = next)
	{
		next = flight->next;
		if (flight->company > 0)
			most = Min(most, Max(flight->company, call->batch.nitems));
		if (call->batch.nitems >= most || !may_go(flight, now_ms))
		{
			enqueue(flight);
			continue;
		}
		call->flights[call->batch.nitems] = flight;
		call->items[call->batch.nitems++] = flight->item;
		deadline = Max(deadline, flight->deadline_ms);
	}
	return deadline - now_ms;
}

static void
perform(KmsCall *call)
{
	KmsEndpoint *endpoint = call->endpoint;
	cc_kms_outcome first_failure = CC_KMS_OK;
	const char *error = "";

	endpoint->provider->perform(endpoint->session, &call->batch);
	for (int i = 0; i < call->batch.nitems && first_failure == CC_KMS_OK; i++)
	{
		first_failure = call->items[i]->outcome;
		error = call->items[i]->error;
	}
	chatcrypt_call_note(call, first_failure, error, NULL);
	settle(call, CC_KMS_OK, "");
}

/* False where no call is to be had now. */
static bool
send_batch(KmsLine *line, int op, int64 now_ms)
{
	KmsEndpoint *endpoint = line->endpoint;
	KmsCall    *call = chatcrypt_call_new(endpoint, line, batch_done);
	char		error[CC_KMS_ERROR_MAX] = "";
	const char *refusal;
	cc_kms_outcome outcome;
	int64		timeout_ms;

	if (call == NULL)
		return false;
	timeout_ms = fill_batch(call, op, now_ms);
	if (endpoint->provider->perform != NULL)
	{
		perform(call);
		return true;
	}
	outcome = endpoint->provider->batch_request(endpoint->session, &call->batch, &call->request, error);
	if (outcome == CC_KMS_OK)
	{
		if (chatcrypt_call_send(call, timeout_ms, &refusal))
		{
			endpoint->batches++;
			return true;
		}
		outcome = CC_KMS_CONFIG;
		strlcpy(error, refusal, CC_KMS_ERROR_MAX);
	}
	chatcrypt_line_note_error(line, outcome, error);
	settle(call, outcome, error);
	return true;
}

/* ---------- the step ---------- */

static void
step(KmsLine *line, int64 now_ms, int64 *wake_at_ms)
{
	if (!chatcrypt_endpoint_open(line->endpoint, now_ms))
	{
		chatcrypt_line_fail_all(line, &line->endpoint->failure);
		return;
	}
	for (int op = 0; op < KMS_OPS; op++)
	{
		while (prepare(line, op, now_ms, wake_at_ms))
		{
			if (!chatcrypt_line_ready(line, now_ms, wake_at_ms))
				break;
			if (line->endpoint->batches >= chatcrypt_kms_max_inflight ||
				!send_batch(line, op, now_ms))
				break;
		}
	}
}

static void
publish(KmsLine *line, int64 now_ms)
{
	KmsEndpoint *endpoint = line->endpoint;

	line->stats.breaker = endpoint->breaker.state;
	line->stats.in_flight = line->calls;
	line->stats.waiting = 0;
	for (int op = 0; op < KMS_OPS; op++)
		line->stats.waiting += line->queues[op].count;
	line->stats.lease_ms = -1;
	if (endpoint->session != NULL && endpoint->provider->session_lease_ms != NULL)
		line->stats.lease_ms = endpoint->provider->session_lease_ms(endpoint->session, now_ms);
	line->stats.lease_at_ms = now_ms;
	chatcrypt_kms_stats_publish(line->row, &line->stats);
	line->stats_changed = false;
}

void
chatcrypt_flights_step(int64 now_ms, int64 *wake_at_ms)
{
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line == NULL)
			continue;
		if (!is_idle(line))
			step(line, now_ms, wake_at_ms);
		if (line->stats_changed || line->stats.breaker != line->endpoint->breaker.state)
			publish(line, now_ms);
	}
}
