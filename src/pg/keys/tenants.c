/*
 * tenants.c
 *		Tenants and the deployment id: see tenants.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/base/ids.h"
#include "pg/base/owner.h"
#include "pg/base/settings.h"
#include "pg/keys/tenants.h"

static const char *const default_tenant = "default";

/* The key URI in the first column of the last statement, or the default; in the outer context. */
static char *
key_uri_of_result(MemoryContext context)
{
	bool		isnull;
	Datum		uri = chatcrypt_owner_value(&isnull);

	return MemoryContextStrdup(context,
							   isnull ? chatcrypt_default_kms_key : TextDatumGetCString(uri));
}

void
chatcrypt_check_key_uri(const char *uri)
{
	const cc_kms_provider *provider = cc_kms_provider_for(uri);

	if (provider == NULL || provider->check_uri(uri) != CC_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a key URI", uri),
				 errhint("Key URIs look like local:main or vault:transit/chat.")));
}

void
chatcrypt_tenant_wrapping(const char *tenant, ChatcryptWrapping *wrapping)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg arg = {TEXTOID, CStringGetTextDatum(tenant), false};
	ChatcryptOwnerScope scope;
	uint64		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT kms_key FROM chatcrypt.tenant WHERE tenant = $1", &arg,
									1);
	wrapping->kms_key = key_uri_of_result(context);
	chatcrypt_owner_end(&scope);

	if (found == 0 && strcmp(tenant, default_tenant) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("tenant \"%s\" does not exist", tenant),
				 errhint("Create it with chatcrypt.create_tenant().")));
	chatcrypt_check_key_uri(wrapping->kms_key);
	if (!chatcrypt_store_deployment_id(wrapping->deployment_id))
		memcpy(wrapping->deployment_id,
			   DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0))->data, CC_ID_LEN);
}

bool
chatcrypt_tenant_settle(const char *tenant, const ChatcryptWrapping *wrapping)
{
	uint8		deployment_id[CC_ID_LEN];
	ChatcryptArg id = {UUIDOID, PointerGetDatum(wrapping->deployment_id), false};

	if (!chatcrypt_store_deployment_id(deployment_id))
	{
		/*
		 * A restore that left it out: another id would bind new keys, and be in the way
		 * of the right one.
		 */
		if (chatcrypt_owner_execute("SELECT FROM chatcrypt.dek WHERE NOT EXISTS (SELECT "
									"FROM chatcrypt.deployment) "
									"LIMIT 1", NULL, 0) > 0)
			chatcrypt_store_deployment_lost();
		if (chatcrypt_owner_execute("INSERT INTO chatcrypt.deployment (deployment_id) VALUES ($1) "
									"ON CONFLICT DO NOTHING", &id, 1) == 0)
			return false;
	}
	else if (memcmp(deployment_id, wrapping->deployment_id, CC_ID_LEN) != 0)
		return false;

	if (strcmp(tenant, default_tenant) == 0)
		chatcrypt_owner_execute("INSERT INTO chatcrypt.tenant (tenant) SELECT 'default' "
								"WHERE NOT EXISTS (SELECT FROM chatcrypt.tenant "
								"WHERE tenant = 'default') "
								"ON CONFLICT DO NOTHING", NULL, 0);
	return true;
}

void
chatcrypt_chat_wrapping(const uint8 chat_id[CC_ID_LEN], ChatcryptWrapping *wrapping)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptOwnerScope scope;
	uint64		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT t.kms_key FROM chatcrypt.chat c "
									"JOIN chatcrypt.tenant t USING (tenant) "
									"WHERE c.chat_id = $1", &arg, 1);
	wrapping->kms_key = key_uri_of_result(context);
	chatcrypt_owner_end(&scope);

	if (found == 0 || !chatcrypt_store_deployment_id(wrapping->deployment_id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("chat %s does not exist", chatcrypt_id_text(chat_id))));
	chatcrypt_check_key_uri(wrapping->kms_key);
}
