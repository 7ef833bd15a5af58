/*
 * kms_stats.c
 *		The rows behind chatcrypt.kms_status; see kms_stats.h.
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "pg/service/kms_stats.h"

#define FIRST_BUCKET_US		50.0
#define BUCKET_GROWTH		1.25
#define HALVE_AT			2048

static ChatcryptKmsStats *rows;
static LWLock *lock;

void
chatcrypt_latency_add(ChatcryptLatency *latency, int64 us)
{
	double		limit = FIRST_BUCKET_US;
	int			bucket = 0;

	while (bucket < CHATCRYPT_LATENCY_BUCKETS - 1 && us >= limit)
	{
		limit *= BUCKET_GROWTH;
		bucket++;
	}
	latency->counts[bucket]++;
	latency->total++;
	if (latency->total < HALVE_AT)
		return;
	latency->total = 0;
	for (int i = 0; i < CHATCRYPT_LATENCY_BUCKETS; i++)
		latency->total += latency->counts[i] /= 2;
}

double
chatcrypt_latency_ms(const ChatcryptLatency *latency, double share)
{
	double		limit = FIRST_BUCKET_US;
	double		left = share * latency->total;

	if (latency->total == 0)
		return -1;
	for (int i = 0; i < CHATCRYPT_LATENCY_BUCKETS - 1; i++)
	{
		left -= latency->counts[i];
		if (left <= 0)
			break;
		limit *= BUCKET_GROWTH;
	}
	return limit / 1000;
}

void
chatcrypt_kms_stats_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(ChatcryptKmsStats) * CHATCRYPT_KMS_KEYS));
	RequestNamedLWLockTranche("ChatcryptKmsStats", 1);
}

void
chatcrypt_kms_stats_startup(void)
{
	bool		found;

	rows = ShmemInitStruct("chatcrypt kms status",
						   sizeof(ChatcryptKmsStats) * CHATCRYPT_KMS_KEYS, &found);
	lock = &GetNamedLWLockTranche("ChatcryptKmsStats")->lock;
	if (!found)
		memset(rows, 0, sizeof(ChatcryptKmsStats) * CHATCRYPT_KMS_KEYS);
}

void
chatcrypt_kms_stats_clear(void)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	memset(rows, 0, sizeof(ChatcryptKmsStats) * CHATCRYPT_KMS_KEYS);
	LWLockRelease(lock);
}

void
chatcrypt_kms_stats_publish(int row, const ChatcryptKmsStats *stats)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	rows[row] = *stats;
	LWLockRelease(lock);
}

bool
chatcrypt_kms_stats_read(int row, ChatcryptKmsStats *stats)
{
	LWLockAcquire(lock, LW_SHARED);
	*stats = rows[row];
	LWLockRelease(lock);
	return stats->key_uri[0] != '\0';
}
