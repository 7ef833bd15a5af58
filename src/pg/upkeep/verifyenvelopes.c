/*
 * verifyenvelopes.c
 *		Opens what is supposed to open and lists what does not: check_envelope(),
 *		check_message(), verify_chat() and verify_all().
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/diagnosis.h"
#include "pg/messages/seal.h"
#include "pg/procedures/progress.h"
#include "pg/procedures/work.h"
#include "pg/store/owner.h"
#include "pg/upkeep/findings.h"

/* How many blocks are read between two looks at the clock: one megabyte. */
#define BLOCKS_AT_ONCE	((1024 * 1024) / BLCKSZ)

PG_FUNCTION_INFO_V1(chatcrypt_check_envelope);

/* check_envelope(chat any_id, message any_id, envelope bytea, aad bytea) */
Datum
chatcrypt_check_envelope(PG_FUNCTION_ARGS)
{
	ChatcryptAad aad;
	char	   *wrong;

	chatcrypt_rights_require_steward();
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_TEXT_P(cstring_to_text(chatcrypt_no_id));
	wrong = chatcrypt_diagnosis_of_envelope(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data,
											PG_GETARG_BYTEA_PP(2),
											PG_ARGISNULL(3) ? NULL :
											chatcrypt_seal_aad(&aad, PG_GETARG_BYTEA_PP(3)));
	if (wrong == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wrong));
}

PG_FUNCTION_INFO_V1(chatcrypt_check_message);

/*
 * check_message(chat uuid, message uuid, created_at timestamptz, sender text, envelope
 * bytea): the same of a row of chatcrypt.sealed_message.
 */
Datum
chatcrypt_check_message(PG_FUNCTION_ARGS)
{
	ChatcryptRowAad aad;
	char	   *wrong;

	chatcrypt_rights_require_steward();
	if (PG_ARGISNULL(4))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_TEXT_P(cstring_to_text(chatcrypt_no_id));
	wrong = chatcrypt_diagnosis_of_envelope(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data,
											PG_GETARG_BYTEA_PP(4),
											chatcrypt_binding_aad(&aad, PG_GETARG_TIMESTAMPTZ(2),
																  PG_ARGISNULL(3) ? NULL :
																  PG_GETARG_TEXT_PP(3)));
	if (wrong == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wrong));
}

/* ---------- one chat ---------- */

/* Returns the finding as chatcrypt.verification_finding would have it. */
static void
put_finding(ReturnSetInfo *result, Oid relation, const pg_uuid_t *chat_id,
			const ChatcryptFinding *finding)
{
	Datum		values[] = {
		ObjectIdGetDatum(relation), UUIDPGetDatum(chat_id), finding->values[1],
		finding->values[2], finding->values[3],
							TimestampTzGetDatum(GetCurrentTransactionStartTimestamp())
	};
	bool		nulls[] = {false, false, finding->nulls[1], finding->nulls[2], finding->nulls[3],
						   false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(chatcrypt_verify_chat);

/* verify_chat(chat_id any_id, max_findings bigint) */
Datum
chatcrypt_verify_chat(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ChatcryptScope scope = {0};
	ListCell   *place;
	ListCell   *cell;

	chatcrypt_rights_require_steward();
	scope.limit = chatcrypt_work_limit_argument(fcinfo, 1, "max_findings");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	scope.chat_id = PG_GETARG_UUID_P(0)->data;
	foreach(place, chatcrypt_registry_places(AccessShareLock))
	{
		List	   *findings;

		scope.place = lfirst(place);
		findings = chatcrypt_findings_list(&scope);
		foreach(cell, findings)
			put_finding(result, scope.place->relation, PG_GETARG_UUID_P(0), lfirst(cell));
		scope.limit -= list_length(findings);
	}
	return (Datum) 0;
}

/* ---------- everything ---------- */

static void
keep_finding(Oid relation, const ChatcryptFinding *finding)
{
	ChatcryptArg args[] = {
		{REGCLASSOID, ObjectIdGetDatum(relation), false},
		{UUIDOID, finding->values[0], finding->nulls[0]},
		{UUIDOID, finding->values[1], finding->nulls[1]},
		{INT4OID, finding->values[2], finding->nulls[2]},
		{TEXTOID, finding->values[3], finding->nulls[3]}
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.verification_finding (relation, chat_id, message_id, "
							"dek_version, reason) "
							"VALUES ($1, $2, $3, $4, $5)", args, lengthof(args));
}

/* One transaction's share of a run; subtracts its findings from the limit. */
static int64
verify_and_commit(ChatcryptScope *scope)
{
	ChatcryptOwnerScope owner;
	List	   *findings;
	ListCell   *cell;
	int64		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	findings = chatcrypt_findings_list(scope);
	found = list_length(findings);
	chatcrypt_owner_begin(&owner);
	foreach(cell, findings)
		keep_finding(scope->place->relation, lfirst(cell));
	chatcrypt_owner_end(&owner);
	PopActiveSnapshot();
	list_free_deep(findings);
	chatcrypt_work_commit();
	scope->limit -= found;
	return found;
}

static BlockNumber
blocks_of(const ChatcryptPlace *place)
{
	Relation	table = table_open(place->relation, AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(table);

	table_close(table, AccessShareLock);
	return blocks;
}

static void
nap_until(TimestampTz end)
{
	static uint32 wait_event;
	long		nap;

	while ((nap = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(nap, 1000),
						 chatcrypt_wait_event(&wait_event, "ChatcryptVerify"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The time at which a scan that began at start may have read this much. */
static TimestampTz
end_of_stretch(const ChatcryptScope *scope, TimestampTz start, int max_rate)
{
	TimestampTz megabytes = Max(scope->to / BLOCKS_AT_ONCE, scope->bytes / (1024 * 1024));

	return start + megabytes * USECS_PER_SEC / max_rate;
}

/*
 * Reads max_rate megabytes a second, each in a transaction of its own, which looks up the
 * place again: its name may belong to another table by now, and its owner may have changed.
 * A block of the table of parts stands for about a hundred blocks with their contents.
 */
static int64
verify_slowly(ChatcryptScope *scope, int max_rate)
{
	MemoryContext step_context = AllocSetContextCreate(CurrentMemoryContext,
													   "chatcrypt verify step",
													   ALLOCSET_DEFAULT_SIZES);
	const ChatcryptPlace *known = scope->place;
	BlockNumber blocks = blocks_of(scope->place);
	BlockNumber at_once = scope->place->kind == CHATCRYPT_PLACE_PARTS ? 1 : BLOCKS_AT_ONCE;
	TimestampTz start = GetCurrentTimestamp();
	int64		failed = 0;

	for (scope->from = 0; scope->from < blocks && scope->limit > 0; scope->from = scope->to)
	{
		MemoryContext previous = MemoryContextSwitchTo(step_context);

		scope->to = scope->from + Min(at_once, blocks - scope->from);
		scope->place = chatcrypt_registry_place(known, AccessShareLock);
		failed += verify_and_commit(scope);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(step_context);
		chatcrypt_progress_note("verify", NULL, scope->to, blocks);
		nap_until(end_of_stretch(scope, start, max_rate));
	}
	return failed;
}

static int64
verify_place(const ChatcryptPlace *place, int64 limit, int max_rate, ChatcryptWarming *warming)
{
	ChatcryptPlace *now;
	ChatcryptScope scope = {.limit = limit, .warming = warming};

	/* The place may have changed since it was listed, because that lock is gone. */
	now = chatcrypt_registry_place(place, AccessShareLock);
	scope.place = now;
	if (max_rate > 0)
		return verify_slowly(&scope, max_rate);
	chatcrypt_progress_note("verify", NULL, 0, CHATCRYPT_TOTAL_UNKNOWN);
	return verify_and_commit(&scope);
}

static void
forget_findings(void)
{
	ChatcryptOwnerScope owner;

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_owner_begin(&owner);
	chatcrypt_owner_execute("DELETE FROM chatcrypt.verification_finding", NULL, 0);
	chatcrypt_owner_end(&owner);
	PopActiveSnapshot();
	chatcrypt_work_commit();
}

PG_FUNCTION_INFO_V1(chatcrypt_verify_all);

/*
 * Where the key cache has room for all keys, they are unwrapped first, and parallel workers
 * find them there; otherwise the keys of each batch of rows are unwrapped before it.
 *
 * verify_all(max_rate integer, max_findings bigint, INOUT failed bigint)
 */
Datum
chatcrypt_verify_all(PG_FUNCTION_ARGS)
{
	int			max_rate = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	int64		limit = chatcrypt_work_limit_argument(fcinfo, 1, "max_findings");
	int64		failed = 0;
	ChatcryptWarming warming = {0};
	bool		all_warm;
	ListCell   *cell;
	List	   *places;

	chatcrypt_rights_require_steward();
	if (!PG_ARGISNULL(0) && max_rate < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rate must be at least 1 megabyte a second")));
	chatcrypt_work_begin(fcinfo, "chatcrypt.verify_all()");
	warming.outages.context = CurrentMemoryContext;
	places = chatcrypt_registry_places(AccessShareLock);
	forget_findings();
	all_warm = max_rate == 0 && chatcrypt_warm_all(&warming, limit);
	foreach(cell, places)
		failed += verify_place(lfirst(cell), limit, max_rate, all_warm ? NULL : &warming);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, &failed, 1);
}
