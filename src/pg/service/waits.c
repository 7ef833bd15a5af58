/*
 * waits.c
 *		The counters behind chatcrypt.kms_waits: see waits.h.
 */
#include "postgres.h"

#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "pg/service/waits.h"

typedef struct Counters
{
	pg_atomic_uint64 us;
	pg_atomic_uint64 ends[CHATCRYPT_WAIT_ENDS];
	pg_atomic_uint64 counts[CHATCRYPT_HISTOGRAM_BOUNDS + 1];	/* as in ChatcryptHistogram */
} Counters;

static Counters *counters;

void
chatcrypt_waits_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Counters)));
}

void
chatcrypt_waits_startup(void)
{
	bool		found;

	counters = ShmemInitStruct("chatcrypt waits", sizeof(Counters), &found);
	if (found)
		return;
	pg_atomic_init_u64(&counters->us, 0);
	for (int i = 0; i < CHATCRYPT_WAIT_ENDS; i++)
		pg_atomic_init_u64(&counters->ends[i], 0);
	for (int i = 0; i <= CHATCRYPT_HISTOGRAM_BOUNDS; i++)
		pg_atomic_init_u64(&counters->counts[i], 0);
}

void
chatcrypt_waits_note(ChatcryptWaitEnd end, int64 us)
{
	pg_atomic_fetch_add_u64(&counters->us, us);
	pg_atomic_fetch_add_u64(&counters->ends[end], 1);
	pg_atomic_fetch_add_u64(&counters->counts[chatcrypt_histogram_bucket(us)], 1);
}

/* Reads in the reverse order of writing, so that the buckets never exceed the ends. */
void
chatcrypt_waits_read(ChatcryptWaits *waits)
{
	for (int i = 0; i <= CHATCRYPT_HISTOGRAM_BOUNDS; i++)
		waits->histogram.counts[i] = pg_atomic_read_u64(&counters->counts[i]);
	pg_read_barrier();
	for (int i = 0; i < CHATCRYPT_WAIT_ENDS; i++)
		waits->ends[i] = pg_atomic_read_u64(&counters->ends[i]);
	waits->histogram.us = pg_atomic_read_u64(&counters->us);
}
