/*
 * waits.c
 *		The counters behind chatcrypt.kms_waits; see waits.h.
 */
#include "postgres.h"

#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "pg/service/waits.h"

const double chatcrypt_wait_bounds[CHATCRYPT_WAIT_BOUNDS] = {
	0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30
};

typedef struct Counters
{
	pg_atomic_uint64 us;
	pg_atomic_uint64 ends[CHATCRYPT_WAIT_ENDS];
	pg_atomic_uint64 buckets[CHATCRYPT_WAIT_BOUNDS];	/* each up to its bound, from the one before */
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
	for (int i = 0; i < CHATCRYPT_WAIT_BOUNDS; i++)
		pg_atomic_init_u64(&counters->buckets[i], 0);
}

void
chatcrypt_waits_note(ChatcryptWaitEnd end, int64 us)
{
	int			i = 0;

	while (i < CHATCRYPT_WAIT_BOUNDS && us > chatcrypt_wait_bounds[i] * 1e6)
		i++;
	pg_atomic_fetch_add_u64(&counters->us, us);
	pg_atomic_fetch_add_u64(&counters->ends[end], 1);
	if (i < CHATCRYPT_WAIT_BOUNDS)
		pg_atomic_fetch_add_u64(&counters->buckets[i], 1);
}

void
chatcrypt_waits_read(ChatcryptWaits *waits)
{
	uint64		sum = 0;

	/* In the reverse order of writing, so that no bucket has more than there are waits. */
	for (int i = 0; i < CHATCRYPT_WAIT_BOUNDS; i++)
	{
		sum += pg_atomic_read_u64(&counters->buckets[i]);
		waits->counts[i] = sum;
	}
	pg_read_barrier();
	for (int i = 0; i < CHATCRYPT_WAIT_ENDS; i++)
		waits->ends[i] = pg_atomic_read_u64(&counters->ends[i]);
	waits->us = pg_atomic_read_u64(&counters->us);
}
