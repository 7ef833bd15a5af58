/*
 * outcomes.c
 *		How calls ended: what that means to the breaker and to holds, and what the log and the
 *		status views show of it.  Not here: what it means to flights (settling.c).
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "worker/lines.h"
#include "worker/outcomes.h"

/* ---------- counters ---------- */

static int
operation_of(const KmsCall *call)
{
	return call->batch.nitems > 0 ? (int) call->batch.op : CHATCRYPT_KMS_LOOK;
}

static void
count(KmsCall *call, cc_kms_outcome outcome)
{
	ChatcryptKmsCount *counts = call->line->stats.counts[operation_of(call)];
	bool		each = outcome == CC_KMS_OK || call->endpoint->provider->perform != NULL;

	counts[outcome].calls++;
	for (int i = 0; i < call->batch.nitems; i++)
		counts[each ? call->items[i]->outcome : outcome].items++;
}

static void
measure(KmsCall *call)
{
	ChatcryptKmsStats *stats = &call->line->stats;
	int64		us = chatcrypt_clock_us() - call->started_us;

	if (call->batch.nitems == 0)
		return;
	chatcrypt_kmsstats_latency_add(&stats->latency, us);
	chatcrypt_histogram_add(call->batch.nitems > 1 ? &stats->batch : &stats->single, us);
}

/* ---------- lines ---------- */

static void
note_line(KmsCall *call, cc_kms_outcome outcome, const char *error, bool reached)
{
	KmsLine    *line = call->line;

	line->stats.calls++;
	line->stats.reach = reached ? CHATCRYPT_REACH_YES : CHATCRYPT_REACH_NO;
	line->stats_changed = true;
	count(call, outcome);
	if (reached)
		measure(call);
	if (outcome == CC_KMS_OK)
		line->stats.last_success = GetCurrentTimestamp();
	else
		line->stats.failed_calls++;

	/* nothing but the look itself needs the right to look at a key that is known already */
	if (call->again && outcome == CC_KMS_DENIED)
		return;
	line->stats.last_outcome = outcome;
	if (outcome != CC_KMS_OK)
		chatcrypt_line_note_error(line, outcome, error);
	chatcrypt_line_note_refusal(line, operation_of(call), outcome, error);
}

/* A step of the session belongs to no key, and yet all keys depend on it. */
static void
note_all_lines(KmsEndpoint *endpoint, cc_kms_outcome outcome, const char *error, bool reached,
			   const char *request_id)
{
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = chatcrypt_line_at(row);

		if (line == NULL || line->endpoint != endpoint)
			continue;
		line->stats.reach = reached ? CHATCRYPT_REACH_YES : CHATCRYPT_REACH_NO;
		line->stats.last_outcome = outcome;
		line->stats_changed = true;
		if (request_id[0] != '\0')
			strlcpy(line->stats.last_request_id, request_id, CC_KMS_REQUEST_ID_MAX);
		if (outcome != CC_KMS_OK)
			chatcrypt_line_note_error(line, outcome, error);
	}
	endpoint->logins.counts[outcome].calls++;
	chatcrypt_kmsstats_publish_logins(endpoint->row, &endpoint->logins);
}

/* ---------- the end of a call ---------- */

/*
 * A KMS that comes and goes is logged as gone at most once a minute, and as back once for each
 * time that it was logged as gone.  If it still does not answer when the minute is over, that
 * is logged with the next failure.
 */
static void
log_reach(KmsEndpoint *endpoint, bool reached, int64 now_ms)
{
	if (reached && endpoint->logged_as_gone)
	{
		endpoint->logged_as_gone = false;
		ereport(LOG,
				(errmsg("the KMS behind the provider %s answers again",
						endpoint->provider->scheme)));
	}
	else if (!reached && !endpoint->logged_as_gone &&
			 (endpoint->gone_logged_ms == 0 ||
			  now_ms - endpoint->gone_logged_ms >= CC_LOG_AGAIN_MS))
	{
		endpoint->logged_as_gone = true;
		endpoint->gone_logged_ms = now_ms;
		ereport(LOG,
				(errmsg("the KMS behind the provider %s does not answer, and requests for keys that are not cached fail at once until it does: %s",
						endpoint->provider->scheme, endpoint->last_error)));
	}
}

static void
tell_breaker(const KmsCall *call, cc_kms_outcome outcome, bool reached)
{
	KmsEndpoint *endpoint = call->endpoint;
	int64		now_ms = chatcrypt_clock_ms();

	if (!reached)
		(void) cc_breaker_failure(&endpoint->breaker,
								  cc_breaker_is_sure(outcome, call->timeout_ms,
													 chatcrypt_kms_timeout),
								  now_ms);
	else if (cc_breaker_success(&endpoint->breaker, call->batch.nitems > 0))
		chatcrypt_lines_suspect(endpoint);
	if (reached == (endpoint->breaker.state == CC_BREAKER_CLOSED))
		log_reach(endpoint, reached, now_ms);
}

void
chatcrypt_outcome_note(KmsCall *call, cc_kms_outcome outcome, const char *error,
					   const cc_http_reply *reply)
{
	KmsEndpoint *endpoint = call->endpoint;
	bool		reached = cc_breaker_was_reached(outcome, reply);
	char		request_id[CC_KMS_REQUEST_ID_MAX] = "";

	if (reply != NULL && endpoint->provider->request_id != NULL)
		endpoint->provider->request_id(reply, request_id);
	if (call->line == NULL)
		note_all_lines(endpoint, outcome, error, reached, request_id);
	else
	{
		note_line(call, outcome, error, reached);
		if (request_id[0] != '\0')
			strlcpy(call->line->stats.last_request_id, request_id, CC_KMS_REQUEST_ID_MAX);
	}
	if (outcome == CC_KMS_OK)
		endpoint->last_error[0] = '\0';
	else if (!(call->again && outcome == CC_KMS_DENIED))
		strlcpy(endpoint->last_error, chatcrypt_line_error_text(outcome, error), CC_KMS_ERROR_MAX);
	if (endpoint->provider->perform == NULL)
		tell_breaker(call, outcome, reached);
}

/* A hold begins, or the server has answered a call that was sent after it began. */
void
chatcrypt_outcome_heed(const KmsCall *call, cc_kms_outcome outcome, const cc_http_reply *reply)
{
	int64		not_before_ms = cc_hold_until_ms(outcome, reply, chatcrypt_clock_ms());

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
