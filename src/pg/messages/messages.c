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
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/access/moderation.h"
#include "pg/base/statement.h"
#include "pg/base/store.h"
#include "pg/chats/retention.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/messages.h"
#include "pg/messages/rowwriter.h"
#include "pg/messages/seal.h"
#include "pg/messages/tablewrite.h"
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
	chatcrypt_tablewrite_install_hooks();
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

static const text *
sender_of(const Row *row)
{
	return row->nulls[MESSAGE_SENDER] ? NULL : DatumGetTextPP(row->values[MESSAGE_SENDER]);
}

static const ChatcryptAad *
aad_to_seal(ChatcryptRowAad *aad, const Row *row)
{
	return chatcrypt_row_aad_to_seal(aad, DatumGetTimestampTz(row->values[MESSAGE_CREATED_AT]),
									 sender_of(row));
}

/* For the chat, the id, the sender and the time that the row has. */
static void
seal_body(Row *row)
{
	ChatcryptRowAad aad;

	if (row->nulls[MESSAGE_BODY])
	{
		row->nulls[MESSAGE_DEK_VERSION] = true;
		return;
	}
	put_envelope(row, chatcrypt_seal_text(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data,
										  DatumGetUUIDP(row->values[MESSAGE_ID])->data,
										  DatumGetTextPP(row->values[MESSAGE_BODY]),
										  aad_to_seal(&aad, row)));
}

/* What a statement returns that stores an envelope: run_statement() compares it. */
#define RETURNING_BOUND " RETURNING message_id, chat_id, sender, created_at"

/* The one row that such a statement returned is what it was sealed for. */
static void
require_bound_as_sealed(const Row *sealed)
{
	static const int columns[] = {MESSAGE_ID, MESSAGE_CHAT_ID, MESSAGE_SENDER, MESSAGE_CREATED_AT};
	Row			stored;

	for (int i = 0; i < (int) lengthof(columns); i++)
		stored.values[columns[i]] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												  i + 1, &stored.nulls[columns[i]]);
	chatcrypt_require_bound_as_sealed(sealed->values, sealed->nulls, stored.values, stored.nulls);
}

/*
 * Runs one of this file's statements as the current user; the plan is kept.  sealed is
 * the row whose envelope the statement stores, or NULL.
 */
static uint64
run_statement(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types, const Datum *values,
			  const bool *isnull, const Row *sealed)
{
	ChatcryptArg args[MESSAGE_COLUMNS + 1];
	uint64		processed;

	for (int i = 0; i < nargs; i++)
		args[i] = (ChatcryptArg) {types[i], values[i], isnull[i]};
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	processed = chatcrypt_tablewrite_run(plan, sql, args, nargs);
	if (sealed != NULL && processed > 0)
		require_bound_as_sealed(sealed);
	SPI_finish();
	return processed;
}

static const Oid column_types[MESSAGE_COLUMNS + 1] = {
	UUIDOID, UUIDOID, TEXTOID, BYTEAOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID
};

#define INSERT_MESSAGE \
	"INSERT INTO chatcrypt.message (message_id, chat_id, sender, encrypted_message, dek_version, " \
	"created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)"

/* False where a trigger kept the row out. */
static bool
insert_by_sql(Row *row)
{
	static SPIPlanPtr plan;

	return run_statement(&plan, INSERT_MESSAGE RETURNING_BOUND, MESSAGE_COLUMNS, column_types,
						 row->values, row->nulls, row) > 0;
}

static bool
insert_without_conflict(Row *row)
{
	static SPIPlanPtr plan;

	return run_statement(&plan, INSERT_MESSAGE " ON CONFLICT (message_id) DO NOTHING" RETURNING_BOUND,
						 MESSAGE_COLUMNS, column_types, row->values, row->nulls, row) > 0;
}

/* How often a message may be gone that an INSERT has just found. */
#define MOST_ROUNDS 100

/*
 * What the chat of a duplicate is decides what is done with it: an id that another chat
 * has is a mistake, and to ignore it would lose the message.  Whoever comes here was
 * allowed to insert into the chat, or the INSERT would have raised.
 */
static ChatcryptPutOutcome
insert_unless_there(Row *row)
{
	for (int round = 0; !insert_without_conflict(row); round++)
	{
		TupleDesc	desc;
		HeapTuple	there = chatcrypt_find_row("message", "message_pkey", InvalidOid, F_UUID_EQ,
											   row->values[MESSAGE_ID], &desc);
		bool		isnull;
		Datum		chat_id;

		CHECK_FOR_INTERRUPTS();
		if (there == NULL && round < MOST_ROUNDS)
			continue;			/* deleted in between */
		if (there == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("a message was neither inserted nor found"),
					 errhint("Look for a trigger on chatcrypt.message that keeps it out.")));
		chat_id = heap_getattr(there, MESSAGE_CHAT_ID + 1, desc, &isnull);
		return memcmp(DatumGetUUIDP(chat_id), DatumGetUUIDP(row->values[MESSAGE_CHAT_ID]),
					  UUID_LEN) == 0 ? CHATCRYPT_PUT_IGNORED : CHATCRYPT_PUT_REFUSED;
	}
	return CHATCRYPT_PUT_INSERTED;
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

/*
 * Whoever acts for somebody writes in that name, in that one's chats, and now.  A message
 * without a body asks for no key, and policies do not hold for superusers.
 */
static void
write_as_actor(Row *row)
{
	if (chatcrypt_actor() == NULL)
		return;
	chatcrypt_require_participant(DatumGetUUIDP(row->values[MESSAGE_CHAT_ID])->data);
	row->values[MESSAGE_SENDER] = PointerGetDatum(chatcrypt_sender(sender_of(row)));
	row->nulls[MESSAGE_SENDER] = false;
	row->nulls[MESSAGE_CREATED_AT] = true;
}

static void
fill_defaults(Row *row)
{
	refuse_null(row, MESSAGE_CHAT_ID, "chat_id");
	write_as_actor(row);
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
 * none, by SQL.  False where a trigger kept it out.
 */
static bool
store_message(ChatcryptRowWriter *writer, Row *stored)
{
	if (writer == NULL)
		return insert_by_sql(stored);
	chatcrypt_rowwriter_insert(writer, stored->values, stored->nulls);
	return true;
}

/* What ON CONFLICT DO NOTHING says; false where it did nothing. */
static bool
insert_or_ignore(Row *stored)
{
	switch (insert_unless_there(stored))
	{
		case CHATCRYPT_PUT_IGNORED:
			return false;
		case CHATCRYPT_PUT_REFUSED:
			return insert_by_sql(stored);	/* raises, in PostgreSQL's words for a duplicate */
		default:
			return true;
	}
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

static text *
body_of(const Row *given)
{
	return given->nulls[MESSAGE_BODY] ? NULL : DatumGetTextPP(given->values[MESSAGE_BODY]);
}

/* The row is stored, and search follows; body is NULL where there is no text. */
static void
note_written(const Row *stored, const text *body)
{
	chatcrypt_search_written(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
							 DatumGetUUIDP(stored->values[MESSAGE_ID])->data,
							 DatumGetTimestampTz(stored->values[MESSAGE_CREATED_AT]), body);
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
	if (!(query->ignores_duplicates ? insert_or_ignore(&stored) :
		  store_message(writer_of(query, function->fn_mcxt), &stored)))
		return NULL;
	note_written(&stored, body_of(&given));
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
	if (store_message(NULL, &stored))
		note_written(&stored, body_of(given));
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
is_distinct(const Row *a, const Row *b, int column)
{
	return !chatcrypt_same_column(column, a->values[column], a->nulls[column], b->values[column],
								  b->nulls[column]);
}

static bool
update_with_body(Row *row, Datum old_id)
{
	static SPIPlanPtr plan;
	Datum		values[MESSAGE_COLUMNS + 1];
	bool		nulls[MESSAGE_COLUMNS + 1] = {false};

	memcpy(values, row->values, sizeof(row->values));
	memcpy(nulls, row->nulls, sizeof(row->nulls));
	values[MESSAGE_COLUMNS] = old_id;
	return run_statement(&plan,
						 "UPDATE chatcrypt.message SET message_id = $1, chat_id = $2, sender = $3, "
						 "encrypted_message = $4, "
						 "dek_version = $5, created_at = $6, expires_at = $7 "
						 "WHERE message_id OPERATOR(pg_catalog.=) $8" RETURNING_BOUND,
						 MESSAGE_COLUMNS + 1, column_types, values, nulls, row) > 0;
}

static bool
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

	return run_statement(&plan,
						 "UPDATE chatcrypt.message SET sender = $2, created_at = $3, "
						 "expires_at = $4 WHERE message_id OPERATOR(pg_catalog.=) $1",
						 lengthof(values), types, values, nulls, NULL) > 0;
}

/* An actor changes what it may, where it is and where it goes, and makes nobody else its sender. */
static void
check_change(const Row *old, const Row *given)
{
	const text *sender = sender_of(given);

	chatcrypt_require_own("message", DatumGetUUIDP(old->values[MESSAGE_CHAT_ID])->data,
						  sender_of(old));
	if (chatcrypt_actor() == NULL)
		return;
	if (is_distinct(old, given, MESSAGE_SENDER))
		(void) chatcrypt_sender(sender != NULL ? sender : cstring_to_text(""));
	if (is_distinct(old, given, MESSAGE_CREATED_AT))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("an actor does not change created_at of a message")));
	chatcrypt_require_own("message", DatumGetUUIDP(given->values[MESSAGE_CHAT_ID])->data, sender);
}

/* The envelope of a row that is locked; in the current memory context. */
static bytea *
read_envelope(Datum message_id)
{
	static SPIPlanPtr plan;
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg id = {UUIDOID, message_id, false};
	bytea	   *envelope = NULL;
	bool		isnull;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (chatcrypt_statement_run(&plan,
								"SELECT encrypted_message FROM chatcrypt.message "
								"WHERE message_id OPERATOR(pg_catalog.=) $1", &id, 1, false) > 0)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		MemoryContextSwitchTo(context);
		if (!isnull)
			envelope = DatumGetByteaPCopy(value);
	}
	SPI_finish();
	if (envelope == NULL)
		elog(ERROR, "the envelope of a message that is being updated cannot be read");
	return envelope;
}

/*
 * Opens a body that the statement did not read, as it is bound to the old row, and seals
 * it for the new one; raises where it does not open.  What is shown to nobody needs no
 * right to read.  The text, for search, is the caller's to wipe; NULL for what is none.
 */
static text *
reseal_unread(const Row *old, Row *stored)
{
	bytea	   *envelope = read_envelope(old->values[MESSAGE_ID]);
	ChatcryptRowAad aad;
	bytea	   *plaintext;
	text	   *volatile body = NULL;

	plaintext = chatcrypt_open(DatumGetUUIDP(old->values[MESSAGE_CHAT_ID])->data,
							   DatumGetUUIDP(old->values[MESSAGE_ID])->data, envelope,
							   chatcrypt_row_aad(&aad, DatumGetTimestampTz(old->values[MESSAGE_CREATED_AT]),
												 sender_of(old)), CHATCRYPT_FAIL_RAISE);
	PG_TRY();
	{
		put_envelope(stored, chatcrypt_seal(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
											DatumGetUUIDP(stored->values[MESSAGE_ID])->data,
											VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ,
											aad_to_seal(&aad, stored)));
		stored->nulls[MESSAGE_BODY] = false;
		body = chatcrypt_text_from_utf8(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	}
	PG_FINALLY();
	{
		cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	}
	PG_END_TRY();
	pfree(plaintext);
	return body;
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

/* What an UPDATE of the view changes of a row. */
typedef struct Change
{
	bool		moved;			/* to another id or chat */
	bool		rebound;		/* moved, or of another sender or time: sealed anew */
	bool		edited;			/* another body */
	bool		dated;			/* another time */
	bool		unread;			/* a body is there, kept, and not known to the statement */
} Change;

static Change
change_of(const Row *old, const Row *given)
{
	Change		change = {
		.moved = is_distinct(old, given, MESSAGE_ID) || is_distinct(old, given, MESSAGE_CHAT_ID),
		.edited = is_distinct(old, given, MESSAGE_BODY),
		.dated = is_distinct(old, given, MESSAGE_CREATED_AT)
	};

	change.rebound = change.moved || change.dated || is_distinct(old, given, MESSAGE_SENDER);
	change.unread = !change.edited && old->nulls[MESSAGE_BODY] && !old->nulls[MESSAGE_DEK_VERSION];
	return change;
}

/* The row is stored, and search follows; as note_written(). */
static void
note_changed(const Change *change, const Row *old, const Row *stored, const text *body)
{
	if (change->moved)
		chatcrypt_search_removed(DatumGetUUIDP(old->values[MESSAGE_CHAT_ID])->data,
								 DatumGetUUIDP(old->values[MESSAGE_ID])->data);
	if (change->moved || change->edited || change->dated)
		note_written(stored, body);
	else
		chatcrypt_feed_note(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
							DatumGetUUIDP(stored->values[MESSAGE_ID])->data);
}

/*
 * Stores the row, sealed anew where anything of what is bound in its envelope changed.
 * A message that was not opened for it keeps what search knows of it: nothing better can
 * be made.  False where a policy or a trigger of somebody else's kept the row as it was.
 */
static bool
store_change(const Change *change, const Row *old, Row *stored)
{
	text	   *body = body_of(stored);
	text	   *unread = NULL;
	volatile bool done = false;

	if (change->rebound && change->unread)
		body = unread = reseal_unread(old, stored);
	else if (change->rebound || change->edited)
		seal_body(stored);
	PG_TRY();
	{
		done = change->rebound || change->edited ?
			update_with_body(stored, old->values[MESSAGE_ID]) : update_without_body(stored);
		if (done)
			note_changed(change, old, stored, body);
	}
	PG_FINALLY();
	{
		chatcrypt_wipe_text(unread);
	}
	PG_END_TRY();
	return done;
}

static HeapTuple
update_message(TriggerData *trigger, FmgrInfo *function)
{
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	Change		change;
	Row			old;
	Row			given;
	Row			stored;

	heap_deform_tuple(trigger->tg_trigtuple, view, old.values, old.nulls);
	heap_deform_tuple(trigger->tg_newtuple, view, given.values, given.nulls);
	refuse_null(&given, MESSAGE_ID, "message_id");
	refuse_null(&given, MESSAGE_CHAT_ID, "chat_id");
	refuse_null(&given, MESSAGE_CREATED_AT, "created_at");
	if (is_distinct(&old, &given, MESSAGE_DEK_VERSION))
		refuse_dek_version();
	if (!chatcrypt_view_write(function)->rows_are_locked &&
		!lock_row_as_read(old.values[MESSAGE_ID]))
		return NULL;
	check_change(&old, &given);

	refuse_to_erase_unread(&old, &given);
	change = change_of(&old, &given);
	stored = given;
	if (!store_change(&change, &old, &stored))
		return NULL;
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

/* The message that has this id, and that the current user may see. */
typedef enum Existing
{
	NO_MESSAGE,
	OF_ANOTHER_CHAT,
	OF_THIS_CHAT
} Existing;

/*
 * Locks it, and gives the row the sender and the time that it has: an upsert leaves them
 * as they are, and so they are what its body is sealed for.
 */
static Existing
take_what_stays(Row *row)
{
	static SPIPlanPtr plan;
	MemoryContext context = CurrentMemoryContext;
	ChatcryptArg id = {UUIDOID, row->values[MESSAGE_ID], false};
	Existing	existing = NO_MESSAGE;
	HeapTuple	found;
	TupleDesc	desc;
	bool		isnull;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	if (chatcrypt_statement_run(&plan,
								"SELECT chat_id, sender, created_at FROM chatcrypt.message "
								"WHERE message_id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
								&id, 1, false) > 0)
	{
		found = SPI_tuptable->vals[0];
		desc = SPI_tuptable->tupdesc;
		existing = memcmp(DatumGetUUIDP(SPI_getbinval(found, desc, 1, &isnull)),
						  DatumGetUUIDP(row->values[MESSAGE_CHAT_ID]), UUID_LEN) == 0 ?
			OF_THIS_CHAT : OF_ANOTHER_CHAT;
	}
	if (existing == OF_THIS_CHAT)
	{
		Datum		sender = SPI_getbinval(found, desc, 2, &row->nulls[MESSAGE_SENDER]);

		if (!row->nulls[MESSAGE_SENDER])
		{
			MemoryContext spi = MemoryContextSwitchTo(context);

			row->values[MESSAGE_SENDER] = PointerGetDatum(DatumGetTextPCopy(sender));
			MemoryContextSwitchTo(spi);
		}
		row->values[MESSAGE_CREATED_AT] = SPI_getbinval(found, desc, 3, &isnull);
	}
	SPI_finish();
	return existing;
}

/*
 * Inserts, or gives a message of the same chat another body; false where the one that is
 * there is another chat's, or has another sender or time than it was sealed for.
 */
static bool
upsert(const Row *row)
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
						 "AND m.created_at OPERATOR(pg_catalog.=) $6 "
						 "AND (m.sender OPERATOR(pg_catalog.=) $3 "
						 "OR (m.sender IS NULL AND $3 IS NULL))"
						 RETURNING_BOUND,
						 MESSAGE_COLUMNS, column_types, row->values, row->nulls, row) > 0;
}

/*
 * Whether a message that policies hide from the actor has this id in another chat.  Raises
 * where one of the same chat is not the actor's: the policy would say less.
 */
static bool
hidden_in_another_chat(const Row *row)
{
	TupleDesc	desc;
	HeapTuple	message = chatcrypt_find_row("message", "message_pkey", InvalidOid, F_UUID_EQ,
											 row->values[MESSAGE_ID], &desc);
	Row			there;

	if (message == NULL)
		return false;
	for (int i = MESSAGE_ID; i <= MESSAGE_SENDER; i++)
		there.values[i] = heap_getattr(message, i + 1, desc, &there.nulls[i]);
	if (is_distinct(row, &there, MESSAGE_CHAT_ID))
		return true;
	chatcrypt_require_own("message", DatumGetUUIDP(there.values[MESSAGE_CHAT_ID])->data,
						  sender_of(&there));
	return false;
}

/*
 * Stores the message; false where the id is another chat's.  A message that appears
 * between the two statements is locked by the second, so that the next round knows it:
 * if that does not see it, nobody showed it to this user.
 */
static bool
put_message(const Row *given, Row *stored)
{
	for (int round = 0; round < 2; round++)
	{
		Existing	existing;

		*stored = *given;
		fill_defaults(stored);
		existing = take_what_stays(stored);
		if (existing == OF_ANOTHER_CHAT)
			return false;
		if (existing == OF_THIS_CHAT)
			chatcrypt_require_own("message", DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
								  sender_of(stored));
		else if (chatcrypt_actor() != NULL && hidden_in_another_chat(stored))
			return false;
		seal_body(stored);
		if (upsert(stored))
			return true;
	}
	return false;
}

ChatcryptPutOutcome
chatcrypt_put(const Row *given, bool replace)
{
	Row			stored = *given;
	ChatcryptPutOutcome outcome;

	refuse_null(given, MESSAGE_ID, "message_id");
	fill_defaults(&stored);
	seal_body(&stored);
	outcome = insert_unless_there(&stored);
	if (outcome == CHATCRYPT_PUT_IGNORED && replace)
		outcome = put_message(given, &stored) ? CHATCRYPT_PUT_REPLACED : CHATCRYPT_PUT_REFUSED;
	if (outcome == CHATCRYPT_PUT_INSERTED || outcome == CHATCRYPT_PUT_REPLACED)
		note_written(&stored, body_of(given));
	return outcome;
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
	if (!put_message(&given, &stored))
		PG_RETURN_NULL();
	note_written(&stored, body_of(&given));
	PG_RETURN_BOOL(true);
}
