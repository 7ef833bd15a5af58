/*
 * statement.h
 *		A statement that is planned once and kept for the session.
 */
#ifndef CHATCRYPT_STATEMENT_H
#define CHATCRYPT_STATEMENT_H

#include "pg/store/owner.h"

/*
 * Runs it as the current user, between SPI_connect() and SPI_finish(); the number of
 * rows it touched.  *plan is NULL at first and then the caller's to keep.  A statement
 * that only reads sees what the calling query sees.
 */
extern uint64 chatcrypt_statement_run(SPIPlanPtr *plan, const char *sql, const ChatcryptArg *args,
									  int nargs, bool read_only);

/* The first step of that: makes the plan that is kept, where there is none yet. */
extern void chatcrypt_statement_prepare(SPIPlanPtr *plan, const char *sql,
										const ChatcryptArg *args, int nargs);

#endif
