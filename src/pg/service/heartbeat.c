/*
 * heartbeat.c
 *		The KMS worker's heartbeat: see heartbeat.h.
 */
#include "postgres.h"

#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "pg/base/clock.h"
#include "pg/base/settings.h"
#include "pg/service/heartbeat.h"

/* How long a worker must stay silent after its latch was set before it is said to hang. */
#define CHANCE_US	1000000

typedef struct Heartbeat
{
	pg_atomic_uint64 beat_us;	/* clock.h */
	pg_atomic_uint64 expected_us;	/* when the worker was first woken after its last beat */
} Heartbeat;

static Heartbeat *heart;

void
chatcrypt_heartbeat_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Heartbeat)));
}

void
chatcrypt_heartbeat_startup(void)
{
	bool		found;

	heart = ShmemInitStruct("chatcrypt heartbeat", sizeof(Heartbeat), &found);
	if (found)
		return;
	pg_atomic_init_u64(&heart->beat_us, chatcrypt_clock_us());
	pg_atomic_init_u64(&heart->expected_us, 0);
}

void
chatcrypt_heartbeat_beat(void)
{
	pg_atomic_write_u64(&heart->beat_us, chatcrypt_clock_us());
}

void
chatcrypt_heartbeat_expect(void)
{
	if (pg_atomic_read_u64(&heart->expected_us) <= pg_atomic_read_u64(&heart->beat_us))
		pg_atomic_write_u64(&heart->expected_us, chatcrypt_clock_us());
}

static int64
silent_us(void)
{
	return Max(chatcrypt_clock_us() - (int64) pg_atomic_read_u64(&heart->beat_us), 0);
}

int64
chatcrypt_heartbeat_silent_ms(void)
{
	return silent_us() / 1000;
}

/*
 * The first statement that meets a hanging worker waits for chatcrypt.kms_timeout before it
 * fails.  With the default setting, the worker has been silent for longer than the limit then.
 */
bool
chatcrypt_heartbeat_is_missing(void)
{
	int64		limit_ms = Min(Max(chatcrypt_kms_timeout, 2 * CHATCRYPT_BEAT_MS), CHATCRYPT_SILENCE_MS);
	uint64		expected_us = pg_atomic_read_u64(&heart->expected_us);

	return silent_us() >= limit_ms * 1000 &&
		expected_us > pg_atomic_read_u64(&heart->beat_us) &&
		chatcrypt_clock_us() - (int64) expected_us >= CHANCE_US;
}
