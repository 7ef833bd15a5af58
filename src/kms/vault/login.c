/*
 * login.c
 *		Logins and leases: token file, AppRole, Kubernetes and TLS certificate.
 *
 * There is one exchange at a time.  Without a token, or with one that has expired, batches
 * must wait for a login.  At two thirds of a lease (a little earlier, at random, so that
 * many servers do not come at once) the token is renewed or, where it is not renewable,
 * replaced by a new login; batches go on with the old one meanwhile.  The token is also
 * replaced where a credential file has changed.
 *
 * A token from a file is looked up before it is used: this gives its lease, and makes a
 * wrong token a failed login and not a failed unwrap.
 */
#define _XOPEN_SOURCE 700

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/random.h"
#include "kms/errtext.h"
#include "kms/retrypolicy.h"
#include "kms/vault/login.h"
#include "kms/vault/reply.h"
#include "kms/vault/request.h"
#include "kms/vault/session.h"


#define CREDENTIAL_SIZE	8192	/* a file with a role id, secret id or service account token */
#define LEASE_MAX_S		UINT64_C(315360000)	/* ten years, so that no sum overflows */
#define RENEW_MIN_MS	1000
#define SHOWN_MAX		64		/* "the file of" and the name of a setting */

/* A random number below the limit; 0 where there are no random bytes, since jitter is optional. */
static int64_t
random_below(int64_t limit)
{
	uint32_t	number;

	if (limit <= 0 || cc_random_bytes(&number, sizeof(number)) != CC_OK)
		return 0;
	cc_random_forget();
	return (int64_t) (number % (uint64_t) limit);
}

static bool
files_changed(const vault_session *session)
{
	for (int i = 0; i < 2; i++)
	{
		const vault_file *file = &session->files[i];

		if (file->path != NULL && file->read && cc_secretfile_changed(file->path, &file->stamp))
			return true;
	}
	return false;
}

bool
vault_login_changed(const cc_kms_session *handle)
{
	return files_changed((const vault_session *) handle);
}

static bool
has_token(const vault_session *session, int64_t now_ms)
{
	return session->token[0] != '\0' &&
		(session->expires_ms < 0 || now_ms < session->expires_ms);
}

cc_session_state
vault_login_state(cc_kms_session *handle, int64_t now_ms)
{
	vault_session *session = (vault_session *) handle;

	session->now_ms = now_ms;
	if (!has_token(session, now_ms))
		return CC_SESSION_EXCHANGE;
	if (session->renew_ms >= 0 && now_ms >= session->renew_ms)
		return CC_SESSION_RENEW;
	if (now_ms >= session->retry_ms && files_changed(session))
		return CC_SESSION_RENEW;
	return CC_SESSION_READY;
}

int64_t
vault_login_lease_ms(cc_kms_session *handle, int64_t now_ms)
{
	vault_session *session = (vault_session *) handle;

	if (session->token[0] == '\0' || session->expires_ms < 0)
		return -1;
	return session->expires_ms > now_ms ? session->expires_ms - now_ms : 0;
}

/* Accepts printable ASCII, as all tokens and ids are, and cuts what an editor adds after it. */
static bool
trim_credential(char *text, size_t *len)
{
	while (*len > 0 && strchr(" \t\r\n", text[*len - 1]) != NULL)
		text[--*len] = '\0';
	for (size_t i = 0; i < *len; i++)
	{
		if (text[i] < 0x21 || text[i] > 0x7e)
			return false;
	}
	return *len > 0;
}

/* The caller wipes text; it is wiped here on failure. */
static bool
read_credential(vault_session *session, int number, char *text, size_t size,
				char error[CC_KMS_ERROR_MAX])
{
	vault_file *file = &session->files[number];
	cc_secretfile_rule rule = CC_SECRETFILE_CREDENTIAL;
	char		shown[SHOWN_MAX];
	size_t		len;

	if (session->method == VAULT_LOGIN_KUBERNETES)
		rule = CC_SECRETFILE_POD_TOKEN;
	snprintf(shown, sizeof(shown), "the file of %s", file->setting);
	if (cc_secretfile_read(AT_FDCWD, file->path, shown, rule, (uint8_t *) text, size - 1, &len,
						   &file->stamp, error) != CC_OK)
	{
		cc_wipe(text, size);
		return false;
	}
	file->read = true;
	text[len] = '\0';
	if (trim_credential(text, &len))
		return true;
	cc_wipe(text, size);
	cc_kms_say(error, "%s is refused: it does not hold one word of printable characters", shown);
	return false;
}

static cc_kms_outcome
request_lookup(vault_session *session, cc_http_request *request, char error[CC_KMS_ERROR_MAX])
{
	cc_writer	writer;

	if (!read_credential(session, 0, session->pending, sizeof(session->pending), error))
		return CC_KMS_CONFIG;
	session->exchange = VAULT_LOOKUP;
	return vault_request_begin(session, request, "GET", "auth/token/lookup-self", session->pending,
							   0, &writer, error);
}

static cc_kms_outcome
request_renewal(vault_session *session, cc_http_request *request, char error[CC_KMS_ERROR_MAX])
{
	static const size_t size = 8;
	cc_writer	writer;
	cc_kms_outcome outcome;

	session->exchange = VAULT_RENEW;
	outcome = vault_request_begin(session, request, "POST", "auth/token/renew-self", session->token,
								  size, &writer, error);
	if (outcome != CC_KMS_OK)
		return outcome;
	cc_json_put(&writer, "{}");
	return vault_request_end(request, size, &writer, error);
}

static void
put_field(cc_writer *w, const char *before, const char *value)
{
	cc_json_put(w, before);
	cc_json_put_string(w, value);
}

/* first and second are the contents of the login's files. */
static void
put_login(cc_writer *w, const vault_session *session, const char *first, const char *second)
{
	switch (session->method)
	{
		case VAULT_LOGIN_APPROLE:
			put_field(w, "{\"role_id\":", first);
			put_field(w, ",\"secret_id\":", second);
			break;
		case VAULT_LOGIN_KUBERNETES:
			put_field(w, "{\"role\":", session->role);
			put_field(w, ",\"jwt\":", first);
			break;
		case VAULT_LOGIN_CERT:
			put_field(w, "{\"name\":", session->role);
			break;
		case VAULT_LOGIN_TOKEN:
			break;
	}
	cc_json_put(w, "}");
}

static cc_kms_outcome
request_login(vault_session *session, cc_http_request *request, char error[CC_KMS_ERROR_MAX])
{
	char		text[2][CREDENTIAL_SIZE] = {{0}, {0}};	/* secret */
	char		path[320];
	size_t		size = 128;
	cc_writer	writer;
	cc_kms_outcome outcome = CC_KMS_OK;

	for (int i = 0; i < 2 && outcome == CC_KMS_OK; i++)
	{
		if (session->files[i].path != NULL &&
			!read_credential(session, i, text[i], sizeof(text[i]), error))
			outcome = CC_KMS_CONFIG;
	}
	if (outcome == CC_KMS_OK)
	{
		/* in the worst case each character is escaped by one more */
		size += 2 * (strlen(session->role) + strlen(text[0]) + strlen(text[1]));
		snprintf(path, sizeof(path), "auth/%s/login", session->login_mount);
		session->exchange = VAULT_LOGIN;
		outcome = vault_request_begin(session, request, "POST", path, "", size, &writer, error);
	}
	if (outcome == CC_KMS_OK)
	{
		put_login(&writer, session, text[0], text[1]);
		outcome = vault_request_end(request, size, &writer, error);
	}
	cc_wipe(text, sizeof(text));
	return outcome;
}

/* After a failure, while the old token is still good, the next try can wait. */
static void
postpone(vault_session *session, int64_t now_ms)
{
	session->retry_ms = now_ms + CC_LOGIN_RETRY_MS + random_below(CC_LOGIN_RETRY_MS);
	if (session->renew_ms >= 0 && session->renew_ms < session->retry_ms)
		session->renew_ms = session->retry_ms;
}

cc_kms_outcome
vault_login_request(cc_kms_session *handle, cc_http_request *request, int64_t now_ms,
					  char error[CC_KMS_ERROR_MAX])
{
	vault_session *session = (vault_session *) handle;
	cc_kms_outcome outcome;

	memset(request, 0, sizeof(*request));
	error[0] = '\0';
	session->now_ms = now_ms;
	session->sent_ms = now_ms;
	if (has_token(session, now_ms) && session->renewable && !files_changed(session))
		outcome = request_renewal(session, request, error);
	else if (session->method == VAULT_LOGIN_TOKEN)
		outcome = request_lookup(session, request, error);
	else
		outcome = request_login(session, request, error);
	if (outcome != CC_KMS_OK)
	{
		session->exchange = VAULT_NO_EXCHANGE;
		cc_wipe(session->pending, sizeof(session->pending));
		postpone(session, now_ms);
	}
	return outcome;
}

static bool
read_lease(cc_json from, const char *duration_name, uint64_t *seconds, bool *renewable)
{
	cc_json		duration;
	cc_json		value;

	return cc_json_member(from, duration_name, &duration) && cc_json_count(duration, seconds) &&
		cc_json_member(from, "renewable", &value) && cc_json_bool(value, renewable);
}

/* The lease counts from when the request was sent, which is before the server began to count. */
static void
start_lease(vault_session *session, uint64_t seconds, bool renewable)
{
	int64_t		due;

	session->renewable = renewable;
	session->lease_ms = session->expires_ms = session->renew_ms = -1;
	session->retry_ms = 0;
	if (seconds == 0)
		return;					/* a root token does not expire */
	if (seconds > LEASE_MAX_S)
		seconds = LEASE_MAX_S;
	session->lease_ms = (int64_t) seconds * 1000;
	session->expires_ms = session->sent_ms + session->lease_ms;
	due = session->lease_ms / 3 * 2;
	due -= random_below(due / 10);
	session->renew_ms = session->sent_ms + (due < RENEW_MIN_MS ? RENEW_MIN_MS : due);
}

static void
use_token(vault_session *session, const char *token, int64_t now_ms)
{
	size_t		len = strlen(token);

	cc_wipe(session->token, sizeof(session->token));
	memcpy(session->token, token, len + 1);
	session->login++;
	session->trust_ms = session->refused ? now_ms + CC_LOGIN_TRUST_MS : -1;
	session->refused = false;
}

static bool
take_login(vault_session *session, const cc_http_reply *reply, int64_t now_ms)
{
	char		token[VAULT_TOKEN_SIZE];	/* secret */
	size_t		len;
	cc_json		auth;
	cc_json		value;
	uint64_t	seconds;
	bool		renewable;
	bool		ok;

	ok = vault_reply_member(reply, "auth", &auth) &&
		read_lease(auth, "lease_duration", &seconds, &renewable) &&
		cc_json_member(auth, "client_token", &value) &&
		cc_json_string(value, token, sizeof(token), &len);
	if (ok)
	{
		size_t		trimmed = len;

		ok = trim_credential(token, &trimmed) && trimmed == len;
	}
	if (ok)
	{
		use_token(session, token, now_ms);
		start_lease(session, seconds, renewable);
	}
	cc_wipe(token, sizeof(token));	/* where reading the token failed, part of it may be here */
	return ok;
}

static bool
take_lookup(vault_session *session, const cc_http_reply *reply, int64_t now_ms)
{
	cc_json		data;
	uint64_t	seconds;
	bool		renewable;

	if (!vault_reply_member(reply, "data", &data) ||
		!read_lease(data, "ttl", &seconds, &renewable))
		return false;
	use_token(session, session->pending, now_ms);
	start_lease(session, seconds, renewable);
	return true;
}

/*
 * A lease that has become much shorter is near the token's maximum lifetime, which no renewal
 * extends: the next exchange is then a login.
 */
static bool
take_renewal(vault_session *session, const cc_http_reply *reply)
{
	int64_t		before = session->lease_ms;
	cc_json		auth;
	uint64_t	seconds;
	bool		renewable;

	/* the token was dropped in the meantime, and the lease with it */
	if (session->token[0] == '\0')
		return true;
	if (!vault_reply_member(reply, "auth", &auth) ||
		!read_lease(auth, "lease_duration", &seconds, &renewable))
		return false;
	start_lease(session, seconds, renewable);
	if (before >= 0 && session->lease_ms >= 0 && session->lease_ms < before / 2)
		session->renewable = false;
	return true;
}

static bool
take_exchange(vault_session *session, vault_exchange exchange, const cc_http_reply *reply,
			  int64_t now_ms)
{
	switch (exchange)
	{
		case VAULT_LOGIN:
			return take_login(session, reply, now_ms);
		case VAULT_LOOKUP:
			return take_lookup(session, reply, now_ms);
		case VAULT_RENEW:
			return take_renewal(session, reply);
		case VAULT_NO_EXCHANGE:
			break;
	}
	return false;
}

static void
name_exchange(const vault_session *session, vault_exchange exchange, char *what, size_t size)
{
	if (exchange == VAULT_LOGIN)
		snprintf(what, size, "the login at auth/%s", session->login_mount);
	else if (exchange == VAULT_LOOKUP)
		snprintf(what, size, "the look-up of the token in the file of %s",
				 session->files[0].setting);
	else
		snprintf(what, size, "the renewal of the token");
}

/* Changes an outcome where it means something else for a login. */
static cc_kms_outcome
failed_exchange(vault_session *session, vault_exchange exchange, cc_kms_outcome outcome)
{
	if (cc_kms_outcome_is_transient(outcome))
		return outcome;
	if (exchange == VAULT_RENEW)
	{
		/* no further renewal: a login comes next, and counts if it fails as well */
		session->renewable = false;
		session->renew_ms = session->now_ms;
		return CC_KMS_OK;
	}
	/* AppRole answers a wrong secret id with 400 */
	if (outcome == CC_KMS_REJECTED || outcome == CC_KMS_DENIED)
		return CC_KMS_DENIED;
	return CC_KMS_CONFIG;
}

cc_kms_outcome
vault_login_reply(cc_kms_session *handle, const cc_http_reply *reply, int64_t now_ms,
					char error[CC_KMS_ERROR_MAX])
{
	vault_session *session = (vault_session *) handle;
	vault_exchange exchange = session->exchange;
	char		what[CC_KMS_ERROR_MAX];
	cc_kms_outcome outcome;

	error[0] = '\0';
	session->now_ms = now_ms;
	session->exchange = VAULT_NO_EXCHANGE;
	name_exchange(session, exchange, what, sizeof(what));
	outcome = vault_reply_outcome(session, reply, what, error);
	if (outcome == CC_KMS_OK && !take_exchange(session, exchange, reply, now_ms))
	{
		cc_kms_say(error, "%s: the reply is not what was asked for", what);
		outcome = CC_KMS_BAD_REPLY;
	}
	cc_wipe(session->pending, sizeof(session->pending));
	if (outcome == CC_KMS_OK)
		return CC_KMS_OK;
	postpone(session, now_ms);
	return failed_exchange(session, exchange, outcome);
}
