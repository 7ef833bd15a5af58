/*
 * findings.c
 *		Opens the rows of a place and lists what does not open: see findings.h.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/envelope.h"
#include "pg/attachments/attachmentverify.h"
#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/diagnosis.h"
#include "pg/messages/seal.h"
#include "pg/store/owner.h"
#include "pg/upkeep/findings.h"

#define MOST_ARGS		5
#define ROWS_AT_ONCE	256			/* and so at most that many keys: one full call to the KMS */

#define SHARE_OF_CACHE	8		/* in a full cache, newcomers have a quarter of each set */

const char *const chatcrypt_no_id = "no id: the chat's or the message's is null";

static const int16 finding_lengths[CHATCRYPT_FINDING_COLUMNS] = {UUID_LEN, UUID_LEN, sizeof(int32),
																 -1};

/* A statement that is being built. */
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
append_scope(Statement *statement, const ChatcryptScope *scope)
{
	Datum		chat_value;

	if (scope->chat_id != NULL)
	{
		if (!chatcrypt_registry_chat_value(scope->place, scope->chat_id, &chat_value))
			return false;
		append_condition(statement, psprintf("%s =", scope->place->chat),
						 chatcrypt_registry_id_type(scope->place->chat_type), chat_value);
	}
	if (scope->to > 0)
	{
		append_condition(statement, "ctid >=", TIDOID, beginning_of(scope->from));
		append_condition(statement, "ctid <", TIDOID, beginning_of(scope->to));
	}
	return true;
}

/* Prepares the statement; the planner may choose parallel workers. */
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

/* Adds a copy of the finding, allocated in the given context. */
static List *
add_finding(List *findings, MemoryContext context, const Datum *values, const bool *nulls)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	ChatcryptFinding *finding = palloc0(sizeof(ChatcryptFinding));

	for (int i = 0; i < CHATCRYPT_FINDING_COLUMNS; i++)
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
find_in_messages(const ChatcryptScope *scope, MemoryContext context)
{
	Statement	statement = {.nargs = 0};
	Datum		args[MOST_ARGS];
	char		arg_nulls[MOST_ARGS];
	List	   *findings = NIL;

	initStringInfo(&statement.sql);
	appendStringInfoString(&statement.sql, "SELECT chat_id, message_id, dek_version, " CHECK_MESSAGE
						   " FROM ONLY chatcrypt.sealed_message WHERE " CHECK_MESSAGE " IS NOT NULL");
	(void) append_scope(&statement, scope);
	appendStringInfo(&statement.sql, " LIMIT " INT64_FORMAT, scope->limit);
	if (SPI_execute_plan(prepare(&statement, args, arg_nulls), args, arg_nulls, true,
						 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(SPI_result));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[CHATCRYPT_FINDING_COLUMNS];
		bool		nulls[CHATCRYPT_FINDING_COLUMNS];

		for (int column = 0; column < CHATCRYPT_FINDING_COLUMNS; column++)
			values[column] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column + 1,
										   &nulls[column]);
		findings = add_finding(findings, context, values, nulls);
	}
	return findings;
}

/* ---------- files, and tables of applications ---------- */

/* The further columns that are read of a row. */
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
			return ", created_at, sender, dek_version";
		case CHATCRYPT_PLACE_REGISTERED:
		case CHATCRYPT_PLACE_PROTECTED:
			break;
	}
	return "";
}

static char *
what_is_wrong_with_message(const pg_uuid_t *ids, const bytea *envelope, HeapTuple tuple,
						   TupleDesc desc)
{
	ChatcryptRowAad aad;
	bool		no_sender;
	bool		isnull;
	Datum		created_at = SPI_getbinval(tuple, desc, 4, &isnull);
	Datum		sender = SPI_getbinval(tuple, desc, 5, &no_sender);

	return chatcrypt_diagnosis_of_envelope(ids[0].data, ids[1].data, envelope,
										   chatcrypt_binding_aad(&aad,
																 DatumGetTimestampTz(created_at),
																 no_sender ? NULL :
																 DatumGetTextPP(sender)));
}

static char *
what_is_wrong(const ChatcryptPlace *place, const pg_uuid_t *ids, const bytea *envelope,
			  HeapTuple tuple, TupleDesc desc)
{
	char	   *wrong;

	if (place->kind == CHATCRYPT_PLACE_PARTS)
		return chatcrypt_attachmentverify_part(ids[0].data, ids[1].data, envelope, tuple,
											   desc);
	if (place->kind == CHATCRYPT_PLACE_MESSAGES)
		return what_is_wrong_with_message(ids, envelope, tuple, desc);
	wrong = chatcrypt_diagnosis_of_envelope(ids[0].data, ids[1].data, envelope, place->aad);
	if (wrong == NULL && place->kind == CHATCRYPT_PLACE_FILES)
		wrong = chatcrypt_attachmentverify_file(ids[0].data, ids[1].data, envelope, tuple, desc);
	return wrong;
}

/*
 * Checks a row of the cursor: chat, message, envelope, and more.  Returns NULL where it opens;
 * else what is wrong, and fills in the finding.
 */
static const char *
check_row(const ChatcryptPlace *place, HeapTuple tuple, TupleDesc desc, ChatcryptFinding *finding)
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
			chatcrypt_registry_id(types[i], id, ids[i].data);
		finding->values[i] = UUIDPGetDatum(&ids[i]);
	}
	wrong = finding->nulls[0] || finding->nulls[1] ? chatcrypt_no_id :
		what_is_wrong(place, ids, envelope, tuple, desc);
	if (wrong == NULL)
		return NULL;
	finding->values[2] = place->kind == CHATCRYPT_PLACE_MESSAGES ?
		SPI_getbinval(tuple, desc, 6, &isnull) : Int32GetDatum(chatcrypt_seal_version(envelope));
	finding->nulls[2] = DatumGetInt32(finding->values[2]) == 0;
	finding->values[3] = CStringGetTextDatum(wrong);
	finding->nulls[3] = false;
	return wrong;
}

/* The size of the envelope, read without fetching a toasted one. */
static int64
size_of_envelope(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	return (int64) toast_raw_datum_size(SPI_getbinval(tuple, desc, 3, &isnull));
}

/* Reads which key a row's envelope names, fetching only its header; false where it names none. */
static bool
named_key(const ChatcryptPlace *place, HeapTuple tuple, TupleDesc desc, ChatcryptNamedKey *key)
{
	bool		isnull;
	Datum		chat_id = SPI_getbinval(tuple, desc, 1, &isnull);
	struct varlena *header;
	cc_envelope_info info;

	if (isnull)
		return false;
	header = PG_DETOAST_DATUM_SLICE(SPI_getbinval(tuple, desc, 3, &isnull), 0, CC_HEADER_LEN);
	if (cc_envelope_inspect((const uint8 *) VARDATA_ANY(header),
							size_of_envelope(tuple, desc) - VARHDRSZ, &info) != CC_OK ||
		info.dek_version > PG_INT32_MAX)
		return false;
	chatcrypt_registry_id(place->chat_type, chat_id, key->chat_id);
	key->purpose = info.suite == CC_SUITE_CONVERSATION ? CHATCRYPT_PURPOSE_CONVERSATION :
		CHATCRYPT_PURPOSE_DATA;
	key->version = info.dek_version;
	return true;
}

/* Warms the keys of the rows that the cursor has fetched. */
static void
warm_fetched(const ChatcryptScope *scope, MemoryContext batch_context)
{
	MemoryContext previous = MemoryContextSwitchTo(batch_context);
	ChatcryptNamedKey *keys = palloc0(sizeof(ChatcryptNamedKey) * Max(SPI_processed, 1));
	int			nkeys = 0;

	for (uint64 i = 0; i < SPI_processed; i++)
		nkeys += named_key(scope->place, SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
						   &keys[nkeys]);
	chatcrypt_warm_named(scope->warming, keys, nkeys);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(batch_context);
}

/* Checks the rows that the cursor has fetched; the memory of each row is freed after it. */
static List *
check_fetched(ChatcryptScope *scope, List *findings, MemoryContext context,
			  MemoryContext row_context)
{
	for (uint64 i = 0; i < SPI_processed && list_length(findings) < scope->limit; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(row_context);
		ChatcryptFinding finding;

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
find_in_table(ChatcryptScope *scope, MemoryContext context)
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
					 "SELECT %s, %s, %s%s "
					 "FROM ONLY %s AS stored "
					 "WHERE %s IS NOT NULL",
					 column_of(place->chat, place->chat_type),
					 column_of(place->message, place->message_type), place->envelope,
					 more_columns(place), place->table, place->column);
	if (!append_scope(&statement, scope))
		return NIL;
	cursor = SPI_cursor_open(NULL, prepare(&statement, args, arg_nulls), args, arg_nulls, true);
	do
	{
		SPI_freetuptable(SPI_tuptable);
		SPI_cursor_fetch(cursor, true, Min(ROWS_AT_ONCE, chatcrypt_cache_size / SHARE_OF_CACHE));
		if (scope->warming != NULL)
			warm_fetched(scope, row_context);
		findings = check_fetched(scope, findings, context, row_context);
	} while (SPI_processed > 0 && list_length(findings) < scope->limit);
	SPI_cursor_close(cursor);
	return findings;
}

List *
chatcrypt_findings_list(ChatcryptScope *scope)
{
	MemoryContext context = CurrentMemoryContext;
	ChatcryptOwnerScope owner;
	List	   *findings;

	chatcrypt_owner_begin_as(&owner, scope->place->owner);
	findings = scope->place->kind == CHATCRYPT_PLACE_MESSAGES && scope->warming == NULL ?
		find_in_messages(scope, context) : find_in_table(scope, context);
	chatcrypt_owner_end(&owner);
	MemoryContextSwitchTo(context);
	return findings;
}
