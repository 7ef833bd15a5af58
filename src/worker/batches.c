/*
 * batches.c
 *		Flights on their way: they wait in the queues of their line, are sent in
 *		batches, and are handed to settling.c when the reply is there.
 *
 * A new flight waits chatcrypt.kms_batch_delay for others to share its batch, unless
 * a batch is full before that; a flight whose failure was transient waits for its next
 * try.  Whatever happens, a flight ends by its deadline.
 */
#include "postgres.h"

#include "kms/providers.h"
#include "pg/base/settings.h"
#include "worker/batches.h"
#include "worker/calls.h"
#include "worker/endpoints.h"
#include "worker/flights.h"
#include "worker/keylooks.h"
#include "worker/lines.h"
#include "worker/outcomes.h"
#include "worker/sessions.h"
#include "worker/settling.h"
#include "worker/watchdog.h"

static void
batch_done(KmsCall *call, const cc_http_reply *reply)
{
	KmsEndpoint *endpoint = call->endpoint;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome;

	outcome = endpoint->provider->batch_reply(endpoint->session, &call->batch, reply, error);
	endpoint->batches--;
	chatcrypt_outcome_note(call, outcome, error, reply);
	chatcrypt_outcome_heed(call, outcome, reply);
	chatcrypt_settling_run(call, outcome, error);
}

static int
batch_max(const KmsLine *line, int op)
{
	int			most = cc_kms_batch_max(line->endpoint->provider, op);

	return line->batch_limit > 0 ? Min(line->batch_limit, most) : most;
}

/* A flight that failed waits for its retry time; a new one may join any batch. */
static bool
may_go(const KmsFlight *flight, int64 now_ms)
{
	return flight->tries == 0 || flight->ready_at_ms <= now_ms;
}

/* Ends flights that are no longer wanted or too late.  Returns whether a batch should go out. */
static bool
prepare(KmsLine *line, int op, int64 now_ms, int64 *wake_at_ms)
{
	KmsFlight  *next;
	int			ready = 0;
	bool		due = line->endpoint->provider->perform != NULL;

	for (KmsFlight *flight = chatcrypt_line_take_queue(&line->queues[op]); flight != NULL;
		 flight = next)
	{
		bool		wanted = chatcrypt_workerslots_wanted(flight->slot, &flight->deadline_ms);

		next = flight->next;
		if (!wanted || flight->deadline_ms <= now_ms)
		{
			chatcrypt_flight_expire(flight);
			continue;
		}
		chatcrypt_line_enqueue(flight);
		ready += may_go(flight, now_ms);
		due |= flight->ready_at_ms <= now_ms;
		*wake_at_ms = Min(*wake_at_ms, flight->deadline_ms);
		if (flight->ready_at_ms > now_ms)
			*wake_at_ms = Min(*wake_at_ms, flight->ready_at_ms);
	}
	return ready > 0 && (due || ready >= batch_max(line, op));
}

/* Fills the batch; returns the longest time that any of its flights may still wait. */
static int64
fill_batch(KmsCall *call, int op, int64 now_ms)
{
	KmsLine    *line = call->line;
	int			most = batch_max(line, op);
	int64		deadline = now_ms;
	KmsFlight  *next;

	call->batch.op = op;
	strlcpy(call->batch.kms_key, line->stats.kms_key, CC_KMS_URI_MAX);
	for (KmsFlight *flight = chatcrypt_line_take_queue(&line->queues[op]); flight != NULL;
		 flight = next)
	{
		next = flight->next;
		if (flight->max_batch > 0)
			most = Min(most, Max(flight->max_batch, call->batch.nitems));
		if (call->batch.nitems >= most || !may_go(flight, now_ms))
		{
			chatcrypt_line_enqueue(flight);
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

	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	endpoint->provider->perform(endpoint->session, &call->batch);
	chatcrypt_watchdog_leave();
	for (int i = 0; i < call->batch.nitems && first_failure == CC_KMS_OK; i++)
	{
		first_failure = call->items[i]->outcome;
		error = call->items[i]->error;
	}
	chatcrypt_outcome_note(call, first_failure, error, NULL);
	chatcrypt_settling_run(call, CC_KMS_OK, "");
}

static cc_kms_outcome
build_batch(KmsCall *call, char error[CC_KMS_ERROR_MAX])
{
	return call->endpoint->provider->batch_request(call->endpoint->session, &call->batch,
												   &call->request, error);
}

static void
batch_refused(KmsCall *call, cc_kms_outcome outcome, const char *error)
{
	chatcrypt_line_note_error(call->line, outcome, error);
	chatcrypt_line_note_refusal(call->line, call->batch.op, outcome, error);
	chatcrypt_settling_run(call, outcome, error);
}

static const KmsCallKind batch = {build_batch, batch_done, batch_refused};

/* Returns false where all calls are in use. */
static bool
send_batch(KmsLine *line, int op, int64 now_ms)
{
	KmsCall    *call = chatcrypt_call_new(&batch, line->endpoint, line);
	int64		timeout_ms;

	if (call == NULL)
		return false;
	timeout_ms = fill_batch(call, op, now_ms);
	if (line->endpoint->provider->perform != NULL)
		perform(call);
	else if (chatcrypt_call_send(call, timeout_ms))
		line->endpoint->batches++;
	return true;
}

/* May batches go out?  If not, starts what has to be done first. */
static bool
is_ready(KmsLine *line, int64 now_ms, int64 *wake_at_ms)
{
	KmsEndpoint *endpoint = line->endpoint;

	if (endpoint->provider->perform != NULL)
		return true;
	if (endpoint->breaker.state != CC_BREAKER_CLOSED)
		return false;
	if (chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_EXCHANGE)
	{
		/* a session that was opened just now logs in during the next turn */
		if (endpoint->session_call == NULL)
			*wake_at_ms = Min(*wake_at_ms, Max(endpoint->session_try_at_ms, now_ms + 1));
		return false;
	}
	if (now_ms < line->hold_until_ms)
	{
		*wake_at_ms = Min(*wake_at_ms, line->hold_until_ms);
		return false;
	}
	if (line->held && line->calls > 0)
		return false;			/* its outcome says whether the others may follow */
	if (line->key_known)
		return true;
	if (line->key_call == NULL && now_ms >= line->key_try_at_ms)
		chatcrypt_keylook_at(line);
	if (line->key_call == NULL)
		*wake_at_ms = Min(*wake_at_ms, Max(line->key_try_at_ms, now_ms + 1));
	return false;
}

static void
step(KmsLine *line, int64 now_ms, int64 *wake_at_ms)
{
	if (!chatcrypt_session_open(line->endpoint, now_ms))
	{
		chatcrypt_flights_fail_all(line, &line->endpoint->refusal);
		return;
	}
	for (int op = 0; op < KMS_OPS; op++)
	{
		while (prepare(line, op, now_ms, wake_at_ms))
		{
			if (!is_ready(line, now_ms, wake_at_ms))
				break;
			if (line->endpoint->batches >= chatcrypt_kms_max_inflight ||
				!send_batch(line, op, now_ms))
				break;
		}
	}
}

/* Is the row in chatcrypt.kms_status out of date? */
static bool
is_news(const KmsLine *line)
{
	return line->stats_changed || line->stats.breaker != line->endpoint->breaker.state ||
		line->certificate_published != line->endpoint->certificate_not_after;
}

void
chatcrypt_batches_step(int64 now_ms, int64 *wake_at_ms)
{
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line == NULL)
			continue;
		if (!chatcrypt_line_is_idle(line))
			step(line, now_ms, wake_at_ms);
		chatcrypt_keylook_aside(line, now_ms);
		if (is_news(line))
			chatcrypt_line_publish(line, now_ms);
	}
}
