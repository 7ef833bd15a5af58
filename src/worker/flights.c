/*
 * flights.c
 *		The end of a flight: its answer goes into its slot.  Not here: how a flight begins
 *		(arrivals.c), and what a reply means to it (settling.c).
 */
#include "postgres.h"

#include "core/kdf.h"
#include "pg/base/clock.h"
#include "pg/cache/keycache.h"
#include "worker/flights.h"
#include "worker/lines.h"

void
chatcrypt_flight_finish(KmsFlight *flight, const ChatcryptSlotAnswer *answer, const char *error)
{
	flight->item->outcome = answer->outcome;
	if (error != flight->item->error)
		strlcpy(flight->item->error, error, CC_KMS_ERROR_MAX);
	if (answer->outcome != CC_KMS_OK)
		cc_wipe(flight->item->dek, CC_DEK_LEN);
	flight->line->stats_changed = true;
	flight->line = NULL;
	chatcrypt_workerslots_finish(flight->slot, answer);
}

void
chatcrypt_flight_fail(KmsFlight *flight, cc_kms_outcome outcome, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = outcome};
	const ChatcryptKeyId *id = &flight->request->id;
	int64		hold_ms = flight->line->hold_until_ms - chatcrypt_clock_ms();
	bool		stale;

	if (hold_ms > 0 && cc_kms_outcome_is_transient(outcome))
		answer.held_s = (int) ((hold_ms + 999) / 1000);

	/*
	 * A key that the KMS refuses must not be used from the key cache either.  It is
	 * evicted only if it is cached, because an eviction moves the epoch, which
	 * invalidates the local caches of all sessions.
	 */
	if (flight->request->op == CC_KMS_UNWRAP && !flight->request->uncached &&
		!cc_kms_outcome_is_transient(outcome) && chatcrypt_keycache_touch(id, false, &stale))
		chatcrypt_keycache_evict(id);
	chatcrypt_flight_finish(flight, &answer, error);
}

void
chatcrypt_flight_turn_away(KmsFlight *flight, const char *error)
{
	ChatcryptSlotAnswer answer = {.outcome = CC_KMS_TRANSIENT,.breaker_open = true};

	chatcrypt_flight_finish(flight, &answer, error);
}

/* Whatever the KMS returns, a key is used only where it is the one that the row pins. */
static bool
is_right_key(const ChatcryptKeyId *id, const uint8 dek[CC_DEK_LEN])
{
	uint8		kcv[CC_KCV_LEN];

	return cc_dek_kcv(dek, id->chat_id, id->version, kcv) == CC_OK &&
		cc_equal(kcv, id->kcv, CC_KCV_LEN);
}

void
chatcrypt_flight_succeed(KmsFlight *flight)
{
	ChatcryptSlotAnswer answer = {
		.outcome = CC_KMS_OK,
		.wrapped_by = flight->line->suspicion ^ flight->line->wrapped_by
	};
	const ChatcryptKeyId *id = &flight->request->id;

	if (flight->request->op == CC_KMS_UNWRAP && !flight->request->unpinned)
	{
		if (!is_right_key(id, flight->item->dek))
		{
			answer = (ChatcryptSlotAnswer) {.outcome = CC_KMS_BAD_REPLY,.wrong_key = true};
			chatcrypt_line_note_error(flight->line, answer.outcome,
									  "the KMS unwrapped to another key than the one that was "
									  "wrapped");
		}
		else if (!flight->request->uncached)
		{
			/* not cached if it was shredded since the request, though the waiters may have it */
			chatcrypt_keycache_put_if(id, flight->item->dek, flight->request->epoch);
		}
	}
	chatcrypt_flight_finish(flight, &answer,
							answer.wrong_key ? flight->line->stats.last_error : "");
}

/* The error is what went wrong last, since that is why the flight is late. */
void
chatcrypt_flight_expire(KmsFlight *flight)
{
	const char *last_error = flight->line->endpoint->last_error;

	if (flight->tries > 0)
		chatcrypt_flight_fail(flight, flight->item->outcome, flight->item->error);
	else
		chatcrypt_flight_fail(flight, CC_KMS_TIMEOUT,
							  last_error[0] != '\0' ? last_error :
							  "the calls before it took too long");
}

void
chatcrypt_flights_fail(KmsQueue *queue, const cc_refusal *refusal)
{
	KmsFlight  *next;

	for (KmsFlight *flight = chatcrypt_line_take_queue(queue); flight != NULL; flight = next)
	{
		next = flight->next;
		chatcrypt_flight_fail(flight, refusal->outcome, refusal->error);
	}
}

void
chatcrypt_flights_fail_all(KmsLine *line, const cc_refusal *refusal)
{
	for (int op = 0; op < KMS_OPS; op++)
		chatcrypt_flights_fail(&line->queues[op], refusal);
}

/*
 * Are refusals of this flight's wrapped key remembered?  Only where the request has a wrapped
 * key, and the provider a network: reading a file again is as fast as looking up a refusal,
 * and a file that was repaired then works at once.
 */
bool
chatcrypt_flight_is_remembered(const KmsFlight *flight)
{
	return (flight->request->op == CC_KMS_UNWRAP || flight->request->op == CC_KMS_REWRAP) &&
		flight->line->endpoint->provider->perform == NULL;
}
