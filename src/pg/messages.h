/*
 * messages.h
 *		The view chatcrypt.messages: what its trigger and its body column share.
 */
#ifndef CHATCRYPT_MESSAGES_H
#define CHATCRYPT_MESSAGES_H

/*
 * True while the innermost query is an UPDATE or MERGE of the view.  PostgreSQL then
 * computes every column of the old row, wanted or not: a body that does not open
 * must not keep the rest of its row from being changed.
 */
extern bool chatcrypt_messages_updating(void);

extern void chatcrypt_messages_install_hooks(void);

#endif
