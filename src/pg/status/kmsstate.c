/*
 * kmsstate.c
 *		The views of KMS keys: kms_status, kms_calls and kms_latency.
 *		Not here: how the numbers are kept and gathered (kmsstats.c, worker/outcomes.c).
 */
#include "postgres.h"

#include "pg/base/clock.h"
#include "pg/service/heartbeat.h"
#include "pg/service/kmsstats.h"
#include "pg/service/slotdirectory.h"
#include "pg/status/row.h"

PG_FUNCTION_INFO_V1(chatcrypt_read_kms_status);
PG_FUNCTION_INFO_V1(chatcrypt_read_kms_calls);
PG_FUNCTION_INFO_V1(chatcrypt_read_kms_latency);

static const char *const operations[CHATCRYPT_KMS_OPERATIONS] = {
	[CC_KMS_UNWRAP] = "unwrap",
	[CC_KMS_WRAP] = "wrap",
	[CC_KMS_GENERATE] = "generate",
	[CC_KMS_REWRAP] = "rewrap",
	[CHATCRYPT_KMS_LOGIN] = "login",
	[CHATCRYPT_KMS_LOOK] = "key",
};

/* ---------- why a key cannot be used ---------- */

/* The operations with a data key that had this outcome, as "unwrap and rewrap"; "" for none. */
static const char *
refused_so(const ChatcryptKmsStats *stats, cc_kms_outcome outcome)
{
	StringInfoData list;
	const char *last = NULL;

	initStringInfo(&list);
	for (int op = 0; op <= CC_KMS_REWRAP; op++)
	{
		if (stats->refused[op] != outcome)
			continue;
		if (last != NULL)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", last);
		last = operations[op];
	}
	if (last != NULL)
		appendStringInfo(&list, "%s%s", list.len > 0 ? " and " : "", last);
	return list.data;
}

static bool
is_refused(const ChatcryptKmsStats *stats, cc_kms_outcome outcome)
{
	return stats->refused[CHATCRYPT_KMS_LOOK] == outcome || refused_so(stats, outcome)[0] != '\0';
}

/* Why the KMS refuses this key, or some use of it; NULL where it does not. */
static const char *
why_refused(const ChatcryptKmsStats *stats)
{
	const char *denied = refused_so(stats, CC_KMS_DENIED);

	if (is_refused(stats, CC_KMS_NO_KEY))
		return "the key service has no such key";
	if (stats->refused[CHATCRYPT_KMS_LOOK] == CC_KMS_CONFIG)
		return stats->key_known ? "the key would be refused after a restart or reload" :
			"the key must not be used";
	if (is_refused(stats, CC_KMS_CONFIG))
		return "the key service is not set up correctly";
	if (stats->refused[CHATCRYPT_KMS_LOOK] == CC_KMS_DENIED)
		return "the key service does not let the key's properties be read";
	if (denied[0] != '\0')
		return psprintf("the key service denies %s", denied);
	return NULL;
}

/*
 * Why the key cannot be used, in words, and in the order of trouble_of() in worker/lines.c; NULL
 * where no reason is known.
 */
static const char *
why_unusable(const ChatcryptKmsStats *stats, TimestampTz now)
{
	const char *refusal;

	if (stats->refused[CHATCRYPT_KMS_LOGIN] != CC_KMS_OK)
		return stats->refused[CHATCRYPT_KMS_LOGIN] == CC_KMS_DENIED ? "the login is refused" :
			"the key service is not set up correctly";
	if (stats->breaker != CC_BREAKER_CLOSED)
		return "the key service does not answer";
	refusal = why_refused(stats);
	if (refusal != NULL)
		return refusal;
	if (stats->hold_until > now)
		return psprintf("the key service wants no request for " INT64_FORMAT " s",
						(stats->hold_until - now) / USECS_PER_SEC + 1);
	return stats->reach == CHATCRYPT_REACH_NO ? "the last call was not answered" : NULL;
}

/* Why the worker, and so what it last published of keys, cannot be used; NULL where it can. */
static const char *
trouble_of_worker(void)
{
	ChatcryptWorkerStatus worker;

	chatcrypt_slotdirectory_status(&worker);
	if (worker.pid == 0)
		return "the KMS worker is not running";
	if (chatcrypt_heartbeat_silent_ms() >= CHATCRYPT_SILENCE_MS)
		return "the KMS worker does not move";
	return NULL;
}

/* The columns usable and unusable_because. */
static void
put_usable(Row *row, const ChatcryptKmsStats *stats, const char *worker_trouble, TimestampTz now)
{
	const char *why = why_unusable(stats, now);

	if (worker_trouble != NULL)
	{
		put(row, BoolGetDatum(false), true);
		put_text(row, worker_trouble);
		return;
	}
	put(row, BoolGetDatum(why == NULL), why != NULL || stats->reach != CHATCRYPT_REACH_UNKNOWN);
	put_text(row, why == NULL ? "" : stats->trouble[0] == '\0' ? why :
			 psprintf("%s: %s", why, stats->trouble));
}

/* ---------- kms_status ---------- */

static void
put_counters(Row *row, const ChatcryptKmsStats *stats)
{
	put_ms(row, chatcrypt_kmsstats_latency_ms(&stats->latency, 0.50));
	put_ms(row, chatcrypt_kmsstats_latency_ms(&stats->latency, 0.99));
	put(row, Int32GetDatum(stats->in_flight), true);
	put(row, Int32GetDatum(stats->waiting), true);
	put(row, Int64GetDatum(stats->calls), true);
	put(row, Int64GetDatum(stats->failed_calls), true);
	put(row, Int64GetDatum(stats->items), true);
	put(row, Int64GetDatum(stats->retries), true);
}

static void
put_key(Row *row, const ChatcryptKmsStats *stats)
{
	const cc_kms_key_facts *facts = &stats->facts;

	put(row, BoolGetDatum(facts->derived), facts->known);
	put(row, BoolGetDatum(facts->exportable), facts->known);
	put(row, Int64GetDatum(facts->latest_version), facts->known);
	put(row, Int64GetDatum(facts->min_decryption_version), facts->known);
	put_time(row, stats->facts_at);
	put_text(row, stats->facts_error);
}

static void
put_status(Row *row, const ChatcryptKmsStats *stats, const char *worker_trouble)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		called = stats->reach != CHATCRYPT_REACH_UNKNOWN;
	int64		passed_ms = chatcrypt_clock_ms() - stats->lease_at_ms;

	put_text(row, stats->kms_key);
	put_usable(row, stats, worker_trouble, now);
	put_time(row, stats->refused_until > now ? stats->refused_until : 0);
	put_time(row, stats->hold_until > now ? stats->hold_until : 0);
	put(row, BoolGetDatum(stats->reach == CHATCRYPT_REACH_YES), called);
	put_text(row, cc_breaker_text(stats->breaker));
	put_time(row, stats->last_success);
	put_text(row, called ? cc_kms_outcome_name(stats->last_outcome) : "");
	put_text(row, stats->last_request_id);
	put_text(row, stats->last_error);
	put_time(row, stats->last_error_at);
	put_counters(row, stats);
	put_ms_interval(row, stats->lease_ms < 0 ? -1 : Max(stats->lease_ms - passed_ms, 0));
	put_time(row, stats->certificate_not_after);
	put_key(row, stats);
	put(row, BoolGetDatum(stats->only_tried), true);
}

Datum
chatcrypt_read_kms_status(PG_FUNCTION_ARGS)
{
	ChatcryptKmsStats stats;
	const char *worker_trouble = trouble_of_worker();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < CHATCRYPT_KMS_KEYS; i++)
	{
		Row			row = {.n = 0};

		if (!chatcrypt_kmsstats_read(i, &stats))
			continue;
		put_status(&row, &stats, worker_trouble);
		store_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* ---------- kms_calls ---------- */

static void
store_counts(FunctionCallInfo fcinfo, const char *kms_key, int operation,
			 const ChatcryptKmsCount counts[CC_KMS_OUTCOMES])
{
	for (int outcome = 0; outcome < CC_KMS_OUTCOMES; outcome++)
	{
		Row			row = {.n = 0};

		if (counts[outcome].calls == 0 && counts[outcome].items == 0)
			continue;
		put_text(&row, kms_key);
		put_text(&row, operations[operation]);
		put_text(&row, cc_kms_outcome_name(outcome));
		put(&row, Int64GetDatum(counts[outcome].calls), true);
		put(&row, Int64GetDatum(counts[outcome].items), true);
		store_row(fcinfo, &row);
	}
}

Datum
chatcrypt_read_kms_calls(PG_FUNCTION_ARGS)
{
	ChatcryptKmsStats stats;
	ChatcryptKmsLogins logins;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < CHATCRYPT_KMS_KEYS; i++)
		if (chatcrypt_kmsstats_read(i, &stats))
			for (int operation = 0; operation < CHATCRYPT_KMS_OPERATIONS; operation++)
				store_counts(fcinfo, stats.kms_key, operation, stats.counts[operation]);
	for (int i = 0; i < CHATCRYPT_KMS_ENDPOINTS; i++)
		if (chatcrypt_kmsstats_read_logins(i, &logins))
			store_counts(fcinfo, logins.provider, CHATCRYPT_KMS_LOGIN, logins.counts);
	return (Datum) 0;
}

/* ---------- kms_latency ---------- */

static void
store_histogram(FunctionCallInfo fcinfo, const char *kms_key, const char *kind,
				const ChatcryptHistogram *histogram)
{
	Row			row = {.n = 0};

	put_text(&row, kms_key);
	put_text(&row, kind);
	put(&row, chatcrypt_histogram_bounds(), true);
	put(&row, chatcrypt_histogram_counts(histogram), true);
	put(&row, Int64GetDatum(chatcrypt_histogram_total(histogram)), true);
	put(&row, Float8GetDatum(histogram->us / 1000000.0), true);
	store_row(fcinfo, &row);
}

Datum
chatcrypt_read_kms_latency(PG_FUNCTION_ARGS)
{
	ChatcryptKmsStats stats;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < CHATCRYPT_KMS_KEYS; i++)
	{
		if (!chatcrypt_kmsstats_read(i, &stats))
			continue;
		store_histogram(fcinfo, stats.kms_key, "single", &stats.single);
		store_histogram(fcinfo, stats.kms_key, "batch", &stats.batch);
	}
	return (Datum) 0;
}
