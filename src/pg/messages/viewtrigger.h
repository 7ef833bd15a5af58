/*
 * viewtrigger.h
 *		Carries out an INSERT or UPDATE of one row, for the trigger of the view messages.
 */
#ifndef CHATCRYPT_VIEWTRIGGER_H
#define CHATCRYPT_VIEWTRIGGER_H

#include "pg/messages/messages.h"
#include "pg/messages/viewquery.h"

/*
 * Stores the row that was given, with its plaintext; *stored is the row in the table.  False
 * where nothing was stored.  What lasts for the query is allocated in query_memory.
 */
extern bool chatcrypt_viewtrigger_insert(ChatcryptViewQuery *query, MemoryContext query_memory,
										 const ChatcryptMessageRow *given,
										 ChatcryptMessageRow *stored);
extern bool chatcrypt_viewtrigger_update(const ChatcryptViewQuery *query,
										 const ChatcryptMessageRow *old,
										 const ChatcryptMessageRow *given,
										 ChatcryptMessageRow *stored);

/* The trigger, which the planner's and the executor's hooks look for. */
extern PGDLLEXPORT Datum chatcrypt_write_message(PG_FUNCTION_ARGS);

#endif
