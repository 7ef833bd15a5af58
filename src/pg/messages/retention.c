/*
 * retention.c
 *		When messages expire: see retention.h.
 *
 * Policies of chats and tenants are remembered; the absence of a chat is not.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/messages/retention.h"
#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

/* Column numbers of sql/20_tables.sql. */
#define CHAT_TENANT			2
#define CHAT_RETENTION		8
#define TENANT_RETENTION	6

typedef struct Policy
{
	bool		keeps_for_ever;
	Interval	retention;
} Policy;

static bool
fill_policy(Policy *policy, Datum retention, bool isnull)
{
	policy->keeps_for_ever = isnull;
	if (!isnull)
		policy->retention = *DatumGetIntervalP(retention);
	return true;
}

/* False where there is no such chat. */
static bool
read_policy(const uint8 *chat_id, void *value)
{
	TupleDesc	desc;
	HeapTuple	row;
	Datum		retention;
	bool		isnull;

	row = chatcrypt_store_find_row("chat", "chat_pkey", InvalidOid, F_UUID_EQ,
								   PointerGetDatum(chat_id), &desc);
	if (row == NULL)
		return false;
	retention = heap_getattr(row, CHAT_RETENTION, desc, &isnull);
	if (!isnull)
		return fill_policy(value, retention, false);
	row = chatcrypt_store_find_row("tenant", "tenant_pkey", DEFAULT_COLLATION_OID, F_TEXTEQ,
								   heap_getattr(row, CHAT_TENANT, desc, &isnull), &desc);
	if (row == NULL)
		return false;
	retention = heap_getattr(row, TENANT_RETENTION, desc, &isnull);
	return fill_policy(value, retention, isnull);
}

static ChatcryptMemory policies = {.tables = {"chat", "tenant"}, .value_size = sizeof(Policy),
								   .read = read_policy};

bool
chatcrypt_retention_expiry(const uint8 chat_id[CC_ID_LEN], TimestampTz created_at,
						   TimestampTz *expires_at)
{
	const Policy *policy = chatcrypt_chatmemory_remember(&policies, chat_id);

	if (policy == NULL || policy->keeps_for_ever)
		return false;
	*expires_at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
														  TimestampTzGetDatum(created_at),
														  PointerGetDatum(&policy->retention)));
	return true;
}

PG_FUNCTION_INFO_V1(chatcrypt_default_expiry);

/* default_expiry(chat any_id, created_at timestamptz): NULL for never */
Datum
chatcrypt_default_expiry(PG_FUNCTION_ARGS)
{
	TimestampTz expires_at;

	chatcrypt_access_require_participant(PG_GETARG_UUID_P(0)->data);
	if (!chatcrypt_retention_expiry(PG_GETARG_UUID_P(0)->data, PG_GETARG_TIMESTAMPTZ(1),
									&expires_at))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(expires_at);
}
