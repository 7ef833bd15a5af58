/*
 * tablerights.h
 *		Runs the statements that write chatcrypt.sealed_message for the view and its functions.
 *
 * A user who writes through the view has no right to INSERT into the table, and may UPDATE only
 * expires_at.  These statements still run as the current user, so that policies, triggers and
 * defaults that others added to the table see who writes.  The one check left out, for the one
 * statement, is whether that user may write to this table.
 */
#ifndef CHATCRYPT_TABLERIGHTS_H
#define CHATCRYPT_TABLERIGHTS_H

#include "executor/spi.h"

#include "pg/store/statement.h"

/*
 * Like chatcrypt_statement_run(), for a statement that writes to chatcrypt.sealed_message.  The
 * caller has checked that its user may write.
 */
extern uint64 chatcrypt_tablerights_run(SPIPlanPtr *plan, const char *sql,
										const ChatcryptArg *args, int nargs);

extern void chatcrypt_tablerights_install_hooks(void);

#endif
