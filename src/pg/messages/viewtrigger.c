/*
 * viewtrigger.c
 *		The trigger behind INSERT and UPDATE of the view chatcrypt.messages: what it
 *		takes from PostgreSQL and gives back.
 *
 * DELETE is the view's own automatic one, so that a row that nobody can read can
 * still be deleted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "pg/access/access.h"
#include "pg/messages/viewtrigger.h"

typedef ChatcryptMessageRow Row;

/* The row as RETURNING shows it: with the plaintext that was given. */
static HeapTuple
row_for_returning(TupleDesc view, const Row *given, const Row *stored)
{
	Row			row = *stored;

	row.values[MESSAGE_BODY] = given->values[MESSAGE_BODY];
	row.nulls[MESSAGE_BODY] = given->nulls[MESSAGE_BODY];
	return heap_form_tuple(view, row.values, row.nulls);
}

static const Oid column_types[MESSAGE_COLUMNS] = {
	UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID
};

/* Whoever gives the trigger to another view, or columns to ours, finds no memory overwritten. */
static void
check_columns(TupleDesc view)
{
	bool		known = view->natts == MESSAGE_COLUMNS;

	for (int i = 0; known && i < MESSAGE_COLUMNS; i++)
		known = TupleDescAttr(view, i)->atttypid == column_types[i];
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("chatcrypt.write_message() serves views with the columns of chatcrypt.messages alone")));
}

static HeapTuple
insert_row(TriggerData *trigger, FmgrInfo *function)
{
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	Row			given;
	Row			stored;

	heap_deform_tuple(trigger->tg_trigtuple, view, given.values, given.nulls);
	if (!chatcrypt_view_insert(chatcrypt_view_write(function), function->fn_mcxt, &given, &stored))
		return NULL;
	return row_for_returning(view, &given, &stored);
}

static HeapTuple
update_row(TriggerData *trigger, FmgrInfo *function)
{
	TupleDesc	view = RelationGetDescr(trigger->tg_relation);
	Row			old;
	Row			given;
	Row			stored;

	heap_deform_tuple(trigger->tg_trigtuple, view, old.values, old.nulls);
	heap_deform_tuple(trigger->tg_newtuple, view, given.values, given.nulls);
	if (!chatcrypt_view_update(chatcrypt_view_write(function), &old, &given, &stored))
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
				 errmsg("chatcrypt.write_message() must be called as the trigger of chatcrypt.messages")));
	check_columns(RelationGetDescr(trigger->tg_relation));
	chatcrypt_require_for_plaintext(CHATCRYPT_MAY_WRITE);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return PointerGetDatum(insert_row(trigger, fcinfo->flinfo));
	return PointerGetDatum(update_row(trigger, fcinfo->flinfo));
}
