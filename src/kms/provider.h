/*
 * provider.h
 *		The interface of a key management service: wrap, unwrap, re-wrap and
 *		generate, in batches.  A provider builds requests and parses replies; it
 *		owns no socket, starts no thread and knows nothing of PostgreSQL.  A new
 *		provider is one folder and one line in providers.h.
 *
 * The caller is in control: while session_state() returns CC_SESSION_EXCHANGE, it sends
 * what session_request() builds and hands the reply to session_reply().  It does the same
 * with key_request() and key_reply() for a key that is used for the first time, and then
 * with batch_request() and batch_reply().  A provider without a network (`local`) has
 * perform() instead of all these.
 *
 * Each operation on a batch is one request and one reply, or one perform().  A provider must
 * therefore be able to re-wrap in one call, as those that there are can.  There is none yet for
 * a key service without such an operation, which would have to unwrap in one call and wrap in
 * another: this interface would have to grow first.
 *
 * Secrets: the deks of items, session tokens and request bodies.  The caller wipes the
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
	uint8_t		wrapped[CC_KMS_WRAPPED_MAX];	/* input or output by op; a re-wrap replaces it */
	uint16_t	wrapped_len;
	cc_kms_outcome outcome;
	char		error[CC_KMS_ERROR_MAX];	/* for a person: printable ASCII, no secret; "" for none */
} cc_kms_item;

/* One call for one key.  The items belong to the caller. */
typedef struct cc_kms_batch
{
	cc_kms_op	op;
	char		kms_key[CC_KMS_URI_MAX];
	cc_kms_item **items;
	int			nitems;

	/*
	 * Out, for operations that wrap: a number that changes where the key behind the URI may
	 * have been replaced by another one; 0 where the provider cannot tell.
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
 * A setting that a provider brings.  The caller of the provider defines the setting, keeps
 * its value, and knows no more of it than this.
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
	const char *initial;		/* the default of a text; a flag is off by default */
} cc_kms_setting;

typedef union cc_kms_value
{
	const char *text;			/* "" where it is not set */
	bool		flag;
} cc_kms_value;

/* What a session is opened with; the strings belong to the caller. */
typedef struct cc_kms_config
{
	const cc_kms_value *values; /* of the provider's settings, in their order */
	const char *data_directory; /* PostgreSQL's; no key file may be inside it */
	bool		allow_http;
} cc_kms_config;

typedef struct cc_kms_session cc_kms_session;	/* each provider has its own */

/* The properties of a key, for the status view. */
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
	const char *example_uri;	/* what a key URI looks like, for a hint */
	int			batch_max;		/* items in one request */
	int			batch_max_wrapped;	/* the same for items that come wrapped: unwrap and re-wrap */

	const cc_kms_setting *settings;
	int			nsettings;

	/* Is this a key URI of this provider?  Checks all of the text, and asks no server. */
	cc_status	(*check_uri) (const char *kms_key);

	/* The version of the KMS key that wrapped it; 0 where the wrapped bytes do not say. */
	uint32_t	(*wrapped_version) (const uint8_t *wrapped, size_t len);

	/* Returns NULL, with error, where the settings cannot be used.  Copies what it needs. */
	cc_kms_session *(*open) (const cc_kms_config *config, char error[CC_KMS_ERROR_MAX]);
	void		(*close) (cc_kms_session *session);

	/*
	 * For a provider without a network: does the batch at once and sets every item's
	 * outcome.  Where perform is NULL, the members below are not.
	 */
	void		(*perform) (cc_kms_session *session, cc_kms_batch *batch);

	/* now_ms is the time by the caller's monotonic clock. */
	cc_session_state (*session_state) (cc_kms_session *session, int64_t now_ms);
	cc_kms_outcome (*session_request) (cc_kms_session *session, cc_http_request *request,
									   int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
	cc_kms_outcome (*session_reply) (cc_kms_session *session, const cc_http_reply *reply,
									 int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
	void		(*session_drop) (cc_kms_session *session);

	/* True where a file that the last login was made from has changed since.  May be NULL. */
	bool		(*login_changed) (const cc_kms_session *session);

	/* Milliseconds until the token expires; -1 where it does not expire or there is none. */
	int64_t		(*session_lease_ms) (cc_kms_session *session, int64_t now_ms);

	/*
	 * Asks for the key's properties; key_reply refuses a key that must not be used.
	 *
	 * CC_KMS_LOGIN_AGAIN, here and from batch_reply: the token was refused, and the
	 * session has dropped it unless it already has a newer one.  The caller asks
	 * session_state and sends the same request again.  A login that is refused as well
	 * ends in CC_KMS_DENIED, so that this does not go on forever.
	 *
	 * again: the key has been in use before this look at it.  The right to look can be
	 * missing while the right to use the key is not, so that a refusal is CC_KMS_DENIED
	 * at once, and the session stays as it is.
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

	/* The server's own id of the request, as in its log: printable ASCII; "" for none. */
	void		(*request_id) (const cc_http_reply *reply, char id[CC_KMS_REQUEST_ID_MAX]);
} cc_kms_provider;

#endif
