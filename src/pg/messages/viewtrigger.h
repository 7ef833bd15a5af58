/*
 * viewtrigger.h
 *		What the trigger of the view messages does for a row: an INSERT, an UPDATE.
 */
#ifndef CHATCRYPT_VIEWTRIGGER_H
#define CHATCRYPT_VIEWTRIGGER_H

#include "pg/messages/messages.h"
#include "pg/messages/viewwrite.h"

/*
 * Stores the row that was given, with its plaintext; *stored is what the table has.  False
 * where nothing was stored.  Memory that lasts for the query is in that of the query.
 */
extern bool chatcrypt_viewtrigger_insert(ChatcryptViewWrite *query, MemoryContext query_memory,
										 const ChatcryptMessageRow *given,
										 ChatcryptMessageRow *stored);
extern bool chatcrypt_viewtrigger_update(const ChatcryptViewWrite *query,
										 const ChatcryptMessageRow *old,
										 const ChatcryptMessageRow *given,
										 ChatcryptMessageRow *stored);

/* The trigger, which the planner's and the executor's hooks look for. */
extern PGDLLEXPORT Datum chatcrypt_write_message(PG_FUNCTION_ARGS);

#endif
