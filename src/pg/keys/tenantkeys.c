/*
 * tenantkeys.c
 *		Tenants and the deployment id: see tenantkeys.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "kms/providers.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/keys/tenantkeys.h"
#include "pg/store/owner.h"

static const char *const default_tenant = "default";

/*
 * The key URI in the first column of the last statement's result, or the default where there is
 * none; allocated in the context.
 */
static char *
kms_key_of_result(MemoryContext context)
{
	bool		isnull;
	Datum		uri = chatcrypt_owner_value(&isnull);

	return MemoryContextStrdup(context,
							   isnull ? chatcrypt_default_kms_key : TextDatumGetCString(uri));
}

/* One of each provider: "a, b or c". */
static char *
example_uris(void)
{
	StringInfoData list;
	const cc_kms_provider *provider;

	initStringInfo(&list);
	for (int i = 0; (provider = cc_kms_provider_at(i)) != NULL; i++)
	{
		if (i > 0)
			appendStringInfoString(&list, i + 1 < CC_KMS_PROVIDER_COUNT ? ", " : " or ");
		appendStringInfoString(&list, provider->example_uri);
	}
	return list.data;
}

void
chatcrypt_tenantkey_check_uri(const char *uri)
{
	const cc_kms_provider *provider = cc_kms_provider_for(uri);

	if (provider == NULL || provider->check_uri(uri) != CC_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a key URI", uri),
				 errhint("Key URIs look like %s.", example_uris())));
}

PG_FUNCTION_INFO_V1(chatcrypt_is_kms_key);

/* is_kms_key(uri text) */
Datum
chatcrypt_is_kms_key(PG_FUNCTION_ARGS)
{
	chatcrypt_tenantkey_check_uri(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_BOOL(true);
}

static void
warn_of_key(const ChatcryptKmsJob *job)
{
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" cannot make a data key now", job->kms_key),
			 errdetail("The key service answered: %s.",
					   job->error[0] != '\0' ? job->error : cc_kms_outcome_text(job->outcome)),
			 errhint("SELECT * FROM chatcrypt.kms_check(%s) shows what works and what does not.",
					 quote_literal_cstr(job->kms_key))));
}

void
chatcrypt_tenantkeys_try(char *const *uris, int count)
{
	ChatcryptKmsJob *jobs = palloc0(sizeof(ChatcryptKmsJob) * (count + 1));
	uint8	   *wrapped = palloc(CC_KMS_WRAPPED_MAX * (count + 1));

	for (int i = 0; i < count; i++)
	{
		jobs[i].kms_key = uris[i];
		jobs[i].wrapped_out = wrapped + (Size) i * CC_KMS_WRAPPED_MAX;
		jobs[i].fresh = true;
	}
	chatcrypt_requests_run(CC_KMS_GENERATE, jobs, count);
	for (int i = 0; i < count; i++)
		cc_wipe(jobs[i].dek, CC_DEK_LEN);
	for (int i = 0; i < count; i++)
		if (jobs[i].outcome != CC_KMS_OK)
			warn_of_key(&jobs[i]);
	pfree(jobs);
	pfree(wrapped);
}

#define NEW_KEYS \
	"SELECT DISTINCT a.kms_key " \
	"FROM after AS a " \
	"JOIN before AS b USING (tenant) " \
	"WHERE a.kms_key <> coalesce(b.kms_key, '') " \
	"ORDER BY 1"

PG_FUNCTION_INFO_V1(chatcrypt_try_tenant_keys);

/* Trigger on chatcrypt.tenant, after an UPDATE, once for all of its rows. */
Datum
chatcrypt_try_tenant_keys(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	ChatcryptOwnerScope scope;
	char	  **uris;
	int			count;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_oldtable == NULL || trigger->tg_newtable == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.try_tenant_keys() must be called as a trigger with an old and a new table")));
	chatcrypt_owner_begin(&scope);
	if (SPI_register_trigger_data(trigger) != SPI_OK_TD_REGISTER)
		elog(ERROR, "could not register the rows of a trigger");
	count = (int) chatcrypt_owner_execute(NEW_KEYS, NULL, 0);
	uris = palloc(sizeof(char *) * (count + 1));
	for (int i = 0; i < count; i++)
		uris[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	chatcrypt_tenantkeys_try(uris, count);
	chatcrypt_owner_end(&scope);
	PG_RETURN_POINTER(NULL);
}

void
chatcrypt_no_such_tenant(const char *tenant)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("tenant \"%s\" does not exist", tenant),
			 errhint("Create it with chatcrypt.create_tenant().")));
}

void
chatcrypt_tenantkey_wrapping(const char *tenant, ChatcryptWrapping *wrapping)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg arg = {TEXTOID, CStringGetTextDatum(tenant), false};
	ChatcryptOwnerScope scope;
	uint64		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT kms_key "
									"FROM chatcrypt.tenant "
									"WHERE tenant = $1", &arg, 1);
	wrapping->kms_key = kms_key_of_result(context);
	chatcrypt_owner_end(&scope);

	if (found == 0 && strcmp(tenant, default_tenant) != 0)
		chatcrypt_no_such_tenant(tenant);
	chatcrypt_tenantkey_check_uri(wrapping->kms_key);
	if (!chatcrypt_store_deployment_id(wrapping->deployment_id))
		memcpy(wrapping->deployment_id,
			   DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0))->data, CC_ID_LEN);
}

void
chatcrypt_tenantkey_make_default(const char *tenant)
{
	if (strcmp(tenant, default_tenant) == 0)
		chatcrypt_owner_execute("INSERT INTO chatcrypt.tenant (tenant) "
								"SELECT 'default' "
								"WHERE NOT EXISTS (SELECT FROM chatcrypt.tenant "
								"WHERE tenant = 'default') "
								"ON CONFLICT DO NOTHING", NULL, 0);
}

bool
chatcrypt_tenantkey_settle(const char *tenant, const ChatcryptWrapping *wrapping)
{
	uint8		deployment_id[CC_ID_LEN];
	ChatcryptArg id = {UUIDOID, PointerGetDatum(wrapping->deployment_id), false};

	if (!chatcrypt_store_deployment_id(deployment_id))
	{
		/*
		 * There are keys but no deployment id, so a restore has left it out.  New keys would be
		 * bound to another id, which would then be in the way of the right one.
		 */
		if (chatcrypt_owner_execute("SELECT FROM chatcrypt.dek "
									"WHERE NOT EXISTS (SELECT FROM chatcrypt.deployment) "
									"LIMIT 1", NULL, 0) > 0)
			chatcrypt_store_deployment_lost();
		if (chatcrypt_owner_execute("INSERT INTO chatcrypt.deployment (deployment_id) "
									"VALUES ($1) "
									"ON CONFLICT DO NOTHING", &id, 1) == 0)
			return false;
	}
	else if (memcmp(deployment_id, wrapping->deployment_id, CC_ID_LEN) != 0)
		return false;

	chatcrypt_tenantkey_make_default(tenant);
	return true;
}

void
chatcrypt_tenantkey_wrapping_of_chat(const uint8 chat_id[CC_ID_LEN], ChatcryptWrapping *wrapping)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};
	ChatcryptOwnerScope scope;
	uint64		found;

	chatcrypt_owner_begin(&scope);
	found = chatcrypt_owner_execute("SELECT t.kms_key "
									"FROM chatcrypt.chat c "
									"JOIN chatcrypt.tenant t USING (tenant) "
									"WHERE c.chat_id = $1", &arg, 1);
	wrapping->kms_key = kms_key_of_result(context);
	chatcrypt_owner_end(&scope);

	if (found == 0 || !chatcrypt_store_deployment_id(wrapping->deployment_id))
		chatcrypt_no_such_chat(chat_id);
	chatcrypt_tenantkey_check_uri(wrapping->kms_key);
}
