/*
 * actor.h
 *		On whose behalf a transaction runs: act_as(), how long it lasts, and what holds
 *		where it is missing.
 *
 * The actor's name is a setting of act_as() alone, with the life of its transaction or
 * savepoint, so that nothing leaks through a transaction pooler.  That an actor was named
 * is remembered outside the setting, until the transaction ends: a rollback that drops the
 * name must not drop the confinement with it.
 */
#ifndef CHATCRYPT_ACTOR_H
#define CHATCRYPT_ACTOR_H

#include "postgres.h"

/* NULL where nobody is named.  Valid until the next act_as(). */
extern const char *chatcrypt_actor(void);

/* Is this the actor's name? */
extern bool chatcrypt_actor_is(const text *name);

/*
 * True where no actor is named and one must be: chatcrypt.require_actor is on, or this
 * transaction has named one before.
 */
extern bool chatcrypt_actor_is_lacking(void);

/* Raises where chatcrypt_actor_is_lacking(). */
extern void chatcrypt_actor_require(void);

/* For what goes over chats of everybody: raises while an actor is set, or must be. */
extern void chatcrypt_actor_refuse(const char *function);

extern void chatcrypt_actor_define_settings(void);
extern void chatcrypt_actor_install_hooks(void);

#endif
