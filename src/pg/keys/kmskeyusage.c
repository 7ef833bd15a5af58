/*
 * kmskeyusage.c
 *		kms_key_usage() and kms_key_version(): which KMS keys, and which of their versions, the
 *		data keys are wrapped with.  Not here: how that is changed (rewrap.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "pg/access/access.h"
#include "pg/keys/wrapping.h"
#include "pg/store/owner.h"

PG_FUNCTION_INFO_V1(chatcrypt_kms_key_version);

/* kms_key_version(kms_key text, encrypted_dek bytea) */
Datum
chatcrypt_kms_key_version(PG_FUNCTION_ARGS)
{
	uint32		version = chatcrypt_wrapping_version(text_to_cstring(PG_GETARG_TEXT_PP(0)),
													 PG_GETARG_BYTEA_PP(1));

	if (version == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(version);
}

PG_FUNCTION_INFO_V1(chatcrypt_kms_key_usage);

/* kms_key_usage(): a row for each KMS key and version that data keys are wrapped with */
Datum
chatcrypt_kms_key_usage(PG_FUNCTION_ARGS)
{
	chatcrypt_rights_require_steward();
	chatcrypt_owner_return_rows(fcinfo,
								"SELECT d.kms_key, "
								"chatcrypt_internal.kms_key_version(d.kms_key, d.encrypted_dek) "
								"AS key_version, count(*), "
								"count(*) FILTER (WHERE d.state = 'active') "
								"FROM chatcrypt.dek d "
								"WHERE d.state <> 'destroyed' "
								"GROUP BY 1, 2 "
								"ORDER BY 1, 2", NULL, 0);
	return (Datum) 0;
}
