/*
 * sessions.c
 *		Sessions with a KMS (open, log in, renew, log in again), the probes that find out when
 *		a KMS is back, and what is done after a reload.
 */
#include "postgres.h"

#include "pg/base/clock.h"
#include "pg/base/kmssettings.h"
#include "worker/calls.h"
#include "worker/endpoints.h"
#include "worker/flights.h"
#include "worker/keylooks.h"
#include "worker/lines.h"
#include "worker/outcomes.h"
#include "worker/sessions.h"
#include "worker/watchdog.h"

/* ---------- failures that hold for all of an endpoint ---------- */

/* Logs the same refusal once a minute at most, since the settings are tried again and again. */
static void
log_refusal(KmsEndpoint *endpoint, cc_kms_outcome outcome, const char *error)
{
	int64		now = chatcrypt_clock_ms();

	if (endpoint->refusal_logged_ms != 0 && now - endpoint->refusal_logged_ms < CC_LOG_AGAIN_MS &&
		strcmp(endpoint->refusal.error, error) == 0)
		return;
	endpoint->refusal_logged_ms = now;
	ereport(LOG,
			(errmsg("the provider %s cannot be used: %s: %s", endpoint->provider->scheme,
					cc_kms_outcome_text(outcome), error)));
}

static void
refuse(KmsEndpoint *endpoint, cc_kms_outcome outcome, const char *error)
{
	log_refusal(endpoint, outcome, error);
	cc_refusal_begin(&endpoint->refusal, outcome, error, chatcrypt_clock_ms());
	strlcpy(endpoint->last_error, error, CC_KMS_ERROR_MAX);
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line == NULL || line->endpoint != endpoint)
			continue;
		chatcrypt_line_note_error(line, outcome, error);
		chatcrypt_flights_fail_all(line, &endpoint->refusal);
	}
}

/* Returns false, with endpoint->refusal set, where the settings cannot be used. */
bool
chatcrypt_session_open(KmsEndpoint *endpoint, int64 now_ms)
{
	cc_kms_config config;
	char		error[CC_KMS_ERROR_MAX] = "";

	if (endpoint->session != NULL)
		return true;
	if (cc_refusal_holds(&endpoint->refusal, now_ms))
		return false;
	chatcrypt_kmssettings_config(endpoint->provider, &config);
	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	endpoint->session = endpoint->provider->open(&config, error);
	chatcrypt_watchdog_leave();
	if (endpoint->session == NULL)
	{
		refuse(endpoint, CC_KMS_CONFIG, error);
		return false;
	}
	endpoint->refusal.outcome = CC_KMS_OK;
	return true;
}

/* ---------- exchanges ---------- */

/* After a failed renewal the session is still good; after a failed login it is not. */
static void
session_failed(KmsEndpoint *endpoint, cc_kms_outcome outcome, const char *error,
			   int64 not_before_ms)
{
	int64		now = chatcrypt_clock_ms();

	endpoint->session_tries++;
	endpoint->session_try_at_ms = Max(now + cc_backoff_random_ms(endpoint->session_tries),
									  not_before_ms);
	if (cc_kms_outcome_is_transient(outcome))
		return;
	if (chatcrypt_endpoint_state(endpoint, now) == CC_SESSION_EXCHANGE)
	{
		refuse(endpoint, outcome, error);
		endpoint->session_try_at_ms = endpoint->refusal.until_ms;
	}
}

static void
session_done(KmsCall *call, const cc_http_reply *reply)
{
	KmsEndpoint *endpoint = call->endpoint;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome;

	outcome = endpoint->provider->session_reply(endpoint->session, reply,
												chatcrypt_clock_ms(), error);
	endpoint->session_call = NULL;
	if (outcome == CC_KMS_OK)
		endpoint->refusal.outcome = CC_KMS_OK;
	chatcrypt_outcome_note(call, outcome, error, reply);
	chatcrypt_outcome_heed(call, outcome, reply);
	chatcrypt_call_free(call);
	if (outcome == CC_KMS_OK)
	{
		endpoint->session_tries = 0;
		endpoint->session_try_at_ms = 0;
		return;
	}
	session_failed(endpoint, outcome, error,
				   cc_hold_until_ms(outcome, reply, chatcrypt_clock_ms()));
}

static cc_kms_outcome
build_exchange(KmsCall *call, char error[CC_KMS_ERROR_MAX])
{
	return call->endpoint->provider->session_request(call->endpoint->session, &call->request,
													 chatcrypt_clock_ms(), error);
}

static void
exchange_refused(KmsCall *call, cc_kms_outcome outcome, const char *error)
{
	KmsEndpoint *endpoint = call->endpoint;

	chatcrypt_call_free(call);
	session_failed(endpoint, outcome, error, 0);
}

static const KmsCallKind exchange = {build_exchange, session_done, exchange_refused};

/* Leaves endpoint->session_call NULL where all calls are in use. */
static void
start_exchange(KmsEndpoint *endpoint)
{
	KmsCall    *call = chatcrypt_call_new(&exchange, endpoint, NULL);

	if (call != NULL && chatcrypt_call_send(call, chatcrypt_endpoint_timeout_ms(endpoint)))
		endpoint->session_call = call;
}

/* ---------- probes ---------- */

static KmsLine *
line_to_probe(const KmsEndpoint *endpoint)
{
	KmsLine    *newest = NULL;

	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line != NULL && line->endpoint == endpoint &&
			(newest == NULL || line->used_at_ms > newest->used_at_ms))
			newest = line;
	}
	return newest;
}

/* Sends a probe: a call that the KMS can answer and for which no request is needed. */
static void
start_probe(KmsEndpoint *endpoint, int64 now_ms)
{
	KmsLine    *line = line_to_probe(endpoint);

	if (chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_EXCHANGE)
	{
		if (endpoint->session_call == NULL)
			start_exchange(endpoint);
		if (endpoint->session_call != NULL)
			return;
	}
	else if (line != NULL)
	{
		if (line->key_call == NULL)
			chatcrypt_keylook_at(line);
		if (line->key_call != NULL)
			return;
	}
	(void) cc_breaker_failure(&endpoint->breaker, false, now_ms);
}

static void
step(KmsEndpoint *endpoint, int64 now_ms, int64 *wake_at_ms)
{
	if (endpoint->breaker.state != CC_BREAKER_CLOSED)
	{
		if (cc_breaker_probe(&endpoint->breaker, now_ms))
			start_probe(endpoint, now_ms);
		if (endpoint->breaker.state == CC_BREAKER_OPEN)
			*wake_at_ms = Min(*wake_at_ms, Max(endpoint->breaker.probe_at_ms, now_ms + 1));
		return;
	}
	if (chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_READY)
	{
		/* the provider says that a renewal is due, but not when the next one will be */
		*wake_at_ms = Min(*wake_at_ms, now_ms + 1000);
		return;
	}
	if (endpoint->session_call == NULL && now_ms >= endpoint->session_try_at_ms)
		start_exchange(endpoint);
	if (endpoint->session_call == NULL)
		*wake_at_ms = Min(*wake_at_ms, Max(endpoint->session_try_at_ms, now_ms + 1));
}

void
chatcrypt_sessions_step(int64 now_ms, int64 *wake_at_ms)
{
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
	{
		KmsEndpoint *endpoint = chatcrypt_endpoint_at(i);

		if (endpoint != NULL && endpoint->session != NULL && endpoint->provider->perform == NULL)
			step(endpoint, now_ms, wake_at_ms);
	}
}

/* ---------- reload ---------- */

/*
 * After a reload everything that is remembered may be wrong.  Calls under way are canceled
 * and their flights sent again.  Logins are made anew, since the files that they came from
 * may have changed, and sessions as well where the settings have changed.
 */
void
chatcrypt_sessions_reload(bool config_changed)
{
	chatcrypt_calls_cancel();
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
	{
		KmsEndpoint *endpoint = chatcrypt_endpoint_at(i);

		if (endpoint == NULL)
			continue;
		if (endpoint->session != NULL && config_changed)
		{
			endpoint->provider->close(endpoint->session);
			endpoint->session = NULL;
			endpoint->certificate_not_after = 0;
		}
		else if (endpoint->session != NULL && endpoint->provider->perform == NULL)
			endpoint->provider->session_drop(endpoint->session);
		endpoint->breaker = (cc_breaker) {.state = CC_BREAKER_CLOSED};
		endpoint->refusal = (cc_refusal) {0};
		endpoint->session_tries = 0;
		endpoint->session_try_at_ms = 0;
	}
	cc_refusals_clear();
	chatcrypt_lines_forget();
	chatcrypt_transport_renew();
}
