/*
 * actingroles.h
 *		Which roles have logged in and called act_as() since the server started, for
 *		doctor(): it advises chatcrypt.require_actor for those that lack it.
 *
 * In shared memory and not in a table: act_as() is called in read-only transactions and on
 * standbys too.
 *
 * Lock contract: one LWLock, held for a look at a short list.
 */
#ifndef CHATCRYPT_ACTINGROLES_H
#define CHATCRYPT_ACTINGROLES_H

/* Notes the role that has logged in; a session comes here once for all of its calls. */
extern void chatcrypt_actingroles_note(void);

extern void chatcrypt_actingroles_request(void);
extern void chatcrypt_actingroles_startup(void);

#endif
