/*
 * retention.c
 *		When messages expire: see retention.h.
 *
 * A policy is looked up in the tables once for each chat and remembered until one of
 * them changes.  As with keys (store.c), triggers on chat and tenant ask for the
 * invalidation, and absence of a chat is not remembered.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/compat.h"
#include "pg/retention.h"
#include "pg/store.h"

/* Column numbers of sql/20_tables.sql. */
#define CHAT_CHAT_ID		1
#define CHAT_TENANT			2
#define CHAT_RETENTION		9
#define TENANT_TENANT		1
#define TENANT_RETENTION	6

#define REMEMBERED			256

typedef struct Policy
{
	uint8		chat_id[CC_ID_LEN];
	uint64		generation;		/* 0 for an empty place */
	bool		keeps_for_ever;
	Interval	retention;
} Policy;

static Policy policies[REMEMBERED];
static uint64 generation = 1;
static Oid	chat_relation = InvalidOid;
static Oid	tenant_relation = InvalidOid;

static void
note_relcache_change(Datum arg, Oid relation)
{
	(void) arg;
	if (relation == InvalidOid || relation == chat_relation || relation == tenant_relation)
		generation++;
}

/* What a transaction saw of its own changes is not remembered where they may not come to be. */
static void
note_transaction(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT || event == XACT_EVENT_PREPARE)
		generation++;
}

static void
note_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		generation++;
}

static void
watch_once(void)
{
	static bool watching = false;

	if (watching)
		return;
	CacheRegisterRelcacheCallback(note_relcache_change, (Datum) 0);
	RegisterXactCallback(note_transaction, NULL);
	RegisterSubXactCallback(note_subtransaction, NULL);
	watching = true;
}

/*
 * The value of one column of the row that a unique index finds by its first column.
 * False where there is no row.  Copied, as a type of fixed length or a varlena.
 */
static bool
look_up(Oid relation, const char *index, Oid collation, RegProcedure equal, Datum key,
		AttrNumber column, int16 length, Datum *value, bool *isnull)
{
	Relation	table = table_open(relation, AccessShareLock);
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&scan_key, 0, 1, BTEqualStrategyNumber, InvalidOid, collation, equal, key);
	scan = systable_beginscan(table, chatcrypt_store_relation(index), true, GetCatalogSnapshot(relation), 1, &scan_key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		*value = heap_getattr(tuple, column, RelationGetDescr(table), isnull);
		if (!*isnull)
			*value = datumCopy(*value, false, length);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* False where there is no such chat. */
static bool
read_policy(const uint8 *chat_id, Policy *policy)
{
	Datum		retention;
	Datum		tenant;
	bool		isnull;

	if (!look_up(chat_relation, "chat_pkey", InvalidOid, F_UUID_EQ, PointerGetDatum(chat_id),
				 CHAT_RETENTION, sizeof(Interval), &retention, &isnull))
		return false;
	if (isnull &&
		(!look_up(chat_relation, "chat_pkey", InvalidOid, F_UUID_EQ, PointerGetDatum(chat_id),
				  CHAT_TENANT, -1, &tenant, &isnull) ||
		 !look_up(tenant_relation, "tenant_pkey", DEFAULT_COLLATION_OID, F_TEXTEQ, tenant,
				  TENANT_RETENTION, sizeof(Interval), &retention, &isnull)))
		return false;
	policy->keeps_for_ever = isnull;
	if (!isnull)
		policy->retention = *DatumGetIntervalP(retention);
	return true;
}

static const Policy *
policy_of(const uint8 *chat_id)
{
	Policy	   *policy = &policies[(chat_id[0] ^ chat_id[7] ^ chat_id[15]) % REMEMBERED];
	uint64		now;

	watch_once();
	AcceptInvalidationMessages();
	if (policy->generation == generation && memcmp(policy->chat_id, chat_id, CC_ID_LEN) == 0)
		return policy;

	chat_relation = chatcrypt_store_relation("chat");
	tenant_relation = chatcrypt_store_relation("tenant");
	policy->generation = 0;
	now = generation;
	if (!read_policy(chat_id, policy))
		return NULL;
	memcpy(policy->chat_id, chat_id, CC_ID_LEN);
	policy->generation = now;
	return policy;
}

bool
chatcrypt_expiry(const uint8 chat_id[CC_ID_LEN], TimestampTz created_at, TimestampTz *expires_at)
{
	const Policy *policy = policy_of(chat_id);

	if (policy == NULL || policy->keeps_for_ever)
		return false;
	*expires_at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(created_at),
														  PointerGetDatum(&policy->retention)));
	return true;
}

PG_FUNCTION_INFO_V1(chatcrypt_default_expiry);

/* default_expiry(chat uuid, created_at timestamptz): NULL for never */
Datum
chatcrypt_default_expiry(PG_FUNCTION_ARGS)
{
	TimestampTz expires_at;

	if (!chatcrypt_expiry(PG_GETARG_UUID_P(0)->data, PG_GETARG_TIMESTAMPTZ(1), &expires_at))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(expires_at);
}
