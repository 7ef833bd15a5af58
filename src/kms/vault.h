/*
 * vault.h
 *		What the files of the provider `vault` share: the session, how a request is
 *		begun, and what a reply's status means.  Nobody else includes this.
 *
 * vault.c			settings, URIs, the table of functions
 * vault_login.c	logins and leases
 * vault_key.c		the check of a key before its first use
 * vault_batch.c	Transit calls
 * vault_reply.c	status codes and the server's own error texts
 */
#ifndef CC_VAULT_H
#define CC_VAULT_H

#include "kms/json.h"
#include "kms/provider.h"
#include "kms/secretfile.h"

#define VAULT_SCHEME			"vault:"
#define VAULT_TEXT_MAX			160		/* of a server's error text, with the terminator */
#define VAULT_TOKEN_SIZE		8000	/* with the terminator; the header line around it fits */
#define VAULT_CREDENTIAL_SIZE	8192	/* a file: role id, secret id or service account token */

typedef enum vault_method
{
	VAULT_TOKEN_FILE,
	VAULT_APPROLE,
	VAULT_KUBERNETES,
	VAULT_CERT
} vault_method;

typedef enum vault_exchange
{
	VAULT_NO_EXCHANGE,
	VAULT_LOGIN,				/* POST auth/MOUNT/login */
	VAULT_LOOKUP,				/* GET auth/token/lookup-self, with a token from a file */
	VAULT_RENEW					/* POST auth/token/renew-self */
} vault_exchange;

typedef struct vault_file
{
	char	   *path;			/* NULL where the login needs none */
	const char *setting;		/* that names it: all that an error shows */
	cc_file_stamp stamp;		/* of what was read last */
	bool		read;
} vault_file;

typedef struct vault_session
{
	/* settings */
	char	   *addr;			/* without a slash at its end */
	char	   *name_space;		/* "" for none */
	vault_method method;
	char	   *login_mount;
	char	   *role;
	vault_file	files[2];		/* token; role id and secret id; service account token */
	bool		allow_underived;

	/* the token in use */
	char		token[VAULT_TOKEN_SIZE];	/* secret; "" while there is none */
	uint64_t	login;			/* counts tokens, from 1 */
	bool		renewable;
	int64_t		lease_ms;		/* as first given; -1 for no limit */
	int64_t		expires_ms;		/* -1 for no limit */
	int64_t		renew_ms;		/* when an exchange is due; -1 for never */
	int64_t		retry_ms;		/* no earlier try for the sake of a changed file */

	/* the exchange under way */
	vault_exchange exchange;
	char		pending[VAULT_TOKEN_SIZE];	/* secret: a token from a file, until it is looked up */
	int64_t		sent_ms;

	/* a refused token leads to a new login, but not over and over */
	bool		refused;		/* the token before was refused */
	int64_t		trust_ms;		/* a refusal before this is final; -1 for none */
	int64_t		now_ms;			/* the clock when it was last seen */
} vault_session;

/* The mount and the key in a URI that has been checked. */
typedef struct vault_key
{
	const char *mount;
	int			mount_len;
	const char *name;
} vault_key;

/* False where the URI is not one of ours. */
extern bool vault_key_of(const char *kms_key, vault_key *key);

/*
 * Begins a request: method, URL, and every header but the token's, which is added
 * where token is not "".  body_size bytes are allocated for a body (0 for none);
 * writer is set to them, and vault_request_end() closes it.
 */
extern CC_MUST_CHECK cc_kms_outcome vault_request_begin(const vault_session *session,
														cc_http_request *request,
														const char *method, const char *path,
														const char *token, size_t body_size,
														cc_writer *writer,
														char error[CC_KMS_ERROR_MAX]);
extern CC_MUST_CHECK cc_kms_outcome vault_request_end(cc_http_request *request, size_t body_size,
													  const cc_writer *writer,
													  char error[CC_KMS_ERROR_MAX]);

/*
 * What the status of a reply means, whatever it was about; for all but CC_KMS_OK
 * error says so, with the server's own words.  what names the request: "the key
 * check of vault:transit/chat".
 */
extern cc_kms_outcome vault_reply_outcome(const vault_session *session, const cc_http_reply *reply,
										  const char *what, char error[CC_KMS_ERROR_MAX]);

extern void vault_request_id(const cc_http_reply *reply, char id[CC_KMS_REQUEST_ID_MAX]);

/* CC_KMS_DENIED or CC_KMS_LOGIN_AGAIN for a request that was answered with 403. */
extern cc_kms_outcome vault_token_refused(vault_session *session, const cc_http_reply *reply);

/* A text of the server's for a person: bounded; "" where value is none. */
extern void vault_server_text(cc_json value, char text[VAULT_TEXT_MAX]);

/* Do the server's words mean that there is no key of that name, or none that may be used? */
extern bool vault_key_is_gone(const char *server);

/* False where the reply is not JSON or has no member of that name. */
extern bool vault_reply_member(const cc_http_reply *reply, const char *name, cc_json *value);

/* vault_login.c */
extern cc_session_state vault_session_state(cc_kms_session *handle, int64_t now_ms);
extern cc_kms_outcome vault_session_request(cc_kms_session *handle, cc_http_request *request,
											int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
extern cc_kms_outcome vault_session_reply(cc_kms_session *handle, const cc_http_reply *reply,
										  int64_t now_ms, char error[CC_KMS_ERROR_MAX]);
extern void vault_session_drop(cc_kms_session *handle);
extern bool vault_login_changed(const cc_kms_session *handle);
extern int64_t vault_session_lease_ms(cc_kms_session *handle, int64_t now_ms);

/* vault_key.c */
extern cc_kms_outcome vault_key_request(cc_kms_session *handle, const char *kms_key,
										cc_http_request *request, char error[CC_KMS_ERROR_MAX]);
extern cc_kms_outcome vault_key_reply(cc_kms_session *handle, const char *kms_key,
									  const cc_http_reply *reply, bool again,
									  cc_kms_key_facts *facts, char error[CC_KMS_ERROR_MAX]);

/*
 * OpenBao refuses a request with more than 1,000 strings in it, names included,
 * with a 413; an item has six, or four where it goes without a reference.
 */
#define VAULT_BATCH_MAX			128
#define VAULT_BATCH_MAX_WRAPPED	240

/* vault_batch.c */
extern uint32_t vault_wrapped_version(const uint8_t *wrapped, size_t len);
extern cc_kms_outcome vault_batch_request(cc_kms_session *handle, const cc_kms_batch *batch,
										  cc_http_request *request, char error[CC_KMS_ERROR_MAX]);
extern cc_kms_outcome vault_batch_reply(cc_kms_session *handle, cc_kms_batch *batch,
										const cc_http_reply *reply, char error[CC_KMS_ERROR_MAX]);

#endif
