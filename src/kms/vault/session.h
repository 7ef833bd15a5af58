/*
 * session.h
 *		The session of the provider `vault`: what it was opened with, and the token in use.
 */
#ifndef CC_VAULT_SESSION_H
#define CC_VAULT_SESSION_H

#include "kms/provider.h"
#include "kms/secretfile.h"
#include "kms/vault/settings.h"

#define VAULT_TOKEN_SIZE	8000	/* with the terminator; the header line around it fits */

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
	const char *setting;		/* the setting that names it, which is all that an error shows */
	cc_file_stamp stamp;		/* of the file as it was last read */
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
	cc_http_tls tls;			/* the strings are the session's own */
	bool		allow_underived;

	/* the token in use */
	char		token[VAULT_TOKEN_SIZE];	/* secret; "" while there is none */
	uint64_t	login;			/* counts tokens, from 1 */
	bool		renewable;
	int64_t		lease_ms;		/* the whole lease; -1 for no limit */
	int64_t		expires_ms;		/* -1 for no limit */
	int64_t		renew_ms;		/* when an exchange is due; -1 for never */
	int64_t		retry_ms;		/* a changed file is no reason for an exchange before this time */

	/* the exchange under way */
	vault_exchange exchange;
	char		pending[VAULT_TOKEN_SIZE];	/* secret: a token from a file, until it is looked up */
	int64_t		sent_ms;

	/* a refused token leads to a new login, but not again and again */
	bool		refused;		/* the previous token was refused */
	int64_t		trust_ms;		/* a refusal before this time is final; -1 for none */
	int64_t		now_ms;			/* the caller's clock, when it was last given */
} vault_session;

/* NULL, with error, where the settings cannot be used. */
extern cc_kms_session *vault_session_open(const cc_kms_config *config,
										  char error[CC_KMS_ERROR_MAX]);
extern void vault_session_close(cc_kms_session *handle);

/* Forgets the token. */
extern void vault_session_drop(cc_kms_session *handle);

/* CC_KMS_DENIED or CC_KMS_LOGIN_AGAIN for a request that was answered with 403. */
extern cc_kms_outcome vault_session_refused(vault_session *session, const cc_http_reply *reply);

#endif
