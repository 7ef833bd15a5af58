/*
 * lines.c
 *		The table of lines, one for each key URI in use, with their queues and their
 *		rows in chatcrypt.kms_status.  Not here: how flights are taken from a queue (batches.c).
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "pg/base/clock.h"
#include "worker/lines.h"

static KmsLine lines[CHATCRYPT_KMS_KEYS];

KmsLine *
chatcrypt_line_at(int row)
{
	return lines[row].stats.kms_key[0] != '\0' ? &lines[row] : NULL;
}

bool
chatcrypt_line_is_idle(const KmsLine *line)
{
	int			queued = 0;

	for (int op = 0; op < KMS_OPS; op++)
		queued += line->queues[op].count;
	return queued == 0 && line->calls == 0;
}

/* Should a new line rather take the place of this line than that of the other? */
static bool
goes_before(const KmsLine *line, const KmsLine *other)
{
	bool		is_free = line->stats.kms_key[0] == '\0';
	bool		other_is_free = other->stats.kms_key[0] == '\0';

	if (is_free != other_is_free)
		return is_free;
	if (line->stats.only_tried != other->stats.only_tried)
		return line->stats.only_tried;
	return line->used_at_ms < other->used_at_ms;
}

/* Finds or makes the line of a key.  A key that is only tried out replaces no key in use. */
KmsLine *
chatcrypt_line_for(const ChatcryptSlotRequest *request, KmsEndpoint *endpoint, int64 now_ms)
{
	KmsLine    *place = NULL;

	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		KmsLine    *line = &lines[row];

		if (strcmp(line->stats.kms_key, request->kms_key) == 0)
		{
			line->used_at_ms = now_ms;
			line->stats.only_tried &= request->fresh;
			return line;
		}
		if (chatcrypt_line_is_idle(line) && (place == NULL || goes_before(line, place)))
			place = line;
	}
	if (place == NULL)
		return NULL;
	memset(place, 0, sizeof(*place));
	place->row = place - lines;
	place->used_at_ms = now_ms;
	place->stats.only_tried = request->fresh;
	place->endpoint = endpoint;
	place->stats.lease_ms = -1;
	strlcpy(place->stats.kms_key, request->kms_key, CC_KMS_URI_MAX);
	chatcrypt_line_suspect(place);
	return place;
}

/*
 * The key behind a URI may be another one at its first use, after a reload or an outage, and
 * when it did not open what it should.  Sessions that are told a new number check whether the
 * key opens what is stored, before they store anything that it wrapped.
 */
void
chatcrypt_line_suspect(KmsLine *line)
{
	if (!pg_strong_random(&line->suspicion, sizeof(line->suspicion)))
		line->suspicion++;
}

void
chatcrypt_lines_suspect(const KmsEndpoint *endpoint)
{
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
		if (lines[row].endpoint == endpoint)
			chatcrypt_line_suspect(&lines[row]);
}

/* ---------- holds ---------- */

/*
 * The server asks for no request until a time (Retry-After).  At that time one call goes out
 * alone, and the others follow when it is answered.  A hold is logged once a minute at most,
 * because a server at its limit answers one call and turns the next away.
 */
void
chatcrypt_line_hold(KmsLine *line, int64 until_ms)
{
	int64		now_us = chatcrypt_clock_us();
	int64		left_ms = until_ms - now_us / 1000;

	if (line->hold_logged_us == 0 ||
		now_us - line->hold_logged_us >= CC_LOG_AGAIN_MS * INT64CONST(1000))
	{
		line->hold_logged_us = now_us;
		ereport(LOG,
				(errmsg("the KMS wants no request with \"%s\" for %lld s, and is asked again by itself after that: %s",
						line->stats.kms_key, (long long) (left_ms + 999) / 1000,
						line->endpoint->last_error)));
	}
	line->held = true;
	line->held_at_us = now_us;
	line->hold_until_ms = Max(line->hold_until_ms, until_ms);
	line->stats.hold_until = GetCurrentTimestamp() + left_ms * 1000;
	line->stats_changed = true;
}

void
chatcrypt_line_release(KmsLine *line)
{
	line->held = false;
	line->hold_until_ms = 0;
	line->stats.hold_until = 0;
	line->stats_changed = true;
}

/* ---------- forgetting ---------- */

/* Forgets refusals, and ends a hold as if its time had passed: one call may go out. */
void
chatcrypt_line_forget(KmsLine *line)
{
	line->key_refusal.until_ms = 0;
	for (int op = 0; op < KMS_OPS; op++)
		line->op_refusals[op].until_ms = 0;
	line->hold_until_ms = 0;
	line->stats.hold_until = 0;
	line->key_try_at_ms = 0;
	line->key_again_at_ms = 0;
	line->stats_changed = true;
}

void
chatcrypt_lines_forget(void)
{
	for (int row = 0; row < CHATCRYPT_KMS_KEYS; row++)
	{
		chatcrypt_line_suspect(&lines[row]);
		chatcrypt_line_forget(&lines[row]);
		memset(lines[row].stats.refused, 0, sizeof(lines[row].stats.refused));
		lines[row].batch_limit = 0;
		lines[row].key_known = false;
		lines[row].key_tries = 0;
	}
}

/* ---------- queues ---------- */

static KmsQueue *
queue_of(KmsFlight *flight)
{
	return &flight->line->queues[flight->request->op];
}

void
chatcrypt_line_enqueue(KmsFlight *flight)
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

/* Empties the queue; the caller goes through the list and puts back the flights that stay. */
KmsFlight *
chatcrypt_line_take_queue(KmsQueue *queue)
{
	KmsFlight  *first = queue->first;

	*queue = (KmsQueue) {0};
	return first;
}

/* ---------- errors and refusals, for the view ---------- */

/* The error's own text, or the text of its outcome where there is none. */
const char *
chatcrypt_line_error_text(cc_kms_outcome outcome, const char *error)
{
	return error[0] != '\0' ? error : cc_kms_outcome_text(outcome);
}

void
chatcrypt_line_note_error(KmsLine *line, cc_kms_outcome outcome, const char *error)
{
	line->stats.last_error_at = GetCurrentTimestamp();
	strlcpy(line->stats.last_error, chatcrypt_line_error_text(outcome, error), CC_KMS_ERROR_MAX);
	line->stats_changed = true;
}

/*
 * Notes how the KMS last answered an operation with this key, for the view alone: whether
 * requests are refused depends on the refusals of the line, which end after a time.
 */
void
chatcrypt_line_note_refusal(KmsLine *line, int operation, cc_kms_outcome outcome, const char *error)
{
	cc_kms_outcome *refused = line->stats.refused;

	switch (outcome)
	{
		case CC_KMS_OK:
		case CC_KMS_NOT_OPENED: /* the KMS has the key, and used it */
			refused[operation] = CC_KMS_OK;
			if (refused[CHATCRYPT_KMS_LOOK] == CC_KMS_NO_KEY)
				refused[CHATCRYPT_KMS_LOOK] = CC_KMS_OK;
			break;
		case CC_KMS_DENIED:
		case CC_KMS_NO_KEY:
		case CC_KMS_CONFIG:
			refused[operation] = outcome;
			strlcpy(line->refusal_text, chatcrypt_line_error_text(outcome, error),
					CC_KMS_ERROR_MAX);
			break;
		default:
			break;
	}
	line->stats_changed = true;
}

/* ---------- status ---------- */

/* The last moment at which a request for this key is refused without a call; 0 for none. */
static TimestampTz
refused_until(const KmsLine *line, int64 now_ms)
{
	int64		until_ms = Max(line->endpoint->refusal.until_ms, line->key_refusal.until_ms);

	for (int op = 0; op < KMS_OPS; op++)
		until_ms = Max(until_ms, line->op_refusals[op].until_ms);
	return until_ms > now_ms ? GetCurrentTimestamp() + (until_ms - now_ms) * 1000 : 0;
}

/* The text that belongs to the reason that the view gives: see why_unusable() in kmsstate.c. */
static const char *
trouble_of(const KmsLine *line)
{
	const KmsEndpoint *endpoint = line->endpoint;

	if (endpoint->refusal.outcome != CC_KMS_OK)
		return endpoint->refusal.error;
	if (endpoint->breaker.state != CC_BREAKER_CLOSED)
		return endpoint->last_error;
	for (int operation = 0; operation < CHATCRYPT_KMS_OPERATIONS; operation++)
		if (line->stats.refused[operation] != CC_KMS_OK)
			return line->refusal_text;
	return line->stats.last_error;
}

void
chatcrypt_line_publish(KmsLine *line, int64 now_ms)
{
	KmsEndpoint *endpoint = line->endpoint;

	line->stats.refused[CHATCRYPT_KMS_LOGIN] = endpoint->refusal.outcome;
	line->stats.refused_until = refused_until(line, now_ms);
	line->stats.key_known = line->key_known;
	strlcpy(line->stats.trouble, trouble_of(line), CC_KMS_ERROR_MAX);
	line->stats.certificate_not_after = endpoint->certificate_not_after == 0 ? 0 :
		time_t_to_timestamptz(endpoint->certificate_not_after);
	line->certificate_published = endpoint->certificate_not_after;
	if (endpoint->breaker.state != CC_BREAKER_CLOSED)
		line->stats.reach = CHATCRYPT_REACH_NO;
	line->stats.breaker = endpoint->breaker.state;
	line->stats.in_flight = line->calls;
	line->stats.waiting = 0;
	for (int op = 0; op < KMS_OPS; op++)
		line->stats.waiting += line->queues[op].count;
	line->stats.lease_ms = -1;
	if (endpoint->session != NULL && endpoint->provider->session_lease_ms != NULL)
		line->stats.lease_ms = endpoint->provider->session_lease_ms(endpoint->session, now_ms);
	line->stats.lease_at_ms = now_ms;
	chatcrypt_kmsstats_publish(line->row, &line->stats);
	line->stats_changed = false;
}
