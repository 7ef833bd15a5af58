/*
 * dispatch.h
 *		The types of what the worker keeps while it turns requests into calls to a KMS, and
 *		replies into answers.  The functions of each file below are in the file's own header.
 *
 * flight    one request, in one slot; it is queued until it is in a call, and queued
 *           again for each further try
 * line      everything for one key URI: a queue for each operation, what is known
 *           of the KMS key, and its row in chatcrypt.kms_status
 * endpoint  everything for one provider: its session and its breaker
 * call      one exchange with the KMS: a batch of flights, a step of the session, or
 *           a look at a key's properties
 *
 * The files, from the ground up; each knows only those before it:
 *
 * lines.c      the table of lines, with their queues and their rows in kmsstats.c
 * calls.c      calls under way: the one path on which a request is built and sent
 * outcomes.c   how a call ended, for the breaker, the log and the views
 * endpoints.c  the table of endpoints
 * flights.c    the end of a flight
 * arrivals.c   requests as they come in
 * settling.c   what a reply means to the flights of its call
 * keylooks.c   looks at a key's properties
 * sessions.c   logging in, probing, and the new start after a reload
 * batches.c    flights on their way
 *
 * When a call is tried again is decided in kms/retrypolicy.h.  Lock contract: all of this runs
 * in one thread of one process, and only the slots are shared and locked.
 */
#ifndef CHATCRYPT_DISPATCH_H
#define CHATCRYPT_DISPATCH_H

#include "kms/retrypolicy.h"
#include "pg/service/kmsstats.h"
#include "pg/service/workerslots.h"
#include "worker/transport.h"

#define KMS_OPS			4
#define KMS_CALLS		80		/* kms_max_inflight is at most 64; the rest is for logins, looks */

typedef struct KmsCall KmsCall;
typedef struct KmsLine KmsLine;

typedef struct KmsFlight
{
	struct KmsFlight *next;		/* in its queue */
	KmsLine    *line;			/* NULL while the slot is not ours */
	const ChatcryptSlotRequest *request;
	cc_kms_item *item;
	int			slot;
	int			tries;			/* tries that failed */
	int			max_batch;		/* the largest batch that it may join; 0 for no limit of its own */
	int64		ready_at_ms;	/* until this time it waits for others, or for its next try */
	int64		deadline_ms;
} KmsFlight;

typedef struct KmsQueue
{
	KmsFlight  *first;
	KmsFlight  *last;
	int			count;
} KmsQueue;

typedef struct KmsEndpoint
{
	const cc_kms_provider *provider;
	int			row;			/* its number among the logins of kmsstats.c */
	cc_kms_session *session;	/* NULL until it is needed */
	cc_breaker	breaker;
	cc_refusal	refusal;		/* of the settings or the login; it holds for every line */
	int64		refusal_logged_ms;	/* 0 for never */
	KmsCall    *session_call;
	int			session_tries;
	int64		session_try_at_ms;
	int			batches;		/* in flight */
	KmsCall    *aside_call;		/* a look at a key for which no request waits */
	int64		certificate_not_after;	/* seconds since 1970; 0 for unknown; the transport writes it */
	ChatcryptKmsLogins logins;
	bool		logged_as_gone;
	int64		gone_logged_ms; /* 0 for never */
	char		last_error[CC_KMS_ERROR_MAX];
} KmsEndpoint;

struct KmsLine
{
	KmsEndpoint *endpoint;
	int			row;			/* its number in kmsstats.c, and in the table of lines */
	int64		used_at_ms;
	KmsQueue	queues[KMS_OPS];
	int			calls;			/* in flight */
	int			batch_limit;	/* 0, or the number of items that the server's limit allows */
	bool		held;			/* the server sent a Retry-After, and has answered no call since */
	int64		held_at_us;
	int64		hold_logged_us; /* 0 for never */
	int64		hold_until_ms;
	cc_refusal	key_refusal;		/* of the key as a whole */
	cc_refusal	op_refusals[KMS_OPS];	/* of one operation with it */
	uint64		wrapped_by;		/* as the last batch that wrapped returned it */
	uint64		suspicion;		/* a new random number whenever the key may have changed */
	char		refusal_text[CC_KMS_ERROR_MAX];	/* of the newest refusal in stats.refused */
	bool		key_known;
	KmsCall    *key_call;
	int			key_tries;
	int64		key_try_at_ms;
	int64		key_again_at_ms;	/* when a known key is looked at again */
	ChatcryptKmsStats stats;	/* kms_key lives here; empty for a line that is not in use */
	bool		stats_changed;
	int64		certificate_published;
};

/* What a call is for: how its request is built, and which functions handle its end. */
typedef struct KmsCallKind
{
	cc_kms_outcome (*build) (KmsCall *call, char error[CC_KMS_ERROR_MAX]);
	void		(*done) (KmsCall *call, const cc_http_reply *reply);

	/* Called instead of done where no request could be sent. */
	void		(*refused) (KmsCall *call, cc_kms_outcome outcome, const char *error);
} KmsCallKind;

struct KmsCall
{
	bool		in_use;
	bool		over;			/* no longer under way; its flights may wait to be settled */
	const KmsCallKind *kind;
	KmsEndpoint *endpoint;
	KmsLine    *line;			/* NULL for a step of the session */
	bool		again;			/* it looks at a key that was known already */
	int64		started_us;
	int64		timeout_ms;
	ChatcryptTransfer *transfer;
	cc_http_request request;	/* secret; cleared when the call ends */
	cc_kms_batch batch;
	cc_kms_item *items[CC_KMS_BATCH_MAX];
	KmsFlight  *flights[CC_KMS_BATCH_MAX];
};

#endif
