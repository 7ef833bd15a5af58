/*
 * kmsstats.h
 *		What the KMS worker reports in shared memory, one row for each key URI, for
 *		chatcrypt.kms_status and related views.  It never contains a secret.
 *
 * Lock contract: one LWLock.  The worker is the only writer and publishes whole rows
 * under it; readers copy whole rows out under it.
 */
#ifndef CHATCRYPT_KMSSTATS_H
#define CHATCRYPT_KMSSTATS_H

#include "datatype/timestamp.h"

#include "kms/retrypolicy.h"
#include "kms/provider.h"
#include "pg/base/histogram.h"

/* Key URIs in use at once; a new one replaces the least recently used row. */
#define CHATCRYPT_KMS_KEYS		256

/* Providers, or services of providers, in use at once. */
#define CHATCRYPT_KMS_ENDPOINTS	8

/* The purpose of a call is a cc_kms_op, or one of these. */
#define CHATCRYPT_KMS_LOGIN			(CC_KMS_REWRAP + 1)
#define CHATCRYPT_KMS_LOOK			(CC_KMS_REWRAP + 2) /* reads the properties of a key */
#define CHATCRYPT_KMS_OPERATIONS	(CC_KMS_REWRAP + 3)

/*
 * Latencies are counted in buckets from 50 us to over an hour, each a quarter wider than
 * the one before.  The counts are halved now and then, so that percentiles describe about
 * the last thousand calls.
 */
#define CHATCRYPT_LATENCY_BUCKETS	82

typedef struct ChatcryptLatency
{
	uint32		total;
	uint32		counts[CHATCRYPT_LATENCY_BUCKETS];
} ChatcryptLatency;

extern void chatcrypt_kmsstats_latency_add(ChatcryptLatency *latency, int64 us);

/* The time in ms within which the given share of calls was answered; -1 if there were none. */
extern double chatcrypt_kmsstats_latency_ms(const ChatcryptLatency *latency, double share);

/* Calls that ended with one outcome, and items that did, whatever the outcome of their call. */
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
	CHATCRYPT_REACH_UNKNOWN,	/* no call was made yet */
	CHATCRYPT_REACH_YES,
	CHATCRYPT_REACH_NO
} ChatcryptReach;

typedef struct ChatcryptKmsStats
{
	char		kms_key[CC_KMS_URI_MAX];	/* empty for a row that is not in use */
	bool		only_tried;		/* only kms_check(), which takes any URI, has used this key */
	ChatcryptReach reach;
	cc_breaker_state breaker;
	TimestampTz last_success;	/* 0 for never */
	TimestampTz last_error_at;
	cc_kms_outcome last_outcome;	/* of the last call; valid if reach is known */
	char		last_error[CC_KMS_ERROR_MAX];
	char		last_request_id[CC_KMS_REQUEST_ID_MAX];
	TimestampTz certificate_not_after;	/* 0 for unknown */

	/*
	 * The last answer of the KMS for each operation, if it was a refusal; otherwise CC_KMS_OK.
	 * A refusal is shown until the operation succeeds.  Until refused_until, requests are
	 * refused without a call.
	 */
	cc_kms_outcome refused[CHATCRYPT_KMS_OPERATIONS];
	TimestampTz refused_until;
	char		trouble[CC_KMS_ERROR_MAX];	/* why the key cannot be used */

	ChatcryptLatency latency;
	ChatcryptHistogram single;	/* calls for one data key */
	ChatcryptHistogram batch;	/* calls for several data keys */
	ChatcryptKmsCount counts[CHATCRYPT_KMS_OPERATIONS][CC_KMS_OUTCOMES];
	int			in_flight;		/* calls under way */
	int			waiting;		/* requests that are not in a call yet */
	uint64		calls;
	uint64		failed_calls;
	uint64		items;
	uint64		retries;
	TimestampTz hold_until;		/* no call is made before this time; 0 for no hold */
	int64		lease_ms;		/* remaining lease of the login at lease_at_ms; -1 for no limit */
	int64		lease_at_ms;	/* clock.h */
	bool		key_known;		/* the key passed the last look, and may be used until the next */
	cc_kms_key_facts facts;
	TimestampTz facts_at;
	char		facts_error[CC_KMS_ERROR_MAX];	/* of the last look, if it failed */
} ChatcryptKmsStats;

extern void chatcrypt_kmsstats_request(void);
extern void chatcrypt_kmsstats_startup(void);

/* For the worker, which clears everything when it starts. */
extern void chatcrypt_kmsstats_clear(void);
extern void chatcrypt_kmsstats_publish(int row, const ChatcryptKmsStats *stats);

extern void chatcrypt_kmsstats_publish_logins(int row, const ChatcryptKmsLogins *logins);

/* False for a row that is not in use. */
extern bool chatcrypt_kmsstats_read(int row, ChatcryptKmsStats *stats);
extern bool chatcrypt_kmsstats_read_logins(int row, ChatcryptKmsLogins *logins);

#endif
