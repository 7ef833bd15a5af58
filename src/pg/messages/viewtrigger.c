/*
 * viewtrigger.c
 *		The trigger behind INSERT and UPDATE of the view chatcrypt.messages: what it takes from
 *		PostgreSQL and gives back to it.
 *
 * DELETE is left to PostgreSQL, which passes it on to the table, so that a row that nobody can
 * read can still be deleted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "pg/access/access.h"
#include "pg/base/ids.h"
#include "pg/messages/viewtrigger.h"

typedef ChatcryptMessageRow Row;

/* A row of the view as PostgreSQL has it; the columns of a Row come first. */
typedef struct ViewRow
{
	Datum		values[VIEW_COLUMNS];
	bool		nulls[VIEW_COLUMNS];
} ViewRow;

static const Oid column_types[VIEW_COLUMNS] = {
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID
};

/*
 * The trigger may be put on another view, or our view may be given other columns: no memory may
 * be overwritten then.
 */
static void
check_columns(TupleDesc view)
{
	bool		known = view->natts == VIEW_COLUMNS;

	for (int i = 0; known && i < VIEW_COLUMNS; i++)
		known = TupleDescAttr(view, i)->atttypid == column_types[i];
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt_internal.write_message() works only on views with the columns of chatcrypt.messages")));
}

/* The columns that show the numbers of ids. */
static const struct
{
	int			column;
	const char *name;
	int			id;
	const char *id_name;
} numbers[] = {
	{VIEW_CHAT_NUMBER, "chat_number", MESSAGE_CHAT_ID, "chat_id"},
	{VIEW_MESSAGE_NUMBER, "message_number", MESSAGE_ID, "message_id"}
};

static void
set_numbers(ViewRow *row)
{
	int64		number;

	for (int i = 0; i < (int) lengthof(numbers); i++)
	{
		row->nulls[numbers[i].column] = row->nulls[numbers[i].id] ||
			!chatcrypt_id_number(DatumGetUUIDP(row->values[numbers[i].id])->data, &number);
		if (!row->nulls[numbers[i].column])
			row->values[numbers[i].column] = Int64GetDatum(number);
	}
}

static bool
is_same_number(const ViewRow *a, const ViewRow *b, int column)
{
	return a->nulls[column] == b->nulls[column] &&
		(a->nulls[column] || DatumGetInt64(a->values[column]) == DatumGetInt64(b->values[column]));
}

/*
 * Numbers cannot be set: a number that is given must be the number of the id, or the one that
 * the row had before an UPDATE of its id, or NULL in an INSERT.
 */
static void
check_numbers(const ViewRow *given, const ViewRow *before)
{
	ViewRow		shown = *given;

	set_numbers(&shown);
	for (int i = 0; i < (int) lengthof(numbers); i++)
		if (!is_same_number(given, &shown, numbers[i].column) &&
			!is_same_number(given, before, numbers[i].column))
			ereport(ERROR,
					(errcode(ERRCODE_GENERATED_ALWAYS),
					 errmsg("column \"%s\" of view \"messages\" shows the number of %s and cannot be set",
							numbers[i].name, numbers[i].id_name),
					 errhint("Leave it out, and set %s to chatcrypt.to_uuid() of the number.",
							 numbers[i].id_name)));
}

static void
take_row(HeapTuple tuple, TupleDesc view, ViewRow *shown, Row *row)
{
	heap_deform_tuple(tuple, view, shown->values, shown->nulls);
	memcpy(row->values, shown->values, sizeof(row->values));
	memcpy(row->nulls, shown->nulls, sizeof(row->nulls));
}

/* The row as RETURNING shows it: with the plaintext that was given. */
static HeapTuple
row_for_returning(TupleDesc view, const Row *given, const Row *stored)
{
	ViewRow		row;

	memcpy(row.values, stored->values, sizeof(stored->values));
	memcpy(row.nulls, stored->nulls, sizeof(stored->nulls));
	row.values[MESSAGE_BODY] = given->values[MESSAGE_BODY];
	row.nulls[MESSAGE_BODY] = given->nulls[MESSAGE_BODY];
	set_numbers(&row);
	return heap_form_tuple(view, row.values, row.nulls);
}

static HeapTuple
insert_row(TriggerData *trigger, FmgrInfo *function)
{
	static const ViewRow nothing = {.nulls = {[VIEW_CHAT_NUMBER] = true,[VIEW_MESSAGE_NUMBER] = true}};
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	ViewRow		shown;
	Row			given;
	Row			stored;

	take_row(trigger->tg_trigtuple, view, &shown, &given);
	check_numbers(&shown, &nothing);
	if (!chatcrypt_viewtrigger_insert(chatcrypt_viewquery_of(function), function->fn_mcxt, &given,
									  &stored))
		return NULL;
	return row_for_returning(view, &given, &stored);
}

static HeapTuple
update_row(TriggerData *trigger, FmgrInfo *function)
{
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	ViewRow		before;
	ViewRow		after;
	Row			old;
	Row			given;
	Row			stored;

	take_row(trigger->tg_trigtuple, view, &before, &old);
	take_row(trigger->tg_newtuple, view, &after, &given);
	check_numbers(&after, &before);
	if (!chatcrypt_viewtrigger_update(chatcrypt_viewquery_of(function), &old, &given, &stored))
		return NULL;
	return row_for_returning(view, &given, &stored);
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
				 errmsg("chatcrypt_internal.write_message() must be called as the trigger of chatcrypt.messages")));
	check_columns(RelationGetDescr(trigger->tg_relation));
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return PointerGetDatum(insert_row(trigger, fcinfo->flinfo));
	return PointerGetDatum(update_row(trigger, fcinfo->flinfo));
}
