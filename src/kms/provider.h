/*
 * provider.h
 *		What a key management service is to the rest: wrap, unwrap, re-wrap and
 *		generate, in batches.  A provider builds requests and parses replies; it
 *		owns no socket, starts no thread and knows nothing of PostgreSQL.  A new
 *		provider is one file and one line in providers.c.
 *
 * The caller drives: while session_state() says CC_SESSION_EXCHANGE it sends what
 * session_request() builds and hands the answer to session_reply(); the same for
 * a key that is used for the first time; then batch_request() and batch_reply().
 * A provider without a network (`local`) has perform() instead of all that.
 *
 * Secrets: items' deks, session tokens and request bodies.  The caller wipes the
 * items; the provider wipes its session and everything that it parses on the way.
 */
#ifndef CC_PROVIDER_H
#define CC_PROVIDER_H

#include "core/bytes.h"
#include "kms/http.h"
#include "kms/outcome.h"

#define CC_KMS_URI_MAX		512		/* with the terminator */
#define CC_KMS_WRAPPED_MAX	1024
#define CC_KMS_ERROR_MAX	256		/* with the terminator */
#define CC_KMS_BATCH_MAX	256
#define CC_KMS_REQUEST_ID_MAX	72	/* with the terminator */

typedef enum cc_kms_op
{
	CC_KMS_UNWRAP,				/* wrapped -> dek */
	CC_KMS_WRAP,				/* dek -> wrapped */
	CC_KMS_GENERATE,			/* -> dek and wrapped */
	CC_KMS_REWRAP				/* wrapped -> wrapped, under the newest version; no plaintext */
} cc_kms_op;

typedef struct cc_kms_item
{
	uint8_t		context[CC_CONTEXT_LEN];
	uint8_t		dek[CC_DEK_LEN];	/* secret */
	uint8_t		wrapped[CC_KMS_WRAPPED_MAX];	/* in, out, or replaced by a re-wrap */
	uint16_t	wrapped_len;
	cc_kms_outcome outcome;
	char		error[CC_KMS_ERROR_MAX];	/* for a person: printable ASCII, no secret; empty where none */
} cc_kms_item;

/* One call for one key.  Items are the caller's. */
typedef struct cc_kms_batch
{
	cc_kms_op	op;
	char		kms_key[CC_KMS_URI_MAX];
	cc_kms_item **items;
	int			nitems;

	/*
	 * Out, for what wraps: another number where the key behind the URI may have become
	 * another one.  0 where the provider cannot tell.
	 */
	uint64_t	wrapped_by;
} cc_kms_batch;

typedef enum cc_session_state
{
	CC_SESSION_READY,
	CC_SESSION_RENEW,			/* ready, and an exchange is due: batches need not wait for it */
	CC_SESSION_EXCHANGE			/* batches must wait for an exchange */
} cc_session_state;

/*
 * A setting that a provider brings.  Whoever drives the provider defines it, keeps its value,
 * and knows no more of it than this.
 */
typedef enum cc_kms_setting_kind
{
	CC_KMS_SETTING_TEXT,
	CC_KMS_SETTING_FLAG
} cc_kms_setting_kind;

typedef struct cc_kms_setting
{
	const char *name;			/* in full, so that a search finds it: "chatcrypt.vault_addr" */
	const char *about;			/* one sentence */
	cc_kms_setting_kind kind;
	const char *initial;		/* of a text; a flag is off at first */
} cc_kms_setting;

typedef union cc_kms_value
{
	const char *text;			/* "" where it is not set */
	bool		flag;
} cc_kms_value;

/* What a session is opened with; the strings are the caller's. */
typedef struct cc_kms_config
{
	const cc_kms_value *values; /* of the provider's settings, in their order */
	const char *data_directory; /* the server's: no key may lie in it */
	bool		allow_http;
} cc_kms_config;

typedef struct cc_kms_session cc_kms_session;	/* each provider has its own */

/* What is known of a key, for the status view. */
typedef struct cc_kms_key_facts
{
	bool		known;
	bool		derived;
	bool		exportable;
	uint32_t	latest_version;
	uint32_t	min_decryption_version;
} cc_kms_key_facts;

typedef struct cc_kms_provider
{
	const char *scheme;
	int			batch_max;		/* items in one request */
	int			batch_max_wrapped;	/* the same where they come wrapped: unwrap and re-wrap */

	const cc_kms_setting *settings;
	int			nsettings;

	/* Is this a key URI of ours?  Checks all of it, and touches nothing. */
	cc_status	(*check_uri) (const char *kms_key);

	/* Which version of the KMS's key wrapped it; 0 where the wrapped bytes do not say. */
	uint32_t	(*wrapped_version) (const uint8_t *wrapped, size_t len);

	/* NULL, with error, where the settings cannot be used.  Copies what it needs. */
	cc_kms_session *(*open) (const cc_kms_config *config, char error[CC_KMS_ERROR_MAX]);
	void		(*close) (cc_kms_session *session);

	/*
	 * Without a network: does the batch at once and sets every item's outcome.
	 * NULL for the others, and then the rest below is not.
	 */
	void		(*perform) (cc_kms_session *session, cc_kms_batch *batch);

	/* now_ms is a monotonic clock of the caller's. */
	cc_session_state (*session_state) (cc_kms_session *session, int64_t now_ms);
	cc_kms_outcome (*session_request) (cc_kms_session *session, cc_http_request *request,
									   int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
	cc_kms_outcome (*session_reply) (cc_kms_session *session, const cc_http_reply *reply,
									 int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
	void		(*session_drop) (cc_kms_session *session);

	/* True where a file that the last login was made from has changed since.  NULL for none. */
	bool		(*login_changed) (const cc_kms_session *session);

	/* Milliseconds that the token has left; -1 for no limit or none held. */
	int64_t		(*session_lease_ms) (cc_kms_session *session, int64_t now_ms);

	/*
	 * Asks for the key's properties; key_reply refuses a key that must not be used.
	 *
	 * CC_KMS_LOGIN_AGAIN, here and from batch_reply: the token was refused, and the
	 * session has dropped it by itself unless it has a newer one already.  Ask
	 * session_state and send the same again; a login that is refused as well ends
	 * in CC_KMS_DENIED, so that this comes to an end.
	 *
	 * again: the key was in use before it was looked at now.  To look is a right that
	 * may be gone by itself, so that a refusal is CC_KMS_DENIED at once, and the
	 * session stays as it is.
	 */
	cc_kms_outcome (*key_request) (cc_kms_session *session, const char *kms_key,
								   cc_http_request *request, char error[CC_KMS_ERROR_MAX]);
	cc_kms_outcome (*key_reply) (cc_kms_session *session, const char *kms_key,
								 const cc_http_reply *reply, bool again,
								 cc_kms_key_facts *facts, char error[CC_KMS_ERROR_MAX]);

	cc_kms_outcome (*batch_request) (cc_kms_session *session, const cc_kms_batch *batch,
									 cc_http_request *request, char error[CC_KMS_ERROR_MAX]);

	/*
	 * Sets every item's outcome where it returns CC_KMS_OK; any other result
	 * holds for the whole batch.
	 */
	cc_kms_outcome (*batch_reply) (cc_kms_session *session, cc_kms_batch *batch,
								   const cc_http_reply *reply, char error[CC_KMS_ERROR_MAX]);

	/* What the server calls the request in its own log: printable ASCII; "" where it does not say. */
	void		(*request_id) (const cc_http_reply *reply, char id[CC_KMS_REQUEST_ID_MAX]);
} cc_kms_provider;

#endif
