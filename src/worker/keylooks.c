/*
 * keylooks.c
 *		Looks at the properties of a KMS key: before its first use, so that a key which
 *		must not be used is refused, and every minute after that for the view kms_status.
 *
 * Nothing waits for the later looks, and what they find changes no request: the KMS
 * itself refuses what it does not allow.  At most one of them is under way for an
 * endpoint, so that calls are left for requests however many keys there are.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pg/base/clock.h"
#include "worker/calls.h"
#include "worker/endpoints.h"
#include "worker/flights.h"
#include "worker/keylooks.h"
#include "worker/lines.h"
#include "worker/outcomes.h"

static void
look_failed(KmsLine *line, cc_kms_outcome outcome, const char *error)
{
	line->key_tries++;
	line->key_try_at_ms = chatcrypt_clock_ms() + cc_backoff_random_ms(line->key_tries);
	if (cc_kms_outcome_is_transient(outcome))
		return;
	cc_refusal_begin(&line->key_refusal, outcome, error, chatcrypt_clock_ms());
	chatcrypt_line_note_error(line, outcome, error);
	chatcrypt_line_note_refusal(line, CHATCRYPT_KMS_LOOK, outcome, error);
	chatcrypt_flights_fail_all(line, &line->key_refusal);
}

static void
note_facts(KmsLine *line, cc_kms_outcome outcome, const cc_kms_key_facts *facts, const char *error)
{
	if (facts->known)
	{
		line->stats.facts = *facts;
		line->stats.facts_at = GetCurrentTimestamp();
	}
	if (outcome == CC_KMS_OK)
		line->stats.facts_error[0] = '\0';
	else if (outcome != CC_KMS_LOGIN_AGAIN)
		strlcpy(line->stats.facts_error, error[0] != '\0' ? error : cc_kms_outcome_text(outcome),
				CC_KMS_ERROR_MAX);
	line->key_again_at_ms = chatcrypt_clock_ms() +
		(outcome == CC_KMS_DENIED ? CC_LOOK_DENIED_MS : CC_LOOK_AGAIN_MS);
}

static void
look_done(KmsCall *call, const cc_http_reply *reply)
{
	KmsLine    *line = call->line;
	KmsEndpoint *endpoint = call->endpoint;
	bool		again = call->again;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_key_facts facts = {0};
	cc_kms_outcome outcome;

	outcome = endpoint->provider->key_reply(endpoint->session, line->stats.kms_key, reply, again,
											&facts, error);
	line->key_call = NULL;
	note_facts(line, outcome, &facts, error);
	chatcrypt_outcome_note(call, outcome, error, reply);

	/* a hold on looking at a known key is no hold on using it */
	if (!again || endpoint->aside_call != call)
		chatcrypt_outcome_heed(call, outcome, reply);
	chatcrypt_call_free(call);
	if (again)
		return;

	line->key_known = outcome == CC_KMS_OK;
	line->stats_changed = true;
	if (outcome == CC_KMS_OK)
		line->key_tries = 0;
	else if (outcome != CC_KMS_LOGIN_AGAIN)
		look_failed(line, outcome, error);
}

static cc_kms_outcome
build_look(KmsCall *call, char error[CC_KMS_ERROR_MAX])
{
	return call->endpoint->provider->key_request(call->endpoint->session, call->line->stats.kms_key,
												 &call->request, error);
}

static void
look_refused(KmsCall *call, cc_kms_outcome outcome, const char *error)
{
	KmsLine    *line = call->line;

	chatcrypt_call_free(call);
	if (!line->key_known)
		look_failed(line, outcome, error);
}

static const KmsCallKind look = {build_look, look_done, look_refused};

void
chatcrypt_keylook_at(KmsLine *line)
{
	KmsCall    *call = chatcrypt_call_new(&look, line->endpoint, line);

	if (call == NULL)
		return;
	call->again = line->key_known;
	if (chatcrypt_call_send(call, chatcrypt_endpoint_timeout_ms(line->endpoint)))
		line->key_call = call;
}

/*
 * Looks at a known key for which no request waits: each minute, and at once after
 * chatcrypt.kms_check() or a reload.  It does not look while the KMS does not answer, or while
 * there is a hold.
 */
void
chatcrypt_keylook_aside(KmsLine *line, int64 now_ms)
{
	KmsEndpoint *endpoint = line->endpoint;

	if (now_ms < line->key_again_at_ms || now_ms - line->used_at_ms > CC_LOOK_IN_USE_MS ||
		endpoint->provider->perform != NULL || endpoint->aside_call != NULL ||
		line->key_call != NULL || line->held || cc_refusal_holds(&line->key_refusal, now_ms) ||
		endpoint->session == NULL || endpoint->breaker.state != CC_BREAKER_CLOSED ||
		chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_EXCHANGE)
		return;
	line->key_again_at_ms = now_ms + CC_LOOK_AGAIN_MS;
	chatcrypt_keylook_at(line);
	endpoint->aside_call = line->key_call;
}
