/*
 * messages.h
 *		The view chatcrypt.messages: what its trigger and its body column share.
 */
#ifndef CHATCRYPT_MESSAGES_H
#define CHATCRYPT_MESSAGES_H

#include "fmgr.h"

/*
 * True while the innermost query is an UPDATE or MERGE of the view.  PostgreSQL then
 * computes every column of the old row, wanted or not: a body that does not open
 * must not keep the rest of its row from being changed.
 */
extern bool chatcrypt_messages_updating(void);

/* Tells that such a query read NULL for a body that does not open. */
extern void chatcrypt_messages_note_unopened(void);

extern void chatcrypt_messages_install_hooks(void);

/* The default of message_id: an SQL function that C calls as well. */
extern PGDLLEXPORT Datum chatcrypt_new_message_id(PG_FUNCTION_ARGS);

#endif
