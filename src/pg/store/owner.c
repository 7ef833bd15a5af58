/*
 * owner.c
 *		SQL that the extension runs on its own tables: see owner.h.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "pg/compat.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

#define MOST_ARGS 9

static void
set_here(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

static void
begin_as(ChatcryptOwnerScope *scope, Oid user)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(user, scope->security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	scope->guc_level = NewGUCNestLevel();
	set_here("search_path", "pg_catalog, pg_temp");
}

void
chatcrypt_owner_begin(ChatcryptOwnerScope *scope)
{
	begin_as(scope, chatcrypt_relations_owner());
}

/* Does a foreign key of a table in another schema refer to this table of ours? */
static bool
is_referred_to(const char *name)
{
	Relation	table = table_open(chatcrypt_relations_find(name), AccessShareLock);
	const TriggerDesc *triggers = table->trigdesc;
	bool		found = false;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers && !found; i++)
		found = RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_PK &&
			get_rel_namespace(triggers->triggers[i].tgconstrrelid) != RelationGetNamespace(table);
	table_close(table, AccessShareLock);
	return found;
}

void
chatcrypt_owner_begin_deleting(ChatcryptOwnerScope *scope)
{
	if (is_referred_to("sealed_message") || is_referred_to("sealed_attachment") ||
		is_referred_to("chat")) chatcrypt_owner_defer_nothing();
	chatcrypt_owner_begin(scope);
}

void
chatcrypt_owner_defer_nothing(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not set constraints: %s", SPI_result_code_string(SPI_result));
	SPI_finish();
}

void
chatcrypt_owner_begin_as(ChatcryptOwnerScope *scope, Oid table_owner)
{
	begin_as(scope, table_owner);
	set_here("row_security", "off");
	chatcrypt_owner_show_sealed();
}

void
chatcrypt_owner_end(ChatcryptOwnerScope *scope)
{
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
	SPI_finish();
}

void
chatcrypt_owner_show_sealed(void)
{
	set_here("chatcrypt.show", "sealed");
}

void
chatcrypt_owner_by_index(void)
{
	set_here("enable_seqscan", "off");
	set_here("enable_hashjoin", "off");
	set_here("enable_mergejoin", "off");
}

void
chatcrypt_owner_without_loops(void)
{
	set_here("enable_nestloop", "off");
}

ChatcryptArg
chatcrypt_owner_bytes_arg(const void *bytes, Size len)
{
	bytea	   *value = palloc(VARHDRSZ + len);

	SET_VARSIZE(value, VARHDRSZ + len);
	memcpy(VARDATA(value), bytes, len);
	return (ChatcryptArg) {BYTEAOID, PointerGetDatum(value), false};
}

/* Fills the arrays that SPI takes. */
static void
take_apart(const ChatcryptArg *args, int nargs, Oid *types, Datum *values, char *nulls)
{
	Assert(nargs <= MOST_ARGS);
	for (int i = 0; i < nargs; i++)
	{
		types[i] = args[i].type;
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
}

uint64
chatcrypt_owner_execute(const char *sql, const ChatcryptArg *args, int nargs)
{
	Oid			types[MOST_ARGS];
	Datum		values[MOST_ARGS] = {0};
	char		nulls[MOST_ARGS] = {0};
	int			guc_level = NewGUCNestLevel();
	int			result;

	take_apart(args, nargs, types, values, nulls);
	result = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	AtEOXact_GUC(false, guc_level);
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

uint64
chatcrypt_owner_execute_on_latest(const char *sql, const ChatcryptArg *args, int nargs)
{
	Oid			types[MOST_ARGS];
	Datum		values[MOST_ARGS] = {0};
	char		nulls[MOST_ARGS] = {0};
	SPIPlanPtr	plan;
	int			guc_level = NewGUCNestLevel();
	int			result;

	take_apart(args, nargs, types, values, nulls);
	plan = SPI_prepare(sql, nargs, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	result = SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, false,
								  true, 0);
	AtEOXact_GUC(false, guc_level);
	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

Datum
chatcrypt_owner_value(bool *isnull)
{
	if (SPI_processed == 0 || SPI_tuptable == NULL)
	{
		*isnull = true;
		return (Datum) 0;
	}
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
}

Datum
chatcrypt_owner_column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

/* The array is detoasted in SPI's memory context, and then copied out of it. */
ArrayType *
chatcrypt_owner_array(int number)
{
	bool		isnull;
	Datum		array = chatcrypt_owner_column(0, number, &isnull);

	Assert(!isnull);
	array = PointerGetDatum(DatumGetArrayTypeP(array));
	return (ArrayType *) DatumGetPointer(SPI_datumTransfer(array, false, -1));
}

/* The columns of the statement must have the types that the function is declared with. */
void
chatcrypt_owner_return_rows(FunctionCallInfo fcinfo, const char *sql, const ChatcryptArg *args,
							int nargs)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ChatcryptOwnerScope scope;

	InitMaterializedSRF(fcinfo, 0);
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute(sql, args, nargs);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	chatcrypt_owner_end(&scope);
}

ChatcryptArg
chatcrypt_owner_caller(const ChatcryptOwnerScope *scope)
{
	return (ChatcryptArg) {TEXTOID, CStringGetTextDatum(GetUserNameFromId(scope->user, false)),
						   false};
}
