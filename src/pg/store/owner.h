/*
 * owner.h
 *		SQL that the extension runs on its own tables, as their owner.
 *
 * This is used rather than SECURITY DEFINER, because the C code has to check the rights
 * of its caller first, and needs to know who that is.  search_path is pinned, so that no
 * operator or function of another user is called by mistake.
 *
 * Code of other users may run in the middle of a statement: triggers of a registered
 * table, functions in the predicate of an index, triggers of a table whose foreign key
 * cascades.  That code runs as the owner of its table, and must leave nothing behind in
 * the session, which continues as another user.  So each scope is what PostgreSQL calls a
 * security-restricted operation, in which it is impossible to change the role, create a
 * temporary table or queue a trigger until commit; and all settings that are changed in a
 * scope, or in one of its statements, are restored at its end.
 */
#ifndef CHATCRYPT_OWNER_H
#define CHATCRYPT_OWNER_H

#include "executor/spi.h"
#include "utils/array.h"

typedef struct ChatcryptOwnerScope
{
	Oid			user;
	int			security_context;
	int			guc_level;
} ChatcryptOwnerScope;

/* Also connects to SPI.  After an ERROR the abort of the (sub)transaction ends the scope. */
extern void chatcrypt_owner_begin(ChatcryptOwnerScope *scope);
extern void chatcrypt_owner_end(ChatcryptOwnerScope *scope);

/*
 * The same for deleting messages, files or chats.  If foreign keys of other tables refer to
 * them, it calls chatcrypt_owner_defer_nothing() first.
 */
extern void chatcrypt_owner_begin_deleting(ChatcryptOwnerScope *scope);

/*
 * The same for a table of an application, as the owner of that table.  Even a SELECT must
 * run as that owner, because the planner runs functions in the predicate of an index (it
 * folds them).  No row is overlooked: if row-level security would hide rows, the statement
 * raises an error.  Protected columns are seen as they are stored.
 */
extern void chatcrypt_owner_begin_as(ChatcryptOwnerScope *scope, Oid table_owner);

/*
 * From here to the end of the transaction, constraints are checked at the end of each
 * statement.  A scope raises an error for a check that is deferred until commit, even the
 * ordinary one of a foreign key.  Checks that have been deferred so far are done now, before
 * a scope begins, so that their code runs as the caller and not as another user.
 */
extern void chatcrypt_owner_defer_nothing(void);

/*
 * From here to the end of the scope, or of the caller's own level of settings, protected columns
 * are seen as they are stored.
 */
extern void chatcrypt_owner_show_sealed(void);

/*
 * From here to the end of the scope, statements use an index where there is one, whatever
 * the planner estimates for tables that have not been analyzed yet.
 */
extern void chatcrypt_owner_by_index(void);

/*
 * From here to the end of the scope, the planner uses no nested loops: it may expect a single
 * row where it has no statistics.
 */
extern void chatcrypt_owner_without_loops(void);

/* One argument of a statement. */
typedef struct ChatcryptArg
{
	Oid			type;
	Datum		value;
	bool		isnull;
} ChatcryptArg;

/* A bytea argument, which is a copy in the current memory context. */
extern ChatcryptArg chatcrypt_owner_bytes_arg(const void *bytes, Size len);

/* Runs one statement between begin and end.  Returns the number of rows it processed. */
extern uint64 chatcrypt_owner_execute(const char *sql, const ChatcryptArg *args, int nargs);

/*
 * The same under a new snapshot, for callers whose transaction may have an older one: the
 * statement sees everything that is committed by now.
 */
extern uint64 chatcrypt_owner_execute_on_latest(const char *sql, const ChatcryptArg *args,
												int nargs);

/* The first column of the first row of the last statement, valid until the scope ends. */
extern Datum chatcrypt_owner_value(bool *isnull);

/* A column of a row that the last statement returned: rows from 0, columns from 1. */
extern Datum chatcrypt_owner_column(uint64 row, int number, bool *isnull);

/* An array column, not NULL, of the first row; the result outlives the scope. */
extern ArrayType *chatcrypt_owner_array(int number);

/*
 * Returns all rows of one statement as the result of a set-returning function.  Opens a scope
 * of its own.
 */
extern void chatcrypt_owner_return_rows(FunctionCallInfo fcinfo, const char *sql,
										const ChatcryptArg *args, int nargs);

/* The name of the role outside the scope, for key_event.role. */
extern ChatcryptArg chatcrypt_owner_caller(const ChatcryptOwnerScope *scope);

#endif
