/*
 * messages.c
 *		The trigger behind INSERT and UPDATE of the view chatcrypt.messages, and
 *		put_message(), its upsert.
 *
 * DELETE is the view's own automatic one, so that a row that nobody can read can
 * still be deleted.
 *
 * INSTEAD OF triggers lose updates: the row that the statement read may have been
 * changed by the time it is written.  So an UPDATE is planned with a lock on its rows
 * (viewplan.c); where it is not, as in MERGE, the trigger locks the very row version
 * that its snapshot shows, and raises 40001 where a newer one exists.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/statement.h"
#include "pg/base/store.h"
#include "pg/chats/retention.h"
#include "pg/compat.h"
#include "pg/messages/messages.h"
#include "pg/messages/rowwriter.h"
#include "pg/messages/seal.h"
#include "pg/messages/viewplan.h"
#include "pg/search/search.h"
#include "pg/search/searchfeed.h"

static ExecutorRun_hook_type previous_executor_run;
static bool updating;
static bool some_did_not_open;	/* in the innermost query */

bool
chatcrypt_messages_updating(void)
{
	return updating;
}

void
chatcrypt_messages_note_unopened(void)
{
	some_did_not_open = true;
}

/* Is this query an UPDATE, or a MERGE, of our view?  Almost always the first test says no. */
static bool
updates_the_view(QueryDesc *query)
{
	const ModifyTable *plan;
	RangeTblEntry *target;

	if (query->operation != CMD_UPDATE && query->operation != CMD_MERGE)
		return false;
	if (!IsA(query->plannedstmt->planTree, ModifyTable))
		return false;
	plan = (const ModifyTable *) query->plannedstmt->planTree;
	target = rt_fetch(linitial_int(plan->resultRelations), query->plannedstmt->rtable);
	return target->relkind == RELKIND_VIEW && chatcrypt_is_messages_view(target->relid);
}

static void
run_query(CHATCRYPT_EXECUTOR_RUN_PARAMETERS)
{
	bool		outer = updating;
	bool		outer_did_not_open = some_did_not_open;
	bool		inner = updates_the_view(queryDesc);

	if (outer == inner)
	{
		chatcrypt_call_executor_run(previous_executor_run);
		return;
	}
	PG_TRY();
	{
		updating = inner;
		some_did_not_open = false;
		chatcrypt_call_executor_run(previous_executor_run);
	}
	PG_FINALLY();
	{
		updating = outer;
		some_did_not_open = outer_did_not_open;
	}
	PG_END_TRY();
}

void
chatcrypt_messages_install_hooks(void)
{
	previous_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = run_query;
}

typedef ChatcryptMessageRow Row;

static void
refuse_null(const Row *row, int column, const char *name)
{
	if (row->nulls[column])
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column \"%s\" of view \"messages\"", name)));
}

static void
refuse_dek_version(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_GENERATED_ALWAYS),
			 errmsg("column \"dek_version\" of view \"messages\" is set by the server")));
}

/* Puts an envelope, and its key version, where the plaintext was. */
static void
put_envelope(Row *row, bytea *envelope)
{
	row->values[MESSAGE_BODY] = PointerGetDatum(envelope);
	row->values[MESSAGE_DEK_VERSION] = Int32GetDatum(chatcrypt_fresh_envelope_version(envelope));
	row->nulls[MESSAGE_DEK_VERSION] = false;
}

static void
seal_body(Row *row)
{
	if (row->nulls[MESSAGE_BODY])
	{
		row->nulls[MESSAGE_DEK_VERSION] = true;
		return;
	}
	put_envelope(row, chatcrypt_seal_text(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
										  DatumGetUUIDP(row->values[MESSAGE_ID])->data,
										  DatumGetTextPP(row->values[MESSAGE_BODY]), NULL));
}

/*
 * Runs one of this file's statements as the current user; the plan is kept.  returned
 * may be NULL, and is for a statement that returns one value, which is passed by value.
 */
static uint64
run_statement(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types, const Datum *values,
			  const bool *isnull, Datum *returned)
{
	ChatcryptArg args[MESSAGE_COLUMNS + 1];
	bool		returned_null;
	uint64		processed;

	for (int i = 0; i < nargs; i++)
		args[i] = (ChatcryptArg) {types[i], values[i], isnull[i]};
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	processed = chatcrypt_statement_run(plan, sql, args, nargs, false);
	if (returned != NULL && processed > 0)
		*returned = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &returned_null);
	SPI_finish();
	return processed;
}

static const Oid column_types[MESSAGE_COLUMNS + 1] = {
	UUIDOID, UUIDOID, TEXTOID, BYTEAOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID
};

static void
insert_by_sql(Row *row)
{
	static SPIPlanPtr plan;

	run_statement(&plan,
				  "INSERT INTO chatcrypt.message (message_id, chat_id, sender, encrypted_message, "
				  "dek_version, "
				  "created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
				  MESSAGE_COLUMNS, column_types, row->values, row->nulls, NULL);
}

/* Whether a query's rows can be written directly is found out with the first of them. */
static ChatcryptRowWriter *
writer_of(ChatcryptViewWrite *query, MemoryContext memory)
{
	if (!query->sought_writer)
		query->writer = chatcrypt_rowwriter_open(memory);
	query->sought_writer = true;
	return query->writer;
}

static void
set_expiry(Row *row)
{
	TimestampTz expires_at;

	if (!chatcrypt_expiry(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
						  DatumGetTimestampTz(row->values[MESSAGE_CREATED_AT]), &expires_at))
		return;
	row->values[MESSAGE_EXPIRES_AT] = TimestampTzGetDatum(expires_at);
	row->nulls[MESSAGE_EXPIRES_AT] = false;
}

static void
fill_defaults(Row *row)
{
	refuse_null(row, MESSAGE_CHAT_ID, "chat_id");
	if (!row->nulls[MESSAGE_DEK_VERSION])
		refuse_dek_version();
	if (row->nulls[MESSAGE_ID])
	{
		row->values[MESSAGE_ID] = DirectFunctionCall1(chatcrypt_new_message_id, (Datum) 0);
		row->nulls[MESSAGE_ID] = false;
	}
	if (row->nulls[MESSAGE_CREATED_AT])
	{
		row->values[MESSAGE_CREATED_AT] =
			TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		row->nulls[MESSAGE_CREATED_AT] = false;
	}
	if (row->nulls[MESSAGE_EXPIRES_AT])
		set_expiry(row);
}

/*
 * The one place where a new message reaches the table, by a writer or, where there is
 * none, by SQL.
 */
static void
store_message(ChatcryptRowWriter *writer, Row *stored)
{
	if (writer != NULL)
		chatcrypt_rowwriter_insert(writer, stored->values, stored->nulls);
	else
		insert_by_sql(stored);
}

/* The row as RETURNING shows it: with the plaintext that was given. */
static HeapTuple
row_for_returning(TupleDesc view, const Row *given, const Row *stored)
{
	Row			row = *stored;

	row.values[MESSAGE_BODY] = given->values[MESSAGE_BODY];
	row.nulls[MESSAGE_BODY] = given->nulls[MESSAGE_BODY];
	return heap_form_tuple(view, row.values, row.nulls);
}

/* The row is stored, and search follows. */
static void
note_written(const Row *stored, const Row *given)
{
	chatcrypt_search_written(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
							 DatumGetUUIDP(stored->values[MESSAGE_ID])->data,
							 DatumGetTimestampTz(stored->values[MESSAGE_CREATED_AT]),
							 given->nulls[MESSAGE_BODY] ? NULL :
							 DatumGetTextPP(given->values[MESSAGE_BODY]));
}

static HeapTuple
insert_message(TriggerData *trigger, FmgrInfo *function)
{
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	ChatcryptViewWrite *query = chatcrypt_view_write(function);
	Row			given;
	Row			stored;

	heap_deform_tuple(trigger->tg_trigtuple, view, given.values, given.nulls);
	stored = given;
	fill_defaults(&stored);
	seal_body(&stored);
	store_message(writer_of(query, function->fn_mcxt), &stored);
	note_written(&stored, &given);
	return row_for_returning(view, &given, &stored);
}

/*
 * By SQL: a writer lives as long as a query, and who calls this may live longer, such
 * as an expression of PL/pgSQL across the savepoints of its transaction.
 */
void
chatcrypt_insert_message(const Row *given, bytea *envelope, pg_uuid_t *id)
{
	Row			stored = *given;

	fill_defaults(&stored);
	if (envelope != NULL)
		put_envelope(&stored, envelope);
	else
		seal_body(&stored);
	store_message(NULL, &stored);
	note_written(&stored, given);
	*id = *DatumGetUUIDP(stored.values[MESSAGE_ID]);
}

/*
 * Locks the row version that the statement read.  False where this very statement
 * has changed it already, which an UPDATE of a table passes over too.
 */
static bool
lock_row_as_read(Datum message_id)
{
	Relation	table = table_open(chatcrypt_store_relation("message"), RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TM_FailureData failure;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	TM_Result	result = TM_SelfModified;

	ScanKeyInit(&key, MESSAGE_ID + 1, BTEqualStrategyNumber, F_UUID_EQ, message_id);
	scan = systable_beginscan(table, chatcrypt_store_relation("message_pkey"), true,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = table_tuple_lock(table, &tuple->t_self, GetActiveSnapshot(), slot,
								  GetActiveSnapshot()->curcid, LockTupleNoKeyExclusive,
								  LockWaitBlock, 0, &failure);
	systable_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, NoLock);

	if (result == TM_Updated || result == TM_Deleted)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not update the message: another session changed it at the same time"),
				 errhint("Retry the transaction.")));
	return result == TM_Ok;
}

static bool
is_distinct(const Row *a, const Row *b, int column, bool by_value, int length)
{
	if (a->nulls[column] || b->nulls[column])
		return a->nulls[column] != b->nulls[column];
	return !datum_image_eq(a->values[column], b->values[column], by_value, length);
}

static void
update_with_body(Row *row, Datum old_id)
{
	static SPIPlanPtr plan;
	Datum		values[MESSAGE_COLUMNS + 1];
	bool		nulls[MESSAGE_COLUMNS + 1] = {false};

	memcpy(values, row->values, sizeof(row->values));
	memcpy(nulls, row->nulls, sizeof(row->nulls));
	values[MESSAGE_COLUMNS] = old_id;
	run_statement(&plan,
				  "UPDATE chatcrypt.message SET message_id = $1, chat_id = $2, sender = $3, "
				  "encrypted_message = $4, "
				  "dek_version = $5, created_at = $6, expires_at = $7 "
				  "WHERE message_id OPERATOR(pg_catalog.=) $8",
				  MESSAGE_COLUMNS + 1, column_types, values, nulls, NULL);
}

static void
update_without_body(Row *row)
{
	static const Oid types[] = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	static SPIPlanPtr plan;
	Datum		values[] = {
		row->values[MESSAGE_ID], row->values[MESSAGE_SENDER],
		row->values[MESSAGE_CREATED_AT], row->values[MESSAGE_EXPIRES_AT]
	};
	bool		nulls[] = {
		false, row->nulls[MESSAGE_SENDER],
		row->nulls[MESSAGE_CREATED_AT], row->nulls[MESSAGE_EXPIRES_AT]
	};

	run_statement(&plan,
				  "UPDATE chatcrypt.message SET sender = $2, created_at = $3, expires_at = $4 "
				  "WHERE message_id OPERATOR(pg_catalog.=) $1",
				  lengthof(values), types, values, nulls, NULL);
}

/* A body that moves to another id must be sealed anew, and so be readable. */
static void
refuse_to_move_unreadable(const Row *old)
{
	if (old->nulls[MESSAGE_BODY] && !old->nulls[MESSAGE_DEK_VERSION])
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
				 errmsg("the message does not open, and so cannot get another id or chat")));
}

/*
 * The old row's body is NULL where it does not open, and so is one that a subquery of
 * the same statement reads: that must not take the place of a body that is there.
 */
static void
refuse_to_erase_unread(const Row *old, const Row *given)
{
	if (old->nulls[MESSAGE_BODY] || !given->nulls[MESSAGE_BODY] || !some_did_not_open)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
			 errmsg("a body is not set to NULL in a statement that read a message that does not open"),
			 errhint("Leave out the message that does not open.")));
}

/*
 * A message that does not open keeps what search knows of it, whatever else is changed:
 * nothing better can be made.
 */
static bool
changes_search(const Row *old, const Row *given, bool moved)
{
	if (moved || is_distinct(old, given, MESSAGE_BODY, false, -1))
		return true;
	return is_distinct(old, given, MESSAGE_CREATED_AT, true, sizeof(TimestampTz)) &&
		(!given->nulls[MESSAGE_BODY] || given->nulls[MESSAGE_DEK_VERSION]);
}

static HeapTuple
update_message(TriggerData *trigger, FmgrInfo *function)
{
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	Row			old;
	Row			given;
	Row			stored;
	bool		moved;

	heap_deform_tuple(trigger->tg_trigtuple, view, old.values, old.nulls);
	heap_deform_tuple(trigger->tg_newtuple, view, given.values, given.nulls);
	refuse_null(&given, MESSAGE_ID, "message_id");
	refuse_null(&given, MESSAGE_CHAT_ID, "chat_id");
	if (is_distinct(&old, &given, MESSAGE_DEK_VERSION, true, sizeof(int32)))
		refuse_dek_version();
	if (!chatcrypt_view_write(function)->rows_are_locked &&
		!lock_row_as_read(old.values[MESSAGE_ID]))
		return NULL;

	refuse_to_erase_unread(&old, &given);
	stored = given;
	moved = is_distinct(&old, &given, MESSAGE_ID, false, UUID_LEN) ||
		is_distinct(&old, &given, MESSAGE_CHAT_ID, false, UUID_LEN);
	if (moved)
		refuse_to_move_unreadable(&old);
	if (moved || is_distinct(&old, &given, MESSAGE_BODY, false, -1))
	{
		seal_body(&stored);
		update_with_body(&stored, old.values[MESSAGE_ID]);
	}
	else
		update_without_body(&stored);
	if (moved)
		chatcrypt_search_removed(DatumGetUUIDP(old.values[MESSAGE_CHAT_ID])->data,
								 DatumGetUUIDP(old.values[MESSAGE_ID])->data);
	if (changes_search(&old, &given, moved))
		note_written(&stored, &given);
	else
		chatcrypt_feed_note(DatumGetUUIDP(stored.values[MESSAGE_CHAT_ID])->data,
							DatumGetUUIDP(stored.values[MESSAGE_ID])->data);
	return row_for_returning(view, &given, &stored);
}

/* Whoever gives the trigger to another view, or columns to ours, finds no memory overwritten. */
static void
check_columns(TupleDesc view)
{
	bool		known = view->natts == MESSAGE_COLUMNS;

	for (int i = 0; known && i < MESSAGE_COLUMNS; i++)
		known = TupleDescAttr(view, i)->atttypid == (i == MESSAGE_BODY ? TEXTOID : column_types[i]);
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt.write_message() serves views with the columns of chatcrypt.messages alone")));
}

PG_FUNCTION_INFO_V1(chatcrypt_write_message);

/* INSTEAD OF INSERT OR UPDATE ON chatcrypt.messages, for each row. */
Datum
chatcrypt_write_message(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_INSTEAD(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt.write_message() must be called as the trigger of chatcrypt.messages")));
	check_columns(RelationGetDescr(trigger->tg_relation));
	chatcrypt_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return PointerGetDatum(insert_message(trigger, fcinfo->flinfo));
	return PointerGetDatum(update_message(trigger, fcinfo->flinfo));
}

/*
 * Inserts, or gives a message of the same chat another body; false where the id is
 * another chat's.
 */
static bool
upsert(Row *row)
{
	static SPIPlanPtr plan;

	return run_statement(&plan,
						 "INSERT INTO chatcrypt.message AS m (message_id, chat_id, sender, "
						 "encrypted_message, dek_version, "
						 "created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) "
						 "ON CONFLICT (message_id) DO UPDATE "
						 "SET encrypted_message = excluded.encrypted_message, "
						 "dek_version = excluded.dek_version "
						 "WHERE m.chat_id OPERATOR(pg_catalog.=) excluded.chat_id "
						 "RETURNING m.created_at",
						 MESSAGE_COLUMNS, column_types, row->values, row->nulls,
						 &row->values[MESSAGE_CREATED_AT]) > 0;
}

PG_FUNCTION_INFO_V1(chatcrypt_put_message);

/*
 * put_message(chat any_id, message any_id, body, sender, created_at, expires_at): true, or
 * NULL where it did nothing.
 */
Datum
chatcrypt_put_message(PG_FUNCTION_ARGS)
{
	static const int columns[] = {
		MESSAGE_CHAT_ID, MESSAGE_ID, MESSAGE_BODY,
		MESSAGE_SENDER, MESSAGE_CREATED_AT, MESSAGE_EXPIRES_AT
	};
	Row			given;
	Row			stored;

	chatcrypt_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	given.nulls[MESSAGE_DEK_VERSION] = true;
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		given.nulls[columns[i]] = PG_ARGISNULL(i);
		given.values[columns[i]] = PG_GETARG_DATUM(i);
	}
	refuse_null(&given, MESSAGE_ID, "message_id");
	stored = given;
	fill_defaults(&stored);
	seal_body(&stored);
	if (!upsert(&stored))
		PG_RETURN_NULL();
	note_written(&stored, &given);
	PG_RETURN_BOOL(true);
}
