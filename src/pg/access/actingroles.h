/*
 * actingroles.h
 *		Remembers which roles have logged in and called act_as() since the server started.
 *		doctor() advises chatcrypt.require_actor for those of them that lack it.
 *
 * The roles are in shared memory and not in a table, because act_as() is also called in
 * read-only transactions and on standbys.
 *
 * Lock contract: one LWLock, held while a short list is searched.
 */
#ifndef CHATCRYPT_ACTINGROLES_H
#define CHATCRYPT_ACTINGROLES_H

/* Notes the role that has logged in.  Only the first call in a session takes the lock. */
extern void chatcrypt_actingroles_note(void);

extern void chatcrypt_actingroles_request(void);
extern void chatcrypt_actingroles_startup(void);

#endif
