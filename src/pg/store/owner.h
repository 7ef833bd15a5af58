/*
 * owner.h
 *		SQL that the extension runs on its own tables, as their owner.
 *
 * Rather than SECURITY DEFINER: the C code has checked the rights of its caller
 * first, and sees who that is.  search_path is pinned, so that nobody's operator
 * or function is called by mistake.
 *
 * Code of others runs in the middle of a statement: triggers of a registered table,
 * functions in an index's predicate, triggers of a table behind a foreign key that
 * cascades.  It runs as its own table's owner, and nothing of it may stay behind in
 * the session, where somebody else goes on.  So each scope is what PostgreSQL calls a
 * security-restricted operation, which allows no change of role, no temporary table
 * and no trigger for the time of the commit; and all settings that change in it, or in
 * one of its statements, change back at its end.
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

/* Connects SPI too.  An ERROR in between undoes all of it with its (sub)transaction. */
extern void chatcrypt_owner_begin(ChatcryptOwnerScope *scope);
extern void chatcrypt_owner_end(ChatcryptOwnerScope *scope);

/*
 * The same for deleting messages, files or chats.  Where tables of others refer to them
 * it calls chatcrypt_owner_defer_nothing() first.
 */
extern void chatcrypt_owner_begin_deleting(ChatcryptOwnerScope *scope);

/*
 * The same for tables of applications, as the table's own owner.  Functions in the
 * predicate of an index run even where a row is only read (the planner folds them), so
 * that not even a SELECT is done as anybody else.  No row is overlooked: where row-level
 * security would hide one it raises.
 */
extern void chatcrypt_owner_begin_as(ChatcryptOwnerScope *scope, Oid table_owner);

/*
 * From here to the end of the transaction constraints are checked at the end of each
 * statement.  A scope refuses a check that is put off until the commit, also an ordinary
 * one of a foreign key.  What has been put off so far is checked now, and before a scope
 * begins, so that its code does not run as anybody but the caller.
 */
extern void chatcrypt_owner_defer_nothing(void);

/*
 * From here to the end of the scope statements go by index where there is one, whatever
 * the planner believes of tables that nobody has analyzed yet.
 */
extern void chatcrypt_owner_by_index(void);

/*
 * From here to the end of the scope no join compares each row with each: of rows that
 * nobody has counted the planner may believe that there is one.
 */
extern void chatcrypt_owner_without_loops(void);

/* One argument of a statement. */
typedef struct ChatcryptArg
{
	Oid			type;
	Datum		value;
	bool		isnull;
} ChatcryptArg;

/* A bytea argument: a copy, in the current memory context. */
extern ChatcryptArg chatcrypt_owner_bytes_arg(const void *bytes, Size len);

/* Runs one statement between begin and end; the number of rows it touched. */
extern uint64 chatcrypt_owner_execute(const char *sql, const ChatcryptArg *args, int nargs);

/*
 * The same under a snapshot of its own, where the transaction's may be older: nothing
 * that is committed by now is passed over.
 */
extern uint64 chatcrypt_owner_execute_on_latest(const char *sql, const ChatcryptArg *args,
												int nargs);

/* The first column of the first row of the last statement, valid until the scope ends. */
extern Datum chatcrypt_owner_value(bool *isnull);

/* A column of a row that the last statement gave: rows from 0, columns from 1. */
extern Datum chatcrypt_owner_column(uint64 row, int number, bool *isnull);

/* A column of the first row, an array that is not NULL, in memory that outlives the scope. */
extern ArrayType *chatcrypt_owner_array(int number);

/*
 * All rows of one statement, as what the set-returning function gives.  Opens a scope of
 * its own.
 */
extern void chatcrypt_owner_return_rows(FunctionCallInfo fcinfo, const char *sql,
										const ChatcryptArg *args, int nargs);

/* The name of the role that called, for key_event.role. */
extern ChatcryptArg chatcrypt_owner_caller(const ChatcryptOwnerScope *scope);

#endif
