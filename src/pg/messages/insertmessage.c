/*
 * insertmessage.c
 *		New messages: INSERT into the view messages, and into the table for other rooms.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/uuid.h"

#include "pg/messages/messagerow.h"
#include "pg/messages/rowdefaults.h"
#include "pg/messages/sqlwrites.h"
#include "pg/messages/directinsert.h"
#include "pg/messages/upsert.h"
#include "pg/messages/viewtrigger.h"
#include "pg/store/store.h"

typedef ChatcryptMessageRow Row;

/* How often an INSERT may find that a message exists, and then find it gone. */
#define MOST_ROUNDS 100

/*
 * The chat decides what is done with a duplicate: an id that another chat has is a mistake, and
 * to ignore it would lose the message.  The current user is allowed to insert into the chat, or
 * the INSERT would have raised an error.
 */
ChatcryptPutOutcome
chatcrypt_upsert_insert_unless_there(Row *row)
{
	for (int round = 0; !chatcrypt_sqlwrite_insert_unless_there(row); round++)
	{
		TupleDesc	desc;
		HeapTuple	there = chatcrypt_store_find_row("sealed_message", "sealed_message_pkey",
													 InvalidOid, F_UUID_EQ,
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
					 errhint("Look for a trigger on chatcrypt.sealed_message that keeps the message out.")));
		chat_id = heap_getattr(there, MESSAGE_CHAT_ID + 1, desc, &isnull);
		return memcmp(DatumGetUUIDP(chat_id), DatumGetUUIDP(row->values[MESSAGE_CHAT_ID]),
					  UUID_LEN) == 0 ? CHATCRYPT_PUT_IGNORED : CHATCRYPT_PUT_REFUSED;
	}
	return CHATCRYPT_PUT_INSERTED;
}

/* The first row of a query finds out whether its rows can be written directly. */
static ChatcryptDirectInsert *
direct_insert_of(ChatcryptViewQuery *query, MemoryContext memory)
{
	if (!query->sought_direct_insert)
		query->direct_insert = chatcrypt_directinsert_open(memory);
	query->sought_direct_insert = true;
	return query->direct_insert;
}

/*
 * The one place where a new message reaches the table: through a direct insert or, where
 * there is none, by SQL.  False where a trigger kept the message out.
 */
static bool
store_message(ChatcryptDirectInsert *insert, Row *stored)
{
	if (insert == NULL)
		return chatcrypt_sqlwrite_insert(stored);
	chatcrypt_directinsert_row(insert, stored->values, stored->nulls);
	return true;
}

/* Carries out ON CONFLICT DO NOTHING; false where it did nothing. */
static bool
insert_or_ignore(Row *stored)
{
	switch (chatcrypt_upsert_insert_unless_there(stored))
	{
		case CHATCRYPT_PUT_IGNORED:
			return false;
		case CHATCRYPT_PUT_REFUSED:
			/* raises the error that PostgreSQL has for a duplicate */
			return chatcrypt_sqlwrite_insert(stored);
		default:
			return true;
	}
}

bool
chatcrypt_viewtrigger_insert(ChatcryptViewQuery *query, MemoryContext query_memory,
							 const Row *given, Row *stored)
{
	*stored = *given;
	chatcrypt_rowdefaults_fill(stored);
	chatcrypt_messagerow_seal(stored);
	if (!(query->ignores_duplicates ? insert_or_ignore(stored) :
		  store_message(direct_insert_of(query, query_memory), stored)))
		return false;
	chatcrypt_messagerow_note_written(stored, chatcrypt_messagerow_body(given));
	return true;
}

/*
 * Uses SQL: a direct insert lives as long as a query, and a caller of this function may live
 * longer, such as an expression of PL/pgSQL across the savepoints of its transaction.
 */
void
chatcrypt_message_insert(const Row *given, bytea *envelope, pg_uuid_t *id)
{
	Row			stored = *given;

	chatcrypt_rowdefaults_fill(&stored);
	if (envelope != NULL)
		chatcrypt_messagerow_put_envelope(&stored, envelope);
	else
		chatcrypt_messagerow_seal(&stored);
	if (store_message(NULL, &stored))
		chatcrypt_messagerow_note_written(&stored, chatcrypt_messagerow_body(given));
	*id = *DatumGetUUIDP(stored.values[MESSAGE_ID]);
}
