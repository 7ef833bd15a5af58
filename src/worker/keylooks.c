/*
 * keylooks.c
 *		Looks at the properties of a key: before its first use, where a key that must
 *		not be used is refused, and every minute after that for the view kms_status.
 *
 * Nothing waits for the later looks, and what they find changes no request: the key
 * service itself refuses what it does not allow.  There is one of them under way for
 * an endpoint, so that calls are left for requests however many keys there are.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pg/base/clock.h"
#include "worker/dispatch.h"

#define AGAIN_MS			60000
#define AGAIN_DENIED_MS		600000	/* the right to look may well stay away */
#define IN_USE_MS			3600000

static void
look_failed(KmsLine *line, cc_kms_outcome outcome, const char *error)
{
	line->key_tries++;
	line->key_try_at_ms = chatcrypt_clock_ms() + chatcrypt_retry_ms(line->key_tries);
	if (cc_kms_outcome_is_transient(outcome))
		return;
	line->failure.outcome = outcome;
	line->failure.until_ms = chatcrypt_clock_ms() + CC_FAILURE_MS;
	strlcpy(line->failure.error, error, CC_KMS_ERROR_MAX);
	chatcrypt_line_note_error(line, outcome, error);
	chatcrypt_line_note_refusal(line, CHATCRYPT_KMS_LOOK, outcome, error);
	chatcrypt_line_fail_all(line, &line->failure);
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
		(outcome == CC_KMS_DENIED ? AGAIN_DENIED_MS : AGAIN_MS);
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
	chatcrypt_call_note(call, outcome, error, reply);

	/* a limit on looking is none on using a key that is known */
	if (!again || endpoint->aside_call != call)
		chatcrypt_call_heed(call, outcome, reply);
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

/* Leaves line->key_call NULL where no call is to be had now. */
void
chatcrypt_key_look(KmsLine *line)
{
	KmsEndpoint *endpoint = line->endpoint;
	KmsCall    *call = chatcrypt_call_new(endpoint, line, look_done);
	char		error[CC_KMS_ERROR_MAX] = "";
	const char *refusal;
	cc_kms_outcome outcome;

	if (call == NULL)
		return;
	call->again = line->key_known;
	outcome = endpoint->provider->key_request(endpoint->session, line->stats.kms_key,
											  &call->request, error);
	if (outcome == CC_KMS_OK)
	{
		if (chatcrypt_call_send(call, chatcrypt_endpoint_timeout_ms(endpoint), &refusal))
		{
			line->key_call = call;
			return;
		}
		outcome = CC_KMS_CONFIG;
		strlcpy(error, refusal, CC_KMS_ERROR_MAX);
	}
	chatcrypt_call_free(call);
	if (!line->key_known)
		look_failed(line, outcome, error);
}

/*
 * For no request: where a minute has passed, and at once after chatcrypt.kms_check() or a
 * reload.  Not while the KMS is away or wants to be left alone.
 */
void
chatcrypt_key_look_aside(KmsLine *line, int64 now_ms)
{
	KmsEndpoint *endpoint = line->endpoint;

	if (now_ms < line->key_again_at_ms || now_ms - line->used_at_ms > IN_USE_MS ||
		endpoint->provider->perform != NULL || endpoint->aside_call != NULL ||
		line->key_call != NULL || line->held || now_ms < line->failure.until_ms ||
		endpoint->session == NULL || endpoint->breaker.state != CC_BREAKER_CLOSED ||
		chatcrypt_endpoint_state(endpoint, now_ms) == CC_SESSION_EXCHANGE)
		return;
	line->key_again_at_ms = now_ms + AGAIN_MS;
	chatcrypt_key_look(line);
	endpoint->aside_call = line->key_call;
}
