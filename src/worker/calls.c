/*
 * calls.c
 *		The pool of calls under way.  Not here: what a reply says (the providers), and
 *		how a call ended (outcomes.c).
 */
#include "postgres.h"

#include "kms/backoff.h"
#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "worker/dispatch.h"

/* However long the server wants to be left alone: it is asked again after this. */
#define LONGEST_HOLD_MS	30000

static KmsCall calls[KMS_CALLS];

/* NULL where all are in use; then what wanted one is tried again when one ends. */
KmsCall *
chatcrypt_call_new(KmsEndpoint *endpoint, KmsLine *line,
				   void (*done) (KmsCall *call, const cc_http_reply *reply))
{
	for (int i = 0; i < KMS_CALLS; i++)
	{
		KmsCall    *call = &calls[i];

		if (call->in_use)
			continue;
		memset(call, 0, sizeof(*call));
		call->in_use = true;
		call->done = done;
		call->endpoint = endpoint;
		call->line = line;
		call->batch.items = call->items;
		call->started_us = chatcrypt_clock_us();
		if (line != NULL)
		{
			line->calls++;
			line->stats_changed = true;
		}
		return call;
	}
	return NULL;
}

void
chatcrypt_call_over(KmsCall *call)
{
	if (call->over)
		return;
	call->over = true;
	cc_http_request_clear(&call->request);
	if (call->line != NULL)
	{
		call->line->calls--;
		call->line->stats_changed = true;
	}
}

void
chatcrypt_call_free(KmsCall *call)
{
	chatcrypt_call_over(call);
	if (call->endpoint->aside_call == call)
		call->endpoint->aside_call = NULL;
	call->in_use = false;
}

static void
transfer_done(void *owner, const cc_http_reply *transport_reply)
{
	KmsCall    *call = owner;
	cc_http_reply reply = *transport_reply;

	reply.login = call->request.login;
	call->transfer = NULL;
	call->done(call, &reply);
}

bool
chatcrypt_call_send(KmsCall *call, int64 timeout_ms, const char **error)
{
	ChatcryptTransportConfig config = {
		.certificate_not_after = &call->endpoint->certificate_not_after,
		.proxy = chatcrypt_kms_proxy,
		.allow_http = chatcrypt_allow_http,
	};

	call->timeout_ms = timeout_ms;
	call->started_us = chatcrypt_clock_us();
	call->transfer = chatcrypt_transport_send(&config, &call->request,
											  Min(chatcrypt_kms_connect_timeout, timeout_ms),
											  timeout_ms, transfer_done, call, error);
	return call->transfer != NULL;
}

/* For new settings: what was asked is asked again. */
void
chatcrypt_calls_cancel(void)
{
	int64		now = chatcrypt_clock_ms();

	for (int i = 0; i < KMS_CALLS; i++)
	{
		KmsCall    *call = &calls[i];

		if (!call->in_use)
			continue;
		if (call->transfer != NULL)
			chatcrypt_transport_cancel(call->transfer);
		if (call->endpoint->session_call == call)
			call->endpoint->session_call = NULL;
		if (call->line != NULL && call->line->key_call == call)
			call->line->key_call = NULL;
		if (call->batch.nitems > 0)
			call->endpoint->batches--;
		chatcrypt_flights_requeue(call, now);
		chatcrypt_call_free(call);
	}
}

/* When the server allows the next call, if it said so; 0 where it did not. */
int64
chatcrypt_call_not_before_ms(cc_kms_outcome outcome, const cc_http_reply *reply)
{
	if (reply->retry_after_ms <= 0 || !cc_kms_outcome_is_transient(outcome))
		return 0;
	return chatcrypt_clock_ms() + Min(reply->retry_after_ms, LONGEST_HOLD_MS);
}

/* A hold begins, or the server has answered a call that was sent after it began. */
void
chatcrypt_call_heed(const KmsCall *call, cc_kms_outcome outcome, const cc_http_reply *reply)
{
	int64		not_before_ms = chatcrypt_call_not_before_ms(outcome, reply);

	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line == NULL || line->endpoint != call->endpoint ||
			(call->line != NULL && call->line != line))
			continue;
		if (not_before_ms > 0)
			chatcrypt_line_hold(line, not_before_ms);
		else if (line->held && !cc_kms_outcome_is_transient(outcome) &&
				 call->started_us > line->held_at_us)
			chatcrypt_line_release(line);
	}
}

int64
chatcrypt_retry_ms(int tries)
{
	uint32		random;

	/* without random bytes, the longest wait is the safe one */
	if (!pg_strong_random(&random, sizeof(random)))
		random = PG_UINT32_MAX;
	return cc_backoff_ms(tries, random);
}
