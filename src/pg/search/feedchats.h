/*
 * feedchats.h
 *		Takes apart the rows of the outbox that stand for all messages of a chat.
 *
 * Such a row has no message.  Each drain notes some of the messages of the chat as rows of their
 * own, until all of them are noted.
 */
#ifndef CHATCRYPT_FEEDCHATS_H
#define CHATCRYPT_FEEDCHATS_H

/* Both inside an owner scope. */

/*
 * Gives each chat that begins to be fed the transaction id that it waits for: all lower ones
 * must have ended before its messages are listed.  Call it before the current transaction has
 * an id, because the chat would wait for this transaction too, and so for the next drain.
 */
extern void chatcrypt_feedchats_raise_fences(void);

/*
 * Notes up to max messages of one chat; more only if several have the same created_at.  False
 * if no chat is left that can be listed now, or if other consumers are listing all of them.
 */
extern bool chatcrypt_feedchats_note_some(int max);

#endif
