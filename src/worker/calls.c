/*
 * calls.c
 *		The pool of calls under way, and the one path on which a request is built and sent.
 *		Not here: what a reply says (the providers), and how a call ended (outcomes.c).
 */
#include "postgres.h"

#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "worker/calls.h"
#include "worker/lines.h"
#include "worker/watchdog.h"

static KmsCall calls[KMS_CALLS];

/* Returns NULL where all calls are in use; the caller tries again when one has ended. */
KmsCall *
chatcrypt_call_new(const KmsCallKind *kind, KmsEndpoint *endpoint, KmsLine *line)
{
	for (int i = 0; i < KMS_CALLS; i++)
	{
		KmsCall    *call = &calls[i];

		if (call->in_use)
			continue;
		memset(call, 0, sizeof(*call));
		call->in_use = true;
		call->kind = kind;
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

void
chatcrypt_call_requeue(KmsCall *call, int64 now_ms)
{
	for (int i = 0; i < call->batch.nitems; i++)
	{
		call->flights[i]->ready_at_ms = now_ms;
		chatcrypt_line_enqueue(call->flights[i]);
	}
	call->batch.nitems = 0;
}

static void
transfer_done(void *owner, const cc_http_reply *transport_reply)
{
	KmsCall    *call = owner;
	cc_http_reply reply = *transport_reply;

	reply.login = call->request.login;
	call->transfer = NULL;
	call->kind->done(call, &reply);
}

static bool
hand_to_transport(KmsCall *call, int64 timeout_ms, const char **error)
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

bool
chatcrypt_call_send(KmsCall *call, int64 timeout_ms)
{
	char		error[CC_KMS_ERROR_MAX] = "";
	const char *no_transfer;
	cc_kms_outcome outcome;

	chatcrypt_watchdog_enter(call->endpoint->provider->scheme);
	outcome = call->kind->build(call, error);
	chatcrypt_watchdog_leave();
	if (outcome == CC_KMS_OK)
	{
		if (hand_to_transport(call, timeout_ms, &no_transfer))
			return true;
		outcome = CC_KMS_CONFIG;
		strlcpy(error, no_transfer, CC_KMS_ERROR_MAX);
	}
	call->kind->refused(call, outcome, error);
	return false;
}

/* Cancels all calls because of new settings; their flights are sent again. */
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
		chatcrypt_call_requeue(call, now);
		chatcrypt_call_free(call);
	}
}
