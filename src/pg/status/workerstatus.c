/*
 * workerstatus.c
 *		The views of the KMS worker and the key cache.
 *		Not here: how the numbers are kept (sessionslots.c, keycache.c), the views of KMS keys
 *		(kmsstate.c), and kms_check() (kmscheck.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pg/cache/keycache.h"
#include "pg/service/heartbeat.h"
#include "pg/service/slotdirectory.h"
#include "pg/service/waits.h"
#include "pg/status/row.h"

PG_FUNCTION_INFO_V1(chatcrypt_read_kms_worker);
PG_FUNCTION_INFO_V1(chatcrypt_read_kms_waits);
PG_FUNCTION_INFO_V1(chatcrypt_read_cache_status);

Datum
chatcrypt_read_kms_worker(PG_FUNCTION_ARGS)
{
	ChatcryptWorkerStatus status;
	int64		silent_ms = chatcrypt_heartbeat_silent_ms();
	Row			row = {.n = 0};

	chatcrypt_slotdirectory_status(&status);
	put(&row, Int32GetDatum(status.pid), status.pid != 0);
	put_time(&row, status.pid != 0 ? status.started_at : 0);
	put(&row, Int32GetDatum(status.slots_pending), true);
	put(&row, Int32GetDatum(status.slots_inflight), true);
	put(&row, Int32GetDatum(status.slots_done), true);
	put(&row, Int64GetDatum(status.requests), true);
	put(&row, Int64GetDatum(status.joined), true);
	put(&row, Int64GetDatum(status.refreshes), true);
	put_time(&row, GetCurrentTimestamp() - silent_ms * 1000);
	put_ms_interval(&row, status.oldest_ms);
	put(&row, BoolGetDatum(silent_ms >= CHATCRYPT_SILENCE_MS), status.pid != 0);
	return form_row(fcinfo, &row);
}

Datum
chatcrypt_read_kms_waits(PG_FUNCTION_ARGS)
{
	ChatcryptWaits waits;
	uint64		all = 0;
	Row			row = {.n = 0};

	chatcrypt_waits_read(&waits);
	for (int i = 0; i < CHATCRYPT_WAIT_ENDS; i++)
		all += waits.ends[i];
	put(&row, Int64GetDatum(all), true);
	put(&row, Float8GetDatum(waits.histogram.us / 1e6), true);
	put(&row, Int64GetDatum(waits.ends[CHATCRYPT_WAIT_TIMEOUT]), true);
	put(&row, Int64GetDatum(waits.ends[CHATCRYPT_WAIT_REFUSED]), true);
	put(&row, Int64GetDatum(waits.ends[CHATCRYPT_WAIT_CANCELED]), true);
	put(&row, Int64GetDatum(waits.ends[CHATCRYPT_WAIT_FAILED]), true);
	put(&row, chatcrypt_histogram_bounds(), true);
	put(&row, chatcrypt_histogram_counts(&waits.histogram), true);
	return form_row(fcinfo, &row);
}

/* The time that is so many milliseconds from now; NULL for a negative number. */
static void
put_time_left(Row *row, int64 left_ms)
{
	put(row, TimestampTzGetDatum(GetCurrentTimestamp() + left_ms * 1000), left_ms >= 0);
}

Datum
chatcrypt_read_cache_status(PG_FUNCTION_ARGS)
{
	ChatcryptCacheStats stats;
	Row			row = {.n = 0};

	chatcrypt_keycache_stats(&stats);
	put(&row, Int64GetDatum(stats.entries), true);
	put(&row, Int64GetDatum(stats.capacity), true);
	put(&row, Int64GetDatum(stats.hits), true);
	put(&row, Int64GetDatum(stats.misses), true);
	put(&row, Int64GetDatum(stats.evictions), true);
	put(&row, Int64GetDatum(stats.refreshes), true);
	put(&row, Int64GetDatum(stats.bytes), true);
	put(&row, BoolGetDatum(stats.locked), true);
	put(&row, BoolGetDatum(stats.dumpable), true);
	put(&row, Int64GetDatum(stats.session_hits), true);
	put_time_left(&row, stats.first_left_ms);
	put_time_left(&row, stats.half_left_ms);
	put_time_left(&row, stats.all_left_ms);
	return form_row(fcinfo, &row);
}
