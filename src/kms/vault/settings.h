/*
 * settings.h
 *		The settings of the provider `vault`: their names, and which combinations are valid.
 */
#ifndef CC_VAULT_SETTINGS_H
#define CC_VAULT_SETTINGS_H

#include "kms/provider.h"

/* The numbers of the settings, in the order of vault_settings. */
enum
{
	VAULT_ADDR,
	VAULT_NAMESPACE,
	VAULT_TOKEN_FILE,
	VAULT_ROLE_ID_FILE,
	VAULT_SECRET_ID_FILE,
	VAULT_APPROLE_MOUNT,
	VAULT_KUBERNETES_ROLE,
	VAULT_KUBERNETES_MOUNT,
	VAULT_KUBERNETES_TOKEN_FILE,
	VAULT_CERT_ROLE,
	VAULT_CERT_MOUNT,
	VAULT_CA_FILE,
	VAULT_CERT_FILE,
	VAULT_KEY_FILE,
	VAULT_ALLOW_UNDERIVED,
	VAULT_SETTINGS
};

extern const cc_kms_setting vault_settings[VAULT_SETTINGS];

typedef enum vault_method
{
	VAULT_LOGIN_TOKEN,
	VAULT_LOGIN_APPROLE,
	VAULT_LOGIN_KUBERNETES,
	VAULT_LOGIN_CERT
} vault_method;

/* The text of a setting; "" where it is not set. */
extern const char *vault_settings_text(const cc_kms_config *config, int number);

/*
 * False, with the reason, where the settings contradict each other or cannot be used.
 * method is the login that they name, and mount where it is mounted ("" for a token).
 */
extern CC_MUST_CHECK bool vault_settings_check(const cc_kms_config *config, vault_method *method,
											   const char **mount, char error[CC_KMS_ERROR_MAX]);

#endif
