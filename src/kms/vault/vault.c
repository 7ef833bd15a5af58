/*
 * vault.c
 *		The provider `vault`: the Transit engine of HashiCorp Vault and OpenBao.
 *
 * uri.c		key URIs
 * settings.c	its settings, and which of them go together
 * session.c	what is kept between calls: settings and a token
 * request.c	how a request begins and ends
 * reply.c		status codes and the server's own error texts
 * login.c		logins and leases
 * key.c		the check of a key before its first use
 * batch.c		Transit calls
 */
#include "kms/providers.h"
#include "kms/vault/batch.h"
#include "kms/vault/key.h"
#include "kms/vault/login.h"
#include "kms/vault/reply.h"
#include "kms/vault/session.h"
#include "kms/vault/settings.h"
#include "kms/vault/uri.h"

const cc_kms_provider cc_kms_vault = {
	.scheme = "vault",
	.example_uri = "vault:transit/chat",
	.batch_max = VAULT_BATCH_MAX,
	.batch_max_wrapped = VAULT_BATCH_MAX_WRAPPED,
	.settings = vault_settings,
	.nsettings = VAULT_SETTINGS,
	.check_uri = vault_uri_check,
	.wrapped_version = vault_batch_wrapped_version,
	.open = vault_session_open,
	.close = vault_session_close,
	.session_state = vault_login_state,
	.session_request = vault_login_request,
	.session_reply = vault_login_reply,
	.session_drop = vault_session_drop,
	.login_changed = vault_login_changed,
	.session_lease_ms = vault_login_lease_ms,
	.key_request = vault_key_request,
	.key_reply = vault_key_reply,
	.batch_request = vault_batch_request,
	.batch_reply = vault_batch_reply,
	.request_id = vault_reply_request_id,
};
