/*
 * vault.c
 *		The provider `vault`: the Transit engine of HashiCorp Vault and OpenBao.
 *
 * URI: vault:MOUNT/KEY.  A mount may have slashes; the last part is the key.  The
 * server's address, namespace and credentials are settings and files, never part
 * of the URI.
 *
 * Here: settings, URIs, how a request begins and ends, and the table of functions.
 */
#define _XOPEN_SOURCE 700

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/errtext.h"
#include "kms/providers.h"
#include "kms/vault.h"

#define WORD_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

static bool
is_word_char(char c)
{
	return c != '\0' && strchr(WORD_CHARS, c) != NULL;
}

/*
 * Parts between slashes, as Transit names its keys: letters, digits, _, and in
 * between - and . as well.  No part is empty, ".", ".." or percent-encoded, so no
 * path can be made to point elsewhere.
 */
static bool
is_path(const char *path)
{
	for (;;)
	{
		size_t		len = strspn(path, WORD_CHARS "-.");

		if (len == 0 || !is_word_char(path[0]) || !is_word_char(path[len - 1]))
			return false;
		path += len;
		if (*path == '\0')
			return true;
		if (*path++ != '/')
			return false;
	}
}

/* A key URI comes from a row: it must not reach the server's own parts. */
static bool
is_reserved(const char *path)
{
	static const char *const reserved[] = {"sys/", "auth/", "identity/", "cubbyhole/"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
	{
		if (strncmp(path, reserved[i], strlen(reserved[i])) == 0)
			return true;
	}
	return false;
}

bool
vault_key_of(const char *kms_key, vault_key *key)
{
	size_t		scheme_len = strlen(VAULT_SCHEME);
	const char *path = kms_key + scheme_len;
	const char *slash;

	if (strncmp(kms_key, VAULT_SCHEME, scheme_len) != 0 || strlen(kms_key) >= CC_KMS_URI_MAX)
		return false;
	slash = strrchr(path, '/');
	if (slash == NULL || !is_path(path) || is_reserved(path))
		return false;
	*key = (vault_key) {path, (int) (slash - path), slash + 1};
	return true;
}

static cc_status
vault_check_uri(const char *kms_key)
{
	vault_key	key;

	return vault_key_of(kms_key, &key) ? CC_OK : CC_ERR_SYNTAX;
}

static bool
is_set(const char *setting)
{
	return setting != NULL && *setting != '\0';
}

/* Exactly one of the logins, told by which settings are there. */
static bool
choose_method(const cc_kms_config *config, vault_method *method, char error[CC_KMS_ERROR_MAX])
{
	const struct
	{
		bool		set;
		vault_method method;
		const char *name;
	}			choices[] = {
		{is_set(config->vault_token_file), VAULT_TOKEN_FILE, "vault_token_file"},
		{is_set(config->vault_role_id_file) || is_set(config->vault_secret_id_file), VAULT_APPROLE,
		"vault_role_id_file and vault_secret_id_file"},
		{is_set(config->vault_kubernetes_role), VAULT_KUBERNETES, "vault_kubernetes_role"},
		{is_set(config->vault_cert_role), VAULT_CERT, "vault_cert_role"},
	};
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
	{
		if (!choices[i].set)
			continue;
		if (first != NULL)
		{
			cc_kms_say(error, "two Vault logins are set: chatcrypt.%s, and chatcrypt.%s; keep one",
					   first, choices[i].name);
			return false;
		}
		first = choices[i].name;
		*method = choices[i].method;
	}
	if (first == NULL)
		cc_kms_say(error, "no Vault login is set: set one of chatcrypt.vault_token_file, "
				   "vault_role_id_file with vault_secret_id_file, vault_kubernetes_role, "
				   "vault_cert_role");
	return first != NULL;
}

/* scheme://host[:port][/path], and nothing that would hide where it leads. */
static bool
check_addr(const cc_kms_config *config, char error[CC_KMS_ERROR_MAX])
{
	const char *addr = config->vault_addr;
	const char *host = NULL;

	if (!is_set(addr))
	{
		cc_kms_say(error, "chatcrypt.vault_addr is not set");
		return false;
	}
	if (strncmp(addr, "https://", 8) == 0)
		host = addr + 8;
	else if (strncmp(addr, "http://", 7) == 0 && config->allow_http)
		host = addr + 7;
	if (host == NULL)
	{
		cc_kms_say(error, "chatcrypt.vault_addr must begin with https://%s",
				   strncmp(addr, "http://", 7) == 0
				   ? "; without TLS the keys are open to the network (chatcrypt.allow_http is off)"
				   : "");
		return false;
	}
	if (strlen(addr) >= 512 || !(is_word_char(*host) || *host == '[') ||
		host[strspn(host, WORD_CHARS "-.:[]/")] != '\0')
	{
		cc_kms_say(error, "chatcrypt.vault_addr is not an address such as "
				   "https://vault.example:8200");
		return false;
	}
	return true;
}

static bool
check_names(const cc_kms_config *config, vault_method method, const char *mount,
			char error[CC_KMS_ERROR_MAX])
{
	const char *name_space = config->vault_namespace;

	if (method == VAULT_APPROLE &&
		!(is_set(config->vault_role_id_file) && is_set(config->vault_secret_id_file)))
		cc_kms_say(error, "an AppRole login needs both chatcrypt.vault_role_id_file and "
				   "chatcrypt.vault_secret_id_file");
	else if (method == VAULT_KUBERNETES && !is_set(config->vault_kubernetes_token_file))
		cc_kms_say(error, "chatcrypt.vault_kubernetes_token_file is not set");
	else if (method != VAULT_TOKEN_FILE &&
			 (!is_set(mount) || strlen(mount) > 255 || !is_path(mount)))
		cc_kms_say(error, "the mount of the Vault login is not a path such as \"approle\"");
	else if (is_set(name_space) && (strlen(name_space) > 255 ||
									name_space[strspn(name_space, WORD_CHARS "-./")] != '\0'))
		cc_kms_say(error, "chatcrypt.vault_namespace is not a namespace such as \"team/app\"");
	else
		return true;
	return false;
}

/* Copies; false where memory fails. */
static bool
keep(char **to, const char *text)
{
	*to = strdup(text != NULL ? text : "");
	return *to != NULL;
}

static bool
keep_file(vault_file *file, const char *path, const char *setting)
{
	file->setting = setting;
	return keep(&file->path, path);
}

static bool
keep_login(vault_session *session, const cc_kms_config *config, const char *mount)
{
	switch (session->method)
	{
		case VAULT_TOKEN_FILE:
			return keep(&session->login_mount, "") && keep(&session->role, "") &&
				keep_file(&session->files[0], config->vault_token_file,
						  "chatcrypt.vault_token_file");
		case VAULT_APPROLE:
			return keep(&session->login_mount, mount) && keep(&session->role, "") &&
				keep_file(&session->files[0], config->vault_role_id_file,
						  "chatcrypt.vault_role_id_file") &&
				keep_file(&session->files[1], config->vault_secret_id_file,
						  "chatcrypt.vault_secret_id_file");
		case VAULT_KUBERNETES:
			return keep(&session->login_mount, mount) &&
				keep(&session->role, config->vault_kubernetes_role) &&
				keep_file(&session->files[0], config->vault_kubernetes_token_file,
						  "chatcrypt.vault_kubernetes_token_file");
		case VAULT_CERT:
			return keep(&session->login_mount, mount) &&
				keep(&session->role, config->vault_cert_role);
	}
	return false;
}

static void
vault_close(cc_kms_session *handle)
{
	vault_session *session = (vault_session *) handle;

	if (session == NULL)
		return;
	free(session->addr);
	free(session->name_space);
	free(session->login_mount);
	free(session->role);
	free(session->files[0].path);
	free(session->files[1].path);
	cc_wipe(session, sizeof(*session));
	free(session);
}

static cc_kms_session *
vault_open(const cc_kms_config *config, char error[CC_KMS_ERROR_MAX])
{
	vault_session *session;
	vault_method method = VAULT_TOKEN_FILE;
	const char *mount = "";

	if (!check_addr(config, error) || !choose_method(config, &method, error))
		return NULL;
	if (method == VAULT_APPROLE)
		mount = config->vault_approle_mount;
	else if (method == VAULT_KUBERNETES)
		mount = config->vault_kubernetes_mount;
	else if (method == VAULT_CERT)
		mount = config->vault_cert_mount;
	if (!check_names(config, method, mount, error))
		return NULL;

	session = calloc(1, sizeof(*session));
	if (session != NULL)
		session->method = method;
	if (session == NULL || !keep(&session->addr, config->vault_addr) ||
		!keep(&session->name_space, config->vault_namespace) ||
		!keep_login(session, config, mount))
	{
		cc_kms_say(error, "out of memory");
		vault_close((cc_kms_session *) session);
		return NULL;
	}
	for (size_t len = strlen(session->addr); len > 0 && session->addr[len - 1] == '/'; len--)
		session->addr[len - 1] = '\0';
	session->allow_underived = config->vault_allow_underived;
	session->lease_ms = session->expires_ms = session->renew_ms = -1;
	session->trust_ms = -1;
	return (cc_kms_session *) session;
}

/* Vault refuses a request without it when told to, against forged requests. */
static bool
add_headers(const vault_session *session, cc_http_request *request, const char *token, bool body)
{
	return cc_http_request_header(request, "X-Vault-Request", "true") &&
		(token[0] == '\0' || cc_http_request_header(request, "X-Vault-Token", token)) &&
		(session->name_space[0] == '\0' ||
		 cc_http_request_header(request, "X-Vault-Namespace", session->name_space)) &&
		cc_http_request_header(request, "Accept", "application/json") &&
		(!body || cc_http_request_header(request, "Content-Type", "application/json"));
}

cc_kms_outcome
vault_request_begin(const vault_session *session, cc_http_request *request, const char *method,
					const char *path, const char *token, size_t body_size, cc_writer *writer,
					char error[CC_KMS_ERROR_MAX])
{
	int			url_len;

	memset(request, 0, sizeof(*request));
	request->method = method;
	request->login = session->login;
	url_len = snprintf(request->url, sizeof(request->url), "%s/v1/%s", session->addr, path);
	if (url_len < 0 || (size_t) url_len >= sizeof(request->url))
	{
		cc_kms_say(error, "the address of the request is too long");
		return CC_KMS_CONFIG;
	}
	if (body_size > 0)
		request->body = malloc(body_size);
	if (!add_headers(session, request, token, body_size > 0) ||
		(body_size > 0 && request->body == NULL))
	{
		cc_http_request_clear(request);
		cc_kms_say(error, "out of memory");
		return CC_KMS_TRANSIENT;
	}
	*writer = cc_writer_init(request->body, body_size);
	return CC_KMS_OK;
}

cc_kms_outcome
vault_request_end(cc_http_request *request, size_t body_size, const cc_writer *writer,
				  char error[CC_KMS_ERROR_MAX])
{
	/* first all of it, so that clearing wipes all of it */
	request->body_len = body_size;
	if (cc_writer_ok(writer))
	{
		request->body_len = body_size - writer->left;
		return CC_KMS_OK;
	}
	cc_http_request_clear(request);
	cc_kms_say(error, "the request is too long");
	return CC_KMS_CONFIG;
}

const cc_kms_provider cc_kms_vault = {
	.scheme = "vault",
	.batch_max = VAULT_BATCH_MAX,
	.batch_max_wrapped = VAULT_BATCH_MAX_WRAPPED,
	.check_uri = vault_check_uri,
	.wrapped_version = vault_wrapped_version,
	.open = vault_open,
	.close = vault_close,
	.session_state = vault_session_state,
	.session_request = vault_session_request,
	.session_reply = vault_session_reply,
	.session_drop = vault_session_drop,
	.login_changed = vault_login_changed,
	.session_lease_ms = vault_session_lease_ms,
	.key_request = vault_key_request,
	.key_reply = vault_key_reply,
	.batch_request = vault_batch_request,
	.batch_reply = vault_batch_reply,
	.request_id = vault_request_id,
};
