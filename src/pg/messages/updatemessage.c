/*
 * updatemessage.c
 *		UPDATE of the view messages.
 *
 * INSTEAD OF triggers lose updates: the row that the statement read may have been
 * changed by the time it is written.  So an UPDATE is planned with a lock on its rows
 * (viewplan.c); where it is not, as in MERGE, the trigger locks the very row version
 * that its snapshot shows, and raises 40001 where a newer one exists.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "pg/messages/actorrules.h"
#include "pg/messages/messagerow.h"
#include "pg/messages/sqlwrites.h"
#include "pg/messages/seal.h"
#include "pg/messages/unopened.h"
#include "pg/messages/utf8.h"
#include "pg/messages/viewtrigger.h"
#include "pg/store/observer.h"
#include "pg/store/statement.h"
#include "pg/store/store.h"

typedef ChatcryptMessageRow Row;

/*
 * Locks the row version that the statement read.  False where this very statement
 * has changed it already, which an UPDATE of a table passes over too.
 */
static bool
lock_row_as_read(Datum message_id)
{
	Relation	table = table_open(chatcrypt_relations_find("sealed_message"), RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TM_FailureData failure;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	TM_Result	result = TM_SelfModified;

	ScanKeyInit(&key, MESSAGE_ID + 1, BTEqualStrategyNumber, F_UUID_EQ, message_id);
	scan = systable_beginscan(table, chatcrypt_relations_find("sealed_message_pkey"), true,
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

/* The envelope of a row that is locked, in the current memory context. */
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
								"SELECT encrypted_message "
								"FROM chatcrypt.sealed_message "
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
 * Opens a body that the statement did not read, as it is bound to the old row, and seals it for
 * the new one.  Raises an error where it does not open.  The text is shown to nobody, so this
 * needs no right to read.  The caller wipes the text, which is for search; NULL where the bytes
 * are no text.
 */
static text *
reseal_unread(const Row *old, Row *stored)
{
	bytea	   *envelope = read_envelope(old->values[MESSAGE_ID]);
	ChatcryptRowAad aad;
	bytea	   *plaintext;
	text	   *volatile body = NULL;

	plaintext = chatcrypt_seal_open(DatumGetUUIDP(old->values[MESSAGE_CHAT_ID])->data,
									DatumGetUUIDP(old->values[MESSAGE_ID])->data, envelope,
									chatcrypt_binding_aad(&aad,
														  DatumGetTimestampTz(old->values[MESSAGE_CREATED_AT]),
														  chatcrypt_messagerow_sender(old)),
									CHATCRYPT_FAIL_RAISE);
	PG_TRY();
	{
		chatcrypt_messagerow_put_envelope(stored,
										  chatcrypt_seal(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
														 DatumGetUUIDP(stored->values[MESSAGE_ID])->data,
														 VARDATA(plaintext),
														 VARSIZE(plaintext) - VARHDRSZ,
														 chatcrypt_messagerow_aad(&aad, stored)));
		stored->nulls[MESSAGE_BODY] = false;
		body = chatcrypt_utf8_to_text(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	}
	PG_FINALLY();
	{
		cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	}
	PG_END_TRY();
	pfree(plaintext);
	return body;
}

/* What an UPDATE of the view changes of a row. */
typedef struct Change
{
	bool		moved;			/* has another id or chat */
	bool		rebound;		/* moved, or another sender or time: to be sealed anew */
	bool		edited;			/* has another body */
	bool		dated;			/* has another time */
	bool		unread;			/* has a body that stays and that the statement did not read */
} Change;

static Change
change_of(const Row *old, const Row *given)
{
	Change		change = {
		.moved = chatcrypt_messagerow_differs(old, given, MESSAGE_ID) ||
			chatcrypt_messagerow_differs(old, given, MESSAGE_CHAT_ID),
		.edited = chatcrypt_messagerow_differs(old, given, MESSAGE_BODY),
		.dated = chatcrypt_messagerow_differs(old, given, MESSAGE_CREATED_AT)
	};

	change.rebound = change.moved || change.dated ||
		chatcrypt_messagerow_differs(old, given, MESSAGE_SENDER);
	change.unread = !change.edited && old->nulls[MESSAGE_BODY] && !old->nulls[MESSAGE_DEK_VERSION];
	return change;
}

/* Tells search that the row is stored: see chatcrypt_messagerow_note_written(). */
static void
note_changed(const Change *change, const Row *old, const Row *stored, const text *body)
{
	if (change->moved)
		chatcrypt_observer()->message_removed(DatumGetUUIDP(old->values[MESSAGE_CHAT_ID])->data,
											  DatumGetUUIDP(old->values[MESSAGE_ID])->data);
	if (change->moved || change->edited || change->dated)
		chatcrypt_messagerow_note_written(stored, body);
	else
		chatcrypt_observer()->message_touched(DatumGetUUIDP(stored->values[MESSAGE_CHAT_ID])->data,
											  DatumGetUUIDP(stored->values[MESSAGE_ID])->data);
}

/*
 * Stores the row, sealed anew where anything that is bound in its envelope changed.  Where the
 * message was not opened for that, search keeps what it knows of it: there is nothing better to
 * give to it.  False where a policy or a trigger that a user added kept the row as it was.
 */
static bool
store_change(const Change *change, const Row *old, Row *stored)
{
	text	   *body = chatcrypt_messagerow_body(stored);
	text	   *unread = NULL;
	volatile bool done = false;

	if (change->rebound && change->unread)
		body = unread = reseal_unread(old, stored);
	else if (change->rebound || change->edited)
		chatcrypt_messagerow_seal(stored);
	PG_TRY();
	{
		done = change->rebound || change->edited ?
			chatcrypt_sqlwrite_update(stored, old->values[MESSAGE_ID]) :
			chatcrypt_sqlwrite_update_without_body(stored);
		if (done)
			note_changed(change, old, stored, body);
	}
	PG_FINALLY();
	{
		chatcrypt_utf8_wipe_text(unread);
	}
	PG_END_TRY();
	return done;
}

bool
chatcrypt_viewtrigger_update(const ChatcryptViewQuery *query, const Row *old, const Row *given,
							 Row *stored)
{
	Change		change;

	chatcrypt_messagerow_refuse_null(given, MESSAGE_ID, "message_id");
	chatcrypt_messagerow_refuse_null(given, MESSAGE_CHAT_ID, "chat_id");
	chatcrypt_messagerow_refuse_null(given, MESSAGE_CREATED_AT, "created_at");
	if (chatcrypt_messagerow_differs(old, given, MESSAGE_DEK_VERSION))
		chatcrypt_messagerow_refuse_dek_version();
	if (!query->rows_are_locked && !lock_row_as_read(old->values[MESSAGE_ID]))
		return false;
	chatcrypt_actorrules_check_change(old, given);

	chatcrypt_unopened_refuse_to_erase(old, given);
	change = change_of(old, given);
	*stored = *given;
	return store_change(&change, old, stored);
}
