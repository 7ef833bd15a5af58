/*
 * createtenant.c
 *		create_tenant().  Not here: the KMS keys of tenants (tenantkeys.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "pg/access/access.h"
#include "pg/keys/tenantkeys.h"
#include "pg/store/owner.h"

PG_FUNCTION_INFO_V1(chatcrypt_create_tenant);

/* create_tenant(tenant text, kms_key text) */
Datum
chatcrypt_create_tenant(PG_FUNCTION_ARGS)
{
	ChatcryptArg args[] = {
		{TEXTOID, PG_GETARG_DATUM(0), PG_ARGISNULL(0)},
		{TEXTOID, PG_GETARG_DATUM(1), PG_ARGISNULL(1)}
	};
	ChatcryptOwnerScope scope;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	if (!PG_ARGISNULL(1))
	{
		char	   *uri = text_to_cstring(PG_GETARG_TEXT_PP(1));

		chatcrypt_tenantkey_check_uri(uri);
		chatcrypt_tenantkeys_try(&uri, 1);
	}
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("INSERT INTO chatcrypt.tenant (tenant, kms_key) "
							"VALUES ($1, $2)", args, lengthof(args));
	chatcrypt_owner_end(&scope);
	PG_RETURN_VOID();
}
