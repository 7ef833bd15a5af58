/*
 * tablewrite.h
 *		Runs the statements that write chatcrypt.sealed_message for the view and its functions.
 *
 * Whoever writes through the view has no right to INSERT into the table, nor to UPDATE but
 * expires_at.  These statements run as the current user all the same, so that policies,
 * triggers and defaults that others gave the table see who writes.  Only the question
 * whether that user may write to this one table is left out, for this one statement.
 */
#ifndef CHATCRYPT_TABLEWRITE_H
#define CHATCRYPT_TABLEWRITE_H

#include "executor/spi.h"

#include "pg/store/statement.h"

/*
 * As chatcrypt_statement_run().  The caller has checked that its user may write.  sql is
 * one statement that writes to chatcrypt.sealed_message.
 */
extern uint64 chatcrypt_tablewrite_run(SPIPlanPtr *plan, const char *sql,
									   const ChatcryptArg *args, int nargs);

extern void chatcrypt_tablewrite_install_hooks(void);

#endif
