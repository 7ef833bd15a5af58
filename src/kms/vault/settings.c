/*
 * settings.c
 *		The settings of the provider `vault`.  The server's address, namespace and
 *		credentials are settings and files, never part of a key URI.
 */
#include <string.h>

#include "kms/errtext.h"
#include "kms/vault/settings.h"
#include "kms/vault/uri.h"

const cc_kms_setting vault_settings[VAULT_SETTINGS] = {
	[VAULT_ADDR] = {"chatcrypt.vault_addr",
		"Address of the Vault or OpenBao server, such as https://vault.example:8200.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_NAMESPACE] = {"chatcrypt.vault_namespace",
		"Vault namespace of the Transit mounts and of the login.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_TOKEN_FILE] = {"chatcrypt.vault_token_file",
		"File that holds a Vault token.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_ROLE_ID_FILE] = {"chatcrypt.vault_role_id_file",
		"File that holds the role id of an AppRole login.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_SECRET_ID_FILE] = {"chatcrypt.vault_secret_id_file",
		"File that holds the secret id of an AppRole login.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_APPROLE_MOUNT] = {"chatcrypt.vault_approle_mount",
		"Where the AppRole login is mounted.",
		CC_KMS_SETTING_TEXT, "approle"},
	[VAULT_KUBERNETES_ROLE] = {"chatcrypt.vault_kubernetes_role",
		"Role of a Kubernetes login.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_KUBERNETES_MOUNT] = {"chatcrypt.vault_kubernetes_mount",
		"Where the Kubernetes login is mounted.",
		CC_KMS_SETTING_TEXT, "kubernetes"},
	[VAULT_KUBERNETES_TOKEN_FILE] = {"chatcrypt.vault_kubernetes_token_file",
		"File that holds the service account token of a Kubernetes login.",
		CC_KMS_SETTING_TEXT, "/var/run/secrets/kubernetes.io/serviceaccount/token"},
	[VAULT_CERT_ROLE] = {"chatcrypt.vault_cert_role",
		"Role of a TLS certificate login.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_CERT_MOUNT] = {"chatcrypt.vault_cert_mount",
		"Where the TLS certificate login is mounted.",
		CC_KMS_SETTING_TEXT, "cert"},
	[VAULT_CA_FILE] = {"chatcrypt.vault_ca_file",
		"File of the only certificate authorities that the Vault server's certificate may come from.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_CERT_FILE] = {"chatcrypt.vault_cert_file",
		"File of the client certificate for the Vault server.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_KEY_FILE] = {"chatcrypt.vault_key_file",
		"File of the client certificate's private key.",
		CC_KMS_SETTING_TEXT, ""},
	[VAULT_ALLOW_UNDERIVED] = {"chatcrypt.vault_allow_underived",
		"Accepts Transit keys that are not derived, whose context binds nothing.",
		CC_KMS_SETTING_FLAG, NULL},
};

const char *
vault_settings_text(const cc_kms_config *config, int number)
{
	const char *text = config->values[number].text;

	return text != NULL ? text : "";
}

static bool
is_set(const cc_kms_config *config, int number)
{
	return vault_settings_text(config, number)[0] != '\0';
}

/* Finds the login that the settings name; there must be exactly one. */
static bool
choose_method(const cc_kms_config *config, vault_method *method, char error[CC_KMS_ERROR_MAX])
{
	const struct
	{
		bool		set;
		vault_method method;
		const char *name;
	}			choices[] = {
		{is_set(config, VAULT_TOKEN_FILE), VAULT_LOGIN_TOKEN, "vault_token_file"},
		{is_set(config, VAULT_ROLE_ID_FILE) || is_set(config, VAULT_SECRET_ID_FILE),
		VAULT_LOGIN_APPROLE, "vault_role_id_file and vault_secret_id_file"},
		{is_set(config, VAULT_KUBERNETES_ROLE), VAULT_LOGIN_KUBERNETES, "vault_kubernetes_role"},
		{is_set(config, VAULT_CERT_ROLE), VAULT_LOGIN_CERT, "vault_cert_role"},
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

/* Accepts scheme://host[:port][/path], and nothing that would hide where it leads. */
static bool
check_addr(const cc_kms_config *config, char error[CC_KMS_ERROR_MAX])
{
	const char *addr = vault_settings_text(config, VAULT_ADDR);
	const char *host = NULL;

	if (addr[0] == '\0')
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
	if (strlen(addr) >= 512 || strspn(host, VAULT_WORD_CHARS "[") == 0 ||
		host[strspn(host, VAULT_WORD_CHARS "-.:[]/")] != '\0')
	{
		cc_kms_say(error, "chatcrypt.vault_addr is not an address such as "
				   "https://vault.example:8200");
		return false;
	}
	return true;
}

static const char *
mount_of(const cc_kms_config *config, vault_method method)
{
	switch (method)
	{
		case VAULT_LOGIN_TOKEN:
			break;
		case VAULT_LOGIN_APPROLE:
			return vault_settings_text(config, VAULT_APPROLE_MOUNT);
		case VAULT_LOGIN_KUBERNETES:
			return vault_settings_text(config, VAULT_KUBERNETES_MOUNT);
		case VAULT_LOGIN_CERT:
			return vault_settings_text(config, VAULT_CERT_MOUNT);
	}
	return "";
}

static bool
check_names(const cc_kms_config *config, vault_method method, const char *mount,
			char error[CC_KMS_ERROR_MAX])
{
	const char *name_space = vault_settings_text(config, VAULT_NAMESPACE);

	if (method == VAULT_LOGIN_APPROLE &&
		!(is_set(config, VAULT_ROLE_ID_FILE) && is_set(config, VAULT_SECRET_ID_FILE)))
		cc_kms_say(error, "an AppRole login needs both chatcrypt.vault_role_id_file and "
				   "chatcrypt.vault_secret_id_file");
	else if (method == VAULT_LOGIN_KUBERNETES && !is_set(config, VAULT_KUBERNETES_TOKEN_FILE))
		cc_kms_say(error, "chatcrypt.vault_kubernetes_token_file is not set");
	else if (method != VAULT_LOGIN_TOKEN && (strlen(mount) > 255 || !vault_uri_is_path(mount)))
		cc_kms_say(error, "the mount of the Vault login is not a path such as \"approle\"");
	else if (strlen(name_space) > 255 ||
			 name_space[strspn(name_space, VAULT_WORD_CHARS "-./")] != '\0')
		cc_kms_say(error, "chatcrypt.vault_namespace is not a namespace such as \"team/app\"");
	else
		return true;
	return false;
}

bool
vault_settings_check(const cc_kms_config *config, vault_method *method, const char **mount,
					 char error[CC_KMS_ERROR_MAX])
{
	if (!check_addr(config, error) || !choose_method(config, method, error))
		return false;
	*mount = mount_of(config, *method);
	return check_names(config, *method, *mount, error);
}
