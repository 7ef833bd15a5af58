/*
 * settings.c
 *		Defines the chatcrypt.* settings, except those of the key providers, which
 *		kmssettings.c defines.  The value of a setting is never a secret: credentials are
 *		in files that the KMS worker reads.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"
#include "utils/varlena.h"

#include "kms/providers.h"
#include "pg/base/settings.h"

char	   *chatcrypt_default_kms_key;
char	   *chatcrypt_kms_proxy;
bool		chatcrypt_allow_http;
int			chatcrypt_kms_timeout;
int			chatcrypt_kms_connect_timeout;
int			chatcrypt_kms_batch_delay;
int			chatcrypt_kms_max_inflight;
int			chatcrypt_cache_size;
int			chatcrypt_cache_ttl;
int			chatcrypt_cache_idle;
int			chatcrypt_cache_max_age;
char	   *chatcrypt_maintenance_databases;
int			chatcrypt_maintenance_interval;
int			chatcrypt_attachment_upload_time;
bool		chatcrypt_require_tls;
bool		chatcrypt_actor_is_required;
int			chatcrypt_on_decrypt_error;
bool		chatcrypt_allow_drop;
int			chatcrypt_show;
bool		chatcrypt_restore;
bool		chatcrypt_allow_unlabelled;
bool		chatcrypt_allow_protect;
int			chatcrypt_protect_lock_timeout;

static const struct config_enum_entry on_decrypt_error_options[] = {
	{"raise", CHATCRYPT_ON_ERROR_RAISE, false},
	{"null", CHATCRYPT_ON_ERROR_NULL, false},
	{"null_destroyed", CHATCRYPT_ON_ERROR_NULL_DESTROYED, false},
	{NULL, 0, false}
};

static const struct config_enum_entry show_options[] = {
	{"auto", CHATCRYPT_SHOW_AUTO, false},
	{"plain", CHATCRYPT_SHOW_PLAIN, false},
	{"sealed", CHATCRYPT_SHOW_SEALED, false},
	{NULL, 0, false}
};

/* A key URI is checked when the setting is set, so that a typing error shows at once. */
static bool
check_kms_key(char **newval, void **extra, GucSource source)
{
	const cc_kms_provider *provider;

	(void) extra;
	(void) source;
	if (*newval == NULL || **newval == '\0')
		return true;
	provider = cc_kms_provider_for(*newval);
	if (provider == NULL)
	{
		GUC_check_errdetail("No key provider has the scheme of \"%s\".", *newval);
		return false;
	}
	if (provider->check_uri(*newval) != CC_OK)
	{
		GUC_check_errdetail("\"%s\" is not a key URI of the provider %s.", *newval,
							provider->scheme);
		return false;
	}
	return true;
}

bool
chatcrypt_settings_parse_databases(const char *list, List **names)
{
	/* SplitIdentifierString() modifies its input, and the names point into it. */
	return SplitIdentifierString(pstrdup(list), ',', names);
}

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	List	   *names;

	(void) extra;
	(void) source;
	if (chatcrypt_settings_parse_databases(*newval, &names))
		return true;
	GUC_check_errdetail("The value must be a list of database names, separated by commas; names "
						"with capital letters or special characters must be in double quotes.");
	return false;
}

static void
define_ms(const char *name, const char *about, int *variable, int initial, int least, int most)
{
	DefineCustomIntVariable(name, about, NULL, variable, initial, least, most,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void
define_seconds(const char *name, const char *about, int *variable, int initial)
{
	DefineCustomIntVariable(name, about, NULL, variable, initial, 1, 30 * 24 * 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

static void
define_protect_settings(void)
{
	DefineCustomEnumVariable("chatcrypt.show",
							 "What a reader sees of protected columns: auto shows pg_dump and "
							 "replication the sealed form, and everybody else plaintext.",
							 NULL, &chatcrypt_show, CHATCRYPT_SHOW_AUTO, show_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("chatcrypt.restore",
							 "Stores values of protected columns whose keys are not here as they "
							 "are. For restores.",
							 NULL, &chatcrypt_restore, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("chatcrypt.allow_protect",
							 "Lets protect() be called, which is not finished and may lose data.",
							 NULL, &chatcrypt_allow_protect, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("chatcrypt.allow_unlabelled",
							 "Lets tables of the access method chatcrypt that protect nothing be "
							 "written. For developers alone.",
							 NULL, &chatcrypt_allow_unlabelled, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("chatcrypt.protect_lock_timeout",
							"How long protect() and unprotect() wait for the lock of a table "
							"before they try again.",
							NULL, &chatcrypt_protect_lock_timeout, 500, 10, 600000,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

void
chatcrypt_settings_define(void)
{
	DefineCustomStringVariable("chatcrypt.default_kms_key",
							   "Key URI of the tenant \"default\" and of tenants that name none.",
							   NULL, &chatcrypt_default_kms_key, "local:main",
							   PGC_SIGHUP, 0, check_kms_key, NULL, NULL);
	DefineCustomStringVariable("chatcrypt.kms_proxy",
							   "Proxy for calls to the KMS; the environment's proxies are ignored.",
							   NULL, &chatcrypt_kms_proxy, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);

	DefineCustomBoolVariable("chatcrypt.allow_http",
							 "Allows a KMS address without TLS. For developers alone.",
							 NULL, &chatcrypt_allow_http, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);

	define_ms("chatcrypt.kms_timeout",
			  "Longest wait for the KMS, retries included.",
			  &chatcrypt_kms_timeout, 5000, 10, 600000);
	define_ms("chatcrypt.kms_connect_timeout",
			  "Longest wait for a connection to the KMS.",
			  &chatcrypt_kms_connect_timeout, 2000, 10, 600000);
	define_ms("chatcrypt.kms_batch_delay",
			  "How long the KMS worker waits for requests that can share a call.",
			  &chatcrypt_kms_batch_delay, 2, 0, 1000);
	DefineCustomIntVariable("chatcrypt.kms_max_inflight",
							"Calls to the KMS that may be under way at once.",
							NULL, &chatcrypt_kms_max_inflight, 8, 1, 64,
							PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("chatcrypt.cache_size",
							"Data keys that the shared key cache holds.",
							NULL, &chatcrypt_cache_size, 65536, 128, 16 * 1024 * 1024,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	define_seconds("chatcrypt.cache_ttl",
				   "Age at which a cached key is unwrapped again in the background.",
				   &chatcrypt_cache_ttl, 300);
	define_seconds("chatcrypt.cache_idle",
				   "Time without use after which a cached key is dropped.",
				   &chatcrypt_cache_idle, 3600);
	define_seconds("chatcrypt.cache_max_age",
				   "Age past which a cached key is never used, even while the KMS is down.",
				   &chatcrypt_cache_max_age, 14400);

	DefineCustomStringVariable("chatcrypt.maintenance_databases",
							   "Databases whose keys and messages are maintained in the "
							   "background.",
							   NULL, &chatcrypt_maintenance_databases, "",
							   PGC_SIGHUP, 0, check_databases, NULL, NULL);
	DefineCustomIntVariable("chatcrypt.maintenance_interval",
							"Time from the beginning of one round of maintenance to the next.",
							NULL, &chatcrypt_maintenance_interval, 60, 1, 24 * 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);

	define_seconds("chatcrypt.attachment_upload_time",
				   "Time after its last part at which an upload that was not finished is deleted.",
				   &chatcrypt_attachment_upload_time, 86400);

	DefineCustomBoolVariable("chatcrypt.require_tls",
							 "Refuses to encrypt or decrypt for a client on an unencrypted TCP "
							 "connection.",
							 NULL, &chatcrypt_require_tls, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("chatcrypt.require_actor",
							 "Shows and takes no message in a transaction that has not called "
							 "chatcrypt.act_as().",
							 NULL, &chatcrypt_actor_is_required, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("chatcrypt.on_decrypt_error",
							 "What the views show for a message that does not open.",
							 NULL, &chatcrypt_on_decrypt_error,
							 CHATCRYPT_ON_ERROR_NULL_DESTROYED,
							 on_decrypt_error_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("chatcrypt.allow_drop",
							 "Lets DROP EXTENSION chatcrypt take data keys with it that are not "
							 "destroyed.",
							 NULL, &chatcrypt_allow_drop, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	define_protect_settings();
}
