/*
 * dispatch.h
 *		How the worker turns requests into calls to a KMS, and replies into answers.
 *
 * flight    one request, in one slot; queued until it is in a call, and again to be
 *           tried once more
 * line      all that goes to one key URI: a queue for each operation, what is known
 *           of the key, and its row in chatcrypt.kms_status
 * endpoint  all that goes through one provider: its session and its breaker
 * call      one exchange with the KMS: a batch of flights, a step of the session, or
 *           the question for a key's properties
 *
 * flights.c takes requests in and settles them, batches.c sends them, lines.c keeps
 * their queues; endpoint.c logs in and probes, keylooks.c asks for keys; calls.c knows
 * what is under way, and outcomes.c tells how it ended.  All of it runs in one thread of
 * one process: nothing here is shared or locked but the slots.
 */
#ifndef CHATCRYPT_DISPATCH_H
#define CHATCRYPT_DISPATCH_H

#include "kms/breaker.h"
#include "kms/failures.h"
#include "pg/service/kms_stats.h"
#include "pg/service/slots.h"
#include "worker/transport.h"

#define KMS_OPS			4
#define KMS_CALLS		80		/* kms_max_inflight goes to 64; the rest is for logins and keys */

typedef struct KmsCall KmsCall;
typedef struct KmsLine KmsLine;

typedef struct KmsFlight
{
	struct KmsFlight *next;		/* in its queue */
	KmsLine    *line;			/* NULL while the slot is not ours */
	const ChatcryptSlotRequest *request;
	cc_kms_item *item;
	int			slot;
	int			tries;			/* that failed */
	int			max_batch;		/* the largest batch that it may join; 0 for no limit of its own */
	int64		ready_at_ms;	/* until then it waits for others, or for its next try */
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
	int			row;			/* in kms_calls, for the logins */
	cc_kms_session *session;	/* NULL until it is needed */
	cc_breaker	breaker;
	cc_failure	failure;		/* settings or login refused: holds for every line */
	int64		refusal_logged_ms;	/* 0 for never */
	KmsCall    *session_call;
	int			session_tries;
	int64		session_try_at_ms;
	int			batches;		/* in flight */
	KmsCall    *aside_call;		/* a look at a key that no request waits for */
	int64		certificate_not_after;	/* seconds since 1970; 0 for unknown; the transport writes it */
	ChatcryptKmsLogins logins;
	bool		logged_as_gone;
	int64		gone_logged_ms; /* 0 for never */
	char		last_error[CC_KMS_ERROR_MAX];
} KmsEndpoint;

struct KmsLine
{
	KmsEndpoint *endpoint;
	int			row;			/* in kms_stats, and in the table of lines */
	int64		used_at_ms;
	KmsQueue	queues[KMS_OPS];
	int			calls;			/* in flight */
	int			batch_limit;	/* 0, or less than the provider's where the server wants smaller bodies */
	bool		held;			/* the server named a Retry-After, and has answered no call since */
	int64		held_at_us;
	int64		hold_logged_us; /* 0 for never */
	int64		hold_until_ms;
	cc_failure	failure;		/* of the key as a whole */
	cc_failure	op_failures[KMS_OPS];	/* of one operation with it */
	uint64		wrapped_by;		/* of the last batch that wrapped */
	uint64		suspicion;		/* another number after whatever may have changed the key */
	char		refusal[CC_KMS_ERROR_MAX];	/* the text of the newest in stats.refused */
	bool		key_known;
	KmsCall    *key_call;
	int			key_tries;
	int64		key_try_at_ms;
	int64		key_again_at_ms;	/* when a known key is looked at again */
	ChatcryptKmsStats stats;	/* kms_key lives here; empty for a line that is not in use */
	bool		stats_changed;
	int64		certificate_published;
};

struct KmsCall
{
	bool		in_use;
	bool		over;			/* no longer under way; its flights may wait to be settled */
	void		(*done) (KmsCall *call, const cc_http_reply *reply);
	KmsEndpoint *endpoint;
	KmsLine    *line;			/* NULL for a step of the session */
	bool		again;			/* a look at a key that was known already */
	int64		started_us;
	int64		timeout_ms;
	ChatcryptTransfer *transfer;
	cc_http_request request;	/* secret; cleared when the call ends */
	cc_kms_batch batch;
	cc_kms_item *items[CC_KMS_BATCH_MAX];
	KmsFlight  *flights[CC_KMS_BATCH_MAX];
};

/* lines.c */
extern KmsLine *chatcrypt_line_at(int row);	/* NULL for a row that is not in use */
extern KmsLine *chatcrypt_line_for(const ChatcryptSlotRequest *request, KmsEndpoint *endpoint,
								   int64 now_ms);
extern bool chatcrypt_line_is_idle(const KmsLine *line);
extern void chatcrypt_line_publish(KmsLine *line, int64 now_ms);
extern void chatcrypt_lines_forget(void);
extern void chatcrypt_line_suspect(KmsLine *line);
extern void chatcrypt_lines_suspect(const KmsEndpoint *endpoint);
extern void chatcrypt_line_hold(KmsLine *line, int64 until_ms);
extern void chatcrypt_line_release(KmsLine *line);
extern void chatcrypt_line_forget(KmsLine *line);
extern void chatcrypt_enqueue(KmsFlight *flight);
extern KmsFlight *chatcrypt_take_queue(KmsQueue *queue);

/* flights.c */
extern void chatcrypt_flights_accept(int64 now_ms);
extern void chatcrypt_flights_requeue(KmsCall *call, int64 now_ms);
extern void chatcrypt_flights_settle(KmsCall *call, cc_kms_outcome outcome, const char *error);
extern void chatcrypt_flight_expire(KmsFlight *flight);
extern void chatcrypt_line_fail_all(KmsLine *line, const cc_failure *failure);

/* batches.c */
extern void chatcrypt_batches_step(int64 now_ms, int64 *wake_at_ms);

/* endpoint.c */
extern KmsEndpoint *chatcrypt_endpoint_for(const char *kms_key);
extern KmsEndpoint *chatcrypt_endpoint_at(int index);
extern void chatcrypt_endpoints_step(int64 now_ms, int64 *wake_at_ms);
extern bool chatcrypt_endpoint_refuses(KmsEndpoint *endpoint, int64 now_ms);
extern bool chatcrypt_endpoint_open(KmsEndpoint *endpoint, int64 now_ms);
extern bool chatcrypt_line_ready(KmsLine *line, int64 now_ms, int64 *wake_at_ms);
extern cc_session_state chatcrypt_endpoint_state(const KmsEndpoint *endpoint, int64 now_ms);
extern int64 chatcrypt_endpoint_timeout_ms(const KmsEndpoint *endpoint);
extern void chatcrypt_dispatch_reload(bool config_changed);

/* keylooks.c */
extern void chatcrypt_key_look(KmsLine *line);
extern void chatcrypt_key_look_aside(KmsLine *line, int64 now_ms);

/* calls.c */
extern KmsCall *chatcrypt_call_new(KmsEndpoint *endpoint, KmsLine *line,
								   void (*done) (KmsCall *call, const cc_http_reply *reply));
extern bool chatcrypt_call_send(KmsCall *call, int64 timeout_ms, const char **error);
extern void chatcrypt_call_over(KmsCall *call);
extern void chatcrypt_call_free(KmsCall *call);
extern void chatcrypt_calls_cancel(void);

/* outcomes.c: how a call ended, for the breaker, the log and the status views. */
extern void chatcrypt_call_note(KmsCall *call, cc_kms_outcome outcome, const char *error,
								const cc_http_reply *reply);
extern void chatcrypt_line_note_error(KmsLine *line, cc_kms_outcome outcome, const char *error);
extern void chatcrypt_line_note_refusal(KmsLine *line, int operation, cc_kms_outcome outcome,
										const char *error);
extern int64 chatcrypt_call_not_before_ms(cc_kms_outcome outcome, const cc_http_reply *reply);
extern void chatcrypt_call_heed(const KmsCall *call, cc_kms_outcome outcome,
								const cc_http_reply *reply);
extern int64 chatcrypt_retry_ms(int tries);

#endif
