/*
 * session.c
 *		The session of the provider `vault`: how it is opened from settings and closed, and
 *		what is done where the server refuses its token.
 */
#define _XOPEN_SOURCE 700

#include <stdlib.h>
#include <string.h>

#include "kms/errtext.h"
#include "kms/vault/session.h"

/* Copies a text; false where memory runs out. */
static bool
keep(char **to, const char *text)
{
	*to = strdup(text);
	return *to != NULL;
}

static bool
keep_setting(char **to, const cc_kms_config *config, int number)
{
	return keep(to, vault_settings_text(config, number));
}

static bool
keep_file(vault_session *session, int which, const cc_kms_config *config, int number)
{
	session->files[which].setting = vault_settings[number].name;
	return keep_setting(&session->files[which].path, config, number);
}

static bool
keep_tls(vault_session *session, const cc_kms_config *config)
{
	return keep_setting(&session->tls.ca_file, config, VAULT_CA_FILE) &&
		keep_setting(&session->tls.cert_file, config, VAULT_CERT_FILE) &&
		keep_setting(&session->tls.key_file, config, VAULT_KEY_FILE);
}

static bool
keep_login(vault_session *session, const cc_kms_config *config, const char *mount)
{
	switch (session->method)
	{
		case VAULT_LOGIN_TOKEN:
			return keep(&session->login_mount, "") && keep(&session->role, "") &&
				keep_file(session, 0, config, VAULT_TOKEN_FILE);
		case VAULT_LOGIN_APPROLE:
			return keep(&session->login_mount, mount) && keep(&session->role, "") &&
				keep_file(session, 0, config, VAULT_ROLE_ID_FILE) &&
				keep_file(session, 1, config, VAULT_SECRET_ID_FILE);
		case VAULT_LOGIN_KUBERNETES:
			return keep(&session->login_mount, mount) &&
				keep_setting(&session->role, config, VAULT_KUBERNETES_ROLE) &&
				keep_file(session, 0, config, VAULT_KUBERNETES_TOKEN_FILE);
		case VAULT_LOGIN_CERT:
			return keep(&session->login_mount, mount) &&
				keep_setting(&session->role, config, VAULT_CERT_ROLE);
	}
	return false;
}

void
vault_session_close(cc_kms_session *handle)
{
	vault_session *session = (vault_session *) handle;

	if (session == NULL)
		return;
	free(session->addr);
	free(session->name_space);
	free(session->login_mount);
	free(session->role);
	free(session->tls.ca_file);
	free(session->tls.cert_file);
	free(session->tls.key_file);
	free(session->files[0].path);
	free(session->files[1].path);
	cc_wipe(session, sizeof(*session));
	free(session);
}

cc_kms_session *
vault_session_open(const cc_kms_config *config, char error[CC_KMS_ERROR_MAX])
{
	vault_session *session;
	vault_method method = VAULT_LOGIN_TOKEN;
	const char *mount = "";

	if (!vault_settings_check(config, &method, &mount, error))
		return NULL;
	session = calloc(1, sizeof(*session));
	if (session != NULL)
		session->method = method;
	if (session == NULL || !keep_setting(&session->addr, config, VAULT_ADDR) ||
		!keep_setting(&session->name_space, config, VAULT_NAMESPACE) ||
		!keep_tls(session, config) || !keep_login(session, config, mount))
	{
		cc_kms_say(error, "out of memory");
		vault_session_close((cc_kms_session *) session);
		return NULL;
	}
	for (size_t len = strlen(session->addr); len > 0 && session->addr[len - 1] == '/'; len--)
		session->addr[len - 1] = '\0';
	session->allow_underived = config->values[VAULT_ALLOW_UNDERIVED].flag;
	session->lease_ms = session->expires_ms = session->renew_ms = -1;
	session->trust_ms = -1;
	return (cc_kms_session *) session;
}

void
vault_session_drop(cc_kms_session *handle)
{
	vault_session *session = (vault_session *) handle;

	cc_wipe(session->token, sizeof(session->token));
	session->renewable = false;
	session->lease_ms = session->expires_ms = session->renew_ms = -1;
	session->retry_ms = 0;
}

cc_kms_outcome
vault_session_refused(vault_session *session, const cc_http_reply *reply)
{
	/* the request was sent before the newest login, and says nothing of that */
	if (reply->login != 0 && reply->login != session->login)
		return CC_KMS_LOGIN_AGAIN;
	/* another reply to a request of the same login has dropped the token already */
	if (session->token[0] == '\0')
		return CC_KMS_LOGIN_AGAIN;
	if (session->now_ms < session->trust_ms)
		return CC_KMS_DENIED;
	vault_session_drop((cc_kms_session *) session);
	session->refused = true;
	return CC_KMS_LOGIN_AGAIN;
}
