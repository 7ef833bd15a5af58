/*
 * endpoint.c
 *		Sessions with a KMS (open, log in, renew, log in again), and the probes that
 *		find out when a KMS is back.
 */
#include "postgres.h"

#include "kms/providers.h"
#include "pg/base/clock.h"
#include "pg/base/kmssettings.h"
#include "pg/base/settings.h"
#include "worker/dispatch.h"
#include "worker/watchdog.h"

static KmsEndpoint endpoints[CHATCRYPT_KMS_ENDPOINTS];

KmsEndpoint *
chatcrypt_endpoint_at(int index)
{
	return endpoints[index].provider != NULL ? &endpoints[index] : NULL;
}

/* NULL for a scheme that no provider has. */
KmsEndpoint *
chatcrypt_endpoint_for(const char *kms_key)
{
	const cc_kms_provider *provider = cc_kms_provider_for(kms_key);

	if (provider == NULL || provider->check_uri(kms_key) != CC_OK)
		return NULL;
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
	{
		if (endpoints[i].provider == NULL)
		{
			endpoints[i].provider = provider;
			endpoints[i].row = i;
			snprintf(endpoints[i].logins.provider, sizeof(endpoints[i].logins.provider), "%s:",
					 provider->scheme);
		}
		if (endpoints[i].provider == provider)
			return &endpoints[i];
	}
	return NULL;
}

/* ---------- failures that hold for all of an endpoint ---------- */

#define REFUSAL_LOG_MS	60000

/* One line, and the same one once a minute: the settings are tried again and again. */
static void
log_refusal(KmsEndpoint *endpoint, cc_kms_outcome outcome, const char *error)
{
	int64		now = chatcrypt_clock_ms();

	if (endpoint->refusal_logged_ms != 0 && now - endpoint->refusal_logged_ms < REFUSAL_LOG_MS &&
		strcmp(endpoint->failure.error, error) == 0)
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
	endpoint->failure.outcome = outcome;
	endpoint->failure.until_ms = chatcrypt_clock_ms() + CC_FAILURE_MS;
	strlcpy(endpoint->failure.error, error, CC_KMS_ERROR_MAX);
	strlcpy(endpoint->last_error, error, CC_KMS_ERROR_MAX);
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line == NULL || line->endpoint != endpoint)
			continue;
		chatcrypt_line_note_error(line, outcome, error);
		chatcrypt_line_fail_all(line, &endpoint->failure);
	}
}

/*
 * Whether a refusal that holds for all of the endpoint still counts.  Where the files that the
 * credentials came from have changed, they are tried at once.
 */
bool
chatcrypt_endpoint_refuses(KmsEndpoint *endpoint, int64 now_ms)
{
	bool		changed;

	if (now_ms >= endpoint->failure.until_ms)
		return false;
	if (endpoint->session == NULL || endpoint->provider->login_changed == NULL)
		return true;
	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	changed = endpoint->provider->login_changed(endpoint->session);
	chatcrypt_watchdog_leave();
	if (!changed)
		return true;
	endpoint->failure.until_ms = 0;
	endpoint->session_try_at_ms = 0;
	return false;
}

/* False, with endpoint->failure set, where the settings cannot be used. */
bool
chatcrypt_endpoint_open(KmsEndpoint *endpoint, int64 now_ms)
{
	cc_kms_config config;
	char		error[CC_KMS_ERROR_MAX] = "";

	if (endpoint->session != NULL)
		return true;
	if (now_ms < endpoint->failure.until_ms)
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
	endpoint->failure.outcome = CC_KMS_OK;
	return true;
}

/* ---------- the session ---------- */

/* Looks whether the files that a login came from have changed. */
cc_session_state
chatcrypt_endpoint_state(const KmsEndpoint *endpoint, int64 now_ms)
{
	cc_session_state state;

	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	state = endpoint->provider->session_state(endpoint->session, now_ms);
	chatcrypt_watchdog_leave();
	return state;
}

/* A renewal that fails leaves a session that is still good; a login does not. */
static void
session_failed(KmsEndpoint *endpoint, cc_kms_outcome outcome, const char *error,
			   int64 not_before_ms)
{
	int64		now = chatcrypt_clock_ms();

	endpoint->session_tries++;
	endpoint->session_try_at_ms = Max(now + chatcrypt_retry_ms(endpoint->session_tries),
									  not_before_ms);
	if (cc_kms_outcome_is_transient(outcome))
		return;
	if (chatcrypt_endpoint_state(endpoint, now) == CC_SESSION_EXCHANGE)
	{
		refuse(endpoint, outcome, error);
		endpoint->session_try_at_ms = endpoint->failure.until_ms;
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
		endpoint->failure.outcome = CC_KMS_OK;
	chatcrypt_call_note(call, outcome, error, reply);
	chatcrypt_call_heed(call, outcome, reply);
	chatcrypt_call_free(call);
	if (outcome == CC_KMS_OK)
	{
		endpoint->session_tries = 0;
		endpoint->session_try_at_ms = 0;
		return;
	}
	session_failed(endpoint, outcome, error, chatcrypt_call_not_before_ms(outcome, reply));
}

/* A probe gives up sooner, so that the next one is not put off. */
int64
chatcrypt_endpoint_timeout_ms(const KmsEndpoint *endpoint)
{
	if (endpoint->breaker.state == CC_BREAKER_CLOSED)
		return chatcrypt_kms_timeout;
	return Min(chatcrypt_kms_timeout, CC_BREAKER_LONGEST_MS);
}

static void
start_session_call(KmsEndpoint *endpoint, int64 now_ms)
{
	KmsCall    *call = chatcrypt_call_new(endpoint, NULL, session_done);
	char		error[CC_KMS_ERROR_MAX] = "";
	const char *refusal;
	cc_kms_outcome outcome;

	if (call == NULL)
		return;
	chatcrypt_watchdog_enter(endpoint->provider->scheme);
	outcome = endpoint->provider->session_request(endpoint->session, &call->request, now_ms, error);
	chatcrypt_watchdog_leave();
	if (outcome == CC_KMS_OK)
	{
		if (chatcrypt_call_send(call, chatcrypt_endpoint_timeout_ms(endpoint), &refusal))
		{
			endpoint->session_call = call;
			return;
		}
		outcome = CC_KMS_CONFIG;
		strlcpy(error, refusal, CC_KMS_ERROR_MAX);
	}
	chatcrypt_call_free(call);
	session_failed(endpoint, outcome, error, 0);
}

/* ---------- lines ---------- */

/* May batches go out?  Starts what is still missing for that. */
bool
chatcrypt_line_ready(KmsLine *line, int64 now_ms, int64 *wake_at_ms)
{
	KmsEndpoint *endpoint = line->endpoint;

	if (endpoint->provider->perform != NULL)
		return true;
	if (endpoint->breaker.state != CC_BREAKER_CLOSED)
		return false;
	if (chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_EXCHANGE)
	{
		/* a session that was opened just now logs in with the next turn */
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
		return false;			/* its answer says whether the others may follow */
	if (line->key_known)
		return true;
	if (line->key_call == NULL && now_ms >= line->key_try_at_ms)
		chatcrypt_key_look(line);
	if (line->key_call == NULL)
		*wake_at_ms = Min(*wake_at_ms, Max(line->key_try_at_ms, now_ms + 1));
	return false;
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

/* One call that the KMS can answer without any request of a backend's. */
static void
start_probe(KmsEndpoint *endpoint, int64 now_ms)
{
	KmsLine    *line = line_to_probe(endpoint);

	if (chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_EXCHANGE)
	{
		if (endpoint->session_call == NULL)
			start_session_call(endpoint, now_ms);
		if (endpoint->session_call != NULL)
			return;
	}
	else if (line != NULL)
	{
		if (line->key_call == NULL)
			chatcrypt_key_look(line);
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
		/* the provider says when a renewal is due, and cannot say when it will be */
		*wake_at_ms = Min(*wake_at_ms, now_ms + 1000);
		return;
	}
	if (endpoint->session_call == NULL && now_ms >= endpoint->session_try_at_ms)
		start_session_call(endpoint, now_ms);
	if (endpoint->session_call == NULL)
		*wake_at_ms = Min(*wake_at_ms, Max(endpoint->session_try_at_ms, now_ms + 1));
}

void
chatcrypt_endpoints_step(int64 now_ms, int64 *wake_at_ms)
{
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
	{
		KmsEndpoint *endpoint = &endpoints[i];

		if (endpoint->session != NULL && endpoint->provider->perform == NULL)
			step(endpoint, now_ms, wake_at_ms);
	}
}

/* ---------- reload ---------- */

/*
 * Everything remembered may be wrong now.  Calls under way are given up and their
 * requests asked again; logins are made anew, since the files that they came from
 * may have changed; and sessions as well where the settings have.
 */
void
chatcrypt_dispatch_reload(bool config_changed)
{
	chatcrypt_calls_cancel();
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
	{
		KmsEndpoint *endpoint = &endpoints[i];

		if (endpoint->provider == NULL)
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
		endpoint->failure = (cc_failure) {0};
		endpoint->session_tries = 0;
		endpoint->session_try_at_ms = 0;
	}
	cc_failures_clear();
	chatcrypt_lines_forget();
	chatcrypt_transport_renew();
}
