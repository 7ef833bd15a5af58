/*
 * kms_stats.h
 *		What the KMS worker tells of itself, one row for each key URI, in shared
 *		memory for the view chatcrypt.kms_status.  No secret is ever in it.
 *
 * Lock contract: the worker is the only writer and publishes whole rows under the
 * lock; readers copy a row out under it.
 */
#ifndef CHATCRYPT_KMS_STATS_H
#define CHATCRYPT_KMS_STATS_H

#include "datatype/timestamp.h"

#include "kms/retrypolicy.h"
#include "kms/provider.h"
#include "pg/base/histogram.h"

/* Key URIs in use at once; the least recently used row makes room for a new one. */
#define CHATCRYPT_KMS_KEYS		256

/* Providers, or services of theirs, in use at once. */
#define CHATCRYPT_KMS_ENDPOINTS	8

/* What a call can be for: one of cc_kms_op, or else */
#define CHATCRYPT_KMS_LOGIN			(CC_KMS_REWRAP + 1)
#define CHATCRYPT_KMS_LOOK			(CC_KMS_REWRAP + 2) /* at the properties of a key */
#define CHATCRYPT_KMS_OPERATIONS	(CC_KMS_REWRAP + 3)

/*
 * Latencies are counted in buckets that each reach a quarter further than the one
 * before, from 50 us to over an hour; counts are halved now and then, so that the
 * percentiles speak of the last thousand calls or so.
 */
#define CHATCRYPT_LATENCY_BUCKETS	82

typedef struct ChatcryptLatency
{
	uint32		total;
	uint32		counts[CHATCRYPT_LATENCY_BUCKETS];
} ChatcryptLatency;

extern void chatcrypt_kms_stats_latency_add(ChatcryptLatency *latency, int64 us);

/* Milliseconds that the given share of calls stayed under; -1 where there were none. */
extern double chatcrypt_kms_stats_latency_ms(const ChatcryptLatency *latency, double share);

/* Calls by how they ended, and what was in them by how that ended. */
typedef struct ChatcryptKmsCount
{
	uint64		calls;
	uint64		items;
} ChatcryptKmsCount;

typedef struct ChatcryptKmsLogins
{
	char		provider[32];	/* "vault:"; empty for a row that is not in use */
	ChatcryptKmsCount counts[CC_KMS_OUTCOMES];
} ChatcryptKmsLogins;

typedef enum ChatcryptReach
{
	CHATCRYPT_REACH_UNKNOWN,	/* nothing was asked yet */
	CHATCRYPT_REACH_YES,
	CHATCRYPT_REACH_NO
} ChatcryptReach;

typedef struct ChatcryptKmsStats
{
	char		kms_key[CC_KMS_URI_MAX];	/* empty for a row that is not in use */
	bool		only_tried;		/* by kms_check(), which takes any URI, and by nothing else */
	ChatcryptReach reach;
	cc_breaker_state breaker;
	TimestampTz last_success;	/* 0 for never */
	TimestampTz last_error_at;
	cc_kms_outcome last_outcome;	/* of a call, where reach is known */
	char		last_error[CC_KMS_ERROR_MAX];
	char		last_request_id[CC_KMS_REQUEST_ID_MAX];
	TimestampTz certificate_not_after;	/* 0 for unknown */

	/*
	 * What the KMS said last of each operation, where it was a refusal; CC_KMS_OK
	 * otherwise.  Requests are refused without a call until refused_until, and the
	 * refusal stands until the operation succeeds.
	 */
	cc_kms_outcome refused[CHATCRYPT_KMS_OPERATIONS];
	TimestampTz refused_until;
	char		trouble[CC_KMS_ERROR_MAX];	/* the text of what keeps the key from use */

	ChatcryptLatency latency;
	ChatcryptHistogram single;	/* calls for one data key */
	ChatcryptHistogram batch;	/* and for more */
	ChatcryptKmsCount counts[CHATCRYPT_KMS_OPERATIONS][CC_KMS_OUTCOMES];
	int			in_flight;		/* calls */
	int			waiting;		/* requests that are in no call */
	uint64		calls;
	uint64		failed_calls;
	uint64		items;
	uint64		retries;
	TimestampTz hold_until;		/* no call before that; 0 for no hold */
	int64		lease_ms;		/* left at lease_at_ms; -1 for no limit */
	int64		lease_at_ms;	/* clock.h */
	bool		key_known;		/* the key was looked at and may be used, until the worker looks anew */
	cc_kms_key_facts facts;
	TimestampTz facts_at;
	char		facts_error[CC_KMS_ERROR_MAX];	/* of the last look, where it failed */
} ChatcryptKmsStats;

extern void chatcrypt_kms_stats_request(void);
extern void chatcrypt_kms_stats_startup(void);

/* The worker: a new one starts from nothing. */
extern void chatcrypt_kms_stats_clear(void);
extern void chatcrypt_kms_stats_publish(int row, const ChatcryptKmsStats *stats);

extern void chatcrypt_kms_stats_publish_logins(int row, const ChatcryptKmsLogins *logins);

/* False for a row that is not in use. */
extern bool chatcrypt_kms_stats_read(int row, ChatcryptKmsStats *stats);
extern bool chatcrypt_kms_stats_read_logins(int row, ChatcryptKmsLogins *logins);

#endif
