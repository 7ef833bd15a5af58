/*
 * kmsstats.c
 *		The rows behind chatcrypt.kms_status: see kmsstats.h.
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "pg/service/kmsstats.h"

#define FIRST_BUCKET_US		50.0
#define BUCKET_GROWTH		1.25
#define HALVE_AT			2048

typedef struct KmsStatus
{
	ChatcryptKmsStats rows[CHATCRYPT_KMS_KEYS];
	ChatcryptKmsLogins logins[CHATCRYPT_KMS_ENDPOINTS];
} KmsStatus;

static KmsStatus *status;
static LWLock *lock;

void
chatcrypt_kmsstats_latency_add(ChatcryptLatency *latency, int64 us)
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
chatcrypt_kmsstats_latency_ms(const ChatcryptLatency *latency, double share)
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
chatcrypt_kmsstats_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(KmsStatus)));
	RequestNamedLWLockTranche("ChatcryptKmsStats", 1);
}

void
chatcrypt_kmsstats_startup(void)
{
	bool		found;

	status = ShmemInitStruct("chatcrypt kms status", sizeof(KmsStatus), &found);
	lock = &GetNamedLWLockTranche("ChatcryptKmsStats")->lock;
	if (!found)
		memset(status, 0, sizeof(KmsStatus));
}

void
chatcrypt_kmsstats_clear(void)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	memset(status, 0, sizeof(KmsStatus));
	LWLockRelease(lock);
}

void
chatcrypt_kmsstats_publish(int row, const ChatcryptKmsStats *stats)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	status->rows[row] = *stats;
	LWLockRelease(lock);
}

void
chatcrypt_kmsstats_publish_logins(int row, const ChatcryptKmsLogins *logins)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	status->logins[row] = *logins;
	LWLockRelease(lock);
}

bool
chatcrypt_kmsstats_read(int row, ChatcryptKmsStats *stats)
{
	LWLockAcquire(lock, LW_SHARED);
	if (status->rows[row].kms_key[0] == '\0')
		stats->kms_key[0] = '\0';
	else
		*stats = status->rows[row];
	LWLockRelease(lock);
	return stats->kms_key[0] != '\0';
}

bool
chatcrypt_kmsstats_read_logins(int row, ChatcryptKmsLogins *logins)
{
	LWLockAcquire(lock, LW_SHARED);
	*logins = status->logins[row];
	LWLockRelease(lock);
	return logins->provider[0] != '\0';
}
