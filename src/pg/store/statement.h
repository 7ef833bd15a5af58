/*
 * statement.h
 *		A statement that is planned once and kept for the session.
 */
#ifndef CHATCRYPT_STATEMENT_H
#define CHATCRYPT_STATEMENT_H

#include "pg/store/owner.h"

/*
 * Runs a statement as the current user, between SPI_connect() and SPI_finish(), and returns
 * the number of rows it processed.  *plan is NULL before the first call; the caller keeps it
 * for the next one.  With read_only, the statement uses the snapshot of the calling query.
 */
extern uint64 chatcrypt_statement_run(SPIPlanPtr *plan, const char *sql, const ChatcryptArg *args,
									  int nargs, bool read_only);

/* The first step of that: makes *plan if it is NULL. */
extern void chatcrypt_statement_prepare(SPIPlanPtr *plan, const char *sql,
										const ChatcryptArg *args, int nargs);

#endif
