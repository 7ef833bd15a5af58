/*
 * unopened.h
 *		Handles bodies that do not open in an UPDATE or MERGE of the view messages.
 */
#ifndef CHATCRYPT_UNOPENED_H
#define CHATCRYPT_UNOPENED_H

#include "fmgr.h"

#include "pg/messages/messages.h"

/*
 * True while the innermost query is an UPDATE or MERGE of the view.  PostgreSQL then
 * computes every column of the old row, wanted or not: a body that does not open
 * must not keep the rest of its row from being changed.
 */
extern bool chatcrypt_unopened_is_updating(void);

/*
 * What an SQL function returns for a body that does not open: NULL, which is noted in such a
 * query, because the view must not take it for a missing body.
 */
extern Datum chatcrypt_unopened_return_null(FunctionCallInfo fcinfo);

/* Raises an error where the new row would erase a body because another body did not open. */
extern void chatcrypt_unopened_refuse_to_erase(const ChatcryptMessageRow *old,
											   const ChatcryptMessageRow *given);

extern void chatcrypt_unopened_install_hooks(void);

#endif
