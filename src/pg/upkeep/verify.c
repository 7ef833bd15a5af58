/*
 * verify.c
 *		Opens what is supposed to open and lists what does not: check_envelope(),
 *		check_message(), verify_chat() and verify_all().
 *
 * Messages are opened by check_message() inside of a plain SELECT, so that parallel
 * workers share it.  Tables of applications are read as their owners, who may not
 * call it: their envelopes come through a cursor and are opened here, by one process.
 * In either case the plaintext goes nowhere.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/attachments/attachmentverify.h"
#include "pg/base/owner.h"
#include "pg/base/progress.h"
#include "pg/base/work.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/upkeep/registry.h"

/* One megabyte: what is read between two looks at the clock. */
#define BLOCKS_AT_ONCE	((1024 * 1024) / BLCKSZ)
#define MOST_ARGS		5
#define ROWS_AT_ONCE	100

static const char *const no_id = "no id: the chat's or the message's is null";

PG_FUNCTION_INFO_V1(chatcrypt_check_envelope);

/* check_envelope(chat any_id, message any_id, envelope bytea, aad bytea) */
Datum
chatcrypt_check_envelope(PG_FUNCTION_ARGS)
{
	ChatcryptAad aad;
	char	   *wrong;

	chatcrypt_require_steward();
	if (PG_ARGISNULL(2))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_TEXT_P(cstring_to_text(no_id));
	wrong = chatcrypt_what_is_wrong(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data,
									PG_GETARG_BYTEA_PP(2),
									PG_ARGISNULL(3) ? NULL :
									chatcrypt_aad(&aad, PG_GETARG_BYTEA_PP(3)));
	if (wrong == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wrong));
}

PG_FUNCTION_INFO_V1(chatcrypt_check_message);

/*
 * check_message(chat uuid, message uuid, created_at timestamptz, sender text, envelope
 * bytea): the same of a row of chatcrypt.message.
 */
Datum
chatcrypt_check_message(PG_FUNCTION_ARGS)
{
	ChatcryptRowAad aad;
	char	   *wrong;

	chatcrypt_require_steward();
	if (PG_ARGISNULL(4))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_TEXT_P(cstring_to_text(no_id));
	wrong = chatcrypt_what_is_wrong(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data,
									PG_GETARG_BYTEA_PP(4),
									chatcrypt_row_aad(&aad, PG_GETARG_TIMESTAMPTZ(2),
													  PG_ARGISNULL(3) ? NULL :
													  PG_GETARG_TEXT_PP(3)));
	if (wrong == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(wrong));
}

/* Which rows of a place are looked at, and how many findings are wanted. */
typedef struct Scope
{
	const ChatcryptPlace *place;
	const uint8 *chat_id;		/* NULL for all */
	BlockNumber from;			/* all blocks where both are 0 */
	BlockNumber to;
	int64		limit;
	int64		bytes;			/* out: of what was opened outside of chatcrypt.message */
} Scope;

/* What does not open: chat, message, version, reason. */
#define FINDING_COLUMNS 4

typedef struct Finding
{
	Datum		values[FINDING_COLUMNS];
	bool		nulls[FINDING_COLUMNS];
} Finding;

static const int16 finding_lengths[FINDING_COLUMNS] = {UUID_LEN, UUID_LEN, sizeof(int32), -1};

/* A statement that is being put together. */
typedef struct Statement
{
	StringInfoData sql;
	ChatcryptArg args[MOST_ARGS];
	int			nargs;
} Statement;

static void
append_condition(Statement *statement, const char *condition, Oid type, Datum value)
{
	statement->args[statement->nargs++] = (ChatcryptArg) {type, value, false};
	appendStringInfo(&statement->sql, " AND %s $%d", condition, statement->nargs);
}

static Datum
beginning_of(BlockNumber block)
{
	ItemPointer at = palloc(sizeof(ItemPointerData));

	ItemPointerSet(at, block, 0);
	return PointerGetDatum(at);
}

/* False where the place can hold nothing of the chat. */
static bool
append_scope(Statement *statement, const Scope *scope)
{
	Datum		chat_value;

	if (scope->chat_id != NULL)
	{
		if (!chatcrypt_place_chat_value(scope->place, scope->chat_id, &chat_value))
			return false;
		append_condition(statement, psprintf("%s =", scope->place->chat),
						 chatcrypt_place_id_type(scope->place->chat_type), chat_value);
	}
	if (scope->to > 0)
	{
		append_condition(statement, "ctid >=", TIDOID, beginning_of(scope->from));
		append_condition(statement, "ctid <", TIDOID, beginning_of(scope->to));
	}
	return true;
}

/* With parallel workers, where the planner likes. */
static SPIPlanPtr
prepare(const Statement *statement, Datum *values, char *nulls)
{
	Oid			types[MOST_ARGS];
	SPIPlanPtr	plan;

	for (int i = 0; i < statement->nargs; i++)
	{
		types[i] = statement->args[i].type;
		values[i] = statement->args[i].value;
		nulls[i] = statement->args[i].isnull ? 'n' : ' ';
	}
	plan = SPI_prepare_cursor(statement->sql.data, statement->nargs, types, CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/* In the given context: a copy of what is found. */
static List *
add_finding(List *findings, MemoryContext context, const Datum *values, const bool *nulls)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	Finding    *finding = palloc0(sizeof(Finding));

	for (int i = 0; i < FINDING_COLUMNS; i++)
	{
		finding->nulls[i] = nulls[i];
		if (!nulls[i])
			finding->values[i] = datumCopy(values[i], finding_lengths[i] == sizeof(int32),
										   finding_lengths[i]);
	}
	findings = lappend(findings, finding);
	MemoryContextSwitchTo(previous);
	return findings;
}

/* ---------- messages ---------- */

#define CHECK_MESSAGE \
	"chatcrypt.check_message(chat_id, message_id, created_at, sender, encrypted_message)"

static List *
find_in_messages(const Scope *scope, MemoryContext context)
{
	Statement	statement = {.nargs = 0};
	Datum		args[MOST_ARGS];
	char		arg_nulls[MOST_ARGS];
	List	   *findings = NIL;

	initStringInfo(&statement.sql);
	appendStringInfoString(&statement.sql, "SELECT chat_id, message_id, dek_version, " CHECK_MESSAGE
						   " FROM ONLY chatcrypt.message WHERE " CHECK_MESSAGE " IS NOT NULL");
	(void) append_scope(&statement, scope);
	appendStringInfo(&statement.sql, " LIMIT " INT64_FORMAT, scope->limit);
	if (SPI_execute_plan(prepare(&statement, args, arg_nulls), args, arg_nulls, true,
						 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(SPI_result));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[FINDING_COLUMNS];
		bool		nulls[FINDING_COLUMNS];

		for (int column = 0; column < FINDING_COLUMNS; column++)
			values[column] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column + 1,
										   &nulls[column]);
		findings = add_finding(findings, context, values, nulls);
	}
	return findings;
}

/* ---------- files, and tables of applications ---------- */

/* What else is read of a row. */
static const char *
more_columns(const ChatcryptPlace *place)
{
	switch (place->kind)
	{
		case CHATCRYPT_PLACE_FILES:
			return CHATCRYPT_FILE_CENSUS;
		case CHATCRYPT_PLACE_PARTS:
			return ", part, last";
		case CHATCRYPT_PLACE_MESSAGES:
		case CHATCRYPT_PLACE_REGISTERED:
			break;
	}
	return "";
}

static char *
what_is_wrong(const ChatcryptPlace *place, const pg_uuid_t *ids, const bytea *envelope,
			  HeapTuple tuple, TupleDesc desc)
{
	char	   *wrong;

	if (place->kind == CHATCRYPT_PLACE_PARTS)
		return chatcrypt_what_is_wrong_with_row_of_part(ids[0].data, ids[1].data, envelope, tuple,
														desc);
	wrong = chatcrypt_what_is_wrong(ids[0].data, ids[1].data, envelope, place->aad);
	if (wrong == NULL && place->kind == CHATCRYPT_PLACE_FILES)
		wrong = chatcrypt_what_is_wrong_with_file(ids[0].data, ids[1].data, envelope, tuple, desc);
	return wrong;
}

/*
 * A row of the cursor: chat, message, envelope, and more.  NULL where it opens; else the
 * finding is filled.
 */
static const char *
check_row(const ChatcryptPlace *place, HeapTuple tuple, TupleDesc desc, Finding *finding)
{
	const Oid	types[] = {place->chat_type, place->message_type};
	pg_uuid_t  *ids = palloc(2 * sizeof(pg_uuid_t));
	bool		isnull;
	bytea	   *envelope = DatumGetByteaPP(SPI_getbinval(tuple, desc, 3, &isnull));
	const char *wrong;

	for (int i = 0; i < 2; i++)
	{
		Datum		id = SPI_getbinval(tuple, desc, i + 1, &finding->nulls[i]);

		if (!finding->nulls[i])
			chatcrypt_place_id(types[i], id, ids[i].data);
		finding->values[i] = UUIDPGetDatum(&ids[i]);
	}
	wrong = finding->nulls[0] || finding->nulls[1] ? no_id :
		what_is_wrong(place, ids, envelope, tuple, desc);
	if (wrong == NULL)
		return NULL;
	finding->values[2] = Int32GetDatum(chatcrypt_envelope_version(envelope));
	finding->nulls[2] = DatumGetInt32(finding->values[2]) == 0;
	finding->values[3] = CStringGetTextDatum(wrong);
	finding->nulls[3] = false;
	return wrong;
}

/* As it is stored: a long one is not fetched for that. */
static int64
size_of_envelope(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	return (int64) toast_raw_datum_size(SPI_getbinval(tuple, desc, 3, &isnull));
}

/* What the cursor holds now; the memory of each row goes with the row. */
static List *
check_fetched(Scope *scope, List *findings, MemoryContext context, MemoryContext row_context)
{
	for (uint64 i = 0; i < SPI_processed && list_length(findings) < scope->limit; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		Finding		finding;

		CHECK_FOR_INTERRUPTS();
		scope->bytes += size_of_envelope(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		if (check_row(scope->place, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &finding) != NULL)
			findings = add_finding(findings, context, finding.values, finding.nulls);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(row_context);
	}
	return findings;
}

static char *
column_of(const char *column, Oid type)
{
	return psprintf("%s%s", column, type == UUIDOID ? "" : "::bigint");
}

static List *
find_in_table(Scope *scope, MemoryContext context)
{
	const ChatcryptPlace *place = scope->place;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt verify",
													  ALLOCSET_DEFAULT_SIZES);
	Statement	statement = {.nargs = 0};
	Datum		args[MOST_ARGS];
	char		arg_nulls[MOST_ARGS];
	List	   *findings = NIL;
	Portal		cursor;

	initStringInfo(&statement.sql);
	appendStringInfo(&statement.sql,
					 "SELECT %s, %s, %s%s FROM ONLY %s AS stored WHERE %s IS NOT NULL",
					 column_of(place->chat, place->chat_type),
					 column_of(place->message, place->message_type), place->envelope,
					 more_columns(place), place->table, place->envelope);
	if (!append_scope(&statement, scope))
		return NIL;
	cursor = SPI_cursor_open(NULL, prepare(&statement, args, arg_nulls), args, arg_nulls, true);
	do
	{
		SPI_freetuptable(SPI_tuptable);
		SPI_cursor_fetch(cursor, true, ROWS_AT_ONCE);
		findings = check_fetched(scope, findings, context, row_context);
	} while (SPI_processed > 0 && list_length(findings) < scope->limit);
	SPI_cursor_close(cursor);
	return findings;
}

/* What does not open, in the current memory context. */
static List *
find_unopened(Scope *scope)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope owner;
	List	   *findings;

	chatcrypt_owner_begin_as(&owner, scope->place->owner);
	findings = scope->place->kind == CHATCRYPT_PLACE_MESSAGES ? find_in_messages(scope, context) :
		find_in_table(scope, context);
	chatcrypt_owner_end(&owner);
	MemoryContextSwitchTo(context);
	return findings;
}

/* ---------- one chat ---------- */

/* A finding but for the chat's id, which verify_chat() was given. */
static void
put_finding(ReturnSetInfo *result, Oid relation, const Finding *finding)
{
	Datum		values[] = {ObjectIdGetDatum(relation), finding->values[1], finding->values[2],
							finding->values[3]};
	bool		nulls[] = {false, finding->nulls[1], finding->nulls[2], finding->nulls[3]};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(chatcrypt_verify_chat);

/* verify_chat(chat any_id, "limit" bigint) */
Datum
chatcrypt_verify_chat(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Scope		scope = {0};
	ListCell   *place;
	ListCell   *cell;

	chatcrypt_require_steward();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	scope.chat_id = PG_GETARG_UUID_P(0)->data;
	scope.limit = PG_ARGISNULL(1) ? PG_INT64_MAX : Max(PG_GETARG_INT64(1), 0);
	foreach(place, chatcrypt_places(AccessShareLock))
	{
		List	   *findings;

		scope.place = lfirst(place);
		findings = find_unopened(&scope);
		foreach(cell, findings)
			put_finding(result, scope.place->relation, lfirst(cell));
		scope.limit -= list_length(findings);
	}
	return (Datum) 0;
}

/* ---------- everything ---------- */

static void
keep_finding(Oid relation, const Finding *finding)
{
	ChatcryptArg args[] = {
		{REGCLASSOID, ObjectIdGetDatum(relation), false},
		{UUIDOID, finding->values[0], finding->nulls[0]},
		{UUIDOID, finding->values[1], finding->nulls[1]},
		{INT4OID, finding->values[2], finding->nulls[2]},
		{TEXTOID, finding->values[3], finding->nulls[3]}
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.unopened (relation, chat_id, message_id, "
							"dek_version, reason) "
							"VALUES ($1, $2, $3, $4, $5)", args, lengthof(args));
}

/* One transaction's share of a run; takes what it found off the limit. */
static int64
verify_and_commit(Scope *scope)
{
	ChatcryptOwnerScope owner;
	List	   *findings;
	ListCell   *cell;
	int64		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	findings = find_unopened(scope);
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

/* When so much may have been read that begins at start. */
static TimestampTz
end_of_stretch(const Scope *scope, TimestampTz start, int max_rate)
{
	TimestampTz megabytes = Max(scope->to / BLOCKS_AT_ONCE, scope->bytes / (1024 * 1024));

	return start + megabytes * USECS_PER_SEC / max_rate;
}

/*
 * At max_rate megabytes a second, each in a transaction of its own, which finds the
 * place anew: its name may be another table's by now, and its owner another role.  A
 * block of the table of parts stands for a hundred of them.
 */
static int64
verify_slowly(Scope *scope, int max_rate)
{
	MemoryContext step_context = AllocSetContextCreate(CurrentMemoryContext, "chatcrypt verify step",
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
		scope->place = chatcrypt_place(known, AccessShareLock);
		failed += verify_and_commit(scope);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(step_context);
		chatcrypt_progress_note("verify", NULL, scope->to, blocks);
		nap_until(end_of_stretch(scope, start, max_rate));
	}
	return failed;
}

static int64
verify_place(const ChatcryptPlace *place, int64 limit, int max_rate)
{
	ChatcryptPlace *now;
	Scope		scope = {.limit = limit};

	/* It may have been changed since, and the lock of then is gone. */
	now = chatcrypt_place(place, AccessShareLock);
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
	chatcrypt_owner_execute("DELETE FROM chatcrypt.unopened", NULL, 0);
	chatcrypt_owner_end(&owner);
	PopActiveSnapshot();
	chatcrypt_work_commit();
}

PG_FUNCTION_INFO_V1(chatcrypt_verify_all);

/* verify_all(max_rate integer, "limit" bigint, INOUT failed bigint) */
Datum
chatcrypt_verify_all(PG_FUNCTION_ARGS)
{
	int			max_rate = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	int64		limit = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	int64		failed = 0;
	ListCell   *cell;
	List	   *places;

	chatcrypt_require_steward();
	if ((!PG_ARGISNULL(0) && max_rate < 1) || limit < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the rate is at least 1 megabyte a second, and the limit not negative")));
	chatcrypt_work_begin(fcinfo, "chatcrypt.verify_all()");
	places = chatcrypt_places(AccessShareLock);
	forget_findings();
	foreach(cell, places)
		failed += verify_place(lfirst(cell), limit, max_rate);
	chatcrypt_progress_end();
	return chatcrypt_work_end(fcinfo, &failed, 1);
}
